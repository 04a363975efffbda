//! Who may connect and what each may do: mosquitto's own files, by the broker, and by the proxy before a mosquitto that
//! lets in everybody.

use crate::support::mosquitto::Mosquitto;
use crate::support::mqway::{Proxy, Running};
use crate::support::process::{Finished, run};
use crate::support::{Kind, SOON, eventually};
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// Statuses of our clients: CONNACK refused; publication or subscription refused.
const NOT_LET_IN: i32 = 6;
const NOT_ALLOWED: i32 = 7;

/// A directory with a password file and rules.
struct Files(TempDir);

impl Files {
    fn new() -> Files {
        let files = Files(TempDir::with_prefix("mqway-access-").unwrap());
        files.set_password("ann", "secret");
        std::fs::write(
            files.path("acl"),
            "user ann\ntopic readwrite ann/#\ntopic read news/+\npattern write from/%c\n",
        )
        .unwrap();
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// By mosquitto's own tool.
    fn set_password(&self, user: &str, password: &str) {
        let mut command = Command::new("mosquitto_passwd");
        let passwords = self.path("passwords");
        if !passwords.exists() {
            command.arg("-c");
        }
        let done = run(
            {
                command.arg("-b").arg(&passwords).args([user, password]);
                command
            },
            b"",
            SOON,
        );
        assert!(done.code == Some(0), "{done:?}");
    }

    /// Starts a server that is told of these files on its command line.
    fn guard_by_flags(&self, server: Proxy) -> Running {
        let server = server.argument("--password-file").argument(self.path("passwords"));
        server.argument("--acl-file").argument(self.path("acl")).start()
    }

    /// Starts a server with these files.
    fn guard(&self, server: Proxy) -> Running {
        let settings = format!(
            "[access]\npassword_file = '{}'\nacl_file = '{}'\n",
            self.path("passwords").display(),
            self.path("acl").display()
        );
        let file = self.path("mqway.toml");
        std::fs::write(&file, settings).unwrap();
        server.argument("--config").argument(file).start()
    }
}

fn client(arguments: &[&str]) -> Finished {
    crate::support::mqway::mqway(arguments, SOON * 3)
}

/// Publishes as `ann` with this password.
fn publish(url: &str, version: &str, password: &str, topic: &str) -> Option<i32> {
    let ann = ["-u", "ann", "-P", password, "-i", "c1", "-V", version];
    let what = ["-q", "1", "-t", topic, "-m", "x", "--retry", "never"];
    client(&[&["pub", url], &ann[..], &what[..]].concat()).code
}

fn both(check: impl Fn(&Running, &Files)) {
    let files = Files::new();
    check(&files.guard(Proxy::broker().listen("tcp://127.0.0.1:0").listen("ws://127.0.0.1:0")), &files);
    let mosquitto = Mosquitto::start();
    let upstream = mosquitto.url(Kind::Tcp);
    let proxy = Proxy::new().upstream(&upstream);
    check(&files.guard(proxy.listen("tcp://127.0.0.1:0").listen("ws://127.0.0.1:0")), &files);
}

#[test]
fn files_of_mosquitto_decide_who_comes_in_and_who_publishes_what() {
    both(|server, _| {
        for listener in [0, 1] {
            let url = server.url(listener);
            assert_eq!(publish(url, "5", "secret", "ann/x"), Some(0));
            assert_eq!(publish(url, "311", "secret", "from/c1"), Some(0));
            assert_eq!(publish(url, "5", "wrong", "ann/x"), Some(NOT_LET_IN));
            assert_eq!(publish(url, "311", "wrong", "ann/x"), Some(NOT_LET_IN));
            assert_eq!(publish(url, "5", "secret", "news/today"), Some(NOT_ALLOWED));
            assert_eq!(publish(url, "5", "secret", "from/c2"), Some(NOT_ALLOWED));
            // 3.1.1 has no way to say so: it is acknowledged, and dropped.
            assert_eq!(publish(url, "311", "secret", "from/c2"), Some(0));
        }
        let nobody = client(&["pub", server.url(0), "-t", "ann/x", "-m", "x", "--retry", "never"]);
        assert_eq!(nobody.code, Some(NOT_LET_IN));
    });
}

#[test]
fn two_flags_are_enough() {
    let files = Files::new();
    let mosquitto = Mosquitto::start();
    let proxy = Proxy::new().upstream(&mosquitto.url(Kind::Tcp));
    for server in [Proxy::broker(), proxy] {
        let server = files.guard_by_flags(server.listen("tcp://127.0.0.1:0"));
        assert_eq!(publish(server.url(0), "5", "secret", "ann/x"), Some(0));
        assert_eq!(publish(server.url(0), "5", "wrong", "ann/x"), Some(NOT_LET_IN));
        assert_eq!(publish(server.url(0), "5", "secret", "news/today"), Some(NOT_ALLOWED));
    }
}

#[test]
fn a_subscriber_of_everything_gets_what_it_may_read() {
    both(|server, _| {
        let url = server.url(0);
        let who = ["-u", "ann", "-P", "secret"];
        for (topic, retain) in [("ann/a", "-r"), ("from/c1", "-r")] {
            let sent = client(
                &[&["pub", url], &who[..], &["-i", "c1", "-q", "1", "-t", topic, "-m", topic, retain]]
                    .concat(),
            );
            assert_eq!(sent.code, Some(0), "{sent:?}");
        }
        let listening = [&["sub", url], &who[..], &["-t", "#", "-W", "2", "-v"]].concat();
        let heard = client(&listening);
        assert_eq!(String::from_utf8_lossy(&heard.stdout), "ann/a ann/a\n", "{heard:?}");
    });
}

#[test]
fn a_reload_lets_in_new_users_and_no_more_old_ones() {
    both(|server, files| {
        let url = server.url(0);
        let bob = |password: &str| {
            let who = ["-u", "bob", "-P", password, "-V", "5"];
            client(
                &[&["pub", url], &who[..], &["-t", "bob/x", "-m", "x", "-q", "1", "--retry", "never"]]
                    .concat(),
            )
            .code
        };
        assert_eq!(bob("hello"), Some(NOT_LET_IN));
        files.set_password("bob", "hello");
        std::fs::write(files.path("acl"), "user bob\ntopic readwrite bob/#\n").unwrap();
        server.program.signal("HUP");
        assert!(eventually(SOON, || bob("hello") == Some(0)));
        assert_eq!(publish(url, "5", "secret", "ann/x"), Some(NOT_ALLOWED));
        // A bad file changes nothing.
        std::fs::write(files.path("acl"), "topic nonsense a b c\n").unwrap();
        server.program.signal("HUP");
        assert!(server.program.stderr.contain("acl: line 1: "), "{:?}", server.program.stderr.all());
        assert_eq!(bob("hello"), Some(0));
        // As they were, for the next.
        drop(std::fs::remove_file(files.path("passwords")));
        files.set_password("ann", "secret");
        write_rules(&files.path("acl"));
    });
}

fn write_rules(path: &Path) {
    let rules = "user ann\ntopic readwrite ann/#\ntopic read news/+\npattern write from/%c\n";
    std::fs::write(path, rules).unwrap();
}

#[test]
fn a_file_that_is_no_good_keeps_the_server_from_starting() {
    let files = Files::new();
    std::fs::write(files.path("acl"), "topic nonsense a b c\n").unwrap();
    let settings = files.path("mqway.toml");
    let acl = files.path("acl");
    std::fs::write(&settings, format!("[access]\nacl_file = '{}'\n", acl.display())).unwrap();
    let started = client(&["broker", "--config", settings.to_str().unwrap()]);
    assert_eq!(started.code, Some(2));
    let told = started.stderr;
    assert!(told.contains(&format!("{}: line 1: ", acl.display())) && told.lines().count() == 1, "{told}");
    // What keeps it from starting is what a check of the configuration says.
    let checked = client(&["config", "check", settings.to_str().unwrap()]);
    assert_eq!((checked.code, checked.stderr), (Some(2), told));
}
