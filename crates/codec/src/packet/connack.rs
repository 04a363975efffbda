use alloc::vec::Vec;

use super::{check_reason, read_reason};
use crate::error::{EncodeError, Fault, Field};
use crate::properties::Place;
use crate::reader::Reader;
use crate::writer::Body;
use crate::{ConnectReturnCode, PacketType, Properties, PropertyId, ReasonCode, Version};

/// CONNACK (5.0 §3.2): the server's answer to CONNECT.
///
/// A 5.0 client that reaches a server of 3.x gets `20 02 00 01`, which is no CONNACK of 5.0; decode it as 3.1.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connack<'a> {
    /// The server has a session of this client. Never so with an error.
    pub session_present: bool,
    /// The outcome. Before 5.0 it is the one that says the same as the return code, see [`ConnectReturnCode`].
    pub reason: ReasonCode,
    /// Everything that 5.0 §3.2.2.3 lists.
    pub properties: Properties<'a>,
}

impl<'a> Connack<'a> {
    /// A CONNACK without properties.
    pub const fn new(session_present: bool, reason: ReasonCode) -> Self {
        Self { session_present, reason, properties: Properties::EMPTY }
    }

    pub(super) fn read(version: Version, reader: &mut Reader<'a>) -> Result<Self, Fault> {
        let session_present = match reader.u8(Field::ConnackFlags)? {
            0 => false,
            1 => true,
            _ => return Err(Fault::ReservedBits(Field::ConnackFlags)), // [MQTT-3.2.2-1]
        };
        let (reason, properties) = if version == Version::V5 {
            // [MQTT-3.2.2-8]
            (read_reason(PacketType::Connack, reader)?, Properties::read(reader, Place::Connack)?)
        } else {
            let code = reader.u8(Field::ReasonCode)?;
            let code = ConnectReturnCode::from_u8(code).ok_or(Fault::ReasonCode(code))?;
            (code.reason(), Properties::EMPTY)
        };
        let connack = Self { session_present, reason, properties };
        connack.fault().map_or(Ok(connack), Err)
    }

    fn fault(&self) -> Option<Fault> {
        if self.session_present && self.reason.is_error() {
            return Some(Fault::SessionPresentOnRefusal); // [MQTT-3.2.2-6]; 3.1.1: [MQTT-3.2.2-4]
        }
        // Data belong to the exchange of a method that CONNECT named and CONNACK names again. [MQTT-4.12.0-5]
        let data_alone = self.properties.contains(PropertyId::AuthenticationData)
            && !self.properties.contains(PropertyId::AuthenticationMethod);
        data_alone.then_some(Fault::NoAuthenticationMethod)
    }
}

impl Body for Connack<'_> {
    fn check(&self, version: Version) -> Result<(), EncodeError> {
        if let Some(fault) = self.fault() {
            return Err(fault.into());
        }
        if version == Version::V5 {
            self.properties.check_place(Place::Connack)?;
            return check_reason(PacketType::Connack, self.reason);
        }
        match ConnectReturnCode::from_reason(self.reason) {
            Some(_) => Ok(()),
            None => Err(EncodeError::NotInVersion(Field::ReasonCode)),
        }
    }

    fn first_byte(&self, _: Version) -> u8 {
        PacketType::Connack.first_byte()
    }

    fn len(&self, version: Version) -> usize {
        2 + if version == Version::V5 { self.properties.encoded_len() } else { 0 }
    }

    fn write(&self, version: Version, out: &mut Vec<u8>) {
        out.push(u8::from(self.session_present));
        if version == Version::V5 {
            out.push(self.reason.code());
            self.properties.write(out);
        } else {
            // check() has let pass only what has a return code.
            out.push(ConnectReturnCode::from_reason(self.reason).map_or(0, |code| code as u8));
        }
    }
}
