//! What a refusal means on the wire, in each version.

use std::time::Duration;

use mqway_codec::{Connect, PacketId, Property, QoS, ReasonCode, Version, Will};
use mqway_hooks::{Denial, Phase, RefusedPublish, RefusedWill};
use mqway_session::client::{Event, Options, Outcome};

use super::script::{Does, Script};
use super::waiting::set_hooks;
use crate::Config;
use crate::judge::MOST_JUDGED;
use crate::tests::world::*;

const ALL: [Version; 3] = [Version::V3_1, Version::V3_1_1, Version::V5];

fn no() -> Does {
    Does::Deny(Denial::new(ReasonCode::QuotaExceeded, "test:1").say("not today"))
}

/// The reason that CONNACK refused with, or that DISCONNECT ended with.
fn ended_with(world: &World, client: usize) -> Option<ReasonCode> {
    world.clients[client].events.iter().find_map(|event| match event {
        Event::Refused(notice) | Event::Disconnected(notice) => Some(notice.reason),
        _ => None,
    })
}

fn acknowledged_with(world: &World, client: usize) -> Vec<ReasonCode> {
    let answered = world.clients[client].events.iter().filter_map(|event| match event {
        Event::Published { outcome: Outcome::Answered(receipt), .. } => Some(receipt.reason),
        _ => None,
    });
    answered.collect()
}

#[test]
fn a_connection_that_is_not_had_is_closed_before_it_says_anything() {
    let script = Script::at(&[Phase::Accept]).when(Phase::Accept, "", no());
    let mut world = World::new(1, 2, script.config());
    let client = world.add(Options::new(Version::V5));
    world.connect(client, &Connect::new(Version::V5, "x"));
    world.settle();
    assert!(world.clients[client].remote.is_none());
    assert_eq!((world.counts().accepts_denied, world.counts().connects), (1, 0));
}

#[test]
fn a_login_is_refused_in_the_words_of_its_version() {
    for (reason, before_5) in [
        (ReasonCode::BadUserNameOrPassword, ReasonCode::NotAuthorized),
        (ReasonCode::Banned, ReasonCode::NotAuthorized),
        (ReasonCode::NotAuthorized, ReasonCode::NotAuthorized),
        // No CONNACK has this.
        (ReasonCode::NoSubscriptionExisted, ReasonCode::NotAuthorized),
    ] {
        for version in ALL {
            let denial = Does::Deny(Denial::new(reason, "test:1").say("not you"));
            let script = Script::at(&[Phase::Authenticate]).when(Phase::Authenticate, "x", denial);
            let mut world = World::new(1, 2, script.config());
            let client = world.add(Options::new(version));
            world.connect(client, &Connect::new(version, "x"));
            world.settle();
            let expected = match version {
                Version::V5 if reason.is_error() && before_5 == reason => reason,
                Version::V5 if matches!(reason, ReasonCode::Banned | ReasonCode::BadUserNameOrPassword) => {
                    reason
                }
                _ => before_5,
            };
            assert_eq!(ended_with(&world, client), Some(expected), "{version} {reason:?}");
            let says = world.clients[client].events.iter().any(|event| {
                matches!(event, Event::Refused(notice)
                    if notice.properties.as_properties().reason_string() == Some("not you"))
            });
            assert_eq!(says, version == Version::V5);
            assert!(world.clients[client].remote.is_none());
            let counts = world.counts();
            assert_eq!(counts.connects_denied, 1);
            assert_eq!(counts.sessions, 0);
        }
    }
}

#[test]
fn a_publish_is_refused_as_its_version_and_its_qos_allow() {
    for version in ALL {
        for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
            for policy in [RefusedPublish::Drop, RefusedPublish::Close] {
                let script = Script::at(&[Phase::Publish]).when(Phase::Publish, "secret", no());
                let mut config = script.config();
                config.refusals.publish = policy;
                let mut world = World::new(1, 2, config);
                let client = world.connected(version, "x");
                let witness = world.connected(Version::V5, "witness");
                world.subscribe(witness, &[("#", QOS_2)]);
                world.publish(client, message("secret", "1", qos));
                let answers = version == Version::V5 && qos > QoS::AtMostOnce;
                let closes = policy == RefusedPublish::Close && !answers;
                assert_eq!(world.clients[client].remote.is_none(), closes, "{version} {qos} {policy:?}");
                assert_eq!(world.counts().publishes_denied, 1);
                assert_eq!(script.log(), ["publish secret"]);
                if closes {
                    let told = (version == Version::V5).then_some(ReasonCode::QuotaExceeded);
                    assert_eq!(ended_with(&world, client), told);
                    continue;
                }
                // 3.1.1: [MQTT-3.3.5-2]
                let expected = match (answers, qos) {
                    (_, QoS::AtMostOnce) => vec![],
                    (true, _) => vec![ReasonCode::QuotaExceeded],
                    (false, _) => vec![ReasonCode::Success],
                };
                assert_eq!(acknowledged_with(&world, client), expected);
                // Nothing is left of it, and the next goes through.
                world.publish(client, message("open", "2", qos));
                assert_eq!(world.got(witness), ["open 2"]);
                assert_eq!(world.clients[client].client.pending(), 0);
            }
        }
    }
}

#[test]
fn a_refused_message_of_qos_2_is_not_judged_again_when_it_is_repeated() {
    let script = Script::at(&[Phase::Publish]).when(Phase::Publish, "secret", no());
    let mut world = World::new(1, 1, script.config());
    let remote = world.sim.connect(0, None).unwrap();
    world.sim.write(remote, b"\x10\x0d\0\x04MQTT\x04\0\0\0\0\x01a");
    world.settle();
    let publish = b"\x34\x0b\0\x06secret\0\x07x";
    let again = b"\x3c\x0b\0\x06secret\0\x07x";
    world.sim.write(remote, publish);
    world.settle();
    world.sim.write(remote, again);
    world.settle();
    world.sim.write(remote, b"\x62\x02\0\x07");
    world.settle();
    // CONNACK, PUBREC twice, PUBCOMP.
    assert_eq!(world.sim.read(remote), b"\x20\x02\0\0\x50\x02\0\x07\x50\x02\0\x07\x70\x02\0\x07");
    assert_eq!(script.log(), ["publish secret"]);
    assert!(PacketId::new(7).is_some());
}

#[test]
fn refused_filters_leave_the_others_their_places() {
    for version in [Version::V3_1_1, Version::V5] {
        let script = Script::at(&[Phase::Subscribe, Phase::Unsubscribe])
            .when(Phase::Subscribe, "b", no())
            .when(Phase::Unsubscribe, "a", no());
        let mut world = World::new(1, 2, script.config());
        let client = world.connected(version, "x");
        let codes = world.subscribe(client, &[("a", QOS_1), ("b", QOS_1), ("c", QOS_2)]);
        let refused = match version {
            Version::V5 => ReasonCode::QuotaExceeded,
            _ => ReasonCode::UnspecifiedError,
        };
        assert_eq!(codes, [ReasonCode::GrantedQos1, refused, ReasonCode::GrantedQos2]);
        assert_eq!(script.log(), ["subscribe a", "subscribe b", "subscribe c"]);
        world.clients[client].events.clear();
        world.unsubscribe(client, "a");
        world.unsubscribe(client, "c");
        let codes = world.clients[client].events.iter().filter_map(|event| match event {
            Event::Answered { codes, .. } => Some(codes.clone()),
            _ => None,
        });
        if version == Version::V5 {
            // UNSUBACK has no code for quotas.
            assert_eq!(codes.collect::<Vec<_>>(), [[ReasonCode::NotAuthorized], [ReasonCode::Success]]);
        }
        for topic in ["a", "b", "c"] {
            world.publish(client, message(topic, "x", QoS::AtMostOnce));
        }
        assert_eq!(world.got(client), ["a x"]);
        assert_eq!(world.counts().filters_denied, 2);
        assert_eq!(world.counts().refusals().collect::<Vec<_>>(), [(ReasonCode::QuotaExceeded, 2)]);
    }
    // 3.1 has no word for it.
    let script = Script::at(&[Phase::Subscribe]).when(Phase::Subscribe, "b", no());
    let mut world = World::new(1, 2, script.config());
    let client = world.connected(Version::V3_1, "x");
    world.subscribe(client, &[("b", QOS_1)]);
    assert!(world.clients[client].remote.is_none());
}

#[test]
fn hooks_are_not_asked_for_more_filters_than_can_be_kept() {
    let script = Script::at(&[Phase::Subscribe, Phase::Unsubscribe]);
    let mut world = World::new(1, 1, script.config());
    let remote = world.sim.connect(0, None).unwrap();
    world.sim.write(remote, b"\x10\x0d\0\x04MQTT\x04\x02\0\0\0\x01a");
    world.settle();
    world.sim.read(remote);
    // SUBSCRIBE and UNSUBSCRIBE with 5,000 filters `a` each.
    world.sim.write(remote, b"\x82\xa2\x9c\x01\0\x01");
    world.sim.write(remote, &b"\0\x01a\0".repeat(5_000));
    world.settle();
    world.settle();
    let suback = world.sim.read(remote);
    assert_eq!(suback[..5], [0x90, 0x8A, 0x27, 0, 1]);
    let refused = suback[5..].iter().filter(|code| **code == 0x80).count();
    assert_eq!((script.log().len(), refused), (MOST_JUDGED, 5_000 - MOST_JUDGED));
    world.sim.write(remote, b"\xa2\x9a\x75\0\x02");
    world.sim.write(remote, &b"\0\x01a".repeat(5_000));
    world.settle();
    world.settle();
    assert_eq!(world.sim.read(remote), [0xB0, 2, 0, 2]);
    assert_eq!(script.log().len(), MOST_JUDGED);
    assert_eq!(world.counts().filters_denied as usize, 2 * (5_000 - MOST_JUDGED));
}

#[test]
fn a_will_that_may_not_be_published_is_refused_or_left_out() {
    for version in ALL {
        for policy in [RefusedWill::Refuse, RefusedWill::LeaveOut] {
            let script = Script::at(&[Phase::Publish]).when(Phase::Publish, "secret", no());
            let mut config = script.config();
            config.refusals.will = policy;
            let mut world = World::new(1, 2, config);
            let witness = world.connected(Version::V5, "witness");
            world.subscribe(witness, &[("#", QOS_2)]);
            let client = world.add(Options::new(version));
            let mut connect = Connect::new(version, "x");
            connect.will = Some(Will::new("secret", b"gone"));
            world.connect(client, &connect);
            world.settle();
            assert_eq!(world.clients[client].client.is_connected(), policy == RefusedWill::LeaveOut);
            world.cut(client);
            world.settle();
            assert!(world.got(witness).is_empty());
        }
    }
}

#[test]
fn a_will_is_not_published_once_its_client_s_rights_are_gone() {
    for (delay, ends_early) in [(0, false), (60, false), (60, true)] {
        let mut world = World::new(1, 2, Script::at(&[Phase::Publish]).config());
        let witness = world.connected(Version::V5, "witness");
        world.subscribe(witness, &[("#", QOS_2)]);
        for (name, topic) in [("x", "secret"), ("y", "open")] {
            let client = world.add(Options::new(Version::V5));
            let (delayed, stays) = (
                properties(&[Property::WillDelayInterval(delay)]),
                properties(&[Property::SessionExpiryInterval(600)]),
            );
            let mut connect = Connect::new(Version::V5, name);
            connect.properties = stays.as_properties();
            let mut will = Will::new(topic, b"gone");
            will.properties = delayed.as_properties();
            connect.will = Some(will);
            world.connect(client, &connect);
            world.settle();
            if delay > 0 {
                world.cut(client);
                world.settle();
            }
        }
        let stricter = Script::at(&[Phase::Publish]).when(Phase::Publish, "secret", no());
        set_hooks(&mut world, stricter.hooks());
        match (delay, ends_early) {
            (0, _) => (1..3).for_each(|client| world.cut(client)),
            (_, false) => world.run(Duration::from_secs(61)),
            (_, true) => {
                for name in ["x", "y"] {
                    let again = world.add(Options::new(Version::V5));
                    let mut connect = Connect::new(Version::V5, name);
                    connect.clean_start = true;
                    world.connect(again, &connect);
                }
            }
        }
        world.settle();
        assert_eq!(world.got(witness), ["open gone"], "{delay} {ends_early}");
        assert_eq!(world.counts().wills_denied, 1);
    }
}

#[test]
fn a_hook_that_panics_ends_its_connection_and_no_other() {
    for (phase, about) in [(Phase::Publish, "boom"), (Phase::Subscribe, "boom"), (Phase::Unsubscribe, "boom")]
    {
        let script = Script::at(&[phase]).when(phase, about, Does::Panics);
        let mut world = World::new(1, 1, script.config());
        let client = world.connected(Version::V5, "x");
        let other = world.connected(Version::V5, "other");
        match phase {
            Phase::Publish => world.publish(client, message("boom", "", QoS::AtLeastOnce)),
            Phase::Subscribe => drop(world.subscribe(client, &[("a", QOS_0), ("boom", QOS_0)])),
            _ => world.unsubscribe(client, "boom"),
        }
        assert_eq!(ended_with(&world, client), Some(ReasonCode::ImplementationSpecificError), "{phase}");
        assert_eq!(world.counts().ended_by_hooks, 1);
        world.subscribe(other, &[("a", QOS_0)]);
        world.publish(other, message("a", "x", QoS::AtMostOnce));
        assert_eq!(world.got(other), ["a x"]);
    }
    let script = Script::at(&[Phase::Authenticate]).when(Phase::Authenticate, "x", Does::Panics);
    let mut world = World::new(1, 1, script.config());
    let client = world.add(Options::new(Version::V5));
    world.connect(client, &Connect::new(Version::V5, "x"));
    world.settle();
    assert_eq!(ended_with(&world, client), Some(ReasonCode::ImplementationSpecificError));
}

#[test]
fn without_hooks_nothing_is_known_of_a_connection() {
    let mut world = World::new(1, 1, Config::default());
    world.connected(Version::V5, "x");
    let desk = &world.sim.core(0).house.desk;
    assert!(desk.hooked.is_none());
}

#[test]
fn words_go_to_those_who_want_them_and_have_room_for_them() {
    let words = |world: &World, client: usize| -> Vec<Option<String>> {
        let properties = world.clients[client].events.iter().filter_map(|event| match event {
            Event::Published { outcome: Outcome::Answered(receipt), .. } => Some(&receipt.properties),
            Event::Answered { properties, .. } => Some(properties),
            _ => None,
        });
        properties.map(|one| one.as_properties().reason_string().map(str::to_owned)).collect()
    };
    for (wants, room) in [(true, 1_000), (false, 1_000), (true, 12)] {
        let script = Script::at(&[Phase::Publish, Phase::Subscribe, Phase::Unsubscribe])
            .when(Phase::Publish, "a", no())
            .when(Phase::Subscribe, "a", no())
            .when(Phase::Unsubscribe, "b", no());
        let mut config = script.config();
        // So that CONNACK has nothing to say, and little room is enough.
        config.terms.topic_alias_maximum = 0;
        let mut world = World::new(1, 1, config);
        let client = world.add(Options { maximum_packet: room, ..Options::new(Version::V5) });
        let asked = properties(&[Property::RequestProblemInformation(wants)]);
        let mut connect = Connect::new(Version::V5, "x");
        connect.properties = asked.as_properties();
        world.connect(client, &connect);
        world.settle();
        for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
            world.publish(client, message("a", "", qos));
        }
        // [MQTT-3.1.2-24], [MQTT-3.1.2-29], [MQTT-3.4.2-2], [MQTT-3.5.2-2]
        let expected = (wants && room > 100).then(|| "not today".to_owned());
        assert_eq!(words(&world, client), [expected.clone(), expected.clone()]);
        // [MQTT-3.9.2-1], [MQTT-3.11.2-1]
        world.subscribe(client, &[("b", QOS_0), ("a", QOS_0)]);
        assert_eq!(words(&world, client), std::slice::from_ref(&expected));
        world.clients[client].events.clear();
        world.unsubscribe(client, "b");
        assert_eq!(words(&world, client), [expected]);
    }
}
