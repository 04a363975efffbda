//! §3.1 CONNECT.

use mqway_codec::{
    Blame, Connect, Fault, Field, Packet, PacketType, PropertyId, QoS, ReasonCode, TopicError, Version, Will,
};

use crate::{accept, error, field, malformed, packet, protocol_error};

/// A CONNECT of `level` with `flags`, without properties, and with `payload`.
fn connect(level: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
    let name = if level & 0x7F == 3 { &b"\x00\x06MQIsdp"[..] } else { b"\x00\x04MQTT" };
    let properties = if level & 0x7F == 5 { &b"\x00"[..] } else { b"" };
    packet(0x10, [name, &[level, flags, 0, 60], properties, payload].concat())
}

fn accepted(bytes: &[u8]) -> Connect<'_> {
    match accept(Version::V5, bytes) {
        Packet::Connect(connect) => connect,
        other => panic!("{other:?}"),
    }
}

/// Each protocol level with its version.
const LEVELS: [(u8, Version); 3] = [(3, Version::V3_1), (4, Version::V3_1_1), (5, Version::V5)];

#[test]
fn the_version_comes_from_the_packet() {
    // [MQTT-3.1.2-1], [MQTT-3.1.2-2]
    for (level, version) in LEVELS {
        let bytes = connect(level, 0x02, b"\x00\x02id");
        for asked in crate::ALL {
            let Packet::Connect(connect) = accept(asked, &bytes) else { panic!() };
            assert_eq!(connect.version, version);
            assert_eq!((connect.client_id, connect.keep_alive, connect.clean_start), ("id", 60, true));
        }
    }
}

#[test]
fn other_protocols_are_unsupported() {
    // [MQTT-3.1.2-1]: 0x84
    for name in [&b"MQT"[..], b"mqtt", b"MQTTx", b"MQIsdP", b"", b"HTTP", b"\xFF\xFF\xFF\xFF"] {
        let bytes = packet(0x10, [&field(name)[..], b"\x05\x02\x00\x00\x00\x00\x00"].concat());
        let refused = error(Version::V5, &bytes);
        assert_eq!(refused.fault(), Fault::ProtocolName);
        assert_eq!(refused.blame(), Blame::UnsupportedVersion);
        assert_eq!(refused.reason_code(), ReasonCode::UnsupportedProtocolVersion);
        assert_eq!(refused.version(), None);
    }
}

#[test]
fn other_levels_are_unsupported() {
    // [MQTT-3.1.2-2]: 0x84; 3.1.1: [MQTT-3.1.2-2], return code 1
    for level in 0..=u8::MAX {
        for name in ["MQTT", "MQIsdp"] {
            let known = match level & 0x7F {
                3 => name == "MQIsdp",
                4 | 5 => name == "MQTT",
                _ => false,
            };
            if known {
                continue;
            }
            let bytes = packet(0x10, [&field(name)[..], &[level], b"\x02\x00\x00\x00\x00\x00"].concat());
            let refused = error(Version::V5, &bytes);
            assert_eq!(refused.fault(), Fault::ProtocolLevel(level));
            assert_eq!(refused.reason_code(), ReasonCode::UnsupportedProtocolVersion);
            assert_eq!(refused.packet_type(), Some(PacketType::Connect));
        }
    }
}

#[test]
fn bridges_show_themselves_in_the_level() {
    for (level, version) in LEVELS {
        let bytes = connect(level | 0x80, 0x02, b"\x00\x00");
        let connect = accepted(&bytes);
        assert!(connect.bridge);
        assert_eq!(connect.version, version);
    }
}

#[test]
fn the_reserved_flag_is_zero() {
    // [MQTT-3.1.2-3]
    for (level, _) in LEVELS {
        let bytes = connect(level, 0x03, b"\x00\x00");
        malformed(Version::V5, &bytes, Fault::ReservedBits(Field::ConnectFlags));
    }
}

#[test]
fn clean_start_is_a_flag() {
    // §3.1.2.4. An empty client identifier without it (3.1.1: [MQTT-3.1.3-8]) is for the server to refuse.
    for (level, _) in LEVELS {
        assert!(!accepted(&connect(level, 0x00, b"\x00\x00")).clean_start);
        assert!(accepted(&connect(level, 0x02, b"\x00\x00")).clean_start);
    }
}

#[test]
fn a_will_is_read_with_its_flags() {
    // [MQTT-3.1.2-9], [MQTT-3.1.2-12], §3.1.3
    for (level, version) in LEVELS {
        let properties = if version == Version::V5 { &b"\x05\x18\x00\x00\x00\x0A"[..] } else { b"" };
        let payload = [b"\x00\x02id", properties, b"\x00\x03a/b\x00\x02\xFF\x00"].concat();
        for (flags, qos) in [(0x04, QoS::AtMostOnce), (0x0C, QoS::AtLeastOnce), (0x14, QoS::ExactlyOnce)] {
            for (retain_flag, retain) in [(0x00, false), (0x20, true)] {
                let bytes = connect(level, flags | retain_flag, &payload);
                let will = accepted(&bytes).will.unwrap();
                assert_eq!((will.topic, will.payload), ("a/b", &b"\xFF\x00"[..]));
                assert_eq!((will.qos, will.retain), (qos, retain));
                let delay = (version == Version::V5).then_some(10);
                assert_eq!(will.properties.will_delay_interval(), delay);
            }
        }
        let qos_3 = connect(level, 0x1C, &payload);
        malformed(Version::V5, &qos_3, Fault::QosThree(Field::ConnectFlags)); // [MQTT-3.1.2-12]
    }
}

#[test]
fn will_flags_need_a_will() {
    // [MQTT-3.1.2-11], [MQTT-3.1.2-13]; 3.1.1: [MQTT-3.1.2-11], [MQTT-3.1.2-13], [MQTT-3.1.2-15]
    for level in [4, 5] {
        for flags in [0x08, 0x10, 0x18, 0x20, 0x38] {
            malformed(Version::V5, &connect(level, flags, b"\x00\x00"), Fault::WillFlagsWithoutWill);
        }
    }
}

#[test]
fn a_will_topic_is_a_topic_name() {
    // [MQTT-3.1.3-11], [MQTT-4.7.0-1], [MQTT-4.7.3-1]
    for (level, version) in LEVELS {
        let properties = if version == Version::V5 { &b"\x00"[..] } else { b"" };
        let with = |topic: &str| {
            connect(level, 0x04, &[b"\x00\x00", properties, &field(topic)[..], b"\x00\x00"].concat())
        };
        for topic in ["#", "a/+", "a+b"] {
            let fault = Fault::Topic(Field::WillTopic, TopicError::WildcardInName);
            malformed(Version::V5, &with(topic), fault);
        }
        malformed(Version::V5, &with(""), Fault::Topic(Field::WillTopic, TopicError::Empty));
        malformed(Version::V5, &with("\0"), Fault::NulCharacter(Field::WillTopic));
    }
}

#[test]
fn user_name_and_password_follow_their_flags() {
    // [MQTT-3.1.2-16], [MQTT-3.1.2-17], [MQTT-3.1.2-18], [MQTT-3.1.2-19], [MQTT-3.1.3-12]
    for (level, _) in LEVELS {
        let both = connect(level, 0xC2, b"\x00\x00\x00\x01u\x00\x02\xFF\x00");
        let connect_ = accepted(&both);
        assert_eq!((connect_.user_name, connect_.password), (Some("u"), Some(&b"\xFF\x00"[..])));
        let name = connect(level, 0x82, b"\x00\x00\x00\x01u");
        assert_eq!((accepted(&name).user_name, accepted(&name).password), (Some("u"), None));
        let none = connect(level, 0x02, b"\x00\x00");
        assert_eq!((accepted(&none).user_name, accepted(&none).password), (None, None));
        // Present without its flag, it is too much.
        malformed(Version::V5, &connect(level, 0x02, b"\x00\x00\x00\x01u"), Fault::TrailingBytes(3));
        malformed(Version::V5, &connect(level, 0x82, b"\x00\x00\x00\x01\xFF"), Fault::Utf8(Field::UserName));
    }
    for level in [4, 5] {
        malformed(Version::V5, &connect(level, 0x82, b"\x00\x00"), Fault::Truncated(Field::UserName));
        let bytes = connect(level, 0xC2, b"\x00\x00\x00\x01u");
        malformed(Version::V5, &bytes, Fault::Truncated(Field::Password));
    }
}

#[test]
fn a_password_alone_is_for_5_0() {
    // 3.1.1: [MQTT-3.1.2-22]; 5.0 §3.1.2.9 allows it
    for level in [3, 4] {
        let bytes = connect(level, 0x42, b"\x00\x00\x00\x01p");
        malformed(Version::V5, &bytes, Fault::PasswordWithoutUserName);
    }
    assert_eq!(accepted(&connect(5, 0x42, b"\x00\x00\x00\x01p")).password, Some(&b"p"[..]));
}

#[test]
fn the_payload_has_its_order() {
    // [MQTT-3.1.3-1], [MQTT-3.1.3-3]
    let payload = b"\x00\x02id\x00\x00\x01w\x00\x02wp\x00\x04name\x00\x06secret";
    let bytes = connect(5, 0xC6, payload);
    let connect = accepted(&bytes);
    let mut expected = Connect::new(Version::V5, "id");
    expected.will = Some(Will::new("w", b"wp"));
    expected.user_name = Some("name");
    expected.password = Some(b"secret");
    assert_eq!(connect, expected);
}

#[test]
fn every_part_must_be_there() {
    let whole = connect(5, 0xC6, b"\x00\x02id\x00\x00\x01w\x00\x02wp\x00\x04name\x00\x06secret");
    let body = &whole[2..];
    for end in 0..body.len() {
        let refused = error(Version::V5, &packet(0x10, &body[..end]));
        assert!(matches!(refused.fault(), Fault::Truncated(_)), "{refused}");
    }
    malformed(Version::V5, &packet(0x10, [body, b"x"].concat()), Fault::TrailingBytes(1));
}

#[test]
fn authentication_data_need_a_method() {
    // §3.1.2.11.10
    let with = |properties: &[u8]| {
        let length = [properties.len() as u8];
        packet(0x10, [b"\x00\x04MQTT\x05\x02\x00\x00", &length[..], properties, b"\x00\x00"].concat())
    };
    protocol_error(Version::V5, &with(b"\x16\x00\x01d"), Fault::NoAuthenticationMethod);
    let bytes = with(b"\x16\x00\x01d\x15\x00\x01m");
    let connect = accepted(&bytes);
    assert!(connect.properties.contains(PropertyId::AuthenticationMethod));
    assert_eq!(connect.properties.authentication_data(), Some(&b"d"[..]));
}

#[test]
fn secrets_stay_out_of_logs() {
    let bytes = connect(4, 0xC2, b"\x00\x00\x00\x01u\x00\x06secret");
    let text = format!("{:?}", accepted(&bytes));
    assert!(text.contains("password: Some(6 bytes)"), "{text}");
    assert!(!text.contains("secret"));
}

#[test]
fn errors_name_the_version_once_it_is_known() {
    assert_eq!(error(Version::V3_1, &connect(5, 0x03, b"\x00\x00")).version(), Some(Version::V5));
    assert_eq!(error(Version::V5, &connect(4, 0x03, b"\x00\x00")).version(), Some(Version::V3_1_1));
}
