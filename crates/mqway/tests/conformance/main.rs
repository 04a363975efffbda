//! What the specifications of MQTT demand of a server, by their sections, as a client sees it on the wire: byte by byte,
//! in all versions to which it applies, over TCP, TLS, WebSocket, both, and through our own proxy.
//!
//! A scenario is written once. [`stage::everywhere`] plays it over each way at the same time, so that those that have to
//! wait for something wait together. All of them share one broker, and one with narrow limits; client identifiers
//! and topics are each scenario's own.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

#[path = "../support/mod.rs"]
#[allow(dead_code, reason = "shared with other test programs")]
mod support;

mod client;
mod fields;
mod stage;
mod wire;

mod acknowledgements;
mod auth;
mod connect;
mod disconnect;
mod flow_control;
mod keep_alive;
mod limits;
mod malformed;
mod publish;
mod retained;
mod sessions;
mod shared;
mod subscribe;
mod topic_alias;
mod topics;
mod unsubscribe;
mod websocket;
mod wills;
