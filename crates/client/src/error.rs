//! What can go wrong, and who hears of it.

use std::io;
use std::sync::Arc;

use mqway_codec::{EncodeError, ReasonCode};
use mqway_session::client::{Fault, Message, Notice, Receipt};
use mqway_transport::{Error as TransportError, Stage};

use crate::outbox::OutboxError;

/// Why there is no connection. After most of these the client tries again.
///
/// ```
/// use mqway_client::ConnectError;
///
/// fn advice(error: &ConnectError) -> &'static str {
///     match error {
///         ConnectError::Options(_) => "look at the URL and the files that it needs",
///         ConnectError::Network(_) => "is the server there?",
///         ConnectError::Refused(_) => "are user name and password right?",
///         _ => "it may pass",
///     }
/// }
/// # assert_eq!(advice(&ConnectError::TimedOut), "it may pass");
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The URL, a file or an option cannot be meant like this. The client does not try again.
    #[error("{0}")]
    Options(String),
    /// The name has no address, or nothing accepted the connection.
    #[error("{0}")]
    Network(#[source] io::Error),
    /// The connection was there, and broke.
    #[error("the connection broke: {0}")]
    Broken(#[source] io::Error),
    /// The connection broke before its layers were up.
    #[error("connection lost during the {0}: {1}")]
    LostDuring(Stage, #[source] io::Error),
    /// TLS, WebSocket or a tunnel failed.
    #[error("{0}")]
    Transport(#[from] TransportError),
    /// The server named another one to use, which cannot be used. The next attempt goes where the URL says.
    #[error("the server named another that cannot be used: {0}")]
    Redirect(String),
    /// CONNECT cannot be written: a user name that is too long, say. The client does not try again.
    #[error("CONNECT: {0}")]
    Encode(#[from] EncodeError),
    /// The server refused, with this reason.
    #[error("the server refused: {0}")]
    Refused(Notice),
    /// The server ended the connection, with this reason (5.0).
    #[error("the server disconnected: {0}")]
    Disconnected(Notice),
    /// The exchange of enhanced authentication failed on our side: the server is not who it should be, say.
    #[error("authentication failed: {0}")]
    Authentication(String),
    /// The outbox cannot store any more: the disk is full, say. What was not stored was not sent, and no message was
    /// acknowledged that could be lost. The client does not try again, since what it has in memory may differ from
    /// what is stored; a new one with the outbox opened anew goes on from there.
    #[error("{0}")]
    Outbox(Arc<OutboxError>),
    /// The server broke the rules of MQTT.
    #[error("{0}")]
    Fault(#[from] Fault),
    /// The server closed the connection without a word.
    #[error("the server closed the connection")]
    Closed,
    /// Connecting took longer than the time limit.
    #[error("the server did not accept the connection in time")]
    TimedOut,
}

impl ConnectError {
    /// Whether another attempt could end otherwise.
    ///
    /// ```
    /// use mqway_client::ConnectError;
    ///
    /// assert!(ConnectError::Options("no such scheme".to_owned()).is_final());
    /// assert!(!ConnectError::Closed.is_final());
    /// ```
    pub fn is_final(&self) -> bool {
        matches!(self, ConnectError::Options(_) | ConnectError::Encode(_) | ConnectError::Outbox(_))
    }
}

/// Why a message was not delivered.
///
/// ```
/// use std::sync::Arc;
/// use mqway_client::{Message, PublishError};
///
/// /// What is worth another try.
/// fn again(error: PublishError) -> Option<Arc<Message>> {
///     match error {
///         PublishError::QueueFull(message) | PublishError::SessionLost(message) => Some(message),
///         _ => None,
///     }
/// }
/// # assert_eq!(again(PublishError::Ended), None);
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// The server refused it, with this reason (5.0).
    #[error("the server refused the message: {0}")]
    Refused(Receipt),
    /// As many messages wait as may. It is given back.
    #[error("too many messages wait to be sent")]
    QueueFull(Arc<Message>),
    /// It is larger than the server takes. It is given back.
    #[error("the message is larger than the server takes")]
    TooLarge(Arc<Message>),
    /// The server takes no message of this QoS. It is given back.
    #[error("the server takes no message of this QoS")]
    QosNotSupported(Arc<Message>),
    /// The server retains no message. It is given back.
    #[error("the server does not retain messages")]
    RetainNotSupported(Arc<Message>),
    /// It has no valid topic name, or properties that a message does not have. It is given back.
    #[error("the message cannot be written: its topic or its properties are not allowed")]
    Invalid(Arc<Message>),
    /// The server has forgotten the session, and with it whether it got the message, which is given back.
    #[error("the server has lost the session, and perhaps the message")]
    SessionLost(Arc<Message>),
    /// The server has forgotten the session, and [`SessionLost::Drop`](crate::SessionLost::Drop) wants the message not
    /// to outlive it. It is given back.
    #[error("the server has lost the session, for which the message was meant")]
    Dropped(Arc<Message>),
    /// The time limit passed. If the message was accepted, it is still on its way.
    #[error("the message was not acknowledged in time")]
    TimedOut,
    /// The outbox cannot store it, nor anything after it. [`Outbox::accepted`](crate::Outbox::accepted) of the next
    /// run tells whether it was stored after all.
    #[error("{0}")]
    Outbox(Arc<OutboxError>),
    /// The message cannot be stored: its QoS is 0, or the client has no outbox. It is given back.
    #[error("only messages of QoS 1 and 2 are stored, and only where there is an outbox")]
    NotStored(Arc<Message>),
    /// The client has ended before the message was acknowledged.
    #[error("the client has ended")]
    Ended,
}

/// Why a subscription was not made, or not ended.
///
/// ```
/// use mqway_client::{ReasonCode, SubscribeError};
///
/// let error = SubscribeError::Refused(ReasonCode::NotAuthorized);
/// assert_eq!(error.to_string(), "the server refused the subscription: Not authorized");
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SubscribeError {
    /// The server refused it, with this reason.
    #[error("the server refused the subscription: {}", .0.name())]
    Refused(ReasonCode),
    /// The text is no topic filter. It is empty where no filter was given.
    #[error("not a topic filter: {0:?}")]
    Filter(String),
    /// What was asked for came with version 5.0 of MQTT, and the client speaks another.
    #[error("only MQTT 5.0 has requests and responses")]
    NeedsVersion5,
    /// The request cannot be sent: it is larger than the server takes.
    #[error("the request is larger than the server takes")]
    TooLarge,
    /// The client has ended.
    #[error("the client has ended")]
    Ended,
}

/// Why a request has no response.
///
/// ```
/// use mqway_client::{PublishError, RequestError};
///
/// let error = RequestError::Publish(PublishError::Ended);
/// assert_eq!(error.to_string(), "the client has ended");
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The request was not delivered.
    #[error("{0}")]
    Publish(#[source] PublishError),
    /// No response came in time. It may still come, and is then dropped.
    #[error("no response came in time")]
    TimedOut,
}
