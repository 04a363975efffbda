//! The examples, run as a beginner would run them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use mqway_client::{Client, Endpoint, Message, Options, QoS};

use crate::SOON;
use crate::broker::{Mosquitto, free_port};
use crate::process::Program;
use crate::programs::{Nginx, Way};

/// An example as `cargo test` has built it, beside this test.
fn built(name: &str) -> PathBuf {
    let ours = std::env::current_exe().unwrap();
    let example = ours.parent().and_then(Path::parent).unwrap().join("examples").join(name);
    if !example.exists() {
        // Only this test was asked for.
        let arguments = ["build", "--quiet", "--package", "mqway-client", "--examples"];
        assert!(Command::new(env!("CARGO")).args(arguments).status().unwrap().success());
    }
    example
}

fn example(name: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(built(name));
    // The proxies of whoever runs this are not for the tests.
    for variable in ["all_proxy", "http_proxy", "https_proxy", "no_proxy"] {
        command.env_remove(variable).env_remove(variable.to_uppercase());
    }
    command.args(arguments);
    command
}

fn started(name: &str, arguments: &[&str]) -> Program {
    Program::start(example(name, arguments))
}

fn says(program: &Program, text: &str) -> bool {
    program.stdout.wait(SOON, |lines| lines.iter().any(|line| line.contains(text)).then_some(())).is_some()
}

fn complains(program: &Program, text: &str) -> bool {
    program.stderr.contain(text)
}

/// Ctrl-C; whether the program then ended well.
fn is_interrupted_well(mut program: Program) -> bool {
    program.signal("INT");
    program.wait(SOON).is_some_and(|status| status.success())
}

#[test]
fn publish_reaches_subscribe() {
    let mosquitto = Mosquitto::start();
    let url = format!("tcp://127.0.0.1:{}", mosquitto.tcp());
    let subscribe = started("subscribe", &[&url, "sensors/#"]);
    assert!(complains(&subscribe, "subscribed"));
    let mut publish = started("publish", &[&format!("ws://127.0.0.1:{}/mqtt", mosquitto.ws())]);
    for reading in ["20.1", "20.4", "20.2"] {
        assert!(says(&publish, &format!("the server has {reading}")));
        assert!(says(&subscribe, &format!("sensors/kitchen: {reading}")));
    }
    assert!(publish.wait(SOON).is_some_and(|status| status.success()));
    assert!(is_interrupted_well(subscribe));
}

#[tokio::test]
async fn the_worker_answers_and_finds_what_came_while_it_was_away() {
    let mosquitto = Mosquitto::start();
    let url = format!("tcp://127.0.0.1:{}", mosquitto.tcp());
    let worker = started("worker", &[&url]);
    assert!(complains(&worker, "waiting for orders"));
    let client = Client::start(Endpoint::new(&url), Options::default());
    let requester = client.requester().await.unwrap();
    let response = requester.request(Message::new("orders/1", "two coffees"), SOON).await.unwrap();
    assert_eq!(&*response.payload, b"two coffees: done");
    assert!(is_interrupted_well(worker));

    // Of QoS 1, so that the server keeps it.
    let order = Message { qos: QoS::AtLeastOnce, ..Message::new("orders/2", "tea") };
    let late = requester.request(order, SOON);
    let (response, _worker) = tokio::join!(late, async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        started("worker", &[&url])
    });
    assert_eq!(&*response.unwrap().payload, b"tea: done");
    client.disconnect().await;
}

#[test]
fn a_token_is_read_anew_at_each_reconnect() {
    let mosquitto = Mosquitto::start();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("token");
    std::fs::write(&file, "one\n").unwrap();
    let port = free_port();
    let only = |token: &str| format!("if ($http_authorization != \"Bearer {token}\") {{ return 401; }}");
    let nginx = Nginx::at(port, &mosquitto, &only("one"));

    let url = format!("wss://localhost:{port}/mqtt");
    let mut command = example("token", &[&url, file.to_str().unwrap()]);
    command.env("SSL_CERT_FILE", mosquitto.certificates.ca());
    let program = Program::start(command);
    assert!(says(&program, "still here"));

    // The server goes, and with it the first token; it comes back before there is another.
    drop(nginx);
    let _nginx = Nginx::at(port, &mosquitto, &only("two"));
    assert!(complains(&program, "401"));
    std::fs::write(&file, "two\n").unwrap();
    let again = |lines: &[String]| lines.iter().filter(|line| line.starts_with("connected")).nth(1).map(drop);
    assert!(program.stderr.wait(SOON, again).is_some());
    let seen = program.stdout.all().len();
    assert!(program.stdout.wait(SOON, |lines| (lines.len() > seen + 1).then_some(())).is_some());
    assert!(is_interrupted_well(program));
}

#[test]
fn proxies_are_taken_from_the_environment() {
    let mosquitto = Mosquitto::start();
    let socks = Way::microsocks(&["-u", "me", "-P", "s3cret"]);
    let http = Way::tinyproxy("BasicAuth me s3cret");
    let socks_url = format!("socks5h://me:s3cret@127.0.0.1:{}", socks.port);
    let http_url = format!("http://me:s3cret@127.0.0.1:{}", http.port);
    // 0.0.0.0 leads to this machine too, and is not known to need no proxy.
    for (variable, value, way, url, port) in [
        ("ALL_PROXY", &socks_url, &socks, format!("tcp://0.0.0.0:{}", mosquitto.tcp()), mosquitto.tcp()),
        ("http_proxy", &http_url, &http, format!("ws://0.0.0.0:{}", mosquitto.ws()), mosquitto.ws()),
    ] {
        let mut command = example("publish", &[&url]);
        command.env(variable, value);
        assert!(Program::start(command).wait(SOON).is_some_and(|status| status.success()), "{variable}");
        assert!(way.went_to(port), "{variable}");
    }
    // Its certificate is for another name, which the server itself shows at the other end of the tunnel.
    let mut command = example("publish", &[&format!("wss://0.0.0.0:{}", mosquitto.wss())]);
    command.env("HTTPS_PROXY", &http_url).env("SSL_CERT_FILE", mosquitto.certificates.ca());
    assert!(complains(&Program::start(command), "0.0.0.0"));
    assert!(http.went_to(mosquitto.wss()));
    // What is listed is reached without.
    let mut command = example("publish", &[&format!("tcp://0.0.0.0:{}", mosquitto.tcp())]);
    command.env("all_proxy", "http://127.0.0.1:1").env("no_proxy", "0.0.0.0/32");
    assert!(Program::start(command).wait(SOON).is_some_and(|status| status.success()));
}
