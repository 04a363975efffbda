//! SUBSCRIBE and UNSUBSCRIBE, overlapping and shared subscriptions.

use mqway_codec::{Connect, Property, QoS, ReasonCode, Version};
use mqway_engine::sim::Remote;

use super::*;

#[test]
fn each_filter_is_answered_in_one_suback() {
    let mut world = world();
    let remote = world.raw_connected(&Connect::new(Version::V5, "x"));
    let subscribe = b"\x82\x0f\x12\x34\x00\x00\x01a\x01\x00\x01b\x02\x00\x01c\x00";
    // [MQTT-3.8.4-1], [MQTT-3.8.4-2], [MQTT-3.8.4-5], [MQTT-3.8.4-6], [MQTT-3.8.4-7], [MQTT-3.9.3-1]
    assert_eq!(world.say(remote, subscribe), b"\x90\x06\x12\x34\x00\x01\x02\x00");
    let unsubscribe = b"\xa2\x0c\x12\x35\x00\x00\x01b\x00\x01?\x00\x01a";
    // [MQTT-3.10.4-1], [MQTT-3.10.4-4], [MQTT-3.10.4-5], [MQTT-3.10.4-6], [MQTT-3.11.3-1]
    assert_eq!(world.say(remote, unsubscribe), b"\xb0\x06\x12\x35\x00\x00\x11\x00");
}

#[test]
fn what_has_begun_is_completed_after_unsubscribe_and_nothing_more_is_sent() {
    let mut world = world();
    let remote = world.raw_connected(&Connect::new(Version::V3_1_1, "x"));
    world.say(remote, b"\x82\x06\x00\x01\x00\x01a\x02");
    let publisher = world.connected(Version::V5, "publisher");
    world.publish(publisher, message("a", "x", QoS::ExactlyOnce));
    assert_eq!(packets(Version::V3_1_1, &world.sim.read(remote)), ["PUBLISH a x 2 1 false"]);
    assert_eq!(world.say(remote, b"\xa2\x05\x00\x02\x00\x01a"), b"\xb0\x02\x00\x02");
    world.publish(publisher, message("a", "y", QoS::ExactlyOnce));
    assert!(world.sim.read(remote).is_empty()); // [MQTT-3.10.4-2]
    assert_eq!(world.say(remote, &ack(0x50, 1)), ack(0x62, 1)); // [MQTT-3.10.4-3]
    assert!(world.say(remote, &ack(0x70, 1)).is_empty());
    assert_eq!(world.counts().stored, 0);
}

#[test]
fn wildcards_that_are_not_served_are_refused() {
    // 3.1.1: [MQTT-3.8.3-2]
    let mut config = Config::default();
    config.terms.wildcards = false;
    let mut world = World::new(1, 1, config);
    let remote = world.raw_connected(&Connect::new(Version::V3_1_1, "x"));
    assert_eq!(world.say(remote, b"\x82\x0a\x00\x01\x00\x01a\x01\x00\x01#\x01"), b"\x90\x04\x00\x01\x01\x80");
}

#[test]
fn a_broker_of_lower_qos_still_takes_subscriptions_of_any() {
    // [MQTT-3.2.2-10]
    let mut config = Config::default();
    config.terms.maximum_qos = QoS::AtMostOnce;
    let mut world = World::new(1, 1, config);
    let client = world.connected(Version::V5, "client");
    for (options, granted) in
        [(QOS_0, ReasonCode::Success), (QOS_1, ReasonCode::GrantedQos1), (QOS_2, ReasonCode::GrantedQos2)]
    {
        assert_eq!(world.subscribe(client, &[("a", options)]), [granted]);
    }
}

#[test]
fn several_copies_have_the_identifier_of_theirs_each() {
    let mut world = world();
    let client = world.connected(Version::V5, "client");
    world.subscribe_with(client, &[("a", QOS_1)], Some(1));
    world.subscribe_with(client, &[("$share/g/a", QOS_1)], Some(2));
    world.publish(client, message("a", "x", QoS::AtLeastOnce));
    let identifiers = |got: &mqway_session::client::Incoming| {
        got.properties.as_properties().subscription_identifiers().map(|id| id.value()).collect::<Vec<_>>()
    };
    let mut each: Vec<_> = world.clients[client].got.iter().map(identifiers).collect();
    each.sort_unstable();
    assert_eq!(each, [[1], [2]]); // [MQTT-3.3.4-3], [MQTT-3.3.4-5]
}

/// Two members of a share, of which the first has been sent a message of QoS 2; which of them that is, the broker says.
fn shared(world: &mut World) -> (Remote, Remote, &'static str) {
    let expiry = properties(&[Property::SessionExpiryInterval(10)]);
    let members = ["one", "other"].map(|name| {
        let remote = world.raw_connected(&member(name, &expiry));
        world.say(remote, b"\x82\x10\x00\x01\x00\x00\x0a$share/g/a\x02");
        (remote, name)
    });
    let publisher = world.connected(Version::V5, "publisher");
    world.publish(publisher, message("a", "x", QoS::ExactlyOnce));
    let got = members.map(|(remote, _)| packets(Version::V5, &world.sim.read(remote)));
    let first = usize::from(got[0].is_empty());
    assert_eq!(got[first], ["PUBLISH a x 2 1 false"]);
    assert!(got[1 - first].is_empty());
    (members[first].0, members[1 - first].0, members[first].1)
}

fn member<'a>(name: &'a str, expiry: &'a mqway_codec::PropertiesBuf) -> Connect<'a> {
    let mut connect = Connect::new(Version::V5, name);
    connect.clean_start = false;
    connect.properties = expiry.as_properties();
    connect
}

#[test]
fn a_shared_message_of_qos_2_is_completed_with_who_was_sent_it() {
    // [MQTT-4.8.2-4]
    let mut world = world();
    let (chosen, other, name) = shared(&mut world);
    world.sim.cut(chosen);
    world.settle();
    let expiry = properties(&[Property::SessionExpiryInterval(10)]);
    let again = world.raw();
    let answer = world.say(again, &encoded(Version::V5, member(name, &expiry)));
    assert_eq!(packets(Version::V5, &answer), ["CONNACK", "PUBLISH a x 2 1 true"]);
    assert_eq!(packets(Version::V5, &world.say(again, &ack(0x50, 1))), ["PUBREL 1"]);
    assert!(world.sim.read(other).is_empty());
}

#[test]
fn a_shared_message_of_qos_2_goes_to_nobody_else_when_the_session_ends() {
    // [MQTT-4.8.2-5]
    let mut world = world();
    let (chosen, other, _) = shared(&mut world);
    world.sim.cut(chosen);
    world.sim.run(20 * SECOND);
    world.settle();
    assert!(world.sim.read(other).is_empty());
    assert_eq!(world.counts().stored, 0);
}

#[test]
fn a_shared_message_that_is_refused_goes_to_nobody_else() {
    // [MQTT-4.8.2-6]
    let mut world = world();
    let (chosen, other, _) = shared(&mut world);
    assert!(world.say(chosen, b"\x50\x03\x00\x01\x80").is_empty());
    assert!(world.sim.read(other).is_empty());
    assert_eq!(world.counts().stored, 0);
}
