//! Messages as a program has them: owned, and whole.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use mqway_codec::{PacketId, PropertiesBuf, Property, QoS};

/// A message to publish.
///
/// ```
/// use mqway_codec::{Property, PropertiesBuf, QoS};
/// use mqway_session::client::Message;
///
/// let mut properties = PropertiesBuf::new();
/// properties.push(Property::MessageExpiryInterval(60))?;
/// let message = Message { qos: QoS::AtLeastOnce, retain: true, properties, ..Message::new("kitchen/light", "on") };
/// # assert_eq!(message.payload, b"on");
/// # Ok::<(), mqway_codec::EncodeError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Message {
    /// The topic name.
    pub topic: String,
    /// What it says.
    pub payload: Vec<u8>,
    /// The quality of service.
    pub qos: QoS,
    /// Whether the server keeps it for later subscribers.
    pub retain: bool,
    /// Properties of 5.0; before, they are left out.
    pub properties: PropertiesBuf,
}

impl Message {
    /// A message of QoS 0, not retained.
    pub fn new(topic: impl Into<String>, payload: impl Into<Vec<u8>>) -> Message {
        Message {
            topic: topic.into(),
            payload: payload.into(),
            qos: QoS::AtMostOnce,
            retain: false,
            properties: PropertiesBuf::new(),
        }
    }
}

/// Of the payload only the length.
impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("topic", &self.topic)
            .field("payload", &format_args!("{} bytes", self.payload.len()))
            .field("qos", &self.qos)
            .field("retain", &self.retain)
            .field("properties", &self.properties)
            .finish()
    }
}

/// A message that has come.
///
/// ```
/// use mqway_session::client::Incoming;
///
/// fn show(message: &Incoming) -> String {
///     let kept = if message.retain { " (retained)" } else { "" };
///     let reason = message.properties.as_properties().content_type().unwrap_or("no type");
///     format!("{}{kept}: {} bytes, {reason}", message.topic, message.payload.len())
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incoming {
    /// The topic name, also where an alias stood for it.
    pub topic: Box<str>,
    /// What it says.
    pub payload: Box<[u8]>,
    /// The quality of service that it came with.
    pub qos: QoS,
    /// The packet identifier that it came with, unless that was QoS 0. Soon another message has it.
    pub packet_id: Option<PacketId>,
    /// It was retained before it was asked for; or, by request, it was published so.
    pub retain: bool,
    /// The server may have sent it before.
    pub dup: bool,
    /// Properties of 5.0.
    pub properties: PropertiesBuf,
    /// To acknowledge it by, if that is not done already.
    pub token: Option<AckToken>,
}

impl Incoming {
    /// The message that answers this request (5.0 §4.10): to its Response Topic, with its Correlation Data and at its
    /// QoS. `None` if it is no request.
    pub fn response(&self, payload: impl Into<Vec<u8>>) -> Option<Message> {
        let asked = self.properties.as_properties();
        let mut response = Message { qos: self.qos, ..Message::new(asked.response_topic()?, payload) };
        if let Some(correlation) = asked.correlation_data() {
            // It stood in a packet already, and so fits into one.
            response.properties.push(Property::CorrelationData(correlation)).ok()?;
        }
        Some(response)
    }
}

/// The right to acknowledge one message, once.
///
/// ```
/// use mqway_session::client::{AckToken, Incoming};
///
/// /// Some to be carried out later, each with what acknowledges it then.
/// fn for_later(messages: Vec<Incoming>) -> Vec<(Box<[u8]>, Option<AckToken>)> {
///     messages.into_iter().map(|message| (message.payload, message.token)).collect()
/// }
/// ```
#[derive(Debug, PartialEq, Eq)]
pub struct AckToken {
    pub(super) id: PacketId,
    pub(super) qos: QoS,
    pub(super) epoch: u32,
}

impl Clone for AckToken {
    /// A token of a message that was itself copied names the same message; only the first use counts.
    fn clone(&self) -> AckToken {
        AckToken { ..*self }
    }
}
