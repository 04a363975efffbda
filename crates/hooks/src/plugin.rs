//! Plugins: named sets of hooks with a life cycle.

use std::error::Error;
use std::sync::Arc;

use mqway_codec::{Publish, TopicFilter};

use crate::Hooks;

/// What is wrong with a plugin, in words for the operator.
pub type PluginError = Box<dyn Error + Send + Sync>;

/// A named set of hooks, compiled in and configured from the file.
///
/// It is loaded before the first connection is accepted, and again whenever the configuration is read again: then the
/// one that is there is unloaded once the new one is in its place, and connections go on.
pub trait Plugin: Send + Sync {
    /// Its name, and that of its table in the configuration: `[plugins.NAME]`.
    fn name(&self) -> &str;

    /// Reads its settings and adds its hooks.
    ///
    /// # Errors
    /// If the settings are no good, in words that say what and how to mend it. The server does not start, or goes on
    /// with what it had.
    fn load(&self, setup: &mut Setup<'_>) -> Result<(), PluginError>;

    /// The server runs, and may be acted upon.
    fn started(&self, _server: Arc<dyn Server>) {}

    /// What it counts, by name: shown among the server's own counters, under its name. Asked on a thread that nobody
    /// waits for.
    fn metrics(&self) -> Vec<(&'static str, u64)> {
        Vec::new()
    }

    /// The server stops, or the plugin is not wanted any more.
    fn unload(&self) {}
}

/// What a plugin is given to set itself up.
pub struct Setup<'a> {
    settings: &'a str,
    hooks: &'a mut Hooks,
}

impl<'a> Setup<'a> {
    /// With the plugin's table of the configuration, as TOML.
    pub fn new(settings: &'a str, hooks: &'a mut Hooks) -> Setup<'a> {
        Setup { settings, hooks }
    }

    /// The plugin's table of the configuration, as TOML; empty if there is none.
    pub fn settings(&self) -> &'a str {
        self.settings
    }

    /// The server's hooks, to which the plugin adds its own. They are called in the order in which they were added.
    pub fn hooks(&mut self) -> &mut Hooks {
        self.hooks
    }
}

/// A server that a plugin may act upon. A proxy has no sessions and no messages of its own: there, it lists and ends
/// connections.
pub trait Server: Send + Sync {
    /// Publishes a message, as if a client that may do everything had.
    ///
    /// # Errors
    /// If the server does not take it.
    fn publish(&self, message: &Publish<'_>) -> Result<(), PluginError>;

    /// Calls `each` for every message that matches, on a thread of its own, until it returns `false`.
    ///
    /// # Errors
    /// If the server has no messages of its own.
    fn subscribe(
        &self,
        filter: TopicFilter<'_>,
        each: Box<dyn FnMut(&Publish<'_>) -> bool + Send>,
    ) -> Result<(), PluginError>;

    /// All sessions, or connections; takes its time, and so is nothing for a hook to call while its worker waits.
    fn sessions(&self) -> Vec<SessionInfo>;

    /// Ends a session with its connection. Whether there was one. It takes its time, too.
    fn end_session(&self, client_id: &str) -> bool;
}

/// A session, as a [`Server`] lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionInfo {
    /// The client identifier.
    pub client_id: String,
    /// Whether its client is connected.
    pub connected: bool,
    /// How many subscriptions it has.
    pub subscriptions: usize,
    /// How many messages wait in it.
    pub queued: usize,
}
