//! WebSocket (RFC 6455) without I/O: both roles, the HTTP handshake and the framing.
//!
//! A [`ServerHandshake`] or [`ClientHandshake`] takes the bytes of a new socket and ends in a [`Connection`], which
//! then takes every further byte. What is to be sent is always appended to a buffer of the caller's.
//!
//! Two ways to read:
//! - [`Connection::read`] yields [`Event`]s: pieces of messages with their kind and bounds, pings, pongs, the close.
//! - [`Connection::read_stream`] is for protocols that see the payloads as one stream of bytes, MQTT above all
//!   [MQTT-6.0.0-2]: it unmasks and compacts a whole read buffer in place.
//!
//! Nothing here holds a message: payload is handed on as it arrives, whatever its frame's length claims. What a
//! connection may keep is a partial frame header or control frame and one pong, less than 400 bytes in all.
//!
//! Pings, closes and violations are answered by the read functions themselves. Extensions are neither offered nor
//! accepted.
//!
//! ```
//! use std::sync::Arc;
//! use mqway_transport::websocket::*;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (mut to_server, mut to_client) = (Vec::new(), Vec::new());
//! let options = ClientOptions::new("broker.example.org", 80, false, "/mqtt")?;
//! let mut client = ClientHandshake::start(Arc::new(options), &mut to_server)?;
//! let mut server = ServerHandshake::new(Arc::new(ServerOptions::default()));
//! let mut server = server.feed(&to_server, &mut to_client)?.expect("a whole request").connection;
//! let mut client = client.feed(&to_client)?.expect("a whole response").connection;
//!
//! to_server.clear();
//! client.write_message(MessageKind::Binary, b"ping", &mut to_server)?;
//! client.close(CloseCode::NORMAL, "", &mut to_server);
//! let Streamed { data, end } = server.read_stream(&mut to_server, &mut to_client);
//! assert_eq!(&to_server[data], b"ping");
//! assert!(matches!(end, Some(End::Close(_))));
//! # Ok(())
//! # }
//! ```

mod close;
mod connection;
mod frame;
mod handshake;
mod mask;
mod stream;
mod utf8;
mod violation;
mod write;

pub use close::{CloseCode, CloseFrame, MAX_REASON};
pub use connection::{Connection, ControlPayload, Event, MAX_PONGS_PER_READ};
pub use handshake::{
    Accepted, ClientHandshake, ClientOptions, Connected, HandshakeError, InvalidOption, OriginPattern,
    Origins, Refused, RefusedByServer, ServerHandshake, ServerOptions,
};
pub use stream::{End, Streamed};
pub use violation::Violation;
pub use write::WriteError;

/// Which end of the connection this is. A client masks what it sends, a server does not (RFC 6455 §5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The end that dialled and sent the upgrade request.
    Client,
    /// The end that accepted it.
    Server,
}

/// What a message says it contains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageKind {
    /// UTF-8 text (opcode 1).
    Text,
    /// Bytes (opcode 2).
    Binary,
}

/// What to do about text messages of the peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TextPolicy {
    /// Close with 1003: MQTT travels in binary frames only [MQTT-6.0.0-1].
    #[default]
    Refuse,
    /// Take them and check, as the bytes arrive, that they are UTF-8.
    Accept,
}

/// What a [`Connection`] lets its peer do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The longest message in bytes, over all its fragments; a longer one is answered with 1009 as soon as a frame
    /// header announces it.
    pub max_message: u64,
    /// Text messages.
    pub text: TextPolicy,
}

/// The longest MQTT packet there is: a fixed header of five bytes and 268,435,455 more.
pub const LONGEST_MQTT_PACKET: u64 = 268_435_460;

impl Default for Limits {
    fn default() -> Limits {
        Limits { max_message: LONGEST_MQTT_PACKET, text: TextPolicy::Refuse }
    }
}
