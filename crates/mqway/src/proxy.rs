//! `mqway proxy`: brings clients of any transport to servers of any transport.

mod counters;
pub mod flags;
pub mod wiring;

use mqway_engine::{Bound, Listener, ListenerId, StartError};
use mqway_proxy::{Config, Proxy};
use mqway_transport::Url;
use mqway_transport::url::Scheme;

use crate::failure::Failure;
use crate::logging::{self, say};
use crate::open_files;
use crate::settings::Settings;
use crate::signals::{Request, Signals};
use counters::Counted;
use flags::Flags;
use wiring::Wired;

/// Bring clients of any transport to servers of any transport
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    flags: Flags,
}

/// Runs until a signal ends it.
pub fn run(args: &Args) -> Result<(), Failure> {
    serve(&args.flags, Proxy::start)
}

/// Starts a proxy by `start`, and does what signals ask for until one of them ends it.
pub fn serve(flags: &Flags, start: impl FnOnce(Config) -> Result<Proxy, StartError>) -> Result<(), Failure> {
    let mut settings = flags.settings()?;
    logging::start(settings.log.level.as_deref())?;
    let Wired { config, urls, grace } = wiring::wire(&settings)?;
    let mut signals = Signals::catch()?;
    open_files::raise_limit(settings.limits.max_connections);
    let paths: Vec<_> = config.listeners.iter().map(paths_served).collect();
    let proxy = start(config).map_err(|error| not_started(&error, &urls))?;
    for ((url, paths), bound) in urls.iter().zip(&paths).zip(proxy.addresses()) {
        announce(url, paths, bound);
    }
    let counted = Counted::of(&proxy);
    loop {
        match signals.wait() {
            Request::Report => counted.print(),
            Request::Reload => match reload(flags, &settings, &urls, &proxy) {
                Ok(new) => settings = new,
                Err(failure) => log::error!("nothing is reloaded: {failure}"),
            },
            Request::Stop => break,
        }
    }
    log::info!("stopping; connections get {} s, another signal ends them at once", grace.as_secs_f64());
    proxy.stop(grace);
    let ended_well = proxy.join();
    counted.print();
    if ended_well { Ok(()) } else { Err(Failure::other("a worker thread has panicked")) }
}

/// Where a listener serves WebSocket, if it does: settings may list other paths than that of its URL.
fn paths_served(listener: &Listener) -> String {
    listener.options.websocket.as_ref().map_or_else(String::new, |websocket| websocket.paths.join(", "))
}

/// One line, by which people and scripts know that clients may come.
fn announce(url: &Url, paths: &str, bound: &Bound) {
    match bound {
        Bound::Tcp(address) => say(format_args!("listening {}://{address}{paths}", url.scheme)),
        Bound::Unix(path) => say(format_args!("listening unix://{}", path.display())),
    }
    if let (Bound::Tcp(address), Scheme::Tcp | Scheme::Ws) = (bound, url.scheme)
        && !address.ip().to_canonical().is_loopback()
    {
        log::warn!(
            "{url} is open to other machines, and nothing on the way is encrypted; tls:// and wss:// are"
        );
    }
}

/// Reads settings and certificates again. Connections live on with what they had.
fn reload(flags: &Flags, old: &Settings, urls: &[Url], proxy: &Proxy) -> Result<Settings, Failure> {
    let new = flags.settings()?;
    let wired = wiring::wire(&new)?;
    for (index, url) in urls.iter().enumerate() {
        // At its own place first: two listeners on any free port have the same URL.
        let here = (wired.urls.get(index) == Some(url)).then_some(index);
        let at = here.or_else(|| wired.urls.iter().position(|new| new == url));
        match at.and_then(|at| wired.config.listeners.get(at)) {
            Some(listener) => proxy.reload_listener(ListenerId(index), &listener.options),
            None => log::warn!("listener {url} stays as it was; it takes a restart to close it"),
        }
    }
    for url in wired.urls.iter().filter(|new| !urls.contains(new)) {
        log::warn!("listener {url} is not opened; that takes a restart");
    }
    if new.limits != old.limits || new.log != old.log {
        log::warn!("limits and log level stay as they were; it takes a restart to change them");
    }
    proxy.reload_upstreams(wired.config.upstreams);
    log::info!("reloaded certificates and upstreams");
    Ok(new)
}

fn not_started(error: &StartError, urls: &[Url]) -> Failure {
    match error {
        StartError::Listen { listener, error } => match urls.get(listener.0) {
            Some(url) => Failure::other(format_args!("cannot listen at {url}: {error}")),
            None => Failure::other(format_args!("cannot listen: {error}")),
        },
        error => Failure::other(error),
    }
}
