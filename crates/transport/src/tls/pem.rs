//! Certificates, keys and revocation lists out of PEM.

use std::sync::Arc;

use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::sign::{CertifiedKey, SigningKey};
use rustls_pki_types::pem::{self, PemObject, SectionKind};
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};

use super::{Identity, Pem, SetupError};

/// Every certificate of the file, at least one.
pub(super) fn certificates(file: &Pem<'_>) -> Result<Vec<CertificateDer<'static>>, SetupError> {
    let found = items(file)?;
    if found.is_empty() {
        let hint = if contains(file, "PRIVATE KEY") {
            "it holds a private key; are certificate and key swapped?"
        } else if contains(file, "CERTIFICATE REQUEST") {
            "it holds a certificate request, which an authority has yet to sign"
        } else if is_der(file) {
            "it looks like DER; convert it with: openssl x509 -inform der -in FILE"
        } else {
            "it should contain -----BEGIN CERTIFICATE-----"
        };
        return Err(SetupError::about(file.name, format!("no certificate in it; {hint}")));
    }
    Ok(found)
}

/// Trust anchors from the files and from certificates that the caller has at hand.
pub(super) fn roots(files: &[Pem<'_>], given: &[CertificateDer<'_>]) -> Result<RootCertStore, SetupError> {
    let mut store = RootCertStore::empty();
    // Some systems' stores hold certificates that nobody can parse; they are of no use, and do no harm.
    store.add_parsable_certificates(given.iter().cloned());
    for file in files {
        for certificate in certificates(file)? {
            store.add(certificate).map_err(|error| {
                SetupError::about(file.name, format!("not the certificate of an authority: {error}"))
            })?;
        }
    }
    Ok(store)
}

/// Certificate revocation lists, at least one.
pub(super) fn revocation_lists(
    file: &Pem<'_>,
) -> Result<Vec<CertificateRevocationListDer<'static>>, SetupError> {
    let found: Vec<_> = items(file)?;
    match found.is_empty() {
        true => Err(SetupError::about(
            file.name,
            "no revocation list in it; it should contain -----BEGIN X509 CRL-----",
        )),
        false => Ok(found),
    }
}

/// Chain and key, known to belong together.
pub(super) fn identity(
    identity: &Identity<'_>,
    provider: &CryptoProvider,
) -> Result<Arc<CertifiedKey>, SetupError> {
    let Identity { chain, key } = identity;
    let certificates = certificates(chain)?;
    let signer = private_key(key, provider)?;
    let matches = |certificate: &CertificateDer<'static>| {
        CertifiedKey::new(vec![certificate.clone()], signer.clone()).keys_match()
    };
    match certificates.first().map(matches) {
        None | Some(Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown))) => {}
        Some(Err(rustls::Error::InconsistentKeys(_))) => {
            let hint = match certificates.iter().position(|certificate| matches(certificate).is_ok()) {
                Some(at) => format!("it belongs to certificate {} there; put that one first", at + 1),
                None => "use the key that the certificate was requested with".to_owned(),
            };
            let what = format!("the key does not match the first certificate in {}; {hint}", chain.name);
            return Err(SetupError::about(key.name, what));
        }
        Some(Err(error)) => {
            return Err(SetupError::about(chain.name, format!("its first certificate is unusable: {error}")));
        }
    }
    Ok(Arc::new(CertifiedKey::new(certificates, signer)))
}

fn private_key(file: &Pem<'_>, provider: &CryptoProvider) -> Result<Arc<dyn SigningKey>, SetupError> {
    // Both ways to encrypt a key: PKCS #8 has a label of its own, the older one a header inside.
    if contains(file, "ENCRYPTED") {
        let how = "decrypt it with: openssl pkey -in FILE -out PLAIN";
        return Err(SetupError::about(file.name, format!("the private key is encrypted; {how}")));
    }
    let mut keys = items::<PrivateKeyDer<'static>>(file)?.into_iter();
    let Some(key) = keys.next() else {
        let hint = if contains(file, "BEGIN CERTIFICATE") {
            "it holds a certificate; are certificate and key swapped?"
        } else if is_der(file) {
            "it looks like DER; convert it with: openssl pkey -inform der -in FILE"
        } else {
            "it should contain -----BEGIN PRIVATE KEY-----"
        };
        return Err(SetupError::about(file.name, format!("no private key in it; {hint}")));
    };
    provider.key_provider.load_private_key(key).map_err(|error| {
        let why = match error {
            rustls::Error::General(why) => why,
            error => error.to_string(),
        };
        SetupError::about(file.name, format!("unusable private key: {why}"))
    })
}

/// The sections of one kind; damaged PEM is an error, other kinds are passed over.
fn items<T: PemObject>(file: &Pem<'_>) -> Result<Vec<T>, SetupError> {
    let mut found = Vec::new();
    for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(file.bytes) {
        let (kind, der) = section.map_err(|error| SetupError::about(file.name, damaged(error)))?;
        found.extend(T::from_pem(kind, der));
    }
    Ok(found)
}

fn damaged(error: pem::Error) -> String {
    match error {
        pem::Error::MissingSectionEnd { .. } => "damaged PEM: a section has no -----END line".into(),
        pem::Error::IllegalSectionStart { .. } => "damaged PEM: a -----BEGIN line is malformed".into(),
        pem::Error::Base64Decode(_) => "damaged PEM: a section is not base64".into(),
        error => format!("damaged PEM: {error}"),
    }
}

fn contains(file: &Pem<'_>, label: &str) -> bool {
    file.bytes.windows(label.len()).any(|window| window == label.as_bytes())
}

/// Whether this begins as every DER certificate and key does: a SEQUENCE of more than 127 bytes.
fn is_der(file: &Pem<'_>) -> bool {
    matches!(file.bytes, [0x30, 0x81 | 0x82, ..])
}
