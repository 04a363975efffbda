//! The MQTT broker, for 3.1, 3.1.1 and 5.0, to be run by `mqway broker` or inside a program of your own.
//!
//! [`Broker`] starts it. It runs on the engine's workers, which share nothing but the index of subscriptions, the
//! retained messages and counters: each client's session is at home on one worker, by the hash of its identifier,
//! and whoever accepts its connection hands that over once CONNECT is read. A message is taken to sessions of the same
//! worker by a direct call, and to others in the batch that each worker gives each other one at the end of a tick.
//!
//! With [`Config::hooks`] others decide who connects and what flows; see [`hooks`].
//!
//! The walk of one message can be read from `house.rs` (serve, publish) through `deliver.rs` (distribute, deliver,
//! pump) to `writer.rs`.

#![forbid(unsafe_code)]

mod admit;
mod broker;
mod clients;
mod config;
mod core;
mod counters;
mod deliver;
mod delivery;
mod familiar;
mod guest;
mod house;
mod judge;
mod loads;
mod local;
mod login;
mod mail;
mod message;
mod offer;
mod payload;
mod retained;
mod row;
mod server;
mod sessions;
mod shared;
mod simulated;
mod subscribe;
mod sys;
#[cfg(test)]
mod tests;
mod waiting;
mod writer;

pub use broker::{Broker, Builder, MOST_WAITING, NotTaken, Subscription};
pub use config::{Config, Limits, MAXIMUM_PACKET, QueueFull};
pub use counters::{Counters, Snapshot};
pub use message::Message;
pub use mqway_hooks as hooks;
pub use mqway_session::server::Terms;
pub use payload::Payload;
pub use simulated::{Left, Simulated};
