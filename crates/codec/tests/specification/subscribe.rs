//! §3.8 SUBSCRIBE, §3.9 SUBACK.

use mqway_codec::{
    EncodeError, Fault, Field, Packet, PacketId, QoS, ReasonCode, ReasonCodesBuf, RetainHandling, Suback,
    Subscribe, SubscribeOptions, Subscription, SubscriptionsBuf, TopicError, TopicFilter, Version,
};

use crate::{ALL, BEFORE_5, accept, error, field, malformed, packet, protocol_error};

/// A SUBSCRIBE to one filter with this options byte.
fn subscribe(version: Version, filter: &str, options: u8) -> Vec<u8> {
    let properties = if version == Version::V5 { &b"\x00"[..] } else { b"" };
    packet(0x82, [b"\x00\x01", properties, &field(filter), &[options]].concat())
}

#[test]
fn it_lists_filters_with_options() {
    // [MQTT-3.8.3-1]
    let bytes = packet(0x82, b"\x00\x0A\x02\x0B\x07\x00\x03a/b\x01\x00\x03c/#\x2E");
    let Packet::Subscribe(subscribe) = accept(Version::V5, &bytes) else { panic!() };
    assert_eq!(subscribe.packet_id.value(), 10);
    assert_eq!(subscribe.properties.subscription_identifiers().map(|id| id.value()).collect::<Vec<_>>(), [7]);
    let options = SubscribeOptions {
        qos: QoS::ExactlyOnce,
        no_local: true,
        retain_as_published: true,
        retain_handling: RetainHandling::DoNotSend,
    };
    let expected = [
        Subscription {
            filter: TopicFilter::new("a/b").unwrap(),
            options: SubscribeOptions::new(QoS::AtLeastOnce),
        },
        Subscription { filter: TopicFilter::new("c/#").unwrap(), options },
    ];
    assert_eq!(subscribe.subscriptions.iter().collect::<Vec<_>>(), expected);
    assert_eq!(subscribe.subscriptions.count(), 2);
}

#[test]
fn it_is_about_something() {
    // [MQTT-3.8.3-2]; 3.1.1: [MQTT-3.8.3-3]
    for version in BEFORE_5 {
        protocol_error(version, &packet(0x82, b"\x00\x01"), Fault::EmptyPayload);
    }
    protocol_error(Version::V5, &packet(0x82, b"\x00\x01\x00"), Fault::EmptyPayload);
}

#[test]
fn every_options_byte_is_judged() {
    // [MQTT-3.8.3-5], §3.8.3.1; 3.1.1: [MQTT-3-8.3-4]
    for options in 0..=u8::MAX {
        let bytes = subscribe(Version::V5, "t", options);
        if options & 0xC0 != 0 {
            malformed(Version::V5, &bytes, Fault::ReservedBits(Field::SubscriptionOptions));
        } else if options & 0x03 == 3 {
            protocol_error(Version::V5, &bytes, Fault::QosThree(Field::SubscriptionOptions));
        } else if options & 0x30 == 0x30 {
            protocol_error(Version::V5, &bytes, Fault::RetainHandlingThree);
        } else {
            let Packet::Subscribe(subscribe) = accept(Version::V5, &bytes) else { panic!() };
            assert_eq!(subscribe.subscriptions.iter().next().unwrap().options.to_byte(), options);
        }
        for version in BEFORE_5 {
            let bytes = subscribe(version, "t", options);
            if options <= 2 {
                accept(version, &bytes);
            } else {
                assert_ne!(mqway_codec::decode(version, &bytes).map(|_| ()), Ok(()), "{options:#04x}");
            }
        }
    }
}

#[test]
fn no_local_is_not_for_shares() {
    // [MQTT-3.8.3-4]
    protocol_error(Version::V5, &subscribe(Version::V5, "$share/g/t", 0x04), Fault::NoLocalOnShare);
    accept(Version::V5, &subscribe(Version::V5, "$share/g/t", 0x0A));
    accept(Version::V5, &subscribe(Version::V5, "$shared/g/t", 0x04));
}

#[test]
fn filters_are_topic_filters() {
    // [MQTT-4.7.1-1], [MQTT-4.7.1-2], [MQTT-4.7.3-1]
    for version in ALL {
        for (filter, problem) in [
            ("", TopicError::Empty),
            ("a#", TopicError::MultiLevelWildcard),
            ("#/a", TopicError::MultiLevelWildcard),
            ("a+/b", TopicError::SingleLevelWildcard),
        ] {
            let fault = Fault::Topic(Field::TopicFilter, problem);
            malformed(version, &subscribe(version, filter, 0), fault);
        }
        for filter in ["#", "+", "+/+", "/", "a//+/#", "$SYS/#", " "] {
            accept(version, &subscribe(version, filter, 0));
        }
    }
}

#[test]
fn shares_are_judged_in_5_0_only() {
    // [MQTT-4.8.2-1], [MQTT-4.8.2-2]
    for (filter, problem) in [
        ("$share/", TopicError::ShareName),
        ("$share//t", TopicError::ShareName),
        ("$share/+/t", TopicError::ShareName),
        ("$share/#", TopicError::ShareName),
        ("$share/g", TopicError::ShareFilter),
        ("$share/g/", TopicError::ShareFilter),
    ] {
        let fault = Fault::Topic(Field::TopicFilter, problem);
        malformed(Version::V5, &subscribe(Version::V5, filter, 0), fault);
        for version in BEFORE_5 {
            accept(version, &subscribe(version, filter, 0));
        }
    }
    accept(Version::V5, &subscribe(Version::V5, "$share", 0));
    accept(Version::V5, &subscribe(Version::V5, "$share/g//", 0));
}

#[test]
fn the_last_filter_must_be_whole() {
    for version in ALL {
        let whole = subscribe(version, "abc", 1);
        for end in 5..whole.len() {
            let cut = packet(0x82, &whole[2..end]);
            let refused = error(version, &cut);
            assert!(
                matches!(refused.fault(), Fault::Truncated(_) | Fault::EmptyPayload),
                "{refused} in {cut:02x?}"
            );
        }
    }
}

#[test]
fn what_3_1_1_lacks_is_not_encoded_for_it() {
    let mut buf = SubscriptionsBuf::new();
    let options = SubscribeOptions { no_local: true, ..SubscribeOptions::default() };
    buf.push(TopicFilter::new("t").unwrap(), options);
    let subscribe = Packet::from(Subscribe::new(PacketId::MIN, buf.as_subscriptions()));
    let result = subscribe.encode(Version::V3_1_1, &mut Vec::new());
    assert_eq!(result, Err(EncodeError::NotInVersion(Field::SubscriptionOptions)));
    assert_eq!(subscribe.encode(Version::V5, &mut Vec::new()), Ok(()));
}

#[test]
fn suback_answers_each() {
    // [MQTT-3.9.3-1]
    let bytes = packet(0x90, b"\x00\x0A\x00\x00\x01\x02\x87\x9E");
    let Packet::Suback(suback) = accept(Version::V5, &bytes) else { panic!() };
    let expected = [
        ReasonCode::granted(QoS::AtMostOnce),
        ReasonCode::granted(QoS::AtLeastOnce),
        ReasonCode::granted(QoS::ExactlyOnce),
        ReasonCode::NotAuthorized,
        ReasonCode::SharedSubscriptionsNotSupported,
    ];
    assert_eq!(suback.codes.iter().collect::<Vec<_>>(), expected);
    protocol_error(Version::V5, &packet(0x90, b"\x00\x0A\x00"), Fault::EmptyPayload);
    for version in BEFORE_5 {
        protocol_error(version, &packet(0x90, b"\x00\x0A"), Fault::EmptyPayload);
    }
}

#[test]
fn suback_before_5_0_has_four_codes() {
    // 3.1.1: [MQTT-3.9.3-2]
    for version in BEFORE_5 {
        accept(version, b"\x90\x06\x00\x01\x00\x01\x02\x80");
        for code in (3..=u8::MAX).filter(|&code| code != 0x80) {
            protocol_error(version, &[0x90, 3, 0, 1, code], Fault::ReasonCode(code));
        }
    }
}

#[test]
fn every_failure_is_0x80_before_5_0() {
    let codes = ReasonCodesBuf::from_iter([ReasonCode::GrantedQos1, ReasonCode::QuotaExceeded]);
    let suback = Packet::from(Suback::new(PacketId::MIN, codes.as_codes()));
    let mut bytes = Vec::new();
    suback.encode(Version::V3_1_1, &mut bytes).unwrap();
    assert_eq!(bytes, b"\x90\x04\x00\x01\x01\x80");
}
