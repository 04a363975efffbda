//! The binary among real programs and hostile sockets. `tests/setup` installs the programs.
//!
//! Long tests run shortened by default; the whole ones are marked `long` and ignored until asked for.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

#[path = "../support/mod.rs"]
#[allow(dead_code, reason = "shared with other test programs")]
mod support;

mod access;
mod bans;
mod bench;
mod broker;
mod broker_signals;
mod commands;
mod defects;
mod expiry;
mod hooks;
mod keys;
mod limits;
mod load;
mod matrix;
mod page;
mod passwd;
mod permissions;
mod ping;
mod plugin;
mod rates;
mod recorder;
mod reload;
mod same;
mod scram;
mod services;
mod side_by_side;
mod storms;
mod tap;
mod tls;
mod tokens;
mod topics;
mod upstreams;
mod webhooks;
mod websocket;
mod wire;
