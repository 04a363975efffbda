//! §3.15 AUTH.

use mqway_codec::{Auth, EncodeError, Fault, Field, Packet, PacketType, Properties, ReasonCode, Version};

use crate::{BEFORE_5, accept, malformed, packet, protocol_error};

#[test]
fn it_is_a_reason_and_properties() {
    let bytes = packet(0xF0, b"\x18\x0A\x15\x00\x01m\x16\x00\x03\xFF\x00d");
    let Packet::Auth(auth) = accept(Version::V5, &bytes) else { panic!() };
    assert_eq!(auth.reason, ReasonCode::ContinueAuthentication);
    assert_eq!(auth.properties.authentication_method(), Some("m"));
    assert_eq!(auth.properties.authentication_data(), Some(&b"\xFF\x00d"[..]));
}

#[test]
fn success_may_be_left_out_altogether() {
    // §3.15.2.1
    let Packet::Auth(auth) = accept(Version::V5, b"\xF0\x00") else { panic!() };
    assert_eq!(auth.reason, ReasonCode::Success);
    malformed(Version::V5, b"\xF0\x01\x00", Fault::Truncated(Field::PropertyLength));
    malformed(Version::V5, b"\xF0\x01\x18", Fault::Truncated(Field::PropertyLength));
}

#[test]
fn it_names_the_method() {
    // §3.15.2.2.2
    for body in [&b"\x00\x00"[..], b"\x18\x00", b"\x18\x04\x16\x00\x01d"] {
        protocol_error(Version::V5, &packet(0xF0, body), Fault::NoAuthenticationMethod);
    }
    let nameless = Packet::from(Auth::new(ReasonCode::ReAuthenticate, Properties::EMPTY));
    let result = nameless.encode(Version::V5, &mut Vec::new());
    assert_eq!(result, Err(EncodeError::Fault(Fault::NoAuthenticationMethod)));
}

#[test]
fn only_5_0_has_it() {
    let auth = Packet::from(Auth::new(ReasonCode::Success, Properties::EMPTY));
    for version in BEFORE_5 {
        let result = auth.encode(version, &mut Vec::new());
        assert_eq!(result, Err(EncodeError::NoSuchPacket(PacketType::Auth)));
    }
}
