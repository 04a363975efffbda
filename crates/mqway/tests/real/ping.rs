//! `mqway ping`: its steps, and each exit status with what provokes it.

use crate::support::mosquitto::Mosquitto;
use crate::support::mqway::mqway;
use crate::support::packets;
use crate::support::process::Finished;
use crate::support::server::{Server, broker_answer, broker_but};
use crate::support::websocket;
use crate::support::{Kind, SOON, free_port};
use std::io::{Read, Write};
use std::time::{Duration, Instant};

fn ping(arguments: &[&str]) -> Finished {
    let finished = mqway(&[&["ping"], arguments].concat(), SOON * 2);
    assert!(!finished.stderr.contains("panicked"), "{finished:?}");
    finished
}

#[track_caller]
fn expect_status(arguments: &[&str], status: i32) -> Finished {
    let finished = ping(arguments);
    assert_eq!(finished.code, Some(status), "mqway ping {arguments:?}: {finished:?}");
    if status != 0 {
        assert!(!finished.stderr.trim().is_empty(), "it says why");
    }
    finished
}

#[test]
fn every_step_is_printed_for_every_transport() {
    let mosquitto = Mosquitto::start();
    let _awake = mosquitto.keep_awake();
    let ca = mosquitto.certificates.ca();
    for kind in Kind::ALL {
        for version in ["31", "311", "5"] {
            let url = mosquitto.url(kind);
            let finished = expect_status(&[&url, "--cafile", ca.to_str().unwrap(), "-V", version], 0);
            let said = (String::from_utf8_lossy(&finished.stdout) + finished.stderr.as_str()).to_lowercase();
            let mut from = 0;
            for step in ["connected", "subscribed", "published", "received", "round trip"] {
                let at = said[from..].find(step);
                from += at
                    .unwrap_or_else(|| panic!("{step:?} in its place, {kind:?}, version {version}: {said}"));
            }
        }
    }
}

#[test]
fn no_scheme_means_tcp() {
    let mosquitto = Mosquitto::start();
    expect_status(&[&mosquitto.tcp().to_string()], 0);
}

#[test]
fn credentials_in_the_url_are_used_and_never_shown() {
    let server = Server::start(|mut stream| {
        let mut level = 0;
        while let Some(packet) = packets::read(&mut stream) {
            if packet[0] == 0x10 {
                level = packets::level_of(&packet);
                let wanted = b"\0\x02me\0\x08p@ss/w:d";
                assert!(packet.ends_with(wanted), "user name and password: {packet:02x?}");
            }
            let Some(answer) = broker_answer(level, &packet) else { continue };
            if stream.write_all(&answer).is_err() {
                break;
            }
        }
    });
    let finished = ping(&[&format!("mqtt://me:p%40ss%2Fw%3Ad@{}", server.address()), "--timeout", "1"]);
    let said = String::from_utf8_lossy(&finished.stdout) + finished.stderr.as_str();
    assert!(said.to_lowercase().contains("connected"), "{said}");
    assert!(!said.contains("p%40ss") && !said.contains("p@ss"), "{said}");
}

#[test]
fn status_2_usage() {
    for arguments in [
        &["http://127.0.0.1"][..],
        &["mqtt://127.0.0.1:99999"],
        &["mqtt://"],
        &["ws://[::1"],
        &["mqtt://127.0.0.1", "--no-such-flag"],
        &["mqtt://127.0.0.1", "--timeout", "soon"],
        &["mqtts://127.0.0.1", "--cafile", "/nowhere/at/all.pem"],
    ] {
        expect_status(arguments, 2);
    }
}

#[test]
fn status_3_name_or_tcp() {
    let closed = free_port();
    for url in [
        format!("mqtt://127.0.0.1:{closed}"),
        format!("mqtts://127.0.0.1:{closed}"),
        format!("ws://127.0.0.1:{closed}"),
        "mqtt://no-such-host.invalid".to_owned(),
        "unix:///nowhere/at/all.sock".to_owned(),
    ] {
        expect_status(&[&url], 3);
    }
}

#[test]
fn status_4_tls() {
    let mosquitto = Mosquitto::start();
    for kind in [Kind::Tls, Kind::Wss] {
        let finished = expect_status(&[&mosquitto.url(kind)], 4);
        assert!(finished.stderr.contains("certificate"), "{}", finished.stderr);
        let other = mosquitto.certificates.file("other-ca.pem");
        expect_status(&[&mosquitto.url(kind), "--cafile", other.to_str().unwrap()], 4);
        expect_status(&[&mosquitto.url(kind), "--insecure"], 0);
    }
    let plain = Server::start(|mut stream| {
        let _ = stream.read(&mut [0; 1024]);
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
    });
    expect_status(&[&plain.url("mqtts")], 4);
    let closing = Server::start(|mut stream| drop(stream.read(&mut [0; 1024])));
    expect_status(&[&closing.url("mqtts")], 4);
}

#[test]
fn status_5_websocket_handshake() {
    let key = websocket::ACCEPT; // somebody else's: the client's key is another
    for (response, word) in [
        ("HTTP/1.1 404 Not Found\r\nContent-Length: 8\r\n\r\nnot here".to_owned(), "404"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_owned(), "200"),
        ("HTTP/1.1 301 Moved\r\nLocation: ws://elsewhere.example/\r\n\r\n".to_owned(), "301"),
        (
            format!(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {key}\r\n\r\n"
            ),
            "Accept",
        ),
        ("SSH-2.0-OpenSSH_9.2\r\n".to_owned(), ""),
        (String::new(), "server closed during the WebSocket handshake"),
    ] {
        let server = Server::start(move |mut stream| {
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(response.as_bytes());
        });
        let finished = expect_status(&[&server.url("ws")], 5);
        assert!(finished.stderr.contains(word), "{word}: {}", finished.stderr);
    }
}

#[test]
fn status_6_connack_refused() {
    let refusing = Server::start(|mut stream| {
        let connect = packets::read(&mut stream).unwrap();
        let connack: &[u8] = match packets::level_of(&connect) {
            packets::V5 => b"\x20\x0C\0\x87\x09\x1F\0\x06go off",
            _ => b"\x20\x02\0\x05",
        };
        let _ = stream.write_all(connack);
    });
    expect_status(&[&refusing.url("mqtt"), "-V", "311"], 6);
    expect_status(&[&refusing.url("mqtt"), "-V", "31"], 6);
    let finished = expect_status(&[&refusing.url("mqtt"), "-V", "5"], 6);
    assert!(finished.stderr.contains("go off"), "the reason string: {}", finished.stderr);
}

#[test]
fn status_7_subscription_refused() {
    let server = broker_but(0x80, |stream, level, packet| {
        let mut body = packets::id(packet).to_be_bytes().to_vec();
        body.extend(if level == packets::V5 { vec![0, 0x87] } else { vec![0x80] });
        let _ = stream.write_all(&packets::packet(0x90, &body));
    });
    for version in ["311", "5"] {
        expect_status(&[&server.url("mqtt"), "-V", version], 7);
    }
}

#[test]
fn status_7_publication_refused() {
    let server = broker_but(0x30, |stream, _, packet| {
        let mut body = packets::publish_id(packet).to_be_bytes().to_vec();
        body.push(0x87);
        let first = if packet[0] & 6 == 2 { 0x40 } else { 0x50 };
        let _ = stream.write_all(&packets::packet(first, &body));
    });
    expect_status(&[&server.url("mqtt"), "-V", "5", "-q", "1"], 7);
}

#[test]
fn status_8_timed_out() {
    let silent = Server::silent();
    for scheme in ["mqtt", "mqtts", "ws"] {
        let begun = Instant::now();
        let finished = expect_status(&[&silent.url(scheme), "--timeout", "1"], 8);
        let took = begun.elapsed();
        assert!(took > Duration::from_millis(900) && took < SOON, "{took:?}: {finished:?}");
    }
    // Everything is granted, but our own message never comes.
    let swallowing = Server::broker();
    expect_status(&[&swallowing.url("mqtt"), "--timeout", "1"], 8);
}

#[test]
fn status_9_connection_lost() {
    let closing = broker_but(0x80, |stream, _, _| {
        let _ = stream.shutdown(std::net::Shutdown::Both);
    });
    expect_status(&[&closing.url("mqtt")], 9);
    let after_connect = Server::start(|mut stream| {
        packets::read(&mut stream);
    });
    expect_status(&[&after_connect.url("mqtt")], 9);
}

#[test]
fn after_a_failure_nothing_is_waited_for() {
    let closing = Server::start(|mut stream| {
        packets::read(&mut stream);
    });
    // Begun on a busy machine the program alone may take that long, but hardly each time.
    let is_quick = |_| {
        let begun = Instant::now();
        expect_status(&[&closing.url("mqtt")], 9);
        begun.elapsed() < Duration::from_millis(900)
    };
    assert!((0..20).any(is_quick), "each of twenty took longer");
}

/// What only a broken or hostile server does is neither a refusal nor a lost connection.
#[test]
fn status_1_other() {
    let nonsense = broker_but(0x80, |stream, _, _| {
        let _ = stream.write_all(&[0x00, 0x00, 0xFF, 0xFF]);
    });
    expect_status(&[&nonsense.url("mqtt")], 1);
}
