//! The bytes that wait in a connection.

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
        self.0.as_ref().map_or(0, |buffers| buffers.plain.len() + buffers.wire.len() - buffers.written)
    }

    /// The bytes to be written to the socket next.
    #[inline]
    pub fn to_write(&self) -> &[u8] {
        self.0.as_ref().map_or(&[], |buffers| &buffers.wire[buffers.written..])
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
    fn own_nothing(&self) -> bool {
        self.unread.capacity() == 0 && self.plain.capacity() == 0 && self.wire.capacity() == 0
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
