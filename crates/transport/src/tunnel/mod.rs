//! Reaching a server through an HTTP or SOCKS5 proxy.
//!
//! A [`Tunnel`] says what to ask of which proxy, a [`Handshake`] asks it. Names of servers are resolved by the
//! proxy, never here. [`proxy_from_environment`] reads the variables that other programs read.

use std::fmt;

use crate::url::{Authority, Secret, UrlError, address_and_credentials};

mod connect;
mod environment;
mod socks5;
#[cfg(test)]
mod tests;

pub use environment::proxy_from_environment;

/// A tunnel to ask for: through which proxy, to which server. The socket is connected to the proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tunnel {
    /// The proxy.
    pub proxy: Proxy,
    /// The server's name or address (IPv6 without brackets).
    pub host: String,
    /// The server's port.
    pub port: u16,
}

/// A proxy and how to talk to it. Neither `Display` nor `Debug` shows its password.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Proxy {
    /// Its protocol.
    pub kind: ProxyKind,
    /// Its name or address (IPv6 without brackets).
    pub host: String,
    /// Its port.
    pub port: u16,
    /// User name and password, if it wants them.
    pub credentials: Option<(String, Secret)>,
}

/// The protocol by which a proxy opens tunnels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProxyKind {
    /// `CONNECT` of HTTP/1.1 (RFC 9110 §9.3.6).
    HttpConnect,
    /// SOCKS version 5 (RFC 1928), with user name and password (RFC 1929) where asked.
    Socks5,
}

/// Why there is no tunnel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TunnelError {
    /// What we were told to ask for cannot be asked: our configuration is wrong.
    Unaskable(String),
    /// The proxy refused, or could not reach the server.
    Refused(String),
    /// The proxy's answer breaks its protocol.
    Nonsense(String),
}

/// The handshake with a proxy: asks for the tunnel and reads the answers, fed in any pieces.
#[derive(Debug)]
pub struct Handshake(Box<Protocol>);

#[derive(Debug)]
enum Protocol {
    Connect(connect::Connect),
    Socks5(socks5::Socks5),
}

/// The longest answer of an HTTP proxy that is read, in bytes; the most that a [`Handshake`] ever keeps.
pub const MAX_RESPONSE: usize = 16 * 1024;

impl Handshake {
    /// Begins: appends the first bytes for the proxy to `out`.
    ///
    /// # Errors
    /// If host, user or password cannot be carried by the protocol.
    pub fn start(tunnel: &Tunnel, out: &mut Vec<u8>) -> Result<Handshake, TunnelError> {
        check_host(&tunnel.host)?;
        let protocol = match tunnel.proxy.kind {
            ProxyKind::HttpConnect => Protocol::Connect(connect::Connect::start(tunnel, out)?),
            ProxyKind::Socks5 => Protocol::Socks5(socks5::Socks5::start(tunnel, out)?),
        };
        Ok(Handshake(Box::new(protocol)))
    }

    /// Takes bytes of the proxy from the front of `input`, appends what to send next to `out`. Tells how many bytes
    /// it took and whether the tunnel is open; what follows the handshake is left, it comes from the server.
    ///
    /// # Errors
    /// If the proxy refuses or doesn't keep to its protocol.
    pub fn feed(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<(usize, bool), TunnelError> {
        match &mut *self.0 {
            Protocol::Connect(connect) => connect.feed(input),
            Protocol::Socks5(socks5) => socks5.feed(input, out),
        }
    }
}

impl Proxy {
    /// Reads `http://[user[:password]@]host[:port]`, `socks5://…` or `socks5h://…`; without a scheme HTTP is meant.
    /// Default ports are 80 and 1080. Names of servers are resolved by the proxy in either case.
    ///
    /// # Errors
    /// One line that says what to mend, without the password.
    pub fn parse(text: &str) -> Result<Proxy, UrlError> {
        let (name, rest) = text.split_once("://").unwrap_or(("http", text));
        let (kind, default_port) = match name.to_ascii_lowercase().as_str() {
            "http" => (ProxyKind::HttpConnect, 80),
            "socks5" | "socks5h" | "socks" => (ProxyKind::Socks5, 1080),
            "https" => {
                return Err(UrlError::new(text, "TLS to the proxy itself is not supported; use http://"));
            }
            "socks4" | "socks4a" => {
                return Err(UrlError::new(text, "SOCKS 4 is not supported; use socks5://"));
            }
            _ => return Err(UrlError::new(text, "unknown kind of proxy; use http:// or socks5://")),
        };
        let (user, password, host, port) =
            address_and_credentials(text, rest.strip_suffix('/').unwrap_or(rest))?;
        if host.is_empty() {
            return Err(UrlError::new(text, "no host; write it as http://host:3128 or socks5://host:1080"));
        }
        let port = match port {
            Some(0) => return Err(UrlError::new(text, "port 0 cannot be dialled; name the proxy's port")),
            Some(port) => port,
            None => default_port,
        };
        let credentials = user.map(|user| (user, password.unwrap_or_else(|| Secret::new(""))));
        Ok(Proxy { kind, host, port, credentials })
    }
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.kind {
            ProxyKind::HttpConnect => "http",
            ProxyKind::Socks5 => "socks5",
        };
        write!(f, "{scheme}://{}", Authority(&self.host, self.port))
    }
}

impl fmt::Display for TunnelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (TunnelError::Unaskable(why) | TunnelError::Refused(why) | TunnelError::Nonsense(why)) = self;
        f.write_str(why)
    }
}

impl std::error::Error for TunnelError {}

/// A host goes into a request line or a length-prefixed field as it is: nothing in it may end either.
fn check_host(host: &str) -> Result<(), TunnelError> {
    let plain = |b: u8| b.is_ascii_graphic() && !b"/?#@[]\"\\".contains(&b);
    if host.is_empty() || host.len() > 255 || !host.bytes().all(plain) {
        return Err(TunnelError::Unaskable(format!("{host:?} is not a host that a proxy can be asked for")));
    }
    Ok(())
}
