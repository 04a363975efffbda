//! The layers of bytes below MQTT, without I/O: URLs, TLS, WebSocket, tunnels through proxies, PROXY protocol.
//!
//! Nothing here knows a socket, a clock, a thread or a file. A [`Stack`] is the pile of layers of one connection; a
//! shell (an event loop, a simulator) moves bytes between it and the network:
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use std::sync::Arc;
//! use mqway_transport::{ClientOptions, ServerOptions, Stack, Stage, websocket};
//!
//! // A client that speaks WebSocket to a server that does.
//! let websocket = websocket::ClientOptions::new("broker.example", 80, false, "/mqtt")?;
//! let client = ClientOptions { websocket: Some(Arc::new(websocket)), ..ClientOptions::default() };
//! let server = ServerOptions { websocket: Some(Arc::default()), ..ServerOptions::default() };
//!
//! let (mut to_server, mut to_client) = (Vec::new(), Vec::new());
//! let mut client = Stack::client(&Arc::new(client), &mut to_server)?;
//! let mut server = Stack::server(&Arc::new(server), None);
//!
//! // What a shell does with sockets in between: here the bytes just change hands.
//! let mut scratch = Vec::new();
//! server.receive(&mut to_server, &mut scratch, &mut to_client)?;
//! to_server.clear();
//! let received = client.receive(&mut to_client, &mut scratch, &mut to_server)?;
//! assert!(received.opened);
//!
//! client.send(b"\xc0\x00", &mut to_server); // a PINGREQ, in one WebSocket message
//! let received = server.receive(&mut to_server, &mut scratch, &mut to_client)?;
//! assert_eq!(received.data, b"\xc0\x00");
//! # assert_eq!(server.stage(), Stage::Open);
//! # Ok(())
//! # }
//! ```
//!
//! Every part can be used alone: [`websocket`] with its own streaming API, [`proxy_protocol`], [`forwarded`],
//! [`tunnel`], [`url`], and the configurations of [`tls`].

#![forbid(unsafe_code)]

pub mod cidr;
pub mod error;
pub mod facts;
pub mod forwarded;
pub mod proxy_protocol;
pub mod stack;
pub mod tls;
pub mod tunnel;
pub mod url;
pub mod websocket;

pub use error::{Blame, Error, ErrorKind};
pub use stack::{ClientOptions, Gate, Received, ServerOptions, Stack, Stage};
pub use url::Url;
