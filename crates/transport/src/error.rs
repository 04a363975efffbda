//! Why a connection's layers gave up.

use std::fmt;

use crate::stack::Stage;

/// Who made a connection fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// The other end (or something on the way): it broke a rule, refused or went away.
    Peer,
    /// This side: its configuration or its limits.
    Local,
}

/// What failed, coarsely enough for an exit status or a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The PROXY protocol header is missing or malformed.
    ProxyProtocol,
    /// The HTTP or SOCKS5 proxy on the way refused, or answered nonsense.
    Tunnel,
    /// TLS: handshake, certificate or record. With TLS 1.3 a server's refusal of a client certificate
    /// arrives after the client's handshake ended, hence also in [`Stage::Http`] and [`Stage::Open`].
    Tls,
    /// The HTTP part of WebSocket: a wrong path, a refused upgrade, headers too large.
    Handshake,
    /// A violation of RFC 6455 after the handshake.
    WebSocket,
    /// The peer closed before the layers were up.
    Closed,
    /// The layers were not up in time.
    TimedOut,
}

/// Why a [`Stack`](crate::stack::Stack) cannot go on. Its `Display` is one line for people.
pub struct Error(Box<Inner>);

struct Inner {
    stage: Stage,
    blame: Blame,
    kind: ErrorKind,
    message: String,
}

impl Error {
    /// An error met at `stage`; `message` is the one line that people read.
    pub fn new(stage: Stage, blame: Blame, kind: ErrorKind, message: impl Into<String>) -> Error {
        Error(Box::new(Inner { stage, blame, kind, message: message.into() }))
    }

    /// Where the connection stood.
    pub fn stage(&self) -> Stage {
        self.0.stage
    }

    /// Who is to blame.
    pub fn blame(&self) -> Blame {
        self.0.blame
    }

    /// What failed.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { stage, blame, kind, message } = &*self.0;
        write!(f, "{kind:?} error of {blame:?} at {stage:?}: {message}")
    }
}

impl std::error::Error for Error {}
