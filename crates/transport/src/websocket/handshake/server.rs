//! The server's half of the handshake (RFC 6455 §4.2).

use std::sync::Arc;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{GeneralPurpose, GeneralPurposeConfig};
use httparse::{EMPTY_HEADER, Header, Request};

use super::head::{Gathered, Push, fields, is_token, list, list_contains, single};
use super::options::ServerOptions;
use super::refused::{Refused, Status};
use super::{MAX_FIELDS, accept_for};
use crate::facts::HttpFacts;
use crate::websocket::{Connection, Role};

/// Waits for an upgrade request and answers it.
#[derive(Debug)]
pub struct ServerHandshake {
    options: Arc<ServerOptions>,
    gathered: Gathered,
}

/// A request that was granted. The response has been written.
#[derive(Debug)]
pub struct Accepted {
    /// How many bytes of the input belong to the request; those behind are the connection's first frames.
    pub consumed: usize,
    /// What the request said.
    pub facts: HttpFacts,
    /// What follows.
    pub connection: Connection,
}

impl ServerHandshake {
    /// Waits for a request.
    pub fn new(options: Arc<ServerOptions>) -> ServerHandshake {
        ServerHandshake { options, gathered: Gathered::default() }
    }

    /// Takes the next bytes of the socket. `Ok(None)`: all of them are kept, the request is not complete. Otherwise
    /// the response has been appended to `out`; after a refusal the socket is flushed and closed.
    pub fn feed(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<Option<Accepted>, Refused> {
        let result = match self.gathered.push(input, self.options.max_header) {
            Push::Complete { head, consumed } => answer(head, consumed, &self.options, out).map(Some),
            Push::Partial(bytes) => match not_http(bytes) {
                Some(refused) => Err(refused),
                None => return Ok(None),
            },
            Push::TooLarge(bytes) => Err(not_http(bytes).unwrap_or_else(|| {
                let limit = self.options.max_header;
                let message = format!("Request line and header fields exceed {limit} bytes.");
                Refused::new(Status::HeaderTooLarge, message)
            })),
        };
        result.inspect_err(|refused| refused.write(out))
    }

    /// The request was not complete in time: appends the response that says so. The socket is to be closed.
    pub fn timed_out(&self, out: &mut Vec<u8>) -> Refused {
        let received = self.gathered.bytes().len();
        let refused = Refused::new(
            Status::RequestTimeout,
            format!("The request was not complete in time; {received} bytes of it came."),
        );
        refused.write(out);
        refused
    }
}

/// Tells at the first byte what is never going to be a request, rather than when time is up.
fn not_http(bytes: &[u8]) -> Option<Refused> {
    let message = match bytes {
        // RFC 9112 §2.2: a line end may precede the request.
        [] | [b'\r' | b'\n', ..] => return None,
        [first, ..] if is_token(&[*first]) => return None,
        [0x16, ..] => "This is not HTTP but looks like TLS, on a port that speaks WebSocket without TLS.",
        [0x10, ..] => {
            "This is not HTTP but looks like MQTT over TCP, on a port that speaks MQTT over WebSocket."
        }
        _ => "This is not HTTP.",
    };
    Some(Refused::new(Status::BadRequest, message))
}

/// Judges a complete head; appends the response if it is granted.
fn answer(
    head: &[u8],
    consumed: usize,
    options: &ServerOptions,
    out: &mut Vec<u8>,
) -> Result<Accepted, Refused> {
    let mut fields = [EMPTY_HEADER; MAX_FIELDS];
    let mut request = Request::new(&mut fields);
    parse(&mut request, head)?;
    let bad = |message: &str| Refused::new(Status::BadRequest, message);
    if request.method != Some("GET") {
        return Err(Refused::new(Status::MethodNotAllowed, "Only GET is served here, to open a WebSocket."));
    }
    let (path, query) = split_target(request.path.unwrap_or_default())
        .ok_or_else(|| bad("The request target must begin with '/'."))?;
    if !options.paths.is_empty() && !options.paths.iter().any(|served| served == path) {
        return Err(Refused::new(Status::NotFound, format!("No WebSocket is served at {path}.")));
    }
    let headers = &*request.headers;
    let key = check_upgrade(request.version, headers)?;
    let host = single(headers, "Host").map_err(|_| bad("More than one Host field."))?;
    let host = host.filter(|host| !host.is_empty()).ok_or_else(|| bad("The Host field is missing."))?;
    let origin = single(headers, "Origin").map_err(|_| bad("More than one Origin field."))?;
    if !options.origins.allow(origin, host) {
        return Err(Refused::new(Status::Forbidden, "Pages of this origin may not connect."));
    }
    let subprotocol = choose_subprotocol(headers, options)?;
    write_switching(&accept_for(key), subprotocol, out);
    let facts = HttpFacts {
        path: path.to_owned(),
        query: query.map(str::to_owned),
        headers: headers
            .iter()
            .map(|field| (field.name.to_ascii_lowercase(), field.value.to_vec()))
            .collect(),
        subprotocol: subprotocol.map(str::to_owned),
    };
    Ok(Accepted { consumed, facts, connection: Connection::new(Role::Server, options.limits) })
}

fn parse<'b>(request: &mut Request<'_, 'b>, head: &'b [u8]) -> Result<(), Refused> {
    match request.parse(head) {
        Ok(httparse::Status::Complete(len)) if len == head.len() => Ok(()),
        Ok(_) => Err(Refused::new(Status::BadRequest, "The request is empty.")),
        Err(httparse::Error::TooManyHeaders) => Err(Refused::new(
            Status::HeaderTooLarge,
            format!("The request has more than {MAX_FIELDS} header fields."),
        )),
        Err(httparse::Error::Version) => {
            Err(Refused::new(Status::VersionNotSupported, "A WebSocket is opened with HTTP/1.1."))
        }
        Err(error) => Err(Refused::new(Status::BadRequest, format!("The request is malformed: {error}."))),
    }
}

/// Path and query of the request target, which may be a whole URL (RFC 9112 §3.2.2).
fn split_target(target: &str) -> Option<(&str, Option<&str>)> {
    let target = match target.split_once("://") {
        Some((scheme, rest)) if !scheme.contains(['/', '?']) => match rest.find(['/', '?']) {
            Some(at) if rest.as_bytes().get(at) == Some(&b'/') => &rest[at..],
            _ => "/",
        },
        _ => target,
    };
    if !target.starts_with('/') {
        return None;
    }
    Some(match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    })
}

/// Checks that the request asks for a WebSocket of version 13, and yields its key.
fn check_upgrade<'h>(version: Option<u8>, headers: &'h [Header<'h>]) -> Result<&'h [u8], Refused> {
    let bad = |message: &str| Refused::new(Status::BadRequest, message);
    // RFC 6455 §4.2.1
    if !list_contains(headers, "Upgrade", "websocket") {
        return Err(Refused::new(
            Status::UpgradeRequired,
            "This is a WebSocket endpoint: the request lacks 'Upgrade: websocket'. A proxy on the way may have \
             removed it.",
        ));
    }
    if version != Some(1) {
        return Err(bad("A WebSocket is opened with HTTP/1.1."));
    }
    if !list_contains(headers, "Connection", "upgrade") {
        return Err(bad("The request lacks 'Connection: Upgrade'. A proxy on the way may have removed it."));
    }
    // A body would be taken for frames here, and for something else by a proxy on the way.
    let has_body = fields(headers, "Content-Length").any(|length| length != b"0")
        || fields(headers, "Transfer-Encoding").next().is_some();
    if has_body {
        return Err(bad("An upgrade request has no body."));
    }
    // RFC 6455 §4.4
    if single(headers, "Sec-WebSocket-Version").ok().flatten() != Some(b"13") {
        return Err(Refused::new(Status::WrongVersion, "Only version 13 of WebSocket is spoken here."));
    }
    let key =
        single(headers, "Sec-WebSocket-Key").map_err(|_| bad("More than one Sec-WebSocket-Key field."))?;
    key.filter(|key| is_key(key)).ok_or_else(|| bad("Sec-WebSocket-Key must be 16 bytes in base64."))
}

/// Whether this is the base64 form of 16 bytes. Stray bits in its last character are no reason to refuse a client.
fn is_key(key: &[u8]) -> bool {
    const LENIENT: GeneralPurpose = GeneralPurpose::new(
        &alphabet::STANDARD,
        GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
    );
    LENIENT.decode(key).is_ok_and(|nonce| nonce.len() == 16)
}

/// The first of the client's subprotocols that is spoken here (RFC 6455 §4.2.2).
fn choose_subprotocol<'h>(
    headers: &'h [Header<'h>],
    options: &ServerOptions,
) -> Result<Option<&'h str>, Refused> {
    let bad = |message: String| Refused::new(Status::BadRequest, message);
    if options.subprotocols.is_empty() {
        return Ok(None);
    }
    let spoken = || options.subprotocols.join(", ");
    let mut offered = false;
    for name in list(headers, "Sec-WebSocket-Protocol") {
        if !is_token(name) {
            return Err(bad("Sec-WebSocket-Protocol is not a list of names.".to_owned()));
        }
        offered = true;
        let known = options.subprotocols.iter().any(|known| known.as_bytes() == name);
        if let Some(name) = str::from_utf8(name).ok().filter(|_| known) {
            return Ok(Some(name)); // [MQTT-6.0.0-4]
        }
    }
    if offered {
        Err(bad(format!("None of the subprotocols offered is spoken here, but {}.", spoken())))
    } else if options.strict_subprotocol {
        Err(bad(format!("A subprotocol must be offered: {}.", spoken()))) // [MQTT-6.0.0-3]
    } else {
        Ok(None)
    }
}

fn write_switching(accept: &str, subprotocol: Option<&str>, out: &mut Vec<u8>) {
    let mut line = |parts: [&str; 2]| {
        for part in parts {
            out.extend_from_slice(part.as_bytes());
        }
        out.extend_from_slice(b"\r\n");
    };
    line(["HTTP/1.1 101 Switching Protocols", ""]);
    line(["Upgrade: websocket", ""]);
    line(["Connection: Upgrade", ""]);
    line(["Sec-WebSocket-Accept: ", accept]);
    if let Some(name) = subprotocol {
        line(["Sec-WebSocket-Protocol: ", name]);
    }
    line(["", ""]);
}
