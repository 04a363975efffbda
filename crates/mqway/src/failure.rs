//! How a command ends when it does not end well: one line on stderr, and an exit status that says which kind.

use std::fmt;
use std::io;
use std::process::ExitCode;

use mqway_codec::{Properties, ReasonCode};
use mqway_transport::{ErrorKind, Stage};

use crate::logging::say;

/// What a shell script can tell apart by the exit status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Anything that has no number of its own.
    Other = 1,
    /// A flag, a URL, a variable or a file that cannot be meant like this.
    Usage = 2,
    /// The name has no address, or nothing accepted the connection.
    Network = 3,
    /// TLS: no common ground, or a certificate that does not hold.
    Tls = 4,
    /// The other end is no WebSocket server that would take us.
    WebSocket = 5,
    /// CONNACK said no.
    Refused = 6,
    /// The server took the connection, but not the subscription or the publication.
    Denied = 7,
    /// Our own time limit passed.
    TimedOut = 8,
    /// The connection was there, and broke.
    Lost = 9,
}

impl Status {
    /// The kind of a failure of the layers below MQTT, before they were up.
    pub fn of_layers(error: &mqway_transport::Error) -> Status {
        match (error.kind(), error.stage()) {
            (ErrorKind::TimedOut, _) => Status::TimedOut,
            (ErrorKind::Tls, _) | (ErrorKind::Closed, Stage::Tls) => Status::Tls,
            (ErrorKind::Handshake | ErrorKind::WebSocket, _) | (ErrorKind::Closed, Stage::Http) => {
                Status::WebSocket
            }
            _ => Status::Network,
        }
    }
}

/// Why a command gives up: for people the message, for scripts the status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Which kind.
    pub status: Status,
    /// What, where and, if it is known, how to mend it: one line, without credentials. Empty if it has been told.
    pub message: String,
}

impl Failure {
    /// A failure of that kind.
    pub fn new(status: Status, message: impl fmt::Display) -> Failure {
        Failure { status, message: one_line(&message.to_string()) }
    }

    /// What the user wrote cannot be meant like this.
    pub fn usage(message: impl fmt::Display) -> Failure {
        Failure::new(Status::Usage, message)
    }

    /// None of the kinds that have a number.
    pub fn other(message: impl fmt::Display) -> Failure {
        Failure::new(Status::Other, message)
    }

    /// stdout has said it all; only the status is left.
    pub fn told(status: Status) -> Failure {
        Failure { status, message: String::new() }
    }

    /// stdout takes no more: the disk is full, say.
    pub fn stdout(error: &io::Error) -> Failure {
        Failure::other(format_args!("cannot write to stdout: {error}"))
    }

    /// Prints the message and becomes the exit status.
    pub fn report(&self) -> ExitCode {
        if !self.message.is_empty() {
            say(format_args!("mqway: {}", self.message));
        }
        ExitCode::from(self.status as u8)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// A reason code with its name, and what the server says besides.
pub fn in_words(reason: ReasonCode, properties: &Properties<'_>) -> String {
    let mut text = format!("{reason} (0x{:02X})", reason.code());
    for words in [properties.reason_string(), properties.server_reference()].into_iter().flatten() {
        // Whatever it is, it must not write on our terminal.
        text.push_str(&format!(", {:?}", words));
    }
    text
}

/// Joins the lines of a longer message (those of libraries are), and drops empty ones.
fn one_line(text: &str) -> String {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_one_line() {
        assert_eq!(Failure::usage("this\n\n  and that\n").message, "this; and that");
    }

    #[test]
    fn statuses_are_those_that_scripts_rely_on() {
        assert_eq!(Status::Usage as u8, 2);
        assert_eq!(Status::Lost as u8, 9);
    }
}
