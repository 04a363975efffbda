use alloc::vec::Vec;
use core::fmt;

use crate::error::{EncodeError, Fault, Field};
use crate::header::DUP;
use crate::properties::Place;
use crate::reader::Reader;
use crate::topic::TopicFilter;
use crate::writer::{Body, put_binary, put_u16};
use crate::{PacketId, PacketType, Properties, QoS, Version, varint};

/// SUBSCRIBE (5.0 §3.8): at least one subscription to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subscribe<'a> {
    /// What the SUBACK refers to.
    pub packet_id: PacketId,
    /// Subscription identifier, user properties.
    pub properties: Properties<'a>,
    /// The filters, each with its options.
    pub subscriptions: Subscriptions<'a>,
    /// A 3.1 SUBSCRIBE that was sent again.
    dup: bool,
}

impl<'a> Subscribe<'a> {
    /// Without properties.
    pub const fn new(packet_id: PacketId, subscriptions: Subscriptions<'a>) -> Self {
        Self { packet_id, properties: Properties::EMPTY, subscriptions, dup: false }
    }

    pub(super) fn read(version: Version, flags: u8, reader: &mut Reader<'a>) -> Result<Self, Fault> {
        Ok(Self {
            packet_id: reader.packet_id()?,
            properties: match version {
                Version::V5 => Properties::read(reader, Place::Subscribe)?,
                _ => Properties::EMPTY,
            },
            subscriptions: Subscriptions::check(version, reader.rest())?,
            dup: flags & DUP != 0,
        })
    }
}

/// A topic filter of a SUBSCRIBE with its options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subscription<'a> {
    /// What to receive.
    pub filter: TopicFilter<'a>,
    /// How to receive it.
    pub options: SubscribeOptions,
}

/// The options of a subscription (5.0 §3.8.3.1). Before 5.0 there is only the QoS.
///
/// ```
/// use mqway_codec::{QoS, RetainHandling, SubscribeOptions};
///
/// let options = SubscribeOptions { retain_handling: RetainHandling::SendIfNew, ..SubscribeOptions::new(QoS::AtLeastOnce) };
/// assert_eq!(options.to_byte(), 0x11);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct SubscribeOptions {
    /// The highest QoS to receive with.
    pub qos: QoS,
    /// Leave out what this client publishes itself. Not for shared subscriptions.
    pub no_local: bool,
    /// Keep the retain flag that messages were published with.
    pub retain_as_published: bool,
    /// Which retained messages to receive at once.
    pub retain_handling: RetainHandling,
}

/// Which retained messages a SUBSCRIBE brings (5.0 §3.8.3.1).
///
/// ```
/// use mqway_codec::{RetainHandling, SubscribeOptions};
///
/// assert_eq!(SubscribeOptions::default().retain_handling, RetainHandling::Send);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum RetainHandling {
    /// Those that match.
    #[default]
    Send = 0,
    /// Those that match, if there was no such subscription before.
    SendIfNew = 1,
    /// None.
    DoNotSend = 2,
}

const NO_LOCAL: u8 = 0b0000_0100;
const RETAIN_AS_PUBLISHED: u8 = 0b0000_1000;

impl SubscribeOptions {
    /// The QoS, all else as in 3.1.1.
    pub const fn new(qos: QoS) -> Self {
        Self { qos, no_local: false, retain_as_published: false, retain_handling: RetainHandling::Send }
    }

    /// The options byte; before 5.0 it is the QoS, with which all else is zero.
    pub const fn to_byte(self) -> u8 {
        let no_local = if self.no_local { NO_LOCAL } else { 0 };
        let retain_as_published = if self.retain_as_published { RETAIN_AS_PUBLISHED } else { 0 };
        self.qos as u8 | no_local | retain_as_published | (self.retain_handling as u8) << 4
    }

    /// What an options byte of `version` says.
    ///
    /// # Errors
    /// QoS 3, retain handling 3, reserved bits.
    pub const fn from_byte(version: Version, byte: u8) -> Result<Self, Fault> {
        let reserved = match version {
            Version::V5 => 0b1100_0000,
            _ => 0b1111_1100,
        };
        if byte & reserved != 0 {
            return Err(Fault::ReservedBits(Field::SubscriptionOptions)); // [MQTT-3.8.3-5]
        }
        let Some(qos) = QoS::from_u8(byte & 0b11) else {
            return Err(Fault::QosThree(Field::SubscriptionOptions)); // 3.1.1: [MQTT-3-8.3-4]
        };
        let retain_handling = match byte >> 4 {
            0 => RetainHandling::Send,
            1 => RetainHandling::SendIfNew,
            2 => RetainHandling::DoNotSend,
            _ => return Err(Fault::RetainHandlingThree),
        };
        Ok(Self {
            qos,
            no_local: byte & NO_LOCAL != 0,
            retain_as_published: byte & RETAIN_AS_PUBLISHED != 0,
            retain_handling,
        })
    }
}

/// The subscriptions of a SUBSCRIBE, in order: checked, and in the bytes they came in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Subscriptions<'a>(&'a [u8]);

impl<'a> Subscriptions<'a> {
    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = Subscription<'a>> + use<'a> {
        let mut reader = Reader::new(self.0);
        // Checked before, so that only the end gives an error; what is valid in 3.1.1 is so in 5.0, shares apart.
        core::iter::from_fn(move || {
            let filter = TopicFilter::checked(reader.string(Field::TopicFilter).ok()?);
            let options = reader.u8(Field::SubscriptionOptions).ok()?;
            Some(Subscription { filter, options: SubscribeOptions::from_byte(Version::V5, options).ok()? })
        })
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.iter().count()
    }

    fn check(version: Version, raw: &'a [u8]) -> Result<Self, Fault> {
        if raw.is_empty() {
            return Err(Fault::EmptyPayload); // [MQTT-3.8.3-2]; 3.1.1: [MQTT-3.8.3-3]
        }
        let mut reader = Reader::new(raw);
        while !reader.is_empty() {
            let filter = reader.topic_filter(version)?;
            let options = SubscribeOptions::from_byte(version, reader.u8(Field::SubscriptionOptions)?)?;
            if options.no_local && filter.share().is_some() {
                return Err(Fault::NoLocalOnShare); // [MQTT-3.8.3-4]
            }
        }
        Ok(Self(raw))
    }
}

impl fmt::Debug for Subscriptions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// Subscriptions being put together for a SUBSCRIBE to send.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SubscriptionsBuf(Vec<u8>);

impl SubscriptionsBuf {
    /// An empty one. Allocates nothing.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Appends a subscription.
    pub fn push(&mut self, filter: TopicFilter<'_>, options: SubscribeOptions) {
        put_binary(filter.as_str().as_bytes(), &mut self.0);
        self.0.push(options.to_byte());
    }

    /// Whether there is none, so that no SUBSCRIBE can be made of it.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The subscriptions, to put into a [`Subscribe`].
    pub fn as_subscriptions(&self) -> Subscriptions<'_> {
        Subscriptions(&self.0)
    }
}

impl<'a> Extend<Subscription<'a>> for SubscriptionsBuf {
    fn extend<I: IntoIterator<Item = Subscription<'a>>>(&mut self, subscriptions: I) {
        subscriptions
            .into_iter()
            .for_each(|subscription| self.push(subscription.filter, subscription.options));
    }
}

impl<'a> FromIterator<Subscription<'a>> for SubscriptionsBuf {
    fn from_iter<I: IntoIterator<Item = Subscription<'a>>>(subscriptions: I) -> Self {
        let mut buf = Self::new();
        buf.extend(subscriptions);
        buf
    }
}

impl Body for Subscribe<'_> {
    fn check(&self, version: Version) -> Result<(), EncodeError> {
        if self.subscriptions.0.len() > varint::MAX as usize {
            return Err(EncodeError::PacketTooLarge);
        }
        if version == Version::V5 {
            self.properties.check_place(Place::Subscribe)?;
        } else if self.subscriptions.iter().any(|wanted| wanted.options.to_byte() > QoS::ExactlyOnce as u8) {
            return Err(EncodeError::NotInVersion(Field::SubscriptionOptions));
        }
        Subscriptions::check(version, self.subscriptions.0)?;
        Ok(())
    }

    fn first_byte(&self, version: Version) -> u8 {
        let dup = if self.dup && version == Version::V3_1 { DUP } else { 0 };
        PacketType::Subscribe.first_byte() | dup
    }

    fn len(&self, version: Version) -> usize {
        let properties = if version == Version::V5 { self.properties.encoded_len() } else { 0 };
        2 + properties + self.subscriptions.0.len()
    }

    fn write(&self, version: Version, out: &mut Vec<u8>) {
        put_u16(self.packet_id.value(), out);
        if version == Version::V5 {
            self.properties.write(out);
        }
        out.extend_from_slice(self.subscriptions.0);
    }
}
