//! The broker as the engine drives it: connections, and what happens to them.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use mqway_codec::{PacketType, ReasonCode};
use mqway_engine::{CloseCode, ConnId, Core, Io, Origin, Why};
use mqway_hooks::{By, Denial, Event, Phase};
use mqway_session::server::{Fault, farewell};

use crate::admit::Rate;
use crate::clients::{Clients, State, Timer};
use crate::counters::Tally;
use crate::guest::{Cause, Guest, Stage, Testator, code_for};
use crate::house::{House, Then};
use crate::local::Locals;
use crate::mail::Mail;
use crate::shared::{SessionRef, Shared};
use crate::sys::Sys;

/// One worker's broker.
pub(crate) struct BrokerCore {
    pub(crate) clients: Clients,
    pub(crate) house: House,
    pub(crate) rate: Rate,
    pub(crate) locals: Locals,
    /// Publishes `$SYS`; on one worker only.
    sys: Option<Sys>,
    /// Publishers whose reading is stopped because other workers are behind.
    throttled: Vec<ConnId>,
    /// Numbers for client identifiers that are assigned here.
    pub(crate) assigned: u64,
    stopping: bool,
    /// The timer for what is unfinished is set.
    armed: bool,
    began: bool,
}

/// A timer that comes so much too late shows that the whole worker was away: the machine slept, or was too busy.
const AWAY: std::time::Duration = std::time::Duration::from_secs(1);

/// How often it is looked whether publishers may go on.
const THROTTLE: std::time::Duration = std::time::Duration::from_millis(2);

impl BrokerCore {
    pub fn new(worker: usize, shared: Arc<Shared>, enough: usize, sys: Option<Sys>) -> BrokerCore {
        let rate = Rate::new(shared.limits.connect_rate, shared.on_the_way.len());
        BrokerCore {
            clients: Clients::default(),
            house: House::new(worker, shared, enough),
            rate,
            locals: Locals::default(),
            sys,
            throttled: Vec::new(),
            assigned: 0,
            stopping: false,
            armed: false,
            began: false,
        }
    }

    /// A connection whose CONNECT is to come.
    fn expect_connect(&mut self, io: &mut Io<Mail>, conn: ConnId, guest: Option<Box<Guest>>) {
        let deadline = io.now() + self.house.shared.limits.connect_time;
        let tag = self.clients.insert(conn, deadline, guest);
        io.set_timer(deadline, Timer::Client { slot: conn.slot() as u32, tag }.key());
    }

    /// Ends a connection because of a fault, and says so where the version has a word for it.
    pub(crate) fn end(&mut self, io: &mut Io<Mail>, conn: ConnId, fault: &Fault) {
        let code = match fault {
            Fault::ShuttingDown => CloseCode::GOING_AWAY,
            Fault::TakenOver | Fault::KeepAlive => CloseCode::NORMAL,
            Fault::Limit(_) => CloseCode::POLICY,
            _ => CloseCode::PROTOCOL_ERROR,
        };
        log::debug!("{}: ended: {fault}", Peer(io.peer(conn)));
        self.say_farewell(io, conn, fault.reason(), &fault.to_string());
        self.forget(io, conn, &Cause { by: By::Server, reason: fault.reason(), why: fault });
        io.close(conn, code); // [MQTT-4.13.2-1]
    }

    /// Ends a connection as hooks want it.
    pub(crate) fn end_denied(&mut self, io: &mut Io<Mail>, conn: ConnId, denial: &Denial) {
        let reason = code_for(denial, PacketType::Disconnect);
        match self.guest(conn) {
            Some(guest) => log::info!("{}: ended: {denial}", guest.client),
            None => log::info!("{}: ended: {denial}", Peer(io.peer(conn))),
        }
        self.say_farewell(io, conn, reason, denial.say.as_deref().unwrap_or_default());
        self.forget(io, conn, &Cause { by: By::Server, reason, why: &denial.rule });
        io.close(conn, CloseCode::POLICY);
    }

    /// DISCONNECT, where the version has it. Before CONNACK there is no word for it. [MQTT-3.14.0-1]
    fn say_farewell(&mut self, io: &mut Io<Mail>, conn: ConnId, reason: ReasonCode, text: &str) {
        let Some(open) = self.clients.find(conn).and_then(|client| client.open()) else { return };
        let (session, version) = (open.session, open.receiver.version());
        let Some(home) = self.house.desk.sessions.find(session) else { return };
        let most = home.state.sender().map_or(u32::MAX, |sender| sender.maximum_packet());
        let mut out = Vec::new();
        farewell(version, reason, text, most, &mut out);
        if !out.is_empty() {
            io.send(conn, &out); // [MQTT-4.13.1-1]
            self.house.desk.tally.packets_sent += 1;
        }
    }

    /// The connection is no more: its session goes on without, or ends.
    pub(crate) fn forget(&mut self, io: &mut Io<Mail>, conn: ConnId, cause: &Cause<'_>) {
        let Some(mut client) = self.clients.remove(conn) else { return };
        let Some(open) = client.open() else { return };
        let session = open.session;
        let house = &mut self.house;
        let Some(home) = house.desk.sessions.find(session).filter(|home| home.conn == Some(conn)) else {
            return;
        };
        if let Some(hooked) = house.desk.hooked.as_mut().filter(|hooked| hooked.wants(Phase::Disconnected)) {
            let Cause { by, reason, why } = *cause;
            hooked.tell(home, &Event::Disconnected { by, reason, why: &why.to_string() });
        }
        let guest = home.guest.take();
        home.set_user_name(None);
        home.conn = None;
        home.blocked = false;
        if let Some(load) = home.load {
            house.shared.loads.set_away(load, true);
        }
        home.counting_will(&mut house.desk.tally, |state| state.disconnected(io.now()));
        let testator = |guest: Box<Guest>| {
            let Guest { client, judged, .. } = *guest;
            Box::new(Testator { client, judged })
        };
        home.set_testator(guest.filter(|_| home.state.will_size() > 0).map(testator));
        Tally::less(&mut house.desk.tally.connected, 1);
        house.look_after(io, session);
    }

    /// Goes on with sessions that had more to send than fitted.
    fn finish_unfinished(&mut self, io: &mut Io<Mail>) {
        self.armed = false;
        let enough = self.house.desk.enough();
        let mut later = Vec::new();
        for session in std::mem::take(&mut self.house.desk.unfinished) {
            let Some(home) = self.house.desk.sessions.find(session) else { continue };
            let Some(conn) = home.conn else { continue };
            if io.queued(conn) <= enough {
                self.go_on(io, session);
            } else if self
                .clients
                .find(conn)
                .and_then(|client| client.open())
                .is_some_and(|open| !open.paused)
            {
                // However much waits at the moment: the engine, which has not said that it is blocked, need not say
                // when there is room again.
                later.push(session);
            }
        }
        if !later.is_empty() {
            self.house.desk.unfinished.append(&mut later);
            self.armed = true;
            io.set_timer(io.now() + THROTTLE, Timer::Unfinished.key());
        }
    }

    /// A receiver has room again.
    fn go_on(&mut self, io: &mut Io<Mail>, session: SessionRef) {
        let Some(home) = self.house.desk.sessions.find(session) else { return };
        home.blocked = false;
        self.house.desk.pump(io, session);
        self.house.replay(io, session);
    }

    /// Stops the reading of a publisher while other workers are behind with what it has sent.
    fn throttle(&mut self, io: &mut Io<Mail>, conn: ConnId) {
        let behind = |worker: usize| self.house.shared.is_behind(worker);
        if !(0..io.workers()).any(behind) {
            return;
        }
        io.pause(conn);
        self.house.desk.tally.pauses += 1;
        if self.throttled.is_empty() {
            io.set_timer(io.now() + THROTTLE, Timer::Throttled.key());
        }
        self.throttled.push(conn);
    }

    fn end_throttle(&mut self, io: &mut Io<Mail>) {
        if (0..io.workers()).any(|worker| self.house.shared.is_behind(worker)) {
            return io.set_timer(io.now() + THROTTLE, Timer::Throttled.key());
        }
        for conn in std::mem::take(&mut self.throttled) {
            let paused =
                self.clients.find(conn).and_then(|client| client.open()).is_some_and(|open| open.paused);
            if !paused {
                io.resume(conn);
            }
        }
    }

    fn client_timer(&mut self, io: &mut Io<Mail>, slot: u32, tag: u32) {
        let Some(client) = self.clients.tagged(slot as usize, tag) else { return };
        let (conn, now) = (client.conn, io.now());
        if client.wakes > now {
            return;
        }
        match &mut client.state {
            State::Fresh(guest) => {
                let guest = guest.as_deref();
                if let Some(wait) = guest.and_then(|guest| guest.wait.as_ref()) {
                    match wait.until {
                        until if until > now => client.wake_at(io, until),
                        _ => self.waited(io, conn),
                    }
                } else if !guest.is_some_and(|guest| matches!(guest.stage, Stage::Asked)) {
                    self.house.desk.tally.connect_timeouts += 1;
                    log::info!("{}: closed: no CONNECT in time", Peer(io.peer(conn)));
                    self.clients.remove(conn);
                    io.close(conn, CloseCode::POLICY);
                }
            }
            State::Open(open) => {
                let home = self.house.desk.sessions.find(open.session);
                let guest = home.and_then(|home| home.guest.as_deref());
                // While an answer is awaited nothing is looked at, and nothing else matters.
                if let Some(wait) = guest.and_then(|guest| guest.wait.as_ref()) {
                    match wait.until {
                        until if until > now => client.wake_at(io, until),
                        _ => self.waited(io, conn),
                    }
                    return;
                }
                let expires = guest.and_then(|guest| guest.expires);
                if expires.is_some_and(|expires| expires <= now) {
                    self.house.desk.tally.authentications_expired += 1;
                    let text = "the authentication is over";
                    let reason = ReasonCode::MaximumConnectTime;
                    return self.end_denied(io, conn, &Denial::new(reason, text).say(text));
                }
                let mut due = open.receiver.silent_until();
                // What it has said meanwhile may lie unread: because the worker itself was away, or because it is not
                // read while it is slow to take what it gets.
                let excused = |due| due <= now && (now - due > AWAY || (open.paused && io.has_moved(conn)));
                if due.is_some_and(excused) {
                    open.receiver.heard(now);
                    due = open.receiver.silent_until();
                }
                if due.is_some_and(|due| due <= now) {
                    self.house.desk.tally.keep_alive_timeouts += 1;
                    return self.end(io, conn, &Fault::KeepAlive); // [MQTT-3.1.2-22]
                }
                if let Some(next) = due.into_iter().chain(expires).min() {
                    client.wake_at(io, next);
                }
            }
        }
    }

    fn session_timer(&mut self, io: &mut Io<Mail>, slot: u32, generation: u16) {
        let session = SessionRef { worker: io.worker() as u16, generation, slot };
        if let Some(home) = self.house.desk.sessions.find(session) {
            home.timer = None;
            self.house.look_after(io, session);
        }
    }
}

impl Core for BrokerCore {
    type Mail = Mail;

    fn opened(&mut self, io: &mut Io<Mail>, conn: ConnId, origin: Origin) {
        match self.welcome(io, conn, origin) {
            Ok(guest) => self.expect_connect(io, conn, guest),
            Err(denial) => self.turn_away(io, conn, &denial),
        }
    }

    fn data(&mut self, io: &mut Io<Mail>, conn: ConnId, bytes: &mut [u8]) -> usize {
        let Some(client) = self.clients.find(conn) else { return bytes.len() };
        let greeted = match &client.state {
            State::Fresh(_) => self.first_packets(io, conn, bytes),
            State::Open(_) => 0,
        };
        if self.rests(conn) {
            io.pause(conn); // It was resumed for another reason.
            return greeted;
        }
        // What stands right behind CONNECT is as good as what comes later (5.0 §3.1.4), except after a refusal, when
        // nothing of it counts. [MQTT-3.1.4-6]
        let Some(open) = self.clients.find(conn).and_then(|client| client.open()) else { return greeted };
        let (used, then) = self.house.serve(io, conn, open, &bytes[greeted..]);
        let used = greeted + used;
        match then {
            Then::Go => {
                if self.house.desk.parcels.iter().any(|parcels| !parcels.is_empty()) {
                    self.throttle(io, conn);
                }
                used
            }
            Then::Leave(reason) => {
                self.forget(io, conn, &Cause { by: By::Client, reason, why: &"DISCONNECT" });
                io.close(conn, CloseCode::NORMAL);
                bytes.len()
            }
            Then::Wait => {
                self.begin_wait(io, conn);
                used
            }
            Then::Rest(time) => {
                self.begin_rest(io, conn, time);
                used
            }
            Then::Deny(denial) => {
                self.house.desk.tally.ended_by_hooks += 1;
                self.end_denied(io, conn, &denial);
                bytes.len()
            }
            Then::End(fault) => {
                self.house.desk.tally.client_faults += 1;
                log::info!("{}: closed: {fault}", Peer(io.peer(conn)));
                self.end(io, conn, &fault);
                bytes.len()
            }
        }
    }

    fn ended(&mut self, io: &mut Io<Mail>, conn: ConnId) {
        let reason = ReasonCode::UnspecifiedError;
        self.forget(io, conn, &Cause { by: By::Network, reason, why: &"closed without DISCONNECT" });
        io.close(conn, CloseCode::NORMAL);
    }

    fn closed(&mut self, io: &mut Io<Mail>, conn: ConnId, why: &Why) {
        log::debug!("{}: over: {why}", Peer(io.peer(conn)));
        let by = if matches!(why, Why::Limit(_)) { By::Server } else { By::Network };
        self.forget(io, conn, &Cause { by, reason: ReasonCode::UnspecifiedError, why });
    }

    fn blocked(&mut self, io: &mut Io<Mail>, conn: ConnId) {
        let Some(open) = self.clients.find(conn).and_then(|client| client.open()) else { return };
        // Its acknowledgements would pile up behind what it does not read.
        open.paused = true;
        io.has_moved(conn); // From now on it counts.
        io.pause(conn);
        self.house.desk.tally.pauses += 1;
        if let Some(home) = self.house.desk.sessions.find(open.session) {
            home.blocked = true;
            if let Some(load) = home.load {
                self.house.shared.loads.set_away(load, true);
            }
        }
    }

    fn unblocked(&mut self, io: &mut Io<Mail>, conn: ConnId) {
        let Some(open) = self.clients.find(conn).and_then(|client| client.open()) else { return };
        open.paused = false;
        open.receiver.heard(io.now());
        let session = open.session;
        io.resume(conn);
        if let Some(load) = self.house.desk.sessions.find(session).and_then(|home| home.load) {
            self.house.shared.loads.set_away(load, false);
        }
        self.go_on(io, session);
    }

    fn arrived(&mut self, io: &mut Io<Mail>, conn: ConnId, mail: Mail) {
        let Mail::Arriving(mut guest) = mail else { return };
        let known = guest.as_mut().map(|guest| guest.client.number = conn.to_bits()).is_some();
        // CONNECT lies unread, and is shown next.
        self.expect_connect(io, conn, guest);
        match known {
            true => self.go_on_with_copy(io, conn), // Unless it was consumed.
            false => self.introduce(io, conn),      // There were no hooks where it came from.
        }
    }

    fn timer(&mut self, io: &mut Io<Mail>, key: u64) {
        match Timer::of_key(key) {
            Timer::Client { slot, tag } => self.client_timer(io, slot, tag),
            Timer::Session { slot, generation } => self.session_timer(io, slot, generation),
            Timer::Unfinished => self.finish_unfinished(io),
            Timer::Throttled => self.end_throttle(io),
            Timer::Sweep => {
                let House { sweep, shared, .. } = &mut self.house;
                sweep.go_on(io, shared);
            }
            Timer::Sys => {
                if let Some(sys) = &mut self.sys {
                    let next = sys.publish(io, &mut self.house);
                    io.set_timer(next, Timer::Sys.key());
                }
            }
        }
    }

    fn awaits(&self, key: u64) -> bool {
        match Timer::of_key(key) {
            Timer::Client { slot, tag } => self.clients.is_tagged(slot as usize, tag),
            Timer::Session { slot, generation } => {
                let worker = self.house.desk.worker as u16;
                self.house.desk.sessions.lives(SessionRef { worker, generation, slot })
            }
            Timer::Unfinished | Timer::Sys | Timer::Throttled | Timer::Sweep => true,
        }
    }

    fn mail(&mut self, io: &mut Io<Mail>, mail: Mail) {
        match mail {
            Mail::Arriving(_) => {}
            Mail::Answer { client, turn, answer } => self.answered(io, client, turn, answer),
            Mail::Hooks(hooks) => self.replace_hooks(io, &hooks),
            Mail::List(to) => {
                // Who has not waited for it does not want it.
                let _ = to.try_send(self.house.desk.sessions.list());
            }
            Mail::EndSession { client_id, done } => {
                let _ = done.try_send(self.end_from_outside(io, &client_id));
            }
            Mail::Parcels(parcels) => self.house.desk.receive(io, parcels),
            Mail::Publish(message) => self.house.publish_own(io, &message),
            Mail::Subscribe(subscription) => self.locals.subscribe(io, &mut self.house, *subscription),
            Mail::Unsubscribe(number) => self.locals.unsubscribe(io, &mut self.house, number),
            Mail::Begin => {}
        }
        if !std::mem::replace(&mut self.began, true) && self.sys.is_some() {
            io.set_timer(io.now(), Timer::Sys.key());
        }
    }

    fn end_tick(&mut self, io: &mut Io<Mail>) {
        self.heed_hooks(io);
        self.house.desk.send_parcels(io);
        self.house.desk.look_around(io);
        if !self.house.desk.unfinished.is_empty() && !std::mem::replace(&mut self.armed, true) {
            io.set_timer(io.now(), Timer::Unfinished.key());
        }
        self.house.shared.counters.add(&mut self.house.desk.tally);
    }

    fn stop(&mut self, io: &mut Io<Mail>) {
        self.stopping = true;
        for conn in self.clients.all() {
            self.end(io, conn, &Fault::ShuttingDown);
        }
        let last = self.house.shared.running.fetch_sub(1, Ordering::Relaxed) == 1;
        if let Some(hooked) = self.house.desk.hooked.as_ref().filter(|_| last) {
            // Who panics now has nothing to end any more.
            let _ = hooked.hooks.observe("", None, &Event::Stop);
        }
    }
}

/// The address of a client, for the log.
pub(crate) struct Peer(pub Option<SocketAddr>);

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(address) => address.fmt(f),
            None => f.write_str("a client"),
        }
    }
}
