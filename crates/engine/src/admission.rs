//! How many connections may be open: in all, and from one address.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::counters::{Counters, add};

/// Counts accepted connections, for all workers together.
pub(crate) struct Admission {
    most: usize,
    most_per_address: usize,
    open: AtomicUsize,
    by_address: Mutex<HashMap<IpAddr, usize>>,
}

impl Admission {
    pub fn new(most: usize, most_per_address: usize) -> Admission {
        Admission { most, most_per_address, open: AtomicUsize::new(0), by_address: Mutex::default() }
    }

    /// Counts one more connection, or refuses it. Every `true` is followed by one [`Admission::leave`].
    pub fn enter(&self, counters: &Counters) -> bool {
        let entered = self
            .open
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |open| (open < self.most).then_some(open + 1))
            .is_ok();
        if !entered {
            add(&counters.refused_connections, 1);
        }
        entered
    }

    pub fn leave(&self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }

    /// Whether addresses are counted at all.
    pub fn counts_addresses(&self) -> bool {
        self.most_per_address < usize::MAX
    }

    /// Counts one more connection of an address, or refuses it. Every `true` is followed by one
    /// [`Admission::leave_address`].
    pub fn enter_address(&self, address: IpAddr, counters: &Counters) -> bool {
        let mut by_address = self.by_address.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let address = address.to_canonical();
        let open = by_address.get(&address).copied().unwrap_or(0);
        if open >= self.most_per_address {
            add(&counters.refused_per_address, 1);
            return false;
        }
        by_address.insert(address, open + 1);
        true
    }

    pub fn leave_address(&self, address: IpAddr) {
        let mut by_address = self.by_address.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Entry::Occupied(mut entry) = by_address.entry(address.to_canonical()) {
            *entry.get_mut() -= 1;
            if *entry.get() == 0 {
                entry.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_left_is_forgotten() {
        let (counters, admission) = (Counters::default(), Admission::new(2, 1));
        let address = IpAddr::from([127, 0, 0, 1]);
        assert!(admission.enter_address(address, &counters));
        assert!(!admission.enter_address("::ffff:127.0.0.1".parse().unwrap(), &counters));
        admission.leave_address(address);
        assert!(admission.by_address.lock().unwrap().is_empty());
        assert!(admission.enter(&counters) && admission.enter(&counters) && !admission.enter(&counters));
        admission.leave();
        assert!(admission.enter(&counters));
        assert_eq!(counters.snapshot().refused_connections, 1);
        assert_eq!(counters.snapshot().refused_per_address, 1);
    }
}
