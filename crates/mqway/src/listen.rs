//! Listeners: from the settings to the engine, and what is said of them.

use std::path::Path;
use std::sync::Arc;

use mqway_engine::{Bind, Bound, Listener, ListenerId, StartError};
use mqway_transport::cidr::{Cidr, CidrList};
use mqway_transport::url::{DEFAULT_PATH, Scheme};
use mqway_transport::websocket::{self, OriginPattern, Origins};
use mqway_transport::{ServerOptions, Url};

use crate::failure::Failure;
use crate::logging::say;
use crate::settings;
use crate::tls_files;

/// The listener of one section of the settings, and its URL. `cookies`: they may authenticate.
///
/// # Errors
/// One line about what cannot be meant, or cannot be read.
pub fn listener(listener: &settings::Listener, cookies: bool) -> Result<(Url, Listener), Failure> {
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
    let websocket =
        if url.scheme.is_websocket() { Some(Arc::new(websocket(listener, &url, cookies)?)) } else { None };
    let options = ServerOptions {
        proxy_protocol: listener.proxy_protocol.unwrap_or(false),
        tls,
        websocket,
        trusted_forwarders: forwarders(listener.trust_forwarded.as_deref().unwrap_or_default())?,
        gate: None,
    };
    Ok((url, Listener { bind, options }))
}

/// A setting of a layer that the listener does not have would silently protect nobody.
fn check_layers(listener: &settings::Listener, url: &Url) -> Result<(), Failure> {
    let tls = [
        ("cert", listener.cert.is_some()),
        ("key", listener.key.is_some()),
        ("client_ca", listener.client_ca.is_some()),
        ("client_crl", listener.client_crl.is_some()),
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

fn websocket(
    listener: &settings::Listener,
    url: &Url,
    cookies: bool,
) -> Result<websocket::ServerOptions, Failure> {
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
        origins: origins(listener.origins.as_deref().unwrap_or_default(), cookies)?,
        ..websocket::ServerOptions::default()
    })
}

fn origins(list: &[String], cookies: bool) -> Result<Origins, Failure> {
    if list.is_empty() {
        // A browser sends cookies along whatever page asks it to.
        return Ok(if cookies { Origins::Same } else { Origins::Any });
    }
    let patterns = list.iter().map(|origin| origin.parse::<OriginPattern>());
    patterns.collect::<Result<_, _>>().map(Origins::Listed).map_err(Failure::usage)
}

fn forwarders(list: &[String]) -> Result<CidrList, Failure> {
    list.iter().map(|range| range.parse::<Cidr>()).collect::<Result<_, _>>().map_err(Failure::usage)
}

/// Gives the listeners at `urls` the layers of those with the same URL among the `new` ones. What cannot change without
/// a restart is warned of.
pub fn reload(urls: &[Url], new_urls: &[Url], new: &[Listener], reload: impl Fn(ListenerId, &ServerOptions)) {
    for (index, url) in urls.iter().enumerate() {
        // At its own place first: two listeners on any free port have the same URL.
        let here = (new_urls.get(index) == Some(url)).then_some(index);
        let at = here.or_else(|| new_urls.iter().position(|new| new == url));
        match at.and_then(|at| new.get(at)) {
            Some(listener) => reload(ListenerId(index), &listener.options),
            None => log::warn!("listener {url} stays as it was; it takes a restart to close it"),
        }
    }
    for url in new_urls.iter().filter(|new| !urls.contains(new)) {
        log::warn!("listener {url} is not opened; that takes a restart");
    }
}

/// Where a listener serves WebSocket, if it does: settings may list other paths than that of its URL.
pub fn paths_served(listener: &Listener) -> String {
    listener.options.websocket.as_ref().map_or_else(String::new, |websocket| websocket.paths.join(", "))
}

/// One line, by which people and scripts know that clients may come.
pub fn announce(url: &Url, paths: &str, bound: &Bound) {
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

/// Why a server did not start.
pub fn not_started(error: &StartError, urls: &[Url]) -> Failure {
    match error {
        StartError::Listen { listener, error } => match urls.get(listener.0) {
            Some(url) => Failure::other(format_args!("cannot listen at {url}: {error}")),
            None => Failure::other(format_args!("cannot listen: {error}")),
        },
        error => Failure::other(error),
    }
}
