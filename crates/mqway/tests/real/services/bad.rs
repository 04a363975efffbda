//! Services that are down, and such that answer nonsense.

use super::{Guarded, LEVELS, contains, rules};
use crate::hooks::Raw;
use crate::support::packets::{self, Level, V5, publish, subscribe};
use crate::support::web::{Reply, WebService, says};
use crate::support::{free_port, long};
use serde_json::json;

/// What a service that counts for the whole may say of who connects.
#[derive(Clone, Copy, PartialEq)]
enum WhenDown {
    Deny,
    Pass,
    Allow,
}

#[test]
fn a_service_that_is_down_is_answered_for_as_configured() {
    for (when_down, word) in [(WhenDown::Deny, "deny"), (WhenDown::Pass, "pass"), (WhenDown::Allow, "allow")]
    {
        for start in [Guarded::broker, Guarded::proxy] {
            let section =
                format!("[web_service]\nurl = 'http://127.0.0.1:{}'\nwhen_down = '{word}'\n", free_port());
            let guarded = start(&section);
            for level in LEVELS {
                connect(&guarded, level, when_down);
            }
            // Others let in whom the service says nothing of, if they don't say who they are.
            let guarded = start(&format!("{section}[access]\nallow_anonymous = true\n"));
            if when_down == WhenDown::Pass {
                drop(Raw::connected(guarded.server.address(), V5, "c"));
                connect(&guarded, V5, when_down);
            }
            let guarded = start(&format!("{section}questions = ['publish', 'subscribe']\n"));
            for level in LEVELS {
                act(&guarded, level, when_down);
            }
        }
    }
}

fn connect(guarded: &Guarded, level: Level, when_down: WhenDown) {
    let connack = guarded.open(level, "c", "good").hear().unwrap();
    let expected = match (when_down, level) {
        (WhenDown::Allow, _) => 0,
        (WhenDown::Deny, V5) => 0x88,
        (WhenDown::Deny, _) => 3,
        (WhenDown::Pass, V5) => 0x86,
        (WhenDown::Pass, _) => 5,
    };
    assert_eq!((connack[0], connack[3]), (0x20, expected));
    if when_down == WhenDown::Deny && level == V5 {
        assert!(contains(&connack, "gives no answer"), "{connack:02x?}");
    }
}

fn act(guarded: &Guarded, level: Level, when_down: WhenDown) {
    let (mut client, denied) = (guarded.connected(level, "c"), when_down == WhenDown::Deny);
    client.say(&subscribe(level, 1, "a", 1));
    let suback = client.hear().unwrap();
    let granted = match (denied, level) {
        (true, V5) => 0x87,
        (true, _) => 0x80,
        (false, _) => 1,
    };
    assert_eq!((suback[0], suback.last()), (0x90, Some(&granted)));
    client.say(&publish(level, "b", 1, 2, b"x"));
    let puback = client.hear().unwrap();
    assert_eq!((puback[0], packets::id(&puback)), (0x40, 2));
    let reason = if level == V5 { puback.get(4).copied().unwrap_or(0) } else { 0 };
    assert_eq!(reason >= 0x80, denied && level == V5, "{puback:02x?}");
}

/// How many kinds of nonsense there are.
const KINDS: usize = 17;

/// Nonsense of one kind.
fn nonsense(kind: usize) -> Reply {
    const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n";
    const CHUNKED: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let bytes = |text: &str| Reply::Bytes(text.as_bytes().to_vec());
    match kind {
        0 => bytes("HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n<html>no</html>"),
        1 => says(json!({ "result": 1 })),
        2 => says(json!({ "result": "allow", "qos": "high" })),
        3 => says(json!(["allow"])),
        4 => bytes("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
        5 => Reply::Endless(HEAD, b"[[[["),
        6 => Reply::Endless(CHUNKED, b"4\r\nwxyz\r\n"),
        7 => Reply::Endless(b"HTTP/1.1 200 OK\r\n", b"X-Field: value\r\n"),
        8 => Reply::Endless(b"HTTP/1.1 200 OK\r\nX-Field: ", b"value"),
        9 => bytes("HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n"),
        10 => Reply::Json(500, json!({ "result": "allow" })),
        11 => bytes("SSH-2.0-OpenSSH_9.2p1\r\n\r\n"),
        12 => bytes(""),
        13 => bytes("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"result\":"),
        14 => Reply::Json(204, json!(null)),
        15 => {
            let deep = "[".repeat(60_000);
            bytes(&format!("HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n{deep}"))
        }
        _ => Reply::Json(404, json!({ "result": "allow" })),
    }
}

#[test]
fn nonsense_is_no_answer_and_takes_no_memory() {
    nonsense_of(300);
}

#[test]
#[ignore = "long: 10,000 times nonsense, by the broker and by the proxy"]
fn ten_thousand_times_nonsense_takes_no_memory() {
    nonsense_of(long(10_000, 2_000));
}

fn nonsense_of(rounds: usize) {
    /// What may be in use by chance.
    const SLACK: u64 = 8 * 1024 * 1024;
    for start in [Guarded::broker, Guarded::proxy] {
        let service = WebService::start(|question| {
            let kind = question["topic"].as_str().and_then(|topic| topic.strip_prefix("nonsense/"));
            match kind.and_then(|rest| rest.split('/').next()) {
                Some(kind) => nonsense(kind.parse().unwrap()),
                None => rules(question),
            }
        });
        // What is good is not kept either.
        let guarded = start(&format!("[web_service]\nurl = '{}'\ncache_allow = 0\n", service.url()));
        let mut client = guarded.connected(V5, "c");
        let (mut before, mut refused) = (0, 0);
        for round in 0..rounds {
            // A good answer now and then, or the service is left alone.
            if round % 4 == 0 {
                client.say(&publish(V5, "fine", 1, 1, b"x"));
                let puback = client.hear().unwrap();
                assert!(puback.get(4).is_none_or(|&reason| reason < 0x80), "{puback:02x?}");
            }
            let topic = format!("nonsense/{}/{round}", round % KINDS);
            client.say(&publish(V5, &topic, 1, 2, b"x"));
            let puback = client.hear().unwrap();
            assert_eq!((puback[0], puback[4]), (0x40, 0x87), "{topic}");
            assert!(contains(&puback, "gives no answer"));
            refused += 1;
            if round == rounds / 5 {
                before = guarded.server.program.resident();
            }
        }
        let grown = guarded.server.program.resident().saturating_sub(before);
        println!("{refused} times nonsense: {grown} bytes more than after a fifth of it");
        assert!(grown < SLACK, "{grown} bytes");
        let failed = guarded.counter("failed");
        assert_eq!((failed, guarded.counter("resting")), (refused, 0));
        let said = guarded.server.program.stderr.all();
        assert!(said.iter().any(|line| line.contains(&format!("no answer from {}: ", service.url()))));
        let is_short = |line: &String| line.starts_with('{') || line.len() < 600;
        assert!(said.len() < 2_000 && said.iter().all(is_short), "{}", said.len());
    }
}
