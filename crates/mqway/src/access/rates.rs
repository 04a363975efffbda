//! From `[rates]` to hooks: how fast clients and addresses may connect and publish.

use std::sync::Arc;

use mqway_access::hook::Rated;
use mqway_access::rates::{Excess, Limits, Rate};

use super::{Guards, bans};
use crate::failure::Failure;
use crate::quantity;
use crate::settings::{self, Rates, Settings};

/// Adds the hooks that hold clients to their rates, in front of whoever else judges messages. What `before` has counted
/// goes on.
///
/// # Errors
/// One line about the first setting that cannot be meant.
pub fn add(settings: &Settings, before: Option<&Guards>, guards: &mut Guards) -> Result<(), Failure> {
    let rates = &settings.rates;
    if *rates == Rates::default() {
        return Ok(());
    }
    let excess = match rates.excess {
        None | Some(settings::Excess::Delay) => Excess::Delay,
        Some(settings::Excess::Refuse) => Excess::Refuse,
        Some(settings::Excess::Close) => Excess::Close,
    };
    let limits = |messages: (&str, Option<quantity::Rate>), bytes: (&str, Option<quantity::Rate>)| {
        Ok::<_, Failure>(Limits { messages: rate(messages)?, bytes: rate(bytes)?, excess })
    };
    let client = limits(("messages", rates.messages), ("bytes", rates.bytes))?;
    let address =
        limits(("address_messages", rates.address_messages), ("address_bytes", rates.address_bytes))?;
    let connects = rate(("address_connects", rates.address_connects))?;
    let spared = bans::spared("rates", rates.spare.as_deref(), settings)?;
    let mut rated = Rated::new(client, connects, address, spared);
    if let Some(before) = before.and_then(|before| before.rated.as_ref()) {
        rated = rated.after(before);
    }
    let rated = Arc::new(rated);
    guards.hooks.add_accept(rated.clone());
    guards.hooks.add_admit(rated.clone());
    if [client, address].iter().any(|limits| limits.messages.or(limits.bytes).is_some()) {
        guards.hooks.add_authorize(rated.clone());
    }
    guards.rated = Some(rated);
    Ok(())
}

fn rate((key, rate): (&str, Option<quantity::Rate>)) -> Result<Option<Rate>, Failure> {
    let Some(quantity::Rate { count, period }) = rate else { return Ok(None) };
    match Rate::new(count, period, count) {
        Some(rate) => Ok(Some(rate)),
        None => Err(Failure::usage(format_args!("[rates] {key} is beyond what can be told apart; lower it"))),
    }
}

#[cfg(test)]
mod tests {
    use mqway_hooks::Phase;

    use super::*;

    fn added(rates: &str) -> Result<Guards, String> {
        let settings: Settings = toml::from_str(rates).map_err(|error| error.message().to_owned())?;
        let mut guards = Guards::default();
        add(&settings, None, &mut guards).map(|()| guards).map_err(|failure| failure.to_string())
    }

    #[test]
    fn messages_cost_nothing_where_only_connections_are_counted() {
        let guards = added("[rates]\naddress_connects = '60/m'").unwrap();
        assert!(guards.hooks.wants(Phase::Admit) && !guards.hooks.wants(Phase::Publish));
        for rates in ["messages = 100", "address_bytes = '1MiB/s'"] {
            assert!(added(&format!("[rates]\n{rates}")).unwrap().hooks.wants(Phase::Publish), "{rates}");
        }
        assert!(added("").unwrap().rated.is_none());
    }

    #[test]
    fn settings_that_nobody_means_are_refused() {
        for (rates, words) in [
            ("messages = 0", "lets nothing through"),
            ("bytes = '1000000000000000/s'", "beyond what can be told apart"),
            ("spare = ['here']", "[rates] spare"),
            ("excess = 'drop'", "`delay`"),
        ] {
            let told = added(&format!("[rates]\n{rates}")).err().unwrap();
            assert!(told.contains(words), "{rates}: {told}");
        }
    }
}
