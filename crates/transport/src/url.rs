//! The URLs that name listeners and servers.
//!
//! | scheme | transport | default port, path |
//! |---|---|---|
//! | `mqtt://` `tcp://` | TCP | 1883 |
//! | `mqtts://` `tls://` | TLS | 8883 |
//! | `ws://` | WebSocket | 80, `/mqtt` |
//! | `wss://` | WebSocket over TLS | 443, `/mqtt` |
//! | `unix:///path` | Unix socket | |

use std::fmt;
use std::net::Ipv6Addr;

mod parse;
#[cfg(test)]
mod tests;

/// A transport and where to find it. Neither `Display` nor `Debug` ever shows credentials.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Url {
    /// The transport.
    pub scheme: Scheme,
    /// A name or an address, IPv6 without its brackets. Empty for a listener on all addresses, and for `unix`.
    pub host: String,
    /// The TCP port. 0 for `unix`, and for a listener on any free port.
    pub port: u16,
    /// WebSocket: what the request line asks for, path and query, beginning with `/`. `unix`: the socket's file.
    /// Empty otherwise.
    pub path: String,
    /// MQTT user name, percent-decoded.
    pub user: Option<String>,
    /// MQTT password, percent-decoded.
    pub password: Option<Secret>,
}

/// How the bytes of MQTT travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scheme {
    /// Bare TCP.
    Tcp,
    /// TLS over TCP.
    Tls,
    /// WebSocket over TCP.
    Ws,
    /// WebSocket over TLS over TCP.
    Wss,
    /// A stream socket in the file system.
    Unix,
}

/// A password: bytes that `Debug` does not show.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Secret(Vec<u8>);

/// Why a text is not a usable URL, and how to mend it; one line, without credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UrlError {
    /// The text, with any user name and password left out.
    text: String,
    why: String,
}

/// The path of a WebSocket URL that names none.
pub const DEFAULT_PATH: &str = "/mqtt";

/// Longer texts are refused: no URL of ours needs more than this, in bytes.
pub const MAX_URL: usize = 8192;

/// The longest file name of a Unix socket, in bytes (`sun_path` holds 108 with its final zero).
pub const MAX_UNIX_PATH: usize = 107;

impl Url {
    /// A server to dial: needs a host, and a port other than 0.
    pub fn parse(text: &str) -> Result<Url, UrlError> {
        parse::server(text, None)
    }

    /// A server to dial, where `host`, `host:port` and `[::1]:port` without a scheme mean TCP.
    pub fn parse_lenient(text: &str) -> Result<Url, UrlError> {
        parse::server(text, Some(Scheme::Tcp))
    }

    /// An address to listen on: the host may be empty (all addresses), the port 0 (any free one); credentials
    /// have no place in it.
    pub fn parse_listener(text: &str) -> Result<Url, UrlError> {
        parse::listener(text)
    }

    /// `host:port` with brackets round an IPv6 address, as resolvers and HTTP's `Host` field want it.
    pub fn authority(&self) -> String {
        Authority(&self.host, self.port).to_string()
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.scheme {
            Scheme::Unix => write!(f, "unix://{}", self.path),
            scheme => write!(f, "{scheme}://{}{}", Authority(&self.host, self.port), self.path),
        }
    }
}

impl std::str::FromStr for Url {
    type Err = UrlError;

    /// As [`Url::parse`].
    fn from_str(text: &str) -> Result<Url, UrlError> {
        Url::parse(text)
    }
}

impl Scheme {
    /// The name we print: `tcp`, `tls`, `ws`, `wss` or `unix`.
    pub fn name(self) -> &'static str {
        match self {
            Scheme::Tcp => "tcp",
            Scheme::Tls => "tls",
            Scheme::Ws => "ws",
            Scheme::Wss => "wss",
            Scheme::Unix => "unix",
        }
    }

    /// The port that a URL without one means; 0 for `unix`.
    pub fn default_port(self) -> u16 {
        match self {
            Scheme::Tcp => 1883,
            Scheme::Tls => 8883,
            Scheme::Ws => 80,
            Scheme::Wss => 443,
            Scheme::Unix => 0,
        }
    }

    /// Whether there is TLS in it.
    pub fn is_tls(self) -> bool {
        matches!(self, Scheme::Tls | Scheme::Wss)
    }

    /// Whether there is WebSocket in it.
    pub fn is_websocket(self) -> bool {
        matches!(self, Scheme::Ws | Scheme::Wss)
    }

    fn from_name(name: &str) -> Option<Scheme> {
        Some(match name.to_ascii_lowercase().as_str() {
            "tcp" | "mqtt" => Scheme::Tcp,
            "tls" | "mqtts" => Scheme::Tls,
            "ws" => Scheme::Ws,
            "wss" => Scheme::Wss,
            "unix" => Scheme::Unix,
            _ => return None,
        })
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Secret {
    /// Wraps a password.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Secret {
        Secret(bytes.into())
    }

    /// The password itself, for the packet that must carry it.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl fmt::Display for UrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bad URL {:?}: {}", self.text, self.why)
    }
}

impl std::error::Error for UrlError {}

impl UrlError {
    pub(crate) fn new(text: &str, why: impl Into<String>) -> UrlError {
        parse::fail(text, why)
    }

    /// Says in front where the text came from.
    pub(crate) fn with_origin(mut self, origin: &str) -> UrlError {
        self.why = format!("{} (from {origin})", self.why);
        self
    }
}

pub(crate) use parse::address_and_credentials;

/// `host:port`, IPv6 in brackets.
pub(crate) struct Authority<'a>(pub(crate) &'a str, pub(crate) u16);

impl fmt::Display for Authority<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.parse::<Ipv6Addr>() {
            Ok(address) => write!(f, "[{address}]:{}", self.1),
            Err(_) => write!(f, "{}:{}", self.0, self.1),
        }
    }
}
