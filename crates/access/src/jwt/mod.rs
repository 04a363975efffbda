//! JSON Web Tokens: signed by a key that is trusted here, good now, meant for this server, and saying who holds them.
//!
//! ```
//! use std::time::Duration;
//!
//! use mqway_access::jwt::{Key, KeySet, Refusal, Rules};
//! use mqway_access::token::Token;
//!
//! let keys = KeySet::new([Key::from_secret(b"0123456789abcdef0123456789abcdef", &[])?]);
//! let unsigned = Token::new("eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbm4ifQ.");
//! let now = Duration::from_secs(1_700_000_000);
//! assert_eq!(Rules::default().verify(&unsigned, &keys, now), Err(Refusal::Unsigned));
//! # Ok::<(), mqway_access::jwt::KeyError>(())
//! ```

use std::time::Duration;

use serde::Deserialize;

use crate::identity::Identity;
use crate::token::Token;

mod algorithm;
mod claims;
mod compact;
mod key;
mod key_set;
mod refusal;
mod verifier;

#[cfg(test)]
mod tests;

pub use algorithm::Algorithm;
pub use key::{Key, KeyError};
pub use key_set::{KeySet, Origin};
pub use refusal::Refusal;
pub use verifier::{Verdict, Verifier};

/// What a token must be like, and what its claims mean.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// The longest token, in bytes. What is longer is not looked into.
    pub max_length: usize,
    /// How far the clock of who made the token may be from ours.
    pub leeway: Duration,
    /// Whether a token without an end (`exp`) is refused.
    pub must_expire: bool,
    /// Who may have made it (`iss`); anybody with a key if empty.
    pub issuers: Vec<String>,
    /// Names of ours, one of which it must be meant for (`aud`). If empty, it must name nobody.
    pub audiences: Vec<String>,
    /// Which claim says what.
    pub claims: ClaimNames,
}

/// Which claim says what. One inside another is named by its path, `/realm_access/roles` (RFC 6901).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClaimNames {
    /// Who it is; if `None`, the user name of CONNECT stands.
    pub user_name: Option<String>,
    /// Which client identifier it is for.
    pub client_id: Option<String>,
    /// To which groups it belongs: a list, or one text with spaces between. None of them if it isn't there.
    pub groups: Option<String>,
    /// What may be published: a list of topic filters. Nothing if it isn't there.
    pub publish: Option<String>,
    /// What may be subscribed to, likewise.
    pub subscribe: Option<String>,
    /// Others to keep, where they are there, for rules that name them.
    pub keep: Vec<String>,
}

impl Rules {
    /// Checks `token` by `keys`, `now` being the time since 1970.
    ///
    /// # Errors
    /// The first reason against it. Nothing a token says is looked at before its signature is known to be right.
    pub fn verify(&self, token: &Token, keys: &KeySet, now: Duration) -> Result<Identity, Refusal> {
        let token = token.reveal();
        if token.len() > self.max_length {
            return Err(Refusal::TooLong { most: self.max_length });
        }
        let compact = compact::Compact::parse(token)?;
        let key = keys.choose(compact.key.as_deref(), compact.algorithm)?;
        if !key.verify(compact.algorithm, compact.signed.as_bytes(), &compact.signature) {
            return Err(Refusal::BadSignature);
        }
        claims::Claims(compact.claims()?).judge(self, now)
    }
}

impl Default for Rules {
    fn default() -> Rules {
        Rules {
            max_length: 8 * 1024,
            leeway: Duration::from_secs(10),
            must_expire: true,
            issuers: Vec::new(),
            audiences: Vec::new(),
            claims: ClaimNames::default(),
        }
    }
}

impl Default for ClaimNames {
    fn default() -> ClaimNames {
        ClaimNames {
            user_name: Some("sub".to_owned()),
            client_id: None,
            groups: None,
            publish: None,
            subscribe: None,
            keep: Vec::new(),
        }
    }
}
