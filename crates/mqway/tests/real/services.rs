//! A web service that decides, asked by the broker, and by the proxy before a mosquitto that lets in everybody.

mod bad;

use crate::hooks::Raw;
use crate::support::certificates::Certificates;
use crate::support::mosquitto::Mosquitto;
use crate::support::mqway::{Proxy, Running};
use crate::support::packets::{
    self, Connect, Level, V3_1_1, V5, acknowledgement, publish, string, subscribe,
};
use crate::support::web::{Reply, WebService, says};
use crate::support::{Kind, SOON, eventually};
use serde_json::{Value, json};
use std::sync::{Arc, Condvar, Mutex};
use tempfile::TempDir;

/// Time enough for a service that waits for a gate.
const PATIENT: &str = "timeout = 40\n[access]\nanswer_timeout = 60\n";

/// Versions that can be told of a refused subscription.
const LEVELS: [Level; 2] = [V3_1_1, V5];

/// A server with a configuration of its own.
struct Guarded {
    server: Running,
    directory: TempDir,
    _upstream: Option<Mosquitto>,
}

impl Guarded {
    fn broker(settings: &str) -> Guarded {
        Guarded::start(Proxy::broker(), settings, None)
    }

    fn proxy(settings: &str) -> Guarded {
        let mosquitto = Mosquitto::start();
        Guarded::start(Proxy::new().upstream(&mosquitto.url(Kind::Tcp)), settings, Some(mosquitto))
    }

    fn start(server: Proxy, settings: &str, upstream: Option<Mosquitto>) -> Guarded {
        let directory = TempDir::with_prefix("mqway-services-").unwrap();
        let file = directory.path().join("mqway.toml");
        std::fs::write(&file, settings).unwrap();
        let server = server.listen("tcp://127.0.0.1:0").argument("--config").argument(file).start();
        Guarded { server, directory, _upstream: upstream }
    }

    /// Has it read these settings.
    fn reload(&self, settings: &str) {
        std::fs::write(self.directory.path().join("mqway.toml"), settings).unwrap();
        self.server.program.signal("HUP");
    }

    fn open(&self, level: Level, id: &str, password: &str) -> Raw {
        let user = Some(("me", password));
        let connect = Connect { level, client_id: id, user, ..Connect::default() };
        Raw::open(self.server.address(), &connect.bytes(), level)
    }

    fn connected(&self, level: Level, id: &str) -> Raw {
        let mut raw = self.open(level, id, "good");
        let connack = raw.hear().unwrap();
        assert_eq!((connack[0], connack[3]), (0x20, 0), "MQTT {}", packets::name(level));
        raw
    }

    /// What the service was asked, and what became of it.
    fn counter(&self, name: &str) -> u64 {
        self.server.counters()["web_service"][name].as_u64().unwrap()
    }
}

/// Plays the same with both servers, each with a service of its own.
fn both<A>(answer: A, more: &str, play: impl Fn(&Guarded, &WebService))
where
    A: Fn(&Value) -> Reply + Clone + Send + Sync + 'static,
{
    for start in [Guarded::broker, Guarded::proxy] {
        let service = WebService::start(answer.clone());
        let settings = format!("[web_service]\nurl = '{}'\n{more}", service.url());
        play(&start(&settings), &service);
    }
}

fn contains(packet: &[u8], text: &str) -> bool {
    text.is_empty() || packet.windows(text.len()).any(|part| part == text.as_bytes())
}

/// Lets in who says `good`, as `ann`, who may do what isn't called `deny`.
fn rules(question: &Value) -> Reply {
    let deny = |reason: &str| says(json!({ "result": "deny", "reason": reason }));
    match question["question"].as_str().unwrap() {
        "connect" => match question["password"].as_str() {
            Some("good") => says(json!({ "result": "allow", "user_name": "ann" })),
            Some("blocked") => deny("this account is blocked"),
            Some("wrong") => Reply::Json(401, json!(null)),
            _ => says(json!({ "result": "ignore" })),
        },
        "publish" if question["topic"].as_str().unwrap().contains("deny") => deny("not yours"),
        "subscribe" => match question["filter"].as_str().unwrap() {
            filter if filter.contains("deny") => deny("not yours"),
            filter if filter.contains("low") => says(json!({ "result": "allow", "qos": 1 })),
            _ => says(json!({ "result": "allow" })),
        },
        _ => says(json!({ "result": "allow" })),
    }
}

#[test]
fn a_web_service_decides_who_comes_in() {
    both(rules, PATIENT, |guarded, service| {
        for level in LEVELS {
            let v5 = level == V5;
            for _ in 0..2 {
                drop(guarded.connected(level, "c"));
            }
            for (password, code, words) in [
                ("blocked", if v5 { 0x87 } else { 5 }, "this account is blocked"),
                ("wrong", if v5 { 0x86 } else { 5 }, ""),
                ("unknown", if v5 { 0x86 } else { 5 }, ""),
            ] {
                let mut refused = guarded.open(level, "c", password);
                let connack = refused.hear().unwrap();
                assert_eq!((connack[0], connack[3]), (0x20, code), "{password}");
                assert!(!v5 || contains(&connack, words), "{connack:02x?}");
                assert!(refused.hear().is_none());
            }
            let mut anonymous = Raw::open(guarded.server.address(), &packets::connect(level, "c"), level);
            assert_eq!(anonymous.hear().unwrap()[3], if v5 { 0x87 } else { 5 });
            let user = Some(("me", "good"));
            let will = Some(("deny/will", &b"x"[..]));
            let will = Connect { level, client_id: "w", user, will, ..Connect::default() };
            let mut refused = Raw::open(guarded.server.address(), &will.bytes(), level);
            assert_eq!(refused.hear().unwrap()[3], if v5 { 0x87 } else { 5 });
        }
        let asked = service.asked();
        let versions: Vec<_> = asked.iter().map(|asked| &asked["version"]).collect();
        assert!(versions.contains(&&json!("3.1.1")) && versions.contains(&&json!("5.0")));
        let will = asked.iter().find(|asked| asked["topic"] == "deny/will").unwrap();
        assert_eq!((&will["will"], &will["user_name"]), (&json!(true), &json!("ann")));
        let said = guarded.server.program.stderr.all().join("\n");
        assert!(said.contains(&format!("web service {}: this account is blocked", service.url())), "{said}");
        assert!(!["\"good\"", "wrong\"", "unknown\""].iter().any(|secret| said.contains(secret)), "{said}");
        assert_eq!(guarded.counter("asked"), guarded.counter("answered") + guarded.counter("from_cache"));
        assert!(guarded.counter("from_cache") >= 2, "who comes again is known");
    });
}

#[test]
fn a_web_service_decides_what_each_may_do() {
    both(rules, PATIENT, |guarded, service| {
        let mut witness = guarded.connected(V5, "witness");
        witness.say(&subscribe(V5, 1, "#", 0));
        witness.hears(&[0x90, 4, 0, 1, 0, 0]);
        for level in LEVELS {
            let v5 = level == V5;
            let mut client = guarded.connected(level, "c");
            client.say(&publish(level, "deny/0", 0, 0, b"x"));
            client.say(&publish(level, "deny/1", 1, 1, b"x"));
            client.say(&publish(level, "deny/2", 2, 2, b"x"));
            for (first, id) in [(0x40, 1), (0x50, 2)] {
                let answer = client.hear().unwrap();
                assert_eq!((answer[0], packets::id(&answer)), (first, id));
                // Before 5.0 there is no way to say so.
                assert!(!v5 || (answer[4] == 0x87 && contains(&answer, "not yours")), "{answer:02x?}");
            }
            if !v5 {
                client.say(&acknowledgement(0x62, 2));
                client.hears(&acknowledgement(0x70, 2));
            }
            let mut several = if v5 { vec![0, 3, 0] } else { vec![0, 3] };
            for filter in ["deny/#", "low/#", "fine/#"] {
                several.extend([string(filter), vec![2]].concat());
            }
            client.say(&packets::packet(0x82, &several));
            let suback = client.hear().unwrap();
            assert_eq!(suback[suback.len() - 3..], [if v5 { 0x87 } else { 0x80 }, 1, 2]);
            for qos in [0, 1] {
                client.say(&publish(level, "fine/last", qos, 9, b"x"));
            }
            // Its own, and the answer to the second.
            let mut kinds: Vec<_> = (0..3).map(|_| client.hear().unwrap()[0] >> 4).collect();
            kinds.sort_unstable();
            assert_eq!(kinds, [3, 3, 4]);
            for _ in 0..2 {
                assert_eq!(witness.receive().0, "fine/last", "and nothing before");
            }
        }
        let asked = service.asked();
        let about = |topic: &str| asked.iter().filter(|asked| asked["topic"] == topic).count();
        assert_eq!((about("fine/last"), about("deny/1")), (2, 1), "others are known already");
        let denied = asked.iter().find(|asked| asked["topic"] == "deny/2").unwrap();
        assert_eq!((&denied["client_id"], &denied["user_name"]), (&json!("c"), &json!("ann")));
        assert_eq!((&denied["qos"], &denied["transport"]), (&json!(2), &json!("tcp")));
    });
}

/// Closed until it is opened.
#[derive(Clone, Default)]
struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    fn open(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }

    fn wait(&self) {
        let closed = |open: &mut bool| !*open;
        drop(self.0.1.wait_timeout_while(self.0.0.lock().unwrap(), SOON * 3, closed).unwrap());
    }
}

#[test]
fn a_slow_service_holds_up_whom_it_is_asked_about_and_nobody_else() {
    /// More than are asked about at a time.
    const SLOW: u16 = 24;
    for start in [Guarded::broker, Guarded::proxy] {
        let gate = Gate::default();
        let closed = gate.clone();
        let service = WebService::start(move |question| {
            if question["topic"].as_str().is_some_and(|topic| topic.starts_with("slow")) {
                closed.wait();
            }
            rules(question)
        });
        let guarded = start(&format!("[web_service]\nurl = '{}'\n{PATIENT}", service.url()));
        let mut witness = guarded.connected(V5, "witness");
        witness.say(&subscribe(V5, 1, "#", 0));
        witness.hears(&[0x90, 4, 0, 1, 0, 0]);
        let mut other = guarded.connected(V3_1_1, "other");
        other.say(&publish(V3_1_1, "fine/other", 1, 1, b"x"));
        other.hears(&acknowledgement(0x40, 1));
        assert_eq!(witness.receive().0, "fine/other");
        let mut slow: Vec<_> = (0..SLOW)
            .map(|number| guarded.connected(LEVELS[number as usize % 2], &format!("s{number}")))
            .collect();
        for (client, number) in slow.iter_mut().zip(0..) {
            let level = LEVELS[number % 2];
            client.say(&publish(level, &format!("slow/{number}"), 1, 1, b"first"));
            client.say(&publish(level, &format!("slow/{number}"), 1, 2, b"second"));
            client.say(&packets::PINGREQ);
        }
        assert!(eventually(SOON, || guarded.counter("waiting") == u64::from(SLOW) - 16));
        for id in 2..50 {
            other.say(&publish(V3_1_1, "fine/other", 1, id, b"x"));
            other.hears(&acknowledgement(0x40, id));
            assert_eq!(witness.receive().0, "fine/other");
        }
        gate.open();
        for (client, number) in slow.iter_mut().zip(0..) {
            for id in [1, 2] {
                let puback = client.hear().unwrap();
                assert_eq!((puback[0], packets::id(&puback)), (0x40, id), "client {number}");
            }
            client.hears(&packets::PINGRESP);
        }
        let mut seen = vec![Vec::new(); SLOW.into()];
        for _ in 0..2 * SLOW {
            let (topic, payload) = witness.receive();
            seen[topic.strip_prefix("slow/").unwrap().parse::<usize>().unwrap()].push(payload);
        }
        assert!(seen.iter().all(|payloads| *payloads == [b"first".to_vec(), b"second".to_vec()]));
    }
}

#[test]
fn a_reload_asks_another_service_and_loses_no_connection() {
    for start in [Guarded::broker, Guarded::proxy] {
        let gate = Gate::default();
        let closed = gate.clone();
        let stuck = WebService::start(move |question| {
            if question["topic"] == "slow" {
                closed.wait();
            }
            rules(question)
        });
        let guarded = start(&format!("[web_service]\nurl = '{}'\n{PATIENT}", stuck.url()));
        let mut client = guarded.connected(V5, "c");
        client.say(&publish(V5, "fine", 1, 1, b"x"));
        assert_eq!(client.hear().unwrap()[0], 0x40);
        client.say(&publish(V5, "slow", 1, 2, b"x"));
        assert!(eventually(SOON, || stuck.count() == 3));
        // What cannot be meant changes nothing.
        guarded.reload("[web_service]\nurl = 'nowhere'\n");
        assert!(guarded.server.program.stderr.contain("has an http or https URL"));
        let before = guarded.counter("asked");
        let other = WebService::start(rules);
        let headers = guarded.directory.path().join("headers");
        std::fs::write(&headers, "# ours\n\nAuthorization: Bearer hidden\n").unwrap();
        let file = headers.display();
        guarded
            .reload(&format!("[web_service]\nurl = '{}'\nheaders_file = '{file}'\n{PATIENT}", other.url()));
        let puback = client.hear().unwrap();
        assert_eq!((puback[0], packets::id(&puback)), (0x40, 2), "the other one is asked instead");
        client.say(&publish(V5, "fine", 1, 3, b"x"));
        assert_eq!(packets::id(&client.hear().unwrap()), 3);
        let topics: Vec<_> = other.asked().iter().map(|asked| asked["topic"].clone()).collect();
        assert_eq!(topics, ["slow", "fine"], "what the first has answered is forgotten");
        assert!(guarded.counter("asked") > before, "it goes on counting");
        assert!(other.heads().iter().all(|head| head.to_ascii_lowercase().contains("bearer hidden")));
        assert!(!guarded.server.program.stderr.all().join("\n").contains("hidden"));
        gate.open();
    }
}

#[test]
fn a_service_with_tls_is_believed_by_the_authority_that_is_named() {
    let certificates = Certificates::new();
    let service = WebService::secure(&certificates, rules);
    let url = service.url().replace("//", "//mqway:s%40cret@");
    for (authority, code) in [(Some("ca.pem"), 0), (Some("other-ca.pem"), 0x88), (None, 0x88)] {
        let trusted = authority.map(|name| format!("cafile = '{}'", certificates.file(name).display()));
        let trusted = trusted.unwrap_or_default();
        let guarded = Guarded::broker(&format!("[web_service]\nurl = '{url}'\n{trusted}\n{PATIENT}"));
        assert_eq!(guarded.open(V5, "c", "good").hear().unwrap()[3], code, "{authority:?}");
        assert!(!guarded.server.program.stderr.all().join("\n").contains("cret"));
    }
    assert_eq!(service.count(), 1, "nothing is said to a stranger");
    // `mqway:s@cret`
    assert!(service.heads()[0].contains("Basic bXF3YXk6c0BjcmV0"), "{:?}", service.heads());
}

#[test]
fn what_a_service_lists_as_readable_is_all_that_is_delivered() {
    let answer = |question: &Value| match question["question"].as_str() {
        Some("connect") if question["client_id"] == "reader" => {
            says(json!({ "result": "allow", "subscribe": ["news/+", "deny/#"], "publish": [] }))
        }
        _ => rules(question),
    };
    both(answer, PATIENT, |guarded, service| {
        let mut writer = guarded.connected(V5, "writer");
        for level in LEVELS {
            let denied = if level == V5 { 0x87 } else { 0x80 };
            let mut reader = guarded.connected(level, "reader");
            for (filter, granted) in [("news/+", 1), ("news/#", denied), ("#", denied), ("deny/x", denied)] {
                reader.say(&subscribe(level, 1, filter, 1));
                assert_eq!(reader.hear().unwrap().last(), Some(&granted), "{filter}");
            }
            writer.say(&publish(V5, "news/today", 0, 0, b"x"));
            assert_eq!(reader.receive().0, "news/today");
            reader.say(&publish(level, "news/mine", 1, 2, b"x"));
            assert_eq!(reader.hear().unwrap()[0], 0x40);
        }
        let asked = service.asked();
        let of_reader = asked.iter().filter(|asked| asked["client_id"] == "reader");
        let names: Vec<_> = of_reader.filter(|asked| asked["question"] != "connect").collect();
        assert!(names.iter().all(|asked| asked["filter"] != "#" && asked["topic"].is_null()), "{names:#?}");
        assert!(asked.iter().any(|asked| asked["filter"] == "deny/x"), "what is listed may still be denied");
    });
}

#[test]
fn a_check_of_the_configuration_looks_at_web_services() {
    let directory = TempDir::with_prefix("mqway-services-").unwrap();
    let file = directory.path().join("mqway.toml");
    let checked = |text: &str| {
        std::fs::write(&file, text).unwrap();
        crate::support::mqway::mqway(&["config", "check", file.to_str().unwrap()], SOON * 3)
    };
    let listener = "[[listeners]]\nurl = 'tcp://:0'\n";
    let good = checked(&format!("{listener}[web_service]\nurl = 'http://127.0.0.1:1/'\n"));
    assert_eq!(good.code, Some(0), "who connects is asked who it is: {good:?}");
    for (text, told) in [
        ("[web_service]\nurl = 'http://127.0.0.1:1/'\nquestions = ['publish']\n", "say --allow-anonymous"),
        ("[web_service]\nurl = 'http://127.0.0.1:1/'\ntimeout = 9\n", "raise answer_timeout of [access]"),
        ("[web_service]\nurl = 'http://127.0.0.1:1/'\nwhen_down = 'maybe'\n", "unknown variant `maybe`"),
        (
            "[access]\nallow_anonymous = true\n[webhooks]\nurl = 'http://127.0.0.1:1/'\nevents = ['all']\n",
            "\"all\" is no event",
        ),
    ] {
        let bad = checked(&format!("{listener}{text}"));
        assert_eq!((bad.code, bad.stderr.lines().count()), (Some(2), 1), "{bad:?}");
        assert!(bad.stderr.contains(told), "{bad:?}");
    }
}
