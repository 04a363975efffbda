//! The binary among real programs and hostile sockets. `tests/setup` installs the programs.
//!
//! Long tests run shortened unless `MQWAY_TEST_WHOLE=1`; those that only make sense whole are ignored by default.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

#[path = "../support/mod.rs"]
#[allow(dead_code, reason = "shared with other test programs")]
mod support;

mod defects;
mod limits;
mod load;
mod matrix;
mod ping;
mod tap;
mod tls;
mod upstreams;
mod websocket;
mod wire;
