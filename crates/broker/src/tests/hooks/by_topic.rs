//! Hooks that go by topics alone, and messages in rows.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use mqway_codec::{QoS, SubscribeOptions, Version};
use mqway_hooks::{Authorize, Client, Denial, Hooks, Later, Message, Phase, Phases, Transform, Verdict};

use super::waiting::set_hooks;
use crate::Config;
use crate::tests::world::*;

const QOS_0: SubscribeOptions = SubscribeOptions::new(QoS::AtMostOnce);

/// Lets pass, for these clients, what is not called `no`; counts how often it is asked.
struct Rule {
    denied: [Option<&'static str>; 2],
    asked: Arc<AtomicUsize>,
}

impl Rule {
    fn judge(&self, client: &Client, phase: Phase) -> Result<(), Denial> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let denied = self.denied[usize::from(phase == Phase::Deliver)];
        if denied == Some(&*client.client_id) { Err(Denial::not_authorized("it is said so")) } else { Ok(()) }
    }
}

impl Authorize for Rule {
    fn name(&self) -> &str {
        "rule"
    }
    fn phases(&self) -> Phases {
        Phases::of(&[Phase::Publish, Phase::Deliver])
    }
    fn by_topic(&self) -> bool {
        true
    }
    fn publish(&self, client: &mut Client, _: &Message<'_>, _: Later<'_>) -> Verdict {
        self.judge(client, Phase::Publish).map_or_else(Verdict::Deny, |()| Verdict::Pass)
    }
    fn deliver(&self, client: &mut Client, _: &Message<'_>) -> Result<(), Denial> {
        self.judge(client, Phase::Deliver)
    }
}

/// Has everything lie below `home/` at the server.
struct Mount;

impl Transform for Mount {
    fn name(&self) -> &str {
        "mount"
    }
    fn phases(&self) -> Phases {
        Phases::of(&[Phase::Publish, Phase::Deliver])
    }
    fn by_topic(&self) -> bool {
        true
    }
    fn publish(&self, _: &mut Client, message: &mut Message<'_>) -> Result<(), Denial> {
        let topic = format!("home/{}", message.topic());
        message.set_topic(topic).map_err(|_| Denial::not_authorized("mount"))
    }
    fn deliver(&self, _: &mut Client, message: &mut Message<'_>) -> Result<(), Denial> {
        let topic = message.topic().strip_prefix("home/").map(str::to_owned);
        let topic = topic.ok_or_else(|| Denial::not_authorized("mount"))?;
        message.set_topic(topic).map_err(|_| Denial::not_authorized("mount"))
    }
}

/// Denies the first to publish, and the second to receive.
fn rule(denied: [Option<&'static str>; 2]) -> (Hooks, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let mut hooks = Hooks::new();
    hooks.add_authorize(Arc::new(Rule { denied, asked: asked.clone() }));
    (hooks, asked)
}

/// Sends 100 messages of QoS 0 at once, and then one of QoS 1; how many came of the 101.
fn round(world: &mut World, publisher: usize, receivers: &[usize]) -> Vec<usize> {
    for number in 0..100 {
        world.send(publisher, message("a", &number.to_string(), QoS::AtMostOnce));
    }
    world.publish(publisher, message("a", "last", QoS::AtLeastOnce));
    receivers.iter().map(|receiver| world.got(*receiver).len()).collect()
}

#[test]
fn a_row_passes_where_its_topic_has_passed_and_not_after_other_rules_have_come() {
    for version in [Version::V3_1_1, Version::V5] {
        let (hooks, asked) = rule([None; 2]);
        let mut world = World::new(1, 1, Config { hooks, ..Config::default() });
        let publisher = world.connected(version, "publisher");
        let receivers = ["one", "two", "three"].map(|name| world.connected(version, name));
        for receiver in receivers {
            world.subscribe(receiver, &[("a", QOS_0)]);
        }
        for _ in 0..3 {
            assert_eq!(round(&mut world, publisher, &receivers), [101; 3]);
        }
        assert_eq!(asked.load(Ordering::Relaxed), 4, "once for each of them");
        let (others, asked) = rule([None, Some("two")]);
        set_hooks(&mut world, others);
        for _ in 0..2 {
            assert_eq!(round(&mut world, publisher, &receivers), [101, 0, 101]);
        }
        assert_eq!(asked.load(Ordering::Relaxed), 3 + 2 * 101, "of a no there is no memory");
        set_hooks(&mut world, rule([Some("publisher"), None]).0);
        assert_eq!(round(&mut world, publisher, &receivers), [0; 3]);
        set_hooks(&mut world, Hooks::new());
        assert_eq!(round(&mut world, publisher, &receivers), [101; 3]);
    }
}

#[test]
fn a_row_gets_the_topic_that_each_message_of_it_would_get() {
    let (mut hooks, _) = rule([None; 2]);
    hooks.add_transform(Arc::new(Mount));
    let mut world = World::new(1, 1, Config { hooks, ..Config::default() });
    let [publisher, inside, outside] =
        ["publisher", "inside", "outside"].map(|name| world.connected(Version::V5, name));
    // Filters are not changed by it.
    world.subscribe(inside, &[("home/a", QOS_0)]);
    world.subscribe(outside, &[("a", QOS_0)]);
    for _ in 0..2 {
        for number in 0..100 {
            world.send(publisher, message("a", &number.to_string(), QoS::AtMostOnce));
        }
        world.publish(publisher, message("a", "last", QoS::AtLeastOnce));
        let got = world.got(inside);
        assert_eq!(got.len(), 101);
        assert!(got.iter().all(|line| line.starts_with("a ")), "{got:?}");
        assert!(world.got(outside).is_empty());
    }
}
