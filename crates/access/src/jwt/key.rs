//! Keys, each bound to what it may verify.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::{hmac, signature};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, SubjectPublicKeyInfoDer};
use serde::Deserialize;
use thiserror::Error;
use x509_cert::Certificate;
use x509_cert::der::asn1::{ObjectIdentifier, UintRef};
use x509_cert::der::{Decode, Encode, Reader, SliceReader};
use x509_cert::spki::SubjectPublicKeyInfoRef;

use super::algorithm::Algorithm;

const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const ELLIPTIC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");

/// Lengths of an RSA modulus in bytes: less can be broken (RFC 7518 §3.3), more costs too much to check.
const RSA_BYTES: std::ops::RangeInclusive<usize> = 256..=1024;

/// Why there is no key in what should be one.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct KeyError(pub(super) String);

impl KeyError {
    pub(super) fn new(text: impl Into<String>) -> KeyError {
        KeyError(text.into())
    }
}

/// A key, the algorithms it is for, and the identifier that tokens name it by. Nothing of it is shown by `Debug` but
/// these two.
#[derive(Clone, PartialEq, Eq)]
pub struct Key {
    id: Option<String>,
    algorithms: Vec<Algorithm>,
    material: Material,
}

#[derive(Clone, PartialEq, Eq)]
enum Material {
    /// Shared with who signs.
    Secret(Vec<u8>),
    /// Modulus and exponent, big-endian without leading zeros.
    Rsa { modulus: Vec<u8>, exponent: Vec<u8> },
    /// On P-256, uncompressed.
    P256(Vec<u8>),
    /// On P-384, uncompressed.
    P384(Vec<u8>),
    /// Of Ed25519.
    Ed25519(Vec<u8>),
}

/// A JSON Web Key as far as it matters here (RFC 7517 §4, RFC 7518 §6, RFC 8037 §2).
#[derive(Deserialize)]
pub(super) struct Jwk {
    kty: String,
    #[serde(rename = "use")]
    purpose: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    kid: Option<String>,
    crv: Option<String>,
    k: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl Key {
    /// A secret shared with who signs; the bytes as they are. With no `algorithms` it is for HS256.
    ///
    /// # Errors
    /// If it is shorter than the hash of an algorithm that it is for (RFC 7518 §3.2), or that isn't an HMAC.
    pub fn from_secret(secret: &[u8], algorithms: &[Algorithm]) -> Result<Key, KeyError> {
        Key::bind(Material::Secret(secret.to_vec()), algorithms)
    }

    /// The first public key, or that of the first certificate, in a PEM file. With no `algorithms`, one of RSA is for
    /// RS256, one of an elliptic curve for the curve's own.
    ///
    /// # Errors
    /// If there is none, if it is of a kind or size that is not supported, or not for one of `algorithms`.
    pub fn from_pem(pem: &[u8], algorithms: &[Algorithm]) -> Result<Key, KeyError> {
        Key::bind(Material::from_spki(&public_key(pem)?)?, algorithms)
    }

    /// The same under the identifier that tokens name it by (`kid`, RFC 7515 §4.1.4).
    #[must_use]
    pub fn named(self, id: impl Into<String>) -> Key {
        Key { id: Some(id.into()), ..self }
    }

    /// Of a set of keys; `None` if it isn't for signatures. With no `alg` of its own it is for those of `algorithms`
    /// that its kind can be for, and without these for its kind's usual one.
    pub(super) fn from_jwk(jwk: &Jwk, algorithms: &[Algorithm]) -> Result<Option<Key>, KeyError> {
        let verifies = |operations: &Vec<String>| operations.iter().any(|operation| operation == "verify");
        if jwk.purpose.as_deref().is_some_and(|purpose| purpose != "sig")
            || !jwk.key_ops.as_ref().is_none_or(verifies)
        {
            return Ok(None);
        }
        let material = Material::from_jwk(jwk)?;
        let own: Option<Algorithm> = jwk.alg.as_deref().map(str::parse).transpose().map_err(KeyError)?;
        let wanted = own.as_ref().map_or(algorithms, std::slice::from_ref);
        let possible: Vec<_> =
            wanted.iter().copied().filter(|&algorithm| material.suits(algorithm)).collect();
        if possible.is_empty() && (own.is_some() || !algorithms.is_empty()) {
            return Err(KeyError::new("it is for none of the algorithms that are wanted"));
        }
        Key::bind(material, &possible).map(|key| Some(Key { id: jwk.kid.clone(), ..key }))
    }

    /// The identifier that tokens name it by.
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// Whether it is for this algorithm. Asked before anything is verified by it, so that what is public of an RSA
    /// key is never taken for a secret (RFC 8725 §3.1).
    pub fn is_for(&self, algorithm: Algorithm) -> bool {
        self.algorithms.contains(&algorithm)
    }

    /// Whether this is a secret, which has no place where everybody can read it.
    pub(super) fn is_secret(&self) -> bool {
        matches!(self.material, Material::Secret(_))
    }

    /// Whether `signature` is that of `message` by this key and `algorithm`.
    pub(super) fn verify(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        if !self.is_for(algorithm) {
            return false;
        }
        match &self.material {
            Material::Secret(secret) => algorithm
                .hmac()
                .is_some_and(|hash| hmac::verify(&hmac::Key::new(hash, secret), message, signature).is_ok()),
            Material::Rsa { modulus, exponent } => algorithm.rsa().is_some_and(|parameters| {
                let key = signature::RsaPublicKeyComponents { n: modulus, e: exponent };
                key.verify(parameters, message, signature).is_ok()
            }),
            Material::P256(bytes) | Material::P384(bytes) | Material::Ed25519(bytes) => {
                algorithm.curve().is_some_and(|curve| {
                    signature::UnparsedPublicKey::new(curve, bytes).verify(message, signature).is_ok()
                })
            }
        }
    }

    fn bind(material: Material, algorithms: &[Algorithm]) -> Result<Key, KeyError> {
        let algorithms = if algorithms.is_empty() { vec![material.usual()] } else { algorithms.to_vec() };
        if let Some(wrong) = algorithms.iter().find(|algorithm| !material.suits(**algorithm)) {
            return Err(KeyError(format!("{} cannot be used with {wrong}", material.kind())));
        }
        if let Material::Secret(secret) = &material {
            let longest = algorithms.iter().filter_map(|algorithm| algorithm.hmac());
            let least = longest.map(|hash| hash.digest_algorithm().output_len()).max().unwrap_or(0);
            if secret.len() < least {
                return Err(KeyError(format!(
                    "a secret of {} bytes is too short, it takes {least}; make one by `openssl rand -hex 32`",
                    secret.len()
                )));
            }
        }
        Ok(Key { id: None, algorithms, material })
    }
}

impl Material {
    /// A SubjectPublicKeyInfo (RFC 5280 §4.1.2.7): whichever algorithm it names, and the key itself.
    fn from_spki(der: &[u8]) -> Result<Material, KeyError> {
        let malformed = |_| KeyError::new("the public key is malformed");
        let info = SubjectPublicKeyInfoRef::from_der(der).map_err(malformed)?;
        let bytes =
            info.subject_public_key.as_bytes().ok_or_else(|| KeyError::new("the public key is malformed"))?;
        let curve = || info.algorithm.parameters_oid().map_err(|_| KeyError::new("the key names no curve"));
        match info.algorithm.oid {
            RSA => {
                let (modulus, exponent) = rsa_numbers(bytes).map_err(malformed)?;
                Material::rsa(&modulus, &exponent)
            }
            ELLIPTIC => match curve()? {
                P256 => Material::point(Material::P256, bytes, 32),
                P384 => Material::point(Material::P384, bytes, 48),
                _ => Err(KeyError::new("the key's curve is not supported; P-256 and P-384 are")),
            },
            ED25519 => Material::ed25519(bytes.to_vec()),
            _ => Err(KeyError::new("the key is none of RSA, P-256, P-384 and Ed25519")),
        }
    }

    fn from_jwk(jwk: &Jwk) -> Result<Material, KeyError> {
        match (jwk.kty.as_str(), jwk.crv.as_deref()) {
            ("oct", _) => Ok(Material::Secret(number(jwk.k.as_deref(), "k")?)),
            ("RSA", _) => Material::rsa(&number(jwk.n.as_deref(), "n")?, &number(jwk.e.as_deref(), "e")?),
            ("EC", Some("P-256")) => Material::point(Material::P256, &coordinates(jwk)?, 32),
            ("EC", Some("P-384")) => Material::point(Material::P384, &coordinates(jwk)?, 48),
            ("OKP", Some("Ed25519")) => Material::ed25519(number(jwk.x.as_deref(), "x")?),
            _ => Err(KeyError::new("it is none of oct, RSA, P-256, P-384 and Ed25519")),
        }
    }

    fn rsa(modulus: &[u8], exponent: &[u8]) -> Result<Material, KeyError> {
        let (modulus, exponent) = (without_zeros(modulus), without_zeros(exponent));
        if !RSA_BYTES.contains(&modulus.len()) {
            return Err(KeyError(format!(
                "an RSA key of {} bits is not supported; from 2048 to 8192 are",
                modulus.len().saturating_mul(8)
            )));
        }
        Ok(Material::Rsa { modulus, exponent })
    }

    /// A point in uncompressed form: a byte of 4 and two coordinates of `size` bytes (SEC 1 §2.3.3).
    fn point(make: fn(Vec<u8>) -> Material, bytes: &[u8], size: usize) -> Result<Material, KeyError> {
        if bytes.first() != Some(&4) || bytes.len() != 2 * size + 1 {
            return Err(KeyError::new("the key's point is malformed, or compressed"));
        }
        Ok(make(bytes.to_vec()))
    }

    fn ed25519(bytes: Vec<u8>) -> Result<Material, KeyError> {
        if bytes.len() != 32 {
            return Err(KeyError::new("an Ed25519 key has 32 bytes, this one hasn't"));
        }
        Ok(Material::Ed25519(bytes))
    }

    fn suits(&self, algorithm: Algorithm) -> bool {
        match self {
            Material::Secret(_) => algorithm.hmac().is_some(),
            Material::Rsa { .. } => algorithm.rsa().is_some(),
            Material::P256(_) => algorithm == Algorithm::Es256,
            Material::P384(_) => algorithm == Algorithm::Es384,
            Material::Ed25519(_) => algorithm == Algorithm::EdDsa,
        }
    }

    /// What a key of this kind is for, if nobody says: one algorithm, as RFC 8725 §3.1 demands.
    fn usual(&self) -> Algorithm {
        match self {
            Material::Secret(_) => Algorithm::Hs256,
            Material::Rsa { .. } => Algorithm::Rs256,
            Material::P256(_) => Algorithm::Es256,
            Material::P384(_) => Algorithm::Es384,
            Material::Ed25519(_) => Algorithm::EdDsa,
        }
    }

    fn kind(&self) -> &'static str {
        match self {
            Material::Secret(_) => "a secret",
            Material::Rsa { .. } => "an RSA key",
            Material::P256(_) => "a key of P-256",
            Material::P384(_) => "a key of P-384",
            Material::Ed25519(_) => "an Ed25519 key",
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key")
            .field("id", &self.id)
            .field("algorithms", &self.algorithms)
            .finish_non_exhaustive()
    }
}

fn public_key(pem: &[u8]) -> Result<Vec<u8>, KeyError> {
    if let Ok(key) = SubjectPublicKeyInfoDer::from_pem_slice(pem) {
        return Ok(key.to_vec());
    }
    let certificate = CertificateDer::from_pem_slice(pem).map_err(|_| {
        KeyError::new(
            "no public key in it; it should begin with -----BEGIN PUBLIC KEY----- or be a certificate",
        )
    })?;
    let certificate =
        Certificate::from_der(&certificate).map_err(|_| KeyError::new("the certificate is malformed"))?;
    let info = certificate.tbs_certificate().subject_public_key_info().to_der();
    info.map_err(|_| KeyError::new("the certificate is malformed"))
}

/// RSAPublicKey (RFC 8017 §A.1.1): modulus and exponent.
fn rsa_numbers(der: &[u8]) -> Result<(Vec<u8>, Vec<u8>), x509_cert::der::Error> {
    let mut reader = SliceReader::new(der)?;
    let numbers = reader.sequence(|reader| {
        let (modulus, exponent) = (UintRef::decode(reader)?, UintRef::decode(reader)?);
        Ok::<_, x509_cert::der::Error>((modulus.as_bytes().to_vec(), exponent.as_bytes().to_vec()))
    })?;
    reader.finish()?;
    Ok(numbers)
}

fn number(text: Option<&str>, name: &str) -> Result<Vec<u8>, KeyError> {
    let bytes = text.and_then(|text| URL_SAFE_NO_PAD.decode(text).ok());
    bytes.ok_or_else(|| KeyError(format!("its {name:?} is missing or malformed")))
}

fn coordinates(jwk: &Jwk) -> Result<Vec<u8>, KeyError> {
    let (x, y) = (number(jwk.x.as_deref(), "x")?, number(jwk.y.as_deref(), "y")?);
    if x.len() != y.len() {
        return Err(KeyError::new("its coordinates differ in length"));
    }
    Ok([&[4], x.as_slice(), &y].concat())
}

fn without_zeros(number: &[u8]) -> Vec<u8> {
    number.iter().copied().skip_while(|&byte| byte == 0).collect()
}
