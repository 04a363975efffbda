//! UNSUBSCRIBE and UNSUBACK (5.0 §3.10, §3.11).

use crate::client::{PUBCOMP, PUBREC, PUBREL};
use crate::fields::{Hello, Publish, unsuback, unsubscribe};
use crate::stage::everywhere;
use crate::support::packets::{LEVELS, V3_1, V5, acknowledgement, packet, string};

#[test]
fn it_ends_exactly_what_it_names() {
    everywhere(|stage| {
        for level in LEVELS {
            let mut client = stage.client(level, "s");
            let filters: Vec<_> = ["a/b", "a/+", "c", "#"].map(|filter| stage.topic(filter)).into();
            filters[..3].iter().for_each(|filter| client.subscribe(filter, 0));
            client.send(unsubscribe(level, 0xBEEF, &[&filters[0], &filters[3], &filters[0]]));
            // [MQTT-3.10.4-4], [MQTT-3.10.4-5], [MQTT-3.10.4-6], [MQTT-3.11.3-1], [MQTT-2.2.1-6]
            client.expect(unsuback(level, 0xBEEF, &[0, 0x11, 0x11]));
            let mut publisher = stage.client(level, "p");
            publisher.say(&Publish::new(&stage.topic("a/b"), "still").qos(1, 1));
            client.expect_message("still"); // [MQTT-3.10.4-1]
            client.send(unsubscribe(level, 1, &[&filters[1]]));
            client.expect(unsuback(level, 1, &[0]));
            publisher.say(&Publish::new(&stage.topic("a/b"), "no more").qos(1, 1));
            publisher.say(&Publish::new(&stage.topic("c"), "end").qos(1, 1));
            client.expect_message("end"); // [MQTT-3.10.4-2]
        }
    });
}

#[test]
fn deliveries_that_have_begun_are_completed() {
    everywhere(|stage| {
        for level in LEVELS {
            let hello = Hello::staying(level, &stage.id("s")).bytes();
            let mut client = stage.client_with(level, hello.clone());
            let topic = stage.topic("a");
            client.subscribe(&topic, 2);
            let mut publisher = stage.client(level, "p");
            publisher.say(&Publish::new(&topic, "1").qos(2, 1));
            let first = client.publish();
            client.send(unsubscribe(level, 1, &[&topic]));
            client.expect(unsuback(level, 1, &[0]));
            client.vanish();
            // [MQTT-3.10.4-3]: also on the next connection of the session.
            let mut client = stage.client_with(level, hello);
            let again = client.publish();
            assert_eq!(again, Publish { dup: true, ..first });
            client.send(acknowledgement(PUBREC, again.id));
            client.expect(acknowledgement(PUBREL, again.id));
            client.send(acknowledgement(PUBCOMP, again.id));
            client.ping();
        }
    });
}

#[test]
fn one_that_breaks_the_rules_ends_the_connection() {
    everywhere(|stage| {
        for level in LEVELS {
            let none: &[u8] = if level == V5 { &[0] } else { &[] };
            let one = |filter: &[u8]| packet(0xA2, &[&[0, 1], none, filter].concat());
            let mut wrong = vec![
                (0x82, one(&[])), // [MQTT-3.10.3-2]
                (0x82, packet(0xA2, &[&[0, 0], none, &string("a")].concat())),
                (0x81, one(&string(""))), // [MQTT-4.7.3-1]
                (0x81, one(&string("a/#/b"))),
                (0x81, one(&string("a\0b"))), // [MQTT-3.10.3-1]
                (0x81, one(&[0, 3, b'a'])),
            ];
            if level != V3_1 {
                wrong.push((0x81, [&[0xA0], &one(&string("a"))[1..]].concat())); // [MQTT-3.10.1-1]
            }
            for (reason, bytes) in wrong {
                let mut client = stage.client(level, "bad");
                client.send(&bytes);
                client.expect_fault(reason);
            }
        }
    });
}
