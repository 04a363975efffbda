//! Accept hooks at the listeners of a server: over WebSocket they are asked before an upgrade is answered.

use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use mqway_codec::ReasonCode;
use mqway_transport::facts::{Facts, HttpFacts, TlsFacts};
use mqway_transport::websocket::Refused;
use mqway_transport::{Gate, ServerOptions};

use crate::{Denial, Hooks};

/// The listeners of a server by number, and the hooks that are asked there.
pub struct Gates {
    listeners: Vec<Named>,
    hooks: RwLock<Arc<Hooks>>,
    note: Box<Note>,
}

struct Named {
    url: Arc<str>,
    /// Its gate is ours and asks, so that nobody need ask again once the connection is open.
    gated: AtomicBool,
}

/// Counts and logs that a connection is not served: why, by which listener it came, and from where, if that is known.
type Note = dyn Fn(&Denial, &str, Option<SocketAddr>) + Send + Sync;

impl Gates {
    /// For listeners of these URLs. `note` counts and logs a connection that is not served, by the listener of that URL.
    pub fn new(
        urls: impl IntoIterator<Item = String>,
        hooks: Arc<Hooks>,
        note: impl Fn(&Denial, &str, Option<SocketAddr>) + Send + Sync + 'static,
    ) -> Gates {
        let named = |url: String| Named { url: url.into(), gated: AtomicBool::new(false) };
        let listeners = urls.into_iter().map(named).collect();
        Gates { listeners, hooks: RwLock::new(hooks), note: Box::new(note) }
    }

    /// The URL of a listener; empty if there is none such.
    pub fn url(&self, listener: usize) -> Arc<str> {
        self.listeners.get(listener).map(|named| named.url.clone()).unwrap_or_default()
    }

    /// What is still to be known of a connection that came by this listener while there were no hooks: layers that it has
    /// are there, but empty.
    pub fn facts(&self, listener: usize, peer: Option<SocketAddr>) -> Facts {
        let url = self.url(listener);
        let scheme = url.split_once("://").map_or("", |(scheme, _)| scheme);
        Facts {
            peer,
            tls: matches!(scheme, "tls" | "mqtts" | "wss").then(TlsFacts::default),
            http: matches!(scheme, "ws" | "wss").then(HttpFacts::default),
        }
    }

    /// Whether a connection of this listener has passed a gate of ours.
    pub fn has_asked(&self, listener: usize) -> bool {
        self.listeners.get(listener).is_some_and(|named| named.gated.load(Ordering::Relaxed))
    }

    /// Puts a gate into the options of a listener, if it speaks WebSocket and has none of its own. A no is HTTP 401 for
    /// [`ReasonCode::BadUserNameOrPassword`], else 403.
    pub fn guard(self: &Arc<Gates>, listener: usize, options: &mut ServerOptions) {
        let needs_one = options.websocket.is_some() && options.gate.is_none();
        let Some(named) = self.listeners.get(listener) else { return };
        named.gated.store(needs_one, Ordering::Relaxed);
        if needs_one {
            let (gates, url) = (self.clone(), named.url.clone());
            options.gate = Some(Gate::new(move |facts| gates.judge(&url, facts)));
        }
    }

    /// Has these hooks asked from now on.
    pub fn set_hooks(&self, hooks: Arc<Hooks>) {
        *self.hooks.write().unwrap_or_else(PoisonError::into_inner) = hooks;
    }

    /// Counts and logs that a connection is not served.
    pub fn note(&self, denial: &Denial, url: &str, peer: Option<SocketAddr>) {
        (self.note)(denial, url, peer);
    }

    fn judge(&self, url: &str, facts: &Facts) -> Result<(), Refused> {
        let hooks = self.hooks.read().unwrap_or_else(PoisonError::into_inner).clone();
        hooks.accept(url, facts).map_err(|denial| {
            self.note(&denial, url, facts.peer);
            let text = denial.say.as_deref().unwrap_or(denial.reason.name()).to_owned();
            match denial.reason {
                ReasonCode::BadUserNameOrPassword => Refused::unauthorized(text),
                _ => Refused::forbidden(text),
            }
        })
    }
}

impl fmt::Debug for Gates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.listeners.iter().map(|named| &named.url)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Client;

    #[test]
    fn a_listener_s_url_tells_what_a_connection_has() {
        let urls = ["tcp://:1", "tls://:2", "ws://:3/mqtt", "wss://:4/mqtt", "unix:///s"];
        let gates = Gates::new(urls.map(str::to_owned), Arc::default(), |_, _, _| ());
        let peer = "192.0.2.1:1".parse().ok();
        for (listener, transport) in ["tcp", "tls", "ws", "wss"].into_iter().enumerate() {
            let client = Client::new(1, gates.url(listener), gates.facts(listener, peer));
            assert_eq!(client.transport(), transport);
        }
        assert_eq!(Client::new(1, gates.url(4), gates.facts(4, None)).transport(), "unix");
    }
}
