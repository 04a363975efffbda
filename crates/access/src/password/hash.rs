//! Hashes of passwords: the one we make, and those that we can check.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use ring::{digest, hmac, pbkdf2};
use subtle::ConstantTimeEq;

/// The most memory that checking one password may take, in KiB; `mqway passwd` asks for 19 MiB, mosquitto for 46 MiB.
pub const MAX_MEMORY: u32 = 256 << 10;
/// The most work of Argon2, in KiB filled: memory times passes.
const MAX_WORK: u32 = 1 << 20;
/// The most lanes of Argon2. They are worked off one after the other here.
const MAX_LANES: u32 = 16;
/// The most iterations of PBKDF2: a second or so of a core.
const MAX_ITERATIONS: u32 = 2_000_000;
/// The longest salt, in bytes; 8 to 64 are usual.
const MAX_SALT: usize = 128;
/// Argon2 demands as much.
const MIN_SALT: usize = 8;
/// The length of the hashes we make, and of the salts, in bytes (RFC 9106 §3.1, §4).
const OUR_LENGTH: usize = 32;
const OUR_SALT: usize = 16;

/// A hash of a password, with all that is needed to check one.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash {
    method: Method,
    salt: Box<[u8]>,
    digest: Box<[u8]>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Method {
    /// `$argon2id$v=19$m=…,t=…,p=…$salt$hash`: ours, and mosquitto's since 2.1. Memory in KiB, passes, lanes.
    Argon2id { memory: u32, passes: u32, lanes: u32 },
    /// `$7$iterations$salt$hash`: mosquitto 2.0.
    Pbkdf2(NonZeroU32),
    /// `$6$salt$hash`: mosquitto 1.x; SHA-512 over password and salt, once.
    Sha512,
}

/// Why a text is not the hash of a password, or none that is checked here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HashError {
    /// It begins as none that is known.
    #[error("is of no known kind: expected $argon2id$, $7$ or $6$")]
    Unknown,
    /// Parts are missing, or too many, or none of the kind's.
    #[error("is not written as hashes of its kind are")]
    Malformed,
    /// Its salt or hash is no Base64, or of another length than the kind's.
    #[error("has a salt or a digest that is no Base64 or has the wrong length")]
    Encoding,
    /// It would take too much memory or time to check.
    #[error("asks for no work at all, or for more memory or time than is allowed")]
    Cost,
}

/// The system gave no random numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the system gave no random numbers")]
pub struct Randomness;

impl PasswordHash {
    /// Hashes a password with a salt of its own, by Argon2id with 19 MiB and two passes.
    ///
    /// # Errors
    /// If the system has no random numbers.
    pub fn new(password: &[u8]) -> Result<PasswordHash, Randomness> {
        let method = Method::Argon2id {
            memory: Params::DEFAULT_M_COST,
            passes: Params::DEFAULT_T_COST,
            lanes: Params::DEFAULT_P_COST,
        };
        PasswordHash::by(method, password)
    }

    /// Whether it is of `password`: how far a wrong one is right, the time does not tell.
    pub fn verify(&self, password: &[u8]) -> bool {
        let mut digest = vec![0; self.digest.len()];
        self.method.hash(password, &self.salt, &mut digest) && bool::from(digest.ct_eq(&self.digest))
    }

    fn by(method: Method, password: &[u8]) -> Result<PasswordHash, Randomness> {
        let mut salt = [0; OUR_SALT];
        getrandom::fill(&mut salt).map_err(|_| Randomness)?;
        let mut digest = [0; OUR_LENGTH];
        // Our own parameters are good; only a system without memory fails, and the hash of zeros that would come of
        // it must not go out.
        if !method.hash(password, &salt, &mut digest) {
            return Err(Randomness);
        }
        Ok(PasswordHash { method, salt: salt.into(), digest: digest.into() })
    }
}

impl Method {
    /// Fills `digest`; false if it cannot be done, for want of memory.
    fn hash(self, password: &[u8], salt: &[u8], digest: &mut [u8]) -> bool {
        match self {
            Method::Argon2id { memory, passes, lanes } => Params::new(memory, passes, lanes, None)
                .and_then(|params| {
                    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
                        .hash_password_into(password, salt, digest)
                })
                .is_ok(),
            Method::Pbkdf2(iterations) => {
                pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA512, iterations, salt, password, digest);
                true
            }
            Method::Sha512 => {
                let mut context = digest::Context::new(&digest::SHA512);
                context.update(password);
                context.update(salt);
                digest.copy_from_slice(context.finish().as_ref());
                true
            }
        }
    }
}

impl FromStr for PasswordHash {
    type Err = HashError;

    fn from_str(text: &str) -> Result<PasswordHash, HashError> {
        let mut parts = text.split('$');
        if parts.next() != Some("") {
            return Err(HashError::Unknown);
        }
        let kind = parts.next().ok_or(HashError::Unknown)?;
        let mut next = || parts.next().ok_or(HashError::Malformed);
        let method = match kind {
            "argon2id" => argon2id(next()?, next()?)?,
            "7" => Method::Pbkdf2(iterations(next()?)?),
            "6" => Method::Sha512,
            _ => return Err(HashError::Unknown),
        };
        let (salt, digest) = (decode(next()?)?, decode(next()?)?);
        if parts.next().is_some() {
            return Err(HashError::Malformed);
        }
        let (least_salt, digest_lengths) = match method {
            Method::Argon2id { .. } => (MIN_SALT, 16..=64),
            Method::Pbkdf2(_) | Method::Sha512 => (1, digest::SHA512_OUTPUT_LEN..=digest::SHA512_OUTPUT_LEN),
        };
        if !(least_salt..=MAX_SALT).contains(&salt.len()) || !digest_lengths.contains(&digest.len()) {
            return Err(HashError::Encoding);
        }
        Ok(PasswordHash { method, salt: salt.into(), digest: digest.into() })
    }
}

/// As in the file.
impl fmt::Display for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let padded = base64::engine::general_purpose::STANDARD;
        let bare = base64::engine::general_purpose::STANDARD_NO_PAD;
        let (engine, prefix) = match self.method {
            Method::Argon2id { memory, passes, lanes } => {
                (bare, format!("argon2id$v=19$m={memory},t={passes},p={lanes}"))
            }
            Method::Pbkdf2(iterations) => (padded, format!("7${iterations}")),
            Method::Sha512 => (padded, "6".to_owned()),
        };
        write!(f, "${prefix}${}${}", engine.encode(&self.salt), engine.encode(&self.digest))
    }
}

/// Says how it was made, not what it is: hashes have no place in logs.
impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PasswordHash").field(&self.method).finish()
    }
}

fn argon2id(version: &str, parameters: &str) -> Result<Method, HashError> {
    if version != "v=19" {
        return Err(HashError::Malformed);
    }
    let mut parameters = parameters.split(',');
    let mut next = |name: &str| -> Result<u32, HashError> {
        let value = parameters.next().and_then(|parameter| parameter.strip_prefix(name));
        number(value.ok_or(HashError::Malformed)?)
    };
    let (memory, passes, lanes) = (next("m=")?, next("t=")?, next("p=")?);
    if parameters.next().is_some() {
        return Err(HashError::Malformed);
    }
    let affordable = memory <= MAX_MEMORY
        && lanes <= MAX_LANES
        && memory.checked_mul(passes).is_some_and(|work| work <= MAX_WORK);
    if !affordable || Params::new(memory, passes, lanes, None).is_err() {
        return Err(HashError::Cost);
    }
    Ok(Method::Argon2id { memory, passes, lanes })
}

fn iterations(text: &str) -> Result<NonZeroU32, HashError> {
    let iterations = NonZeroU32::new(number(text)?).ok_or(HashError::Cost)?;
    if iterations.get() <= MAX_ITERATIONS { Ok(iterations) } else { Err(HashError::Cost) }
}

/// A decimal number; one that is too large for any use asks for too much.
fn number(text: &str) -> Result<u32, HashError> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(HashError::Malformed);
    }
    text.parse().map_err(|_| HashError::Cost)
}

/// Base64 with or without padding: mosquitto writes it with, PHC strings are without.
fn decode(text: &str) -> Result<Vec<u8>, HashError> {
    let lenient = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    GeneralPurpose::new(&STANDARD, lenient).decode(text).map_err(|_| HashError::Encoding)
}

/// A key that lives as long as its owner, for hashes that nobody outside can foresee.
pub(super) struct Key(hmac::Key);

impl Key {
    pub fn new() -> Result<Key, Randomness> {
        let mut bytes = [0; digest::SHA256_OUTPUT_LEN];
        getrandom::fill(&mut bytes).map_err(|_| Randomness)?;
        Ok(Key(hmac::Key::new(hmac::HMAC_SHA256, &bytes)))
    }

    /// A number that stands for `bytes`.
    pub fn number(&self, bytes: &[u8]) -> u64 {
        hmac::sign(&self.0, bytes).as_ref().first_chunk().map_or(0, |first| u64::from_le_bytes(*first))
    }

    /// A digest that stands for user, password and the hash that it was found to fit.
    pub fn tag(&self, user: &str, password: &[u8], hash: &PasswordHash) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.0);
        // With their lengths in front, no two different triples are the same bytes.
        for part in [user.as_bytes(), password, &hash.salt, &hash.digest] {
            context.update(&(part.len() as u64).to_le_bytes());
            context.update(part);
        }
        let mut tag = [0; 32];
        tag.copy_from_slice(context.sign().as_ref());
        tag
    }
}

#[cfg(test)]
impl PasswordHash {
    /// By Argon2id with as little work as it can do.
    pub fn quick(password: &[u8]) -> PasswordHash {
        PasswordHash::by(Method::Argon2id { memory: 8, passes: 1, lanes: 1 }, password).unwrap()
    }
}
