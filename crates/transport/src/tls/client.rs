//! The configuration for dialling.

use std::sync::Arc;

use rustls::ClientConfig;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::CryptoProvider;
use rustls::sign::SingleCertAndKey;
use rustls::time_provider::TimeProvider;
use rustls_pki_types::CertificateDer;

use super::insecure::NoVerification;
use super::pinned::ChainOrPinned;
use super::{Identity, Pem, SetupError, clock, pem, provider};

/// What the TLS to a server should be like.
#[derive(Clone, Debug, Default)]
pub struct ClientSetup<'a> {
    /// Authorities that the caller has at hand, such as the system's. Those that cannot be parsed are passed over.
    pub roots: &'a [CertificateDer<'static>],
    /// Files of authorities; every certificate in them is trusted, and must be usable. A server may also present
    /// one of these very certificates, as self-made ones are.
    pub ca: Vec<Pem<'a>>,
    /// Lists of certificates that no longer count. If there are any, the issuer of the server's certificate must
    /// have one, and it must not be out of date.
    pub crls: Vec<Pem<'a>>,
    /// Our own certificate and key, for servers that ask.
    pub identity: Option<Identity<'a>>,
    /// Application protocols (ALPN) to offer in the order of our preference.
    pub alpn: Vec<Vec<u8>>,
    /// Whoever answers is believed to be the server: no check of its certificate at all. Passive listeners still
    /// learn nothing, anyone in between may learn everything.
    pub insecure: bool,
    /// The time for judging the server's certificate; the system's clock if `None`.
    pub clock: Option<Arc<dyn TimeProvider>>,
}

impl ClientSetup<'_> {
    /// Makes the configuration. Sessions are resumed where the server allows it.
    ///
    /// # Errors
    /// If a file is unusable, the key isn't the certificate's, or nobody at all would be trusted.
    pub fn build(&self) -> Result<Arc<ClientConfig>, SetupError> {
        let provider = provider();
        let verifier = self.verifier(&provider)?;
        let identity = match &self.identity {
            Some(identity) => Some(pem::identity(identity, &provider)?),
            None => None,
        };
        let builder = ClientConfig::builder_with_details(provider, clock(self.clock.as_ref()))
            .with_safe_default_protocol_versions()
            .map_err(|error| SetupError::new(format!("TLS: {error}")))?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let mut config = match identity {
            Some(identity) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(identity))),
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols.clone_from(&self.alpn);
        Ok(Arc::new(config))
    }

    fn verifier(&self, provider: &Arc<CryptoProvider>) -> Result<Arc<dyn ServerCertVerifier>, SetupError> {
        if self.insecure {
            return Ok(Arc::new(NoVerification::new(provider)));
        }
        let roots = pem::roots(&self.ca, self.roots)?;
        if roots.is_empty() {
            return Err(SetupError::new(
                "no certificate authority to trust: the system's store is empty; name a CA file",
            ));
        }
        let mut builder = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone());
        for file in &self.crls {
            builder = builder.with_crls(pem::revocation_lists(file)?);
        }
        if !self.crls.is_empty() {
            builder = builder.only_check_end_entity_revocation().enforce_revocation_expiration();
        }
        let chain = builder
            .build()
            .map_err(|error| SetupError::new(format!("server certificates cannot be checked: {error}")))?;
        let pinned: Result<Vec<_>, _> = self.ca.iter().map(pem::certificates).collect();
        Ok(Arc::new(ChainOrPinned::new(chain, pinned?.concat())))
    }
}
