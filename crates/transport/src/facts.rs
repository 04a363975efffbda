//! What the layers learned about a connection while it was set up.

use std::net::SocketAddr;

use rustls_pki_types::CertificateDer;

/// Everything that later code (authentication, logs) may want to know about how a connection came to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The address of the real peer, where something trustworthy told it: a PROXY protocol header, or a
    /// forwarding header from a listed address; otherwise the address the stack was made with.
    pub peer: Option<SocketAddr>,
    /// Present if the connection is encrypted.
    pub tls: Option<TlsFacts>,
    /// Present on the server side of a WebSocket, and on the client side with what the server answered.
    pub http: Option<HttpFacts>,
}

/// Facts about a finished TLS handshake.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFacts {
    /// `TLSv1.2` or `TLSv1.3`.
    pub version: &'static str,
    /// The name of the cipher suite, as the IANA registry spells it.
    pub cipher: String,
    /// The server name that the client asked for (SNI). Server side only.
    pub server_name: Option<String>,
    /// The application protocol that was agreed on (ALPN).
    pub alpn: Option<Vec<u8>>,
    /// The verified chain of the peer, its own certificate first; empty if it presented none.
    pub peer_certificates: Vec<CertificateDer<'static>>,
}

/// Facts about a finished WebSocket handshake.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpFacts {
    /// The path of the request, without the query.
    pub path: String,
    /// What stood after `?`, if anything.
    pub query: Option<String>,
    /// Header fields of the peer in their order, names in lower case, values as they came.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The subprotocol that was agreed on.
    pub subprotocol: Option<String>,
}
