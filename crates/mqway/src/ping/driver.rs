//! Runs the exchange on the engine, and tells the main thread of each step as it is done.

use std::sync::mpsc::{self, Sender};
use std::time::{Duration, Instant};

use mqway_engine::{Config, ConnId, Core, Dial, Engine, Io, Origin, Why};
use mqway_transport::Url;
use mqway_transport::facts::Facts;
use mqway_transport::websocket::CloseCode;

use super::exchange::{Exchange, Output, Plan, Step};
use super::report::{Fact, Report};
use crate::failure::{Failure, Status};
use crate::reach;

/// Time for the last bytes to leave after DISCONNECT.
const GOODBYE: Duration = Duration::from_secs(1);

/// Makes the round trip to `url`, and reports each step.
///
/// # Errors
/// The first thing that goes wrong.
pub fn run(url: &Url, dial: Dial, plan: Plan, report: &Report) -> Result<(), Failure> {
    // What no packet can carry is better told before anybody is bothered.
    Exchange::start(plan.clone(), &mut Output::default())?;
    let (news, told) = mpsc::channel();
    let time_limit = dial.time_limit;
    let version = plan.version;
    let topic = plan.topic.clone();
    let server = reach::name(url, &dial);
    let mut plan = Some(plan);
    let config = Config { workers: 1, ..Config::default() };
    let engine = Engine::start(config, Vec::new(), |_| Pinger {
        plan: plan.take(),
        exchange: None,
        conn: None,
        time_limit,
        news: news.clone(),
    })
    .map_err(Failure::other)?;
    drop(news);
    let started = Instant::now();
    // The mailbox is empty, so that it takes one letter.
    let _ = engine.poster().post(0, dial);
    let told = told.into_iter().map(|(at, news)| (at, news.map_err(|failure| at_server(&server, &failure))));
    let outcome = follow(told, started, report, |step| match step {
        News::Opened(facts) => opened(url, facts.as_deref()),
        News::Step(Step::Connected { session_present }) => {
            vec![("version", version.to_string().into()), ("session present", (*session_present).into())]
        }
        News::Step(Step::Subscribed { granted }) => {
            vec![("topic", topic.as_str().into()), ("qos", (*granted as u8).into())]
        }
        News::Step(Step::Published { qos } | Step::Received { qos }) => vec![("qos", (*qos as u8).into())],
        News::Step(Step::Disconnected) => Vec::new(),
    });
    engine.stop(GOODBYE);
    engine.join();
    outcome
}

/// What the worker tells the main thread.
enum News {
    /// The way to the server is open, with all its layers.
    Opened(Option<Box<Facts>>),
    /// A step of the exchange is done.
    Step(Step),
}

/// Prints the news until the last, or until something goes wrong.
fn follow(
    told: impl Iterator<Item = (Instant, Result<News, Failure>)>,
    started: Instant,
    report: &Report,
    facts: impl Fn(&News) -> Vec<Fact>,
) -> Result<(), Failure> {
    let mut last = started;
    let mut sent = started;
    for (at, news) in told {
        let news = news?;
        let (name, since) = match &news {
            News::Opened(_) => ("opened", last),
            News::Step(Step::Connected { .. }) => ("connected", last),
            News::Step(Step::Subscribed { .. }) => {
                sent = at;
                ("subscribed", last)
            }
            News::Step(Step::Published { .. }) => ("published", sent),
            News::Step(Step::Received { .. }) => ("received", sent),
            News::Step(Step::Disconnected) => ("disconnected", last),
        };
        report.step(name, at - since, &facts(&news)).map_err(Failure::other)?;
        if let News::Step(Step::Received { .. }) = news {
            report.step("round trip", at - sent, &[]).map_err(Failure::other)?;
        }
        if let News::Step(Step::Disconnected) = news {
            return Ok(());
        }
        last = at;
    }
    Err(Failure::other("the worker thread has ended"))
}

fn opened(url: &Url, facts: Option<&Facts>) -> Vec<Fact> {
    let mut told: Vec<Fact> = vec![("url", url.to_string().into())];
    let Some(facts) = facts else { return told };
    if let Some(tls) = &facts.tls {
        told.push(("tls", tls.version.into()));
        told.push(("cipher", tls.cipher.as_str().into()));
        if let Some(alpn) = &tls.alpn {
            told.push(("alpn", String::from_utf8_lossy(alpn).into()));
        }
    }
    if let Some(http) = &facts.http {
        told.push(("subprotocol", http.subprotocol.as_deref().unwrap_or("none").into()));
    }
    told
}

fn at_server(server: &str, failure: &Failure) -> Failure {
    Failure::new(failure.status, format_args!("{server}: {failure}"))
}

/// The core of the one worker.
struct Pinger {
    plan: Option<Plan>,
    exchange: Option<Exchange>,
    conn: Option<ConnId>,
    time_limit: Duration,
    news: Sender<(Instant, Result<News, Failure>)>,
}

impl Core for Pinger {
    type Mail = Dial;

    fn mail(&mut self, io: &mut Io<Dial>, dial: Dial) {
        // All steps together have as much time as the dialling alone could take.
        io.set_timer(io.now() + self.time_limit, 0);
        self.conn = Some(io.dial(0, dial));
    }

    fn opened(&mut self, io: &mut Io<Dial>, conn: ConnId, _: Origin) {
        self.tell(Ok(News::Opened(io.take_facts(conn))));
        let Some(plan) = self.plan.take() else { return };
        let mut output = Output::default();
        match Exchange::start(plan, &mut output) {
            Ok(exchange) => self.exchange = Some(exchange),
            Err(failure) => self.tell(Err(failure)),
        }
        self.put_out(io, conn, output);
    }

    fn data(&mut self, io: &mut Io<Dial>, conn: ConnId, bytes: &mut [u8]) -> usize {
        let Some(exchange) = &mut self.exchange else { return bytes.len() };
        let mut output = Output::default();
        let fed = exchange.feed(bytes, &mut output);
        let done = exchange.is_done();
        self.put_out(io, conn, output);
        let taken = fed.unwrap_or_else(|failure| {
            self.tell(Err(failure));
            bytes.len()
        });
        if done {
            io.close(conn, CloseCode::NORMAL);
        }
        taken
    }

    fn ended(&mut self, _: &mut Io<Dial>, _: ConnId) {
        self.lost("the server closed the connection");
    }

    fn closed(&mut self, _: &mut Io<Dial>, _: ConnId, why: &Why) {
        match &self.exchange {
            Some(_) => self.lost(&why.to_string()),
            None => self.tell(Err(reach::unopened(why))),
        }
    }

    fn stop(&mut self, io: &mut Io<Dial>) {
        if let Some(conn) = self.conn {
            io.close(conn, CloseCode::GOING_AWAY);
        }
    }

    fn timer(&mut self, _: &mut Io<Dial>, _: u64) {
        let awaited = self.exchange.as_ref().map_or("no connection", Exchange::awaited);
        let limit = self.time_limit.as_secs_f64();
        self.tell(Err(Failure::new(Status::TimedOut, format_args!("timed out after {limit} s: {awaited}"))));
    }
}

impl Pinger {
    fn put_out(&self, io: &mut Io<Dial>, conn: ConnId, output: Output) {
        for packet in &output.packets {
            io.send(conn, packet);
        }
        for step in output.steps {
            self.tell(Ok(News::Step(step)));
        }
    }

    fn lost(&self, why: &str) {
        let awaited = self.exchange.as_ref().map_or("no connection", Exchange::awaited);
        self.tell(Err(Failure::new(Status::Lost, format_args!("{why}: {awaited}"))));
    }

    fn tell(&self, news: Result<News, Failure>) {
        // Nobody listens any more once the first failure was told.
        let _ = self.news.send((Instant::now(), news));
    }
}
