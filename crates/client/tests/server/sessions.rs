//! Sessions across a reconnect, rule by rule.

use mqway_client::{Client, ConnectionEvent, Options, PublishError, QoS, ReasonCode, SessionLost, Version};
use mqway_codec::{Ack, Packet, ReasonCodesBuf, Suback};
use tokio::time::timeout;

use crate::peer::{SOON, Server, VERSIONS, ack, id, is_well, publish, publishing, subscribe, subscribed};

/// What the stream gives next.
async fn next(subscription: &mut mqway_client::Subscription) -> Vec<u8> {
    timeout(SOON, subscription.next()).await.expect("a message").expect("no end").payload.into()
}

#[tokio::test]
async fn a_receiver_of_qos_2_hands_on_once_what_is_repeated_after_pubrec() {
    for version in VERSIONS {
        let server = Server::new(version).await;
        let client = server.client();
        let mut peer = server.welcome(false).await;
        let mut subscription = subscribed(&mut peer, &client).await;
        peer.write(publish(7, QoS::ExactlyOnce, false, "once")).await;
        peer.expect(Packet::Pubrec(ack(7))).await;
        for _ in 0..3 {
            drop(peer);
            peer = server.welcome(true).await;
            peer.write(publish(7, QoS::ExactlyOnce, true, "once")).await;
            peer.expect(Packet::Pubrec(ack(7))).await; // [MQTT-4.3.3-10]
        }
        peer.write(Packet::Pubrel(ack(7))).await;
        peer.expect(Packet::Pubcomp(ack(7))).await;
        // After PUBREL the identifier is free, and means another message. [MQTT-4.3.3-12]
        peer.write(publish(7, QoS::ExactlyOnce, false, "another")).await;
        peer.expect(Packet::Pubrec(ack(7))).await;
        assert_eq!(next(&mut subscription).await, b"once");
        assert_eq!(next(&mut subscription).await, b"another");
    }
}

#[tokio::test]
async fn a_pubrel_that_is_repeated_is_answered_and_ends_nothing() {
    for version in VERSIONS {
        let server = Server::new(version).await;
        let client = server.client();
        let mut peer = server.welcome(false).await;
        let mut subscription = subscribed(&mut peer, &client).await;
        peer.write(publish(7, QoS::ExactlyOnce, false, "x")).await;
        peer.expect(Packet::Pubrec(ack(7))).await;
        peer.write(Packet::Pubrel(ack(7))).await;
        peer.expect(Packet::Pubcomp(ack(7))).await;
        drop(peer);
        let mut peer = server.welcome(true).await;
        peer.write(Packet::Pubrel(ack(7))).await;
        peer.expect(Packet::Pubcomp(match version {
            Version::V5 => Ack::with_reason(id(7), ReasonCode::PacketIdentifierNotFound),
            _ => ack(7), // [MQTT-4.3.3-11]
        }))
        .await;
        is_well(&mut peer, &client).await;
        assert_eq!(next(&mut subscription).await, b"x");
    }
}

#[tokio::test]
async fn a_sender_of_qos_1_repeats_with_dup_and_the_same_identifiers_in_order() {
    for version in VERSIONS {
        let server = Server::new(version).await;
        let client = server.client();
        let publications: Vec<_> =
            ["a", "b", "c"].map(|text| publishing(&client, QoS::AtLeastOnce, text)).into();
        let mut peer = server.welcome(false).await;
        for (number, text) in [(1, "a"), (2, "b"), (3, "c")] {
            peer.expect(publish(number, QoS::AtLeastOnce, false, text)).await;
        }
        peer.write(Packet::Puback(ack(2))).await;
        is_well(&mut peer, &client).await;
        for _ in 0..3 {
            drop(peer);
            peer = server.welcome(true).await;
            // [MQTT-3.3.1-1], [MQTT-4.4.0-1], [MQTT-4.6.0-1]
            peer.expect(publish(1, QoS::AtLeastOnce, true, "a")).await;
            peer.expect(publish(3, QoS::AtLeastOnce, true, "c")).await;
        }
        peer.write(Packet::Puback(ack(1))).await;
        peer.write(Packet::Puback(ack(3))).await;
        for publication in publications {
            publication.await.unwrap().unwrap();
        }
    }
}

#[tokio::test]
async fn what_becomes_of_messages_whose_session_is_lost_is_chosen_and_told() {
    for version in VERSIONS {
        for session_lost in [SessionLost::Resend, SessionLost::Fail, SessionLost::Drop] {
            let server = Server::new(version).await;
            let client = Client::start(server.endpoint(), Options { session_lost, ..server.persistent() });
            let mut events = client.events();
            let mut peer = server.welcome(false).await;
            let first = publishing(&client, QoS::AtLeastOnce, "1");
            peer.expect(publish(1, QoS::AtLeastOnce, false, "1")).await;
            let second = publishing(&client, QoS::ExactlyOnce, "2");
            peer.expect(publish(2, QoS::ExactlyOnce, false, "2")).await;
            let released = publishing(&client, QoS::ExactlyOnce, "3");
            peer.expect(publish(3, QoS::ExactlyOnce, false, "3")).await;
            peer.write(Packet::Pubrec(ack(3))).await;
            peer.expect(Packet::Pubrel(ack(3))).await;
            drop(peer);
            let mut peer = server.welcome(false).await;
            // What the server has taken over with PUBREC is delivered, whatever it forgets later.
            assert!(!released.await.unwrap().unwrap().resent);
            let counts = loop {
                match timeout(SOON, events.next()).await.unwrap().unwrap() {
                    ConnectionEvent::SessionLost { resent, failed, dropped } => {
                        break [resent, failed, dropped];
                    }
                    _ => continue,
                }
            };
            match session_lost {
                SessionLost::Resend => {
                    assert_eq!(counts, [2, 0, 0]);
                    peer.expect(publish(4, QoS::AtLeastOnce, false, "1")).await;
                    peer.expect(publish(5, QoS::ExactlyOnce, false, "2")).await;
                    peer.write(Packet::Puback(ack(4))).await;
                    peer.write(Packet::Pubrec(ack(5))).await;
                    peer.expect(Packet::Pubrel(ack(5))).await;
                    peer.write(Packet::Pubcomp(ack(5))).await;
                    for publication in [first, second] {
                        assert!(publication.await.unwrap().unwrap().resent, "it may have arrived twice");
                    }
                }
                SessionLost::Fail => {
                    assert_eq!(counts, [0, 2, 0]);
                    for (publication, text) in [(first, "1"), (second, "2")] {
                        match publication.await.unwrap() {
                            Err(PublishError::SessionLost(back)) => assert_eq!(back.payload, text.as_bytes()),
                            other => panic!("{other:?}"),
                        }
                    }
                    is_well(&mut peer, &client).await;
                }
                SessionLost::Drop => {
                    assert_eq!(counts, [0, 0, 2]);
                    for publication in [first, second] {
                        assert!(matches!(publication.await.unwrap(), Err(PublishError::Dropped(_))));
                    }
                    is_well(&mut peer, &client).await;
                }
            }
        }
    }
}

#[tokio::test]
async fn a_sender_of_qos_2_after_pubrec_repeats_pubrel_and_never_publish() {
    for version in VERSIONS {
        let server = Server::new(version).await;
        let client = server.client();
        let mut peer = server.welcome(false).await;
        let publication = publishing(&client, QoS::ExactlyOnce, "x");
        peer.expect(publish(1, QoS::ExactlyOnce, false, "x")).await;
        drop(peer);
        let mut peer = server.welcome(true).await;
        peer.expect(publish(1, QoS::ExactlyOnce, true, "x")).await;
        peer.write(Packet::Pubrec(ack(1))).await;
        peer.expect(Packet::Pubrel(ack(1))).await;
        for _ in 0..3 {
            drop(peer);
            peer = server.welcome(true).await;
            peer.expect(Packet::Pubrel(ack(1))).await; // [MQTT-4.4.0-1]
        }
        assert!(!publication.is_finished());
        peer.write(Packet::Pubcomp(ack(1))).await;
        publication.await.unwrap().unwrap();
        is_well(&mut peer, &client).await;
    }
}

#[tokio::test]
async fn identifiers_of_the_two_directions_are_two_spaces() {
    for version in VERSIONS {
        let server = Server::new(version).await;
        let client = server.client();
        let mut peer = server.welcome(false).await;
        let mut subscription = subscribed(&mut peer, &client).await;
        // SUBSCRIBE took 1.
        let publication = publishing(&client, QoS::ExactlyOnce, "out");
        peer.expect(publish(2, QoS::ExactlyOnce, false, "out")).await;
        peer.write(publish(2, QoS::ExactlyOnce, false, "in")).await;
        peer.expect(Packet::Pubrec(ack(2))).await;
        peer.write(Packet::Pubrec(ack(2))).await;
        peer.expect(Packet::Pubrel(ack(2))).await;
        peer.write(Packet::Pubrel(ack(2))).await;
        peer.expect(Packet::Pubcomp(ack(2))).await;
        assert!(!publication.is_finished());
        peer.write(Packet::Pubcomp(ack(2))).await;
        publication.await.unwrap().unwrap();
        assert_eq!(next(&mut subscription).await, b"in");
    }
}

#[tokio::test]
async fn subscriptions_are_made_again_only_where_the_session_is_gone() {
    for version in VERSIONS {
        let server = Server::new(version).await;
        let client = server.client();
        let mut peer = server.welcome(false).await;
        let mut subscription = subscribed(&mut peer, &client).await;
        drop(peer);
        let mut peer = server.welcome(true).await;
        is_well(&mut peer, &client).await;
        drop(peer);
        let mut peer = server.welcome(false).await;
        subscribe(&mut peer).await;
        peer.write(publish(1, QoS::AtMostOnce, false, "still")).await;
        assert_eq!(next(&mut subscription).await, b"still");
    }
}

#[tokio::test]
async fn a_subscription_that_is_refused_when_it_is_made_again_is_told_and_ends() {
    for version in [Version::V3_1_1, Version::V5] {
        let server = Server::new(version).await;
        let client = server.client();
        let mut peer = server.welcome(false).await;
        let mut subscription = subscribed(&mut peer, &client).await;
        drop(peer);
        let mut peer = server.welcome(false).await;
        let mut codes = ReasonCodesBuf::new();
        codes.push(ReasonCode::UnspecifiedError);
        let packet_id = subscribe(&mut peer).await;
        peer.write(Packet::Suback(Suback::new(packet_id, codes.as_codes()))).await;
        assert_eq!(timeout(SOON, subscription.next()).await.unwrap(), None);
        is_well(&mut peer, &client).await;
        // It is not asked for a third time.
        drop(peer);
        is_well(&mut server.welcome(false).await, &client).await;
    }
}

#[tokio::test]
async fn progress_is_made_with_a_server_that_closes_after_each_packet() {
    for version in VERSIONS {
        let server = Server::new(version).await;
        let client = server.client();
        let publication = publishing(&client, QoS::ExactlyOnce, "x");
        drop(server.accept().await);
        let mut peer = server.welcome(false).await;
        peer.expect(publish(1, QoS::ExactlyOnce, false, "x")).await;
        drop(peer);
        let mut peer = server.welcome(true).await;
        peer.expect(publish(1, QoS::ExactlyOnce, true, "x")).await;
        peer.write(Packet::Pubrec(ack(1))).await;
        drop(peer);
        let mut peer = server.welcome(true).await;
        let sent = peer.read().await.unwrap();
        // The PUBREC may have got lost with the connection.
        if sent[0] >> 4 == 3 {
            peer.write(Packet::Pubrec(ack(1))).await;
            peer.expect(Packet::Pubrel(ack(1))).await;
        }
        peer.write(Packet::Pubcomp(ack(1))).await;
        publication.await.unwrap().unwrap();
    }
}
