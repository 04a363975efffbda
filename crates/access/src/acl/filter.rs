//! Filters as sets of topics: whether one lies within another, and which topics two have in common.
//!
//! All walk the levels side by side. As everywhere, `#` also takes the level above it, and a wildcard in the first
//! level passes topics by that begin with `$` (5.0 §4.7.1.2, §4.7.2).

/// Whether every topic that `inner` matches is matched by `outer`, too.
pub fn covers(outer: &str, inner: &str) -> bool {
    if is_dollar(inner) && starts_with_wildcard(outer) {
        return false; // [MQTT-4.7.2-1]
    }
    let (mut outer, mut inner) = (outer.split('/'), spelled_out(inner).split('/'));
    loop {
        match (outer.next(), inner.next()) {
            (Some("#"), _) | (None, None) => return true,
            (Some("+"), Some(level)) if level != "#" => {}
            (Some(outer), Some(inner)) if outer == inner => {}
            _ => return false,
        }
    }
}

/// Whether there is a topic that both match.
pub fn overlap(a: &str, b: &str) -> bool {
    if is_dollar(a) && starts_with_wildcard(b) || is_dollar(b) && starts_with_wildcard(a) {
        return false; // [MQTT-4.7.2-1]
    }
    let (mut a, mut b) = (spelled_out(a).split('/'), spelled_out(b).split('/'));
    loop {
        match (a.next(), b.next()) {
            (Some("#"), _) | (_, Some("#")) | (None, None) => return true,
            (Some("+"), Some(_)) | (Some(_), Some("+")) => {}
            (Some(a), Some(b)) if a == b => {}
            _ => return false,
        }
    }
}

/// The topics that both match, as a filter; `None` if there is none.
pub fn meet(a: &str, b: &str) -> Option<String> {
    if !overlap(a, b) {
        return None;
    }
    let (mut a, mut b) = (spelled_out(a).split('/'), spelled_out(b).split('/'));
    let mut both = Vec::new();
    loop {
        match (a.next(), b.next()) {
            (None, _) | (_, None) => break,
            (Some("#"), Some(level)) => {
                both.push(level);
                both.extend(b);
                break;
            }
            (Some(level), Some("#")) => {
                both.push(level);
                both.extend(a);
                break;
            }
            (Some("+"), Some(level)) | (Some(level), Some(_)) => both.push(level),
        }
    }
    Some(both.join("/"))
}

/// Whether two filters part at once: where they first differ, in levels without a wildcard. Then they have no topic in
/// common. That is what most of a thousand rules do, and seen in a few nanoseconds.
pub fn part_early(a: &str, b: &str) -> bool {
    let same = a.bytes().zip(b.bytes()).take_while(|(a, b)| a == b).count();
    let (Some(x), Some(y)) = (a.as_bytes().get(same), b.as_bytes().get(same)) else { return false };
    // A level that goes on is no wildcard, nor is one that begins as a word that is none.
    let begun =
        same > 0 && a.as_bytes().get(same - 1).is_some_and(|byte| !matches!(byte, b'/' | b'+' | b'#'));
    let is_word = |byte: &u8| !matches!(byte, b'+' | b'#');
    begun || is_word(x) && is_word(y)
}

/// The same filter, where `#` would also stand for a topic of no level or an empty one: these do not exist.
/// [MQTT-4.7.3-1]
pub fn spelled_out(filter: &str) -> &str {
    match filter {
        "#" => "+/#",
        "/#" => "/+/#",
        _ => filter,
    }
}

fn is_dollar(filter: &str) -> bool {
    filter.starts_with('$')
}

fn starts_with_wildcard(filter: &str) -> bool {
    filter.starts_with(['+', '#'])
}

#[cfg(test)]
mod tests {
    use mqway_codec::{TopicFilter, TopicName};
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn by_hand() {
        for (outer, inner) in [
            ("#", "#"),
            ("#", "a/+/c"),
            ("+/#", "#"),
            ("a/#", "a"),
            ("a/#", "a/+/c"),
            ("a/+", "a/b"),
            ("$SYS/#", "$SYS/+/x"),
            ("+", "a"),
            ("/#", "/+"),
            ("/+/#", "/#"),
        ] {
            assert!(covers(outer, inner), "{outer} covers {inner}");
        }
        for (outer, inner) in [
            ("a/+", "a/#"),
            ("a/+/#", "a/#"),
            ("a/+", "a"),
            ("#", "$SYS/#"),
            ("+/b", "$a/b"),
            ("a/b", "a/+"),
            ("+", "#"),
            ("+/+", "+/#"),
        ] {
            assert!(!covers(outer, inner), "{outer} does not cover {inner}");
        }
        for (a, b) in [("a/#", "+"), ("+/b", "a/+"), ("#", "a/b"), ("a/#", "a/b/#"), ("$a/+", "$a/b")] {
            assert!(overlap(a, b) && overlap(b, a), "{a} and {b}");
        }
        for (a, b) in
            [("a/+", "a"), ("a/#", "b/#"), ("#", "$SYS/#"), ("+/b", "$a/b"), ("a/b", "a/c"), ("+", "/#")]
        {
            assert!(!overlap(a, b) && !overlap(b, a), "{a} and {b}");
        }
    }

    /// All topics of one to four levels out of letters that filters use and one that none uses: what is true of
    /// these is true of all, for filters of at most three levels.
    fn topics() -> Vec<String> {
        let letters = ["a", "$b", "", "z"];
        let mut longest: Vec<String> = letters.map(str::to_owned).to_vec();
        let mut all = longest.clone();
        for _ in 0..3 {
            longest =
                longest.iter().flat_map(|topic| letters.map(|letter| format!("{topic}/{letter}"))).collect();
            all.extend_from_slice(&longest);
        }
        all.retain(|topic| !topic.is_empty());
        all
    }

    fn filter() -> impl Strategy<Value = String> {
        "(a|\\$b|\\+|)(/(a|\\$b|\\+|)){0,2}(/#)?|#".prop_filter("not empty", |filter| !filter.is_empty())
    }

    proptest! {
        #[test]
        fn what_parts_early_has_nothing_in_common(
            a in "(a|ab|abc|b|\\+|)(/(a|ab|abc|b|\\+|)){0,3}(/#)?|#",
            b in "(a|ab|abc|b|\\+|)(/(a|ab|abc|b|\\+|)){0,3}(/#)?|#",
        ) {
            prop_assert!(!(part_early(&a, &b) && overlap(&a, &b)), "{} and {}", a, b);
            prop_assert_eq!(part_early(&a, &b), part_early(&b, &a));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn both_are_what_enumeration_says(a in filter(), b in filter()) {
            let (first, second) = (TopicFilter::new(&a).unwrap(), TopicFilter::new(&b).unwrap());
            let matched: Vec<(bool, bool)> = topics()
                .iter()
                .map(|topic| TopicName::new(topic).unwrap())
                .map(|topic| (first.matches(topic), second.matches(topic)))
                .collect();
            prop_assert_eq!(covers(&a, &b), matched.iter().all(|&(a, b)| a || !b), "{} covers {}", a, b);
            prop_assert!(!part_early(&a, &b) || !overlap(&a, &b), "{} and {} part early", a, b);
            prop_assert_eq!(overlap(&a, &b), matched.iter().any(|&(a, b)| a && b), "{} and {}", a, b);
            let both = meet(&a, &b);
            let both = both.as_deref().map(|both| TopicFilter::new(both).unwrap());
            for (topic, &(a, b)) in topics().iter().zip(&matched) {
                let met = both.is_some_and(|both| both.matches(TopicName::new(topic).unwrap()));
                prop_assert_eq!(met, a && b, "{:?} and {}", both, topic);
            }
        }
    }
}
