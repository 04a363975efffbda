//! What must hold for every sequence of changes and looks. The fuzz target calls [`routing`] with what it invents, the
//! tests beside this directory with the corpus and with what proptest invents. Everything is compared with plain lists
//! and a plain reading of 5.0 §4.7.

// Each of those includes this module and uses its own part of it.
#![allow(dead_code, clippy::unwrap_used)]

mod naive;

use std::collections::{BTreeMap, BTreeSet};

use mqway_codec::{TopicFilter, TopicName};
use mqway_routing::{
    Hint, ListingCursor, RetainedCursor, RetainedIndex, Route, RouteCache, Scan, ShareId, SubscriptionIndex,
};

/// What takes any bytes, and panics at a fault.
pub type Check = fn(&[u8]);

/// The fuzz targets by name. Each has its corpus in `fuzz/corpus`.
pub const TARGETS: &[(&str, Check)] = &[("routing", routing)];

/// Reads the input as a sequence of changes and looks, and does them to the real thing and to the model.
pub fn routing(input: &[u8]) {
    let mut source = Source(input);
    let mut both = Both::default();
    for _ in 0..STEPS {
        if source.0.is_empty() {
            break;
        }
        both.step(&mut source);
    }
    both.remove_everything();
}

type Subscriber = u8;
type Options = u8;
type Members = BTreeMap<Subscriber, Options>;
/// Direct subscriptions, sorted, with doubles; and the members of each share, sorted.
type Targets = (Vec<(Subscriber, Options)>, Vec<Vec<(Subscriber, Options)>>);

/// The most steps: the model is slow.
const STEPS: usize = 300;
/// Routes that are remembered, and scans that are under way.
const REMEMBERED: usize = 8;

struct Both {
    index: SubscriptionIndex<Subscriber, Options>,
    cache: RouteCache<Subscriber, Options>,
    retained: RetainedIndex<u8>,
    /// By the whole text of the filter, share name included.
    subscriptions: BTreeMap<String, Members>,
    messages: BTreeMap<String, u8>,
    /// Routes from earlier, with their topics.
    routes: Vec<(String, Route<Subscriber, Options>)>,
    hint: Hint,
    scans: Vec<Scanning>,
}

/// A scan of retained messages that began earlier.
struct Scanning {
    cursor: RetainedCursor,
    filter: String,
    seen: BTreeSet<String>,
    /// What was there all the time.
    due: BTreeSet<String>,
}

impl Default for Both {
    fn default() -> Self {
        Self {
            index: SubscriptionIndex::new(),
            cache: RouteCache::new(4, 4_096),
            retained: RetainedIndex::new(),
            subscriptions: BTreeMap::new(),
            messages: BTreeMap::new(),
            routes: Vec::new(),
            hint: Hint::default(),
            scans: Vec::new(),
        }
    }
}

impl Both {
    fn step(&mut self, source: &mut Source<'_>) {
        match source.below(16) {
            0..=4 => {
                let (filter, subscriber, options) = (source.filter(), source.below(4), source.below(3));
                self.subscribe(&filter, subscriber, options);
            }
            5 => {
                // Many at one filter, more than are looked through one by one.
                let (filter, first) = (source.filter(), source.below(8));
                (0..40).for_each(|number| self.subscribe(&filter, first + number, 0));
            }
            6..=8 => {
                let (filter, subscriber) = (self.some_filter(source), source.below(4));
                self.unsubscribe(&filter, subscriber);
            }
            9 => {
                let subscriber = source.below(48);
                let filters: Vec<String> = self.subscriptions.keys().cloned().collect();
                let there =
                    self.subscriptions.values().filter(|members| members.contains_key(&subscriber)).count();
                let all = filters.iter().map(|filter| TopicFilter::new(filter).unwrap());
                assert_eq!(self.index.unsubscribe_all(all, subscriber), there);
                self.subscriptions.values_mut().for_each(|members| _ = members.remove(&subscriber));
                self.subscriptions.retain(|_, members| !members.is_empty());
            }
            10..=11 => self.look(source.topic()),
            12 => {
                let (topic, value) = (source.topic(), source.below(255));
                let before = self.retained.insert(TopicName::new(&topic).unwrap(), value);
                assert_eq!(before, self.messages.insert(topic, value));
            }
            13 => {
                let topic = source.topic();
                let before = self.retained.remove(TopicName::new(&topic).unwrap());
                assert_eq!(before, self.messages.remove(&topic));
                self.scans.iter_mut().for_each(|scan| _ = scan.due.remove(&topic));
            }
            14 => self.begin_scan(source.filter()),
            _ => {
                let (which, most) = (source.below(REMEMBERED as u8), source.below(5));
                self.go_on_with_scan(usize::from(which), usize::from(most));
            }
        }
        self.compare_remembered();
    }

    fn subscribe(&mut self, filter: &str, subscriber: Subscriber, options: Options) {
        let before = self.index.subscribe(TopicFilter::new(filter).unwrap(), subscriber, options);
        let members = self.subscriptions.entry(filter.to_owned()).or_default();
        assert_eq!(before, members.insert(subscriber, options)); // [MQTT-3.8.4-3]
        assert_eq!(self.index.options(TopicFilter::new(filter).unwrap(), subscriber), Some(options));
    }

    fn unsubscribe(&mut self, filter: &str, subscriber: Subscriber) {
        let before = self.index.unsubscribe(TopicFilter::new(filter).unwrap(), subscriber);
        let members = self.subscriptions.get_mut(filter);
        assert_eq!(before, members.and_then(|members| members.remove(&subscriber))); // [MQTT-3.10.4-1]
        self.subscriptions.retain(|_, members| !members.is_empty());
        assert_eq!(self.index.options(TopicFilter::new(filter).unwrap(), subscriber), None);
    }

    /// One that is there, mostly.
    fn some_filter(&self, source: &mut Source<'_>) -> String {
        let which = usize::from(source.below(8));
        self.subscriptions.keys().nth(which).cloned().unwrap_or_else(|| source.filter())
    }

    fn look(&mut self, topic: String) {
        let expected = self.expected(&topic);
        assert_eq!(
            targets(self.cache.targets(&self.index, &topic, &mut self.hint).unwrap()),
            expected,
            "{topic:?} by cache"
        );
        let mut route = if self.routes.len() < REMEMBERED { Route::new() } else { self.routes.remove(0).1 };
        self.index.route(TopicName::new(&topic).unwrap(), &mut route);
        assert_eq!(targets(&route), expected, "{topic:?}");
        for share in route.shares() {
            self.compare_members(share.id, share.members.len());
        }
        self.routes.push((topic, route));
    }

    fn compare_members(&self, share: ShareId, len: usize) {
        assert_eq!(self.index.with_members(share, |members| members.len()), Some(len));
    }

    /// A route is as good as new for as long as its stamp says so.
    fn compare_remembered(&self) {
        for (topic, route) in &self.routes {
            if self.index.is_current(&route.stamp()) {
                assert_eq!(targets(route), self.expected(topic), "{topic:?}, remembered");
            }
        }
        let subscriptions: usize = self.subscriptions.values().map(BTreeMap::len).sum();
        assert_eq!(self.index.len(), subscriptions);
        assert_eq!(
            self.index.shares(),
            self.subscriptions.keys().filter(|key| naive::share(key).is_some()).count()
        );
        assert_eq!(self.retained.len(), self.messages.len());
    }

    fn expected(&self, topic: &str) -> Targets {
        let (mut direct, mut shares) = (Vec::new(), Vec::new());
        for (filter, members) in self.subscriptions.iter().filter(|(filter, _)| naive::matches(filter, topic))
        {
            let members = members.iter().map(|(subscriber, options)| (*subscriber, *options));
            match naive::share(filter) {
                Some(_) => shares.push(members.collect()),
                None => direct.extend(members),
            }
        }
        direct.sort_unstable();
        shares.sort_unstable();
        (direct, shares)
    }

    fn begin_scan(&mut self, filter: String) {
        if self.scans.len() == REMEMBERED {
            self.scans.remove(0);
        }
        let matching = self.messages.keys().filter(|topic| naive::matches(&filter, topic)).cloned();
        self.scans.push(Scanning {
            cursor: RetainedCursor::new(TopicFilter::new(&filter).unwrap()),
            seen: BTreeSet::new(),
            due: matching.collect(),
            filter,
        });
    }

    fn go_on_with_scan(&mut self, which: usize, most: usize) {
        if which >= self.scans.len() {
            return;
        }
        let Scanning { cursor, filter, seen, due } = &mut self.scans[which];
        let mut left = most;
        let scan = self.retained.scan(cursor, most, |topic, value| {
            left = left.checked_sub(1).expect("no more than asked for");
            assert!(naive::matches(filter, topic.as_str()));
            assert_eq!(self.messages.get(topic.as_str()), Some(value));
            assert!(seen.insert(topic.as_str().to_owned()), "{topic} twice");
        });
        if scan == Scan::Done {
            assert!(due.is_subset(seen), "{filter:?} without {:?}", due.difference(seen));
            self.scans.remove(which);
        }
    }

    fn remove_everything(mut self) {
        self.compare_listing();
        while let Some(scan) = self.scans.len().checked_sub(1) {
            self.go_on_with_scan(scan, 3);
        }
        for (filter, members) in std::mem::take(&mut self.subscriptions) {
            for (subscriber, options) in members {
                let filter = TopicFilter::new(&filter).unwrap();
                assert_eq!(self.index.unsubscribe(filter, subscriber), Some(options));
            }
        }
        for (topic, value) in std::mem::take(&mut self.messages) {
            assert_eq!(self.retained.remove(TopicName::new(&topic).unwrap()), Some(value));
        }
        self.compare_remembered();
        assert!(self.index.is_empty() && self.retained.is_empty());
        self.compare_listing();
    }

    fn compare_listing(&self) {
        let mut listed: BTreeMap<String, Members> = BTreeMap::new();
        let mut cursor = ListingCursor::default();
        while self.index.list(&mut cursor, 3, |entry| {
            let share = entry.share.map(|name| format!("$share/{name}/")).unwrap_or_default();
            let members = listed.entry(share + entry.filter).or_default();
            for target in entry.targets {
                assert_eq!(members.insert(target.subscriber, target.options), None, "listed twice");
            }
        }) {}
        assert_eq!(listed, self.subscriptions);
    }
}

fn targets(route: &Route<Subscriber, Options>) -> Targets {
    let plain = |target: &mqway_routing::Target<_, _>| (target.subscriber, target.options);
    let mut direct: Vec<_> = route.direct().iter().map(plain).collect();
    let sessions = direct.iter().map(|(subscriber, _)| subscriber).collect::<BTreeSet<_>>().len();
    let runs = direct.chunk_by(|(left, _), (right, _)| left == right).count();
    assert_eq!(runs, sessions, "not side by side");
    direct.sort_unstable();
    let sorted = |members: &[mqway_routing::Target<_, _>]| {
        let mut members: Vec<_> = members.iter().map(plain).collect();
        assert!(!members.is_empty());
        members.sort_unstable();
        members
    };
    let mut shares: Vec<_> = route.shares().map(|share| sorted(share.members)).collect();
    shares.sort_unstable();
    (direct, shares)
}

/// Choices made from bytes; when they run out, every choice is the first.
struct Source<'a>(&'a [u8]);

impl Source<'_> {
    fn below(&mut self, bound: u8) -> u8 {
        let Some((byte, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        byte % bound
    }

    /// One of few topics, so that they meet.
    fn topic(&mut self) -> String {
        const LEVELS: [&str; 8] = ["a", "b", "", "$a", "ab", "a\u{1}", "c", "é"];
        let mut topic = LEVELS[usize::from(self.below(8))].to_owned();
        for _ in 0..self.below(5) {
            topic = topic + "/" + LEVELS[usize::from(self.below(4))];
        }
        if topic.is_empty() { "/".into() } else { topic }
    }

    /// A topic with some of its levels made wildcards, shared or not.
    fn filter(&mut self) -> String {
        let topic = self.topic();
        let mut levels: Vec<&str> = topic.split('/').collect();
        for level in &mut levels {
            if self.below(3) == 0 {
                *level = "+";
            }
        }
        match self.below(4) {
            0 => levels.push("#"),
            1 => _ = levels.last_mut().map(|last| *last = "#"),
            _ => {}
        }
        let share = ["", "", "", "", "$share/g/", "$share/h/"][usize::from(self.below(6))];
        share.to_owned() + &levels.join("/")
    }
}
