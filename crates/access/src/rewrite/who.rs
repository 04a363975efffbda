//! Whom a section is for.

use mqway_transport::cidr::Cidr;

use super::RewriteError;
use crate::acl::{Condition, Pattern, Subject};

/// Clients of which all of this is true; everybody, if nothing is said. Of each list, one must fit; `*` in names of users
/// and clients stands for anything.
#[derive(Clone, Debug, Default)]
pub struct Who(Vec<Condition>);

impl Who {
    /// Everybody.
    pub fn everybody() -> Who {
        Who::default()
    }

    /// With or without a user name.
    #[must_use]
    pub fn anonymous(self, anonymous: bool) -> Who {
        self.and(Condition::Anonymous(anonymous))
    }

    /// With one of these user names.
    #[must_use]
    pub fn users(self, names: &[String]) -> Who {
        self.and(Condition::Users(patterns(names)))
    }

    /// With one of these client identifiers.
    #[must_use]
    pub fn clients(self, names: &[String]) -> Who {
        self.and(Condition::Clients(patterns(names)))
    }

    /// In one of these groups.
    #[must_use]
    pub fn groups(self, names: &[String]) -> Who {
        self.and(Condition::Groups(words(names)))
    }

    /// By one of these listeners, as their URLs are configured.
    #[must_use]
    pub fn listeners(self, urls: &[String]) -> Who {
        self.and(Condition::Listeners(words(urls)))
    }

    /// By one of these transports: `tcp`, `tls`, `ws`, `wss`, `unix`.
    #[must_use]
    pub fn transports(self, names: &[String]) -> Who {
        self.and(Condition::Transports(words(names)))
    }

    /// From an address in one of these ranges.
    ///
    /// # Errors
    /// If one is no range of addresses.
    pub fn addresses(self, ranges: &[String]) -> Result<Who, RewriteError> {
        let ranges = ranges.iter().map(|range| range.parse::<Cidr>()).collect::<Result<_, _>>();
        Ok(self.and(Condition::Addresses(ranges.map_err(|error| RewriteError(error.to_string()))?)))
    }

    /// Whether it is for this client.
    pub fn includes(&self, subject: &Subject<'_>) -> bool {
        let groups: Vec<_> = subject.groups.iter().map(String::as_str).collect();
        self.0.iter().all(|condition| condition.holds(subject, &groups))
    }

    fn and(mut self, condition: Condition) -> Who {
        self.0.push(condition);
        self
    }
}

fn patterns(names: &[String]) -> Vec<Pattern> {
    names.iter().map(|name| Pattern::new(name)).collect()
}

fn words(names: &[String]) -> Vec<Box<str>> {
    names.iter().map(|name| name.as_str().into()).collect()
}
