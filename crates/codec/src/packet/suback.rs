use alloc::vec::Vec;
use core::fmt;

use crate::error::{EncodeError, Fault};
use crate::properties::Place;
use crate::reader::Reader;
use crate::writer::{Body, put_u16};
use crate::{PacketId, PacketType, Properties, ReasonCode, Version, varint};

/// SUBACK (5.0 §3.9): the answer to each subscription of a SUBSCRIBE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Suback<'a> {
    /// Of the SUBSCRIBE.
    pub packet_id: PacketId,
    /// Reason string, user properties.
    pub properties: Properties<'a>,
    /// A code for each filter, in its order. Before 5.0 every failure is 0x80; 3.1 has no failure, but is read with
    /// it, since brokers do answer so.
    pub codes: ReasonCodes<'a>,
}

impl<'a> Suback<'a> {
    /// Without properties.
    pub const fn new(packet_id: PacketId, codes: ReasonCodes<'a>) -> Self {
        Self { packet_id, properties: Properties::EMPTY, codes }
    }

    pub(super) fn read(version: Version, reader: &mut Reader<'a>) -> Result<Self, Fault> {
        let packet_id = reader.packet_id()?;
        let properties = match version {
            Version::V5 => Properties::read(reader, Place::Suback)?,
            _ => Properties::EMPTY,
        };
        let codes = ReasonCodes::check(PacketType::Suback, reader.rest())?;
        let known = |&code: &u8| version == Version::V5 || code <= ReasonCode::UnspecifiedError.code();
        match codes.0.iter().find(|code| !known(code)) {
            Some(&code) => Err(Fault::ReasonCode(code)), // 3.1.1: [MQTT-3.9.3-2]
            None => Ok(Self { packet_id, properties, codes }),
        }
    }
}

/// The reason codes of a SUBACK or UNSUBACK, in order: checked, and in the bytes they came in.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct ReasonCodes<'a>(&'a [u8]);

impl<'a> ReasonCodes<'a> {
    /// None, as in an UNSUBACK before 5.0.
    pub const EMPTY: Self = Self(&[]);

    /// All of them, in order. [MQTT-3.9.3-1], [MQTT-3.11.3-1]
    pub fn iter(&self) -> impl ExactSizeIterator<Item = ReasonCode> + DoubleEndedIterator + use<'a> {
        // Each has been checked to be one.
        self.0.iter().map(|&code| ReasonCode::from_u8(code).unwrap_or(ReasonCode::UnspecifiedError))
    }

    /// How many there are.
    pub const fn count(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Codes of `packet_type`, of which there is one at least. [MQTT-3.8.4-6]
    pub(super) fn check(packet_type: PacketType, raw: &'a [u8]) -> Result<Self, Fault> {
        if raw.is_empty() {
            return Err(Fault::EmptyPayload);
        }
        let allowed = |code| ReasonCode::from_u8(code).is_some_and(|code| code.is_allowed_in(packet_type));
        match raw.iter().find(|&&code| !allowed(code)) {
            Some(&code) => Err(Fault::ReasonCode(code)), // [MQTT-3.9.3-2], [MQTT-3.11.3-2]
            None => Ok(Self(raw)),
        }
    }

    /// Refuses what an answer of `packet_type` cannot hold, wherever the codes came from.
    pub(super) fn check_for(&self, packet_type: PacketType) -> Result<(), EncodeError> {
        if self.0.len() > varint::MAX as usize {
            return Err(EncodeError::PacketTooLarge);
        }
        Self::check(packet_type, self.0)?;
        Ok(())
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.0);
    }
}

impl fmt::Debug for ReasonCodes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// Reason codes being put together for a SUBACK or UNSUBACK to send.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReasonCodesBuf(Vec<u8>);

impl ReasonCodesBuf {
    /// An empty one. Allocates nothing.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Appends a code. Whether it belongs in the packet shows when the packet is encoded.
    pub fn push(&mut self, code: ReasonCode) {
        self.0.push(code.code());
    }

    /// The codes, to put into a [`Suback`] or [`Unsuback`](crate::Unsuback).
    pub fn as_codes(&self) -> ReasonCodes<'_> {
        ReasonCodes(&self.0)
    }
}

impl Extend<ReasonCode> for ReasonCodesBuf {
    fn extend<I: IntoIterator<Item = ReasonCode>>(&mut self, codes: I) {
        self.0.extend(codes.into_iter().map(ReasonCode::code));
    }
}

impl FromIterator<ReasonCode> for ReasonCodesBuf {
    fn from_iter<I: IntoIterator<Item = ReasonCode>>(codes: I) -> Self {
        Self(codes.into_iter().map(ReasonCode::code).collect())
    }
}

impl Body for Suback<'_> {
    fn check(&self, version: Version) -> Result<(), EncodeError> {
        if version == Version::V5 {
            self.properties.check_place(Place::Suback)?;
        }
        self.codes.check_for(PacketType::Suback)
    }

    fn first_byte(&self, _: Version) -> u8 {
        PacketType::Suback.first_byte()
    }

    fn len(&self, version: Version) -> usize {
        2 + if version == Version::V5 { self.properties.encoded_len() } else { 0 } + self.codes.count()
    }

    fn write(&self, version: Version, out: &mut Vec<u8>) {
        put_u16(self.packet_id.value(), out);
        if version == Version::V5 {
            self.properties.write(out);
            self.codes.write(out);
        } else {
            out.extend(self.codes.iter().map(|code| code.code().min(ReasonCode::UnspecifiedError.code())));
        }
    }
}
