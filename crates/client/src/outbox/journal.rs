//! Between session and wire: what the session has to say waits until the changes before it are safe.

use std::collections::VecDeque;
use std::sync::Arc;

use mqway_session::client::{Client as Session, Message, Output, Ticket};
use tokio::sync::oneshot;

use super::ledger::Ledger;
use super::writer::Writer;
use super::{Outbox, OutboxError};
use crate::error::PublishError;

/// Bytes that may wait for changes to be safe, before the client takes in no more.
const MOST_HELD: usize = 1024 * 1024;

/// Batches of changes that may be on their way to the disk, likewise.
const MOST_BATCHES: u64 = 4096;

/// The position of a message that is safe.
type Stored = Result<Ticket, PublishError>;

/// Who waits for something to be safe.
enum Waiter {
    /// For a message, which has this position.
    Message(Ticket, oneshot::Sender<Stored>),
    /// For whatever was done before.
    Anything(oneshot::Sender<()>),
}

/// The client's side of an outbox that it uses.
pub(crate) struct Journal {
    writer: Writer,
    ledger: Ledger,
    /// Batches of changes that were handed to the writer.
    handed: u64,
    /// The last of them that must be safe before anything more is written.
    barrier: u64,
    /// Output, each with the batch that must be safe before.
    held: VecDeque<(u64, Output)>,
    held_bytes: usize,
    /// Who waits for a batch to be safe.
    waiting: VecDeque<(u64, Waiter)>,
    next: Ticket,
}

impl Journal {
    /// Takes the store of an outbox, and gives what it remembers.
    pub fn start(outbox: &Outbox) -> Result<(Journal, mqway_session::client::Saved), OutboxError> {
        let opened = outbox.take().ok_or(OutboxError::InUse)?;
        let writer = Writer::start(opened.store, outbox.clone())?;
        let journal = Journal {
            writer,
            ledger: Ledger::new(outbox.limits, &opened.session),
            handed: 0,
            barrier: 0,
            held: VecDeque::new(),
            held_bytes: 0,
            waiting: VecDeque::new(),
            next: outbox.accepted() + 1,
        };
        Ok((journal, opened.session))
    }

    /// The position that the next message gets, if it is accepted.
    pub fn next_position(&self) -> Ticket {
        self.next
    }

    /// It was accepted; `stored` is told when it is safe.
    pub fn accepted(&mut self, message: &Message, stored: Option<oneshot::Sender<Stored>>) {
        let position = self.next;
        self.next += 1;
        self.ledger.add(position, message);
        // That it was accepted is among the changes that are collected next.
        self.waiting.extend(stored.map(|stored| (self.handed + 1, Waiter::Message(position, stored))));
    }

    /// Tells when everything that the session has done up to now is safe, or will not be.
    pub fn when_safe(&mut self, session: &mut Session, done: oneshot::Sender<()>) {
        self.collect(session);
        self.waiting.push_back((self.handed, Waiter::Anything(done)));
        self.tell();
    }

    /// Takes what the session has done: changes for the store, and packets to be written.
    pub fn collect(&mut self, session: &mut Session) {
        let changes = session.take_changes();
        if !changes.is_empty() {
            self.handed += 1;
            if changes.iter().any(|change| change.precedes_output()) {
                self.barrier = self.handed;
            }
            changes.iter().for_each(|change| self.ledger.note(change));
            self.writer.hand_over(changes);
        }
        if !session.output().is_empty() {
            let output = std::mem::take(session.output());
            self.held_bytes += output.as_bytes().len();
            self.held.push_back((self.barrier, output));
        }
    }

    /// The next packets that may be written now.
    pub fn next_output(&mut self) -> Option<Output> {
        let committed = self.writer.committed();
        self.held.front().filter(|(after, _)| *after <= committed)?;
        let (_, output) = self.held.pop_front()?;
        self.held_bytes -= output.as_bytes().len();
        Some(output)
    }

    /// Whether packets wait for changes to be safe.
    pub fn holds(&self) -> bool {
        !self.held.is_empty()
    }

    /// The connection is gone, and what was to be written to it.
    pub fn disconnected(&mut self) {
        self.held.clear();
        self.held_bytes = 0;
    }

    /// Whether so much waits for the disk that no more must come from the network or the program.
    pub fn is_behind(&self) -> bool {
        self.held_bytes >= MOST_HELD || self.handed - self.writer.committed() >= MOST_BATCHES
    }

    /// Whether one more message may be accepted.
    pub fn has_room(&self) -> bool {
        self.ledger.has_room()
    }

    /// Messages that are not done with.
    pub fn messages(&self) -> usize {
        self.ledger.messages()
    }

    /// Waits until more is safe.
    pub async fn progress(&mut self) -> Result<(), Arc<OutboxError>> {
        let changed = self.writer.changed().await;
        self.tell();
        if let Err(failure) = &changed {
            self.waiting.drain(..).for_each(|(_, waiter)| waiter.tell_failure(failure));
        }
        changed
    }

    /// Makes safe what is left, and closes the store.
    pub async fn close(&mut self) {
        self.writer.close().await;
        self.tell();
    }

    fn tell(&mut self) {
        let committed = self.writer.committed();
        while self.waiting.front().is_some_and(|(after, _)| *after <= committed) {
            if let Some((_, waiter)) = self.waiting.pop_front() {
                waiter.tell();
            }
        }
    }
}

/// Whoever asked may have stopped waiting.
impl Waiter {
    fn tell(self) {
        match self {
            Waiter::Message(position, done) => drop(done.send(Ok(position))),
            Waiter::Anything(done) => drop(done.send(())),
        }
    }

    fn tell_failure(self, failure: &Arc<OutboxError>) {
        if let Waiter::Message(_, done) = self {
            let _ = done.send(Err(PublishError::Outbox(failure.clone())));
        }
    }
}
