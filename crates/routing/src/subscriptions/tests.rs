//! What the specification says of matching, what the index promises of memory, stamps and threads. Long sequences
//! against a model are in `tests/model.rs`.

use std::sync::atomic::AtomicBool;
use std::thread;

use super::*;

type Index = SubscriptionIndex<u32, u8>;

fn filter(text: &str) -> TopicFilter<'_> {
    TopicFilter::new(text).unwrap()
}

/// The direct subscribers of a topic.
fn direct(index: &Index, topic: &str) -> Vec<u32> {
    look(index, topic).direct().iter().map(|target| target.subscriber).collect()
}

fn look(index: &Index, topic: &str) -> Route<u32, u8> {
    let mut route = Route::new();
    index.route(TopicName::new(topic).unwrap(), &mut route);
    route
}

/// An index with these filters, each of a session with its number.
fn index_of(filters: &[&str]) -> Index {
    let index = Index::new();
    for (subscriber, text) in (0..).zip(filters) {
        index.subscribe(filter(text), subscriber, 0);
    }
    index
}

#[test]
fn wildcards_match_as_the_specification_says() {
    // The examples of 5.0 §4.7.1.2, §4.7.1.3 and §4.7.3.
    let index = index_of(&[
        "sport/tennis/player1/#",
        "sport/#",
        "#",
        "sport/tennis/+",
        "sport/+",
        "+",
        "+/+",
        "/+",
        "+/tennis/#",
    ]);
    assert_eq!(direct(&index, "sport/tennis/player1"), [0, 1, 2, 3, 8]);
    assert_eq!(direct(&index, "sport/tennis/player1/ranking"), [0, 1, 2, 8]);
    assert_eq!(direct(&index, "sport"), [1, 2, 5]);
    assert_eq!(direct(&index, "sport/"), [1, 2, 4, 6]);
    assert_eq!(direct(&index, "/finance"), [2, 6, 7]);
    assert_eq!(direct(&index, "/"), [2, 6, 7]);
    assert_eq!(direct(&index, "Sport"), [2, 5]);
}

#[test]
fn wildcards_at_the_begin_pass_dollar_topics_by() {
    // [MQTT-4.7.2-1]
    let index =
        index_of(&["#", "+/monitor/Clients", "$SYS/#", "$SYS/monitor/+", "$SYS/monitor/Clients", "+"]);
    assert_eq!(direct(&index, "$SYS/monitor/Clients"), [2, 3, 4]);
    assert_eq!(direct(&index, "$SYS"), [2]);
    assert_eq!(direct(&index, "a$/monitor/Clients"), [0, 1]);
}

#[test]
fn subscriptions_of_one_session_stand_side_by_side() {
    let index = Index::new();
    for (text, subscriber) in [("a/b", 7), ("a/b", 3), ("a/#", 7), ("+/b", 3), ("+/b", 5), ("#", 7)] {
        index.subscribe(filter(text), subscriber, text.len() as u8);
    }
    assert_eq!(direct(&index, "a/b"), [3, 3, 5, 7, 7, 7]);
}

#[test]
fn a_share_is_one_target_with_its_members() {
    let index = Index::new();
    for (text, subscriber) in
        [("$share/g/a/+", 1), ("$share/g/a/+", 2), ("$share/h/a/+", 2), ("$share/g/a/#", 3), ("a/+", 4)]
    {
        assert_eq!(index.subscribe(filter(text), subscriber, subscriber as u8), None);
    }
    assert_eq!((index.len(), index.shares()), (5, 3));
    // [MQTT-4.8.2-3]: each member has the options that it was granted.
    assert_eq!(index.subscribe(filter("$share/g/a/+"), 2, 9), Some(2));
    let route = look(&index, "a/b");
    let members: Vec<Vec<(u32, u8)>> = route
        .shares()
        .map(|share| share.members.iter().map(|member| (member.subscriber, member.options)).collect())
        .collect();
    assert_eq!(members, [vec![(3, 3)], vec![(1, 1), (2, 9)], vec![(2, 2)]]);
    assert_eq!(direct(&index, "a/b"), [4]);
}

#[test]
fn a_share_is_found_again_until_its_last_member_leaves() {
    let index = Index::new();
    index.subscribe(filter("$share/g/a"), 1, 0);
    index.subscribe(filter("$share/g/a"), 2, 0);
    let share = look(&index, "a").shares().next().unwrap().id;
    let members = |share| {
        index
            .with_members(share, |members| members.iter().map(|member| member.subscriber).collect::<Vec<_>>())
    };
    index.unsubscribe(filter("$share/g/a"), 1);
    assert_eq!(members(share), Some(vec![2]));
    index.unsubscribe(filter("$share/g/a"), 2);
    assert_eq!(members(share), None);
    // Who joins now is in another group, which nothing of the old one concerns.
    index.subscribe(filter("$share/g/a"), 3, 0);
    assert_eq!(members(share), None);
}

#[test]
fn a_change_voids_the_routes_it_could_alter() {
    for text in ["a/b/c", "a/b/+", "a/b/c/#", "a/+/c", "a/#", "+/b/c", "#", "$share/g/a/b/c", "$share/g/+/#"]
    {
        let index = Index::new();
        let stamp = || look(&index, "a/b/c").stamp();
        let before = stamp();
        assert!(index.is_current(&before));
        index.subscribe(filter(text), 1, 0);
        assert!(!index.is_current(&before), "{text}");
        let subscribed = stamp();
        index.subscribe(filter(text), 1, 1);
        assert!(!index.is_current(&subscribed), "{text}: other options");
        let replaced = stamp();
        assert_eq!(index.subscribe(filter(text), 1, 1), Some(1));
        index.unsubscribe(filter("a/b/d"), 1);
        index.unsubscribe(filter(text), 2);
        assert!(index.is_current(&replaced), "{text}: nothing was removed");
        index.unsubscribe(filter(text), 1);
        assert!(!index.is_current(&replaced), "{text}");
    }
    assert!(!Index::new().is_current(&Route::<u32, u8>::new().stamp()), "an empty route was never looked up");
}

#[test]
fn changes_elsewhere_leave_routes_alone() {
    let index = Index::new();
    let route = look(&index, "site/1/device/7");
    let voided = (0..1_000)
        .filter(|number| {
            let before = look(&index, "site/1/device/7");
            index.subscribe(filter(&format!("site/1/device/x{number}")), 1, 0);
            index.subscribe(filter(&format!("site/x{number}/+")), 1, 0);
            index.subscribe(filter(&format!("x{number}/+")), 1, 0);
            !index.is_current(&before.stamp())
        })
        .count();
    // By chance some 3 of 1,000: three stems of the topic and three changes meet in 4,096 counters.
    assert!(voided < 50, "{voided} of 1000");
    assert!(route.is_empty());
}

#[test]
fn nothing_is_left_when_everything_is_removed() {
    let index = Index::new();
    let filters: Vec<String> = (0..3_000)
        .map(|number| match number % 6 {
            0 => format!("site/{number}/cmd"),
            1 => format!("site/{number}/+/x/#"),
            2 => format!("+/{number}/+"),
            3 => format!("$share/g{number}/site/+/{number}"),
            4 => "one/for/all".to_owned(),
            _ => format!("$share/g/{number}/#"),
        })
        .collect();
    for (subscriber, text) in (0..).zip(&filters) {
        index.subscribe(filter(text), subscriber, 0);
    }
    assert_eq!(index.len(), 3_000);
    for (subscriber, text) in (0..).zip(&filters) {
        assert_eq!(index.unsubscribe_all([filter(text), filter(text)], subscriber), 1);
    }
    assert_eq!((index.len(), index.shares()), (0, 0));
    for Locked(shard) in &index.shards {
        let bytes = shard.read().unwrap().bytes();
        assert_eq!(bytes, 0, "memory is kept");
    }
}

#[test]
fn memory_goes_back_while_some_stay() {
    let index = Index::new();
    let text = |number| format!("+/{number}/{number}");
    (0..10_000).for_each(|number| _ = index.subscribe(filter(&text(number)), number, 0));
    let full = index.shards[STEM_SHARDS].0.read().unwrap().bytes();
    (0..9_900).for_each(|number| _ = index.unsubscribe(filter(&text(number)), number));
    let left = index.shards[STEM_SHARDS].0.read().unwrap().bytes();
    assert!(left < full / 10, "{left} of {full}");
    (9_900..10_000).for_each(|number| assert_eq!(direct(&index, &format!("x/{number}/{number}")), [number]));
}

#[test]
fn what_stays_is_listed_though_others_go_meanwhile() {
    let index = Index::new();
    let text = |number| format!("+/{number}");
    (0..1_000).for_each(|number| _ = index.subscribe(filter(&text(number)), number, 0));
    let (mut cursor, mut listed) = (ListingCursor::default(), std::collections::BTreeSet::new());
    let mut list = |cursor: &mut _| {
        index.list(cursor, 400, |entry| {
            assert_eq!((entry.share, entry.targets.len()), (None, 1));
            assert_eq!(entry.filter, text(entry.targets[0].subscriber));
            listed.insert(entry.targets[0].subscriber);
        })
    };
    assert!(list(&mut cursor));
    // The nodes of the rest are packed, to before where the listing has come.
    (0..900).for_each(|number| _ = index.unsubscribe(filter(&text(number)), number));
    while list(&mut cursor) {}
    assert!((900..1_000).all(|number| listed.contains(&number)));
    assert!(!listed.contains(&899));
}

#[test]
fn a_filter_of_very_many_levels_is_taken_and_found() {
    let index = Index::new();
    let slashes = "/".repeat(mqway_codec::MAX_TOPIC_LEN - 1);
    index.subscribe(filter(&(slashes.clone() + "+")), 1, 0);
    index.subscribe(filter(&(slashes.clone() + "#")), 2, 0);
    assert_eq!(direct(&index, &slashes), [1, 2]);
    let mut listed = 0;
    assert!(!index.list(&mut ListingCursor::default(), 10, |entry| listed += entry.filter.len()));
    assert_eq!(listed, 2 * mqway_codec::MAX_TOPIC_LEN);
    index.unsubscribe(filter(&(slashes.clone() + "+")), 1);
    index.unsubscribe(filter(&(slashes.clone() + "#")), 2);
    assert!(index.is_empty());
}

#[test]
fn threads_look_while_others_change() {
    let (index, stop) = (Index::new(), AtomicBool::new(false));
    index.subscribe(filter("a/b/+"), 0, 0);
    index.subscribe(filter("a/b/c"), 0, 0);
    thread::scope(|scope| {
        let churn: Vec<_> = (1..4_u32)
            .map(|subscriber| {
                let index = &index;
                scope.spawn(move || {
                    for round in 0..500 {
                        let texts = [
                            "a/b/+".to_owned(),
                            format!("a/{round}/#"),
                            format!("+/{round}"),
                            "$share/g/a/b/c".to_owned(),
                        ];
                        texts.iter().for_each(|text| _ = index.subscribe(filter(text), subscriber, 0));
                        // What this thread has just done, it sees.
                        assert!(direct(index, "a/b/c").contains(&subscriber));
                        let texts = texts.iter().map(|text| filter(text));
                        assert_eq!(index.unsubscribe_all(texts, subscriber), 4);
                        assert!(!direct(index, "a/b/c").contains(&subscriber));
                    }
                })
            })
            .collect();
        scope.spawn(|| {
            let mut cache = crate::RouteCache::new(16, 1 << 16);
            while !stop.load(Ordering::Relaxed) {
                let route = cache.targets(&index, "a/b/c", &mut crate::Hint::default()).unwrap();
                assert_eq!(route.direct()[..2].iter().map(|target| target.subscriber).max(), Some(0));
            }
        });
        churn.into_iter().for_each(|thread| thread.join().unwrap());
        stop.store(true, Ordering::Relaxed);
    });
    assert_eq!(index.len(), 2);
    let mut cache = crate::RouteCache::new(16, 1 << 16);
    let route = cache.targets(&index, "a/b/c", &mut crate::Hint::default()).unwrap();
    assert_eq!((route.direct().len(), route.shares().len()), (2, 0));
}
