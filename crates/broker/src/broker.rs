//! Starting, using and stopping a broker from Rust.

use std::fmt;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::Duration;

use mqway_codec::{TopicError, TopicFilter};
use mqway_engine::{Bind, Bound, Engine, Listener, ListenerId, Poster, StartError};
use mqway_hooks::{Hooks, Server};
use mqway_transport::ServerOptions;

use crate::core::BrokerCore;
use crate::mail::Mail;
use crate::server::Handle;
use crate::shared::Shared;
use crate::sys::Sys;
use crate::{Config, Counters, Message};

/// A running broker. Dropping it ends it at once; [`Broker::stop`] and [`Broker::join`] end it well.
///
/// ```
/// use mqway_broker::{Broker, Message};
///
/// let broker = Broker::builder().listen_tcp("127.0.0.1", 0).start()?;
/// println!("clients may come to {}", broker.addresses()[0]);
///
/// let readings = broker.subscribe("sensors/+", 100)?;
/// broker.publish(Message::new("sensors/attic", "21.5"))?;
/// let message = readings.recv_timeout(std::time::Duration::from_secs(5))?;
/// assert_eq!(&*message.topic, "sensors/attic");
///
/// broker.stop(std::time::Duration::from_secs(1));
/// assert!(broker.join());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Broker {
    engine: Engine<Mail>,
    shared: Arc<Shared>,
    handle: Handle,
}

/// Puts a broker together.
#[derive(Clone, Debug, Default)]
pub struct Builder {
    config: Config,
}

/// Messages that may wait for a subscriber in the program: the channel takes some bytes for each from the start.
pub const MOST_WAITING: usize = 1 << 20;

/// Why the broker did not take something over.
#[derive(Debug, thiserror::Error)]
pub enum NotTaken {
    /// The topic name or filter is none.
    #[error("the topic {0}")]
    Topic(#[from] TopicError),
    /// The properties are not those that a program may give a message: see [`Message::properties`].
    #[error("the message has properties that are not a program's to give")]
    Properties,
    /// The broker has stopped, or is too busy.
    #[error("the broker has stopped, or is too busy")]
    Busy,
}

impl Builder {
    /// A broker with this configuration.
    pub fn new(config: Config) -> Builder {
        Builder { config }
    }

    /// Accepts clients over TCP here. An empty host means all addresses, port 0 any free one.
    pub fn listen_tcp(mut self, host: &str, port: u16) -> Builder {
        self.config.listeners.push(Listener::new(Bind::tcp(host, port)));
        self
    }

    /// Accepts clients here, over the layers that the listener has.
    pub fn listen(mut self, listener: Listener) -> Builder {
        self.config.listeners.push(listener);
        self
    }

    /// Changes the configuration.
    pub fn configure(mut self, change: impl FnOnce(&mut Config)) -> Builder {
        change(&mut self.config);
        self
    }

    /// Starts it, in threads of its own.
    ///
    /// # Errors
    /// If an address cannot be listened at, or the system gives no thread.
    pub fn start(self) -> Result<Broker, StartError> {
        Broker::start(self.config)
    }
}

impl Broker {
    /// A broker to be put together.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Listens and runs, in threads of its own.
    ///
    /// # Errors
    /// If an address cannot be listened at, or the system gives no thread.
    pub fn start(config: Config) -> Result<Broker, StartError> {
        let shared = Arc::new(Shared::new(&config, config.engine.workers.max(1), random_key()));
        let Config { mut listeners, engine, sys_interval, .. } = config;
        for (number, listener) in listeners.iter_mut().enumerate() {
            shared.gates.guard(number, &mut listener.options);
        }
        let enough = engine.limits.high_water;
        let engine = Engine::start(engine, listeners, |worker| {
            let sys = sys_interval.filter(|_| worker == 0).map(Sys::new);
            BrokerCore::new(worker, shared.clone(), enough, sys)
        })?;
        let handle = Handle::new(engine.poster(), shared.clone());
        // A mailbox that is empty takes it.
        let _ = handle.poster.post(0, Mail::Begin);
        Ok(Broker { engine, shared, handle })
    }

    /// Where the listeners listen, in their order.
    pub fn addresses(&self) -> &[Bound] {
        self.engine.addresses()
    }

    /// What the broker counts; readable also after its end.
    pub fn counters(&self) -> Arc<Counters> {
        self.shared.counters.clone()
    }

    /// What the engine below it counts.
    pub fn engine_counters(&self) -> Arc<mqway_engine::Counters> {
        self.engine.counters()
    }

    /// Publishes a message to all who have subscribed. Messages of one topic keep their order.
    ///
    /// # Errors
    /// If its topic is none, its properties are not a program's to give, or the broker does not take it.
    pub fn publish(&self, message: Message) -> Result<(), NotTaken> {
        self.handle.publish(message)
    }

    /// Subscribes to what matches `filter`, retained messages first. At most `waiting` messages, of 1 to
    /// [`MOST_WAITING`], wait to be taken; beyond that they are dropped, and counted. When this returns, nothing
    /// published from then on is missed.
    ///
    /// # Errors
    /// If the filter is none, or the broker does not take it.
    pub fn subscribe(&self, filter: &str, waiting: usize) -> Result<Subscription, NotTaken> {
        let (subscription, stands) = self.handle.subscribe(TopicFilter::new(filter)?, waiting)?;
        stands.recv().map_err(|_| NotTaken::Busy)?;
        Ok(subscription)
    }

    /// The broker as plugins see it: to publish, to subscribe, to list and to end sessions, from any thread.
    ///
    /// ```
    /// use mqway_broker::{Broker, hooks::Server};
    ///
    /// let broker = Broker::builder().listen_tcp("127.0.0.1", 0).start()?;
    /// let server = broker.server();
    /// assert!(server.sessions().is_empty() && !server.end_session("nobody"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn server(&self) -> Arc<dyn Server> {
        Arc::new(self.handle.clone())
    }

    /// Gives the connections that a listener accepts from now on other layers: a new certificate, say.
    pub fn reload_listener(&self, listener: ListenerId, options: &ServerOptions) {
        let mut options = options.clone();
        self.shared.gates.guard(listener.0, &mut options);
        self.engine.reload(listener, &options);
    }

    /// Asks and tells these hooks from now on, in the place of those before. No connection is lost; what a hook was asked
    /// and has not answered is asked anew. Where there were none before, hooks know of the connections that are there
    /// the address, the listener, the client identifier, the version, and the user name that they have claimed, which
    /// counts for nothing where hooks find out who clients are; but not what certificate or header they came with.
    ///
    /// # Errors
    /// If the broker has stopped, or is too busy: then some workers may have them and some not.
    pub fn set_hooks(&self, hooks: Hooks) -> Result<(), NotTaken> {
        let (hooks, poster) = (Arc::new(hooks), &self.handle.poster);
        self.shared.gates.set_hooks(hooks.clone());
        (0..poster.workers()).try_for_each(|worker| {
            poster.post(worker, Mail::Hooks(hooks.clone())).map_err(|_| NotTaken::Busy)
        })
    }

    /// Stops accepting and ends all connections: clients of 5.0 are told. What was sent is still written, within
    /// `grace`.
    pub fn stop(&self, grace: Duration) {
        self.engine.stop(grace);
    }

    /// Waits for the end. False if a worker panicked.
    pub fn join(mut self) -> bool {
        self.engine.wait()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // Nobody could stop it any more. One that has been waited for has ended already.
        self.engine.stop(Duration::ZERO);
        self.engine.wait();
    }
}

/// Messages for the program itself. Dropping it unsubscribes.
pub struct Subscription {
    messages: Receiver<Arc<Message>>,
    number: u64,
    worker: usize,
    poster: Poster<Mail>,
}

impl Subscription {
    pub(crate) fn new(
        messages: Receiver<Arc<Message>>,
        number: u64,
        worker: usize,
        poster: Poster<Mail>,
    ) -> Subscription {
        Subscription { messages, number, worker, poster }
    }

    /// Waits for the next message, however long; `None` if the broker has stopped.
    pub(crate) fn next(&self) -> Option<Arc<Message>> {
        self.messages.recv().ok()
    }

    /// Waits for the next message.
    ///
    /// # Errors
    /// If none comes in time, or the broker has stopped.
    pub fn recv_timeout(&self, time: Duration) -> Result<Arc<Message>, RecvTimeoutError> {
        self.messages.recv_timeout(time)
    }

    /// The next message, if one waits.
    ///
    /// # Errors
    /// If none does, or the broker has stopped.
    pub fn try_recv(&self) -> Result<Arc<Message>, TryRecvError> {
        self.messages.try_recv()
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").field("number", &self.number).finish_non_exhaustive()
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        // A broker that has stopped has forgotten it anyway.
        let _ = self.poster.post(self.worker, Mail::Unsubscribe(self.number));
    }
}

/// What nobody outside knows: the standard library draws it for its own hash maps.
fn random_key() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(std::process::id())
}
