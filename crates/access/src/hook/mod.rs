//! What this crate decides, as hooks for a broker or a proxy.

mod certificates;
mod grants;
mod passwords;
mod permissions;
mod scram;
mod tokens;

pub use certificates::Certificates;
pub use grants::{Granted, Grants};
pub use passwords::Passwords;
pub use permissions::Permissions;
pub use scram::Scram;
pub use tokens::{TokenMethod, Tokens};

use mqway_hooks::{Client, Denial};

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
