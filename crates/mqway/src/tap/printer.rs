//! Prints lines on a thread of its own, so that a slow terminal does not stop the workers.

use std::collections::VecDeque;
use std::io::{self, BufWriter, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use signal_hook::consts::SIGTERM;
use signal_hook::low_level;

use crate::failure::Failure;

/// Bytes of lines that may wait for stdout. What comes beyond is not printed, but counted, and that is.
const MAX_WAITING: usize = 64 * 1024 * 1024;

/// How long the last lines may take once all is over: nobody may be reading stdout.
const PATIENCE: Duration = Duration::from_secs(2);

/// Takes lines from any thread.
#[derive(Clone)]
pub struct Printer(Arc<Shared>);

struct Shared {
    waiting: Mutex<Waiting>,
    more: Condvar,
    over: Condvar,
}

#[derive(Default)]
struct Waiting {
    lines: VecDeque<String>,
    bytes: usize,
    lost: u64,
    finished: bool,
    /// How the thread has ended.
    ended: Option<io::Result<()>>,
}

impl Printer {
    /// Starts the thread.
    pub fn start() -> Result<Printer, Failure> {
        let shared =
            Arc::new(Shared { waiting: Mutex::default(), more: Condvar::new(), over: Condvar::new() });
        let printer = Printer(shared.clone());
        let print = move || {
            let ended = shared.print();
            let failed = ended.is_err();
            let mut waiting = shared.lock();
            let unasked = failed && !waiting.finished;
            waiting.finished = true;
            waiting.ended = Some(ended);
            drop(waiting);
            shared.over.notify_all();
            if unasked {
                // Whoever read us has gone, and with it the purpose of it all.
                let _ = low_level::raise(SIGTERM);
            }
        };
        let thread = thread::Builder::new().name("printer".to_owned()).spawn(print);
        thread.map_err(|error| Failure::other(format_args!("cannot start a thread: {error}")))?;
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

    /// Waits until all is printed, within limits; what comes later is not.
    ///
    /// # Errors
    /// If stdout took not all of it. That its reader has gone is no error: `| head` does that.
    pub fn finish(&self) -> Result<(), Failure> {
        self.0.lock().finished = true;
        self.0.more.notify_one();
        let going_on = |waiting: &mut Waiting| waiting.ended.is_none();
        let waited = self.0.over.wait_timeout_while(self.0.lock(), PATIENCE, going_on);
        match &waited.unwrap_or_else(PoisonError::into_inner).0.ended {
            Some(Err(error)) if error.kind() != io::ErrorKind::BrokenPipe => {
                Err(Failure::other(format_args!("cannot write to stdout: {error}")))
            }
            Some(_) => Ok(()),
            None => Err(Failure::other("nobody reads stdout: the last lines are lost")),
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
