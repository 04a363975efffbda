//! Reaching a server through an HTTP or SOCKS5 proxy.

use crate::url::Secret;

/// A tunnel to ask for: through which proxy, to which server. The socket is connected to the proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tunnel {
    /// The proxy.
    pub proxy: Proxy,
    /// The server's name or address (IPv6 without brackets); names are resolved by the proxy.
    pub host: String,
    /// The server's port.
    pub port: u16,
}

/// A proxy and how to talk to it.
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
