//! Programs that ask for odd things, at odd moments.

use std::time::Duration;

use mqway_client::{Client, ConnectError, ConnectionEvent, Message, Options, QoS, SubscribeError, Version};
use mqway_codec::{Ack, Packet};
use tokio::time::timeout;

use crate::peer::{SOON, Server, ack, is_well, lost, publish, publishing};

#[tokio::test]
async fn who_asked_first_for_the_end_was_told_that_it_had_come_when_somebody_else_asked_too() {
    let server = Server::new(Version::V5).await;
    let client = server.client();
    let mut peer = server.welcome(false).await;
    let publication = publishing(&client, QoS::AtLeastOnce, "last");
    peer.expect(publish(1, QoS::AtLeastOnce, false, "last")).await;
    let mut first = tokio::spawn({
        let client = client.clone();
        async move { client.disconnect().await }
    });
    let second = tokio::spawn(async move { client.disconnect().await });
    assert!(timeout(Duration::from_millis(200), &mut first).await.is_err(), "a message is under way");
    peer.write(Packet::Puback(ack(1))).await;
    publication.await.unwrap().unwrap();
    for asked in [first, second] {
        timeout(SOON, asked).await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_provider_that_panicked_left_listeners_waiting_for_ever() {
    let client = Client::start_with(|_| async { panic!("on purpose") }, Options::default());
    let mut events = client.events();
    assert!(timeout(SOON, events.next()).await.unwrap().is_none());
    assert!(client.publish(Message::new("a", "b")).await.is_err());
}

#[test]
fn a_runtime_that_was_shut_down_left_listeners_waiting_for_ever() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let (client, _peer) = runtime.block_on(async {
        let server = Server::new(Version::V5).await;
        (server.client(), server.welcome(false).await)
    });
    let mut events = client.events();
    runtime.shutdown_timeout(SOON);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        while let Some(event) = timeout(SOON, events.next()).await.unwrap() {
            assert!(matches!(event, ConnectionEvent::Connected { .. }), "{event:?}");
        }
    });
}

#[tokio::test]
async fn a_subscription_that_was_given_up_before_it_was_asked_for_stayed_at_the_server() {
    let server = Server::new(Version::V5).await;
    let client = server.client();
    tokio::select! {
        biased;
        _ = client.subscribe("a", QoS::AtMostOnce) => panic!("there is no connection"),
        () = std::future::ready(()) => {}
    }
    let publication = publishing(&client, QoS::AtLeastOnce, "well");
    let mut peer = server.welcome(false).await;
    let mut subscribed = false;
    loop {
        let bytes = peer.read().await.expect("PUBLISH");
        match mqway_codec::decode(peer.version(), &bytes).unwrap() {
            Packet::Subscribe(_) => subscribed = true,
            Packet::Unsubscribe(_) => subscribed = false,
            Packet::Publish(publish) => {
                peer.write(Packet::Puback(Ack::new(publish.packet_id.unwrap()))).await;
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(!subscribed);
    publication.await.unwrap().unwrap();
}

#[tokio::test]
async fn options_that_no_connection_can_be_made_with_were_tried_for_ever() {
    for options in [
        Options { receive_maximum: 0, ..Options::default() },
        Options { maximum_packet: 0, ..Options::default() },
        Options { maximum_packet: 4, ..Options::default() },
    ] {
        let server = Server::new(Version::V5).await;
        let client = Client::start(server.endpoint(), options);
        let (error, retry_in) = lost(&mut client.events()).await;
        assert!(matches!(*error, ConnectError::Options(_)) && retry_in.is_none(), "{error:?}");
    }
}

#[tokio::test]
async fn a_request_without_a_filter_or_with_none_that_is_one_was_said_to_be_too_large() {
    let server = Server::new(Version::V5).await;
    let client = server.client();
    let mut peer = server.welcome(false).await;
    let filter = |error| matches!(error, SubscribeError::Filter(_));
    assert!(filter(client.unsubscribe("a#b").await.unwrap_err()));
    assert!(filter(client.unsubscribe_all(&[]).await.unwrap_err()));
    assert!(filter(client.subscribe_only(vec![]).await.unwrap_err()));
    assert!(filter(client.subscribe_all(vec![]).await.map(drop).unwrap_err()));
    is_well(&mut peer, &client).await;
}

#[tokio::test]
async fn room_for_as_many_messages_as_can_be_said_was_a_panic() {
    let server = Server::new(Version::V5).await;
    let options = Options { queue: usize::MAX, buffer: usize::MAX, ..server.options() };
    let client = Client::start(server.endpoint(), options);
    let _all = client.messages();
    let mut peer = server.welcome(false).await;
    is_well(&mut peer, &client).await;
}
