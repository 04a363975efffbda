//! Messages, in both directions.

use std::hash::{BuildHasher, Hash, Hasher};

use mqway_codec::{PacketId, PacketType, PropertiesBuf, PropertyId, Publish, QoS, ReasonCode, Version};
use mqway_hooks::{Denial, Event, Message, Outcome, Phase as HookPhase, RefusedPublish};

use super::{Passage, Verdict};
use crate::aliases::AliasError;
use crate::flow::{Again, Story};
use crate::pass::Then;
use crate::{Counters, Direction, Observer};

impl<O: Observer> Passage<'_, O> {
    /// A PUBLISH: its alias is resolved, it is judged and changed, and answered here if it does not go on.
    pub(super) fn message(&mut self, publish: &Publish<'_>) -> Result<Verdict, Then> {
        let aliased = publish.properties.topic_alias();
        let name = match aliased.map(|alias| self.guard.way(self.direction).aliases.resolve(publish, alias)) {
            // Both sides know what it stands for.
            Some(Err(AliasError::Unseen)) if !self.looks_at_messages() => return Ok(Verdict::Pass),
            Some(Err(error)) => return Err(Then::Wrong(error.reason(), error.text())),
            Some(Ok(name)) => Some(name),
            None => None,
        };
        if !self.looks_at_messages() && aliased.is_none() {
            return Ok(Verdict::Pass);
        }
        let mut message = Message::from_publish(publish, name.as_deref().unwrap_or(publish.topic));
        let mark = self.mark(&message);
        let again = publish
            .packet_id
            .and_then(|id| self.guard.way(self.direction).flow.again(id, publish.qos, publish.dup, mark));
        let comes_again = match again {
            None => false,
            Some(Again::Goes) => true,
            Some(Again::Answered(answer)) => {
                if let Some(answer) = answer {
                    self.answer(answer, None)?;
                }
                return Ok(Verdict::Take);
            }
        };
        match self.ask(&mut message, comes_again) {
            Outcome::Wait(turn) => Ok(self.wait(turn)),
            Outcome::Denied(denial) => self.refuse(publish, message.topic(), mark, &denial),
            Outcome::Go => self.go(publish, &message, aliased.is_some(), mark),
        }
    }

    /// What tells this message from any other that comes with its identifier.
    fn mark(&self, message: &Message<'_>) -> u64 {
        if message.qos() == QoS::AtMostOnce {
            return 0;
        }
        let mut hasher = self.context.marks.build_hasher();
        (message.topic(), message.payload(), message.retain(), message.qos() as u8).hash(&mut hasher);
        message.properties().as_bytes().hash(&mut hasher);
        hasher.finish()
    }

    /// Has hooks judge and change a message; only change it if it was judged before.
    fn ask(&mut self, message: &mut Message<'_>, again: bool) -> Outcome {
        let answers = self.context.answers(self.io);
        let hooks = &self.context.hooks;
        let client = &mut self.guard.client;
        let decided = match (self.direction, again) {
            (Direction::ToUpstream, false) if hooks.wants(HookPhase::Publish) => {
                let outcome = hooks.publish(client, message, &mut self.guard.progress, &answers);
                if !matches!(outcome, Outcome::Wait(_)) {
                    self.guard.progress.end();
                }
                return outcome;
            }
            (Direction::ToUpstream, false) => Ok(()),
            (Direction::ToUpstream, true) => hooks.publish_again(client, message),
            (Direction::ToClient, false) => hooks.deliver(client, message),
            (Direction::ToClient, true) => hooks.deliver_again(client, message),
        };
        decided.map_or_else(Outcome::Denied, |()| Outcome::Go)
    }

    /// The message goes on.
    fn go(
        &mut self,
        publish: &Publish<'_>,
        message: &Message<'_>,
        aliased: bool,
        mark: u64,
    ) -> Result<Verdict, Then> {
        // With more it would need an identifier of its own, and identifiers pass one to one.
        let went = message.qos().min(publish.qos);
        let verdict = match message.is_changed() || aliased {
            false => Verdict::Pass,
            true => match self.put_together(publish, message, went) {
                Ok(()) => Verdict::Replace,
                Err(denial) => return self.refuse(publish, message.topic(), mark, &denial),
            },
        };
        if let Some(id) = publish.packet_id {
            let story = self.story(message, went);
            let flow = &mut self.guard.way(self.direction).flow;
            let (answer, told) = flow.goes(id, (publish.qos, went), mark, story);
            if !told {
                Counters::count(&self.context.counters.untold);
            }
            if let Some(answer) = answer {
                self.answer(answer, None)?;
            }
        }
        match self.direction {
            Direction::ToUpstream if went == QoS::AtMostOnce => self.tell(&Event::Published(message))?,
            Direction::ToUpstream => {}
            Direction::ToClient => self.tell(&Event::Delivered(message))?,
        }
        Ok(verdict)
    }

    /// What observers are to be told of a message once its receiver has acknowledged it.
    fn story(&self, message: &Message<'_>, went: QoS) -> Option<Story> {
        let hooks = &self.context.hooks;
        match self.direction {
            _ if went == QoS::AtMostOnce => None,
            Direction::ToUpstream => {
                hooks.wants(HookPhase::Published).then(|| Story::Published(Box::new(message.to_static())))
            }
            Direction::ToClient => hooks
                .wants(HookPhase::Acknowledged)
                .then(|| Story::Acknowledged(message.topic().into(), went)),
        }
    }

    /// Encodes a message anew, as hooks have left it and without an alias.
    ///
    /// # Errors
    /// If it cannot be, or is larger than its receiver takes.
    fn put_together(
        &mut self,
        publish: &Publish<'_>,
        message: &Message<'_>,
        went: QoS,
    ) -> Result<(), Denial> {
        let version = self.version();
        let mut properties = PropertiesBuf::new();
        let mut changed = message.as_publish();
        if changed.properties.contains(PropertyId::TopicAlias) {
            let others = changed.properties.iter().filter(|known| known.id() != PropertyId::TopicAlias);
            properties.extend(others).map_err(|error| impossible(&error))?;
            changed.properties = properties.as_properties();
        }
        changed.qos = went;
        if went > QoS::AtMostOnce {
            (changed.packet_id, changed.dup) = (publish.packet_id, publish.dup);
        }
        let most = self.guard.way(self.direction).packet.min(self.context.limits.packet);
        let scratch = &mut self.context.scratch;
        scratch.clear();
        changed.encode(version, scratch).map_err(|error| impossible(&error))?;
        if scratch.len() > most {
            Counters::count(&self.context.counters.messages_grown_too_large);
            let rule = "hooks have made it larger than its receiver takes";
            return Err(Denial::new(ReasonCode::QuotaExceeded, rule)); // [MQTT-3.1.2-24], [MQTT-3.2.2-15]
        }
        Ok(())
    }

    /// The message does not go on.
    fn refuse(
        &mut self,
        publish: &Publish<'_>,
        topic: &str,
        mark: u64,
        denial: &Denial,
    ) -> Result<Verdict, Then> {
        let counters = &self.context.counters;
        counters.refuse(denial.reason);
        let client = &self.guard.client;
        match self.direction {
            Direction::ToUpstream => {
                Counters::count(&counters.publishes_denied);
                log::info!("{client}: PUBLISH to {topic:?} refused: {denial}");
            }
            Direction::ToClient => {
                Counters::count(&counters.deliveries_denied);
                log::debug!("{client}: not given a message to {topic:?}: {denial}");
            }
        }
        self.tell(&Event::Dropped { topic, why: denial.reason.name() })?;
        if denial.ends {
            return Err(self.ended_by(denial));
        }
        let to_upstream = self.direction == Direction::ToUpstream;
        let says = to_upstream && self.version() == Version::V5;
        let unheard =
            to_upstream && (publish.qos == QoS::AtMostOnce || (publish.qos == QoS::AtLeastOnce && !says));
        if unheard && self.context.refusals.publish == RefusedPublish::Close {
            return Err(self.ended_by(&denial.clone().and_end()));
        }
        let Some(id) = publish.packet_id else { return Ok(Verdict::Take) };
        let reason = if says { answer_reason(denial.reason) } else { ReasonCode::Success };
        self.keep_from_receiver(id, publish.qos, mark, reason, denial.say.as_deref())?;
        Ok(Verdict::Take)
    }

    fn keep_from_receiver(
        &mut self,
        id: PacketId,
        qos: QoS,
        mark: u64,
        reason: ReasonCode,
        say: Option<&str>,
    ) -> Result<(), Then> {
        match self.guard.way(self.direction).flow.stays(id, qos, mark, reason) {
            Some(answer) => self.answer(answer, say),
            None => Ok(()),
        }
    }
}

/// What PUBACK and PUBREC say of a refusal.
fn answer_reason(reason: ReasonCode) -> ReasonCode {
    match reason.is_error() && reason.is_allowed_in(PacketType::Puback) {
        true => reason,
        false => ReasonCode::NotAuthorized,
    }
}

fn impossible(error: &mqway_codec::EncodeError) -> Denial {
    Denial::new(
        ReasonCode::ImplementationSpecificError,
        format!("hooks have made of it what cannot be a PUBLISH: {error}"),
    )
}
