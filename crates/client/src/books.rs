//! Who waits for what: tickets, streams, and messages on their way to them.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use mqway_codec::{PacketId, PropertiesBuf, Publish, QoS, ReasonCode, TopicFilter, TopicName, Version};
use mqway_session::client::{
    AckToken, Client as Session, Incoming, Message, NotAccepted, Outcome, Receipt, Ticket,
};
use tokio::sync::{mpsc, oneshot};

use crate::backlog::Backlog;
use crate::error::{PublishError, SubscribeError};
use crate::hold::{Arrived, Hold, Sink};
use crate::outbox::{Journal, OutboxError};
use crate::task::{Answered, Command, Control};

pub(crate) enum Waiter {
    Publish(oneshot::Sender<Result<Receipt, PublishError>>),
    Request(oneshot::Sender<Answered>),
}

/// A stream of messages that a program reads.
pub(crate) struct Stream {
    /// `None`: of all.
    filters: Option<Vec<Box<str>>>,
    sink: Sink,
    /// The request that made it, until the server has answered. Nobody reads the stream before that, so that it must
    /// not be waited for.
    asked: Option<Ticket>,
    /// What has come meanwhile.
    early: VecDeque<Arrived>,
}

/// Who waits for what.
#[derive(Default)]
pub(crate) struct Books {
    pub waiters: HashMap<Ticket, Waiter>,
    pub streams: Vec<Stream>,
    pub backlog: Backlog,
    /// Where there is an outbox: messages that wait, unacknowledged, for somebody to subscribe to them. They are as
    /// many as Receive Maximum allows.
    unclaimed: VecDeque<Arrived>,
    keeps_unclaimed: bool,
    /// Filters that the program wants no more, the latest last: messages for them wait for nobody.
    given_up: VecDeque<Box<str>>,
    /// Where streams acknowledge what they have let go of.
    holds: Option<mpsc::UnboundedSender<Control>>,
    /// Messages of the outbox that failed, and nobody heard of it.
    pub undelivered: Vec<(Ticket, PublishError)>,
    last_ticket: Ticket,
}

/// Tickets from here on are of what no outbox has; those of an outbox are its positions.
const VOLATILE: Ticket = 1 << 63;

/// Bytes of the largest message to store: the largest packet that there is (5.0 §2.1.4).
const MOST_STORED: usize = 268_435_460;

/// Messages that come for one stream before the server has answered its request. Beyond them the network waits for
/// the program to give up on it.
const MOST_EARLY: usize = 65_536;

/// Filters to remember as given up. Beyond them a message may wait for nobody until the next connection.
const MOST_GIVEN_UP: usize = 1024;

/// A message to be stored, and who waits for it.
struct Publication {
    message: Arc<Message>,
    done: Option<oneshot::Sender<Result<Receipt, PublishError>>>,
    stored: Option<oneshot::Sender<Result<u64, PublishError>>>,
}

impl Stream {
    fn wants(&self, topic: &str) -> bool {
        self.filters.as_ref().is_none_or(|filters| filters.iter().any(|filter| matches(filter, topic)))
    }

    fn give(&mut self, arrived: Arrived, backlog: &mut Backlog) {
        match self.asked {
            Some(_) => self.early.push_back(arrived),
            None => backlog.push(self.sink.messages.clone(), arrived),
        }
    }
}

impl Books {
    /// Those of a client with an outbox, if it `keeps` unclaimed messages; streams acknowledge to `holds`.
    pub fn new(keeps_unclaimed: bool, holds: Option<mpsc::UnboundedSender<Control>>) -> Books {
        Books { keeps_unclaimed, holds, ..Books::default() }
    }

    fn ticket(&mut self, waiter: Option<Waiter>) -> Ticket {
        self.last_ticket += 1;
        let ticket = VOLATILE + self.last_ticket;
        if let Some(waiter) = waiter {
            self.waiters.insert(ticket, waiter);
        }
        ticket
    }

    pub fn command(
        &mut self,
        session: &mut Session,
        journal: Option<&mut Journal>,
        now: Duration,
        command: Command,
    ) {
        match command {
            Command::Publish { message, done, stored } => match journal {
                Some(journal) if message.qos != QoS::AtMostOnce => {
                    self.store(session, journal, now, Publication { message, done, stored });
                }
                _ if stored.is_some() => {
                    stored.map(|stored| stored.send(Err(PublishError::NotStored(message))));
                }
                _ => {
                    let ticket = self.ticket(done.map(Waiter::Publish));
                    if let Err(refused) = session.publish(now, ticket, message) {
                        self.tell_publisher(ticket, Err(refused.into()));
                    }
                }
            },
            // The program gave up on it before it got here; what takes the subscription back has come first.
            Command::Subscribe { sink: Some(sink), .. } if sink.messages.is_closed() => {}
            Command::Subscribe { wanted, sink, done } => {
                self.given_up.retain(|gone| wanted.iter().all(|one| one.filter != *gone));
                let ticket = self.ticket(Some(Waiter::Request(done)));
                if let Some(sink) = sink {
                    let filters = Some(wanted.iter().map(|one| one.filter.clone()).collect());
                    self.add_stream(Stream { filters, sink, asked: Some(ticket), early: VecDeque::new() });
                }
                session.subscribe(now, ticket, wanted);
            }
            Command::Unsubscribe { filters, done } => {
                self.give_up(&filters);
                let ticket = self.ticket(Some(Waiter::Request(done)));
                session.unsubscribe(now, ticket, filters);
            }
        }
    }

    pub fn control(&mut self, session: &mut Session, now: Duration, control: Control) {
        match control {
            Control::Listen(sink) => {
                self.add_stream(Stream { filters: None, sink, asked: None, early: VecDeque::new() });
            }
            Control::Acknowledge(token) => session.acknowledge(now, token),
            Control::Dropped(filters) => {
                self.streams.retain(|stream| !stream.sink.messages.is_closed());
                let still_wanted = |filter: &str| {
                    let mut wanted = self.streams.iter().flat_map(|stream| stream.filters.iter().flatten());
                    wanted.any(|other| **other == *filter)
                };
                let unwanted: Vec<_> = filters.into_iter().filter(|filter| !still_wanted(filter)).collect();
                if !unwanted.is_empty() {
                    self.give_up(&unwanted);
                    let ticket = self.ticket(None);
                    session.unsubscribe(now, ticket, unwanted);
                }
            }
            // They concern the task alone.
            Control::Disconnect { .. } | Control::Authenticate { .. } | Control::LetGo { .. } => {}
        }
    }

    /// A subscription is no more: streams that have no other end.
    pub fn subscription_lost(&mut self, filter: &str) {
        self.streams.retain_mut(|stream| {
            let Some(filters) = &mut stream.filters else {
                return true;
            };
            filters.retain(|one| **one != *filter);
            !filters.is_empty()
        });
    }

    /// Gives a message to each stream that asked for its topic. Returns the token of one that nobody gets, and so
    /// nobody can acknowledge.
    pub fn hand_on(&mut self, mut message: Incoming) -> Option<AckToken> {
        let hold = match (&self.holds, message.token.take()) {
            (Some(control), Some(token)) => Some(Hold::new(message.qos, token, control.clone())),
            (_, token) => {
                message.token = token;
                None
            }
        };
        let arrived = Arrived { message, hold };
        let last = self.streams.iter().rposition(|stream| stream.wants(&arrived.message.topic));
        let takers = last.and_then(|last| self.streams.get_mut(..=last)).and_then(<[_]>::split_last_mut);
        if let Some((last, others)) = takers {
            for stream in others.iter_mut().filter(|stream| stream.wants(&arrived.message.topic)) {
                stream.give(arrived.clone(), &mut self.backlog);
            }
            // Mostly it is the only one: it gets the message itself, not a copy.
            last.give(arrived, &mut self.backlog);
            return None;
        }
        let topic = &arrived.message.topic;
        if self.keeps_unclaimed
            && arrived.message.qos != QoS::AtMostOnce
            && !self.given_up.iter().any(|filter| matches(filter, topic))
        {
            self.unclaimed.push_back(arrived);
            return None;
        }
        log::debug!("mqtt: a message on {topic:?} that nobody has subscribed to");
        arrived.message.token
    }

    /// A new stream gets what has waited for it.
    fn add_stream(&mut self, mut stream: Stream) {
        let waiting = std::mem::take(&mut self.unclaimed);
        for arrived in waiting {
            if stream.wants(&arrived.message.topic) {
                stream.give(arrived, &mut self.backlog);
            } else {
                self.unclaimed.push_back(arrived);
            }
        }
        self.streams.push(stream);
        self.backlog.drain();
    }

    /// The program wants no messages of these filters any more, and those that have waited for it are acknowledged.
    fn give_up(&mut self, filters: &[Box<str>]) {
        if !self.keeps_unclaimed {
            return;
        }
        self.unclaimed.retain(|one| !filters.iter().any(|filter| matches(filter, &one.message.topic)));
        for filter in filters {
            self.given_up.retain(|other| other != filter);
            self.given_up.push_back(filter.clone());
        }
        let excess = self.given_up.len().saturating_sub(MOST_GIVEN_UP);
        self.given_up.drain(..excess);
    }

    /// There is a connection. If it goes on with the session, messages of QoS 1 that were not acknowledged come again.
    pub fn connected(&mut self, session_present: bool) {
        if session_present {
            self.unclaimed.retain(|one| one.message.qos == QoS::ExactlyOnce);
        }
    }

    /// The program is leaving, and has done with the messages that its streams gave it last.
    pub fn let_go(&mut self, session: &mut Session, now: Duration) {
        for token in self.streams.iter().filter_map(|stream| stream.sink.in_hand.take_token()) {
            session.acknowledge(now, token);
        }
    }

    /// Accepts a message for the outbox, or refuses it.
    fn store(&mut self, session: &mut Session, journal: &mut Journal, now: Duration, one: Publication) {
        let Publication { message, done, stored } = one;
        let position = journal.next_position();
        let accepted = if is_message(&message) {
            session.publish(now, position, message.clone()).map_err(PublishError::from)
        } else {
            Err(PublishError::Invalid(message.clone()))
        };
        match (accepted, stored, done) {
            (Ok(()), stored, done) => {
                done.map(|done| self.waiters.insert(position, Waiter::Publish(done)));
                journal.accepted(&message, stored);
            }
            (Err(error), Some(stored), _) => drop(stored.send(Err(error))),
            (Err(error), None, Some(done)) => drop(done.send(Err(error))),
            (Err(error), None, None) => log::warn!("mqtt: a message that nobody waits for: {error}"),
        }
    }

    /// The outbox has failed: nobody knows what becomes of its messages, but the next process.
    pub fn not_stored(&mut self, error: &Arc<OutboxError>) {
        for (_, waiter) in self.waiters.extract_if(|ticket, _| *ticket < VOLATILE) {
            if let Waiter::Publish(done) = waiter {
                let _ = done.send(Err(PublishError::Outbox(error.clone())));
            }
        }
    }

    pub fn published(&mut self, ticket: Ticket, outcome: Outcome) {
        let result = match outcome {
            Outcome::Sent => {
                Ok(Receipt { reason: ReasonCode::Success, properties: PropertiesBuf::new(), resent: false })
            }
            Outcome::Answered(receipt) if receipt.reason.is_error() => Err(PublishError::Refused(receipt)),
            Outcome::Answered(receipt) => Ok(receipt),
            Outcome::SessionLost(message) => Err(PublishError::SessionLost(message)),
            Outcome::Dropped(message) => Err(PublishError::Dropped(message)),
            Outcome::TooLarge(message) => Err(PublishError::TooLarge(message)),
            Outcome::QosNotSupported(message) => Err(PublishError::QosNotSupported(message)),
            Outcome::RetainNotSupported(message) => Err(PublishError::RetainNotSupported(message)),
            Outcome::Invalid(message) => Err(PublishError::Invalid(message)),
        };
        self.tell_publisher(ticket, result);
    }

    fn tell_publisher(&mut self, ticket: Ticket, result: Result<Receipt, PublishError>) {
        // Whoever asked may have stopped waiting.
        let unheard = match self.waiters.remove(&ticket) {
            Some(Waiter::Publish(done)) => done.send(result).err(),
            _ => Some(result),
        };
        if let Some(Err(error)) = unheard {
            log::warn!("mqtt: a message that nobody waits for: {error}");
            if ticket < VOLATILE {
                self.undelivered.push((ticket, error));
            }
        }
    }

    /// Whether more has come for streams that nobody reads yet than may wait for that.
    pub fn is_early(&self) -> bool {
        self.streams.iter().any(|stream| stream.early.len() >= MOST_EARLY)
    }

    pub fn answered(&mut self, ticket: Ticket, codes: Answered) {
        if let Some(stream) = self.streams.iter_mut().find(|stream| stream.asked == Some(ticket)) {
            stream.asked = None;
            let sink = &stream.sink.messages;
            for arrived in stream.early.drain(..) {
                self.backlog.push(sink.clone(), arrived);
            }
        }
        if let Some(Waiter::Request(done)) = self.waiters.remove(&ticket) {
            drop(done.send(codes));
        }
    }
}

fn matches(filter: &str, topic: &str) -> bool {
    let (Ok(filter), Ok(topic)) = (TopicFilter::new(filter), TopicName::new(topic)) else {
        return false;
    };
    match filter.share() {
        Some((_, shared)) => shared.matches(topic),
        None => filter.matches(topic),
    }
}

/// Whether it can be written in 5.0, in which it is stored: an outbox must not take what it cannot give back.
fn is_message(message: &Message) -> bool {
    let mut publish = Publish::new(&message.topic, b"");
    (publish.qos, publish.packet_id) = (message.qos, PacketId::new(1));
    publish.properties = message.properties.as_properties();
    let mut bytes = Vec::new();
    // The payload only counts. Of the length before it, three more bytes may be needed.
    publish.encode(Version::V5, &mut bytes).is_ok()
        && TopicName::new(&message.topic).is_ok()
        && bytes.len() + 3 + message.payload.len() <= MOST_STORED
}

impl From<NotAccepted> for PublishError {
    fn from(refused: NotAccepted) -> PublishError {
        match refused {
            NotAccepted::QueueFull(message) => PublishError::QueueFull(message),
            NotAccepted::QosNotSupported(message) => PublishError::QosNotSupported(message),
            NotAccepted::RetainNotSupported(message) => PublishError::RetainNotSupported(message),
        }
    }
}

/// Refuses what is no request for this version: a text that is no filter, or no filter at all. [MQTT-3.8.3-2],
/// [MQTT-3.10.3-2]
pub(crate) fn checked<'a>(
    version: Version,
    filters: impl ExactSizeIterator<Item = &'a str>,
) -> Result<(), SubscribeError> {
    if filters.len() == 0 {
        return Err(SubscribeError::Filter(String::new()));
    }
    for filter in filters {
        TopicFilter::for_version(version, filter).map_err(|_| SubscribeError::Filter(filter.to_owned()))?;
    }
    Ok(())
}
