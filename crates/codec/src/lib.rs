#![doc = include_str!("../README.md")]
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

mod decoder;
mod error;
mod header;
mod packet;
mod properties;
mod qos;
mod reader;
mod reason;
mod topic;
mod varint;
mod version;
mod writer;

pub use decoder::{Decoder, decode};
pub use error::{Blame, DecodeError, EncodeError, Fault, Field};
pub use header::{Header, PacketType};
pub use packet::{
    Ack, Auth, Connack, Connect, Disconnect, Packet, Publish, ReasonCodes, ReasonCodesBuf, RetainHandling,
    Suback, Subscribe, SubscribeOptions, Subscription, Subscriptions, SubscriptionsBuf, TopicFilters,
    TopicFiltersBuf, Unsuback, Unsubscribe, Will, version_for_unknown_level,
};
pub use properties::{
    PayloadFormat, Properties, PropertiesBuf, Property, PropertyId, PropertyIter, SubscriptionId,
};
pub use qos::{PacketId, QoS};
pub use reason::{ConnectReturnCode, ReasonCode};
pub use topic::{MAX_TOPIC_LEN, TopicError, TopicFilter, TopicName};
pub use version::Version;

/// The most bytes that can follow a packet's header, and the highest subscription identifier.
pub const MAX_REMAINING_LENGTH: u32 = varint::MAX;
