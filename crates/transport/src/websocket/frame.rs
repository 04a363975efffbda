//! Frame headers on the wire (RFC 6455 §5.2).

use super::mask::Mask;
use super::{MessageKind, Role, Violation};

/// The longest frame header: two bytes, a length of eight, a key of four.
pub(super) const MAX_HEADER: usize = 14;
/// The longest payload of any frame (RFC 6455 §5.2).
pub(super) const MAX_LENGTH: u64 = u64::MAX >> 1;
/// The longest payload of a control frame (RFC 6455 §5.5).
pub(super) const MAX_CONTROL_PAYLOAD: usize = 125;

pub(super) const FIN: u8 = 0x80;
pub(super) const RESERVED_BITS: u8 = 0x70;
pub(super) const MASKED: u8 = 0x80;
/// Values of the seven length bits that say where the length really is.
const LENGTH_16: u8 = 126;
const LENGTH_64: u8 = 127;

/// What a frame is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opcode {
    /// More of the message in progress.
    Continuation,
    /// The first frame of a message.
    Message(MessageKind),
    Close,
    Ping,
    Pong,
}

impl Opcode {
    fn decode(bits: u8) -> Result<Opcode, Violation> {
        match bits {
            0x0 => Ok(Opcode::Continuation),
            0x1 => Ok(Opcode::Message(MessageKind::Text)),
            0x2 => Ok(Opcode::Message(MessageKind::Binary)),
            0x8 => Ok(Opcode::Close),
            0x9 => Ok(Opcode::Ping),
            0xa => Ok(Opcode::Pong),
            _ => Err(Violation::ReservedOpcode(bits)),
        }
    }

    const fn bits(self) -> u8 {
        match self {
            Opcode::Continuation => 0x0,
            Opcode::Message(MessageKind::Text) => 0x1,
            Opcode::Message(MessageKind::Binary) => 0x2,
            Opcode::Close => 0x8,
            Opcode::Ping => 0x9,
            Opcode::Pong => 0xa,
        }
    }

    pub(super) fn is_control(self) -> bool {
        matches!(self, Opcode::Close | Opcode::Ping | Opcode::Pong)
    }
}

/// A frame header as received; the rules that need no memory of other frames have been checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) fin: bool,
    pub(super) opcode: Opcode,
    /// The length of the payload: at most 2^63 - 1, at most 125 in a control frame.
    pub(super) len: u64,
    /// All zeroes in a server's frame.
    pub(super) mask: Mask,
    /// The length of the header itself.
    pub(super) size: usize,
}

/// Reads the header at the start of `bytes`, sent by the peer of `role`. `None`: it is not all there, and what is
/// there breaks no rule: a wrong byte is told at once, not after the bytes that should follow it.
pub(super) fn decode(bytes: &[u8], role: Role) -> Result<Option<Header>, Violation> {
    let Some(&first) = bytes.first() else { return Ok(None) };
    if first & RESERVED_BITS != 0 {
        return Err(Violation::ReservedBit);
    }
    let opcode = Opcode::decode(first & 0x0f)?;
    let fin = first & FIN != 0;
    if opcode.is_control() && !fin {
        return Err(Violation::ControlFragmented);
    }
    let Some(&second) = bytes.get(1) else { return Ok(None) };
    match (role, second & MASKED != 0) {
        (Role::Server, false) => return Err(Violation::Unmasked),
        (Role::Client, true) => return Err(Violation::Masked),
        (Role::Server, true) | (Role::Client, false) => {}
    }
    let bits = second & !MASKED;
    if opcode.is_control() && usize::from(bits) > MAX_CONTROL_PAYLOAD {
        return Err(Violation::ControlTooLong);
    }
    let Some((len, after_len)) = decode_length(bits, &bytes[2..])? else { return Ok(None) };
    let (mask, rest) = match role {
        Role::Client => (Mask::default(), after_len),
        Role::Server => match after_len.split_first_chunk::<4>() {
            Some((key, rest)) => (Mask::new(*key), rest),
            None => return Ok(None),
        },
    };
    Ok(Some(Header { fin, opcode, len, mask, size: bytes.len() - rest.len() }))
}

/// The payload's length and the bytes behind it.
fn decode_length(bits: u8, bytes: &[u8]) -> Result<Option<(u64, &[u8])>, Violation> {
    match bits {
        LENGTH_16 => {
            let Some((len, rest)) = bytes.split_first_chunk::<2>() else { return Ok(None) };
            let len = u16::from_be_bytes(*len);
            // RFC 6455 §5.2: the minimal number of bytes MUST be used.
            if len < u16::from(LENGTH_16) {
                return Err(Violation::LengthNotMinimal);
            }
            Ok(Some((u64::from(len), rest)))
        }
        LENGTH_64 => {
            // RFC 6455 §5.2: the most significant bit MUST be 0.
            if bytes.first().is_some_and(|first| first & 0x80 != 0) {
                return Err(Violation::LengthOutOfRange);
            }
            let Some((len, rest)) = bytes.split_first_chunk::<8>() else { return Ok(None) };
            let len = u64::from_be_bytes(*len);
            if len <= u64::from(u16::MAX) {
                return Err(Violation::LengthNotMinimal);
            }
            Ok(Some((len, rest)))
        }
        short => Ok(Some((u64::from(short), bytes))),
    }
}

/// Appends the header of an unfragmented frame. `mask` is present on the client side.
#[inline]
pub(super) fn encode(opcode: Opcode, len: u64, mask: Option<Mask>, out: &mut Vec<u8>) {
    let first = FIN | opcode.bits();
    let masked = if mask.is_some() { MASKED } else { 0 };
    if len < u64::from(LENGTH_16) {
        out.extend_from_slice(&[first, masked | len as u8]);
    } else if let Ok(len) = u16::try_from(len) {
        out.extend_from_slice(&[first, masked | LENGTH_16]);
        out.extend_from_slice(&len.to_be_bytes());
    } else {
        out.extend_from_slice(&[first, masked | LENGTH_64]);
        out.extend_from_slice(&len.to_be_bytes());
    }
    if let Some(mask) = mask {
        out.extend_from_slice(&mask.key());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(bytes: &[u8], role: Role) -> Result<Option<Header>, Violation> {
        for end in 0..bytes.len() {
            assert_eq!(decode(&bytes[..end], role).map(|_| ()), Ok(()), "no verdict before the last byte");
        }
        decode(bytes, role)
    }

    #[test]
    fn examples_of_the_specification() {
        // RFC 6455 §5.7
        let text = header(&[0x81, 0x05], Role::Client).unwrap().unwrap();
        assert_eq!((text.fin, text.opcode, text.len), (true, Opcode::Message(MessageKind::Text), 5));
        let masked = header(&[0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d], Role::Server).unwrap().unwrap();
        assert_eq!((masked.mask, masked.size), (Mask::new([0x37, 0xfa, 0x21, 0x3d]), 6));
        let first = header(&[0x01, 0x03], Role::Client).unwrap().unwrap();
        assert!(!first.fin);
        let medium = header(&[0x82, 0x7e, 0x01, 0x00], Role::Client).unwrap().unwrap();
        assert_eq!((medium.len, medium.size), (256, 4));
        let long = header(&[0x82, 0x7f, 0, 0, 0, 0, 0, 1, 0, 0], Role::Client).unwrap().unwrap();
        assert_eq!((long.len, long.size), (65536, 10));
    }

    #[test]
    fn what_is_encoded_is_decoded() {
        for len in [0, 1, 125, 126, 127, 255, 256, 65535, 65536, 1 << 40, (1 << 63) - 1] {
            for (mask, reader) in [(None, Role::Client), (Some(Mask::new([9, 8, 7, 6])), Role::Server)] {
                let mut out = Vec::new();
                encode(Opcode::Message(MessageKind::Binary), len, mask, &mut out);
                let header = header(&out, reader).unwrap().unwrap();
                assert_eq!((header.fin, header.len, header.size), (true, len, out.len()));
                assert_eq!(header.mask, mask.unwrap_or_default());
            }
        }
    }

    #[test]
    fn reserved_bits_and_opcodes_are_refused() {
        // RFC 6455 §5.2
        for first in [0xc2, 0xa2, 0x92, 0xf2] {
            assert_eq!(header(&[first], Role::Server), Err(Violation::ReservedBit));
        }
        for opcode in [3, 4, 5, 6, 7, 0xb, 0xc, 0xd, 0xe, 0xf] {
            assert_eq!(header(&[0x80 | opcode], Role::Server), Err(Violation::ReservedOpcode(opcode)));
        }
    }

    #[test]
    fn masking_depends_on_the_role() {
        // RFC 6455 §5.1
        assert_eq!(header(&[0x82, 0x01], Role::Server), Err(Violation::Unmasked));
        assert_eq!(header(&[0x82, 0x81], Role::Client), Err(Violation::Masked));
    }

    #[test]
    fn lengths_are_minimal_and_of_63_bits() {
        // RFC 6455 §5.2
        assert_eq!(header(&[0x82, 126, 0, 125], Role::Client), Err(Violation::LengthNotMinimal));
        assert_eq!(
            header(&[0x82, 127, 0, 0, 0, 0, 0, 0, 0xff, 0xff], Role::Client),
            Err(Violation::LengthNotMinimal)
        );
        assert_eq!(header(&[0x82, 127, 0x80], Role::Client), Err(Violation::LengthOutOfRange));
    }

    #[test]
    fn control_frames_are_whole_and_short() {
        // RFC 6455 §5.5
        for opcode in [8, 9, 10] {
            assert_eq!(header(&[opcode], Role::Client), Err(Violation::ControlFragmented));
            assert_eq!(header(&[FIN | opcode, 126], Role::Client), Err(Violation::ControlTooLong));
            assert!(header(&[FIN | opcode, 125], Role::Client).unwrap().is_some());
        }
    }
}
