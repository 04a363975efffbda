//! A store that lasts as long as somebody has a handle of it: for tests.

use std::sync::{Arc, Mutex, PoisonError};

use mqway_session::client::Change;

use super::shelf::Shelf;
use super::{Content, OutboxError, Store};

/// An outbox in memory, for tests: what was committed is there for the next outbox that gets a clone of it.
///
/// ```
/// use mqway_client::{MemoryStore, Outbox};
///
/// let store = MemoryStore::default();
/// let outbox = Outbox::with_store(store.clone(), "me").unwrap();
/// assert_eq!(outbox.accepted(), 0);
/// assert!(Outbox::with_store(store, "somebody else").is_err());
/// ```
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    client_id: Option<String>,
    shelf: Shelf,
}

impl Store for MemoryStore {
    fn load(&mut self) -> Result<Content, OutboxError> {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(Content {
            client_id: inner.client_id.clone(),
            accepted: inner.shelf.accepted,
            session: inner.shelf.saved(),
        })
    }

    fn keep_client_id(&mut self, client_id: &str) -> Result<(), OutboxError> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).client_id = Some(client_id.to_owned());
        Ok(())
    }

    fn commit(&mut self, changes: &[Change]) -> Result<(), OutboxError> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        changes.iter().try_for_each(|change| inner.shelf.apply(change))
    }
}
