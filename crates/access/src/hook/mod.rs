//! What this crate decides, as hooks for a broker or a proxy.

mod passwords;
mod permissions;

pub use passwords::Passwords;
pub use permissions::Permissions;
