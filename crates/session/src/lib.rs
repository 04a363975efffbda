//! The state of an MQTT connection and of the session that outlives it, for both sides, without I/O.
//!
//! Nothing here knows a socket, a clock, a thread or a runtime: bytes and the time come in as arguments, packets and
//! events come out. The parts serve client and server alike:
//!
//! - [`Outbound`]: messages of QoS 1 and 2 on their way out, from the queue through the window to their last
//!   acknowledgement, across connections; and the packet identifiers.
//! - [`Inbound`]: which messages of QoS 2 have come already, and what Receive Maximum allows.
//! - [`alias`]: topic aliases in both directions.
//! - [`keep_alive`]: who has been silent for too long.
//!
//! [`client::Client`] puts them together to the client's side of MQTT 3.1, 3.1.1 and 5.0, [`server`] to the server's.
//!
//! ```
//! use std::time::Duration;
//! use mqway_codec::{Connect, Version};
//! use mqway_session::client::{Client, Event, Message, Options, Outcome};
//!
//! let now = Duration::ZERO; // since whenever the program likes
//! let mut client = Client::new(Options::new(Version::V3_1_1));
//! client.publish(now, 1, Message::new("hello", "world")).unwrap();
//!
//! // A connection is there: write what the client has to say, and give it what comes.
//! client.begin(now, &Connect::new(Version::V3_1_1, "example"))?;
//! assert_eq!(client.output().packets().count(), 1); // CONNECT
//! client.output().clear();
//! client.handle(now, b"\x20\x02\x00\x00")?; // CONNACK
//!
//! assert!(matches!(client.next_event(), Some(Event::Connected { session_present: false, .. })));
//! assert_eq!(client.next_event(), Some(Event::Published { ticket: 1, outcome: Outcome::Sent }));
//! assert_eq!(client.output().as_bytes(), b"\x30\x0c\x00\x05helloworld");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod alias;
pub mod client;
mod inbound;
pub mod keep_alive;
mod outbound;
pub mod server;

pub use inbound::{Arrival, Inbound};
pub use outbound::{Drained, Full, Outbound, Outgoing, Ready, UnknownId};
