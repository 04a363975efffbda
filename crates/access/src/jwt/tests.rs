//! Tokens made by others, by the examples of the RFCs, and by who means no good.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use proptest::prelude::*;
use ring::hmac;
use serde_json::{Value, json};

use super::*;
use crate::identity::WrongClientId;

const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const NOW: Duration = Duration::from_secs(1_700_000_000);

/// One of each algorithm, by PyJWT: see `made/make.py`.
fn made() -> Vec<Value> {
    serde_json::from_str(include_str!("made/tokens.json")).unwrap()
}

fn text<'a>(entry: &'a Value, name: &str) -> &'a str {
    entry[name].as_str().unwrap()
}

fn algorithm(entry: &Value) -> Algorithm {
    text(entry, "alg").parse().unwrap()
}

fn key_of(entry: &Value) -> Key {
    let (algorithm, key) = (algorithm(entry), text(entry, "key").as_bytes());
    if algorithm.hmac().is_some() {
        Key::from_secret(key, &[algorithm]).unwrap()
    } else {
        Key::from_pem(key, &[algorithm]).unwrap()
    }
}

fn rules() -> Rules {
    Rules { audiences: vec!["mqtt".to_owned()], ..Rules::default() }
}

fn verify(rules: &Rules, token: &str, keys: &KeySet) -> Result<Identity, Refusal> {
    rules.verify(&Token::new(token), keys, NOW)
}

fn encode(part: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(part)
}

/// A token of any two parts, signed by [`SECRET`].
fn sign(header: &str, claims: &str) -> String {
    let signed = format!("{}.{}", encode(header.as_bytes()), encode(claims.as_bytes()));
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET), signed.as_bytes());
    format!("{signed}.{}", encode(tag.as_ref()))
}

fn secret() -> KeySet {
    KeySet::new([Key::from_secret(SECRET, &[]).unwrap()])
}

/// What comes of claims that are well signed.
fn judged(rules: &Rules, claims: &Value) -> Result<Identity, Refusal> {
    verify(rules, &sign(r#"{"alg":"HS256"}"#, &claims.to_string()), &secret())
}

fn good() -> Value {
    json!({ "sub": "ann", "exp": 1_700_000_100 })
}

fn with(name: &str, value: impl Into<Value>) -> Value {
    let mut claims = good();
    claims[name] = value.into();
    claims
}

#[test]
fn tokens_of_each_algorithm_are_accepted_by_their_own_key_alone() {
    let entries = made();
    assert_eq!(entries.len(), 12);
    for entry in &entries {
        let token = text(entry, "token");
        let identity = verify(&rules(), token, &KeySet::new([key_of(entry)])).unwrap();
        assert_eq!(identity.user_name.as_deref(), Some("ann"));
        assert_eq!(identity.expires_at, Some(Duration::from_secs(4_000_000_010)));
        for other in entries.iter().filter(|other| *other != entry) {
            let refusal = verify(&rules(), token, &KeySet::new([key_of(other)])).unwrap_err();
            assert_eq!(refusal, Refusal::WrongAlgorithm(algorithm(entry)));
        }
    }
}

#[test]
fn a_set_of_all_keys_finds_the_one_that_a_token_names() {
    let entries = made();
    let jwks =
        json!({ "keys": entries.iter().map(|entry| entry["jwk"].clone()).collect::<Vec<_>>() }).to_string();
    let keys = KeySet::from_jwks(jwks.as_bytes(), &[], Origin::File).unwrap();
    assert_eq!(keys.len(), 12);
    for entry in &entries {
        assert!(verify(&rules(), text(entry, "token"), &keys).is_ok(), "{}", text(entry, "alg"));
    }
    let public = KeySet::from_jwks(jwks.as_bytes(), &[], Origin::Public).unwrap();
    assert_eq!(public.len(), 9, "a secret that everybody can read is none");
}

#[test]
fn one_bit_changed_anywhere_is_noticed() {
    for entry in made() {
        let (token, keys) = (text(&entry, "token"), KeySet::new([key_of(&entry)]));
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let mut bytes = URL_SAFE_NO_PAD.decode(signature).unwrap();
        for at in [0, bytes.len() / 2, bytes.len() - 1] {
            bytes[at] ^= 1;
            let forged = format!("{signed}.{}", encode(&bytes));
            assert_eq!(verify(&rules(), &forged, &keys), Err(Refusal::BadSignature));
            bytes[at] ^= 1;
        }
        for wrong in [&bytes[..0], &bytes[1..], &[bytes.as_slice(), &[0]].concat()] {
            let forged = format!("{signed}.{}", encode(wrong));
            assert_eq!(verify(&rules(), &forged, &keys), Err(Refusal::BadSignature));
        }
        let header = signed.split('.').next().unwrap();
        let forged =
            format!("{header}.{}.{signature}", encode(br#"{"sub":"root","exp":4000000000,"aud":"mqtt"}"#));
        assert_eq!(verify(&rules(), &forged, &keys), Err(Refusal::BadSignature));
    }
}

#[test]
fn an_rsa_key_is_no_secret() {
    // The classical forgery: an HMAC by what is public of an RSA key (RFC 8725 §2.1).
    let entries = made();
    let rsa = entries.iter().find(|entry| text(entry, "alg") == "RS256").unwrap();
    for secret in [text(rsa, "key").to_owned(), text(rsa, "key").trim().to_owned()] {
        let signed = format!("{}.{}", encode(br#"{"alg":"HS256"}"#), encode(good().to_string().as_bytes()));
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), signed.as_bytes());
        let forged = format!("{signed}.{}", encode(tag.as_ref()));
        let keys = KeySet::new([key_of(rsa)]);
        assert_eq!(verify(&rules(), &forged, &keys), Err(Refusal::WrongAlgorithm(Algorithm::Hs256)));
    }
    let error = Key::from_pem(text(rsa, "key").as_bytes(), &[Algorithm::Hs256]).unwrap_err();
    assert_eq!(error.to_string(), "an RSA key cannot be used with HS256");
}

#[test]
fn what_is_not_signed_is_refused_however_it_is_spelled() {
    for none in ["none", "None", "NONE", "nOnE"] {
        let header = encode(format!(r#"{{"alg":"{none}"}}"#).as_bytes());
        for signature in ["", "AAAA"] {
            let token = format!("{header}.{}.{signature}", encode(good().to_string().as_bytes()));
            assert_eq!(verify(&rules(), &token, &secret()), Err(Refusal::Unsigned));
        }
    }
}

#[test]
fn headers_that_ask_for_trouble_are_refused() {
    let cases = [
        (r#"{"alg":"HS1"}"#, Refusal::UnknownAlgorithm),
        (r#"{"alg":"hs256"}"#, Refusal::UnknownAlgorithm),
        (r#"{"alg":"ES512"}"#, Refusal::UnknownAlgorithm),
        (r#"{"alg":"HS256","crit":["exp"]}"#, Refusal::Critical),
        (r#"{"alg":"HS256","crit":null}"#, Refusal::Critical),
        (r#"{"alg":"HS256","b64":false}"#, Refusal::Critical),
        (r#"{"typ":"JWT"}"#, Refusal::Malformed("its header is not as it should be")),
        (r#"{"alg":"HS256","alg":"none"}"#, Refusal::Malformed("its header is not as it should be")),
        (r#"{"alg":"HS256","kid":7}"#, Refusal::Malformed("its header is not as it should be")),
        (r#"["HS256"]"#, Refusal::Malformed("its header is not as it should be")),
        ("", Refusal::Malformed("its header is not as it should be")),
    ];
    for (header, refusal) in cases {
        assert_eq!(verify(&rules(), &sign(header, &good().to_string()), &secret()), Err(refusal), "{header}");
    }
    // Keys that a token brings along, or says where to fetch, count for nothing (RFC 8725 §3.10).
    for header in [
        r#"{"alg":"HS256","jku":"http://127.0.0.1:1/"}"#,
        r#"{"alg":"HS256","jwk":{"kty":"oct","k":"YQ"}}"#,
        r#"{"alg":"HS256","x5u":"http://127.0.0.1:1/"}"#,
    ] {
        assert!(verify(&Rules::default(), &sign(header, &good().to_string()), &secret()).is_ok());
    }
}

#[test]
fn what_is_no_token_is_refused_without_showing_it() {
    let malformed = |text: &'static str| Refusal::Malformed(text);
    let cases = [
        ("", malformed("it has one part")),
        ("hello", malformed("it has one part")),
        ("a.b", malformed("it has two parts")),
        ("a.b.c.d.e", malformed("it has more than three parts; encrypted ones are not supported")),
        ("!.b.c", malformed("its header is not base64url")),
        ("eyJhbGciOiJIUzI1NiJ9=.b.c", malformed("its header is not base64url")),
        ("eyJhbGciOiJIUzI1NiJ9.b.!", malformed("its signature is not base64url")),
    ];
    for (token, refusal) in cases {
        assert_eq!(verify(&rules(), token, &secret()), Err(refusal), "{token}");
    }
    let long = "x".repeat(8 * 1024 + 1);
    assert_eq!(verify(&rules(), &long, &secret()), Err(Refusal::TooLong { most: 8 * 1024 }));
    let deep = format!("{}{}", "[".repeat(2_000), "]".repeat(2_000));
    let nested = sign(r#"{"alg":"HS256"}"#, &format!(r#"{{"a":{deep}}}"#));
    assert_eq!(verify(&rules(), &nested, &secret()), Err(malformed("its claims are no JSON object")));
    // What a header may hold besides is passed over, however deep, without following it down.
    let header = sign(&format!(r#"{{"alg":"HS256","a":{deep}}}"#), &good().to_string());
    assert!(verify(&Rules::default(), &header, &secret()).is_ok());
    for claims in ["[]", "7", "", "{}{}"] {
        let token = sign(r#"{"alg":"HS256"}"#, claims);
        assert_eq!(verify(&rules(), &token, &secret()), Err(malformed("its claims are no JSON object")));
    }
}

#[test]
fn a_key_is_named_or_the_only_one() {
    let other = b"another secret of thirty-two bytes, or more";
    let key = |id: &str| Key::from_secret(SECRET, &[]).unwrap().named(id);
    let named = KeySet::new([key("a"), Key::from_secret(other, &[]).unwrap().named("b")]);
    let claims = good().to_string();
    let token = |kid: &str| sign(&format!(r#"{{"alg":"HS256","kid":"{kid}"}}"#), &claims);
    let anonymous = sign(r#"{"alg":"HS256"}"#, &claims);
    assert!(verify(&Rules::default(), &token("a"), &named).is_ok());
    assert_eq!(verify(&Rules::default(), &token("b"), &named), Err(Refusal::BadSignature));
    assert_eq!(verify(&Rules::default(), &token("c"), &named), Err(Refusal::UnknownKey));
    assert_eq!(verify(&Rules::default(), &anonymous, &named), Err(Refusal::AmbiguousKey));
    assert_eq!(verify(&Rules::default(), &anonymous, &KeySet::default()), Err(Refusal::NoKeys));
    // The only key needs no name, and one without a name is for tokens with any.
    assert!(verify(&Rules::default(), &anonymous, &KeySet::new([key("a")])).is_ok());
    assert!(verify(&Rules::default(), &token("c"), &secret()).is_ok());
    // Keys of different kinds are told apart by what they are for.
    let entries = made();
    let mixed =
        secret().and(&KeySet::new(entries.iter().map(key_of).filter(|key| key.is_for(Algorithm::Rs256))));
    assert!(verify(&Rules::default(), &anonymous, &mixed).is_ok());
    let rsa = entries.iter().find(|entry| text(entry, "alg") == "RS256").unwrap();
    assert!(verify(&rules(), text(rsa, "token"), &mixed).is_ok());
}

#[test]
fn a_token_is_good_between_its_times() {
    let rules = Rules { leeway: Duration::from_secs(10), ..Rules::default() };
    let cases: [(&str, Value, Result<(), Refusal>); 10] = [
        ("exp", json!(1_700_000_001), Ok(())),
        ("exp", json!(1_700_000_000), Ok(())), // within the leeway
        ("exp", json!(1_699_999_990), Err(Refusal::Expired)),
        ("exp", json!(1_699_999_991.5), Ok(())),
        ("exp", json!(-1), Err(Refusal::Expired)),
        ("exp", json!(1e300), Ok(())),
        ("nbf", json!(1_700_000_010), Ok(())),
        ("nbf", json!(1_700_000_011), Err(Refusal::NotYetValid)),
        ("nbf", json!("99999999999"), Err(not_a_date("nbf"))),
        ("exp", json!("never"), Err(not_a_date("exp"))),
    ];
    for (name, value, expected) in cases {
        assert_eq!(judged(&rules, &with(name, value.clone())).map(drop), expected, "{name} {value}");
    }
    // What is there must be a date, also where it may be missing.
    let lenient = Rules { must_expire: false, ..rules.clone() };
    assert_eq!(judged(&rules, &json!({ "sub": "ann" })), Err(Refusal::NeverExpires));
    assert_eq!(judged(&lenient, &json!({ "sub": "ann" })).unwrap().expires_at, None);
    assert_eq!(judged(&lenient, &with("exp", Value::Null)), Err(not_a_date("exp")));
}

fn not_a_date(claim: &str) -> Refusal {
    Refusal::WrongClaim { claim: claim.to_owned(), expected: "a date, in seconds since 1970" }
}

#[test]
fn issuer_and_audience_must_be_ours() {
    let open = Rules::default();
    let strict =
        Rules { issuers: vec!["idp".to_owned()], audiences: vec!["mqtt".to_owned()], ..Rules::default() };
    let claims =
        |iss: Value, aud: Value| json!({ "sub": "ann", "exp": 1_700_000_100, "iss": iss, "aud": aud });
    assert!(judged(&strict, &claims(json!("idp"), json!("mqtt"))).is_ok());
    assert!(judged(&strict, &claims(json!("idp"), json!(["x", "mqtt"]))).is_ok());
    assert_eq!(judged(&strict, &good()), Err(Refusal::WrongIssuer));
    assert_eq!(judged(&strict, &claims(json!("idp2"), json!("mqtt"))), Err(Refusal::WrongIssuer));
    let list = judged(&strict, &claims(json!(["idp"]), json!("mqtt")));
    assert_eq!(list, Err(Refusal::WrongClaim { claim: "iss".to_owned(), expected: "text" }));
    for aud in [json!("mqtt2"), json!([]), json!(7), json!({ "mqtt": true }), json!(null)] {
        assert_eq!(judged(&strict, &claims(json!("idp"), aud)), Err(Refusal::WrongAudience));
    }
    assert_eq!(judged(&strict, &with("iss", "idp")), Err(Refusal::WrongAudience));
    // Whoever has no name isn't meant by any.
    assert_eq!(judged(&open, &with("aud", "mqtt")), Err(Refusal::WrongAudience));
    assert!(judged(&open, &with("iss", "anybody")).is_ok());
}

#[test]
fn claims_say_who_it_is() {
    let names = ClaimNames {
        user_name: Some("email".to_owned()),
        client_id: Some("device".to_owned()),
        groups: Some("/realm_access/roles".to_owned()),
        publish: Some("pub".to_owned()),
        subscribe: Some("https://example/sub".to_owned()),
        keep: vec!["tenant".to_owned(), "absent".to_owned()],
    };
    let rules = Rules { claims: names, ..Rules::default() };
    let claims = json!({
        "exp": 1_700_000_100, "email": "ann@example", "device": 7, "tenant": "t1",
        "realm_access": { "roles": ["a", "b"] }, "pub": "a b/c", "https://example/sub": ["x/#", "y/+"],
    });
    let identity = judged(&rules, &claims).unwrap();
    let expected = Identity {
        user_name: Some("ann@example".to_owned()),
        client_id: Some("7".to_owned()),
        groups: vec!["a".to_owned(), "b".to_owned()],
        publish: Some(vec!["a b/c".to_owned()]),
        subscribe: Some(vec!["x/#".to_owned(), "y/+".to_owned()]),
        claims: vec![("tenant".to_owned(), "t1".to_owned())],
        expires_at: Some(Duration::from_secs(1_700_000_110)),
    };
    assert_eq!(identity, expected);
    assert_eq!(identity.check_client_id("7"), Ok(()));
    assert_eq!(identity.check_client_id("8"), Err(WrongClientId));
    // Lists that are not there allow nothing; names that are not there end it.
    let bare =
        judged(&rules, &json!({ "exp": 1_700_000_100, "email": "ann@example", "device": "d" })).unwrap();
    assert_eq!((bare.groups, bare.publish, bare.subscribe), (vec![], Some(vec![]), Some(vec![])));
    assert_eq!(judged(&rules, &good()), Err(Refusal::MissingClaim("email".to_owned())));
}

#[test]
fn claims_of_the_wrong_shape_are_refused() {
    let names = ClaimNames {
        groups: Some("groups".to_owned()),
        publish: Some("pub".to_owned()),
        ..ClaimNames::default()
    };
    let rules = Rules { claims: names, ..Rules::default() };
    for (name, value) in [
        ("sub", json!("")),
        ("sub", json!(["ann"])),
        ("sub", json!("a\u{0}b")),
        ("sub", json!("a\nb")),
        ("sub", json!(1.5)),
        ("groups", json!({ "admin": true })),
        ("groups", json!(["a", 7])),
        ("groups", json!([""])),
        ("groups", json!(vec!["a"; 257])),
        ("pub", json!(["a/#/b"])),
        ("pub", json!("")),
        ("pub", json!(true)),
    ] {
        let refusal = judged(&rules, &with(name, value.clone())).unwrap_err();
        assert!(matches!(&refusal, Refusal::WrongClaim { claim, .. } if claim == name), "{value}: {refusal}");
    }
    let scope = judged(&rules, &with("groups", "a b  c")).unwrap();
    assert_eq!(scope.groups, ["a", "b", "c"]);
}

/// RFC 7515 appendix A.1 and A.2, RFC 7519 §3.1; RFC 8037 appendix A.4 signs no claims.
#[test]
fn the_examples_of_the_specifications_have_good_signatures() {
    let hs256 = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6\
                 Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    let jwks = br#"{"keys":[{"kty":"oct","k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"}]}"#;
    let keys = KeySet::from_jwks(jwks, &[], Origin::File).unwrap();
    let rules = Rules {
        claims: ClaimNames { user_name: Some("iss".to_owned()), ..ClaimNames::default() },
        ..Rules::default()
    };
    let then = Duration::from_secs(1_300_819_379);
    let identity = rules.verify(&Token::new(hs256), &keys, then).unwrap();
    assert_eq!(identity.user_name.as_deref(), Some("joe"));
    assert_eq!(verify(&rules, hs256, &keys), Err(Refusal::Expired));

    let ed25519 = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIb\
                   QR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
    let jwks =
        br#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
    let keys = KeySet::from_jwks(jwks, &[], Origin::Public).unwrap();
    let refusal = verify(&rules, ed25519, &keys).unwrap_err();
    assert_eq!(
        refusal,
        Refusal::Malformed("its claims are no JSON object"),
        "read only once the signature is right"
    );
}

#[test]
fn keys_that_are_too_weak_or_of_no_use_are_refused_in_words() {
    let error = Key::from_secret(b"secret", &[]).unwrap_err().to_string();
    assert!(error.starts_with("a secret of 6 bytes is too short, it takes 32"), "{error}");
    let error =
        Key::from_secret(&SECRET[..32], &[Algorithm::Hs256, Algorithm::Hs512]).unwrap_err().to_string();
    assert!(error.contains("it takes 64"), "{error}");
    assert!(Key::from_pem(b"nothing", &[]).unwrap_err().to_string().contains("no public key in it"));
    let pem = b"-----BEGIN PUBLIC KEY-----\nMAA=\n-----END PUBLIC KEY-----\n";
    assert_eq!(Key::from_pem(pem, &[]).unwrap_err().to_string(), "the public key is malformed");
    let jwks = |keys: Value| {
        KeySet::from_jwks(json!({ "keys": keys }).to_string().as_bytes(), &[], Origin::Public)
            .unwrap_err()
            .to_string()
    };
    let short = encode(&[0xFF; 128]);
    assert!(jwks(json!([{ "kty": "RSA", "n": short, "e": "AQAB" }])).contains("1024 bits"));
    assert!(jwks(json!([])).contains("no key for signatures"));
    assert!(
        jwks(json!([{ "kty": "RSA", "use": "enc", "n": short, "e": "AQAB" }]))
            .contains("no key for signatures")
    );
    assert!(jwks(json!([{ "kty": "oct", "k": encode(SECRET) }])).contains("everybody can read"));
    assert!(jwks(json!([{ "kty": "EC", "crv": "P-521", "x": "AA", "y": "AA" }])).contains("none of"));
    assert!(jwks(json!([7])).contains("no JSON Web Key"));
    for nonsense in [&b"<html>"[..], b"{}", b"[]", b"\xFF"] {
        let error = KeySet::from_jwks(nonsense, &[], Origin::Public).unwrap_err();
        assert_eq!(error.to_string(), "it is no JSON Web Key Set");
    }
}

#[test]
fn a_key_set_without_algorithms_takes_those_that_are_configured() {
    let entries = made();
    let rs512 = entries.iter().find(|entry| text(entry, "alg") == "RS512").unwrap();
    let mut jwk = rs512["jwk"].clone();
    jwk.as_object_mut().unwrap().remove("alg");
    let jwks = json!({ "keys": [jwk] }).to_string();
    let token = text(rs512, "token");
    let usual = KeySet::from_jwks(jwks.as_bytes(), &[], Origin::Public).unwrap();
    assert_eq!(verify(&rules(), token, &usual), Err(Refusal::WrongAlgorithm(Algorithm::Rs512)));
    let wanted = [Algorithm::Es256, Algorithm::Rs512];
    let configured = KeySet::from_jwks(jwks.as_bytes(), &wanted, Origin::Public).unwrap();
    assert!(verify(&rules(), token, &configured).is_ok());
}

proptest! {
    #[test]
    fn no_text_is_a_token(text in "[ -~]{0,200}") {
        prop_assert!(verify(&Rules::default(), &text, &secret()).is_err());
    }

    #[test]
    fn signed_nonsense_is_judged_without_harm(header in "[ -~]{0,60}", claims in "\\PC{0,200}") {
        let _ = verify(&Rules::default(), &sign(&header, &claims), &secret());
        let _ = verify(&Rules::default(), &sign(r#"{"alg":"HS256"}"#, &claims), &secret());
    }

    #[test]
    fn no_bytes_are_a_key_that_harms(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let pem = format!(
            "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
            base64::engine::general_purpose::STANDARD.encode(&bytes)
        );
        let _ = Key::from_pem(pem.as_bytes(), &[]);
        let _ = KeySet::from_jwks(&bytes, &[], Origin::Public);
    }
}
