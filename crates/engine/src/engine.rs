//! Starting, watching and stopping the workers.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use mio::{Poll, Waker};
use mqway_transport::ServerOptions;

use crate::admission::Admission;
use crate::alarm::Alarm;
use crate::io::Shared;
use crate::listener::{Acceptor, bind};
use crate::mailbox::{Letter, Mailbox};
use crate::resolver::Resolver;
use crate::worker::{ALARM, Listeners, Listening, Pace, WAKE, Worker};
use crate::{Bound, Core, Counters, Listener, ListenerId};

/// How many workers there are, and their limits.
#[derive(Clone, Debug)]
pub struct Config {
    /// Worker threads; by default one for each processor.
    pub workers: usize,
    /// What no connection, and not all of them together, may exceed.
    pub limits: Limits,
    /// Timers to some microseconds where the system's wait for events counts in milliseconds: for those that send by a
    /// schedule. It costs a system call for each timer that is waited for.
    pub fine_timers: bool,
}

impl Default for Config {
    fn default() -> Config {
        let workers = std::thread::available_parallelism().map_or(1, |count| count.get());
        Config { workers, limits: Limits::default(), fine_timers: false }
    }
}

/// Limits that hold for any core.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Accepted connections open at once; one more is closed as soon as it is accepted.
    pub connections: usize,
    /// Accepted connections open at once from one address; `usize::MAX` for no limit.
    pub connections_per_address: usize,
    /// The time for all handshakes of an accepted connection together.
    pub handshake_time: Duration,
    /// The time for the last bytes and the peer's goodbye, once a connection is being closed.
    pub close_time: Duration,
    /// When more bytes than this wait for a connection's reader, the core is told that it is blocked.
    pub high_water: usize,
    /// When no more bytes than this are left, the core is told that it is not blocked any more.
    pub low_water: usize,
    /// Bytes of a connection that a core may leave unused; beyond it the socket is left alone.
    pub unread: usize,
    /// Bytes in the buffers of all connections; one that would add to them beyond this is dropped.
    pub buffered: usize,
    /// Mail that may wait for one worker.
    pub mailbox: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connections: 100_000,
            connections_per_address: usize::MAX,
            handshake_time: Duration::from_secs(10),
            close_time: Duration::from_secs(5),
            high_water: 256 * 1024,
            low_water: 64 * 1024,
            unread: 1024 * 1024,
            buffered: 1024 * 1024 * 1024,
            mailbox: 64 * 1024,
        }
    }
}

/// Why an engine did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A listener's address is in use, not ours, or not permitted.
    #[error("cannot listen: {error}")]
    Listen {
        /// Which of them.
        listener: ListenerId,
        /// What the system said.
        #[source]
        error: io::Error,
    },
    /// The system gave no thread or no file.
    #[error("cannot start a worker: {0}")]
    Worker(#[from] io::Error),
}

/// Running workers. Dropping it leaves them running: see [`Engine::stop`].
pub struct Engine<M> {
    shared: Arc<Shared<M>>,
    addresses: Vec<Bound>,
    threads: Vec<JoinHandle<bool>>,
}

/// Writes mail to workers from any thread.
pub struct Poster<M> {
    pub(crate) shared: Arc<Shared<M>>,
}

impl<M> Clone for Poster<M> {
    fn clone(&self) -> Poster<M> {
        Poster { shared: self.shared.clone() }
    }
}

impl<M> fmt::Debug for Poster<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Poster to {} workers", self.workers())
    }
}

impl<M> fmt::Debug for Engine<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Engine of {} workers at {:?}", self.threads.len(), self.addresses)
    }
}

impl<M: Send + 'static> Engine<M> {
    /// Binds the listeners and starts the workers, each with the core that `core` makes for its number.
    ///
    /// # Errors
    /// If an address cannot be listened at, or the system gives no thread; nothing runs then.
    pub fn start<C>(
        config: Config,
        listeners: Vec<Listener>,
        mut core: impl FnMut(usize) -> C,
    ) -> Result<Engine<M>, StartError>
    where
        C: Core<Mail = M> + Send,
    {
        let workers = config.workers.max(1);
        let mut bound = Vec::new();
        for (index, listener) in listeners.iter().enumerate() {
            let listener_id = ListenerId(index);
            bound.push(
                bind(&listener.bind).map_err(|error| StartError::Listen { listener: listener_id, error })?,
            );
        }
        let (acceptors, addresses): (Vec<_>, Vec<_>) = bound.into_iter().unzip();

        let mut polls = Vec::new();
        let mut mailboxes = Vec::new();
        for _ in 0..workers {
            let poll = Poll::new()?;
            mailboxes.push(Mailbox::new(Some(Waker::new(poll.registry(), WAKE)?)));
            let alarm = if config.fine_timers { Some(Alarm::new(poll.registry(), ALARM)?) } else { None };
            polls.push((poll, alarm));
        }
        let limits = config.limits;
        let shared = Arc::new(Shared {
            admission: Admission::new(limits.connections, limits.connections_per_address),
            counters: Arc::new(Counters::default()),
            mailboxes,
            started: std::time::Instant::now(),
            limits,
        });
        let resolver = Resolver::start(&shared)?;
        let options: Vec<_> = listeners.into_iter().map(|listener| Arc::new(listener.options)).collect();
        let mut shares = share_out(acceptors, workers);
        let mut engine = Engine { shared: shared.clone(), addresses, threads: Vec::new() };
        for (index, (poll, alarm)) in polls.into_iter().enumerate() {
            let sockets = std::mem::take(&mut shares[index]);
            let paces = vec![Pace::default(); sockets.len()];
            let listeners = Listeners { sockets, options: options.clone(), paces, next_worker: index };
            let worker = Worker::new(core(index), index, poll, alarm, resolver.clone(), shared.clone());
            let guard = StopAll { shared: shared.clone(), worker: index, ended_well: false };
            let thread = std::thread::Builder::new().name(format!("worker-{index}")).spawn(move || {
                let mut guard = guard;
                guard.ended_well = worker.run(listeners);
                guard.ended_well
            });
            match thread {
                Ok(thread) => engine.threads.push(thread),
                Err(error) => {
                    engine.stop(Duration::ZERO);
                    engine.join();
                    return Err(error.into());
                }
            }
        }
        Ok(engine)
    }

    /// Where the listeners listen, in their order.
    pub fn addresses(&self) -> &[Bound] {
        &self.addresses
    }

    /// The counters, which stay readable after the engine's end.
    pub fn counters(&self) -> Arc<Counters> {
        self.shared.counters.clone()
    }

    /// A handle that writes to the workers.
    pub fn poster(&self) -> Poster<M> {
        Poster { shared: self.shared.clone() }
    }

    /// Gives the connections that `listener` accepts from now on other layers: another certificate, say.
    pub fn reload(&self, listener: ListenerId, options: &ServerOptions) {
        for mailbox in &self.shared.mailboxes {
            mailbox.append(&mut vec![Letter::Options { listener, options: Box::new(options.clone()) }]);
        }
    }

    /// Stops accepting and tells the cores to end their connections; after `grace` those that remain are cut.
    pub fn stop(&self, grace: Duration) {
        stop(&self.shared, grace);
    }

    /// Waits until all workers have ended. False if one of them panicked, or could not go on.
    pub fn join(mut self) -> bool {
        self.wait()
    }

    /// [`Engine::join`] for an owner that has more to do. Once it has said how the workers ended, it has nothing more to
    /// say than true.
    pub fn wait(&mut self) -> bool {
        let mut all_well = true;
        for thread in self.threads.drain(..) {
            all_well &= thread.join().unwrap_or(false);
        }
        for address in self.addresses.drain(..) {
            if let Bound::Unix(path) = address {
                // Whoever removed it before us did what we meant to do.
                let _ = std::fs::remove_file(path);
            }
        }
        all_well
    }
}

impl<M> Poster<M> {
    /// How many workers there are.
    pub fn workers(&self) -> usize {
        self.shared.mailboxes.len()
    }

    /// The time since the engine's start, as workers count it.
    pub fn now(&self) -> Duration {
        self.shared.started.elapsed()
    }

    /// Writes to one worker's core, which hears of it as [`Core::mail`]. Gives the mail back if the mailbox is full, the
    /// worker has ended, or there is none.
    pub fn post(&self, worker: usize, mail: M) -> Result<(), M> {
        let Some(mailbox) = self.shared.mailboxes.get(worker) else { return Err(mail) };
        if mailbox.len() >= self.shared.limits.mailbox {
            return Err(mail);
        }
        let mut batch = vec![Letter::Mail(mail)];
        mailbox.append(&mut batch);
        match batch.pop() {
            Some(Letter::Mail(mail)) => Err(mail),
            _ => Ok(()),
        }
    }
}

/// Deals the listening sockets to the workers, one each in turn.
fn share_out(acceptors: Vec<Acceptor>, workers: usize) -> Vec<Vec<Option<Listening>>> {
    let mut shares: Vec<Vec<_>> = (0..workers).map(|_| acceptors.iter().map(|_| None).collect()).collect();
    for (index, acceptor) in acceptors.into_iter().enumerate() {
        shares[index % workers][index] = Some(match acceptor {
            Acceptor::Tcp(listener) => Listening::Tcp(mio::net::TcpListener::from_std(listener)),
            Acceptor::Unix(listener) => Listening::Unix(mio::net::UnixListener::from_std(listener)),
        });
    }
    shares
}

fn stop<M>(shared: &Shared<M>, grace: Duration) {
    for mailbox in &shared.mailboxes {
        mailbox.append(&mut vec![Letter::Stop { grace }]);
    }
}

/// A worker that panics, or cannot go on, takes its connections with it; the others end too, so that the program is
/// started anew rather than half alive.
struct StopAll<M> {
    shared: Arc<Shared<M>>,
    worker: usize,
    ended_well: bool,
}

impl<M> Drop for StopAll<M> {
    fn drop(&mut self) {
        self.shared.mailboxes[self.worker].close();
        if !self.ended_well {
            log::error!("a worker has failed: stopping");
            stop(&self.shared, Duration::ZERO);
        }
    }
}
