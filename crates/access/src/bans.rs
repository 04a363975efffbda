//! Who may not connect for a while: by address, client identifier or user name, by hand or by what they did.
//!
//! Addresses are those that were verified: of the socket, or what a trusted proxy says. Failures count against the
//! address alone: if they counted against the user name, anybody could shut anybody out.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::hash::{BuildHasher, Hash, RandomState};
use std::net::IpAddr;
use std::time::Duration;

use mqway_transport::cidr::{Cidr, CidrList};

use crate::rates::network;

/// The most bans at a time, if their names are not longer than [`MAX_NAMES`]. Further ones by hand are refused, further automatic ones are left out.
pub const MAX_BANS: usize = 100_000;

/// The most addresses, and the most clients, whose failures and connections are counted. When there are more, those
/// that were quiet the longest are forgotten.
pub const MAX_COUNTED: usize = 16_384;

/// The most bytes that the names in bans have together: a client identifier may have 65,535.
pub const MAX_NAMES: usize = 16 << 20;

/// The most events that a [`Threshold`] can count to.
pub const MAX_COUNT: usize = 100;

/// What has ended is looked for at most so often when there is no room: it takes a while.
const SWEEP: Duration = Duration::from_secs(1);

/// Whom a ban is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// Whoever connects from this range.
    Address(Cidr),
    /// Whoever connects by this client identifier.
    Client(Box<str>),
    /// Whoever authenticates by this user name.
    User(Box<str>),
}

/// A ban.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ban {
    /// When it began.
    pub since: Duration,
    /// When it ends; `None`: when it is lifted.
    pub until: Option<Duration>,
    /// Why it is there.
    pub reason: Reason,
}

/// Why there is a ban.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Somebody said so, with these words.
    ByHand(Box<str>),
    /// Authentication failed too often.
    Failures,
    /// A client connected too often.
    Flapping,
}

/// So many within that time, and the ban is so long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Threshold {
    /// With this one the ban begins: 1 to [`MAX_COUNT`].
    pub count: usize,
    /// Counted over this time.
    pub within: Duration,
    /// How long the ban lasts.
    pub ban: Duration,
}

/// When bans come by themselves.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// Failed authentications from an address; from an IPv6 network of 64 bits.
    pub failures: Option<Threshold>,
    /// Connections by a client identifier.
    pub flapping: Option<Threshold>,
    /// Addresses that are never banned by themselves: where many clients are behind one.
    pub spared: CidrList,
}

/// No more can be banned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no room for more bans")]
pub struct Full;

/// All bans, and the counts that lead to more. Times are since any fixed moment.
#[derive(Debug, Default)]
pub struct Bans {
    bans: HashMap<Target, Ban>,
    /// How many bans there are for ranges of each number of leading bits.
    lengths: BTreeMap<u8, usize>,
    /// Bytes of the names in `bans`.
    names: usize,
    swept: Option<Duration>,
    failures: Counts<Cidr>,
    /// By a hash of the client identifier, which may be long.
    connects: Counts<u64>,
    hasher: RandomState,
    left_out: u64,
}

impl Bans {
    /// None yet.
    pub fn new() -> Bans {
        Bans::default()
    }

    /// Bans `target`, or changes its ban.
    ///
    /// # Errors
    /// If there are already as many as can be.
    pub fn ban(&mut self, target: Target, ban: Ban, now: Duration) -> Result<(), Full> {
        if let Some(own) = self.bans.get_mut(&target) {
            *own = ban;
            return Ok(());
        }
        if !self.has_room(&target) {
            self.forget_ended(now);
            if !self.has_room(&target) {
                return Err(Full);
            }
        }
        self.names += target.name().len();
        if let Some(length) = target.length() {
            *self.lengths.entry(length).or_default() += 1;
        }
        self.bans.insert(target, ban);
        Ok(())
    }

    /// Ends the ban of `target`, and forgets what it was counted for; whether there was one.
    pub fn lift(&mut self, target: &Target) -> bool {
        match target {
            Target::Address(range) => self.failures.forget(range),
            Target::Client(client_id) => self.connects.forget(&self.hasher.hash_one(&**client_id)),
            Target::User(_) => {}
        }
        let existed = self.bans.remove(target).is_some();
        if existed {
            uncount(&mut self.lengths, &mut self.names, target);
        }
        existed
    }

    /// The ban that is in the way of a client, if one is. What is not known yet may be left out: an address can be
    /// asked for before anything was read from it.
    pub fn find(
        &self,
        address: Option<IpAddr>,
        client_id: Option<&str>,
        user: Option<&str>,
        now: Duration,
    ) -> Option<(Target, &Ban)> {
        if self.bans.is_empty() {
            return None;
        }
        let lengths = self.lengths.keys();
        let ranges = address.into_iter().flat_map(|address| {
            lengths.clone().map(move |&length| Target::Address(Cidr::leading(address, length)))
        });
        let client_id = client_id.map(|client_id| Target::Client(client_id.into()));
        let user = user.map(|user| Target::User(user.into()));
        let mut targets = ranges.chain(client_id).chain(user);
        targets.find_map(|target| {
            let ban = self.bans.get(&target).filter(|ban| ban.holds(now))?;
            Some((target, ban))
        })
    }

    /// Somebody at `address` failed to authenticate. Whom that bans by this policy, if anybody.
    pub fn failed(&mut self, policy: &Policy, address: IpAddr, now: Duration) -> Option<Target> {
        let threshold = policy.failures.filter(|_| !policy.spared.contains(address))?;
        let network = network(address);
        let many = self.failures.count(network, &threshold, now);
        many.then(|| self.ban_by_itself(Target::Address(network), Reason::Failures, &threshold, now))
            .flatten()
    }

    /// A client has connected, authenticated, from `address`. Whom that bans by this policy, if anybody.
    pub fn connected(
        &mut self,
        policy: &Policy,
        client_id: &str,
        address: Option<IpAddr>,
        now: Duration,
    ) -> Option<Target> {
        let is_spared = address.is_some_and(|address| policy.spared.contains(address));
        let threshold = policy.flapping.filter(|_| !is_spared)?;
        let many = self.connects.count(self.hasher.hash_one(client_id), &threshold, now);
        let target = || Target::Client(client_id.into());
        many.then(|| self.ban_by_itself(target(), Reason::Flapping, &threshold, now)).flatten()
    }

    /// All bans that have not ended, in no order.
    pub fn iter(&self, now: Duration) -> impl Iterator<Item = (&Target, &Ban)> {
        self.bans.iter().filter(move |(_, ban)| ban.holds(now))
    }

    /// Automatic bans that there was no room for.
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    /// A ban that is there is not shortened.
    fn ban_by_itself(
        &mut self,
        target: Target,
        reason: Reason,
        threshold: &Threshold,
        now: Duration,
    ) -> Option<Target> {
        if self.bans.get(&target).is_some_and(|ban| ban.holds(now)) {
            return None;
        }
        let until = Some(now.saturating_add(threshold.ban));
        let banned = self.ban(target.clone(), Ban { since: now, until, reason }, now);
        self.left_out += u64::from(banned.is_err());
        banned.is_ok().then_some(target)
    }

    fn has_room(&self, target: &Target) -> bool {
        self.bans.len() < MAX_BANS && self.names.saturating_add(target.name().len()) <= MAX_NAMES
    }

    fn forget_ended(&mut self, now: Duration) {
        if self.swept.is_some_and(|swept| now.saturating_sub(swept) < SWEEP) {
            return;
        }
        self.swept = Some(now);
        let (lengths, names) = (&mut self.lengths, &mut self.names);
        self.bans.retain(|target, ban| {
            let holds = ban.holds(now);
            if !holds {
                uncount(lengths, names, target);
            }
            holds
        });
    }
}

impl Ban {
    fn holds(&self, now: Duration) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}

impl Target {
    /// Leading bits of a range.
    fn length(&self) -> Option<u8> {
        match self {
            Target::Address(range) => Some(range.leading_bits()),
            Target::Client(_) | Target::User(_) => None,
        }
    }

    fn name(&self) -> &str {
        match self {
            Target::Address(_) => "",
            Target::Client(name) | Target::User(name) => name,
        }
    }
}

/// As the log has it: `203.0.113.0/24`, `client "pump"`, `user "ann"`.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Address(range) => range.fmt(f),
            Target::Client(name) => write!(f, "client {name:?}"),
            Target::User(name) => write!(f, "user {name:?}"),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Reason::ByHand(words) => words,
            Reason::Failures => "failed logins",
            Reason::Flapping => "connecting too often",
        })
    }
}

/// After the ban of `target` has gone.
fn uncount(lengths: &mut BTreeMap<u8, usize>, names: &mut usize, target: &Target) {
    *names = names.saturating_sub(target.name().len());
    if let Some(length) = target.length()
        && let Some(count) = lengths.get_mut(&length)
    {
        *count = count.saturating_sub(1);
        if *count == 0 {
            lengths.remove(&length);
        }
    }
}

/// When something happened lately, by whom it happened to.
#[derive(Debug)]
struct Counts<K>(HashMap<K, VecDeque<Duration>>);

impl<K> Default for Counts<K> {
    fn default() -> Self {
        Counts(HashMap::new())
    }
}

impl<K: Eq + Hash> Counts<K> {
    /// Counts one more; whether it is the last one that was allowed to happen, and then begins anew.
    fn count(&mut self, key: K, threshold: &Threshold, now: Duration) -> bool {
        if self.0.len() >= MAX_COUNTED && !self.0.contains_key(&key) {
            self.make_room(threshold, now);
        }
        let times = self.0.entry(key).or_default();
        times.retain(|&time| now.saturating_sub(time) < threshold.within);
        times.push_back(now);
        let many = times.len() >= threshold.count.clamp(1, MAX_COUNT);
        if many {
            times.clear();
        }
        many
    }

    fn forget(&mut self, key: &K) {
        self.0.remove(key);
    }

    /// Forgets what is too long ago, or else the half that is longest ago: so it costs little each time.
    fn make_room(&mut self, threshold: &Threshold, now: Duration) {
        let last = |times: &VecDeque<Duration>| times.back().copied().unwrap_or_default();
        self.0.retain(|_, times| !times.is_empty() && now.saturating_sub(last(times)) < threshold.within);
        if self.0.len() < MAX_COUNTED / 2 {
            return;
        }
        let mut lasts: Vec<Duration> = self.0.values().map(last).collect();
        let middle = lasts.len() / 2;
        let (_, &mut median, _) = lasts.select_nth_unstable(middle);
        let mut surplus = middle;
        self.0.retain(|_, times| {
            let goes = surplus > 0 && last(times) <= median;
            surplus -= usize::from(goes);
            !goes
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn range(text: &str) -> Target {
        Target::Address(text.parse().unwrap())
    }

    fn by_hand(until: Option<Duration>) -> Ban {
        Ban { since: Duration::ZERO, until, reason: Reason::ByHand("noise".into()) }
    }

    fn after(count: usize, ban: u32) -> Option<Threshold> {
        Some(Threshold { count, within: SECOND * 10, ban: SECOND * ban })
    }

    #[test]
    fn bans_by_hand_hold_until_they_end_or_are_lifted() {
        let mut bans = Bans::default();
        let now = SECOND;
        for target in [
            range("10.0.0.0/8"),
            range("192.0.2.7"),
            range("2001:db8::/32"),
            Target::Client("c".into()),
            Target::User("u".into()),
        ] {
            bans.ban(target, by_hand(None), now).unwrap();
        }
        for (from, client_id, user, by) in [
            ("10.1.2.3", "x", "x", Some(range("10.0.0.0/8"))),
            ("::ffff:10.1.2.3", "x", "x", Some(range("10.0.0.0/8"))),
            ("192.0.2.7", "x", "x", Some(range("192.0.2.7"))),
            ("192.0.2.8", "x", "x", None),
            ("2001:db8:1::1", "x", "x", Some(range("2001:db8::/32"))),
            ("11.0.0.0", "c", "x", Some(Target::Client("c".into()))),
            ("11.0.0.0", "u", "c", None),
            ("11.0.0.0", "x", "u", Some(Target::User("u".into()))),
        ] {
            let found = bans.find(Some(address(from)), Some(client_id), Some(user), now);
            assert_eq!(found.map(|(target, _)| target), by, "{from} {client_id} {user}");
        }
        assert!(bans.find(None, None, None, now).is_none());
        assert!(bans.lift(&range("10.0.0.0/8")) && !bans.lift(&range("10.0.0.0/8")));
        assert!(bans.find(Some(address("10.1.2.3")), None, None, now).is_none());

        bans.ban(Target::User("t".into()), by_hand(Some(SECOND * 5)), now).unwrap();
        assert!(bans.find(None, None, Some("t"), SECOND * 4).is_some());
        assert!(bans.find(None, None, Some("t"), SECOND * 5).is_none());
        assert_eq!((bans.iter(SECOND * 4).count(), bans.iter(SECOND * 5).count()), (5, 4));
    }

    #[test]
    fn failures_within_the_time_ban_the_address() {
        let policy =
            &Policy { failures: after(3, 60), spared: "192.0.2.0/24".parse().unwrap(), ..Policy::default() };
        let mut bans = Bans::new();
        let (bad, v6) = (address("203.0.113.9"), address("2001:db8::1"));
        assert_eq!(bans.failed(policy, bad, SECOND), None);
        assert_eq!(bans.failed(policy, bad, SECOND * 6), None);
        assert_eq!(bans.failed(policy, bad, SECOND * 11), None, "the first one is too long ago");
        assert_eq!(bans.failed(policy, bad, SECOND * 12), Some(range("203.0.113.9")));
        let (_, ban) = bans.find(Some(bad), None, None, SECOND * 71).unwrap();
        assert_eq!((ban.reason.clone(), ban.until), (Reason::Failures, Some(SECOND * 72)));
        assert!(bans.find(Some(bad), None, None, SECOND * 72).is_none());
        for _ in 0..10 {
            assert_eq!(bans.failed(policy, address("192.0.2.1"), SECOND), None, "spared");
        }
        assert_eq!((bans.failed(policy, v6, SECOND), bans.failed(policy, v6, SECOND)), (None, None));
        assert_eq!(bans.failed(policy, address("2001:db8::2"), SECOND), Some(range("2001:db8::/64")));
        assert!(bans.find(Some(address("2001:db8::ffff")), None, None, SECOND).is_some());
    }

    #[test]
    fn a_client_that_flaps_is_banned_by_its_identifier() {
        let policy = &Policy { flapping: after(2, 5), ..Policy::default() };
        let mut bans = Bans::new();
        assert_eq!(bans.connected(policy, "c", None, SECOND), None);
        assert_eq!(bans.connected(policy, "d", None, SECOND), None);
        assert_eq!(bans.connected(policy, "c", None, SECOND), Some(Target::Client("c".into())));
        assert!(bans.find(None, Some("c"), None, SECOND).is_some());
        assert!(bans.find(None, Some("d"), None, SECOND).is_none());
        bans.lift(&Target::Client("d".into()));
        assert_eq!(bans.connected(policy, "d", None, SECOND), None, "forgotten with the lifting");
    }

    #[test]
    fn an_automatic_ban_does_not_shorten_one_by_hand() {
        let policy = &Policy { failures: after(1, 1), ..Policy::default() };
        let mut bans = Bans::new();
        bans.ban(range("203.0.113.9"), by_hand(None), SECOND).unwrap();
        assert_eq!(bans.failed(policy, address("203.0.113.9"), SECOND), None);
        assert!(bans.find(Some(address("203.0.113.9")), None, None, SECOND * 100).is_some());
    }

    #[test]
    fn counts_and_bans_are_bounded() {
        let policy = &Policy { failures: after(2, 60), flapping: after(1, 1), ..Policy::default() };
        let mut bans = Bans::new();
        for n in 0..MAX_COUNTED as u32 * 3 {
            let _ =
                bans.failed(policy, IpAddr::from(n.to_be_bytes()), SECOND + Duration::from_micros(n.into()));
            assert!(bans.failures.0.len() <= MAX_COUNTED);
        }
        let last = IpAddr::from((MAX_COUNTED as u32 * 3 - 1).to_be_bytes());
        assert!(bans.failed(policy, last, SECOND * 2).is_some(), "those of lately are not forgotten");

        for n in 0..MAX_BANS + 10 {
            let _ = bans.connected(policy, &n.to_string(), None, SECOND);
        }
        assert_eq!((bans.bans.len(), bans.left_out()), (MAX_BANS, 11));
        assert_eq!(bans.ban(Target::User("u".into()), by_hand(None), SECOND), Err(Full));
        assert_eq!(bans.ban(Target::User("u".into()), by_hand(None), SECOND * 3), Ok(()), "some have ended");
        assert_eq!(bans.bans.len(), 2);
        assert_eq!(bans.lengths.values().sum::<usize>(), 1);

        let long = "x".repeat(65_000);
        let mut bans = Bans::default();
        let fitting = (0..).take_while(|n| {
            bans.ban(Target::Client(format!("{n}{long}").into()), by_hand(None), SECOND).is_ok()
        });
        assert!((200..300).contains(&fitting.count()));
    }
}
