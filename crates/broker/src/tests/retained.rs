//! What is retained comes whole, once, to whom it is for, and does not stay for ever.

use std::time::Duration;

use mqway_codec::{Connect, Packet, Property, SubscribeOptions, Version, Will};
use mqway_session::client::{Message, Options};

use super::world::*;
use crate::Config;

const NO_LOCAL: SubscribeOptions = SubscribeOptions { no_local: true, ..QOS_1 };

fn world(workers: usize, change: impl FnOnce(&mut Config)) -> World {
    let mut config = Config::default();
    change(&mut config);
    World::new(1, workers, config)
}

fn expiring(topic: &str, seconds: u32) -> Message {
    let mut message = retained(topic, "x");
    message.properties = properties(&[Property::MessageExpiryInterval(seconds)]);
    message
}

#[test]
fn large_retained_messages_were_dropped_where_more_came_at_once_than_a_receiver_takes() {
    let mut world = world(2, |config| {
        config.engine.limits.high_water = 10_000;
        config.engine.limits.low_water = 2_500;
    });
    let publisher = world.connected(Version::V5, "publisher");
    for number in 0..300 {
        world.send(publisher, retained(&format!("a/{number}"), &"x".repeat(5_000)));
        world.run(Duration::from_millis(5));
    }
    world.settle();
    for options in [QOS_0, QOS_1] {
        let subscriber = world.connected(Version::V5, &format!("subscriber{}", options.qos));
        world.subscribe(subscriber, &[("a/#", options)]);
        for _ in 0..100 {
            world.settle();
        }
        assert_eq!(world.got(subscriber).len(), 300); // [MQTT-3.3.1-9]
    }
    assert_eq!((world.counts().dropped_slow, world.counts().stored), (0, 0));
}

#[test]
fn retained_messages_were_dropped_where_more_came_at_once_than_may_wait() {
    for (messages, bytes) in [(0, 100_000), (1, 100_000), (7, 100_000), (1_000, 2_500)] {
        let mut world = world(1, |config| {
            config.limits.queue_messages = messages;
            config.limits.queue_bytes = bytes;
            config.terms.in_flight = 2.try_into().unwrap();
        });
        let publisher = world.connected(Version::V5, "publisher");
        for number in 0..50 {
            world.publish(publisher, retained(&format!("a/{number}"), &"x".repeat(1_000)));
        }
        let subscriber = world.connected(Version::V5, "subscriber");
        world.subscribe(subscriber, &[("#", QOS_1)]);
        for _ in 0..10 {
            world.settle();
        }
        assert_eq!(world.got(subscriber).len(), 50, "{messages} messages, {bytes} bytes");
        assert_eq!((world.counts().dropped_queue_full, world.counts().dropped_queue_bytes), (0, 0));
    }
}

#[test]
fn no_local_brought_back_one_s_own_messages_once_they_were_retained() {
    let mut world = world(2, |_| {});
    let (own, other) = (world.connected(Version::V5, "own"), world.connected(Version::V5, "other"));
    world.publish(own, retained("a/own", "x"));
    world.publish(other, retained("a/other", "x"));
    world.subscribe(own, &[("a/#", NO_LOCAL)]);
    assert_eq!(world.got(own), ["a/other x"]); // [MQTT-3.8.3-3]
    world.subscribe(own, &[("a/+", QOS_1)]);
    assert_eq!(world.got(own).len(), 2);

    // The session that has published it is gone; the client identifier is the same.
    let own = world.connected(Version::V5, "own");
    world.subscribe(own, &[("a/#", NO_LOCAL)]);
    assert_eq!(world.got(own), ["a/other x"]);
    world.publish(other, retained("a/own", "y"));
    world.got(own);
    world.subscribe(own, &[("a/#", NO_LOCAL)]);
    assert_eq!(world.got(own).len(), 2); // It is the other's now.
}

#[test]
fn no_local_leaves_out_one_s_own_retained_will() {
    let mut world = world(1, |_| {});
    let own = world.add(Options::new(Version::V5));
    let mut connect = Connect::new(Version::V5, "own");
    let mut will = Will::new("a/will", b"gone");
    will.retain = true;
    connect.will = Some(will);
    world.connect(own, &connect);
    world.settle();
    world.cut(own);
    world.settle();
    assert_eq!(world.counts().retained, 1);
    let own = world.connected(Version::V5, "own");
    world.subscribe(own, &[("a/#", NO_LOCAL)]);
    assert!(world.got(own).is_empty()); // [MQTT-3.8.3-3]
    world.subscribe(own, &[("a/#", QOS_1)]);
    assert_eq!(world.got(own), ["a/will gone"]);
}

#[test]
fn who_subscribes_again_and_again_without_taking_anything_piled_up_what_was_to_come() {
    let mut world = world(1, |config| config.terms.in_flight = 1.try_into().unwrap());
    let publisher = world.connected(Version::V5, "publisher");
    for topic in ["a/1", "a/2", "a/3"] {
        world.publish(publisher, retained(topic, "x"));
    }
    let raw = world.sim.connect(0, None).unwrap();
    let mut bytes = Vec::new();
    Packet::Connect(Connect::new(Version::V5, "raw")).encode(Version::V5, &mut bytes).unwrap();
    // SUBSCRIBE a/# and UNSUBSCRIBE of it; SUBSCRIBE b/+: no PUBLISH is ever acknowledged.
    let again = b"\x82\x09\x00\x01\x00\x00\x03a/#\x01\xa2\x08\x00\x01\x00\x00\x03a/#\x82\x09\x00\x01\x00\x00\x03b/+\x01";
    let subscribe = b"\x82\x09\x00\x01\x00\x00\x03a/#\x01";
    bytes.extend_from_slice(subscribe);
    world.sim.write(raw, &bytes);
    world.settle();
    for _ in 0..1_000 {
        world.sim.write(raw, &[&again[..], subscribe].concat());
        world.run(Duration::from_millis(1));
    }
    world.settle();
    let longest = world.sim.core(0).house.desk.sessions.longest_replays();
    assert!(longest <= 20, "{longest}");
}

#[test]
fn what_has_expired_stayed_retained_until_somebody_asked_for_it() {
    let mut world = world(1, |config| config.limits.retained_messages = 1_500);
    let publisher = world.connected(Version::V5, "publisher");
    for number in 0..1_200 {
        world.send(publisher, expiring(&format!("a/{number}"), 5));
        world.run(Duration::from_millis(1));
    }
    world.publish(publisher, expiring("$own/later", 200));
    world.publish(publisher, retained("stays", "x"));
    assert_eq!(world.counts().retained, 1_202);
    world.sim.run(Duration::from_secs(70));
    assert_eq!(world.counts().retained, 2);
    world.sim.run(Duration::from_secs(240));
    assert_eq!(world.counts().retained, 1);
    let subscriber = world.connected(Version::V5, "subscriber");
    world.subscribe(subscriber, &[("#", QOS_1)]);
    assert_eq!(world.got(subscriber), ["stays x"]);
}
