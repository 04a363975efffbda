//! How a filter walks through sorted topics: whether one matches, and if not, where to go on.

/// A topic as a key: `/` is U+0000, which no topic contains and which sorts before everything else, so that a topic
/// is followed by all topics below it.
pub(super) fn key(topic: &str) -> String {
    topic.replace('/', "\0")
}

/// What a key is to a filter.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// It matches; the next one is to be looked at.
    Match,
    /// It does not match; the next one may.
    Next,
    /// Neither it nor any before this one matches.
    Seek(String),
    /// Neither it nor any behind it matches.
    End,
}

/// `filter` by levels, without a share name.
pub(super) fn step(filter: &str, key: &str) -> Step {
    let is_wild = filter.starts_with(['+', '#']);
    if is_wild && key.starts_with('$') {
        return Step::Seek("%".into()); // The character behind `$`. [MQTT-4.7.2-1]
    }
    let mut present = key.split('\0');
    let mut start = 0; // of the level in the key
    let mut wild_end = None; // of the last level of the key that stands for a `+`
    for wanted in filter.split('/') {
        let level = present.next();
        match (wanted, level) {
            ("#", _) => return Step::Match,
            (_, None) => return Step::Next, // What is below it comes next.
            ("+", Some(level)) => wild_end = Some(start + level.len()),
            (_, Some(level)) if level < wanted => return Step::Seek([&key[..start], wanted].concat()),
            (_, Some(level)) if level > wanted => {
                return wild_end.map_or(Step::End, |end| Step::Seek(behind(&key[..end])));
            }
            _ => {}
        }
        start += level.map_or(0, str::len) + 1;
    }
    match present.next() {
        None => Step::Match,
        Some(_) => Step::Seek(behind(&key[..start - 1])),
    }
}

/// The least text that sorts behind a key and all that is below it.
fn behind(key: &str) -> String {
    [key, "\u{1}"].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_below_one_follow_it_at_once() {
        let mut topics = ["a/b", "a", "a!", "a/b/c", "a/", "a/b!", "a/b/", "b"].map(key);
        topics.sort();
        assert_eq!(topics, ["a", "a/", "a/b", "a/b/", "a/b/c", "a/b!", "a!", "b"].map(key));
    }

    #[test]
    fn a_key_that_does_not_match_says_where_to_go_on() {
        let step = |filter, topic| match super::step(filter, &key(topic)) {
            Step::Seek(key) => format!("seek {}", key.replace('\0', "/").replace('\u{1}', "!")),
            step => format!("{step:?}"),
        };
        assert_eq!(step("#", "a/b"), "Match");
        assert_eq!(step("#", "$SYS/x"), "seek %"); // [MQTT-4.7.2-1]
        assert_eq!(step("$SYS/#", "$SYS"), "Match");
        assert_eq!(step("b/c", "a/z"), "seek b");
        assert_eq!(step("b/c", "b/a/x"), "seek b/c");
        assert_eq!(step("b/c", "b/d"), "End");
        assert_eq!(step("b/c", "b"), "Next");
        assert_eq!(step("b/c", "b/c/d"), "seek b/c!");
        assert_eq!(step("+/c", "b/d"), "seek b!");
        assert_eq!(step("+/c/+", "b/c/d/e"), "seek b/c/d!");
        assert_eq!(step("+/c/#", "b/c"), "Match");
        assert_eq!(step("+", ""), "Match");
    }
}
