//! What goes out: CONNECT, messages, and the order among them.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::num::{NonZeroU16, NonZeroU32};
use core::time::Duration;

use mqway_codec::{
    Connect, EncodeError, Packet, PacketId, PropertiesBuf, Property, PropertyId, Publish, QoS, Version,
};

use super::{Change, Client, Event, Message, Options, Outcome, Publication};
use crate::Outgoing;
use crate::alias::Sent;

/// CONNECT with our own limits in it.
pub(super) fn connect(options: &Options, connect: &Connect<'_>) -> Result<Vec<u8>, EncodeError> {
    let mut properties = PropertiesBuf::new();
    let ours = [PropertyId::ReceiveMaximum, PropertyId::MaximumPacketSize, PropertyId::TopicAliasMaximum];
    properties.extend(connect.properties.iter().filter(|property| !ours.contains(&property.id())))?;
    if let Some(maximum) = NonZeroU16::new(options.receive_maximum).filter(|maximum| maximum.get() < u16::MAX)
    {
        properties.push(Property::ReceiveMaximum(maximum))?;
    }
    if let Some(maximum) = u32::try_from(options.maximum_packet).ok().and_then(NonZeroU32::new) {
        properties.push(Property::MaximumPacketSize(maximum))?;
    }
    if options.topic_alias_maximum > 0 {
        properties.push(Property::TopicAliasMaximum(options.topic_alias_maximum))?;
    }
    let mut connect = *connect;
    connect.version = options.version;
    connect.properties = properties.as_properties();
    let mut packet = Vec::new();
    Packet::Connect(connect).encode(options.version, &mut packet)?;
    Ok(packet)
}

impl Client {
    /// Sends what may be sent: requests, then messages of QoS 1 and 2 as far as the server has room, then those of
    /// QoS 0 that waited.
    pub(super) fn pump(&mut self, now: Duration) {
        if !self.is_connected() {
            return; // [MQTT-3.1.2-30]
        }
        // These take nothing of the quota, and do not wait for it. [MQTT-3.3.4-8]
        self.send_requests(now);
        while self.send_next(now) {}
        while let Some(publication) = self.unsent.pop_front() {
            let outcome = self.send(now, None, false, publication.message).unwrap_or_else(|failed| failed);
            self.events.push_back(Event::Published { ticket: publication.ticket, outcome });
        }
    }

    /// Sends the next message of QoS 1 or 2, or PUBREL.
    fn send_next(&mut self, now: Duration) -> bool {
        let (id, qos, dup, Publication { ticket, message, .. }) = match self.outbound.next_outgoing() {
            None => return false,
            Some(Outgoing::Pubrel { id }) => {
                self.write(now, &Packet::Pubrel(mqway_codec::Ack::new(id)));
                return true;
            }
            Some(Outgoing::Publish { id, qos, dup, message }) => (id, qos, dup, message.clone()),
        };
        if !dup {
            self.note(|| Change::Sent { ticket, id });
        }
        if let Err(outcome) = self.send(now, Some(id), dup, message) {
            // It can never be sent: done with, so that those behind it are not held up for ever.
            let removed = match qos {
                QoS::ExactlyOnce => self.outbound.pubrec_refused(id),
                QoS::AtMostOnce | QoS::AtLeastOnce => self.outbound.puback(id),
            };
            if let Ok(Publication { ticket, .. }) = removed {
                self.note(|| Change::Done { ticket });
                self.events.push_back(Event::Published { ticket, outcome });
            }
        }
        true
    }

    /// Writes a PUBLISH. `Err`: why it cannot be.
    fn send(
        &mut self,
        now: Duration,
        packet_id: Option<PacketId>,
        dup: bool,
        message: Arc<Message>,
    ) -> Result<Outcome, Outcome> {
        let version = self.options.version;
        let Some(live) = &mut self.live else {
            return Err(Outcome::Invalid(message));
        };
        // It may have been accepted before the server said so.
        if let Some(refused) = live.limits.refuse(&message) {
            return Err(refused);
        }
        let sent = if version == Version::V5 { live.aliases_out.send(&message.topic) } else { Sent::Name };
        let aliased = match sent {
            Sent::Name => None,
            Sent::NameAndAlias(alias) | Sent::Alias(alias) => Some(alias),
        };
        let mut with_alias = PropertiesBuf::new();
        if let Some(alias) = aliased {
            with_alias = PropertiesBuf::from(message.properties.as_properties());
            if with_alias.push(Property::TopicAlias(alias)).is_err() {
                live.aliases_out.take_back(sent);
                return Err(Outcome::Invalid(message));
            }
        }
        let publish = Publish {
            dup,
            qos: message.qos,
            retain: message.retain,
            topic: if matches!(sent, Sent::Alias(_)) { "" } else { &message.topic },
            packet_id,
            properties: match aliased {
                Some(_) => with_alias.as_properties(),
                None => message.properties.as_properties(),
            },
            payload: &message.payload,
        };
        let encoded = self.output.encode(|out| publish.encode(version, out));
        if encoded.is_err() {
            live.aliases_out.take_back(sent);
            return Err(Outcome::Invalid(message));
        }
        // [MQTT-3.2.2-15]: nothing larger than the server takes.
        if self.output.last_len() > live.limits.maximum_packet {
            self.output.pop();
            live.aliases_out.take_back(sent);
            return Err(Outcome::TooLarge(message));
        }
        live.pinger.sent(now);
        Ok(Outcome::Sent)
    }

    /// Writes a packet that this side made itself, and that can be encoded.
    pub(super) fn write(&mut self, now: Duration, packet: &Packet<'_>) {
        let written = self.encode(packet);
        debug_assert!(written.is_ok(), "{packet:?}");
        if let Some(live) = &mut self.live {
            live.pinger.sent(now);
        }
    }

    /// Writes a packet that the program made, if it can be encoded and the server takes it.
    pub(super) fn try_write(&mut self, now: Duration, packet: &Packet<'_>) -> Option<()> {
        self.encode_fitting(packet)?;
        if let Some(live) = &mut self.live {
            live.pinger.sent(now);
        }
        Some(())
    }

    /// Appends a packet, or nothing if it is larger than the server takes. [MQTT-3.2.2-15]
    pub(super) fn encode_fitting(&mut self, packet: &Packet<'_>) -> Option<()> {
        self.encode(packet).ok()?;
        let maximum = self.live.as_ref().map_or(usize::MAX, |live| live.limits.maximum_packet);
        if self.output.last_len() > maximum {
            self.output.pop();
            return None;
        }
        Some(())
    }

    pub(super) fn encode(&mut self, packet: &Packet<'_>) -> Result<(), EncodeError> {
        let version = self.options.version;
        self.output.encode(|out| packet.encode(version, out))
    }
}
