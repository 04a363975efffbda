//! What clients see of each other.

use mqway_codec::{Connect, Property, QoS, ReasonCode, RetainHandling, SubscribeOptions, Version, Will};
use mqway_session::client::{Event, Options};

use super::world::*;
use crate::Config;
use crate::payload::LARGE;

const ALL: [Version; 3] = [Version::V3_1, Version::V3_1_1, Version::V5];

fn world() -> World {
    World::new(1, 2, Config::default())
}

#[test]
fn every_version_reaches_every_other_with_the_lower_qos_of_both() {
    let mut world = world();
    let publisher = world.connected(Version::V5, "publisher");
    for (number, version) in ALL.into_iter().enumerate() {
        for granted in [QOS_0, QOS_1, QOS_2] {
            let subscriber = world.connected(version, &format!("s{number}{}", granted.qos));
            assert_eq!(world.subscribe(subscriber, &[("a/+", granted)]), [ReasonCode::granted(granted.qos)]);
            for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
                world.publish(publisher, message("a/b", "x", qos));
                let got = std::mem::take(&mut world.clients[subscriber].got);
                assert_eq!(got.len(), 1);
                assert_eq!(got[0].qos, qos.min(granted.qos)); // [MQTT-3.8.4-8]
            }
        }
    }
    assert_eq!(world.counts().stored, 0);
    assert_eq!(world.counts().stored_bytes, 0);
}

#[test]
fn messages_in_a_row_reach_everybody_in_order_whatever_else_is_subscribed() {
    for (workers, version) in [(1, Version::V3_1_1), (1, Version::V5), (2, Version::V5)] {
        let mut world = World::new(1, workers, Config::default());
        let publisher = world.connected(version, "publisher");
        let receivers = ALL.map(|version| world.connected(version, &format!("to {version}")));
        let own = SubscribeOptions { no_local: version == Version::V5, ..QOS_2 };
        world.subscribe(publisher, &[("a", own)]);
        let mut rounds = 0;
        let mut round = |world: &mut World, copies: usize| {
            rounds += 1;
            let before = world.counts();
            let sent: Vec<_> = (0..100).map(|number| format!("a {rounds}.{number}")).collect();
            sent.iter().for_each(|text| world.send(publisher, message("a", &text[2..], QoS::AtMostOnce)));
            world.settle();
            for receiver in receivers {
                assert_eq!(world.got(receiver), sent);
            }
            assert_eq!(world.got(publisher), if own.no_local { Vec::new() } else { sent });
            let after = world.counts();
            assert_eq!(after.publishes_received - before.publishes_received, 100);
            assert_eq!(after.publishes_sent - before.publishes_sent, 100 * copies as u64);
        };
        receivers.iter().for_each(|receiver| _ = world.subscribe(*receiver, &[("a", QOS_1)]));
        let copies = 3 + usize::from(!own.no_local);
        round(&mut world, copies);
        world.subscribe_with(receivers[2], &[("a", QOS_0)], Some(7));
        round(&mut world, copies);
        let member = world.connected(Version::V5, "member");
        world.subscribe(member, &[("$share/group/a", QOS_0)]);
        round(&mut world, copies + 1);
        assert_eq!(world.got(member).len(), 100);
    }
}

#[test]
fn large_messages_come_whole_to_one_and_to_many() {
    let mut world = world();
    let publishers = ALL.map(|version| world.connected(version, &format!("p{version}")));
    let mut expected = Vec::new();
    for many in [false, true] {
        let subscribers: Vec<_> = ALL
            .into_iter()
            .flat_map(|version| [QOS_0, QOS_1, QOS_2].map(|granted| (version, granted)))
            .take(if many { 9 } else { 1 })
            .map(|(version, granted)| {
                let subscriber = world.connected(version, &format!("s{many}{version}{}", granted.qos));
                let identifier = (version == Version::V5).then_some(7);
                world.subscribe_with(subscriber, &[("a/+", granted)], identifier);
                world.got(subscriber);
                subscriber
            })
            .collect();
        expected.clear();
        for (number, publisher) in publishers.into_iter().enumerate() {
            for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
                for len in [10, LARGE - 1, LARGE, 3 * LARGE] {
                    let payload = number.to_string().repeat(len);
                    expected.push(format!("a/b {payload}"));
                    world.publish(publisher, message("a/b", &payload, qos));
                }
            }
        }
        for subscriber in subscribers {
            assert!(world.got(subscriber) == expected, "{many}, {subscriber}");
        }
    }
    world.publish(publishers[0], retained("a/kept", &"r".repeat(2 * LARGE)));
    let late = world.connected(Version::V3_1_1, "late");
    world.subscribe(late, &[("a/#", QOS_1)]);
    assert_eq!(world.got(late), [format!("a/kept {}", "r".repeat(2 * LARGE))]);
    assert_eq!((world.counts().stored, world.sim.counters().snapshot().buffered), (0, 0));
}

#[test]
fn retained_messages_come_as_the_subscription_wants_them() {
    let mut world = world();
    let publisher = world.connected(Version::V5, "publisher");
    let subscriber = world.connected(Version::V5, "subscriber");
    for topic in ["a/1", "a/2", "$b/3"] {
        world.publish(publisher, retained(topic, "old"));
    }
    let with = |retain_handling| SubscribeOptions { retain_handling, ..QOS_1 };
    let filter = "+/#";
    world.subscribe(subscriber, &[(filter, with(RetainHandling::DoNotSend))]);
    assert!(world.got(subscriber).is_empty()); // [MQTT-3.3.1-11]
    world.subscribe(subscriber, &[(filter, with(RetainHandling::SendIfNew))]);
    assert!(world.got(subscriber).is_empty()); // [MQTT-3.3.1-10]
    world.subscribe(subscriber, &[(filter, with(RetainHandling::Send))]);
    assert!(world.clients[subscriber].got.iter().all(|message| message.retain)); // 3.1.1: [MQTT-3.3.1-8]
    let mut got = world.got(subscriber);
    got.sort();
    assert_eq!(got, ["a/1 old", "a/2 old"]); // [MQTT-3.3.1-9], [MQTT-4.7.2-1]

    world.publish(publisher, retained("a/1", "new"));
    assert!(!world.clients[subscriber].got[0].retain); // [MQTT-3.3.1-12]
    world.subscribe(
        subscriber,
        &[(filter, SubscribeOptions { retain_as_published: true, ..with(RetainHandling::DoNotSend) })],
    );
    world.clients[subscriber].got.clear();
    world.publish(publisher, retained("a/1", ""));
    assert!(world.clients[subscriber].got[0].retain); // [MQTT-3.3.1-13]
    world.got(subscriber);
    world.subscribe(subscriber, &[("a/#", QOS_0)]);
    assert_eq!(world.got(subscriber), ["a/2 old"]); // [MQTT-3.3.1-6], [MQTT-3.3.1-7]
    assert_eq!(world.counts().retained, 2);
}

#[test]
fn overlapping_filters_make_one_copy_with_every_identifier() {
    let mut world = world();
    let publisher = world.connected(Version::V5, "publisher");
    let subscriber = world.connected(Version::V5, "subscriber");
    world.subscribe_with(subscriber, &[("a/#", QOS_0)], Some(1));
    world.subscribe_with(subscriber, &[("a/b", QOS_2)], Some(2));
    world.subscribe_with(subscriber, &[("+/b", QOS_1)], None);
    world.publish(publisher, message("a/b", "x", QoS::ExactlyOnce));
    let got = &world.clients[subscriber].got;
    assert_eq!(got.len(), 1);
    assert_eq!(got[0].qos, QoS::ExactlyOnce); // [MQTT-3.3.4-2]
    let mut identifiers: Vec<_> =
        got[0].properties.as_properties().subscription_identifiers().map(|id| id.value()).collect();
    identifiers.sort_unstable();
    assert_eq!(identifiers, [1, 2]); // [MQTT-3.3.4-4]
}

#[test]
fn no_local_leaves_out_one_s_own_messages() {
    let mut world = world();
    let client = world.connected(Version::V5, "client");
    let other = world.connected(Version::V5, "other");
    world.subscribe(client, &[("a", SubscribeOptions { no_local: true, ..QOS_1 })]);
    world.publish(client, message("a", "mine", QoS::AtLeastOnce));
    world.publish(other, message("a", "theirs", QoS::AtLeastOnce));
    assert_eq!(world.got(client), ["a theirs"]); // [MQTT-3.8.3-3]
}

#[test]
fn a_session_waits_for_its_client_with_what_came_meanwhile() {
    let mut world = world();
    for (version, name) in [(Version::V3_1_1, "old"), (Version::V5, "new")] {
        let expiry = properties(&[Property::SessionExpiryInterval(1_000)]);
        let mut connect = Connect::new(version, name);
        connect.clean_start = false;
        if version == Version::V5 {
            connect.properties = expiry.as_properties();
        }
        let publisher = world.connected(version, "publisher");
        let subscriber = world.add(Options::new(version));
        world.connect(subscriber, &connect);
        world.settle();
        world.subscribe(subscriber, &[("a/#", QOS_2)]);
        world.cut(subscriber);
        for (payload, qos) in [("0", QoS::AtMostOnce), ("1", QoS::AtLeastOnce), ("2", QoS::ExactlyOnce)] {
            world.publish(publisher, message("a/b", payload, qos));
        }
        world.connect(subscriber, &connect);
        world.settle();
        let present = world.clients[subscriber]
            .events
            .iter()
            .any(|event| matches!(event, Event::Connected { session_present: true, .. }));
        assert!(present); // [MQTT-3.2.2-3]
        assert_eq!(world.got(subscriber), ["a/b 1", "a/b 2"]); // [MQTT-3.1.2-5]; 3.1.1: [MQTT-3.1.2-5]
        connect.clean_start = true;
        world.clients[subscriber].events.clear();
        world.connect(subscriber, &connect);
        world.settle();
        world.publish(publisher, message("a/b", "3", QoS::AtLeastOnce));
        // [MQTT-3.1.2-4]: the client subscribes again by itself, and so only this came.
        assert!(world.got(subscriber).len() <= 1);
        let fresh = world.clients[subscriber]
            .events
            .iter()
            .all(|event| !matches!(event, Event::Connected { session_present: true, .. }));
        assert!(fresh); // [MQTT-3.2.2-2]
        world.cut(subscriber);
        world.cut(publisher);
    }
}

#[test]
fn sessions_end_when_their_time_is_over() {
    let mut world = world();
    let expiry = properties(&[Property::SessionExpiryInterval(10)]);
    let mut connect = Connect::new(Version::V5, "short");
    connect.properties = expiry.as_properties();
    let client = world.add(Options::new(Version::V5));
    world.connect(client, &connect);
    world.settle();
    world.subscribe(client, &[("a", QOS_1)]);
    let publisher = world.connected(Version::V3_1_1, "publisher");
    world.cut(client);
    world.publish(publisher, message("a", "x", QoS::AtLeastOnce));
    assert_eq!((world.counts().sessions, world.counts().stored), (2, 1));
    world.sim.run(11 * SECOND);
    // [MQTT-3.1.2-23], [MQTT-4.1.0-2]
    assert_eq!((world.counts().sessions, world.counts().sessions_expired), (1, 1));
    assert_eq!((world.counts().stored, world.counts().stored_bytes), (0, 0));
    assert!(world.shared.index.is_empty());
}

#[test]
fn a_will_is_published_unless_it_is_taken_back() {
    let mut world = world();
    let witness = world.connected(Version::V5, "witness");
    world.subscribe(witness, &[("gone/#", QOS_1)]);
    for version in ALL {
        let name = format!("client{version}");
        let mut connect = Connect::new(version, &name);
        connect.will = Some(Will { qos: QoS::AtLeastOnce, ..Will::new("gone/now", b"x") });
        let client = world.add(Options::new(version));
        world.connect(client, &connect);
        world.settle();
        world.cut(client);
        world.settle();
        assert_eq!(world.got(witness), ["gone/now x"]); // [MQTT-3.1.2-8]; 3.1.1: [MQTT-3.1.2-8]
        world.connect(client, &connect);
        world.settle();
        world.clients[client].client.disconnect(ReasonCode::Success, mqway_codec::Properties::EMPTY);
        world.settle();
        assert!(world.got(witness).is_empty()); // [MQTT-3.1.2-10]
    }
}

#[test]
fn a_delayed_will_is_cancelled_by_the_client_s_return() {
    let mut world = world();
    let witness = world.connected(Version::V5, "witness");
    world.subscribe(witness, &[("gone", QOS_1)]);
    let delay = properties(&[Property::WillDelayInterval(5)]);
    let expiry = properties(&[Property::SessionExpiryInterval(60)]);
    let mut connect = Connect::new(Version::V5, "client");
    connect.clean_start = false;
    connect.properties = expiry.as_properties();
    connect.will = Some(Will { properties: delay.as_properties(), ..Will::new("gone", b"x") });
    let client = world.add(Options::new(Version::V5));
    world.connect(client, &connect);
    world.settle();
    world.cut(client);
    world.sim.run(3 * SECOND);
    world.connect(client, &connect);
    world.settle();
    world.sim.run(10 * SECOND);
    world.settle();
    assert!(world.got(witness).is_empty()); // [MQTT-3.1.3-9]
    world.cut(client);
    world.sim.run(6 * SECOND);
    world.settle();
    assert_eq!(world.got(witness), ["gone x"]);
}

#[test]
fn a_second_connection_takes_the_session_over() {
    let mut world = world();
    let witness = world.connected(Version::V5, "witness");
    world.subscribe(witness, &[("gone", QOS_1)]);
    let mut connect = Connect::new(Version::V5, "same");
    connect.will = Some(Will::new("gone", b"x"));
    let first = world.add(Options::new(Version::V5));
    world.connect(first, &connect);
    world.settle();
    let second = world.connected(Version::V5, "same");
    let told = world.clients[first].events.iter().any(
        |event| matches!(event, Event::Disconnected(notice) if notice.reason == ReasonCode::SessionTakenOver),
    );
    assert!(told && world.clients[first].remote.is_none()); // [MQTT-3.1.4-3]
    assert!(world.clients[second].client.is_connected());
    world.settle();
    assert_eq!(world.got(witness), ["gone x"]);
    assert_eq!((world.counts().takeovers, world.counts().connected, world.counts().sessions), (1, 2, 2));
}

#[test]
fn one_member_of_a_share_gets_each_message_and_what_it_leaves_goes_to_another() {
    let mut world = world();
    let publisher = world.connected(Version::V5, "publisher");
    let mut members = Vec::new();
    for number in 0..3 {
        let mut options = Options::new(Version::V5);
        options.manual_acknowledgement = number == 0;
        let member = world.add(options);
        world.connect(member, &Connect::new(Version::V5, &format!("member{number}")));
        world.settle();
        assert_eq!(world.subscribe(member, &[("$share/g/a/#", QOS_1)]), [ReasonCode::GrantedQos1]);
        members.push(member);
    }
    for number in 0..30 {
        world.publish(publisher, message("a/b", &number.to_string(), QoS::AtLeastOnce));
    }
    let each: Vec<_> = members.iter().map(|member| world.clients[*member].got.len()).collect();
    assert_eq!(each.iter().sum::<usize>(), 30); // 5.0 §4.8.2
    // The one that does not acknowledge is soon given no more.
    assert!(each[0] >= 1 && each[0] < each[1] && each[0] < each[2], "{each:?}");
    let owed = world.got(members[0]);
    let others_before: usize = each[1] + each[2];
    world.cut(members[0]);
    world.settle();
    let others: usize = members[1..].iter().map(|member| world.clients[*member].got.len()).sum();
    assert_eq!(others - others_before, owed.len()); // 5.0 §4.8.2
    assert_eq!(world.counts().share_redeliveries as usize, owed.len());
    assert_eq!(world.counts().stored, 0);
}

#[test]
fn messages_grow_old_and_are_told_how_much_time_is_left() {
    let mut world = world();
    let publisher = world.connected(Version::V5, "publisher");
    let expiry = properties(&[Property::SessionExpiryInterval(1_000)]);
    let mut connect = Connect::new(Version::V5, "subscriber");
    connect.clean_start = false;
    connect.properties = expiry.as_properties();
    let subscriber = world.add(Options::new(Version::V5));
    world.connect(subscriber, &connect);
    world.settle();
    world.subscribe(subscriber, &[("a", QOS_1)]);
    world.cut(subscriber);
    for seconds in [5, 100] {
        let mut short = message("a", &seconds.to_string(), QoS::AtLeastOnce);
        short.properties = properties(&[Property::MessageExpiryInterval(seconds)]);
        world.publish(publisher, short);
    }
    world.sim.run(20 * SECOND);
    world.connect(subscriber, &connect);
    world.settle();
    let got = &world.clients[subscriber].got;
    assert_eq!(got.len(), 1); // [MQTT-3.3.2-5]
    let left = got[0].properties.as_properties().message_expiry_interval().unwrap();
    assert!((70..=80).contains(&left), "{left}"); // [MQTT-3.3.2-6]
    assert_eq!(world.counts().dropped_expired, 1);
}

#[test]
fn a_message_that_was_sent_once_does_not_expire() {
    // [MQTT-4.3.3-7]
    let mut world = world();
    let publisher = world.connected(Version::V5, "publisher");
    let expiry = properties(&[Property::SessionExpiryInterval(1_000)]);
    let mut connect = Connect::new(Version::V5, "subscriber");
    connect.clean_start = false;
    connect.properties = expiry.as_properties();
    let subscriber = world.add(Options { manual_acknowledgement: true, ..Options::new(Version::V5) });
    world.connect(subscriber, &connect);
    world.settle();
    world.subscribe(subscriber, &[("a", QOS_2)]);
    let mut short = message("a", "x", QoS::ExactlyOnce);
    short.properties = properties(&[Property::MessageExpiryInterval(5)]);
    world.publish(publisher, short);
    let token = world.clients[subscriber].got[0].token.clone().unwrap();
    world.cut(subscriber);
    world.sim.run(10 * SECOND);
    world.connect(subscriber, &connect);
    world.settle();
    assert_eq!((world.counts().dropped_expired, world.counts().stored), (0, 1));
    world.clients[subscriber].client.acknowledge(world.sim.now(), token);
    world.settle();
    assert_eq!((world.counts().dropped_expired, world.counts().stored), (0, 0));
}

#[test]
fn unsubscribing_ends_the_flow() {
    let mut world = world();
    let client = world.connected(Version::V5, "client");
    world.subscribe(client, &[("a", QOS_1), ("b", QOS_1)]);
    world.clients[client].events.clear();
    world.unsubscribe(client, "a");
    world.unsubscribe(client, "never");
    let codes: Vec<_> = world.clients[client]
        .events
        .iter()
        .filter_map(|event| match event {
            Event::Answered { codes, .. } => codes.first().copied(),
            _ => None,
        })
        .collect();
    assert_eq!(codes, [ReasonCode::Success, ReasonCode::NoSubscriptionExisted]); // [MQTT-3.11.3-1]
    world.publish(client, message("a", "x", QoS::AtLeastOnce));
    world.publish(client, message("b", "x", QoS::AtLeastOnce));
    assert_eq!(world.got(client), ["b x"]); // [MQTT-3.10.4-2]
}

#[test]
fn silence_beyond_the_keep_alive_ends_a_connection() {
    let mut world = world();
    let mut connect = Connect::new(Version::V5, "silent");
    connect.keep_alive = 10;
    let client = world.add(Options::new(Version::V5));
    world.connect(client, &connect);
    world.settle();
    world.sim.run(14 * SECOND);
    assert_eq!(world.counts().connected, 1);
    world.sim.run(2 * SECOND);
    assert_eq!((world.counts().connected, world.counts().keep_alive_timeouts), (0, 1)); // [MQTT-3.1.2-22]
    world.settle();
    let told = world.clients[client].events.iter().any(
        |event| matches!(event, Event::Disconnected(notice) if notice.reason == ReasonCode::KeepAliveTimeout),
    );
    assert!(told);
}

#[test]
fn retained_messages_that_waited_came_although_their_subscription_was_gone() {
    let config = || {
        let mut config = Config::default();
        config.terms.in_flight = std::num::NonZeroU16::MIN;
        config
    };
    for again in [false, true] {
        let mut world = World::new(1, 1, config());
        let publisher = world.connected(Version::V5, "publisher");
        world.publish(publisher, retained("r", "old"));
        let mut options = Options::new(Version::V5);
        options.manual_acknowledgement = true;
        let client = world.add(options);
        world.connect(client, &Connect::new(Version::V5, "client"));
        world.settle();
        world.subscribe(client, &[("a", QOS_1)]);
        // These are not acknowledged, so that what is retained has to wait.
        world.publish(publisher, message("a", "0", QoS::AtLeastOnce));
        world.publish(publisher, message("a", "1", QoS::AtLeastOnce));
        world.subscribe_with(client, &[("r", QOS_1)], Some(1));
        match again {
            true => {
                let options = SubscribeOptions { retain_handling: RetainHandling::DoNotSend, ..QOS_0 };
                world.subscribe_with(client, &[("r", options)], Some(2));
            }
            false => world.unsubscribe(client, "r"),
        }
        for message in std::mem::take(&mut world.clients[client].got) {
            let now = world.sim.now();
            world.clients[client].client.acknowledge(now, message.token.unwrap());
        }
        world.settle();
        let mut got = std::mem::take(&mut world.clients[client].got);
        got.retain(|message| &*message.topic == "r");
        if !again {
            assert!(got.is_empty()); // [MQTT-3.10.4-2]
            continue;
        }
        // It comes as it was agreed last. [MQTT-3.8.4-3]
        let identifiers: Vec<_> = got[0].properties.as_properties().subscription_identifiers().collect();
        assert_eq!((&*got[0].topic, got[0].qos, got[0].retain), ("r", QoS::AtMostOnce, true));
        assert_eq!(identifiers.iter().map(|id| id.value()).collect::<Vec<_>>(), [2]);
    }
}

#[test]
fn retained_messages_that_waited_were_lost_with_the_connection_though_the_session_stayed() {
    let mut config = Config::default();
    config.terms.in_flight = std::num::NonZeroU16::MIN;
    let mut world = World::new(1, 1, config);
    let publisher = world.connected(Version::V5, "publisher");
    world.publish(publisher, retained("r", "old"));
    let client = world.add(Options { manual_acknowledgement: true, ..Options::new(Version::V3_1_1) });
    let mut connect = Connect::new(Version::V3_1_1, "client");
    connect.clean_start = false;
    world.connect(client, &connect);
    world.settle();
    world.subscribe(client, &[("a", QOS_1)]);
    // These are not acknowledged, so that what is retained has to wait.
    world.publish(publisher, message("a", "0", QoS::AtLeastOnce));
    world.publish(publisher, message("a", "1", QoS::AtLeastOnce));
    assert_eq!(world.subscribe(client, &[("r", QOS_1)]), [ReasonCode::GrantedQos1]);
    world.cut(client);
    world.clients[client].got.clear();
    world.connect(client, &connect);
    let mut topics = Vec::new();
    for _ in 0..4 {
        world.settle();
        for message in std::mem::take(&mut world.clients[client].got) {
            world.clients[client].client.acknowledge(world.sim.now(), message.token.unwrap());
            topics.push(message.topic);
        }
    }
    assert_eq!(topics.iter().map(|topic| &**topic).collect::<Vec<_>>(), ["a", "a", "r"]); // [MQTT-3.3.1-9]
}
