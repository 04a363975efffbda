//! A hash table of small values, which are told apart by what they stand for.

/// Small values by the hash of what they stand for, such as places in another table; with linear probing.
///
/// One value and its hash lie side by side, so that a look that finds its value at once touches one cache line; with
/// a million entries that is what a look costs. Since the hash is kept, growing calls nobody. The hash should be one that
/// nobody outside can foresee: who finds values with the same makes them slow to look up.
#[derive(Debug)]
pub struct Table<T> {
    /// Their number is a power of two, or there is none.
    slots: Vec<Slot<T>>,
    len: usize,
}

#[derive(Clone, Copy, Debug)]
struct Slot<T> {
    /// [`VACANT`], or the hash, which then is another.
    hash: u32,
    value: T,
}

const VACANT: u32 = 0;
/// The fewest slots.
const FEW: usize = 8;

impl<T: Copy + Default> Table<T> {
    /// An empty one, which takes no memory.
    pub const fn new() -> Self {
        Self { slots: Vec::new(), len: 0 }
    }

    /// The value with this hash that `is_it`.
    pub fn find(&self, hash: u32, is_it: impl Fn(T) -> bool) -> Option<T> {
        self.place(hash, is_it).map(|place| self.slots[place].value)
    }

    /// Adds a value, which must not be there.
    pub fn insert(&mut self, hash: u32, value: T) {
        // At most three quarters full, where a vacant slot is never far.
        if (self.len + 1) * 4 > self.slots.len() * 3 {
            self.resize((self.len + 1) * 2);
        }
        self.len += 1;
        self.put(Slot { hash: occupied(hash), value });
    }

    /// Takes out the value with this hash that `is_it`.
    pub fn remove(&mut self, hash: u32, is_it: impl Fn(T) -> bool) {
        let Some(mut hole) = self.place(hash, is_it) else { return };
        let mask = self.slots.len() - 1;
        let mut next = hole;
        // What stands behind without a gap moves up, unless that would be before the slot it is looked for first.
        loop {
            next = (next + 1) & mask;
            let slot = self.slots[next];
            if slot.hash == VACANT {
                break;
            }
            let way = next.wrapping_sub(slot.hash as usize) & mask;
            if way >= next.wrapping_sub(hole) & mask {
                self.slots[hole] = slot;
                hole = next;
            }
        }
        self.slots[hole].hash = VACANT;
        self.len -= 1;
        if self.len * 8 < self.slots.len() && self.slots.len() > FEW || self.len == 0 {
            self.resize(self.len * 2);
        }
    }

    /// Takes everything out, and makes room for so many.
    pub fn reset(&mut self, len: usize) {
        *self = Self::new();
        self.resize(len * 3 / 2);
    }

    /// Bytes that it takes.
    #[cfg(test)]
    pub fn bytes(&self) -> usize {
        self.slots.capacity() * size_of::<Slot<T>>()
    }

    fn place(&self, hash: u32, is_it: impl Fn(T) -> bool) -> Option<usize> {
        let hash = occupied(hash);
        let mask = self.slots.len().checked_sub(1)?;
        let mut place = hash as usize & mask;
        // Ends, as there is always a vacant slot.
        loop {
            let slot = &self.slots[place];
            if slot.hash == hash && is_it(slot.value) {
                return Some(place);
            }
            if slot.hash == VACANT {
                return None;
            }
            place = (place + 1) & mask;
        }
    }

    /// At least so many slots; none for none.
    fn resize(&mut self, slots: usize) {
        let slots = if slots == 0 { 0 } else { slots.next_power_of_two().max(FEW) };
        let vacant = Slot { hash: VACANT, value: T::default() };
        let before = std::mem::replace(&mut self.slots, vec![vacant; slots]);
        before.into_iter().filter(|slot| slot.hash != VACANT).for_each(|slot| self.put(slot));
    }

    /// Into the first vacant slot from its own on.
    fn put(&mut self, slot: Slot<T>) {
        let mask = self.slots.len() - 1;
        let mut place = slot.hash as usize & mask;
        while self.slots[place].hash != VACANT {
            place = (place + 1) & mask;
        }
        self.slots[place] = slot;
    }
}

impl<T: Copy + Default> Default for Table<T> {
    fn default() -> Self {
        Self::new()
    }
}

const fn occupied(hash: u32) -> u32 {
    if hash == VACANT { 1 } else { hash }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn it_finds_what_is_in_it(changes in proptest::collection::vec((0..200_u32, any::<bool>()), 0..600)) {
            // Few hashes, so that slots are contended; the highest wrap around, and one is that of a vacant slot.
            let hash = |value: u32| (value % 23).wrapping_sub(7).wrapping_mul(if value < 100 { 1 } else { 0x10001 });
            let (mut table, mut model) = (Table::new(), std::collections::BTreeSet::new());
            for (value, adds) in changes {
                if adds && model.insert(value) {
                    table.insert(hash(value), value);
                }
                if !adds && model.remove(&value) {
                    table.remove(hash(value), |present| present == value);
                }
                assert_eq!(table.len, model.len());
            }
            for value in 0..200 {
                let found = table.find(hash(value), |present| present == value);
                assert_eq!(found, model.contains(&value).then_some(value));
            }
            for value in model {
                table.remove(hash(value), |present| present == value);
            }
            assert_eq!(table.bytes(), 0);
        }
    }
}
