//! What this crate decides, as hooks for a broker or a proxy.

mod passwords;

pub use passwords::Passwords;
