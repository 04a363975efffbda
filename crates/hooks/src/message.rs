//! A message that hooks judge and change.

use std::borrow::Cow;

use mqway_codec::{EncodeError, Properties, PropertiesBuf, Publish, QoS, TopicError, TopicName, Will};

use crate::Known;

/// An application message on its way from a client or to one. Nothing is copied until a hook changes it.
#[derive(Clone, Debug)]
pub struct Message<'a> {
    topic: Cow<'a, str>,
    payload: Cow<'a, [u8]>,
    qos: QoS,
    retain: bool,
    dup: bool,
    will: bool,
    properties: Properties<'a>,
    own_properties: Option<PropertiesBuf>,
    changed: bool,
}

impl<'a> Message<'a> {
    /// A message of QoS 0, not retained.
    pub fn new(topic: TopicName<'a>, payload: &'a [u8]) -> Message<'a> {
        Message::from_publish(&Publish::new(topic.as_str(), payload), topic.as_str())
    }

    /// The message of a PUBLISH, whose topic alias stands for `topic`.
    #[inline]
    pub fn from_publish(publish: &Publish<'a>, topic: &'a str) -> Message<'a> {
        Message {
            topic: Cow::Borrowed(topic),
            payload: Cow::Borrowed(publish.payload),
            qos: publish.qos,
            retain: publish.retain,
            dup: publish.dup,
            will: false,
            properties: publish.properties,
            own_properties: None,
            changed: false,
        }
    }

    /// The message of a will.
    pub fn from_will(will: &Will<'a>) -> Message<'a> {
        let mut publish = Publish::new(will.topic, will.payload);
        publish.qos = will.qos;
        publish.retain = will.retain;
        publish.properties = will.properties;
        Message { will: true, ..Message::from_publish(&publish, will.topic) }
    }

    /// The topic name. For a client, as the client knows it; see the order of hooks at [`Hooks`](crate::Hooks).
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// Gives it the topic that hooks are known to give it.
    pub(crate) fn rename(&mut self, known: Known<'_>) -> Result<(), TopicError> {
        match known {
            Known::Same => Ok(()),
            Known::As(topic) => self.set_topic(topic),
        }
    }

    /// Its topic as long as nobody has changed it.
    pub(crate) fn sent_topic(&self) -> Option<&'a str> {
        match self.topic {
            Cow::Borrowed(topic) => Some(topic),
            Cow::Owned(_) => None,
        }
    }

    /// Publishes it to another topic.
    ///
    /// # Errors
    /// If the text is no topic name; nothing is changed then.
    pub fn set_topic(&mut self, topic: impl Into<String>) -> Result<(), TopicError> {
        let topic = topic.into();
        TopicName::new(&topic)?;
        self.topic = Cow::Owned(topic);
        self.changed = true;
        Ok(())
    }

    /// The payload.
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// Puts another payload in its place.
    pub fn set_payload(&mut self, payload: impl Into<Vec<u8>>) {
        self.payload = Cow::Owned(payload.into());
        self.changed = true;
    }

    /// The QoS that it came with, or is delivered with.
    pub fn qos(&self) -> QoS {
        self.qos
    }

    /// Publishes it with another QoS. Its sender is answered by the one that it sent.
    pub fn set_qos(&mut self, qos: QoS) {
        self.qos = qos;
        self.changed = true;
    }

    /// The retain flag.
    pub fn retain(&self) -> bool {
        self.retain
    }

    /// Sets the retain flag.
    pub fn set_retain(&mut self, retain: bool) {
        self.retain = retain;
        self.changed = true;
    }

    /// Whether its sender says that it may have sent it before.
    pub fn dup(&self) -> bool {
        self.dup
    }

    /// Whether it is a will.
    pub fn is_will(&self) -> bool {
        self.will
    }

    /// The properties.
    pub fn properties(&self) -> Properties<'_> {
        match &self.own_properties {
            Some(own) => own.as_properties(),
            None => self.properties,
        }
    }

    /// Puts other properties in their place.
    pub fn set_properties(&mut self, properties: PropertiesBuf) {
        self.own_properties = Some(properties);
        self.changed = true;
    }

    /// Appends a user property.
    ///
    /// # Errors
    /// If the name or the value cannot stand in a packet.
    pub fn add_user_property(&mut self, name: &str, value: &str) -> Result<(), EncodeError> {
        let mut properties = PropertiesBuf::new();
        properties.extend(self.properties().iter())?;
        properties.push(mqway_codec::Property::UserProperty(name, value))?;
        self.set_properties(properties);
        Ok(())
    }

    /// Whether a hook has changed anything.
    #[inline]
    pub fn is_changed(&self) -> bool {
        self.changed
    }

    /// A copy that borrows nothing.
    pub fn to_static(&self) -> Message<'static> {
        let mut properties = PropertiesBuf::new();
        // They stood together in a packet, or were put together one by one.
        let _ = properties.extend(self.properties().iter());
        Message {
            topic: Cow::Owned(self.topic.to_string()),
            payload: Cow::Owned(self.payload.to_vec()),
            properties: Properties::EMPTY,
            own_properties: Some(properties),
            ..*self
        }
    }

    /// The message as a will.
    pub fn as_will(&self) -> Will<'_> {
        Will {
            topic: &self.topic,
            payload: &self.payload,
            qos: self.qos,
            retain: self.retain,
            properties: self.properties(),
        }
    }

    /// The message as a PUBLISH without a packet identifier, and without DUP.
    pub fn as_publish(&self) -> Publish<'_> {
        let mut publish = Publish::new(&self.topic, &self.payload);
        publish.qos = self.qos;
        publish.retain = self.retain;
        publish.properties = self.properties();
        publish
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_changed_until_a_hook_does_it() {
        let mut message = Message::new(TopicName::new("a/b").unwrap(), b"x");
        assert!(!message.is_changed());
        assert!(message.set_topic("a/+").is_err() && !message.is_changed());
        message.set_topic("c").unwrap();
        message.add_user_property("by", "test").unwrap();
        assert!(message.is_changed());
        let publish = message.as_publish();
        assert_eq!((publish.topic, publish.payload), ("c", &b"x"[..]));
        assert_eq!(publish.properties.user_properties().next(), Some(("by", "test")));
    }
}
