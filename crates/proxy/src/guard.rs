//! What is kept of a link where there are hooks.

use std::time::Duration;

use mqway_codec::ReasonCode;
use mqway_engine::Poster;
use mqway_hooks::{Answer, Answers, By, Client, Dialogue, Held, Progress};

use crate::aliases::Aliases;
use crate::core::Mail;
use crate::flow::Flow;
use crate::judge::unasked::Unasked;
use crate::merge::Merges;
use crate::{Direction, LARGEST_PACKET};

/// Packets to one side that may wait there for the end of one that is passed on in pieces.
const HELD: usize = 1024;

/// A link's client as hooks know it, and what was decided of its packets.
pub(crate) struct Guard {
    pub client: Client,
    /// How far the packet is that is being judged.
    pub progress: Progress,
    /// When the answer must have come that is waited for.
    pub waits_until: Option<Duration>,
    /// Until when hooks have nothing more of the client read.
    pub rests_until: Option<Duration>,
    /// When the client's authentication ends.
    pub expires: Duration,
    /// CONNECT until it is sent: as it came, then as it goes to the upstream.
    pub connect: Vec<u8>,
    /// The room that it takes.
    pub held: Option<Held>,
    /// The enhanced authentication under way.
    pub dialogue: Option<Dialogue>,
    /// The method of enhanced authentication that hooks play the server of.
    pub method: Option<Box<str>>,
    /// What CONNACK must say because of what hooks decided.
    pub promised: Promised,
    /// The client takes reason strings and the like. [MQTT-3.1.2-29]
    pub explains: bool,
    pub to_upstream: Way,
    pub to_client: Way,
    pub merges: Merges,
    /// CONNECT wants a new session.
    pub clean_start: bool,
    /// Subscriptions of ours for the client that the upstream has not answered. Until then nothing is read of the client.
    pub unasked: Option<Unasked>,
    /// CONNACK has accepted the client, and observers know.
    pub connected: bool,
    /// Who has ended the connection, as far as it is known before it ends.
    pub ended: Option<(By, ReasonCode)>,
    /// Too much waits for the upstream; the client is not read.
    pub blocked: bool,
}

/// One direction of a guarded link.
pub(crate) struct Way {
    pub aliases: Aliases,
    pub flow: Flow,
    /// The largest packet that the receiver takes.
    pub packet: usize,
    /// Packets of ours to the receiver, behind one that is passed on in pieces.
    pub held: Vec<Vec<u8>>,
}

/// What a client must be told in CONNACK.
#[derive(Default)]
pub(crate) struct Promised {
    /// The client identifier that a hook gave it where it had none. [MQTT-3.2.2-16]
    pub client_id: Option<Box<str>>,
    /// The keep alive that a hook has set.
    pub keep_alive: Option<u16>,
    /// The last data of an enhanced authentication.
    pub data: Option<Vec<u8>>,
}

impl Guard {
    pub fn new(client: Client) -> Guard {
        Guard {
            client,
            progress: Progress::default(),
            waits_until: None,
            rests_until: None,
            expires: Duration::MAX,
            connect: Vec::new(),
            held: None,
            dialogue: None,
            method: None,
            promised: Promised::default(),
            explains: true,
            to_upstream: Way::new(Flow::default()),
            to_client: Way::new(Flow::in_order()),
            merges: Merges::default(),
            clean_start: false,
            unasked: None,
            connected: false,
            ended: None,
            blocked: false,
        }
    }

    /// The messages of one direction.
    pub fn way(&mut self, direction: Direction) -> &mut Way {
        match direction {
            Direction::ToUpstream => &mut self.to_upstream,
            Direction::ToClient => &mut self.to_client,
        }
    }

    /// When something is to happen of which nobody will tell.
    pub fn deadline(&self) -> Duration {
        let unasked = self.unasked.as_ref().map(|unasked| unasked.until);
        let pauses = [unasked, self.waits_until, self.rests_until].into_iter().flatten();
        pauses.fold(self.expires, Duration::min)
    }

    /// Whether nothing of the client is looked at for now.
    pub fn waits(&self) -> bool {
        self.waits_until.is_some() || self.rests_until.is_some() || self.unasked.is_some()
    }

    /// Who has ended the connection, if nobody is known to have done so before.
    pub fn end(&mut self, by: By, reason: ReasonCode) {
        self.ended.get_or_insert((by, reason));
    }
}

impl Way {
    fn new(flow: Flow) -> Way {
        Way { aliases: Aliases::default(), flow, packet: LARGEST_PACKET, held: Vec::new() }
    }

    /// Keeps a packet until the one is passed on that goes in pieces. False if too many wait.
    pub fn hold(&mut self, packet: Vec<u8>) -> bool {
        let fits = self.held.len() < HELD;
        if fits {
            self.held.push(packet);
        }
        fits
    }
}

/// Brings the answers of hooks to the worker that waits for them.
pub(crate) struct Post {
    pub poster: Poster<Mail>,
    pub worker: usize,
}

impl Answers for Post {
    fn answer(&self, client: u64, turn: u32, answer: Answer) {
        if self.poster.post(self.worker, Mail::Answer { link: client, turn, answer }).is_err() {
            log::warn!("worker {} is too busy to hear the answer of a hook", self.worker);
        }
    }
}
