//! How filters are dealt out: by what stands before their first wildcard.

/// How much of a filter its stem is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Stem {
    /// All of it: it has no wildcard. The numbers stand where nodes have that of their parent, and no node has them.
    Whole = u32::MAX - 3,
    /// Nothing: it begins with a wildcard.
    Nothing = u32::MAX - 2,
    /// Its first level: the second is a wildcard.
    OneLevel = u32::MAX - 1,
    /// Its first two levels: a wildcard comes later.
    TwoLevels = u32::MAX,
}

/// A filter, or a topic as filters of one kind see it, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Path<'a> {
    pub stem: Stem,
    /// The text of the stem.
    pub text: &'a str,
    /// The levels behind the stem; not the same as one empty level.
    pub rest: Option<&'a str>,
}

impl<'a> Path<'a> {
    /// Where `filter`, without its share name, has its place.
    pub fn of_filter(filter: &'a str) -> Self {
        let Some(wildcard) = filter.find(['+', '#']) else {
            return Self { stem: Stem::Whole, text: filter, rest: None };
        };
        let mut slashes = filter[..wildcard].match_indices('/').map(|(at, _)| at);
        let (stem, end) = match (slashes.next(), slashes.next()) {
            (None, _) => return Self { stem: Stem::Nothing, text: "", rest: Some(filter) },
            (Some(first), None) => (Stem::OneLevel, first),
            (Some(_), Some(second)) => (Stem::TwoLevels, second),
        };
        Self { stem, text: &filter[..end], rest: Some(&filter[end + 1..]) }
    }

    /// The levels behind the stem.
    pub fn levels(self) -> impl Iterator<Item = &'a str> {
        self.rest.into_iter().flat_map(|rest| rest.split('/'))
    }

    /// All places where filters that match `topic` may be.
    pub fn of_topic(topic: &'a str) -> [Option<Self>; 4] {
        let cut = |stem, end: usize| Self { stem, text: &topic[..end], rest: topic.get(end + 1..) };
        let first = topic.find('/');
        let second = first.map(|first| topic[first + 1..].find('/').map_or(topic.len(), |at| first + 1 + at));
        [
            Some(Self { stem: Stem::Whole, text: topic, rest: None }),
            Some(cut(Stem::OneLevel, first.unwrap_or(topic.len()))),
            second.map(|end| cut(Stem::TwoLevels, end)),
            // A filter that begins with a wildcard does not match a topic that begins with `$`. [MQTT-4.7.2-1]
            (!topic.starts_with('$')).then_some(Self { stem: Stem::Nothing, text: "", rest: Some(topic) }),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_cut_before_their_first_wildcard() {
        let path = |filter| {
            let Path { stem, text, rest } = Path::of_filter(filter);
            (stem, text, rest)
        };
        assert_eq!(path("a/b/c"), (Stem::Whole, "a/b/c", None));
        assert_eq!(path("#"), (Stem::Nothing, "", Some("#")));
        assert_eq!(path("+/b/c"), (Stem::Nothing, "", Some("+/b/c")));
        assert_eq!(path("a/#"), (Stem::OneLevel, "a", Some("#")));
        assert_eq!(path("/+/c"), (Stem::OneLevel, "", Some("+/c")));
        assert_eq!(path("//#"), (Stem::TwoLevels, "/", Some("#")));
        assert_eq!(path("a/b/c/+/e"), (Stem::TwoLevels, "a/b", Some("c/+/e")));
    }

    #[test]
    fn topics_are_cut_everywhere_a_filter_may_be() {
        let paths = |topic| Path::of_topic(topic).map(|path| path.map(|path| (path.text, path.rest)));
        assert_eq!(paths("a"), [Some(("a", None)), Some(("a", None)), None, Some(("", Some("a")))]);
        let rest = Some("c/d");
        assert_eq!(
            paths("$a/b/c/d"),
            [Some(("$a/b/c/d", None)), Some(("$a", Some("b/c/d"))), Some(("$a/b", rest)), None]
        );
        assert_eq!(
            paths("/"),
            [Some(("/", None)), Some(("", Some(""))), Some(("/", None)), Some(("", Some("/")))]
        );
    }
}
