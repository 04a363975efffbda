//! What a proxy is told to do.

use std::sync::Arc;
use std::time::Duration;

use mqway_engine::{Listener, Target};
use mqway_hooks::{Hooks, Refusals};
use mqway_transport::ClientOptions;

/// The largest packet that MQTT can express: a five-byte header and a remaining length of 268,435,455 bytes.
pub const LARGEST_PACKET: usize = 5 + mqway_codec::MAX_REMAINING_LENGTH as usize;

/// A server to pass clients on to.
#[derive(Clone, Debug)]
pub struct Upstream {
    /// How it is called in logs; without credentials.
    pub name: String,
    /// Whom to connect to: the server, or the tunnel on the way to it.
    pub target: Target,
    /// Tunnel, TLS and WebSocket.
    pub options: Arc<ClientOptions>,
}

impl Upstream {
    /// A server that speaks MQTT over plain TCP.
    pub fn tcp(host: &str, port: u16) -> Upstream {
        let target = Target::Tcp { host: host.to_owned(), port };
        Upstream { name: format!("tcp://{target}"), target, options: Arc::default() }
    }
}

/// Everything that a proxy needs to start.
#[derive(Clone, Debug)]
pub struct Config {
    /// Workers, and the limits on connections and bytes that hold below MQTT.
    pub engine: mqway_engine::Config,
    /// Where clients connect.
    pub listeners: Vec<Listener>,
    /// Where they are passed on to. A client goes to one of them by its identifier, always the same one as long
    /// as that one can be reached.
    pub upstreams: Vec<Upstream>,
    /// The limits of the proxy itself.
    pub limits: Limits,
    /// What judges, changes and watches clients and their messages.
    pub hooks: Hooks,
    /// What happens where the protocol leaves a choice of how to refuse.
    pub refusals: Refusals,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            engine: mqway_engine::Config::default(),
            listeners: Vec::new(),
            upstreams: Vec::new(),
            limits: Limits::default(),
            hooks: Hooks::new(),
            refusals: Refusals::default(),
        }
    }
}

/// What no client may exceed.
#[derive(Clone, Debug)]
pub struct Limits {
    /// The time from the end of the handshakes below to a whole CONNECT.
    pub connect_time: Duration,
    /// The time to reach one upstream: name, TCP and handshakes. The next one has as much again.
    pub dial_time: Duration,
    /// The time from CONNECT to CONNACK, authentication included.
    pub connack_time: Duration,
    /// The time that a hook has for an answer which it has promised. After that there is none, and what is said then
    /// is what [`Hooks::unanswered`] says.
    pub hook_time: Duration,
    /// Connections of one worker that may wait for answers of hooks; beyond, there is none.
    pub waiting: usize,
    /// Bytes of one packet, in either direction. If it is less than [`LARGEST_PACKET`], both sides of a 5.0
    /// connection are told so by their Maximum Packet Size.
    pub packet: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connect_time: Duration::from_secs(10),
            dial_time: Duration::from_secs(10),
            connack_time: Duration::from_secs(30),
            hook_time: Duration::from_secs(5),
            waiting: 10_000,
            packet: LARGEST_PACKET,
        }
    }
}
