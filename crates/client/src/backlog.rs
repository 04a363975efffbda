//! Messages that a stream had no room for.

use std::collections::VecDeque;

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use crate::hold::Arrived;

/// Bytes that may wait here while the program waits for an answer that stands behind them in the network.
const MOST_BYTES: usize = 16 * 1024 * 1024;

/// Bytes that a message takes beside its topic name and payload, about.
const OVERHEAD: usize = 200;

/// In the order in which they came, whichever stream they are for. While there are any, the network is not read: it is
/// for the server to wait. Only where the program itself waits, for an acknowledgement say, the answer may have to pass
/// them before the program comes to take one.
#[derive(Default)]
pub(crate) struct Backlog {
    messages: VecDeque<(mpsc::Sender<Arrived>, Arrived)>,
    bytes: usize,
}

impl Backlog {
    pub fn push(&mut self, sink: mpsc::Sender<Arrived>, arrived: Arrived) {
        self.bytes += size(&arrived);
        self.messages.push_back((sink, arrived));
    }

    /// The stream that must take something first.
    pub fn full(&self) -> Option<mpsc::Sender<Arrived>> {
        self.messages.front().map(|(sink, _)| sink.clone())
    }

    /// Whether the network is to be read for a program that `waits` for an answer, or does not.
    pub fn lets_read(&self, waits: bool) -> bool {
        self.messages.is_empty() || (waits && self.bytes < MOST_BYTES)
    }

    /// Gives streams what they have room for.
    pub fn drain(&mut self) {
        while let Some((sink, arrived)) = self.messages.pop_front() {
            self.bytes -= size(&arrived);
            match sink.try_send(arrived) {
                Ok(()) | Err(TrySendError::Closed(_)) => {}
                Err(TrySendError::Full(arrived)) => {
                    self.bytes += size(&arrived);
                    self.messages.push_front((sink, arrived));
                    break;
                }
            }
        }
    }
}

fn size(arrived: &Arrived) -> usize {
    OVERHEAD + arrived.message.topic.len() + arrived.message.payload.len()
}
