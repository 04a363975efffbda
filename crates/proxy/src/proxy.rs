//! Starting and stopping a proxy.

use std::sync::Arc;
use std::time::Duration;

use mqway_engine::{Bound, Engine, ListenerId, StartError};
use mqway_hooks::{Gates, Hooks, Server};
use mqway_transport::ServerOptions;

use crate::core::{Mail, ProxyCore, Shared};
use crate::server::Handle;
use crate::upstreams::Upstreams;
use crate::{Config, Counters, Observer, Upstream};

/// A running proxy.
#[derive(Debug)]
pub struct Proxy {
    engine: Engine<Mail>,
    counters: Arc<Counters>,
    gates: Arc<Gates>,
}

impl Proxy {
    /// Listens and runs, in threads of its own.
    ///
    /// # Errors
    /// If an address cannot be listened at, or the system gives no thread.
    pub fn start(config: Config) -> Result<Proxy, StartError> {
        Proxy::start_observed(config, |_| ())
    }

    /// Likewise, with an observer for each worker.
    ///
    /// # Errors
    /// As [`Proxy::start`].
    pub fn start_observed<O: Observer>(
        mut config: Config,
        mut observer: impl FnMut(usize) -> O,
    ) -> Result<Proxy, StartError> {
        let shared = Shared::new(&config);
        for (number, listener) in config.listeners.iter_mut().enumerate() {
            shared.gates.guard(number, &mut listener.options);
        }
        let engine = Engine::start(config.engine, config.listeners, |worker| {
            ProxyCore::new(shared.clone(), observer(worker))
        })?;
        Ok(Proxy { engine, counters: shared.counters, gates: shared.gates })
    }

    /// Where the listeners listen, in their order.
    pub fn addresses(&self) -> &[Bound] {
        self.engine.addresses()
    }

    /// What the proxy counts; readable also after its end.
    pub fn counters(&self) -> Arc<Counters> {
        self.counters.clone()
    }

    /// What the engine below it counts.
    pub fn engine_counters(&self) -> Arc<mqway_engine::Counters> {
        self.engine.counters()
    }

    /// Gives the connections that a listener accepts from now on other layers: a new certificate, say.
    pub fn reload_listener(&self, listener: ListenerId, options: &ServerOptions) {
        let mut options = options.clone();
        self.gates.guard(listener.0, &mut options);
        self.engine.reload(listener, &options);
    }

    /// Passes the clients that come from now on to these upstreams.
    pub fn reload_upstreams(&self, upstreams: Vec<Upstream>) {
        let (upstreams, poster) = (Arc::new(Upstreams::new(upstreams)), self.engine.poster());
        for worker in 0..poster.workers() {
            if poster.post(worker, Mail::Upstreams(upstreams.clone())).is_err() {
                log::error!("worker {worker} is too busy to hear of the new upstreams");
            }
        }
    }

    /// Has these hooks asked from now on, for the connections that there are, too; what waits for an answer is asked
    /// anew. Of connections that came while there were none, hooks know the address, the listener, the client identifier,
    /// the version, and the user name that they have claimed, which counts for nothing where hooks find out who clients
    /// are; but not what certificate or header they came with.
    pub fn set_hooks(&self, hooks: Hooks) {
        let (hooks, poster) = (Arc::new(hooks), self.engine.poster());
        self.gates.set_hooks(hooks.clone());
        for worker in 0..poster.workers() {
            if poster.post(worker, Mail::Hooks(hooks.clone())).is_err() {
                log::error!("worker {worker} is too busy to hear of the new hooks");
            }
        }
    }

    /// What a plugin is given to act upon the proxy.
    pub fn server(&self) -> Arc<dyn Server> {
        Arc::new(Handle(self.engine.poster()))
    }

    /// Stops accepting and ends all connections: clients of 5.0 are told, wills are left to the servers. What was
    /// sent is still written, within `grace`.
    pub fn stop(&self, grace: Duration) {
        self.engine.stop(grace);
    }

    /// Waits for the end. False if a worker panicked.
    pub fn join(self) -> bool {
        self.engine.join()
    }
}
