//! Real clients side by side on one broker: mosquitto's, paho, MQTT.js in Node and in a page of a browser, and our own.
//! Each speaks to each.

use crate::support::SOON;
use crate::support::actor::Actor;
use crate::support::mqway::{Proxy, Running, mqway};
use crate::support::process::{Finished, Program, run};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::process::Command;

/// A client of one of the actors.
struct Role {
    actor: usize,
    name: &'static str,
    version: &'static str,
    /// 0: TCP, 1: WebSocket.
    listener: usize,
}

/// All libraries, in all versions, over both transports, at one broker.
struct Stage {
    broker: Running,
    actors: [Actor; 3],
}

const ROLES: [Role; 7] = [
    Role { actor: 0, name: "paho-tcp-311", version: "3.1.1", listener: 0 },
    Role { actor: 0, name: "paho-tcp-5", version: "5.0", listener: 0 },
    Role { actor: 0, name: "paho-ws-5", version: "5.0", listener: 1 },
    Role { actor: 1, name: "node-tcp-31", version: "3.1", listener: 0 },
    Role { actor: 1, name: "node-ws-5", version: "5.0", listener: 1 },
    Role { actor: 2, name: "page-311", version: "3.1.1", listener: 1 },
    Role { actor: 2, name: "page-5", version: "5.0", listener: 1 },
];

impl Stage {
    fn set() -> Stage {
        let broker = Proxy::broker().listen("tcp://127.0.0.1:0").listen("ws://127.0.0.1:0").start();
        Stage { broker, actors: [Actor::paho(), Actor::mqttjs(), Actor::page()] }
    }

    fn connect(&mut self, role: &Role, clean: bool, will: Value) -> bool {
        let url = self.broker.url(role.listener).replace("tcp:", "mqtt:");
        self.actors[role.actor].connect(role.name, &url, role.version, clean, will)
    }

    fn enter(&mut self, role: &Role) {
        assert!(!self.connect(role, true, Value::Null), "{}: there was a session", role.name);
    }

    fn actor(&mut self, role: &Role) -> &mut Actor {
        &mut self.actors[role.actor]
    }

    /// One of mosquitto's tools, with its flags as a line.
    fn mosquitto(&self, tool: &str, line: &str) -> Command {
        let mut command = Command::new("stdbuf");
        let port = self.broker.address().port().to_string();
        command.args(["-oL", tool, "-h", "127.0.0.1", "-p", &port]).args(line.split(' '));
        command
    }

    fn mosquitto_pub(&self, line: &str) {
        done(&run(self.mosquitto("mosquitto_pub", line), b"", SOON));
    }

    fn mqway_pub(&self, line: &str) {
        let arguments = ["pub", self.broker.url(1)].into_iter().chain(line.split(' '));
        done(&mqway(&arguments.collect::<Vec<_>>(), SOON));
    }

    /// `mosquitto_sub` over TCP and `mqway sub` over WebSocket, each printing topic, payload, QoS and retain.
    fn tools_subscribe(&self, line: &str) -> [Program; 2] {
        let theirs = self.mosquitto("mosquitto_sub", &format!("{line} -d -F %t=%p=%q=%r"));
        let mut ours = Command::new(env!("CARGO_BIN_EXE_mqway"));
        ours.args(["sub", self.broker.url(1)]).args(line.split(' ')).args(["-d", "-F", "%t=%p=%q=%r"]);
        let (theirs, ours) = (Program::start(theirs), Program::start(ours));
        assert!(theirs.stdout.contain("Subscribed"), "mosquitto_sub is not subscribed");
        assert!(ours.stderr.contain("subscribed"), "mqway sub is not subscribed");
        [theirs, ours]
    }
}

#[track_caller]
fn done(finished: &Finished) {
    assert_eq!(finished.code, Some(0), "{finished:?}");
}

/// The messages that one of the tools has printed, once they are so many.
#[track_caller]
fn printed(tool: &Program, count: usize) -> Vec<String> {
    let found = tool.stdout.wait(SOON, |lines| {
        let messages: Vec<_> = lines.iter().filter(|line| line.matches('=').count() == 3).cloned().collect();
        (messages.len() >= count).then_some(messages)
    });
    found.unwrap_or_else(|| panic!("{count} messages: {:#?}", tool.stdout.all()))
}

#[test]
fn each_client_hears_each_other_once_with_every_qos() {
    let mut stage = Stage::set();
    for role in &ROLES {
        stage.enter(role);
        stage.actor(role).subscribe(role.name, "all/#", 2);
    }
    let tools = stage.tools_subscribe("-t all/# -q 2");
    for qos in 0..3 {
        for role in &ROLES {
            let topic = format!("all/{}/{qos}", role.name);
            stage.actor(role).publish(role.name, &topic, "hello", qos, false);
        }
        stage.mosquitto_pub(&format!("-t all/mosquitto/{qos} -q {qos} -V mqttv311 -m hello"));
        stage.mqway_pub(&format!("-t all/mqway/{qos} -q {qos} -m hello"));
    }
    let names = ROLES.iter().map(|role| role.name).chain(["mosquitto", "mqway"]);
    let all: BTreeSet<_> =
        names.flat_map(|name| (0..3).map(move |qos| (format!("all/{name}/{qos}"), qos))).collect();
    for role in &ROLES {
        let messages = stage.actor(role).messages(role.name, all.len());
        let seen: BTreeSet<_> = messages.iter().map(|(topic, _, qos, _)| (topic.clone(), *qos)).collect();
        assert_eq!(seen, all, "{}", role.name);
        assert_eq!(messages.len(), all.len(), "{}: once", role.name);
        assert!(messages.iter().all(|(_, payload, _, retain)| payload == "hello" && !retain));
    }
    let expected: BTreeSet<_> = all.iter().map(|(topic, qos)| format!("{topic}=hello={qos}=0")).collect();
    for tool in &tools {
        let lines = printed(tool, all.len());
        assert!(lines.len() == all.len() && BTreeSet::from_iter(lines.clone()) == expected, "{lines:#?}");
    }
}

#[test]
fn what_one_retains_the_others_find_until_a_third_clears_it() {
    let mut stage = Stage::set();
    for role in &ROLES {
        stage.enter(role);
        stage.actor(role).publish(role.name, &format!("kept/{}", role.name), role.name, 1, true);
    }
    let tools = stage.tools_subscribe("-t kept/+ -q 1");
    for role in &ROLES {
        stage.actor(role).subscribe(role.name, "kept/+", 1);
        let found: BTreeSet<_> = stage.actor(role).messages(role.name, ROLES.len()).into_iter().collect();
        let kept = |role: &Role| (format!("kept/{}", role.name), role.name.to_owned(), 1, true);
        assert_eq!(found, ROLES.iter().map(kept).collect(), "{}", role.name);
    }
    for tool in &tools {
        let lines = printed(tool, ROLES.len());
        assert!(lines.iter().all(|line| line.ends_with("=1=1")), "{lines:#?}");
    }
    for role in &ROLES {
        stage.mosquitto_pub(&format!("-t kept/{} -r -n", role.name));
    }
    // Only the last one is left to be found.
    stage.mqway_pub("-t kept/last -m left -r");
    let [theirs, ours] = stage.tools_subscribe("-t kept/+ -q 1");
    assert_eq!(printed(&theirs, 1), ["kept/last=left=0=1"]);
    assert_eq!(printed(&ours, 1), ["kept/last=left=0=1"]);
}

#[test]
fn the_will_of_each_reaches_all_others() {
    let mut stage = Stage::set();
    let heir = &ROLES[6];
    stage.enter(heir);
    stage.actor(heir).subscribe(heir.name, "wills/#", 2);
    let tools = stage.tools_subscribe("-t wills/# -q 2");
    let mortals = &ROLES[..6];
    for role in mortals {
        let topic = format!("wills/{}", role.name);
        stage.connect(role, true, json!({ "topic": topic, "payload": "gone", "qos": 2, "retain": false }));
    }
    // One leaves well: of it there is no will.
    stage.actor(&mortals[5]).end(mortals[5].name);
    for role in &mortals[..5] {
        stage.actor(role).act("cut", role.name, json!({}));
    }
    let wills: BTreeSet<_> =
        mortals[..5].iter().map(|role| format!("wills/{}=gone=2=0", role.name)).collect();
    for tool in &tools {
        assert_eq!(BTreeSet::from_iter(printed(tool, 5)), wills);
    }
    assert_eq!(stage.actor(heir).messages(heir.name, 5).len(), 5);
}

#[test]
fn a_session_waits_for_its_client_with_what_others_sent() {
    let mut stage = Stage::set();
    for role in &ROLES {
        assert!(!stage.connect(role, false, Value::Null));
        stage.actor(role).subscribe(role.name, "later/#", 2);
        stage.actor(role).end(role.name);
    }
    for number in 0..3 {
        stage.mosquitto_pub(&format!("-t later/m -q {number} -m m{number}"));
        stage.mqway_pub(&format!("-t later/o -q 2 -m o{number}"));
    }
    for role in &ROLES {
        let present = stage.connect(role, false, Value::Null);
        // 3.1 cannot tell.
        assert!(present || role.version == "3.1", "{}: no session", role.name);
        let messages = stage.actor(role).messages(role.name, 5);
        let of = |topic: &str| -> Vec<_> {
            messages.iter().filter(|m| m.0 == topic).map(|m| (m.1.clone(), m.2)).collect()
        };
        let sent = |names: [(&str, u64); 3]| names.map(|(name, qos)| (name.to_owned(), qos));
        // QoS 0 is not kept for who is away.
        assert_eq!(of("later/m"), sent([("m0", 0), ("m1", 1), ("m2", 2)])[1..], "{}", role.name);
        assert_eq!(of("later/o"), sent([("o0", 2), ("o1", 2), ("o2", 2)]), "{}", role.name);
    }
}

#[test]
fn a_shared_subscription_deals_its_messages_out_among_all_libraries() {
    const JOBS: usize = 70;
    let mut stage = Stage::set();
    for role in &ROLES {
        stage.enter(role);
        stage.actor(role).subscribe(role.name, "$share/crew/jobs/#", 2);
    }
    let [theirs, ours] = stage.tools_subscribe("-t $share/crew/jobs/# -q 2");
    let lines: String = (0..JOBS).map(|job| format!("{job}\n")).collect();
    let mut publish = Command::new(env!("CARGO_BIN_EXE_mqway"));
    publish.args(["pub", stage.broker.url(0), "-t", "jobs/one", "-q", "2", "-l"]);
    done(&run(publish, lines.as_bytes(), SOON));
    let counts = |stage: &Stage| -> Vec<Vec<String>> {
        let payloads = |role: &Role| {
            let seen = stage.actors[role.actor].seen(role.name, "message");
            seen.iter().map(|message| message["payload"].as_str().unwrap().to_owned()).collect()
        };
        let payload = |line: &String| line.split('=').nth(1).unwrap().to_owned();
        let tools = [&theirs, &ours].map(|tool| printed(tool, 1).iter().map(payload).collect());
        ROLES.iter().map(payloads).chain(tools).collect()
    };
    let all_done = || counts(&stage).iter().map(Vec::len).sum::<usize>() >= JOBS;
    assert!(crate::support::eventually(SOON, all_done), "{:?}", counts(&stage));
    let shares = counts(&stage);
    let jobs: BTreeSet<_> = shares.iter().flatten().cloned().collect();
    assert_eq!(jobs, (0..JOBS).map(|job| job.to_string()).collect());
    assert_eq!(shares.iter().map(Vec::len).sum::<usize>(), JOBS, "each once");
    assert!(shares.iter().all(|share| !share.is_empty()), "somebody had nothing to do: {shares:?}");
}
