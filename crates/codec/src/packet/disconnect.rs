use alloc::vec::Vec;

use super::{Tail, check_reason, read_reason};
use crate::error::{EncodeError, Fault, Field};
use crate::properties::Place;
use crate::reader::Reader;
use crate::writer::Body;
use crate::{PacketType, Properties, ReasonCode, Version};

/// DISCONNECT (5.0 §3.14): the last packet of a connection. Before 5.0 only clients send it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disconnect<'a> {
    /// Why. Always [`ReasonCode::NORMAL_DISCONNECTION`] before 5.0.
    pub reason: ReasonCode,
    /// Session expiry, reason string, server reference, user properties.
    pub properties: Properties<'a>,
    tail: Tail,
}

impl Default for Disconnect<'_> {
    fn default() -> Self {
        Self::new(ReasonCode::NORMAL_DISCONNECTION)
    }
}

impl<'a> Disconnect<'a> {
    /// Without properties, in the shortest form.
    pub const fn new(reason: ReasonCode) -> Self {
        Self { reason, properties: Properties::EMPTY, tail: Tail::Nothing }
    }

    pub(super) fn read(version: Version, reader: &mut Reader<'a>) -> Result<Self, Fault> {
        let mut disconnect = Self::default();
        if version != Version::V5 || reader.is_empty() {
            return Ok(disconnect);
        }
        disconnect.reason = read_reason(PacketType::Disconnect, reader)?; // [MQTT-3.14.2-1]
        let mut tail = Tail::Reason;
        if !reader.is_empty() {
            disconnect.properties = Properties::read(reader, Place::Disconnect)?;
            tail = Tail::Properties;
        }
        disconnect.tail = tail.kept(disconnect.reason, &disconnect.properties);
        Ok(disconnect)
    }

    fn tail(&self) -> Tail {
        self.tail.needed(self.reason, &self.properties)
    }
}

impl Body for Disconnect<'_> {
    fn check(&self, version: Version) -> Result<(), EncodeError> {
        check_reason(PacketType::Disconnect, self.reason)?;
        if version == Version::V5 {
            self.properties.check_place(Place::Disconnect)
        } else if self.reason == ReasonCode::NORMAL_DISCONNECTION {
            Ok(())
        } else {
            Err(EncodeError::NotInVersion(Field::ReasonCode))
        }
    }

    fn first_byte(&self, _: Version) -> u8 {
        PacketType::Disconnect.first_byte()
    }

    fn len(&self, version: Version) -> usize {
        if version == Version::V5 { self.tail().len(&self.properties) } else { 0 }
    }

    fn write(&self, version: Version, out: &mut Vec<u8>) {
        if version == Version::V5 {
            self.tail().write(self.reason, &self.properties, out);
        }
    }
}
