//! Where connections go to.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use mqway_transport::ClientOptions;

/// The address to dial: the server's own, or that of the tunnel in between.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A TCP port.
    Tcp {
        /// An address, or a name to resolve; its addresses are tried in turn.
        host: String,
        /// The port.
        port: u16,
    },
    /// A Unix socket.
    Unix(PathBuf),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Target::Tcp { host, port } => write!(f, "{host}:{port}"),
            Target::Unix(path) => path.display().fmt(f),
        }
    }
}

/// A connection to be made.
#[derive(Clone, Debug)]
pub struct Dial {
    /// Whom to connect to.
    pub target: Target,
    /// Tunnel, TLS and WebSocket on top of it.
    pub options: Arc<ClientOptions>,
    /// The time for all of it together: name, TCP and handshakes.
    pub time_limit: Duration,
}
