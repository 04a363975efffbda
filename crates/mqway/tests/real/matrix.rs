//! Every kind of listener to every kind of upstream: what real clients get through the proxy is what they get without.

use crate::support::clients::{self, LARGE, Player, Target, mosquitto_client, mosquitto_speaks};
use crate::support::mosquitto::Mosquitto;
use crate::support::mqway::{Proxy, Running};
use crate::support::packets::{LEVELS, Level};
use crate::support::process::Program;
use crate::support::{Kind, SOON, long};
use tempfile::TempDir;

#[test]
fn every_listener_to_tcp() {
    matrix(Kind::Tcp, &[0]);
}

#[test]
fn every_listener_to_tls() {
    matrix(Kind::Tls, &[1]);
}

#[test]
fn every_listener_to_ws() {
    matrix(Kind::Ws, &[2]);
}

#[test]
fn every_listener_to_wss() {
    matrix(Kind::Wss, &[1]);
}

#[test]
fn every_listener_to_unix() {
    matrix(Kind::Unix, &[0]);
}

#[test]
#[ignore = "long: 1 MiB with each QoS everywhere"]
fn every_listener_to_every_upstream_with_large_payloads_of_every_qos() {
    for upstream in Kind::ALL {
        matrix(upstream, long(&[0, 1, 2], &[2]));
    }
}

fn matrix(upstream: Kind, large_qos: &[u8]) {
    let mosquitto = Mosquitto::start();
    let _awake = mosquitto.keep_awake();
    let sockets = TempDir::with_prefix("mqway-").unwrap();
    let proxy = proxy_with_every_listener(&mosquitto, upstream, &sockets);
    let names = [("paho", Player::paho()), ("mqttjs", Player::mqttjs())];
    for (name, mut player) in names {
        libraries_see_no_difference(&mosquitto, upstream, &proxy, name, &mut player, large_qos);
    }
    mosquitto_clients_see_no_difference(&mosquitto, upstream, &proxy, large_qos);
}

fn proxy_with_every_listener(mosquitto: &Mosquitto, upstream: Kind, sockets: &TempDir) -> Running {
    let mut proxy = Proxy::new().tls(&mosquitto.certificates).upstream(&mosquitto.url(upstream));
    for kind in Kind::ALL {
        proxy = match kind {
            Kind::Unix => proxy.listen(&format!("unix://{}/mqtt.sock", sockets.path().display())),
            _ => proxy.listen(&format!("{}://127.0.0.1:0", kind.scheme())),
        };
    }
    proxy.start()
}

/// The targets in the order of the answers: the server itself for each version, then each listener for each version.
fn libraries_see_no_difference(
    mosquitto: &Mosquitto,
    upstream: Kind,
    proxy: &Running,
    name: &str,
    player: &mut Player,
    large_qos: &[u8],
) {
    let ca = mosquitto.certificates.ca();
    let direct = std::iter::once(mosquitto.url(upstream));
    let through = (0..Kind::ALL.len()).map(|listener| proxy.url(listener).to_owned());
    let targets: Vec<Target<'_>> = direct
        .chain(through)
        .flat_map(|url| LEVELS.map(|level| Target { url: url.clone(), level, ca: &ca }))
        .collect();
    let transcripts = player.play(name, large_qos, &targets);
    let (direct, through) = transcripts.split_at(LEVELS.len());
    for (i, transcript) in through.iter().enumerate() {
        let (target, expected) = (&targets[LEVELS.len() + i], &direct[i % LEVELS.len()]);
        assert!(expected["error"].is_null(), "{name} without the proxy: {expected:#}");
        assert_eq!(transcript, expected, "{name} by {target:?} to {upstream:?}");
    }
}

fn mosquitto_clients_see_no_difference(
    mosquitto: &Mosquitto,
    upstream: Kind,
    proxy: &Running,
    large_qos: &[u8],
) {
    let ca = mosquitto.certificates.ca();
    for level in LEVELS {
        // mosquitto's clients speak no WebSocket: the TCP listener says what they get without the proxy.
        let direct = Target { url: mosquitto.url(Kind::Tcp), level, ca: &ca };
        let expected = play_mosquitto_clients(&direct, level, large_qos);
        for (listener, kind) in Kind::ALL.into_iter().enumerate().filter(|(_, kind)| mosquitto_speaks(*kind))
        {
            let target = Target { url: proxy.url(listener).to_owned(), level, ca: &ca };
            let seen = play_mosquitto_clients(&target, level, large_qos);
            let shortened = |lines: &[String]| lines.iter().map(|l| format!("{l:.60}")).collect::<Vec<_>>();
            assert!(
                seen == expected,
                "mosquitto's clients by {kind:?} to {upstream:?} see {:#?} instead of {:#?}",
                shortened(&seen),
                shortened(&expected)
            );
        }
    }
}

/// What `mosquitto_sub` prints while `mosquitto_pub` publishes everything once.
fn play_mosquitto_clients(target: &Target<'_>, level: Level, large_qos: &[u8]) -> Vec<String> {
    let topic = |name: &str| format!("mosquitto/{level}/{name}");
    let count = 3 + 1 + large_qos.len() + 1;
    let subscriber = clients::subscribe(target, &topic("#"), count);
    let publish = |name: &str, qos: u8, payload: &[u8], further: &[&str]| {
        let finished = clients::publish(target, &topic(name), qos, payload, further);
        assert_eq!(finished.code, Some(0), "mosquitto_pub to {target:?}: {finished:?}");
    };
    for qos in 0..=2 {
        publish(&format!("qos{qos}"), qos, b"hello", &[]);
    }
    publish("kept", 1, b"kept", &["-r"]);
    for &qos in large_qos {
        publish(&format!("large{qos}"), qos, &large(), &[]);
    }
    let mut willing = willing(target, &topic("will"));
    willing.kill();

    let mut seen = clients::messages(&subscriber, count);
    seen.sort();
    let late = clients::subscribe(target, &topic("kept"), 1);
    seen.extend(clients::messages(&late, 1));
    clients::publish(target, &topic("kept"), 1, b"", &["-r"]);
    seen
}

/// A client whose will is to be published when it is killed.
fn willing(target: &Target<'_>, topic: &str) -> Program {
    let mut command = mosquitto_client("mosquitto_sub", target);
    command.args(["-t", "nothing", "-d", "--will-topic", topic, "--will-payload", "gone", "--will-qos", "1"]);
    let program = Program::start(command);
    let subscribed =
        program.stdout.wait(SOON, |lines| lines.iter().any(|l| l.contains("Subscribed")).then_some(()));
    assert!(subscribed.is_some(), "the client with a will is not subscribed");
    program
}

fn large() -> Vec<u8> {
    (0..LARGE).map(|i| (i * 31 + i / 251) as u8).collect()
}
