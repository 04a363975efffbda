//! The settings of the servers, broker and proxy: where they come from, and which source wins.
//!
//! A flag beats a variable of the environment, that beats the file, and the file beats the default. This module
//! reads the file and the `MQWAY__…` variables; flags are laid over by the command they belong to. Nothing is
//! opened or resolved here, and everything is optional: a default has one home, where it is used.

mod environment;
mod known;
pub mod profile;
mod services;

use std::collections::BTreeMap;
use std::fs;
use std::num::{NonZeroU16, NonZeroU32, NonZeroUsize};
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use mqway_access::certificate::Naming;
use serde::Deserialize;

pub use known::keys_of;
pub use services::{WebService, Webhooks};

use crate::failure::Failure;
use crate::quantity::{Bytes, Rate, Seconds};

/// The broker's file, with every key explained and commented out.
pub const BROKER_FILE: &str = include_str!("settings/broker.toml");

/// The proxy's.
pub const PROXY_FILE: &str = include_str!("settings/proxy.toml");

/// Everything that a file may say. Each key is explained in `broker.toml` or `proxy.toml`, which `mqway config default`
/// prints.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    pub listeners: Vec<Listener>,
    pub upstreams: Vec<Upstream>,
    pub access: Access,
    pub jwt: Jwt,
    pub topics: Vec<Topics>,
    pub web_service: WebService,
    pub webhooks: Webhooks,
    pub bans: Bans,
    pub rates: Rates,
    pub broker: Broker,
    pub limits: Limits,
    pub log: Log,
    /// For the client commands: what their flags say otherwise, by the name of the profile.
    pub profiles: BTreeMap<String, toml::Table>,
    /// For plugins that are compiled in, by their names.
    pub plugins: BTreeMap<String, toml::Table>,
}

/// One place where clients are accepted.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Listener {
    pub url: Option<String>,
    pub cert: Option<PathBuf>,
    pub key: Option<PathBuf>,
    pub client_ca: Option<PathBuf>,
    pub client_crl: Option<PathBuf>,
    pub client_auth: Option<ClientAuth>,
    pub alpn: Option<Vec<String>>,
    pub origins: Option<Vec<String>>,
    pub paths: Option<Vec<String>>,
    pub subprotocols: Option<Vec<String>>,
    pub strict_subprotocol: Option<bool>,
    pub proxy_protocol: Option<bool>,
    pub trust_forwarded: Option<Vec<String>>,
}

/// Whether clients of a TLS listener must present a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum ClientAuth {
    /// Never asked for.
    None,
    /// Asked for, and checked if there is one.
    Optional,
    /// No connection without a valid one.
    Required,
}

/// One server that clients are brought to.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Upstream {
    pub url: Option<String>,
    pub cafile: Option<PathBuf>,
    pub cert: Option<PathBuf>,
    pub key: Option<PathBuf>,
    pub insecure: Option<bool>,
    pub alpn: Option<Vec<String>>,
    pub server_name: Option<String>,
    pub headers: Option<Vec<String>>,
    pub subprotocols: Option<Vec<String>>,
    pub proxy: Option<String>,
}

/// Who may connect, and what each may do.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Access {
    pub allow_anonymous: Option<bool>,
    pub password_file: Option<PathBuf>,
    pub scram_file: Option<PathBuf>,
    pub certificate_user: Option<Naming>,
    pub acl_file: Option<PathBuf>,
    pub refused_publish: Option<RefusedPublish>,
    pub refused_will: Option<RefusedWill>,
    pub answer_timeout: Option<Seconds>,
    pub unanswered: Option<Unanswered>,
    pub max_waiting: Option<NonZeroUsize>,
}

/// Clients that show a JSON Web Token.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Jwt {
    pub secret_file: Option<PathBuf>,
    pub public_key_files: Option<Vec<PathBuf>>,
    pub jwks: Option<String>,
    pub jwks_refresh: Option<Seconds>,
    pub algorithms: Option<Vec<String>>,
    pub sources: Option<Vec<String>>,
    pub refuse_upgrade: Option<bool>,
    pub method: Option<String>,
    pub issuers: Option<Vec<String>>,
    pub audiences: Option<Vec<String>>,
    pub leeway: Option<Seconds>,
    pub must_expire: Option<bool>,
    pub user_claim: Option<String>,
    pub client_id_claim: Option<String>,
    pub assign_client_id: Option<bool>,
    pub groups_claim: Option<String>,
    pub publish_claim: Option<String>,
    pub subscribe_claim: Option<String>,
    pub keep_claims: Option<Vec<String>>,
}

/// By which names some clients know topics, and what they are subscribed to without asking.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Topics {
    pub anonymous: Option<bool>,
    pub users: Option<Vec<String>>,
    pub clients: Option<Vec<String>>,
    pub groups: Option<Vec<String>>,
    pub listeners: Option<Vec<String>>,
    pub transports: Option<Vec<String>>,
    pub addresses: Option<Vec<String>>,
    pub mount: Option<String>,
    pub rewrite: Option<Vec<String>>,
    pub subscribe: Option<Vec<String>>,
    pub subscribe_qos: Option<u8>,
    pub subscribe_no_local: Option<bool>,
    pub subscribe_retain_as_published: Option<bool>,
    pub subscribe_retained: Option<Retained>,
}

/// Which retained messages a subscription without asking brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Retained {
    /// All, each time that the client connects.
    Always,
    /// All, where the subscription is new.
    New,
    /// None.
    Never,
}

/// Who may not connect, and who may not for a while because of what was done.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Bans {
    pub addresses: Option<Vec<String>>,
    pub clients: Option<Vec<String>>,
    pub users: Option<Vec<String>>,
    pub failures: Option<usize>,
    pub failures_within: Option<Seconds>,
    pub failures_ban: Option<Seconds>,
    pub flapping: Option<usize>,
    pub flapping_within: Option<Seconds>,
    pub flapping_ban: Option<Seconds>,
    pub spare: Option<Vec<String>>,
}

/// How fast clients and addresses may connect and publish.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rates {
    pub messages: Option<Rate>,
    pub bytes: Option<Rate>,
    pub address_connects: Option<Rate>,
    pub address_messages: Option<Rate>,
    pub address_bytes: Option<Rate>,
    pub excess: Option<Excess>,
    pub spare: Option<Vec<String>>,
}

/// What happens to what comes too fast.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Excess {
    /// Its sender is slowed down.
    Delay,
    /// It is refused.
    Refuse,
    /// The connection ends.
    Close,
}

/// What happens to a PUBLISH that is not allowed, where the protocol has no answer for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RefusedPublish {
    /// It is dropped.
    Drop,
    /// The connection is closed.
    Close,
}

/// What happens to a will that is not allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RefusedWill {
    /// The client is refused.
    Refuse,
    /// The client is let in without.
    LeaveOut,
}

/// What counts where no answer comes in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unanswered {
    /// No.
    Deny,
    /// No opinion: the next is asked.
    Pass,
    /// Yes.
    Allow,
}

/// What the broker offers to its clients, and keeps for them.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Broker {
    pub max_keep_alive: Option<NonZeroU16>,
    pub max_session_expiry: Option<Seconds>,
    pub max_qos: Option<u8>,
    pub retain: Option<bool>,
    pub shared_subscriptions: Option<bool>,
    pub receive_maximum: Option<NonZeroU16>,
    pub max_inflight: Option<NonZeroU16>,
    pub max_topic_aliases: Option<u16>,
    pub max_queued_messages: Option<usize>,
    pub max_queued: Option<Bytes>,
    pub max_stored: Option<Bytes>,
    pub queue_full: Option<QueueFull>,
    pub max_sessions: Option<u64>,
    pub max_subscriptions: Option<usize>,
    pub max_session_state: Option<Bytes>,
    pub max_topic_levels: Option<usize>,
    pub max_retained_messages: Option<u64>,
    pub max_retained: Option<Bytes>,
    pub max_connect_rate: Option<NonZeroU32>,
    pub sys_interval: Option<Seconds>,
}

/// What becomes of a message that finds a full queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum QueueFull {
    /// It is dropped.
    DropNewest,
    /// The one that has waited longest is.
    DropOldest,
}

/// What a server never exceeds.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    pub max_connections: Option<usize>,
    pub max_connections_per_address: Option<usize>,
    pub connect_timeout: Option<Seconds>,
    pub dial_timeout: Option<Seconds>,
    pub connack_timeout: Option<Seconds>,
    pub max_packet: Option<Bytes>,
    pub max_buffered: Option<Bytes>,
    pub max_buffered_per_connection: Option<Bytes>,
    pub workers: Option<NonZeroUsize>,
    pub grace: Option<Seconds>,
}

/// What is said on stderr.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    pub level: Option<String>,
}

impl Settings {
    /// Reads `file`, if there is one, and lays the `MQWAY__…` variables of the environment over it.
    ///
    /// # Errors
    /// A file that cannot be read, or text in it or in a variable that is not understood: with its place, and for
    /// a key that does not exist the nearest one that does.
    pub fn load(file: Option<&Path>) -> Result<Settings, Failure> {
        let variables = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        let table = file.map(read).transpose()?.unwrap_or_default();
        environment::overlay(table, variables)
    }
}

/// Whether a key of a section, which may be a list of tables, takes this value; else why not.
///
/// # Errors
/// What is told to who writes it.
pub fn accepts(section: &str, list: bool, key: &str, value: toml::Value) -> Result<(), String> {
    let table = toml::Value::Table(toml::Table::from_iter([(key.to_owned(), value)]));
    let section_value = if list { toml::Value::Array(vec![table]) } else { table };
    let whole = toml::Table::from_iter([(section.to_owned(), section_value)]);
    whole.try_into::<Settings>().map(drop).map_err(|error| error.message().to_owned())
}

fn read(file: &Path) -> Result<toml::Table, Failure> {
    let text = fs::read_to_string(file).map_err(|error| {
        Failure::usage(format_args!("cannot read the configuration {}: {error}", file.display()))
    })?;
    parse(&text).map_err(|(line, why)| Failure::usage(format_args!("{}:{line}: {why}", file.display())))
}

/// A table that is known to be valid [`Settings`], or the line of `text` that is wrong, and why.
fn parse(text: &str) -> Result<toml::Table, (usize, String)> {
    let line_of = |offset: usize| text.bytes().take(offset).filter(|&byte| byte == b'\n').count() + 1;
    let place = |error: toml::de::Error| {
        (line_of(error.span().map_or(0, |span| span.start)), error.message().to_owned())
    };
    let spanned = toml::de::DeTable::parse(text).map_err(place)?;
    known::check(spanned.get_ref()).map_err(|unknown| (line_of(unknown.offset), unknown.message))?;
    toml::from_str::<Settings>(text).map_err(place)?;
    text.parse().map_err(place)
}

#[cfg(test)]
mod tests;
