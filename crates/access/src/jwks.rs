//! Keys that are fetched from a URL, and fetched again when they get old or a token names one that isn't among them.
//!
//! A thread of its own does that, so that whoever checks a token never waits for a server: it takes the keys that are
//! there, or leaves word to be called after the next fetch.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use log::{info, warn};

use crate::jwt::{Algorithm, KeySet, Origin};
use crate::web::{Reach, ReachError, Web};

/// No more callers wait for a fetch; who comes then isn't taken.
const MAX_WAITING: usize = 1_024;

/// Called when a fetch has ended, on the thread that fetches: it should only pass the word on.
pub type Waiter = Box<dyn FnOnce() + Send>;

/// Where keys are, and how they are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JwksSource {
    /// Where the JSON Web Key Set is.
    pub reach: Reach,
    /// What keys are for that don't say it: see [`KeySet::from_jwks`].
    pub algorithms: Vec<Algorithm>,
    /// How old the keys may get before they are fetched again.
    pub refresh: Duration,
    /// How long after one fetch the next one may begin, whoever asks for it.
    pub least_interval: Duration,
    /// How long keys are good if they cannot be fetched again.
    pub keep: Duration,
    /// Bytes of a set of keys.
    pub max_size: u64,
}

impl JwksSource {
    /// Fetched every ten minutes, never sooner than 30 seconds after the last time, and kept for a day.
    pub fn new(url: impl Into<String>) -> JwksSource {
        JwksSource {
            reach: Reach::new(url),
            algorithms: Vec::new(),
            refresh: Duration::from_secs(600),
            least_interval: Duration::from_secs(30),
            keep: Duration::from_secs(24 * 3_600),
            max_size: 1024 * 1024,
        }
    }
}

/// Keys that are fetched. The thread ends when this is dropped.
pub struct Jwks(Arc<Shared>);

/// How fetching has gone so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JwksCounters {
    /// Sets of keys that were fetched.
    pub fetched: u64,
    /// Times when none could be.
    pub failed: u64,
    /// Callers that weren't taken, because a fetch had just been or too many were waiting.
    pub turned_away: u64,
}

struct Shared {
    source: JwksSource,
    web: Web,
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Default)]
struct State {
    keys: Arc<KeySet>,
    fetched_at: Option<Instant>,
    /// When the last fetch began, and how many have failed since one succeeded.
    tried_at: Option<Instant>,
    failures: u32,
    fetching: bool,
    waiting: Vec<Waiter>,
    stopped: bool,
    counters: JwksCounters,
}

impl Jwks {
    /// Begins to fetch. Until that has succeeded there are no keys.
    ///
    /// # Errors
    /// If the URL or the authorities are unusable, or there can be no thread.
    pub fn start(source: JwksSource) -> Result<Jwks, ReachError> {
        let web = Web::new(&source.reach)?;
        if web.is_exposed() {
            warn!("keys from {web} can be forged on their way; take https");
        }
        // The first fetch is under way from the beginning, as far as callers are concerned.
        let state = Mutex::new(State { fetching: true, ..State::default() });
        let shared = Arc::new(Shared { source, web, state, wake: Condvar::new() });
        let runner = shared.clone();
        thread::Builder::new()
            .name("mqway-jwks".to_owned())
            .spawn(move || runner.run())
            .map_err(|error| ReachError::new(format!("no thread to fetch keys: {error}")))?;
        Ok(Jwks(shared))
    }

    /// The keys that are there; none before the first fetch, and when all have failed for too long.
    pub fn keys(&self) -> Arc<KeySet> {
        let state = self.0.lock();
        match state.fetched_at {
            Some(at) if at.elapsed() <= self.0.source.keep => state.keys.clone(),
            _ => Arc::default(),
        }
    }

    /// Has the keys fetched again, because one is missing, and `then` called after that; once, and also if the fetch
    /// has failed.
    ///
    /// # Errors
    /// Gives `then` back if there will be no fetch soon enough: one has just been, or too many are waiting.
    pub fn refetch(&self, then: Waiter) -> Result<(), Waiter> {
        let mut state = self.0.lock();
        let just_tried = state.tried_at.is_some_and(|at| at.elapsed() < self.0.source.least_interval);
        if state.stopped || state.waiting.len() >= MAX_WAITING || (just_tried && !state.fetching) {
            state.counters.turned_away += 1;
            return Err(then);
        }
        state.waiting.push(then);
        self.0.wake.notify_one();
        Ok(())
    }

    /// Has the keys fetched now, however short a time ago that was done: for an operator, and nobody else.
    pub fn fetch_now(&self) {
        self.0.lock().tried_at = None;
        self.0.wake.notify_one();
    }

    /// Where they are fetched from.
    pub fn source(&self) -> &JwksSource {
        &self.0.source
    }

    /// How it has gone so far.
    pub fn counters(&self) -> JwksCounters {
        self.0.lock().counters
    }
}

impl Drop for Jwks {
    fn drop(&mut self) {
        self.0.lock().stopped = true;
        self.0.wake.notify_one();
    }
}

impl Shared {
    fn run(&self) {
        loop {
            self.lock().tried_at = Some(Instant::now());
            let fetched = self.fetch();
            let waiting = self.take_in(fetched);
            waiting.into_iter().for_each(|then| then());
            if !self.rest() {
                break;
            }
        }
        // Nobody who waits is forgotten.
        let waiting = std::mem::take(&mut self.lock().waiting);
        waiting.into_iter().for_each(|then| then());
    }

    fn fetch(&self) -> Result<KeySet, String> {
        let json = self.web.fetch(self.source.max_size).map_err(|error| error.to_string())?;
        KeySet::from_jwks(&json, &self.source.algorithms, Origin::Public).map_err(|error| error.to_string())
    }

    /// Notes what has come of a fetch, and gives back who waited for it.
    fn take_in(&self, fetched: Result<KeySet, String>) -> Vec<Waiter> {
        let mut state = self.lock();
        match fetched {
            Ok(keys) => {
                if *state.keys != keys {
                    info!("{} keys from {}", keys.len(), self.web);
                    state.keys = Arc::new(keys);
                }
                (state.fetched_at, state.failures) = (Some(Instant::now()), 0);
                state.counters.fetched += 1;
            }
            Err(why) => {
                warn!("no keys from {}: {why}; those of before are kept", self.web);
                state.failures = state.failures.saturating_add(1);
                state.counters.failed += 1;
            }
        }
        state.fetching = false;
        std::mem::take(&mut state.waiting)
    }

    /// Waits until it is time to fetch again; false if it is time to stop. After failures the time doubles, up to that
    /// between two refreshes.
    fn rest(&self) -> bool {
        let source = &self.source;
        let mut state = self.lock();
        loop {
            let pause = match state.failures {
                _ if !state.waiting.is_empty() => source.least_interval,
                0 => source.refresh.max(source.least_interval),
                failures => {
                    let doubled =
                        source.least_interval.saturating_mul(1 << failures.min(16).saturating_sub(1));
                    doubled.min(source.refresh.max(source.least_interval))
                }
            };
            let left = pause.saturating_sub(state.tried_at.map_or(pause, |at| at.elapsed()));
            if state.stopped {
                return false;
            }
            if left.is_zero() {
                state.fetching = true;
                return true;
            }
            state = self.wake.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
