//! Passwords that were found right a short while ago.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::hash::{Key, Randomness};
use super::{Checked, PasswordFile};

/// Remembers, for a limited time, which passwords were found right.
///
/// A thousand clients that come back after a cut cost half a minute of a core if each password is hashed again as
/// slowly as it should be; looked up here, each costs a microsecond. What is kept is a keyed hash of user, password
/// and the file's hash, under a key that never leaves the process: a password that is changed or taken away is
/// forgotten with its line, and one that was wrong is never known. The price is that who reads this process's memory
/// can try passwords quickly; such a reader sees the passwords of the clients that connect anyway.
pub struct Recent {
    key: Key,
    lifetime: Duration,
    capacity: usize,
    /// When each was found right.
    found: Mutex<HashMap<[u8; 32], Duration>>,
}

impl Recent {
    /// Remembers at most `capacity` passwords, each for at most `lifetime`. With a capacity of 0, none.
    ///
    /// # Errors
    /// If the system has no random numbers.
    pub fn new(capacity: usize, lifetime: Duration) -> Result<Recent, Randomness> {
        Ok(Recent { key: Key::new()?, lifetime, capacity, found: Mutex::default() })
    }

    /// Whether this password was found right lately and the file still says the same: if not, it is to be checked.
    /// Quick. `now` is the time since any fixed moment, the same one for all calls.
    pub fn knows(&self, file: &PasswordFile, user: &str, password: &[u8], now: Duration) -> bool {
        let Some(hash) = file.users.get(user) else { return false };
        let tag = self.key.tag(user, password, hash);
        let found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        found.get(&tag).is_some_and(|&since| now.saturating_sub(since) < self.lifetime)
    }

    /// [`PasswordFile::check`], and remembers if it was right. When full, what is old goes; if nothing is, half goes.
    pub fn check(&self, file: &PasswordFile, user: &str, password: &[u8], now: Duration) -> Checked {
        let checked = file.check(user, password);
        if checked == Checked::Right
            && self.capacity > 0
            && let Some(hash) = file.users.get(user)
        {
            let tag = self.key.tag(user, password, hash);
            let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
            if found.len() >= self.capacity {
                found.retain(|_, &mut since| now.saturating_sub(since) < self.lifetime);
            }
            if found.len() >= self.capacity {
                // Tags are as good as random: any half will do.
                found.retain(|tag, _| tag[0] & 1 == 0);
            }
            if found.len() >= self.capacity {
                found.clear();
            }
            found.insert(tag, now);
        }
        checked
    }
}

#[cfg(test)]
impl Recent {
    pub(super) fn len(&self) -> usize {
        self.found.lock().unwrap().len()
    }
}

impl fmt::Debug for Recent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recent").field("capacity", &self.capacity).finish_non_exhaustive()
    }
}
