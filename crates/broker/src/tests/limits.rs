//! What goes beyond a limit costs whoever went there, and is counted.

use mqway_codec::{Connect, Property, QoS, ReasonCode, Version};
use mqway_session::client::{Event, Options};

use super::world::*;
use crate::{Config, QueueFull};

fn config(change: impl FnOnce(&mut Config)) -> Config {
    let mut config = Config::default();
    change(&mut config);
    config
}

/// A client of 5.0 whose session stays, without a connection, subscribed to `#` with QoS 1.
fn absent(world: &mut World) -> usize {
    let client = world.add(Options::new(Version::V5));
    return_of(world, client);
    world.subscribe(client, &[("#", QOS_1)]);
    world.cut(client);
    client
}

fn return_of(world: &mut World, client: usize) {
    let expiry = properties(&[Property::SessionExpiryInterval(1_000)]);
    let mut connect = Connect::new(Version::V5, "absent");
    connect.clean_start = false;
    connect.properties = expiry.as_properties();
    world.connect(client, &connect);
    world.settle();
}

#[test]
fn a_full_queue_drops_by_its_policy() {
    for (policy, kept) in [(QueueFull::DropNewest, ["a 0", "a 1"]), (QueueFull::DropOldest, ["a 2", "a 3"])] {
        let mut world = World::new(
            1,
            2,
            config(|config| {
                config.limits.queue_messages = 2;
                config.limits.queue_full = policy;
            }),
        );
        let client = absent(&mut world);
        let publisher = world.connected(Version::V5, "publisher");
        for number in 0..4 {
            world.publish(publisher, message("a", &number.to_string(), QoS::AtLeastOnce));
        }
        assert_eq!(world.counts().dropped_queue_full, 2);
        return_of(&mut world, client);
        assert_eq!(world.got(client), kept);
        assert_eq!((world.counts().stored, world.counts().stored_bytes), (0, 0));
    }
}

#[test]
fn where_none_may_wait_nothing_was_delivered_at_all() {
    for policy in [QueueFull::DropNewest, QueueFull::DropOldest] {
        let mut world = World::new(
            1,
            2,
            config(|config| {
                config.limits.queue_messages = 0;
                config.limits.queue_full = policy;
            }),
        );
        let subscriber = world.connected(Version::V5, "subscriber");
        world.subscribe(subscriber, &[("a", QOS_1)]);
        let publisher = world.connected(Version::V5, "publisher");
        for number in 0..3 {
            world.publish(publisher, message("a", &number.to_string(), QoS::AtLeastOnce));
        }
        assert_eq!(world.got(subscriber), ["a 0", "a 1", "a 2"]);
        world.cut(subscriber);
        assert_eq!(world.counts().dropped_queue_full, 0);
    }
}

#[test]
fn messages_that_had_expired_kept_others_out_of_a_full_queue() {
    let mut world = World::new(1, 1, config(|config| config.limits.queue_messages = 2));
    let client = absent(&mut world);
    let publisher = world.connected(Version::V5, "publisher");
    let mut expiring = message("a", "old", QoS::AtLeastOnce);
    expiring.properties = properties(&[Property::MessageExpiryInterval(3)]);
    for _ in 0..2 {
        world.publish(publisher, expiring.clone());
    }
    world.sim.run(4 * SECOND);
    world.publish(publisher, message("a", "new", QoS::AtLeastOnce));
    assert_eq!((world.counts().dropped_expired, world.counts().dropped_queue_full), (1, 0));
    return_of(&mut world, client);
    assert_eq!(world.got(client), ["a new"]);
    assert_eq!((world.counts().stored, world.counts().stored_bytes), (0, 0));
}

#[test]
fn bytes_of_a_queue_are_limited_too() {
    let mut world = World::new(1, 1, config(|config| config.limits.queue_bytes = 3_000));
    let client = absent(&mut world);
    let publisher = world.connected(Version::V5, "publisher");
    for _ in 0..4 {
        world.publish(publisher, message("a", &"x".repeat(1_000), QoS::AtLeastOnce));
    }
    assert_eq!((world.counts().stored, world.counts().dropped_queue_bytes), (2, 2));
    return_of(&mut world, client);
    assert_eq!(world.got(client).len(), 2);
}

#[test]
fn sessions_that_hold_much_leave_room_for_those_that_hold_little() {
    let mut world = World::new(1, 1, config(|config| config.limits.stored_bytes = 100_000));
    absent(&mut world);
    let (publisher, witness) =
        (world.connected(Version::V5, "publisher"), world.connected(Version::V5, "witness"));
    world.subscribe(witness, &[("little", QOS_1)]);
    for _ in 0..200 {
        world.publish(publisher, message("much", &"x".repeat(1_000), QoS::AtLeastOnce));
    }
    let counts = world.counts();
    assert!((45_000..=50_000).contains(&counts.stored_bytes), "{counts:?}");
    world.publish(publisher, message("little", &"x".repeat(20_000), QoS::AtLeastOnce));
    assert_eq!(world.got(witness).len(), 1);
}

#[test]
fn subscriptions_and_topics_have_their_limits() {
    let mut world = World::new(
        1,
        1,
        config(|config| {
            config.limits.subscriptions = 2;
            config.limits.topic_levels = 3;
        }),
    );
    let client = world.connected(Version::V5, "client");
    let filters = [("a", QOS_0), ("b/c/d/e", QOS_0), ("b", QOS_0), ("c", QOS_0), ("a", QOS_1)];
    let codes = world.subscribe(client, &filters);
    let [ok, deep, over] = [ReasonCode::Success, ReasonCode::TopicFilterInvalid, ReasonCode::QuotaExceeded];
    assert_eq!(codes, [ok, deep, ok, over, ReasonCode::GrantedQos1]);
    world.clients[client].events.clear();
    world.publish(client, message("a/b/c/d", "x", QoS::AtLeastOnce));
    world.publish(client, message("$SYS/broker/version", "x", QoS::AtLeastOnce));
    assert_eq!(world.counts().refused_topics, 2);
    let refused = |event: &&Event| format!("{event:?}").contains("NotAuthorized");
    assert_eq!(world.clients[client].events.iter().filter(refused).count(), 2);
}

#[test]
fn sessions_were_begun_without_end() {
    let mut world = World::new(1, 2, config(|config| config.limits.sessions = 2));
    absent(&mut world);
    world.connected(Version::V5, "b");
    let refused = world.add(Options::new(Version::V5));
    world.connect(refused, &Connect::new(Version::V5, "c"));
    world.settle();
    let is_quota =
        |event: &Event| matches!(event, Event::Refused(notice) if notice.reason == ReasonCode::QuotaExceeded);
    assert!(world.clients[refused].events.iter().any(is_quota));
    assert_eq!((world.counts().sessions, world.counts().connects_over_sessions), (2, 1));
    // Whoever has one may come back, and begin anew.
    world.connected(Version::V5, "b");
    world.connected(Version::V5, "absent");
}

#[test]
fn long_filters_and_wills_added_up_without_end() {
    let mut world = World::new(1, 1, config(|config| config.limits.state_bytes = 200_000));
    let greedy = world.connected(Version::V5, "greedy");
    let long = |number: usize| format!("{number}{}", "x".repeat(20_000));
    let filters: Vec<_> = (0..5).map(long).collect();
    let list: Vec<_> = filters.iter().map(|filter| (&**filter, QOS_0)).collect();
    let codes = world.subscribe(greedy, &list);
    let [ok, over] = [ReasonCode::Success, ReasonCode::QuotaExceeded];
    assert_eq!(codes, [ok, ok, over, over, over]);
    let other = world.connected(Version::V5, "other");
    assert_eq!(world.subscribe(other, &[("a/#", QOS_0)]), [ok]);
    world.unsubscribe(greedy, list[0].0);
    assert_eq!(world.subscribe(greedy, &list[..1]), [ok]);

    let will = vec![b'x'; 50_000];
    for (name, accepted) in [("w1", true), ("w2", true), ("w3", false)] {
        let client = world.add(Options::new(Version::V5));
        let mut connect = Connect::new(Version::V5, name);
        connect.will = Some(mqway_codec::Will::new("w", &will));
        world.connect(client, &connect);
        world.settle();
        assert_eq!(world.clients[client].client.is_connected(), accepted, "{name}");
    }
    for client in 0..world.clients.len() {
        world.cut(client);
    }
    world.settle();
    assert_eq!((world.counts().state_bytes, world.counts().sessions), (0, 0));
}

#[test]
fn retained_messages_are_limited_by_number_and_bytes() {
    let mut world = World::new(
        1,
        1,
        config(|config| {
            config.limits.retained_messages = 2;
            config.limits.retained_bytes = 2_000;
        }),
    );
    let client = world.connected(Version::V5, "client");
    for topic in ["a", "b", "c"] {
        world.publish(client, retained(topic, "x"));
    }
    assert_eq!((world.counts().retained, world.counts().retained_refused), (2, 1));
    world.publish(client, retained("a", &"x".repeat(3_000)));
    assert_eq!((world.counts().retained, world.counts().retained_refused), (2, 2));
    world.publish(client, retained("a", ""));
    world.publish(client, retained("b", ""));
    assert_eq!((world.counts().retained, world.counts().retained_bytes), (0, 0));
}

#[test]
fn connects_over_the_rate_are_refused_and_told() {
    let mut world =
        World::new(1, 1, config(|config| config.limits.connect_rate = std::num::NonZeroU32::new(2)));
    world.sim.run(SECOND);
    let clients: Vec<_> = (0..4).map(|_| world.add(Options::new(Version::V5))).collect();
    for client in &clients {
        world.connect(*client, &Connect::new(Version::V5, &client.to_string()));
    }
    world.settle();
    let refused = |client: &&usize| {
        world.clients[**client].events.iter().any(|event| {
            matches!(event, Event::Refused(notice) if notice.reason == ReasonCode::ConnectionRateExceeded)
        })
    };
    assert_eq!(clients.iter().filter(refused).count(), 2);
    assert_eq!((world.counts().connects, world.counts().connects_over_rate), (2, 2));
}

#[test]
fn a_receiver_that_never_reads_costs_itself_only() {
    let mut world = World::new(
        1,
        2,
        config(|config| {
            config.engine.limits.high_water = 20_000;
            config.engine.limits.low_water = 5_000;
            config.limits.queue_messages = 50;
        }),
    );
    let stuck = world.connected(Version::V5, "stuck");
    let witness = world.connected(Version::V5, "witness");
    let publisher = world.connected(Version::V5, "publisher");
    for client in [stuck, witness] {
        world.subscribe(client, &[("a/0", QOS_0), ("a/1", QOS_1)]);
    }
    let remote = world.clients[stuck].remote.unwrap();
    world.sim.set_reading(remote, false);
    for round in 0..400 {
        world.send(publisher, message("a/0", &"x".repeat(1_000), QoS::AtMostOnce));
        world.send(publisher, message("a/1", &"y".repeat(1_000), QoS::AtLeastOnce));
        if round % 10 == 0 {
            world.run(std::time::Duration::from_millis(20));
        }
    }
    world.settle();
    assert_eq!(world.got(witness).len(), 800);
    let counts = world.counts();
    assert!(counts.dropped_slow > 100 && counts.dropped_queue_full > 100, "{counts:?}");
    let buffered = world.sim.counters().snapshot().buffered;
    // A buffer may be twice as large as what lies in it.
    assert!(buffered < 2 * (8 * 20_000 + 64 * 1024), "{buffered}");
    world.sim.set_reading(remote, true);
    for _ in 0..40 {
        world.settle();
    }
    assert_eq!((world.counts().stored, world.counts().stored_bytes), (0, 0));
    world.publish(publisher, message("a/1", "end", QoS::AtLeastOnce));
    assert_eq!(world.got(stuck).last().map(String::as_str), Some("a/1 end"));
}

#[test]
fn what_the_terms_leave_out_is_refused_for_that_filter_only() {
    let terms = config(|config| {
        config.terms.wildcards = false;
        config.terms.shares = false;
    });
    let mut world = World::new(1, 1, terms);
    let client = world.connected(Version::V3_1_1, "client");
    let filters = [("a/+", QOS_1), ("a/b", QOS_1), ("#", QOS_0), ("$share/g/a", QOS_1)];
    let refused = ReasonCode::UnspecifiedError;
    // 3.1.1: [MQTT-3.8.3-2], [MQTT-3.9.3-2]
    assert_eq!(world.subscribe(client, &filters), [refused, ReasonCode::GrantedQos1, refused, refused]);
    let publisher = world.connected(Version::V5, "publisher");
    world.publish(publisher, message("a/b", "x", QoS::AtLeastOnce));
    world.publish(publisher, message("a/c", "x", QoS::AtLeastOnce));
    assert_eq!(world.got(client), ["a/b x"]);
    assert_eq!(world.counts().subscriptions_refused, 3);
}

#[test]
fn a_receiver_that_was_sent_something_else_before_its_turn_came_was_never_looked_after_again() {
    let mut world = World::new(
        1,
        2,
        config(|config| {
            config.engine.limits.high_water = 1_000;
            config.engine.limits.low_water = 500;
        }),
    );
    let of_worker = |world: &World, worker| {
        (0..).map(|number| format!("c{number}")).find(|name| world.shared.home_of(name) == worker).unwrap()
    };
    let (receiver, publisher) = (of_worker(&world, 0), of_worker(&world, 1));
    let receiver = world.connected(Version::V5, &receiver);
    let publisher = world.connected(Version::V5, &publisher);
    world.subscribe(receiver, &[("a/#", QOS_1)]);
    for _ in 0..50 {
        world.send(publisher, message("a/1", &"x".repeat(1_500), QoS::AtLeastOnce));
        world.send(publisher, message("a/0", &"y".repeat(1_500), QoS::AtMostOnce));
        world.run(std::time::Duration::from_millis(1));
    }
    world.settle();
    let got = world.got(receiver).iter().filter(|message| message.starts_with("a/1")).count();
    assert_eq!((got, world.counts().stored), (50, 0));
}
