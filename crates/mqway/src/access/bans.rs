//! From `[bans]` to hooks: who may not connect, and who may not for a while.

use std::sync::Arc;
use std::time::Duration;

use mqway_access::bans::{MAX_COUNT, Policy, Threshold};
use mqway_access::hook::{Banned, ByHand};
use mqway_transport::cidr::{Cidr, CidrList};

use super::Guards;
use crate::failure::Failure;
use crate::quantity::Seconds;
use crate::settings::{Bans, Settings};

/// For whom nothing is counted unless the settings say otherwise: a reverse proxy on the same machine is common.
const LOOPBACK: [&str; 2] = ["127.0.0.0/8", "::1"];

/// Adds the hooks that keep out who is banned; the automatic bans of `before` go on.
///
/// # Errors
/// One line about the first setting that cannot be meant.
pub fn add(settings: &Settings, before: Option<&Guards>, guards: &mut Guards) -> Result<(), Failure> {
    let bans = &settings.bans;
    if *bans == Bans::default() {
        return Ok(());
    }
    let policy = Policy {
        failures: threshold("failures", bans.failures, bans.failures_within, bans.failures_ban)?,
        flapping: threshold("flapping", bans.flapping, bans.flapping_within, bans.flapping_ban)?,
        spared: spared("bans", bans.spare.as_deref(), settings)?,
    };
    let names = |names: &Option<Vec<String>>| names.clone().unwrap_or_default();
    let addresses = ranges("bans", "addresses", &names(&bans.addresses))?;
    let by_hand = ByHand::new(addresses, &names(&bans.clients), &names(&bans.users))
        .map_err(|full| Failure::usage(format_args!("[bans]: {full}")))?;
    let before = before.and_then(|before| before.banned.as_deref());
    let banned = Arc::new(Banned::new(by_hand, policy, before));
    guards.hooks.add_accept(banned.clone());
    guards.hooks.add_admit(banned.clone());
    guards.hooks.add_observe(banned.clone());
    guards.banned = Some(banned);
    Ok(())
}

/// Addresses for which nothing is counted: those that the settings name, and whoever forwards for others.
///
/// # Errors
/// One line about the first that is no range.
pub fn spared(section: &str, named: Option<&[String]>, settings: &Settings) -> Result<CidrList, Failure> {
    let loopback = LOOPBACK.map(str::to_owned);
    let mut spared = ranges(section, "spare", named.unwrap_or(&loopback))?;
    for listener in &settings.listeners {
        let forwarders = listener.trust_forwarded.as_deref().unwrap_or_default();
        spared.extend(ranges("listeners", "trust_forwarded", forwarders)?);
    }
    Ok(spared.into_iter().collect())
}

fn ranges(section: &str, key: &str, texts: &[String]) -> Result<Vec<Cidr>, Failure> {
    let one = |text: &String| {
        text.parse().map_err(|error| Failure::usage(format_args!("[{section}] {key}: {error}")))
    };
    texts.iter().map(one).collect()
}

/// When a ban comes by itself, if the settings want that.
fn threshold(
    key: &str,
    count: Option<usize>,
    within: Option<Seconds>,
    ban: Option<Seconds>,
) -> Result<Option<Threshold>, Failure> {
    let Some(count) = count else {
        return match within.or(ban) {
            None => Ok(None),
            Some(_) => Err(Failure::usage(format_args!(
                "[bans] says for how long, but not after how many {key}; say {key} = 10, or leave it out"
            ))),
        };
    };
    if !(1..=MAX_COUNT).contains(&count) {
        return Err(Failure::usage(format_args!("[bans] {key} is {count}; it can be 1 to {MAX_COUNT}")));
    }
    let default_ban = if key == "failures" { 600 } else { 300 };
    let time = |time: Option<Seconds>, default| time.map_or(Duration::from_secs(default), |time| time.0);
    let (within, ban) = (time(within, 60), time(ban, default_ban));
    match within.is_zero() || ban.is_zero() {
        true => Err(Failure::usage(format_args!("[bans] {key}_within and {key}_ban cannot be 0"))),
        false => Ok(Some(Threshold { count, within, ban })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn added(bans: &str) -> Result<Guards, String> {
        let settings: Settings = toml::from_str(bans).unwrap();
        let mut guards = Guards::default();
        add(&settings, None, &mut guards).map(|()| guards).map_err(|failure| failure.to_string())
    }

    #[test]
    fn settings_that_nobody_means_are_refused() {
        for (bans, words) in [
            ("[bans]\naddresses = ['10.0.0.1/8']", "[bans] addresses"),
            ("[bans]\nspare = ['localhost']", "[bans] spare"),
            ("[bans]\nfailures = 0", "failures is 0; it can be 1 to 100"),
            ("[bans]\nflapping = 101", "flapping is 101"),
            ("[bans]\nfailures_ban = 10", "say failures = 10"),
            ("[bans]\nflapping = 10\nflapping_within = 0", "cannot be 0"),
        ] {
            let told = added(bans).err().unwrap();
            assert!(told.contains(words), "{bans}: {told}");
        }
        assert!(added("[bans]\nfailures = 3\nusers = ['a*']").unwrap().banned.is_some());
        assert!(added("").unwrap().banned.is_none());
    }

    #[test]
    fn loopback_and_forwarders_are_spared() {
        let settings: Settings = toml::from_str("[[listeners]]\ntrust_forwarded = ['10.0.0.0/8']\n").unwrap();
        let spared_by = |named: Option<&[String]>, address: &str| {
            spared("bans", named, &settings).unwrap().contains(address.parse().unwrap())
        };
        for address in ["127.0.0.1", "::1", "10.1.2.3"] {
            assert!(spared_by(None, address), "{address}");
        }
        assert!(!spared_by(Some(&[]), "127.0.0.1") && spared_by(Some(&[]), "10.1.2.3"));
    }
}
