//! Certificates made for one test: an authority, a server, a client, and a client of a stranger's authority.

use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// PEM files in a directory of their own, deleted with this value.
pub struct Certificates {
    directory: TempDir,
}

impl Certificates {
    pub fn new() -> Certificates {
        let directory = TempDir::with_prefix("mqway-certificates-").expect("a temporary directory");
        let path = directory.path();
        let issuer = authority(path, "ca", "mqway tests");
        leaf(path, "server", &issuer, ExtendedKeyUsagePurpose::ServerAuth);
        leaf(path, "client", &issuer, ExtendedKeyUsagePurpose::ClientAuth);
        let stranger = authority(path, "other-ca", "somebody else");
        leaf(path, "stranger", &stranger, ExtendedKeyUsagePurpose::ClientAuth);
        leaf(path, "impostor", &stranger, ExtendedKeyUsagePurpose::ServerAuth);
        Certificates { directory }
    }

    pub fn ca(&self) -> PathBuf {
        self.file("ca.pem")
    }

    /// One of `ca.pem`, `server.pem`, `server.key`, `client.pem`, `client.key`, `other-ca.pem`, `stranger.pem`,
    /// `stranger.key`, `impostor.pem`, `impostor.key`.
    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}

fn authority(directory: &Path, file: &str, name: &str) -> Issuer<'static, KeyPair> {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let certificate = params.self_signed(&key).unwrap();
    std::fs::write(directory.join(file).with_extension("pem"), certificate.pem()).unwrap();
    Issuer::new(params, key)
}

fn leaf(directory: &Path, file: &str, issuer: &Issuer<'_, KeyPair>, purpose: ExtendedKeyUsagePurpose) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, file);
    params.extended_key_usages.push(purpose);
    params.use_authority_key_identifier_extension = true; // OpenSSL 3 in strict mode, as Python uses it, asks for it
    let certificate = params.signed_by(&key, issuer).unwrap();
    std::fs::write(directory.join(file).with_extension("pem"), certificate.pem()).unwrap();
    std::fs::write(directory.join(file).with_extension("key"), key.serialize_pem()).unwrap();
}
