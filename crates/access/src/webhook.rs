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

use log::{info, warn};
use serde::Serialize;

use crate::web::{Reach, ReachError, Web};

/// The first pause before a batch is sent again; it doubles up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// Bytes of an answer, which isn't read otherwise.
const MAX_ANSWER: u64 = 64 * 1024;

/// For how long what waits is tried to be sent when there will be no more.
const LAST_TRIES: Duration = Duration::from_secs(10);

/// How events are sent.
#[derive(Clone, Debug)]
pub struct WebhookSettings {
    /// Where to. The time limit is that of a batch on its way.
    pub reach: Reach,
    /// How many events go together at most.
    pub batch: usize,
    /// How long the first of them waits for others.
    pub linger: Duration,
    /// How many events may wait; what comes then is dropped.
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

/// Where events are sent, and how: made before it is used, so that it is known to be good.
pub struct Target {
    settings: WebhookSettings,
    web: Web,
}

impl Target {
    /// By these settings.
    ///
    /// # Errors
    /// If the URL or the authorities are unusable.
    pub fn new(settings: WebhookSettings) -> Result<Target, ReachError> {
        Ok(Target { web: Web::new(&settings.reach)?, settings })
    }
}

/// How sending has gone so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WebhookCounters {
    /// Events that were taken.
    pub sent: u64,
    /// Times when a batch was sent in vain, and will be again.
    pub retried: u64,
    /// Events that weren't kept because too many were waiting.
    pub dropped_full: u64,
    /// Events that the service refused for good.
    pub dropped_refused: u64,
    /// Events that could not be delivered for too long, or until the end.
    pub dropped_late: u64,
    /// Events that wait to be sent, at this moment.
    pub waiting: u64,
}

impl WebhookCounters {
    /// Each with its name.
    pub fn each(&self) -> impl Iterator<Item = (&'static str, u64)> + use<> {
        let WebhookCounters { sent, retried, dropped_full, dropped_refused, dropped_late, waiting } = *self;
        [
            ("sent", sent),
            ("retried", retried),
            ("dropped_full", dropped_full),
            ("dropped_refused", dropped_refused),
            ("dropped_late", dropped_late),
            ("waiting", waiting),
        ]
        .into_iter()
    }
}

/// A sender of events, with a thread of its own. Once it is dropped the thread sends what is left, for ten seconds at the
/// most, and ends.
pub struct Webhook(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    wake: Condvar,
}

struct State {
    target: Arc<Target>,
    waiting: VecDeque<Box<str>>,
    waiting_bytes: usize,
    /// How many events are in the batch that is being sent.
    on_the_way: usize,
    /// When the first of those that wait came.
    since: Option<Instant>,
    /// How many were lost since a batch was taken.
    lost: u64,
    /// Events are being dropped because too many wait.
    full: bool,
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
    /// If there can be none.
    pub fn start(target: Target) -> Result<Webhook, ReachError> {
        let state = State {
            target: Arc::new(target),
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            on_the_way: 0,
            since: None,
            lost: 0,
            full: false,
            counters: WebhookCounters::default(),
            stop_by: None,
            stopped: false,
        };
        let shared = Arc::new(Shared { state: Mutex::new(state), wake: Condvar::new() });
        let runner = shared.clone();
        thread::Builder::new()
            .name("mqway-webhook".to_owned())
            .spawn(move || runner.run())
            .map_err(|error| ReachError::new(format!("no thread to send events: {error}")))?;
        Ok(Webhook(shared))
    }

    /// Sends there from now on, what waits already, too.
    pub fn aim(&self, target: Target) {
        self.0.lock().target = Arc::new(target);
        self.0.wake.notify_all();
    }

    /// Takes an event, to be sent soon; false if it was dropped, which is counted. Never waits.
    pub fn send(&self, event: &impl Serialize) -> bool {
        let Ok(event) = serde_json::to_string(event) else { return false };
        let mut state = self.0.lock();
        let settings = &state.target.settings;
        let (batch, bytes) = (settings.batch, state.waiting_bytes.saturating_add(event.len()));
        let full = state.waiting.len() >= settings.max_waiting || bytes > settings.max_waiting_bytes;
        if full || state.stopped {
            return state.drop_one();
        }
        state.waiting_bytes = bytes;
        state.waiting.push_back(event.into());
        // Between the first and a full batch the thread has nothing to do.
        let count = state.waiting.len();
        if count == 1 {
            state.since = Some(Instant::now());
        }
        if count == 1 || count == batch {
            self.0.wake.notify_all();
        }
        true
    }

    /// Sends what is waiting, if that can be done until then, and ends. Waits for it.
    pub fn finish(&self, until: Instant) -> WebhookCounters {
        let mut state = self.0.lock();
        state.stop_by = Some(until);
        self.0.wake.notify_all();
        while !state.stopped {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            state = self.0.wake.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.snapshot()
    }

    /// How it has gone so far.
    pub fn counters(&self) -> WebhookCounters {
        self.0.lock().snapshot()
    }
}

impl Drop for Webhook {
    fn drop(&mut self) {
        self.0.lock().stop_by.get_or_insert_with(|| Instant::now() + LAST_TRIES);
        self.0.wake.notify_all();
    }
}

impl State {
    /// An event is not kept.
    fn drop_one(&mut self) -> bool {
        if !std::mem::replace(&mut self.full, true) {
            warn!("too many events for {} are waiting; the next ones are dropped", self.target.web);
        }
        self.counters.dropped_full += 1;
        self.lost += 1;
        false
    }

    fn snapshot(&self) -> WebhookCounters {
        WebhookCounters { waiting: (self.waiting.len() + self.on_the_way) as u64, ..self.counters }
    }
}

impl Shared {
    fn run(&self) {
        while let Some((batch, lost)) = self.next() {
            self.deliver(&batch, lost);
            self.lock().on_the_way = 0;
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
            let settings = &state.target.settings;
            let age = state.since.map(|since| since.elapsed());
            let left = age.map(|age| settings.linger.saturating_sub(age));
            let ending = state.stop_by.is_some();
            if ending && (state.waiting.is_empty() || state.stop_by <= Some(Instant::now())) {
                return None;
            }
            let full = state.waiting.len() >= settings.batch;
            if !state.waiting.is_empty() && (ending || full || left.is_some_and(|left| left.is_zero())) {
                return Some(cut(&mut state));
            }
            state = match left {
                None => self.wake.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(left) => self.wake.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0,
            };
        }
    }

    /// Sends a batch until something has come of it.
    fn deliver(&self, batch: &[Box<str>], lost: u64) {
        let body = format!(r#"{{"events":[{}],"dropped":{lost}}}"#, batch.join(","));
        let (begun, count) = (Instant::now(), batch.len() as u64);
        let mut pause = FIRST_PAUSE;
        loop {
            let (target, stop_by) = {
                let state = self.lock();
                (state.target.clone(), state.stop_by)
            };
            pause = pause.min(target.settings.longest_pause);
            let outcome = target.post(body.as_bytes(), stop_by);
            let (mut state, web) = (self.lock(), &target.web);
            match outcome {
                Outcome::Taken => {
                    state.counters.sent += count;
                    state.lost = state.lost.saturating_sub(lost);
                    if std::mem::take(&mut state.full) {
                        let dropped = state.counters.dropped_full;
                        info!("{web} takes events again; {dropped} have been dropped so far");
                    }
                    return;
                }
                Outcome::Refused(status) => {
                    warn!("{web} refuses {count} events with status {status}; they are lost");
                    state.counters.dropped_refused += count;
                    state.lost += count;
                    return;
                }
                Outcome::Failed(why) => warn!("{web} does not take {count} events: {why}"),
            }
            drop(state);
            if begun.elapsed() >= target.settings.give_up || !self.pause(pause) {
                warn!("{count} events for {web} are lost");
                let mut state = self.lock();
                state.counters.dropped_late += count;
                state.lost += count;
                return;
            }
            self.lock().counters.retried += 1;
            pause = pause.saturating_mul(2);
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

impl Target {
    /// Sends a batch, in the time that there is.
    fn post(&self, body: &[u8], stop_by: Option<Instant>) -> Outcome {
        let left = stop_by.map(|stop_by| stop_by.saturating_duration_since(Instant::now()));
        let time = left.map_or(self.settings.reach.timeout, |left| left.min(self.settings.reach.timeout));
        match catch_unwind(AssertUnwindSafe(|| self.web.post(body, MAX_ANSWER, time))) {
            Ok(Ok((200..=299, _))) => Outcome::Taken,
            Ok(Ok((status @ (408 | 425 | 429 | 500..), _))) => {
                Outcome::Failed(format!("it answers with status {status}"))
            }
            Ok(Ok((status, _))) => Outcome::Refused(status),
            Ok(Err(error)) => Outcome::Failed(error.to_string()),
            Err(_) => Outcome::Failed("sending has failed for a reason of ours".to_owned()),
        }
    }
}

fn cut(state: &mut State) -> (Vec<Box<str>>, u64) {
    let count = state.waiting.len().min(state.target.settings.batch.max(1));
    let batch: Vec<_> = state.waiting.drain(..count).collect();
    let bytes = batch.iter().map(|event| event.len()).sum();
    state.waiting_bytes = state.waiting_bytes.saturating_sub(bytes);
    state.on_the_way = count;
    state.since = (!state.waiting.is_empty()).then(Instant::now);
    (batch, state.lost)
}

#[cfg(test)]
mod tests;
