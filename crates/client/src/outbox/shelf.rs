//! What a store has, in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mqway_codec::PacketId;
use mqway_session::client::{Change, Message, Progress, Saved, Ticket};

use super::OutboxError;

/// Bytes that a message takes beside its topic, payload and properties, about.
const OVERHEAD: usize = 64;

/// The state that changes lead to. Messages are shared with the session, not copied.
#[derive(Clone, Debug, Default)]
pub(super) struct Shelf {
    pub accepted: Ticket,
    pub messages: BTreeMap<Ticket, Progress>,
    pub received: BTreeSet<PacketId>,
    /// Of all messages.
    pub bytes: usize,
}

impl Shelf {
    pub fn saved(&self) -> Saved {
        Saved {
            messages: self.messages.iter().map(|(ticket, one)| (*ticket, one.clone())).collect(),
            received: self.received.iter().copied().collect(),
        }
    }

    /// What leads from an empty shelf to this one, but for the count of messages.
    pub fn changes(&self) -> impl Iterator<Item = Change> + '_ {
        let messages = self.messages.iter().flat_map(|(ticket, progress)| {
            let ticket = *ticket;
            let (message, id) = match progress {
                Progress::Queued(message) => (Some(message), None),
                Progress::Sent(id, message) => (Some(message), Some(Change::Sent { ticket, id: *id })),
                Progress::Released(id) => (None, Some(Change::Released { ticket, id: *id })),
            };
            let accepted = message.map(|message| Change::Accepted { ticket, message: message.clone() });
            accepted.into_iter().chain(id)
        });
        messages.chain(self.received.iter().map(|id| Change::Received { id: *id }))
    }

    /// # Errors
    /// If the change does not follow from those before.
    pub fn apply(&mut self, change: &Change) -> Result<(), OutboxError> {
        match change {
            Change::Accepted { ticket, message } => {
                self.accepted = self.accepted.max(*ticket);
                self.put(*ticket, Progress::Queued(message.clone()));
            }
            Change::Sent { ticket, id } => {
                let message = self.take_message(*ticket)?;
                self.put(*ticket, Progress::Sent(*id, message));
            }
            Change::Queued { ticket } => {
                let message = self.take_message(*ticket)?;
                self.put(*ticket, Progress::Queued(message));
            }
            Change::Released { ticket, id } => {
                self.take(*ticket);
                self.put(*ticket, Progress::Released(*id));
            }
            Change::Done { ticket } => drop(self.take(*ticket)),
            Change::Received { id } => drop(self.received.insert(*id)),
            Change::Forgotten { id } => drop(self.received.remove(id)),
        }
        Ok(())
    }

    fn put(&mut self, ticket: Ticket, progress: Progress) {
        self.bytes = self.bytes.saturating_add(size(&progress));
        self.messages.insert(ticket, progress);
    }

    fn take(&mut self, ticket: Ticket) -> Option<Progress> {
        let progress = self.messages.remove(&ticket)?;
        self.bytes = self.bytes.saturating_sub(size(&progress));
        Some(progress)
    }

    /// Takes a message whose payload is still there.
    fn take_message(&mut self, ticket: Ticket) -> Result<Arc<Message>, OutboxError> {
        match self.take(ticket) {
            Some(Progress::Queued(message) | Progress::Sent(_, message)) => Ok(message),
            Some(Progress::Released(_)) | None => {
                Err(OutboxError::Damaged(format!("there is no message {ticket} to be sent")))
            }
        }
    }
}

fn size(progress: &Progress) -> usize {
    match progress {
        Progress::Queued(message) | Progress::Sent(_, message) => {
            let properties = message.properties.as_properties().as_bytes().len();
            OVERHEAD + message.topic.len() + message.payload.len() + properties
        }
        Progress::Released(_) => OVERHEAD,
    }
}
