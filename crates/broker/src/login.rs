//! CONNECT before hooks: accept, authenticate, and the AUTH packets of an enhanced authentication.

use std::num::NonZeroU32;

use mqway_codec::{Auth, Connect, ConnectReturnCode, Decoder, Packet, PacketType, ReasonCode, Version};
use mqway_engine::{CloseCode, ConnId, Io, Origin};
use mqway_hooks::{Denial, Login, Outcome, Step};
use mqway_session::server::{Exchange, Fault};
use mqway_transport::facts::Facts;

use crate::clients::State;
use crate::core::BrokerCore;
use crate::guest::{Enhanced, Guest, Stage, code_for};
use crate::mail::Mail;

impl BrokerCore {
    /// A connection has come. What hooks are to know of it; `None` if there are no hooks.
    ///
    /// # Errors
    /// If a hook will not have it.
    pub(crate) fn welcome(
        &mut self,
        io: &mut Io<Mail>,
        conn: ConnId,
        origin: Origin,
    ) -> Result<Option<Box<Guest>>, Denial> {
        let facts = io.take_facts(conn); // Without hooks they only take memory.
        let Some(hooked) = &self.house.desk.hooked else { return Ok(None) };
        let mut facts = facts.map_or_else(Facts::default, |facts| *facts);
        facts.peer = facts.peer.or_else(|| io.peer(conn));
        let gates = &self.house.shared.gates;
        let listener = gates.url(place(origin));
        if !gates.has_asked(place(origin)) {
            hooked.hooks.accept(&listener, &facts)?;
        }
        Ok(Some(Guest::new(conn, listener, facts)))
    }

    /// Turns a connection away that a hook will not have.
    pub(crate) fn turn_away(&mut self, io: &mut Io<Mail>, conn: ConnId, denial: &Denial) {
        self.house.shared.gates.note(denial, "", io.peer(conn));
        io.close(conn, CloseCode::POLICY);
    }

    /// What hooks know of a connection, in whatever state it is.
    pub(crate) fn guest(&mut self, conn: ConnId) -> Option<&mut Guest> {
        match &mut self.clients.find(conn)?.state {
            State::Fresh(guest) => guest.as_deref_mut(),
            State::Open(open) => {
                let home = self.house.desk.sessions.find(open.session)?;
                home.guest.as_deref_mut()
            }
        }
    }

    pub(crate) fn take_guest(&mut self, conn: ConnId) -> Option<Box<Guest>> {
        match &mut self.clients.find(conn)?.state {
            State::Fresh(guest) => guest.take(),
            State::Open(_) => None,
        }
    }

    fn put_back(&mut self, conn: ConnId, back: Box<Guest>) {
        if let Some(State::Fresh(guest)) = self.clients.find(conn).map(|client| &mut client.state) {
            *guest = Some(back);
        }
    }

    /// Has hooks judge a CONNECT, of which `len` bytes lie unread. Returns how many of them are done with.
    pub(crate) fn judge_login(
        &mut self,
        io: &mut Io<Mail>,
        conn: ConnId,
        connect: &Connect<'_>,
        mut guest: Box<Guest>,
        len: usize,
    ) -> usize {
        if let Stage::New = guest.stage {
            if !self.rate.allows(io.now()) {
                self.refuse_over_rate(io, conn, connect);
                return len;
            }
            guest.client.greet(connect);
            let wants_words = connect.properties.request_problem_information().unwrap_or(true);
            guest.explains = connect.version == Version::V5 && wants_words;
            let hooked = self.house.desk.hooked.as_ref();
            if let Some(Err(denial)) = hooked.map(|hooked| hooked.hooks.knock(&mut guest.client)) {
                self.deny_login(io, conn, connect, &mut guest, &denial);
                return len;
            }
            if let Some(method) = connect.properties.authentication_method() {
                return self.begin_exchange(io, conn, connect, guest, method, len);
            }
            guest.stage = Stage::Asked;
        }
        self.ask(io, conn, connect, guest, len)
    }

    /// Asks whether the client may log in, and lets it in.
    fn ask(
        &mut self,
        io: &mut Io<Mail>,
        conn: ConnId,
        connect: &Connect<'_>,
        mut guest: Box<Guest>,
        len: usize,
    ) -> usize {
        let changes = match std::mem::replace(&mut guest.stage, Stage::Asked) {
            Stage::Agreed(changes) => changes,
            Stage::New | Stage::Exchange | Stage::Asked => {
                let mut login = Login::new(connect);
                match self.outcome(io, connect, &mut guest, &mut login) {
                    Outcome::Go => {}
                    Outcome::Denied(denial) => {
                        self.deny_login(io, conn, connect, &mut guest, &denial);
                        return len;
                    }
                    Outcome::Wait(_) => {
                        self.put_back(conn, guest);
                        self.begin_wait(io, conn);
                        return 0;
                    }
                }
                guest.progress.end();
                guest.authenticated(io.now());
                let hooked = self.house.desk.hooked.as_ref();
                guest.judged = hooked.map(|hooked| hooked.hooks.epoch(&guest.client));
                login.is_changed().then(|| Box::new(login.changes()))
            }
        };
        let mut login = Login::new(connect);
        if let Some(changes) = &changes {
            login.apply((**changes).clone());
        }
        // Before 5.0 a client cannot be told to say something more often than it wants.
        let (asked, wanted) = (connect.keep_alive, login.keep_alive);
        if connect.version != Version::V5 && wanted != 0 && (asked == 0 || wanted < asked) {
            login.keep_alive = asked;
        }
        guest.stage = Stage::Agreed(changes);
        self.settle_in(io, conn, connect, &login.connect(), Some(guest), len)
    }

    /// What hooks say to a login, if they say it now. Where too many wait already none has time to think.
    fn outcome<'a>(
        &mut self,
        io: &mut Io<Mail>,
        connect: &Connect<'a>,
        guest: &mut Guest,
        login: &mut Login<'a>,
    ) -> Outcome {
        let house = &mut self.house;
        let Some(hooked) = &house.desk.hooked else { return Outcome::Go };
        let (answers, will) = (hooked.answers(io), house.shared.refusals.will);
        loop {
            *login = Login::new(connect);
            let Guest { client, progress, enhanced, .. } = &mut *guest;
            let outcome = match enhanced {
                Some(_) => hooked.hooks.login_authenticated(client, login, progress, answers, will),
                None => hooked.hooks.login(client, login, progress, answers, will),
            };
            if !matches!(outcome, Outcome::Wait(_)) || guest.wait(&house.shared.waiting, io.now()) {
                return outcome;
            }
            house.desk.tally.hook_overloads += 1;
            guest.give_up_waiting();
        }
    }

    /// Nothing more of the connection is looked at until an answer has come, or its time is over.
    pub(crate) fn begin_wait(&mut self, io: &mut Io<Mail>, conn: ConnId) {
        io.pause(conn);
        let until = self.guest(conn).and_then(|guest| guest.wait.as_ref()).map(|wait| wait.until);
        if let (Some(until), Some(client)) = (until, self.clients.find(conn)) {
            client.wake_at(io, until);
        }
    }

    /// Tells a client that hooks will not have it.
    fn deny_login(
        &mut self,
        io: &mut Io<Mail>,
        conn: ConnId,
        connect: &Connect<'_>,
        guest: &mut Guest,
        denial: &Denial,
    ) {
        let mut reason = code_for(denial, PacketType::Connack);
        if connect.version != Version::V5 && ConnectReturnCode::from_reason(reason).is_none() {
            reason = ReasonCode::NotAuthorized; // So that it hears that it is not let in.
        }
        self.house.desk.tally.connects_denied += 1;
        self.house.shared.counters.refuse(denial.reason);
        log::info!("{}: refused: {denial}", guest.client);
        if let Some(hooked) = &self.house.desk.hooked {
            hooked.hooks.refused(&mut guest.client, denial.reason, &denial.rule);
        }
        self.refuse_saying(io, conn, connect, reason, denial.say.as_deref().unwrap_or_default());
    }

    /// Begins an enhanced authentication.
    fn begin_exchange(
        &mut self,
        io: &mut Io<Mail>,
        conn: ConnId,
        connect: &Connect<'_>,
        mut guest: Box<Guest>,
        method: &str,
        len: usize,
    ) -> usize {
        let hooked = self.house.desk.hooked.as_ref();
        let dialogue = match hooked.and_then(|hooked| hooked.hooks.begin(&mut guest.client, method)) {
            Some(Ok(dialogue)) => dialogue,
            Some(Err(denial)) => {
                self.deny_login(io, conn, connect, &mut guest, &denial);
                return len;
            }
            None => {
                // [MQTT-4.12.0-1]
                let reason = ReasonCode::BadAuthenticationMethod;
                self.refuse(io, conn, connect, reason, reason.name());
                return len;
            }
        };
        guest.stage = Stage::Exchange;
        guest.enhanced = Some(Box::new(Enhanced {
            exchange: Exchange::new(method),
            dialogue: Some(dialogue),
            last: None,
            connect: Box::default(),
            held: None,
        }));
        self.step(io, conn, connect, guest, connect.properties.authentication_data(), len)
    }

    /// Gives the method what the client has said, and the client its answer.
    fn step(
        &mut self,
        io: &mut Io<Mail>,
        conn: ConnId,
        connect: &Connect<'_>,
        mut guest: Box<Guest>,
        data: Option<&[u8]>,
        len: usize,
    ) -> usize {
        let Guest { client, enhanced, .. } = &mut *guest;
        let Some(enhanced) = enhanced else { return len };
        let Some(dialogue) = &mut enhanced.dialogue else { return len };
        match dialogue.take(client, data) {
            Step::Continue(data) => {
                // [MQTT-4.12.0-2], [MQTT-4.12.0-5]
                let properties = enhanced.exchange.properties(Some(&data));
                let auth = Auth::new(ReasonCode::ContinueAuthentication, properties.as_properties());
                let mut out = Vec::new();
                let encoded = Packet::Auth(auth).encode(Version::V5, &mut out);
                let most = connect.properties.maximum_packet_size().map_or(u32::MAX, NonZeroU32::get);
                if encoded.is_err() || out.len() > most as usize {
                    let reason = ReasonCode::PacketTooLarge; // [MQTT-3.1.2-24]
                    self.refuse(io, conn, connect, reason, "AUTH is larger than the client takes");
                    return len;
                }
                if enhanced.connect.is_empty() {
                    // What comes next lies behind it, and is looked at alone.
                    let mut packet = Vec::new();
                    let encoded = Packet::Connect(*connect).encode(Version::V5, &mut packet);
                    debug_assert!(encoded.is_ok(), "{encoded:?}");
                    enhanced.held = self.house.shared.kept_connects.take(packet.len());
                    if enhanced.held.is_none() {
                        let text = "too many bytes of CONNECTs whose clients authenticate themselves";
                        self.refuse(io, conn, connect, ReasonCode::ServerBusy, text);
                        return len;
                    }
                    enhanced.connect = packet.into_boxed_slice();
                }
                io.send(conn, &out);
                self.house.desk.tally.packets_sent += 1;
                self.put_back(conn, guest);
                len
            }
            Step::Done(last) => {
                enhanced.exchange.accept();
                enhanced.last = last;
                enhanced.dialogue = None;
                guest.stage = Stage::Asked;
                if guest.has_copy() {
                    self.ask(io, conn, connect, guest, 0);
                    return len; // The AUTH is done with, whatever hooks say.
                }
                self.ask(io, conn, connect, guest, len)
            }
            // [MQTT-4.12.0-4]
            Step::Deny(denial) => {
                self.deny_login(io, conn, connect, &mut guest, &denial);
                len
            }
        }
    }

    /// Takes what a client says between CONNECT and CONNACK. Returns how many bytes are done with.
    pub(crate) fn take_auth(&mut self, io: &mut Io<Mail>, conn: ConnId, bytes: &[u8]) -> usize {
        if !self.guest(conn).is_some_and(|guest| matches!(guest.stage, Stage::Exchange)) {
            return 0; // Hooks are asked; until they answer, nothing is looked at.
        }
        let mut decoder = Decoder::with_version(Version::V5, self.house.shared.terms.maximum_packet);
        let (packet, len) = match decoder.next(bytes) {
            Ok(None) => return 0,
            Ok(Some((Packet::Disconnect(_), _))) => {
                self.refuse_silently(io, conn);
                return bytes.len();
            }
            Ok(Some((packet, len))) => (Ok(packet), len),
            Err(error) => (Err(Fault::Decode(error)), bytes.len()),
        };
        let Some(mut guest) = self.take_guest(conn) else { return bytes.len() };
        let Some(enhanced) = &mut guest.enhanced else { return bytes.len() };
        let first = enhanced.connect.clone();
        let mut whole = Decoder::new(usize::MAX);
        let Ok(Some((Packet::Connect(connect), _))) = whole.next(&first) else { return bytes.len() };
        let turn = packet.and_then(|packet| match packet {
            Packet::Auth(auth) => enhanced.exchange.take(&auth),
            // [MQTT-3.1.2-30]
            other => Err(Fault::Misplaced(other.packet_type())),
        });
        match turn {
            Ok(turn) => self.step(io, conn, &connect, guest, turn.data, len),
            // Before CONNACK there is no DISCONNECT. [MQTT-3.14.0-1], [MQTT-4.12.0-4]
            Err(fault) => {
                self.house.desk.tally.client_faults += 1;
                self.refuse(io, conn, &connect, fault.reason(), &fault.to_string());
                bytes.len()
            }
        }
    }

    /// Goes on with a login whose CONNECT does not lie unread any more, unless it is the client's turn.
    pub(crate) fn go_on_with_copy(&mut self, io: &mut Io<Mail>, conn: ConnId) {
        let Some(State::Fresh(guest)) = self.clients.find(conn).map(|client| &mut client.state) else {
            return;
        };
        let Some(guest) = guest.take_if(|guest| guest.has_copy() && !matches!(guest.stage, Stage::Exchange))
        else {
            return;
        };
        let Some(first) = guest.enhanced.as_ref().map(|enhanced| enhanced.connect.clone()) else { return };
        let mut whole = Decoder::new(usize::MAX);
        if let Ok(Some((Packet::Connect(connect), _))) = whole.next(&first) {
            self.ask(io, conn, &connect, guest, 0);
        }
    }
}

/// The number of the listener that a connection came by. The broker dials nobody.
pub(crate) fn place(origin: Origin) -> usize {
    match origin {
        Origin::Accepted(listener) => listener.0,
        Origin::Dialled(_) => usize::MAX,
    }
}
