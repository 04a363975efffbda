//! The client against a server that the test plays over a real socket, word by word.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mqway_client::{
    Backoff, Client, ConnectError, ConnectionEvent, Endpoint, Message, Options, PublishError, QoS,
    ReasonCode, SubscribeError, Version,
};
use mqway_codec::{Ack, Connack, Packet, PacketId, Publish, ReasonCodesBuf, Suback, Unsuback};

mod support;

use support::{Peer, server};

const VERSION: Version = Version::V3_1_1;

fn options() -> Options {
    let backoff = Backoff { first: Duration::from_millis(20), ..Backoff::default() };
    Options { version: VERSION, client_id: "c".to_owned(), backoff, ..Options::default() }
}

fn persistent() -> Options {
    Options { session_expiry: Some(Duration::from_secs(3600)), ..options() }
}

fn message(qos: QoS, payload: &str) -> Message {
    Message { qos, ..Message::new("a", payload) }
}

fn publish(id: u16, dup: bool, payload: &str) -> Packet<'_> {
    let mut publish = Publish::new("a", payload.as_bytes());
    publish.qos = QoS::AtLeastOnce;
    publish.packet_id = PacketId::new(id);
    publish.dup = dup;
    Packet::Publish(publish)
}

fn puback(id: u16) -> Packet<'static> {
    Packet::Puback(Ack::new(PacketId::new(id).unwrap()))
}

#[tokio::test]
async fn a_publication_resolves_when_it_is_acknowledged_also_after_a_reconnect() {
    let (listener, endpoint) = server().await;
    let client = Client::start(endpoint, persistent());
    let publication = tokio::spawn({
        let client = client.clone();
        async move { client.publish(message(QoS::AtLeastOnce, "x")).await }
    });
    let mut peer = Peer::welcome(&listener, false).await;
    peer.expect(publish(1, false, "x")).await;
    drop(peer);
    let mut peer = Peer::welcome(&listener, true).await;
    peer.expect(publish(1, true, "x")).await;
    assert!(!publication.is_finished());
    peer.write(puback(1)).await;
    assert_eq!(publication.await.unwrap().unwrap().reason, ReasonCode::Success);
}

#[tokio::test]
async fn messages_published_without_a_connection_are_sent_with_the_next_one_in_order() {
    let (listener, endpoint) = server().await;
    let client = Client::start(endpoint, options());
    for text in ["a", "b", "c"] {
        client.try_publish(message(QoS::AtLeastOnce, text)).unwrap();
    }
    let mut peer = Peer::welcome(&listener, false).await;
    for (id, text) in [(1, "a"), (2, "b"), (3, "c")] {
        peer.expect(publish(id, false, text)).await;
    }
}

#[tokio::test]
async fn a_message_of_qos_0_published_just_before_the_end_is_not_lost() {
    let (listener, endpoint) = server().await;
    let client = Client::start(endpoint, options());
    let mut peer = Peer::welcome(&listener, false).await;
    client.try_publish(Message::new("a", "last")).unwrap();
    let end = tokio::spawn({
        let client = client.clone();
        async move { client.disconnect().await }
    });
    peer.expect(Packet::Publish(Publish::new("a", b"last"))).await;
    peer.expect(Packet::Disconnect(Default::default())).await;
    assert_eq!(peer.read().await, None); // [MQTT-3.14.4-2]
    end.await.unwrap();
    assert!(matches!(client.publish(message(QoS::AtMostOnce, "x")).await, Err(PublishError::Ended)));
}

#[tokio::test]
async fn a_client_without_a_name_gives_itself_one() {
    // 3.1.1: [MQTT-3.1.3-7]
    let (listener, endpoint) = server().await;
    let _client = Client::start(endpoint, Options { client_id: String::new(), ..options() });
    let (_, connect) = Peer::accept(&listener).await;
    let Ok(Packet::Connect(connect)) = mqway_codec::decode(VERSION, &connect) else { panic!("{connect:x?}") };
    assert!(!connect.client_id.is_empty());
}

#[tokio::test]
async fn the_last_handle_that_goes_takes_the_connection_with_it() {
    let (listener, endpoint) = server().await;
    let client = Client::start(endpoint, options());
    let mut events = client.events();
    let mut peer = Peer::welcome(&listener, false).await;
    assert!(matches!(events.next().await.unwrap(), ConnectionEvent::Connected { .. }));
    drop(client);
    peer.expect(Packet::Disconnect(Default::default())).await;
}

#[tokio::test]
async fn what_was_published_before_the_last_handle_went_is_still_delivered() {
    let (listener, endpoint) = server().await;
    let client = Client::start(endpoint, options());
    client.try_publish(message(QoS::AtLeastOnce, "x")).unwrap();
    drop(client);
    let mut peer = Peer::welcome(&listener, false).await;
    peer.expect(publish(1, false, "x")).await;
    drop(peer);
    let mut peer = Peer::welcome(&listener, false).await;
    peer.expect(publish(2, false, "x")).await;
    peer.write(puback(2)).await;
    peer.expect(Packet::Disconnect(Default::default())).await;
}

#[tokio::test]
async fn a_subscription_is_made_again_where_the_session_is_gone_and_ends_when_its_stream_is_dropped() {
    let (listener, endpoint) = server().await;
    let client = Client::start(endpoint, options());
    let subscribing = tokio::spawn({
        let client = client.clone();
        async move { client.subscribe("a", QoS::AtLeastOnce).await }
    });
    let mut peer = Peer::welcome(&listener, false).await;
    assert_eq!(peer.read().await.unwrap()[0], 0x82);
    peer.grant(1).await;
    let mut subscription = subscribing.await.unwrap().unwrap();
    peer.write(publish(1, false, "one")).await;
    assert_eq!(&*subscription.next().await.unwrap().payload, b"one");
    peer.expect(puback(1)).await;
    drop(peer);
    let mut peer = Peer::welcome(&listener, false).await;
    assert_eq!(peer.read().await.unwrap()[0], 0x82);
    peer.grant(2).await;
    peer.write(publish(1, false, "two")).await;
    assert_eq!(&*subscription.next().await.unwrap().payload, b"two");
    peer.expect(puback(1)).await;
    drop(subscription);
    let unsubscribe = peer.read().await.unwrap();
    assert_eq!(unsubscribe[0], 0xa2);
    peer.write(Packet::Unsuback(Unsuback::new(PacketId::new(3).unwrap(), ReasonCodesBuf::new().as_codes())))
        .await;
}

#[tokio::test]
async fn a_subscription_that_is_refused_or_no_filter_is_an_error() {
    let (listener, endpoint) = server().await;
    let client = Client::start(endpoint, options());
    assert!(matches!(client.subscribe("a/#/b", QoS::AtMostOnce).await, Err(SubscribeError::Filter(_))));
    let subscribing = tokio::spawn(async move { client.subscribe("a", QoS::AtMostOnce).await.map(drop) });
    let mut peer = Peer::welcome(&listener, false).await;
    peer.read().await.unwrap();
    let mut codes = ReasonCodesBuf::new();
    codes.push(ReasonCode::UnspecifiedError);
    peer.write(Packet::Suback(Suback::new(PacketId::new(1).unwrap(), codes.as_codes()))).await;
    assert!(matches!(subscribing.await.unwrap(), Err(SubscribeError::Refused(_))));
}

#[tokio::test]
async fn a_program_that_takes_no_messages_holds_up_the_network_and_loses_none() {
    let (listener, endpoint) = server().await;
    let client = Client::start(endpoint, Options { buffer: 2, ..options() });
    let subscribing =
        tokio::spawn(async move { (client.subscribe("a", QoS::AtMostOnce).await.unwrap(), client) });
    let mut peer = Peer::welcome(&listener, false).await;
    peer.read().await.unwrap();
    peer.grant(1).await;
    let (mut subscription, _client) = subscribing.await.unwrap();
    let count = 3_000;
    let writer = tokio::spawn(async move {
        for index in 0..count {
            let payload = format!("{index:05}{}", "x".repeat(4_000));
            peer.write(Packet::Publish(Publish::new("a", payload.as_bytes()))).await;
        }
        peer
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!writer.is_finished(), "12 MB do not fit anywhere");
    for index in 0..count {
        let message = subscription.next().await.unwrap();
        assert!(message.payload.starts_with(format!("{index:05}").as_bytes()));
    }
    writer.await.unwrap();
}

#[tokio::test]
async fn the_provider_is_asked_before_each_attempt() {
    let (listener, endpoint) = server().await;
    let asked = Arc::new(AtomicU64::new(0));
    let counter = asked.clone();
    let provider = move |_| {
        let token = counter.fetch_add(1, Ordering::SeqCst);
        std::future::ready(endpoint.clone().user("me", format!("token {token}")))
    };
    let _client = Client::start_with(provider, options());
    for token in 0..3 {
        let (_, connect) = Peer::accept(&listener).await;
        let expected = format!("token {token}");
        assert!(connect.ends_with(expected.as_bytes()));
    }
}

#[tokio::test]
async fn a_refusal_is_told_and_tried_again_and_a_bad_url_is_final() {
    let (listener, endpoint) = server().await;
    let client = Client::start(endpoint, options());
    let mut events = client.events();
    let (mut peer, _) = Peer::accept(&listener).await;
    peer.write(Packet::Connack(Connack::new(false, ReasonCode::NotAuthorized))).await;
    let ConnectionEvent::Lost { error, retry_in } = events.next().await.unwrap() else { panic!("not lost") };
    assert!(
        matches!(&*error, ConnectError::Refused(notice) if notice.reason == ReasonCode::NotAuthorized),
        "{error}"
    );
    assert!(retry_in.is_some());
    Peer::welcome(&listener, false).await;
    assert!(matches!(events.next().await.unwrap(), ConnectionEvent::Connected { .. }));

    let client = Client::start(Endpoint::new("gopher://x"), options());
    let mut events = client.events();
    let ConnectionEvent::Lost { error, retry_in } = events.next().await.unwrap() else { panic!("not lost") };
    assert!(error.is_final() && retry_in.is_none(), "{error}");
    assert!(matches!(client.publish(message(QoS::AtLeastOnce, "x")).await, Err(PublishError::Ended)));
}

#[tokio::test]
async fn servers_are_tried_in_turn() {
    let (listener, endpoint) = server().await;
    let nobody = Endpoint::new("tcp://127.0.0.1:1");
    let _client = Client::start_any(vec![nobody, endpoint], options());
    Peer::welcome(&listener, false).await;
}

#[tokio::test]
async fn a_server_that_says_nothing_is_given_up_in_time() {
    let (listener, endpoint) = server().await;
    let client = Client::start(endpoint, Options { connect_time: Duration::from_millis(200), ..options() });
    let mut events = client.events();
    let _silent = Peer::accept(&listener).await;
    let ConnectionEvent::Lost { error, .. } = events.next().await.unwrap() else { panic!("not lost") };
    assert!(matches!(*error, ConnectError::TimedOut), "{error}");
}
