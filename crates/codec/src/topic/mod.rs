//! Topic names and topic filters (5.0 §4.7, §4.8).

mod filter;
mod name;

use core::fmt;

pub use filter::TopicFilter;
pub use name::TopicName;
pub(crate) use name::check_name;

/// The longest topic name or filter, in bytes of UTF-8. [MQTT-4.7.3-3]
pub const MAX_TOPIC_LEN: usize = 65_535;

/// Why a string is not a topic name, or not a topic filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TopicError {
    /// It is empty. [MQTT-4.7.3-1]
    Empty,
    /// It is longer than [`MAX_TOPIC_LEN`]. [MQTT-4.7.3-3]
    TooLong,
    /// It contains U+0000. [MQTT-4.7.3-2]
    NulCharacter,
    /// A topic name with `+` or `#` in it. [MQTT-4.7.0-1]
    WildcardInName,
    /// A `#` that is not alone in the last level. [MQTT-4.7.1-1]
    MultiLevelWildcard,
    /// A `+` that is not alone in its level. [MQTT-4.7.1-2]
    SingleLevelWildcard,
    /// `$share/` with an empty share name, or one with `+` or `#` in it. [MQTT-4.8.2-1], [MQTT-4.8.2-2]
    ShareName,
    /// `$share/name` without `/` and a topic filter behind. [MQTT-4.8.2-2]
    ShareFilter,
}

impl fmt::Display for TopicError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "is empty",
            Self::TooLong => "is longer than 65535 bytes",
            Self::NulCharacter => "contains U+0000",
            Self::WildcardInName => "contains a wildcard",
            Self::MultiLevelWildcard => "has a # that is not alone in the last level",
            Self::SingleLevelWildcard => "has a + that is not alone in its level",
            Self::ShareName => "has a share name that is empty or contains a wildcard",
            Self::ShareFilter => "has a share name without a topic filter",
        })
    }
}

impl core::error::Error for TopicError {}
