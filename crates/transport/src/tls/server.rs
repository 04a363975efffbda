//! The configuration of a listener.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, VerifierBuilderError, WebPkiClientVerifier};
use rustls::sign::SingleCertAndKey;
use rustls::time_provider::TimeProvider;

use super::{Identity, Pem, SetupError, clock, pem, provider};

/// What a listener's TLS should be like.
#[derive(Clone, Debug)]
pub struct ServerSetup<'a> {
    /// The certificate that clients see, and its key.
    pub identity: Identity<'a>,
    /// Whether clients present certificates too.
    pub client_auth: ClientAuth<'a>,
    /// Application protocols (ALPN) in the order of our preference. If there are any, a client that offers only
    /// others is refused (RFC 7301 §3.2); one that offers none is not.
    pub alpn: Vec<Vec<u8>>,
    /// The time for judging client certificates and tickets; the system's clock if `None`.
    pub clock: Option<Arc<dyn TimeProvider>>,
}

/// Whether clients present certificates, and which are believed.
#[derive(Clone, Debug, Default)]
pub enum ClientAuth<'a> {
    /// They are not asked.
    #[default]
    None,
    /// They are asked. Who has none is let in nonetheless; who presents a bad one is refused.
    Optional {
        /// The authorities that sign clients' certificates.
        ca: Vec<Pem<'a>>,
        /// Lists of those that no longer count. If there are any, the issuer of each client's certificate must have
        /// one, and it must not be out of date.
        crls: Vec<Pem<'a>>,
    },
    /// They must present one. The fields are those of `Optional`.
    Required {
        /// The authorities that sign clients' certificates.
        ca: Vec<Pem<'a>>,
        /// Lists of those that no longer count.
        crls: Vec<Pem<'a>>,
    },
}

impl<'a> ServerSetup<'a> {
    /// TLS with this certificate, for anyone.
    pub fn new(identity: Identity<'a>) -> ServerSetup<'a> {
        ServerSetup { identity, client_auth: ClientAuth::None, alpn: Vec::new(), clock: None }
    }

    /// Makes the configuration. Sessions can be resumed by tickets, which only this very configuration honours:
    /// building anew, as for a new revocation list, ends them.
    ///
    /// # Errors
    /// If a file is unusable, or the key isn't the certificate's.
    pub fn build(&self) -> Result<Arc<ServerConfig>, SetupError> {
        let provider = provider();
        let identity = pem::identity(&self.identity, &provider)?;
        let verifier = self.client_auth.verifier(&provider)?;
        let mut config = ServerConfig::builder_with_details(provider, clock(self.clock.as_ref()))
            .with_safe_default_protocol_versions()
            .map_err(|error| SetupError::new(format!("TLS: {error}")))?
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(identity)));
        config.alpn_protocols.clone_from(&self.alpn);
        config.ticketer = rustls::crypto::ring::Ticketer::new()
            .map_err(|error| SetupError::new(format!("no randomness for TLS tickets: {error}")))?;
        // Tickets hold their sessions themselves; nothing is kept here for clients that never come back.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        // A device that reconnects uses one; rustls would send two.
        config.send_tls13_tickets = 1;
        Ok(Arc::new(config))
    }
}

impl ClientAuth<'_> {
    fn verifier(&self, provider: &Arc<CryptoProvider>) -> Result<Arc<dyn ClientCertVerifier>, SetupError> {
        let (ca, crls, optional) = match self {
            ClientAuth::None => return Ok(WebPkiClientVerifier::no_client_auth()),
            ClientAuth::Optional { ca, crls } => (ca, crls, true),
            ClientAuth::Required { ca, crls } => (ca, crls, false),
        };
        let roots = Arc::new(pem::roots(ca, &[])?);
        let mut builder = WebPkiClientVerifier::builder_with_provider(roots, provider.clone());
        if optional {
            builder = builder.allow_unauthenticated();
        }
        for file in crls {
            builder = builder.with_crls(pem::revocation_lists(file)?);
        }
        if !crls.is_empty() {
            builder = builder.only_check_end_entity_revocation().enforce_revocation_expiration();
        }
        builder.build().map_err(|error| match error {
            VerifierBuilderError::NoRootAnchors => SetupError::new(
                "client certificates are asked for, but there is no CA to check them; name its file",
            ),
            error => SetupError::new(format!("client certificates cannot be checked: {error}")),
        })
    }
}
