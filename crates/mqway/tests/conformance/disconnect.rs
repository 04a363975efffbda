//! DISCONNECT (5.0 §3.14).

use crate::fields::{Hello, disconnect, four, property, text, two, user};
use crate::stage::everywhere;
use crate::support::packets::{DISCONNECT, LEVELS, PINGREQ, V3_1_1, V5, packet, publish, subscribe};

#[test]
fn the_server_closes_after_it() {
    everywhere(|stage| {
        for level in LEVELS {
            stage.client(level, "leaves").leave(); // [MQTT-3.14.4-2]
        }
        let words = [text(property::REASON_STRING, "bye"), user("a", "b"), user("a", "b")].concat();
        for bytes in [disconnect(0, &[]), packet(0xE0, &[0]), disconnect(4, &words), disconnect(0x80, &[])] {
            let mut client = stage.client(V5, "leaves");
            client.send(bytes);
            client.expect_end();
        }
    });
}

#[test]
fn nothing_counts_that_follows_it() {
    everywhere(|stage| {
        for level in LEVELS {
            let topic = stage.topic("after");
            let mut witness = stage.client(level, "witness");
            witness.subscribe(&topic, 0);
            let mut client = stage.client(level, "leaves");
            let late = publish(level, &topic, 0, 0, b"late");
            client.send([publish(level, &topic, 0, 0, b"in time"), DISCONNECT.to_vec(), late].concat());
            client.expect_end();
            witness.expect_message("in time");
            let mut other = stage.client(level, "other");
            other.send(publish(level, &topic, 0, 0, b"end"));
            witness.expect_message("end"); // [MQTT-3.14.4-1]
        }
    });
}

#[test]
fn a_malformed_one_is_answered() {
    everywhere(|stage| {
        for level in LEVELS {
            let mut client = stage.client(level, "flags");
            client.send([0xE1, 0]);
            client.expect_fault(0x81); // [MQTT-3.14.1-1]; 3.1.1: [MQTT-3.14.1-1]
        }
        let wrong = [
            (0x82, packet(0xE0, &[0x01])), // [MQTT-3.14.2-1]
            (
                0x82,
                disconnect(
                    0,
                    &[four(property::SESSION_EXPIRY, 0), four(property::SESSION_EXPIRY, 0)].concat(),
                ),
            ),
            (0x81, disconnect(0, &two(property::TOPIC_ALIAS, 1))),
            (0x81, packet(0xE0, &[0, 5])),
        ];
        for (reason, bytes) in wrong {
            let mut client = stage.client(V5, "wrong");
            client.send(bytes);
            client.expect_fault(reason);
        }
        let mut client = stage.client(V3_1_1, "long");
        client.send([0xE0, 1, 0]);
        client.expect_end();
    });
}

#[test]
fn it_cannot_make_a_session_stay_that_was_to_end() {
    everywhere(|stage| {
        let mut client = stage.client(V5, "expiry");
        client.send(disconnect(0, &four(property::SESSION_EXPIRY, 10)));
        if stage.through_proxy() {
            client.expect_end(); // it closes once it has passed DISCONNECT on
        } else {
            client.expect_fault(0x82); // 5.0 §3.14.2.2.2
        }
    });
}

#[test]
fn the_session_goes_on_without_it() {
    everywhere(|stage| {
        for level in LEVELS {
            let hello = Hello::staying(level, &stage.id("stays"));
            let mut client = stage.client_with(level, hello.bytes());
            client.send(subscribe(level, 1, &stage.topic("x"), 1));
            client.next();
            client.send(PINGREQ);
            client.next();
            client.leave();
            let (_, connack) = stage.greet(level, &hello.bytes());
            // 3.1 has no session present.
            let flag = crate::fields::body(&connack)[0];
            assert_eq!(flag, u8::from(level >= V3_1_1)); // [MQTT-3.1.2-23], [MQTT-4.1.0-1]; 3.1.1: [MQTT-4.1.0-1]
        }
    });
}
