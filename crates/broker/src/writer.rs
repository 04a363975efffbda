//! How a message is written for its receivers: once for all that are alike.

use std::sync::Arc;
use std::time::Duration;

use mqway_codec::{PacketId, Properties, PropertiesBuf, Publish, QoS, ReasonCode, SubscriptionId, Version};
use mqway_engine::{Blob, ConnId, Io};
use mqway_session::server::{Copy, NotSent, Sender};

use crate::message::{Expired, time_left};

/// Writes messages to connections.
#[derive(Default)]
pub(crate) struct Writer {
    /// The beginning of one message: for 3.x and 5.0, each without and with a packet identifier.
    heads: [Head; 4],
    scratch: Vec<u8>,
    properties: PropertiesBuf,
}

#[derive(Default)]
struct Head {
    /// Which message it is of; 0 is none.
    serial: u64,
    bytes: Vec<u8>,
}

/// A message for one receiver.
pub(crate) struct Letter<'a> {
    /// Tells messages apart that follow one another; 0 for one that is written once only.
    pub serial: u64,
    /// The packet as it came, if it may go on so to this receiver, but for flags and identifier.
    pub raw: Option<&'a [u8]>,
    pub topic: &'a str,
    pub payload: &'a [u8],
    /// The payload, if it is sent from where it lies.
    pub blob: Option<&'a Arc<Blob>>,
    pub properties: Properties<'a>,
    pub expires: Option<Duration>,
    pub qos: QoS,
    pub id: Option<PacketId>,
    pub dup: bool,
    pub retain: bool,
    pub identifiers: &'a [SubscriptionId],
}

impl Letter<'_> {
    /// Bytes that are copied for its receiver, about.
    #[inline]
    pub fn copied(&self) -> usize {
        if self.blob.is_none() { self.payload.len() } else { 0 }
    }

    /// Puts this receiver's flags and identifier, which stands there, into the beginning of the packet.
    #[inline]
    fn mark(&self, head: &mut [u8], id_at: usize) {
        if let Some(first) = head.first_mut() {
            *first = 0x30 | u8::from(self.dup) << 3 | (self.qos as u8) << 1 | u8::from(self.retain);
        }
        if let (Some(id), Some(place)) = (self.id, head.get_mut(id_at..id_at + 2)) {
            place.copy_from_slice(&id.value().to_be_bytes());
        }
    }
}

/// Why a message was not written.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unwritten {
    Expired,
    TooLarge,
    /// Hooks do not let it, for this reason.
    Denied(ReasonCode),
}

impl Unwritten {
    /// The name of the counter that counts it.
    pub fn counter(&self) -> &'static str {
        match self {
            Unwritten::Expired => "dropped_expired",
            Unwritten::TooLarge => "dropped_too_large",
            Unwritten::Denied(_) => "deliveries_denied",
        }
    }
}

impl Writer {
    /// Sends a message. Returns how many bytes now wait for the receiver.
    #[inline]
    pub fn write<M>(
        &mut self,
        io: &mut Io<M>,
        conn: ConnId,
        sender: &mut Sender,
        letter: &Letter<'_>,
    ) -> Result<usize, Unwritten> {
        let left = match time_left(letter.expires, io.now()) {
            Ok(left) => left,
            // What was sent before does not expire any more: its receiver may have it, and wait. [MQTT-4.3.3-7]
            Err(Expired) if letter.dup => Some(0),
            Err(Expired) => return Err(Unwritten::Expired),
        };
        let version = sender.version();
        let plain = sender.is_plain() && letter.identifiers.is_empty() && left.is_none();
        if !plain && version == Version::V5 {
            return self.write_alone(io, conn, sender, letter, left);
        }
        if let Some(packet) = letter.raw
            && letter.id.is_none()
            && letter.blob.is_none()
            && !letter.retain
        {
            if packet.len() > sender.maximum_packet() as usize {
                return Err(Unwritten::TooLarge); // [MQTT-3.1.2-24]
            }
            return Ok(io.send_parts(conn, packet, &[]));
        }
        let (head, id_at) = self.head(version, letter)?;
        if head.len() + letter.payload.len() > sender.maximum_packet() as usize {
            return Err(Unwritten::TooLarge); // [MQTT-3.1.2-24]
        }
        let mark = |head: &mut [u8]| letter.mark(head, id_at);
        Ok(match letter.blob {
            None => io.send_marked(conn, head, letter.payload, mark),
            Some(blob) => {
                let mut head = head.to_vec();
                mark(&mut head);
                io.send_blob(conn, &head, blob)
            }
        })
    }

    /// The beginning of the packet, as it came or written unless it was before, with whatever flags and identifier; and
    /// where the identifier stands, if there is one.
    #[inline]
    fn head<'a>(&'a mut self, version: Version, letter: &Letter<'a>) -> Result<(&'a [u8], usize), Unwritten> {
        let head = match letter.raw {
            Some(packet) => {
                let len = packet.len().saturating_sub(letter.payload.len());
                packet.get(..len).unwrap_or_default()
            }
            None => {
                let layout = usize::from(is_5(version)) * 2 + usize::from(letter.id.is_some());
                let head = &mut self.heads[layout];
                if letter.serial != head.serial || letter.serial == 0 {
                    head.fill(version, letter).ok_or(Unwritten::TooLarge)?;
                }
                &head.bytes
            }
        };
        let tail = if is_5(version) { properties_len(letter.properties) } else { 0 };
        Ok((head, head.len().saturating_sub(tail + 2)))
    }

    /// What is like no other receiver's.
    fn write_alone<M>(
        &mut self,
        io: &mut Io<M>,
        conn: ConnId,
        sender: &mut Sender,
        letter: &Letter<'_>,
        expiry: Option<u32>,
    ) -> Result<usize, Unwritten> {
        let copy = Copy {
            topic: letter.topic,
            payload: letter.payload,
            properties: letter.properties,
            expiry,
            qos: letter.qos,
            id: letter.id,
            dup: letter.dup,
            retain: letter.retain,
            identifiers: letter.identifiers,
        };
        self.scratch.clear();
        sender.head(&copy, &mut self.properties, &mut self.scratch).map_err(|error| match error {
            NotSent::TooLarge | NotSent::NotEncodable => Unwritten::TooLarge,
        })?;
        Ok(send(io, conn, &self.scratch, letter))
    }
}

#[inline]
fn send<M>(io: &mut Io<M>, conn: ConnId, head: &[u8], letter: &Letter<'_>) -> usize {
    match letter.blob {
        None => io.send_parts(conn, head, letter.payload),
        Some(blob) => io.send_blob(conn, head, blob),
    }
}

impl Head {
    /// `None` if it cannot be written: with the receiver's own version of it the packet would be too long.
    fn fill(&mut self, version: Version, letter: &Letter<'_>) -> Option<()> {
        self.serial = 0;
        self.bytes.clear();
        encode_head(version, letter, &mut self.bytes)?;
        self.serial = letter.serial;
        Some(())
    }
}

fn encode_head(version: Version, letter: &Letter<'_>, out: &mut Vec<u8>) -> Option<()> {
    let publish = Publish {
        dup: false,
        qos: if letter.id.is_some() { QoS::AtLeastOnce } else { QoS::AtMostOnce },
        retain: false,
        topic: letter.topic,
        packet_id: letter.id,
        properties: letter.properties,
        payload: letter.payload,
    };
    publish.encode_head(version, out).ok()
}

/// 3.1 and 3.1.1 write PUBLISH alike.
pub(crate) fn is_5(version: Version) -> bool {
    version == Version::V5
}

/// Bytes of the properties with their length in front.
fn properties_len(properties: Properties<'_>) -> usize {
    let len = properties.as_bytes().len();
    len + match len {
        0..0x80 => 1,
        0x80..0x4000 => 2,
        0x4000..0x20_0000 => 3,
        _ => 4,
    }
}
