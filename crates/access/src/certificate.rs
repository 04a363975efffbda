//! A user name from a client's certificate, which TLS has verified before.

use std::fmt::Write as _;
use std::str::FromStr;

use ring::digest;
use serde::Deserialize;
use thiserror::Error;
use x509_cert::Certificate;
use x509_cert::der::Decode;
use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::{DirectoryString, GeneralName};

const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");
const SUBJECT_ALT_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.17");

/// The longest name, in bytes: what an MQTT string can hold.
const MAX_NAME: usize = 65_535;

/// Which part of a certificate is the user name. In a configuration it is written as [`FromStr`] reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Naming {
    /// The common name of its subject: `cn`.
    CommonName,
    /// The DNS name among its alternative names: `dns`.
    Dns,
    /// The address of email there: `email`.
    Email,
    /// The URI there, as of SPIFFE: `uri`.
    Uri,
    /// The SHA-256 of all of it, in hexadecimal: `fingerprint`.
    Fingerprint,
}

/// Why a certificate gives no name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum CertificateError {
    /// It cannot be read.
    #[error("the certificate is malformed")]
    Malformed,
    /// It has no such part.
    #[error("the certificate has no {0} to be the user name")]
    Missing(&'static str),
    /// It has several, and none of them is more the user than the others.
    #[error("the certificate has more than one {0}, and one must be the user name")]
    Ambiguous(&'static str),
    /// The name cannot be a user's: it is too long, or has control characters.
    #[error("the certificate's {0} cannot be a user name")]
    Unfit(&'static str),
}

impl Naming {
    /// The user name that a certificate gives.
    ///
    /// # Errors
    /// If there isn't exactly one that could be it.
    pub fn user_of(self, der: &[u8]) -> Result<String, CertificateError> {
        if self == Naming::Fingerprint {
            return Ok(fingerprint(der));
        }
        let certificate = Certificate::from_der(der).map_err(|_| CertificateError::Malformed)?;
        let mut names = match self {
            Naming::CommonName => common_names(&certificate)?,
            _ => self.alternative_names(&certificate)?,
        };
        let name = names.pop().ok_or(CertificateError::Missing(self.word()))?;
        if !names.is_empty() {
            return Err(CertificateError::Ambiguous(self.word()));
        }
        if name.is_empty() || name.len() > MAX_NAME || name.chars().any(char::is_control) {
            return Err(CertificateError::Unfit(self.word()));
        }
        Ok(name)
    }

    /// RFC 5280 §4.2.1.6.
    fn alternative_names(self, certificate: &Certificate) -> Result<Vec<String>, CertificateError> {
        let extensions = certificate.tbs_certificate().extensions().map_or(&[][..], |extensions| extensions);
        let mut found = extensions.iter().filter(|extension| extension.extn_id == SUBJECT_ALT_NAME);
        let Some(extension) = found.next() else { return Ok(Vec::new()) };
        // An extension must not be there twice (RFC 5280 §4.2).
        if found.next().is_some() {
            return Err(CertificateError::Malformed);
        }
        let names = SubjectAltName::from_der(extension.extn_value.as_bytes());
        let names = names.map_err(|_| CertificateError::Malformed)?;
        let texts = names.0.iter().filter_map(|name| match (self, name) {
            (Naming::Dns, GeneralName::DnsName(text))
            | (Naming::Email, GeneralName::Rfc822Name(text))
            | (Naming::Uri, GeneralName::UniformResourceIdentifier(text)) => Some(text.as_str().to_owned()),
            _ => None,
        });
        Ok(texts.collect())
    }

    fn word(self) -> &'static str {
        match self {
            Naming::CommonName => "common name",
            Naming::Dns => "DNS name",
            Naming::Email => "email address",
            Naming::Uri => "URI",
            Naming::Fingerprint => "fingerprint",
        }
    }
}

/// The SHA-256 of a certificate, in hexadecimal.
pub fn fingerprint(der: &[u8]) -> String {
    digest::digest(&digest::SHA256, der).as_ref().iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}"); // Writing to a string cannot fail.
        text
    })
}

impl FromStr for Naming {
    type Err = String;

    fn from_str(text: &str) -> Result<Naming, String> {
        match text {
            "cn" => Ok(Naming::CommonName),
            "dns" => Ok(Naming::Dns),
            "email" => Ok(Naming::Email),
            "uri" => Ok(Naming::Uri),
            "fingerprint" => Ok(Naming::Fingerprint),
            _ => Err(format!(
                "{text:?} is no part of a certificate that names a user; cn, dns, email, uri and fingerprint are"
            )),
        }
    }
}

impl TryFrom<String> for Naming {
    type Error = String;

    fn try_from(text: String) -> Result<Naming, String> {
        text.parse()
    }
}

fn common_names(certificate: &Certificate) -> Result<Vec<String>, CertificateError> {
    let parts = certificate.tbs_certificate().subject().iter().filter(|part| part.oid == COMMON_NAME);
    parts
        .map(|part| match DirectoryString::try_from(&part.value) {
            Ok(DirectoryString::PrintableString(text)) => Ok(text.as_str().to_owned()),
            Ok(DirectoryString::Utf8String(text)) => Ok(text),
            // Nobody has to use the others since 2003 (RFC 5280 §4.1.2.4), and what they mean is seldom agreed on.
            Ok(_) => Err(CertificateError::Unfit(Naming::CommonName.word())),
            Err(_) => Err(CertificateError::Malformed),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rcgen::string::Ia5String;
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, SanType};

    use super::*;

    fn certificate(names: &[&str], alternatives: Vec<SanType>) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        for name in names {
            params.distinguished_name.push(DnType::CommonName, *name);
        }
        params.subject_alt_names = alternatives;
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    fn text(text: &str) -> Ia5String {
        text.try_into().unwrap()
    }

    #[test]
    fn each_part_can_be_the_name() {
        let der = certificate(
            &["dévice 7"],
            vec![
                SanType::DnsName(text("device.example")),
                SanType::Rfc822Name(text("d@example")),
                SanType::URI(text("spiffe://example/d")),
                SanType::IpAddress([192, 0, 2, 1].into()),
            ],
        );
        let user = |naming: &str| naming.parse::<Naming>().unwrap().user_of(&der);
        assert_eq!(user("cn").as_deref(), Ok("dévice 7"));
        assert_eq!(user("dns").as_deref(), Ok("device.example"));
        assert_eq!(user("email").as_deref(), Ok("d@example"));
        assert_eq!(user("uri").as_deref(), Ok("spiffe://example/d"));
        assert_eq!(user("fingerprint").unwrap(), fingerprint(&der));
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(fingerprint(b"abc"), abc); // FIPS 180-4's example.
        assert!("subject".parse::<Naming>().unwrap_err().contains("cn, dns, email, uri and fingerprint"));
    }

    #[test]
    fn what_is_missing_or_ambiguous_is_nobody() {
        let der = certificate(&[], vec![SanType::DnsName(text("a")), SanType::DnsName(text("b"))]);
        assert_eq!(Naming::CommonName.user_of(&der), Err(CertificateError::Missing("common name")));
        assert_eq!(Naming::Email.user_of(&der), Err(CertificateError::Missing("email address")));
        assert_eq!(Naming::Dns.user_of(&der), Err(CertificateError::Ambiguous("DNS name")));
        let bare = certificate(&["x"], Vec::new());
        assert_eq!(Naming::Dns.user_of(&bare), Err(CertificateError::Missing("DNS name")));
    }

    #[test]
    fn a_name_with_control_characters_is_nobody() {
        for name in ["root\0.example", "a\nb", ""] {
            let der = certificate(&[name], Vec::new());
            assert_eq!(
                Naming::CommonName.user_of(&der),
                Err(CertificateError::Unfit("common name")),
                "{name:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn damaged_certificates_end_well(at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in 0..8_usize) {
            let mut der = certificate(&["x"], vec![SanType::DnsName(text("a"))]);
            let at = at.index(der.len());
            der[at] = byte;
            der.truncate(der.len() - cut);
            for naming in [Naming::CommonName, Naming::Dns] {
                let _ = naming.user_of(&der);
            }
        }

        #[test]
        fn any_bytes_end_well(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(Naming::CommonName.user_of(&bytes).is_err());
        }
    }
}
