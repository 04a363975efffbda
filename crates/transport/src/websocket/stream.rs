//! Reading the payloads of all messages as one stream of bytes: the path that MQTT takes.
//!
//! A read buffer full of small frames is the usual case, so whole frames are taken in a loop of their own that does
//! nothing but check six bytes, unmask and move.

use std::ops::Range;

use super::connection::{Connection, Event};
use super::frame::{FIN, MASKED};
use super::mask::Mask;
use super::{CloseFrame, Role, Violation};

/// What was in a buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Streamed {
    /// Where in the buffer the payload bytes of all its frames now stand, without gaps.
    pub data: Range<usize>,
    /// Set if no data will ever follow these.
    pub end: Option<End>,
}

/// Why a stream ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// By the peer's close frame; it has been answered if need be.
    Close(CloseFrame),
    /// By a violation; it has been answered. The data before it are good.
    Violation(Violation),
}

/// The header byte of an unfragmented binary message.
const WHOLE_BINARY: u8 = FIN | 0x2;

impl Connection {
    /// Reads all of `input` and leaves its payload bytes, unmasked and compacted, in a part of it. Message bounds
    /// are ignored [MQTT-6.0.0-2]. Answers are appended to `out`, as [`Connection::read`] does.
    pub fn read_stream(&mut self, input: &mut [u8], out: &mut Vec<u8>) -> Streamed {
        let mut pos = 0;
        let mut data = 0..0;
        let end = loop {
            if self.is_between_messages() {
                match self.role {
                    Role::Server => pos = self.read_whole_masked(input, pos, &mut data),
                    Role::Client => pos = self.read_whole_plain(input, pos, &mut data),
                }
            }
            match self.read(input, &mut pos, out) {
                Ok(Some(Event::Data { range, .. })) => append(input, &mut data, range),
                Ok(Some(Event::Ping(_) | Event::Pong(_))) => {}
                Ok(Some(Event::Close(close))) => break Some(End::Close(close)),
                Ok(None) => break None,
                Err(violation) => break Some(End::Violation(violation)),
            }
        };
        Streamed { data, end }
    }

    /// Takes as many whole, short, unfragmented binary frames of a client as there are. Whatever else comes is left
    /// to the thorough path.
    fn read_whole_masked(&self, input: &mut [u8], mut pos: usize, data: &mut Range<usize>) -> usize {
        while let Some(&[WHOLE_BINARY, second, k0, k1, k2, k3]) =
            input.get(pos..).and_then(<[u8]>::first_chunk)
        {
            let Some(range) = self.whole_payload(input.len(), pos + 6, second ^ MASKED) else { break };
            pos = range.end;
            let mut mask = Mask::new([k0, k1, k2, k3]);
            if Range::is_empty(data) {
                mask.apply(&mut input[range.clone()]);
                *data = range;
            } else {
                let len = range.len();
                mask.apply_moving(input, range, data.end);
                data.end += len;
            }
        }
        pos
    }

    /// The same for the frames of a server.
    fn read_whole_plain(&self, input: &mut [u8], mut pos: usize, data: &mut Range<usize>) -> usize {
        while let Some(&[WHOLE_BINARY, second]) = input.get(pos..).and_then(<[u8]>::first_chunk) {
            let Some(range) = self.whole_payload(input.len(), pos + 2, second) else { break };
            pos = range.end;
            append(input, data, range);
        }
        pos
    }

    /// The payload that starts at `start` if its length is in the second header byte and it is there entirely.
    fn whole_payload(&self, available: usize, start: usize, length_bits: u8) -> Option<Range<usize>> {
        let end = start + usize::from(length_bits);
        (length_bits < 126 && end <= available && u64::from(length_bits) <= self.limits.max_message)
            .then_some(start..end)
    }
}

/// Moves the bytes at `piece` down to the data that precede it.
fn append(input: &mut [u8], data: &mut Range<usize>, piece: Range<usize>) {
    if Range::is_empty(data) {
        *data = piece;
    } else {
        let len = piece.len();
        input.copy_within(piece, data.end);
        data.end += len;
    }
}
