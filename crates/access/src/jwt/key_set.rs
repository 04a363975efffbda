//! Several keys, and which of them a token means.

use serde::Deserialize;
use serde_json::Value;

use super::algorithm::Algorithm;
use super::key::{Jwk, Key, KeyError};
use super::refusal::Refusal;

/// No set has more keys; what follows is passed over.
const MAX_KEYS: usize = 256;

/// The keys that tokens may be signed by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeySet(Vec<Key>);

/// A JWK Set (RFC 7517 §5).
#[derive(Deserialize)]
struct Jwks {
    keys: Vec<Value>,
}

/// Where a set of keys comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A file of our own, which may hold secrets.
    File,
    /// A place that others can read: a secret from there is none, and is passed over.
    Public,
}

impl KeySet {
    /// These keys. One that stands there twice counts once.
    pub fn new(keys: impl IntoIterator<Item = Key>) -> KeySet {
        let mut set = Vec::new();
        for key in keys.into_iter().take(MAX_KEYS) {
            if !set.contains(&key) {
                set.push(key);
            }
        }
        KeySet(set)
    }

    /// Reads a JSON Web Key Set. Keys of kinds that are not known, or not for signatures, are passed over
    /// (RFC 7517 §5). Those that don't say their algorithm are for those of `algorithms` that suit them, or
    /// without any for the usual one of their kind.
    ///
    /// # Errors
    /// If it is no such set, or without one usable key; then why the last one isn't.
    pub fn from_jwks(json: &[u8], algorithms: &[Algorithm], origin: Origin) -> Result<KeySet, KeyError> {
        let jwks: Jwks =
            serde_json::from_slice(json).map_err(|_| KeyError::new("it is no JSON Web Key Set"))?;
        let mut why = KeyError::new("there is no key for signatures in it");
        let mut keys = Vec::new();
        for value in jwks.keys.into_iter().take(MAX_KEYS) {
            let jwk = Jwk::deserialize(value).map_err(|_| KeyError::new("it is no JSON Web Key"));
            match jwk.and_then(|jwk| Key::from_jwk(&jwk, algorithms)) {
                Ok(Some(key)) if key.is_secret() && origin == Origin::Public => {
                    why = KeyError::new("it is a secret that everybody can read");
                }
                Ok(Some(key)) => keys.push(key),
                Ok(None) => {}
                Err(error) => why = error,
            }
        }
        if keys.is_empty() {
            return Err(KeyError(format!("no usable key in the set: {why}")));
        }
        Ok(KeySet::new(keys))
    }

    /// The keys of both.
    #[must_use]
    pub fn and(&self, other: &KeySet) -> KeySet {
        KeySet::new(self.0.iter().chain(&other.0).cloned())
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The one key that a token means: by its identifier, where the token has one and some key does, too; and by its
    /// algorithm. Nothing is tried out.
    pub(super) fn choose(&self, id: Option<&str>, algorithm: Algorithm) -> Result<&Key, Refusal> {
        if self.0.is_empty() {
            return Err(Refusal::NoKeys);
        }
        let named = |key: &&Key| id.is_none_or(|id| key.id() == Some(id));
        let mut meant: Vec<&Key> = self.0.iter().filter(named).collect();
        if meant.is_empty() {
            // Keys of PEM files have no identifier unless the configuration gives them one.
            meant = self.0.iter().filter(|key| key.id().is_none()).collect();
        }
        if meant.is_empty() {
            return Err(Refusal::UnknownKey);
        }
        meant.retain(|key| key.is_for(algorithm));
        match meant.as_slice() {
            [] => Err(Refusal::WrongAlgorithm(algorithm)),
            [key] => Ok(key),
            _ => Err(Refusal::AmbiguousKey),
        }
    }
}
