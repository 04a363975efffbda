//! SUBSCRIBE and UNSUBSCRIBE, and the retained messages that follow.

use mqway_codec::{
    QoS, ReasonCode, ReasonCodesBuf, RetainHandling, Subscribe, SubscribeOptions, Subscription,
    SubscriptionId, TopicFilter, Unsubscribe, Version,
};
use mqway_engine::Io;
use mqway_hooks::{Event, Phase};
use mqway_routing::{RetainedCursor, Scan};
use mqway_session::server::{Fault, suback, unsuback};

use crate::clients::Replay;
use crate::counters::Tally;
use crate::deliver::Grant;
use crate::house::{House, too_many_levels};
use crate::judge::Judged;
use crate::mail::Mail;
use crate::message::{Draft, time_left};
use crate::retained::forget_expired;
use crate::sessions::subscription_size;
use crate::shared::{Agreed, SessionRef};

/// Retained messages that are looked at before others get their turn.
const RETAINED_AT_ONCE: usize = 512;

impl House {
    /// Makes subscriptions and answers. [`House::replay`] then sends the retained messages that are to follow.
    ///
    /// # Errors
    /// If one is refused, and the client's version has no word for that; or if the answer is larger than it takes.
    pub(crate) fn subscribe(
        &mut self,
        version: Version,
        session: SessionRef,
        subscribe: &Subscribe<'_>,
        judged: &Judged<mqway_hooks::Subscription<'_>>,
    ) -> Result<(), Fault> {
        let identifier = subscribe.properties.subscription_identifiers().next();
        let mut codes = ReasonCodesBuf::new();
        let mut replays = Vec::new();
        // [MQTT-3.8.4-5]: one after the other, as if each had come alone.
        for (at, sent) in subscribe.subscriptions.iter().enumerate() {
            let wanted = match judged.each.get(at) {
                None => Ok(sent),
                Some(Ok(changed)) => as_changed(changed),
                Some(Err(reason)) => Err(*reason),
            };
            match wanted.and_then(|wanted| self.subscribe_one(session, &wanted, identifier)) {
                Ok((granted, replay)) => {
                    codes.push(ReasonCode::granted(granted)); // [MQTT-3.8.4-7]
                    replays.extend(replay);
                    if self.desk.wants(Phase::Subscribed) {
                        let filter = judged.each.get(at).and_then(|one| one.as_ref().ok());
                        let filter = filter.map_or(sent.filter.as_str(), |one| one.filter.as_str());
                        self.desk.tell(session, &Event::Subscribed { filter, qos: granted });
                    }
                }
                Err(reason) => {
                    self.desk.tally.subscriptions_refused += 1;
                    codes.push(reason);
                }
            }
        }
        // 3.1 §3.9: SUBACK says which QoS was granted, and nothing else.
        if version == Version::V3_1 && codes.as_codes().iter().any(ReasonCode::is_error) {
            return Err(Fault::Limit("a subscription that is not served"));
        }
        // [MQTT-3.8.4-1], [MQTT-3.8.4-2], [MQTT-3.8.4-6]
        let start = self.answer.len();
        suback(version, subscribe.packet_id, codes.as_codes(), &mut self.answer);
        self.explain(session, judged.say.as_deref(), start);
        self.check_answer(session, start)?;
        if let Some(home) = self.desk.sessions.find(session) {
            home.add_replays(replays);
        }
        Ok(())
    }

    /// Makes the subscriptions that hooks have for a client, without its asking. [`House::replay`] follows here, too.
    pub(crate) fn subscribe_unasked(&mut self, session: SessionRef, wanted: &[(Box<str>, SubscribeOptions)]) {
        for (text, options) in wanted {
            let filter = TopicFilter::new(text).map_err(|_| ReasonCode::TopicFilterInvalid);
            let made = filter.and_then(|filter| {
                self.subscribe_one(session, &Subscription { filter, options: *options }, None)
            });
            match made {
                Ok((qos, replay)) => {
                    if let Some(home) = self.desk.sessions.find(session) {
                        home.add_replays(replay.into_iter().collect());
                    }
                    if self.desk.wants(Phase::Subscribed) {
                        self.desk.tell(session, &Event::Subscribed { filter: text, qos });
                    }
                }
                Err(reason) => {
                    self.desk.tally.subscriptions_refused += 1;
                    let home = self.desk.sessions.find(session);
                    let client = home.map_or("", |home| &home.client_id);
                    log::warn!("{client:?}: not subscribed to {text:?} unasked: {}", reason.name());
                }
            }
        }
    }

    fn subscribe_one(
        &mut self,
        session: SessionRef,
        subscription: &Subscription<'_>,
        identifier: Option<SubscriptionId>,
    ) -> Result<(QoS, Option<Replay>), ReasonCode> {
        let Subscription { filter, options } = *subscription;
        let shared = self.shared.clone();
        let share = filter.share();
        self.check(filter, identifier)?;
        let Some(home) = self.desk.sessions.find(session) else { return Err(ReasonCode::UnspecifiedError) };
        let known = home.filters.binary_search_by(|known| (**known).cmp(filter.as_str())).is_ok();
        if !known && home.filters.len() >= shared.limits.subscriptions {
            return Err(ReasonCode::QuotaExceeded);
        }
        let size = if known { 0 } else { subscription_size(filter.as_str()) };
        // So that who holds much leaves room for those who hold little. While less than half is taken nobody can.
        let room = shared.room_for_state(self.desk.tally.state_bytes);
        let is_short = room.saturating_sub(size.into()) < shared.limits.state_bytes / 2;
        if size > 0 && is_short && home.state_bytes() + u64::from(size) > room {
            return Err(ReasonCode::QuotaExceeded);
        }
        Tally::more(&mut self.desk.tally.state_bytes, size.into());
        if share.is_some() && home.load.is_none() {
            home.load = shared.loads.add();
            if let Some(load) = home.load {
                shared.loads.set_away(load, home.conn.is_none() && home.local().is_none());
            }
        }
        let load = home.load.filter(|_| share.is_some());
        let agreed = Agreed::new(options, options.qos, identifier, load);
        home.add_filter(filter.as_str());
        // The same filter again replaces: [MQTT-3.8.4-3]; 3.1.1: [MQTT-3.8.4-3]
        let existed = shared.index.subscribe(filter, session, agreed).is_some();
        let wanted = match options.retain_handling {
            RetainHandling::Send => true, // [MQTT-3.3.1-9], [MQTT-3.8.4-4]; 3.1.1: [MQTT-3.3.1-6]
            RetainHandling::SendIfNew => !existed, // [MQTT-3.3.1-10]
            RetainHandling::DoNotSend => false, // [MQTT-3.3.1-11]
        };
        // 5.0 §4.8.2: none for shared subscriptions.
        let replay = (wanted && share.is_none() && !shared.retained.is_empty())
            .then(|| Replay { cursor: RetainedCursor::new(filter) });
        Ok((options.qos, replay)) // Whatever QoS we publish with at the most. [MQTT-3.2.2-10]
    }

    /// Whether a filter is served at all.
    fn check(&self, filter: TopicFilter<'_>, identifier: Option<SubscriptionId>) -> Result<(), ReasonCode> {
        let (terms, limits) = (&self.shared.terms, &self.shared.limits);
        if filter.share().is_some() && !terms.shares {
            return Err(ReasonCode::SharedSubscriptionsNotSupported);
        }
        if filter.has_wildcard() && !terms.wildcards {
            return Err(ReasonCode::WildcardSubscriptionsNotSupported); // 3.1.1: [MQTT-3.8.3-2]
        }
        if identifier.is_some() && !terms.identifiers {
            return Err(ReasonCode::SubscriptionIdentifiersNotSupported);
        }
        let text = filter.as_str();
        if text.len() >= limits.topic_levels && too_many_levels(text, limits.topic_levels) {
            return Err(ReasonCode::TopicFilterInvalid);
        }
        Ok(())
    }

    /// Whether the client takes a packet as large as the answer, which begins at `start`. [MQTT-3.1.2-24]
    pub(crate) fn check_answer(&mut self, session: SessionRef, start: usize) -> Result<(), Fault> {
        let sender = self.desk.sessions.find(session).and_then(|home| home.state.sender());
        if sender.is_none_or(|sender| self.answer.len() - start <= sender.maximum_packet() as usize) {
            return Ok(());
        }
        self.answer.truncate(start);
        Err(Fault::AnswerTooLarge)
    }

    /// Removes subscriptions and answers. What waits in the session still goes out. [MQTT-3.10.4-2], [MQTT-3.10.4-3]
    ///
    /// # Errors
    /// If the answer is larger than the client takes.
    pub(crate) fn unsubscribe(
        &mut self,
        version: Version,
        session: SessionRef,
        unsubscribe: &Unsubscribe<'_>,
        judged: &Judged<mqway_hooks::Filter<'_>>,
    ) -> Result<(), Fault> {
        let shared = self.shared.clone();
        let mut codes = ReasonCodesBuf::new();
        // [MQTT-3.10.4-6]
        for (at, sent) in unsubscribe.filters.iter().enumerate() {
            let filter = match judged.each.get(at) {
                None => sent,
                Some(Ok(changed)) => TopicFilter::new(changed.as_str()).unwrap_or(sent),
                Some(Err(reason)) => {
                    codes.push(*reason);
                    continue;
                }
            };
            // [MQTT-3.10.4-1]: only the very same filter.
            let removed = shared.index.unsubscribe(filter, session).is_some();
            if let (true, Some(home)) = (removed, self.desk.sessions.find(session)) {
                home.remove_filter(filter.as_str());
                let size = subscription_size(filter.as_str());
                Tally::less(&mut self.desk.tally.state_bytes, size.into());
                if self.desk.wants(Phase::Unsubscribed) {
                    self.desk.tell(session, &Event::Unsubscribed { filter: filter.as_str() });
                }
            }
            codes.push(if removed { ReasonCode::Success } else { ReasonCode::NoSubscriptionExisted });
        }
        // [MQTT-3.10.4-4], [MQTT-3.10.4-5]
        let start = self.answer.len();
        unsuback(version, unsubscribe.packet_id, codes.as_codes(), &mut self.answer);
        self.explain(session, judged.say.as_deref(), start);
        self.check_answer(session, start)
    }

    /// Sends some more of the retained messages that a client is to get, as fast as it takes them.
    pub(crate) fn replay(&mut self, io: &mut Io<Mail>, session: SessionRef) {
        let mut found = Vec::new();
        loop {
            let Some(home) = self.desk.sessions.find(session) else { return };
            if home.blocked || home.state.queued() > 0 {
                return; // Whatever frees it calls again.
            }
            let Some(mut replay) = home.next_replay() else { return };
            let shared = self.shared.clone();
            // What was agreed last, if the subscription is still there. [MQTT-3.8.4-3], [MQTT-3.10.4-2]
            let agreed = replay.cursor.filter().and_then(|filter| shared.index.options(filter, session));
            let Some(agreed) = agreed else { continue };
            // [MQTT-3.8.3-3]: also where they come later.
            let own = agreed.no_local.then(|| shared.publisher(&home.client_id));
            let Some(mut room) = self.room_for_retained(io, session, agreed.qos) else {
                return self.replay_later(session, replay);
            };
            let scan = shared.retained.scan_while(&mut replay.cursor, RETAINED_AT_ONCE, |_, retained| {
                let is_own = own.is_some() && retained.publisher == own;
                let takes = is_own || room.takes(retained.message.size());
                if takes && !is_own {
                    found.push(retained.message.clone());
                }
                takes
            });
            let stuck = found.is_empty() && room.refused;
            // 3.1.1: [MQTT-3.3.1-8]: these are sent because they were retained.
            let grant = Grant { retain_as_published: true, ..Grant::of(&agreed) };
            for message in found.drain(..) {
                if time_left(message.expires, io.now()).is_err() {
                    forget_expired(&shared, &message);
                    continue;
                }
                let serial = self.desk.next_serial();
                self.desk.deliver(io, session, &mut Draft::of(serial, &message, None), &grant);
            }
            if scan == Scan::More {
                self.replay_later(session, replay);
                if !stuck {
                    // The others' turn; then this goes on.
                    self.desk.unfinished.push(session);
                }
                return;
            }
        }
    }

    fn replay_later(&mut self, session: SessionRef, replay: Replay) {
        if let Some(home) = self.desk.sessions.find(session) {
            home.put_back_replay(replay);
        }
    }

    /// How much of what is retained a session can be given now such that nothing of it is dropped. `None` if it has to
    /// acknowledge something first.
    fn room_for_retained(&mut self, io: &Io<Mail>, session: SessionRef, qos: QoS) -> Option<Room> {
        let enough = self.desk.enough();
        let (shared, untold) = (&self.shared, self.desk.tally.stored_bytes);
        let home = self.desk.sessions.find(session)?;
        let free = home.conn.map_or(0, |conn| enough.saturating_sub(io.queued(conn)));
        if qos == QoS::AtMostOnce {
            return Some(Room { messages: RETAINED_AT_ONCE, bytes: free, anything: true, refused: false });
        }
        let most = shared.limits.queue_bytes as u64;
        let kept = most.min(shared.room_to_store(untold)).saturating_sub(home.bytes as u64);
        home.state.has_room().then(|| Room {
            messages: shared.limits.queue_messages.max(1),
            bytes: free.min(usize::try_from(kept).unwrap_or(usize::MAX)),
            anything: home.bytes == 0,
            refused: false,
        })
    }
}

/// A subscription as hooks have changed it.
fn as_changed<'a>(changed: &'a mqway_hooks::Subscription<'_>) -> Result<Subscription<'a>, ReasonCode> {
    let filter = TopicFilter::new(changed.filter.as_str()).map_err(|_| ReasonCode::TopicFilterInvalid)?;
    Ok(Subscription { filter, options: changed.options() })
}

/// Room for retained messages.
struct Room {
    messages: usize,
    bytes: usize,
    /// One is taken in any case: there will never be more room than now.
    anything: bool,
    /// There was none for the last one.
    refused: bool,
}

impl Room {
    fn takes(&mut self, size: usize) -> bool {
        let takes = self.messages > 0 && (size <= self.bytes || self.anything);
        if takes {
            self.messages -= 1;
            self.bytes = self.bytes.saturating_sub(size);
            self.anything = false;
        }
        self.refused = !takes;
        takes
    }
}
