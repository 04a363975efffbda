//! The connections of a worker, by slot.

use crate::conn::Conn;
use crate::{ConnId, Slots};

/// A slab whose keys carry a generation: a key of a connection that is gone finds nothing.
#[derive(Default)]
pub(crate) struct Table {
    slots: Slots<Slot>,
    /// How many slots were ever in use.
    used: u32,
    /// The keys of the next connections in slots that were in use.
    free: Vec<ConnId>,
    live: usize,
}

struct Slot {
    generation: u32,
    conn: Conn,
}

impl Table {
    pub fn insert(&mut self, conn: Conn) -> ConnId {
        self.live += 1;
        let id = self.free.pop().unwrap_or_else(|| {
            self.used += 1;
            ConnId { slot: self.used - 1, generation: 0 }
        });
        self.slots.insert(id.slot(), Slot { generation: id.generation, conn });
        id
    }

    /// Takes a connection out. Its slot may serve again only after [`Table::release`], so that events of this tick
    /// that still name it find nothing.
    pub fn remove(&mut self, id: ConnId) -> Option<Conn> {
        self.look(id)?;
        let slot = self.slots.remove(id.slot())?;
        self.live -= 1;
        Some(slot.conn)
    }

    /// Lets the slot of a removed connection serve again.
    pub fn release(&mut self, id: ConnId) {
        // 31 bits, so that slot and generation fit a token with one bit to spare.
        self.free.push(ConnId { generation: (id.generation + 1) & 0x7fff_ffff, ..id });
    }

    #[inline]
    pub fn find(&mut self, id: ConnId) -> Option<&mut Conn> {
        let slot = self.slots.find(id.slot())?;
        if slot.generation == id.generation { Some(&mut slot.conn) } else { None }
    }

    #[inline]
    pub fn look(&self, id: ConnId) -> Option<&Conn> {
        let slot = self.slots.look(id.slot())?;
        if slot.generation == id.generation { Some(&slot.conn) } else { None }
    }

    /// All connections there are.
    pub fn each(&self) -> impl Iterator<Item = (ConnId, &Conn)> {
        self.slots.iter().map(|(number, Slot { generation, conn })| {
            (ConnId { slot: number as u32, generation: *generation }, conn)
        })
    }

    /// How many connections there are.
    pub fn len(&self) -> usize {
        self.live
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_connection_is_small() {
        assert!(size_of::<Option<Slot>>() <= 104, "{}", size_of::<Option<Slot>>());
    }
}
