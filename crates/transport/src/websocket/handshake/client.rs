//! The client's half of the handshake (RFC 6455 §4.1).

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use httparse::{EMPTY_HEADER, Header, Response};

use super::head::{Gathered, Push, fields, list, list_contains, single};
use super::options::ClientOptions;
use super::{MAX_FIELDS, accept_for};
use crate::facts::HttpFacts;
use crate::websocket::{Connection, Role};

/// Has sent an upgrade request and waits for the answer.
#[derive(Debug)]
pub struct ClientHandshake {
    asked: Asked,
    gathered: Gathered,
    /// Bytes of interim responses that have been passed over; they count towards the limit.
    interim: usize,
}

/// What was asked of the server.
#[derive(Debug)]
struct Asked {
    options: Arc<ClientOptions>,
    /// What `Sec-WebSocket-Accept` must be.
    accept: String,
}

/// A request that the server granted.
#[derive(Debug)]
pub struct Connected {
    /// How many bytes of the input belong to the response; those behind are the connection's first frames.
    pub consumed: usize,
    /// Path and query asked for, what the response said.
    pub facts: HttpFacts,
    /// What follows.
    pub connection: Connection,
}

/// Why there is no WebSocket, as exactly as can be said.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeError {
    /// The operating system has no random bytes to give.
    #[error("no randomness for the WebSocket handshake")]
    NoRandomness,
    /// The server closed the connection.
    #[error("server closed during the WebSocket handshake{}", after(*.received))]
    Closed {
        /// How many bytes of an answer had come.
        received: usize,
    },
    /// The answer is no HTTP.
    #[error("server does not answer the WebSocket handshake with HTTP but with \"{start}\"")]
    NotHttp {
        /// Its first bytes, escaped.
        start: String,
    },
    /// The answer is TLS.
    #[error("server answers the WebSocket handshake in TLS; should the URL begin with wss://?")]
    Tls,
    /// The answer is HTTP, but damaged.
    #[error("server's answer to the WebSocket handshake is malformed: {0}")]
    Malformed(String),
    /// The head of the answer exceeds the limit.
    #[error("server's answer to the WebSocket handshake has a head of more than {limit} bytes")]
    HeaderTooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// Another status than 101.
    #[error("{0}")]
    Refused(Box<RefusedByServer>),
    /// Status 101 without what makes it WebSocket.
    #[error("server switches protocols, but its answer lacks '{0}'")]
    NotUpgraded(&'static str),
    /// The server has not understood the key: it is no WebSocket server, or something answered from a cache.
    #[error("server answers the WebSocket handshake with a wrong Sec-WebSocket-Accept")]
    WrongAccept,
    /// A subprotocol that was not offered.
    #[error("server chose the WebSocket subprotocol '{0}', which was not offered")]
    UnaskedSubprotocol(String),
    /// None of the subprotocols was chosen although one is required.
    #[error("server chose none of the WebSocket subprotocols {0}")]
    NoSubprotocol(String),
    /// An extension; we offer none.
    #[error("server chose the WebSocket extension '{0}', which was not offered")]
    UnaskedExtension(String),
}

/// An answer that refuses. Texts are escaped where need be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RefusedByServer {
    /// The status code.
    pub status: u16,
    /// The words behind it.
    pub reason: String,
    /// Where a redirection points to. It is not followed.
    pub location: Option<String>,
    /// The authentication that is wanted.
    pub authenticate: Option<String>,
    /// The beginning of the body, as far as it came along with the head.
    pub body: String,
}

/// How many bytes of something unexpected are shown.
const MAX_SHOWN: usize = 200;

impl ClientHandshake {
    /// Appends the request to `out`.
    pub fn start(options: Arc<ClientOptions>, out: &mut Vec<u8>) -> Result<ClientHandshake, HandshakeError> {
        // RFC 6455 §4.1: a nonce of 16 random bytes, new for each connection.
        let mut nonce = [0; 16];
        getrandom::fill(&mut nonce).map_err(|_| HandshakeError::NoRandomness)?;
        let key = STANDARD.encode(nonce);
        write_request(&options, &key, out);
        let accept = accept_for(key.as_bytes());
        Ok(ClientHandshake { asked: Asked { options, accept }, gathered: Gathered::default(), interim: 0 })
    }

    /// Takes the next bytes of the socket. `Ok(None)`: all of them are kept, the response is not complete.
    pub fn feed(&mut self, input: &[u8]) -> Result<Option<Connected>, HandshakeError> {
        let max_header = self.asked.options.max_header;
        let mut at = 0;
        loop {
            let limit = max_header.saturating_sub(self.interim);
            let (head, consumed) = match self.gathered.push(&input[at..], limit) {
                Push::Complete { head, consumed } => (head, consumed),
                Push::Partial(bytes) => return check_start(bytes).map(|()| None),
                Push::TooLarge(bytes) => {
                    check_start(bytes)?;
                    return Err(HandshakeError::HeaderTooLarge { limit: max_header });
                }
            };
            check_start(head)?;
            at += consumed;
            let mut fields = [EMPTY_HEADER; MAX_FIELDS];
            let mut response = Response::new(&mut fields);
            parse(&mut response, head)?;
            match response.code.unwrap_or_default() {
                101 => {
                    let facts = self.asked.check(&response)?;
                    let connection = Connection::new(Role::Client, self.asked.options.limits);
                    return Ok(Some(Connected { consumed: at, facts, connection }));
                }
                // RFC 9110 §15.2: interim responses may come before the final one.
                100..=199 => {
                    self.interim += head.len();
                    self.gathered.clear();
                }
                _ => return Err(refused(&response, &input[at..])),
            }
        }
    }

    /// The server closed the connection before its response was complete.
    pub fn closed(&self) -> HandshakeError {
        HandshakeError::Closed { received: self.gathered.bytes().len() }
    }
}

impl Asked {
    /// Checks that a response of status 101 is the one we want.
    fn check(&self, response: &Response<'_, '_>) -> Result<HttpFacts, HandshakeError> {
        let headers = &*response.headers;
        if response.version != Some(1) {
            return Err(HandshakeError::Malformed("HTTP/1.0 cannot switch protocols".to_owned()));
        }
        // RFC 6455 §4.1, the list of what the client MUST validate.
        if !list_contains(headers, "Upgrade", "websocket") {
            return Err(HandshakeError::NotUpgraded("Upgrade: websocket"));
        }
        if !list_contains(headers, "Connection", "upgrade") {
            return Err(HandshakeError::NotUpgraded("Connection: Upgrade"));
        }
        match single(headers, "Sec-WebSocket-Accept") {
            Ok(None) => return Err(HandshakeError::NotUpgraded("Sec-WebSocket-Accept")),
            Ok(Some(accept)) if accept == self.accept.as_bytes() => {}
            _ => return Err(HandshakeError::WrongAccept),
        }
        if let Some(extension) = list(headers, "Sec-WebSocket-Extensions").next() {
            return Err(HandshakeError::UnaskedExtension(shown(extension)));
        }
        let subprotocol = self.check_subprotocol(headers)?;
        let (path, query) = match self.options.target.split_once('?') {
            Some((path, query)) => (path, Some(query.to_owned())),
            None => (self.options.target.as_str(), None),
        };
        let named = |field: &Header<'_>| (field.name.to_ascii_lowercase(), field.value.to_vec());
        Ok(HttpFacts {
            path: path.to_owned(),
            query,
            headers: headers.iter().map(named).collect(),
            subprotocol,
        })
    }

    fn check_subprotocol(&self, headers: &[Header<'_>]) -> Result<Option<String>, HandshakeError> {
        let offered = &self.options.subprotocols;
        let mut chosen = fields(headers, "Sec-WebSocket-Protocol");
        match (chosen.next(), chosen.next()) {
            (None, _) if self.options.require_subprotocol && !offered.is_empty() => {
                Err(HandshakeError::NoSubprotocol(offered.join(", ")))
            }
            (None, _) => Ok(None),
            (Some(name), None) => match offered.iter().find(|offer| offer.as_bytes() == name) {
                Some(offer) => Ok(Some(offer.clone())),
                None => Err(HandshakeError::UnaskedSubprotocol(shown(name))),
            },
            (Some(_), Some(_)) => {
                Err(HandshakeError::Malformed("more than one Sec-WebSocket-Protocol field".to_owned()))
            }
        }
    }
}

fn write_request(options: &ClientOptions, key: &str, out: &mut Vec<u8>) {
    let mut line = |parts: [&str; 3]| {
        for part in parts {
            out.extend_from_slice(part.as_bytes());
        }
        out.extend_from_slice(b"\r\n");
    };
    line(["GET ", &options.target, " HTTP/1.1"]);
    line(["Host: ", &options.host, ""]);
    line(["Upgrade: websocket", "", ""]);
    line(["Connection: Upgrade", "", ""]);
    line(["Sec-WebSocket-Key: ", key, ""]);
    line(["Sec-WebSocket-Version: 13", "", ""]);
    if !options.subprotocols.is_empty() {
        // [MQTT-6.0.0-3]
        line(["Sec-WebSocket-Protocol: ", &options.subprotocols.join(", "), ""]);
    }
    if let Some(origin) = &options.origin {
        line(["Origin: ", origin, ""]);
    }
    for (name, value) in &options.headers {
        line([name, ": ", value]);
    }
    line(["", "", ""]);
}

/// Tells at the first bytes what is never going to be an HTTP response.
fn check_start(bytes: &[u8]) -> Result<(), HandshakeError> {
    let expected = b"HTTP/1.";
    let len = bytes.len().min(expected.len());
    if bytes[..len] == expected[..len] {
        return Ok(());
    }
    // An alert of any version (RFC 8446 §5.1): so begins the answer of a TLS server to what is no TLS.
    match bytes {
        [0x15] => return Ok(()), // The next byte tells.
        [0x15, 0x03, ..] => return Err(HandshakeError::Tls),
        _ => {}
    }
    Err(HandshakeError::NotHttp { start: bytes[..bytes.len().min(32)].escape_ascii().to_string() })
}

fn parse<'b>(response: &mut Response<'_, 'b>, head: &'b [u8]) -> Result<(), HandshakeError> {
    match response.parse(head) {
        Ok(httparse::Status::Complete(len)) if len == head.len() => Ok(()),
        Ok(_) => Err(HandshakeError::Malformed("its head is incomplete".to_owned())),
        Err(error) => Err(HandshakeError::Malformed(error.to_string())),
    }
}

/// The error for a status that is not 101, with what helps to find out why.
fn refused(response: &Response<'_, '_>, rest: &[u8]) -> HandshakeError {
    let field = |name| fields(response.headers, name).next().map(shown);
    let reason = response.reason.unwrap_or_default();
    HandshakeError::Refused(Box::new(RefusedByServer {
        status: response.code.unwrap_or_default(),
        reason: shown(reason.as_bytes()),
        location: field("Location"),
        authenticate: field("WWW-Authenticate"),
        body: shown(rest),
    }))
}

impl fmt::Display for RefusedByServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "server answers the WebSocket handshake with HTTP {}", self.status)?;
        if !self.reason.is_empty() {
            write!(f, " {}", self.reason)?;
        }
        if let Some(location) = &self.location {
            write!(f, ", redirects to {location}")?;
        }
        if let Some(authenticate) = &self.authenticate {
            write!(f, ", wants authentication: {authenticate}")?;
        }
        if !self.body.is_empty() {
            write!(f, ": {}", self.body)?;
        }
        Ok(())
    }
}

/// The beginning of a text of the server's as one line without control characters.
fn shown(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(MAX_SHOWN)]);
    let words: Vec<&str> = text.split_whitespace().collect();
    let mut line = String::new();
    for character in words.join(" ").chars() {
        match character {
            '"' | '\'' | '\\' => line.push(character),
            _ => line.extend(character.escape_debug()),
        }
    }
    line
}

fn after(received: usize) -> String {
    if received == 0 { String::new() } else { format!(", {received} bytes into its answer") }
}
