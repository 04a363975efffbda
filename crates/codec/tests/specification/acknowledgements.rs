//! §3.4 PUBACK, §3.5 PUBREC, §3.6 PUBREL, §3.7 PUBCOMP.

use mqway_codec::{Ack, EncodeError, Fault, Field, Packet, PacketId, ReasonCode, Version};

use crate::{BEFORE_5, accept, malformed, packet};

const FIRST_BYTES: [u8; 4] = [0x40, 0x50, 0x62, 0x70];

fn ack(packet: Packet<'_>) -> Ack<'_> {
    match packet {
        Packet::Puback(ack) | Packet::Pubrec(ack) | Packet::Pubrel(ack) | Packet::Pubcomp(ack) => ack,
        other => panic!("{other:?}"),
    }
}

#[test]
fn before_5_0_they_are_an_identifier() {
    for version in BEFORE_5 {
        for first in FIRST_BYTES {
            let bytes = [first, 2, 0x12, 0x34];
            let ack = ack(accept(version, &bytes));
            assert_eq!((ack.packet_id.value(), ack.reason), (0x1234, ReasonCode::Success));
        }
    }
}

#[test]
fn reason_and_properties_may_be_left_out() {
    // §3.4.2.1, §3.4.2.2.1 and their like; each form is given back as it came.
    for first in FIRST_BYTES {
        for body in [&b"\x00\x01"[..], b"\x00\x01\x00", b"\x00\x01\x00\x00", b"\x00\x01\x00\x04\x1F\x00\x01r"]
        {
            let bytes = packet(first, body);
            let ack = ack(accept(Version::V5, &bytes));
            assert_eq!(ack.reason, ReasonCode::Success);
            assert_eq!(ack.properties.reason_string(), (body.len() > 4).then_some("r"));
        }
        malformed(Version::V5, &packet(first, b"\x00"), Fault::Truncated(Field::PacketId));
        malformed(Version::V5, &packet(first, b"\x00\x01\x00\x00\x00"), Fault::TrailingBytes(1));
    }
}

#[test]
fn we_send_the_shortest_form() {
    let encode = |packet: Packet<'_>| {
        let mut bytes = Vec::new();
        packet.encode(Version::V5, &mut bytes).unwrap();
        bytes
    };
    assert_eq!(encode(Packet::Puback(Ack::new(PacketId::MIN))), b"\x40\x02\x00\x01");
    let refused = Ack::with_reason(PacketId::MIN, ReasonCode::QuotaExceeded);
    assert_eq!(encode(Packet::Puback(refused)), b"\x40\x03\x00\x01\x97");
}

#[test]
fn before_5_0_there_is_no_failure() {
    let refused = Ack::with_reason(PacketId::MIN, ReasonCode::NotAuthorized);
    for version in BEFORE_5 {
        let result = Packet::Puback(refused).encode(version, &mut Vec::new());
        assert_eq!(result, Err(EncodeError::NotInVersion(Field::ReasonCode)));
    }
}
