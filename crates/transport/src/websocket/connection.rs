//! A WebSocket connection after its handshake: its state, and reading. Writing is in `write`, the fast path for
//! streams in `stream`.

use std::fmt;
use std::ops::{Deref, Range};

use super::close::CloseFrame;
use super::frame::{self, Header, MAX_CONTROL_PAYLOAD, Opcode};
use super::mask::Mask;
use super::utf8::Utf8Validator;
use super::{Limits, MessageKind, Role, TextPolicy, Violation};

/// How many pings of one read are answered each; of those beyond, only the latest is (RFC 6455 §5.5.3 allows it).
/// Together with a shell that stops reading while its output is blocked, this bounds what a flood of pings costs.
pub const MAX_PONGS_PER_READ: u8 = 64;

/// One end of a connection. It holds no payload and takes 48 bytes; what only some connections need, some of the
/// time, is boxed.
#[derive(Debug)]
pub struct Connection {
    pub(super) max_message: u64,
    text: TextPolicy,
    pub(super) role: Role,
    pub(super) phase: Phase,
    /// Pongs written since the last time that all input had been read.
    pongs: u8,
    /// The message being received, from its first frame header to its last byte.
    pub(super) message: Option<Incoming>,
    /// By how many bytes the message being received may grow.
    room: u64,
    /// Payload bytes of the data frame being received that have not come yet.
    pub(super) frame_left: u64,
    mask: Mask,
    utf8: Utf8Validator,
    pub(super) rare: Option<Box<Rare>>,
}

/// How far the closing handshake is (RFC 6455 §7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Data may flow both ways.
    Open,
    /// We have sent a close frame (or it waits for the end of a message in pieces); the peer's has not come.
    CloseSent,
    /// The peer's close frame has come and is answered (or the answer waits for the end of a message in pieces).
    Closed,
    /// The peer broke the protocol: nothing is read any more (RFC 6455 §7.1.7).
    Failed,
}

/// A message on its way in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Incoming {
    kind: MessageKind,
    /// The frame being received is the last one.
    last: bool,
    /// An event has told of it.
    announced: bool,
}

/// A frame header cut in two, or a control frame, which is handled whole.
const MAX_STASH: usize = frame::MAX_HEADER - 8 + MAX_CONTROL_PAYLOAD;

/// What few connections have at any time.
#[derive(Debug)]
pub(super) struct Rare {
    /// The first `stashed` bytes are the beginning of a frame header, or of a control frame.
    stash: [u8; MAX_STASH],
    stashed: u8,
    /// The payload of the latest ping that could not be answered yet.
    pub(super) pong: Option<ControlPayload>,
    /// A message that is sent in pieces.
    pub(super) outgoing: Option<Outgoing>,
    /// The close frame that goes out when that message is complete.
    pub(super) close: Option<CloseFrame>,
}

/// A message that is sent in pieces: one frame whose header is out already.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outgoing {
    pub(super) left: u64,
    /// All zeroes on the server side.
    pub(super) mask: Mask,
}

/// What [`Connection::read`] found. Ranges index the input; the payload there is unmasked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A piece of a message, as large as it came; an empty one only if the message ends there.
    Data {
        /// What the message is. Pieces of a text message may cut a character.
        kind: MessageKind,
        /// Where in the input the piece is.
        range: Range<usize>,
        /// Whether the message starts here.
        start: bool,
        /// Whether it ends here.
        end: bool,
    },
    /// A ping. The pong is taken care of.
    Ping(ControlPayload),
    /// A pong.
    Pong(ControlPayload),
    /// The peer's close frame. It is answered if need be; no event follows.
    Close(CloseFrame),
}

/// The payload of a ping or pong: 125 bytes at most. It dereferences to them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ControlPayload {
    /// All zeroes from `len` on.
    bytes: [u8; MAX_CONTROL_PAYLOAD],
    len: u8,
}

impl Connection {
    /// A connection whose handshake has just been completed. Use the handshakes rather than this, unless something
    /// else has spoken HTTP.
    pub fn new(role: Role, limits: Limits) -> Connection {
        Connection {
            max_message: limits.max_message,
            text: limits.text,
            role,
            phase: Phase::Open,
            pongs: 0,
            message: None,
            room: 0,
            frame_left: 0,
            mask: Mask::default(),
            utf8: Utf8Validator::default(),
            rare: None,
        }
    }

    /// Reads `input` from `pos` on, up to the next event, and moves `pos` behind it. Call it until it returns `None`:
    /// all input is used then, what could not be used yet is kept, and the same buffer may be filled anew.
    ///
    /// Pongs and the answer to a close frame are appended to `out`, and so is the close frame for a violation.
    /// After [`Event::Close`] or an error further input is dropped: nothing counts after a close frame.
    pub fn read(
        &mut self,
        input: &mut [u8],
        pos: &mut usize,
        out: &mut Vec<u8>,
    ) -> Result<Option<Event>, Violation> {
        *pos = (*pos).min(input.len());
        loop {
            if matches!(self.phase, Phase::Closed | Phase::Failed) {
                *pos = input.len();
                return Ok(None);
            }
            let step = match self.message {
                Some(message) if self.frame_left > 0 => self.read_payload(message, input, pos),
                _ => self.read_frame(input, pos, out),
            };
            match step {
                Ok(Step::Event(event)) => return Ok(Some(event)),
                Ok(Step::Silent) => {}
                Ok(Step::NeedInput) => {
                    self.end_read(out);
                    return Ok(None);
                }
                Err(violation) => {
                    self.fail(violation, out);
                    return Err(violation);
                }
            }
        }
    }

    /// Which end this is.
    pub fn role(&self) -> Role {
        self.role
    }

    /// Whether messages can be sent: neither side has begun to close.
    pub fn is_open(&self) -> bool {
        self.phase == Phase::Open
    }

    /// Whether our close frame has been written and the peer's has not come: wait for it, for a bounded time.
    pub fn awaits_peer_close(&self) -> bool {
        self.phase == Phase::CloseSent
    }

    /// Whether all is said: flush, then close the socket. On the client side give the server a moment to close it
    /// first (RFC 6455 §7.1.1).
    pub fn is_finished(&self) -> bool {
        match self.phase {
            Phase::Open | Phase::CloseSent => false,
            Phase::Closed => self.rare.as_ref().is_none_or(|rare| rare.close.is_none()),
            Phase::Failed => true,
        }
    }

    /// Whether the next byte of input begins a frame that begins a message.
    pub(super) fn is_between_messages(&self) -> bool {
        self.message.is_none()
            && matches!(self.phase, Phase::Open | Phase::CloseSent)
            && self.rare.as_ref().is_none_or(|rare| rare.stashed == 0)
    }

    fn read_payload(
        &mut self,
        message: Incoming,
        input: &mut [u8],
        pos: &mut usize,
    ) -> Result<Step, Violation> {
        let available = input.len() - *pos;
        if available == 0 {
            return Ok(Step::NeedInput);
        }
        let len = usize::try_from(self.frame_left).map_or(available, |left| left.min(available));
        let range = *pos..*pos + len;
        let payload = &mut input[range.clone()];
        if self.role == Role::Server {
            self.mask.apply(payload);
        }
        if message.kind == MessageKind::Text {
            self.utf8.push(payload).map_err(|_| Violation::TextNotUtf8)?;
        }
        self.frame_left -= len as u64;
        *pos = range.end;
        self.announce(message, range).map(Step::Event)
    }

    /// The event for the payload at `range`, after which the message may be at its end.
    fn announce(&mut self, message: Incoming, range: Range<usize>) -> Result<Event, Violation> {
        let end = message.last && self.frame_left == 0;
        // RFC 6455 §5.6: a whole message is valid UTF-8, its fragments may cut a character.
        if end && message.kind == MessageKind::Text && !self.utf8.is_complete() {
            return Err(Violation::TextNotUtf8);
        }
        self.message = (!end).then_some(Incoming { announced: true, ..message });
        Ok(Event::Data { kind: message.kind, range, start: !message.announced, end })
    }

    /// Reads a frame header and, of a control frame, the payload.
    fn read_frame(
        &mut self,
        input: &mut [u8],
        pos: &mut usize,
        out: &mut Vec<u8>,
    ) -> Result<Step, Violation> {
        let Some((header, payload)) = self.next_head(input, pos)? else { return Ok(Step::NeedInput) };
        match header.opcode {
            Opcode::Ping => {
                self.answer_ping(&payload, out);
                Ok(Step::Event(Event::Ping(payload)))
            }
            Opcode::Pong => Ok(Step::Event(Event::Pong(payload))),
            Opcode::Close => {
                let close = CloseFrame::decode(&payload)?;
                self.answer_close(&close, out);
                Ok(Step::Event(Event::Close(close)))
            }
            Opcode::Continuation | Opcode::Message(_) => {
                let message = self.begin_data_frame(&header)?;
                if header.len == 0 && header.fin {
                    return self.announce(message, *pos..*pos).map(Step::Event);
                }
                Ok(Step::Silent)
            }
        }
    }

    /// Takes a header and, of a control frame, the payload, from the stash and the input. Keeps what there is if
    /// something is missing.
    fn next_head(
        &mut self,
        input: &[u8],
        pos: &mut usize,
    ) -> Result<Option<(Header, ControlPayload)>, Violation> {
        let rest = &input[*pos..];
        let stashed = self.rare.as_ref().map_or(0, |rare| usize::from(rare.stashed));
        if stashed == 0 {
            if let Some((header, payload, size)) = decode_head(rest, self.role)? {
                *pos += size;
                return Ok(Some((header, payload)));
            }
            *pos = input.len();
            if !rest.is_empty() {
                // An incomplete head is shorter than the stash.
                self.rare().stash[..rest.len()].copy_from_slice(rest);
                self.rare().stashed = rest.len() as u8;
            }
            return Ok(None);
        }
        let role = self.role;
        let rare = self.rare();
        let taken = rest.len().min(MAX_STASH - stashed);
        rare.stash[stashed..stashed + taken].copy_from_slice(&rest[..taken]);
        match decode_head(&rare.stash[..stashed + taken], role)? {
            Some((header, payload, size)) => {
                // What was stashed was no head, so that the head ends beyond it.
                *pos += size - stashed;
                rare.stashed = 0;
                Ok(Some((header, payload)))
            }
            None => {
                *pos += taken;
                rare.stashed = (stashed + taken) as u8;
                Ok(None)
            }
        }
    }

    /// Checks what a data frame's header says against the message in progress.
    fn begin_data_frame(&mut self, header: &Header) -> Result<Incoming, Violation> {
        // RFC 6455 §5.4
        let message = match (header.opcode, self.message) {
            (Opcode::Message(kind), None) => {
                if kind == MessageKind::Text && self.text == TextPolicy::Refuse {
                    return Err(Violation::TextRefused); // [MQTT-6.0.0-1]
                }
                self.room = self.max_message;
                Incoming { kind, last: header.fin, announced: false }
            }
            (Opcode::Message(_), Some(_)) => return Err(Violation::MessageInterrupted),
            (_, Some(message)) => Incoming { last: header.fin, ..message },
            (_, None) => return Err(Violation::NothingToContinue),
        };
        self.room = self
            .room
            .checked_sub(header.len)
            .ok_or(Violation::MessageTooLarge { limit: self.max_message })?;
        self.message = Some(message);
        self.frame_left = header.len;
        self.mask = header.mask;
        Ok(message)
    }

    fn answer_ping(&mut self, payload: &ControlPayload, out: &mut Vec<u8>) {
        if self.phase != Phase::Open {
            return;
        }
        // RFC 6455 §5.5.3
        if self.pongs < MAX_PONGS_PER_READ && !self.is_sending_pieces() {
            self.pongs += 1;
            self.write_control(Opcode::Pong, payload, out);
        } else {
            self.rare().pong = Some(*payload);
        }
    }

    fn answer_close(&mut self, close: &CloseFrame, out: &mut Vec<u8>) {
        if self.phase == Phase::Open {
            // RFC 6455 §5.5.1: the answer echoes the code.
            self.schedule_close(CloseFrame { code: close.code, reason: String::new() }, out);
        }
        self.phase = Phase::Closed;
    }

    /// All input is read: what was put off meanwhile is due.
    pub(super) fn end_read(&mut self, out: &mut Vec<u8>) {
        self.pongs = 0;
        self.write_deferred(out);
    }

    /// Says why and reads no more (RFC 6455 §7.1.7).
    fn fail(&mut self, violation: Violation, out: &mut Vec<u8>) {
        if self.phase == Phase::Open {
            let reason = violation.to_string();
            self.schedule_close(CloseFrame { code: Some(violation.close_code()), reason }, out);
        }
        self.phase = Phase::Failed;
        self.message = None;
        // A close frame that would have to wait for the end of a message in pieces is dropped with that message.
        self.rare = None;
    }

    pub(super) fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_with(|| {
            Box::new(Rare { stash: [0; MAX_STASH], stashed: 0, pong: None, outgoing: None, close: None })
        })
    }

    /// Gives the box back once nothing is in it.
    pub(super) fn trim(&mut self) {
        self.rare.take_if(|rare| {
            rare.stashed == 0 && rare.pong.is_none() && rare.outgoing.is_none() && rare.close.is_none()
        });
    }
}

/// What one step of reading came to.
enum Step {
    Event(Event),
    /// Nothing to tell, go on.
    Silent,
    NeedInput,
}

/// The header at the start of `bytes`, the unmasked payload if it is a control frame's, and the length of both.
fn decode_head(bytes: &[u8], role: Role) -> Result<Option<(Header, ControlPayload, usize)>, Violation> {
    let Some(header) = frame::decode(bytes, role)? else { return Ok(None) };
    if !header.opcode.is_control() {
        return Ok(Some((header, ControlPayload::default(), header.size)));
    }
    // A control frame's length is 125 at most.
    let end = header.size + header.len as usize;
    let Some(masked) = bytes.get(header.size..end) else { return Ok(None) };
    let mut payload = ControlPayload::new(masked);
    let mut mask = header.mask;
    mask.apply(&mut payload.bytes[..masked.len()]);
    Ok(Some((header, payload, end)))
}

impl ControlPayload {
    /// Takes the first 125 bytes.
    fn new(bytes: &[u8]) -> ControlPayload {
        let len = bytes.len().min(MAX_CONTROL_PAYLOAD);
        let mut payload = ControlPayload { bytes: [0; MAX_CONTROL_PAYLOAD], len: len as u8 };
        payload.bytes[..len].copy_from_slice(&bytes[..len]);
        payload
    }
}

impl Default for ControlPayload {
    fn default() -> ControlPayload {
        ControlPayload::new(&[])
    }
}

impl Deref for ControlPayload {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

impl fmt::Debug for ControlPayload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.escape_ascii())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_box_is_given_back_when_nothing_is_in_it() {
        assert!(size_of::<Rare>() < 400, "{}", size_of::<Rare>());
        let mut connection = Connection::new(Role::Client, Limits::default());
        let mut out = Vec::new();
        // A ping cut in its payload, then its end.
        connection.read_stream(&mut [0x89, 0x02, b'a'], &mut out);
        assert!(connection.rare.is_some());
        connection.read_stream(&mut [b'b'], &mut out);
        assert!(connection.rare.is_none());
        // A message in pieces while pings come.
        connection.begin_message(MessageKind::Binary, 1, &mut out).unwrap();
        connection.read_stream(&mut [0x89, 0x00, 0x82], &mut out);
        connection.read_stream(&mut [0x00], &mut out);
        assert!(connection.rare.is_some());
        connection.write_piece(b"x", &mut out).unwrap();
        assert!(connection.rare.is_none());
    }
}
