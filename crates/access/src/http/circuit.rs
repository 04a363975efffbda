//! Leaving a service alone that fails, so that not everybody waits for it in vain.

use std::time::{Duration, Instant};

/// So many failures in a row and it is left alone.
const FAILURES: u32 = 5;

/// The first rest, which doubles up to the longest.
const FIRST_REST: Duration = Duration::from_secs(1);
const LONGEST_REST: Duration = Duration::from_secs(60);

/// Whether the service may be asked.
#[derive(Debug, Default)]
pub(super) enum Circuit {
    /// It may; so many times in a row it has failed.
    #[default]
    Closed,
    /// It has failed, but not often enough.
    Failing(u32),
    /// It may not until then; how long this rest is.
    Resting(Instant, Duration),
    /// The rest is over and one question is on its way, which decides; since when, and how long the rest was.
    Probing(Instant, Duration),
}

impl Circuit {
    /// Whether a question may go there now. After a rest it is one question, and another one only if nothing has been
    /// heard of that one for as long as the longest rest.
    pub fn admits(&mut self, now: Instant) -> bool {
        let (since, rest) = match *self {
            Circuit::Closed | Circuit::Failing(_) => return true,
            Circuit::Resting(until, rest) => (until, rest),
            Circuit::Probing(begun, rest) => (begun + LONGEST_REST, rest),
        };
        if now < since {
            return false;
        }
        *self = Circuit::Probing(now, rest);
        true
    }

    /// Whether a question that was admitted before would still be worth it.
    pub fn is_resting(&self) -> bool {
        matches!(self, Circuit::Resting(..))
    }

    /// A question was not asked in time. If it was the one that decides, the next one is.
    pub fn undecided(&mut self, now: Instant) {
        if let Circuit::Probing(_, rest) = *self {
            *self = Circuit::Resting(now, rest);
        }
    }

    /// A question was answered. Whether that is the end of its being left alone.
    pub fn succeeded(&mut self) -> bool {
        let before = std::mem::take(self);
        matches!(before, Circuit::Resting(..) | Circuit::Probing(..))
    }

    /// A question was not answered. How long the rest is, if one begins with that.
    pub fn failed(&mut self, now: Instant) -> Option<Duration> {
        let rest = match *self {
            Circuit::Closed => {
                *self = Circuit::Failing(1);
                return None;
            }
            Circuit::Failing(times) if times + 1 < FAILURES => {
                *self = Circuit::Failing(times + 1);
                return None;
            }
            Circuit::Failing(_) => FIRST_REST,
            // Answers to questions from before count no more.
            Circuit::Resting(..) => return None,
            Circuit::Probing(_, rest) => rest.saturating_mul(2).min(LONGEST_REST),
        };
        *self = Circuit::Resting(now + rest, rest);
        Some(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_failures_in_a_row_bring_rests_that_double() {
        let (mut now, mut circuit) = (Instant::now(), Circuit::default());
        for _ in 0..4 {
            assert_eq!(circuit.failed(now), None);
        }
        assert!(!circuit.succeeded());
        for _ in 0..5 {
            assert!(circuit.admits(now));
            circuit.failed(now);
        }
        for rest in [1, 2, 4, 8, 16, 32, 60, 60] {
            let rest = Duration::from_secs(rest);
            assert!(circuit.is_resting() && !circuit.admits(now) && !circuit.admits(now + rest / 2));
            now += rest;
            assert!(circuit.admits(now), "one may try");
            assert!(!circuit.admits(now), "and only one");
            assert!(circuit.failed(now).is_some());
            assert_eq!(circuit.failed(now), None, "a late one changes nothing");
        }
        now += LONGEST_REST;
        assert!(circuit.admits(now));
        assert!(circuit.succeeded());
        assert!(circuit.admits(now) && circuit.admits(now));
    }

    #[test]
    fn a_probe_that_is_never_heard_of_again_is_not_the_end() {
        let now = Instant::now();
        let mut circuit = Circuit::Resting(now, FIRST_REST);
        assert!(circuit.admits(now));
        assert!(!circuit.admits(now + Duration::from_secs(59)));
        assert!(circuit.admits(now + LONGEST_REST));
    }
    #[test]
    fn a_probe_that_was_never_asked_lets_the_next_one_decide() {
        let now = Instant::now();
        let mut circuit = Circuit::Resting(now, FIRST_REST);
        assert!(circuit.admits(now) && !circuit.admits(now));
        circuit.undecided(now);
        assert!(circuit.admits(now) && !circuit.admits(now));
        circuit.succeeded();
        circuit.undecided(now);
        assert!(circuit.admits(now) && circuit.admits(now), "nothing was undecided");
    }
}
