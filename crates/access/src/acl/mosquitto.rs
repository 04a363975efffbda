//! mosquitto's ACL files, as mosquitto 2.0 understands them.
//!
//! `topic` lines are for the user of the `user` line above them, or for anonymous clients where there is none yet;
//! `pattern` lines are for everyone. A client's own lines come first, then the patterns; in both, what is denied comes
//! before what is allowed. What no line is for is denied. Every subscription is granted, and each message is judged
//! as it is delivered.

use mqway_codec::{TopicFilter, Version};

use super::rule::{Actions, Condition, Effect, Rule};
use super::template::{Dialect, Template};
use super::{AclError, MAX_LEVELS, MAX_RULES};

/// The rules of a file in the order in which they count.
pub fn parse(text: &str) -> Result<Vec<Rule>, AclError> {
    let mut rules: Vec<(Rank, Rule)> = Vec::new();
    let mut owner = Condition::Anonymous(true);
    for (index, line) in text.split('\n').enumerate() {
        let fail = |what: &str| AclError { line: index + 1, what: what.to_owned() };
        let line = line.trim_ascii_end();
        let trimmed = line.trim_start_matches(' ');
        if line.starts_with('#') || trimmed.is_empty() {
            continue;
        }
        let (word, rest) = trimmed.split_once(' ').unwrap_or((trimmed, ""));
        let is_pattern = word == "pattern";
        match word {
            "user" if rest.trim_ascii().is_empty() => return Err(fail("the name of the user is missing")),
            "user" => owner = Condition::User(rest.trim_ascii().into()),
            "topic" | "pattern" => {
                let who = if is_pattern { Condition::Plain } else { owner.clone() };
                let rule = rule(index + 1, who, is_pattern, rest).map_err(|what| fail(&what))?;
                if rules.len() >= MAX_RULES {
                    return Err(fail("there are too many rules"));
                }
                rules.push((Rank::of(&rule, is_pattern), rule));
            }
            _ => return Err(fail("expected `user`, `topic` or `pattern`")),
        }
    }
    rules.sort_by_key(|(rank, _)| *rank);
    Ok(rules.into_iter().map(|(_, rule)| rule).collect())
}

/// The place of a rule among the others: mosquitto puts each denying line in front of those it has.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    is_pattern: bool,
    allows: bool,
    line: isize,
}

impl Rank {
    fn of(rule: &Rule, is_pattern: bool) -> Rank {
        let allows = rule.effect == Effect::Allow;
        let line = rule.line.cast_signed();
        Rank { is_pattern, allows, line: if allows { line } else { -line } }
    }
}

/// What stands behind `topic` or `pattern`.
fn rule(line: usize, who: Condition, is_pattern: bool, rest: &str) -> Result<Rule, String> {
    let rest = rest.trim_start_matches(' ');
    // With nothing behind it, even `read` is a topic.
    let (access, topic) = match rest.split_once(' ') {
        Some((access, topic)) => (access, topic.trim_ascii()),
        None => ("readwrite", rest),
    };
    let (effect, actions) = match access {
        "read" => (Effect::Allow, Actions::RECEIVE),
        "write" => (Effect::Allow, Actions::PUBLISH),
        "readwrite" => (Effect::Allow, Actions::RECEIVE.and(Actions::PUBLISH)),
        "deny" => (Effect::Deny, Actions::RECEIVE.and(Actions::PUBLISH)),
        _ => return Err(format!("expected read, write, readwrite or deny before the topic, not {access:?}")),
    };
    TopicFilter::for_version(Version::V3_1_1, topic)
        .map_err(|error| format!("the topic {topic:?} {error}"))?;
    if topic.split('/').count() > MAX_LEVELS {
        return Err(format!("the topic has more than {MAX_LEVELS} levels"));
    }
    let template =
        if is_pattern { Template::parse(topic, Dialect::Mosquitto)? } else { Template::literal(topic) };
    let kind = if is_pattern { "pattern" } else { "topic" };
    let whose = match &who {
        Condition::User(user) => format!(" (of user {user:?})"),
        Condition::Anonymous(_) => " (of anonymous clients)".to_owned(),
        _ => String::new(),
    };
    let text = format!("{kind} {access} {topic}{whose}").into();
    Ok(Rule { line, text, effect, actions, who: vec![who], topics: Some(vec![template]) })
}

/// What mosquitto decides on topics that begin with `$`, before any line of its file: clients write no `$SYS`, and
/// neither write nor read what begins as shared subscriptions do. Its bridges may say how they are.
pub fn reserved(topic: &str, publish: bool) -> Option<&'static str> {
    if topic.starts_with("$share") {
        return Some("topics that begin with $share are nobody's");
    }
    let is_bridge_state = || {
        let levels: Vec<_> = topic.splitn(6, '/').collect();
        matches!(levels[..], ["$SYS", "broker", "connection", _, "state"])
    };
    (publish && topic.starts_with("$SYS") && !is_bridge_state())
        .then_some("no client publishes topics that begin with $SYS")
}
