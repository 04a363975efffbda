use alloc::vec::Vec;

use super::ReasonCodes;
use crate::error::{EncodeError, Fault};
use crate::properties::Place;
use crate::reader::Reader;
use crate::writer::{Body, put_u16};
use crate::{PacketId, PacketType, Properties, Version};

/// UNSUBACK (5.0 §3.11): the answer to each filter of an UNSUBSCRIBE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unsuback<'a> {
    /// Of the UNSUBSCRIBE.
    pub packet_id: PacketId,
    /// Reason string, user properties.
    pub properties: Properties<'a>,
    /// A code for each filter, in its order. Before 5.0 there are none, and those given here are left out.
    pub codes: ReasonCodes<'a>,
}

impl<'a> Unsuback<'a> {
    /// Without properties.
    pub const fn new(packet_id: PacketId, codes: ReasonCodes<'a>) -> Self {
        Self { packet_id, properties: Properties::EMPTY, codes }
    }

    pub(super) fn read(version: Version, reader: &mut Reader<'a>) -> Result<Self, Fault> {
        let packet_id = reader.packet_id()?;
        if version != Version::V5 {
            return Ok(Self::new(packet_id, ReasonCodes::EMPTY));
        }
        Ok(Self {
            packet_id,
            properties: Properties::read(reader, Place::Unsuback)?,
            codes: ReasonCodes::check(PacketType::Unsuback, reader.rest())?,
        })
    }
}

impl Body for Unsuback<'_> {
    fn check(&self, version: Version) -> Result<(), EncodeError> {
        if version != Version::V5 {
            return Ok(());
        }
        self.properties.check_place(Place::Unsuback)?;
        self.codes.check_for(PacketType::Unsuback)
    }

    fn first_byte(&self, _: Version) -> u8 {
        PacketType::Unsuback.first_byte()
    }

    fn len(&self, version: Version) -> usize {
        2 + if version == Version::V5 { self.properties.encoded_len() + self.codes.count() } else { 0 }
    }

    fn write(&self, version: Version, out: &mut Vec<u8>) {
        put_u16(self.packet_id.value(), out);
        if version == Version::V5 {
            self.properties.write(out);
            self.codes.write(out);
        }
    }
}
