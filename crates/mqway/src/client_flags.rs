//! The flags that `pub`, `sub` and `rr` share, with mosquitto's names and meanings where it has them, and what they
//! say to the client library.

pub mod arguments;
mod files;
mod properties;
mod server;

use std::path::PathBuf;
use std::time::Duration;

use clap::ArgAction::{Help, SetTrue};
use clap::ValueEnum;
use clap::builder::FalseyValueParser;
use mqway_client::{Endpoint, Message, Options, QoS, Version};
use mqway_codec::TopicName;

use crate::failure::Failure;
use crate::quantity::Seconds;
pub use properties::{Place, Properties};
pub use server::Server;

/// The time for an attempt to connect where no `--timeout` says otherwise.
const CONNECT_TIME: Duration = Duration::from_secs(20);

/// What mosquitto calls for ever in `-x`.
const FOR_EVER: u32 = u32::MAX;

/// Where to connect, as whom, and how.
#[derive(Clone, Debug, clap::Args)]
pub struct ClientFlags {
    /// The server: tcp://, tls://, ws://, wss:// or unix://, or host:port for TCP [default: tcp://localhost]
    #[arg(value_name = "URL")]
    server: Option<String>,
    /// The server, as mosquitto's tools take it: a path after mqtt://host is the topic
    #[arg(short = 'L', long, value_name = "URL", env = "MQWAY_URL")]
    url: Option<String>,
    /// The server's name or address, for TCP, and for TLS where one of its flags is given or the port is 8883
    #[arg(short = 'h', long, value_name = "HOST", env = "MQWAY_HOST")]
    host: Option<String>,
    /// The server's TCP port [default: 1883, or 8883 with TLS]
    #[arg(short, long, value_name = "PORT", env = "MQWAY_PORT")]
    port: Option<u16>,
    /// The server's Unix socket
    #[arg(long, value_name = "PATH", env = "MQWAY_UNIX")]
    unix: Option<String>,

    /// Client identifier [default: the server's choice in 5.0, before a random one]
    #[arg(short, long, value_name = "ID", env = "MQWAY_ID")]
    id: Option<String>,
    /// Client identifier made of this and the number of the process
    #[arg(short = 'I', long, value_name = "TEXT", env = "MQWAY_ID_PREFIX")]
    id_prefix: Option<String>,
    /// User name
    #[arg(short, long, value_name = "NAME", env = "MQWAY_USERNAME")]
    username: Option<String>,
    /// Password; better in MQWAY_PASSWORD or a profile, where other users of this machine do not see it
    #[arg(short = 'P', long, alias = "pw", value_name = "TEXT", env = "MQWAY_PASSWORD")]
    password: Option<String>,
    /// Version of MQTT: 31, 311 or 5 [default: 311, and 5 where that is needed: for properties, for rr]
    #[arg(short = 'V', long, value_name = "VERSION", env = "MQWAY_PROTOCOL_VERSION", value_parser = version)]
    protocol_version: Option<Version>,
    /// Keep alive, in seconds
    #[arg(short, long, value_name = "SECS", env = "MQWAY_KEEPALIVE", default_value = "60")]
    keepalive: u16,
    /// Continue the session of this client identifier, and have the server keep it
    #[arg(short = 'c', long, env = "MQWAY_DISABLE_CLEAN_SESSION", action = SetTrue)]
    #[arg(value_parser = FalseyValueParser::new())]
    disable_clean_session: bool,
    /// Seconds that the server keeps the session after the end (5.0); -1 for ever [default: -1 with -c, else 0]
    #[arg(short = 'x', long, value_name = "SECS", env = "MQWAY_SESSION_EXPIRY_INTERVAL", value_parser = expiry)]
    session_expiry_interval: Option<u32>,
    /// A property (5.0) of one of our packets: its command, its name, its value, as in
    /// -D publish content-type text/plain or -D connect user-property NAME VALUE; repeat it for more
    #[arg(
        short = 'D',
        long,
        value_name = "COMMAND NAME VALUE",
        env = "MQWAY_PROPERTY",
        value_delimiter = '\n'
    )]
    property: Vec<String>,

    /// Topic of the message that the server publishes if this client is lost
    #[arg(long, value_name = "TOPIC", env = "MQWAY_WILL_TOPIC", help_heading = "Will")]
    will_topic: Option<String>,
    /// What it says [default: nothing]
    #[arg(long, value_name = "TEXT", env = "MQWAY_WILL_PAYLOAD", help_heading = "Will")]
    will_payload: Option<String>,
    /// Its quality of service [default: 0]
    #[arg(long, value_name = "0|1|2", env = "MQWAY_WILL_QOS", value_parser = qos, help_heading = "Will")]
    will_qos: Option<QoS>,
    /// The server retains it
    #[arg(long, env = "MQWAY_WILL_RETAIN", action = SetTrue, help_heading = "Will")]
    #[arg(value_parser = FalseyValueParser::new())]
    will_retain: bool,

    #[command(flatten, next_help_heading = "TLS, WebSocket and proxies")]
    layers: LayerFlags,

    /// Try again to connect: never, initial (until it is connected for the first time) or always [default: once it has
    /// been connected]
    #[arg(long, value_name = "WHEN", env = "MQWAY_RETRY")]
    pub retry: Option<Retry>,
    /// Give up after this time without what was asked for: a connection, and then all acknowledgements
    /// [default: 20 for each attempt to connect]
    #[arg(long, value_name = "SECS", env = "MQWAY_TIMEOUT")]
    pub timeout: Option<Seconds>,
    /// Take what no flag and no variable says from this profile of the configuration file
    #[arg(long, value_name = "NAME", env = "MQWAY_PROFILE")]
    profile: Option<String>,
    /// The configuration file [default: mqway/config.toml in the user's configuration directory]
    #[arg(long, value_name = "FILE", env = "MQWAY_CONFIG")]
    config: Option<PathBuf>,
    /// Print JSON, one object a line
    #[arg(long, env = "MQWAY_JSON", action = SetTrue, value_parser = FalseyValueParser::new())]
    pub json: bool,
    /// Say what happens, on stderr
    #[arg(short, long, env = "MQWAY_DEBUG", action = SetTrue, value_parser = FalseyValueParser::new())]
    debug: bool,
    /// Say nothing on stderr once the flags are understood
    #[arg(long, env = "MQWAY_QUIET", action = SetTrue, value_parser = FalseyValueParser::new())]
    pub quiet: bool,
    /// What else to say on stderr: error, warn, info, debug or trace
    #[arg(long, value_name = "LEVEL", env = "MQWAY_LOG")]
    log: Option<String>,
    /// For mosquitto's sake; small packets are never held back
    #[arg(long, env = "MQWAY_NODELAY", action = SetTrue, value_parser = FalseyValueParser::new(), hide = true)]
    nodelay: bool,
    /// Print help
    #[arg(long, action = Help)]
    help: Option<bool>,
}

/// What lies between MQTT and the network.
#[derive(Clone, Debug, clap::Args)]
struct LayerFlags {
    /// Certificates of the authorities that sign the server's, in PEM, instead of the system's
    #[arg(long, value_name = "FILE", env = "MQWAY_CAFILE")]
    cafile: Option<PathBuf>,
    /// The same, in every file of a directory
    #[arg(long, value_name = "DIR", env = "MQWAY_CAPATH")]
    capath: Option<PathBuf>,
    /// TLS with the system's authorities, as mosquitto's tools ask for it
    #[arg(long, env = "MQWAY_TLS_USE_OS_CERTS", action = SetTrue, value_parser = FalseyValueParser::new())]
    tls_use_os_certs: bool,
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
    #[arg(long, alias = "tls-alpn", value_name = "NAME", env = "MQWAY_ALPN", value_delimiter = ' ')]
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
}

/// When to try again to connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Retry {
    /// The first failure is the end.
    Never,
    /// Until the server has accepted once; a connection that is lost is the end.
    Initial,
    /// Whatever happens.
    Always,
}

impl ClientFlags {
    /// What to say on stderr, for [`crate::logging::start`].
    pub fn log_level(&self) -> &str {
        match &self.log {
            Some(level) => level,
            None if self.quiet => "off",
            None if self.debug => "debug",
            // What TLS warns of is in the one line that says how it ended.
            None => "warn,rustls=error",
        }
    }

    /// The version to speak, where `usual` is what the command speaks if nothing asks for another.
    pub fn version(&self, usual: Version) -> Version {
        // As mosquitto's: whoever gives a property wants the version that has them.
        if self.property.is_empty() { self.protocol_version.unwrap_or(usual) } else { Version::V5 }
    }

    /// The properties that were given for our packets.
    ///
    /// # Errors
    /// If one of them does not exist there, or has no such value.
    pub fn properties(&self) -> Result<Properties, Failure> {
        Properties::parse(&self.property)
    }

    /// Where to connect. A path behind `mqtt://host` is a topic.
    ///
    /// # Errors
    /// If the URL is none.
    pub fn server(&self) -> Result<Server, Failure> {
        let layers = &self.layers;
        let wants_tls = layers.cafile.is_some() || layers.capath.is_some() || layers.tls_use_os_certs;
        Server::find(self, wants_tls)
    }

    /// The server with all that connecting to it needs.
    ///
    /// # Errors
    /// If a file cannot be read, or the flags do not go together.
    pub fn endpoint(&self, server: &Server, version: Version) -> Result<Endpoint, Failure> {
        let layers = &self.layers;
        let mut endpoint = Endpoint::new(&server.text);
        // 3.1.1: [MQTT-3.1.2-22]
        let user_name = self.username.as_ref().or(server.url.user.as_ref());
        if user_name.is_none() && self.password.is_some() && version != Version::V5 {
            return Err(Failure::usage(
                "a password needs a user name before MQTT 5.0; add --username, or use -V 5",
            ));
        }
        if let Some(name) = &self.username {
            endpoint = endpoint.user_name(name);
        }
        if let Some(password) = &self.password {
            endpoint = endpoint.password(password.as_bytes());
        }
        if let Some(authorities) = files::authorities(layers.cafile.as_deref(), layers.capath.as_deref())? {
            endpoint = endpoint.ca(authorities);
        }
        match (&layers.cert, &layers.key) {
            (Some(cert), Some(key)) => endpoint = endpoint.certificate(files::read(cert)?, files::read(key)?),
            (None, None) => {}
            _ => {
                return Err(Failure::usage("--cert and --key belong together; give the files of both"));
            }
        }
        if layers.insecure {
            endpoint = endpoint.insecure();
        }
        endpoint = endpoint.alpn(&layers.alpn);
        for header in &layers.header {
            // The value may be a secret, so that it is not repeated.
            let (name, value) = header
                .split_once(':')
                .ok_or_else(|| Failure::usage("a header field has no colon; write it as 'Name: value'"))?;
            endpoint = endpoint.header(name.trim(), value.trim());
        }
        if !layers.subprotocol.is_empty() {
            endpoint = endpoint.subprotocols(layers.subprotocol.iter().filter(|name| !name.is_empty()));
        }
        if let Some(proxy) = &layers.proxy {
            // curl's name for a proxy that resolves names, which is what ours always do.
            endpoint = endpoint.proxy(proxy.replacen("socks5h://", "socks5://", 1));
        }
        Ok(endpoint)
    }

    /// How the client behaves, apart from what it is asked for.
    ///
    /// # Errors
    /// If the flags do not go together.
    pub fn options(&self, version: Version, properties: &Properties) -> Result<Options, Failure> {
        let client_id = match (&self.id, &self.id_prefix) {
            (Some(_), Some(_)) => return Err(Failure::usage("give --id or --id-prefix, not both")),
            (Some(id), None) => id.clone(),
            (None, Some(prefix)) => format!("{prefix}{}", std::process::id()),
            (None, None) => String::new(),
        };
        let [connect, will, subscribe, unsubscribe, disconnect] =
            [Place::Connect, Place::Will, Place::Subscribe, Place::Unsubscribe, Place::Disconnect]
                .map(|place| properties.of(place).clone());
        let limits = connect.as_properties();
        let session_expiry = self.session_expiry(version, limits.session_expiry_interval());
        if session_expiry == Some(FOR_EVER) && self.id.is_none() {
            return Err(Failure::usage("a session that is kept needs a client identifier; add --id"));
        }
        let defaults = Options::default();
        Ok(Options {
            version,
            client_id,
            clean_start: !self.disable_clean_session,
            session_expiry: session_expiry.map(|seconds| Duration::from_secs(seconds.into())),
            keep_alive: self.keepalive,
            will: self.will(will)?,
            connect_time: self.timeout.map_or(CONNECT_TIME, |limit| limit.0),
            // Whatever the server has for us: it is printed, or refused by the user's own -D.
            maximum_packet: limits.maximum_packet_size().map_or(usize::MAX, |most| most.get() as usize),
            receive_maximum: limits.receive_maximum().map_or(defaults.receive_maximum, |most| most.get()),
            topic_alias_maximum: limits.topic_alias_maximum().unwrap_or(defaults.topic_alias_maximum),
            subscribe_properties: subscribe,
            unsubscribe_properties: unsubscribe,
            disconnect_properties: disconnect,
            properties: properties::without_session_expiry(&connect),
            ..defaults
        })
    }

    /// mosquitto's rule: `-x` counts in 5.0 alone, and `-c` without it means for ever.
    fn session_expiry(&self, version: Version, property: Option<u32>) -> Option<u32> {
        let given = self.session_expiry_interval.or(property).filter(|_| version == Version::V5);
        given.or_else(|| self.disable_clean_session.then_some(FOR_EVER))
    }

    fn will(&self, properties: mqway_client::PropertiesBuf) -> Result<Option<Message>, Failure> {
        let Some(topic) = &self.will_topic else {
            let given = [
                ("payload", self.will_payload.is_some()),
                ("retain", self.will_retain),
                ("qos", self.will_qos.is_some()),
            ];
            return match given.iter().find(|(_, given)| *given) {
                Some((flag, _)) => Err(Failure::usage(format_args!("--will-{flag} needs a --will-topic"))),
                None => Ok(None),
            };
        };
        topic_name(topic)?;
        Ok(Some(Message {
            topic: topic.clone(),
            payload: self.will_payload.clone().unwrap_or_default().into_bytes(),
            qos: self.will_qos.unwrap_or_default(),
            retain: self.will_retain,
            properties,
        }))
    }
}

/// Checks that a text is a topic to publish to.
pub fn topic_name(topic: &str) -> Result<(), Failure> {
    TopicName::new(topic)
        .map(drop)
        .map_err(|error| Failure::usage(format_args!("bad topic {topic:?}: {error}")))
}

/// Reads a quality of service.
pub fn qos(text: &str) -> Result<QoS, String> {
    text.parse().ok().and_then(QoS::from_u8).ok_or_else(|| "write 0, 1 or 2".to_owned())
}

/// Reads a version of MQTT, also as mosquitto's tools write it.
pub fn version(text: &str) -> Result<Version, String> {
    match text.trim_start_matches("mqttv") {
        "31" | "3.1" => Ok(Version::V3_1),
        "311" | "3.1.1" => Ok(Version::V3_1_1),
        "5" | "5.0" => Ok(Version::V5),
        _ => Err("write 31, 311 or 5".to_owned()),
    }
}

fn expiry(text: &str) -> Result<u32, String> {
    match text {
        "-1" | "∞" => Ok(FOR_EVER),
        text => text.parse().map_err(|_| "write a number of seconds, or -1 for ever".to_owned()),
    }
}
