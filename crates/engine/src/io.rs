//! What a core may ask of the engine.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mqway_transport::facts::Facts;
use mqway_transport::websocket::CloseCode;

use crate::admission::Admission;
use crate::blob::{Blob, Segment};
use crate::buffers::Pool;
use crate::conn::{Conn, Phase};
use crate::counters::{add, take};
use crate::mailbox::{Letter, Mailbox};
use crate::table::Table;
use crate::timers::{Due, Timers};
use crate::waiting::Buffers;
use crate::{ConnId, Counters, Dial, Limits, Origin, Poster};

/// One worker's connections, timers and mail, as its core sees them. Nothing here blocks or touches a socket:
/// what is asked for happens when the tick ends.
///
/// Calls that name a connection which is gone do nothing.
pub struct Io<M> {
    pub(crate) now: Duration,
    pub(crate) table: Table,
    /// Connections with something to write.
    pub(crate) dirty: Vec<ConnId>,
    /// Connections whose unread bytes are to be shown to the core again.
    pub(crate) resumed: Vec<ConnId>,
    pub(crate) effects: Vec<Effect<M>>,
    pub(crate) timers: Timers,
    pub(crate) pool: Pool,
    pub(crate) worker: usize,
    /// Mail of this tick, by worker.
    pub(crate) outbox: Vec<Vec<Letter<M>>>,
    pub(crate) shared: Arc<Shared<M>>,
}

/// What the workers of one engine have in common.
pub(crate) struct Shared<M> {
    pub limits: Limits,
    pub counters: Arc<Counters>,
    pub admission: Admission,
    pub mailboxes: Vec<Mailbox<M>>,
    /// When the engine started: all workers count time from there.
    pub started: std::time::Instant,
}

/// What a shell has to do for a connection, beyond reading and writing.
pub(crate) enum Effect<M> {
    /// Connect a socket for it.
    Dial(ConnId, Dial),
    /// Its socket may have bytes that were left alone.
    ReadAgain(ConnId),
    /// Shut its socket's sending side.
    Shut(ConnId),
    /// It is gone: close its socket and release its slot.
    Drop(ConnId),
    /// Its socket moves to another worker.
    HandOver(ConnId, Box<Conn>, usize, M),
}

impl<M> Io<M> {
    pub(crate) fn new(worker: usize, shared: Arc<Shared<M>>) -> Io<M> {
        Io {
            now: Duration::ZERO,
            table: Table::default(),
            dirty: Vec::new(),
            resumed: Vec::new(),
            effects: Vec::new(),
            timers: Timers::default(),
            pool: Pool::new(shared.limits.buffered, shared.mailboxes.len()),
            worker,
            outbox: shared.mailboxes.iter().map(|_| Vec::new()).collect(),
            shared,
        }
    }

    /// The time since the engine's start, as of the beginning of this tick.
    pub fn now(&self) -> Duration {
        self.now
    }

    /// This worker's number, from 0.
    pub fn worker(&self) -> usize {
        self.worker
    }

    /// How many workers there are.
    pub fn workers(&self) -> usize {
        self.outbox.len()
    }

    /// Sends one packet: on a WebSocket, as one message.
    #[inline]
    pub fn send(&mut self, conn: ConnId, packet: &[u8]) {
        self.push(conn, packet, |stack, bytes, out| stack.send(bytes, out));
    }

    /// Sends many whole packets that lie one behind the other. Only for a connection that does not frame packets:
    /// see [`Io::frames_packets`].
    #[inline]
    pub fn send_run(&mut self, conn: ConnId, packets: &[u8]) -> usize {
        debug_assert!(!self.frames_packets(conn), "packets of a WebSocket are sent one by one");
        self.push(conn, packets, |stack, bytes, out| stack.send(bytes, out))
    }

    /// Sends one packet that lies in two parts: what differs between receivers, and what they share. Returns how many
    /// bytes now wait to be written to the connection's socket.
    #[inline]
    pub fn send_parts(&mut self, id: ConnId, head: &[u8], tail: &[u8]) -> usize {
        self.send_marked(id, head, tail, |_| {})
    }

    /// [`Io::send_parts`], where `mark` puts into `head` what differs between receivers. It does so where `head` is sent
    /// from: a copy that was just changed would be read in wider pieces than it was changed in, for which the processor
    /// waits until all that it wrote before is in its cache.
    #[inline]
    pub fn send_marked(
        &mut self,
        id: ConnId,
        head: &[u8],
        tail: &[u8],
        mark: impl FnOnce(&mut [u8]),
    ) -> usize {
        let Some(conn) = self.table.find(id) else { return 0 };
        if conn.phase != Phase::Open || conn.flags.shut {
            return 0;
        }
        let plain = &mut conn.waiting.buffers().plain;
        self.pool.lend(plain);
        let (before, len) = (plain.len(), head.len() + tail.len());
        match &mut conn.stack {
            Some(stack) if stack.masks() => {
                let mut head = head.to_vec();
                mark(&mut head);
                stack.send_parts(&head, tail, plain);
            }
            stack => {
                match stack {
                    None => {
                        plain.extend_from_slice(head);
                        plain.extend_from_slice(tail);
                    }
                    Some(stack) => stack.send_parts(head, tail, plain),
                }
                // A stack that has closed takes nothing more.
                if plain.len() >= before + len {
                    let start = plain.len() - len;
                    mark(&mut plain[start..start + head.len()]);
                }
            }
        }
        if !conn.flags.dirty {
            conn.flags.dirty = true;
            self.dirty.push(id);
        }
        conn.queued()
    }

    /// [`Io::send_parts`], where what receivers share is so large that it is not copied to each of them: it is written
    /// from where it lies. Where that cannot be, because the connection masks what it sends, it is copied.
    pub fn send_blob(&mut self, id: ConnId, head: &[u8], blob: &Arc<Blob>) -> usize {
        let Some(conn) = self.table.find(id) else { return 0 };
        if conn.phase != Phase::Open || conn.flags.shut {
            return 0;
        }
        if conn.stack.as_ref().is_some_and(|stack| stack.masks()) {
            return self.send_parts(id, head, blob.bytes());
        }
        let buffers = conn.waiting.buffers();
        self.pool.lend(&mut buffers.plain);
        let goes = match &mut conn.stack {
            None => {
                buffers.plain.extend_from_slice(head);
                true
            }
            Some(stack) => stack.send_head(head, blob.bytes().len(), &mut buffers.plain),
        };
        if goes {
            buffers.push(Segment::new(blob.clone(), self.shared.counters.clone()));
        }
        if !conn.flags.dirty {
            conn.flags.dirty = true;
            self.dirty.push(id);
        }
        conn.queued()
    }

    /// Begins a packet of `len` bytes in all, which [`Io::send_piece`] then sends as they come.
    pub fn begin_packet(&mut self, conn: ConnId, len: usize) {
        self.push(conn, &[], |stack, _, out| stack.begin_packet(len, out));
    }

    /// Sends the next bytes of a packet that was begun.
    pub fn send_piece(&mut self, conn: ConnId, piece: &[u8]) {
        self.push(conn, piece, |stack, bytes, out| stack.send_piece(bytes, out));
    }

    #[inline]
    fn push(
        &mut self,
        id: ConnId,
        bytes: &[u8],
        framed: impl FnOnce(&mut mqway_transport::Stack, &[u8], &mut Vec<u8>),
    ) -> usize {
        let Some(conn) = self.table.find(id) else { return 0 };
        if conn.phase != Phase::Open || conn.flags.shut {
            return 0;
        }
        let plain = &mut conn.waiting.buffers().plain;
        self.pool.lend(plain);
        match &mut conn.stack {
            None => plain.extend_from_slice(bytes),
            Some(stack) => framed(stack, bytes, plain),
        }
        if !conn.flags.dirty {
            conn.flags.dirty = true;
            self.dirty.push(id);
        }
        conn.queued()
    }

    /// Whether each packet must be sent by its own [`Io::send`], because the connection is a WebSocket.
    pub fn frames_packets(&self, conn: ConnId) -> bool {
        self.table.look(conn).is_some_and(|conn| conn.stack.is_some())
    }

    /// Bytes that wait to be written to the connection's socket.
    pub fn queued(&self, conn: ConnId) -> usize {
        self.table.look(conn).map_or(0, Conn::queued)
    }

    /// Bytes that may still be sent before half of the room in all buffers is taken, as of the last writes: beyond that
    /// it is time to be sparing, before connections are dropped for want of room.
    pub fn room(&self) -> usize {
        let buffered = usize::try_from(self.shared.counters.buffered_now()).unwrap_or(usize::MAX);
        (self.shared.limits.buffered / 2).saturating_sub(buffered)
    }

    /// The engine's counters.
    pub fn counters(&self) -> Arc<Counters> {
        self.shared.counters.clone()
    }

    /// Bytes that a core may leave unused of one connection: a packet that must be whole can be no larger.
    pub fn unread_limit(&self) -> usize {
        self.shared.limits.unread
    }

    /// Shows the core no more of the connection's bytes until [`Io::resume`]; its socket is not read.
    pub fn pause(&mut self, conn: ConnId) {
        if let Some(conn) = self.table.find(conn) {
            conn.flags.paused = true;
        }
    }

    /// Ends a [`Io::pause`]. Bytes that the core left unused, paused or not, are shown again in this tick.
    pub fn resume(&mut self, id: ConnId) {
        let Some(conn) = self.table.find(id) else { return };
        conn.flags.paused = false;
        if !conn.flags.resumed {
            conn.flags.resumed = true;
            self.resumed.push(id);
        }
    }

    /// Ends our side: what was sent is written, then the WebSocket and TLS are closed in their own words and the
    /// socket is shut for sending. What the peer still sends is passed on, for a bounded time, until
    /// [`Core::closed`](crate::Core::closed).
    pub fn finish(&mut self, id: ConnId, code: CloseCode) {
        self.wind_up(id, code, Phase::Finishing);
    }

    /// Ends the connection for the core: what was sent is written, then all is closed in order, in a bounded
    /// time. What the peer still sends is thrown away.
    pub fn close(&mut self, id: ConnId, code: CloseCode) {
        self.wind_up(id, code, Phase::Closing);
    }

    fn wind_up(&mut self, id: ConnId, code: CloseCode, phase: Phase) {
        let Some(conn) = self.table.find(id) else { return };
        match (conn.phase, phase) {
            (Phase::Closing, _) | (Phase::Finishing, Phase::Finishing) => return,
            (Phase::Dialling, _) => return self.abort(id),
            (Phase::Finishing, _) => conn.phase = phase,
            (Phase::Handshaking | Phase::Open, _) => {
                if let Some(stack) = &mut conn.stack {
                    stack.close(code, &mut conn.waiting.buffers().plain);
                }
                conn.phase = phase;
                conn.deadline = (self.now + self.shared.limits.close_time).into();
                self.timers.set(conn.deadline, Due::Conn(id));
            }
        }
        if phase == Phase::Closing {
            self.pool.take_back(&mut conn.waiting.take_unread());
        }
        // A core that had paused a connection would otherwise never learn that its peer is gone.
        if phase == Phase::Closing && (conn.flags.paused || conn.flags.full) {
            conn.flags.paused = false;
            conn.flags.full = false;
            self.effects.push(Effect::ReadAgain(id));
        }
        self.mark_dirty(id);
    }

    /// Drops the connection at once, with whatever waits in it.
    pub fn abort(&mut self, id: ConnId) {
        self.remove(id);
    }

    /// Makes a connection. It is [`opened`](crate::Core::opened) once every handshake is done, with `key` in its
    /// [`Origin`], or [`closed`](crate::Core::closed) with the reason why not.
    pub fn dial(&mut self, key: u64, dial: Dial) -> ConnId {
        let mut conn = Conn::new(Origin::Dialled(key), Phase::Dialling, None);
        conn.deadline = (self.now + dial.time_limit).into();
        let deadline = conn.deadline;
        let id = self.table.insert(conn);
        add(&self.shared.counters.open, 1);
        add(&self.shared.counters.dialled, 1);
        self.timers.set(deadline, Due::Conn(id));
        self.effects.push(Effect::Dial(id, dial));
        id
    }

    /// The address of the peer: the socket's, or the one that a PROXY header or a trusted forwarder named.
    pub fn peer(&self, conn: ConnId) -> Option<SocketAddr> {
        self.table.look(conn).and_then(|conn| conn.peer)
    }

    /// How the connection came to be.
    pub fn origin(&self, conn: ConnId) -> Option<Origin> {
        self.table.look(conn).map(|conn| conn.origin)
    }

    /// What TLS and HTTP told about the connection; given once.
    pub fn take_facts(&mut self, conn: ConnId) -> Option<Box<Facts>> {
        self.table.find(conn).and_then(|conn| conn.stack.as_mut()?.take_facts())
    }

    /// Whether the peer has taken anything since this was last asked: a slow one does, one that is gone does not.
    pub fn has_moved(&mut self, id: ConnId) -> bool {
        self.table.find(id).is_some_and(|conn| std::mem::take(&mut conn.flags.moved))
    }

    /// Has [`Core::timer`](crate::Core::timer) called with `key` at `at`. It is not cancelled: a core checks
    /// whether the moment still means something.
    pub fn set_timer(&mut self, at: Duration, key: u64) {
        self.timers.set(at, Due::Core(key));
    }

    /// Writes to another worker's core, or to one's own. Gives the mail back if that mailbox is full, or there is no
    /// such worker.
    pub fn post(&mut self, worker: usize, mail: M) -> Result<(), M> {
        let mailbox = self.shared.mailboxes.get(worker);
        match (self.outbox.get_mut(worker), mailbox) {
            (Some(outbox), Some(mailbox)) if outbox.len() + mailbox.len() < self.shared.limits.mailbox => {
                outbox.push(Letter::Mail(mail));
                Ok(())
            }
            _ => Err(mail),
        }
    }

    /// A handle that writes to the workers, from any thread.
    pub fn poster(&self) -> Poster<M> {
        Poster { shared: self.shared.clone() }
    }

    /// Gives an open connection, with all its state, to another worker, whose core hears of it by
    /// [`Core::arrived`](crate::Core::arrived). Bytes that this core did not use go along: `data` should return
    /// how many it used and show no more interest. Without such a worker the connection is closed.
    pub fn hand_over(&mut self, id: ConnId, worker: usize, mail: M) {
        if worker >= self.workers() {
            return self.abort(id);
        }
        let Some(mut conn) = self.table.remove(id) else { return };
        self.account_to(&mut conn, 0);
        conn.flags.dirty = false;
        conn.flags.resumed = false;
        self.effects.push(Effect::HandOver(id, Box::new(conn), worker, mail));
    }

    pub(crate) fn mark_dirty(&mut self, id: ConnId) {
        if let Some(conn) = self.table.find(id)
            && !conn.flags.dirty
        {
            conn.flags.dirty = true;
            self.dirty.push(id);
        }
    }

    /// Forgets a connection and has its socket closed.
    pub(crate) fn remove(&mut self, id: ConnId) {
        let Some(mut conn) = self.table.remove(id) else { return };
        self.account_to(&mut conn, 0);
        take(&self.shared.counters.open, 1);
        if matches!(conn.origin, Origin::Accepted(_)) {
            self.shared.admission.leave();
        }
        if let (true, Some(peer)) = (conn.flags.counted, conn.peer) {
            self.shared.admission.leave_address(peer.ip());
        }
        let Buffers { unread, plain, wire, .. } = conn.waiting.take();
        for mut buffer in [unread, plain, wire] {
            self.pool.take_back(&mut buffer);
        }
        self.effects.push(Effect::Drop(id));
    }

    /// Brings the count of buffered bytes up to date for one connection.
    pub(crate) fn account(&mut self, id: ConnId) {
        let Some(conn) = self.table.find(id) else { return };
        let held = conn.waiting.held();
        if held == conn.accounted {
            return;
        }
        account(&self.shared.counters, &mut conn.accounted, held);
    }

    fn account_to(&mut self, conn: &mut Conn, held: usize) {
        account(&self.shared.counters, &mut conn.accounted, held);
    }
}

fn account(counters: &Counters, accounted: &mut usize, held: usize) {
    if held > *accounted {
        add(&counters.buffered, (held - *accounted) as u64);
    } else {
        take(&counters.buffered, (*accounted - held) as u64);
    }
    *accounted = held;
}
