//! Replays the corpus of each fuzz target, which holds what fuzzing found worth keeping.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod checks;

use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;

fn corpus(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target)
}

#[test]
fn every_input_of_the_corpus_passes() {
    for (target, check) in checks::TARGETS {
        let mut count = 0;
        for entry in fs::read_dir(corpus(target)).unwrap() {
            check(&fs::read(entry.unwrap().path()).unwrap());
            count += 1;
        }
        assert!(count > 0, "{target} has no corpus");
    }
}

/// A token as it should be.
fn token(header: &str, claims: &str) -> Vec<u8> {
    let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let signed = format!("{}.{}", text(header.as_bytes()), text(claims.as_bytes()));
    let mac = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, checks::SECRET), signed.as_bytes());
    format!("{signed}.{}", text(mac.as_ref())).into_bytes()
}

#[test]
#[ignore = "writes into fuzz/corpus"]
fn seed_the_corpus() {
    let all = include_str!("../src/jwt/made/tokens.json");
    let made: Vec<serde_json::Value> = serde_json::from_str(all).unwrap();
    let jwks = serde_json::json!({ "keys": made.iter().map(|made| &made["jwk"]).collect::<Vec<_>>() });
    let mut tokens: Vec<_> =
        made.iter().map(|made| made["token"].as_str().unwrap().as_bytes().to_vec()).collect();
    let whole = r#"{"sub":"ann","in":{"cid":"c","sub":["a/#","+"],"0":7},"groups":"staff dev","pub":["x"],"exp":2e9,"nbf":1,"site":"s"}"#;
    tokens.push(token(r#"{"alg":"HS256","kid":"k"}"#, whole));
    tokens.push(token(r#"{"alg":"HS256","crit":["b64"],"b64":false}"#, "{}"));
    tokens.push(b"eyJhbGciOiJub25lIn0.e30.".to_vec());
    let bytes = |texts: &[&str]| texts.iter().map(|text| text.as_bytes().to_vec()).collect::<Vec<_>>();
    let seeds = [
        ("access_token", tokens),
        (
            "access_claims",
            bytes(&[
                whole,
                r#"{"sub":1,"in":{"cid":"\u0007"},"groups":[1],"pub":["a/#/b"],"aud":["x"]}"#,
                r#"{"sub":"ann","exp":1e400,"nbf":-1,"iss":null,"in":[{"cid":"c"}]}"#,
                "[[[[[[[[]]]]]]]]",
            ]),
        ),
        (
            "access_jwks",
            vec![
                jwks.to_string().into_bytes(),
                br#"{"keys":[{"kty":"oct","k":"AAAA"},{"kty":"RSA","n":"AQ","e":"AQAB"},{"kty":"EC","crv":"P-521"}]}"#.to_vec(),
                br#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"","use":"enc"},7,{"kty":"EC","crv":"P-256","x":"AA","y":"AAAA","key_ops":["verify"]}]}"#.to_vec(),
            ],
        ),
        (
            "access_carriers",
            bytes(&[
                "a=1&to%6ben=x%2Ey&token=\nauthorization: bEARER  abc\ncookie:x=1; session=\"a=b\"\npass",
                "token=%FF\ncookie: session=\nsec-websocket-protocol: mqtt, bearer.a.b.c\nAuthorization:Basic eDp5\n",
            ]),
        ),
        (
            "access_scram",
            bytes(&[
                "n,,n=ann,r=abc\0c=biws,r=abcBwcHBwcHBwcHBwcHBwcHBwcHBwcH,p=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
                "y,a=a=2Cb,n=a=2Cb,r=abc,x=y\0c=biws,r=abc,m=x,p=",
                "p=tls-unique,,n=ann,r=abc\0",
                "n,,n=eve,r=\u{7f}\0c=biws,r=,p=AAAA",
            ]),
        ),
        (
            "access_files",
            bytes(&[
                "# users\nann:$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA\nbob:$7$101$c2FsdA==$aGFzaA==\n",
                "ann:SCRAM-SHA-256$4096:c2FsdHNhbHQ=$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n",
                "topic read public/#\nuser ann\ntopic deny a/+\ntopic readwrite #\npattern write own/%u/%c\n",
                "default = 'allow'\n[groups]\nstaff = ['ann']\n[[rules]]\ndeny = 'all'\ntopics = ['%u/#', 'x/%{claim:site}/+']\ngroups = 'staff'\naddresses = ['10.0.0.0/8']\n[[rules]]\nallow = ['publish', 'read']\nclients = 'c*'\n",
            ]),
        ),
    ];
    for (target, inputs) in seeds {
        fs::create_dir_all(corpus(target)).unwrap();
        for (number, input) in inputs.iter().enumerate() {
            fs::write(corpus(target).join(format!("seed-{number}")), input).unwrap();
        }
    }
}
