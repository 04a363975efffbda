//! How asking a web service has gone.

use std::sync::atomic::{AtomicU64, Ordering};

use super::answer::{By, Trouble};

/// How asking has gone so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServiceCounters {
    /// Questions that there were, however they were answered.
    pub asked: u64,
    /// Questions that the service has answered.
    pub answered: u64,
    /// Questions that an earlier answer has answered.
    pub from_cache: u64,
    /// Questions that it failed to answer.
    pub failed: u64,
    /// Questions that weren't asked because it is being left alone.
    pub resting: u64,
    /// Questions that weren't asked because too many were waiting.
    pub full: u64,
    /// Questions whose time was over before the service could be asked, or had had half of it.
    pub late: u64,
    /// Questions that wait for a thread, at this moment.
    pub waiting: u64,
}

impl ServiceCounters {
    /// Each with its name.
    pub fn each(&self) -> impl Iterator<Item = (&'static str, u64)> + use<> {
        let ServiceCounters { asked, answered, from_cache, failed, resting, full, late, waiting } = *self;
        [
            ("asked", asked),
            ("answered", answered),
            ("from_cache", from_cache),
            ("failed", failed),
            ("resting", resting),
            ("full", full),
            ("late", late),
            ("waiting", waiting),
        ]
        .into_iter()
    }
}

/// What is counted by one service after the other, when its settings are read again.
#[derive(Debug, Default)]
pub(super) struct Tally {
    asked: AtomicU64,
    answered: AtomicU64,
    from_cache: AtomicU64,
    failed: AtomicU64,
    resting: AtomicU64,
    full: AtomicU64,
    late: AtomicU64,
}

impl Tally {
    pub fn asked(&self) {
        self.asked.fetch_add(1, Ordering::Relaxed);
    }

    pub fn answered(&self, by: By) {
        let counter = match by {
            By::Service => &self.answered,
            By::Cache => &self.from_cache,
            By::Fallback(Trouble::Failed) => &self.failed,
            By::Fallback(Trouble::Resting) => &self.resting,
            By::Fallback(Trouble::Full) => &self.full,
            By::Fallback(Trouble::Late) => &self.late,
            By::Fallback(Trouble::Stopped) => return,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub fn snapshot(&self, waiting: usize) -> ServiceCounters {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        ServiceCounters {
            asked: read(&self.asked),
            answered: read(&self.answered),
            from_cache: read(&self.from_cache),
            failed: read(&self.failed),
            resting: read(&self.resting),
            full: read(&self.full),
            late: read(&self.late),
            waiting: waiting as u64,
        }
    }
}
