//! `mqway passwd` and `mqway acl check`, as people and scripts use them.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use mqway_access::password::{Checked, PasswordFile};
use tempfile::TempDir;

use crate::support::SOON;
use crate::support::process::{Finished, run};

fn mqway(directory: &Path, arguments: &[&str], input: &[u8]) -> Finished {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mqway"));
    command.args(arguments).current_dir(directory);
    let finished = run(command, input, SOON * 3);
    assert!(!finished.stderr.contains("panicked"), "{finished:?}");
    assert!(finished.stderr.lines().count() <= 1, "{finished:?}");
    finished
}

fn directory() -> TempDir {
    TempDir::with_prefix("mqway-passwd-").unwrap()
}

fn check(file: &Path, user: &str, password: &str) -> bool {
    let file = PasswordFile::parse(&fs::read(file).unwrap()).unwrap();
    file.check(user, password.as_bytes()) == Checked::Right
}

#[test]
fn users_are_added_changed_and_deleted() {
    let directory = directory();
    let file = directory.path().join("users");
    let passwd = |arguments: &[&str], input: &str| {
        let finished = mqway(directory.path(), &[&["passwd"], arguments].concat(), input.as_bytes());
        (finished.code, finished.stderr)
    };
    assert_eq!(passwd(&["users", "alice"], "sesame\nmore\n"), (Some(0), "added \"alice\" in users\n".into()));
    assert!(check(&file, "alice", "sesame"));
    assert_eq!(file.metadata().unwrap().mode() & 0o777, 0o600, "not for others");
    assert_eq!(passwd(&["-b", "users", "bob", "open: sesame"], "").0, Some(0));
    assert!(check(&file, "alice", "sesame") && check(&file, "bob", "open: sesame"));
    assert_eq!(passwd(&["users", "alice"], "other").1, "changed the password of \"alice\" in users\n");
    assert!(check(&file, "alice", "other") && !check(&file, "alice", "sesame"));
    assert_eq!(passwd(&["-D", "users", "alice"], "").0, Some(0));
    assert!(!check(&file, "alice", "other") && check(&file, "bob", "open: sesame"));
    assert_eq!(passwd(&["-D", "users", "alice"], "").0, Some(1));
    assert_eq!(passwd(&["-c", "users", "carol"], "x").0, Some(0));
    assert!(check(&file, "carol", "x") && !check(&file, "bob", "open: sesame"));
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "nothing is left beside it");
}

#[test]
fn a_file_keeps_its_permissions_comments_and_links() {
    let directory = directory();
    let file = directory.path().join("real");
    fs::write(&file, "# by hand\nodd\nalice:$6$x$y\n").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    symlink("real", directory.path().join("link")).unwrap();
    let finished = mqway(directory.path(), &["passwd", "link", "bob"], b"x\r\n");
    assert_eq!(finished.code, Some(0), "{finished:?}");
    assert!(fs::read_to_string(&file).unwrap().starts_with("# by hand\nodd\nalice:$6$x$y\nbob:$argon2id$"));
    assert_eq!(file.metadata().unwrap().mode() & 0o777, 0o640);
    assert!(directory.path().join("link").symlink_metadata().unwrap().is_symlink());
    assert!(check(&file, "bob", "x"));
}

#[test]
fn a_user_of_scram_stays_one_with_the_new_password() {
    let directory = directory();
    let lines = || fs::read_to_string(directory.path().join("f")).unwrap();
    assert_eq!(mqway(directory.path(), &["passwd", "--scram", "f", "a"], b"x").code, Some(0));
    let first = lines();
    assert!(first.lines().nth(1).unwrap().starts_with("a:SCRAM-SHA-256$"), "{first}");
    assert_eq!(mqway(directory.path(), &["passwd", "f", "a"], b"y").code, Some(0));
    assert_eq!(lines().lines().count(), 2);
    assert!(lines().lines().all(|line| !first.contains(line)), "both are new");
    assert_eq!(mqway(directory.path(), &["passwd", "-D", "f", "a"], b"").code, Some(0));
    assert_eq!(lines(), "");
}

#[test]
fn what_cannot_be_meant_changes_nothing() {
    let directory = directory();
    let file = directory.path().join("f");
    fs::write(&file, "alice:x\n").unwrap();
    fs::create_dir(directory.path().join("d")).unwrap();
    let long = "x".repeat(65_536);
    for (arguments, input, status) in [
        (&["f", "a:b"][..], "x", 2),
        (&["f", ""], "x", 2),
        (&["f", "a\nb"], "x", 2),
        (&["f", "#a"], "x", 2),
        (&["f", "a"], "", 2),
        (&["f", "a"], "\n", 2),
        (&["f", "a"], &long, 2),
        (&["f", "a", "b"], "x", 2),
        (&["-b", "f", "a"], "x", 2),
        (&["-D", "-b", "f", "a", "b"], "x", 2),
        (&["-D", "none", "a"], "", 2),
        (&["d", "a"], "x", 2),
        (&["no/such/directory", "a"], "x", 1),
        (&["--scram", "f", "a"], "\u{7}x", 2),
    ] {
        let finished = mqway(directory.path(), &[&["passwd"], arguments].concat(), input.as_bytes());
        assert_eq!(finished.code, Some(status), "{arguments:?}: {finished:?}");
        assert_eq!(finished.stderr.lines().count(), 1, "{finished:?}");
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), "alice:x\n");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
}

#[test]
fn permissions_can_be_asked_for_with_the_line_that_decides() {
    let directory = directory();
    fs::write(directory.path().join("acl.toml"), "[[rules]]\nallow = 'all'\ntopics = 'u/%u/#'\n").unwrap();
    fs::write(directory.path().join("aclfile"), "user alice\ntopic read news/#\n").unwrap();
    fs::write(directory.path().join("broker.toml"), "[[acl.rules]]\ndeny = 'publish'\ngroups = 'g'\n")
        .unwrap();
    fs::write(directory.path().join("mqway.toml"), "[access]\nacl_file = 'aclfile'\n").unwrap();
    fs::write(directory.path().join("bad.toml"), "default = 1\n").unwrap();
    for (arguments, status, told) in [
        (
            &["--acl", "acl.toml", "-u", "alice", "-i", "c", "publish", "u/alice/x"][..],
            0,
            "allowed by acl.toml:2: allow all of u/%u/#\n",
        ),
        (
            &["--acl", "acl.toml", "--user", "bob", "--client-id", "c", "subscribe", "$share/g/u/alice/#"],
            7,
            "denied by the default of acl.toml, as no rule is for it\n",
        ),
        (
            &["--acl", "aclfile", "-u", "alice", "receive", "news/x"],
            0,
            "allowed by aclfile:2: topic read news/# (of user \"alice\")\n",
        ),
        (
            &["-c", "mqway.toml", "-u", "alice", "receive", "news/x"],
            0,
            "allowed by aclfile:2: topic read news/# (of user \"alice\")\n",
        ),
        (&["--acl", "acl.toml", "publish", "a/#"], 2, ""),
        (&["--acl", "bad.toml", "publish", "a"], 2, ""),
        (&["--acl", "none", "publish", "a"], 2, ""),
        (&["-c", "acl.toml", "publish", "a"], 2, ""),
        // Servers read no rules there, so that it would be of no use to ask for them.
        (&["-c", "broker.toml", "--group", "g", "publish", "x"], 2, ""),
        (&["publish", "a"], 2, ""),
    ] {
        let finished = mqway(directory.path(), &[&["acl", "check"], arguments].concat(), b"");
        assert_eq!(finished.code, Some(status), "{arguments:?}: {finished:?}");
        assert_eq!(String::from_utf8_lossy(&finished.stdout), told, "{arguments:?}");
        assert_eq!(finished.stderr.is_empty(), status != 2, "{finished:?}");
    }
}
