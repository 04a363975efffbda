//! One rule: whom it is for, what it is about, and which topics.

use std::fmt;
use std::net::IpAddr;

use mqway_transport::cidr::Cidr;

use super::template::Template;

/// Who wants something: a connection after its credentials were found good.
#[derive(Clone, Copy, Debug, Default)]
pub struct Subject<'a> {
    /// The user name that was authenticated; `None` for an anonymous client.
    pub user: Option<&'a str>,
    /// The client identifier, also if the server has given it.
    pub client_id: &'a str,
    /// Groups of the user, as far as whoever authenticated knows them; those of the rules' own file come on top.
    pub groups: &'a [String],
    /// The name of the listener.
    pub listener: &'a str,
    /// `tcp`, `tls`, `ws`, `wss` or `unix`.
    pub transport: &'a str,
    /// The verified address of the client; a Unix socket has none.
    pub address: Option<IpAddr>,
    /// What a token or service says about the client; a name may come several times.
    pub claims: &'a [(String, String)],
}

/// A set of what can be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Actions(u8);

impl Actions {
    pub const PUBLISH: Actions = Actions(1);
    pub const RECEIVE: Actions = Actions(2);
    pub const SUBSCRIBE: Actions = Actions(4);
    pub const READ: Actions = Actions(2 | 4);
    pub const ALL: Actions = Actions(1 | 2 | 4);

    /// Those of both.
    pub fn and(self, other: Actions) -> Actions {
        Actions(self.0 | other.0)
    }

    /// Whether any is in both.
    pub fn intersects(self, other: Actions) -> bool {
        self.0 & other.0 != 0
    }

    /// By the word of the file.
    pub fn named(word: &str) -> Option<Actions> {
        Some(match word {
            "publish" => Actions::PUBLISH,
            "receive" => Actions::RECEIVE,
            "subscribe" => Actions::SUBSCRIBE,
            "read" => Actions::READ,
            "all" => Actions::ALL,
            _ => return None,
        })
    }
}

impl fmt::Display for Actions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: &[&str] = match *self {
            Actions::ALL => &["all"],
            Actions::READ => &["read"],
            _ => &["publish", "receive", "subscribe"],
        };
        let own = names.iter().filter(|name| Actions::named(name).is_some_and(|one| self.intersects(one)));
        f.write_str(&own.copied().collect::<Vec<_>>().join(", "))
    }
}

/// What a rule does to whatever it matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    Allow,
    Deny,
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Effect::Allow => "allow",
            Effect::Deny => "deny",
        })
    }
}

/// A rule as it stands in a file.
#[derive(Debug)]
pub struct Rule {
    /// Its line, from 1.
    pub line: usize,
    /// How it reads, for explanations.
    pub text: Box<str>,
    pub effect: Effect,
    pub actions: Actions,
    /// All must hold; none: the rule is for everyone.
    pub who: Vec<Condition>,
    /// `None`: for every topic, those that begin with `$` included.
    pub topics: Option<Vec<Template>>,
}

/// Something that holds for an subject, or doesn't: any of a list must fit.
#[derive(Clone, Debug)]
pub enum Condition {
    /// Exactly this user: how mosquitto's files say it. Found by name, not one by one.
    User(Box<str>),
    /// Whether there is no user name.
    Anonymous(bool),
    /// Neither user name nor client identifier has a wildcard in it.
    Plain,
    Users(Vec<Pattern>),
    Clients(Vec<Pattern>),
    Groups(Vec<Box<str>>),
    Listeners(Vec<Box<str>>),
    Transports(Vec<Box<str>>),
    Addresses(Vec<Cidr>),
    Claim {
        name: Box<str>,
        values: Vec<Pattern>,
    },
}

impl Condition {
    /// Whether it holds. `groups` are all that the subject is in.
    pub fn holds(&self, subject: &Subject<'_>, groups: &[&str]) -> bool {
        let fits = |patterns: &[Pattern], text: &str| patterns.iter().any(|pattern| pattern.fits(text));
        match self {
            Condition::User(user) => subject.user == Some(user),
            Condition::Anonymous(anonymous) => subject.user.is_none() == *anonymous,
            Condition::Plain => {
                !subject.client_id.contains(['+', '#'])
                    && !subject.user.is_some_and(|user| user.contains(['+', '#']))
            }
            Condition::Users(users) => subject.user.is_some_and(|user| fits(users, user)),
            Condition::Clients(clients) => fits(clients, subject.client_id),
            Condition::Groups(wanted) => wanted.iter().any(|group| groups.contains(&&**group)),
            Condition::Listeners(listeners) => listeners.iter().any(|own| **own == *subject.listener),
            Condition::Transports(transports) => transports.iter().any(|own| **own == *subject.transport),
            Condition::Addresses(ranges) => {
                subject.address.is_some_and(|address| ranges.iter().any(|range| range.contains(address)))
            }
            Condition::Claim { name, values } => {
                subject.claims.iter().any(|(own, value)| **own == **name && fits(values, value))
            }
        }
    }
}

/// A name, in which `*` stands for anything or nothing.
#[derive(Clone, Debug)]
pub struct Pattern(Box<str>);

impl Pattern {
    pub fn new(text: &str) -> Pattern {
        Pattern(text.into())
    }

    pub fn fits(&self, text: &str) -> bool {
        let Some((start, rest)) = self.0.split_once('*') else { return *self.0 == *text };
        let Some(mut text) = text.strip_prefix(start) else { return false };
        let (middle, end) = rest.rsplit_once('*').unwrap_or(("", rest));
        // The first place of each is as good as any: what is left for the others is longest.
        for part in middle.split('*').filter(|part| !part.is_empty()) {
            let Some((_, after)) = text.split_once(part) else { return false };
            text = after;
        }
        text.ends_with(end)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_anything_or_nothing() {
        for (pattern, text, fits) in [
            ("alice", "alice", true),
            ("alice", "alice2", false),
            ("*", "", true),
            ("dev-*", "dev-", true),
            ("dev-*", "adev-", false),
            ("*-dev", "a-dev", true),
            ("a*a", "a", false),
            ("a*a", "aa", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("a*bc*bc", "abc", false),
            ("a**c", "abc", true),
        ] {
            assert_eq!(Pattern::new(pattern).fits(text), fits, "{pattern} and {text:?}");
        }
    }
}
