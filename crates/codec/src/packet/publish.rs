use alloc::vec::Vec;
use core::fmt;

use super::Bytes;
use crate::error::{EncodeError, Fault, Field};
use crate::header::{DUP, RETAIN};
use crate::properties::Place;
use crate::reader::Reader;
use crate::topic::{TopicError, TopicName, check_name};
use crate::writer::{self, Body, put_binary, put_u16};
use crate::{PacketId, PacketType, Properties, PropertyId, QoS, Version, varint};

/// PUBLISH (5.0 §3.3): a message, in either direction.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Publish<'a> {
    /// It may have been sent before. Never with QoS 0.
    pub dup: bool,
    /// The quality of service.
    pub qos: QoS,
    /// To be retained, or sent because it was.
    pub retain: bool,
    /// The topic name. Empty only in 5.0, and then a topic alias stands for it.
    pub topic: &'a str,
    /// Present with QoS 1 and 2 only.
    pub packet_id: Option<PacketId>,
    /// Payload format, message expiry, topic alias, response topic, correlation data, user properties, subscription
    /// identifiers, content type.
    pub properties: Properties<'a>,
    /// The message, of any length.
    pub payload: &'a [u8],
}

impl<'a> Publish<'a> {
    /// A PUBLISH of QoS 0, not retained.
    pub const fn new(topic: &'a str, payload: &'a [u8]) -> Self {
        Self {
            dup: false,
            qos: QoS::AtMostOnce,
            retain: false,
            topic,
            packet_id: None,
            properties: Properties::EMPTY,
            payload,
        }
    }

    /// The topic name; `None` where an alias stands for it, or where the text is none.
    pub fn topic_name(&self) -> Option<TopicName<'a>> {
        TopicName::new(self.topic).ok()
    }

    /// Appends the packet to `out`, as [`Packet::encode`](crate::Packet::encode).
    ///
    /// # Errors
    /// As there.
    #[inline]
    pub fn encode(&self, version: Version, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        writer::encode(self, version, out)
    }

    /// Appends all of the packet but its payload, which the caller puts behind it: where a message goes to many, its
    /// payload need not be copied for each of them.
    ///
    /// # Errors
    /// As [`Publish::encode`].
    #[inline]
    pub fn encode_head(&self, version: Version, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        writer::encode_header(self, version, out)?;
        self.write_head(version, out);
        Ok(())
    }

    /// Everything between the fixed header and the payload.
    #[inline]
    fn write_head(&self, version: Version, out: &mut Vec<u8>) {
        put_binary(self.topic.as_bytes(), out); // [MQTT-3.3.2-1]
        if let Some(packet_id) = self.packet_id {
            put_u16(packet_id.value(), out);
        }
        if version == Version::V5 {
            self.properties.write(out);
        }
    }

    /// Reads the body of a PUBLISH whose header has `flags`, and gives what `then` makes of it or of the fault.
    ///
    /// It would return a `Result<Self, Fault>` if that were not moved three times on its way into the caller's
    /// `Result<Option<(Packet, usize)>, DecodeError>`: here each value is written once, where it is to stay.
    #[inline(always)]
    pub(super) fn read_then<T>(
        version: Version,
        flags: u8,
        reader: &mut Reader<'a>,
        then: impl FnOnce(Result<Self, Fault>) -> T,
    ) -> T {
        macro_rules! ok {
            ($result:expr) => {
                match $result {
                    Ok(value) => value,
                    Err(fault) => return then(Err(fault)),
                }
            };
        }
        let qos = ok!(QoS::from_u8(flags >> 1 & 0b11).ok_or(Fault::QosThree(Field::HeaderFlags)));
        let topic = ok!(reader.topic_name(Field::TopicName, version == Version::V5));
        let packet_id = match qos {
            QoS::AtMostOnce => None,
            _ => Some(ok!(reader.packet_id())),
        };
        let properties = match version {
            Version::V5 => ok!(Properties::read(reader, Place::Publish)),
            _ => Properties::EMPTY,
        };
        if topic.is_empty() && !properties.contains(PropertyId::TopicAlias) {
            return then(Err(Fault::NoTopic)); // 5.0 §3.3.2.1
        }
        then(Ok(Self {
            dup: flags & DUP != 0,
            qos,
            retain: flags & RETAIN != 0,
            topic,
            packet_id,
            properties,
            payload: reader.rest(),
        }))
    }
}

impl Body for Publish<'_> {
    #[inline]
    fn check(&self, version: Version) -> Result<(), EncodeError> {
        if self.packet_id.is_some() != (self.qos != QoS::AtMostOnce) {
            return Err(EncodeError::PacketId); // [MQTT-2.2.1-2]
        }
        if self.dup && self.qos == QoS::AtMostOnce {
            return Err(Fault::DupWithQos0.into()); // [MQTT-3.3.1-2], [MQTT-4.3.1-1]
        }
        if version == Version::V5 {
            self.properties.check_place(Place::Publish)?;
        }
        match check_name(self.topic) {
            Ok(()) => {}
            Err(TopicError::Empty) if version == Version::V5 => {
                if !self.properties.contains(PropertyId::TopicAlias) {
                    return Err(Fault::NoTopic.into());
                }
            }
            Err(error) => return Err(EncodeError::Topic(Field::TopicName, error)),
        }
        if self.payload.len() > varint::MAX as usize { Err(EncodeError::PacketTooLarge) } else { Ok(()) }
    }

    #[inline]
    fn first_byte(&self, _: Version) -> u8 {
        let dup = if self.dup { DUP } else { 0 };
        let retain = if self.retain { RETAIN } else { 0 };
        PacketType::Publish.first_byte() | dup | (self.qos as u8) << 1 | retain
    }

    #[inline]
    fn len(&self, version: Version) -> usize {
        let properties = if version == Version::V5 { self.properties.encoded_len() } else { 0 };
        let packet_id = if self.packet_id.is_some() { 2 } else { 0 };
        2 + self.topic.len() + packet_id + properties + self.payload.len()
    }

    #[inline]
    fn write(&self, version: Version, out: &mut Vec<u8>) {
        self.write_head(version, out);
        out.extend_from_slice(self.payload);
    }
}

/// Of the payload only the length.
impl fmt::Debug for Publish<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publish")
            .field("dup", &self.dup)
            .field("qos", &self.qos)
            .field("retain", &self.retain)
            .field("topic", &self.topic)
            .field("packet_id", &self.packet_id)
            .field("properties", &self.properties)
            .field("payload", &Bytes(self.payload))
            .finish()
    }
}
