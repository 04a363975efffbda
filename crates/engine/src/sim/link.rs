//! One simulated connection: two streams of bytes, each with a window.

use std::collections::VecDeque;
use std::io;

use super::Random;
use crate::ConnId;

/// Bytes that a direction holds before its writer has to wait.
const WINDOW: usize = 64 * 1024;

pub(super) struct Link {
    /// The worker and connection at the near end, while there is one.
    pub conn: Option<(usize, ConnId)>,
    /// Sent by the far end, not yet read by the core's side.
    pub to_core: VecDeque<u8>,
    /// Written by the core's side, not yet arrived.
    to_remote: VecDeque<u8>,
    /// Arrived at the far end, not yet taken.
    arrived: Vec<u8>,
    /// Whether the far end reads.
    pub reads: bool,
    pub remote_ended: bool,
    pub told_ended: bool,
    pub core_ended: bool,
    /// The far end takes no more: what is written to it breaks the connection.
    pub refuses: bool,
    /// Bytes that move at once in each direction at the most.
    pub pace: usize,
}

impl Link {
    pub fn new(conn: (usize, ConnId)) -> Link {
        Link {
            conn: Some(conn),
            to_core: VecDeque::new(),
            to_remote: VecDeque::new(),
            arrived: Vec::new(),
            reads: true,
            remote_ended: false,
            told_ended: false,
            core_ended: false,
            refuses: false,
            pace: usize::MAX,
        }
    }

    /// Takes some of `bytes` from the core's side, like a socket.
    pub fn accept(&mut self, bytes: &[u8], random: &mut Random) -> io::Result<usize> {
        if self.refuses {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        let room = WINDOW.saturating_sub(self.to_remote.len()).min(bytes.len());
        if room == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        // Mostly all that fits; sometimes less, as real sockets do.
        let taken = if random.below(4) == 0 { 1 + random.below(room) } else { room };
        self.to_remote.extend(&bytes[..taken]);
        Ok(taken)
    }

    /// Lets some bytes arrive at the far end.
    pub fn arrive(&mut self, random: &mut Random) {
        if self.reads {
            let some = random.below(self.to_remote.len() + 1).min(self.pace);
            self.arrived.extend(self.to_remote.drain(..some));
        }
    }

    /// Puts some of what the far end sent into `space`.
    pub fn deliver(&mut self, space: &mut [u8], random: &mut Random) -> usize {
        let most = self.to_core.len().min(space.len()).min(self.pace);
        let some = if random.below(2) == 0 { most } else { random.below(most + 1) };
        for (place, byte) in space.iter_mut().zip(self.to_core.drain(..some)) {
            *place = byte;
        }
        some
    }

    /// Takes what has arrived. Once the core's side is gone, that is all there is.
    pub fn take_arrived(&mut self) -> Vec<u8> {
        if self.conn.is_none() && self.reads {
            self.arrived.extend(self.to_remote.drain(..));
        }
        std::mem::take(&mut self.arrived)
    }

    /// Whether bytes of the far end are still to come to the core's side, or the other way round.
    pub fn is_busy(&self) -> bool {
        self.conn.is_some() && (!self.to_core.is_empty() || self.reads && !self.to_remote.is_empty())
    }

    pub fn is_ended(&self) -> bool {
        self.core_ended && self.to_remote.is_empty() && self.arrived.is_empty()
    }

    pub fn cut(&mut self) {
        self.to_core.clear();
        self.to_remote.clear();
        self.remote_ended = true;
        self.told_ended = true;
        self.core_ended = true;
    }
}
