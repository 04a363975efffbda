//! A million subscriptions, and a million retained messages: bytes, rates, and the time of a look.
//!
//! `cargo bench -p mqway-routing [-- PART OF A NAME…]`. Each row runs in a process of its own, as memory that one row
//! has freed would hide what the next one takes. Bytes are resident ones, by Linux' /proc; elsewhere they are 0.

use std::hint::black_box;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use mqway_codec::{TopicFilter, TopicName};
use mqway_routing::{Hint, RetainedCursor, RetainedIndex, Route, RouteCache, Scan, SubscriptionIndex};

const COUNT: u32 = 1_000_000;
/// Looks that are timed.
const LOOKS: u32 = 1_000_000;
/// Says to a child which row is its.
const ROW: &str = "--row=";

/// What a broker may keep for a subscription.
#[derive(Clone, Copy, PartialEq)]
struct Options {
    _identifier: u32,
    _flags: u8,
}

type Index = SubscriptionIndex<u64, Options>;
/// The filter with a number, and a topic that it matches.
type Texts = fn(u32) -> (String, String);

const SUBSCRIPTIONS: &[(&str, Texts)] = &[
    ("exact", exact),
    ("exact, one site", |number| {
        let topic = format!("site/42/device/{number}/cmd");
        (topic.clone(), topic)
    }),
    ("below a device", below),
    ("any site", any_site),
    ("mixed", |number| match number % 20 {
        0..=13 => exact(number),
        14..=16 => below(number),
        17..=18 => any_site(number),
        _ => {
            let (filter, topic) = below(number);
            (format!("$share/workers/{filter}"), topic)
        }
    }),
    ("all to one topic", |_| ("site/42/alarm".into(), "site/42/none".into())),
    ("all in one share", |_| ("$share/workers/site/#".into(), "other/42/none".into())),
];

/// What changes while another thread looks, and how often in a millisecond.
const CHURN: [(&str, &str, Option<u32>); 3] = [
    ("changing exact filters", "exact", Some(10)),
    ("changing mixed filters", "mixed", Some(10)),
    ("changing all the time", "mixed", None),
];

fn exact(number: u32) -> (String, String) {
    let topic = format!("site/{}/device/{number}/cmd", number % 1_000);
    (topic.clone(), topic)
}

fn below(number: u32) -> (String, String) {
    let device = format!("site/{}/device/{number}", number % 1_000);
    (device.clone() + "/#", device + "/cmd/now")
}

fn any_site(number: u32) -> (String, String) {
    (format!("site/+/device/{number}/cmd"), format!("site/{}/device/{number}/cmd", number % 1_000))
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some(row) = arguments.iter().find_map(|argument| argument.strip_prefix(ROW)) {
        match SUBSCRIPTIONS.iter().find(|(name, _)| *name == row) {
            Some((name, texts)) => subscriptions(name, *texts),
            None => match CHURN.iter().find(|(name, ..)| *name == row) {
                Some((name, whose, rate)) => churn(name, whose, *rate),
                None => retained(),
            },
        }
        return;
    }
    let wanted: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with('-')).collect();
    let run = |rows: &[&str], title: &str| {
        let rows =
            rows.iter().filter(|row| wanted.is_empty() || wanted.iter().any(|wanted| row.contains(*wanted)));
        for (index, row) in rows.enumerate() {
            if index == 0 {
                println!("{title}");
            }
            let this = std::env::current_exe().expect("this program is somewhere");
            let status = Command::new(this).arg(format!("{ROW}{row}")).status();
            assert!(status.is_ok_and(|status| status.success()), "{row} failed");
        }
    };
    let names: Vec<&str> = SUBSCRIPTIONS.iter().map(|(name, _)| *name).collect();
    run(
        &names,
        "a million subscriptions: bytes of the filter's text, resident bytes beside it, subscribes and unsubscribes\n\
         of one thread, ns of a look into the index, the same remembered without and with a hint, ms of the longest subscribe\n\
         \x20                     text  bytes      sub/s    unsub/s    look  remembered  hint  longest",
    );
    run(
        &CHURN.map(|(name, ..)| name),
        "\none thread subscribes and unsubscribes among \"mixed\", another looks for 1,000 topics in turn\n\
         \x20                          changes/s    looks/s  remembered",
    );
    run(
        &["retained"],
        "\na million retained messages of 8 bytes: bytes of text and beside it, ns to insert, to replace, for each topic\n\
         of `#` in steps of 256 and of `site/7/device/+/state`; ms to find the one of `site/+/device/7/state` on 1,000 sites\n\
         \x20                     text  bytes  insert  replace   all   some    one",
    );
}

fn subscriptions(name: &str, texts: Texts) {
    let filters: Vec<String> = (0..COUNT).map(|number| texts(shuffled(number)).0).collect();
    let topics: Vec<String> = (0..LOOKS).map(|number| texts(scattered(number)).1).collect();
    let text = filters.iter().map(String::len).sum::<usize>() as f64 / f64::from(COUNT);
    let (index, before) = (Index::new(), resident());
    let subscribed = time(|| subscribe_all(&index, &filters));
    let bytes = resident().saturating_sub(before) as f64 / f64::from(COUNT);
    let longest = longest_subscribe(&filters);

    let mut route = Route::new();
    let look = best(|| {
        for topic in &topics {
            index.route(TopicName::new(topic).expect("is a topic"), &mut route);
            black_box(&route);
        }
    });
    let mut cache = RouteCache::new(4_096, 16 << 20);
    let few: Vec<(&str, Hint)> =
        (0..LOOKS as usize).map(|number| (&*topics[number % 100], Hint::default())).collect();
    let remembered = best(|| {
        for (topic, _) in &few {
            let _ = black_box(cache.targets(&index, topic, &mut Hint::default()));
        }
    });
    let mut connections = few[..100].to_vec();
    let hinted = best(|| {
        for _ in 0..LOOKS / 100 {
            for (topic, hint) in &mut connections {
                let _ = black_box(cache.targets(&index, topic, hint));
            }
        }
    });
    let unsubscribed = time(|| {
        for (subscriber, filter) in (0..).zip(&filters) {
            black_box(index.unsubscribe(TopicFilter::new(filter).expect("is a filter"), subscriber));
        }
    });
    assert!(index.is_empty());
    println!(
        "{name:<20} {text:>6.1} {:>6.1} {:>10.0} {:>10.0} {:>7.0} {:>11.1} {:>5.1} {:>8.1}",
        bytes - text,
        f64::from(COUNT) / subscribed.as_secs_f64(),
        f64::from(COUNT) / unsubscribed.as_secs_f64(),
        nanos(look),
        nanos(remembered),
        nanos(hinted),
        longest.as_secs_f64() * 1e3,
    );
}

/// One thread changes subscriptions of `whose` kind, so many in a millisecond, and another looks.
fn churn(name: &str, whose: &str, rate: Option<u32>) {
    let texts = |name| SUBSCRIPTIONS.iter().find(|(row, _)| *row == name).expect("is in the list").1;
    let filters: Vec<String> = (0..COUNT).map(|number| texts("mixed")(number).0).collect();
    let topics: Vec<String> = (0..1_000).map(|number| texts("mixed")(scattered(number)).1).collect();
    let index = Index::new();
    subscribe_all(&index, &filters);
    let stop = AtomicBool::new(false);
    let (changes, looks, counters) = std::thread::scope(|scope| {
        let changes = scope.spawn(|| {
            let (start, mut changes) = (Instant::now(), 0_u32);
            while !stop.load(Ordering::Relaxed) {
                let due = rate.map_or(u128::MAX, |rate| start.elapsed().as_millis() * u128::from(rate));
                if u128::from(changes) > due {
                    std::thread::sleep(Duration::from_millis(1));
                    continue;
                }
                let filter = texts(whose)(scattered(changes)).0 + "/more";
                let filter = filter.replace("#/more", "more/#");
                subscribe(&index, 0, &filter);
                index.unsubscribe(TopicFilter::new(&filter).expect("is a filter"), 0);
                changes += 2;
            }
            changes
        });
        let mut cache = RouteCache::new(4_096, 16 << 20);
        let (start, mut looks) = (Instant::now(), 0_u64);
        while start.elapsed() < Duration::from_secs(3) {
            for topic in &topics {
                let _ = black_box(cache.targets(&index, topic, &mut Hint::default()));
                looks += 1;
            }
        }
        stop.store(true, Ordering::Relaxed);
        (changes.join().expect("does not panic"), looks, cache.counters())
    });
    println!(
        "{name:<26} {:>9.0} {:>10.0} {:>10.1}%",
        f64::from(changes) / 3.0,
        looks as f64 / 3.0,
        counters.hits as f64 / looks as f64 * 100.0
    );
}

fn retained() {
    let topic = |number: u32| format!("site/{}/device/{number}/state", number % 1_000);
    let topics: Vec<String> = (0..COUNT).map(|number| topic(shuffled(number))).collect();
    let text = topics.iter().map(String::len).sum::<usize>() as f64 / f64::from(COUNT);
    let (index, before) = (RetainedIndex::new(), resident());
    let fill = || {
        for (value, topic) in (0_u64..).zip(&topics) {
            black_box(index.insert(TopicName::new(topic).expect("is a topic"), value));
        }
    };
    let inserted = time(fill);
    let bytes = resident().saturating_sub(before) as f64 / f64::from(COUNT);
    let replaced = time(fill);
    let scan = |filter: &str| {
        let mut cursor = RetainedCursor::new(TopicFilter::new(filter).expect("is a filter"));
        let mut found = 0_u32;
        let took = time(|| while index.scan(&mut cursor, 256, |_, _| found += 1) == Scan::More {});
        took / found
    };
    let (all, some, one) = (scan("#"), scan("site/7/device/+/state"), scan("site/+/device/7/state"));
    println!(
        "{:<20} {text:>6.1} {:>6.1} {:>7.0} {:>8.0} {:>5} {:>6} {:>6.2}",
        "",
        bytes - text,
        nanos(inserted),
        nanos(replaced),
        all.as_nanos(),
        some.as_nanos(),
        one.as_secs_f64() * 1e3,
    );
}

fn subscribe_all(index: &Index, filters: &[String]) {
    for (subscriber, filter) in (0..).zip(filters) {
        subscribe(index, subscriber, filter);
    }
}

fn subscribe(index: &Index, subscriber: u64, filter: &str) {
    let options = Options { _identifier: 1, _flags: 1 };
    black_box(index.subscribe(TopicFilter::new(filter).expect("is a filter"), subscriber, options));
}

/// Apart from the rate, since to look at the clock takes time too.
fn longest_subscribe(filters: &[String]) -> Duration {
    let index = Index::new();
    let one = |(subscriber, filter): (usize, &String)| time(|| subscribe(&index, subscriber as u64, filter));
    filters.iter().enumerate().map(one).max().unwrap_or_default()
}

/// All numbers below [`COUNT`] in another order, as clients do not come sorted.
fn shuffled(number: u32) -> u32 {
    (u64::from(number) * 387_420_489 % u64::from(COUNT)) as u32
}

/// Numbers below [`COUNT`] as if by chance.
fn scattered(number: u32) -> u32 {
    let mixed = u64::from(number).wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    ((mixed ^ mixed >> 29) % u64::from(COUNT)) as u32
}

fn time(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

/// The best of three.
fn best(mut work: impl FnMut()) -> Duration {
    (0..3).map(|_| time(&mut work)).min().unwrap_or_default()
}

/// For one of a million.
fn nanos(whole: Duration) -> f64 {
    whole.as_nanos() as f64 / 1e6
}

/// Resident bytes of this process.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).unwrap_or(0) * 4_096
}
