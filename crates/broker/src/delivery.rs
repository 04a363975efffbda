//! What a session keeps of a message until its client has it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use mqway_codec::{Packet, Properties, Publish, SubscriptionId, Version, decode};
use mqway_engine::Blob;
use mqway_routing::ShareId;

use crate::Message;

/// A message on its way to one session, with what that session was promised.
///
/// Each is a kind and a pointer, which are moved in two registers: a larger one would be moved through memory, in wider
/// pieces than it was written in, for which the processor has to wait.
#[derive(Debug)]
pub(crate) enum Delivery {
    /// The PUBLISH that it came in, without flags and properties, where nobody else keeps it: a single copy that nobody
    /// counts, and mostly nobody reads again.
    Packet(Box<KeptPacket>),
    /// A message that others may keep, too.
    Message(Arc<Message>),
    /// One of which there is more to say.
    Special(Box<Special>),
}

/// A small packet.
pub(crate) struct KeptPacket {
    /// Bytes that it is counted for: those of the message.
    size: u16,
    version: Version,
    len: u8,
    bytes: [u8; KeptPacket::MOST],
}

/// A message with what few have.
#[derive(Debug)]
pub(crate) struct Special {
    message: Arc<Message>,
    /// The retain flag, for this session.
    retain: bool,
    identifiers: Identifiers,
    share: Option<ShareId>,
}

/// What a message says, as far as its receivers are concerned.
pub(crate) struct Content<'a> {
    /// The packet that it came in, and its version.
    pub raw: Option<(Version, &'a [u8])>,
    pub topic: &'a str,
    pub payload: &'a [u8],
    pub blob: Option<&'a Arc<Blob>>,
    pub properties: Properties<'a>,
    pub expires: Option<Duration>,
}

impl Delivery {
    /// One of which this is more to say than what the message says.
    #[cold]
    pub fn special(
        message: Arc<Message>,
        retain: bool,
        identifiers: &Identifiers,
        share: Option<ShareId>,
    ) -> Delivery {
        Delivery::Special(Box::new(Special { message, retain, identifiers: identifiers.clone(), share }))
    }

    /// The retain flag, for this session.
    pub fn retain(&self) -> bool {
        self.special_part().is_some_and(|special| special.retain)
    }

    /// The identifiers of the subscriptions that it is for.
    pub fn identifiers(&self) -> &[SubscriptionId] {
        self.special_part().map_or(&[], |special| special.identifiers.as_slice())
    }

    /// The shared subscription that it is for.
    #[inline]
    pub fn share(&self) -> Option<ShareId> {
        self.special_part()?.share
    }

    #[inline]
    fn special_part(&self) -> Option<&Special> {
        match self {
            Delivery::Special(special) => Some(special),
            Delivery::Packet(_) | Delivery::Message(_) => None,
        }
    }

    /// Bytes that it is counted for, where bytes are limited.
    #[inline]
    pub fn size(&self) -> usize {
        match self {
            Delivery::Packet(kept) => usize::from(kept.size),
            Delivery::Message(message) => message.size(),
            Delivery::Special(special) => special.message.size(),
        }
    }

    /// When it is of no use any more: see [`Message::expires`].
    pub fn expires(&self) -> Option<Duration> {
        match self {
            Delivery::Packet(_) => None,
            Delivery::Message(message) => message.expires,
            Delivery::Special(special) => special.message.expires,
        }
    }

    /// Its topic.
    pub fn topic(&self) -> &str {
        self.content().topic
    }

    /// What it says: a packet is decoded once more.
    pub fn content(&self) -> Content<'_> {
        match self {
            Delivery::Packet(kept) => {
                let Publish { topic, payload, properties, .. } = kept.publish();
                let raw = Some((kept.version, kept.bytes()));
                Content { raw, topic, payload, blob: None, properties, expires: None }
            }
            Delivery::Message(message) => content(message),
            Delivery::Special(special) => content(&special.message),
        }
    }

    /// The message, to be shared with others.
    pub fn message(&self) -> Arc<Message> {
        match self {
            Delivery::Packet(kept) => {
                let Publish { topic, payload, qos, .. } = kept.publish();
                Arc::new(Message { qos, ..Message::new(topic, payload) })
            }
            Delivery::Message(message) => message.clone(),
            Delivery::Special(special) => special.message.clone(),
        }
    }
}

fn content(message: &Message) -> Content<'_> {
    Content {
        raw: None,
        topic: &message.topic,
        payload: &message.payload,
        blob: message.payload.blob(),
        properties: message.properties.as_properties(),
        expires: message.expires,
    }
}

impl KeptPacket {
    /// Bytes of the largest packet: with them it fits into what the allocator gives for 128.
    pub const MOST: usize = 124;

    /// A copy of a PUBLISH without flags and properties, whose message is counted for so many bytes. `None`: it is too
    /// large.
    #[inline]
    pub fn new(version: Version, packet: &[u8], size: usize) -> Option<Box<KeptPacket>> {
        let (size, len) = (size.try_into().ok()?, packet.len().try_into().ok()?);
        let mut kept = Box::new(KeptPacket { size, version, len, bytes: [0; KeptPacket::MOST] });
        kept.bytes.get_mut(..packet.len())?.copy_from_slice(packet);
        Some(kept)
    }

    fn bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }

    /// What it was when it came, and so still is.
    fn publish(&self) -> Publish<'_> {
        match decode(self.version, self.bytes()) {
            Ok(Packet::Publish(publish)) => publish,
            _ => Publish::new("", &[]),
        }
    }
}

/// Only the length.
impl fmt::Debug for KeptPacket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a packet of {} bytes", self.len)
    }
}

/// The identifiers of the subscriptions that a delivery is for. Nearly always there is at most one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Identifiers {
    #[default]
    None,
    One([SubscriptionId; 1]),
    Many(Vec<SubscriptionId>),
}

impl Identifiers {
    pub fn push(&mut self, id: SubscriptionId) {
        *self = match std::mem::take(self) {
            Identifiers::None => Identifiers::One([id]),
            Identifiers::One([first]) => Identifiers::Many(vec![first, id]),
            Identifiers::Many(mut ids) => {
                ids.push(id);
                Identifiers::Many(ids)
            }
        };
    }

    pub fn as_slice(&self) -> &[SubscriptionId] {
        match self {
            Identifiers::None => &[],
            Identifiers::One(one) => one,
            Identifiers::Many(ids) => ids,
        }
    }
}

#[cfg(test)]
mod tests {
    use mqway_codec::{PacketId, QoS};

    use super::*;

    #[test]
    fn a_packet_that_is_held_says_what_it_said_when_it_came() {
        for version in [Version::V3_1, Version::V3_1_1, Version::V5] {
            for payload in [&[][..], &[7; 100]] {
                let mut sent = Publish::new("a/b", payload);
                (sent.qos, sent.packet_id) = (QoS::ExactlyOnce, PacketId::new(9));
                let mut packet = Vec::new();
                sent.encode(version, &mut packet).unwrap();
                let delivery = Delivery::Packet(KeptPacket::new(version, &packet, 0).unwrap());
                let Content { raw, topic, payload, .. } = delivery.content();
                assert_eq!((raw, topic, payload), (Some((version, &packet[..])), sent.topic, sent.payload));
                let message = delivery.message();
                assert_eq!((&*message.topic, &*message.payload), (sent.topic, sent.payload));
                assert_eq!((message.qos, message.retain), (sent.qos, false));
            }
        }
    }

    #[test]
    fn small_packets_are_kept_and_no_others() {
        for len in [0, 1, KeptPacket::MOST - 1, KeptPacket::MOST] {
            assert_eq!(KeptPacket::new(Version::V5, &vec![7; len], 0).unwrap().bytes(), vec![7; len]);
        }
        for len in [KeptPacket::MOST + 1, 255, 256, 256 + 7] {
            assert!(KeptPacket::new(Version::V5, &vec![7; len], 0).is_none());
        }
    }

    #[test]
    fn a_delivery_is_small() {
        assert!(size_of::<Option<Delivery>>() <= 16, "{}", size_of::<Option<Delivery>>());
        assert!(size_of::<KeptPacket>() <= 128, "{}", size_of::<KeptPacket>());
    }
}
