//! Wills (5.0 §3.1.2.5, §3.1.3.2).

use crate::client::Client;
use crate::fields::{Hello, LastWill, Publish, byte, disconnect, four, list, property, text, user};
use crate::stage::{Stage, everywhere};
use crate::support::packets::{LEVELS, V5};
use std::thread::sleep;
use std::time::{Duration, Instant};

const SECOND: Duration = Duration::from_secs(1);

fn will(stage: Stage, text: &str) -> LastWill {
    LastWill { topic: stage.topic("gone"), payload: text.into(), qos: 1, ..LastWill::default() }
}

fn hello(stage: Stage, level: u8, will: LastWill) -> Hello {
    Hello { will: Some(will), ..Hello::new(level, &stage.id("dies")) }
}

/// A client that sees every will of a scenario.
fn witness(stage: Stage, level: u8) -> Client {
    let mut client = stage.client(level, "witness");
    client.subscribe(&stage.topic("#"), 2);
    client
}

/// Everything that came before this did.
fn expect_no_more(stage: Stage, witness: &mut Client) {
    let mut client = stage.client(witness.level, "end");
    client.say(&Publish::new(&stage.topic("end"), "end").qos(1, 1));
    witness.expect_message("end");
}

#[test]
fn it_is_published_when_the_client_vanishes_and_not_when_it_leaves() {
    everywhere(|stage| {
        for level in LEVELS {
            let mut witness = witness(stage, level);
            for qos in 0..3 {
                let will = LastWill { qos, ..will(stage, "gone") };
                let hello = hello(stage, level, will);
                stage.client_with(level, hello.bytes()).vanish();
                let published = witness.message(); // [MQTT-3.1.2-7], [MQTT-3.1.2-8]; 3.1.1: [MQTT-3.1.2-8]
                let expected = Publish::new(&stage.topic("gone"), "gone").qos(qos, published.id);
                assert_eq!(published, expected); // [MQTT-3.1.2-14]
                stage.client_with(level, hello.bytes()).leave();
                expect_no_more(stage, &mut witness); // [MQTT-3.1.2-10], [MQTT-3.14.4-3]; 3.1.1: [MQTT-3.14.4-3]
            }
            // 3.1.1: [MQTT-3.1.2-12]: without one there is none.
            stage.client(level, "dies").vanish();
            expect_no_more(stage, &mut witness);
        }
    });
}

#[test]
fn faults_silence_and_takeover_are_no_farewells() {
    everywhere(|stage| {
        for level in LEVELS {
            let mut witness = witness(stage, level);
            let hello = hello(stage, level, will(stage, "gone"));
            let mut client = stage.client_with(level, hello.bytes());
            client.send([0xC1, 0]);
            client.expect_fault(0x81);
            witness.expect_message("gone");
            let client = stage.client_with(level, Hello { keep_alive: 1, ..hello.clone() }.bytes());
            client.expect_fault(0x8D);
            witness.expect_message("gone"); // [MQTT-3.1.2-22]
            let first = stage.client_with(level, hello.bytes());
            let second = stage.client(level, "dies");
            first.expect_fault(0x8E);
            witness.expect_message("gone"); // 5.0 §3.1.4
            second.leave();
            expect_no_more(stage, &mut witness); // [MQTT-3.1.2-10]; 3.1.1: [MQTT-3.1.2-10]
        }
    });
}

#[test]
fn disconnect_may_ask_for_it() {
    everywhere(|stage| {
        let mut witness = witness(stage, V5);
        let hello = hello(stage, V5, will(stage, "gone"));
        for reason in [0x04, 0x80, 0x93] {
            let mut client = stage.client_with(V5, hello.bytes());
            client.send(disconnect(reason, &[]));
            client.expect_end();
            witness.expect_message("gone"); // [MQTT-3.14.4-3]: 0x00 only takes it back
        }
    });
}

#[test]
fn it_may_be_retained() {
    everywhere(|stage| {
        for level in LEVELS {
            let mut witness = witness(stage, level);
            for retain in [false, true] {
                let will = LastWill { retain, ..will(stage, "kept") };
                stage.client_with(level, hello(stage, level, will).bytes()).vanish();
                assert!(!witness.message().retain);
                let mut late = stage.client(level, "late");
                late.subscribe(&stage.topic("gone"), 0);
                if retain {
                    assert!(late.message().retain); // [MQTT-3.1.2-15]; 3.1.1: [MQTT-3.1.2-17]
                }
                late.ping(); // [MQTT-3.1.2-14]; 3.1.1: [MQTT-3.1.2-16]
            }
            let empty = LastWill { retain: true, ..will(stage, "") };
            stage.client_with(level, hello(stage, level, empty).bytes()).vanish();
            witness.expect_message("");
        }
    });
}

#[test]
fn its_properties_come_with_it_in_their_order() {
    everywhere(|stage| {
        let mut witness = witness(stage, V5);
        let properties = [
            byte(property::PAYLOAD_FORMAT, 1),
            text(property::CONTENT_TYPE, "t"),
            text(property::RESPONSE_TOPIC, "r"),
            text(property::CORRELATION_DATA, "c"),
            user("z", "1"),
            user("a", "2"),
            user("z", "1"),
        ];
        let mut all = properties.concat();
        all.extend([four(property::WILL_DELAY, 0), four(property::MESSAGE_EXPIRY, 90)].concat());
        let will = LastWill { properties: all, ..will(stage, "gone") };
        stage.client_with(V5, hello(stage, V5, will).bytes()).vanish();
        let (mut seen, users): (Vec<_>, Vec<_>) =
            list(&witness.message().properties).into_iter().partition(|one| one.0 != property::USER_PROPERTY);
        assert_eq!(users, list(&properties[4..].concat())); // [MQTT-3.1.3-10]
        seen.sort();
        let mut expected = list(&properties[..4].concat());
        expected.insert(1, (property::MESSAGE_EXPIRY, 90_u32.to_be_bytes().to_vec()));
        assert_eq!(seen, expected);
    });
}

#[test]
fn it_waits_for_its_delay_or_the_end_of_the_session() {
    everywhere(|stage| {
        let cases = [("delay", 1, 600), ("expiry", 600, 1), ("no session", 600, 0)];
        for (case, delay, expiry) in cases {
            let mut witness = witness(stage, V5);
            let will = LastWill { properties: four(property::WILL_DELAY, delay), ..will(stage, case) };
            let properties = four(property::SESSION_EXPIRY, expiry);
            let hello = Hello { properties, ..hello(stage, V5, will) };
            let begun = Instant::now();
            stage.client_with(V5, hello.bytes()).vanish();
            witness.expect_message(case); // [MQTT-3.1.2-8]
            let waits = if expiry > 0 { SECOND } else { Duration::ZERO };
            assert!(begun.elapsed() >= waits && begun.elapsed() < waits + SECOND * 4, "{case}");
        }
    });
}

#[test]
fn it_is_cancelled_by_the_return_of_the_client() {
    everywhere(|stage| {
        let mut witness = witness(stage, V5);
        let delayed = LastWill { properties: four(property::WILL_DELAY, 2), ..will(stage, "gone") };
        let properties = four(property::SESSION_EXPIRY, 600);
        let with = Hello { properties, clean: false, ..hello(stage, V5, delayed) };
        let without = Hello { will: None, ..with.clone() };
        stage.client_with(V5, with.bytes()).vanish();
        sleep(SECOND / 2);
        let mut client = stage.client_with(V5, without.bytes());
        sleep(SECOND * 3);
        client.ping();
        expect_no_more(stage, &mut witness); // [MQTT-3.1.3-9]
        client.vanish();
        // A new session is the end of the old one, and does not wait.
        stage.client_with(V5, with.bytes()).vanish();
        let begun = Instant::now();
        stage.client_with(V5, Hello { clean: true, ..without }.bytes()).leave();
        witness.expect_message("gone");
        assert!(begun.elapsed() < SECOND * 2);
    });
}
