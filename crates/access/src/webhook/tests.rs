//! Events to services that take them late, in part, or never.

use serde_json::{Value, json};

use super::*;
use crate::fake_server::{FakeServer, Reply, Request};

/// Long enough for a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server that notes what it takes, and answers as `reply` says to the number of the request, from 1.
fn server(reply: impl Fn(usize) -> Reply + Send + Sync + 'static) -> (FakeServer, Arc<Mutex<Vec<Value>>>) {
    let taken = Arc::new(Mutex::new(Vec::new()));
    let (log, count) = (taken.clone(), Mutex::new(0));
    let answer = move |request: &Request| {
        let mut count = count.lock().unwrap();
        *count += 1;
        let reply = reply(*count);
        if matches!(reply, Reply::Json(200..=299, _)) {
            log.lock().unwrap().push(serde_json::from_str(&request.body).unwrap());
        }
        reply
    };
    (FakeServer::start(answer), taken)
}

fn good() -> Reply {
    Reply::Json(204, String::new())
}

fn settings(server: &FakeServer) -> WebhookSettings {
    let settings = WebhookSettings::new(server.url());
    WebhookSettings { longest_pause: Duration::from_millis(20), ..settings }
}

fn until(what: &str, so: impl Fn() -> bool) {
    let begin = Instant::now();
    while !so() {
        assert!(begin.elapsed() < PATIENCE, "{what}");
        thread::sleep(Duration::from_millis(5));
    }
}

fn start(settings: WebhookSettings) -> Webhook {
    Webhook::start(Target::new(settings).unwrap()).unwrap()
}

/// The numbers of all events that were taken, in order.
fn numbers(taken: &Mutex<Vec<Value>>) -> Vec<u64> {
    let batches = taken.lock().unwrap();
    let events = batches.iter().flat_map(|batch| batch["events"].as_array().unwrap());
    events.map(|event| event["n"].as_u64().unwrap()).collect()
}

#[test]
fn events_go_in_batches_and_in_order() {
    let (server, taken) = server(|_| good());
    let webhook = start(WebhookSettings { batch: 10, linger: PATIENCE * 10, ..settings(&server) });
    for number in 0..25 {
        assert!(webhook.send(&json!({ "n": number })));
    }
    let counters = webhook.finish(Instant::now() + PATIENCE);
    assert_eq!(numbers(&taken), (0..25).collect::<Vec<_>>());
    assert_eq!(counters, WebhookCounters { sent: 25, ..WebhookCounters::default() });
    assert!(taken.lock().unwrap().len() >= 3);
}

#[test]
fn an_event_alone_does_not_wait_for_ever() {
    let (server, taken) = server(|_| good());
    let webhook = start(WebhookSettings { linger: Duration::from_millis(20), ..settings(&server) });
    webhook.send(&json!({ "n": 1 }));
    until("it is sent", || numbers(&taken) == [1]);
}

#[test]
fn what_fails_is_sent_again_until_it_is_taken() {
    let (server, taken) = server(|request| match request {
        1 => Reply::Close,
        2 => Reply::Json(503, String::new()),
        3 => Reply::Nonsense,
        4 => Reply::Json(429, String::new()),
        _ => good(),
    });
    let webhook = start(settings(&server));
    webhook.send(&json!({ "n": 1 }));
    let counters = webhook.finish(Instant::now() + PATIENCE);
    assert_eq!(numbers(&taken), [1]);
    assert_eq!((counters.sent, counters.retried), (1, 4));
}

#[test]
fn what_is_refused_is_lost_and_said_to_be() {
    let (server, taken) =
        server(|request| if request == 1 { Reply::Json(400, String::new()) } else { good() });
    let settings = WebhookSettings { batch: 1, ..settings(&server) };
    let webhook = start(settings);
    webhook.send(&json!({ "n": 1 }));
    until("the first is refused", || webhook.counters().dropped_refused == 1);
    webhook.send(&json!({ "n": 2 }));
    until("the second is taken", || webhook.counters().sent == 1);
    assert_eq!(taken.lock().unwrap()[0], json!({ "events": [{ "n": 2 }], "dropped": 1 }));
}

#[test]
fn a_service_that_is_down_costs_bounded_memory() {
    let (server, _) = server(|_| Reply::Silence);
    let settings =
        WebhookSettings { max_waiting: 100, max_waiting_bytes: 1_000, batch: 10, ..settings(&server) };
    let webhook = start(settings);
    let kept = (0..10_000).filter(|number| webhook.send(&json!({ "n": number }))).count();
    // What the thread has taken in hand meanwhile makes room once.
    assert!(kept <= 120, "{kept}");
    assert!(webhook.0.lock().waiting_bytes <= 1_000);
    let big = webhook.send(&json!({ "n": "x".repeat(2_000) }));
    assert!(!big);
    assert_eq!(webhook.counters().dropped_full, 10_001 - kept as u64);
}

#[test]
fn nobody_waits_for_a_batch_on_its_way() {
    let (server, _) = server(|_| Reply::Silence);
    let settings = WebhookSettings { linger: Duration::ZERO, ..settings(&server) };
    let reach = Reach { timeout: PATIENCE * 4, ..settings.reach.clone() };
    let webhook = Arc::new(start(WebhookSettings { reach, ..settings }));
    webhook.send(&json!({ "n": 1 }));
    until("it is on its way", || server.requests() == 1);
    let (done, is_done) = std::sync::mpsc::channel();
    let sends = webhook.clone();
    thread::spawn(move || {
        sends.send(&json!({ "n": 2 }));
        done.send(sends.counters()).unwrap();
    });
    let counters = is_done.recv_timeout(PATIENCE).expect("it is taken at once");
    assert_eq!(counters.waiting, 2);
}

#[test]
fn what_cannot_be_delivered_for_too_long_is_dropped() {
    let (server, _) = server(|_| Reply::Close);
    let settings =
        WebhookSettings { give_up: Duration::from_millis(50), linger: Duration::ZERO, ..settings(&server) };
    let webhook = start(settings);
    webhook.send(&json!({ "n": 1 }));
    until("it is given up", || webhook.counters().dropped_late == 1);
}

#[test]
fn another_target_gets_what_waits_in_order() {
    let (down, _) = server(|_| Reply::Close);
    let webhook = start(settings(&down));
    for number in 0..10 {
        webhook.send(&json!({ "n": number }));
    }
    until("it is tried", || webhook.counters().retried > 0);
    let (server, taken) = server(|_| good());
    webhook.aim(Target::new(settings(&server)).unwrap());
    webhook.send(&json!({ "n": 10 }));
    assert_eq!(webhook.finish(Instant::now() + PATIENCE).sent, 11);
    assert_eq!(numbers(&taken), (0..11).collect::<Vec<_>>());
    assert!(!webhook.send(&json!({})), "it has ended");
}

#[test]
fn what_is_left_is_sent_though_nobody_holds_it_any_more() {
    let (server, taken) = server(|_| good());
    let webhook = start(WebhookSettings { linger: PATIENCE * 10, ..settings(&server) });
    webhook.send(&json!({ "n": 1 }));
    drop(webhook);
    until("it is sent", || numbers(&taken) == [1]);
}
