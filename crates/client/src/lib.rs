//! An MQTT client that survives every reconnect: 3.1, 3.1.1 and 5.0 over TCP, TLS, WebSocket, secure WebSocket and
//! Unix sockets.
//!
//! The connection is owned by a task of the library's own: keep alive, acknowledgements and reconnects go on whatever
//! the program does or doesn't await.
//!
//! ```no_run
//! use mqway_client::{Client, Endpoint, Message, QoS};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::start(Endpoint::new("ws://localhost:8083/mqtt"), Default::default());
//! let mut greetings = client.subscribe("greetings/#", QoS::AtLeastOnce).await?;
//!
//! // Resolves when the server has acknowledged it, also if the connection is lost meanwhile.
//! client.publish(Message { qos: QoS::AtLeastOnce, ..Message::new("greetings/all", "hello") }).await?;
//!
//! if let Some(greeting) = greetings.next().await {
//!     println!("{}: {}", greeting.topic, String::from_utf8_lossy(&greeting.payload));
//! }
//! client.disconnect().await;
//! # Ok(())
//! # }
//! ```
//!
//! A token that expires is asked for anew at each attempt to connect:
//!
//! ```no_run
//! use mqway_client::{Client, Endpoint, Options};
//!
//! # async fn fetch_token() -> String { String::new() }
//! # fn example() {
//! let client = Client::start_with(
//!     |_attempt| async { Endpoint::new("wss://broker.example.com/mqtt").user("me", fetch_token().await) },
//!     Options::default(),
//! );
//! # drop(client);
//! # }
//! ```

#![forbid(unsafe_code)]

mod authentication;
mod backlog;
mod backoff;
mod books;
mod client;
mod delivery;
mod endpoint;
mod error;
mod events;
mod hold;
mod options;
mod outbox;
mod redirect;
mod request;
mod subscription;
mod task;
mod wire;

pub use authentication::{Authentication, Exchange};
pub use backoff::Backoff;
pub use client::Client;
pub use delivery::{Delivery, Stored};
pub use endpoint::Endpoint;
pub use error::{ConnectError, PublishError, RequestError, SubscribeError};
pub use events::{ConnectionEvent, Events};
pub use mqway_codec::{PropertiesBuf, Property, QoS, ReasonCode, RetainHandling, SubscribeOptions, Version};
pub use mqway_session::client::{
    AckToken, Change, Incoming, Message, Notice, Progress, Receipt, Saved, SessionLost,
    Subscription as Wanted,
};
pub use options::Options;
pub use outbox::{Content, MemoryStore, Outbox, OutboxError, Store};
pub use request::Requester;
pub use subscription::Subscription;

/// An identifier that nobody else has, in letters that every server takes.
pub(crate) fn random_client_id() -> String {
    format!("mqway{}", random_name())
}

/// Sixteen letters by chance.
pub(crate) fn random_name() -> String {
    let mut bytes = [0; 8];
    // Without chance the time still tells clients apart.
    if getrandom::fill(&mut bytes).is_err() {
        let time = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        bytes = (time.as_nanos() as u64).to_ne_bytes();
    }
    format!("{:016x}", u64::from_ne_bytes(bytes))
}

/// Compiles what the README shows.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
