//! From settings to the proxy's own configuration: parses, checks, reads certificates; starts nothing.

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use mqway_engine::{Bind, Dial, Listener};
use mqway_proxy::{Config, Upstream};
use mqway_transport::cidr::{Cidr, CidrList};
use mqway_transport::url::{DEFAULT_PATH, Scheme};
use mqway_transport::websocket::{self, OriginPattern, Origins};
use mqway_transport::{ServerOptions, Url};

use crate::failure::Failure;
use crate::quantity::{Bytes, Seconds};
use crate::settings::{self, Limits, Settings};
use crate::{reach, tls_files};

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

fn set<T>(default: &mut T, setting: Option<T>) {
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
    settings.listeners.iter().map(listener).collect()
}

fn listener(listener: &settings::Listener) -> Result<(Url, Listener), Failure> {
    let Some(text) = &listener.url else {
        return Err(Failure::usage(
            "a listener has no url; say where it is, as in url = \"tcp://127.0.0.1:1884\"",
        ));
    };
    let url = Url::parse_listener(text).map_err(Failure::usage)?;
    check_layers(listener, &url)?;
    let bind = match url.scheme {
        Scheme::Unix => Bind::Unix(Path::new(&url.path).to_owned()),
        _ => Bind::tcp(&url.host, url.port),
    };
    let tls = if url.scheme.is_tls() { Some(tls_files::server(listener, &url)?) } else { None };
    let websocket = if url.scheme.is_websocket() { Some(Arc::new(websocket(listener, &url)?)) } else { None };
    let options = ServerOptions {
        proxy_protocol: listener.proxy_protocol.unwrap_or(false),
        tls,
        websocket,
        trusted_forwarders: forwarders(listener.trust_forwarded.as_deref().unwrap_or_default())?,
    };
    Ok((url, Listener { bind, options }))
}

/// A setting of a layer that the listener does not have would silently protect nobody.
fn check_layers(listener: &settings::Listener, url: &Url) -> Result<(), Failure> {
    let tls = [
        ("cert", listener.cert.is_some()),
        ("key", listener.key.is_some()),
        ("client_ca", listener.client_ca.is_some()),
        ("client_auth", listener.client_auth.is_some()),
        ("alpn", listener.alpn.is_some()),
    ];
    let websocket = [
        ("origins", listener.origins.is_some()),
        ("paths", listener.paths.is_some()),
        ("subprotocols", listener.subprotocols.is_some()),
        ("strict_subprotocol", listener.strict_subprotocol.is_some()),
        ("trust_forwarded", listener.trust_forwarded.is_some()),
    ];
    let given = |keys: &[(&'static str, bool)]| keys.iter().find(|(_, given)| *given).map(|(key, _)| *key);
    match (given(&tls), given(&websocket)) {
        (Some(key), _) if !url.scheme.is_tls() => Err(Failure::usage(format_args!(
            "listener {url} has {key} but no TLS; leave it out, or use tls:// or wss://"
        ))),
        (_, Some(key)) if !url.scheme.is_websocket() => Err(Failure::usage(format_args!(
            "listener {url} has {key} but no WebSocket; leave it out, or use ws:// or wss://"
        ))),
        _ => Ok(()),
    }
}

fn websocket(listener: &settings::Listener, url: &Url) -> Result<websocket::ServerOptions, Failure> {
    let own_path = url.path.split('?').next().filter(|path| !path.is_empty()).unwrap_or(DEFAULT_PATH);
    let paths = listener.paths.clone().unwrap_or_else(|| vec![own_path.to_owned()]);
    if let Some(path) = paths.iter().find(|path| !path.starts_with('/')) {
        return Err(Failure::usage(format_args!(
            "{path:?} is no path of listener {url}; begin it with a slash"
        )));
    }
    let defaults = websocket::ServerOptions::default();
    Ok(websocket::ServerOptions {
        paths,
        subprotocols: listener.subprotocols.clone().unwrap_or(defaults.subprotocols),
        strict_subprotocol: listener.strict_subprotocol.unwrap_or(defaults.strict_subprotocol),
        origins: origins(listener.origins.as_deref().unwrap_or_default())?,
        ..websocket::ServerOptions::default()
    })
}

fn origins(list: &[String]) -> Result<Origins, Failure> {
    if list.is_empty() {
        return Ok(Origins::Any);
    }
    let patterns = list.iter().map(|origin| origin.parse::<OriginPattern>());
    patterns.collect::<Result<_, _>>().map(Origins::Listed).map_err(Failure::usage)
}

fn forwarders(list: &[String]) -> Result<CidrList, Failure> {
    list.iter().map(|range| range.parse::<Cidr>()).collect::<Result<_, _>>().map_err(Failure::usage)
}

#[cfg(test)]
mod tests;
