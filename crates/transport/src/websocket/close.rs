//! Close frames: their codes and their payload (RFC 6455 §5.5.1, §7.4).

use std::fmt;

use super::Violation;
use super::frame::MAX_CONTROL_PAYLOAD;

/// The longest reason in bytes: a control frame's payload less the code.
pub const MAX_REASON: usize = MAX_CONTROL_PAYLOAD - 2;

/// A code that may stand in a close frame on the wire (RFC 6455 §7.4 and the registry it founded).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct CloseCode(u16);

impl CloseCode {
    /// The purpose of the connection is fulfilled.
    pub const NORMAL: CloseCode = CloseCode(1000);
    /// The server goes down, or a browser leaves the page.
    pub const GOING_AWAY: CloseCode = CloseCode(1001);
    /// The peer broke the protocol.
    pub const PROTOCOL_ERROR: CloseCode = CloseCode(1002);
    /// A kind of data that cannot be taken, such as text where bytes are wanted.
    pub const UNSUPPORTED: CloseCode = CloseCode(1003);
    /// Data that disagrees with its kind: text that is not UTF-8.
    pub const INVALID_DATA: CloseCode = CloseCode(1007);
    /// Refused by policy.
    pub const POLICY: CloseCode = CloseCode(1008);
    /// A message too large to process.
    pub const TOO_LARGE: CloseCode = CloseCode(1009);
    /// Something unexpected happened here.
    pub const INTERNAL_ERROR: CloseCode = CloseCode(1011);
    /// Come back later.
    pub const TRY_AGAIN_LATER: CloseCode = CloseCode(1013);

    /// The code of this value, if it may be sent: 1000-1003 and 1007-1014 as registered, 3000-3999 for libraries,
    /// 4000-4999 for private use. 1004 is reserved; 1005, 1006 and 1015 never travel.
    pub const fn new(value: u16) -> Option<CloseCode> {
        match value {
            1000..=1003 | 1007..=1014 | 3000..=4999 => Some(CloseCode(value)),
            _ => None,
        }
    }

    /// Its number.
    pub const fn value(self) -> u16 {
        self.0
    }

    fn name(self) -> &'static str {
        match self.0 {
            1000 => "normal closure",
            1001 => "going away",
            1002 => "protocol error",
            1003 => "unsupported data",
            1007 => "invalid data",
            1008 => "policy violation",
            1009 => "message too big",
            1010 => "extension missing",
            1011 => "internal error",
            1012 => "service restart",
            1013 => "try again later",
            1014 => "bad gateway",
            3000..=3999 => "library code",
            _ => "private code",
        }
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.0, self.name())
    }
}

impl fmt::Debug for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CloseCode({})", self.0)
    }
}

/// What a peer's close frame says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CloseFrame {
    /// The code; a close frame may have none.
    pub code: Option<CloseCode>,
    /// The reason, at most [`MAX_REASON`] bytes, for logs rather than for people (RFC 6455 §5.5.1).
    pub reason: String,
}

impl CloseFrame {
    /// Reads the payload of a close frame.
    pub(super) fn decode(payload: &[u8]) -> Result<CloseFrame, Violation> {
        match payload {
            [] => Ok(CloseFrame::default()),
            [_] => Err(Violation::CloseTruncated),
            [high, low, reason @ ..] => {
                let value = u16::from_be_bytes([*high, *low]);
                let code = CloseCode::new(value).ok_or(Violation::CloseCode(value))?;
                let reason = str::from_utf8(reason).map_err(|_| Violation::CloseReasonNotUtf8)?;
                Ok(CloseFrame { code: Some(code), reason: reason.to_owned() })
            }
        }
    }
}

impl fmt::Display for CloseFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.code {
            Some(code) => write!(f, "{code}")?,
            None => f.write_str("no code")?,
        }
        if !self.reason.is_empty() {
            write!(f, ": {}", self.reason.escape_debug())?;
        }
        Ok(())
    }
}

/// The longest prefix of `reason` that fits in a close frame and is whole characters.
pub(super) fn fitting(reason: &str) -> &str {
    let mut end = reason.len().min(MAX_REASON);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    &reason[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_registered_and_private_codes_travel() {
        // RFC 6455 §7.4.1, §7.4.2
        for value in
            [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999]
        {
            assert_eq!(CloseCode::new(value).map(CloseCode::value), Some(value));
        }
        for value in [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535] {
            assert_eq!(CloseCode::new(value), None, "{value}");
        }
    }

    #[test]
    fn payload_is_nothing_or_a_code_and_utf8() {
        // RFC 6455 §5.5.1
        assert_eq!(CloseFrame::decode(b""), Ok(CloseFrame::default()));
        assert_eq!(CloseFrame::decode(&[3]), Err(Violation::CloseTruncated));
        assert_eq!(CloseFrame::decode(&[3, 0xee]), Err(Violation::CloseCode(1006)));
        assert_eq!(CloseFrame::decode(b"\x03\xe8\xff"), Err(Violation::CloseReasonNotUtf8));
        let close = CloseFrame::decode(b"\x03\xe9bye\n").unwrap();
        assert_eq!(close.to_string(), "1001 (going away): bye\\n");
    }

    #[test]
    fn a_long_reason_is_cut_between_characters() {
        let reason = "é".repeat(100);
        assert_eq!(fitting(&reason).len(), 122);
        assert_eq!(fitting("short"), "short");
    }
}
