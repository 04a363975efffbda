//! The broker among real clients: what they see of it is what they see of mosquitto, over every transport and through our
//! own proxy.

use crate::support::clients::{self, Player, Target, mosquitto_speaks};
use crate::support::mosquitto::Mosquitto;
use crate::support::mqway::{Proxy, Running};
use crate::support::packets::LEVELS;
use crate::support::{Kind, SOON};
use serde_json::Value;
use tempfile::TempDir;

/// A broker at every kind of listener, in the order of `Kind::ALL`.
fn everywhere(server: Proxy, mosquitto: &Mosquitto, sockets: &TempDir, name: &str) -> Running {
    let mut server = server.tls(&mosquitto.certificates);
    for kind in Kind::ALL {
        server = match kind {
            Kind::Unix => server.listen(&format!("unix://{}/{name}.sock", sockets.path().display())),
            _ => server.listen(&format!("{}://127.0.0.1:0", kind.scheme())),
        };
    }
    server.start()
}

#[test]
fn paho_sees_what_it_sees_of_mosquitto() {
    libraries_see_no_difference("paho", Player::paho());
}

#[test]
fn mqttjs_sees_what_it_sees_of_mosquitto() {
    libraries_see_no_difference("mqttjs", Player::mqttjs());
}

fn libraries_see_no_difference(name: &str, mut player: Player) {
    let mosquitto = Mosquitto::start();
    let sockets = TempDir::with_prefix("mqway-").unwrap();
    let broker = everywhere(Proxy::broker(), &mosquitto, &sockets, "broker");
    let to_broker = Proxy::new().upstream(broker.url(0));
    let proxy = everywhere(to_broker, &mosquitto, &sockets, "proxy");
    let ca = mosquitto.certificates.ca();
    let everywhere = |server: &Running| -> Vec<String> {
        (0..Kind::ALL.len()).map(|listener| server.url(listener).to_owned()).collect()
    };
    let urls = [vec![mosquitto.url(Kind::Tcp)], everywhere(&broker), everywhere(&proxy)].concat();
    let targets: Vec<Target<'_>> =
        urls.iter().flat_map(|url| LEVELS.map(|level| Target { url: url.clone(), level, ca: &ca })).collect();
    let transcripts = player.play(name, &[0, 1, 2], &targets);
    let (expected, seen) = transcripts.split_at(LEVELS.len());
    for (i, transcript) in seen.iter().enumerate() {
        let (target, expected) = (&targets[LEVELS.len() + i], &expected[i % LEVELS.len()]);
        assert!(expected["error"].is_null(), "{name} at mosquitto: {expected:#}");
        assert_eq!(without_limits(transcript), without_limits(expected), "{name} by {target:?}");
    }
}

/// A transcript without the properties of CONNACK: each server has limits of its own.
fn without_limits(transcript: &Value) -> Value {
    let mut transcript = transcript.clone();
    for event in transcript["log"].as_array_mut().into_iter().flatten() {
        if event[0] == "connack" {
            event[1][2] = Value::Null;
        }
    }
    transcript
}

#[test]
fn mosquitto_s_clients_talk_to_each_other() {
    let mosquitto = Mosquitto::start();
    let sockets = TempDir::with_prefix("mqway-").unwrap();
    let broker = everywhere(Proxy::broker(), &mosquitto, &sockets, "broker");
    let ca = mosquitto.certificates.ca();
    for (listener, _) in Kind::ALL.into_iter().enumerate().filter(|(_, kind)| mosquitto_speaks(*kind)) {
        for level in LEVELS {
            let target = Target { url: broker.url(listener).to_owned(), level, ca: &ca };
            let topic = format!("talk/{listener}/{level}");
            let subscriber = clients::subscribe(&target, &format!("{topic}/#"), 3);
            for qos in 0..3 {
                let finished = clients::publish(&target, &format!("{topic}/{qos}"), qos, b"hello", &["-r"]);
                assert_eq!(finished.code, Some(0), "{finished:?}");
            }
            let mut seen = clients::messages(&subscriber, 3);
            seen.sort();
            let expected = |qos| format!("message {topic}/{qos} {qos} 0 5 68656c6c6f");
            assert_eq!(seen, [expected(0), expected(1), expected(2)], "{target:?}");
            let late = clients::subscribe(&target, &format!("{topic}/+"), 3);
            assert!(clients::messages(&late, 3).iter().all(|line| line.ends_with(" 1 5 68656c6c6f")));
        }
    }
}

#[test]
fn a_stop_tells_the_clients_and_takes_no_longer_than_it_must() {
    let mosquitto = Mosquitto::start();
    let mut broker = Proxy::broker().listen("tcp://127.0.0.1:0").arguments(&["--grace", "60"]).start();
    let ca = mosquitto.certificates.ca();
    let level = LEVELS[LEVELS.len() - 1];
    let target = Target { url: broker.url(0).to_owned(), level, ca: &ca };
    let subscriber = clients::subscribe(&target, "#", 1);
    broker.program.signal("TERM");
    assert_eq!(broker.program.wait(SOON).and_then(|status| status.code()), Some(0));
    assert!(subscriber.stdout.contain("DISCONNECT (139)") || subscriber.stdout.contain("sending DISCONNECT"));
}

#[test]
fn figures_are_published_below_sys() {
    let mosquitto = Mosquitto::start();
    let broker = Proxy::broker().listen("tcp://127.0.0.1:0").start();
    let ca = mosquitto.certificates.ca();
    let target = Target { url: broker.url(0).to_owned(), level: LEVELS[0], ca: &ca };
    for name in ["version", "uptime", "clients/connected", "load/messages/received/1min"] {
        let subscriber = clients::subscribe(&target, &format!("$SYS/broker/{name}"), 1);
        clients::messages(&subscriber, 1);
    }
}
