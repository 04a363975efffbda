//! What a peer can do against RFC 6455, and the close code that tells it so.

use super::CloseCode;

/// A breach of the framing rules. The close frame for it has been written by the function that returns it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// A reserved bit is set although no extension was agreed on (RFC 6455 §5.2).
    #[error("a reserved bit is set in a frame header")]
    ReservedBit,
    /// An opcode without a meaning (RFC 6455 §5.2).
    #[error("reserved opcode {0:#x}")]
    ReservedOpcode(u8),
    /// A client's frame is not masked (RFC 6455 §5.1).
    #[error("a client sent an unmasked frame")]
    Unmasked,
    /// A server's frame is masked (RFC 6455 §5.1).
    #[error("a server sent a masked frame")]
    Masked,
    /// A length of 63 bits at most was expected (RFC 6455 §5.2).
    #[error("a frame length of 64 bits")]
    LengthOutOfRange,
    /// A length that fits in a shorter form (RFC 6455 §5.2).
    #[error("a frame length that is not minimally encoded")]
    LengthNotMinimal,
    /// A control frame without its final bit (RFC 6455 §5.5).
    #[error("a fragmented control frame")]
    ControlFragmented,
    /// A control frame of more than 125 bytes (RFC 6455 §5.5).
    #[error("a control frame of more than 125 bytes")]
    ControlTooLong,
    /// A continuation frame while no message is in progress (RFC 6455 §5.4).
    #[error("a continuation frame without a message to continue")]
    NothingToContinue,
    /// A new message in the middle of a fragmented one (RFC 6455 §5.4).
    #[error("a new message inside a fragmented message")]
    MessageInterrupted,
    /// A close frame whose payload is one byte: too short for a code (RFC 6455 §5.5.1).
    #[error("a close frame with half a code")]
    CloseTruncated,
    /// A close code that must not be sent (RFC 6455 §7.4).
    #[error("close code {0} must not be sent")]
    CloseCode(u16),
    /// The reason in a close frame is not UTF-8 (RFC 6455 §5.5.1, §8.1).
    #[error("a close reason that is not UTF-8")]
    CloseReasonNotUtf8,
    /// A text message is not UTF-8 (RFC 6455 §8.1).
    #[error("a text message that is not UTF-8")]
    TextNotUtf8,
    /// A text message where only binary ones are taken [MQTT-6.0.0-1].
    #[error("a text message where only binary messages are accepted")]
    TextRefused,
    /// A message over the limit (RFC 6455 §7.4.1).
    #[error("a message of more than {limit} bytes")]
    MessageTooLarge {
        /// The limit in bytes.
        limit: u64,
    },
}

impl Violation {
    /// The code of the close frame that answers it (RFC 6455 §7.4.1).
    pub fn close_code(self) -> CloseCode {
        match self {
            Violation::TextRefused => CloseCode::UNSUPPORTED,
            Violation::CloseReasonNotUtf8 | Violation::TextNotUtf8 => CloseCode::INVALID_DATA,
            Violation::MessageTooLarge { .. } => CloseCode::TOO_LARGE,
            _ => CloseCode::PROTOCOL_ERROR,
        }
    }
}
