//! What only 5.0 has, against a server that the test plays over a real socket.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::time::Duration;

use mqway_client::{
    Authentication, Backoff, Client, ConnectError, ConnectionEvent, Endpoint, Exchange, Message, Options,
    PropertiesBuf, Property, PublishError, QoS, ReasonCode, RequestError, SessionLost,
};
use mqway_codec::{Ack, Auth, Connack, Disconnect, Packet, PacketId, Publish, Version, decode};
use tokio::net::TcpListener;
use tokio::time::timeout;

mod support;

use support::{Peer, server};

fn options() -> Options {
    let backoff = Backoff { first: Duration::from_millis(20), ..Backoff::default() };
    Options { client_id: "c".to_owned(), backoff, ..Options::default() }
}

fn id(value: u16) -> PacketId {
    PacketId::new(value).unwrap()
}

fn properties(list: &[Property<'_>]) -> PropertiesBuf {
    let mut properties = PropertiesBuf::new();
    for property in list {
        properties.push(*property).unwrap();
    }
    properties
}

/// A server's name in a reference.
fn reference(listener: &TcpListener) -> String {
    listener.local_addr().unwrap().to_string()
}

/// Adds one to each byte of a challenge, and wants to hear its own word at the end.
struct Plus;

impl Authentication for Plus {
    fn method(&self) -> &str {
        "PLUS"
    }

    fn begin(&self) -> Box<dyn Exchange> {
        Box::new(Plus)
    }
}

impl Exchange for Plus {
    fn first(&mut self) -> Vec<u8> {
        b"first".to_vec()
    }

    fn answer(&mut self, challenge: &[u8]) -> Result<Vec<u8>, String> {
        Ok(challenge.iter().map(|byte| byte.wrapping_add(1)).collect())
    }

    fn finish(&mut self, last: &[u8]) -> Result<(), String> {
        if last == b"proof" { Ok(()) } else { Err("the server has no proof".to_owned()) }
    }
}

fn method_and(data: &[u8]) -> PropertiesBuf {
    properties(&[Property::AuthenticationMethod("PLUS"), Property::AuthenticationData(data)])
}

async fn challenge(peer: &mut Peer) {
    let asked = method_and(b"abc");
    peer.write(Packet::Auth(Auth::new(ReasonCode::ContinueAuthentication, asked.as_properties()))).await;
    let answer = method_and(b"bcd");
    peer.expect(Packet::Auth(Auth::new(ReasonCode::ContinueAuthentication, answer.as_properties()))).await;
}

async fn accept_with(peer: &mut Peer, last: &[u8]) {
    let said = method_and(last);
    let mut connack = Connack::new(false, ReasonCode::Success);
    connack.properties = said.as_properties();
    peer.write(Packet::Connack(connack)).await;
}

#[tokio::test]
async fn an_exchange_authenticates_the_connection_and_authenticates_it_again() {
    let (listener, endpoint) = server().await;
    let client = Client::start(endpoint.authentication(Plus), options());
    let (mut peer, connect) = Peer::accept(&listener).await;
    let Packet::Connect(connect) = decode(Version::V5, &connect).unwrap() else { panic!("no CONNECT") };
    assert_eq!(connect.properties.authentication_method(), Some("PLUS"));
    assert_eq!(connect.properties.authentication_data(), Some(&b"first"[..]));
    challenge(&mut peer).await;
    accept_with(&mut peer, b"proof").await;
    let mut events = client.events();
    while !matches!(events.next().await.unwrap(), ConnectionEvent::Connected { .. }) {}

    let again = tokio::spawn({
        let client = client.clone();
        async move { client.reauthenticate(Plus).await }
    });
    let first = method_and(b"first");
    peer.expect(Packet::Auth(Auth::new(ReasonCode::ReAuthenticate, first.as_properties()))).await;
    challenge(&mut peer).await;
    let proof = method_and(b"proof");
    peer.write(Packet::Auth(Auth::new(ReasonCode::Success, proof.as_properties()))).await;
    again.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_server_that_does_not_prove_itself_is_left() {
    let (listener, endpoint) = server().await;
    let client = Client::start(endpoint.authentication(Plus), options());
    let mut events = client.events();
    let (mut peer, _) = Peer::accept(&listener).await;
    accept_with(&mut peer, b"guess").await;
    let error = loop {
        if let ConnectionEvent::Lost { error, .. } = events.next().await.unwrap() {
            break error;
        }
    };
    assert!(
        matches!(&*error, ConnectError::Authentication(why) if why == "the server has no proof"),
        "{error}"
    );
}

#[tokio::test]
async fn a_server_that_fails_to_prove_itself_again_is_left() {
    let (listener, endpoint) = server().await;
    let client = Client::start(endpoint.authentication(Plus), options());
    let (mut peer, _) = Peer::accept(&listener).await;
    let mut events = client.events();
    accept_with(&mut peer, b"proof").await;
    while !matches!(events.next().await.unwrap(), ConnectionEvent::Connected { .. }) {}
    let again = tokio::spawn({
        let client = client.clone();
        async move { client.reauthenticate(Plus).await }
    });
    let first = method_and(b"first");
    peer.expect(Packet::Auth(Auth::new(ReasonCode::ReAuthenticate, first.as_properties()))).await;
    let guess = method_and(b"guess");
    peer.write(Packet::Auth(Auth::new(ReasonCode::Success, guess.as_properties()))).await;
    peer.expect_end().await; // [MQTT-4.12.1-2]
    let told = again.await.unwrap();
    assert!(
        matches!(&told, Err(ConnectError::Authentication(why)) if why == "the server has no proof"),
        "{told:?}"
    );
}

#[tokio::test]
async fn whoever_authenticates_again_hears_why_the_server_will_not_have_it() {
    let (listener, endpoint) = server().await;
    let client = Client::start(endpoint.authentication(Plus), options());
    let (mut peer, _) = Peer::accept(&listener).await;
    let mut events = client.events();
    accept_with(&mut peer, b"proof").await;
    while !matches!(events.next().await.unwrap(), ConnectionEvent::Connected { .. }) {}
    let again = tokio::spawn({
        let client = client.clone();
        async move { client.reauthenticate(Plus).await }
    });
    let first = method_and(b"first");
    peer.expect(Packet::Auth(Auth::new(ReasonCode::ReAuthenticate, first.as_properties()))).await;
    peer.write(Packet::Disconnect(Disconnect::new(ReasonCode::NotAuthorized))).await;
    let told = again.await.unwrap();
    assert!(
        matches!(&told, Err(ConnectError::Disconnected(notice)) if notice.reason == ReasonCode::NotAuthorized),
        "{told:?}"
    );
}

#[tokio::test]
async fn what_cannot_be_authenticated_again_is_told() {
    let (listener, endpoint) = server().await;
    let client = Client::start(endpoint, options());
    let _peer = Peer::welcome(&listener, false).await;
    let told = client.reauthenticate(Plus).await;
    assert!(matches!(told, Err(ConnectError::Authentication(_))), "{told:?}");
}

#[tokio::test]
async fn a_redirect_is_followed_on_request_at_once() {
    for follow_redirect in [true, false] {
        let (old, endpoint) = server().await;
        let (new, _) = server().await;
        // A second attempt at the old server would come too late for this test.
        let backoff = Backoff { first: Duration::from_secs(100), ..Backoff::default() };
        let client = Client::start(endpoint, Options { follow_redirect, backoff, ..options() });
        let (mut peer, _) = Peer::accept(&old).await;
        let there = reference(&new);
        let said = properties(&[Property::ServerReference(&there)]);
        let mut connack = Connack::new(false, ReasonCode::UseAnotherServer);
        connack.properties = said.as_properties();
        peer.write(Packet::Connack(connack)).await;
        let followed = timeout(Duration::from_secs(if follow_redirect { 10 } else { 1 }), new.accept()).await;
        assert_eq!(followed.is_ok(), follow_redirect);
        drop(client);
    }
}

#[tokio::test]
async fn the_reason_of_a_refusal_is_told_in_the_servers_words() {
    let (listener, endpoint) = server().await;
    let client = Client::start(endpoint, options());
    let mut peer = Peer::welcome(&listener, false).await;
    let serve = async {
        peer.read().await.unwrap();
        let words = properties(&[Property::ReasonString("no room for this")]);
        let mut ack = Ack::with_reason(id(1), ReasonCode::QuotaExceeded);
        ack.properties = words.as_properties();
        peer.write(Packet::Puback(ack)).await;
    };
    let message = Message { qos: QoS::AtLeastOnce, ..Message::new("a", "x") };
    let (published, ()) = tokio::join!(client.publish(message), serve);
    let error = published.unwrap_err();
    assert_eq!(error.to_string(), "the server refused the message: Quota exceeded (\"no room for this\")");
}

#[tokio::test]
async fn a_time_limit_ends_the_wait_and_not_the_delivery() {
    let (listener, endpoint) = server().await;
    let client = Client::start(endpoint, options());
    let mut peer = Peer::welcome(&listener, false).await;
    let message = Message { qos: QoS::AtLeastOnce, ..Message::new("a", "x") };
    let told = client.publish_within(message, Duration::from_millis(50)).await;
    assert!(matches!(told, Err(PublishError::TimedOut)), "{told:?}");
    peer.read().await.expect("the message");
}

#[tokio::test]
async fn a_message_that_is_too_large_is_reported_and_the_connection_goes_on() {
    let (listener, endpoint) = server().await;
    let client = Client::start(endpoint, Options { maximum_packet: 1000, ..options() });
    let mut peer = Peer::welcome(&listener, false).await;
    let mut events = client.events();
    let large = vec![b'x'; 300_000];
    let publish =
        Publish { qos: QoS::AtLeastOnce, packet_id: PacketId::new(5), ..Publish::new("large", &large) };
    peer.write(Packet::Publish(publish)).await;
    peer.expect(Packet::Puback(Ack::with_reason(id(5), ReasonCode::ImplementationSpecificError))).await;
    let skipped = loop {
        if let ConnectionEvent::Skipped { topic, size, .. } = events.next().await.unwrap() {
            break (topic, size);
        }
    };
    assert_eq!(&*skipped.0, "large");
    assert!(skipped.1 > 300_000);
    peer.write(Packet::Pingresp).await;
    client.publish(Message::new("a", "still here")).await.unwrap();
    peer.read().await.expect("the message");
}

#[tokio::test]
async fn a_session_that_is_lost_is_told_with_what_became_of_its_messages() {
    for (option, expected) in
        [(SessionLost::Resend, (1, 0, 0)), (SessionLost::Fail, (0, 1, 0)), (SessionLost::Drop, (0, 0, 1))]
    {
        let (listener, endpoint) = server().await;
        let session_expiry = Some(Duration::from_secs(100));
        let client = Client::start(endpoint, Options { session_lost: option, session_expiry, ..options() });
        let mut events = client.events();
        let mut peer = Peer::welcome(&listener, false).await;
        let message = Message { qos: QoS::AtLeastOnce, ..Message::new("a", "x") };
        let publication = tokio::spawn({
            let client = client.clone();
            async move { client.publish(message).await }
        });
        peer.read().await.unwrap();
        drop(peer);
        let mut peer = Peer::welcome(&listener, false).await;
        let told = loop {
            if let ConnectionEvent::SessionLost { resent, failed, dropped } = events.next().await.unwrap() {
                break (resent, failed, dropped);
            }
        };
        assert_eq!(told, expected);
        if option == SessionLost::Resend {
            peer.read().await.unwrap();
            peer.write(Packet::Puback(Ack::new(id(2)))).await;
        }
        match (option, publication.await.unwrap()) {
            (SessionLost::Resend, Ok(receipt)) => assert!(receipt.resent),
            (SessionLost::Fail, Err(PublishError::SessionLost(_)))
            | (SessionLost::Drop, Err(PublishError::Dropped(_))) => {}
            (_, other) => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_request_gets_its_own_response_and_gives_up_in_time() {
    let (listener, endpoint) = server().await;
    let client = Client::start(endpoint, options());
    let mut peer = Peer::welcome(&listener, false).await;
    let subscribed = async {
        peer.read().await.unwrap();
        peer.grant(1).await;
    };
    let (requester, ()) = tokio::join!(client.requester(), subscribed);
    let requester = requester.unwrap();
    let limit = Duration::from_secs(10);
    let respond = async {
        let mut asked = Vec::new();
        for _ in 0..2 {
            let bytes = peer.read().await.unwrap();
            let Packet::Publish(request) = decode(Version::V5, &bytes).unwrap() else { panic!("no request") };
            assert_eq!(request.properties.response_topic(), Some(requester.topic()));
            asked.push((request.properties.correlation_data().unwrap().to_vec(), request.payload.to_vec()));
        }
        // In the other order, with one between that nobody has asked for.
        for (correlation, payload) in [&asked[1], &(b"nobody".to_vec(), Vec::new()), &asked[0]] {
            let said = properties(&[Property::CorrelationData(correlation)]);
            let mut response = Publish::new(requester.topic(), payload);
            response.properties = said.as_properties();
            peer.write(Packet::Publish(response)).await;
        }
    };
    let (one, two, ()) = tokio::join!(
        requester.request(Message::new("echo", "one"), limit),
        requester.request(Message::new("echo", "two"), limit),
        respond
    );
    assert_eq!((&*one.unwrap().payload, &*two.unwrap().payload), (&b"one"[..], &b"two"[..]));
    let late = requester.request(Message::new("echo", "x"), Duration::from_millis(50)).await;
    assert!(matches!(late, Err(RequestError::TimedOut)), "{late:?}");
}

#[tokio::test]
async fn before_5_0_there_are_no_requests() {
    let client =
        Client::start(Endpoint::new("localhost:1"), Options { version: Version::V3_1_1, ..options() });
    assert!(client.requester().await.is_err());
}

#[tokio::test]
async fn a_provider_that_takes_for_ever_does_not_keep_the_client_from_ending() {
    let client = Client::start_with(|_| std::future::pending(), options());
    timeout(Duration::from_secs(5), client.disconnect()).await.unwrap();
}
