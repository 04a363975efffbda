//! CONNECT and CONNACK (5.0 §3.1, §3.2).

use crate::fields::{
    Hello, LastWill, Publish, byte, code_of, four, properties_of, property, session_present,
};
use crate::fields::{two, value};
use crate::stage::{Stage, everywhere};
use crate::support::packets::{self, LEVELS, PINGREQ, PINGRESP, V3_1, V3_1_1, V5, packet, string};
use std::time::{Duration, Instant};

/// The server answers this first packet with CONNACK of this code and closes. [MQTT-3.2.2-7]
fn expect_refused(stage: Stage, level: u8, connect: &[u8], code: u8) {
    let (client, connack) = stage.greet(level, connect);
    assert_eq!(code_of(&connack), code, "{connack:02x?}");
    assert!(!session_present(&connack)); // [MQTT-3.2.2-6]; 3.1.1: [MQTT-3.2.2-4]
    client.expect_end();
}

/// The server closes at this first packet, after CONNACK of this code in 5.0, else without a word.
/// [MQTT-3.1.4-1]; 3.1.1: [MQTT-3.1.4-1]
fn expect_malformed(stage: Stage, level: u8, connect: &[u8], code: u8) {
    if level == V5 {
        return expect_refused(stage, level, connect, code);
    }
    let mut client = stage.open(level);
    client.send(connect);
    client.expect_end();
}

#[test]
fn a_client_is_accepted_in_each_version() {
    everywhere(|stage| {
        for level in LEVELS {
            // [MQTT-3.1.4-5]; 3.1.1: [MQTT-3.1.4-4]
            let (mut client, connack) = stage.greet(level, &packets::connect(level, &stage.id("any")));
            if level == V5 {
                assert_eq!((code_of(&connack), session_present(&connack)), (0, false));
            } else {
                assert_eq!(connack, [0x20, 2, 0, 0]); // [MQTT-3.2.2-2]; 3.1.1: [MQTT-3.2.2-1]
            }
            client.ping(); // [MQTT-3.2.0-2]
            client.leave();
        }
    });
}

#[test]
fn any_identifier_of_letters_and_digits_is_taken_and_many_others() {
    everywhere(|stage| {
        for level in LEVELS {
            // [MQTT-3.1.3-5]: each of the 62, in identifiers of 23.
            let letters = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
            let own = stage.id("");
            for part in letters.as_bytes().chunks(23 - own.len()) {
                let part = std::str::from_utf8(part).unwrap();
                stage.client_with(level, packets::connect(level, &format!("{own}{part}"))).leave();
            }
            // Servers may take others (5.0 §3.1.3.1), and so do we in 3.1.
            for rest in ["é/#+ $\u{feff}\u{10ffff}".to_owned(), "x".repeat(1_000)] {
                stage.client_with(level, packets::connect(level, &stage.id(&rest))).leave();
            }
        }
    });
}

#[test]
fn an_empty_identifier_is_replaced_or_refused() {
    everywhere(|stage| {
        let hello = |level, clean| Hello { clean, ..Hello::new(level, "") }.bytes();
        // 3.1 §3.1: at least one character.
        expect_refused(stage, V3_1, &hello(V3_1, true), 2);
        expect_refused(stage, V3_1_1, &hello(V3_1_1, false), 2); // 3.1.1: [MQTT-3.1.3-8]
        stage.client_with(V3_1_1, hello(V3_1_1, true)).ping(); // [MQTT-3.1.3-6]; 3.1.1: [MQTT-3.1.3-6]

        let mut seen = Vec::new();
        for _ in 0..3 {
            let (mut client, connack) = stage.greet(V5, &hello(V5, true));
            let properties = properties_of(&connack);
            let assigned = value(&properties, property::ASSIGNED_CLIENT_IDENTIFIER).unwrap(); // [MQTT-3.1.3-7]
            assert!(!assigned.is_empty() && !seen.contains(&assigned.to_vec())); // [MQTT-3.2.2-16]
            seen.push(assigned.to_vec());
            client.ping();
        }
    });
}

#[test]
fn a_session_is_found_by_an_identifier_that_was_assigned() {
    everywhere(|stage| {
        let hello = Hello { client_id: String::new(), ..Hello::staying(V5, "") };
        let (client, connack) = stage.greet(V5, &hello.bytes());
        let properties = properties_of(&connack);
        let assigned = value(&properties, property::ASSIGNED_CLIENT_IDENTIFIER).unwrap();
        let client_id = String::from_utf8(assigned.to_vec()).unwrap();
        client.vanish();
        let (client, connack) = stage.greet(V5, &Hello { client_id, ..hello }.bytes());
        assert!(session_present(&connack)); // [MQTT-3.1.3-2], [MQTT-3.1.3-7]
        assert_eq!(value(&properties_of(&connack), property::ASSIGNED_CLIENT_IDENTIFIER), None);
        client.leave();
    });
}

#[test]
fn a_second_connect_ends_the_connection() {
    everywhere(|stage| {
        for level in LEVELS {
            let connect = packets::connect(level, &stage.id("twice"));
            let mut client = stage.client_with(level, connect.clone());
            client.send(connect);
            client.expect_fault(0x82); // [MQTT-3.1.0-2]
        }
    });
}

#[test]
fn the_first_packet_is_connect() {
    everywhere(|stage| {
        let topic = stage.topic("first");
        let others = [
            PINGREQ.to_vec(),
            PINGRESP.to_vec(),
            packets::DISCONNECT.to_vec(),
            packets::subscribe(V3_1_1, 1, &topic, 0),
            packets::publish(V3_1_1, &topic, 0, 0, b"x"),
            packets::publish(V3_1_1, &topic, 1, 1, b"x"),
            packets::acknowledgement(0x40, 1),
            packets::connack(V3_1_1),
            vec![0xF0, 0],
            vec![0x00, 0],
        ];
        for other in others {
            let mut client = stage.open(V3_1_1);
            client.send(other);
            client.expect_end(); // [MQTT-3.1.0-1], [MQTT-3.14.0-1]
        }
    });
}

#[test]
fn a_client_that_says_nothing_is_closed() {
    everywhere(|stage| {
        let begun = Instant::now();
        let (silent, mut slow) = (stage.open(V5), stage.open(V5));
        slow.send(&packets::connect(V5, &stage.id("slow"))[..10]);
        silent.expect_end();
        slow.expect_end();
        assert!(begun.elapsed() < Duration::from_secs(9), "5.0 §3.1.4: within a reasonable time");
    });
}

#[test]
fn an_unknown_protocol_is_refused() {
    everywhere(|stage| {
        let connect = |name: &str, level: u8| {
            packet(0x10, &[string(name), vec![level, 2, 0, 60], string("x")].concat())
        };
        for (name, level) in [("mqtt", 4), ("MQT", 4), ("MQTTX", 5), ("", 4), ("AMQP", 4)] {
            let mut client = stage.open(V3_1_1);
            client.send(connect(name, level));
            client.expect_end(); // [MQTT-3.1.2-1]; 3.1.1: [MQTT-3.1.2-1]
        }
        for level in [0, 1, 2] {
            expect_refused(stage, V3_1_1, &connect("MQTT", level), 1); // 3.1.1: [MQTT-3.1.2-2]
        }
        for level in [6, 7, 127] {
            // What follows the level tells which version it knows the form of.
            expect_refused(stage, V3_1_1, &connect("MQTT", level), 1); // 3.1.1: [MQTT-3.1.2-2]
            let later = [string("MQTT"), vec![level, 2, 0, 60, 0], string("x")].concat();
            let (client, connack) = stage.greet(V5, &packet(0x10, &later));
            assert_eq!((code_of(&connack), session_present(&connack)), (0x84, false)); // [MQTT-3.1.2-2]
            client.expect_end();
        }
    });
}

#[test]
fn flags_that_contradict_themselves_are_malformed() {
    everywhere(|stage| {
        for level in LEVELS {
            let flags = |flags| Hello { flags: Some(flags), ..Hello::new(level, &stage.id("flags")) }.bytes();
            // What has no meaning was not forbidden yet in 3.1, and a user name could be missing (3.1 §3.1).
            if level != V3_1 {
                expect_malformed(stage, level, &flags(0x03), 0x81); // [MQTT-3.1.2-3]; 3.1.1: [MQTT-3.1.2-3]
                expect_malformed(stage, level, &flags(0x0A), 0x81); // [MQTT-3.1.2-11]; 3.1.1: [MQTT-3.1.2-11]
                expect_malformed(stage, level, &flags(0x22), 0x81); // [MQTT-3.1.2-13]
                expect_malformed(stage, level, &flags(0x82), 0x81); // [MQTT-3.1.2-17]
            }
            let will = Some(LastWill { topic: "t".to_owned(), ..LastWill::default() });
            let of_three = Hello { will, flags: Some(0x1E), ..Hello::new(level, "x") };
            expect_malformed(stage, level, &of_three.bytes(), 0x81); // [MQTT-3.1.2-12]
        }
    });
}

#[test]
fn a_password_alone_is_something_new() {
    everywhere(|stage| {
        let connect = |level, flags, further: &[u8]| {
            let hello = Hello { flags: Some(flags), ..Hello::new(level, &stage.id("pass")) }.bytes();
            packet(0x10, &[crate::fields::body(&hello), further].concat())
        };
        for level in LEVELS {
            let both = [string("user"), string("secret")].concat();
            stage.client_with(level, connect(level, 0xC2, &both)).leave();
            stage.client_with(level, connect(level, 0x82, &string("user"))).leave();
        }
        stage.client_with(V5, connect(V5, 0x42, &string("secret"))).leave(); // 5.0 §3.1.2.9
        expect_malformed(stage, V3_1_1, &connect(V3_1_1, 0x42, &string("secret")), 0); // 3.1.1: [MQTT-3.1.2-22]
    });
}

#[test]
fn a_connect_ends_where_it_says() {
    everywhere(|stage| {
        for level in LEVELS {
            let whole = Hello::new(level, &stage.id("length")).bytes();
            let body = crate::fields::body(&whole);
            for end in [3, 7, 9, body.len() - 1] {
                // Before its level has come nothing can be answered in words that are understood.
                let code = (end > 6).then_some(0x81);
                let mut client = stage.open(level);
                client.send(packet(0x10, &body[..end]));
                if let (V5, Some(code)) = (level, code) {
                    let connack = client.next();
                    assert_eq!(code_of(&connack), code);
                }
                client.expect_end();
            }
            expect_malformed(stage, level, &packet(0x10, &[body, &[0]].concat()), 0x81);
            let flags = [&[0x11][..], &whole[1..]].concat();
            let mut client = stage.open(level);
            client.send(flags);
            client.expect_end(); // [MQTT-2.1.3-1]; 3.1.1: [MQTT-2.2.2-2]
        }
    });
}

#[test]
fn properties_that_connect_may_not_have() {
    everywhere(|stage| {
        let two_times = |property: Vec<u8>| [&property[..], &property].concat();
        let wrong = [
            (0x82, two_times(four(property::SESSION_EXPIRY, 1))),
            (0x82, two_times(two(property::RECEIVE_MAXIMUM, 5))),
            (0x82, two_times(four(property::MAXIMUM_PACKET_SIZE, 500))),
            (0x82, two_times(two(property::TOPIC_ALIAS_MAXIMUM, 5))),
            (0x82, two(property::RECEIVE_MAXIMUM, 0)),
            (0x82, four(property::MAXIMUM_PACKET_SIZE, 0)),
            (0x82, byte(property::REQUEST_PROBLEM_INFORMATION, 2)),
            (0x82, byte(property::REQUEST_RESPONSE_INFORMATION, 2)),
            (0x82, crate::fields::text(property::AUTHENTICATION_DATA, "without a method")),
            (0x81, two(property::SERVER_KEEP_ALIVE, 5)),
            (0x81, byte(property::MAXIMUM_QOS, 1)),
            (0x81, byte(property::PAYLOAD_FORMAT, 1)),
            (0x81, vec![0x7F, 0]),
            (0x81, vec![property::SESSION_EXPIRY, 0, 0]),
        ];
        for (code, properties) in wrong {
            let hello = Hello { properties, ..Hello::new(V5, &stage.id("wrong")) };
            expect_refused(stage, V5, &hello.bytes(), code);
        }
    });
}

#[test]
fn texts_of_connect_are_proper_strings() {
    everywhere(|stage| {
        for level in LEVELS {
            let hello = |client_id: &str, topic: &str| {
                let topic = topic.to_owned();
                let will = Some(LastWill { topic, payload: b"x".to_vec(), ..LastWill::default() });
                Hello { will, ..Hello::new(level, client_id) }.bytes()
            };
            let spoiled = |mut bytes: Vec<u8>| {
                let at = bytes.windows(4).position(|part| part == b"EVIL").unwrap();
                bytes[at..at + 4].copy_from_slice(b"\xED\xA0\x80."); // a surrogate
                bytes
            };
            let own = stage.id("");
            for bytes in [
                hello(&format!("{own}a\0b"), "t"),          // [MQTT-1.5.4-2]
                spoiled(hello(&format!("{own}EVIL"), "t")), // [MQTT-3.1.3-4]
                hello(&own, "a/+"),                         // [MQTT-4.7.0-1]
                hello(&own, "#"),
                hello(&own, ""), // [MQTT-4.7.3-1]
                hello(&own, "a\0b"),
                spoiled(hello(&own, "EVIL")), // [MQTT-3.1.3-11]
            ] {
                expect_malformed(stage, level, &bytes, 0x81);
            }
        }
    });
}

#[test]
fn properties_that_a_will_may_not_have() {
    everywhere(|stage| {
        let twice = |property: Vec<u8>| [&property[..], &property].concat();
        for (code, properties) in [
            (0x82, twice(four(property::WILL_DELAY, 1))),
            (0x82, twice(byte(property::PAYLOAD_FORMAT, 1))),
            (0x82, byte(property::PAYLOAD_FORMAT, 2)),
            (0x82, crate::fields::text(property::RESPONSE_TOPIC, "a/#")),
            (0x81, four(property::SESSION_EXPIRY, 1)),
            (0x81, two(property::TOPIC_ALIAS, 1)),
            (0x81, crate::fields::identifier(1)),
        ] {
            let will = LastWill { topic: stage.topic("w"), properties, ..LastWill::default() };
            let hello = Hello { will: Some(will), ..Hello::new(V5, &stage.id("will")) };
            expect_refused(stage, V5, &hello.bytes(), code);
        }
    });
}

#[test]
fn properties_that_connect_may_have() {
    everywhere(|stage| {
        let properties = [
            crate::fields::user("a", "1"),
            four(property::SESSION_EXPIRY, 0),
            crate::fields::user("a", "1"),
            two(property::RECEIVE_MAXIMUM, 65_535),
            four(property::MAXIMUM_PACKET_SIZE, u32::MAX),
            two(property::TOPIC_ALIAS_MAXIMUM, 0),
            byte(property::REQUEST_RESPONSE_INFORMATION, 0),
            byte(property::REQUEST_PROBLEM_INFORMATION, 1),
        ];
        let hello = Hello { properties: properties.concat(), ..Hello::new(V5, &stage.id("right")) };
        let (client, connack) = stage.greet(V5, &hello.bytes());
        let told = properties_of(&connack);
        assert_eq!(value(&told, property::RESPONSE_INFORMATION), None); // [MQTT-3.1.2-28]
        assert_eq!(value(&told, property::SERVER_KEEP_ALIVE), None); // [MQTT-3.2.2-22]
        assert_eq!(value(&told, property::AUTHENTICATION_METHOD), None); // [MQTT-4.12.0-6]
        client.leave();
    });
}

#[test]
fn a_client_need_not_wait_for_connack() {
    everywhere(|stage| {
        for level in LEVELS {
            let topic = stage.topic("early");
            let mut client = stage.open(level);
            let all = [
                packets::connect(level, &stage.id("early")),
                packets::subscribe(level, 1, &topic, 0),
                packets::publish(level, &topic, 0, 0, b"x"),
                PINGREQ.to_vec(),
            ];
            client.send(all.concat());
            assert_eq!(client.next()[0], 0x20);
            client.expect(crate::fields::suback(level, 1, &[0]));
            client.expect(packets::publish(level, &topic, 0, 0, b"x"));
            client.expect(PINGRESP);
        }
    });
}

#[test]
fn a_connect_may_come_byte_by_byte() {
    everywhere(|stage| {
        for level in LEVELS {
            let mut client = stage.open(level);
            for byte in packets::connect(level, &stage.id("bytes")) {
                client.send([byte]);
            }
            assert_eq!(code_of(&client.next()), 0);
            client.ping();
        }
    });
}

#[test]
fn nothing_counts_that_follows_a_refused_connect() {
    everywhere(|stage| {
        for level in LEVELS {
            let topic = stage.topic("refused");
            let connect = match level {
                V5 => Hello { properties: two(property::RECEIVE_MAXIMUM, 0), ..Hello::new(V5, "x") }.bytes(),
                _ => Hello { clean: false, ..Hello::new(level, "") }.bytes(),
            };
            let publish = Publish::new(&topic, "x").retained().bytes(level);
            let mut client = stage.open(level);
            client.send([connect, publish, PINGREQ.to_vec()].concat());
            let connack = client.next();
            assert_eq!(code_of(&connack), if level == V5 { 0x82 } else { 2 }); // 3.1.1: [MQTT-3.1.3-9]
            client.expect_end();
            let mut witness = stage.client(level, "witness");
            witness.subscribe(&topic, 0);
            witness.ping(); // [MQTT-3.1.4-6]; 3.1.1: [MQTT-3.1.4-5]
        }
    });
}

#[test]
fn a_newer_connection_takes_over() {
    everywhere(|stage| {
        for (older, newer) in [(V5, V5), (V3_1_1, V3_1_1), (V3_1, V3_1), (V5, V3_1_1), (V3_1_1, V5)] {
            let first = stage.client(older, "same");
            let mut second = stage.client(newer, "same");
            first.expect_fault(0x8E); // [MQTT-3.1.4-3]; 3.1.1: [MQTT-3.1.4-2]
            second.ping();
            second.leave();
        }
    });
}
