//! The simulated twin of the engine: the same cores, in memory, under a virtual clock and from a seed.
//!
//! A [`Sim`] holds any number of workers and the far ends of their connections, which a test plays. Whatever a
//! network does to a stream happens here too, as the seed decides: bytes arrive in pieces of any size, later
//! than they were sent, and a socket takes less than it was offered. The same seed gives the same run.

mod link;
mod random;

use std::collections::HashMap;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mqway_transport::ServerOptions;

use crate::admission::Admission;
use crate::buffers::ReadBuffer;
use crate::conn::Conn;
use crate::driver::{Driver, Shell};
use crate::io::{Effect, Shared};
use crate::mailbox::{Letter, Mailbox};
use crate::{ConnId, Core, Counters, Dial, Limits, ListenerId, Poster, Target, Why};

use link::Link;
pub use random::Random;

/// Into how many steps [`Sim::skip`] divides its time.
const LONG_STEPS: u32 = 16;

/// The far end of one connection, in the hands of the test.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Remote(usize);

/// Workers and their connections in memory.
pub struct Sim<C: Core> {
    workers: Vec<Driver<C>>,
    net: Net<C::Mail>,
    listeners: Vec<Arc<ServerOptions>>,
    counters: Arc<Counters>,
    buffer: ReadBuffer,
    next_worker: usize,
}

/// The links between the workers' connections and their far ends.
struct Net<M> {
    links: Vec<Link>,
    /// Links by worker and connection.
    by_conn: HashMap<(usize, ConnId), usize>,
    /// Targets that accept, and the far ends of what was dialled to them.
    servers: Vec<(Target, Vec<Remote>)>,
    /// Dials of this round, and whether their target accepts.
    dialled: Vec<(usize, ConnId, Dial)>,
    handed_over: Vec<(usize, Box<Conn>, M, Option<usize>)>,
    random: Random,
    now: Duration,
}

impl<C: Core> Sim<C> {
    /// As many workers as asked for, each with the core that `core` makes for its number.
    pub fn new(
        seed: u64,
        workers: usize,
        limits: Limits,
        listeners: Vec<ServerOptions>,
        core: impl FnMut(usize) -> C,
    ) -> Sim<C> {
        let counters = Arc::new(Counters::default());
        let shared = Arc::new(Shared {
            admission: Admission::new(limits.connections, limits.connections_per_address),
            counters: counters.clone(),
            mailboxes: (0..workers).map(|_| Mailbox::new(None)).collect(),
            started: std::time::Instant::now(),
            limits,
        });
        let cores = (0..workers).map(core).enumerate();
        Sim {
            workers: cores.map(|(index, core)| Driver::new(core, index, shared.clone())).collect(),
            net: Net {
                links: Vec::new(),
                by_conn: HashMap::new(),
                servers: Vec::new(),
                dialled: Vec::new(),
                handed_over: Vec::new(),
                random: Random::new(seed),
                now: Duration::ZERO,
            },
            listeners: listeners.into_iter().map(Arc::new).collect(),
            counters,
            buffer: ReadBuffer::new(),
            next_worker: 0,
        }
    }

    /// The virtual time.
    pub fn now(&self) -> Duration {
        self.net.now
    }

    /// What the workers have counted.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// A handle that writes to the workers, which read it when time passes.
    pub fn poster(&self) -> Poster<C::Mail> {
        self.workers[0].io.poster()
    }

    /// One worker's core, to look at.
    pub fn core(&self, worker: usize) -> &C {
        &self.workers[worker].core
    }

    /// The source of chance, for a test's own decisions.
    pub fn random(&mut self) -> &mut Random {
        &mut self.net.random
    }

    /// Connects to a listener. `None` if the connection was refused by a limit.
    pub fn connect(&mut self, listener: usize, peer: Option<SocketAddr>) -> Option<Remote> {
        let worker = self.next_worker;
        self.next_worker = (worker + 1) % self.workers.len();
        let driver = &mut self.workers[worker];
        if !driver.io.shared.admission.enter(&self.counters) {
            return None;
        }
        let id = driver.accepted(ListenerId(listener), &self.listeners[listener], peer)?;
        Some(self.net.link(worker, id))
    }

    /// Lets `target` accept what is dialled.
    pub fn serve(&mut self, target: Target) {
        self.net.servers.push((target, Vec::new()));
    }

    /// Lets `target` refuse what is dialled from now on.
    pub fn stop_serving(&mut self, target: &Target) {
        self.net.servers.retain(|(served, _)| served != target);
    }

    /// The far ends of connections that were dialled to `target` and not asked for before.
    pub fn take_dialled(&mut self, target: &Target) -> Vec<Remote> {
        let server = self.net.servers.iter_mut().find(|(served, _)| served == target);
        server.map(|(_, remotes)| std::mem::take(remotes)).unwrap_or_default()
    }

    /// Sends bytes from the far end.
    pub fn write(&mut self, remote: Remote, bytes: &[u8]) {
        self.net.links[remote.0].to_core.extend(bytes);
    }

    /// Takes the bytes that have arrived at the far end.
    pub fn read(&mut self, remote: Remote) -> Vec<u8> {
        self.net.links[remote.0].take_arrived()
    }

    /// Stops the far end's reading, or lets it go on: what it does not read fills its window.
    pub fn set_reading(&mut self, remote: Remote, reads: bool) {
        self.net.links[remote.0].reads = reads;
    }

    /// Makes a connection slow: at the most so many bytes move at once in each direction, about one time in a
    /// millisecond. `usize::MAX` for as many as there are, as at first.
    pub fn set_pace(&mut self, remote: Remote, bytes: usize) {
        self.net.links[remote.0].pace = bytes;
    }

    /// Shuts the far end's sending side, after what was written.
    pub fn end(&mut self, remote: Remote) {
        self.net.links[remote.0].remote_ended = true;
    }

    /// Closes the far end as a program does that has not read everything: what it sent before still arrives, and
    /// whatever is written to it is answered by a reset.
    pub fn close_unread(&mut self, remote: Remote) {
        self.net.links[remote.0].refuses = true;
        self.end(remote);
    }

    /// Whether the core's side has said that it will send no more, and all of it has arrived.
    pub fn is_ended(&self, remote: Remote) -> bool {
        self.net.links[remote.0].is_ended()
    }

    /// Cuts the connection: what was on its way is lost, and the core's side sees an error.
    pub fn cut(&mut self, remote: Remote) {
        let link = &mut self.net.links[remote.0];
        link.cut();
        if let Some((worker, id)) = link.conn {
            let driver = &mut self.workers[worker];
            driver.socket_failed(id, Why::Socket(io::ErrorKind::ConnectionReset.into()));
        }
    }

    /// Writes mail to a worker's core.
    pub fn post(&mut self, worker: usize, mail: C::Mail) {
        let driver = &mut self.workers[worker];
        driver.io.now = self.net.now;
        driver.core.mail(&mut driver.io, mail);
    }

    /// Tells all cores to end their connections.
    pub fn stop(&mut self) {
        for driver in &mut self.workers {
            driver.stop();
        }
    }

    /// Lets `time` pass.
    pub fn run(&mut self, time: Duration) {
        let end = self.net.now + time;
        while self.net.now < end {
            let step = Duration::from_micros(self.net.random.below(2_000) as u64 + 1);
            self.net.now = (self.net.now + step).min(end);
            self.tick();
        }
    }

    /// Lets `time` pass in a few long steps: for when nothing is under way, and only timers are waited for.
    pub fn skip(&mut self, time: Duration) {
        let end = self.net.now + time;
        for left in (0..LONG_STEPS).rev() {
            self.net.now = end - time / LONG_STEPS * left;
            self.tick();
        }
    }

    /// Whether nothing is on its way: neither bytes between connections and their far ends, but for those whose far end
    /// does not read, nor any that wait to be written.
    pub fn is_quiet(&self) -> bool {
        let waits = |link: &Link| {
            link.reads && link.conn.is_some_and(|(worker, id)| self.workers[worker].io.queued(id) > 0)
        };
        !self.net.links.iter().any(|link| link.is_busy() || waits(link))
    }

    /// Connections that the workers hold.
    pub fn connections(&self) -> usize {
        self.workers.iter().map(|driver| driver.io.table.len()).sum()
    }

    fn tick(&mut self) {
        for worker in 0..self.workers.len() {
            // The simulator has no timers of its own.
            self.workers[worker].expire(self.net.now, &mut Vec::new());
            self.move_bytes(worker);
            self.workers[worker].settle(&mut SimShell { worker, net: &mut self.net });
            self.finish_dials();
            self.hand_over();
            self.deliver_mail(worker);
        }
    }

    /// Brings some of what is on its way to a worker's connections, and frees some of what they wait for.
    fn move_bytes(&mut self, worker: usize) {
        for index in 0..self.net.links.len() {
            let link = &mut self.net.links[index];
            let Some((owner, id)) = link.conn else { continue };
            if owner != worker || self.net.random.below(3) == 0 {
                continue;
            }
            link.arrive(&mut self.net.random);
            let driver = &mut self.workers[worker];
            if driver.io.queued(id) > 0 {
                driver.io.mark_dirty(id);
            }
            if !driver.io.table.look(id).is_some_and(Conn::wants_input) {
                continue;
            }
            let len = link.deliver(self.buffer.space(), &mut self.net.random);
            if len > 0 {
                driver.receive(id, &mut self.buffer, len);
            } else if link.remote_ended && link.to_core.is_empty() && !link.told_ended {
                link.told_ended = true;
                driver.receive_end(id);
            }
        }
    }

    fn finish_dials(&mut self) {
        for (worker, id, dial) in std::mem::take(&mut self.net.dialled) {
            let driver = &mut self.workers[worker];
            let Some(server) = self.net.servers.iter().position(|(target, _)| *target == dial.target) else {
                driver.socket_failed(id, Why::Connect(io::ErrorKind::ConnectionRefused.into()));
                continue;
            };
            let remote = self.net.link(worker, id);
            self.net.servers[server].1.push(remote);
            driver.connected(id, &dial.options, None);
        }
    }

    fn hand_over(&mut self) {
        for (worker, conn, mail, link) in std::mem::take(&mut self.net.handed_over) {
            let driver = &mut self.workers[worker];
            let id = driver.arrived(*conn);
            if let Some(link) = link {
                self.net.links[link].conn = Some((worker, id));
                self.net.by_conn.insert((worker, id), link);
            }
            driver.core.arrived(&mut driver.io, id, mail);
            driver.show_arrived(id);
        }
    }

    fn deliver_mail(&mut self, from: usize) {
        // What others have written, by a [`Poster`](crate::Poster).
        let mut letters = Vec::new();
        self.workers[from].io.shared.mailboxes[from].take(&mut letters);
        for letter in letters {
            if let Letter::Mail(mail) = letter {
                self.post(from, mail);
            }
        }
        for to in 0..self.workers.len() {
            for letter in std::mem::take(&mut self.workers[from].io.outbox[to]) {
                if let Letter::Mail(mail) = letter {
                    self.post(to, mail);
                }
            }
        }
    }
}

impl<M> Net<M> {
    fn link(&mut self, worker: usize, id: ConnId) -> Remote {
        let index = self.links.len();
        self.links.push(Link::new((worker, id)));
        self.by_conn.insert((worker, id), index);
        Remote(index)
    }
}

/// One worker's view of the net.
struct SimShell<'a, M> {
    worker: usize,
    net: &'a mut Net<M>,
}

impl<M> SimShell<'_, M> {
    fn unlink(&mut self, id: ConnId) -> Option<usize> {
        self.net.by_conn.remove(&(self.worker, id))
    }
}

impl<M> Shell<M> for SimShell<'_, M> {
    fn write(&mut self, conn: ConnId, bytes: &[u8]) -> io::Result<usize> {
        let index = self.net.by_conn.get(&(self.worker, conn)).ok_or(io::ErrorKind::NotConnected)?;
        self.net.links[*index].accept(bytes, &mut self.net.random)
    }

    fn write_slices(&mut self, conn: ConnId, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut written = 0;
        for slice in slices {
            match self.write(conn, slice) {
                Ok(some) => {
                    written += some;
                    if some < slice.len() {
                        break;
                    }
                }
                Err(_) if written > 0 => break,
                Err(error) => return Err(error),
            }
        }
        Ok(written)
    }

    fn apply(&mut self, effect: Effect<M>) {
        match effect {
            Effect::Dial(id, dial) => self.net.dialled.push((self.worker, id, dial)),
            Effect::ReadAgain(_) => {}
            Effect::Shut(id) => {
                if let Some(index) = self.net.by_conn.get(&(self.worker, id)) {
                    self.net.links[*index].core_ended = true;
                }
            }
            Effect::Drop(id) => {
                if let Some(index) = self.unlink(id) {
                    self.net.links[index].core_ended = true;
                    self.net.links[index].conn = None;
                }
            }
            Effect::HandOver(id, conn, worker, mail) => {
                let link = self.unlink(id);
                self.net.handed_over.push((worker, conn, mail, link));
            }
        }
    }
}
