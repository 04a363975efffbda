//! Layers of bytes.

#![forbid(unsafe_code)]

pub mod cidr;
pub mod error;
pub mod facts;
pub mod forwarded;
pub mod proxy_protocol;
pub mod stack;
pub mod tls;
pub mod tunnel;
pub mod url;
pub mod websocket;

pub use error::{Blame, Error, ErrorKind};
pub use stack::{ClientOptions, Received, ServerOptions, Stack, Stage};
pub use url::Url;
