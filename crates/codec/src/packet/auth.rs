use alloc::vec::Vec;

use super::{Tail, check_reason, read_reason};
use crate::error::{EncodeError, Fault};
use crate::properties::Place;
use crate::reader::Reader;
use crate::writer::Body;
use crate::{PacketType, Properties, PropertyId, ReasonCode, Version};

/// AUTH (5.0 §3.15): a step of enhanced authentication. Only 5.0 has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Auth<'a> {
    /// Success, continue, or authenticate again.
    pub reason: ReasonCode,
    /// Authentication method (required, but for the empty form that says success), authentication data, reason
    /// string, user properties.
    pub properties: Properties<'a>,
    tail: Tail,
}

impl<'a> Auth<'a> {
    /// An AUTH whose properties name the authentication method.
    pub const fn new(reason: ReasonCode, properties: Properties<'a>) -> Self {
        Self { reason, properties, tail: Tail::Nothing }
    }

    pub(super) fn read(reader: &mut Reader<'a>) -> Result<Self, Fault> {
        // 5.0 §3.15.2.1: reason code and property length may both be omitted, not the latter alone.
        if reader.is_empty() {
            return Ok(Self::new(ReasonCode::Success, Properties::EMPTY));
        }
        let reason = read_reason(PacketType::Auth, reader)?; // [MQTT-3.15.2-1]
        let properties = Properties::read(reader, Place::Auth)?;
        let auth = Self { reason, properties, tail: Tail::Properties.kept(reason, &properties) };
        auth.fault().map_or(Ok(auth), Err)
    }

    fn tail(&self) -> Tail {
        self.tail.needed(self.reason, &self.properties)
    }

    fn fault(&self) -> Option<Fault> {
        let named = self.properties.contains(PropertyId::AuthenticationMethod);
        (self.tail() != Tail::Nothing && !named).then_some(Fault::NoAuthenticationMethod) // 5.0 §3.15.2.2.2
    }
}

impl Body for Auth<'_> {
    fn check(&self, version: Version) -> Result<(), EncodeError> {
        if version != Version::V5 {
            return Err(EncodeError::NoSuchPacket(PacketType::Auth));
        }
        check_reason(PacketType::Auth, self.reason)?;
        self.properties.check_place(Place::Auth)?;
        self.fault().map_or(Ok(()), |fault| Err(fault.into()))
    }

    fn first_byte(&self, _: Version) -> u8 {
        PacketType::Auth.first_byte()
    }

    fn len(&self, _: Version) -> usize {
        self.tail().len(&self.properties)
    }

    fn write(&self, _: Version, out: &mut Vec<u8>) {
        self.tail().write(self.reason, &self.properties, out);
    }
}
