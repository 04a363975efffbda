//! Topic aliases of 5.0 (§3.3.2.3.4): numbers that stand for topic names, for one connection and one direction.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::num::NonZeroU16;

/// The aliases that the peer has set.
#[derive(Clone, Debug, Default)]
pub struct AliasesIn {
    /// By alias less one; as long as the highest that was set.
    names: Vec<Option<Box<str>>>,
    maximum: u16,
    /// Bytes of all names.
    bytes: usize,
}

/// Bytes of the names that a peer may set: so many for each alias, and at least enough for two of the longest topics.
const BYTES_PER_ALIAS: usize = 256;
const LEAST_BYTES: usize = 128 * 1024;

/// Bytes of a topic that an alias of ours is set for. A longer one would cost more memory than it saves bytes, unless it
/// is sent again and again; and few are longer.
const LONGEST_NAMED: usize = 1024;

/// A PUBLISH whose alias cannot be resolved. Both end the connection, with reasons of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AliasError {
    /// The alias is above our Topic Alias Maximum: 0x94. [MQTT-3.3.2-9], [MQTT-3.3.2-11]
    OverMaximum,
    /// There is no topic name, and the alias was not set before: 0x82.
    Unknown,
    /// The names of all aliases together would be longer than we keep: 0x97.
    TooLong,
}

impl AliasesIn {
    /// For a connection on which we have announced this Topic Alias Maximum.
    pub fn new(maximum: u16) -> AliasesIn {
        AliasesIn { names: Vec::new(), maximum, bytes: 0 }
    }

    /// The topic name of a PUBLISH with this topic and alias, after remembering it if both are there. Every alias up to
    /// the maximum will do. [MQTT-3.3.2-10], [MQTT-3.3.2-12]
    ///
    /// # Errors
    /// As [`AliasError`] says.
    pub fn resolve<'a>(
        &'a mut self,
        topic: &'a str,
        alias: Option<NonZeroU16>,
    ) -> Result<&'a str, AliasError> {
        let Some(alias) = alias else { return Ok(topic) };
        if alias.get() > self.maximum {
            return Err(AliasError::OverMaximum);
        }
        let index = usize::from(alias.get()) - 1;
        if topic.is_empty() {
            return self.names.get(index).and_then(Option::as_deref).ok_or(AliasError::Unknown);
        }
        if self.names.len() <= index {
            self.names.resize(index + 1, None);
        }
        // The same name again, as some clients send it each time, need not be copied.
        let before = self.names[index].as_deref();
        if before != Some(topic) {
            let bytes = self.bytes - before.map_or(0, str::len) + topic.len();
            if bytes > LEAST_BYTES.max(BYTES_PER_ALIAS * usize::from(self.maximum)) {
                return Err(AliasError::TooLong);
            }
            self.bytes = bytes;
            self.names[index] = Some(topic.into());
        }
        Ok(topic)
    }
}

/// The aliases that we set: one for each of the first topics, as many as the peer takes.
///
/// None is ever given to another topic. A sender of few topics, which gains most, has one for each of them; with many,
/// to change them about costs more than it saves.
#[derive(Clone, Debug, Default)]
pub struct AliasesOut {
    by_topic: BTreeMap<Box<str>, NonZeroU16>,
    maximum: u16,
}

/// How a topic is to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// By its name alone.
    Name,
    /// By its name, with this alias to remember.
    NameAndAlias(NonZeroU16),
    /// By this alias, with an empty name.
    Alias(NonZeroU16),
}

impl AliasesOut {
    /// For a connection on which the peer has announced this Topic Alias Maximum.
    pub fn new(maximum: u16) -> AliasesOut {
        AliasesOut { by_topic: BTreeMap::new(), maximum }
    }

    /// How to send `topic` now. What it says must be done: the peer's table is what we have told it.
    pub fn send(&mut self, topic: &str) -> Sent {
        if self.maximum == 0 || topic.len() > LONGEST_NAMED {
            return Sent::Name; // [MQTT-3.1.2-27], [MQTT-3.2.2-18]
        }
        if let Some(alias) = self.by_topic.get(topic) {
            return Sent::Alias(*alias);
        }
        // [MQTT-3.1.2-26], [MQTT-3.2.2-17], [MQTT-3.3.2-9], [MQTT-3.3.2-11]
        let next = u16::try_from(self.by_topic.len() + 1).ok().filter(|next| *next <= self.maximum);
        match next.and_then(NonZeroU16::new) {
            Some(alias) => {
                self.by_topic.insert(topic.into(), alias);
                Sent::NameAndAlias(alias)
            }
            None => Sent::Name,
        }
    }

    /// What [`AliasesOut::send`] has just said was not done: a new alias has not been told to the peer.
    pub fn take_back(&mut self, sent: Sent) {
        if let Sent::NameAndAlias(new) = sent {
            self.by_topic.retain(|_, alias| *alias != new);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alias(value: u16) -> Option<NonZeroU16> {
        NonZeroU16::new(value)
    }

    #[test]
    fn an_alias_stands_for_the_name_that_it_was_last_sent_with() {
        let mut aliases = AliasesIn::new(2);
        assert_eq!(aliases.resolve("", alias(1)), Err(AliasError::Unknown));
        assert_eq!(aliases.resolve("a", alias(1)), Ok("a"));
        assert_eq!(aliases.resolve("", alias(1)), Ok("a"));
        assert_eq!(aliases.resolve("b", alias(1)), Ok("b"));
        assert_eq!(aliases.resolve("", alias(1)), Ok("b"));
        assert_eq!(aliases.resolve("c", None), Ok("c"));
        assert_eq!(aliases.resolve("", alias(2)), Err(AliasError::Unknown));
        assert_eq!(aliases.resolve("c", alias(3)), Err(AliasError::OverMaximum)); // [MQTT-3.3.2-9]
    }

    #[test]
    fn every_alias_up_to_the_maximum_is_taken() {
        // [MQTT-3.3.2-10], [MQTT-3.3.2-12]
        let mut aliases = AliasesIn::new(u16::MAX);
        for value in [1, 2, 300, u16::MAX] {
            assert_eq!(aliases.resolve("a", alias(value)), Ok("a"));
            assert_eq!(aliases.resolve("", alias(value)), Ok("a"));
        }
    }

    #[test]
    fn long_names_do_not_add_up() {
        let name = |letter: char| letter.to_string().repeat(usize::from(u16::MAX));
        let mut aliases = AliasesIn::new(16);
        for _ in 0..3 {
            assert_eq!(aliases.resolve(&name('a'), alias(1)), Ok(&*name('a')));
            assert_eq!(aliases.resolve(&name('b'), alias(1)), Ok(&*name('b')));
        }
        assert_eq!(aliases.resolve(&name('c'), alias(2)), Ok(&*name('c')));
        assert_eq!(aliases.resolve(&name('d'), alias(3)), Err(AliasError::TooLong));
        assert_eq!(AliasesOut::new(1).send(&name('e')), Sent::Name);
    }

    #[test]
    fn the_first_topics_get_the_aliases_that_there_are() {
        let mut aliases = AliasesOut::new(1);
        let one = NonZeroU16::MIN;
        assert_eq!(aliases.send("a"), Sent::NameAndAlias(one));
        // [MQTT-3.1.2-26], [MQTT-3.2.2-17], [MQTT-3.3.2-9], [MQTT-3.3.2-11]
        assert_eq!(aliases.send("b"), Sent::Name);
        assert_eq!(aliases.send("a"), Sent::Alias(one));
        assert_eq!(AliasesOut::new(0).send("a"), Sent::Name); // [MQTT-3.1.2-27], [MQTT-3.2.2-18]
    }
}
