//! Answers that come later: or never, or for nobody, or from hooks that are no more.

use std::sync::Arc;
use std::time::Duration;

use mqway_codec::{Connect, QoS, ReasonCode, Version};
use mqway_hooks::{Denial, Hooks, Phase};
use mqway_session::client::{Event, Options};

use super::script::{Does, Script};
use crate::mail::Mail;
use crate::tests::world::*;

pub fn set_hooks(world: &mut World, hooks: Hooks) {
    let (hooks, poster) = (Arc::new(hooks), world.sim.poster());
    for worker in 0..poster.workers() {
        assert!(poster.post(worker, Mail::Hooks(hooks.clone())).is_ok());
    }
    world.settle();
}

#[test]
fn a_login_goes_on_when_the_answer_comes() {
    for version in [Version::V3_1_1, Version::V5] {
        for workers in [1, 3] {
            let script = Script::at(&[Phase::Authenticate]).when(Phase::Authenticate, "x", Does::Waits);
            let mut world = World::new(1, workers, script.config());
            let client = world.add(Options::new(version));
            world.connect(client, &Connect::new(version, "x"));
            world.settle();
            assert!(!world.clients[client].client.is_connected());
            assert_eq!(world.shared.waiting.occupied(), 1);
            script.ticket().allow_with(|client, login| {
                client.groups.push("staff".into());
                login.client_id = "y".into();
            });
            world.settle();
            assert!(world.clients[client].client.is_connected());
            assert_eq!(script.log(), ["authenticate x"]);
            assert_eq!(world.shared.waiting.occupied(), 0);
            // It is at home as the one that the hook says it is.
            let other = world.connected(version, "y2");
            world.connect(other, &Connect::new(version, "x"));
            world.settle();
            script.ticket().allow_with(|_, login| login.client_id = "y".into());
            world.settle();
            assert!(world.clients[client].remote.is_none());
            assert_eq!(world.counts().takeovers, 1);
        }
    }
}

#[test]
fn packets_behind_one_that_waits_keep_their_order() {
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
        let script = Script::at(&[Phase::Publish]).when(Phase::Publish, "slow", Does::Waits);
        let mut world = World::new(1, 2, script.config());
        let witness = world.connected(Version::V5, "witness");
        world.subscribe(witness, &[("#", QOS_2)]);
        let client = world.connected(Version::V5, "x");
        let other = world.connected(Version::V5, "other");
        for (topic, payload) in [("quick", "1"), ("slow", "2"), ("quick", "3")] {
            world.send(client, message(topic, payload, qos));
        }
        world.settle();
        assert_eq!(world.got(witness), ["quick 1"]);
        // Others are not held up.
        world.publish(other, message("quick", "other", qos));
        assert_eq!(world.got(witness), ["quick other"]);
        script.ticket().allow();
        world.settle();
        assert_eq!(world.got(witness), ["slow 2", "quick 3"]);
        assert_eq!(world.clients[client].client.pending(), 0);
        assert_eq!(script.log().iter().filter(|line| line.contains("slow")).count(), 1);
    }
}

#[test]
fn filters_wait_together() {
    let script = Script::at(&[Phase::Subscribe]).when(Phase::Subscribe, "b", Does::Waits).when(
        Phase::Subscribe,
        "d",
        Does::Waits,
    );
    let mut world = World::new(1, 2, script.config());
    let client = world.connected(Version::V5, "x");
    assert!(world.subscribe(client, &[("a", QOS_0), ("b", QOS_1), ("c", QOS_0), ("d", QOS_2)]).is_empty());
    script.ticket().allow();
    world.settle();
    script.ticket().deny(Denial::not_authorized("test"));
    world.settle();
    let codes = world.clients[client].events.iter().find_map(|event| match event {
        Event::Answered { codes, .. } => Some(codes.clone()),
        _ => None,
    });
    let expected = [
        ReasonCode::GRANTED_QOS_0,
        ReasonCode::GrantedQos1,
        ReasonCode::GRANTED_QOS_0,
        ReasonCode::NotAuthorized,
    ];
    assert_eq!(codes.as_deref(), Some(&expected[..]));
    assert_eq!(script.log(), ["subscribe a", "subscribe b", "subscribe c", "subscribe d"]);
}

#[test]
fn an_answer_that_never_comes_is_none_after_a_while() {
    let script = Script::at(&[Phase::Authenticate, Phase::Publish])
        .when(Phase::Authenticate, "slow", Does::Waits)
        .when(Phase::Publish, "slow", Does::Waits);
    let mut config = script.config();
    // Longer than a client may take for CONNECT, and than it may be silent.
    config.limits.connect_time = Duration::from_secs(2);
    let mut world = World::new(1, 2, config);
    let slow = world.add(Options::new(Version::V5));
    world.connect(slow, &Connect::new(Version::V5, "slow"));
    let client = world.add(Options::new(Version::V5));
    let mut connect = Connect::new(Version::V5, "x");
    connect.keep_alive = 1;
    world.connect(client, &connect);
    world.settle();
    world.publish(client, message("slow", "", QoS::AtLeastOnce));
    world.run(Duration::from_secs(4));
    assert!(world.clients[slow].remote.is_some() && world.clients[client].remote.is_some());
    world.sim.run(Duration::from_secs(2));
    world.settle();
    let refused =
        |event: &Event| matches!(event, Event::Refused(notice) if notice.reason == ReasonCode::ServerBusy);
    assert!(world.clients[slow].events.iter().any(refused));
    assert_eq!(world.counts().hook_timeouts, 2);
    assert_eq!(world.counts().publishes_denied, 1);
    assert_eq!(world.shared.waiting.occupied(), 0);
    // What comes now comes too late.
    script.ticket().allow();
    script.ticket().allow();
    world.settle();
    assert_eq!(world.counts().connects, 1);
}

#[test]
fn an_answer_for_a_connection_that_is_gone_is_for_nobody() {
    let script = Script::at(&[Phase::Authenticate, Phase::Publish])
        .when(Phase::Authenticate, "slow", Does::Waits)
        .when(Phase::Publish, "slow", Does::Waits);
    let mut world = World::new(1, 2, script.config());
    let slow = world.add(Options::new(Version::V5));
    world.connect(slow, &Connect::new(Version::V5, "slow"));
    let client = world.connected(Version::V5, "x");
    world.publish(client, message("slow", "", QoS::ExactlyOnce));
    assert_eq!(world.shared.waiting.occupied(), 2);
    world.cut(slow);
    world.cut(client);
    world.settle();
    assert_eq!(world.shared.waiting.occupied(), 0);
    // Others are in their places now.
    let next = world.connected(Version::V5, "next");
    script.ticket().deny(Denial::not_authorized("test").and_end());
    script.ticket().deny(Denial::not_authorized("test").and_end());
    world.settle();
    assert!(world.clients[next].client.is_connected());
}

#[test]
fn no_more_wait_than_may() {
    let script = Script::at(&[Phase::Authenticate]);
    let mut config = script.config();
    config.limits.hook_waiting = 100;
    let mut world = World::new(1, 2, config);
    for number in 0..1_000 {
        let name = format!("c{number}");
        script.when(Phase::Authenticate, &name, Does::Waits);
        let client = world.add(Options::new(Version::V5));
        world.connect(client, &Connect::new(Version::V5, &name));
    }
    world.settle();
    assert_eq!(world.shared.waiting.occupied(), 100);
    let refused = world.clients.iter().filter(|far| {
        let busy = |event: &Event| matches!(event, Event::Refused(notice) if notice.reason == ReasonCode::ServerBusy);
        far.events.iter().any(busy)
    });
    assert_eq!((refused.count(), world.counts().hook_overloads), (900, 900));
    for _ in 0..script.tickets() {
        script.ticket().allow();
    }
    world.settle();
    assert_eq!(world.counts().connected, 100);
    assert_eq!(world.shared.waiting.occupied(), 0);
}

#[test]
fn hooks_are_replaced_without_losing_a_connection() {
    let first = Script::at(&[Phase::Authenticate, Phase::Publish])
        .when(Phase::Authenticate, "slow", Does::Waits)
        .when(Phase::Publish, "slow", Does::Waits);
    let mut world = World::new(1, 2, first.config());
    let slow = world.add(Options::new(Version::V5));
    world.connect(slow, &Connect::new(Version::V5, "slow"));
    let client = world.connected(Version::V5, "x");
    world.subscribe(client, &[("slow", QOS_2)]);
    world.publish(client, message("slow", "1", QoS::ExactlyOnce));
    let second = Script::at(&[Phase::Authenticate, Phase::Publish]);
    set_hooks(&mut world, second.hooks());
    // What the first have not answered, the second are asked.
    assert!(world.clients[slow].client.is_connected());
    assert_eq!(world.got(client), ["slow 1"]);
    let mut log = second.log();
    log.sort();
    assert_eq!(log, ["authenticate slow", "publish slow"]);
    first.ticket().deny(Denial::not_authorized("late").and_end());
    first.ticket().deny(Denial::not_authorized("late").and_end());
    // None at all, and some again: then they know those that have been there.
    set_hooks(&mut world, Hooks::new());
    let unknown = world.connected(Version::V5, "unknown");
    assert!(second.log().is_empty());
    let third =
        Script::at(&[Phase::Publish]).when(Phase::Publish, "a", Does::Deny(Denial::not_authorized("third")));
    set_hooks(&mut world, third.hooks());
    for one in [slow, client, unknown] {
        world.publish(one, message("a", "", QoS::AtLeastOnce));
        assert!(world.clients[one].client.is_connected());
    }
    assert_eq!(third.log(), ["publish a"; 3]);
    assert_eq!(world.counts().publishes_denied, 3);
}
