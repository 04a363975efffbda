//! The proxy as the engine drives it: links, and what happens to them.

use std::hash::RandomState;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use mqway_codec::{Blame, DecodeError, Fault, PacketType, ReasonCode};
use mqway_engine::{CloseCode, ConnId, Core, Io, Listener, ListenerId, Origin, Why};
use mqway_hooks::{Allowance, Answer, Answers, By, Client, Event, Gates, Hooks, Refusals};
use mqway_transport::facts::Facts;

use crate::answer::farewell;
use crate::counters::Tally;
use crate::guard::{Guard, Post};
use crate::link::{Link, Phase, Side};
use crate::pass::Then;
use crate::server::Question;
use crate::upstreams::Upstreams;
use crate::{Config, Counters, Direction, Limits, LinkId, Observer};

/// Bytes of all CONNECTs that are kept: until it is decided who the client is, and an upstream is there.
const KEPT_CONNECTS: usize = 128 * 1024 * 1024;

/// What is written to a worker from outside.
pub(crate) enum Mail {
    /// Connect new clients to these upstreams from now on.
    Upstreams(Arc<Upstreams>),
    /// Ask these hooks from now on.
    Hooks(Arc<Hooks>),
    /// A hook has answered what the link of this key asked in this turn.
    Answer { link: u64, turn: u32, answer: Answer },
    /// A plugin wants to know something, or to have it done.
    Question(Question),
}

/// What all workers begin with.
#[derive(Clone)]
pub(crate) struct Shared {
    pub limits: Limits,
    pub refusals: Refusals,
    pub upstreams: Arc<Upstreams>,
    pub counters: Arc<Counters>,
    pub hooks: Arc<Hooks>,
    pub gates: Arc<Gates>,
    /// For CONNECTs that are kept until they are sent.
    pub kept_connects: Allowance,
    /// Workers that have not stopped.
    pub running: Arc<AtomicUsize>,
}

impl Shared {
    pub fn new(config: &Config) -> Shared {
        let (counters, hooks) = (Arc::<Counters>::default(), Arc::new(config.hooks.clone()));
        Shared {
            limits: config.limits.clone(),
            refusals: config.refusals,
            upstreams: Arc::new(Upstreams::new(config.upstreams.clone())),
            gates: Arc::new(gates(&config.listeners, hooks.clone(), counters.clone())),
            counters,
            hooks,
            kept_connects: Allowance::new(KEPT_CONNECTS),
            running: Arc::default(),
        }
    }
}

/// The listeners, and the hooks that are asked there.
fn gates(listeners: &[Listener], hooks: Arc<Hooks>, counters: Arc<Counters>) -> Gates {
    let urls = listeners.iter().map(|listener| listener.url().to_string());
    Gates::new(urls, hooks, move |denial, url, peer| {
        Counters::count(&counters.accepts_denied);
        counters.refuse(denial.reason);
        log::info!("{}: closed: not accepted at {url}: {denial}", Peer(peer));
    })
}

/// One worker's proxy.
pub(crate) struct ProxyCore<O> {
    pub links: Links,
    pub context: Context<O>,
    next_number: u64,
}

/// What every link needs beside itself.
pub(crate) struct Context<O> {
    pub limits: Limits,
    pub refusals: Refusals,
    pub upstreams: Arc<Upstreams>,
    pub counters: Arc<Counters>,
    pub tally: Tally,
    pub observer: O,
    /// Stands in for the client identifier where a client has none.
    pub anonymous: u64,
    pub hooks: Arc<Hooks>,
    /// Where hooks send the answers that they promised; made when the first is asked.
    answers: Option<Arc<dyn Answers>>,
    /// Links that wait for an answer.
    pub waiting: usize,
    /// Tells messages apart, in a way that nobody outside can foresee.
    pub marks: RandomState,
    /// Where packets are put together.
    pub scratch: Vec<u8>,
    pub gates: Arc<Gates>,
    pub kept_connects: Allowance,
    running: Arc<AtomicUsize>,
}

impl<O> Context<O> {
    /// Where hooks send the answers that they promised.
    pub fn answers(&mut self, io: &Io<Mail>) -> Arc<dyn Answers> {
        let post = || Arc::new(Post { poster: io.poster(), worker: io.worker() });
        self.answers.get_or_insert_with(|| post()).clone()
    }
}

/// The links, by number and by connection.
#[derive(Default)]
pub(crate) struct Links {
    slots: Vec<Option<Link>>,
    free: Vec<u32>,
    /// By the slot of a connection.
    ends: Vec<Option<End>>,
}

#[derive(Clone, Copy)]
struct End {
    link: u32,
    side: Side,
}

/// Names a link in timers and dials: its slot, and enough of its number to tell it from an earlier one there.
#[derive(Clone, Copy)]
pub(crate) struct Key(pub u64);

impl Key {
    fn new(slot: u32, number: u64) -> Key {
        Key((number << 32) | u64::from(slot))
    }

    fn slot(self) -> usize {
        self.0 as u32 as usize
    }
}

impl Links {
    fn insert(&mut self, link: Link) -> Key {
        let (client, number) = (link.client, link.id.number);
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            (self.slots.len() - 1) as u32
        });
        self.slots[slot as usize] = Some(link);
        self.set_end(client, Some(End { link: slot, side: Side::Client }));
        Key::new(slot, number)
    }

    fn remove(&mut self, key: Key) -> Option<Link> {
        let link = self.slots.get_mut(key.slot())?.take()?;
        self.free.push(key.slot() as u32);
        for conn in [Some(link.client), link.upstream].into_iter().flatten() {
            self.set_end(conn, None);
        }
        Some(link)
    }

    /// The link of this key, if it still lives.
    pub fn find(&mut self, key: Key) -> Option<&mut Link> {
        let link = self.slots.get_mut(key.slot())?.as_mut()?;
        (Key::new(key.slot() as u32, link.id.number).0 == key.0).then_some(link)
    }

    #[inline]
    fn by_conn(&mut self, conn: ConnId) -> Option<(Key, Side, &mut Link)> {
        let End { link: slot, side } = (*self.ends.get(conn.slot())?)?;
        let link = self.slots.get_mut(slot as usize)?.as_mut()?;
        (link.conn(side) == Some(conn)).then_some((Key::new(slot, link.id.number), side, link))
    }

    pub fn set_upstream(&mut self, key: Key, conn: Option<ConnId>) {
        let Some(link) = self.find(key) else { return };
        let before = std::mem::replace(&mut link.upstream, conn);
        if let Some(before) = before {
            self.set_end(before, None);
        }
        if let Some(conn) = conn {
            self.set_end(conn, Some(End { link: key.slot() as u32, side: Side::Upstream }));
        }
    }

    fn set_end(&mut self, conn: ConnId, end: Option<End>) {
        if self.ends.len() <= conn.slot() {
            self.ends.resize(conn.slot() + 1, None);
        }
        self.ends[conn.slot()] = end;
    }

    pub fn keys(&self) -> Vec<Key> {
        let live = self.slots.iter().enumerate();
        live.filter_map(|(slot, link)| Some(Key::new(slot as u32, link.as_ref()?.id.number))).collect()
    }
}

impl<O: Observer> ProxyCore<O> {
    pub fn new(shared: Shared, observer: O) -> ProxyCore<O> {
        let Shared { limits, refusals, upstreams, counters, hooks, gates, kept_connects, running } = shared;
        running.fetch_add(1, Ordering::Relaxed);
        let context = Context {
            limits,
            refusals,
            upstreams,
            counters,
            tally: Tally::default(),
            observer,
            anonymous: 0,
            hooks,
            answers: None,
            waiting: 0,
            marks: RandomState::new(),
            scratch: Vec::new(),
            gates,
            kept_connects,
            running,
        };
        ProxyCore { links: Links::default(), context, next_number: 1 }
    }

    /// Sets the moment by which the link's present phase must have ended.
    pub fn set_deadline(&mut self, io: &mut Io<Mail>, key: Key, time: Duration) {
        let Some(link) = self.links.find(key) else { return };
        link.deadline = io.now() + time;
        link.arm(io, key);
    }

    fn client_opened(&mut self, io: &mut Io<Mail>, conn: ConnId, listener: ListenerId) {
        let id = LinkId { worker: io.worker(), number: self.next_number };
        self.next_number += 1;
        Counters::count(&self.context.counters.clients);
        self.context.observer.opened(id, io.now(), io.peer(conn));
        // What TLS and HTTP told is for hooks; without them it only takes memory.
        let facts = io.take_facts(conn);
        let key = self.links.insert(Link::new(id, conn, self.context.limits.packet, Duration::MAX));
        self.set_deadline(io, key, self.context.limits.connect_time);
        if self.context.hooks.is_empty() {
            return;
        }
        let mut facts = facts.map_or_else(Facts::default, |facts| *facts);
        facts.peer = facts.peer.or(io.peer(conn));
        let url = self.context.gates.url(listener.0);
        if !self.context.gates.has_asked(listener.0)
            && let Err(denial) = self.context.hooks.accept(&url, &facts)
        {
            self.context.gates.note(&denial, &url, facts.peer);
            return self.end(io, key, CloseCode::POLICY, "not accepted");
        }
        if let Some(link) = self.links.find(key) {
            link.guard = Some(Box::new(Guard::new(Client::new(key.0, url, facts))));
        }
    }

    fn upstream_opened(&mut self, io: &mut Io<Mail>, key: Key) {
        let Some(link) = self.links.find(key) else { return };
        let client = link.client;
        if let Phase::Dialling(candidates) = std::mem::replace(&mut link.phase, Phase::Connecting) {
            candidates.upstreams.reached(candidates.current);
        }
        Counters::count(&self.context.counters.upstream_connects);
        link.send_connect(io, &mut self.context);
        self.set_deadline(io, key, self.context.limits.connack_time);
        // CONNECT lies unread and is shown again now; where hooks have taken it, what lies behind it.
        io.resume(client);
    }

    /// Passes on the packets in `bytes`, and does what follows from them. Returns how many bytes are done with.
    fn pass(&mut self, io: &mut Io<Mail>, key: Key, side: Side, bytes: &[u8]) -> usize {
        let mut used = 0;
        loop {
            let Some(link) = self.links.find(key) else { return bytes.len() };
            let (passed, then) = match link.guard {
                None => link.pass(io, side.direction(), &bytes[used..], &mut self.context),
                Some(_) => link.pass_guarded(io, key, side.direction(), &bytes[used..], &mut self.context),
            };
            used += passed;
            if matches!(link.phase, Phase::Connecting) && side == Side::Client && used < bytes.len() {
                let client = link.client;
                self.wait(io, client, &bytes[used..]);
            }
            // What stands right behind CONNACK is as good as what comes later.
            let goes_on = matches!(then, Then::Accepted);
            if !matches!(then, Then::Go) {
                self.act(io, key, side, then);
            }
            if !goes_on {
                return used;
            }
        }
    }

    fn act(&mut self, io: &mut Io<Mail>, key: Key, side: Side, then: Then) {
        let counters = &self.context.counters;
        let Some(link) = self.links.find(key) else { return };
        match then {
            Then::Go => {}
            Then::Accepted => {
                link.phase = Phase::Open;
                let unknown = link.guard.is_none();
                if unknown {
                    link.introduce(io, &self.context, key);
                }
                link.deadline = link.guard.as_ref().map_or(Duration::MAX, |guard| guard.deadline());
                link.arm(io, key);
                let limit = self.context.limits.packet;
                link.to_upstream.decoder.set_limit(limit);
                link.to_client.decoder.set_limit(limit);
                io.resume(link.client);
                if unknown {
                    self.judge_stay(io, key);
                }
            }
            Then::Refused(reason) => {
                Counters::count(&counters.connacks_refused);
                if let Some(guard) = &mut link.guard {
                    let why = "its upstream has refused it";
                    self.context.hooks.refused_behind(&mut guard.client, reason, why);
                }
                self.leave(io, key, false);
            }
            Then::ClientLeft => {
                Counters::count(&counters.client_disconnects);
                let before_connack = link.awaits_connack();
                self.leave(io, key, before_connack);
            }
            Then::Fault(error) => {
                if matches!(error.fault(), Fault::SecondConnect) && side == Side::Client {
                    Counters::count(&counters.second_connects);
                }
                self.fault(io, key, side, reason_of(&error), &error.to_string());
            }
            Then::Wrong(reason, text) => self.fault(io, key, side, reason, text),
            Then::Denied(reason, text) => self.deny(io, key, reason, &text),
            Then::TooLarge(packet_type) => {
                let text =
                    format!("{packet_type} is larger than the {} bytes kept for it", io.unread_limit());
                self.fault(io, key, side, ReasonCode::PacketTooLarge, &text);
            }
            Then::Misplaced(packet_type) => {
                let text = misplaced(side, packet_type);
                self.fault(io, key, side, ReasonCode::ProtocolError, &text);
            }
        }
    }

    /// The client identifier of a link that hooks have let in.
    pub fn client_of(&mut self, key: Key) -> Option<String> {
        let guard = self.links.find(key)?.guard.as_ref().filter(|guard| guard.connected)?;
        Some(guard.client.client_id.to_string())
    }

    /// A hook ends the connection.
    pub fn deny(&mut self, io: &mut Io<Mail>, key: Key, reason: ReasonCode, text: &str) {
        let Some(link) = self.links.find(key) else { return };
        Counters::count(&self.context.counters.ended_by_hooks);
        match &link.guard {
            Some(guard) => log::info!("{}: closed: {text}", guard.client),
            None => log::info!("{}: closed: {text}", Peer(io.peer(link.client))),
        }
        link.ends(By::Server, reason);
        self.say_farewell(io, key, reason);
        self.end(io, key, CloseCode::POLICY, text);
    }

    /// The client is done. The upstream is told by the end of the connection, and may still say what it has to.
    fn leave(&mut self, io: &mut Io<Mail>, key: Key, before_connack: bool) {
        let Some(link) = self.links.find(key) else { return };
        link.phase = Phase::Leaving { before_connack };
        link.deadline = Duration::MAX;
        if let Some(upstream) = link.upstream {
            io.finish(upstream, CloseCode::NORMAL);
        }
    }

    /// One side sent what is no packet, or not allowed.
    pub fn fault(&mut self, io: &mut Io<Mail>, key: Key, side: Side, reason: ReasonCode, text: &str) {
        let counters = &self.context.counters;
        let Some(link) = self.links.find(key) else { return };
        if reason == ReasonCode::PacketTooLarge {
            Counters::count(&counters.packets_too_large);
        }
        let peer = Peer(io.peer(link.client));
        match side {
            Side::Client => {
                Counters::count(&counters.client_faults);
                link.ends(By::Server, reason);
                log::info!("{peer}: closed: {text}");
                self.say_farewell(io, key, reason);
                self.end(io, key, CloseCode::PROTOCOL_ERROR, text);
            }
            Side::Upstream => {
                Counters::count(&counters.upstream_faults);
                link.ends(By::Server, ReasonCode::UnspecifiedError);
                log::warn!("{peer}: closed, because its upstream sent: {text}");
                self.say_farewell(io, key, ReasonCode::UnspecifiedError);
                self.end(io, key, CloseCode::INTERNAL_ERROR, text);
            }
        }
    }

    /// Tells the client why, where its version has a packet for that and the stream is between two packets.
    fn say_farewell(&mut self, io: &mut Io<Mail>, key: Key, reason: ReasonCode) {
        let Some(link) = self.links.find(key) else { return };
        let (client, between) = (link.client, link.to_client.passing == 0);
        match (&link.phase, link.version()) {
            // [MQTT-3.14.0-1]: no DISCONNECT before CONNACK.
            (Phase::Open | Phase::Leaving { before_connack: false }, Some(version)) if between => {
                let packet = farewell(version, reason);
                if !packet.is_empty() {
                    io.send(client, &packet);
                }
            }
            (Phase::Judging | Phase::Dialling(_) | Phase::Connecting, _) => {
                self.refuse_waiting(io, key, reason)
            }
            _ => {}
        }
    }

    /// Closes what is left of a link and forgets it.
    pub fn end(&mut self, io: &mut Io<Mail>, key: Key, code: CloseCode, why: &str) {
        let Some(mut link) = self.links.remove(key) else { return };
        Counters::uncount(&self.context.counters.clients);
        if let Some(guard) = &mut link.guard {
            guard.tell_end(&mut self.context, why);
        }
        self.context.observer.closed(link.id, io.now(), why);
        log::debug!("{}: over: {why}", Peer(io.peer(link.client)));
        io.close(link.client, code);
        if let Some(upstream) = link.upstream {
            io.close(upstream, CloseCode::NORMAL);
        }
    }

    fn client_closed(&mut self, io: &mut Io<Mail>, key: Key, why: &Why) {
        let Some(link) = self.links.find(key) else { return };
        if matches!(link.phase, Phase::Connecting | Phase::Open) {
            Counters::count(&self.context.counters.client_ends);
        }
        link.ends(By::Network, ReasonCode::UnspecifiedError);
        if let Why::Limit(_) = why {
            log::info!("{}: closed: {why}", Peer(io.peer(link.client)));
        }
        self.end(io, key, CloseCode::NORMAL, &format!("client: {why}"));
    }

    fn upstream_closed(&mut self, io: &mut Io<Mail>, key: Key, why: &Why) {
        let Some(link) = self.links.find(key) else { return };
        match link.phase {
            Phase::Dialling(_) => self.dial_failed(io, key, why),
            Phase::Leaving { .. } => self.end(io, key, CloseCode::NORMAL, "the client has left"),
            Phase::Fresh | Phase::Judging | Phase::Connecting | Phase::Open => {
                Counters::count(&self.context.counters.upstream_ends);
                let peer = Peer(io.peer(link.client));
                log::info!("{peer}: its upstream: {why}");
                self.end(io, key, CloseCode::INTERNAL_ERROR, &format!("upstream: {why}"));
            }
        }
    }
}

impl<O: Observer> Core for ProxyCore<O> {
    type Mail = Mail;

    fn opened(&mut self, io: &mut Io<Mail>, conn: ConnId, origin: Origin) {
        match origin {
            Origin::Accepted(listener) => self.client_opened(io, conn, listener),
            Origin::Dialled(key) => {
                io.take_facts(conn);
                self.upstream_opened(io, Key(key));
            }
        }
    }

    fn data(&mut self, io: &mut Io<Mail>, conn: ConnId, bytes: &mut [u8]) -> usize {
        let Some((key, side, link)) = self.links.by_conn(conn) else { return bytes.len() };
        match (&link.phase, side) {
            (Phase::Fresh, Side::Client) => self.first_packet(io, key, bytes),
            (Phase::Dialling(_), Side::Client) => {
                self.wait(io, conn, bytes);
                0
            }
            (Phase::Judging, Side::Client) => self.answer_of_client(io, key, bytes),
            (Phase::Leaving { .. }, Side::Client)
            | (Phase::Fresh | Phase::Judging | Phase::Dialling(_), Side::Upstream) => bytes.len(),
            (Phase::Connecting | Phase::Open, _) | (Phase::Leaving { .. }, Side::Upstream) => {
                self.pass(io, key, side, bytes)
            }
        }
    }

    fn ended(&mut self, io: &mut Io<Mail>, conn: ConnId) {
        let Some((key, side, link)) = self.links.by_conn(conn) else { return };
        match (side, &link.phase) {
            (Side::Client, Phase::Fresh) => {
                self.end(io, key, CloseCode::NORMAL, "the client sent no CONNECT")
            }
            // What it sent before still waits; this is told again once that was shown.
            (Side::Client, Phase::Dialling(_) | Phase::Connecting)
            | (Side::Client, Phase::Leaving { .. }) => {}
            (Side::Client, Phase::Judging | Phase::Open) if link.waits() => {}
            (Side::Client, Phase::Judging) => {
                self.end(io, key, CloseCode::NORMAL, "the client has left before it was let in")
            }
            (Side::Client, Phase::Open) => {
                Counters::count(&self.context.counters.client_ends);
                link.ends(By::Network, ReasonCode::UnspecifiedError);
                self.leave(io, key, false);
            }
            (Side::Upstream, Phase::Leaving { .. }) => {
                self.end(io, key, CloseCode::NORMAL, "the client has left")
            }
            (Side::Upstream, phase) => {
                if matches!(phase, Phase::Connecting) {
                    let peer = Peer(io.peer(link.client));
                    log::info!("{peer}: its upstream closed without a CONNACK");
                }
                Counters::count(&self.context.counters.upstream_ends);
                self.end(io, key, CloseCode::NORMAL, "the upstream closed");
            }
        }
    }

    fn closed(&mut self, io: &mut Io<Mail>, conn: ConnId, why: &Why) {
        match self.links.by_conn(conn) {
            Some((key, Side::Client, _)) => self.client_closed(io, key, why),
            Some((key, Side::Upstream, _)) => self.upstream_closed(io, key, why),
            None => {}
        }
    }

    fn blocked(&mut self, io: &mut Io<Mail>, conn: ConnId) {
        let Some((_, side, link)) = self.links.by_conn(conn) else { return };
        if let (Some(guard), Side::Upstream) = (&mut link.guard, side) {
            guard.blocked = true;
        }
        if let Some(source) = link.other(side) {
            Counters::count(&self.context.counters.pauses);
            io.pause(source);
        }
    }

    fn unblocked(&mut self, io: &mut Io<Mail>, conn: ConnId) {
        let Some((_, side, link)) = self.links.by_conn(conn) else { return };
        if let (Some(guard), Side::Upstream) = (&mut link.guard, side) {
            guard.blocked = false;
            if link.waits() {
                return; // It goes on when that is over.
            }
        }
        if let Some(source) = link.other(side) {
            io.resume(source);
        }
    }

    fn timer(&mut self, io: &mut Io<Mail>, key: u64) {
        let key = Key(key);
        let Some(link) = self.links.find(key) else { return };
        link.timer_at = Duration::MAX;
        if link.deadline > io.now() {
            return link.arm(io, key);
        }
        match link.phase {
            Phase::Fresh => {
                Counters::count(&self.context.counters.connect_timeouts);
                log::info!("{}: closed: no CONNECT in time", Peer(io.peer(link.client)));
                self.end(io, key, CloseCode::POLICY, "no CONNECT in time");
            }
            Phase::Connecting => {
                Counters::count(&self.context.counters.connack_timeouts);
                log::warn!("{}: its upstream sent no CONNACK in time", Peer(io.peer(link.client)));
                self.refuse_waiting(io, key, ReasonCode::ServerUnavailable);
                self.end(io, key, CloseCode::TRY_AGAIN_LATER, "no CONNACK in time");
            }
            Phase::Judging | Phase::Open => self.time_is_up(io, key),
            Phase::Dialling(_) | Phase::Leaving { .. } => {}
        }
    }

    fn mail(&mut self, io: &mut Io<Mail>, mail: Mail) {
        match mail {
            Mail::Upstreams(upstreams) => self.context.upstreams = upstreams,
            Mail::Hooks(hooks) => {
                self.context.hooks = hooks;
                for key in self.links.keys() {
                    self.ask_anew(io, key);
                }
            }
            Mail::Answer { link, turn, answer } => self.answered(io, Key(link), turn, answer),
            Mail::Question(question) => self.answer(io, question),
        }
    }

    fn end_tick(&mut self, _: &mut Io<Mail>) {
        self.context.tally.flush(&self.context.counters);
    }

    fn stop(&mut self, io: &mut Io<Mail>) {
        for key in self.links.keys() {
            self.say_farewell(io, key, ReasonCode::ServerShuttingDown);
            if let Some(link) = self.links.find(key) {
                link.ends(By::Server, ReasonCode::ServerShuttingDown);
            }
            self.end(io, key, CloseCode::GOING_AWAY, "the proxy stops");
        }
        // The last worker to stop tells that all have.
        if self.context.running.fetch_sub(1, Ordering::AcqRel) == 1 {
            // Whoever panics at this can end no connection any more.
            let _ = self.context.hooks.observe("", None, &Event::Stop);
        }
    }
}

/// Who a log line speaks of.
pub(crate) struct Peer(pub Option<SocketAddr>);

impl std::fmt::Display for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(address) => address.fmt(f),
            None => f.write_str("a local client"),
        }
    }
}

fn reason_of(error: &DecodeError) -> ReasonCode {
    match error.blame() {
        Blame::UnsupportedVersion => ReasonCode::ProtocolError,
        _ => error.reason_code(),
    }
}

fn misplaced(side: Side, packet_type: PacketType) -> String {
    match side.direction() {
        Direction::ToUpstream => format!("a client may not send {packet_type}"),
        Direction::ToClient => format!("{packet_type} is not what a server may send here"),
    }
}
