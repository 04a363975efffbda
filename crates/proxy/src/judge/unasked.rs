//! Subscriptions that hooks have for a client, without its asking: a SUBSCRIBE of ours behind CONNACK, whose answer the
//! client never sees.
//!
//! Its packet identifier must be one that the client does not use. Where the session is new none is in use, and what the
//! client sends waits until the answer has come. Where the session goes on the client may have messages under way
//! with any identifier; but then it has its subscriptions from when the session was new.

use std::time::Duration;

use mqway_codec::{
    Connack, Packet, PacketId, QoS, ReasonCode, Suback, Subscribe, SubscribeOptions, SubscriptionsBuf,
    TopicFilter, Version,
};
use mqway_hooks::{Event, Phase as HookPhase};

use super::{Passage, Verdict};
use crate::pass::Then;
use crate::{Direction, Observer};

/// The identifier of our SUBSCRIBE: the last that a client would come to.
const PACKET_ID: PacketId = PacketId::MAX;

/// A SUBSCRIBE of ours that is not answered.
pub(crate) struct Unasked {
    filters: Vec<Box<str>>,
    /// When the answer must have come.
    pub until: Duration,
}

impl<O: Observer> Passage<'_, O> {
    /// The upstream has accepted the client: subscribes it to what hooks have noted.
    pub(super) fn subscribe_unasked(&mut self, connack: &Connack<'_>) {
        let wanted = std::mem::take(&mut self.guard.client.subscriptions);
        let version = self.version();
        // 3.1 has no word for a session that goes on.
        let is_new = match version {
            Version::V3_1 => self.guard.clean_start,
            _ => !connack.session_present,
        };
        let Some(upstream) = self.link.upstream.filter(|_| is_new && !wanted.is_empty()) else { return };
        let mut subscriptions = SubscriptionsBuf::new();
        for (filter, options) in &wanted {
            let options = match version {
                Version::V5 => *options,
                _ => SubscribeOptions::new(options.qos), // There is nothing else to say.
            };
            if let Ok(filter) = TopicFilter::new(filter) {
                subscriptions.push(filter, options);
            }
        }
        let packet = Packet::Subscribe(Subscribe::new(PACKET_ID, subscriptions.as_subscriptions()));
        let mut bytes = Vec::new();
        if let Err(error) = packet.encode(version, &mut bytes) {
            return log::error!("{}: its subscriptions cannot be made: {error}", self.guard.client);
        }
        if bytes.len() > self.guard.to_upstream.packet {
            return log::warn!("{}: the upstream does not take its subscriptions at once", self.guard.client);
        }
        self.link.observe(self.io, Direction::ToUpstream, &packet, bytes.len(), 0, self.context);
        self.io.send(upstream, &bytes);
        let filters = wanted.into_iter().map(|(filter, _)| filter).collect();
        let until = self.io.now() + self.context.limits.connack_time;
        self.guard.unasked = Some(Unasked { filters, until });
    }

    /// Takes the answer to a SUBSCRIBE of ours; `None` if it is the client's.
    pub(super) fn suback_unasked(&mut self, suback: &Suback<'_>) -> Result<Option<Verdict>, Then> {
        let Some(unasked) = self.guard.unasked.take_if(|_| suback.packet_id == PACKET_ID) else {
            return Ok(None);
        };
        for (filter, code) in unasked.filters.iter().zip(suback.codes.iter()) {
            match QoS::from_u8(code.code()) {
                Some(qos) if self.context.hooks.wants(HookPhase::Subscribed) => {
                    self.tell(&Event::Subscribed { filter, qos })?;
                }
                Some(_) => {}
                None => self.note_refused(filter, code),
            }
        }
        self.set_deadline();
        if !self.guard.blocked {
            self.io.resume(self.link.client);
        }
        Ok(Some(Verdict::Take))
    }

    fn note_refused(&self, filter: &str, code: ReasonCode) {
        let client = &self.guard.client;
        log::warn!("{client}: the upstream does not subscribe it to {filter:?} unasked: {}", code.name());
    }
}
