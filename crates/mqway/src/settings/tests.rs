use std::time::Duration;

use clap::CommandFactory;

use super::*;

fn from(text: &str, variables: &[(&str, &str)]) -> Result<Settings, String> {
    let table = parse(text).map_err(|(line, why)| format!("{line}: {why}"))?;
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    environment::overlay(table, variables).map_err(|failure| failure.message)
}

const FILE: &str = r#"
[[listeners]]
url = "tls://:8883"
cert = "cert.pem"
key = "key.pem"
client_auth = "optional"
origins = ["https://example.org", "null"]

[[upstreams]]
url = "tcp://127.0.0.1:1883"
insecure = true

[limits]
max_connections = 100
max_packet = "1MiB"
connect_timeout = 2.5
"#;

#[test]
fn a_file_is_read() {
    let settings = from(FILE, &[]).unwrap();
    assert_eq!(settings.listeners[0].url.as_deref(), Some("tls://:8883"));
    assert_eq!(settings.listeners[0].client_auth, Some(ClientAuth::Optional));
    assert_eq!(settings.listeners[0].origins.as_deref().map(<[_]>::len), Some(2));
    assert_eq!(settings.upstreams[0].insecure, Some(true));
    assert_eq!(settings.limits.max_packet, Some(Bytes(1 << 20)));
    assert_eq!(settings.limits.connect_timeout, Some(Seconds(Duration::from_millis(2_500))));
    assert_eq!(settings.limits.workers, None);
    assert_eq!(from("", &[]).unwrap(), Settings::default());
}

#[test]
fn the_environment_beats_the_file() {
    let settings = from(
        FILE,
        &[
            ("MQWAY__LIMITS__MAX_CONNECTIONS", "7"),
            ("MQWAY__LIMITS__MAX_PACKET", "64KiB"),
            ("MQWAY__LISTENERS__0__ORIGINS", "https://a.example, https://b.example"),
            ("MQWAY__LISTENERS__1__URL", "tcp://:1883"),
            ("MQWAY__UPSTREAMS__0__HEADERS", r#"["X-One: a, b", "X-Two: c"]"#),
            ("MQWAY__LOG__LEVEL", "debug"),
            ("MQWAY_LISTEN", "a flag, not ours"),
            ("HOME", "/"),
        ],
    )
    .unwrap();
    assert_eq!(settings.limits.max_connections, Some(7));
    assert_eq!(settings.limits.max_packet, Some(Bytes(65_536)));
    assert_eq!(settings.listeners[0].url.as_deref(), Some("tls://:8883"));
    let origins = settings.listeners[0].origins.as_deref().unwrap();
    assert_eq!(origins, ["https://a.example", "https://b.example"]);
    assert_eq!(settings.listeners[1].url.as_deref(), Some("tcp://:1883"));
    assert_eq!(settings.upstreams[0].headers.as_deref().unwrap(), ["X-One: a, b", "X-Two: c"]);
    assert_eq!(settings.log.level.as_deref(), Some("debug"));
}

#[test]
fn entry_ten_of_a_list_comes_after_entry_nine() {
    let variables: Vec<_> =
        (0..12).rev().map(|n| (format!("MQWAY__UPSTREAMS__{n}__URL"), format!("tcp://h{n}"))).collect();
    let variables: Vec<_> = variables.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let settings = from("", &variables).unwrap();
    assert_eq!(settings.upstreams.len(), 12);
    assert_eq!(settings.upstreams[10].url.as_deref(), Some("tcp://h10"));
}

#[test]
fn what_is_wrong_in_a_file_is_told_with_its_line_and_the_nearest_name() {
    for (text, expected) in [
        (
            "\n[limits]\nmax_conections = 3",
            "3: there is no key `limits.max_conections`; did you mean `max_connections`?",
        ),
        ("[[listener]]\nurl = \"x\"", "1: there is no section `listener`; did you mean `listeners`?"),
        ("[[upstreams]]\ncaflie = \"x\"", "2: there is no key `upstreams.caflie`; did you mean `cafile`?"),
        ("[log]\nzzz = 1", "2: there is no key `log.zzz`; there are level"),
        ("[limits]\n\nmax_packet = \"1 furlong\"", "3: \"furlong\" is no unit of bytes"),
        ("[limits]\nworkers = 0", "2: invalid value: integer `0`, expected a nonzero usize"),
        ("[limits]\nmax_connections = -1", "2: invalid value: integer `-1`, expected usize"),
        ("[[listeners]]\nclient_auth = \"maybe\"", "2: unknown variant `maybe`"),
        ("[limits]\nworkers = ", "2: "),
        ("limits = 3", "1: invalid type: integer `3`, expected struct Limits"),
    ] {
        let error = from(text, &[]).unwrap_err();
        assert!(error.starts_with(expected), "{error:?} does not start with {expected:?}");
    }
}

#[test]
fn what_is_wrong_in_the_environment_is_told_with_the_variable() {
    for (name, value, expected) in [
        (
            "MQWAY__LIMITS__MAX_CONECTIONS",
            "3",
            "there is no key `limits.max_conections`; did you mean `max_connections`?",
        ),
        ("MQWAY__LIMIT__WORKERS", "3", "there is no section `limit`; did you mean `limits`?"),
        ("MQWAY__LIMITS__WORKERS", "many", "invalid type: string \"many\", expected a nonzero usize"),
        ("MQWAY__LISTENERS__3__URL", "tcp://:1", "there are 0 listeners so far, so the next is number 0"),
        ("MQWAY__LISTENERS__URL", "tcp://:1", "say which of them, as in MQWAY__LISTENERS__0__…"),
        ("MQWAY__LIMITS", "3", "there is no key `limits.`"),
    ] {
        let error = from("", &[(name, value)]).unwrap_err();
        assert!(error.starts_with(&format!("{name}: {expected}")), "{error:?} does not say {expected:?}");
    }
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let failure = Settings::load(Some(Path::new("/nowhere/proxy.toml"))).unwrap_err();
    assert!(failure.message.starts_with("cannot read the configuration /nowhere/proxy.toml: "), "{failure}");
}

/// A file that `mqway config default` prints, with every key made to count.
fn explained(file: &str) -> toml::Table {
    let is_key = |line: &str| line.split_once(" = ").is_some_and(|(key, _)| !key.contains(' '));
    let lines = file.lines().map(|line| match line.strip_prefix("# ") {
        Some(key) if is_key(key) || key.starts_with("[profiles") => key,
        _ => line,
    });
    parse(&lines.collect::<Vec<_>>().join("\n")).unwrap()
}

#[test]
fn the_explained_files_are_valid_and_know_every_key() {
    let files = [BROKER_FILE, PROXY_FILE];
    for file in files {
        parse(file).unwrap();
    }
    let explained = files.map(explained);
    for section in known::keys_of("").iter().filter(|section| !["profiles", "plugins"].contains(section)) {
        let tables = explained.iter().filter_map(|file| match file.get(*section)? {
            toml::Value::Array(entries) => entries[0].as_table(),
            value => value.as_table(),
        });
        let tables: Vec<_> = tables.collect();
        for key in known::keys_of(section) {
            assert!(tables.iter().any(|table| table.contains_key(*key)), "{section}.{key} is not explained");
        }
    }
}

#[test]
fn profiles_say_what_flags_say() {
    let program = crate::cli::Cli::command();
    let explained: Settings = explained(BROKER_FILE).try_into().unwrap();
    assert_eq!(explained.profiles.keys().collect::<Vec<_>>(), ["home"]);
    profile::check(&program, &explained).unwrap();
    let wrong = from("[profiles.home]\nusernmae = 'me'", &[]).unwrap();
    let told = profile::check(&program, &wrong).unwrap_err().message;
    assert_eq!(told, "profile \"home\" has `usernmae`, which is no flag; did you mean `username`?");
}
