//! Runs the workers, tells them when to begin, and gathers what they have to tell.

use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use mqway_engine::{Config, Engine, Limits};
use rustix::time::{ClockId, clock_gettime};

use super::load::{Clock, Load, News, Order};
use super::plan::Plan;
use super::report::{Outcome, Report};
use super::tally::{Counts, Tally};
use crate::failure::Failure;
use crate::open_files;
use crate::signals::{Request, Signals};

/// How often progress is shown.
const SECOND: Duration = Duration::from_secs(1);

/// Time for the last bytes to leave after DISCONNECT.
const GOODBYE: Duration = Duration::from_secs(1);

/// Open files that are not connections: the workers' own, the terminal, a little more.
const OWN_FILES: u64 = 32;

/// Puts the load of `plan` on the server and prints what came of it.
///
/// # Errors
/// The most frequent failure, or what is wrong with the messages that came.
pub fn run(plan: Plan, report: &Report) -> Result<(), Failure> {
    let clients = u64::from(plan.publishers) + u64::from(plan.subscribers);
    open_files::raise_for(clients + OWN_FILES);
    let plan = Arc::new(plan);
    let (news, told) = mpsc::channel();
    let mut signals = Signals::catch()?;
    let interrupts = news.clone();
    thread::spawn(move || {
        loop {
            if signals.wait() == Request::Stop && interrupts.send((0, News::Interrupt)).is_err() {
                return;
            }
        }
    });
    let clock = Instant::now();
    let epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let epoch = u64::try_from(epoch.as_nanos()).unwrap_or(u64::MAX);
    let mut cores = Vec::new();
    for worker in 0..plan.workers {
        cores.push(Load::new(worker, Arc::clone(&plan), Clock::Real(clock), epoch, news.clone())?);
    }
    drop(news);
    let limits = Limits { unread: Load::unread_limit(&plan), ..Limits::default() };
    let config = Config { workers: plan.workers, limits, fine_timers: plan.rate.is_some() };
    let mut cores = cores.into_iter();
    let mut core = || cores.next().expect("as many as workers were made");
    let engine = Engine::start(config, Vec::new(), |_| core()).map_err(Failure::other)?;
    let outcome = follow(&plan, &engine, &told, report);
    engine.stop(GOODBYE);
    engine.join();
    let outcome = outcome?;
    report.result(&plan, &outcome).map_err(Failure::other)?;
    outcome.verdict(&plan)
}

/// Leads the workers through the run.
fn follow(
    plan: &Plan,
    engine: &Engine<Order>,
    told: &Receiver<(usize, News)>,
    report: &Report,
) -> Result<Outcome, Failure> {
    let poster = engine.poster();
    let order = |order: Order| {
        for worker in 0..plan.workers {
            // Each worker gets three orders at the most: its mailbox is never full.
            let _ = poster.post(worker, order);
        }
    };
    let mut latest = vec![Counts::default(); plan.workers];
    let (mut waiting, mut ready, mut working) = (plan.workers, 0, plan.workers);
    let mut outcome = Outcome { tally: Tally::default(), interrupted: false, cpu: 0.0, elapsed: 0.0 };
    let (mut begun, mut cpu) = (Instant::now(), cpu_seconds());
    let mut next_line = begun + SECOND;
    order(Order::Begin);
    while working > 0 {
        match told.recv_timeout(next_line.saturating_duration_since(Instant::now())) {
            Ok((_, News::Ready { clients })) => {
                waiting -= 1;
                ready += clients;
                if waiting == 0 {
                    (begun, cpu) = (Instant::now(), cpu_seconds());
                    order(if ready > 0 { Order::Go } else { Order::End });
                }
            }
            Ok((worker, News::Progress(counts))) => latest[worker] = counts,
            Ok((worker, News::Done(tally))) => {
                working -= 1;
                latest[worker] = tally.all;
                outcome.tally.merge(*tally);
            }
            Ok((_, News::Interrupt)) => {
                outcome.interrupted = true;
                order(Order::End);
            }
            Err(RecvTimeoutError::Timeout) => {
                next_line += SECOND;
                let mut counts = Counts::default();
                latest.iter().for_each(|more| counts += *more);
                report.progress(plan, begun.elapsed(), counts, waiting == 0);
            }
            Err(RecvTimeoutError::Disconnected) => {
                return Err(Failure::other("the worker threads have ended"));
            }
        }
    }
    outcome.elapsed = begun.elapsed().as_secs_f64();
    outcome.cpu = cpu_seconds() - cpu;
    report.end_progress();
    Ok(outcome)
}

/// Processor time of this process so far, all threads.
fn cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
