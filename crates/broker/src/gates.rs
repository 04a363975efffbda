//! The listeners as hooks know them, and the gates where a WebSocket upgrade waits for their word.

use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use mqway_engine::{Listener, ListenerId, Origin};
use mqway_hooks::{Denial, Hooks};
use mqway_transport::ServerOptions;

use crate::Counters;
use crate::core::Peer;

/// The listeners, and the hooks that are asked there.
pub(crate) struct Gates {
    listeners: Vec<Named>,
    hooks: Arc<RwLock<Arc<Hooks>>>,
    counters: Arc<Counters>,
}

struct Named {
    url: Arc<str>,
    /// Its gate is ours and asks, so that nobody need ask again once the connection is open.
    gated: AtomicBool,
}

impl Gates {
    pub fn new(listeners: &[Listener], hooks: Arc<Hooks>, counters: Arc<Counters>) -> Gates {
        let named = |listener: &Listener| Named {
            url: listener.url().to_string().into(),
            gated: AtomicBool::new(false),
        };
        let hooks = Arc::new(RwLock::new(hooks));
        Gates { listeners: listeners.iter().map(named).collect(), hooks, counters }
    }

    /// The URL of the listener that a connection came by.
    pub fn url(&self, origin: Origin) -> Arc<str> {
        self.of(origin).map(|named| named.url.clone()).unwrap_or_default()
    }

    /// Whether a connection has passed a gate of ours.
    pub fn has_asked(&self, origin: Origin) -> bool {
        self.of(origin).is_some_and(|named| named.gated.load(Ordering::Relaxed))
    }

    fn of(&self, origin: Origin) -> Option<&Named> {
        match origin {
            Origin::Accepted(listener) => self.listeners.get(listener.0),
            Origin::Dialled(_) => None,
        }
    }

    /// Puts a gate into the options of a listener, if it speaks WebSocket and has none of its own.
    pub fn guard(self: &Arc<Gates>, listener: ListenerId, options: &mut ServerOptions) {
        let needs_one = options.websocket.is_some() && options.gate.is_none();
        let Some(named) = self.listeners.get(listener.0) else { return };
        named.gated.store(needs_one, Ordering::Relaxed);
        if !needs_one {
            return;
        }
        let (hooks, gates, url) = (self.hooks.clone(), self.clone(), named.url.clone());
        let current = move || hooks.read().unwrap_or_else(PoisonError::into_inner).clone();
        options.gate = Some(mqway_hooks::gate(url, current, move |denial| gates.note(denial, None)));
    }

    /// Has these hooks asked from now on.
    pub fn set_hooks(&self, hooks: Arc<Hooks>) {
        *self.hooks.write().unwrap_or_else(PoisonError::into_inner) = hooks;
    }

    /// Counts and logs that a connection is not served.
    pub fn note(&self, denial: &Denial, peer: Option<SocketAddr>) {
        self.counters.accepts_denied.fetch_add(1, Ordering::Relaxed);
        self.counters.refuse(denial.reason);
        log::info!("{}: not served: {denial}", Peer(peer));
    }
}

impl fmt::Debug for Gates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.listeners.iter().map(|named| &named.url)).finish()
    }
}
