//! How text is hashed.

use std::hash::{BuildHasher, DefaultHasher, Hasher, RandomState};

/// The hash function of the standard library's maps, with a key that can be told: SipHash, so that who does not know the
/// key cannot choose texts whose hashes meet.
#[derive(Clone, Copy)]
pub(crate) struct Key(u64);

impl Key {
    pub const fn new(key: u64) -> Self {
        Self(key)
    }

    pub fn random() -> Self {
        Self(RandomState::new().hash_one(0))
    }
}

impl BuildHasher for Key {
    type Hasher = DefaultHasher;

    fn build_hasher(&self) -> DefaultHasher {
        let mut hasher = DefaultHasher::new();
        hasher.write_u64(self.0);
        hasher
    }
}
