//! The mio shell: one thread that owns its sockets and drives one core.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::event::Event;
use mio::{Events, Interest, Poll, Registry, Token};
use mqway_transport::{ClientOptions, ServerOptions};

use crate::alarm::Alarm;
use crate::buffers::{READ_SIZE, ReadBuffer};
use crate::counters::add;
use crate::driver::{Driver, Shell};
use crate::io::{Effect, Shared};
use crate::mailbox::Letter;
use crate::resolver::{Asked, Resolver};
use crate::socket::Socket;
use crate::timers::{Due, ShellDue};
use crate::{ConnId, Core, Dial, ListenerId, Slots, Target, Why};

/// Events taken from the system at once.
const EVENTS: usize = 1024;

/// Connections that one listener accepts in a tick, before others get their turn.
const ACCEPTS: usize = 256;

/// How long a listener rests when the system is out of files or memory.
const ACCEPT_REST: Duration = Duration::from_millis(200);

/// The mailbox's token; connections and listeners never reach it.
pub(crate) const WAKE: Token = Token(usize::MAX);

/// How much later than the alarm the poll ends by itself.
const ALARM_SLACK: Duration = Duration::from_millis(1);

/// The alarm's token.
pub(crate) const ALARM: Token = Token(usize::MAX - 1);

/// Set in the token of a listener.
const LISTENER: usize = 1 << (usize::BITS - 1);

/// One worker, before it runs in its thread.
pub(crate) struct Worker<C: Core> {
    driver: Driver<C>,
    sockets: Sockets<C::Mail>,
    buffer: ReadBuffer,
    letters: Vec<Letter<C::Mail>>,
    /// For timers finer than the poll's.
    alarm: Option<Alarm>,
    started: Instant,
    /// When to end, whatever is still open.
    stop_at: Option<Duration>,
}

/// A listening socket of this worker.
pub(crate) enum Listening {
    Tcp(mio::net::TcpListener),
    Unix(mio::net::UnixListener),
}

/// The sockets of a worker: all that touches the system.
struct Sockets<M> {
    poll: Poll,
    worker: usize,
    places: Slots<Place>,
    /// Connections to read although no event will come: their last read was full, or was left alone.
    again: Vec<ConnId>,
    /// Dials whose outcome was known at once.
    outcomes: Vec<(ConnId, Why)>,
    /// Addresses being tried although others are left: when each of them has had its time.
    attempts: Vec<(ConnId, u32, Duration)>,
    resolver: Resolver,
    shared: Arc<Shared<M>>,
}

/// A connection's socket.
struct Place {
    /// Of the connection's [`ConnId`].
    generation: u32,
    socket: Option<Socket>,
    dialling: Option<Box<Dialling>>,
    /// The system has told that the peer's side is shut: no further event will, so reads go on until they say so.
    read_closed: bool,
    /// It is on the list of those to read in the next turn, and so not read twice in one.
    again: bool,
}

/// A dial that is under way.
struct Dialling {
    options: Arc<ClientOptions>,
    untried: VecDeque<SocketAddr>,
    /// The time that one address gets.
    patience: Duration,
    last_error: io::Error,
    time_limit: Duration,
}

impl<C: Core> Worker<C> {
    pub fn new(
        core: C,
        worker: usize,
        poll: Poll,
        alarm: Option<Alarm>,
        resolver: Resolver,
        shared: Arc<Shared<C::Mail>>,
    ) -> Worker<C> {
        let sockets = Sockets {
            poll,
            worker,
            places: Slots::new(),
            again: Vec::new(),
            outcomes: Vec::new(),
            attempts: Vec::new(),
            resolver,
            shared: shared.clone(),
        };
        Worker {
            started: shared.started,
            driver: Driver::new(core, worker, shared),
            sockets,
            buffer: ReadBuffer::new(),
            letters: Vec::new(),
            alarm,
            stop_at: None,
        }
    }

    /// Runs until told to stop. `listeners` are all of the engine's, with the sockets of those that are this
    /// worker's own. False if it cannot go on.
    pub fn run(mut self, mut listeners: Listeners) -> bool {
        for (index, listening) in listeners.own() {
            if let Err(error) = listening.register(self.sockets.poll.registry(), index) {
                log::error!("listener {}: cannot wait for connections: {error}", index + 1);
            }
        }
        let mut events = Events::with_capacity(EVENTS);
        let mut busy = false;
        let mut due = Vec::new();
        loop {
            let patience = self.patience(busy);
            if let Err(error) = self.sockets.poll.poll(&mut events, patience)
                && error.kind() != io::ErrorKind::Interrupted
            {
                log::error!("worker {}: cannot wait for events: {error}", self.sockets.worker);
                return false;
            }
            self.driver.expire(self.started.elapsed(), &mut due);
            for due in due.drain(..) {
                match due {
                    ShellDue::Accept(listener) => {
                        listeners.paces[listener].resting = false;
                        self.accept(&mut listeners, listener);
                    }
                    ShellDue::NextAddress(id, left) if self.sockets.still_tries(id, left) => {
                        self.try_next(id, io::ErrorKind::TimedOut.into());
                    }
                    ShellDue::NextAddress(..) => {}
                }
            }
            for id in std::mem::take(&mut self.sockets.again) {
                if let Some(place) = self.sockets.place(id) {
                    place.again = false;
                    self.read(id);
                }
            }
            for event in &events {
                match event.token() {
                    WAKE | ALARM => {}
                    Token(token) if token & LISTENER != 0 => self.accept(&mut listeners, token & !LISTENER),
                    Token(slot) => self.ready(slot, event),
                }
            }
            self.read_mail(&mut listeners);
            busy = self.driver.settle(&mut self.sockets);
            busy |= self.tell_outcomes();
            self.send_mail();
            if let Some(stop_at) = self.stop_at
                && (self.driver.io.table.len() == 0 || self.driver.io.now >= stop_at)
            {
                return true;
            }
        }
    }

    fn patience(&mut self, busy: bool) -> Option<Duration> {
        if busy || !self.sockets.again.is_empty() {
            return Some(Duration::ZERO);
        }
        let next = [self.driver.io.timers.next(), self.stop_at].into_iter().flatten().min()?;
        let wait = next.saturating_sub(self.started.elapsed());
        let alarmed = !wait.is_zero() && self.alarm.as_mut().is_some_and(|alarm| alarm.set(next, wait));
        // Even an alarm that fails only makes a timer late.
        Some(if alarmed { wait + ALARM_SLACK } else { wait })
    }

    /// Slots serve again only after the events of a turn, so that a slot names the connection that an event is for.
    fn ready(&mut self, slot: usize, event: &Event) {
        let Some(place) = self.sockets.places.find(slot) else { return };
        let id = ConnId { slot: slot as u32, generation: place.generation };
        if place.dialling.is_some() {
            return self.dial_progress(id);
        }
        place.read_closed |= event.is_read_closed() || event.is_error();
        if event.is_error() {
            return self.broken(id);
        }
        if event.is_writable() && self.driver.io.queued(id) > 0 {
            self.driver.io.mark_dirty(id);
        }
        if event.is_readable() || event.is_read_closed() {
            self.read(id);
        }
    }

    /// The socket has an error. If it is being read, the read finds it, after what came before it.
    fn broken(&mut self, id: ConnId) {
        if self.driver.io.table.look(id).is_some_and(|conn| conn.wants_input()) {
            return self.read(id);
        }
        let Some(Place { socket: Some(socket), .. }) = self.sockets.place(id) else { return };
        if let Some(Err(error)) = socket.connected() {
            self.driver.socket_failed(id, Why::Socket(error));
        }
    }

    fn read(&mut self, id: ConnId) {
        if !self.driver.io.table.look(id).is_some_and(|conn| conn.wants_input()) {
            return;
        }
        let Some(place) = self.sockets.place(id).filter(|place| !place.again) else { return };
        let read_closed = place.read_closed;
        let Some(socket) = &mut place.socket else { return };
        let result = socket.read(self.buffer.space());
        add(&self.sockets.shared.counters.reads, 1);
        match result {
            Ok(0) => self.driver.receive_end(id),
            Ok(len) => {
                self.driver.receive(id, &mut self.buffer, len);
                if len == READ_SIZE || read_closed {
                    self.sockets.read_again(id);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => self.sockets.read_again(id),
            Err(error) => self.driver.socket_failed(id, Why::Socket(error)),
        }
    }

    fn accept(&mut self, listeners: &mut Listeners, index: usize) {
        // Every connection that comes makes an event, also while the listener rests.
        if listeners.paces[index].resting {
            return;
        }
        for _ in 0..ACCEPTS {
            let Some(listening) = listeners.sockets.get(index).and_then(Option::as_ref) else { return };
            match listening.accept() {
                Ok((socket, peer)) => {
                    listeners.paces[index].failing = false;
                    self.admit(listeners, ListenerId(index), socket, peer);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if is_about_one_client(&error) => {}
                Err(error) => {
                    add(&self.sockets.shared.counters.accept_errors, 1);
                    if !std::mem::replace(&mut listeners.paces[index].failing, true) {
                        log::warn!("listener {}: cannot accept: {error}; trying again", index + 1);
                    }
                    return self.accept_later(listeners, index, ACCEPT_REST);
                }
            }
        }
        self.accept_later(listeners, index, Duration::ZERO);
    }

    fn accept_later(&mut self, listeners: &mut Listeners, index: usize, rest: Duration) {
        listeners.paces[index].resting = true;
        let io = &mut self.driver.io;
        io.timers.set(io.now + rest, Due::Shell(ShellDue::Accept(index)));
    }

    /// Lets a new connection in if there is room, and gives it to the worker whose turn it is.
    fn admit(
        &mut self,
        listeners: &mut Listeners,
        listener: ListenerId,
        socket: Socket,
        peer: Option<SocketAddr>,
    ) {
        let shared = &self.sockets.shared;
        add(&shared.counters.accepted, 1);
        if !shared.admission.enter(&shared.counters) {
            return;
        }
        let worker = listeners.next_worker;
        listeners.next_worker = (worker + 1) % self.driver.io.workers();
        if worker == self.sockets.worker {
            self.take_in(listeners, listener, socket, peer);
        } else {
            self.driver.io.outbox[worker].push(Letter::Accepted { socket, listener, peer });
        }
    }

    fn take_in(
        &mut self,
        listeners: &Listeners,
        listener: ListenerId,
        mut socket: Socket,
        peer: Option<SocketAddr>,
    ) {
        let options = &listeners.options[listener.0];
        let Some(id) = self.driver.accepted(listener, options, peer) else { return };
        if let Err(error) = self.sockets.add(id, &mut socket) {
            return self.driver.socket_failed(id, Why::Socket(error));
        }
        self.sockets.put(id, Some(socket), None);
    }

    fn dial_progress(&mut self, id: ConnId) {
        let Some(Place { socket: Some(socket), .. }) = self.sockets.place(id) else { return };
        match socket.connected() {
            None => {}
            Some(Err(error)) => self.try_next(id, error),
            Some(Ok(())) => {
                let peer = socket.peer();
                self.dialled(id, peer);
            }
        }
    }

    fn dialled(&mut self, id: ConnId, peer: Option<SocketAddr>) {
        let Some(place) = self.sockets.place(id) else { return };
        let Some(dialling) = place.dialling.take() else { return };
        self.driver.connected(id, &dialling.options, peer);
        self.sockets.read_again(id);
    }

    /// An address could not be connected, or did not answer in its time: the next one is tried.
    fn try_next(&mut self, id: ConnId, error: io::Error) {
        if let Some(why) = self.sockets.try_next(id, error) {
            self.driver.socket_failed(id, why);
        }
        self.set_attempts();
    }

    /// Tells of dials that failed at once. Returns whether there were any.
    fn tell_outcomes(&mut self) -> bool {
        self.set_attempts();
        let outcomes = std::mem::take(&mut self.sockets.outcomes);
        let any = !outcomes.is_empty();
        for (id, why) in outcomes {
            self.driver.socket_failed(id, why);
        }
        any
    }

    fn set_attempts(&mut self) {
        for (id, left, patience) in self.sockets.attempts.drain(..) {
            let io = &mut self.driver.io;
            io.timers.set(io.now + patience, Due::Shell(ShellDue::NextAddress(id, left)));
        }
    }

    fn read_mail(&mut self, listeners: &mut Listeners) {
        let mut letters = std::mem::take(&mut self.letters);
        self.sockets.shared.mailboxes[self.sockets.worker].take(&mut letters);
        for letter in letters.drain(..) {
            match letter {
                Letter::Mail(mail) => self.driver.core.mail(&mut self.driver.io, mail),
                Letter::Accepted { socket, listener, peer } => {
                    self.take_in(listeners, listener, socket, peer)
                }
                Letter::Arrived { socket, conn, mail } => self.arrived(socket, *conn, mail),
                Letter::Resolved { conn, addresses } => self.resolved(conn, addresses),
                Letter::Options { listener, options } => listeners.options[listener.0] = Arc::new(*options),
                Letter::Stop { grace } => self.begin_stop(listeners, grace),
            }
        }
        self.letters = letters;
    }

    fn send_mail(&mut self) {
        for (batch, mailbox) in self.driver.io.outbox.iter_mut().zip(&self.sockets.shared.mailboxes) {
            mailbox.append(batch);
        }
    }

    fn arrived(&mut self, mut socket: Socket, conn: crate::conn::Conn, mail: C::Mail) {
        let id = self.driver.arrived(conn);
        if let Err(error) = self.sockets.add(id, &mut socket) {
            return self.driver.socket_failed(id, Why::Socket(error));
        }
        self.sockets.put(id, Some(socket), None);
        self.driver.core.arrived(&mut self.driver.io, id, mail);
        self.driver.show_arrived(id);
    }

    fn resolved(&mut self, id: ConnId, addresses: Result<Vec<SocketAddr>, String>) {
        if let Some(why) = self.sockets.resolved(id, addresses) {
            self.driver.socket_failed(id, why);
        }
        self.set_attempts();
    }

    fn begin_stop(&mut self, listeners: &mut Listeners, grace: Duration) {
        for (_, mut listening) in listeners.take_own() {
            // Dropping it closes it anyway.
            let _ = listening.deregister(self.sockets.poll.registry());
        }
        self.stop_at = Some(self.driver.io.now + grace);
        self.driver.stop();
    }
}

/// The engine's listeners, as one worker sees them.
pub(crate) struct Listeners {
    /// By place; absent where another worker has the socket.
    pub sockets: Vec<Option<Listening>>,
    pub options: Vec<Arc<ServerOptions>>,
    pub paces: Vec<Pace>,
    /// Whose turn it is to get a connection.
    pub next_worker: usize,
}

/// Whether a listener can accept at the moment.
#[derive(Clone, Copy, Default)]
pub(crate) struct Pace {
    /// It accepts next when a timer says so.
    resting: bool,
    /// The system has refused, and that has been logged.
    failing: bool,
}

impl Listeners {
    fn own(&mut self) -> impl Iterator<Item = (usize, &mut Listening)> {
        self.sockets.iter_mut().enumerate().filter_map(|(index, socket)| Some((index, socket.as_mut()?)))
    }

    fn take_own(&mut self) -> impl Iterator<Item = (usize, Listening)> {
        self.sockets.iter_mut().enumerate().filter_map(|(index, socket)| Some((index, socket.take()?)))
    }
}

impl Listening {
    fn register(&mut self, registry: &Registry, index: usize) -> io::Result<()> {
        let token = Token(LISTENER | index);
        match self {
            Listening::Tcp(listener) => registry.register(listener, token, Interest::READABLE),
            Listening::Unix(listener) => registry.register(listener, token, Interest::READABLE),
        }
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        match self {
            Listening::Tcp(listener) => registry.deregister(listener),
            Listening::Unix(listener) => registry.deregister(listener),
        }
    }

    fn accept(&self) -> io::Result<(Socket, Option<SocketAddr>)> {
        match self {
            Listening::Tcp(listener) => {
                let (stream, peer) = listener.accept()?;
                // A listener of both families sees IPv4 clients as IPv6 addresses.
                Ok((Socket::Tcp(stream), Some(SocketAddr::new(peer.ip().to_canonical(), peer.port()))))
            }
            Listening::Unix(listener) => listener.accept().map(|(stream, _)| (Socket::Unix(stream), None)),
        }
    }
}

/// Errors of `accept` that say something of the connection that was to be accepted, not of us.
fn is_about_one_client(error: &io::Error) -> bool {
    use io::ErrorKind::*;
    matches!(error.kind(), Interrupted | ConnectionAborted | ConnectionReset | PermissionDenied | TimedOut)
}

impl<M> Sockets<M> {
    /// The place of a connection that still lives.
    fn place(&mut self, id: ConnId) -> Option<&mut Place> {
        self.places.find(id.slot()).filter(|place| place.generation == id.generation)
    }

    fn put(&mut self, id: ConnId, socket: Option<Socket>, dialling: Option<Box<Dialling>>) {
        let place = Place { generation: id.generation, socket, dialling, read_closed: false, again: false };
        self.places.insert(id.slot(), place);
    }

    /// Has a connection read in the next turn.
    fn read_again(&mut self, id: ConnId) {
        let Some(place) = self.place(id) else { return };
        if !std::mem::replace(&mut place.again, true) {
            self.again.push(id);
        }
    }

    /// Registers both directions, once and for all.
    fn add(&self, id: ConnId, socket: &mut Socket) -> io::Result<()> {
        self.poll.registry().register(socket, Token(id.slot()), Interest::READABLE | Interest::WRITABLE)
    }

    fn dial(&mut self, id: ConnId, dial: Dial) {
        let dialling = Dialling {
            options: dial.options,
            untried: VecDeque::new(),
            patience: dial.time_limit,
            last_error: io::ErrorKind::NotFound.into(),
            time_limit: dial.time_limit,
        };
        self.put(id, None, Some(Box::new(dialling)));
        let why = match &dial.target {
            Target::Unix(path) => match Socket::connect_unix(path) {
                Ok(socket) => self.begin(id, socket).err().map(Why::Connect),
                Err(error) => Some(Why::Connect(error)),
            },
            Target::Tcp { host, port } => match host.parse() {
                Ok(address) => self.resolved(id, Ok(vec![SocketAddr::new(address, *port)])),
                Err(_) => match self.resolver.ask(self.worker, id, host, *port) {
                    Asked::Known(addresses) => self.resolved(id, Ok(addresses)),
                    Asked::Waits => None,
                    Asked::Full => Some(Why::Resolve("too many names wait to be resolved".to_owned())),
                },
            },
        };
        self.outcomes.extend(why.map(|why| (id, why)));
    }

    fn resolved(&mut self, id: ConnId, addresses: Result<Vec<SocketAddr>, String>) -> Option<Why> {
        let dialling = self.place(id)?.dialling.as_mut()?;
        match addresses {
            Ok(addresses) if addresses.is_empty() => Some(Why::Resolve("the name has no address".to_owned())),
            Ok(addresses) => {
                dialling.patience = dialling.time_limit / addresses.len() as u32;
                dialling.untried = addresses.into();
                self.try_next(id, io::ErrorKind::NotFound.into())
            }
            Err(error) => Some(Why::Resolve(error)),
        }
    }

    /// Connects to the next address. Returns why not, when none is left.
    fn try_next(&mut self, id: ConnId, error: io::Error) -> Option<Why> {
        let place = self.place(id)?;
        let dialling = place.dialling.as_mut()?;
        dialling.last_error = error;
        let abandoned = place.socket.take();
        if let Some(mut socket) = abandoned {
            let _ = self.poll.registry().deregister(&mut socket);
        }
        loop {
            let dialling = self.place(id)?.dialling.as_mut()?;
            let Some(address) = dialling.untried.pop_front() else {
                let error = std::mem::replace(&mut dialling.last_error, io::ErrorKind::NotFound.into());
                return Some(Why::Connect(error));
            };
            let left = dialling.untried.len() as u32;
            let patience = dialling.patience;
            match Socket::connect_tcp(address).and_then(|socket| self.begin(id, socket)) {
                Ok(()) => {
                    if left > 0 {
                        self.attempts.push((id, left, patience));
                    }
                    return None;
                }
                Err(error) => self.place(id)?.dialling.as_mut()?.last_error = error,
            }
        }
    }

    /// Whether a dial is at the address that has `left` others behind it.
    fn still_tries(&mut self, id: ConnId, left: u32) -> bool {
        let dialling = self.place(id).and_then(|place| place.dialling.as_ref());
        dialling.is_some_and(|dialling| dialling.untried.len() as u32 == left)
    }

    /// Waits for a socket to become connected.
    fn begin(&mut self, id: ConnId, mut socket: Socket) -> io::Result<()> {
        self.add(id, &mut socket)?;
        if let Some(place) = self.place(id) {
            place.socket = Some(socket);
        }
        Ok(())
    }

    fn hand_over(&mut self, id: ConnId, conn: Box<crate::conn::Conn>, worker: usize, mail: M) {
        let place = self.places.remove(id.slot());
        let Some(Place { socket: Some(mut socket), .. }) = place else { return };
        let _ = self.poll.registry().deregister(&mut socket);
        self.shared.mailboxes[worker].append(&mut vec![Letter::Arrived { socket, conn, mail }]);
    }
}

impl<M> Shell<M> for Sockets<M> {
    fn write(&mut self, id: ConnId, bytes: &[u8]) -> io::Result<usize> {
        match self.place(id) {
            Some(Place { socket: Some(socket), .. }) => socket.write(bytes),
            _ => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    fn write_slices(&mut self, id: ConnId, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self.place(id) {
            Some(Place { socket: Some(socket), .. }) => socket.write_slices(slices),
            _ => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    fn apply(&mut self, effect: Effect<M>) {
        match effect {
            Effect::Dial(id, dial) => self.dial(id, dial),
            Effect::ReadAgain(id) => self.read_again(id),
            Effect::Shut(id) => {
                if let Some(Place { socket: Some(socket), .. }) = self.place(id) {
                    socket.shut();
                }
            }
            Effect::Drop(id) => {
                // Closing the descriptor takes it out of the poll as well.
                self.places.remove(id.slot());
            }
            Effect::HandOver(id, conn, worker, mail) => self.hand_over(id, conn, worker, mail),
        }
    }
}
