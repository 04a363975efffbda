//! Which upstream a client goes to.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use crate::Upstream;

/// How long an upstream is passed over after its first failed dial. Each further failure doubles it.
const FIRST_REST: Duration = Duration::from_secs(1);

/// The longest that it is passed over.
const LONGEST_REST: Duration = Duration::from_secs(30);

/// The upstreams and their health, shared by all workers.
pub(crate) struct Upstreams {
    list: Vec<(Upstream, Health)>,
}

/// What dialling an upstream has taught.
#[derive(Default)]
struct Health {
    /// Dials that failed in a row.
    failures: AtomicU32,
    /// Until when, in milliseconds of the engine's time, others are tried first.
    rests_until: AtomicU64,
}

impl Upstreams {
    pub fn new(upstreams: Vec<Upstream>) -> Upstreams {
        Upstreams { list: upstreams.into_iter().map(|upstream| (upstream, Health::default())).collect() }
    }

    pub fn upstream(&self, index: usize) -> &Upstream {
        &self.list[index].0
    }

    /// The upstreams in the order in which they are to be tried for `key`: each key has an order of its own, so
    /// that the clients of an upstream that fails spread over all others. Those that rest come last.
    pub fn order(&self, key: &[u8], now: Duration) -> VecDeque<usize> {
        let now = now.as_millis() as u64;
        let mut order: Vec<_> = (0..self.list.len()).collect();
        order.sort_by_cached_key(|&index| {
            let rests = self.list[index].1.rests_until.load(Ordering::Relaxed) > now;
            (rests, std::cmp::Reverse(weight(key, index as u64)))
        });
        order.into()
    }

    pub fn reached(&self, index: usize) {
        self.list[index].1.failures.store(0, Ordering::Relaxed);
        self.list[index].1.rests_until.store(0, Ordering::Relaxed);
    }

    pub fn failed(&self, index: usize, now: Duration) {
        let health = &self.list[index].1;
        // Dials that were under way together fail together, and teach one thing.
        if health.rests_until.load(Ordering::Relaxed) > now.as_millis() as u64 {
            return;
        }
        let failures = health.failures.fetch_add(1, Ordering::Relaxed).min(10);
        let rest = (FIRST_REST * 2u32.pow(failures)).min(LONGEST_REST);
        health.rests_until.store((now + rest).as_millis() as u64, Ordering::Relaxed);
    }
}

/// Rendezvous hashing: FNV-1a over key and index, its bits mixed so that near keys get far weights.
fn weight(key: &[u8], index: u64) -> u64 {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    let bytes = key.iter().copied().chain(index.to_le_bytes());
    let mut hash = bytes.fold(OFFSET, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME));
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^ (hash >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn three() -> Upstreams {
        Upstreams::new((1..=3).map(|port| Upstream::tcp("localhost", port)).collect())
    }

    #[test]
    fn clients_spread_and_each_stays_where_it_is() {
        let upstreams = three();
        let mut first = [0; 3];
        for client in 0..3000 {
            let key = format!("client-{client}");
            let order = upstreams.order(key.as_bytes(), Duration::ZERO);
            assert_eq!(order, upstreams.order(key.as_bytes(), Duration::ZERO));
            first[order[0]] += 1;
        }
        assert!(first.iter().all(|&count| (850..1150).contains(&count)), "{first:?}");
    }

    #[test]
    fn one_that_failed_comes_last_until_it_has_rested_or_is_reached() {
        let upstreams = three();
        let order = upstreams.order(b"x", Duration::ZERO);
        upstreams.failed(order[0], Duration::ZERO);
        let rested = [order[1], order[2], order[0]];
        assert_eq!(upstreams.order(b"x", Duration::from_millis(999)), rested);
        assert_eq!(upstreams.order(b"x", Duration::from_millis(1000)), order);
        // Failures of dials that were under way together count once.
        for _ in 0..100 {
            upstreams.failed(order[0], Duration::from_millis(500));
        }
        assert_eq!(upstreams.order(b"x", Duration::from_millis(1000)), order);
        let mut now = Duration::from_secs(1);
        for rest in [2, 4, 8, 16, 30, 30] {
            upstreams.failed(order[0], now);
            now += Duration::from_secs(rest);
            assert_eq!(upstreams.order(b"x", now - Duration::from_millis(1)), rested);
            assert_eq!(upstreams.order(b"x", now), order);
        }
        upstreams.failed(order[0], now);
        upstreams.reached(order[0]);
        assert_eq!(upstreams.order(b"x", now), order);
    }
}
