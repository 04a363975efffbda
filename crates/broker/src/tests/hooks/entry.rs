//! Who comes in, whoever vouches for it; who is slowed down; and who was there before there were hooks.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use mqway_codec::{Connect, Packet, Property, QoS, ReasonCode, Version};
use mqway_hooks::{
    Admit, Authorize, Client, Denial, Exchange, Hooks, Later, Message, Method, Phase, Step, Verdict,
};
use mqway_session::client::Options;

use super::script::{Does, Script};
use super::waiting::set_hooks;
use crate::Config;
use crate::tests::world::*;

/// A method by which the client is whoever its data say.
struct Names;

impl Method for Names {
    fn name(&self) -> &str {
        "NAMES"
    }

    fn begin(&self, _: &mut Client) -> Box<dyn Exchange> {
        Box::new(Names)
    }
}

impl Exchange for Names {
    fn take(&mut self, client: &mut Client, data: Option<&[u8]>) -> Step {
        client.user_name = data.map(|data| String::from_utf8_lossy(data).into());
        Step::Done(None)
    }
}

/// Bans the client `pump` and the user `mallory`.
struct Bans;

fn banned(name: &str, bad: &str) -> Result<(), Denial> {
    if name == bad { Err(Denial::new(ReasonCode::Banned, "its name").say("banned")) } else { Ok(()) }
}

impl Admit for Bans {
    fn name(&self) -> &str {
        "bans"
    }

    fn knock(&self, client: &mut Client) -> Result<(), Denial> {
        banned(&client.client_id, "pump")
    }

    fn admit(&self, client: &mut Client, _: Later<'_>) -> Verdict {
        let judged = banned(client.user_name.as_deref().unwrap_or_default(), "mallory");
        judged.map_or_else(Verdict::Deny, |()| Verdict::Pass)
    }

    fn stay(&self, client: &mut Client) -> Result<(), Denial> {
        banned(client.user_name.as_deref().unwrap_or_default(), "mallory")
    }
}

#[test]
fn a_method_is_no_way_around_a_ban_and_passwords_are_not_asked_for() {
    for workers in [1, 3] {
        // It knows nobody.
        let passwords = Script::at(&[Phase::Authenticate]);
        let mut hooks = passwords.hooks();
        hooks.anonymous = false;
        hooks.add_method(Arc::new(Names));
        hooks.add_admit(Arc::new(Bans));
        let mut world = World::new(1, workers, Config { hooks, ..Config::default() });
        for (client_id, user, reason) in [("c", "ann", 0), ("c", "mallory", 0x8A), ("pump", "ann", 0x8A)] {
            let data = Property::AuthenticationData(user.as_bytes());
            let properties = properties(&[Property::AuthenticationMethod("NAMES"), data]);
            let mut connect = Connect::new(Version::V5, client_id);
            connect.properties = properties.as_properties();
            let mut bytes = Vec::new();
            Packet::Connect(connect).encode(Version::V5, &mut bytes).unwrap();
            let remote = world.sim.connect(0, None).unwrap();
            world.sim.write(remote, &bytes);
            world.settle();
            let answer = world.sim.read(remote);
            assert_eq!((answer[0], answer[3]), (0x20, reason), "{client_id} {user}");
        }
        assert!(passwords.log().is_empty());
        assert_eq!(world.counts().refusals().collect::<Vec<_>>(), [(ReasonCode::Banned, 2)]);
    }
}

#[test]
fn observers_hear_of_who_was_refused() {
    let denial = Denial::new(ReasonCode::BadUserNameOrPassword, "wrong");
    let script = Script::at(&[Phase::Authenticate, Phase::Refused, Phase::Connected]).when(
        Phase::Authenticate,
        "x",
        Does::Deny(denial),
    );
    let mut world = World::new(1, 2, script.config());
    let client = world.add(Options::new(Version::V3_1_1));
    world.connect(client, &Connect::new(Version::V3_1_1, "x"));
    world.settle();
    assert_eq!(script.log(), ["authenticate x", "x: refused true"]);
}

/// Slows down whoever publishes, and remembers who that is.
#[derive(Default)]
struct Slow {
    rest: Duration,
    seen: Mutex<Vec<String>>,
}

impl Authorize for Slow {
    fn name(&self) -> &str {
        "slow"
    }

    fn publish(&self, client: &mut Client, _: &Message<'_>, _: Later<'_>) -> Verdict {
        let user = client.user_name.as_deref().unwrap_or("nobody");
        self.seen.lock().unwrap().push(format!("{} {user} {}", client.client_id, client.listener));
        client.slow_down(self.rest);
        Verdict::Pass
    }
}

#[test]
fn who_is_slowed_down_loses_nothing_and_stays() {
    for (qos, version) in [(QoS::AtMostOnce, Version::V3_1_1), (QoS::ExactlyOnce, Version::V5)] {
        let slow = Arc::new(Slow { rest: 4 * SECOND, ..Slow::default() });
        let mut hooks = Hooks::new();
        hooks.add_authorize(slow.clone());
        let mut world = World::new(1, 1, Config { hooks, ..Config::default() });
        let witness = world.connected(Version::V5, "witness");
        world.subscribe(witness, &[("a", QOS_0)]);
        let client = world.add(Options::new(version));
        // Shorter than the rests, in which nothing is heard of it.
        let mut connect = Connect::new(version, "x");
        connect.keep_alive = 2;
        world.connect(client, &connect);
        world.settle();
        for number in 0..4 {
            world.send(client, message("a", &number.to_string(), qos));
        }
        for number in 0..4 {
            world.settle();
            assert_eq!(world.got(witness), [format!("a {number}")]);
            world.run(4 * SECOND);
        }
        assert!(world.clients[client].client.is_connected());
        assert_eq!((world.counts().hook_delays, world.counts().keep_alive_timeouts), (4, 0));
        // Another client is not held up by it, and it may leave meanwhile.
        world.send(client, message("a", "last", qos));
        world.settle();
        world.cut(client);
        world.settle();
        assert_eq!(world.counts().connected, 1);
    }
}

#[test]
fn hooks_that_come_later_know_who_was_there_before_them() {
    for vouches in [false, true] {
        let mut config = Config::default();
        config.listeners.push(mqway_engine::Listener::new(mqway_engine::Bind::tcp("localhost", 1883)));
        let mut world = World::new(1, 2, config);
        let client = world.add(Options::new(Version::V3_1_1));
        let mut connect = Connect::new(Version::V3_1_1, "x");
        connect.user_name = Some("ann");
        world.connect(client, &connect);
        world.settle();
        let slow = Arc::new(Slow::default());
        let mut hooks = Hooks::new();
        hooks.add_authorize(slow.clone());
        if vouches {
            hooks.add_method(Arc::new(Names));
        }
        set_hooks(&mut world, hooks);
        world.publish(client, message("a", "", QoS::AtLeastOnce));
        // A name that nobody has checked counts for nothing where names are checked.
        let user = if vouches { "nobody" } else { "ann" };
        let seen = std::mem::take(&mut *slow.seen.lock().unwrap());
        assert_eq!(seen, [format!("x {user} tcp://localhost:1883")]);

        // Who has come without a name does not get that of the connection before.
        set_hooks(&mut world, Hooks::new());
        world.connect(client, &Connect::new(Version::V3_1_1, "x"));
        world.settle();
        let mut hooks = Hooks::new();
        hooks.add_authorize(slow.clone());
        set_hooks(&mut world, hooks);
        world.publish(client, message("a", "", QoS::AtLeastOnce));
        assert_eq!(*slow.seen.lock().unwrap(), ["x nobody tcp://localhost:1883"]);
    }
}

#[test]
fn hooks_that_come_later_end_whom_they_do_not_have() {
    // Without hooks before, and with.
    for before in [Hooks::new(), Script::at(&[Phase::Published]).hooks()] {
        let mut world = World::new(1, 2, Config { hooks: before, ..Config::default() });
        let connected = |world: &mut World, client_id: &str, user: &str| {
            let client = world.add(Options::new(Version::V5));
            let mut connect = Connect::new(Version::V5, client_id);
            connect.user_name = Some(user);
            world.connect(client, &connect);
            world.settle();
            client
        };
        let (ann, mallory) = (connected(&mut world, "c", "ann"), connected(&mut world, "d", "mallory"));
        let mut hooks = Hooks::new();
        hooks.add_admit(Arc::new(Bans));
        set_hooks(&mut world, hooks);
        assert!(world.clients[ann].client.is_connected());
        assert!(!world.clients[mallory].client.is_connected());
        assert_eq!((world.counts().ended_by_hooks, world.counts().connected), (1, 1));
    }
}
