//! What comes of a web service's answers.

use std::sync::Mutex;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mqway_codec::{Connect, TopicFilter, TopicName, Will};
use mqway_hooks::{Hooks, Rehearsal};
use mqway_transport::facts::HttpFacts;
use serde_json::{Value, json};

use super::*;
use crate::fake_server::{FakeServer, Reply};
use crate::hook::Granted;
use crate::http::{ServiceSettings, WhenDown};
use crate::web::Reach;

/// Long enough for a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(30);

/// Answers each question as `answer` says, and notes it.
fn service(answer: impl Fn(&Value) -> Reply + Send + Sync + 'static) -> (FakeServer, Arc<Mutex<Vec<Value>>>) {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let log = asked.clone();
    let server = FakeServer::start(move |request| {
        let question: Value = serde_json::from_str(&request.body).unwrap();
        log.lock().unwrap().push(question.clone());
        answer(&question)
    });
    (server, asked)
}

fn says(value: Value) -> Reply {
    Reply::Json(200, value.to_string())
}

fn rehearsal(url: String, when_down: WhenDown) -> Rehearsal {
    let settings = ServiceSettings::new(url);
    let reach = Reach { timeout: PATIENCE, ..settings.reach.clone() };
    let service = Service::start(ServiceSettings { when_down, reach, ..settings }).unwrap();
    let sources = vec![TokenSource::Query("token".to_owned())];
    let hook = Arc::new(WebService::new(Arc::new(service)).tokens_from(sources));
    let mut hooks = Hooks::new();
    hooks.anonymous = false;
    hooks.add_authenticate(hook.clone());
    hooks.add_authorize(Arc::new(Granted));
    hooks.add_authorize(hook);
    Rehearsal::new(hooks)
}

fn connect<'a>(client_id: &'a str, password: &'a [u8]) -> Connect<'a> {
    let mut connect = Connect::new(Version::V5, client_id);
    (connect.user_name, connect.password) = (Some("ann"), Some(password));
    connect
}

#[test]
fn the_service_says_who_it_is_and_what_it_may() {
    let (server, asked) = service(|_| {
        says(json!({ "result": "allow", "user_name": "bob", "client_id": "d", "groups": ["g"],
            "subscribe": ["a/#"], "expires_at": 4_000_000_000_u64 }))
    });
    let mut rehearsal = rehearsal(server.url(), WhenDown::Deny);
    // The second time it is known.
    for _ in 0..2 {
        rehearsal.login(&connect("c", b"secret")).unwrap();
        let client = &rehearsal.client;
        assert_eq!((&*client.client_id, client.user_name.as_deref()), ("d", Some("bob")));
        assert_eq!(client.groups, [Arc::from("g")]);
        assert!(client.lifetime.unwrap() > Duration::from_secs(3_600));
    }
    let a = Message::new(TopicName::new("a").unwrap(), b"");
    let b = Message::new(TopicName::new("b").unwrap(), b"");
    rehearsal.deliver(&a).unwrap();
    rehearsal.deliver(&b).unwrap_err();
    let asked = asked.lock().unwrap();
    assert_eq!(asked.len(), 1);
    assert_eq!((&asked[0]["password"], &asked[0]["user_name"]), (&json!("secret"), &json!("ann")));
}

#[test]
fn refusals_name_the_service_and_tell_the_client_its_reason() {
    let (server, _) = service(|question| match question["password"].as_str() {
        Some("blocked") => says(json!({ "result": "deny", "reason": "your account is blocked" })),
        Some("wrong") => Reply::Json(401, String::new()),
        Some("unknown") => says(json!({ "result": "ignore" })),
        _ => Reply::Json(403, String::new()),
    });
    let url = server.url();
    let mut rehearsal = rehearsal(url.clone(), WhenDown::Deny);
    let name = format!("web service {}", url.trim_end_matches("/path"));
    for _ in 0..2 {
        let blocked = rehearsal.login(&connect("c", b"blocked")).unwrap_err();
        assert_eq!(blocked.reason, ReasonCode::NotAuthorized);
        assert_eq!(blocked.rule, format!("{name}: your account is blocked"));
        assert_eq!(blocked.say.as_deref(), Some("your account is blocked"));
    }
    let wrong = rehearsal.login(&connect("c", b"wrong")).unwrap_err();
    assert_eq!((wrong.reason, wrong.say), (ReasonCode::BadUserNameOrPassword, None));
    let other = rehearsal.login(&connect("c", b"other")).unwrap_err();
    assert_eq!((other.reason, other.say), (ReasonCode::NotAuthorized, None));
    let unknown = rehearsal.login(&connect("c", b"unknown")).unwrap_err();
    assert_eq!(unknown.rule, "no hook knows this client");
}

#[test]
fn messages_wills_and_subscriptions_are_asked_about() {
    let (server, asked) = service(|question| {
        let name = question["topic"].as_str().or(question["filter"].as_str()).unwrap_or_default();
        match name {
            name if name.contains("deny") => says(json!({ "result": "deny", "reason": "no" })),
            name if name.contains("low") => says(json!({ "result": "allow", "qos": 1 })),
            _ => says(json!({ "result": "allow" })),
        }
    });
    let mut rehearsal = rehearsal(server.url(), WhenDown::Deny);
    let mut with_will = connect("c", b"x");
    with_will.will = Some(Will::new("deny/will", b"x"));
    let denial = rehearsal.login(&with_will).unwrap_err();
    assert_eq!(denial.say.as_deref(), Some("no"));
    rehearsal.login(&connect("c", b"x")).unwrap();
    let message = |topic| Message::new(TopicName::new(topic).unwrap(), b"");
    // Later, and at once.
    for _ in 0..2 {
        rehearsal.publish(&message("fine")).unwrap();
        let denial = rehearsal.publish(&message("deny")).unwrap_err();
        assert_eq!(denial.reason, ReasonCode::NotAuthorized);
        for (filter, most) in [("low/#", QoS::AtLeastOnce), ("$share/g/fine", QoS::ExactlyOnce)] {
            let filter = TopicFilter::new(filter).unwrap();
            assert_eq!(rehearsal.subscribe(filter, QoS::ExactlyOnce).unwrap().1, most);
        }
        rehearsal.subscribe(TopicFilter::new("deny").unwrap(), QoS::AtMostOnce).unwrap_err();
    }
    let asked = asked.lock().unwrap();
    let questions: Vec<_> = asked.iter().map(|asked| asked["question"].as_str().unwrap()).collect();
    assert_eq!(
        questions,
        ["connect", "publish", "publish", "publish", "subscribe", "subscribe", "subscribe"]
    );
    assert_eq!((&asked[1]["will"], &asked[2]["will"]), (&json!(true), &json!(false)));
    assert_eq!(asked[5]["filter"], "$share/g/fine");
}

#[test]
fn what_an_upgrade_request_carries_is_sent_along() {
    let (server, asked) = service(|_| says(json!({ "result": "allow" })));
    let mut rehearsal = rehearsal(server.url(), WhenDown::Deny);
    let basic = format!("Basic {}", STANDARD.encode("eve:pass"));
    let headers = vec![("authorization".to_owned(), basic.into_bytes())];
    let query = Some("token=abc".to_owned());
    rehearsal.client.facts.http = Some(HttpFacts { headers, query, ..HttpFacts::default() });
    rehearsal.login(&Connect::new(Version::V3_1_1, "c")).unwrap();
    assert_eq!(rehearsal.client.user_name.as_deref(), Some("eve"));
    rehearsal.login(&connect("c", b"x")).unwrap();
    assert_eq!(rehearsal.client.user_name.as_deref(), Some("ann"));
    let asked = asked.lock().unwrap();
    assert_eq!(asked[0]["user_name"], "eve");
    assert_eq!(asked[0]["password"], "pass");
    assert_eq!(asked[0]["version"], "3.1.1");
    assert_eq!((&asked[1]["token"], &asked[1]["password"]), (&json!("abc"), &json!("x")));
}

#[test]
fn a_service_that_is_down_is_answered_for_as_configured() {
    for when_down in [WhenDown::Deny, WhenDown::Pass, WhenDown::Allow] {
        let (server, _) = service(|_| Reply::Nonsense);
        let mut rehearsal = rehearsal(server.url(), when_down);
        let message = Message::new(TopicName::new("a").unwrap(), b"");
        let filter = TopicFilter::new("a").unwrap();
        let login = rehearsal.login(&connect("c", b"x")).map(drop);
        let publish = rehearsal.publish(&message).map(drop);
        let subscribe = rehearsal.subscribe(filter, QoS::ExactlyOnce).map(|(_, qos)| qos);
        match when_down {
            WhenDown::Deny => {
                for denial in [login.unwrap_err(), publish.unwrap_err(), subscribe.unwrap_err()] {
                    assert_eq!(denial.reason, ReasonCode::ServerUnavailable);
                    assert!(denial.rule.starts_with("web service http://127.0.0.1:"), "{denial}");
                    assert_eq!(denial.say.as_deref(), Some(NO_ANSWER));
                }
            }
            WhenDown::Pass | WhenDown::Allow => {
                assert_eq!(login.is_ok(), when_down == WhenDown::Allow, "others decide who it is");
                publish.unwrap();
                assert_eq!(subscribe, Ok(QoS::ExactlyOnce));
            }
        }
    }
}
