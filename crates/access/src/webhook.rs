//! Events for a web service, in batches, sent again until it has taken them, in bounded memory.
//!
//! A batch is a POST of `{"events": [...], "dropped": N}` with the events in their order, and `dropped` those that have
//! been lost since the last batch that was taken. Any status from 200 to 299 means that it was. Status 408, 425 and 429,
//! 500 and above, and silence mean: again later. Any other means that it never will be, and the batch is lost.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use log::warn;
use serde::Serialize;

use crate::web::{Reach, ReachError, Web};

/// The first pause before a batch is sent again; it doubles up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// Bytes of an answer, which isn't read otherwise.
const MAX_ANSWER: u64 = 64 * 1024;

/// How events are sent.
#[derive(Clone, Debug)]
pub struct WebhookSettings {
    /// Where to.
    pub reach: Reach,
    /// How many events go together at most.
    pub batch: usize,
    /// How long the first of them waits for others.
    pub linger: Duration,
    /// How many events may wait, and how many bytes they may have; what comes then is dropped.
    pub max_waiting: usize,
    /// Bytes of the events that wait.
    pub max_waiting_bytes: usize,
    /// The longest pause between two tries.
    pub longest_pause: Duration,
    /// For how long a batch is tried before it is dropped.
    pub give_up: Duration,
}

impl WebhookSettings {
    /// A hundred events at a time, after a second at the latest; ten thousand wait, and are tried for ten minutes.
    pub fn new(url: impl Into<String>) -> WebhookSettings {
        WebhookSettings {
            reach: Reach::new(url),
            batch: 100,
            linger: Duration::from_secs(1),
            max_waiting: 10_000,
            max_waiting_bytes: 16 * 1024 * 1024,
            longest_pause: Duration::from_secs(60),
            give_up: Duration::from_secs(600),
        }
    }
}

/// How sending has gone so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WebhookCounters {
    /// Events that were taken.
    pub sent: u64,
    /// Events that weren't kept because too many were waiting.
    pub dropped_full: u64,
    /// Events that the service refused for good.
    pub dropped_refused: u64,
    /// Events that could not be delivered for too long, or until the end.
    pub dropped_late: u64,
    /// Times when a batch was sent in vain.
    pub failures: u64,
}

/// A sender of events, with a thread of its own.
pub struct Webhook(Arc<Shared>);

struct Shared {
    settings: WebhookSettings,
    web: Web,
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Box<str>>,
    waiting_bytes: usize,
    /// When the first of those that wait came.
    since: Option<Instant>,
    /// How many were lost since a batch was taken.
    lost: u64,
    counters: WebhookCounters,
    /// Send what is there, then end; no later than this.
    stop_by: Option<Instant>,
    stopped: bool,
}

/// What has come of a batch.
enum Outcome {
    Taken,
    Refused(u16),
    Failed(String),
}

impl Webhook {
    /// Starts the thread.
    ///
    /// # Errors
    /// If the URL or the authorities are unusable, or there can be no thread.
    pub fn start(settings: WebhookSettings) -> Result<Webhook, ReachError> {
        let web = Web::new(&settings.reach)?;
        let shared = Arc::new(Shared { settings, web, state: Mutex::default(), wake: Condvar::new() });
        let runner = shared.clone();
        thread::Builder::new()
            .name("mqway-webhook".to_owned())
            .spawn(move || runner.run())
            .map_err(|error| ReachError::new(format!("no thread to send events: {error}")))?;
        Ok(Webhook(shared))
    }

    /// Takes an event, to be sent soon; false if it was dropped, which is counted. Never waits.
    pub fn send(&self, event: &impl Serialize) -> bool {
        let Ok(event) = serde_json::to_string(event) else { return false };
        let settings = &self.0.settings;
        let mut state = self.0.lock();
        let bytes = state.waiting_bytes.saturating_add(event.len());
        if state.waiting.len() >= settings.max_waiting || bytes > settings.max_waiting_bytes {
            state.counters.dropped_full += 1;
            state.lost += 1;
            return false;
        }
        state.waiting_bytes = bytes;
        state.waiting.push_back(event.into());
        // Between the first and a full batch the thread has nothing to do.
        let count = state.waiting.len();
        if count == 1 {
            state.since = Some(Instant::now());
        }
        if count == 1 || count == settings.batch {
            self.0.wake.notify_all();
        }
        true
    }

    /// Sends what is waiting, if that can be done within `grace`, and ends. Waits for it.
    pub fn finish(self, grace: Duration) -> WebhookCounters {
        let end = Instant::now() + grace;
        let mut state = self.0.lock();
        state.stop_by = Some(end);
        self.0.wake.notify_all();
        while !state.stopped {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            state = self.0.wake.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.counters
    }

    /// How it has gone so far.
    pub fn counters(&self) -> WebhookCounters {
        self.0.lock().counters
    }
}

impl Drop for Webhook {
    fn drop(&mut self) {
        self.0.lock().stop_by.get_or_insert_with(Instant::now);
        self.0.wake.notify_all();
    }
}

impl Shared {
    fn run(&self) {
        while let Some((batch, lost)) = self.next() {
            self.deliver(&batch, lost);
        }
        let mut state = self.lock();
        state.counters.dropped_late += state.waiting.len() as u64;
        state.waiting.clear();
        state.stopped = true;
        self.wake.notify_all();
    }

    /// The next batch once it is full or old enough, and how many events were lost before; `None` when all is over.
    fn next(&self) -> Option<(Vec<Box<str>>, u64)> {
        let mut state = self.lock();
        loop {
            let age = state.since.map(|since| since.elapsed());
            let left = age.map(|age| self.settings.linger.saturating_sub(age));
            let ending = state.stop_by.is_some();
            if ending && (state.waiting.is_empty() || state.stop_by <= Some(Instant::now())) {
                return None;
            }
            let full = state.waiting.len() >= self.settings.batch;
            if !state.waiting.is_empty() && (ending || full || left.is_some_and(|left| left.is_zero())) {
                return Some(self.cut(&mut state));
            }
            state = match left {
                None => self.wake.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(left) => self.wake.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0,
            };
        }
    }

    fn cut(&self, state: &mut State) -> (Vec<Box<str>>, u64) {
        let count = state.waiting.len().min(self.settings.batch.max(1));
        let batch: Vec<_> = state.waiting.drain(..count).collect();
        let bytes = batch.iter().map(|event| event.len()).sum();
        state.waiting_bytes = state.waiting_bytes.saturating_sub(bytes);
        state.since = (!state.waiting.is_empty()).then(Instant::now);
        (batch, state.lost)
    }

    /// Sends a batch until something has come of it.
    fn deliver(&self, batch: &[Box<str>], lost: u64) {
        let body = format!(r#"{{"events":[{}],"dropped":{lost}}}"#, batch.join(","));
        let (begun, count) = (Instant::now(), batch.len() as u64);
        let mut pause = FIRST_PAUSE.min(self.settings.longest_pause);
        loop {
            let outcome = self.post(body.as_bytes());
            let mut state = self.lock();
            match outcome {
                Outcome::Taken => {
                    state.counters.sent += count;
                    state.lost = state.lost.saturating_sub(lost);
                    return;
                }
                Outcome::Refused(status) => {
                    warn!("{} refuses {count} events with status {status}; they are lost", self.web);
                    state.counters.dropped_refused += count;
                    state.lost += count;
                    return;
                }
                Outcome::Failed(why) => {
                    warn!("{} does not take {count} events: {why}", self.web);
                    state.counters.failures += 1;
                }
            }
            drop(state);
            if begun.elapsed() >= self.settings.give_up || !self.pause(pause) {
                warn!("{count} events for {} are lost", self.web);
                let mut state = self.lock();
                state.counters.dropped_late += count;
                state.lost += count;
                return;
            }
            pause = pause.saturating_mul(2).min(self.settings.longest_pause);
        }
    }

    fn post(&self, body: &[u8]) -> Outcome {
        match catch_unwind(AssertUnwindSafe(|| self.web.post(body, MAX_ANSWER))) {
            Ok(Ok((200..=299, _))) => Outcome::Taken,
            Ok(Ok((status @ (408 | 425 | 429 | 500..), _))) => {
                Outcome::Failed(format!("it answers with status {status}"))
            }
            Ok(Ok((status, _))) => Outcome::Refused(status),
            Ok(Err(error)) => Outcome::Failed(error.to_string()),
            Err(_) => Outcome::Failed("sending has failed for a reason of ours".to_owned()),
        }
    }

    /// Waits; false if there is no time left for another try.
    fn pause(&self, pause: Duration) -> bool {
        let end = Instant::now() + pause;
        let mut state = self.lock();
        loop {
            let now = Instant::now();
            let until = state.stop_by.map_or(end, |stop_by| stop_by.min(end));
            if state.stop_by.is_some_and(|stop_by| stop_by <= now) {
                return false;
            }
            if until <= now {
                return true;
            }
            state = self.wake.wait_timeout(state, until - now).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
