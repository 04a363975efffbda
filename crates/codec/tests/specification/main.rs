//! What the codec accepts and refuses, by section of the specifications: 5.0 unless a test says otherwise.

#![allow(clippy::unwrap_used)] // Clippy knows the tests themselves, not the helpers beside them.

mod acknowledgements;
mod auth;
mod connack;
mod connect;
mod data;
mod disconnect;
mod encoding;
mod header;
mod ping;
mod properties;
mod publish;
mod reason_codes;
mod stream;
mod subscribe;
mod topics;
mod unsubscribe;
mod version_3_1;

use mqway_codec::{DecodeError, Fault, Packet, ReasonCode, Version, decode};

const ALL: [Version; 3] = [Version::V3_1, Version::V3_1_1, Version::V5];
const BEFORE_5: [Version; 2] = [Version::V3_1, Version::V3_1_1];

/// A packet: first byte, remaining length, body.
fn packet(first: u8, body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let mut bytes = vec![first];
    bytes.extend(varint(body.len()));
    bytes.extend(body);
    bytes
}

/// A variable byte integer, written by 5.0 §1.5.5's own algorithm.
fn varint(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let digit = (value % 128) as u8;
        value /= 128;
        if value == 0 {
            bytes.push(digit);
            return bytes;
        }
        bytes.push(digit | 0x80);
    }
}

/// A string or binary with its length in front.
fn field(content: impl AsRef<[u8]>) -> Vec<u8> {
    let content = content.as_ref();
    [&(content.len() as u16).to_be_bytes(), content].concat()
}

/// Decodes what must be accepted, and proves that encoding gives the same bytes back.
#[track_caller]
fn accept(version: Version, bytes: &[u8]) -> Packet<'_> {
    let packet = match decode(version, bytes) {
        Ok(packet) => packet,
        Err(error) => panic!("{version} refuses {bytes:02x?}: {error}"),
    };
    let mut encoded = Vec::new();
    packet.encode(version, &mut encoded).unwrap();
    assert_eq!(encoded, bytes, "encoding {packet:?} gives the same bytes");
    assert_eq!(packet.encoded_len(version), bytes.len());
    packet
}

/// The error of what must be refused.
#[track_caller]
fn error(version: Version, bytes: &[u8]) -> DecodeError {
    match decode(version, bytes) {
        Ok(packet) => panic!("{version} accepts {bytes:02x?} as {packet:?}"),
        Err(error) => error,
    }
}

/// Proves that `bytes` are refused for `fault`, as a Malformed Packet.
#[track_caller]
fn malformed(version: Version, bytes: &[u8], fault: Fault) {
    let error = error(version, bytes);
    assert_eq!((error.fault(), error.reason_code()), (fault, ReasonCode::MalformedPacket), "{error}");
}

/// Proves that `bytes` are refused for `fault`, as a Protocol Error.
#[track_caller]
fn protocol_error(version: Version, bytes: &[u8], fault: Fault) {
    let error = error(version, bytes);
    assert_eq!((error.fault(), error.reason_code()), (fault, ReasonCode::ProtocolError), "{error}");
}
