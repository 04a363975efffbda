//! Whose sessions are.

use std::sync::Arc;

use mqway_codec::{Connect, QoS, SubscribeOptions, Version};
use mqway_hooks::{Authenticate, Client, Hooks, Later, Login, Verdict};
use mqway_session::client::{Event, Options};

use crate::Config;
use crate::tests::world::*;

/// Believes everybody.
struct Trusting;

impl Authenticate for Trusting {
    fn name(&self) -> &str {
        "trusting"
    }

    fn authenticate(&self, _: &mut Client, _: &mut Login<'_>, _: Later<'_>) -> Verdict {
        Verdict::Allow
    }
}

/// Connects as this user, and asks for the session that there is. Whether it was there.
fn resume(world: &mut World, client: usize, user: Option<&str>) -> bool {
    let mut connect = Connect::new(Version::V3_1_1, "phone");
    (connect.clean_start, connect.user_name) = (false, user);
    world.connect(client, &connect);
    world.settle();
    let connected = world.clients[client].events.drain(..).find_map(|event| match event {
        Event::Connected { session_present, .. } => Some(session_present),
        _ => None,
    });
    connected.expect("everybody is let in")
}

/// 5.0 §5.4.2
#[test]
fn nobody_goes_on_with_the_session_of_another_user() {
    let mut hooks = Hooks::new();
    hooks.add_authenticate(Arc::new(Trusting));
    let mut world = World::new(1, 2, Config { hooks, ..Config::default() });
    let sender = world.connected(Version::V5, "sender");
    let [alice, mallory] = [(); 2].map(|()| world.add(Options::new(Version::V3_1_1)));

    // What nobody owned may go on with a user name.
    assert!(!resume(&mut world, alice, None));
    assert!(resume(&mut world, alice, Some("alice")));
    world.subscribe(alice, &[("to/alice", SubscribeOptions::new(QoS::AtLeastOnce))]);
    world.cut(alice);
    world.settle();
    world.publish(sender, message("to/alice", "first", QoS::AtLeastOnce));
    assert!(resume(&mut world, alice, Some("alice")));
    assert_eq!(world.got(alice), ["to/alice first"]);
    world.cut(alice);
    world.settle();
    world.publish(sender, message("to/alice", "second", QoS::AtLeastOnce));

    for user in [Some("mallory"), None] {
        assert!(!resume(&mut world, mallory, user), "as {user:?}");
        world.publish(sender, message("to/alice", "third", QoS::AtLeastOnce));
        assert!(world.got(mallory).is_empty());
        world.cut(mallory);
        world.settle();
    }
}
