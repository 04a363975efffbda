//! What must hold for every input. The fuzz targets call these with what they invent, the tests beside this directory
//! with the corpus: each takes any bytes, and panics at a fault of what is told apart here.

#![allow(dead_code, reason = "each of those uses its part")]
#![allow(clippy::unwrap_used, clippy::type_complexity, reason = "a test may panic, a table has rows")]

mod rewrite;

use std::sync::LazyLock;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use mqway_access::acl::{Acl, Grant, Request, Subject};
use mqway_access::identity::Identity;
use mqway_access::jwt::{Algorithm, ClaimNames, Key, KeySet, Origin, Refusal, Rules};
use mqway_access::password::PasswordFile;
use mqway_access::scram::{Decoy, Exchange, ScramUsers, Verifier};
use mqway_access::token::{Carriers, Token, TokenSource, token_of};
use mqway_codec::{TopicFilter, TopicName};
pub use rewrite::rewrite;
use ring::hmac;

/// The fuzz targets by name. Each has its corpus in `fuzz/corpus`.
pub const TARGETS: &[(&str, fn(&[u8]))] = &[
    ("access_token", token),
    ("access_claims", claims),
    ("access_jwks", jwks),
    ("access_carriers", carriers),
    ("access_scram", scram),
    ("access_files", files),
    ("access_rewrite", rewrite),
];

pub const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

/// The time of these tests, since 1970.
const NOW: Duration = Duration::from_secs(1_700_000_000);

/// The nonce of the server in a SCRAM exchange.
const NONCE: [u8; 18] = [7; 18];

fn keys() -> KeySet {
    KeySet::new([Key::from_secret(SECRET, &[]).unwrap().named("k")])
}

fn rules() -> Rules {
    let named = |name: &str| Some(name.to_owned());
    let claims = ClaimNames {
        user_name: named("sub"),
        client_id: named("/in/cid"),
        groups: named("groups"),
        publish: named("pub"),
        subscribe: named("/in/sub"),
        keep: vec!["site".to_owned(), "/in/0".to_owned()],
    };
    Rules { must_expire: false, claims, ..Rules::default() }
}

/// A token in the form in which it travels. What is said against it holds no part of it.
pub fn token(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else { return };
    match rules().verify(&Token::new(text), &keys(), NOW) {
        Ok(identity) => fits(&identity),
        Err(refusal) => {
            let told = refusal.to_string();
            assert!(!told.chars().any(char::is_control), "{told:?}");
            // Our own words have spaces, which base64url has not.
            let parts = text.split('.').filter(|part| part.len() > 16 && !part.contains(' '));
            assert!(parts.into_iter().all(|part| !told.contains(part)), "{told}");
        }
    }
}

/// Claims that are signed as they should be, whatever they are.
pub fn claims(input: &[u8]) {
    let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let signed = format!("{}.{}", text(br#"{"alg":"HS256","kid":"k"}"#), text(input));
    let mac = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET), signed.as_bytes());
    let token = Token::new(format!("{signed}.{}", text(mac.as_ref())));
    match rules().verify(&token, &keys(), NOW) {
        Ok(identity) => fits(&identity),
        Err(refusal) => assert!(!matches!(refusal, Refusal::BadSignature | Refusal::UnknownKey), "{refusal}"),
    }
}

/// Whoever a token says that it is can be logged, and be put into packets.
fn fits(identity: &Identity) {
    let texts = identity.user_name.iter().chain(&identity.client_id).chain(&identity.groups);
    for text in texts.chain(identity.claims.iter().map(|(_, value)| value)) {
        assert!(!text.is_empty() && text.len() <= 65_535 && !text.chars().any(char::is_control), "{text:?}");
    }
    for filters in [&identity.publish, &identity.subscribe].into_iter().flatten() {
        assert!(filters.len() <= 256 && filters.iter().all(|filter| TopicFilter::new(filter).is_ok()));
    }
    assert!(identity.groups.len() <= 256);
    assert!(identity.expires_at.is_none_or(|end| end > NOW));
}

/// A set of keys, from a file of ours and from a place that others can read.
pub fn jwks(input: &[u8]) {
    for algorithms in [&[][..], &[Algorithm::Ps256, Algorithm::Hs512, Algorithm::Es384]] {
        let [ours, public] =
            [Origin::File, Origin::Public].map(|origin| KeySet::from_jwks(input, algorithms, origin));
        for set in [&ours, &public] {
            assert!(set.as_ref().is_ok_and(|set| (1..=256).contains(&set.len())) || set.is_err());
        }
        if let (Ok(ours), Ok(public)) = (&ours, &public) {
            assert_eq!(ours.and(public).len(), ours.len(), "what is public is ours, too");
        }
        assert!(ours.is_ok() || public.is_err());
    }
}

/// What a client sends that may carry a token: the query, then a line for each header field, then the password.
pub fn carriers(input: &[u8]) {
    static SOURCES: LazyLock<Vec<TokenSource>> = LazyLock::new(|| {
        let texts =
            ["password", "username", "bearer", "cookie:session", "query:token", "subprotocol:bearer."];
        texts.iter().map(|text| text.parse().unwrap()).collect()
    });
    let mut lines = input.split(|&byte| byte == b'\n');
    let query = lines.next().and_then(|line| str::from_utf8(line).ok());
    let field = |line: &[u8]| {
        let colon = line.iter().position(|&byte| byte == b':')?;
        let name = str::from_utf8(&line[..colon]).ok()?;
        Some((name.to_owned(), line[colon + 1..].to_vec()))
    };
    let headers: Vec<_> = lines.by_ref().map_while(field).collect();
    let password = lines.next();
    let carriers = Carriers { query, headers: &headers, password, user_name: query };
    let each: Vec<_> =
        SOURCES.iter().map(|source| token_of(std::slice::from_ref(source), &carriers)).collect();
    assert!(each.iter().flatten().all(|token| !token.reveal().is_empty()));
    assert_eq!(token_of(&SOURCES, &carriers), each.into_iter().flatten().next(), "the first counts");
}

/// Both messages of a client, with a zero between. Whoever is let in knows the password of somebody who exists.
pub fn scram(input: &[u8]) {
    static USERS: LazyLock<ScramUsers> = LazyLock::new(|| {
        let line = format!("ann:{}", Verifier::derive("secret", 4_096, b"0123456789abcdef").unwrap());
        ScramUsers::parse(&line, Decoy([3; 32])).unwrap()
    });
    let mut messages = input.splitn(2, |&byte| byte == 0);
    let (first, last) = (messages.next().unwrap_or_default(), messages.next().unwrap_or_default());
    let Ok((exchange, challenge)) = Exchange::begin(first, &USERS, &NONCE) else { return };
    let challenge = String::from_utf8(challenge).unwrap();
    assert!(challenge.starts_with("r=") && challenge.ends_with(",i=4096"), "{challenge}");
    let Ok((again, same)) = Exchange::begin(first, &USERS, &NONCE) else { panic!("it was good before") };
    assert_eq!((again.user(), same.as_slice()), (exchange.user(), challenge.as_bytes()));
    if let Ok((user, proof)) = exchange.finish(last) {
        assert!(user == "ann" && proof.starts_with(b"v="), "{user}");
    }
}

/// Files of operators: rules in both forms, and users with passwords in three.
pub fn files(input: &[u8]) {
    let _ = PasswordFile::parse(input);
    let Ok(text) = str::from_utf8(input) else { return };
    let _ = ScramUsers::parse(text, Decoy([3; 32]));
    for rules in [Acl::parse("acl.toml", text), Acl::parse_mosquitto("aclfile", text)].into_iter().flatten() {
        for user in [None, Some("ann"), Some("a/b"), Some("")] {
            let groups = ["staff".to_owned()];
            let mut rights =
                rules.rights(&Subject { user, client_id: "c", groups: &groups, ..Subject::default() });
            for name in ["a", "ann/x", "$SYS/x", "a/b/c"] {
                let topic = TopicName::new(name).unwrap();
                let explained = rights.explain(Request::Publish(topic)).grant;
                assert_eq!(rights.may_publish(topic), explained != Grant::Refused);
                let explained = rights.explain(Request::Receive(topic)).grant;
                assert_eq!(rights.may_receive(topic), explained != Grant::Refused);
            }
            for filter in ["#", "+/x", "$share/g/a/#"] {
                let filter = TopicFilter::new(filter).unwrap();
                assert_eq!(rights.may_subscribe(filter), rights.explain(Request::Subscribe(filter)).grant);
            }
        }
    }
}
