//! `mqway tap` prints every packet of both directions.

use crate::support::mosquitto::Mosquitto;
use crate::support::mqway::Proxy;
use crate::support::packets::{self, Connect, LEVELS};
use crate::support::{Kind, SOON, dial_tcp, eventually};
use serde_json::Value;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// A session of nine packets through the tap; gives back what it printed on stdout, one line a packet.
fn tapped(level: u8, flags: &[&str]) -> Vec<String> {
    let mosquitto = Mosquitto::start();
    let tap = Proxy::tap()
        .listen("mqtt://127.0.0.1:0")
        .upstream(&mosquitto.url(Kind::Tcp))
        .arguments(flags)
        .start();
    let mut client = dial_tcp(tap.address());
    let connect =
        Connect { level, client_id: "tapped", user: Some(("me", "topsecret")), ..Connect::default() };
    client.write_all(&connect.bytes()).unwrap();
    packets::read(&mut client).unwrap();
    client.write_all(&packets::subscribe(level, 1, "a/#", 0)).unwrap();
    packets::read(&mut client).unwrap();
    client.write_all(&packets::publish(level, "a/b", 1, 2, b"a payload")).unwrap();
    packets::read(&mut client).unwrap();
    packets::read(&mut client).unwrap();
    client.write_all(&packets::PINGREQ).unwrap();
    packets::read(&mut client).unwrap();
    client.write_all(&packets::DISCONNECT).unwrap();
    let lines = tap
        .program
        .stdout
        .wait(SOON, |lines| lines.iter().any(|l| l.contains("DISCONNECT")).then(|| lines.to_vec()));
    lines.unwrap_or_else(|| panic!("no DISCONNECT in {:#?}", tap.program.stdout.all()))
}

const PACKETS: [&str; 10] = [
    "CONNECT",
    "CONNACK",
    "SUBSCRIBE",
    "SUBACK",
    "PUBLISH",
    "PUBLISH",
    "PUBACK",
    "PINGREQ",
    "PINGRESP",
    "DISCONNECT",
];

#[test]
fn every_packet_of_both_directions_is_a_line() {
    for level in LEVELS {
        let lines = tapped(level, &[]);
        for name in PACKETS {
            assert!(lines.iter().any(|line| line.contains(name)), "{name} in {lines:#?}");
        }
        assert!(lines.iter().any(|l| l.contains("PUBLISH") && l.contains("a/b")), "{lines:#?}");
        assert!(!lines.concat().contains("topsecret"), "passwords are not printed: {lines:#?}");
    }
}

#[test]
fn json_is_one_object_a_line_with_the_packet_in_it() {
    for level in LEVELS {
        let lines = tapped(level, &["--json"]);
        let objects: Vec<Value> = lines
            .iter()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")))
            .collect();
        let mut names: Vec<&str> = Vec::new();
        for object in &objects {
            let object = object.as_object().expect("an object");
            let name = object.values().filter_map(Value::as_str).find(|text| PACKETS.contains(text));
            names.extend(name);
        }
        names.sort_unstable();
        let mut expected = PACKETS;
        expected.sort_unstable();
        assert_eq!(names, expected, "{lines:#?}");
        assert!(!lines.concat().contains("topsecret"), "passwords are not printed: {lines:#?}");
    }
}

/// A tap whose stdout is this, after `clients` have come and gone, and its stderr.
fn tap_printing_to(stdout: Stdio, clients: usize) -> (Child, BufReader<ChildStderr>) {
    let mut tap = Command::new(env!("CARGO_BIN_EXE_mqway"))
        .args(["tap", "--listen", "tcp://127.0.0.1:0", "--upstream", "tcp://127.0.0.1:1", "--log", "error"])
        .stdout(stdout)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stderr = BufReader::new(tap.stderr.take().unwrap());
    let mut line = String::new();
    stderr.read_line(&mut line).unwrap();
    let address = line.trim().strip_prefix("listening tcp://").unwrap_or_else(|| panic!("{line}"));
    for _ in 0..clients {
        TcpStream::connect(address).unwrap();
    }
    (tap, stderr)
}

fn status_soon(mut tap: Child) -> ExitStatus {
    let started = Instant::now();
    while started.elapsed() < SOON {
        if let Some(status) = tap.try_wait().unwrap() {
            return status;
        }
        sleep(Duration::from_millis(20));
    }
    tap.kill().unwrap();
    panic!("still there after {SOON:?}");
}

#[test]
fn a_full_disk_is_told() {
    let full = File::options().write(true).open("/dev/full").unwrap();
    let (tap, mut stderr) = tap_printing_to(full.into(), 1);
    assert_eq!(status_soon(tap).code(), Some(1));
    let mut said = String::new();
    stderr.read_to_string(&mut said).unwrap();
    assert!(said.contains("cannot write to stdout: No space left"), "{said}");
}

#[test]
fn a_stdout_that_nobody_reads_does_not_delay_the_end() {
    let (mut tap, _stderr) = tap_printing_to(Stdio::piped(), 2_000);
    let unread = tap.stdout.take().unwrap();
    // A pipe of Linux has 16 pages, of which some are not filled to the end.
    let filled = || rustix::io::ioctl_fionread(&unread).unwrap();
    let is_full = || {
        let before = filled();
        sleep(Duration::from_millis(300));
        before > 30_000 && filled() == before
    };
    assert!(eventually(SOON * 3, is_full), "there is room for more than {} bytes", filled());
    assert!(Command::new("kill").arg(tap.id().to_string()).status().unwrap().success());
    assert_eq!(status_soon(tap).code(), Some(1));
}
