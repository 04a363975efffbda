//! What observers are told.

use mqway_codec::{QoS, ReasonCode};

use crate::{Message, Phase};

/// Something that has happened.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A client was not let in: at its WebSocket upgrade, or by CONNACK.
    Refused {
        /// The reason, as whoever refused it gave it.
        reason: ReasonCode,
        /// It failed to show who it is: its credentials are wrong, or it has none. Else it is not wanted for something
        /// else.
        failed: bool,
        /// In words, for the log.
        why: &'a str,
    },
    /// CONNACK has accepted the client.
    Connected {
        /// It came back to its session.
        session_present: bool,
    },
    /// A new session has begun.
    SessionCreated,
    /// A client has come back to its session.
    SessionResumed,
    /// A session has ended.
    SessionTerminated {
        /// Its time was up; else it was ended by a clean start, by its client, or from outside.
        expired: bool,
    },
    /// A subscription is made.
    Subscribed {
        /// As it is known to the server.
        filter: &'a str,
        /// What was granted.
        qos: QoS,
    },
    /// A subscription is no more, at its client's wish.
    Unsubscribed {
        /// As it is known to the server.
        filter: &'a str,
    },
    /// A message of the client was accepted: by the broker, or by the proxy's upstream.
    Published(&'a Message<'a>),
    /// A message was sent to the client.
    Delivered(&'a Message<'a>),
    /// The client has acknowledged a message.
    Acknowledged {
        /// Its topic.
        topic: &'a str,
        /// The QoS that it was sent with.
        qos: QoS,
    },
    /// A message from the client, or for it, was dropped.
    Dropped {
        /// Its topic.
        topic: &'a str,
        /// Why; also the name of the counter that counts it.
        why: &'a str,
    },
    /// The client's will was published.
    WillPublished(&'a Message<'a>),
    /// The connection is over.
    Disconnected {
        /// Who ended it.
        by: By,
        /// The reason, where there is a code for it.
        reason: ReasonCode,
        /// In words.
        why: &'a str,
    },
    /// The server stops; of no client.
    Stop,
}

/// Who ended a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// The client, by DISCONNECT.
    Client,
    /// The client or the network, by closing without a word.
    Network,
    /// We, or the upstream.
    Server,
}

impl Event<'_> {
    /// The phase that it belongs to.
    pub fn phase(&self) -> Phase {
        match self {
            Event::Refused { .. } => Phase::Refused,
            Event::Connected { .. } => Phase::Connected,
            Event::SessionCreated => Phase::SessionCreated,
            Event::SessionResumed => Phase::SessionResumed,
            Event::SessionTerminated { .. } => Phase::SessionTerminated,
            Event::Subscribed { .. } => Phase::Subscribed,
            Event::Unsubscribed { .. } => Phase::Unsubscribed,
            Event::Published(_) => Phase::Published,
            Event::Delivered(_) => Phase::Delivered,
            Event::Acknowledged { .. } => Phase::Acknowledged,
            Event::Dropped { .. } => Phase::Dropped,
            Event::WillPublished(_) => Phase::WillPublished,
            Event::Disconnected { .. } => Phase::Disconnected,
            Event::Stop => Phase::Stop,
        }
    }
}
