//! What a connection costs in memory, at rest and in the middle of each handshake, as the process's resident size.
//!
//! `cargo test --release -p mqway-transport --test memory -- --nocapture` prints the table.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod face_to_face;

use std::process::Command;

use face_to_face::{Authority, Between, Side, Signed, exchange, trusting, with_tls, with_websocket};
use mqway_transport::{ClientOptions, ServerOptions, Stack};

/// About how many bytes each case may take in all: enough that what the allocator has lying about doesn't count.
const IN_ALL: usize = 4_000_000;

/// A server stack, and what it is fed; or a client stack after its handshake.
struct Case<'a> {
    name: &'static str,
    /// The most bytes that a connection may cost.
    limit: usize,
    make: Box<dyn Fn() -> Stack + 'a>,
}

/// Names the case that this process is to measure: each has a process of its own, or one would reuse what another
/// gave back.
const CASE: &str = "MEMORY_CASE";

#[test]
fn connections_cost_what_they_may() {
    let authority = Authority::new("authority");
    let signed = authority.sign("broker.test");
    let cases = cases(&authority, &signed);
    if let Ok(name) = std::env::var(CASE) {
        return measure(cases.iter().find(|case| case.name == name).unwrap());
    }
    for case in &cases {
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args(["connections_cost_what_they_may", "--exact", "--nocapture"]).env(CASE, case.name);
        let output = child.output().unwrap();
        let printed = String::from_utf8_lossy(&output.stdout);
        println!("{}", printed.lines().find(|line| line.contains("bytes, may have")).unwrap_or_default());
        assert!(output.status.success(), "{printed}{}", String::from_utf8_lossy(&output.stderr));
    }
}

fn measure(case: &Case<'_>) {
    // Whatever is set up once, and pages that the allocator keeps.
    drop((case.make)());
    let connections = (IN_ALL / case.limit).max(200);
    let mut stacks: Vec<Option<Box<Stack>>> = (0..connections).map(|_| None).collect();
    let before = resident();
    for stack in &mut stacks {
        *stack = Some(Box::new((case.make)()));
    }
    let each = resident().saturating_sub(before) / connections;
    println!("{:42} {each:6} bytes, may have {:6}", case.name, case.limit);
    assert!(each <= case.limit, "{}: {each} bytes, more than {}", case.name, case.limit);
}

fn cases<'a>(authority: &'a Authority, signed: &'a Signed) -> Vec<Case<'a>> {
    let (tls_server, tls_client) = with_tls(&signed.server(), &trusting(authority));
    let (mut ws_server, mut ws_client) = (ServerOptions::default(), ClientOptions::default());
    with_websocket(&mut ws_server, &mut ws_client);
    let (mut wss_server, mut wss_client) = (tls_server.clone(), tls_client.clone());
    with_websocket(&mut wss_server, &mut wss_client);
    let plain = (ServerOptions::default(), ClientOptions::default());
    let proxied = ServerOptions { proxy_protocol: true, ..ServerOptions::default() };

    let open = |(server, client): (ServerOptions, ClientOptions), want_server: bool| {
        move || {
            let (mut server, mut client) = (Side::server(&server), Side::client(&client));
            exchange(&mut client, &mut server, &mut Between::nothing(), &[usize::MAX]);
            client.send(&[0x5a; 100]);
            server.send(&[0x5a; 100]);
            exchange(&mut client, &mut server, &mut Between::nothing(), &[usize::MAX]);
            assert!(server.opened && client.opened && server.facts.is_some());
            if want_server { server.stack } else { client.stack }
        }
    };
    let fed = |options: &ServerOptions, bytes: Vec<u8>| {
        let options = options.clone();
        move || {
            let mut server = Side::server(&options);
            server.receive(&bytes);
            assert!(!server.opened && server.error.is_none(), "{}", server.error());
            server.stack
        }
    };
    let hello = Side::client(&tls_client).wire;
    let request = b"GET /mqtt HTTP/1.1\r\nHost: h\r\nX: ".to_vec();
    let long_request = [request.clone(), vec![b'x'; 16_000]].concat();
    // Handshake messages may have 64 KiB: a ClientHello that claims as much and never ends.
    let endless = [&[0x16, 3, 1, 0x40, 0, 1, 0, 0xff, 0xf0][..], &[0; 0x4000 - 4]].concat();
    let more = [&[0x16, 3, 1, 0x40, 0][..], &[0; 0x4000]].concat();
    let endless = [endless, more.clone(), more.clone(), more[..16_000].to_vec()].concat();

    vec![
        case("tcp, open, server", 300, open(plain.clone(), true)),
        case("tcp, open, client", 300, open(plain, false)),
        case("ws, open, server", 400, open((ws_server.clone(), ws_client.clone()), true)),
        case("ws, open, client", 400, open((ws_server.clone(), ws_client), false)),
        case("tls, open, server", 12_000, open((tls_server.clone(), tls_client.clone()), true)),
        case("tls, open, client", 12_000, open((tls_server.clone(), tls_client), false)),
        case("wss, open, server", 12_000, open((wss_server.clone(), wss_client.clone()), true)),
        case("wss, open, client", 12_000, open((wss_server, wss_client), false)),
        case("PROXY protocol, half", 700, fed(&proxied, b"PROXY TCP4 192.0.".to_vec())),
        case("ws, nothing received", 700, fed(&ws_server, Vec::new())),
        case("ws, a little of the request", 1_000, fed(&ws_server, request)),
        case("ws, 16 KB of the request", 25_000, fed(&ws_server, long_request)),
        case("tls, nothing received", 600, fed(&tls_server, Vec::new())),
        case("tls, half a ClientHello", 8_000, fed(&tls_server, hello[..hello.len() / 2].to_vec())),
        case("tls, waiting for the client's Finished", 16_000, fed(&tls_server, hello)),
        case("tls, 64 KB of a ClientHello", 100_000, fed(&tls_server, endless)),
    ]
}

fn case<'a>(name: &'static str, limit: usize, make: impl Fn() -> Stack + 'a) -> Case<'a> {
    Case { name, limit, make: Box::new(make) }
}

/// Resident memory of this process in bytes.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024
}
