//! Who comes in, whoever vouches for it; who is slowed down; and who was there before there were hooks.

use mqway_hooks::{Admit, Event, Exchange, Method, Observe, Phase, Step};

use super::*;

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
        answer(banned(client.user_name.as_deref().unwrap_or_default(), "mallory"))
    }

    fn stay(&self, client: &mut Client) -> Result<(), Denial> {
        banned(client.user_name.as_deref().unwrap_or_default(), "mallory")
    }
}

#[test]
fn a_method_is_no_way_around_a_ban_and_passwords_are_not_asked_for() {
    for (client_id, user, reason) in
        [("c", "ann", None), ("c", "mallory", Some(0x8A)), ("pump", "ann", Some(0x8A))]
    {
        let (mut hooks, passwords) = rules();
        hooks.anonymous = false; // They know nobody.
        hooks.add_method(Arc::new(Names));
        hooks.add_admit(Arc::new(Bans));
        let mut rig = rig(1, hooks);
        let client = rig.client();
        let mut properties = PropertiesBuf::new();
        properties.push(Property::AuthenticationMethod("NAMES")).unwrap();
        properties.push(Property::AuthenticationData(user.as_bytes())).unwrap();
        let mut connect = Connect::new(Version::V5, client_id);
        connect.properties = properties.as_properties();
        rig.sim.write(client, &bytes(Packet::Connect(connect), Version::V5));
        match reason {
            None => assert!(rig.read(client).is_empty() && rig.sim.take_dialled(&target(1)).len() == 1),
            Some(reason) => {
                assert_eq!(rig.read(client)[3], reason);
                assert!(rig.sim.take_dialled(&target(1)).is_empty());
                rig.expect_all_gone();
            }
        }
        assert!(passwords.asked().is_empty());
    }
}

/// Remembers who was refused.
#[derive(Default)]
struct Watch(Mutex<Vec<(String, ReasonCode, bool)>>);

impl Observe for Watch {
    fn name(&self) -> &str {
        "watch"
    }

    fn phases(&self) -> Phases {
        Phases::of(&[Phase::Refused])
    }

    fn observe(&self, client_id: &str, _: Option<&mut Client>, event: &Event<'_>) {
        let Event::Refused { reason, failed, .. } = event else { panic!("{event:?}") };
        self.0.lock().unwrap().push((client_id.to_owned(), *reason, *failed));
    }
}

#[test]
fn observers_hear_of_whom_hooks_refuse_and_of_whom_the_upstream_does() {
    for version in VERSIONS {
        let (mut hooks, _) = rules();
        let watch = Arc::new(Watch::default());
        hooks.add_observe(watch.clone());
        let mut rig = rig(1, hooks);
        let client = rig.client();
        rig.sim.write(client, &connect(version, "deny/86"));
        rig.read(client);
        let client = rig.client();
        rig.sim.write(client, &connect(version, "c"));
        let upstream = rig.dialled(1);
        let refused = Connack::new(false, ReasonCode::NotAuthorized);
        rig.sim.write(upstream, &bytes(Packet::Connack(refused), version));
        rig.read(client);
        let wrong = ReasonCode::BadUserNameOrPassword;
        let expected =
            [("deny/86".to_owned(), wrong, true), ("c".to_owned(), ReasonCode::NotAuthorized, true)];
        assert_eq!(*watch.0.lock().unwrap(), expected);
    }
}

/// Slows down whoever publishes, and remembers who that is.
#[derive(Default)]
struct Slow {
    rest: Duration,
    seen: Mutex<Vec<String>>,
}

impl Slow {
    fn seen(&self) -> Vec<String> {
        std::mem::take(&mut *self.seen.lock().unwrap())
    }
}

impl Authorize for Slow {
    fn name(&self) -> &str {
        "slow"
    }

    fn publish(&self, client: &mut Client, message: &Message<'_>, _: Later<'_>) -> Verdict {
        let user = client.user_name.as_deref().unwrap_or("nobody");
        let seen = format!("{} {user} {} {}", client.client_id, client.listener, message.topic());
        self.seen.lock().unwrap().push(seen);
        client.slow_down(self.rest);
        answer(verdict(message.topic()))
    }
}

fn slow(rest: Duration) -> (Hooks, Arc<Slow>) {
    let (mut hooks, slow) = (Hooks::new(), Arc::new(Slow { rest, ..Slow::default() }));
    hooks.add_authorize(slow.clone());
    (hooks, slow)
}

#[test]
fn who_is_slowed_down_loses_nothing_and_may_leave() {
    for version in VERSIONS {
        let mut rig = rig(1, slow(4 * SECOND).0);
        let (client, upstream) = rig.session(version);
        let packets: Vec<_> =
            (1..=4).map(|number| message(version, &format!("a/{number}"), Q1, number, false)).collect();
        rig.sim.write(client, &packets.concat());
        for packet in &packets {
            assert_eq!(rig.read(upstream), *packet);
            // What comes the other way is not held up.
            rig.sim.write(upstream, &publish(version, b"x"));
            assert_eq!(rig.read(client), publish(version, b"x"));
            rig.sim.run(2 * SECOND);
        }
        assert_eq!(rig.counters.snapshot().hook_delays, 4);
        // While it rests again: it is heard as soon as that is over.
        rig.sim
            .write(client, &[publish(version, b"y"), publish(version, b"z"), disconnect(version)].concat());
        assert_eq!(rig.read(upstream), publish(version, b"y"));
        rig.sim.end(client);
        rig.sim.run(4 * SECOND);
        assert_eq!(rig.read(upstream), publish(version, b"z"));
        rig.sim.run(4 * SECOND);
        rig.sim.end(upstream);
        rig.expect_all_gone();
        assert_eq!(rig.counters.snapshot().client_disconnects, 1);
    }
}

fn set_hooks(rig: &mut Rig, hooks: Hooks) {
    let hooks = Arc::new(hooks);
    (0..2).for_each(|worker| rig.sim.post(worker, Mail::Hooks(hooks.clone())));
    rig.sim.run(SECOND);
}

/// A client that has come by this CONNECT while there were no hooks, and been accepted by this CONNACK.
fn before_hooks(rig: &mut Rig, connect: &[u8], connack: &[u8]) -> (Remote, Remote) {
    let client = rig.client();
    rig.sim.write(client, connect);
    let upstream = rig.dialled(1);
    assert_eq!(rig.read(upstream), connect);
    rig.sim.write(upstream, connack);
    assert_eq!(rig.read(client), connack);
    (client, upstream)
}

#[test]
fn hooks_that_come_later_judge_who_was_there_before_them() {
    for version in VERSIONS {
        for vouches in [false, true] {
            let mut rig = rig(1, Hooks::new());
            let mut hello = Connect::new(version, "c");
            hello.user_name = Some("ann");
            let hello = bytes(Packet::Connect(hello), version);
            let (client, upstream) = before_hooks(&mut rig, &hello, &connack(version));
            let fresh = rig.client();
            let (mut hooks, slow) = slow(Duration::ZERO);
            if vouches {
                hooks.add_method(Arc::new(Names));
            }
            set_hooks(&mut rig, hooks);
            let good = message(version, "a", Q1, 1, false);
            rig.sim.write(client, &[good.clone(), message(version, "deny/87", Q1, 2, false)].concat());
            assert_eq!(rig.read(upstream), good);
            let refused = match version {
                Version::V5 => {
                    let mut ack = Ack::with_reason(id(2), ReasonCode::NotAuthorized);
                    let mut properties = PropertiesBuf::new();
                    properties.push(Property::ReasonString("because")).unwrap();
                    ack.properties = properties.as_properties();
                    bytes(Packet::Puback(ack), version)
                }
                _ => puback(version, 2),
            };
            assert_eq!(rig.read(client), refused);
            // A name that nobody has checked counts for nothing where names are checked.
            let user = if vouches { "nobody" } else { "ann" };
            let seen = |topic: &str| format!("c {user} tcp://localhost:1883 {topic}");
            assert_eq!(slow.seen(), [seen("a"), seen("deny/87")]);
            // The acknowledgement of what went on goes back, and who had not said anything is judged as any other.
            rig.sim.write(upstream, &puback(version, 1));
            assert_eq!(rig.read(client), puback(version, 1));
            rig.sim.write(fresh, &connect(version, "fresh"));
            let second = rig.dialled(1);
            assert_eq!(rig.read(second), connect(version, "fresh"));
        }
    }
}

/// An identifier that the upstream has assigned, the packets that the client takes, and aliases are as they were.
#[test]
fn what_was_agreed_before_there_were_hooks_still_holds() {
    let mut rig = rig(1, Hooks::new());
    let aliases = Property::TopicAliasMaximum(4);
    let hello = {
        let mut properties = PropertiesBuf::new();
        properties.push(aliases).unwrap();
        properties.push(Property::RequestProblemInformation(false)).unwrap();
        let mut hello = Connect::new(Version::V5, "");
        hello.properties = properties.as_properties();
        bytes(Packet::Connect(hello), Version::V5)
    };
    let accepted = connack_with(&[Property::AssignedClientIdentifier("given"), aliases]);
    let (client, upstream) = before_hooks(&mut rig, &hello, &accepted);
    let aliased = |topic: &str, alias: u16| {
        let mut properties = PropertiesBuf::new();
        properties.push(Property::TopicAlias(alias.try_into().unwrap())).unwrap();
        let mut publish = Publish::new(topic, b"x");
        publish.properties = properties.as_properties();
        bytes(Packet::Publish(publish), Version::V5)
    };
    rig.sim.write(client, &aliased("unseen", 1));
    assert_eq!(rig.read(upstream), aliased("unseen", 1));
    let (hooks, slow) = slow(Duration::ZERO);
    set_hooks(&mut rig, hooks);
    rig.sim.write(client, &[aliased("seen", 2), aliased("", 2)].concat());
    let plain = message(Version::V5, "seen", Q0, 0, false);
    assert_eq!(rig.read(upstream), [plain.clone(), plain].concat());
    assert_eq!(slow.seen(), ["given nobody tcp://localhost:1883 seen"; 2]);
    // Nobody can say what is published here, so that it cannot be judged.
    rig.sim.write(client, &aliased("", 1));
    assert_eq!(rig.read(client), [0xe0, 1, 0x98]);
    rig.expect_all_gone();
}

#[test]
fn hooks_that_come_later_end_whom_they_do_not_have() {
    for version in VERSIONS {
        // Without hooks before and with, and while the client is on its way to its upstream.
        for (before, accepted) in [(Hooks::new(), true), (rules().0, true), (Hooks::new(), false)] {
            let mut rig = rig(1, before);
            let mut hello = Connect::new(version, "c");
            hello.user_name = Some("mallory");
            let hello = bytes(Packet::Connect(hello), version);
            let client = rig.client();
            rig.sim.write(client, &hello);
            let upstream = rig.dialled(1);
            assert_eq!(rig.read(upstream), hello);
            if accepted {
                rig.sim.write(upstream, &connack(version));
                assert_eq!(rig.read(client), connack(version));
            }
            let mut hooks = Hooks::new();
            hooks.add_admit(Arc::new(Bans));
            set_hooks(&mut rig, hooks);
            if !accepted {
                rig.sim.write(upstream, &connack(version));
            }
            let said = rig.read(client);
            let last = if version == Version::V5 { &[0xe0, 1, 0x87][..] } else { b"" };
            assert!(said.ends_with(last), "{said:x?}");
            let ended = (rig.sim.is_ended(client), rig.sim.is_ended(upstream));
            assert_eq!(ended, (true, true), "{version} {accepted} {said:x?}");
            rig.expect_all_gone();
        }
    }
}
