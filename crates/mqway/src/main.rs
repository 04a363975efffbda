//! MQTT over every transport: the binary. One file a subcommand; this one only finds out which.
#![forbid(unsafe_code)]

mod config;
mod failure;
mod quantity;

fn main() {}
