//! Names to addresses, on threads of their own: the system's resolver blocks.

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use crate::ConnId;
use crate::io::Shared;
use crate::mailbox::Letter;

/// Threads that resolve; a name server that does not answer holds one for seconds.
const THREADS: usize = 4;

/// Names that may wait; one more fails at once. All who want the same name wait for one answer.
const QUEUE: usize = 4096;

/// How long an answer is good for all who ask: a thousand clients of one upstream cost one question.
const FRESH: Duration = Duration::from_secs(2);

/// Answers that are kept at the most.
const KEPT: usize = 256;

type Name = (String, u16);

/// Where the workers put their questions. The threads end when the last of these is gone.
#[derive(Clone)]
pub(crate) struct Resolver {
    questions: SyncSender<Name>,
    book: Arc<Mutex<Book>>,
}

#[derive(Default)]
struct Book {
    /// Who waits for a name that is being resolved: workers and their connections.
    asking: HashMap<Name, Vec<(usize, ConnId)>>,
    known: HashMap<Name, (Instant, Vec<SocketAddr>)>,
}

/// What asking came to.
pub(crate) enum Asked {
    /// The addresses, known already.
    Known(Vec<SocketAddr>),
    /// The answer will come as [`Letter::Resolved`].
    Waits,
    /// Too many names wait.
    Full,
}

impl Resolver {
    /// Starts the threads.
    pub fn start<M: Send + 'static>(shared: &Arc<Shared<M>>) -> io::Result<Resolver> {
        let (questions, inbox) = sync_channel(QUEUE);
        let inbox = Arc::new(Mutex::new(inbox));
        let book = Arc::new(Mutex::new(Book::default()));
        for index in 0..THREADS {
            let (inbox, book, shared) = (inbox.clone(), book.clone(), shared.clone());
            std::thread::Builder::new()
                .name(format!("resolver-{index}"))
                .spawn(move || while answer_one(&inbox, &book, &shared).is_some() {})?;
        }
        Ok(Resolver { questions, book })
    }

    /// Asks for the addresses of a name, for a connection of a worker.
    pub fn ask(&self, worker: usize, conn: ConnId, host: &str, port: u16) -> Asked {
        let name = (host.to_owned(), port);
        let mut book = lock(&self.book);
        if let Some((since, addresses)) = book.known.get(&name)
            && since.elapsed() < FRESH
        {
            return Asked::Known(addresses.clone());
        }
        if let Some(waiting) = book.asking.get_mut(&name) {
            waiting.push((worker, conn));
            return Asked::Waits;
        }
        if self.questions.try_send(name.clone()).is_err() {
            return Asked::Full;
        }
        book.asking.insert(name, vec![(worker, conn)]);
        Asked::Waits
    }
}

fn answer_one<M>(inbox: &Mutex<Receiver<Name>>, book: &Mutex<Book>, shared: &Shared<M>) -> Option<()> {
    let name = lock(inbox).recv().ok()?;
    let found = name.to_socket_addrs().map(Iterator::collect::<Vec<_>>).map_err(|error| error.to_string());
    let waiting = {
        let mut book = lock(book);
        if let Ok(addresses) = &found {
            if book.known.len() >= KEPT {
                book.known.clear();
            }
            book.known.insert(name.clone(), (Instant::now(), addresses.clone()));
        }
        book.asking.remove(&name).unwrap_or_default()
    };
    for (worker, conn) in waiting {
        shared.mailboxes[worker].append(&mut vec![Letter::Resolved { conn, addresses: found.clone() }]);
    }
    Some(())
}

/// Nothing under these locks can leave them half changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}
