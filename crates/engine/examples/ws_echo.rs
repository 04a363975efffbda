//! A WebSocket server that sends every message back, text and binary: for suites that test the framing.
//!
//! `cargo run --release -p mqway-engine --example ws_echo -- 127.0.0.1:9001`, or a URL: `ws://127.0.0.1:9001`
//!
//! It shows the two halves apart: the engine moves bytes, and the layer of `mqway-transport` makes messages of them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use mqway_engine::{Bind, CloseCode, Config, ConnId, Core, Engine, Io, Limits, Listener, Origin, Why};
use mqway_transport::Url;
use mqway_transport::websocket::{
    self, Connection, Event, MessageKind, ServerHandshake, ServerOptions, TextPolicy,
};

/// The longest message that is echoed.
const LONGEST: u64 = 64 * 1024 * 1024;

struct Echo {
    options: Arc<ServerOptions>,
    peers: HashMap<ConnId, Peer>,
}

enum Peer {
    Asking(ServerHandshake),
    Talking { connection: Connection, message: Vec<u8> },
}

impl Echo {
    fn new() -> Echo {
        let mut options =
            ServerOptions { paths: Vec::new(), subprotocols: Vec::new(), ..ServerOptions::default() };
        options.limits = websocket::Limits { max_message: LONGEST, text: TextPolicy::Accept };
        Echo { options: Arc::new(options), peers: HashMap::new() }
    }

    fn hang_up(&mut self, io: &mut Io<()>, conn: ConnId) {
        self.peers.remove(&conn);
        io.close(conn, CloseCode::NORMAL);
    }
}

impl Core for Echo {
    type Mail = ();

    fn opened(&mut self, _: &mut Io<()>, conn: ConnId, _: Origin) {
        self.peers.insert(conn, Peer::Asking(ServerHandshake::new(self.options.clone())));
    }

    fn data(&mut self, io: &mut Io<()>, conn: ConnId, bytes: &mut [u8]) -> usize {
        let Some(peer) = self.peers.get_mut(&conn) else { return bytes.len() };
        let (mut out, mut at, mut over) = (Vec::new(), 0, false);
        if let Peer::Asking(handshake) = peer {
            match handshake.feed(bytes, &mut out) {
                Ok(Some(accepted)) => {
                    at = accepted.consumed;
                    *peer = Peer::Talking { connection: accepted.connection, message: Vec::new() };
                }
                Ok(None) => at = bytes.len(),
                Err(_) => over = true,
            }
        }
        if let Peer::Talking { connection, message } = peer {
            over = talk(connection, message, bytes, at, &mut out);
        }
        io.send(conn, &out);
        if over {
            self.hang_up(io, conn);
        }
        bytes.len()
    }

    fn ended(&mut self, io: &mut Io<()>, conn: ConnId) {
        self.hang_up(io, conn);
    }

    fn closed(&mut self, _: &mut Io<()>, conn: ConnId, _: &Why) {
        self.peers.remove(&conn);
    }
}

/// Echoes the messages in `bytes` from `at` on. True if the WebSocket is over.
fn talk(
    connection: &mut Connection,
    message: &mut Vec<u8>,
    bytes: &mut [u8],
    mut at: usize,
    out: &mut Vec<u8>,
) -> bool {
    loop {
        match connection.read(bytes, &mut at, out) {
            Ok(Some(Event::Data { kind, range, end, .. })) => {
                message.extend_from_slice(&bytes[range]);
                if end {
                    echo(connection, kind, message, out);
                }
            }
            Ok(Some(_)) => {}
            Ok(None) => return connection.is_finished(),
            Err(_) => return true,
        }
    }
}

fn echo(connection: &mut Connection, kind: MessageKind, message: &mut Vec<u8>, out: &mut Vec<u8>) {
    if let Err(error) = connection.write_message(kind, message, out) {
        eprintln!("not echoed: {error}");
    }
    message.clear();
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let argument = std::env::args().nth(1).unwrap_or("127.0.0.1:9001".to_owned());
    // A listener's URL as mqway takes it, or an address alone. Every path is an echo.
    let url = if argument.contains("://") { argument } else { format!("ws://{argument}") };
    let url = Url::parse_listener(&url)?;
    let limits = Limits { close_time: Duration::from_secs(2), ..Limits::default() };
    let listener = Listener::new(Bind::tcp(&url.host, url.port));
    let engine = Engine::start(Config { limits, ..Config::default() }, vec![listener], |_| Echo::new())?;
    eprintln!("listening ws://{}", engine.addresses()[0]);
    engine.join();
    Ok(())
}
