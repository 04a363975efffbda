//! What becomes of a message that was handed over.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use mqway_session::client::Receipt;
use tokio::sync::oneshot;

use crate::error::PublishError;

/// A message that is safe in the outbox.
///
/// ```no_run
/// # async fn example(client: mqway_client::Client) -> Result<(), Box<dyn std::error::Error>> {
/// use mqway_client::{Message, QoS};
///
/// let stored = client.store(Message { qos: QoS::AtLeastOnce, ..Message::new("log", "started") }).await?;
/// println!("number {} is safe", stored.position);
/// println!("and now the server has it: {}", stored.delivery.await?);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Stored {
    /// Its position among all messages that the outbox ever accepted, from 1 on: see [`Outbox::accepted`](crate::Outbox::accepted).
    pub position: u64,
    /// Resolves when the server has it.
    pub delivery: Delivery,
}

/// Resolves when a message is done with, as [`Client::publish`](crate::Client::publish) does. Dropping it does not take the message back.
///
/// ```no_run
/// use mqway_client::{Client, Delivery, Message, PublishError};
///
/// async fn publish_later(client: &Client) -> Result<Delivery, PublishError> {
///     client.enqueue(Message::new("a", "b")).await
/// }
/// ```
#[derive(Debug)]
pub struct Delivery(pub(crate) oneshot::Receiver<Result<Receipt, PublishError>>);

impl Future for Delivery {
    type Output = Result<Receipt, PublishError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map(|result| result.unwrap_or(Err(PublishError::Ended)))
    }
}
