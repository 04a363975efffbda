//! A side in each stage, and what may be done to it.

use std::sync::OnceLock;

use mqway_transport::{ClientOptions, ServerOptions, Stage};

use super::face_to_face::{
    Authority, Between, Side, exchange, http_tunnel, socks_tunnel, trusting, with_tls, with_websocket,
};

/// Options of both sides, made once.
pub struct Options {
    pub tls: (ServerOptions, ClientOptions),
    pub ws: (ServerOptions, ClientOptions),
    pub wss: (ServerOptions, ClientOptions),
}

pub fn options() -> &'static Options {
    static MADE: OnceLock<Options> = OnceLock::new();
    MADE.get_or_init(|| {
        let authority = Authority::new("authority");
        let signed = authority.sign("broker.test");
        let tls = with_tls(&signed.server(), &trusting(&authority));
        let (mut ws, mut wss) = (Default::default(), tls.clone());
        for (server, client) in [&mut ws, &mut wss] {
            with_websocket(server, client);
        }
        Options { tls, ws, wss }
    })
}

/// Every stage that can be met: a side in it, and bytes that make a good start there.
pub fn side(number: usize) -> (Side, Vec<u8>) {
    let Options { tls, ws, wss } = options();
    let client_of = |options: &ClientOptions| Side::client(options);
    let open = |(server, client): &(ServerOptions, ClientOptions)| {
        let (mut server, mut client) = (Side::server(server), Side::client(client));
        exchange(&mut client, &mut server, &mut Between::nothing(), &[usize::MAX]);
        (client, server)
    };
    let hello = || Side::client(&tls.1).wire;
    let request = b"GET /mqtt HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n".to_vec();
    match number {
        0 => {
            let server = ServerOptions { proxy_protocol: true, ..wss.0.clone() };
            (Side::server(&server), b"PROXY TCP4 1.1.1.1 1.1.1.1 1 1\r\n".to_vec())
        }
        1 => {
            let mut client = wss.1.clone();
            http_tunnel(&mut client, &mut Between::nothing());
            (client_of(&client), b"HTTP/1.1 200 OK\r\n\r\n".to_vec())
        }
        2 => {
            let mut client = ws.1.clone();
            socks_tunnel(&mut client, &mut Between::nothing());
            (client_of(&client), b"\x05\x00".to_vec())
        }
        3 => (Side::server(&tls.0), hello()),
        4 => {
            let mut server = Side::server(&tls.0);
            let client = Side::client(&tls.1);
            server.receive(&client.wire);
            (client, server.wire)
        }
        5 => (Side::server(&ws.0), request),
        6 => (client_of(&ws.1), b"HTTP/1.1 101 Switching Protocols\r\n".to_vec()),
        7 => (open(ws).1, b"\x82\x81\0\0\0\0x".to_vec()),
        8 => (open(ws).0, b"\x82\x01x".to_vec()),
        9 => (open(tls).1, b"\x17\x03\x03\0\x20".to_vec()),
        10 => (open(wss).0, b"\x17\x03\x03\0\x20".to_vec()),
        _ => (Side::server(&ServerOptions::default()), Vec::new()),
    }
}

/// How many there are.
pub const SIDES: usize = 12;

/// Feeds on, also after the end, as a careless shell might; then ends.
pub fn torment(mut side: Side, bytes: &[u8], sizes: &[usize]) -> Side {
    let mut sizes = sizes.iter().copied().cycle();
    let mut rest = bytes;
    while !rest.is_empty() {
        let (piece, left) = rest.split_at(sizes.next().unwrap().clamp(1, rest.len()));
        rest = left;
        let (mut input, mut scratch) = (piece.to_vec(), Vec::new());
        let before = side.stack.stage();
        match side.stack.receive(&mut input, &mut scratch, &mut side.plain) {
            Ok(received) => {
                let failed = received.failed.is_some();
                assert!(!failed || received.ended && !received.data.is_empty());
                assert!(received.data.is_empty() || before != Stage::Closed);
                if failed {
                    assert_eq!(side.stack.stage(), Stage::Closed);
                }
                side.error = side.error.take().or(received.failed);
            }
            Err(error) => {
                assert_eq!(side.stack.stage(), Stage::Closed);
                assert!(!error.to_string().is_empty() && !error.to_string().contains('\n'));
                assert!(side.error.is_none(), "a second error: {error}");
                side.error = Some(error);
            }
        }
        side.flush();
        assert!(side.plain.is_empty(), "everything is sealed");
    }
    let _ = side.stack.receive_eof();
    side.stack.timed_out(&mut side.plain);
    side.close();
    side
}
