//! Asks for a password without showing it.

use std::io::{self, BufRead, Write};
use std::process;
use std::thread;

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::failure::Failure;

/// As long as it lives, the terminal does not show what is typed.
pub struct Silence {
    before: Termios,
}

impl Silence {
    /// Begins it; a signal that ends the program ends it, too.
    pub fn new() -> Result<Silence, Failure> {
        let cannot = |error: io::Error| Failure::other(format_args!("cannot silence the terminal: {error}"));
        let before = tcgetattr(io::stdin()).map_err(|error| cannot(error.into()))?;
        let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM]).map_err(cannot)?;
        let restored = before.clone();
        thread::spawn(move || {
            if let Some(signal) = signals.forever().next() {
                let _ = tcsetattr(io::stdin(), OptionalActions::Now, &restored);
                // As a shell says it.
                process::exit(128 + signal);
            }
        });
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        silent.local_modes.insert(LocalModes::ECHONL);
        tcsetattr(io::stdin(), OptionalActions::Flush, &silent).map_err(|error| cannot(error.into()))?;
        Ok(Silence { before })
    }

    /// Asks, and takes a line of at most `most` bytes.
    pub fn ask(&self, question: &str, most: usize) -> Result<Vec<u8>, Failure> {
        let mut stderr = io::stderr();
        let _ = stderr.write_all(question.as_bytes()).and_then(|()| stderr.flush());
        line(io::stdin().lock(), most)
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.before);
    }
}

/// A line without its end; one byte more than `most` if it is longer.
pub fn line(input: impl BufRead, most: usize) -> Result<Vec<u8>, Failure> {
    let mut line = Vec::new();
    input
        .take(most as u64 + 2)
        .read_until(b'\n', &mut line)
        .map_err(|error| Failure::other(format_args!("cannot read the password: {error}")))?;
    if line.pop_if(|last| *last == b'\n').is_some() {
        let _ = line.pop_if(|last| *last == b'\r');
    }
    Ok(line)
}
