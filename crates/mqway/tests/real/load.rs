//! Many connections, slow ones and stuck ones: nothing is left behind, memory stays bounded, others do not notice.

use crate::support::certificates::Certificates;
use crate::support::mqway::{Proxy, Running};
use crate::support::packets::{self, PINGREQ, PINGRESP, V3_1_1};
use crate::support::server::Server;
use crate::support::websocket::{self, WebSocket};
use crate::support::{SOON, dial_tcp, eventually, long, read_to_close};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const MIB: u64 = 1024 * 1024;

/// Limits out of the way, except those that a test is about.
const CROWD: [&str; 4] = ["--max-connections", "50000", "--max-connections-per-address", "50000"];

#[test]
fn connections_opened_and_closed_leave_nothing_behind() {
    churn(2_000);
}

#[test]
#[ignore = "long: ten thousand connections"]
fn ten_thousand_connections_opened_and_closed_leave_nothing_behind() {
    churn(long(10_000, 2_000));
}

/// Pools and tables reach their size in the first rounds; after those, a round leaves nothing. The pause between the
/// rounds is longer than every time limit and leaves no excuse: what is still held then is held for good.
fn churn(connections: usize) {
    const LIMITS: [&str; 6] = ["--connect-timeout", "1", "--dial-timeout", "1", "--connack-timeout", "1"];
    const PAUSE: Duration = Duration::from_secs(6);
    const ROUNDS: usize = 5;
    let broker = Server::broker();
    let proxy =
        Proxy::new().listen("mqtt://127.0.0.1:0").listen("ws://127.0.0.1:0").upstream(&broker.url("mqtt"));
    let proxy = proxy.arguments(&CROWD).arguments(&LIMITS).start();
    let (tcp, ws) = (proxy.address(), crate::support::address(proxy.url(1)));
    let (files, threads) = (proxy.program.open_files(), proxy.program.threads());
    let mut memory = Vec::new();
    for round in 0..ROUNDS {
        come_and_go(tcp, ws, connections / ROUNDS);
        let settled = eventually(SOON, || proxy.program.open_files() <= files);
        assert!(settled, "{} files open, {files} before, round {round}", proxy.program.open_files());
        thread::sleep(PAUSE);
        memory.push(proxy.program.resident());
    }
    assert_eq!(proxy.program.threads(), threads);
    let counted = proxy.counters();
    assert_eq!(counted["clients"], 0, "{counted:#}");
    let grown = memory[ROUNDS - 1].saturating_sub(memory[1]);
    assert!(grown < MIB / 4, "{grown} bytes more after {connections} connections: {memory:?}");
}

/// Nothing waits for an end that has already come: a lingering socket a visit would exhaust the descriptors.
#[test]
fn clients_that_leave_at_once_take_their_descriptors_with_them() {
    let broker = Server::broker();
    let proxy =
        Proxy::new().listen("mqtt://127.0.0.1:0").listen("ws://127.0.0.1:0").upstream(&broker.url("mqtt"));
    let proxy = proxy.arguments(&CROWD).start();
    let files = proxy.program.open_files();
    let left = || proxy.program.open_files().saturating_sub(files);
    // What lingers does so for longer. A busy machine may be as slow, but hardly each time.
    let leaves_nothing = |_| {
        for i in 0..500 {
            let mut client = dial_tcp(proxy.address());
            client.write_all(&packets::connect(packets::LEVELS[i % 3], "brief")).unwrap();
            assert_eq!(packets::read(&mut client).unwrap()[0], 0x20);
            if i % 4 > 0 {
                client.write_all(&packets::DISCONNECT).unwrap();
            }
        }
        eventually(Duration::from_secs(2), || left() == 0)
    };
    assert!((0..5).any(leaves_nothing), "{} descriptors are left", left());
}

/// Connections that end in every way there is, from eight threads.
fn come_and_go(tcp: SocketAddr, ws: SocketAddr, connections: usize) {
    const THREADS: usize = 8;
    thread::scope(|scope| {
        for first in 0..THREADS {
            scope.spawn(move || {
                for i in (first..connections).step_by(THREADS) {
                    visit(tcp, ws, i);
                }
            });
        }
    });
}

fn visit(tcp: SocketAddr, ws: SocketAddr, i: usize) {
    let connect = packets::connect(packets::LEVELS[i % 3], &format!("c{i}"));
    if i % 8 < 2 {
        let mut client = WebSocket::connect(ws);
        client.send(&websocket::binary(&connect));
        assert_eq!(client.packet()[0], 0x20);
        if i.is_multiple_of(8) {
            client.send(&websocket::frame(0x80 | websocket::CLOSE, &1000_u16.to_be_bytes()));
            client.expect_closed(1000);
        }
        return;
    }
    let mut client = dial_tcp(tcp);
    match i % 8 {
        2 => {}
        3 => client.write_all(&connect[..7]).unwrap(),
        4 => {
            client.write_all(b"\xFF\xFF\xFF\xFF\xFF").unwrap();
            read_to_close(&mut client).unwrap();
        }
        end => {
            client.write_all(&connect).unwrap();
            assert_eq!(packets::read(&mut client).unwrap()[0], 0x20);
            if end < 7 {
                client.write_all(&packets::DISCONNECT).unwrap();
            }
            if end < 6 {
                read_to_close(&mut client).unwrap(); // otherwise it is closed at once
            }
        }
    }
}

/// A server that sends to clients named `stuck` for as long as they take it, and counts; to others it is a broker.
fn flood(sent: &Arc<AtomicU64>) -> Server {
    let sent = Arc::clone(sent);
    Server::start(move |mut stream| {
        let connect = packets::read(&mut stream).unwrap_or_default();
        if stream.write_all(&packets::connack(V3_1_1)).is_err() {
            return;
        }
        if connect.ends_with(b"stuck") {
            let publish = packets::publish(V3_1_1, "t", 0, 0, &[0; 10_000]);
            stream.set_write_timeout(None).unwrap();
            while stream.write_all(&publish).is_ok() {
                sent.fetch_add(publish.len() as u64, Ordering::Relaxed);
            }
        } else {
            while let Some(packet) = packets::read(&mut stream) {
                if packet == PINGREQ && stream.write_all(&PINGRESP).is_err() {
                    break;
                }
            }
        }
    })
}

#[test]
fn a_reader_that_stops_reading_costs_bounded_memory_and_others_do_not_notice() {
    stuck_readers(Duration::from_secs(3));
}

#[test]
#[ignore = "long: half a minute of not reading"]
fn a_reader_that_stops_reading_for_long_costs_bounded_memory() {
    stuck_readers(Duration::from_secs(long(30, 5)));
}

fn stuck_readers(during: Duration) {
    let sent = Arc::default();
    let flood = flood(&sent);
    let proxy = Proxy::new()
        .listen("mqtt://127.0.0.1:0")
        .listen("ws://127.0.0.1:0")
        .upstream(&flood.url("mqtt"))
        .start();
    let mut other = dial_tcp(proxy.address());
    other.write_all(&packets::connect(V3_1_1, "other")).unwrap();
    packets::read(&mut other).unwrap();
    let before = proxy.program.resident();

    let mut stuck = dial_tcp(proxy.address());
    stuck.write_all(&packets::connect(V3_1_1, "stuck")).unwrap();
    let mut stuck_ws = WebSocket::connect(crate::support::address(proxy.url(1)));
    stuck_ws.send(&websocket::binary(&packets::connect(V3_1_1, "stuck")));

    // A machine that is busy with other things makes some wait, but not most.
    let mut taken = pings(&mut other, during);
    taken.sort_unstable();
    let median = taken[taken.len() / 2];
    assert!(median < Duration::from_millis(250), "a ping took {median:?} in the median of {}", taken.len());
    let grown = proxy.program.resident().saturating_sub(before);
    assert!(grown < 16 * MIB, "{grown} bytes for two clients that do not read");
    let is_held_back = || {
        let at = sent.load(Ordering::Relaxed);
        thread::sleep(Duration::from_millis(300));
        sent.load(Ordering::Relaxed) == at
    };
    assert!(eventually(SOON, is_held_back), "the upstream is not held back");

    // And when it reads again, it goes on where it was.
    let mut bytes = vec![0; 20 * MIB as usize];
    stuck.read_exact(&mut bytes).unwrap();
    assert_eq!(bytes[..4], packets::connack(V3_1_1));
    let publish = packets::publish(V3_1_1, "t", 0, 0, &[0; 10_000]);
    assert!(bytes[4..].chunks_exact(publish.len()).all(|packet| packet == publish));
    drop(stuck);
    assert!(!pings(&mut other, Duration::from_millis(200)).is_empty());
}

/// How long each of many pings took, none longer than `SOON`.
fn pings(client: &mut TcpStream, during: Duration) -> Vec<Duration> {
    let begun = Instant::now();
    let mut taken = Vec::new();
    while taken.is_empty() || begun.elapsed() < during {
        let sent = Instant::now();
        client.write_all(&PINGREQ).unwrap();
        assert_eq!(packets::read(client).unwrap(), PINGRESP);
        taken.push(sent.elapsed());
        thread::sleep(Duration::from_millis(5));
    }
    taken
}

/// The same towards the server.
#[test]
fn an_upstream_that_stops_reading_holds_the_client_back() {
    let stuck = Server::start(|mut stream| {
        packets::read(&mut stream);
        let _ = stream.write_all(&packets::connack(V3_1_1));
        thread::sleep(Duration::from_secs(30));
    });
    let proxy = Proxy::between("mqtt", &stuck.url("mqtt"));
    let mut client = dial_tcp(proxy.address());
    client.write_all(&packets::connect(V3_1_1, "eager")).unwrap();
    packets::read(&mut client).unwrap();
    let before = proxy.program.resident();
    client.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
    let publish = packets::publish(V3_1_1, "t", 0, 0, &[0; 100_000]);
    let mut sent = 0;
    while sent < 500 * MIB && client.write_all(&publish).is_ok() {
        sent += publish.len() as u64;
    }
    assert!(sent < 100 * MIB, "{sent} bytes were taken for a server that reads nothing");
    let grown = proxy.program.resident().saturating_sub(before);
    assert!(grown < 16 * MIB, "{grown} bytes");
}

const HALF_A_REQUEST: &[u8] = b"GET /mqtt HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n";

/// A record of 512 bytes that is begun with a ClientHello.
const HALF_A_CLIENT_HELLO: &[u8] = b"\x16\x03\x01\x02\0\x01\0\x01\xFC\x03\x03 nothing more";

#[test]
fn half_open_websocket_handshakes_cost_bounded_memory_and_end_in_time() {
    half_open("ws", HALF_A_REQUEST, 8 * 1024, 1_000, 3);
}

#[test]
fn half_open_tls_handshakes_cost_bounded_memory_and_end_in_time() {
    half_open("mqtts", HALF_A_CLIENT_HELLO, 32 * 1024, 1_000, 3);
}

#[test]
fn half_open_websocket_over_tls_handshakes_cost_bounded_memory_and_end_in_time() {
    half_open("wss", HALF_A_CLIENT_HELLO, 32 * 1024, 1_000, 3);
}

#[test]
#[ignore = "long: five thousand handshakes, twice"]
fn five_thousand_half_open_handshakes_cost_bounded_memory_and_end_in_time() {
    let (count, seconds) = long((5_000, 15), (2_000, 6));
    half_open("ws", HALF_A_REQUEST, 8 * 1024, count, seconds);
    half_open("wss", HALF_A_CLIENT_HELLO, 32 * 1024, count, seconds);
}

/// `each` is what one handshake may cost in bytes. Where the crowd does not come within `seconds`, it gets more.
fn half_open(scheme: &str, beginning: &[u8], each: u64, count: usize, seconds: u64) {
    let has_come = |times| half_open_within(scheme, beginning, each, count, seconds * times);
    assert!([1, 4, 16].into_iter().any(has_come), "the crowd came too slowly for this test");
}

/// False if some of the crowd were turned away before the last ones had come.
fn half_open_within(scheme: &str, beginning: &[u8], each: u64, count: usize, seconds: u64) -> bool {
    let certificates = Certificates::new();
    let broker = Server::broker();
    let proxy = Proxy::new()
        .listen(&format!("{scheme}://127.0.0.1:0"))
        .listen("mqtt://127.0.0.1:0")
        .tls(&certificates);
    let proxy = proxy.upstream(&broker.url("mqtt")).arguments(&CROWD);
    let proxy = proxy.arguments(&["--connect-timeout", &seconds.to_string()]).start();
    let (memory, files) = (proxy.program.resident(), proxy.program.open_files());

    let begun = Instant::now();
    let mut crowd: Vec<TcpStream> = (0..count)
        .map(|_| {
            let mut stream = dial_tcp(proxy.address());
            let _ = stream.write_all(beginning); // It may be too late.
            stream
        })
        .collect();
    let left = Duration::from_secs(seconds).saturating_sub(begun.elapsed());
    if left.is_zero() || !eventually(left.min(SOON), || proxy.program.open_files() >= files + count) {
        return false;
    }
    let grown = proxy.program.resident().saturating_sub(memory);
    assert!(grown < each * count as u64 + 4 * MIB, "{grown} bytes for {count} handshakes");
    assert!(is_served(&proxy), "others come in meanwhile");

    let limit = Duration::from_secs(seconds) + SOON;
    assert!(
        eventually(limit, || proxy.program.open_files() <= files),
        "{} files",
        proxy.program.open_files()
    );
    for stream in &mut crowd {
        stream.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
        assert!(read_to_close(stream).is_ok(), "closed");
    }
    assert_eq!(broker.accepted(), 1, "the upstream has seen the honest client alone");
    true
}

fn is_served(proxy: &Running) -> bool {
    let mut stream = dial_tcp(crate::support::address(proxy.url(1)));
    stream.write_all(&packets::connect(V3_1_1, "honest")).unwrap();
    packets::read(&mut stream) == Some(packets::connack(V3_1_1))
}
