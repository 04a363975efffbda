//! A running broker, for plugins and for other threads.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use mqway_codec::{PropertiesBuf, PropertyId, Publish, QoS, TopicFilter, TopicName, Version};
use mqway_engine::Poster;
use mqway_hooks::{PluginError, Server, SessionInfo};

use crate::broker::{NotTaken, Subscription};
use crate::mail::{LocalSubscription, Mail};
use crate::shared::Shared;
use crate::{MOST_WAITING, Message, Payload};

/// A running broker. It may outlive that, and then takes nothing more.
#[derive(Clone, Debug)]
pub(crate) struct Handle {
    pub poster: Poster<Mail>,
    shared: Arc<Shared>,
    next_number: Arc<AtomicU64>,
}

/// Messages that may wait for a subscriber that is called for each.
const WAITING: usize = 10_000;

/// How long a worker may take to say what it is asked: it may be the one that asks.
const PATIENCE: Duration = Duration::from_secs(5);

impl Handle {
    pub fn new(poster: Poster<Mail>, shared: Arc<Shared>) -> Handle {
        Handle { poster, shared, next_number: Arc::new(AtomicU64::new(1)) }
    }

    /// Publishes a message of the program.
    pub fn publish(&self, message: Message) -> Result<(), NotTaken> {
        TopicName::new(&message.topic)?;
        check_properties(&message)?;
        let worker = self.shared.home_of(&message.topic);
        self.poster.post(worker, Mail::Publish(Arc::new(message))).map_err(|_| NotTaken::Busy)
    }

    /// Begins a subscription of the program, which stands once the receiver says so.
    pub fn subscribe(
        &self,
        filter: TopicFilter<'_>,
        waiting: usize,
    ) -> Result<(Subscription, Receiver<()>), NotTaken> {
        let number = self.next_number.fetch_add(1, Ordering::Relaxed);
        let (to, messages) = sync_channel(waiting.clamp(1, MOST_WAITING));
        let (done, stands) = sync_channel(1);
        let poster = self.poster.clone();
        let worker = number as usize % poster.workers();
        let filter = filter.as_str().into();
        let subscription = LocalSubscription { number, filter, qos: QoS::ExactlyOnce, to, done };
        poster.post(worker, Mail::Subscribe(Box::new(subscription))).map_err(|_| NotTaken::Busy)?;
        Ok((Subscription::new(messages, number, worker, poster), stands))
    }

    /// Asks a worker, and waits for what it says.
    fn ask<T>(&self, worker: usize, question: impl FnOnce(SyncSender<T>) -> Mail) -> Option<T> {
        let (to, answer) = sync_channel(1);
        self.poster.post(worker, question(to)).ok()?;
        answer.recv_timeout(PATIENCE).ok()
    }
}

impl Server for Handle {
    fn publish(&self, publish: &Publish<'_>) -> Result<(), PluginError> {
        let seconds = publish.properties.message_expiry_interval();
        let now = self.poster.now();
        let mut message = Message::new(publish.topic, Payload::from(publish.payload));
        message.properties = without_expiry(publish)?;
        message.expires = seconds.map(|seconds| now.saturating_add(Duration::from_secs(seconds.into())));
        message.qos = publish.qos;
        message.retain = publish.retain && self.shared.terms.retain;
        Ok(self.publish(message)?)
    }

    fn subscribe(
        &self,
        filter: TopicFilter<'_>,
        mut each: Box<dyn FnMut(&Publish<'_>) -> bool + Send>,
    ) -> Result<(), PluginError> {
        let (subscription, _) = self.subscribe(filter, WAITING)?;
        let hand_on = move || {
            while let Some(message) = subscription.next() {
                let mut publish = Publish::new(&message.topic, &message.payload);
                publish.properties = message.properties.as_properties();
                (publish.qos, publish.retain) = (message.qos, message.retain);
                if !each(&publish) {
                    return;
                }
            }
        };
        std::thread::Builder::new().name("subscriber".into()).spawn(hand_on)?;
        Ok(())
    }

    fn sessions(&self) -> Vec<SessionInfo> {
        let workers = 0..self.poster.workers();
        workers.flat_map(|worker| self.ask(worker, Mail::List).unwrap_or_default()).collect()
    }

    fn end_session(&self, client_id: &str) -> bool {
        let ended = self.ask(self.shared.home_of(client_id), |done| Mail::EndSession {
            client_id: client_id.into(),
            done,
        });
        ended.unwrap_or(false)
    }
}

fn without_expiry(publish: &Publish<'_>) -> Result<PropertiesBuf, NotTaken> {
    let mut properties = PropertiesBuf::new();
    let others =
        publish.properties.iter().filter(|property| property.id() != PropertyId::MessageExpiryInterval);
    properties.extend(others).map_err(|_| NotTaken::Properties)?;
    Ok(properties)
}

/// What clients have given is checked by the decoder, and nothing behind it looks again.
fn check_properties(message: &Message) -> Result<(), NotTaken> {
    let properties = message.properties.as_properties();
    let not_its_own =
        [PropertyId::TopicAlias, PropertyId::SubscriptionIdentifier, PropertyId::MessageExpiryInterval];
    let publish = Publish { properties, ..Publish::new(&message.topic, &[]) };
    let encoded = publish.encode_head(Version::V5, &mut Vec::new());
    if encoded.is_err() || not_its_own.iter().any(|id| properties.contains(*id)) {
        return Err(NotTaken::Properties);
    }
    Ok(())
}
