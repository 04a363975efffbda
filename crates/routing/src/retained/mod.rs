//! The retained messages by topic.

mod seek;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::hash::BuildHasher;
use std::ops::Bound;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use mqway_codec::{TopicFilter, TopicName};

use crate::key::Key;
use seek::{Step, key, step};

/// Shards with a lock each. A power of two.
const SHARDS: usize = 64;

/// Topics as [`key`]s, sorted.
type Shard<V> = BTreeMap<Box<str>, V>;

/// What is retained for each topic, with a look-up by filter. `V` is what the broker keeps of a message; it should be
/// cheap to take out of here, such as an `Arc`.
///
/// All methods take `&self`: many threads may look and change at the same time. A topic is in one of 64 shards, by its
/// first two levels, in which topics are sorted.
pub struct RetainedIndex<V> {
    shards: Box<[RwLock<Shard<V>>]>,
    key: Key,
    len: AtomicUsize,
}

impl<V> RetainedIndex<V> {
    /// An empty one, with a random key.
    pub fn new() -> Self {
        Self::of(Key::random())
    }

    /// An empty one that does the same as any other with this key and the same past, as a simulation needs it. Who knows
    /// the key can choose topics that all come into one shard.
    pub fn with_key(key: u64) -> Self {
        Self::of(Key::new(key))
    }

    fn of(key: Key) -> Self {
        let shards = (0..SHARDS).map(|_| RwLock::default()).collect();
        Self { shards, key, len: AtomicUsize::new(0) }
    }

    /// Retains `value` for `topic`; what was retained before is the answer [MQTT-3.3.1-5].
    pub fn insert(&self, topic: TopicName<'_>, value: V) -> Option<V> {
        let key = key(topic.as_str());
        let mut shard = self.write(topic.as_str());
        if let Some(present) = shard.get_mut(&*key) {
            return Some(std::mem::replace(present, value));
        }
        shard.insert(key.into_boxed_str(), value);
        self.len.fetch_add(1, Ordering::Relaxed);
        None
    }

    /// Retains nothing for `topic` any more; what was retained is the answer [MQTT-3.3.1-6].
    pub fn remove(&self, topic: TopicName<'_>) -> Option<V> {
        self.remove_if(topic, |_| true)
    }

    /// [`RetainedIndex::remove`], if what is retained now is still what the caller means: one that has expired, say.
    /// `is_it` runs under a lock: it must not call the index.
    pub fn remove_if(&self, topic: TopicName<'_>, is_it: impl FnOnce(&V) -> bool) -> Option<V> {
        let key = key(topic.as_str());
        let mut shard = self.write(topic.as_str());
        if !is_it(shard.get(&*key)?) {
            return None;
        }
        let removed = shard.remove(&*key);
        self.len.fetch_sub(1, Ordering::Relaxed);
        removed
    }

    /// Shows what is retained for `topic` to `look`, under a lock: it must not call the index.
    pub fn with<T>(&self, topic: TopicName<'_>, look: impl FnOnce(&V) -> T) -> Option<T> {
        self.read(self.shard_of(topic.as_str())).get(&*key(topic.as_str())).map(look)
    }

    /// How many topics have something retained.
    pub fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }

    /// Whether none has.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Hands to `visit` what is retained for topics that match, after it has looked at `most` topics at the most;
    /// whether there is more. Not every topic that is looked at must match, but those that cannot are jumped over.
    ///
    /// `visit` runs under a lock that is held for this call alone: it must not call the index. What is there all the
    /// time is visited once; what comes or goes meanwhile may be or not. A filter that begins with a wildcard does not
    /// match topics that begin with `$` [MQTT-4.7.2-1].
    pub fn scan(
        &self,
        cursor: &mut RetainedCursor,
        most: usize,
        mut visit: impl FnMut(TopicName<'_>, &V),
    ) -> Scan {
        self.scan_while(cursor, most, |topic, value| {
            visit(topic, value);
            true
        })
    }

    /// [`RetainedIndex::scan`] up to the first that `visit` does not take, by answering false: it is shown again next
    /// time.
    pub fn scan_while(
        &self,
        cursor: &mut RetainedCursor,
        most: usize,
        mut visit: impl FnMut(TopicName<'_>, &V) -> bool,
    ) -> Scan {
        let mut left = most;
        let (mut shard, last) =
            cursor.filter.as_deref().map_or((0, SHARDS - 1), |filter| self.shards_for(filter));
        shard = shard.max(cursor.shard);
        while shard <= last {
            if self.scan_shard(shard, cursor, &mut left, &mut visit) == Scan::More {
                cursor.shard = shard;
                return Scan::More;
            }
            shard += 1;
            (cursor.at, cursor.seen) = (String::new(), false);
        }
        cursor.shard = SHARDS;
        Scan::Done
    }

    fn scan_shard(
        &self,
        shard: usize,
        cursor: &mut RetainedCursor,
        left: &mut usize,
        visit: &mut impl FnMut(TopicName<'_>, &V) -> bool,
    ) -> Scan {
        let shard = self.read(shard);
        let mut text = String::new();
        'seek: loop {
            let from = if cursor.seen { Bound::Excluded(&*cursor.at) } else { Bound::Included(&*cursor.at) };
            let mut latest = None;
            for (key, value) in shard.range::<str, _>((from, Bound::Unbounded)) {
                if *left == 0 {
                    cursor.rest_at(latest);
                    return Scan::More;
                }
                *left -= 1;
                match cursor.filter.as_deref().map_or(Step::Match, |filter| step(filter, key)) {
                    Step::Match => {
                        write_topic(key, &mut text);
                        if !visit(TopicName::new(&text).expect("only topics are put in"), value) {
                            cursor.rest_at(latest);
                            return Scan::More;
                        }
                    }
                    Step::Next => {}
                    Step::Seek(to) => {
                        (cursor.at, cursor.seen) = (to, false);
                        continue 'seek;
                    }
                    Step::End => return Scan::Done,
                }
                latest = Some(&**key);
            }
            return Scan::Done;
        }
    }

    /// The first and the last shard that a filter may find something in.
    fn shards_for(&self, filter: &str) -> (usize, usize) {
        let mut levels = filter.split('/');
        let is_literal = |level: Option<&str>| level.is_none_or(|level| level != "+" && level != "#");
        // `a/#` includes `a`, but that is not where `a/b` is; `a/b/#` includes `a/b`, which is.
        if is_literal(levels.next()) && is_literal(levels.next()) {
            let shard = self.shard_of(filter);
            return (shard, shard);
        }
        (0, SHARDS - 1)
    }

    /// The shard of a topic, or of a filter whose first two levels are no wildcards.
    fn shard_of(&self, topic: &str) -> usize {
        let stem = topic.match_indices('/').nth(1).map_or(topic, |(end, _)| &topic[..end]);
        self.key.hash_one(stem) as usize % SHARDS
    }

    /// A thread that panicked with the lock held has left the map as sound as it was: no code of others runs while
    /// one changes.
    fn read(&self, shard: usize) -> RwLockReadGuard<'_, Shard<V>> {
        self.shards[shard].read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, topic: &str) -> RwLockWriteGuard<'_, Shard<V>> {
        self.shards[self.shard_of(topic)].write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<V> Default for RetainedIndex<V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<V> fmt::Debug for RetainedIndex<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RetainedIndex").field("len", &self.len()).finish_non_exhaustive()
    }
}

/// A filter, and how far [`RetainedIndex::scan`] has come with it. It may rest between two calls for as long as it
/// likes, and holds nothing of the index meanwhile.
#[derive(Clone, Debug)]
pub struct RetainedCursor {
    /// Without it every topic matches.
    filter: Option<Box<str>>,
    shard: usize,
    /// The key to go on from, itself left out if it has been seen.
    at: String,
    seen: bool,
}

impl RetainedCursor {
    /// At the begin. Of a shared subscription's filter, which gets no retained messages from a broker, the share name
    /// does not count.
    pub fn new(filter: TopicFilter<'_>) -> Self {
        let filter = filter.share().map_or(filter, |(_, filter)| filter);
        Self { filter: Some(filter.as_str().into()), shard: 0, at: String::new(), seen: false }
    }

    /// The filter, unless it is for every topic; without a share name.
    pub fn filter(&self) -> Option<TopicFilter<'_>> {
        TopicFilter::new(self.filter.as_deref()?).ok()
    }

    /// Goes on behind this key next time; `None`: from where it began this time.
    fn rest_at(&mut self, latest: Option<&str>) {
        if let Some(latest) = latest {
            (self.at, self.seen) = (String::from(latest), true);
        }
    }

    /// For every topic, those that begin with `$` too: to look for what has expired, say.
    pub const fn all() -> Self {
        Self { filter: None, shard: 0, at: String::new(), seen: false }
    }
}

/// Whether a scan has come to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scan {
    /// There may be more.
    More,
    /// There was no more.
    Done,
}

/// The topic of a key.
fn write_topic(key: &str, text: &mut String) {
    text.clear();
    for (index, level) in key.split('\0').enumerate() {
        if index > 0 {
            text.push('/');
        }
        text.push_str(level);
    }
}
