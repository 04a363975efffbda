//! The last topics of one connection that hooks let pass: most clients say the same few again and again.
//!
//! Hooks that go by topics alone ([`Authorize::by_topic`](crate::Authorize::by_topic)) need not be asked about the next
//! message to the same. Measured with an ACL, that takes a third of what asking does.

use std::sync::Arc;

/// How many topics are remembered, in pairs: where a topic has its place, so has another.
const PAIRS: usize = 4;
/// Longer topics are asked about each time, so that a connection's memory stays small.
const MAX_TOPIC: usize = 128;

/// What hooks let pass of one connection. Nothing is reserved before there is a first.
#[derive(Default)]
pub(crate) struct Memo {
    /// By which hooks, and of whom. What was remembered otherwise does not count.
    stamp: Stamp,
    slots: Option<Box<[[Slot; 2]; PAIRS]>>,
}

/// By which hooks a verdict was given, and who the client was.
#[derive(Clone, Default)]
pub(crate) struct Stamp {
    pub edition: u64,
    pub revision: u32,
    /// Held, so that no other can be in the same place.
    pub client_id: Option<Arc<str>>,
}

/// Empty, as no topic is, where nothing is remembered yet.
#[derive(Default)]
struct Slot {
    topic: String,
    /// What the topic ends with: [`end`].
    end: u64,
    way: Way,
    becomes: Option<Box<str>>,
}

/// Which hooks a server has, and how often it was found out who a client is: as long as that stays, so does what they
/// let pass by its topic alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Epoch {
    pub(crate) edition: u64,
    pub(crate) revision: u32,
}

/// Where a message goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Way {
    #[default]
    ToServer,
    ToClient,
}

/// What hooks made of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known<'a> {
    /// Nothing: it passes as it is.
    Same,
    /// This topic.
    As(&'a str),
}

impl Memo {
    /// What becomes of a topic, if it is remembered.
    #[inline]
    pub fn recall(
        &self,
        edition: u64,
        revision: u32,
        client_id: &Arc<str>,
        topic: &str,
        way: Way,
    ) -> Option<Known<'_>> {
        let Stamp { edition: of, revision: at, client_id: by } = &self.stamp;
        if *of != edition || *at != revision || !by.as_ref().is_some_and(|by| Arc::ptr_eq(by, client_id)) {
            return None;
        }
        let end = end(topic);
        let [latest, other] = self.slots.as_ref()?.get(place(topic, end, way))?;
        let slot = match latest {
            latest if latest.is_of(topic, end, way) => latest,
            _ if other.is_of(topic, end, way) => other,
            _ => return None,
        };
        Some(slot.becomes.as_deref().map_or(Known::Same, Known::As))
    }

    /// Remembers it in the place of the older one of two.
    pub fn remember(&mut self, stamp: Stamp, topic: &str, way: Way, becomes: Option<&str>) {
        let long = |text: &str| text.len() > MAX_TOPIC;
        if long(topic) || becomes.is_some_and(long) {
            return;
        }
        if self.stamp.edition != stamp.edition
            || self.stamp.revision != stamp.revision
            || self.stamp.client_id != stamp.client_id
        {
            self.slots = None;
        }
        self.stamp = stamp;
        let end = end(topic);
        let pair = &mut self.slots.get_or_insert_default()[place(topic, end, way)];
        pair.swap(0, 1);
        let [slot, _] = pair;
        slot.topic.clear();
        slot.topic.push_str(topic);
        (slot.end, slot.way) = (end, way);
        slot.becomes = becomes.map(Into::into);
    }
}

impl Slot {
    /// Word by word: the call that compares strings of any length takes longer than that.
    #[inline]
    fn is_of(&self, topic: &str, end: u64, way: Way) -> bool {
        let (own, _) = self.topic.as_bytes().as_chunks::<8>();
        let (others, _) = topic.as_bytes().as_chunks::<8>();
        self.end == end
            && self.way == way
            && self.topic.len() == topic.len()
            && own.iter().zip(others).all(|(own, other)| own == other)
    }
}

/// The last eight bytes, or all of a shorter one.
#[inline]
fn end(topic: &str) -> u64 {
    let bytes = topic.as_bytes();
    match bytes.last_chunk::<8>() {
        Some(last) => u64::from_le_bytes(*last),
        None => bytes.iter().fold(0, |word, &byte| word << 8 | u64::from(byte)),
    }
}

/// By length and last bytes, where topics differ most often. Two that meet cost a question, nothing more.
#[inline]
fn place(topic: &str, end: u64, way: Way) -> usize {
    let word = end ^ (topic.len() as u64) << 1 ^ way as u64;
    // The last byte is the highest: folded down first, it has a say in the highest bits of the product.
    let mixed = (word ^ word >> 32).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed >> (u64::BITS - PAIRS.ilog2())) as usize % PAIRS
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(edition: u64, revision: u32, client_id: &Arc<str>) -> Stamp {
        Stamp { edition, revision, client_id: Some(client_id.clone()) }
    }

    #[test]
    fn what_is_recalled_was_remembered_last_by_the_same_of_the_same() {
        let (mut memo, id) = (Memo::default(), Arc::<str>::from("c"));
        assert_eq!(memo.recall(1, 0, &id, "a", Way::ToServer), None);
        memo.remember(stamp(1, 0, &id), "a", Way::ToServer, Some("b"));
        memo.remember(stamp(1, 0, &id), "a", Way::ToClient, None);
        assert_eq!(memo.recall(1, 0, &id, "a", Way::ToServer), Some(Known::As("b")));
        assert_eq!(memo.recall(1, 0, &id, "a", Way::ToClient), Some(Known::Same));
        assert_eq!(memo.recall(1, 0, &id, "b", Way::ToClient), None);
        assert_eq!(memo.recall(2, 0, &id, "a", Way::ToServer), None, "other hooks");
        assert_eq!(memo.recall(1, 1, &id, "a", Way::ToServer), None, "found out anew");
        assert_eq!(memo.recall(1, 0, &Arc::from("c"), "a", Way::ToServer), None, "named anew");
        memo.remember(stamp(2, 0, &id), "x", Way::ToServer, None);
        assert_eq!(memo.recall(2, 0, &id, "a", Way::ToServer), None, "by others, and forgotten");
        let long = "x".repeat(MAX_TOPIC + 1);
        memo.remember(stamp(2, 0, &id), &long, Way::ToServer, None);
        memo.remember(stamp(2, 0, &id), "long", Way::ToServer, Some(&long));
        assert_eq!(memo.recall(2, 0, &id, &long, Way::ToServer), None);
        assert_eq!(memo.recall(2, 0, &id, "long", Way::ToServer), None);
    }

    #[test]
    fn no_topic_is_taken_for_another() {
        let (mut memo, id) = (Memo::default(), Arc::<str>::from("c"));
        let texts = [
            "a",
            "aa",
            "aaaaaaaa",
            "aaaaaaaaa",
            "baaaaaaaa",
            "aaaaaaaaaaaaaaaab",
            "aaaaaaaabaaaaaaaa",
            "aaaaaaaaaaaaaaaaa",
        ];
        for known in texts {
            memo.remember(stamp(1, 0, &id), known, Way::ToServer, None);
            for topic in texts {
                let recalled = memo.recall(1, 0, &id, topic, Way::ToServer).is_some();
                assert!(
                    !recalled
                        || topic == known
                        || memo.slots.as_ref().unwrap().iter().flatten().any(|slot| slot.topic == topic)
                );
            }
            assert!(memo.recall(1, 0, &id, known, Way::ToServer).is_some(), "{known}");
        }
    }

    #[test]
    fn topics_that_differ_in_their_last_byte_do_not_all_meet() {
        let topics = ["room/temperature/0", "room/temperature/1", "room/temperature/2", "room/temperature/3"];
        let (mut memo, id) = (Memo::default(), Arc::<str>::from("c"));
        for topic in topics {
            memo.remember(stamp(1, 0, &id), topic, Way::ToServer, None);
        }
        assert!(topics.iter().all(|topic| memo.recall(1, 0, &id, topic, Way::ToServer).is_some()));
    }
}
