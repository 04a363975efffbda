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
    // One pass without an early exit, for the compiler to use wide registers: bad topics are rare.
    let bad = bytes.iter().fold(false, |bad, byte| bad | matches!(byte, 0 | b'#' | b'+'));
    if bad {
        // [MQTT-4.7.3-2], else [MQTT-3.3.2-2], [MQTT-4.7.0-1]
        return Err(if bytes.contains(&0) { TopicError::NulCharacter } else { TopicError::WildcardInName });
    }
    Ok(())
}
