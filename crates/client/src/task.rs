//! The task that owns the connection: nothing depends on the program polling anything.

use std::sync::Arc;
use std::time::Duration;

use mqway_codec::{Connect, PropertiesBuf, Property, ReasonCode, Version, Will};
use mqway_session::client::{
    AckToken, Client as Session, Event, Fault, Message, Output, Receipt, Subscription as Wanted,
};
use mqway_transport::websocket::CloseCode;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::authentication::{Authentication, Exchange};
use crate::books::Books;
use crate::client::Provider;
use crate::endpoint::{Endpoint, Reach};
use crate::error::{ConnectError, PublishError, SubscribeError};
use crate::events::Listeners;
use crate::hold::{Arrived, Sink};
use crate::outbox::Journal;
use crate::redirect::Redirects;
use crate::wire::Wire;
use crate::{ConnectionEvent, Options};

/// Bytes that may wait for the socket before no more is accepted to be sent.
const MOST_QUEUED: usize = 1024 * 1024;

/// Bytes that may wait for the socket before nothing is read: acknowledgements for a server that takes none. It is so
/// many more that a server which itself waits for us to read gets its turn.
const MOST_UNTAKEN: usize = 16 * MOST_QUEUED;

/// The least time for goodbyes, also where delivering has used up all there was.
const GOODBYE_TIME: Duration = Duration::from_millis(500);

/// Wishes that are granted before the network is looked at again.
const MOST_AT_ONCE: usize = 256;

/// What handles ask of the task, as long as there is room.
pub(crate) enum Command {
    Publish {
        message: Arc<Message>,
        done: Option<oneshot::Sender<Result<Receipt, PublishError>>>,
        /// It must be stored, and this told where.
        stored: Option<oneshot::Sender<Result<u64, PublishError>>>,
    },
    /// Without a sink, the messages are for those who listen to everything.
    Subscribe {
        wanted: Vec<Wanted>,
        sink: Option<Sink>,
        done: oneshot::Sender<Answered>,
    },
    Unsubscribe {
        filters: Vec<Box<str>>,
        done: oneshot::Sender<Answered>,
    },
}

/// What they ask at any time.
pub(crate) enum Control {
    Acknowledge(AckToken),
    /// The same, where a stream has let go of a message; tells when that is safe.
    LetGo {
        token: AckToken,
        safe: Option<oneshot::Sender<()>>,
    },
    /// A stream of everything that comes.
    Listen(Sink),
    /// A subscription's stream is gone.
    Dropped(Vec<Box<str>>),
    Authenticate {
        again: Arc<dyn Authentication>,
        done: oneshot::Sender<Result<(), ConnectError>>,
    },
    Disconnect {
        reason: ReasonCode,
        done: oneshot::Sender<()>,
    },
}

/// The codes of a SUBACK or UNSUBACK, and its properties.
pub(crate) type Answered = Result<(Vec<ReasonCode>, PropertiesBuf), SubscribeError>;

pub(crate) struct Task {
    pub options: Options,
    pub provider: Provider,
    pub ears: Ears,
    pub session: Session,
    pub started: Instant,
    pub books: Books,
    /// Where there is an outbox.
    pub journal: Option<Journal>,
    /// A server has accepted a connection.
    pub was_connected: bool,
    pub listeners: Listeners,
    pub redirects: Redirects,
    pub authentication: Option<Exchanging>,
    pub leaving: Option<Leaving>,
}

/// An exchange of enhanced authentication on the present connection, and who waits for its end.
pub(crate) struct Exchanging {
    exchange: Box<dyn Exchange>,
    done: Option<oneshot::Sender<Result<(), ConnectError>>>,
}

/// Where the program's wishes arrive.
pub(crate) struct Ears {
    pub commands: mpsc::Receiver<Command>,
    pub control: mpsc::UnboundedReceiver<Control>,
}

/// The program wants to end, once all is delivered or the time for that is over.
pub(crate) struct Leaving {
    reason: ReasonCode,
    by: Instant,
    /// Who waits for the end. `None`: all handles are gone, and nobody can ask for anything any more.
    done: Option<Vec<oneshot::Sender<()>>>,
}

/// How a connection ended.
enum End {
    /// As the program wanted.
    Left,
    Lost(ConnectError),
}

impl From<ConnectError> for End {
    fn from(error: ConnectError) -> End {
        End::Lost(error)
    }
}

impl Task {
    /// Runs until the program wants no more, or nothing can ever connect.
    pub async fn run(mut self) {
        let mut failures: u32 = 0;
        loop {
            let mut accepted = None;
            let End::Lost(error) = self.connection(failures, &mut accepted).await else {
                break;
            };
            self.session.lost();
            self.settle();
            self.note();
            self.authentication_failed(&error);
            let good = accepted.is_some_and(|at: Instant| at.elapsed() >= self.options.backoff.stable);
            failures = if good { 1 } else { failures.saturating_add(1) };
            log::info!("mqtt: {error}");
            let last = error.is_final();
            let redirected = self.options.follow_redirect && self.redirects.lost(&error, accepted.is_some());
            let wait =
                if redirected { Duration::ZERO } else { self.options.backoff.wait(failures, chance()) };
            let retry_in = (!last).then_some(wait);
            if let ConnectError::Outbox(error) = &error {
                self.books.not_stored(error);
            }
            self.listeners.tell(&ConnectionEvent::Lost { error: Arc::new(error), retry_in });
            if last || !self.rest(wait).await {
                break;
            }
        }
        self.end().await;
    }

    /// Connects and lives on the connection; tells when the server accepted it.
    async fn connection(&mut self, failures: u32, accepted: &mut Option<Instant>) -> End {
        match self.try_connection(failures, accepted).await {
            Ok(()) => End::Left,
            Err(end) => end,
        }
    }

    async fn try_connection(&mut self, failures: u32, accepted: &mut Option<Instant>) -> Result<(), End> {
        let deadline = from_now(self.options.connect_time);
        let provided = (self.provider)(u64::from(failures));
        let endpoint: Endpoint = self.unless_leaving(deadline, async { Ok(provided.await) }).await?;
        let reach = self.redirects.apply(endpoint).reach()?;
        let mut wire = self.unless_leaving(deadline, Wire::open(&reach)).await?;
        self.begin(&reach)?;
        let ended = self.live(&mut wire, deadline, accepted).await;
        match &ended {
            Ok(()) => self.say_goodbye(&mut wire).await,
            // Nobody is there to hear more.
            Err(ConnectError::Fault(Fault::NoAnswer)) => {}
            Err(_) => self.last_words(&mut wire).await,
        }
        Ok(ended?)
    }

    /// Waits for a step of connecting, and still listens to the program, which may want to end.
    async fn unless_leaving<T>(
        &mut self,
        deadline: Instant,
        step: impl Future<Output = Result<T, ConnectError>>,
    ) -> Result<T, End> {
        let mut step = std::pin::pin!(timeout_at(deadline, step));
        loop {
            if self.may_leave() {
                return Err(End::Left);
            }
            self.note();
            let leave_by = self.leave_by();
            let (hears, room) = (self.hears(), self.has_room());
            tokio::select! {
                stored = progress(self.journal.as_mut()) => stored?,
                done = &mut step => return Ok(done.map_err(|_| ConnectError::TimedOut)??),
                () = sleep_until(leave_by.unwrap_or_else(far_away)) => {}
                wish = self.ears.listen(room), if hears => {
                    self.grant(wish);
                    self.grant_more();
                }
            }
        }
    }

    /// Whether the program wants to end, and there is nothing left to deliver or no time.
    fn may_leave(&self) -> bool {
        let Some(leaving) = &self.leaving else {
            return false;
        };
        self.session.pending() == 0 || Instant::now() >= leaving.by
    }

    fn leave_by(&self) -> Option<Instant> {
        self.leaving.as_ref().map(|leaving| leaving.by)
    }

    /// Whether anybody can still ask for anything.
    fn hears(&self) -> bool {
        self.leaving.as_ref().is_none_or(|leaving| leaving.done.is_some())
    }

    /// Whether more to send is taken from the program.
    fn has_room(&self) -> bool {
        let queue = self.options.queue.max(1);
        match &self.journal {
            None => self.session.pending() < queue,
            // What the outbox has is bounded by its own limits.
            Some(journal) => {
                let others = self.session.pending().saturating_sub(journal.messages());
                journal.has_room() && !journal.is_behind() && others < queue
            }
        }
    }

    /// Hands to the outbox what has changed, and holds what was to be written to a connection that is gone no longer.
    fn note(&mut self) {
        if let Some(journal) = &mut self.journal {
            journal.collect(&mut self.session);
            if !self.session.has_connection() {
                journal.disconnected();
            }
        }
    }

    /// Does what the program wants.
    fn grant(&mut self, wish: Wish) {
        let now = self.started.elapsed();
        let by = from_now(self.options.shutdown_time);
        match wish {
            Wish::Command(command) => {
                self.books.command(&mut self.session, self.journal.as_mut(), now, command);
            }
            Wish::Control(Control::Disconnect { reason, done }) => {
                self.books.let_go(&mut self.session, now);
                // Whoever asked first has said how and by when; all who asked wait for the same end.
                let leaving = self.leaving.get_or_insert(Leaving { reason, by, done: None });
                leaving.done.get_or_insert_default().push(done);
            }
            Wish::Control(Control::Authenticate { again, done }) => self.authenticate_again(&*again, done),
            Wish::Control(Control::LetGo { token, safe }) => {
                self.session.acknowledge(now, token);
                if let (Some(safe), Some(journal)) = (safe, &mut self.journal) {
                    journal.when_safe(&mut self.session, safe);
                }
            }
            Wish::Control(control) => self.books.control(&mut self.session, now, control),
            Wish::None => {
                let reason = ReasonCode::NORMAL_DISCONNECTION;
                self.leaving.get_or_insert(Leaving { reason, by, done: None }).done = None;
            }
        }
    }

    /// Does what else the program has asked for by now, so that it leaves in one write.
    fn grant_more(&mut self) {
        for _ in 0..MOST_AT_ONCE {
            match self.ears.heard(self.has_room()) {
                Some(wish) => self.grant(wish),
                None => break,
            }
        }
    }

    fn begin(&mut self, reach: &Reach) -> Result<(), ConnectError> {
        let options = &self.options;
        let mut properties = options.properties.clone();
        if let Some(authentication) = &reach.authentication {
            let mut exchange = authentication.begin();
            properties.push(Property::AuthenticationMethod(authentication.method()))?;
            properties.push(Property::AuthenticationData(&exchange.first()))?;
            self.authentication = Some(Exchanging { exchange, done: None });
        }
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
    async fn live(
        &mut self,
        wire: &mut Wire,
        accept_by: Instant,
        accepted: &mut Option<Instant>,
    ) -> Result<(), ConnectError> {
        loop {
            let settled = self.settle_on(wire);
            if accepted.is_none() && self.session.is_connected() {
                *accepted = Some(Instant::now());
            }
            settled?;
            self.send_output(wire)?;
            wire.flush()?;
            if self.may_leave() {
                return Ok(());
            }
            let full = self.books.backlog.full();
            let waits = !self.books.waiters.is_empty();
            let behind = self.journal.as_ref().is_some_and(Journal::is_behind);
            let unread = !self.books.backlog.lets_read(waits) || behind || self.books.is_early();
            if unread {
                // Before asking when the next PINGREQ is due: the answer to the last one is not waited for.
                self.session.unread(self.started.elapsed());
            }
            let wake = self.session.poll_timeout().and_then(|at| self.started.checked_add(at));
            let accept_by = (!self.session.is_connected()).then_some(accept_by);
            let wake = [wake, accept_by, self.leave_by()].into_iter().flatten().min();
            let room = self.has_room() && wire.queued() < MOST_QUEUED;
            let reads = !unread && wire.queued() < MOST_UNTAKEN;
            tokio::select! {
                stored = progress(self.journal.as_mut()) => stored?,
                turned = wire.turn(reads) => {
                    turned?;
                    let used = self.session.handle(self.started.elapsed(), wire.received())?;
                    wire.received().drain(..used);
                }
                () = make_room(full.as_ref()), if full.is_some() => {}
                wish = self.ears.listen(room), if self.hears() => {
                    self.grant(wish);
                    if room {
                        self.grant_more();
                    }
                }
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
                    self.books.connected(session_present);
                    over = over.or(self.authenticated(&properties).err());
                    self.redirects.accepted();
                    self.listeners.tell(&ConnectionEvent::Connected { session_present, properties });
                }
                Event::SessionLost { resent, failed, dropped } => {
                    self.listeners.tell(&ConnectionEvent::SessionLost { resent, failed, dropped });
                }
                Event::Skipped { topic, qos, size } => {
                    log::warn!("mqtt: skipped a message of {size} bytes on {topic:?}: too large");
                    self.listeners.tell(&ConnectionEvent::Skipped { topic, qos, size });
                }
                Event::SubscriptionLost { filter, reason } => {
                    self.books.subscription_lost(&filter);
                    self.listeners.tell(&ConnectionEvent::SubscriptionLost { filter, reason });
                }
                Event::Refused(notice) => over = Some(ConnectError::Refused(notice)),
                Event::Disconnected(notice) => over = Some(ConnectError::Disconnected(notice)),
                Event::Message(incoming) => {
                    if let Some(token) = self.books.hand_on(incoming) {
                        self.session.acknowledge(self.started.elapsed(), token);
                    }
                }
                Event::Published { ticket, outcome } => self.books.published(ticket, outcome),
                Event::Answered { ticket, codes, properties } => {
                    self.books.answered(ticket, Ok((codes, properties)));
                }
                Event::Unsent { ticket } => self.books.answered(ticket, Err(SubscribeError::TooLarge)),
                Event::Auth { reason: ReasonCode::ContinueAuthentication, properties } => {
                    over = over.or(self.answer_challenge(&properties).err());
                }
                Event::Auth { properties, .. } => over = over.or(self.authenticated(&properties).err()),
            }
        }
        for (position, error) in self.books.undelivered.drain(..) {
            self.listeners.tell(&ConnectionEvent::Undelivered { position, error: Arc::new(error) });
        }
        self.books.backlog.drain();
        over
    }

    /// Answers what the server asks of an authentication.
    fn answer_challenge(&mut self, said: &PropertiesBuf) -> Result<(), ConnectError> {
        let Some(exchanging) = &mut self.authentication else {
            return Ok(());
        };
        let challenge = said.as_properties().authentication_data().unwrap_or_default();
        let answer = exchanging.exchange.answer(challenge).map_err(ConnectError::Authentication)?;
        let now = self.started.elapsed();
        let too_long = |_| ConnectError::Authentication("the answer is too long".to_owned());
        self.session.continue_authentication(now, &answer).map_err(too_long)
    }

    /// The server is content; perhaps we are not, and the connection ends. [MQTT-4.12.1-2]
    fn authenticated(&mut self, said: &PropertiesBuf) -> Result<(), ConnectError> {
        let Some(exchanging) = &mut self.authentication else {
            return Ok(());
        };
        let last = said.as_properties().authentication_data().unwrap_or_default();
        exchanging.exchange.finish(last).map_err(ConnectError::Authentication)?;
        if let Some(done) = self.authentication.take().and_then(|exchanging| exchanging.done) {
            // Whoever asked may have stopped waiting.
            let _ = done.send(Ok(()));
        }
        Ok(())
    }

    /// The connection is lost: whoever waits for its authentication hears why, as far as that is about it.
    fn authentication_failed(&mut self, error: &ConnectError) {
        if let Some(done) = self.authentication.take().and_then(|exchanging| exchanging.done) {
            let _ = done.send(Err(match error {
                ConnectError::Disconnected(notice) => ConnectError::Disconnected(notice.clone()),
                ConnectError::Authentication(why) => ConnectError::Authentication(why.clone()),
                _ => ConnectError::Closed,
            }));
        }
    }

    fn authenticate_again(
        &mut self,
        again: &dyn Authentication,
        done: oneshot::Sender<Result<(), ConnectError>>,
    ) {
        let mut exchange = again.begin();
        match self.session.reauthenticate(self.started.elapsed(), again.method(), &exchange.first()) {
            Ok(()) => self.authentication = Some(Exchanging { exchange, done: Some(done) }),
            Err(_) => {
                let why = "there is no connection that could be authenticated again by this method, now";
                let _ = done.send(Err(ConnectError::Authentication(why.to_owned())));
            }
        }
    }

    /// Waits before the next attempt, and still listens to the program. False: it wants to end.
    async fn rest(&mut self, wait: Duration) -> bool {
        let until = from_now(wait);
        loop {
            if self.may_leave() {
                return false;
            }
            self.note();
            let wake = self.leave_by().map_or(until, |by| by.min(until));
            let (hears, room) = (self.hears(), self.has_room());
            tokio::select! {
                stored = progress(self.journal.as_mut()) => {
                    if let Err(error) = stored {
                        return self.storing_failed(error);
                    }
                }
                () = sleep_until(wake) => {
                    if Instant::now() >= until {
                        return !self.may_leave();
                    }
                }
                wish = self.ears.listen(room), if hears => {
                    self.grant(wish);
                    self.grant_more();
                }
            }
        }
    }

    /// Nothing more can be stored, and so nothing be sent.
    fn storing_failed(&mut self, error: ConnectError) -> bool {
        if let ConnectError::Outbox(error) = &error {
            self.books.not_stored(error);
        }
        self.listeners.tell(&ConnectionEvent::Lost { error: Arc::new(error), retry_in: None });
        false
    }

    /// Passes on what the session has to say; with an outbox, as far as what it rests on is safe.
    fn send_output(&mut self, wire: &mut Wire) -> Result<(), ConnectError> {
        if let Some(journal) = &mut self.journal {
            journal.collect(&mut self.session);
            while let Some(output) = journal.next_output() {
                write(&output, wire);
            }
        } else {
            write(self.session.output(), wire);
            self.session.output().clear();
        }
        wire.seal()
    }

    /// DISCONNECT, and the goodbyes of the layers below, in bounded time. [MQTT-3.14.4-2]
    async fn say_goodbye(&mut self, wire: &mut Wire) {
        let properties = &self.options.disconnect_properties;
        let reason = self.leaving.as_ref().map_or(ReasonCode::NORMAL_DISCONNECTION, |leaving| leaving.reason);
        self.session.disconnect(reason, properties.as_properties());
        self.last_words(wire).await;
    }

    /// Writes what there still is to say, and waits for the server's goodbye, in bounded time.
    async fn last_words(&mut self, wire: &mut Wire) {
        let leave_by = self.leave_by().map(|by| by.max(from_now(GOODBYE_TIME)));
        let by = leave_by.unwrap_or_else(|| from_now(self.options.shutdown_time));
        let words = async {
            self.send_output(wire)?;
            while self.journal.as_ref().is_some_and(Journal::holds) {
                progress(self.journal.as_mut()).await?;
                self.send_output(wire)?;
            }
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
    async fn end(&mut self) {
        self.session.lost();
        self.settle();
        self.note();
        if let Some(journal) = &mut self.journal {
            // A disk that does not answer must not keep the program.
            let _ = timeout_at(from_now(self.options.shutdown_time), journal.close()).await;
        }
        self.journal = None;
        self.books = Books::default();
    }
}

/// However the task ends, also where the runtime is shut down or a function of the program's own panics in it: nobody
/// shall wait for events for ever. Whoever waits for the end hears of it after that, when the fields are dropped.
impl Drop for Task {
    fn drop(&mut self) {
        self.listeners.end();
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
    /// Waits for a wish of the program: for more to send only if there is `room`.
    async fn listen(&mut self, room: bool) -> Wish {
        tokio::select! {
            biased;
            Some(control) = self.control.recv() => Wish::Control(control),
            command = self.commands.recv(), if room => {
                command.map_or(Wish::None, Wish::Command)
            }
            // Nobody is there, and there is no room yet for what they had asked for.
            else => std::future::pending().await,
        }
    }

    /// The next wish, if there is one already.
    fn heard(&mut self, room: bool) -> Option<Wish> {
        if let Ok(control) = self.control.try_recv() {
            return Some(Wish::Control(control));
        }
        if !room {
            return None;
        }
        self.commands.try_recv().ok().map(Wish::Command)
    }
}

/// Waits until the stream at the front of the backlog has room, or is gone.
async fn make_room(full: Option<&mpsc::Sender<Arrived>>) {
    if let Some(sink) = full {
        // The room is taken at the next turn; nobody else sends there.
        let _ = sink.reserve().await;
    }
}

/// Waits until the outbox has more safe than before.
async fn progress(journal: Option<&mut Journal>) -> Result<(), ConnectError> {
    match journal {
        Some(journal) => journal.progress().await.map_err(ConnectError::Outbox),
        None => std::future::pending().await,
    }
}

fn write(output: &Output, wire: &mut Wire) {
    for packet in output.packets() {
        wire.send(packet);
    }
}

/// The end of a time limit that begins now; one that is beyond all reason is as good as none.
fn from_now(limit: Duration) -> Instant {
    Instant::now().checked_add(limit).unwrap_or_else(far_away)
}

fn far_away() -> Instant {
    Instant::now() + Duration::from_secs(365 * 24 * 60 * 60)
}

fn chance() -> u32 {
    let mut bytes = [0; 4];
    // Without chance all clients wait alike, which is no reason to fail.
    let _ = getrandom::fill(&mut bytes);
    u32::from_ne_bytes(bytes)
}
