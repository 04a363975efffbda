//! What the two ends of a handshake are told beforehand.

use super::origin::Origins;
use super::{DEFAULT_MAX_HEAD, head};
use crate::websocket::Limits;

/// What a listener accepts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerOptions {
    /// The paths that are a WebSocket, compared as they stand in the request, without the query. Any other is
    /// answered with 404. Empty: every path.
    pub paths: Vec<String>,
    /// The subprotocols that are spoken here. Of those that the client offers, the first that is among them is
    /// chosen; if none is, the answer is 400. Empty: subprotocols are ignored and none is chosen.
    pub subprotocols: Vec<String>,
    /// Refuse a client that offers no subprotocol at all, as it must for MQTT [MQTT-6.0.0-3] and some do not.
    pub strict_subprotocol: bool,
    /// The web pages that may connect; others are answered with 403.
    pub origins: Origins,
    /// The most bytes of request line and header fields; more are answered with 431.
    pub max_header: usize,
    /// Limits of the connection that follows.
    pub limits: Limits,
}

impl Default for ServerOptions {
    fn default() -> ServerOptions {
        ServerOptions {
            paths: vec!["/mqtt".to_owned()],
            subprotocols: vec!["mqtt".to_owned(), "mqttv3.1".to_owned()],
            strict_subprotocol: false,
            origins: Origins::Any,
            max_header: DEFAULT_MAX_HEAD,
            limits: Limits::default(),
        }
    }
}

/// What a client asks for. Everything in it fits in a request as it is: nothing can smuggle a line in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientOptions {
    pub(super) host: String,
    pub(super) target: String,
    pub(super) origin: Option<String>,
    /// Names and values, checked.
    pub(super) headers: Vec<(String, String)>,
    pub(super) subprotocols: Vec<String>,
    pub(super) require_subprotocol: bool,
    pub(super) max_header: usize,
    pub(super) limits: Limits,
}

/// An option that cannot stand in a request or a configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidOption {
    /// Not a host name or address.
    #[error("'{}' is no host for a WebSocket request", .0.escape_debug())]
    Host(String),
    /// Not an absolute path of visible ASCII characters.
    #[error("WebSocket path '{}' must begin with '/' and have spaces and such percent-encoded", .0.escape_debug())]
    Path(String),
    /// Not the name of a header field.
    #[error("'{}' is no name of an HTTP header field", .0.escape_debug())]
    HeaderName(String),
    /// A control character, such as a line end, in the value of the field of this name.
    #[error("the value of header field '{0}' has a control character in it")]
    HeaderValue(String),
    /// A field that the handshake itself decides on.
    #[error("header field '{0}' belongs to the WebSocket handshake and cannot be set")]
    HeaderReserved(String),
    /// Not a subprotocol's name, or named twice.
    #[error("'{}' is no WebSocket subprotocol, or is named twice", .0.escape_debug())]
    Subprotocol(String),
    /// Not an origin.
    #[error("'{}' is no origin: https://host, https://host:port, https://*.domain or null is meant", .0.escape_debug())]
    Origin(String),
}

/// Fields that an application cannot set besides those that begin with `Sec-WebSocket-`.
const RESERVED_FIELDS: [&str; 4] = ["Upgrade", "Connection", "Content-Length", "Transfer-Encoding"];

impl ClientOptions {
    /// A request to `host` (a name or an address, IPv6 with or without brackets) at `port` for `path` with its
    /// query, if any. `secure` decides which port need not be named: 443 or 80. The subprotocol is `mqtt`.
    pub fn new(host: &str, port: u16, secure: bool, path: &str) -> Result<ClientOptions, InvalidOption> {
        let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
        let brackets = bare.contains(':');
        // The zone of an IPv6 address means something on this machine only.
        let bare = if brackets { bare.split('%').next().unwrap_or(bare) } else { bare };
        if bare.is_empty()
            || !bare.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~:".contains(&byte))
        {
            return Err(InvalidOption::Host(host.to_owned()));
        }
        let mut host = if brackets { format!("[{bare}]") } else { bare.to_owned() };
        // RFC 6455 §4.1: the port stands in Host if it is not the default one.
        if port != if secure { 443 } else { 80 } {
            host.push_str(&format!(":{port}"));
        }
        if !path.starts_with('/') || !path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#') {
            return Err(InvalidOption::Path(path.to_owned()));
        }
        Ok(ClientOptions {
            host,
            target: path.to_owned(),
            origin: None,
            headers: Vec::new(),
            subprotocols: vec!["mqtt".to_owned()],
            require_subprotocol: false,
            max_header: DEFAULT_MAX_HEAD,
            limits: Limits::default(),
        })
    }

    /// Adds a header field. `Host` replaces the one made of host and port.
    pub fn header(mut self, name: &str, value: &str) -> Result<ClientOptions, InvalidOption> {
        if !head::is_token(name.as_bytes()) {
            return Err(InvalidOption::HeaderName(name.to_owned()));
        }
        if value.bytes().any(|byte| byte.is_ascii_control() && byte != b'\t') {
            return Err(InvalidOption::HeaderValue(name.to_owned()));
        }
        let websocket = name.get(..14).is_some_and(|start| start.eq_ignore_ascii_case("Sec-WebSocket-"));
        if websocket || RESERVED_FIELDS.iter().any(|reserved| name.eq_ignore_ascii_case(reserved)) {
            return Err(InvalidOption::HeaderReserved(name.to_owned()));
        }
        let value = value.trim_matches([' ', '\t']).to_owned();
        if name.eq_ignore_ascii_case("Host") {
            self.host = value;
        } else {
            self.headers.push((name.to_owned(), value));
        }
        Ok(self)
    }

    /// Offers these subprotocols, the preferred one first, instead of `mqtt`; none if empty.
    pub fn subprotocols<S: AsRef<str>>(
        mut self,
        names: impl IntoIterator<Item = S>,
    ) -> Result<ClientOptions, InvalidOption> {
        self.subprotocols.clear();
        for name in names {
            let name = name.as_ref();
            // RFC 6455 §4.1: tokens, each of them once.
            if !head::is_token(name.as_bytes()) || self.subprotocols.iter().any(|other| other == name) {
                return Err(InvalidOption::Subprotocol(name.to_owned()));
            }
            self.subprotocols.push(name.to_owned());
        }
        Ok(self)
    }

    /// Refuses a server that chooses none of the subprotocols. Many MQTT servers do so; by default they are taken.
    pub fn require_subprotocol(mut self, required: bool) -> ClientOptions {
        self.require_subprotocol = required;
        self
    }

    /// Sends an `Origin` field as a browser does.
    pub fn origin(mut self, origin: &str) -> Result<ClientOptions, InvalidOption> {
        if origin.is_empty() || !origin.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(InvalidOption::Origin(origin.to_owned()));
        }
        self.origin = Some(origin.to_owned());
        Ok(self)
    }

    /// The most bytes of status line and header fields that are taken; 16 KiB by default.
    pub fn max_header(mut self, bytes: usize) -> ClientOptions {
        self.max_header = bytes;
        self
    }

    /// Limits of the connection that follows.
    pub fn limits(mut self, limits: Limits) -> ClientOptions {
        self.limits = limits;
        self
    }
}
