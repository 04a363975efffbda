//! Scripts made for mosquitto's tools: the same output and the same kind of exit status with the name replaced. The
//! list is in `same/rows.rs`; the table of it in the README of `client` is checked here.

#[path = "same/rows.rs"]
mod rows;

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::mosquitto::Mosquitto;
use crate::support::process::{Finished, Program, run};
use crate::support::{Kind, SOON, address, root};
use rows::{FAILURES, PUBLISH, Row, SUBSCRIBE};
use tempfile::TempDir;

#[test]
fn what_is_published_is_the_same() {
    let bench = Bench::start();
    for row in PUBLISH {
        let watched = |tool| {
            let watcher = bench.watcher();
            let finished = bench.run(tool, row);
            bench.mosquitto_tools(&["pub -t out/end -m end -q 2"]);
            let arrived = watcher.stdout.wait(SOON, |lines| {
                let arrived: Vec<_> = lines.iter().filter(|line| line.starts_with("out/")).cloned().collect();
                arrived.last().is_some_and(|line| line.starts_with("out/end")).then_some(arrived)
            });
            // A retained message would come to the next watcher.
            bench.mosquitto_tools(&["pub -t out/a -n -r"]);
            (finished, arrived.expect("the last message"))
        };
        let (theirs, ours) = (watched(Tool::Mosquitto), watched(Tool::Mqway));
        compare(row, &theirs.0, &ours.0);
        assert_eq!(theirs.1, ours.1, "{}: what arrived", row.line);
    }
}

#[test]
fn what_is_printed_is_the_same() {
    let bench = Bench::start();
    for row in SUBSCRIBE {
        compare(row, &bench.run(Tool::Mosquitto, row), &bench.run(Tool::Mqway, row));
    }
}

#[test]
fn what_fails_fails_alike() {
    let bench = Bench::start();
    for row in FAILURES {
        let (theirs, ours) = (bench.run(Tool::Mosquitto, row), bench.run(Tool::Mqway, row));
        // Where mosquitto's tools print their help, ours say one line on stderr.
        assert!(ours.stdout.is_empty() && ours.stderr.lines().count() == 1, "{}: {ours:?}", row.line);
        assert_eq!((theirs.code, ours.code), statuses(row), "{}: {theirs:?} {ours:?}", row.line);
    }
}

#[test]
fn the_table_in_the_readme_is_this_list() {
    let path = root().join("crates/client/README.md");
    let readme = fs::read_to_string(&path).unwrap();
    let (begin, end) = ("<!-- same: begin -->\n", "<!-- same: end -->\n");
    let start = readme.find(begin).expect("where the table begins") + begin.len();
    let stop = readme.find(end).expect("where the table ends");
    let table = table();
    if std::env::var_os("MQWAY_WRITE_TABLES").is_some() {
        fs::write(&path, format!("{}{table}{}", &readme[..start], &readme[stop..])).unwrap();
        return;
    }
    assert!(
        readme[start..stop] == table,
        "crates/client/README.md is behind the list; run this test with MQWAY_WRITE_TABLES=1 to bring it up"
    );
}

fn table() -> String {
    let rows = PUBLISH.iter().chain(SUBSCRIBE).chain(FAILURES);
    let lines = rows.map(|row| {
        let line = row.line.replace('|', "\\|");
        format!("| `{line}` | {} | {} |\n", row.status.0, row.status.1)
    });
    let head =
        "| invocation (`pub` is `mosquitto_pub` or `mqway pub`) | mosquitto | mqway |\n|---|---|---|\n";
    std::iter::once(head.to_owned()).chain(lines).collect()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Tool {
    Mosquitto,
    Mqway,
}

/// A mosquitto that lets everybody in, and one that lets nobody.
struct Bench {
    open: Mosquitto,
    closed: Mosquitto,
    directory: TempDir,
}

impl Bench {
    fn start() -> Bench {
        let directory = TempDir::with_prefix("mqway-same-").unwrap();
        fs::write(directory.path().join("payload"), b"bytes of a file\n\0\xFF").unwrap();
        let closed = Mosquitto::with("allow_anonymous false\n");
        Bench { open: Mosquitto::start(), closed, directory }
    }

    /// Runs a row to its end, with what comes before and meanwhile.
    fn run(&self, tool: Tool, row: &Row) -> Finished {
        self.mosquitto_tools(row.before);
        if row.meanwhile.is_empty() {
            return run(self.shell(tool, row.line), b"", SOON);
        }
        let subscribed =
            |lines: &[String]| lines.iter().filter(|line| line.contains("Sending SUBACK")).count();
        let log = &self.open.program.stderr;
        let before = subscribed(&log.all());
        std::thread::scope(|scope| {
            let running = scope.spawn(|| run(self.shell(tool, row.line), b"", SOON));
            log.wait(SOON, |lines| (subscribed(lines) > before).then_some(())).expect("it subscribes");
            self.mosquitto_tools(row.meanwhile);
            running.join().unwrap()
        })
    }

    fn mosquitto_tools(&self, lines: &[&str]) {
        for line in lines {
            let finished = run(self.shell(Tool::Mosquitto, line), b"", SOON);
            assert_eq!(finished.code, Some(0), "{line}: {finished:?}");
        }
    }

    /// Prints everything about each message below `out`.
    fn watcher(&self) -> Program {
        let line = "exec stdbuf -oL sub -t 'out/#' -q 2 -V 5 -F '%t %q %r %x %C %P %R %D %E %F' -d";
        let program = Program::start(self.shell(Tool::Mosquitto, line));
        assert!(program.stdout.contain("Subscribed"), "the watcher is not subscribed");
        program
    }

    fn shell(&self, tool: Tool, line: &str) -> Command {
        let mut line = format!(" {line} ");
        let names = match tool {
            Tool::Mosquitto => ["mosquitto_pub".to_owned(), "mosquitto_sub".to_owned()],
            Tool::Mqway => ["pub", "sub"].map(|name| format!("{} {name}", env!("CARGO_BIN_EXE_mqway"))),
        };
        let somewhere = ["HOST", "SOCKET", " -h "].iter().any(|word| line.contains(word));
        let server = if somewhere { "" } else { " -h HOST -p PORT" };
        for (name, program) in ["pub", "sub"].iter().zip(names) {
            // So that whoever kills the shell kills the program.
            let exec = if line.contains("exec") { "" } else { "exec " };
            line = line.replacen(&format!(" {name} "), &format!(" {exec}{program}{server} "), 1);
        }
        let port = |mosquitto: &Mosquitto, kind| address(&mosquitto.url(kind)).port().to_string();
        let certificates = &self.open.certificates;
        let file = |name: &str| certificates.file(name).display().to_string();
        for (word, value) in [
            ("TLSPORT", port(&self.open, Kind::Tls)),
            ("CLOSEDPORT", port(&self.closed, Kind::Tcp)),
            ("PORT", port(&self.open, Kind::Tcp)),
            ("HOST", "127.0.0.1".to_owned()),
            ("SOCKET", self.open.url(Kind::Unix).trim_start_matches("unix://").to_owned()),
            ("CA", file("ca.pem")),
            ("CERT", file("client.pem")),
            ("KEY", file("client.key")),
            ("FILE", self.directory.path().join("payload").display().to_string()),
        ] {
            line = line.replace(word, &value);
        }
        let mut command = Command::new("sh");
        command.arg("-c").arg(line).current_dir(Path::new("/"));
        command
    }
}

fn statuses(row: &Row) -> (Option<i32>, Option<i32>) {
    (Some(row.status.0), Some(row.status.1))
}

#[track_caller]
fn compare(row: &Row, theirs: &Finished, ours: &Finished) {
    assert_eq!((theirs.code, ours.code), statuses(row), "{}: {theirs:?} {ours:?}", row.line);
    assert_eq!(printed(theirs), printed(ours), "{}: what was printed", row.line);
}

/// What was printed, but for the time in JSON, and for what mosquitto's `-d` tells on stdout and ours on stderr.
fn printed(finished: &Finished) -> String {
    let text = String::from_utf8_lossy(&finished.stdout);
    let told = |line: &&str| !line.starts_with("Client ") && !line.starts_with("Subscribed (mid");
    let text: String = text.split_inclusive('\n').filter(told).collect();
    let mut parts = text.split("\"tst\":");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.map(|part| part.split_once(',').map_or("", |(_, rest)| rest)).fold(first, |text, rest| text + rest)
}
