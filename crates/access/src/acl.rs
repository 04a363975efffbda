//! Access control lists: who may publish, receive and subscribe to what, and by which line of which file.
//!
//! Rules are read in the order of their file, and the first that is for the client, the topic and what is wanted
//! decides. If none is, the default of the file does, which is to deny. Topics of rules are filters, and mean what they
//! mean in a subscription: `#` is for every topic but those that begin with `$`. A rule without topics is for every
//! topic. (mosquitto's files have an order of their own, see the README.)
//!
//! **Subscriptions** are for many topics at once, so three answers are possible. The filter, behind `$share/name/` if
//! that is in front, is held against the rules in their order. A rule for all of its topics decides. One that denies
//! some of them, and their messages with it, is remembered, and the rules after it go on deciding about the rest: the
//! subscription may be granted, and [`Rights::may_receive`] has to be asked about each message
//! ([`Grant::Partly`]). One that denies subscribing alone, for some of its topics, refuses it, as nothing would hold
//! these back later. One that allows some of them says nothing about the whole, and is passed over.

mod file;
pub(crate) mod filter;
mod matcher;
mod memo;
mod mosquitto;
mod rule;
mod template;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use mqway_codec::{TopicFilter, TopicName};

use matcher::{Entry, Matcher, Meeting, NONE, Use};
use memo::Memo;
pub use rule::Subject;
use rule::{Actions, Rule};
pub(crate) use rule::{Condition, Effect, Pattern};
pub(crate) use template::{Dialect, Template};

/// The longest file that is read, in bytes.
pub const MAX_FILE: usize = 16 << 20;
/// The most rules of a file.
pub const MAX_RULES: usize = 100_000;
/// The most levels of a topic in a rule.
pub const MAX_LEVELS: usize = 128;
/// The most filters that placeholders make for one client. Rules beyond are treated as if a value could not be put
/// in: see `template`.
const MAX_OWN_FILTERS: usize = 4096;
/// The most sets of rules that clients share. Further ones have their own copy.
const MAX_SETS: usize = 1024;

/// The rules of one file, ready to be asked for the [`Rights`] of a client. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Acl(Arc<Rules>);

#[derive(Debug)]
struct Rules {
    source: String,
    /// In the order in which they count; the number of a rule is its place here.
    rules: Vec<Rule>,
    default: Effect,
    groups: HashMap<Box<str>, Vec<Box<str>>>,
    /// mosquitto's, with its reserved topics, and every subscription granted.
    like_mosquitto: bool,
    /// Rules for everyone, without placeholders.
    common: Matcher,
    /// Rules that name one user, by that; and all others that are not common.
    by_user: HashMap<Box<str>, Vec<u32>>,
    others: Vec<u32>,
    /// Matchers that clients with the same rules share, by the numbers of these.
    sets: Mutex<HashMap<Box<[u32]>, Weak<Matcher>>>,
}

/// Why a file is not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct AclError {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong there.
    pub what: String,
}

/// What one client may do: the rules that are for it, placeholders filled in, and a short memory of the last topics.
#[derive(Debug)]
pub struct Rights {
    rules: Arc<Rules>,
    /// Rules that are for this client and some others, without placeholders.
    shared: Option<Arc<Matcher>>,
    /// Rules with placeholders.
    own: Option<Box<Matcher>>,
    memo: Memo,
    /// The first allowing rule with a placeholder that a value of this client could not be put in; [`NONE`].
    passed_over: u32,
}

/// What is asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request<'a> {
    /// A message of the client, its will included.
    Publish(TopicName<'a>),
    /// A message to the client.
    Receive(TopicName<'a>),
    /// A filter of a SUBSCRIBE.
    Subscribe(TopicFilter<'a>),
}

/// The answer to a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grant {
    /// No.
    Refused,
    /// Yes, and each message has to be asked for.
    Partly,
    /// Yes, and every message it brings may be received.
    Wholly,
}

/// An answer, and where it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// For a publication and a message: [`Grant::Wholly`] or [`Grant::Refused`].
    pub grant: Grant,
    /// The rule that decided.
    pub by: Decider,
    /// Why it is not [`Grant::Wholly`], though the subscription is granted: a rule that may deny some messages.
    pub except: Option<Decider>,
    /// An allowing rule that was passed over because a user name, client identifier or claim cannot be put into it.
    pub passed_over: Option<RuleReference>,
}

/// What decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decider {
    /// A rule of the file.
    Rule(RuleReference),
    /// No rule is for it, so the default of the file named here.
    Default(String),
    /// What holds for every file of mosquitto's.
    Reserved(&'static str),
}

/// Where a rule stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleReference {
    /// The name of the file.
    pub source: String,
    /// The line, from 1.
    pub line: usize,
    /// The rule in one line.
    pub text: String,
}

impl Acl {
    /// Reads a TOML file that holds nothing but permissions. `source` is its name, for explanations.
    ///
    /// # Errors
    /// Says which line is wrong, and why.
    pub fn parse(source: &str, text: &str) -> Result<Acl, AclError> {
        check_length(text)?;
        file::parse(text).map(|parsed| Acl::of_ours(source, parsed))
    }

    /// Reads a file as mosquitto's `acl_file` names one.
    ///
    /// # Errors
    /// Says which line is wrong, and why.
    pub fn parse_mosquitto(source: &str, text: &str) -> Result<Acl, AclError> {
        check_length(text)?;
        let rules = mosquitto::parse(text)?;
        Ok(Acl(Arc::new(Rules::new(source, rules, Effect::Deny, HashMap::new(), true))))
    }

    /// Rules that a token or a web service has given with an identity: filters of what may be published, and of what
    /// may be read. `None` says nothing about it, so that all is allowed; other rules are asked besides. Texts that are
    /// no filters allow nothing.
    pub fn of_identity(source: &str, publish: Option<&[String]>, read: Option<&[String]>) -> Acl {
        let rule = |actions: Actions, filters: Option<&[String]>| {
            let valid =
                |filter: &&String| TopicFilter::new(filter).is_ok_and(|filter| filter.share().is_none());
            let short = |filter: &&String| filter.split('/').count() <= MAX_LEVELS;
            let topics = filters.map(|filters| {
                filters.iter().filter(valid).filter(short).map(|text| Template::literal(text)).collect()
            });
            let text =
                format!("allow {actions}{}", if filters.is_some() { " of the filters given" } else { "" });
            Rule { line: 1, text: text.into(), effect: Effect::Allow, actions, who: Vec::new(), topics }
        };
        let rules = vec![rule(Actions::PUBLISH, publish), rule(Actions::READ, read)];
        Acl(Arc::new(Rules::new(source, rules, Effect::Deny, HashMap::new(), false)))
    }

    /// What a client may do. To be asked once it is authenticated, and again when the rules or what is known of it
    /// changed.
    pub fn rights(&self, subject: &Subject<'_>) -> Rights {
        self.0.applicable(subject).rights(&self.0, subject)
    }

    fn of_ours(source: &str, parsed: file::Parsed) -> Acl {
        Acl(Arc::new(Rules::new(source, parsed.rules, parsed.default, parsed.groups, false)))
    }
}

impl Rights {
    /// Whether the client may publish to `topic`, by itself or by its will.
    #[inline]
    pub fn may_publish(&mut self, topic: TopicName<'_>) -> bool {
        self.allows(topic, Use::Publish)
    }

    /// Whether a message to `topic` may be delivered to the client.
    #[inline]
    pub fn may_receive(&mut self, topic: TopicName<'_>) -> bool {
        self.allows(topic, Use::Receive)
    }

    /// Whether the client may subscribe to `filter`, and whether each message has to be asked for then.
    pub fn may_subscribe(&self, filter: TopicFilter<'_>) -> Grant {
        self.judge(filter).0
    }

    /// The same answers, and by which rule.
    pub fn explain(&self, request: Request<'_>) -> Explanation {
        let (grant, by, except) = match request {
            Request::Publish(topic) => self.explain_topic(topic, Use::Publish),
            Request::Receive(topic) => self.explain_topic(topic, Use::Receive),
            Request::Subscribe(filter) => {
                let (grant, by, except) = self.judge(filter);
                let by = match self.rules.like_mosquitto {
                    true => Decider::Reserved("every subscription is granted"),
                    false => self.rules.decider(by),
                };
                (grant, by, except.map(|rule| self.rules.decider(rule)))
            }
        };
        let passed_over = self.rules.reference(self.passed_over).filter(|_| grant == Grant::Refused);
        Explanation { grant, by, except, passed_over }
    }

    #[inline]
    fn allows(&mut self, topic: TopicName<'_>, wanted: Use) -> bool {
        let topic = topic.as_str();
        if let Some(allowed) = self.memo.recall(topic, wanted) {
            return allowed;
        }
        self.look_up(topic, wanted)
    }

    fn look_up(&mut self, topic: &str, wanted: Use) -> bool {
        let allowed = self.rules.reserved(topic, wanted).is_none()
            && self.rules.effect(self.first(topic, wanted)) == Effect::Allow;
        self.memo.remember(topic, wanted, allowed);
        allowed
    }

    fn first(&self, topic: &str, wanted: Use) -> u32 {
        self.matchers().fold(NONE, |best, matcher| matcher.first(topic, wanted, best))
    }

    fn explain_topic(&self, topic: TopicName<'_>, wanted: Use) -> (Grant, Decider, Option<Decider>) {
        if let Some(why) = self.rules.reserved(topic.as_str(), wanted) {
            return (Grant::Refused, Decider::Reserved(why), None);
        }
        let rule = self.first(topic.as_str(), wanted);
        let grant = if self.rules.effect(rule) == Effect::Allow { Grant::Wholly } else { Grant::Refused };
        (grant, self.rules.decider(rule), None)
    }

    /// The answer, the rule that decided, and the one that keeps part of it back.
    fn judge(&self, filter: TopicFilter<'_>) -> (Grant, u32, Option<u32>) {
        let filter = filter.share().map_or(filter, |(_, filter)| filter).as_str();
        let (subscribe, mut except) = if self.rules.like_mosquitto {
            ((Effect::Allow, NONE), None)
        } else {
            self.decide(filter, Actions::SUBSCRIBE)
        };
        let (effect, by) = subscribe;
        if effect == Effect::Deny {
            return (Grant::Refused, by, None);
        }
        let ((receive, rule), denied) = self.decide(filter, Actions::RECEIVE);
        except = except.or(denied).or((receive == Effect::Deny).then_some(rule));
        (if except.is_some() { Grant::Partly } else { Grant::Wholly }, by, except)
    }

    /// What decides about all topics of `filter`, and the first rule before it that denies some of them.
    fn decide(&self, filter: &str, about: Actions) -> ((Effect, u32), Option<u32>) {
        let mut meetings: Vec<(&Entry, Meeting)> =
            self.matchers().flat_map(|matcher| matcher.meeting(filter, about)).collect();
        meetings.sort_by_key(|(entry, _)| entry.rule);
        let mut except = None;
        for (entry, meeting) in meetings {
            let effect = self.rules.effect(entry.rule);
            let holds_messages_back = entry.actions.intersects(Actions::RECEIVE);
            match (meeting, effect) {
                (Meeting::Whole, _) => return ((effect, entry.rule), except),
                (Meeting::Part, Effect::Allow) => {}
                (Meeting::Part, Effect::Deny) if holds_messages_back => except = except.or(Some(entry.rule)),
                (Meeting::Part, Effect::Deny) => return ((effect, entry.rule), except),
            }
        }
        ((self.rules.default, NONE), except)
    }

    fn matchers(&self) -> impl Iterator<Item = &Matcher> {
        let (shared, own) = (self.shared.as_deref(), self.own.as_deref());
        [Some(&self.rules.common), shared, own].into_iter().flatten()
    }
}

impl Rules {
    fn new(
        source: &str,
        rules: Vec<Rule>,
        default: Effect,
        groups: HashMap<Box<str>, Vec<Box<str>>>,
        like_mosquitto: bool,
    ) -> Rules {
        let mut common = Vec::new();
        let mut by_user: HashMap<Box<str>, Vec<u32>> = HashMap::new();
        let mut others = Vec::new();
        for (number, rule) in (0..).zip(&rules) {
            let user = rule.who.iter().find_map(|condition| match condition {
                Condition::User(user) => Some(user),
                _ => None,
            });
            match (user, rule.who.is_empty().then(|| fixed_entries(number, rule)).flatten()) {
                (Some(user), _) => by_user.entry(user.clone()).or_default().push(number),
                (None, Some(entries)) => common.extend(entries),
                (None, None) => others.push(number),
            }
        }
        let (source, common, sets) = (source.to_owned(), Matcher::new(common), Mutex::default());
        Rules { source, rules, default, groups, like_mosquitto, common, by_user, others, sets }
    }

    /// The numbers of the rules for this client, but for those that are for everyone.
    fn applicable(&self, subject: &Subject<'_>) -> Applicable {
        let listed = subject.user.and_then(|user| self.groups.get(user));
        let groups: Vec<&str> = subject
            .groups
            .iter()
            .map(String::as_str)
            .chain(listed.into_iter().flatten().map(|group| &**group))
            .collect();
        let named = subject.user.and_then(|user| self.by_user.get(user)).into_iter().flatten();
        let mut applicable = Applicable::default();
        for &number in named.chain(&self.others) {
            let Some(rule) = self.rules.get(number as usize) else { continue };
            if rule.who.iter().all(|condition| condition.holds(subject, &groups)) {
                let fixed = fixed_entries(number, rule).is_some();
                if fixed { &mut applicable.fixed } else { &mut applicable.templates }.push(number);
            }
        }
        applicable
    }

    /// The matcher of rules without placeholders, which is made once for all who have the same.
    fn shared(&self, numbers: Vec<u32>) -> Option<Arc<Matcher>> {
        if numbers.is_empty() {
            return None;
        }
        let mut sets = self.sets.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(matcher) = sets.get(numbers.as_slice()).and_then(Weak::upgrade) {
            return Some(matcher);
        }
        let rules = numbers.iter().filter_map(|&number| Some((number, self.rules.get(number as usize)?)));
        let entries = rules.filter_map(|(number, rule)| fixed_entries(number, rule)).flatten();
        let matcher = Arc::new(Matcher::new(entries.collect()));
        if sets.len() >= MAX_SETS {
            sets.retain(|_, matcher| matcher.strong_count() > 0);
        }
        if sets.len() < MAX_SETS {
            sets.insert(numbers.into(), Arc::downgrade(&matcher));
        }
        Some(matcher)
    }

    fn effect(&self, rule: u32) -> Effect {
        self.rules.get(rule as usize).map_or(self.default, |rule| rule.effect)
    }

    fn reserved(&self, topic: &str, wanted: Use) -> Option<&'static str> {
        if !self.like_mosquitto || !topic.starts_with('$') {
            return None;
        }
        mosquitto::reserved(topic, wanted == Use::Publish)
    }

    fn decider(&self, rule: u32) -> Decider {
        self.reference(rule).map_or_else(|| Decider::Default(self.source.clone()), Decider::Rule)
    }

    fn reference(&self, rule: u32) -> Option<RuleReference> {
        let rule = self.rules.get(rule as usize)?;
        let (line, text) = (rule.line, rule.text.to_string());
        Some(RuleReference { source: self.source.clone(), line, text })
    }
}

/// Rules for one client, by their numbers.
#[derive(Debug, Default)]
struct Applicable {
    fixed: Vec<u32>,
    templates: Vec<u32>,
}

impl Applicable {
    fn rights(mut self, rules: &Arc<Rules>, subject: &Subject<'_>) -> Rights {
        let (mut own, mut passed_over) = (Vec::new(), NONE);
        self.templates.sort_unstable();
        for number in self.templates {
            let Some(rule) = rules.rules.get(number as usize) else { continue };
            for template in rule.topics.iter().flatten() {
                let mut made = template.filters(subject, rule.effect);
                if own.len() + made.filters.len() > MAX_OWN_FILTERS {
                    made = template.without_values(rule.effect);
                }
                if made.unusable && rule.effect == Effect::Allow {
                    passed_over = passed_over.min(number);
                }
                own.extend(made.filters.into_iter().map(|filter| entry(number, rule, Some(filter))));
            }
        }
        self.fixed.sort_unstable();
        let own = (!own.is_empty()).then(|| Box::new(Matcher::new(own)));
        let shared = rules.shared(self.fixed);
        Rights { rules: Arc::clone(rules), shared, own, memo: Memo::default(), passed_over }
    }
}

/// The entries of a rule that has no placeholders; `None` if it has.
fn fixed_entries(number: u32, rule: &Rule) -> Option<Vec<Entry>> {
    let Some(topics) = &rule.topics else { return Some(vec![entry(number, rule, None)]) };
    topics.iter().map(|topic| Some(entry(number, rule, Some(topic.fixed()?)))).collect()
}

fn entry(number: u32, rule: &Rule, filter: Option<String>) -> Entry {
    Entry { rule: number, actions: rule.actions, filter: filter.map(String::into_boxed_str) }
}

fn check_length(text: &str) -> Result<(), AclError> {
    if text.len() <= MAX_FILE {
        return Ok(());
    }
    Err(AclError { line: 1, what: format!("the file is longer than {MAX_FILE} bytes") })
}

impl AclError {
    fn of_toml(text: &str, error: &toml::de::Error) -> AclError {
        let line = error.span().map_or(1, |span| file::Lines::of(text).number(span.start));
        AclError { line, what: error.message().to_owned() }
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.grant == Grant::Refused { "denied" } else { "allowed" })?;
        write!(f, " by {}", self.by)?;
        if let Some(except) = &self.except {
            write!(f, "; messages are judged one by one, since some may be denied by {except}")?;
        }
        if let Some(rule) = &self.passed_over {
            write!(f, "; passed over, as a name of the client does not fit into its topic: {rule}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Decider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Decider::Rule(rule) => write!(f, "{rule}"),
            Decider::Default(source) => write!(f, "the default of {source}, as no rule is for it"),
            Decider::Reserved(why) => write!(f, "what mosquitto's files cannot change: {why}"),
        }
    }
}

impl fmt::Display for RuleReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.source, self.line, self.text)
    }
}

#[cfg(test)]
mod tests;
