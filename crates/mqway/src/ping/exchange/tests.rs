use mqway_codec::{PropertiesBuf, Property, ReasonCodesBuf};

use super::*;

const TOPIC: &str = "mqway/ping/1";
const PAYLOAD: &[u8] = b"there and back";

fn started(version: Version, qos: QoS) -> (Exchange, Output) {
    let plan = Plan {
        version,
        client_id: "c".to_owned(),
        user_name: Some("u".to_owned()),
        password: Some(b"p".to_vec()),
        keep_alive: 30,
        topic: TOPIC.to_owned(),
        payload: PAYLOAD.to_vec(),
        qos,
    };
    let mut output = Output::default();
    let exchange = Exchange::start(plan, &mut output).unwrap();
    (exchange, output)
}

/// Feeds a packet, and gives back what was sent in answer as types, and the steps.
fn feed(exchange: &mut Exchange, packet: &Packet<'_>) -> Result<(Vec<String>, Vec<Step>), Failure> {
    let mut bytes = Vec::new();
    packet.encode(exchange.plan.version, &mut bytes).unwrap();
    let mut output = Output::default();
    assert_eq!(exchange.feed(&bytes[..1], &mut output)?, 0);
    let taken = exchange.feed(&bytes, &mut output)?;
    assert_eq!(taken, bytes.len());
    let types = output
        .packets
        .iter()
        .map(|packet| mqway_codec::decode(exchange.plan.version, packet).unwrap().packet_type().to_string());
    Ok((types.collect(), output.steps))
}

fn connack(reason: ReasonCode) -> Packet<'static> {
    Packet::Connack(Connack::new(false, reason))
}

fn suback(codes: &ReasonCodesBuf) -> Packet<'_> {
    Packet::Suback(Suback::new(SUBSCRIBE_ID, codes.as_codes()))
}

fn granted(code: ReasonCode) -> ReasonCodesBuf {
    ReasonCodesBuf::from_iter([code])
}

/// The message as the server sends it.
fn message(qos: QoS, id: u16) -> Packet<'static> {
    Packet::Publish(Publish { qos, packet_id: PacketId::new(id), ..Publish::new(TOPIC, PAYLOAD) })
}

#[test]
fn a_round_trip_of_each_version_and_qos_goes_step_by_step() {
    for version in [Version::V3_1, Version::V3_1_1, Version::V5] {
        let (mut exchange, output) = started(version, QoS::AtMostOnce);
        let Ok(Packet::Connect(connect)) = mqway_codec::decode(version, &output.packets[0]) else { panic!() };
        assert_eq!((connect.user_name, connect.password), (Some("u"), Some(&b"p"[..])));
        let (sent, steps) = feed(&mut exchange, &connack(ReasonCode::Success)).unwrap();
        assert_eq!(
            (sent, steps),
            (vec!["SUBSCRIBE".to_owned()], vec![Step::Connected { session_present: false }])
        );
        let (sent, steps) = feed(&mut exchange, &suback(&granted(ReasonCode::Success))).unwrap();
        let (granted, qos) = (QoS::AtMostOnce, QoS::AtMostOnce);
        assert_eq!(
            (sent, steps),
            (vec!["PUBLISH".to_owned()], vec![Step::Subscribed { granted }, Step::Published { qos }])
        );
        let (sent, steps) = feed(&mut exchange, &message(QoS::AtMostOnce, 0)).unwrap();
        assert_eq!(
            (sent, steps),
            (vec!["DISCONNECT".to_owned()], vec![Step::Received { qos }, Step::Disconnected])
        );
        assert!(exchange.is_done());
    }
}

#[test]
fn qos_1_waits_for_the_acknowledgement_in_either_order() {
    for acknowledged_first in [true, false] {
        let (mut exchange, _) = started(Version::V3_1_1, QoS::AtLeastOnce);
        feed(&mut exchange, &connack(ReasonCode::Success)).unwrap();
        feed(&mut exchange, &suback(&granted(ReasonCode::GrantedQos1))).unwrap();
        let mut packets = [Packet::Puback(Ack::new(PUBLISH_ID)), message(QoS::AtLeastOnce, 9)];
        if !acknowledged_first {
            packets.reverse();
        }
        feed(&mut exchange, &packets[0]).unwrap();
        assert!(!exchange.is_done());
        let (sent, _) = feed(&mut exchange, &packets[1]).unwrap();
        assert_eq!(sent.last().map(String::as_str), Some("DISCONNECT"));
    }
}

#[test]
fn qos_2_is_played_to_its_end_on_both_ways() {
    let (mut exchange, _) = started(Version::V5, QoS::ExactlyOnce);
    feed(&mut exchange, &connack(ReasonCode::Success)).unwrap();
    feed(&mut exchange, &suback(&granted(ReasonCode::GrantedQos2))).unwrap();
    let id = PacketId::new(77).unwrap();
    for (packet, answer) in [
        (Packet::Pubrec(Ack::new(PUBLISH_ID)), &["PUBREL"][..]),
        (Packet::Pubcomp(Ack::new(PUBLISH_ID)), &[]),
        (message(QoS::ExactlyOnce, 77), &["PUBREC"]),
        (Packet::Pubrel(Ack::new(id)), &["PUBCOMP", "DISCONNECT"]),
    ] {
        let (sent, _) = feed(&mut exchange, &packet).unwrap();
        assert_eq!(sent, answer, "after {packet:?}");
    }
    assert!(exchange.is_done());
}

#[test]
fn messages_of_others_are_acknowledged_and_do_not_count() {
    let (mut exchange, _) = started(Version::V3_1_1, QoS::ExactlyOnce);
    feed(&mut exchange, &connack(ReasonCode::Success)).unwrap();
    let id = PacketId::new(5).unwrap();
    let retained = Publish { qos: QoS::ExactlyOnce, packet_id: Some(id), ..Publish::new(TOPIC, b"older") };
    assert_eq!(feed(&mut exchange, &Packet::Publish(retained)).unwrap().0, ["PUBREC"]);
    feed(&mut exchange, &suback(&granted(ReasonCode::GrantedQos2))).unwrap();
    assert_eq!(feed(&mut exchange, &Packet::Pubrel(Ack::new(id))).unwrap().0, ["PUBCOMP"]);
    assert_eq!(exchange.awaited(), "the message did not come back");
}

#[test]
fn the_qos_is_lowered_to_what_the_server_knows() {
    let (mut exchange, _) = started(Version::V5, QoS::ExactlyOnce);
    let mut properties = PropertiesBuf::new();
    properties.push(Property::MaximumQos(QoS::AtMostOnce)).unwrap();
    let connack =
        Connack { properties: properties.as_properties(), ..Connack::new(false, ReasonCode::Success) };
    feed(&mut exchange, &Packet::Connack(connack)).unwrap();
    let (_, steps) = feed(&mut exchange, &suback(&granted(ReasonCode::Success))).unwrap();
    assert!(steps.contains(&Step::Published { qos: QoS::AtMostOnce }));
}

#[test]
fn refusals_have_their_statuses() {
    let refused = |version, packets: &[Packet<'_>]| {
        let (mut exchange, _) = started(version, QoS::AtLeastOnce);
        let failure = packets.iter().find_map(|packet| feed(&mut exchange, packet).err()).unwrap();
        (failure.status, failure.message)
    };
    let yes = connack(ReasonCode::Success);
    let subscribed = granted(ReasonCode::GrantedQos1);
    let (status, message) = refused(Version::V3_1_1, &[connack(ReasonCode::BadUserNameOrPassword)]);
    assert_eq!(status, Status::Refused);
    assert!(message.ends_with("refused the connection: Bad User Name or Password (0x86)"), "{message}");
    let denied = granted(ReasonCode::UnspecifiedError);
    assert_eq!(refused(Version::V3_1_1, &[yes, suback(&denied)]).0, Status::Denied);
    let puback = Packet::Puback(Ack::with_reason(PUBLISH_ID, ReasonCode::NotAuthorized));
    assert_eq!(refused(Version::V5, &[yes, suback(&subscribed), puback]).0, Status::Denied);
    let goodbye = Packet::Disconnect(Disconnect::new(ReasonCode::ServerShuttingDown));
    assert_eq!(refused(Version::V5, &[yes, goodbye]).0, Status::Lost);
    assert_eq!(refused(Version::V5, &[suback(&subscribed)]).0, Status::Other);
    assert_eq!(refused(Version::V5, &[yes, Packet::Pingresp]).0, Status::Other);
}

#[test]
fn web_and_tls_servers_are_told_from_broken_ones() {
    let told = |bytes: &[u8]| {
        let (mut exchange, mut output) = started(Version::V3_1_1, QoS::AtMostOnce);
        exchange.feed(bytes, &mut output).unwrap_err().message
    };
    assert!(told(b"HTTP/1.1 400 Bad Request\r\n").contains("begin with ws://"));
    assert!(told(b"\x15\x03\x03\x00\x02\x02\x32").contains("begin with tls://"));
    assert!(told(b"SSH-2.0-OpenSSH_9.2p1\r\n").starts_with("the server broke the protocol"));
}

#[test]
fn words_of_the_server_cannot_steer_the_terminal() {
    let mut properties = PropertiesBuf::new();
    properties.push(Property::ReasonString("\u{1b}[2J go away")).unwrap();
    let text = in_words(ReasonCode::Banned, &properties.as_properties());
    assert_eq!(text, r#"Banned (0x8A), "\u{1b}[2J go away""#);
}
