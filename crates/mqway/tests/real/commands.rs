//! `mqway pub`, `sub` and `rr`: each exit status with what provokes it, and what scripts count on.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::support::mosquitto::Mosquitto;
use crate::support::packets;
use crate::support::process::{Finished, Program, run};
use crate::support::server::{Server, broker_answer, broker_but};
use crate::support::{Kind, SOON, address, free_port, long};

/// Something to ask for with each of the commands.
const EACH: [&[&str]; 3] = [
    &["pub", "-t", "a", "-m", "x", "-q", "1"],
    &["sub", "-t", "a"],
    &["rr", "-t", "a", "-m", "x", "-e", "b"],
];

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mqway"));
    command.args(arguments).env("HOME", "/nowhere").env_remove("XDG_CONFIG_HOME");
    command
}

fn mqway(arguments: &[&str], input: &[u8]) -> Finished {
    let finished = run(command(arguments), input, SOON * 3);
    assert!(!finished.stderr.contains("panicked"), "{finished:?}");
    finished
}

#[track_caller]
fn expect_status(arguments: &[&str], status: i32) -> Finished {
    let finished = mqway(arguments, b"");
    assert_eq!(finished.code, Some(status), "mqway {arguments:?}: {finished:?}");
    if status != 0 {
        assert_eq!(finished.stderr.lines().count(), 1, "one line says why: {finished:?}");
    }
    finished
}

#[track_caller]
fn each_ends_with(status: i32, further: &[&str]) {
    for arguments in EACH {
        expect_status(&[arguments, further].concat(), status);
    }
}

#[test]
fn status_2_usage() {
    each_ends_with(2, &["http://127.0.0.1"]);
    each_ends_with(2, &["--no-such-flag"]);
    each_ends_with(2, &["--profile", "none"]);
    each_ends_with(2, &["tls://127.0.0.1", "--cafile", "/nowhere/at/all.pem"]);
    each_ends_with(2, &["ws://127.0.0.1", "--header", "no colon"]);
    expect_status(&["rr", "-V", "311", "-t", "a", "-m", "x"], 2);
}

#[test]
fn status_3_name_or_tcp() {
    let closed = format!("tcp://127.0.0.1:{}", free_port());
    each_ends_with(3, &[&closed]);
    each_ends_with(3, &["tcp://no-such-host.invalid"]);
    each_ends_with(3, &["--unix", "/nowhere/at/all.sock"]);
}

#[test]
fn status_4_tls() {
    let mosquitto = Mosquitto::start();
    let other = mosquitto.certificates.file("other-ca.pem");
    each_ends_with(4, &[&mosquitto.url(Kind::Tls), "--cafile", other.to_str().unwrap()]);
    each_ends_with(4, &[&mosquitto.url(Kind::Wss)]);
    let closing = Server::start(|mut stream| drop(stream.read(&mut [0; 1024])));
    each_ends_with(4, &[&closing.url("tls")]);
}

#[test]
fn status_5_websocket() {
    let refusing = Server::start(|mut stream| {
        let _ = stream.read(&mut [0; 4096]);
        let _ = stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
    });
    each_ends_with(5, &[&refusing.url("ws")]);
    let closing = Server::start(|mut stream| drop(stream.read(&mut [0; 1024])));
    each_ends_with(5, &[&closing.url("ws")]);
}

#[test]
fn status_6_refused() {
    let refusing = Server::start(|mut stream| {
        let connect = packets::read(&mut stream).unwrap();
        let connack: &[u8] = match packets::level_of(&connect) {
            packets::V5 => b"\x20\x0C\0\x87\x09\x1F\0\x06go off",
            _ => b"\x20\x02\0\x05",
        };
        let _ = stream.write_all(connack);
        let _ = packets::read(&mut stream);
    });
    each_ends_with(6, &[&refusing.url("tcp"), "-V", "311"]);
    for arguments in EACH {
        let finished = expect_status(&[arguments, &[&refusing.url("tcp"), "-V", "5"]].concat(), 6);
        assert!(finished.stderr.contains("go off"), "{finished:?}");
    }
}

#[test]
fn status_7_denied() {
    let subscriptions = broker_but(0x80, |stream, level, packet| {
        let mut body = packets::id(packet).to_be_bytes().to_vec();
        body.extend(if level == packets::V5 { vec![0, 0x87] } else { vec![0x80] });
        let _ = stream.write_all(&packets::packet(0x90, &body));
    });
    expect_status(&["sub", &subscriptions.url("tcp"), "-t", "a"], 7);
    expect_status(&["sub", &subscriptions.url("tcp"), "-t", "a", "-V", "5", "-E"], 7);
    expect_status(&["rr", &subscriptions.url("tcp"), "-t", "a", "-m", "x"], 7);
    let publications = broker_but(0x30, |stream, _, packet| {
        let mut body = packets::publish_id(packet).to_be_bytes().to_vec();
        body.push(0x87);
        let first = if packet[0] & 6 == 2 { 0x40 } else { 0x50 };
        let _ = stream.write_all(&packets::packet(first, &body));
    });
    for qos in ["1", "2"] {
        expect_status(&["pub", &publications.url("tcp"), "-V", "5", "-q", qos, "-t", "a", "-m", "x"], 7);
    }
    let all = mqway(&["pub", &publications.url("tcp"), "-V", "5", "-q", "1", "-t", "a", "-l"], b"1\n2\n3\n");
    assert_eq!(all.code, Some(7));
    assert!(all.stderr.contains("3 of 3 messages"), "{all:?}");
}

#[test]
fn status_8_timed_out() {
    let silent = Server::silent();
    for scheme in ["tcp", "tls", "ws"] {
        each_ends_with(8, &[&silent.url(scheme), "--timeout", "0.3"]);
    }
    let swallowing = broker_but(0x30, |_, _, _| {});
    expect_status(&["pub", &swallowing.url("tcp"), "-t", "a", "-m", "x", "-q", "1", "--timeout", "0.3"], 8);
    expect_status(&["sub", &swallowing.url("tcp"), "-t", "a", "-W", "0.3"], 8);
    expect_status(&["rr", &swallowing.url("tcp"), "-t", "a", "-m", "x", "-W", "0.3"], 8);
}

#[test]
fn status_9_connection_lost() {
    let closing = broker_but(0x30, |stream, _, _| drop(stream.shutdown(Shutdown::Both)));
    expect_status(&["pub", &closing.url("tcp"), "-t", "a", "-m", "x", "-q", "1"], 9);
    expect_status(&["rr", &closing.url("tcp"), "-t", "a", "-m", "x"], 9);
    let at_once = Server::start(|mut stream| {
        packets::read(&mut stream);
    });
    each_ends_with(9, &[&at_once.url("tcp")]);
    // What is closed with something unread is reset.
    let resetting = Server::start(|mut stream| drop(stream.read(&mut [0])));
    each_ends_with(9, &[&resetting.url("tcp")]);
    let later = broker_but(0x80, |stream, _, _| drop(stream.shutdown(Shutdown::Both)));
    expect_status(&["sub", &later.url("tcp"), "-t", "a", "--retry", "never"], 9);
    expect_status(&["sub", &later.url("tcp"), "-t", "a", "--retry", "initial"], 9);
}

/// What only a broken or hostile server does is neither a refusal nor a lost connection.
#[test]
fn status_1_other() {
    let nonsense = broker_but(0x80, |stream, _, _| drop(stream.write_all(&[0x00, 0x00, 0xFF, 0xFF])));
    expect_status(&["sub", &nonsense.url("tcp"), "-t", "a", "--retry", "never"], 1);
}

#[test]
fn a_reader_that_has_enough_is_no_failure() {
    let mosquitto = Mosquitto::start();
    let url = mosquitto.url(Kind::Tcp);
    for topic in ["kept/1", "kept/2", "kept/3"] {
        expect_status(&["pub", &url, "-t", topic, "-m", "x", "-r"], 0);
    }
    let line = "\"$0\" sub \"$1\" -t 'kept/#' -v | head -n 1; exec 3>&1; { \"$0\" sub \"$1\" -t none; echo $? >&3; } | true";
    let mut shell = Command::new("bash");
    shell.args(["-c", line, env!("CARGO_BIN_EXE_mqway"), &url]);
    let finished = run(shell, b"", SOON);
    assert_eq!(String::from_utf8_lossy(&finished.stdout), "kept/1 x\n0\n", "{finished:?}");
    assert_eq!(finished.stderr, "");
}

#[test]
fn no_line_of_a_pipe_is_lost() {
    send_lines(20_000, 2_000, 500);
}

#[test]
#[ignore = "long: a million lines"]
fn no_line_of_a_long_pipe_is_lost() {
    send_lines(long(1_000_000, 100_000), long(100_000, 5_000), long(20_000, 1_000));
}

/// Sends so many lines with QoS 0, 1 and 2.
fn send_lines(at_most_once: usize, at_least_once: usize, exactly_once: usize) {
    let mosquitto = Mosquitto::start();
    let url = mosquitto.url(Kind::Tcp);
    for (qos, lines) in [("0", at_most_once), ("1", at_least_once), ("2", exactly_once)] {
        let input: String = (0..lines).map(|number| format!("{number}\n")).collect();
        let count = lines.to_string();
        let receiver = Program::start(command(&["sub", &url, "-t", "lines", "-q", qos, "-C", &count, "-d"]));
        assert!(receiver.stderr.contain("subscribed"));
        let sent = mqway(&["pub", &url, "-t", "lines", "-q", qos, "-l"], input.as_bytes());
        assert_eq!(sent.code, Some(0), "{sent:?}");
        let received = receiver.stdout.wait(SOON * 3, |got| (got.len() == lines).then(|| got.to_vec()));
        let received =
            received.unwrap_or_else(|| panic!("QoS {qos}: {} of {lines}", receiver.stdout.all().len()));
        assert!(received.iter().zip(0..).all(|(line, number)| *line == number.to_string()), "in order");
    }
}

#[test]
fn a_signal_ends_a_subscriber_well() {
    for signal in ["INT", "TERM"] {
        let (told, goodbye) = std::sync::mpsc::channel();
        let server = broker_but(0xE0, move |stream, _, packet| {
            let _ = told.send(packet.to_vec());
            let _ = stream.shutdown(Shutdown::Both);
        });
        let mut subscriber = Program::start(command(&["sub", &server.url("tcp"), "-t", "a", "-d"]));
        assert!(subscriber.stderr.contain("connected"));
        subscriber.signal(signal);
        let status = subscriber.wait(SOON).expect("it ends");
        assert_eq!(status.code(), Some(0), "SIG{signal}");
        assert_eq!(goodbye.recv_timeout(SOON).expect("DISCONNECT"), packets::DISCONNECT);
    }
}

#[test]
fn a_publisher_that_is_stopped_before_its_end_says_so() {
    let swallowing = broker_but(0x30, |_, _, _| {});
    let mut publisher =
        Program::start(command(&["pub", &swallowing.url("tcp"), "-t", "a", "-m", "x", "-q", "1", "-d"]));
    assert!(publisher.stderr.contain("connected"));
    publisher.signal("INT");
    assert_eq!(publisher.wait(SOON).expect("it ends").code(), Some(1));
    assert!(publisher.stderr.contain("stopped by SIGINT"));
}

#[test]
fn a_flag_beats_the_environment_which_beats_the_profile() {
    let mosquitto = Mosquitto::start();
    let url = mosquitto.url(Kind::Tcp);
    for topic in ["flag", "variable", "profile"] {
        expect_status(&["pub", &url, "-t", topic, "-m", topic, "-r"], 0);
    }
    let directory = tempfile::TempDir::with_prefix("mqway-profile-").unwrap();
    let file = directory.path().join("mqway/config.toml");
    fs::create_dir(directory.path().join("mqway")).unwrap();
    let text = format!(
        "[profiles.here]\nurl = '{url}'\ntopic = ['profile']\ncount = 1\nverbose = true\nusername = 'me'\npassword = 'geheim'\n\
         [profiles.wrong]\ntopicc = 'a'\n"
    );
    fs::write(&file, text).unwrap();
    let sub = |arguments: &[&str], variables: &[(&str, &str)]| {
        let mut command = command(&[&["sub"], arguments].concat());
        command.env("XDG_CONFIG_HOME", directory.path()).envs(variables.iter().copied());
        run(command, b"", SOON)
    };
    let printed = |arguments: &[&str], variables: &[(&str, &str)]| {
        String::from_utf8_lossy(&sub(arguments, variables).stdout).into_owned()
    };
    let here = &["--profile", "here"][..];
    assert_eq!(printed(here, &[]), "profile profile\n");
    assert_eq!(printed(&[], &[("MQWAY_PROFILE", "here")]), "profile profile\n");
    assert_eq!(printed(here, &[("MQWAY_TOPIC", "variable")]), "variable variable\n");
    assert_eq!(printed(&[here, &["-t", "flag"]].concat(), &[("MQWAY_TOPIC", "variable")]), "flag flag\n");
    // A flag that means the same in other words counts, too.
    let port = address(&url).port().to_string();
    let elsewhere = &["-h", "127.0.0.1", "-p", &port, "-t", "flag", "-C", "1"][..];
    assert_eq!(printed(elsewhere, &[("MQWAY_URL", "tcp://127.0.0.1:1")]), "flag\n");
    let wrong = sub(&["--profile", "wrong"], &[]);
    assert_eq!(wrong.code, Some(2));
    assert!(wrong.stderr.contains("did you mean `topic`?"), "{wrong:?}");
    let debug = sub(&[here, &["-d", "--log", "trace"]].concat(), &[]);
    assert!(!debug.stderr.contains("geheim"), "{debug:?}");
}

#[test]
fn a_server_that_comes_up_late_is_waited_for_where_that_is_wanted() {
    let port = free_port();
    let url = format!("tcp://127.0.0.1:{port}");
    expect_status(&["pub", &url, "-t", "a", "-m", "x"], 3);
    expect_status(&["pub", &url, "-t", "a", "-m", "x", "--retry", "never"], 3);
    for retry in ["initial", "always"] {
        let begun = Instant::now();
        expect_status_quietly(
            &["pub", &url, "-t", "a", "-m", "x", "--retry", retry, "--timeout", "0.7", "--quiet"],
            8,
        );
        assert!(begun.elapsed() > Duration::from_millis(600));
        let mut waiting =
            Program::start(command(&["pub", &url, "-t", "a", "-m", "x", "--retry", retry, "-q", "1"]));
        assert!(waiting.stderr.contain("trying again"));
        let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
        let (mut stream, _) = listener.accept().unwrap();
        let mut level = 0;
        while let Some(packet) = packets::read(&mut stream) {
            if packet[0] == 0x10 {
                level = packets::level_of(&packet);
            }
            let answer = broker_answer(level, &packet).unwrap_or_default();
            if answer.is_empty() || stream.write_all(&answer).is_err() {
                break;
            }
        }
        assert_eq!(waiting.wait(SOON).expect("it ends").code(), Some(0), "--retry {retry}");
    }
}

fn expect_status_quietly(arguments: &[&str], status: i32) {
    let finished = mqway(arguments, b"");
    assert_eq!(finished.code, Some(status), "mqway {arguments:?}: {finished:?}");
}

#[test]
fn json_has_text_or_base64_and_the_properties() {
    let mosquitto = Mosquitto::start();
    let url = mosquitto.url(Kind::Tcp);
    let property = ["-D", "publish", "user-property", "a", "b"];
    let text = [&["pub", &url, "-t", "kept/1", "-m", "grüß", "-r"][..], &property].concat();
    expect_status(&text, 0);
    assert_eq!(mqway(&["pub", &url, "-t", "kept/2", "-s", "-r"], b"\xff\0").code, Some(0));
    let finished = expect_status(&["sub", &url, "-t", "kept/#", "-C", "2", "--json", "-V", "5"], 0);
    let lines: Vec<serde_json::Value> = String::from_utf8(finished.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines[0]["payload"], "grüß");
    assert_eq!(lines[0]["properties"]["user_properties"], serde_json::json!([["a", "b"]]));
    assert_eq!((&lines[1]["payload_base64"], &lines[1]["retain"]), (&"/wA=".into(), &true.into()));
}

#[test]
fn a_reader_of_stdout_that_took_its_time_cost_the_connection() {
    let (told, pinged) = mpsc::channel();
    let message = packets::packet(0x30, &[&b"\0\x01a"[..], &[b'x'; 100]].concat());
    let server = Server::start(move |mut stream| {
        while let Some(packet) = packets::read(&mut stream) {
            let answer = match packet[0] {
                // More than a pipe holds, and little enough not to wait for here.
                0x82 => [&b"\x90\x03\0\x01\0"[..], &message.repeat(1500)].concat(),
                0xC0 => {
                    let _ = told.send(());
                    b"\xD0\0".to_vec()
                }
                _ => broker_answer(packets::V3_1_1, &packet).unwrap_or_default(),
            };
            if stream.write_all(&answer).is_err() {
                break;
            }
        }
    });
    let mut sub = command(&["sub", &server.url("tcp"), "-t", "a", "-k", "1"]);
    let mut sub = sub.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    for _ in 0..3 {
        pinged.recv_timeout(SOON).expect("it stays in touch while nobody reads what it prints");
    }
    drop(sub.stdout.take());
    assert_eq!(sub.wait().unwrap().code(), Some(0));
}

#[test]
fn a_tls_alert_was_told_twice() {
    let server = Server::start(|mut stream| {
        let _ = stream.read(&mut [0; 4096]);
        // A warning: close_notify.
        let _ = stream.write_all(b"\x15\x03\x03\0\x02\x01\0");
    });
    expect_status(&["sub", &server.url("tls"), "-t", "a", "--insecure"], 4);
}

#[test]
fn a_file_that_is_no_certificate_was_told_as_a_connection_that_was_lost() {
    for command in [&["sub"][..], &["rr", "-m", "x"], &["pub", "-m", "x"]] {
        let arguments = [command, &["tls://127.0.0.1:1", "-t", "a", "--cafile", "/dev/null"]].concat();
        let told = expect_status(&arguments, 2);
        assert!(!told.stderr.contains("the client has ended"), "{told:?}");
    }
}
