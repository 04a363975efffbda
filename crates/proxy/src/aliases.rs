//! Topic aliases (5.0 §3.3.2.3.4) that end at the proxy, of one direction.

use std::num::NonZeroU16;
use std::sync::Arc;

use mqway_codec::{Publish, ReasonCode};

/// The highest alias that a sender is allowed.
pub(crate) const ALIASES: u16 = 16;

/// The highest alias that is followed where it was agreed on before there were hooks.
const ALIASES_MIDWAY: u16 = 1_024;

/// Bytes of topic names that are remembered for one direction.
const REMEMBERED: usize = 64 * 1024;

/// What the aliases of one sender stand for.
#[derive(Default)]
pub(crate) struct Aliases {
    /// The highest that it was allowed.
    pub most: u16,
    /// By alias, from 1.
    topics: Vec<Option<Arc<str>>>,
    bytes: usize,
    /// Some may have been set before anybody looked.
    midway: bool,
}

impl Aliases {
    /// Those of a connection that may have set some already, up to `most`.
    pub fn midway(most: u16) -> Aliases {
        Aliases { most: most.min(ALIASES_MIDWAY), midway: most > 0, ..Aliases::default() }
    }

    /// The topic name that a PUBLISH with this alias is for. One that comes with a name is remembered by it.
    ///
    /// # Errors
    /// Why its sender may not say so.
    pub fn resolve(&mut self, publish: &Publish<'_>, alias: NonZeroU16) -> Result<Arc<str>, AliasError> {
        if alias.get() > self.most {
            let error = if self.midway { AliasError::Unseen } else { AliasError::OverMaximum };
            return Err(error);
        }
        let at = usize::from(alias.get()) - 1;
        if self.topics.len() <= at {
            self.topics.resize(at + 1, None);
        }
        let Some(place) = self.topics.get_mut(at) else { return Err(AliasError::OverMaximum) };
        if publish.topic.is_empty() {
            let error = if self.midway { AliasError::Unseen } else { AliasError::Unknown };
            return place.clone().ok_or(error);
        }
        self.bytes -= place.take().map_or(0, |before| before.len());
        if self.bytes + publish.topic.len() > REMEMBERED {
            return Err(AliasError::TooLong);
        }
        self.bytes += publish.topic.len();
        Ok(place.insert(publish.topic.into()).clone())
    }
}

/// What is wrong with an alias.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AliasError {
    /// It is above what was allowed.
    OverMaximum,
    /// It stands for nothing.
    Unknown,
    /// The names of all aliases take too much room.
    TooLong,
    /// It was set before there was anybody to see what it stands for.
    Unseen,
}

impl AliasError {
    /// The reason to give in DISCONNECT.
    pub fn reason(self) -> ReasonCode {
        match self {
            AliasError::OverMaximum => ReasonCode::TopicAliasInvalid, // [MQTT-3.3.2-9], [MQTT-3.3.2-11]
            AliasError::Unknown => ReasonCode::ProtocolError,
            AliasError::TooLong => ReasonCode::QuotaExceeded,
            AliasError::Unseen => ReasonCode::AdministrativeAction,
        }
    }

    /// In words.
    pub fn text(self) -> &'static str {
        match self {
            AliasError::OverMaximum => "PUBLISH with a topic alias above the maximum",
            AliasError::Unknown => "PUBLISH with a topic alias that was never set",
            AliasError::Unseen => "PUBLISH with a topic alias that was set before there were hooks to see it",
            AliasError::TooLong => "the names that topic aliases stand for are longer than 64 KiB in all",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(aliases: &mut Aliases, topic: &str, alias: u16) -> Result<String, AliasError> {
        let publish = Publish::new(topic, b"");
        aliases.resolve(&publish, NonZeroU16::new(alias).unwrap()).map(|topic| topic.to_string())
    }

    #[test]
    fn an_alias_stands_for_the_name_that_it_last_came_with() {
        let mut aliases = Aliases { most: 2, ..Aliases::default() };
        assert_eq!(resolve(&mut aliases, "", 2), Err(AliasError::Unknown));
        assert_eq!(resolve(&mut aliases, "a", 2).unwrap(), "a");
        assert_eq!(resolve(&mut aliases, "", 2).unwrap(), "a");
        assert_eq!(resolve(&mut aliases, "b", 2).unwrap(), "b");
        assert_eq!(resolve(&mut aliases, "", 2).unwrap(), "b");
        assert_eq!(resolve(&mut aliases, "", 1), Err(AliasError::Unknown));
        assert_eq!(resolve(&mut aliases, "a", 3), Err(AliasError::OverMaximum));
    }

    #[test]
    fn names_take_no_more_room_than_they_may() {
        let mut aliases = Aliases { most: 3, ..Aliases::default() };
        let long = "x".repeat(40_000);
        assert!(resolve(&mut aliases, &long, 1).is_ok());
        assert!(resolve(&mut aliases, &long, 1).is_ok());
        assert_eq!(resolve(&mut aliases, &long, 2), Err(AliasError::TooLong));
    }
}
