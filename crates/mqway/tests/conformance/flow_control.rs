//! Receive Maximum, both ways (5.0 §4.9, §3.3.4).

use crate::client::{PUBACK, PUBCOMP, PUBREC, PUBREL};
use crate::fields::{Hello, Publish, four, property, two};
use crate::stage::{at_the_narrow_one, everywhere};
use crate::support::packets::{V3_1_1, V5, acknowledgement};

#[test]
fn no_more_is_under_way_to_a_client_than_it_takes() {
    everywhere(|stage| {
        let hello = |role: &str| {
            let properties =
                [two(property::RECEIVE_MAXIMUM, 2), four(property::SESSION_EXPIRY, 600)].concat();
            Hello { properties, clean: false, ..Hello::new(V5, &stage.id(role)) }.bytes()
        };
        let mut client = stage.client_with(V5, hello("s"));
        client.subscribe(&stage.topic("a"), 2);
        let mut publisher = stage.client(V5, "p");
        for number in 1..=5 {
            let qos = if number == 2 { 2 } else { 1 };
            publisher.say(&Publish::new(&stage.topic("a"), &number.to_string()).qos(qos, number));
        }
        let (first, second) = (client.publish(), client.publish());
        client.ping(); // [MQTT-3.3.4-9], [MQTT-3.3.4-10], [MQTT-4.9.0-2], [MQTT-4.9.0-3]
        publisher.say(&Publish::new(&stage.topic("a"), "now"));
        client.expect_message("now"); // 5.0 §4.9: QoS 0 does not wait
        client.send(acknowledgement(PUBREC, second.id));
        client.expect(acknowledgement(PUBREL, second.id));
        client.ping(); // PUBREC frees nothing yet
        client.send(acknowledgement(PUBCOMP, second.id));
        let third = client.publish();
        assert_eq!(third.text(), "3");
        client.ping();
        client.vanish();

        let mut client = stage.client_with(V5, hello("s"));
        let again = [client.publish(), client.publish()];
        let dup = |publish: Publish| Publish { dup: true, ..publish };
        assert_eq!(again, [dup(first), dup(third)]); // [MQTT-4.4.0-1]
        client.ping(); // [MQTT-4.9.0-1]: the quota begins anew and holds for these
        again.iter().for_each(|publish| client.send(acknowledgement(PUBACK, publish.id)));
        client.expect_message("4");
        client.expect_message("5");
    });
}

#[test]
fn each_puback_makes_room_for_another() {
    at_the_narrow_one(|stage| {
        let mut client = stage.client(V5, "p");
        for id in 1..=1_000 {
            client.say(&Publish::new(&stage.topic("a"), "x").qos(1, id)); // it is given back by each PUBACK
        }
        client.ping();
    });
}

#[test]
fn a_client_may_have_as_many_under_way_as_was_said() {
    everywhere(|stage| {
        let topic = stage.topic("a");
        let unreleased = |level, role: &str, count| {
            let mut client = stage.client(level, role);
            (1..=count).for_each(|id| client.send(Publish::new(&topic, "x").qos(2, id).bytes(level)));
            (1..=count).for_each(|id| client.expect_acknowledgement(PUBREC, id));
            client
        };
        // One that is sent again is not another one, and QoS 0 and 1 take no place here: QoS 1 is acknowledged at once.
        let mut client = unreleased(V5, "q", 99);
        for id in [1, 99] {
            client.send(Publish { dup: true, ..Publish::new(&topic, "x").qos(2, id) }.bytes(V5));
            client.expect_acknowledgement(PUBREC, id);
        }
        for id in 200..300 {
            client.say(&Publish::new(&topic, "x").qos(1, id));
        }
        client.say(&Publish::new(&topic, "x").qos(2, 100)); // PUBCOMP gives it back
        client.send(Publish::new(&topic, "x").qos(2, 100).bytes(V5));
        client.expect_acknowledgement(PUBREC, 100);
        client.send(Publish::new(&topic, "x").qos(2, 101).bytes(V5));
        client.expect_fault(0x93); // [MQTT-3.3.4-7]
        unreleased(V3_1_1, "older", 300).ping(); // it knows of no Receive Maximum
    });
}
