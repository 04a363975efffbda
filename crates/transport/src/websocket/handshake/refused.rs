//! Why a server refuses a request, and how it says so in HTTP.

use std::fmt;
use std::fmt::Write as _;

/// A refused upgrade request. The response has been written by the function that returns it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    status: Status,
    message: String,
}

/// The statuses that we answer with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    BadRequest,
    Unauthorized,
    Forbidden,
    NotFound,
    MethodNotAllowed,
    RequestTimeout,
    UpgradeRequired,
    /// Upgrade required, because this is not the version of WebSocket we speak.
    WrongVersion,
    HeaderTooLarge,
    VersionNotSupported,
}

impl Refused {
    pub(super) fn new(status: Status, message: impl Into<String>) -> Refused {
        Refused { status, message: message.into() }
    }

    /// The client has shown no credentials that are good here: HTTP 401.
    pub fn unauthorized(message: impl Into<String>) -> Refused {
        Refused::new(Status::Unauthorized, message)
    }

    /// The client may not connect, whatever it shows: HTTP 403.
    pub fn forbidden(message: impl Into<String>) -> Refused {
        Refused::new(Status::Forbidden, message)
    }

    /// The status of the HTTP response.
    pub fn status(&self) -> u16 {
        self.status.line().0
    }

    /// Appends the response, after which the connection closes.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        let (code, reason) = self.status.line();
        let connection = match self.status {
            // RFC 9110 §7.8: whoever sends Upgrade names it in Connection.
            Status::UpgradeRequired | Status::WrongVersion => "upgrade, close",
            _ => "close",
        };
        let fields = self.status.fields();
        let mut response = String::new();
        // Writing to a string cannot fail.
        let _ = write!(
            response,
            "HTTP/1.1 {code} {reason}\r\nConnection: {connection}\r\n{fields}Content-Type: text/plain; \
             charset=utf-8\r\nContent-Length: {}\r\n\r\n{}\n",
            self.message.len() + 1,
            self.message,
        );
        out.extend_from_slice(response.as_bytes());
    }
}

impl Status {
    fn line(self) -> (u16, &'static str) {
        match self {
            Status::BadRequest => (400, "Bad Request"),
            Status::Unauthorized => (401, "Unauthorized"),
            Status::Forbidden => (403, "Forbidden"),
            Status::NotFound => (404, "Not Found"),
            Status::MethodNotAllowed => (405, "Method Not Allowed"),
            Status::RequestTimeout => (408, "Request Timeout"),
            Status::UpgradeRequired | Status::WrongVersion => (426, "Upgrade Required"),
            Status::HeaderTooLarge => (431, "Request Header Fields Too Large"),
            Status::VersionNotSupported => (505, "HTTP Version Not Supported"),
        }
    }

    /// Fields that this status calls for, each with its line end.
    fn fields(self) -> &'static str {
        match self {
            // RFC 9110 §15.5.2
            Status::Unauthorized => "WWW-Authenticate: Bearer\r\nWWW-Authenticate: Basic realm=\"mqtt\"\r\n",
            Status::MethodNotAllowed => "Allow: GET\r\n",
            Status::UpgradeRequired => "Upgrade: websocket\r\n",
            // RFC 6455 §4.4
            Status::WrongVersion => "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
            _ => "",
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "answered HTTP {}: {}", self.status(), self.message)
    }
}

impl std::error::Error for Refused {}
