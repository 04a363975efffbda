//! The task that owns the connection: nothing depends on the program polling anything.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use mqway_codec::{Connect, PropertiesBuf, Property, QoS, ReasonCode, TopicFilter, TopicName, Version, Will};
use mqway_session::client::{
    AckToken, Client as Session, Event, Incoming, Message, NotAccepted, Outcome, Subscription as Wanted,
    Ticket,
};
use mqway_transport::websocket::CloseCode;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::endpoint::Reach;
use crate::error::{ConnectError, PublishError, SubscribeError};
use crate::wire::Wire;
use crate::{ConnectionEvent, Options, Provider};

/// Bytes that may wait for the socket before no more is accepted to be sent.
const MOST_QUEUED: usize = 1024 * 1024;

/// What handles ask of the task, as long as there is room.
pub(crate) enum Command {
    Publish {
        message: Arc<Message>,
        done: Option<oneshot::Sender<Result<ReasonCode, PublishError>>>,
    },
    /// Without a sink, the messages are for those who listen to everything.
    Subscribe {
        wanted: Vec<Wanted>,
        sink: Option<mpsc::Sender<Incoming>>,
        done: oneshot::Sender<Codes>,
    },
    Unsubscribe {
        filters: Vec<Box<str>>,
        done: Option<oneshot::Sender<Codes>>,
    },
}

/// What they ask at any time.
pub(crate) enum Control {
    Acknowledge(AckToken),
    /// A stream of everything that comes.
    Listen(mpsc::Sender<Incoming>),
    /// A subscription's stream is gone.
    Dropped(Vec<Box<str>>),
    Disconnect {
        reason: ReasonCode,
        done: oneshot::Sender<()>,
    },
}

pub(crate) type Codes = Result<Vec<ReasonCode>, SubscribeError>;

enum Waiter {
    Publish(oneshot::Sender<Result<ReasonCode, PublishError>>),
    Request(oneshot::Sender<Codes>),
}

/// A stream of messages that a program reads.
struct Stream {
    /// `None`: of all.
    filters: Option<Vec<Box<str>>>,
    sink: mpsc::Sender<Incoming>,
}

pub(crate) struct Task {
    pub options: Options,
    pub provider: Provider,
    pub ears: Ears,
    pub events: broadcast::Sender<ConnectionEvent>,
    pub session: Session,
    pub started: Instant,
    pub books: Books,
    /// A server has accepted a connection.
    pub was_connected: bool,
}

/// Where the program's wishes arrive.
pub(crate) struct Ears {
    pub commands: mpsc::Receiver<Command>,
    pub control: mpsc::UnboundedReceiver<Control>,
    pub queue: usize,
}

/// Who waits for what.
#[derive(Default)]
pub(crate) struct Books {
    waiters: HashMap<Ticket, Waiter>,
    streams: Vec<Stream>,
    /// Messages that a stream had no room for. While there are any, the network is not read.
    backlog: VecDeque<(mpsc::Sender<Incoming>, Incoming)>,
    last_ticket: Ticket,
    leaving: Option<Leaving>,
}

/// The program wants to end, once all is delivered or the time for that is over.
struct Leaving {
    reason: ReasonCode,
    by: Instant,
    /// Who waits for the end. `None`: all handles are gone, and nobody can ask for anything any more.
    done: Option<oneshot::Sender<()>>,
}

/// How a connection ended.
enum End {
    /// As the program wanted.
    Left,
    Lost(ConnectError),
}

impl Task {
    /// Runs until the program wants no more, or nothing can ever connect.
    pub async fn run(mut self) {
        let mut failures = 0;
        loop {
            let begun = Instant::now();
            let error = match self.connection(failures).await {
                End::Left => break,
                End::Lost(error) => error,
            };
            self.session.lost();
            self.settle();
            let good = begun.elapsed() >= self.options.backoff.stable;
            failures = if good { 1 } else { failures.saturating_add(1) };
            log::info!("mqtt: {error}");
            let last = error.is_final();
            let wait = self.options.backoff.wait(failures, chance());
            // Nobody needs to listen.
            let _ = self
                .events
                .send(ConnectionEvent::Lost { error: Arc::new(error), retry_in: (!last).then_some(wait) });
            if last || !self.rest(wait).await {
                break;
            }
        }
        self.end();
    }

    /// Connects and lives on the connection.
    async fn connection(&mut self, failures: u32) -> End {
        let deadline = Instant::now() + self.options.connect_time;
        let endpoint = (self.provider)(u64::from(failures)).await;
        let reach = match endpoint.reach() {
            Ok(reach) => reach,
            Err(error) => return End::Lost(error),
        };
        let mut wire = match self.open(&reach, deadline).await {
            Ok(Some(wire)) => wire,
            Ok(None) => return End::Left,
            Err(error) => return End::Lost(error),
        };
        if let Err(error) = self.begin(&reach) {
            return End::Lost(error);
        }
        match self.live(&mut wire, deadline).await {
            Ok(()) => {
                self.say_goodbye(&mut wire).await;
                End::Left
            }
            Err(error) => {
                self.last_words(&mut wire).await;
                End::Lost(error)
            }
        }
    }

    /// Makes the network connection, and still listens to the program. `None`: it wants to end.
    async fn open(&mut self, reach: &Reach, deadline: Instant) -> Result<Option<Wire>, ConnectError> {
        let mut opening = std::pin::pin!(timeout_at(deadline, Wire::open(reach)));
        loop {
            if self.may_leave() {
                return Ok(None);
            }
            let leave_by = self.leave_by();
            tokio::select! {
                opened = &mut opening => return opened.map_err(|_| ConnectError::TimedOut)?.map(Some),
                () = sleep_until(leave_by.unwrap_or_else(far_away)) => {}
                wish = self.ears.listen(self.session.pending()), if self.hears() => self.grant(wish),
            }
        }
    }

    /// Whether the program wants to end, and there is nothing left to deliver or no time.
    fn may_leave(&self) -> bool {
        let Some(leaving) = &self.books.leaving else {
            return false;
        };
        self.session.pending() == 0 || Instant::now() >= leaving.by
    }

    fn leave_by(&self) -> Option<Instant> {
        self.books.leaving.as_ref().map(|leaving| leaving.by)
    }

    /// Whether anybody can still ask for anything.
    fn hears(&self) -> bool {
        self.books.leaving.as_ref().is_none_or(|leaving| leaving.done.is_some())
    }

    /// Does what the program wants.
    fn grant(&mut self, wish: Wish) {
        let now = self.started.elapsed();
        let by = Instant::now() + self.options.shutdown_time;
        match wish {
            Wish::Command(command) => self.books.command(&mut self.session, now, command),
            Wish::Control(Control::Disconnect { reason, done }) => {
                self.books.leaving = Some(Leaving { reason, by, done: Some(done) });
            }
            Wish::Control(control) => self.books.control(&mut self.session, now, control),
            Wish::None => {
                let reason = ReasonCode::NORMAL_DISCONNECTION;
                self.books.leaving.get_or_insert(Leaving { reason, by, done: None }).done = None;
            }
        }
    }

    fn begin(&mut self, reach: &Reach) -> Result<(), ConnectError> {
        let options = &self.options;
        let mut properties = options.properties.clone();
        if let Some(expiry) = options.session_expiry {
            let seconds = u32::try_from(expiry.as_secs()).unwrap_or(u32::MAX);
            properties.push(Property::SessionExpiryInterval(seconds))?;
        }
        let none = PropertiesBuf::new();
        let will_properties = options.will.as_ref().map_or(&none, |will| &will.properties);
        let mut connect = Connect::new(options.version, &options.client_id);
        connect.keep_alive = options.keep_alive;
        // Whoever has been connected before wants that session back.
        let fresh = options.clean_start && !self.was_connected && options.version == Version::V5;
        connect.clean_start = options.session_expiry.is_none() || fresh;
        connect.user_name = reach.user.as_deref();
        connect.password = reach.password.as_deref();
        connect.properties = properties.as_properties();
        connect.will = options.will.as_ref().map(|will| Will {
            topic: &will.topic,
            payload: &will.payload,
            qos: will.qos,
            retain: will.retain,
            properties: will_properties.as_properties(),
        });
        Ok(self.session.begin(self.started.elapsed(), &connect)?)
    }

    /// Moves packets between session and wire until the program wants to end and all is delivered.
    async fn live(&mut self, wire: &mut Wire, accept_by: Instant) -> Result<(), ConnectError> {
        loop {
            send_output(&mut self.session, wire)?;
            self.settle_on(wire)?;
            if self.may_leave() {
                return Ok(());
            }
            let wake = self.session.poll_timeout().map(|at| self.started + at);
            let accept_by = (!self.session.is_connected()).then_some(accept_by);
            let wake = [wake, accept_by, self.leave_by()].into_iter().flatten().min();
            let full = self.books.backlog.front().map(|(sink, _)| sink.clone());
            let hears = self.hears() && wire.queued() < MOST_QUEUED;
            tokio::select! {
                turned = wire.turn(full.is_none()) => {
                    turned?;
                    let used = self.session.handle(self.started.elapsed(), wire.received())?;
                    wire.received().drain(..used);
                }
                () = make_room(full.as_ref()), if full.is_some() => {}
                wish = self.ears.listen(self.session.pending()), if hears => self.grant(wish),
                () = sleep_until(wake.unwrap_or_else(far_away)) => {
                    if accept_by.is_some_and(|by| Instant::now() >= by) {
                        return Err(ConnectError::TimedOut);
                    }
                    self.session.handle_timeout(self.started.elapsed())?;
                }
            }
        }
    }

    /// Hands on what the session has to tell; ends the connection where it says so.
    fn settle_on(&mut self, wire: &Wire) -> Result<(), ConnectError> {
        match self.settle() {
            Some(error) => Err(error),
            None if wire.is_ended() => Err(ConnectError::Closed),
            None => Ok(()),
        }
    }

    /// Hands on what the session has to tell. Returns why the connection is over, if it is.
    fn settle(&mut self) -> Option<ConnectError> {
        let mut over = None;
        while let Some(event) = self.session.next_event() {
            match event {
                Event::Connected { session_present, properties } => {
                    self.was_connected = true;
                    let _ = self.events.send(ConnectionEvent::Connected { session_present, properties });
                }
                Event::Refused { reason, .. } => over = Some(ConnectError::Refused(reason)),
                Event::Disconnected { reason, .. } => over = Some(ConnectError::Disconnected(reason)),
                Event::Message(incoming) => self.books.hand_on(incoming),
                Event::Published { ticket, outcome } => self.books.published(ticket, outcome),
                Event::Answered { ticket, codes } => self.books.answered(ticket, Ok(codes)),
                Event::Unanswered { ticket } => self.books.answered(ticket, Err(SubscribeError::Unanswered)),
                Event::Auth { .. } => {}
            }
        }
        self.books.drain_backlog();
        over
    }

    /// Waits before the next attempt, and still listens to the program. False: it wants to end.
    async fn rest(&mut self, wait: Duration) -> bool {
        let until = Instant::now() + wait;
        loop {
            if self.may_leave() {
                return false;
            }
            let wake = self.leave_by().map_or(until, |by| by.min(until));
            tokio::select! {
                () = sleep_until(wake) => {
                    if Instant::now() >= until {
                        return !self.may_leave();
                    }
                }
                wish = self.ears.listen(self.session.pending()), if self.hears() => self.grant(wish),
            }
        }
    }

    /// DISCONNECT, and the goodbyes of the layers below, in bounded time.
    async fn say_goodbye(&mut self, wire: &mut Wire) {
        let leaving = self.books.leaving.as_ref();
        let reason = leaving.map_or(ReasonCode::NORMAL_DISCONNECTION, |leaving| leaving.reason);
        self.session.disconnect(reason, self.options.disconnect_properties.as_properties());
        self.last_words(wire).await;
    }

    /// Writes what there still is to say, and waits for the server's goodbye, in bounded time.
    async fn last_words(&mut self, wire: &mut Wire) {
        let by = Instant::now() + self.options.shutdown_time;
        let words = async {
            send_output(&mut self.session, wire)?;
            wire.close(CloseCode::NORMAL);
            wire.seal()?;
            while wire.has_output() || wire.awaits_close() {
                wire.turn(true).await?;
            }
            Ok::<(), ConnectError>(())
        };
        // A connection that is broken already needs no goodbye.
        let _ = timeout_at(by, words).await;
    }

    /// Tells everyone who waits that nothing more will come.
    fn end(&mut self) {
        self.session.lost();
        self.settle();
        self.books.waiters.clear();
        self.books.streams.clear();
        // Whoever asked may have gone; dropping the sender tells as much as sending.
        self.books.leaving = None;
    }
}

/// What the program wants.
enum Wish {
    Command(Command),
    Control(Control),
    /// All handles are gone.
    None,
}

impl Ears {
    /// Waits for a wish of the program: for more to send only while fewer than [`Options::queue`] are `pending`.
    async fn listen(&mut self, pending: usize) -> Wish {
        tokio::select! {
            biased;
            Some(control) = self.control.recv() => Wish::Control(control),
            command = self.commands.recv(), if pending < self.queue => {
                command.map_or(Wish::None, Wish::Command)
            }
            // Nobody is there, and there is no room yet for what they had asked for.
            else => std::future::pending().await,
        }
    }
}

/// Waits until the stream at the front of the backlog has room, or is gone.
async fn make_room(full: Option<&mpsc::Sender<Incoming>>) {
    if let Some(sink) = full {
        // The room is taken at the next turn; nobody else sends there.
        let _ = sink.reserve().await;
    }
}

fn send_output(session: &mut Session, wire: &mut Wire) -> Result<(), ConnectError> {
    for packet in session.output().packets() {
        wire.send(packet);
    }
    session.output().clear();
    wire.seal()
}

fn far_away() -> Instant {
    Instant::now() + Duration::from_secs(24 * 60 * 60)
}

fn chance() -> u32 {
    let mut bytes = [0; 4];
    // Without chance all clients wait alike, which is no reason to fail.
    let _ = getrandom::fill(&mut bytes);
    u32::from_ne_bytes(bytes)
}

impl Books {
    fn ticket(&mut self, waiter: Option<Waiter>) -> Ticket {
        self.last_ticket += 1;
        if let Some(waiter) = waiter {
            self.waiters.insert(self.last_ticket, waiter);
        }
        self.last_ticket
    }

    fn command(&mut self, session: &mut Session, now: Duration, command: Command) {
        match command {
            Command::Publish { message, done } => {
                let ticket = self.ticket(done.map(Waiter::Publish));
                if let Err(refused) = session.publish(now, ticket, message) {
                    let error = match refused {
                        NotAccepted::QueueFull(message) => PublishError::QueueFull(message),
                        NotAccepted::QosNotSupported(message) => PublishError::QosNotSupported(message),
                    };
                    self.tell_publisher(ticket, Err(error));
                }
            }
            Command::Subscribe { wanted, sink, done } => {
                if let Some(sink) = sink {
                    let filters = Some(wanted.iter().map(|one| one.filter.clone()).collect());
                    self.streams.push(Stream { filters, sink });
                }
                let ticket = self.ticket(Some(Waiter::Request(done)));
                session.subscribe(now, ticket, wanted);
            }
            Command::Unsubscribe { filters, done } => {
                let ticket = self.ticket(done.map(Waiter::Request));
                session.unsubscribe(now, ticket, filters);
            }
        }
    }

    fn control(&mut self, session: &mut Session, now: Duration, control: Control) {
        match control {
            Control::Acknowledge(token) => session.acknowledge(now, token),
            Control::Listen(sink) => self.streams.push(Stream { filters: None, sink }),
            Control::Dropped(filters) => {
                self.streams.retain(|stream| !stream.sink.is_closed());
                let still_wanted = |filter: &str| {
                    let mut wanted = self.streams.iter().flat_map(|stream| stream.filters.iter().flatten());
                    wanted.any(|other| **other == *filter)
                };
                let unwanted: Vec<_> = filters.into_iter().filter(|filter| !still_wanted(filter)).collect();
                if !unwanted.is_empty() {
                    let ticket = self.ticket(None);
                    session.unsubscribe(now, ticket, unwanted);
                }
            }
            // It concerns the task alone.
            Control::Disconnect { .. } => {}
        }
    }

    /// Gives a message to each stream that asked for its topic.
    fn hand_on(&mut self, incoming: Incoming) {
        let Ok(topic) = TopicName::new(&incoming.topic) else {
            return;
        };
        let matches = |filter: &str| {
            TopicFilter::new(filter).is_ok_and(|filter| match filter.share() {
                Some((_, shared)) => shared.matches(topic),
                None => filter.matches(topic),
            })
        };
        let mut found = false;
        for stream in &self.streams {
            if stream.filters.as_ref().is_none_or(|filters| filters.iter().any(|filter| matches(filter))) {
                found = true;
                self.backlog.push_back((stream.sink.clone(), incoming.clone()));
            }
        }
        if !found {
            log::debug!("mqtt: a message on {:?} that nobody has subscribed to", incoming.topic);
        }
    }

    fn drain_backlog(&mut self) {
        while let Some((sink, incoming)) = self.backlog.pop_front() {
            match sink.try_send(incoming) {
                Ok(()) | Err(TrySendError::Closed(_)) => {}
                Err(TrySendError::Full(incoming)) => {
                    self.backlog.push_front((sink, incoming));
                    break;
                }
            }
        }
    }

    fn published(&mut self, ticket: Ticket, outcome: Outcome) {
        let result = match outcome {
            Outcome::Sent => Ok(ReasonCode::Success),
            Outcome::Answered(reason) if reason.is_error() => Err(PublishError::Refused(reason)),
            Outcome::Answered(reason) => Ok(reason),
            Outcome::SessionLost(message) => Err(PublishError::SessionLost(message)),
            Outcome::TooLarge(message) => Err(PublishError::TooLarge(message)),
            Outcome::Invalid(message) => Err(PublishError::Invalid(message)),
        };
        self.tell_publisher(ticket, result);
    }

    fn tell_publisher(&mut self, ticket: Ticket, result: Result<ReasonCode, PublishError>) {
        match self.waiters.remove(&ticket) {
            // Whoever asked may have stopped waiting.
            Some(Waiter::Publish(done)) => drop(done.send(result)),
            _ => {
                if let Err(error) = result {
                    log::warn!("mqtt: a message that nobody waits for: {error}");
                }
            }
        }
    }

    fn answered(&mut self, ticket: Ticket, codes: Codes) {
        if let Some(Waiter::Request(done)) = self.waiters.remove(&ticket) {
            drop(done.send(codes));
        }
    }
}

/// The version that a subscription's options are meant for.
pub(crate) fn checked(version: Version, wanted: &Wanted) -> Result<(), SubscribeError> {
    debug_assert!(wanted.options.qos <= QoS::ExactlyOnce);
    TopicFilter::for_version(version, &wanted.filter)
        .map(drop)
        .map_err(|_| SubscribeError::Filter(wanted.filter.to_string()))
}
