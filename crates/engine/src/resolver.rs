//! Names to addresses, on threads of their own: the system's resolver blocks.

use std::io;
use std::net::ToSocketAddrs;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};

use crate::ConnId;
use crate::io::Shared;
use crate::mailbox::Letter;

/// Threads that resolve; a name server that does not answer holds one for seconds.
const THREADS: usize = 4;

/// Names that may wait; one more fails at once.
const QUEUE: usize = 4096;

/// A name to resolve for a worker's connection.
struct Question {
    worker: usize,
    conn: ConnId,
    host: String,
    port: u16,
}

/// Where the workers put their questions. The threads end when the last of these is gone.
#[derive(Clone)]
pub(crate) struct Resolver {
    questions: SyncSender<Question>,
}

impl Resolver {
    /// Starts the threads. Answers come as [`Letter::Resolved`].
    pub fn start<M: Send + 'static>(shared: &Arc<Shared<M>>) -> io::Result<Resolver> {
        let (questions, inbox) = sync_channel(QUEUE);
        let inbox = Arc::new(Mutex::new(inbox));
        for index in 0..THREADS {
            let (inbox, shared) = (inbox.clone(), shared.clone());
            std::thread::Builder::new()
                .name(format!("resolver-{index}"))
                .spawn(move || while answer_one(&inbox, &shared).is_some() {})?;
        }
        Ok(Resolver { questions })
    }

    /// Asks; false if too many questions wait.
    pub fn ask(&self, worker: usize, conn: ConnId, host: &str, port: u16) -> bool {
        self.questions.try_send(Question { worker, conn, host: host.to_owned(), port }).is_ok()
    }
}

fn answer_one<M>(inbox: &Mutex<Receiver<Question>>, shared: &Shared<M>) -> Option<()> {
    let question = inbox.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).recv().ok()?;
    let Question { worker, conn, host, port } = question;
    let addresses = (host.as_str(), port).to_socket_addrs().map(Iterator::collect);
    shared.mailboxes[worker].append(&mut vec![Letter::Resolved { conn, addresses }]);
    Some(())
}
