//! Streams: §3.1.0 the order of packets, §2.1.4 their lengths, and any way to cut them.

use mqway_codec::{Ack, Blame, Decoder, Fault, Field, Packet, PacketType, PropertyId, ReasonCode, Version};

use crate::{ALL, packet};

const CONNECT: &[u8] = b"\x10\x0C\x00\x04MQTT\x04\x02\x00\x3C\x00\x00";

#[test]
fn connect_comes_first() {
    // [MQTT-3.1.0-1]
    for first in (0..=u8::MAX).filter(|first| first >> 4 != 1) {
        let refused = Decoder::new(1024).next(&[first]).unwrap_err();
        match refused.fault() {
            Fault::NotConnect => assert_eq!(refused.reason_code(), ReasonCode::ProtocolError),
            _ => assert_eq!(refused.blame(), Blame::Malformed),
        }
    }
    assert_eq!(Decoder::new(1024).next(b"\x10"), Ok(None));
}

#[test]
fn connect_comes_once() {
    // [MQTT-3.1.0-2]
    let mut decoder = Decoder::new(1024);
    let (packet, consumed) = decoder.next(CONNECT).unwrap().unwrap();
    assert!(matches!(packet, Packet::Connect(_)));
    assert_eq!((consumed, decoder.version()), (CONNECT.len(), Some(Version::V3_1_1)));
    let refused = decoder.next(CONNECT).unwrap_err();
    assert_eq!((refused.fault(), refused.reason_code()), (Fault::SecondConnect, ReasonCode::ProtocolError));
    assert_eq!(decoder.next(b"\x10").unwrap_err().fault(), Fault::SecondConnect, "its first byte is enough");
    let refused = Decoder::with_version(Version::V5, 1024).next(CONNECT).unwrap_err();
    assert_eq!(refused.fault(), Fault::SecondConnect, "and a server never sends one");
}

#[test]
fn a_refused_connect_sets_no_version() {
    let mut decoder = Decoder::new(1024);
    decoder.next(&packet(0x10, b"\x00\x04MQTT\x05\x01\x00\x00\x00\x00\x00")).unwrap_err();
    assert_eq!(decoder.version(), None);
}

#[test]
fn the_limit_is_for_the_whole_packet() {
    // §3.1.2.11.4: Maximum Packet Size counts header and all.
    let bytes = packet(0x30, [&b"\x00\x01t"[..], &[0; 200]].concat());
    for version in ALL.into_iter().take(2) {
        let mut decoder = Decoder::with_version(version, bytes.len());
        assert!(decoder.next(&bytes).unwrap().is_some());
        decoder.set_limit(bytes.len() - 1);
        let fault = Fault::PacketTooLarge { size: bytes.len(), limit: bytes.len() - 1 };
        let refused = decoder.next(&bytes[..3]).unwrap_err();
        assert_eq!((refused.fault(), refused.reason_code()), (fault, ReasonCode::PacketTooLarge));
        assert_eq!(refused.blame(), Blame::TooLarge);
    }
}

#[test]
fn a_claimed_length_is_refused_by_its_header() {
    // Five bytes that claim 256 MiB, before any CONNECT.
    let refused = Decoder::new(64 * 1024).next(b"\x10\xFF\xFF\xFF\x7F").unwrap_err();
    assert_eq!(refused.reason_code(), ReasonCode::PacketTooLarge);
}

#[test]
fn rules_of_the_version_hold_from_the_header_on() {
    let fault = |version, bytes: &[u8]| Decoder::with_version(version, 1024).next(bytes).unwrap_err().fault();
    assert_eq!(fault(Version::V3_1_1, b"\xF0\x7F"), Fault::ReservedPacketType);
    assert_eq!(fault(Version::V5, b"\x8A\x7F"), Fault::ReservedFlags(0b1010));
    assert_eq!(fault(Version::V5, b"\xC0\x01"), Fault::RemainingLength { expected: 0, found: 1 });
}

#[test]
fn the_header_tells_what_to_wait_for() {
    let decoder = Decoder::with_version(Version::V3_1_1, 1024);
    assert_eq!(decoder.header(b"\x30"), Ok(None));
    assert_eq!(decoder.header(b"\x30\x90\x01").unwrap().unwrap().packet_len(), 147);
}

#[test]
fn after_an_error_the_same_error_comes_again() {
    let mut decoder = Decoder::with_version(Version::V5, 1024);
    let bytes = packet(0x30, b"\x00\x01#\x00");
    let refused = decoder.next(&bytes).unwrap_err();
    assert_eq!(decoder.next(&bytes).unwrap_err(), refused);
}

#[test]
fn a_publish_is_judged_before_its_payload_has_come() {
    let decoder = Decoder::with_version(Version::V5, 1 << 20);
    let start = |bytes: &[u8]| {
        let header = decoder.header(bytes).unwrap().unwrap();
        let publish = decoder.publish_start(&header, bytes);
        publish.map(|publish| publish.map(|publish| (publish.topic.len(), publish.payload.len())))
    };
    let bytes = packet(0x32, [&b"\x00\x03a/b\x00\x0A\x02\x01\x01"[..], &[b'x'; 300]].concat());
    for end in 3..13 {
        assert_eq!(start(&bytes[..end]), Ok(None));
    }
    for end in 13..bytes.len() {
        assert_eq!(start(&bytes[..end]), Ok(Some((3, end - 13))));
    }
    // A property that does not end within the properties never will.
    let cut = packet(0x30, [&b"\x00\x03a/b\x02\x02\x00"[..], &[0; 300]].concat());
    let refused = start(&cut[..20]).unwrap_err();
    assert_eq!(refused.fault(), Fault::Truncated(Field::Property(PropertyId::MessageExpiryInterval)));
    assert_eq!(start(b"\x82\x7F\x00\x01"), Ok(None), "only PUBLISH has a payload worth it");
}

#[test]
fn bare_acknowledgements_are_what_the_decoder_makes_of_them() {
    let mut bare = 0;
    for version in ALL {
        for (first, len) in (0..=u8::MAX).flat_map(|first| (0..5).map(move |len| (first, len))) {
            for bytes in
                [&[first, len, 1, 2][..], &[first, len, 0, 0], &[first, len, 0, 7, 0xC0, 0], &[first, len, 1]]
            {
                let mut decoder = Decoder::with_version(version, 1024);
                let Some((packet_type, id)) = decoder.bare_ack(bytes) else { continue };
                let decoded = decoder.next(bytes).unwrap().map(|(packet, len)| match packet {
                    Packet::Puback(ack) => (PacketType::Puback, ack, len),
                    Packet::Pubrec(ack) => (PacketType::Pubrec, ack, len),
                    Packet::Pubrel(ack) => (PacketType::Pubrel, ack, len),
                    Packet::Pubcomp(ack) => (PacketType::Pubcomp, ack, len),
                    other => panic!("{other:?}"),
                });
                assert_eq!(decoded, Some((packet_type, Ack::new(id), Decoder::BARE_ACK)));
                bare += 1;
            }
        }
    }
    assert_eq!(bare, 3 * 4 * 2);
    let puback = [0x40, 2, 0, 1];
    assert_eq!(Decoder::new(1024).bare_ack(&puback), None, "CONNECT comes first");
    assert_eq!(Decoder::with_version(Version::V5, 3).bare_ack(&puback), None, "the limit holds");
}
