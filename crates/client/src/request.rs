//! Request and response (5.0 §4.10).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mqway_codec::{Property, PropertyId, QoS, Version};
use mqway_session::client::{Incoming, Message};
use tokio::sync::oneshot;

use crate::error::{PublishError, RequestError, SubscribeError};
use crate::subscription::Subscription;
use crate::{Client, random_name};

impl Client {
    /// Prepares to make requests whose responses come to a topic that nobody else knows.
    ///
    /// Where a session outlives its process, [`Client::requester_at`] is better: the server would keep a subscription of each
    /// process that was killed.
    ///
    /// ```no_run
    /// use std::time::Duration;
    /// use mqway_client::{Client, Message};
    ///
    /// # async fn example(client: Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let requester = client.requester().await?;
    /// let response = requester.request(Message::new("clock/time", ""), Duration::from_secs(5)).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// If the server refuses the subscription to the responses, or the version has no requests (before 5.0).
    pub async fn requester(&self) -> Result<Requester, SubscribeError> {
        self.requester_at(&format!("response/{}", random_name())).await
    }

    /// Prepares to make requests whose responses come to `topic`: below the server's Response Information, say, which
    /// [`ConnectionEvent::Connected`](crate::ConnectionEvent::Connected) has.
    ///
    /// ```no_run
    /// # async fn example(client: mqway_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let requester = client.requester_at("kitchen/responses").await?;
    /// assert_eq!(requester.topic(), "kitchen/responses");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Client::requester`].
    pub async fn requester_at(&self, topic: &str) -> Result<Requester, SubscribeError> {
        if self.version != Version::V5 {
            return Err(SubscribeError::NeedsVersion5);
        }
        let responses = self.subscribe(topic, QoS::AtLeastOnce).await?;
        let waiting = Waiting::default();
        let collector = tokio::spawn(collect(responses, Arc::clone(&waiting)));
        Ok(Requester { client: self.clone(), topic: topic.to_owned(), waiting, collector })
    }
}

/// Makes requests, and tells their responses apart. Dropping it ends the subscription to the responses.
///
/// ```no_run
/// use std::time::Duration;
/// use mqway_client::{Client, Message};
///
/// # async fn example(client: Client) -> Result<(), Box<dyn std::error::Error>> {
/// let requester = client.requester().await?;
/// let response = requester.request(Message::new("clock/time", ""), Duration::from_secs(5)).await?;
/// println!("{}", String::from_utf8_lossy(&response.payload));
/// # Ok(())
/// # }
/// ```
///
/// The other side answers with [`Incoming::response`]:
///
/// ```no_run
/// # use mqway_client::{Client, QoS};
/// # async fn example(client: Client) -> Result<(), Box<dyn std::error::Error>> {
/// let mut requests = client.subscribe("clock/time", QoS::AtLeastOnce).await?;
/// while let Some(request) = requests.next().await {
///     if let Some(response) = request.response("a quarter to three") {
///         client.publish(response).await?;
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Requester {
    client: Client,
    topic: String,
    waiting: Waiting,
    collector: tokio::task::JoinHandle<()>,
}

/// Who waits for a response, by correlation data.
type Waiting = Arc<Mutex<HashMap<Vec<u8>, oneshot::Sender<Incoming>>>>;

impl Requester {
    /// Publishes a request, with a Response Topic and Correlation Data of our own, and waits for the response.
    /// Any number may be under way at once.
    ///
    /// # Errors
    /// If the request is refused or cannot be sent, or no response comes within `limit`.
    pub async fn request(&self, mut message: Message, limit: Duration) -> Result<Incoming, RequestError> {
        let correlation = random_name().into_bytes();
        let mut properties = mqway_codec::PropertiesBuf::new();
        let ours = [PropertyId::ResponseTopic, PropertyId::CorrelationData];
        let kept =
            message.properties.as_properties().iter().filter(|property| !ours.contains(&property.id()));
        // Of these, none can be too long or stand twice.
        let filled = properties
            .extend(kept)
            .and_then(|()| properties.push(Property::ResponseTopic(&self.topic)))
            .and_then(|()| properties.push(Property::CorrelationData(&correlation)));
        if filled.is_err() {
            return Err(RequestError::Publish(PublishError::Invalid(Arc::new(message))));
        }
        message.properties = properties;
        let (sender, response) = oneshot::channel();
        let _place = Place { waiting: &self.waiting, correlation: &correlation };
        lock(&self.waiting).insert(correlation.clone(), sender);
        let exchange = async {
            self.client.publish(message).await.map_err(RequestError::Publish)?;
            response.await.map_err(|_| RequestError::Publish(PublishError::Ended))
        };
        tokio::time::timeout(limit, exchange).await.unwrap_or(Err(RequestError::TimedOut))
    }

    /// Where the responses come to.
    ///
    /// ```no_run
    /// # async fn example(requester: mqway_client::Requester) -> Result<(), Box<dyn std::error::Error>> {
    /// println!("responses come to {}", requester.topic());
    /// # Ok(())
    /// # }
    /// ```
    pub fn topic(&self) -> &str {
        &self.topic
    }
}

impl Drop for Requester {
    fn drop(&mut self) {
        self.collector.abort();
    }
}

/// One request's place among those that wait; it is given up however the request ends.
struct Place<'a> {
    waiting: &'a Waiting,
    correlation: &'a [u8],
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        lock(self.waiting).remove(self.correlation);
    }
}

async fn collect(mut responses: Subscription, waiting: Waiting) {
    while let Some(response) = responses.next().await {
        let correlation = response.properties.as_properties().correlation_data();
        let waiter = correlation.and_then(|correlation| lock(&waiting).remove(correlation));
        match waiter {
            // Whoever asked may have given up.
            Some(waiter) => drop(waiter.send(response)),
            None => log::debug!("mqtt: a response that nobody waits for"),
        }
    }
    // The client has ended, and with it the hope of whoever waits.
    lock(&waiting).clear();
}

fn lock(waiting: &Waiting) -> std::sync::MutexGuard<'_, HashMap<Vec<u8>, oneshot::Sender<Incoming>>> {
    // The map is whole after each single call, so that a panic elsewhere cannot have left it half changed.
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}
