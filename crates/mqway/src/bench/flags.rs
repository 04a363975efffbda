//! The flags of `mqway bench`, and the plan they come to.

use std::num::NonZeroUsize;
use std::time::Duration;

use clap::ArgAction::{Help, SetTrue};
use clap::Args;
use clap::builder::FalseyValueParser;
use mqway_codec::{QoS, Version};
use mqway_engine::Dial;
use mqway_transport::Url;

use super::plan::{Kind, Plan};
use crate::client_flags::{qos, version};
use crate::dial_flags::DialFlags;
use crate::failure::Failure;
use crate::quantity::{Bytes, Seconds};

/// Where publishers publish, unless something else is said.
const TOPIC: &str = "mqway/bench/%r/%i";

/// The server, and how clients present themselves to it.
#[derive(Debug, Args)]
pub struct ServerFlags {
    #[command(flatten)]
    pub dial: DialFlags,
    /// Client identifiers; %i is the number of the client, %r that of the run [default: bench-%r-%i]
    #[arg(short, long, value_name = "ID", env = "MQWAY_ID")]
    id: Option<String>,
    /// User name of all clients
    #[arg(short, long, value_name = "NAME", env = "MQWAY_USERNAME")]
    username: Option<String>,
    /// Their password; better in MQWAY_PASSWORD, where other users of this machine do not see it
    #[arg(short = 'P', long, value_name = "TEXT", env = "MQWAY_PASSWORD")]
    password: Option<String>,
    /// Version of MQTT
    #[arg(short = 'V', long, value_name = "31|311|5", env = "MQWAY_PROTOCOL_VERSION", default_value = "311")]
    #[arg(value_parser = version)]
    protocol_version: Version,
    /// Keep alive, in seconds; 0 for none
    #[arg(short, long, value_name = "SECS", env = "MQWAY_KEEPALIVE", default_value = "60")]
    keepalive: u16,
    /// Give up on a step of connecting, or on a silent server, after this time
    #[arg(long, value_name = "SECS", env = "MQWAY_TIMEOUT", default_value = "10")]
    timeout: Seconds,
    /// New connections a second [default: as fast as the server takes them]
    #[arg(long, value_name = "N", env = "MQWAY_CONNECT_RATE", value_parser = positive)]
    connect_rate: Option<f64>,
    /// Worker threads; clients that share topics stay on one
    #[arg(long, value_name = "N", env = "MQWAY_WORKERS", default_value = "1")]
    workers: NonZeroUsize,
    /// Print the result as JSON, in one object
    #[arg(long, env = "MQWAY_JSON", action = SetTrue, value_parser = FalseyValueParser::new())]
    pub json: bool,
    /// Show no progress on stderr
    #[arg(long, env = "MQWAY_QUIET", action = SetTrue, value_parser = FalseyValueParser::new())]
    pub quiet: bool,
    /// What else to say on stderr: error, warn, info, debug or trace
    #[arg(long, value_name = "LEVEL", env = "MQWAY_LOG", default_value = "warn")]
    pub log: String,
    /// Print help
    #[arg(long, action = Help)]
    help: Option<bool>,
}

/// What is published, and how fast.
#[derive(Debug, Args)]
pub struct TrafficFlags {
    /// Quality of service of subscriptions and messages
    #[arg(short, long, value_name = "0|1|2", env = "MQWAY_QOS", default_value = "0", value_parser = qos)]
    qos: QoS,
    /// Topic of messages; %i is the number of the publisher, %c its client identifier, %r the number of the run
    #[arg(short, long, value_name = "TOPIC", env = "MQWAY_TOPIC", default_value = TOPIC)]
    topic: String,
    /// What subscribers subscribe to, with the same placeholders [default: what publishers publish to, all of it]
    #[arg(short, long, value_name = "FILTER", env = "MQWAY_FILTER")]
    filter: Option<String>,
    /// Publish with the retain flag
    #[arg(short, long, env = "MQWAY_RETAIN", action = SetTrue, value_parser = FalseyValueParser::new())]
    retain: bool,
    /// Length of a payload, of which 28 bytes are for checking
    #[arg(
        short,
        long,
        visible_alias = "payload-size",
        value_name = "BYTES",
        env = "MQWAY_SIZE",
        default_value = "64"
    )]
    size: Bytes,
    /// Messages a second of all publishers together, come what may; latency counts from when each was due
    /// [default: as fast as --window allows]
    #[arg(long, value_name = "N", env = "MQWAY_RATE", value_parser = positive)]
    rate: Option<f64>,
    /// Messages of a publisher that may be under way, without --rate
    #[arg(short, long, value_name = "N", env = "MQWAY_WINDOW", default_value = "64")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    window: u32,
    /// End after so many messages of each publisher [default: after --duration]
    #[arg(short, long, value_name = "N", env = "MQWAY_MESSAGES")]
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    messages: Option<u64>,
    /// Measure for this time [default: 10, or with --messages as long as it takes]
    #[arg(short, long, value_name = "SECS", env = "MQWAY_DURATION")]
    duration: Option<Seconds>,
    /// Let messages flow for this time before measuring [default: 1, or with --messages 0]
    #[arg(long, value_name = "SECS", env = "MQWAY_WARMUP")]
    warmup: Option<Seconds>,
    /// What has not come after this time of silence at the end is lost
    #[arg(long, value_name = "SECS", env = "MQWAY_DRAIN", default_value = "2")]
    drain: Seconds,
}

/// What connections that say nothing do.
#[derive(Debug, Args)]
pub struct IdleFlags {
    /// Hold the connections, or churn, for this time
    #[arg(short, long, value_name = "SECS", env = "MQWAY_DURATION", default_value = "10")]
    duration: Seconds,
    /// Close each connection once it is accepted, and make a new one
    #[arg(long, env = "MQWAY_CHURN", action = SetTrue, value_parser = FalseyValueParser::new())]
    churn: bool,
}

impl ServerFlags {
    /// How long a step may take.
    pub fn timeout(&self) -> Duration {
        self.timeout.0
    }

    /// A plan with everything but the load. Credentials in the URL are for the server, unless a flag says otherwise.
    pub fn plan(&self, url: &Url, dial: Dial, run: u32) -> Result<Plan, Failure> {
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
            kind: Kind::Connections { churn: false },
            publishers: 0,
            subscribers: 0,
            dial,
            version: self.protocol_version,
            qos: QoS::AtMostOnce,
            retain: false,
            user_name,
            password,
            keep_alive: self.keepalive,
            // No longer than the 23 characters that every server takes. [MQTT-3.1.3-5]
            client_id: self.id.clone().unwrap_or_else(|| "bench-%r-%i".to_owned()),
            topic: TOPIC.to_owned(),
            filter: String::new(),
            size: 64,
            window: 1,
            rate: None,
            messages: None,
            warmup: Duration::ZERO,
            duration: None,
            connect_rate: self.connect_rate,
            timeout: self.timeout.0,
            drain: Duration::ZERO,
            run,
            workers: self.workers.get(),
        })
    }
}

impl TrafficFlags {
    /// Puts the load into `plan`.
    pub fn apply(&self, plan: &mut Plan) {
        let everything = || match plan.kind {
            Kind::Pairs => self.topic.clone(),
            // Without publishers of our own it is those of other runs that are listened to.
            _ => widened(&self.topic, plan.publishers == 0),
        };
        plan.filter = self.filter.clone().unwrap_or_else(everything);
        plan.topic = self.topic.clone();
        plan.qos = self.qos;
        plan.retain = self.retain;
        plan.size = self.size.to_usize();
        plan.rate = self.rate;
        plan.window = self.window;
        plan.messages = self.messages;
        let (duration, warmup) = match self.messages {
            Some(_) if plan.publishers > 0 => (None, Duration::ZERO),
            _ => (Some(Duration::from_secs(10)), Duration::from_secs(1)),
        };
        plan.duration = self.duration.map(|time| time.0).or(duration);
        plan.warmup = self.warmup.map_or(warmup, |time| time.0);
        plan.drain = self.drain.0;
    }
}

impl IdleFlags {
    /// Puts it into `plan`.
    pub fn apply(&self, plan: &mut Plan) {
        plan.kind = Kind::Connections { churn: self.churn };
        plan.duration = Some(self.duration.0);
    }
}

/// The filter that matches a topic whatever its placeholders stand for: a level with one becomes a `+`.
fn widened(topic: &str, any_run: bool) -> String {
    let level = |level: &str| {
        let differs = level.contains("%i") || level.contains("%c") || any_run && level.contains("%r");
        if differs { "+".to_owned() } else { level.to_owned() }
    };
    topic.split('/').map(level).collect::<Vec<_>>().join("/")
}

fn positive(text: &str) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|_| "write a number, such as 5000 or 0.5".to_owned())?;
    if number.is_finite() && (1e-6..=1e9).contains(&number) {
        Ok(number)
    } else {
        Err("it must be above 0".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_matches_what_the_placeholders_stand_for() {
        for (topic, filter) in
            [("a/%i", "a/+"), ("a/%r/b%i/c", "a/%r/+/c"), ("%c/x", "+/x"), ("same", "same")]
        {
            assert_eq!(widened(topic, false), filter);
        }
        assert_eq!(widened(TOPIC, true), "mqway/bench/+/+");
    }

    #[test]
    fn rates_are_above_nothing_and_below_the_absurd() {
        assert_eq!(positive("0.5"), Ok(0.5));
        for text in ["0", "-1", "NaN", "inf", "1e99", "many", ""] {
            assert!(positive(text).is_err(), "{text}");
        }
    }
}
