//! Peers that send anything at all.

use std::time::Duration;

use mqway_broker::{Config, Simulated};
use mqway_engine::sim::Remote;

use super::choices::Choices;

/// Topics of their own, of which some may be left retained.
pub const TOPICS: [&str; 2] = ["x", "x/y"];

/// Packets to begin from, whole: they are sent as they are, or with a byte changed, or cut short.
const PACKETS: [&[u8]; 24] = [
    // SUBSCRIBE, 3.1.1 and 5.0.
    b"\x82\x08\x00\x01\x00\x03x/#\x01",
    b"\x82\x09\x00\x02\x00\x00\x03x/#\x02",
    b"\x82\x0b\x00\x03\x02\x0b\x07\x00\x03x/+\x2c",
    b"\x82\x12\x00\x09\x00\x00\x0c$share/g/x/#\x02",
    // PUBLISH: QoS 0, 1, 2; with DUP, retained, empty, with an alias, with an expiry.
    b"\x30\x04\x00\x01xy",
    b"\x30\x05\x00\x01x\x00y",
    b"\x32\x07\x00\x01x\x00\x05\x00y",
    b"\x3c\x07\x00\x01x\x00\x06\x00y",
    b"\x34\x06\x00\x01x\x00\x07y",
    b"\x31\x07\x00\x03x/y\x00y",
    b"\x31\x05\x00\x03x/y",
    b"\x30\x08\x00\x01x\x03\x23\x00\x01y",
    b"\x30\x07\x00\x00\x03\x23\x00\x01y",
    b"\x32\x0c\x00\x01x\x00\x08\x05\x02\x00\x00\x00\x01y",
    // Acknowledgements, of what was and of what wasn't sent.
    b"\x40\x02\x00\x01",
    b"\x50\x02\x00\x01",
    b"\x62\x02\x00\x07",
    b"\x70\x02\x00\x01",
    b"\x50\x03\x00\x02\x80",
    b"\xa2\x07\x00\x04\x00\x03x/#",
    b"\xa2\x08\x00\x05\x00\x00\x03x/#",
    b"\xc0\x00",
    b"\xe0\x00",
    b"\xf0\x00",
];

/// CONNECTs: 3.1.1 clean; 5.0 that stays, with a small receive maximum; 5.0 with a will, retained and delayed.
const CONNECTS: [&[u8]; 4] = [
    b"\x10\x0e\x00\x04MQTT\x04\x02\x00\x00\x00\x02x0",
    b"\x10\x17\x00\x04MQTT\x05\x00\x00\x00\x08\x11\x00\x00\x00\x1e\x21\x00\x02\x00\x02x1",
    b"\x10\x1d\x00\x04MQTT\x05\x26\x00\x05\x05\x11\x00\x00\x00\x05\x00\x02x2\x00\x00\x03x/y\x00\x01w",
    b"\x10\x0d\x00\x04MQTT\x05\x02\x00\x01\x00\x00\x00",
];

/// Peers that break every rule.
#[derive(Default)]
pub struct Hostile {
    links: Vec<Remote>,
}

/// How many there are at once.
const MOST: usize = 4;

impl Hostile {
    /// One of them does something.
    pub fn act(&mut self, broker: &mut Simulated, choices: &mut Choices<'_>) {
        if self.links.len() < MOST && choices.one_in(3) {
            let Some(link) = broker.connect() else { return };
            self.links.push(link);
            if !choices.one_in(8) {
                broker.write(link, choices.pick(&CONNECTS));
            }
        }
        let Some(link) = self.links.len().checked_sub(1).map(|most| self.links[choices.below(most + 1)])
        else {
            return;
        };
        match choices.below(12) {
            0 => broker.set_reading(link, false),
            1 => {
                broker.cut(link);
                self.links.retain(|other| *other != link);
            }
            2 => broker.end(link),
            3 => {
                let garbage: Vec<u8> = (0..choices.below(20)).map(|_| choices.below(256) as u8).collect();
                broker.write(link, &garbage);
            }
            4 => {
                let mut packet = choices.pick(&PACKETS).to_vec();
                let at = choices.below(packet.len());
                packet[at] = match choices.below(256) as u8 {
                    // It would be a topic of others, and nobody would know whose message that is.
                    b'r'..=b'w' => b'x',
                    other => other,
                };
                broker.write(link, &packet);
            }
            5 => {
                let packet = choices.pick(&PACKETS);
                broker.write(link, &packet[..choices.below(packet.len())]);
            }
            _ => {
                for _ in 0..1 + choices.below(4) {
                    broker.write(link, choices.pick(&PACKETS));
                }
            }
        }
        if !choices.one_in(4) {
            broker.read(link);
        }
    }

    /// All of them are cut.
    pub fn leave(&mut self, broker: &mut Simulated) {
        for link in self.links.drain(..) {
            broker.cut(link);
        }
    }
}

/// Bytes that one connection may make the broker hold.
const MOST_HELD: u64 = 4 * 1024 * 1024;

/// Sends the input from up to three connections to a broker of one worker, with time passing between. Nothing panics,
/// what is held stays bounded, and all of it is given back in the end.
pub fn broker_bytes(input: &[u8]) {
    let mut choices = Choices::Bytes(input);
    let mut config = Config::default();
    config.terms.session_expiry = 100;
    config.set_maximum_packet(64 * 1024);
    config.limits.queue_messages = 100;
    config.limits.retained_bytes = 64 * 1024;
    let mut broker = Simulated::new(1, 1, config);
    let mut links: Vec<Option<Remote>> = vec![None; 3];
    while !choices.is_over() {
        let number = choices.below(3);
        let link = *links[number].get_or_insert_with(|| broker.connect().expect("there is room"));
        match choices.below(16) {
            0 => {
                broker.cut(link);
                links[number] = None;
            }
            1 => broker.end(link),
            2 => broker.skip(Duration::from_secs(choices.below(120) as u64)),
            3 => broker.set_reading(link, choices.one_in(2)),
            4..8 => broker.write(link, choices.pick(&CONNECTS)),
            8..12 => broker.write(link, choices.pick(&PACKETS)),
            12 => {
                // Some bytes as they stand.
                let Choices::Bytes(bytes) = &mut choices else { return };
                let (now, later) = bytes.split_at(bytes.len().min(40));
                *bytes = later;
                broker.write(link, now);
            }
            13 => {
                let mut packet = choices.pick(&PACKETS).to_vec();
                let at = choices.below(packet.len());
                packet[at] = choices.below(256) as u8;
                broker.write(link, &packet);
            }
            _ => broker.run(Duration::from_millis(2)),
        }
        broker.read(link);
        let left = broker.left();
        assert!(left.buffered + left.stored_bytes + left.retained_bytes < MOST_HELD, "{left:?}");
    }
    broker.run(Duration::from_millis(20));
    for link in links.into_iter().flatten() {
        broker.cut(link);
    }
    broker.skip(Duration::from_secs(200));
    let left = broker.left();
    let retained = mqway_broker::Left {
        retained: left.retained,
        retained_bytes: left.retained_bytes,
        ..Default::default()
    };
    assert_eq!(left, retained, "all sessions have ended");
    assert_eq!(left.retained as u64, broker.counters().snapshot().retained);
}
