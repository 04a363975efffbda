//! Sessions across connections (5.0 §4.1, §4.4, §3.1.2.4, §3.1.2.11).

use crate::client::{Client, PUBACK, PUBCOMP, PUBREC, PUBREL};
use crate::fields::{
    Hello, Publish, code_of, disconnect, four, property, session_present, suback, subscribe,
};
use crate::stage::{Stage, everywhere};
use crate::support::packets::{LEVELS, V3_1, V3_1_1, V5, acknowledgement};
use crate::support::{SOON, eventually};
use std::collections::BTreeSet;
use std::thread::sleep;
use std::time::Duration;

/// Connects; whether there was a session.
fn resume(stage: Stage, hello: &Hello) -> (Client, bool) {
    let (client, connack) = stage.greet(hello.level, &hello.bytes());
    assert_eq!(code_of(&connack), 0);
    (client, session_present(&connack))
}

#[test]
fn clean_start_and_session_present() {
    everywhere(|stage| {
        for level in [V3_1_1, V5] {
            let staying = Hello::staying(level, &stage.id(&format!("s{level}")));
            let clean = Hello { clean: true, ..staying.clone() };
            let (client, present) = resume(stage, &staying);
            assert!(!present); // [MQTT-3.1.2-6], [MQTT-3.2.2-3]; 3.1.1: [MQTT-3.2.2-3]
            client.vanish();
            let (mut client, present) = resume(stage, &staying);
            assert!(present); // [MQTT-3.1.2-5], [MQTT-3.2.2-3]; 3.1.1: [MQTT-3.1.2-4], [MQTT-3.2.2-2]
            client.subscribe(&stage.topic("a"), 1);
            client.leave();
            let (mut client, present) = resume(stage, &clean);
            assert!(!present); // [MQTT-3.1.2-4], [MQTT-3.1.4-4], [MQTT-3.2.2-2]; 3.1.1: [MQTT-3.1.2-6], [MQTT-3.1.4-3]
            client.send(Publish::new(&stage.topic("a"), "x").bytes(level));
            client.ping(); // the subscription is gone
            client.vanish();
            // In 3.1.1 that session went with its connection; in 5.0 its expiry says how long it stays.
            assert_eq!(resume(stage, &staying).1, level == V5); // 3.1.1: [MQTT-3.1.2-6]
        }
    });
}

#[test]
fn messages_wait_for_a_client_that_is_away() {
    everywhere(|stage| {
        for level in LEVELS {
            let hello = Hello::staying(level, &stage.id("s"));
            let (mut client, _) = resume(stage, &hello);
            let (one, two) = (stage.topic("one"), stage.topic("two"));
            client.send(subscribe(level, 1, &[(&one, 1), (&two, 2)], &[]));
            client.expect(suback(level, 1, &[1, 2]));
            client.leave();
            let mut publisher = stage.client(level, "p");
            for (number, topic) in (1..=6).zip([&one, &two].into_iter().cycle()) {
                publisher.say(&Publish::new(topic, &number.to_string()).qos(2, number));
            }
            let (mut client, _) = resume(stage, &hello);
            for number in 1..=6 {
                let publish = client.message();
                // [MQTT-4.5.0-1]; 3.1.1: [MQTT-3.1.2-5]
                assert_eq!((publish.text(), publish.dup), (&*number.to_string(), false));
                assert_eq!(publish.qos, if number % 2 == 0 { 2 } else { 1 });
            }
            client.ping();
        }
    });
}

#[test]
fn what_was_not_acknowledged_comes_again_in_order() {
    everywhere(|stage| {
        for level in LEVELS {
            let hello = Hello::staying(level, &stage.id("s"));
            let (mut client, _) = resume(stage, &hello);
            client.subscribe(&stage.topic("#"), 2);
            let mut publisher = stage.client(level, "p");
            for (number, qos) in [(1, 1), (2, 2), (3, 1), (4, 2)] {
                publisher.say(&Publish::new(&stage.topic("a"), &number.to_string()).qos(qos, number));
            }
            let first: Vec<_> = (0..4).map(|_| client.publish()).collect();
            let ids: BTreeSet<_> = first.iter().map(|publish| publish.id).collect();
            assert!(ids.len() == 4 && !ids.contains(&0)); // [MQTT-2.2.1-4], [MQTT-4.3.2-1], [MQTT-4.3.3-1]
            client.ping(); // [MQTT-4.4.0-1]: not again on the same connection. [MQTT-4.3.2-3]
            client.send(acknowledgement(PUBREC, first[1].id));
            client.expect(acknowledgement(PUBREL, first[1].id));
            client.vanish();

            let (mut client, _) = resume(stage, &hello);
            let again = |publish: &Publish| Publish { dup: true, ..publish.clone() }; // [MQTT-3.3.1-1]
            let mut seen = Vec::new();
            let mut released = 0;
            for _ in 0..4 {
                let packet = client.next();
                if packet == acknowledgement(PUBREL, first[1].id) {
                    released += 1; // [MQTT-4.3.3-6]: and not PUBLISH
                } else {
                    seen.push(Publish::read(level, &packet));
                }
            }
            assert_eq!(seen, [again(&first[0]), again(&first[2]), again(&first[3])]); // [MQTT-4.4.0-1]
            assert_eq!(released, 1);
            client.send(acknowledgement(PUBCOMP, first[1].id));
            seen.iter().for_each(|publish| client.acknowledge(publish));
            client.ping();
            client.vanish();
            resume(stage, &hello).0.ping(); // everything is done
        }
    });
}

#[test]
fn the_state_of_a_receiver_of_qos_2_outlives_the_connection() {
    everywhere(|stage| {
        for level in LEVELS {
            let mut subscriber = stage.client(level, "s");
            subscriber.subscribe(&stage.topic("a"), 2);
            let hello = Hello::staying(level, &stage.id("p"));
            let (mut client, _) = resume(stage, &hello);
            let publish = Publish::new(&stage.topic("a"), "once").qos(2, 3);
            client.send(publish.bytes(level));
            client.expect_acknowledgement(PUBREC, 3);
            client.vanish();
            let (mut client, _) = resume(stage, &hello);
            client.say(&Publish { dup: true, ..publish }); // [MQTT-4.3.3-10], [MQTT-4.1.0-1]
            client.say(&Publish::new(&stage.topic("a"), "end").qos(2, 3));
            subscriber.expect_message("once");
            subscriber.expect_message("end");
        }
    });
}

#[test]
fn messages_keep_coming_to_a_session_that_was_taken_over() {
    everywhere(|stage| {
        for level in LEVELS {
            let hello = Hello::staying(level, &stage.id("s"));
            let (mut first, _) = resume(stage, &hello);
            first.subscribe(&stage.topic("a"), 1);
            let mut publisher = stage.client(level, "p");
            publisher.say(&Publish::new(&stage.topic("a"), "1").qos(1, 1));
            let publish = first.publish();
            let (mut second, present) = resume(stage, &hello);
            assert_eq!(present, level != V3_1);
            first.expect_fault(0x8E);
            assert_eq!(second.publish(), Publish { dup: true, ..publish.clone() });
            second.send(acknowledgement(PUBACK, publish.id));
            publisher.say(&Publish::new(&stage.topic("a"), "2").qos(1, 2));
            second.expect_message("2");
        }
    });
}

#[test]
fn a_session_ends_when_its_time_is_over() {
    everywhere(|stage| {
        let expiry = |seconds, role| {
            let properties = four(property::SESSION_EXPIRY, seconds);
            Hello { clean: false, properties, ..Hello::new(V5, &stage.id(role)) }
        };
        let (none, short, zero) = (
            Hello { clean: false, ..Hello::new(V5, &stage.id("none")) },
            expiry(1, "short"),
            expiry(0, "zero"),
        );
        let (ever, late) = (expiry(u32::MAX, "ever"), expiry(600, "late"));
        for hello in [&none, &short, &zero, &ever] {
            resume(stage, hello).0.vanish();
        }
        // DISCONNECT changes what CONNECT has said (5.0 §3.14.2.2.2).
        let (mut client, _) = resume(stage, &late);
        client.send(disconnect(0, &four(property::SESSION_EXPIRY, 1)));
        client.expect_end();
        let gone = expiry(600, "gone");
        let (mut client, _) = resume(stage, &gone);
        client.send(disconnect(0, &four(property::SESSION_EXPIRY, 0)));
        client.expect_end();
        sleep(Duration::from_millis(2_500));
        let present = [&none, &short, &zero, &ever, &late, &gone].map(|hello| resume(stage, hello).1);
        assert_eq!(present, [false, false, false, true, false, false]); // [MQTT-3.1.2-23], [MQTT-4.1.0-2]
    });
}

#[test]
fn what_was_retained_outlives_the_session() {
    everywhere(|stage| {
        for level in LEVELS {
            let topic = stage.topic(&format!("kept{level}"));
            let mut publisher = stage.client(level, "p");
            publisher.say(&Publish::new(&topic, "x").retained().qos(1, 1));
            publisher.leave();
            let mut client = stage.client(level, "s");
            client.subscribe(&topic, 0);
            client.expect_message("x"); // 3.1.1: [MQTT-3.1.2-7]
        }
    });
}

#[test]
fn a_session_serves_clients_of_any_version() {
    everywhere(|stage| {
        let id = stage.id("s");
        let (mut client, _) = resume(stage, &Hello::staying(V5, &id));
        client.subscribe(&stage.topic("a"), 1);
        client.vanish();
        let mut publisher = stage.client(V5, "p");
        let properties = four(property::MESSAGE_EXPIRY, 100);
        publisher.say(&Publish::new(&stage.topic("a"), "x").qos(1, 1).with(properties));
        let (mut client, present) = resume(stage, &Hello::staying(V3_1_1, &id));
        assert!(present);
        client.expect_message("x");
        client.leave();
        // What was agreed before 5.0 holds without an expiry, too.
        assert!(eventually(SOON, || resume(stage, &Hello::staying(V5, &id)).1));
    });
}
