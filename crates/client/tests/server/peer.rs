//! The server's side of connections, word by word, and what to say.

use std::sync::Arc;
use std::time::Duration;

use mqway_client::{
    Backoff, Client, ConnectError, ConnectionEvent, Endpoint, Events, Message, Options, PropertiesBuf,
    Property, PublishError, QoS, ReasonCode, Receipt, Subscription, Version,
};
use mqway_codec::{Ack, Connack, Packet, PacketId, Publish, ReasonCodesBuf, Suback, Subscribe};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;

pub use crate::support::Peer;

pub const VERSIONS: [Version; 3] = [Version::V3_1, Version::V3_1_1, Version::V5];

/// How long anything that should happen at once may take on a busy machine.
pub const SOON: Duration = Duration::from_secs(10);

/// A server that has not been connected to yet.
pub struct Server {
    listener: TcpListener,
    pub version: Version,
}

impl Server {
    pub async fn new(version: Version) -> Server {
        Server { listener: TcpListener::bind("127.0.0.1:0").await.unwrap(), version }
    }

    pub fn endpoint(&self) -> Endpoint {
        Endpoint::new(format!("tcp://{}", self.listener.local_addr().unwrap()))
    }

    /// A client of this server that hurries to connect again.
    pub fn options(&self) -> Options {
        let backoff = Backoff { first: Duration::from_millis(20), ..Backoff::default() };
        Options { version: self.version, client_id: "c".to_owned(), backoff, ..Options::default() }
    }

    /// The same, with a session that stays.
    pub fn persistent(&self) -> Options {
        Options { session_expiry: Some(Duration::from_secs(3600)), ..self.options() }
    }

    /// Starts a client with a session that stays.
    pub fn client(&self) -> Client {
        Client::start(self.endpoint(), self.persistent())
    }

    /// Accepts a connection, and no word of it.
    pub async fn socket(&self) -> TcpStream {
        timeout(SOON, self.listener.accept()).await.expect("a connection").unwrap().0
    }

    /// Accepts a connection and its CONNECT.
    pub async fn accept(&self) -> Peer {
        Peer::accept(&self.listener).await.0
    }

    /// Accepts a connection and answers its CONNECT.
    pub async fn welcome(&self, session_present: bool) -> Peer {
        Peer::welcome(&self.listener, session_present).await
    }

    /// The same, with something to say beside.
    pub async fn welcome_with(&self, session_present: bool, said: &[Property<'_>]) -> Peer {
        let mut peer = self.accept().await;
        let said = properties(said);
        let mut connack = Connack::new(session_present, ReasonCode::Success);
        connack.properties = said.as_properties();
        peer.write(Packet::Connack(connack)).await;
        peer
    }
}

/// Makes the client subscribe to everything, and grants it.
pub async fn subscribed(peer: &mut Peer, client: &Client) -> Subscription {
    let (subscription, ()) = tokio::join!(client.subscribe("#", QoS::ExactlyOnce), grant(peer));
    subscription.unwrap()
}

/// Grants the next SUBSCRIBE.
pub async fn grant(peer: &mut Peer) {
    let id = subscribe(peer).await;
    let mut codes = ReasonCodesBuf::new();
    codes.push(ReasonCode::GrantedQos2);
    peer.write(Packet::Suback(Suback::new(id, codes.as_codes()))).await;
}

/// The identifier of the next packet, which is a SUBSCRIBE.
pub async fn subscribe(peer: &mut Peer) -> PacketId {
    let bytes = peer.read().await.expect("SUBSCRIBE");
    match mqway_codec::decode(peer.version(), &bytes).unwrap() {
        Packet::Subscribe(Subscribe { packet_id, .. }) => packet_id,
        other => panic!("{other:?} is no SUBSCRIBE"),
    }
}

pub fn id(value: u16) -> PacketId {
    PacketId::new(value).unwrap()
}

pub fn ack(value: u16) -> Ack<'static> {
    Ack::new(id(value))
}

pub fn properties(list: &[Property<'_>]) -> PropertiesBuf {
    let mut properties = PropertiesBuf::new();
    for property in list {
        properties.push(*property).unwrap();
    }
    properties
}

pub fn message(qos: QoS, payload: &str) -> Message {
    Message { qos, ..Message::new("a", payload) }
}

pub fn publish(number: u16, qos: QoS, dup: bool, payload: &str) -> Packet<'_> {
    let mut publish = Publish::new("a", payload.as_bytes());
    (publish.qos, publish.dup) = (qos, dup);
    publish.packet_id = (qos != QoS::AtMostOnce).then(|| id(number));
    Packet::Publish(publish)
}

/// Publishes in the background.
pub fn publishing(client: &Client, qos: QoS, payload: &str) -> JoinHandle<Result<Receipt, PublishError>> {
    let (client, message) = (client.clone(), message(qos, payload));
    tokio::spawn(async move { timeout(SOON, client.publish(message)).await.expect("an outcome") })
}

/// Expects the client to be up to a whole exchange, and so on a connection that is well.
pub async fn is_well(peer: &mut Peer, client: &Client) {
    let publication = publishing(client, QoS::AtLeastOnce, "well");
    let bytes = peer.read().await.expect("PUBLISH");
    let Packet::Publish(publish) = mqway_codec::decode(peer.version(), &bytes).unwrap() else {
        panic!("{bytes:02x?} is no PUBLISH");
    };
    assert_eq!(publish.payload, b"well");
    peer.write(Packet::Puback(Ack::new(publish.packet_id.unwrap()))).await;
    publication.await.unwrap().unwrap();
}

/// The next event that is the loss of the connection: why, and how long the client waits.
pub async fn lost(events: &mut Events) -> (Arc<ConnectError>, Option<Duration>) {
    loop {
        match timeout(SOON, events.next()).await.expect("an event").expect("no end") {
            ConnectionEvent::Lost { error, retry_in } => return (error, retry_in),
            _ => continue,
        }
    }
}
