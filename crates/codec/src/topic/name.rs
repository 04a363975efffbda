use core::fmt;

use super::{MAX_TOPIC_LEN, TopicError};

/// The topic of a message: at least one character, no wildcards, no U+0000, at most [`MAX_TOPIC_LEN`] bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicName<'a>(&'a str);

impl<'a> TopicName<'a> {
    /// Checks `text` (5.0 §4.7).
    ///
    /// # Errors
    /// Says which rule it breaks.
    pub fn new(text: &'a str) -> Result<Self, TopicError> {
        check_name(text).map(|()| Self(text))
    }

    /// The text of the name.
    pub const fn as_str(self) -> &'a str {
        self.0
    }

    /// Its levels: `a//b` has `a`, an empty one and `b`.
    pub fn levels(self) -> impl DoubleEndedIterator<Item = &'a str> {
        self.0.split('/')
    }

    /// Whether it begins with `$`, so that filters that begin with a wildcard pass it by. [MQTT-4.7.2-1]
    pub const fn is_dollar(self) -> bool {
        matches!(self.0.as_bytes(), [b'$', ..])
    }
}

impl fmt::Display for TopicName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.0)
    }
}

impl AsRef<str> for TopicName<'_> {
    fn as_ref(&self) -> &str {
        self.0
    }
}

#[inline]
pub(crate) fn check_name(text: &str) -> Result<(), TopicError> {
    let bytes = text.as_bytes();
    if bytes.is_empty() {
        return Err(TopicError::Empty); // [MQTT-4.7.3-1]
    }
    if bytes.len() > MAX_TOPIC_LEN {
        return Err(TopicError::TooLong); // [MQTT-4.7.3-3]
    }
    if has_special(bytes) {
        // [MQTT-4.7.3-2], else [MQTT-3.3.2-2], [MQTT-4.7.0-1]
        return Err(if bytes.contains(&0) { TopicError::NulCharacter } else { TopicError::WildcardInName });
    }
    Ok(())
}

/// Whether U+0000, `#` or `+` is among `bytes`, eight at a time: every PUBLISH comes through here.
#[inline]
pub(super) fn has_special(bytes: &[u8]) -> bool {
    let special = |word: &[u8; 8]| word_has_special(u64::from_ne_bytes(*word));
    match bytes.last_chunk::<8>() {
        // The last eight overlap with those before, so that none is left over.
        Some(last) => special(last) || bytes.as_chunks::<8>().0.iter().any(special),
        None => bytes.iter().any(|byte| matches!(byte, 0 | b'#' | b'+')),
    }
}

const fn word_has_special(word: u64) -> bool {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    /// Whether one of the eight bytes is zero: only there does the subtraction borrow into a top bit that was clear.
    const fn has_zero(word: u64) -> bool {
        word.wrapping_sub(ONES) & !word & (ONES << 7) != 0
    }
    // `#` and `+` differ in one bit: with it set, both are `+`.
    const BIT: u64 = ONES * (b'#' ^ b'+') as u64;
    has_zero(word) || has_zero((word | BIT) ^ (ONES * b'+' as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_bytes_are_found_wherever_they_stand() {
        for len in 0..40 {
            for at in 0..len {
                for byte in 0..=u8::MAX {
                    for others in [b'a', b'"', b'$', b'*', b',', 1, 0x7F, 0x80, 0xAB, 0xFF] {
                        let mut bytes = vec![others; len];
                        bytes[at] = byte;
                        assert_eq!(has_special(&bytes), matches!(byte, 0 | b'#' | b'+'), "{bytes:02x?}");
                    }
                }
            }
        }
    }
}
