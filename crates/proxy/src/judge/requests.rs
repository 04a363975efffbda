//! SUBSCRIBE and UNSUBSCRIBE, filter by filter, and their answers.

use mqway_codec::{
    Packet, PacketId, PacketType, QoS, ReasonCode, ReasonCodesBuf, Suback, Subscribe, SubscriptionsBuf,
    TopicFilter, TopicFiltersBuf, Unsuback, Unsubscribe, Version,
};
use mqway_hooks::{Denial, Event, Filter, Outcome, Phase as HookPhase, Subscription};

use super::{Passage, Verdict};
use crate::merge::{Merge, Part, Request};
use crate::pass::Then;
use crate::{Counters, Observer};

/// Filters of one packet that hooks are asked for; those behind are refused.
const FILTERS: usize = 4096;

impl<O: Observer> Passage<'_, O> {
    /// A SUBSCRIBE: what is refused of it is taken out, the rest goes on, and the codes are merged when SUBACK comes.
    pub(super) fn subscribe(&mut self, subscribe: &Subscribe<'_>) -> Result<Verdict, Then> {
        let observed = self.context.hooks.wants(HookPhase::Subscribed);
        if !self.context.hooks.wants(HookPhase::Subscribe) && !observed {
            return Ok(Verdict::Pass);
        }
        let answers = self.context.answers(self.io);
        let hooks = self.context.hooks.clone();
        let mut kept = SubscriptionsBuf::new();
        let (mut parts, mut changed) = (Vec::new(), false);
        self.guard.progress.begin();
        for wanted in subscribe.subscriptions.iter() {
            let mut subscription = Subscription::new(wanted.filter, wanted.options);
            let outcome = match parts.len() < FILTERS {
                true => hooks.subscribe(
                    &mut self.guard.client,
                    &mut subscription,
                    &mut self.guard.progress,
                    &answers,
                ),
                false => Outcome::Denied(too_many()),
            };
            match outcome {
                Outcome::Wait(turn) => return Ok(self.wait(turn)),
                Outcome::Denied(denial) => {
                    parts.push(self.refused(wanted.filter, &denial, PacketType::Suback)?);
                    changed = true;
                }
                Outcome::Go => {
                    changed |= subscription.filter.is_changed() || subscription.options() != wanted.options;
                    let filter = server_s(&subscription.filter, wanted.filter);
                    kept.push(filter, subscription.options());
                    parts.push(Part::Asked(observed.then(|| filter.as_str().into())));
                }
            }
        }
        self.guard.progress.end();
        let refused = parts.iter().any(|part| matches!(part, Part::Refused(_)));
        if refused && self.version() == Version::V3_1 {
            let text = "a subscription was refused, which MQTT 3.1 cannot say otherwise".to_owned();
            return Err(Then::Denied(ReasonCode::NotAuthorized, text));
        }
        if kept.is_empty() {
            return self.answer_request(Request::Subscribe, subscribe.packet_id, &parts);
        }
        if refused || observed {
            self.remember(Request::Subscribe, subscribe.packet_id, parts)?;
        }
        if !changed {
            return Ok(Verdict::Pass);
        }
        let mut changed = *subscribe;
        changed.subscriptions = kept.as_subscriptions();
        self.replace_request(&Packet::Subscribe(changed))
    }

    /// An UNSUBSCRIBE, likewise.
    pub(super) fn unsubscribe(&mut self, unsubscribe: &Unsubscribe<'_>) -> Result<Verdict, Then> {
        let observed = self.context.hooks.wants(HookPhase::Unsubscribed);
        if !self.context.hooks.wants(HookPhase::Unsubscribe) && !observed {
            return Ok(Verdict::Pass);
        }
        let hooks = self.context.hooks.clone();
        let mut kept = TopicFiltersBuf::new();
        let (mut parts, mut changed) = (Vec::new(), false);
        for wanted in unsubscribe.filters.iter() {
            let mut filter = Filter::new(wanted);
            match hooks.unsubscribe(&mut self.guard.client, &mut filter) {
                Err(denial) => {
                    parts.push(self.refused(wanted, &denial, PacketType::Unsuback)?);
                    changed = true;
                }
                Ok(()) => {
                    changed |= filter.is_changed();
                    let filter = server_s(&filter, wanted);
                    kept.push(filter);
                    parts.push(Part::Asked(observed.then(|| filter.as_str().into())));
                }
            }
        }
        if kept.is_empty() {
            return self.answer_request(Request::Unsubscribe, unsubscribe.packet_id, &parts);
        }
        let refused = parts.iter().any(|part| matches!(part, Part::Refused(_)));
        if refused || observed {
            self.remember(Request::Unsubscribe, unsubscribe.packet_id, parts)?;
        }
        if !changed {
            return Ok(Verdict::Pass);
        }
        let mut changed = *unsubscribe;
        changed.filters = kept.as_filters();
        self.replace_request(&Packet::Unsubscribe(changed))
    }

    pub(super) fn suback(&mut self, suback: &Suback<'_>) -> Result<Verdict, Then> {
        if let Some(verdict) = self.suback_unasked(suback)? {
            return Ok(verdict);
        }
        let merge = self.guard.merges.take(Request::Subscribe, suback.packet_id);
        let Some(merge) = merge else { return Ok(Verdict::Pass) };
        let Some(codes) = merge.codes(suback.codes) else {
            let text = "SUBACK with more or fewer codes than it was asked for";
            return Err(Then::Wrong(ReasonCode::ProtocolError, text));
        };
        for (part, code) in merge.parts.iter().zip(codes.as_codes().iter()) {
            if let (Part::Asked(Some(filter)), Some(qos)) = (part, granted(code)) {
                self.tell(&Event::Subscribed { filter, qos })?;
            }
        }
        let changed = Suback { codes: codes.as_codes(), ..*suback };
        match changed == *suback {
            true => Ok(Verdict::Pass),
            false => self.replace(&Packet::Suback(changed)),
        }
    }

    pub(super) fn unsuback(&mut self, unsuback: &Unsuback<'_>) -> Result<Verdict, Then> {
        let merge = self.guard.merges.take(Request::Unsubscribe, unsuback.packet_id);
        let Some(merge) = merge else { return Ok(Verdict::Pass) };
        if self.version() != Version::V5 {
            for part in &merge.parts {
                if let Part::Asked(Some(filter)) = part {
                    self.tell(&Event::Unsubscribed { filter })?;
                }
            }
            return Ok(Verdict::Pass);
        }
        let Some(codes) = merge.codes(unsuback.codes) else {
            let text = "UNSUBACK with more or fewer codes than it was asked for";
            return Err(Then::Wrong(ReasonCode::ProtocolError, text));
        };
        for (part, code) in merge.parts.iter().zip(codes.as_codes().iter()) {
            if let (Part::Asked(Some(filter)), ReasonCode::Success) = (part, code) {
                self.tell(&Event::Unsubscribed { filter })?;
            }
        }
        let changed = Unsuback { codes: codes.as_codes(), ..*unsuback };
        match changed == *unsuback {
            true => Ok(Verdict::Pass),
            false => self.replace(&Packet::Unsuback(changed)),
        }
    }

    /// Notes that a filter is refused.
    fn refused(
        &mut self,
        filter: TopicFilter<'_>,
        denial: &Denial,
        answer: PacketType,
    ) -> Result<Part, Then> {
        Counters::count(&self.context.counters.filters_denied);
        self.context.counters.refuse(denial.reason);
        let what = if answer == PacketType::Suback { "SUBSCRIBE" } else { "UNSUBSCRIBE" };
        log::info!("{}: {what} to {:?} refused: {denial}", self.guard.client, filter.as_str());
        if denial.ends {
            return Err(self.ended_by(denial));
        }
        let carried = denial.reason.is_error() && denial.reason.is_allowed_in(answer);
        Ok(Part::Refused(if carried { denial.reason } else { ReasonCode::NotAuthorized }))
    }

    /// Keeps what was decided of a request until the upstream has decided the rest.
    fn remember(&mut self, request: Request, packet_id: PacketId, parts: Vec<Part>) -> Result<(), Then> {
        match self.guard.merges.push(Merge { request, packet_id, parts }) {
            true => Ok(()),
            false => Err(Then::Wrong(ReasonCode::QuotaExceeded, "too many requests are not yet answered")),
        }
    }

    /// Answers a request of which nothing is left for the upstream.
    fn answer_request(
        &mut self,
        request: Request,
        packet_id: PacketId,
        parts: &[Part],
    ) -> Result<Verdict, Then> {
        let code = |part: &Part| match part {
            Part::Refused(code) => *code,
            Part::Asked(_) => ReasonCode::UnspecifiedError,
        };
        let codes: ReasonCodesBuf = parts.iter().map(code).collect();
        let answer = match request {
            Request::Subscribe => Packet::Suback(Suback::new(packet_id, codes.as_codes())),
            Request::Unsubscribe => Packet::Unsuback(Unsuback::new(packet_id, codes.as_codes())),
        };
        let mut bytes = Vec::new();
        if let Err(error) = answer.encode(self.version(), &mut bytes) {
            log::error!("{}: its request cannot be answered: {error}", self.guard.client);
        }
        self.send_back(bytes)?;
        Ok(Verdict::Take)
    }

    /// A request passes as hooks have left it.
    fn replace_request(&mut self, packet: &Packet<'_>) -> Result<Verdict, Then> {
        if packet.encoded_len(self.version()) > self.guard.to_upstream.packet {
            let text = "hooks have made a request larger than the upstream takes";
            return Err(Then::Wrong(ReasonCode::PacketTooLarge, text));
        }
        self.replace(packet)
    }
}

/// The filter as the server is to know it: what hooks have made of the one that was sent.
fn server_s<'a>(filter: &'a Filter<'_>, sent: TopicFilter<'a>) -> TopicFilter<'a> {
    match filter.is_changed() {
        true => TopicFilter::new(filter.as_str()).unwrap_or(sent),
        false => sent,
    }
}

fn granted(code: ReasonCode) -> Option<QoS> {
    QoS::from_u8(code.code())
}

fn too_many() -> Denial {
    Denial::new(ReasonCode::QuotaExceeded, "more filters in one packet than hooks are asked for")
}
