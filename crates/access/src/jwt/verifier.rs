//! Tokens checked by keys that are configured and keys that are fetched.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{KeySet, Refusal, Rules};
use crate::identity::Identity;
use crate::jwks::Jwks;
use crate::token::Token;

/// What becomes of a token.
pub type Verdict = Result<Identity, Refusal>;

/// Rules and keys together.
pub struct Verifier {
    rules: Rules,
    keys: KeySet,
    jwks: Option<Arc<Jwks>>,
}

impl Verifier {
    /// Checks by `keys`, and by those that `jwks` has, if it is given.
    pub fn new(rules: Rules, keys: KeySet, jwks: Option<Arc<Jwks>>) -> Verifier {
        Verifier { rules, keys, jwks }
    }

    /// Checks `token` by the keys that are at hand, `now` being the time since 1970.
    ///
    /// # Errors
    /// The first reason against it.
    pub fn verify(&self, token: &Token, now: Duration) -> Verdict {
        match &self.jwks {
            None => self.rules.verify(token, &self.keys, now),
            Some(jwks) if self.keys.is_empty() => self.rules.verify(token, &jwks.keys(), now),
            Some(jwks) => self.rules.verify(token, &self.keys.and(&jwks.keys()), now),
        }
    }

    /// Checks `token`, and where its key is missing but may be there after a fetch, later: then `None` comes back, and
    /// `then` is called on another thread, once and within the time limit of the fetch.
    pub fn decide(
        self: &Arc<Verifier>,
        token: &Token,
        now: Duration,
        then: impl FnOnce(Verdict) + Send + 'static,
    ) -> Option<Verdict> {
        let verdict = self.verify(token, now);
        let (Some(jwks), Err(Refusal::UnknownKey | Refusal::NoKeys)) = (&self.jwks, &verdict) else {
            return Some(verdict);
        };
        let (again, token, asked) = (Arc::downgrade(self), token.clone(), Instant::now());
        let later = move || {
            let verdict =
                again.upgrade().map(|verifier| verifier.verify(&token, now.saturating_add(asked.elapsed())));
            then(verdict.unwrap_or(Err(Refusal::NoKeys)));
        };
        match jwks.refetch(Box::new(later)) {
            Ok(()) => None,
            Err(_) => Some(verdict),
        }
    }

    /// The keys that are fetched, if any are.
    pub fn jwks(&self) -> Option<&Jwks> {
        self.jwks.as_deref()
    }
}
