//! The variable byte integer (5.0 §1.5.5; "remaining length" in 3.x §2.2.3).

use alloc::vec::Vec;

/// The largest value that four bytes of seven bits hold.
pub(crate) const MAX: u32 = 268_435_455;

/// More than four bytes.
#[derive(Debug)]
pub(crate) struct TooLong;

/// A value as read, with the number of bytes it took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Varint {
    pub value: u32,
    pub len: u8,
}

impl Varint {
    /// Whether fewer bytes would have held the value, which 5.0 forbids. [MQTT-1.5.5-1]
    pub(crate) const fn is_overlong(self) -> bool {
        self.len as usize != len(self.value)
    }
}

/// Reads from the start of `bytes`; `None` if it isn't complete yet.
#[inline]
pub(crate) fn read(bytes: &[u8]) -> Result<Option<Varint>, TooLong> {
    let mut value = 0;
    let mut len = 0;
    for &byte in bytes.iter().take(4) {
        value |= u32::from(byte & 0x7F) << (7 * u32::from(len));
        len += 1;
        if byte & 0x80 == 0 {
            return Ok(Some(Varint { value, len }));
        }
    }
    if len == 4 { Err(TooLong) } else { Ok(None) }
}

/// The bytes that `value` takes, at most [`MAX`].
#[inline]
pub(crate) const fn len(value: u32) -> usize {
    match value {
        0..=0x7F => 1,
        0x80..=0x3FFF => 2,
        0x4000..=0x001F_FFFF => 3,
        _ => 4,
    }
}

/// Appends `value`, at most [`MAX`], in as few bytes as hold it. [MQTT-1.5.5-1]
#[inline]
pub(crate) fn write(mut value: u32, out: &mut Vec<u8>) {
    debug_assert!(value <= MAX);
    while value >= 0x80 {
        out.push((value & 0x7F) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
