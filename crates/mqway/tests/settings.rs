//! Where settings come from, which source wins, and how mistakes are told: the binary from outside.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Output, Stdio};

fn mqway(line: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mqway"));
    command.env_clear().args(line.split_whitespace()).stdin(Stdio::null());
    command
}

fn finished(mut command: Command) -> Output {
    command.output().expect("it runs")
}

/// A file that is gone at the end of the test.
fn file(text: &str) -> tempfile::NamedTempFile {
    let file = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
    std::fs::write(file.path(), text).unwrap();
    file
}

/// Ended with the test that started it.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The path at which a proxy serves WebSocket, as it prints it.
fn path_served(mut command: Command) -> String {
    let mut running = Running(command.stderr(Stdio::piped()).spawn().expect("it runs"));
    let mut lines = BufReader::new(running.0.stderr.take().unwrap()).lines();
    let said =
        lines.by_ref().map_while(Result::ok).find(|line| line.starts_with("listening ws://127.0.0.1:"));
    let said = said.expect("it listens");
    said[said.rfind('/').unwrap()..].to_owned()
}

#[test]
fn a_flag_beats_the_environment_that_beats_the_file() {
    let file =
        file("[[listeners]]\nurl = \"ws://127.0.0.1:0/file\"\n[[upstreams]]\nurl = \"tcp://127.0.0.1:1\"\n");
    let with_file = |flags: &str| mqway(&format!("proxy -c {} {flags}", file.path().display()));
    assert_eq!(path_served(with_file("")), "/file");
    let mut command = with_file("");
    command.env("MQWAY__LISTENERS__0__URL", "ws://127.0.0.1:0/key");
    assert_eq!(path_served(command), "/key");
    let mut command = with_file("");
    command.env("MQWAY__LISTENERS__0__URL", "ws://127.0.0.1:0/key");
    command.env("MQWAY_LISTEN", "ws://127.0.0.1:0/variable");
    assert_eq!(path_served(command), "/variable");
    let mut command = with_file("--listen ws://127.0.0.1:0/flag");
    command.env("MQWAY__LISTENERS__0__URL", "ws://127.0.0.1:0/key");
    command.env("MQWAY_LISTEN", "ws://127.0.0.1:0/variable");
    assert_eq!(path_served(command), "/flag");
    assert_eq!(path_served(with_file("--path /listed")), "/listed");
}

#[test]
fn the_environment_alone_is_enough() {
    let mut command = mqway("proxy");
    command.env("MQWAY_LISTEN", "ws://127.0.0.1:0/a ws://127.0.0.1:0/b");
    command.env("MQWAY_UPSTREAM", "tcp://127.0.0.1:1").env("MQWAY_STRICT_SUBPROTOCOL", "1");
    assert_eq!(path_served(command), "/a");
}

#[test]
fn the_explained_configuration_is_one_that_works() {
    for of in ["", " broker", " proxy"] {
        let default = finished(mqway(&format!("config default{of}")));
        assert!(default.status.success() && default.stderr.is_empty());
        let file = file(&String::from_utf8(default.stdout).unwrap());
        let check = finished(mqway(&format!("config check {}", file.path().display())));
        assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stderr));
    }
}

#[test]
fn a_check_finds_and_says_what_a_start_would() {
    let ends = "[[listeners]]\nurl = \"tcp://:0\"\n[[upstreams]]\nurl = \"wss://h\"\ninsecure = true\n";
    let checked = |text: String| {
        let file = file(&text);
        let output = finished(mqway(&format!("config check {}", file.path().display())));
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (status, told) = checked(ends.to_owned());
    assert!(status == Some(0) && told.contains("certificates of upstreams are not checked"), "{told}");
    let (status, told) = checked(format!("{ends}[log]\nlevel = \"loud\"\n"));
    assert!(status == Some(2) && told.contains("is no log level"), "{told}");
}

#[test]
fn mistakes_are_one_line_and_status_2() {
    let misspelt = file("[limits]\nmax_conections = 3\n");
    let misspelt = misspelt.path().display();
    let ends = "--listen tcp://127.0.0.1:0 --upstream tcp://127.0.0.1:1";
    for (line, expected) in [
        ("prxy".to_owned(), "a similar subcommand exists: 'proxy'"),
        ("check".to_owned(), "not in this version"),
        ("broker --listen tcp://:0".to_owned(), "say --allow-anonymous"),
        ("broker --data d".to_owned(), "--data is not in this version"),
        ("broker --admin http://127.0.0.1:0".to_owned(), "--admin is not in this version"),
        ("broker --listen tcp://127.0.0.1:0 --cert c".to_owned(), "of no use without a listener"),
        ("proxy".to_owned(), "nowhere to listen"),
        ("proxy --listen tcp://127.0.0.1:0".to_owned(), "no server to bring clients to"),
        (format!("proxy {ends} --lissten x"), "a similar argument exists: '--listen'"),
        (format!("proxy {ends} --max-packet 1Mb"), "write 65536, 64KiB, 1MiB or 1GiB"),
        (format!("proxy {ends} --workers 0"), "--workers"),
        (format!("proxy {ends} --grace soon"), "write 10, 2.5, 250ms, 10s or 5m"),
        (format!("proxy {ends} --log loud"), "write error, warn, info, debug, trace or off"),
        (format!("proxy {ends} --cert x"), "--cert (or MQWAY_CERT) is of no use"),
        (format!("proxy {ends} -c /nowhere.toml"), "cannot read the configuration /nowhere.toml"),
        (format!("proxy {ends} -c {misspelt}"), ":2: there is no key `limits.max_conections`; did you mean"),
        ("proxy --listen tls://:0 --upstream tcp://h --cert /no --key /no".to_owned(), "cannot read /no"),
        ("proxy --listen tcp://:0 --upstream wss://u:geheim@h:x/".to_owned(), "bad URL"),
        ("ping tcp://h --topic a/#".to_owned(), "bad topic"),
        ("ping tcp://h -P geheim".to_owned(), "a password needs a user name before MQTT 5.0; add --username"),
        ("ping tcp://h -q 3".to_owned(), "write 0, 1 or 2"),
        ("ping tcp://h -V 4".to_owned(), "write 31, 311 or 5"),
        ("ping wss://u:geheim@h:x/".to_owned(), "bad URL"),
        ("ping ws://h --header geheim".to_owned(), "write it as 'Name: value'"),
    ] {
        let output = finished(mqway(&line));
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "mqway {line}: {told}");
        assert!(told.starts_with("mqway: ") && told.contains(expected), "mqway {line}: {told}");
        assert_eq!(told.lines().count(), 1, "mqway {line}: {told}");
        assert!(!told.contains("geheim"), "mqway {line}: {told}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn a_port_in_use_is_told_with_its_listener() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("tcp://{}", taken.local_addr().unwrap());
    let output = finished(mqway(&format!("proxy --listen {url} --upstream tcp://127.0.0.1:1")));
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(told.starts_with(&format!("mqway: cannot listen at {url}: ")), "{told}");
}

#[test]
fn help_and_version_go_to_stdout_and_show_no_secrets() {
    for line in
        ["--help", "--version", "broker --help", "proxy --help", "tap --help", "ping --help", "config --help"]
    {
        let mut command = mqway(line);
        command.env("MQWAY_PASSWORD", "geheim").env("MQWAY_UPSTREAM", "wss://u:geheim@h");
        let output = finished(command);
        assert!(output.status.success() && output.stderr.is_empty(), "{line}");
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(!text.is_empty() && !text.contains("geheim"), "{line}: {text}");
    }
}

#[test]
fn a_tap_whose_reader_has_gone_ends() {
    let mut tap = mqway("tap --listen tcp://127.0.0.1:0 --upstream tcp://127.0.0.1:1");
    let mut running = Running(tap.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap());
    let mut stderr = BufReader::new(running.0.stderr.take().unwrap());
    let mut line = String::new();
    stderr.read_line(&mut line).unwrap();
    drop(running.0.stdout.take());
    let address = line.trim_end().rsplit("//").next().unwrap().to_owned();
    // A connection is an event, and with that a line that nobody reads.
    drop(std::net::TcpStream::connect(address).unwrap());
    let mut rest = String::new();
    stderr.read_to_string(&mut rest).unwrap();
    assert!(running.0.wait().unwrap().success(), "{rest}");
}

#[test]
fn more_clients_than_the_system_has_room_for_are_warned_of() {
    let mut shell = Command::new("sh");
    shell.env_clear().stdin(Stdio::null()).stderr(Stdio::piped());
    let proxy = "proxy --listen tcp://127.0.0.1:0 --upstream tcp://127.0.0.1:1 --max-connections 101";
    shell.args(["-c", &format!("ulimit -n 200; exec {} {proxy}", env!("CARGO_BIN_EXE_mqway"))]);
    let mut running = Running(shell.spawn().unwrap());
    let mut lines = BufReader::new(running.0.stderr.take().unwrap()).lines().map_while(Result::ok);
    let told = lines.next().unwrap();
    assert!(told.contains("WARN") && told.contains("room for 100 clients at the most"), "{told}");
}
