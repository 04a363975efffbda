//! A PUBLISH like the one before it needs no second look.
//!
//! Most clients publish to few topics, and often to one: the same first byte, the same topic name, another payload. Of
//! such a packet nothing is left to check that the one before has not shown. Comparing a few bytes takes a fifth of
//! the time that decoding does, and where messages come in batches that is what a proxy spends most on.

use mqway_codec::{QoS, Version};

/// Topic names up to this length are remembered.
const LONGEST: usize = 46;

/// What the last PUBLISH of one direction began with. Nothing is remembered while `len` is 0.
#[derive(Clone, Copy)]
pub(crate) struct Familiar {
    /// Type and flags.
    first: u8,
    len: u8,
    /// The topic name with its length in front.
    topic: [u8; 2 + LONGEST],
}

impl Default for Familiar {
    fn default() -> Familiar {
        Familiar { first: 0, len: 0, topic: [0; 2 + LONGEST] }
    }
}

impl Familiar {
    /// Remembers a PUBLISH that the decoder has accepted.
    #[inline]
    pub fn remember(&mut self, packet: &[u8], topic: &str) {
        let len = 2 + topic.len();
        let fits = self.topic.get_mut(..len).filter(|_| !topic.is_empty());
        let (Some(place), Some(first)) = (fits, packet.first()) else { return self.len = 0 };
        let [high, low] = (topic.len() as u16).to_be_bytes();
        place[..2].copy_from_slice(&[high, low]);
        place[2..].copy_from_slice(topic.as_bytes());
        self.first = *first;
        self.len = len as u8;
    }

    /// The length of the packet at the start of `bytes`, if all of it is there and it is like the one remembered: a
    /// PUBLISH that the decoder would accept. `None` says nothing.
    #[inline]
    pub fn len_of(&self, bytes: &[u8], version: Version, limit: usize) -> Option<usize> {
        if self.len == 0 {
            return None;
        }
        let (header, remaining) = match *bytes {
            [first, len @ 0..=0x7f, ..] if first == self.first => (2, usize::from(len)),
            // In the fewest bytes that hold it. [MQTT-1.5.5-1]
            [first, low @ 0x80..=0xff, high @ 1..=0x7f, ..] if first == self.first => {
                (3, usize::from(low & 0x7f) | usize::from(high) << 7)
            }
            _ => return None,
        };
        let body = bytes.get(header..header + remaining)?;
        let mut rest = body.strip_prefix(self.topic.get(..usize::from(self.len))?)?;
        if QoS::from_u8(self.first >> 1 & 0b11)? != QoS::AtMostOnce {
            match rest {
                [0, 0, ..] => return None,
                [_, _, behind @ ..] => rest = behind,
                _ => return None,
            }
        }
        let plain = version != Version::V5 || rest.first() == Some(&0); // no properties
        (plain && header + remaining <= limit).then_some(header + remaining)
    }
}

#[cfg(test)]
mod tests {
    use mqway_codec::{Decoder, Packet, PacketId, Publish};
    use mqway_engine::sim::Random;

    use super::*;

    #[test]
    fn whatever_is_familiar_the_decoder_accepts_too() {
        let mut random = Random::new(7);
        let mut familiar_ones = 0;
        for _ in 0..200_000 {
            let version = [Version::V3_1, Version::V3_1_1, Version::V5][random.below(3)];
            let topic = "a/b/".repeat(random.below(12)) + "c";
            let payload = vec![b'x'; random.below(200)];
            let mut publish = Publish::new(&topic, &payload);
            publish.qos = QoS::from_u8(random.below(3) as u8).unwrap();
            publish.packet_id = (publish.qos != QoS::AtMostOnce).then(|| PacketId::new(7).unwrap());
            publish.retain = random.below(2) == 0;
            let mut packet = Vec::new();
            publish.encode(version, &mut packet).unwrap();
            let mut familiar = Familiar::default();
            familiar.remember(&packet, &topic);

            let limit = 20 + random.below(300);
            let mut next = packet.clone();
            for _ in 0..random.below(3) {
                let at = random.below(next.len().min(12));
                next[at] = random.next_u64() as u8;
            }
            next.truncate(next.len() - random.below(2) * random.below(next.len()));
            let decoded = Decoder::with_version(version, limit)
                .next(&next)
                .map(|found| found.map(|(packet, len)| (matches!(packet, Packet::Publish(_)), len)));
            if let Some(len) = familiar.len_of(&next, version, limit) {
                familiar_ones += 1;
                assert_eq!(decoded, Ok(Some((true, len))), "{next:x?}");
            }
            if next == packet && topic.len() <= LONGEST && packet.len() <= limit {
                assert_eq!(familiar.len_of(&next, version, limit), Some(packet.len()));
            }
        }
        assert!(familiar_ones > 20_000, "{familiar_ones}");
    }

    #[test]
    fn nothing_is_familiar_at_first() {
        assert_eq!(Familiar::default().len_of(&[0, 0], Version::V3_1_1, 100), None);
        assert_eq!(Familiar::default().len_of(&[0x30, 3, 0, 1, b'a'], Version::V3_1_1, 100), None);
    }
}
