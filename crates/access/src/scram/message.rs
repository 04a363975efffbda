//! The client's messages (RFC 5802 §7).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::prepare::prepare;
use super::{MAX_MESSAGE, ScramError};

/// SHA-256's length, which a proof has.
const PROOF: usize = 32;

/// The first message: `n,,n=user,r=nonce`.
pub(super) struct ClientFirst<'a> {
    /// What stands before `n=`, with its comma: `n,,`.
    pub header: &'a str,
    /// What comes behind that.
    pub bare: &'a str,
    /// Unescaped and prepared.
    pub user: String,
    pub nonce: &'a str,
}

/// The final message: `c=biws,r=nonce,p=proof`.
pub(super) struct ClientFinal<'a> {
    /// The first message's header once more, in base64.
    pub header: &'a str,
    pub nonce: &'a str,
    pub proof: [u8; PROOF],
    /// All before `,p=`.
    pub without_proof: &'a str,
}

impl<'a> ClientFirst<'a> {
    pub fn parse(message: &'a [u8]) -> Result<ClientFirst<'a>, ScramError> {
        let text = text(message)?;
        let mut parts = text.splitn(3, ',');
        let (binding, identity) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let bare = parts.next().ok_or(ScramError::Malformed("it has less than three parts"))?;
        match binding {
            // «y»: the client could bind, and thinks that we can't, in which it is right.
            "n" | "y" => {}
            _ if binding.starts_with("p=") => return Err(ScramError::ChannelBinding),
            _ => return Err(ScramError::Malformed("it begins with none of n, y and p=")),
        }
        let mut attributes = bare.split(',');
        let user = match attributes.next() {
            Some(first) if first.starts_with("m=") => return Err(ScramError::Extension),
            first => attribute(first, "n=", "its user name is missing")?,
        };
        let user = name(user)?;
        if !identity.is_empty()
            && name(attribute(Some(identity), "a=", "its identity is malformed")?)? != user
        {
            return Err(ScramError::OtherIdentity);
        }
        let nonce = attribute(attributes.next(), "r=", "its nonce is missing")?;
        // Printable, and no comma, which ends it anyway.
        if nonce.is_empty() || !nonce.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(ScramError::Malformed("its nonce is malformed"));
        }
        let header = &text[..text.len() - bare.len()];
        Ok(ClientFirst { header, bare, user, nonce })
    }
}

impl<'a> ClientFinal<'a> {
    pub fn parse(message: &'a [u8]) -> Result<ClientFinal<'a>, ScramError> {
        let text = text(message)?;
        // The proof is the last attribute; extensions that are no obligation may stand before it.
        let (without_proof, proof) =
            text.rsplit_once(",p=").ok_or(ScramError::Malformed("its proof is missing"))?;
        let mut attributes = without_proof.split(',');
        let header = attribute(attributes.next(), "c=", "its channel binding is missing")?;
        let nonce = match attributes.next() {
            Some(second) if second.starts_with("m=") => return Err(ScramError::Extension),
            second => attribute(second, "r=", "its nonce is missing")?,
        };
        let proof = STANDARD.decode(proof).ok().and_then(|proof| proof.try_into().ok());
        let proof = proof.ok_or(ScramError::Malformed("its proof is malformed"))?;
        Ok(ClientFinal { header, nonce, proof, without_proof })
    }
}

fn text(message: &[u8]) -> Result<&str, ScramError> {
    if message.len() > MAX_MESSAGE {
        return Err(ScramError::Malformed("it is too long"));
    }
    std::str::from_utf8(message).map_err(|_| ScramError::Malformed("it is not UTF-8"))
}

fn attribute<'a>(part: Option<&'a str>, name: &str, missing: &'static str) -> Result<&'a str, ScramError> {
    part.and_then(|part| part.strip_prefix(name)).ok_or(ScramError::Malformed(missing))
}

/// A name as it travels, with `=2C` for a comma and `=3D` for an equals sign; any other `=` is an error (RFC 5802 §5.1).
fn name(escaped: &str) -> Result<String, ScramError> {
    let mut pieces = escaped.split('=');
    let mut name = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let (char, rest) = match (piece.strip_prefix("2C"), piece.strip_prefix("3D")) {
            (Some(rest), _) => (',', rest),
            (_, Some(rest)) => ('=', rest),
            _ => return Err(ScramError::Malformed("its user name has an = of its own")),
        };
        name.push(char);
        name.push_str(rest);
    }
    let name = prepare(&name).ok_or(ScramError::Malformed("its user name has forbidden characters"))?;
    if name.is_empty() {
        return Err(ScramError::Malformed("its user name is empty"));
    }
    Ok(name.into_owned())
}
