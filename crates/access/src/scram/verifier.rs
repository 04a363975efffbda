//! What is stored of a password.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::{digest, hmac, pbkdf2};
use subtle::ConstantTimeEq;
use thiserror::Error;

use super::prepare::prepare;

/// SHA-256's length.
const HASH: usize = digest::SHA256_OUTPUT_LEN;

/// What RFC 7677 §4 demands at least, and what libraries accept at most, or else a client would be kept busy.
const ITERATIONS: std::ops::RangeInclusive<u32> = 4_096..=10_000_000;

/// How often a new password is hashed: a tenth of a second for a client, and for who tries out passwords, each time.
pub const DEFAULT_ITERATIONS: u32 = 100_000;

/// Lengths of a salt, in bytes.
const SALT: std::ops::RangeInclusive<usize> = 8..=64;

/// What the server keeps of a password: enough to check a proof and to give one, too little to make the client's
/// (RFC 5802 §3). Written as PostgreSQL writes it: `SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey`.
#[derive(Clone, PartialEq, Eq)]
pub struct Verifier {
    iterations: u32,
    salt: Vec<u8>,
    stored_key: [u8; HASH],
    server_key: [u8; HASH],
}

/// Why there is no verifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum VerifierError {
    /// The text is none.
    #[error("it should be SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey, as mqway passwd writes it")]
    Malformed,
    /// So few iterations are no protection, so many an attack on clients.
    #[error("iterations are at least 4096, and at most 10000000")]
    Iterations,
    /// The salt is too short or too long.
    #[error("a salt has 8 to 64 bytes")]
    Salt,
    /// A password has none, or such as differ from system to system.
    #[error("the password is empty, or has characters that SASLprep (RFC 4013) forbids")]
    Password,
}

impl Verifier {
    /// That of a password. Takes as long as the client will take each time. `salt` is random: 16 bytes are usual.
    ///
    /// # Errors
    /// If the password cannot be typed alike everywhere, or a number is out of its range.
    pub fn derive(password: &str, iterations: u32, salt: &[u8]) -> Result<Verifier, VerifierError> {
        let password =
            prepare(password).filter(|password| !password.is_empty()).ok_or(VerifierError::Password)?;
        check(iterations, salt)?;
        let rounds = NonZeroU32::new(iterations).ok_or(VerifierError::Iterations)?;
        let mut salted = [0; HASH];
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, rounds, salt, password.as_bytes(), &mut salted);
        let client_key = mac(&salted, b"Client Key");
        Ok(Verifier {
            iterations,
            salt: salt.to_vec(),
            stored_key: hash(&client_key),
            server_key: mac(&salted, b"Server Key"),
        })
    }

    /// One that no password has.
    pub(super) fn decoy(iterations: u32, salt: Vec<u8>) -> Verifier {
        Verifier { iterations, salt, stored_key: [0; HASH], server_key: [0; HASH] }
    }

    /// Whether `proof` is made by who knows the password, for what both have `signed`.
    pub(super) fn is_proof(&self, signed: &[u8], proof: &[u8; HASH]) -> bool {
        let signature = mac(&self.stored_key, signed);
        let mut client_key = [0; HASH];
        for ((byte, proof), signature) in client_key.iter_mut().zip(proof).zip(signature) {
            *byte = proof ^ signature;
        }
        hash(&client_key).ct_eq(&self.stored_key).into()
    }

    /// What shows the client that we have this verifier.
    pub(super) fn server_signature(&self, signed: &[u8]) -> [u8; HASH] {
        mac(&self.server_key, signed)
    }

    /// How often the password is hashed.
    pub fn iterations(&self) -> u32 {
        self.iterations
    }

    pub(super) fn salt(&self) -> &[u8] {
        &self.salt
    }
}

impl fmt::Display for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [salt, stored, server] =
            [&self.salt[..], &self.stored_key, &self.server_key].map(|bytes| STANDARD.encode(bytes));
        write!(f, "SCRAM-SHA-256${}:{salt}${stored}:{server}", self.iterations)
    }
}

/// Shows nothing that would help to guess.
impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").field("iterations", &self.iterations).finish_non_exhaustive()
    }
}

impl FromStr for Verifier {
    type Err = VerifierError;

    fn from_str(text: &str) -> Result<Verifier, VerifierError> {
        let parts = text.strip_prefix("SCRAM-SHA-256$").and_then(|rest| rest.split_once('$'));
        let (cost, keys) = parts.ok_or(VerifierError::Malformed)?;
        let (iterations, salt) = cost.split_once(':').ok_or(VerifierError::Malformed)?;
        let (stored, server) = keys.split_once(':').ok_or(VerifierError::Malformed)?;
        let iterations = iterations.parse().map_err(|_| VerifierError::Malformed)?;
        let salt = STANDARD.decode(salt).map_err(|_| VerifierError::Malformed)?;
        check(iterations, &salt)?;
        Ok(Verifier { iterations, salt, stored_key: key(stored)?, server_key: key(server)? })
    }
}

fn check(iterations: u32, salt: &[u8]) -> Result<(), VerifierError> {
    if !ITERATIONS.contains(&iterations) {
        return Err(VerifierError::Iterations);
    }
    if !SALT.contains(&salt.len()) {
        return Err(VerifierError::Salt);
    }
    Ok(())
}

fn key(text: &str) -> Result<[u8; HASH], VerifierError> {
    let bytes = STANDARD.decode(text).map_err(|_| VerifierError::Malformed)?;
    bytes.try_into().map_err(|_| VerifierError::Malformed)
}

fn hash(bytes: &[u8]) -> [u8; HASH] {
    fixed(digest::digest(&digest::SHA256, bytes).as_ref())
}

pub(super) fn mac(key: &[u8], bytes: &[u8]) -> [u8; HASH] {
    fixed(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), bytes).as_ref())
}

fn fixed(bytes: &[u8]) -> [u8; HASH] {
    let mut fixed = [0; HASH];
    fixed.copy_from_slice(bytes);
    fixed
}
