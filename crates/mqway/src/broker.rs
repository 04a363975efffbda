//! `mqway broker`: a broker for MQTT 3.1, 3.1.1 and 5.0 over any transport.

mod flags;
pub mod wiring;

use std::time::Instant;

use mqway_broker::{Broker, Counters};
use mqway_transport::Url;

use crate::Maker;
use crate::access::{self, Guards};
use crate::failure::Failure;
use crate::logging::{self, say};
use crate::settings::Settings;
use crate::signals::{Request, Signals};
use crate::{listen, open_files};
use flags::Flags;
use wiring::Wired;

/// Run the broker; what `mqway` alone does, too
#[derive(Debug, Default, clap::Args)]
pub struct Args {
    #[command(flatten)]
    flags: Flags,
}

/// Runs until a signal ends it.
pub fn run(args: &Args, plugins: &[Maker]) -> Result<(), Failure> {
    let mut settings = args.flags.settings()?;
    logging::start(settings.log.level.as_deref())?;
    let Wired { mut config, urls, grace } = wiring::wire(&settings)?;
    let mut guards = Guards::of(&settings, plugins, None)?;
    config.hooks = guards.hooks.clone();
    let mut signals = Signals::catch()?;
    open_files::raise_limit(settings.limits.max_connections, 1);
    let paths: Vec<_> = config.listeners.iter().map(listen::paths_served).collect();
    let broker = Broker::start(config).map_err(|error| listen::not_started(&error, &urls))?;
    for ((url, paths), bound) in urls.iter().zip(&paths).zip(broker.addresses()) {
        listen::announce(url, paths, bound);
    }
    guards.started(&broker.server());
    let (counters, engine) = (broker.counters(), broker.engine_counters());
    loop {
        match signals.wait() {
            Request::Report => report(&counters, &engine, &guards),
            Request::Reload => match reload(&args.flags, plugins, (&settings, &guards), &urls, &broker) {
                Ok(new) => (settings, guards) = new,
                Err(failure) => log::error!("nothing is reloaded: {failure}"),
            },
            Request::Stop => break,
        }
    }
    log::info!("stopping; connections get {} s, another signal ends them at once", grace.as_secs_f64());
    let end = Instant::now() + grace;
    broker.stop(grace);
    let ended_well = broker.join();
    guards.finish(end);
    report(&counters, &engine, &guards);
    if ended_well { Ok(()) } else { Err(Failure::other("a worker thread has panicked")) }
}

/// Prints all counters as one line of JSON.
fn report(counters: &Counters, engine: &mqway_engine::Counters, guards: &Guards) {
    log::logger().flush();
    let (broker, engine) = (counters.snapshot(), engine.snapshot());
    let all = broker.each().chain(engine.each());
    let mut counts: serde_json::Map<_, _> =
        all.map(|(name, count)| (name.to_owned(), count.into())).collect();
    let refusals: serde_json::Map<_, _> =
        broker.refusals().map(|(reason, count)| (reason.name().to_owned(), count.into())).collect();
    counts.insert("refusals".to_owned(), refusals.into());
    counts.extend(guards.counters());
    say(serde_json::Value::Object(counts));
}

/// Reads settings, certificates and whatever says who may do what again. Connections live on with what they had.
fn reload(
    flags: &Flags,
    plugins: &[Maker],
    (old, before): (&Settings, &Guards),
    urls: &[Url],
    broker: &Broker,
) -> Result<(Settings, Guards), Failure> {
    let new = flags.settings()?;
    let wired = wiring::wire(&new)?;
    let guards = Guards::of(&new, plugins, Some(before))?;
    broker.set_hooks(guards.hooks.clone()).map_err(Failure::other)?;
    before.unload();
    guards.started(&broker.server());
    listen::reload(urls, &wired.urls, &wired.config.listeners, |id, options| {
        broker.reload_listener(id, options);
    });
    access::warn_of_what_stays(&old.access, &new.access);
    if new.limits != old.limits || new.broker != old.broker || new.log != old.log {
        log::warn!(
            "limits, the broker's settings and the log level stay as they were; it takes a restart to change them"
        );
    }
    log::info!("reloaded certificates, and who may do what");
    Ok((new, guards))
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_counter_is_explained_in_the_paper_on_limits() {
        let paper = include_str!("../../../LIMITS.md");
        for (name, _) in mqway_broker::Snapshot::default().each() {
            assert!(paper.contains(&format!("| `{name}` |")), "LIMITS.md does not explain {name}");
        }
    }
}
