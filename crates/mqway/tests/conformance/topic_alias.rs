//! Topic aliases, both ways (5.0 §3.3.2.3.4).

use crate::fields::{Hello, Publish, list, properties_of, property, two, value};
use crate::stage::{at_the_narrow_one, everywhere};
use crate::support::packets::V5;
use std::collections::HashMap;

fn alias(number: u16) -> Vec<u8> {
    two(property::TOPIC_ALIAS, number)
}

#[test]
fn a_client_may_use_each_that_is_offered() {
    everywhere(|stage| {
        let mut subscriber = stage.client(V5, "s");
        subscriber.subscribe(&stage.topic("#"), 1);
        let hello = Hello::new(V5, &stage.id("p")).bytes();
        let (mut client, connack) = stage.greet(V5, &hello);
        let told = properties_of(&connack);
        let maximum = value(&told, property::TOPIC_ALIAS_MAXIMUM).unwrap();
        let maximum = u16::from_be_bytes(maximum.try_into().unwrap());
        for number in 1..=maximum {
            let topic = stage.topic(&format!("a{number}"));
            client.send(Publish::new(&topic, "named").with(alias(number)).bytes(V5)); // [MQTT-3.3.2-12]
        }
        for number in 1..=maximum {
            client.send(Publish::new("", "alias").qos(1, number).with(alias(number)).bytes(V5));
            client.expect_acknowledgement(0x40, number);
        }
        for (text, qos) in [("named", 0), ("alias", 1)] {
            for number in 1..=maximum {
                let publish = subscriber.message();
                let expected = Publish::new(&stage.topic(&format!("a{number}")), text).qos(qos, publish.id);
                assert_eq!(publish, expected); // the alias goes no further
            }
        }
        // One that is set again stands for the new name.
        client.send(Publish::new(&stage.topic("new"), "1").with(alias(1)).bytes(V5));
        client.send(Publish::new("", "2").with(alias(1)).bytes(V5));
        for text in ["1", "2"] {
            let publish = subscriber.message();
            assert_eq!((&*publish.topic, publish.text()), (&*stage.topic("new"), text));
        }
        client.send(Publish::new("", "x").with(alias(maximum + 1)).bytes(V5));
        client.expect_fault(0x94); // [MQTT-3.3.2-9]
    });
}

#[test]
fn one_that_means_nothing_ends_the_connection() {
    everywhere(|stage| {
        for (reason, publish) in [
            (0x94, Publish::new(&stage.topic("a"), "x").with(alias(0))), // [MQTT-3.3.2-8]
            (0x94, Publish::new(&stage.topic("a"), "x").with(alias(65_535))),
            (0x82, Publish::new("", "x").with(alias(3))),
            (0x82, Publish::new(&stage.topic("a"), "x").with([alias(1), alias(1)].concat())),
            (0x82, Publish::new("", "x")),
        ] {
            let mut client = stage.client(V5, "p");
            client.send(publish.bytes(V5));
            client.expect_fault(reason);
        }
    });
}

#[test]
fn a_message_that_is_sent_again_may_bear_one() {
    everywhere(|stage| {
        let mut subscriber = stage.client(V5, "s");
        subscriber.subscribe(&stage.topic("#"), 0);
        let mut client = stage.client(V5, "p");
        let first = Publish::new(&stage.topic("a"), "1").qos(2, 1).with(alias(1));
        let again = Publish { dup: true, topic: String::new(), ..first.clone() };
        for publish in [&first, &again] {
            client.send(publish.bytes(V5));
            client.expect_acknowledgement(0x50, 1);
        }
        // One that is known already sets its alias all the same.
        let renamed = Publish { topic: stage.topic("b"), ..again };
        client.send(renamed.bytes(V5));
        client.expect_acknowledgement(0x50, 1);
        client.say(&Publish::new("", "2").qos(1, 2).with(alias(1)));
        let seen = [subscriber.message(), subscriber.message()];
        assert_eq!(seen.map(|publish| publish.topic), [stage.topic("a"), stage.topic("b")]);
    });
}

#[test]
fn they_end_with_the_connection() {
    everywhere(|stage| {
        let hello = Hello::staying(V5, &stage.id("p")).bytes();
        let mut client = stage.client_with(V5, hello.clone());
        client.say(&Publish::new(&stage.topic("a"), "x").qos(1, 1).with(alias(1)));
        client.vanish();
        let mut client = stage.client_with(V5, hello);
        client.send(Publish::new("", "x").with(alias(1)).bytes(V5));
        client.expect_fault(0x82); // [MQTT-3.3.2-7]
    });
}

#[test]
fn the_server_uses_no_more_than_a_client_takes() {
    everywhere(|stage| {
        for maximum in [0, 1, 3, 65_535] {
            let properties = two(property::TOPIC_ALIAS_MAXIMUM, maximum);
            let hello = Hello { properties, ..Hello::new(V5, &stage.id("s")) };
            let mut client = stage.client_with(V5, hello.bytes());
            client.subscribe(&stage.topic("#"), 0);
            let mut publisher = stage.client(V5, "p");
            let mut names = HashMap::new();
            for round in 0..3 {
                for number in 0..30 {
                    let topic = stage.topic(&format!("a{number}"));
                    publisher.send(Publish::new(&topic, &round.to_string()).bytes(V5));
                    let publish = client.publish();
                    let alias =
                        list(&publish.properties).into_iter().find(|one| one.0 == property::TOPIC_ALIAS);
                    let alias = alias.map(|(_, value)| u16::from_be_bytes(value.try_into().unwrap()));
                    if let Some(alias) = alias {
                        assert!((1..=maximum).contains(&alias)); // [MQTT-3.1.2-26], [MQTT-3.1.2-27], [MQTT-3.3.2-11]
                        if !publish.topic.is_empty() {
                            names.insert(alias, publish.topic.clone());
                        }
                    }
                    let named = match (&*publish.topic, alias) {
                        ("", alias) => names[&alias.unwrap()].clone(),
                        (topic, _) => topic.to_owned(),
                    };
                    assert_eq!((&*named, publish.text()), (&*topic, &*round.to_string()));
                }
            }
        }
    });
}

#[test]
fn a_lower_maximum_holds() {
    at_the_narrow_one(|stage| {
        let (mut client, connack) = stage.greet(V5, &Hello::new(V5, &stage.id("p")).bytes());
        let told = properties_of(&connack);
        assert_eq!(value(&told, property::TOPIC_ALIAS_MAXIMUM), Some(&[0, 2][..]));
        client.say(&Publish::new(&stage.topic("a"), "x").qos(1, 1).with(alias(2)));
        client.send(Publish::new(&stage.topic("a"), "x").with(alias(3)).bytes(V5));
        client.expect_fault(0x94);
    });
}
