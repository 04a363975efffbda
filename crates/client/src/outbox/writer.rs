//! The thread that makes changes safe.
//!
//! Group commit: one commit takes whatever came while the one before ran. There is no timer, so that one message alone
//! waits for one fsync, and a thousand at a time wait for two.

use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc};
use std::thread;

use mqway_session::client::Change;
use tokio::sync::watch;

use super::{Outbox, OutboxError, Store};

/// Changes of one commit, before the next ones wait for the one after it.
const MOST_CHANGES: usize = 16 * 1024;

/// The way to the thread.
pub(super) struct Writer {
    /// `None`: no more will come.
    batches: Option<mpsc::Sender<Vec<Change>>>,
    progress: watch::Receiver<Progress>,
}

/// How far the thread is.
#[derive(Clone, Debug, Default)]
struct Progress {
    /// Batches that are safe.
    committed: u64,
    /// Why no more will be.
    failure: Option<Arc<OutboxError>>,
}

impl Writer {
    pub fn start(store: Box<dyn Store>, outbox: Outbox) -> Result<Writer, OutboxError> {
        let (batches, from_client) = mpsc::channel();
        let (told, progress) = watch::channel(Progress::default());
        thread::Builder::new()
            .name("mqway outbox".to_owned())
            .spawn(move || write(store, &outbox, &from_client, &told))
            .map_err(|error| OutboxError::Storage(error.into()))?;
        Ok(Writer { batches: Some(batches), progress })
    }

    /// Hands a batch over. That it was in vain, if the thread has ended, is heard of by [`Writer::changed`].
    pub fn hand_over(&self, changes: Vec<Change>) {
        if let Some(batches) = &self.batches {
            let _ = batches.send(changes);
        }
    }

    /// Batches that are safe.
    pub fn committed(&self) -> u64 {
        self.progress.borrow().committed
    }

    /// Waits until more is safe.
    pub async fn changed(&mut self) -> Result<(), Arc<OutboxError>> {
        let ended = self.progress.changed().await.is_err();
        match &self.progress.borrow().failure {
            Some(failure) => Err(failure.clone()),
            // It ends by itself only after a failure; or a store of the program's own has panicked.
            None if ended => Err(Arc::new(OutboxError::Storage("the store has panicked".into()))),
            None => Ok(()),
        }
    }

    /// Writes what is handed over already, closes the store, and waits for that.
    pub async fn close(&mut self) {
        self.batches = None;
        while self.progress.changed().await.is_ok() {}
    }
}

fn write(
    mut store: Box<dyn Store>,
    outbox: &Outbox,
    batches: &mpsc::Receiver<Vec<Change>>,
    progress: &watch::Sender<Progress>,
) {
    while let Ok(mut changes) = batches.recv() {
        let mut count = 1;
        while changes.len() < MOST_CHANGES
            && let Ok(more) = batches.try_recv()
        {
            changes.extend(more);
            count += 1;
        }
        if let Err(failure) = store.commit(&changes) {
            log::error!("mqtt: {failure}");
            progress.send_modify(|progress| progress.failure = Some(Arc::new(failure)));
            break;
        }
        let accepted = changes.iter().rev().find_map(|change| match change {
            Change::Accepted { ticket, .. } => Some(*ticket),
            _ => None,
        });
        if let Some(accepted) = accepted {
            outbox.shared.accepted.store(accepted, Ordering::Release);
        }
        progress.send_modify(|progress| progress.committed += count);
    }
    // Before the client hears of the end: whoever is told that it has ended may open the directory again.
    drop(store);
}
