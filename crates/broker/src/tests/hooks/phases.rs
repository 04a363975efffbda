//! Every phase: that it is told, to whom it belongs, and in which order.

use std::num::NonZeroU16;
use std::sync::Arc;

use mqway_codec::{Connect, Property, QoS, ReasonCode, Version, Will};
use mqway_hooks::{Client, Denial, Hooks, Message, Phase, Phases, Transform};
use mqway_session::client::{Event, Options};

use super::script::{Does, Script};
use crate::tests::world::*;
use crate::{Config, QueueFull, Snapshot};

const VERSIONS: [Version; 2] = [Version::V3_1_1, Version::V5];

/// A CONNECT whose session stays, with a will.
fn staying(version: Version) -> (Connect<'static>, mqway_codec::PropertiesBuf) {
    let mut connect = Connect::new(version, "x");
    connect.clean_start = false;
    connect.will = Some(Will::new("gone", b""));
    let expiry = match version {
        Version::V5 => properties(&[Property::SessionExpiryInterval(10)]),
        _ => Default::default(),
    };
    (connect, expiry)
}

#[test]
fn a_client_s_life_is_told_from_its_first_word_to_the_end_of_its_session() {
    for version in VERSIONS {
        let script = Script::at(Phase::ALL);
        let mut config = script.config();
        config.terms.session_expiry = 10;
        let mut world = World::new(1, 1, config);
        let client = world.add(Options::new(version));
        let (mut connect, expiry) = staying(version);
        connect.properties = expiry.as_properties();
        world.connect(client, &connect);
        world.settle();
        let login = ["accept", "authenticate x", "publish gone", "x: connected", "x: session created"];
        assert_eq!(script.log(), login);

        world.subscribe(client, &[("a", QOS_1)]);
        assert_eq!(script.log(), ["subscribe a", "x: subscribed a QoS 1"].map(qos_words));
        world.publish(client, message("a", "1", QoS::AtLeastOnce));
        let expected =
            ["publish a", "deliver a", "x: delivered a", "x: published a", "x: acknowledged a QoS 1"];
        assert_eq!(script.log(), expected.map(qos_words));
        world.publish(client, message("nobody", "1", QoS::AtMostOnce));
        let expected = ["publish nobody", "x: dropped nobody unrouted", "x: published nobody"];
        assert_eq!(script.log(), expected);

        world.cut(client);
        world.settle();
        let expected = ["x: disconnected Network 0x80", "will gone", "x: will published gone (away)"];
        assert_eq!(script.log(), expected);

        world.connect(client, &connect);
        world.settle();
        let login = ["accept", "authenticate x", "publish gone", "x: connected", "x: session resumed"];
        assert_eq!(script.log(), login);
        world.unsubscribe(client, "a");
        assert_eq!(script.log(), ["unsubscribe a", "x: unsubscribed a"]);
        world.clients[client].client.disconnect(ReasonCode::Success, mqway_codec::Properties::EMPTY);
        world.settle();
        assert_eq!(script.log(), ["x: disconnected Client 0x00"]);
        world.sim.run(20 * SECOND);
        assert_eq!(script.log(), ["x: session terminated expired true (away)"]);
        world.sim.stop();
        assert_eq!(script.log(), [": stop (away)"]);
    }
}

fn qos_words(line: &str) -> String {
    line.replace("QoS 1", &QoS::AtLeastOnce.to_string())
}

#[test]
fn the_end_of_the_server_is_told_once_and_last() {
    let script = Script::at(&[Phase::Stop, Phase::Disconnected]);
    let mut world = World::new(1, 3, script.config());
    for name in ["a", "b", "c"] {
        world.connected(Version::V5, name);
    }
    world.sim.stop();
    let log = script.log();
    assert_eq!(log.len(), 4);
    assert_eq!(log[3], ": stop (away)");
}

#[test]
fn who_ended_a_connection_is_told() {
    let script = Script::at(&[Phase::Disconnected]);
    let mut world = World::new(1, 1, script.config());
    let first = world.connected(Version::V5, "x");
    let second = world.connected(Version::V5, "x");
    assert_eq!(script.log(), ["x: disconnected Server 0x8e"]);
    let reason = ReasonCode::DisconnectWithWill;
    world.clients[second].client.disconnect(reason, mqway_codec::Properties::EMPTY);
    world.settle();
    assert_eq!(script.log(), ["x: disconnected Client 0x04"]);
    let _ = first;
}

#[test]
fn a_delivery_that_is_not_allowed_takes_no_room_in_the_receiver_s_window() {
    for version in VERSIONS {
        for qos in [QOS_0, QOS_1, QOS_2] {
            let script = Script::at(&[Phase::Deliver, Phase::Dropped]).when(
                Phase::Deliver,
                "secret",
                Does::Deny(Denial::not_authorized("test:1")),
            );
            let mut config = script.config();
            config.terms.in_flight = NonZeroU16::MIN;
            let mut world = World::new(1, 2, config);
            let client = world.connected(version, "x");
            let publisher = world.connected(Version::V5, "publisher");
            world.subscribe(client, &[("#", qos)]);
            for number in 0..20 {
                let topic = if number % 3 == 0 { "open" } else { "secret" };
                world.send(publisher, message(topic, &number.to_string(), qos.qos));
            }
            world.settle();
            let expected: Vec<_> = (0..20).step_by(3).map(|number| format!("open {number}")).collect();
            assert_eq!(world.got(client), expected, "{version} {:?}", qos.qos);
            let counts = world.counts();
            assert_eq!((counts.deliveries_denied, counts.stored, counts.stored_bytes), (13, 0, 0));
            let dropped = "x: dropped secret deliveries_denied";
            assert_eq!(script.log().iter().filter(|line| *line == dropped).count(), 13);
        }
    }
}

#[test]
fn a_delivery_that_waited_in_the_queue_is_judged_when_it_is_sent() {
    let script = Script::at(&[Phase::Deliver]);
    let mut world = World::new(1, 1, script.config());
    let publisher = world.connected(Version::V5, "publisher");
    let client = world.add(Options::new(Version::V3_1_1));
    let mut connect = Connect::new(Version::V3_1_1, "x");
    connect.clean_start = false;
    world.connect(client, &connect);
    world.settle();
    world.subscribe(client, &[("#", QOS_1)]);
    world.cut(client);
    world.publish(publisher, message("a", "1", QoS::AtLeastOnce));
    world.publish(publisher, message("b", "2", QoS::AtLeastOnce));
    assert!(script.log().is_empty());
    script.when(Phase::Deliver, "a", Does::Deny(Denial::not_authorized("since then")));
    world.connect(client, &connect);
    world.settle();
    assert_eq!(world.got(client), ["b 2"]);
    assert_eq!((world.counts().stored, world.counts().stored_bytes), (0, 0));
}

#[test]
fn what_the_program_itself_gets_is_nobody_s_to_judge() {
    let script = Script::at(Phase::ALL).when(Phase::Deliver, "a", Does::Panics);
    let broker = crate::Broker::builder()
        .configure(|config| config.hooks = script.hooks())
        .listen_tcp("127.0.0.1", 0)
        .start()
        .unwrap();
    let messages = broker.subscribe("a", 10).unwrap();
    broker.publish(crate::Message::new("a", "x")).unwrap();
    let message = messages.recv_timeout(60 * SECOND).unwrap();
    assert_eq!(&*message.payload, b"x");
    assert!(script.log().is_empty());
}

/// Puts what clients publish and subscribe below `home/`, and takes it out again; says so in the properties.
struct Mount;

impl Transform for Mount {
    fn name(&self) -> &str {
        "mount"
    }

    fn publish(&self, _: &mut Client, message: &mut Message<'_>) -> Result<(), Denial> {
        let topic = format!("home/{}", message.topic());
        message.set_topic(topic).map_err(|_| Denial::not_authorized("mount"))?;
        message.add_user_property("by", "mount").map_err(|_| Denial::not_authorized("mount"))
    }

    fn subscribe(&self, _: &mut Client, wanted: &mut mqway_hooks::Subscription<'_>) -> Result<(), Denial> {
        let filter = format!("home/{}", wanted.filter.matched());
        wanted.filter.set_matched(&filter).map_err(|_| Denial::not_authorized("mount"))
    }

    fn unsubscribe(&self, _: &mut Client, filter: &mut mqway_hooks::Filter<'_>) -> Result<(), Denial> {
        let changed = format!("home/{}", filter.matched());
        filter.set_matched(&changed).map_err(|_| Denial::not_authorized("mount"))
    }

    fn deliver(&self, _: &mut Client, message: &mut Message<'_>) -> Result<(), Denial> {
        let topic = message.topic().strip_prefix("home/").map(str::to_owned);
        let topic = topic.ok_or_else(|| Denial::not_authorized("mount"))?;
        message.set_topic(topic).map_err(|_| Denial::not_authorized("mount"))
    }
}

#[test]
fn what_hooks_change_is_changed_for_whom_it_is_and_acknowledged_as_it_came() {
    for version in VERSIONS {
        for (qos, granted) in [(QoS::AtMostOnce, QOS_0), (QoS::AtLeastOnce, QOS_1), (QoS::ExactlyOnce, QOS_2)]
        {
            let script = Script::at(&[Phase::Published, Phase::Subscribed, Phase::Unsubscribed]);
            let mut hooks = script.hooks();
            hooks.add_transform(Arc::new(Mount));
            let mut world = World::new(1, 2, Config { hooks, ..Config::default() });
            let client = world.connected(version, "x");
            let other = world.connected(Version::V5, "other");
            for one in [client, other] {
                world.subscribe(one, &[("a/+", granted), ("$share/g/b", granted)]);
            }
            // Twice: it begins as the one before it did.
            for payload in ["1", "2"] {
                world.publish(client, message("a/b", payload, qos));
            }
            assert_eq!(world.got(client), ["a/b 1", "a/b 2"]);
            let by = world.clients[other].got[1].properties.clone();
            assert_eq!(by.as_properties().user_properties().next(), Some(("by", "mount")));
            assert_eq!(world.got(other), ["a/b 1", "a/b 2"]);
            world.publish(client, message("b", "3", qos));
            assert_eq!(world.got(client).len() + world.got(other).len(), 1);
            assert_eq!(world.clients[client].client.pending(), 0);
            world.unsubscribe(client, "a/+");
            let log = script.log();
            assert!(log.contains(&"x: published home/a/b".to_owned()), "{log:?}");
            assert!(log.contains(&format!("x: subscribed $share/g/home/b {}", granted.qos)), "{log:?}");
            assert_eq!(log.last().unwrap(), "x: unsubscribed home/a/+");
            assert_eq!((world.counts().stored, world.counts().stored_bytes), (0, 0));
        }
    }
}

#[test]
fn a_hook_that_panics_while_it_watches_ends_its_connection_and_no_other() {
    for phase in
        [Phase::Connected, Phase::SessionCreated, Phase::Subscribed, Phase::Published, Phase::Delivered]
    {
        let script = Script::at(&[phase]).when(phase, "x", Does::Panics);
        let mut world = World::new(1, 2, script.config());
        let other = world.connected(Version::V5, "other");
        let client = world.add(Options::new(Version::V5));
        world.connect(client, &Connect::new(Version::V5, "x"));
        world.settle();
        if world.clients[client].client.is_connected() {
            world.subscribe(client, &[("a", QOS_0)]);
        }
        if world.clients[client].client.is_connected() {
            world.publish(client, message("a", "", QoS::AtLeastOnce));
        }
        let told = world.clients[client].events.iter().any(|event| {
            matches!(event, Event::Disconnected(notice)
            if notice.reason == ReasonCode::ImplementationSpecificError)
        });
        assert!(told, "{phase}: {:?}", world.clients[client].events);
        assert_eq!(world.counts().ended_by_hooks, 1);
        assert!(world.clients[other].client.is_connected());
    }
    // One that has no connection has none to end.
    for phase in [Phase::Disconnected, Phase::SessionTerminated, Phase::WillPublished] {
        let script = Script::at(&[phase]).when(phase, "x", Does::Panics);
        let mut world = World::new(1, 1, script.config());
        let client = world.add(Options::new(Version::V5));
        let mut connect = Connect::new(Version::V5, "x");
        connect.will = Some(Will::new("gone", b""));
        world.connect(client, &connect);
        world.settle();
        world.cut(client);
        world.settle();
        assert_eq!((world.counts().sessions, world.counts().connected), (0, 0));
    }
}

#[test]
fn why_a_message_was_dropped_is_the_name_of_the_counter_that_has_counted_it() {
    let script = Script::at(&[Phase::Dropped]);
    for queue_full in [QueueFull::DropNewest, QueueFull::DropOldest] {
        let mut config = script.config();
        config.limits.queue_messages = 2;
        config.limits.queue_bytes = 2_000;
        config.limits.queue_full = queue_full;
        let mut world = World::new(1, 1, config);
        let publisher = world.connected(Version::V5, "publisher");
        let client = world.add(Options { maximum_packet: 1_000, ..Options::new(Version::V5) });
        let expiry = properties(&[Property::SessionExpiryInterval(100)]);
        let mut connect = Connect::new(Version::V5, "x");
        connect.properties = expiry.as_properties();
        connect.clean_start = false;
        world.connect(client, &connect);
        world.settle();
        world.subscribe(client, &[("#", QOS_1)]);
        world.publish(publisher, message("large", &"x".repeat(1_000), QoS::AtMostOnce));
        world.publish(publisher, message("$SYS/own", "", QoS::AtLeastOnce));
        world.cut(client);
        for number in 0..4 {
            let mut short = message("short", &number.to_string(), QoS::AtLeastOnce);
            if number == 0 {
                short.properties = properties(&[Property::MessageExpiryInterval(1)]);
            }
            world.publish(publisher, short);
        }
        world.sim.run(2 * SECOND);
        world.publish(publisher, message("long", &"x".repeat(1_900), QoS::AtLeastOnce));
        connect.clean_start = true;
        world.connect(client, &connect);
        world.settle();
        let counted: Vec<_> = Snapshot::default().each().map(|(name, _)| name).collect();
        let log = script.log();
        for why in [
            "dropped_too_large",
            "refused_topics",
            "dropped_queue_full",
            "dropped_queue_bytes",
            "dropped_session_ended",
        ] {
            assert!(log.iter().any(|line| line.contains(why)), "{why}: {log:#?}");
            assert!(counted.contains(&why));
        }
    }
}

#[test]
fn a_will_is_dropped_or_changed_when_it_is_published() {
    struct Marks;
    impl Transform for Marks {
        fn name(&self) -> &str {
            "marks"
        }
        fn phases(&self) -> Phases {
            Phases::of(&[Phase::Will])
        }
        fn will(&self, client_id: &str, message: &mut Message<'_>) -> Result<(), Denial> {
            if client_id == "silent" {
                return Err(Denial::not_authorized("test"));
            }
            message.set_payload(format!("{client_id} is gone"));
            Ok(())
        }
    }
    let mut hooks = Hooks::new();
    hooks.add_transform(Arc::new(Marks));
    let mut world = World::new(1, 2, Config { hooks, ..Config::default() });
    let witness = world.connected(Version::V5, "witness");
    world.subscribe(witness, &[("gone", QOS_1)]);
    for name in ["silent", "loud"] {
        let client = world.add(Options::new(Version::V3_1_1));
        let mut connect = Connect::new(Version::V3_1_1, name);
        connect.will = Some(Will::new("gone", b""));
        world.connect(client, &connect);
        world.settle();
        world.cut(client);
        world.settle();
    }
    assert_eq!(world.got(witness), ["gone loud is gone"]);
    assert_eq!((world.counts().wills, world.counts().wills_denied), (1, 1));
}
