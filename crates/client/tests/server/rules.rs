//! Rules that the server breaks: what ends the connection, with which word, and what ends nothing.

use mqway_client::{Client, Options, QoS, ReasonCode, Version};
use mqway_codec::{Ack, Connack, Packet, PropertiesBuf, ReasonCodesBuf, Suback, Unsuback};

use crate::peer::{
    Peer, Server, VERSIONS, ack, id, is_well, lost, publish, publishing, subscribe, subscribed,
};

/// What a server of 5.0 may not say after CONNACK, what the client answers, and what it tells the program.
const FAULTS: &[(&[u8], u8, &str)] = &[
    // Packets that are not a server's to send, or not again.
    (b"\x20\x03\x00\x00\x00", 0x82, "CONNACK"), // 5.0 §3.2
    (b"\x10\x0d\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x00", 0x82, "CONNECT"),
    (b"\x82\x07\x00\x01\x00\x00\x01a\x00", 0x82, "SUBSCRIBE"),
    (b"\xa2\x06\x00\x01\x00\x00\x01a", 0x82, "UNSUBSCRIBE"),
    (b"\xc0\x00", 0x82, "PINGREQ"),
    (b"\xf0\x00", 0x82, "AUTH"), // [MQTT-4.12.0-6]
    // Answers to what was not asked.
    (b"\x40\x02\x00\x09", 0x82, "PUBACK"),
    (b"\x90\x04\x00\x09\x00\x00", 0x82, "SUBACK"),
    (b"\xb0\x04\x00\x09\x00\x00", 0x82, "UNSUBACK"),
    // What is no packet.
    (b"\x00\x00", 0x81, "type"),
    (b"\xd1\x00", 0x81, "flags"), // [MQTT-2.1.3-1]
    (b"\x40\xff\xff\xff\xff\x7f", 0x81, "length"),
    (b"\x40\x01\x00", 0x81, ""),
    (b"\x40\x02\x00\x00", 0x82, "identifier"), // [MQTT-2.2.1-3]
    (b"\x32\x07\x00\x01a\x00\x00\x00x", 0x82, "identifier"),
    (b"\x36\x07\x00\x01a\x00\x01\x00x", 0x81, "QoS"), // [MQTT-3.3.1-4]
    (b"\x38\x05\x00\x01a\x00x", 0x81, "DUP"),         // [MQTT-3.3.1-2]
    (b"\x30\x05\x00\x01#\x00x", 0x81, "topic"),       // [MQTT-3.3.2-2]
    (b"\x30\x05\x00\x01\xff\x00x", 0x81, "UTF-8"),    // [MQTT-1.5.4-1]
    (b"\x30\x05\x00\x01\x00\x00x", 0x81, ""),         // [MQTT-1.5.4-2]
    (b"\x30\x04\x00\x00\x00x", 0x82, ""),             // no topic name, and no alias
    (b"\x30\x08\x00\x01a\x03\x23\x00\x00x", 0x94, ""), // [MQTT-3.3.2-8]
    (b"\x30\x08\x00\x01a\x03\x23\xff\xffx", 0x94, "alias"), // 5.0 §3.3.2.3.4
    (b"\x30\x07\x00\x00\x03\x23\x00\x01x", 0x82, "PUBLISH"),
    (b"\x30\x07\x00\x01a\x02\x21\x00\x09x", 0x81, ""), // Receive Maximum cut short
    (b"\x30\x08\x00\x01a\x03\x21\x00\x09x", 0x81, "property"), // and in a PUBLISH at all
    (b"\x30\x09\x00\x01a\x04\x01\x00\x01\x00x", 0x82, "twice"),
];

/// Says it on a new connection; gives the client's last packet and what it tells the program.
async fn say(server: &Server, client: &Client, connected: bool, bytes: &[u8]) -> (Option<Vec<u8>>, String) {
    let mut events = client.events();
    let mut peer = if connected { server.welcome(true).await } else { server.accept().await };
    peer.write_bytes(bytes).await;
    let goodbye = peer.read().await;
    if goodbye.is_some() {
        peer.expect_end().await;
    }
    drop(peer);
    loop {
        let (error, retry_in) = lost(&mut events).await;
        assert!(retry_in.is_some(), "{error}");
        // The first event may be the loss before.
        if !error.to_string().ends_with("closed the connection") {
            return (goodbye, error.to_string());
        }
    }
}

#[tokio::test]
async fn a_server_of_5_0_that_breaks_a_rule_is_told_so_and_left_and_asked_again() {
    for (bytes, reason, word) in FAULTS {
        let server = Server::new(Version::V5).await;
        let client = server.client();
        let (goodbye, error) = say(&server, &client, true, bytes).await;
        assert_eq!(goodbye, Some(vec![0xe0, 1, *reason]), "{bytes:02x?}: {error}"); // 5.0 §4.13
        assert!(error.contains(word), "{bytes:02x?}: {error:?} does not say {word:?}");
        is_well(&mut server.welcome(true).await, &client).await;
    }
}

#[tokio::test]
async fn before_5_0_a_server_that_breaks_a_rule_is_left_without_a_word() {
    for version in [Version::V3_1, Version::V3_1_1] {
        for bytes in [
            &b"\x20\x02\x00\x00"[..],
            b"\xc0\x00",
            b"\xe0\x00",
            b"\xf0\x00",
            b"\x40\x02\x00\x09",
            b"\x40\x02\x00\x00",
            b"\x90\x03\x00\x09\x00",
            b"\x36\x06\x00\x01a\x00\x01x",
            b"\x30\x04\x00\x01#x",
            b"\x30\x03\x00\x00x",
        ] {
            let server = Server::new(version).await;
            let client = server.client();
            let (goodbye, error) = say(&server, &client, true, bytes).await;
            assert_eq!(goodbye, None, "{bytes:02x?}: {error}");
            is_well(&mut server.welcome(true).await, &client).await;
        }
    }
}

#[tokio::test]
async fn before_connack_nothing_else_is_taken() {
    for version in [Version::V3_1_1, Version::V5] {
        for bytes in [
            &b"\x30\x04\x00\x01a\x00"[..],
            b"\x40\x02\x00\x01",
            b"\xd0\x00",
            b"\xf0\x00",
            b"\x20\x02\x02\x00",
            b"HTTP/1.1 400 Bad Request\r\n\r\n",
            b"\x16\x03\x01\x00\x05hello",
        ] {
            let server = Server::new(version).await;
            let client = server.client();
            let (goodbye, _) = say(&server, &client, false, bytes).await;
            assert_eq!(goodbye, None, "{bytes:02x?}"); // 5.0 §3.2
            is_well(&mut server.welcome(false).await, &client).await;
        }
    }
}

#[tokio::test]
async fn a_session_after_a_clean_start_ends_the_connection() {
    for version in [Version::V3_1_1, Version::V5] {
        let server = Server::new(version).await;
        let client = Client::start(server.endpoint(), server.options());
        let mut events = client.events();
        let mut peer = server.welcome(true).await;
        peer.expect_end().await;
        assert!(lost(&mut events).await.0.to_string().contains("clean start")); // [MQTT-3.2.2-2]
        is_well(&mut server.welcome(false).await, &client).await;
    }
}

#[tokio::test]
async fn more_than_the_receive_maximum_ends_the_connection() {
    let server = Server::new(Version::V5).await;
    let options = Options { receive_maximum: 2, manual_acknowledgement: true, ..server.persistent() };
    let client = Client::start(server.endpoint(), options);
    let mut peer = server.welcome(false).await;
    let _subscription = subscribed(&mut peer, &client).await;
    for number in 1..=3 {
        peer.write(publish(number, QoS::AtLeastOnce, false, "x")).await;
    }
    assert_eq!(peer.read().await, Some(vec![0xe0, 1, 0x93])); // [MQTT-3.3.4-9]
    peer.expect_end().await;
}

#[tokio::test]
async fn acknowledgements_that_are_repeated_or_out_of_place_complete_nothing_twice_and_end_nothing() {
    for version in VERSIONS {
        let server = Server::new(version).await;
        let client = server.client();
        let mut peer = server.welcome(false).await;
        let unknown = match version {
            Version::V5 => Ack::with_reason(id(9), ReasonCode::PacketIdentifierNotFound),
            _ => ack(9),
        };
        peer.write(Packet::Pubrec(ack(9))).await;
        peer.expect(Packet::Pubrel(unknown)).await;
        peer.write(Packet::Pubcomp(ack(9))).await;

        let publication = publishing(&client, QoS::ExactlyOnce, "x");
        peer.expect(publish(1, QoS::ExactlyOnce, false, "x")).await;
        // PUBCOMP before PUBREC is none, and PUBREC twice is one.
        peer.write(Packet::Pubcomp(ack(1))).await;
        peer.write(Packet::Pubrec(ack(1))).await;
        peer.write(Packet::Pubrec(ack(1))).await;
        peer.expect(Packet::Pubrel(ack(1))).await;
        peer.expect(Packet::Pubrel(ack(1))).await;
        assert!(!publication.is_finished());
        peer.write(Packet::Pubcomp(ack(1))).await;
        publication.await.unwrap().unwrap();
        peer.write(Packet::Pubcomp(ack(1))).await;
        is_well(&mut peer, &client).await;
    }
}

#[tokio::test]
async fn a_puback_for_qos_2_completes_nothing() {
    for version in VERSIONS {
        let server = Server::new(version).await;
        let client = server.client();
        let publication = publishing(&client, QoS::ExactlyOnce, "x");
        let mut peer = server.welcome(false).await;
        peer.expect(publish(1, QoS::ExactlyOnce, false, "x")).await;
        peer.write(Packet::Puback(ack(1))).await;
        while peer.read().await.is_some() {}
        assert!(!publication.is_finished());
        let mut peer = server.welcome(true).await;
        peer.expect(publish(1, QoS::ExactlyOnce, true, "x")).await;
        peer.write(Packet::Pubrec(ack(1))).await;
        peer.expect(Packet::Pubrel(ack(1))).await;
        peer.write(Packet::Pubcomp(ack(1))).await;
        publication.await.unwrap().unwrap();
    }
}

/// Asks for two filters; the server answers these codes, in a SUBACK or an UNSUBACK.
async fn answered(
    version: Version,
    codes: &[ReasonCode],
    in_suback: bool,
) -> (Option<Vec<u8>>, Option<Vec<ReasonCode>>) {
    let server = Server::new(version).await;
    let client = server.client();
    let mut peer = server.welcome(false).await;
    let wanted = ["a", "b"].map(|filter| mqway_client::Wanted::new(filter, QoS::AtLeastOnce)).to_vec();
    let soon = std::time::Duration::from_millis(500);
    let asking = tokio::time::timeout(soon, client.subscribe_only(wanted));
    let answering = async {
        let packet_id = subscribe(&mut peer).await;
        let mut list = ReasonCodesBuf::new();
        codes.iter().for_each(|code| list.push(*code));
        peer.write(match in_suback {
            true => Packet::Suback(Suback::new(packet_id, list.as_codes())),
            false => Packet::Unsuback(Unsuback::new(packet_id, list.as_codes())),
        })
        .await;
        goodbye(&mut peer).await
    };
    let (asked, goodbye) = tokio::join!(asking, answering);
    (goodbye, asked.ok().map(|codes| codes.unwrap()))
}

/// What the client says next, if it says something soon.
async fn goodbye(peer: &mut Peer) -> Option<Vec<u8>> {
    let soon = std::time::Duration::from_millis(100);
    tokio::time::timeout(soon, peer.read()).await.unwrap_or(None)
}

#[tokio::test]
async fn a_suback_must_have_a_code_for_each_filter() {
    use ReasonCode::{GrantedQos1, UnspecifiedError};
    for version in VERSIONS {
        let (_, codes) = answered(version, &[GrantedQos1, UnspecifiedError], true).await;
        assert_eq!(codes.unwrap(), [GrantedQos1, UnspecifiedError]);
        // 5.0 §3.9.3
        for codes in [&[GrantedQos1][..], &[GrantedQos1; 3]] {
            let (goodbye, codes) = answered(version, codes, true).await;
            assert_eq!(codes, None, "asked again on the next connection");
            assert_eq!(goodbye, (version == Version::V5).then(|| vec![0xe0, 1, 0x82]));
        }
    }
}

#[tokio::test]
async fn an_unsuback_answers_no_subscribe() {
    let (goodbye, codes) = answered(Version::V5, &[ReasonCode::Success; 2], false).await;
    assert_eq!(codes, None, "asked again on the next connection");
    assert_eq!(goodbye, Some(vec![0xe0, 1, 0x82]));
}

#[tokio::test]
async fn a_refusal_is_no_connection_whatever_else_it_says() {
    let server = Server::new(Version::V5).await;
    let client = server.client();
    let mut events = client.events();
    let mut peer = server.accept().await;
    let mut connack = Connack::new(false, ReasonCode::ServerUnavailable);
    let said = PropertiesBuf::new();
    connack.properties = said.as_properties();
    peer.write(Packet::Connack(connack)).await;
    peer.write(publish(1, QoS::AtLeastOnce, false, "x")).await;
    peer.expect_end().await;
    assert!(lost(&mut events).await.0.to_string().contains("Server unavailable"));
    is_well(&mut server.welcome(false).await, &client).await;
}

#[tokio::test]
async fn a_message_that_nobody_gets_does_not_wait_for_an_acknowledgement_by_hand() {
    for version in VERSIONS {
        let server = Server::new(version).await;
        let options = Options { receive_maximum: 1, manual_acknowledgement: true, ..server.persistent() };
        let _client = Client::start(server.endpoint(), options);
        let mut peer = server.welcome(true).await;
        for number in 1..=3 {
            peer.write(publish(number, QoS::AtLeastOnce, false, "left over")).await;
            peer.expect(Packet::Puback(ack(number))).await;
        }
    }
}
