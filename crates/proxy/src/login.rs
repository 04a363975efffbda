//! From a client's CONNECT to its upstream, where there are hooks.

use std::time::Duration;

use mqway_codec::{
    Auth, Connack, Connect, Packet, PacketType, Properties, PropertiesBuf, Property, PropertyId, ReasonCode,
    Version, decode,
};
use mqway_engine::{CloseCode, Io, Origin};
use mqway_hooks::{Answer, By, Client, Denial, Event, Login, Outcome, Step};

use crate::aliases::{ALIASES, Aliases};
use crate::answer::refusal;
use crate::core::{Context, Key, Mail, ProxyCore};
use crate::guard::Guard;
use crate::link::{ClientTerms, Link, Phase, Side};
use crate::pass::our_limit;
use crate::who::Who;
use crate::{Counters, Direction, LARGEST_PACKET, Observer};

impl<O: Observer> ProxyCore<O> {
    /// Keeps CONNECT, of which the client is known from now on, and has it judged.
    pub(crate) fn take_connect(&mut self, io: &mut Io<Mail>, key: Key, connect: &Connect<'_>, bytes: &[u8]) {
        let Some(link) = self.links.find(key) else { return };
        link.phase = Phase::Judging;
        link.to_upstream.decoder.set_version(connect.version);
        link.to_client.decoder.set_version(connect.version);
        let Some(guard) = &mut link.guard else { return };
        guard.client.greet(connect);
        guard.clean_start = connect.clean_start;
        guard.held = self.context.kept_connects.take(bytes.len());
        let fits = guard.held.is_some();
        if fits {
            guard.connect = bytes.to_vec();
        }
        let properties = &connect.properties;
        guard.explains = properties.request_problem_information() != Some(false);
        guard.to_client.packet =
            properties.maximum_packet_size().map_or(LARGEST_PACKET, |size| size.get() as usize);
        if let Err(denial) = self.context.hooks.knock(&mut guard.client) {
            return self.deny_login(io, key, &denial);
        }
        if !fits {
            let rule = "too many bytes of CONNECTs wait to be judged and sent";
            return self.deny_login(io, key, &Denial::new(ReasonCode::ServerBusy, rule));
        }
        let method = properties.authentication_method();
        match method.and_then(|method| Some((method, self.context.hooks.begin(&mut guard.client, method)?))) {
            None => self.judge_login(io, key),
            Some((_, Err(denial))) => self.deny_login(io, key, &denial),
            Some((method, Ok(dialogue))) => {
                guard.method = Some(method.into());
                guard.dialogue = Some(dialogue);
                self.step_login(io, key, properties.authentication_data());
            }
        }
    }

    /// Gives a method of enhanced authentication the client's next data.
    fn step_login(&mut self, io: &mut Io<Mail>, key: Key, data: Option<&[u8]>) {
        let Some(link) = self.links.find(key) else { return };
        let Some(guard) = &mut link.guard else { return };
        match guard.step(data) {
            None => {}
            Some(Step::Continue(data)) => {
                let auth = guard.auth(ReasonCode::ContinueAuthentication, Some(&data));
                io.send(link.client, &auth);
                // A client that did not wait may have sent the next step already.
                io.resume(link.client);
            }
            Some(Step::Done(data)) => {
                guard.promised.data = data;
                self.judge_login(io, key);
            }
            Some(Step::Deny(denial)) => self.deny_login(io, key, &denial),
        }
    }

    /// A client says something while hooks judge its CONNECT: AUTH, if it is asked to, or something that waits.
    pub(crate) fn answer_of_client(&mut self, io: &mut Io<Mail>, key: Key, bytes: &[u8]) -> usize {
        let Some(link) = self.links.find(key) else { return bytes.len() };
        let asked = link.guard.as_ref().is_some_and(|guard| guard.dialogue.is_some());
        let client = link.client;
        if !asked {
            self.wait(io, client, bytes);
            return 0;
        }
        match link.to_upstream.decoder.next(bytes) {
            Ok(None) => 0,
            Ok(Some((Packet::Auth(auth), len))) if auth.reason == ReasonCode::ContinueAuthentication => {
                let method = auth.properties.authentication_method();
                match &link.guard {
                    // [MQTT-4.12.0-5]
                    Some(guard) if guard.method.as_deref() == method => {
                        self.step_login(io, key, auth.properties.authentication_data());
                    }
                    _ => {
                        let text = "AUTH with another method than that of CONNECT";
                        self.deny_login(io, key, &Denial::new(ReasonCode::BadAuthenticationMethod, text));
                    }
                }
                len
            }
            Ok(Some((Packet::Disconnect(_), _))) => {
                self.end(io, key, CloseCode::NORMAL, "the client has left before it was let in");
                bytes.len()
            }
            Ok(Some((other, _))) => {
                let text = format!("a client may not send {} before CONNACK here", other.packet_type());
                self.fault(io, key, Side::Client, ReasonCode::ProtocolError, &text);
                bytes.len()
            }
            Err(error) => {
                self.fault(io, key, Side::Client, error.reason_code(), &error.to_string());
                bytes.len()
            }
        }
    }

    /// Has hooks judge the CONNECT that is kept. It is dialled, refused, or goes on waiting.
    fn judge_login(&mut self, io: &mut Io<Mail>, key: Key) {
        let answers = self.context.answers(io);
        let Some(link) = self.links.find(key) else { return };
        let (version, Some(guard)) = (link.version().unwrap_or(Version::V5), &mut link.guard) else { return };
        let sent = std::mem::take(&mut guard.connect);
        let Ok(Packet::Connect(connect)) = decode(version, &sent) else { return };
        let (hooks, will) = (self.context.hooks.clone(), self.context.refusals.will);
        let outcome = loop {
            let mut login = Login::new(&connect);
            let Guard { client, progress, method, .. } = &mut **guard;
            let outcome = match method {
                None => hooks.login(client, &mut login, progress, &answers, will),
                Some(_) => hooks.login_authenticated(client, &mut login, progress, &answers, will),
            };
            match outcome {
                Outcome::Wait(turn) if !guard.begin_wait(&mut self.context, io.now(), turn) => {}
                Outcome::Go => {
                    break guard.enter(&mut login, self.context.limits.packet).map_err(Outcome::Denied);
                }
                other => break Err(other),
            }
        };
        match outcome {
            Ok(changed) => {
                guard.progress.end();
                guard.expires = guard.client.lifetime.map_or(guard.expires, |time| io.now() + time);
                guard.connect = changed.unwrap_or(sent);
                let connect = guard.connect.clone();
                if let Ok(Packet::Connect(connect)) = decode(version, &connect) {
                    self.begin_dial(io, key, &connect);
                }
            }
            Err(Outcome::Denied(denial)) => self.deny_login(io, key, &denial),
            Err(_) => {
                guard.connect = sent;
                self.set_deadline(io, key, self.context.limits.hook_time);
            }
        }
    }

    /// Refuses a client because a hook says so.
    fn deny_login(&mut self, io: &mut Io<Mail>, key: Key, denial: &Denial) {
        Counters::count(&self.context.counters.connects_denied);
        self.context.counters.refuse(denial.reason);
        let Some(link) = self.links.find(key) else { return };
        let version = link.version().unwrap_or(Version::V5);
        let Some(guard) = &mut link.guard else { return };
        log::info!("{}: refused: {denial}", guard.client);
        self.context.hooks.refused(&mut guard.client, denial.reason, &denial.rule);
        let reason = connack_reason(version, denial.reason);
        let terms = ClientTerms { version, packet: guard.to_client.packet };
        let text = denial.say.as_deref().unwrap_or(reason.name());
        io.send(link.client, &refusal(terms, reason, text));
        self.end(io, key, CloseCode::POLICY, &format!("refused: {denial}"));
    }

    /// A hook has answered.
    pub(crate) fn answered(&mut self, io: &mut Io<Mail>, key: Key, turn: u32, answer: Answer) {
        let Some(link) = self.links.find(key) else { return };
        let Some(guard) = &mut link.guard else { return };
        if guard.progress.answered(turn, answer) {
            self.go_on(io, key);
        }
    }

    /// What a link has waited for has come: what waited is judged again.
    fn go_on(&mut self, io: &mut Io<Mail>, key: Key) {
        let Some(link) = self.links.find(key) else { return };
        let Some(guard) = &mut link.guard else { return };
        guard.end_wait(&mut self.context);
        let client = link.client;
        match link.phase {
            Phase::Judging => self.judge_login(io, key),
            // A slow upstream resumes it when it has caught up.
            Phase::Open if !guard.blocked && !guard.waits() => io.resume(client),
            _ => {}
        }
    }

    /// There are other hooks now: what waits for an answer of those before is asked anew.
    pub(crate) fn ask_anew(&mut self, io: &mut Io<Mail>, key: Key) {
        let Some(link) = self.links.find(key) else { return };
        match &mut link.guard {
            None => link.introduce(io, &self.context, key),
            Some(guard) => {
                guard.client.meet(&self.context.hooks);
                guard.progress.start_over();
                if guard.waits_until.is_some() {
                    self.go_on(io, key);
                }
            }
        }
        self.judge_stay(io, key);
    }

    /// Has hooks that are new judge whether a client may stay.
    pub(crate) fn judge_stay(&mut self, io: &mut Io<Mail>, key: Key) {
        let Some(link) = self.links.find(key) else { return };
        let Some(guard) = link.guard.as_mut().filter(|guard| guard.connected) else { return };
        if let Err(denial) = self.context.hooks.stay(&mut guard.client) {
            self.context.counters.refuse(denial.reason);
            let carried = denial.reason.is_allowed_in(PacketType::Disconnect);
            let reason = if carried { denial.reason } else { ReasonCode::NotAuthorized };
            self.deny(io, key, reason, &denial.to_string());
        }
    }

    /// The moment of [`Guard::deadline`] has come, or a client that is judged has taken too long.
    pub(crate) fn time_is_up(&mut self, io: &mut Io<Mail>, key: Key) {
        let (now, Some(link)) = (io.now(), self.links.find(key)) else { return };
        let Some(guard) = &mut link.guard else { return };
        if guard.waits_until.is_some_and(|until| until <= now) {
            Counters::count(&self.context.counters.hook_timeouts);
            log::warn!("{}: a hook gave no answer in time", guard.client);
            let turn = guard.progress.awaits().unwrap_or_default();
            guard.progress.answered(turn, Answer::none());
            self.go_on(io, key);
        } else if guard.rests_until.is_some_and(|until| until <= now) {
            guard.rests_until = None;
            self.go_on(io, key);
        } else if matches!(link.phase, Phase::Judging) && guard.waits_until.is_none() {
            Counters::count(&self.context.counters.connect_timeouts);
            log::info!("{}: closed: no AUTH in time", guard.client);
            self.end(io, key, CloseCode::POLICY, "no AUTH in time");
        } else if guard.unasked.as_ref().is_some_and(|unasked| unasked.until <= now) {
            let text = "no SUBACK in time for the subscriptions that its clients are to have";
            return self.fault(io, key, Side::Upstream, ReasonCode::UnspecifiedError, text);
        } else if guard.expires <= now {
            let reason = ReasonCode::MaximumConnectTime;
            self.context.counters.refuse(reason);
            return self.deny(io, key, reason, "its authentication has expired");
        }
        if let Some(link) = self.links.find(key)
            && let (Phase::Open, Some(guard)) = (&link.phase, &link.guard)
        {
            link.deadline = guard.deadline();
            link.arm(io, key);
        }
    }
}

impl Link {
    /// Sends the CONNECT that hooks have left, where there are hooks.
    pub(crate) fn send_connect<O: Observer>(&mut self, io: &mut Io<Mail>, context: &mut Context<O>) {
        let (Some(guard), Some(upstream)) = (&mut self.guard, self.upstream) else { return };
        let connect = std::mem::take(&mut guard.connect);
        guard.held = None;
        let Some(version) = self.version() else { return };
        if let Ok(packet) = decode(version, &connect) {
            self.observe(io, Direction::ToUpstream, &packet, connect.len(), 0, context);
        }
        io.send(upstream, &connect);
    }

    /// Tells hooks of a client that came while there were none: of how it came only its address and its listener are
    /// known. One that is on its way to its upstream is introduced when it has arrived there.
    pub(crate) fn introduce<O>(&mut self, io: &Io<Mail>, context: &Context<O>, key: Key) {
        if context.hooks.is_empty() || !matches!(self.phase, Phase::Fresh | Phase::Open) {
            return;
        }
        let listener = match io.origin(self.client) {
            Some(Origin::Accepted(listener)) => listener.0,
            _ => usize::MAX,
        };
        let facts = context.gates.facts(listener, io.peer(self.client));
        let mut guard = Guard::new(Client::new(key.0, context.gates.url(listener), facts));
        if let (Phase::Open, Some(version), Some(who)) = (&self.phase, self.version(), self.who.take()) {
            let who = who.unpack();
            guard.client.introduce(version, &who.client_id, who.user_name.as_deref());
            guard.client.meet(&context.hooks);
            guard.take_over(&who, context.limits.packet);
        }
        self.guard = Some(Box::new(guard));
    }

    /// Whether nothing of the client is looked at for now.
    pub(crate) fn waits(&self) -> bool {
        self.guard.as_ref().is_some_and(|guard| guard.waits())
    }

    /// Notes who ends the connection, if nobody is known to have done so before.
    pub(crate) fn ends(&mut self, by: By, reason: ReasonCode) {
        if let Some(guard) = &mut self.guard {
            guard.end(by, reason);
        }
    }
}

impl Guard {
    /// Gives the method its next data. `None` if there is no exchange.
    pub(crate) fn step(&mut self, data: Option<&[u8]>) -> Option<Step> {
        let mut dialogue = self.dialogue.take()?;
        let step = dialogue.take(&mut self.client, data);
        if let Step::Continue(_) = step {
            self.dialogue = Some(dialogue);
        }
        Some(step)
    }

    /// An AUTH of ours. [MQTT-4.12.0-5]
    pub(crate) fn auth(&self, reason: ReasonCode, data: Option<&[u8]>) -> Vec<u8> {
        let mut properties = PropertiesBuf::new();
        let named =
            properties.push(Property::AuthenticationMethod(self.method.as_deref().unwrap_or_default()));
        let said = data.map_or(Ok(()), |data| properties.push(Property::AuthenticationData(data)));
        let mut bytes = Vec::new();
        let auth = Packet::Auth(Auth::new(reason, properties.as_properties()));
        if let Err(error) = named.and(said).and_then(|()| auth.encode(Version::V5, &mut bytes)) {
            log::error!("a method of authentication says what AUTH cannot hold: {error}");
        }
        bytes
    }

    /// Goes on with what a client and its upstream agreed on before there were hooks.
    fn take_over(&mut self, who: &Who, limit: usize) {
        self.connected = true;
        self.explains = who.explains;
        self.to_client.packet = who.client.packet;
        self.to_client.aliases = Aliases::midway(who.client.aliases);
        self.to_upstream.packet = who.upstream.packet.min(limit);
        self.to_upstream.aliases = Aliases::midway(who.upstream.aliases);
    }

    /// The client is let in. The CONNECT for the upstream, if it is not as it came.
    ///
    /// # Errors
    /// If hooks have made of it what is no CONNECT.
    fn enter(&mut self, login: &mut Login<'_>, limit: usize) -> Result<Option<Vec<u8>>, Denial> {
        let sent = *login.sent();
        if login.user_name.is_none() && self.method.is_some() {
            // Who the method has found it to be, the upstream is to know too.
            login.user_name = self.client.user_name.as_deref().map(|name| name.to_owned().into());
        }
        if sent.client_id.is_empty() && !login.client_id.is_empty() {
            self.promised.client_id = Some((&*login.client_id).into());
        }
        if login.keep_alive != sent.keep_alive {
            self.promised.keep_alive = Some(login.keep_alive);
        }
        let wanted = login.connect();
        let properties = (sent.version == Version::V5).then(|| self.connect_properties(&sent, limit));
        let mut connect = wanted;
        if let Some(properties) = &properties {
            connect.properties = properties.as_properties();
        }
        if connect == sent {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        match Packet::Connect(connect).encode(sent.version, &mut bytes) {
            Ok(()) => Ok(Some(bytes)),
            Err(error) => {
                let rule = format!("a hook has made a CONNECT that cannot be: {error}");
                Err(Denial::new(ReasonCode::ImplementationSpecificError, rule))
            }
        }
    }

    /// What a CONNECT of 5.0 tells the upstream. Aliases and, where hooks play the server of it, the method end here.
    fn connect_properties(&mut self, connect: &Connect<'_>, limit: usize) -> PropertiesBuf {
        let theirs = &connect.properties;
        // A message that fits the client with an alias may not fit it without.
        let aliases = match theirs.maximum_packet_size() {
            Some(_) => 0,
            None => theirs.topic_alias_maximum().unwrap_or(0).min(ALIASES),
        };
        self.to_client.aliases.most = aliases;
        let mut ours = Changed::of(theirs);
        ours.set(
            PropertyId::TopicAliasMaximum,
            (aliases > 0).then_some(Property::TopicAliasMaximum(aliases)),
        );
        if let Some(limit) = our_limit(theirs, limit) {
            ours.set(PropertyId::MaximumPacketSize, Some(Property::MaximumPacketSize(limit)));
        }
        if self.method.is_some() {
            ours.set(PropertyId::AuthenticationMethod, None);
            ours.set(PropertyId::AuthenticationData, None);
        }
        ours.0
    }

    /// What an accepting CONNACK of 5.0 tells the client.
    pub(crate) fn connack_properties(&mut self, connack: &Connack<'_>, limit: usize) -> PropertiesBuf {
        let theirs = &connack.properties;
        let aliases = match theirs.maximum_packet_size() {
            Some(_) => 0,
            None => theirs.topic_alias_maximum().unwrap_or(0).min(ALIASES),
        };
        self.to_upstream.aliases.most = aliases;
        let size = theirs.maximum_packet_size().map_or(LARGEST_PACKET, |size| size.get() as usize);
        self.to_upstream.packet = size.min(limit);
        let mut ours = Changed::of(theirs);
        ours.set(
            PropertyId::TopicAliasMaximum,
            (aliases > 0).then_some(Property::TopicAliasMaximum(aliases)),
        );
        if let Some(limit) = our_limit(theirs, limit) {
            ours.set(PropertyId::MaximumPacketSize, Some(Property::MaximumPacketSize(limit)));
        }
        let promised = std::mem::take(&mut self.promised);
        if let (Some(id), false) =
            (&promised.client_id, theirs.contains(PropertyId::AssignedClientIdentifier))
        {
            ours.set(PropertyId::AssignedClientIdentifier, Some(Property::AssignedClientIdentifier(id)));
        }
        if let (Some(time), false) = (promised.keep_alive, theirs.contains(PropertyId::ServerKeepAlive)) {
            ours.set(PropertyId::ServerKeepAlive, Some(Property::ServerKeepAlive(time))); // [MQTT-3.2.2-21]
        }
        if let Some(method) = &self.method {
            ours.set(PropertyId::AuthenticationMethod, Some(Property::AuthenticationMethod(method)));
            let data = promised.data.as_deref().map(Property::AuthenticationData);
            ours.set(PropertyId::AuthenticationData, data);
        }
        ours.0
    }

    /// A hook will answer in this turn. False if it is not waited for, and what is judged is to be shown at once.
    pub(crate) fn begin_wait<O>(&mut self, context: &mut Context<O>, now: Duration, turn: u32) -> bool {
        if self.waits_until.is_some() {
            return true;
        }
        if context.waiting >= context.limits.waiting {
            Counters::count(&context.counters.hook_overloads);
            self.progress.answered(turn, Answer::none());
            return false;
        }
        context.waiting += 1;
        self.waits_until = Some(now + context.limits.hook_time);
        true
    }

    fn end_wait<O>(&mut self, context: &mut Context<O>) {
        if self.waits_until.take().is_some() {
            context.waiting = context.waiting.saturating_sub(1);
        }
    }

    /// The link is over.
    pub(crate) fn tell_end<O>(&mut self, context: &mut Context<O>, why: &str) {
        self.end_wait(context);
        if !self.connected {
            return;
        }
        let (by, reason) = self.ended.unwrap_or((By::Server, ReasonCode::UnspecifiedError));
        let client_id = self.client.client_id.clone();
        let event = Event::Disconnected { by, reason, why };
        // Whoever panics at this cannot end the connection again.
        let _ = context.hooks.observe(&client_id, Some(&mut self.client), &event);
    }
}

/// Properties on their way through, some of which are others behind the proxy.
struct Changed(PropertiesBuf);

impl Changed {
    fn of(theirs: &Properties<'_>) -> Changed {
        Changed(PropertiesBuf::from(*theirs))
    }

    /// Puts a property in the place of the one of its kind, or takes that out. Nothing moves that stays as it is.
    fn set(&mut self, id: PropertyId, property: Option<Property<'_>>) {
        let before = self.0.as_properties();
        if before.iter().find(|known| known.id() == id) == property {
            return;
        }
        let mut after = PropertiesBuf::new();
        let others = before.iter().filter(|known| known.id() != id);
        let added =
            after.extend(others).and_then(|()| property.map_or(Ok(()), |property| after.push(property)));
        match added {
            Ok(()) => self.0 = after,
            Err(error) => log::error!("a property that hooks ask for cannot be: {error}"),
        }
    }
}

/// What CONNACK says of a refusal.
fn connack_reason(version: Version, reason: ReasonCode) -> ReasonCode {
    let carried = reason.is_error() && reason.is_allowed_in(PacketType::Connack);
    match (version, reason) {
        (Version::V5, reason) if carried => reason,
        (Version::V5, _) => ReasonCode::NotAuthorized,
        // 3.1.1 §3.2.2.3: return codes 2 and 3; else 5. Return code 4 is for what is malformed.
        (
            _,
            ReasonCode::ClientIdentifierNotValid
            | ReasonCode::ServerUnavailable
            | ReasonCode::ServerBusy
            | ReasonCode::ConnectionRateExceeded
            | ReasonCode::UnspecifiedError
            | ReasonCode::ImplementationSpecificError,
        ) => reason,
        _ => ReasonCode::NotAuthorized,
    }
}
