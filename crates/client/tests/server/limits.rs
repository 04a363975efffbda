//! What a server says that it does not take, and what the client makes of it.

use std::num::{NonZeroU16, NonZeroU32};
use std::time::{Duration, Instant};

use mqway_client::{
    Client, ConnectionEvent, Message, Options, Property, PublishError, QoS, ReasonCode, SubscribeError,
    Version, Wanted,
};
use mqway_codec::{Packet, SubscriptionId};
use tokio::time::timeout;

use crate::peer::{SOON, Server, ack, is_well, message, properties, publish, publishing, subscribed};

#[tokio::test]
async fn a_receive_maximum_of_one_has_one_message_under_way_at_a_time() {
    let server = Server::new(Version::V5).await;
    let client = server.client();
    let publications: Vec<_> = ["1", "2", "3"].map(|text| publishing(&client, QoS::ExactlyOnce, text)).into();
    let one = [Property::ReceiveMaximum(NonZeroU16::MIN)];
    let mut peer = server.welcome_with(false, &one).await;
    for (number, text) in [(1, "1"), (2, "2"), (3, "3")] {
        peer.expect(publish(number, QoS::ExactlyOnce, false, text)).await; // [MQTT-3.3.4-7]
        peer.write(Packet::Pubrec(ack(number))).await;
        peer.expect(Packet::Pubrel(ack(number))).await;
        if number == 2 {
            // PUBREL needs no room, and what follows it waits its turn. [MQTT-4.4.0-1]
            drop(peer);
            peer = server.welcome_with(true, &one).await;
            peer.expect(Packet::Pubrel(ack(2))).await;
            peer.expect(publish(3, QoS::ExactlyOnce, false, "3")).await;
            drop(peer);
            peer = server.welcome_with(true, &one).await;
            peer.expect(Packet::Pubrel(ack(2))).await;
            peer.expect(publish(3, QoS::ExactlyOnce, true, "3")).await;
            peer.write(Packet::Pubcomp(ack(2))).await;
            peer.write(Packet::Pubrec(ack(3))).await;
            peer.expect(Packet::Pubrel(ack(3))).await;
            peer.write(Packet::Pubcomp(ack(3))).await;
            break;
        }
        peer.write(Packet::Pubcomp(ack(number))).await;
    }
    for publication in publications {
        publication.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn what_the_server_does_not_take_is_told_and_never_sent_also_if_it_waited_for_the_connection() {
    let too_large = NonZeroU32::new(60).unwrap();
    for (limit, refused, told) in [
        (Property::MaximumQos(QoS::AtLeastOnce), message(QoS::ExactlyOnce, "x"), "QoS"), // [MQTT-3.2.2-11]
        (Property::MaximumQos(QoS::AtMostOnce), message(QoS::ExactlyOnce, "x"), "QoS"),
        (
            Property::RetainAvailable(false),
            Message { retain: true, ..message(QoS::AtLeastOnce, "x") }, // [MQTT-3.2.2-14]
            "retain",
        ),
        (
            Property::MaximumPacketSize(too_large),
            message(QoS::AtLeastOnce, &"x".repeat(60)), // [MQTT-3.2.2-15]
            "larger",
        ),
    ] {
        let server = Server::new(Version::V5).await;
        let client = server.client();
        let waiting = client.enqueue(refused.clone()).await.unwrap();
        let small = publishing(&client, QoS::AtMostOnce, "small");
        let mut peer = server.welcome_with(false, &[limit]).await;
        let outcomes = [waiting.await, client.publish(refused).await];
        for outcome in outcomes {
            let error = outcome.unwrap_err();
            assert!(error.to_string().contains(told), "{error} does not say {told:?}");
        }
        peer.expect(publish(0, QoS::AtMostOnce, false, "small")).await;
        small.await.unwrap().unwrap();
        // The next server may take it again.
        drop(peer);
        let mut peer = server.welcome(true).await;
        is_well(&mut peer, &client).await;
    }
}

#[tokio::test]
async fn subscriptions_that_the_server_does_not_take_are_refused_in_its_words() {
    let identifier = SubscriptionId::new(7);
    let plain = |filter: &str| Wanted::new(filter, QoS::AtMostOnce);
    for (limit, wanted, told) in [
        (
            Property::WildcardSubscriptionAvailable(false),
            plain("a/+"),
            ReasonCode::WildcardSubscriptionsNotSupported,
        ),
        (
            Property::SharedSubscriptionAvailable(false),
            plain("$share/group/a"),
            ReasonCode::SharedSubscriptionsNotSupported,
        ),
        (
            Property::SubscriptionIdentifierAvailable(false),
            Wanted { identifier, ..plain("a") },
            ReasonCode::SubscriptionIdentifiersNotSupported,
        ),
    ] {
        let server = Server::new(Version::V5).await;
        let client = server.client();
        let subscribing = client.subscribe_all(vec![wanted]);
        let said = [limit];
        let serving = server.welcome_with(false, &said);
        let (subscribed, mut peer) = tokio::join!(subscribing, serving);
        match subscribed {
            Err(SubscribeError::Refused(reason)) => assert_eq!(reason, told),
            other => panic!("{other:?}"),
        }
        is_well(&mut peer, &client).await;
    }
}

#[tokio::test]
async fn the_servers_keep_alive_goes_before_ours() {
    let server = Server::new(Version::V5).await;
    let client = Client::start(server.endpoint(), Options { keep_alive: 600, ..server.options() });
    let mut peer = server.welcome_with(false, &[Property::ServerKeepAlive(1)]).await;
    let begun = Instant::now();
    peer.expect(Packet::Pingreq).await; // [MQTT-3.2.2-21]
    assert!((900..2_000).contains(&begun.elapsed().as_millis()), "{:?}", begun.elapsed());
    drop(client);
}

#[tokio::test]
async fn what_the_server_assigns_is_told() {
    let server = Server::new(Version::V5).await;
    let client = Client::start(server.endpoint(), Options { client_id: String::new(), ..server.options() });
    let mut events = client.events();
    let _peer = server.welcome_with(false, &[Property::AssignedClientIdentifier("you")]).await;
    match timeout(SOON, events.next()).await.unwrap().unwrap() {
        ConnectionEvent::Connected { properties, .. } => {
            assert_eq!(properties.as_properties().assigned_client_identifier(), Some("you"));
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_topic_is_named_once_where_the_server_takes_aliases_and_always_where_not() {
    for (maximum, lengths) in [(0, [7, 7, 7]), (1, [10, 9, 9])] {
        let server = Server::new(Version::V5).await;
        let client = server.client();
        let mut peer = server.welcome_with(false, &[Property::TopicAliasMaximum(maximum)]).await;
        for length in lengths {
            client.publish(message(QoS::AtMostOnce, "x")).await.unwrap();
            // [MQTT-3.2.2-17], [MQTT-3.2.2-18]
            assert_eq!(peer.read().await.unwrap().len(), length);
        }
    }
}

#[tokio::test]
async fn a_message_that_is_not_a_clients_to_send_is_told_and_not_sent() {
    let server = Server::new(Version::V5).await;
    let client = server.client();
    let mut peer = server.welcome(false).await;
    for said in [
        Property::TopicAlias(NonZeroU16::MIN),
        Property::SubscriptionIdentifier(SubscriptionId::new(1).unwrap()), // [MQTT-3.3.4-6]
        Property::ReasonString("x"),
    ] {
        for qos in [QoS::AtMostOnce, QoS::ExactlyOnce] {
            let message = Message { properties: properties(&[said]), ..message(qos, "x") };
            assert!(matches!(client.publish(message).await, Err(PublishError::Invalid(_))), "{said:?}");
        }
    }
    for topic in ["", "a/#", "a\0b", &"x".repeat(70_000)] {
        let message = Message { qos: QoS::AtLeastOnce, ..Message::new(topic, "x") };
        assert!(matches!(client.publish(message).await, Err(PublishError::Invalid(_))), "{topic:.9}");
    }
    is_well(&mut peer, &client).await;
    assert!(timeout(Duration::from_millis(50), peer.read()).await.is_err());
}

#[tokio::test]
async fn before_5_0_our_receive_maximum_is_no_rule_for_the_server() {
    let server = Server::new(Version::V3_1_1).await;
    let options = Options { receive_maximum: 1, manual_acknowledgement: true, ..server.persistent() };
    let client = Client::start(server.endpoint(), options);
    let mut peer = server.welcome(false).await;
    let mut subscription = subscribed(&mut peer, &client).await;
    for number in 1..=3 {
        peer.write(publish(number, QoS::AtLeastOnce, false, "x")).await;
        let token = subscription.next().await.unwrap().token;
        assert!(token.is_some());
    }
    is_well(&mut peer, &client).await;
}
