//! Watching what flows.

use std::net::SocketAddr;
use std::time::Duration;

use mqway_codec::{Packet, Version};

/// Numbers the connections of one worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LinkId {
    /// The worker.
    pub worker: usize,
    /// Counts up from 1.
    pub number: u64,
}

/// Which way a packet goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From the client to the server.
    ToUpstream = 0,
    /// From the server to the client.
    ToClient = 1,
}

impl Direction {
    /// The other way.
    pub(crate) fn opposite(self) -> Direction {
        match self {
            Direction::ToUpstream => Direction::ToClient,
            Direction::ToClient => Direction::ToUpstream,
        }
    }
}

/// A packet on its way through.
#[derive(Debug)]
pub struct Seen<'a> {
    /// The connection.
    pub link: LinkId,
    /// The time since the proxy's start.
    pub at: Duration,
    /// Which way it goes.
    pub direction: Direction,
    /// The version that the connection speaks.
    pub version: Version,
    /// The packet. Of a PUBLISH that is passed on while it still arrives, the payload is only its beginning.
    pub packet: &'a Packet<'a>,
    /// Bytes of the whole packet.
    pub len: usize,
    /// The payload's bytes that are not in `packet` yet, because they still arrive.
    pub missing: usize,
}

/// Is shown everything that a proxy passes on, and can change nothing. It is called on a worker and must not block.
pub trait Observer: Send + 'static {
    /// Whether it wants to see packets at all. If not, those that are like the one before are not even decoded.
    const WATCHES: bool = true;

    /// A client's connection is ready.
    fn opened(&mut self, _link: LinkId, _at: Duration, _peer: Option<SocketAddr>) {}

    /// A packet is passed on.
    fn packet(&mut self, _seen: &Seen<'_>) {}

    /// The connection is over, and why.
    fn closed(&mut self, _link: LinkId, _at: Duration, _why: &str) {}
}

/// Observes nothing.
impl Observer for () {
    const WATCHES: bool = false;
}
