//! The PUBLISH that begins like the one before it.
//!
//! A publisher sends to the same topic again and again. What its last PUBLISH was checked for (a topic name, UTF-8, no
//! wildcards, no properties) holds for the next one if that begins with the same bytes: it is compared, not decoded.

use std::cell::Cell;

use mqway_codec::{PacketId, Publish, QoS, Version};
use mqway_hooks::Epoch;

/// The topic of a connection's last PUBLISH that was decoded, if it had no properties.
#[derive(Debug, Default)]
pub(crate) struct Familiar {
    topic: String,
    /// Hooks have let the topic pass as it is, and will again while this holds.
    pub passed: Cell<Option<Epoch>>,
}

/// Longer topics are not kept: to copy each of them could cost more than it saves.
const LONGEST: usize = 255;

impl Familiar {
    /// Keeps what a PUBLISH was checked for.
    #[inline]
    pub fn remember(&mut self, publish: &Publish<'_>) {
        let plain = publish.properties.is_empty() && publish.topic.len() <= LONGEST;
        if plain && self.topic != publish.topic {
            self.topic.clear();
            self.topic.push_str(publish.topic);
            self.passed.set(None);
        }
    }

    /// Whether hooks need not be asked about the topic, if this is what holds now.
    #[inline]
    pub fn passes(&self, epoch: Option<Epoch>) -> bool {
        epoch.is_some() && epoch == self.passed.get()
    }

    /// The PUBLISH at the start of `bytes`, and its length, if it is whole, no longer than `limit`, and begins like the
    /// one before. Anything unusual is left to the decoder.
    #[inline]
    pub fn next<'a>(
        &'a self,
        version: Version,
        limit: usize,
        bytes: &'a [u8],
    ) -> Option<(Publish<'a>, usize)> {
        let (&first, rest) = bytes.split_first()?;
        let qos = match first {
            0x30 => QoS::AtMostOnce,
            0x32 => QoS::AtLeastOnce,
            0x34 => QoS::ExactlyOnce,
            _ => return None,
        };
        let (remaining, header) = match *rest {
            [low @ ..0x80, ..] => (usize::from(low), 2),
            // Neither a third byte nor more bytes than the length needs. [MQTT-1.5.5-1]
            [low, high @ 1..0x80, ..] => (usize::from(low & 0x7F) | usize::from(high) << 7, 3),
            _ => return None,
        };
        let len = header + remaining;
        let body = bytes.get(header..len)?;
        let (&[high, low], body) = body.split_first_chunk::<2>()?;
        let topic_len = usize::from(u16::from_be_bytes([high, low]));
        let (topic, mut body) = body.split_at_checked(topic_len)?;
        if topic != self.topic.as_bytes() || topic.is_empty() || len > limit {
            return None;
        }
        let packet_id = if qos == QoS::AtMostOnce {
            None
        } else {
            let (&id, after) = body.split_first_chunk::<2>()?;
            body = after;
            Some(PacketId::new(u16::from_be_bytes(id))?)
        };
        let payload = match (version, body) {
            (Version::V5, [0, payload @ ..]) => payload,
            (Version::V5, _) => return None,
            (Version::V3_1 | Version::V3_1_1, payload) => payload,
        };
        let publish = Publish { qos, packet_id, ..Publish::new(&self.topic, payload) };
        Some((publish, len))
    }
}

#[cfg(test)]
mod tests {
    use mqway_codec::{Decoder, Packet};
    use mqway_engine::sim::Random;

    use super::*;

    #[test]
    fn whatever_is_familiar_is_what_the_decoder_makes_of_it() {
        let mut random = Random::new(7);
        let mut familiar_ones = 0;
        for _ in 0..100_000 {
            let version = [Version::V3_1, Version::V3_1_1, Version::V5][random.below(3)];
            let topic = "a/b/".repeat(random.below(12)) + "c";
            let payload = vec![b'x'; random.below(200)];
            let mut publish = Publish::new(&topic, &payload);
            publish.qos = QoS::from_u8(random.below(3) as u8).unwrap();
            publish.packet_id = (publish.qos != QoS::AtMostOnce).then(|| PacketId::new(7).unwrap());
            publish.retain = random.below(8) == 0;
            let mut packet = Vec::new();
            publish.encode(version, &mut packet).unwrap();
            let mut familiar = Familiar::default();
            familiar.remember(&publish);

            let limit = 20 + random.below(300);
            for _ in 0..random.below(3) {
                let at = random.below(packet.len().min(12));
                packet[at] = random.next_u64() as u8;
            }
            packet.truncate(packet.len() - random.below(2) * random.below(packet.len()));
            if let Some((publish, len)) = familiar.next(version, limit, &packet) {
                familiar_ones += 1;
                let decoded = Decoder::with_version(version, limit).next(&packet);
                assert_eq!(decoded, Ok(Some((Packet::Publish(publish), len))), "{packet:x?}");
            }
        }
        assert!(familiar_ones > 10_000, "{familiar_ones}");
    }

    #[test]
    fn nothing_is_familiar_at_first() {
        let familiar = Familiar::default();
        assert_eq!(familiar.next(Version::V3_1_1, 100, &[0x30, 2, 0, 0]), None);
        assert_eq!(familiar.next(Version::V3_1_1, 100, &[0x30, 3, 0, 1, b'a']), None);
    }
}
