use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use mqway_codec::{PacketId, Properties, PropertiesBuf, Property, Publish, QoS, SubscriptionId, Version};

use crate::alias::{AliasesOut, Sent};

/// The sending half of a connection: how packets for this client are written. It dies with the connection.
#[derive(Debug)]
pub struct Sender {
    version: Version,
    maximum_packet: u32,
    /// Absent where the client takes none, as most do.
    aliases: Option<Box<AliasesOut>>,
}

/// One message on its way to one client.
#[derive(Clone, Copy, Debug)]
pub struct Copy<'a> {
    /// The topic name.
    pub topic: &'a str,
    /// The message.
    pub payload: &'a [u8],
    /// Its properties, but for message expiry, topic alias and subscription identifiers.
    pub properties: Properties<'a>,
    /// Seconds that are left of the message expiry interval. [MQTT-3.3.2-6]
    pub expiry: Option<u32>,
    /// With which QoS it is sent.
    pub qos: QoS,
    /// Present with QoS 1 and 2.
    pub id: Option<PacketId>,
    /// It may have been sent before.
    pub dup: bool,
    /// The retain flag, for this client.
    pub retain: bool,
    /// The identifiers of the subscriptions that it is for. [MQTT-3.3.4-4]
    pub identifiers: &'a [SubscriptionId],
}

/// Why a message is not sent to a client. As far as it is concerned, it is done with. [MQTT-3.1.2-25]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotSent {
    /// The packet would be larger than the client takes. [MQTT-3.1.2-24]
    TooLarge,
    /// It cannot be written in this version.
    NotEncodable,
}

impl fmt::Display for NotSent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            NotSent::TooLarge => "larger than the client takes",
            NotSent::NotEncodable => "not to be written in the version of the client",
        })
    }
}

impl core::error::Error for NotSent {}

impl Sender {
    pub(super) fn new(version: Version, maximum_packet: u32, aliases: u16) -> Sender {
        let aliases = (aliases > 0).then(|| Box::new(AliasesOut::new(aliases)));
        Sender { version, maximum_packet, aliases }
    }

    /// The version of the connection.
    #[inline]
    pub fn version(&self) -> Version {
        self.version
    }

    /// Bytes of the largest packet that the client takes.
    #[inline]
    pub fn maximum_packet(&self) -> u32 {
        self.maximum_packet
    }

    /// Whether a message is the same for all such clients of the same version, but for its first byte and its packet
    /// identifier: so that it need be written once only.
    #[inline]
    pub fn is_plain(&self) -> bool {
        self.aliases.is_none()
    }

    /// Appends the PUBLISH of a message, without its payload, which is to follow. `scratch` is cleared first.
    ///
    /// # Errors
    /// If the client will not take it; nothing is appended then.
    pub fn head(
        &mut self,
        copy: &Copy<'_>,
        scratch: &mut PropertiesBuf,
        out: &mut Vec<u8>,
    ) -> Result<(), NotSent> {
        let start = out.len();
        let sent = match &mut self.aliases {
            Some(aliases) if self.version == Version::V5 => aliases.send(copy.topic),
            _ => Sent::Name,
        };
        let written = self.write(copy, sent, scratch, out);
        if written.is_err() {
            out.truncate(start);
            if let Some(aliases) = &mut self.aliases {
                aliases.take_back(sent);
            }
        }
        written
    }

    fn write(
        &self,
        copy: &Copy<'_>,
        sent: Sent,
        scratch: &mut PropertiesBuf,
        out: &mut Vec<u8>,
    ) -> Result<(), NotSent> {
        let alias = match sent {
            Sent::Name => None,
            Sent::NameAndAlias(alias) | Sent::Alias(alias) => Some(alias),
        };
        let adds = alias.is_some() || copy.expiry.is_some() || !copy.identifiers.is_empty();
        let properties = if adds && self.version == Version::V5 {
            scratch.clear();
            let own = [copy.expiry.map(Property::MessageExpiryInterval), alias.map(Property::TopicAlias)];
            let identifiers = copy.identifiers.iter().copied().map(Property::SubscriptionIdentifier);
            let all = copy.properties.iter().chain(own.into_iter().flatten()).chain(identifiers);
            scratch.extend(all).map_err(|_| NotSent::NotEncodable)?;
            scratch.as_properties()
        } else {
            copy.properties
        };
        let publish = Publish {
            dup: copy.dup,
            qos: copy.qos,
            retain: copy.retain,
            topic: if matches!(sent, Sent::Alias(_)) { "" } else { copy.topic },
            packet_id: copy.id,
            properties,
            payload: copy.payload,
        };
        let start = out.len();
        publish.encode_head(self.version, out).map_err(|_| NotSent::NotEncodable)?;
        let len = out.len() - start + copy.payload.len();
        if len > self.maximum_packet as usize { Err(NotSent::TooLarge) } else { Ok(()) }
    }
}
