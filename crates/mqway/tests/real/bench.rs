//! `mqway bench`: every kind of load, over every transport, against a real broker and against bad ones.

use crate::support::mosquitto::Mosquitto;
use crate::support::mqway::mqway;
use crate::support::packets;
use crate::support::process::{Finished, Program};
use crate::support::server::{Server, broker_answer};
use crate::support::{Kind, SOON, free_port};
use serde_json::Value;
use std::io::Write;
use std::process::Command;
use std::time::{Duration, Instant};

fn bench(arguments: &[&str]) -> Finished {
    let finished = mqway(&[&["bench"], arguments].concat(), SOON * 3);
    assert!(!finished.stderr.contains("panicked"), "{finished:?}");
    finished
}

/// The result of a run that ends well, or as it is told.
#[track_caller]
fn json(arguments: &[&str], status: i32) -> Value {
    let finished = bench(&[arguments, &["--json", "--quiet"]].concat());
    assert_eq!(finished.code, Some(status), "mqway bench {arguments:?}: {finished:?}");
    assert_eq!(finished.stderr.is_empty(), status == 0, "{finished:?}");
    serde_json::from_slice(&finished.stdout).unwrap_or_else(|e| panic!("{e}: {finished:?}"))
}

#[track_caller]
fn expect_whole(result: &Value, sent: u64, received: u64) {
    assert_eq!(result["published"]["messages"], sent, "{result}");
    assert_eq!(result["received"]["messages"], received, "{result}");
    let checked = &result["checked"];
    assert_eq!(checked["delivered"], received, "{result}");
    for count in ["lost", "duplicated", "out_of_order", "corrupt", "foreign", "refused", "unsent"] {
        assert_eq!(checked[count], 0, "{count}: {result}");
    }
    assert_eq!(result["failures"], Value::Array(Vec::new()), "{result}");
}

#[test]
fn pairs_over_every_transport() {
    let mosquitto = Mosquitto::with("max_inflight_messages 0\n");
    let _awake = mosquitto.keep_awake();
    let ca = mosquitto.certificates.ca();
    for (index, kind) in Kind::ALL.into_iter().enumerate() {
        let url = mosquitto.url(kind);
        let version = ["311", "5", "31", "311", "5"][index];
        let qos = ["2", "1", "0", "1", "2"][index];
        let result = json(
            &[
                "pairs",
                &url,
                "-n",
                "3",
                "-m",
                "500",
                "-q",
                qos,
                "-V",
                version,
                "--cafile",
                ca.to_str().unwrap(),
            ],
            0,
        );
        expect_whole(&result, 1_500, 1_500);
        assert_eq!(result["connections"]["connected"], 6, "{result}");
        assert_eq!(result["latency_ms"]["samples"], 1_500, "{result}");
        assert!(result["latency_ms"]["p50"].as_f64().unwrap() > 0.0, "{result}");
        let acknowledged = if qos == "0" { 0 } else { 1_500 };
        assert_eq!(result["acknowledged"]["messages"], acknowledged, "{result}");
    }
}

#[test]
fn every_qos_and_version_in_every_shape() {
    let mosquitto = Mosquitto::with("max_inflight_messages 0\n");
    let url = mosquitto.url(Kind::Tcp);
    for (qos, version) in [("0", "311"), ("1", "5"), ("2", "311"), ("2", "31")] {
        let with = |arguments: &[&str]| {
            json(&[arguments, &[&url, "-m", "200", "-q", qos, "-V", version]].concat(), 0)
        };
        expect_whole(&with(&["publish", "-n", "4"]), 800, 0);
        expect_whole(&with(&["publish", "-n", "4", "--subscribers", "2"]), 800, 1_600);
        expect_whole(&with(&["subscribe", "-n", "5", "--publishers", "2"]), 400, 2_000);
    }
    let shared = ["publish", &url, "-n", "3", "--subscribers", "3", "-m", "200", "-V", "5"];
    expect_whole(&json(&[&shared[..], &["-f", "$share/g/mqway/bench/%r/+"]].concat(), 0), 600, 600);
    let workers = ["pairs", &url, "-n", "5", "-m", "100", "--workers", "2"];
    expect_whole(&json(&workers, 0), 500, 500);
    let large = ["pairs", &url, "-n", "2", "-m", "5", "--size", "2MiB", "--window", "2"];
    expect_whole(&json(&large, 0), 10, 10);
}

#[test]
fn a_rate_is_kept() {
    let mosquitto = Mosquitto::start();
    let url = mosquitto.url(Kind::Tcp);
    // Where other programs take the processor away, it may end with the last messages unsent, and says so.
    let run = |_| json(&["pairs", &url, "-n", "4", "--rate", "500", "-d", "2", "--warmup", "0.2"], 0);
    let undisturbed = |result: &Value| {
        let (sent, unsent) = (&result["published"]["messages"], &result["checked"]["unsent"]);
        assert_eq!(sent.as_u64().unwrap() + unsent.as_u64().unwrap(), 1_100, "{result}");
        unsent == 0
    };
    let result = (0..10).map(run).find(undisturbed).expect("one run in ten that sends all");
    expect_whole(&result, 1_100, 1_100);
    assert_eq!(result["latency_ms"]["samples"], 1_000, "{result}");
    assert_eq!(result["seconds"], 2.0, "{result}");
}

#[test]
fn connections_are_held_or_made_anew() {
    let mosquitto = Mosquitto::start();
    let url = mosquitto.url(Kind::Tcp);
    let result = json(&["connections", &url, "-n", "50", "-d", "0.5"], 0);
    assert_eq!(result["connections"]["connected"], 50, "{result}");
    assert_eq!(result["connections"]["ms"]["samples"], 50, "{result}");
    let result = json(&["connections", &url, "-n", "4", "-d", "0.5", "--churn"], 0);
    assert!(result["connections"]["connected"].as_u64().unwrap() > 4, "{result}");
    let begun = Instant::now();
    json(&["connections", &url, "-n", "5", "--connect-rate", "10", "-d", "0"], 0);
    assert!(begun.elapsed() > Duration::from_millis(390), "{:?}", begun.elapsed());
}

#[test]
fn subscribers_check_what_another_process_publishes() {
    let mosquitto = Mosquitto::start();
    let url = mosquitto.url(Kind::Tcp);
    let mut command = Command::new(env!("CARGO_BIN_EXE_mqway"));
    command.args(["bench", "subscribe", &url, "-n", "2", "-d", "30", "--warmup", "0", "--json"]);
    let mut listening = Program::start(command);
    assert!(listening.stderr.contain("2 connected"), "progress");
    json(&["publish", &url, "-n", "3", "-m", "100"], 0);
    assert!(listening.stderr.contain("received 0/s"), "progress: all has come");
    listening.signal("INT");
    let status = listening.wait(SOON).expect("it ends");
    assert_eq!(status.code(), Some(0));
    // What it printed last may be read after its end is seen.
    assert!(listening.stdout.contain("interrupted"), "a result");
    let result: Value = serde_json::from_str(&listening.stdout.all().concat()).unwrap();
    assert_eq!(
        (&result["checked"]["delivered"], &result["checked"]["lost"]),
        (&600.into(), &0.into()),
        "{result}"
    );
    assert_eq!(result["interrupted"], true);
    assert!(result["latency_ms"]["samples"].as_u64() > Some(0), "one clock: {result}");
}

#[test]
fn ctrl_c_ends_it_with_the_summary() {
    let mosquitto = Mosquitto::start();
    let mut command = Command::new(env!("CARGO_BIN_EXE_mqway"));
    command.args(["bench", "pairs", &mosquitto.url(Kind::Tcp), "-n", "2", "-d", "600", "-q", "1"]);
    let mut running = Program::start(command);
    assert!(running.stderr.contain("received"), "progress");
    running.signal("INT");
    let status = running.wait(SOON).expect("it ends");
    let said = running.stdout.all().join("\n");
    assert_eq!(status.code(), Some(0), "{said}");
    for words in ["then interrupted", "latency", "p99.9", " 0 lost", "generator"] {
        assert!(said.contains(words), "{words}: {said}");
    }
}

#[test]
fn credentials_are_used_and_refusals_told() {
    let refusing = Server::start(|mut stream| {
        let connect = packets::read(&mut stream).unwrap();
        let welcome = connect.ends_with(b"\0\x02me\0\x06secret");
        let answer: &[u8] = if welcome { b"\x20\x02\0\0" } else { b"\x20\x02\0\x05" };
        let _ = stream.write_all(answer);
        packets::read(&mut stream);
    });
    let address = refusing.address();
    let result = json(&["connections", &format!("mqtt://{address}"), "-n", "3", "-d", "0"], 6);
    assert_eq!(result["connections"]["failed"], 3, "{result}");
    assert_eq!((&result["failures"][0]["status"], &result["failures"][0]["count"]), (&6.into(), &3.into()));
    let finished = bench(&["connections", &format!("mqtt://me:secret@{address}"), "-n", "3", "-d", "0"]);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    assert!(!(String::from_utf8_lossy(&finished.stdout) + finished.stderr.as_str()).contains("secret"));
}

/// A broker that does otherwise with messages, which it would send back to whom they came from.
fn broker_but(answer: impl Fn(u64, &[u8]) -> Option<Vec<u8>> + Send + Sync + 'static) -> Server {
    Server::start(move |mut stream| {
        let (mut level, mut messages) = (0, 0);
        while let Some(packet) = packets::read(&mut stream) {
            if packet[0] == 0x10 {
                level = packets::level_of(&packet);
            }
            let special = (packet[0] & 0xF0 == 0x30).then(|| {
                messages += 1;
                answer(messages, &packet)
            });
            let Some(answer) = special.unwrap_or_else(|| broker_answer(level, &packet)) else { return };
            if stream.write_all(&answer).is_err() {
                return;
            }
        }
    })
}

#[test]
fn exit_statuses_tell_what_went_wrong() {
    let closed = free_port();
    let pairs = |url: &str, more: &[&str]| {
        let finished =
            bench(&[&["pairs", url, "-n", "1", "-m", "5", "--quiet", "--drain", "0.3"], more].concat());
        assert!(finished.code == Some(0) || finished.stderr.lines().count() == 1, "{finished:?}");
        finished.code
    };
    assert_eq!(pairs("mqtt://127.0.0.1", &["--rate", "none"]), Some(2));
    assert_eq!(pairs("http://127.0.0.1", &[]), Some(2));
    assert_eq!(pairs("mqtt://127.0.0.1", &["--size", "3"]), Some(2));
    assert_eq!(pairs(&format!("mqtt://127.0.0.1:{closed}"), &[]), Some(3));
    let mosquitto = Mosquitto::start();
    assert_eq!(pairs(&mosquitto.url(Kind::Tls), &[]), Some(4));
    assert_eq!(pairs(&mosquitto.url(Kind::Tcp).replace("mqtt:", "ws:"), &["--timeout", "2"]), Some(5));
    // Everything is acknowledged, and nothing delivered.
    let swallowing = Server::broker();
    assert_eq!(pairs(&swallowing.url("mqtt"), &["-q", "1"]), Some(1));
    assert_eq!(pairs(&swallowing.url("mqtt"), &["-q", "0"]), Some(0), "QoS 0 promises nothing");
    let refusing = broker_but(|_, packet| {
        let mut body = packets::publish_id(packet).to_be_bytes().to_vec();
        body.push(0x87);
        Some(packets::packet(0x40, &body))
    });
    assert_eq!(pairs(&refusing.url("mqtt"), &["-q", "1", "-V", "5"]), Some(7));
    let silent = Server::silent();
    assert_eq!(pairs(&silent.url("mqtt"), &["--timeout", "1"]), Some(8));
    let closing = broker_but(|messages, _| (messages < 3).then(Vec::new));
    assert_eq!(pairs(&closing.url("mqtt"), &["-q", "0"]), Some(9));
}

#[test]
fn too_few_open_files_are_told_with_what_to_do() {
    let mosquitto = Mosquitto::start();
    let mut command = Command::new("sh");
    let script = "ulimit -n 60; exec \"$0\" bench connections \"$1\" -n 100 -d 0 --quiet";
    command.args(["-c", script, env!("CARGO_BIN_EXE_mqway"), &mosquitto.url(Kind::Tcp)]);
    let finished = crate::support::process::run(command, b"", SOON * 2);
    assert_eq!(finished.code, Some(3), "{finished:?}");
    assert!(finished.stderr.contains("ulimit -n"), "{finished:?}");
}
