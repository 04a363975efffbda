//! A client against a server that the test plays, word by word.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::num::{NonZeroU16, NonZeroU32};
use std::time::Duration;

use mqway_codec::{
    Ack, Auth, Connack, Connect, Decoder, Disconnect, Packet, PacketId, PropertiesBuf, Property, Publish,
    QoS, ReasonCode, ReasonCodesBuf, Suback, Unsuback, Version,
};
use mqway_session::client::{
    Client, Event, Fault, Incoming, Message, NoAuthentication, NotAccepted, Options, Outcome, Receipt,
    SessionLost, Subscription,
};

const NOW: Duration = Duration::ZERO;

struct Rig {
    client: Client,
    version: Version,
}

fn id(value: u16) -> PacketId {
    PacketId::new(value).unwrap()
}

/// What the server says of a message that it has taken.
fn success(resent: bool) -> Receipt {
    Receipt { reason: ReasonCode::Success, properties: PropertiesBuf::new(), resent }
}

fn message(qos: QoS, payload: &str) -> Message {
    Message { qos, ..Message::new("a/b", payload) }
}

impl Rig {
    fn new(version: Version) -> Rig {
        Rig::with(Options::new(version))
    }

    fn with(options: Options) -> Rig {
        Rig { version: options.version, client: Client::new(options) }
    }

    /// A connection, up to CONNECT.
    fn begin(&mut self, clean_start: bool) -> Vec<Vec<u8>> {
        let mut connect = Connect::new(self.version, "c");
        connect.clean_start = clean_start;
        self.client.begin(NOW, &connect).unwrap();
        self.sent()
    }

    fn connect(&mut self, session_present: bool) -> Event {
        self.connect_with(session_present, &PropertiesBuf::new())
    }

    fn connect_with(&mut self, session_present: bool, properties: &PropertiesBuf) -> Event {
        self.begin(false);
        let mut connack = Connack::new(session_present, ReasonCode::Success);
        connack.properties = properties.as_properties();
        self.serve(Packet::Connack(connack)).unwrap();
        self.client.next_event().unwrap()
    }

    fn serve(&mut self, packet: Packet<'_>) -> Result<(), Fault> {
        let mut bytes = Vec::new();
        packet.encode(self.version, &mut bytes).unwrap();
        self.client.handle(NOW, &bytes).map(|used| assert_eq!(used, bytes.len()))
    }

    fn publish(&mut self, ticket: u64, qos: QoS, payload: &str) {
        self.client.publish(NOW, ticket, message(qos, payload)).unwrap();
    }

    /// Takes the packets that the client has to write.
    fn sent(&mut self) -> Vec<Vec<u8>> {
        let packets = self.client.output().packets().map(<[u8]>::to_vec).collect();
        self.client.output().clear();
        packets
    }

    fn expect_sent(&mut self, expected: &[Packet<'_>]) {
        let version = self.version;
        let sent = self.sent();
        let mut decoder = Decoder::with_version(version, usize::MAX);
        let decoded: Vec<_> = sent.iter().map(|packet| decoder.next(packet).unwrap().unwrap().0).collect();
        assert_eq!(decoded, expected);
    }

    fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.client.next_event()).collect()
    }
}

fn publish<'a>(number: u16, qos: QoS, dup: bool, payload: &'a str) -> Packet<'a> {
    let mut publish = Publish::new("a/b", payload.as_bytes());
    (publish.qos, publish.dup) = (qos, dup);
    publish.packet_id = (qos != QoS::AtMostOnce).then(|| id(number));
    Packet::Publish(publish)
}

fn ack(number: u16) -> Ack<'static> {
    Ack::new(id(number))
}

const VERSIONS: [Version; 3] = [Version::V3_1, Version::V3_1_1, Version::V5];

#[test]
fn a_receiver_of_qos_2_that_lost_its_connection_after_pubrec_hands_the_message_on_once() {
    for version in VERSIONS {
        let mut rig = Rig::new(version);
        rig.connect(false);
        rig.serve(publish(7, QoS::ExactlyOnce, false, "x")).unwrap();
        rig.expect_sent(&[Packet::Pubrec(ack(7))]); // [MQTT-4.3.3-8]; 3.1.1: [MQTT-4.3.3-2]
        assert_eq!(rig.events().len(), 1);
        rig.client.lost();
        rig.connect(true);
        rig.serve(publish(7, QoS::ExactlyOnce, true, "x")).unwrap();
        rig.expect_sent(&[Packet::Pubrec(ack(7))]); // [MQTT-4.3.3-10]
        assert_eq!(rig.events(), []);
        rig.serve(Packet::Pubrel(ack(7))).unwrap();
        rig.expect_sent(&[Packet::Pubcomp(ack(7))]);
        // The identifier is free for another message. [MQTT-4.3.3-12]
        rig.serve(publish(7, QoS::ExactlyOnce, false, "y")).unwrap();
        assert_eq!(rig.events().len(), 1);
    }
}

#[test]
fn a_message_of_qos_1_is_acknowledged_and_its_identifier_free() {
    for version in VERSIONS {
        let mut rig = Rig::new(version);
        rig.connect(false);
        for dup in [false, true] {
            rig.serve(publish(7, QoS::AtLeastOnce, dup, "x")).unwrap();
            // [MQTT-2.2.1-5], [MQTT-3.3.4-1], [MQTT-3.4.2-2], [MQTT-3.4.2-3], [MQTT-4.3.2-4]; 3.1.1: [MQTT-4.3.2-2]
            assert_eq!(rig.sent(), [[0x40, 2, 0, 7]]);
            assert_eq!(rig.events().len(), 1, "whatever DUP says"); // [MQTT-4.3.2-5]
        }
    }
}

#[test]
fn pubrel_follows_the_order_of_pubrec() {
    // [MQTT-4.6.0-4]
    let mut rig = Rig::new(Version::V5);
    rig.connect(false);
    rig.publish(1, QoS::ExactlyOnce, "x");
    rig.publish(2, QoS::ExactlyOnce, "x");
    rig.sent();
    rig.serve(Packet::Pubrec(ack(2))).unwrap();
    rig.serve(Packet::Pubrec(ack(1))).unwrap();
    rig.expect_sent(&[Packet::Pubrel(ack(2)), Packet::Pubrel(ack(1))]);
}

#[test]
fn a_message_that_was_refused_is_not_sent_again() {
    // [MQTT-4.4.0-2]
    let mut rig = Rig::new(Version::V5);
    rig.connect(false);
    rig.publish(1, QoS::AtLeastOnce, "x");
    rig.publish(2, QoS::ExactlyOnce, "x");
    rig.sent();
    rig.serve(Packet::Puback(Ack::with_reason(id(1), ReasonCode::QuotaExceeded))).unwrap();
    rig.serve(Packet::Pubrec(Ack::with_reason(id(2), ReasonCode::QuotaExceeded))).unwrap();
    assert_eq!(rig.events().len(), 2);
    rig.client.lost();
    rig.connect(true);
    rig.expect_sent(&[]);
}

#[test]
fn a_pubrel_that_is_repeated_is_answered_and_ends_nothing() {
    for version in VERSIONS {
        let mut rig = Rig::new(version);
        rig.connect(false);
        rig.serve(publish(7, QoS::ExactlyOnce, false, "x")).unwrap();
        rig.serve(Packet::Pubrel(ack(7))).unwrap();
        rig.sent();
        rig.client.lost();
        rig.connect(true);
        rig.serve(Packet::Pubrel(ack(7))).unwrap();
        let answer = match version {
            Version::V5 => Ack::with_reason(id(7), ReasonCode::PacketIdentifierNotFound),
            _ => ack(7),
        };
        rig.expect_sent(&[Packet::Pubcomp(answer)]);
        assert!(rig.client.is_connected());
    }
}

#[test]
fn a_sender_of_qos_1_sends_again_what_was_not_acknowledged_in_order_with_the_same_identifiers() {
    for version in VERSIONS {
        let mut rig = Rig::new(version);
        rig.connect(false);
        for (ticket, text) in ["a", "b", "c"].into_iter().enumerate() {
            rig.publish(ticket as u64, QoS::AtLeastOnce, text);
        }
        rig.sent();
        rig.serve(Packet::Puback(ack(2))).unwrap();
        rig.client.lost();
        rig.publish(3, QoS::AtLeastOnce, "d");
        assert!(rig.client.output().is_empty());
        rig.connect(true);
        rig.expect_sent(&[
            // [MQTT-3.3.1-1], [MQTT-4.3.2-3], [MQTT-4.4.0-1], [MQTT-4.6.0-1]; 3.1.1: [MQTT-2.3.1-3], [MQTT-4.3.2-1]
            publish(1, QoS::AtLeastOnce, true, "a"),
            publish(3, QoS::AtLeastOnce, true, "c"),
            publish(4, QoS::AtLeastOnce, false, "d"), // [MQTT-4.3.2-1], [MQTT-4.3.2-2]
        ]);
    }
}

#[test]
fn a_sender_whose_session_is_lost_sends_again_as_new_or_tells_what_failed() {
    let again = |id, qos, payload| publish(id, qos, false, payload);
    for (option, failed, dropped, expected) in
        [(SessionLost::Resend, 0, 0, "abq"), (SessionLost::Fail, 2, 0, "q"), (SessionLost::Drop, 0, 3, "")]
    {
        let mut rig = Rig::with(Options { session_lost: option, ..Options::new(Version::V3_1_1) });
        // What was accepted before there ever was a session cannot have been lost with one.
        rig.publish(0, QoS::AtLeastOnce, "first");
        rig.connect(false);
        rig.expect_sent(&[again(1, QoS::AtLeastOnce, "first")]);
        rig.serve(Packet::Puback(ack(1))).unwrap();
        rig.publish(1, QoS::AtLeastOnce, "a");
        rig.publish(2, QoS::ExactlyOnce, "b");
        rig.publish(3, QoS::ExactlyOnce, "released");
        rig.serve(Packet::Pubrec(ack(4))).unwrap();
        rig.sent();
        rig.client.lost();
        rig.publish(5, QoS::AtLeastOnce, "q");
        rig.events();
        rig.connect(false);
        let mut events = rig.events();
        let summary = events.pop().unwrap();
        let resent = expected.len().saturating_sub(1);
        assert_eq!(summary, Event::SessionLost { resent, failed, dropped }); // [MQTT-3.2.2-5]
        // With PUBREC the server took the message over, and the caller is told so.
        let received = Event::Published { ticket: 3, outcome: Outcome::Answered(success(false)) };
        assert_eq!(events.iter().filter(|event| **event == received).count(), 1, "{events:?}");
        let count = |wanted: fn(&Outcome) -> bool| {
            let matches =
                |event: &&Event| matches!(event, Event::Published { outcome, .. } if wanted(outcome));
            events.iter().filter(matches).count()
        };
        assert_eq!(count(|outcome| matches!(outcome, Outcome::SessionLost(_))), failed);
        assert_eq!(count(|outcome| matches!(outcome, Outcome::Dropped(_))), dropped);
        match option {
            SessionLost::Resend => rig.expect_sent(&[
                again(5, QoS::AtLeastOnce, "a"),
                again(6, QoS::ExactlyOnce, "b"),
                again(7, QoS::AtLeastOnce, "q"),
            ]),
            SessionLost::Fail => rig.expect_sent(&[again(5, QoS::AtLeastOnce, "q")]),
            SessionLost::Drop => rig.expect_sent(&[]),
        }
        if option == SessionLost::Resend {
            rig.serve(Packet::Puback(ack(5))).unwrap();
            let outcome = Outcome::Answered(success(true));
            assert_eq!(rig.events(), [Event::Published { ticket: 1, outcome }]);
        }
    }
}

#[test]
fn a_sender_of_qos_2_after_pubrec_sends_pubrel_again_and_never_publish() {
    for version in VERSIONS {
        let mut rig = Rig::new(version);
        rig.connect(false);
        rig.publish(9, QoS::ExactlyOnce, "x");
        rig.expect_sent(&[publish(1, QoS::ExactlyOnce, false, "x")]); // [MQTT-4.3.3-1], [MQTT-4.3.3-2]
        rig.client.lost();
        rig.connect(true);
        rig.expect_sent(&[publish(1, QoS::ExactlyOnce, true, "x")]); // [MQTT-4.3.3-3]
        rig.serve(Packet::Pubrec(ack(1))).unwrap();
        rig.sent();
        rig.client.lost();
        rig.connect(true);
        // [MQTT-4.3.3-5], [MQTT-4.3.3-6], [MQTT-4.4.0-1]; 3.1.1: [MQTT-4.3.3-1]
        rig.expect_sent(&[Packet::Pubrel(ack(1))]);
        rig.serve(Packet::Pubcomp(ack(1))).unwrap();
        assert_eq!(
            rig.events(),
            [Event::Published { ticket: 9, outcome: Outcome::Answered(success(false)) }]
        );
    }
}

#[test]
fn identifiers_of_the_two_directions_are_two_spaces() {
    let mut rig = Rig::new(Version::V3_1_1);
    rig.connect(false);
    rig.publish(1, QoS::ExactlyOnce, "out");
    rig.serve(publish(1, QoS::ExactlyOnce, false, "in")).unwrap();
    rig.serve(Packet::Pubrel(ack(1))).unwrap();
    rig.serve(Packet::Pubrec(ack(1))).unwrap();
    rig.serve(Packet::Pubcomp(ack(1))).unwrap();
    assert_eq!(rig.client.pending(), 0);
    assert_eq!(rig.events().len(), 2);
}

#[test]
fn no_more_is_under_way_than_the_server_takes() {
    let mut rig = Rig::new(Version::V5);
    let mut limits = PropertiesBuf::new();
    limits.push(Property::ReceiveMaximum(NonZeroU16::new(2).unwrap())).unwrap();
    rig.connect_with(false, &limits);
    for ticket in 0..4 {
        rig.publish(ticket, QoS::AtLeastOnce, "x");
    }
    assert_eq!(rig.sent().len(), 2); // [MQTT-3.3.4-7], [MQTT-4.9.0-1], [MQTT-4.9.0-2]
    // What is no PUBLISH above QoS 0 does not wait. [MQTT-3.3.4-8], [MQTT-4.9.0-3]
    rig.client.subscribe(NOW, 5, vec![Subscription::new("a", QoS::AtMostOnce)]);
    assert_eq!(rig.sent().len(), 1);
    rig.serve(publish(7, QoS::AtLeastOnce, false, "in")).unwrap();
    rig.expect_sent(&[Packet::Puback(ack(7))]);
    rig.publish(6, QoS::AtMostOnce, "x");
    rig.expect_sent(&[publish(0, QoS::AtMostOnce, false, "x")]);
    rig.serve(Packet::Puback(ack(1))).unwrap();
    rig.expect_sent(&[publish(4, QoS::AtLeastOnce, false, "x")]);
}

#[test]
fn a_message_that_the_server_does_not_take_is_told_and_holds_up_nothing() {
    let mut rig = Rig::new(Version::V5);
    let mut limits = PropertiesBuf::new();
    limits.push(Property::MaximumPacketSize(NonZeroU32::new(20).unwrap())).unwrap();
    limits.push(Property::MaximumQos(QoS::AtLeastOnce)).unwrap();
    limits.push(Property::TopicAliasMaximum(5)).unwrap();
    rig.connect_with(false, &limits);
    rig.publish(1, QoS::AtLeastOnce, "much too large for this server");
    rig.publish(2, QoS::AtMostOnce, "much too large for this server");
    rig.publish(3, QoS::AtLeastOnce, "small");
    let events = rig.events();
    let too_large = |event: &Event| matches!(event, Event::Published { outcome: Outcome::TooLarge(_), .. });
    assert!(events.len() == 2 && events.iter().all(too_large), "{events:?}"); // [MQTT-3.2.2-15]
    let sent = rig.sent();
    assert_eq!(sent.len(), 1);
    // The alias that was not told before is told now.
    assert!(sent[0].windows(3).any(|bytes| bytes == b"a/b"));
    let refused = rig.client.publish(NOW, 4, message(QoS::ExactlyOnce, "x")).unwrap_err();
    assert!(matches!(refused, NotAccepted::QosNotSupported(_))); // [MQTT-3.2.2-11]
}

#[test]
fn what_waited_for_a_server_that_does_not_take_it_is_not_sent() {
    let mut rig = Rig::new(Version::V5);
    let retained = Message { retain: true, ..message(QoS::AtMostOnce, "kept") };
    rig.publish(1, QoS::ExactlyOnce, "x");
    rig.client.publish(NOW, 2, retained.clone()).unwrap();
    rig.client.subscribe(NOW, 3, vec![Subscription::new("a filter that is too long", QoS::AtMostOnce)]);
    let mut limits = PropertiesBuf::new();
    limits.push(Property::MaximumQos(QoS::AtLeastOnce)).unwrap();
    limits.push(Property::RetainAvailable(false)).unwrap();
    limits.push(Property::MaximumPacketSize(NonZeroU32::new(20).unwrap())).unwrap();
    rig.connect_with(false, &limits);
    let events = rig.events();
    assert!(
        matches!(
            &events[..],
            [
                Event::Unsent { ticket: 3 }, // [MQTT-3.2.2-15]
                Event::Published { ticket: 1, outcome: Outcome::QosNotSupported(_) }, // [MQTT-3.2.2-11]
                Event::Published { ticket: 2, outcome: Outcome::RetainNotSupported(_) }, // [MQTT-3.2.2-14]
            ]
        ),
        "{events:?}"
    );
    rig.expect_sent(&[]);
    let refused = rig.client.publish(NOW, 4, retained).unwrap_err();
    assert!(matches!(refused, NotAccepted::RetainNotSupported(_)));
    let mut words = PropertiesBuf::new();
    words.push(Property::ReasonString("more than twenty bytes")).unwrap();
    rig.client.disconnect(ReasonCode::DisconnectWithWill, words.as_properties());
    // [MQTT-3.14.2-3], [MQTT-3.14.2-4]
    rig.expect_sent(&[Packet::Disconnect(Disconnect::new(ReasonCode::DisconnectWithWill))]);
}

#[test]
fn a_topic_is_sent_by_its_alias_from_the_second_time_on_and_anew_on_each_connection() {
    let mut rig = Rig::new(Version::V5);
    let mut limits = PropertiesBuf::new();
    limits.push(Property::TopicAliasMaximum(1)).unwrap();
    for _ in 0..2 {
        rig.connect_with(true, &limits);
        rig.publish(1, QoS::AtMostOnce, "x");
        rig.publish(2, QoS::AtMostOnce, "x");
        let sent = rig.sent();
        assert!(sent[0].windows(3).any(|bytes| bytes == b"a/b"));
        assert!(!sent[1].windows(3).any(|bytes| bytes == b"a/b"));
        rig.client.lost();
    }
}

#[test]
fn an_alias_of_the_server_ends_with_its_connection() {
    // [MQTT-3.3.2-7]
    let mut rig = Rig::new(Version::V5);
    let mut alias = PropertiesBuf::new();
    alias.push(Property::TopicAlias(NonZeroU16::MIN)).unwrap();
    let aliased =
        |topic| Packet::Publish(Publish { properties: alias.as_properties(), ..Publish::new(topic, b"") });
    rig.connect(false);
    rig.serve(aliased("a/b")).unwrap();
    rig.serve(aliased("")).unwrap();
    rig.client.lost();
    rig.connect(true);
    assert_eq!(rig.serve(aliased("")).unwrap_err().reason(), ReasonCode::ProtocolError);
}

#[test]
fn subscriptions_are_made_again_where_the_session_is_gone_and_not_where_it_is_there() {
    let mut rig = Rig::new(Version::V5);
    rig.connect(false);
    let subscription = |filter: &str| Subscription::new(filter, QoS::AtLeastOnce);
    rig.client.subscribe(NOW, 1, vec![subscription("a"), subscription("b")]);
    assert_eq!(rig.sent().len(), 1);
    let mut codes = ReasonCodesBuf::new();
    codes.push(ReasonCode::GrantedQos1);
    codes.push(ReasonCode::NotAuthorized);
    rig.serve(Packet::Suback(Suback::new(id(1), codes.as_codes()))).unwrap();
    let codes = vec![ReasonCode::GrantedQos1, ReasonCode::NotAuthorized];
    assert_eq!(rig.events(), [Event::Answered { ticket: 1, codes, properties: PropertiesBuf::new() }]);
    rig.client.lost();
    rig.connect(true);
    assert_eq!(rig.sent().len(), 0);
    rig.client.lost();
    rig.connect(false);
    let sent = rig.sent();
    assert_eq!(sent.len(), 1, "the one that was granted");
    assert_eq!(sent[0][0], 0x82);
    rig.client.lost();
    rig.client.unsubscribe(NOW, 2, vec!["a".into()]);
    rig.connect(false);
    let sent = rig.sent();
    assert!(sent.len() == 1 && sent[0][0] == 0xa2);
}

#[test]
fn a_request_whose_connection_is_lost_is_made_again_before_later_ones() {
    for session_present in [true, false] {
        let mut rig = Rig::new(Version::V3_1_1);
        rig.connect(false);
        rig.client.subscribe(NOW, 5, vec![Subscription::new("a", QoS::AtMostOnce)]);
        rig.client.unsubscribe(NOW, 6, vec!["b".into()]);
        let first = rig.sent();
        rig.client.lost();
        rig.client.unsubscribe(NOW, 7, vec!["c".into()]);
        assert_eq!(rig.events(), []);
        rig.connect(session_present);
        let again = rig.sent();
        assert_eq!(again.len(), 3, "the subscription that is asked for again is not made twice");
        // All but the packet identifier.
        assert_eq!((&again[0][4..], &again[1][4..]), (&first[0][4..], &first[1][4..]));
        rig.serve(Packet::Unsuback(Unsuback::new(id(4), ReasonCodesBuf::new().as_codes()))).unwrap();
        assert!(matches!(&rig.events()[..], [Event::Answered { ticket: 6, .. }]));
    }
}

#[test]
fn acknowledgement_by_token_counts_once_and_for_its_own_connection() {
    let mut rig = Rig::with(Options { manual_acknowledgement: true, ..Options::new(Version::V3_1_1) });
    let token = |event: &Event| match event {
        Event::Message(Incoming { token: Some(token), .. }) => token.clone(),
        other => panic!("{other:?}"),
    };
    rig.connect(false);
    rig.serve(publish(1, QoS::AtLeastOnce, false, "x")).unwrap();
    rig.expect_sent(&[]);
    let first = token(&rig.events()[0]);
    rig.client.acknowledge(NOW, first.clone());
    rig.expect_sent(&[Packet::Puback(ack(1))]);
    rig.client.acknowledge(NOW, first);
    rig.expect_sent(&[]);

    // Of QoS 1, the same identifier on the next connection may be another message.
    rig.serve(publish(2, QoS::AtLeastOnce, false, "x")).unwrap();
    rig.serve(publish(3, QoS::ExactlyOnce, false, "x")).unwrap();
    let events = rig.events();
    let (stale, same) = (token(&events[0]), token(&events[1]));
    rig.client.lost();
    rig.connect(true);
    rig.serve(publish(2, QoS::AtLeastOnce, true, "x")).unwrap();
    rig.serve(publish(3, QoS::ExactlyOnce, true, "x")).unwrap();
    assert_eq!(rig.events().len(), 1, "of QoS 2 it is the same message");
    rig.client.acknowledge(NOW, stale);
    rig.expect_sent(&[]);
    rig.client.acknowledge(NOW, same);
    rig.expect_sent(&[Packet::Pubrec(ack(3))]);
}

#[test]
fn acknowledgements_leave_in_the_order_in_which_messages_came() {
    for (qos, packet) in [
        (QoS::AtLeastOnce, Packet::Puback as fn(Ack<'static>) -> Packet<'static>), // [MQTT-4.6.0-2]
        (QoS::ExactlyOnce, Packet::Pubrec),                                        // [MQTT-4.6.0-3]
    ] {
        let other = if qos == QoS::AtLeastOnce { QoS::ExactlyOnce } else { QoS::AtLeastOnce };
        let options =
            Options { manual_acknowledgement: true, maximum_packet: 100, ..Options::new(Version::V5) };
        let mut rig = Rig::with(options);
        rig.connect(false);
        // One that the program is not given waits for its turn too.
        let large = "x".repeat(200);
        rig.serve(publish(9, other, false, "first of its kind")).unwrap();
        rig.serve(publish(4, qos, false, "x")).unwrap();
        rig.serve(publish(2, qos, false, &large)).unwrap();
        rig.serve(publish(3, qos, false, "x")).unwrap();
        let mut tokens: Vec<_> = rig
            .events()
            .into_iter()
            .filter_map(|event| match event {
                Event::Message(message) => message.token,
                _ => None,
            })
            .collect();
        rig.client.acknowledge(NOW, tokens.remove(2));
        rig.expect_sent(&[]);
        rig.client.acknowledge(NOW, tokens.remove(1));
        let refused = Ack::with_reason(id(2), ReasonCode::ImplementationSpecificError);
        rig.expect_sent(&[packet(ack(4)), packet(refused), packet(ack(3))]);
    }
}

#[test]
fn silence_is_broken_by_pingreq_and_a_server_that_does_not_answer_is_given_up() {
    let mut rig = Rig::new(Version::V5);
    let mut limits = PropertiesBuf::new();
    limits.push(Property::ServerKeepAlive(20)).unwrap();
    rig.connect_with(false, &limits);
    let seconds = Duration::from_secs;
    assert_eq!(rig.client.poll_timeout(), Some(seconds(20))); // [MQTT-3.1.2-21], [MQTT-3.2.2-21]
    rig.client.handle_timeout(seconds(20)).unwrap();
    rig.expect_sent(&[Packet::Pingreq]);
    assert_eq!(rig.client.poll_timeout(), Some(seconds(30)));
    assert_eq!(rig.client.handle_timeout(seconds(30)), Err(Fault::NoAnswer));
}

#[test]
fn a_server_that_breaks_the_rules_is_told_so_in_5_0_and_left() {
    let too_many = publish(2, QoS::AtLeastOnce, false, "x");
    for (packet, reason) in [
        (Packet::Pingreq, 0x82),
        (Packet::Puback(ack(9)), 0x82),
        (Packet::Connack(Connack::new(false, ReasonCode::Success)), 0x82),
        (too_many, 0x93),
    ] {
        let options =
            Options { receive_maximum: 1, manual_acknowledgement: true, ..Options::new(Version::V5) };
        let mut rig = Rig::with(options);
        rig.connect(false);
        rig.serve(publish(1, QoS::AtLeastOnce, false, "x")).unwrap();
        rig.serve(packet).unwrap_err();
        assert_eq!(rig.sent(), [[0xe0, 1, reason]], "{packet:?}");
        assert!(!rig.client.is_connected());
    }
}

#[test]
fn before_5_0_a_server_that_breaks_the_rules_is_left_without_a_word() {
    // 3.1.1: [MQTT-4.8.0-1]
    let mut rig = Rig::new(Version::V3_1_1);
    rig.connect(false);
    rig.serve(Packet::Pingreq).unwrap_err();
    rig.expect_sent(&[]);
    assert!(!rig.client.is_connected());
}

#[test]
fn a_refusal_is_told_also_one_in_the_words_of_3_1_1() {
    for (version, refusal) in [
        (Version::V3_1_1, &b"\x20\x02\x00\x05"[..]),
        (Version::V5, b"\x20\x03\x00\x87\x00"),
        (Version::V5, b"\x20\x02\x00\x05"),
    ] {
        let mut rig = Rig::new(version);
        rig.begin(true);
        rig.client.handle(NOW, refusal).unwrap();
        let events = rig.events();
        assert!(
            matches!(&events[..], [Event::Refused(notice)] if notice.reason == ReasonCode::NotAuthorized),
            "{events:?}"
        );
    }
}

#[test]
fn a_session_that_was_not_wanted_is_a_fault() {
    let mut rig = Rig::new(Version::V5);
    rig.begin(true);
    let fault = rig.serve(Packet::Connack(Connack::new(true, ReasonCode::Success)));
    assert_eq!(fault, Err(Fault::SessionPresent)); // [MQTT-3.2.2-4]
}

#[test]
fn packets_that_come_byte_by_byte_are_the_same_packets() {
    let mut rig = Rig::new(Version::V5);
    rig.connect(false);
    let mut bytes = Vec::new();
    publish(7, QoS::AtLeastOnce, false, "in pieces").encode(Version::V5, &mut bytes).unwrap();
    for end in 1..bytes.len() {
        assert_eq!(rig.client.handle(NOW, &bytes[..end]), Ok(0));
    }
    assert_eq!(rig.client.handle(NOW, &bytes), Ok(bytes.len()));
    assert_eq!(rig.events().len(), 1);
}

#[test]
fn disconnect_is_the_last_word() {
    let mut rig = Rig::new(Version::V5);
    rig.connect(false);
    rig.client.disconnect(ReasonCode::DisconnectWithWill, PropertiesBuf::new().as_properties());
    rig.expect_sent(&[Packet::Disconnect(Disconnect::new(ReasonCode::DisconnectWithWill))]);
    rig.publish(1, QoS::AtMostOnce, "later");
    rig.expect_sent(&[]); // [MQTT-3.14.4-1]
    rig.connect(false);
    assert_eq!(rig.sent().len(), 1);
}

#[test]
fn a_message_that_is_too_large_is_reported_and_skipped_in_pieces_of_any_size() {
    for version in VERSIONS {
        for (step, qos) in
            [(1, QoS::AtMostOnce), (7, QoS::AtLeastOnce), (100, QoS::ExactlyOnce), (5000, QoS::AtLeastOnce)]
        {
            let mut rig = Rig::with(Options { maximum_packet: 100, ..Options::new(version) });
            rig.connect(false);
            let large = "x".repeat(1000);
            let mut bytes = Vec::new();
            for publish in [publish(7, qos, false, &large), publish(8, qos, false, "small")] {
                let packet_id = publish_id(&publish).filter(|_| qos != QoS::AtMostOnce);
                let Packet::Publish(publish) = publish else { unreachable!() };
                Packet::Publish(Publish { packet_id, ..publish }).encode(version, &mut bytes).unwrap();
            }
            let mut kept = Vec::new();
            for piece in bytes.chunks(step) {
                kept.extend_from_slice(piece);
                let used = rig.client.handle(NOW, &kept).unwrap();
                kept.drain(..used);
                assert!(kept.len() <= 100 + step, "what is skipped is not kept");
            }
            let events = rig.events();
            let [Event::Skipped { topic, size, .. }, Event::Message(small)] = &events[..] else {
                panic!("{events:?}");
            };
            assert_eq!((&**topic, &*small.payload), ("a/b", &b"small"[..]));
            assert!(*size > 1000 && kept.is_empty());
            // It is acknowledged, so that the server does not send it again for ever. [MQTT-4.5.0-2]
            let refused = Ack::with_reason(id(7), ReasonCode::ImplementationSpecificError);
            let first = if version == Version::V5 { refused } else { ack(7) };
            match qos {
                QoS::AtMostOnce => rig.expect_sent(&[]),
                QoS::AtLeastOnce => rig.expect_sent(&[Packet::Puback(first), Packet::Puback(ack(8))]),
                QoS::ExactlyOnce => rig.expect_sent(&[Packet::Pubrec(first), Packet::Pubrec(ack(8))]),
            }
        }
    }
}

fn publish_id(packet: &Packet<'_>) -> Option<PacketId> {
    match packet {
        Packet::Publish(publish) => publish.packet_id,
        _ => None,
    }
}

fn auth(reason: ReasonCode, method: &str, data: &[u8], use_it: impl FnOnce(Packet<'_>)) {
    let mut properties = PropertiesBuf::new();
    properties.push(Property::AuthenticationMethod(method)).unwrap();
    properties.push(Property::AuthenticationData(data)).unwrap();
    use_it(Packet::Auth(Auth::new(reason, properties.as_properties())));
}

/// A client of 5.0 whose CONNECT names the method "M".
fn with_method() -> Rig {
    let mut rig = Rig::new(Version::V5);
    let mut properties = PropertiesBuf::new();
    properties.push(Property::AuthenticationMethod("M")).unwrap();
    let mut connect = Connect::new(Version::V5, "c");
    connect.properties = properties.as_properties();
    rig.client.begin(NOW, &connect).unwrap();
    rig.sent();
    rig
}

#[test]
fn an_authentication_goes_on_until_the_server_accepts_and_may_be_repeated() {
    let mut rig = with_method();
    assert_eq!(rig.client.reauthenticate(NOW, "M", b""), Err(NoAuthentication), "not before CONNACK");
    rig.publish(1, QoS::AtMostOnce, "later");
    rig.expect_sent(&[]); // [MQTT-3.1.2-30]
    auth(ReasonCode::ContinueAuthentication, "M", b"who?", |packet| rig.serve(packet).unwrap());
    assert!(matches!(&rig.events()[..], [Event::Auth { reason: ReasonCode::ContinueAuthentication, .. }]));
    rig.client.continue_authentication(NOW, b"me").unwrap();
    // [MQTT-3.15.2-2], [MQTT-3.15.2-3], [MQTT-4.12.0-3]
    auth(ReasonCode::ContinueAuthentication, "M", b"me", |packet| rig.expect_sent(&[packet]));
    rig.serve(Packet::Connack(Connack::new(false, ReasonCode::Success))).unwrap();
    rig.expect_sent(&[publish(0, QoS::AtMostOnce, false, "later")]);
    assert_eq!(rig.client.continue_authentication(NOW, b"me"), Err(NoAuthentication));
    rig.client.reauthenticate(NOW, "M", b"me again").unwrap(); // [MQTT-4.12.1-1]
    auth(ReasonCode::ReAuthenticate, "M", b"me again", |packet| rig.expect_sent(&[packet]));
    assert_eq!(rig.client.reauthenticate(NOW, "M", b""), Err(NoAuthentication), "one at a time");
    auth(ReasonCode::Success, "M", b"", |packet| rig.serve(packet).unwrap());
    rig.client.reauthenticate(NOW, "M", b"").unwrap();
}

#[test]
fn an_auth_that_nobody_asked_for_or_of_another_method_ends_the_connection() {
    let mut rig = with_method();
    auth(ReasonCode::ContinueAuthentication, "other", b"", |packet| {
        assert!(matches!(rig.serve(packet), Err(Fault::Misplaced(_)))); // [MQTT-4.12.0-5]
    });
    let mut rig = with_method();
    rig.serve(Packet::Connack(Connack::new(false, ReasonCode::Success))).unwrap();
    auth(ReasonCode::ContinueAuthentication, "M", b"", |packet| {
        assert!(matches!(rig.serve(packet), Err(Fault::Misplaced(_))));
    });
    let mut rig = Rig::new(Version::V5);
    rig.connect(false);
    auth(ReasonCode::ContinueAuthentication, "M", b"", |packet| {
        assert!(matches!(rig.serve(packet), Err(Fault::Misplaced(_)))); // [MQTT-4.12.0-6]
    });
    let mut rig = Rig::new(Version::V5);
    rig.connect(false);
    assert_eq!(rig.client.reauthenticate(NOW, "M", b""), Err(NoAuthentication)); // [MQTT-4.12.0-7]
    rig.expect_sent(&[]);
}

#[test]
fn before_5_0_no_more_is_under_way_than_servers_commonly_take() {
    for version in VERSIONS {
        let mut rig = Rig::new(version);
        rig.connect(false);
        for ticket in 0..200 {
            rig.publish(ticket, QoS::ExactlyOnce, "x");
        }
        let expected = if version == Version::V5 { 200 } else { 20 };
        assert_eq!(rig.sent().len(), expected);
        rig.serve(Packet::Pubrec(ack(1))).unwrap();
        rig.serve(Packet::Pubcomp(ack(1))).unwrap();
        assert_eq!(rig.sent().len(), if version == Version::V5 { 1 } else { 2 });
    }
}
