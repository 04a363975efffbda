//! Flags that several commands have, and how flags are laid over the settings.

use std::path::PathBuf;

use clap::ArgAction::SetTrue;
use clap::Args;
use clap::builder::FalseyValueParser;
use mqway_transport::Url;

use crate::failure::Failure;
use crate::settings::{Access, ClientAuth, Listener};

/// Who may do what.
#[derive(Clone, Debug, Default, Args)]
pub struct AccessFlags {
    /// Let in the users of this file only, of mqway passwd or of mosquitto_passwd
    #[arg(long, value_name = "FILE", env = "MQWAY_PASSWORD_FILE")]
    password_file: Option<PathBuf>,
    /// Allow clients what these rules allow: ours if the name ends in .toml, else mosquitto's
    #[arg(long, value_name = "FILE", env = "MQWAY_ACL_FILE")]
    acl_file: Option<PathBuf>,
}

impl AccessFlags {
    pub fn lay_over(&self, access: &mut Access) {
        replace(&mut access.password_file, &self.password_file);
        replace(&mut access.acl_file, &self.acl_file);
    }
}

/// What is said of listeners: for all of them together.
#[derive(Clone, Debug, Default, Args)]
pub struct ListenerFlags {
    /// Certificate chain of tls:// and wss:// listeners, in PEM
    #[arg(long, value_name = "FILE", env = "MQWAY_CERT")]
    cert: Option<PathBuf>,
    /// Private key of the certificate, in PEM
    #[arg(long, value_name = "FILE", env = "MQWAY_KEY")]
    key: Option<PathBuf>,
    /// Certificates of the authorities that sign those of clients, in PEM
    #[arg(long, value_name = "FILE", env = "MQWAY_CLIENT_CA")]
    client_ca: Option<PathBuf>,
    /// Lists of certificates of clients that those authorities have revoked, in PEM
    #[arg(long, value_name = "FILE", env = "MQWAY_CLIENT_CRL")]
    client_crl: Option<PathBuf>,
    /// Whether clients must present a certificate [default: required if there is a --client-ca]
    #[arg(long, value_name = "WHEN", env = "MQWAY_CLIENT_AUTH")]
    client_auth: Option<ClientAuth>,
    /// Speak this application protocol in the TLS handshake; repeat it for more
    #[arg(long, value_name = "NAME", env = "MQWAY_ALPN", value_delimiter = ' ')]
    alpn: Vec<String>,
    /// Let browsers in from this origin only: https://a.example, https://*.a.example or null; repeat it for more
    #[arg(long, value_name = "ORIGIN", env = "MQWAY_ALLOW_ORIGIN", value_delimiter = ' ')]
    allow_origin: Vec<String>,
    /// Serve WebSocket at this path; repeat it for more [default: the path of the listener's URL]
    #[arg(long, value_name = "PATH", env = "MQWAY_PATH", value_delimiter = ' ')]
    path: Vec<String>,
    /// Refuse WebSocket clients that offer no subprotocol
    #[arg(long, env = "MQWAY_STRICT_SUBPROTOCOL", action = SetTrue, value_parser = FalseyValueParser::new())]
    strict_subprotocol: bool,
    /// Every connection begins with a PROXY protocol header (version 1 or 2) of a load balancer
    #[arg(long, env = "MQWAY_PROXY_PROTOCOL", action = SetTrue, value_parser = FalseyValueParser::new())]
    proxy_protocol: bool,
    /// Believe X-Forwarded-For and Forwarded from these addresses, as in 10.0.0.0/8; repeat it for more
    #[arg(long, value_name = "CIDR", env = "MQWAY_TRUST_FORWARDED", value_delimiter = ' ')]
    trust_forwarded: Vec<String>,
}

impl ListenerFlags {
    /// Lays them over the settings of each listener that they can be meant for.
    ///
    /// # Errors
    /// If one is of no use for any of them.
    pub fn lay_over(&self, listeners: &mut [Listener]) -> Result<(), Failure> {
        let mut any_tls = false;
        let mut any_websocket = false;
        for listener in listeners {
            // What is no URL is told later, where the listener is made.
            let Some(url) = listener.url.as_deref().and_then(|url| Url::parse_listener(url).ok()) else {
                return Ok(());
            };
            if url.scheme.is_tls() {
                any_tls = true;
                replace(&mut listener.cert, &self.cert);
                replace(&mut listener.key, &self.key);
                replace(&mut listener.client_ca, &self.client_ca);
                replace(&mut listener.client_crl, &self.client_crl);
                replace(&mut listener.client_auth, &self.client_auth);
                replace(&mut listener.alpn, &unless_empty(&self.alpn));
            }
            if url.scheme.is_websocket() {
                any_websocket = true;
                replace(&mut listener.origins, &unless_empty(&self.allow_origin));
                replace(&mut listener.paths, &unless_empty(&self.path));
                replace(&mut listener.strict_subprotocol, &self.strict_subprotocol.then_some(true));
                replace(&mut listener.trust_forwarded, &unless_empty(&self.trust_forwarded));
            }
            replace(&mut listener.proxy_protocol, &self.proxy_protocol.then_some(true));
        }
        let tls = [
            ("--cert", self.cert.is_some()),
            ("--key", self.key.is_some()),
            ("--client-ca", self.client_ca.is_some()),
            ("--client-crl", self.client_crl.is_some()),
            ("--client-auth", self.client_auth.is_some()),
            ("--alpn", !self.alpn.is_empty()),
        ];
        let websocket = [
            ("--allow-origin", !self.allow_origin.is_empty()),
            ("--path", !self.path.is_empty()),
            ("--strict-subprotocol", self.strict_subprotocol),
            ("--trust-forwarded", !self.trust_forwarded.is_empty()),
        ];
        useful(any_tls, &tls, "a listener", "tls:// or wss://")?;
        useful(any_websocket, &websocket, "a listener", "ws:// or wss://")
    }
}

/// A flag that is given beats the setting.
pub fn replace<T: Clone>(setting: &mut Option<T>, flag: &Option<T>) {
    if flag.is_some() {
        setting.clone_from(flag);
    }
}

/// A flag that may be repeated, if it was given.
pub fn unless_empty(words: &[String]) -> Option<Vec<String>> {
    (!words.is_empty()).then(|| words.to_vec())
}

/// Refuses a flag that was given, but for a layer that is not in `any` URL of its side.
pub fn useful(any: bool, flags: &[(&str, bool)], side: &str, schemes: &str) -> Result<(), Failure> {
    let Some((flag, _)) = flags.iter().find(|(_, given)| *given && !any) else { return Ok(()) };
    let variable = flag.trim_start_matches('-').replace('-', "_").to_uppercase();
    Err(Failure::usage(format_args!(
        "{flag} (or MQWAY_{variable}) is of no use without {side} at {schemes}; leave it out or change the URL"
    )))
}
