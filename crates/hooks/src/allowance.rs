//! Memory that is taken by clients of whom nobody knows yet who they are.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What part of the bytes that are left one may take: so that who needs much leaves room for those who need little.
const PART: usize = 16;

/// A number of bytes that many share, over all threads.
#[derive(Clone, Debug)]
pub struct Allowance {
    taken: Arc<AtomicUsize>,
    most: usize,
}

/// Bytes that are taken, until it is dropped.
#[derive(Debug)]
pub struct Held {
    of: Arc<AtomicUsize>,
    bytes: usize,
}

impl Allowance {
    /// So many bytes.
    pub fn new(most: usize) -> Allowance {
        Allowance { taken: Arc::default(), most }
    }

    /// Takes some. `None` if that is more than a sixteenth of what is left.
    pub fn take(&self, bytes: usize) -> Option<Held> {
        let add = |taken| {
            let fits = bytes <= self.most.saturating_sub(taken) / PART;
            fits.then(|| taken + bytes)
        };
        self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add).ok()?;
        Some(Held { of: self.taken.clone(), bytes })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.of.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_takes_much_leaves_room_for_those_who_take_little() {
        let allowance = Allowance::new(64 * 1024 * 1024);
        let mut crowd = Vec::new();
        while let Some(held) = allowance.take(128 * 1024) {
            crowd.push(held);
        }
        assert!((400..512).contains(&crowd.len()), "{}", crowd.len());
        crowd.extend((0..20_000).map(|_| allowance.take(40).unwrap()));
        drop(crowd);
        assert_eq!(allowance.taken.load(Ordering::Relaxed), 0);
    }
}
