//! PUBLISH, SUBSCRIBE and UNSUBSCRIBE before hooks.

use std::borrow::Cow;
use std::cell::Cell;

use mqway_codec::{
    Auth, Packet, PacketType, PropertyId, QoS, ReasonCode, Subscribe, TopicFilter, Unsubscribe, Version,
};
use mqway_engine::{ConnId, Io};
use mqway_hooks::{
    Denial, Epoch, Event, Filter, Known, Message, Outcome, Phase, RefusedPublish, Step, Subscription,
};
use mqway_session::server::{Fault, Incoming, explain};

use crate::clients::Author;
use crate::guest::{Guest, code_for};
use crate::house::{House, Then};
use crate::mail::Mail;
use crate::offer::without;
use crate::shared::SessionRef;

/// Filters of one packet that hooks are asked for; those behind are refused.
pub(crate) const MOST_JUDGED: usize = 4_096;

/// What hooks have made of the filters of a SUBSCRIBE or UNSUBSCRIBE.
pub(crate) struct Judged<T> {
    /// In their order; none if nobody was asked.
    pub each: Vec<Result<T, ReasonCode>>,
    /// What the client is told of the first that was refused.
    pub say: Option<Cow<'static, str>>,
}

impl<T> Judged<T> {
    /// As they came.
    fn unasked() -> Judged<T> {
        Judged { each: Vec::new(), say: None }
    }
}

impl House {
    /// Publishes a message of a client and acknowledges it, if hooks let it, and as they have changed it. Where it is `familiar`,
    /// and hooks go by its topic alone, notes for how long they will let the next one pass.
    ///
    /// # Errors
    /// What follows instead of an answer.
    pub(crate) fn judged(
        &mut self,
        io: &mut Io<Mail>,
        incoming: &Incoming<'_>,
        raw: Option<&[u8]>,
        author: &mut Author,
        familiar: Option<&Cell<Option<Epoch>>>,
    ) -> Result<(), Then> {
        let session = author.session;
        let (Some(hooked), Some(home)) = (&mut self.desk.hooked, self.desk.sessions.find(session)) else {
            return Ok(());
        };
        if let Some(guest) = home.guest.as_deref()
            && !hooked.wants(Phase::Published)
            && !hooked.wants(Phase::Dropped)
            && !incoming.publish.properties.contains(PropertyId::ResponseTopic)
        {
            match hooked.hooks.known_publish(&guest.client, incoming.topic) {
                Some(Known::Same) => {
                    if let Some(passed) = familiar {
                        passed.set(hooked.epoch(home));
                    }
                    self.take_over(io, incoming, raw, author);
                    return Ok(());
                }
                Some(Known::As(topic)) => {
                    self.renamed.clear();
                    self.renamed.push_str(topic);
                    self.take_over_renamed(io, incoming, author);
                    return Ok(());
                }
                None => {}
            }
        }
        let mut message = Message::from_publish(&incoming.publish, incoming.topic);
        if let Some(guest) = home.guest.as_deref_mut().filter(|_| hooked.wants(Phase::Publish)) {
            let outcome = loop {
                let Guest { client, progress, .. } = guest;
                let outcome = hooked.hooks.publish(client, &mut message, progress, hooked.answers(io));
                if !matches!(outcome, Outcome::Wait(_)) {
                    break outcome;
                }
                message = Message::from_publish(&incoming.publish, incoming.topic);
                if guest.wait(&self.shared.waiting, io.now()) {
                    break outcome;
                }
                self.desk.tally.hook_overloads += 1;
                guest.give_up_waiting();
            };
            match outcome {
                Outcome::Go => {}
                Outcome::Denied(denial) => return self.deny_publish(incoming, author, denial),
                Outcome::Wait(_) => {
                    if let Some(id) = incoming.publish.packet_id {
                        home.state.take_back(incoming.publish.qos, id);
                    }
                    self.desk.tally.packets_received -= 1; // It is counted when it is shown again.
                    return Err(Then::Wait);
                }
            }
        }
        let reason = if message.is_changed() {
            let mut publish = message.as_publish();
            publish.retain &= self.shared.terms.retain;
            let kept = without(&message, &[PropertyId::SubscriptionIdentifier]); // [MQTT-3.3.4-6]
            publish.properties = kept.as_properties();
            let changed = Incoming { topic: publish.topic, publish };
            // It has no identifier of its own, and is not answered there.
            let (reason, _) = self.publish(io, &changed, None, author);
            self.acknowledge(incoming, reason, author);
            reason
        } else {
            self.take_over(io, incoming, raw, author)
        };
        self.tell_published(session, &message, reason);
        Ok(())
    }

    /// Publishes a message of a client to the topic that was noted, and acknowledges it.
    fn take_over_renamed(&mut self, io: &mut Io<Mail>, incoming: &Incoming<'_>, author: &mut Author) {
        let topic = std::mem::take(&mut self.renamed);
        let mut publish = incoming.publish;
        publish.topic = &topic;
        self.take_over(io, &Incoming { topic: &topic, publish }, None, author);
        self.renamed = topic;
    }

    fn tell_published(&mut self, session: SessionRef, message: &Message<'_>, reason: ReasonCode) {
        match reason {
            ReasonCode::Success => {}
            ReasonCode::NoMatchingSubscribers => self.desk.tell_dropped(session, message.topic(), "unrouted"),
            _ => return self.desk.tell_dropped(session, message.topic(), "refused_topics"),
        }
        if self.desk.wants(Phase::Published) {
            self.desk.tell(session, &Event::Published(message));
        }
    }

    /// A message that hooks do not let be published: how its client hears of it depends on the version and the QoS.
    fn deny_publish(&mut self, incoming: &Incoming<'_>, author: &Author, denial: Denial) -> Result<(), Then> {
        let qos = incoming.publish.qos;
        self.desk.tally.publishes_denied += 1;
        self.shared.counters.refuse(denial.reason);
        self.log_denied(author.session, format_args!("PUBLISH to {:?}", incoming.topic), &denial);
        self.desk.tell_dropped(author.session, incoming.topic, "publishes_denied");
        let says_why = author.version == Version::V5 && qos != QoS::AtMostOnce;
        if denial.ends || (!says_why && self.shared.refusals.publish == RefusedPublish::Close) {
            return Err(Then::Deny(denial));
        }
        // Before 5.0 the reason is not said: the client takes the message for delivered, and plays PUBREL and PUBCOMP
        // whole. 3.1.1: [MQTT-3.3.5-2]
        let packet_type = if qos == QoS::ExactlyOnce { PacketType::Pubrec } else { PacketType::Puback };
        let start = self.answer.len();
        self.acknowledge(incoming, code_for(&denial, packet_type), author);
        self.explain(author.session, denial.say.as_deref(), start);
        Ok(())
    }

    /// Puts words into an answer that begins at `start`, where the client wants any and takes them.
    pub(crate) fn explain(&mut self, session: SessionRef, text: Option<&str>, start: usize) {
        let (Some(text), Some(home)) = (text, self.desk.sessions.find(session)) else { return };
        let wants = home.guest.as_ref().is_some_and(|guest| guest.explains);
        if let Some(sender) = home.state.sender().filter(|_| wants) {
            explain(text, sender.maximum_packet(), start, &mut self.answer);
        }
    }

    fn log_denied(&mut self, session: SessionRef, what: std::fmt::Arguments<'_>, denial: &Denial) {
        if let Some(guest) = self.desk.sessions.find(session).and_then(|home| home.guest.as_deref()) {
            log::info!("{}: {what} denied: {denial}", guest.client);
        }
    }

    /// Has hooks judge the filters of a SUBSCRIBE. Empty if there is nobody who would.
    ///
    /// # Errors
    /// What follows instead of an answer.
    pub(crate) fn judge_subscribe<'a>(
        &mut self,
        io: &mut Io<Mail>,
        session: SessionRef,
        subscribe: &Subscribe<'a>,
    ) -> Result<Judged<Subscription<'a>>, Then> {
        let Some(hooked) = self.desk.hooked.as_mut().filter(|hooked| hooked.wants(Phase::Subscribe)) else {
            return Ok(Judged::unasked());
        };
        let guest = self.desk.sessions.find(session).and_then(|home| home.guest.as_deref_mut());
        let Some(guest) = guest else { return Ok(Judged::unasked()) };
        let (mut judged, mut denials) = (Vec::new(), Vec::new());
        guest.progress.begin();
        for (number, one) in subscribe.subscriptions.iter().enumerate() {
            if number >= MOST_JUDGED {
                judged.push(Err(ReasonCode::QuotaExceeded));
                continue;
            }
            let (outcome, wanted) = loop {
                let mut wanted = Subscription::new(one.filter, one.options);
                let Guest { client, progress, .. } = guest;
                let outcome = hooked.hooks.subscribe(client, &mut wanted, progress, hooked.answers(io));
                if !matches!(outcome, Outcome::Wait(_)) {
                    break (outcome, wanted);
                }
                if guest.wait(&self.shared.waiting, io.now()) {
                    self.desk.tally.packets_received -= 1;
                    return Err(Then::Wait);
                }
                self.desk.tally.hook_overloads += 1;
                guest.give_up_waiting();
            };
            match outcome {
                Outcome::Denied(denial) => {
                    judged.push(Err(code_for(&denial, PacketType::Suback)));
                    denials.push((one.filter, denial));
                }
                Outcome::Go | Outcome::Wait(_) => judged.push(Ok(wanted)),
            }
        }
        guest.progress.end();
        self.desk.tally.filters_denied += judged.iter().filter(|one| one.is_err()).count() as u64;
        let say = self.heed(session, "SUBSCRIBE to", denials)?;
        Ok(Judged { each: judged, say })
    }

    /// Has hooks judge the filters of an UNSUBSCRIBE. Empty if there is nobody who would.
    ///
    /// # Errors
    /// What follows instead of an answer.
    pub(crate) fn judge_unsubscribe<'a>(
        &mut self,
        session: SessionRef,
        unsubscribe: &Unsubscribe<'a>,
    ) -> Result<Judged<Filter<'a>>, Then> {
        let Some(hooked) = self.desk.hooked.as_mut().filter(|hooked| hooked.wants(Phase::Unsubscribe)) else {
            return Ok(Judged::unasked());
        };
        let guest = self.desk.sessions.find(session).and_then(|home| home.guest.as_deref_mut());
        let Some(guest) = guest else { return Ok(Judged::unasked()) };
        let (mut judged, mut denials) = (Vec::new(), Vec::new());
        for (number, one) in unsubscribe.filters.iter().enumerate() {
            if number >= MOST_JUDGED {
                judged.push(Err(ReasonCode::ImplementationSpecificError)); // There is no nearer code.
                continue;
            }
            let mut filter = Filter::new(one);
            match hooked.hooks.unsubscribe(&mut guest.client, &mut filter) {
                Ok(()) => judged.push(Ok(filter)),
                Err(denial) => {
                    judged.push(Err(code_for(&denial, PacketType::Unsuback)));
                    denials.push((one, denial));
                }
            }
        }
        self.desk.tally.filters_denied += judged.iter().filter(|one| one.is_err()).count() as u64;
        let say = self.heed(session, "UNSUBSCRIBE from", denials)?;
        Ok(Judged { each: judged, say })
    }

    /// Logs denials, one of which may end the connection. Gives back what the client is told.
    fn heed(
        &mut self,
        session: SessionRef,
        what: &str,
        denials: Vec<(TopicFilter<'_>, Denial)>,
    ) -> Result<Option<Cow<'static, str>>, Then> {
        let mut say = None;
        for (filter, denial) in denials {
            self.shared.counters.refuse(denial.reason);
            self.log_denied(session, format_args!("{what} {:?}", filter.as_str()), &denial);
            if denial.ends {
                return Err(Then::Deny(denial));
            }
            say = say.or(denial.say);
        }
        Ok(say)
    }

    /// AUTH of an accepted client: it authenticates itself again.
    ///
    /// # Errors
    /// What follows if it does not come to an end, or not to a good one. [MQTT-4.12.1-2]
    pub(crate) fn authenticate_again(
        &mut self,
        io: &mut Io<Mail>,
        session: SessionRef,
        auth: &Auth<'_>,
    ) -> Result<(), Then> {
        let misplaced = Then::End(Fault::Misplaced(PacketType::Auth)); // [MQTT-4.12.0-7]
        let home = self.desk.sessions.find(session);
        let Some(guest) = home.and_then(|home| home.guest.as_deref_mut()) else { return Err(misplaced) };
        let Guest { client, enhanced, .. } = guest;
        let Some(enhanced) = enhanced else { return Err(misplaced) };
        let turn = enhanced.exchange.take(auth).map_err(Then::End)?; // [MQTT-4.12.1-1]
        if turn.begins {
            let method = enhanced.exchange.method();
            let begun = self.desk.hooked.as_ref().and_then(|hooked| hooked.hooks.begin(client, method));
            let gone =
                || Denial::new(ReasonCode::BadAuthenticationMethod, "the method is not served any more");
            enhanced.dialogue = Some(begun.unwrap_or_else(|| Err(gone())).map_err(Then::Deny)?);
        }
        let Some(dialogue) = &mut enhanced.dialogue else { return Err(misplaced) };
        let (reason, data) = match dialogue.take(client, turn.data) {
            Step::Continue(data) => (ReasonCode::ContinueAuthentication, Some(data)),
            Step::Done(data) => {
                enhanced.dialogue = None;
                enhanced.exchange.accept();
                (ReasonCode::Success, data)
            }
            Step::Deny(denial) => return Err(Then::Deny(denial)),
        };
        // [MQTT-4.12.0-2], [MQTT-4.12.0-5]
        let (start, properties) = (self.answer.len(), enhanced.exchange.properties(data.as_deref()));
        let answer = Packet::Auth(Auth::new(reason, properties.as_properties()));
        answer.encode(Version::V5, &mut self.answer).map_err(|_| Then::End(Fault::AnswerTooLarge))?;
        if reason == ReasonCode::Success {
            guest.authenticated(io.now());
            if let Some(hooked) = &mut self.desk.hooked {
                hooked.renewed.push(ConnId::from_bits(guest.client.number));
            }
        }
        self.check_answer(session, start).map_err(Then::End)
    }
}
