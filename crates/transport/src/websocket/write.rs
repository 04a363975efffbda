//! What a connection sends.

use super::close::{CloseFrame, fitting};
use super::connection::{Connection, Outgoing, Phase};
use super::frame::{self, MAX_CONTROL_PAYLOAD, MAX_HEADER, MAX_LENGTH, Opcode};
use super::mask::Mask;
use super::{CloseCode, MessageKind, Role};

/// A message that was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// One side has begun to close: nothing follows a close frame (RFC 6455 §5.5.1). Not a fault of the caller's,
    /// who may not have read the peer's close frame yet.
    #[error("the WebSocket is closing")]
    Closing,
    /// A message begun with [`Connection::begin_message`] is not complete.
    #[error("another WebSocket message is being sent")]
    MessageInProgress,
    /// A piece without a message begun, more bytes than that message has left, or a message of more than 2^63 - 1.
    /// Nothing of it was sent.
    #[error("more bytes than the WebSocket message has")]
    TooManyBytes,
}

impl Connection {
    /// Appends a message in one frame to `out`. A text message's payload must be UTF-8.
    pub fn write_message(
        &mut self,
        kind: MessageKind,
        payload: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), WriteError> {
        self.write_message_parts(kind, payload, &[], out)
    }

    /// Appends a message in one frame to `out`, whose payload lies in two parts. Other than one that is begun and then
    /// sent in pieces, it needs nothing to be remembered.
    pub fn write_message_parts(
        &mut self,
        kind: MessageKind,
        head: &[u8],
        tail: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), WriteError> {
        self.check_idle()?;
        out.reserve(MAX_HEADER + head.len() + tail.len());
        self.write_frame(Opcode::Message(kind), head, tail, out);
        Ok(())
    }

    /// Appends a message in one frame to `out`, but for its last `rest` bytes: the caller sends them from where they lie,
    /// behind what `out` holds then. Only for a server, which does not mask what it sends.
    pub fn write_message_head(
        &mut self,
        kind: MessageKind,
        head: &[u8],
        rest: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), WriteError> {
        debug_assert!(self.role == Role::Server, "a client masks what it sends");
        self.check_idle()?;
        frame::encode(Opcode::Message(kind), (head.len() + rest) as u64, None, out);
        out.extend_from_slice(head);
        Ok(())
    }

    /// Appends the header of a message of `len` bytes to `out`; [`Connection::write_piece`] follows until they are
    /// complete. Other messages are refused meanwhile; pongs and a close frame wait.
    pub fn begin_message(
        &mut self,
        kind: MessageKind,
        len: u64,
        out: &mut Vec<u8>,
    ) -> Result<(), WriteError> {
        self.check_idle()?;
        if len > MAX_LENGTH {
            return Err(WriteError::TooManyBytes);
        }
        let mask = self.fresh_mask();
        frame::encode(Opcode::Message(kind), len, mask, out);
        if len > 0 {
            self.rare().outgoing = Some(Outgoing { left: len, mask: mask.unwrap_or_default() });
        }
        Ok(())
    }

    /// Appends the next bytes of the message begun to `out`.
    pub fn write_piece(&mut self, piece: &[u8], out: &mut Vec<u8>) -> Result<(), WriteError> {
        if piece.is_empty() {
            return Ok(());
        }
        let (role, phase) = (self.role, self.phase);
        let Some(outgoing) = self.rare.as_mut().and_then(|rare| rare.outgoing.as_mut()) else {
            return Err(if phase == Phase::Open { WriteError::TooManyBytes } else { WriteError::Closing });
        };
        outgoing.left = outgoing.left.checked_sub(piece.len() as u64).ok_or(WriteError::TooManyBytes)?;
        match role {
            Role::Client => outgoing.mask.append(piece, out),
            Role::Server => out.extend_from_slice(piece),
        }
        if outgoing.left == 0 {
            self.rare().outgoing = None;
            self.write_deferred(out);
        }
        Ok(())
    }

    /// How many bytes the message begun still needs.
    pub fn outgoing_left(&self) -> u64 {
        self.rare.as_ref().and_then(|rare| rare.outgoing).map_or(0, |outgoing| outgoing.left)
    }

    /// Appends a ping to `out`; its pong comes back as an event. At most 125 bytes of `payload` are sent.
    pub fn ping(&mut self, payload: &[u8], out: &mut Vec<u8>) -> Result<(), WriteError> {
        self.check_idle()?;
        self.write_control(Opcode::Ping, payload, out);
        Ok(())
    }

    /// Begins the closing handshake, unless it has begun: appends a close frame to `out`, or leaves it to be
    /// appended behind the message that is being sent in pieces. Of the reason at most [`super::MAX_REASON`] bytes
    /// are sent. Data of the peer's may still arrive until its close frame does.
    pub fn close(&mut self, code: CloseCode, reason: &str, out: &mut Vec<u8>) {
        if self.phase == Phase::Open {
            self.schedule_close(CloseFrame { code: Some(code), reason: fitting(reason).to_owned() }, out);
            self.phase = Phase::CloseSent;
        }
    }

    /// Whether a message is being sent in pieces, so that no other frame may be.
    pub(super) fn is_sending_pieces(&self) -> bool {
        self.rare.as_ref().is_some_and(|rare| rare.outgoing.is_some())
    }

    /// Writes a close frame, behind the pong that is due; both wait while a message is being sent in pieces.
    pub(super) fn schedule_close(&mut self, close: CloseFrame, out: &mut Vec<u8>) {
        if self.is_sending_pieces() {
            self.rare().close = Some(close);
            return;
        }
        self.write_deferred(out);
        self.write_close(&close, out);
    }

    /// Writes the pong and the close frame that had to wait, unless they still have to.
    pub(super) fn write_deferred(&mut self, out: &mut Vec<u8>) {
        let Some(rare) = &mut self.rare else { return };
        if rare.outgoing.is_some() {
            return;
        }
        let pong = rare.pong.take();
        let close = rare.close.take();
        if let Some(pong) = pong {
            self.write_control(Opcode::Pong, &pong, out);
        }
        if let Some(close) = close {
            self.write_close(&close, out);
        }
        self.trim();
    }

    /// The caller sees to it that no message is being sent in pieces.
    pub(super) fn write_control(&self, opcode: Opcode, payload: &[u8], out: &mut Vec<u8>) {
        let payload = &payload[..payload.len().min(MAX_CONTROL_PAYLOAD)];
        self.write_frame(opcode, payload, &[], out);
    }

    fn write_close(&self, close: &CloseFrame, out: &mut Vec<u8>) {
        let mut payload = Vec::new();
        if let Some(code) = close.code {
            payload.extend_from_slice(&code.value().to_be_bytes());
            payload.extend_from_slice(fitting(&close.reason).as_bytes());
        }
        self.write_control(Opcode::Close, &payload, out);
    }

    fn write_frame(&self, opcode: Opcode, head: &[u8], tail: &[u8], out: &mut Vec<u8>) {
        let mask = self.fresh_mask();
        frame::encode(opcode, (head.len() + tail.len()) as u64, mask, out);
        match mask {
            Some(mut mask) => {
                mask.append(head, out);
                mask.append(tail, out);
            }
            None => {
                out.extend_from_slice(head);
                out.extend_from_slice(tail);
            }
        }
    }

    /// A client masks every frame with a key of its own, a server none (RFC 6455 §5.1, §5.3).
    fn fresh_mask(&self) -> Option<Mask> {
        (self.role == Role::Client).then(Mask::random)
    }

    fn check_idle(&self) -> Result<(), WriteError> {
        if self.phase != Phase::Open {
            Err(WriteError::Closing)
        } else if self.is_sending_pieces() {
            Err(WriteError::MessageInProgress)
        } else {
            Ok(())
        }
    }
}
