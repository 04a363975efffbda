//! TLS 1.2 and 1.3 by rustls: configurations made of PEM, and the layer of one connection.
//!
//! [`ServerSetup`] and [`ClientSetup`] say what is wanted and are built into the configurations that
//! [`ServerOptions`](crate::ServerOptions) and [`ClientOptions`](crate::ClientOptions) take. Files and the system's
//! certificate store are for the caller to read. What cannot be built is explained by a [`SetupError`]: which file,
//! what is wrong with it, how to mend it.
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use mqway_transport::tls::{ClientAuth, Identity, Pem, ServerSetup};
//!
//! let (chain, key, ca) = (std::fs::read("server.pem")?, std::fs::read("server.key")?, std::fs::read("ca.pem")?);
//! let identity = Identity {
//!     chain: Pem { name: "server.pem", bytes: &chain },
//!     key: Pem { name: "server.key", bytes: &key },
//! };
//! let mut setup = ServerSetup::new(identity);
//! setup.client_auth = ClientAuth::Required { ca: vec![Pem { name: "ca.pem", bytes: &ca }], crls: Vec::new() };
//! let config = setup.build()?; // for ServerOptions::tls
//! # let _ = config;
//! # Ok(())
//! # }
//! ```

use std::fmt;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls_pki_types::ServerName;

mod client;
mod explain;
mod insecure;
mod layer;
mod pem;
mod pinned;
mod server;
mod validity;

pub use client::ClientSetup;
pub use server::{ClientAuth, ServerSetup};
pub use validity::{Validity, check_validity};

pub(crate) use explain::explain;
pub(crate) use layer::Layer;

/// The contents of a PEM file, and what to call it in messages.
#[derive(Clone, Copy, Debug)]
pub struct Pem<'a> {
    /// A file name, usually.
    pub name: &'a str,
    /// What is in it.
    pub bytes: &'a [u8],
}

/// A chain of certificates, our own first, and the private key that belongs to it.
#[derive(Clone, Copy, Debug)]
pub struct Identity<'a> {
    /// The certificate and those between it and the root.
    pub chain: Pem<'a>,
    /// The private key: PKCS #8, PKCS #1 or SEC 1, not encrypted.
    pub key: Pem<'a>,
}

/// Why a TLS configuration cannot be built; one line for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetupError(String);

/// The name of a server as TLS wants it: for its certificate, and for SNI if it isn't an address.
///
/// # Errors
/// If it is neither an IP address nor a host name.
pub fn server_name(host: &str) -> Result<ServerName<'static>, SetupError> {
    ServerName::try_from(host.to_owned()).map_err(|_| {
        SetupError(format!("{host:?} is not a host name that a certificate could be issued for"))
    })
}

impl SetupError {
    fn new(message: impl Into<String>) -> SetupError {
        SetupError(message.into())
    }

    /// Says something about one file.
    fn about(file: &str, message: impl fmt::Display) -> SetupError {
        SetupError(format!("{file}: {message}"))
    }
}

impl fmt::Display for SetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for SetupError {}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Where configurations take the time from: the caller's clock, or else the system's, read by rustls.
fn clock(
    given: Option<&Arc<dyn rustls::time_provider::TimeProvider>>,
) -> Arc<dyn rustls::time_provider::TimeProvider> {
    given.cloned().unwrap_or_else(|| Arc::new(rustls::time_provider::DefaultTimeProvider))
}
