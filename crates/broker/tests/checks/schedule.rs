//! What happens in a run: clients come and go, speak, fall silent and come back, one choice after the other.

use std::collections::BTreeSet;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use mqway_broker::{Config, QueueFull, Simulated};
use mqway_codec::{QoS, RetainHandling, SubscribeOptions, SubscriptionId, Version};
use mqway_session::client::{Options, SessionLost, Subscription};

use super::actor::{Actor, Hello, Testament, WITNESS};
use super::bytes::Hostile;
use super::choices::Choices;
use super::delivery::{self, Missing};
use super::history::{Calm, History, LONGEST_EXPIRY};
use super::thoughts::Thoughts;
use super::{order, retained, shares, wills};

/// Topics on which messages are retained.
pub const RETAINED_TOPICS: [&str; 4] = ["r/0", "r/1", "r/2/0", "r"];
const PLAIN_TOPICS: [&str; 6] = ["t/0/0", "t/0/1", "t/1/0", "t/1/1", "t/2", "t"];
const SHARED_TOPICS: [&str; 3] = ["s/0", "s/1", "s/0/1"];
const WILL_TOPICS: [&str; 4] = ["w/0", "w/1", "r/0", "r/1"];
const FILTERS: [&str; 14] = [
    "t/#", "t/+/1", "t/0/+", "t/0/0", "t/1/#", "+/0/0", "t", "r/#", "r/+", "r/2/0", "r/0", "w/#", "w/+",
    "+/1/1",
];
/// With the identifiers by which their messages are known.
const GROUPS: [(&str, u32); 3] = [("$share/g/s/#", 101), ("$share/h/s/+", 102), ("$share/g/s/0", 103)];

/// Bytes of a payload that everybody takes.
pub const SMALL: usize = 20;
const LARGE: usize = 600;
/// Bytes of a payload that is written from where it lies.
const SHARED: usize = 20_000;

/// The time of one turn.
const TURN: Duration = Duration::from_millis(4);

pub struct Run<'a> {
    choices: Choices<'a>,
    broker: Simulated,
    actors: Vec<Actor>,
    /// Bytes of the largest packet that each of them takes.
    largest: Vec<usize>,
    hostile: Hostile,
    thoughts: Option<Arc<Thoughts>>,
    history: History,
}

impl<'a> Run<'a> {
    /// A run that is decided by these choices; with a hook that thinks, if there is one.
    pub fn new(mut choices: Choices<'a>, thoughts: Option<Arc<Thoughts>>) -> Run<'a> {
        let seed = choices.below(65_536) as u64;
        let mut config = Config::default();
        if let Some(thoughts) = &thoughts {
            config.hooks = thoughts.hooks();
        }
        config.terms.session_expiry = LONGEST_EXPIRY;
        config.terms.in_flight = NonZeroU16::new(1 + choices.below(20) as u16).unwrap();
        config.terms.receive_maximum = NonZeroU16::new(1 + choices.below(40) as u16).unwrap();
        config.terms.topic_alias_maximum = choices.below(4) as u16;
        config.engine.limits.high_water = choices.pick(&[1_000, 5_000, 100_000]);
        config.engine.limits.low_water = 500;
        if choices.one_in(6) {
            config.limits.queue_messages = 2 + choices.below(8);
            config.limits.queue_full = choices.pick(&[QueueFull::DropNewest, QueueFull::DropOldest]);
        }
        let clients = match choices {
            Choices::Seed(_) => 12 + choices.below(12),
            Choices::Bytes(_) => 3 + choices.below(4),
        };
        let mut run = Run {
            broker: Simulated::new(seed, 2, config),
            actors: Vec::new(),
            largest: Vec::new(),
            hostile: Hostile::default(),
            thoughts,
            history: History::default(),
            choices,
        };
        for number in 0..clients {
            let options = if number == WITNESS { witness() } else { run.options() };
            run.largest.push(if options.version == Version::V5 {
                options.maximum_packet
            } else {
                usize::MAX
            });
            run.actors.push(Actor::new(number, options));
        }
        run
    }

    /// Plays a schedule of at most so many steps to its end, and checks what came of it.
    pub fn play(mut self, steps: usize, traced: bool) {
        self.history.traced = traced;
        self.begin();
        for _ in 0..steps {
            if self.choices.is_over() {
                break;
            }
            self.step();
        }
        self.everybody_comes_back();
        let now = self.everybody_leaves();
        self.check(now);
        self.nothing_is_left();
    }

    fn options(&mut self) -> Options {
        let choices = &mut self.choices;
        let mut options = Options::new(choices.pick(&[Version::V3_1_1, Version::V5, Version::V5]));
        options.topic_alias_maximum = choices.below(3) as u16;
        options.session_lost = choices.pick(&[SessionLost::Resend, SessionLost::Drop]);
        options.in_flight = NonZeroU16::new(1 + choices.below(20) as u16).unwrap();
        if options.version == Version::V5 {
            options.receive_maximum = 1 + choices.below(20) as u16;
            if choices.one_in(5) {
                options.maximum_packet = 400;
            }
        }
        options
    }

    /// The witness is there from the beginning, and has subscribed to all that is not shared.
    fn begin(&mut self) {
        let hello = Hello { clean: false, keep_alive: 0, expiry: LONGEST_EXPIRY, will: None };
        self.actors[WITNESS].connect(&mut self.broker, &mut self.history, hello);
        let list = ["t/#", "r/#", "w/#"].map(|filter| Subscription::new(filter, QoS::ExactlyOnce));
        let now = self.broker.now();
        self.actors[WITNESS].client.subscribe(now, NO_TICKET, list.to_vec());
        self.calm(false);
    }

    fn step(&mut self) {
        let actor = 1 + self.choices.below(self.actors.len() - 1);
        match self.choices.below(100) {
            0..38 if self.actors[actor].client.pending() < MOST_PENDING => self.publish(actor),
            0..60 => self.turn(),
            60..70 => self.subscribe(actor),
            70..73 => self.unsubscribe(actor),
            73..77 => self.actors[actor].cut(&mut self.broker, &mut self.history),
            77..87 if self.actors[actor].link.is_none() => self.connect(actor),
            // The connection that it has is taken over.
            77..79 => self.connect(actor),
            79..83 => self.slow_down(actor),
            83..87 => self.stall(actor),
            87..90 => {
                let (with_will, other) = (self.choices.one_in(3), self.choices.one_in(3));
                let expiry = other.then(|| self.expiry());
                self.actors[actor].leave(&mut self.broker, &mut self.history, with_will, expiry);
            }
            90..92 => {
                let unread = self.choices.one_in(2);
                self.actors[actor].end(&mut self.broker, &mut self.history, unread);
            }
            92..94 => {
                let seconds = 1 + self.choices.below(30) as u64;
                self.history.note(self.broker.now(), || format!("{seconds} s pass"));
                self.broker.skip(Duration::from_secs(seconds));
                self.exchange();
            }
            94..99 => self.hostile.act(&mut self.broker, &mut self.choices),
            _ => self.calm(false),
        }
        // Most of the time something else happens before anything has arrived.
        if self.choices.below(3) == 0 {
            self.turn();
        }
    }

    fn turn(&mut self) {
        self.exchange();
        let turns = 1 + self.choices.below(4) as u32;
        self.pass(TURN * turns);
        self.exchange();
    }

    /// Lets time pass, in which hooks think.
    fn pass(&mut self, time: Duration) {
        if let Some(thoughts) = &self.thoughts {
            thoughts.go_on();
        }
        self.broker.run(time);
    }

    fn exchange(&mut self) {
        for actor in &mut self.actors {
            actor.exchange(&mut self.broker, &mut self.history);
        }
    }

    fn connect(&mut self, actor: usize) {
        let choices = &mut self.choices;
        let will = choices.one_in(2).then(|| {
            let topic = choices.pick(&WILL_TOPICS).to_owned();
            let retain = topic.starts_with('r');
            let delay = choices.pick(&[0, 0, 1, 5, 50]);
            Testament { topic, qos: choices.below(3) as u8, retain, delay }
        });
        let clean = choices.one_in(5);
        let keep_alive = choices.pick(&[0, 0, 0, 2, 20]);
        let expiry = self.expiry();
        // Before 5.0 wills do not wait.
        let before_5 = self.actors[actor].version != Version::V5;
        let will = will.map(|will| Testament { delay: if before_5 { 0 } else { will.delay }, ..will });
        let hello = Hello { clean, keep_alive, expiry, will };
        self.actors[actor].connect(&mut self.broker, &mut self.history, hello);
    }

    fn expiry(&mut self) -> u32 {
        self.choices.pick(&[0, 3, 30, LONGEST_EXPIRY, u32::MAX])
    }

    fn publish(&mut self, actor: usize) {
        let choices = &mut self.choices;
        let (mut topic, mut retain) = (choices.pick(&PLAIN_TOPICS), false);
        match choices.below(5) {
            0 => (topic, retain) = (choices.pick(&RETAINED_TOPICS), !choices.one_in(5)),
            1 => topic = choices.pick(&SHARED_TOPICS),
            _ => {}
        }
        let qos = choices.below(3) as u8;
        let len = match choices.below(12) {
            0 => LARGE,
            1 if retain => 0,
            2 if choices.one_in(4) => SHARED,
            _ => SMALL,
        };
        let expiry = choices.one_in(8).then(|| 1 + choices.below(20) as u32);
        let now = self.broker.now();
        self.actors[actor].publish(&mut self.history, now, topic, qos, retain, len, expiry);
    }

    fn subscribe(&mut self, actor: usize) {
        let choices = &mut self.choices;
        let now = self.broker.now();
        let mut options = SubscribeOptions::new(QoS::from_u8(choices.below(3) as u8).unwrap());
        let mut list = Vec::new();
        if self.actors[actor].version == Version::V5 {
            if choices.one_in(4) {
                let (filter, identifier) = choices.pick(&GROUPS);
                options.qos =
                    choices.pick(&[QoS::AtMostOnce, QoS::AtLeastOnce, QoS::AtLeastOnce, QoS::ExactlyOnce]);
                let identifier = SubscriptionId::new(identifier);
                list.push(Subscription { filter: filter.into(), options, identifier });
                return self.actors[actor].client.subscribe(now, NO_TICKET, list);
            }
            options.no_local = choices.one_in(5);
            options.retain_as_published = choices.one_in(4);
            let handling = [RetainHandling::Send, RetainHandling::SendIfNew, RetainHandling::DoNotSend];
            options.retain_handling = choices.pick(&handling);
        }
        // Those of one request have the first one's identifier.
        let identifier = SubscriptionId::new(choices.below(5) as u32);
        for _ in 0..1 + choices.below(2) {
            let filter = choices.pick(&FILTERS).into();
            if list.iter().all(|other: &Subscription| other.filter != filter) {
                list.push(Subscription { filter, options, identifier });
            }
        }
        self.actors[actor].client.subscribe(now, NO_TICKET, list);
    }

    fn unsubscribe(&mut self, actor: usize) {
        let filter = match self.choices.one_in(4) {
            true => self.choices.pick(&GROUPS).0,
            false => self.choices.pick(&FILTERS),
        };
        let now = self.broker.now();
        self.actors[actor].client.unsubscribe(now, NO_TICKET, vec![filter.into()]);
    }

    fn slow_down(&mut self, actor: usize) {
        let pace = self.choices.pick(&[1, 5, 50, usize::MAX]);
        if let Some(link) = &self.actors[actor].link {
            self.broker.set_pace(link.remote, pace);
        }
    }

    /// Neither reads nor writes any more, or does so again.
    fn stall(&mut self, actor: usize) {
        if let Some(link) = &mut self.actors[actor].link {
            link.stalled = !link.stalled;
            self.broker.set_reading(link.remote, !link.stalled);
            self.history.note(self.broker.now(), || format!("c{actor} stalled: {}", link.stalled));
        }
    }

    /// Lets everything that is under way arrive; with `all` every client comes back for it.
    fn calm(&mut self, all: bool) {
        self.hostile.leave(&mut self.broker);
        for actor in 0..self.actors.len() {
            if let Some(link) = &mut self.actors[actor].link {
                link.stalled = false;
                self.broker.set_reading(link.remote, true);
                self.broker.set_pace(link.remote, usize::MAX);
            }
        }
        let (mut quiet, mut turns) = (0, 0);
        while quiet < QUIET_TURNS {
            let before = self.history.deliveries.len();
            self.exchange();
            // Some may hear only now that the broker has given them up.
            if all {
                self.reconnect();
            }
            let all = all && self.actors.iter().any(|actor| !actor.client.is_connected());
            self.pass(TURN);
            let idle = self.thoughts.as_ref().is_none_or(|thoughts| thoughts.is_idle());
            let is_quiet = idle && self.broker.is_quiet() && self.history.deliveries.len() == before && !all;
            quiet = if is_quiet { quiet + 1 } else { 0 };
            turns += 1;
            assert!(turns < MOST_TURNS, "the broker does not come to rest: {:?}", self.broker.left());
        }
        self.exchange();
        let connected = self.actors.iter().map(|actor| {
            let link = actor.link.as_ref().filter(|_| actor.client.is_connected())?;
            Some((actor.life, link.connection))
        });
        self.history.calms.push(Calm { at: self.broker.now(), connected: connected.collect() });
        self.history.note(self.broker.now(), || "all is calm".into());
    }

    /// Whoever has no connection makes one.
    fn reconnect(&mut self) {
        for actor in self.actors.iter_mut().filter(|actor| actor.link.is_none()) {
            let hello = Hello { clean: false, keep_alive: 0, expiry: LONGEST_EXPIRY, will: None };
            actor.connect(&mut self.broker, &mut self.history, hello);
        }
    }

    fn everybody_comes_back(&mut self) {
        self.history.note(self.broker.now(), || "everybody comes back".into());
        self.calm(true);
        for actor in &self.actors {
            assert_eq!(actor.client.pending(), 0, "c{} waits for acknowledgements", actor.number);
        }
    }

    /// All but the witness leave, one way or the other, and their sessions end.
    fn everybody_leaves(&mut self) -> Duration {
        for actor in 1..self.actors.len() {
            match self.choices.below(3) {
                0 => self.actors[actor].cut(&mut self.broker, &mut self.history),
                1 => self.actors[actor].leave(&mut self.broker, &mut self.history, false, Some(0)),
                _ => self.actors[actor].end(&mut self.broker, &mut self.history, false),
            }
        }
        self.calm(false);
        self.broker.skip(Duration::from_secs(u64::from(LONGEST_EXPIRY) + 10));
        self.calm(false);
        assert_eq!(self.broker.left().sessions, 1, "sessions end when their time has passed");
        self.broker.now()
    }

    fn check(&mut self, now: Duration) {
        let history = &mut self.history;
        for message in 0..history.messages.len() {
            // A will is the broker's to publish once the connection is gone.
            if let Some(connection) = history.messages[message].will_of {
                history.messages[message].asked = history.connections[connection].alive_until;
            }
        }
        let mut missing = Missing::default();
        delivery::check(history, &self.largest, &mut missing);
        order::check(history);
        shares::check(history, &mut missing);
        retained::check(history, &mut missing);
        wills::check(history, now, &mut missing);
        missing.check(&self.broker.counters().snapshot());
    }

    /// When what is retained is cleared and the witness has left, too, the broker holds nothing.
    fn nothing_is_left(&mut self) {
        let left = self.broker.left();
        assert_eq!(
            (left.stored, left.stored_bytes, left.loads, left.on_the_way),
            (0, 0, 0, 0),
            "nobody but the witness is left: {left:?}"
        );
        let mut options = SubscribeOptions::new(QoS::AtLeastOnce);
        options.no_local = true;
        let list =
            ["#", "$x/#"].map(|filter| Subscription { filter: filter.into(), options, identifier: None });
        let (now, before) = (self.broker.now(), self.history.deliveries.len());
        self.actors[WITNESS].client.subscribe(now, NO_TICKET, list.to_vec());
        self.calm(false);
        let topics = self.history.deliveries[before..].iter().map(|one| one.topic.clone());
        for topic in topics.collect::<BTreeSet<_>>() {
            let now = self.broker.now();
            self.actors[WITNESS].publish(&mut self.history, now, &topic, 1, true, 0, None);
        }
        self.calm(false);
        self.actors[WITNESS].leave(&mut self.broker, &mut self.history, false, Some(0));
        self.calm(false);
        // A connection that is being closed has some seconds for it.
        self.broker.skip(Duration::from_secs(10));
        assert_eq!(self.broker.left(), mqway_broker::Left::default());
        let counters = self.broker.counters();
        assert_eq!(counters.sessions.load(Ordering::Relaxed), 0);
        assert_eq!(counters.connected.load(Ordering::Relaxed), 0);
        assert_eq!(counters.retained.load(Ordering::Relaxed), 0);
        assert_eq!(self.broker.engine_counters().snapshot().open, 0);
    }
}

/// Messages that a client may have under way.
const MOST_PENDING: usize = 60;
/// Turns in which nothing happens before all is calm.
const QUIET_TURNS: usize = 6;
/// Turns that it takes at the most until all is calm.
const MOST_TURNS: usize = 3_000;
/// Nobody asks for the answers to requests.
const NO_TICKET: u64 = u64::MAX;

fn witness() -> Options {
    let mut options = Options::new(Version::V5);
    options.receive_maximum = 1_000;
    options
}
