//! Keys from servers that rotate them, and that fail in every way.

use std::sync::Mutex;
use std::sync::mpsc;

use serde_json::{Value, json};

use super::*;
use crate::fake_server::{FakeServer, Reply};
use crate::jwt::{Refusal, Rules, Verdict, Verifier};
use crate::token::Token;

/// Long enough for a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(30);

const NOW: Duration = Duration::from_secs(1_700_000_000);

fn made(algorithm: &str) -> Value {
    let all: Vec<Value> = serde_json::from_str(include_str!("../jwt/made/tokens.json")).unwrap();
    all.into_iter().find(|entry| entry["alg"] == algorithm).unwrap()
}

fn jwks(algorithms: &[&str]) -> String {
    let keys: Vec<_> = algorithms.iter().map(|algorithm| made(algorithm)["jwk"].clone()).collect();
    json!({ "keys": keys }).to_string()
}

fn token(algorithm: &str) -> Token {
    Token::new(made(algorithm)["token"].as_str().unwrap())
}

/// A server whose answers can be changed while it runs.
fn server(first: Reply) -> (FakeServer, Arc<Mutex<Reply>>) {
    let reply = Arc::new(Mutex::new(first));
    let current = reply.clone();
    (FakeServer::start(move |_| current.lock().unwrap().clone()), reply)
}

fn source(server: &FakeServer) -> JwksSource {
    JwksSource { least_interval: Duration::from_millis(20), ..JwksSource::new(server.url()) }
}

fn verifier(source: JwksSource) -> Arc<Verifier> {
    let rules = Rules { audiences: vec!["mqtt".to_owned()], ..Rules::default() };
    Arc::new(Verifier::new(rules, KeySet::default(), Some(Arc::new(Jwks::start(source).unwrap()))))
}

/// The verdict, however long it takes.
fn decide(verifier: &Arc<Verifier>, token: &Token) -> Verdict {
    let (sender, receiver) = mpsc::channel();
    let now = verifier.decide(token, NOW, move |verdict| sender.send(verdict).unwrap());
    now.unwrap_or_else(|| receiver.recv_timeout(PATIENCE).expect("called once"))
}

/// Repeats until it is so; a fetch that has just been turns callers away.
fn until(what: &str, mut so: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !so() {
        assert!(begin.elapsed() < PATIENCE, "{what}");
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn who_comes_before_the_first_fetch_waits_for_it() {
    let (server, _) = server(Reply::Json(200, jwks(&["RS256"])));
    let verifier = verifier(source(&server));
    assert!(decide(&verifier, &token("RS256")).is_ok());
}

#[test]
fn a_rotation_is_picked_up_when_a_token_names_the_new_key() {
    let (server, reply) = server(Reply::Json(200, jwks(&["RS256"])));
    let verifier = verifier(source(&server));
    assert!(decide(&verifier, &token("RS256")).is_ok());
    *reply.lock().unwrap() = Reply::Json(200, jwks(&["ES256"]));
    until("the new key is fetched", || decide(&verifier, &token("ES256")).is_ok());
    until("the old key is gone", || decide(&verifier, &token("RS256")) == Err(Refusal::UnknownKey));
}

#[test]
fn a_rotation_is_picked_up_by_time_alone() {
    let (server, reply) = server(Reply::Json(200, jwks(&["RS256"])));
    let verifier = verifier(JwksSource { refresh: Duration::from_millis(50), ..source(&server) });
    assert!(decide(&verifier, &token("RS256")).is_ok());
    *reply.lock().unwrap() = Reply::Json(200, jwks(&["ES256"]));
    until("the new key is there", || verifier.verify(&token("ES256"), NOW).is_ok());
}

#[test]
fn unknown_keys_cause_no_storm_of_requests() {
    let (server, _) = server(Reply::Json(200, jwks(&["RS256"])));
    let verifier = verifier(JwksSource { least_interval: Duration::from_secs(3_600), ..source(&server) });
    assert!(decide(&verifier, &token("RS256")).is_ok());
    for _ in 0..1_000 {
        assert_eq!(decide(&verifier, &token("ES256")), Err(Refusal::UnknownKey));
    }
    assert_eq!(server.requests(), 1);
    assert_eq!(verifier.jwks().unwrap().counters().turned_away, 1_000);
}

#[test]
fn an_operator_has_keys_fetched_at_once() {
    let (server, reply) = server(Reply::Json(200, jwks(&["RS256"])));
    let verifier = verifier(JwksSource { least_interval: Duration::from_secs(3_600), ..source(&server) });
    assert!(decide(&verifier, &token("RS256")).is_ok());
    *reply.lock().unwrap() = Reply::Json(200, jwks(&["ES256"]));
    verifier.jwks().unwrap().fetch_now();
    until("the new key is there", || verifier.verify(&token("ES256"), NOW).is_ok());
}

#[test]
fn keys_are_kept_while_the_server_fails_and_as_long_as_is_allowed() {
    for failure in [
        Reply::Json(500, jwks(&["ES256"])),
        Reply::Json(200, "<html>".to_owned()),
        Reply::Json(200, jwks(&[])),
        Reply::Endless,
        Reply::Nonsense,
        Reply::Close,
    ] {
        let (server, reply) = server(Reply::Json(200, jwks(&["RS256"])));
        let verifier = verifier(source(&server));
        assert!(decide(&verifier, &token("RS256")).is_ok());
        *reply.lock().unwrap() = failure.clone();
        until("a fetch has failed", || {
            let _ = decide(&verifier, &token("ES256"));
            verifier.jwks().unwrap().counters().failed > 0
        });
        assert!(verifier.verify(&token("RS256"), NOW).is_ok(), "{failure:?}");
    }
    let (server, reply) = server(Reply::Json(200, jwks(&["RS256"])));
    let keep = Duration::from_millis(500);
    let verifier = verifier(JwksSource { refresh: Duration::from_millis(50), keep, ..source(&server) });
    let first = decide(&verifier, &token("RS256"));
    *reply.lock().unwrap() = Reply::Close;
    assert!(first.is_ok());
    until("the keys are too old", || verifier.verify(&token("RS256"), NOW) == Err(Refusal::NoKeys));
    *reply.lock().unwrap() = Reply::Json(200, jwks(&["RS256"]));
    until("the server is back", || verifier.verify(&token("RS256"), NOW).is_ok());
}

#[test]
fn a_server_that_hangs_holds_up_nobody_who_asks() {
    let (server, _) = server(Reply::Silence);
    let mut source = source(&server);
    source.reach.timeout = Duration::from_millis(300);
    let verifier = verifier(source);
    assert_eq!(verifier.verify(&token("RS256"), NOW), Err(Refusal::NoKeys));
    assert_eq!(decide(&verifier, &token("RS256")), Err(Refusal::NoKeys));
}

#[test]
fn only_so_many_wait_and_each_is_called_at_the_end() {
    let (server, _) = server(Reply::Silence);
    let mut source = source(&server);
    source.reach.timeout = Duration::from_secs(1);
    let jwks = Jwks::start(source).unwrap();
    let (sender, receiver) = mpsc::channel();
    let wait = || {
        let sender = sender.clone();
        jwks.refetch(Box::new(move || sender.send(()).unwrap()))
    };
    // On a machine that is so slow that the fetch ends meanwhile, nobody is turned away.
    let taken = (0..MAX_WAITING + 10).filter(|_| wait().is_ok()).count();
    assert!(taken >= MAX_WAITING);
    drop(jwks);
    for _ in 0..taken {
        receiver.recv_timeout(PATIENCE).expect("called, also when all is over");
    }
}
