//! The server's side, played by a test.

#![allow(clippy::unwrap_used, dead_code, reason = "not every test uses all of it")]

use std::time::Duration;

use mqway_client::{Endpoint, ReasonCode, Version};
use mqway_codec::{Connack, Decoder, Packet, PacketId, ReasonCodesBuf, Suback};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

/// The server's side of one connection.
pub struct Peer {
    pub socket: TcpStream,
    bytes: Vec<u8>,
    decoder: Decoder,
}

impl Peer {
    /// Accepts a connection and its CONNECT.
    pub async fn accept(listener: &TcpListener) -> (Peer, Vec<u8>) {
        let (socket, _) = timeout(Duration::from_secs(10), listener.accept()).await.unwrap().unwrap();
        let mut peer = Peer { socket, bytes: Vec::new(), decoder: Decoder::new(1 << 20) };
        let connect = peer.read().await.unwrap();
        (peer, connect)
    }

    /// Accepts a connection and answers its CONNECT.
    pub async fn welcome(listener: &TcpListener, session_present: bool) -> Peer {
        let (mut peer, _) = Peer::accept(listener).await;
        peer.write(Packet::Connack(Connack::new(session_present, ReasonCode::Success))).await;
        peer
    }

    /// What CONNECT named.
    pub fn version(&self) -> Version {
        self.decoder.version().unwrap()
    }

    /// The bytes of the next packet; `None` at the end.
    pub async fn read(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Some((_, len)) = self.decoder.next(&self.bytes).unwrap() {
                return Some(self.bytes.drain(..len).collect());
            }
            let read = timeout(Duration::from_secs(10), self.socket.read_buf(&mut self.bytes)).await.unwrap();
            if read.unwrap_or(0) == 0 {
                return None;
            }
        }
    }

    pub async fn expect(&mut self, expected: Packet<'_>) {
        let bytes = self.read().await.expect("a packet");
        assert_eq!(mqway_codec::decode(self.version(), &bytes).unwrap(), expected);
    }

    /// Whether the client has closed the connection, with no more words.
    pub async fn expect_end(&mut self) {
        assert_eq!(self.read().await, None);
    }

    /// Whatever it is. The client may have gone already.
    pub async fn write_bytes(&mut self, bytes: &[u8]) {
        let _ = self.socket.write_all(bytes).await;
    }

    pub async fn write(&mut self, packet: Packet<'_>) {
        let mut bytes = Vec::new();
        packet.encode(self.version(), &mut bytes).unwrap();
        self.socket.write_all(&bytes).await.unwrap();
    }

    pub async fn grant(&mut self, id: u16) {
        let mut codes = ReasonCodesBuf::new();
        codes.push(ReasonCode::GrantedQos1);
        self.write(Packet::Suback(Suback::new(PacketId::new(id).unwrap(), codes.as_codes()))).await;
    }
}

/// A listener, and how to reach it.
pub async fn server() -> (TcpListener, Endpoint) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = Endpoint::new(format!("tcp://{}", listener.local_addr().unwrap()));
    (listener, endpoint)
}
