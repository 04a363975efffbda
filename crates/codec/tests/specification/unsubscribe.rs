//! §3.10 UNSUBSCRIBE, §3.11 UNSUBACK.

use mqway_codec::{
    Fault, Field, Packet, PacketId, ReasonCode, ReasonCodesBuf, TopicError, Unsuback, Version,
};

use crate::{ALL, BEFORE_5, accept, field, malformed, packet, protocol_error};

#[test]
fn it_lists_filters() {
    // [MQTT-3.10.3-1]
    let bytes = packet(0xA2, b"\x00\x0A\x07\x26\x00\x01k\x00\x01v\x00\x03a/b\x00\x01#");
    let Packet::Unsubscribe(unsubscribe) = accept(Version::V5, &bytes) else { panic!() };
    let filters: Vec<_> = unsubscribe.filters.iter().map(|filter| filter.as_str()).collect();
    assert_eq!(filters, ["a/b", "#"]);
    for version in BEFORE_5 {
        accept(version, &packet(0xA2, b"\x00\x0A\x00\x03a/b\x00\x01#"));
    }
}

#[test]
fn it_is_about_something() {
    // [MQTT-3.10.3-2]
    for version in BEFORE_5 {
        protocol_error(version, &packet(0xA2, b"\x00\x01"), Fault::EmptyPayload);
    }
    protocol_error(Version::V5, &packet(0xA2, b"\x00\x01\x00"), Fault::EmptyPayload);
}

#[test]
fn filters_are_topic_filters() {
    for version in ALL {
        let properties = if version == Version::V5 { &b"\x00"[..] } else { b"" };
        for (filter, problem) in [("", TopicError::Empty), ("a/#/b", TopicError::MultiLevelWildcard)] {
            let bytes = packet(0xA2, [b"\x00\x01", properties, &field(filter)].concat());
            malformed(version, &bytes, Fault::Topic(Field::TopicFilter, problem));
        }
        let cut = packet(0xA2, [b"\x00\x01", properties, b"\x00\x01t\x00"].concat());
        malformed(version, &cut, Fault::Truncated(Field::TopicFilter));
    }
}

#[test]
fn unsuback_answers_each_from_5_0_on() {
    // [MQTT-3.11.3-1], [MQTT-3.11.3-2]; 3.1.1 §3.11.3 has no payload
    let bytes = packet(0xB0, b"\x00\x0A\x00\x00\x11\x87");
    let Packet::Unsuback(unsuback) = accept(Version::V5, &bytes) else { panic!() };
    let expected = [ReasonCode::Success, ReasonCode::NoSubscriptionExisted, ReasonCode::NotAuthorized];
    assert_eq!(unsuback.codes.iter().collect::<Vec<_>>(), expected);
    protocol_error(Version::V5, &packet(0xB0, b"\x00\x0A\x00"), Fault::EmptyPayload);
    for version in BEFORE_5 {
        let Packet::Unsuback(unsuback) = accept(version, b"\xB0\x02\x00\x0A") else { panic!() };
        assert!(unsuback.codes.is_empty());
    }
}

#[test]
fn codes_are_left_out_before_5_0() {
    let codes = ReasonCodesBuf::from_iter([ReasonCode::Success]);
    let mut bytes = Vec::new();
    let unsuback = Packet::from(Unsuback::new(PacketId::MIN, codes.as_codes()));
    unsuback.encode(Version::V3_1_1, &mut bytes).unwrap();
    assert_eq!(bytes, b"\xB0\x02\x00\x01");
}
