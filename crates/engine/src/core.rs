//! The seam between the engine and what runs on it.

use std::fmt;

use mqway_transport::Error as TransportError;

use crate::{Io, ListenerId};

/// Names one connection of one worker, for as long as it lives; never reused.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnId {
    pub(crate) slot: u32,
    pub(crate) generation: u32,
}

impl ConnId {
    /// A small number that is unique among the connections alive on this worker: an index for a core's own table.
    pub fn slot(self) -> usize {
        self.slot as usize
    }

    /// The same name as a number, for what knows nothing of connections.
    pub fn to_bits(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.slot)
    }

    /// The name that [`ConnId::to_bits`] made a number of.
    pub fn from_bits(bits: u64) -> ConnId {
        ConnId { slot: bits as u32, generation: (bits >> 32) as u32 }
    }
}

impl fmt::Debug for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.slot, self.generation)
    }
}

impl fmt::Display for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// How a connection came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A listener accepted it.
    Accepted(ListenerId),
    /// The core asked for it with [`Io::dial`], giving this number.
    Dialled(u64),
}

/// Why a connection ended, as told to [`Core::closed`].
#[derive(Debug)]
pub enum Why {
    /// Both sides had said that they were done.
    Done,
    /// The host name gave no address.
    Resolve(String),
    /// No address of the target accepted a connection.
    Connect(std::io::Error),
    /// The socket failed.
    Socket(std::io::Error),
    /// TLS, WebSocket, a tunnel or the PROXY protocol failed.
    Transport(TransportError),
    /// A time limit passed; the text says which.
    TimedOut(&'static str),
    /// A byte limit of the engine was hit; the text says which.
    Limit(&'static str),
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Why::Done => f.write_str("closed"),
            Why::Resolve(error) => write!(f, "cannot resolve the name: {error}"),
            Why::Connect(error) => write!(f, "cannot connect: {error}"),
            Why::Socket(error) => write!(f, "connection lost: {error}"),
            Why::Transport(error) => write!(f, "{error}"),
            Why::TimedOut(what) => write!(f, "timed out: {what}"),
            Why::Limit(what) => write!(f, "over the limit: {what}"),
        }
    }
}

/// Protocol state of one worker: told what happened, says on [`Io`] what to do. It must not block.
///
/// A connection ends for the core in exactly one of three ways: the core calls [`Io::close`] or [`Io::abort`],
/// after which it hears nothing more of it; or the engine calls [`Core::closed`].
pub trait Core: 'static {
    /// What workers, and the program around them, write to each other.
    type Mail: Send + 'static;

    /// A connection is ready for application bytes: every handshake below is done.
    fn opened(&mut self, io: &mut Io<Self::Mail>, conn: ConnId, origin: Origin);

    /// Application bytes have come. Returns how many of them were used; the rest is shown again, with what
    /// follows it. Bytes may be changed in place.
    fn data(&mut self, io: &mut Io<Self::Mail>, conn: ConnId, bytes: &mut [u8]) -> usize;

    /// The peer will send no more. What was sent to it may still be on its way: see [`Io::finish`]. After an
    /// [`Io::resume`] it is told again, once the core has been shown the bytes that it had left unused.
    fn ended(&mut self, io: &mut Io<Self::Mail>, conn: ConnId);

    /// The connection is no more, or a dial has failed.
    fn closed(&mut self, io: &mut Io<Self::Mail>, conn: ConnId, why: &Why);

    /// The peer reads more slowly than the core sends: more than the high-water mark waits for it.
    fn blocked(&mut self, _io: &mut Io<Self::Mail>, _conn: ConnId) {}

    /// A connection that was [`blocked`](Core::blocked) has sent nearly everything that waited.
    fn unblocked(&mut self, _io: &mut Io<Self::Mail>, _conn: ConnId) {}

    /// A connection has come from another worker, by [`Io::hand_over`], with this mail. Unused bytes follow as data.
    fn arrived(&mut self, _io: &mut Io<Self::Mail>, _conn: ConnId, _mail: Self::Mail) {}

    /// A moment set with [`Io::set_timer`] has come.
    fn timer(&mut self, _io: &mut Io<Self::Mail>, _key: u64) {}

    /// Whether a moment set with this key still matters. Asked where many are to come; those that do not are forgotten.
    fn awaits(&self, _key: u64) -> bool {
        true
    }

    /// Mail from another worker or from outside.
    fn mail(&mut self, _io: &mut Io<Self::Mail>, _mail: Self::Mail) {}

    /// Everything of this tick has been told; what was sent is about to be written.
    fn end_tick(&mut self, _io: &mut Io<Self::Mail>) {}

    /// The program ends: no connection is accepted any more, and those that live should be ended.
    fn stop(&mut self, _io: &mut Io<Self::Mail>) {}
}
