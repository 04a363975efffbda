//! The sessions that are at home on one worker.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use mqway_engine::ConnId;
use mqway_session::server::Session;

use crate::clients::Replay;
use crate::loads::LoadId;
use crate::message::{Delivery, Message};
use crate::shared::SessionRef;

/// A session with what the broker keeps of it.
pub(crate) struct Home {
    pub client_id: Arc<str>,
    pub state: Session<Delivery>,
    /// Its connection, while there is one.
    pub conn: Option<ConnId>,
    /// The filters that it is subscribed to, in order.
    pub filters: Vec<Box<str>>,
    /// Bytes of the messages in it.
    pub bytes: usize,
    /// Its receiver is too slow: what waits in the engine is enough.
    pub blocked: bool,
    /// When a timer will look after it, if one is set.
    pub timer: Option<Duration>,
    /// Present while it takes part in shared subscriptions.
    pub load: Option<LoadId>,
    /// Retained messages that it is still to get when its client is back.
    pub replays: Box<[Replay]>,
    /// It belongs to the program around the broker, and has no connection.
    pub local: Option<SyncSender<Arc<Message>>>,
}

/// Sessions by place and by client identifier.
#[derive(Default)]
pub(crate) struct Sessions {
    places: Vec<Place>,
    free: Vec<u32>,
    by_client: HashMap<Arc<str>, u32>,
}

#[derive(Default)]
struct Place {
    generation: u16,
    home: Option<Box<Home>>,
}

impl Sessions {
    /// Makes a session for a client that has none. `worker` is where this is.
    pub fn insert(&mut self, worker: usize, client_id: &str, queue_limit: usize) -> SessionRef {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.places.push(Place::default());
            (self.places.len() - 1) as u32
        });
        let client_id: Arc<str> = client_id.into();
        self.by_client.insert(client_id.clone(), slot);
        let place = &mut self.places[slot as usize];
        place.home = Some(Box::new(Home {
            client_id,
            state: Session::new(queue_limit),
            conn: None,
            filters: Vec::new(),
            bytes: 0,
            blocked: false,
            timer: None,
            load: None,
            replays: Box::default(),
            local: None,
        }));
        SessionRef { worker: worker as u16, generation: place.generation, slot }
    }

    /// Takes a session out.
    pub fn remove(&mut self, session: SessionRef) -> Option<Box<Home>> {
        self.find(session)?;
        let place = self.places.get_mut(session.slot as usize)?;
        let home = place.home.take()?;
        place.generation = place.generation.wrapping_add(1);
        self.free.push(session.slot);
        self.by_client.remove(&home.client_id);
        Some(home)
    }

    /// The session of this name, if it lives.
    #[inline]
    pub fn find(&mut self, session: SessionRef) -> Option<&mut Home> {
        let place = self.places.get_mut(session.slot as usize)?;
        if place.generation == session.generation { place.home.as_deref_mut() } else { None }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    /// Whether the session of this name lives.
    pub fn lives(&self, session: SessionRef) -> bool {
        let place = self.places.get(session.slot as usize);
        place.is_some_and(|place| place.generation == session.generation && place.home.is_some())
    }

    /// The session of a client.
    pub fn of_client(&self, worker: usize, client_id: &str) -> Option<SessionRef> {
        let slot = *self.by_client.get(client_id)?;
        let generation = self.places.get(slot as usize)?.generation;
        Some(SessionRef { worker: worker as u16, generation, slot })
    }
}

impl Home {
    /// Remembers a filter; false if it is remembered already.
    pub fn add_filter(&mut self, filter: &str) -> bool {
        match self.filters.binary_search_by(|known| (**known).cmp(filter)) {
            Ok(_) => false,
            Err(at) => {
                if self.filters.is_empty() {
                    // Most sessions have one, and Vec would begin with four.
                    self.filters.reserve_exact(1);
                }
                self.filters.insert(at, filter.into());
                true
            }
        }
    }

    /// Forgets a filter.
    pub fn remove_filter(&mut self, filter: &str) {
        if let Ok(at) = self.filters.binary_search_by(|known| (**known).cmp(filter)) {
            self.filters.remove(at);
        }
    }
}
