//! What the tests of the binary are made of: the real programs (mosquitto, its clients, paho, MQTT.js, mqway
//! itself), each owned by a value that kills it when dropped, and small independent implementations of MQTT
//! packets and WebSocket frames, so that mqway's own code is never its own witness.

pub mod actor;
pub mod certificates;
pub mod clients;
pub mod key_server;
pub mod mint;
pub mod mosquitto;
pub mod mqway;
pub mod packets;
pub mod process;
pub mod raw;
pub mod recorder;
pub mod server;
pub mod web;
pub mod websocket;

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How long anything that should happen at once may take on a busy machine.
pub const SOON: Duration = Duration::from_secs(10);

/// A transport, as listener or as upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    Tcp,
    Tls,
    Ws,
    Wss,
    Unix,
}

impl Kind {
    pub const ALL: [Kind; 5] = [Kind::Tcp, Kind::Tls, Kind::Ws, Kind::Wss, Kind::Unix];

    pub fn scheme(self) -> &'static str {
        match self {
            Kind::Tcp => "mqtt",
            Kind::Tls => "mqtts",
            Kind::Ws => "ws",
            Kind::Wss => "wss",
            Kind::Unix => "unix",
        }
    }
}

/// A stream with a time limit on every read and write.
pub trait Stream: Read + Write + Send {}
impl<S: Read + Write + Send> Stream for S {}

/// Connects to `mqtt://host:port`, `tcp://`, `ws://` (the socket only) or `unix:///path`.
pub fn dial(url: &str) -> Box<dyn Stream> {
    if let Some(path) = url.strip_prefix("unix://") {
        let stream = UnixStream::connect(path).unwrap_or_else(|e| panic!("connecting to {url}: {e}"));
        stream.set_read_timeout(Some(SOON)).unwrap();
        stream.set_write_timeout(Some(SOON)).unwrap();
        Box::new(stream)
    } else {
        Box::new(dial_tcp(address(url)))
    }
}

/// Connects by TCP, with time limits.
pub fn dial_tcp(address: SocketAddr) -> TcpStream {
    let stream =
        TcpStream::connect_timeout(&address, SOON).unwrap_or_else(|e| panic!("connecting to {address}: {e}"));
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream.set_write_timeout(Some(SOON)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// The socket address in a URL such as `ws://127.0.0.1:8080/mqtt`.
pub fn address(url: &str) -> SocketAddr {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split('/').next().unwrap_or(rest);
    let authority = authority.replace("localhost", "127.0.0.1");
    authority.parse().unwrap_or_else(|e| panic!("{url}: {e}"))
}

/// A port that nothing listens on at this moment.
pub fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}

/// Waits until `check` holds; false if it did not within `limit`.
pub fn eventually(limit: Duration, mut check: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + limit;
    while Instant::now() < end {
        if check() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    check()
}

/// Reads until the peer closes. A reset counts as closing; a time-out is an error.
pub fn read_to_close(stream: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Err(e) if e.kind() != io::ErrorKind::ConnectionReset => Err(e),
        _ => Ok(bytes),
    }
}

/// Waits for the peer to close, reading nothing else; panics if it stays open or says something.
pub fn expect_close(stream: &mut impl Read) {
    let rest = read_to_close(stream).expect("the peer closes");
    assert!(rest.is_empty(), "bytes before the end: {rest:02x?}");
}

/// The root of the repository.
pub fn root() -> PathBuf {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    std::fs::canonicalize(root).expect("the sources are where they were compiled")
}

/// Where `tests/setup` put the clients from other registries.
pub fn real() -> PathBuf {
    std::env::var_os("MQWAY_REAL").map_or_else(|| root().join("target/real"), PathBuf::from)
}

/// The size of a long test, which is ignored unless asked for: the whole, or with `MQWAY_TEST_SHORT=1` a short one.
pub fn long<T>(whole: T, short: T) -> T {
    if std::env::var_os("MQWAY_TEST_SHORT").is_some_and(|v| v != "0") { short } else { whole }
}
