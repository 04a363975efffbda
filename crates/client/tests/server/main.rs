//! The client against a server that the test plays over a real socket, and that does what no server should.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod peer;
mod waits;
