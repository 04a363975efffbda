//! From settings to the proxy's own configuration: parses, checks, reads certificates; starts nothing.

use std::num::NonZeroUsize;
use std::time::Duration;

use mqway_engine::{Dial, Listener};
use mqway_proxy::{Config, Upstream};
use mqway_transport::Url;

use crate::failure::Failure;
use crate::quantity::{Bytes, Seconds};
use crate::settings::{Broker, Limits, Settings};
use crate::{access, listen, reach};

/// Time that connections get to end well when the proxy stops, if nothing else is said.
const GRACE: Duration = Duration::from_secs(10);

/// A proxy that could be started.
pub struct Wired {
    /// What it needs.
    pub config: Config,
    /// The URLs of its listeners, in their order.
    pub urls: Vec<Url>,
    /// The time for its end.
    pub grace: Duration,
}

/// Puts a proxy together.
///
/// # Errors
/// One line about the first setting that cannot be meant, or the first file that cannot be used.
pub fn wire(settings: &Settings) -> Result<Wired, Failure> {
    let limits = &settings.limits;
    if settings.broker != Broker::default() {
        return Err(Failure::usage(
            "a proxy has no [broker] settings; leave them out, or start mqway broker",
        ));
    }
    check_limits(limits)?;
    let mut config = Config::default();
    let engine = &mut config.engine.limits;
    set(&mut engine.connections, limits.max_connections);
    set(&mut engine.connections_per_address, limits.max_connections_per_address);
    set(&mut engine.handshake_time, limits.connect_timeout.map(|time| time.0));
    set(&mut engine.buffered, limits.max_buffered.map(|bytes| bytes.to_usize()));
    if let Some(most) = limits.max_buffered_per_connection.map(|bytes| bytes.to_usize()) {
        engine.high_water = most;
        engine.low_water = most / 4;
    }
    set(&mut config.engine.workers, limits.workers.map(NonZeroUsize::get));
    set(&mut config.limits.connect_time, limits.connect_timeout.map(|time| time.0));
    set(&mut config.limits.dial_time, limits.dial_timeout.map(|time| time.0));
    set(&mut config.limits.connack_time, limits.connack_timeout.map(|time| time.0));
    set(&mut config.limits.packet, limits.max_packet.map(|bytes| bytes.to_usize()));
    let (urls, listeners) = listeners(settings)?.into_iter().unzip();
    config.listeners = listeners;
    config.refusals = access::refusals(&settings.access);
    set(&mut config.limits.hook_time, settings.access.answer_timeout.map(|time| time.0));
    if let Some(most) = settings.access.max_waiting {
        config.limits.waiting = most.get().div_ceil(config.engine.workers.max(1)); // Each worker has its part.
    }
    config.upstreams = upstreams(settings, config.limits.dial_time)?;
    Ok(Wired { config, urls, grace: limits.grace.map_or(GRACE, |time| time.0) })
}

/// A limit of nothing would let nobody through, which nobody means.
fn check_limits(limits: &Limits) -> Result<(), Failure> {
    let no_time = |time: Option<Seconds>| time.is_some_and(|time| time.0.is_zero());
    let no_bytes = |bytes: Option<Bytes>| bytes.is_some_and(|bytes| bytes.0 == 0);
    let zero = [
        ("max_connections", limits.max_connections == Some(0)),
        ("max_connections_per_address", limits.max_connections_per_address == Some(0)),
        ("connect_timeout", no_time(limits.connect_timeout)),
        ("dial_timeout", no_time(limits.dial_timeout)),
        ("connack_timeout", no_time(limits.connack_timeout)),
        ("max_packet", no_bytes(limits.max_packet)),
        ("max_buffered", no_bytes(limits.max_buffered)),
        ("max_buffered_per_connection", no_bytes(limits.max_buffered_per_connection)),
    ];
    match zero.iter().find(|(_, zero)| *zero) {
        Some((key, _)) => Err(Failure::usage(format_args!(
            "{key} is 0, which lets nobody through; raise it or leave it out"
        ))),
        None => Ok(()),
    }
}

/// A setting that is there beats the default.
pub fn set<T>(default: &mut T, setting: Option<T>) {
    if let Some(setting) = setting {
        *default = setting;
    }
}

fn upstreams(settings: &Settings, dial_time: Duration) -> Result<Vec<Upstream>, Failure> {
    if settings.upstreams.is_empty() {
        return Err(Failure::usage(
            "no server to bring clients to; say where it is, as in --upstream tcp://127.0.0.1:1883",
        ));
    }
    if settings.upstreams.iter().any(|upstream| upstream.insecure == Some(true)) {
        log::warn!(
            "certificates of upstreams are not checked: anyone on the way can read and change everything"
        );
    }
    let reached = settings.upstreams.iter().map(|upstream| reach::dial(upstream, dial_time));
    let upstream = |(url, dial): (Url, Dial)| {
        if url.user.is_some() || url.password.is_some() {
            log::warn!("{url}: the credentials in this URL are not used; clients bring their own");
        }
        Upstream { name: reach::name(&url, &dial), target: dial.target, options: dial.options }
    };
    reached.map(|reached| reached.map(upstream)).collect()
}

fn listeners(settings: &Settings) -> Result<Vec<(Url, Listener)>, Failure> {
    if settings.listeners.is_empty() {
        return Err(Failure::usage(
            "nowhere to listen; say where clients are accepted, as in --listen tcp://127.0.0.1:1884",
        ));
    }
    let cookies = access::comes_in_cookies(settings);
    settings.listeners.iter().map(|listener| listen::listener(listener, cookies)).collect()
}

#[cfg(test)]
mod tests;
