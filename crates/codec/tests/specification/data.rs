//! §1.5 Data representation.

use mqway_codec::{Fault, Field, Packet, Property, PropertyId, SubscriptionId, Version};

use crate::{ALL, accept, error, field, malformed, packet, varint};

/// A CONNECT in 3.1.1 with this client identifier.
fn connect(client_id: &[u8]) -> Vec<u8> {
    packet(0x10, [b"\x00\x04MQTT\x04\x02\x00\x00", &field(client_id)[..]].concat())
}

#[test]
fn strings_are_well_formed_utf8() {
    // [MQTT-1.5.4-1], [MQTT-3.1.3-4], [MQTT-3.3.2-1]; 3.1.1: [MQTT-1.5.3-1]
    let ill_formed: &[&[u8]] = &[
        b"\x80",                     // a continuation alone
        b"\xC3",                     // a start alone
        b"\xC0\xAF",                 // overlong /
        b"\xC0\x80",                 // overlong U+0000, which 3.1's "modified" UTF-8 would have
        b"\xE0\x80\xAF",             // overlong in three
        b"\xED\xA0\x80",             // U+D800
        b"\xED\xBF\xBF",             // U+DFFF
        b"\xED\xA1\x8C\xED\xBE\xB4", // a pair of surrogates
        b"\xF4\x90\x80\x80",         // U+110000
        b"\xF8\x88\x80\x80\x80",
        b"\xFE",
        b"\xFF",
    ];
    for text in ill_formed {
        malformed(Version::V3_1_1, &connect(text), Fault::Utf8(Field::ClientId));
        for version in ALL {
            let topic = field(text);
            let body = if version == Version::V5 { [&topic[..], b"\x00"].concat() } else { topic };
            malformed(version, &packet(0x30, body), Fault::Utf8(Field::TopicName));
        }
    }
}

#[test]
fn every_code_point_but_nul_is_text() {
    // [MQTT-1.5.4-1]; control codes and non-characters only SHOULD NOT occur.
    for text in
        ["\u{1}", "\u{1F}", "\u{7F}", "\u{9F}", "\u{D7FF}", "\u{E000}", "\u{FFFF}", "\u{10FFFF}", "日本語"]
    {
        let bytes = connect(text.as_bytes());
        let Packet::Connect(connect) = accept(Version::V3_1_1, &bytes) else { panic!() };
        assert_eq!(connect.client_id, text);
    }
}

#[test]
fn nul_is_refused() {
    // [MQTT-1.5.4-2]; 3.1.1: [MQTT-1.5.3-2]
    for text in [&b"\0"[..], b"a\0", b"\0a", b"abcdefgh\0abcdefghijklmnopq"] {
        malformed(Version::V3_1_1, &connect(text), Fault::NulCharacter(Field::ClientId));
        malformed(Version::V3_1_1, &packet(0x30, field(text)), Fault::NulCharacter(Field::TopicName));
        let subscribe = [b"\x00\x01", &field(text)[..], b"\x00"].concat();
        malformed(Version::V3_1_1, &packet(0x82, subscribe), Fault::NulCharacter(Field::TopicFilter));
    }
}

#[test]
fn a_byte_order_mark_is_kept() {
    // [MQTT-1.5.4-3]; 3.1.1: [MQTT-1.5.3-3]
    let bytes = connect(b"\xEF\xBB\xBFid");
    let Packet::Connect(connect) = accept(Version::V3_1_1, &bytes) else { panic!() };
    assert_eq!(connect.client_id, "\u{FEFF}id");
}

#[test]
fn strings_hold_up_to_65535_bytes() {
    let bytes = packet(0x30, field("t".repeat(65_535)));
    let Packet::Publish(publish) = accept(Version::V3_1_1, &bytes) else { panic!() };
    assert_eq!(publish.topic.len(), 65_535);
}

#[test]
fn a_string_may_not_end_after_the_packet() {
    malformed(Version::V3_1_1, &packet(0x30, b"\x00\x05abcd"), Fault::Truncated(Field::TopicName));
    malformed(Version::V3_1_1, &packet(0x30, b"\x00"), Fault::Truncated(Field::TopicName));
    malformed(Version::V3_1_1, &packet(0x30, b""), Fault::Truncated(Field::TopicName));
}

#[test]
fn user_properties_are_two_strings() {
    // [MQTT-1.5.7-1]
    let publish = |name: &[u8], value: &[u8]| {
        let property = [b"\x26", &field(name)[..], &field(value)].concat();
        packet(0x30, [b"\x00\x01t", &varint(property.len())[..], &property].concat())
    };
    let place = Field::Property(PropertyId::UserProperty);
    let bytes = publish(b"", "\u{FEFF}é".as_bytes());
    let Packet::Publish(packet) = accept(Version::V5, &bytes) else { panic!() };
    assert_eq!(packet.properties.user_properties().collect::<Vec<_>>(), [("", "\u{FEFF}é")]);
    malformed(Version::V5, &publish(b"\xFF", b""), Fault::Utf8(place));
    malformed(Version::V5, &publish(b"", b"\xFF"), Fault::Utf8(place));
    malformed(Version::V5, &publish(b"\0", b""), Fault::NulCharacter(place));
    malformed(Version::V5, &publish(b"", b"\0"), Fault::NulCharacter(place));
}

/// SUBSCRIBE with a subscription identifier of these bytes.
fn subscribe(identifier: &[u8]) -> Vec<u8> {
    let properties = [b"\x0B", identifier].concat();
    packet(0x82, [b"\x00\x01", &varint(properties.len())[..], &properties, b"\x00\x01t\x00"].concat())
}

#[test]
fn variable_byte_integers_have_up_to_four_bytes() {
    // Table 1-1
    for (bytes, value) in [
        (&b"\x01"[..], 1),
        (b"\x7F", 127),
        (b"\x80\x01", 128),
        (b"\xFF\x7F", 16_383),
        (b"\x80\x80\x01", 16_384),
        (b"\xFF\xFF\x7F", 2_097_151),
        (b"\x80\x80\x80\x01", 2_097_152),
        (b"\xFF\xFF\xFF\x7F", 268_435_455),
    ] {
        let bytes = subscribe(bytes);
        let Packet::Subscribe(subscribe) = accept(Version::V5, &bytes) else { panic!() };
        let id = SubscriptionId::new(value).unwrap();
        assert_eq!(subscribe.properties.iter().next(), Some(Property::SubscriptionIdentifier(id)));
    }
    let place = Field::Property(PropertyId::SubscriptionIdentifier);
    malformed(Version::V5, &subscribe(b"\x80\x80\x80\x80\x01"), Fault::VarintTooLong(place));
    malformed(Version::V5, &subscribe(b"\xFF\xFF\xFF\xFF\x7F"), Fault::VarintTooLong(place));
}

#[test]
fn variable_byte_integers_are_as_short_as_they_can_be() {
    // [MQTT-1.5.5-1]
    let place = Field::Property(PropertyId::SubscriptionIdentifier);
    for bytes in [&b"\x81\x00"[..], b"\xFF\x80\x00", b"\xFF\xFF\xFF\x00", b"\x81\x80\x80\x00"] {
        malformed(Version::V5, &subscribe(bytes), Fault::VarintOverlong(place));
    }
    // Property length 0 in two bytes.
    let publish = packet(0x30, b"\x00\x01t\x80\x00");
    malformed(Version::V5, &publish, Fault::VarintOverlong(Field::PropertyLength));
    // Remaining length 4 in two bytes. 3.1.1 has no such rule.
    let overlong = b"\x30\x84\x00\x00\x01t\x00";
    malformed(Version::V5, overlong, Fault::VarintOverlong(Field::RemainingLength));
    for version in crate::BEFORE_5 {
        assert!(mqway_codec::decode(version, overlong).is_ok());
    }
    // A CONNECT is judged by the version in it.
    let connect = [b"\x10\x8D\x00\x00\x04MQTT\x05\x02\x00\x00\x00", &field("")[..]].concat();
    assert_eq!(error(Version::V3_1, &connect).fault(), Fault::VarintOverlong(Field::RemainingLength));
}
