//! The connections of one worker, as the broker sees them.

use std::sync::Arc;
use std::time::Duration;

use mqway_codec::Version;
use mqway_engine::{ConnId, Io, Slots};
use mqway_routing::{Hint, RetainedCursor};
use mqway_session::server::Receiver;

use crate::familiar::Familiar;
use crate::guest::Guest;
use crate::mail::Mail;
use crate::shared::SessionRef;

/// One connection.
pub(crate) struct Client {
    pub conn: ConnId,
    /// Tells its timers from those of a connection that had the same place.
    pub tag: u32,
    /// When its timer comes. One that comes before was set when this was to be sooner, and means nothing.
    pub wakes: Duration,
    pub state: State,
}

/// How far it is.
pub(crate) enum State {
    /// CONNECT is awaited, at the latest until the timer comes; or judged by hooks, which know this of it.
    Fresh(Option<Box<Guest>>),
    /// CONNECT was accepted.
    Open(Open),
}

/// An accepted client's connection, but for the sending half, which the session has.
pub(crate) struct Open {
    pub session: SessionRef,
    pub receiver: Receiver,
    /// Made with its first PUBLISH: many clients only listen.
    pub publishing: Option<Box<Publishing>>,
    /// Its reading is stopped, until its own output or another worker has caught up.
    pub paused: bool,
}

/// What is remembered of a client's messages.
pub(crate) struct Publishing {
    /// How its last PUBLISH began.
    pub familiar: Familiar,
    pub author: Author,
}

/// Whose messages they are, and what is remembered of them.
pub(crate) struct Author {
    pub session: SessionRef,
    pub version: Version,
    /// Where the route of the last one was.
    pub hint: Hint,
    /// The topic of the last one that somebody kept.
    pub last_topic: Option<Arc<str>>,
}

/// The retained messages of one subscription.
pub(crate) struct Replay {
    pub cursor: RetainedCursor,
}

/// The connections by place.
#[derive(Default)]
pub(crate) struct Clients {
    places: Slots<Client>,
    last_tag: u32,
}

impl Clients {
    /// Adds a connection whose CONNECT is to come by then, and what hooks know of it; its tag.
    pub fn insert(&mut self, conn: ConnId, deadline: Duration, guest: Option<Box<Guest>>) -> u32 {
        self.last_tag = self.last_tag.wrapping_add(1);
        let client = Client { conn, tag: self.last_tag, wakes: deadline, state: State::Fresh(guest) };
        self.places.insert(conn.slot(), client);
        self.last_tag
    }

    /// Takes a connection out.
    pub fn remove(&mut self, conn: ConnId) -> Option<Client> {
        self.find(conn)?;
        self.places.remove(conn.slot())
    }

    #[inline]
    pub fn find(&mut self, conn: ConnId) -> Option<&mut Client> {
        self.places.find(conn.slot()).filter(|client| client.conn == conn)
    }

    /// The connection with this tag at this place.
    pub fn tagged(&mut self, slot: usize, tag: u32) -> Option<&mut Client> {
        self.places.find(slot).filter(|client| client.tag & TAG == tag & TAG)
    }

    /// Whether the connection with this tag is still at this place.
    pub fn is_tagged(&self, slot: usize, tag: u32) -> bool {
        self.places.look(slot).is_some_and(|client| client.tag & TAG == tag & TAG)
    }

    /// All of them.
    pub fn all(&self) -> Vec<ConnId> {
        self.places.iter().map(|(_, client)| client.conn).collect()
    }
}

impl Client {
    /// Has its timer come then, and no later.
    pub fn wake_at(&mut self, io: &mut Io<Mail>, at: Duration) {
        self.wakes = at;
        io.set_timer(at, Timer::Client { slot: self.conn.slot() as u32, tag: self.tag }.key());
    }

    /// Has its timer come no later than that.
    pub fn wake_by(&mut self, io: &mut Io<Mail>, at: Duration) {
        // One that has come, and was not set again, means nothing.
        if at < self.wakes || self.wakes <= io.now() {
            self.wake_at(io, at);
        }
    }

    pub fn open(&mut self) -> Option<&mut Open> {
        match &mut self.state {
            State::Open(open) => Some(open),
            State::Fresh(_) => None,
        }
    }
}

impl Publishing {
    /// One that has not sent anything yet.
    pub fn new(session: SessionRef, version: Version) -> Publishing {
        let author = Author { session, version, hint: Hint::default(), last_topic: None };
        Publishing { familiar: Familiar::default(), author }
    }
}

/// What a timer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Timer {
    /// A connection's CONNECT or keep alive.
    Client { slot: u32, tag: u32 },
    /// A session's end or will.
    Session { slot: u32, generation: u16 },
    /// More is to be sent to sessions.
    Unfinished,
    /// The topics below `$SYS`.
    Sys,
    /// Publishers wait for other workers.
    Throttled,
    /// What is retained may have expired.
    Sweep,
}

/// The bits of a tag that a timer has room for.
const TAG: u32 = (1 << 29) - 1;

impl Timer {
    pub fn key(self) -> u64 {
        let pack = |kind: u64, tag: u32, slot: u32| kind << 61 | u64::from(tag & TAG) << 32 | u64::from(slot);
        match self {
            Timer::Client { slot, tag } => pack(0, tag, slot),
            Timer::Session { slot, generation } => pack(1, generation.into(), slot),
            Timer::Unfinished => pack(2, 0, 0),
            Timer::Sys => pack(3, 0, 0),
            Timer::Throttled => pack(4, 0, 0),
            Timer::Sweep => pack(5, 0, 0),
        }
    }

    pub fn of_key(key: u64) -> Timer {
        let (slot, tag) = (key as u32, (key >> 32) as u32 & TAG);
        match key >> 61 {
            0 => Timer::Client { slot, tag },
            1 => Timer::Session { slot, generation: tag as u16 },
            2 => Timer::Unfinished,
            3 => Timer::Sys,
            4 => Timer::Throttled,
            _ => Timer::Sweep,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sessions::Home;

    #[test]
    fn a_timer_is_found_again_by_its_key() {
        for timer in [
            Timer::Client { slot: u32::MAX, tag: TAG },
            Timer::Session { slot: 7, generation: u16::MAX },
            Timer::Unfinished,
            Timer::Sys,
            Timer::Throttled,
            Timer::Sweep,
        ] {
            assert_eq!(Timer::of_key(timer.key()), timer);
        }
    }

    #[test]
    fn an_idle_client_is_small() {
        assert!(size_of::<Client>() <= 112, "{}", size_of::<Client>());
        assert!(size_of::<Home>() <= 200, "{}", size_of::<Home>());
    }
}
