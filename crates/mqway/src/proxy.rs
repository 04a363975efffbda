//! `mqway proxy`: brings clients of any transport to servers of any transport.

mod counters;
pub mod flags;
pub mod wiring;

use std::time::Instant;

use mqway_engine::StartError;
use mqway_proxy::{Config, Proxy};
use mqway_transport::Url;

use crate::Maker;
use crate::access::{self, Guards};
use crate::failure::Failure;
use crate::logging;
use crate::settings::Settings;
use crate::signals::{Request, Signals};
use crate::{listen, open_files};
use counters::Counted;
use flags::Flags;
use wiring::Wired;

/// Bring clients of any transport to servers of any transport
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    flags: Flags,
}

/// Open files of a client: its connection, and the one to its upstream.
const FILES_PER_CLIENT: u64 = 2;

/// Runs until a signal ends it.
pub fn run(args: &Args, plugins: &[Maker]) -> Result<(), Failure> {
    serve(&args.flags, plugins, Proxy::start)
}

/// Starts a proxy by `start`, and does what signals ask for until one of them ends it.
pub fn serve(
    flags: &Flags,
    plugins: &[Maker],
    start: impl FnOnce(Config) -> Result<Proxy, StartError>,
) -> Result<(), Failure> {
    let mut settings = flags.settings()?;
    logging::start(settings.log.level.as_deref())?;
    let Wired { mut config, urls, grace } = wiring::wire(&settings)?;
    let mut guards = Guards::of(&settings, plugins, None)?;
    config.hooks = guards.hooks.clone();
    let mut signals = Signals::catch()?;
    open_files::raise_limit(settings.limits.max_connections, FILES_PER_CLIENT);
    let paths: Vec<_> = config.listeners.iter().map(listen::paths_served).collect();
    let proxy = start(config).map_err(|error| listen::not_started(&error, &urls))?;
    for ((url, paths), bound) in urls.iter().zip(&paths).zip(proxy.addresses()) {
        listen::announce(url, paths, bound);
    }
    guards.started(&proxy.server());
    let counted = Counted::of(&proxy);
    loop {
        match signals.wait() {
            Request::Report => counted.print(&guards),
            Request::Reload => match reload(flags, plugins, (&settings, &guards), &urls, &proxy) {
                Ok(new) => (settings, guards) = new,
                Err(failure) => log::error!("nothing is reloaded: {failure}"),
            },
            Request::Stop => break,
        }
    }
    log::info!("stopping; connections get {} s, another signal ends them at once", grace.as_secs_f64());
    let end = Instant::now() + grace;
    proxy.stop(grace);
    let ended_well = proxy.join();
    guards.finish(end);
    counted.print(&guards);
    if ended_well { Ok(()) } else { Err(Failure::other("a worker thread has panicked")) }
}

/// Reads settings, certificates and whatever says who may do what again. Connections live on with what they had.
fn reload(
    flags: &Flags,
    plugins: &[Maker],
    (old, before): (&Settings, &Guards),
    urls: &[Url],
    proxy: &Proxy,
) -> Result<(Settings, Guards), Failure> {
    let new = flags.settings()?;
    let wired = wiring::wire(&new)?;
    let guards = Guards::of(&new, plugins, Some(before))?;
    proxy.set_hooks(guards.hooks.clone());
    guards.started(&proxy.server());
    before.unload();
    listen::reload(urls, &wired.urls, &wired.config.listeners, |id, options| {
        proxy.reload_listener(id, options)
    });
    access::warn_of_what_stays(&old.access, &new.access);
    if new.limits != old.limits || new.log != old.log {
        log::warn!("limits and log level stay as they were; it takes a restart to change them");
    }
    proxy.reload_upstreams(wired.config.upstreams);
    log::info!("reloaded certificates, upstreams, and who may do what");
    Ok((new, guards))
}
