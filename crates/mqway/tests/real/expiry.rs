//! Connections end with the tokens that they were let in by, unless clients of 5.0 show the next one in time.

use crate::support::mint::{Mint, claims, is_shown};
use crate::support::mosquitto::Mosquitto;
use crate::support::mqway::{Proxy, Running};
use crate::support::packets::{Connect, Level, V3_1_1, V5, binary, packet, string, variable};
use crate::support::raw::Raw;
use crate::support::{Kind, SOON, eventually};
use serde_json::json;
use std::fs;
use std::time::Duration;
use tempfile::TempDir;

/// For how long the first tokens are good: longer than it takes to show them.
const LIFE: i64 = 10;

const NOT_AUTHORIZED: u8 = 0x87;
const MAXIMUM_CONNECT_TIME: u8 = 0xA0;
const NOBODY_THERE: u8 = 0x10;

/// AUTH's reasons.
const SUCCESS: u8 = 0x00;
const RE_AUTHENTICATE: u8 = 0x19;

/// Property identifiers (5.0 §2.2.2.2).
const METHOD: u8 = 0x15;
const DATA: u8 = 0x16;

struct Scene {
    mint: Mint,
    server: Running,
    _directory: TempDir,
    _mosquitto: Mosquitto,
}

impl Scene {
    fn both() -> [Scene; 2] {
        [true, false].map(|is_broker| {
            let (mosquitto, mut mint) = (Mosquitto::start(), Mint::start());
            let directory = TempDir::with_prefix("mqway-expiry-").unwrap();
            let secret = directory.path().join("secret");
            fs::write(&secret, mint.key("k", "HS256").pem).unwrap();
            let settings = format!(
                "[log]\nlevel = 'trace'\n[jwt]\nsecret_file = '{}'\nmethod = 'JWT'\nleeway = 0\npublish_claim = 'pub'\n",
                secret.display()
            );
            let file = directory.path().join("mqway.toml");
            fs::write(&file, settings).unwrap();
            let proxy = || Proxy::new().upstream(&mosquitto.url(Kind::Tcp));
            let server = if is_broker { Proxy::broker() } else { proxy() };
            let server = server.listen("tcp://127.0.0.1:0").argument("--config").argument(file).start();
            Scene { mint, server, _directory: directory, _mosquitto: mosquitto }
        })
    }

    fn token(&mut self, user: &str, seconds: i64, publishes: &str) -> String {
        self.mint.token("k", "HS256", &claims(user, seconds, json!({ "pub": [publishes] })))
    }

    /// A client that shows its token as password.
    fn plain(&mut self, level: Level, client_id: &str, seconds: i64, will: Option<(&str, &[u8])>) -> Raw {
        let token = self.token("ann", seconds, "#");
        let user = Some(("ann", &*token));
        let connect = Connect { level, client_id, user, will, ..Connect::default() };
        let (code, raw) = Raw::connect(self.server.url(0), "", &connect);
        assert_eq!(code, 0);
        raw
    }

    /// A client that shows it by the enhanced method.
    fn enhanced(&mut self, client_id: &str, seconds: i64) -> Raw {
        let token = self.token("ann", seconds, "#");
        let properties = shown(&token);
        let connect = Connect { level: V5, client_id, properties: &properties, ..Connect::default() };
        let (code, raw) = Raw::connect(self.server.url(0), "", &connect);
        assert_eq!(code, 0);
        raw
    }
}

/// The properties by which a method's data travel.
fn shown(token: &str) -> Vec<u8> {
    [&[METHOD][..], &string("JWT"), &[DATA], &binary(token.as_bytes())].concat()
}

fn auth(token: &str) -> Vec<u8> {
    let properties = shown(token);
    packet(0xF0, &[&[RE_AUTHENTICATE][..], &variable(properties.len()), &properties].concat())
}

/// Waits for the next packet, which may take a token's life.
fn next(raw: &mut Raw) -> Option<Vec<u8>> {
    let Raw::Tcp(stream) = raw else { panic!("over TCP") };
    stream.set_read_timeout(Some(SOON + Duration::from_secs(LIFE.cast_unsigned()))).unwrap();
    raw.read()
}

/// The connection ends, in 5.0 with this reason.
#[track_caller]
fn ends(raw: &mut Raw, level: Level, reason: u8) {
    if level == V5 {
        let disconnect = next(raw).expect("a DISCONNECT");
        assert_eq!((disconnect[0], disconnect[2]), (0xE0, reason), "{disconnect:02x?}");
    }
    assert_eq!(next(raw), None);
}

#[test]
fn a_connection_ends_when_its_token_does_and_its_will_is_published() {
    for mut scene in Scene::both() {
        let mut witness = scene.plain(V5, "witness", 600, None);
        assert_eq!(witness.subscribe(V5, "gone/#"), 0);
        let mut old = scene.plain(V3_1_1, "old", LIFE, Some(("gone/old", b"old")));
        let mut new = scene.plain(V5, "new", LIFE, Some(("gone/new", b"new")));
        assert!(old.is_alive() && new.is_alive());
        ends(&mut old, V3_1_1, MAXIMUM_CONNECT_TIME);
        ends(&mut new, V5, MAXIMUM_CONNECT_TIME);
        // [MQTT-3.1.2-8]; 3.1.1: [MQTT-3.1.2-8]
        let mut wills: Vec<_> = (0..2).map(|_| next(&mut witness).expect("a will")).collect();
        wills.sort();
        assert!(wills[0].ends_with(b"new") && wills[1].ends_with(b"old"), "{wills:02x?}");
        assert!(witness.is_alive());
        assert_eq!(scene.server.counters()["ended_by_hooks"].as_u64().map(|ended| ended > 2), Some(false));
    }
}

#[test]
fn a_client_that_shows_the_next_token_in_time_stays() {
    for mut scene in Scene::both() {
        let mut left = scene.enhanced("left", LIFE);
        let mut stays = scene.enhanced("stays", LIFE);
        let longer = scene.token("ann", 600, "ann/#");
        stays.send(&auth(&longer));
        let answer = stays.read().expect("an AUTH");
        assert_eq!((answer[0], answer[2]), (0xF0, SUCCESS), "{answer:02x?}"); // [MQTT-4.12.1-1]
        // What the new token says counts from now on.
        assert_eq!((stays.publish(V5, "ann/x"), stays.publish(V5, "bob/x")), (NOBODY_THERE, NOT_AUTHORIZED));
        ends(&mut left, V5, MAXIMUM_CONNECT_TIME);
        assert!(stays.is_alive());
        let lines = scene.server.program.stderr.all();
        assert!(!is_shown(&longer, &lines), "{lines:#?}");
    }
}

#[test]
fn a_token_of_another_user_or_a_bad_one_ends_the_connection() {
    for mut scene in Scene::both() {
        let of_bob = scene.token("bob", 600, "#");
        let expired = scene.token("ann", -60, "#");
        for (token, why) in [
            (&*of_bob, "jwt: it has become another user"),
            (&expired, "jwt: the token has expired"),
            ("nonsense", "jwt: the token is malformed"),
        ] {
            let mut raw = scene.enhanced("c", 600);
            raw.send(&auth(token));
            let disconnect = raw.read().expect("a DISCONNECT");
            assert_eq!(disconnect[0], 0xE0, "{disconnect:02x?}"); // [MQTT-4.12.1-2]
            assert_eq!(disconnect[2], NOT_AUTHORIZED);
            assert_eq!(raw.read(), None);
            let told = || {
                let lines = scene.server.program.stderr.all();
                lines.iter().any(|line| line.contains("\"c\" (user \"ann\")") && line.contains(why))
            };
            assert!(eventually(SOON, told), "{why:?} is not told: {:#?}", scene.server.program.stderr.all());
        }
        let lines = scene.server.program.stderr.all();
        assert!(!is_shown(&of_bob, &lines) && !is_shown(&expired, &lines), "{lines:#?}");
        // Who has not begun by a method cannot go on by one. [MQTT-4.12.0-7]
        let mut plain = scene.plain(V5, "plain", 600, None);
        plain.send(&auth(&of_bob));
        // Through a proxy it is for the upstream to say so; this mosquitto goes without a word.
        if let Some(disconnect) = plain.read() {
            assert_eq!((disconnect[0], disconnect[2]), (0xE0, 0x82), "{disconnect:02x?}");
            assert_eq!(plain.read(), None);
        }
    }
}
