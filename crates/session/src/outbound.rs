//! Messages of QoS 1 and 2 on their way out: queued, in flight, acknowledged.

use alloc::collections::VecDeque;

use mqway_codec::{PacketId, QoS};

/// Identifiers in a row that may be missing in what is put back, before it counts as scattered.
const MOST_FILLED: usize = 256;

/// What one side of a session has to deliver to the other, in order, across connections.
///
/// A message is pushed, waits until the receiver has room (its Receive Maximum), is sent with a packet identifier of
/// its own, and is kept until it is acknowledged. After a reconnect, [`Outbound::next_outgoing`] gives what was not
/// acknowledged again, in the original order, before anything new. What a message *is* doesn't matter here: `M` is
/// the caller's handle of it, and `K` what is kept of it between PUBREC and PUBCOMP.
///
/// Requests that need an identifier too (SUBSCRIBE, UNSUBSCRIBE) take it from the same space, by
/// [`Outbound::reserve`].
#[derive(Clone, Debug)]
pub struct Outbound<M, K = ()> {
    /// In the order in which identifiers were given: whatever has one, and gaps where one was given back.
    window: VecDeque<Entry<M, K>>,
    /// Messages without an identifier yet.
    queue: VecDeque<(QoS, M)>,
    queue_limit: usize,
    last_id: u16,
    /// Entries of the window before this one may have any identifiers; behind it they follow each other.
    scattered: usize,
    /// Entries of the window before this one have been sent on the present connection.
    sent: usize,
    /// Entries of the window that are messages, or PUBRELs that wait for their answer.
    in_flight: usize,
    /// Messages that may be sent before the next acknowledgement. [MQTT-4.9.0-1]
    quota: u16,
    /// What the quota is when nothing is in flight.
    receive_maximum: u16,
}

#[derive(Clone, Debug)]
struct Entry<M, K> {
    id: PacketId,
    state: State<M, K>,
}

#[derive(Clone, Debug)]
enum State<M, K> {
    /// A message that waits for PUBACK or PUBREC. [MQTT-4.3.2-3], [MQTT-4.3.3-3]
    Published {
        qos: QoS,
        message: M,
        /// It has been sent before, on whatever connection.
        dup: bool,
    },
    /// A message of QoS 2 whose PUBREC has come: PUBREL waits for PUBCOMP. The message itself is the receiver's.
    /// [MQTT-4.3.3-5], [MQTT-4.3.3-6]
    Released {
        /// Its PUBLISH was sent on this connection, and took from the quota.
        counted: bool,
        kept: K,
    },
    /// A SUBSCRIBE or UNSUBSCRIBE waits for its answer.
    Request,
    /// The identifier is free again.
    Free,
}

impl<M, K> Entry<M, K> {
    const FREE: Entry<M, K> = Entry { id: PacketId::MIN, state: State::Free };
}

/// Something to be sent now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outgoing<'a, M> {
    /// A PUBLISH with this identifier.
    Publish {
        /// Its packet identifier.
        id: PacketId,
        /// Its quality of service, 1 or 2.
        qos: QoS,
        /// It may have been received before. [MQTT-3.3.1-1]
        dup: bool,
        /// The message.
        message: &'a M,
    },
    /// A PUBREL, again: the one that was sent on an earlier connection has not been answered. [MQTT-4.4.0-1]
    Pubrel {
        /// The identifier of the message that it completes.
        id: PacketId,
    },
}

/// A place in the window, and the identifier that goes with it: see [`Outbound::ready`].
#[derive(Debug)]
pub struct Ready<'a, M, K = ()> {
    outbound: &'a mut Outbound<M, K>,
    id: PacketId,
}

/// What is left when the session is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Drained<M, K> {
    /// A message that the receiver may not have.
    Message {
        /// Its quality of service, 1 or 2.
        qos: QoS,
        /// It has been sent, on whatever connection.
        sent: bool,
        /// The message.
        message: M,
    },
    /// What was kept of a message whose PUBREC has come: it is the receiver's already.
    Released(K),
}

/// The peer acknowledged what is not in flight, or not so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownId;

/// The queue is full; the message is given back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Full<M>(pub M);

impl<M, K> Ready<'_, M, K> {
    /// The packet identifier.
    #[inline]
    pub fn id(&self) -> PacketId {
        self.id
    }

    /// Takes the place with a message of QoS 1 or 2, which the caller sends now: [`Outbound::next_outgoing`] will not give
    /// it.
    #[inline]
    pub fn send(self, qos: QoS, message: M) {
        debug_assert!(qos != QoS::AtMostOnce, "QoS 0 is not kept");
        let Ready { outbound, id } = self;
        outbound.last_id = id.value();
        // First a place and then what is in it. Pushed as a whole, it would go there by way of the stack, and in wider pieces
        // than it was written in, for which the processor waits until all that it wrote before is in its cache.
        outbound.window.push_back(Entry::FREE);
        if let Some(entry) = outbound.window.back_mut() {
            *entry = Entry { id, state: State::Published { qos, message, dup: true } };
        }
        outbound.in_flight += 1;
        outbound.sent += 1;
        outbound.quota -= 1;
    }
}

impl<M, K> Outbound<M, K> {
    /// Nothing to send, and no connection. At most `queue_limit` messages wait beside those in flight.
    pub fn new(queue_limit: usize) -> Outbound<M, K> {
        Outbound {
            window: VecDeque::new(),
            queue: VecDeque::new(),
            queue_limit,
            last_id: 0,
            scattered: 0,
            sent: 0,
            in_flight: 0,
            quota: 0,
            receive_maximum: 0,
        }
    }

    /// There is a connection whose receiver takes `receive_maximum` messages at once (65,535 before 5.0). What is in
    /// flight is to be sent again; answers to requests of the connection before will not come.
    pub fn connected(&mut self, receive_maximum: u16) {
        for entry in &mut self.window {
            match &mut entry.state {
                state @ State::Request => *state = State::Free,
                State::Released { counted, .. } => *counted = false,
                State::Published { .. } | State::Free => {}
            }
        }
        self.sent = 0;
        self.quota = receive_maximum;
        self.receive_maximum = receive_maximum;
        self.forget_free();
    }

    /// There is no connection: nothing is given out until the next one.
    pub fn disconnected(&mut self) {
        self.quota = 0;
        self.receive_maximum = 0;
    }

    /// Adds a message of QoS 1 or 2 to those that wait. One that can be sent at once is not one of these, so that some
    /// pass even where none may wait.
    ///
    /// # Errors
    /// If as many wait as may; the message comes back.
    pub fn push(&mut self, qos: QoS, message: M) -> Result<(), Full<M>> {
        debug_assert!(qos != QoS::AtMostOnce, "QoS 0 is not kept");
        let waits = !self.queue.is_empty() || !self.has_room();
        if self.queue.len() >= self.queue_limit && waits {
            return Err(Full(message));
        }
        self.queue.push_back((qos, message));
        Ok(())
    }

    /// A place for a message that is sent at once, if nothing else has to go first and the receiver has room.
    #[inline]
    pub fn ready(&mut self) -> Option<Ready<'_, M, K>> {
        // [MQTT-4.6.0-1], [MQTT-4.9.0-2]
        if !self.queue.is_empty() || !self.has_room() {
            return None;
        }
        let id = self.free_id()?;
        Some(Ready { outbound: self, id })
    }

    /// Adds a message that was accepted before, and came out by [`Outbound::drain`], whether or not the queue is full.
    pub fn push_again(&mut self, qos: QoS, message: M) {
        self.queue.push_back((qos, message));
    }

    /// Takes the oldest message that waits and has never been sent: to make room for a newer one.
    pub fn pop_oldest(&mut self) -> Option<M> {
        self.queue.pop_front().map(|(_, message)| message)
    }

    /// [`Outbound::pop_oldest`], if it is one of these: that have expired, say.
    pub fn pop_oldest_if(&mut self, is_one: impl FnOnce(&M) -> bool) -> Option<M> {
        if is_one(&self.queue.front()?.1) { self.pop_oldest() } else { None }
    }

    /// The next packet that may be sent now, if there is one. Call it until there is none.
    pub fn next_outgoing(&mut self) -> Option<Outgoing<'_, M>> {
        if self.receive_maximum == 0 {
            return None;
        }
        // Again first, and in the original order, under the same identifiers. [MQTT-4.6.0-1]; 3.1.1: [MQTT-2.3.1-3]
        while let Some(entry) = self.window.get(self.sent) {
            match entry.state {
                State::Free | State::Request => self.sent += 1,
                State::Released { .. } => {
                    self.sent += 1;
                    // Whatever the quota is. [MQTT-4.9.0-3]
                    return Some(Outgoing::Pubrel { id: self.window[self.sent - 1].id });
                }
                State::Published { .. } => break,
            }
        }
        if self.quota == 0 {
            return None; // [MQTT-4.9.0-2]
        }
        if self.sent == self.window.len() {
            if self.queue.is_empty() {
                return None;
            }
            // [MQTT-4.3.2-1], [MQTT-4.3.2-2], [MQTT-4.3.3-1], [MQTT-4.3.3-2]; 3.1.1: [MQTT-4.3.2-1], [MQTT-4.3.3-1]
            let id = self.free_id()?;
            let (qos, message) = self.queue.pop_front()?;
            self.last_id = id.value();
            self.window.push_back(Entry { id, state: State::Published { qos, message, dup: false } });
            self.in_flight += 1;
        }
        let entry = self.window.get_mut(self.sent)?;
        let State::Published { qos, message, dup } = &mut entry.state else {
            return None;
        };
        self.sent += 1;
        self.quota -= 1;
        Some(Outgoing::Publish { id: entry.id, qos: *qos, dup: core::mem::replace(dup, true), message })
    }

    /// PUBACK: a message of QoS 1 is delivered, or refused; either way it is done with. [MQTT-4.4.0-2]
    ///
    /// # Errors
    /// If no message of QoS 1 with this identifier is in flight.
    #[inline]
    pub fn puback(&mut self, id: PacketId) -> Result<M, UnknownId> {
        let message = match self.take_first(id) {
            Some(message) => message,
            None => self.take_published(id, QoS::AtLeastOnce)?,
        };
        self.complete();
        Ok(message)
    }

    /// Takes a message of QoS 1 out of the window if it is the first there, as most are: they are acknowledged in order.
    #[inline]
    fn take_first(&mut self, id: PacketId) -> Option<M> {
        let first = self.window.front().filter(|first| first.id == id && self.sent > 0)?;
        if !matches!(first.state, State::Published { qos: QoS::AtLeastOnce, .. }) {
            return None;
        }
        self.sent -= 1;
        self.scattered = self.scattered.saturating_sub(1);
        match self.window.pop_front()?.state {
            State::Published { message, .. } => Some(message),
            State::Released { .. } | State::Request | State::Free => None,
        }
    }

    /// PUBREC with a reason below 0x80: the receiver has a message of QoS 2, and PUBREL is to be sent. Of the message
    /// only what `keep` makes of it is needed any more. [MQTT-4.3.3-4]
    ///
    /// If the receiver said so before, PUBREL is to be sent once more, and nothing else changes.
    ///
    /// # Errors
    /// If no message of QoS 2 with this identifier is in flight: in 5.0 PUBREL says 0x92.
    pub fn pubrec(&mut self, id: PacketId, keep: impl FnOnce(M) -> K) -> Result<(), UnknownId> {
        if matches!(self.state(id), Some(State::Released { .. })) {
            return Ok(());
        }
        let message = self.take_published(id, QoS::ExactlyOnce)?;
        let state = self.state(id).ok_or(UnknownId)?;
        *state = State::Released { counted: true, kept: keep(message) };
        Ok(())
    }

    /// PUBREC with a reason of 0x80 and above: the message is refused and done with. [MQTT-4.4.0-2]
    ///
    /// # Errors
    /// If no message of QoS 2 with this identifier is in flight.
    pub fn pubrec_refused(&mut self, id: PacketId) -> Result<M, UnknownId> {
        let message = self.take_published(id, QoS::ExactlyOnce)?;
        self.complete();
        Ok(message)
    }

    /// PUBCOMP: a message of QoS 2 is done with.
    ///
    /// # Errors
    /// If no PUBREL with this identifier waits for an answer.
    pub fn pubcomp(&mut self, id: PacketId) -> Result<K, UnknownId> {
        let Some(state @ State::Released { .. }) = self.state(id) else {
            return Err(UnknownId);
        };
        let State::Released { counted, kept } = core::mem::replace(state, State::Free) else {
            return Err(UnknownId);
        };
        self.in_flight -= 1;
        if counted {
            self.return_quota();
        }
        self.forget_free();
        Ok(kept)
    }

    /// Whether a message of this connection is under way with this identifier: an acknowledgement that is not the next one
    /// for it is a fault of the receiver then, and no late one.
    pub fn is_under_way(&self, id: PacketId) -> bool {
        self.index(id).filter(|index| *index < self.sent).is_some_and(|index| {
            matches!(self.window[index].state, State::Published { .. } | State::Released { .. })
        })
    }

    /// An identifier for a SUBSCRIBE or UNSUBSCRIBE that is sent now. `None` if all 65,535 are in use.
    pub fn reserve(&mut self) -> Option<PacketId> {
        // Behind messages that still are to be sent again, a request would break their order in the window.
        let id = self.free_id()?;
        self.last_id = id.value();
        self.window.push_back(Entry { id, state: State::Request });
        Some(id)
    }

    /// The answer to a request has come.
    ///
    /// # Errors
    /// If no request has this identifier.
    pub fn release(&mut self, id: PacketId) -> Result<(), UnknownId> {
        match self.state(id) {
            Some(state @ State::Request) => *state = State::Free,
            _ => return Err(UnknownId),
        }
        self.forget_free();
        Ok(())
    }

    /// Whether the receiver takes another message now.
    pub fn has_room(&self) -> bool {
        self.quota > 0 && self.sent == self.window.len()
    }

    /// Messages that have been sent and not acknowledged, and PUBRELs that have not been answered.
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Messages that wait to be sent for the first time.
    pub fn queued(&self) -> usize {
        self.queue.len()
    }

    /// Whether nothing waits and nothing is in flight.
    pub fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.in_flight() == 0
    }

    /// The session is gone: gives back everything that was accepted and not done with, in order, and forgets it.
    pub fn drain(&mut self) -> impl Iterator<Item = Drained<M, K>> + '_ {
        self.sent = 0;
        self.scattered = 0;
        self.in_flight = 0;
        let in_flight = self.window.drain(..).filter_map(|entry| match entry.state {
            State::Published { qos, message, dup } => Some(Drained::Message { qos, sent: dup, message }),
            State::Released { kept, .. } => Some(Drained::Released(kept)),
            State::Request | State::Free => None,
        });
        let queued = |(qos, message)| Drained::Message { qos, sent: false, message };
        in_flight.chain(self.queue.drain(..).map(queued))
    }

    /// Puts back a message in flight that a store remembers of an earlier process. To be called in the original
    /// order, before the first connection.
    pub fn restore(&mut self, id: PacketId, qos: QoS, message: M) {
        // Whether it was sent nobody knows any more.
        self.restore_state(id, State::Published { qos, message, dup: true });
    }

    /// Puts back a PUBREL that a store remembers, likewise.
    pub fn restore_released(&mut self, id: PacketId, kept: K) {
        self.restore_state(id, State::Released { counted: false, kept });
    }

    fn restore_state(&mut self, id: PacketId, state: State<M, K>) {
        let follows = self.close_up(id);
        self.window.push_back(Entry { id, state });
        self.in_flight += 1;
        self.last_id = id.value();
        if !follows {
            self.scattered = self.window.len();
        }
    }

    /// Fills a small gap before an identifier that is put back, so that its place in the window tells where it is.
    /// False: it is too far from the last one, or nothing is there yet that it could follow.
    fn close_up(&mut self, id: PacketId) -> bool {
        let before = self.window.len();
        let mut value = self.last_id;
        for _ in 0..=MOST_FILLED {
            value = value.wrapping_add(1);
            match PacketId::new(value) {
                None => {}
                Some(next) if next == id => {
                    // What stands out of line may have one of those.
                    let scattered = self.window.iter().take(self.scattered);
                    let is_free =
                        |entry: &Entry<M, K>| self.window.range(before..).any(|free| free.id == entry.id);
                    if before > 0 && !scattered.clone().any(is_free) {
                        return true;
                    }
                    break;
                }
                Some(next) => self.window.push_back(Entry { id: next, state: State::Free }),
            }
        }
        self.window.truncate(before);
        false
    }

    /// Takes the message out of a PUBLISH that was sent on this connection, and frees its identifier.
    fn take_published(&mut self, id: PacketId, wanted: QoS) -> Result<M, UnknownId> {
        let index = self.index(id).filter(|index| *index < self.sent).ok_or(UnknownId)?;
        let state = &mut self.window[index].state;
        if !matches!(state, State::Published { qos, .. } if *qos == wanted) {
            return Err(UnknownId);
        }
        match core::mem::replace(state, State::Free) {
            State::Published { message, .. } => Ok(message),
            State::Released { .. } | State::Request | State::Free => Err(UnknownId),
        }
    }

    fn state(&mut self, id: PacketId) -> Option<&mut State<M, K>> {
        let index = self.index(id)?;
        Some(&mut self.window[index].state)
    }

    /// Where an identifier stands in the window. They are given in order, so that for most the distance tells.
    fn index(&self, id: PacketId) -> Option<usize> {
        if let Some(first) = self.window.get(self.scattered) {
            let first = first.id.value();
            let distance = usize::from(id.value().wrapping_sub(first));
            // Zero is no identifier: counting on past it comes one short.
            let guess = self.scattered + if id.value() < first { distance - 1 } else { distance };
            if self.window.get(guess).is_some_and(|entry| entry.id == id) {
                return Some(guess);
            }
        }
        self.window.iter().take(self.scattered).position(|entry| entry.id == id)
    }

    /// The next identifier that is free. [MQTT-2.2.1-3], [MQTT-2.2.1-4]
    fn free_id(&mut self) -> Option<PacketId> {
        if self.window.len() >= usize::from(u16::MAX) {
            self.close_gaps();
        }
        if self.window.len() >= usize::from(u16::MAX) {
            return None;
        }
        let mut value = self.last_id;
        loop {
            value = value.wrapping_add(1);
            let Some(id) = PacketId::new(value) else {
                continue;
            };
            // Where all identifiers in the window follow each other, it ends with the last one.
            if self.scattered == 0 || self.index(id).is_none() {
                return Some(id);
            }
            // It is passed over, so that what follows is not next to what came before.
            self.close_gaps();
        }
    }

    /// Some exchange has not ended while all other identifiers went round: those that are free leave the window.
    fn close_gaps(&mut self) {
        let free = |entry: &Entry<M, K>| matches!(entry.state, State::Free);
        let gone = self.window.iter().take(self.sent).filter(|entry| free(entry)).count();
        self.sent -= gone;
        self.window.retain(|entry| !free(entry));
        self.scattered = self.window.len();
    }

    /// A message is done with: the receiver has room for one more. [MQTT-4.9.0-2]
    fn complete(&mut self) {
        self.in_flight -= 1;
        self.return_quota();
        self.forget_free();
    }

    fn return_quota(&mut self) {
        self.quota = self.quota.saturating_add(1).min(self.receive_maximum);
    }

    #[inline]
    fn forget_free(&mut self) {
        while self.window.front().is_some_and(|entry| matches!(entry.state, State::Free)) {
            self.window.pop_front();
            self.sent = self.sent.saturating_sub(1);
            self.scattered = self.scattered.saturating_sub(1);
        }
    }
}
