//! What cannot be encoded: our own side's mistakes never reach the wire.

use mqway_codec::{
    Ack, Connack, Connect, EncodeError, Fault, Field, Packet, PacketId, PropertiesBuf, Property, PropertyId,
    Publish, QoS, ReasonCode, ReasonCodesBuf, Suback, Subscribe, SubscribeOptions, SubscriptionId,
    SubscriptionsBuf, TopicError, TopicFilter, TopicFiltersBuf, Unsubscribe, Version, Will,
};

use crate::{ALL, accept};

/// The error, after which nothing has been written.
#[track_caller]
fn refused<'a>(version: Version, packet: impl Into<Packet<'a>>) -> EncodeError {
    let mut out = b"before".to_vec();
    let error = packet.into().encode(version, &mut out).unwrap_err();
    assert_eq!(out, b"before");
    error
}

#[test]
fn strings_end_at_65535_bytes() {
    let long = "x".repeat(65_536);
    let mut connect = Connect::new(Version::V5, &long);
    assert_eq!(refused(Version::V5, connect), EncodeError::TooLong(Field::ClientId));
    connect.client_id = "";
    connect.user_name = Some(&long);
    assert_eq!(refused(Version::V5, connect), EncodeError::TooLong(Field::UserName));
    connect.user_name = None;
    connect.password = Some(long.as_bytes());
    assert_eq!(refused(Version::V5, connect), EncodeError::TooLong(Field::Password));
    connect.password = None;
    connect.will = Some(Will::new("w", long.as_bytes()));
    assert_eq!(refused(Version::V5, connect), EncodeError::TooLong(Field::WillPayload));
    let publish = Publish::new(&long, b"");
    let error = EncodeError::Topic(Field::TopicName, TopicError::TooLong);
    assert_eq!(refused(Version::V5, publish), error);
    let mut properties = PropertiesBuf::new();
    let place = Field::Property(PropertyId::UserProperty);
    assert_eq!(properties.push(Property::UserProperty("", &long)), Err(EncodeError::TooLong(place)));
    let place = Field::Property(PropertyId::CorrelationData);
    let data = Property::CorrelationData(long.as_bytes());
    assert_eq!(properties.push(data), Err(EncodeError::TooLong(place)));
    assert!(properties.as_properties().is_empty());
}

#[test]
fn strings_have_no_nul() {
    // [MQTT-1.5.4-2]
    assert_eq!(
        refused(Version::V5, Connect::new(Version::V5, "\0")),
        EncodeError::NulCharacter(Field::ClientId)
    );
    let error = EncodeError::Topic(Field::TopicName, TopicError::NulCharacter);
    assert_eq!(refused(Version::V5, Publish::new("\0", b"")), error);
    let place = Field::Property(PropertyId::ReasonString);
    let result = PropertiesBuf::new().push(Property::ReasonString("\0"));
    assert_eq!(result, Err(EncodeError::NulCharacter(place)));
}

#[test]
fn packets_end_at_268435455_bytes() {
    let payload = vec![0; mqway_codec::MAX_REMAINING_LENGTH as usize];
    assert_eq!(refused(Version::V3_1_1, Publish::new("t", &payload)), EncodeError::PacketTooLarge);
    let largest = Packet::from(Publish::new("t", &payload[3..]));
    assert_eq!(largest.encoded_len(Version::V3_1_1), 5 + payload.len());
}

#[test]
fn packet_identifiers_go_with_their_qos() {
    // [MQTT-2.2.1-2], [MQTT-2.2.1-3]
    for version in ALL {
        let mut publish = Publish::new("t", b"");
        publish.packet_id = Some(PacketId::MIN);
        assert_eq!(refused(version, publish), EncodeError::PacketId);
        publish.qos = QoS::AtLeastOnce;
        assert_eq!(publish.encode(version, &mut Vec::new()), Ok(()));
        publish.packet_id = None;
        assert_eq!(refused(version, publish), EncodeError::PacketId);
        publish = Publish::new("t", b"");
        publish.dup = true;
        assert_eq!(refused(version, publish), EncodeError::Fault(Fault::DupWithQos0)); // [MQTT-3.3.1-2], [MQTT-4.3.1-1]
    }
}

#[test]
fn topics_are_topics() {
    for version in ALL {
        let error = EncodeError::Topic(Field::TopicName, TopicError::WildcardInName);
        assert_eq!(refused(version, Publish::new("a/#", b"")), error);
        let mut connect = Connect::new(version, "");
        connect.will = Some(Will::new("", b""));
        let error = EncodeError::Topic(Field::WillTopic, TopicError::Empty);
        assert_eq!(refused(version, connect), error);
    }
    assert_eq!(refused(Version::V5, Publish::new("", b"")), EncodeError::Fault(Fault::NoTopic));
    let result = PropertiesBuf::new().push(Property::ResponseTopic("a/+"));
    let place = Field::Property(PropertyId::ResponseTopic);
    assert_eq!(result, Err(EncodeError::Topic(place, TopicError::WildcardInName)));
}

#[test]
fn properties_are_in_their_packet() {
    let mut properties = PropertiesBuf::new();
    properties.push(Property::ServerKeepAlive(5)).unwrap();
    let mut publish = Publish::new("t", b"");
    publish.properties = properties.as_properties();
    let error = EncodeError::Fault(Fault::MisplacedProperty(PropertyId::ServerKeepAlive));
    assert_eq!(refused(Version::V5, publish), error);
    let mut connack = Connack::new(false, ReasonCode::Success);
    connack.properties = properties.as_properties();
    assert_eq!(Packet::from(connack).encode(Version::V5, &mut Vec::new()), Ok(()));
}

#[test]
fn properties_are_there_once() {
    let mut properties = PropertiesBuf::new();
    properties.push(Property::ContentType("a")).unwrap();
    let error = EncodeError::Fault(Fault::DuplicateProperty(PropertyId::ContentType));
    assert_eq!(properties.push(Property::ContentType("b")), Err(error));
    assert_eq!(properties.as_properties().content_type(), Some("a"));
    // Subscription identifiers repeat in PUBLISH only.
    let mut ids = PropertiesBuf::new();
    ids.extend([1, 2].map(|id| Property::SubscriptionIdentifier(SubscriptionId::new(id).unwrap()))).unwrap();
    let mut publish = Publish::new("t", b"");
    publish.properties = ids.as_properties();
    assert_eq!(publish.encode(Version::V5, &mut Vec::new()), Ok(()));
    let mut filters = SubscriptionsBuf::new();
    filters.push(TopicFilter::new("t").unwrap(), SubscribeOptions::default());
    let mut subscribe = Subscribe::new(PacketId::MIN, filters.as_subscriptions());
    subscribe.properties = ids.as_properties();
    let error = EncodeError::Fault(Fault::DuplicateProperty(PropertyId::SubscriptionIdentifier));
    assert_eq!(refused(Version::V5, subscribe), error);
}

#[test]
fn maximum_qos_is_0_or_1() {
    let error = EncodeError::Fault(Fault::PropertyValue(PropertyId::MaximumQos));
    assert_eq!(PropertiesBuf::new().push(Property::MaximumQos(QoS::ExactlyOnce)), Err(error));
}

#[test]
fn no_properties_are_a_length_of_zero() {
    // [MQTT-2.2.2-1]
    let mut out = Vec::new();
    Publish::new("t", b"hi").encode(Version::V5, &mut out).unwrap();
    assert_eq!(out, b"\x30\x06\x00\x01t\x00hi");
}

#[test]
fn properties_are_left_out_before_5_0() {
    let mut properties = PropertiesBuf::new();
    properties.push(Property::ContentType("a")).unwrap();
    let mut publish = Publish::new("t", b"hi");
    publish.properties = properties.as_properties();
    let mut out = Vec::new();
    publish.encode(Version::V3_1_1, &mut out).unwrap();
    assert_eq!(out, b"\x30\x05\x00\x01thi");
}

#[test]
fn lists_are_not_empty() {
    let empty = EncodeError::Fault(Fault::EmptyPayload);
    for version in ALL {
        let filters = SubscriptionsBuf::new();
        assert_eq!(refused(version, Subscribe::new(PacketId::MIN, filters.as_subscriptions())), empty);
        let filters = TopicFiltersBuf::new();
        assert_eq!(refused(version, Unsubscribe::new(PacketId::MIN, filters.as_filters())), empty);
        let codes = ReasonCodesBuf::new();
        assert_eq!(refused(version, Suback::new(PacketId::MIN, codes.as_codes())), empty);
    }
}

#[test]
fn reason_codes_are_in_their_packet() {
    let ack = Ack::with_reason(PacketId::MIN, ReasonCode::PacketIdentifierNotFound);
    assert_eq!(refused(Version::V5, Packet::Puback(ack)), EncodeError::Fault(Fault::ReasonCode(0x92)));
    assert_eq!(Packet::Pubrel(ack).encode(Version::V5, &mut Vec::new()), Ok(()));
    let codes = ReasonCodesBuf::from_iter([ReasonCode::NoSubscriptionExisted]);
    let suback = Suback::new(PacketId::MIN, codes.as_codes());
    assert_eq!(refused(Version::V5, suback), EncodeError::Fault(Fault::ReasonCode(0x11)));
}

#[test]
fn a_share_of_3_1_1_may_be_none_of_5_0() {
    let text = "$share/x";
    let mut filters = TopicFiltersBuf::new();
    filters.push(TopicFilter::for_version(Version::V3_1_1, text).unwrap());
    let unsubscribe = Unsubscribe::new(PacketId::MIN, filters.as_filters());
    assert_eq!(Packet::from(unsubscribe).encode(Version::V3_1_1, &mut Vec::new()), Ok(()));
    let fault = Fault::Topic(Field::TopicFilter, TopicError::ShareFilter);
    assert_eq!(refused(Version::V5, unsubscribe), EncodeError::Fault(fault));
}

#[test]
fn a_session_is_not_refused() {
    // [MQTT-3.2.2-6]
    let connack = Connack::new(true, ReasonCode::NotAuthorized);
    assert_eq!(refused(Version::V5, connack), EncodeError::Fault(Fault::SessionPresentOnRefusal));
}

#[test]
fn connect_goes_by_its_own_version() {
    for version in ALL {
        let connect = Connect::new(version, "id");
        for asked in ALL {
            let mut out = Vec::new();
            Packet::from(connect).encode(asked, &mut out).unwrap();
            assert_eq!(accept(asked, &out), Packet::from(connect));
        }
    }
}
