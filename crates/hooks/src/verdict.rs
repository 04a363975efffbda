//! What a hook says.

use std::borrow::Cow;
use std::fmt;

use mqway_codec::ReasonCode;

use crate::Waiting;

/// What a hook says when it is asked.
#[derive(Debug)]
#[must_use]
pub enum Verdict {
    /// Nothing: the next hook is asked. If none has an opinion, the server's own default holds.
    Pass,
    /// Yes. No further hook is asked.
    Allow,
    /// No. No further hook is asked.
    Deny(Denial),
    /// The answer comes later, through the [`Ticket`](crate::Ticket) that belongs to this.
    Later(Waiting),
}

/// A no, with what its reader, the log and the counters are to know of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// What goes on the wire where the version has a place for it. Where the phase has no such code, the nearest does.
    pub reason: ReasonCode,
    /// Who decided by what: for the log only, such as `acl.toml:12: deny publish secret/#`.
    pub rule: Cow<'static, str>,
    /// What the client is told, in a reason string of 5.0.
    pub say: Option<Cow<'static, str>>,
    /// The connection ends, whatever was asked.
    pub ends: bool,
}

impl Denial {
    /// A no with this reason, because of this rule. The client hears the reason only.
    pub fn new(reason: ReasonCode, rule: impl Into<Cow<'static, str>>) -> Denial {
        Denial { reason, rule: rule.into(), say: None, ends: false }
    }

    /// Not authorized, because of this rule.
    pub fn not_authorized(rule: impl Into<Cow<'static, str>>) -> Denial {
        Denial::new(ReasonCode::NotAuthorized, rule)
    }

    /// With words for the client.
    #[must_use]
    pub fn say(mut self, text: impl Into<Cow<'static, str>>) -> Denial {
        self.say = Some(text.into());
        self
    }

    /// And the connection is to end.
    #[must_use]
    pub fn and_end(mut self) -> Denial {
        self.ends = true;
        self
    }
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.reason.name(), self.rule)
    }
}
