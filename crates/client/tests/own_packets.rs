//! What the packets that the client makes itself carry in 5.0, and the stream of everything.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::time::Duration;

use mqway_client::{
    Backoff, Client, Endpoint, Options, PropertiesBuf, Property, QoS, SubscribeOptions, Wanted,
};
use mqway_codec::{Connack, Decoder, Packet, PacketId, Publish, ReasonCode, ReasonCodesBuf, Suback, Version};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(10);

/// The server's side of one connection.
struct Peer {
    socket: TcpStream,
    bytes: Vec<u8>,
    decoder: Decoder,
}

impl Peer {
    async fn accept(listener: &TcpListener) -> Peer {
        let (socket, _) = timeout(SOON, listener.accept()).await.unwrap().unwrap();
        Peer { socket, bytes: Vec::new(), decoder: Decoder::new(1 << 20) }
    }

    /// The next packet, as text.
    async fn read(&mut self) -> String {
        loop {
            if let Some((packet, len)) = self.decoder.next(&self.bytes).unwrap() {
                let text = format!("{packet:?}");
                self.bytes.drain(..len);
                return text;
            }
            assert_ne!(timeout(SOON, self.socket.read_buf(&mut self.bytes)).await.unwrap().unwrap(), 0);
        }
    }

    async fn write(&mut self, packet: Packet<'_>) {
        let mut bytes = Vec::new();
        packet.encode(Version::V5, &mut bytes).unwrap();
        self.socket.write_all(&bytes).await.unwrap();
    }
}

fn user_property(value: &str) -> PropertiesBuf {
    let mut properties = PropertiesBuf::new();
    properties.push(Property::UserProperty("for", value)).unwrap();
    properties
}

#[tokio::test]
async fn requests_carry_their_properties_and_only_the_first_connection_starts_clean() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let options = Options {
        client_id: "c".to_owned(),
        clean_start: true,
        session_expiry: Some(Duration::from_secs(60)),
        subscribe_properties: user_property("subscribe"),
        unsubscribe_properties: user_property("unsubscribe"),
        disconnect_properties: user_property("disconnect"),
        backoff: Backoff { first: Duration::from_millis(20), ..Backoff::default() },
        ..Options::default()
    };
    let client = Client::start(Endpoint::new(listener.local_addr().unwrap().to_string()), options);

    let mut peer = Peer::accept(&listener).await;
    assert!(peer.read().await.contains("clean_start: true"));
    peer.write(Packet::Connack(Connack::new(false, ReasonCode::Success))).await;
    drop(peer);

    let mut peer = Peer::accept(&listener).await;
    assert!(peer.read().await.contains("clean_start: false"));
    peer.write(Packet::Connack(Connack::new(true, ReasonCode::Success))).await;

    let mut messages = client.messages();
    let wanted =
        Wanted { filter: "a".into(), options: SubscribeOptions::new(QoS::AtMostOnce), identifier: None };
    let subscribing = tokio::spawn({
        let client = client.clone();
        async move { client.subscribe_only(vec![wanted]).await.unwrap() }
    });
    assert!(peer.read().await.contains(r#"UserProperty("for", "subscribe")"#));
    // Nobody has asked for this one here; an earlier program may have.
    peer.write(Packet::Publish(Publish::new("b", b"from before"))).await;
    let mut codes = ReasonCodesBuf::new();
    codes.push(ReasonCode::NotAuthorized);
    peer.write(Packet::Suback(Suback::new(PacketId::MIN, codes.as_codes()))).await;
    assert_eq!(subscribing.await.unwrap(), [ReasonCode::NotAuthorized]);
    assert_eq!(&*timeout(SOON, messages.next()).await.unwrap().unwrap().topic, "b");

    let leaving = tokio::spawn({
        let client = client.clone();
        async move {
            let _ = timeout(Duration::from_millis(100), client.unsubscribe("a")).await;
            client.disconnect().await;
        }
    });
    assert!(peer.read().await.contains(r#"UserProperty("for", "unsubscribe")"#));
    assert!(peer.read().await.contains(r#"UserProperty("for", "disconnect")"#));
    drop(peer);
    timeout(SOON, leaving).await.unwrap().unwrap();
}
