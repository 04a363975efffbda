use alloc::vec::Vec;
use core::fmt;

use crate::error::{EncodeError, Fault, Field};
use crate::header::DUP;
use crate::properties::Place;
use crate::reader::Reader;
use crate::topic::TopicFilter;
use crate::writer::{Body, put_binary, put_u16};
use crate::{PacketId, PacketType, Properties, Version, varint};

/// UNSUBSCRIBE (5.0 §3.10): at least one subscription to remove.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unsubscribe<'a> {
    /// What the UNSUBACK refers to.
    pub packet_id: PacketId,
    /// User properties.
    pub properties: Properties<'a>,
    /// The filters of the subscriptions.
    pub filters: TopicFilters<'a>,
    /// A 3.1 UNSUBSCRIBE that was sent again.
    dup: bool,
}

impl<'a> Unsubscribe<'a> {
    /// Without properties.
    pub const fn new(packet_id: PacketId, filters: TopicFilters<'a>) -> Self {
        Self { packet_id, properties: Properties::EMPTY, filters, dup: false }
    }

    pub(super) fn read(version: Version, flags: u8, reader: &mut Reader<'a>) -> Result<Self, Fault> {
        Ok(Self {
            packet_id: reader.packet_id()?,
            properties: match version {
                Version::V5 => Properties::read(reader, Place::Unsubscribe)?,
                _ => Properties::EMPTY,
            },
            filters: TopicFilters::check(version, reader.rest())?,
            dup: flags & DUP != 0,
        })
    }
}

/// The topic filters of an UNSUBSCRIBE, in order: checked, and in the bytes they came in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TopicFilters<'a>(&'a [u8]);

impl<'a> TopicFilters<'a> {
    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = TopicFilter<'a>> + use<'a> {
        let mut reader = Reader::new(self.0);
        // Checked before, so that only the end gives an error.
        core::iter::from_fn(move || reader.string(Field::TopicFilter).ok().map(TopicFilter::checked))
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.iter().count()
    }

    fn check(version: Version, raw: &'a [u8]) -> Result<Self, Fault> {
        if raw.is_empty() {
            return Err(Fault::EmptyPayload); // [MQTT-3.10.3-2]
        }
        let mut reader = Reader::new(raw);
        while !reader.is_empty() {
            reader.topic_filter(version)?;
        }
        Ok(Self(raw))
    }
}

impl fmt::Debug for TopicFilters<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// Topic filters being put together for an UNSUBSCRIBE to send.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopicFiltersBuf(Vec<u8>);

impl TopicFiltersBuf {
    /// An empty one. Allocates nothing.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Appends a filter.
    pub fn push(&mut self, filter: TopicFilter<'_>) {
        put_binary(filter.as_str().as_bytes(), &mut self.0);
    }

    /// Whether there is none, so that no UNSUBSCRIBE can be made of it.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The filters, to put into an [`Unsubscribe`].
    pub fn as_filters(&self) -> TopicFilters<'_> {
        TopicFilters(&self.0)
    }
}

impl<'a> Extend<TopicFilter<'a>> for TopicFiltersBuf {
    fn extend<I: IntoIterator<Item = TopicFilter<'a>>>(&mut self, filters: I) {
        filters.into_iter().for_each(|filter| self.push(filter));
    }
}

impl<'a> FromIterator<TopicFilter<'a>> for TopicFiltersBuf {
    fn from_iter<I: IntoIterator<Item = TopicFilter<'a>>>(filters: I) -> Self {
        let mut buf = Self::new();
        buf.extend(filters);
        buf
    }
}

impl Body for Unsubscribe<'_> {
    fn check(&self, version: Version) -> Result<(), EncodeError> {
        if self.filters.0.len() > varint::MAX as usize {
            return Err(EncodeError::PacketTooLarge);
        }
        if version == Version::V5 {
            self.properties.check_place(Place::Unsubscribe)?;
        }
        TopicFilters::check(version, self.filters.0)?;
        Ok(())
    }

    fn first_byte(&self, version: Version) -> u8 {
        let dup = if self.dup && version == Version::V3_1 { DUP } else { 0 };
        PacketType::Unsubscribe.first_byte() | dup
    }

    fn len(&self, version: Version) -> usize {
        let properties = if version == Version::V5 { self.properties.encoded_len() } else { 0 };
        2 + properties + self.filters.0.len()
    }

    fn write(&self, version: Version, out: &mut Vec<u8>) {
        put_u16(self.packet_id.value(), out);
        if version == Version::V5 {
            self.properties.write(out);
        }
        out.extend_from_slice(self.filters.0);
    }
}
