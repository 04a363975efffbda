//! A client of packets written out by hand, over TCP or WebSocket.

use super::packets::{self, Connect, Level, PINGREQ, PINGRESP, V3_1_1, V5};
use super::websocket::{MQTT, Response, WebSocket, binary, exchange, request};
use super::{address, dial_tcp};
use std::io::Write;
use std::net::TcpStream;

/// A connection to a server.
pub enum Raw {
    Tcp(TcpStream),
    WebSocket(WebSocket),
}

impl Raw {
    /// By the URL of a listener. Over WebSocket with these further lines of header; the response if it is refused.
    pub fn open(url: &str, further: &str) -> Result<Raw, Response> {
        if !url.starts_with("ws:") {
            return Ok(Raw::Tcp(dial_tcp(address(url))));
        }
        let path = url.splitn(4, '/').nth(3).unwrap_or_default();
        let further = if further.to_ascii_lowercase().contains("sec-websocket-protocol:") {
            further.to_owned()
        } else {
            format!("{MQTT}{further}")
        };
        let mut stream = dial_tcp(address(url));
        let response = exchange(&mut stream, &request(&format!("/{path}"), &further));
        match response.status {
            101 => Ok(Raw::WebSocket(WebSocket::opened(stream))),
            _ => Err(response),
        }
    }

    /// Connects. The CONNACK's code, and the connection.
    pub fn connect(url: &str, further: &str, connect: &Connect<'_>) -> (u8, Raw) {
        let mut raw = Raw::open(url, further).unwrap_or_else(|response| panic!("{url}: {response:?}"));
        raw.send(&connect.bytes());
        let connack = raw.read().expect("a CONNACK");
        assert_eq!(connack[0], 0x20, "{connack:02x?}");
        let length_ends = 2 + usize::from(connack[1] >= 0x80);
        (connack[length_ends + 1], raw)
    }

    pub fn send(&mut self, packet: &[u8]) {
        match self {
            Raw::Tcp(stream) => stream.write_all(packet).expect("it can be sent"),
            Raw::WebSocket(websocket) => websocket.send(&binary(packet)),
        }
    }

    /// The next packet; `None` at the end.
    pub fn read(&mut self) -> Option<Vec<u8>> {
        match self {
            Raw::Tcp(stream) => packets::read(stream),
            Raw::WebSocket(websocket) => {
                let frame = websocket.frame()?;
                (frame.opcode == super::websocket::BINARY).then_some(frame.payload)
            }
        }
    }

    /// Whether it is still there, and has nothing else to say.
    pub fn is_alive(&mut self) -> bool {
        self.send(&PINGREQ);
        self.read().as_deref() == Some(&PINGRESP)
    }

    /// Publishes with QoS 1; the code of the answer, which only 5.0 has.
    pub fn publish(&mut self, level: Level, topic: &str) -> u8 {
        self.send(&packets::publish(level, topic, 1, 1, b"x"));
        let puback = self.read().expect("a PUBACK");
        assert_eq!(puback[0], 0x40, "{puback:02x?}");
        puback.get(4).copied().unwrap_or_default()
    }

    /// Subscribes with QoS 0; the code of the answer.
    pub fn subscribe(&mut self, level: Level, filter: &str) -> u8 {
        self.send(&packets::subscribe(level, 1, filter, 0));
        let suback = self.read().expect("a SUBACK");
        assert_eq!(suback[0], 0x90, "{suback:02x?}");
        suback.last().copied().unwrap()
    }
}

/// The levels in which codes differ.
pub const CODED: [Level; 2] = [V3_1_1, V5];
