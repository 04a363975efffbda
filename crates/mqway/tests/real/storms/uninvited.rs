//! Those who do not mean to be clients: noise, and handshakes that never end.

use super::scene::{MIB, Scene, broker, together};
use super::{V3_1_1, enter};
use crate::support::certificates::Certificates;
use crate::support::websocket::{self, WebSocket};
use crate::support::{SOON, address, dial_tcp, eventually, long, packets, read_to_close};
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// A stream of numbers that is the same each time. (Xorshift, by Marsaglia.)
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn bytes(&mut self, most: u64) -> Vec<u8> {
        let len = 1 + self.next() % most;
        (0..len).map(|_| self.next() as u8).collect()
    }
}

#[test]
fn noise_hurts_nobody() {
    let count = long(20_000, 2_000);
    let certificates = Certificates::new();
    let broker = broker().listen("tls://127.0.0.1:0").tls(&certificates);
    let scene = Scene::begin("noise", broker.arguments(&["--connect-timeout", "2"]));
    let (tls, ws) = (address(scene.broker.url(2)), address(scene.broker.url(1)));
    together(count, |i| {
        let mut noise = Noise(0x9E37_79B9_7F4A_7C15 ^ i as u64);
        let bytes = noise.bytes(4096);
        let send = |stream: &mut TcpStream| stream.write_all(&bytes).unwrap_or(());
        match i % 5 {
            0 => send(&mut dial_tcp(scene.address(i))),
            1 => send(&mut dial_tcp(tls)),
            2 => send(&mut dial_tcp(ws)),
            3 => {
                let mut stream = WebSocket::connect(ws).stream;
                stream.write_all(&websocket::binary(&bytes)).unwrap_or(());
                send(&mut stream);
            }
            // A client at first, with something near MQTT then.
            _ => {
                let mut stream = enter(scene.address(i), V3_1_1, &format!("mad{i}"));
                let mut packet = packets::publish(V3_1_1, "mad", 1, 7, &bytes[..bytes.len().min(64)]);
                for _ in 0..1 + noise.next() % 4 {
                    let at = noise.next() as usize % packet.len();
                    packet[at] = noise.next() as u8;
                }
                stream.write_all(&packet).unwrap_or(());
            }
        }
    });
    let after = scene.end(4 * MIB);
    assert!(after.count("client_faults") > 0 && after.count("connects_refused") > 0);
    assert!(after.count("handshake_failures") > 0);
    assert!(after.says("left out"), "{:?}", after.log);
}

const HALF_A_REQUEST: &[u8] = b"GET /mqtt HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n";

/// A record of 512 bytes that is begun with a ClientHello.
const HALF_A_CLIENT_HELLO: &[u8] = b"\x16\x03\x01\x02\0\x01\0\x01\xFC\x03\x03 nothing more";

#[test]
#[ignore = "long: eight thousand connections that never say who they are"]
fn handshakes_that_never_end_are_ended() {
    let (count, seconds) = long((8_000, 10), (2_000, 4));
    let certificates = Certificates::new();
    let broker = broker().listen("tls://127.0.0.1:0").tls(&certificates);
    let broker = broker.arguments(&["--connect-timeout", &seconds.to_string()]);
    let scene = Scene::begin("half-open connections", broker);
    let (tls, ws) = (address(scene.broker.url(2)), address(scene.broker.url(1)));
    let half_a_connect = &packets::connect(V3_1_1, "half a client")[..9];
    let before = scene.broker.program.open_files();
    let crowd = together(count, |i| {
        let ways: [(SocketAddr, &[u8]); 4] = [
            (scene.address(i), b""),
            (scene.address(i), half_a_connect),
            (ws, HALF_A_REQUEST),
            (tls, HALF_A_CLIENT_HELLO),
        ];
        let (address, beginning) = ways[i % 4];
        let mut stream = dial_tcp(address);
        stream.write_all(beginning).unwrap();
        stream
    });
    enter(scene.address(0), V3_1_1, "honest");
    let open = |but: usize| scene.broker.program.open_files() <= before + but;
    assert!(eventually(SOON + Duration::from_secs(2 * seconds), || open(0)), "they are still open");
    for mut stream in crowd {
        assert!(read_to_close(&mut stream).is_ok(), "closed");
    }
    let after = scene.end(4 * MIB);
    println!("    {count} connections, {} bytes each at the most", after.peak / count as u64);
    assert_eq!(after.count("connect_timeouts") + after.count("handshake_timeouts"), count as u64);
    assert!(after.says("no CONNECT in time") && after.says("left out"), "{:?}", after.log);
}
