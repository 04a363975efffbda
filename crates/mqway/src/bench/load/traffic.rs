//! The messages of a worker: sent when it is time, and each that comes compared with what was sent.

use mqway_codec::{Ack, Packet, PacketId, PacketType, Publish, QoS};
use mqway_engine::{ConnId, Io};

use super::clients::State;
use super::{DUE_KEY, Kind, Load, Order, Pace, Phase};
use crate::bench::plan::Side;
use crate::bench::sequence::{Arrival, Sequence};
use crate::bench::stamp::Stamp;
use crate::failure::{Failure, Status, in_words};

/// Publishers of other runs that are kept book of.
const MOST_STRANGERS: usize = 64 * 1024;

/// An acknowledgement without a reason: the same four bytes in every version.
const ACK_LEN: usize = 4;

impl Load {
    /// Takes whole packets off the front of `bytes`.
    pub(super) fn read_packets(&mut self, io: &mut Io<Order>, conn: ConnId, bytes: &[u8]) -> usize {
        let Some(index) = self.client(conn) else { return bytes.len() };
        let now = self.now(io);
        self.heard = now;
        let mut acks = std::mem::take(&mut self.acks);
        let mut taken = 0;
        let done = loop {
            match self.decoder.next(bytes.get(taken..).unwrap_or_default()) {
                Ok(None) => break Ok(()),
                Ok(Some((packet, len))) => {
                    taken += len;
                    if let Err(failure) = self.packet(io, conn, index, now, &packet, &mut acks) {
                        break Err(failure);
                    }
                    // The packet may have ended the connection.
                    if self.conn_of(index) != Some(conn) {
                        break Ok(());
                    }
                }
                Err(error) => {
                    break Err(Failure::other(format_args!("the server broke the protocol: {error}")));
                }
            }
        };
        if !acks.is_empty() {
            self.clients[index].said = now;
            send_all(io, conn, &acks, ACK_LEN);
            acks.clear();
        }
        self.acks = acks;
        if let Err(failure) = done {
            self.lose(io, conn, failure);
            return bytes.len();
        }
        taken
    }

    fn packet(
        &mut self,
        io: &mut Io<Order>,
        conn: ConnId,
        index: usize,
        now: u64,
        packet: &Packet<'_>,
        acks: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        let (side, place, state) = {
            let client = &self.clients[index];
            (client.side, client.index, client.state)
        };
        match (side, packet) {
            (Side::Subscriber, Packet::Publish(publish)) if state != State::Connecting => {
                self.message(place, now, publish);
                if let Some(id) = publish.packet_id {
                    let kind = match publish.qos {
                        QoS::ExactlyOnce => PacketType::Pubrec,
                        _ => PacketType::Puback,
                    };
                    put_ack(kind, id, acks);
                }
            }
            (Side::Subscriber, Packet::Pubrel(ack)) => put_ack(PacketType::Pubcomp, ack.packet_id, acks),
            (Side::Publisher, Packet::Puback(ack) | Packet::Pubrec(ack) | Packet::Pubcomp(ack))
                if place < self.publishers.len() =>
            {
                self.acknowledged(place, now, packet, ack, acks)?;
            }
            (_, Packet::Pingresp) => self.ponged(index, now),
            (_, Packet::Connack(connack)) if state == State::Connecting => {
                self.connacked(io, conn, connack);
            }
            (Side::Subscriber, Packet::Suback(suback)) => self.subacked(io, conn, suback),
            (_, Packet::Disconnect(disconnect)) => {
                let reason = in_words(disconnect.reason, &disconnect.properties);
                let told = format_args!("the server ended the connection: {reason}");
                return Err(Failure::new(Status::Lost, told));
            }
            (_, packet) => {
                let told = format_args!(
                    "the server broke the protocol: {} where none was due",
                    packet.packet_type()
                );
                return Err(Failure::other(told));
            }
        }
        Ok(())
    }

    fn acknowledged(
        &mut self,
        place: usize,
        now: u64,
        packet: &Packet<'_>,
        ack: &Ack<'_>,
        acks: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        let publisher = &mut self.publishers[place];
        let done = match packet {
            _ if ack.reason.is_error() => publisher.completed(ack.packet_id, self.plan.qos),
            Packet::Pubrec(_) => {
                put_ack(PacketType::Pubrel, ack.packet_id, acks);
                return publisher.pubrec(ack.packet_id).map_err(|_| unasked(packet));
            }
            Packet::Puback(_) => publisher.completed(ack.packet_id, QoS::AtLeastOnce),
            _ => publisher.pubcomp(ack.packet_id),
        };
        let at = done.map_err(|_| unasked(packet))?;
        if ack.reason.is_error() {
            self.tally.all.refused += 1;
            let reason = in_words(ack.reason, &ack.properties);
            let told = format_args!("the server refused a message: {reason}");
            self.tally.fail(Failure::new(Status::Denied, told));
        } else {
            self.tally.all.acknowledged += 1;
        }
        if (self.from..self.to).contains(&at) {
            self.tally.acknowledgement.record(now.saturating_sub(at));
        }
        self.list(place);
        Ok(())
    }

    /// A message for subscriber `place` has come.
    #[inline]
    fn message(&mut self, place: usize, now: u64, publish: &Publish<'_>) {
        self.tally.all.received += 1;
        match Stamp::split_from(publish.payload) {
            Some((stamp, rest)) if !publish.retain && stamp.run == self.plan.run => {
                self.own(place, now, stamp, rest);
            }
            Some((stamp, _)) if !publish.retain => self.stranger(place, now, stamp),
            // What a broker had retained says nothing about how it delivers.
            _ => self.tally.all.foreign += 1,
        }
    }

    #[inline]
    fn own(&mut self, place: usize, now: u64, stamp: Stamp, rest: &[u8]) {
        let publisher = stamp.publisher.wrapping_sub(self.share.publishers.start) as usize;
        let flow = match self.plan.kind {
            Kind::Pairs if publisher != place => None,
            Kind::Pairs => self.flows.get_mut(place),
            _ if publisher >= self.publishers.len() => None,
            _ => self.flows.get_mut(place * self.publishers.len() + publisher),
        };
        let (Some(flow), Some(sender)) = (flow, self.publishers.get_mut(publisher)) else {
            self.tally.all.corrupt += 1;
            return;
        };
        if stamp.number >= sender.sent() || rest != self.stock.filler() {
            self.tally.all.corrupt += 1;
            return;
        }
        let before = flow.next();
        let arrival = flow.note(stamp.number);
        sender.heard(flow.next() - before);
        let listed = std::mem::replace(&mut sender.listed, true);
        if !listed {
            self.eager.push(publisher as u32);
        }
        let at = stamp.at.saturating_sub(self.epoch);
        self.arrived(arrival, at, now);
    }

    /// A message of another load generator, perhaps on another machine.
    fn stranger(&mut self, place: usize, now: u64, stamp: Stamp) {
        let key = (stamp.run, stamp.publisher, place as u32);
        if self.strangers.len() >= MOST_STRANGERS && !self.strangers.contains_key(&key) {
            self.tally.all.foreign += 1;
            return;
        }
        let flow = self.strangers.entry(key).or_insert_with(|| Sequence::starting_at(stamp.number));
        let arrival = flow.note(stamp.number);
        self.arrived(arrival, stamp.at.saturating_sub(self.epoch), now);
    }

    #[inline]
    fn arrived(&mut self, arrival: Arrival, at: u64, now: u64) {
        match arrival {
            Arrival::Newest => self.tally.all.delivered += 1,
            Arrival::OutOfOrder => {
                self.tally.all.delivered += 1;
                self.tally.all.out_of_order += 1;
            }
            Arrival::Duplicate => {
                self.tally.all.duplicated += 1;
                return;
            }
        }
        if (self.from..self.to).contains(&at) {
            self.tally.latency.record(now.saturating_sub(at));
        }
    }

    /// Puts a publisher on the list of those that may have something to send.
    #[inline]
    pub(super) fn list(&mut self, place: usize) {
        let listed = std::mem::replace(&mut self.publishers[place].listed, true);
        if !listed {
            self.eager.push(place as u32);
        }
    }

    /// Lets all publishers on the list send what they may.
    pub(super) fn publish(&mut self, io: &mut Io<Order>) {
        if self.phase != Phase::Running {
            return;
        }
        let now = self.now(io);
        self.list_due(io, now);
        if self.eager.is_empty() {
            return;
        }
        let mut eager = std::mem::take(&mut self.eager);
        let mut out = std::mem::take(&mut self.out);
        for place in eager.drain(..) {
            self.publish_one(io, place as usize, now, &mut out);
        }
        self.out = out;
        // Those that were listed meanwhile have the next turn.
        eager.append(&mut self.eager);
        self.eager = eager;
    }

    fn publish_one(&mut self, io: &mut Io<Order>, place: usize, now: u64, out: &mut Vec<u8>) {
        let publisher = &mut self.publishers[place];
        publisher.listed = false;
        out.clear();
        let turn = publisher.send(place, now, &self.stock, out);
        let client = publisher.client;
        if turn.sent == 0 {
            return;
        }
        self.tally.all.sent += turn.sent;
        let Some(conn) = self.conn_of(client) else { return };
        send_all(io, conn, out, out.len() / turn.sent as usize);
        self.clients[client].said = now;
        if turn.ping {
            self.ping(io, client, now);
        }
        if turn.more {
            self.list(place);
        }
    }

    /// Lists the publishers whose next message the schedule has at `now`, and sets a timer for the one after.
    fn list_due(&mut self, io: &mut Io<Order>, now: u64) {
        let Pace::Rate { start, stagger, .. } = self.stock.pace() else { return };
        if self.publishers.is_empty() || !self.stock.is_open(now) {
            return;
        }
        let due = (now.saturating_sub(start) as f64 / stagger) as u64 + 1;
        let first = self.scheduled.max(due.saturating_sub(self.publishers.len() as u64));
        for number in first..due {
            self.list((number % self.publishers.len() as u64) as usize);
        }
        self.scheduled = due;
        let next = start.saturating_add((due as f64 * stagger).ceil() as u64);
        if !std::mem::replace(&mut self.due_timer, true) {
            self.set_timer(io, now, next, DUE_KEY);
        }
    }

    /// Counts the subscribers that get each message.
    pub(super) fn count_copies(&mut self) {
        let copies = match self.plan.kind {
            Kind::Pairs => 1,
            _ => {
                let subscribers = self.clients.iter().take(self.share.subscribers.len());
                let live = subscribers.filter(|client| client.state == State::Ready).count() as u64;
                if self.plan.is_shared() { live.min(1) } else { live }
            }
        };
        self.stock.set_copies(copies);
    }

    /// Messages that were sent, and that subscribers which are still there have not received.
    pub(super) fn lost(&self) -> u64 {
        let strangers: u64 = self.strangers.values().map(Sequence::missing).sum();
        if self.plan.is_shared() {
            let sent: u64 = self.publishers.iter().map(|publisher| publisher.sent()).sum();
            return strangers + sent.saturating_sub(self.tally.all.delivered);
        }
        let width = if self.plan.kind == Kind::Pairs { 1 } else { self.publishers.len() };
        if width == 0 {
            return strangers;
        }
        let mut lost = strangers;
        for (place, flows) in self.flows.chunks_exact(width).enumerate() {
            let live = self.clients.get(place).is_some_and(|client| client.state == State::Ready);
            for (index, flow) in flows.iter().enumerate() {
                let publisher = if width == 1 && self.plan.kind == Kind::Pairs { place } else { index };
                let Some(publisher) = self.publishers.get(publisher) else { continue };
                // What a broken connection has swallowed is not the server's fault.
                lost +=
                    if live && publisher.live { flow.missing_of(publisher.sent()) } else { flow.missing() };
            }
        }
        lost
    }
}

/// Sends packets that are all of the same length.
fn send_all(io: &mut Io<Order>, conn: ConnId, packets: &[u8], len: usize) {
    if io.frames_packets(conn) {
        packets.chunks_exact(len.max(1)).for_each(|packet| io.send(conn, packet));
    } else {
        io.send_run(conn, packets);
    }
}

fn put_ack(kind: PacketType, id: PacketId, out: &mut Vec<u8>) {
    let [high, low] = id.value().to_be_bytes();
    // PUBREL has a flag set. [MQTT-3.6.1-1]
    let flags = if kind == PacketType::Pubrel { 0b0010 } else { 0 };
    out.extend_from_slice(&[(kind as u8) << 4 | flags, 2, high, low]);
}

fn unasked(packet: &Packet<'_>) -> Failure {
    let kind = packet.packet_type();
    Failure::other(format_args!("the server broke the protocol: {kind} for what was not sent"))
}
