//! The server's side, packet by packet, and face to face with the client's side.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::num::{NonZeroU16, NonZeroU32};
use std::time::Duration;

use mqway_codec::{
    Ack, Connect, Disconnect, Packet, PacketId, PacketType, PropertiesBuf, Property, Publish, QoS,
    ReasonCode, ReasonCodesBuf, SubscriptionId, Version, Will, decode,
};
use mqway_session::Outgoing;
use mqway_session::client::{Client, Event as Told, Message, Options, Outcome};
use mqway_session::server::{
    Acknowledged, Copy, Event, Fault, Hello, NEVER, NotSent, Receiver, Refusal, Session, Terms, acknowledge,
    answer_to_faulty, suback, unsuback,
};

const SECOND: Duration = Duration::from_secs(1);
const START: Duration = Duration::ZERO;

fn id(value: u16) -> PacketId {
    PacketId::new(value).unwrap()
}

fn properties(list: &[Property<'_>]) -> PropertiesBuf {
    let mut properties = PropertiesBuf::new();
    properties.extend(list.iter().copied()).unwrap();
    properties
}

fn with<'a>(mut connect: Connect<'a>, change: impl FnOnce(&mut Connect<'a>)) -> Connect<'a> {
    change(&mut connect);
    connect
}

/// One client of the server: what dies and what doesn't.
struct Rig {
    terms: Terms,
    receiver: Receiver,
    session: Session<&'static str>,
    answer: Vec<u8>,
}

impl Rig {
    fn new(terms: Terms, connect: &Connect<'_>) -> Rig {
        let hello = Hello::read(connect, &terms).unwrap();
        let mut session = Session::new(10);
        session.connected(hello.sender(&terms), hello.granted(), &terms, hello.will());
        let receiver = hello.receiver(&terms, START);
        Rig { terms, receiver, session, answer: Vec::new() }
    }

    fn again(&mut self, connect: &Connect<'_>) {
        let hello = Hello::read(connect, &self.terms).unwrap();
        self.session.connected(hello.sender(&self.terms), hello.granted(), &self.terms, hello.will());
        self.receiver = hello.receiver(&self.terms, START);
    }

    fn take(&mut self, packet: Packet<'_>) -> Result<String, Fault> {
        self.answer.clear();
        let event = self.receiver.take(&mut self.session, packet, &mut self.answer)?;
        Ok(match event {
            Event::None | Event::Acknowledged(Acknowledged::Nothing) => "none".to_owned(),
            Event::Publish(incoming) => format!("publish {}", incoming.topic),
            Event::Acknowledged(Acknowledged::Done(message, reason)) => format!("done {message:?} {reason}"),
            Event::Acknowledged(Acknowledged::Received(message)) => format!("received {message:?}"),
            Event::Disconnect(reason) => format!("disconnect {reason}"),
            other => format!("{other:?}"),
        })
    }

    fn reason(&mut self, packet: Packet<'_>) -> ReasonCode {
        self.take(packet).unwrap_err().reason()
    }

    fn outgoing(&mut self) -> Vec<String> {
        let mut all = Vec::new();
        while let Some((outgoing, _)) = self.session.next_outgoing() {
            all.push(match outgoing {
                Outgoing::Publish { id, dup, message, .. } => format!("{id} {message} {dup}"),
                Outgoing::Pubrel { id } => format!("pubrel {id}"),
            });
        }
        all
    }
}

fn connack(terms: &Terms, connect: &Connect<'_>, assigned: Option<&str>) -> Vec<u8> {
    let mut out = Vec::new();
    Hello::read(connect, terms).unwrap().connack(terms, false, assigned, &PropertiesBuf::new(), &mut out);
    out
}

fn publish<'a>(topic: &'a str, qos: QoS, id: Option<u16>) -> Publish<'a> {
    Publish { qos, packet_id: id.and_then(PacketId::new), ..Publish::new(topic, b"") }
}

#[test]
fn client_identifiers_are_judged_by_version() {
    let judged = |version, clean_start| {
        let connect = with(Connect::new(version, ""), |connect| connect.clean_start = clean_start);
        Hello::read(&connect, &Terms::default()).map(|hello| hello.client_id().is_none())
    };
    let refused = Err(ReasonCode::ClientIdentifierNotValid);
    assert_eq!(judged(Version::V3_1, true), refused);
    assert_eq!(judged(Version::V3_1_1, false), refused); // 3.1.1: [MQTT-3.1.3-8]
    assert_eq!(judged(Version::V3_1_1, true), Ok(true)); // 3.1.1: [MQTT-3.1.3-6]
    assert_eq!(judged(Version::V5, false), Ok(true)); // [MQTT-3.1.3-6]
}

#[test]
fn connack_says_what_a_client_would_not_assume() {
    let terms = Terms {
        maximum_packet: 1000,
        receive_maximum: NonZeroU16::new(7).unwrap(),
        topic_alias_maximum: 3,
        maximum_qos: QoS::AtLeastOnce,
        retain: false,
        keep_alive: NonZeroU16::new(30),
        session_expiry: 100,
        response_information: Some("reply/".into()),
        ..Terms::default()
    };
    let asked =
        properties(&[Property::SessionExpiryInterval(NEVER), Property::RequestResponseInformation(true)]);
    let mut connect = Connect::new(Version::V5, "");
    connect.properties = asked.as_properties();
    let bytes = connack(&terms, &connect, Some("auto-1"));
    let Ok(Packet::Connack(connack)) = decode(Version::V5, &bytes) else { panic!("{bytes:x?}") };
    let said = connack.properties;
    assert_eq!(said.assigned_client_identifier(), Some("auto-1")); // [MQTT-3.1.3-7]
    assert_eq!(said.session_expiry_interval(), Some(100));
    assert_eq!(said.server_keep_alive(), Some(30));
    assert_eq!(said.receive_maximum(), NonZeroU16::new(7));
    assert_eq!(said.maximum_packet_size(), NonZeroU32::new(1000));
    assert_eq!(said.topic_alias_maximum(), Some(3));
    assert_eq!(said.maximum_qos(), Some(QoS::AtLeastOnce)); // [MQTT-3.2.2-9]
    assert_eq!(said.retain_available(), Some(false));
    assert_eq!(said.response_information(), Some("reply/"));

    // [MQTT-3.1.2-28]: not unless asked for.
    let bytes = connack_without_question(&terms);
    let Ok(Packet::Connack(connack)) = decode(Version::V5, &bytes) else { panic!("{bytes:x?}") };
    assert_eq!(connack.properties.response_information(), None);
}

fn connack_without_question(terms: &Terms) -> Vec<u8> {
    connack(terms, &Connect::new(Version::V5, "x"), None)
}

#[test]
fn before_5_0_connack_has_two_bytes_and_3_1_no_session_present() {
    let terms = Terms::default();
    for (version, present) in [(Version::V3_1, 0), (Version::V3_1_1, 1)] {
        let connect = with(Connect::new(version, "x"), |connect| connect.clean_start = false);
        let hello = Hello::read(&connect, &terms).unwrap();
        let mut out = Vec::new();
        hello.connack(&terms, true, None, &PropertiesBuf::new(), &mut out);
        assert_eq!(out, [0x20, 2, present, 0]);
        assert_eq!(hello.granted().session_expiry, NEVER);
    }
}

#[test]
fn a_will_that_is_not_served_is_refused() {
    let terms = Terms { maximum_qos: QoS::AtMostOnce, retain: false, ..Terms::default() };
    let judged = |will| {
        let connect = with(Connect::new(Version::V5, "x"), |connect| connect.will = Some(will));
        Hello::read(&connect, &terms).map(|_| ()).unwrap_err()
    };
    let will = Will::new("gone", b"");
    assert_eq!(judged(Will { qos: QoS::AtLeastOnce, ..will }), ReasonCode::QosNotSupported); // [MQTT-3.2.2-12]
    assert_eq!(judged(Will { retain: true, ..will }), ReasonCode::RetainNotSupported); // [MQTT-3.2.2-13]
}

#[test]
fn refusals_are_in_the_words_of_the_version_and_fit() {
    let refusal = Refusal::new(ReasonCode::NotAuthorized, "no");
    let said = |version, most| {
        let mut out = Vec::new();
        refusal.connack(version, most, &mut out);
        out
    };
    assert_eq!(said(Version::V3_1_1, u32::MAX), [0x20, 2, 0, 5]);
    assert_eq!(said(Version::V5, u32::MAX), b"\x20\x08\x00\x87\x05\x1f\x00\x02no");
    assert_eq!(said(Version::V5, 9), [0x20, 3, 0, 0x87, 0]); // [MQTT-3.2.2-19], [MQTT-3.2.2-20]
    let moved =
        Refusal { reason: ReasonCode::UseAnotherServer, text: "", server_reference: Some("other:1883") };
    let mut out = Vec::new();
    moved.disconnect(Version::V5, u32::MAX, &mut out);
    assert_eq!(out, b"\xe0\x0f\x9c\x0d\x1c\x00\x0aother:1883"); // [MQTT-3.14.2-2]
    out.clear();
    moved.disconnect(Version::V5, 16, &mut out);
    assert_eq!(out, [0xE0, 1, 0x9C]); // [MQTT-3.14.2-3], [MQTT-3.14.2-4]
    out.clear();
    Refusal::new(ReasonCode::PacketTooLarge, "").connack(Version::V3_1_1, u32::MAX, &mut out);
    assert!(out.is_empty()); // 3.1.1: [MQTT-3.2.2-6]
    moved.disconnect(Version::V3_1_1, u32::MAX, &mut out);
    assert!(out.is_empty());
}

#[test]
fn acknowledgements_have_the_identifier_and_no_words() {
    // [MQTT-3.1.2-29], for a client that wants no words in them, as for any other.
    let id = id(0x1234);
    let mut out = Vec::new();
    for (packet_type, first) in [
        (PacketType::Puback, 0x40),  // [MQTT-3.4.2-2], [MQTT-3.4.2-3]
        (PacketType::Pubrec, 0x50),  // [MQTT-3.5.2-2], [MQTT-3.5.2-3]
        (PacketType::Pubrel, 0x62),  // [MQTT-3.6.2-2], [MQTT-3.6.2-3]
        (PacketType::Pubcomp, 0x70), // [MQTT-3.7.2-2], [MQTT-3.7.2-3]
    ] {
        out.clear();
        acknowledge(packet_type, Version::V5, id, ReasonCode::PacketIdentifierNotFound, &mut out);
        assert_eq!(out, [first, 3, 0x12, 0x34, 0x92]);
    }
    let mut codes = ReasonCodesBuf::new();
    codes.push(ReasonCode::NotAuthorized);
    out.clear();
    // [MQTT-2.2.1-6], [MQTT-3.8.4-2], [MQTT-3.9.2-1], [MQTT-3.9.2-2]
    suback(Version::V5, id, codes.as_codes(), &mut out);
    assert_eq!(out, [0x90, 4, 0x12, 0x34, 0, 0x87]);
    out.clear();
    // [MQTT-2.2.1-6], [MQTT-3.10.4-5], [MQTT-3.11.2-1], [MQTT-3.11.2-2]
    unsuback(Version::V5, id, codes.as_codes(), &mut out);
    assert_eq!(out, [0xB0, 4, 0x12, 0x34, 0, 0x87]);
}

#[test]
fn first_packets_that_are_no_connect_are_answered_where_there_is_a_word_for_it() {
    let answered = |first: &[u8]| {
        let error = decode(Version::V5, first).unwrap_err();
        let mut out = Vec::new();
        answer_to_faulty(&error, first, &mut out);
        out
    };
    assert_eq!(answered(b"\x10\x0c\x00\x04MQTT\x02\x02\x00\x3c\x00\x00"), [0x20, 2, 0, 1]); // 3.1.1: [MQTT-3.1.2-2]
    assert_eq!(answered(b"\x10\x0d\x00\x04MQTT\x06\x02\x00\x3c\x00\x00\x00"), [0x20, 3, 0, 0x84, 0]); // [MQTT-3.1.2-2]
    // One of a level to come that is written as in 3.1.1 is answered so.
    assert_eq!(answered(b"\x10\x0d\x00\x04MQTT\x06\x02\x00\x3c\x00\x01x"), [0x20, 2, 0, 1]); // 3.1.1: [MQTT-3.1.2-2]
    assert_eq!(answered(b"\x10\x0d\x00\x04MQTT\x05\x03\x00\x3c\x00\x00\x00"), [0x20, 3, 0, 0x81, 0]);
    assert!(answered(b"\x10\x0c\x00\x04MQTT\x04\x03\x00\x3c\x00\x00").is_empty()); // 3.1.1: [MQTT-3.1.4-1]
    assert!(answered(b"\x10\x0c\x00\x04NOPE\x04\x02\x00\x3c\x00\x00").is_empty());
}

#[test]
fn a_message_that_cannot_be_sent_is_done_with() {
    // [MQTT-3.1.2-25]
    let mut limits = Connect::new(Version::V5, "x");
    let one = properties(&[Property::ReceiveMaximum(NonZeroU16::MIN)]);
    limits.properties = one.as_properties();
    let mut rig = Rig::new(Terms::default(), &limits);
    for (qos, message) in [(QoS::AtLeastOnce, "a"), (QoS::ExactlyOnce, "b"), (QoS::AtLeastOnce, "c")] {
        rig.session.push(qos, message).unwrap();
    }
    assert_eq!(rig.outgoing(), ["1 a false"]);
    assert_eq!(rig.session.give_up(QoS::AtLeastOnce, id(1)), Some("a"));
    assert_eq!(rig.outgoing(), ["2 b false"]);
    assert_eq!(rig.session.give_up(QoS::ExactlyOnce, id(2)), Some("b"));
    assert_eq!(rig.outgoing(), ["3 c false"]);
    assert_eq!(rig.session.in_flight(), 1);
}

#[test]
fn a_message_is_handed_on_once_and_answered_by_its_qos() {
    let mut rig = Rig::new(Terms::default(), &Connect::new(Version::V5, "x"));
    assert_eq!(rig.take(Packet::Publish(publish("a", QoS::AtMostOnce, None))).unwrap(), "publish a");
    assert_eq!(rig.take(Packet::Publish(publish("b", QoS::AtLeastOnce, Some(5)))).unwrap(), "publish b");
    let mut out = Vec::new();
    rig.session.acknowledge(
        Version::V5,
        QoS::AtLeastOnce,
        id(5),
        ReasonCode::NoMatchingSubscribers,
        &mut out,
    );
    assert_eq!(out, [0x40, 3, 0, 5, 0x10]); // [MQTT-2.2.1-5], [MQTT-3.3.4-1], [MQTT-4.3.2-4]
    out.clear();
    assert_eq!(rig.take(Packet::Publish(publish("c", QoS::ExactlyOnce, Some(5)))).unwrap(), "publish c");
    rig.session.acknowledge(Version::V5, QoS::ExactlyOnce, id(5), ReasonCode::Success, &mut out);
    assert_eq!(out, [0x50, 2, 0, 5]); // [MQTT-4.3.3-8]
    let again = Publish { dup: true, ..publish("c", QoS::ExactlyOnce, Some(5)) };
    assert_eq!(rig.take(Packet::Publish(again)).unwrap(), "none"); // [MQTT-4.3.3-10]
    assert_eq!(rig.answer, [0x50, 2, 0, 5]);
    assert_eq!(rig.take(Packet::Pubrel(Ack::new(id(5)))).unwrap(), "none");
    assert_eq!(rig.answer, [0x70, 2, 0, 5]); // [MQTT-4.3.3-11]
    assert_eq!(rig.take(Packet::Pubrel(Ack::new(id(5)))).unwrap(), "none");
    assert_eq!(rig.answer, [0x70, 3, 0, 5, 0x92]);
    assert_eq!(rig.take(Packet::Publish(publish("d", QoS::ExactlyOnce, Some(5)))).unwrap(), "publish d"); // [MQTT-4.3.3-12]
    assert_eq!(rig.take(Packet::Pingreq).unwrap(), "none");
    assert_eq!(rig.answer, [0xD0, 0]); // [MQTT-3.12.4-1]
}

#[test]
fn what_a_client_may_not_do_has_its_reason() {
    let terms = Terms {
        receive_maximum: NonZeroU16::new(1).unwrap(),
        maximum_qos: QoS::AtLeastOnce,
        retain: false,
        ..Terms::default()
    };
    let mut rig = Rig::new(terms, &Connect::new(Version::V5, "x"));
    let identified = properties(&[Property::SubscriptionIdentifier(SubscriptionId::new(7).unwrap())]);
    let mut with_id = publish("a", QoS::AtMostOnce, None);
    with_id.properties = identified.as_properties();
    assert_eq!(rig.reason(Packet::Publish(with_id)), ReasonCode::ProtocolError); // [MQTT-3.3.4-6]
    let qos_2 = publish("a", QoS::ExactlyOnce, Some(1));
    assert_eq!(rig.reason(Packet::Publish(qos_2)), ReasonCode::QosNotSupported); // [MQTT-3.2.2-11]
    let retained = Publish { retain: true, ..publish("a", QoS::AtMostOnce, None) };
    assert_eq!(rig.reason(Packet::Publish(retained)), ReasonCode::RetainNotSupported); // [MQTT-3.2.2-14]
    rig.take(Packet::Publish(publish("a", QoS::AtLeastOnce, Some(1)))).unwrap();
    let second = publish("a", QoS::AtLeastOnce, Some(2));
    assert_eq!(rig.reason(Packet::Publish(second)), ReasonCode::ReceiveMaximumExceeded); // [MQTT-3.3.4-7]
    assert_eq!(rig.reason(Packet::Pingresp), ReasonCode::ProtocolError);
    let leave = properties(&[Property::SessionExpiryInterval(1)]);
    let mut disconnect = Disconnect::default();
    disconnect.properties = leave.as_properties();
    assert_eq!(rig.reason(Packet::Disconnect(disconnect)), ReasonCode::ProtocolError); // 5.0 §3.14.2.2.2
}

#[test]
fn topic_aliases_of_a_client_are_resolved_within_its_limits() {
    let mut rig =
        Rig::new(Terms { topic_alias_maximum: 1, ..Terms::default() }, &Connect::new(Version::V5, "x"));
    let alias = |value| properties(&[Property::TopicAlias(NonZeroU16::new(value).unwrap())]);
    let (one, two) = (alias(1), alias(2));
    let aliased = |topic, alias: &PropertiesBuf| -> Packet<'static> {
        let leaked: &'static PropertiesBuf = Box::leak(Box::new(alias.clone()));
        Packet::Publish(Publish {
            properties: leaked.as_properties(),
            ..publish(topic, QoS::AtMostOnce, None)
        })
    };
    assert_eq!(rig.reason(aliased("", &one)), ReasonCode::ProtocolError);
    assert_eq!(rig.take(aliased("a/b", &one)).unwrap(), "publish a/b");
    assert_eq!(rig.take(aliased("", &one)).unwrap(), "publish a/b");
    assert_eq!(rig.reason(aliased("a", &two)), ReasonCode::TopicAliasInvalid); // [MQTT-3.3.2-9]
}

#[test]
fn what_was_not_acknowledged_comes_again_in_order() {
    let connect = with(Connect::new(Version::V3_1_1, "x"), |connect| connect.clean_start = false);
    let mut rig = Rig::new(Terms::default(), &connect);
    for (qos, message) in [(QoS::AtLeastOnce, "a"), (QoS::ExactlyOnce, "b"), (QoS::AtLeastOnce, "c")] {
        rig.session.push(qos, message).unwrap();
    }
    assert_eq!(rig.outgoing(), ["1 a false", "2 b false", "3 c false"]);
    assert_eq!(rig.take(Packet::Pubrec(Ack::new(id(2)))).unwrap(), "received Some(\"b\")");
    assert_eq!(rig.answer, [0x62, 2, 0, 2]); // [MQTT-4.3.3-4]
    rig.session.disconnected(SECOND);
    assert!(rig.outgoing().is_empty() && rig.session.due().is_none());
    rig.again(&connect);
    assert_eq!(rig.outgoing(), ["1 a true", "pubrel 2", "3 c true"]); // [MQTT-4.4.0-1]
    assert_eq!(rig.take(Packet::Pubcomp(Ack::new(id(2)))).unwrap(), "done None Success");
    assert_eq!(rig.take(Packet::Puback(Ack::new(id(9)))).unwrap(), "none");
    assert_eq!(rig.take(Packet::Pubrec(Ack::new(id(9)))).unwrap(), "received None");
}

#[test]
fn a_will_waits_for_its_delay_or_the_end_of_the_session() {
    let delay = properties(&[Property::WillDelayInterval(10)]);
    let mut will = Will::new("gone", b"");
    will.properties = delay.as_properties();
    for (expiry, due) in [(30, 10), (5, 5), (0, 0)] {
        let asked = properties(&[Property::SessionExpiryInterval(expiry)]);
        let mut connect = with(Connect::new(Version::V5, "x"), |connect| connect.will = Some(will));
        connect.properties = asked.as_properties();
        let mut rig = Rig::new(Terms::default(), &connect);
        rig.session.disconnected(START);
        assert_eq!(rig.session.due(), Some(due * SECOND), "{expiry}"); // [MQTT-3.1.3-9]
        if due > 0 {
            assert_eq!(rig.session.poll((due - 1) * SECOND).will, None);
        }
        let published = rig.session.poll(due * SECOND).will.unwrap(); // [MQTT-3.1.2-7]
        assert_eq!(rig.session.poll(due * SECOND).will, None); // [MQTT-3.1.2-10]
        assert_eq!((&*published.topic, published.properties), ("gone", PropertiesBuf::new()));
        assert!(rig.session.poll(u32::MAX * SECOND).ended);
    }
    // A client that is back in time has changed nothing.
    let asked = properties(&[Property::SessionExpiryInterval(30)]);
    let mut connect = with(Connect::new(Version::V5, "x"), |connect| connect.will = Some(will));
    connect.properties = asked.as_properties();
    let mut rig = Rig::new(Terms::default(), &connect);
    rig.session.disconnected(START);
    connect.will = None;
    rig.again(&connect);
    rig.session.disconnected(START);
    assert_eq!(rig.session.poll(29 * SECOND), mqway_session::server::Due::default());
}

#[test]
fn disconnect_takes_the_will_back_unless_it_says_otherwise() {
    for (version, reason, stays) in [
        (Version::V5, ReasonCode::Success, false),
        (Version::V5, ReasonCode::DisconnectWithWill, true),
        (Version::V3_1_1, ReasonCode::Success, false), // 3.1.1: [MQTT-3.1.2-10], [MQTT-3.14.4-3]
    ] {
        let connect = with(Connect::new(version, "x"), |connect| connect.will = Some(Will::new("gone", b"")));
        let mut rig = Rig::new(Terms::default(), &connect);
        rig.take(Packet::Disconnect(Disconnect::new(reason))).unwrap();
        rig.session.disconnected(START);
        assert_eq!(rig.session.poll(START).will.is_some(), stays, "{reason}"); // [MQTT-3.14.4-3]
        assert_eq!(rig.session.poll(START).will, None); // [MQTT-3.1.2-10]
    }
}

#[test]
fn a_session_ends_when_disconnect_says_so() {
    let asked = properties(&[Property::SessionExpiryInterval(30)]);
    let mut connect = Connect::new(Version::V5, "x");
    connect.properties = asked.as_properties();
    let mut rig = Rig::new(Terms { session_expiry: 50, ..Terms::default() }, &connect);
    let longer = properties(&[Property::SessionExpiryInterval(NEVER)]);
    let mut disconnect = Disconnect::default();
    disconnect.properties = longer.as_properties();
    rig.take(Packet::Disconnect(disconnect)).unwrap();
    rig.session.disconnected(START);
    assert_eq!(rig.session.due(), Some(50 * SECOND));
}

#[test]
fn silence_is_bounded_by_one_and_a_half_times_the_keep_alive() {
    let connect = with(Connect::new(Version::V3_1_1, "x"), |connect| connect.keep_alive = 10);
    let mut rig = Rig::new(Terms { keep_alive: NonZeroU16::new(5), ..Terms::default() }, &connect);
    assert_eq!(rig.receiver.silent_until(), Some(15 * SECOND)); // [MQTT-3.1.2-22]
    rig.receiver.heard(2 * SECOND);
    assert_eq!(rig.receiver.silent_until(), Some(17 * SECOND));
    let connect = with(Connect::new(Version::V5, "x"), |connect| connect.keep_alive = 4);
    let rig = Rig::new(rig.terms, &connect);
    assert_eq!(rig.receiver.silent_until(), Some(6 * SECOND)); // [MQTT-3.2.2-22]
}

#[test]
fn heads_fit_the_client_and_use_its_aliases() {
    let asked = properties(&[
        Property::TopicAliasMaximum(1),
        Property::MaximumPacketSize(NonZeroU32::new(20).unwrap()),
    ]);
    let mut connect = Connect::new(Version::V5, "x");
    connect.properties = asked.as_properties();
    let mut rig = Rig::new(Terms::default(), &connect);
    let sender = rig.session.sender().unwrap();
    let mut copy = Copy {
        topic: "topic",
        payload: b"12",
        properties: mqway_codec::Properties::EMPTY,
        expiry: None,
        qos: QoS::AtMostOnce,
        id: None,
        dup: false,
        retain: false,
        identifiers: &[],
    };
    let (mut scratch, mut out) = (PropertiesBuf::new(), Vec::new());
    sender.head(&copy, &mut scratch, &mut out).unwrap();
    assert_eq!(out, b"\x30\x0d\x00\x05topic\x03\x23\x00\x01");
    out.clear();
    sender.head(&copy, &mut scratch, &mut out).unwrap();
    assert_eq!(out, b"\x30\x08\x00\x00\x03\x23\x00\x01");
    out.clear();
    copy.payload = b"1234567890123"; // 21 bytes even by its alias
    assert_eq!(sender.head(&copy, &mut scratch, &mut out), Err(NotSent::TooLarge)); // [MQTT-3.1.2-24]
    assert!(out.is_empty());
    copy.payload = b"";
    copy.expiry = Some(7);
    let identifiers = [SubscriptionId::new(3).unwrap()];
    copy.identifiers = &identifiers;
    sender.head(&copy, &mut scratch, &mut out).unwrap();
    assert_eq!(out, b"\x30\x0d\x00\x00\x0a\x02\x00\x00\x00\x07\x23\x00\x01\x0b\x03");
}

/// Both sides in memory; the server sends back to the client what the client publishes.
#[test]
fn the_client_of_this_crate_and_the_server_understand_each_other() {
    for version in [Version::V3_1, Version::V3_1_1, Version::V5] {
        let mut client = Client::new(Options::new(version));
        client.begin(START, &Connect::new(version, "x")).unwrap();
        let hello_bytes = client.output().as_bytes().to_vec();
        client.output().clear();
        let Ok(Packet::Connect(connect)) = decode(version, &hello_bytes) else { panic!("{hello_bytes:x?}") };
        let mut rig = Rig::new(Terms::default(), &connect);
        client.handle(START, &connack(&Terms::default(), &connect, None)).unwrap();
        for (ticket, qos) in [(0, QoS::AtMostOnce), (1, QoS::AtLeastOnce), (2, QoS::ExactlyOnce)] {
            let mut message = Message::new("a/b", "payload");
            message.qos = qos;
            client.publish(START, ticket, message).unwrap();
        }
        for _ in 0..10 {
            let from_client = client.output().as_bytes().to_vec();
            client.output().clear();
            let mut to_client = Vec::new();
            serve(&mut rig, &from_client, &mut to_client);
            client.handle(START, &to_client).unwrap();
        }
        let (mut published, mut received) = (0, Vec::new());
        while let Some(event) = client.next_event() {
            match event {
                Told::Published { outcome: Outcome::Sent, .. } => published += 1,
                Told::Published { outcome: Outcome::Answered(receipt), .. } => {
                    assert_eq!(receipt.reason, ReasonCode::Success);
                    published += 1;
                }
                Told::Message(message) => received.push(message.qos as u8),
                Told::Connected { .. } => {}
                other => panic!("{other:?}"),
            }
        }
        assert_eq!((published, received), (3, vec![0, 1, 2]), "{version}");
        assert_eq!((rig.session.in_flight(), client.pending()), (0, 0));
    }
}

fn serve(rig: &mut Rig, mut bytes: &[u8], out: &mut Vec<u8>) {
    let (version, mut scratch) = (rig.receiver.version(), PropertiesBuf::new());
    let mut echo = |rig: &mut Rig, qos, id, dup, out: &mut Vec<u8>| {
        let copy = Copy {
            topic: "a/b",
            payload: b"payload",
            properties: mqway_codec::Properties::EMPTY,
            expiry: None,
            qos,
            id,
            dup,
            retain: false,
            identifiers: &[],
        };
        rig.session.sender().unwrap().head(&copy, &mut scratch, out).unwrap();
        out.extend_from_slice(copy.payload);
    };
    while let Some((packet, len)) = rig.receiver.next(bytes).unwrap() {
        bytes = &bytes[len..];
        match rig.receiver.take(&mut rig.session, packet, out).unwrap() {
            Event::Publish(incoming) => {
                let publish = incoming.publish;
                if let Some(id) = publish.packet_id {
                    rig.session.acknowledge(version, publish.qos, id, ReasonCode::Success, out);
                    rig.session.push(publish.qos, "echo").unwrap();
                } else {
                    echo(rig, QoS::AtMostOnce, None, false, out);
                }
            }
            Event::None | Event::Acknowledged(_) => {}
            other => panic!("{other:?}"),
        }
    }
    while let Some((Outgoing::Publish { id, qos, dup, .. }, _)) = rig.session.next_outgoing() {
        echo(rig, qos, Some(id), dup, out);
    }
}
