//! Password and ACL files of mosquitto: what a real mosquitto decides by them, and what we decide.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use mqway_access::acl::{Acl, Grant, Subject};
use mqway_access::password::{Checked, PasswordFile};
use mqway_codec::{TopicFilter, TopicName};
use tempfile::TempDir;

use crate::support::mosquitto::Mosquitto;
use crate::support::packets::{self, Connect, PINGREQ, V5};
use crate::support::process::run;
use crate::support::{SOON, Stream, dial_tcp};

const ACL: &str = "\
# for anonymous clients
topic read public/#
topic write public/inbox
topic deny public/secret/+

user alice
topic readwrite home/+/alice/#
topic  read  sensors/#
topic deny sensors/private/#
topic write logs/alice
topic read $SYS/broker/version
topic plain
topic read +/second
topic read with blank/#

user  bob
topic readwrite #
topic deny bob/not/+
topic read $other/#

user alice
topic deny home/cellar/alice/#

user admin
topic readwrite #
topic readwrite $SYS/#
topic readwrite $other/#
topic readwrite $x/#
topic readwrite $share/#

pattern read from/%c/#
pattern readwrite own/%u/+
pattern write %u/%c
pattern deny own/+/locked
pattern write c-%c-u-%u/x
";

/// User name (its password is the same) and client identifier. No name has a `/`: that is the one difference.
const CLIENTS: [(Option<&str>, &str); 8] = [
    (None, "anon"),
    (Some("alice"), "a1"),
    (Some("alice"), "a+"),
    (Some("bob"), "b1"),
    (Some("bob"), "#"),
    (Some("carol"), "c1"),
    (Some("with blank"), "w1"),
    (Some("d#"), "d1"),
];

const TOPICS: [&str; 33] = [
    "public",
    "public/inbox",
    "public/secret",
    "public/secret/x",
    "public/secret/x/y",
    "home/attic/alice",
    "home/attic/alice/x/y",
    "home/cellar/alice",
    "home/cellar/alice/wine",
    "home/alice",
    "sensors",
    "sensors/1/temperature",
    "sensors/private",
    "sensors/private/1",
    "logs/alice",
    "logs/alice/x",
    "plain",
    "plain/x",
    "x/second",
    "$x/second",
    "with blank/x",
    "bob/not/x",
    "bob/not/x/y",
    "bob/b1",
    "$other/x",
    "from/a1",
    "from/b1/x",
    "from/a",
    "own/alice/x",
    "own/alice/locked",
    "own/carol/x",
    "own/with blank/locked",
    "c-c1-u-carol/x",
];

/// Topics that nobody can publish at all there, so that receiving them is not asked for.
const RESERVED: [&str; 4] =
    ["$SYS/broker/version", "$SYSTEM", "$share/g/x", "$SYS/broker/connection/bridge/state"];

/// Filters that are subscribed to, and what is then published.
const SUBSCRIPTIONS: [(&str, &str); 10] = [
    ("#", "sensors/1"),
    ("sensors/#", "sensors/private/1"),
    ("sensors/+", "sensors/private"),
    ("+/+", "public/inbox"),
    ("$share/g/#", "sensors/1"),
    ("$share/g/sensors/private/1", "sensors/private/1"),
    ("$share/g/+/second", "x/second"),
    ("$share/g/own/+/x", "own/carol/x"),
    ("nothing/of/mine", "nothing/of/mine"),
    ("from/#", "from/c1/x"),
];

struct Files {
    directory: TempDir,
}

impl Files {
    /// Made by mosquitto's own tools.
    fn new() -> Files {
        let files = Files { directory: TempDir::with_prefix("mqway-permissions-").unwrap() };
        fs::write(files.path("acl"), ACL).unwrap();
        fs::write(files.path("passwd"), "# users\n").unwrap();
        let users = CLIENTS.iter().filter_map(|(user, _)| *user).chain(["admin"]);
        for (user, hash) in
            users.collect::<BTreeSet<_>>().into_iter().zip(["sha512", "sha512-pbkdf2"].iter().cycle())
        {
            let mut command = Command::new("mosquitto_passwd");
            command.args(["-H", hash, "-b"]).arg(files.path("passwd")).args([user, user]);
            assert_eq!(run(command, b"", SOON).code, Some(0));
        }
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn mosquitto(&self) -> Mosquitto {
        let (passwd, acl) = (self.path("passwd"), self.path("acl"));
        Mosquitto::with(&format!("password_file {}\nacl_file {}\n", passwd.display(), acl.display()))
    }

    fn passwords(&self) -> PasswordFile {
        let file = PasswordFile::parse(&fs::read(self.path("passwd")).unwrap()).unwrap();
        assert_eq!(file.problems(), []);
        file
    }

    fn acl(&self) -> Acl {
        Acl::parse_mosquitto("acl", &fs::read_to_string(self.path("acl")).unwrap()).unwrap()
    }
}

/// A client of mosquitto.
struct Client(Box<dyn Stream>);

impl Client {
    /// `None` if it was refused.
    fn connect(mosquitto: &Mosquitto, user: Option<(&str, &str)>, client_id: &str) -> Option<Client> {
        let mut stream = dial_tcp(mosquitto.tcp());
        let connect = Connect { level: V5, user, client_id, ..Connect::default() };
        std::io::Write::write_all(&mut stream, &connect.bytes()).unwrap();
        let connack = packets::read(&mut stream).expect("a CONNACK");
        (connack[3] == 0).then(|| Client(Box::new(stream)))
    }

    fn send(&mut self, packet: &[u8]) {
        self.0.write_all(packet).unwrap();
    }

    /// Reads up to a packet of this type; the topics of messages on the way.
    fn up_to(&mut self, wanted: u8) -> (Vec<u8>, Vec<String>) {
        let mut topics = Vec::new();
        loop {
            let packet = packets::read(&mut self.0).expect("still connected");
            if packet[0] >> 4 == wanted {
                return (packet, topics);
            }
            assert_eq!(packet[0] & 0xF6, 0x30, "nothing but messages of QoS 0: {packet:02x?}");
            let body = &packet[packets::length(&packet).unwrap() - body_length(&packet)..];
            let length = usize::from(u16::from_be_bytes([body[0], body[1]]));
            topics.push(String::from_utf8(body[2..2 + length].to_vec()).unwrap());
        }
    }

    fn may_publish(&mut self, topic: &str) -> bool {
        self.send(&packets::publish(V5, topic, 1, 1, b"x"));
        let (puback, _) = self.up_to(4);
        puback.get(4).is_none_or(|reason| *reason < 0x80)
    }

    fn may_subscribe(&mut self, filter: &str) -> bool {
        self.send(&packets::subscribe(V5, 2, filter, 0));
        *self.up_to(9).0.last().unwrap() < 0x80
    }

    /// What has come by now.
    fn received(&mut self) -> Vec<String> {
        self.send(&PINGREQ);
        self.up_to(13).1
    }
}

/// How many bytes follow the fixed header.
fn body_length(packet: &[u8]) -> usize {
    let header = 2 + packet[1..].iter().take_while(|byte| **byte & 0x80 != 0).count();
    packet.len() - header
}

#[test]
fn passwords_are_right_or_wrong_as_mosquitto_finds_them() {
    let files = Files::new();
    let (mosquitto, passwords) = (files.mosquitto(), files.passwords());
    // An empty name is not asked for: mosquitto takes it for none.
    let users = ["alice", "bob", "with blank", "d#", "Alice", "nobody", "# users"];
    for user in users {
        for password in ["alice", "bob", "with blank", "d#", "", "x"] {
            let theirs = Client::connect(&mosquitto, Some((user, password)), "c").is_some();
            let ours = passwords.check(user, password.as_bytes()) == Checked::Right;
            assert_eq!(ours, theirs, "user {user:?} with password {password:?}");
        }
    }
}

#[test]
fn publications_and_messages_are_allowed_as_mosquitto_allows_them() {
    let files = Files::new();
    let (mosquitto, acl) = (files.mosquitto(), files.acl());
    let mut admin = Client::connect(&mosquitto, Some(("admin", "admin")), "admin").unwrap();
    let (mut decisions, mut allowed) = (0, 0);
    for (user, client_id) in CLIENTS {
        let mut rights = acl.rights(&Subject { user, client_id, ..Subject::default() });
        let connect = || Client::connect(&mosquitto, user.map(|user| (user, user)), client_id).unwrap();
        let mut check = |theirs: bool, ours: bool, what: &str| {
            assert_eq!(ours, theirs, "{user:?} as {client_id:?} {what}");
            decisions += 1;
            allowed += usize::from(ours);
        };
        for topic in TOPICS.into_iter().chain(RESERVED) {
            let ours = rights.may_publish(TopicName::new(topic).unwrap());
            // This mosquitto ends the connection of a client that it has refused something.
            check(connect().may_publish(topic), ours, &format!("publishes {topic}"));
        }
        let mut client = connect();
        for filter in ["#", "$other/#", "$x/#"] {
            let ours = rights.may_subscribe(TopicFilter::new(filter).unwrap()) != Grant::Refused;
            check(client.may_subscribe(filter), ours, &format!("subscribes to {filter}"));
        }
        client.received();
        for topic in TOPICS {
            assert!(admin.may_publish(topic), "{topic}");
            let ours = rights.may_receive(TopicName::new(topic).unwrap());
            check(client.received().iter().any(|own| own == topic), ours, &format!("receives {topic}"));
        }
        // This one is retained by mosquitto itself.
        assert!(client.may_subscribe("$SYS/broker/version"));
        let ours = rights.may_receive(TopicName::new("$SYS/broker/version").unwrap());
        check(!client.received().is_empty(), ours, "receives $SYS");
    }
    assert!(decisions > 500 && allowed > 100, "{allowed} of {decisions} allowed");
}

#[test]
fn subscriptions_bring_what_mosquitto_lets_through() {
    let files = Files::new();
    let (mosquitto, acl) = (files.mosquitto(), files.acl());
    let mut admin = Client::connect(&mosquitto, Some(("admin", "admin")), "admin").unwrap();
    for (user, client_id) in CLIENTS {
        for (filter, topic) in SUBSCRIPTIONS {
            let mut rights = acl.rights(&Subject { user, client_id, ..Subject::default() });
            let name = TopicName::new(topic).unwrap();
            let grant = rights.may_subscribe(TopicFilter::new(filter).unwrap());
            let ours = grant == Grant::Wholly || grant == Grant::Partly && rights.may_receive(name);
            assert_eq!(rights.may_receive(name), ours, "what is granted wholly is allowed each time");

            let mut client = Client::connect(&mosquitto, user.map(|user| (user, user)), client_id).unwrap();
            let granted = client.may_subscribe(filter);
            assert!(admin.may_publish(topic));
            let theirs = granted && client.received().iter().any(|own| own == topic);
            assert_eq!(ours, theirs, "{user:?} as {client_id:?} with {filter} receives {topic}");
        }
    }
}

#[test]
fn a_name_with_a_slash_reaches_nothing_by_patterns() {
    // mosquitto would put it in, and so let `a/b` into what belongs to `a`.
    let acl = Acl::parse_mosquitto("acl", "pattern readwrite own/%u/#\n").unwrap();
    let mut rights = acl.rights(&Subject { user: Some("a/b"), client_id: "c", ..Subject::default() });
    assert!(!rights.may_publish(TopicName::new("own/a/b/x").unwrap()));
}
