//! Real clients: mosquitto_pub and mosquitto_sub, paho and MQTT.js.

use super::mqway::is_tls;
use super::packets::{Level, V3_1, V3_1_1};
use super::process::{Finished, Program, run};
use super::{Kind, address, real, root};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// The payload that counts as large: 1 MiB.
pub const LARGE: usize = 1024 * 1024;

/// How long one scenario may take, half of it for one message: a mosquitto that has fallen asleep over its WebSocket
/// sends 1 MiB in half a minute.
const SCENARIO: Duration = Duration::from_secs(240);

/// Where a client connects, and how.
#[derive(Clone, Debug)]
pub struct Target<'a> {
    pub url: String,
    pub level: Level,
    pub ca: &'a Path,
}

impl Target<'_> {
    fn is_tls(&self) -> bool {
        is_tls(&self.url)
    }
}

/// A process that plays scenarios with one of the client libraries.
pub struct Player {
    program: Program,
}

impl Player {
    pub fn paho() -> Player {
        let mut command = Command::new(real().join("venv/bin/python"));
        command.arg("-u").arg(root().join("tests/clients/play_paho.py"));
        Player { program: Program::start(command) }
    }

    pub fn mqttjs() -> Player {
        let mut command = Command::new("node");
        command.arg(root().join("tests/clients/play_mqttjs.js"));
        command.env("MQTTJS", real().join("node/node_modules/mqtt"));
        Player { program: Program::start(command) }
    }

    /// Plays the scenario against each target and gives back the transcripts, in the order of the targets.
    /// `topics` keeps concurrent tests on one server apart.
    pub fn play(&mut self, topics: &str, large_qos: &[u8], targets: &[Target<'_>]) -> Vec<Value> {
        let before = self.program.stdout.all().len();
        for (i, target) in targets.iter().enumerate() {
            let scenario = json!({
                "id": format!("{topics}{i}"),
                "url": target.url,
                "version": super::packets::name(target.level),
                "cafile": target.is_tls().then_some(target.ca),
                "prefix": format!("{topics}/{i}"),
                "qos": [0, 1, 2],
                "large": LARGE,
                "large_qos": large_qos,
                "seconds": SCENARIO.as_secs() / 2,
            });
            self.program.write_line(&scenario.to_string());
        }
        let limit = SCENARIO * u32::try_from(targets.len()).unwrap_or(u32::MAX);
        let lines = self
            .program
            .stdout
            .wait(limit, |lines| (lines.len() >= before + targets.len()).then(|| lines[before..].to_vec()));
        let mut answers: HashMap<String, Value> = lines
            .expect("an answer for each scenario")
            .iter()
            .map(|line| serde_json::from_str::<Value>(line).expect("JSON"))
            .map(|answer| (answer["id"].as_str().expect("an id").to_owned(), answer))
            .collect();
        (0..targets.len())
            .map(|i| transcript(answers.remove(&format!("{topics}{i}")), &format!("{topics}/{i}")))
            .collect()
    }
}

/// What was seen, without the names that differ from scenario to scenario.
fn transcript(answer: Option<Value>, prefix: &str) -> Value {
    let mut answer = answer.expect("an answer for this scenario");
    let text = answer["log"].take().to_string().replace(prefix, "PREFIX");
    json!({ "log": serde_json::from_str::<Value>(&text).expect("still JSON"), "error": answer["error"] })
}

/// `mosquitto_pub` or `mosquitto_sub` with the flags that say where to connect.
pub fn mosquitto_client(program: &str, target: &Target<'_>) -> Command {
    // Into a pipe they would write blocks; a test wants to see each line when it is said.
    let mut command = Command::new("stdbuf");
    command.args(["-oL", program]);
    let version = match target.level {
        V3_1 => "mqttv31",
        V3_1_1 => "mqttv311",
        _ => "mqttv5",
    };
    command.args(["-V", version]);
    if let Some(path) = target.url.strip_prefix("unix://") {
        command.args(["--unix", path]);
    } else {
        let address = address(&target.url);
        command.args(["-h", "127.0.0.1", "-p", &address.port().to_string()]);
    }
    if target.is_tls() {
        command.arg("--cafile").arg(target.ca);
    }
    command
}

/// The transports that mosquitto's clients speak.
pub fn mosquitto_speaks(kind: Kind) -> bool {
    matches!(kind, Kind::Tcp | Kind::Tls | Kind::Unix)
}

/// Publishes one message with `mosquitto_pub`, the payload by stdin.
pub fn publish(target: &Target<'_>, topic: &str, qos: u8, payload: &[u8], further: &[&str]) -> Finished {
    let mut command = mosquitto_client("mosquitto_pub", target);
    let payload_flag = if payload.is_empty() { "-n" } else { "-s" };
    command.args(["-t", topic, "-q", &qos.to_string(), payload_flag]).args(further);
    run(command, payload, SCENARIO)
}

/// Starts `mosquitto_sub` and waits until it is subscribed; ends after `count` messages.
/// Each is one line: topic, QoS, retain, length and payload in hexadecimal.
pub fn subscribe(target: &Target<'_>, filter: &str, count: usize) -> Program {
    let mut command = mosquitto_client("mosquitto_sub", target);
    command.args(["-t", filter, "-q", "2", "-C", &count.to_string(), "-d", "-F", "message %t %q %r %l %x"]);
    let program = Program::start(command);
    assert!(program.stdout.contain("Subscribed"), "mosquitto_sub is not subscribed");
    program
}

/// Waits for the messages of a `subscribe`.
pub fn messages(subscriber: &Program, count: usize) -> Vec<String> {
    let lines = subscriber.stdout.wait(SCENARIO, |lines| {
        let messages: Vec<String> = lines.iter().filter(|l| l.starts_with("message ")).cloned().collect();
        (messages.len() >= count).then_some(messages)
    });
    lines.unwrap_or_else(|| panic!("{count} messages did not come"))
}
