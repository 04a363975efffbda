//! §2.4 Reason codes, as each packet's own section lists them.

use mqway_codec::{Fault, PacketType, ReasonCode, Version};

use crate::{accept, packet, protocol_error};

/// The codes of each packet that has any.
fn sections() -> [(PacketType, &'static [u8]); 10] {
    [
        // Table 3-1
        (
            PacketType::Connack,
            &[
                0x00, 0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8A, 0x8C, 0x90, 0x95,
                0x97, 0x99, 0x9A, 0x9B, 0x9C, 0x9D, 0x9F,
            ],
        ),
        (PacketType::Puback, &[0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99]), // Table 3-4
        (PacketType::Pubrec, &[0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99]), // Table 3-5
        (PacketType::Pubrel, &[0x00, 0x92]),                                           // Table 3-6
        (PacketType::Pubcomp, &[0x00, 0x92]),                                          // Table 3-7
        // Table 3-8
        (PacketType::Suback, &[0x00, 0x01, 0x02, 0x80, 0x83, 0x87, 0x8F, 0x91, 0x97, 0x9E, 0xA1, 0xA2]),
        (PacketType::Unsuback, &[0x00, 0x11, 0x80, 0x83, 0x87, 0x8F, 0x91]), // Table 3-9
        // Table 3-10, and 0x8C, which only Table 2-6 gives to DISCONNECT
        (
            PacketType::Disconnect,
            &[
                0x00, 0x04, 0x80, 0x81, 0x82, 0x83, 0x87, 0x89, 0x8B, 0x8C, 0x8D, 0x8E, 0x8F, 0x90, 0x93,
                0x94, 0x95, 0x96, 0x97, 0x98, 0x99, 0x9A, 0x9B, 0x9C, 0x9D, 0x9E, 0x9F, 0xA0, 0xA1, 0xA2,
            ],
        ),
        (PacketType::Auth, &[0x00, 0x18, 0x19]), // Table 3-11
        (PacketType::Publish, &[]),
    ]
}

/// A packet with this reason code.
fn carrier(packet_type: PacketType, code: u8) -> Vec<u8> {
    let first = (packet_type as u8) << 4 | if packet_type == PacketType::Pubrel { 2 } else { 0 };
    match packet_type {
        PacketType::Connack => packet(first, [0, code, 0]),
        PacketType::Suback | PacketType::Unsuback => packet(first, [0, 1, 0, code]),
        PacketType::Disconnect => packet(first, [code]),
        PacketType::Auth => packet(first, [code, 4, 0x15, 0, 1, b'm']),
        _ => packet(first, [0, 1, code]),
    }
}

#[test]
fn each_packet_has_its_codes() {
    // [MQTT-3.2.2-8], [MQTT-3.4.2-1], [MQTT-3.5.2-1], [MQTT-3.6.2-1], [MQTT-3.7.2-1], [MQTT-3.9.3-2],
    // [MQTT-3.11.3-2], [MQTT-3.14.2-1], [MQTT-3.15.2-1]
    for (packet_type, listed) in sections() {
        for code in 0..=u8::MAX {
            let allowed = ReasonCode::from_u8(code).is_some_and(|code| code.is_allowed_in(packet_type));
            assert_eq!(allowed, listed.contains(&code), "{code:#04x} in {packet_type}");
            if packet_type == PacketType::Publish {
                continue;
            }
            let bytes = carrier(packet_type, code);
            if allowed {
                accept(Version::V5, &bytes);
            } else {
                protocol_error(Version::V5, &bytes, Fault::ReasonCode(code));
            }
        }
    }
}

#[test]
fn there_are_43() {
    // Table 2-6, where 0x00 has three names
    assert_eq!(ReasonCode::ALL.len(), 43);
    for &reason in ReasonCode::ALL {
        assert_eq!(ReasonCode::from_u8(reason.code()), Some(reason));
        assert_eq!(reason.is_error(), reason.code() >= 0x80);
    }
}
