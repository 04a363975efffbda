//! How much an outbox holds.

use std::collections::BTreeMap;

use mqway_session::client::{Change, Message, Progress, Saved, Ticket};

use super::Limits;

/// What a message counts beside its topic, payload and properties.
const OVERHEAD: usize = 64;

/// Number and size of the messages that are not done with.
#[derive(Debug)]
pub(super) struct Ledger {
    limits: Limits,
    sizes: BTreeMap<Ticket, u32>,
    bytes: usize,
}

impl Ledger {
    pub fn new(limits: Limits, saved: &Saved) -> Ledger {
        let mut ledger = Ledger { limits, sizes: BTreeMap::new(), bytes: 0 };
        for (ticket, progress) in &saved.messages {
            match progress {
                Progress::Queued(message) | Progress::Sent(_, message) => ledger.add(*ticket, message),
                Progress::Released(_) => ledger.add_size(*ticket, OVERHEAD),
            }
        }
        ledger
    }

    /// A message may be done with.
    pub fn note(&mut self, change: &Change) {
        if let Change::Done { ticket } = change {
            let size = self.sizes.remove(ticket).unwrap_or(0);
            self.bytes = self.bytes.saturating_sub(size as usize);
        }
    }

    /// Messages that are not done with.
    pub fn messages(&self) -> usize {
        self.sizes.len()
    }

    pub fn has_room(&self) -> bool {
        self.sizes.len() < self.limits.messages && self.bytes < self.limits.bytes
    }

    pub fn add(&mut self, ticket: Ticket, message: &Message) {
        self.add_size(ticket, size(message));
    }

    fn add_size(&mut self, ticket: Ticket, size: usize) {
        // No packet comes near to four gigabytes.
        let size = u32::try_from(size).unwrap_or(u32::MAX);
        self.sizes.insert(ticket, size);
        self.bytes += size as usize;
    }
}

fn size(message: &Message) -> usize {
    OVERHEAD
        + message.topic.len()
        + message.payload.len()
        + message.properties.as_properties().as_bytes().len()
}
