use std::thread;

use super::*;

fn name(text: &str) -> TopicName<'_> {
    TopicName::new(text).unwrap()
}

/// The topics that match, and how many calls it took.
fn scan<V>(index: &RetainedIndex<V>, filter: &str, most: usize) -> (Vec<String>, usize) {
    let mut cursor = RetainedCursor::new(TopicFilter::new(filter).unwrap());
    let (mut topics, mut calls) = (Vec::new(), 1);
    while index.scan(&mut cursor, most, |topic, _| topics.push(topic.as_str().to_owned())) == Scan::More {
        calls += 1;
    }
    topics.sort();
    (topics, calls)
}

#[test]
fn one_message_is_retained_for_a_topic() {
    let index = RetainedIndex::new();
    assert_eq!(index.insert(name("a/b"), 1), None);
    assert_eq!(index.insert(name("a/b"), 2), Some(1)); // [MQTT-3.3.1-5]
    assert_eq!(index.len(), 1);
    assert_eq!(index.with(name("a/b"), |value| *value), Some(2));
    assert_eq!(index.remove_if(name("a/b"), |value| *value == 1), None);
    assert_eq!(index.remove(name("a")), None);
    assert_eq!(index.remove(name("a/b")), Some(2)); // [MQTT-3.3.1-6]
    assert!(index.is_empty());
    assert!(index.shards.iter().all(|shard| shard.read().unwrap().is_empty()));
}

#[test]
fn a_filter_finds_what_matches() {
    let index = RetainedIndex::new();
    for topic in ["a", "a/", "a/b", "a/b/c", "a/c/c", "b/b/c", "/b", "$SYS/a", "$SYS", "a!/b", "a\u{1}"] {
        index.insert(name(topic), ());
    }
    let found = |filter| scan(&index, filter, usize::MAX).0;
    assert_eq!(found("#").len(), 9); // [MQTT-4.7.2-1]
    let (mut all, mut count) = (RetainedCursor::all(), 0);
    assert_eq!(index.scan(&mut all, usize::MAX, |_, ()| count += 1), Scan::Done);
    assert_eq!(count, 11);
    assert_eq!(found("+"), ["a", "a\u{1}"]);
    assert_eq!(found("a/#"), ["a", "a/", "a/b", "a/b/c", "a/c/c"]);
    assert_eq!(found("a/b/#"), ["a/b", "a/b/c"]);
    assert_eq!(found("a/+"), ["a/", "a/b"]);
    assert_eq!(found("+/b"), ["/b", "a!/b", "a/b"]);
    assert_eq!(found("+/+/c"), ["a/b/c", "a/c/c", "b/b/c"]);
    assert_eq!(found("a/b"), ["a/b"]);
    assert_eq!(found("$SYS/#"), ["$SYS", "$SYS/a"]);
    assert_eq!(found("x/+"), [""; 0]);
}

#[test]
fn the_same_key_gives_the_same_order() {
    let order = |key| {
        let index = RetainedIndex::with_key(key);
        (0..100).for_each(|number| _ = index.insert(name(&format!("site/{number}")), number));
        let mut order = Vec::new();
        index.scan(&mut RetainedCursor::all(), usize::MAX, |_, number| order.push(*number));
        order
    };
    assert_eq!(order(1), order(1));
    assert_ne!(order(1), order(2));
}

#[test]
fn a_scan_looks_at_no_more_than_it_is_told_in_one_call() {
    let index = RetainedIndex::new();
    for number in 0..10_000 {
        index.insert(name(&format!("site/{}/{number}/state", number % 10)), number);
    }
    let (topics, calls) = scan(&index, "#", 100);
    assert_eq!(topics.len(), 10_000);
    assert!((100..=101).contains(&calls), "{calls}");
    // None matches: in each of the ten branches, the first says so and the next one begins behind it.
    let (topics, calls) = scan(&index, "site/+/x/#", 100);
    assert_eq!((topics.len(), calls), (0, 1));
    // The last level differs, so that each topic is looked at, twice with the jump behind it.
    let (topics, calls) = scan(&index, "site/+/+/x", 100);
    assert_eq!(topics.len(), 0);
    assert!(calls <= 201, "{calls}");
}

#[test]
fn a_scan_goes_on_where_it_was_whatever_changes() {
    let index = RetainedIndex::new();
    for number in 0..1_000 {
        index.insert(name(&format!("t/{number:03}/x")), number);
    }
    let mut cursor = RetainedCursor::new(TopicFilter::new("t/#").unwrap());
    let mut seen = Vec::new();
    let mut round = 0;
    while index.scan(&mut cursor, 50, |_, value| seen.push(*value)) == Scan::More {
        // Odd ones go, the one just seen among them; new ones come everywhere.
        if let Some(last) = seen.last() {
            index.remove(name(&format!("t/{last:03}/x")));
        }
        index.remove(name(&format!("t/{:03}/x", round * 2 + 1)));
        index.insert(name(&format!("t/{round:03}/a")), 5_000 + round);
        round += 1;
    }
    let mut even: Vec<_> = seen.iter().copied().filter(|number| number % 2 == 0 && *number < 1_000).collect();
    even.sort_unstable();
    even.dedup();
    assert_eq!(even.len(), 500);
    let mut all = seen.clone();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), seen.len(), "none twice");
}

#[test]
fn threads_scan_while_others_retain() {
    let index = RetainedIndex::new();
    (0..500).for_each(|number| _ = index.insert(name(&format!("stays/{number}")), 0));
    thread::scope(|scope| {
        for writer in 0..2 {
            let index = &index;
            scope.spawn(move || {
                for number in 0..2_000 {
                    let topic = format!("{writer}/{number}");
                    index.insert(name(&topic), number);
                    assert_eq!(index.remove(name(&topic)), Some(number));
                }
            });
        }
        scope.spawn(|| {
            for _ in 0..20 {
                let topics = scan(&index, "#", 64).0;
                assert_eq!(topics.iter().filter(|topic| topic.starts_with("stays/")).count(), 500);
            }
        });
    });
    assert_eq!(index.len(), 500);
}
