//! SOCKS version 5 (RFC 1928) with user name and password (RFC 1929).

use std::net::IpAddr;

use super::{Tunnel, TunnelError};
use crate::url::Authority;

const VERSION: u8 = 5;
/// Version of the user name and password exchange (RFC 1929 §2).
const AUTHENTICATION_VERSION: u8 = 1;

const NO_AUTHENTICATION: u8 = 0;
const PASSWORD: u8 = 2;
const NO_ACCEPTABLE_METHOD: u8 = 0xff;

const CONNECT: u8 = 1;
const IPV4: u8 = 1;
const DOMAIN: u8 = 3;
const IPV6: u8 = 4;

/// What is awaited.
#[derive(Debug, PartialEq, Eq)]
enum State {
    /// The choice of an authentication method, 2 bytes.
    Method,
    /// Whether the password is right, 2 bytes.
    Authentication,
    /// The reply to the request: 4 bytes, then an address and a port.
    Reply,
}

#[derive(Debug)]
pub(super) struct Socks5 {
    state: State,
    /// The answer awaited as far as it came, at most 262 bytes.
    kept: Vec<u8>,
    /// The user name and password message, if we have them; sent if asked for.
    authentication: Option<Vec<u8>>,
    request: Vec<u8>,
    /// For messages.
    target: String,
}

impl Socks5 {
    pub(super) fn start(tunnel: &Tunnel, out: &mut Vec<u8>) -> Result<Socks5, TunnelError> {
        let authentication = match &tunnel.proxy.credentials {
            Some((user, password)) => Some(authentication(user.as_bytes(), password.expose())?),
            None => None,
        };
        match authentication {
            Some(_) => out.extend_from_slice(&[VERSION, 2, NO_AUTHENTICATION, PASSWORD]),
            None => out.extend_from_slice(&[VERSION, 1, NO_AUTHENTICATION]),
        }
        let target = Authority(&tunnel.host, tunnel.port).to_string();
        let request = request(tunnel)?;
        Ok(Socks5 { state: State::Method, kept: Vec::new(), authentication, request, target })
    }

    pub(super) fn feed(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<(usize, bool), TunnelError> {
        let mut used = 0;
        loop {
            let wanted = self.wanted()?;
            let rest = input.get(used..).unwrap_or_default();
            let taken = wanted.saturating_sub(self.kept.len()).min(rest.len());
            self.kept.extend_from_slice(&rest[..taken]);
            used += taken;
            if self.kept.len() < self.wanted()? {
                // The reply's length shows only once its address type and first byte are there.
                if taken == 0 {
                    return Ok((used, false));
                }
                continue;
            }
            if self.step(out)? {
                return Ok((used, true));
            }
            if used < input.len() {
                return Err(TunnelError::Nonsense("the SOCKS proxy answers before it was asked".into()));
            }
        }
    }

    /// How long the awaited answer is, as far as can be known.
    fn wanted(&self) -> Result<usize, TunnelError> {
        Ok(match (&self.state, self.kept.get(3), self.kept.get(4)) {
            (State::Method | State::Authentication, ..) => 2,
            (State::Reply, None, _) => 4,
            (State::Reply, Some(&IPV4), _) => 4 + 4 + 2,
            (State::Reply, Some(&IPV6), _) => 4 + 16 + 2,
            (State::Reply, Some(&DOMAIN), None) => 5,
            (State::Reply, Some(&DOMAIN), Some(&length)) => 5 + usize::from(length) + 2,
            // A refusal need not have a sensible address; it has its code.
            (State::Reply, Some(_), _) if self.kept.get(1) != Some(&0) => 4,
            (State::Reply, Some(other), _) => return nonsense(format!("address type {other}")),
        })
    }

    /// Acts on a complete answer. True if the tunnel is open.
    fn step(&mut self, out: &mut Vec<u8>) -> Result<bool, TunnelError> {
        let (version, code) = match self.kept[..] {
            [version, code, ..] => (version, code),
            _ => return Ok(false),
        };
        self.kept.clear();
        match self.state {
            State::Method if version != VERSION => nonsense(format!("version {version}")),
            State::Method => match (code, self.authentication.take()) {
                (NO_AUTHENTICATION, _) => self.ask(out),
                (PASSWORD, Some(message)) => {
                    out.extend_from_slice(&message);
                    self.state = State::Authentication;
                    Ok(false)
                }
                (NO_ACCEPTABLE_METHOD, None) => refused("the SOCKS proxy wants a user name and a password"),
                (NO_ACCEPTABLE_METHOD, Some(_)) => {
                    refused("the SOCKS proxy accepts no user name and password")
                }
                (method, _) => nonsense(format!("authentication method {method}, which we did not offer")),
            },
            State::Authentication if version != AUTHENTICATION_VERSION => {
                nonsense(format!("authentication version {version}"))
            }
            State::Authentication if code != 0 => {
                refused("the SOCKS proxy does not accept user name and password")
            }
            State::Authentication => self.ask(out),
            State::Reply if version != VERSION => nonsense(format!("version {version}")),
            State::Reply if code != 0 => Err(self.refusal(code)),
            State::Reply => Ok(true),
        }
    }

    fn ask(&mut self, out: &mut Vec<u8>) -> Result<bool, TunnelError> {
        out.append(&mut self.request);
        self.state = State::Reply;
        Ok(false)
    }

    /// RFC 1928 §6
    fn refusal(&self, code: u8) -> TunnelError {
        let why = match code {
            1 => "general failure",
            2 => "its rules do not allow it",
            3 => "network unreachable",
            4 => "host unreachable, or its name unknown",
            5 => "connection refused",
            6 => "time to live expired",
            7 => "it does not know CONNECT",
            8 => "it does not know this type of address",
            _ => "for a reason without a name",
        };
        let target = &self.target;
        TunnelError::Refused(format!("the SOCKS proxy did not connect to {target}: {why} (code {code})"))
    }
}

/// RFC 1929 §2
fn authentication(user: &[u8], password: &[u8]) -> Result<Vec<u8>, TunnelError> {
    let (Ok(user_length), Ok(password_length)) = (u8::try_from(user.len()), u8::try_from(password.len()))
    else {
        let why = "user name and password of a SOCKS proxy may have 255 bytes each";
        return Err(TunnelError::Unaskable(why.into()));
    };
    Ok([&[AUTHENTICATION_VERSION, user_length], user, &[password_length], password].concat())
}

/// RFC 1928 §4. Names travel as they are: the proxy resolves them.
fn request(tunnel: &Tunnel) -> Result<Vec<u8>, TunnelError> {
    let mut request = vec![VERSION, CONNECT, 0];
    match tunnel.host.parse() {
        Ok(IpAddr::V4(address)) => {
            request.push(IPV4);
            request.extend(address.octets());
        }
        Ok(IpAddr::V6(address)) => {
            request.push(IPV6);
            request.extend(address.octets());
        }
        Err(_) => {
            let length = u8::try_from(tunnel.host.len())
                .map_err(|_| TunnelError::Unaskable("a host name may have 255 bytes".into()))?;
            request.extend([DOMAIN, length]);
            request.extend(tunnel.host.as_bytes());
        }
    }
    request.extend(tunnel.port.to_be_bytes());
    Ok(request)
}

fn nonsense<T>(what: String) -> Result<T, TunnelError> {
    Err(TunnelError::Nonsense(format!("this is not a SOCKS5 proxy: it answered {what}")))
}

fn refused<T>(why: &str) -> Result<T, TunnelError> {
    Err(TunnelError::Refused(why.into()))
}
