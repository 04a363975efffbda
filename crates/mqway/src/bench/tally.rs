//! What a worker has counted and measured.

use std::collections::BTreeMap;
use std::ops::{AddAssign, Sub};

use super::histogram::Histogram;
use crate::failure::{Failure, Status};

/// Different reasons for failure that are told apart; a server that thinks of ever new ones fills no memory.
const MOST_REASONS: usize = 32;

/// What those beyond [`MOST_REASONS`] are counted as.
const OTHER_REASONS: &str = "other reasons";

macro_rules! counts {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Counters, which can be subtracted to see what a stretch of time has brought.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Counts {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl AddAssign for Counts {
            fn add_assign(&mut self, other: Counts) {
                $(self.$name = self.$name.saturating_add(other.$name);)*
            }
        }

        impl Sub for Counts {
            type Output = Counts;
            fn sub(self, other: Counts) -> Counts {
                Counts { $($name: self.$name.saturating_sub(other.$name),)* }
            }
        }
    };
}

counts! {
    /// Connections that the server has accepted.
    connected,
    /// Connections that came to nothing.
    failed,
    /// Connections that broke later.
    lost_connections,
    /// Messages published.
    sent,
    /// Messages of QoS 1 and 2 whose last acknowledgement has come.
    acknowledged,
    /// Messages that the server refused.
    refused,
    /// Messages received, whatever they are.
    received,
    /// Messages received that a run of ours has sent, each the first time.
    delivered,
    /// Messages received again.
    duplicated,
    /// Messages received after a later one of the same publisher.
    out_of_order,
    /// Messages received with another content than was sent, or that were never sent.
    corrupt,
    /// Messages received that do not come from a load generator.
    foreign,
    /// Messages that were sent and have not come, as far as is known when the run ends.
    lost,
    /// Messages that were due and could not be sent before the time was up.
    unsent,
}

/// All that one worker can tell, or all of them together.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Of the whole run.
    pub all: Counts,
    /// Of the time that is measured.
    pub measured: Counts,
    /// That time, in nanoseconds.
    pub nanos: u64,
    /// From dialling to CONNACK.
    pub connect: Histogram,
    /// From the first dial to the last CONNACK, in nanoseconds.
    pub connecting: u64,
    /// From when a message was meant to be sent until it was received.
    pub latency: Histogram,
    /// From when a message was meant to be sent until its last acknowledgement.
    pub acknowledgement: Histogram,
    /// From PINGREQ to PINGRESP.
    pub ping: Histogram,
    /// What went wrong, how often.
    pub failures: BTreeMap<String, (Status, u64)>,
}

impl Tally {
    /// Counts a failure by its reason.
    pub fn fail(&mut self, failure: Failure) {
        let full = self.failures.len() >= MOST_REASONS && !self.failures.contains_key(&failure.message);
        let reason = if full { OTHER_REASONS.to_owned() } else { failure.message };
        self.failures.entry(reason).or_insert((failure.status, 0)).1 += 1;
    }

    /// Adds what another worker has counted in the same time.
    pub fn merge(&mut self, other: Tally) {
        self.all += other.all;
        self.measured += other.measured;
        self.nanos = self.nanos.max(other.nanos);
        self.connecting = self.connecting.max(other.connecting);
        self.connect.merge(&other.connect);
        self.latency.merge(&other.latency);
        self.acknowledgement.merge(&other.acknowledgement);
        self.ping.merge(&other.ping);
        for (reason, (status, count)) in other.failures {
            self.failures.entry(reason).or_insert((status, 0)).1 += count;
        }
    }

    /// The failure that occurred most often.
    pub fn main_failure(&self) -> Option<(&str, Status, u64)> {
        let most = self.failures.iter().max_by_key(|(_, (_, count))| *count);
        most.map(|(reason, (status, count))| (reason.as_str(), *status, *count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_counted_and_their_number_is_bounded() {
        let mut tally = Tally::default();
        for index in 0..1_000 {
            tally.fail(Failure::new(Status::Lost, format_args!("reason {}", index % 500)));
        }
        assert_eq!(tally.failures.len(), MOST_REASONS + 1);
        assert_eq!(tally.failures["reason 7"], (Status::Lost, 2));
        assert_eq!(tally.failures.values().map(|(_, count)| count).sum::<u64>(), 1_000);
        assert_eq!(tally.main_failure().unwrap().0, OTHER_REASONS);
    }

    #[test]
    fn tallies_add_up() {
        let mut one = Tally { nanos: 5, ..Tally::default() };
        one.all.sent = 3;
        one.fail(Failure::other("x"));
        let mut two = one.clone();
        two.nanos = 9;
        two.fail(Failure::other("y"));
        one.merge(two);
        assert_eq!((one.all.sent, one.nanos, one.failures["x"].1, one.failures["y"].1), (6, 9, 2, 1));
        assert_eq!((one.all - Counts { sent: 2, ..Counts::default() }).sent, 4);
    }
}
