//! CONNECT and CONNACK, sessions and wills.

use mqway_codec::{Connect, Packet, Property, QoS, Version, Will, decode};
use mqway_session::client::Options;

use super::*;

/// One for a session that stays.
fn lasting<'a>(version: Version, name: &'a str, properties: &'a mqway_codec::PropertiesBuf) -> Connect<'a> {
    let mut connect = Connect::new(version, name);
    connect.clean_start = false;
    connect.properties = properties.as_properties();
    connect
}

#[test]
fn session_present_says_whether_there_was_a_session() {
    let mut world = world();
    let expiry = properties(&[Property::SessionExpiryInterval(100)]);
    for version in [Version::V3_1_1, Version::V5] {
        let mut connect = lasting(version, "client", &expiry);
        if version != Version::V5 {
            connect.properties = mqway_codec::Properties::EMPTY;
        }
        let mut present = |clean_start| {
            connect.clean_start = clean_start;
            let remote = world.raw();
            let answer = world.say(remote, &encoded(version, connect));
            assert_eq!((answer[0], answer[3]), (0x20, 0)); // [MQTT-3.1.4-5]; 3.1.1: [MQTT-3.1.4-4]
            world.sim.cut(remote);
            world.settle();
            answer[2] == 1
        };
        // [MQTT-3.1.2-6], [MQTT-3.2.2-3]; 3.1.1: [MQTT-3.2.2-3]
        assert!(!present(false));
        // [MQTT-3.1.2-5], [MQTT-3.1.3-2]; 3.1.1: [MQTT-3.1.2-4], [MQTT-3.2.2-2]
        assert!(present(false));
        // [MQTT-3.1.4-4], [MQTT-3.2.2-2]; 3.1.1: [MQTT-3.1.2-6], [MQTT-3.1.4-3], [MQTT-3.2.2-1]
        assert!(!present(true));
        // The session of the clean start went with its connection in 3.1.1. 3.1.1: [MQTT-3.1.2-6]
        assert_eq!(present(false), version == Version::V5);
        assert!(!present(true));
    }
}

#[test]
fn connack_comes_first_and_once() {
    let mut world = world();
    let expiry = properties(&[Property::SessionExpiryInterval(100)]);
    let connect = lasting(Version::V5, "client", &expiry);
    let remote = world.raw_connected(&connect);
    world.say(remote, b"\x82\x07\x00\x01\x00\x00\x01a\x01");
    world.sim.cut(remote);
    let publisher = world.connected(Version::V5, "publisher");
    world.publish(publisher, message("a", "x", QoS::AtLeastOnce));
    let remote = world.raw();
    let mut answer = world.say(remote, &encoded(Version::V5, connect));
    answer.extend(world.say(remote, &encoded(Version::V5, Packet::Pingreq)));
    // [MQTT-3.2.0-1], [MQTT-3.2.0-2], [MQTT-4.5.0-1]
    assert_eq!(packets(Version::V5, &answer), ["CONNACK", "PUBLISH a x 1 1 false", "PINGRESP"]);
}

#[test]
fn a_connect_that_is_malformed_or_not_served_ends_the_connection() {
    let method = properties(&[Property::AuthenticationMethod("none")]);
    let mut unknown = Connect::new(Version::V5, "x");
    unknown.properties = method.as_properties();
    let mut nameless = Connect::new(Version::V3_1_1, "");
    nameless.clean_start = false;
    for (first, answer) in [
        (b"\x10\x0d\x00\x04MQTT\x05\x03\x00\x3c\x00\x00\x00".to_vec(), &b"\x20\x03\x00\x81\x00"[..]), // [MQTT-3.1.4-1]
        (b"\x10\x0c\x00\x04MQTT\x04\x03\x00\x3c\x00\x00".to_vec(), b""), // 3.1.1: [MQTT-3.1.4-1]
        (b"\x10\x0c\x00\x04MQTT\x02\x02\x00\x3c\x00\x00".to_vec(), b"\x20\x02\x00\x01"), // 3.1.1: [MQTT-3.1.2-2]
        (encoded(Version::V5, unknown), b"\x20"), // [MQTT-3.1.4-2], [MQTT-3.2.2-7], [MQTT-4.12.0-1]
        (encoded(Version::V3_1_1, nameless), b"\x20\x02\x00\x02"), // 3.1.1: [MQTT-3.1.3-8], [MQTT-3.1.3-9]
    ] {
        let mut world = world();
        let remote = world.raw();
        // [MQTT-3.1.4-6]: what follows is as if it had not been sent.
        let behind = encoded_publish(Version::V3_1_1, "a", "x", QoS::AtMostOnce, 0);
        let said = world.say(remote, &[&first[..], &behind].concat());
        assert!(said.starts_with(answer) && said.is_empty() == answer.is_empty(), "{first:x?}: {said:x?}");
        assert!(world.sim.is_ended(remote)); // [MQTT-4.13.2-1]
        assert_eq!(world.counts().publishes_received, 0);
    }
}

#[test]
fn what_breaks_the_rules_ends_the_connection_and_no_other() {
    for (version, wrong, said) in [
        (Version::V5, &b"\x82\x03\x00\x01\x00"[..], &b"\xe0\x01\x82"[..]), // nothing to subscribe to
        (Version::V5, b"\x62\x00", b"\xe0\x01\x81"),
        (Version::V3_1_1, b"\x82\x02\x00\x01", b""), // 3.1.1: [MQTT-4.8.0-1]
    ] {
        let mut world = world();
        let other = world.connected(Version::V5, "other");
        let remote = world.raw_connected(&Connect::new(version, "x"));
        let answer = world.say(remote, wrong);
        assert_eq!(answer.first(), said.first(), "{answer:x?}");
        assert_eq!(answer.get(2), said.get(2), "{answer:x?}");
        assert!(world.sim.is_ended(remote)); // [MQTT-4.13.1-1], [MQTT-4.13.2-1]
        assert!(world.clients[other].client.is_connected());
    }
}

#[test]
fn nothing_is_said_before_connect() {
    // [MQTT-3.14.0-1]
    let mut world = world();
    let remote = world.raw();
    world.sim.run(11 * SECOND);
    assert!(world.sim.read(remote).is_empty() && world.sim.is_ended(remote));
}

#[test]
fn client_identifiers_are_taken_and_where_there_is_none_given() {
    let mut world = world();
    let letters = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    for version in [Version::V3_1, Version::V3_1_1, Version::V5] {
        for start in [0, 23, 39] {
            // [MQTT-3.1.3-5]
            let remote = world.raw_connected(&Connect::new(version, &letters[start..start + 23]));
            assert!(!world.sim.is_ended(remote));
            world.sim.cut(remote);
            world.settle();
        }
    }
    let mut assigned = || {
        let remote = world.raw();
        let answer = world.say(remote, &encoded(Version::V5, Connect::new(Version::V5, "")));
        let Ok(Packet::Connack(connack)) = decode(Version::V5, &answer) else { panic!("{answer:x?}") };
        connack.properties.assigned_client_identifier().unwrap().to_owned()
    };
    assert_ne!(assigned(), assigned()); // [MQTT-3.2.2-16]
}

#[test]
fn a_second_connection_ends_the_first_in_3_1_1_too() {
    // 3.1.1: [MQTT-3.1.4-2]
    let mut world = world();
    let connect = Connect::new(Version::V3_1_1, "same");
    let first = world.raw_connected(&connect);
    let second = world.raw_connected(&connect);
    assert!(world.sim.is_ended(first) && !world.sim.is_ended(second));
    assert!(world.sim.read(first).is_empty());
}

#[test]
fn a_session_stays_as_long_as_its_connection_whatever_its_expiry() {
    // [MQTT-4.1.0-1]; 3.1.1: [MQTT-4.1.0-1]
    let mut world = world();
    for version in [Version::V3_1_1, Version::V5] {
        let client = world.connected(version, "client");
        world.subscribe(client, &[("a", QOS_1)]);
        world.sim.run(20 * SECOND);
        world.publish(client, message("a", "x", QoS::AtLeastOnce));
        assert_eq!(world.got(client), ["a x"]);
        world.cut(client);
        world.settle();
        assert_eq!(world.counts().sessions, 0);
    }
}

#[test]
fn a_will_is_retained_or_not_and_keeps_its_properties_in_order() {
    let mut world = world();
    let witness = world.connected(Version::V5, "witness");
    world.subscribe(witness, &[("gone", QOS_1)]);
    let mut named = properties(&[Property::ContentType("text")]);
    for (name, value) in [("b", "1"), ("a", "2"), ("b", "3")] {
        named.push(Property::UserProperty(name, value)).unwrap();
    }
    for retain in [false, true] {
        let mut connect = Connect::new(Version::V5, "client");
        connect.will = Some(Will { retain, properties: named.as_properties(), ..Will::new("gone", b"x") });
        let client = world.add(Options::new(Version::V5));
        world.connect(client, &connect);
        world.settle();
        world.cut(client);
        world.settle();
        let got = &world.clients[witness].got[0];
        let order: Vec<_> = got.properties.as_properties().user_properties().collect();
        assert_eq!(order, [("b", "1"), ("a", "2"), ("b", "3")]); // [MQTT-3.1.3-10]
        assert_eq!(world.got(witness), ["gone x"]);
        assert_eq!(world.counts().retained, u64::from(retain)); // [MQTT-3.1.2-14], [MQTT-3.1.2-15]
    }
    let client = world.connected(Version::V3_1_1, "without");
    world.cut(client);
    world.settle();
    assert!(world.got(witness).is_empty()); // 3.1.1: [MQTT-3.1.2-12]
}
