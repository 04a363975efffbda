//! Enhanced authentication (5.0 §4.12): its happy path, and every wrong turn.

use std::sync::Arc;
use std::time::Duration;

use mqway_codec::{Auth, Connect, Packet, PropertiesBuf, Property, QoS, ReasonCode, Version, Will};
use mqway_engine::sim::Remote;
use mqway_hooks::{Client, Denial, Exchange, Hooks, Method, Phase, Step};
use mqway_session::client::{Event, Options};

use super::script::{Does, Script};
use crate::Config;
use crate::tests::world::*;

/// Asks for as many words as its name says, the last of which is `open`.
struct Words;

struct Spoken(usize);

impl Method for Words {
    fn name(&self) -> &str {
        "WORDS"
    }

    fn begin(&self, _: &mut Client) -> Box<dyn Exchange> {
        Box::new(Spoken(0))
    }
}

impl Exchange for Spoken {
    fn take(&mut self, client: &mut Client, data: Option<&[u8]>) -> Step {
        self.0 += 1;
        match data {
            Some(b"open") => {
                client.user_name = Some("ali".into());
                client.lifetime = Some(Duration::from_secs(60));
                Step::Done(Some(b"welcome".to_vec()))
            }
            Some(b"panic") => panic!("on purpose"),
            Some(b"no") => Step::Deny(Denial::not_authorized("words").say("wrong word")),
            Some(b"long") => Step::Continue(vec![b'x'; 60_000]),
            _ => Step::Continue(format!("word {}?", self.0).into_bytes()),
        }
    }
}

fn hooks() -> Hooks {
    let mut hooks = Script::at(&[]).hooks();
    hooks.add_method(Arc::new(Words));
    hooks
}

fn said(data: &[u8]) -> PropertiesBuf {
    properties(&[Property::AuthenticationMethod("WORDS"), Property::AuthenticationData(data)])
}

fn auth(reason: ReasonCode, data: &[u8]) -> Vec<u8> {
    let properties = said(data);
    encoded(Packet::Auth(Auth::new(reason, properties.as_properties())))
}

fn encoded(packet: Packet<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    packet.encode(Version::V5, &mut bytes).unwrap();
    bytes
}

fn connect(name: &str, data: &[u8]) -> Vec<u8> {
    let properties = said(data);
    encoded(Packet::Connect(asking(name, &properties)))
}

fn asking<'a>(name: &'a str, properties: &'a PropertiesBuf) -> Connect<'a> {
    let mut connect = Connect::new(Version::V5, name);
    connect.properties = properties.as_properties();
    connect
}

/// A connection that has sent this, and what came back.
fn after(world: &mut World, bytes: &[u8]) -> (Remote, Vec<u8>) {
    let remote = world.sim.connect(0, None).unwrap();
    let answer = say(world, remote, bytes);
    (remote, answer)
}

fn say(world: &mut World, remote: Remote, bytes: &[u8]) -> Vec<u8> {
    world.sim.write(remote, bytes);
    world.settle();
    world.sim.read(remote)
}

#[test]
fn each_side_has_its_turn_until_the_method_is_content() {
    for workers in [1, 3] {
        let mut world = World::new(1, workers, Config { hooks: hooks(), ..Config::default() });
        let client = world.add(Options::new(Version::V5));
        let first = said(b"hello");
        let connect = asking("x", &first);
        world.connect(client, &connect);
        world.settle();
        let now = world.sim.now();
        let far = &mut world.clients[client];
        // [MQTT-4.12.0-2], [MQTT-4.12.0-5]
        assert!(
            matches!(&far.events[..], [Event::Auth { reason: ReasonCode::ContinueAuthentication, properties }]
            if properties.as_properties().authentication_data() == Some(b"word 1?")
                && properties.as_properties().authentication_method() == Some("WORDS"))
        );
        far.client.continue_authentication(now, b"open").unwrap();
        world.settle();
        let far = &mut world.clients[client];
        assert!(matches!(&far.events[1], Event::Connected { properties, .. }
            if properties.as_properties().authentication_data() == Some(b"welcome")
                && properties.as_properties().authentication_method() == Some("WORDS")));
        // Again, in the midst of everything else. [MQTT-4.12.1-1]
        far.client.reauthenticate(now, "WORDS", b"it is me").unwrap();
        world.publish(client, message("a", "", QoS::AtLeastOnce));
        let now = world.sim.now();
        world.clients[client].client.continue_authentication(now, b"open").unwrap();
        world.settle();
        let done = |event: &Event| matches!(event, Event::Auth { reason: ReasonCode::Success, .. });
        assert!(world.clients[client].events.iter().any(done));
        assert!(world.clients[client].client.is_connected());
    }
}

#[test]
fn a_method_may_be_content_at_once() {
    let mut world = World::new(1, 2, Config { hooks: hooks(), ..Config::default() });
    let (_, answer) = after(&mut world, &connect("x", b"open"));
    assert_eq!(answer[..4], [0x20, answer[1], 0, 0]);
}

#[test]
fn whoever_takes_a_wrong_turn_is_refused_and_closed() {
    let other = properties(&[Property::AuthenticationMethod("OTHER")]);
    let other = encoded(Packet::Auth(Auth::new(ReasonCode::ContinueAuthentication, other.as_properties())));
    // What follows CONNECT, and the reason in CONNACK.
    let cases: [(&[u8], u8); 8] = [
        (&auth(ReasonCode::ContinueAuthentication, b"no"), 0x87), // [MQTT-4.12.0-4]
        (&auth(ReasonCode::ContinueAuthentication, b"panic"), 0x83),
        (&auth(ReasonCode::ReAuthenticate, b"open"), 0x82),
        (&other, 0x8C),
        (&connect("x", b"open"), 0x82),
        (b"\xc0\0", 0x82), // [MQTT-3.1.2-30]
        (b"\x30\x04\0\x01a\0", 0x82),
        (b"\xf0\x01", 0),
    ];
    for (bytes, reason) in cases {
        let mut world = World::new(1, 2, Config { hooks: hooks(), ..Config::default() });
        let (remote, answer) = after(&mut world, &connect("x", b"hello"));
        assert_eq!(answer[0], 0xF0);
        let answer = say(&mut world, remote, bytes);
        if reason == 0 {
            // It is not whole: nothing happens until time is up.
            assert!(answer.is_empty() && !world.sim.is_ended(remote));
            world.sim.run(Duration::from_secs(11));
            world.settle();
            assert_eq!(world.counts().connect_timeouts, 1);
        } else {
            assert_eq!((answer[0], answer[3]), (0x20, reason), "{bytes:x?}");
        }
        assert!(world.sim.is_ended(remote));
        assert_eq!((world.counts().connects, world.counts().sessions), (0, 0));
    }
    for (bytes, reason) in [(connect("x", b"no"), 0x87), (connect("x", b"panic"), 0x83)] {
        let mut world = World::new(1, 2, Config { hooks: hooks(), ..Config::default() });
        let (remote, answer) = after(&mut world, &bytes);
        assert_eq!((answer[0], answer[3]), (0x20, reason));
        assert!(world.sim.is_ended(remote));
    }
}

#[test]
fn a_client_that_leaves_in_the_middle_leaves_nothing() {
    let mut world = World::new(1, 2, Config { hooks: hooks(), ..Config::default() });
    let (remote, _) = after(&mut world, &connect("x", b"hello"));
    assert!(say(&mut world, remote, b"\xe0\0").is_empty());
    assert!(world.sim.is_ended(remote));
    let (remote, _) = after(&mut world, &connect("x", b"hello"));
    world.sim.cut(remote);
    // The goodbyes of the first are over by then.
    world.sim.run(Duration::from_secs(6));
    assert_eq!(world.sim.connections(), 0);
}

#[test]
fn what_is_larger_than_the_client_takes_is_not_sent() {
    let mut world = World::new(1, 1, Config { hooks: hooks(), ..Config::default() });
    let small = properties(&[
        Property::AuthenticationMethod("WORDS"),
        Property::AuthenticationData(b"long"),
        Property::MaximumPacketSize(std::num::NonZeroU32::new(100).unwrap()),
    ]);
    let connect = asking("x", &small);
    let (remote, answer) = after(&mut world, &encoded(Packet::Connect(connect)));
    assert_eq!((answer[0], answer[3]), (0x20, 0x95)); // [MQTT-3.1.2-24]
    assert!(world.sim.is_ended(remote));
}

#[test]
fn to_fail_again_ends_the_connection() {
    let other = properties(&[Property::AuthenticationMethod("OTHER")]);
    let other = encoded(Packet::Auth(Auth::new(ReasonCode::ReAuthenticate, other.as_properties())));
    let cases: [(&[u8], u8); 4] = [
        (&auth(ReasonCode::ReAuthenticate, b"no"), 0x87), // [MQTT-4.12.1-2]
        (&auth(ReasonCode::ReAuthenticate, b"panic"), 0x83),
        (&auth(ReasonCode::ContinueAuthentication, b"open"), 0x82),
        (&other, 0x8C), // [MQTT-4.12.1-1]
    ];
    for (bytes, reason) in cases {
        let mut world = World::new(1, 2, Config { hooks: hooks(), ..Config::default() });
        let (remote, _) = after(&mut world, &connect("x", b"open"));
        let answer = say(&mut world, remote, bytes);
        assert_eq!((answer[0], answer[2]), (0xE0, reason), "{bytes:x?}");
        assert!(world.sim.is_ended(remote));
    }
    // Who named no method has none to use again. [MQTT-4.12.0-6], [MQTT-4.12.0-7]
    let mut world = World::new(1, 1, Config { hooks: hooks(), ..Config::default() });
    let (remote, _) = after(&mut world, &encoded(Packet::Connect(Connect::new(Version::V5, "x"))));
    let answer = say(&mut world, remote, &auth(ReasonCode::ReAuthenticate, b"open"));
    assert_eq!((answer[0], answer[2]), (0xE0, 0x82));
}

#[test]
fn who_is_authenticated_by_a_method_is_asked_for_no_password_but_the_will_is_judged() {
    let script = Script::at(&[Phase::Authenticate, Phase::Publish])
        .when(Phase::Authenticate, "x", Does::Panics)
        .when(Phase::Publish, "slow", Does::Waits);
    let mut hooks = script.hooks();
    hooks.add_method(Arc::new(Words));
    for (first, rest) in [(&b"open"[..], None), (b"hello", Some(&b"open"[..]))] {
        let mut world = World::new(1, 3, Config { hooks: hooks.clone(), ..Config::default() });
        let told = said(first);
        let mut packet = asking("x", &told);
        packet.will = Some(Will::new("slow", b""));
        let (remote, mut answer) = after(&mut world, &encoded(Packet::Connect(packet)));
        if let Some(rest) = rest {
            assert_eq!(answer[0], 0xF0);
            answer = say(&mut world, remote, &auth(ReasonCode::ContinueAuthentication, rest));
        }
        assert!(answer.is_empty());
        assert_eq!(script.log(), ["publish slow"]);
        // What it sends meanwhile is looked at later.
        world.sim.write(remote, b"\xc0\0");
        script.ticket().allow();
        world.settle();
        let answer = world.sim.read(remote);
        assert_eq!((answer[0], answer[3]), (0x20, 0));
        assert_eq!(answer[answer.len() - 2..], [0xD0, 0]);
    }
}

#[test]
fn when_its_authentication_is_over_a_connection_ends_unless_it_was_renewed() {
    let mut world = World::new(1, 2, Config { hooks: hooks(), ..Config::default() });
    let (kept, _) = after(&mut world, &connect("kept", b"open"));
    let (lost, _) = after(&mut world, &connect("lost", b"open"));
    world.sim.run(Duration::from_secs(50));
    let answer = say(&mut world, kept, &auth(ReasonCode::ReAuthenticate, b"open"));
    assert_eq!(answer[0], 0xF0);
    say(&mut world, lost, b"\xc0\0");
    world.sim.run(Duration::from_secs(15));
    let answer = world.sim.read(lost);
    assert_eq!((answer[0], answer[2]), (0xE0, 0xA0));
    assert!(world.sim.is_ended(lost) && !world.sim.is_ended(kept));
    assert_eq!(world.counts().authentications_expired, 1);
    world.sim.run(Duration::from_secs(50));
    assert_eq!(world.sim.read(kept)[0], 0xE0);
    assert!(world.sim.is_ended(kept));
}

#[test]
fn large_connects_of_strangers_leave_room_for_small_ones() {
    let mut world = World::new(1, 1, Config { hooks: hooks(), ..Config::default() });
    let long = "x".repeat(60_000);
    let padding = Property::UserProperty(&long, &long);
    let told = [Property::AuthenticationMethod("WORDS"), Property::AuthenticationData(b""), padding, padding];
    let told = properties(&told);
    let large = encoded(Packet::Connect(asking("x", &told)));
    let mut strangers: Vec<_> = (0..600).map(|_| world.sim.connect(0, None).unwrap()).collect();
    strangers.iter().for_each(|stranger| world.sim.write(*stranger, &large));
    world.settle();
    strangers.retain(|stranger| match &world.sim.read(*stranger)[..] {
        [0xf0, ..] => true,
        answer => {
            assert_eq!((answer[0], answer[3]), (0x20, 0x89), "{answer:x?}");
            false
        }
    });
    assert!((300..600).contains(&strangers.len()), "{}", strangers.len());
    let (_, answer) = after(&mut world, &connect("small", b""));
    assert_eq!(answer[0], 0xf0);
    strangers.into_iter().for_each(|stranger| world.sim.cut(stranger));
    world.settle();
    assert_eq!(after(&mut world, &large).1[0], 0xf0, "the others have left");
}
