//! What happened in a run, with the times between which the broker must have seen to it.
//!
//! A client knows when it wrote something and when it got an answer; the broker acted somewhere in between. Whatever is
//! written at a time is read by the broker later than that, so that what was answered at a time came before it.

use std::collections::BTreeSet;
use std::time::Duration;

use mqway_codec::{RetainHandling, SubscribeOptions, TopicFilter, TopicName};

pub type Time = Duration;

/// Later than anything.
pub const NEVER: Time = Duration::MAX;

/// Seconds that a session stays at the most.
pub const LONGEST_EXPIRY: u32 = 300;

#[derive(Default)]
pub struct History {
    pub messages: Vec<Message>,
    pub subscriptions: Vec<Subscription>,
    pub connections: Vec<Connection>,
    pub deliveries: Vec<Delivery>,
    pub calms: Vec<Calm>,
    /// Whether what happens is printed, to be read by people.
    pub traced: bool,
}

/// A message that a client published, or its will. Its payload begins with its number in the list.
pub struct Message {
    pub publisher: usize,
    /// The connection whose will it is.
    pub will_of: Option<usize>,
    pub topic: String,
    pub qos: u8,
    pub retain: bool,
    /// It has no payload.
    pub empty: bool,
    /// Bytes of the payload.
    pub len: usize,
    /// Seconds.
    pub expiry: Option<u32>,
    pub asked: Time,
    /// When the broker had acknowledged it for the last time that it will see it.
    pub done: Time,
    /// When the witness got it.
    pub seen: Time,
    /// How often it was written to a connection.
    pub sent: usize,
    /// The lives of its publisher's session in which it was.
    pub lives: BTreeSet<usize>,
    /// The broker may take repetitions of it for something new: its session may have been another one.
    pub doubtful: bool,
}

/// One subscription, from SUBSCRIBE until it is replaced or gone.
pub struct Subscription {
    pub actor: usize,
    pub life: usize,
    pub connection: usize,
    pub filter: String,
    pub options: SubscribeOptions,
    pub identifier: Option<u32>,
    pub asked: Time,
    /// Between these it certainly is there.
    pub sure_from: Time,
    pub sure_until: Time,
    /// From here on it certainly isn't.
    pub gone: Time,
}

/// A client's connection. Its session has lives: another begins each time that the broker knows nothing of the one before.
pub struct Connection {
    pub actor: usize,
    pub asked: Time,
    /// When CONNACK came.
    pub accepted: Time,
    pub clean: bool,
    pub life: usize,
    /// Until here it certainly was there.
    pub alive_until: Time,
    /// From here on it certainly isn't.
    pub ended_by: Time,
    /// Seconds that the session stays; those that DISCONNECT said instead.
    pub expiry: u32,
    pub new_expiry: Option<u32>,
    pub leaving: Leaving,
    pub will: Option<usize>,
    pub will_delay: u32,
    pub keep_alive: u16,
}

/// Whether a client has left with DISCONNECT.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Leaving {
    No,
    /// It was written, with this reason, and may or may not have been read.
    Written {
        with_will: bool,
        at: Time,
    },
    Read {
        with_will: bool,
    },
}

pub struct Delivery {
    pub actor: usize,
    pub life: usize,
    pub connection: usize,
    /// `None`: it has no payload.
    pub message: Option<usize>,
    pub topic: String,
    pub qos: u8,
    pub retain: bool,
    pub dup: bool,
    pub at: Time,
    pub identifiers: Vec<u32>,
    pub expiry: Option<u32>,
}

/// A moment at which nothing was under way, so that whoever was connected had got what it was to get.
pub struct Calm {
    pub at: Time,
    /// By actor: the life of its session and its connection, if it was connected.
    pub connected: Vec<Option<(usize, usize)>>,
}

impl Subscription {
    pub fn share(&self) -> Option<&str> {
        self.filter.strip_prefix("$share/").map(|rest| rest.split('/').next().unwrap())
    }

    pub fn matches(&self, topic: &str) -> bool {
        TopicFilter::new(&self.filter).unwrap().matches(TopicName::new(topic).unwrap())
    }

    /// Whether it may have been there at some moment between these.
    pub fn may_be(&self, from: Time, until: Time) -> bool {
        self.asked <= until && self.gone >= from
    }

    /// Whether it was there all the time between these.
    pub fn is_sure(&self, from: Time, until: Time) -> bool {
        self.sure_from <= from && until <= self.sure_until
    }

    /// Whether a message of its own client's is left out.
    pub fn leaves_out(&self, message: &Message) -> bool {
        self.options.no_local && message.publisher == self.actor
    }

    pub fn wants_retained(&self) -> bool {
        self.share().is_none() && self.options.retain_handling != RetainHandling::DoNotSend
    }
}

impl Message {
    /// By when the broker had it for the first time.
    pub fn taken_by(&self) -> Time {
        self.done.min(self.seen)
    }

    /// By when it had it for the last time.
    pub fn settled_by(&self) -> Time {
        match self.qos {
            _ if self.doubtful => NEVER,
            1 if self.sent > 1 => self.done,
            2 if self.lives.len() > 1 => self.done,
            _ => self.taken_by(),
        }
    }

    /// How often the broker may have taken it for a new message.
    pub fn copies(&self) -> usize {
        match self.qos {
            _ if self.doubtful => usize::MAX / 4,
            _ if self.will_of.is_some() => 1,
            // What was about to be written when its connection was lost was not seen here.
            1 => self.sent.max(1),
            _ => self.lives.len().max(1),
        }
    }
}

impl Connection {
    /// How long the session may stay when it ends: at least, at most.
    pub fn stays(&self) -> (u32, u32) {
        match (self.leaving, self.new_expiry) {
            (Leaving::No, _) | (_, None) => (self.expiry, self.expiry),
            (Leaving::Read { .. }, Some(new)) => (new, new),
            (Leaving::Written { .. }, Some(new)) => (new.min(self.expiry), new.max(self.expiry)),
        }
    }
}

impl History {
    /// A line of the trace.
    pub fn note(&self, now: Time, line: impl FnOnce() -> String) {
        if self.traced {
            eprintln!("{:>12} {}", format!("{now:?}"), line());
        }
    }

    /// The connections of a client from this one on.
    pub fn later_connections(&self, connection: usize) -> impl Iterator<Item = &Connection> {
        let actor = self.connections[connection].actor;
        self.connections[connection + 1..].iter().filter(move |other| other.actor == actor)
    }

    /// How a message is called in what is said of it.
    pub fn name(&self, message: usize) -> String {
        let Message { publisher, topic, qos, retain, asked, done, seen, sent, .. } = &self.messages[message];
        let show = |time: &Time| if *time == NEVER { "never".into() } else { format!("{time:?}") };
        let will = if self.messages[message].will_of.is_some() { "will of " } else { "" };
        format!(
            "m{message} ({will}c{publisher} to {topic}, QoS {qos}{}, asked {asked:?}, done {}, seen {}, sent {sent} times)",
            if *retain { ", retained" } else { "" },
            show(done),
            show(seen),
        )
    }
}
