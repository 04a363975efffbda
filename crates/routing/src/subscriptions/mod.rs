//! The subscription index.

mod ends;
mod generations;
mod label;
mod path;
mod shard;
#[cfg(test)]
mod tests;

use std::fmt;
use std::hash::{BuildHasher, Hash};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use mqway_codec::{TopicFilter, TopicName};

use crate::key::Key;
use crate::route::{Route, ShareId, Target};
use generations::Generations;
pub use generations::Stamp;
use path::{Path, Stem};
use shard::{Address, Change, Shard, mix};

/// Shards with a lock each, for filters that have a stem. A power of two.
const STEM_SHARDS: usize = 64;
/// And one for those that begin with a wildcard, which every topic asks.
const SHARDS: usize = STEM_SHARDS + 1;

/// Which sessions want the messages of a topic: exact filters, `+`, `#`, and shared subscriptions.
///
/// `S` is the handle of a session and `O` what was agreed for a subscription; both are copied often, so they should be
/// small. All methods take `&self`: many threads may look and change at the same time. A change locks one of 65 shards;
/// a look locks up to four, one after the other and only for reading. Who asks for the same topics again and again
/// needs no lock at all, by a [`crate::RouteCache`].
///
/// Which shard a filter is in depends on its *stem*: the first two levels before its first wildcard, or all of a filter
/// without wildcards. So a topic knows the four places where its filters can be, and changes elsewhere do not touch it.
pub struct SubscriptionIndex<S, O> {
    shards: Box<[Locked<S, O>]>,
    generations: Generations,
    key: Key,
    subscriptions: AtomicUsize,
    shares: AtomicUsize,
}

/// In a cache line of its own, as neighbours may be written by different cores.
#[repr(align(64))]
struct Locked<S, O>(RwLock<Shard<S, O>>);

impl<S: Copy + Ord + Hash, O: Copy + PartialEq> SubscriptionIndex<S, O> {
    /// An empty one, with a random key.
    pub fn new() -> Self {
        Self::of(Key::random())
    }

    /// An empty one that does the same as any other with this key and the same past, as a simulation needs it. Who knows
    /// the key can choose filters that make it slow.
    pub fn with_key(key: u64) -> Self {
        Self::of(Key::new(key))
    }

    fn of(key: Key) -> Self {
        let shards =
            (0..SHARDS as u64).map(|number| Locked(RwLock::new(Shard::new(number, SHARDS as u64)))).collect();
        Self {
            shards,
            generations: Generations::new(),
            key,
            subscriptions: AtomicUsize::new(0),
            shares: AtomicUsize::new(0),
        }
    }

    /// Subscribes a session to a filter, `$share/name/filter` included. If it is subscribed to just this filter, the
    /// options are replaced and the former are the answer [MQTT-3.8.4-3].
    ///
    /// Every route that is looked up after this returns has the subscription. A filter takes memory in proportion to
    /// its length and its number of levels, both of which are the caller's to limit.
    pub fn subscribe(&self, filter: TopicFilter<'_>, subscriber: S, options: O) -> Option<O> {
        let address = self.address_of(filter);
        let mut shard = self.write(&address);
        let change = shard.insert(&address, Target { subscriber, options }, &self.key);
        // Many clients subscribe to the same again at each connect; that changes nothing.
        if change.before != Some(options) {
            self.generations.advance(Generations::counter(address.hash));
        }
        if change.before.is_none() {
            self.subscriptions.fetch_add(1, Ordering::Relaxed);
        }
        if change.share {
            self.shares.fetch_add(1, Ordering::Relaxed);
        }
        change.before
    }

    /// Ends the subscription of a session to just this filter, compared character by character [MQTT-3.10.4-1]. Its
    /// options are the answer, `None` if there was no such subscription.
    pub fn unsubscribe(&self, filter: TopicFilter<'_>, subscriber: S) -> Option<O> {
        let address = self.address_of(filter);
        let mut shard = self.write(&address);
        let Change { before, share } = shard.remove(&address, subscriber, &self.key);
        if before.is_some() {
            self.generations.advance(Generations::counter(address.hash));
            self.subscriptions.fetch_sub(1, Ordering::Relaxed);
        }
        if share {
            self.shares.fetch_sub(1, Ordering::Relaxed);
        }
        before
    }

    /// Ends all of these subscriptions of a session; how many there were. Takes the locks one by one, so that others
    /// get their turn.
    pub fn unsubscribe_all<'a>(
        &self,
        filters: impl IntoIterator<Item = TopicFilter<'a>>,
        subscriber: S,
    ) -> usize {
        filters.into_iter().filter(|filter| self.unsubscribe(*filter, subscriber).is_some()).count()
    }

    /// The options of the subscription of a session to just this filter.
    pub fn options(&self, filter: TopicFilter<'_>, subscriber: S) -> Option<O> {
        let address = self.address_of(filter);
        self.read(&address).options(&address, subscriber, &self.key)
    }

    /// Looks up who gets the messages of `topic` and puts it into `route`, whose buffers are reused.
    pub fn route(&self, topic: TopicName<'_>, route: &mut Route<S, O>) {
        let mut frontier = std::mem::take(&mut route.frontier);
        let addresses = Path::of_topic(topic.as_str()).map(|path| Some(self.address(None, path?)));
        let mut counters = [0; 4]; // Where there is no such address, the first: it only voids a route too much.
        for (counter, address) in counters.iter_mut().zip(addresses.iter().flatten()) {
            *counter = Generations::counter(address.hash);
        }
        route.clear(self.generations.stamp(counters));
        for address in addresses.iter().flatten() {
            self.read(address).collect(address, &self.key, &mut frontier, route);
        }
        route.group_sessions();
        route.frontier = frontier;
    }

    /// Whether a route with this stamp is as it would be if it were looked up now: four loads, no lock. `false` is
    /// sometimes said without need, `true` never.
    pub fn is_current(&self, stamp: &Stamp) -> bool {
        self.generations.is_current(stamp)
    }

    /// Shows the members of a shared subscription as they are now to `pick`, so that a message can go to another when
    /// the one that had it leaves. `None` if the last has left. `pick` runs under a lock: it must not call the index.
    pub fn with_members<T>(&self, share: ShareId, pick: impl FnOnce(&[Target<S, O>]) -> T) -> Option<T> {
        let number = (share.0 % SHARDS as u64) as usize;
        let shard = self.shards[number].0.read().unwrap_or_else(PoisonError::into_inner);
        shard.members(share).map(pick)
    }

    /// How many subscriptions there are.
    pub fn len(&self) -> usize {
        self.subscriptions.load(Ordering::Relaxed)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many shared subscriptions there are, each of which counts once, however many members it has.
    pub fn shares(&self) -> usize {
        self.shares.load(Ordering::Relaxed)
    }

    /// Hands the next subscriptions to `visit`, `most` and those of one more filter at the most, in no particular
    /// order; whether there may be more. `visit` runs under a lock that is held for this call alone: it must not call the
    /// index.
    ///
    /// Subscriptions that are there all the time are seen; more than once if many others end meanwhile.
    pub fn list(
        &self,
        cursor: &mut ListingCursor,
        most: usize,
        mut visit: impl FnMut(Listed<'_, S, O>),
    ) -> bool {
        let (mut left, mut text) = (most, String::new());
        while let Some(Locked(shard)) = self.shards.get(cursor.shard) {
            if left == 0 {
                return true;
            }
            let shard = shard.read().unwrap_or_else(PoisonError::into_inner);
            if cursor.layout != shard.layout() {
                *cursor = ListingCursor { shard: cursor.shard, place: 0, layout: shard.layout() };
            }
            let next = shard.list(cursor.place, &mut left, &mut text, &mut |filter, share, targets| {
                visit(Listed { filter, share, targets });
            });
            *cursor = match next {
                Some(place) => ListingCursor { place, ..*cursor },
                None => ListingCursor { shard: cursor.shard + 1, place: 0, layout: 0 },
            };
        }
        false
    }

    fn address_of<'a>(&self, filter: TopicFilter<'a>) -> Address<'a> {
        let (share, filter) = filter.share().map_or((None, filter), |(name, filter)| (Some(name), filter));
        self.address(share, Path::of_filter(filter.as_str()))
    }

    fn address<'a>(&self, share: Option<&'a str>, path: Path<'a>) -> Address<'a> {
        Address { share, path, hash: mix(path.stem as u32, self.key.hash_one(path.text)) }
    }

    fn shard(&self, address: &Address<'_>) -> &RwLock<Shard<S, O>> {
        let of_stem = (address.hash >> 32) as usize % STEM_SHARDS;
        &self.shards[if address.path.stem == Stem::Nothing { STEM_SHARDS } else { of_stem }].0
    }

    /// A thread that panicked with the lock held has left the shard as sound as it was: nothing in there panics
    /// halfway through a change.
    fn read(&self, address: &Address<'_>) -> RwLockReadGuard<'_, Shard<S, O>> {
        self.shard(address).read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, address: &Address<'_>) -> RwLockWriteGuard<'_, Shard<S, O>> {
        self.shard(address).write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: Copy + Ord + Hash, O: Copy + PartialEq> Default for SubscriptionIndex<S, O> {
    fn default() -> Self {
        Self::new()
    }
}

impl<S: Copy + Ord + Hash, O: Copy + PartialEq> fmt::Debug for SubscriptionIndex<S, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SubscriptionIndex")
            .field("subscriptions", &self.len())
            .field("shares", &self.shares())
            .finish_non_exhaustive()
    }
}

/// The subscriptions of one filter, or the members of one shared subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listed<'a, S, O> {
    /// The filter, without a share name.
    pub filter: &'a str,
    /// The share name, if this is a shared subscription.
    pub share: Option<&'a str>,
    /// At least one.
    pub targets: &'a [Target<S, O>],
}

/// How far [`SubscriptionIndex::list`] has come. By default nowhere.
#[derive(Clone, Copy, Debug, Default)]
pub struct ListingCursor {
    shard: usize,
    place: usize,
    layout: u32,
}
