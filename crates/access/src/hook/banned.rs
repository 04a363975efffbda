use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use mqway_codec::ReasonCode;
use mqway_hooks::{Accept, Admit, Client, Denial, Event, Later, Observe, Phase, Phases, Verdict};
use mqway_transport::cidr::Cidr;
use mqway_transport::facts::Facts;

use crate::acl::Pattern;
use crate::bans::{Ban, Bans, Full, Policy, Reason, Target};

/// Keeps out who is banned, by hand or for what was done: an address before it has said anything, a client by its
/// identifier before its password is looked at, and a user once it is settled who that is, by whatever means.
///
/// To be added as [`Accept`], as [`Admit`] and as [`Observe`]. Where it is new to connections that are there already, it ends
/// those that are banned by hand; a ban for what was done does not end any.
pub struct Banned {
    by_hand: ByHand,
    policy: Policy,
    /// Automatic bans, and what may lead to some.
    watch: Arc<Watch>,
}

/// What goes on when settings are read again.
struct Watch {
    began: Instant,
    bans: Mutex<Bans>,
}

/// Bans that are there until somebody takes them away.
#[derive(Debug, Default)]
pub struct ByHand {
    exact: Bans,
    clients: Vec<Pattern>,
    users: Vec<Pattern>,
}

impl ByHand {
    /// Of address ranges, client identifiers and user names; `*` in a name stands for anything.
    ///
    /// # Errors
    /// If there are more than can be.
    pub fn new(
        addresses: impl IntoIterator<Item = Cidr>,
        clients: &[String],
        users: &[String],
    ) -> Result<ByHand, Full> {
        let mut bans = ByHand::default();
        let addresses = addresses.into_iter().map(Target::Address);
        let exact = |names: &[String], target: fn(Box<str>) -> Target| -> Vec<Target> {
            names.iter().filter(|name| !name.contains('*')).map(|name| target(name.as_str().into())).collect()
        };
        for target in addresses.chain(exact(clients, Target::Client)).chain(exact(users, Target::User)) {
            let ban = Ban {
                since: Duration::ZERO,
                until: None,
                reason: Reason::ByHand("the configuration".into()),
            };
            bans.exact.ban(target, ban, Duration::ZERO)?;
        }
        let patterns = |names: &[String]| {
            names.iter().filter(|name| name.contains('*')).map(|name| Pattern::new(name)).collect()
        };
        (bans.clients, bans.users) = (patterns(clients), patterns(users));
        Ok(bans)
    }

    /// The ban that is in the way, in words for the log.
    fn find(&self, address: Option<IpAddr>, client_id: Option<&str>, user: Option<&str>) -> Option<String> {
        if let Some((target, ban)) = self.exact.find(address, client_id, user, Duration::ZERO) {
            return Some(format!("bans: {target}, by {}", ban.reason));
        }
        let fits = |patterns: &[Pattern], name: Option<&str>| {
            patterns
                .iter()
                .find(|pattern| name.is_some_and(|name| pattern.fits(name)))
                .map(Pattern::to_string)
        };
        let client = fits(&self.clients, client_id).map(|pattern| format!("bans: clients {pattern:?}"));
        client.or_else(|| fits(&self.users, user).map(|pattern| format!("bans: users {pattern:?}")))
    }
}

impl Banned {
    /// These, and those that `policy` brings about. With `before` the automatic ones go on that there were until now.
    pub fn new(by_hand: ByHand, policy: Policy, before: Option<&Banned>) -> Banned {
        let watch = || Arc::new(Watch { began: Instant::now(), bans: Mutex::default() });
        let watch = before.map_or_else(watch, |before| before.watch.clone());
        Banned { by_hand, policy, watch }
    }

    fn judge(
        &self,
        address: Option<IpAddr>,
        client_id: Option<&str>,
        user: Option<&str>,
    ) -> Result<(), Denial> {
        if let Some(rule) = self.by_hand.find(address, client_id, user) {
            return Err(Denial::new(ReasonCode::Banned, rule).say("banned"));
        }
        let now = self.watch.now();
        let bans = self.watch.bans();
        let Some((target, ban)) = bans.find(address, client_id, user, now) else { return Ok(()) };
        let left = ban.until.unwrap_or(Duration::MAX).saturating_sub(now).as_secs() + 1;
        let rule = format!("bans: {target}, for {}, another {left} s", ban.reason);
        Err(Denial::new(ReasonCode::Banned, rule).say(format!("banned for another {left} s")))
    }
}

impl Watch {
    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    fn bans(&self) -> MutexGuard<'_, Bans> {
        self.bans.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts something that may lead to a ban, and says so if it did.
    fn count(&self, count: impl FnOnce(&mut Bans, Duration) -> Option<Target>) {
        let now = self.now();
        let mut bans = self.bans();
        let left_out = bans.left_out();
        let target = count(&mut bans, now);
        if bans.left_out() > left_out {
            log::warn!("there is no room for more bans, so that somebody is not banned who should be");
        }
        drop(bans);
        if let Some(target) = target {
            log::warn!("{target} is banned for a while");
        }
    }
}

fn address(facts: &Facts) -> Option<IpAddr> {
    facts.peer.map(|peer| peer.ip())
}

impl Accept for Banned {
    fn name(&self) -> &str {
        "bans"
    }

    fn accept(&self, _: &str, facts: &Facts) -> Result<(), Denial> {
        self.judge(address(facts), None, None)
    }
}

impl Admit for Banned {
    fn name(&self) -> &str {
        "bans"
    }

    fn knock(&self, client: &mut Client) -> Result<(), Denial> {
        self.judge(address(&client.facts), Some(&client.client_id), None)
    }

    fn admit(&self, client: &mut Client, _: Later<'_>) -> Verdict {
        let judged = self.judge(None, Some(&client.client_id), client.user_name.as_deref());
        judged.map_or_else(Verdict::Deny, |()| Verdict::Pass)
    }

    fn stay(&self, client: &mut Client) -> Result<(), Denial> {
        let (client_id, user) = (Some(&*client.client_id), client.user_name.as_deref());
        match self.by_hand.find(address(&client.facts), client_id, user) {
            // DISCONNECT has no code of its own for it.
            Some(rule) => Err(Denial::new(ReasonCode::AdministrativeAction, rule).say("banned")),
            None => Ok(()),
        }
    }
}

impl Observe for Banned {
    fn name(&self) -> &str {
        "bans"
    }

    fn phases(&self) -> Phases {
        let failures = self.policy.failures.map_or(Phases::NONE, |_| Phases::of(&[Phase::Refused]));
        let flapping = self.policy.flapping.map_or(Phases::NONE, |_| Phases::of(&[Phase::Connected]));
        failures.and(flapping)
    }

    fn observe(&self, client_id: &str, client: Option<&mut Client>, event: &Event<'_>) {
        let Some(client) = client else { return };
        let address = address(&client.facts);
        match (event, address) {
            (Event::Refused { failed: true, .. }, Some(address)) => {
                self.watch.count(|bans, now| bans.failed(&self.policy, address, now));
            }
            (Event::Connected { .. }, address) => {
                self.watch.count(|bans, now| bans.connected(&self.policy, client_id, address, now));
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use mqway_codec::{Connect, Version};
    use mqway_hooks::{Authenticate, Hooks, Login, Rehearsal};

    use super::*;
    use crate::bans::Threshold;

    fn by_hand(address: &str, clients: &[&str], users: &[&str]) -> ByHand {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        ByHand::new([address.parse().unwrap()], &names(clients), &names(users)).unwrap()
    }

    fn after(count: usize) -> Option<Threshold> {
        let minute = Duration::from_secs(60);
        Some(Threshold { count, within: minute, ban: minute })
    }

    fn hooks(banned: &Arc<Banned>) -> Hooks {
        let mut hooks = Hooks::new();
        hooks.add_accept(banned.clone());
        hooks.add_admit(banned.clone());
        hooks.add_observe(banned.clone());
        hooks
    }

    fn from(address: &str) -> Facts {
        Facts { peer: Some(format!("{address}:1000").parse().unwrap()), ..Facts::default() }
    }

    fn login(rehearsal: &mut Rehearsal, client_id: &str, user: Option<&str>) -> Result<(), Denial> {
        let mut connect = Connect::new(Version::V5, client_id);
        connect.user_name = user;
        rehearsal.login(&connect).map(drop)
    }

    #[test]
    fn who_is_banned_by_hand_is_kept_out_at_each_door() {
        let bans = by_hand("203.0.113.0/24", &["pump", "bad-*"], &["mallory", "*@example.org"]);
        let hooks = hooks(&Arc::new(Banned::new(bans, Policy::default(), None)));
        assert!(
            hooks.accept("", &from("203.0.114.1")).is_ok() && hooks.accept("", &Facts::default()).is_ok()
        );
        let denial = hooks.accept("", &from("203.0.113.7")).unwrap_err();
        assert_eq!(denial.rule, "bans: 203.0.113.0/24, by the configuration");
        let mut rehearsal = Rehearsal::new(hooks);
        assert!(login(&mut rehearsal, "valve", Some("ann")).is_ok());
        assert!(rehearsal.hooks.stay(&mut rehearsal.client).is_ok());
        for (client_id, user, rule) in [
            ("pump", None, "bans: client \"pump\", by the configuration"),
            ("bad-1", Some("ann"), "bans: clients \"bad-*\""),
            ("valve", Some("mallory"), "bans: user \"mallory\", by the configuration"),
            ("valve", Some("eve@example.org"), "bans: users \"*@example.org\""),
        ] {
            let denial = login(&mut rehearsal, client_id, user).unwrap_err();
            assert_eq!((denial.reason, &*denial.rule), (ReasonCode::Banned, rule));
            let denial = rehearsal.hooks.stay(&mut rehearsal.client).unwrap_err();
            assert_eq!((denial.reason, &*denial.rule), (ReasonCode::AdministrativeAction, rule));
        }
        rehearsal.client.facts = from("203.0.113.7");
        assert!(login(&mut rehearsal, "valve", None).is_err());
    }

    #[test]
    fn a_user_is_banned_by_the_name_that_it_turns_out_to_have() {
        struct Ann;
        impl Authenticate for Ann {
            fn name(&self) -> &str {
                "ann"
            }
            fn authenticate(&self, client: &mut Client, _: &mut Login<'_>, _: Later<'_>) -> Verdict {
                client.user_name = Some("ann".into());
                Verdict::Allow
            }
        }
        let bans = by_hand("203.0.113.0/24", &[], &["ann"]);
        let mut hooks = hooks(&Arc::new(Banned::new(bans, Policy::default(), None)));
        hooks.add_authenticate(Arc::new(Ann));
        let denial = login(&mut Rehearsal::new(hooks), "c", Some("bob")).unwrap_err();
        assert_eq!(denial.say.as_deref(), Some("banned"));
    }

    #[test]
    fn failed_logins_ban_an_address_and_a_reload_does_not_lift_it() {
        let policy = || Policy { failures: after(2), ..Policy::default() };
        let mut banned = Arc::new(Banned::new(ByHand::default(), policy(), None));
        for times in 0..2 {
            let mut hooks = hooks(&banned);
            assert!(hooks.accept("", &from("203.0.113.7")).is_ok());
            hooks.anonymous = false;
            let mut rehearsal = Rehearsal::new(hooks);
            rehearsal.client.facts = from("203.0.113.7");
            let denial = login(&mut rehearsal, "c", None).unwrap_err();
            rehearsal.hooks.refused(&mut rehearsal.client, denial.reason, "in its test");
            banned = Arc::new(Banned::new(ByHand::default(), policy(), Some(&banned)));
            assert!(times > 0 || hooks_accept(&banned, "203.0.113.7"));
        }
        assert!(!hooks_accept(&banned, "203.0.113.7") && hooks_accept(&banned, "203.0.113.8"));
    }

    fn hooks_accept(banned: &Arc<Banned>, address: &str) -> bool {
        hooks(banned).accept("", &from(address)).is_ok()
    }

    #[test]
    fn to_be_refused_for_another_reason_is_no_failure() {
        let policy = Policy { failures: after(1), ..Policy::default() };
        let banned = Arc::new(Banned::new(by_hand("192.0.2.0/24", &["pump"], &[]), policy, None));
        let mut rehearsal = Rehearsal::new(hooks(&banned));
        rehearsal.client.facts = from("203.0.113.7");
        let denial = login(&mut rehearsal, "pump", None).unwrap_err();
        rehearsal.hooks.refused(&mut rehearsal.client, denial.reason, "in its test");
        // Who is let in, and then may not leave such a will.
        login(&mut rehearsal, "valve", None).unwrap();
        rehearsal.hooks.refused(&mut rehearsal.client, ReasonCode::NotAuthorized, "in its test");
        assert!(hooks_accept(&banned, "203.0.113.7"));
        rehearsal.hooks.refused_behind(&mut rehearsal.client, ReasonCode::NotAuthorized, "in its test");
        assert!(!hooks_accept(&banned, "203.0.113.7"));
    }

    #[test]
    fn a_client_that_flaps_is_told_for_how_long_it_is_banned() {
        let policy = Policy { flapping: after(2), ..Policy::default() };
        let banned = Arc::new(Banned::new(ByHand::default(), policy, None));
        let mut rehearsal = Rehearsal::new(hooks(&banned));
        for _ in 0..2 {
            login(&mut rehearsal, "c", None).unwrap();
            let event = Event::Connected { session_present: false };
            rehearsal.hooks.observe("c", Some(&mut rehearsal.client), &event).unwrap();
        }
        let denial = login(&mut rehearsal, "c", None).unwrap_err();
        assert!(denial.say.as_deref().is_some_and(|say| say.starts_with("banned for another ")), "{denial}");
        assert!(login(&mut rehearsal, "d", None).is_ok());
    }
}
