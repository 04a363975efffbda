//! PUBLISH (5.0 §3.3).

use crate::client::{PUBCOMP, PUBREC, PUBREL};
use crate::fields::{Hello, Publish, byte, four, identifier, list, property, text, two, user};
use crate::stage::everywhere;
use crate::support::packets::{LEVELS, V3_1_1, V5, acknowledgement, packet, string};
use std::thread::sleep;
use std::time::Duration;

#[test]
fn a_message_reaches_every_version_at_the_lower_qos() {
    everywhere(|stage| {
        for to in LEVELS {
            let mut subscribers: Vec<_> = (0..3).map(|qos| stage.client(to, &format!("s{qos}"))).collect();
            for (qos, subscriber) in (0..).zip(&mut subscribers) {
                subscriber.subscribe(&stage.topic("a"), qos);
            }
            for from in LEVELS {
                let mut publisher = stage.client(from, "p");
                for qos in 0..3 {
                    let id = if qos > 0 { 7 } else { 0 };
                    publisher.say(&Publish::new(&stage.topic("a"), "hello").qos(qos, id));
                    for (granted, subscriber) in (0..3).zip(&mut subscribers) {
                        let publish = subscriber.message();
                        let qos = qos.min(granted); // [MQTT-3.8.4-8]
                        let id = publish.id;
                        assert_eq!(id > 0, qos > 0); // [MQTT-2.2.1-2], [MQTT-2.2.1-4]
                        // Byte for byte: topic, no properties, payload, DUP 0, RETAIN 0.
                        let expected = Publish::new(&stage.topic("a"), "hello").qos(qos, id);
                        assert_eq!(publish, expected); // [MQTT-3.3.2-3], [MQTT-3.3.1-12]; 3.1.1: [MQTT-3.3.1-9]
                    }
                }
                publisher.leave();
            }
        }
    });
}

#[test]
fn payloads_are_bytes_of_any_number() {
    everywhere(|stage| {
        let mut client = stage.client(V5, "all");
        let topic = stage.topic("size");
        client.subscribe(&topic, 1);
        for size in [0, 1, 119, 120, 127, 128, 16_382, 16_383, 65_536, 300_000] {
            let payload: Vec<u8> = (0..size).map(|i| (i % 251) as u8).collect();
            let publish = Publish { payload, ..Publish::new(&topic, "").qos(1, 9) };
            client.send(publish.bytes(V5));
            // Acknowledgement and delivery may come in either order.
            for _ in 0..2 {
                let next = client.next();
                match next[0] & 0xF0 {
                    0x40 => assert_eq!(next, [0x40, 2, 0, 9]),
                    _ => {
                        let got = Publish::read(V5, &next);
                        assert!(got.payload == publish.payload);
                        client.acknowledge(&got);
                    }
                }
            }
        }
    });
}

#[test]
fn properties_pass_as_they_are() {
    everywhere(|stage| {
        let mut subscriber = stage.client(V5, "s");
        subscriber.subscribe(&stage.topic("p"), 2);
        let properties = [
            byte(property::PAYLOAD_FORMAT, 1),              // [MQTT-3.3.2-4]
            text(property::CONTENT_TYPE, "text/plain"),     // [MQTT-3.3.2-20]
            text(property::RESPONSE_TOPIC, "answer/here"),  // [MQTT-3.3.2-15]
            text(property::CORRELATION_DATA, "\u{1}\u{2}"), // [MQTT-3.3.2-16]
            // [MQTT-3.3.2-17], [MQTT-3.3.2-18]: repeated, empty and in no alphabetical order.
            user("z", "1"),
            user("a", "2"),
            user("z", "1"),
            user("", ""),
            user("a", "1"),
        ];
        let mut publisher = stage.client(V5, "p");
        for qos in 0..3 {
            let publish = Publish::new(&stage.topic("p"), "x").qos(qos, qos.into()).with(properties.concat());
            publisher.say(&publish);
            let got = subscriber.message();
            let (got, sent) = (list(&got.properties), list(&publish.properties));
            let ours = |all: &[(u8, Vec<u8>)]| -> Vec<_> {
                all.iter().filter(|one| one.0 == property::USER_PROPERTY).cloned().collect()
            };
            assert_eq!(ours(&got), ours(&sent));
            let sorted = |mut all: Vec<(u8, Vec<u8>)>| {
                all.sort();
                all
            };
            assert_eq!(sorted(got), sorted(sent));
        }
        // A client of another version gets the rest.
        let mut older = stage.client(V3_1_1, "older");
        older.subscribe(&stage.topic("p"), 0);
        publisher.say(&Publish::new(&stage.topic("p"), "x").with(properties.concat()));
        assert_eq!(older.message(), Publish::new(&stage.topic("p"), "x"));
    });
}

#[test]
fn properties_may_be_long() {
    everywhere(|stage| {
        let mut client = stage.client(V5, "s");
        client.subscribe(&stage.topic("p"), 1);
        let one = user(&"n".repeat(300), &"v".repeat(65_535));
        let properties = [one.repeat(4), user("last", "").repeat(1_000)].concat();
        let publish = Publish::new(&stage.topic("p"), "x").qos(1, 1).with(properties);
        stage.client(V5, "p").say(&publish);
        let got = client.message();
        assert!(got.properties == publish.properties); // [MQTT-3.3.2-17], [MQTT-3.3.2-18]
    });
}

#[test]
fn dup_of_what_comes_in_says_nothing_about_what_goes_out() {
    everywhere(|stage| {
        for level in LEVELS {
            let mut subscriber = stage.client(level, "s");
            subscriber.subscribe(&stage.topic("d"), 2);
            let mut publisher = stage.client(level, "p");
            for qos in 1..3 {
                publisher.say(&Publish { dup: true, ..Publish::new(&stage.topic("d"), "x").qos(qos, 3) });
                assert!(!subscriber.message().dup); // [MQTT-3.3.1-3], [MQTT-4.3.2-2], [MQTT-4.3.3-2]
            }
        }
    });
}

#[test]
fn messages_of_one_client_stay_in_order() {
    everywhere(|stage| {
        for level in LEVELS {
            let mut subscriber = stage.client(level, "s");
            subscriber.subscribe(&stage.topic("#"), 2);
            let mut publisher = stage.client(level, "p");
            for qos in 0..3 {
                for number in 1..=50 {
                    let id = if qos > 0 { number } else { 0 };
                    let publish = Publish::new(&stage.topic("o"), &number.to_string()).qos(qos, id);
                    publisher.send(publish.bytes(level));
                }
                for number in 1..=50 {
                    subscriber.expect_message(&number.to_string()); // [MQTT-4.6.0-5], [MQTT-4.6.0-6]
                }
                let first = if qos == 1 { 0x40 } else { 0x50 };
                if qos > 0 {
                    (1..=50).for_each(|id| publisher.expect_acknowledgement(first, id));
                }
            }
        }
    });
}

#[test]
fn expired_messages_are_not_delivered_and_others_say_what_is_left() {
    everywhere(|stage| {
        let hello = Hello::staying(V5, &stage.id("s"));
        let mut subscriber = stage.client_with(V5, hello.bytes());
        subscriber.subscribe(&stage.topic("e"), 1);
        subscriber.vanish();
        let mut publisher = stage.client(V5, "p");
        let expiry = |seconds| four(property::MESSAGE_EXPIRY, seconds);
        let topic = stage.topic("e");
        publisher.say(&Publish::new(&topic, "short").qos(1, 1).with(expiry(1)));
        publisher.say(&Publish::new(&topic, "long").qos(1, 2).with(expiry(100)));
        publisher.say(&Publish::new(&topic, "for ever").qos(1, 3));
        publisher.send(Publish::new(&topic, "short").qos(2, 9).with(expiry(1)).bytes(V5));
        publisher.expect_acknowledgement(PUBREC, 9);
        publisher.say(&Publish::new(&stage.topic("kept"), "short").retained().with(expiry(1)));
        publisher.say(&Publish::new(&stage.topic("kept/long"), "long").retained().with(expiry(100)));
        sleep(Duration::from_millis(2_200));
        let mut subscriber = stage.client_with(V5, hello.bytes());
        let long = subscriber.message();
        assert_eq!(long.text(), "long"); // [MQTT-3.3.2-5]
        let left = |publish: &Publish| match &list(&publish.properties)[..] {
            [(property::MESSAGE_EXPIRY, left)] => u32::from_be_bytes(left[..].try_into().unwrap()),
            other => panic!("{other:?}"),
        };
        assert!((60..=98).contains(&left(&long)), "{long:?}"); // [MQTT-3.3.2-6]
        subscriber.expect_message("for ever");
        publisher.send(acknowledgement(PUBREL, 9));
        publisher.expect(acknowledgement(PUBCOMP, 9)); // [MQTT-4.3.3-13]
        subscriber.subscribe(&stage.topic("kept/#"), 0);
        let kept = subscriber.message();
        assert_eq!(kept.text(), "long"); // 5.0 §3.3.2.3.3: retained ones expire as well
        assert!((60..=98).contains(&left(&kept)), "{kept:?}");
        subscriber.ping();
    });
}

#[test]
fn one_that_breaks_the_rules_ends_the_connection() {
    everywhere(|stage| {
        let topic = stage.topic("bad");
        for level in LEVELS {
            let properties: &[u8] = if level == V5 { &[0] } else { &[] };
            let publish =
                |first, topic: &[u8], id: &[u8]| packet(first, &[topic, id, properties, b"x"].concat());
            let name = string(&topic);
            let wrong = [
                (0x81, publish(0x36, &name, &[0, 1])), // [MQTT-3.3.1-4]
                (0x81, publish(0x38, &name, &[])),     // [MQTT-3.3.1-2], [MQTT-4.3.1-1]
                (0x82, publish(0x32, &name, &[0, 0])), // [MQTT-2.2.1-3]; 3.1.1: [MQTT-2.3.1-1]
                (0x82, publish(0x34, &name, &[0, 0])),
                (0x81, publish(0x30, &string("a/+"), &[])), // [MQTT-3.3.2-2], [MQTT-4.7.0-1]
                (0x81, publish(0x30, &string("a/#"), &[])),
                (0x81, publish(0x30, &string("+"), &[])),
                (0x81, publish(0x30, &string("a\0b"), &[])), // [MQTT-1.5.4-2], [MQTT-4.7.3-2]
                (0x81, publish(0x30, b"\x00\x03\xed\xa0\x80", &[])), // [MQTT-1.5.4-1], [MQTT-3.3.2-1]
                (0x81, publish(0x30, b"\x00\x02\xc0\x80", &[])),
                (0x81, publish(0x30, b"\x00\x01\xff", &[])),
                (0x81, packet(0x30, b"\x00\x09short")),
                (0x81, packet(0x30, b"\x00")),
                (0x81, packet(0x32, &[&name[..], b"\x00"].concat())),
            ];
            for (reason, bytes) in wrong {
                let mut client = stage.client(level, "bad");
                client.send(&bytes);
                client.expect_fault(reason); // [MQTT-4.13.1-1]; 3.1.1: [MQTT-4.8.0-1]
            }
            let mut client = stage.client(level, "bad");
            client.send(publish(0x30, &string(""), &[]));
            client.expect_fault(if level == V5 { 0x82 } else { 0x81 }); // [MQTT-4.7.3-1]
        }
    });
}

#[test]
fn properties_that_a_client_may_not_send() {
    everywhere(|stage| {
        let twice = |property: Vec<u8>| [&property[..], &property].concat();
        let wrong = [
            (0x82, identifier(1)), // [MQTT-3.3.4-6]
            (0x82, byte(property::PAYLOAD_FORMAT, 2)),
            (0x82, twice(byte(property::PAYLOAD_FORMAT, 1))),
            (0x82, twice(four(property::MESSAGE_EXPIRY, 9))),
            (0x82, twice(text(property::CONTENT_TYPE, "a"))),
            (0x82, twice(text(property::RESPONSE_TOPIC, "a"))),
            (0x82, twice(text(property::CORRELATION_DATA, "a"))),
            (0x82, text(property::RESPONSE_TOPIC, "a/#")), // [MQTT-3.3.2-14]
            (0x82, text(property::RESPONSE_TOPIC, "a/+/b")),
            (0x81, four(property::WILL_DELAY, 1)),
            (0x81, two(property::RECEIVE_MAXIMUM, 1)),
            (0x81, text(property::CONTENT_TYPE, "a\0b")), // [MQTT-3.3.2-19]
            (0x81, text(property::RESPONSE_TOPIC, "a\0b")), // [MQTT-3.3.2-13]
            (0x81, user("a\0", "b")),                     // [MQTT-1.5.7-1]
            (0x81, vec![property::CONTENT_TYPE, 0, 9, 1]),
        ];
        for (reason, properties) in wrong {
            let mut client = stage.client(V5, "bad");
            client.send(Publish::new(&stage.topic("x"), "x").with(properties).bytes(V5));
            client.expect_fault(reason);
        }
    });
}

#[test]
fn a_byte_order_mark_is_kept() {
    everywhere(|stage| {
        for level in LEVELS {
            let mut client = stage.client(level, "bom");
            let topic = stage.topic("\u{feff}a\u{feff}");
            client.subscribe(&topic, 0);
            client.send(Publish::new(&stage.topic("a"), "no").bytes(level));
            client.send(Publish::new(&topic, "yes").bytes(level));
            let got = client.message();
            assert_eq!((&*got.topic, got.text()), (&*topic, "yes")); // [MQTT-1.5.4-3], [MQTT-4.7.3-4]
        }
    });
}
