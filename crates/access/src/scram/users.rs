//! A file of users: a line `user:SCRAM-SHA-256$…` for each.

use std::collections::HashMap;

use super::prepare::prepare;
use super::verifier::{DEFAULT_ITERATIONS, Verifier, mac};

/// The users that can authenticate, and what keeps others from finding out who they are.
#[derive(Clone, Debug)]
pub struct ScramUsers {
    users: HashMap<Box<str>, Verifier>,
    decoy: Decoy,
    /// What most of the users have: what decoys have, too.
    iterations: u32,
}

/// A secret from which salts are made for users who don't exist: the same for the same name each time, as a real one's
/// would be. One that is kept over restarts keeps up appearances over them, too.
#[derive(Clone)]
pub struct Decoy(pub [u8; 32]);

impl std::fmt::Debug for Decoy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

impl ScramUsers {
    /// Reads a file. Of a user's lines the last one holds. Lines that begin with `#`, and those without a hash of this
    /// method, are passed over, so that one file may serve several methods.
    ///
    /// # Errors
    /// The number of the first line, from 1, whose user or hash is malformed, and why.
    pub fn parse(text: &str, decoy: Decoy) -> Result<ScramUsers, (usize, String)> {
        let mut users = HashMap::new();
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim();
            if line.starts_with('#') {
                continue;
            }
            let Some((user, verifier)) = split(line) else { continue };
            let name = prepare(user).filter(|name| !name.is_empty());
            let name =
                name.ok_or_else(|| (number, "the user name has characters that are forbidden".to_owned()))?;
            let verifier: Verifier = verifier.parse().map_err(|error| (number, format!("{error}")))?;
            users.insert(name.into(), verifier);
        }
        Ok(ScramUsers::new(users, decoy))
    }

    fn new(users: HashMap<Box<str>, Verifier>, decoy: Decoy) -> ScramUsers {
        let mut counts = HashMap::new();
        for verifier in users.values() {
            *counts.entry(verifier.iterations()).or_insert(0_usize) += 1;
        }
        let usual = counts.into_iter().max_by_key(|&(iterations, count)| (count, iterations));
        let iterations = usual.map_or(DEFAULT_ITERATIONS, |(iterations, _)| iterations);
        ScramUsers { users, decoy, iterations }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.users.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.users.is_empty()
    }

    pub(super) fn find(&self, user: &str) -> Option<&Verifier> {
        self.users.get(user)
    }

    /// For somebody who isn't there. The salt is as long as those of `mqway passwd` and PostgreSQL.
    pub(super) fn decoy(&self, user: &str) -> Verifier {
        let salt = mac(&self.decoy.0, user.as_bytes());
        Verifier::decoy(self.iterations, salt[..16].to_vec())
    }
}

/// A user name may have colons, and so has the verifier: it begins where it says so.
fn split(line: &str) -> Option<(&str, &str)> {
    let at = line.find(":SCRAM-SHA-256$")?;
    Some((&line[..at], &line[at + 1..]))
}
