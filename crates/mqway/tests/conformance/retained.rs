//! Retained messages (5.0 §3.3.1.3, §3.8.3.1).

use crate::client::Client;
use crate::fields::{Hello, Publish, identifier, list, property, suback, subscribe, text, two, user};
use crate::stage::everywhere;
use crate::support::packets::{LEVELS, V5};
use std::collections::BTreeSet;

/// What a client gets until the next ping, as topic and text, sorted; each with RETAIN 1.
fn retained(client: &mut Client) -> Vec<String> {
    client.send(crate::support::packets::PINGREQ);
    let mut all = Vec::new();
    loop {
        let packet = client.next();
        if packet == crate::support::packets::PINGRESP {
            all.sort();
            return all;
        }
        let publish = Publish::read(client.level, &packet);
        assert!(publish.retain && !publish.dup); // 3.1.1: [MQTT-3.3.1-8]
        all.push(format!("{} {}", publish.topic.split_once('/').unwrap().1, publish.text()));
    }
}

#[test]
fn a_new_subscription_brings_the_last_of_each_topic() {
    everywhere(|stage| {
        for level in LEVELS {
            let mut publisher = stage.client(level, "p");
            let base = format!("{level}");
            let topic = |rest: &str| stage.topic(&format!("{base}/{rest}"));
            for (name, qos) in [("a", 0), ("a/b", 1), ("a/b/c", 2), ("d", 0)] {
                let id = u16::from(qos > 0);
                publisher.say(&Publish::new(&topic(name), "old").retained().qos(qos, id));
                publisher.say(&Publish::new(&topic(name), "new").retained().qos(qos, id)); // [MQTT-3.3.1-5]
                publisher.say(&Publish::new(&topic(name), "passing").qos(qos, id)); // [MQTT-3.3.1-8]
            }
            publisher.ping();
            let expect = |filter: &str, expected: &[&str]| {
                let mut client = stage.client(level, "s");
                client.subscribe(&topic(filter), 0);
                let expected: Vec<_> = expected.iter().map(|name| format!("{base}/{name} new")).collect();
                assert_eq!(retained(&mut client), expected); // [MQTT-3.3.1-9]; 3.1.1: [MQTT-3.3.1-6]
            };
            expect("a", &["a"]);
            expect("#", &["a", "a/b", "a/b/c", "d"]);
            expect("+", &["a", "d"]);
            expect("a/#", &["a", "a/b", "a/b/c"]);
            expect("+/b", &["a/b"]);
            expect("e", &[]);
        }
    });
}

#[test]
fn an_empty_payload_removes() {
    everywhere(|stage| {
        for level in LEVELS {
            let topic = stage.topic("a");
            let mut publisher = stage.client(level, "p");
            let mut client = stage.client(level, "now");
            client.subscribe(&topic, 0);
            for qos in 0..3 {
                let id = u16::from(qos > 0);
                publisher.say(&Publish::new(&topic, "x").retained().qos(qos, id));
                publisher.say(&Publish::new(&topic, "").qos(qos, id)); // without RETAIN it removes nothing
                client.expect_message("x");
                client.expect_message("");
                let mut late = stage.client(level, "late");
                late.subscribe(&topic, 0);
                late.expect_message("x");
                publisher.say(&Publish::new(&topic, "").retained().qos(qos, id));
                client.expect_message(""); // [MQTT-3.3.1-6]
                let mut late = stage.client(level, "late");
                late.subscribe(&topic, 0);
                late.ping(); // [MQTT-3.3.1-6], [MQTT-3.3.1-7]
            }
        }
    });
}

#[test]
fn a_subscription_that_is_there_is_sent_them_again() {
    everywhere(|stage| {
        for level in LEVELS {
            let topic = stage.topic(&format!("again{level}"));
            let mut publisher = stage.client(level, "p");
            publisher.say(&Publish::new(&topic, "x").retained().qos(1, 1));
            let mut client = stage.client(level, "s");
            for _ in 0..2 {
                client.subscribe(&topic, 1);
                let publish = client.message(); // [MQTT-3.8.4-4]; 3.1.1: [MQTT-3.8.4-3]
                assert!(publish.retain && publish.qos == 1);
            }
            publisher.say(&Publish::new(&topic, "y").retained().qos(1, 1));
            assert!(!client.message().retain); // [MQTT-3.3.1-12]; 3.1.1: [MQTT-3.3.1-9]
        }
    });
}

#[test]
fn retain_handling_says_when_they_are_sent() {
    everywhere(|stage| {
        let mut publisher = stage.client(V5, "p");
        publisher.say(&Publish::new(&stage.topic("a"), "x").retained().qos(1, 1));
        let mut client = stage.client(V5, "s");
        let handling = |handling: u8| handling << 4;
        let topic = stage.topic("a");
        for (options, comes) in [(2, false), (1, false), (0, true), (0, true), (2, false)] {
            client.subscribe(&topic, handling(options));
            // [MQTT-3.3.1-9], [MQTT-3.3.1-10], [MQTT-3.3.1-11]
            assert_eq!(retained(&mut client).len(), usize::from(comes), "{options}");
        }
        client.send(crate::fields::unsubscribe(V5, 1, &[&topic]));
        client.expect(crate::fields::unsuback(V5, 1, &[0]));
        client.subscribe(&topic, handling(1));
        assert_eq!(retained(&mut client).len(), 1); // [MQTT-3.3.1-10]: it is new again
    });
}

#[test]
fn each_filter_of_one_packet_brings_its_own() {
    everywhere(|stage| {
        for level in LEVELS {
            let mut publisher = stage.client(level, "p");
            publisher.say(&Publish::new(&stage.topic("each/a"), "x").retained().qos(1, 1));
            let mut client = stage.client(level, "s");
            let (all, one) = (stage.topic("each/#"), stage.topic("each/a"));
            client.send(subscribe(level, 1, &[(&all, 0), (&one, 0)], &[]));
            client.expect(suback(level, 1, &[0, 0])); // [MQTT-3.8.4-5]: as if they had come one after the other
            assert_eq!(retained(&mut client).len(), 2);
        }
    });
}

#[test]
fn many_come_as_the_client_has_room() {
    everywhere(|stage| {
        let mut publisher = stage.client(V5, "p");
        for number in 0..1_300 {
            publisher.send(Publish::new(&stage.topic(&number.to_string()), "x").retained().bytes(V5));
        }
        publisher.ping();
        let properties = two(property::RECEIVE_MAXIMUM, 3);
        let hello = Hello { properties, ..Hello::new(V5, &stage.id("s")) };
        let mut client = stage.client_with(V5, hello.bytes());
        client.subscribe(&stage.topic("+"), 1);
        let mut names = BTreeSet::new();
        // What was published with QoS 0 takes no place.
        for _ in 0..1_300 {
            let publish = client.message();
            assert!(publish.retain && publish.qos == 0);
            names.insert(publish.topic);
        }
        assert_eq!(names.len(), 1_300);
        client.ping();
        for number in 0..100 {
            let id = number + 1;
            publisher.say(&Publish::new(&stage.topic(&format!("q/{number}")), "x").retained().qos(1, id));
        }
        client.subscribe(&stage.topic("q/+"), 1);
        for window in 0..33 {
            let three = [client.publish(), client.publish(), client.publish()];
            client.ping(); // [MQTT-3.3.4-9]: no more than three at once
            assert!(three.iter().all(|publish| publish.qos == 1), "{window}");
            three.iter().for_each(|publish| client.acknowledge(publish));
        }
        client.expect_message("x");
        client.ping();
    });
}

#[test]
fn properties_and_identifiers_come_with_them() {
    everywhere(|stage| {
        let mut publisher = stage.client(V5, "p");
        let properties = [text(property::CONTENT_TYPE, "t"), user("b", "1"), user("a", "1")].concat();
        publisher.say(&Publish::new(&stage.topic("a"), "x").retained().qos(1, 1).with(&properties));
        let mut client = stage.client(V5, "s");
        client.subscribe_with(&stage.topic("a"), 1, &identifier(7));
        let publish = client.message();
        assert_eq!(list(&publish.properties), list(&[properties, identifier(7)].concat())); // [MQTT-3.3.4-3]
    });
}
