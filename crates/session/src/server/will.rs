use alloc::boxed::Box;

use mqway_codec::{self as codec, PropertiesBuf, PropertyId, QoS};

/// What to publish when a connection has ended without a word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Will {
    /// The topic name.
    pub topic: Box<str>,
    /// The message.
    pub payload: Box<[u8]>,
    /// The QoS to publish with.
    pub qos: QoS,
    /// Whether it is retained.
    pub retain: bool,
    /// Seconds to wait, in case the client comes back. [MQTT-3.1.3-9]
    pub delay: u32,
    /// The properties of the message; the delay is none of them.
    pub properties: PropertiesBuf,
}

/// Bytes of a will in memory beside what it says.
const OVERHEAD: usize = 128;

impl Will {
    /// Bytes that it is counted for, where bytes are limited.
    pub fn size(&self) -> usize {
        self.topic.len() + self.payload.len() + self.properties.as_properties().as_bytes().len() + OVERHEAD
    }

    /// A copy of what CONNECT says.
    pub fn of(will: &codec::Will<'_>) -> Will {
        let mut properties = PropertiesBuf::new();
        // In their order. [MQTT-3.1.3-10]
        for property in will.properties.iter().filter(|one| one.id() != PropertyId::WillDelayInterval) {
            // They stood together in one packet, so that none is there twice.
            let pushed = properties.push(property);
            debug_assert!(pushed.is_ok(), "{pushed:?}");
        }
        Will {
            topic: will.topic.into(),
            payload: will.payload.into(),
            qos: will.qos,
            retain: will.retain,
            delay: will.properties.will_delay_interval().unwrap_or(0),
            properties,
        }
    }
}
