//! What a look into the index gives.

use crate::Stamp;

/// One subscription that matched: whose it is, and what was agreed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Target<S, O> {
    /// The handle of the session, as it was given to the index.
    pub subscriber: S,
    /// The options of the subscription, as they were given to the index.
    pub options: O,
}

/// What tells one shared subscription from every other that is, was or will be in the same index. A group whose last
/// member left is gone with its id; if somebody joins again, that is a group with a new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShareId(pub(crate) u64);

/// A shared subscription that matched: one of its members gets the message. [MQTT-4.8.2-3] leaves each member the QoS
/// that it was granted, so every member has its own options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share<'a, S, O> {
    /// To find the members again when the one that was picked leaves: [`crate::SubscriptionIndex::with_members`].
    pub id: ShareId,
    /// At least one, in the order of joining until one leaves; the last then takes its place.
    pub members: &'a [Target<S, O>],
}

/// Who gets the messages of one topic: the answer to a look into the index, in buffers that the next look reuses.
#[derive(Clone, Debug)]
pub struct Route<S, O> {
    direct: Vec<Target<S, O>>,
    /// Of all shares, one after the other.
    members: Vec<Target<S, O>>,
    /// Each share, and where its members end.
    shares: Vec<(ShareId, usize)>,
    /// How many filters matched that have subscriptions which are not shared.
    filters: u32,
    stamp: Stamp,
    /// Scratch of the look.
    pub(crate) frontier: Vec<u32>,
}

impl<S: Copy, O: Copy> Route<S, O> {
    /// One that leads to nobody.
    pub const fn new() -> Self {
        Self {
            direct: Vec::new(),
            members: Vec::new(),
            shares: Vec::new(),
            filters: 0,
            stamp: Stamp::NEVER,
            frontier: Vec::new(),
        }
    }

    /// The subscriptions that are not shared, each of which gets the message. If more than one of a session matched,
    /// they stand side by side.
    pub fn direct(&self) -> &[Target<S, O>] {
        &self.direct
    }

    /// Whether more than one of [`Route::direct`] may be of the same session.
    #[inline]
    pub fn may_repeat(&self) -> bool {
        self.filters > 1
    }

    /// The shared subscriptions, of each of which one member gets the message.
    pub fn shares(&self) -> impl ExactSizeIterator<Item = Share<'_, S, O>> {
        let mut from = 0;
        self.shares.iter().map(move |&(id, to)| {
            let members = &self.members[from..to];
            from = to;
            Share { id, members }
        })
    }

    /// Whether the message goes to nobody.
    pub fn is_empty(&self) -> bool {
        self.direct.is_empty() && self.shares.is_empty()
    }

    /// The state of the index in which this was found.
    pub fn stamp(&self) -> Stamp {
        self.stamp
    }

    /// Bytes that its buffers take.
    pub(crate) fn bytes(&self) -> usize {
        (self.direct.capacity() + self.members.capacity()) * size_of::<Target<S, O>>()
            + self.shares.capacity() * size_of::<(ShareId, usize)>()
            + self.frontier.capacity() * size_of::<u32>()
    }

    /// Bytes that a copy of it would take.
    pub(crate) fn content_bytes(&self) -> usize {
        (self.direct.len() + self.members.len()) * size_of::<Target<S, O>>()
            + self.shares.len() * size_of::<(ShareId, usize)>()
    }

    /// Becomes like `other`, in buffers that are not much too large.
    pub(crate) fn copy_from(&mut self, other: &Self) {
        replace(&mut self.direct, &other.direct);
        replace(&mut self.members, &other.members);
        replace(&mut self.shares, &other.shares);
        self.filters = other.filters;
        self.stamp = other.stamp;
    }

    pub(crate) fn clear(&mut self, stamp: Stamp) {
        self.direct.clear();
        self.members.clear();
        self.shares.clear();
        self.filters = 0;
        self.stamp = stamp;
    }

    pub(crate) fn push_direct(&mut self, targets: &[Target<S, O>]) {
        self.direct.extend_from_slice(targets);
        self.filters += 1;
    }

    pub(crate) fn push_share(&mut self, id: ShareId, members: &[Target<S, O>]) {
        self.members.extend_from_slice(members);
        self.shares.push((id, self.members.len()));
    }

    /// Puts the subscriptions of one session side by side. One filter has at most one of each.
    pub(crate) fn group_sessions(&mut self)
    where
        S: Ord,
    {
        if self.filters > 1 {
            self.direct.sort_unstable_by_key(|target| target.subscriber);
        }
    }
}

fn replace<T: Copy>(buffer: &mut Vec<T>, content: &[T]) {
    if buffer.capacity() / 2 > content.len() {
        *buffer = Vec::new();
    }
    buffer.clear();
    buffer.reserve_exact(content.len());
    buffer.extend_from_slice(content);
}

impl<S: Copy, O: Copy> Default for Route<S, O> {
    fn default() -> Self {
        Self::new()
    }
}
