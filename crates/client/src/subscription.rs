//! A subscription as the program has it: a stream of messages.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use futures_core::Stream;
use mqway_codec::{PropertiesBuf, ReasonCode};
use mqway_session::client::Incoming;
use tokio::sync::{mpsc, oneshot};

use crate::Client;
use crate::hold::{Arrived, InHand, Sink};
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
    pub(crate) messages: mpsc::Receiver<Arrived>,
    pub(crate) in_hand: InHand,
    /// When the acknowledgement of the message before is safe.
    pub(crate) settling: Option<oneshot::Receiver<()>>,
    pub(crate) filters: Vec<Box<str>>,
    pub(crate) codes: Vec<ReasonCode>,
    pub(crate) properties: PropertiesBuf,
    pub(crate) client: Client,
}

impl Subscription {
    pub(crate) fn new(
        messages: mpsc::Receiver<Arrived>,
        filters: Vec<Box<str>>,
        client: Client,
    ) -> Subscription {
        Subscription {
            messages,
            in_hand: InHand::default(),
            settling: None,
            filters,
            codes: Vec::new(),
            properties: PropertiesBuf::new(),
            client,
        }
    }

    /// What the client's task has of it.
    pub(crate) fn sink(&self, messages: mpsc::Sender<Arrived>) -> Sink {
        Sink { messages, in_hand: self.in_hand.clone() }
    }

    /// The next message; `None` once the client has ended.
    ///
    /// With an [`Outbox`](crate::Outbox), this acknowledges the message before it.
    pub async fn next(&mut self) -> Option<Incoming> {
        std::future::poll_fn(|cx| self.poll_message(cx)).await
    }

    fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<Option<Incoming>> {
        if let Some(settling) = self.in_hand.let_go() {
            self.settling = Some(settling);
        }
        if let Some(settling) = &mut self.settling {
            // An error means that the client has ended; what it has handed on is still here.
            let _ = ready!(Pin::new(settling).poll(cx));
            self.settling = None;
        }
        Poll::Ready(ready!(self.messages.poll_recv(cx)).map(|Arrived { message, hold }| {
            self.in_hand.put(hold);
            message
        }))
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
        match self.poll_message(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(message) => message,
            Poll::Pending => None,
        }
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
        self.poll_message(cx)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.messages.close();
        if !std::thread::panicking() {
            // That it is safe, nobody waits for.
            drop(self.in_hand.let_go());
        }
        // A client that has ended has no subscriptions.
        let _ = self.client.control.send(Control::Dropped(std::mem::take(&mut self.filters)));
    }
}
