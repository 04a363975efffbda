//! What must hold for every input. The fuzz targets call these with what they invent, the tests beside this directory
//! with the corpus: each takes any bytes, and panics at a fault of the transport.

#![allow(dead_code, reason = "each of those uses its part")]
#![allow(clippy::unwrap_used, clippy::type_complexity, reason = "a test may panic, a table has rows")]

#[path = "../face_to_face/mod.rs"]
pub mod face_to_face;
pub mod stages;

use std::net::SocketAddr;

use mqway_transport::cidr::CidrList;
use mqway_transport::forwarded::client_address;
use mqway_transport::proxy_protocol::{Header, Malformed, Parser};
use mqway_transport::tunnel::{Handshake, Proxy, ProxyKind, Tunnel, TunnelError};
use mqway_transport::url::{Scheme, Secret, Url, UrlError};

/// The fuzz targets by name. Each has its corpus in `fuzz/corpus`.
pub const TARGETS: &[(&str, fn(&[u8]))] = &[
    ("transport_url", url),
    ("transport_proxy_protocol", proxy_protocol),
    ("transport_forwarded", forwarded),
    ("transport_tunnel", tunnel),
    ("transport_stack", stack),
];

/// What is shown of a URL reads back as the same one; what is said of a bad one is one line.
pub fn url(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else { return };
    let explained = |error: UrlError| assert!(!error.to_string().chars().any(char::is_control));
    match Url::parse_lenient(text) {
        // The file of a Unix socket is shown as it is, not as it would be written.
        Ok(url) if url.scheme == Scheme::Unix => assert!(url.path.starts_with('/')),
        Ok(url) => {
            let again = Url::parse(&url.to_string()).unwrap();
            assert_eq!(again, Url { user: None, password: None, ..url });
        }
        Err(error) => explained(error),
    }
    if let Err(error) = Url::parse_listener(text) {
        explained(error);
    }
    if let Err(error) = Proxy::parse(text) {
        explained(error);
    }
    if let (Ok(list), Ok(address)) = (text.parse::<CidrList>(), "192.0.2.1".parse()) {
        list.contains(address);
    }
}

/// However a header is cut, the result is the same. The first byte says how.
pub fn proxy_protocol(input: &[u8]) {
    let Some((&size, bytes)) = input.split_first() else { return };
    assert_eq!(feed_proxy_protocol(bytes, usize::from(size) + 1), feed_proxy_protocol(bytes, usize::MAX));
}

/// The header and how many bytes are left behind it.
fn feed_proxy_protocol(bytes: &[u8], size: usize) -> Result<Option<(Header, usize)>, Malformed> {
    let mut parser = Parser::default();
    let mut rest = bytes;
    while !rest.is_empty() {
        let piece = &rest[..size.min(rest.len())];
        let (used, header) = parser.feed(piece)?;
        rest = &rest[used..];
        match header {
            Some(header) => return Ok(Some((header, rest.len()))),
            None => assert_eq!(used, piece.len()),
        }
    }
    Ok(None)
}

/// Whatever stands in the fields: a peer that isn't listed is never replaced, and nobody becomes a listed address
/// unless all are.
pub fn forwarded(input: &[u8]) {
    let Some((&split, bytes)) = input.split_first() else { return };
    let trusted: CidrList = "10.0.0.0/8".parse().unwrap();
    let (a, b) = bytes.split_at(usize::from(split).min(bytes.len()));
    let peer = |text: &str| -> SocketAddr { text.parse().unwrap() };
    for names in
        [["forwarded", "forwarded"], ["x-forwarded-for", "forwarded"], ["X-Forwarded-For", "x-forwarded-for"]]
    {
        let fields = || [(names[0], a), (names[1], b)].into_iter();
        assert_eq!(client_address(fields(), peer("192.0.2.1:1"), &trusted), None);
        client_address(fields(), peer("10.0.0.1:1"), &trusted);
    }
}

/// However a proxy's answers are cut, the same ones open the tunnel. The first byte says how, and which protocol.
pub fn tunnel(input: &[u8]) {
    let Some((&choice, bytes)) = input.split_first() else { return };
    let kind = if choice & 1 == 0 { ProxyKind::HttpConnect } else { ProxyKind::Socks5 };
    let credentials = (choice & 2 == 0).then(|| ("user".to_owned(), Secret::new("pass")));
    let proxy = Proxy { kind, host: "proxy.test".into(), port: 1, credentials };
    let tunnel = Tunnel { proxy, host: "broker.test".into(), port: 1883 };
    let cut = feed_tunnel(&tunnel, bytes, usize::from(choice >> 2) + 1);
    let whole = feed_tunnel(&tunnel, bytes, usize::MAX);
    // A SOCKS proxy that runs ahead of the questions gets no tunnel, one that waits does.
    if kind == ProxyKind::HttpConnect || matches!(whole, Ok(Some(_))) {
        assert_eq!(cut.ok().flatten(), whole.ok().flatten());
    }
}

/// How many bytes are left once the tunnel is open, `None` if more must come.
fn feed_tunnel(tunnel: &Tunnel, bytes: &[u8], size: usize) -> Result<Option<usize>, TunnelError> {
    let mut out = Vec::new();
    let mut handshake = Handshake::start(tunnel, &mut out)?;
    let mut rest = bytes;
    while !rest.is_empty() {
        let piece = &rest[..size.min(rest.len())];
        let (used, open) = handshake.feed(piece, &mut out)?;
        rest = &rest[used..];
        if open {
            return Ok(Some(rest.len()));
        }
        assert_eq!(used, piece.len());
    }
    Ok(None)
}

/// Any bytes into any stage: see [`stages::torment`] for what must hold. The first bytes say which stage, whether a
/// good start precedes, and in what pieces.
pub fn stack(input: &[u8]) {
    let [number, good, a, b, noise @ ..] = input else { return };
    let (side, start) = stages::side(usize::from(*number) % stages::SIDES);
    let start = &start[..start.len() * usize::from(*good % 3) / 2];
    stages::torment(side, &[start, noise].concat(), &[usize::from(*a) + 1, usize::from(*b) * 16 + 1]);
}
