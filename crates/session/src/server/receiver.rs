use alloc::boxed::Box;
use alloc::vec::Vec;
use core::time::Duration;

use mqway_codec::{
    Ack, Auth, Decoder, Disconnect, Packet, PacketType, PropertyId, Publish, QoS, ReasonCode, Subscribe,
    Unsubscribe, Version,
};

use super::{Fault, Session, Terms, acknowledge};
use crate::Arrival;
use crate::alias::AliasesIn;
use crate::keep_alive::Watch;

/// The receiving half of a connection: what comes from the client.
///
/// It dies with the connection, and is small: of a client that uses no topic alias it is all there is.
#[derive(Debug)]
pub struct Receiver {
    decoder: Decoder,
    watch: Watch,
    version: Version,
    maximum_qos: QoS,
    retain: bool,
    topic_alias_maximum: u16,
    /// Made when the client sets its first alias. [MQTT-3.3.2-7]
    aliases: Option<Box<AliasesIn>>,
}

/// What a packet means for the server.
#[derive(Debug)]
pub enum Event<'a, M> {
    /// Nothing more than what was answered.
    None,
    /// A message to be routed, and then, with QoS 1 and 2, acknowledged by [`Session::acknowledge`].
    Publish(Incoming<'a>),
    /// Subscriptions to be made, and answered.
    Subscribe(Subscribe<'a>),
    /// Subscriptions to be removed, and answered.
    Unsubscribe(Unsubscribe<'a>),
    /// A step of a delivery, either way.
    Acknowledged(Acknowledged<M>),
    /// A step of an authentication; see [`Exchange`](super::Exchange).
    Auth(Auth<'a>),
    /// The client leaves. The session knows already what becomes of the will.
    Disconnect(ReasonCode),
}

/// What a PUBACK, PUBREC, PUBREL or PUBCOMP means for the server, beyond what was answered.
#[derive(Debug)]
pub enum Acknowledged<M> {
    /// Nothing.
    Nothing,
    /// The client is done with a message, of which nothing need be kept any more, and there is room for another.
    /// From 0x80 on the reason says that it refused it.
    Done(Option<M>, ReasonCode),
    /// The client has a message of QoS 2: only its identifier is still under way.
    Received(Option<M>),
}

/// A message from a client.
#[derive(Clone, Copy, Debug)]
pub struct Incoming<'a> {
    /// The topic name, whether it was said or an alias stood for it.
    pub topic: &'a str,
    /// The packet; its own topic may be empty.
    pub publish: Publish<'a>,
}

impl Receiver {
    pub(super) fn new(version: Version, terms: &Terms, watch: Watch) -> Receiver {
        Receiver {
            decoder: Decoder::with_version(version, terms.maximum_packet),
            watch,
            version,
            maximum_qos: terms.maximum_qos,
            retain: terms.retain,
            topic_alias_maximum: terms.topic_alias_maximum,
            aliases: None,
        }
    }

    /// The version of the connection.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Something came: the client lives.
    pub fn heard(&mut self, now: Duration) {
        self.watch.received(now);
    }

    /// When the client is gone unless something comes before; `None`: never.
    pub fn silent_until(&self) -> Option<Duration> {
        self.watch.ends()
    }

    /// The packet at the start of `bytes`, and its length; `None` if it isn't complete.
    ///
    /// # Errors
    /// If no packet begins so.
    #[inline]
    pub fn next<'a>(&mut self, bytes: &'a [u8]) -> Result<Option<(Packet<'a>, usize)>, Fault> {
        self.decoder.next(bytes).map_err(Fault::Decode)
    }

    /// Takes a packet. What the specification says about it is done, and answered in `answer`.
    ///
    /// # Errors
    /// The connection ends, with the reason that the fault names.
    #[inline]
    pub fn take<'a, M>(
        &'a mut self,
        session: &mut Session<M>,
        packet: Packet<'a>,
        answer: &mut Vec<u8>,
    ) -> Result<Event<'a, M>, Fault> {
        let version = self.version;
        Ok(match packet {
            Packet::Publish(publish) => match self.publish(session, publish, answer)? {
                Some(incoming) => Event::Publish(incoming),
                None => Event::None,
            },
            Packet::Puback(ack) => {
                Event::Acknowledged(acknowledged(session, version, PacketType::Puback, &ack, answer)?)
            }
            Packet::Pubrec(ack) => {
                Event::Acknowledged(acknowledged(session, version, PacketType::Pubrec, &ack, answer)?)
            }
            Packet::Pubrel(ack) => {
                Event::Acknowledged(acknowledged(session, version, PacketType::Pubrel, &ack, answer)?)
            }
            Packet::Pubcomp(ack) => {
                Event::Acknowledged(acknowledged(session, version, PacketType::Pubcomp, &ack, answer)?)
            }
            Packet::Subscribe(subscribe) => Event::Subscribe(subscribe),
            Packet::Unsubscribe(unsubscribe) => Event::Unsubscribe(unsubscribe),
            Packet::Pingreq => {
                answer.extend_from_slice(&[0xD0, 0]); // [MQTT-3.12.4-1]
                Event::None
            }
            Packet::Disconnect(disconnect) => {
                leave(session, version, &disconnect)?;
                Event::Disconnect(disconnect.reason)
            }
            Packet::Auth(auth) => Event::Auth(auth),
            Packet::Connect(_)
            | Packet::Connack(_)
            | Packet::Suback(_)
            | Packet::Unsuback(_)
            | Packet::Pingresp => return Err(Fault::Misplaced(packet.packet_type())),
        })
    }

    /// Takes the acknowledgement at the start of `bytes`, if one stands there that is as short as can be, as
    /// [`Receiver::take`] does. It is [`Decoder::BARE_ACK`] bytes long.
    ///
    /// # Errors
    /// As there.
    #[inline]
    pub fn take_bare_ack<M>(
        &self,
        session: &mut Session<M>,
        bytes: &[u8],
        answer: &mut Vec<u8>,
    ) -> Result<Option<Acknowledged<M>>, Fault> {
        let Some((packet_type, id)) = self.decoder.bare_ack(bytes) else { return Ok(None) };
        acknowledged(session, self.version, packet_type, &Ack::new(id), answer).map(Some)
    }

    /// Takes the PUBACKs in a row at the start of `bytes` that are as short as can be, as [`Receiver::take`] does; none of
    /// them is answered. The messages that the client is done with go to `done`. Returns how many packets there were, each
    /// [`Decoder::BARE_ACK`] bytes long.
    #[inline]
    pub fn take_pubacks<M>(&self, session: &mut Session<M>, bytes: &[u8], mut done: impl FnMut(M)) -> usize {
        let Some(outbound) = session.outbound() else { return 0 };
        let mut taken = 0;
        for packet in bytes.chunks_exact(Decoder::BARE_ACK) {
            let Some((PacketType::Puback, id)) = self.decoder.bare_ack(packet) else { break };
            match outbound.puback(id) {
                Ok(message) => done(message),
                Err(_) if outbound.is_under_way(id) => break, // A fault, which ends the connection where it comes first.
                // One that is for what an earlier connection sent, or for nothing, does no harm.
                Err(_) => {}
            }
            taken += 1;
        }
        taken
    }

    /// Takes a PUBLISH, as [`Receiver::take`] does. `None`: it was handed on before.
    ///
    /// # Errors
    /// As there.
    #[inline]
    pub fn publish<'a, M>(
        &'a mut self,
        session: &mut Session<M>,
        publish: Publish<'a>,
        answer: &mut Vec<u8>,
    ) -> Result<Option<Incoming<'a>>, Fault> {
        if publish.qos > self.maximum_qos {
            return Err(Fault::Qos); // [MQTT-3.2.2-11]
        }
        if publish.retain && !self.retain {
            return Err(Fault::Retain); // [MQTT-3.2.2-14]
        }
        let version = self.version;
        let topic = if publish.properties.is_empty() { publish.topic } else { self.topic(&publish)? };
        if let Some(id) = publish.packet_id {
            match session.inbound.publish(publish.qos, id) {
                Arrival::New => {}
                Arrival::TooMany => return Err(Fault::ReceiveMaximum), // [MQTT-3.3.4-7]
                Arrival::Repeated => {
                    // [MQTT-4.3.3-10]: it was handed on before.
                    acknowledge(PacketType::Pubrec, version, id, ReasonCode::Success, answer);
                    return Ok(None);
                }
            }
        }
        Ok(Some(Incoming { topic, publish }))
    }

    /// The topic of a PUBLISH that has properties.
    fn topic<'a>(&'a mut self, publish: &Publish<'a>) -> Result<&'a str, Fault> {
        if publish.properties.contains(PropertyId::SubscriptionIdentifier) {
            return Err(Fault::SubscriptionIdentifier); // [MQTT-3.3.4-6]
        }
        let Some(alias) = publish.properties.topic_alias() else { return Ok(publish.topic) };
        let maximum = self.topic_alias_maximum;
        let aliases = self.aliases.get_or_insert_with(|| Box::new(AliasesIn::new(maximum)));
        aliases.resolve(publish.topic, Some(alias)).map_err(Fault::TopicAlias)
    }
}

/// A PUBACK, PUBREC, PUBREL or PUBCOMP.
#[inline]
fn acknowledged<M>(
    session: &mut Session<M>,
    version: Version,
    packet_type: PacketType,
    ack: &Ack<'_>,
    answer: &mut Vec<u8>,
) -> Result<Acknowledged<M>, Fault> {
    let (id, reason) = (ack.packet_id, ack.reason);
    if packet_type == PacketType::Pubrel {
        let known = session.inbound.pubrel(id);
        let reason = if known { ReasonCode::Success } else { ReasonCode::PacketIdentifierNotFound };
        acknowledge(PacketType::Pubcomp, version, id, reason, answer); // [MQTT-4.3.3-11]
        return Ok(Acknowledged::Nothing);
    }
    let refused = reason.is_error();
    let mut taken = None;
    let known = match session.outbound() {
        None => false,
        Some(outbound) => match packet_type {
            PacketType::Puback => outbound.puback(id).map(|message| taken = Some(message)).is_ok(),
            PacketType::Pubrec if refused => {
                outbound.pubrec_refused(id).map(|message| taken = Some(message)).is_ok()
            }
            PacketType::Pubrec => outbound.pubrec(id, |message| taken = Some(message)).is_ok(),
            _ => outbound.pubcomp(id).is_ok(),
        },
    };
    if !known && session.outbound().is_some_and(|outbound| outbound.is_under_way(id)) {
        return Err(Fault::OutOfTurn(packet_type)); // [MQTT-3.3.4-1]; 3.1.1: [MQTT-4.3.2-2], [MQTT-4.3.3-2]
    }
    if packet_type == PacketType::Pubrec && !refused {
        // [MQTT-4.3.3-4]; an identifier that is not in use is answered in kind, and ends nothing.
        let reason = if known { ReasonCode::Success } else { ReasonCode::PacketIdentifierNotFound };
        acknowledge(PacketType::Pubrel, version, id, reason, answer);
        return Ok(Acknowledged::Received(taken));
    }
    Ok(match (known, packet_type) {
        // It was for what an earlier connection sent, or for nothing: it does no harm.
        (false, _) => Acknowledged::Nothing,
        (true, PacketType::Pubcomp) => Acknowledged::Done(None, ReasonCode::Success),
        (true, _) => Acknowledged::Done(taken, reason),
    })
}

/// DISCONNECT: what becomes of the session and the will.
fn leave<M>(session: &mut Session<M>, version: Version, disconnect: &Disconnect<'_>) -> Result<(), Fault> {
    if let Some(expiry) = disconnect.properties.session_expiry_interval() {
        session.change_expiry(expiry)?;
    }
    // [MQTT-3.14.4-3]: nothing but 0x00 keeps the will from being published. 3.1.1: [MQTT-3.14.4-3]
    if version != Version::V5 || disconnect.reason == ReasonCode::NORMAL_DISCONNECTION {
        session.forget_will();
    }
    Ok(())
}
