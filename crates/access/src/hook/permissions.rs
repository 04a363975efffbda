use std::sync::Arc;

use mqway_codec::{ReasonCode, TopicFilter, TopicName};
use mqway_hooks::{Authorize, Client, Denial, Later, Message, Phase, Phases, Subscription, Verdict};

use super::with_subject;
use crate::acl::{Acl, Decider, Explanation, Grant, Request, Rights};

/// Authorises by rules: see [`Acl`]. What they say of a client is looked up once for each identity, and remembered for its
/// last topics.
///
/// What the rules allow is left to the hooks behind, which may still deny it.
pub struct Permissions {
    acl: Acl,
    /// Tells what is remembered of these rules from what was of others.
    edition: Arc<()>,
}

/// What is kept of a client.
struct Kept {
    rights: Rights,
    edition: Arc<()>,
    revision: u32,
    client_id: Arc<str>,
}

impl Permissions {
    /// By these rules.
    pub fn new(acl: Acl) -> Permissions {
        Permissions { acl, edition: Arc::default() }
    }

    /// What the client may do, as far as is known of it now.
    #[inline]
    fn rights<'c>(&self, client: &'c mut Client) -> &'c mut Rights {
        // What is kept holds its identifier, so that no other can be in the same place.
        let (revision, client_id) = (client.revision(), Arc::as_ptr(&client.client_id));
        let current = client.data::<Kept>().is_some_and(|kept| {
            kept.revision == revision
                && Arc::ptr_eq(&kept.edition, &self.edition)
                && std::ptr::addr_eq(Arc::as_ptr(&kept.client_id), client_id)
        });
        if !current {
            let rights = self.look_up(client);
            let client_id = client.client_id.clone();
            client.keep(Kept { rights, edition: self.edition.clone(), revision, client_id });
        }
        &mut client.data::<Kept>().expect("it was kept just now").rights
    }

    #[cold]
    fn look_up(&self, client: &Client) -> Rights {
        with_subject(client, |subject| self.acl.rights(subject))
    }
}

impl Authorize for Permissions {
    fn name(&self) -> &str {
        "acl"
    }

    fn phases(&self) -> Phases {
        Phases::of(&[Phase::Publish, Phase::Subscribe, Phase::Deliver])
    }

    fn by_topic(&self) -> bool {
        true
    }

    fn publish(&self, client: &mut Client, message: &Message<'_>, _: Later<'_>) -> Verdict {
        let Ok(topic) = TopicName::new(message.topic()) else {
            return Verdict::Deny(Denial::new(ReasonCode::TopicNameInvalid, "acl: no topic name"));
        };
        let rights = self.rights(client);
        match rights.may_publish(topic) {
            true => Verdict::Pass,
            false => Verdict::Deny(refused(&rights.explain(Request::Publish(topic)))),
        }
    }

    fn subscribe(&self, client: &mut Client, wanted: &mut Subscription<'_>, _: Later<'_>) -> Verdict {
        let Ok(filter) = TopicFilter::new(wanted.filter.as_str()) else {
            return Verdict::Deny(Denial::new(ReasonCode::TopicFilterInvalid, "acl: no topic filter"));
        };
        let rights = self.rights(client);
        match rights.may_subscribe(filter) {
            Grant::Wholly | Grant::Partly => Verdict::Pass,
            Grant::Refused => Verdict::Deny(refused(&rights.explain(Request::Subscribe(filter)))),
        }
    }

    fn deliver(&self, client: &mut Client, message: &Message<'_>) -> Result<(), Denial> {
        let Ok(topic) = TopicName::new(message.topic()) else { return Ok(()) };
        let rights = self.rights(client);
        match rights.may_receive(topic) {
            true => Ok(()),
            false => Err(refused(&rights.explain(Request::Receive(topic)))),
        }
    }
}

fn refused(explanation: &Explanation) -> Denial {
    let rule = match &explanation.by {
        Decider::Rule(rule) => format!("acl: {}:{}: {}", rule.source, rule.line, rule.text),
        Decider::Default(source) => format!("acl: {source}: no rule allows it"),
        Decider::Reserved(why) => format!("acl: {why}"),
    };
    Denial::not_authorized(rule)
}

#[cfg(test)]
mod tests {
    use mqway_codec::{Connect, QoS, Version};
    use mqway_hooks::{Hooks, Rehearsal};

    use super::*;

    fn rehearsal(rules: &str) -> Rehearsal {
        let mut hooks = Hooks::new();
        hooks.add_authorize(Arc::new(Permissions::new(Acl::parse_mosquitto("acl", rules).unwrap())));
        Rehearsal::new(hooks)
    }

    fn message(topic: &str) -> Message<'_> {
        Message::new(TopicName::new(topic).unwrap(), b"")
    }

    #[test]
    fn each_phase_goes_by_the_rules_and_says_by_which() {
        let rules = "user ann\ntopic readwrite ann/#\ntopic read news/+\npattern write from/%c\n";
        let mut rehearsal = rehearsal(rules);
        let mut connect = Connect::new(Version::V5, "c1");
        connect.user_name = Some("ann");
        rehearsal.login(&connect).unwrap();
        rehearsal.publish(&message("ann/x")).unwrap();
        rehearsal.publish(&message("from/c1")).unwrap();
        rehearsal.deliver(&message("news/today")).unwrap();
        rehearsal.subscribe(TopicFilter::new("#").unwrap(), QoS::AtMostOnce).unwrap();
        let denial = rehearsal.publish(&message("news/today")).unwrap_err();
        assert_eq!(denial.reason, ReasonCode::NotAuthorized);
        assert!(denial.rule.starts_with("acl: acl"), "{denial}");
        rehearsal.publish(&message("from/c2")).unwrap_err();
        rehearsal.deliver(&message("others/x")).unwrap_err();
    }

    #[test]
    fn what_was_remembered_of_another_identity_or_of_other_rules_does_not_count() {
        let mut rehearsal = rehearsal("user ann\ntopic readwrite ann/#\n");
        let mut connect = Connect::new(Version::V5, "c1");
        connect.user_name = Some("ann");
        rehearsal.login(&connect).unwrap();
        rehearsal.publish(&message("ann/x")).unwrap();
        connect.user_name = Some("bob");
        rehearsal.login(&connect).unwrap();
        rehearsal.publish(&message("ann/x")).unwrap_err();
        let mut hooks = Hooks::new();
        let rules =
            Acl::parse_mosquitto("acl", "topic readwrite ann/#\nuser bob\ntopic readwrite ann/#").unwrap();
        hooks.add_authorize(Arc::new(Permissions::new(rules)));
        rehearsal.hooks = hooks;
        rehearsal.publish(&message("ann/x")).unwrap();
    }
}
