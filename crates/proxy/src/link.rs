//! One client and its upstream.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use mqway_codec::{Decoder, Version};
use mqway_engine::{ConnId, Io};

use crate::core::{Key, Mail};

use crate::familiar::Familiar;
use crate::guard::Guard;
use crate::upstreams::Upstreams;
use crate::who::Packed;
use crate::{Direction, LARGEST_PACKET, LinkId};

/// The largest CONNECT: every field of it as long as the specification allows, properties apart.
pub(crate) const LARGEST_CONNECT: usize = 512 * 1024;

/// Which end of a link a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Client,
    Upstream,
}

impl Side {
    /// Where bytes go that come from this side.
    pub fn direction(self) -> Direction {
        match self {
            Side::Client => Direction::ToUpstream,
            Side::Upstream => Direction::ToClient,
        }
    }
}

/// How far a link is.
pub(crate) enum Phase {
    /// The client's CONNECT has not come.
    Fresh,
    /// CONNECT has come, and hooks judge it. What follows it waits unread, AUTH apart.
    Judging,
    /// An upstream is being dialled. CONNECT, and whatever follows it, waits unread.
    Dialling(Box<Candidates>),
    /// CONNECT was passed on and CONNACK has not come. Of the client only AUTH and DISCONNECT are passed on.
    Connecting,
    /// Packets flow both ways.
    Open,
    /// The client is done, and the upstream was told. What still comes from it goes to the client.
    Leaving {
        /// The client did not wait for CONNACK, which may still come.
        before_connack: bool,
    },
}

/// The upstreams that a client may go to.
pub(crate) struct Candidates {
    /// The list that the numbers below refer to: a reload may have brought another one meanwhile.
    pub upstreams: Arc<Upstreams>,
    /// Being dialled.
    pub current: usize,
    /// To be tried after it, in order.
    pub others: VecDeque<usize>,
    /// What to tell of the client's own limits when it must be refused.
    pub client: ClientTerms,
}

/// What a client's CONNECT says about the answers it takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ClientTerms {
    pub version: Version,
    /// Bytes of the largest packet that it takes.
    pub packet: usize,
}

/// A client connection and the upstream connection made for it.
pub(crate) struct Link {
    pub id: LinkId,
    pub client: ConnId,
    pub upstream: Option<ConnId>,
    pub phase: Phase,
    /// When the present phase must have ended.
    pub deadline: Duration,
    /// When the timer that is set for it comes. A later deadline waits for that one, and sets the next then, so that
    /// no more than one is set for each link that comes and goes.
    pub timer_at: Duration,
    pub to_upstream: Stream,
    pub to_client: Stream,
    /// Present where there are hooks, or were.
    pub guard: Option<Box<Guard>>,
    /// Who the client is, where there is no guard to know it.
    pub who: Option<Packed>,
}

/// One direction of a link.
pub(crate) struct Stream {
    pub decoder: Decoder,
    /// Bytes still to come of a packet that is passed on in pieces.
    pub passing: usize,
    /// The last PUBLISH, for the next one.
    pub familiar: Familiar,
}

impl Link {
    pub fn new(id: LinkId, client: ConnId, packet_limit: usize, deadline: Duration) -> Link {
        Link {
            id,
            client,
            upstream: None,
            phase: Phase::Fresh,
            deadline,
            timer_at: Duration::MAX,
            to_upstream: Stream {
                decoder: Decoder::new(packet_limit.min(LARGEST_CONNECT)),
                passing: 0,
                familiar: Familiar::default(),
            },
            // The version comes with CONNECT; nothing is read in this direction before.
            to_client: Stream {
                decoder: Decoder::new(LARGEST_PACKET),
                passing: 0,
                familiar: Familiar::default(),
            },
            guard: None,
            who: None,
        }
    }

    /// The version that the client speaks, once its CONNECT was passed on.
    pub fn version(&self) -> Option<Version> {
        self.to_client.decoder.version()
    }

    /// Sets a timer for the deadline, if there is one and none that comes before it is set.
    pub fn arm(&mut self, io: &mut Io<Mail>, key: Key) {
        if self.deadline < self.timer_at {
            self.timer_at = self.deadline;
            io.set_timer(self.deadline, key.0);
        }
    }

    /// Whether the upstream may still answer CONNECT.
    pub fn awaits_connack(&self) -> bool {
        matches!(self.phase, Phase::Connecting | Phase::Leaving { before_connack: true })
    }

    /// The connection at one side.
    pub fn conn(&self, side: Side) -> Option<ConnId> {
        match side {
            Side::Client => Some(self.client),
            Side::Upstream => self.upstream,
        }
    }

    pub fn other(&self, side: Side) -> Option<ConnId> {
        match side {
            Side::Client => self.upstream,
            Side::Upstream => Some(self.client),
        }
    }
}
