//! Password files: a line `user:hash` for each user, as `mqway passwd` and `mosquitto_passwd` write them.
//!
//! Checking a password takes as long as its hash was made to take, some tens of milliseconds of a core and 19 MiB
//! for those of `mqway passwd`. It is therefore nothing for a thread that serves connections: [`PasswordFile::check`]
//! borrows the file shared, so that any thread may do it. [`Recent`] remembers what was right lately, so that a
//! crowd that comes back after a cut is not checked at full length again.

mod edit;
mod hash;
mod recent;

use std::collections::HashMap;
use std::fmt;

pub use edit::{Edited, UserNameError, check_user_name, has_scram, remove, set};
pub use hash::{HashError, PasswordHash, Randomness};
pub use recent::Recent;

use hash::Key;

/// The longest file that is read, in bytes: some hundred thousand users.
pub const MAX_FILE: usize = 64 << 20;

/// The longest line that is read, in bytes: a user name may have 65,535 (5.0 §1.5.4).
pub const MAX_LINE: usize = 66 << 10;

/// The users of a file and the hashes of their passwords.
///
/// A line that begins with `#` and one without `:` say nothing, and those for SCRAM are for others to read. Blanks around user and hash do not count. If a user
/// has several lines the last one holds.
pub struct PasswordFile {
    users: HashMap<Box<str>, PasswordHash>,
    /// The hashes of the file, for users that it does not have; see [`PasswordFile::stand_in`].
    stand_ins: Vec<PasswordHash>,
    key: Key,
    problems: Vec<Problem>,
}

/// What [`PasswordFile::check`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checked {
    /// The password is this user's.
    Right,
    /// The user exists and the password is another.
    WrongPassword,
    /// There is no such user. Clients must not be told this apart from a wrong password.
    UnknownUser,
}

/// A line that counts for nothing, though it looks as if it should.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Its number, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub what: LineError,
}

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LineError {
    /// It is not UTF-8, as every user name is.
    #[error("is not UTF-8")]
    NotUtf8,
    /// It has no user before the `:`.
    #[error("has no user name before the colon")]
    NoUser,
    /// The hash is none that can be checked.
    #[error("the hash of {user:?} {error}")]
    Hash {
        /// Whose it is.
        user: String,
        /// What is wrong with the hash.
        error: HashError,
    },
    /// An earlier line is for the same user, and counts no more.
    #[error("{0:?} has an earlier line, too, which counts no more")]
    Twice(String),
}

/// Why a file is refused as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// It is longer than [`MAX_FILE`].
    #[error("is longer than {MAX_FILE} bytes")]
    TooLong,
    /// A line, by its number, is longer than [`MAX_LINE`].
    #[error("line {0} is longer than {MAX_LINE} bytes")]
    LineTooLong(usize),
    /// The system gave no random numbers.
    #[error(transparent)]
    Randomness(#[from] Randomness),
}

impl PasswordFile {
    /// Reads the text of a file.
    ///
    /// A single line that is no good shuts out its user alone: see [`PasswordFile::problems`].
    ///
    /// # Errors
    /// If the file or a line is too long, or if the system has no random numbers.
    pub fn parse(text: &[u8]) -> Result<PasswordFile, FileError> {
        if text.len() > MAX_FILE {
            return Err(FileError::TooLong);
        }
        let mut file = PasswordFile {
            users: HashMap::new(),
            stand_ins: Vec::new(),
            key: Key::new()?,
            problems: Vec::new(),
        };
        for (index, line) in text.split(|&byte| byte == b'\n').enumerate() {
            if line.len() > MAX_LINE {
                return Err(FileError::LineTooLong(index + 1));
            }
            if let Err(what) = file.read_line(line) {
                file.problems.push(Problem { line: index + 1, what });
            }
        }
        file.stand_ins = file.users.values().cloned().collect();
        Ok(file)
    }

    /// Whether `password` is that of `user`. Takes as long for a user who does not exist.
    pub fn check(&self, user: &str, password: &[u8]) -> Checked {
        match self.users.get(user) {
            Some(hash) if hash.verify(password) => Checked::Right,
            Some(_) => Checked::WrongPassword,
            None => {
                if let Some(stand_in) = self.stand_in(user) {
                    // The time it takes is the point, not the answer.
                    std::hint::black_box(stand_in.verify(password));
                }
                Checked::UnknownUser
            }
        }
    }

    /// Lines that count for nothing, for the log.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// How many users there are.
    pub fn len(&self) -> usize {
        self.users.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.users.is_empty()
    }

    fn read_line(&mut self, line: &[u8]) -> Result<(), LineError> {
        let Some(entry) = Entry::of(line)?.filter(|entry| !entry.is_scram()) else { return Ok(()) };
        if entry.user.is_empty() {
            return Err(LineError::NoUser);
        }
        let user = entry.user.to_owned();
        let hash: PasswordHash =
            entry.hash.parse().map_err(|error| LineError::Hash { user: user.clone(), error })?;
        match self.users.insert(user.clone().into_boxed_str(), hash) {
            Some(_) => Err(LineError::Twice(user)),
            None => Ok(()),
        }
    }

    /// The hash that an unknown user is checked against: always the same one for a name, and each kind as often as
    /// in the file, so that the time it takes tells nothing even where hashes of several kinds stand together.
    fn stand_in(&self, user: &str) -> Option<&PasswordHash> {
        let number = self.key.number(user.as_bytes());
        let index = number.checked_rem(self.stand_ins.len() as u64)?;
        self.stand_ins.get(usize::try_from(index).ok()?)
    }
}

impl fmt::Debug for PasswordFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PasswordFile").field("users", &self.users.len()).finish_non_exhaustive()
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.what)
    }
}

/// A line that is for a user.
struct Entry<'a> {
    user: &'a str,
    hash: &'a str,
}

impl<'a> Entry<'a> {
    /// `None` for a line that says nothing. What is behind a second `:` does not count, as with mosquitto.
    fn of(line: &'a [u8]) -> Result<Option<Entry<'a>>, LineError> {
        if line.starts_with(b"#") || !line.contains(&b':') {
            return Ok(None);
        }
        let line = std::str::from_utf8(line).map_err(|_| LineError::NotUtf8)?;
        let mut fields = line.split(':').map(str::trim);
        let (user, hash) = (fields.next().unwrap_or_default(), fields.next().unwrap_or_default());
        Ok(Some(Entry { user, hash }))
    }

    fn is_scram(&self) -> bool {
        self.hash.starts_with("SCRAM-")
    }
}

#[cfg(test)]
mod tests;
