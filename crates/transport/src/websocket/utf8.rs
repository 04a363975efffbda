//! UTF-8 checked piece by piece, failing at the first byte that cannot be right (RFC 6455 §8.1).

/// A validator that remembers at most the three bytes of a character cut in two.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Utf8Validator {
    /// The first `len` bytes are a character's beginning.
    partial: [u8; 3],
    len: u8,
}

/// The text is not UTF-8, whatever may follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NotUtf8;

impl Utf8Validator {
    /// Takes the next piece of the text.
    pub(super) fn push(&mut self, mut piece: &[u8]) -> Result<(), NotUtf8> {
        while self.len > 0 {
            let Some((&byte, rest)) = piece.split_first() else { return Ok(()) };
            self.complete(byte)?;
            piece = rest;
        }
        match str::from_utf8(piece) {
            Ok(_) => Ok(()),
            Err(error) if error.error_len().is_some() => Err(NotUtf8),
            Err(error) => {
                for &byte in &piece[error.valid_up_to()..] {
                    self.complete(byte)?;
                }
                Ok(())
            }
        }
    }

    /// Whether the text may end here.
    pub(super) fn is_complete(&self) -> bool {
        self.len == 0
    }

    /// Adds one byte to the partial character. A prefix of a character is never four bytes long, so that the byte
    /// either finds room, ends the character or is wrong.
    fn complete(&mut self, byte: u8) -> Result<(), NotUtf8> {
        let len = usize::from(self.len);
        let mut character = [0; 4];
        character[..len].copy_from_slice(&self.partial[..len]);
        character[len] = byte;
        match str::from_utf8(&character[..=len]) {
            Ok(_) => self.len = 0,
            Err(error) if error.error_len().is_some() => return Err(NotUtf8),
            Err(_) => {
                self.partial.copy_from_slice(&character[..3]);
                self.len += 1;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many bytes are taken, one at a time, before the first that cannot be right.
    fn accepted(text: &[u8]) -> (usize, bool) {
        let mut validator = Utf8Validator::default();
        for (at, byte) in text.iter().enumerate() {
            if validator.push(&[*byte]).is_err() {
                return (at, false);
            }
        }
        (text.len(), validator.is_complete())
    }

    #[test]
    fn fails_at_the_first_impossible_byte() {
        assert_eq!(accepted("κόσμε\u{10FFFF}\u{FFFE}\0".as_bytes()), (18, true));
        // Above U+10FFFF, a surrogate, overlong forms, lone continuation, five-byte form.
        assert_eq!(accepted(b"\xf4\x90\x80\x80"), (1, false));
        assert_eq!(accepted(b"a\xed\xa0\x80"), (2, false));
        assert_eq!(accepted(b"\xc0\xaf"), (0, false));
        assert_eq!(accepted(b"\xe0\x80\xaf"), (1, false));
        assert_eq!(accepted(b"\xf0\x8f\xbf\xbf"), (1, false));
        assert_eq!(accepted(b"\x80"), (0, false));
        assert_eq!(accepted(b"\xf8\x88\x80\x80\x80"), (0, false));
        assert_eq!(accepted(b"\xf0\x9f\x98"), (3, false));
    }

    #[test]
    fn every_split_of_every_sample_agrees_with_the_whole() {
        for sample in [
            &b"ab\xce\xba\xf4\x8f\xbf\xbf"[..],
            b"\xf0\x9f\x98\x80\xf0\x9f\x98",
            b"a\xe2\x82z",
            b"\xed\xa0\x80",
        ] {
            let whole = str::from_utf8(sample);
            for cut in 0..=sample.len() {
                let mut validator = Utf8Validator::default();
                let pushed = validator.push(&sample[..cut]).and_then(|()| validator.push(&sample[cut..]));
                assert_eq!(pushed.is_ok() && validator.is_complete(), whole.is_ok());
                assert_eq!(pushed.is_err(), whole.is_err_and(|e| e.error_len().is_some()));
            }
        }
    }
}
