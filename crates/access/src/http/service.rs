//! The threads that ask, and the bounded queue in front of them.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use log::warn;

use super::answer::{self, Answer, By, Trouble, Verdict, WhenDown};
use super::cache::{Cache, Key};
use super::circuit::Circuit;
use super::question::Question;
use crate::web::{Reach, ReachError, Web};

/// Bytes of an answer.
const MAX_ANSWER: u64 = 64 * 1024;

/// What takes the answer, on another thread: it should only pass it on. It is called exactly once.
pub type Ticket = Box<dyn FnOnce(Answer) + Send>;

/// How a service is asked.
#[derive(Clone, Debug)]
pub struct ServiceSettings {
    /// Where it is. The time limit counts for the asking, and once more for the waiting before it.
    pub reach: Reach,
    /// What is done without an answer.
    pub when_down: WhenDown,
    /// How many questions are asked at a time: each has a thread.
    pub threads: usize,
    /// How many more may wait, and how many bytes they may have.
    pub max_waiting: usize,
    /// Bytes of the questions that wait.
    pub max_waiting_bytes: usize,
    /// For how long leave holds, if the service doesn't say.
    pub cache_allow: Duration,
    /// For how long a refusal holds, or that it doesn't know, likewise.
    pub cache_deny: Duration,
    /// The longest that either may hold, whatever the service says.
    pub cache_longest: Duration,
    /// Bytes of the answers that are kept.
    pub cache_bytes: usize,
}

impl ServiceSettings {
    /// Refuses what is not answered, asks four questions at a time, lets a thousand wait, and keeps answers for a
    /// minute, refusals for five seconds.
    pub fn new(url: impl Into<String>) -> ServiceSettings {
        ServiceSettings {
            reach: Reach { timeout: Duration::from_secs(5), ..Reach::new(url) },
            when_down: WhenDown::Deny,
            threads: 4,
            max_waiting: 1_000,
            max_waiting_bytes: 16 * 1024 * 1024,
            cache_allow: Duration::from_secs(60),
            cache_deny: Duration::from_secs(5),
            cache_longest: Duration::from_secs(3_600),
            cache_bytes: 16 * 1024 * 1024,
        }
    }
}

/// How asking has gone so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServiceCounters {
    /// Questions that the service has answered.
    pub answered: u64,
    /// Questions that an earlier answer has answered.
    pub from_cache: u64,
    /// Questions that it failed to answer.
    pub failed: u64,
    /// Questions that weren't asked because it is being left alone.
    pub resting: u64,
    /// Questions that weren't asked because too many were waiting.
    pub full: u64,
    /// Questions that weren't asked because they had waited for too long.
    pub late: u64,
}

/// A web service that decides. Its threads end when this is dropped; who still waits then gets the configured answer.
pub struct Service(Arc<Shared>);

struct Shared {
    settings: ServiceSettings,
    web: Web,
    state: Mutex<State>,
    wake: Condvar,
}

struct State {
    queue: VecDeque<Job>,
    queued_bytes: usize,
    cache: Cache,
    circuit: Circuit,
    counters: ServiceCounters,
    stopped: bool,
}

struct Job {
    question: Vec<u8>,
    key: Key,
    asked_at: Instant,
    ticket: Ticket,
}

impl Service {
    /// Starts the threads.
    ///
    /// # Errors
    /// If the URL or the authorities are unusable, or there can be no threads.
    pub fn start(settings: ServiceSettings) -> Result<Service, ReachError> {
        let web = Web::new(&settings.reach)?;
        if web.is_exposed() {
            warn!("passwords on their way to {web} can be read; take https");
        }
        let state = State {
            queue: VecDeque::new(),
            queued_bytes: 0,
            cache: Cache::new(settings.cache_bytes),
            circuit: Circuit::default(),
            counters: ServiceCounters::default(),
            stopped: false,
        };
        let service =
            Service(Arc::new(Shared { settings, web, state: Mutex::new(state), wake: Condvar::new() }));
        for number in 0..service.0.settings.threads.max(1) {
            let shared = service.0.clone();
            thread::Builder::new()
                .name(format!("mqway-http-{number}"))
                .spawn(move || shared.run())
                .map_err(|error| ReachError::new(format!("no thread to ask a web service: {error}")))?;
        }
        Ok(service)
    }

    /// The answer, if it is known or there will be none; otherwise `then` is called with it later. Never waits.
    pub fn ask(&self, question: Question<'_>, then: Ticket) -> Option<Answer> {
        let question = question.to_json();
        let (key, now) = (Key::of(&question), Instant::now());
        let mut state = self.0.lock();
        if let Some(verdict) = state.cache.find(&key, now) {
            state.counters.from_cache += 1;
            return Some(Answer { verdict, by: By::Cache });
        }
        let bytes = state.queued_bytes.saturating_add(question.len());
        let full =
            state.queue.len() >= self.0.settings.max_waiting || bytes > self.0.settings.max_waiting_bytes;
        let trouble = if full {
            Trouble::Full
        } else if !state.circuit.admits(now) {
            Trouble::Resting
        } else {
            state.queued_bytes = bytes;
            state.queue.push_back(Job { question, key, asked_at: now, ticket: then });
            self.0.wake.notify_one();
            return None;
        };
        Some(self.0.fall_back(&mut state, trouble))
    }

    /// How it has gone so far.
    pub fn counters(&self) -> ServiceCounters {
        self.0.lock().counters
    }

    /// Forgets all answers, so that a change in the service counts at once.
    pub fn forget(&self) {
        self.0.lock().cache = Cache::new(self.0.settings.cache_bytes);
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.stopped = true;
        state.queued_bytes = 0;
        let waiting = std::mem::take(&mut state.queue);
        drop(state);
        self.0.wake.notify_all();
        for job in waiting {
            (job.ticket)(self.0.settings.when_down.answer(Trouble::Stopped));
        }
    }
}

impl Shared {
    /// What each thread does.
    fn run(&self) {
        while let Some(job) = self.next() {
            let answer = match self.trouble_of(&job) {
                Some(trouble) => self.fall_back(&mut self.lock(), trouble),
                None => self.ask(&job),
            };
            // A ticket that panics must not take the thread along.
            let _ = catch_unwind(AssertUnwindSafe(|| (job.ticket)(answer)));
        }
    }

    fn next(&self) -> Option<Job> {
        let mut state = self.lock();
        loop {
            if state.stopped {
                return None;
            }
            if let Some(job) = state.queue.pop_front() {
                state.queued_bytes = state.queued_bytes.saturating_sub(job.question.len());
                return Some(job);
            }
            state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Why it isn't worth asking any more.
    fn trouble_of(&self, job: &Job) -> Option<Trouble> {
        if self.lock().circuit.is_resting() {
            Some(Trouble::Resting)
        } else if job.asked_at.elapsed() > self.settings.reach.timeout {
            Some(Trouble::Late)
        } else {
            None
        }
    }

    fn ask(&self, job: &Job) -> Answer {
        let reply = catch_unwind(AssertUnwindSafe(|| self.web.post(&job.question, MAX_ANSWER)));
        let read = match reply {
            Ok(Ok((200, body))) => match answer::parse(&body) {
                Some((verdict, cache)) => Ok((verdict, cache, body.len())),
                None => Err("its answer is not as it should be".to_owned()),
            },
            Ok(Ok((401 | 403, _))) => Ok((Verdict::Deny { reason: None }, None, 0)),
            Ok(Ok((status, _))) => Err(format!("it answers with status {status}")),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("asking it has failed for a reason of ours".to_owned()),
        };
        let mut state = self.lock();
        match read {
            Ok((verdict, cache, length)) => {
                state.circuit.succeeded();
                state.counters.answered += 1;
                let lifetime = self.lifetime(&verdict, cache);
                if !lifetime.is_zero() {
                    state.cache.insert(job.key, verdict.clone(), Instant::now() + lifetime, length);
                }
                Answer { verdict, by: By::Service }
            }
            Err(why) => {
                warn!("no answer from {}: {why}", self.web);
                state.circuit.failed(Instant::now());
                self.fall_back(&mut state, Trouble::Failed)
            }
        }
    }

    /// For how long a verdict holds: no longer than what it allows.
    fn lifetime(&self, verdict: &Verdict, cache: Option<Duration>) -> Duration {
        let settings = &self.settings;
        let (usual, end) = match verdict {
            Verdict::Allow(allowed) => (settings.cache_allow, allowed.identity.expires_at),
            Verdict::Deny { .. } | Verdict::Ignore => (settings.cache_deny, None),
        };
        let lifetime = cache.unwrap_or(usual).min(settings.cache_longest);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        end.map_or(lifetime, |end| lifetime.min(end.saturating_sub(now)))
    }

    fn fall_back(&self, state: &mut State, trouble: Trouble) -> Answer {
        match trouble {
            Trouble::Failed => state.counters.failed += 1,
            Trouble::Resting => state.counters.resting += 1,
            Trouble::Full => state.counters.full += 1,
            Trouble::Late => state.counters.late += 1,
            Trouble::Stopped => {}
        }
        self.settings.when_down.answer(trouble)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
