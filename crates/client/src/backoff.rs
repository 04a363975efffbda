//! How long to wait before the next attempt to connect.

use std::time::Duration;

/// No wait is longer, whatever was asked for.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Exponential backoff with jitter: each failure in a row doubles the bound, and the wait is anywhere below it.
///
/// A connection counts as good only once it has lasted [`Backoff::stable`]: a server that accepts and drops at once
/// is a failing server.
///
/// ```
/// use std::time::Duration;
/// use mqway_client::{Backoff, Options};
///
/// // After 0.1, 0.2, 0.4 and so on up to ten seconds, less up to half of each by chance.
/// let backoff =
///     Backoff { first: Duration::from_millis(100), most: Duration::from_secs(10), ..Backoff::default() };
/// let options = Options { backoff, ..Options::default() };
/// # assert_eq!(options.backoff.stable, Duration::from_secs(10));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The bound after the first failure.
    pub first: Duration,
    /// The highest bound.
    pub most: Duration,
    /// How long a connection must last to forget the failures before it.
    pub stable: Duration,
}

impl Default for Backoff {
    /// From half a second to half a minute; ten seconds make a connection good.
    fn default() -> Backoff {
        Backoff {
            first: Duration::from_millis(500),
            most: Duration::from_secs(30),
            stable: Duration::from_secs(10),
        }
    }
}

impl Backoff {
    /// The wait after `failures` in a row (at least one). `chance` is a number below 2^32, each equally likely.
    pub(crate) fn wait(&self, failures: u32, chance: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(20);
        let bound = self.first.saturating_mul(1 << doublings).min(self.most).min(LONGEST);
        // Never less than half of it, so that a storm of clients spreads without hurrying.
        let share = 0.5 + f64::from(chance) / f64::from(u32::MAX) / 2.0;
        bound.mul_f64(share)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_most_and_are_spread() {
        let backoff = Backoff::default();
        let millis = |failures, chance| backoff.wait(failures, chance).as_millis();
        assert_eq!((millis(1, 0), millis(1, u32::MAX)), (250, 500));
        assert_eq!((millis(3, 0), millis(3, u32::MAX)), (1_000, 2_000));
        assert_eq!((millis(1_000, 0), millis(1_000, u32::MAX)), (15_000, 30_000));
    }
}
