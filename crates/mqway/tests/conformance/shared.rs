//! Shared subscriptions (5.0 §4.8.2).

use crate::client::{Client, PUBREC, refusal};
use crate::fields::{Hello, Publish, identifier, list, unsuback, unsubscribe};
use crate::stage::{Stage, everywhere};
use crate::support::packets::{LEVELS, PINGREQ, PINGRESP, V5, acknowledgement};
use std::collections::BTreeSet;

fn shared(stage: Stage, rest: &str) -> String {
    format!("$share/group/{}", stage.topic(rest))
}

/// What a client gets until the next ping is answered; each is acknowledged if it is of QoS 1.
fn gather(client: &mut Client) -> Vec<String> {
    client.send(PINGREQ);
    let mut all = Vec::new();
    loop {
        let packet = client.next();
        if packet == PINGRESP {
            return all;
        }
        let publish = Publish::read(client.level, &packet);
        if publish.qos == 1 {
            client.send(acknowledgement(0x40, publish.id));
        }
        all.push(publish.text().to_owned());
    }
}

#[test]
fn each_message_goes_to_one_of_the_group() {
    everywhere(|stage| {
        for level in LEVELS {
            let mut members: Vec<_> = (0..3).map(|i| stage.client(level, &format!("m{i}"))).collect();
            for member in &mut members {
                member.subscribe(&shared(stage, "a/+"), 1);
            }
            let mut alone = stage.client(level, "alone");
            alone.subscribe(&stage.topic("a/#"), 1);
            let mut other = stage.client(level, "other");
            other.subscribe(&format!("$share/another/{}", stage.topic("a/#")), 1);
            let mut publisher = stage.client(level, "p");
            let expected: Vec<_> = (1..=60).map(|number| number.to_string()).collect();
            for (id, number) in (1..).zip(&expected) {
                publisher.say(&Publish::new(&stage.topic("a/b"), number).qos(1, id));
            }
            for number in &expected {
                alone.expect_message(number);
                other.expect_message(number);
            }
            let mut seen = BTreeSet::new();
            let mut count = 0;
            let mut each = [0; 3];
            // A delivery may cross worker threads behind the answer to a ping.
            let end = std::time::Instant::now() + crate::support::SOON;
            while count < expected.len() && std::time::Instant::now() < end {
                for (member, each) in members.iter_mut().zip(&mut each) {
                    let got = gather(member);
                    count += got.len();
                    *each += got.len();
                    seen.extend(got);
                }
            }
            assert_eq!((seen.len(), count), (60, 60)); // 5.0 §4.8.2
            assert!(each.iter().all(|part| *part > 0), "{each:?}");
        }
    });
}

#[test]
fn the_qos_and_identifier_are_those_of_the_member() {
    everywhere(|stage| {
        let mut member = stage.client(V5, "m");
        member.subscribe_with(&shared(stage, "a"), 1, &identifier(9));
        let mut publisher = stage.client(V5, "p");
        for qos in 0..3 {
            publisher.say(&Publish::new(&stage.topic("a"), "x").qos(qos, qos.into()));
            let publish = member.message();
            assert_eq!(publish.qos, qos.min(1)); // [MQTT-4.8.2-3]
            assert_eq!(list(&publish.properties), list(&identifier(9))); // [MQTT-3.3.4-3]
        }
    });
}

#[test]
fn they_bring_nothing_retained() {
    everywhere(|stage| {
        for level in LEVELS {
            let mut publisher = stage.client(level, "p");
            publisher.say(&Publish::new(&stage.topic("a"), "x").retained().qos(1, 1));
            let mut member = stage.client(level, "m");
            member.subscribe(&shared(stage, "a"), 1);
            member.ping(); // 5.0 §4.8.2
            member.subscribe(&stage.topic("a"), 1);
            member.expect_message("x");
        }
    });
}

#[test]
fn they_are_ended_by_their_whole_name() {
    everywhere(|stage| {
        let mut member = stage.client(V5, "m");
        let (filter, topic) = (shared(stage, "a"), stage.topic("a"));
        member.subscribe(&filter, 1);
        member.send(unsubscribe(V5, 1, &[&topic, &filter, &filter]));
        member.expect(unsuback(V5, 1, &[0x11, 0, 0x11]));
        let mut publisher = stage.client(V5, "p");
        publisher.say(&Publish::new(&topic, "x").qos(1, 1));
        member.ping();
    });
}

#[test]
fn what_a_member_leaves_behind_goes_to_another() {
    everywhere(|stage| {
        let mut leaving = stage.client(V5, "leaving");
        leaving.subscribe(&shared(stage, "a"), 1);
        let mut publisher = stage.client(V5, "p");
        publisher.say(&Publish::new(&stage.topic("a"), "x").qos(1, 1));
        assert_eq!(leaving.publish().text(), "x");
        let mut staying = stage.client(V5, "staying");
        staying.subscribe(&shared(stage, "a"), 1);
        leaving.leave();
        staying.expect_message("x"); // 5.0 §4.8.2: of QoS 1 it should
    });
}

#[test]
fn qos_2_that_has_begun_stays_with_its_member() {
    everywhere(|stage| {
        let hello = Hello::staying(V5, &stage.id("first"));
        let mut first = stage.client_with(V5, hello.bytes());
        first.subscribe(&shared(stage, "a"), 2);
        let mut publisher = stage.client(V5, "p");
        publisher.say(&Publish::new(&stage.topic("a"), "1").qos(2, 1));
        let begun = first.publish();
        let mut second = stage.client(V5, "second");
        second.subscribe(&shared(stage, "a"), 2);
        first.vanish();
        let mut first = stage.client_with(V5, hello.bytes());
        let again = first.publish();
        assert_eq!(again, Publish { dup: true, ..begun }); // [MQTT-4.8.2-4]
        first.acknowledge(&again);
        // [MQTT-4.8.2-6]: one that is refused is done with for all.
        first.send(unsubscribe(V5, 1, &[&shared(stage, "a")]));
        first.expect(unsuback(V5, 1, &[0]));
        publisher.say(&Publish::new(&stage.topic("a"), "2").qos(2, 1));
        let refused = second.publish();
        first.subscribe(&shared(stage, "a"), 2);
        second.send(refusal(PUBREC, refused.id, 0x97));
        second.ping();
        first.ping();
        // [MQTT-4.8.2-5]: nor does anybody else get it when the session ends.
        first.send(unsubscribe(V5, 1, &[&shared(stage, "a")]));
        first.expect(unsuback(V5, 1, &[0]));
        publisher.say(&Publish::new(&stage.topic("a"), "3").qos(2, 1));
        assert_eq!(second.publish().text(), "3");
        first.subscribe(&shared(stage, "a"), 2);
        second.leave();
        publisher.say(&Publish::new(&stage.topic("a"), "4").qos(2, 1));
        first.expect_message("4");
    });
}
