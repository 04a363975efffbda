use core::fmt;

use super::name::has_special;
use super::{MAX_TOPIC_LEN, TopicError, TopicName};
use crate::Version;

/// How the filter of a shared subscription begins (5.0 §4.8.2).
const SHARE: &str = "$share/";

/// What a subscription asks for: levels, with `+` in place of any one and `#` in place of all the rest. With
/// `$share/name/` in front it is a shared subscription's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicFilter<'a>(&'a str);

impl<'a> TopicFilter<'a> {
    /// Checks `text` by the rules of 5.0, those for shared subscriptions included (§4.7, §4.8.2).
    ///
    /// # Errors
    /// Says which rule it breaks.
    pub fn new(text: &'a str) -> Result<Self, TopicError> {
        Self::for_version(Version::V5, text)
    }

    /// Checks `text` by the rules of `version`. Before 5.0 `$share/` is a level like any other, so that there
    /// `$share/x` passes; where such a filter does have the form of a share, [`TopicFilter::share`] says so in every
    /// version, as brokers commonly serve shares to 3.1.1 clients too.
    ///
    /// # Errors
    /// Says which rule it breaks.
    pub fn for_version(version: Version, text: &'a str) -> Result<Self, TopicError> {
        check_filter(text)?;
        if version == Version::V5 {
            check_share(text)?;
        }
        Ok(Self(text))
    }

    /// For text that has been checked before.
    pub(crate) const fn checked(text: &'a str) -> Self {
        Self(text)
    }

    /// The text of the filter.
    pub const fn as_str(self) -> &'a str {
        self.0
    }

    /// Its levels, those of the share prefix included: `a//b` has `a`, an empty one and `b`.
    pub fn levels(self) -> impl DoubleEndedIterator<Item = &'a str> {
        self.0.split('/')
    }

    /// Whether `+` or `#` stands in it.
    pub fn has_wildcard(self) -> bool {
        self.0.bytes().any(|byte| matches!(byte, b'+' | b'#'))
    }

    /// Share name and filter, if this is `$share/name/filter`.
    pub fn share(self) -> Option<(&'a str, TopicFilter<'a>)> {
        let (name, filter) = self.0.strip_prefix(SHARE)?.split_once('/')?;
        let valid = !name.is_empty() && !name.contains(['+', '#']) && !filter.is_empty();
        valid.then_some((name, Self(filter)))
    }

    /// Whether messages to `topic` are for this filter (5.0 §4.7). A shared subscription's filter matches as the
    /// one behind its share name.
    pub fn matches(self, topic: TopicName<'_>) -> bool {
        let filter = self.share().map_or(self, |(_, filter)| filter);
        if topic.is_dollar() && filter.0.starts_with(['+', '#']) {
            return false; // [MQTT-4.7.2-1]
        }
        let (mut wanted, mut present) = (filter.0.split('/'), topic.as_str().split('/'));
        loop {
            match (wanted.next(), present.next()) {
                // Also where the topic has just ended: `sport/#` includes `sport` (5.0 §4.7.1.2).
                (Some("#"), _) | (None, None) => return true,
                (Some("+"), Some(_)) => {}
                (Some(wanted), Some(present)) if wanted == present => {} // [MQTT-4.7.3-4]
                _ => return false,
            }
        }
    }
}

impl fmt::Display for TopicFilter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.0)
    }
}

impl AsRef<str> for TopicFilter<'_> {
    fn as_ref(&self) -> &str {
        self.0
    }
}

/// A topic name is a filter for itself alone.
impl<'a> From<TopicName<'a>> for TopicFilter<'a> {
    fn from(name: TopicName<'a>) -> Self {
        Self(name.as_str())
    }
}

/// The rules that hold in every version.
fn check_filter(text: &str) -> Result<(), TopicError> {
    let bytes = text.as_bytes();
    if bytes.is_empty() {
        return Err(TopicError::Empty); // [MQTT-4.7.3-1]
    }
    if bytes.len() > MAX_TOPIC_LEN {
        return Err(TopicError::TooLong); // [MQTT-4.7.3-3]
    }
    if !has_special(bytes) {
        return Ok(()); // No character of it has a rule.
    }
    let mut rest = bytes;
    let mut starts_level = true;
    while let Some((&byte, after)) = rest.split_first() {
        match (byte, after.first()) {
            (0, _) => return Err(TopicError::NulCharacter), // [MQTT-4.7.3-2]
            (b'#', None) if starts_level => {}
            (b'#', _) => return Err(TopicError::MultiLevelWildcard), // [MQTT-4.7.1-1]
            (b'+', None | Some(b'/')) if starts_level => {}
            (b'+', _) => return Err(TopicError::SingleLevelWildcard), // [MQTT-4.7.1-2]
            _ => {}
        }
        starts_level = byte == b'/';
        rest = after;
    }
    Ok(())
}

/// The rules for a filter that begins with `$share/`, in 5.0.
fn check_share(text: &str) -> Result<(), TopicError> {
    let Some(share) = text.strip_prefix(SHARE) else { return Ok(()) };
    let (name, filter) = share.split_once('/').unwrap_or((share, ""));
    if name.is_empty() || name.contains(['+', '#']) {
        return Err(TopicError::ShareName); // [MQTT-4.8.2-1], [MQTT-4.8.2-2]
    }
    if filter.is_empty() {
        return Err(TopicError::ShareFilter); // [MQTT-4.8.2-2]
    }
    Ok(())
}
