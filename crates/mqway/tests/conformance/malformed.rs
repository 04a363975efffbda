//! What is no packet at all (5.0 §2, §4.13).

use crate::stage::everywhere;
use crate::support::packets::{LEVELS, PINGRESP, V3_1, V3_1_1, V5, packet, publish};

#[test]
fn packet_types_that_do_not_exist_or_are_the_server_s() {
    everywhere(|stage| {
        for level in LEVELS {
            let none: &[u8] = if level == V5 { &[0] } else { &[] };
            let mut wrong = vec![
                (0x81, packet(0x00, &[])),
                (0x81, packet(0x0F, &[0, 1])),
                (0x82, packet(0x20, &[&[0, 0], none].concat())),
                (0x82, packet(0x90, &[&[0, 1], none, &[0]].concat())),
                (0x82, packet(0xB0, &[&[0, 1][..], none, none].concat())),
                (0x82, packet(0xD0, &[])),
            ];
            if level != V5 {
                wrong.push((0x81, packet(0xF0, &[])));
            }
            for (reason, bytes) in wrong {
                let mut client = stage.client(level, "bad");
                client.send(&bytes);
                client.expect_fault(reason); // [MQTT-4.13.1-1]; 3.1.1: [MQTT-4.8.0-1]
            }
        }
    });
}

#[test]
fn remaining_lengths_that_are_too_long_or_longer_than_they_must() {
    everywhere(|stage| {
        for level in LEVELS {
            for (reason, bytes) in [
                (0x81, vec![0x30, 0xFF, 0xFF, 0xFF, 0xFF, 0x01]),
                (0x81, vec![0xC0, 0x80, 0x80, 0x80, 0x80, 0x00]),
            ] {
                let mut client = stage.client(level, "bad");
                client.send(&bytes);
                client.expect_fault(reason);
            }
            let mut client = stage.client(level, "long");
            client.send([0xC0, 0x80, 0x00]);
            if level == V5 {
                client.expect_fault(0x81); // [MQTT-1.5.5-1]
            } else {
                client.expect(PINGRESP); // nothing forbade it
            }
        }
    });
}

#[test]
fn properties_that_do_not_end_where_they_should() {
    everywhere(|stage| {
        let name = crate::support::packets::string(&stage.topic("x"));
        for properties in [&[5, 1][..], &[0x80, 0x80, 0x80, 0x80, 1], &[0x81, 0x00, 0x01], &[1, 0x01], &[]] {
            let mut client = stage.client(V5, "bad");
            client.send(packet(0x30, &[&name[..], properties].concat()));
            client.expect_fault(0x81); // [MQTT-1.5.5-1]
        }
    });
}

#[test]
fn what_came_before_the_fault_counts() {
    everywhere(|stage| {
        for level in LEVELS {
            let mut witness = stage.client(level, "w");
            witness.subscribe(&stage.topic("a"), 0);
            let mut client = stage.client(level, "bad");
            let good = publish(level, &stage.topic("a"), 0, 0, b"good");
            client.send([&good[..], &[0x00, 0x00], &good].concat());
            client.expect_fault(0x81);
            witness.expect_message("good");
            witness.ping();
        }
    });
}

#[test]
fn packets_may_come_in_pieces_and_many_at_once() {
    everywhere(|stage| {
        for level in [V3_1, V3_1_1, V5] {
            let mut client = stage.client(level, "x");
            client.subscribe(&stage.topic("a"), 0);
            let one = publish(level, &stage.topic("a"), 0, 0, &[b'x'; 200]);
            for byte in &one {
                client.send([*byte]);
            }
            assert_eq!(client.next(), one);
            client.send(one.repeat(500));
            (0..500).for_each(|_| client.expect(&one)); // [MQTT-4.2.0-1]
        }
    });
}
