//! Messages of QoS 0 in a row: what one publisher has sent to one topic, and came in one read.
//!
//! Their route is looked for once, and they go to their receivers as the bytes that they came in, in one piece. Where a
//! receiver is to get anything else, they go one by one.

use mqway_codec::{Publish, QoS, Version};
use mqway_engine::Io;
use mqway_routing::Route;
use mqway_session::server::Incoming;

use crate::clients::Author;
use crate::deliver::Desk;
use crate::familiar::Familiar;
use crate::house::House;
use crate::mail::Mail;
use crate::payload::LARGE;
use crate::shared::{Agreed, SessionRef};
use crate::writer::is_5;

/// PUBLISHes of QoS 0 without flags and properties, to one topic and one behind the other.
pub(crate) struct Row<'a> {
    version: Version,
    topic: &'a str,
    bytes: &'a [u8],
    /// Where each of them ends.
    ends: &'a [End],
    payload_bytes: usize,
    /// Bytes of the largest.
    largest: usize,
}

/// Where a packet of a row ends, and how much of it is its payload, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct End {
    at: usize,
    payload: usize,
}

/// Bytes of a row: so many may go to a receiver before it is looked again whether it is too slow.
const MOST: usize = 16 * 1024;

impl<'a> Row<'a> {
    /// The row at the start of `bytes`. `None`: there are not even two such packets, of `limit` bytes at the most. Where
    /// each of them ends goes to `ends`.
    #[inline]
    pub fn gather(
        familiar: &'a Familiar,
        version: Version,
        limit: usize,
        bytes: &'a [u8],
        ends: &'a mut Vec<End>,
    ) -> Option<Row<'a>> {
        ends.clear();
        let (mut topic, mut at, mut payload_bytes, mut largest) = ("", 0, 0, 0);
        while let Some((publish, len)) = familiar.next(version, limit, bytes.get(at..)?) {
            if publish.qos != QoS::AtMostOnce || len >= LARGE || at + len > MOST {
                break;
            }
            topic = publish.topic;
            at += len;
            ends.push(End { at, payload: publish.payload.len() });
            payload_bytes += publish.payload.len();
            largest = largest.max(len);
        }
        let row = Row { version, topic, bytes: bytes.get(..at)?, ends, payload_bytes, largest };
        (row.ends.len() > 1).then_some(row)
    }

    /// Bytes of all packets.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// How many packets there are.
    fn packets(&self) -> u64 {
        self.ends.len() as u64
    }

    /// The packets one by one, and what is in them.
    fn each(&self) -> impl Iterator<Item = (&'a [u8], Publish<'a>)> {
        let (topic, bytes) = (self.topic, self.bytes);
        self.ends.iter().scan(0, move |start, end| {
            let packet = bytes.get(*start..end.at)?;
            *start = end.at;
            let payload = packet.get(packet.len().checked_sub(end.payload)?..)?;
            Some((packet, Publish::new(topic, payload)))
        })
    }
}

impl House {
    /// Publishes the messages of a row.
    pub(crate) fn take_row(&mut self, io: &mut Io<Mail>, row: &Row<'_>, author: &mut Author) {
        self.desk.tally.packets_received += row.packets();
        if self.publish_row(io, row, author) {
            return;
        }
        for (packet, publish) in row.each() {
            self.take_over(io, &Incoming { topic: publish.topic, publish }, Some(packet), author);
        }
    }

    /// The walk of all of them at once, if they can go so: what [`House::publish`] and [`Desk::distribute`] do for one.
    fn publish_row(&mut self, io: &mut Io<Mail>, row: &Row<'_>, author: &mut Author) -> bool {
        let is_open = self.is_open(row.topic);
        let House { shared, desk, cache, .. } = self;
        let Ok(route) = cache.targets(&shared.index, row.topic, &mut author.hint) else { return false };
        if !is_open || !desk.all_take(route, row) {
            return false;
        }
        desk.tally.publishes_received += row.packets();
        desk.tally.publish_bytes_received += row.payload_bytes as u64;
        for target in route.direct() {
            if !(target.options.no_local && target.subscriber == author.session) {
                desk.deliver_row(io, target.subscriber, row); // [MQTT-3.3.2-3], [MQTT-3.8.3-3]
            }
        }
        true
    }
}

impl Desk {
    /// Whether a row goes to everybody as it came, at least to somebody, and each to one.
    fn all_take(&mut self, route: &Route<SessionRef, Agreed>, row: &Row<'_>) -> bool {
        let alone = !route.may_repeat() && route.shares().len() == 0 && !route.direct().is_empty();
        alone
            && route
                .direct()
                .iter()
                .all(|target| target.options.identifier.is_none() && self.takes(target.subscriber, row))
    }

    fn takes(&mut self, session: SessionRef, row: &Row<'_>) -> bool {
        if usize::from(session.worker) != self.worker {
            return false;
        }
        let Desk { sessions, hooked, .. } = self;
        let Some(home) = sessions.find(session).filter(|home| home.local().is_none()) else {
            return false;
        };
        if let (Some(hooked), Some(guest)) = (hooked, &home.guest)
            && !hooked.passes_to(guest, row.topic)
        {
            return false;
        }
        let Some(sender) = home.state.sender() else { return true }; // Then nobody gets it: QoS 0 is not kept.
        sender.is_plain()
            && is_5(sender.version()) == is_5(row.version)
            && row.largest <= sender.maximum_packet() as usize // [MQTT-3.1.2-24]
    }

    /// Takes a row to a session that [`Desk::takes`] it.
    fn deliver_row(&mut self, io: &mut Io<Mail>, to: SessionRef, row: &Row<'_>) {
        let (enough, burst) = (self.enough(), self.burst());
        let Desk { sessions, tally, room, unfinished, .. } = self;
        let Some(home) = sessions.find(to) else { return };
        let Some(conn) = home.conn else { return };
        if home.blocked && io.queued(conn) > burst {
            tally.dropped_slow += row.packets();
            return;
        }
        let waiting = if io.frames_packets(conn) {
            row.each().map(|(packet, _)| io.send_parts(conn, packet, &[])).last().unwrap_or(0)
        } else {
            io.send_run(conn, row.bytes)
        };
        tally.sent(row.packets(), row.payload_bytes);
        *room = room.saturating_sub(row.payload_bytes);
        if waiting > enough && !home.blocked {
            // The rest has time until the engine has sent some of it.
            home.blocked = true;
            unfinished.push(to);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packets(version: Version, payloads: &[usize], qos: QoS) -> Vec<u8> {
        let mut bytes = Vec::new();
        for len in payloads {
            let payload = vec![*len as u8; *len];
            let publish = Publish {
                qos,
                packet_id: mqway_codec::PacketId::new(7).filter(|_| qos != QoS::AtMostOnce),
                ..Publish::new("a/b", &payload)
            };
            publish.encode(version, &mut bytes).unwrap();
        }
        bytes
    }

    #[test]
    fn a_row_ends_where_anything_else_begins() {
        for version in [Version::V3_1, Version::V3_1_1, Version::V5] {
            let mut familiar = Familiar::default();
            familiar.remember(&Publish::new("a/b", b""));
            let lens = [5, 0, 300, 7];
            let row = packets(version, &lens, QoS::AtMostOnce);
            let mut ends = Vec::new();
            let others = [
                Vec::new(),
                vec![0x30],
                vec![0xC0, 0],
                packets(version, &[3], QoS::AtLeastOnce),
                packets(version, &[LARGE], QoS::AtMostOnce),
            ];
            for other in others {
                let bytes = [&row[..], &other].concat();
                let row = Row::gather(&familiar, version, 1 << 20, &bytes, &mut ends).unwrap();
                assert!(row.each().map(|(_, publish)| publish.payload.len()).eq(lens));
                assert!(row.each().flat_map(|(packet, _)| packet.iter()).eq(row.bytes));
                assert_eq!((row.payload_bytes, row.bytes.len() + other.len()), (312, bytes.len()));
            }
            assert!(
                Row::gather(&familiar, version, 100, &row, &mut ends).is_some_and(|row| row.packets() == 2)
            );
            assert!(Row::gather(&familiar, version, 1 << 20, &row[..10], &mut ends).is_none());
            let many = packets(version, &[1_000; 100], QoS::AtMostOnce);
            let row = Row::gather(&familiar, version, 1 << 20, &many, &mut ends).unwrap();
            assert!(row.bytes.len() <= MOST && row.packets() == 16);
        }
    }
}
