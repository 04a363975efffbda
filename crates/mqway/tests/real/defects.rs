//! Defects of earlier proxies in this field, each with a test named for it.

use crate::support::mosquitto::Mosquitto;
use crate::support::mqway::Proxy;
use crate::support::packets::{self, Connect, LEVELS, PINGREQ, V3_1_1, V5};
use crate::support::process::Program;
use crate::support::server::Server;
use crate::support::{SOON, dial, dial_tcp, eventually, expect_close, read_to_close};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// How much memory may come and go for reasons of the allocator.
const SLACK: u64 = 8 * 1024 * 1024;

/// Connects to a proxy, sends CONNECT, expects an accepting CONNACK.
fn enter(url: &str, level: u8, client_id: &str) -> TcpStream {
    let mut stream = dial_tcp(crate::support::address(url));
    stream.write_all(&packets::connect(level, client_id)).unwrap();
    let connack = packets::read(&mut stream).expect("CONNACK");
    assert_eq!((connack[0], connack[3]), (0x20, 0), "{connack:02x?}");
    stream
}

#[test]
fn too_many_open_files_neither_ends_the_process_nor_spins() {
    let broker = Server::broker();
    let mut proxy =
        Proxy::new().listen("mqtt://127.0.0.1:0").upstream(&broker.url("mqtt")).open_files(64).start();
    let crowd: Vec<TcpStream> = (0..150).map(|_| dial_tcp(proxy.address())).collect();
    thread::sleep(Duration::from_millis(300));
    let before = proxy.program.processor_time();
    thread::sleep(Duration::from_secs(1));
    let used = proxy.program.processor_time() - before;
    assert!(used < Duration::from_millis(200), "{used:?} of processor time in a second of waiting");
    assert!(proxy.program.is_running());
    drop(crowd);
    assert!(eventually(SOON, || try_enter(proxy.url(0))), "it accepts again");
    assert_eq!(proxy.program.terminate().code(), Some(0));
}

fn try_enter(url: &str) -> bool {
    let Ok(mut stream) = TcpStream::connect(crate::support::address(url)) else { return false };
    stream.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    let mut connack = [0; 4];
    stream.write_all(&packets::connect(V3_1_1, "again")).is_ok()
        && stream.read_exact(&mut connack).is_ok()
        && connack == [0x20, 2, 0, 0]
}

/// Eight headers of five bytes took 2 GB elsewhere.
#[test]
fn lengths_claimed_before_connect_reserve_nothing() {
    let broker = Server::broker();
    let proxy = Proxy::between("mqtt", &broker.url("mqtt"));
    drop(enter(proxy.url(0), V3_1_1, "warm"));
    let before = proxy.program.resident();
    let claims: Vec<TcpStream> = (0..64)
        .map(|_| {
            let mut stream = dial_tcp(proxy.address());
            stream.write_all(&[0x10, 0xFF, 0xFF, 0xFF, 0x7F, 0, 4, b'M', b'Q', b'T', b'T', 5]).unwrap();
            stream
        })
        .collect();
    thread::sleep(Duration::from_millis(300));
    let grown = proxy.program.resident().saturating_sub(before);
    assert!(grown < SLACK, "{grown} bytes for {} claims", claims.len());
}

/// The same after CONNECT, where a large packet is legitimate: only what has come takes memory.
#[test]
fn lengths_claimed_after_connect_reserve_nothing() {
    let broker = Server::broker();
    let proxy = Proxy::between("mqtt", &broker.url("mqtt"));
    let mut clients: Vec<TcpStream> =
        (0..32).map(|i| enter(proxy.url(0), V3_1_1, &format!("c{i}"))).collect();
    let before = proxy.program.resident();
    for client in &mut clients {
        client.write_all(&[0x30, 0xFF, 0xFF, 0xFF, 0x7F, 0, 1, b't', b'x']).unwrap();
    }
    thread::sleep(Duration::from_millis(300));
    let grown = proxy.program.resident().saturating_sub(before);
    assert!(grown < SLACK, "{grown} bytes for {} claims", clients.len());
}

#[test]
fn sigterm_and_sigint_end_it_with_status_0() {
    let broker = Server::broker();
    for signal in ["TERM", "INT"] {
        let mut proxy = Proxy::between("mqtt", &broker.url("mqtt"));
        let mut clients = LEVELS.map(|level| enter(proxy.url(0), level, &format!("c{level}")));
        proxy.program.signal(signal);
        for (level, client) in LEVELS.into_iter().zip(&mut clients) {
            let last = read_to_close(client).unwrap();
            if level == V5 {
                assert_eq!((last[0], last[2]), (0xE0, 0x8B), "DISCONNECT, server shutting down: {last:02x?}");
            } else {
                assert!(last.is_empty(), "version {level} knows no DISCONNECT from a server: {last:02x?}");
            }
        }
        let status = proxy.program.wait(SOON).expect("it ends");
        assert_eq!(status.code(), Some(0), "{signal}: {status}");
        assert!(proxy.last_counters().is_some(), "the counters are printed at the end");
        assert!(TcpStream::connect(proxy.address()).is_err(), "nothing listens any more");
    }
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let (mut stuck, mut proxy) = stuck_client();
    proxy.signal("TERM");
    thread::sleep(Duration::from_millis(100));
    if proxy.is_running() {
        proxy.signal("TERM");
    }
    assert!(proxy.wait(SOON).is_some(), "it still runs after two signals");
    let _ = stuck.write(&PINGREQ);
}

/// A client that does not read, with more on its way to it than the sockets hold.
fn stuck_client() -> (TcpStream, Program) {
    let flood = Server::start(|mut stream| {
        packets::read(&mut stream);
        let _ = stream.write_all(&packets::connack(V3_1_1));
        let publish = packets::publish(V3_1_1, "t", 0, 0, &[0; 60_000]);
        while stream.write_all(&publish).is_ok() {}
    });
    let proxy = Proxy::new().listen("mqtt://127.0.0.1:0").upstream(&flood.url("mqtt"));
    let proxy = proxy.arguments(&["--grace", "60"]).start();
    let client = enter(proxy.url(0), V3_1_1, "stuck");
    thread::sleep(Duration::from_millis(300));
    (client, proxy.program)
}

/// A client that says everything and closes its side still gets every answer.
#[test]
fn replies_at_half_close_are_not_lost() {
    const REPLIES: usize = 2_000;
    let slow = Server::start(|mut stream| {
        packets::read(&mut stream);
        let _ = stream.write_all(&packets::connack(V3_1_1));
        let _ = stream.read_to_end(&mut Vec::new()); // the rest of the answers follows the client's end
        let mut answer = Vec::new();
        for _ in 0..REPLIES {
            answer.extend(packets::publish(V3_1_1, "reply", 0, 0, &[1; 1000]));
        }
        let _ = stream.write_all(&answer);
    });
    for scheme in ["mqtt", "unix"] {
        let directory = tempfile::tempdir().unwrap();
        let listen = match scheme {
            "unix" => format!("unix://{}/s", directory.path().display()),
            _ => "mqtt://127.0.0.1:0".to_owned(),
        };
        let proxy = Proxy::new().listen(&listen).upstream(&slow.url("mqtt")).start();
        let mut said = packets::connect(V3_1_1, "half");
        said.extend(packets::publish(V3_1_1, "question", 0, 0, b"?"));
        let replies = if scheme == "unix" {
            let mut stream =
                std::os::unix::net::UnixStream::connect(&proxy.url(0)["unix://".len()..]).unwrap();
            stream.set_read_timeout(Some(SOON)).unwrap();
            stream.write_all(&said).unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            read_to_close(&mut stream).unwrap()
        } else {
            let mut stream = dial_tcp(proxy.address());
            stream.write_all(&said).unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            read_to_close(&mut stream).unwrap()
        };
        assert_eq!(packets::split(&replies).len(), 1 + REPLIES, "{scheme}");
    }
}

/// The other way round: a server that says everything and closes.
#[test]
fn last_words_of_the_upstream_are_not_lost() {
    const WORDS: usize = 5_000;
    let hasty = Server::start(|mut stream| {
        packets::read(&mut stream);
        let mut answer = packets::connack(V3_1_1);
        for _ in 0..WORDS {
            answer.extend(packets::publish(V3_1_1, "word", 0, 0, &[1; 1000]));
        }
        let _ = stream.write_all(&answer);
    });
    let proxy = Proxy::between("mqtt", &hasty.url("mqtt"));
    let mut client = dial(proxy.url(0));
    client.write_all(&packets::connect(V3_1_1, "listens")).unwrap();
    thread::sleep(Duration::from_millis(300)); // the upstream has long closed when the reading starts
    assert_eq!(packets::split(&read_to_close(&mut client).unwrap()).len(), 1 + WORDS);
}

/// How long the drain of a half-closed connection may take is bounded as well.
#[test]
fn a_half_closed_connection_ends_when_the_upstream_says_nothing() {
    let silent = Server::start(|mut stream| {
        packets::read(&mut stream);
        let _ = stream.write_all(&packets::connack(V3_1_1));
        let _ = stream.read_to_end(&mut Vec::new());
        thread::sleep(Duration::from_secs(120));
    });
    let proxy = Proxy::between("mqtt", &silent.url("mqtt"));
    let mut client = enter(proxy.url(0), V3_1_1, "half");
    client.shutdown(Shutdown::Write).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    expect_close(&mut client);
}

/// Every property that CONNECT and CONNACK can have, both ways, unharmed.
#[test]
fn version_5_passes_unharmed() {
    let properties: Vec<u8> = [
        &[0x11, 0, 0, 0, 60][..],                                  // Session Expiry Interval
        &[0x21, 0, 9],                                             // Receive Maximum
        &[0x27, 0, 1, 0, 0],                                       // Maximum Packet Size
        &[0x22, 0, 5],                                             // Topic Alias Maximum
        &[0x19, 1, 0x17, 1],                                       // Request Response and Problem Information
        b"\x26\0\x01b\0\x012\x26\0\x01a\0\x011\x26\0\x01b\0\x013", // User Properties, repeated
        b"\x15\0\x06SECRET\x16\0\x03\0\x01\xFF",                   // Authentication Method and Data
    ]
    .concat();
    let connect = Connect {
        level: V5,
        client_id: "five",
        will: Some(("will/topic", b"\0\xFF")),
        user: Some(("user", "p\u{e4}ss")),
        properties: &properties,
        ..Connect::default()
    };
    let connack_properties: Vec<u8> = [
        &[0x21, 0, 20][..],                                    // Receive Maximum
        &[0x24, 1, 0x25, 0],                                   // Maximum QoS, Retain Available
        &[0x27, 0, 0, 0x40, 0],                                // Maximum Packet Size
        b"\x12\0\x08assigned",                                 // Assigned Client Identifier
        &[0x22, 0, 3],                                         // Topic Alias Maximum
        b"\x1F\0\x04fine\x26\0\x01z\0\x019\x26\0\x01a\0\x010", // Reason String, User Properties
        &[0x28, 1, 0x29, 0, 0x2A, 1, 0x13, 0, 30], // wildcards, identifiers, shares, Server Keep Alive
        b"\x1A\0\x04info\x1C\0\x05other",          // Response Information, Server Reference
        b"\x15\0\x06SECRET\x16\0\x01\0",           // Authentication Method and Data
        &[0x11, 0, 0, 0, 50],                      // Session Expiry Interval
    ]
    .concat();
    let mut body = vec![0, 0];
    body.extend(packets::variable(connack_properties.len()));
    body.extend(&connack_properties);
    let connack = packets::packet(0x20, &body);

    let (tell, told) = mpsc::channel();
    let answer = connack.clone();
    let server = Server::start(move |mut stream| {
        let mut seen = Vec::new();
        seen.push(packets::read(&mut stream));
        stream.write_all(&answer).unwrap();
        for _ in 0..3 {
            seen.push(packets::read(&mut stream));
        }
        tell.send(seen).unwrap();
    });
    let proxy = Proxy::between("mqtt", &server.url("mqtt"));
    let mut client = dial_tcp(proxy.address());
    client.write_all(&connect.bytes()).unwrap();
    assert_eq!(packets::read(&mut client), Some(connack));

    // A PUBLISH with an alias, one that uses it, and one with properties in an unusual order.
    let first = packets::packet(0x30, b"\0\x01t\x03\x23\0\x01first");
    let second = packets::packet(0x30, b"\0\0\x03\x23\0\x01second");
    let third =
        packets::packet(0x32, b"\0\x01t\0\x09\x12\x26\0\x01k\0\x01v\x02\0\0\0\x09\x09\0\x01c\x01\x01third");
    for packet in [&first, &second, &third] {
        client.write_all(packet).unwrap();
    }
    let seen = told.recv_timeout(SOON).unwrap();
    assert_eq!(seen, [Some(connect.bytes()), Some(first), Some(second), Some(third)]);
}

#[test]
fn the_upstream_is_dialled_after_a_whole_connect_only() {
    let broker = Server::broker();
    let proxy = Proxy::between("mqtt", &broker.url("mqtt"));
    let connect = packets::connect(V5, "patient");
    let (most, last) = connect.split_at(connect.len() - 1);
    let mut client = dial_tcp(proxy.address());
    client.write_all(most).unwrap();
    thread::sleep(Duration::from_millis(200));
    assert_eq!(broker.accepted(), 0);
    client.write_all(last).unwrap();
    assert_eq!(packets::read(&mut client), Some(packets::connack(V5)));
    assert_eq!(broker.accepted(), 1);
}

/// [MQTT-3.1.0-1]
#[test]
fn anything_but_connect_first_closes_and_is_not_passed_on() {
    let broker = Server::broker();
    let proxy = Proxy::between("mqtt", &broker.url("mqtt"));
    let malformed = packets::packet(0x10, b"\0\x04MQTT\x04\x03\0\0\0\0"); // reserved flag
    let http = b"GET / HTTP/1.1\r\n\r\n".to_vec();
    let tls = b"\x16\x03\x01\x02\0\x01\0\x01\xFC\x03\x03".to_vec();
    for bytes in [PINGREQ.to_vec(), packets::publish(V3_1_1, "t", 0, 0, b"x"), malformed, http, tls] {
        let mut client = dial_tcp(proxy.address());
        client.write_all(&bytes).unwrap();
        assert!(read_to_close(&mut client).is_ok(), "closed after {bytes:02x?}");
    }
    assert_eq!(broker.accepted(), 0);
}

/// [MQTT-3.1.0-2]
#[test]
fn a_second_connect_closes() {
    let broker = Server::broker();
    let proxy = Proxy::between("mqtt", &broker.url("mqtt"));
    for level in LEVELS {
        let mut client = enter(proxy.url(0), level, "twice");
        client.write_all(&packets::connect(level, "twice")).unwrap();
        let last = read_to_close(&mut client).unwrap();
        if level == V5 {
            assert_eq!((last[0], last[2]), (0xE0, 0x82), "DISCONNECT, protocol error: {last:02x?}");
        } else {
            assert!(last.is_empty(), "{last:02x?}");
        }
    }
}

#[test]
fn bytes_before_connack_wait_and_keep_their_order() {
    let (tell, told) = mpsc::channel();
    let slow = Server::start(move |mut stream| {
        let connect = packets::read(&mut stream).unwrap();
        thread::sleep(Duration::from_millis(300));
        stream.write_all(&packets::connack(packets::level_of(&connect))).unwrap();
        let all: Vec<u8> = (0..100).map(|_| *packets::read(&mut stream).unwrap().last().unwrap()).collect();
        tell.send(all).unwrap();
        thread::sleep(Duration::from_millis(100));
    });
    let proxy = Proxy::between("mqtt", &slow.url("mqtt"));
    let mut client = dial_tcp(proxy.address());
    let mut bytes = packets::connect(V5, "eager");
    for i in 0..100 {
        bytes.extend(packets::publish(V5, "t", 0, 0, &[i]));
    }
    client.write_all(&bytes).unwrap();
    assert_eq!(told.recv_timeout(SOON).unwrap(), (0..100).collect::<Vec<u8>>());
}

#[test]
fn a_pingreq_is_the_upstreams_to_answer() {
    let (tell, told) = mpsc::channel();
    let mute = Server::start(move |mut stream| {
        packets::read(&mut stream);
        stream.write_all(&packets::connack(V3_1_1)).unwrap();
        tell.send(packets::read(&mut stream)).unwrap();
        thread::sleep(Duration::from_secs(2));
    });
    let proxy = Proxy::between("mqtt", &mute.url("mqtt"));
    let mut client = enter(proxy.url(0), V3_1_1, "pings");
    client.write_all(&PINGREQ).unwrap();
    assert_eq!(told.recv_timeout(SOON).unwrap(), Some(PINGREQ.to_vec()));
    client.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    let silence = client.read(&mut [0; 2]);
    assert!(silence.is_err(), "an answer that the upstream did not give: {silence:?}");
}

/// Only a client that left without DISCONNECT has its will published.
#[test]
fn a_will_fires_at_eof_and_not_after_disconnect() {
    let mosquitto = Mosquitto::start();
    let proxy = Proxy::between("mqtt", &mosquitto.url(crate::support::Kind::Tcp));
    for level in LEVELS {
        let mut observer = enter(proxy.url(0), V3_1_1, "observer");
        observer.write_all(&packets::subscribe(V3_1_1, 1, "will/#", 1)).unwrap();
        assert_eq!(packets::read(&mut observer).unwrap()[0], 0x90);
        for (topic, polite) in [("will/polite", true), ("will/rude", false)] {
            let will = Some((topic, &b"gone"[..]));
            let mut client = dial_tcp(proxy.address());
            client
                .write_all(&Connect { level, client_id: "willing", will, ..Connect::default() }.bytes())
                .unwrap();
            assert_eq!(packets::read(&mut client).unwrap()[0], 0x20);
            if polite {
                client.write_all(&packets::DISCONNECT).unwrap();
                expect_close(&mut client);
            }
        }
        let will = packets::read(&mut observer).unwrap();
        assert!(String::from_utf8_lossy(&will).contains("will/rude"), "version {level}: {will:02x?}");
    }
}

#[test]
fn a_killed_upstream_reaches_the_client_at_once() {
    // A busy machine may be slow to tell, but hardly each time.
    let told_at_once = |_| {
        let mut mosquitto = Mosquitto::start();
        let proxy = Proxy::between("mqtt", &mosquitto.url(crate::support::Kind::Tcp));
        let mut clients = LEVELS.map(|level| enter(proxy.url(0), level, &format!("c{level}")));
        let begun = Instant::now();
        mosquitto.program.kill();
        for client in &mut clients {
            read_to_close(client).unwrap();
        }
        begun.elapsed() < Duration::from_secs(2)
    };
    assert!((0..5).any(told_at_once), "each of five took longer");
}
