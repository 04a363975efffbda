//! What the programs have in common: their arguments, and what they measure of themselves.
#![forbid(unsafe_code)]

use std::error::Error;
use std::io::Write;
use std::time::Instant;

use rustix::time::{ClockId, clock_gettime};
use serde_json::json;

/// Messages under way at once, acknowledged or not: what both libraries take by default.
pub const IN_FLIGHT: u16 = 100;

/// Messages that may wait for the library.
pub const QUEUE: usize = 1_000;

/// What to do: `publish|receive PORT QOS COUNT SIZE`.
pub struct Task {
    /// Publish, or else receive.
    pub publishes: bool,
    /// The server's, on this machine.
    pub port: u16,
    /// Quality of service.
    pub qos: u8,
    /// Messages.
    pub count: u64,
    /// Bytes of a payload.
    pub size: usize,
}

/// The topic of all messages.
pub const TOPIC: &str = "clients/messages";

impl Task {
    /// Reads the arguments of the program.
    ///
    /// # Errors
    /// If one is missing or none.
    pub fn from_arguments() -> Result<Task, Box<dyn Error>> {
        let mut arguments = std::env::args().skip(1);
        let mut next = || arguments.next().ok_or("publish|receive PORT QOS COUNT SIZE");
        Ok(Task {
            publishes: next()? == "publish",
            port: next()?.parse()?,
            qos: next()?.parse()?,
            count: next()?.parse()?,
            size: next()?.parse()?,
        })
    }
}

/// Measures this process, from when it is connected (and subscribed) to when all is done.
pub struct Measure {
    started: Instant,
    cpu: f64,
}

impl Measure {
    /// Begins, and tells whoever waits for it.
    pub fn start() -> Measure {
        println!("ready");
        // If nobody listens, the result has nobody to read it either.
        let _ = std::io::stdout().flush();
        Measure { started: Instant::now(), cpu: cpu_seconds() }
    }

    /// Prints the result.
    pub fn finish(self, count: u64) {
        let (cpu, seconds) = (cpu_seconds() - self.cpu, self.started.elapsed().as_secs_f64());
        println!(
            "{}",
            json!({ "messages": count, "cpu_seconds": cpu, "seconds": seconds, "peak_kib": peak_kib() })
        );
    }
}

fn cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// The most memory that was ever resident.
fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}
