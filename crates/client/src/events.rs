//! What happens to the connection, as a stream.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_core::Stream;
use mqway_codec::{PropertiesBuf, QoS, ReasonCode};
use tokio::sync::mpsc;

use crate::error::{ConnectError, PublishError};

/// Events that a listener may leave unread before it misses some.
const UNREAD: usize = 64;

/// What happens to the connection.
///
/// ```
/// use mqway_client::ConnectionEvent;
///
/// fn show(event: &ConnectionEvent) -> String {
///     match event {
///         ConnectionEvent::Connected { session_present: true, .. } => "back where we were".to_owned(),
///         ConnectionEvent::Connected { .. } => "a new session".to_owned(),
///         ConnectionEvent::Lost { error, retry_in: Some(wait) } => format!("{error}; again in {wait:?}"),
///         other => format!("{other:?}"),
///     }
/// }
/// # let present = ConnectionEvent::Connected { session_present: true, properties: Default::default() };
/// # assert_eq!(show(&present), "back where we were");
/// ```
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
    /// The server has forgotten the session, and messages of QoS 1 and 2 were under way: what becomes of them, by
    /// [`Options::session_lost`](crate::Options::session_lost).
    SessionLost {
        /// Those that are sent again as new, and may arrive twice.
        resent: usize,
        /// Those that failed.
        failed: usize,
        /// Those that were dropped.
        dropped: usize,
    },
    /// A message of the outbox was not delivered, and nobody waits for its outcome: its publisher has gone, or was an
    /// earlier process. Its place in the outbox is free.
    Undelivered {
        /// Its position in the outbox.
        position: u64,
        /// Why, and the message if it is still there.
        error: Arc<PublishError>,
    },
    /// A message has come that is larger than [`Options::maximum_packet`](crate::Options::maximum_packet). It was
    /// skipped, and acknowledged so that the server does not send it for ever.
    Skipped {
        /// Its topic name.
        topic: Box<str>,
        /// Its quality of service.
        qos: QoS,
        /// Bytes of the whole packet.
        size: usize,
    },
    /// The server has forgotten a subscription, and refused to make it again. Its streams end, unless they have others.
    SubscriptionLost {
        /// Its topic filter.
        filter: Box<str>,
        /// Why.
        reason: ReasonCode,
    },
    /// There is no connection, or no more.
    Lost {
        /// Why.
        error: Arc<ConnectError>,
        /// When the next attempt comes; `None`: never.
        retry_in: Option<Duration>,
    },
}

/// One line for people.
impl fmt::Display for ConnectionEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConnectionEvent::Connected { session_present: true, .. } => {
                f.write_str("connected, to the session of before")
            }
            ConnectionEvent::Connected { session_present: false, .. } => f.write_str("connected"),
            ConnectionEvent::SessionLost { resent, failed, dropped } => {
                let told = "the server has lost the session with messages under way";
                write!(f, "{told}: {resent} sent again, {failed} failed, {dropped} dropped")
            }
            ConnectionEvent::Skipped { topic, size, .. } => {
                write!(f, "skipped a message of {size} bytes on {topic:?}")
            }
            ConnectionEvent::Undelivered { position, error } => {
                write!(f, "message {position} of the outbox was not delivered: {error}")
            }
            ConnectionEvent::SubscriptionLost { filter, reason } => {
                write!(
                    f,
                    "the server has refused to make the subscription to {filter:?} again: {}",
                    reason.name()
                )
            }
            ConnectionEvent::Lost { error, retry_in: Some(wait) } => {
                write!(f, "no connection: {error}; trying again in {:.1} s", wait.as_secs_f64())
            }
            ConnectionEvent::Lost { error, retry_in: None } => write!(f, "no connection: {error}"),
        }
    }
}

/// A stream of [`ConnectionEvent`]s. It begins with the last one that tells whether there is a connection, and ends with
/// the client. A listener that leaves 64 unread misses what comes then.
///
/// ```no_run
/// # async fn example(client: mqway_client::Client) {
/// let mut events = client.events();
/// while let Some(event) = events.next().await {
///     eprintln!("{event}");
/// }
/// # }
/// ```
#[derive(Debug)]
pub struct Events(pub(crate) mpsc::Receiver<ConnectionEvent>);

impl Events {
    /// The next event; `None` once the client has ended.
    pub async fn next(&mut self) -> Option<ConnectionEvent> {
        self.0.recv().await
    }
}

impl Stream for Events {
    type Item = ConnectionEvent;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<ConnectionEvent>> {
        self.0.poll_recv(cx)
    }
}

/// Everyone who listens. Shared by the task and all handles, so that also who comes late hears how it ended.
#[derive(Clone, Debug, Default)]
pub(crate) struct Listeners(Arc<Mutex<Listening>>);

#[derive(Debug, Default)]
struct Listening {
    all: Vec<mpsc::Sender<ConnectionEvent>>,
    /// Whether there is a connection, as it was told last.
    last: Option<ConnectionEvent>,
    ended: bool,
}

impl Listeners {
    pub fn add(&self) -> Events {
        let (listener, events) = mpsc::channel(UNREAD);
        let mut listening = self.lock();
        if let Some(last) = &listening.last {
            // A channel that was just made has room.
            let _ = listener.try_send(last.clone());
        }
        if !listening.ended {
            // There may be no event for days that would find out who is gone.
            listening.all.retain(|listener| !listener.is_closed());
            listening.all.push(listener);
        }
        Events(events)
    }

    pub fn tell(&self, event: &ConnectionEvent) {
        self.lock().tell(event);
    }

    /// The client has ended: so do the streams.
    pub fn end(&self) {
        let mut listening = self.lock();
        listening.ended = true;
        listening.all.clear();
    }

    fn lock(&self) -> MutexGuard<'_, Listening> {
        // Nothing that panics is done under the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Listening {
    fn tell(&mut self, event: &ConnectionEvent) {
        if matches!(event, ConnectionEvent::Connected { .. } | ConnectionEvent::Lost { .. }) {
            self.last = Some(event.clone());
        }
        self.all.retain(|listener| match listener.try_send(event.clone()) {
            Ok(()) => true,
            Err(mpsc::error::TrySendError::Full(_)) => {
                log::debug!("mqtt: a listener misses an event");
                true
            }
            Err(mpsc::error::TrySendError::Closed(_)) => false,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_that_were_gone_were_kept_until_the_next_event() {
        let listeners = Listeners::default();
        for _ in 0..100 {
            drop(listeners.add());
        }
        assert!(listeners.lock().all.len() <= 1);
    }
}
