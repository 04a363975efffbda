//! The properties of 5.0 (§2.2.2).

mod buf;
mod id;
mod property;

use alloc::vec::Vec;
use core::fmt;
use core::num::{NonZeroU16, NonZeroU32};

pub use buf::PropertiesBuf;
pub(crate) use id::Place;
pub use id::PropertyId;
pub use property::{PayloadFormat, Property, SubscriptionId};

use crate::error::{EncodeError, Fault, Field};
use crate::reader::Reader;
use crate::{PacketType, QoS, varint};

/// The properties of a packet, in the order and the bytes they came in. Empty before 5.0.
///
/// They have been checked: each can be read, none is in a wrong packet, none is double that may not be.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Properties<'a> {
    /// Identifiers and values, without the length in front.
    raw: &'a [u8],
    /// Which are there, as [`PropertyId::bit`]s, so that to look for one that isn't costs nothing.
    present: u64,
}

impl<'a> Properties<'a> {
    /// No properties.
    pub const EMPTY: Self = Self { raw: &[], present: 0 };

    /// Checks the properties of a packet as they stand after the property length: what [`Properties::as_bytes`] of
    /// a packet of this type returns is accepted.
    ///
    /// # Errors
    /// As decoding the packet. Every property is misplaced in PINGREQ and PINGRESP, which have none.
    pub fn from_bytes(packet_type: PacketType, bytes: &'a [u8]) -> Result<Self, Fault> {
        Self::check(bytes, Place::of(packet_type))
    }

    /// Checks the properties of a will likewise.
    ///
    /// # Errors
    /// As decoding the CONNECT.
    pub fn from_will_bytes(bytes: &'a [u8]) -> Result<Self, Fault> {
        Self::check(bytes, Place::Will)
    }

    /// The bytes of all properties, without the length in front.
    pub const fn as_bytes(&self) -> &'a [u8] {
        self.raw
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.raw.is_empty()
    }

    /// Whether a property of this kind is there.
    #[inline]
    pub const fn contains(&self, id: PropertyId) -> bool {
        self.present & id.bit() != 0
    }

    /// All of them, in order.
    pub const fn iter(&self) -> PropertyIter<'a> {
        PropertyIter { reader: Reader::new(self.raw) }
    }

    /// The user properties, names with values, in order.
    pub fn user_properties(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        self.all(PropertyId::UserProperty).filter_map(|property| match property {
            Property::UserProperty(name, value) => Some((name, value)),
            _ => None,
        })
    }

    /// The subscription identifiers, in order. A PUBLISH from a server has one for each subscription it is for.
    pub fn subscription_identifiers(&self) -> impl Iterator<Item = SubscriptionId> + use<'a> {
        self.all(PropertyId::SubscriptionIdentifier).filter_map(|property| match property {
            Property::SubscriptionIdentifier(id) => Some(id),
            _ => None,
        })
    }

    /// The properties of one kind, at no cost if there is none.
    fn all(&self, id: PropertyId) -> impl Iterator<Item = Property<'a>> + use<'a> {
        let properties = if self.contains(id) { *self } else { Self::EMPTY };
        properties.iter().filter(move |property| property.id() == id)
    }

    /// Reads length and properties.
    #[inline(always)]
    pub(crate) fn read(reader: &mut Reader<'a>, place: Place) -> Result<Self, Fault> {
        let len = reader.varint(Field::PropertyLength)?;
        if len == 0 {
            return Ok(Self::EMPTY);
        }
        Self::check(reader.take(len as usize, Field::PropertyLength)?, place)
    }

    fn check(raw: &'a [u8], place: Place) -> Result<Self, Fault> {
        let mut reader = Reader::new(raw);
        let mut present = 0;
        while !reader.is_empty() {
            // The identifier is a variable byte integer; all that exist take one byte.
            let byte = reader.u8(Field::PropertyLength)?;
            let id = PropertyId::from_u8(byte).ok_or(Fault::UnknownProperty(byte))?;
            if id.bit() & place.allowed() == 0 {
                return Err(Fault::MisplacedProperty(id));
            }
            if id.bit() & present & !place.repeatable() != 0 {
                return Err(Fault::DuplicateProperty(id));
            }
            present |= id.bit();
            Property::read(id, &mut reader)?;
        }
        Ok(Self { raw, present })
    }

    /// Refuses properties that do not belong in `place`, wherever they came from.
    #[inline]
    pub(crate) fn check_place(&self, place: Place) -> Result<(), EncodeError> {
        if self.raw.len() > varint::MAX as usize {
            return Err(EncodeError::PacketTooLarge);
        }
        if self.present & !place.allowed() != 0 || self.contains(PropertyId::SubscriptionIdentifier) {
            Self::check(self.raw, place)?;
        }
        Ok(())
    }

    /// Bytes with the length in front.
    #[inline]
    pub(crate) const fn encoded_len(&self) -> usize {
        varint::len(self.raw.len() as u32) + self.raw.len()
    }

    /// Appends them with the length in front, also where there is none. [MQTT-2.2.2-1]
    #[inline]
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        varint::write(self.raw.len() as u32, out);
        out.extend_from_slice(self.raw);
    }
}

/// Defines the accessors of the properties that occur once.
macro_rules! accessors {
    ($($name:ident: $property:ident -> $value:ty;)*) => {
        impl<'a> Properties<'a> {
            $(#[doc = concat!("The value of [`Property::", stringify!($property), "`], if there.")]
            pub fn $name(&self) -> Option<$value> {
                self.all(PropertyId::$property).find_map(|property| match property {
                    Property::$property(value) => Some(value),
                    _ => None,
                })
            })*
        }
    };
}

accessors! {
    payload_format_indicator: PayloadFormatIndicator -> PayloadFormat;
    message_expiry_interval: MessageExpiryInterval -> u32;
    content_type: ContentType -> &'a str;
    response_topic: ResponseTopic -> &'a str;
    correlation_data: CorrelationData -> &'a [u8];
    session_expiry_interval: SessionExpiryInterval -> u32;
    assigned_client_identifier: AssignedClientIdentifier -> &'a str;
    server_keep_alive: ServerKeepAlive -> u16;
    authentication_method: AuthenticationMethod -> &'a str;
    authentication_data: AuthenticationData -> &'a [u8];
    request_problem_information: RequestProblemInformation -> bool;
    will_delay_interval: WillDelayInterval -> u32;
    request_response_information: RequestResponseInformation -> bool;
    response_information: ResponseInformation -> &'a str;
    server_reference: ServerReference -> &'a str;
    reason_string: ReasonString -> &'a str;
    receive_maximum: ReceiveMaximum -> NonZeroU16;
    topic_alias_maximum: TopicAliasMaximum -> u16;
    topic_alias: TopicAlias -> NonZeroU16;
    maximum_qos: MaximumQos -> QoS;
    retain_available: RetainAvailable -> bool;
    maximum_packet_size: MaximumPacketSize -> NonZeroU32;
    wildcard_subscription_available: WildcardSubscriptionAvailable -> bool;
    subscription_identifier_available: SubscriptionIdentifierAvailable -> bool;
    shared_subscription_available: SharedSubscriptionAvailable -> bool;
}

impl<'a> IntoIterator for Properties<'a> {
    type Item = Property<'a>;
    type IntoIter = PropertyIter<'a>;

    fn into_iter(self) -> PropertyIter<'a> {
        self.iter()
    }
}

/// A list of the properties, without authentication data: it may be secret, and this goes into logs.
impl fmt::Debug for Properties<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut list = f.debug_list();
        for property in *self {
            match property {
                Property::AuthenticationData(data) => {
                    list.entry(&format_args!("AuthenticationData({} bytes)", data.len()))
                }
                property => list.entry(&property),
            };
        }
        list.finish()
    }
}

/// Iterates over [`Properties`].
#[derive(Clone)]
pub struct PropertyIter<'a> {
    reader: Reader<'a>,
}

impl<'a> Iterator for PropertyIter<'a> {
    type Item = Property<'a>;

    fn next(&mut self) -> Option<Property<'a>> {
        // Checked before, so that only the end gives an error.
        let byte = self.reader.u8(Field::PropertyLength).ok()?;
        Property::read(PropertyId::from_u8(byte)?, &mut self.reader).ok()
    }
}
