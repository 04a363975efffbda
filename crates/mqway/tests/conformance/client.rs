//! A client that does what a scenario says, and nothing of its own accord.

use crate::fields::{self, Publish, suback};
use crate::support::packets::{self, DISCONNECT, Level, PINGREQ, PINGRESP, V5, acknowledgement};
use crate::wire::Wire;
use std::collections::VecDeque;

pub const PUBACK: u8 = 0x40;
pub const PUBREC: u8 = 0x50;
pub const PUBREL: u8 = 0x62;
pub const PUBCOMP: u8 = 0x70;

pub struct Client {
    wire: Wire,
    pub level: Level,
    /// Messages that came while an answer was waited for.
    ahead: VecDeque<Vec<u8>>,
}

impl Client {
    pub fn new(wire: Wire, level: Level) -> Client {
        Client { wire, level, ahead: VecDeque::new() }
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.wire.send(bytes.as_ref());
    }

    /// The next packet, whatever it is.
    pub fn next(&mut self) -> Vec<u8> {
        let ahead = self.ahead.pop_front();
        ahead.unwrap_or_else(|| self.wire.packet().expect("a packet, and not the end"))
    }

    /// The next packet, or `None` if the server has closed instead.
    pub fn last(&mut self) -> Option<Vec<u8>> {
        self.wire.packet()
    }

    /// The next packet that is no PUBLISH: those may come at any time, and are kept for later.
    fn answer(&mut self) -> Vec<u8> {
        loop {
            let packet = self.wire.packet().expect("a packet, and not the end");
            if packet[0] & 0xF0 != 0x30 {
                return packet;
            }
            self.ahead.push_back(packet);
        }
    }

    fn expect_answer(&mut self, expected: impl AsRef<[u8]>) {
        let packet = self.answer();
        assert!(packet == expected.as_ref(), "{packet:02x?}, not {:02x?}", expected.as_ref());
    }

    /// The next packet is this one.
    pub fn expect(&mut self, expected: impl AsRef<[u8]>) {
        let packet = self.next();
        assert!(packet == expected.as_ref(), "{packet:02x?}, not {:02x?}", expected.as_ref());
    }

    /// The next packet is a PUBLISH, which waits for its acknowledgement.
    pub fn publish(&mut self) -> Publish {
        let packet = self.next();
        Publish::read(self.level, &packet)
    }

    /// The next packet is a PUBLISH, which is acknowledged to the end.
    pub fn message(&mut self) -> Publish {
        let publish = self.publish();
        self.acknowledge(&publish);
        publish
    }

    /// The next packet is a PUBLISH with this text, which is acknowledged to the end.
    pub fn expect_message(&mut self, text: &str) {
        assert_eq!(self.message().text(), text);
    }

    /// Acknowledges a PUBLISH to the end.
    pub fn acknowledge(&mut self, publish: &Publish) {
        match publish.qos {
            0 => {}
            1 => self.send(acknowledgement(PUBACK, publish.id)),
            _ => {
                self.send(acknowledgement(PUBREC, publish.id));
                self.expect_answer(acknowledgement(PUBREL, publish.id));
                self.send(acknowledgement(PUBCOMP, publish.id));
            }
        }
    }

    /// Publishes, and waits for the end of the exchange.
    pub fn say(&mut self, publish: &Publish) {
        self.send(publish.bytes(self.level));
        match publish.qos {
            0 => {}
            1 => self.expect_acknowledgement(PUBACK, publish.id),
            _ => {
                self.expect_acknowledgement(PUBREC, publish.id);
                self.send(acknowledgement(PUBREL, publish.id));
                self.expect_answer(acknowledgement(PUBCOMP, publish.id));
            }
        }
    }

    /// An acknowledgement of success; in 5.0 it may say that nobody has subscribed (0x10).
    pub fn expect_acknowledgement(&mut self, first: u8, id: u16) {
        let packet = self.answer();
        let nobody = [first, 3, (id >> 8) as u8, id as u8, 0x10];
        assert!(
            packet == acknowledgement(first, id) || (self.level == V5 && packet == nobody),
            "{packet:02x?} does not acknowledge {id} by {first:02x}"
        );
    }

    /// Subscribes to one filter, and is granted what it asks for.
    pub fn subscribe(&mut self, filter: &str, options: u8) {
        self.subscribe_with(filter, options, &[]);
    }

    pub fn subscribe_with(&mut self, filter: &str, options: u8, properties: &[u8]) {
        self.send(fields::subscribe(self.level, 0x0a0b, &[(filter, options)], properties));
        self.expect(suback(self.level, 0x0a0b, &[options & 3]));
    }

    /// Nothing came before the answer to a ping.
    pub fn ping(&mut self) {
        self.send(PINGREQ);
        self.expect(PINGRESP);
    }

    /// The server has closed without a further word.
    pub fn expect_end(mut self) {
        let last = self.ahead.pop_front().or_else(|| self.wire.packet());
        assert_eq!(last, None, "the end, and nothing before");
    }

    /// The server ends the connection: in 5.0 with a DISCONNECT of this reason, before without a word. [MQTT-4.13.1-1]
    pub fn expect_fault(mut self, reason: u8) {
        if self.level == V5 {
            let disconnect = self.next();
            let said = (disconnect[0], fields::body(&disconnect).first().copied());
            assert_eq!(said, (0xE0, Some(reason)), "{disconnect:02x?}");
            for (id, _) in fields::properties_of(&disconnect) {
                assert_eq!(id, fields::property::REASON_STRING); // [MQTT-3.14.2-2]
            }
        }
        self.expect_end(); // [MQTT-3.14.4-1], [MQTT-3.14.4-2], [MQTT-4.13.2-1]
    }

    /// Leaves with DISCONNECT; the server then closes. [MQTT-3.14.4-2]
    pub fn leave(mut self) {
        self.send(DISCONNECT);
        self.expect_end();
    }

    /// Vanishes as a client does whose network fails.
    pub fn vanish(self) {
        drop(self);
    }
}

/// The acknowledgement of a PUBLISH of QoS 1 or 2, with a reason of 5.0.
pub fn refusal(first: u8, id: u16, reason: u8) -> Vec<u8> {
    packets::packet(first, &[(id >> 8) as u8, id as u8, reason])
}
