//! What must survive the process, for a store: each change of it in order, and the way back.
//!
//! A client that was made by [`Client::restore`] notes every change, and [`Client::take_changes`] gives them out. To be
//! safe against a crash at any moment, two things are asked of whoever drives it:
//!
//! - Changes are stored in their order; what a crash leaves is all of them up to some point.
//! - What [`Client::output`] has is written only once the changes that were noted before it are safe, as far as
//!   [`Change::precedes_output`] says so.

use alloc::sync::Arc;
use alloc::vec::Vec;

use mqway_codec::{PacketId, PropertiesBuf, ReasonCode};

use super::{Client, Message, Options, Publication, Receipt, Released, Ticket};

/// Something that must survive the process has changed.
///
/// ```
/// use mqway_session::client::{Change, Message};
///
/// let change = Change::Accepted { ticket: 1, message: Message::new("a", "b").into() };
/// assert!(matches!(change, Change::Accepted { ticket: 1, .. }));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A message of QoS 1 or 2 was accepted.
    Accepted {
        /// Its ticket. Tickets of such messages must grow.
        ticket: Ticket,
        /// The message.
        message: Arc<Message>,
    },
    /// It has a packet identifier, and is about to be sent.
    Sent {
        /// Which message.
        ticket: Ticket,
        /// Its packet identifier.
        id: PacketId,
    },
    /// It waits again without an identifier: the server has lost the session in which it had one.
    Queued {
        /// Which message.
        ticket: Ticket,
    },
    /// PUBREC has come: only PUBREL is sent from now on. The message itself is not needed any more. [MQTT-4.3.3-4]
    Released {
        /// Which message.
        ticket: Ticket,
        /// Its packet identifier.
        id: PacketId,
    },
    /// It is done with, however it ended.
    Done {
        /// Which message.
        ticket: Ticket,
    },
    /// A message of QoS 2 that came with this identifier is the program's: should it come again, it is the same.
    Received {
        /// The packet identifier that the server gave it.
        id: PacketId,
    },
    /// The server may use the identifier for another message.
    Forgotten {
        /// The packet identifier.
        id: PacketId,
    },
}

impl Change {
    /// Whether it must be safe before anything is written that the client says after it.
    ///
    /// - [`Change::Sent`]: or the message would be sent under another identifier after a crash, and arrive twice.
    /// - [`Change::Released`]: or its PUBLISH would be sent after its PUBREL, and be taken for another message.
    /// - [`Change::Received`], before PUBREC: or the PUBREL after a crash would be for nothing that is known.
    /// - [`Change::Forgotten`], before PUBCOMP: or the next message with this identifier would be taken for the one
    ///   before, and be lost.
    ///
    /// The others only save work after a crash; and an identifier that one of them frees is used again only with a
    /// [`Change::Sent`] behind it.
    pub fn precedes_output(&self) -> bool {
        match self {
            Change::Sent { .. }
            | Change::Released { .. }
            | Change::Received { .. }
            | Change::Forgotten { .. } => true,
            Change::Accepted { .. } | Change::Queued { .. } | Change::Done { .. } => false,
        }
    }
}

/// What a store remembers of a session.
///
/// ```
/// use mqway_codec::Version;
/// use mqway_session::client::{Client, Message, Options, Progress, Saved};
///
/// let messages = vec![(1, Progress::Queued(Message::new("a", "b").into()))];
/// let client = Client::restore(Options::new(Version::V5), Saved { messages, ..Saved::default() });
/// # drop(client);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Saved {
    /// Messages that are not done with, by growing ticket.
    pub messages: Vec<(Ticket, Progress)>,
    /// Identifiers of messages of QoS 2 that came and were not released.
    pub received: Vec<PacketId>,
}

/// How far a message is.
///
/// ```
/// use mqway_session::client::Progress;
///
/// /// Whether the server has the message already.
/// fn is_over(progress: &Progress) -> bool {
///     matches!(progress, Progress::Released(_))
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It waits.
    Queued(Arc<Message>),
    /// It may have been sent with this identifier.
    Sent(PacketId, Arc<Message>),
    /// PUBREL may have been sent for it.
    Released(PacketId),
}

impl Client {
    /// The session of an earlier process, or a new one if nothing is saved; from now on its changes are noted.
    pub fn restore(options: Options, saved: Saved) -> Client {
        let mut client = Client::new(options);
        let mut journal = Vec::new();
        // Identifiers are given in the order of tickets. So where one waits without an identifier, those behind it have
        // theirs from a session that was lost, and the crash came before all of that was stored.
        let mut lost = false;
        for (ticket, progress) in saved.messages {
            let publication = |message| Publication { ticket, message, resent: false };
            match progress {
                Progress::Queued(message) => {
                    lost = true;
                    client.outbound.push_again(message.qos, publication(message));
                }
                Progress::Sent(_, message) if lost => {
                    journal.push(Change::Queued { ticket });
                    client.outbound.push_again(message.qos, publication(message));
                }
                Progress::Released(_) if lost => journal.push(Change::Done { ticket }),
                Progress::Sent(id, message) => {
                    client.known = true;
                    client.outbound.restore(id, message.qos, publication(message));
                }
                Progress::Released(id) => {
                    client.known = true;
                    // PUBREC said yes: of a message that it refused nothing would be left.
                    let (reason, properties) = (ReasonCode::Success, PropertiesBuf::new());
                    let receipt = Receipt { reason, properties, resent: false };
                    client.outbound.restore_released(id, Released { ticket, receipt });
                }
            }
        }
        for id in saved.received {
            client.known = true;
            client.inbound.restore(id);
        }
        client.journal = Some(journal);
        client
    }

    /// The changes since the last call, in order. None of a client that was not made by [`Client::restore`].
    pub fn take_changes(&mut self) -> Vec<Change> {
        self.journal.as_mut().map(core::mem::take).unwrap_or_default()
    }

    /// Notes a change, where somebody wants to know it.
    pub(super) fn note(&mut self, change: impl FnOnce() -> Change) {
        if let Some(journal) = &mut self.journal {
            journal.push(change());
        }
    }
}
