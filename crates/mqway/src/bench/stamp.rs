//! What a payload begins with, so that its receiver can tell what became of it.

/// The bytes of a stamp, and so of the shortest payload.
pub const LEN: usize = 28;

const MAGIC: [u8; 4] = *b"mqwb";

/// Who sent a message, which of his it is, and when it was meant to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// The run that it belongs to: a random number.
    pub run: u32,
    /// The publisher, by its number in that run.
    pub publisher: u32,
    /// Counts the publisher's messages, from 0.
    pub number: u64,
    /// Nanoseconds since 1970.
    pub at: u64,
}

impl Stamp {
    /// The bytes to begin a payload with.
    #[inline]
    pub fn to_bytes(self) -> [u8; LEN] {
        let mut bytes = [0; LEN];
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[4..8].copy_from_slice(&self.run.to_be_bytes());
        bytes[8..12].copy_from_slice(&self.publisher.to_be_bytes());
        bytes[12..20].copy_from_slice(&self.number.to_be_bytes());
        bytes[20..].copy_from_slice(&self.at.to_be_bytes());
        bytes
    }

    /// The stamp of a payload and what follows it; `None` if nobody like us has sent it.
    #[inline]
    pub fn split_from(payload: &[u8]) -> Option<(Stamp, &[u8])> {
        let rest = payload.strip_prefix(&MAGIC)?;
        let (run, rest) = rest.split_first_chunk()?;
        let (publisher, rest) = rest.split_first_chunk()?;
        let (number, rest) = rest.split_first_chunk()?;
        let (at, rest) = rest.split_first_chunk()?;
        let stamp = Stamp {
            run: u32::from_be_bytes(*run),
            publisher: u32::from_be_bytes(*publisher),
            number: u64::from_be_bytes(*number),
            at: u64::from_be_bytes(*at),
        };
        Some((stamp, rest))
    }
}

/// What follows the stamp in a payload of `size` bytes: the same in all messages of a run, and compared on arrival.
pub fn filler(size: usize) -> Vec<u8> {
    (b'a'..=b'z').cycle().take(size.saturating_sub(LEN)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_stamped_is_read_again() {
        let stamp = Stamp { run: 7, publisher: u32::MAX, number: 1 << 40, at: 3 };
        let mut payload = stamp.to_bytes().to_vec();
        payload.extend(filler(32));
        assert_eq!(Stamp::split_from(&payload), Some((stamp, &b"abcd"[..])));
        for len in 0..LEN {
            assert_eq!(Stamp::split_from(&payload[..len]), None, "{len}");
        }
        payload[0] = b'M';
        assert_eq!(Stamp::split_from(&payload), None);
    }
}
