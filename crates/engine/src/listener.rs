//! Where connections come from.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mqway_transport::url::Scheme;
use mqway_transport::{ServerOptions, Url};
use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};

/// Connections that wait to be accepted, at the most (the system's own limit may be lower).
const BACKLOG: i32 = 4096;

/// How long a silent TCP connection is left alone before the system asks whether its peer still lives.
pub(crate) const KEEPALIVE: Duration = Duration::from_secs(120);

/// The place of a listener in the list that the engine was started with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ListenerId(pub usize);

/// The address to listen at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bind {
    /// A TCP port. An empty host means every address of the machine; port 0 means any free one.
    Tcp {
        /// An address, a name, or nothing.
        host: String,
        /// The port.
        port: u16,
    },
    /// A Unix socket. A socket file that nobody serves any more is replaced; the file is removed at the end.
    Unix(PathBuf),
}

impl Bind {
    /// A TCP address.
    pub fn tcp(host: &str, port: u16) -> Bind {
        Bind::Tcp { host: host.to_owned(), port }
    }
}

/// One address to listen at, and the layers that its connections speak.
#[derive(Clone, Debug)]
pub struct Listener {
    /// Where.
    pub bind: Bind,
    /// TLS, WebSocket, PROXY protocol.
    pub options: ServerOptions,
}

impl Listener {
    /// A listener whose connections carry the application's bytes as they are.
    pub fn new(bind: Bind) -> Listener {
        Listener { bind, options: ServerOptions::default() }
    }

    /// Its URL: what it serves, and where.
    pub fn url(&self) -> Url {
        let ServerOptions { tls, websocket, .. } = &self.options;
        let scheme = match (&self.bind, tls, websocket) {
            (Bind::Unix(_), ..) => Scheme::Unix,
            (_, None, None) => Scheme::Tcp,
            (_, Some(_), None) => Scheme::Tls,
            (_, None, Some(_)) => Scheme::Ws,
            (_, Some(_), Some(_)) => Scheme::Wss,
        };
        let (host, port, path) = match &self.bind {
            Bind::Tcp { host, port } => {
                let path = websocket.as_ref().and_then(|websocket| websocket.paths.first());
                (host.clone(), *port, path.cloned().unwrap_or_default())
            }
            Bind::Unix(path) => (String::new(), 0, path.display().to_string()),
        };
        Url { scheme, host, port, path, user: None, password: None }
    }
}

/// The address that a listener got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bound {
    /// A TCP address, its port never 0.
    Tcp(SocketAddr),
    /// The path of a Unix socket.
    Unix(PathBuf),
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Bound::Tcp(address) => address.fmt(f),
            Bound::Unix(path) => path.display().fmt(f),
        }
    }
}

/// A bound socket, not yet given to a worker.
pub(crate) enum Acceptor {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// Binds and listens; the socket does not block.
pub(crate) fn bind(bind: &Bind) -> io::Result<(Acceptor, Bound)> {
    match bind {
        Bind::Tcp { host, port } => {
            let listener = bind_tcp(host, *port)?;
            let address = listener.local_addr()?;
            Ok((Acceptor::Tcp(listener), Bound::Tcp(address)))
        }
        Bind::Unix(path) => Ok((Acceptor::Unix(bind_unix(path)?), Bound::Unix(path.clone()))),
    }
}

fn bind_tcp(host: &str, port: u16) -> io::Result<TcpListener> {
    if host.is_empty() {
        // Both families by one socket; a machine without IPv6 still has the other.
        return listen(SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port))
            .or_else(|_| listen(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port)));
    }
    if let Ok(address) = host.parse::<IpAddr>() {
        return listen(SocketAddr::new(address, port));
    }
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in (host, port).to_socket_addrs()? {
        match listen(address) {
            Ok(listener) => return Ok(listener),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED) {
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_address(true)?;
    // Accepted sockets inherit both.
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE))?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn bind_unix(path: &Path) -> io::Result<UnixListener> {
    let listener = match UnixListener::bind(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_abandoned(path) => {
            std::fs::remove_file(path)?;
            UnixListener::bind(path)?
        }
        other => other?,
    };
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Whether `path` is a socket whose server has died.
fn is_abandoned(path: &Path) -> bool {
    use std::os::unix::fs::FileTypeExt;
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_socket());
    is_socket
        && std::os::unix::net::UnixStream::connect(path)
            .is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}
