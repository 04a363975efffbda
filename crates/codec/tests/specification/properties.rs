//! §2.2.2 Properties.

use mqway_codec::{Fault, Field, Packet, PacketType, Property, PropertyId, QoS, ReasonCode, Version};

use crate::{accept, error, malformed, packet, protocol_error, varint};

use PropertyId::*;

/// A valid instance of each property, without the identifier.
fn value(id: PropertyId) -> &'static [u8] {
    match id {
        PayloadFormatIndicator
        | RequestProblemInformation
        | RequestResponseInformation
        | MaximumQos
        | RetainAvailable
        | WildcardSubscriptionAvailable
        | SubscriptionIdentifierAvailable
        | SharedSubscriptionAvailable
        | SubscriptionIdentifier => b"\x01",
        ServerKeepAlive | ReceiveMaximum | TopicAliasMaximum | TopicAlias => b"\x00\x07",
        MessageExpiryInterval | SessionExpiryInterval | WillDelayInterval | MaximumPacketSize => {
            b"\x00\x00\x00\x09"
        }
        ContentType
        | ResponseTopic
        | CorrelationData
        | AssignedClientIdentifier
        | AuthenticationMethod
        | AuthenticationData
        | ResponseInformation
        | ServerReference
        | ReasonString => b"\x00\x02ab",
        UserProperty => b"\x00\x01k\x00\x01v",
    }
}

fn property(id: PropertyId) -> Vec<u8> {
    [&[id as u8], value(id)].concat()
}

/// A packet of every kind that has properties, with these; `None`: the will's.
fn carrier(place: Option<PacketType>, properties: &[u8]) -> Vec<u8> {
    let properties = [&varint(properties.len())[..], properties].concat();
    let place = match place {
        Some(place) => place,
        None => {
            let body = [b"\x00\x04MQTT\x05\x06\x00\x00\x00\x00\x00", &properties[..], b"\x00\x01w\x00\x00"];
            return packet(0x10, body.concat());
        }
    };
    let (first, before, after): (u8, &[u8], &[u8]) = match place {
        PacketType::Connect => (0x10, b"\x00\x04MQTT\x05\x02\x00\x00", b"\x00\x00"),
        PacketType::Connack => (0x20, b"\x00\x00", b""),
        PacketType::Publish => (0x30, b"\x00\x01t", b""),
        PacketType::Puback => (0x40, b"\x00\x01\x00", b""),
        PacketType::Pubrec => (0x50, b"\x00\x01\x00", b""),
        PacketType::Pubrel => (0x62, b"\x00\x01\x00", b""),
        PacketType::Pubcomp => (0x70, b"\x00\x01\x00", b""),
        PacketType::Subscribe => (0x82, b"\x00\x01", b"\x00\x01t\x00"),
        PacketType::Suback => (0x90, b"\x00\x01", b"\x00"),
        PacketType::Unsubscribe => (0xA2, b"\x00\x01", b"\x00\x01t"),
        PacketType::Unsuback => (0xB0, b"\x00\x01", b"\x00"),
        PacketType::Disconnect => (0xE0, b"\x00", b""),
        PacketType::Auth => (0xF0, b"\x00", b""),
        PacketType::Pingreq | PacketType::Pingresp => unreachable!("has no properties"),
    };
    packet(first, [before, &properties, after].concat())
}

/// What each packet's own section lists.
fn sections() -> Vec<(Option<PacketType>, Vec<PropertyId>)> {
    let reason = vec![ReasonString, UserProperty];
    vec![
        // §3.1.2.11
        (
            Some(PacketType::Connect),
            vec![
                SessionExpiryInterval,
                ReceiveMaximum,
                MaximumPacketSize,
                TopicAliasMaximum,
                RequestResponseInformation,
                RequestProblemInformation,
                UserProperty,
                AuthenticationMethod,
                AuthenticationData,
            ],
        ),
        // §3.1.3.2
        (
            None,
            vec![
                WillDelayInterval,
                PayloadFormatIndicator,
                MessageExpiryInterval,
                ContentType,
                ResponseTopic,
                CorrelationData,
                UserProperty,
            ],
        ),
        // §3.2.2.3
        (
            Some(PacketType::Connack),
            vec![
                SessionExpiryInterval,
                ReceiveMaximum,
                MaximumQos,
                RetainAvailable,
                MaximumPacketSize,
                AssignedClientIdentifier,
                TopicAliasMaximum,
                ReasonString,
                UserProperty,
                WildcardSubscriptionAvailable,
                SubscriptionIdentifierAvailable,
                SharedSubscriptionAvailable,
                ServerKeepAlive,
                ResponseInformation,
                ServerReference,
                AuthenticationMethod,
                AuthenticationData,
            ],
        ),
        // §3.3.2.3
        (
            Some(PacketType::Publish),
            vec![
                PayloadFormatIndicator,
                MessageExpiryInterval,
                TopicAlias,
                ResponseTopic,
                CorrelationData,
                UserProperty,
                SubscriptionIdentifier,
                ContentType,
            ],
        ),
        (Some(PacketType::Puback), reason.clone()),  // §3.4.2.2
        (Some(PacketType::Pubrec), reason.clone()),  // §3.5.2.2
        (Some(PacketType::Pubrel), reason.clone()),  // §3.6.2.2
        (Some(PacketType::Pubcomp), reason.clone()), // §3.7.2.2
        (Some(PacketType::Subscribe), vec![SubscriptionIdentifier, UserProperty]), // §3.8.2.1
        (Some(PacketType::Suback), reason.clone()),  // §3.9.2.1
        (Some(PacketType::Unsubscribe), vec![UserProperty]), // §3.10.2.1
        (Some(PacketType::Unsuback), reason),        // §3.11.2.1
        // §3.14.2.2
        (
            Some(PacketType::Disconnect),
            vec![SessionExpiryInterval, ReasonString, UserProperty, ServerReference],
        ),
        // §3.15.2.2
        (Some(PacketType::Auth), vec![AuthenticationMethod, AuthenticationData, ReasonString, UserProperty]),
    ]
}

/// What must come with `id` for the packet to make sense.
fn company(place: Option<PacketType>, id: PropertyId) -> Vec<u8> {
    let authenticates = id == AuthenticationData || place == Some(PacketType::Auth);
    if authenticates && id != AuthenticationMethod { property(AuthenticationMethod) } else { Vec::new() }
}

#[test]
fn there_are_27() {
    // Table 2-4
    assert_eq!(PropertyId::ALL.len(), 27);
    for byte in 0..=u8::MAX {
        let known = PropertyId::ALL.iter().copied().find(|&id| id as u8 == byte);
        assert_eq!(PropertyId::from_u8(byte), known);
    }
}

#[test]
fn each_belongs_where_its_packet_lists_it() {
    for (place, listed) in sections() {
        for &id in PropertyId::ALL {
            let company = if listed.contains(&id) { company(place, id) } else { Vec::new() };
            let bytes = carrier(place, &[company, property(id)].concat());
            let allowed = place.map_or(id.is_allowed_in_will(), |place| id.is_allowed_in(place));
            assert_eq!(allowed, listed.contains(&id), "{id} in {place:?}");
            if allowed {
                accept(Version::V5, &bytes);
            } else {
                // §2.2.2.2: "not valid for its packet type … is a Malformed Packet"
                malformed(Version::V5, &bytes, Fault::MisplacedProperty(id));
            }
        }
    }
}

#[test]
fn all_at_once_are_accepted_in_any_order() {
    for (place, mut listed) in sections() {
        for _ in 0..listed.len() {
            listed.rotate_left(1);
            let properties: Vec<_> = listed.iter().flat_map(|&id| property(id)).collect();
            accept(Version::V5, &carrier(place, &properties));
        }
    }
}

#[test]
fn only_some_may_occur_twice() {
    // "It is a Protocol Error to include … more than once", in each property's own section.
    for (place, listed) in sections() {
        for id in listed {
            let twice = [company(place, id), property(id), property(id)].concat();
            let bytes = carrier(place, &twice);
            let repeatable =
                id == UserProperty || (id == SubscriptionIdentifier && place == Some(PacketType::Publish));
            if repeatable {
                accept(Version::V5, &bytes);
            } else {
                protocol_error(Version::V5, &bytes, Fault::DuplicateProperty(id));
            }
        }
    }
}

#[test]
fn unknown_ones_are_malformed() {
    for byte in 0..=u8::MAX {
        if PropertyId::from_u8(byte).is_none() {
            let bytes = carrier(Some(PacketType::Publish), &[byte, 0x00]);
            malformed(Version::V5, &bytes, Fault::UnknownProperty(byte));
        }
    }
}

#[test]
fn each_must_be_whole() {
    for (place, listed) in sections() {
        for id in listed {
            for missing in 1..=value(id).len() {
                let mut cut = property(id);
                cut.truncate(cut.len() - missing);
                let bytes = carrier(place, &[company(place, id), cut].concat());
                malformed(Version::V5, &bytes, Fault::Truncated(Field::Property(id)));
            }
        }
    }
}

#[test]
fn the_property_length_must_fit() {
    // Longer than the packet.
    malformed(Version::V5, &packet(0x30, b"\x00\x01t\x05\x01\x00"), Fault::Truncated(Field::PropertyLength));
    malformed(Version::V5, &packet(0x30, b"\x00\x01t"), Fault::Truncated(Field::PropertyLength));
    malformed(
        Version::V5,
        &packet(0x30, b"\x00\x01t\xFF\xFF\xFF\xFF\x7F"),
        Fault::VarintTooLong(Field::PropertyLength),
    );
    // Shorter than the properties: what is left over is too much.
    malformed(Version::V5, &packet(0x40, b"\x00\x01\x00\x00\x1F\x00\x00"), Fault::TrailingBytes(3));
    malformed(Version::V5, &packet(0x20, b"\x00\x00\x02\x25\x01\x00"), Fault::TrailingBytes(1));
    // Ending within a property.
    let place = Field::Property(MessageExpiryInterval);
    malformed(Version::V5, &packet(0x30, b"\x00\x01t\x03\x02\x00\x00\x00\x05"), Fault::Truncated(place));
}

#[test]
fn flags_are_0_or_1() {
    for (place, id) in [
        (None, PayloadFormatIndicator),
        (Some(PacketType::Publish), PayloadFormatIndicator),
        (Some(PacketType::Connect), RequestProblemInformation), // §3.1.2.11.7
        (Some(PacketType::Connect), RequestResponseInformation), // §3.1.2.11.6
        (Some(PacketType::Connack), MaximumQos),                // §3.2.2.3.4
        (Some(PacketType::Connack), RetainAvailable),           // §3.2.2.3.5
        (Some(PacketType::Connack), WildcardSubscriptionAvailable), // §3.2.2.3.11
        (Some(PacketType::Connack), SubscriptionIdentifierAvailable), // §3.2.2.3.12
        (Some(PacketType::Connack), SharedSubscriptionAvailable), // §3.2.2.3.13
    ] {
        for value in 0..=u8::MAX {
            let bytes = carrier(place, &[id as u8, value]);
            match value {
                0 | 1 => _ = accept(Version::V5, &bytes),
                _ => protocol_error(Version::V5, &bytes, Fault::PropertyValue(id)),
            }
        }
    }
}

#[test]
fn some_must_not_be_zero() {
    let zero = |place, id: PropertyId, value: &[u8]| carrier(Some(place), &[&[id as u8], value].concat());
    for place in [PacketType::Connect, PacketType::Connack] {
        let bytes = zero(place, ReceiveMaximum, b"\x00\x00"); // §3.1.2.11.3, §3.2.2.3.3
        protocol_error(Version::V5, &bytes, Fault::PropertyValue(ReceiveMaximum));
        let bytes = zero(place, MaximumPacketSize, b"\x00\x00\x00\x00"); // §3.1.2.11.4, §3.2.2.3.6
        protocol_error(Version::V5, &bytes, Fault::PropertyValue(MaximumPacketSize));
        accept(Version::V5, &zero(place, TopicAliasMaximum, b"\x00\x00"));
        accept(Version::V5, &zero(place, SessionExpiryInterval, b"\x00\x00\x00\x00"));
    }
    for place in [PacketType::Subscribe, PacketType::Publish] {
        let bytes = zero(place, SubscriptionIdentifier, b"\x00"); // §3.8.2.1.2, §3.3.2.3.8
        protocol_error(Version::V5, &bytes, Fault::PropertyValue(SubscriptionIdentifier));
    }
    // [MQTT-3.3.2-8], with the reason code that DISCONNECT has for it.
    let refused = error(Version::V5, &zero(PacketType::Publish, TopicAlias, b"\x00\x00"));
    assert_eq!(refused.fault(), Fault::PropertyValue(TopicAlias));
    assert_eq!(refused.reason_code(), ReasonCode::TopicAliasInvalid);
}

#[test]
fn a_response_topic_is_a_topic_name() {
    // [MQTT-3.3.2-13], [MQTT-3.3.2-14]
    let at = Field::Property(ResponseTopic);
    for place in [None, Some(PacketType::Publish)] {
        for topic in [&b"\x00\x01#"[..], b"\x00\x01+", b"\x00\x03a/+", b"\x00\x00"] {
            let bytes = carrier(place, &[&[ResponseTopic as u8], topic].concat());
            let refused = error(Version::V5, &bytes);
            assert!(matches!(refused.fault(), Fault::Topic(field, _) if field == at), "{refused}");
            assert_eq!(refused.reason_code(), ReasonCode::ProtocolError);
        }
    }
}

#[test]
fn a_content_type_is_text() {
    // [MQTT-3.3.2-19]
    for place in [None, Some(PacketType::Publish)] {
        let bytes = carrier(place, &[&[ContentType as u8], &b"\x00\x01\xFF"[..]].concat());
        malformed(Version::V5, &bytes, Fault::Utf8(Field::Property(ContentType)));
    }
}

#[test]
fn values_come_out_as_they_went_in() {
    let (place, listed) = sections().swap_remove(2);
    let properties: Vec<_> = listed.iter().flat_map(|&id| property(id)).collect();
    let bytes = carrier(place, &properties);
    let Packet::Connack(connack) = accept(Version::V5, &bytes) else { panic!() };
    let properties = connack.properties;
    assert_eq!(properties.iter().map(|property| property.id()).collect::<Vec<_>>(), listed);
    assert_eq!(properties.session_expiry_interval(), Some(9));
    assert_eq!(properties.receive_maximum().map(u16::from), Some(7));
    assert_eq!(properties.maximum_qos(), Some(QoS::AtLeastOnce));
    assert_eq!(properties.retain_available(), Some(true));
    assert_eq!(properties.maximum_packet_size().map(u32::from), Some(9));
    assert_eq!(properties.assigned_client_identifier(), Some("ab"));
    assert_eq!(properties.topic_alias_maximum(), Some(7));
    assert_eq!(properties.reason_string(), Some("ab"));
    assert_eq!(properties.wildcard_subscription_available(), Some(true));
    assert_eq!(properties.subscription_identifier_available(), Some(true));
    assert_eq!(properties.shared_subscription_available(), Some(true));
    assert_eq!(properties.server_keep_alive(), Some(7));
    assert_eq!(properties.response_information(), Some("ab"));
    assert_eq!(properties.server_reference(), Some("ab"));
    assert_eq!(properties.authentication_method(), Some("ab"));
    assert_eq!(properties.authentication_data(), Some(&b"ab"[..]));
    assert_eq!(properties.user_properties().collect::<Vec<_>>(), [("k", "v")]);
    assert_eq!(properties.topic_alias(), None);
    assert!(properties.contains(UserProperty) && !properties.contains(TopicAlias));
    assert!(properties.iter().any(|property| property == Property::ServerKeepAlive(7)));
    assert!(!format!("{properties:?}").contains("97, 98"), "authentication data stay out of logs");
}
