//! A broker with a witness before, during and after a storm, and what may be left of it.

use super::witness::{self, Witness};
use crate::support::mqway::{Proxy, Running};
use crate::support::{SOON, eventually};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

pub const MIB: u64 = 1024 * 1024;

/// What the witness may have to wait at the worst, on a machine that does other things, too.
const ABSURD: Duration = SOON;

/// Lines that the broker may log in `INTERVAL`, however many clients are in a storm: it limits each kind of line.
const LINES: usize = 200;
const INTERVAL: Duration = Duration::from_secs(10);

/// The time in which memory that nobody uses goes back to the system.
const GIVEN_BACK: Duration = Duration::from_secs(20);

/// Threads that make up a crowd.
const THREADS: usize = 8;

/// A broker that listens over TCP (listener 0) and WebSocket (listener 1), before it is started.
pub fn broker() -> Proxy {
    let broker = Proxy::broker().listen("tcp://0.0.0.0:0").listen("ws://127.0.0.1:0");
    broker.arguments(&["--allow-anonymous", "--max-connections", "50000"])
}

/// A broker among a storm.
pub struct Scene {
    pub broker: Running,
    name: &'static str,
    witness: Witness,
    watch: Watch,
    files: usize,
    threads: usize,
    memory: u64,
    lines: usize,
    begun: Instant,
}

/// What a storm came to.
#[derive(Debug)]
pub struct Aftermath {
    /// Resident bytes at the worst, beside those of before.
    pub peak: u64,
    pub counters: serde_json::Value,
    /// What the broker logged.
    pub log: Vec<String>,
}

impl Scene {
    pub fn begin(name: &'static str, broker: Proxy) -> Scene {
        allow_files();
        let broker = broker.start();
        // Each worker has its first buffers before anything is measured.
        for _ in 0..4 {
            Witness::begin(local(&broker, 0)).testify();
        }
        let witness = Witness::begin(local(&broker, 0));
        assert!(are_connected(&broker, witness::CLIENTS), "{name}: those before have left");
        thread::sleep(Duration::from_millis(100));
        let (files, threads) = (broker.program.open_files(), broker.program.threads());
        let memory = broker.program.resident();
        let watch = Watch::begin(broker.program.pid());
        let lines = broker.program.stderr.all().len();
        Scene { broker, name, witness, watch, files, threads, memory, lines, begun: Instant::now() }
    }

    /// The address of the listener over TCP. One client address has ports for so many connections, so that a crowd
    /// comes to several; `guest` chooses.
    pub fn address(&self, guest: usize) -> SocketAddr {
        local(&self.broker, guest)
    }

    /// Everybody has left: nothing is open any more, and no more than `kept` bytes of memory are.
    pub fn end(self, kept: u64) -> Aftermath {
        let during = self.begun.elapsed();
        let program = &self.broker.program;
        let closed = eventually(SOON, || program.open_files() <= self.files);
        assert!(closed, "{}: {} descriptors, {} before", self.name, program.open_files(), self.files);
        assert_eq!(program.threads(), self.threads, "{}: threads", self.name);
        let left = || program.resident().saturating_sub(self.memory);
        eventually(GIVEN_BACK, || left() <= kept / 2);
        let seen = self.witness.testify();
        assert!(are_connected(&self.broker, 0), "{}: all have left", self.name);
        let counters = self.broker.counters();
        let (peak, left) = (self.watch.end().saturating_sub(self.memory), left());
        println!(
            "{}: {:.1} s; resident {:.1} MiB before, {:.1} more at the peak, {:.1} more after; witness: {} messages, \
             slowest {} ms",
            self.name,
            during.as_secs_f64(),
            self.memory as f64 / MIB as f64,
            peak as f64 / MIB as f64,
            left as f64 / MIB as f64,
            seen.messages,
            seen.slowest.as_millis(),
        );
        assert!(seen.slowest < ABSURD, "{}: the witness waited {:?}", self.name, seen.slowest);
        assert!(left <= kept, "{}: {left} bytes more than before", self.name);
        let log = program.stderr.all().split_off(self.lines);
        let log: Vec<_> = log.into_iter().filter(|line| !line.starts_with('{')).collect();
        // A storm blows for longer where the machine is slow.
        let lines = LINES * (1 + self.begun.elapsed().as_secs() / INTERVAL.as_secs()) as usize;
        assert!(log.len() <= lines, "{}: {} lines of log, such as {:?}", self.name, log.len(), &log[..3]);
        Aftermath { peak, counters, log }
    }
}

impl Aftermath {
    pub fn count(&self, name: &str) -> u64 {
        self.counters[name].as_u64().unwrap_or_else(|| panic!("no counter {name} in {:#}", self.counters))
    }

    /// Whether the log says so somewhere.
    pub fn says(&self, text: &str) -> bool {
        self.log.iter().any(|line| line.contains(text))
    }
}

/// Whether so many clients are connected, sooner or later.
fn are_connected(broker: &Running, clients: u64) -> bool {
    eventually(SOON, || broker.counters()["connected"].as_u64() == Some(clients))
}

fn local(broker: &Running, guest: usize) -> SocketAddr {
    let host = Ipv4Addr::new(127, 0, 0, 1 + (guest % THREADS) as u8);
    SocketAddr::new(host.into(), broker.address().port())
}

/// Makes something for each of `count` guests, many at a time.
pub fn together<T: Send>(count: usize, make: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let make = &make;
    thread::scope(|scope| {
        let part = |first| (first..count).step_by(THREADS).map(make).collect::<Vec<_>>();
        let threads: Vec<_> = (0..THREADS).map(|first| scope.spawn(move || part(first))).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("no guest fails")).collect()
    })
}

/// This process plays all the clients.
fn allow_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let most = getrlimit(Resource::Nofile).maximum;
    let _ = setrlimit(Resource::Nofile, Rlimit { current: most, maximum: most });
}

/// Looks every few milliseconds how much memory a process has.
struct Watch {
    over: Arc<AtomicBool>,
    peak: Arc<AtomicU64>,
    thread: JoinHandle<()>,
}

impl Watch {
    fn begin(pid: u32) -> Watch {
        let over = Arc::new(AtomicBool::new(false));
        let peak = Arc::new(AtomicU64::new(0));
        let (ends, highest) = (Arc::clone(&over), Arc::clone(&peak));
        let thread = thread::spawn(move || {
            while !ends.load(Ordering::Relaxed) {
                highest.fetch_max(crate::support::process::resident(pid).unwrap_or(0), Ordering::Relaxed);
                thread::sleep(Duration::from_millis(10));
            }
        });
        Watch { over, peak, thread }
    }

    fn end(self) -> u64 {
        self.over.store(true, Ordering::Relaxed);
        self.thread.join().expect("it only looks");
        self.peak.load(Ordering::Relaxed)
    }
}
