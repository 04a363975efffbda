//! The broker in memory, for tests: its own, and those of programs that speak to it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use mqway_engine::sim::{Random, Remote, Sim};

use crate::core::BrokerCore;
use crate::shared::Shared;
use crate::{Config, Counters};

/// A broker whose workers, network and clock are simulated, by [`mqway_engine::sim`]. The same seed and the same calls
/// give the same run.
///
/// ```
/// use std::time::Duration;
/// use mqway_broker::{Config, Simulated};
///
/// let mut broker = Simulated::new(7, 2, Config::default());
/// let client = broker.connect().unwrap();
/// broker.write(client, b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01a"); // CONNECT
/// broker.run(Duration::from_secs(1));
/// assert_eq!(broker.read(client), b"\x20\x02\x00\x00"); // CONNACK
/// broker.cut(client);
/// broker.run(Duration::from_secs(1));
/// assert_eq!(broker.left(), Default::default());
/// ```
pub struct Simulated {
    sim: Sim<BrokerCore>,
    shared: Arc<Shared>,
}

/// What a broker holds at one moment. Without clients, sessions and retained messages it is all zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Left {
    /// Connections, on the engine's side and the broker's.
    pub connections: usize,
    /// Sessions.
    pub sessions: usize,
    /// Subscriptions in the index.
    pub subscriptions: usize,
    /// Groups of shared subscriptions in the index.
    pub shares: usize,
    /// Sessions whose load as members of such groups is known.
    pub loads: usize,
    /// Bytes of messages on their way from one worker to another.
    pub on_the_way: i64,
    /// Messages in sessions.
    pub stored: u64,
    /// Bytes of them.
    pub stored_bytes: u64,
    /// Messages retained.
    pub retained: usize,
    /// Bytes of them.
    pub retained_bytes: u64,
    /// Bytes in the engine's buffers.
    pub buffered: u64,
    /// Connections that wait for answers of hooks.
    pub waiting: usize,
}

/// What nobody outside may know decides where clients are at home; in a simulation everybody may.
const KEY: u64 = 0;

impl Simulated {
    /// A broker of so many workers. Of `config`, the first listener's layers are taken, and `$SYS` is not published.
    pub fn new(seed: u64, workers: usize, config: Config) -> Simulated {
        let shared = Arc::new(Shared::new(&config, workers, KEY));
        let Config { engine, listeners, .. } = config;
        let enough = engine.limits.high_water;
        let layers = listeners.into_iter().next().map(|listener| listener.options).unwrap_or_default();
        let sim = Sim::new(seed, workers, engine.limits, vec![layers], |worker| {
            BrokerCore::new(worker, shared.clone(), enough, None)
        });
        Simulated { sim, shared }
    }

    /// The virtual time.
    pub fn now(&self) -> Duration {
        self.sim.now()
    }

    /// Where the simulation's chance comes from.
    pub fn random(&mut self) -> &mut Random {
        self.sim.random()
    }

    /// Opens a connection. `None` if it was refused by a limit.
    pub fn connect(&mut self) -> Option<Remote> {
        self.sim.connect(0, None)
    }

    /// Sends bytes to the broker.
    pub fn write(&mut self, remote: Remote, bytes: &[u8]) {
        self.sim.write(remote, bytes);
    }

    /// Takes what has come from the broker.
    pub fn read(&mut self, remote: Remote) -> Vec<u8> {
        self.sim.read(remote)
    }

    /// Stops the reading of a connection, or lets it go on.
    pub fn set_reading(&mut self, remote: Remote, reads: bool) {
        self.sim.set_reading(remote, reads);
    }

    /// Makes a connection slow: see [`Sim::set_pace`].
    pub fn set_pace(&mut self, remote: Remote, bytes: usize) {
        self.sim.set_pace(remote, bytes);
    }

    /// Sends no more on a connection, after what was written.
    pub fn end(&mut self, remote: Remote) {
        self.sim.end(remote);
    }

    /// Closes a connection without reading what comes: see [`Sim::close_unread`].
    pub fn close_unread(&mut self, remote: Remote) {
        self.sim.close_unread(remote);
    }

    /// Breaks a connection, with whatever is on its way.
    pub fn cut(&mut self, remote: Remote) {
        self.sim.cut(remote);
    }

    /// Whether the broker has ended a connection, and all of it was read.
    pub fn is_ended(&self, remote: Remote) -> bool {
        self.sim.is_ended(remote)
    }

    /// Lets time pass in the small steps of the simulator.
    pub fn run(&mut self, time: Duration) {
        self.sim.run(time);
    }

    /// Lets a longer time pass, in which hardly anything happens.
    pub fn skip(&mut self, time: Duration) {
        self.sim.skip(time);
    }

    /// Whether nothing is on its way: see [`Sim::is_quiet`].
    pub fn is_quiet(&self) -> bool {
        self.sim.is_quiet()
    }

    /// Ends all connections, as a broker does that is stopped.
    pub fn stop(&mut self) {
        self.sim.stop();
    }

    /// What the broker counts.
    pub fn counters(&self) -> &Counters {
        &self.shared.counters
    }

    /// What the engine below it counts.
    pub fn engine_counters(&self) -> &mqway_engine::Counters {
        self.sim.counters()
    }

    /// What it holds.
    pub fn left(&self) -> Left {
        let counts = self.shared.counters.snapshot();
        let cores = (0..self.shared.on_the_way.len()).map(|worker| self.sim.core(worker));
        let (clients, sessions) = cores.fold((0, 0), |(clients, sessions), core| {
            (clients + core.clients.all().len(), sessions + core.house.desk.sessions.len())
        });
        Left {
            connections: self.sim.connections() + clients,
            sessions,
            subscriptions: self.shared.index.len(),
            shares: self.shared.index.shares(),
            loads: self.shared.loads.in_use(),
            on_the_way: self.shared.on_the_way.iter().map(|bytes| bytes.load(Ordering::Relaxed)).sum(),
            stored: counts.stored,
            stored_bytes: counts.stored_bytes,
            retained: self.shared.retained.len(),
            retained_bytes: counts.retained_bytes,
            buffered: self.sim.counters().snapshot().buffered,
            waiting: self.shared.waiting.occupied(),
        }
    }
}
