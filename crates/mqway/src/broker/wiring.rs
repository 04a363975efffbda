//! From settings to the broker's own configuration: parses, checks, reads certificates; starts nothing.

use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::time::Duration;

use mqway_broker::{Config, QueueFull};
use mqway_codec::QoS;
use mqway_engine::Listener;
use mqway_transport::Url;
use mqway_transport::url::Scheme;

use crate::access::{self, asks_who, comes_in_cookies};
use crate::failure::Failure;
use crate::listen;
use crate::quantity::{Bytes, Seconds};
use crate::settings::{self, Broker, ClientAuth, Limits, Settings};

/// Time that connections get to end well when the broker stops, if nothing else is said.
const GRACE: Duration = Duration::from_secs(10);

/// The longest session expiry that is not for ever, in seconds.
const LONGEST_EXPIRY: u32 = u32::MAX - 1;

/// A broker that could be started.
pub struct Wired {
    /// What it needs.
    pub config: Config,
    /// The URLs of its listeners, in their order.
    pub urls: Vec<Url>,
    /// The time for its end.
    pub grace: Duration,
}

/// Puts a broker together.
///
/// # Errors
/// One line about the first setting that cannot be meant, or the first file that cannot be used.
pub fn wire(settings: &Settings) -> Result<Wired, Failure> {
    if !settings.upstreams.is_empty() {
        return Err(Failure::usage("a broker has no upstreams; leave them out, or start mqway proxy"));
    }
    check(settings)?;
    let mut config = Config::default();
    set_limits(&mut config, &settings.limits);
    offer(&mut config, &settings.broker)?;
    let listeners = settings.listeners.iter().map(|listener| listen_at(listener, settings));
    let (urls, listeners) = listeners.collect::<Result<Vec<_>, _>>()?.into_iter().unzip();
    config.listeners = listeners;
    config.refusals = access::refusals(&settings.access);
    set(&mut config.limits.hook_time, settings.access.answer_timeout.map(|time| time.0));
    set(&mut config.limits.hook_waiting, settings.access.max_waiting.map(NonZeroUsize::get));
    Ok(Wired { config, urls, grace: settings.limits.grace.map_or(GRACE, |time| time.0) })
}

fn listen_at(listener: &settings::Listener, settings: &Settings) -> Result<(Url, Listener), Failure> {
    let (url, made) = listen::listener(listener, comes_in_cookies(settings))?;
    let asks = listener.client_auth == Some(ClientAuth::Required)
        || (listener.client_ca.is_some() && listener.client_auth.is_none());
    if is_reachable(&url) && !asks && !asks_who(settings) && settings.access.allow_anonymous != Some(true) {
        return Err(Failure::usage(format_args!(
            "listener {url} lets in anybody who can reach this machine; ask who they are (--password-file, \
             --client-ca for certificates, or [access] in the configuration), listen at 127.0.0.1, or say --allow-anonymous"
        )));
    }
    Ok((url, made))
}

/// Whether others than this machine may reach a listener.
fn is_reachable(url: &Url) -> bool {
    if url.scheme == Scheme::Unix || url.host.eq_ignore_ascii_case("localhost") {
        return false;
    }
    let address = url.host.trim_matches(['[', ']']).parse::<IpAddr>();
    !address.is_ok_and(|address| address.to_canonical().is_loopback())
}

fn set_limits(config: &mut Config, limits: &Limits) {
    let engine = &mut config.engine.limits;
    set(&mut engine.connections, limits.max_connections);
    set(&mut engine.connections_per_address, limits.max_connections_per_address);
    set(&mut engine.handshake_time, limits.connect_timeout.map(|time| time.0));
    set(&mut engine.buffered, limits.max_buffered.map(Bytes::to_usize));
    if let Some(most) = limits.max_buffered_per_connection.map(Bytes::to_usize) {
        engine.high_water = most;
        engine.low_water = most / 4;
    }
    set(&mut config.engine.workers, limits.workers.map(NonZeroUsize::get));
    set(&mut config.limits.connect_time, limits.connect_timeout.map(|time| time.0));
    if let Some(most) = limits.max_packet {
        config.set_maximum_packet(most.to_usize());
    }
}

/// What clients are offered, and what is kept for them.
fn offer(config: &mut Config, broker: &Broker) -> Result<(), Failure> {
    let terms = &mut config.terms;
    if broker.max_keep_alive.is_some() {
        terms.keep_alive = broker.max_keep_alive;
    }
    set(&mut terms.session_expiry, broker.max_session_expiry.map(seconds));
    set(&mut terms.maximum_qos, broker.max_qos.map(qos).transpose()?);
    set(&mut terms.retain, broker.retain);
    set(&mut terms.shares, broker.shared_subscriptions);
    set(&mut terms.receive_maximum, broker.receive_maximum);
    set(&mut terms.in_flight, broker.max_inflight);
    set(&mut terms.topic_alias_maximum, broker.max_topic_aliases);
    set(&mut terms.own_aliases, broker.max_topic_aliases);
    let limits = &mut config.limits;
    set(&mut limits.queue_messages, broker.max_queued_messages);
    set(&mut limits.queue_bytes, broker.max_queued.map(Bytes::to_usize));
    set(&mut limits.stored_bytes, broker.max_stored.map(|bytes| bytes.0));
    set(&mut limits.queue_full, broker.queue_full.map(queue_full));
    set(&mut limits.sessions, broker.max_sessions);
    set(&mut limits.subscriptions, broker.max_subscriptions);
    set(&mut limits.state_bytes, broker.max_session_state.map(|bytes| bytes.0));
    set(&mut limits.topic_levels, broker.max_topic_levels);
    set(&mut limits.retained_messages, broker.max_retained_messages);
    set(&mut limits.retained_bytes, broker.max_retained.map(|bytes| bytes.0));
    if broker.max_connect_rate.is_some() {
        limits.connect_rate = broker.max_connect_rate;
    }
    if let Some(interval) = broker.sys_interval {
        config.sys_interval = (!interval.0.is_zero()).then_some(interval.0);
    }
    Ok(())
}

fn seconds(time: Seconds) -> u32 {
    u32::try_from(time.0.as_secs()).unwrap_or(LONGEST_EXPIRY)
}

fn qos(number: u8) -> Result<QoS, Failure> {
    QoS::from_u8(number)
        .ok_or_else(|| Failure::usage(format_args!("max_qos is {number}; it can be 0, 1 or 2")))
}

fn queue_full(policy: settings::QueueFull) -> QueueFull {
    match policy {
        settings::QueueFull::DropNewest => QueueFull::DropNewest,
        settings::QueueFull::DropOldest => QueueFull::DropOldest,
    }
}

/// A limit of nothing would let nobody in, which nobody means; and a limit of the proxy would limit nothing here.
fn check(settings: &Settings) -> Result<(), Failure> {
    let Settings { limits, broker, .. } = settings;
    let zero = [
        ("max_connections", limits.max_connections == Some(0)),
        ("max_connections_per_address", limits.max_connections_per_address == Some(0)),
        ("connect_timeout", limits.connect_timeout.is_some_and(|time| time.0.is_zero())),
        ("max_packet", limits.max_packet.is_some_and(|bytes| bytes.0 == 0)),
        ("max_buffered", limits.max_buffered.is_some_and(|bytes| bytes.0 == 0)),
        ("max_buffered_per_connection", limits.max_buffered_per_connection.is_some_and(|bytes| bytes.0 == 0)),
        ("max_topic_levels", broker.max_topic_levels == Some(0)),
        ("max_sessions", broker.max_sessions == Some(0)),
    ];
    if let Some((key, _)) = zero.iter().find(|(_, zero)| *zero) {
        return Err(Failure::usage(format_args!(
            "{key} is 0, which lets nobody through; raise it or leave it out"
        )));
    }
    let proxys = [
        ("dial_timeout", limits.dial_timeout.is_some()),
        ("connack_timeout", limits.connack_timeout.is_some()),
    ];
    match proxys.iter().find(|(_, given)| *given) {
        Some((key, _)) => Err(Failure::usage(format_args!(
            "{key} is of no use for a broker, which has no upstreams; leave it out"
        ))),
        None => Ok(()),
    }
}

fn set<T>(default: &mut T, setting: Option<T>) {
    if let Some(setting) = setting {
        *default = setting;
    }
}

#[cfg(test)]
mod tests;
