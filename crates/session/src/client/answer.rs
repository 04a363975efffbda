//! What comes in, and what is answered to it.

use alloc::vec::Vec;
use core::time::Duration;

use mqway_codec::{Ack, Connack, Packet, PacketId, PropertiesBuf, Publish, QoS, ReasonCode, Version, decode};

use super::{AckToken, Client, Event, Fault, Incoming, Outcome, SessionLost, Ticket};
use crate::Arrival;
use crate::alias::AliasesOut;

impl Client {
    pub(super) fn packet(&mut self, now: Duration, packet: Packet<'_>) -> Result<(), Fault> {
        let misplaced = Fault::Misplaced(packet.packet_type());
        let unknown = |_| Fault::UnknownId(packet.packet_type());
        match packet {
            Packet::Connack(connack) if !self.is_connected() => return self.connack(now, &connack),
            Packet::Auth(auth) => {
                let properties = auth.properties.into();
                self.events.push_back(Event::Auth { reason: auth.reason, properties });
                return Ok(());
            }
            // [MQTT-3.2.0-1]: before CONNACK nothing else may come.
            _ if !self.is_connected() => return Err(misplaced),
            Packet::Publish(publish) => return self.incoming(now, &publish),
            Packet::Puback(ack) => {
                let done = self.outbound.puback(ack.packet_id).map_err(unknown)?;
                self.published(done.ticket, Outcome::Answered(ack.reason));
            }
            Packet::Pubrec(ack) => self.pubrec(now, &ack),
            Packet::Pubcomp(ack) => {
                // One for a PUBREL that we sent for an identifier we do not know completes nothing here.
                if let Ok((ticket, reason)) = self.outbound.pubcomp(ack.packet_id) {
                    self.published(ticket, Outcome::Answered(reason));
                }
            }
            Packet::Pubrel(ack) => {
                let known = self.inbound.pubrel(ack.packet_id);
                self.unacknowledged.remove(&(QoS::ExactlyOnce, ack.packet_id));
                let reason = if known { ReasonCode::Success } else { ReasonCode::PacketIdentifierNotFound };
                self.acknowledge_with(now, Packet::Pubcomp, ack.packet_id, reason); // [MQTT-4.3.3-11]
            }
            Packet::Suback(suback) => {
                self.answered(suback.packet_id, suback.codes.iter().collect(), &packet)?;
            }
            Packet::Unsuback(unsuback) => {
                self.answered(unsuback.packet_id, unsuback.codes.iter().collect(), &packet)?;
            }
            Packet::Pingresp => {}
            Packet::Disconnect(disconnect) if self.options.version == Version::V5 => {
                let properties = disconnect.properties.into();
                self.events.push_back(Event::Disconnected { reason: disconnect.reason, properties });
                self.live = None;
                self.outbound.disconnected();
                return Ok(());
            }
            _ => return Err(misplaced),
        }
        self.pump(now);
        Ok(())
    }

    /// Acknowledges what a token names. A token of an earlier connection acknowledges nothing that is not there any
    /// more; a message of QoS 2 that was repeated since is the same message.
    pub(super) fn answer_token(&mut self, now: Duration, token: AckToken) {
        let Some(epoch) = self.unacknowledged.remove(&(token.qos, token.id)) else {
            return;
        };
        let same_message = token.qos == QoS::ExactlyOnce || token.epoch == epoch;
        if !same_message {
            self.unacknowledged.insert((token.qos, token.id), epoch);
            return;
        }
        if epoch == self.epoch && self.is_connected() {
            self.accept(now, token.qos, token.id);
        }
    }

    /// A server of 3.x that refuses 5.0 says so in a CONNACK of its own version.
    pub(super) fn refused_in_3_1_1(&mut self, bytes: &[u8]) -> bool {
        if self.is_connected() || self.options.version != Version::V5 {
            return false;
        }
        let Some(Ok(Packet::Connack(connack))) = bytes.get(..4).map(|bytes| decode(Version::V3_1_1, bytes))
        else {
            return false;
        };
        if !connack.reason.is_error() {
            return false;
        }
        self.refused(&connack);
        true
    }

    fn connack(&mut self, now: Duration, connack: &Connack<'_>) -> Result<(), Fault> {
        if connack.reason.is_error() {
            self.refused(connack);
            return Ok(());
        }
        let Some(live) = &mut self.live else {
            return Ok(());
        };
        if connack.session_present && live.clean_start {
            return Err(Fault::SessionPresent);
        }
        let said = connack.properties;
        live.accepted = true;
        live.maximum_packet = said.maximum_packet_size().map_or(usize::MAX, |size| size.get() as usize);
        live.maximum_qos = said.maximum_qos().unwrap_or(QoS::ExactlyOnce);
        live.aliases_out = AliasesOut::new(said.topic_alias_maximum().unwrap_or(0));
        // [MQTT-3.2.2-21]: what the server says goes before what we asked for.
        live.keep_alive = said.server_keep_alive().unwrap_or(live.keep_alive);
        live.pinger.restart(live.keep_alive, now);
        self.events.push_back(Event::Connected {
            session_present: connack.session_present,
            properties: said.into(),
        });
        if !connack.session_present {
            self.session_lost();
        }
        self.outbound.connected(said.receive_maximum().map_or(u16::MAX, |maximum| maximum.get()));
        self.inbound.connected(self.options.receive_maximum);
        if !connack.session_present {
            self.subscribe_again(now);
        }
        self.pump(now);
        Ok(())
    }

    fn refused(&mut self, connack: &Connack<'_>) {
        let properties = connack.properties.into();
        self.events.push_back(Event::Refused { reason: connack.reason, properties });
        self.live = None;
    }

    /// The server knows nothing of what was under way. [MQTT-3.2.2-5]
    fn session_lost(&mut self) {
        self.inbound.clear();
        self.unacknowledged.clear();
        let kept: Vec<_> = self.outbound.drain().collect();
        for (qos, sent, publication) in kept {
            if sent && self.options.session_lost == SessionLost::Fail {
                self.published(publication.ticket, Outcome::SessionLost(publication.message));
            } else {
                self.outbound.push_again(qos, publication);
            }
        }
    }

    fn published(&mut self, ticket: Ticket, outcome: Outcome) {
        self.events.push_back(Event::Published { ticket, outcome });
    }

    fn pubrec(&mut self, now: Duration, ack: &Ack<'_>) {
        let id = ack.packet_id;
        if ack.reason.is_error() {
            if let Ok(refused) = self.outbound.pubrec_refused(id) {
                self.published(refused.ticket, Outcome::Answered(ack.reason));
            }
            return;
        }
        // [MQTT-4.3.3-4]; an identifier that is not in use is answered in kind, and ends nothing.
        let reason = match self.outbound.pubrec(id, |publication| (publication.ticket, ack.reason)) {
            Ok(()) => ReasonCode::Success,
            Err(_) => ReasonCode::PacketIdentifierNotFound,
        };
        self.acknowledge_with(now, Packet::Pubrel, id, reason);
    }

    fn incoming(&mut self, now: Duration, publish: &Publish<'_>) -> Result<(), Fault> {
        let Some(live) = &mut self.live else {
            return Ok(());
        };
        let topic = live
            .aliases_in
            .resolve(publish.topic, publish.properties.topic_alias())
            .map_err(|_| Fault::TopicAlias)?
            .into();
        let mut token = None;
        if let Some(id) = publish.packet_id {
            match self.inbound.publish(publish.qos, id) {
                Arrival::TooMany => return Err(Fault::ReceiveMaximum),
                Arrival::Repeated => {
                    self.repeated(now, id);
                    return Ok(());
                }
                Arrival::New if self.options.manual_acknowledgement => {
                    self.unacknowledged.insert((publish.qos, id), self.epoch);
                    token = Some(AckToken { id, qos: publish.qos, epoch: self.epoch });
                }
                Arrival::New => {}
            }
        }
        self.events.push_back(Event::Message(Incoming {
            topic,
            payload: publish.payload.into(),
            qos: publish.qos,
            packet_id: publish.packet_id,
            retain: publish.retain,
            dup: publish.dup,
            properties: PropertiesBuf::from(publish.properties),
            token,
        }));
        if !self.options.manual_acknowledgement
            && let Some(id) = publish.packet_id
        {
            self.accept(now, publish.qos, id);
        }
        Ok(())
    }

    /// A message of QoS 2 has come again. If the program still has not acknowledged it, that is waited for.
    fn repeated(&mut self, now: Duration, id: PacketId) {
        match self.unacknowledged.get_mut(&(QoS::ExactlyOnce, id)) {
            Some(epoch) => *epoch = self.epoch,
            None => self.accept(now, QoS::ExactlyOnce, id),
        }
    }

    /// PUBACK or PUBREC.
    fn accept(&mut self, now: Duration, qos: QoS, id: PacketId) {
        match qos {
            QoS::AtMostOnce => {}
            QoS::AtLeastOnce => {
                self.inbound.puback();
                self.acknowledge_with(now, Packet::Puback, id, ReasonCode::Success);
            }
            QoS::ExactlyOnce => self.acknowledge_with(now, Packet::Pubrec, id, ReasonCode::Success),
        }
    }

    fn acknowledge_with(
        &mut self,
        now: Duration,
        packet: fn(Ack<'static>) -> Packet<'static>,
        id: PacketId,
        reason: ReasonCode,
    ) {
        // Before 5.0 an acknowledgement says nothing but the identifier.
        let ack = match self.options.version {
            Version::V5 => Ack::with_reason(id, reason),
            Version::V3_1 | Version::V3_1_1 => Ack::new(id),
        };
        self.write(now, &packet(ack));
    }
}
