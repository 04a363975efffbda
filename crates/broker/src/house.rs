//! One worker's sessions and deliveries: everything but the connections.

use std::sync::Arc;
use std::time::Duration;

use mqway_codec::{Decoder, PacketId, PropertiesBuf, QoS, ReasonCode, TopicName, Version};
use mqway_engine::{ConnId, Io};
use mqway_hooks::{self as hooks, Denial, Phase};
use mqway_routing::{Hint, Route, RouteCache};
use mqway_session::server::{Acknowledged, Event, Fault, Incoming};

use crate::clients::{Author, Open, Publishing, Timer};
use crate::counters::Tally;
use crate::deliver::{Desk, release, release_row};
use crate::delivery::{Delivery, Spare};
use crate::guest::{Hooked, Testator};
use crate::mail::Mail;
use crate::message::{Draft, Message};
use crate::offer::tell_dropped;
use crate::payload::Payload;
use crate::retained::{Publisher, Sweep, retain};
use crate::row::{End, Row};
use crate::sessions::Home;
use crate::shared::{Agreed, SessionRef, Shared};

/// One worker's sessions and deliveries.
pub(crate) struct House {
    pub shared: Arc<Shared>,
    pub desk: Desk,
    pub cache: RouteCache<SessionRef, Agreed>,
    /// The properties of a message, where some are left out.
    kept: PropertiesBuf,
    /// Of the row that is being served.
    ends: Vec<End>,
    /// The topic of a message that hooks publish to another one than its client has said.
    pub renamed: String,
    /// Answers to the packets that are being served: more than one only where they need not be sent apart.
    pub answer: Vec<u8>,
    pub sweep: Sweep,
}

/// What the packets of a client mean for its connection.
#[derive(Debug)]
pub(crate) enum Then {
    /// Nothing.
    Go,
    /// The client leaves, for this reason.
    Leave(ReasonCode),
    /// It ends.
    End(Fault),
    /// Hooks end it.
    Deny(Denial),
    /// A hook will answer later: the packet that is next is to be shown again then, and nothing before.
    Wait,
    /// Hooks slow the client down: nothing more is to be shown for so long.
    Rest(Duration),
}

/// Routes that a worker remembers, and the bytes that they may take.
const ROUTES: usize = 16 * 1024;
const ROUTE_BYTES: usize = 64 * 1024 * 1024;

/// Bytes of answers that are gathered before they are sent.
const MOST_ANSWERS: usize = 4 * 1024;

/// Topics that begin so are the broker's own.
pub(crate) const SYS: &str = "$SYS/";

impl House {
    pub fn new(worker: usize, shared: Arc<Shared>, enough: usize) -> House {
        House {
            desk: Desk::new(worker, shared.clone(), enough),
            shared,
            cache: RouteCache::new(ROUTES, ROUTE_BYTES),
            kept: PropertiesBuf::new(),
            ends: Vec::new(),
            renamed: String::new(),
            answer: Vec::new(),
            sweep: Sweep::default(),
        }
    }

    /// Serves the packets in `bytes`. Returns how many bytes are done with, and what follows.
    pub fn serve(&mut self, io: &mut Io<Mail>, conn: ConnId, open: &mut Open, bytes: &[u8]) -> (usize, Then) {
        open.receiver.heard(io.now());
        let (version, session) = (open.receiver.version(), open.session);
        let apart = io.frames_packets(conn);
        let (mut used, mut room) = (0, false);
        let then = loop {
            let (rest, before) = (&bytes[used..], self.answer.len());
            if let row @ 1.. = self.serve_row(io, open, rest) {
                used += row;
                continue;
            }
            let Desk { sessions, tally, shared, hooked, spare, .. } = &mut self.desk;
            let Some(home) = sessions.find(session) else {
                break Then::Leave(ReasonCode::NORMAL_DISCONNECTION);
            };
            // By far the most packets of a busy client are of these two kinds. PUBACKs come in rows, of which each is looked
            // at alone only where somebody wants to be told.
            if let Some(Publishing { familiar, author }) = open.publishing.as_deref_mut()
                && let Some((publish, len)) = familiar.next(version, shared.terms.maximum_packet, rest)
            {
                tally.packets_received += 1;
                let is_answered = publish.packet_id.is_some();
                let passes = hooked.as_ref().is_none_or(|hooked| familiar.passes(hooked.epoch(home)));
                match open.receiver.publish(&mut home.state, publish, &mut self.answer) {
                    Ok(Some(incoming)) if passes => {
                        self.take_over(io, &incoming, rest.get(..len), author);
                    }
                    Ok(Some(incoming)) => {
                        let judged =
                            self.judged(io, &incoming, rest.get(..len), author, Some(&familiar.passed));
                        if let Err(then) = judged {
                            break then;
                        }
                        if let Some(time) = self.desk.take_rest(session) {
                            used += len;
                            if is_answered {
                                self.answered(io, conn, apart, before);
                            }
                            break Then::Rest(time);
                        }
                    }
                    Ok(None) => {}
                    Err(fault) => break Then::End(fault),
                }
                used += len;
                if is_answered {
                    self.answered(io, conn, apart, before);
                }
                continue;
            }
            if !hooked.as_ref().is_some_and(|hooked| hooked.wants(Phase::Acknowledged))
                && let row @ 1.. = release_row(tally, shared, spare, home, &open.receiver, rest)
            {
                tally.packets_received += row as u64;
                used += row * Decoder::BARE_ACK;
                room = true;
                continue;
            }
            let ack = match open.receiver.take_bare_ack(&mut home.state, rest, &mut self.answer) {
                Ok(ack) => ack,
                Err(fault) => break Then::End(fault),
            };
            if let Some(ack) = ack {
                tally.packets_received += 1;
                used += Decoder::BARE_ACK;
                room |= settle(tally, shared, hooked, spare, home, ack);
                self.answered(io, conn, apart, before);
            } else {
                let served = self.serve_other(io, conn, open, rest, &mut room);
                self.answered(io, conn, apart, before);
                match served {
                    Ok(0) => break Then::Go,
                    Ok(len) => {
                        used += len;
                        if let Some(time) = self.desk.take_rest(session) {
                            break Then::Rest(time);
                        }
                    }
                    Err(then) => break then,
                }
            }
        };
        self.send_answers(io, conn);
        if room && matches!(then, Then::Go | Then::Wait | Then::Rest(_)) {
            self.desk.pump(io, session);
            self.replay(io, session);
        }
        (used, then)
    }

    /// Serves the messages of QoS 0 in a row at the start of `bytes`. Returns the length of all; 0 if there is no row, or
    /// hooks want to see each.
    #[inline]
    fn serve_row(&mut self, io: &mut Io<Mail>, open: &mut Open, bytes: &[u8]) -> usize {
        let (version, session) = (open.receiver.version(), open.session);
        let Some(Publishing { familiar, author }) = open.publishing.as_deref_mut() else { return 0 };
        let Desk { sessions, hooked, .. } = &mut self.desk;
        let Some(home) = sessions.find(session).filter(|_| bytes.first() == Some(&0x30)) else { return 0 };
        if hooked.as_ref().is_some_and(|hooked| !familiar.passes(hooked.epoch(home))) {
            return 0;
        }
        let (limit, mut ends) = (self.shared.terms.maximum_packet, std::mem::take(&mut self.ends));
        let len = match Row::gather(familiar, version, limit, bytes, &mut ends) {
            Some(row) => {
                self.take_row(io, &row, author);
                row.len()
            }
            None => 0,
        };
        self.ends = ends;
        len
    }

    /// Serves the packet at the start of `bytes`, of any kind. Returns its length, 0 if it is not whole. `room` is set if
    /// the client is done with a message, so that it may be sent others.
    fn serve_other(
        &mut self,
        io: &mut Io<Mail>,
        conn: ConnId,
        open: &mut Open,
        bytes: &[u8],
        room: &mut bool,
    ) -> Result<usize, Then> {
        let (version, session) = (open.receiver.version(), open.session);
        let Desk { sessions, tally, shared, hooked, spare, .. } = &mut self.desk;
        let Some(home) = sessions.find(session) else {
            return Err(Then::Leave(ReasonCode::NORMAL_DISCONNECTION));
        };
        let Some((packet, len)) = open.receiver.next(bytes).map_err(Then::End)? else { return Ok(0) };
        tally.packets_received += 1;
        match open.receiver.take(&mut home.state, packet, &mut self.answer).map_err(Then::End)? {
            Event::None => {}
            Event::Publish(incoming) => {
                let publishing =
                    open.publishing.get_or_insert_with(|| Box::new(Publishing::new(session, version)));
                publishing.familiar.remember(&incoming.publish);
                if self.desk.hooked.is_none() {
                    self.take_over(io, &incoming, None, &mut publishing.author);
                } else {
                    self.judged(io, &incoming, None, &mut publishing.author, None)?;
                }
            }
            Event::Acknowledged(ack) => *room |= settle(tally, shared, hooked, spare, home, ack),
            Event::Subscribe(subscribe) => {
                let judged = self.judge_subscribe(io, session, &subscribe)?;
                self.subscribe(version, session, &subscribe, &judged).map_err(Then::End)?;
                self.desk.tally.packets_sent += 1;
                self.send_answers(io, conn);
                self.replay(io, session);
            }
            Event::Unsubscribe(unsubscribe) => {
                let judged = self.judge_unsubscribe(session, &unsubscribe)?;
                self.unsubscribe(version, session, &unsubscribe, &judged).map_err(Then::End)?;
            }
            Event::Auth(auth) => self.authenticate_again(io, session, &auth)?,
            Event::Disconnect(reason) => return Err(Then::Leave(reason)),
        }
        Ok(len)
    }

    /// Publishes a message of a client and acknowledges it.
    #[inline]
    pub(crate) fn take_over(
        &mut self,
        io: &mut Io<Mail>,
        incoming: &Incoming<'_>,
        raw: Option<&[u8]>,
        author: &mut Author,
    ) -> ReasonCode {
        let (reason, is_told) = self.publish(io, incoming, raw, author);
        if !is_told {
            self.acknowledge(incoming, reason, author);
        }
        reason
    }

    #[inline(always)]
    pub(crate) fn acknowledge(&mut self, incoming: &Incoming<'_>, reason: ReasonCode, author: &Author) {
        if let Some(id) = incoming.publish.packet_id
            && let Some(home) = self.desk.sessions.find(author.session)
        {
            home.state.acknowledge(author.version, incoming.publish.qos, id, reason, &mut self.answer);
        }
    }

    /// A packet was served, before which there were `before` bytes of answers: if it has one that must leave alone, or
    /// many have gathered, they leave.
    #[inline]
    fn answered(&mut self, io: &mut Io<Mail>, conn: ConnId, apart: bool, before: usize) {
        if self.answer.len() > before {
            self.desk.tally.packets_sent += 1;
            if apart || self.answer.len() >= MOST_ANSWERS {
                self.send_answers(io, conn);
            }
        }
    }

    /// However much else waits for the client. [MQTT-3.3.4-10]
    #[inline]
    fn send_answers(&mut self, io: &mut Io<Mail>, conn: ConnId) {
        if !self.answer.is_empty() {
            io.send(conn, &self.answer);
            self.answer.clear();
        }
    }

    /// The walk of one message of a client: retain it, find who gets it, take it there. With `true` the
    /// client has been told already.
    #[inline(always)] // Into `take_over`, though another one calls it, too: it is called for every message.
    pub(crate) fn publish(
        &mut self,
        io: &mut Io<Mail>,
        incoming: &Incoming<'_>,
        raw: Option<&[u8]>,
        author: &mut Author,
    ) -> (ReasonCode, bool) {
        let tally = &mut self.desk.tally;
        tally.publishes_received += 1;
        tally.publish_bytes_received += incoming.publish.payload.len() as u64;
        let topic = incoming.topic;
        if !self.is_open(topic) {
            self.desk.tally.refused_topics += 1;
            return (ReasonCode::NotAuthorized, false); // Which only 5.0 says. 3.1.1: [MQTT-3.3.5-2]
        }
        let serial = self.desk.next_serial();
        let Author { session, version, hint, last_topic } = author;
        let House { shared, desk, cache, kept, sweep, answer, .. } = self;
        let mut draft = Draft::received(serial, incoming, *session, io.now(), last_topic, kept);
        draft.came_as(*version, raw);
        if draft.retain {
            // [MQTT-3.3.1-8]
            let publisher = desk.sessions.find(*session).map(|home| shared.publisher(&home.client_id));
            if let Ok(topic) = TopicName::new(topic) {
                retain(shared, &mut desk.tally, topic, &mut draft, publisher);
            }
            if draft.expires.is_some() {
                sweep.expect(io);
            }
        }
        let Ok(route) = cache.targets(&shared.index, topic, hint) else {
            return (ReasonCode::TopicNameInvalid, false);
        };
        if route.is_empty() {
            desk.tally.unrouted += 1;
            return (ReasonCode::NoMatchingSubscribers, false);
        }
        let is_told = incoming.publish.packet_id.is_some_and(|id| {
            tell_listener(io, desk, answer, route, *session, (*version, incoming.publish.qos, id))
        });
        desk.distribute(io, route, &mut draft);
        (ReasonCode::Success, is_told)
    }

    /// Whether clients may publish to a topic.
    #[inline]
    pub(crate) fn is_open(&self, topic: &str) -> bool {
        let levels = self.shared.limits.topic_levels;
        let too_deep = topic.len() >= levels && too_many_levels(topic, levels);
        !topic.starts_with(SYS) && !too_deep
    }

    /// Publishes a message that no connection has sent: `$SYS`, the program's own.
    pub fn publish_own(&mut self, io: &mut Io<Mail>, message: &Arc<Message>) {
        self.publish_of(io, message, None);
    }

    /// Publishes a message that no connection has sent, for whoever it is of.
    fn publish_of(&mut self, io: &mut Io<Mail>, message: &Arc<Message>, of: Option<(SessionRef, Publisher)>) {
        let Ok(topic) = TopicName::new(&message.topic) else { return };
        let serial = self.desk.next_serial();
        let House { shared, desk, cache, sweep, .. } = self;
        let mut draft = Draft::of(serial, message, of.map(|(session, _)| session));
        if draft.retain {
            retain(shared, &mut desk.tally, topic, &mut draft, of.map(|(_, publisher)| publisher));
            if draft.expires.is_some() {
                sweep.expect(io);
            }
        }
        if let Ok(route) = cache.targets(&shared.index, topic.as_str(), &mut Hint::default()) {
            desk.distribute(io, route, &mut draft);
        }
    }

    /// Does what is due for a session without a connection: its will, its end.
    pub fn look_after(&mut self, io: &mut Io<Mail>, session: SessionRef) {
        let Some(home) = self.desk.sessions.find(session) else { return };
        if home.conn.is_some() {
            return; // [MQTT-4.1.0-1]; 3.1.1: [MQTT-4.1.0-1]
        }
        let due = home.counting_will(&mut self.desk.tally, |state| state.poll(io.now()));
        if !due.ended {
            arm(io, session, home);
        }
        // One that was not to outlive its connection has not expired.
        let expired = home.state.expiry() > 0;
        // [MQTT-3.1.2-8]; 3.1.1: [MQTT-3.1.2-8], [MQTT-3.1.2-12]
        if let Some(will) = due.will {
            let (client_id, testator) = (home.client_id.clone(), home.set_testator(None));
            self.publish_will(io, session, &client_id, testator, *will);
        }
        if due.ended {
            // [MQTT-4.1.0-2]
            self.desk.tally.sessions_expired += 1;
            self.end_session(io, session, expired);
        }
    }

    /// Ends a session, with its subscriptions and whatever waits in it, because its time is up or for another reason.
    pub fn end_session(&mut self, io: &mut Io<Mail>, session: SessionRef, expired: bool) {
        let Some(mut home) = self.desk.sessions.remove(session) else { return };
        Tally::less(&mut self.desk.tally.sessions, 1);
        Tally::less(&mut self.desk.tally.state_bytes, home.state_bytes());
        let filters = home.filters.iter().filter_map(|filter| mqway_codec::TopicFilter::new(filter).ok());
        self.shared.index.unsubscribe_all(filters, session);
        if let Some(will) = home.state.end() {
            let testator = home.set_testator(None);
            self.publish_will(io, session, &home.client_id, testator, *will);
        }
        let left: Vec<_> = home.state.drain().collect();
        for (qos, sent, delivery) in left {
            release(&mut self.desk.tally, &self.shared, &mut home, &delivery);
            // [MQTT-4.8.2-5]: what was sent with QoS 2 to one must not go to another.
            let may_move = qos == QoS::AtLeastOnce || !sent;
            let share = delivery.share().filter(|_| may_move);
            let moved = share.is_some_and(|share| self.redeliver(io, session, share, &delivery.message()));
            if !moved {
                self.desk.tally.dropped_session_ended += 1;
                let (topic, hooked) = (delivery.topic(), &mut self.desk.hooked);
                tell_dropped(hooked, &mut home, topic, "dropped_session_ended");
            }
        }
        if let Some(hooked) = &mut self.desk.hooked {
            hooked.tell(&mut home, &hooks::Event::SessionTerminated { expired });
        }
        if let Some(load) = home.load {
            self.shared.loads.remove(load);
        }
    }

    /// Takes a message of a shared subscription to another member.
    fn redeliver(
        &mut self,
        io: &mut Io<Mail>,
        from: SessionRef,
        share: mqway_routing::ShareId,
        message: &Arc<Message>,
    ) -> bool {
        let shared = self.shared.clone();
        let desk = &mut self.desk;
        let picked = shared.index.with_members(share, |members| desk.pick(members, Some(from)));
        let Some(Some(member)) = picked else { return false };
        let serial = desk.next_serial();
        desk.hand_to_member(io, share, member, &mut Draft::of(serial, message, None));
        desk.tally.share_redeliveries += 1;
        true
    }

    fn publish_will(
        &mut self,
        io: &mut Io<Mail>,
        session: SessionRef,
        client_id: &str,
        testator: Option<Box<Testator>>,
        will: mqway_session::server::Will,
    ) {
        let Some(will) = self.judge_will(io, client_id, testator, will) else { return };
        if !self.is_open(&will.topic) {
            self.desk.tally.refused_topics += 1;
            let dropped = hooks::Event::Dropped { topic: &will.topic, why: "refused_topics" };
            return self.tell_of(client_id, &dropped);
        }
        let now = io.now();
        let properties = will.properties.as_properties();
        let expiry = properties.message_expiry_interval();
        let mut own = PropertiesBuf::new();
        let others = properties
            .iter()
            .filter(|property| property.id() != mqway_codec::PropertyId::MessageExpiryInterval);
        // They stood together in one will, so that none is there twice.
        let _ = own.extend(others);
        let message = Message {
            topic: will.topic.into(),
            payload: Payload::from(&will.payload[..]),
            properties: own,
            expires: expiry.map(|seconds| now + std::time::Duration::from_secs(seconds.into())),
            qos: will.qos,
            retain: will.retain, // [MQTT-3.1.2-14], [MQTT-3.1.2-15]
        };
        self.desk.tally.wills += 1;
        let message = Arc::new(message);
        self.publish_of(io, &message, Some((session, self.shared.publisher(client_id))));
        if self.desk.wants(Phase::WillPublished) {
            let published = mqway_codec::Will {
                topic: &message.topic,
                payload: &message.payload,
                qos: message.qos,
                retain: message.retain,
                properties: message.properties.as_properties(),
            };
            let told = hooks::Message::from_will(&published);
            self.tell_of(client_id, &hooks::Event::WillPublished(&told));
        }
    }
}

/// Acknowledges a message of QoS 1 or 2 before it is taken to its receivers, if its client is one of them: a client that
/// waits for the answer need not be ready for the message. Returns whether it is.
#[inline]
fn tell_listener(
    io: &mut Io<Mail>,
    desk: &mut Desk,
    answer: &mut Vec<u8>,
    route: &Route<SessionRef, Agreed>,
    session: SessionRef,
    (version, qos, id): (Version, QoS, PacketId),
) -> bool {
    // Most that publish listen to nothing.
    let Some(home) = desk.sessions.find(session).filter(|home| !home.filters.is_empty()) else {
        return false;
    };
    let Some(conn) = home.conn else { return false };
    if !route.direct().iter().any(|target| target.subscriber == session) {
        return false;
    }
    home.state.acknowledge(version, qos, id, ReasonCode::Success, answer);
    io.send(conn, answer);
    answer.clear();
    desk.tally.packets_sent += 1;
    true
}

/// A client has acknowledged a message. Returns whether it may be sent another.
#[inline]
fn settle(
    tally: &mut Tally,
    shared: &Shared,
    hooked: &mut Option<Box<Hooked>>,
    spare: &mut Spare,
    home: &mut Home,
    ack: Acknowledged<Delivery>,
) -> bool {
    let (delivery, room, reason, qos) = match ack {
        Acknowledged::Nothing => return false,
        Acknowledged::Received(delivery) => (delivery, false, ReasonCode::Success, QoS::ExactlyOnce),
        Acknowledged::Done(delivery, reason) => (delivery, true, reason, QoS::AtLeastOnce),
    };
    if reason.is_error() {
        tally.dropped_refused += 1; // It goes to nobody else. [MQTT-4.8.2-6]
    }
    if let Some(delivery) = delivery {
        release(tally, shared, home, &delivery);
        if hooked.is_some() {
            tell_settled(hooked, home, delivery.topic(), qos, reason);
        }
        spare.take_back(delivery);
    }
    room
}

/// Tells observers that a client has taken a message, or refused it.
#[cold]
fn tell_settled(
    hooked: &mut Option<Box<Hooked>>,
    home: &mut Home,
    topic: &str,
    qos: QoS,
    reason: ReasonCode,
) {
    if reason.is_error() {
        tell_dropped(hooked, home, topic, "dropped_refused");
    } else if let Some(hooked) = hooked.as_mut().filter(|hooked| hooked.wants(Phase::Acknowledged)) {
        hooked.tell(home, &hooks::Event::Acknowledged { topic, qos });
    }
}

/// Sets a timer for what comes due of a session, unless an earlier one is set.
pub(crate) fn arm(io: &mut Io<Mail>, session: SessionRef, home: &mut Home) {
    let Some(due) = home.state.due() else { return };
    if home.timer.is_none_or(|set| set > due) {
        home.timer = Some(due);
        io.set_timer(due, Timer::Session { slot: session.slot, generation: session.generation }.key());
    }
}

/// Whether a topic name or filter has more than `most` levels.
pub(crate) fn too_many_levels(topic: &str, most: usize) -> bool {
    topic.bytes().filter(|byte| *byte == b'/').count() >= most
}
