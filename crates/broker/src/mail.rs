//! What workers, and the program around them, write to each other.

use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use mqway_codec::QoS;
use mqway_hooks::{Answer, Hooks, SessionInfo};

use crate::deliver::Grant;
use crate::guest::Guest;
use crate::message::Message;
use crate::shared::SessionRef;

/// What is written to a worker.
pub(crate) enum Mail {
    /// The broker has started.
    Begin,
    /// A connection comes along with it, whose client is at home there; and what hooks know of it, if there are any.
    Arriving(Option<Box<Guest>>),
    /// A hook has answered what the connection of this number asked in that turn.
    Answer { client: u64, turn: u32, answer: Answer },
    /// These hooks take the place of those before.
    Hooks(Arc<Hooks>),
    /// Somebody wants to know which sessions are at home there.
    List(SyncSender<Vec<SessionInfo>>),
    /// The session of this client is to end, with its connection; and whether there was one is to be told.
    EndSession { client_id: Box<str>, done: SyncSender<bool> },
    /// Messages for sessions that are at home there.
    Parcels(Vec<Parcel>),
    /// The program publishes this.
    Publish(Arc<Message>),
    /// The program subscribes.
    Subscribe(Box<LocalSubscription>),
    /// The program has dropped the subscription of this number.
    Unsubscribe(u64),
}

/// A message for one session.
pub(crate) struct Parcel {
    pub to: SessionRef,
    pub message: Arc<Message>,
    pub grant: Grant,
}

/// A subscription of the program around the broker.
pub(crate) struct LocalSubscription {
    /// By which it is unsubscribed.
    pub number: u64,
    pub filter: Box<str>,
    pub qos: QoS,
    pub to: SyncSender<Arc<Message>>,
    /// Told once the subscription stands.
    pub done: SyncSender<()>,
}
