//! What workers write to each other, in batches with one wake.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use mio::Waker;
use mqway_transport::ServerOptions;

use crate::conn::Conn;
use crate::socket::Socket;
use crate::{ConnId, ListenerId};

/// One item of mail.
pub(crate) enum Letter<M> {
    /// From core to core.
    Mail(M),
    /// A socket that another worker's listener accepted.
    Accepted { socket: Socket, listener: ListenerId, peer: Option<SocketAddr> },
    /// A connection with its state.
    Arrived { socket: Socket, conn: Box<Conn>, mail: M },
    /// The addresses of a name.
    Resolved { conn: ConnId, addresses: Result<Vec<SocketAddr>, String> },
    /// New layers for the connections that a listener accepts from now on.
    Options { listener: ListenerId, options: Box<ServerOptions> },
    /// Stop accepting, tell the core, and end when no connection is left or this much time has passed.
    Stop { grace: Duration },
}

/// A worker's mailbox.
pub(crate) struct Mailbox<M> {
    /// `None` once its worker has ended: nobody would ever read them.
    letters: Mutex<Option<Vec<Letter<M>>>>,
    len: AtomicUsize,
    /// Absent under the simulator, which looks by itself.
    waker: Option<Waker>,
}

impl<M> Mailbox<M> {
    pub fn new(waker: Option<Waker>) -> Mailbox<M> {
        Mailbox { letters: Mutex::new(Some(Vec::new())), len: AtomicUsize::new(0), waker }
    }

    /// How many letters wait, about.
    pub fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }

    /// Adds a batch, in order, and wakes the worker if its mailbox was empty. `batch` is empty afterwards, unless the
    /// worker has ended.
    pub fn append(&self, batch: &mut Vec<Letter<M>>) {
        if batch.is_empty() {
            return;
        }
        let was_empty = {
            let mut letters = self.lock();
            let Some(letters) = letters.as_mut() else { return };
            let was_empty = letters.is_empty();
            letters.append(batch);
            self.len.store(letters.len(), Ordering::Relaxed);
            was_empty
        };
        if was_empty
            && let Some(waker) = &self.waker
            && let Err(error) = waker.wake()
        {
            log::error!("cannot wake a worker: {error}");
        }
    }

    /// Takes everything out, into `into`, which must be empty.
    pub fn take(&self, into: &mut Vec<Letter<M>>) {
        if let Some(letters) = self.lock().as_mut() {
            std::mem::swap(letters, into);
        }
        self.len.store(0, Ordering::Relaxed);
    }

    /// The worker has ended: what waits is dropped, so that whoever waits for an answer hears that none will come, and
    /// nothing more is taken.
    pub fn close(&self) {
        let unread = self.lock().take();
        // Not under the lock: it is the cores' mail, and may be anything.
        drop(unread);
        self.len.store(0, Ordering::Relaxed);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Vec<Letter<M>>>> {
        // A panic while the lock was held leaves a whole list: only moves of letters happen under it.
        self.letters.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}
