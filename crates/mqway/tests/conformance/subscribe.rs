//! SUBSCRIBE and SUBACK (5.0 §3.8, §3.9).

use crate::fields::{Publish, identifier, list, property, suback, subscribe, unsuback, unsubscribe, user};
use crate::stage::everywhere;
use crate::support::packets::{LEVELS, V5, packet, string};

const NO_LOCAL: u8 = 0x04;
const AS_PUBLISHED: u8 = 0x08;

#[test]
fn many_filters_are_answered_together() {
    everywhere(|stage| {
        for level in LEVELS {
            let mut client = stage.client(level, "s");
            let (a, b, c) = (stage.topic("a"), stage.topic("b/+"), stage.topic("c/#"));
            let filters = [(&*a, 1), (&*b, 2), (&*c, 0), (&*a, 0)];
            client.send(subscribe(level, 0xF00D, &filters, &[]));
            // [MQTT-3.8.4-1], [MQTT-3.8.4-2], [MQTT-3.8.4-5], [MQTT-3.8.4-6], [MQTT-3.8.4-7], [MQTT-3.9.3-1]
            client.expect(suback(level, 0xF00D, &[1, 2, 0, 0]));
            let mut publisher = stage.client(level, "p");
            for (topic, qos) in [("a", 0), ("b/x", 2), ("c", 0), ("c/d/e", 0)] {
                publisher.say(&Publish::new(&stage.topic(topic), topic).qos(2, 1));
                let got = client.message();
                assert_eq!((got.text(), got.qos), (topic, qos)); // the last of two that are equal counts
            }
        }
    });
}

#[test]
fn the_same_filter_again_replaces() {
    everywhere(|stage| {
        for level in LEVELS {
            let mut client = stage.client(level, "s");
            let mut publisher = stage.client(level, "p");
            let topic = stage.topic("a");
            for qos in [0, 2, 1] {
                client.subscribe(&topic, qos); // [MQTT-3.8.4-3]; 3.1.1: [MQTT-3.8.4-3]
                publisher.say(&Publish::new(&topic, "x").qos(2, 1));
                assert_eq!(client.message().qos, qos);
                client.ping(); // once, not twice
            }
        }
    });
}

#[test]
fn overlapping_ones_deliver_once_at_the_highest_qos() {
    everywhere(|stage| {
        for level in LEVELS {
            let mut client = stage.client(level, "s");
            client.subscribe(&stage.topic("#"), 0);
            client.subscribe(&stage.topic("+/b"), 2);
            client.subscribe(&stage.topic("a/b"), 1);
            let mut publisher = stage.client(level, "p");
            publisher.say(&Publish::new(&stage.topic("a/b"), "x").qos(2, 1));
            assert_eq!(client.message().qos, 2); // [MQTT-3.3.4-2]
            publisher.say(&Publish::new(&stage.topic("z"), "end"));
            client.expect_message("end");
        }
    });
}

#[test]
fn deliveries_carry_the_identifiers_of_all_that_match() {
    everywhere(|stage| {
        let mut client = stage.client(V5, "s");
        client.subscribe_with(&stage.topic("#"), 1, &identifier(1));
        client.subscribe_with(&stage.topic("+/b"), 0, &identifier(268_435_455));
        client.subscribe(&stage.topic("a/+"), 1);
        let mut publisher = stage.client(V5, "p");
        publisher.say(&Publish::new(&stage.topic("a/b"), "x").qos(1, 1));
        let mut seen = list(&client.message().properties);
        seen.sort();
        // [MQTT-3.3.4-3], [MQTT-3.3.4-4], [MQTT-3.3.4-5]
        assert_eq!(seen, list(&[identifier(1), identifier(268_435_455)].concat()));
        // Replacing takes the identifier away, too.
        client.subscribe(&stage.topic("#"), 1);
        publisher.say(&Publish::new(&stage.topic("z"), "x").qos(1, 1));
        assert_eq!(list(&client.message().properties), []);
    });
}

#[test]
fn no_local_leaves_out_one_s_own() {
    everywhere(|stage| {
        let mut client = stage.client(V5, "s");
        client.subscribe(&stage.topic("a"), 1 | NO_LOCAL);
        client.subscribe(&stage.topic("b"), 1);
        client.send(Publish::new(&stage.topic("a"), "own").bytes(V5)); // [MQTT-3.8.3-3]
        client.send(Publish::new(&stage.topic("b"), "own too").bytes(V5));
        client.expect_message("own too");
        let mut other = stage.client(V5, "p");
        other.say(&Publish::new(&stage.topic("a"), "another's").qos(1, 1));
        client.expect_message("another's");
    });
}

#[test]
fn retain_as_published_keeps_the_flag() {
    everywhere(|stage| {
        let mut client = stage.client(V5, "s");
        client.subscribe(&stage.topic("kept"), 1 | AS_PUBLISHED);
        client.subscribe(&stage.topic("cleared"), 1);
        let mut publisher = stage.client(V5, "p");
        for (topic, expected) in [("kept", true), ("cleared", false)] {
            publisher.say(&Publish::new(&stage.topic(topic), "x").retained().qos(1, 1));
            assert_eq!(client.message().retain, expected); // [MQTT-3.3.1-12], [MQTT-3.3.1-13]
            publisher.say(&Publish::new(&stage.topic(topic), "y").qos(1, 1));
            assert!(!client.message().retain); // [MQTT-3.3.1-13]
        }
    });
}

#[test]
fn thousands_of_filters_may_stand_in_one_packet() {
    everywhere(|stage| {
        for level in LEVELS {
            let mut client = stage.client(level, "s");
            let filters: Vec<_> = (0..5_000).map(|number| stage.topic(&format!("{number}/+"))).collect();
            let options: Vec<_> =
                (0..3).cycle().zip(&filters).map(|(qos, filter)| (&**filter, qos)).collect();
            client.send(subscribe(level, 1, &options, &[]));
            let codes: Vec<_> = (0..3).cycle().take(filters.len()).collect();
            client.expect(suback(level, 1, &codes)); // [MQTT-3.9.3-1]
            let names: Vec<_> = filters.iter().map(|filter| &**filter).collect();
            client.send(unsubscribe(level, 2, &names));
            client.expect(unsuback(level, 2, &vec![0; names.len()]));
        }
    });
}

#[test]
fn user_properties_are_taken() {
    everywhere(|stage| {
        let mut client = stage.client(V5, "s");
        let properties = [user("a", "b"), identifier(5), user("a", "b")].concat();
        client.subscribe_with(&stage.topic("a"), 0, &properties);
    });
}

#[test]
fn one_that_breaks_the_rules_ends_the_connection() {
    everywhere(|stage| {
        for level in LEVELS {
            let none: &[u8] = if level == V5 { &[0] } else { &[] };
            let one =
                |filter: &[u8], options: u8| packet(0x82, &[&[0, 1], none, filter, &[options][..]].concat());
            let name = string(&stage.topic("x"));
            let mut wrong = vec![
                (0x82, packet(0x82, &[&[0, 1], none].concat())), // [MQTT-3.8.3-2]; 3.1.1: [MQTT-3.8.3-3]
                (0x82, packet(0x82, &[&[0, 0], none, &name, &[0]].concat())), // [MQTT-2.2.1-3]
                (0x81, packet(0x82, &[&[0, 1], none, &name].concat())),
                (0x81, one(&string(""), 0)),      // [MQTT-4.7.3-1]
                (0x81, one(&string("a/#/b"), 0)), // [MQTT-4.7.1-1]
                (0x81, one(&string("a#"), 0)),
                (0x81, one(&string("a+/b"), 0)), // [MQTT-4.7.1-2]
                (0x81, one(&string("a/+b"), 0)),
                (0x81, one(&string("a\0b"), 0)), // [MQTT-3.8.3-1], [MQTT-4.7.3-2]
                (0x81, one(b"\x00\x03\xed\xbf\xbf", 0)),
            ];
            if level == V5 {
                wrong.extend([
                    (0x82, one(&name, 3)),
                    (0x82, one(&name, 0x30)), // Retain Handling 3
                    (0x81, one(&name, 0x40)), // [MQTT-3.8.3-5]
                    (0x81, one(&name, 0x80)),
                    (0x82, one(&string("$share/g/a"), NO_LOCAL)), // [MQTT-3.8.3-4]
                    (0x81, one(&string("$share/a"), 0)),          // [MQTT-4.8.2-2]
                    (0x81, one(&string("$share//a"), 0)),         // [MQTT-4.8.2-1]
                    (0x81, one(&string("$share/+/a"), 0)),
                    (0x81, one(&string("$share/g/"), 0)),
                    (0x82, subscribe(V5, 1, &[("a", 0)], &identifier(0))),
                    (0x82, subscribe(V5, 1, &[("a", 0)], &[identifier(1), identifier(2)].concat())),
                    (0x81, subscribe(V5, 1, &[("a", 0)], &[property::PAYLOAD_FORMAT, 1])),
                ]);
            } else {
                let first = one(&name, 0);
                wrong.push((0x82, one(&name, 3))); // 3.1.1: [MQTT-3-8.3-4]
                if level == crate::support::packets::V3_1_1 {
                    wrong.push((0x81, one(&name, 4)));
                    wrong.push((0x81, [&[0x80], &first[1..]].concat())); // [MQTT-3.8.1-1]; 3.1.1: [MQTT-3.8.1-1]
                }
            }
            for (reason, bytes) in wrong {
                let mut client = stage.client(level, "bad");
                client.send(&bytes);
                client.expect_fault(reason);
            }
        }
        let mut client = stage.client(V5, "bad");
        client.send([&[0x80], &subscribe(V5, 1, &[("a", 0)], &[])[1..]].concat());
        client.expect_fault(0x81); // [MQTT-3.8.1-1]
    });
}
