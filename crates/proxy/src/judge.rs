//! The data path where there are hooks: what passes, what changes, what is answered here.

mod messages;
mod requests;
pub(crate) mod unasked;

use std::time::Duration;

use mqway_codec::{
    Ack, Auth, Connack, Packet, PacketId, PacketType, PropertiesBuf, Property, ReasonCode, Version, decode,
};
use mqway_engine::{ConnId, Io};
use mqway_hooks::{By, Denial, Event, Phase as HookPhase, Step as Exchanged};

use crate::core::{Context, Key, Mail};
use crate::flow::{Answer, Fate, Story};
use crate::guard::Guard;
use crate::link::{Link, Phase};
use crate::pass::{IN_PIECES_FROM, Run, Step, Then};
use crate::{Counters, Direction, Observer};

/// What becomes of a packet.
enum Verdict {
    /// It passes, as the bytes that came.
    Pass,
    /// What was put together in the scratch buffer passes in its place.
    Replace,
    /// It does not pass.
    Take,
    /// It waits, with all behind it.
    Wait,
}

/// A link, of which a run of bytes is looked at.
struct Passage<'p, O> {
    link: &'p mut Link,
    guard: &'p mut Guard,
    io: &'p mut Io<Mail>,
    context: &'p mut Context<O>,
    key: Key,
    direction: Direction,
    /// Acknowledgements of ours that go right behind the present packet.
    behind: Vec<Answer>,
}

impl Link {
    /// Passes on what hooks let pass of the packets in `bytes`. Returns how many bytes are done with, and what follows
    /// from them.
    pub(crate) fn pass_guarded<O: Observer>(
        &mut self,
        io: &mut Io<Mail>,
        key: Key,
        direction: Direction,
        bytes: &[u8],
        context: &mut Context<O>,
    ) -> (usize, Then) {
        let to = match direction {
            Direction::ToUpstream => self.upstream,
            Direction::ToClient => Some(self.client),
        };
        let (Some(to), Some(mut guard)) = (to, self.guard.take()) else { return (bytes.len(), Then::Go) };
        let piece = self.pass_piece(io, direction, to, bytes);
        if direction == Direction::ToUpstream && guard.rests_until.is_some() {
            io.pause(self.client); // It was resumed for another reason.
            self.guard = Some(guard);
            return (piece, Then::Go);
        }
        let mut run = Run::behind(io, to, piece);
        let mut passage =
            Passage { link: self, guard: &mut guard, io, context, key, direction, behind: Vec::new() };
        passage.send_held(to);
        let then = loop {
            match passage.pass_one(bytes, &mut run) {
                Ok(true) => {}
                Ok(false) => break Then::Go,
                Err(then) => break then,
            }
        };
        run.flush(io, bytes);
        self.guard = Some(guard);
        (run.at, then)
    }
}

impl<O: Observer> Passage<'_, O> {
    /// Passes on the packet at `run.at`. `Ok(false)` if there is none yet.
    fn pass_one(&mut self, bytes: &[u8], run: &mut Run) -> Result<bool, Then> {
        let rest = &bytes[run.at..];
        let connecting = self.link.awaits_connack();
        if self.direction == Direction::ToUpstream && self.guard.unasked.is_some() {
            self.io.pause(self.link.client); // Until its subscriptions are made.
            return Ok(false);
        }
        if connecting && let Some(reason) = self.link.refused_as_3_1_1(self.direction, rest) {
            run.pass(self.io, bytes, 4);
            return Err(Then::Refused(reason));
        }
        if let Some(len) = self.familiar(rest, connecting) {
            self.context.tally.count(self.direction, PacketType::Publish);
            run.pass(self.io, bytes, len);
            return Ok(true);
        }
        let (packet, len) = match self.link.stream(self.direction).decoder.next(rest) {
            Ok(Some(found)) => found,
            Ok(None) if rest.len() >= IN_PIECES_FROM && !connecting => return self.large(bytes, run),
            Ok(None) => return Ok(false),
            Err(error) => return Err(Then::Fault(error)),
        };
        let then = match self.link.step(self.direction, &packet) {
            Step::Wait => return Ok(false),
            Step::Refuse => return Err(Then::Misplaced(packet.packet_type())),
            Step::Pass => Then::Go,
            Step::PassAnd(then) => then,
        };
        match self.judge(&packet, &then)? {
            Verdict::Wait => return Ok(false),
            Verdict::Take => run.skip(self.io, bytes, len),
            Verdict::Pass => {
                self.link.observe(self.io, self.direction, &packet, len, 0, self.context);
                if let (Packet::Publish(publish), false) = (&packet, O::WATCHES) {
                    self.link.stream(self.direction).familiar.remember(rest, publish.topic);
                }
                run.pass(self.io, bytes, len);
            }
            Verdict::Replace => {
                let changed = std::mem::take(&mut self.context.scratch);
                if let Ok(packet) = decode(self.version(), &changed) {
                    self.link.observe(self.io, self.direction, &packet, changed.len(), 0, self.context);
                }
                run.replace(self.io, bytes, len, &changed);
                self.context.scratch = changed;
            }
        }
        if !self.behind.is_empty() {
            run.flush(self.io, bytes);
            for answer in std::mem::take(&mut self.behind) {
                let packet = encode_answer(answer, self.version(), None);
                self.io.send(run.to, &packet);
            }
        }
        match then {
            Then::Go => Ok(!self.begins_rest()),
            then => Err(then),
        }
    }

    /// Whether hooks want the client slowed down, with whose packet they are done: then nothing more of it is read for a
    /// while.
    fn begins_rest(&mut self) -> bool {
        let Some(time) = self.guard.client.take_rest() else { return false };
        Counters::count(&self.context.counters.hook_delays);
        self.guard.rests_until = Some(self.io.now().saturating_add(time));
        self.io.pause(self.link.client);
        self.set_deadline();
        true
    }

    fn version(&self) -> Version {
        self.link.version().unwrap_or(Version::V5)
    }

    /// The length of a PUBLISH like the one before it, where nobody wants to know of it.
    fn familiar(&mut self, rest: &[u8], connecting: bool) -> Option<usize> {
        if O::WATCHES || connecting || self.looks_at_messages() {
            return None;
        }
        let (version, limit) = (self.version(), self.context.limits.packet);
        self.link.stream(self.direction).familiar.len_of(rest, version, limit)
    }

    /// Whether hooks may refuse or change messages of this direction.
    fn judges_messages(&self) -> bool {
        self.context.hooks.wants(match self.direction {
            Direction::ToUpstream => HookPhase::Publish,
            Direction::ToClient => HookPhase::Deliver,
        })
    }

    /// Whether observers want to know of messages of this direction.
    fn observes_messages(&self) -> bool {
        let hooks = &self.context.hooks;
        match self.direction {
            Direction::ToUpstream => hooks.wants(HookPhase::Published),
            Direction::ToClient => hooks.wants(HookPhase::Delivered) || hooks.wants(HookPhase::Acknowledged),
        }
    }

    /// Whether messages of this direction are more than bytes that pass.
    fn looks_at_messages(&mut self) -> bool {
        self.judges_messages() || self.observes_messages() || !self.guard.way(self.direction).flow.is_idle()
    }

    /// A packet that is too large to be waited for lightly. One that hooks judge must be whole, and so must one with a
    /// topic alias, which does not pass; others are passed on as they come.
    fn large(&mut self, bytes: &[u8], run: &mut Run) -> Result<bool, Then> {
        let rest = &bytes[run.at..];
        let decoder = &self.link.stream(self.direction).decoder;
        let Some(header) = decoder.header(rest).map_err(Then::Fault)? else { return Ok(false) };
        let fits = header.packet_len() <= self.io.unread_limit();
        let publish = decoder.publish_start(&header, rest).map_err(Then::Fault)?;
        let aliased = publish.is_some_and(|publish| publish.properties.topic_alias().is_some());
        let judged = header.packet_type == PacketType::Publish && (self.judges_messages() || aliased);
        let observed = header.packet_type == PacketType::Publish && self.observes_messages();
        match (fits, judged, observed) {
            (true, true, _) | (true, _, true) => Ok(false),
            (false, true, _) => Err(Then::TooLarge(header.packet_type)),
            (fits, false, observed) => {
                if observed && !fits && publish.is_some() {
                    Counters::count(&self.context.counters.untold);
                }
                self.link.begin_pieces(self.io, self.direction, bytes, run, self.context)
            }
        }
    }

    fn judge(&mut self, packet: &Packet<'_>, then: &Then) -> Result<Verdict, Then> {
        match packet {
            Packet::Publish(publish) => self.message(publish),
            Packet::Puback(ack) | Packet::Pubrec(ack) | Packet::Pubcomp(ack) => {
                self.acknowledged(packet.packet_type(), ack)
            }
            Packet::Pubrel(ack) => self.released(ack.packet_id),
            Packet::Subscribe(subscribe) => self.subscribe(subscribe),
            Packet::Unsubscribe(unsubscribe) => self.unsubscribe(unsubscribe),
            Packet::Suback(suback) => self.suback(suback),
            Packet::Unsuback(unsuback) => self.unsuback(unsuback),
            Packet::Connack(connack) if matches!(then, Then::Accepted) => self.accepted(connack),
            Packet::Disconnect(disconnect) => {
                let by = match self.direction {
                    Direction::ToUpstream => By::Client,
                    Direction::ToClient => By::Server,
                };
                self.guard.end(by, disconnect.reason);
                Ok(Verdict::Pass)
            }
            Packet::Auth(auth) if self.guard.method.is_some() => match self.direction {
                Direction::ToUpstream => self.re_authenticate(auth),
                Direction::ToClient => Err(Then::Misplaced(PacketType::Auth)),
            },
            _ => Ok(Verdict::Pass),
        }
    }

    /// The upstream has accepted the client.
    fn accepted(&mut self, connack: &Connack<'_>) -> Result<Verdict, Then> {
        let Guard { client, .. } = &mut *self.guard;
        if let Some(assigned) = connack.properties.assigned_client_identifier() {
            client.client_id = assigned.into();
        }
        self.guard.connected = true;
        self.tell(&Event::Connected { session_present: connack.session_present })?;
        // 3.1 has no word for it.
        match (self.version(), connack.session_present) {
            (Version::V3_1, _) => {}
            (_, true) => self.tell(&Event::SessionResumed)?,
            (_, false) => self.tell(&Event::SessionCreated)?,
        }
        self.subscribe_unasked(connack);
        if self.version() != Version::V5 {
            self.guard.to_upstream.packet = self.context.limits.packet;
            return Ok(Verdict::Pass);
        }
        let properties = self.guard.connack_properties(connack, self.context.limits.packet);
        let changed = Connack { properties: properties.as_properties(), ..*connack };
        match changed == *connack {
            true => Ok(Verdict::Pass),
            false => self.replace(&Packet::Connack(changed)),
        }
    }

    /// The client authenticates once more, by the method that hooks play the server of. (5.0 §4.12.1)
    fn re_authenticate(&mut self, auth: &Auth<'_>) -> Result<Verdict, Then> {
        let method = auth.properties.authentication_method();
        if method != self.guard.method.as_deref() {
            // [MQTT-4.12.1-1]
            return Err(Then::Wrong(ReasonCode::ProtocolError, "AUTH with another method than CONNECT"));
        }
        if auth.reason == ReasonCode::ReAuthenticate {
            let begun = self.context.hooks.begin(&mut self.guard.client, method.unwrap_or_default());
            self.guard.dialogue = match begun {
                Some(Ok(dialogue)) => Some(dialogue),
                Some(Err(denial)) => return Err(self.ended_by(&denial)),
                None => {
                    let text = "its method of authentication is not known any more".to_owned();
                    return Err(Then::Denied(ReasonCode::BadAuthenticationMethod, text));
                }
            };
        }
        let answer = match self.guard.step(auth.properties.authentication_data()) {
            None => return Err(Then::Wrong(ReasonCode::ProtocolError, "AUTH without an exchange under way")),
            Some(Exchanged::Continue(data)) => {
                self.guard.auth(ReasonCode::ContinueAuthentication, Some(&data))
            }
            Some(Exchanged::Done(data)) => {
                let now = self.io.now();
                self.guard.expires = self.guard.client.lifetime.map_or(Duration::MAX, |time| now + time);
                self.set_deadline();
                self.guard.auth(ReasonCode::Success, data.as_deref())
            }
            Some(Exchanged::Deny(denial)) => {
                self.context.counters.refuse(denial.reason);
                return Err(self.ended_by(&denial)); // [MQTT-4.12.1-2]
            }
        };
        self.send_back(answer)?;
        Ok(Verdict::Take)
    }

    /// An acknowledgement by the receiver of messages of the other direction.
    fn acknowledged(&mut self, packet_type: PacketType, ack: &Ack<'_>) -> Result<Verdict, Then> {
        let messages = self.direction.opposite();
        let flow = &mut self.guard.way(messages).flow;
        if flow.is_idle() {
            return Ok(Verdict::Pass);
        }
        let concluded = flow.acknowledged(packet_type, ack.packet_id, ack.reason);
        let verdict = match concluded.fate {
            Fate::Pass => Verdict::Pass,
            Fate::Swallow => Verdict::Take,
            Fate::Instead(answer) => {
                self.behind = flow.turns_behind(answer.packet_type, answer.packet_id);
                self.context.scratch = encode_answer(answer, self.version(), None);
                Verdict::Replace
            }
        };
        // Others may have waited also for one that goes no further: for a message that was repeated after its end, and
        // whose identifier another one has now.
        let flow = &mut self.guard.way(messages).flow;
        self.behind.extend(flow.turns_behind(packet_type, ack.packet_id));
        match concluded.story {
            None => {}
            Some((Story::Acknowledged(topic, qos), _)) => {
                self.tell(&Event::Acknowledged { topic: &topic, qos })?;
            }
            Some((Story::Published(message), reason)) if !reason.is_error() => {
                self.tell(&Event::Published(&message))?;
            }
            Some((Story::Published(message), reason)) => {
                self.tell(&Event::Dropped { topic: message.topic(), why: reason.name() })?;
            }
        }
        Ok(verdict)
    }

    /// PUBREL by the sender of messages of this direction.
    fn released(&mut self, packet_id: PacketId) -> Result<Verdict, Then> {
        match self.guard.way(self.direction).flow.released(packet_id) {
            None => Ok(Verdict::Pass),
            Some(answer) => self.answer(answer, None).map(|()| Verdict::Take),
        }
    }

    /// Acknowledges a packet of the sender in the receiver's place.
    fn answer(&mut self, answer: Answer, say: Option<&str>) -> Result<(), Then> {
        let say = say.filter(|_| self.guard.explains && self.direction == Direction::ToUpstream);
        let mut packet = encode_answer(answer, self.version(), say);
        if say.is_some() && packet.len() > self.guard.to_client.packet {
            packet = encode_answer(answer, self.version(), None); // [MQTT-3.4.2-2], [MQTT-3.5.2-2]
        }
        self.send_back(packet)
    }

    /// Sends a packet of ours to where this run comes from, behind one that is under way there in pieces.
    fn send_back(&mut self, packet: Vec<u8>) -> Result<(), Then> {
        let back = self.direction.opposite();
        let (conn, max) = match back {
            Direction::ToUpstream => (self.link.upstream, usize::MAX),
            Direction::ToClient => (Some(self.link.client), self.guard.to_client.packet),
        };
        let Some(conn) = conn else { return Ok(()) };
        if packet.len() > max {
            return Err(too_large_for_client());
        }
        if self.link.stream(back).passing == 0 {
            self.io.send(conn, &packet);
            return Ok(());
        }
        match self.guard.way(back).hold(packet) {
            true => Ok(()),
            false => {
                Err(Then::Wrong(ReasonCode::QuotaExceeded, "too many answers wait behind a large packet"))
            }
        }
    }

    /// Sends what waited for the end of a packet in pieces.
    fn send_held(&mut self, to: ConnId) {
        if self.link.stream(self.direction).passing > 0 {
            return;
        }
        for packet in std::mem::take(&mut self.guard.way(self.direction).held) {
            self.io.send(to, &packet);
        }
    }

    /// Puts a packet together that is to pass. Messages have a check of their own.
    fn replace(&mut self, packet: &Packet<'_>) -> Result<Verdict, Then> {
        let version = self.version();
        self.context.scratch.clear();
        if let Err(error) = packet.encode(version, &mut self.context.scratch) {
            log::error!("{}: {} cannot be put together: {error}", self.guard.client, packet.packet_type());
            return Err(Then::Wrong(ReasonCode::ImplementationSpecificError, "a packet that cannot be"));
        }
        let to_client = self.direction == Direction::ToClient;
        if to_client && self.context.scratch.len() > self.guard.to_client.packet {
            return Err(too_large_for_client()); // [MQTT-3.1.2-24]
        }
        Ok(Verdict::Replace)
    }

    /// A hook will answer: nothing more is read of the client until then.
    fn wait(&mut self, turn: u32) -> Verdict {
        let now = self.io.now();
        if self.guard.begin_wait(self.context, now, turn) {
            self.io.pause(self.link.client);
            self.set_deadline();
        } else {
            self.io.resume(self.link.client);
        }
        Verdict::Wait
    }

    fn set_deadline(&mut self) {
        self.link.deadline = match self.link.phase {
            Phase::Open => self.guard.deadline(),
            _ => self.link.deadline,
        };
        self.link.arm(self.io, self.key);
    }

    /// Tells observers.
    fn tell(&mut self, event: &Event<'_>) -> Result<(), Then> {
        if !self.context.hooks.wants(event.phase()) {
            return Ok(());
        }
        let client_id = self.guard.client.client_id.clone();
        let told = self.context.hooks.observe(&client_id, Some(&mut self.guard.client), event);
        told.map_err(|denial| self.ended_by(&denial))
    }

    /// A hook ends the connection.
    fn ended_by(&self, denial: &Denial) -> Then {
        let carried = denial.reason.is_error() && denial.reason.is_allowed_in(PacketType::Disconnect);
        let reason = if carried { denial.reason } else { ReasonCode::NotAuthorized };
        Then::Denied(reason, denial.to_string())
    }
}

/// An answer that the client does not take, so that it could only wait for it in vain.
fn too_large_for_client() -> Then {
    Then::Wrong(ReasonCode::PacketTooLarge, "what is to be answered is larger than the client takes")
}

/// An acknowledgement of ours.
fn encode_answer(answer: Answer, version: Version, say: Option<&str>) -> Vec<u8> {
    let Answer { packet_type, packet_id, reason } = answer;
    // Before 5.0 there is no way to say no.
    let reason = if version == Version::V5 { reason } else { ReasonCode::Success };
    let mut ack = Ack::with_reason(packet_id, reason);
    let mut properties = PropertiesBuf::new();
    if let (Version::V5, Some(say)) = (version, say)
        && properties.push(Property::ReasonString(say)).is_ok()
    {
        ack.properties = properties.as_properties();
    }
    let packet = match packet_type {
        PacketType::Puback => Packet::Puback(ack),
        PacketType::Pubrec => Packet::Pubrec(ack),
        _ => Packet::Pubcomp(ack),
    };
    let mut bytes = Vec::new();
    if let Err(error) = packet.encode(version, &mut bytes) {
        log::error!("{packet_type} cannot be put together: {error}");
    }
    bytes
}
