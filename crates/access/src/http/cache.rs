//! Answers that still hold.

use std::collections::{HashMap, VecDeque};
use std::time::Instant;

use super::answer::Verdict;
use super::question::Key;

/// What an entry weighs besides the answer's own bytes.
const ENTRY: usize = 256;

struct Entry {
    verdict: Verdict,
    until: Instant,
    weight: usize,
    /// Tells it from what came before it in its place.
    number: u64,
}

/// At most so many bytes of answers; the oldest make room.
pub(super) struct Cache {
    entries: HashMap<Key, Entry>,
    order: VecDeque<(Key, u64)>,
    weight: usize,
    most: usize,
    next: u64,
}

impl Cache {
    pub fn new(most: usize) -> Cache {
        Cache { entries: HashMap::new(), order: VecDeque::new(), weight: 0, most, next: 0 }
    }

    pub fn find(&self, key: &Key, now: Instant) -> Option<Verdict> {
        self.entries.get(key).filter(|entry| now < entry.until).map(|entry| entry.verdict.clone())
    }

    /// `length`: of the answer, in bytes.
    pub fn insert(&mut self, key: Key, verdict: Verdict, until: Instant, length: usize) {
        let weight = length.saturating_add(ENTRY);
        if weight > self.most {
            return;
        }
        self.remove(&key);
        self.next += 1;
        self.weight += weight;
        self.entries.insert(key, Entry { verdict, until, weight, number: self.next });
        self.order.push_back((key, self.next));
        // Places of what has been replaced are given up here, too, so that the order stays as short as the entries
        // are few.
        while self.weight > self.most || self.order.len() > self.most / ENTRY {
            let Some((oldest, number)) = self.order.pop_front() else { break };
            if self.entries.get(&oldest).is_some_and(|entry| entry.number == number) {
                self.remove(&oldest);
            }
        }
    }

    fn remove(&mut self, key: &Key) {
        if let Some(entry) = self.entries.remove(key) {
            self.weight = self.weight.saturating_sub(entry.weight);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::http::{Question, Refusal, Who};

    fn key(number: u32) -> Key {
        Question::Subscribe { who: Who::default(), filter: &number.to_string(), qos: 0 }.key()
    }

    #[test]
    fn answers_hold_until_their_time() {
        let (now, mut cache) = (Instant::now(), Cache::new(10_000));
        cache.insert(key(1), Verdict::Ignore, now + Duration::from_secs(5), 10);
        assert_eq!(cache.find(&key(1), now), Some(Verdict::Ignore));
        assert_eq!(cache.find(&key(1), now + Duration::from_secs(5)), None);
        assert_eq!(cache.find(&key(2), now), None);
        cache.insert(key(1), Verdict::Deny(Refusal::default()), now + Duration::from_secs(9), 10);
        assert_eq!(
            cache.find(&key(1), now + Duration::from_secs(5)),
            Some(Verdict::Deny(Refusal::default()))
        );
    }

    #[test]
    fn memory_is_bounded_whatever_is_asked() {
        let (now, mut cache) = (Instant::now(), Cache::new(100 * ENTRY));
        for number in 0..10_000 {
            cache.insert(key(number), Verdict::Ignore, now + Duration::from_secs(5), 0);
            cache.insert(key(0), Verdict::Ignore, now + Duration::from_secs(5), 0);
            assert!(cache.weight <= 100 * ENTRY && cache.order.len() <= 100 && cache.entries.len() <= 100);
        }
        assert_eq!(cache.find(&key(9_999), now), Some(Verdict::Ignore));
        assert_eq!(cache.find(&key(1), now), None);
        cache.insert(key(7), Verdict::Ignore, now + Duration::from_secs(5), usize::MAX);
        assert_eq!(cache.find(&key(7), now), None);
    }
}
