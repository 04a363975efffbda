//! A core with its connections, driven by a shell: everything that the engine decides, without a socket.
//!
//! The mio worker and the simulator both call it with what happened on their sockets, and then
//! [`Driver::settle`], which lets the core have its say and writes what is to be written.

use std::io::{self as std_io, IoSlice};
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use mqway_transport::{
    Blame, ClientOptions, Error as TransportError, ErrorKind, ServerOptions, Stack, Stage,
};

use crate::buffers::{HEADROOM, ReadBuffer};
use crate::conn::{Conn, Phase, deadline_name};
use crate::counters::add;
use crate::io::{Effect, Shared};
use crate::timers::{Due, Moment, ShellDue};
use crate::waiting::Buffers;
use crate::{ConnId, Core, Counters, Io, ListenerId, Origin, Why};

/// How often in one tick the core may answer to what its own answers brought about, before others get their turn.
const MOST_ROUNDS: usize = 16;

/// Bytes that are encrypted at once where some of them are shared with other connections: of these, no more than that is
/// copied before the socket takes it.
const SEALED_AT_ONCE: usize = 64 * 1024;

/// What a shell does for the driver.
pub(crate) trait Shell<M> {
    /// Writes to the connection's socket, without blocking.
    fn write(&mut self, conn: ConnId, bytes: &[u8]) -> std_io::Result<usize>;

    /// [`Shell::write`] of what lies in many places.
    fn write_slices(&mut self, conn: ConnId, slices: &[IoSlice<'_>]) -> std_io::Result<usize>;

    /// Does what the core or the driver asked for.
    fn apply(&mut self, effect: Effect<M>);
}

/// A core and its connections.
pub(crate) struct Driver<C: Core> {
    pub core: C,
    pub io: Io<C::Mail>,
    /// Where TLS decrypts to.
    scratch: Vec<u8>,
    /// The program ends: nobody is let in any more.
    stopping: bool,
    /// A moment is set at which buffers that nobody uses are let go.
    ageing: bool,
}

/// How long a buffer lies unused before it is let go, and at the most twice as long.
const POOL_AGE: Duration = Duration::from_secs(2);

impl<C: Core> Driver<C> {
    pub fn new(core: C, worker: usize, shared: Arc<Shared<C::Mail>>) -> Driver<C> {
        Driver { core, io: Io::new(worker, shared), scratch: Vec::new(), stopping: false, ageing: false }
    }

    /// A listener accepted a connection, which the shared admission has let in.
    pub fn accepted(
        &mut self,
        listener: ListenerId,
        options: &Arc<ServerOptions>,
        peer: Option<SocketAddr>,
    ) -> Option<ConnId> {
        if self.stopping {
            self.io.shared.admission.leave();
            return None;
        }
        let mut conn = Conn::new(Origin::Accepted(listener), Phase::Handshaking, peer);
        // Behind a load balancer or a forwarder the socket's address is not the client's.
        let direct = !options.proxy_protocol && options.trusted_forwarders.is_empty();
        if direct && !count_address(&self.io.shared, &mut conn) {
            self.io.shared.admission.leave();
            return None;
        }
        let plain = !options.proxy_protocol && options.tls.is_none() && options.websocket.is_none();
        if !plain {
            conn.stack = Some(Box::new(Stack::server(options, peer)));
            conn.deadline = (self.io.now + self.io.shared.limits.handshake_time).into();
        }
        let deadline = conn.deadline;
        let id = self.io.table.insert(conn);
        add(&self.counters().open, 1);
        if plain {
            self.open(id);
        } else {
            self.io.timers.set(deadline, Due::Conn(id));
        }
        Some(id)
    }

    /// A dialled connection's socket is connected.
    pub fn connected(&mut self, id: ConnId, options: &Arc<ClientOptions>, peer: Option<SocketAddr>) {
        let Some(conn) = self.io.table.find(id) else { return };
        conn.peer = peer;
        conn.phase = Phase::Handshaking;
        if options.tunnel.is_none() && options.tls.is_none() && options.websocket.is_none() {
            return self.open(id);
        }
        match Stack::client(options, &mut conn.waiting.buffers().plain) {
            Ok(stack) => conn.stack = Some(Box::new(stack)),
            Err(error) => return self.fail(id, Why::Transport(error)),
        }
        self.io.mark_dirty(id);
    }

    /// A connection has come from another worker; the core is told next, and then [`Driver::show_arrived`].
    pub fn arrived(&mut self, conn: Conn) -> ConnId {
        let id = self.io.table.insert(conn);
        self.io.account(id);
        self.io.mark_dirty(id);
        id
    }

    /// Shows the core the bytes that its predecessor did not use.
    pub fn show_arrived(&mut self, id: ConnId) {
        let Some(conn) = self.io.table.find(id) else { return };
        if !conn.flags.paused && !conn.flags.resumed {
            conn.flags.resumed = true;
            self.io.resumed.push(id);
        }
    }

    /// The shell has read `len` bytes into `buffer`.
    pub fn receive(&mut self, id: ConnId, buffer: &mut ReadBuffer, len: usize) {
        add(&self.counters().bytes_read, len as u64);
        let Some(conn) = self.io.table.find(id) else { return };
        if conn.flags.failed {
            return;
        }
        let Some(stack) = &mut conn.stack else { return self.deliver_read(id, buffer, 0..len) };

        let in_place = stack.stage() == Stage::Open && !stack.must_seal();
        let stuffed = stack.stage() == Stage::Open && conn.flags.blocked;
        let plain = &mut conn.waiting.buffers().plain;
        let gathered = plain.len();
        let mut scratch = std::mem::take(&mut self.scratch);
        let result = stack.receive(&mut buffer.space()[..len], &mut scratch, plain);
        match result {
            Ok(received) => {
                // A peer that pings and never reads would have its pongs pile up here.
                if stuffed && !received.ended && received.failed.is_none() {
                    plain.truncate(gathered);
                }
                let says_something = plain.len() > gathered || stack.must_seal();
                conn.waiting.trim();
                if says_something {
                    self.io.mark_dirty(id);
                }
                if received.opened {
                    self.open(id);
                }
                let (ended, failed) = (received.ended, received.failed);
                if in_place {
                    let read = received.offset..received.offset + received.data.len();
                    self.deliver_read(id, buffer, read);
                } else {
                    self.deliver(id, received.data);
                }
                match failed {
                    Some(error) => self.fail(id, Why::Transport(error)),
                    None if ended => self.peer_ended(id),
                    None => {}
                }
            }
            Err(error) => self.fail(id, Why::Transport(error)),
        }
        self.scratch = scratch;
    }

    /// The peer has shut its side of the socket.
    pub fn receive_end(&mut self, id: ConnId) {
        let Some(conn) = self.io.table.find(id) else { return };
        if let Some(stack) = &mut conn.stack
            && let Err(error) = stack.receive_eof()
        {
            conn.flags.peer_ended = true;
            return self.fail(id, Why::Transport(error));
        }
        self.peer_ended(id);
    }

    /// The socket is broken, or could not be connected.
    pub fn socket_failed(&mut self, id: ConnId, why: Why) {
        let Some(conn) = self.io.table.find(id) else { return };
        let (phase, origin) = (conn.phase, conn.origin);
        let why = match (why, &conn.stack) {
            (Why::Socket(error), Some(stack)) if phase == Phase::Handshaking => lost(stack.stage(), &error),
            (why, _) => why,
        };
        self.io.remove(id);
        self.tell_closed(id, phase, origin, why);
    }

    /// The program ends. The core ends the connections that it knows; those that still shake hands, or have just
    /// come from another worker's listener, must not keep it waiting, nor get in.
    pub fn stop(&mut self) {
        self.stopping = true;
        let handshaking =
            |conn: &Conn| conn.phase == Phase::Handshaking && matches!(conn.origin, Origin::Accepted(_));
        let ids: Vec<_> =
            self.io.table.each().filter(|(_, conn)| handshaking(conn)).map(|(id, _)| id).collect();
        for id in ids {
            self.io.remove(id);
        }
        self.core.stop(&mut self.io);
    }

    /// Tells the core of moments that have come; returns the shell's own.
    pub fn expire(&mut self, now: Duration, shell_due: &mut Vec<ShellDue>) {
        self.io.now = now;
        if self.io.timers.are_many() {
            let Driver { core, io, .. } = self;
            let Io { timers, table, .. } = io;
            timers.sweep(|due| match due {
                Due::Core(key) => core.awaits(*key),
                Due::Conn(id) => table.look(*id).is_some_and(|conn| conn.deadline < Moment::NEVER),
                Due::Pool | Due::Shell(_) => true,
            });
        }
        // What is set meanwhile for now comes in the next turn, so that this one ends.
        for _ in 0..self.io.timers.len() {
            let Some(due) = self.io.timers.pop(now) else { break };
            match due {
                Due::Core(key) => self.core.timer(&mut self.io, key),
                Due::Conn(id) => self.deadline(id),
                Due::Pool => {
                    self.io.pool.age();
                    self.ageing = false;
                }
                Due::Shell(due) => shell_due.push(due),
            }
        }
    }

    /// Lets the core answer, writes what there is, and repeats while that leads to more. Returns whether
    /// something is left to do at once.
    pub fn settle(&mut self, shell: &mut impl Shell<C::Mail>) -> bool {
        if !self.ageing && !self.io.pool.is_empty() {
            self.ageing = true;
            self.io.timers.set(self.io.now + POOL_AGE, Due::Pool);
        }
        for _ in 0..MOST_ROUNDS {
            self.show_resumed();
            self.core.end_tick(&mut self.io);
            self.flush(shell);
            for effect in std::mem::take(&mut self.io.effects) {
                let done =
                    if let Effect::Drop(id) | Effect::HandOver(id, ..) = &effect { Some(*id) } else { None };
                shell.apply(effect);
                if let Some(id) = done {
                    self.io.table.release(id);
                }
            }
            if self.io.resumed.is_empty() && self.io.dirty.is_empty() && self.io.effects.is_empty() {
                return false;
            }
        }
        true
    }

    fn counters(&self) -> &Counters {
        &self.io.shared.counters
    }

    fn open(&mut self, id: ConnId) {
        let Io { table, shared, .. } = &mut self.io;
        let Some(conn) = table.find(id) else { return };
        let named = conn.stack.as_ref().and_then(|stack| stack.facts()?.peer);
        conn.peer = named.or(conn.peer);
        conn.deadline = Moment::NEVER;
        conn.phase = Phase::Open;
        let origin = conn.origin;
        let counted = matches!(origin, Origin::Dialled(_)) || conn.flags.counted;
        if !counted && !count_address(shared, conn) {
            return self.io.remove(id);
        }
        self.core.opened(&mut self.io, id, origin);
    }

    /// Shows the core some of the bytes read, after those that it left unused before.
    fn deliver_read(&mut self, id: ConnId, buffer: &mut ReadBuffer, read: Range<usize>) {
        let Some(conn) = self.io.table.find(id) else { return };
        if conn.flags.paused || conn.waiting.unread() > HEADROOM || conn.phase == Phase::Closing {
            return self.deliver(id, &mut buffer.space()[read]);
        }
        if read.is_empty() {
            return;
        }
        let mut before = conn.waiting.take_unread();
        let data = buffer.joined(&before, read);
        if before.capacity() > 0 {
            self.io.pool.take_back(&mut before);
        }
        let used = self.core.data(&mut self.io, id, data);
        self.keep(id, data, used);
    }

    /// Shows the core bytes, after those that it left unused before.
    fn deliver(&mut self, id: ConnId, data: &mut [u8]) {
        let Some(conn) = self.io.table.find(id) else { return };
        if data.is_empty() || !matches!(conn.phase, Phase::Open | Phase::Finishing) {
            return;
        }
        if conn.flags.paused {
            self.keep(id, data, 0);
        } else if conn.waiting.unread() == 0 {
            let used = self.core.data(&mut self.io, id, data);
            self.keep(id, data, used);
        } else {
            conn.waiting.buffers().unread.extend_from_slice(data);
            self.show_unread(id);
        }
    }

    /// Shows the core what it left unused.
    fn show_unread(&mut self, id: ConnId) {
        let Some(conn) = self.io.table.find(id) else { return };
        let mut unread = conn.waiting.take_unread();
        let used = self.core.data(&mut self.io, id, &mut unread).min(unread.len());
        unread.drain(..used);
        self.io.pool.shrink(&mut unread);
        match self.io.table.find(id) {
            Some(conn) if !unread.is_empty() => {
                conn.waiting.buffers().unread = unread;
                self.bound_unread(id, used);
            }
            Some(_) | None => {
                match handed_over(&mut self.io.effects, id) {
                    Some(conn) => conn.waiting.buffers().unread = unread,
                    None => self.io.pool.take_back(&mut unread),
                }
                self.bound_unread(id, used);
            }
        }
    }

    /// Keeps what the core did not use, until more comes or it resumes.
    fn keep(&mut self, id: ConnId, data: &[u8], used: usize) {
        let left = &data[used.min(data.len())..];
        if !left.is_empty() {
            let Io { table, effects, pool, .. } = &mut self.io;
            if let Some(conn) = table.find(id).or_else(|| handed_over(effects, id))
                && conn.phase != Phase::Closing
            {
                pool.store(&mut conn.waiting.buffers().unread, left);
            }
        }
        self.bound_unread(id, used);
    }

    /// Leaves the socket alone while too much lies unread, and drops the connection where that cannot end.
    fn bound_unread(&mut self, id: ConnId, used: usize) {
        let Some(conn) = self.io.table.find(id) else { return };
        let full = conn.waiting.unread() >= self.io.shared.limits.unread;
        let paused = conn.flags.paused;
        if conn.flags.full && !full {
            self.io.effects.push(Effect::ReadAgain(id));
        }
        conn.flags.full = full;
        self.io.account(id);
        if full && used == 0 && !paused {
            self.over_limit(id, "bytes that wait for the rest of their packet");
        } else if self.holds_too_much(id)
            && self.io.table.find(id).is_some_and(|conn| conn.waiting.unread() > 0)
        {
            self.over_limit(id, "bytes buffered in all");
        }
    }

    /// Whether a connection holds more bytes than are left for all others. So whoever holds most has to give way, and a
    /// connection that needs little is served however many others are stuck: each of n such holds no more than one part
    /// in n + 1 of the limit.
    fn holds_too_much(&self, id: ConnId) -> bool {
        let limit = self.io.shared.limits.buffered as u64;
        let left = limit.saturating_sub(self.counters().buffered_now());
        let holds = |conn: &Conn| (conn.queued() + conn.waiting.unread()).max(conn.waiting.held());
        self.io.table.look(id).is_some_and(|conn| holds(conn) as u64 > left)
    }

    /// There is no room for what came: its connection ends. 3.1.1: [MQTT-4.8.0-2]
    fn over_limit(&mut self, id: ConnId, which: &'static str) {
        add(&self.counters().dropped_over_limit, 1);
        self.socket_failed(id, Why::Limit(which));
    }

    fn show_resumed(&mut self) {
        for id in std::mem::take(&mut self.io.resumed) {
            let Some(conn) = self.io.table.find(id) else { continue };
            conn.flags.resumed = false;
            if conn.flags.paused {
                continue;
            }
            if conn.waiting.unread() > 0 {
                self.show_unread(id);
            }
            self.io.effects.push(Effect::ReadAgain(id));
            if let Some(conn) = self.io.table.find(id) {
                conn.flags.told_ended = false;
            }
            self.tell_ended(id);
        }
    }

    fn peer_ended(&mut self, id: ConnId) {
        let Some(conn) = self.io.table.find(id) else { return };
        conn.flags.peer_ended = true;
        self.tell_ended(id);
        self.conclude(id);
    }

    /// Tells the core that the peer has ended, once it has been shown all that came before.
    fn tell_ended(&mut self, id: ConnId) {
        let Some(conn) = self.io.table.find(id) else { return };
        // What lies unread of a connection that was resumed in this tick is still to be shown.
        let shown = !(conn.flags.paused || conn.flags.resumed) || conn.waiting.unread() == 0;
        if conn.flags.peer_ended && shown && !conn.flags.told_ended {
            conn.flags.told_ended = true;
            if matches!(conn.phase, Phase::Open | Phase::Finishing) {
                self.core.ended(&mut self.io, id);
            }
        }
    }

    /// Ends a connection because of an error. Last words that the stack has left are still written.
    fn fail(&mut self, id: ConnId, why: Why) {
        let Some(conn) = self.io.table.find(id) else { return };
        let (phase, origin) = (conn.phase, conn.origin);
        if phase == Phase::Closing {
            return self.io.remove(id);
        }
        conn.phase = Phase::Closing;
        conn.flags.failed = true;
        conn.deadline = (self.io.now + self.io.shared.limits.close_time).into();
        let deadline = conn.deadline;
        self.io.timers.set(deadline, Due::Conn(id));
        self.io.mark_dirty(id);
        self.tell_closed(id, phase, origin, why);
    }

    fn deadline(&mut self, id: ConnId) {
        let Some(conn) = self.io.table.find(id) else { return };
        if conn.deadline > self.io.now.into() {
            return;
        }
        let (phase, origin) = (conn.phase, conn.origin);
        if let (Phase::Handshaking, Some(stack)) = (phase, &mut conn.stack) {
            let error = stack.timed_out(&mut conn.waiting.buffers().plain);
            if matches!(origin, Origin::Accepted(_)) {
                add(&self.counters().handshake_timeouts, 1);
            }
            return self.fail(id, Why::Transport(error));
        }
        self.socket_failed(id, deadline_name(phase));
    }

    /// Tells the core, if it knows of the connection, and the log, if it doesn't.
    fn tell_closed(&mut self, id: ConnId, phase: Phase, origin: Origin, why: Why) {
        match (phase, origin) {
            (Phase::Closing, _) => {}
            (Phase::Dialling | Phase::Handshaking, Origin::Accepted(listener)) => {
                self.tell_handshake_failed(id, listener, &why);
            }
            (Phase::Dialling | Phase::Handshaking, Origin::Dialled(_)) => {
                add(&self.counters().dial_failures, 1);
                self.core.closed(&mut self.io, id, &why);
            }
            (Phase::Open | Phase::Finishing, _) => self.core.closed(&mut self.io, id, &why),
        }
    }

    fn tell_handshake_failed(&self, id: ConnId, listener: ListenerId, why: &Why) {
        add(&self.counters().handshake_failures, 1);
        let peer = self.io.peer(id).map_or_else(|| "a client".to_owned(), |peer| peer.to_string());
        let level = match why {
            Why::Transport(error) if error.blame() == Blame::Local => log::Level::Warn,
            _ => log::Level::Info,
        };
        log::log!(level, "listener {}: {peer}: {why}", listener.0 + 1);
    }

    fn flush(&mut self, shell: &mut impl Shell<C::Mail>) {
        for id in std::mem::take(&mut self.io.dirty) {
            if let Some(conn) = self.io.table.find(id) {
                conn.flags.dirty = false;
                self.write(id, shell);
            }
        }
    }

    /// Writes as much as the socket takes.
    pub fn write(&mut self, id: ConnId, shell: &mut impl Shell<C::Mail>) {
        loop {
            let Some(conn) = self.io.table.find(id) else { return };
            if conn.phase == Phase::Dialling {
                return;
            }
            if conn.flags.shut {
                break;
            }
            if conn.waiting.is_written()
                && let Err(error) = self.refill(id)
            {
                return self.fail(id, Why::Transport(error));
            }
            let Some(conn) = self.io.table.find(id) else { return };
            let (asked, result) = match conn.waiting.slices() {
                Some(slices) => {
                    (slices.iter().map(|slice| slice.len()).sum(), shell.write_slices(id, &slices))
                }
                None => match conn.waiting.to_write() {
                    [] => break,
                    bytes => (bytes.len(), shell.write(id, bytes)),
                },
            };
            let counters = &self.io.shared.counters;
            add(&counters.writes, 1);
            match result {
                Ok(written) => {
                    add(&counters.bytes_written, written as u64);
                    conn.waiting.wrote(written);
                    conn.flags.moved = true;
                    if written < asked {
                        break;
                    }
                }
                Err(error) if error.kind() == std_io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == std_io::ErrorKind::Interrupted => {}
                Err(error) => return self.write_failed(id, error),
            }
        }
        if let Some(conn) = self.io.table.find(id) {
            conn.waiting.compact(&mut self.io.pool);
        }
        self.io.account(id);
        self.tell_pace(id);
        self.conclude(id);
    }

    /// The peer takes no more. What it had sent before may still lie in the socket: a broker that refuses a
    /// client says why and closes, while the client is still sending. So what can be read is read first.
    fn write_failed(&mut self, id: ConnId, error: std_io::Error) {
        let Some(conn) = self.io.table.find(id) else { return };
        let gone = matches!(error.kind(), std_io::ErrorKind::BrokenPipe | std_io::ErrorKind::ConnectionReset);
        let still_readable = conn.wants_input() && gone;
        if !still_readable {
            return self.socket_failed(id, Why::Socket(error));
        }
        conn.flags.shut = true;
        let unread = conn.waiting.take().unread;
        conn.waiting.buffers().unread = unread;
        conn.waiting.trim();
        conn.deadline = (self.io.now + self.io.shared.limits.close_time).into();
        let deadline = conn.deadline;
        self.io.timers.set(deadline, Due::Conn(id));
        self.io.account(id);
        self.io.effects.push(Effect::ReadAgain(id));
    }

    /// Makes the next bytes for the socket out of what was gathered.
    fn refill(&mut self, id: ConnId) -> Result<(), mqway_transport::Error> {
        let Io { table, pool, .. } = &mut self.io;
        let Some(Conn { stack, waiting, .. }) = table.find(id) else { return Ok(()) };
        let sealing = stack.as_mut().filter(|stack| stack.must_seal());
        if sealing.is_none() && waiting.present().is_none() {
            return Ok(());
        }
        let buffers = waiting.buffers();
        buffers.wire.clear();
        buffers.written = 0;
        let result = match sealing {
            Some(stack) => {
                pool.lend(&mut buffers.wire);
                if buffers.apart.is_some() {
                    // The last words of TLS come behind everything else, and so with it.
                    let most = if stack.stage() == Stage::Open { SEALED_AT_ONCE } else { usize::MAX };
                    stack.seal(&mut buffers.take_gathered(most), &mut buffers.wire)
                } else {
                    stack.seal(&mut buffers.plain, &mut buffers.wire)
                }
            }
            None => {
                buffers.turn();
                Ok(())
            }
        };
        let Buffers { plain, wire, .. } = buffers;
        if plain.is_empty() {
            pool.take_back(plain);
        }
        if wire.is_empty() {
            pool.take_back(wire);
        }
        waiting.trim();
        result
    }

    /// Tells the core where a reader has become too slow, or has caught up.
    fn tell_pace(&mut self, id: ConnId) {
        let (high, low) = (self.io.shared.limits.high_water, self.io.shared.limits.low_water);
        let holds_too_much = self.holds_too_much(id);
        let Some(conn) = self.io.table.find(id) else { return };
        let queued = conn.queued();
        if queued > 0 && holds_too_much {
            return self.over_limit(id, "bytes buffered in all");
        }
        if conn.phase != Phase::Open {
            return;
        }
        if !conn.flags.blocked && queued > high {
            conn.flags.blocked = true;
            self.core.blocked(&mut self.io, id);
        } else if conn.flags.blocked && queued <= low {
            conn.flags.blocked = false;
            self.core.unblocked(&mut self.io, id);
        }
    }

    /// Shuts the socket once all is written, and forgets the connection once both sides are done.
    fn conclude(&mut self, id: ConnId) {
        let Some(conn) = self.io.table.find(id) else { return };
        if !matches!(conn.phase, Phase::Finishing | Phase::Closing) || conn.queued() > 0 || conn.flags.dirty {
            return;
        }
        // Inside a packet that was broken off no close frame can be sent, and so none will come back.
        let awaits =
            conn.stack.as_ref().is_some_and(|stack| stack.awaits_peer_close() && !stack.is_inside_packet());
        if awaits && !conn.flags.peer_ended && !conn.flags.failed {
            return;
        }
        if !conn.flags.shut {
            conn.flags.shut = true;
            self.io.effects.push(Effect::Shut(id));
        }
        if conn.flags.peer_ended {
            let (phase, origin) = (conn.phase, conn.origin);
            self.io.remove(id);
            self.tell_closed(id, phase, origin, Why::Done);
        }
    }
}

/// A connection that the core has given to another worker in this tick. What it was just shown and has not used goes
/// along.
fn handed_over<M>(effects: &mut [Effect<M>], id: ConnId) -> Option<&mut Conn> {
    effects.iter_mut().rev().find_map(|effect| match effect {
        Effect::HandOver(moving, conn, ..) if *moving == id => Some(&mut **conn),
        _ => None,
    })
}

/// A socket that broke before its layers were up.
fn lost(stage: Stage, error: &std_io::Error) -> Why {
    let message = format!("connection lost during the {stage}: {error}");
    Why::Transport(TransportError::new(stage, Blame::Peer, ErrorKind::Closed, message))
}

/// Counts the connection for its peer's address, if there is a limit. False: there are too many.
fn count_address<M>(shared: &Shared<M>, conn: &mut Conn) -> bool {
    if let (true, Some(peer)) = (shared.admission.counts_addresses(), conn.peer) {
        if !shared.admission.enter_address(peer.ip(), &shared.counters) {
            return false;
        }
        conn.flags.counted = true;
    }
    true
}
