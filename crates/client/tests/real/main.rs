//! The client and real programs, each a process of the test's own: mosquitto, nginx, tinyproxy, microsocks, and the
//! examples. `tests/setup` installs what is missing.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod broker;
#[path = "../../../mqway/tests/support/certificates.rs"]
mod certificates;
mod cut;
mod examples;
mod link;
#[path = "../../../mqway/tests/support/process.rs"]
#[allow(dead_code, reason = "the tests of the binary use all of it")]
mod process;
mod programs;
mod reach;

use std::time::Duration;

use mqway_client::{Backoff, Options, Version};

/// How long anything that should happen at once may take on a busy machine.
pub const SOON: Duration = Duration::from_secs(10);

/// A client of 5.0 with a session that stays, which hurries to connect again.
fn persistent(client_id: &str) -> Options {
    Options {
        version: Version::V5,
        client_id: client_id.to_owned(),
        session_expiry: Some(Duration::from_secs(3600)),
        backoff: Backoff { first: Duration::from_millis(50), ..Backoff::default() },
        ..Options::default()
    }
}
