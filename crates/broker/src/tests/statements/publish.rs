//! PUBLISH: what passes unchanged, what is retained, in which steps it is delivered.

use std::num::NonZeroU16;

use mqway_codec::{Connect, PayloadFormat, Property, QoS, Version};
use mqway_session::client::Options;

use super::*;

#[test]
fn properties_pass_unchanged_and_in_order() {
    let mut world = world();
    let publisher = world.connected(Version::V5, "publisher");
    let subscriber = world.add(Options { topic_alias_maximum: 0, ..Options::new(Version::V5) });
    world.connect(subscriber, &Connect::new(Version::V5, "subscriber"));
    world.settle();
    world.subscribe(subscriber, &[("a/+", QOS_1)]);
    let sent = properties(&[
        Property::PayloadFormatIndicator(PayloadFormat::Utf8), // [MQTT-3.3.2-4]
        Property::ResponseTopic("answer"),                     // [MQTT-3.3.2-15]
        Property::CorrelationData(b"\x00\xff"),                // [MQTT-3.3.2-16]
        Property::UserProperty("b", "1"),                      // [MQTT-3.3.2-17], [MQTT-3.3.2-18]
        Property::UserProperty("a", "2"),
        Property::UserProperty("b", "1"),
        Property::ContentType("text"), // [MQTT-3.3.2-20]
    ]);
    let mut message = message("a/b", "x", QoS::AtLeastOnce);
    message.properties = sent.clone();
    world.publish(publisher, message);
    let got = world.clients[subscriber].got.remove(0);
    assert_eq!(got.properties, sent);
    assert_eq!(&*got.topic, "a/b"); // [MQTT-3.3.2-3]
}

#[test]
fn dup_is_not_passed_on() {
    // [MQTT-3.3.1-3]
    let mut world = world();
    let subscriber = world.connected(Version::V5, "subscriber");
    world.subscribe(subscriber, &[("a", QOS_1)]);
    let remote = world.raw_connected(&Connect::new(Version::V3_1_1, "x"));
    let mut bytes = encoded_publish(Version::V3_1_1, "a", "x", QoS::AtLeastOnce, 7);
    bytes[0] |= 0b1000;
    assert_eq!(world.say(remote, &bytes), ack(0x40, 7));
    assert!(!world.clients[subscriber].got[0].dup);
}

#[test]
fn what_is_retained_and_what_is_not() {
    let mut world = world();
    let publisher = world.connected(Version::V3_1_1, "publisher");
    let early = world.connected(Version::V3_1_1, "early");
    world.subscribe(early, &[("a", QOS_2)]);
    world.publish(publisher, retained("a", "kept"));
    assert!(!world.clients[early].got[0].retain); // 3.1.1: [MQTT-3.3.1-9]
    world.publish(publisher, message("a", "passes", QoS::AtLeastOnce));
    // The publisher's session is over, and what it retained is not. 3.1.1: [MQTT-3.1.2-7]
    world.cut(publisher);
    world.settle();
    let late = world.connected(Version::V3_1_1, "late");
    world.subscribe(late, &[("a", QOS_2)]);
    assert!(world.clients[late].got[0].retain);
    assert_eq!(world.got(late), ["a kept"]); // [MQTT-3.3.1-8]; 3.1.1: [MQTT-3.3.1-6]
    // [MQTT-3.8.4-4]; 3.1.1: [MQTT-3.8.4-3]: the same subscription again brings it again.
    world.subscribe(late, &[("a", QOS_1)]);
    assert_eq!(world.got(late), ["a kept"]);
    let mut last = message("a", "last", QoS::AtMostOnce);
    last.retain = true;
    world.publish(late, last);
    world.got(late);
    world.subscribe(late, &[("a", QOS_1)]);
    assert_eq!(world.got(late), ["a last"]); // 3.1.1: [MQTT-3.3.1-7]
}

#[test]
fn a_publish_that_is_not_allowed_is_acknowledged_in_3_1_1_and_refused_in_5_0() {
    // 3.1.1: [MQTT-3.3.5-2]
    let mut world = world();
    for (version, answer) in
        [(Version::V3_1_1, &b"\x40\x02\x00\x07"[..]), (Version::V5, b"\x40\x03\x00\x07\x87")]
    {
        let remote = world.raw_connected(&Connect::new(version, "x"));
        let bytes = encoded_publish(version, "$SYS/mine", "x", QoS::AtLeastOnce, 7);
        assert_eq!(world.say(remote, &bytes), answer);
    }
}

#[test]
fn a_client_that_takes_no_more_messages_still_has_its_answers() {
    // [MQTT-3.3.4-9], [MQTT-3.3.4-10], [MQTT-4.9.0-3]
    let mut world = world();
    let one = properties(&[Property::ReceiveMaximum(NonZeroU16::MIN)]);
    let mut connect = Connect::new(Version::V5, "narrow");
    connect.properties = one.as_properties();
    let remote = world.raw_connected(&connect);
    world.say(remote, b"\x82\x07\x00\x01\x00\x00\x01a\x01");
    let publisher = world.connected(Version::V5, "publisher");
    for payload in ["x", "y"] {
        world.publish(publisher, message("a", payload, QoS::AtLeastOnce));
    }
    assert_eq!(packets(Version::V5, &world.sim.read(remote)), ["PUBLISH a x 1 1 false"]);
    world.publish(publisher, message("a", "z", QoS::AtMostOnce));
    assert_eq!(packets(Version::V5, &world.say(remote, b"\xc0\x00")), ["PUBLISH a z 0 0 false", "PINGRESP"]);
    assert_eq!(packets(Version::V5, &world.say(remote, &ack(0x40, 1))), ["PUBLISH a y 1 2 false"]);
}

#[test]
fn the_steps_of_qos_2_go_on_when_a_message_has_expired() {
    // [MQTT-4.3.3-13]
    let mut world = world();
    let remote = world.raw_connected(&Connect::new(Version::V5, "x"));
    let answer = world.say(remote, b"\x34\x0b\x00\x01a\x00\x07\x05\x02\x00\x00\x00\x01");
    assert_eq!(&answer[..4], [0x50, 3, 0, 7]);
    world.sim.run(5 * SECOND);
    assert_eq!(world.say(remote, &ack(0x62, 7)), ack(0x70, 7));
}
