//! §3.14 DISCONNECT.

use mqway_codec::{Disconnect, EncodeError, Fault, Field, Packet, ReasonCode, Version};

use crate::{BEFORE_5, accept, malformed, packet};

#[test]
fn before_5_0_it_is_two_bytes() {
    for version in BEFORE_5 {
        let expected = Packet::from(Disconnect::new(ReasonCode::NORMAL_DISCONNECTION));
        assert_eq!(accept(version, b"\xE0\x00"), expected);
        let kicked = Packet::from(Disconnect::new(ReasonCode::AdministrativeAction));
        let result = kicked.encode(version, &mut Vec::new());
        assert_eq!(result, Err(EncodeError::NotInVersion(Field::ReasonCode)));
    }
}

#[test]
fn reason_and_properties_may_be_left_out() {
    // §3.14.2.1, §3.14.2.2.1; each form is given back as it came.
    for body in [&b""[..], b"\x00", b"\x00\x00", b"\x8E", b"\x8E\x00", b"\x9C\x06\x1C\x00\x03b:1"] {
        let bytes = packet(0xE0, body);
        let Packet::Disconnect(disconnect) = accept(Version::V5, &bytes) else { panic!() };
        assert_eq!(disconnect.reason.code(), body.first().copied().unwrap_or(0));
        assert_eq!(disconnect.properties.server_reference(), (body.len() > 2).then_some("b:1"));
    }
    malformed(Version::V5, &packet(0xE0, b"\x00\x00\x00"), Fault::TrailingBytes(1));
}
