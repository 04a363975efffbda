//! The connections of a worker, by slot.

use crate::ConnId;
use crate::conn::Conn;

/// A slab whose keys carry a generation: a key of a connection that is gone finds nothing.
#[derive(Default)]
pub(crate) struct Table {
    slots: Vec<Slot>,
    free: Vec<u32>,
    live: usize,
}

#[derive(Default)]
struct Slot {
    generation: u32,
    conn: Option<Conn>,
}

impl Table {
    pub fn insert(&mut self, conn: Conn) -> ConnId {
        self.live += 1;
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            (self.slots.len() - 1) as u32
        });
        let place = &mut self.slots[slot as usize];
        place.conn = Some(conn);
        ConnId { slot, generation: place.generation }
    }

    /// Takes a connection out. Its slot may serve again only after [`Table::release`], so that events of this tick
    /// that still name it find nothing.
    pub fn remove(&mut self, id: ConnId) -> Option<Conn> {
        let place = self.slots.get_mut(id.slot as usize)?;
        if place.generation != id.generation {
            return None;
        }
        let conn = place.conn.take()?;
        self.live -= 1;
        // 31 bits, so that slot and generation fit a token with one bit to spare.
        place.generation = (place.generation + 1) & 0x7fff_ffff;
        Some(conn)
    }

    /// Lets the slot of a removed connection serve again.
    pub fn release(&mut self, id: ConnId) {
        self.free.push(id.slot);
    }

    #[inline]
    pub fn find(&mut self, id: ConnId) -> Option<&mut Conn> {
        let place = self.slots.get_mut(id.slot as usize)?;
        if place.generation == id.generation { place.conn.as_mut() } else { None }
    }

    #[inline]
    pub fn look(&self, id: ConnId) -> Option<&Conn> {
        let place = self.slots.get(id.slot as usize)?;
        if place.generation == id.generation { place.conn.as_ref() } else { None }
    }

    /// All connections there are.
    pub fn each(&self) -> impl Iterator<Item = (ConnId, &Conn)> {
        self.slots.iter().enumerate().filter_map(|(slot, place)| {
            Some((ConnId { slot: slot as u32, generation: place.generation }, place.conn.as_ref()?))
        })
    }

    /// How many connections there are.
    pub fn len(&self) -> usize {
        self.live
    }
}
