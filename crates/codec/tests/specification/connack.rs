//! §3.2 CONNACK.

use mqway_codec::{Connack, ConnectReturnCode, EncodeError, Fault, Field, Packet, ReasonCode, Version};

use crate::{BEFORE_5, accept, malformed, packet, protocol_error};

#[test]
fn it_is_flags_code_and_properties() {
    let bytes = packet(0x20, b"\x01\x00\x03\x21\x00\x14");
    let Packet::Connack(connack) = accept(Version::V5, &bytes) else { panic!() };
    assert_eq!((connack.session_present, connack.reason), (true, ReasonCode::Success));
    assert_eq!(connack.properties.receive_maximum().map(u16::from), Some(20));
    for body in [&b""[..], b"\x00", b"\x00\x00"] {
        assert!(mqway_codec::decode(Version::V5, &packet(0x20, body)).is_err(), "{body:02x?}");
    }
    malformed(Version::V5, &packet(0x20, b"\x00\x00\x00\x00"), Fault::TrailingBytes(1));
}

#[test]
fn reserved_flags_are_zero() {
    // [MQTT-3.2.2-1]
    for version in crate::ALL {
        let body = if version == Version::V5 { &b"\x02\x00\x00"[..] } else { b"\x02\x00" };
        malformed(version, &packet(0x20, body), Fault::ReservedBits(Field::ConnackFlags));
    }
}

#[test]
fn a_refusal_has_no_session() {
    // [MQTT-3.2.2-6]; 3.1.1: [MQTT-3.2.2-4]
    protocol_error(Version::V5, &packet(0x20, b"\x01\x87\x00"), Fault::SessionPresentOnRefusal);
    for version in BEFORE_5 {
        protocol_error(version, &packet(0x20, b"\x01\x05"), Fault::SessionPresentOnRefusal);
    }
}

#[test]
fn return_codes_of_3_1_1_have_their_reason() {
    // 3.1.1 §3.2.2.3
    for (code, reason) in [
        (0, ReasonCode::Success),
        (1, ReasonCode::UnsupportedProtocolVersion),
        (2, ReasonCode::ClientIdentifierNotValid),
        (3, ReasonCode::ServerUnavailable),
        (4, ReasonCode::BadUserNameOrPassword),
        (5, ReasonCode::NotAuthorized),
    ] {
        for version in BEFORE_5 {
            let bytes = [0x20, 2, 0, code];
            let Packet::Connack(connack) = accept(version, &bytes) else { panic!() };
            assert_eq!(connack.reason, reason);
        }
        let code = ConnectReturnCode::from_u8(code).unwrap();
        assert_eq!(ConnectReturnCode::from_reason(code.reason()), Some(code));
    }
    for code in 6..=u8::MAX {
        protocol_error(Version::V3_1_1, &[0x20, 2, 0, code], Fault::ReasonCode(code));
    }
}

#[test]
fn every_reason_has_its_return_code_or_none() {
    let code_of = |reason| {
        let mut bytes = Vec::new();
        let connack = Packet::from(Connack::new(false, reason));
        connack.encode(Version::V3_1_1, &mut bytes).map(|()| bytes[3])
    };
    assert_eq!(code_of(ReasonCode::Banned), Ok(5));
    assert_eq!(code_of(ReasonCode::QuotaExceeded), Ok(3));
    // 3.1.1: [MQTT-3.2.2-6]: where none applies, the connection is closed without CONNACK.
    assert_eq!(code_of(ReasonCode::MalformedPacket), Err(EncodeError::NotInVersion(Field::ReasonCode)));
}

#[test]
fn the_answer_of_an_older_server_is_none_of_5_0() {
    let bytes = b"\x20\x02\x00\x01";
    assert!(mqway_codec::decode(Version::V5, bytes).is_err());
    let Packet::Connack(connack) = accept(Version::V3_1_1, bytes) else { panic!() };
    assert_eq!(connack.reason, ReasonCode::UnsupportedProtocolVersion);
}

#[test]
fn authentication_data_need_a_method() {
    // [MQTT-4.12.0-5]
    protocol_error(Version::V5, &packet(0x20, b"\x00\x00\x04\x16\x00\x01d"), Fault::NoAuthenticationMethod);
}
