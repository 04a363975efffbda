//! stderr, behind a buffer and a thread of its own: whoever says something there must not stand still because nobody
//! reads it: a terminal that is held, a supervisor that is stuck.

use std::io::{self, Write};
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

/// Bytes that wait to be written; lines beyond are lost, and counted.
const MOST: usize = 1024 * 1024;

/// How long the end of the process waits for whoever reads slowly.
const PATIENCE: Duration = Duration::from_secs(1);

static STDERR: OnceLock<Buffer> = OnceLock::new();

/// What waits, and who waits for it.
#[derive(Default)]
struct Buffer {
    waiting: Mutex<Waiting>,
    /// There is something to write.
    filled: Condvar,
    /// All is written.
    emptied: Condvar,
}

#[derive(Default)]
struct Waiting {
    bytes: Vec<u8>,
    lost: u64,
    /// The thread has taken something, and is not done with it.
    writing: bool,
}

/// Starts the thread. Where the system gives none, lines are written by whoever says them.
pub fn start() {
    if STDERR.get().is_some() {
        return;
    }
    let write = || {
        let buffer = STDERR.get_or_init(Buffer::default);
        loop {
            buffer.write_to(&mut io::stderr());
        }
    };
    if std::thread::Builder::new().name("stderr".into()).spawn(write).is_ok() {
        STDERR.get_or_init(Buffer::default);
    }
}

/// A line, or several, for stderr.
pub fn write(lines: &[u8]) {
    match STDERR.get() {
        Some(buffer) => buffer.add(lines),
        // Unlike `eprintln!`, this does not panic if nobody reads stderr any more.
        None => drop(io::stderr().write_all(lines)),
    }
}

/// Waits, for a while, until all is written: the process is about to end.
pub fn finish() {
    if let Some(buffer) = STDERR.get() {
        buffer.wait(PATIENCE);
    }
}

/// What a logger writes to.
pub struct Lines;

impl Write for Lines {
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        write(lines);
        Ok(lines.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Buffer {
    fn add(&self, lines: &[u8]) {
        let mut waiting = self.lock();
        if waiting.bytes.len() + lines.len() > MOST {
            waiting.lost += 1;
            return;
        }
        waiting.bytes.extend_from_slice(lines);
        drop(waiting);
        self.filled.notify_one();
    }

    /// Waits for something, and writes it.
    fn write_to(&self, out: &mut impl Write) {
        let empty = |waiting: &mut Waiting| waiting.bytes.is_empty();
        let mut waiting = self.filled.wait_while(self.lock(), empty).unwrap_or_else(PoisonError::into_inner);
        let bytes = std::mem::take(&mut waiting.bytes);
        let lost = std::mem::take(&mut waiting.lost);
        waiting.writing = true;
        drop(waiting);
        // There is nobody to tell of an error: this is where errors are told.
        let _ = out.write_all(&bytes);
        if lost > 0 {
            let _ = writeln!(out, "lost {lost} lines here, because nobody read these in time");
        }
        self.lock().writing = false;
        self.emptied.notify_all();
    }

    fn wait(&self, time: Duration) {
        let busy = |waiting: &mut Waiting| waiting.writing || !waiting.bytes.is_empty();
        let waited = self.emptied.wait_timeout_while(self.lock(), time, busy);
        drop(waited);
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Nothing under the lock can leave it half changed.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_in_order_and_what_is_lost_is_counted() {
        let buffer = Buffer::default();
        buffer.add(b"one\n");
        buffer.add(b"two\n");
        buffer.add(&vec![b'x'; MOST]);
        buffer.add(b"three\n");
        let mut out = Vec::new();
        buffer.write_to(&mut out);
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text, "one\ntwo\nthree\nlost 1 lines here, because nobody read these in time\n");
        buffer.wait(Duration::from_secs(60)); // Nothing is left to wait for.
    }

    #[test]
    fn whoever_waits_for_a_reader_that_never_comes_goes_on() {
        let buffer = Buffer::default();
        buffer.add(b"one\n");
        buffer.wait(Duration::from_millis(1));
    }
}
