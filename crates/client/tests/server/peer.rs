//! The server's side of connections, word by word.

use std::time::Duration;

use mqway_client::{
    Backoff, Client, ConnectError, ConnectionEvent, Endpoint, Events, Message, Options, QoS, ReasonCode,
    Subscription, Version,
};
use mqway_codec::{Connack, Decoder, Packet, PacketId, ReasonCodesBuf, Suback};
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

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

    /// Accepts a connection, and no word of it.
    pub async fn socket(&self) -> TcpStream {
        timeout(SOON, self.listener.accept()).await.expect("a connection").unwrap().0
    }

    /// Accepts a connection and its CONNECT, which is given back.
    pub async fn accept(&self) -> (Peer, Vec<u8>) {
        let socket = self.socket().await;
        let decoder = Decoder::new(1 << 20);
        let mut peer = Peer { socket, bytes: Vec::new(), decoder, version: self.version };
        let connect = peer.read().await.expect("CONNECT");
        (peer, connect)
    }

    /// Accepts a connection and answers its CONNECT.
    pub async fn welcome(&self, session_present: bool) -> Peer {
        self.welcome_with(Connack::new(session_present, ReasonCode::Success)).await
    }

    pub async fn welcome_with(&self, connack: Connack<'_>) -> Peer {
        let (mut peer, _) = self.accept().await;
        peer.write(Packet::Connack(connack)).await;
        peer
    }
}

/// The server's side of one connection.
pub struct Peer {
    pub socket: TcpStream,
    bytes: Vec<u8>,
    decoder: Decoder,
    version: Version,
}

impl Peer {
    /// The bytes of the next packet; `None` at the end.
    pub async fn read(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Some((_, len)) = self.decoder.next(&self.bytes).unwrap() {
                return Some(self.bytes.drain(..len).collect());
            }
            let read = timeout(SOON, self.socket.read_buf(&mut self.bytes)).await.expect("a packet in time");
            if read.unwrap_or(0) == 0 {
                return None;
            }
        }
    }

    pub async fn expect(&mut self, expected: Packet<'_>) {
        let bytes = self.read().await.unwrap_or_else(|| panic!("the end instead of {expected:?}"));
        assert_eq!(mqway_codec::decode(self.version, &bytes).unwrap(), expected);
    }

    pub async fn write(&mut self, packet: Packet<'_>) {
        let mut bytes = Vec::new();
        packet.encode(self.version, &mut bytes).unwrap();
        self.write_bytes(&bytes).await;
    }

    /// Whatever it is. That the client has gone already is no fault of the test.
    pub async fn write_bytes(&mut self, bytes: &[u8]) {
        let _ = self.socket.write_all(bytes).await;
    }

    /// Grants the next SUBSCRIBE.
    pub async fn grant(&mut self) {
        let subscribe = self.read().await.expect("SUBSCRIBE");
        assert_eq!(subscribe[0], 0x82);
        let id = PacketId::new(u16::from_be_bytes([subscribe[2], subscribe[3]])).unwrap();
        let mut codes = ReasonCodesBuf::new();
        codes.push(ReasonCode::GrantedQos2);
        self.write(Packet::Suback(Suback::new(id, codes.as_codes()))).await;
    }

    /// Grants what `client` is made to subscribe to: everything.
    pub async fn subscribed(&mut self, client: &Client) -> Subscription {
        let (subscription, ()) = tokio::join!(client.subscribe("#", QoS::ExactlyOnce), self.grant());
        subscription.unwrap()
    }
}

pub fn message(qos: QoS, payload: &str) -> Message {
    Message { qos, ..Message::new("a", payload) }
}

/// The next event, which is the loss of the connection: why, and how long the client waits.
pub async fn lost(events: &mut Events) -> (Arc<ConnectError>, Option<Duration>) {
    loop {
        match timeout(SOON, events.next()).await.expect("an event").expect("no end") {
            ConnectionEvent::Lost { error, retry_in } => return (error, retry_in),
            _ => continue,
        }
    }
}
