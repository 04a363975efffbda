//! Counters that go up with each change, so that who remembers a route can tell whether it still stands.

use std::sync::atomic::{AtomicU64, Ordering};

/// How many counters there are. With one for all, each change would void every route that anybody remembers; with so
/// many, ten thousand changes a second, each to another stem, void a given route two or three times a second by chance.
/// They take 32 KiB, which stay in a core's cache. A power of two.
const COUNTERS: usize = 4096;

/// One counter for some of the stems, picked by hash.
#[derive(Debug)]
pub(super) struct Generations(Box<[AtomicU64; COUNTERS]>);

/// The state of the index, as far as it matters to one topic.
///
/// A route with a stamp is good for as long as [`crate::SubscriptionIndex::is_current`] says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Where the filters are counted that could match: one for each kind of [`super::path::Stem`].
    counters: [u16; 4],
    /// Of these counters. As none ever goes down, the sum is the same only if each is.
    sum: u64,
}

impl Stamp {
    /// That of no state of any index.
    pub(crate) const NEVER: Self = Self { counters: [0; 4], sum: u64::MAX };
}

impl Generations {
    pub fn new() -> Self {
        Self(Box::new([const { AtomicU64::new(0) }; COUNTERS]))
    }

    /// Where a stem with this hash is counted.
    pub fn counter(hash: u64) -> u16 {
        (hash >> 48) as u16 % COUNTERS as u16
    }

    /// Voids the routes of all topics that a filter with this stem could match. To be called after the change and
    /// before anybody is told of it: whoever has seen the old state has then read the counter before, and sees it
    /// change; whoever read it after, sees the new state.
    pub fn advance(&self, counter: u16) {
        self.0[usize::from(counter) % COUNTERS].fetch_add(1, Ordering::Release);
    }

    /// To be taken before the index is looked into.
    pub fn stamp(&self, counters: [u16; 4]) -> Stamp {
        Stamp { counters, sum: self.sum(counters) }
    }

    pub fn is_current(&self, stamp: &Stamp) -> bool {
        self.sum(stamp.counters) == stamp.sum
    }

    fn sum(&self, counters: [u16; 4]) -> u64 {
        let read = |counter: u16| self.0[usize::from(counter) % COUNTERS].load(Ordering::Acquire);
        counters.into_iter().map(read).fold(0, u64::wrapping_add)
    }
}
