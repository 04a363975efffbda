//! PUBACK, PUBREC, PUBREL, PUBCOMP, and the exchanges of §4.3.

use crate::client::{PUBACK, PUBCOMP, PUBREC, PUBREL, refusal};
use crate::fields::{Publish, property, text, user};
use crate::stage::everywhere;
use crate::support::packets::{LEVELS, V5, acknowledgement, packet};

#[test]
fn they_repeat_the_identifier() {
    everywhere(|stage| {
        for level in LEVELS {
            let mut client = stage.client(level, "ids");
            client.subscribe(&stage.topic("other"), 0);
            for id in [1, 2, 255, 256, 0x1234, 65_535] {
                client.say(&Publish::new(&stage.topic("x"), "x").qos(1, id)); // [MQTT-2.2.1-5], [MQTT-4.3.2-4]
                client.say(&Publish::new(&stage.topic("x"), "x").qos(2, id)); // [MQTT-4.3.3-8], [MQTT-4.3.3-11]
            }
        }
    });
}

#[test]
fn after_puback_the_same_identifier_is_a_new_message() {
    everywhere(|stage| {
        for level in LEVELS {
            let mut subscriber = stage.client(level, "s");
            subscriber.subscribe(&stage.topic("x"), 0);
            let mut client = stage.client(level, "p");
            let publish = Publish::new(&stage.topic("x"), "x").qos(1, 5);
            client.say(&publish);
            client.say(&Publish { dup: true, ..publish });
            subscriber.expect_message("x");
            subscriber.expect_message("x"); // [MQTT-4.3.2-5]; 3.1.1: [MQTT-4.3.2-2]
        }
    });
}

#[test]
fn until_pubrel_the_same_identifier_is_the_same_message() {
    everywhere(|stage| {
        for level in LEVELS {
            let mut subscriber = stage.client(level, "s");
            subscriber.subscribe(&stage.topic("x"), 2);
            let mut client = stage.client(level, "p");
            let publish = Publish::new(&stage.topic("x"), "once").qos(2, 5);
            let again = Publish { dup: true, ..publish.clone() };
            for publish in [&publish, &again, &again] {
                client.send(publish.bytes(level));
                client.expect_acknowledgement(PUBREC, 5); // [MQTT-4.3.3-10]
            }
            client.send(acknowledgement(PUBREL, 5));
            client.expect(acknowledgement(PUBCOMP, 5));
            client.say(&Publish::new(&stage.topic("x"), "next").qos(2, 5)); // [MQTT-4.3.3-12]
            subscriber.expect_message("once");
            subscriber.expect_message("next"); // 3.1.1: [MQTT-4.3.3-2]
        }
    });
}

#[test]
fn a_message_of_qos_2_is_handed_on_before_pubrel_or_at_it_but_once() {
    everywhere(|stage| {
        for level in LEVELS {
            let mut subscriber = stage.client(level, "s");
            subscriber.subscribe(&stage.topic("x"), 2);
            let mut client = stage.client(level, "p");
            client.send(Publish::new(&stage.topic("x"), "1").qos(2, 1).bytes(level));
            client.expect_acknowledgement(PUBREC, 1);
            for _ in 0..2 {
                client.send(acknowledgement(PUBREL, 1));
                let pubcomp = client.next();
                let repeated = pubcomp == refusal(PUBCOMP, 1, 0x92);
                assert!(pubcomp == acknowledgement(PUBCOMP, 1) || (level == V5 && repeated));
            }
            client.say(&Publish::new(&stage.topic("x"), "2").qos(1, 2));
            subscriber.expect_message("1");
            subscriber.expect_message("2");
        }
    });
}

#[test]
fn a_client_hears_that_its_message_was_taken_before_it_gets_it() {
    everywhere(|stage| {
        for level in LEVELS {
            let mut client = stage.client(level, "x");
            client.subscribe(&stage.topic("x"), 2);
            client.send(Publish::new(&stage.topic("x"), "1").qos(1, 1).bytes(level));
            client.expect(acknowledgement(PUBACK, 1));
            client.expect_message("1");
            client.send(Publish::new(&stage.topic("x"), "2").qos(2, 2).bytes(level));
            client.expect(acknowledgement(PUBREC, 2));
            client.send(acknowledgement(PUBREL, 2));
            client.expect_acknowledgement(PUBCOMP, 2);
            client.expect_message("2");
        }
    });
}

#[test]
fn an_acknowledgement_out_of_turn_ends_the_connection() {
    everywhere(|stage| {
        for level in LEVELS {
            for (qos, before, wrong) in
                [(1, 0, PUBREC), (1, 0, PUBCOMP), (2, 0, PUBACK), (2, 0, PUBCOMP), (2, PUBREC, PUBACK)]
            {
                let mut client = stage.client(level, "x");
                client.subscribe(&stage.topic("x"), qos);
                let mut other = stage.client(level, "y");
                other.say(&Publish::new(&stage.topic("x"), "2").qos(qos, 9));
                let publish = client.publish();
                if before != 0 {
                    client.send(acknowledgement(before, publish.id));
                    client.expect(acknowledgement(PUBREL, publish.id));
                }
                client.send(acknowledgement(wrong, publish.id));
                client.expect_fault(0x82); // [MQTT-3.3.4-1], [MQTT-4.13.1-1]; 3.1.1: [MQTT-4.8.0-1]
            }
        }
    });
}

#[test]
fn identifiers_that_nobody_knows_are_answered_in_kind() {
    everywhere(|stage| {
        for level in LEVELS {
            let mut client = stage.client(level, "x");
            // 5.0 §4.3.3: neither is a reason to end the connection.
            client.send(acknowledgement(PUBREL, 77));
            let not_found = |first: u8| match level {
                V5 => refusal(first, 77, 0x92),
                _ => acknowledgement(first, 77),
            };
            client.expect(not_found(PUBCOMP)); // [MQTT-3.7.2-1]
            client.send(acknowledgement(PUBREC, 77));
            client.expect(not_found(PUBREL)); // [MQTT-3.6.2-1], [MQTT-3.6.1-1]
            client.send(acknowledgement(PUBCOMP, 77));
            client.send(acknowledgement(PUBACK, 77));
            client.ping();
        }
    });
}

#[test]
fn the_server_sends_in_the_same_steps() {
    everywhere(|stage| {
        for level in LEVELS {
            let mut client = stage.client(level, "x");
            client.subscribe(&stage.topic("x"), 2);
            let mut other = stage.client(level, "y");
            other.say(&Publish::new(&stage.topic("x"), "2").qos(2, 9));
            let publish = client.publish();
            assert_eq!((publish.qos, publish.dup), (2, false)); // [MQTT-4.3.3-1], [MQTT-4.3.3-2]; 3.1.1: [MQTT-4.3.3-1]
            client.ping(); // [MQTT-4.3.3-3]: nothing more without PUBREC
            client.send(acknowledgement(PUBREC, publish.id));
            client.expect(acknowledgement(PUBREL, publish.id)); // [MQTT-4.3.3-4]
            client.ping(); // [MQTT-4.3.3-5], [MQTT-4.3.3-6]
            client.send(acknowledgement(PUBREC, publish.id));
            client.expect(acknowledgement(PUBREL, publish.id));
            client.send(acknowledgement(PUBCOMP, publish.id));
            client.ping();
        }
    });
}

#[test]
fn reasons_and_properties_of_a_client_are_understood() {
    everywhere(|stage| {
        let mut client = stage.client(V5, "x");
        client.subscribe(&stage.topic("x"), 2);
        let mut other = stage.client(V5, "y");
        let words = [text(property::REASON_STRING, "why"), user("a", "b"), user("a", "c")].concat();
        let long = |first: u8, id: u16, reason: u8| {
            let body = [&id.to_be_bytes()[..], &[reason, words.len() as u8], &words].concat();
            packet(first, &body)
        };
        other.say(&Publish::new(&stage.topic("x"), "a").qos(1, 1));
        let a = client.publish();
        client.send(long(PUBACK, a.id, 0x10));
        other.say(&Publish::new(&stage.topic("x"), "b").qos(2, 1));
        let b = client.publish();
        client.send(long(PUBREC, b.id, 0));
        client.expect(acknowledgement(PUBREL, b.id));
        client.send(long(PUBCOMP, b.id, 0));
        other.say(&Publish::new(&stage.topic("x"), "c").qos(2, 1));
        let c = client.publish();
        client.send(long(PUBREC, c.id, 0x97)); // [MQTT-4.4.0-2]: it ends there.
        client.ping();
        client.send(long(PUBREL, 99, 0x92));
        client.expect(refusal(PUBCOMP, 99, 0x92));
    });
}

#[test]
fn malformed_ones_end_the_connection() {
    everywhere(|stage| {
        for level in LEVELS {
            let mut wrong = vec![
                (0x81, packet(0x41, &[0, 1])), // [MQTT-2.1.3-1]
                (0x81, packet(0x5F, &[0, 1])),
                (0x81, packet(0x72, &[0, 1])),
                (0x81, packet(0x60, &[0, 1])), // [MQTT-3.6.1-1]; 3.1.1: [MQTT-3.6.1-1]
                (0x81, packet(0x64, &[0, 1])),
                (0x81, packet(0x40, &[1])),
                (0x81, packet(0x40, &[])),
                (0x82, packet(0x40, &[0, 0])),
            ];
            if level == V5 {
                wrong.extend([
                    (0x82, packet(0x40, &[0, 1, 0x92])), // [MQTT-3.4.2-1]
                    (0x82, packet(0x50, &[0, 1, 0x92])), // [MQTT-3.5.2-1]
                    (0x82, packet(0x62, &[0, 1, 0x10])),
                    (0x82, packet(0x70, &[0, 1, 0x80])),
                    (0x81, packet(0x40, &[0, 1, 0, 2, 0x01, 0])),
                    (0x81, packet(0x40, &[0, 1, 0, 9, 0x1F])),
                ]);
            } else {
                wrong.push((0x81, packet(0x40, &[0, 1, 0])));
            }
            for (reason, bytes) in wrong {
                let mut client = stage.client(level, "bad");
                client.send(&bytes);
                client.expect_fault(reason);
            }
        }
    });
}
