use alloc::vec::Vec;

use super::{Tail, check_reason, read_reason};
use crate::error::{EncodeError, Fault, Field};
use crate::header::DUP;
use crate::properties::Place;
use crate::reader::Reader;
use crate::writer::{Body, put_u16};
use crate::{Header, PacketId, PacketType, Properties, ReasonCode, Version};

/// PUBACK, PUBREC, PUBREL or PUBCOMP (5.0 §3.4 to §3.7): a step of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ack<'a> {
    /// Of the PUBLISH that it is about.
    pub packet_id: PacketId,
    /// The outcome. Always success before 5.0.
    pub reason: ReasonCode,
    /// Reason string, user properties.
    pub properties: Properties<'a>,
    tail: Tail,
    /// A 3.1 PUBREL that was sent again.
    dup: bool,
}

impl<'a> Ack<'a> {
    /// Success.
    pub const fn new(packet_id: PacketId) -> Self {
        Self::with_reason(packet_id, ReasonCode::Success)
    }

    /// With a reason code, in the shortest form.
    pub const fn with_reason(packet_id: PacketId, reason: ReasonCode) -> Self {
        Self { packet_id, reason, properties: Properties::EMPTY, tail: Tail::Nothing, dup: false }
    }

    /// What `body` is if it is of one of these packets, and no more than an identifier.
    #[inline(always)]
    pub(super) fn bare(header: &Header, body: &[u8]) -> Option<Self> {
        let packet_id = PacketId::new(u16::from_be_bytes(body.try_into().ok()?))?;
        Some(Self { dup: header.flags & DUP != 0, ..Self::new(packet_id) })
    }

    pub(super) fn read(version: Version, header: &Header, reader: &mut Reader<'a>) -> Result<Self, Fault> {
        let mut ack = Self::new(reader.packet_id()?);
        ack.dup = header.flags & DUP != 0;
        if version != Version::V5 || reader.is_empty() {
            return Ok(ack);
        }
        // [MQTT-3.4.2-1], [MQTT-3.5.2-1], [MQTT-3.6.2-1], [MQTT-3.7.2-1]
        ack.reason = read_reason(header.packet_type, reader)?;
        let mut tail = Tail::Reason;
        if !reader.is_empty() {
            ack.properties = Properties::read(reader, Place::of(header.packet_type))?;
            tail = Tail::Properties;
        }
        ack.tail = tail.kept(ack.reason, &ack.properties);
        Ok(ack)
    }
}

/// An [`Ack`] and which of the four packets it is.
pub(super) struct AckBody<'p, 'a> {
    pub(super) packet_type: PacketType,
    pub(super) ack: &'p Ack<'a>,
}

impl AckBody<'_, '_> {
    fn tail(&self) -> Tail {
        self.ack.tail.needed(self.ack.reason, &self.ack.properties)
    }
}

impl Body for AckBody<'_, '_> {
    fn check(&self, version: Version) -> Result<(), EncodeError> {
        check_reason(self.packet_type, self.ack.reason)?;
        if version == Version::V5 {
            self.ack.properties.check_place(Place::of(self.packet_type))
        } else if self.ack.reason.is_error() {
            Err(EncodeError::NotInVersion(Field::ReasonCode))
        } else {
            Ok(())
        }
    }

    fn first_byte(&self, version: Version) -> u8 {
        let dup = if self.ack.dup && version == Version::V3_1 { DUP } else { 0 };
        self.packet_type.first_byte() | dup
    }

    fn len(&self, version: Version) -> usize {
        2 + if version == Version::V5 { self.tail().len(&self.ack.properties) } else { 0 }
    }

    fn write(&self, version: Version, out: &mut Vec<u8>) {
        put_u16(self.ack.packet_id.value(), out);
        if version == Version::V5 {
            self.tail().write(self.ack.reason, &self.ack.properties, out);
        }
    }
}
