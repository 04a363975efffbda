//! What every packet's encoding is made of.

use alloc::vec::Vec;

use crate::error::{EncodeError, Field};
use crate::{Version, varint};

/// The longest string or binary: its length is written in two bytes.
pub(crate) const MAX_STRING: usize = 65_535;

/// A packet that can be written. [`Body::check`] comes first and bounds every length that the others meet.
pub(crate) trait Body {
    /// Refuses what would not be a packet of `version`.
    fn check(&self, version: Version) -> Result<(), EncodeError>;
    /// Packet type and flags.
    fn first_byte(&self, version: Version) -> u8;
    /// Exactly the bytes that [`Body::write`] appends.
    fn len(&self, version: Version) -> usize;
    /// Appends all that follows the fixed header.
    fn write(&self, version: Version, out: &mut Vec<u8>);
}

/// Appends one whole packet to `out`, or nothing if it fails.
#[inline]
pub(crate) fn encode(body: &impl Body, version: Version, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    let len = encode_header(body, version, out)?;
    let start = out.len();
    out.reserve(len);
    body.write(version, out);
    debug_assert_eq!(out.len() - start, len);
    Ok(())
}

/// Checks the packet and appends its fixed header. Returns how many bytes are to follow.
#[inline]
pub(crate) fn encode_header(
    body: &impl Body,
    version: Version,
    out: &mut Vec<u8>,
) -> Result<usize, EncodeError> {
    body.check(version)?;
    let len = body.len(version);
    let remaining = u32::try_from(len).ok().filter(|&len| len <= varint::MAX);
    let remaining = remaining.ok_or(EncodeError::PacketTooLarge)?;
    out.push(body.first_byte(version));
    varint::write(remaining, out);
    Ok(len)
}

/// The length of the packet that [`encode`] appends.
pub(crate) fn encoded_len(body: &impl Body, version: Version) -> usize {
    let len = body.len(version);
    1 + u32::try_from(len).map_or(4, varint::len) + len
}

/// Refuses text that is no UTF-8 string of MQTT.
pub(crate) fn check_string(text: &str, field: Field) -> Result<(), EncodeError> {
    check_binary(text.as_bytes(), field)?;
    if text.as_bytes().contains(&0) {
        return Err(EncodeError::NulCharacter(field)); // [MQTT-1.5.4-2]
    }
    Ok(())
}

pub(crate) const fn check_binary(bytes: &[u8], field: Field) -> Result<(), EncodeError> {
    if bytes.len() > MAX_STRING { Err(EncodeError::TooLong(field)) } else { Ok(()) }
}

#[inline]
pub(crate) fn put_u16(value: u16, out: &mut Vec<u8>) {
    out.extend_from_slice(&value.to_be_bytes());
}

#[inline]
pub(crate) fn put_u32(value: u32, out: &mut Vec<u8>) {
    out.extend_from_slice(&value.to_be_bytes());
}

/// Appends `bytes`, at most [`MAX_STRING`], after their length.
#[inline]
pub(crate) fn put_binary(bytes: &[u8], out: &mut Vec<u8>) {
    debug_assert!(bytes.len() <= MAX_STRING);
    put_u16(bytes.len() as u16, out);
    out.extend_from_slice(bytes);
}
