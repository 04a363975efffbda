//! Frames written and read the slow, obvious way, independently of the code under test.
#![allow(dead_code)] // Each test program uses its own part of this.
#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

use mqway_transport::websocket::{Connection, End, Limits, Role, Streamed, TextPolicy};

pub const CONTINUATION: u8 = 0x0;
pub const TEXT: u8 = 0x1;
pub const BINARY: u8 = 0x2;
pub const CLOSE: u8 = 0x8;
pub const PING: u8 = 0x9;
pub const PONG: u8 = 0xa;
pub const FIN: u8 = 0x80;

pub const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

pub const BOTH_ROLES: [Role; 2] = [Role::Server, Role::Client];

/// Limits of an echo server.
pub const ECHO: Limits = Limits { max_message: 1 << 30, text: TextPolicy::Accept };

/// A frame whose first byte is `first`, masked with `key` if there is one.
pub fn frame(first: u8, payload: &[u8], key: Option<[u8; 4]>) -> Vec<u8> {
    let mut bytes = vec![first];
    let masked = if key.is_some() { 0x80 } else { 0 };
    match payload.len() {
        len @ 0..=125 => bytes.push(masked | len as u8),
        len @ 126..=65535 => {
            bytes.push(masked | 126);
            bytes.extend_from_slice(&(len as u16).to_be_bytes());
        }
        len => {
            bytes.push(masked | 127);
            bytes.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    match key {
        Some(key) => {
            bytes.extend_from_slice(&key);
            bytes.extend(payload.iter().enumerate().map(|(index, byte)| byte ^ key[index % 4]));
        }
        None => bytes.extend_from_slice(payload),
    }
    bytes
}

/// The frame as the peer of `role` sends it.
pub fn to(role: Role, first: u8, payload: &[u8]) -> Vec<u8> {
    frame(first, payload, (role == Role::Server).then_some(KEY))
}

/// All frames in `bytes` as first byte and unmasked payload. Panics unless they are whole and masked as `sender` must.
pub fn parse(mut bytes: &[u8], sender: Role) -> Vec<(u8, Vec<u8>)> {
    let mut frames = Vec::new();
    while !bytes.is_empty() {
        let (first, second) = (bytes[0], bytes[1]);
        assert_eq!(second & 0x80 != 0, sender == Role::Client, "only clients mask");
        bytes = &bytes[2..];
        let len = match second & 0x7f {
            126 => {
                let (len, rest) = bytes.split_at(2);
                bytes = rest;
                usize::from(u16::from_be_bytes(len.try_into().unwrap()))
            }
            127 => {
                let (len, rest) = bytes.split_at(8);
                bytes = rest;
                u64::from_be_bytes(len.try_into().unwrap()) as usize
            }
            len => usize::from(len),
        };
        let mut key = [0; 4];
        if sender == Role::Client {
            key.copy_from_slice(&bytes[..4]);
            bytes = &bytes[4..];
        }
        let (payload, rest) = bytes.split_at(len);
        frames.push((first, payload.iter().enumerate().map(|(index, byte)| byte ^ key[index % 4]).collect()));
        bytes = rest;
    }
    frames
}

/// The payload of a close frame.
pub fn close_payload(code: u16, reason: &[u8]) -> Vec<u8> {
    [&code.to_be_bytes(), reason].concat()
}

/// The code of the one close frame that `bytes` end with.
pub fn close_code(bytes: &[u8], sender: Role) -> Option<u16> {
    let frames = parse(bytes, sender);
    assert_eq!(frames.iter().filter(|(first, _)| first & 0xf == CLOSE).count(), 1, "one close frame");
    let (first, payload) = frames.last().expect("a frame");
    assert_eq!(*first, FIN | CLOSE, "nothing after the close frame");
    payload.first_chunk().map(|code| u16::from_be_bytes(*code))
}

/// Reads `bytes` as a stream, in pieces of at most `piece` bytes: payload bytes, output, and how it ended.
pub fn stream(connection: &mut Connection, bytes: &[u8], piece: usize) -> (Vec<u8>, Vec<u8>, Option<End>) {
    let (mut data, mut out) = (Vec::new(), Vec::new());
    let mut ended = None;
    for piece in bytes.chunks(piece) {
        let mut buffer = piece.to_vec();
        let Streamed { data: range, end } = connection.read_stream(&mut buffer, &mut out);
        data.extend_from_slice(&buffer[range]);
        if let Some(end) = end {
            assert!(ended.is_none(), "a stream ends once");
            ended = Some(end);
        }
    }
    (data, out, ended)
}
