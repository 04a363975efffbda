//! The outbox: what survives `kill -9`, a full disk, and a server that forgets.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod broker;
mod kill;
#[path = "../../../mqway/tests/support/process.rs"]
#[allow(dead_code, reason = "the tests of the binary use all of it")]
mod process;
mod program;
mod script;
#[path = "../support/mod.rs"]
mod support;

use std::time::Duration;

/// How long anything that should happen at once may take on a busy machine.
pub const SOON: Duration = Duration::from_secs(10);
