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
    version: Version,
    len: u8,
    bytes: [u8; KeptPacket::MOST],
}

/// What packets were kept in that are done with, for those to come: the next is taken while it is still in the cache, and
/// the allocator is not asked.
#[derive(Default)]
#[expect(clippy::vec_box, reason = "each goes out as it came in, and what is kept does not move")]
pub(crate) struct Spare(Vec<Box<KeptPacket>>);

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
            Delivery::Packet(_) => KeptPacket::SIZE,
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
    /// Bytes of the largest packet.
    pub const MOST: usize = 126;

    /// Bytes that each is counted for: what it takes, with its place in a session. So nobody looks at it, who knows where
    /// it lies in memory, only to say that it is done with.
    pub const SIZE: usize = 128 + 32;

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

impl Spare {
    /// So many stay, half a MiB; the others go back to the allocator.
    const MOST: usize = 4096;

    /// Keeps a copy of a PUBLISH without flags and properties, of [`KeptPacket::MOST`] bytes at the most.
    #[inline]
    pub fn keep(&mut self, version: Version, packet: &[u8]) -> Box<KeptPacket> {
        let new = || Box::new(KeptPacket { version, len: 0, bytes: [0; KeptPacket::MOST] });
        let mut kept = self.0.pop().unwrap_or_else(new);
        let packet = &packet[..packet.len().min(KeptPacket::MOST)];
        kept.version = version;
        kept.len = packet.len() as u8;
        kept.bytes[..packet.len()].copy_from_slice(packet);
        kept
    }

    /// Takes what a delivery was kept in that is done with.
    #[inline]
    pub fn take_back(&mut self, delivery: Delivery) {
        if let Delivery::Packet(kept) = delivery
            && self.0.len() < Spare::MOST
        {
            self.0.push(kept);
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
                let delivery = Delivery::Packet(Spare::default().keep(version, &packet));
                let Content { raw, topic, payload, .. } = delivery.content();
                assert_eq!((raw, topic, payload), (Some((version, &packet[..])), sent.topic, sent.payload));
                let message = delivery.message();
                assert_eq!((&*message.topic, &*message.payload), (sent.topic, sent.payload));
                assert_eq!((message.qos, message.retain), (sent.qos, false));
            }
        }
    }

    #[test]
    fn what_a_packet_was_kept_in_shows_nothing_of_it_to_the_next() {
        let mut spare = Spare::default();
        for len in [KeptPacket::MOST, 7, 0, 8] {
            let packet = vec![len as u8; len];
            let kept = spare.keep(Version::V5, &packet);
            assert_eq!(kept.bytes(), packet);
            spare.take_back(Delivery::Packet(kept));
            assert_eq!(spare.0.len(), 1);
        }
    }

    #[test]
    fn so_many_are_spare_and_no_more() {
        let mut spare = Spare::default();
        let all: Vec<_> = (0..Spare::MOST + 1).map(|_| spare.keep(Version::V5, b"x")).collect();
        all.into_iter().for_each(|kept| spare.take_back(Delivery::Packet(kept)));
        assert_eq!(spare.0.len(), Spare::MOST);
    }

    #[test]
    fn a_delivery_is_small() {
        assert!(size_of::<Option<Delivery>>() <= 16, "{}", size_of::<Option<Delivery>>());
        assert!(size_of::<KeptPacket>() <= 128, "{}", size_of::<KeptPacket>());
    }
}
