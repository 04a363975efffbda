//! An MQTT client that survives every reconnect: 3.1, 3.1.1 and 5.0 over TCP, TLS, WebSocket, secure WebSocket and
//! Unix sockets.
//!
//! The connection is owned by a task of the library's own: keep alive, acknowledgements and reconnects go on whatever
//! the program does or doesn't await.
//!
//! ```no_run
//! use mqway_client::{Client, Endpoint, Message, QoS};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::start(Endpoint::new("ws://localhost:8083/mqtt"), Default::default());
//! let mut greetings = client.subscribe("greetings/#", QoS::AtLeastOnce).await?;
//!
//! // Resolves when the server has acknowledged it, also if the connection is lost meanwhile.
//! client.publish(Message { qos: QoS::AtLeastOnce, ..Message::new("greetings/all", "hello") }).await?;
//!
//! if let Some(greeting) = greetings.next().await {
//!     println!("{}: {}", greeting.topic, String::from_utf8_lossy(&greeting.payload));
//! }
//! client.disconnect().await;
//! # Ok(())
//! # }
//! ```
//!
//! A token that expires is asked for anew at each attempt to connect:
//!
//! ```no_run
//! use mqway_client::{Client, Endpoint, Options};
//!
//! # async fn fetch_token() -> String { String::new() }
//! # fn example() {
//! let client = Client::start_with(
//!     |_attempt| async { Endpoint::new("wss://broker.example.com/mqtt").user("me", fetch_token().await) },
//!     Options::default(),
//! );
//! # drop(client);
//! # }
//! ```

#![forbid(unsafe_code)]

mod backoff;
mod endpoint;
mod error;
mod options;
mod task;
mod wire;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_core::Stream;
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio::time::Instant;

pub use backoff::Backoff;
pub use endpoint::Endpoint;
pub use error::{ConnectError, PublishError, SubscribeError};
pub use mqway_codec::{PropertiesBuf, Property, QoS, ReasonCode, RetainHandling, SubscribeOptions, Version};
pub use mqway_session::client::{AckToken, Incoming, Message, SessionLost, Subscription as Wanted};
pub use options::Options;
use task::{Books, Codes, Command, Control, Ears, Task};

/// Connection events that a slow listener may leave unread before it misses some.
const EVENTS: usize = 64;

/// Asks the program where to connect, before each attempt.
type Provider = Box<dyn FnMut(u64) -> Pin<Box<dyn Future<Output = Endpoint> + Send>> + Send>;

/// A handle of a client; clones name the same one. When the last is gone, the client says goodbye and ends.
#[derive(Clone, Debug)]
pub struct Client {
    commands: mpsc::Sender<Command>,
    control: mpsc::UnboundedSender<Control>,
    events: broadcast::Sender<ConnectionEvent>,
    version: Version,
    buffer: usize,
}

/// What happens to the connection.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ConnectionEvent {
    /// The server has accepted a connection.
    Connected {
        /// It still has the session of the connection before.
        session_present: bool,
        /// What its CONNACK says (5.0).
        properties: PropertiesBuf,
    },
    /// There is no connection, or no more.
    Lost {
        /// Why.
        error: Arc<ConnectError>,
        /// When the next attempt comes; `None`: never.
        retry_in: Option<Duration>,
    },
}

impl Client {
    /// Starts a client of one server, on the runtime that this is called in. It connects in the background.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn start(endpoint: Endpoint, options: Options) -> Client {
        Client::start_with(move |_| std::future::ready(endpoint.clone()), options)
    }

    /// Starts a client of several servers: they are tried in turn, from the first, until one accepts.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn start_any(endpoints: Vec<Endpoint>, options: Options) -> Client {
        let choose = move |attempt: u64| {
            let index = attempt.checked_rem(endpoints.len() as u64).unwrap_or(0) as usize;
            std::future::ready(endpoints.get(index).cloned().unwrap_or_default())
        };
        Client::start_with(choose, options)
    }

    /// Starts a client that asks `provider` before each attempt where to connect, and as whom. It is told how many
    /// attempts have failed since the last connection.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn start_with<F>(mut provider: impl FnMut(u64) -> F + Send + 'static, mut options: Options) -> Client
    where
        F: Future<Output = Endpoint> + Send + 'static,
    {
        if options.client_id.is_empty()
            && (options.version != Version::V5 || options.session_expiry.is_some())
        {
            options.client_id = random_client_id();
        }
        let (commands, commanded) = mpsc::channel(options.queue.max(1));
        let (control, controlled) = mpsc::unbounded_channel();
        let (events, _) = broadcast::channel(EVENTS);
        let client = Client {
            commands,
            control,
            events: events.clone(),
            version: options.version,
            buffer: options.buffer,
        };
        let task = Task {
            session: mqway_session::client::Client::new(options.session()),
            provider: Box::new(move |attempt| Box::pin(provider(attempt))),
            ears: Ears { commands: commanded, control: controlled, queue: options.queue.max(1) },
            events,
            started: Instant::now(),
            books: Books::default(),
            was_connected: false,
            options,
        };
        tokio::spawn(task.run());
        client
    }

    /// Publishes a message, and resolves when it is done with: for QoS 0 when it was given to the network, for QoS 1
    /// and 2 when the server has acknowledged it. Waits while too many messages wait, and through reconnects.
    /// Dropping the future does not take the message back.
    ///
    /// # Errors
    /// If the message was refused or cannot be sent.
    pub async fn publish(&self, message: impl Into<Arc<Message>>) -> Result<ReasonCode, PublishError> {
        self.enqueue(message).await?.await
    }

    /// Adds a message to those to be sent, and waits only until there is room among them. The [`Delivery`] tells, if
    /// anybody asks, what became of it. Messages are sent in the order in which they were added.
    ///
    /// # Errors
    /// If the client has ended.
    pub async fn enqueue(&self, message: impl Into<Arc<Message>>) -> Result<Delivery, PublishError> {
        let (done, result) = oneshot::channel();
        let command = Command::Publish { message: message.into(), done: Some(done) };
        self.commands.send(command).await.map_err(|_| PublishError::Ended)?;
        Ok(Delivery(result))
    }

    /// Adds a message to those to be sent, if there is room, and waits for nothing.
    ///
    /// # Errors
    /// If as many messages wait as may; or if the client has ended.
    pub fn try_publish(&self, message: impl Into<Arc<Message>>) -> Result<(), PublishError> {
        let command = Command::Publish { message: message.into(), done: None };
        self.commands.try_send(command).map_err(|error| match error {
            mpsc::error::TrySendError::Full(Command::Publish { message, .. }) => {
                PublishError::QueueFull(message)
            }
            _ => PublishError::Ended,
        })
    }

    /// Subscribes to one filter. The stream gives the messages that match it, until it is dropped.
    ///
    /// # Errors
    /// If the server refuses, or the connection is lost before it answers.
    pub async fn subscribe(&self, filter: &str, qos: QoS) -> Result<Subscription, SubscribeError> {
        let options = SubscribeOptions::new(qos);
        self.subscribe_all(vec![Wanted { filter: filter.into(), options, identifier: None }]).await
    }

    /// Subscribes to several filters, with all options, in one stream.
    ///
    /// # Errors
    /// If the server refuses all of them, or the connection is lost before it answers. Which of them it grants is
    /// in [`Subscription::codes`].
    pub async fn subscribe_all(&self, wanted: Vec<Wanted>) -> Result<Subscription, SubscribeError> {
        for one in &wanted {
            task::checked(self.version, one)?;
        }
        let filters = wanted.iter().map(|one| one.filter.clone()).collect();
        let (sink, messages) = mpsc::channel(self.buffer.max(1));
        let (done, answer) = oneshot::channel();
        // Made before the request goes out, so that giving up on the answer takes the subscription back.
        let mut subscription = Subscription { messages, filters, codes: Vec::new(), client: self.clone() };
        let command = Command::Subscribe { wanted, sink: Some(sink), done };
        self.commands.send(command).await.map_err(|_| SubscribeError::Ended)?;
        subscription.codes = answer.await.unwrap_or(Err(SubscribeError::Ended))?;
        match subscription.codes.iter().find(|code| code.is_error()) {
            Some(refused) if subscription.codes.iter().all(|code| code.is_error()) => {
                Err(SubscribeError::Refused(*refused))
            }
            _ => Ok(subscription),
        }
    }

    /// Every message that comes from now on, whichever subscription it is for: also one that an earlier program made,
    /// if this client continues its session. Whoever wants to miss none calls this before anything is awaited.
    pub fn messages(&self) -> Subscription {
        let (sink, messages) = mpsc::channel(self.buffer.max(1));
        // A client that has ended gives an empty stream.
        let _ = self.control.send(Control::Listen(sink));
        Subscription { messages, filters: Vec::new(), codes: Vec::new(), client: self.clone() }
    }

    /// Subscribes without a stream of its own, for those who read [`Client::messages`], and tells what the server
    /// has granted or refused, in the order of the filters.
    ///
    /// # Errors
    /// If one of them is no filter, or the connection is lost before the server answers.
    pub async fn subscribe_only(&self, wanted: Vec<Wanted>) -> Result<Vec<ReasonCode>, SubscribeError> {
        for one in &wanted {
            task::checked(self.version, one)?;
        }
        let (done, answer) = oneshot::channel();
        let command = Command::Subscribe { wanted, sink: None, done };
        self.commands.send(command).await.map_err(|_| SubscribeError::Ended)?;
        answer.await.unwrap_or(Err(SubscribeError::Ended))
    }

    /// Asks for no more messages of a filter. Its streams stay, and give what comes by other filters.
    ///
    /// # Errors
    /// If the server refuses, or the connection is lost before it answers.
    pub async fn unsubscribe(&self, filter: &str) -> Result<(), SubscribeError> {
        let (done, answer) = oneshot::channel();
        let command = Command::Unsubscribe { filters: vec![filter.into()], done: Some(done) };
        self.commands.send(command).await.map_err(|_| SubscribeError::Ended)?;
        let codes: Codes = answer.await.unwrap_or(Err(SubscribeError::Ended));
        match codes?.into_iter().find(|code| code.is_error()) {
            Some(refused) => Err(SubscribeError::Refused(refused)),
            None => Ok(()),
        }
    }

    /// Acknowledges a message, where [`Options::manual_acknowledgement`] asks for that.
    pub fn acknowledge(&self, token: AckToken) {
        // A client that has ended has nothing to acknowledge to.
        let _ = self.control.send(Control::Acknowledge(token));
    }

    /// What happens to the connection, from now on. A listener that is too slow misses the oldest events.
    pub fn events(&self) -> broadcast::Receiver<ConnectionEvent> {
        self.events.subscribe()
    }

    /// Ends the client: delivers what waits, sends DISCONNECT and closes, within [`Options::shutdown_time`].
    pub async fn disconnect(&self) {
        self.disconnect_with(ReasonCode::NORMAL_DISCONNECTION).await;
    }

    /// Ends the client with another reason (5.0): [`ReasonCode::DisconnectWithWill`], say.
    pub async fn disconnect_with(&self, reason: ReasonCode) {
        let (done, ended) = oneshot::channel();
        if self.control.send(Control::Disconnect { reason, done }).is_ok() {
            // An error means that it has ended, too.
            let _ = ended.await;
        }
    }
}

/// Resolves when a message is done with, as [`Client::publish`] does. Dropping it does not take the message back.
#[derive(Debug)]
pub struct Delivery(oneshot::Receiver<Result<ReasonCode, PublishError>>);

impl Future for Delivery {
    type Output = Result<ReasonCode, PublishError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map(|result| result.unwrap_or(Err(PublishError::Ended)))
    }
}

/// Messages that match a subscription. Dropping it ends the subscription. It is a handle of its client, too.
#[derive(Debug)]
pub struct Subscription {
    messages: mpsc::Receiver<Incoming>,
    filters: Vec<Box<str>>,
    codes: Vec<ReasonCode>,
    client: Client,
}

impl Subscription {
    /// The next message; `None` once the client has ended.
    pub async fn next(&mut self) -> Option<Incoming> {
        self.messages.recv().await
    }

    /// What the server has granted, in the order of the filters.
    pub fn codes(&self) -> &[ReasonCode] {
        &self.codes
    }
}

impl Stream for Subscription {
    type Item = Incoming;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Incoming>> {
        self.messages.poll_recv(cx)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.messages.close();
        // A client that has ended has no subscriptions.
        let _ = self.client.control.send(Control::Dropped(std::mem::take(&mut self.filters)));
    }
}

/// An identifier that nobody else has, in letters that every server takes.
fn random_client_id() -> String {
    let mut bytes = [0; 8];
    // Without chance the time still tells clients apart.
    if getrandom::fill(&mut bytes).is_err() {
        let time = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        bytes = (time.as_nanos() as u64).to_ne_bytes();
    }
    format!("mqway{:016x}", u64::from_ne_bytes(bytes))
}
