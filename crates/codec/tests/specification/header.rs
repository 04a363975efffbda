//! §2.1 Fixed header, §2.2.1 Packet identifier.

use mqway_codec::{DecodeError, Fault, Field, Header, PacketId, PacketType, QoS, Version, decode};

use crate::{ALL, BEFORE_5, accept, error, malformed, packet, protocol_error};

fn peek(bytes: &[u8]) -> Option<Header> {
    Header::peek(bytes).unwrap()
}

fn fault(result: Result<Option<Header>, DecodeError>) -> Fault {
    result.unwrap_err().fault()
}

#[test]
fn lengths_are_read_when_complete() {
    // §2.1.4
    for (bytes, header_len, packet_len) in [
        (&b"\x30\x00"[..], 2, 2),
        (b"\x30\x7F", 2, 129),
        (b"\x30\x80\x01", 3, 131),
        (b"\x30\xFF\xFF\xFF\x7F", 5, 268_435_460),
    ] {
        for end in 0..bytes.len() {
            assert_eq!(peek(&bytes[..end]), None);
        }
        let header = peek(bytes).unwrap();
        assert_eq!((header.header_len(), header.packet_len()), (header_len, packet_len));
        assert_eq!(peek(&[bytes, b"\xFF\xFF\xFF\xFF"].concat()), Some(header), "what follows does not count");
    }
}

#[test]
fn a_length_of_five_bytes_is_refused_at_the_fourth() {
    assert_eq!(peek(b"\x30\xFF\xFF\xFF"), None);
    assert_eq!(fault(Header::peek(b"\x30\xFF\xFF\xFF\xFF")), Fault::VarintTooLong(Field::RemainingLength));
    assert_eq!(fault(Header::peek(b"\x30\x80\x80\x80\x80")), Fault::VarintTooLong(Field::RemainingLength));
}

#[test]
fn every_first_byte_is_judged_at_once() {
    // [MQTT-2.1.3-1], [MQTT-3.14.1-1], [MQTT-3.15.1-1], Table 2-2; 3.1.1: [MQTT-2.2.2-1], [MQTT-2.2.2-2]
    for first in 0..=u8::MAX {
        let flags = first & 0x0F;
        let allowed = match first >> 4 {
            0 => false,
            3 => !matches!(flags >> 1, 0b011 | 0b111 | 0b100),
            6 | 8 | 10 => flags & 0b0111 == 0b0010, // 3.1 has DUP here
            _ => flags == 0,
        };
        assert_eq!(Header::peek(&[first]).is_ok(), allowed, "{first:#04x}");
        assert_eq!(Header::peek(&[first, 0]).is_ok(), allowed, "{first:#04x}");
    }
}

#[test]
fn dup_outside_publish_is_for_3_1() {
    // [MQTT-3.6.1-1], [MQTT-3.8.1-1], [MQTT-3.10.1-1]; 3.1 §3.6, §3.8, §3.10
    for (first, body) in
        [(0x6A, &b"\x00\x01"[..]), (0x8A, b"\x00\x01\x00\x01t\x00"), (0xAA, b"\x00\x01\x00\x01t")]
    {
        let bytes = packet(first, body);
        accept(Version::V3_1, &bytes);
        malformed(Version::V3_1_1, &bytes, Fault::ReservedFlags(0b1010));
        malformed(Version::V5, &bytes, Fault::ReservedFlags(0b1010));
    }
}

#[test]
fn type_0_and_early_auth_are_reserved() {
    // Table 2-1
    assert_eq!(fault(Header::peek(b"\x00")), Fault::ReservedPacketType);
    for version in BEFORE_5 {
        malformed(version, b"\xF0\x00", Fault::ReservedPacketType);
    }
    accept(Version::V5, b"\xF0\x00");
}

#[test]
fn the_length_of_fixed_packets_is_fixed() {
    for first in [0xC0, 0xD0] {
        for version in ALL {
            malformed(version, &[first, 1, 0], Fault::RemainingLength { expected: 0, found: 1 });
        }
    }
    for version in BEFORE_5 {
        for first in [0x20, 0x40, 0x50, 0x62, 0x70, 0xB0] {
            let long = Fault::RemainingLength { expected: 2, found: 3 };
            malformed(version, &[first, 3, 0, 1, 0], long);
            let header = peek(&[first, 3]).unwrap();
            assert_eq!(header.check(version).unwrap_err().fault(), long, "known from the header alone");
        }
        malformed(version, b"\xE0\x01\x00", Fault::RemainingLength { expected: 0, found: 1 });
    }
}

#[test]
fn decode_takes_one_whole_packet() {
    for version in ALL {
        malformed(version, b"\xC0\x00\x00", Fault::TrailingBytes(1));
        malformed(version, b"\x30\x05\x00\x01t", Fault::Truncated(Field::Payload));
        malformed(version, b"\x30", Fault::Truncated(Field::RemainingLength));
        malformed(version, b"", Fault::Truncated(Field::RemainingLength));
    }
}

#[test]
fn errors_name_packet_and_version() {
    let refused = error(Version::V3_1_1, b"\xE0\x01\x00");
    assert_eq!(refused.packet_type(), Some(PacketType::Disconnect));
    assert_eq!(refused.version(), Some(Version::V3_1_1));
    assert_eq!(refused.to_string(), "DISCONNECT: remaining length is 1 and must be 0");
    assert_eq!(error(Version::V5, b"\x00\x00").to_string(), "reserved packet type");
}

#[test]
fn packet_identifiers_are_not_zero() {
    // [MQTT-2.2.1-3], [MQTT-2.2.1-4]; 3.1.1: [MQTT-2.3.1-1]
    for version in ALL {
        let properties = if version == Version::V5 { &b"\x00"[..] } else { b"" };
        for (first, rest) in [
            (0x82, [properties, b"\x00\x01t\x00"].concat()),
            (0xA2, [properties, b"\x00\x01t"].concat()),
            (0x90, [properties, b"\x00"].concat()),
            (0xB0, if version == Version::V5 { b"\x00\x00".to_vec() } else { Vec::new() }),
            (0x40, Vec::new()),
            (0x50, Vec::new()),
            (0x62, Vec::new()),
            (0x70, Vec::new()),
        ] {
            accept(version, &packet(first, [b"\x00\x01", &rest[..]].concat()));
            protocol_error(version, &packet(first, [b"\x00\x00", &rest[..]].concat()), Fault::PacketIdZero);
        }
        for first in [0x32, 0x34] {
            accept(version, &packet(first, [b"\x00\x01t\x00\x01", properties].concat()));
            let zero = packet(first, [b"\x00\x01t\x00\x00", properties].concat());
            protocol_error(version, &zero, Fault::PacketIdZero);
        }
    }
}

#[test]
fn packet_identifiers_wrap_to_one() {
    assert_eq!(PacketId::new(0), None);
    assert_eq!(PacketId::MIN.next().value(), 2);
    assert_eq!(PacketId::MAX.next(), PacketId::MIN);
}

#[test]
fn packet_identifiers_are_found_without_decoding() {
    // Table 2-3
    let id = PacketId::new(0x1234);
    for (bytes, offset) in [
        (&b"\x30\x07\x00\x01t\x12\x34ab"[..], None),
        (b"\x32\x07\x00\x01t\x12\x34ab", Some(5)),
        (b"\x34\x84\x00\x00\x00\x12\x34", Some(5)),
        (b"\x40\x02\x12\x34", Some(2)),
        (b"\x50\x02\x12\x34", Some(2)),
        (b"\x62\x02\x12\x34", Some(2)),
        (b"\x70\x02\x12\x34", Some(2)),
        (b"\x82\x02\x12\x34", Some(2)),
        (b"\x90\x02\x12\x34", Some(2)),
        (b"\xA2\x02\x12\x34", Some(2)),
        (b"\xB0\x02\x12\x34", Some(2)),
        (b"\xC0\x00\x12\x34", None),
        (b"\xE0\x02\x12\x34", None),
        // Bytes of the next packet are not this one's.
        (b"\x40\x01\x12\x34", None),
        (b"\x32\x03\x00\x01t\x12\x34", None),
        (b"\x32\x7F\x00\x70t\x12\x34", None),
        (b"\x32\x7F\x00", None),
    ] {
        let header = peek(bytes).unwrap();
        assert_eq!(header.packet_id_offset(bytes), offset, "{bytes:02x?}");
        assert_eq!(header.packet_id(bytes), id.filter(|_| offset.is_some()), "{bytes:02x?}");
    }
}

#[test]
fn the_header_shows_the_flags_of_publish() {
    let header = peek(b"\x3D\x00").unwrap();
    assert_eq!((header.dup(), header.qos(), header.retain()), (true, Some(QoS::ExactlyOnce), true));
    let header = peek(b"\x62\x02").unwrap();
    assert_eq!((header.dup(), header.qos(), header.retain()), (false, None, false));
}

#[test]
fn no_first_bytes_make_decode_panic() {
    for first in 0..=u8::MAX {
        for second in 0..=u8::MAX {
            for version in ALL {
                let _ = decode(version, &[first, second]);
                let _ = decode(version, &[first, 2, second, second]);
                let _ = decode(version, &[first, 5, 0, 1, 1, second, 0]);
            }
        }
    }
}
