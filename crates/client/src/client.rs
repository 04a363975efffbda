//! A handle of a client: what a program can ask of it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use mqway_codec::{QoS, ReasonCode, Version};
use mqway_session::client::{AckToken, Client as Session, Message, Receipt, Subscription as Wanted};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::authentication::Authentication;
use crate::books::{self, Books};
use crate::delivery::{Delivery, Stored};
use crate::endpoint::Endpoint;
use crate::error::{ConnectError, PublishError, SubscribeError};
use crate::events::{ConnectionEvent, Events, Listeners};
use crate::options::Options;
use crate::outbox::Journal;
use crate::random_client_id;
use crate::redirect::Redirects;
use crate::subscription::Subscription;
use crate::task::{Answered, Command, Control, Ears, Task};

/// Asks the program where to connect, before each attempt.
pub(crate) type Provider = Box<dyn FnMut(u64) -> Pin<Box<dyn Future<Output = Endpoint> + Send>> + Send>;

/// A handle of a client; clones name the same one. When the last is gone, the client says goodbye and ends.
///
/// ```
/// use mqway_client::{Client, ConnectionEvent, Endpoint, Options};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// // It connects in the background, and goes on trying unless that is hopeless.
/// let client = Client::start(Endpoint::new("gopher://example.com"), Options::default());
/// let mut events = client.events();
/// match events.next().await {
///     Some(ConnectionEvent::Lost { error, retry_in: None }) => println!("hopeless: {error}"),
///     other => panic!("{other:?}"),
/// }
/// # assert!(events.next().await.is_none());
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Client {
    commands: mpsc::Sender<Command>,
    pub(crate) control: mpsc::UnboundedSender<Control>,
    listeners: Listeners,
    pub(crate) version: Version,
    buffer: usize,
}

impl Client {
    /// Starts a client of one server, on the runtime that this is called in. It connects in the background.
    ///
    /// ```no_run
    /// use mqway_client::{Client, Endpoint, Options};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let client = Client::start(Endpoint::new("wss://broker.example.com/mqtt"), Options::default());
    /// # client.disconnect().await;
    /// # }
    /// ```
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn start(endpoint: Endpoint, options: Options) -> Client {
        Client::start_with(move |_| std::future::ready(endpoint.clone()), options)
    }

    /// Starts a client of several servers: they are tried in turn, from the first, until one accepts.
    ///
    /// ```no_run
    /// use mqway_client::{Client, Endpoint, Options};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let servers = ["tls://one.example.com", "tls://two.example.com"].map(Endpoint::new);
    /// let client = Client::start_any(servers.into(), Options::default());
    /// # client.disconnect().await;
    /// # }
    /// ```
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
    /// ```no_run
    /// use mqway_client::{Client, Endpoint, Options};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let provider = |failures| async move {
    ///     let token = tokio::task::spawn_blocking(|| std::fs::read_to_string("/run/secrets/token")).await;
    ///     let token = token.ok().and_then(Result::ok).unwrap_or_default();
    ///     // After some failures, the other one.
    ///     let host = if failures < 3 { "one" } else { "two" };
    ///     Endpoint::new(format!("wss://{host}.example.com/mqtt")).header("Authorization", format!("Bearer {token}"))
    /// };
    /// let client = Client::start_with(provider, Options::default());
    /// # client.disconnect().await;
    /// # }
    /// ```
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn start_with<F>(mut provider: impl FnMut(u64) -> F + Send + 'static, mut options: Options) -> Client
    where
        F: Future<Output = Endpoint> + Send + 'static,
    {
        if let Err(error) = options.check().and_then(|()| options.fit_outbox()) {
            return Client::ended(&options, error);
        }
        // Without a session a client of 5.0 may leave its name to the server. 3.1.1: [MQTT-3.1.3-7]
        if options.client_id.is_empty()
            && (options.version != Version::V5 || options.session_expiry.is_some())
        {
            options.client_id = random_client_id();
        }
        let (session, journal) = match options.outbox.as_ref().map(Journal::start).transpose() {
            Ok(None) => (Session::new(options.session()), None),
            Ok(Some((journal, saved))) => (Session::restore(options.session(), saved), Some(journal)),
            Err(error) => return Client::ended(&options, ConnectError::Outbox(Arc::new(error))),
        };
        let (client, ears) = Client::handle(&options);
        let holds = (journal.is_some() && !options.manual_acknowledgement).then(|| client.control.clone());
        let task = Task {
            session,
            provider: Box::new(move |attempt| Box::pin(provider(attempt))),
            ears,
            started: Instant::now(),
            books: Books::new(journal.is_some(), holds),
            journal,
            was_connected: false,
            listeners: client.listeners.clone(),
            redirects: Redirects::default(),
            authentication: None,
            leaving: None,
            options,
        };
        tokio::spawn(task.run());
        client
    }

    fn handle(options: &Options) -> (Client, Ears) {
        let (commands, commanded) = mpsc::channel(room(options.queue));
        let (control, controlled) = mpsc::unbounded_channel();
        let listeners = Listeners::default();
        let client =
            Client { commands, control, listeners, version: options.version, buffer: options.buffer };
        (client, Ears { commands: commanded, control: controlled })
    }

    /// A client that could not begin.
    fn ended(options: &Options, error: ConnectError) -> Client {
        log::error!("mqtt: {error}");
        let (client, _) = Client::handle(options);
        client.listeners.tell(&ConnectionEvent::Lost { error: Arc::new(error), retry_in: None });
        client.listeners.end();
        client
    }

    /// Publishes a message, and resolves when it is done with: for QoS 0 when it was given to the network, for QoS 1
    /// and 2 when the server has acknowledged it. Waits while too many messages wait, and through reconnects.
    /// Dropping the future does not take the message back.
    ///
    /// ```no_run
    /// use mqway_client::{Client, Message, QoS};
    ///
    /// # async fn example(client: Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let reading = Message { qos: QoS::AtLeastOnce, retain: true, ..Message::new("kitchen/temperature", "20.1") };
    /// let receipt = client.publish(reading).await?;
    /// println!("the server says: {receipt}");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// If the message was refused or cannot be sent.
    pub async fn publish(&self, message: impl Into<Arc<Message>>) -> Result<Receipt, PublishError> {
        self.enqueue(message).await?.await
    }

    /// Adds a message to those to be sent, and waits only until there is room among them. The [`Delivery`] tells, if
    /// anybody asks, what became of it. Messages are sent in the order in which they were added.
    ///
    /// ```no_run
    /// use mqway_client::{Client, Message, QoS};
    ///
    /// # async fn example(client: Client) -> Result<(), Box<dyn std::error::Error>> {
    /// // Many under way at once, in their order, without a task for each.
    /// let mut deliveries = Vec::new();
    /// for line in ["one", "two", "three"] {
    ///     let message = Message { qos: QoS::ExactlyOnce, ..Message::new("lines", line) };
    ///     deliveries.push(client.enqueue(message).await?);
    /// }
    /// for delivery in deliveries {
    ///     delivery.await?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// If the client has ended.
    pub async fn enqueue(&self, message: impl Into<Arc<Message>>) -> Result<Delivery, PublishError> {
        let (done, result) = oneshot::channel();
        let command = Command::Publish { message: message.into(), done: Some(done), stored: None };
        self.commands.send(command).await.map_err(|_| PublishError::Ended)?;
        Ok(Delivery(result))
    }

    /// Adds a message of QoS 1 or 2 to those to be sent, and resolves when the [`Outbox`](crate::Outbox) has it safe:
    /// it will be delivered then, also if the process ends now. Waits while the outbox is full. Any number of calls
    /// may wait at once, and share the disk's time.
    ///
    /// ```no_run
    /// # async fn example(client: mqway_client::Client) -> Result<(), mqway_client::PublishError> {
    /// # use mqway_client::{Message, QoS};
    /// let reading = Message { qos: QoS::ExactlyOnce, ..Message::new("readings", "21.5") };
    /// println!("number {}", client.store(reading).await?.position);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// If the message cannot be stored, or is none; if the client has no outbox, or has ended.
    pub async fn store(&self, message: impl Into<Arc<Message>>) -> Result<Stored, PublishError> {
        let (done, result) = oneshot::channel();
        let (stored, position) = oneshot::channel();
        let command = Command::Publish { message: message.into(), done: Some(done), stored: Some(stored) };
        self.commands.send(command).await.map_err(|_| PublishError::Ended)?;
        let position = position.await.unwrap_or(Err(PublishError::Ended))?;
        Ok(Stored { position, delivery: Delivery(result) })
    }

    /// [`Client::publish`] with a time limit. A message that was accepted before it passed is still delivered.
    ///
    /// ```no_run
    /// use std::time::Duration;
    /// use mqway_client::{Client, Message, PublishError, QoS};
    ///
    /// # async fn example(client: Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let message = Message { qos: QoS::AtLeastOnce, ..Message::new("a", "b") };
    /// match client.publish_within(message, Duration::from_secs(5)).await {
    ///     Err(PublishError::TimedOut) => println!("it is still on its way"),
    ///     other => println!("{other:?}"),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Client::publish`], and if the limit passes.
    pub async fn publish_within(
        &self,
        message: impl Into<Arc<Message>>,
        limit: Duration,
    ) -> Result<Receipt, PublishError> {
        tokio::time::timeout(limit, self.publish(message)).await.unwrap_or(Err(PublishError::TimedOut))
    }

    /// Adds a message to those to be sent, if there is room, and waits for nothing.
    ///
    /// ```
    /// use mqway_client::{Client, Endpoint, Message, Options, PublishError};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let options = Options { queue: 10, ..Options::default() };
    /// let client = Client::start(Endpoint::new("tcp://127.0.0.1:1"), options);
    /// let full = (0..100).find_map(|number| client.try_publish(Message::new("a", number.to_string())).err());
    /// // It is given back.
    /// assert!(matches!(full, Some(PublishError::QueueFull(message)) if *message.payload == *b"10"));
    /// # }
    /// ```
    ///
    /// # Errors
    /// If as many messages wait as may; or if the client has ended.
    pub fn try_publish(&self, message: impl Into<Arc<Message>>) -> Result<(), PublishError> {
        let command = Command::Publish { message: message.into(), done: None, stored: None };
        self.commands.try_send(command).map_err(|error| match error {
            mpsc::error::TrySendError::Full(Command::Publish { message, .. }) => {
                PublishError::QueueFull(message)
            }
            _ => PublishError::Ended,
        })
    }

    /// Subscribes to one filter. The stream gives the messages that match it, until it is dropped.
    ///
    /// ```no_run
    /// use mqway_client::{Client, QoS};
    ///
    /// # async fn example(client: Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let mut messages = client.subscribe("kitchen/+", QoS::AtLeastOnce).await?;
    /// while let Some(message) = messages.next().await {
    ///     println!("{}: {} bytes", message.topic, message.payload.len());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// If the server refuses, or the client ends before that.
    pub async fn subscribe(&self, filter: &str, qos: QoS) -> Result<Subscription, SubscribeError> {
        self.subscribe_all(vec![Wanted::new(filter, qos)]).await
    }

    /// Subscribes to several filters, with all options, in one stream.
    ///
    /// ```no_run
    /// use mqway_client::{Client, QoS, RetainHandling, SubscribeOptions, Wanted};
    ///
    /// # async fn example(client: Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let changes = SubscribeOptions { retain_handling: RetainHandling::DoNotSend, ..SubscribeOptions::new(QoS::AtMostOnce) };
    /// let wanted = vec![
    ///     Wanted::new("$share/workers/orders/#", QoS::ExactlyOnce),
    ///     Wanted { options: changes, ..Wanted::new("kitchen/#", QoS::AtMostOnce) },
    /// ];
    /// let messages = client.subscribe_all(wanted).await?;
    /// println!("granted: {:?}", messages.codes());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// If the server refuses all of them, or the client ends before that. Which of them it grants is
    /// in [`Subscription::codes`].
    pub async fn subscribe_all(&self, wanted: Vec<Wanted>) -> Result<Subscription, SubscribeError> {
        books::checked(self.version, wanted.iter().map(|one| &*one.filter))?;
        let filters = wanted.iter().map(|one| one.filter.clone()).collect();
        let (sink, messages) = mpsc::channel(room(self.buffer));
        let (done, answer) = oneshot::channel();
        // Made before the request goes out, so that giving up on the answer takes the subscription back.
        let mut subscription = Subscription::new(messages, filters, self.clone());
        let command = Command::Subscribe { wanted, sink: Some(subscription.sink(sink)), done };
        self.commands.send(command).await.map_err(|_| SubscribeError::Ended)?;
        let answered: Answered = answer.await.unwrap_or(Err(SubscribeError::Ended));
        (subscription.codes, subscription.properties) = answered?;
        // There is nothing to unsubscribe from where it was refused.
        let mut codes = subscription.codes.iter();
        subscription.filters.retain(|_| codes.next().is_none_or(|code| !code.is_error()));
        match subscription.codes.iter().find(|code| code.is_error()) {
            Some(refused) if subscription.codes.iter().all(|code| code.is_error()) => {
                Err(SubscribeError::Refused(*refused))
            }
            _ => Ok(subscription),
        }
    }

    /// Every message that comes from now on, whichever subscription it is for: also one that an earlier program made,
    /// if this client continues its session. Whoever wants to miss none calls this before anything is awaited.
    ///
    /// ```no_run
    /// use mqway_client::{Client, Endpoint, Options, QoS, Wanted};
    ///
    /// # async fn example(options: Options) -> Result<(), Box<dyn std::error::Error>> {
    /// let client = Client::start(Endpoint::new("tcp://localhost"), options);
    /// let mut all = client.messages();
    /// client.subscribe_only(vec![Wanted::new("a/#", QoS::AtLeastOnce), Wanted::new("b/#", QoS::AtLeastOnce)]).await?;
    /// while let Some(message) = all.next().await {
    ///     println!("{}", message.topic);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn messages(&self) -> Subscription {
        let (sink, messages) = mpsc::channel(room(self.buffer));
        let subscription = Subscription::new(messages, Vec::new(), self.clone());
        // A client that has ended gives an empty stream.
        let _ = self.control.send(Control::Listen(subscription.sink(sink)));
        subscription
    }

    /// Subscribes without a stream of its own, for those who read [`Client::messages`], and tells what the server
    /// has granted or refused, in the order of the filters.
    ///
    /// ```no_run
    /// use mqway_client::{Client, QoS, Wanted};
    ///
    /// # async fn example(client: Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let mut all = client.messages();
    /// for code in client.subscribe_only(vec![Wanted::new("a/#", QoS::AtLeastOnce)]).await? {
    ///     println!("{}", code.name());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// If one of them is no filter, or the client ends before the server answers.
    pub async fn subscribe_only(&self, wanted: Vec<Wanted>) -> Result<Vec<ReasonCode>, SubscribeError> {
        books::checked(self.version, wanted.iter().map(|one| &*one.filter))?;
        let (done, answer) = oneshot::channel();
        let command = Command::Subscribe { wanted, sink: None, done };
        self.commands.send(command).await.map_err(|_| SubscribeError::Ended)?;
        answer.await.unwrap_or(Err(SubscribeError::Ended)).map(|(codes, _)| codes)
    }

    /// Asks for no more messages of a filter. Its streams stay, and give what comes by other filters.
    ///
    /// ```no_run
    /// # async fn example(client: mqway_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// client.unsubscribe("kitchen/+").await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// If the server refuses, or the client ends before that.
    pub async fn unsubscribe(&self, filter: &str) -> Result<(), SubscribeError> {
        let codes = self.unsubscribe_all(&[filter]).await?;
        match codes.into_iter().find(|code| code.is_error()) {
            Some(refused) => Err(SubscribeError::Refused(refused)),
            None => Ok(()),
        }
    }

    /// Asks for no more messages of several filters. Returns the server's codes in their order; before 5.0 there are
    /// none.
    ///
    /// ```no_run
    /// # async fn example(client: mqway_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let codes = client.unsubscribe_all(&["kitchen/+", "garden/#"]).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// If one of them is no filter, or the client ends before the server answers.
    pub async fn unsubscribe_all(&self, filters: &[&str]) -> Result<Vec<ReasonCode>, SubscribeError> {
        books::checked(self.version, filters.iter().copied())?;
        let filters = filters.iter().map(|filter| Box::from(*filter)).collect();
        let (done, answer) = oneshot::channel();
        let command = Command::Unsubscribe { filters, done };
        self.commands.send(command).await.map_err(|_| SubscribeError::Ended)?;
        let answered: Answered = answer.await.unwrap_or(Err(SubscribeError::Ended));
        answered.map(|(codes, _)| codes)
    }

    /// Acknowledges a message, where [`Options::manual_acknowledgement`] asks for that.
    ///
    /// ```no_run
    /// use mqway_client::{Client, Endpoint, Options, QoS};
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let options = Options { manual_acknowledgement: true, receive_maximum: 10, ..Options::default() };
    /// let client = Client::start(Endpoint::new("tcp://localhost"), options);
    /// let mut orders = client.subscribe("orders/#", QoS::AtLeastOnce).await?;
    /// while let Some(order) = orders.next().await {
    ///     std::fs::write("last-order", &order.payload)?;
    ///     if let Some(token) = order.token {
    ///         client.acknowledge(token);
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn acknowledge(&self, token: AckToken) {
        // A client that has ended has nothing to acknowledge to.
        let _ = self.control.send(Control::Acknowledge(token));
    }

    /// Authenticates again on the present connection (5.0), by the method that it was made with: before a token
    /// expires, say. Resolves when the server is content.
    ///
    /// ```no_run
    /// use mqway_client::{Authentication, Client};
    ///
    /// # async fn example(client: Client, fresh: impl Authentication + 'static) -> Result<(), Box<dyn std::error::Error>> {
    /// client.reauthenticate(fresh).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// If there is no such connection, or the server or we ourselves are not content; then it is lost.
    pub async fn reauthenticate(&self, again: impl Authentication + 'static) -> Result<(), ConnectError> {
        let (done, answer) = oneshot::channel();
        let again: Arc<dyn Authentication> = Arc::new(again);
        self.control.send(Control::Authenticate { again, done }).map_err(|_| ConnectError::Closed)?;
        answer.await.unwrap_or(Err(ConnectError::Closed))
    }

    /// What happens to the connection, beginning with what holds now.
    ///
    /// ```no_run
    /// # async fn example(client: mqway_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let mut events = client.events();
    /// tokio::spawn(async move {
    ///     while let Some(event) = events.next().await {
    ///         eprintln!("{event}");
    ///     }
    /// });
    /// # Ok(())
    /// # }
    /// ```
    pub fn events(&self) -> Events {
        self.listeners.add()
    }

    /// Ends the client: delivers what waits, sends DISCONNECT and closes, within [`Options::shutdown_time`]. To ask again
    /// meanwhile is to wait for the same end.
    ///
    /// ```no_run
    /// use mqway_client::{Client, Message};
    ///
    /// # async fn example(client: Client) -> Result<(), Box<dyn std::error::Error>> {
    /// client.try_publish(Message::new("kitchen/state", "closing"))?;
    /// client.disconnect().await;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn disconnect(&self) {
        self.disconnect_with(ReasonCode::NORMAL_DISCONNECTION).await;
    }

    /// Ends the client with another reason (5.0): [`ReasonCode::DisconnectWithWill`], say.
    ///
    /// ```no_run
    /// use mqway_client::{Client, ReasonCode};
    ///
    /// # async fn example(client: Client) -> Result<(), Box<dyn std::error::Error>> {
    /// // The server is to publish the will all the same.
    /// client.disconnect_with(ReasonCode::DisconnectWithWill).await;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn disconnect_with(&self, reason: ReasonCode) {
        let (done, ended) = oneshot::channel();
        if self.control.send(Control::Disconnect { reason, done }).is_ok() {
            // An error means that it has ended, too.
            let _ = ended.await;
        }
    }
}

/// How many a channel holds where so many are asked for.
fn room(wanted: usize) -> usize {
    wanted.clamp(1, tokio::sync::Semaphore::MAX_PERMITS)
}
