//! What hooks of the proxy refuse, on the wire between a client and a real mosquitto.

use crate::support::dial_tcp;
use crate::support::mosquitto::Mosquitto;
use crate::support::packets::{
    self, Connect, LEVELS, Level, V3_1, V5, acknowledgement, publish, string, subscribe,
};
use mqway_codec::ReasonCode;
use mqway_engine::{Bind, Bound, Listener};
use mqway_hooks::{
    Authenticate, Authorize, Client, Denial, Filter, Hooks, Later, Login, Message, Phases, Refusals,
    RefusedPublish, RefusedWill, Subscription, Transform, Verdict,
};
use mqway_proxy::{Config, Proxy, Upstream};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

/// Refuses what is called `deny`, of whatever kind.
struct Rules;

fn verdict(name: &str) -> Result<(), Denial> {
    match name.contains("deny") {
        true => Err(Denial::not_authorized("its name")),
        false => Ok(()),
    }
}

fn say(result: Result<(), Denial>) -> Verdict {
    result.map_or_else(Verdict::Deny, |()| Verdict::Pass)
}

impl Authenticate for Rules {
    fn name(&self) -> &str {
        "rules"
    }

    fn authenticate(&self, _: &mut Client, login: &mut Login<'_>, _: Later<'_>) -> Verdict {
        say(verdict(&login.client_id))
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
        say(verdict(message.topic()))
    }

    fn subscribe(&self, _: &mut Client, wanted: &mut Subscription<'_>, _: Later<'_>) -> Verdict {
        say(verdict(wanted.filter.as_str()))
    }

    fn unsubscribe(&self, _: &mut Client, filter: &Filter<'_>) -> Result<(), Denial> {
        verdict(filter.as_str())
    }

    fn deliver(&self, _: &mut Client, message: &Message<'_>) -> Result<(), Denial> {
        // What is published to `deny` is refused on its way in; this is what comes past the proxy.
        verdict(message.topic()).and_then(|()| match message.payload().starts_with(b"deny") {
            true => Err(Denial::not_authorized("its payload")),
            false => Ok(()),
        })
    }
}

/// Moves everything below `home/`, both ways.
struct Mount;

fn moved(filter: &mut Filter<'_>) -> Result<(), Denial> {
    let moved = format!("home/{}", filter.matched());
    filter.set_matched(&moved).map_err(|_| Denial::not_authorized("mount"))
}

impl Transform for Mount {
    fn name(&self) -> &str {
        "mount"
    }

    fn publish(&self, _: &mut Client, message: &mut Message<'_>) -> Result<(), Denial> {
        let topic = format!("home/{}", message.topic());
        message.set_topic(topic).map_err(|_| Denial::not_authorized("mount"))
    }

    fn subscribe(&self, _: &mut Client, wanted: &mut Subscription<'_>) -> Result<(), Denial> {
        moved(&mut wanted.filter)
    }

    fn unsubscribe(&self, _: &mut Client, filter: &mut Filter<'_>) -> Result<(), Denial> {
        moved(filter)
    }

    fn deliver(&self, _: &mut Client, message: &mut Message<'_>) -> Result<(), Denial> {
        let topic = message.topic().strip_prefix("home/").map(str::to_owned);
        let topic = topic.ok_or_else(|| Denial::not_authorized("mount"))?;
        message.set_topic(topic).map_err(|_| Denial::not_authorized("mount"))
    }
}

fn rules() -> Hooks {
    let mut hooks = Hooks::new();
    hooks.add_authenticate(Arc::new(Rules));
    hooks.add_authorize(Arc::new(Rules));
    hooks
}

/// A proxy of ours in front of a mosquitto; it stops when it goes.
struct Between {
    proxy: Option<Proxy>,
    address: SocketAddr,
}

impl Between {
    fn start(mosquitto: &Mosquitto, hooks: Hooks, refusals: Refusals) -> Between {
        let upstream = mosquitto.tcp();
        let config = Config {
            listeners: vec![Listener::new(Bind::tcp("127.0.0.1", 0))],
            upstreams: vec![Upstream::tcp(&upstream.ip().to_string(), upstream.port())],
            hooks,
            refusals,
            ..Config::default()
        };
        let proxy = Proxy::start(config).unwrap();
        let Bound::Tcp(address) = proxy.addresses()[0] else { panic!("a TCP listener") };
        Between { proxy: Some(proxy), address }
    }
}

impl Drop for Between {
    fn drop(&mut self) {
        if let Some(proxy) = self.proxy.take() {
            proxy.stop(Duration::from_secs(1));
            proxy.join();
        }
    }
}

/// A raw client.
pub struct Raw(TcpStream, Level);

impl Raw {
    pub fn open(address: SocketAddr, connect: &[u8], level: Level) -> Raw {
        let mut stream = dial_tcp(address);
        stream.write_all(connect).unwrap();
        Raw(stream, level)
    }

    pub fn connected(address: SocketAddr, level: Level, id: &str) -> Raw {
        let mut raw = Raw::open(address, &packets::connect(level, id), level);
        let connack = raw.hear().unwrap();
        assert_eq!((connack[0], connack[3]), (0x20, 0));
        raw
    }

    pub fn say(&mut self, packet: &[u8]) {
        self.0.write_all(packet).unwrap();
    }

    pub fn hear(&mut self) -> Option<Vec<u8>> {
        packets::read(&mut self.0)
    }

    #[track_caller]
    pub fn hears(&mut self, expected: &[u8]) {
        let heard = self.hear();
        assert_eq!(heard.as_deref(), Some(expected), "MQTT {}", packets::name(self.1));
    }

    /// Everything of a PUBLISH that must be acknowledged, done; its topic and payload.
    pub fn receive(&mut self) -> (String, Vec<u8>) {
        loop {
            let packet = self.hear().expect("a message");
            let qos = packet[0] >> 1 & 3;
            match (packet[0] >> 4, qos) {
                (3, 1) => self.say(&acknowledgement(0x40, packets::publish_id(&packet))),
                (3, 2) => self.say(&acknowledgement(0x50, packets::publish_id(&packet))),
                (6, _) => {
                    self.say(&acknowledgement(0x70, packets::id(&packet)));
                    continue;
                }
                _ => {}
            }
            if packet[0] >> 4 == 3 {
                return message_of(self.1, &packet);
            }
        }
    }
}

fn message_of(level: Level, packet: &[u8]) -> (String, Vec<u8>) {
    let mut decoder =
        mqway_codec::Decoder::with_version(mqway_codec::Version::from_level(level).unwrap(), usize::MAX);
    match decoder.next(packet).unwrap() {
        Some((mqway_codec::Packet::Publish(publish), _)) => {
            (publish.topic.to_owned(), publish.payload.to_vec())
        }
        other => panic!("{other:?}"),
    }
}

/// Reads messages at mosquitto until the one that comes last, and gives their topics.
fn seen_until(witness: &mut Raw, last: &str) -> Vec<String> {
    let mut seen = Vec::new();
    loop {
        let (topic, _) = witness.receive();
        if topic == last {
            return seen;
        }
        seen.push(topic);
    }
}

fn code(level: Level, first: u8, id: u16, reason: ReasonCode) -> Vec<u8> {
    match level {
        V5 => packets::packet(first, &[&id.to_be_bytes()[..], &[reason.code()]].concat()),
        _ => acknowledgement(first, id),
    }
}

#[test]
fn every_refusal_is_what_its_version_has_for_it() {
    let mosquitto = Mosquitto::start();
    let between = Between::start(&mosquitto, rules(), Refusals::default());
    let mut witness = Raw::connected(mosquitto.tcp(), V5, "witness");
    witness.say(&subscribe(V5, 1, "#", 2));
    witness.hears(&[0x90, 4, 0, 1, 0, 2]);
    let no = ReasonCode::NotAuthorized;
    for level in LEVELS {
        let v5 = level == V5;
        // CONNECT, and a will.
        let mut refused = Raw::open(between.address, &packets::connect(level, "deny"), level);
        let connack = refused.hear().unwrap();
        assert_eq!((connack[0], connack[3]), (0x20, if v5 { 0x87 } else { 5 }));
        assert!(refused.hear().is_none());
        let will =
            Connect { level, client_id: "will", will: Some(("deny/will", b"x")), ..Connect::default() };
        assert_eq!(
            Raw::open(between.address, &will.bytes(), level).hear().unwrap()[3],
            if v5 { 0x87 } else { 5 }
        );

        let mut client = Raw::connected(between.address, level, "c");
        // PUBLISH, of each QoS.
        client.say(&publish(level, "deny/0", 0, 0, b"x"));
        client.say(&publish(level, "deny/1", 1, 1, b"x"));
        client.hears(&code(level, 0x40, 1, no));
        client.say(&publish(level, "deny/2", 2, 2, b"x"));
        client.hears(&code(level, 0x50, 2, no));
        if !v5 {
            client.say(&acknowledgement(0x62, 2));
            client.hears(&acknowledgement(0x70, 2));
        }
        // SUBSCRIBE: the first, the last, every filter.
        let (mut several, mut answer) = (vec![0, 3], vec![0, 3]);
        if v5 {
            several.push(0);
            answer.push(0);
        }
        for filter in ["deny/#", "fine/#", "deny/x"] {
            several.extend([string(filter), vec![1]].concat());
        }
        if level != V3_1 {
            client.say(&packets::packet(0x82, &several));
            let denied = if v5 { 0x87 } else { 0x80 };
            answer.extend([denied, 1, denied]);
            client.hears(&packets::packet(0x90, &answer));
            client.say(&subscribe(level, 4, "deny/#", 1));
            client.hears(&if v5 { vec![0x90, 4, 0, 4, 0, 0x87] } else { vec![0x90, 3, 0, 4, 0x80] });
        } else {
            client.say(&subscribe(level, 4, "fine/#", 1));
            client.hears(&[0x90, 3, 0, 4, 1]);
        }
        // A delivery of each QoS: others come, in order, and mosquitto's window stays open.
        for round in 0..60 {
            let payload: &[u8] = if round % 3 == 0 { b"fine" } else { b"deny" };
            let qos = (round % 2) as u8 + 1;
            witness.say(&publish(V5, "fine/topic", qos, 100 + round, payload));
            // Its own copy, and the end of its own exchange.
            let mut done = [false, false];
            while done != [true, true] {
                let packet = witness.hear().expect("mosquitto goes on");
                match packet[0] >> 4 {
                    3 if packet[0] >> 1 & 3 == 2 => {
                        witness.say(&acknowledgement(0x50, packets::publish_id(&packet)));
                    }
                    3 => {
                        witness.say(&acknowledgement(0x40, packets::publish_id(&packet)));
                        done[0] = true;
                    }
                    5 => witness.say(&acknowledgement(0x62, packets::id(&packet))),
                    6 => {
                        witness.say(&acknowledgement(0x70, packets::id(&packet)));
                        done[0] = true;
                    }
                    _ => done[1] = true,
                }
            }
        }
        for _ in 0..20 {
            assert_eq!(client.receive(), ("fine/topic".to_owned(), b"fine".to_vec()));
        }
        // What was allowed has arrived, and nothing else.
        client.say(&publish(level, "last", 0, 0, b"x"));
        assert_eq!(seen_until(&mut witness, "last"), [""; 0]);
        client.say(&packets::DISCONNECT);
    }
}

#[test]
fn a_policy_may_close_and_leave_wills_out() {
    let mosquitto = Mosquitto::start();
    let refusals = Refusals { publish: RefusedPublish::Close, will: RefusedWill::LeaveOut };
    let between = Between::start(&mosquitto, rules(), refusals);
    let mut witness = Raw::connected(mosquitto.tcp(), V5, "witness");
    witness.say(&subscribe(V5, 1, "#", 0));
    witness.hears(&[0x90, 4, 0, 1, 0, 0]);
    for level in LEVELS {
        let will =
            Connect { level, client_id: "will", will: Some(("deny/will", b"x")), ..Connect::default() };
        for qos in [0, 1] {
            let mut client = Raw::open(between.address, &will.bytes(), level);
            assert_eq!(client.hear().unwrap()[3], 0);
            client.say(&publish(level, "deny/x", qos, 1, b"x"));
            match (level, qos) {
                (V5, 0) => client.hears(&[0xe0, 1, 0x87]),
                (V5, _) => {
                    client.hears(&[0x40, 3, 0, 1, 0x87]);
                    client.say(&packets::DISCONNECT);
                }
                _ => {}
            }
            assert!(client.hear().is_none());
        }
        let mut client = Raw::connected(between.address, level, "c");
        client.say(&publish(level, "last", 0, 0, b"x"));
        assert_eq!(seen_until(&mut witness, "last"), [""; 0]);
    }
    let mut client = Raw::connected(between.address, V3_1, "c");
    client.say(&subscribe(V3_1, 1, "deny/#", 1));
    assert!(client.hear().is_none());
}

#[test]
fn a_mount_point_is_not_seen_from_within() {
    let mosquitto = Mosquitto::start();
    let mut hooks = rules();
    hooks.add_transform(Arc::new(Mount));
    let between = Between::start(&mosquitto, hooks, Refusals::default());
    let mut witness = Raw::connected(mosquitto.tcp(), V5, "witness");
    witness.say(&subscribe(V5, 1, "#", 0));
    witness.hears(&[0x90, 4, 0, 1, 0, 0]);
    for level in LEVELS {
        let mut client = Raw::connected(between.address, level, "c");
        client.say(&subscribe(level, 1, "a/+", 2));
        let granted = if level == V5 { vec![0x90, 4, 0, 1, 0, 2] } else { vec![0x90, 3, 0, 1, 2] };
        client.hears(&granted);
        let mut publisher = Raw::connected(between.address, level, "p");
        for qos in 0..3 {
            publisher.say(&publish(level, "a/b", qos, 7, b"x"));
            match qos {
                1 => publisher.hears(&acknowledgement(0x40, 7)),
                2 => {
                    publisher.hears(&acknowledgement(0x50, 7));
                    publisher.say(&acknowledgement(0x62, 7));
                    publisher.hears(&acknowledgement(0x70, 7));
                }
                _ => {}
            }
            assert_eq!(client.receive(), ("a/b".to_owned(), b"x".to_vec()));
            assert_eq!(witness.receive(), ("home/a/b".to_owned(), b"x".to_vec()));
        }
        client.say(&packets::DISCONNECT);
    }
}

#[test]
fn a_plugin_lists_and_ends_connections() {
    let mosquitto = Mosquitto::start();
    let between = Between::start(&mosquitto, rules(), Refusals::default());
    let mut one = Raw::connected(between.address, V5, "one");
    let mut two = Raw::connected(between.address, V3_1, "two");
    let server = between.proxy.as_ref().unwrap().server();
    let mut known: Vec<_> = server.sessions().into_iter().map(|session| session.client_id).collect();
    known.sort();
    assert_eq!(known, ["one", "two"]);
    assert!(server.end_session("one"));
    one.hears(&[0xe0, 1, 0x98]);
    assert!(server.end_session("two"));
    assert!(two.hear().is_none());
    assert!(!server.end_session("two"));
    assert!(server.sessions().is_empty());
}

#[test]
fn an_upgrade_that_is_not_accepted_is_answered_in_http() {
    struct Door;
    impl mqway_hooks::Accept for Door {
        fn name(&self) -> &str {
            "door"
        }
        fn accept(&self, _: &str, facts: &mqway_transport::facts::Facts) -> Result<(), Denial> {
            let http = facts.http.as_ref().expect("a WebSocket");
            match http.query.as_deref() {
                Some("token=good") => Ok(()),
                Some(_) => Err(Denial::new(ReasonCode::BadUserNameOrPassword, "a bad token")),
                None => Err(Denial::new(ReasonCode::Banned, "no token").say("no token")),
            }
        }
    }
    let mut hooks = Hooks::new();
    hooks.add_accept(Arc::new(Door));
    let mut listener = Listener::new(Bind::tcp("127.0.0.1", 0));
    listener.options.websocket = Some(Arc::default());
    let config = Config { listeners: vec![listener], hooks, ..Config::default() };
    let proxy = Proxy::start(config).unwrap();
    let Bound::Tcp(address) = proxy.addresses()[0] else { panic!("a TCP listener") };
    for (path, status, counted) in
        [("/mqtt", "403", 1), ("/mqtt?token=bad", "401", 2), ("/mqtt?token=good", "101", 2)]
    {
        let mut stream = dial_tcp(address);
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(answer, *format!("HTTP/1.1 {status}").as_bytes());
        assert_eq!(proxy.counters().snapshot().accepts_denied, counted, "asked once");
    }
    proxy.stop(Duration::ZERO);
    proxy.join();
}
