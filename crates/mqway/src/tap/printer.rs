//! Prints lines on a thread of its own, so that a slow terminal does not stop the workers.

use std::collections::VecDeque;
use std::io::{self, BufWriter, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use signal_hook::consts::SIGTERM;
use signal_hook::low_level;

use crate::failure::Failure;

/// Bytes of lines that may wait for stdout. What comes beyond is not printed, but counted, and that is.
const MAX_WAITING: usize = 64 * 1024 * 1024;

/// Takes lines from any thread.
#[derive(Clone)]
pub struct Printer(Arc<Shared>);

struct Shared {
    waiting: Mutex<Waiting>,
    more: Condvar,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Default)]
struct Waiting {
    lines: VecDeque<String>,
    bytes: usize,
    lost: u64,
    finished: bool,
}

impl Printer {
    /// Starts the thread.
    pub fn start() -> Result<Printer, Failure> {
        let shared =
            Arc::new(Shared { waiting: Mutex::default(), more: Condvar::new(), thread: Mutex::default() });
        let printer = Printer(shared.clone());
        let print = move || {
            if shared.print().is_err() {
                // Whoever read us has gone, and with it the purpose of it all.
                shared.lock().finished = true;
                let _ = low_level::raise(SIGTERM);
            }
        };
        let thread = thread::Builder::new().name("printer".to_owned()).spawn(print);
        let thread =
            thread.map_err(|error| Failure::other(format_args!("cannot start a thread: {error}")))?;
        *printer.0.thread.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread);
        Ok(printer)
    }

    /// Has a line printed, soon.
    pub fn print(&self, line: String) {
        let mut waiting = self.0.lock();
        if waiting.finished {
            return;
        }
        if waiting.bytes.saturating_add(line.len()) > MAX_WAITING {
            waiting.lost += 1;
            return;
        }
        waiting.bytes += line.len();
        waiting.lines.push_back(line);
        self.0.more.notify_one();
    }

    /// Waits until all is printed; what comes later is not.
    pub fn finish(&self) {
        self.0.lock().finished = true;
        self.0.more.notify_one();
        let thread = self.0.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // It cannot have panicked but for stdout, and then there is nobody to tell.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn print(&self) -> io::Result<()> {
        let mut out = BufWriter::new(io::stdout().lock());
        loop {
            let mut waiting = self.lock();
            while waiting.lines.is_empty() && waiting.lost == 0 && !waiting.finished {
                waiting = self.more.wait(waiting).unwrap_or_else(PoisonError::into_inner);
            }
            let Waiting { lines, lost, finished, .. } = std::mem::take(&mut *waiting);
            waiting.finished = finished;
            drop(waiting);
            if lines.is_empty() && lost == 0 {
                return Ok(());
            }
            for line in lines {
                writeln!(out, "{line}")?;
            }
            out.flush()?;
            if lost > 0 {
                log::warn!("{lost} lines were not printed: stdout is too slow");
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
