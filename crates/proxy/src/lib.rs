//! The MQTT proxy: clients over any transport, to servers over any transport.
//!
//! One client connection is one upstream connection. The proxy reads the client's CONNECT, chooses an upstream by
//! the client identifier, dials it and passes packets both ways, whole and in order: a packet that nobody asked to
//! change leaves as the bytes that came. It looks at every packet, and ends a connection whose packets are none.
//!
//! What it never does: pool or repeat upstream connections, answer PINGREQ itself, send DISCONNECT to a client
//! that speaks 3.1 or 3.1.1.
//!
//! ```no_run
//! use mqway_engine::{Bind, Listener};
//! use mqway_proxy::{Config, Proxy, Upstream};
//!
//! let config = Config {
//!     listeners: vec![Listener::new(Bind::tcp("127.0.0.1", 1884))],
//!     upstreams: vec![Upstream::tcp("127.0.0.1", 1883)],
//!     ..Config::default()
//! };
//! let proxy = Proxy::start(config)?;
//! println!("listening at {}", proxy.addresses()[0]);
//! # Ok::<(), mqway_engine::StartError>(())
//! ```

#![forbid(unsafe_code)]

mod aliases;
mod answer;
mod config;
mod connect;
mod core;
mod counters;
mod familiar;
mod flow;
mod guard;
mod judge;
mod link;
mod login;
mod merge;
mod observer;
mod pass;
mod proxy;
mod server;
#[cfg(test)]
mod tests;
mod upstreams;
mod who;

pub use config::{Config, LARGEST_PACKET, Limits, Upstream};
pub use counters::{Counters, Snapshot};
pub use observer::{Direction, LinkId, Observer, Seen};
pub use proxy::Proxy;
