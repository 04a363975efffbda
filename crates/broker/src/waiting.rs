//! Answers of hooks that come later, or never, connections that hooks slow down, and hooks that are replaced.

use std::sync::Arc;
use std::time::Duration;

use mqway_codec::ReasonCode;
use mqway_engine::{ConnId, Io};
use mqway_hooks::{Answer, Denial, Hooks};

use crate::clients::State;
use crate::core::BrokerCore;
use crate::guest::{Guest, Hooked, Stage, Wait};
use crate::login::place;
use crate::mail::Mail;

impl BrokerCore {
    /// A hook has answered. It may be late, and its connection gone.
    pub(crate) fn answered(&mut self, io: &mut Io<Mail>, client: u64, turn: u32, answer: Answer) {
        let conn = ConnId::from_bits(client);
        let Some(guest) = self.guest(conn) else { return };
        if guest.progress.answered(turn, answer) {
            self.go_on_judging(io, conn);
        }
    }

    /// Hooks slow a connection down: nothing more of it is looked at for so long.
    pub(crate) fn begin_rest(&mut self, io: &mut Io<Mail>, conn: ConnId, time: Duration) {
        let Some(guest) = self.guest(conn) else { return };
        guest.rest(io.now().saturating_add(time));
        self.house.desk.tally.hook_delays += 1;
        self.begin_wait(io, conn);
    }

    /// Whether hooks slow a connection down at the moment.
    pub(crate) fn rests(&mut self, conn: ConnId) -> bool {
        self.house.desk.hooked.is_some()
            && self.guest(conn).and_then(|guest| guest.wait.as_ref()).is_some_and(Wait::is_rest)
    }

    /// The time for an answer is over, or that of a rest.
    pub(crate) fn waited(&mut self, io: &mut Io<Mail>, conn: ConnId) {
        let Some(guest) = self.guest(conn) else { return };
        if guest.wait.as_ref().is_some_and(Wait::is_rest) {
            return self.go_on_judging(io, conn);
        }
        guest.give_up_waiting();
        log::warn!("{}: a hook gave no answer in time", guest.client);
        self.house.desk.tally.hook_timeouts += 1;
        self.go_on_judging(io, conn);
    }

    /// Shows hooks again what they were asked about.
    fn go_on_judging(&mut self, io: &mut Io<Mail>, conn: ConnId) {
        if let Some(guest) = self.guest(conn) {
            guest.wait = None;
        }
        let Some(client) = self.clients.find(conn) else { return };
        if let Some(open) = client.open() {
            open.receiver.heard(io.now()); // What it has said meanwhile lies unread.
            client.wake_at(io, io.now()); // Its timer was set for the answer.
        }
        // One that is paused also because its reader is slow goes on when that is over.
        if !client.open().is_some_and(|open| open.paused) {
            io.resume(conn);
            self.go_on_with_copy(io, conn);
        }
    }

    /// From now on these are asked and told. What others were asked, and have not answered, these are.
    pub(crate) fn replace_hooks(&mut self, io: &mut Io<Mail>, hooks: &Arc<Hooks>) {
        self.heed_hooks(io); // What those before have left to be done.
        self.house.desk.hooked = Hooked::new(hooks);
        for conn in self.clients.all() {
            if self.guest(conn).is_none() {
                self.introduce(io, conn);
            }
            let is_open = self.clients.find(conn).is_some_and(|client| client.open().is_some());
            let Some(guest) = self.guest(conn) else { continue };
            guest.client.meet(hooks);
            if is_open && let Err(denial) = hooks.stay(&mut guest.client) {
                self.house.desk.tally.ended_by_hooks += 1;
                self.house.shared.counters.refuse(denial.reason);
                self.end_denied(io, conn, &denial);
            } else if guest.wait.is_some() {
                guest.progress.start_over();
                self.go_on_judging(io, conn);
            }
        }
    }

    /// Sets timers for connections that have authenticated themselves again, and ends those that hooks want ended.
    pub(crate) fn heed_hooks(&mut self, io: &mut Io<Mail>) {
        let Some(hooked) = &mut self.house.desk.hooked else { return };
        for conn in std::mem::take(&mut hooked.renewed) {
            let expires = self.guest(conn).and_then(|guest| guest.expires);
            if let (Some(expires), Some(client)) = (expires, self.clients.find(conn)) {
                client.wake_by(io, expires);
            }
        }
        // To end one may condemn another.
        while let Some((conn, denial)) =
            self.house.desk.hooked.as_mut().and_then(|hooked| hooked.condemned.pop())
        {
            if self.clients.find(conn).is_some() {
                self.house.desk.tally.ended_by_hooks += 1;
                self.end_denied(io, conn, &denial);
            }
        }
    }

    /// Ends a client's session, with its connection. Whether there was one.
    pub(crate) fn end_from_outside(&mut self, io: &mut Io<Mail>, client_id: &str) -> bool {
        let Some(session) = self.house.desk.sessions.of_client(io.worker(), client_id) else { return false };
        let conn = match self.house.desk.sessions.find(session) {
            Some(home) if home.local().is_none() => home.conn,
            _ => return false,
        };
        if let Some(conn) = conn {
            self.end_denied(io, conn, &Denial::new(ReasonCode::AdministrativeAction, "ended from outside"));
        }
        self.house.end_session(io, session, false);
        true
    }

    /// Tells hooks of a connection that came while there were none: of how it came only its address and its listener are
    /// known.
    pub(crate) fn introduce(&mut self, io: &Io<Mail>, conn: ConnId) {
        if self.house.desk.hooked.is_none() {
            return;
        }
        let listener = io.origin(conn).map_or(usize::MAX, place);
        let gates = &self.house.shared.gates;
        let mut new = Guest::new(conn, gates.url(listener), gates.facts(listener, io.peer(conn)));
        match self.clients.find(conn).map(|client| &mut client.state) {
            Some(State::Fresh(guest)) => *guest = Some(new),
            Some(State::Open(open)) => {
                let Some(home) = self.house.desk.sessions.find(open.session) else { return };
                new.stage = Stage::Agreed(None);
                new.client.introduce(open.receiver.version(), &home.client_id, home.user_name());
                home.guest = Some(new);
            }
            None => {}
        }
    }
}
