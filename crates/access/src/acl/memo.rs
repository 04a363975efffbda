//! The last verdicts of one connection: most clients say the same few topics again and again.

use super::matcher::Use;

/// How many topics are remembered, in pairs: where a topic has its place, so has another.
const PAIRS: usize = 4;
/// Longer topics are looked up each time, so that a connection's memory stays small.
const MAX_TOPIC: usize = 128;

/// Whether the last topics were allowed. Nothing is reserved before there is a first one.
#[derive(Debug, Default)]
pub struct Memo(Option<Box<[[Slot; 2]; PAIRS]>>);

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
        let pair = &self.0.as_ref()?[place(topic, wanted)];
        let mut own =
            pair.iter().filter(|slot| *slot.topic == *topic && slot.publish == (wanted == Use::Publish));
        own.next().map(|slot| slot.allowed)
    }

    /// Remembers it in the place of the older one of two.
    pub fn remember(&mut self, topic: &str, wanted: Use, allowed: bool) {
        if topic.len() <= MAX_TOPIC {
            let pair = &mut self.0.get_or_insert_default()[place(topic, wanted)];
            pair.swap(0, 1);
            let [slot, _] = pair;
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
    let word = word ^ (bytes.len() as u64) << 1 ^ wanted as u64;
    // The last byte is the highest: folded down first, it has a say in the highest bits of the product.
    let mixed = (word ^ word >> 32).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed >> (u64::BITS - PAIRS.ilog2())) as usize % PAIRS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_that_differ_in_their_last_byte_do_not_all_meet() {
        let topics = ["room/temperature/0", "room/temperature/1", "room/temperature/2", "room/temperature/3"];
        let mut memo = Memo::default();
        for topic in topics {
            memo.remember(topic, Use::Publish, true);
        }
        assert_eq!(topics.map(|topic| memo.recall(topic, Use::Publish)), [Some(true); 4]);
    }

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
        assert!((2..=2 * PAIRS).contains(&recalled.count()));
        let long = "x".repeat(MAX_TOPIC + 1);
        memo.remember(&long, Use::Publish, true);
        assert_eq!(memo.recall(&long, Use::Publish), None);
    }
}
