//! Bytes that no client would send, and crowds of clients at once: a witness must not notice, and nothing may be left.

use mqway_codec::{
    Ack, Auth, Connect, Disconnect, Packet, PacketId, Properties, Property, Publish, QoS, ReasonCode,
    Subscribe, SubscribeOptions, SubscriptionsBuf, TopicFilter, TopicFiltersBuf, Unsubscribe, Version, Will,
};
use mqway_engine::sim::Random;
use mqway_session::client::Options;

use super::world::*;
use crate::Config;

/// A stream that begins as a client's might, in which then anything may stand.
fn stream(random: &mut Random, number: usize) -> Vec<u8> {
    let version = [Version::V3_1, Version::V3_1_1, Version::V5][random.below(3)];
    let name = format!("noise{}", number % 7);
    let expiry = properties(&[Property::SessionExpiryInterval(random.below(3) as u32)]);
    let mut connect = Connect::new(version, &name);
    connect.clean_start = random.below(2) == 0 || version == Version::V3_1;
    connect.will = (random.below(2) == 0).then(|| Will::new("noise/will", b"gone"));
    if version == Version::V5 {
        connect.properties = expiry.as_properties();
    }
    let mut bytes = Vec::new();
    Packet::Connect(connect).encode(version, &mut bytes).unwrap();
    for _ in 0..random.below(20) {
        push_packet(random, version, &mut bytes);
    }
    for _ in 0..random.below(4) {
        let at = random.below(bytes.len());
        bytes[at] = random.next_u64() as u8;
    }
    bytes
}

fn push_packet(random: &mut Random, version: Version, out: &mut Vec<u8>) {
    let id = PacketId::new(1 + random.below(5) as u16).unwrap();
    let topic = ["noise/a", "noise/b/c", "$SYS/x", "$noise"][random.below(4)];
    let filter = ["noise/#", "+/a", "$share/g/noise/+", "noise/b/c", "#"][random.below(5)];
    let qos = QoS::from_u8(random.below(3) as u8).unwrap();
    let mut subscriptions = SubscriptionsBuf::new();
    subscriptions.push(TopicFilter::new(filter).unwrap(), SubscribeOptions::new(qos));
    let mut filters = TopicFiltersBuf::new();
    filters.push(TopicFilter::new(filter).unwrap());
    let aliased =
        properties(&[Property::TopicAlias(std::num::NonZeroU16::MIN), Property::MessageExpiryInterval(1)]);
    let mut publish = Publish::new(topic, b"payload");
    publish.qos = qos;
    publish.retain = random.below(3) == 0;
    publish.packet_id = (qos != QoS::AtMostOnce).then_some(id);
    if version == Version::V5 && random.below(2) == 0 {
        publish.properties = aliased.as_properties();
        publish.topic = if random.below(2) == 0 { "" } else { topic };
    }
    let packet = match random.below(11) {
        0 => Packet::Puback(Ack::new(id)),
        1 => Packet::Pubrec(Ack::new(id)),
        2 => Packet::Pubrel(Ack::new(id)),
        3 => Packet::Pubcomp(Ack::new(id)),
        4 => Packet::Subscribe(Subscribe::new(id, subscriptions.as_subscriptions())),
        5 => Packet::Unsubscribe(Unsubscribe::new(id, filters.as_filters())),
        6 => Packet::Pingreq,
        7 => Packet::Disconnect(Disconnect::default()),
        8 if version == Version::V5 => Packet::Auth(Auth::new(ReasonCode::Success, Properties::EMPTY)),
        _ => Packet::Publish(publish),
    };
    packet.encode(version, out).unwrap();
}

#[test]
fn noise_harms_nobody_and_leaves_nothing() {
    for seed in 0..30 {
        let mut random = Random::new(seed);
        let mut world = World::new(seed, 2, Config::default());
        let witness = world.connected(Version::V5, "witness");
        world.subscribe(witness, &[("witness", QOS_2)]);
        for round in 0..40 {
            let mut remotes = Vec::new();
            for number in 0..5 {
                let Some(remote) = world.sim.connect(0, None) else { continue };
                world.sim.write(remote, &stream(&mut random, number + round));
                remotes.push(remote);
            }
            world.send(witness, message("witness", &round.to_string(), QoS::ExactlyOnce));
            world.run(std::time::Duration::from_millis(1 + random.below(30) as u64));
            for remote in remotes {
                match random.below(3) {
                    0 => world.sim.cut(remote),
                    1 => world.sim.end(remote),
                    _ => world.sim.close_unread(remote),
                }
            }
        }
        world.settle();
        // The longest session expiry that is asked for, if it came through unharmed, is two seconds; those before 5.0
        // stay until somebody cleans up.
        world.sim.run(5 * SECOND);
        for number in 0..7 {
            for version in [Version::V3_1_1, Version::V5] {
                let remote = world.sim.connect(0, None).unwrap();
                let name = format!("noise{number}");
                let mut bytes = Vec::new();
                Packet::Connect(Connect::new(version, &name)).encode(version, &mut bytes).unwrap();
                world.sim.write(remote, &bytes);
                world.settle();
                world.sim.end(remote);
                world.settle();
            }
        }
        let expected: Vec<_> = (0..40).map(|round| format!("witness {round}")).collect();
        assert_eq!(world.got(witness), expected, "seed {seed}");
        let counts = world.counts();
        assert_eq!(counts.connected, 1, "seed {seed}");
        // A name that was changed on the way may have a session that nobody takes up again.
        assert!(counts.sessions <= 20, "seed {seed}: {counts:?}");
        assert_eq!(world.sim.counters().snapshot().open, 1, "seed {seed}");
        assert_eq!(world.sim.counters().snapshot().buffered, 0, "seed {seed}");
    }
}

#[test]
fn one_client_identifier_from_fifty_places_at_once_ends_with_one_connection() {
    for seed in 0..5 {
        let mut world = World::new(seed, 3, Config::default());
        let clients: Vec<_> = (0..50).map(|_| world.add(Options::new(Version::V5))).collect();
        for client in &clients {
            world.connect(*client, &Connect::new(Version::V5, "same"));
        }
        world.settle();
        let counts = world.counts();
        assert_eq!((counts.connected, counts.sessions, counts.connects), (1, 1, 50));
        assert_eq!(counts.takeovers, 49); // [MQTT-3.1.4-3]
        let left = clients.iter().filter(|client| world.clients[**client].client.is_connected());
        assert_eq!(left.count(), 1);
    }
}

#[test]
fn a_thousand_wills_at_once_all_arrive() {
    let mut world = World::new(1, 2, Config::default());
    let witness = world.connected(Version::V5, "witness");
    world.subscribe(witness, &[("gone/+", QOS_1)]);
    let clients: Vec<_> = (0..1_000).map(|_| world.add(Options::new(Version::V3_1_1))).collect();
    for client in &clients {
        let (name, topic) = (client.to_string(), format!("gone/{client}"));
        let mut connect = Connect::new(Version::V3_1_1, &name);
        connect.will = Some(Will { qos: QoS::AtLeastOnce, ..Will::new(&topic, b"x") });
        world.connect(*client, &connect);
    }
    world.settle();
    assert_eq!(world.counts().connected, 1_001);
    for client in &clients {
        world.cut(*client);
    }
    world.settle();
    let mut got = world.got(witness);
    got.sort();
    got.dedup();
    assert_eq!(got.len(), 1_000);
    let counts = world.counts();
    assert_eq!((counts.wills, counts.connected, counts.sessions, counts.stored), (1_000, 1, 1, 0));
}

#[test]
fn many_retained_messages_come_to_one_who_asks_for_all_while_others_go_on() {
    let mut config = Config::default();
    config.engine.limits.high_water = 50_000;
    config.engine.limits.low_water = 10_000;
    let mut world = World::new(1, 2, config);
    let publisher = world.connected(Version::V5, "publisher");
    for number in 0..5_000 {
        let mut kept = message(&format!("kept/{}/{number}", number % 100), "x", QoS::AtMostOnce);
        kept.retain = true;
        world.send(publisher, kept);
    }
    world.settle();
    assert_eq!(world.counts().retained, 5_000);
    let reader = world.connected(Version::V3_1_1, "reader");
    world.subscribe(reader, &[("#", QOS_1)]);
    for _ in 0..40 {
        world.settle();
    }
    let mut got = world.got(reader);
    got.sort();
    got.dedup();
    assert_eq!(got.len(), 5_000);
    assert_eq!((world.counts().stored, world.counts().dropped_queue_full), (0, 0));
}

#[test]
fn many_who_do_not_read_take_the_room_of_nobody_who_does() {
    let mut config = Config::default();
    config.engine.limits.high_water = 200_000;
    config.engine.limits.low_water = 50_000;
    config.engine.limits.buffered = 4_000_000;
    let mut world = World::new(1, 2, config);
    let witness = world.connected(Version::V5, "witness");
    let publisher = world.connected(Version::V5, "publisher");
    let stuck: Vec<_> =
        (0..40).map(|number| world.connected(Version::V3_1_1, &format!("stuck{number}"))).collect();
    for client in stuck.iter().chain([&witness]) {
        world.subscribe(*client, &[("a/0", QOS_0), ("a/1", QOS_1)]);
    }
    for client in &stuck {
        let remote = world.clients[*client].remote.unwrap();
        world.sim.set_reading(remote, false);
    }
    for _ in 0..100 {
        world.send(publisher, message("a/0", &"x".repeat(10_000), QoS::AtMostOnce));
        world.send(publisher, message("a/1", &"y".repeat(10_000), QoS::AtLeastOnce));
        world.run(std::time::Duration::from_millis(20));
    }
    world.settle();
    assert_eq!(world.got(witness).len(), 200);
    assert!(world.clients[witness].client.is_connected());
    assert_eq!(world.sim.counters().snapshot().dropped_over_limit, 0);
    for client in &stuck {
        let remote = world.clients[*client].remote.unwrap();
        world.sim.set_reading(remote, true);
    }
    for _ in 0..40 {
        world.settle();
    }
    let counts = (world.counts(), world.sim.counters().snapshot());
    assert_eq!((counts.0.stored, counts.0.connected), (0, 42), "{counts:?}");
}
