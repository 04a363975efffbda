//! What a worker remembers of its looks into the index.

use std::hash::Hash;

use mqway_codec::{TopicError, TopicName};

use crate::{Route, SubscriptionIndex};

/// Slots that a topic can be in.
const WAYS: usize = 4;
/// A route that would take more than this part of all bytes is not kept: it would drive the others out, and to look it
/// up again is nothing beside so many deliveries.
const LARGE: usize = 8;

/// The latest routes by topic, for one thread and one index. A look takes no lock as long as nothing has changed that
/// could matter to the topic.
///
/// It is bounded by entries and by bytes. A new topic takes the slot of that one of four which was used least recently;
/// where bytes are short, slots are emptied in turn.
#[derive(Debug)]
pub struct RouteCache<S, O> {
    /// In sets of [`WAYS`]; a topic can only be in the set that its tag says. So whoever finds topics of one tag makes
    /// this set useless, and nothing else slow.
    slots: Box<[Slot<S, O>]>,
    most_bytes: usize,
    bytes: usize,
    /// Goes up with each look.
    clock: u32,
    /// The slot that is emptied next where bytes are short.
    hand: usize,
    /// The latest route that was looked up, and scratch.
    latest: Route<S, O>,
    counters: CacheCounters,
}

#[derive(Debug)]
struct Slot<S, O> {
    tag: u32,
    /// The clock at the latest use.
    used: u32,
    entry: Option<Box<Entry<S, O>>>,
}

#[derive(Debug)]
struct Entry<S, O> {
    topic: Box<str>,
    route: Route<S, O>,
}

/// Where a route was, so that one who asks for the same topic again and again finds it at once: a publishing
/// connection keeps one. It may be of no use any more, and never leads to a wrong route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hint(u32);

impl Default for Hint {
    /// That of one who has not asked yet.
    fn default() -> Self {
        Self(u32::MAX)
    }
}

/// How well a [`RouteCache`] does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheCounters {
    /// Looks that were answered without the index.
    pub hits: u64,
    /// Looks for a topic that was not there.
    pub misses: u64,
    /// Looks for a topic that was there, but the index had changed.
    pub stale: u64,
    /// Routes driven out by others, for want of slots or bytes.
    pub evicted: u64,
    /// Routes too large to be kept.
    pub too_large: u64,
}

impl<S: Copy + Ord + Hash, O: Copy + PartialEq> RouteCache<S, O> {
    /// One of at most so many routes, which take at most so many bytes. `entries` is rounded up to a power of two of
    /// at least four; each takes 16 bytes even while it is not used.
    pub fn new(entries: usize, bytes: usize) -> Self {
        let entries = entries.clamp(WAYS, 1 << 24).next_power_of_two();
        Self {
            slots: (0..entries).map(|_| Slot { tag: 0, used: 0, entry: None }).collect(),
            most_bytes: bytes,
            bytes: 0,
            clock: 0,
            hand: 0,
            latest: Route::new(),
            counters: CacheCounters::default(),
        }
    }

    /// Who gets the messages of `topic`, as `index` says now; which must be the same at every call. A topic whose route
    /// is remembered is known to be a topic name, and not checked again.
    ///
    /// # Errors
    /// If it is no topic name.
    #[inline]
    pub fn targets(
        &mut self,
        index: &SubscriptionIndex<S, O>,
        topic: &str,
        hint: &mut Hint,
    ) -> Result<&Route<S, O>, TopicError> {
        if let Some(place) = self.recall(index, topic, *hint) {
            self.counters.hits += 1;
            return Ok(match &self.slots[place].entry {
                Some(entry) => &entry.route,
                None => &self.latest,
            });
        }
        Ok(self.search(index, TopicName::new(topic)?, hint))
    }

    /// Looks where the hint does not lead.
    fn search(
        &mut self,
        index: &SubscriptionIndex<S, O>,
        topic: TopicName<'_>,
        hint: &mut Hint,
    ) -> &Route<S, O> {
        let place = self.find(topic.as_str(), hint);
        let place = match place {
            Some(place) if self.is_current(index, place) => {
                self.counters.hits += 1;
                Some(place)
            }
            Some(place) => {
                self.counters.stale += 1;
                self.look_up(index, topic);
                self.keep(place, topic.as_str())
            }
            None => {
                self.counters.misses += 1;
                self.look_up(index, topic);
                let place = self.victim(tag(topic.as_str()));
                *hint = Hint(place as u32);
                self.keep(place, topic.as_str())
            }
        };
        match place.and_then(|place| self.slots[place].entry.as_deref()) {
            Some(entry) => &entry.route,
            None => &self.latest,
        }
    }

    /// How well it does.
    pub fn counters(&self) -> CacheCounters {
        self.counters
    }

    /// Bytes that routes and topics take.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Where the hint leads, if that is a route of this topic which still stands.
    #[inline]
    fn recall(&mut self, index: &SubscriptionIndex<S, O>, topic: &str, hint: Hint) -> Option<usize> {
        let place = hint.0 as usize;
        let Slot { used, entry: Some(entry), .. } = self.slots.get_mut(place)? else { return None };
        if *entry.topic != *topic || !index.is_current(&entry.route.stamp()) {
            return None;
        }
        *used = self.clock;
        Some(place)
    }

    fn find(&mut self, topic: &str, hint: &mut Hint) -> Option<usize> {
        let tag = tag(topic);
        self.clock = self.clock.wrapping_add(1);
        let first = self.first_of_set(tag);
        for (way, slot) in self.slots[first..first + WAYS].iter_mut().enumerate() {
            if slot.tag == tag && slot.entry.as_ref().is_some_and(|entry| *entry.topic == *topic) {
                slot.used = self.clock;
                *hint = Hint((first + way) as u32);
                return Some(first + way);
            }
        }
        None
    }

    fn is_current(&self, index: &SubscriptionIndex<S, O>, place: usize) -> bool {
        self.slots[place].entry.as_ref().is_some_and(|entry| index.is_current(&entry.route.stamp()))
    }

    fn look_up(&mut self, index: &SubscriptionIndex<S, O>, topic: TopicName<'_>) {
        if self.latest.bytes() > self.most_bytes / LARGE {
            self.latest = Route::new(); // Or one large fan-out would be paid for ever after.
        }
        index.route(topic, &mut self.latest);
    }

    /// The slot that a new topic gets.
    fn victim(&self, tag: u32) -> usize {
        let first = self.first_of_set(tag);
        let rest = |slot: &Slot<S, O>| match slot.entry {
            Some(_) => self.clock.wrapping_sub(slot.used),
            None => u32::MAX,
        };
        (first..first + WAYS).max_by_key(|place| rest(&self.slots[*place])).unwrap_or(first)
    }

    /// Keeps the latest route in a slot, if it is not too large.
    fn keep(&mut self, place: usize, topic: &str) -> Option<usize> {
        let mut entry = self.take(place);
        if size_of::<Entry<S, O>>() + topic.len() + self.latest.content_bytes() > self.most_bytes / LARGE {
            self.counters.too_large += 1;
            return None;
        }
        if entry.as_ref().is_some_and(|entry| *entry.topic != *topic) {
            self.counters.evicted += 1;
            entry = None;
        }
        let mut entry = entry.unwrap_or_else(|| Box::new(Entry { topic: topic.into(), route: Route::new() }));
        entry.route.copy_from(&self.latest);
        self.bytes += entry.bytes();
        self.slots[place] = Slot { tag: tag(topic), used: self.clock, entry: Some(entry) };
        self.make_room(place);
        Some(place)
    }

    /// Empties slots in turn, but for the one to keep.
    fn make_room(&mut self, keep: usize) {
        for _ in 0..self.slots.len() {
            if self.bytes <= self.most_bytes {
                return;
            }
            self.hand = (self.hand + 1) % self.slots.len();
            if self.hand != keep && self.take(self.hand).is_some() {
                self.counters.evicted += 1;
            }
        }
    }

    fn take(&mut self, place: usize) -> Option<Box<Entry<S, O>>> {
        let entry = self.slots[place].entry.take()?;
        self.bytes -= entry.bytes();
        Some(entry)
    }

    fn first_of_set(&self, tag: u32) -> usize {
        tag as usize % (self.slots.len() / WAYS) * WAYS
    }
}

impl<S: Copy, O: Copy> Entry<S, O> {
    fn bytes(&self) -> usize {
        size_of::<Self>() + self.topic.len() + self.route.bytes()
    }
}

/// A quick hash, eight bytes at a time. It need not be a secret one: see [`RouteCache::slots`].
fn tag(topic: &str) -> u32 {
    const FACTOR: u64 = 0xD6E8_FEB8_6659_FD93;
    let mix = |hash: u64, word: u64| (hash.rotate_left(23) ^ word).wrapping_mul(FACTOR);
    let bytes = topic.as_bytes();
    let mut hash = bytes.len() as u64;
    for word in bytes.as_chunks::<8>().0 {
        hash = mix(hash, u64::from_le_bytes(*word));
    }
    hash = match bytes.last_chunk::<8>() {
        // Overlaps with what came before, so that none is left over.
        Some(last) => mix(hash, u64::from_le_bytes(*last)),
        None => bytes.iter().fold(hash, |hash, byte| mix(hash, u64::from(*byte))),
    };
    // What stands last has come into the highest bits only, and must get into those that pick a set.
    (mix(hash, hash >> 32) >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use mqway_codec::TopicFilter;

    type Index = SubscriptionIndex<u32, u8>;

    fn subscribe(index: &Index, filter: &str, subscriber: u32) {
        index.subscribe(TopicFilter::new(filter).unwrap(), subscriber, 0);
    }

    /// Who gets the messages of a topic.
    fn look(cache: &mut RouteCache<u32, u8>, index: &Index, topic: &str, hint: &mut Hint) -> Vec<u32> {
        let route = cache.targets(index, topic, hint).unwrap();
        route.direct().iter().map(|target| target.subscriber).collect()
    }

    #[test]
    fn a_route_is_looked_up_once_until_it_changes() {
        let (index, mut cache) = (Index::new(), RouteCache::new(16, 1 << 16));
        subscribe(&index, "a/b", 1);
        for hint in [&mut Hint::default(), &mut Hint(0), &mut Hint(7)] {
            assert_eq!(look(&mut cache, &index, "a/b", hint), [1]);
            assert_eq!(look(&mut cache, &index, "a/b", hint), [1]);
        }
        assert_eq!(cache.counters(), CacheCounters { hits: 5, misses: 1, ..Default::default() });

        subscribe(&index, "a/+", 2);
        assert_eq!(look(&mut cache, &index, "a/b", &mut Hint::default()), [1, 2]);
        index.unsubscribe(TopicFilter::new("a/b").unwrap(), 1);
        assert_eq!(look(&mut cache, &index, "a/b", &mut Hint::default()), [2]);
        assert_eq!(cache.counters(), CacheCounters { hits: 5, misses: 1, stale: 2, ..Default::default() });
    }

    #[test]
    fn a_hint_never_leads_to_another_topic() {
        let (index, mut cache) = (Index::new(), RouteCache::new(4, 1 << 16));
        let mut hint = Hint::default();
        for number in 0..100 {
            subscribe(&index, &format!("t/{number}"), number);
        }
        for number in (0..100).chain(0..100) {
            assert_eq!(look(&mut cache, &index, &format!("t/{number}"), &mut hint), [number]);
        }
        assert_eq!(cache.counters().evicted, 196);
    }

    #[test]
    fn bytes_are_bounded_and_large_routes_not_kept() {
        let (index, mut cache) = (Index::new(), RouteCache::new(1024, 16_000));
        for number in 0..1_000 {
            subscribe(&index, "large", number);
            subscribe(&index, &format!("small/{number}"), number);
        }
        for number in 0..1_000 {
            assert_eq!(look(&mut cache, &index, &format!("small/{number}"), &mut Hint::default()), [number]);
            assert!(cache.bytes() <= 16_000);
        }
        let before = cache.bytes();
        assert_eq!(look(&mut cache, &index, "large", &mut Hint::default()).len(), 1_000);
        assert_eq!(look(&mut cache, &index, "large", &mut Hint::default()).len(), 1_000);
        assert_eq!(cache.counters().too_large, 2);
        assert!(cache.bytes() <= before);
    }

    #[test]
    fn what_was_used_last_stays_in_its_set() {
        let (index, mut cache) = (Index::new(), RouteCache::new(4, 1 << 16));
        let mut kept = Hint::default();
        look(&mut cache, &index, "kept", &mut kept);
        for number in 0..20 {
            look(&mut cache, &index, &format!("t/{number}"), &mut Hint::default());
            look(&mut cache, &index, "kept", &mut kept);
        }
        assert_eq!(cache.counters().hits, 20);
    }

    #[test]
    fn topics_that_ended_differently_drove_each_other_out_of_one_set() {
        for name in ["t", "device/temperature/", "a/topic/of/any/length"] {
            let (index, mut cache) = (Index::new(), RouteCache::new(16 * 1024, 1 << 20));
            let topics: Vec<_> = (0..1_000).map(|number| format!("{name}{number:04}")).collect();
            for _ in 0..2 {
                topics.iter().for_each(|topic| _ = look(&mut cache, &index, topic, &mut Hint::default()));
            }
            let CacheCounters { misses, evicted, .. } = cache.counters();
            assert!(misses <= 1_010 && evicted <= 10, "{name}: {misses} {evicted}");
        }
    }

    #[test]
    fn tags_differ_in_every_byte() {
        let topic = "site/42/device/123456/cmd";
        let tags: std::collections::HashSet<u32> = (0..topic.len())
            .flat_map(|len| {
                let prefix = &topic[..len];
                [tag(prefix), tag(&format!("{prefix}x{}", &topic[len + 1..]))]
            })
            .collect();
        assert_eq!(tags.len(), topic.len() * 2);
    }
}
