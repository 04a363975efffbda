//! What a program is told.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use mqway_codec::{DecodeError, PacketType, PropertiesBuf, QoS, ReasonCode};

use super::{Incoming, Message, Ticket};

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The server has accepted the connection.
    Connected {
        /// It still has the session of the connection before.
        session_present: bool,
        /// What its CONNACK says.
        properties: PropertiesBuf,
    },
    /// The server has forgotten the session, and messages of QoS 1 and 2 were under way: what became of them, by
    /// [`Options::session_lost`](super::Options::session_lost). Comes behind `Connected`.
    SessionLost {
        /// Those that are sent again as new: they may arrive twice.
        resent: usize,
        /// Those that failed, each with [`Outcome::SessionLost`].
        failed: usize,
        /// Those that were dropped, each with [`Outcome::Dropped`].
        dropped: usize,
    },
    /// The server has refused the connection, as its CONNACK says.
    Refused(Notice),
    /// The server ends the connection, as its DISCONNECT says.
    Disconnected(Notice),
    /// A message has come.
    Message(Incoming),
    /// A message has come that is larger than [`Options::maximum_packet`](super::Options::maximum_packet). It was
    /// skipped and acknowledged, so that the server does not send it for ever; in 5.0 with
    /// [`ReasonCode::ImplementationSpecificError`].
    Skipped {
        /// Its topic name.
        topic: Box<str>,
        /// Its quality of service.
        qos: QoS,
        /// Bytes of the whole packet.
        size: usize,
    },
    /// A message is done with.
    Published {
        /// Which.
        ticket: Ticket,
        /// How it went.
        outcome: Outcome,
    },
    /// A SUBSCRIBE or UNSUBSCRIBE was answered.
    Answered {
        /// Which.
        ticket: Ticket,
        /// A code for each filter, in order; before 5.0 an UNSUBSCRIBE has none.
        codes: Vec<ReasonCode>,
        /// What the answer says beside (5.0).
        properties: PropertiesBuf,
    },
    /// A SUBSCRIBE or UNSUBSCRIBE cannot be sent: it is larger than the server takes, say. [MQTT-3.2.2-15]
    Unsent {
        /// Which.
        ticket: Ticket,
    },
    /// The server has forgotten a subscription, and refused to make it again. It is no more.
    SubscriptionLost {
        /// Its topic filter.
        filter: Box<str>,
        /// Why.
        reason: ReasonCode,
    },
    /// The server continues an authentication.
    Auth {
        /// 0x18, or 0x00 at the end of a re-authentication.
        reason: ReasonCode,
        /// Method and data.
        properties: PropertiesBuf,
    },
}

/// How a publication ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// QoS 0: it was given to the network.
    Sent,
    /// QoS 1 and 2: the server has answered.
    Answered(Receipt),
    /// The server has lost the session, and with it whether it ever got the message, which is given back.
    SessionLost(Arc<Message>),
    /// The server has lost the session, and the message was not to outlive it; it is given back.
    Dropped(Arc<Message>),
    /// It is larger than the server takes; it is given back. [MQTT-3.2.2-15]
    TooLarge(Arc<Message>),
    /// The server takes no message of its QoS, as it said after the message was accepted here; it is given back.
    QosNotSupported(Arc<Message>),
    /// The server retains none, as it said after the message was accepted here; it is given back.
    RetainNotSupported(Arc<Message>),
    /// It is no message: no topic name, or properties that a PUBLISH does not have. It is given back.
    Invalid(Arc<Message>),
}

/// What a server says about a message.
///
/// ```
/// use mqway_codec::{PropertiesBuf, ReasonCode};
/// use mqway_session::client::Receipt;
///
/// let receipt =
///     Receipt { reason: ReasonCode::NoMatchingSubscribers, properties: PropertiesBuf::new(), resent: false };
/// assert_eq!(receipt.to_string(), "No matching subscribers");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// From 0x80 on the server refused the message.
    pub reason: ReasonCode,
    /// What its PUBACK or PUBREC says beside (5.0): a reason string, say.
    pub properties: PropertiesBuf,
    /// A session was lost while the message was under way, and it was sent again as new: it may have arrived twice.
    pub resent: bool,
}

/// What a server says about a connection.
///
/// ```
/// use mqway_codec::{Property, PropertiesBuf, ReasonCode};
/// use mqway_session::client::Notice;
///
/// let mut properties = PropertiesBuf::new();
/// properties.push(Property::ReasonString("closed for lunch"))?;
/// let notice = Notice { reason: ReasonCode::ServerBusy, properties };
/// assert_eq!(notice.to_string(), "Server busy (\"closed for lunch\")");
/// # Ok::<(), mqway_codec::EncodeError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Why.
    pub reason: ReasonCode,
    /// What the packet says beside (5.0): a reason string, another server to use.
    pub properties: PropertiesBuf,
}

/// The reason's name, and the server's own words if there are any.
impl fmt::Display for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        explain(f, self.reason, &self.properties)
    }
}

/// The reason's name, and the server's own words if there are any.
impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        explain(f, self.reason, &self.properties)
    }
}

fn explain(f: &mut fmt::Formatter<'_>, reason: ReasonCode, properties: &PropertiesBuf) -> fmt::Result {
    f.write_str(reason.name())?;
    match properties.as_properties().reason_string() {
        // Quoted, so that what a server says cannot pass for a line of ours.
        Some(words) => write!(f, " ({words:?})"),
        None => Ok(()),
    }
}

/// Why a connection must end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The server sent what is no packet.
    Decode(DecodeError),
    /// The server sent a packet that it may not send, or not now.
    Misplaced(PacketType),
    /// The server acknowledged what was not sent.
    UnknownId(PacketType),
    /// The server sent more than our Receive Maximum allows. [MQTT-3.3.4-9]
    ReceiveMaximum,
    /// The server used a topic alias beyond our maximum (5.0 §3.3.2.3.4).
    TopicAlias,
    /// The server answered a SUBSCRIBE or UNSUBSCRIBE with the wrong packet, or with too few or too many codes
    /// (5.0 §3.9.3, §3.11.3).
    NoAnswerTo(PacketType),
    /// The server has a session although we have none, and said so. [MQTT-3.2.2-4]
    SessionPresent,
    /// The server did not answer PINGREQ in time.
    NoAnswer,
}

impl Fault {
    /// The reason to give in a DISCONNECT of 5.0.
    pub fn reason(&self) -> ReasonCode {
        match self {
            Fault::Decode(error) => error.reason_code(),
            Fault::Misplaced(_) | Fault::UnknownId(_) | Fault::NoAnswerTo(_) | Fault::SessionPresent => {
                ReasonCode::ProtocolError
            }
            Fault::ReceiveMaximum => ReasonCode::ReceiveMaximumExceeded,
            Fault::TopicAlias => ReasonCode::TopicAliasInvalid,
            Fault::NoAnswer => ReasonCode::UnspecifiedError,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Decode(error) => error.fmt(f),
            Fault::Misplaced(packet_type) => {
                write!(f, "the server may not send {packet_type} here")
            }
            Fault::UnknownId(packet_type) => {
                write!(f, "{packet_type} for a packet identifier that is not in use")
            }
            Fault::ReceiveMaximum => f.write_str("the server has more messages under way than it may"),
            Fault::TopicAlias => f.write_str("PUBLISH with a topic alias beyond the maximum"),
            Fault::NoAnswerTo(packet_type) => write!(f, "{packet_type} does not answer what was asked"),
            Fault::SessionPresent => {
                f.write_str("CONNACK with a session although a clean start was asked for")
            }
            Fault::NoAnswer => f.write_str("the server did not answer PINGREQ in time"),
        }
    }
}

impl core::error::Error for Fault {}
