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

    /// Takes as many whole, unfragmented binary frames of a client as there are. Whatever else comes is left to the
    /// thorough path.
    fn read_whole_masked(&self, input: &mut [u8], mut pos: usize, data: &mut Range<usize>) -> usize {
        while let Some((start, len)) = self.whole_binary(&input[pos..], MASKED) {
            let Some(key) = input[pos..].get(start..).and_then(<[u8]>::first_chunk::<4>) else { break };
            let mut mask = Mask::new(*key);
            let payload = pos + start + 4..pos + start + 4 + len;
            if payload.end > input.len() {
                break;
            }
            pos = payload.end;
            if Range::is_empty(data) {
                mask.apply(&mut input[payload.clone()]);
                *data = payload;
            } else {
                mask.apply_moving(input, payload, data.end);
                data.end += len;
            }
        }
        pos
    }

    /// The same for the frames of a server.
    fn read_whole_plain(&self, input: &mut [u8], mut pos: usize, data: &mut Range<usize>) -> usize {
        while let Some((start, len)) = self.whole_binary(&input[pos..], 0) {
            let payload = pos + start..pos + start + len;
            if payload.end > input.len() {
                break;
            }
            pos = payload.end;
            append(input, data, payload);
        }
        pos
    }

    /// If the next frame is an unfragmented binary message within the limit whose length takes at most 16 bits: the
    /// sizes of its header without the key, and of its payload.
    fn whole_binary(&self, bytes: &[u8], masked: u8) -> Option<(usize, usize)> {
        let [WHOLE_BINARY, second, rest @ ..] = bytes else { return None };
        let (size, len) = match second ^ masked {
            len @ 0..126 => (2, usize::from(len)),
            126 => {
                let len = u16::from_be_bytes(*rest.first_chunk()?);
                (4, usize::from(len).checked_sub(126)? + 126)
            }
            _ => return None,
        };
        (len as u64 <= self.max_message).then_some((size, len))
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
