//! A page in a headless Chromium that is let in by a cookie: from its own origin, and from no other.

use crate::support::Kind;
use crate::support::SOON;
use crate::support::actor::Actor;
use crate::support::address;
use crate::support::certificates::Certificates;
use crate::support::mint::{Mint, claims, is_shown};
use crate::support::mosquitto::Mosquitto;
use crate::support::mqway::{Proxy, Running};
use serde_json::{Value, json};
use std::fs;
use tempfile::TempDir;

/// The listeners, in their order: of the page's own origin, of another, and of none in particular.
const OWN: usize = 0;
const OTHER: usize = 1;
const SAME: usize = 2;

/// A server whose clients have a token in a cookie. Its listeners are those above.
fn start(server: Proxy, directory: &TempDir, origin: &str) -> Running {
    let settings = format!(
        "[[listeners]]\nurl = 'ws://127.0.0.1:0/mqtt'\norigins = ['{origin}']\n\
         [[listeners]]\nurl = 'ws://127.0.0.1:0/mqtt'\norigins = ['https://app.example.com']\n\
         [[listeners]]\nurl = 'ws://127.0.0.1:0/mqtt'\n\
         [jwt]\nsecret_file = '{}'\nsources = ['cookie:session']\n",
        directory.path().join("secret").display(),
    );
    let file = directory.path().join("mqway.toml");
    fs::write(&file, settings).unwrap();
    server.argument("--config").argument(file).start_with(3)
}

#[test]
fn a_page_with_a_cookie_comes_in_from_its_own_origin_only() {
    let (mut page, mut mint) = (Actor::page(), Mint::start());
    let directory = TempDir::with_prefix("mqway-page-").unwrap();
    fs::write(directory.path().join("secret"), mint.key("k", "HS256").pem).unwrap();
    let token = mint.token("k", "HS256", &claims("ann", 600, json!({})));
    let mosquitto = Mosquitto::start();
    let proxy = Proxy::new().upstream(&mosquitto.url(Kind::Tcp));
    for (name, server) in [("broker", Proxy::broker()), ("proxy", proxy)] {
        let server = start(server, &directory, page.origin());
        page.put_behind(address(server.url(SAME)));
        let own = format!("{}/mqtt", page.origin().replace("http:", "ws:"));
        set_cookie(&mut page, &format!("session={token}; Path=/; SameSite=Lax"));
        for (version, listener) in [("3.1.1", server.url(OWN)), ("5.0", server.url(OWN)), ("5.0", &own)] {
            let client = format!("{name} {version} {listener}");
            page.connect(&client, listener, version, true, Value::Null);
            page.subscribe(&client, "a", 1);
            page.publish(&client, "a", "hello", 1, false);
            assert_eq!(page.messages(&client, 1)[0].1, "hello");
            page.end(&client);
        }
        let before = server.counters();
        turned_away(
            &mut page,
            &server,
            &format!("{name} elsewhere"),
            OTHER,
            "answered HTTP 403: Pages of this origin",
        );
        // To the server's own address the page is of another origin: the port differs.
        turned_away(
            &mut page,
            &server,
            &format!("{name} strange"),
            SAME,
            "answered HTTP 403: Pages of this origin",
        );
        set_cookie(&mut page, "session=; Path=/; Max-Age=0");
        turned_away(
            &mut page,
            &server,
            &format!("{name} nobody"),
            OWN,
            "answered HTTP 401: a token is missing",
        );
        set_cookie(&mut page, &format!("session={token}x; Path=/"));
        turned_away(
            &mut page,
            &server,
            &format!("{name} forger"),
            OWN,
            "answered HTTP 401: the token's signature is wrong",
        );
        let after = server.counters();
        assert_eq!(after["connects"], before["connects"], "not a word of MQTT");
        assert_eq!(after["accepts_denied"], 2, "{after}");
        assert!(!is_shown(&token, &server.program.stderr.all()));
    }
}

#[test]
fn a_page_of_https_comes_in_over_tls_with_a_cookie_that_is_secure() {
    let (mut page, mut mint, certificates) = (Actor::page(), Mint::start(), Certificates::new());
    let directory = TempDir::with_prefix("mqway-page-").unwrap();
    let secret = directory.path().join("secret");
    fs::write(&secret, mint.key("k", "HS256").pem).unwrap();
    let token = mint.token("k", "HS256", &claims("ann", 600, json!({})));
    let origin = page.move_to_https(&certificates);
    let settings = format!(
        "[[listeners]]\nurl = 'wss://127.0.0.1:0/mqtt'\norigins = ['{origin}']\ncert = '{}'\nkey = '{}'\n\
         [jwt]\nsecret_file = '{}'\nsources = ['cookie:session']\n",
        certificates.file("server.pem").display(),
        certificates.file("server.key").display(),
        secret.display(),
    );
    let file = directory.path().join("mqway.toml");
    fs::write(&file, settings).unwrap();
    let mosquitto = Mosquitto::start();
    let proxy = Proxy::new().upstream(&mosquitto.url(Kind::Tcp));
    for (name, server) in [("broker", Proxy::broker()), ("proxy", proxy)] {
        let server = server.argument("--config").argument(&file).start_with(1);
        set_cookie(&mut page, &format!("session={token}; Path=/; Secure; SameSite=Strict"));
        page.connect(name, server.url(0), "5.0", true, Value::Null);
        page.subscribe(name, "a", 1);
        page.publish(name, "a", "hello", 1, false);
        assert_eq!(page.messages(name, 1)[0].1, "hello");
        page.end(name);
        set_cookie(&mut page, "session=; Path=/; Secure; Max-Age=0");
        turned_away(
            &mut page,
            &server,
            &format!("{name} nobody"),
            0,
            "answered HTTP 401: a token is missing",
        );
    }
}

fn set_cookie(page: &mut Actor, value: &str) {
    let before = page.seen("jar", "cookie").len();
    page.act("cookie", "jar", json!({ "value": value }));
    let jar = page.wait_for("jar", "cookie", before + 1);
    let wanted = value.split(';').next().unwrap_or_default();
    let is_set = jar[before]["cookies"].as_str().unwrap_or_default().contains(wanted);
    assert!(is_set || value.contains("Max-Age=0"), "{value}: {jar:?}");
}

/// The page's WebSocket is refused in HTTP, as the log says.
fn turned_away(page: &mut Actor, server: &Running, client: &str, listener: usize, why: &str) {
    let told = |lines: &[String]| lines.iter().filter(|line| line.contains(why)).count();
    let before = told(&server.program.stderr.all());
    let connect = json!({ "url": server.url(listener), "version": "5.0", "clean": true, "will": null });
    page.act("connect", client, connect);
    page.wait_for(client, "closed", 1);
    assert!(page.seen(client, "connected").is_empty());
    let found = server.program.stderr.wait(SOON, |lines| (told(lines) > before).then_some(()));
    assert!(found.is_some(), "{why}: {:#?}", server.program.stderr.all());
}
