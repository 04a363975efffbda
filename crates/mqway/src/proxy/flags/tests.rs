use clap::Parser;

use super::*;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    flags: Flags,
}

/// The settings that come of a file and a command line.
fn laid_over(file: &str, line: &str) -> Result<Settings, String> {
    let flags = Line::parse_from(["mqway"].into_iter().chain(line.split_whitespace())).flags;
    let mut settings: Settings = toml::from_str(file).unwrap();
    flags.lay_over(&mut settings).map_err(|failure| failure.message)?;
    Ok(settings)
}

const FILE: &str = r#"
[[listeners]]
url = "wss://:1"
cert = "file.pem"
paths = ["/file"]
[[listeners]]
url = "tcp://:2"
[[upstreams]]
url = "wss://server"
headers = ["X-File: 1"]
[limits]
max_connections = 1
workers = 2
"#;

#[test]
fn a_flag_beats_the_file_and_leaves_the_rest() {
    let settings = laid_over(FILE, "--max-connections 5 --cert flag.pem --upstream-header X-Flag:2").unwrap();
    assert_eq!(settings.limits.max_connections, Some(5));
    assert_eq!(settings.limits.workers, NonZeroUsize::new(2));
    assert_eq!(settings.listeners[0].cert.as_deref(), Some("flag.pem".as_ref()));
    assert_eq!(settings.listeners[0].paths.as_deref(), Some(&["/file".to_owned()][..]));
    assert_eq!(settings.upstreams[0].headers.as_deref(), Some(&["X-Flag:2".to_owned()][..]));
}

#[test]
fn listeners_and_upstreams_of_flags_replace_those_of_the_file() {
    let settings = laid_over(FILE, "--listen tcp://:3 --listen ws://:4 --upstream tcp://other").unwrap();
    let urls: Vec<_> = settings.listeners.iter().filter_map(|listener| listener.url.as_deref()).collect();
    assert_eq!(urls, ["tcp://:3", "ws://:4"]);
    assert_eq!(settings.upstreams.len(), 1);
    assert_eq!(settings.upstreams[0].headers, None);
}

#[test]
fn a_flag_goes_to_the_entries_that_have_a_use_for_it() {
    let settings = laid_over(FILE, "--key key.pem --allow-origin null --proxy-protocol").unwrap();
    assert_eq!(settings.listeners[0].origins.as_deref(), Some(&["null".to_owned()][..]));
    assert!(settings.listeners[1].key.is_none() && settings.listeners[1].origins.is_none());
    assert!(settings.listeners.iter().all(|listener| listener.proxy_protocol == Some(true)));
}

#[test]
fn a_flag_without_any_use_is_refused() {
    for (line, expected) in [
        (
            "--listen tcp://:1 --client-ca ca.pem",
            "--client-ca (or MQWAY_CLIENT_CA) is of no use without a listener at tls://",
        ),
        ("--listen tcp://:1 --alpn mqtt", "--alpn (or MQWAY_ALPN) is of no use without a listener at tls://"),
        ("--listen tcp://:1 --path /x", "--path (or MQWAY_PATH) is of no use without a listener at ws://"),
        (
            "--upstream tcp://h --insecure",
            "--insecure (or MQWAY_INSECURE) is of no use without an upstream at tls://",
        ),
        (
            "--upstream tls://h --upstream-header a:b",
            "--upstream-header (or MQWAY_UPSTREAM_HEADER) is of no use",
        ),
    ] {
        let told = laid_over("", line).unwrap_err();
        assert!(told.starts_with(expected), "{told}");
    }
}
