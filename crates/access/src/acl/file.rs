//! Our own ACL files, in TOML.

use std::collections::HashMap;
use std::fmt;

use mqway_codec::{TopicFilter, Version};
use mqway_transport::cidr::Cidr;
use serde::Deserialize;
use serde::de::{self, Deserializer, SeqAccess, Visitor};
use toml::Spanned;

use super::rule::{Actions, Condition, Effect, Pattern, Rule};
use super::template::{Dialect, Template};
use super::{AclError, MAX_LEVELS, MAX_RULES};

/// What a file says.
#[derive(Debug)]
pub struct Parsed {
    pub rules: Vec<Rule>,
    pub default: Effect,
    /// The groups of each user.
    pub groups: HashMap<Box<str>, Vec<Box<str>>>,
}

/// Reads a file that is all about permissions.
pub fn parse(text: &str) -> Result<Parsed, AclError> {
    let file: AclTable = toml::from_str(text).map_err(|error| AclError::of_toml(text, &error))?;
    file.rules(&Lines::of(text))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AclTable {
    default: Option<Default>,
    #[serde(default)]
    groups: HashMap<Box<str>, Words>,
    #[serde(default)]
    rules: Vec<RuleTable>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Default {
    Allow,
    Deny,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleTable {
    allow: Option<Spanned<Words>>,
    deny: Option<Spanned<Words>>,
    topics: Option<Spanned<Words>>,
    anonymous: Option<bool>,
    users: Option<Words>,
    clients: Option<Words>,
    groups: Option<Words>,
    listeners: Option<Words>,
    transports: Option<Words>,
    addresses: Option<Spanned<Words>>,
    claims: Option<std::collections::BTreeMap<Box<str>, Words>>,
}

impl AclTable {
    fn rules(self, lines: &Lines) -> Result<Parsed, AclError> {
        if self.rules.len() > MAX_RULES {
            return Err(AclError { line: 1, what: format!("there are more than {MAX_RULES} rules") });
        }
        let mut groups: HashMap<Box<str>, Vec<Box<str>>> = HashMap::new();
        for (group, users) in self.groups {
            for user in users.0 {
                groups.entry(user).or_default().push(group.clone());
            }
        }
        let default = match self.default {
            Some(Default::Allow) => Effect::Allow,
            Some(Default::Deny) | None => Effect::Deny,
        };
        let rules = self.rules.into_iter().map(|table| table.rule(lines)).collect::<Result<_, _>>()?;
        Ok(Parsed { rules, default, groups })
    }
}

impl RuleTable {
    fn rule(self, lines: &Lines) -> Result<Rule, AclError> {
        let at = |offset: usize, what: String| AclError { line: lines.number(offset), what };
        let (effect, words) = match (&self.allow, &self.deny) {
            (Some(words), None) => (Effect::Allow, words),
            (None, Some(words)) => (Effect::Deny, words),
            (Some(words), Some(_)) => {
                return Err(at(words.span().start, "a rule has either `allow` or `deny`".to_owned()));
            }
            (None, None) => {
                let offset = self.topics.as_ref().map_or(0, |topics| topics.span().start);
                return Err(at(offset, "a rule needs `allow` or `deny`".to_owned()));
            }
        };
        let start = words.span().start;
        let actions = actions(words.get_ref()).map_err(|what| at(start, what))?;
        let topics = self
            .topics
            .as_ref()
            .map(|topics| templates(topics.get_ref()).map_err(|what| at(topics.span().start, what)));
        let topics = topics.transpose()?;
        let reading = self.reading(effect, actions).into();
        let who = self.conditions().map_err(|(offset, what)| at(offset, what))?;
        Ok(Rule { line: lines.number(start), text: reading, effect, actions, who, topics })
    }

    /// The rule in one line.
    fn reading(&self, effect: Effect, actions: Actions) -> String {
        let mut text = format!("{effect} {actions}");
        if let Some(topics) = &self.topics {
            text.push_str(&format!(" of {}", topics.get_ref()));
        }
        let lists = [
            ("users", self.users.as_ref()),
            ("clients", self.clients.as_ref()),
            ("groups", self.groups.as_ref()),
            ("listeners", self.listeners.as_ref()),
            ("transports", self.transports.as_ref()),
            ("addresses", self.addresses.as_ref().map(Spanned::get_ref)),
        ];
        for (name, words) in lists {
            if let Some(words) = words {
                text.push_str(&format!(", {name} {words}"));
            }
        }
        for (name, words) in self.claims.iter().flatten() {
            text.push_str(&format!(", claim {name} {words}"));
        }
        if let Some(anonymous) = self.anonymous {
            text.push_str(if anonymous { ", anonymous" } else { ", not anonymous" });
        }
        text
    }

    fn conditions(self) -> Result<Vec<Condition>, (usize, String)> {
        let patterns = |words: Words| words.0.iter().map(|word| Pattern::new(word)).collect();
        let mut who = Vec::new();
        who.extend(self.anonymous.map(Condition::Anonymous));
        who.extend(self.users.map(|users| match &*users.0 {
            // Most rules of a long file name one user.
            [user] if !user.contains('*') => Condition::User(user.clone()),
            _ => Condition::Users(patterns(users)),
        }));
        who.extend(self.clients.map(|words| Condition::Clients(patterns(words))));
        who.extend(self.groups.map(|words| Condition::Groups(words.0)));
        who.extend(self.listeners.map(|words| Condition::Listeners(words.0)));
        who.extend(self.transports.map(|words| Condition::Transports(words.0)));
        if let Some(ranges) = self.addresses {
            let start = ranges.span().start;
            let ranges = ranges.into_inner().0;
            let ranges = ranges.iter().map(|range| range.parse::<Cidr>()).collect::<Result<_, _>>();
            who.push(Condition::Addresses(ranges.map_err(|error| (start, error.to_string()))?));
        }
        let claims = self.claims.into_iter().flatten();
        who.extend(claims.map(|(name, words)| Condition::Claim { name, values: patterns(words) }));
        Ok(who)
    }
}

fn actions(words: &Words) -> Result<Actions, String> {
    let named = |word: &str| {
        Actions::named(word)
            .ok_or_else(|| format!("{word:?} is none of publish, subscribe, receive, read and all"))
    };
    let mut all = words.0.iter().map(|word| named(word));
    let first = all.next().ok_or("an empty list neither allows nor denies anything")??;
    all.try_fold(first, |sum, next| next.map(|next| sum.and(next)))
}

fn templates(words: &Words) -> Result<Vec<Template>, String> {
    if words.0.is_empty() {
        return Err("an empty list is for no topic; leave `topics` out for all of them".to_owned());
    }
    words.0.iter().map(|word| template(word)).collect()
}

fn template(text: &str) -> Result<Template, String> {
    let template =
        Template::parse(text, Dialect::Ours).map_err(|why| format!("the topic {text:?}: {why}"))?;
    let sample = template.sample();
    TopicFilter::for_version(Version::V3_1_1, &sample).map_err(|why| format!("the topic {text:?} {why}"))?;
    if sample.starts_with("$share/") {
        return Err(format!("the topic {text:?}: rules name topics, leave $share/NAME/ out"));
    }
    if sample.split('/').count() > MAX_LEVELS {
        return Err(format!("the topic {text:?} has more than {MAX_LEVELS} levels"));
    }
    Ok(template)
}

/// Where the lines of a text begin.
pub struct Lines(Vec<usize>);

impl Lines {
    pub fn of(text: &str) -> Lines {
        Lines(text.match_indices('\n').map(|(offset, _)| offset).collect())
    }

    /// The line, from 1, in which a byte stands.
    pub fn number(&self, offset: usize) -> usize {
        self.0.partition_point(|&end| end < offset) + 1
    }
}

/// One word, or a list of them.
struct Words(Vec<Box<str>>);

impl fmt::Display for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(" "))
    }
}

impl<'de> Deserialize<'de> for Words {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Words, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Words;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or a list of strings")
            }

            fn visit_str<E: de::Error>(self, word: &str) -> Result<Words, E> {
                Ok(Words(vec![word.into()]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Words, A::Error> {
                let mut words = Vec::new();
                while let Some(word) = list.next_element()? {
                    words.push(word);
                }
                Ok(Words(words))
            }
        }
        deserializer.deserialize_any(Either)
    }
}
