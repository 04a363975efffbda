use mqway_codec::{TopicFilter, TopicName};
use mqway_hooks::{Authorize, Client, Denial, Later, Message, Phase, Phases, Subscription, Verdict};

use crate::acl::filter::covers;

/// What a token, or a web service, allows, kept of a connection by who has authenticated it; `None`: no statement.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grants {
    /// Filters of what may be published.
    pub publish: Option<Vec<String>>,
    /// Filters of what may be subscribed to.
    pub subscribe: Option<Vec<String>>,
}

/// Authorises by the [`Grants`] of a connection: what isn't in them is refused, what is in them is left to the hooks
/// behind, which may still deny it.
pub struct Granted;

impl Authorize for Granted {
    fn name(&self) -> &str {
        "grants"
    }

    fn phases(&self) -> Phases {
        Phases::of(&[Phase::Publish, Phase::Subscribe, Phase::Deliver])
    }

    fn by_topic(&self) -> bool {
        true
    }

    fn publish(&self, client: &mut Client, message: &Message<'_>, _: Later<'_>) -> Verdict {
        match client.data::<Grants>().and_then(|grants| grants.publish.as_ref()) {
            Some(filters) if !has(filters, message.topic()) => {
                Verdict::Deny(Denial::not_authorized("grants: not among what may be published"))
            }
            _ => Verdict::Pass,
        }
    }

    fn subscribe(&self, client: &mut Client, wanted: &mut Subscription<'_>, _: Later<'_>) -> Verdict {
        match client.data::<Grants>().and_then(|grants| grants.subscribe.as_ref()) {
            Some(filters) if !filters.iter().any(|filter| covers(filter, wanted.filter.matched())) => {
                Verdict::Deny(Denial::not_authorized("grants: not within what may be subscribed to"))
            }
            _ => Verdict::Pass,
        }
    }

    /// A session may have subscriptions from a time when more was granted.
    fn deliver(&self, client: &mut Client, message: &Message<'_>) -> Result<(), Denial> {
        match client.data::<Grants>().and_then(|grants| grants.subscribe.as_ref()) {
            Some(filters) if !has(filters, message.topic()) => {
                Err(Denial::not_authorized("grants: not among what may be subscribed to"))
            }
            _ => Ok(()),
        }
    }
}

fn has(filters: &[String], topic: &str) -> bool {
    let Ok(topic) = TopicName::new(topic) else { return false };
    filters.iter().any(|filter| TopicFilter::new(filter).is_ok_and(|filter| filter.matches(topic)))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use mqway_codec::QoS;
    use mqway_hooks::{Hooks, Rehearsal};

    use super::*;

    fn rehearsal(grants: Option<Grants>) -> Rehearsal {
        let mut hooks = Hooks::new();
        hooks.add_authorize(Arc::new(Granted));
        let mut rehearsal = Rehearsal::new(hooks);
        if let Some(grants) = grants {
            rehearsal.client.keep(grants);
        }
        rehearsal
    }

    fn message(topic: &str) -> Message<'_> {
        Message::new(TopicName::new(topic).unwrap(), b"")
    }

    fn may_subscribe(rehearsal: &mut Rehearsal, filter: &str) -> bool {
        rehearsal.subscribe(TopicFilter::new(filter).unwrap(), QoS::AtMostOnce).is_ok()
    }

    #[test]
    fn only_what_is_granted_passes() {
        let filters = |texts: &[&str]| Some(texts.iter().map(|text| (*text).to_owned()).collect());
        let mut granted =
            rehearsal(Some(Grants { publish: filters(&["a/+"]), subscribe: filters(&["b/#", "+/c"]) }));
        assert!(granted.publish(&message("a/x")).is_ok());
        assert!(granted.publish(&message("a/x/y")).is_err());
        for good in ["b", "b/#", "b/+/x", "x/c", "+/c", "$share/g/b/x"] {
            assert!(may_subscribe(&mut granted, good), "{good}");
        }
        for bad in ["#", "+/+", "+/#", "a", "$SYS/c", "$share/g/#", "$share/g/a"] {
            assert!(!may_subscribe(&mut granted, bad), "{bad}");
        }
        assert!(granted.deliver(&message("b/x")).is_ok());
        assert!(granted.deliver(&message("a/x")).is_err(), "subscribed to when more was granted");
    }

    #[test]
    fn an_empty_list_grants_nothing_and_none_says_nothing() {
        let mut nothing = rehearsal(Some(Grants { publish: Some(Vec::new()), subscribe: Some(Vec::new()) }));
        assert!(nothing.publish(&message("a")).is_err() && !may_subscribe(&mut nothing, "a"));
        for mut open in [rehearsal(Some(Grants::default())), rehearsal(None)] {
            assert!(open.publish(&message("a")).is_ok() && may_subscribe(&mut open, "#"));
            assert!(open.deliver(&message("a")).is_ok());
        }
    }
}
