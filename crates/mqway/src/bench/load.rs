//! The core of one worker: its clients, from the first dial to the last message, without I/O.

mod clients;
mod traffic;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use mqway_codec::Decoder;
use mqway_engine::{ConnId, Core, Io, Origin, Why};

use super::plan::{Kind, Plan, Share};
use super::publisher::{Pace, Publisher, Stock};
use super::sequence::Sequence;
use super::tally::{Counts, Tally};
use crate::failure::{Failure, Status};
use crate::reach::unopened;
use clients::{Client, State};

/// How often silence, keep alive and the end are looked at.
const TICK: Duration = Duration::from_millis(100);

/// Without any news for so long, what is under way is given up, so that others can be sent in its place.
const STALL: u64 = 1_000_000_000;

/// What a packet may have beside its payload: the longest topic, and properties.
const OVERHEAD: usize = 128 * 1024;

/// Timers: the next phase, the regular look at everything, the next dial, the next message of the schedule.
const PHASE_KEY: u64 = 0;
const TICK_KEY: u64 = 1;
const DIAL_KEY: u64 = 2;
const DUE_KEY: u64 = 3;

/// What the main thread asks of a worker.
#[derive(Clone, Copy, Debug)]
pub enum Order {
    /// Connect.
    Begin,
    /// All workers' clients are there: publish.
    Go,
    /// The user has seen enough.
    End,
}

/// What a worker tells the main thread.
#[derive(Debug)]
pub enum News {
    /// All clients are connected and subscribed, or have failed.
    Ready {
        /// How many are there.
        clients: u64,
    },
    /// How far it is.
    Progress(Counts),
    /// It has ended.
    Done(Box<Tally>),
    /// Of the main thread itself: the user has seen enough.
    Interrupt,
}

/// Where a worker's time comes from.
#[derive(Clone, Copy, Debug)]
pub enum Clock {
    /// Read whenever it is asked for: a turn of the loop can take longer than a message.
    Real(Instant),
    /// The engine's, which stands still during a turn: for the simulator.
    #[cfg(test)]
    Engine,
}

/// How far the run is. Times are nanoseconds of the worker's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Nothing has been asked for.
    Idle,
    /// Clients connect and subscribe.
    Connecting,
    /// All are there, other workers' perhaps not.
    Ready,
    /// Messages flow.
    Running,
    /// Nothing more is sent, but not all has come.
    Draining,
    /// The result is told.
    Done,
}

/// The core of one worker.
pub struct Load {
    plan: Arc<Plan>,
    share: Share,
    clock: Clock,
    /// Nanoseconds from 1970 to the clock's start.
    epoch: u64,
    news: Sender<(usize, News)>,
    phase: Phase,
    clients: Vec<Client>,
    /// Clients by the slot of their connection.
    slots: Vec<u32>,
    /// Clients to be dialled.
    queue: VecDeque<u32>,
    /// Clients to be dialled again, but not at once.
    later: Vec<u32>,
    /// Clients that are on their way from dialling to ready.
    connecting: usize,
    /// Dials so far, for the rate of them.
    dialled: u64,
    /// When the first dial was made.
    began: u64,
    /// A timer for the next dial is set.
    dial_timer: bool,
    publishers: Vec<Publisher>,
    /// Publishers that may have something to send.
    eager: Vec<u32>,
    stock: Stock,
    /// Messages of the schedule whose publishers were listed.
    scheduled: u64,
    /// A timer for the next message of the schedule is set.
    due_timer: bool,
    /// Nanoseconds from the clock's start to the engine's.
    apart: u64,
    /// By subscriber and publisher, or in pairs by pair.
    flows: Vec<Sequence>,
    /// What other runs have sent: by run, publisher and our subscriber.
    strangers: HashMap<(u32, u32, u32), Sequence>,
    decoder: Decoder,
    out: Vec<u8>,
    /// Acknowledgements of one read.
    acks: Vec<u8>,
    tally: Tally,
    /// PINGRESPs so far: they are progress, too.
    read: u64,
    /// What had been counted when measuring began.
    before: Option<Counts>,
    /// When publishing began.
    went: u64,
    /// When the server last said something.
    heard: u64,
    /// When messages under way were last given up.
    gave_up: u64,
    /// Messages that are measured: those due from here until there.
    from: u64,
    to: u64,
    /// What had been counted when there last was progress, and when that was.
    progress: (u64, u64),
    ticks: u64,
}

impl Load {
    /// The core of worker `worker`; its news go to `news`.
    ///
    /// # Errors
    /// If something cannot be put into packets.
    pub fn new(
        worker: usize,
        plan: Arc<Plan>,
        clock: Clock,
        epoch: u64,
        news: Sender<(usize, News)>,
    ) -> Result<Load, Failure> {
        let share = plan.share(worker);
        let clients = clients::of(&plan, &share);
        let flows = match plan.kind {
            Kind::Pairs => share.subscribers.len(),
            _ => share.subscribers.len() * share.publishers.len(),
        };
        let mut scratch = Vec::new();
        let mut publishers = Vec::new();
        if !matches!(plan.kind, Kind::Connections { .. }) {
            for (index, number) in share.publishers.clone().enumerate() {
                let header = plan.publish_header(number, &mut scratch)?;
                publishers.push(Publisher::new(share.subscribers.len() + index, number, header));
            }
        }
        let stock = Stock::new(&plan, publishers.len(), epoch, 0, 0);
        Ok(Load {
            decoder: Decoder::with_version(plan.version, plan.size.saturating_add(OVERHEAD)),
            queue: (0..clients.len() as u32).collect(),
            flows: vec![Sequence::default(); flows],
            plan,
            share,
            clock,
            epoch,
            news,
            phase: Phase::Idle,
            clients,
            slots: Vec::new(),
            later: Vec::new(),
            connecting: 0,
            dialled: 0,
            began: 0,
            dial_timer: false,
            publishers,
            eager: Vec::new(),
            stock,
            scheduled: 0,
            due_timer: false,
            apart: u64::MAX,
            strangers: HashMap::new(),
            out: Vec::new(),
            acks: Vec::new(),
            tally: Tally::default(),
            read: 0,
            before: None,
            went: 0,
            heard: 0,
            gave_up: 0,
            from: u64::MAX,
            to: u64::MAX,
            progress: (0, 0),
            ticks: 0,
        })
    }

    /// Bytes of one connection that it may leave unread, until a packet is whole.
    pub fn unread_limit(plan: &Plan) -> usize {
        plan.size.saturating_add(2 * OVERHEAD).max(1024 * 1024)
    }

    fn now(&self, io: &Io<Order>) -> u64 {
        let now = match self.clock {
            Clock::Real(start) => start.elapsed(),
            #[cfg(test)]
            Clock::Engine => io.now(),
        };
        let _ = io;
        u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)
    }

    /// Has `key` called at `at`, by the clock. The engine's, which it runs by, began at another moment and stands still
    /// during a turn: the least that it was ever seen to be behind is how far they are apart.
    fn set_timer(&mut self, io: &mut Io<Order>, now: u64, at: u64, key: u64) {
        self.apart = self.apart.min(now.saturating_sub(nanos(io.now())));
        io.set_timer(Duration::from_nanos(at.saturating_sub(self.apart)), key);
    }

    fn tell(&self, io: &Io<Order>, news: News) {
        // Without anybody to hear it the program is ending.
        let _ = self.news.send((io.worker(), news));
    }

    fn is_churn(&self) -> bool {
        self.plan.kind == Kind::Connections { churn: true }
    }

    fn begin(&mut self, io: &mut Io<Order>) {
        self.phase = Phase::Connecting;
        self.began = self.now(io);
        io.set_timer(io.now() + TICK, TICK_KEY);
        if self.is_churn() {
            self.phase = Phase::Ready;
            return self.tell(io, News::Ready { clients: self.clients.len() as u64 });
        }
        self.dial_more(io);
        self.check_ready(io);
    }

    fn check_ready(&mut self, io: &Io<Order>) {
        if self.phase == Phase::Connecting && self.connecting == 0 && self.queue.is_empty() {
            self.phase = Phase::Ready;
            let clients = self.clients.iter().filter(|client| client.state == State::Ready).count() as u64;
            self.tell(io, News::Ready { clients });
        }
    }

    fn go(&mut self, io: &mut Io<Order>) {
        if self.phase != Phase::Ready {
            return;
        }
        let now = self.now(io);
        self.phase = Phase::Running;
        self.progress.1 = now;
        self.went = now;
        self.from = now.saturating_add(nanos(self.plan.warmup));
        self.to = self.plan.duration.map_or(u64::MAX, |time| self.from.saturating_add(nanos(time)));
        self.stock = Stock::new(&self.plan, self.publishers.len(), self.epoch, now, self.to);
        self.count_copies();
        (0..self.publishers.len()).for_each(|place| self.mute_single(place));
        if self.plan.rate.is_none() {
            (0..self.publishers.len()).for_each(|index| self.list(index));
        }
        if self.is_churn() {
            self.began = now;
            self.dial_more(io);
        }
        self.advance(io);
    }

    /// Goes on to the next phase when it is time.
    fn advance(&mut self, io: &mut Io<Order>) {
        if self.phase != Phase::Running {
            return;
        }
        let now = self.now(io);
        if self.before.is_none() && now >= self.from {
            self.before = Some(self.tally.all);
        }
        if now >= self.to {
            // What was due shortly before is only late.
            self.publish(io);
            return self.drain(io, self.to);
        }
        let next = if self.before.is_none() { self.from } else { self.to };
        if next != u64::MAX {
            self.set_timer(io, now, next, PHASE_KEY);
        }
    }

    /// Sends no more; what is under way may still come. What is measured ends at `at`.
    fn drain(&mut self, io: &mut Io<Order>, at: u64) {
        self.measure(at);
        self.stock.end(at);
        self.phase = Phase::Draining;
        self.progress.1 = self.now(io);
        self.check_complete(io);
    }

    /// What is measured ends at `at`.
    fn measure(&mut self, at: u64) {
        let from = if self.before.is_some() { self.from } else { self.went };
        self.tally.measured = self.tally.all - self.before.unwrap_or_default();
        self.tally.nanos = at.saturating_sub(from);
    }

    /// Looks, every [`TICK`], at what only time brings about.
    fn tick(&mut self, io: &mut Io<Order>) {
        if self.phase == Phase::Done {
            return;
        }
        io.set_timer(io.now() + TICK, TICK_KEY);
        self.ticks += 1;
        if self.ticks.is_multiple_of(10) {
            self.tell(io, News::Progress(self.tally.all));
            self.sweep(io);
        }
        self.queue.extend(self.later.drain(..));
        self.dial_more(io);
        let now = self.now(io);
        let counted = self.tally.all;
        let progress = counted.received + counted.acknowledged + self.read + counted.connected;
        if progress != self.progress.0 {
            self.progress = (progress, now);
        }
        let silent = now.saturating_sub(self.progress.1);
        match self.phase {
            Phase::Running if self.plan.messages.is_some() && self.is_all_sent() => self.drain(io, now),
            Phase::Running if self.plan.duration.is_none() && silent > nanos(self.plan.timeout) => {
                let waited = format_args!("the server has been silent for {} s", silent / 1_000_000_000);
                self.tally.fail(Failure::new(Status::TimedOut, waited));
                self.drain(io, now);
            }
            Phase::Running if silent.min(now.saturating_sub(self.gave_up)) > STALL => self.give_up(now),
            Phase::Draining if silent > nanos(self.plan.drain) => self.finish(io),
            Phase::Draining => self.check_complete(io),
            _ => {}
        }
    }

    fn give_up(&mut self, now: u64) {
        self.gave_up = now;
        for index in 0..self.publishers.len() {
            self.publishers[index].give_up();
            self.list(index);
        }
    }

    /// Whether every publisher that lives has sent its number of messages.
    fn is_all_sent(&self) -> bool {
        let done = |publisher: &Publisher| !publisher.live || publisher.is_done(&self.stock);
        !self.publishers.is_empty() && self.publishers.iter().all(done)
    }

    fn is_acknowledged(&self) -> bool {
        self.publishers.iter().all(|publisher| !publisher.live || publisher.is_acknowledged(self.plan.qos))
    }

    fn check_complete(&mut self, io: &mut Io<Order>) {
        if self.lost() == 0 && self.is_acknowledged() {
            self.finish(io);
        }
    }

    /// Says goodbye to the server and tells the result.
    fn finish(&mut self, io: &mut Io<Order>) {
        if self.phase == Phase::Draining && self.plan.duration.is_none() {
            // Of a number of messages the last one ends the time.
            self.measure(self.heard);
        }
        self.phase = Phase::Done;
        self.tally.all.lost = self.lost();
        self.tally.all.unsent =
            self.publishers.iter().enumerate().map(|(place, one)| one.unsent(place, &self.stock)).sum();
        self.hang_up(io);
        let tally = std::mem::take(&mut self.tally);
        self.tell(io, News::Done(Box::new(tally)));
    }

    /// Ends at the user's wish: what is measured ends now.
    fn end(&mut self, io: &mut Io<Order>) {
        match self.phase {
            Phase::Running => self.drain(io, self.now(io)),
            Phase::Done => {}
            _ => self.finish(io),
        }
    }
}

impl Core for Load {
    type Mail = Order;

    fn mail(&mut self, io: &mut Io<Order>, order: Order) {
        match order {
            Order::Begin => self.begin(io),
            Order::Go => self.go(io),
            Order::End => self.end(io),
        }
    }

    fn opened(&mut self, io: &mut Io<Order>, conn: ConnId, _: Origin) {
        self.say_connect(io, conn);
    }

    fn data(&mut self, io: &mut Io<Order>, conn: ConnId, bytes: &mut [u8]) -> usize {
        self.read_packets(io, conn, bytes)
    }

    fn ended(&mut self, io: &mut Io<Order>, conn: ConnId) {
        let failure = Failure::new(Status::Lost, "the server closed the connection");
        self.lose(io, conn, failure);
    }

    fn closed(&mut self, io: &mut Io<Order>, conn: ConnId, why: &Why) {
        let opened = self.client(conn).is_some_and(|index| self.clients[index].state != State::Dialling);
        let failure =
            if opened { Failure::new(Status::Lost, why) } else { clients::undialled(unopened(why), why) };
        self.lose(io, conn, failure);
    }

    fn blocked(&mut self, _: &mut Io<Order>, conn: ConnId) {
        if let Some(index) = self.publisher_at(conn) {
            self.publishers[index].blocked = true;
        }
    }

    fn unblocked(&mut self, _: &mut Io<Order>, conn: ConnId) {
        if let Some(index) = self.publisher_at(conn) {
            self.publishers[index].blocked = false;
            self.list(index);
        }
    }

    fn timer(&mut self, io: &mut Io<Order>, key: u64) {
        match key {
            TICK_KEY => self.tick(io),
            DIAL_KEY => {
                self.dial_timer = false;
                self.dial_more(io);
            }
            // The end of the turn looks at what is due.
            DUE_KEY => self.due_timer = false,
            _ => self.advance(io),
        }
    }

    fn end_tick(&mut self, io: &mut Io<Order>) {
        self.publish(io);
    }

    fn stop(&mut self, io: &mut Io<Order>) {
        self.hang_up(io);
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
