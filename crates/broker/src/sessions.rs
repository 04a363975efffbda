//! The sessions that are at home on one worker.

use std::collections::{HashSet, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use mqway_engine::{ConnId, Slots};
use mqway_hooks::SessionInfo;
use mqway_routing::Table;
use mqway_session::server::Session;

use crate::clients::Replay;
use crate::counters::Tally;
use crate::delivery::Delivery;
use crate::guest::{Guest, Testator};
use crate::loads::LoadId;
use crate::message::Message;
use crate::shared::SessionRef;

/// A session with what the broker keeps of it.
pub(crate) struct Home {
    pub client_id: Box<str>,
    pub state: Session<Delivery>,
    /// Whose it is, if hooks have said so: nobody else goes on with it.
    pub owner: Option<Owner>,
    /// Its connection, while there is one.
    pub conn: Option<ConnId>,
    /// The filters that it is subscribed to, in order.
    pub filters: Vec<Box<str>>,
    /// Bytes of the messages in it.
    pub bytes: usize,
    /// Its receiver is too slow: what waits in the engine is enough.
    pub blocked: bool,
    /// What hooks know of its connection, if there are any.
    pub guest: Option<Box<Guest>>,
    /// When a timer will look after it, if one is set.
    pub timer: Option<Duration>,
    /// Present while it takes part in shared subscriptions.
    pub load: Option<LoadId>,
    rare: Option<Box<Rare>>,
    /// Of its [`SessionRef`].
    generation: u16,
}

/// A user to whom sessions belong, by a keyed hash of the name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Owner(pub NonZeroU64);

/// What few sessions have, most of them for a moment only.
#[derive(Default)]
struct Rare {
    /// Retained messages that it is still to get, those of the latest subscription first; the last ones are under way.
    replays: VecDeque<Replay>,
    /// It belongs to the program around the broker, and has no connection.
    local: Option<SyncSender<Arc<Message>>>,
    /// By which its client has connected while there were no hooks; for those that may come.
    user_name: Option<Box<str>>,
    /// Who has left the will that waits.
    testator: Option<Box<Testator>>,
}

impl Rare {
    fn is_empty(&self) -> bool {
        let is_named = self.user_name.is_some() || self.testator.is_some();
        self.replays.is_empty() && self.local.is_none() && !is_named
    }
}

/// Replays that may wait beyond two for each subscription before it is looked which of them are of use.
const MOST_REPLAYS_OF_NONE: usize = 16;

/// Sessions by place and by client identifier.
#[derive(Default)]
pub(crate) struct Sessions {
    places: Slots<Home>,
    /// How many places were ever in use.
    used: u32,
    /// The names of the next sessions at places that were in use.
    free: Vec<SessionRef>,
    /// Places by the hash of the client identifier.
    by_client: Table<u32>,
    hasher: RandomState,
}

impl Sessions {
    /// Makes a session for a client that has none. `worker` is where this is.
    pub fn insert(&mut self, worker: usize, client_id: &str, queue_limit: usize) -> SessionRef {
        let session = self.free.pop().unwrap_or_else(|| {
            self.used += 1;
            SessionRef { worker: worker as u16, generation: 0, slot: self.used - 1 }
        });
        self.by_client.insert(self.hash(client_id), session.slot);
        let home = Home {
            client_id: client_id.into(),
            state: Session::new(queue_limit),
            owner: None,
            conn: None,
            filters: Vec::new(),
            bytes: 0,
            blocked: false,
            guest: None,
            timer: None,
            load: None,
            rare: None,
            generation: session.generation,
        };
        self.places.insert(session.slot as usize, home);
        session
    }

    /// Takes a session out.
    pub fn remove(&mut self, session: SessionRef) -> Option<Home> {
        self.find(session)?;
        let home = self.places.remove(session.slot as usize)?;
        self.by_client.remove(self.hash(&home.client_id), |slot| slot == session.slot);
        self.free.push(SessionRef { generation: session.generation.wrapping_add(1), ..session });
        Some(home)
    }

    /// The session of this name, if it lives.
    #[inline]
    pub fn find(&mut self, session: SessionRef) -> Option<&mut Home> {
        self.places.find(session.slot as usize).filter(|home| home.generation == session.generation)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.used as usize - self.free.len()
    }

    /// Whether the session of this name lives.
    pub fn lives(&self, session: SessionRef) -> bool {
        let home = self.places.look(session.slot as usize);
        home.is_some_and(|home| home.generation == session.generation)
    }

    /// The session of a client.
    pub fn of_client(&self, worker: usize, client_id: &str) -> Option<SessionRef> {
        let home = |slot: u32| self.places.look(slot as usize);
        let is_it = |slot| home(slot).is_some_and(|home| *home.client_id == *client_id);
        let slot = self.by_client.find(self.hash(client_id), is_it)?;
        Some(SessionRef { worker: worker as u16, generation: home(slot)?.generation, slot })
    }

    /// Those of clients, for people and programs to see.
    pub fn list(&self) -> Vec<SessionInfo> {
        let homes = self.places.iter().map(|(_, home)| home).filter(|home| home.local().is_none());
        let info = |home: &Home| SessionInfo {
            client_id: home.client_id.to_string(),
            connected: home.conn.is_some(),
            subscriptions: home.filters.len(),
            queued: home.state.queued(),
        };
        homes.map(info).collect()
    }

    /// The most replays that wait in a session.
    #[cfg(test)]
    pub fn longest_replays(&self) -> usize {
        let rare = self.places.iter().filter_map(|(_, home)| home.rare.as_ref());
        rare.map(|rare| rare.replays.len()).max().unwrap_or(0)
    }

    fn hash(&self, client_id: &str) -> u32 {
        self.hasher.hash_one(client_id) as u32
    }
}

/// Bytes that a subscription is counted for: its filter stands in the session and in the index.
pub(crate) fn subscription_size(filter: &str) -> u32 {
    // A filter has no more than 65,535 bytes.
    u32::try_from(2 * filter.len() + 128).unwrap_or(u32::MAX)
}

impl Home {
    /// Does something by which there may come to be another will, or none any more, and counts its bytes.
    pub fn counting_will<T>(
        &mut self,
        tally: &mut Tally,
        change: impl FnOnce(&mut Session<Delivery>) -> T,
    ) -> T {
        let before = self.state.will_size();
        let changed = change(&mut self.state);
        Tally::more(&mut tally.state_bytes, self.state.will_size() as u64);
        Tally::less(&mut tally.state_bytes, before as u64);
        changed
    }

    /// Bytes of its filters and its will: counted anew, which is dear where there are many.
    pub fn state_bytes(&self) -> u64 {
        let filters = self.filters.iter().map(|filter| u64::from(subscription_size(filter)));
        filters.sum::<u64>() + self.state.will_size() as u64
    }

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

    /// Where its messages go if it belongs to the program around the broker.
    #[inline]
    pub fn local(&self) -> Option<&SyncSender<Arc<Message>>> {
        self.rare.as_ref()?.local.as_ref()
    }

    /// It belongs to the program around the broker.
    pub fn set_local(&mut self, to: SyncSender<Arc<Message>>) {
        self.rare.get_or_insert_default().local = Some(to);
    }

    /// Remembers which retained messages it is to get. They follow those that it is getting already.
    pub fn add_replays(&mut self, replays: Vec<Replay>) {
        if replays.is_empty() {
            return;
        }
        let all = &mut self.rare.get_or_insert_default().replays;
        replays.into_iter().for_each(|replay| all.push_front(replay));
        // A client that subscribes again and again while it takes nothing gets nothing more by that.
        if all.len() > 2 * self.filters.len() + MOST_REPLAYS_OF_NONE {
            let mut newer = HashSet::new();
            all.retain(|replay| {
                let filter = replay.cursor.filter().map(|filter| Box::from(filter.as_str()));
                filter
                    .is_some_and(|filter| self.filters.binary_search(&filter).is_ok() && newer.insert(filter))
            });
        }
    }

    /// Takes out the retained messages that it is to get next.
    pub fn next_replay(&mut self) -> Option<Replay> {
        let rare = self.rare.as_mut()?;
        let next = rare.replays.pop_back();
        if rare.is_empty() {
            self.rare = None;
        }
        next
    }

    /// The user name that its client has connected by, if there were no hooks then to know it.
    pub fn user_name(&self) -> Option<&str> {
        self.rare.as_ref()?.user_name.as_deref()
    }

    /// Remembers that name, or forgets it.
    pub fn set_user_name(&mut self, user_name: Option<&str>) {
        if user_name.is_some() || self.user_name().is_some() {
            let rare = self.rare.get_or_insert_default();
            rare.user_name = user_name.map(Box::from);
            if rare.is_empty() {
                self.rare = None;
            }
        }
    }

    /// Puts back what is left of those that [`Home::next_replay`] gave.
    pub fn put_back_replay(&mut self, replay: Replay) {
        self.rare.get_or_insert_default().replays.push_back(replay);
    }

    /// Remembers whose will it is that waits to be published; what was remembered before.
    pub fn set_testator(&mut self, testator: Option<Box<Testator>>) -> Option<Box<Testator>> {
        if testator.is_none() && self.rare.is_none() {
            return None;
        }
        let rare = self.rare.get_or_insert_default();
        let before = std::mem::replace(&mut rare.testator, testator);
        if rare.is_empty() {
            self.rare = None;
        }
        before
    }

    /// Forgets a filter.
    pub fn remove_filter(&mut self, filter: &str) {
        if let Ok(at) = self.filters.binary_search_by(|known| (**known).cmp(filter)) {
            self.filters.remove(at);
        }
    }
}
