//! Signals, as a service manager or a person at the terminal sends them.

use std::panic;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::Signals as Incoming;
use signal_hook::{flag, low_level};

use crate::failure::Failure;

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// End well, within the grace time. Once this has been told, the next such signal ends the process at once.
    Stop,
    /// Read settings and certificates again.
    Reload,
    /// Print the counters.
    Report,
}

/// The signals that this process gets from now on.
pub struct Signals {
    incoming: Incoming,
    impatient: Arc<AtomicBool>,
}

impl Signals {
    /// Catches them. To be called before there is anything that a signal should not simply kill.
    ///
    /// A thread that panics from now on asks to stop, too: the process ends, to be started anew, rather than live on
    /// without it.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn catch() -> Result<Signals, Failure> {
        let why = |error| Failure::other(format_args!("cannot catch signals: {error}"));
        let impatient = Arc::new(AtomicBool::new(false));
        for signal in [SIGTERM, SIGINT] {
            // 128 and the signal's number: what a shell reports of a process that was killed by it.
            flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&impatient)).map_err(why)?;
        }
        let incoming = Incoming::new([SIGTERM, SIGINT, SIGHUP, SIGUSR1]).map_err(why)?;
        let print = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            print(info);
            let _ = low_level::raise(SIGTERM);
        }));
        Ok(Signals { incoming, impatient })
    }

    /// Waits for the next request.
    pub fn wait(&mut self) -> Request {
        match self.incoming.forever().next() {
            Some(SIGHUP) => Request::Reload,
            Some(SIGUSR1) => Request::Report,
            _ => {
                self.impatient.store(true, Ordering::Relaxed);
                Request::Stop
            }
        }
    }
}
