//! What comes in, and what is answered to it.

use alloc::vec::Vec;
use core::num::NonZeroU16;
use core::time::Duration;

use mqway_codec::{
    Ack, Connack, Packet, PacketId, PacketType, PropertiesBuf, Publish, QoS, ReasonCode, Version, decode,
};

use super::limits::Limits;
use super::{
    AckToken, Change, Client, Event, Fault, Incoming, Notice, Outcome, Publication, Receipt, Released,
    SessionLost, Ticket,
};
use crate::alias::{AliasError, AliasesOut};
use crate::{Arrival, Drained};

impl Client {
    pub(super) fn packet(&mut self, now: Duration, packet: Packet<'_>) -> Result<(), Fault> {
        let misplaced = Fault::Misplaced(packet.packet_type());
        let unknown = |_| Fault::UnknownId(packet.packet_type());
        match packet {
            Packet::Connack(connack) if !self.is_connected() => return self.connack(now, &connack),
            Packet::Auth(auth) => return self.challenged(&auth),
            // [MQTT-3.2.0-1]: before CONNACK nothing else may come.
            _ if !self.is_connected() => return Err(misplaced),
            Packet::Publish(publish) => return self.incoming(now, &publish, None),
            Packet::Puback(ack) => {
                let done = self.outbound.puback(ack.packet_id).map_err(unknown)?;
                self.done(done.ticket, Outcome::Answered(receipt(&ack, done.resent)));
            }
            Packet::Pubrec(ack) => self.pubrec(now, &ack),
            Packet::Pubcomp(ack) => {
                // One for a PUBREL that we sent for an identifier we do not know completes nothing here.
                if let Ok(done) = self.outbound.pubcomp(ack.packet_id) {
                    self.done(done.ticket, Outcome::Answered(done.receipt));
                }
            }
            Packet::Pubrel(ack) => {
                let known = self.inbound.pubrel(ack.packet_id);
                if known {
                    self.note(|| Change::Forgotten { id: ack.packet_id });
                }
                self.unacknowledged.remove(&(QoS::ExactlyOnce, ack.packet_id));
                self.owed.forget(ack.packet_id);
                self.settle(now);
                let reason = if known { ReasonCode::Success } else { ReasonCode::PacketIdentifierNotFound };
                self.acknowledge_with(now, Packet::Pubcomp, ack.packet_id, reason); // [MQTT-4.3.3-11]
            }
            Packet::Suback(suback) => {
                let codes = suback.codes.iter().collect();
                self.answered(suback.packet_id, codes, suback.properties.into(), &packet)?;
            }
            Packet::Unsuback(unsuback) => {
                let codes = unsuback.codes.iter().collect();
                self.answered(unsuback.packet_id, codes, unsuback.properties.into(), &packet)?;
            }
            Packet::Pingresp => {}
            Packet::Disconnect(disconnect) if self.options.version == Version::V5 => {
                let properties = disconnect.properties.into();
                self.events.push_back(Event::Disconnected(Notice { reason: disconnect.reason, properties }));
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
        if token.qos == QoS::ExactlyOnce {
            // That it is the program's holds from now on, whenever PUBREC can be sent.
            self.note(|| Change::Received { id: token.id });
        }
        if epoch == self.epoch && self.is_connected() {
            self.owed.decide(token.qos, token.id);
            self.settle(now);
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
        live.authentication.accepted();
        live.limits = Limits::said(said);
        live.aliases_out = AliasesOut::new(said.topic_alias_maximum().unwrap_or(0));
        // [MQTT-3.1.2-21], [MQTT-3.2.2-21]: what the server says goes before what we asked for.
        live.keep_alive = said.server_keep_alive().unwrap_or(live.keep_alive);
        live.pinger.restart(live.keep_alive, now);
        self.events.push_back(Event::Connected {
            session_present: connack.session_present,
            properties: said.into(),
        });
        let known = core::mem::replace(&mut self.known, true);
        if !connack.session_present && known {
            self.session_lost();
        }
        let receive_maximum = said.receive_maximum().unwrap_or(NonZeroU16::MAX).min(self.options.in_flight);
        self.outbound.connected(receive_maximum.get());
        // Before 5.0 the server cannot know of our maximum.
        let ours = if self.options.version == Version::V5 { self.options.receive_maximum } else { u16::MAX };
        self.inbound.connected(ours);
        if !connack.session_present {
            self.subscribe_again(now);
        }
        self.pump(now);
        Ok(())
    }

    fn refused(&mut self, connack: &Connack<'_>) {
        let properties = connack.properties.into();
        self.events.push_back(Event::Refused(Notice { reason: connack.reason, properties }));
        self.live = None;
    }

    /// The server knows nothing of what was under way. [MQTT-3.2.2-5]
    fn session_lost(&mut self) {
        // A crash before this is safe leaves the next process to take these for messages of the server's new session.
        // No message can be in that yet: what is subscribed to in it waits until this is safe.
        for id in self.inbound.received().collect::<Vec<_>>() {
            self.note(|| Change::Forgotten { id });
        }
        self.inbound.clear();
        self.unacknowledged.clear();
        let (mut resent, mut failed, mut dropped) = (0, 0, 0);
        let drained: Vec<_> = self.outbound.drain().collect();
        for left in drained {
            let (qos, sent, publication) = match left {
                Drained::Message { qos, sent, message } => (qos, sent, message),
                Drained::Released(Released { ticket, receipt }) => {
                    // With PUBREC the server took it over (5.0 §4.3.3); nothing is left to do for it here.
                    self.done(ticket, Outcome::Answered(receipt));
                    continue;
                }
            };
            let Publication { ticket, message, .. } = publication;
            match self.options.session_lost {
                SessionLost::Drop => {
                    dropped += 1;
                    self.done(ticket, Outcome::Dropped(message));
                }
                SessionLost::Fail if sent => {
                    failed += 1;
                    self.done(ticket, Outcome::SessionLost(message));
                }
                SessionLost::Fail | SessionLost::Resend => {
                    if sent {
                        resent += 1;
                        self.note(|| Change::Queued { ticket });
                    }
                    let resent = publication.resent || sent;
                    self.outbound.push_again(qos, Publication { ticket, message, resent });
                }
            }
        }
        if resent + failed + dropped > 0 {
            self.events.push_back(Event::SessionLost { resent, failed, dropped });
        }
    }

    /// A message of QoS 1 or 2 is done with.
    fn done(&mut self, ticket: Ticket, outcome: Outcome) {
        self.note(|| Change::Done { ticket });
        self.events.push_back(Event::Published { ticket, outcome });
    }

    fn pubrec(&mut self, now: Duration, ack: &Ack<'_>) {
        let id = ack.packet_id;
        if ack.reason.is_error() {
            if let Ok(refused) = self.outbound.pubrec_refused(id) {
                self.done(refused.ticket, Outcome::Answered(receipt(ack, refused.resent)));
            }
            return;
        }
        // [MQTT-4.3.3-4]; an identifier that is not in use is answered in kind, and ends nothing.
        let mut released = None;
        let keep = |publication: Publication| {
            released = Some(publication.ticket);
            Released { ticket: publication.ticket, receipt: receipt(ack, publication.resent) }
        };
        let reason = match self.outbound.pubrec(id, keep) {
            Ok(()) => ReasonCode::Success,
            Err(_) => ReasonCode::PacketIdentifierNotFound,
        };
        if let Some(ticket) = released {
            self.note(|| Change::Released { ticket, id });
        }
        // At once, and so in the order of the PUBRECs. [MQTT-4.6.0-4]
        self.acknowledge_with(now, Packet::Pubrel, id, reason);
    }

    /// A message has come; or one of `skipped` bytes, of which only what stands before the payload is here.
    pub(super) fn incoming(
        &mut self,
        now: Duration,
        publish: &Publish<'_>,
        skipped: Option<usize>,
    ) -> Result<(), Fault> {
        let Some(live) = &mut self.live else {
            return Ok(());
        };
        let topic = live
            .aliases_in
            .resolve(publish.topic, publish.properties.topic_alias())
            .map_err(|error| match error {
                AliasError::OverMaximum | AliasError::TooLong => Fault::TopicAlias,
                // An empty name without a meaning (5.0 §3.3.2.1).
                AliasError::Unknown => Fault::Misplaced(PacketType::Publish),
            })?
            .into();
        let mut token = None;
        if let Some(id) = publish.packet_id {
            match self.inbound.publish(publish.qos, id) {
                Arrival::TooMany => return Err(Fault::ReceiveMaximum),
                Arrival::Repeated => {
                    self.repeated(now, id);
                    return Ok(());
                }
                Arrival::New if skipped.is_some() => {}
                Arrival::New if self.options.manual_acknowledgement => {
                    self.owed.add(publish.qos, id, None);
                    self.unacknowledged.insert((publish.qos, id), self.epoch);
                    token = Some(AckToken { id, qos: publish.qos, epoch: self.epoch });
                }
                Arrival::New => {}
            }
        }
        if let Some(size) = skipped {
            self.events.push_back(Event::Skipped { topic, qos: publish.qos, size });
            if let Some(id) = publish.packet_id {
                self.refuse(now, publish.qos, id);
            }
            return Ok(());
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
            Some(epoch) => {
                *epoch = self.epoch;
                self.owed.add(QoS::ExactlyOnce, id, None);
            }
            None => self.accept(now, QoS::ExactlyOnce, id),
        }
    }

    fn accept(&mut self, now: Duration, qos: QoS, id: PacketId) {
        if qos == QoS::ExactlyOnce {
            self.note(|| Change::Received { id });
        }
        self.owed.add(qos, id, Some(ReasonCode::Success));
        self.settle(now);
    }

    /// PUBACK or PUBREC for a message that was not handed on. [MQTT-4.5.0-2] Before 5.0 there is no way to say so.
    fn refuse(&mut self, now: Duration, qos: QoS, id: PacketId) {
        let answer = match self.options.version {
            Version::V5 => ReasonCode::ImplementationSpecificError,
            Version::V3_1 | Version::V3_1_1 => ReasonCode::Success,
        };
        self.owed.add(qos, id, Some(answer));
        self.settle(now);
    }

    /// Sends the acknowledgements whose turn it is.
    fn settle(&mut self, now: Duration) {
        while let Some((qos, id, answer)) = self.owed.next() {
            self.answer(now, qos, id, answer);
        }
    }

    /// PUBACK or PUBREC. [MQTT-3.3.4-1], [MQTT-4.3.2-4], [MQTT-4.3.3-8]; 3.1.1: [MQTT-4.3.2-2], [MQTT-4.3.3-2]
    fn answer(&mut self, now: Duration, qos: QoS, id: PacketId, reason: ReasonCode) {
        match qos {
            QoS::AtMostOnce => {}
            QoS::AtLeastOnce => {
                self.inbound.puback();
                self.acknowledge_with(now, Packet::Puback, id, reason);
            }
            QoS::ExactlyOnce => {
                if reason.is_error() {
                    self.inbound.refuse(id);
                }
                self.acknowledge_with(now, Packet::Pubrec, id, reason);
            }
        }
    }

    /// Never with properties, so that no server finds it too large for them. [MQTT-2.2.1-5]
    /// [MQTT-3.4.2-2], [MQTT-3.4.2-3], [MQTT-3.5.2-2], [MQTT-3.5.2-3]
    /// [MQTT-3.6.2-2], [MQTT-3.6.2-3], [MQTT-3.7.2-2], [MQTT-3.7.2-3]
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

fn receipt(ack: &Ack<'_>, resent: bool) -> Receipt {
    Receipt { reason: ack.reason, properties: ack.properties.into(), resent }
}
