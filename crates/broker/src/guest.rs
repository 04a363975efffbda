//! Hooks, as one worker calls them, and connections as hooks see them.

use std::cell::OnceCell;
use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use mqway_codec::{PacketType, PropertiesBuf, ReasonCode};
use mqway_engine::{ConnId, Io, Poster};
use mqway_hooks::{
    Answer, Answers, By, Changes, Client, Denial, Dialogue, Epoch, Event, Held, Hooks, Phase, Progress,
};
use mqway_session::server::Exchange;
use mqway_transport::facts::Facts;

use crate::mail::Mail;
use crate::sessions::Home;

/// The hooks of one worker. Absent where there are none.
pub(crate) struct Hooked {
    pub hooks: Arc<Hooks>,
    answers: OnceCell<Arc<dyn Answers>>,
    /// Connections to be ended when the tick is: a hook that was called for them panicked, or wants it so.
    pub condemned: Vec<(ConnId, Denial)>,
    /// Connections that have authenticated themselves again, for another while.
    pub renewed: Vec<ConnId>,
}

/// A connection as hooks see it.
pub(crate) struct Guest {
    pub client: Client,
    pub progress: Progress,
    pub stage: Stage,
    /// Its client of 5.0 wants to hear in words why it is refused something.
    pub explains: bool,
    /// Present while nothing of it is looked at.
    pub wait: Option<Wait>,
    /// When its authentication is over.
    pub expires: Option<Duration>,
    /// What held when its will was judged.
    pub judged: Option<Epoch>,
    /// The method that it authenticates itself by.
    pub enhanced: Option<Box<Enhanced>>,
}

/// Who has left a will, for the hooks that judge it as it is published.
pub(crate) struct Testator {
    pub client: Client,
    /// What held when it was judged at first.
    pub judged: Option<Epoch>,
}

/// How far its login is.
pub(crate) enum Stage {
    /// CONNECT has not been looked at.
    New,
    /// AUTH goes to and fro.
    Exchange,
    /// Hooks are asked.
    Asked,
    /// Hooks have agreed, and may have changed something.
    Agreed(Option<Box<Changes>>),
}

/// An enhanced authentication (5.0 §4.12), and what it leaves to be said.
pub(crate) struct Enhanced {
    pub exchange: Exchange,
    /// Absent between two authentications.
    pub dialogue: Option<Dialogue>,
    /// The method's last words, for CONNACK.
    pub last: Option<Vec<u8>>,
    /// CONNECT, once it is not among what lies unread any more.
    pub connect: Box<[u8]>,
    /// The room that it takes.
    pub held: Option<Held>,
}

/// Nothing of the connection is looked at: an answer is awaited, or hooks slow it down.
pub(crate) struct Wait {
    /// At the latest until then.
    pub until: Duration,
    /// Absent where no answer is awaited.
    place: Option<Place>,
}

impl Wait {
    /// Hooks slow it down, and nothing else is awaited.
    pub fn is_rest(&self) -> bool {
        self.place.is_none()
    }
}

/// One of a bounded number of connections that wait for answers.
struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Who may wait for answers.
#[derive(Debug, Default)]
pub(crate) struct WaitingRoom {
    /// Connections of all workers that wait.
    waiting: Arc<AtomicUsize>,
    /// The most of them.
    pub most: usize,
    /// How long each may wait for one answer.
    pub time: Duration,
}

impl WaitingRoom {
    pub fn new(most: usize, time: Duration) -> WaitingRoom {
        WaitingRoom { waiting: Arc::default(), most, time }
    }

    /// A place, if one is free.
    pub fn enter(&self, now: Duration) -> Option<Wait> {
        let place = Place(self.waiting.clone());
        // Not before that: dropping the place gives it back.
        let before = self.waiting.fetch_add(1, Ordering::Relaxed);
        (before < self.most).then(|| Wait { until: now + self.time, place: Some(place) })
    }

    /// How many wait.
    pub fn occupied(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }
}

impl Hooked {
    /// `None` if there are no hooks.
    pub fn new(hooks: &Arc<Hooks>) -> Option<Box<Hooked>> {
        let hooks = hooks.clone();
        (!hooks.is_empty()).then(|| {
            Box::new(Hooked { hooks, answers: OnceCell::new(), condemned: Vec::new(), renewed: Vec::new() })
        })
    }

    /// Where answers are sent that come later.
    pub fn answers(&self, io: &Io<Mail>) -> &Arc<dyn Answers> {
        self.answers.get_or_init(|| Arc::new(Reply { poster: io.poster(), worker: io.worker() }))
    }

    #[inline]
    pub fn wants(&self, phase: Phase) -> bool {
        self.hooks.wants(phase)
    }

    /// What holds for the client of a session, if hooks know it.
    #[inline]
    pub fn epoch(&self, home: &Home) -> Option<Epoch> {
        home.guest.as_ref().map(|guest| self.hooks.epoch(&guest.client))
    }

    /// Tells observers of what has happened to a session or its client.
    pub fn tell(&mut self, home: &mut Home, event: &Event<'_>) {
        if home.local().is_some() {
            return; // The program knows what it does.
        }
        let client = home.guest.as_deref_mut().map(|guest| &mut guest.client);
        let told = self.hooks.observe(&home.client_id, client, event);
        if let (Err(denial), Some(conn)) = (told, home.conn) {
            self.condemned.push((conn, denial));
        }
    }
}

/// Posts answers to the worker that asked.
struct Reply {
    poster: Poster<Mail>,
    worker: usize,
}

impl Answers for Reply {
    fn answer(&self, client: u64, turn: u32, answer: Answer) {
        // Where the mailbox is full the time limit takes the answer's place.
        let _ = self.poster.post(self.worker, Mail::Answer { client, turn, answer });
    }
}

impl Guest {
    pub fn new(conn: ConnId, listener: Arc<str>, facts: Facts) -> Box<Guest> {
        Box::new(Guest {
            client: Client::new(conn.to_bits(), listener, facts),
            progress: Progress::default(),
            stage: Stage::New,
            explains: false,
            wait: None,
            expires: None,
            judged: None,
            enhanced: None,
        })
    }

    /// The properties of CONNACK that end an enhanced authentication. [MQTT-4.12.0-5]
    pub fn last_words(&self) -> PropertiesBuf {
        let said = self.enhanced.as_deref().map(|one| one.exchange.properties(one.last.as_deref()));
        said.unwrap_or_default()
    }

    /// Whether its CONNECT is kept here, since it does not lie unread any more.
    pub fn has_copy(&self) -> bool {
        self.enhanced.as_ref().is_some_and(|enhanced| !enhanced.connect.is_empty())
    }

    /// Waits for an answer. False if it may not, since too many do: then there will be none.
    pub fn wait(&mut self, room: &WaitingRoom, now: Duration) -> bool {
        if self.wait.is_none() {
            self.wait = room.enter(now);
        }
        self.wait.is_some()
    }

    /// Rests until then, as hooks wish.
    pub fn rest(&mut self, until: Duration) {
        self.wait = Some(Wait { until, place: None });
    }

    /// Takes it that no answer will come.
    pub fn give_up_waiting(&mut self) {
        self.wait = None;
        if let Some(turn) = self.progress.awaits() {
            self.progress.answered(turn, Answer::none());
        }
    }

    /// It is accepted by this name; what it has logged in with is not needed any more.
    pub fn settled(&mut self, client_id: &str) {
        self.client.client_id = client_id.into();
        self.stage = Stage::Agreed(None);
        if let Some(enhanced) = &mut self.enhanced {
            (enhanced.last, enhanced.connect, enhanced.held) = (None, Box::default(), None);
        }
    }

    /// It is authenticated for as long as hooks say.
    pub fn authenticated(&mut self, now: Duration) {
        self.expires = self.client.lifetime.map(|lifetime| now.saturating_add(lifetime));
    }
}

/// Why a connection is over.
pub(crate) struct Cause<'a> {
    pub by: By,
    pub reason: ReasonCode,
    pub why: &'a dyn Display,
}

/// What a denial says in a packet of this type, which has not all codes. `Not authorized` stands for the others.
pub(crate) fn code_for(denial: &Denial, packet_type: PacketType) -> ReasonCode {
    let says_no = denial.reason.is_error() && denial.reason.is_allowed_in(packet_type);
    if says_no { denial.reason } else { ReasonCode::NotAuthorized }
}
