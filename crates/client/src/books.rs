//! Who waits for what: tickets, streams, and messages on their way to them.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use mqway_codec::{PropertiesBuf, QoS, ReasonCode, TopicFilter, TopicName, Version};
use mqway_session::client::{
    Client as Session, Incoming, NotAccepted, Outcome, Receipt, Subscription as Wanted, Ticket,
};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};

use crate::error::{PublishError, SubscribeError};
use crate::task::{Answered, Command, Control};

pub(crate) enum Waiter {
    Publish(oneshot::Sender<Result<Receipt, PublishError>>),
    Request(oneshot::Sender<Answered>),
}

/// A stream of messages that a program reads.
pub(crate) struct Stream {
    /// `None`: of all.
    filters: Option<Vec<Box<str>>>,
    sink: mpsc::Sender<Incoming>,
}

/// Who waits for what.
#[derive(Default)]
pub(crate) struct Books {
    pub waiters: HashMap<Ticket, Waiter>,
    pub streams: Vec<Stream>,
    /// Messages that a stream had no room for. While there are any, the network is not read.
    pub backlog: VecDeque<(mpsc::Sender<Incoming>, Incoming)>,
    last_ticket: Ticket,
}

impl Books {
    fn ticket(&mut self, waiter: Option<Waiter>) -> Ticket {
        self.last_ticket += 1;
        if let Some(waiter) = waiter {
            self.waiters.insert(self.last_ticket, waiter);
        }
        self.last_ticket
    }

    pub fn command(&mut self, session: &mut Session, now: Duration, command: Command) {
        match command {
            Command::Publish { message, done } => {
                let ticket = self.ticket(done.map(Waiter::Publish));
                if let Err(refused) = session.publish(now, ticket, message) {
                    let error = match refused {
                        NotAccepted::QueueFull(message) => PublishError::QueueFull(message),
                        NotAccepted::QosNotSupported(message) => PublishError::QosNotSupported(message),
                        NotAccepted::RetainNotSupported(message) => PublishError::RetainNotSupported(message),
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
                let ticket = self.ticket(Some(Waiter::Request(done)));
                session.unsubscribe(now, ticket, filters);
            }
        }
    }

    pub fn control(&mut self, session: &mut Session, now: Duration, control: Control) {
        match control {
            Control::Listen(sink) => self.streams.push(Stream { filters: None, sink }),
            Control::Acknowledge(token) => session.acknowledge(now, token),
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
            // They concern the task alone.
            Control::Disconnect { .. } | Control::Authenticate { .. } => {}
        }
    }

    /// Gives a message to each stream that asked for its topic.
    pub fn hand_on(&mut self, incoming: Incoming) {
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

    pub fn drain_backlog(&mut self) {
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

    pub fn answered(&mut self, ticket: Ticket, codes: Answered) {
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
