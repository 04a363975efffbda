//! Topics by other names: mount points, rules and permissions together, and whether there is a way around them; in the
//! broker, and in the proxy before a mosquitto that lets everybody do everything.

use std::fmt::Write as _;
use std::io::Write as _;
use std::num::NonZeroU16;

use mqway_codec::{
    Ack, Connack, Connect, Packet, PacketId, PropertiesBuf, Property, Publish, QoS, ReasonCode, Subscribe,
    SubscribeOptions, SubscriptionsBuf, TopicFilter, TopicFiltersBuf, Unsubscribe, Version, Will, decode,
};
use tempfile::TempDir;

use crate::support::mosquitto::Mosquitto;
use crate::support::mqway::{Proxy, Running};
use crate::support::packets;
use crate::support::{Kind, SOON, Stream, dial, eventually};

/// `alice` and `bob` live below mount points, `root` sees what there is.
const TOPICS: &str = r#"
[[topics]]
users = ["alice", "bob"]
mount = "tenants/%u/"
rewrite = ["hidden/# -> secret/#", "room/+n/light -> lights/{n}"]

[[topics]]
users = ["carol"]
rewrite = ["me/# -> users/%u/#"]

[[topics]]
users = ["dave"]
mount = "tenants/%u/"
subscribe = ["commands/%c/#", "hidden/x", "news"]
subscribe_qos = 1
"#;

const RULES: &str = r#"
[[rules]]
deny = "all"
topics = ["+/%u/secret/#", "tenants/dave/hidden/#"]

[[rules]]
deny = ["publish"]
topics = ["tenants/%u/lights/9"]

[[rules]]
allow = "all"
topics = ["tenants/%u/#", "users/%u/#", "open/#"]

[[rules]]
allow = "all"
users = "root"
"#;

struct Files(TempDir);

impl Files {
    fn new(topics: &str) -> Files {
        let files = Files(TempDir::with_prefix("mqway-topics-").unwrap());
        std::fs::write(files.0.path().join("acl.toml"), RULES).unwrap();
        files.write(topics);
        files
    }

    fn write(&self, topics: &str) {
        let rules = self.0.path().join("acl.toml");
        let text = format!("[access]\nacl_file = '{}'\nallow_anonymous = true\n{topics}", rules.display());
        std::fs::write(self.0.path().join("mqway.toml"), text).unwrap();
    }

    /// With one worker: what was accepted first is delivered first, whoever sent it.
    fn start(&self, server: Proxy) -> Running {
        let server = server.listen("tcp://127.0.0.1:0").arguments(&["--workers", "1", "--config"]);
        server.argument(self.0.path().join("mqway.toml")).start()
    }
}

/// Has a broker checked, and a proxy before a mosquitto.
fn both(topics: &str, check: impl Fn(&Running, &Files)) {
    let files = Files::new(topics);
    check(&files.start(Proxy::broker()), &files);
    let mosquitto = Mosquitto::start();
    files.write(topics);
    check(&files.start(Proxy::new().upstream(&mosquitto.url(Kind::Tcp))), &files);
}

/// A client that says what it likes and keeps what it hears.
struct Player {
    stream: Box<dyn Stream>,
    version: Version,
    next: PacketId,
    /// Topics of messages, with `payload` behind, and `<response topic>` if there is one.
    heard: Vec<String>,
}

impl Player {
    /// Connects, and must be let in.
    fn enter(server: &Running, version: Version, user: &str) -> Player {
        let mut connect = Connect::new(version, user);
        connect.user_name = Some(user);
        Player::connect(server, &connect).unwrap_or_else(|reason| panic!("{user}: {reason:?}"))
    }

    fn connect(server: &Running, connect: &Connect<'_>) -> Result<Player, ReasonCode> {
        let stream = dial(server.url(0));
        let version = connect.version;
        let mut player = Player { stream, version, next: PacketId::MIN, heard: Vec::new() };
        player.say(&Packet::Connect(*connect));
        let bytes = packets::read(&mut player.stream).expect("CONNACK");
        let Ok(Packet::Connack(Connack { reason, .. })) = decode(version, &bytes) else {
            panic!("{bytes:?}")
        };
        if reason.is_error() { Err(reason) } else { Ok(player) }
    }

    fn say(&mut self, packet: &Packet<'_>) {
        let mut bytes = Vec::new();
        packet.encode(self.version, &mut bytes).unwrap();
        self.stream.write_all(&bytes).unwrap();
    }

    /// Hears packets until `done` gives something for one of them. Messages are acknowledged and kept.
    fn until<T>(&mut self, done: impl Fn(&Packet<'_>) -> Option<T>) -> T {
        loop {
            let bytes = packets::read(&mut self.stream).expect("the connection goes on");
            let packet = decode(self.version, &bytes).unwrap();
            match &packet {
                Packet::Publish(publish) => self.hear(publish),
                Packet::Pubrel(ack) => self.say(&Packet::Pubcomp(Ack::new(ack.packet_id))),
                _ => {}
            }
            if let Some(found) = done(&packet) {
                return found;
            }
        }
    }

    fn hear(&mut self, publish: &Publish<'_>) {
        let mut line = format!("{} {}", publish.topic, String::from_utf8_lossy(publish.payload));
        if let Some(response) = publish.properties.response_topic() {
            write!(line, " <{response}>").unwrap();
        }
        self.heard.push(line);
        match (publish.qos, publish.packet_id) {
            (QoS::AtLeastOnce, Some(id)) => self.say(&Packet::Puback(Ack::new(id))),
            (QoS::ExactlyOnce, Some(id)) => self.say(&Packet::Pubrec(Ack::new(id))),
            _ => {}
        }
    }

    /// Publishes, and takes part in whatever follows. The reason that comes back; none with QoS 0.
    fn publish(&mut self, mut publish: Publish<'_>) -> Option<ReasonCode> {
        let id = self.next;
        if publish.qos > QoS::AtMostOnce {
            publish.packet_id = Some(id);
            self.next = id.next();
        }
        self.say(&Packet::Publish(publish));
        let reason = match publish.qos {
            QoS::AtMostOnce => return None,
            QoS::AtLeastOnce => self.until(|packet| match packet {
                Packet::Puback(ack) if ack.packet_id == id => Some(ack.reason),
                _ => None,
            }),
            QoS::ExactlyOnce => self.until(|packet| match packet {
                Packet::Pubrec(ack) if ack.packet_id == id => Some(ack.reason),
                _ => None,
            }),
        };
        if publish.qos == QoS::ExactlyOnce && !reason.is_error() {
            self.say(&Packet::Pubrel(Ack::new(id)));
            self.until(|packet| matches!(packet, Packet::Pubcomp(ack) if ack.packet_id == id).then_some(()));
        }
        Some(reason)
    }

    fn send(&mut self, topic: &str, payload: &str, qos: QoS) -> Option<ReasonCode> {
        let mut publish = Publish::new(topic, payload.as_bytes());
        publish.qos = qos;
        self.publish(publish)
    }

    /// Subscribes; what is granted, or why not.
    fn subscribe(&mut self, filter: &str, qos: QoS) -> ReasonCode {
        let mut subscriptions = SubscriptionsBuf::new();
        subscriptions.push(TopicFilter::new(filter).unwrap(), SubscribeOptions::new(qos));
        let id = self.next;
        self.next = id.next();
        self.say(&Packet::Subscribe(Subscribe::new(id, subscriptions.as_subscriptions())));
        self.until(|packet| match packet {
            Packet::Suback(suback) if suback.packet_id == id => suback.codes.iter().next(),
            _ => None,
        })
    }

    fn unsubscribe(&mut self, filter: &str) {
        let mut filters = TopicFiltersBuf::new();
        filters.push(TopicFilter::new(filter).unwrap());
        let id = self.next;
        self.next = id.next();
        self.say(&Packet::Unsubscribe(Unsubscribe::new(id, filters.as_filters())));
        self.until(|packet| matches!(packet, Packet::Unsuback(one) if one.packet_id == id).then_some(()));
    }

    /// All that it has heard, once everything that was for it must have come: what it had to wait for is said by `root`.
    fn all(&mut self, end: &str) -> Vec<String> {
        if !self.heard.iter().any(|line| line == end) {
            self.until(|packet| match packet {
                Packet::Publish(publish) => {
                    let line = format!("{} {}", publish.topic, String::from_utf8_lossy(publish.payload));
                    (line == end).then_some(())
                }
                _ => None,
            });
        }
        let mut heard = std::mem::take(&mut self.heard);
        heard.retain(|line| line != end);
        heard
    }
}

const VERSIONS: [Version; 2] = [Version::V3_1_1, Version::V5];
const ALL_QOS: [QoS; 3] = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];

/// What a client is told of a PUBLISH that is refused: before 5.0 that all is well, with QoS 0 nothing.
fn refused(version: Version, qos: QoS, reason: ReasonCode) -> Option<ReasonCode> {
    let told = if version == Version::V5 { reason } else { ReasonCode::Success };
    (qos > QoS::AtMostOnce).then_some(told)
}

/// Whatever a client in a mount point tries, with a neighbour and the whole server as witnesses.
#[test]
fn there_is_no_way_around_mount_points_rules_and_permissions() {
    both(TOPICS, |server, _| {
        for version in VERSIONS {
            for qos in ALL_QOS {
                messages_stay_where_they_belong(server, version, qos);
                subscriptions_bring_only_what_belongs(server, version, qos);
            }
            wills_are_messages(server, version);
        }
        aliases_stand_for_what_was_judged(server);
        response_topics_lead_nowhere_else(server);
    });
}

fn messages_stay_where_they_belong(server: &Running, version: Version, qos: QoS) {
    let mut alice = Player::enter(server, version, "alice");
    let mut bob = Player::enter(server, version, "bob");
    let mut root = Player::enter(server, Version::V5, "root");
    bob.subscribe("#", qos);
    root.subscribe("#", qos);
    let name_invalid = refused(version, qos, ReasonCode::TopicNameInvalid);
    let not_allowed = refused(version, qos, ReasonCode::NotAuthorized);
    let attempts = [
        ("$SYS/x", Some(name_invalid)),
        ("$share/g/tenants/bob/x", Some(name_invalid)),
        ("$foo/x", Some(name_invalid)),
        ("secret/x", Some(name_invalid)),
        ("hidden/x", Some(not_allowed)),
        ("hidden", Some(not_allowed)),
        ("lights/9", Some(name_invalid)),
        ("room/9/light", Some(not_allowed)),
        ("room/8/light", None),
        ("tenants/bob/x", None),
        ("../bob/x", None),
        ("/bob/x", None),
        ("a", None),
    ];
    // Twice, since what is remembered of the first must not help the second.
    for (topic, expected) in attempts.iter().chain(&attempts) {
        let heard = alice.send(topic, "x", qos);
        if let Some(expected) = expected {
            assert_eq!(heard, *expected, "{topic} by {version:?} with {qos:?}");
        } else {
            assert!(heard.is_none_or(|reason| !reason.is_error()), "{topic}: {heard:?}");
        }
    }
    alice.send("last", "x", QoS::AtLeastOnce);
    bob.send("mine", "x", qos);
    root.send("tenants/bob/end", "x", qos);
    root.send("end", "x", qos);
    assert_eq!(bob.all("end x"), ["mine x"]);
    let mut seen = root.all("end x");
    seen.retain(|line| line != "tenants/bob/end x" && !line.starts_with("$SYS"));
    seen.sort();
    seen.dedup();
    let mut expected = [
        "tenants/alice/lights/8 x",
        "tenants/alice/tenants/bob/x x",
        "tenants/alice/../bob/x x",
        "tenants/alice//bob/x x",
        "tenants/alice/a x",
        "tenants/alice/last x",
        "tenants/bob/mine x",
    ];
    expected.sort_unstable();
    assert_eq!(seen, expected, "{version:?} {qos:?}");
}

fn subscriptions_bring_only_what_belongs(server: &Running, version: Version, qos: QoS) {
    let mut root = Player::enter(server, Version::V5, "root");
    // Retained, so that it would be found also by who comes later.
    let kept = [
        "tenants/bob/r",
        "tenants/alice/secret/r",
        "tenants/alice/$x/r",
        "tenants/alice",
        "tenants/alice/r",
        "r",
    ];
    for topic in kept {
        let mut publish = Publish::new(topic, b"kept");
        (publish.qos, publish.retain) = (QoS::AtLeastOnce, true);
        root.publish(publish);
    }
    let no = |reason: ReasonCode| if version == Version::V5 { reason } else { ReasonCode::UnspecifiedError };
    let mut alice = Player::enter(server, version, "alice");
    for (filter, reason) in [
        ("$SYS/#", Some(ReasonCode::TopicFilterInvalid)),
        ("$foo/#", Some(ReasonCode::TopicFilterInvalid)),
        ("secret/#", Some(ReasonCode::TopicFilterInvalid)),
        ("lights/+", Some(ReasonCode::TopicFilterInvalid)),
        ("hidden/#", Some(ReasonCode::NotAuthorized)),
        ("hidden/x", Some(ReasonCode::NotAuthorized)),
        ("room/+/light", None),
        ("+/+/light", Some(ReasonCode::TopicFilterInvalid)),
        ("$share/g/hidden/#", Some(ReasonCode::NotAuthorized)),
        ("$share/g/$foo/#", Some(ReasonCode::TopicFilterInvalid)),
        ("$share/g/secret/#", Some(ReasonCode::TopicFilterInvalid)),
        ("../bob/#", None),
        ("tenants/#", None),
        ("#", None),
    ] {
        let told = alice.subscribe(filter, qos);
        match reason {
            Some(reason) => assert_eq!(told, no(reason), "{filter} by {version:?}"),
            None => assert!(!told.is_error(), "{filter}: {told:?}"),
        }
    }
    let others = [
        "tenants/bob/x",
        "tenants/alice/secret/x",
        "tenants/alice/$SYS/x",
        "tenants/alice/hidden/x",
        "x",
        "tenants/alice/lights/3",
    ];
    for topic in others.iter().chain(&others) {
        root.send(topic, "x", QoS::AtLeastOnce);
    }
    root.send("tenants/alice/end", "x", QoS::AtLeastOnce);
    let mut heard = alice.all("end x");
    heard.sort();
    heard.dedup(); // Filters overlap.
    assert_eq!(heard, ["r kept", "room/3/light x"], "{version:?} {qos:?}");
    for filter in ["#", "tenants/#", "../bob/#", "room/+/light"] {
        alice.unsubscribe(filter);
    }
    assert!(!alice.subscribe("$share/g/fin/#", qos).is_error());
    for topic in ["tenants/alice/x", "tenants/bob/fin/x", "fin/x"] {
        root.send(topic, "x", QoS::AtLeastOnce);
    }
    root.send("tenants/alice/fin/end", "x", QoS::AtLeastOnce);
    assert_eq!(alice.all("fin/end x"), [""; 0]);
    for topic in kept {
        let mut publish = Publish::new(topic, b"");
        (publish.qos, publish.retain) = (QoS::AtLeastOnce, true);
        root.publish(publish);
    }
}

fn wills_are_messages(server: &Running, version: Version) {
    let mut root = Player::enter(server, Version::V5, "root");
    root.subscribe("#", QoS::AtLeastOnce);
    let with_will = |topic| {
        let mut connect = Connect::new(version, "alice-with-will");
        connect.user_name = Some("alice");
        connect.will = Some(Will { qos: QoS::AtLeastOnce, ..Will::new(topic, b"gone") });
        Player::connect(server, &connect)
    };
    for topic in ["hidden/x", "secret/x", "$foo/x"] {
        assert!(with_will(topic).is_err(), "a will to {topic}");
    }
    drop(with_will("tenants/bob/x").expect("a will of its own"));
    root.until(|packet| {
        matches!(packet, Packet::Publish(publish) if publish.payload == b"gone").then_some(())
    });
    let wills = root.heard.iter().filter(|line| line.ends_with(" gone")).collect::<Vec<_>>();
    assert_eq!(wills, ["tenants/alice/tenants/bob/x gone"]);
}

fn aliases_stand_for_what_was_judged(server: &Running) {
    let mut alice = Player::enter(server, Version::V5, "alice");
    let mut root = Player::enter(server, Version::V5, "root");
    root.subscribe("tenants/#", QoS::AtLeastOnce);
    let mut aliased = PropertiesBuf::new();
    aliased.push(Property::TopicAlias(NonZeroU16::MIN)).unwrap();
    let mut say = |topic: &str, payload: &str| {
        let mut publish = Publish::new(topic, payload.as_bytes());
        (publish.qos, publish.properties) = (QoS::AtLeastOnce, aliased.as_properties());
        alice.publish(publish).unwrap()
    };
    assert!(!say("room/1/light", "named").is_error());
    assert!(!say("", "by alias").is_error());
    // The alias is another one's from here on, though that is refused.
    assert_eq!(say("hidden/x", "named"), ReasonCode::NotAuthorized);
    assert_eq!(say("", "by alias"), ReasonCode::NotAuthorized);
    assert_eq!(say("secret/x", "named"), ReasonCode::TopicNameInvalid);
    assert_eq!(say("", "by alias"), ReasonCode::TopicNameInvalid);
    root.send("tenants/end", "x", QoS::AtLeastOnce);
    assert_eq!(
        root.all("tenants/end x"),
        ["tenants/alice/lights/1 named", "tenants/alice/lights/1 by alias"]
    );
}

fn response_topics_lead_nowhere_else(server: &Running) {
    let mut alice = Player::enter(server, Version::V5, "alice");
    let mut root = Player::enter(server, Version::V5, "root");
    root.subscribe("tenants/#", QoS::AtLeastOnce);
    alice.subscribe("#", QoS::AtLeastOnce);
    let ask = |player: &mut Player, topic: &str, response: &str| {
        let mut properties = PropertiesBuf::new();
        properties.push(Property::UserProperty("kept", "yes")).unwrap();
        properties.push(Property::ResponseTopic(response)).unwrap();
        let mut publish = Publish::new(topic, b"?");
        (publish.qos, publish.properties) = (QoS::AtLeastOnce, properties.as_properties());
        player.publish(publish).unwrap()
    };
    assert!(!ask(&mut alice, "ask", "room/1/light").is_error());
    assert_eq!(ask(&mut alice, "ask", "secret/x"), ReasonCode::TopicNameInvalid);
    assert_eq!(ask(&mut alice, "ask", "$foo/x"), ReasonCode::TopicNameInvalid);
    ask(&mut root, "tenants/alice/a", "tenants/alice/lights/7");
    ask(&mut root, "tenants/alice/b", "tenants/bob/reply");
    root.send("tenants/alice/end", "x", QoS::AtLeastOnce);
    assert_eq!(alice.all("end x"), ["ask ? <room/1/light>", "a ? <room/7/light>", "b ?"]);
    let asked = root.all("tenants/alice/end x");
    assert_eq!(asked.first().map(String::as_str), Some("tenants/alice/ask ? <tenants/alice/lights/1>"));
}

#[test]
fn rules_without_a_mount_point_leave_other_topics_as_they_are() {
    both(TOPICS, |server, _| {
        for version in VERSIONS {
            let mut carol = Player::enter(server, version, "carol");
            let mut root = Player::enter(server, Version::V5, "root");
            root.subscribe("#", QoS::AtLeastOnce);
            assert!(!carol.subscribe("me/#", QoS::AtLeastOnce).is_error());
            assert!(!carol.subscribe("open/#", QoS::AtLeastOnce).is_error());
            carol.send("me/x", "1", QoS::AtLeastOnce);
            carol.send("open/x", "2", QoS::ExactlyOnce);
            // By its own name it is not hers, and others' are none of her business.
            carol.send("users/carol/x", "3", QoS::AtLeastOnce);
            carol.send("users/dave/x", "4", QoS::AtLeastOnce);
            root.send("users/carol/y", "5", QoS::AtLeastOnce);
            root.send("me/y", "6", QoS::AtLeastOnce);
            root.send("open/end", "x", QoS::AtLeastOnce);
            assert_eq!(carol.all("open/end x"), ["me/x 1", "open/x 2", "me/y 5"]);
            let mut seen = root.all("open/end x");
            seen.retain(|line| !line.starts_with("$SYS"));
            assert_eq!(seen, ["users/carol/x 1", "open/x 2", "users/carol/y 5", "me/y 6"]);
        }
    });
}

#[test]
fn clients_have_subscriptions_that_they_did_not_ask_for() {
    both(TOPICS, |server, _| {
        for version in [Version::V3_1, Version::V3_1_1, Version::V5] {
            let mut root = Player::enter(server, Version::V5, "root");
            let mut publish = Publish::new("tenants/dave/news", b"kept");
            (publish.qos, publish.retain) = (QoS::AtLeastOnce, true);
            root.publish(publish);
            // It goes on with what it says at once, whatever the server has to do for it meanwhile.
            let mut dave = Player::enter(server, version, "dave");
            assert!(!dave.subscribe("other", QoS::AtMostOnce).is_error());
            dave.send("commands/dave/own", "x", QoS::ExactlyOnce);
            for topic in [
                "tenants/dave/commands/dave",
                "tenants/dave/commands/bob",
                "commands/dave",
                "tenants/dave/hidden/x",
            ] {
                root.send(topic, "x", QoS::AtLeastOnce);
            }
            root.send("tenants/dave/commands/dave/end", "x", QoS::AtLeastOnce);
            let heard = dave.all("commands/dave/end x");
            assert_eq!(heard, ["news kept", "commands/dave/own x", "commands/dave x"], "{version:?}");
            dave.unsubscribe("commands/dave/#");
            root.send("tenants/dave/commands/dave", "x", QoS::AtLeastOnce);
            root.send("tenants/dave/news", "end", QoS::AtLeastOnce);
            assert_eq!(dave.all("news end"), [""; 0]);
        }
    });
}

#[test]
fn a_session_that_goes_on_has_its_subscriptions_still() {
    both(TOPICS, |server, _| {
        for version in VERSIONS {
            let mut expires = PropertiesBuf::new();
            expires.push(Property::SessionExpiryInterval(3600)).unwrap();
            let id = format!("dave-{version:?}");
            let mut connect = Connect::new(version, &id);
            (connect.user_name, connect.clean_start) = (Some("dave"), false);
            if version == Version::V5 {
                connect.properties = expires.as_properties();
            }
            let topic = format!("tenants/dave/commands/{id}/x");
            let mut root = Player::enter(server, Version::V5, "root");
            // That its subscriptions are made shows by a packet that is answered behind them.
            Player::connect(server, &connect).unwrap().subscribe("other", QoS::AtMostOnce);
            root.send(&topic, "away", QoS::AtLeastOnce);
            let mut dave = Player::connect(server, &connect).unwrap();
            root.send(&topic, "end", QoS::AtLeastOnce);
            let end = format!("commands/{id}/x end");
            assert_eq!(dave.all(&end), [format!("commands/{id}/x away")]);
        }
    });
}

#[test]
fn a_client_that_has_no_name_for_its_mount_point_is_not_let_in() {
    both(TOPICS.replace(r#"users = ["alice", "bob"]"#, "").as_str(), |server, _| {
        for version in VERSIONS {
            for user in [None, Some("a/b"), Some("+"), Some("#"), Some("")] {
                let mut connect = Connect::new(version, "c");
                connect.user_name = user;
                let refused = Player::connect(server, &connect).err();
                assert_eq!(refused, Some(ReasonCode::NotAuthorized), "{version:?} {user:?}");
            }
        }
    });
}

#[test]
fn a_reload_is_for_who_connects_then() {
    both(TOPICS, |server, files| {
        let mut root = Player::enter(server, Version::V5, "root");
        root.subscribe("+/alice/#", QoS::AtLeastOnce);
        let mut before = Player::enter(server, Version::V5, "alice");
        before.subscribe("news", QoS::AtLeastOnce);
        files.write(&TOPICS.replace("tenants/%u/", "users/%u/"));
        server.program.signal("HUP");
        let after = |id| {
            let mut connect = Connect::new(Version::V5, id);
            connect.user_name = Some("alice");
            Player::connect(server, &connect).unwrap()
        };
        assert!(eventually(SOON, || {
            let mut after = after("probe");
            after.send("probe", "x", QoS::AtLeastOnce);
            root.until(|packet| match packet {
                Packet::Publish(publish) => Some(publish.topic == "users/alice/probe"),
                _ => None,
            })
        }));
        root.heard.clear();
        before.send("x", "before", QoS::AtLeastOnce);
        after("after").send("x", "after", QoS::AtLeastOnce);
        root.send("tenants/alice/news", "end", QoS::AtLeastOnce);
        assert_eq!(before.all("news end"), [""; 0]);
        assert_eq!(root.all("tenants/alice/news end"), ["tenants/alice/x before", "users/alice/x after"]);
        // Without any of it, too, what was there goes on as it was.
        files.write("");
        server.program.signal("HUP");
        assert!(eventually(SOON, || {
            let mut plain = after("probe");
            plain.send("users/alice/probe", "x", QoS::AtLeastOnce);
            root.until(|packet| match packet {
                Packet::Publish(publish) => Some(publish.topic == "users/alice/probe"),
                _ => None,
            })
        }));
        before.send("x", "still", QoS::AtLeastOnce);
        root.send("end/alice/", "", QoS::AtLeastOnce);
        let heard = root.all("end/alice/ ");
        assert_eq!(heard.last().map(String::as_str), Some("tenants/alice/x still"));
        // A bad file changes nothing.
        files.write("[[topics]]\nrewrite = [\"a/# -> c/#\", \"a/b -> d\"]\n");
        server.program.signal("HUP");
        let line = "the rules \"a/# -> c/#\" and \"a/b -> d\" are for the same topics, such as \"a/b\"";
        assert!(server.program.stderr.contain(line), "{:?}", server.program.stderr.all());
    });
}

#[test]
fn what_cannot_be_meant_keeps_the_server_from_starting() {
    for (topics, expected) in [
        ("mount = \"a/+/\"", "[[topics]] 1: the mount point \"a/+/\" has a wildcard"),
        ("rewrite = [\"a/+x -> b\"]", "[[topics]] 1: the rule \"a/+x -> b\" leaves {x} out on the right"),
        ("subscribe = [\"$share/g/x\"]", "[[topics]] 1: the subscription to \"$share/g/x\" cannot be shared"),
        ("subscribe = [\"x\"]\nsubscribe_qos = 3", "[[topics]] 1: subscribe_qos is 3; it can be 0, 1 or 2"),
        ("mounts = \"a/\"", "there is no key `topics.mounts`; did you mean `mount`?"),
    ] {
        let files = Files::new(&format!("[[topics]]\n{topics}\n"));
        let file = files.0.path().join("mqway.toml");
        let file = file.to_str().unwrap();
        for command in [["broker", "--config"], ["config", "check"]] {
            let ended = crate::support::mqway::mqway(&[&command[..], &[file]].concat(), SOON);
            assert_eq!(ended.code, Some(2), "{ended:?}");
            assert!(ended.stderr.contains(expected) && ended.stderr.lines().count() == 1, "{ended:?}");
        }
    }
}
