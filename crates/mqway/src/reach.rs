//! How a server is reached: from what the user said about it to what the engine dials.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use mqway_engine::{Dial, Target, Why};
use mqway_transport::tunnel::{Proxy, Tunnel, proxy_from_environment};
use mqway_transport::url::Scheme;
use mqway_transport::{ClientOptions, Url, websocket};

use crate::failure::{Failure, Status};
use crate::settings::Upstream;
use crate::tls_files;

/// What makes [`Upstream::proxy`] mean: no proxy, whatever the environment says.
const NO_PROXY: &str = "none";

/// Puts together all that dialling `upstream` needs, and reads its certificates.
///
/// # Errors
/// One line about what cannot be meant, or cannot be read.
pub fn dial(upstream: &Upstream, time_limit: Duration) -> Result<(Url, Dial), Failure> {
    let Some(text) = &upstream.url else {
        return Err(Failure::usage(
            "an upstream has no url; say where it is, as in url = \"tcp://127.0.0.1:1883\"",
        ));
    };
    let url = Url::parse_lenient(text).map_err(Failure::usage)?;
    let proxy = proxy(upstream, &url)?;
    let target = match (&proxy, url.scheme) {
        (Some(proxy), _) => Target::Tcp { host: proxy.host.clone(), port: proxy.port },
        (None, Scheme::Unix) => Target::Unix(Path::new(&url.path).to_owned()),
        (None, _) => Target::Tcp { host: url.host.clone(), port: url.port },
    };
    let tunnel = proxy.map(|proxy| Tunnel { proxy, host: url.host.clone(), port: url.port });
    let tls = if url.scheme.is_tls() { Some(tls_files::client(upstream, &url)?) } else { None };
    let websocket = if url.scheme.is_websocket() { Some(Arc::new(websocket(upstream, &url)?)) } else { None };
    let options = Arc::new(ClientOptions { tunnel, tls, websocket });
    Ok((url, Dial { target, options, time_limit }))
}

/// How a server is called in messages: whoever reads that it refused should know which way was taken.
pub fn name(url: &Url, dial: &Dial) -> String {
    match &dial.options.tunnel {
        Some(tunnel) => format!("{url} through {}", tunnel.proxy),
        None => url.to_string(),
    }
}

/// Why a connection never opened.
pub fn unopened(why: &Why) -> Failure {
    let status = match why {
        Why::Resolve(_) | Why::Connect(_) | Why::Socket(_) | Why::Done => Status::Network,
        Why::TimedOut(_) => Status::TimedOut,
        Why::Limit(_) => Status::Other,
        Why::Transport(error) => Status::of_layers(error),
    };
    Failure::new(status, why)
}

fn proxy(upstream: &Upstream, url: &Url) -> Result<Option<Proxy>, Failure> {
    match upstream.proxy.as_deref() {
        Some(NO_PROXY) => Ok(None),
        Some(_) if url.scheme == Scheme::Unix => {
            Err(Failure::usage("a Unix socket cannot be reached through a proxy; leave the proxy out"))
        }
        Some(text) => Proxy::parse(text).map(Some).map_err(Failure::usage),
        None => {
            let variable = |name: &str| std::env::var(name).ok();
            proxy_from_environment(variable, url.scheme, &url.host, url.port).map_err(Failure::usage)
        }
    }
}

fn websocket(upstream: &Upstream, url: &Url) -> Result<websocket::ClientOptions, Failure> {
    let at = |error| Failure::usage(format_args!("{url}: {error}"));
    let mut options =
        websocket::ClientOptions::new(&url.host, url.port, url.scheme.is_tls(), &url.path).map_err(at)?;
    if let Some(names) = &upstream.subprotocols {
        options = options.subprotocols(names.iter().filter(|name| !name.is_empty())).map_err(at)?;
    }
    for header in upstream.headers.iter().flatten() {
        // The value may be a secret, so that it is not repeated.
        let (name, value) = header
            .split_once(':')
            .ok_or_else(|| Failure::usage("a header field has no colon; write it as 'Name: value'"))?;
        options = options.header(name.trim(), value.trim()).map_err(at)?;
    }
    Ok(options)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upstream(url: &str) -> Upstream {
        Upstream { url: Some(url.to_owned()), proxy: Some(NO_PROXY.to_owned()), ..Upstream::default() }
    }

    fn reached(upstream: &Upstream) -> Result<Dial, String> {
        dial(upstream, Duration::from_secs(1)).map(|(_, dial)| dial).map_err(|failure| failure.message)
    }

    #[test]
    fn each_scheme_has_its_layers() {
        let tcp = reached(&upstream("broker:1")).unwrap();
        assert_eq!(tcp.target, Target::Tcp { host: "broker".to_owned(), port: 1 });
        assert!(tcp.options.tls.is_none() && tcp.options.websocket.is_none() && tcp.options.tunnel.is_none());
        let wss = reached(&Upstream { insecure: Some(true), ..upstream("wss://broker") }).unwrap();
        assert!(wss.options.tls.is_some() && wss.options.websocket.is_some());
        assert_eq!(reached(&upstream("unix:///run/mqtt")).unwrap().target, Target::Unix("/run/mqtt".into()));
    }

    #[test]
    fn a_proxy_is_dialled_in_place_of_the_server() {
        let through = Upstream { proxy: Some("socks5://gate:1081".to_owned()), ..upstream("ws://broker:99") };
        let dial = reached(&through).unwrap();
        assert_eq!(dial.target, Target::Tcp { host: "gate".to_owned(), port: 1081 });
        let tunnel = dial.options.tunnel.as_ref().unwrap();
        assert_eq!((tunnel.host.as_str(), tunnel.port), ("broker", 99));
        let url = Url::parse("ws://broker:99").unwrap();
        assert_eq!(name(&url, &dial), "ws://broker:99/mqtt through socks5://gate:1081");
        let unix = Upstream { proxy: Some("http://gate".to_owned()), ..upstream("unix:///run/mqtt") };
        assert!(reached(&unix).unwrap_err().contains("leave the proxy out"));
    }

    #[test]
    fn header_fields_are_checked_and_their_values_not_shown() {
        let with =
            |header: &str| Upstream { headers: Some(vec![header.to_owned()]), ..upstream("ws://broker") };
        assert!(reached(&with("Authorization: Bearer secret")).is_ok());
        for header in ["secret", "Authorization: secret\r\nX: y", "Sec-WebSocket-Key: secret", "a b: secret"]
        {
            let told = reached(&with(header)).unwrap_err();
            assert!(!told.contains("secret") && !told.contains('\n'), "{told}");
        }
    }
}
