//! The bytes that wait in a connection.

use std::io::IoSlice;

use crate::blob::{Segment, Segments};
use crate::buffers::{Pool, is_far_larger};

/// The bytes that wait in a connection, in either direction. An idle one has none, and then this takes 8 bytes.
#[derive(Default)]
pub(crate) struct Waiting(Option<Box<Buffers>>);

/// One connection's buffers.
#[derive(Default)]
pub(crate) struct Buffers {
    /// Application bytes that the core has not used yet.
    pub unread: Vec<u8>,
    /// What is to be sent, before encryption.
    pub plain: Vec<u8>,
    /// What is being written to the socket, from `written` on.
    pub wire: Vec<u8>,
    pub written: usize,
    /// What is not copied into them, while there is any.
    pub apart: Option<Box<Apart>>,
}

/// The blobs between the bytes of [`Buffers::plain`] and of [`Buffers::wire`].
#[derive(Default)]
pub(crate) struct Apart {
    pub plain: Segments,
    pub wire: Segments,
}

impl Waiting {
    /// The buffers, made where there are none. Whoever may have left them all empty calls [`Waiting::trim`].
    #[inline]
    pub fn buffers(&mut self) -> &mut Buffers {
        self.0.get_or_insert_default()
    }

    /// The buffers, if there are any.
    #[inline]
    pub fn present(&mut self) -> Option<&mut Buffers> {
        self.0.as_deref_mut()
    }

    /// How many bytes wait to be written.
    #[inline]
    pub fn queued(&self) -> usize {
        self.0.as_ref().map_or(0, |buffers| buffers.own_queued() + buffers.shared())
    }

    /// How many bytes of memory are taken for what waits here, in either direction, and nowhere else.
    #[inline]
    pub fn held(&self) -> usize {
        self.0.as_ref().map_or(0, |buffers| {
            buffers.plain.capacity() + buffers.wire.capacity() + buffers.unread.capacity()
        })
    }

    /// What waits for a slow peer may do so for long: it is not to lie in buffers that are far larger.
    #[inline]
    pub fn compact(&mut self, pool: &mut Pool) {
        let Some(Buffers { plain, wire, written, apart, .. }) = self.0.as_deref_mut() else { return };
        if is_far_larger(wire, wire.len() - *written) {
            wire.drain(..*written);
            if let Some(apart) = apart {
                apart.wire.shift(*written);
            }
            *written = 0;
            pool.shrink(wire);
        }
        pool.shrink(plain);
    }

    /// The bytes to be written to the socket next, but for what stands apart: see [`Waiting::slices`].
    #[inline]
    pub fn to_write(&self) -> &[u8] {
        self.0.as_ref().map_or(&[], |buffers| &buffers.wire[buffers.written..])
    }

    /// What is to be written to the socket next, if some of it stands apart.
    #[inline]
    pub fn slices(&self) -> Option<Vec<IoSlice<'_>>> {
        let buffers = self.0.as_ref()?;
        let apart = buffers.apart.as_ref().filter(|apart| !apart.wire.is_empty())?;
        Some(apart.wire.slices(&buffers.wire, buffers.written))
    }

    /// So many bytes more are written to the socket.
    #[inline]
    pub fn wrote(&mut self, bytes: usize) {
        let Some(Buffers { written, apart, .. }) = self.0.as_deref_mut() else { return };
        *written = match apart {
            Some(apart) => apart.wire.advance(*written, bytes),
            None => *written + bytes,
        };
    }

    /// Whether what was to be written is: more has to be made of what was gathered.
    #[inline]
    pub fn is_written(&self) -> bool {
        self.0.as_ref().is_none_or(|buffers| {
            let apart = buffers.apart.as_ref();
            buffers.written == buffers.wire.len() && apart.is_none_or(|apart| apart.wire.is_empty())
        })
    }

    /// How many bytes the core has not used yet.
    #[inline]
    pub fn unread(&self) -> usize {
        self.0.as_ref().map_or(0, |buffers| buffers.unread.len())
    }

    /// Takes out the bytes that the core has not used yet.
    #[inline]
    pub fn take_unread(&mut self) -> Vec<u8> {
        let Some(buffers) = &mut self.0 else { return Vec::new() };
        let unread = std::mem::take(&mut buffers.unread);
        self.trim();
        unread
    }

    /// Lets go of the buffers if none of them owns memory.
    #[inline]
    pub fn trim(&mut self) {
        if self.0.as_ref().is_some_and(|buffers| buffers.own_nothing()) {
            self.0 = None;
        }
    }

    /// Takes out all buffers.
    pub fn take(&mut self) -> Buffers {
        self.0.take().map_or_else(Buffers::default, |buffers| *buffers)
    }
}

impl Buffers {
    /// Adds a blob behind what was gathered.
    pub fn push(&mut self, segment: Segment) {
        self.apart.get_or_insert_default().plain.push(self.plain.len(), segment);
    }

    /// What was gathered is to be written; whatever was, is.
    pub fn turn(&mut self) {
        std::mem::swap(&mut self.plain, &mut self.wire);
        if let Some(apart) = &mut self.apart {
            std::mem::swap(&mut apart.plain, &mut apart.wire);
        }
        self.drop_apart();
    }

    /// Takes out the first bytes that were gathered, blobs among them: `most` at the most.
    pub fn take_gathered(&mut self, most: usize) -> Vec<u8> {
        let mut taken = Vec::new();
        let Buffers { plain, apart: Some(apart), .. } = self else { return std::mem::take(&mut self.plain) };
        loop {
            let before = taken.len();
            for slice in apart.plain.slices(plain, 0) {
                let some = slice.len().min(most - taken.len());
                taken.extend_from_slice(&slice[..some]);
            }
            if taken.len() == before {
                break;
            }
            let done = apart.plain.advance(0, taken.len() - before);
            plain.drain(..done);
            apart.plain.shift(done);
        }
        self.drop_apart();
        taken
    }

    fn drop_apart(&mut self) {
        if self.apart.as_ref().is_some_and(|apart| apart.plain.is_empty() && apart.wire.is_empty()) {
            self.apart = None;
        }
    }

    fn own_queued(&self) -> usize {
        self.plain.len() + self.wire.len() - self.written
    }

    fn shared(&self) -> usize {
        self.apart.as_ref().map_or(0, |apart| apart.plain.left() + apart.wire.left())
    }

    fn own_nothing(&self) -> bool {
        let buffers = [&self.unread, &self.plain, &self.wire];
        self.apart.is_none() && buffers.iter().all(|buffer| buffer.capacity() == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_held_for_bytes_that_are_gone() {
        let mut waiting = Waiting::default();
        assert_eq!((waiting.queued(), waiting.unread(), waiting.to_write()), (0, 0, &[][..]));
        assert!(waiting.take_unread().is_empty() && waiting.present().is_none());
        waiting.buffers().unread.extend_from_slice(b"unread");
        waiting.buffers().wire.extend_from_slice(b"written");
        waiting.buffers().written = 3;
        assert_eq!((waiting.queued(), waiting.unread(), waiting.to_write()), (4, 6, &b"tten"[..]));
        assert_eq!(waiting.take_unread(), b"unread");
        waiting.trim();
        assert!(waiting.present().is_some());
        waiting.buffers().wire = Vec::new();
        waiting.trim();
        assert!(waiting.present().is_none());
    }
}
