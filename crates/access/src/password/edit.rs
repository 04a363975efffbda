//! Changes to the text of a password file that leave everything else in it as it is.

use super::{Entry, MAX_FILE, PasswordHash};
use crate::scram::Verifier;

/// The longest user name that CONNECT can carry, in bytes (5.0 §1.5.4).
const MAX_USER_NAME: usize = 65_535;

/// A file after a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edited {
    /// The text to write.
    pub text: Vec<u8>,
    /// Whether the user had a line before.
    pub existed: bool,
}

/// Why nobody can have a line under such a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UserNameError {
    /// There is nothing.
    #[error("is empty")]
    Empty,
    /// It does not fit into a CONNECT.
    #[error("is longer than {MAX_USER_NAME} bytes")]
    TooLong,
    /// `:` ends the name in a file.
    #[error("contains a colon")]
    Colon,
    /// A line that begins with `#` is a comment.
    #[error("begins with #")]
    Comment,
    /// Blanks around it would not count.
    #[error("begins or ends with a blank")]
    Blank,
    /// A line end, or another control character.
    #[error("contains a control character")]
    Control,
}

/// Whether a line of a password file can be for this user.
///
/// # Errors
/// Says what is in the way.
pub fn check_user_name(user: &str) -> Result<(), UserNameError> {
    match user {
        "" => Err(UserNameError::Empty),
        _ if user.len() > MAX_USER_NAME => Err(UserNameError::TooLong),
        _ if user.contains(':') => Err(UserNameError::Colon),
        _ if user.starts_with('#') => Err(UserNameError::Comment),
        _ if user.chars().any(char::is_control) => Err(UserNameError::Control),
        _ if user.trim() != user => Err(UserNameError::Blank),
        _ => Ok(()),
    }
}

/// Gives `user` this hash and this verifier: in the place of the first line that the user has, else at the end. The
/// user's other lines go, lest an old password stays good; those of others stay byte for byte. `None` if the file
/// would become longer than [`MAX_FILE`].
///
/// # Errors
/// If no line can be for such a user.
pub fn set(
    text: &[u8],
    user: &str,
    hash: &PasswordHash,
    scram: Option<&Verifier>,
) -> Result<Option<Edited>, UserNameError> {
    check_user_name(user)?;
    let mut lines = format!("{user}:{hash}\n");
    if let Some(verifier) = scram {
        lines.push_str(&format!("{user}:{verifier}\n"));
    }
    let mut edited = replace(text, user, lines.as_bytes());
    if !edited.existed {
        if !edited.text.is_empty() && !edited.text.ends_with(b"\n") {
            edited.text.push(b'\n');
        }
        edited.text.extend_from_slice(lines.as_bytes());
    }
    Ok((edited.text.len() <= MAX_FILE).then_some(edited))
}

/// Takes away every line of `user`, and nothing else.
pub fn remove(text: &[u8], user: &str) -> Edited {
    replace(text, user, &[])
}

/// Whether `user` has a line for SCRAM: one that has to be renewed with the password.
pub fn has_scram(text: &[u8], user: &str) -> bool {
    text.split(|&byte| byte == b'\n')
        .any(|line| matches!(Entry::of(line), Ok(Some(entry)) if entry.user == user && entry.is_scram()))
}

/// Puts `lines` in the place of the user's first line, and nothing in that of the others.
fn replace(text: &[u8], user: &str, lines: &[u8]) -> Edited {
    let mut edited = Edited { text: Vec::with_capacity(text.len()), existed: false };
    for old in text.split_inclusive(|&byte| byte == b'\n') {
        let is_users = matches!(Entry::of(old), Ok(Some(entry)) if entry.user == user);
        if !is_users {
            edited.text.extend_from_slice(old);
        } else if !edited.existed {
            edited.text.extend_from_slice(lines);
        }
        edited.existed |= is_users;
    }
    edited
}
