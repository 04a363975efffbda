//! Packets to be written, one by one: over WebSocket each is a message of its own.

use alloc::vec::Vec;

/// Whole packets, in order.
#[derive(Clone, Debug, Default)]
pub struct Output {
    bytes: Vec<u8>,
    /// Where each packet ends.
    ends: Vec<usize>,
}

impl Output {
    /// All of them, one behind the other.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Each of them.
    pub fn packets(&self) -> impl Iterator<Item = &[u8]> {
        let starts = core::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).filter_map(|(start, end)| self.bytes.get(start..*end))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// They have been taken over. Keeps the memory for the next ones.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }

    pub(super) fn push(&mut self, packet: &[u8]) {
        self.bytes.extend_from_slice(packet);
        self.ends.push(self.bytes.len());
    }

    /// Adds what `encode` appends, or nothing if it fails.
    pub(super) fn encode<E>(&mut self, encode: impl FnOnce(&mut Vec<u8>) -> Result<(), E>) -> Result<(), E> {
        encode(&mut self.bytes)?;
        self.ends.push(self.bytes.len());
        Ok(())
    }

    /// The length of the last packet.
    pub(super) fn last_len(&self) -> usize {
        let before = self.ends.len().checked_sub(2).and_then(|index| self.ends.get(index)).copied();
        self.bytes.len() - before.unwrap_or(0)
    }

    /// Takes the last packet back.
    pub(super) fn pop(&mut self) {
        self.ends.pop();
        self.bytes.truncate(self.ends.last().copied().unwrap_or(0));
    }
}
