//! One connection's state, as far as it is not the socket's.

use std::net::SocketAddr;

use mqway_transport::Stack;

use crate::timers::Moment;
use crate::waiting::Waiting;
use crate::{Origin, Why};

/// How far a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Its socket is not connected yet.
    Dialling,
    /// Connected; the layers below the application's bytes are shaking hands.
    Handshaking,
    /// Application bytes flow both ways.
    Open,
    /// We said that we are done; what the peer still sends is passed on.
    Finishing,
    /// The core is done with it. Last bytes are written, what comes is thrown away.
    Closing,
}

/// A connection without its socket. Idle, it owns no buffer.
pub(crate) struct Conn {
    pub phase: Phase,
    pub origin: Origin,
    /// Absent for plain TCP and Unix sockets: nothing lies between the socket and the application.
    pub stack: Option<Box<Stack>>,
    /// The socket's peer, or the verified one that a PROXY header or a trusted forwarder named.
    pub peer: Option<SocketAddr>,
    pub waiting: Waiting,
    /// What this connection adds to the engine's count of buffered bytes.
    pub accounted: usize,
    /// The end of the present phase, for those that are bounded in time.
    pub deadline: Moment,
    pub flags: Flags,
}

/// Facts about a connection, each one bit.
#[derive(Clone, Copy, Default)]
pub(crate) struct Flags {
    /// It is on the list of those to be written at the end of the tick.
    pub dirty: bool,
    /// The core does not want to be shown bytes now.
    pub paused: bool,
    /// So much lies unread that the socket is left alone.
    pub full: bool,
    /// It is on the list of those whose unread bytes are to be shown again.
    pub resumed: bool,
    /// The core was told that it is blocked.
    pub blocked: bool,
    /// The peer said that it will send no more.
    pub peer_ended: bool,
    /// The core was told so.
    pub told_ended: bool,
    /// An error ended it: only last words are written.
    pub failed: bool,
    /// The socket's sending side is shut.
    pub shut: bool,
    /// Something was written since it was last asked.
    pub moved: bool,
    /// It is counted for the address of its peer, which then stays what it is.
    pub counted: bool,
}

impl Conn {
    pub fn new(origin: Origin, phase: Phase, peer: Option<SocketAddr>) -> Conn {
        Conn {
            phase,
            origin,
            stack: None,
            peer,
            waiting: Waiting::default(),
            accounted: 0,
            deadline: Moment::NEVER,
            flags: Flags::default(),
        }
    }

    /// Bytes that wait to be written.
    pub fn queued(&self) -> usize {
        self.waiting.queued()
    }

    /// Whether the shell should read the socket now.
    pub fn wants_input(&self) -> bool {
        let held_back = self.flags.paused || self.flags.full;
        match self.phase {
            Phase::Dialling => false,
            Phase::Open | Phase::Finishing => !held_back && !self.flags.peer_ended,
            Phase::Handshaking | Phase::Closing => !self.flags.peer_ended,
        }
    }
}

/// What the deadline of a phase is called when it passes.
pub(crate) fn deadline_name(phase: Phase) -> Why {
    Why::TimedOut(match phase {
        Phase::Dialling => "connecting",
        Phase::Handshaking => "handshake",
        Phase::Open | Phase::Finishing | Phase::Closing => "closing",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_small() {
        assert!(size_of::<Conn>() <= 96, "{}", size_of::<Conn>());
    }
}
