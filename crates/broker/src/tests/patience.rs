//! How long the broker waits for whom.

use std::time::Duration;

use mqway_codec::{Connect, Packet, QoS, Version};
use mqway_engine::sim::Remote;

use super::world::*;
use crate::Config;

/// A client with a keep alive of two seconds, subscribed to `a` with QoS 0.
fn raw(world: &mut World) -> Remote {
    let remote = world.sim.connect(0, None).unwrap();
    let mut connect = Connect::new(Version::V3_1_1, "raw");
    connect.keep_alive = 2;
    let mut bytes = Vec::new();
    Packet::Connect(connect).encode(Version::V3_1_1, &mut bytes).unwrap();
    bytes.extend_from_slice(b"\x82\x06\0\x01\0\x01a\0");
    world.sim.write(remote, &bytes);
    world.settle();
    remote
}

fn narrow() -> World {
    let mut config = Config::default();
    config.engine.limits.high_water = 20_000;
    config.engine.limits.low_water = 2_000;
    World::new(1, 1, config)
}

fn flood(world: &mut World) {
    let publisher = world.connected(Version::V5, "publisher");
    for _ in 0..150 {
        world.send(publisher, message("a", &"x".repeat(1_000), QoS::AtMostOnce));
    }
    world.settle();
    assert!(world.counts().pauses > 0);
}

#[test]
fn a_client_that_was_slow_to_take_what_it_got_was_not_heard_meanwhile_and_closed_as_silent() {
    let mut world = narrow();
    let remote = raw(&mut world);
    world.sim.set_pace(remote, 5);
    flood(&mut world);
    let mut got = 0;
    for _ in 0..40 {
        world.sim.write(remote, b"\xc0\0");
        world.run(SECOND);
        got += world.sim.read(remote).len();
    }
    assert!(!world.sim.is_ended(remote), "{got} bytes came");
    assert_eq!(world.counts().keep_alive_timeouts, 0);
    assert!(got > 60_000, "{got}");
}

#[test]
fn a_client_that_takes_nothing_and_says_nothing_is_closed_all_the_same() {
    let mut world = narrow();
    let remote = raw(&mut world);
    world.sim.set_reading(remote, false);
    flood(&mut world);
    world.sim.run(Duration::from_secs(8));
    assert_eq!(world.counts().keep_alive_timeouts, 1);
}

#[test]
fn a_machine_that_slept_ended_all_clients_whose_pings_lay_unread() {
    let mut world = narrow();
    let remote = raw(&mut world);
    world.sim.write(remote, b"\xc0\0");
    world.sim.skip(Duration::from_secs(600));
    world.sim.write(remote, b"\xc0\0");
    world.sim.run(SECOND);
    assert_eq!(world.counts().keep_alive_timeouts, 0);
    world.sim.run(Duration::from_secs(4));
    assert_eq!(world.counts().keep_alive_timeouts, 1); // [MQTT-3.1.2-22]
}
