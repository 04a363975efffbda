//! The threads that ask, and the bounded queue in front of them.

use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use log::{info, warn};

use super::answer::{self, Answer, By, Trouble, Verdict, WhenDown};
use super::cache::Cache;
use super::circuit::Circuit;
use super::counters::{ServiceCounters, Tally};
use super::question::{Key, Question};
use crate::web::{Reach, ReachError, Web, WebError};

/// Bytes of an answer.
const MAX_ANSWER: u64 = 64 * 1024;

/// What takes the answer, on another thread: it should only pass it on. It is called exactly once.
pub type Ticket = Box<dyn FnOnce(Answer) + Send>;

/// How a service is asked.
#[derive(Clone, Debug)]
pub struct ServiceSettings {
    /// Where it is. The time limit is that of a question: of its waiting for a thread and of its way altogether.
    pub reach: Reach,
    /// What is done without an answer.
    pub when_down: WhenDown,
    /// How many questions are asked at a time: each has a thread.
    pub threads: usize,
    /// How many more may wait.
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
    /// Refuses what is not answered within three seconds, asks 16 questions at a time, lets a thousand wait, and keeps
    /// answers for a minute, refusals for five seconds.
    pub fn new(url: impl Into<String>) -> ServiceSettings {
        ServiceSettings {
            reach: Reach { timeout: Duration::from_secs(3), ..Reach::new(url) },
            when_down: WhenDown::Deny,
            threads: 16,
            max_waiting: 1_000,
            max_waiting_bytes: 16 * 1024 * 1024,
            cache_allow: Duration::from_secs(60),
            cache_deny: Duration::from_secs(5),
            cache_longest: Duration::from_secs(3_600),
            cache_bytes: 16 * 1024 * 1024,
        }
    }
}

/// A web service that decides. Its threads end when this is dropped; who still waits then gets the configured answer.
pub struct Service(Arc<Shared>);

struct Shared {
    settings: ServiceSettings,
    web: Web,
    tally: Arc<Tally>,
    state: Mutex<State>,
    wake: Condvar,
}

struct State {
    queue: VecDeque<Job>,
    queued_bytes: usize,
    cache: Cache,
    circuit: Circuit,
    stopped: bool,
}

struct Job {
    question: Vec<u8>,
    key: Key,
    /// When its time is over.
    until: Instant,
    ticket: Ticket,
}

/// Why there is no answer, in words for the log.
enum Failure {
    /// The service is to blame.
    Failed(String),
    /// The service is there, and wants nothing of this question. It may be asked others, or one client with odd names could
    /// have it left alone by all.
    Declined(u16),
    /// It was asked too late to be blamed.
    Late,
}

impl Service {
    /// Starts the threads.
    ///
    /// # Errors
    /// If the URL or the authorities are unusable, or there can be no threads.
    pub fn start(settings: ServiceSettings) -> Result<Service, ReachError> {
        Service::with(settings, Arc::default())
    }

    /// Starts it in the place of another, and goes on counting where that one is. What that one has answered is
    /// forgotten.
    ///
    /// # Errors
    /// As [`Service::start`].
    pub fn start_after(before: &Service, settings: ServiceSettings) -> Result<Service, ReachError> {
        Service::with(settings, before.0.tally.clone())
    }

    fn with(settings: ServiceSettings, tally: Arc<Tally>) -> Result<Service, ReachError> {
        let web = Web::new(&settings.reach)?;
        if web.is_exposed() {
            warn!("passwords on their way to {web} can be read; take https");
        }
        let state = State {
            queue: VecDeque::new(),
            queued_bytes: 0,
            cache: Cache::new(settings.cache_bytes),
            circuit: Circuit::default(),
            stopped: false,
        };
        let shared = Shared { settings, web, tally, state: Mutex::new(state), wake: Condvar::new() };
        let service = Service(Arc::new(shared));
        for number in 0..service.0.settings.threads.max(1) {
            let shared = service.0.clone();
            thread::Builder::new()
                .name(format!("mqway-http-{number}"))
                .spawn(move || shared.run())
                .map_err(|error| ReachError::new(format!("no thread to ask a web service: {error}")))?;
        }
        Ok(service)
    }

    /// The answer, if it is known or there will be none. Otherwise it comes later: to the ticket that `promise` makes,
    /// and what `promise` makes besides is given back meanwhile. Never waits.
    ///
    /// # Errors
    /// What `promise` has made, where the answer comes later.
    pub fn ask<W>(&self, question: Question<'_>, promise: impl FnOnce() -> (Ticket, W)) -> Result<Answer, W> {
        let shared = &*self.0;
        shared.tally.asked();
        let (key, now) = (question.key(), Instant::now());
        if let Some(verdict) = shared.lock().cache.find(&key, now) {
            return Ok(shared.count(Answer { verdict, by: By::Cache }));
        }
        let question = question.to_json();
        let mut state = shared.lock();
        let bytes = state.queued_bytes.saturating_add(question.len());
        let settings = &shared.settings;
        if state.queue.len() >= settings.max_waiting || bytes > settings.max_waiting_bytes {
            return Ok(shared.fall_back(Trouble::Full));
        }
        if !state.circuit.admits(now) {
            return Ok(shared.fall_back(Trouble::Resting));
        }
        let (ticket, waiting) = promise();
        state.queued_bytes = bytes;
        state.queue.push_back(Job { question, key, until: now + settings.reach.timeout, ticket });
        shared.wake.notify_one();
        Err(waiting)
    }

    /// How it has gone so far.
    pub fn counters(&self) -> ServiceCounters {
        let waiting = self.0.lock().queue.len();
        self.0.tally.snapshot(waiting)
    }
}

/// Its URL as far as it may stand in a log.
impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.web.fmt(f)
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
            (job.ticket)(self.0.fall_back(Trouble::Stopped));
        }
    }
}

impl Shared {
    /// What each thread does.
    fn run(&self) {
        while let Some(job) = self.next() {
            let answer = match self.trouble_of(&job) {
                Some(trouble) => self.fall_back(trouble),
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
        } else if job.until <= Instant::now() {
            self.lock().circuit.undecided(Instant::now());
            Some(Trouble::Late)
        } else {
            None
        }
    }

    fn ask(&self, job: &Job) -> Answer {
        let reply = self.post(job);
        let mut state = self.lock();
        match reply {
            Ok((verdict, cache, length)) => {
                if state.circuit.succeeded() {
                    info!("{} answers again", self.web);
                }
                let lifetime = self.lifetime(&verdict, cache);
                if !lifetime.is_zero() {
                    state.cache.insert(job.key, verdict.clone(), Instant::now() + lifetime, length);
                }
                self.count(Answer { verdict, by: By::Service })
            }
            Err(Failure::Failed(why)) => {
                let rest = state.circuit.failed(Instant::now());
                drop(state);
                match rest {
                    None => warn!("no answer from {}: {why}", self.web),
                    Some(rest) => warn!(
                        "no answer from {}: {why}; as it has failed again and again, it is left alone for {} s",
                        self.web,
                        rest.as_secs()
                    ),
                }
                self.fall_back(Trouble::Failed)
            }
            Err(Failure::Declined(status)) => {
                if state.circuit.succeeded() {
                    info!("{} answers again", self.web);
                }
                drop(state);
                warn!("no answer from {}: {}", self.web, WebError::Status(status));
                self.fall_back(Trouble::Failed)
            }
            Err(Failure::Late) => {
                state.circuit.undecided(Instant::now());
                self.fall_back(Trouble::Late)
            }
        }
    }

    /// What the service says, for how long it says that it holds, and how many bytes it took for it.
    fn post(&self, job: &Job) -> Result<(Verdict, Option<Duration>, usize), Failure> {
        let left = job.until.saturating_duration_since(Instant::now());
        let ask = || self.web.ask(&job.question, MAX_ANSWER, left);
        match catch_unwind(AssertUnwindSafe(ask)) {
            Ok(Ok((200, body))) => match answer::parse(&body) {
                Some((verdict, cache)) => Ok((verdict, cache, body.len())),
                None => Err(Failure::Failed("its answer is not as it should be".to_owned())),
            },
            Ok(Ok((status @ (401 | 403), body))) => {
                let (verdict, cache) = answer::parse_refusal(status, &body);
                Ok((verdict, cache, body.len()))
            }
            // But for these two, which say that it was asked too slowly or too often (RFC 9110 §15.5, RFC 6585 §4).
            Ok(Ok((status @ 400..500, _))) if status != 408 && status != 429 => {
                Err(Failure::Declined(status))
            }
            Ok(Ok((status, _))) => Err(Failure::Failed(WebError::Status(status).to_string())),
            // Who has waited for a thread for most of the time has left it too little.
            Ok(Err(WebError::Late)) if left < self.settings.reach.timeout / 2 => Err(Failure::Late),
            Ok(Err(error)) => Err(Failure::Failed(error.to_string())),
            Err(_) => Err(Failure::Failed("asking it has failed for a reason of ours".to_owned())),
        }
    }

    /// For how long a verdict holds: no longer than what it allows.
    fn lifetime(&self, verdict: &Verdict, cache: Option<Duration>) -> Duration {
        let settings = &self.settings;
        let (usual, end) = match verdict {
            Verdict::Allow(allowed) => (settings.cache_allow, allowed.identity.expires_at),
            Verdict::Deny(_) | Verdict::Ignore => (settings.cache_deny, None),
        };
        let lifetime = cache.unwrap_or(usual).min(settings.cache_longest);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        end.map_or(lifetime, |end| lifetime.min(end.saturating_sub(now)))
    }

    fn fall_back(&self, trouble: Trouble) -> Answer {
        self.count(self.settings.when_down.answer(trouble))
    }

    fn count(&self, answer: Answer) -> Answer {
        self.tally.answered(answer.by);
        answer
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
