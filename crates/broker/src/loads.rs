//! How much each member of a shared subscription has to do, for all workers to see.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

/// Names a session's load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LoadId(NonZeroU32);

/// A table of loads that grows and never moves, so that to look takes no lock.
pub(crate) struct Loads {
    chunks: Box<[OnceLock<Box<[AtomicU32]>>]>,
    free: Mutex<Free>,
}

#[derive(Default)]
struct Free {
    given_back: Vec<NonZeroU32>,
    used: u32,
}

/// Loads of one chunk.
const CHUNK: usize = 4096;
/// Chunks there may be: sixteen million sessions with shared subscriptions.
const CHUNKS: usize = 4096;
/// Set while the member cannot be sent anything: it has no connection, or does not read.
const AWAY: u32 = 1 << 31;

impl Loads {
    pub fn new() -> Loads {
        Loads { chunks: (0..CHUNKS).map(|_| OnceLock::new()).collect(), free: Mutex::default() }
    }

    /// A load of nothing. `None` if there are too many.
    pub fn add(&self) -> Option<LoadId> {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let number = match free.given_back.pop() {
            Some(number) => number,
            None => {
                free.used += 1;
                NonZeroU32::new(free.used).filter(|number| number.get() < (CHUNK * CHUNKS) as u32)?
            }
        };
        let id = LoadId(number);
        self.cell(id).store(0, Ordering::Relaxed);
        Some(id)
    }

    /// Gives a load back.
    pub fn remove(&self, id: LoadId) {
        self.free.lock().unwrap_or_else(PoisonError::into_inner).given_back.push(id.0);
    }

    /// How many there are.
    pub fn in_use(&self) -> usize {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        free.used as usize - free.given_back.len()
    }

    /// One more message is on its way to the member.
    pub fn more(&self, id: LoadId) {
        self.cell(id).fetch_add(1, Ordering::Relaxed);
    }

    /// The member is done with one.
    pub fn less(&self, id: LoadId) {
        // Never below nothing, nor into the other bit.
        let less = |load: u32| (load & !AWAY > 0).then(|| load - 1);
        let _ = self.cell(id).fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }

    /// Whether the member can be sent something.
    pub fn set_away(&self, id: LoadId, away: bool) {
        if away {
            self.cell(id).fetch_or(AWAY, Ordering::Relaxed);
        } else {
            self.cell(id).fetch_and(!AWAY, Ordering::Relaxed);
        }
    }

    /// The less it is, the better the member can take another message.
    pub fn of(&self, id: LoadId) -> u32 {
        self.cell(id).load(Ordering::Relaxed)
    }

    fn cell(&self, id: LoadId) -> &AtomicU32 {
        let number = id.0.get() as usize;
        let chunk = self.chunks[number / CHUNK % CHUNKS]
            .get_or_init(|| (0..CHUNK).map(|_| AtomicU32::new(0)).collect());
        &chunk[number % CHUNK]
    }
}

impl fmt::Debug for Loads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loads").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_is_away_has_more_to_do_than_anybody_here() {
        let loads = Loads::new();
        let (here, away) = (loads.add().unwrap(), loads.add().unwrap());
        loads.set_away(away, true);
        for _ in 0..100 {
            loads.more(here);
        }
        assert!(loads.of(here) < loads.of(away));
        loads.less(away);
        loads.set_away(away, false);
        assert_eq!(loads.of(away), 0);
        loads.remove(here);
        assert_eq!(loads.add(), Some(here));
        assert_eq!(loads.of(here), 0);
    }
}
