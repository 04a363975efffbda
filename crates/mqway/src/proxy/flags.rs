//! The flags of `mqway proxy` and `mqway tap`, and how they are laid over the settings.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::ArgAction::SetTrue;
use clap::Args;
use clap::builder::FalseyValueParser;
use mqway_transport::Url;

use crate::failure::Failure;
use crate::flags::{AccessFlags, ListenerFlags, replace, unless_empty, useful};
use crate::quantity::{Bytes, Seconds};
use crate::settings::{Listener, Settings, Upstream};

/// A flag that is given beats the environment and the file; those of a side apply to all entries of that side.
#[derive(Clone, Debug, Default, Args)]
pub struct Flags {
    /// Accept clients here; repeat it for more. An empty host means all addresses, port 0 any free one
    #[arg(long, value_name = "URL", env = "MQWAY_LISTEN", value_delimiter = ' ')]
    listen: Vec<String>,
    /// Bring them to this server; with several, a client's identifier decides, and those that are down are left out
    #[arg(long, value_name = "URL", env = "MQWAY_UPSTREAM", value_delimiter = ' ')]
    upstream: Vec<String>,
    /// Read settings from this file (mqway config default prints one, with all keys explained)
    #[arg(short, long, value_name = "FILE", env = "MQWAY_CONFIG")]
    pub config: Option<PathBuf>,
    /// What to say on stderr: error, warn, info, debug or trace; also by module, as in info,mqway_engine=debug
    #[arg(long, value_name = "LEVEL", env = "MQWAY_LOG")]
    log: Option<String>,

    #[command(flatten, next_help_heading = "Listeners")]
    listeners: ListenerFlags,
    #[command(flatten, next_help_heading = "Upstreams")]
    upstreams: UpstreamFlags,
    #[command(flatten, next_help_heading = "Access")]
    access: AccessFlags,
    #[command(flatten, next_help_heading = "Limits")]
    limits: LimitFlags,
}

#[derive(Clone, Debug, Default, Args)]
struct UpstreamFlags {
    /// Certificates of the authorities that sign the server's, in PEM, instead of the system's
    #[arg(long, value_name = "FILE", env = "MQWAY_UPSTREAM_CAFILE")]
    upstream_cafile: Option<PathBuf>,
    /// Our certificate chain for the server, in PEM
    #[arg(long, value_name = "FILE", env = "MQWAY_UPSTREAM_CERT")]
    upstream_cert: Option<PathBuf>,
    /// Private key of our certificate, in PEM
    #[arg(long, value_name = "FILE", env = "MQWAY_UPSTREAM_KEY")]
    upstream_key: Option<PathBuf>,
    /// Believe any certificate of the server: anyone on the way can read and change everything
    #[arg(long, env = "MQWAY_INSECURE", action = SetTrue, value_parser = FalseyValueParser::new())]
    insecure: bool,
    /// Offer this application protocol in the TLS handshake; repeat it for more
    #[arg(long, value_name = "NAME", env = "MQWAY_UPSTREAM_ALPN", value_delimiter = ' ')]
    upstream_alpn: Vec<String>,
    /// Send this header field with the WebSocket handshake; repeat it for more
    #[arg(long, value_name = "'NAME: VALUE'", env = "MQWAY_UPSTREAM_HEADER", value_delimiter = '\n')]
    upstream_header: Vec<String>,
    /// Dial through this proxy, http://host:port or socks5://host:port, or "none" for none
    /// [default: from HTTPS_PROXY, ALL_PROXY, NO_PROXY]
    #[arg(long, value_name = "URL", env = "MQWAY_UPSTREAM_PROXY")]
    upstream_proxy: Option<String>,
}

#[derive(Clone, Debug, Default, Args)]
struct LimitFlags {
    /// Most clients at a time [default: 100000]
    #[arg(long, value_name = "N", env = "MQWAY_MAX_CONNECTIONS")]
    max_connections: Option<usize>,
    /// Most clients at a time from one address [default: no limit]
    #[arg(long, value_name = "N", env = "MQWAY_MAX_CONNECTIONS_PER_ADDRESS")]
    max_connections_per_address: Option<usize>,
    /// Time for a client's handshakes, and as much again for its CONNECT [default: 10]
    #[arg(long, value_name = "SECS", env = "MQWAY_CONNECT_TIMEOUT")]
    connect_timeout: Option<Seconds>,
    /// Time to reach an upstream, with all handshakes [default: 10]
    #[arg(long, value_name = "SECS", env = "MQWAY_DIAL_TIMEOUT")]
    dial_timeout: Option<Seconds>,
    /// Time for an upstream's answer to CONNECT [default: 30]
    #[arg(long, value_name = "SECS", env = "MQWAY_CONNACK_TIMEOUT")]
    connack_timeout: Option<Seconds>,
    /// Longest packet that is passed on; CONNECT has 512 KiB and, PUBLISH apart, others 1 MiB at the most
    /// [default: the longest that MQTT knows]
    #[arg(long, value_name = "BYTES", env = "MQWAY_MAX_PACKET")]
    max_packet: Option<Bytes>,
    /// Most bytes in memory for all connections together [default: 1GiB]
    #[arg(long, value_name = "BYTES", env = "MQWAY_MAX_BUFFERED")]
    max_buffered: Option<Bytes>,
    /// Most bytes that wait for one slow reader before its other side is no longer read [default: 256KiB]
    #[arg(long, value_name = "BYTES", env = "MQWAY_MAX_BUFFERED_PER_CONNECTION")]
    max_buffered_per_connection: Option<Bytes>,
    /// Worker threads [default: one a core]
    #[arg(long, value_name = "N", env = "MQWAY_WORKERS")]
    workers: Option<NonZeroUsize>,
    /// Time that connections get to end well when the proxy stops [default: 10]
    #[arg(long, value_name = "SECS", env = "MQWAY_GRACE")]
    grace: Option<Seconds>,
}

impl Flags {
    /// What file, environment and flags say together.
    pub fn settings(&self) -> Result<Settings, Failure> {
        let mut settings = Settings::load(self.config.as_deref())?;
        self.lay_over(&mut settings)?;
        Ok(settings)
    }

    fn lay_over(&self, settings: &mut Settings) -> Result<(), Failure> {
        if !self.listen.is_empty() {
            let listener = |url: &String| Listener { url: Some(url.clone()), ..Listener::default() };
            settings.listeners = self.listen.iter().map(listener).collect();
        }
        if !self.upstream.is_empty() {
            let upstream = |url: &String| Upstream { url: Some(url.clone()), ..Upstream::default() };
            settings.upstreams = self.upstream.iter().map(upstream).collect();
        }
        self.listeners.lay_over(&mut settings.listeners)?;
        self.upstreams.lay_over(&mut settings.upstreams)?;
        self.access.lay_over(&mut settings.access);
        self.limits.lay_over(settings);
        replace(&mut settings.log.level, &self.log);
        Ok(())
    }
}

impl UpstreamFlags {
    fn lay_over(&self, upstreams: &mut [Upstream]) -> Result<(), Failure> {
        let mut any_tls = false;
        let mut any_websocket = false;
        for upstream in upstreams {
            let Some(url) = upstream.url.as_deref().and_then(|url| Url::parse_lenient(url).ok()) else {
                return Ok(());
            };
            if url.scheme.is_tls() {
                any_tls = true;
                replace(&mut upstream.cafile, &self.upstream_cafile);
                replace(&mut upstream.cert, &self.upstream_cert);
                replace(&mut upstream.key, &self.upstream_key);
                replace(&mut upstream.insecure, &self.insecure.then_some(true));
                replace(&mut upstream.alpn, &unless_empty(&self.upstream_alpn));
            }
            if url.scheme.is_websocket() {
                any_websocket = true;
                replace(&mut upstream.headers, &unless_empty(&self.upstream_header));
            }
            replace(&mut upstream.proxy, &self.upstream_proxy);
        }
        let tls = [
            ("--upstream-cafile", self.upstream_cafile.is_some()),
            ("--upstream-cert", self.upstream_cert.is_some()),
            ("--upstream-key", self.upstream_key.is_some()),
            ("--insecure", self.insecure),
            ("--upstream-alpn", !self.upstream_alpn.is_empty()),
        ];
        let websocket = [("--upstream-header", !self.upstream_header.is_empty())];
        useful(any_tls, &tls, "an upstream", "tls:// or wss://")?;
        useful(any_websocket, &websocket, "an upstream", "ws:// or wss://")
    }
}

impl LimitFlags {
    fn lay_over(&self, settings: &mut Settings) {
        let limits = &mut settings.limits;
        replace(&mut limits.max_connections, &self.max_connections);
        replace(&mut limits.max_connections_per_address, &self.max_connections_per_address);
        replace(&mut limits.connect_timeout, &self.connect_timeout);
        replace(&mut limits.dial_timeout, &self.dial_timeout);
        replace(&mut limits.connack_timeout, &self.connack_timeout);
        replace(&mut limits.max_packet, &self.max_packet);
        replace(&mut limits.max_buffered, &self.max_buffered);
        replace(&mut limits.max_buffered_per_connection, &self.max_buffered_per_connection);
        replace(&mut limits.workers, &self.workers);
        replace(&mut limits.grace, &self.grace);
    }
}

#[cfg(test)]
mod tests;
