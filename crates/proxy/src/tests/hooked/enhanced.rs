//! Enhanced authentication (5.0 §4.12), which hooks play the server of where they know the method.

use mqway_codec::Auth;
use mqway_hooks::{Exchange, Method, Step};

use super::*;

/// Asks for a word twice; `three` as the second keeps the client for thirty seconds.
struct Words;

struct Talk(usize);

impl Method for Words {
    fn name(&self) -> &str {
        "WORDS"
    }

    fn begin(&self, _: &mut Client) -> Box<dyn Exchange> {
        Box::new(Talk(0))
    }
}

impl Exchange for Talk {
    fn take(&mut self, client: &mut Client, data: Option<&[u8]>) -> Step {
        self.0 += 1;
        match (self.0, data) {
            (1, Some(b"one")) => Step::Continue(b"more".to_vec()),
            (2, Some(b"two" | b"three")) => {
                client.user_name = Some("speaker".into());
                client.lifetime = (data == Some(b"three")).then_some(30 * SECOND);
                Step::Done(Some(b"well".to_vec()))
            }
            (_, Some(b"panic")) => panic!("on purpose"),
            _ => Step::Deny(Denial::not_authorized("wrong word").say("wrong word")),
        }
    }
}

fn hooks() -> Hooks {
    let mut hooks = Hooks::new();
    hooks.anonymous = false;
    hooks.add_method(Arc::new(Words));
    hooks
}

fn method_and(data: &[u8]) -> PropertiesBuf {
    let mut properties = PropertiesBuf::new();
    properties.push(Property::AuthenticationMethod("WORDS")).unwrap();
    properties.push(Property::AuthenticationData(data)).unwrap();
    properties
}

fn hello(data: &[u8]) -> Vec<u8> {
    connect_with(&[Property::AuthenticationMethod("WORDS"), Property::AuthenticationData(data)])
}

fn auth(reason: ReasonCode, data: &[u8]) -> Vec<u8> {
    let properties = method_and(data);
    bytes(Packet::Auth(Auth::new(reason, properties.as_properties())), Version::V5)
}

const CONTINUE: ReasonCode = ReasonCode::ContinueAuthentication;

fn let_in(rig: &mut Rig, last: &[u8]) -> (Remote, Remote) {
    let client = rig.client();
    rig.sim.write(client, &hello(b"one"));
    assert_eq!(rig.read(client), auth(CONTINUE, b"more"));
    assert!(rig.sim.take_dialled(&target(1)).is_empty());
    // What stands behind it waits.
    rig.sim.write(client, &[auth(CONTINUE, last), message(Version::V5, "a", Q0, 0, false)].concat());
    let upstream = rig.dialled(1);
    // The upstream hears nothing of the method, but who it is.
    let mut expected = Connect::new(Version::V5, "c");
    expected.user_name = Some("speaker");
    assert_eq!(rig.read(upstream), bytes(Packet::Connect(expected), Version::V5));
    rig.sim.write(upstream, &connack(Version::V5));
    assert_eq!(rig.read(upstream), message(Version::V5, "a", Q0, 0, false));
    // [MQTT-4.12.0-5]
    let got = rig.sim.read(client);
    let Ok(Packet::Connack(got)) = decode(Version::V5, &got) else { panic!("{got:x?}") };
    assert_eq!(got.properties.authentication_method(), Some("WORDS"));
    assert_eq!(got.properties.authentication_data(), Some(&b"well"[..]));
    (client, upstream)
}

#[test]
fn an_exchange_is_played_here_and_the_upstream_sees_a_plain_connect() {
    let mut rig = rig(1, hooks());
    let (client, upstream) = let_in(&mut rig, b"two");
    // Once more. (5.0 §4.12.1)
    rig.sim.write(client, &auth(ReasonCode::ReAuthenticate, b"one"));
    assert_eq!(rig.read(client), auth(CONTINUE, b"more"));
    rig.sim.write(client, &auth(CONTINUE, b"two"));
    assert_eq!(rig.read(client), auth(ReasonCode::Success, b"well"));
    assert_eq!(rig.sim.read(upstream), b"");
    rig.sim.write(client, &auth(ReasonCode::ReAuthenticate, b"wrong"));
    assert_eq!(rig.read(client), [0xe0, 1, 0x87]); // [MQTT-4.12.1-2]
    assert!(rig.sim.is_ended(upstream));
}

#[test]
fn an_authentication_lasts_as_long_as_it_was_given_for() {
    let mut rig = rig(1, hooks());
    let (client, _) = let_in(&mut rig, b"three");
    rig.sim.write(client, &auth(ReasonCode::ReAuthenticate, b"one"));
    rig.read(client);
    rig.sim.write(client, &auth(CONTINUE, b"three"));
    rig.read(client);
    rig.sim.run(25 * SECOND);
    assert!(!rig.sim.is_ended(client), "it was given anew");
    rig.sim.run(5 * SECOND);
    assert_eq!(rig.read(client), [0xe0, 1, 0xa0]);
    assert!(rig.sim.is_ended(client));
    rig.expect_all_gone();
}

#[test]
fn who_says_the_wrong_word_is_refused() {
    for text in [&[hello(b"wrong")][..], &[hello(b"one"), auth(CONTINUE, b"wrong")]] {
        let mut rig = rig(1, hooks());
        let client = rig.client();
        rig.sim.write(client, &text.concat());
        let got = rig.read(client);
        let refused = [&[0x20, 16, 0, 0x87, 13, 0x1f, 0, 10][..], b"wrong word"].concat();
        assert!(got.ends_with(&refused), "{got:x?}");
        assert!(rig.sim.is_ended(client));
        assert!(rig.sim.take_dialled(&target(1)).is_empty());
        rig.expect_all_gone();
    }
}

#[test]
fn a_client_that_leaves_or_falls_silent_in_the_middle_is_forgotten() {
    for ends in [true, false] {
        let mut rig = rig(1, hooks());
        let client = rig.client();
        rig.sim.write(client, &hello(b"one"));
        rig.read(client);
        if ends {
            rig.sim.end(client);
            rig.sim.run(SECOND);
        } else {
            rig.sim.run(10 * SECOND);
            assert_eq!(rig.counters.snapshot().connect_timeouts, 1);
        }
        assert!(rig.sim.is_ended(client));
        rig.expect_all_gone();
    }
}

#[test]
fn other_packets_and_methods_in_the_middle_are_refused() {
    let other = {
        let mut properties = PropertiesBuf::new();
        properties.push(Property::AuthenticationMethod("OTHER")).unwrap();
        bytes(Packet::Auth(Auth::new(CONTINUE, properties.as_properties())), Version::V5)
    };
    for (packet, code) in [(publish(Version::V5, b"x"), 0x82), (other, 0x8c), (vec![0xf1, 0], 0x81)] {
        let mut rig = rig(1, hooks());
        let client = rig.client();
        rig.sim.write(client, &hello(b"one"));
        rig.read(client);
        rig.sim.write(client, &packet);
        assert_eq!(rig.read(client)[3], code);
        assert!(rig.sim.is_ended(client));
        rig.expect_all_gone();
    }
}

#[test]
fn a_method_that_hooks_do_not_know_is_the_upstream_s() {
    let mut hooks = hooks();
    hooks.anonymous = true;
    let mut rig = rig(1, hooks);
    let client = rig.client();
    let method = Property::AuthenticationMethod("OTHER");
    rig.sim.write(client, &connect_with(&[method]));
    let upstream = rig.dialled(1);
    assert_eq!(rig.read(upstream), connect_with(&[method]));
    let mut properties = PropertiesBuf::new();
    properties.push(method).unwrap();
    let auth = bytes(Packet::Auth(Auth::new(CONTINUE, properties.as_properties())), Version::V5);
    for (from, to) in [(upstream, client), (client, upstream)] {
        rig.sim.write(from, &auth);
        assert_eq!(rig.read(to), auth);
    }
}

#[test]
fn large_connects_of_strangers_leave_room_for_small_ones() {
    let mut rig = rig(1, hooks());
    let long = "x".repeat(60_000);
    let padding = Property::UserProperty(&long, &long);
    let told =
        [Property::AuthenticationMethod("WORDS"), Property::AuthenticationData(b"one"), padding, padding];
    let large = connect_with(&told);
    let mut strangers: Vec<_> = (0..600).map(|_| rig.client()).collect();
    strangers.iter().for_each(|client| rig.sim.write(*client, &large));
    rig.sim.run(SECOND);
    strangers.retain(|client| {
        let got = rig.sim.read(*client);
        let is_asked = got == auth(CONTINUE, b"more");
        assert!(is_asked || (got[0], got[3]) == (0x20, 0x89), "{got:x?}");
        is_asked
    });
    assert!((300..600).contains(&strangers.len()), "{}", strangers.len());
    let_in(&mut rig, b"two");
    strangers.into_iter().for_each(|client| rig.sim.cut(client));
    let again = rig.client();
    rig.sim.write(again, &large);
    assert_eq!(rig.read(again), auth(CONTINUE, b"more"), "the others have left");
}
