//! The packets that the proxy says itself: refusals and farewells.

use mqway_codec::{Connack, Disconnect, Packet, PropertiesBuf, Property, ReasonCode, Version};

use crate::link::ClientTerms;

/// A CONNACK that refuses, with the text as reason string where the version has one and the client takes it.
pub(crate) fn refusal(terms: ClientTerms, reason: ReasonCode, text: &str) -> Vec<u8> {
    let mut properties = PropertiesBuf::new();
    // A text that cannot be a string of MQTT is left out, and the code stands alone.
    let explained = properties.push(Property::ReasonString(text)).is_ok();
    let short = Packet::Connack(Connack::new(false, reason));
    let long =
        Packet::Connack(Connack { properties: properties.as_properties(), ..Connack::new(false, reason) });
    // [MQTT-3.2.2-19]: no reason string that makes the packet larger than the client takes.
    if terms.version == Version::V5 && explained && long.encoded_len(Version::V5) <= terms.packet {
        encode(&long, terms.version)
    } else {
        encode(&short, terms.version)
    }
}

/// The last packet to a client before its connection is closed; nothing before 5.0, where servers have none.
pub(crate) fn farewell(version: Version, reason: ReasonCode) -> Vec<u8> {
    match version {
        Version::V5 => encode(&Packet::Disconnect(Disconnect::new(reason)), version),
        Version::V3_1 | Version::V3_1_1 => Vec::new(),
    }
}

/// Empty if the version has no such packet.
fn encode(packet: &Packet<'_>, version: Version) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Err(error) = packet.encode(version, &mut bytes) {
        log::debug!("nothing to answer in MQTT {version}: {error}");
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_version_is_refused_in_its_own_words() {
        let terms = |version| ClientTerms { version, packet: 1000 };
        let code = ReasonCode::ServerUnavailable;
        assert_eq!(refusal(terms(Version::V3_1), code, "why"), [0x20, 2, 0, 3]);
        assert_eq!(refusal(terms(Version::V3_1_1), code, "why"), [0x20, 2, 0, 3]);
        assert_eq!(refusal(terms(Version::V5), code, "why"), b"\x20\x09\x00\x88\x06\x1f\x00\x03why");
        let tight = ClientTerms { version: Version::V5, packet: 10 };
        assert_eq!(refusal(tight, code, "why"), [0x20, 3, 0, 0x88, 0]); // [MQTT-3.2.2-19]
    }

    #[test]
    fn only_5_0_knows_a_farewell() {
        assert_eq!(farewell(Version::V3_1_1, ReasonCode::ProtocolError), b"");
        assert_eq!(farewell(Version::V5, ReasonCode::ProtocolError), [0xe0, 1, 0x82]);
    }
}
