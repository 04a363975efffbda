//! A subscription as the program has it: a stream of messages.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;
use mqway_codec::{PropertiesBuf, ReasonCode};
use mqway_session::client::Incoming;
use tokio::sync::mpsc;

use crate::Client;
use crate::task::Control;

/// Messages that match a subscription. Dropping it ends the subscription. It is a handle of its client, too.
///
/// ```no_run
/// use mqway_client::{Client, QoS};
///
/// # async fn example(client: Client) -> Result<(), Box<dyn std::error::Error>> {
/// let mut temperatures = client.subscribe("sensors/+/temperature", QoS::AtLeastOnce).await?;
/// while let Some(message) = temperatures.next().await {
///     println!("{}: {}", message.topic, String::from_utf8_lossy(&message.payload));
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Subscription {
    pub(crate) messages: mpsc::Receiver<Incoming>,
    pub(crate) filters: Vec<Box<str>>,
    pub(crate) codes: Vec<ReasonCode>,
    pub(crate) properties: PropertiesBuf,
    pub(crate) client: Client,
}

impl Subscription {
    /// The next message; `None` once the client has ended.
    pub async fn next(&mut self) -> Option<Incoming> {
        self.messages.recv().await
    }

    /// The next message, if it is there already.
    ///
    /// ```no_run
    /// # async fn example(mut messages: mqway_client::Subscription) -> Result<(), Box<dyn std::error::Error>> {
    /// while let Some(message) = messages.try_next() {
    ///     println!("{}", message.topic);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn try_next(&mut self) -> Option<Incoming> {
        self.messages.try_recv().ok()
    }

    /// What the server has granted, in the order of the filters.
    ///
    /// ```no_run
    /// # async fn example(messages: mqway_client::Subscription) -> Result<(), Box<dyn std::error::Error>> {
    /// let refused = messages.codes().iter().filter(|code| code.is_error()).count();
    /// # Ok(())
    /// # }
    /// ```
    pub fn codes(&self) -> &[ReasonCode] {
        &self.codes
    }

    /// What the server's answer says beside (5.0): a reason string, say.
    ///
    /// ```no_run
    /// # async fn example(messages: mqway_client::Subscription) -> Result<(), Box<dyn std::error::Error>> {
    /// let words = messages.properties().as_properties().reason_string();
    /// # Ok(())
    /// # }
    /// ```
    pub fn properties(&self) -> &PropertiesBuf {
        &self.properties
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
