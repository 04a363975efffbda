//! The last verdicts of one connection: most clients say the same few topics again and again.

use super::matcher::Use;

/// How many topics are remembered.
const SLOTS: usize = 8;
/// Longer topics are looked up each time, so that a connection's memory stays small.
const MAX_TOPIC: usize = 128;

/// Whether the last topics were allowed. Nothing is reserved before there is a first one.
#[derive(Debug, Default)]
pub struct Memo(Option<Box<[Slot; SLOTS]>>);

#[derive(Debug, Default)]
struct Slot {
    /// Empty, as no topic is, where nothing is remembered yet.
    topic: String,
    publish: bool,
    allowed: bool,
}

impl Memo {
    /// Whether this topic was allowed, if it is remembered.
    #[inline]
    pub fn recall(&self, topic: &str, wanted: Use) -> Option<bool> {
        let slot = &self.0.as_ref()?[place(topic, wanted)];
        (*slot.topic == *topic && slot.publish == (wanted == Use::Publish)).then_some(slot.allowed)
    }

    /// Remembers it in the place of another.
    pub fn remember(&mut self, topic: &str, wanted: Use, allowed: bool) {
        if topic.len() <= MAX_TOPIC {
            let slots = self.0.get_or_insert_default();
            let slot = &mut slots[place(topic, wanted)];
            slot.topic.clear();
            slot.topic.push_str(topic);
            slot.publish = wanted == Use::Publish;
            slot.allowed = allowed;
        }
    }
}

/// By length and last bytes, where topics differ most often. Two that meet cost a look into the rules, nothing more.
#[inline]
fn place(topic: &str, wanted: Use) -> usize {
    let bytes = topic.as_bytes();
    let word = match bytes.last_chunk::<8>() {
        Some(last) => u64::from_le_bytes(*last),
        None => bytes.iter().fold(0, |word, &byte| word << 8 | u64::from(byte)),
    };
    let mixed = (word ^ (bytes.len() as u64) << 1 ^ wanted as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed >> 32) as usize % SLOTS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_recalled_was_remembered_last() {
        let mut memo = Memo::default();
        assert_eq!(memo.recall("a", Use::Publish), None);
        let topics: Vec<String> = (0..100).map(|n| format!("topic/{n}")).collect();
        for (n, topic) in topics.iter().enumerate() {
            memo.remember(topic, Use::Publish, n % 2 == 0);
            assert_eq!(memo.recall(topic, Use::Publish), Some(n % 2 == 0));
            assert_eq!(memo.recall(topic, Use::Receive), None);
        }
        let recalled = topics.iter().enumerate().filter(|(n, topic)| {
            let found = memo.recall(topic, Use::Publish);
            assert!(found.is_none_or(|allowed| allowed == (n % 2 == 0)));
            found.is_some()
        });
        assert!((1..=SLOTS).contains(&recalled.count()));
        let long = "x".repeat(MAX_TOPIC + 1);
        memo.remember(&long, Use::Publish, true);
        assert_eq!(memo.recall(&long, Use::Publish), None);
    }
}
