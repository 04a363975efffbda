//! HTTP `CONNECT` (RFC 9110 §9.3.6).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{MAX_RESPONSE, Tunnel, TunnelError};
use crate::url::Authority;

/// Header fields of a response that are read; a response with more is refused.
const MAX_FIELDS: usize = 100;

/// What every response begins with; anything else is told at its first byte.
const START: &[u8] = b"HTTP/1.";

/// Waits for the response to a `CONNECT`.
#[derive(Debug)]
pub(super) struct Connect {
    response: Vec<u8>,
    /// For messages.
    target: String,
    authenticated: bool,
}

impl Connect {
    pub(super) fn start(tunnel: &Tunnel, out: &mut Vec<u8>) -> Result<Connect, TunnelError> {
        let target = Authority(&tunnel.host, tunnel.port).to_string();
        out.extend_from_slice(format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n").as_bytes());
        if let Some((user, password)) = &tunnel.proxy.credentials {
            if user.contains(':') {
                // RFC 7617 §2: the first colon ends the user name.
                let why = "an HTTP proxy's user name cannot contain a colon";
                return Err(TunnelError::Unaskable(why.into()));
            }
            let credentials = [user.as_bytes(), b":", password.expose()].concat();
            let field = format!("Proxy-Authorization: Basic {}\r\n", STANDARD.encode(credentials));
            out.extend_from_slice(field.as_bytes());
        }
        out.extend_from_slice(b"\r\n");
        Ok(Connect { response: Vec::new(), target, authenticated: tunnel.proxy.credentials.is_some() })
    }

    pub(super) fn feed(&mut self, input: &[u8]) -> Result<(usize, bool), TunnelError> {
        let mut used = 0;
        loop {
            let kept = self.response.len();
            let taken = (input.len() - used).min(MAX_RESPONSE - kept);
            let piece = &input[used..used + taken];
            self.response.extend_from_slice(piece);
            let start = self.response.len().min(START.len());
            if self.response[..start] != START[..start] {
                return Err(TunnelError::Nonsense("the proxy's answer is not HTTP".into()));
            }
            // Only a line end can complete a response.
            let parsed = if piece.contains(&b'\n') { self.parse()? } else { None };
            let Some((end, status)) = parsed else {
                return match self.response.len() < MAX_RESPONSE {
                    true => Ok((input.len(), false)),
                    false => {
                        let why = format!("the proxy's answer is longer than {MAX_RESPONSE} bytes");
                        Err(TunnelError::Nonsense(why))
                    }
                };
            };
            used += end.saturating_sub(kept);
            self.response = Vec::new();
            match status {
                // Any 2xx opens the tunnel at the end of the header section (RFC 9110 §9.3.6).
                200..=299 => return Ok((used, true)),
                // Interim responses precede the final one (RFC 9110 §15.2).
                100 | 102..=199 => {}
                status => return Err(self.refusal(status)),
            }
        }
    }

    /// Where the first response in what was read so far ends, and its status.
    fn parse(&self) -> Result<Option<(usize, u16)>, TunnelError> {
        let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
        let mut response = httparse::Response::new(&mut fields);
        match response.parse(&self.response) {
            Ok(httparse::Status::Complete(end)) => Ok(response.code.map(|status| (end, status))),
            Ok(httparse::Status::Partial) => Ok(None),
            Err(error) => Err(TunnelError::Nonsense(format!("the proxy's answer is not HTTP: {error}"))),
        }
    }

    fn refusal(&self, status: u16) -> TunnelError {
        let target = &self.target;
        TunnelError::Refused(match status {
            407 if self.authenticated => {
                "the proxy does not accept user name and password (HTTP 407)".to_owned()
            }
            407 => "the proxy wants a user name and a password (HTTP 407)".to_owned(),
            403 => format!("the proxy does not allow a tunnel to {target} (HTTP 403)"),
            400 | 404 | 405 | 501 => format!("this is not a proxy for CONNECT: it answered HTTP {status}"),
            502..=504 => format!("the proxy cannot reach {target} (HTTP {status})"),
            _ => format!("the proxy refused a tunnel to {target} (HTTP {status})"),
        })
    }
}
