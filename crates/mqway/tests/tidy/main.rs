//! The rules of the house that a machine can check: who may import whom, what stays pure, how files are named.
//!
//! A failure lists every offence at once, as `file:line: what`.

mod norms;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::{env, fs};

/// The crates and what each may import: the picture in ARCHITECTURE.md, as a list.
/// A new crate adds its row here, in its own place in the picture.
const ARROWS: &[(&str, &[&str])] = &[
    ("codec", &[]),
    ("session", &["codec"]),
    ("routing", &["codec"]),
    ("transport", &["codec"]),
    ("hooks", &["codec", "transport"]),
    ("access", &["codec", "transport", "hooks"]),
    ("client", &["codec", "session", "transport"]),
    ("engine", &["transport"]),
    ("proxy", &["codec", "transport", "hooks", "engine"]),
    ("broker", &["codec", "session", "routing", "transport", "hooks", "engine"]),
    ("mqway", &["codec", "session", "transport", "hooks", "access", "client", "engine", "broker", "proxy"]),
];

/// Crates that know no socket, clock, thread, file or runtime: they are given bytes and the time.
const PURE: &[&str] = &["codec", "session", "routing", "transport", "hooks"];

/// What a pure crate does not name.
const IMPURE: &[&str] = &[
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "UnixStream",
    "UnixListener",
    "ToSocketAddrs",
    "Instant::now",
    "SystemTime",
    "std::thread",
    "std::fs",
    "std::process",
    "std::env",
    "mio::",
    "tokio::",
    "socket2::",
];

/// Dependencies that only a crate with I/O has a use for.
const IMPURE_DEPENDENCIES: &[&str] = &["mio", "tokio", "socket2", "signal-hook", "rustls-native-certs"];

/// Crates that may hold `unsafe` code, with the reason in their lib.rs. None does.
const MAY_BE_UNSAFE: &[&str] = &[];

/// File names that say nothing about what is inside.
const EMPTY_NAMES: &[&str] = &["util", "utils", "common", "types", "helper", "helpers", "manager", "misc"];

const MOST_LINES: usize = 1_000;

#[test]
fn crates_import_only_along_the_arrows() {
    let mut offences = Vec::new();
    for member in members() {
        let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| *name == member) else {
            offences.push(format!("crates/{member}: not in the list of arrows of this test"));
            continue;
        };
        for (section, dependency) in dependencies(&member) {
            let Some(imported) = dependency.strip_prefix("mqway-") else { continue };
            if !allowed.contains(&imported) {
                offences.push(format!("crates/{member}/Cargo.toml: [{section}] {dependency} has no arrow"));
            }
        }
    }
    report(&offences);
}

#[test]
fn pure_crates_stay_pure() {
    let mut offences = Vec::new();
    for member in PURE {
        for (section, dependency) in dependencies(member) {
            if section != "dev-dependencies" && IMPURE_DEPENDENCIES.contains(&dependency.as_str()) {
                offences.push(format!("crates/{member}/Cargo.toml: [{section}] {dependency} is for I/O"));
            }
        }
        for file in rust_files(&crate_root(member).join("src")) {
            if is_test_file(&file) {
                continue;
            }
            for (number, line) in shipped_lines(&read(&file)) {
                for name in IMPURE.iter().filter(|name| line.contains(**name)) {
                    offences.push(format!("{}:{number}: a pure crate names {name}", shown(&file)));
                }
            }
        }
    }
    report(&offences);
}

#[test]
fn every_crate_forbids_unsafe_code() {
    let offences: Vec<_> = members()
        .into_iter()
        .filter(|member| !MAY_BE_UNSAFE.contains(&member.as_str()))
        .filter_map(|member| {
            let src = crate_root(&member).join("src");
            let root = [src.join("lib.rs"), src.join("main.rs")].into_iter().find(|file| file.exists())?;
            let forbids = read(&root).contains("#![forbid(unsafe_code)]");
            (!forbids).then(|| format!("{}:1: no #![forbid(unsafe_code)]", shown(&root)))
        })
        .collect();
    report(&offences);
}

#[test]
fn every_member_of_the_workspace_says_in_one_line_what_it_is() {
    let manifest = read(&root().join("Cargo.toml"));
    let offences: Vec<_> = manifest
        .lines()
        .enumerate()
        .skip_while(|(_, line)| !line.starts_with("members"))
        .skip(1)
        .take_while(|(_, line)| !line.starts_with(']'))
        .filter(|(_, line)| line.split_once('#').is_none_or(|(_, comment)| comment.trim().is_empty()))
        .map(|(index, line)| format!("Cargo.toml:{}: no comment after {}", index + 1, line.trim()))
        .collect();
    report(&offences);
}

#[test]
fn files_are_short_and_well_named() {
    let mut offences = Vec::new();
    for file in all_rust_files() {
        let lines = read(&file).lines().count();
        if lines > MOST_LINES {
            offences.push(format!("{}:{lines}: longer than {MOST_LINES} lines, split it", shown(&file)));
        }
        for name in file.strip_prefix(root()).expect("listed below the root").components() {
            let name = name.as_os_str().to_string_lossy();
            if EMPTY_NAMES.contains(&name.trim_end_matches(".rs")) {
                offences.push(format!("{}:1: name it for what is inside, not {name}", shown(&file)));
            }
        }
    }
    report(&offences);
}

#[test]
fn code_has_no_leftovers_and_no_getters() {
    // Spelled in halves, or this file would report itself.
    let leftovers = [
        concat!("dbg", "!("),
        concat!("todo", "!("),
        concat!("unimplemented", "!("),
        concat!("fn get", "_"),
        concat!("FIX", "ME"),
        concat!("TO", "DO"),
    ];
    let mut offences = Vec::new();
    for file in all_rust_files() {
        for (index, line) in read(&file).lines().enumerate() {
            for word in leftovers.iter().filter(|word| line.contains(**word)) {
                offences.push(format!("{}:{}: {word}", shown(&file), index + 1));
            }
        }
    }
    report(&offences);
}

#[test]
fn papers_link_to_files_that_exist() {
    let mut offences = Vec::new();
    for paper in files(&root(), "md") {
        let text = read(&paper);
        for (index, line) in text.lines().enumerate() {
            for link in line.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
                let path = link.split('#').next().unwrap_or_default();
                let elsewhere = path.is_empty() || path.contains(':');
                if !elsewhere && !paper.with_file_name(path).exists() {
                    offences.push(format!("{}:{}: {path} is not there", shown(&paper), index + 1));
                }
            }
        }
    }
    report(&offences);
}

#[test]
fn the_checks_see_what_they_look_for() {
    let code =
        "use a;\n// std::fs in a comment\nlet x = 1; // mio::\n#[cfg(test)]\nmod tests {\n    std::fs\n}";
    assert_eq!(shipped_lines(code), [(1, "use a;"), (2, ""), (3, "let x = 1; ")]);
    let code = "#[cfg(test)]\nmod tests;\nuse std::fs;";
    assert!(shipped_lines(code).contains(&(3, "use std::fs;")));
    assert!(members().len() >= 5);
    assert!(dependencies("mqway").iter().any(|(_, name)| name == "mqway-proxy"));
    assert!(all_rust_files().iter().any(|file| file.ends_with("crates/mqway/tests/tidy/main.rs")));
}

/// Fails with all of `offences`, one a line.
#[track_caller]
fn report(offences: &[String]) {
    assert!(offences.is_empty(), "\n{}\n", offences.join("\n"));
}

/// Short names (`codec`, not `mqway-codec`) of the crates in the workspace.
fn members() -> BTreeSet<String> {
    let manifest: toml::Table = read(&root().join("Cargo.toml")).parse().expect("cargo has read it");
    let members = manifest["workspace"]["members"].as_array().expect("cargo has read it");
    members.iter().filter_map(|member| member.as_str()?.strip_prefix("crates/").map(str::to_owned)).collect()
}

/// Every dependency of a crate, with the section it stands in.
fn dependencies(member: &str) -> Vec<(&'static str, String)> {
    let path = crate_root(member).join("Cargo.toml");
    let manifest: toml::Table = read(&path).parse().expect("cargo has read it");
    let targets = manifest.get("target").and_then(toml::Value::as_table);
    let tables = targets.into_iter().flat_map(|table| table.values()).filter_map(toml::Value::as_table);
    let mut found = Vec::new();
    for table in tables.chain([&manifest]) {
        for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
            if let Some(names) = table.get(section).and_then(toml::Value::as_table) {
                found.extend(names.keys().map(|name| (section, name.clone())));
            }
        }
    }
    found
}

/// The numbered lines of a file without their comments, up to the tests that stand last.
fn shipped_lines(code: &str) -> Vec<(usize, &str)> {
    code.lines()
        .take(tests_begin(code))
        .enumerate()
        .map(|(index, line)| (index + 1, line.split("//").next().unwrap_or_default()))
        .collect()
}

/// How many lines come before the tests that stand last.
fn tests_begin(code: &str) -> usize {
    let shipped = code.find("#[cfg(test)]\nmod tests {").unwrap_or(code.len());
    code[..shipped].lines().count()
}

fn is_test_file(file: &Path) -> bool {
    file.components().any(|part| part.as_os_str() == "tests.rs" || part.as_os_str() == "tests")
}

fn all_rust_files() -> Vec<PathBuf> {
    rust_files(&root())
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    files(folder, "rs")
}

/// Files below `folder` with that extension, except what was built or downloaded.
fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let foreign = ["target", "node_modules", "venv"];
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
            let path = entry.expect("a readable folder").path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if path.is_dir() && !name.starts_with('.') && !foreign.contains(&name.as_ref()) {
                folders.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn crate_root(member: &str) -> PathBuf {
    root().join("crates").join(member)
}

fn root() -> PathBuf {
    let here = PathBuf::from(env::var("CARGO_MANIFEST_DIR").expect("set by cargo"));
    here.ancestors().nth(2).expect("crates/mqway is two below the root").to_owned()
}

fn shown(file: &Path) -> String {
    file.strip_prefix(root()).unwrap_or(file).display().to_string()
}

fn read(file: &Path) -> String {
    fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}
