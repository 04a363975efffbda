//! Every phase of hooks through a real program: `examples/recorder.rs`, which tells of each, and paho as its client.

use crate::support::actor::Actor;
use crate::support::mosquitto::Mosquitto;
use crate::support::packets::{Connect, V5, binary, packet, string, variable};
use crate::support::process::{Lines, Program};
use crate::support::raw::Raw;
use crate::support::{Kind, SOON};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

const VERSIONS: [&str; 2] = ["3.1.1", "5.0"];

/// The example, as a server.
struct Recorded {
    program: Program,
    url: String,
    _directory: TempDir,
}

/// An example as `cargo test` has built it, beside this test.
pub fn built(name: &str) -> PathBuf {
    let ours = std::env::current_exe().unwrap();
    let example = ours.parent().and_then(Path::parent).unwrap().join("examples").join(name);
    if !example.exists() {
        // Only this test was asked for.
        let arguments = ["build", "--quiet", "--package", "mqway", "--examples"];
        assert!(Command::new(env!("CARGO")).args(arguments).status().unwrap().success());
    }
    example
}

impl Recorded {
    /// With one rule: nobody publishes to `secret`.
    fn start(arguments: &[&str]) -> Recorded {
        let directory = TempDir::with_prefix("mqway-recorder-").unwrap();
        let (acl, settings) = (directory.path().join("acl"), directory.path().join("recorder.toml"));
        fs::write(&acl, "pattern deny secret\npattern readwrite #\n").unwrap();
        let text = format!("[access]\nacl_file = '{}'\n[plugins.recorder]\n", acl.display());
        fs::write(&settings, text).unwrap();
        let mut command = Command::new(built("recorder"));
        command.args(arguments).args(["--listen", "tcp://127.0.0.1:0", "--config"]).arg(settings);
        let program = Program::start(command);
        let url = |lines: &[String]| {
            lines.iter().find_map(|line| line.strip_prefix("listening ").map(str::to_owned))
        };
        let url = program.stderr.wait(SOON, url).expect("it listens");
        Recorded { program, url, _directory: directory }
    }
}

/// What is told, and how far it has been read.
struct Tale<'a> {
    lines: &'a Lines,
    read: usize,
}

impl Tale<'_> {
    /// What follows is just this, of whatever client.
    #[track_caller]
    fn goes_on(&mut self, expected: &[&str]) {
        let until = self.read + expected.len();
        let told = self.lines.wait(SOON * 3, |lines| (lines.len() >= until).then(|| lines[..until].to_vec()));
        let told = told.unwrap_or_else(|| self.lines.all());
        assert_eq!(&told[self.read..], expected);
        self.read = until;
    }

    /// What follows are these, each of a client's in this order.
    #[track_caller]
    fn goes_on_with_each(&mut self, expected: &[&[&str]]) {
        let until = self.read + expected.iter().map(|lines| lines.len()).sum::<usize>();
        let told = self.lines.wait(SOON * 3, |lines| (lines.len() >= until).then(|| lines[..until].to_vec()));
        let told = told.unwrap_or_else(|| self.lines.all());
        for own in expected {
            let client = own[0].split(':').next().unwrap_or_default();
            let of_client = told[self.read..].iter().filter(|line| line.split(':').next() == Some(client));
            assert_eq!(&of_client.collect::<Vec<_>>(), own, "{told:#?}");
        }
        self.read = until;
    }
}

/// What is told of a client that comes.
fn coming(client: &str, between: &[&str], session: &str) -> Vec<String> {
    let mut lines = vec![format!("accept {LISTENER}")];
    lines.extend(["authenticate", "admit"].map(|line| format!("{client}: {line}")));
    lines.extend(between.iter().map(|line| format!("{client}: {line}")));
    lines.extend([format!("{client}: connected"), format!("{client}: session {session}")]);
    lines
}

const LISTENER: &str = "tcp://127.0.0.1:0";

fn will() -> Value {
    json!({ "topic": "gone", "payload": "bye", "qos": 0, "retain": false })
}

#[test]
fn a_client_s_life_is_told_phase_by_phase_in_broker_and_proxy() {
    let mosquitto = Mosquitto::start();
    let upstream = mosquitto.url(Kind::Tcp);
    for is_broker in [true, false] {
        let arguments: &[&str] = if is_broker { &["broker"] } else { &["proxy", "--upstream", &upstream] };
        let mut server = Recorded::start(arguments);
        for version in VERSIONS {
            tell_of_life(&server, version, is_broker);
        }
        let before = server.program.stdout.all().len();
        assert!(server.program.terminate().success());
        assert_eq!(server.program.stdout.all()[before..], ["stop"]);
    }
}

fn tell_of_life(server: &Recorded, version: &str, is_broker: bool) {
    let stdout = server.program.stdout.clone();
    let mut tale = Tale { lines: &stdout, read: stdout.all().len() };
    let mut paho = Actor::paho();
    let url = server.url.replace("tcp:", "mqtt:");
    let come = |tale: &mut Tale<'_>, client: &str, between: &[&str], session: &str| {
        let expected = coming(client, between, session);
        tale.goes_on(&expected.iter().map(String::as_str).collect::<Vec<_>>());
    };

    // [`accept`, `authenticate`, `admit`; the will is judged as a message; `connected`, `session created`]
    assert!(!paho.connect("x", &url, version, false, will()));
    come(&mut tale, "x", &["publish gone"], "created");
    paho.subscribe("x", "a", 1);
    tale.goes_on(&["x: subscribe a", "x: subscribed a"]);

    paho.connect("y", &url, version, true, Value::Null);
    come(&mut tale, "y", &[], "created");
    paho.publish("y", "a", "hello", 1, false);
    let to_x = ["x: deliver a", "x: delivered a", "x: acknowledged a"];
    tale.goes_on_with_each(&[&["y: publish a", "y: published a"], &to_x]);
    paho.publish("y", "nobody", "hello", 1, false);
    match is_broker {
        true => tale.goes_on(&["y: publish nobody", "y: dropped nobody, unrouted", "y: published nobody"]),
        false => tale.goes_on(&["y: publish nobody", "y: published nobody"]),
    }
    // The rule is asked before the recorder, which hears of the message only that it was dropped.
    paho.publish("y", "secret", "hello", 1, false);
    let why = if is_broker { "publishes_denied" } else { "Not authorized" };
    tale.goes_on(&[&format!("y: dropped secret, {why}")]);
    paho.end("y");
    match is_broker {
        true => tale.goes_on(&["y: disconnected by Client", "y: session terminated"]),
        false => tale.goes_on(&["y: disconnected by Client"]),
    }

    paho.act("cut", "x", json!({}));
    match is_broker {
        true => tale.goes_on(&["x: disconnected by Network", "x: will gone", "x: will published gone"]),
        false => tale.goes_on(&["x: disconnected by Network"]),
    }
    assert!(paho.connect("x", &url, version, false, will()));
    come(&mut tale, "x", &["publish gone"], "resumed");
    paho.act("unsubscribe", "x", json!({ "filter": "a" }));
    tale.goes_on(&["x: unsubscribe a", "x: unsubscribed a"]);
    paho.end("x");
    tale.goes_on(&["x: disconnected by Client"]);

    // Whoever begins anew leaves no session behind.
    paho.connect("x", &url, version, true, Value::Null);
    if is_broker {
        tale.goes_on(&[
            "accept tcp://127.0.0.1:0",
            "x: authenticate",
            "x: admit",
            "x: session terminated",
            "x: connected",
        ]);
        tale.goes_on(&["x: session created"]);
    } else {
        come(&mut tale, "x", &[], "created");
    }
    paho.end("x");
    match is_broker {
        true => tale.goes_on(&["x: disconnected by Client", "x: session terminated"]),
        false => tale.goes_on(&["x: disconnected by Client"]),
    }
    assert_eq!(stdout.all().len(), tale.read, "{:#?}", stdout.all());
}

/// AUTH, or the properties of CONNECT, for the method that the recorder plays the server of.
fn properties(data: &[u8]) -> Vec<u8> {
    [&[0x15][..], &string("RECORDED"), &[0x16], &binary(data)].concat()
}

fn auth(reason: u8, data: &[u8]) -> Vec<u8> {
    let properties = properties(data);
    packet(0xF0, &[&[reason][..], &variable(properties.len()), &properties].concat())
}

#[test]
fn an_enhanced_authentication_is_told_step_by_step_and_so_is_the_next() {
    let mosquitto = Mosquitto::start();
    let upstream = mosquitto.url(Kind::Tcp);
    for arguments in [&["broker"][..], &["proxy", "--upstream", &upstream]] {
        let server = Recorded::start(arguments);
        let mut raw = Raw::open(&server.url, "").ok().unwrap();
        let (first, properties) = ("x: exchange one", properties(b"one"));
        let connect = Connect { level: V5, client_id: "x", properties: &properties, ..Connect::default() };
        raw.send(&connect.bytes());
        for (reason, data, expected) in
            [(0x18, &b"two"[..], 0x18), (0x19, b"three", 0x20), (0x18, b"four", 0x18)]
        {
            let answer = raw.read().expect("an answer");
            let said = if answer[0] == 0x20 { answer[0] } else { answer[2] };
            assert_eq!(said, expected, "{answer:02x?}");
            raw.send(&auth(reason, data));
        }
        let last = raw.read().expect("an AUTH");
        assert_eq!((last[0], last[2]), (0xF0, 0), "{last:02x?}");
        let mut tale = Tale { lines: &server.program.stdout, read: 0 };
        tale.goes_on(&[
            "accept tcp://127.0.0.1:0",
            first,
            "x: exchange two",
            "x: admit",
            "x: connected",
            "x: session created",
        ]);
        tale.goes_on(&["x: exchange three", "x: exchange four"]);
    }
}
