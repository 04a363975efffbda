//! §3.3 PUBLISH.

use mqway_codec::{Fault, Field, Packet, Publish, QoS, TopicError, Version};

use crate::{ALL, BEFORE_5, accept, field, malformed, packet, protocol_error};

/// A PUBLISH in `version` with this first byte and topic, and the payload `hi`.
fn publish(version: Version, first: u8, topic: &str) -> Vec<u8> {
    let id = if first & 0b0110 == 0 { &b""[..] } else { b"\x00\x0A" };
    let properties = if version == Version::V5 { &b"\x00"[..] } else { b"" };
    packet(first, [&field(topic)[..], id, properties, b"hi"].concat())
}

#[track_caller]
fn accepted(version: Version, bytes: &[u8]) -> Publish<'_> {
    match accept(version, bytes) {
        Packet::Publish(publish) => publish,
        other => panic!("{other:?}"),
    }
}

#[test]
fn flags_and_fields_are_read() {
    for version in ALL {
        for (first, dup, qos, retain) in [
            (0x30, false, QoS::AtMostOnce, false),
            (0x31, false, QoS::AtMostOnce, true),
            (0x32, false, QoS::AtLeastOnce, false),
            (0x3A, true, QoS::AtLeastOnce, false),
            (0x3D, true, QoS::ExactlyOnce, true),
        ] {
            let bytes = publish(version, first, "a/b");
            let publish = accepted(version, &bytes);
            assert_eq!(&bytes[2..7], b"\x00\x03a/b"); // [MQTT-3.3.2-1]
            assert_eq!((publish.dup, publish.qos, publish.retain), (dup, qos, retain));
            assert_eq!((publish.topic, publish.payload), ("a/b", &b"hi"[..]));
            assert_eq!(publish.packet_id.map(u16::from), (qos != QoS::AtMostOnce).then_some(10));
        }
    }
}

#[test]
fn qos_3_is_malformed() {
    // [MQTT-3.3.1-4]
    for version in ALL {
        for first in [0x36, 0x37, 0x3E, 0x3F] {
            malformed(version, &publish(version, first, "t"), Fault::QosThree(Field::HeaderFlags));
        }
    }
}

#[test]
fn dup_needs_a_qos() {
    // [MQTT-3.3.1-2]
    for version in ALL {
        for first in [0x38, 0x39] {
            malformed(version, &publish(version, first, "t"), Fault::DupWithQos0);
        }
    }
}

#[test]
fn the_topic_name_has_no_wildcards() {
    // [MQTT-3.3.2-2], [MQTT-4.7.0-1]
    for version in ALL {
        for topic in ["#", "+", "a/#", "a/+/b", "a#", "+b", "0123456789abcdef0123456789abcdef#"] {
            let fault = Fault::Topic(Field::TopicName, TopicError::WildcardInName);
            malformed(version, &publish(version, 0x30, topic), fault);
        }
    }
}

#[test]
fn an_empty_topic_name_needs_an_alias() {
    // §3.3.2.1; 3.1.1: [MQTT-4.7.3-1]
    for version in BEFORE_5 {
        let fault = Fault::Topic(Field::TopicName, TopicError::Empty);
        malformed(version, &publish(version, 0x30, ""), fault);
    }
    protocol_error(Version::V5, &publish(Version::V5, 0x30, ""), Fault::NoTopic);
    let bytes = packet(0x30, b"\x00\x00\x03\x23\x00\x05hi");
    let publish = accepted(Version::V5, &bytes);
    assert_eq!(publish.properties.topic_alias().map(u16::from), Some(5));
    assert_eq!(publish.topic_name(), None);
}

#[test]
fn topic_and_alias_may_come_together() {
    let bytes = packet(0x30, b"\x00\x01t\x03\x23\xFF\xFFhi");
    let publish = accepted(Version::V5, &bytes);
    assert_eq!(publish.properties.topic_alias().map(u16::from), Some(u16::MAX));
    assert_eq!(publish.topic_name().unwrap().as_str(), "t");
}

#[test]
fn the_payload_is_anything_or_nothing() {
    // §3.3.3
    for version in ALL {
        let mut bytes = publish(version, 0x30, "t");
        bytes.truncate(bytes.len() - 2);
        bytes[1] -= 2;
        assert_eq!(accepted(version, &bytes).payload, b"");
    }
    let bytes = packet(0x30, [&b"\x00\x01t"[..], &[0xFF; 300_000]].concat());
    let publish = accepted(Version::V3_1_1, &bytes);
    assert_eq!(publish.payload.len(), 300_000);
    assert_eq!(publish.payload.as_ptr(), bytes[bytes.len() - 300_000..].as_ptr(), "a slice, not a copy");
}

#[test]
fn the_header_must_be_whole() {
    for version in ALL {
        let bytes = publish(version, 0x32, "abc");
        for end in 0..bytes.len() - 4 {
            let cut = packet(0x32, bytes.get(2..end).unwrap_or_default());
            assert!(mqway_codec::decode(version, &cut).is_err(), "{cut:02x?}");
        }
    }
}

#[test]
fn a_server_may_name_several_subscriptions() {
    // §3.3.2.3.8
    let bytes = packet(0x30, b"\x00\x01t\x05\x0B\x01\x0B\x80\x01hi");
    let ids: Vec<_> = accepted(Version::V5, &bytes).properties.subscription_identifiers().collect();
    assert_eq!(ids.iter().map(|id| id.value()).collect::<Vec<_>>(), [1, 128]);
}
