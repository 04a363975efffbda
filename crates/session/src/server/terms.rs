use alloc::boxed::Box;
use core::num::NonZeroU16;

use mqway_codec::{MAX_REMAINING_LENGTH, QoS};

use super::NEVER;

/// What a server offers and demands, alike for all its clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Bytes of the largest packet to accept after CONNECT.
    pub maximum_packet: usize,
    /// Messages of QoS 1 and 2 that a client of 5.0 may have under way to us at once.
    pub receive_maximum: NonZeroU16,
    /// Topic aliases that a client may set.
    pub topic_alias_maximum: u16,
    /// Topic aliases that we set on a connection at the most, whatever the client takes.
    pub own_aliases: u16,
    /// Messages of QoS 1 and 2 under way to a client at once at the most, whatever the client takes.
    pub in_flight: NonZeroU16,
    /// The highest QoS that clients may publish with.
    pub maximum_qos: QoS,
    /// Whether messages are retained.
    pub retain: bool,
    /// Whether filters may have wildcards.
    pub wildcards: bool,
    /// Whether subscriptions may be shared.
    pub shares: bool,
    /// Whether subscriptions may have identifiers.
    pub identifiers: bool,
    /// The longest keep alive, in seconds: one of 5.0 that asks for more, or for none, is given it. Clients before 5.0
    /// cannot be told, and have what they ask for.
    pub keep_alive: Option<NonZeroU16>,
    /// The longest time, in seconds, that a session outlives its connection; [`NEVER`]: for ever.
    pub session_expiry: u32,
    /// What clients that ask for it may build response topics from.
    pub response_information: Option<Box<str>>,
}

impl Default for Terms {
    fn default() -> Terms {
        Terms {
            maximum_packet: MAX_REMAINING_LENGTH as usize + 5,
            receive_maximum: NonZeroU16::MAX,
            topic_alias_maximum: 16,
            own_aliases: 16,
            in_flight: NonZeroU16::MAX,
            maximum_qos: QoS::ExactlyOnce,
            retain: true,
            wildcards: true,
            shares: true,
            identifiers: true,
            keep_alive: None,
            session_expiry: NEVER,
            response_information: None,
        }
    }
}
