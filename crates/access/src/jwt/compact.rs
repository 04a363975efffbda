//! A token as it travels: three parts in base64url, with points between (RFC 7515 §7.1).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::algorithm::Algorithm;
use super::refusal::Refusal;

/// What the first part says (RFC 7515 §4.1). A name that stands there twice is refused, as §4 allows.
#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    /// Extensions that must be understood. Whatever they are, they aren't.
    #[serde(default, deserialize_with = "present")]
    crit: bool,
    /// Payloads that aren't in base64url need `crit`, too (RFC 7797 §6); without it this is a forgery.
    #[serde(default, deserialize_with = "present")]
    b64: bool,
}

/// A token taken apart; nothing of it has been checked.
pub(super) struct Compact<'a> {
    pub algorithm: Algorithm,
    pub key: Option<String>,
    /// What the signature is made over: the first two parts with the point between.
    pub signed: &'a str,
    pub signature: Vec<u8>,
    payload: &'a str,
}

impl<'a> Compact<'a> {
    /// Takes `token` apart.
    pub fn parse(token: &'a str) -> Result<Compact<'a>, Refusal> {
        let (signed, signature) = token.rsplit_once('.').ok_or(Refusal::Malformed("it has one part"))?;
        let (header, payload) = signed.split_once('.').ok_or(Refusal::Malformed("it has two parts"))?;
        if payload.contains('.') {
            return Err(Refusal::Malformed("it has more than three parts; encrypted ones are not supported"));
        }
        let header = decode(header, "its header is not base64url")?;
        let header: Header = serde_json::from_slice(&header)
            .map_err(|_| Refusal::Malformed("its header is not as it should be"))?;
        // Some libraries have taken «None» and «nOnE» for something else.
        if header.alg.eq_ignore_ascii_case("none") {
            return Err(Refusal::Unsigned);
        }
        if header.crit || header.b64 {
            return Err(Refusal::Critical);
        }
        let algorithm = header.alg.parse().map_err(|_| Refusal::UnknownAlgorithm)?;
        let signature = decode(signature, "its signature is not base64url")?;
        Ok(Compact { algorithm, key: header.kid, signed, signature, payload })
    }

    /// The claims, for after the signature has been checked. What is nested too deep ends the reading.
    pub fn claims(&self) -> Result<Map<String, Value>, Refusal> {
        let payload = decode(self.payload, "its claims are not base64url")?;
        serde_json::from_slice(&payload).map_err(|_| Refusal::Malformed("its claims are no JSON object"))
    }
}

fn decode(part: &str, otherwise: &'static str) -> Result<Vec<u8>, Refusal> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| Refusal::Malformed(otherwise))
}

/// Whatever it is, `null` too: it is there.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(deserializer).map(|_| true)
}
