//! The proxy with hooks: what a refusal means on the wire, in each version.

use std::sync::Mutex;

use mqway_codec::{
    Ack, ReasonCodesBuf, Suback, Subscribe, SubscribeOptions, SubscriptionsBuf, TopicFilter, TopicFiltersBuf,
    Unsuback, Unsubscribe, Will, decode,
};
use mqway_engine::{Bind, Listener};
use mqway_hooks::{
    Accept, Authenticate, Authorize, Client, Denial, Filter, Hooks, Later, Login, Message, Phases, Refusals,
    RefusedPublish, RefusedWill, Subscription, Transform, Verdict,
};
use mqway_transport::facts::Facts;

use super::*;

mod aliases;
mod enhanced;
mod entry;
mod later;
mod limits;
mod noise;
mod order;
mod phases;
mod unasked;

const Q0: QoS = QoS::AtMostOnce;
const Q1: QoS = QoS::AtLeastOnce;
const Q2: QoS = QoS::ExactlyOnce;

/// Refuses whatever is called `deny/XX`, with XX as the reason, and counts what it is asked.
#[derive(Default)]
struct Rules {
    asked: Mutex<Vec<String>>,
}

/// What a name says of itself.
fn verdict(name: &str) -> Result<(), Denial> {
    let Some((_, code)) = name.split_once("deny/") else { return Ok(()) };
    let code = u8::from_str_radix(&code[..2], 16).unwrap();
    let denial = Denial::new(ReasonCode::from_u8(code).unwrap(), "the name says so");
    Err(denial.say("because"))
}

fn answer(result: Result<(), Denial>) -> Verdict {
    result.map_or_else(Verdict::Deny, |()| Verdict::Pass)
}

impl Rules {
    fn note(&self, what: &str, name: &str) {
        self.asked.lock().unwrap().push(format!("{what} {name}"));
    }

    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }
}

impl Authenticate for Rules {
    fn name(&self) -> &str {
        "rules"
    }

    fn authenticate(&self, _: &mut Client, login: &mut Login<'_>, _: Later<'_>) -> Verdict {
        self.note("authenticate", &login.client_id);
        answer(verdict(&login.client_id))
    }
}

impl Authorize for Rules {
    fn name(&self) -> &str {
        "rules"
    }

    fn phases(&self) -> Phases {
        Phases::ALL
    }

    fn publish(&self, _: &mut Client, message: &Message<'_>, _: Later<'_>) -> Verdict {
        self.note(if message.is_will() { "will" } else { "publish" }, message.topic());
        answer(verdict(message.topic()))
    }

    fn subscribe(&self, _: &mut Client, wanted: &mut Subscription<'_>, _: Later<'_>) -> Verdict {
        self.note("subscribe", wanted.filter.as_str());
        if wanted.filter.matched().starts_with("lower/") {
            wanted.lower_qos(Q0);
        }
        answer(verdict(wanted.filter.matched()))
    }

    fn unsubscribe(&self, _: &mut Client, filter: &Filter<'_>) -> Result<(), Denial> {
        self.note("unsubscribe", filter.as_str());
        verdict(filter.matched())
    }

    fn deliver(&self, _: &mut Client, message: &Message<'_>) -> Result<(), Denial> {
        self.note("deliver", message.topic());
        verdict(message.topic())
    }
}

/// Puts everything below `home/` on the way to the server, and takes it out on the way back. What is called `change/…`
/// changes in other ways.
struct Mount;

impl Mount {
    fn moved(filter: &mut Filter<'_>) -> Result<(), Denial> {
        let moved = format!("home/{}", filter.matched());
        filter.set_matched(&moved).map_err(|_| Denial::new(ReasonCode::TopicFilterInvalid, "mount"))
    }
}

impl Transform for Mount {
    fn name(&self) -> &str {
        "mount"
    }

    fn publish(&self, _: &mut Client, message: &mut Message<'_>) -> Result<(), Denial> {
        match message.topic() {
            "change/qos0" => message.set_qos(Q0),
            "change/qos1" => message.set_qos(Q1),
            "change/qos2" => message.set_qos(Q2),
            "change/grow" => message.set_payload(vec![b'x'; 2_000]),
            "change/retain" => message.set_retain(true),
            "change/user" => message.add_user_property("by", "mount").unwrap(),
            _ => {}
        }
        let topic = format!("home/{}", message.topic());
        message.set_topic(topic).map_err(|_| Denial::new(ReasonCode::TopicNameInvalid, "mount"))
    }

    fn subscribe(&self, _: &mut Client, wanted: &mut Subscription<'_>) -> Result<(), Denial> {
        Mount::moved(&mut wanted.filter)
    }

    fn unsubscribe(&self, _: &mut Client, filter: &mut Filter<'_>) -> Result<(), Denial> {
        Mount::moved(filter)
    }

    fn deliver(&self, _: &mut Client, message: &mut Message<'_>) -> Result<(), Denial> {
        if let Some(qos) = message.topic().strip_prefix("home/change/qos") {
            let qos = QoS::from_u8(qos.parse().unwrap()).unwrap();
            message.set_qos(qos);
        }
        if message.topic() == "home/change/grow" {
            message.set_payload(vec![b'x'; 2_000]);
        }
        let topic = message.topic().strip_prefix("home/").map(str::to_owned);
        let topic = topic.ok_or_else(|| Denial::not_authorized("not below home/"))?;
        message.set_topic(topic).map_err(|_| Denial::not_authorized("mount"))
    }
}

/// Hooks that judge, and perhaps move.
fn rules() -> (Hooks, Arc<Rules>) {
    let (mut hooks, rules) = (Hooks::new(), Arc::new(Rules::default()));
    hooks.add_authenticate(rules.clone());
    hooks.add_authorize(rules.clone());
    (hooks, rules)
}

fn mounted() -> Hooks {
    let (mut hooks, _) = rules();
    hooks.add_transform(Arc::new(Mount));
    hooks
}

fn config(hooks: Hooks) -> Config {
    Config {
        listeners: vec![Listener::new(Bind::tcp("localhost", 1883))],
        upstreams: vec![Upstream::tcp("upstream", 1)],
        hooks,
        ..Config::default()
    }
}

fn rig(seed: u64, hooks: Hooks) -> Rig {
    rig_of(seed, &config(hooks))
}

fn rig_of(seed: u64, config: &Config) -> Rig {
    Rig::with_config(seed, config, EngineLimits::default(), ServerOptions::default())
}

fn closing(hooks: Hooks) -> Config {
    Config { refusals: Refusals { publish: RefusedPublish::Close, ..Refusals::default() }, ..config(hooks) }
}

fn id(number: u16) -> PacketId {
    PacketId::new(number).unwrap()
}

/// A CONNECT of 5.0 with these properties.
fn connect_with(properties: &[Property<'_>]) -> Vec<u8> {
    let mut list = PropertiesBuf::new();
    list.extend(properties.iter().copied()).unwrap();
    let mut connect = Connect::new(Version::V5, "c");
    connect.properties = list.as_properties();
    bytes(Packet::Connect(connect), Version::V5)
}

/// A CONNACK of 5.0 with these.
fn connack_with(properties: &[Property<'_>]) -> Vec<u8> {
    let mut list = PropertiesBuf::new();
    list.extend(properties.iter().copied()).unwrap();
    let connack = Connack { properties: list.as_properties(), ..Connack::new(false, ReasonCode::Success) };
    bytes(Packet::Connack(connack), Version::V5)
}

/// A PUBLISH; with QoS 0 it has no identifier.
fn message(version: Version, topic: &str, qos: QoS, number: u16, dup: bool) -> Vec<u8> {
    let mut publish = Publish::new(topic, b"x");
    publish.qos = qos;
    publish.packet_id = (qos != Q0).then(|| id(number));
    publish.dup = dup;
    bytes(Packet::Publish(publish), version)
}

fn puback(version: Version, number: u16) -> Vec<u8> {
    bytes(Packet::Puback(Ack::new(id(number))), version)
}

fn pubrec(version: Version, number: u16) -> Vec<u8> {
    bytes(Packet::Pubrec(Ack::new(id(number))), version)
}

fn pubrel(version: Version, number: u16) -> Vec<u8> {
    bytes(Packet::Pubrel(Ack::new(id(number))), version)
}

fn pubcomp(version: Version, number: u16) -> Vec<u8> {
    bytes(Packet::Pubcomp(Ack::new(id(number))), version)
}

fn subscribe(version: Version, number: u16, filters: &[&str]) -> Vec<u8> {
    let mut subscriptions = SubscriptionsBuf::new();
    for filter in filters {
        subscriptions.push(TopicFilter::new(filter).unwrap(), SubscribeOptions::new(Q1));
    }
    bytes(Packet::Subscribe(Subscribe::new(id(number), subscriptions.as_subscriptions())), version)
}

fn suback(version: Version, number: u16, codes: &[u8]) -> Vec<u8> {
    let codes: ReasonCodesBuf = codes.iter().map(|code| ReasonCode::from_u8(*code).unwrap()).collect();
    bytes(Packet::Suback(Suback::new(id(number), codes.as_codes())), version)
}

fn unsubscribe(version: Version, number: u16, filters: &[&str]) -> Vec<u8> {
    let mut list = TopicFiltersBuf::new();
    filters.iter().for_each(|filter| list.push(TopicFilter::new(filter).unwrap()));
    bytes(Packet::Unsubscribe(Unsubscribe::new(id(number), list.as_filters())), version)
}

fn unsuback(version: Version, number: u16, codes: &[u8]) -> Vec<u8> {
    let codes: ReasonCodesBuf = codes.iter().map(|code| ReasonCode::from_u8(*code).unwrap()).collect();
    bytes(Packet::Unsuback(Unsuback::new(id(number), codes.as_codes())), version)
}

#[test]
fn a_connect_that_is_refused_is_answered_and_no_upstream_is_dialled() {
    for (code, v3, v5) in [
        ("86", 5, 0x86),
        ("87", 5, 0x87),
        ("97", 5, 0x97),
        ("9c", 5, 0x9c),
        ("9d", 5, 0x9d),
        ("8a", 5, 0x8a),
        ("85", 2, 0x85),
        // None of CONNACK's.
        ("93", 5, 0x87),
    ] {
        for version in VERSIONS {
            let mut rig = rig(1, rules().0);
            let client = rig.client();
            rig.sim.write(client, &connect(version, &format!("deny/{code}")));
            let got = rig.read(client);
            match version {
                Version::V5 => {
                    assert_eq!(got, [&[0x20, 13, 0, v5, 10, 0x1f, 0, 7][..], b"because"].concat())
                }
                _ => assert_eq!(got, [0x20, 2, 0, v3]),
            }
            assert!(rig.sim.is_ended(client));
            assert!(rig.sim.take_dialled(&target(1)).is_empty());
            assert_eq!(rig.counters.snapshot().connects_denied, 1);
            assert_eq!(rig.counters.snapshot().refusals().map(|(_, count)| count).sum::<u64>(), 1);
            rig.expect_all_gone();
        }
    }
}

#[test]
fn a_connection_that_is_not_accepted_says_nothing() {
    struct Nobody;
    impl Accept for Nobody {
        fn name(&self) -> &str {
            "nobody"
        }
        fn accept(&self, listener: &str, _: &Facts) -> Result<(), Denial> {
            assert_eq!(listener, "tcp://localhost:1883");
            Err(Denial::not_authorized("nobody"))
        }
    }
    let mut hooks = Hooks::new();
    hooks.add_accept(Arc::new(Nobody));
    let mut rig = rig(1, hooks);
    let client = rig.client();
    rig.sim.write(client, &connect(Version::V5, "c"));
    assert_eq!(rig.read(client), b"");
    assert!(rig.sim.is_ended(client));
    assert_eq!(rig.counters.snapshot().accepts_denied, 1);
    rig.expect_all_gone();
}

/// What comes of one PUBLISH to `deny/CODE`: the answer to the client, and whether it is closed then. The upstream gets
/// nothing, in any case.
#[track_caller]
fn refused_publish(rig: &mut Rig, version: Version, qos: QoS, code: &str, answer: &[u8], closed: bool) {
    let (client, upstream) = rig.session(version);
    rig.sim.write(client, &message(version, &format!("deny/{code}"), qos, 7, false));
    assert_eq!(rig.read(client), answer, "{version} {qos:?} {code}");
    assert_eq!(rig.sim.read(upstream), b"");
    assert_eq!(rig.sim.is_ended(client), closed, "{version} {qos:?} {code}");
    assert_eq!(rig.counters.snapshot().publishes_denied, 1);
    if closed {
        assert!(rig.sim.is_ended(upstream));
        return;
    }
    // And the link is as good as before.
    let next = message(version, "allowed", Q1, 8, false);
    rig.sim.write(client, &next);
    assert_eq!(rig.read(upstream), next);
    rig.sim.write(upstream, &puback(version, 8));
    assert_eq!(rig.read(client), puback(version, 8));
}

/// PUBACK or PUBREC with a reason, as hooks of this test say it.
fn explained(first: u8, code: u8) -> Vec<u8> {
    [&[first, 14, 0, 7, code, 10, 0x1f, 0, 7][..], b"because"].concat()
}

#[test]
fn a_publish_that_is_refused_is_answered_as_its_qos_and_version_can() {
    for version in VERSIONS {
        let of_5 = version == Version::V5;
        let drop = || rig(1, rules().0);
        let close = || rig_of(1, &closing(rules().0));
        // QoS 0: dropped, or closed.
        refused_publish(&mut drop(), version, Q0, "87", b"", false);
        let farewell: &[u8] = if of_5 { &[0xe0, 1, 0x87] } else { b"" };
        refused_publish(&mut close(), version, Q0, "87", farewell, true);
        for (code, said) in [("87", 0x87), ("97", 0x97), ("99", 0x99), ("9c", 0x87)] {
            match of_5 {
                true => {
                    refused_publish(&mut drop(), version, Q1, code, &explained(0x40, said), false);
                    refused_publish(&mut close(), version, Q1, code, &explained(0x40, said), false);
                    refused_publish(&mut drop(), version, Q2, code, &explained(0x50, said), false);
                }
                false => {
                    refused_publish(&mut drop(), version, Q1, code, &puback(version, 7), false);
                    refused_publish(&mut close(), version, Q1, code, b"", true);
                    refused_publish(&mut drop(), version, Q2, code, &pubrec(version, 7), false);
                    refused_publish(&mut close(), version, Q2, code, &pubrec(version, 7), false);
                }
            }
        }
    }
}

#[test]
fn before_5_0_a_refused_qos_2_is_played_whole() {
    for version in [Version::V3_1, Version::V3_1_1] {
        let (hooks, rules) = rules();
        let mut rig = rig(1, hooks);
        let (client, upstream) = rig.session(version);
        rules.asked();
        for dup in [false, true] {
            rig.sim.write(client, &message(version, "deny/87", Q2, 7, dup));
            assert_eq!(rig.read(client), pubrec(version, 7));
        }
        for _ in 0..1 {
            rig.sim.write(client, &pubrel(version, 7));
            assert_eq!(rig.read(client), pubcomp(version, 7));
        }
        assert_eq!(rig.sim.read(upstream), b"");
        assert_eq!(rules.asked(), ["publish deny/87"], "asked once");
        // The identifier is free, and its next message goes the whole way.
        let next = message(version, "fine", Q2, 7, false);
        for (from, to, packet) in [
            (client, upstream, next),
            (upstream, client, pubrec(version, 7)),
            (client, upstream, pubrel(version, 7)),
            (upstream, client, pubcomp(version, 7)),
        ] {
            rig.sim.write(from, &packet);
            assert_eq!(rig.read(to), packet);
        }
    }
}

#[test]
fn a_decision_sticks_to_its_identifier_and_to_its_message() {
    for version in VERSIONS {
        let (hooks, rules) = rules();
        let mut rig = rig(1, hooks);
        let (client, upstream) = rig.session(version);
        rules.asked();
        for qos in [Q1, Q2] {
            for dup in [false, true] {
                let packet = message(version, "fine", qos, 5, dup);
                rig.sim.write(client, &packet);
                assert_eq!(rig.read(upstream), packet);
            }
            assert_eq!(rules.asked(), ["publish fine"]);
            // Another message behind the same identifier is asked for.
            rig.sim.write(client, &message(version, "deny/87", qos, 5, true));
            assert_eq!(rig.read(upstream), b"");
            assert_eq!(rules.asked(), ["publish deny/87"]);
            rig.sim.read(client);
            // A refusal is repeated.
            rig.sim.write(client, &message(version, "deny/87", qos, 5, true));
            assert_eq!(rig.read(client)[..4].last(), Some(&5));
            assert_eq!(rig.sim.read(upstream), b"");
            assert_eq!(rules.asked(), [""; 0]);
        }
    }
}

#[test]
fn filters_are_refused_one_by_one_and_codes_merged_in_order() {
    let (no, ok, low) = ("deny/87", "fine/+", "lower/#");
    for (filters, kept, theirs, merged) in [
        (&[no, ok][..], &[ok][..], &[1][..], &[0x87, 1][..]),
        (&[ok, no], &[ok], &[0], &[0, 0x87]),
        (&["deny/9e", ok, "deny/a2", low, no], &[ok, low], &[0x80, 0], &[0x9e, 0x80, 0xa2, 0, 0x87]),
        (&["$share/g/deny/87", "$share/g/x"], &["$share/g/x"], &[1], &[0x87, 1]),
    ] {
        for version in [Version::V3_1_1, Version::V5] {
            let mut rig = rig(1, rules().0);
            let (client, upstream) = rig.session(version);
            rig.sim.write(client, &subscribe(version, 9, filters));
            let got = rig.read(upstream);
            let Ok(Packet::Subscribe(got)) = decode(version, &got) else { panic!("{got:x?}") };
            let passed: Vec<_> = got.subscriptions.iter().map(|wanted| wanted.filter.as_str()).collect();
            assert_eq!(passed, kept);
            assert!(
                got.subscriptions.iter().all(|wanted| {
                    wanted.options.qos == if wanted.filter.as_str() == low { Q0 } else { Q1 }
                })
            );
            // In between others are answered.
            rig.sim.write(client, &subscribe(version, 10, &[ok]));
            rig.sim.write(upstream, &suback(version, 10, &[1]));
            assert_eq!(rig.read(client), suback(version, 10, &[1]));
            rig.sim.write(upstream, &suback(version, 9, theirs));
            assert_eq!(rig.read(client), suback(version, 9, merged)); // [MQTT-3.8.4-6]
            assert_eq!(rig.sim.read(upstream), subscribe(version, 10, &[ok]));
        }
    }
}

#[test]
fn a_subscribe_of_which_nothing_is_left_is_answered_here() {
    for version in [Version::V3_1_1, Version::V5] {
        let mut rig = rig(1, rules().0);
        let (client, upstream) = rig.session(version);
        rig.sim.write(client, &subscribe(version, 9, &["deny/9e", "deny/a2", "deny/93"]));
        assert_eq!(rig.read(client), suback(version, 9, &[0x9e, 0xa2, 0x87]));
        assert_eq!(rig.sim.read(upstream), b"");
        assert_eq!(rig.counters.snapshot().filters_denied, 3);
    }
}

#[test]
fn mqtt_3_1_has_no_word_for_a_refused_subscription() {
    for filters in [&["deny/87"][..], &["fine", "deny/87"]] {
        let mut rig = rig(1, rules().0);
        let (client, upstream) = rig.session(Version::V3_1);
        rig.sim.write(client, &subscribe(Version::V3_1, 9, filters));
        assert_eq!(rig.read(client), b"");
        assert!(rig.sim.is_ended(client) && rig.sim.is_ended(upstream));
        assert_eq!(rig.sim.read(upstream), b"");
    }
}

#[test]
fn an_unsubscribe_is_refused_likewise() {
    for version in VERSIONS {
        let mut rig = rig(1, rules().0);
        let (client, upstream) = rig.session(version);
        rig.sim.write(client, &unsubscribe(version, 9, &["deny/87", "fine", "deny/8f"]));
        assert_eq!(rig.read(upstream), unsubscribe(version, 9, &["fine"]));
        rig.sim.write(upstream, &unsuback(version, 9, &[0x11]));
        assert_eq!(rig.read(client), unsuback(version, 9, &[0x87, 0x11, 0x8f]));
        rig.sim.write(client, &unsubscribe(version, 10, &["deny/87"]));
        assert_eq!(rig.read(client), unsuback(version, 10, &[0x87]));
        assert_eq!(rig.sim.read(upstream), b"");
    }
}

#[test]
fn a_delivery_that_is_refused_is_acknowledged_for_the_client() {
    for version in VERSIONS {
        let (hooks, rules) = rules();
        let mut rig = rig(1, hooks);
        let (client, upstream) = rig.session(version);
        rules.asked();
        rig.sim.write(upstream, &message(version, "deny/87", Q0, 0, false));
        assert_eq!(rig.read(upstream), b"");
        for dup in [false, true] {
            rig.sim.write(upstream, &message(version, "deny/87", Q1, 3, dup));
            assert_eq!(rig.read(upstream), puback(version, 3));
            rig.sim.write(upstream, &message(version, "deny/87", Q2, 4, dup));
            assert_eq!(rig.read(upstream), pubrec(version, 4));
        }
        rig.sim.write(upstream, &pubrel(version, 4));
        assert_eq!(rig.read(upstream), pubcomp(version, 4));
        assert_eq!(rules.asked(), ["deliver deny/87"; 3], "for each QoS once");
        assert_eq!(rig.sim.read(client), b"");
        // The client never learns of these identifiers, and what it says of others passes.
        for (from, to, packet) in [
            (upstream, client, message(version, "fine", Q2, 4, false)),
            (client, upstream, pubrec(version, 4)),
            (upstream, client, pubrel(version, 4)),
            (client, upstream, pubcomp(version, 4)),
            (upstream, client, message(version, "fine", Q1, 3, false)),
            (client, upstream, puback(version, 3)),
        ] {
            rig.sim.write(from, &packet);
            assert_eq!(rig.read(to), packet);
        }
        assert_eq!(rig.counters.snapshot().deliveries_denied, 3);
    }
}

fn with_will(version: Version, topic: &'static str) -> Vec<u8> {
    let mut connect = Connect::new(version, "c");
    connect.will = Some(Will::new(topic, b"gone"));
    bytes(Packet::Connect(connect), version)
}

#[test]
fn a_will_that_is_not_allowed_is_refused_or_left_out() {
    for version in VERSIONS {
        let mut strict = rig(1, rules().0);
        let client = strict.client();
        strict.sim.write(client, &with_will(version, "deny/87"));
        let got = strict.read(client);
        assert_eq!(got[..2], if version == Version::V5 { [0x20, 13] } else { [0x20, 2] });
        assert_eq!(got[3], if version == Version::V5 { 0x87 } else { 5 });
        assert!(strict.sim.take_dialled(&target(1)).is_empty());

        let refusals = Refusals { will: RefusedWill::LeaveOut, ..Refusals::default() };
        let mut lenient = rig_of(1, &Config { refusals, ..config(rules().0) });
        let client = lenient.client();
        lenient.sim.write(client, &with_will(version, "deny/87"));
        let upstream = lenient.dialled(1);
        assert_eq!(lenient.read(upstream), connect(version, "c"));
    }
}

#[test]
fn a_rewrite_goes_both_ways() {
    for version in VERSIONS {
        let mut rig = rig(1, mounted());
        let client = rig.client();
        rig.sim.write(client, &with_will(version, "will"));
        let upstream = rig.dialled(1);
        assert_eq!(rig.read(upstream), with_will(version, "home/will"));
        rig.sim.write(upstream, &connack(version));
        rig.read(client);
        for qos in [Q0, Q1, Q2] {
            for dup in [false, qos > Q0] {
                rig.sim.write(client, &message(version, "a", qos, 1, dup));
                assert_eq!(rig.read(upstream), message(version, "home/a", qos, 1, dup));
                rig.sim.write(upstream, &message(version, "home/a", qos, 1, dup));
                assert_eq!(rig.read(client), message(version, "a", qos, 1, dup));
            }
        }
        rig.sim.write(client, &subscribe(version, 2, &["a/#", "$share/g/b"]));
        assert_eq!(rig.read(upstream), subscribe(version, 2, &["home/a/#", "$share/g/home/b"]));
        rig.sim.write(upstream, &suback(version, 2, &[1, 1]));
        assert_eq!(rig.read(client), suback(version, 2, &[1, 1]));
        rig.sim.write(client, &unsubscribe(version, 3, &["a/#", "$share/g/b"]));
        assert_eq!(rig.read(upstream), unsubscribe(version, 3, &["home/a/#", "$share/g/home/b"]));
        // Who judges sees what the server will see.
        rig.sim.write(client, &message(version, "deny/87", Q0, 0, false));
        assert_eq!(rig.read(upstream), b"");
        assert_eq!(rig.counters.snapshot().publishes_denied, 1);
    }
}

#[test]
fn a_lowered_qos_is_answered_as_it_was_sent() {
    for version in VERSIONS {
        let mut rig = rig(1, mounted());
        let (client, upstream) = rig.session(version);
        for (topic, sent, went) in [
            ("change/qos0", Q1, Q0),
            ("change/qos0", Q2, Q0),
            ("change/qos1", Q2, Q1),
            // Nothing is raised: identifiers pass one to one.
            ("change/qos2", Q0, Q0),
            ("change/qos2", Q1, Q1),
        ] {
            let server_s = format!("home/{topic}");
            for (from, to, came, goes) in
                [(client, upstream, topic, &*server_s), (upstream, client, &*server_s, topic)]
            {
                rig.sim.write(from, &message(version, came, sent, 1, false));
                assert_eq!(rig.read(to), message(version, goes, went, 1, false));
                if went == Q1 {
                    rig.sim.write(to, &puback(version, 1));
                }
                match sent {
                    Q0 => {}
                    Q1 => assert_eq!(rig.read(from), puback(version, 1)),
                    Q2 => {
                        assert_eq!(rig.read(from), pubrec(version, 1));
                        rig.sim.write(from, &pubrel(version, 1));
                        assert_eq!(rig.read(from), pubcomp(version, 1));
                    }
                }
                assert_eq!(rig.sim.read(to), b"");
            }
        }
    }
}

#[test]
fn what_no_hook_changed_leaves_as_the_bytes_that_came() {
    for seed in 0..5 {
        for version in VERSIONS {
            let mut rig = rig(seed, rules().0);
            let (client, upstream) = rig.session(version);
            let mut text = Vec::new();
            for index in 0..500u32 {
                let payload = vec![index as u8; rig.sim.random().below(300)];
                text.extend(publish(version, &payload));
            }
            // Longer forms than need be are kept, too.
            if version == Version::V5 {
                text.extend(b"\x40\x04\x00\x63\x00\x00");
            }
            rig.sim.write(client, &text);
            rig.sim.write(upstream, &text);
            rig.sim.run(20 * SECOND);
            assert!(rig.sim.read(upstream) == text, "seed {seed}");
            assert!(rig.sim.read(client) == text, "seed {seed}");
        }
    }
}
