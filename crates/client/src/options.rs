//! What a client is told once, for all its connections.

use std::num::NonZeroU16;
use std::time::Duration;

use mqway_codec::{PropertiesBuf, Version};
use mqway_session::client::{Message, SessionLost};

use crate::error::ConnectError;
use crate::{Backoff, Outbox};

/// A session expiry that means never (5.0 §3.1.2.11.2).
const FOR_EVER: Duration = Duration::from_secs(u32::MAX as u64);

/// How a client behaves. The default speaks 5.0, keeps no session beyond its own life, and never gives up.
///
/// ```
/// use std::time::Duration;
/// use mqway_client::{Message, Options, QoS, Version};
///
/// let options = Options {
///     version: Version::V3_1_1,
///     // A name and a time: the server keeps the session, and what comes for it, while we are away.
///     client_id: "kitchen".to_owned(),
///     session_expiry: Some(Duration::from_secs(3600)),
///     keep_alive: 30,
///     will: Some(Message { qos: QoS::AtLeastOnce, ..Message::new("kitchen/state", "gone") }),
///     ..Options::default()
/// };
/// # assert!(!options.clean_start);
/// ```
#[derive(Clone, Debug)]
pub struct Options {
    /// The version to speak.
    pub version: Version,
    /// The client identifier. Empty: the server chooses one (5.0), or a random one is made.
    pub client_id: String,
    /// How long the server keeps the session without a connection. `None`: it ends with the connection, and messages
    /// that were under way then are sent again as new. Before 5.0 any time means for ever.
    pub session_expiry: Option<Duration>,
    /// Asks for an empty session at the first connection, also if one is to be kept from then on. Only in 5.0 can the
    /// two go together.
    pub clean_start: bool,
    /// The longest silence, in seconds; 0 for any. When nothing was sent or nothing came for so long, the server is
    /// asked for a sign of life.
    pub keep_alive: u16,
    /// How long the server may take to give one. A connection that is dead is noticed after this and `keep_alive`.
    pub ping_time: Duration,
    /// What the server publishes if the client is lost.
    pub will: Option<Message>,
    /// Further properties of CONNECT (5.0). Those that have an option of their own are taken from that, and a will's
    /// belong to [`Options::will`].
    pub properties: PropertiesBuf,
    /// Further properties of each SUBSCRIBE (5.0): user properties.
    pub subscribe_properties: PropertiesBuf,
    /// Properties of each UNSUBSCRIBE (5.0): user properties.
    pub unsubscribe_properties: PropertiesBuf,
    /// Properties of DISCONNECT (5.0), where the program asks for the end: a session expiry, user properties.
    pub disconnect_properties: PropertiesBuf,
    /// The time to connect: from asking the provider to CONNACK.
    pub connect_time: Duration,
    /// The waits between attempts.
    pub backoff: Backoff,
    /// The time for [`Client::disconnect`](crate::Client::disconnect) to deliver what waits.
    pub shutdown_time: Duration,
    /// Messages that wait in a subscription until the program takes them; then the network is left alone. While the
    /// program waits for an answer, which stands behind further messages, up to 16 MiB of them may wait too.
    pub buffer: usize,
    /// Messages that wait to be sent.
    pub queue: usize,
    /// Bytes of the largest packet to accept.
    pub maximum_packet: usize,
    /// Messages of QoS 1 and 2 to have under way at once from the server (5.0; before, it cannot be told).
    pub receive_maximum: u16,
    /// The highest topic alias to accept (5.0).
    pub topic_alias_maximum: u16,
    /// Messages of QoS 1 and 2 to have under way at once to the server. `None`: as many as it says that it takes in 5.0,
    /// and 20 before, where it cannot say.
    pub in_flight: Option<NonZeroU16>,
    /// What becomes of messages under way when the server has lost the session.
    pub session_lost: SessionLost,
    /// Go to the server that a server names when it refuses or ends a connection (5.0 §4.11), as the same user.
    pub follow_redirect: bool,
    /// Acknowledge only what [`Client::acknowledge`](crate::Client::acknowledge) names. What is named out of turn waits
    /// for the messages of its QoS that came before, as the specification demands: one that is never named holds up all
    /// that come after it on the same connection.
    pub manual_acknowledgement: bool,
    /// What is to survive the process. Its client identifier is used; the session is kept for as long as
    /// [`Options::session_expiry`] says, and without that for ever. See [`Outbox`].
    pub outbox: Option<Outbox>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            version: Version::V5,
            client_id: String::new(),
            session_expiry: None,
            clean_start: false,
            keep_alive: 60,
            ping_time: Duration::from_secs(10),
            will: None,
            properties: PropertiesBuf::new(),
            subscribe_properties: PropertiesBuf::new(),
            unsubscribe_properties: PropertiesBuf::new(),
            disconnect_properties: PropertiesBuf::new(),
            connect_time: Duration::from_secs(20),
            backoff: Backoff::default(),
            shutdown_time: Duration::from_secs(5),
            buffer: 256,
            queue: 1024,
            maximum_packet: 1024 * 1024,
            receive_maximum: u16::MAX,
            topic_alias_maximum: 16,
            in_flight: None,
            session_lost: SessionLost::Resend,
            follow_redirect: false,
            manual_acknowledgement: false,
            outbox: None,
        }
    }
}

/// Bytes of the smallest CONNACK of 5.0. Who takes less cannot connect.
const LEAST_PACKET: usize = 5;

impl Options {
    /// Refuses what no connection could be made with, again and again.
    pub(crate) fn check(&self) -> Result<(), ConnectError> {
        if self.receive_maximum == 0 {
            // 0 is a Protocol Error (5.0 §3.1.2.11.3).
            return Err(ConnectError::Options(
                "a receive maximum of 0 takes no message; use 1 or more".to_owned(),
            ));
        }
        if self.maximum_packet < LEAST_PACKET {
            let most = self.maximum_packet;
            let error = format!(
                "a maximum packet of {most} bytes has no room for CONNACK; use {LEAST_PACKET} or more"
            );
            return Err(ConnectError::Options(error));
        }
        Ok(())
    }

    /// Makes the options fit the outbox, if there is one.
    pub(crate) fn fit_outbox(&mut self) -> Result<(), ConnectError> {
        let Some(outbox) = &self.outbox else { return Ok(()) };
        let client_id = outbox.client_id();
        if !self.client_id.is_empty() && self.client_id != client_id {
            let error = format!("the outbox belongs to the client {client_id:?}, not {:?}", self.client_id);
            return Err(ConnectError::Options(error));
        }
        let expiry = self.session_expiry.unwrap_or(FOR_EVER);
        if self.clean_start || expiry < Duration::from_secs(1) {
            return Err(ConnectError::Options("an outbox is for a session that is kept".to_owned()));
        }
        self.client_id = client_id.to_owned();
        self.session_expiry = Some(expiry);
        Ok(())
    }

    pub(crate) fn session(&self) -> mqway_session::client::Options {
        let usual = mqway_session::client::Options::new(self.version);
        mqway_session::client::Options {
            // The task takes no more from its callers than `queue`; what was accepted always has room here.
            queue_limit: usize::MAX,
            maximum_packet: self.maximum_packet,
            receive_maximum: self.receive_maximum,
            in_flight: self.in_flight.unwrap_or(usual.in_flight),
            topic_alias_maximum: self.topic_alias_maximum,
            session_lost: self.session_lost,
            // Where a process may end at any moment, the program must have done with a message first.
            manual_acknowledgement: self.manual_acknowledgement || self.outbox.is_some(),
            ping_time: self.ping_time,
            subscribe_properties: self.subscribe_properties.clone(),
            unsubscribe_properties: self.unsubscribe_properties.clone(),
            ..usual
        }
    }
}
