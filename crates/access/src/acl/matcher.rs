//! Finds the first of many rules that matches a topic, without looking at each.

use super::filter::{covers, overlap, part_early};
use super::rule::Actions;

/// No rule.
pub const NONE: u32 = u32::MAX;

/// What a topic can be wanted for. Index of an array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    Publish = 0,
    Receive = 1,
}

impl From<Use> for Actions {
    fn from(wanted: Use) -> Actions {
        match wanted {
            Use::Publish => Actions::PUBLISH,
            Use::Receive => Actions::RECEIVE,
        }
    }
}

/// The first rule for each [`Use`], by its number; [`NONE`] if there is none.
type First = [u32; 2];

/// The most rules that are looked at one by one. It takes as long as a tree, and a tenth of the memory: many clients
/// have a few rules of their own.
const FEW: usize = 6;

/// Rules by the topics they are for: a tree of levels, or if they are few just a list.
#[derive(Debug)]
pub struct Matcher {
    /// The first one is the root; without any, the list is all there is.
    nodes: Vec<Node>,
    /// Rules for every topic, those with `$` included.
    every: First,
    /// All of them, in their order, for questions about filters.
    entries: Vec<Entry>,
}

/// One rule for one filter.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its number, which is its place in the order.
    pub rule: u32,
    /// What the rule is about.
    pub actions: Actions,
    /// `None`: every topic.
    pub filter: Option<Box<str>>,
}

/// How the topics of a rule and those of a filter lie to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meeting {
    /// The rule is for all topics of the filter.
    Whole,
    /// It is for some of them.
    Part,
}

#[derive(Debug)]
struct Node {
    /// Sorted by hash: numbers that lie side by side are found sooner than words that lie anywhere.
    below: Vec<Child>,
    /// Where `+` leads; [`NONE`] if nowhere.
    any: u32,
    /// Rules whose filter ends here.
    here: First,
    /// Rules whose filter goes on with `#`.
    rest: First,
    /// The first of all rules here and below: nothing better can be found that way.
    least: First,
}

#[derive(Debug)]
struct Child {
    hash: u32,
    node: u32,
    level: Box<str>,
}

impl Matcher {
    /// Of `entries` in any order.
    pub fn new(mut entries: Vec<Entry>) -> Matcher {
        entries.sort_by_key(|entry| entry.rule);
        entries.shrink_to_fit();
        let mut matcher = Matcher { nodes: Vec::new(), every: [NONE; 2], entries };
        if matcher.entries.len() > FEW {
            matcher.grow();
        }
        matcher
    }

    /// The first rule that is for `topic`, if it comes before `best`; else `best`.
    pub fn first(&self, topic: &str, wanted: Use, best: u32) -> u32 {
        let Some(root) = self.nodes.first() else { return self.first_of_few(topic, wanted, best) };
        let best = best.min(self.every[wanted as usize]);
        if root.least[wanted as usize] >= best {
            return best;
        }
        if topic.starts_with('$') {
            // [MQTT-4.7.2-1]
            let (level, after) = split(topic);
            return root.child(level).map_or(best, |child| self.walk(child, after, wanted, best));
        }
        self.walk_below(root, topic, wanted, best)
    }

    /// The rules about `action` that are for topics of `filter`, in their order.
    pub fn meeting(&self, filter: &str, about: Actions) -> impl Iterator<Item = (&Entry, Meeting)> {
        let about = self.entries.iter().filter(move |entry| entry.actions.intersects(about));
        about.filter_map(move |entry| match entry.filter.as_deref() {
            None => Some((entry, Meeting::Whole)),
            Some(own) if part_early(own, filter) => None,
            Some(own) if covers(own, filter) => Some((entry, Meeting::Whole)),
            Some(own) if overlap(own, filter) => Some((entry, Meeting::Part)),
            Some(_) => None,
        })
    }

    fn first_of_few(&self, topic: &str, wanted: Use, best: u32) -> u32 {
        let before = self.entries.iter().take_while(|entry| entry.rule < best);
        let about = before.filter(|entry| entry.actions.intersects(wanted.into()));
        let mut matching = about.filter(|entry| match entry.filter.as_deref() {
            None => true,
            // A topic is a filter for itself alone.
            Some(filter) => covers(filter, topic),
        });
        matching.next().map_or(best, |entry| entry.rule)
    }

    fn grow(&mut self) {
        self.nodes.push(Node::new());
        let entries = std::mem::take(&mut self.entries);
        for entry in &entries {
            self.insert(entry);
        }
        self.nodes.shrink_to_fit();
        self.entries = entries;
    }

    fn insert(&mut self, entry: &Entry) {
        let first = [Use::Publish, Use::Receive]
            .map(|wanted| if entry.actions.intersects(wanted.into()) { entry.rule } else { NONE });
        let Some(filter) = entry.filter.as_deref() else { return lower(&mut self.every, first) };
        let mut at = 0;
        for level in filter.split('/') {
            lower(&mut self.nodes[at].least, first);
            if level == "#" {
                return lower(&mut self.nodes[at].rest, first);
            }
            at = self.descend(at, level);
        }
        lower(&mut self.nodes[at].least, first);
        lower(&mut self.nodes[at].here, first);
    }

    /// The node below `at`, made if there is none.
    fn descend(&mut self, at: usize, level: &str) -> usize {
        // There are fewer nodes than bytes of rules, which are limited.
        let new = u32::try_from(self.nodes.len()).unwrap_or(NONE);
        let node = &mut self.nodes[at];
        let found = if level == "+" {
            if node.any == NONE {
                node.any = new;
            }
            node.any
        } else {
            let hash = hash(level);
            match node.position(hash, level) {
                Ok(index) => node.below[index].node,
                Err(index) => {
                    node.below.insert(index, Child { hash, node: new, level: level.into() });
                    new
                }
            }
        };
        if found == new {
            self.nodes.push(Node::new());
        }
        found as usize
    }

    /// At a node that the topic has come to; `rest` is what follows of it, if anything does.
    fn walk(&self, node: u32, rest: Option<&str>, wanted: Use, best: u32) -> u32 {
        let Some(node) = self.nodes.get(node as usize) else { return best };
        if node.least[wanted as usize] >= best {
            return best;
        }
        match rest {
            Some(rest) => self.walk_below(node, rest, wanted, best),
            // `a/#` is for `a`, too (5.0 §4.7.1.2).
            None => best.min(node.here[wanted as usize]).min(node.rest[wanted as usize]),
        }
    }

    /// Goes on with the levels of `rest`. As deep as a rule has levels, which are limited.
    fn walk_below(&self, node: &Node, rest: &str, wanted: Use, best: u32) -> u32 {
        let (level, after) = split(rest);
        let best = best.min(node.rest[wanted as usize]);
        let best = self.walk(node.any, after, wanted, best);
        node.child(level).map_or(best, |child| self.walk(child, after, wanted, best))
    }
}

impl Node {
    fn new() -> Node {
        Node { below: Vec::new(), any: NONE, here: [NONE; 2], rest: [NONE; 2], least: [NONE; 2] }
    }

    fn child(&self, level: &str) -> Option<u32> {
        let index = self.position(hash(level), level).ok()?;
        self.below.get(index).map(|child| child.node)
    }

    /// Where the child is, or where it would be.
    fn position(&self, hash: u32, level: &str) -> Result<usize, usize> {
        let first = self.below.partition_point(|child| child.hash < hash);
        let same = self.below.iter().skip(first).take_while(|child| child.hash == hash);
        for (index, child) in (first..).zip(same) {
            if *child.level == *level {
                return Ok(index);
            }
        }
        Err(first)
    }
}

/// Whoever writes the rules decides what lies where, not who asks; so any hash will do.
fn hash(level: &str) -> u32 {
    let mix = |hash: u64, word: u64| (hash.rotate_left(5) ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let (words, rest) = level.as_bytes().as_chunks::<8>();
    let whole = words.iter().fold(level.len() as u64, |hash, word| mix(hash, u64::from_le_bytes(*word)));
    let last = rest.iter().fold(0, |word, &byte| word << 8 | u64::from(byte));
    (mix(whole, last) >> 32) as u32
}

/// The first level, and what is behind the `/` after it.
fn split(topic: &str) -> (&str, Option<&str>) {
    topic.split_once('/').map_or((topic, None), |(level, rest)| (level, Some(rest)))
}

fn lower(first: &mut First, by: First) {
    for (own, by) in first.iter_mut().zip(by) {
        *own = (*own).min(by);
    }
}

#[cfg(test)]
mod tests {
    use mqway_codec::{TopicFilter, TopicName};
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_finds_what_one_by_one_finds(
            filters in proptest::collection::vec(
                ("(a|b|\\$c|\\+|)(/(a|b|\\+|)){0,3}(/#)?|#", 0..4_usize), 0..20,
            ),
            topics in proptest::collection::vec("(a|b|\\$c|)(/(a|b|c|)){0,4}", 20),
        ) {
            let entries: Vec<Entry> = filters
                .iter()
                .filter(|(filter, ..)| !filter.is_empty())
                .enumerate()
                .map(|(index, (filter, actions))| Entry {
                    rule: index as u32,
                    actions: [Actions::PUBLISH, Actions::RECEIVE, Actions::SUBSCRIBE, Actions::ALL][*actions],
                    filter: Some(filter.as_str().into()),
                })
                .collect();
            let matcher = Matcher::new(entries.iter().rev().cloned().collect());
            for topic in topics.iter().filter(|topic| !topic.is_empty()) {
                let name = TopicName::new(topic).unwrap();
                for (wanted, action) in [(Use::Publish, Actions::PUBLISH), (Use::Receive, Actions::RECEIVE)] {
                    let one_by_one = entries.iter().find(|entry| {
                        let filter = TopicFilter::new(entry.filter.as_deref().unwrap()).unwrap();
                        entry.actions.intersects(action) && filter.matches(name)
                    });
                    let expected = one_by_one.map_or(NONE, |entry| entry.rule);
                    prop_assert_eq!(matcher.first(topic, wanted, NONE), expected, "{}", topic);
                    prop_assert_eq!(matcher.first(topic, wanted, 3), expected.min(3), "{}", topic);
                }
            }
        }
    }
}
