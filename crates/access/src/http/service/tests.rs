//! Services that answer, and such that don't.

use std::net::Ipv4Addr;
use std::sync::mpsc;

use serde_json::{Value, json};

use super::*;
use crate::fake_server::{FakeServer, Reply};
use crate::http::{Allowed, Refusal, Who};
use crate::identity::Identity;

/// Long enough for a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(30);

fn who() -> Who<'static> {
    Who {
        client_id: "c",
        user_name: Some("ann"),
        address: Some(Ipv4Addr::new(192, 0, 2, 1).into()),
        transport: "wss",
        listener: "wss://:8084/mqtt",
    }
}

fn publish(topic: &str) -> Question<'_> {
    Question::Publish { who: who(), topic, qos: 1, retain: false, will: false }
}

fn connect(password: &[u8]) -> Question<'_> {
    Question::Connect { who: who(), password: Some(password), token: None, version: "5.0", certificate: None }
}

fn always(reply: Reply) -> FakeServer {
    FakeServer::start(move |_| reply.clone())
}

fn says(value: &Value) -> FakeServer {
    always(Reply::Json(200, value.to_string()))
}

fn start(server: &FakeServer) -> Service {
    let settings = ServiceSettings::new(server.url());
    Service::start(ServiceSettings {
        reach: Reach { timeout: PATIENCE, ..settings.reach.clone() },
        ..settings
    })
    .unwrap()
}

/// The answer, however long it takes.
fn ask(service: &Service, question: Question<'_>) -> Answer {
    let promise = || {
        let (sender, receiver) = mpsc::channel();
        let ticket: Ticket = Box::new(move |answer| sender.send(answer).unwrap());
        (ticket, receiver)
    };
    let later = |receiver: mpsc::Receiver<_>| receiver.recv_timeout(PATIENCE * 2);
    service.ask(question, promise).unwrap_or_else(|receiver| later(receiver).expect("an answer comes always"))
}

/// Sends the answer there if it comes later; whether it does.
fn asks_with(service: &Service, question: Question<'_>, to: &mpsc::Sender<Answer>) -> Result<Answer, ()> {
    let to = to.clone();
    service.ask(question, move || (Box::new(move |answer| drop(to.send(answer))), ()))
}

fn failed(when_down: WhenDown) -> Answer {
    when_down.answer(Trouble::Failed)
}

#[test]
fn questions_say_what_is_documented() {
    let asked = Arc::new(Mutex::new(Vec::<Value>::new()));
    let log = asked.clone();
    let server = FakeServer::start(move |request| {
        log.lock().unwrap().push(serde_json::from_str(&request.body).unwrap());
        Reply::Json(200, r#"{"result":"ignore"}"#.to_owned())
    });
    let service = start(&server);
    for question in [
        connect(b"secret"),
        connect(&[0xFF]),
        Question::Connect {
            who: Who::default(),
            password: None,
            token: Some("t"),
            version: "3.1.1",
            certificate: Some("ab"),
        },
        publish("a/b"),
        Question::Subscribe { who: who(), filter: "a/#", qos: 2 },
    ] {
        assert_eq!(ask(&service, question), Answer { verdict: Verdict::Ignore, by: By::Service });
    }
    let about = |mut value: Value| {
        value["client_id"] = "c".into();
        value["user_name"] = "ann".into();
        value["address"] = "192.0.2.1".into();
        value["transport"] = "wss".into();
        value["listener"] = "wss://:8084/mqtt".into();
        value
    };
    let password = |text: Value, base64: Value| {
        about(json!({ "question": "connect", "version": "5.0", "password": text, "password_base64": base64,
            "token": null, "certificate": null }))
    };
    let expected = [
        password(json!("secret"), json!(null)),
        password(json!(null), json!("/w==")),
        json!({ "question": "connect", "version": "3.1.1", "password": null, "password_base64": null,
            "token": "t", "certificate": "ab", "client_id": "", "user_name": null, "address": null, "transport": "",
            "listener": "" }),
        about(json!({ "question": "publish", "topic": "a/b", "qos": 1, "retain": false, "will": false })),
        about(json!({ "question": "subscribe", "filter": "a/#", "qos": 2 })),
    ];
    assert_eq!(*asked.lock().unwrap(), expected);
}

#[test]
fn answers_say_who_may() {
    let full = json!({ "result": "allow", "user_name": "bob", "client_id": "d", "groups": ["g"], "publish": ["a/#"],
        "subscribe": [], "expires_at": 4_000_000_000_u64, "qos": 1, "later": "additions are no error" });
    let identity = Identity {
        user_name: Some("bob".to_owned()),
        client_id: Some("d".to_owned()),
        groups: vec!["g".to_owned()],
        publish: Some(vec!["a/#".to_owned()]),
        subscribe: Some(Vec::new()),
        claims: Vec::new(),
        expires_at: Some(Duration::from_secs(4_000_000_000)),
    };
    let verdict = Verdict::Allow(Box::new(Allowed { identity, qos: Some(1) }));
    assert_eq!(ask(&start(&says(&full)), connect(b"x")).verdict, verdict);
    let bare = ask(&start(&says(&json!({ "result": "allow" }))), connect(b"x")).verdict;
    assert_eq!(bare, Verdict::Allow(Box::default()));
    let reason = json!({ "result": "deny", "reason": format!("no\n{}", "x".repeat(1_000)) });
    let Verdict::Deny(refusal) = ask(&start(&says(&reason)), connect(b"x")).verdict else { panic!("denied") };
    let reason = Some(format!("no{}", "x".repeat(254)));
    assert_eq!(refusal, Refusal { reason, credentials: false });
    for (status, body, reason) in [
        (401, "<html>", None),
        (403, "", None),
        (401, r#"{"result":"deny","reason":"it is blocked"}"#, Some("it is blocked".to_owned())),
        (403, r#"{"result":"allow","reason":"not so"}"#, None),
    ] {
        let answer = ask(&start(&always(Reply::Json(status, body.to_owned()))), connect(b"x"));
        let refusal = Refusal { reason, credentials: status == 401 };
        assert_eq!(answer, Answer { verdict: Verdict::Deny(refusal), by: By::Service });
    }
}

#[test]
fn without_an_answer_the_configured_one_is_given() {
    let nonsense = [
        Reply::Json(200, "<html>".to_owned()),
        Reply::Json(200, r#"{"result":"yes"}"#.to_owned()),
        Reply::Json(200, r#"{"result":"allow","groups":["a\u0000"]}"#.to_owned()),
        Reply::Json(200, r#"{"result":"allow","publish":["a/#/b"]}"#.to_owned()),
        Reply::Json(200, r#"{"result":"allow","qos":3}"#.to_owned()),
        Reply::Json(200, "[".repeat(50_000)),
        Reply::Json(500, r#"{"result":"allow"}"#.to_owned()),
        Reply::Redirect("http://127.0.0.1:1/".to_owned()),
        Reply::Endless,
        Reply::EndlessHead,
        Reply::Nonsense,
        Reply::Close,
    ];
    for reply in nonsense {
        for when_down in [WhenDown::Deny, WhenDown::Allow, WhenDown::Pass] {
            let server = always(reply.clone());
            let settings = ServiceSettings { when_down, ..ServiceSettings::new(server.url()) };
            let service = Service::start(settings).unwrap();
            assert_eq!(ask(&service, connect(b"x")), failed(when_down), "{reply:?}");
            assert_eq!(service.counters().failed, 1);
        }
    }
    assert_eq!(failed(WhenDown::Deny).verdict, Verdict::Deny(Refusal::default()));
    assert_eq!(failed(WhenDown::Allow).verdict, Verdict::Allow(Box::default()));
}

#[test]
fn answers_hold_as_long_as_the_service_says() {
    let server = says(&json!({ "result": "allow" }));
    let service = start(&server);
    assert_eq!(ask(&service, publish("a")).by, By::Service);
    for _ in 0..100 {
        assert_eq!(ask(&service, publish("a")).by, By::Cache);
    }
    assert_eq!(ask(&service, publish("b")).by, By::Service);
    assert_eq!(server.requests(), 2);
    let before = service.counters();
    assert_eq!((before.asked, before.answered, before.from_cache), (102, 2, 100));
    let settings = ServiceSettings::new(server.url());
    let service = Service::start_after(&service, settings).unwrap();
    assert_eq!(
        ask(&service, publish("a")).by,
        By::Service,
        "another one has forgotten, but goes on counting"
    );
    assert_eq!(service.counters(), ServiceCounters { asked: 103, answered: 3, ..before });
    for uncached in [json!({ "result": "allow", "cache": 0 }), json!({ "result": "allow", "expires_at": 1 })]
    {
        let server = says(&uncached);
        let service = start(&server);
        for _ in 0..3 {
            assert_eq!(ask(&service, connect(b"x")).by, By::Service);
        }
        assert_eq!(server.requests(), 3);
    }
}

#[test]
fn a_service_that_is_down_is_left_alone() {
    let server = always(Reply::Close);
    let service = start(&server);
    for number in 0..5 {
        assert_eq!(ask(&service, publish(&number.to_string())), failed(WhenDown::Deny));
    }
    let begin = Instant::now();
    let resting =
        (0..10_000).filter(|_| ask(&service, publish("x")).by == By::Fallback(Trouble::Resting)).count();
    // One in a second may try, however slow this machine is.
    let tries = begin.elapsed().as_secs() as usize + 1;
    assert!(resting + tries >= 10_000, "{resting}");
    // A connection that is closed at once is tried again by the client, once.
    assert!(server.requests() <= 2 * (5 + tries));
}

#[test]
fn odd_questions_of_one_client_do_not_have_the_service_left_alone_by_all() {
    let server = FakeServer::start(|request| match request.body.contains("odd") {
        true => Reply::Json(404, r#"{"result":"allow"}"#.to_owned()),
        false => Reply::Json(200, r#"{"result":"allow"}"#.to_owned()),
    });
    let service = start(&server);
    for number in 0..20 {
        assert_eq!(ask(&service, publish(&format!("odd/{number}"))), failed(WhenDown::Deny));
    }
    assert_eq!(ask(&service, publish("fine")).by, By::Service);
}

#[test]
fn a_service_that_hangs_fills_a_bounded_queue_and_nobody_waits_long() {
    let server = always(Reply::Silence);
    let settings = ServiceSettings::new(server.url());
    let service = Service::start(ServiceSettings {
        reach: Reach { timeout: Duration::from_millis(500), ..settings.reach.clone() },
        max_waiting: 50,
        when_down: WhenDown::Pass,
        ..settings
    })
    .unwrap();
    let (sender, receiver) = mpsc::channel();
    let mut now = 0;
    for number in 0..1_000 {
        let answer = asks_with(&service, publish(&number.to_string()), &sender);
        assert!(service.counters().waiting <= 50);
        now += usize::from(answer.is_ok());
    }
    assert!(now > 0, "some were turned away at once");
    for _ in now..1_000 {
        let answer = receiver.recv_timeout(PATIENCE).expect("each is answered");
        assert_eq!(answer.verdict, Verdict::Ignore);
    }
    let counters = service.counters();
    assert_eq!(counters.failed + counters.resting + counters.full + counters.late, 1_000, "{counters:?}");
    let huge = vec![b'x'; 20 * 1024 * 1024];
    assert_eq!(ask(&service, connect(&huge)).by, By::Fallback(Trouble::Full));
}

#[test]
fn who_waits_at_the_end_is_answered() {
    let server = always(Reply::Silence);
    let service = start(&server);
    let (sender, receiver) = mpsc::channel();
    let mut waiting = 0;
    for number in 0..20 {
        waiting += usize::from(asks_with(&service, publish(&number.to_string()), &sender).is_err());
    }
    drop(service);
    drop(server); // Lets go of what the threads are asking.
    for _ in 0..waiting {
        assert_eq!(
            receiver.recv_timeout(PATIENCE).expect("each is answered").verdict,
            Verdict::Deny(Refusal::default())
        );
    }
}

#[test]
fn a_ticket_that_panics_takes_no_thread_along() {
    let server = says(&json!({ "result": "allow" }));
    let settings = ServiceSettings { threads: 1, ..ServiceSettings::new(server.url()) };
    let service = Service::start(settings).unwrap();
    let panics = || -> (Ticket, ()) { (Box::new(|_| panic!("on purpose")), ()) };
    assert_eq!(service.ask(publish("a"), panics), Err(()));
    assert_eq!(ask(&service, publish("b")).by, By::Service);
}

#[test]
fn a_question_that_waited_too_long_for_a_thread_is_not_the_service_s_fault() {
    // The first is answered in time, if late; those behind it have next to no time left then.
    let server = FakeServer::start(|_| {
        thread::sleep(Duration::from_millis(800));
        Reply::Json(200, r#"{"result":"allow","cache":0}"#.to_owned())
    });
    let settings = ServiceSettings::new(server.url());
    let reach = Reach { timeout: Duration::from_millis(1_200), ..settings.reach.clone() };
    let service = Service::start(ServiceSettings { threads: 1, reach, ..settings }).unwrap();
    let (sender, receiver) = mpsc::channel();
    for number in 0..20 {
        asks_with(&service, publish(&number.to_string()), &sender).unwrap_err();
    }
    for _ in 0..20 {
        receiver.recv_timeout(PATIENCE).expect("each is answered");
    }
    let counters = service.counters();
    assert!(counters.late >= 18 && counters.resting == 0, "{counters:?}");
}
