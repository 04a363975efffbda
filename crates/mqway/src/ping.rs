//! `mqway ping`: one round trip through a server, step by step.

mod driver;
mod exchange;
mod report;

use std::hash::{BuildHasher, RandomState};
use std::path::PathBuf;

use clap::ArgAction::{Help, SetTrue};
use clap::builder::FalseyValueParser;
use mqway_codec::{QoS, TopicName, Version};
use mqway_transport::Url;
use mqway_transport::url::Scheme;

use crate::failure::Failure;
use crate::quantity::Seconds;
use crate::settings::Upstream;
use crate::{logging, reach};
use exchange::Plan;
use report::Report;

/// Make one round trip through a server: connect, subscribe, publish, receive, disconnect
#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true)]
pub struct Args {
    /// The server: tcp://, tls://, ws://, wss:// or unix://, or host:port for TCP [default: tcp://localhost]
    #[arg(value_name = "URL")]
    url: Option<String>,
    /// The server, as mosquitto's tools take it
    #[arg(short = 'L', long = "url", value_name = "URL", env = "MQWAY_URL")]
    server: Option<String>,
    /// The server's name or address, for TCP
    #[arg(short = 'h', long, value_name = "HOST", env = "MQWAY_HOST")]
    host: Option<String>,
    /// The server's TCP port
    #[arg(short, long, value_name = "PORT", env = "MQWAY_PORT")]
    port: Option<u16>,
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
    /// Certificates of the authorities that sign the server's, in PEM, instead of the system's
    #[arg(long, value_name = "FILE", env = "MQWAY_CAFILE")]
    cafile: Option<PathBuf>,
    /// Our certificate chain, in PEM
    #[arg(long, value_name = "FILE", env = "MQWAY_CERT")]
    cert: Option<PathBuf>,
    /// Private key of our certificate, in PEM
    #[arg(long, value_name = "FILE", env = "MQWAY_KEY")]
    key: Option<PathBuf>,
    /// Believe any certificate of the server: anyone on the way can read and change everything
    #[arg(long, env = "MQWAY_INSECURE", action = SetTrue, value_parser = FalseyValueParser::new())]
    insecure: bool,
    /// Offer this application protocol in the TLS handshake; repeat it for more
    #[arg(long, value_name = "NAME", env = "MQWAY_ALPN", value_delimiter = ' ')]
    alpn: Vec<String>,
    /// Send this header field with the WebSocket handshake; repeat it for more
    #[arg(long, value_name = "'NAME: VALUE'", env = "MQWAY_HEADER", value_delimiter = '\n')]
    header: Vec<String>,
    /// Offer this WebSocket subprotocol instead of mqtt; repeat it for more, or leave it empty to offer none
    #[arg(long, value_name = "NAME", env = "MQWAY_SUBPROTOCOL", value_delimiter = ' ')]
    subprotocol: Vec<String>,
    /// Dial through this proxy, http://host:port or socks5://host:port, or "none" for none
    /// [default: from HTTPS_PROXY, ALL_PROXY, NO_PROXY]
    #[arg(long, value_name = "URL", env = "MQWAY_PROXY")]
    proxy: Option<String>,
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
    let (url, dial) = reach::dial(&args.upstream(), args.timeout.0)?;
    let plan = args.plan(&url)?;
    driver::run(&url, dial, plan, &Report::new(args.json))
}

impl Args {
    /// The server, in the words of the configuration.
    fn upstream(&self) -> Upstream {
        // No conflict between them: one may come from the environment, and the command line must win.
        let url = match (&self.url, &self.host, self.port, &self.server) {
            (Some(url), ..) | (None, None, None, Some(url)) => url.clone(),
            (None, host, port, _) => {
                let host = host.as_deref().unwrap_or("localhost");
                let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
                format!("tcp://{host}:{}", port.unwrap_or(Scheme::Tcp.default_port()))
            }
        };
        let some = |words: &[String]| (!words.is_empty()).then(|| words.to_vec());
        Upstream {
            url: Some(url),
            cafile: self.cafile.clone(),
            cert: self.cert.clone(),
            key: self.key.clone(),
            insecure: Some(self.insecure),
            alpn: some(&self.alpn),
            server_name: None,
            headers: some(&self.header),
            subprotocols: some(&self.subprotocol),
            proxy: self.proxy.clone(),
        }
    }

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

fn qos(text: &str) -> Result<QoS, String> {
    text.parse().ok().and_then(QoS::from_u8).ok_or_else(|| "write 0, 1 or 2".to_owned())
}

fn version(text: &str) -> Result<Version, String> {
    match text.trim_start_matches("mqttv") {
        "31" | "3.1" => Ok(Version::V3_1),
        "311" | "3.1.1" => Ok(Version::V3_1_1),
        "5" | "5.0" => Ok(Version::V5),
        _ => Err("write 31, 311 or 5".to_owned()),
    }
}
