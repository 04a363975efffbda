//! What is on the wire on both sides of the proxy: the same bytes, and one packet in each WebSocket message.

use crate::support::clients::{Player, Target};
use crate::support::mosquitto::Mosquitto;
use crate::support::mqway::Proxy;
use crate::support::packets::{self, LEVELS, V3_1_1, V5};
use crate::support::recorder::{Conversation, Recorder};
use crate::support::websocket::{self, WebSocket, expect_one_packet_per_message, recorded_frames};
use crate::support::{SOON, dial_tcp, eventually, long};
use std::io::Write;
use std::thread;

/// client | recorder | proxy | recorder | mosquitto
#[test]
fn the_same_bytes_on_both_sides() {
    let mosquitto = Mosquitto::start();
    let behind = Recorder::start(mosquitto.tcp());
    let proxy = Proxy::between("mqtt", &format!("mqtt://{}", behind.address()));
    let before = Recorder::start(proxy.address());
    let ca = mosquitto.certificates.ca();
    let url = format!("mqtt://{}", before.address());
    let targets = LEVELS.map(|level| Target { url: url.clone(), level, ca: &ca });
    for (name, mut player) in [("paho", Player::paho()), ("mqttjs", Player::mqttjs())] {
        for transcript in player.play(name, &[0, 1, 2], &targets) {
            assert!(transcript["error"].is_null(), "{transcript:#}");
        }
    }

    let same = || sorted(before.conversations()) == sorted(behind.conversations());
    assert!(eventually(SOON, same), "{}", first_difference(&before.conversations(), &behind.conversations()));
    assert_eq!(before.conversations().len(), 2 * 3 * LEVELS.len(), "three clients in each scenario");
}

fn sorted(mut conversations: Vec<Conversation>) -> Vec<Conversation> {
    conversations.sort_by(|a, b| a.to_server.cmp(&b.to_server));
    conversations
}

fn first_difference(before: &[Conversation], behind: &[Conversation]) -> String {
    let (before, behind) = (sorted(before.to_vec()), sorted(behind.to_vec()));
    if before.len() != behind.len() {
        return format!("{} connections became {}", before.len(), behind.len());
    }
    for (a, b) in before.iter().zip(&behind) {
        for (direction, a, b) in
            [("to the server", &a.to_server, &b.to_server), ("to the client", &a.to_client, &b.to_client)]
        {
            if a != b {
                let at = a.iter().zip(b.iter()).take_while(|(x, y)| x == y).count();
                let (a_near, b_near) = (&a[at..a.len().min(at + 40)], &b[at..b.len().min(at + 40)]);
                return format!(
                    "{direction}, {} and {} bytes, differ at {at}: {a_near:02x?} and {b_near:02x?}; CONNECT {:02x?}",
                    a.len(),
                    b.len(),
                    packets::split(&before[0].to_server).first()
                );
            }
        }
    }
    "no difference".to_owned()
}

/// [MQTT-6.0.0-2] lets a receiver take anything; peers exist that lose what is not aligned.
#[test]
fn one_packet_in_each_message_for_real_clients() {
    let mosquitto = Mosquitto::start();
    let _awake = mosquitto.keep_awake();
    let behind = Recorder::start(mosquitto.ws());
    let proxy = Proxy::between("ws", &format!("ws://{}/mqtt", behind.address()));
    let before = Recorder::start(proxy.address());
    let ca = mosquitto.certificates.ca();
    let url = format!("ws://{}/mqtt", before.address());
    let targets = LEVELS.map(|level| Target { url: url.clone(), level, ca: &ca });
    for (name, mut player) in [("paho", Player::paho()), ("mqttjs", Player::mqttjs())] {
        for transcript in player.play(name, &[0, 2], &targets) {
            assert!(transcript["error"].is_null(), "{transcript:#}");
        }
    }
    drop(proxy);
    expect_alignment(&before, &behind);
}

/// Thousands of packets in a few large frames, cut anywhere, and 1 MiB payloads among them.
#[test]
fn one_packet_in_each_message_under_load() {
    alignment_under_load(6_000);
}

#[test]
#[ignore = "long: a large load"]
fn one_packet_in_each_message_under_a_large_load() {
    alignment_under_load(long(60_000, 10_000));
}

fn alignment_under_load(messages: u16) {
    let mosquitto = Mosquitto::start();
    let _awake = mosquitto.keep_awake();
    let behind = Recorder::start(mosquitto.ws());
    let proxy = Proxy::between("ws", &format!("ws://{}/mqtt", behind.address()));
    let before = Recorder::start(proxy.address());

    let mut subscriber = WebSocket::connect(before.address());
    subscriber.send(&websocket::binary(&packets::connect(V3_1_1, "reads")));
    assert_eq!(subscriber.packet(), packets::connack(V3_1_1));
    subscriber.send(&websocket::binary(&packets::subscribe(V3_1_1, 1, "load", 0)));
    assert_eq!(subscriber.packet()[0], 0x90);

    let mut publisher = WebSocket::connect(before.address());
    publisher.send(&websocket::binary(&packets::connect(V5, "writes")));
    publisher.packet();
    let stream = load(messages);
    let expected: Vec<Vec<u8>> = packets::split(&stream).iter().map(|p| received_as(p)).collect();
    let sending = thread::spawn(move || {
        for piece in stream.chunks(50_021) {
            publisher.send(&websocket::binary(piece));
        }
        publisher
    });
    for (i, expected) in expected.iter().enumerate() {
        let packet = subscriber.packet();
        assert!(packet == *expected, "message {i} of {}: {} bytes", expected.len(), packet.len());
    }
    let publisher = sending.join().unwrap();
    drop((publisher, subscriber, proxy));
    expect_alignment(&before, &behind);
}

/// PUBLISH packets of version 5, QoS 0, numbered; every two-thousandth has 1 MiB.
fn load(messages: u16) -> Vec<u8> {
    let mut stream = Vec::new();
    for i in 0..messages {
        let mut payload = i.to_be_bytes().to_vec();
        let length = if i % 2_000 == 1_000 { 1024 * 1024 } else { usize::from(i % 300) };
        payload.resize(2 + length, i as u8);
        stream.extend(packets::publish(V5, "load", 0, 0, &payload));
    }
    stream
}

/// The same PUBLISH for a subscriber of version 3.1.1: no property length after the topic `load`.
fn received_as(v5: &[u8]) -> Vec<u8> {
    let length_bytes = 1 + v5[1..].iter().take_while(|byte| **byte >= 0x80).count();
    let body = &v5[1 + length_bytes..];
    packets::packet(v5[0], &[&body[..6], &body[7..]].concat())
}

/// What the proxy sent in both roles. A direction that the other side wrote is none of our business.
fn expect_alignment(before: &Recorder, behind: &Recorder) {
    // What is on its way when the sockets close arrives soon; then every frame is whole.
    eventually(SOON, || before.all_have_ended() && behind.all_have_ended());
    for conversation in before.conversations() {
        expect_one_packet_per_message(&recorded_frames(&conversation.to_client), false);
    }
    let mut connects = 0;
    for conversation in behind.conversations() {
        let packets = expect_one_packet_per_message(&recorded_frames(&conversation.to_server), true);
        connects += packets.iter().filter(|p| p[0] == 0x10).count();
    }
    assert_eq!(connects, before.conversations().len(), "each client has reached the server");
}

/// A packet that trickles in is sent on as one message when it is whole, or one message in pieces: never two.
#[test]
fn a_packet_that_trickles_in_is_one_message() {
    let mosquitto = Mosquitto::start();
    let _awake = mosquitto.keep_awake();
    let behind = Recorder::start(mosquitto.ws());
    let proxy = Proxy::between("mqtt", &format!("ws://{}/mqtt", behind.address()));
    let mut client = dial_tcp(proxy.address());
    let mut bytes = packets::connect(V3_1_1, "trickle");
    bytes.extend(packets::subscribe(V3_1_1, 1, "t", 1));
    bytes.extend(packets::publish(V3_1_1, "t", 1, 2, &[7; 300]));
    for byte in &bytes {
        client.write_all(&[*byte]).unwrap();
        thread::sleep(std::time::Duration::from_micros(200));
    }
    let answers: Vec<u8> = (0..4).map(|_| packets::read(&mut client).unwrap()[0] & 0xF0).collect();
    assert!(answers.starts_with(&[0x20, 0x90]), "{answers:02x?}");
    drop(client);
    drop(proxy);
    let conversations = behind.conversations();
    let packets = expect_one_packet_per_message(&recorded_frames(&conversations[0].to_server), true);
    assert_eq!(packets.concat(), bytes);
}
