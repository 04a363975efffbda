use alloc::vec::Vec;
use core::num::{NonZeroU16, NonZeroU32};

use super::PropertyId;
use crate::error::{EncodeError, Fault, Field};
use crate::reader::Reader;
use crate::topic::check_name;
use crate::writer::{check_binary, check_string, put_binary, put_u16, put_u32};
use crate::{QoS, varint};

/// One property and its value (5.0 §2.2.2.2).
///
/// ```
/// use mqway_codec::{Property, PropertiesBuf};
///
/// let mut properties = PropertiesBuf::new();
/// properties.push(Property::ContentType("text/plain"))?;
/// properties.push(Property::UserProperty("origin", "kitchen"))?;
/// assert_eq!(properties.as_properties().content_type(), Some("text/plain"));
/// # Ok::<(), mqway_codec::EncodeError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Property<'a> {
    /// Whether the payload is text. Absent: unspecified.
    PayloadFormatIndicator(PayloadFormat),
    /// Seconds that the message lives. Absent: for ever.
    MessageExpiryInterval(u32),
    /// What the payload is, in words that the applications agree on.
    ContentType(&'a str),
    /// The topic name to answer a request on.
    ResponseTopic(&'a str),
    /// What tells the asker which request an answer is for.
    CorrelationData(&'a [u8]),
    /// The subscription that is made, or that the message is for.
    SubscriptionIdentifier(SubscriptionId),
    /// Seconds that the session outlives its connection, 0xFFFF_FFFF for ever. Absent: 0.
    SessionExpiryInterval(u32),
    /// The client identifier that the server has chosen.
    AssignedClientIdentifier(&'a str),
    /// Seconds of keep alive that the server demands instead of the client's.
    ServerKeepAlive(u16),
    /// The method of enhanced authentication.
    AuthenticationMethod(&'a str),
    /// What the method says. May be secret.
    AuthenticationData(&'a [u8]),
    /// Whether the server may explain failures. Absent: it may.
    RequestProblemInformation(bool),
    /// Seconds between the end of the connection and the will. Absent: 0.
    WillDelayInterval(u32),
    /// Whether the server is asked for response information. Absent: it is not.
    RequestResponseInformation(bool),
    /// What to build response topics from.
    ResponseInformation(&'a str),
    /// Which server to use instead.
    ServerReference(&'a str),
    /// What happened, for a human reader.
    ReasonString(&'a str),
    /// Messages of QoS 1 and 2 that its sender takes at once. Absent: 65,535.
    ReceiveMaximum(NonZeroU16),
    /// The highest topic alias that its sender takes. Absent: 0, none.
    TopicAliasMaximum(u16),
    /// The number that stands for the topic name.
    TopicAlias(NonZeroU16),
    /// The highest QoS that the server takes: 0 or 1. Absent: 2.
    MaximumQos(QoS),
    /// Whether the server retains messages. Absent: it does.
    RetainAvailable(bool),
    /// A name and a value, of which the applications know the meaning.
    UserProperty(&'a str, &'a str),
    /// Bytes of the largest packet that its sender takes. Absent: any.
    MaximumPacketSize(NonZeroU32),
    /// Whether the server has wildcard subscriptions. Absent: it has.
    WildcardSubscriptionAvailable(bool),
    /// Whether the server has subscription identifiers. Absent: it has.
    SubscriptionIdentifierAvailable(bool),
    /// Whether the server has shared subscriptions. Absent: it has.
    SharedSubscriptionAvailable(bool),
}

/// What a payload is (5.0 §3.3.2.3.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum PayloadFormat {
    /// Bytes of no particular kind.
    #[default]
    Unspecified = 0,
    /// Text in UTF-8.
    Utf8 = 1,
}

/// A subscription identifier: 1 to 268,435,455 (5.0 §3.8.2.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubscriptionId(NonZeroU32);

impl SubscriptionId {
    /// The highest identifier.
    pub const MAX: u32 = varint::MAX;

    /// The identifier with this number; `None` for 0 and above [`SubscriptionId::MAX`].
    pub const fn new(id: u32) -> Option<Self> {
        match NonZeroU32::new(id) {
            Some(id) if id.get() <= Self::MAX => Some(Self(id)),
            _ => None,
        }
    }

    /// Its number.
    pub const fn value(self) -> u32 {
        self.0.get()
    }
}

impl<'a> Property<'a> {
    /// What it is.
    pub const fn id(&self) -> PropertyId {
        match self {
            Self::PayloadFormatIndicator(_) => PropertyId::PayloadFormatIndicator,
            Self::MessageExpiryInterval(_) => PropertyId::MessageExpiryInterval,
            Self::ContentType(_) => PropertyId::ContentType,
            Self::ResponseTopic(_) => PropertyId::ResponseTopic,
            Self::CorrelationData(_) => PropertyId::CorrelationData,
            Self::SubscriptionIdentifier(_) => PropertyId::SubscriptionIdentifier,
            Self::SessionExpiryInterval(_) => PropertyId::SessionExpiryInterval,
            Self::AssignedClientIdentifier(_) => PropertyId::AssignedClientIdentifier,
            Self::ServerKeepAlive(_) => PropertyId::ServerKeepAlive,
            Self::AuthenticationMethod(_) => PropertyId::AuthenticationMethod,
            Self::AuthenticationData(_) => PropertyId::AuthenticationData,
            Self::RequestProblemInformation(_) => PropertyId::RequestProblemInformation,
            Self::WillDelayInterval(_) => PropertyId::WillDelayInterval,
            Self::RequestResponseInformation(_) => PropertyId::RequestResponseInformation,
            Self::ResponseInformation(_) => PropertyId::ResponseInformation,
            Self::ServerReference(_) => PropertyId::ServerReference,
            Self::ReasonString(_) => PropertyId::ReasonString,
            Self::ReceiveMaximum(_) => PropertyId::ReceiveMaximum,
            Self::TopicAliasMaximum(_) => PropertyId::TopicAliasMaximum,
            Self::TopicAlias(_) => PropertyId::TopicAlias,
            Self::MaximumQos(_) => PropertyId::MaximumQos,
            Self::RetainAvailable(_) => PropertyId::RetainAvailable,
            Self::UserProperty(..) => PropertyId::UserProperty,
            Self::MaximumPacketSize(_) => PropertyId::MaximumPacketSize,
            Self::WildcardSubscriptionAvailable(_) => PropertyId::WildcardSubscriptionAvailable,
            Self::SubscriptionIdentifierAvailable(_) => PropertyId::SubscriptionIdentifierAvailable,
            Self::SharedSubscriptionAvailable(_) => PropertyId::SharedSubscriptionAvailable,
        }
    }

    /// Reads the value that follows the identifier `id`.
    #[inline]
    pub(super) fn read(id: PropertyId, reader: &mut Reader<'a>) -> Result<Self, Fault> {
        let field = Field::Property(id);
        let wrong = Fault::PropertyValue(id);
        Ok(match id {
            PropertyId::PayloadFormatIndicator => Self::PayloadFormatIndicator(match flag(id, reader)? {
                false => PayloadFormat::Unspecified,
                true => PayloadFormat::Utf8,
            }),
            PropertyId::MessageExpiryInterval => Self::MessageExpiryInterval(reader.u32(field)?),
            PropertyId::ContentType => Self::ContentType(reader.string(field)?), // [MQTT-3.3.2-19]
            // [MQTT-3.3.2-13], [MQTT-3.3.2-14]
            PropertyId::ResponseTopic => Self::ResponseTopic(reader.topic_name(field, false)?),
            PropertyId::CorrelationData => Self::CorrelationData(reader.binary(field)?),
            PropertyId::SubscriptionIdentifier => {
                Self::SubscriptionIdentifier(SubscriptionId::new(reader.varint(field)?).ok_or(wrong)?)
            }
            PropertyId::SessionExpiryInterval => Self::SessionExpiryInterval(reader.u32(field)?),
            PropertyId::AssignedClientIdentifier => Self::AssignedClientIdentifier(reader.string(field)?),
            PropertyId::ServerKeepAlive => Self::ServerKeepAlive(reader.u16(field)?),
            PropertyId::AuthenticationMethod => Self::AuthenticationMethod(reader.string(field)?),
            PropertyId::AuthenticationData => Self::AuthenticationData(reader.binary(field)?),
            PropertyId::RequestProblemInformation => Self::RequestProblemInformation(flag(id, reader)?),
            PropertyId::WillDelayInterval => Self::WillDelayInterval(reader.u32(field)?),
            PropertyId::RequestResponseInformation => Self::RequestResponseInformation(flag(id, reader)?),
            PropertyId::ResponseInformation => Self::ResponseInformation(reader.string(field)?),
            PropertyId::ServerReference => Self::ServerReference(reader.string(field)?),
            PropertyId::ReasonString => Self::ReasonString(reader.string(field)?),
            PropertyId::ReceiveMaximum => {
                Self::ReceiveMaximum(NonZeroU16::new(reader.u16(field)?).ok_or(wrong)?)
            }
            PropertyId::TopicAliasMaximum => Self::TopicAliasMaximum(reader.u16(field)?),
            // [MQTT-3.3.2-8]
            PropertyId::TopicAlias => Self::TopicAlias(NonZeroU16::new(reader.u16(field)?).ok_or(wrong)?),
            PropertyId::MaximumQos => Self::MaximumQos(match flag(id, reader)? {
                false => QoS::AtMostOnce,
                true => QoS::AtLeastOnce,
            }),
            PropertyId::RetainAvailable => Self::RetainAvailable(flag(id, reader)?),
            // [MQTT-1.5.7-1]
            PropertyId::UserProperty => Self::UserProperty(reader.string(field)?, reader.string(field)?),
            PropertyId::MaximumPacketSize => {
                Self::MaximumPacketSize(NonZeroU32::new(reader.u32(field)?).ok_or(wrong)?)
            }
            PropertyId::WildcardSubscriptionAvailable => {
                Self::WildcardSubscriptionAvailable(flag(id, reader)?)
            }
            PropertyId::SubscriptionIdentifierAvailable => {
                Self::SubscriptionIdentifierAvailable(flag(id, reader)?)
            }
            PropertyId::SharedSubscriptionAvailable => Self::SharedSubscriptionAvailable(flag(id, reader)?),
        })
    }

    /// Appends identifier and value.
    ///
    /// # Errors
    /// Nothing is appended if the value cannot be written or is not allowed.
    pub(super) fn write(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let id = self.id();
        self.check(Field::Property(id))?;
        out.push(id as u8);
        match *self {
            Self::PayloadFormatIndicator(format) => out.push(format as u8),
            Self::MaximumQos(qos) => out.push(qos as u8),
            Self::RequestProblemInformation(flag)
            | Self::RequestResponseInformation(flag)
            | Self::RetainAvailable(flag)
            | Self::WildcardSubscriptionAvailable(flag)
            | Self::SubscriptionIdentifierAvailable(flag)
            | Self::SharedSubscriptionAvailable(flag) => out.push(u8::from(flag)),
            Self::ServerKeepAlive(value) | Self::TopicAliasMaximum(value) => put_u16(value, out),
            Self::ReceiveMaximum(value) | Self::TopicAlias(value) => put_u16(value.get(), out),
            Self::MessageExpiryInterval(value)
            | Self::SessionExpiryInterval(value)
            | Self::WillDelayInterval(value) => put_u32(value, out),
            Self::MaximumPacketSize(value) => put_u32(value.get(), out),
            Self::SubscriptionIdentifier(id) => varint::write(id.value(), out),
            Self::ContentType(text)
            | Self::ResponseTopic(text)
            | Self::AssignedClientIdentifier(text)
            | Self::AuthenticationMethod(text)
            | Self::ResponseInformation(text)
            | Self::ServerReference(text)
            | Self::ReasonString(text) => put_binary(text.as_bytes(), out),
            Self::CorrelationData(bytes) | Self::AuthenticationData(bytes) => put_binary(bytes, out),
            Self::UserProperty(name, value) => {
                put_binary(name.as_bytes(), out);
                put_binary(value.as_bytes(), out);
            }
        }
        Ok(())
    }

    fn check(&self, field: Field) -> Result<(), EncodeError> {
        match *self {
            Self::MaximumQos(QoS::ExactlyOnce) => Err(Fault::PropertyValue(PropertyId::MaximumQos).into()),
            Self::ResponseTopic(text) => check_name(text).map_err(|error| EncodeError::Topic(field, error)),
            Self::CorrelationData(bytes) | Self::AuthenticationData(bytes) => check_binary(bytes, field),
            Self::ContentType(text)
            | Self::AssignedClientIdentifier(text)
            | Self::AuthenticationMethod(text)
            | Self::ResponseInformation(text)
            | Self::ServerReference(text)
            | Self::ReasonString(text) => check_string(text, field),
            Self::UserProperty(name, value) => {
                check_string(name, field).and_then(|()| check_string(value, field))
            }
            _ => Ok(()),
        }
    }
}

/// A byte that may be 0 or 1 only; for each such property anything else is a Protocol Error.
fn flag(id: PropertyId, reader: &mut Reader<'_>) -> Result<bool, Fault> {
    match reader.u8(Field::Property(id))? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(Fault::PropertyValue(id)),
    }
}
