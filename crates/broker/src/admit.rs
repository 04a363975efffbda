//! From a client's first packet to its CONNACK.

use std::num::NonZeroU32;
use std::time::Duration;

use mqway_codec::{Connect, Decoder, Packet, PropertiesBuf, PropertyId, ReasonCode};
use mqway_engine::{CloseCode, ConnId, Io};
use mqway_hooks::Event;
use mqway_session::server::{Fault, Hello, Refusal, answer_to_faulty};

use crate::clients::{Open, State};
use crate::core::{BrokerCore, Peer};
use crate::counters::Tally;
use crate::guest::Guest;
use crate::mail::Mail;
use crate::sessions::Owner;
use crate::shared::SessionRef;

/// Bytes of the largest CONNECT: each of its texts may have 64 KiB.
const LARGEST_CONNECT: usize = 512 * 1024;

impl BrokerCore {
    /// Takes what a client says until it is accepted. Returns how many bytes are done with.
    pub(crate) fn first_packets(&mut self, io: &mut Io<Mail>, conn: ConnId, bytes: &[u8]) -> usize {
        let mut used = 0;
        loop {
            let rest = &bytes[used..];
            let len = match self.clients.find(conn).map(|client| &client.state) {
                Some(State::Fresh(Some(guest))) if guest.has_copy() => self.take_auth(io, conn, rest),
                Some(State::Fresh(_)) => self.first_packet(io, conn, rest),
                Some(State::Open(_)) | None => 0,
            };
            used += len;
            if len == 0 {
                return used;
            }
        }
    }

    /// Looks for CONNECT in the first bytes of a client. Where the client is at home elsewhere, its connection goes
    /// there, and CONNECT is read again.
    fn first_packet(&mut self, io: &mut Io<Mail>, conn: ConnId, bytes: &[u8]) -> usize {
        let limit = LARGEST_CONNECT.min(self.house.shared.terms.maximum_packet);
        match Decoder::new(limit).next(bytes) {
            Ok(None) => 0,
            Ok(Some((Packet::Connect(connect), len))) => self.connect(io, conn, &connect, len),
            // The decoder lets nothing else pass, [MQTT-3.1.0-1].
            Ok(Some((_, len))) => {
                self.refuse_silently(io, conn);
                len
            }
            // [MQTT-3.1.4-1]
            Err(error) => {
                log::info!("{}: closed before CONNECT: {error}", Peer(io.peer(conn)));
                let mut out = Vec::new();
                answer_to_faulty(&error, bytes, &mut out);
                if !out.is_empty() {
                    io.send(conn, &out);
                }
                self.refuse_silently(io, conn);
                bytes.len()
            }
        }
    }

    pub(crate) fn refuse_silently(&mut self, io: &mut Io<Mail>, conn: ConnId) {
        self.house.desk.tally.connects_refused += 1;
        self.clients.remove(conn);
        io.close(conn, CloseCode::PROTOCOL_ERROR);
    }

    /// Judges a CONNECT of `len` bytes. Returns how many of them are done with.
    fn connect(&mut self, io: &mut Io<Mail>, conn: ConnId, connect: &Connect<'_>, len: usize) -> usize {
        if let Err(reason) = Hello::read(connect, &self.house.shared.terms) {
            self.refuse(io, conn, connect, reason, reason.name());
            return len;
        }
        if let Some(guest) = self.take_guest(conn) {
            return self.judge_login(io, conn, connect, guest, len);
        }
        if connect.properties.contains(PropertyId::AuthenticationMethod) {
            // [MQTT-4.12.0-1]: methods of enhanced authentication come with hooks.
            let reason = ReasonCode::BadAuthenticationMethod;
            self.refuse(io, conn, connect, reason, reason.name());
            return len;
        }
        self.settle_in(io, conn, connect, connect, None, len)
    }

    /// Accepts a client where it is at home, or hands its connection over to there. `sent` is its CONNECT as it came.
    pub(crate) fn settle_in(
        &mut self,
        io: &mut Io<Mail>,
        conn: ConnId,
        sent: &Connect<'_>,
        connect: &Connect<'_>,
        guest: Option<Box<Guest>>,
        len: usize,
    ) -> usize {
        let hello = match Hello::read(connect, &self.house.shared.terms) {
            Ok(hello) => hello.asked(sent.keep_alive),
            Err(reason) => {
                self.refuse(io, conn, sent, reason, reason.name());
                return len;
            }
        };
        let (home, assigned) = match hello.client_id() {
            // Who sent none is told the one that it has. [MQTT-3.2.2-16]
            Some(given) => {
                (self.house.shared.home_of(given), sent.client_id.is_empty().then(|| given.to_owned()))
            }
            // One that is at home where the connection is.
            None => (io.worker(), Some(self.assign(io.worker()))),
        };
        if home != io.worker() {
            self.clients.remove(conn);
            io.hand_over(conn, home, Mail::Arriving(guest));
            return 0;
        }
        // Hooks were asked within the rate.
        if guest.is_none() && !self.rate.allows(io.now()) {
            self.refuse_over_rate(io, conn, sent);
            return len;
        }
        if !self.has_room(io.worker(), &hello) {
            self.house.desk.tally.connects_over_sessions += 1;
            let reason = ReasonCode::QuotaExceeded;
            self.refuse(io, conn, sent, reason, "too many sessions, or too large a will");
            return len;
        }
        let terms = &self.house.shared.terms;
        let said = guest.as_deref().map(Guest::last_words).unwrap_or_default();
        if !hello.connack_fits(terms, assigned.as_deref(), &said) {
            let reason = ReasonCode::PacketTooLarge;
            self.refuse(io, conn, sent, reason, "CONNACK is larger than the client takes");
            return len;
        }
        self.accept(io, conn, &hello, assigned.as_deref(), guest, &said);
        len
    }

    pub(crate) fn refuse_over_rate(&mut self, io: &mut Io<Mail>, conn: ConnId, connect: &Connect<'_>) {
        self.house.desk.tally.connects_over_rate += 1;
        let reason = ReasonCode::ConnectionRateExceeded;
        self.refuse(io, conn, connect, reason, "too many connections in a second");
    }

    /// Whether there is room for a client's session, if it has none yet, and for its will.
    fn has_room(&mut self, worker: usize, hello: &Hello<'_>) -> bool {
        let (desk, shared) = (&mut self.house.desk, &self.house.shared);
        let known = hello.client_id().and_then(|id| desk.sessions.of_client(worker, id));
        let room = shared.room_for_state(desk.tally.state_bytes);
        let will = hello.connect().will.as_ref().map_or(0, |will| will.payload.len() + will.topic.len());
        (known.is_some() || shared.has_room_for_session(desk.tally.sessions)) && will as u64 <= room
    }

    /// Refuses a client, and closes. [MQTT-3.1.3-8], [MQTT-3.1.4-2], [MQTT-3.2.2-7]; 3.1.1: [MQTT-3.1.3-9]
    pub(crate) fn refuse(
        &mut self,
        io: &mut Io<Mail>,
        conn: ConnId,
        connect: &Connect<'_>,
        reason: ReasonCode,
        text: &str,
    ) {
        log::info!("{}: refused: {text}", Peer(io.peer(conn)));
        self.refuse_saying(io, conn, connect, reason, text);
    }

    /// Refuses a client in these words, and closes.
    pub(crate) fn refuse_saying(
        &mut self,
        io: &mut Io<Mail>,
        conn: ConnId,
        connect: &Connect<'_>,
        reason: ReasonCode,
        text: &str,
    ) {
        let most = connect.properties.maximum_packet_size().map_or(u32::MAX, NonZeroU32::get);
        let mut out = Vec::new();
        Refusal::new(reason, text).connack(connect.version, most, &mut out);
        if !out.is_empty() {
            io.send(conn, &out);
        }
        self.refuse_silently(io, conn);
    }

    fn accept(
        &mut self,
        io: &mut Io<Mail>,
        conn: ConnId,
        hello: &Hello<'_>,
        assigned: Option<&str>,
        mut guest: Option<Box<Guest>>,
        said: &PropertiesBuf,
    ) {
        let client_id = assigned.or(hello.client_id()).unwrap_or_default();
        // Without hooks nobody says who a client is.
        let user = guest.as_deref().map(|guest| guest.client.user_name.as_deref());
        let owner = user.map(|name| name.map(|name| self.house.shared.owner(name)));
        let (session, present) = self.session_for(io, client_id, hello.connect().clean_start, owner);
        let house = &mut self.house;
        let terms = &house.shared.terms;
        let Some(home) = house.desk.sessions.find(session) else { return };
        let expires = guest.as_ref().and_then(|guest| guest.expires);
        let mut unasked = Vec::new();
        if let Some(guest) = &mut guest {
            guest.settled(client_id);
            unasked = std::mem::take(&mut guest.client.subscriptions);
        }
        home.set_user_name(hello.connect().user_name.filter(|_| guest.is_none()));
        home.guest = guest;
        home.set_testator(None);
        home.owner = owner.flatten();
        home.conn = Some(conn);
        home.blocked = false;
        home.counting_will(&mut house.desk.tally, |state| {
            state.connected(hello.sender(terms), hello.granted(), terms, hello.will());
        });
        if let Some(load) = home.load {
            house.shared.loads.set_away(load, false);
        }
        let receiver = hello.receiver(terms, io.now());
        let due = receiver.silent_until().into_iter().chain(expires).min();
        if let Some(client) = self.clients.find(conn) {
            client.state = State::Open(Open { session, receiver, publishing: None, paused: false });
            // Else the timer for CONNECT comes sooner, and is then set anew.
            if let Some(due) = due {
                client.wake_by(io, due);
            }
        }
        let mut out = Vec::new();
        hello.connack(terms, present, assigned, said, &mut out);
        io.send(conn, &out); // [MQTT-3.1.4-5], [MQTT-3.2.0-1], [MQTT-3.2.0-2]; 3.1.1: [MQTT-3.1.4-4]
        let tally = &mut self.house.desk.tally;
        tally.packets_received += 1;
        tally.packets_sent += 1;
        tally.connects += 1;
        Tally::more(&mut tally.connected, 1);
        if self.house.desk.hooked.is_some() {
            self.house.desk.tell(session, &Event::Connected { session_present: present });
            let begun = if present { Event::SessionResumed } else { Event::SessionCreated };
            self.house.desk.tell(session, &begun);
        }
        self.house.subscribe_unasked(session, &unasked);
        // What waited, and what was not acknowledged. [MQTT-4.4.0-1], [MQTT-4.8.2-4]
        self.house.desk.pump(io, session);
        self.house.replay(io, session);
    }

    /// The session that a client goes on with, or a new one; and whether it was there. `owner` is whose it is to be, if there
    /// are hooks to say so.
    /// [MQTT-3.1.2-4], [MQTT-3.1.3-2], [MQTT-3.1.4-4], [MQTT-3.2.2-3]
    /// 3.1.1: [MQTT-3.1.2-4], [MQTT-3.1.2-6], [MQTT-3.1.4-3], [MQTT-3.2.2-1], [MQTT-3.2.2-2], [MQTT-3.2.2-3]
    fn session_for(
        &mut self,
        io: &mut Io<Mail>,
        client_id: &str,
        clean_start: bool,
        owner: Option<Option<Owner>>,
    ) -> (SessionRef, bool) {
        let worker = io.worker();
        let known = self.house.desk.sessions.of_client(worker, client_id);
        if let Some(session) = known
            && let Some(conn) = self.house.desk.sessions.find(session).and_then(|home| home.conn)
        {
            self.house.desk.tally.takeovers += 1;
            self.end(io, conn, &Fault::TakenOver); // [MQTT-3.1.4-3]; 3.1.1: [MQTT-3.1.4-2]
        }
        // With its connection the session may have ended.
        if let Some(session) = self.house.desk.sessions.of_client(worker, client_id) {
            let known = self.house.desk.sessions.find(session).and_then(|home| home.owner);
            // 5.0 §5.4.2: a client identifier alone gives nobody what waits for another user.
            let is_anothers = known.is_some() && owner.is_some_and(|owner| owner != known);
            if !clean_start && !is_anothers {
                return (session, true); // [MQTT-3.1.2-5]
            }
            self.house.end_session(io, session, false);
        }
        let queue = self.house.shared.limits.queue_messages;
        Tally::more(&mut self.house.desk.tally.sessions, 1);
        (self.house.desk.sessions.insert(worker, client_id, queue), false) // [MQTT-3.1.2-6], [MQTT-3.2.2-2]
    }

    /// A client identifier that nobody has, of a client that is at home here. [MQTT-3.1.3-6], [MQTT-3.2.2-16]
    fn assign(&mut self, worker: usize) -> String {
        loop {
            self.assigned += 1;
            let shared = &self.house.shared;
            // The key keeps it from being guessed, and so from being taken over.
            let secret = shared.home_secret(self.assigned, worker);
            let id = format!("mqway-{secret:016x}");
            let free = self.house.desk.sessions.of_client(worker, &id).is_none();
            if free && shared.home_of(&id) == worker {
                return id;
            }
        }
    }
}

/// CONNECTs that one worker may accept in a second.
pub(crate) struct Rate {
    /// In a second; `None`: any number.
    most: Option<f64>,
    left: f64,
    at: Duration,
}

impl Rate {
    /// This worker's part of a rate.
    pub fn new(rate: Option<NonZeroU32>, workers: usize) -> Rate {
        let most = rate.map(|rate| (f64::from(rate.get()) / workers.max(1) as f64).max(1.0));
        Rate { most, left: most.unwrap_or(0.0), at: Duration::ZERO }
    }

    /// Whether there is room for one more, which is then taken.
    pub fn allows(&mut self, now: Duration) -> bool {
        let Some(most) = self.most else { return true };
        let passed = now.saturating_sub(self.at).as_secs_f64();
        self.at = now;
        self.left = (self.left + passed * most).min(most);
        let allowed = self.left >= 1.0;
        if allowed {
            self.left -= 1.0;
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_allows_a_second_s_worth_at_once_and_then_as_time_goes() {
        let mut rate = Rate::new(NonZeroU32::new(4), 2);
        let second = Duration::from_secs(1);
        assert!(rate.allows(second) && rate.allows(second) && !rate.allows(second));
        assert!(rate.allows(second + second / 2) && !rate.allows(second + second / 2));
        assert!(Rate::new(None, 2).allows(second));
    }
}
