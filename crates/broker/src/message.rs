//! Messages on their way through the broker.

use std::sync::Arc;
use std::time::Duration;

use mqway_codec::{Properties, PropertiesBuf, Property, PropertyId, QoS, Version};
use mqway_engine::Blob;
use mqway_session::server::Incoming;

use crate::Payload;
use crate::delivery::KeptPacket;
use crate::payload::LARGE;
use crate::shared::SessionRef;
use crate::writer::is_5;

/// An application message, owned. It is shared by reference among all that it goes to.
#[derive(Clone, Debug)]
pub struct Message {
    /// The topic name.
    pub topic: Arc<str>,
    /// The message itself.
    pub payload: Payload,
    /// The properties of 5.0, but for the message expiry interval and the topic alias.
    pub properties: PropertiesBuf,
    /// When it is of no use any more, in time since the broker's start.
    pub expires: Option<Duration>,
    /// The QoS that it was published with.
    pub qos: QoS,
    /// The retain flag that it was published with.
    pub retain: bool,
}

impl Message {
    /// A message of QoS 0, not retained.
    pub fn new(topic: &str, payload: impl Into<Payload>) -> Message {
        Message {
            topic: topic.into(),
            payload: payload.into(),
            properties: PropertiesBuf::new(),
            expires: None,
            qos: QoS::AtMostOnce,
            retain: false,
        }
    }

    /// Bytes that it is counted for, where bytes are limited.
    #[inline]
    pub(crate) fn size(&self) -> usize {
        size(&self.topic, &self.payload, self.properties.as_properties())
    }
}

#[inline]
fn size(topic: &str, payload: &[u8], properties: Properties<'_>) -> usize {
    topic.len() + payload.len() + properties.as_bytes().len() + OVERHEAD
}

/// Bytes of a message in memory beside what it says.
const OVERHEAD: usize = 128;

/// A message that is being routed: still in the buffer that it was read into, or shared already.
pub(crate) struct Draft<'a> {
    /// Another for each draft of a worker.
    pub serial: u64,
    pub topic: &'a str,
    pub payload: &'a [u8],
    pub properties: Properties<'a>,
    pub expires: Option<Duration>,
    pub qos: QoS,
    pub retain: bool,
    /// The session that published it, for No Local.
    pub from: Option<SessionRef>,
    /// See [`Draft::came_as`].
    raw: Option<&'a [u8]>,
    /// The version of `raw`. It stands beside it: together in an option they would be moved about in memory, in wider
    /// pieces than they were just written in, for which the processor waits until all that it wrote before is in its
    /// cache.
    version: Version,
    /// The topic of a message that its publisher had kept, owned: most use the same again and again.
    last_topic: Option<&'a mut Option<Arc<str>>>,
    shared: Option<Arc<Message>>,
    /// Nobody else gets it: [`Draft::shared`] need not remember what it has made.
    last: bool,
}

impl<'a> Draft<'a> {
    /// A message as it came, with its topic name resolved. `kept` is where its properties go if some of them are for
    /// the broker only.
    #[inline]
    pub fn received(
        serial: u64,
        incoming: &Incoming<'a>,
        from: SessionRef,
        now: Duration,
        last_topic: &'a mut Option<Arc<str>>,
        kept: &'a mut PropertiesBuf,
    ) -> Draft<'a> {
        let publish = &incoming.publish;
        let (properties, expires) = if publish.properties.is_empty() {
            (publish.properties, None)
        } else {
            own_properties(publish.properties, now, kept)
        };
        Draft {
            raw: None,
            version: Version::V5,
            serial,
            topic: incoming.topic,
            payload: publish.payload,
            properties,
            expires,
            qos: publish.qos,
            retain: publish.retain,
            from: Some(from),
            last_topic: Some(last_topic),
            shared: None,
            last: false,
        }
    }

    /// A message that is shared already.
    pub fn of(serial: u64, message: &'a Arc<Message>, from: Option<SessionRef>) -> Draft<'a> {
        Draft {
            raw: None,
            version: Version::V5,
            serial,
            topic: &message.topic,
            payload: &message.payload,
            properties: message.properties.as_properties(),
            expires: message.expires,
            qos: message.qos,
            retain: message.retain,
            from,
            last_topic: None,
            shared: Some(message.clone()),
            last: false,
        }
    }

    /// Tells the packet that it came in, if that has neither flags nor properties: its bytes may go to receivers of the
    /// same version and QoS as they are, but for the packet identifier.
    #[inline]
    pub fn came_as(&mut self, version: Version, raw: Option<&'a [u8]>) {
        self.version = version;
        self.raw = raw;
    }

    /// The packet that it came in, if that may go so to a receiver of this version and QoS.
    #[inline]
    pub fn raw_for(&self, version: Version, qos: QoS) -> Option<&'a [u8]> {
        self.raw.filter(|_| self.qos == qos && is_5(self.version) == is_5(version))
    }

    /// Says whether whoever comes next is the last to get it.
    #[inline]
    pub fn goes_last(&mut self, last: bool) {
        self.last = last;
    }

    /// Bytes that it is counted for, where bytes are limited.
    #[inline]
    pub fn size(&self) -> usize {
        size(self.topic, self.payload, self.properties)
    }

    /// The packet that it came in, if a session may keep that instead of the message: it is small, and nobody else keeps it.
    #[inline]
    pub fn packet(&self) -> Option<(Version, &'a [u8])> {
        let alone = self.last && self.shared.is_none();
        let packet = self.raw.filter(|packet| alone && packet.len() <= KeptPacket::MOST)?;
        Some((self.version, packet))
    }

    /// The message to be kept by somebody: copied out of the buffer once, however many keep it.
    #[inline]
    pub fn shared(&mut self) -> Arc<Message> {
        // Counting who shares it costs more than anything else here, and most messages go to one.
        if self.last {
            return self.shared.take().unwrap_or_else(|| self.owned());
        }
        if let Some(shared) = &self.shared {
            return shared.clone();
        }
        let shared = self.owned();
        self.shared = Some(shared.clone());
        shared
    }

    /// What to send its payload from without a copy for each receiver, where it is large and more than one gets it, or it
    /// is `kept` anyway.
    #[inline]
    pub fn blob(&mut self, kept: bool) -> Option<Arc<Blob>> {
        if self.payload.len() < LARGE { None } else { self.large(kept) }
    }

    #[cold]
    fn large(&mut self, kept: bool) -> Option<Arc<Blob>> {
        if self.shared.is_none() {
            if self.last && !kept {
                return None; // It is copied once, here or there.
            }
            self.shared = Some(self.owned());
        }
        self.shared.as_ref().and_then(|message| message.payload.blob().cloned())
    }

    fn owned(&mut self) -> Arc<Message> {
        Arc::new(Message {
            topic: self.owned_topic(),
            payload: self.payload.into(),
            properties: self.properties.into(),
            expires: self.expires,
            qos: self.qos,
            retain: self.retain,
        })
    }

    fn owned_topic(&mut self) -> Arc<str> {
        match &mut self.last_topic {
            Some(Some(last)) if **last == *self.topic => last.clone(),
            Some(last) => last.insert(self.topic.into()).clone(),
            None => self.topic.into(),
        }
    }
}

/// Takes out of the properties what ends at the broker. Most messages have nothing of it, and are not copied.
fn own_properties<'a>(
    properties: Properties<'a>,
    now: Duration,
    kept: &'a mut PropertiesBuf,
) -> (Properties<'a>, Option<Duration>) {
    let ends_here = |id: PropertyId| matches!(id, PropertyId::MessageExpiryInterval | PropertyId::TopicAlias);
    if !properties.contains(PropertyId::MessageExpiryInterval) && !properties.contains(PropertyId::TopicAlias)
    {
        return (properties, None);
    }
    let interval = properties.message_expiry_interval();
    kept.clear();
    // They stood together in one packet, so that none is there twice.
    // [MQTT-3.3.2-4], [MQTT-3.3.2-15], [MQTT-3.3.2-16], [MQTT-3.3.2-17], [MQTT-3.3.2-18], [MQTT-3.3.2-20]
    let _ = kept.extend(properties.iter().filter(|property: &Property<'_>| !ends_here(property.id())));
    (kept.as_properties(), interval.map(|seconds| now + Duration::from_secs(u64::from(seconds))))
}

/// Seconds that are left of a message at `now`, one at least; `Err` if none is. [MQTT-3.3.2-5]
pub(crate) fn time_left(expires: Option<Duration>, now: Duration) -> Result<Option<u32>, Expired> {
    let Some(expires) = expires else { return Ok(None) };
    let left = expires.checked_sub(now).filter(|left| !left.is_zero()).ok_or(Expired)?;
    // To the nearest: a worker's clock stands still during a tick, so that another's may be ahead of it, and what was
    // just taken must not have more time left than it came with.
    let seconds = (left + Duration::from_millis(500)).as_secs().max(1);
    Ok(Some(u32::try_from(seconds).unwrap_or(u32::MAX)))
}

/// The message expiry interval has passed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Expired;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_for_the_broker_only_goes_no_further() {
        let mut properties = PropertiesBuf::new();
        properties.push(Property::ContentType("text")).unwrap();
        properties.push(Property::MessageExpiryInterval(5)).unwrap();
        let mut kept = PropertiesBuf::new();
        let (left, expires) = own_properties(properties.as_properties(), Duration::from_secs(1), &mut kept);
        assert_eq!(left.iter().collect::<Vec<_>>(), [Property::ContentType("text")]);
        assert_eq!(expires, Some(Duration::from_secs(6)));
    }

    #[test]
    fn the_time_that_is_left_counts_down_to_an_end() {
        let at = |seconds| time_left(Some(Duration::from_secs(6)), Duration::from_millis(seconds));
        assert_eq!(at(1_000), Ok(Some(5)));
        assert_eq!(at(999), Ok(Some(5)));
        assert_eq!(at(5_900), Ok(Some(1)));
        assert_eq!(at(6_000), Err(Expired));
        assert_eq!(time_left(None, Duration::MAX), Ok(None));
    }
}
