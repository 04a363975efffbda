//! What MQTT 3.1 has by itself.

use mqway_codec::{Fault, Field, Packet, Version};

use crate::{accept, malformed, packet};

/// A 3.1 CONNECT with these flags and payload.
fn connect(flags: u8, payload: &[u8]) -> Vec<u8> {
    packet(0x10, [b"\x00\x06MQIsdp\x03", &[flags][..], b"\x00\x3C", payload].concat())
}

#[test]
fn will_flags_without_a_will_mean_nothing() {
    // 3.1 §3.1 "Connect flags": disregarded if the will flag is clear; and given back.
    for flags in [0x08, 0x10, 0x18, 0x20, 0x3A] {
        let bytes = connect(flags, b"\x00\x02id");
        let Packet::Connect(connect) = accept(Version::V3_1, &bytes) else { panic!() };
        assert_eq!(connect.will, None);
    }
}

#[test]
fn the_end_of_the_packet_overrides_the_user_name_flag() {
    // 3.1 §3.1 "User name and password flags"
    for (flags, payload, user_name, password) in [
        (0x80, &b"\x00\x02id"[..], None, None),
        (0xC0, b"\x00\x02id", None, None),
        (0xC0, b"\x00\x02id\x00\x01u", Some("u"), None),
        (0xC0, b"\x00\x02id\x00\x01u\x00\x01p", Some("u"), Some(&b"p"[..])),
    ] {
        let bytes = connect(flags, payload);
        let Packet::Connect(connect) = accept(Version::V3_1, &bytes) else { panic!() };
        assert_eq!((connect.user_name, connect.password), (user_name, password));
    }
    malformed(Version::V3_1, &connect(0x80, b"\x00\x02id\x00"), Fault::Truncated(Field::UserName));
}

#[test]
fn idle_will_flags_stay_beside_a_password() {
    let bytes = connect(0xF8, b"\x00\x02id\x00\x01u\x00\x01p");
    let Packet::Connect(connect) = accept(Version::V3_1, &bytes) else { panic!() };
    assert_eq!((connect.will, connect.password), (None, Some(&b"p"[..])));
}

#[test]
fn idle_flags_go_when_they_would_mean_something() {
    let bytes = connect(0xF8, b"\x00\x02id");
    let Packet::Connect(mut connect) = accept(Version::V3_1, &bytes) else { panic!() };
    connect.user_name = Some("u");
    connect.password = Some(b"p");
    connect.will = Some(mqway_codec::Will::new("w", b""));
    let mut encoded = Vec::new();
    Packet::from(connect).encode(Version::V3_1, &mut encoded).unwrap();
    assert_eq!(encoded[11], 0xC4);
    assert_eq!(accept(Version::V3_1, &encoded).packet_type(), mqway_codec::PacketType::Connect);
}

#[test]
fn dup_is_given_back() {
    let bytes = b"\x6A\x02\x00\x01";
    let Packet::Pubrel(pubrel) = accept(Version::V3_1, bytes) else { panic!() };
    let mut encoded = Vec::new();
    Packet::Pubrel(pubrel).encode(Version::V3_1_1, &mut encoded).unwrap();
    assert_eq!(encoded, b"\x62\x02\x00\x01", "and not into versions that reserve it");
}
