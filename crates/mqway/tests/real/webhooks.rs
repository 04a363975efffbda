//! Events of the broker, and of the proxy before a mosquitto, told to a web service.

use crate::hooks::Raw;
use crate::support::mosquitto::Mosquitto;
use crate::support::mqway::{Proxy, Running};
use crate::support::packets::{self, Connect, V5, publish, subscribe};
use crate::support::web::{Reply, WebService};
use crate::support::{Kind, SOON, eventually, free_port};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tempfile::TempDir;

/// Long enough for what is tried again.
const PATIENCE: std::time::Duration = SOON.saturating_mul(3);

struct Told {
    server: Running,
    directory: TempDir,
    is_broker: bool,
    _upstream: Option<Mosquitto>,
}

impl Told {
    fn both(settings: &str, play: impl Fn(Told)) {
        play(Told::start(Proxy::broker(), settings, None));
        let mosquitto = Mosquitto::start();
        play(Told::start(Proxy::new().upstream(&mosquitto.url(Kind::Tcp)), settings, Some(mosquitto)));
    }

    fn start(server: Proxy, settings: &str, upstream: Option<Mosquitto>) -> Told {
        let directory = TempDir::with_prefix("mqway-webhooks-").unwrap();
        let file = directory.path().join("mqway.toml");
        std::fs::write(&file, settings).unwrap();
        let server = server.listen("tcp://127.0.0.1:0").argument("--config").argument(file).start();
        Told { server, directory, is_broker: upstream.is_none(), _upstream: upstream }
    }

    fn connected(&self, id: &str) -> Raw {
        Raw::connected(self.server.address(), V5, id)
    }

    fn counter(&self, name: &str) -> u64 {
        self.server.counters()["webhooks"][name].as_u64().unwrap()
    }
}

/// Publishes so many messages, the number of each its payload.
fn publish_some(client: &mut Raw, numbers: std::ops::Range<u32>) {
    for number in numbers {
        client.say(&publish(V5, "a/b", 1, 7, number.to_string().as_bytes()));
        assert_eq!(client.hear().unwrap()[0], 0x40);
    }
}

fn taken() -> Reply {
    Reply::Json(204, json!(null))
}

/// All events of all batches, in order.
fn events(batches: &[Value]) -> Vec<Value> {
    batches.iter().flat_map(|batch| batch["events"].as_array().unwrap().clone()).collect()
}

fn names_of(events: &[Value], client: &str) -> Vec<String> {
    let of_client = events.iter().filter(|event| event["client_id"] == client);
    of_client.map(|event| event["event"].as_str().unwrap().to_owned()).collect()
}

/// The payloads of what was published, as numbers.
fn published(events: &[Value]) -> Vec<u32> {
    let published = events.iter().filter(|event| event["event"] == "published");
    published.map(|event| event["payload"].as_str().unwrap().parse().unwrap()).collect()
}

#[test]
fn events_are_told_by_their_names_and_in_order() {
    let service = WebService::start(|_| taken());
    let all = "'connected', 'session_created', 'session_terminated', 'subscribed', 'unsubscribed', 'published', \
               'delivered', 'acknowledged', 'will_published', 'disconnected', 'stop'";
    let url = service.url();
    let settings =
        format!("[webhooks]\nurl = '{url}'\nlinger = '100ms'\nmax_payload = 4\nevents = [{all}]\n");
    Told::both(&settings, |mut told| {
        let before = service.count();
        let mut client = told.connected("c");
        client.say(&subscribe(V5, 1, "a/#", 1));
        client.hears(&[0x90, 4, 0, 1, 0, 1]);
        client.say(&publish(V5, "a/b", 0, 0, b"text"));
        assert_eq!(client.receive(), ("a/b".to_owned(), b"text".to_vec()));
        client.say(&[0xA2, 8, 0, 2, 0, 0, 3, b'a', b'/', b'#']);
        client.hears(&[0xB0, 4, 0, 2, 0, 0]);
        client.say(&packets::DISCONNECT);
        assert!(client.hear().is_none());
        let will =
            Connect { level: V5, client_id: "w", will: Some(("a/will", b"gone")), ..Connect::default() };
        let mut leaves = Raw::open(told.server.address(), &will.bytes(), V5);
        assert_eq!(leaves.hear().unwrap()[3], 0);
        drop(leaves);
        let told_of =
            |name: &str| names_of(&events(&service.asked()[before..]), "w").contains(&name.to_owned());
        assert!(eventually(PATIENCE, || told_of("disconnected")));
        let stays = told.connected("s");
        assert!(eventually(PATIENCE, || events(&service.asked()).last().unwrap()["client_id"] == "s"));
        assert_eq!(told.server.program.terminate().code(), Some(0));
        drop(stays);

        let heads = service.heads();
        assert!(
            heads.iter().all(|head| head.to_ascii_lowercase().contains("content-type: application/json"))
        );
        let events = events(&service.asked()[before..]);
        let expected: &[&str] = match told.is_broker {
            true => &[
                "connected",
                "session_created",
                "subscribed",
                "delivered",
                "published",
                "unsubscribed",
                "disconnected",
                "session_terminated",
            ],
            false => &[
                "connected",
                "session_created",
                "subscribed",
                "published",
                "delivered",
                "unsubscribed",
                "disconnected",
            ],
        };
        assert_eq!(names_of(&events, "c"), expected);
        let find = |client: &str, name: &str| {
            let found = events.iter().find(|event| event["client_id"] == client && event["event"] == name);
            found.unwrap_or_else(|| panic!("{name} of {client}: {events:#?}"))
        };
        let connected = find("c", "connected");
        assert_eq!((&connected["address"], &connected["transport"]), (&json!("127.0.0.1"), &json!("tcp")));
        assert_eq!((&connected["session_present"], &connected["version"]), (&json!(false), &json!("5.0")));
        let message = find("c", "published");
        assert_eq!((&message["topic"], &message["payload"]), (&json!("a/b"), &json!("text")));
        assert_eq!(find("c", "subscribed")["qos"], 1);
        assert_eq!(find("c", "disconnected")["by"], "client");
        assert_eq!(find("w", "disconnected")["by"], "network");
        let last = find("s", "disconnected");
        assert_eq!((&last["by"], &last["reason_code"]), (&json!("server"), &json!(0x8B)), "{last}");
        if told.is_broker {
            assert_eq!(find("w", "will_published")["topic"], "a/will");
        }
        assert_eq!(events.last().unwrap()["event"], "stop");
        let times: Vec<_> = events.iter().map(|event| event["time"].as_u64().unwrap()).collect();
        assert!(times.is_sorted_by(|a, b| *a <= b + 1_000), "{times:?}");
    });
}

#[test]
fn what_is_not_taken_comes_again_and_in_order() {
    let refusals = Arc::new(AtomicUsize::new(0));
    let count = refusals.clone();
    let service = WebService::start(move |_| match count.fetch_add(1, Ordering::Relaxed) % 6 {
        0 => Reply::Json(503, json!(null)),
        1 => Reply::Bytes(b"nonsense".to_vec()),
        2 => Reply::Json(429, json!(null)),
        3 => Reply::Endless(b"HTTP/1.1 200 OK\r\nX-Field: ", b"value"),
        _ => taken(),
    });
    let settings = format!(
        "[webhooks]\nurl = '{}'\nlinger = '10ms'\nbatch = 10\nlongest_pause = '20ms'\nmax_payload = 10\n\
         events = ['published']\n",
        service.url()
    );
    Told::both(&settings, |told| {
        let before = service.count();
        refusals.store(0, Ordering::Relaxed);
        publish_some(&mut told.connected("c"), 0..100);
        assert!(eventually(PATIENCE, || told.counter("sent") == 100));
        assert!(told.counter("retried") >= 4);
        // What was not taken the first time is left out: it came again.
        let mut seen = published(&events(&service.asked()[before..]));
        seen.dedup();
        let mut once = Vec::new();
        for number in seen {
            if once.last().is_none_or(|last| number > *last) {
                once.push(number);
            }
        }
        assert_eq!(once, (0..100).collect::<Vec<_>>());
        assert!(service.asked()[before..].iter().all(|batch| batch["dropped"] == 0));
        assert!(service.asked().iter().all(|batch| batch["events"].as_array().unwrap().len() <= 10));
    });
}

#[test]
fn a_service_that_is_down_costs_events_and_no_memory() {
    let down = Arc::new(AtomicBool::new(true));
    let batches = Arc::new(Mutex::new(Vec::new()));
    let (switch, log) = (down.clone(), batches.clone());
    let service = WebService::start(move |batch| {
        if switch.load(Ordering::Relaxed) {
            return Reply::Json(503, json!(null));
        }
        log.lock().unwrap().push(batch.clone());
        taken()
    });
    let settings = format!(
        "[webhooks]\nurl = '{}'\nlinger = 0\nbatch = 5\nmax_waiting = 20\nlongest_pause = '20ms'\nmax_payload = 10\n\
         events = ['published']\n",
        service.url()
    );
    Told::both(&settings, |told| {
        down.store(true, Ordering::Relaxed);
        let mut client = told.connected("c");
        publish_some(&mut client, 0..200);
        let dropped = told.counter("dropped_full");
        let waiting = told.counter("waiting");
        assert_eq!(dropped + waiting, 200);
        // A batch on its way, and those that wait.
        assert!((20..=25).contains(&waiting), "{waiting}");
        down.store(false, Ordering::Relaxed);
        assert!(eventually(PATIENCE, || told.counter("sent") == waiting));
        publish_some(&mut client, 200..201);
        assert!(eventually(PATIENCE, || told.counter("sent") == waiting + 1));
        let batches = std::mem::take(&mut *batches.lock().unwrap());
        let kept = published(&events(&batches));
        assert!(kept.is_sorted() && kept.last() == Some(&200), "{kept:?}");
        let told_lost: u64 = batches.iter().filter_map(|batch| batch["dropped"].as_u64()).sum();
        assert_eq!(told_lost, dropped, "the service is told, once");
        let said = told.server.program.stderr.all().join("\n");
        assert!(said.contains("too many events") && said.contains("takes events again"), "{said}");
    });
}

#[test]
fn a_service_that_hangs_holds_up_nobody_and_no_end() {
    let gate = Arc::new(AtomicBool::new(false));
    let open = gate.clone();
    let service = WebService::start(move |_| {
        eventually(PATIENCE * 2, || open.load(Ordering::Relaxed));
        taken()
    });
    let settings = format!(
        "[webhooks]\nurl = '{}'\nlinger = 0\ntimeout = 300\nevents = ['published', 'stop']\nmax_payload = 9\n\
         [limits]\ngrace = 1\n",
        service.url()
    );
    Told::both(&settings, |mut told| {
        let before = service.count();
        let mut client = told.connected("c");
        publish_some(&mut client, 0..1);
        assert!(eventually(PATIENCE, || service.count() > before));
        publish_some(&mut client, 1..200);
        assert_eq!((told.counter("sent"), told.counter("waiting")), (0, 200));
        assert_eq!(told.server.program.terminate().code(), Some(0), "it does not wait for ever");
    });
    gate.store(true, Ordering::Relaxed);
}

#[test]
fn a_reload_loses_no_event_and_no_connection() {
    let settings = |url: &str| {
        format!(
            "[webhooks]\nurl = '{url}'\nlinger = '10ms'\nbatch = 10\nlongest_pause = '20ms'\nmax_payload = 10\n\
             events = ['published']\n"
        )
    };
    let nobody = format!("http://127.0.0.1:{}/", free_port());
    Told::both(&settings(&nobody), |told| {
        let mut client = told.connected("c");
        publish_some(&mut client, 0..50);
        assert!(eventually(PATIENCE, || told.counter("retried") > 0));
        let file = told.directory.path().join("mqway.toml");
        // What cannot be meant changes nothing.
        std::fs::write(&file, "[webhooks]\nurl = 'http://h'\nevents = ['all']\n").unwrap();
        told.server.program.signal("HUP");
        assert!(told.server.program.stderr.contain("\"all\" is no event"));
        let service = WebService::start(|_| taken());
        std::fs::write(&file, settings(&service.url())).unwrap();
        told.server.program.signal("HUP");
        assert!(eventually(PATIENCE, || published(&events(&service.asked())).len() == 50));
        publish_some(&mut client, 50..60);
        assert!(eventually(PATIENCE, || told.counter("sent") == 60));
        assert_eq!(published(&events(&service.asked())), (0..60).collect::<Vec<_>>());
        // Without a section there are no events, and those from before are not lost.
        publish_some(&mut client, 60..61);
        std::fs::write(&file, "").unwrap();
        told.server.program.signal("HUP");
        assert!(eventually(PATIENCE, || published(&events(&service.asked())).last() == Some(&60)));
        assert!(eventually(PATIENCE, || told.server.counters().get("webhooks").is_none()));
        publish_some(&mut client, 61..62);
    });
}
