//! What the server has said that it does not take (5.0 §3.2.2.3). It is not asked for that: a server may end the
//! connection for it, and would do so again after each reconnect.

use alloc::sync::Arc;

use mqway_codec::{Properties, PropertyId, QoS, ReasonCode, TopicFilter, Version};

use super::{Message, Outcome, Subscription};

/// What the present server takes.
#[derive(Clone, Debug)]
pub(super) struct Limits {
    /// Bytes of the largest packet.
    pub maximum_packet: usize,
    pub maximum_qos: QoS,
    pub retain: bool,
    wildcards: bool,
    shares: bool,
    identifiers: bool,
}

impl Limits {
    /// Of a server that has not said anything.
    pub fn none() -> Limits {
        Limits::said(Properties::EMPTY)
    }

    /// As CONNACK says.
    pub fn said(said: Properties<'_>) -> Limits {
        Limits {
            maximum_packet: said.maximum_packet_size().map_or(usize::MAX, |size| size.get() as usize),
            maximum_qos: said.maximum_qos().unwrap_or(QoS::ExactlyOnce),
            retain: said.retain_available().unwrap_or(true),
            wildcards: said.wildcard_subscription_available().unwrap_or(true),
            shares: said.shared_subscription_available().unwrap_or(true),
            identifiers: said.subscription_identifier_available().unwrap_or(true),
        }
    }

    /// What becomes of a message that the server does not take, or that is not for a client to send.
    pub fn refuse(&self, message: &Arc<Message>) -> Option<Outcome> {
        let properties = message.properties.as_properties();
        // Aliases are this side's own affair; identifiers are a server's to send. [MQTT-3.3.4-6]
        let not_ours = [PropertyId::TopicAlias, PropertyId::SubscriptionIdentifier];
        if not_ours.iter().any(|id| properties.contains(*id)) {
            return Some(Outcome::Invalid(message.clone()));
        }
        if message.qos > self.maximum_qos {
            return Some(Outcome::QosNotSupported(message.clone())); // [MQTT-3.2.2-11]
        }
        if message.retain && !self.retain {
            return Some(Outcome::RetainNotSupported(message.clone())); // [MQTT-3.2.2-14]
        }
        None
    }

    /// Why the server does not take a subscription, in the words that it would use itself.
    pub fn refuse_subscription(&self, version: Version, wanted: &Subscription) -> Option<ReasonCode> {
        let filter = TopicFilter::for_version(version, &wanted.filter).ok()?;
        if filter.share().is_some() && !self.shares {
            return Some(ReasonCode::SharedSubscriptionsNotSupported);
        }
        if filter.has_wildcard() && !self.wildcards {
            return Some(ReasonCode::WildcardSubscriptionsNotSupported);
        }
        if wanted.identifier.is_some() && !self.identifiers {
            return Some(ReasonCode::SubscriptionIdentifiersNotSupported);
        }
        None
    }
}
