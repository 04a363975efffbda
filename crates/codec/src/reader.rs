//! A cursor over the body of one packet. Nothing is read twice and nothing past the end.

use crate::error::{Fault, Field};
use crate::topic::{self, TopicError, TopicFilter};
use crate::{PacketId, Version, varint};

#[derive(Clone)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    #[inline(always)]
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    #[inline(always)]
    pub(crate) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    #[inline(always)]
    pub(crate) const fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// Everything that is left.
    #[inline(always)]
    pub(crate) fn rest(&mut self) -> &'a [u8] {
        core::mem::take(&mut self.rest)
    }

    #[inline(always)]
    pub(crate) fn take(&mut self, len: usize, field: Field) -> Result<&'a [u8], Fault> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(Fault::Truncated(field))?;
        self.rest = rest;
        Ok(taken)
    }

    #[inline(always)]
    fn array<const N: usize>(&mut self, field: Field) -> Result<[u8; N], Fault> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(Fault::Truncated(field))?;
        self.rest = rest;
        Ok(*taken)
    }

    #[inline(always)]
    pub(crate) fn u8(&mut self, field: Field) -> Result<u8, Fault> {
        self.array::<1>(field).map(|[byte]| byte)
    }

    #[inline(always)]
    pub(crate) fn u16(&mut self, field: Field) -> Result<u16, Fault> {
        self.array(field).map(u16::from_be_bytes)
    }

    #[inline(always)]
    pub(crate) fn u32(&mut self, field: Field) -> Result<u32, Fault> {
        self.array(field).map(u32::from_be_bytes)
    }

    /// A variable byte integer in its shortest form. [MQTT-1.5.5-1]
    #[inline(always)]
    pub(crate) fn varint(&mut self, field: Field) -> Result<u32, Fault> {
        match varint::read(self.rest) {
            Ok(Some(read)) if read.is_overlong() => Err(Fault::VarintOverlong(field)),
            Ok(Some(read)) => {
                self.take(usize::from(read.len), field)?;
                Ok(read.value)
            }
            Ok(None) => Err(Fault::Truncated(field)),
            Err(varint::TooLong) => Err(Fault::VarintTooLong(field)),
        }
    }

    /// Binary data with its two bytes of length (5.0 §1.5.6).
    #[inline(always)]
    pub(crate) fn binary(&mut self, field: Field) -> Result<&'a [u8], Fault> {
        let len = self.u16(field)?;
        self.take(usize::from(len), field)
    }

    /// A UTF-8 string (5.0 §1.5.4) with its two bytes of length.
    #[inline(always)]
    pub(crate) fn string(&mut self, field: Field) -> Result<&'a str, Fault> {
        let text = self.utf8(field)?;
        if text.as_bytes().contains(&0) {
            return Err(Fault::NulCharacter(field)); // [MQTT-1.5.4-2]
        }
        Ok(text)
    }

    /// A topic name. An empty one passes where `may_be_empty`.
    #[inline(always)]
    pub(crate) fn topic_name(&mut self, field: Field, may_be_empty: bool) -> Result<&'a str, Fault> {
        let text = self.utf8(field)?;
        match topic::check_name(text) {
            Err(TopicError::Empty) if may_be_empty => Ok(text),
            checked => checked.map(|()| text).map_err(|error| topic_fault(field, error)),
        }
    }

    /// A topic filter that is valid in `version`. [MQTT-3.8.3-1], [MQTT-3.10.3-1]
    pub(crate) fn topic_filter(&mut self, version: Version) -> Result<TopicFilter<'a>, Fault> {
        let text = self.utf8(Field::TopicFilter)?;
        TopicFilter::for_version(version, text).map_err(|error| topic_fault(Field::TopicFilter, error))
    }

    #[inline(always)]
    fn utf8(&mut self, field: Field) -> Result<&'a str, Fault> {
        // Every character stays as it is, a byte order mark too. [MQTT-1.5.4-1], [MQTT-1.5.4-3]
        core::str::from_utf8(self.binary(field)?).map_err(|_| Fault::Utf8(field))
    }

    #[inline(always)]
    pub(crate) fn packet_id(&mut self) -> Result<PacketId, Fault> {
        PacketId::new(self.u16(Field::PacketId)?).ok_or(Fault::PacketIdZero)
    }
}

#[cold]
const fn topic_fault(field: Field, error: TopicError) -> Fault {
    match error {
        TopicError::NulCharacter => Fault::NulCharacter(field), // as in any other string
        error => Fault::Topic(field, error),
    }
}
