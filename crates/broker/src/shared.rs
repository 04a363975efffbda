//! What the workers of one broker have in common.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

use mqway_codec::SubscriptionId;
use mqway_codec::{QoS, SubscribeOptions};
use mqway_engine::Listener;
use mqway_hooks::{Allowance, Gates, Hooks, Refusals};
use mqway_routing::{RetainedIndex, SubscriptionIndex};
use mqway_session::server::Terms;

use crate::core::Peer;
use crate::guest::WaitingRoom;
use crate::loads::{LoadId, Loads};
use crate::retained::{Publisher, Retained};
use crate::sessions::Owner;
use crate::{Config, Counters, Limits};

/// Bytes of all CONNECTs that are kept because AUTH follows them.
const KEPT_CONNECTS: usize = 128 * 1024 * 1024;

/// Names a session: the worker that it is at home on, its place there, and which of those that had this place it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SessionRef {
    pub worker: u16,
    pub generation: u16,
    pub slot: u32,
}

/// What was agreed for a subscription, as far as deliveries need it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Agreed {
    pub identifier: Option<SubscriptionId>,
    /// Of a shared subscription: where to see how much its member has to do.
    pub load: Option<LoadId>,
    pub qos: QoS,
    pub no_local: bool,
    pub retain_as_published: bool,
}

impl Agreed {
    pub fn new(
        options: SubscribeOptions,
        qos: QoS,
        identifier: Option<SubscriptionId>,
        load: Option<LoadId>,
    ) -> Agreed {
        let SubscribeOptions { no_local, retain_as_published, .. } = options;
        Agreed { identifier, load, qos, no_local, retain_as_published }
    }
}

/// The index of subscriptions.
pub(crate) type Index = SubscriptionIndex<SessionRef, Agreed>;

/// What the workers share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub terms: Terms,
    pub limits: Limits,
    pub index: Index,
    pub retained: RetainedIndex<Retained>,
    pub loads: Loads,
    pub counters: Arc<Counters>,
    /// What workers begin with.
    pub hooks: Arc<Hooks>,
    pub refusals: Refusals,
    pub waiting: WaitingRoom,
    /// For CONNECTs that are kept while AUTH goes to and fro.
    pub kept_connects: Allowance,
    pub gates: Arc<Gates>,
    /// Workers that have not stopped.
    pub running: AtomicUsize,
    /// Bytes on their way to each worker.
    pub on_the_way: Vec<AtomicI64>,
    /// Part of what decides where clients are at home, so that nobody outside can choose.
    pub key: u64,
}

impl Shared {
    pub fn new(config: &Config, workers: usize, key: u64) -> Shared {
        let Config { terms, limits, listeners, hooks, refusals, .. } = config;
        let (hooks, counters) = (Arc::new(hooks.clone()), Arc::<Counters>::default());
        Shared {
            terms: terms.clone(),
            limits: limits.clone(),
            gates: Arc::new(gates(listeners, hooks.clone(), counters.clone())),
            hooks,
            refusals: *refusals,
            waiting: WaitingRoom::new(limits.hook_waiting, limits.hook_time),
            kept_connects: Allowance::new(KEPT_CONNECTS),
            running: AtomicUsize::new(workers),
            index: Index::with_key(key),
            retained: RetainedIndex::with_key(key),
            loads: Loads::new(),
            counters,
            on_the_way: (0..workers).map(|_| AtomicI64::new(0)).collect(),
            key,
        }
    }

    /// The worker that a client is at home on.
    pub fn home_of(&self, client_id: &str) -> usize {
        let mut hasher = DefaultHasher::new();
        (self.key, client_id).hash(&mut hasher);
        (hasher.finish() % self.on_the_way.len().max(1) as u64) as usize
    }

    /// Who a client is where what it has retained is compared with who asks for it.
    pub fn publisher(&self, client_id: &str) -> Publisher {
        Publisher(self.hash_of("publisher", client_id))
    }

    /// Who a user is where sessions are told from those of others.
    pub fn owner(&self, user_name: &str) -> Owner {
        Owner(self.hash_of("owner", user_name))
    }

    fn hash_of(&self, purpose: &str, name: &str) -> NonZeroU64 {
        let mut hasher = DefaultHasher::new();
        (purpose, self.key, name).hash(&mut hasher);
        NonZeroU64::new(hasher.finish()).unwrap_or(NonZeroU64::MAX)
    }

    /// A number that follows from the broker's key, and cannot be guessed without it.
    pub fn home_secret(&self, number: u64, worker: usize) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.key, number, worker).hash(&mut hasher);
        hasher.finish()
    }

    /// Bytes that may still be stored, where a worker has stored `untold` of them in this tick, less what it has let go
    /// (which may wrap). No session may hold more than this: so those that hold much leave room for those that hold little.
    pub fn room_to_store(&self, untold: u64) -> u64 {
        let stored = self.counters.stored_bytes.load(Ordering::Relaxed).wrapping_add(untold);
        self.limits.stored_bytes.saturating_sub(stored)
    }

    /// Bytes of subscriptions and wills that there may still be, likewise.
    pub fn room_for_state(&self, untold: u64) -> u64 {
        let kept = self.counters.state_bytes.load(Ordering::Relaxed).wrapping_add(untold);
        self.limits.state_bytes.saturating_sub(kept)
    }

    /// Whether another session may begin, where a worker has begun `untold` of them in this tick, less those ended.
    pub fn has_room_for_session(&self, untold: u64) -> bool {
        self.counters.sessions.load(Ordering::Relaxed).wrapping_add(untold) < self.limits.sessions
    }

    /// Whether a worker is so far behind that publishers have to wait.
    pub fn is_behind(&self, worker: usize) -> bool {
        self.on_the_way.get(worker).is_some_and(|bytes| bytes.load(Ordering::Relaxed) > MOST_ON_THE_WAY)
    }
}

/// The listeners, and the hooks that are asked there.
fn gates(listeners: &[Listener], hooks: Arc<Hooks>, counters: Arc<Counters>) -> Gates {
    let urls = listeners.iter().map(|listener| listener.url().to_string());
    Gates::new(urls, hooks, move |denial, _, peer| {
        counters.accepts_denied.fetch_add(1, Ordering::Relaxed);
        counters.refuse(denial.reason);
        log::info!("{}: not served: {denial}", Peer(peer));
    })
}

/// Bytes on their way to a worker above which publishers have to wait.
pub(crate) const MOST_ON_THE_WAY: i64 = 16 * 1024 * 1024;
