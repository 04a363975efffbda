//! Keys that are fetched by URL, through the binary: from a server that rotates them, is down, slow, or talks nonsense.

use crate::support::key_server::{Answer, KeyServer};
use crate::support::mint::{Mint, claims, is_shown};
use crate::support::mosquitto::Mosquitto;
use crate::support::mqway::{Proxy, Running};
use crate::support::packets::{Connect, V3_1_1, V5};
use crate::support::process::run;
use crate::support::raw::Raw;
use crate::support::{Kind, SOON, eventually};
use serde_json::json;
use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};
use tempfile::TempDir;

const BAD_USER_NAME_OR_PASSWORD: u8 = 0x86;
const SERVER_BUSY: u8 = 0x89;

/// How often keys are fetched here: as often as settings may say.
const REFRESH: Duration = Duration::from_secs(1);

/// A server that fetches its keys, and what they are for.
struct Scene {
    directory: TempDir,
    keys: KeyServer,
    server: Running,
    _mosquitto: Option<Mosquitto>,
}

impl Scene {
    fn broker(answer: Answer, further: &str) -> Scene {
        Scene::set(Proxy::broker(), None, answer, further)
    }

    fn proxy(answer: Answer, further: &str) -> Scene {
        let mosquitto = Mosquitto::start();
        let proxy = Proxy::new().upstream(&mosquitto.url(Kind::Tcp));
        Scene::set(proxy, Some(mosquitto), answer, further)
    }

    fn set(server: Proxy, mosquitto: Option<Mosquitto>, answer: Answer, further: &str) -> Scene {
        let directory = TempDir::with_prefix("mqway-keys-").unwrap();
        let keys = KeyServer::start(answer);
        let settings = format!(
            "[log]\nlevel = 'trace'\n[jwt]\njwks = '{}'\njwks_refresh = {}\n{further}",
            keys.url(),
            REFRESH.as_secs()
        );
        let file = directory.path().join("mqway.toml");
        fs::write(&file, settings).unwrap();
        let server = server.listen("tcp://127.0.0.1:0").argument("--config").argument(file).start();
        Scene { directory, keys, server, _mosquitto: mosquitto }
    }

    /// What CONNACK says to who shows this password.
    fn login(&self, user: &str, password: &str) -> u8 {
        let connect = Connect { level: V5, user: Some((user, password)), ..Connect::default() };
        Raw::connect(self.server.url(0), "", &connect).0
    }

    fn show(&self, token: &str) -> u8 {
        self.login("anybody", token)
    }

    fn comes_in(&self, token: &str) -> bool {
        eventually(SOON * 3, || self.show(token) == 0)
    }

    /// Waits until keys were asked for once more.
    fn asks_again(&self) {
        let before = self.keys.requests();
        assert!(eventually(SOON * 3, || self.keys.requests() > before));
    }

    /// Not even the server's own secrets.
    fn nothing_is_told(&self, tokens: &[&String]) {
        let lines = self.server.program.stderr.all();
        for token in tokens {
            assert!(!is_shown(token, &lines), "{lines:#?}");
        }
        assert!(!lines.iter().any(|line| line.contains("hidden-pass")), "{lines:#?}");
    }
}

#[test]
fn a_new_key_is_picked_up_and_one_that_was_removed_is_refused() {
    let mut mint = Mint::start();
    let (old, new) = (mint.key("old", "RS256").jwk, mint.key("new", "ES256").jwk);
    let of_old = mint.token("old", "RS256", &claims("ann", 600, json!({})));
    let of_new = mint.token("new", "ES256", &claims("ann", 600, json!({})));
    for set in [Scene::broker, Scene::proxy] {
        let scene = set(Answer::keys([&old]), "");
        // Whoever comes before the first fetch has ended waits for it.
        assert_eq!(scene.show(&of_old), 0);
        assert_eq!(scene.show(&of_new), BAD_USER_NAME_OR_PASSWORD);
        scene.keys.answer(Answer::keys([&old, &new]));
        assert!(scene.comes_in(&of_new));
        assert_eq!(scene.show(&of_old), 0);
        scene.keys.answer(Answer::keys([&new]));
        assert!(eventually(SOON * 3, || scene.show(&of_old) == BAD_USER_NAME_OR_PASSWORD));
        assert!(scene.server.program.stderr.contain("jwt: the token is signed by an unknown key"));
        assert_eq!(scene.show(&of_new), 0);
        scene.nothing_is_told(&[&of_old, &of_new]);
    }
}

#[test]
fn keys_that_are_known_count_whatever_has_become_of_their_server() {
    let mut mint = Mint::start();
    let key = mint.key("k", "EdDSA").jwk;
    let secret =
        json!({ "kty": "oct", "kid": "s", "k": "YSBzZWNyZXQgdGhhdCBldmVyeWJvZHkgY2FuIHJlYWQgaGVyZQ" });
    let token = mint.token("k", "EdDSA", &claims("ann", 600, json!({})));
    let of_nobody = mint.sign("k", "EdDSA", json!({ "kid": "nobody" }), &claims("ann", 600, json!({})));
    let scene = Scene::broker(Answer::keys([&key]), "");
    assert!(scene.comes_in(&token));
    let (begun, before) = (Instant::now(), scene.keys.requests());
    for answer in [
        Answer::Body(500, "{}".to_owned()),
        Answer::Body(200, "<html>".to_owned()),
        Answer::keys([]),
        Answer::keys([&secret]),
        Answer::Endless,
        Answer::Close,
    ] {
        scene.keys.answer(answer);
        scene.asks_again();
        assert_eq!(scene.show(&token), 0);
        // Nobody has it fetched more often than the settings say.
        for _ in 0..20 {
            assert_ne!(scene.show(&of_nobody), 0);
        }
    }
    scene.keys.answer(Answer::Silence);
    scene.asks_again();
    assert_eq!(scene.show(&token), 0);
    let asked = (scene.keys.requests() - before) as f64;
    assert!(asked <= begun.elapsed().as_secs_f64() / REFRESH.as_secs_f64() + 2.0, "{asked} times");
    assert!(scene.server.program.stderr.contain("no keys from http://127.0.0.1"));
    scene.nothing_is_told(&[&token, &of_nobody]);
}

#[test]
fn a_reload_while_the_server_is_down_locks_nobody_out() {
    let mut mint = Mint::start();
    let (key, next) = (mint.key("k", "ES384").jwk, mint.key("next", "ES384").jwk);
    let token = mint.token("k", "ES384", &claims("ann", 600, json!({})));
    let of_next = mint.token("next", "ES384", &claims("ann", 600, json!({})));
    for set in [Scene::broker, Scene::proxy] {
        let scene = set(Answer::keys([&key]), "leeway = 5\n");
        // From now on nobody but a reload has them fetched while this test runs.
        let file = scene.directory.path().join("mqway.toml");
        let settings = fs::read_to_string(&file).unwrap();
        fs::write(&file, settings.replace("jwks_refresh = 1\n", "jwks_refresh = 600\n")).unwrap();
        assert!(scene.comes_in(&token));
        let reload = || {
            let before = scene.server.program.stderr.all().len();
            scene.server.program.signal("HUP");
            let told = |lines: &[String]| {
                lines.iter().skip(before).any(|line| line.contains("reloaded certificates")).then_some(())
            };
            assert!(scene.server.program.stderr.wait(SOON, told).is_some());
        };
        reload();
        assert!(scene.comes_in(&token));
        scene.keys.answer(Answer::Close);
        let before = scene.keys.requests();
        reload();
        assert!(eventually(SOON * 3, || scene.keys.requests() > before));
        assert_eq!(scene.show(&token), 0);
        scene.keys.answer(Answer::keys([&next]));
        reload();
        assert!(scene.comes_in(&of_next));
        assert_eq!(scene.show(&token), BAD_USER_NAME_OR_PASSWORD);
    }
}

#[test]
fn a_server_that_never_answers_holds_up_nobody_but_who_needs_its_keys() {
    let mut mint = Mint::start();
    mint.key("k", "RS256");
    let token = mint.token("k", "RS256", &claims("ann", 600, json!({})));
    let passwords = TempDir::with_prefix("mqway-passwords-").unwrap();
    let file = passwords.path().join("passwords");
    let mut command = Command::new("mosquitto_passwd");
    command.args(["-c", "-b"]).arg(&file).args(["bob", "secret"]);
    assert_eq!(run(command, b"", SOON).code, Some(0));
    let access = format!("[access]\npassword_file = '{}'\nanswer_timeout = 3\n", file.display());
    for set in [Scene::broker, Scene::proxy] {
        let scene = set(Answer::Silence, &access);
        let mut waiting = Raw::open(scene.server.url(0), "").ok().unwrap();
        let connect = |level, client_id, user| Connect { level, client_id, user, ..Connect::default() };
        waiting.send(&connect(V5, "waiting", Some(("ann", &*token))).bytes());
        let mut before_5 = Raw::open(scene.server.url(0), "").ok().unwrap();
        before_5.send(&connect(V3_1_1, "before", Some(("ann", &*token))).bytes());
        assert_eq!(scene.login("bob", "secret"), 0);
        assert_eq!(waiting.read().expect("a CONNACK")[3], SERVER_BUSY);
        assert_eq!(before_5.read().expect("a CONNACK"), [0x20, 2, 0, 3]);
        scene.nothing_is_told(&[&token]);
    }
}
