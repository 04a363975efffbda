//! `mqway ping`: one round trip through a server, step by step.

mod driver;
mod exchange;
mod report;

use std::hash::{BuildHasher, RandomState};

use clap::ArgAction::{Help, SetTrue};
use clap::builder::FalseyValueParser;
use mqway_codec::{QoS, TopicName, Version};
use mqway_transport::Url;

use crate::client_flags::{qos, version};
use crate::dial_flags::DialFlags;
use crate::failure::Failure;
use crate::quantity::Seconds;
use crate::{logging, reach};
use exchange::Plan;
use report::Report;

/// Make one round trip through a server: connect, subscribe, publish, receive, disconnect
#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true)]
pub struct Args {
    #[command(flatten)]
    dial: DialFlags,
    /// Client identifier [default: mqway-ping- and a random number]
    #[arg(short, long, value_name = "ID", env = "MQWAY_ID")]
    id: Option<String>,
    /// User name
    #[arg(short, long, value_name = "NAME", env = "MQWAY_USERNAME")]
    username: Option<String>,
    /// Password; better in MQWAY_PASSWORD, where other users of this machine do not see it
    #[arg(short = 'P', long, value_name = "TEXT", env = "MQWAY_PASSWORD")]
    password: Option<String>,
    /// Quality of service of subscription and message
    #[arg(short, long, value_name = "0|1|2", env = "MQWAY_QOS", default_value = "0", value_parser = qos)]
    qos: QoS,
    /// Topic of the message [default: mqway/ping/ and a random number]
    #[arg(short, long, value_name = "TOPIC", env = "MQWAY_TOPIC")]
    topic: Option<String>,
    /// Version of MQTT
    #[arg(short = 'V', long, value_name = "31|311|5", env = "MQWAY_PROTOCOL_VERSION", default_value = "311")]
    #[arg(value_parser = version)]
    protocol_version: Version,
    /// Keep alive, in seconds
    #[arg(short, long, value_name = "SECS", env = "MQWAY_KEEPALIVE", default_value = "60")]
    keepalive: u16,
    /// Give up after this time, for all steps together
    #[arg(long, value_name = "SECS", env = "MQWAY_TIMEOUT", default_value = "10")]
    timeout: Seconds,
    /// Print the steps as JSON, one object a line
    #[arg(long, env = "MQWAY_JSON", action = SetTrue, value_parser = FalseyValueParser::new())]
    json: bool,
    /// What else to say on stderr: error, warn, info, debug or trace
    #[arg(long, value_name = "LEVEL", env = "MQWAY_LOG", default_value = "warn")]
    log: String,
    /// Print help
    #[arg(long, action = Help)]
    help: Option<bool>,
}

/// Does it, and prints each step.
pub fn run(args: &Args) -> Result<(), Failure> {
    logging::start(Some(&args.log))?;
    let (url, dial) = reach::dial(&args.dial.upstream(), args.timeout.0)?;
    let plan = args.plan(&url)?;
    driver::run(&url, dial, plan, &Report::new(args.json))
}

impl Args {
    /// What to say there. Credentials in the URL are for the server, unless a flag says otherwise.
    fn plan(&self, url: &Url) -> Result<Plan, Failure> {
        let number = random();
        let topic = self.topic.clone().unwrap_or_else(|| format!("mqway/ping/{number:012x}"));
        TopicName::new(&topic)
            .map_err(|error| Failure::usage(format_args!("bad topic {topic:?}: {error}")))?;
        let password = self.password.clone().map(String::into_bytes);
        let password = password.or_else(|| url.password.as_ref().map(|secret| secret.expose().to_vec()));
        let user_name = self.username.clone().or_else(|| url.user.clone());
        // 3.1.1: [MQTT-3.1.2-22]
        if password.is_some() && user_name.is_none() && self.protocol_version != Version::V5 {
            return Err(Failure::usage(
                "a password needs a user name before MQTT 5.0; add --username, or use -V 5",
            ));
        }
        Ok(Plan {
            version: self.protocol_version,
            // No longer than the 23 characters that every server takes. [MQTT-3.1.3-5]
            client_id: self.id.clone().unwrap_or_else(|| format!("mqway-ping-{number:012x}")),
            user_name,
            password,
            keep_alive: self.keepalive,
            topic,
            payload: format!("mqway ping {:012x}", random()).into_bytes(),
            qos: self.qos,
        })
    }
}

/// 48 bits that nobody else happens to choose; no secret.
fn random() -> u64 {
    RandomState::new().hash_one(std::process::id()) >> 16
}
