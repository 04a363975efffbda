//! The broker in simulated networks, with clients that a schedule leads and checkers that know what must come of it.
//! The fuzz targets call [`broker_schedule`] and [`broker_bytes`] with what they invent; the tests beside this directory
//! with the corpus, and [`simulate`] with seeds.

// Each of those includes this module and uses its own part of it.
#![allow(dead_code, clippy::unwrap_used)]

mod actor;
mod bytes;
mod choices;
mod delivery;
mod history;
mod order;
mod presence;
mod retained;
mod schedule;
mod shares;
mod thoughts;
mod wills;

use choices::Choices;
use schedule::Run;
use thoughts::Thoughts;

pub use bytes::broker_bytes;

/// What takes any bytes, and panics at a fault.
pub type Check = fn(&[u8]);

/// The fuzz targets by name. Each has its corpus in `fuzz/corpus`.
pub const TARGETS: &[(&str, Check)] = &[("broker_bytes", broker_bytes), ("broker_schedule", broker_schedule)];

/// Steps of a schedule that bytes decide: as many as there are bytes for, and no more than these.
const MOST_STEPS: usize = 300;

/// Reads the input as a schedule of connects, subscriptions, messages, cuts and so on, and checks what comes of it.
pub fn broker_schedule(input: &[u8]) {
    Run::new(Choices::Bytes(input), None).play(MOST_STEPS, false);
}

/// Plays the schedule that a seed decides; `thoughtful` with a hook that takes its time.
///
/// # Panics
/// With what is wrong, if anything is. The trace of all that happened is then printed, by a second run.
pub fn simulate(seed: u64, steps: usize, thoughtful: bool) {
    let play = |traced| {
        std::panic::catch_unwind(|| {
            let thoughts = thoughtful.then(|| Thoughts::of_seed(seed));
            Run::new(Choices::of_seed(seed), thoughts).play(steps, traced);
        })
    };
    if play(false).is_err() {
        eprintln!("seed {seed}, {steps} steps:");
        let fault = play(true).expect_err("the same seed does the same again");
        std::panic::resume_unwind(fault);
    }
}
