//! The proxy under the simulator: this side plays clients and servers.

mod hooked;

use std::sync::Arc;
use std::time::Duration;

use mqway_codec::{
    Connack, Connect, Decoder, Disconnect, Packet, PacketId, PropertiesBuf, Property, Publish, QoS,
    ReasonCode, Version,
};
use mqway_engine::sim::{Remote, Sim};
use mqway_engine::{Limits as EngineLimits, Target};
use mqway_transport::{ClientOptions, ServerOptions, websocket};

use crate::core::{Mail, ProxyCore, Shared};
use crate::upstreams::Upstreams;
use crate::{Config, Counters, Direction, LARGEST_PACKET, Limits, Upstream};

const SECOND: Duration = Duration::from_secs(1);

struct Rig {
    sim: Sim<ProxyCore<()>>,
    counters: Arc<Counters>,
}

fn target(port: u16) -> Target {
    Upstream::tcp("upstream", port).target
}

impl Rig {
    fn new(seed: u64, upstreams: u16, limits: Limits) -> Rig {
        Rig::with_engine(seed, upstreams, limits, EngineLimits::default(), ServerOptions::default())
    }

    /// One whose time limits are short, so that little simulated time passes until all is over.
    fn hasty(seed: u64) -> Rig {
        let short = Duration::from_millis(200);
        let limits =
            Limits { connect_time: short, dial_time: short, connack_time: short, ..Limits::default() };
        let engine = EngineLimits { close_time: short, ..EngineLimits::default() };
        Rig::with_engine(seed, 1, limits, engine, ServerOptions::default())
    }

    fn with_engine(
        seed: u64,
        upstreams: u16,
        limits: Limits,
        engine: EngineLimits,
        listener: ServerOptions,
    ) -> Rig {
        let upstreams = (1..=upstreams).map(|port| Upstream::tcp("upstream", port)).collect();
        let config = Config { upstreams, limits, ..Config::default() };
        Rig::with_config(seed, &config, engine, listener)
    }

    fn with_config(seed: u64, config: &Config, engine: EngineLimits, listener: ServerOptions) -> Rig {
        let shared = Shared::new(config);
        let counters = shared.counters.clone();
        let mut sim = Sim::new(seed, 2, engine, vec![listener], |_| ProxyCore::new(shared.clone(), ()));
        for upstream in &config.upstreams {
            sim.serve(upstream.target.clone());
        }
        Rig { sim, counters }
    }

    fn one(seed: u64) -> Rig {
        Rig::new(seed, 1, Limits::default())
    }

    fn client(&mut self) -> Remote {
        self.sim.connect(0, None).unwrap()
    }

    /// A client and its upstream after CONNECT and CONNACK.
    fn session(&mut self, version: Version) -> (Remote, Remote) {
        let client = self.client();
        self.sim.write(client, &connect(version, "c"));
        let upstream = self.dialled(1);
        assert_eq!(self.read(upstream), connect(version, "c"));
        self.sim.write(upstream, &connack(version));
        assert_eq!(self.read(client), connack(version));
        (client, upstream)
    }

    fn dialled(&mut self, port: u16) -> Remote {
        self.sim.run(SECOND);
        let mut dialled = self.sim.take_dialled(&target(port));
        assert_eq!(dialled.len(), 1);
        dialled.remove(0)
    }

    fn read(&mut self, remote: Remote) -> Vec<u8> {
        self.sim.run(SECOND);
        self.sim.read(remote)
    }

    fn expect_all_gone(&mut self) {
        self.sim.run(20 * SECOND);
        assert_eq!(self.sim.connections(), 0);
        assert_eq!(self.counters.snapshot().clients, 0);
        assert_eq!(self.sim.counters().snapshot().buffered, 0);
    }
}

fn bytes(packet: Packet<'_>, version: Version) -> Vec<u8> {
    let mut bytes = Vec::new();
    packet.encode(version, &mut bytes).unwrap();
    bytes
}

fn connect(version: Version, client_id: &str) -> Vec<u8> {
    bytes(Packet::Connect(Connect::new(version, client_id)), version)
}

fn connack(version: Version) -> Vec<u8> {
    bytes(Packet::Connack(Connack::new(false, ReasonCode::Success)), version)
}

fn publish(version: Version, payload: &[u8]) -> Vec<u8> {
    bytes(Packet::Publish(Publish::new("a/b", payload)), version)
}

fn disconnect(version: Version) -> Vec<u8> {
    bytes(Packet::Disconnect(Disconnect::default()), version)
}

const VERSIONS: [Version; 3] = [Version::V3_1, Version::V3_1_1, Version::V5];

#[test]
fn bytes_pass_as_they_came_in_both_directions_for_every_version_and_split() {
    for seed in 0..30 {
        for version in VERSIONS {
            let mut rig = Rig::one(seed);
            let (client, upstream) = rig.session(version);
            let mut text = Vec::new();
            for index in 0..2_000u32 {
                let payload = vec![index as u8; rig.sim.random().below(300)];
                text.extend(publish(version, &payload));
            }
            rig.sim.write(client, &text);
            rig.sim.write(upstream, &text);
            rig.sim.run(20 * SECOND);
            assert!(rig.sim.read(upstream) == text, "seed {seed}");
            assert!(rig.sim.read(client) == text, "seed {seed}");
            let passed =
                rig.counters.snapshot().passed(Direction::ToClient, mqway_codec::PacketType::Publish);
            assert_eq!(passed, 2_000);
        }
    }
}

#[test]
fn a_large_message_passes_while_it_comes_and_takes_little_memory() {
    let mut rig = Rig::one(7);
    let (client, upstream) = rig.session(Version::V5);
    let large = publish(Version::V5, &vec![9; 5_000_000]);
    let small = publish(Version::V5, b"behind it");
    rig.sim.write(client, &large);
    rig.sim.write(client, &small);
    let mut got = Vec::new();
    while got.len() < large.len() + small.len() {
        rig.sim.run(Duration::from_millis(5));
        got.extend(rig.sim.read(upstream));
        assert!(rig.sim.counters().snapshot().buffered < 1_000_000);
    }
    assert!(got == [large, small].concat());
    assert_eq!(rig.counters.snapshot().packets_passed_in_pieces, 1);
}

#[test]
fn what_a_client_sends_before_connack_waits_for_it() {
    let mut rig = Rig::one(1);
    let client = rig.client();
    let early = publish(Version::V3_1_1, b"early");
    rig.sim.write(client, &[connect(Version::V3_1_1, "c"), early.clone()].concat());
    let upstream = rig.dialled(1);
    assert_eq!(rig.read(upstream), connect(Version::V3_1_1, "c"));
    rig.sim.write(upstream, &connack(Version::V3_1_1));
    assert_eq!(rig.read(upstream), early);
}

#[test]
fn what_a_server_sends_right_behind_connack_is_not_held_back() {
    for seed in 0..20 {
        let mut rig = Rig::one(seed);
        let client = rig.client();
        rig.sim.write(client, &connect(Version::V5, "c"));
        let upstream = rig.dialled(1);
        let both = [connack(Version::V5), publish(Version::V5, b"queued")].concat();
        rig.sim.write(upstream, &both);
        if seed % 2 == 0 {
            rig.sim.end(upstream);
        }
        assert_eq!(rig.read(client), both, "seed {seed}");
    }
}

#[test]
fn connack_for_a_client_that_did_not_wait_for_it_is_no_fault() {
    for version in VERSIONS {
        let mut rig = Rig::one(1);
        let client = rig.client();
        rig.sim.write(client, &[connect(version, "c"), disconnect(version)].concat());
        let upstream = rig.dialled(1);
        rig.sim.write(upstream, &connack(version));
        assert_eq!(rig.read(client), connack(version));
        rig.sim.write(upstream, &connack(version));
        rig.sim.run(SECOND);
        assert_eq!(rig.counters.snapshot().upstream_faults, 1, "the second one is");
    }
}

#[test]
fn a_second_connack_is_a_fault_after_a_refusal_too() {
    let refused = bytes(Packet::Connack(Connack::new(false, ReasonCode::NotAuthorized)), Version::V5);
    let mut rig = Rig::one(1);
    let client = rig.client();
    rig.sim.write(client, &connect(Version::V5, "c"));
    let upstream = rig.dialled(1);
    rig.sim.write(upstream, &refused);
    assert_eq!(rig.read(client), refused);
    rig.sim.write(upstream, &connack(Version::V5));
    rig.sim.run(SECOND);
    assert!(!rig.sim.read(client).starts_with(&[0x20]));
    assert_eq!(rig.counters.snapshot().upstream_faults, 1);
}

#[test]
fn the_last_words_of_a_server_that_closes_unread_arrive() {
    for seed in 0..20 {
        let mut rig = Rig::one(seed);
        let (client, upstream) = rig.session(Version::V5);
        rig.sim.write(upstream, &disconnect(Version::V5));
        rig.sim.close_unread(upstream);
        rig.sim.write(client, &publish(Version::V5, &[1; 1000]).repeat(100));
        assert_eq!(rig.read(client), disconnect(Version::V5), "seed {seed}");
        rig.sim.end(client);
        rig.expect_all_gone();
    }
}

#[test]
fn a_killed_upstream_reaches_a_websocket_client_inside_a_packet_at_once() {
    let listener = ServerOptions { websocket: Some(Arc::default()), ..ServerOptions::default() };
    let mut rig = Rig::with_engine(1, 1, Limits::default(), EngineLimits::default(), listener);
    let client = rig.client();
    let request = b"GET /mqtt HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n";
    let connect = connect(Version::V3_1_1, "c");
    let header = [0x82, 0x80 | connect.len() as u8, 0, 0, 0, 0];
    rig.sim.write(client, &[&request[..], &header, &connect].concat());
    let upstream = rig.dialled(1);
    let large = publish(Version::V3_1_1, &[0; 200_000]);
    rig.sim.write(upstream, &[&connack(Version::V3_1_1), &large[..100_000]].concat());
    assert!(rig.read(client).len() > 90_000);
    rig.sim.cut(upstream);
    rig.sim.run(Duration::from_millis(50));
    assert!(rig.sim.is_ended(client));
    rig.expect_all_gone();
}

#[test]
fn upstreams_that_a_reload_has_removed_may_still_be_dialled() {
    let mut rig = Rig::one(1);
    // Its server never ends the WebSocket handshake.
    let websocket = Some(Arc::new(websocket::ClientOptions::new("upstream", 1, false, "/mqtt").unwrap()));
    let options = Arc::new(ClientOptions { websocket, ..ClientOptions::default() });
    let silent = |port| Upstream { options: options.clone(), ..Upstream::tcp("upstream", port) };
    let post = |rig: &mut Rig, list: Vec<Upstream>| {
        let list = Arc::new(Upstreams::new(list));
        (0..2).for_each(|worker| rig.sim.post(worker, Mail::Upstreams(list.clone())));
    };
    post(&mut rig, vec![silent(1), silent(1), silent(1)]);
    let client = rig.client();
    rig.sim.write(client, &connect(Version::V3_1_1, "c"));
    rig.sim.run(SECOND);
    post(&mut rig, Vec::new());
    rig.sim.run(40 * SECOND);
    assert_eq!(rig.counters.snapshot().upstream_failures, 3);
    assert_eq!(rig.sim.read(client), [0x20, 2, 0, 3]);
}

#[test]
fn enhanced_authentication_passes_before_connack() {
    let mut rig = Rig::one(1);
    let client = rig.client();
    rig.sim.write(client, &connect(Version::V5, "c"));
    let upstream = rig.dialled(1);
    rig.read(upstream);
    let mut method = PropertiesBuf::new();
    method.push(Property::AuthenticationMethod("m")).unwrap();
    let auth = mqway_codec::Auth::new(ReasonCode::ContinueAuthentication, method.as_properties());
    let auth = bytes(Packet::Auth(auth), Version::V5);
    rig.sim.write(upstream, &auth);
    assert_eq!(rig.read(client), auth);
    rig.sim.write(client, &auth);
    assert_eq!(rig.read(upstream), auth);
}

#[test]
fn disconnect_is_passed_on_and_then_both_sides_end() {
    for version in VERSIONS {
        let mut rig = Rig::one(1);
        let (client, upstream) = rig.session(version);
        rig.sim.write(client, &[publish(version, b"last"), disconnect(version)].concat());
        rig.sim.end(client);
        assert_eq!(rig.read(upstream), [publish(version, b"last"), disconnect(version)].concat());
        assert!(rig.sim.is_ended(upstream));
        rig.sim.end(upstream);
        rig.expect_all_gone();
        assert_eq!(rig.counters.snapshot().client_disconnects, 1);
        assert_eq!(rig.counters.snapshot().client_ends, 0);
    }
}

#[test]
fn a_client_that_has_left_takes_its_connections_with_it_at_once() {
    let mut rig = Rig::one(1);
    let (client, upstream) = rig.session(Version::V3_1_1);
    rig.sim.write(client, &disconnect(Version::V3_1_1));
    rig.sim.end(client);
    rig.sim.run(Duration::from_millis(100));
    rig.sim.end(upstream);
    rig.sim.run(Duration::from_millis(100));
    assert_eq!(rig.sim.connections(), 0);
}

#[test]
fn a_client_that_ends_without_disconnect_has_none_made_for_it() {
    let mut rig = Rig::one(1);
    let (client, upstream) = rig.session(Version::V5);
    rig.sim.end(client);
    assert_eq!(rig.read(upstream), b"");
    assert!(rig.sim.is_ended(upstream));
    rig.sim.end(upstream);
    rig.expect_all_gone();
    assert_eq!(rig.counters.snapshot().client_ends, 1);
}

#[test]
fn replies_arrive_after_the_client_has_shut_its_side() {
    for seed in 0..50 {
        let mut rig = Rig::one(seed);
        let client = rig.client();
        let ping = bytes(Packet::Pingreq, Version::V3_1_1);
        rig.sim.write(client, &[connect(Version::V3_1_1, "c"), ping.clone()].concat());
        rig.sim.end(client);
        let upstream = rig.dialled(1);
        rig.sim.write(upstream, &connack(Version::V3_1_1));
        let pong = bytes(Packet::Pingresp, Version::V3_1_1);
        assert_eq!(rig.read(upstream), [connect(Version::V3_1_1, "c"), ping].concat(), "seed {seed}");
        rig.sim.write(upstream, &pong);
        rig.sim.end(upstream);
        assert_eq!(rig.read(client), [connack(Version::V3_1_1), pong].concat(), "seed {seed}");
        assert!(rig.sim.is_ended(client));
        rig.expect_all_gone();
    }
}

#[test]
fn a_killed_upstream_ends_its_client_and_a_killed_client_its_upstream() {
    let mut rig = Rig::one(1);
    let (client, upstream) = rig.session(Version::V3_1_1);
    rig.sim.cut(upstream);
    rig.sim.run(Duration::from_millis(20));
    assert!(rig.sim.is_ended(client));
    rig.sim.end(client);
    rig.expect_all_gone();

    let (client, upstream) = rig.session(Version::V3_1_1);
    rig.sim.write(client, &publish(Version::V3_1_1, b"last"));
    rig.sim.run(SECOND);
    rig.sim.cut(client);
    assert_eq!(rig.read(upstream), publish(Version::V3_1_1, b"last"));
    assert!(rig.sim.is_ended(upstream));
    rig.sim.end(upstream);
    rig.expect_all_gone();
}

#[test]
fn without_an_upstream_each_version_is_refused_in_its_own_words() {
    for (version, start) in [
        (Version::V3_1, &[0x20, 2, 0, 3][..]),
        (Version::V3_1_1, &[0x20, 2, 0, 3]),
        (Version::V5, &[0x20, 0x30, 0, 0x88]),
    ] {
        let mut rig = Rig::new(1, 2, Limits::default());
        rig.sim.stop_serving(&target(1));
        rig.sim.stop_serving(&target(2));
        let client = rig.client();
        rig.sim.write(client, &connect(version, "c"));
        let answer = rig.read(client);
        assert!(answer.starts_with(start), "{answer:x?}");
        assert!(rig.sim.is_ended(client));
        rig.sim.end(client);
        rig.expect_all_gone();
        assert_eq!(rig.counters.snapshot().upstream_unavailable, 1);
        assert_eq!(rig.counters.snapshot().upstream_failures, 2);
    }
}

#[test]
fn another_upstream_serves_where_the_first_choice_is_down() {
    let mut rig = Rig::new(1, 2, Limits::default());
    rig.sim.stop_serving(&target(1));
    for index in 0..20 {
        let client = rig.client();
        rig.sim.write(client, &connect(Version::V3_1_1, &format!("client {index}")));
        rig.dialled(2);
    }
    let failovers = rig.counters.snapshot().upstream_failovers;
    assert!((1..20).contains(&failovers), "one that failed is passed over for a while: {failovers}");
}

#[test]
fn first_packets_that_are_no_connect_are_refused_and_nothing_is_dialled() {
    let v5_malformed = b"\x10\x0e\x00\x04MQTT\x05\x03\x00\x3c\x00\x00\x01c"; // reserved flag [MQTT-3.1.2-3]
    for (first, answer) in [
        (&publish(Version::V3_1_1, b"x")[..], &b""[..]), // [MQTT-3.1.0-1]
        (b"GET / HTTP/1.1\r\n\r\n", b""),
        (b"\x10\xff\xff\xff\xff\xff", b""),
        (b"\x10\xff\xff\xff\x7f", b""),
        (b"\x10\x0c\x00\x04NOPE\x04\x02\x00\x3c\x00\x00", b""), // [MQTT-3.1.2-1]
        (b"\x10\x0c\x00\x04MQTT\x02\x02\x00\x3c\x00\x00", b"\x20\x02\x00\x01"), // [MQTT-3.1.2-2]
        (b"\x10\x0d\x00\x04MQTT\x06\x02\x00\x3c\x00\x00\x00", b"\x20"),
        (v5_malformed, b"\x20"),
    ] {
        let mut rig = Rig::one(1);
        let client = rig.client();
        rig.sim.write(client, first);
        rig.sim.end(client);
        let got = rig.read(client);
        assert!(got.starts_with(answer) && got.is_empty() == answer.is_empty(), "{first:x?}: {got:x?}");
        assert!(rig.sim.is_ended(client));
        assert!(rig.sim.take_dialled(&target(1)).is_empty());
        rig.expect_all_gone();
        assert_eq!(rig.counters.snapshot().connects_refused, 1);
    }
}

#[test]
fn a_client_without_connect_is_ended_in_time() {
    let mut rig = Rig::one(1);
    let client = rig.client();
    rig.sim.write(client, &connect(Version::V5, "slow")[..5]);
    rig.sim.run(11 * SECOND);
    assert!(rig.sim.is_ended(client));
    assert_eq!(rig.counters.snapshot().connect_timeouts, 1);
}

#[test]
fn an_upstream_that_sends_no_connack_is_given_up() {
    let mut rig = Rig::one(1);
    let client = rig.client();
    rig.sim.write(client, &connect(Version::V3_1_1, "c"));
    rig.sim.run(31 * SECOND);
    assert_eq!(rig.sim.read(client), [0x20, 2, 0, 3]);
    assert_eq!(rig.counters.snapshot().connack_timeouts, 1);
}

#[test]
fn a_second_connect_ends_the_connection() {
    for (version, answer) in [(Version::V3_1_1, &b""[..]), (Version::V5, &[0xe0, 1, 0x82])] {
        let mut rig = Rig::one(1);
        let (client, upstream) = rig.session(version);
        rig.sim.write(client, &connect(version, "c"));
        assert_eq!(rig.read(client), answer); // [MQTT-3.1.0-2]
        assert_eq!(rig.counters.snapshot().second_connects, 1);
        assert_eq!(rig.sim.read(upstream), b"");
        assert!(rig.sim.is_ended(upstream));
    }
}

#[test]
fn packets_of_the_other_side_and_malformed_ones_end_the_connection() {
    let suback = b"\x90\x03\x00\x01\x00";
    for packet in [&suback[..], b"\xd0\x00", b"\x20\x02\x00\x00", b"\x30\x03\x00\x01+", b"\x36\x00"] {
        let mut rig = Rig::one(1);
        let (client, upstream) = rig.session(Version::V3_1_1);
        rig.sim.write(client, packet);
        rig.sim.run(SECOND);
        assert!(rig.sim.is_ended(client) && rig.sim.is_ended(upstream), "{packet:x?}");
        assert_eq!(rig.counters.snapshot().client_faults, 1);
    }
    for packet in [&connect(Version::V3_1_1, "c")[..], b"\xc0\x00", b"\x82\x00", b"\x20\x02\x00\x00"] {
        let mut rig = Rig::one(1);
        let (client, upstream) = rig.session(Version::V3_1_1);
        rig.sim.write(upstream, packet);
        rig.sim.run(SECOND);
        assert!(rig.sim.is_ended(client) && rig.sim.is_ended(upstream), "{packet:x?}");
        assert_eq!(rig.counters.snapshot().upstream_faults, 1);
    }
}

#[test]
fn a_server_that_does_not_know_5_0_may_say_so_in_3_1_1() {
    let mut rig = Rig::one(1);
    let client = rig.client();
    rig.sim.write(client, &connect(Version::V5, "c"));
    let upstream = rig.dialled(1);
    rig.sim.write(upstream, &[0x20, 2, 0, 1]);
    rig.sim.end(upstream);
    assert_eq!(rig.read(client), [0x20, 2, 0, 1]);
    assert_eq!(rig.counters.snapshot().connacks_refused, 1);
}

#[test]
fn a_limit_on_packets_is_announced_to_both_sides_and_kept() {
    let mut rig = Rig::new(1, 1, Limits { packet: 1_000, ..Limits::default() });
    let client = rig.client();
    rig.sim.write(client, &connect(Version::V5, "c"));
    let upstream = rig.dialled(1);
    let passed = rig.read(upstream);
    let (packet, _) = Decoder::new(LARGEST_PACKET).next(&passed).unwrap().unwrap();
    let Packet::Connect(connect) = packet else { panic!("{packet:?}") };
    assert_eq!(connect.properties.maximum_packet_size().unwrap().get(), 1_000);
    rig.sim.write(upstream, &connack(Version::V5));
    let passed = rig.read(client);
    let (packet, _) = Decoder::with_version(Version::V5, LARGEST_PACKET).next(&passed).unwrap().unwrap();
    let Packet::Connack(connack) = packet else { panic!("{packet:?}") };
    assert_eq!(connack.properties.maximum_packet_size().unwrap().get(), 1_000);
    let fits = publish(Version::V5, &[0; 900]);
    rig.sim.write(client, &fits);
    assert_eq!(rig.read(upstream), fits);
    rig.sim.write(client, &publish(Version::V5, &[0; 1_000])[..10]);
    assert_eq!(rig.read(client), [0xe0, 1, 0x95]);
    assert_eq!(rig.counters.snapshot().packets_too_large, 1);
}

#[test]
fn a_reader_that_stops_pauses_the_other_side_and_loses_nothing() {
    let mut rig = Rig::one(5);
    let (client, upstream) = rig.session(Version::V3_1_1);
    rig.sim.set_reading(client, false);
    let text = publish(Version::V3_1_1, &[1; 1_000]).repeat(3_000);
    rig.sim.write(upstream, &text);
    rig.sim.run(5 * SECOND);
    // A buffer may be twice as large as what lies in it.
    assert!(rig.sim.counters().snapshot().buffered < 2 * 500_000);
    assert!(rig.counters.snapshot().pauses > 0);
    rig.sim.set_reading(client, true);
    rig.sim.run(30 * SECOND);
    assert!(rig.sim.read(client) == text);
}

#[test]
fn a_stop_refuses_those_who_wait_for_connack() {
    for (version, answer) in [(Version::V3_1_1, &[0x20, 2, 0, 3][..]), (Version::V5, &[0x20, 3, 0, 0x88, 0])]
    {
        let mut rig = Rig::one(5);
        let client = rig.client();
        rig.sim.write(client, &connect(version, "c"));
        rig.dialled(1);
        rig.sim.stop();
        assert_eq!(rig.read(client), answer);
    }
}

/// A SUBSCRIBE of 5.0 to so many filters, each 203 bytes of it.
fn large_subscribe(filters: usize) -> Vec<u8> {
    let filter = [&[0, 200][..], &[b'a'; 200], &[0]].concat();
    let body = [&[0, 1, 0][..], &filter.repeat(filters)].concat();
    let length = [body.len() as u8 & 0x7f | 0x80, (body.len() >> 7) as u8 | 0x80, (body.len() >> 14) as u8];
    [&[0x82][..], &length, &body].concat()
}

#[test]
fn a_subscribe_larger_than_what_is_kept_of_a_connection_is_too_large() {
    let mut rig = Rig::one(5);
    let (client, upstream) = rig.session(Version::V5);
    let packet = large_subscribe(6_000);
    assert!(packet.len() > 1 << 20);
    rig.sim.write(client, &packet);
    assert_eq!(rig.read(client), [0xe0, 1, 0x95]);
    assert_eq!(rig.read(upstream), b"");
    assert_eq!(rig.counters.snapshot().packets_too_large, 1);
    assert_eq!(rig.counters.snapshot().client_ends, 0);
}

#[test]
fn a_subscribe_of_nearly_what_is_kept_of_a_connection_passes() {
    let mut rig = Rig::one(5);
    let (client, upstream) = rig.session(Version::V5);
    let packet = large_subscribe(5_150);
    assert!((1 << 20) - 64 * 1024 < packet.len() && packet.len() < 1 << 20);
    rig.sim.write(client, &packet);
    rig.sim.run(5 * SECOND);
    assert!(rig.sim.read(upstream) == packet);
}

#[test]
fn a_stop_tells_clients_of_5_0_and_ends_all() {
    let mut rig = Rig::one(5);
    let (new, _) = rig.session(Version::V5);
    let (old, upstream) = rig.session(Version::V3_1_1);
    rig.sim.stop();
    assert_eq!(rig.read(new), [0xe0, 1, 0x8b]);
    assert_eq!(rig.read(old), b"");
    assert!(rig.sim.is_ended(old) && rig.sim.is_ended(new));
    assert_eq!(rig.read(upstream), b"");
    rig.expect_all_gone();
}

#[test]
fn qos_2_passes_with_its_identifiers_as_they_are() {
    let mut rig = Rig::one(5);
    let (client, upstream) = rig.session(Version::V5);
    let id = PacketId::new(4711).unwrap();
    let mut message = Publish::new("a", b"x");
    (message.qos, message.packet_id) = (QoS::ExactlyOnce, Some(id));
    let ack = mqway_codec::Ack::new(id);
    for (from, to, packet) in [
        (client, upstream, Packet::Publish(message)),
        (upstream, client, Packet::Pubrec(ack)),
        (client, upstream, Packet::Pubrel(ack)),
        (upstream, client, Packet::Pubcomp(ack)),
    ] {
        let packet = bytes(packet, Version::V5);
        rig.sim.write(from, &packet);
        assert_eq!(rig.read(to), packet);
    }
}

/// Valid packets of any type, some of their bytes changed.
fn noise(random: &mut mqway_engine::sim::Random, version: Version) -> Vec<u8> {
    let id = PacketId::new(1 + random.below(3) as u16).unwrap();
    let ack = mqway_codec::Ack::new(id);
    let filter = [0x82, 0x08, 0, 1, 0, 3, b'a', b'/', b'#', 0];
    let mut packets = vec![
        connect(version, "c"),
        connack(version),
        publish(version, &vec![7; random.below(200_000)]),
        publish(version, b"x"),
        bytes(Packet::Puback(ack), version),
        bytes(Packet::Pubrel(ack), version),
        bytes(Packet::Pingreq, version),
        bytes(Packet::Pingresp, version),
        disconnect(version),
        filter.to_vec(),
    ];
    let mut chosen = packets.swap_remove(random.below(packets.len()));
    if random.below(3) == 0 {
        let at = random.below(chosen.len().min(20));
        chosen[at] = random.next_u64() as u8;
    }
    chosen
}

#[test]
fn whatever_both_sides_send_nothing_is_left_behind() {
    for seed in 0..400 {
        let mut rig = Rig::hasty(seed);
        let version = VERSIONS[rig.sim.random().below(3)];
        let client = rig.client();
        let mut remotes = vec![client];
        for _ in 0..rig.sim.random().below(30) {
            let remote = remotes[rig.sim.random().below(remotes.len())];
            let packet = noise(rig.sim.random(), version);
            rig.sim.write(remote, &packet);
            let reads = rig.sim.random().below(4) > 0;
            rig.sim.set_reading(remote, reads);
            let some = Duration::from_millis(rig.sim.random().below(30) as u64);
            rig.sim.run(some);
            remotes.extend(rig.sim.take_dialled(&target(1)));
            match rig.sim.random().below(40) {
                0 => rig.sim.end(remote),
                1 => rig.sim.cut(remote),
                _ => {}
            }
            assert!(rig.sim.counters().snapshot().buffered < 2_000_000, "seed {seed}");
        }
        for remote in rig.sim.take_dialled(&target(1)).into_iter().chain(remotes) {
            rig.sim.end(remote);
        }
        for _ in 0..20 {
            rig.sim.run(Duration::from_millis(100));
            for remote in rig.sim.take_dialled(&target(1)) {
                rig.sim.end(remote);
            }
        }
        assert_eq!(rig.sim.connections(), 0, "seed {seed}");
        assert_eq!(rig.sim.counters().snapshot().buffered, 0, "seed {seed}");
        assert_eq!(rig.counters.snapshot().clients, 0, "seed {seed}");
    }
}
