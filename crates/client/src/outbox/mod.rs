//! The outbox: what a client owes and is owed, where `kill -9` of the program does not reach it.

mod journal;
mod ledger;
mod log;
mod memory;
mod record;
mod shelf;
mod writer;

use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use mqway_session::client::{Change, Saved};

pub(crate) use journal::Journal;
pub use memory::MemoryStore;

/// What a client keeps for its session beyond its own life: messages of QoS 1 and 2 that the server has not
/// acknowledged, and which messages of QoS 2 have come. Given as [`Options::outbox`](crate::Options::outbox).
///
/// A message is sent only once it is safe, an acknowledgement likewise; so whenever the program is killed, or the power
/// fails, the next run goes on where it ended: messages of QoS 2 arrive exactly once and those of QoS 1 at least once,
/// in order, as long as the server keeps the session. A program that numbers its messages learns from
/// [`Outbox::accepted`] which of them it has handed over, and goes on with the next:
///
/// ```no_run
/// use mqway_client::{Client, Endpoint, Message, Options, Outbox, QoS};
///
/// # fn reading(number: u64) -> String { number.to_string() }
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let outbox = Outbox::open("/var/lib/sensor/outbox", "sensor-7")?;
/// let first = outbox.accepted() + 1;
/// let options = Options { outbox: Some(outbox), ..Options::default() };
/// let client = Client::start(Endpoint::new("tcp://localhost:1883"), options);
/// for number in first.. {
///     let message = Message { qos: QoS::ExactlyOnce, ..Message::new("readings", reading(number)) };
///     // Resolves when it is stored, whether or not there is a connection.
///     assert_eq!(client.store(message).await?.position, number);
/// }
/// # Ok(())
/// # }
/// ```
///
/// Messages in the outbox are in memory too, with some 400 bytes beside each of them. It holds up to a million of them, and 256 MiB;
/// [`Outbox::limits`] changes that. When it is full, whoever publishes waits.
///
/// One process at a time has a directory open, and it belongs to one client identifier. A clone is a handle of the
/// same outbox; one client uses it, once: open it anew for the next.
#[derive(Clone)]
pub struct Outbox {
    shared: Arc<Shared>,
    limits: Limits,
}

struct Shared {
    client_id: String,
    accepted: AtomicU64,
    /// Until a client takes it.
    opened: Mutex<Option<Opened>>,
}

/// A store, and what it said.
pub(crate) struct Opened {
    pub store: Box<dyn Store>,
    pub session: Saved,
}

/// How much an outbox holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub messages: usize,
    pub bytes: usize,
}

impl Outbox {
    /// Opens the outbox in a directory, or makes one there, for a client identifier. If that is empty, the one that the
    /// outbox was made with is used, or at first a random one. Reads all of it: a million small messages take a second.
    ///
    /// # Errors
    /// If another process has it open, if it belongs to another client identifier, if a newer version of this library
    /// made it, or if it cannot be read or written.
    pub fn open(directory: impl AsRef<Path>, client_id: &str) -> Result<Outbox, OutboxError> {
        Outbox::with_store(log::LogStore::open(directory.as_ref())?, client_id)
    }

    /// An outbox in a store of the program's own.
    ///
    /// ```
    /// use mqway_client::{MemoryStore, Outbox};
    ///
    /// let outbox = Outbox::with_store(MemoryStore::default(), "me").unwrap();
    /// ```
    ///
    ///
    /// # Errors
    /// If it belongs to another client identifier, or fails; if the identifier is none.
    pub fn with_store(store: impl Store + 'static, client_id: &str) -> Result<Outbox, OutboxError> {
        // It would be kept, and no connection be made with it ever. [MQTT-3.1.3-4]
        if client_id.len() > usize::from(u16::MAX) || client_id.contains('\0') {
            return Err(OutboxError::ClientId);
        }
        let mut store: Box<dyn Store> = Box::new(store);
        let stored = store.load()?;
        let client_id = match (stored.client_id, client_id) {
            (Some(stored), "") => stored,
            (Some(stored), wanted) if stored == wanted => stored,
            (Some(stored), wanted) => {
                return Err(OutboxError::OtherClient { stored, wanted: wanted.to_owned() });
            }
            (None, wanted) => {
                let chosen = if wanted.is_empty() { crate::random_client_id() } else { wanted.to_owned() };
                store.keep_client_id(&chosen)?;
                chosen
            }
        };
        let opened = Opened { store, session: stored.session };
        let shared =
            Shared { client_id, accepted: AtomicU64::new(stored.accepted), opened: Mutex::new(Some(opened)) };
        let limits = Limits { messages: 1_000_000, bytes: 256 * 1024 * 1024 };
        Ok(Outbox { shared: Arc::new(shared), limits })
    }

    /// Holds so many messages, and so many bytes of topics, payloads and properties, before publishers wait.
    ///
    /// ```no_run
    /// # use mqway_client::Outbox;
    /// let outbox = Outbox::open("/var/lib/sensor/outbox", "sensor-7").unwrap().limits(10_000, 8 * 1024 * 1024);
    /// ```
    pub fn limits(mut self, messages: usize, bytes: usize) -> Outbox {
        self.limits = Limits { messages: messages.max(1), bytes: bytes.max(1) };
        self
    }

    /// How many messages were ever accepted and are safe: the position of the last one. Those of QoS 0 do not count.
    ///
    /// After a crash it may be one of those that [`Client::store`](crate::Client::store) had not resolved for.
    pub fn accepted(&self) -> u64 {
        self.shared.accepted.load(Ordering::Acquire)
    }

    /// The client identifier that it belongs to.
    ///
    /// ```
    /// use mqway_client::{MemoryStore, Outbox};
    ///
    /// let outbox = Outbox::with_store(MemoryStore::default(), "").unwrap();
    /// println!("as chosen by chance: {}", outbox.client_id());
    /// ```
    pub fn client_id(&self) -> &str {
        &self.shared.client_id
    }

    /// Takes the store for a client. `None`: another has taken it.
    pub(crate) fn take(&self) -> Option<Opened> {
        self.shared.opened.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl fmt::Debug for Outbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbox")
            .field("client_id", &self.shared.client_id)
            .field("accepted", &self.accepted())
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// Where an outbox is stored. [`Outbox::open`] brings one for a directory; a program may have its own.
///
/// It is called by a thread of the client's own, so that it may block.
///
/// ```
/// use mqway_client::{Change, Content, MemoryStore, Outbox, OutboxError, Store};
///
/// /// Says what it is asked to keep.
/// struct Loud(MemoryStore);
///
/// impl Store for Loud {
///     fn load(&mut self) -> Result<Content, OutboxError> {
///         self.0.load()
///     }
///
///     fn keep_client_id(&mut self, client_id: &str) -> Result<(), OutboxError> {
///         println!("for {client_id}");
///         self.0.keep_client_id(client_id)
///     }
///
///     fn commit(&mut self, changes: &[Change]) -> Result<(), OutboxError> {
///         println!("{changes:?}");
///         self.0.commit(changes)
///     }
/// }
///
/// let outbox = Outbox::with_store(Loud(MemoryStore::default()), "me").unwrap();
/// ```
pub trait Store: Send {
    /// All that it has. Called once, before anything else.
    ///
    /// # Errors
    /// If it cannot be read, or is not ours to use.
    fn load(&mut self) -> Result<Content, OutboxError>;

    /// Keeps the client identifier that it belongs to, as durably as changes. Called for an empty store.
    ///
    /// # Errors
    /// If it is not safe.
    fn keep_client_id(&mut self, client_id: &str) -> Result<(), OutboxError>;

    /// Makes changes safe, in order: when this returns, they survive the loss of power. After a crash in between, all
    /// of them up to some one may be there, and none behind it. Tickets are the positions of messages: 1 for the first one ever accepted.
    ///
    /// # Errors
    /// If they may not be safe. The client ends then, and does not call again.
    fn commit(&mut self, changes: &[Change]) -> Result<(), OutboxError>;
}

/// What a store has.
///
/// ```
/// use mqway_client::Content;
///
/// let nothing_yet = Content::default();
/// assert!(nothing_yet.client_id.is_none() && nothing_yet.accepted == 0);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Content {
    /// The client identifier that it belongs to; `None` for a new store.
    pub client_id: Option<String>,
    /// The greatest position that was ever accepted, whatever became of it; 0 if none was.
    pub accepted: u64,
    /// The session.
    pub session: Saved,
}

/// Why an outbox cannot be used.
///
/// ```
/// use mqway_client::{MemoryStore, Outbox, OutboxError};
///
/// let store = MemoryStore::default();
/// Outbox::with_store(store.clone(), "me").unwrap();
/// let error = Outbox::with_store(store, "you").unwrap_err();
/// assert!(matches!(error, OutboxError::OtherClient { .. }));
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OutboxError {
    /// Another process has it open, or another client of this one.
    #[error("the outbox is in use")]
    InUse,
    /// It belongs to another client identifier.
    #[error("the outbox belongs to the client {stored:?}, not {wanted:?}")]
    OtherClient {
        /// Whose it is.
        stored: String,
        /// Who asked for it.
        wanted: String,
    },
    /// What was asked for is no client identifier: too long, or with a zero in it.
    #[error("a client identifier has at most 65,535 bytes, and no U+0000")]
    ClientId,
    /// A newer version of this library made it.
    #[error("the outbox has format {found}, which is newer than this program")]
    Newer {
        /// The number of its format.
        found: u32,
    },
    /// What it has cannot be read back.
    #[error("the outbox is damaged: {0}")]
    Damaged(String),
    /// Reading or writing failed: the disk is full, say.
    #[error("the outbox cannot be stored: {0}")]
    Storage(#[source] Box<dyn std::error::Error + Send + Sync>),
}

#[cfg(test)]
mod tests;
