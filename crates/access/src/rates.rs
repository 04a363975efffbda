//! How much may come from a client, and from an address: connections, messages, bytes.
//!
//! A [`Bucket`] is one number, the time at which it is full again, so that workers share one without a lock. Those of
//! a client live with its connection, those of an address in [`Addresses`], which connections hold on to.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mqway_transport::cidr::Cidr;

/// The most addresses that are told apart. Those beyond share what one may do, until others have been quiet.
pub const MAX_ADDRESSES: usize = 65_536;

/// The longest that nothing is read of a connection to slow it down. Beyond that its keep alive would be in danger.
pub const MAX_DELAY: Duration = Duration::from_secs(10);

/// Addresses that have been quiet are looked for at most so often when there is no room: it takes a while.
const SWEEP: Duration = Duration::from_secs(1);

/// Leading bits of an IPv6 address that count: who has one has a network of them.
const V6_NETWORK: u8 = 64;

/// So many in the long run, and so many at once after a pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Nanoseconds that one takes, times 2^16: exact enough up to some 10^12 a second.
    cost: u64,
    /// How long the whole burst takes, in nanoseconds.
    burst: u64,
}

/// What is left of a [`Rate`] at the moment.
#[derive(Debug, Default)]
pub struct Bucket {
    /// When it is full again, in nanoseconds.
    full_at: AtomicU64,
}

/// What happens to what comes too fast.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Excess {
    /// It is taken, and nothing more is read until it would have been in time. What would take longer than
    /// [`MAX_DELAY`] is refused.
    #[default]
    Delay,
    /// It is refused.
    Refuse,
    /// The connection ends.
    Close,
}

/// What to do with something that has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// Take it.
    Go,
    /// Take it, and read nothing more for so long.
    Pause(Duration),
    /// Refuse it.
    Refuse,
    /// End the connection.
    Close,
}

/// What a client or an address may send.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// PUBLISH packets.
    pub messages: Option<Rate>,
    /// Their bytes, topics and properties included.
    pub bytes: Option<Rate>,
    /// What happens to those beyond.
    pub excess: Excess,
}

/// What is left of [`Limits`].
#[derive(Debug, Default)]
pub struct Flow {
    messages: Bucket,
    bytes: Bucket,
}

/// What is left for each address.
pub struct Addresses {
    connects: Option<Rate>,
    limits: Limits,
    most: usize,
    known: Arc<Mutex<Known>>,
    /// Stands for all addresses that there is no room for.
    others: Arc<Address>,
}

#[derive(Default)]
struct Known {
    addresses: HashMap<Cidr, Arc<Address>>,
    swept: Duration,
}

/// What is left for one.
#[derive(Debug, Default)]
pub struct Address {
    connects: Bucket,
    flow: Flow,
}

impl Rate {
    /// `count` in each `period`, of which `burst` may come at once; at least one can. `None` if nothing at all would be
    /// allowed, or the numbers are beyond what can be told apart.
    pub fn new(count: u64, period: Duration, burst: u64) -> Option<Rate> {
        let scaled = period.as_nanos().checked_shl(16)?;
        let cost = u64::try_from(scaled.checked_div(count.into())?).ok().filter(|&cost| cost > 0)?;
        Some(Rate { cost, burst: nanoseconds(cost, burst.max(1)) })
    }

    /// `count` a second, and as many at once.
    pub fn per_second(count: u64) -> Option<Rate> {
        Rate::new(count, Duration::from_secs(1), count)
    }
}

impl Bucket {
    /// Takes `count` out if they are there; else nothing, and the time until they will be. More than fit into a burst
    /// never are: they need a full bucket.
    ///
    /// # Errors
    /// How long to wait.
    pub fn take(&self, rate: &Rate, count: u64, now: Duration) -> Result<(), Duration> {
        let (now, cost) = (since_start(now), nanoseconds(rate.cost, count).min(rate.burst));
        let mut wait = 0;
        let taken = self.full_at.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |full_at| {
            let full_at = full_at.max(now).saturating_add(cost);
            wait = full_at.saturating_sub(now).saturating_sub(rate.burst);
            (wait == 0).then_some(full_at)
        });
        taken.map(drop).map_err(|_| Duration::from_nanos(wait))
    }

    /// Takes `count` out even if they are not there; the time until it owes nothing. If that were more than `most`, it
    /// takes nothing.
    ///
    /// # Errors
    /// How long it would have been.
    pub fn owe(&self, rate: &Rate, count: u64, now: Duration, most: Duration) -> Result<Duration, Duration> {
        let (now, cost) = (since_start(now), nanoseconds(rate.cost, count));
        let mut wait = Duration::ZERO;
        let taken = self.full_at.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |full_at| {
            let full_at = full_at.max(now).saturating_add(cost);
            wait = Duration::from_nanos(full_at.saturating_sub(now).saturating_sub(rate.burst));
            (wait <= most).then_some(full_at)
        });
        taken.map(|_| wait).map_err(|_| wait)
    }

    /// Whether nothing has been taken out for long enough.
    fn is_full(&self, now: Duration) -> bool {
        self.full_at.load(Ordering::Relaxed) <= since_start(now)
    }
}

impl Flow {
    /// A message of so many bytes has come. `now` is the time since any fixed moment.
    #[inline]
    pub fn message(&self, limits: &Limits, bytes: usize, now: Duration) -> Pace {
        let bytes = bytes as u64;
        let wanted = [(&self.messages, &limits.messages, 1), (&self.bytes, &limits.bytes, bytes)];
        let limited =
            wanted.into_iter().filter_map(|(bucket, rate, count)| Some((bucket, rate.as_ref()?, count)));
        let mut pause = Duration::ZERO;
        for (bucket, rate, count) in limited {
            let taken = match limits.excess {
                Excess::Delay => bucket.owe(rate, count, now, MAX_DELAY),
                Excess::Refuse | Excess::Close => bucket.take(rate, count, now).map(|()| Duration::ZERO),
            };
            match (taken, limits.excess) {
                (Ok(wait), _) => pause = pause.max(wait),
                (Err(_), Excess::Close) => return Pace::Close,
                (Err(_), Excess::Delay | Excess::Refuse) => return Pace::Refuse,
            }
        }
        if pause.is_zero() { Pace::Go } else { Pace::Pause(pause) }
    }
}

impl Addresses {
    /// Each address may connect at the rate `connects`, and send, by all its connections together, within `limits`.
    pub fn new(connects: Option<Rate>, limits: Limits) -> Addresses {
        Addresses { connects, limits, most: MAX_ADDRESSES, known: Arc::default(), others: Arc::default() }
    }

    /// With what is left for each by `before`, at other rates perhaps.
    #[must_use]
    pub fn after(self, before: &Addresses) -> Addresses {
        Addresses { known: before.known.clone(), others: before.others.clone(), ..self }
    }

    /// A client connects from `address`. What is returned is to be asked about each of its messages.
    ///
    /// # Errors
    /// How long it should have waited: it is to be refused.
    pub fn connect(&self, address: IpAddr, now: Duration) -> Result<Arc<Address>, Duration> {
        let entry = self.find(address, now);
        if let Some(rate) = &self.connects {
            entry.connects.take(rate, 1, now)?;
        }
        Ok(entry)
    }

    /// What is to be asked about each message of a client that is connected from `address` already.
    pub fn find(&self, address: IpAddr, now: Duration) -> Arc<Address> {
        self.entry(network(address), now)
    }

    /// A message of so many bytes has come from a connection of `address`.
    #[inline]
    pub fn message(&self, address: &Address, bytes: usize, now: Duration) -> Pace {
        address.flow.message(&self.limits, bytes, now)
    }

    fn entry(&self, network: Cidr, now: Duration) -> Arc<Address> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = known.addresses.get(&network) {
            return Arc::clone(entry);
        }
        known.make_room(self.most, now);
        if known.addresses.len() >= self.most {
            return Arc::clone(&self.others);
        }
        Arc::clone(known.addresses.entry(network).or_default())
    }
}

impl Known {
    /// Forgets addresses that nobody is connected from and that may do all again. Once their number has doubled, so
    /// that each connection pays for a few only.
    fn make_room(&mut self, most: usize, now: Duration) {
        let length = self.addresses.len();
        let is_due = length >= most && now.saturating_sub(self.swept) >= SWEEP;
        if is_due || length < most && length == self.addresses.capacity() {
            self.swept = now;
            self.addresses.retain(|_, entry| Arc::strong_count(entry) > 1 || !entry.is_full(now));
        }
    }
}

impl Address {
    fn is_full(&self, now: Duration) -> bool {
        [&self.connects, &self.flow.messages, &self.flow.bytes].into_iter().all(|bucket| bucket.is_full(now))
    }
}

impl fmt::Debug for Addresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Addresses")
            .field("connects", &self.connects)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// What counts as one address.
pub(crate) fn network(address: IpAddr) -> Cidr {
    match address.to_canonical() {
        IpAddr::V4(_) => Cidr::from(address),
        IpAddr::V6(_) => Cidr::leading(address, V6_NETWORK),
    }
}

fn nanoseconds(cost: u64, count: u64) -> u64 {
    u64::try_from((u128::from(cost) * u128::from(count)) >> 16).unwrap_or(u64::MAX)
}

fn since_start(now: Duration) -> u64 {
    u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_burst_and_then_the_rate() {
        let (bucket, rate) = (Bucket::default(), Rate::new(10, SECOND, 3).unwrap());
        let now = SECOND * 100;
        for _ in 0..3 {
            assert_eq!(bucket.take(&rate, 1, now), Ok(()));
        }
        assert_eq!(bucket.take(&rate, 1, now), Err(SECOND / 10));
        assert_eq!(bucket.take(&rate, 1, now + SECOND / 10), Ok(()));
        assert_eq!(bucket.take(&rate, 2, now + SECOND / 10), Err(SECOND / 5));
        assert_eq!(bucket.take(&rate, 3, now + SECOND * 9), Ok(()));
        assert_eq!(bucket.take(&rate, 1000, now + SECOND * 90), Ok(()), "too many need a full one");
        assert_eq!(bucket.take(&rate, 1, now + SECOND * 90), Err(SECOND / 10));
    }

    #[test]
    fn what_is_owed_is_paid_back_by_waiting() {
        let (bucket, rate) = (Bucket::default(), Rate::per_second(100).unwrap());
        let owe = |count, now| bucket.owe(&rate, count, now, SECOND);
        assert_eq!(owe(100, SECOND), Ok(Duration::ZERO));
        assert_eq!(owe(50, SECOND), Ok(SECOND / 2));
        assert_eq!(owe(51, SECOND), Err(SECOND + SECOND / 100));
        assert_eq!(owe(1, SECOND + SECOND / 2), Ok(SECOND / 100));
    }

    #[test]
    fn rates_that_mean_nothing_are_none() {
        assert_eq!(Rate::per_second(0), None);
        assert_eq!(Rate::new(1, Duration::ZERO, 1), None);
        assert_eq!(Rate::new(1, Duration::MAX, 1), None);
        assert_eq!(Rate::per_second(u64::MAX), None);
        assert!(Rate::per_second(1_000_000_000_000).is_some());
        assert!(Rate::new(1, SECOND * 86_400, u64::MAX).is_some());
    }

    #[test]
    fn each_way_to_deal_with_too_much() {
        let rate = Rate::new(1, SECOND, 1);
        for (excess, pace) in [
            (Excess::Delay, Pace::Pause(SECOND)),
            (Excess::Refuse, Pace::Refuse),
            (Excess::Close, Pace::Close),
        ] {
            for limits in [
                Limits { messages: rate, bytes: None, excess },
                Limits { messages: None, bytes: rate, excess },
            ] {
                let flow = Flow::default();
                assert_eq!(flow.message(&limits, 1, SECOND), Pace::Go);
                assert_eq!(flow.message(&limits, 1, SECOND), pace);
            }
        }
        let (flow, limits) = (Flow::default(), Limits { bytes: rate, ..Limits::default() });
        assert_eq!(flow.message(&limits, 12, SECOND), Pace::Refuse, "that would take too long");
        assert_eq!(flow.message(&limits, 11, SECOND), Pace::Pause(MAX_DELAY));
        assert_eq!(Flow::default().message(&Limits::default(), usize::MAX, SECOND), Pace::Go);
    }

    #[test]
    fn connections_of_an_address_share_and_others_do_not() {
        let limits = Limits { messages: Rate::new(1, SECOND, 2), bytes: None, excess: Excess::Refuse };
        let addresses = Addresses::new(Rate::new(1, SECOND, 2), limits);
        let connect = |text: &str| addresses.connect(text.parse().unwrap(), SECOND);
        let (a, b) = (connect("192.0.2.1").unwrap(), connect("::ffff:192.0.2.1").unwrap());
        assert_eq!(connect("192.0.2.1").unwrap_err(), SECOND);
        assert!(connect("192.0.2.2").is_ok());
        assert!(connect("2001:db8::1").is_ok() && connect("2001:db8::2").is_ok());
        assert!(connect("2001:db8::3").is_err() && connect("2001:db8:0:1::1").is_ok());
        assert_eq!(addresses.message(&a, 1, SECOND), Pace::Go);
        assert_eq!(addresses.message(&b, 1, SECOND), Pace::Go);
        assert_eq!(addresses.message(&a, 1, SECOND), Pace::Refuse);
    }

    #[test]
    fn a_crowd_of_addresses_shares_what_one_may() {
        let mut addresses = Addresses::new(Rate::new(1, SECOND, 1), Limits::default());
        addresses.most = 100;
        let address = |n: u32| IpAddr::from(n.to_be_bytes());
        let first: Vec<_> = (0..100).map(|n| addresses.connect(address(n), SECOND).unwrap()).collect();
        assert!(addresses.connect(address(1000), SECOND).is_ok());
        assert!(addresses.connect(address(1001), SECOND).is_err());
        let later = SECOND * 10;
        assert!(addresses.connect(address(1002), later).is_ok());
        assert!(addresses.connect(address(1003), later).is_err(), "all are still connected");
        drop(first);
        let later = later + SECOND;
        assert!(addresses.connect(address(1003), later).is_ok());
        assert!(addresses.connect(address(1004), later).is_ok());
        assert!(addresses.known.lock().unwrap().addresses.len() <= 100);
    }

    proptest! {
        #[test]
        fn never_more_than_burst_and_rate(
            count in 1..1000_u64,
            burst in 1..100_u64,
            steps in proptest::collection::vec((0..200_u64, 1..5_u64), 1..200),
        ) {
            let (bucket, rate) = (Bucket::default(), Rate::new(count, SECOND, burst).unwrap());
            let (start, mut now, mut taken) = (SECOND, SECOND, 0);
            for (wait, wanted) in steps {
                now += Duration::from_millis(wait);
                let wanted = wanted.min(burst);
                match bucket.take(&rate, wanted, now) {
                    Ok(()) => taken += wanted,
                    Err(wait) => {
                        prop_assert!(!wait.is_zero());
                        // After that time it would have been there.
                        now += wait;
                        prop_assert_eq!(bucket.take(&rate, wanted, now), Ok(()));
                        taken += wanted;
                    }
                }
                let most = burst as f64 + count as f64 * (now - start).as_secs_f64();
                prop_assert!(taken as f64 <= most * 1.001 + 0.001, "{} of {}", taken, most);
            }
        }
    }
}
