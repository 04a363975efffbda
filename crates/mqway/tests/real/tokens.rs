//! JSON Web Tokens through the binary: made by PyJWT, shown in every place, refused for every reason; and nowhere in a log.

use crate::support::mint::{Mint, claims, is_shown, now};
use crate::support::mosquitto::Mosquitto;
use crate::support::mqway::{Proxy, Running};
use crate::support::packets::{Connect, Level, V3_1_1, V5};
use crate::support::raw::{CODED, Raw};
use crate::support::{Kind, SOON};
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;
use tempfile::TempDir;

const ALGORITHMS: [&str; 12] = [
    "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384",
    "EdDSA",
];

/// What PUBACK of 5.0 says of a message that nobody has subscribed to.
const NOBODY_THERE: u8 = 0x10;

const TCP: usize = 0;
const WEBSOCKET: usize = 1;

/// Settings and keys in a directory, and a broker and a proxy that go by them.
struct House {
    directory: TempDir,
    mosquitto: Mosquitto,
}

impl House {
    fn new() -> House {
        House { directory: TempDir::with_prefix("mqway-tokens-").unwrap(), mosquitto: Mosquitto::start() }
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.directory.path().join(name);
        fs::write(&path, text).unwrap();
        path
    }

    /// A broker, and a proxy before a mosquitto, which log all that there is to log.
    fn servers(&self, jwt: &str) -> [Running; 2] {
        let settings = format!("[log]\nlevel = 'trace'\n[jwt]\n{jwt}");
        let settings = self.write("mqway.toml", &settings);
        let proxy = Proxy::new().upstream(&self.mosquitto.url(Kind::Tcp));
        [Proxy::broker(), proxy].map(|server| {
            let server = server.listen("tcp://127.0.0.1:0").listen("ws://127.0.0.1:0/mqtt");
            server.argument("--config").argument(&settings).start()
        })
    }

    /// No part of these tokens is in the log of anybody.
    fn nothing_is_told(&self, servers: &[Running], tokens: &[String]) {
        for token in tokens {
            for program in servers.iter().map(|server| &server.program).chain([&self.mosquitto.program]) {
                let lines = program.stderr.all();
                assert!(!is_shown(token, &lines), "{token} stands in {lines:#?}");
            }
        }
    }
}

/// Where a token can be shown.
#[derive(Clone, Copy, Debug)]
enum Place {
    Password,
    UserName,
    Bearer,
    Cookie,
    Query,
    Subprotocol,
}

const PLACES: [Place; 6] =
    [Place::Password, Place::UserName, Place::Bearer, Place::Cookie, Place::Query, Place::Subprotocol];

const SOURCES: &str = "sources = ['password', 'username', 'bearer', 'cookie:session', 'query:token', \
                       'subprotocol:bearer.']\n";

/// Shows a token. The CONNACK's code, and the connection.
fn show(server: &Running, level: Level, client_id: &str, place: Place, token: &str) -> (u8, Raw) {
    let (mut url, mut further, mut user) = (server.url(WEBSOCKET).to_owned(), String::new(), None);
    match place {
        Place::Password => (url, user) = (server.url(TCP).to_owned(), Some(("anybody", token))),
        Place::UserName => (url, user) = (server.url(TCP).to_owned(), Some((token, ""))),
        Place::Bearer => further = format!("Authorization: Bearer {token}\r\n"),
        Place::Cookie => further = format!("Cookie: theme=dark; session={token}\r\n"),
        Place::Query => url = format!("{url}?a=b&token={token}"),
        Place::Subprotocol => further = format!("Sec-WebSocket-Protocol: mqtt, bearer.{token}\r\n"),
    }
    Raw::connect(&url, &further, &Connect { level, client_id, user, ..Connect::default() })
}

fn show_password(server: &Running, level: Level, client_id: &str, token: &str) -> u8 {
    show(server, level, client_id, Place::Password, token).0
}

#[test]
fn a_token_of_each_algorithm_lets_in_by_its_own_key_and_no_other() {
    let (house, mut mint) = (House::new(), Mint::start());
    let keys: Vec<_> = ALGORITHMS.map(|name| mint.key(name, name)).into_iter().collect();
    let jwks = json!({ "keys": keys.iter().map(|key| &key.jwk).collect::<Vec<_>>() });
    let jwks = house.write("keys.json", &jwks.to_string());
    let servers = house.servers(&format!("jwks = '{}'\n", jwks.display()));
    let mut tokens = Vec::new();
    let own = claims("ann", 600, json!({}));
    for algorithm in ALGORITHMS {
        tokens.push(mint.token(algorithm, algorithm, &own));
    }
    // Signed by another key of the same kind, but under this name.
    mint.key("stranger", "RS256");
    let forged = mint.sign("stranger", "RS256", json!({ "kid": "RS256" }), &own);
    // A key is for its own algorithm only.
    let other = mint.sign("RS256", "RS512", json!({ "kid": "RS256" }), &own);
    for server in &servers {
        for level in CODED {
            for (algorithm, token) in ALGORITHMS.iter().zip(&tokens) {
                assert_eq!(show_password(server, level, "c", token), 0, "{algorithm}");
            }
        }
        assert_eq!(show_password(server, V5, "forger", &forged), 0x86);
        assert!(server.program.stderr.contain("jwt: the token's signature is wrong"));
        assert_eq!(show_password(server, V5, "other", &other), 0x86);
        assert!(server.program.stderr.contain("jwt: the token is signed by RS512, which its key is not for"));
    }
    tokens.extend([forged, other]);
    house.nothing_is_told(&servers, &tokens);
}

#[test]
fn keys_may_stand_in_files_of_their_own() {
    let (house, mut mint) = (House::new(), Mint::start());
    let public = ["RS256", "ES256", "ES384", "EdDSA"];
    let files: Vec<_> = public
        .iter()
        .map(|name| house.write(&format!("{name}.pem"), &mint.key(name, name).pem).display().to_string())
        .collect();
    let secret = house.write("secret", &(mint.key("HS256", "HS256").pem + "\n"));
    let settings = format!("public_key_files = {files:?}\nsecret_file = '{}'\n", secret.display());
    let servers = house.servers(&settings);
    let mut tokens = Vec::new();
    for algorithm in public.into_iter().chain(["HS256"]) {
        tokens.push(mint.sign(algorithm, algorithm, json!({}), &claims("ann", 600, json!({}))));
        for server in &servers {
            assert_eq!(show_password(server, V5, "c", tokens.last().unwrap()), 0, "{algorithm}");
        }
    }
    house.nothing_is_told(&servers, &tokens);
}

#[test]
fn a_token_is_found_in_each_place() {
    let (house, mut mint) = (House::new(), Mint::start());
    let secret = house.write("secret", &mint.key("k", "HS256").pem);
    let settings = format!("secret_file = '{}'\n{SOURCES}publish_claim = 'pub'\n", secret.display());
    let servers = house.servers(&settings);
    let good = mint.token("k", "HS256", &claims("ann", 600, json!({ "pub": ["ann/#"] })));
    let expired = mint.token("k", "HS256", &claims("ann", -600, json!({})));
    for server in &servers {
        for level in CODED {
            for place in PLACES {
                let (code, mut raw) = show(server, level, "c", place, &good);
                assert_eq!(code, 0, "{place:?}");
                if level == V5 {
                    assert_eq!((raw.publish(V5, "ann/x"), raw.publish(V5, "bob/x")), (NOBODY_THERE, 0x87));
                }
                let refused = if level == V5 { 0x86 } else { 5 };
                // Places of CONNECT come first, so that none is refused before that.
                assert_eq!(show(server, level, "late", place, &expired).0, refused, "{place:?}");
            }
        }
        assert!(server.program.stderr.contain("\"late\""));
    }
    // Whoever has shown it in the place of the user name is known to the upstream by its own.
    let known = "as c (p5, c1, k60, u'ann')";
    assert!(house.mosquitto.program.stderr.contain(known), "{:#?}", house.mosquitto.program.stderr.all());
    house.nothing_is_told(&servers, &[good, expired]);
}

/// A token that is to be refused, and why.
struct Bad {
    token: String,
    codes: [u8; 2],
    why: &'static str,
}

/// Every way of being no good.
fn bad_ones(mint: &mut Mint, rsa_pem: &str) -> Vec<Bad> {
    let good = |others: Value| {
        let own = json!({ "aud": "mqtt", "iss": "https://id.example", "cid": "c" });
        claims("ann", 600, own).with(others)
    };
    let hs = |mint: &mut Mint, claims: &Value| mint.token("k", "HS256", claims);
    let bad = |token: String, why: &'static str| Bad { token, codes: [5, 0x86], why };
    let whole = hs(mint, &good(json!({})));
    let (body, _) = whole.rsplit_once('.').unwrap();
    vec![
        bad(format!("{body}.{}", "A".repeat(43)), "the token's signature is wrong"),
        bad(format!("{body}."), "the token's signature is wrong"),
        bad(hs(mint, &good(json!({ "exp": now() - 60 }))), "the token has expired"),
        bad(hs(mint, &good(json!({ "nbf": now() + 600 }))), "the token is not valid yet"),
        bad(hs(mint, &good(json!({ "exp": null }))), "the token's claim \"exp\" is not a date"),
        bad(
            hs(mint, &json!({ "sub": "ann", "aud": "mqtt", "iss": "https://id.example", "cid": "c" })),
            "the token never expires",
        ),
        bad(mint.forge(json!({ "alg": "none" }), &good(json!({})), None), "the token is not signed"),
        bad(
            mint.forge(json!({ "alg": "HS256", "kid": "rsa" }), &good(json!({})), Some(rsa_pem)),
            "the token is signed by HS256, which its key is not for",
        ),
        bad(
            mint.sign("k", "HS256", json!({ "kid": "unknown" }), &good(json!({}))),
            "signed by an unknown key",
        ),
        bad(hs(mint, &good(json!({ "aud": "billing" }))), "the token is not meant for this server"),
        bad(hs(mint, &good(json!({ "iss": "https://evil.example" }))), "not of an issuer that is trusted"),
        bad(hs(mint, &good(json!({ "sub": null }))), "the token has no claim \"sub\""),
        Bad {
            token: hs(mint, &good(json!({ "cid": "another" }))),
            codes: [2, 0x85],
            why: "the client identifier is not the one that it may use",
        },
        bad("no.token.at-all".to_owned(), "the token is malformed"),
    ]
}

trait With {
    fn with(self, others: Value) -> Self;
}

impl With for Value {
    fn with(mut self, others: Value) -> Value {
        self.as_object_mut().unwrap().extend(others.as_object().cloned().unwrap_or_default());
        self
    }
}

#[test]
fn a_token_that_is_no_good_is_refused_with_a_code_and_explained() {
    let (house, mut mint) = (House::new(), Mint::start());
    let (secret, rsa) = (mint.key("k", "HS256"), mint.key("rsa", "RS256"));
    let jwks = house.write("keys.json", &json!({ "keys": [secret.jwk, rsa.jwk] }).to_string());
    let settings = format!(
        "jwks = '{}'\naudiences = ['mqtt']\nissuers = ['https://id.example']\nclient_id_claim = 'cid'\n",
        jwks.display()
    );
    let servers = house.servers(&settings);
    let bad = bad_ones(&mut mint, &rsa.pem);
    let whole =
        json!({ "aud": ["other", "mqtt"], "iss": "https://id.example", "cid": "c", "nbf": now() - 60 });
    let good = mint.token("k", "HS256", &claims("ann", 600, whole));
    for server in &servers {
        for bad in &bad {
            assert_eq!(show_password(server, V5, "c", &bad.token), bad.codes[1], "{}", bad.why);
            let told = |lines: &[String]| {
                lines.iter().any(|line| line.contains("\"c\" (") && line.contains(bad.why)).then_some(())
            };
            assert!(server.program.stderr.wait(SOON, told).is_some(), "{:?} is not told", bad.why);
        }
        for bad in &bad {
            assert_eq!(show_password(server, V3_1_1, "c", &bad.token), bad.codes[0], "{}", bad.why);
        }
        assert_eq!(show_password(server, V5, "c", &good), 0);
        let counters = server.counters();
        assert_eq!(counters["connects_denied"], 2 * bad.len(), "{counters}");
        assert_eq!(counters["refusals"]["Client Identifier not valid"], 2, "{counters}");
    }
    let tokens: Vec<_> = bad.into_iter().map(|bad| bad.token).chain([good]).collect();
    house.nothing_is_told(&servers, &tokens);
}

#[test]
fn an_upgrade_with_a_bad_token_or_none_is_refused_in_http_unless_it_is_not_to_be() {
    let (house, mut mint) = (House::new(), Mint::start());
    let secret = house.write("secret", &mint.key("k", "HS256").pem);
    let good = mint.token("k", "HS256", &claims("ann", 600, json!({})));
    let expired = mint.token("k", "HS256", &claims("ann", -600, json!({})));
    let keys = format!("secret_file = '{}'\n", secret.display());
    let only_upgrades = format!("{keys}sources = ['cookie:session', 'query:token', 'bearer']\n");
    let open = |server: &Running, further: &str| Raw::open(server.url(WEBSOCKET), further);
    let servers = house.servers(&only_upgrades);
    for server in &servers {
        assert!(open(server, &format!("Cookie: session={good}\r\n")).is_ok());
        for further in [String::new(), format!("Cookie: session={expired}\r\n")] {
            let refused = open(server, &further).err().expect("an answer in HTTP");
            assert_eq!(refused.status, 401);
            assert!(refused.header("WWW-Authenticate").is_some(), "{refused:?}");
        }
        assert!(server.program.stderr.contain("jwt: there is no token"));
        assert!(server.program.stderr.contain("jwt: the token has expired"));
        assert_eq!(server.counters()["accepts_denied"], 2);
        // A page of another origin, whose cookie the browser sends along.
        let page = format!("Cookie: session={good}\r\nOrigin: https://evil.example\r\n");
        assert_eq!(open(server, &page).err().map(|refused| refused.status), Some(403));
    }
    house.nothing_is_told(&servers, &[good.clone(), expired.clone()]);
    drop(servers);
    for server in &house.servers(&format!("{only_upgrades}refuse_upgrade = false\n")) {
        for further in [String::new(), format!("Cookie: session={expired}\r\n")] {
            let (code, _) = Raw::connect(
                server.url(WEBSOCKET),
                &further,
                &Connect { level: V5, client_id: "page", ..Connect::default() },
            );
            assert_eq!(code, if further.is_empty() { 0x87 } else { 0x86 });
        }
    }
}
