//! Why a token is refused.

use thiserror::Error;

use super::algorithm::Algorithm;

/// Why a token is refused, in words for a log, each cause with its own. None holds a part of the token.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// Nothing is decoded of what is too long.
    #[error("the token is longer than {most} bytes")]
    TooLong {
        /// What is allowed.
        most: usize,
    },
    /// It is no signed token in compact form (RFC 7515 §7.1).
    #[error("the token is malformed: {0}")]
    Malformed(&'static str),
    /// Its algorithm is `none` (RFC 8725 §3.2).
    #[error("the token is not signed")]
    Unsigned,
    /// Its algorithm is none that is known here.
    #[error("the token is signed by an algorithm that is not supported")]
    UnknownAlgorithm,
    /// Its algorithm isn't one that its key is for (RFC 8725 §3.1).
    #[error("the token is signed by {0}, which its key is not for")]
    WrongAlgorithm(Algorithm),
    /// It says of itself that it must not be accepted by who doesn't understand more than we do (RFC 7515 §4.1.11).
    #[error("the token demands an extension that is not supported")]
    Critical,
    /// There is no key at all to check it with: none could be fetched so far, or not for too long.
    #[error("no key is at hand to check tokens with")]
    NoKeys,
    /// No key has the identifier it names.
    #[error("the token is signed by an unknown key")]
    UnknownKey,
    /// It names no key, and more than one could be meant.
    #[error("the token does not say which key has signed it, and several might have")]
    AmbiguousKey,
    /// The signature isn't that of the key.
    #[error("the token's signature is wrong")]
    BadSignature,
    /// Its time has passed.
    #[error("the token has expired")]
    Expired,
    /// Its time has not come.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// It would be good for ever, which isn't allowed here.
    #[error("the token never expires")]
    NeverExpires,
    /// Whoever made it isn't trusted here, or isn't named.
    #[error("the token is not of an issuer that is trusted here")]
    WrongIssuer,
    /// It was made for somebody else, or for nobody in particular.
    #[error("the token is not meant for this server")]
    WrongAudience,
    /// A claim that the configuration names isn't there.
    #[error("the token has no claim {0:?}")]
    MissingClaim(String),
    /// A claim has a value that cannot be used as what the configuration, or RFC 7519 §4.1, says it is.
    #[error("the token's claim {claim:?} is not {expected}")]
    WrongClaim {
        /// Its name.
        claim: String,
        /// What it should be.
        expected: &'static str,
    },
}
