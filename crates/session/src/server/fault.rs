use core::fmt;

use mqway_codec::{DecodeError, PacketType, ReasonCode};

use crate::alias::AliasError;

/// Why the server ends a connection. [MQTT-4.13.1-1]; 3.1.1: [MQTT-4.8.0-1]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The client sent what is no packet.
    Decode(DecodeError),
    /// The client sent a packet that it may not send, or not now.
    Misplaced(PacketType),
    /// An acknowledgement that is not the next one for the message that it is for (5.0 §4.3).
    OutOfTurn(PacketType),
    /// A PUBLISH with a topic alias that is above the maximum, or was not set.
    TopicAlias(AliasError),
    /// A PUBLISH of a client with a subscription identifier. [MQTT-3.3.4-6]
    SubscriptionIdentifier,
    /// More messages under way than our Receive Maximum allows. [MQTT-3.3.4-7]
    ReceiveMaximum,
    /// A PUBLISH above our Maximum QoS. [MQTT-3.2.2-11]
    Qos,
    /// A PUBLISH to be retained, though we retain nothing. [MQTT-3.2.2-14]
    Retain,
    /// DISCONNECT asks for a session that CONNECT said there would be none of (5.0 §3.14.2.2.2).
    SessionExpiry,
    /// An AUTH of another method than CONNECT's. [MQTT-4.12.1-1]
    AuthenticationMethod,
    /// An answer would be larger than the client takes. [MQTT-3.1.2-24]
    AnswerTooLarge,
    /// The client was silent for longer than it may. [MQTT-3.1.2-22]
    KeepAlive,
    /// Another connection has taken the session over. [MQTT-3.1.4-3]
    TakenOver,
    /// The server ends.
    ShuttingDown,
    /// A limit of the server; the text says which.
    Limit(&'static str),
}

impl Fault {
    /// The reason to give in a DISCONNECT of 5.0.
    pub fn reason(&self) -> ReasonCode {
        match self {
            Fault::Decode(error) => error.reason_code(),
            Fault::TopicAlias(AliasError::OverMaximum) => ReasonCode::TopicAliasInvalid, // [MQTT-3.3.2-9]
            Fault::Misplaced(_)
            | Fault::OutOfTurn(_)
            | Fault::TopicAlias(AliasError::Unknown)
            | Fault::SubscriptionIdentifier
            | Fault::SessionExpiry => ReasonCode::ProtocolError,
            Fault::ReceiveMaximum => ReasonCode::ReceiveMaximumExceeded,
            Fault::Qos => ReasonCode::QosNotSupported,
            Fault::Retain => ReasonCode::RetainNotSupported,
            Fault::AuthenticationMethod => ReasonCode::BadAuthenticationMethod,
            Fault::AnswerTooLarge => ReasonCode::PacketTooLarge,
            Fault::KeepAlive => ReasonCode::KeepAliveTimeout,
            Fault::TakenOver => ReasonCode::SessionTakenOver,
            Fault::ShuttingDown => ReasonCode::ServerShuttingDown,
            Fault::TopicAlias(AliasError::TooLong) | Fault::Limit(_) => ReasonCode::QuotaExceeded,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Decode(error) => error.fmt(f),
            Fault::Misplaced(packet_type) => write!(f, "a client may not send {packet_type} here"),
            Fault::OutOfTurn(packet_type) => {
                write!(f, "{packet_type} is not what comes next for its message")
            }
            Fault::TopicAlias(AliasError::OverMaximum) => {
                f.write_str("PUBLISH with a topic alias above the maximum")
            }
            Fault::TopicAlias(AliasError::Unknown) => {
                f.write_str("PUBLISH with a topic alias that was never set")
            }
            Fault::TopicAlias(AliasError::TooLong) => {
                f.write_str("topic aliases whose names are too long together")
            }
            Fault::SubscriptionIdentifier => {
                f.write_str("PUBLISH with a subscription identifier from a client")
            }
            Fault::ReceiveMaximum => f.write_str("more messages under way than the receive maximum allows"),
            Fault::Qos => f.write_str("PUBLISH above the maximum QoS"),
            Fault::Retain => f.write_str("PUBLISH to be retained, which is not available"),
            Fault::SessionExpiry => {
                f.write_str("DISCONNECT sets a session expiry, though CONNECT had set none")
            }
            Fault::AuthenticationMethod => f.write_str("AUTH of another method than that of CONNECT"),
            Fault::AnswerTooLarge => f.write_str("the answer would be larger than the client takes"),
            Fault::KeepAlive => f.write_str("nothing was heard for one and a half times the keep alive"),
            Fault::TakenOver => f.write_str("another connection uses this client identifier now"),
            Fault::ShuttingDown => f.write_str("the server is shutting down"),
            Fault::Limit(which) => write!(f, "over the limit: {which}"),
        }
    }
}

impl core::error::Error for Fault {}
