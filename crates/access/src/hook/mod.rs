//! What this crate decides, as hooks for a broker or a proxy.

mod banned;
mod certificates;
mod grants;
mod passwords;
mod permissions;
mod rated;
mod scram;
mod service;
mod token_gate;
mod tokens;
mod topics;
mod webhooks;

pub use banned::{Banned, ByHand};
pub use certificates::Certificates;
pub use grants::{Granted, Grants};
pub use passwords::Passwords;
pub use permissions::Permissions;
pub use rated::Rated;
pub use scram::Scram;
pub use service::{Kind, WebService};
pub use token_gate::TokenGate;
pub use tokens::{TokenMethod, Tokens};
pub use topics::Topics;
pub use webhooks::{EventName, Webhooks};

use mqway_hooks::{Client, Denial};

use crate::acl::Subject;

/// Who an enhanced authentication has shown the client to be.
struct Shown(Option<Box<str>>);

/// Notes who a client is, or, if it authenticates again, that it still is.
///
/// # Errors
/// If it is somebody else now: sessions and rights go by the first.
fn shown(client: &mut Client, method: &str, user: Option<&str>) -> Result<(), Denial> {
    match client.data::<Shown>() {
        Some(Shown(before)) if before.as_deref() != user => {
            Err(Denial::not_authorized(format!("{method}: it has become another user")))
        }
        Some(_) => Ok(()),
        None => {
            client.keep(Shown(user.map(Into::into)));
            Ok(())
        }
    }
}

/// Calls `look` with what rules and topics are looked up by.
fn with_subject<T>(client: &Client, look: impl FnOnce(&Subject<'_>) -> T) -> T {
    let groups: Vec<_> = client.groups.iter().map(|group| group.to_string()).collect();
    let claims: Vec<_> =
        client.claims.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    look(&Subject {
        user: client.user_name.as_deref(),
        client_id: &client.client_id,
        groups: &groups,
        listener: &client.listener,
        transport: client.transport(),
        address: client.facts.peer.map(|peer| peer.ip()),
        claims: &claims,
    })
}
