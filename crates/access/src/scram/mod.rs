//! SCRAM-SHA-256 as an enhanced authentication method of MQTT 5.0 (§4.12): RFC 5802 with the hash of RFC 7677.
//!
//! The password never travels and isn't stored, and the server proves that it knows it, too. CONNECT carries the client's
//! first message, AUTH the server's first and the client's final one, and CONNACK, or for a re-authentication AUTH with
//! reason 0x00, the server's final one.
//!
//! [`Exchange::begin`] takes the first message and gives what to send; [`Exchange::finish`] the last one. Both do no I/O
//! and take a few microseconds: all the work is the client's. There is no channel binding: the method would have another
//! name with it.

mod message;
mod prepare;
mod users;
mod verifier;

#[cfg(test)]
mod tests;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use thiserror::Error;

pub use users::{Decoy, ScramUsers};
pub use verifier::{DEFAULT_ITERATIONS, Verifier, VerifierError};

use message::{ClientFinal, ClientFirst};

/// The name of the method in CONNECT and AUTH.
pub const METHOD: &str = "SCRAM-SHA-256";

/// No message of a client is longer, in bytes.
pub const MAX_MESSAGE: usize = 8 * 1024;

/// Why an exchange ends without success. Clients are told no more than that it has: everything else helps who guesses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ScramError {
    /// A message is not as the RFC has it.
    #[error("the SCRAM message is malformed: {0}")]
    Malformed(&'static str),
    /// The client wants channel binding, which this method does not have.
    #[error("the client demands channel binding")]
    ChannelBinding,
    /// The client demands an extension (`m=`), and there are none.
    #[error("the client demands an extension of SCRAM")]
    Extension,
    /// The client wants to act as somebody else than who it is.
    #[error("the client asks to act as another user")]
    OtherIdentity,
    /// The final message belongs to another exchange.
    #[error("the nonce is not the one of this exchange")]
    WrongNonce,
    /// There is no such user.
    #[error("there is no such user")]
    UnknownUser,
    /// The password is wrong.
    #[error("the password is wrong")]
    WrongPassword,
}

/// The server's side of an exchange, between the client's two messages.
pub struct Exchange {
    user: String,
    verifier: Verifier,
    /// Whether the user exists; if not, the verifier is a decoy.
    known: bool,
    /// Both halves: the client's and ours.
    nonce: String,
    /// What the final message must repeat of the first one, in base64.
    header: String,
    /// The beginning of what both sides sign: the first messages.
    signed: String,
}

impl Exchange {
    /// Answers the client's first message. `nonce` is random: 18 bytes and more, different each time.
    ///
    /// Who is unknown gets an answer like everybody else's, and the same one each time, as far as it isn't random.
    ///
    /// # Errors
    /// If the message is malformed, or asks for what isn't offered.
    pub fn begin(first: &[u8], users: &ScramUsers, nonce: &[u8]) -> Result<(Exchange, Vec<u8>), ScramError> {
        Exchange::begin_with(first, users, &STANDARD.encode(nonce))
    }

    fn begin_with(first: &[u8], users: &ScramUsers, nonce: &str) -> Result<(Exchange, Vec<u8>), ScramError> {
        let first = ClientFirst::parse(first)?;
        let (verifier, known) = match users.find(&first.user) {
            Some(verifier) => (verifier.clone(), true),
            None => (users.decoy(&first.user), false),
        };
        let nonce = format!("{}{nonce}", first.nonce);
        let answer = format!("r={nonce},s={},i={}", STANDARD.encode(verifier.salt()), verifier.iterations());
        let signed = format!("{},{answer},", first.bare);
        let header = STANDARD.encode(first.header);
        let exchange = Exchange { user: first.user, verifier, known, nonce, header, signed };
        Ok((exchange, answer.into_bytes()))
    }

    /// Judges the client's final message. Gives the user's name, and what to send with the success.
    ///
    /// # Errors
    /// If the client isn't who it says, or the message is malformed.
    pub fn finish(self, last: &[u8]) -> Result<(String, Vec<u8>), ScramError> {
        let last = ClientFinal::parse(last)?;
        if last.header != self.header {
            return Err(ScramError::Malformed("the channel binding differs from that of the first message"));
        }
        if last.nonce != self.nonce {
            return Err(ScramError::WrongNonce);
        }
        let signed = format!("{}{}", self.signed, last.without_proof);
        let right = self.verifier.is_proof(signed.as_bytes(), &last.proof);
        if !self.known {
            return Err(ScramError::UnknownUser);
        }
        if !right {
            return Err(ScramError::WrongPassword);
        }
        let signature = self.verifier.server_signature(signed.as_bytes());
        Ok((self.user, format!("v={}", STANDARD.encode(signature)).into_bytes()))
    }

    /// The name that the client gives, prepared; nothing is proven yet.
    pub fn user(&self) -> &str {
        &self.user
    }
}
