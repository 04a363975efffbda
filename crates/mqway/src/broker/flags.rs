//! The flags of `mqway broker`, and how they are laid over the settings.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::ArgAction::SetTrue;
use clap::Args;
use clap::builder::FalseyValueParser;

use crate::failure::Failure;
use crate::flags::{AccessFlags, ListenerFlags, replace};
use crate::quantity::{Bytes, Seconds};
use crate::settings::{Listener, Settings};

/// A flag that is given beats the environment and the file; those of listeners apply to all of them.
#[derive(Clone, Debug, Default, Args)]
pub struct Flags {
    /// Accept clients here; repeat it for more. An empty host means all addresses, port 0 any free one
    /// [default: tcp://127.0.0.1:1883 and ws://127.0.0.1:8083/mqtt]
    #[arg(long, value_name = "URL", env = "MQWAY_LISTEN", value_delimiter = ' ')]
    listen: Vec<String>,
    /// Read settings from this file (mqway config default prints one, with all keys explained)
    #[arg(short, long, value_name = "FILE", env = "MQWAY_CONFIG")]
    config: Option<PathBuf>,
    /// Let in clients from other machines although nobody is asked who they are
    #[arg(long, env = "MQWAY_ALLOW_ANONYMOUS", action = SetTrue, value_parser = FalseyValueParser::new())]
    allow_anonymous: bool,
    /// Keep everything in memory, and nothing across restarts; so far there is no other way
    #[arg(long, env = "MQWAY_MEMORY", action = SetTrue, value_parser = FalseyValueParser::new())]
    memory: bool,
    /// Keep sessions and messages in this directory (not in this version)
    #[arg(long, value_name = "DIR", env = "MQWAY_DATA", hide = true, conflicts_with = "memory")]
    data: Option<PathBuf>,
    /// Serve the console and the REST API here (not in this version)
    #[arg(long, value_name = "URL", env = "MQWAY_ADMIN", hide = true)]
    admin: Option<String>,
    /// What to say on stderr: error, warn, info, debug or trace; also by module, as in info,mqway_engine=debug
    #[arg(long, value_name = "LEVEL", env = "MQWAY_LOG")]
    log: Option<String>,

    #[command(flatten, next_help_heading = "Listeners")]
    listeners: ListenerFlags,
    #[command(flatten, next_help_heading = "Access")]
    access: AccessFlags,
    #[command(flatten, next_help_heading = "Limits")]
    limits: LimitFlags,
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
    /// Longest packet that is taken [default: 16MiB]
    #[arg(long, value_name = "BYTES", env = "MQWAY_MAX_PACKET")]
    max_packet: Option<Bytes>,
    /// Most bytes in memory for all connections together [default: 1GiB]
    #[arg(long, value_name = "BYTES", env = "MQWAY_MAX_BUFFERED")]
    max_buffered: Option<Bytes>,
    /// Most messages that wait in one session [default: 10000]
    #[arg(long, value_name = "N", env = "MQWAY_MAX_QUEUED_MESSAGES")]
    max_queued_messages: Option<usize>,
    /// Worker threads [default: one a core]
    #[arg(long, value_name = "N", env = "MQWAY_WORKERS")]
    workers: Option<NonZeroUsize>,
    /// Time that connections get to end well when the broker stops [default: 10]
    #[arg(long, value_name = "SECS", env = "MQWAY_GRACE")]
    grace: Option<Seconds>,
}

/// Where clients are accepted if nothing else is said.
pub const DEFAULT_LISTENERS: [&str; 2] = ["tcp://127.0.0.1:1883", "ws://127.0.0.1:8083/mqtt"];

impl Flags {
    /// What file, environment and flags say together.
    ///
    /// # Errors
    /// One line about what cannot be meant.
    pub fn settings(&self) -> Result<Settings, Failure> {
        self.refuse_what_is_to_come()?;
        let mut settings = Settings::load(self.config.as_deref())?;
        self.lay_over(&mut settings)?;
        Ok(settings)
    }

    /// A flag that is silently without effect would be believed.
    fn refuse_what_is_to_come(&self) -> Result<(), Failure> {
        if self.data.is_some() {
            return Err(Failure::usage(
                "--data is not in this version, which keeps everything in memory; leave it out, or say --memory",
            ));
        }
        if self.admin.is_some() {
            return Err(Failure::usage("--admin is not in this version; leave it out"));
        }
        Ok(())
    }

    fn lay_over(&self, settings: &mut Settings) -> Result<(), Failure> {
        let listener = |url: &str| Listener { url: Some(url.to_owned()), ..Listener::default() };
        if !self.listen.is_empty() {
            settings.listeners = self.listen.iter().map(|url| listener(url)).collect();
        }
        if settings.listeners.is_empty() {
            settings.listeners = DEFAULT_LISTENERS.map(listener).into();
        }
        self.listeners.lay_over(&mut settings.listeners)?;
        self.access.lay_over(&mut settings.access);
        replace(&mut settings.access.allow_anonymous, &self.allow_anonymous.then_some(true));
        replace(&mut settings.broker.max_queued_messages, &self.limits.max_queued_messages);
        replace(&mut settings.log.level, &self.log);
        let limits = &mut settings.limits;
        replace(&mut limits.max_connections, &self.limits.max_connections);
        replace(&mut limits.max_connections_per_address, &self.limits.max_connections_per_address);
        replace(&mut limits.connect_timeout, &self.limits.connect_timeout);
        replace(&mut limits.max_packet, &self.limits.max_packet);
        replace(&mut limits.max_buffered, &self.limits.max_buffered);
        replace(&mut limits.workers, &self.limits.workers);
        replace(&mut limits.grace, &self.limits.grace);
        Ok(())
    }
}
