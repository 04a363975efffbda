//! TLS errors in words that say what to do.

use rustls::{AlertDescription, CertificateError, Error, InvalidMessage};

use super::validity::date;
use crate::error::Blame;

/// Whose fault it is, and one line about it. `server`: we are the server.
pub(crate) fn explain(error: &Error, server: bool) -> (Blame, String) {
    let peer = if server { "client" } else { "server" };
    let text = match error {
        Error::InvalidCertificate(error) => certificate(error, server),
        Error::NoCertificatesPresented => format!("the {peer} presented no certificate"),
        Error::AlertReceived(alert) => received(*alert, server),
        Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            format!("the {peer} does not speak TLS on this port")
        }
        Error::InvalidMessage(what) => format!("malformed message from the {peer} ({what:?})"),
        Error::PeerIncompatible(what) => format!("nothing in common with the {peer} ({what:?})"),
        Error::PeerMisbehaved(what) => format!("the {peer} breaks the protocol ({what:?})"),
        Error::DecryptError => format!("a record from the {peer} was damaged on the way"),
        Error::PeerSentOversizedRecord => format!("a record from the {peer} is too long"),
        Error::NoApplicationProtocol => format!("the {peer} offers none of the ALPN protocols spoken here"),
        Error::InappropriateMessage { .. } | Error::InappropriateHandshakeMessage { .. } => {
            format!("a message from the {peer} is out of place ({error})")
        }
        Error::FailedToGetRandomBytes | Error::FailedToGetCurrentTime | Error::EncryptError => {
            return (Blame::Local, format!("TLS: {error}"));
        }
        Error::General(text) => text.clone(),
        error => error.to_string(),
    };
    (Blame::Peer, format!("TLS: {text}"))
}

fn certificate(error: &CertificateError, server: bool) -> String {
    let its = if server { "the client's certificate" } else { "the server's certificate" };
    match error {
        CertificateError::Expired => format!("{its} has expired"),
        CertificateError::ExpiredContext { not_after, .. } => {
            format!("{its} expired on {}", date(*not_after))
        }
        CertificateError::NotValidYet => format!("{its} is not valid yet; is the clock right?"),
        CertificateError::NotValidYetContext { not_before, .. } => {
            format!("{its} is not valid before {}; is the clock right?", date(*not_before))
        }
        CertificateError::Revoked => format!("{its} has been revoked"),
        CertificateError::UnknownRevocationStatus => {
            format!("no revocation list covers {its}; add that of its issuer")
        }
        CertificateError::ExpiredRevocationList | CertificateError::ExpiredRevocationListContext { .. } => {
            format!("the revocation list for {its} is out of date; renew it")
        }
        CertificateError::UnknownIssuer if server => {
            format!("{its} is not signed by an authority that this listener trusts")
        }
        CertificateError::UnknownIssuer => {
            format!("{its} is not signed by an authority that is trusted here; name the CA file it needs")
        }
        CertificateError::NotValidForName => format!("{its} is for another name"),
        CertificateError::NotValidForNameContext { expected, presented } => {
            let presented = match presented.as_slice() {
                [] => "no name at all".to_owned(),
                names => names.iter().map(|name| plain(name)).collect::<Vec<_>>().join(", "),
            };
            format!("{its} is not for {} but for {presented}", expected.to_str())
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            let role = if server { "clients" } else { "servers" };
            format!("{its} is not meant for {role}")
        }
        CertificateError::BadEncoding => format!("{its} is malformed"),
        CertificateError::BadSignature => format!("{its} has a wrong signature"),
        // webpki has this error, and rustls no name for it.
        CertificateError::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => {
            format!("{its} is an authority's own, which is not trusted here; name it as the CA file")
        }
        error => format!("{its} is not accepted: {error}"),
    }
}

/// rustls shows names as `DnsName("broker.example")`.
fn plain(name: &str) -> &str {
    name.strip_prefix("DnsName(\"").and_then(|name| name.strip_suffix("\")")).unwrap_or(name)
}

fn received(alert: AlertDescription, server: bool) -> String {
    let peer = if server { "client" } else { "server" };
    match alert {
        AlertDescription::CertificateRequired => format!("the {peer} requires a certificate of ours"),
        AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateRevoked
        | AlertDescription::CertificateExpired
        | AlertDescription::CertificateUnknown
        | AlertDescription::UnknownCA
        | AlertDescription::AccessDenied => format!("the {peer} does not accept our certificate ({alert:?})"),
        AlertDescription::HandshakeFailure if !server => {
            "the server refused the handshake: no common cipher, or it requires a certificate of ours"
                .to_owned()
        }
        AlertDescription::ProtocolVersion => format!("the {peer} speaks neither TLS 1.2 nor TLS 1.3"),
        AlertDescription::NoApplicationProtocol => {
            format!("the {peer} speaks none of the ALPN protocols offered")
        }
        AlertDescription::UnrecognisedName => format!("the {peer} has no certificate for this name"),
        alert => format!("the {peer} gave up ({alert:?})"),
    }
}
