//! Packets that the server makes itself.

use alloc::vec::Vec;

use mqway_codec::{
    Connack, ConnectReturnCode, DecodeError, Decoder, Disconnect, Fault as Malformed, Packet, PacketId,
    PacketType, PropertiesBuf, Property, ReasonCode, ReasonCodes, Suback, Unsuback, Version,
    version_for_unknown_level,
};

/// A CONNACK that refuses, or a DISCONNECT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal<'a> {
    /// Why.
    pub reason: ReasonCode,
    /// Why, in words, for people who look for the cause.
    pub text: &'a str,
    /// Another server to use instead, with the reasons 0x9C and 0x9D.
    pub server_reference: Option<&'a str>,
}

impl<'a> Refusal<'a> {
    /// Without a server reference.
    pub fn new(reason: ReasonCode, text: &'a str) -> Refusal<'a> {
        Refusal { reason, text, server_reference: None }
    }

    /// Appends the CONNACK that refuses a client of this version, no longer than it takes. Nothing where the version
    /// has no word for it: the connection is then closed in silence.
    pub fn connack(&self, version: Version, maximum_packet: u32, out: &mut Vec<u8>) {
        let before_5 = version != Version::V5;
        if before_5 && ConnectReturnCode::from_reason(self.reason).is_none() {
            return; // 3.1.1: [MQTT-3.2.2-6]
        }
        let reason = match self.reason {
            // 3.1.1 §3.2.2.3: return code 4 is for what is malformed; who is not believed is not authorized.
            ReasonCode::BadUserNameOrPassword if before_5 => ReasonCode::NotAuthorized,
            reason => reason,
        };
        let packet = |properties: &PropertiesBuf, out: &mut Vec<u8>| {
            let mut connack = Connack::new(false, reason); // [MQTT-3.2.2-6]
            connack.properties = properties.as_properties();
            Packet::Connack(connack).encode(version, out)
        };
        self.fitting(version, maximum_packet, packet, out);
    }

    /// Appends the DISCONNECT that ends a connection; nothing before 5.0, where servers have none. [MQTT-3.14.2-2]
    pub fn disconnect(&self, version: Version, maximum_packet: u32, out: &mut Vec<u8>) {
        if version != Version::V5 {
            return;
        }
        let packet = |properties: &PropertiesBuf, out: &mut Vec<u8>| {
            let mut disconnect = Disconnect::new(self.reason);
            disconnect.properties = properties.as_properties();
            Packet::Disconnect(disconnect).encode(version, out)
        };
        self.fitting(version, maximum_packet, packet, out);
    }

    /// With the words, or where these would be too long, without, or not at all. [MQTT-3.2.2-19], [MQTT-3.14.2-3] There are no user
    /// properties. [MQTT-3.2.2-20], [MQTT-3.14.2-4]
    fn fitting<E: core::fmt::Debug>(
        &self,
        version: Version,
        maximum_packet: u32,
        packet: impl Fn(&PropertiesBuf, &mut Vec<u8>) -> Result<(), E>,
        out: &mut Vec<u8>,
    ) {
        let start = out.len();
        let mut properties = PropertiesBuf::new();
        if version == Version::V5 {
            // What cannot be said is left out; the reason code says enough.
            let _ = self.server_reference.map(|server| properties.push(Property::ServerReference(server)));
            let _ = (!self.text.is_empty()).then(|| properties.push(Property::ReasonString(self.text)));
        }
        let fits = packet(&properties, out).is_ok() && out.len() - start <= maximum_packet as usize;
        if !fits {
            out.truncate(start);
            let encoded = packet(&PropertiesBuf::new(), out);
            debug_assert!(encoded.is_ok(), "{encoded:?}");
            if out.len() - start > maximum_packet as usize {
                out.truncate(start); // [MQTT-3.1.2-24]: then it is closed in silence.
            }
        }
    }
}

/// Appends the DISCONNECT of 5.0 that ends a connection; nothing before.
pub fn farewell(version: Version, reason: ReasonCode, text: &str, maximum_packet: u32, out: &mut Vec<u8>) {
    Refusal::new(reason, text).disconnect(version, maximum_packet, out);
}

/// Appends the answer to a first packet that is no CONNECT, with which `bytes` begin: nothing, where what was meant cannot
/// be told.
pub fn answer_to_faulty(error: &DecodeError, bytes: &[u8], out: &mut Vec<u8>) {
    let version = match error.fault() {
        Malformed::ProtocolLevel(level) => version_for_unknown_level(level, bytes), // [MQTT-3.1.2-2]
        // Before 5.0 there is no return code for what is malformed. 3.1.1: [MQTT-3.1.4-1]
        _ if error.version() == Some(Version::V5) => Version::V5,
        _ => return,
    };
    Refusal::new(error.reason_code(), "").connack(version, u32::MAX, out);
}

/// Appends a PUBACK, PUBREC, PUBREL or PUBCOMP, with the identifier of what it answers. [MQTT-2.2.1-5] Before 5.0 the
/// reason is not said.
///
/// Never with properties: so no client finds it too large for them, nor one that wants none hears of problems.
/// [MQTT-3.1.2-29], [MQTT-3.4.2-2], [MQTT-3.4.2-3], [MQTT-3.5.2-2], [MQTT-3.5.2-3]
/// [MQTT-3.6.2-2], [MQTT-3.6.2-3], [MQTT-3.7.2-2], [MQTT-3.7.2-3]
#[inline]
pub fn acknowledge(
    packet_type: PacketType,
    version: Version,
    id: PacketId,
    reason: ReasonCode,
    out: &mut Vec<u8>,
) {
    let flags = if matches!(packet_type, PacketType::Pubrel) { 0b0010 } else { 0 };
    let first = (packet_type as u8) << 4 | flags; // [MQTT-3.6.1-1]
    let [high, low] = id.value().to_be_bytes();
    // The longer form is for what the shorter one does not say.
    match version {
        Version::V5 if reason != ReasonCode::Success => {
            out.extend_from_slice(&[first, 3, high, low, reason.code()]);
        }
        _ => out.extend_from_slice(&[first, 2, high, low]),
    }
}

/// Puts words into the PUBACK, PUBREC, SUBACK or UNSUBACK of 5.0 that `out` ends with from `start` on, unless it would be
/// larger than the client takes then. Whoever calls knows that the client wants to hear of problems. [MQTT-3.1.2-29]
/// [MQTT-3.4.2-2], [MQTT-3.5.2-2], [MQTT-3.9.2-1], [MQTT-3.11.2-1]
pub fn explain(text: &str, maximum_packet: u32, start: usize, out: &mut Vec<u8>) {
    let mut words = PropertiesBuf::new();
    let mut explained = Vec::new();
    let (Some(bare), Ok(())) = (out.get(start..), words.push(Property::ReasonString(text))) else { return };
    let properties = words.as_properties();
    let mut decoder = Decoder::with_version(Version::V5, bare.len());
    let encoded = match decoder.next(bare) {
        Ok(Some((Packet::Puback(mut ack), _))) => {
            ack.properties = properties;
            Packet::Puback(ack).encode(Version::V5, &mut explained)
        }
        Ok(Some((Packet::Pubrec(mut ack), _))) => {
            ack.properties = properties;
            Packet::Pubrec(ack).encode(Version::V5, &mut explained)
        }
        Ok(Some((Packet::Suback(mut suback), _))) => {
            suback.properties = properties;
            Packet::Suback(suback).encode(Version::V5, &mut explained)
        }
        Ok(Some((Packet::Unsuback(mut unsuback), _))) => {
            unsuback.properties = properties;
            Packet::Unsuback(unsuback).encode(Version::V5, &mut explained)
        }
        _ => return,
    };
    if encoded.is_ok() && explained.len() <= maximum_packet as usize {
        out.truncate(start);
        out.extend_from_slice(&explained);
    }
}

/// Appends a SUBACK, without properties, as [`acknowledge`] does.
/// [MQTT-2.2.1-6], [MQTT-3.1.2-29], [MQTT-3.8.4-2], [MQTT-3.9.2-1], [MQTT-3.9.2-2]
pub fn suback(version: Version, id: PacketId, codes: ReasonCodes<'_>, out: &mut Vec<u8>) {
    let encoded = Packet::Suback(Suback::new(id, codes)).encode(version, out);
    debug_assert!(encoded.is_ok(), "{encoded:?}");
}

/// Appends an UNSUBACK, likewise. [MQTT-2.2.1-6], [MQTT-3.10.4-5], [MQTT-3.11.2-1], [MQTT-3.11.2-2]
pub fn unsuback(version: Version, id: PacketId, codes: ReasonCodes<'_>, out: &mut Vec<u8>) {
    let encoded = Packet::Unsuback(Unsuback::new(id, codes)).encode(version, out);
    debug_assert!(encoded.is_ok(), "{encoded:?}");
}
