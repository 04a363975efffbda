//! Masking of payloads (RFC 6455 §5.3).
//!
//! A key is applied sixteen bytes at a time. Masking and unmasking are the same operation.

use std::cell::RefCell;
use std::hash::{BuildHasher, RandomState};
use std::ops::Range;

/// A masking key, turned so that its first byte meets the next byte of the payload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Mask([u8; 4]);

/// The bytes worked on at once.
const BLOCK: usize = 16;

impl Mask {
    pub(super) const fn new(key: [u8; 4]) -> Mask {
        Mask(key)
    }

    /// A fresh key that the peer and those who choose the payload cannot predict (RFC 6455 §10.3).
    pub(super) fn random() -> Mask {
        KEYS.with_borrow_mut(KeyPool::next)
    }

    pub(super) fn key(self) -> [u8; 4] {
        self.0
    }

    /// Masks `bytes` in place and turns the key for the bytes that follow them.
    pub(super) fn apply(&mut self, bytes: &mut [u8]) {
        let block = self.block();
        let (blocks, rest) = bytes.as_chunks_mut::<BLOCK>();
        for bytes in blocks {
            *bytes = (u128::from_ne_bytes(*bytes) ^ block).to_ne_bytes();
        }
        for (byte, key) in rest.iter_mut().zip(block.to_ne_bytes()) {
            *byte ^= key;
        }
        self.turn(bytes.len());
    }

    /// Appends `bytes`, masked, to `out` and turns the key for the bytes that follow them.
    pub(super) fn append(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(bytes);
        self.apply(&mut out[start..]);
    }

    /// Moves the bytes at `from` down to `to` and masks them on the way. `to` is at most `from.start`.
    #[inline]
    pub(super) fn apply_moving(self, buffer: &mut [u8], from: Range<usize>, to: usize) {
        let block = self.block();
        let shift = from.start - to;
        let len = from.len();
        let region = &mut buffer[to..from.end];
        // The last block may overlap the one before, which spares a loop over single bytes. It is read before
        // anything is written.
        let Some(last) = region[shift..].last_chunk::<BLOCK>().copied() else {
            return self.apply_moving_short(region, shift);
        };
        let mut at = 0;
        // Each block is read before it is written and written below the next one: an overlap does no harm.
        while let Some(source) = region.get(at + shift..).and_then(<[u8]>::first_chunk::<BLOCK>) {
            let masked = u128::from_ne_bytes(*source) ^ block;
            region[at..at + BLOCK].copy_from_slice(&masked.to_ne_bytes());
            at += BLOCK;
        }
        let mut turned = self;
        turned.turn(len);
        let masked = u128::from_ne_bytes(last) ^ turned.block();
        region[len - BLOCK..len].copy_from_slice(&masked.to_ne_bytes());
    }

    /// The same for less than a block: all of `region` from `shift` on.
    fn apply_moving_short(self, region: &mut [u8], shift: usize) {
        let len = region.len() - shift;
        for (index, key) in (0..len).zip(self.block().to_ne_bytes()) {
            region[index] = region[index + shift] ^ key;
        }
    }

    fn block(self) -> u128 {
        let key = u32::from_ne_bytes(self.0) as u128;
        let two = key | key << 32;
        two | two << 64
    }

    fn turn(&mut self, by: usize) {
        self.0.rotate_left(by % 4);
    }
}

thread_local! {
    static KEYS: RefCell<KeyPool> = const { RefCell::new(KeyPool { keys: [[0; 4]; POOL_KEYS], left: 0 }) };
}

/// How many keys are asked for at once: one system call for so many frames.
const POOL_KEYS: usize = 256;

/// Random keys of which the first `left` are unused.
struct KeyPool {
    keys: [[u8; 4]; POOL_KEYS],
    left: usize,
}

impl KeyPool {
    fn next(&mut self) -> Mask {
        if self.left == 0 {
            self.refill();
            self.left = POOL_KEYS;
        }
        self.left -= 1;
        Mask(self.keys[self.left])
    }

    fn refill(&mut self) {
        if getrandom::fill(self.keys.as_flattened_mut()).is_err() {
            // A connection exists, so the handshake's nonce could be had from the system; should it fail now, a
            // keyed hash, whose key was random when the thread began, is the best there is.
            let hasher = RandomState::new();
            for (count, key) in self.keys.iter_mut().enumerate() {
                *key = (hasher.hash_one((count, *key)) as u32).to_ne_bytes();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn naive(bytes: &[u8], key: [u8; 4]) -> Vec<u8> {
        bytes.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key).collect()
    }

    #[test]
    fn pieces_of_every_length_are_masked_as_one() {
        // RFC 6455 §5.3
        let key = [0x37, 0xfa, 0x21, 0x3d];
        let payload: Vec<u8> = (0..=255).collect();
        for cut in 0..payload.len() {
            let mut mask = Mask::new(key);
            let mut masked = payload.clone();
            let (first, second) = masked.split_at_mut(cut);
            mask.apply(first);
            mask.apply(second);
            assert_eq!(masked, naive(&payload, key));
        }
    }

    #[test]
    fn moving_down_by_any_distance_keeps_the_bytes() {
        let key = [1, 2, 3, 4];
        for shift in 0..40 {
            for len in 0..70 {
                let mut buffer: Vec<u8> = (0..(shift + len) as u8).collect();
                let expected = naive(&buffer[shift..], key);
                Mask::new(key).apply_moving(&mut buffer, shift..shift + len, 0);
                assert_eq!(&buffer[..len], expected, "{shift} {len}");
            }
        }
    }

    #[test]
    fn keys_differ() {
        // RFC 6455 §5.3: a fresh key for each frame.
        let keys: std::collections::HashSet<[u8; 4]> = (0..1000).map(|_| Mask::random().key()).collect();
        assert!(keys.len() > 990);
    }
}
