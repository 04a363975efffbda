//! Who somebody has shown to be.

use std::time::Duration;

/// Who somebody is, and what comes with it, as a token or a web service says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// The user name, if one is given.
    pub user_name: Option<String>,
    /// The client identifier, if one is given; whether one that differs is replaced or refused is for the caller,
    /// who can use [`Identity::check_client_id`].
    pub client_id: Option<String>,
    /// The groups it belongs to.
    pub groups: Vec<String>,
    /// Filters of what may be published; no statement if `None`, nothing at all if empty.
    pub publish: Option<Vec<String>>,
    /// Filters of what may be subscribed to, likewise.
    pub subscribe: Option<Vec<String>>,
    /// Claims of a token that were to be kept, with their names.
    pub claims: Vec<(String, String)>,
    /// When this stops being true, since 1970: the connection should end then.
    pub expires_at: Option<Duration>,
}

impl Identity {
    /// Whether the client may connect by this identifier.
    ///
    /// # Errors
    /// If it is for another one.
    pub fn check_client_id(&self, client_id: &str) -> Result<(), WrongClientId> {
        match &self.client_id {
            Some(own) if own != client_id => Err(WrongClientId),
            _ => Ok(()),
        }
    }
}

/// A client has another identifier than it has shown to be allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the client identifier is not the one that it may use")]
pub struct WrongClientId;
