//! Statements of the specifications, word by word: the bytes that a client sends, and those that come back.

mod connect;
mod publish;
mod subscribe;

use mqway_codec::{Ack, Connect, Decoder, Packet, PacketId, Publish, QoS, Version};
use mqway_engine::sim::Remote;

use super::world::*;
use crate::Config;

fn world() -> World {
    World::new(1, 2, Config::default())
}

fn id(value: u16) -> PacketId {
    PacketId::new(value).unwrap()
}

fn encoded<'a>(version: Version, packet: impl Into<Packet<'a>>) -> Vec<u8> {
    let mut bytes = Vec::new();
    packet.into().encode(version, &mut bytes).unwrap();
    bytes
}

fn encoded_publish(version: Version, topic: &str, payload: &str, qos: QoS, number: u16) -> Vec<u8> {
    let mut publish = Publish::new(topic, payload.as_bytes());
    (publish.qos, publish.packet_id) = (qos, (qos != QoS::AtMostOnce).then(|| id(number)));
    encoded(version, publish)
}

/// An acknowledgement with this first byte.
fn ack(first: u8, number: u8) -> [u8; 4] {
    [first, 2, 0, number]
}

/// The packets in `bytes`, in words.
fn packets(version: Version, mut bytes: &[u8]) -> Vec<String> {
    let mut decoder = Decoder::with_version(version, usize::MAX);
    let mut all = Vec::new();
    while let Some((packet, len)) = decoder.next(bytes).unwrap() {
        all.push(match packet {
            Packet::Publish(publish) => {
                let id = publish.packet_id.map_or(0, PacketId::value);
                let payload = String::from_utf8_lossy(publish.payload);
                format!("PUBLISH {} {payload} {} {id} {}", publish.topic, publish.qos, publish.dup)
            }
            Packet::Pubrel(Ack { packet_id, .. }) => format!("PUBREL {packet_id}"),
            other => other.packet_type().to_string(),
        });
        bytes = &bytes[len..];
    }
    all
}

impl World {
    /// A connection without a client at its end.
    fn raw(&mut self) -> Remote {
        self.sim.connect(0, None).unwrap()
    }

    /// Sends bytes; what comes back.
    fn say(&mut self, remote: Remote, bytes: &[u8]) -> Vec<u8> {
        self.sim.write(remote, bytes);
        self.settle();
        self.sim.read(remote)
    }

    /// A connection that is accepted.
    fn raw_connected(&mut self, connect: &Connect<'_>) -> Remote {
        let remote = self.raw();
        let answer = self.say(remote, &encoded(connect.version, *connect));
        assert_eq!((answer[0], answer[3]), (0x20, 0), "{answer:x?}");
        remote
    }
}
