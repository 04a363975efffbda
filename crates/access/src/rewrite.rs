//! Topics as a client knows them, and as the server does: a mount point in front of all, and rules that give some of
//! them other names.
//!
//! Both together are a bijection between the topics that a client can name and those of the server that it can reach:
//!
//! * A rule has a pattern for each side, `a/+x/b -> c/{x}/d`, in which each capture stands once, as a whole level: a topic
//!   of one side is exactly one of the other. Two rules of a set have no topic in common on either side, whatever is put
//!   in for placeholders; [`RuleSet::parse`] refuses them otherwise.
//! * Any other topic is as it is. But the names that rules make are theirs alone: the client cannot use them as they
//!   are, and what it would know by a name that a rule is for, it never gets.
//! * A mount point, `tenants/%u/`, is put in front of what comes of that. Different topics stay different behind it. A
//!   mounted client has no topics that begin with `$`: `$SYS` and its like are out of its reach.
//!
//! A filter becomes one that matches a topic of the server if and only if the client's filter matches what the client knows
//! it by, among topics that it can reach. Where no filter does, since a rule is for a part of what it matches,
//! it is refused.

mod rule;
mod side;
mod who;

use mqway_codec::{SubscribeOptions, TopicFilter, Version};

use crate::acl::filter::{covers, meet, spelled_out};
use crate::acl::{Dialect, Effect, MAX_LEVELS, Subject, Template};

pub use rule::RuleSet;
use rule::{Rule, Way};
pub use who::Who;

/// The longest topic or filter, in bytes: strings of MQTT have no more (5.0 §1.5.4).
pub const MAX_TOPIC: usize = u16::MAX as usize;
/// The most subscriptions that are made for one client without its asking.
pub const MAX_SUBSCRIPTIONS: usize = 256;

/// What is configured of the topics of some clients.
#[derive(Clone, Debug, Default)]
pub struct Section {
    /// For whom it is.
    pub who: Who,
    /// What the server has in front of their topics.
    pub mount: Option<Mount>,
    /// Which of their topics the server knows by other names.
    pub rules: Option<RuleSet>,
    /// What they are subscribed to without asking.
    pub subscriptions: Vec<Automatic>,
}

/// All that is configured of topics.
///
/// The mount point of a client is that of the first section that is for it and has one, and so are its rules. The
/// subscriptions of all that are for it add up.
#[derive(Clone, Debug, Default)]
pub struct Views(Vec<Section>);

/// A mount point: what the server has in front of each topic of a client.
#[derive(Clone, Debug)]
pub struct Mount(Template);

/// A subscription that is made for clients without their asking, by a filter as they know it.
#[derive(Clone, Debug)]
pub struct Automatic {
    filter: Template,
    options: SubscribeOptions,
}

/// The topics as one client knows them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// In front of every topic of the server; empty without a mount point.
    prefix: Box<str>,
    rules: Box<[Rule]>,
    /// How much longer rules may make a topic, in bytes.
    growth: usize,
}

/// What is wrong with what is configured, in words for who wrote it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct RewriteError(String);

impl RewriteError {
    /// With these words.
    pub fn new(what: impl Into<String>) -> RewriteError {
        RewriteError(what.into())
    }
}

/// A client has no name, or none that could be put in, for a placeholder of its mount point or rules: it cannot be
/// served.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the client has nothing, or no single plain value, to be put into {0:?}")]
pub struct Unfit(pub(crate) String);

/// Why a topic or filter has no counterpart on the other side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.text())]
pub enum Outside {
    /// It does not lie below the client's mount point.
    Mount,
    /// It begins with `$`: no topic of a mounted client does, and none that rules put a level in front of.
    Dollar,
    /// It is the name by which the other side knows another topic.
    Taken,
    /// It would have no level, or be longer than a topic can be.
    NoTopic,
    /// A filter of which a rule is for a part.
    Partly,
}

impl Outside {
    /// It in words.
    pub fn text(self) -> &'static str {
        match self {
            Outside::Mount => "not below the mount point",
            Outside::Dollar => "topics that begin with $ are out of reach here",
            Outside::Taken => "this name stands for another topic here",
            Outside::NoTopic => "what it becomes is no topic",
            Outside::Partly => "a rule is for a part of this filter; subscribe to its parts",
        }
    }
}

impl Views {
    /// In this order.
    pub fn new(sections: Vec<Section>) -> Views {
        Views(sections)
    }

    /// Whether all clients know topics as the server does, and are subscribed to nothing without asking.
    pub fn are_plain(&self) -> bool {
        let plain =
            |one: &Section| one.mount.is_none() && one.rules.is_none() && one.subscriptions.is_empty();
        self.0.iter().all(plain)
    }

    /// The topics as this client knows them.
    ///
    /// # Errors
    /// If its mount point or a rule of its has a placeholder for which it has no value that can be put in.
    pub fn of(&self, subject: &Subject<'_>) -> Result<View, Unfit> {
        let mut sections = self.0.iter().filter(|section| section.who.includes(subject));
        let mount = sections.clone().find_map(|section| section.mount.as_ref());
        let rules = sections.find_map(|section| section.rules.as_ref());
        let prefix = mount.map_or(Ok(String::new()), |mount| value_of(&mount.0, subject))?;
        let rules = rules.map_or(Ok(Box::default()), |rules| rules.of(subject))?;
        Ok(View::new(prefix, rules))
    }

    /// What this client is subscribed to without asking, by filters as the server knows them. One that has a
    /// placeholder without a value is left out; one that cannot be rewritten comes back with the reason.
    pub fn subscriptions(
        &self,
        subject: &Subject<'_>,
        view: &View,
    ) -> Vec<Result<(String, SubscribeOptions), (String, Outside)>> {
        let sections = self.0.iter().filter(|section| section.who.includes(subject));
        let made = sections.flat_map(|section| &section.subscriptions).flat_map(|one| {
            let filters = one.filter.filters(subject, Effect::Allow).filters;
            filters.into_iter().map(|filter| match view.filter(&filter) {
                Ok(known) => Ok((known, one.options)),
                Err(why) => Err((filter, why)),
            })
        });
        made.take(MAX_SUBSCRIPTIONS).collect()
    }
}

impl Mount {
    /// Reads a mount point: levels in which `%u`, `%c` and `%{claim:NAME}` stand for what is known of a client, and a `/`.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn parse(text: &str) -> Result<Mount, RewriteError> {
        let wrong = |why: &str| RewriteError(format!("the mount point {text:?} {why}"));
        let template = template(text).map_err(|why| wrong(&why))?;
        let sample = template.sample();
        match sample.strip_suffix('/') {
            None | Some("") => Err(wrong("has to be levels and a / behind, such as \"tenants/%u/\"")),
            Some(_) if sample.contains(['+', '#']) => Err(wrong("has a wildcard")),
            Some(_) if ["$SYS/", "$share/"].iter().any(|own| sample.starts_with(own)) => {
                Err(wrong("is where no client can publish"))
            }
            Some(_) => Ok(Mount(template)),
        }
    }
}

impl Automatic {
    /// A subscription to `filter`, which may have placeholders.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn parse(filter: &str, options: SubscribeOptions) -> Result<Automatic, RewriteError> {
        let wrong = |why: &str| RewriteError(format!("the subscription to {filter:?} {why}"));
        let template = template(filter).map_err(|why| wrong(&why))?;
        if template.sample().starts_with("$share/") {
            return Err(wrong("cannot be shared: nobody would know who else is in the group"));
        }
        Ok(Automatic { filter: template, options })
    }
}

/// A filter with placeholders.
fn template(text: &str) -> Result<Template, String> {
    let template = Template::parse(text, Dialect::Ours)?;
    let sample = template.sample();
    TopicFilter::for_version(Version::V3_1_1, &sample).map_err(|why| why.to_string())?;
    match sample.split('/').count() {
        1..=MAX_LEVELS => Ok(template),
        _ => Err(format!("has more than {MAX_LEVELS} levels")),
    }
}

/// A template with the one value that the client has for each placeholder.
fn value_of(template: &Template, subject: &Subject<'_>) -> Result<String, Unfit> {
    let mut made = template.filters(subject, Effect::Allow);
    match made.filters.pop() {
        Some(text) if made.filters.is_empty() && !made.unusable => Ok(text),
        _ => Err(Unfit(template.to_string())),
    }
}

impl View {
    fn new(prefix: String, rules: Box<[Rule]>) -> View {
        let growth = rules.iter().map(Rule::growth).max().unwrap_or(0);
        View { prefix: prefix.into(), rules, growth }
    }

    /// Whether the client knows all topics as the server does.
    pub fn is_plain(&self) -> bool {
        self.prefix.is_empty() && self.rules.is_empty()
    }

    /// What the server knows a topic of the client by.
    ///
    /// # Errors
    /// If it is out of the client's reach.
    pub fn to_server(&self, topic: &str) -> Result<String, Outside> {
        let mut made = String::with_capacity(self.prefix.len() + topic.len() + self.growth);
        made.push_str(&self.prefix);
        self.rewrite(topic, Way::ToServer, &mut made)?;
        self.check_inner(&made[self.prefix.len()..])?;
        check_length(made)
    }

    /// What the client knows a topic of the server by.
    ///
    /// # Errors
    /// If it is out of the client's reach.
    pub fn to_client(&self, topic: &str) -> Result<String, Outside> {
        let inner = topic.strip_prefix(&*self.prefix).ok_or(Outside::Mount)?;
        self.check_inner(inner)?;
        let mut made = String::with_capacity(inner.len() + self.growth);
        self.rewrite(inner, Way::ToClient, &mut made)?;
        if made.is_empty() { Err(Outside::NoTopic) } else { check_length(made) }
    }

    /// The filter by which the server finds what the client wants; that of a shared subscription in
    /// [`View::shared_filter`].
    ///
    /// # Errors
    /// If there is none.
    pub fn filter(&self, filter: &str) -> Result<String, Outside> {
        self.filter_for(filter, false)
    }

    /// The same for what is behind `$share/group/`. Of what a group is subscribed to, no member may miss anything.
    ///
    /// # Errors
    /// If there is none.
    pub fn shared_filter(&self, filter: &str) -> Result<String, Outside> {
        self.filter_for(filter, true)
    }

    fn filter_for(&self, filter: &str, shared: bool) -> Result<String, Outside> {
        let inner = self.inner_filter(filter, shared)?;
        self.check_inner(&inner)?;
        check_length(format!("{}{inner}", self.prefix))
    }

    /// What rules make of a filter: one of them something else, or all of them the same.
    fn inner_filter(&self, filter: &str, shared: bool) -> Result<String, Outside> {
        let whole = spelled_out(filter);
        let mut made = String::new();
        for rule in &self.rules {
            if rule.rewrite(whole, Way::ToServer, &mut made)? {
                return Ok(made);
            }
        }
        for rule in &self.rules {
            // What the filter matches of the topics that the rule is for, and of those that it makes of them.
            let taken = meet(rule.filter(Way::ToServer), whole);
            let given = meet(rule.filter(Way::ToClient), whole);
            let mut made = String::new();
            let becomes = taken.as_deref().and_then(|taken| {
                // Topics that cannot be rewritten are none that the client could have meant.
                let rewritten = rule.rewrite(taken, Way::ToServer, &mut made);
                rewritten.is_ok_and(|done| done).then_some(made.as_str())
            });
            if becomes.map(spelled_out) != given.as_deref().map(spelled_out) {
                return Err(if taken.is_some() { Outside::Partly } else { Outside::Taken });
            }
            // Other members of a group would miss what is found by a name that no topic of this client has.
            let is_reached =
                |taken: &str| self.rules.iter().any(|one| covers(one.filter(Way::ToClient), taken));
            if shared && taken.is_some_and(|taken| !is_reached(&taken)) {
                return Err(Outside::Partly);
            }
        }
        Ok(filter.to_owned())
    }

    /// Appends what a topic is to the other side, behind the mount point.
    #[inline]
    fn rewrite(&self, topic: &str, way: Way, made: &mut String) -> Result<(), Outside> {
        for rule in &self.rules {
            if rule.rewrite(topic, way, made)? {
                return Ok(());
            }
        }
        if self.rules.iter().any(|rule| rule.makes(topic, way)) {
            return Err(Outside::Taken);
        }
        made.push_str(topic);
        Ok(())
    }

    /// What stands behind the mount point.
    fn check_inner(&self, inner: &str) -> Result<(), Outside> {
        match inner {
            "" => Err(Outside::NoTopic),
            _ if inner.starts_with('$') && !self.prefix.is_empty() => Err(Outside::Dollar),
            _ => Ok(()),
        }
    }
}

fn check_length(topic: String) -> Result<String, Outside> {
    if topic.len() <= MAX_TOPIC { Ok(topic) } else { Err(Outside::NoTopic) }
}

#[cfg(test)]
mod tests;
