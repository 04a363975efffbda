//! Who is banned, by hand or for what was done: in the broker, and in the proxy before a mosquitto that lets in everybody.
//! Clients come from wherever their PROXY protocol header says.

use crate::support::mint::{Mint, claims};
use crate::support::mosquitto::Mosquitto;
use crate::support::mqway::{Proxy, Running};
use crate::support::packets::{self, Connect, Level, V3_1_1, V5};
use crate::support::process::run;
use crate::support::{Kind, SOON, address, dial_tcp, eventually, websocket};
use serde_json::json;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

/// CONNACK of 5.0: Success, Bad User Name or Password, Banned.
const LET_IN: u8 = 0;
const WRONG: u8 = 0x86;
const BANNED: u8 = 0x8A;

/// DISCONNECT.
const ADMINISTRATIVE_ACTION: u8 = 0x98;

/// Has the same checked of a broker and of a proxy with these settings.
pub fn both(settings: &dyn Fn(&Path) -> String, check: impl Fn(&Running, &Path)) {
    let mosquitto = Mosquitto::start();
    let proxy = Proxy::new().upstream(&mosquitto.url(Kind::Tcp));
    for server in [Proxy::broker(), proxy] {
        let files = TempDir::with_prefix("mqway-bans-").unwrap();
        let file = files.path().join("mqway.toml");
        std::fs::write(&file, settings(files.path())).unwrap();
        let server =
            server.listen("tcp://127.0.0.1:0").listen("ws://127.0.0.1:0").argument("--proxy-protocol");
        check(&server.argument("--config").argument(&file).start(), &file);
    }
}

/// A connection that comes from there.
pub fn from(server: &Running, listener: usize, client: &str) -> TcpStream {
    let mut stream = dial_tcp(address(server.url(listener)));
    stream.write_all(format!("PROXY TCP4 {client} 192.0.2.1 40000 1883\r\n").as_bytes()).unwrap();
    stream
}

/// The code of CONNACK; none if the connection is closed without.
pub fn enter(mut stream: TcpStream, connect: &[u8]) -> Option<(u8, TcpStream)> {
    // One that is closed already may not take it any more.
    let _ = stream.write_all(connect);
    packets::read(&mut stream).map(|connack| (connack[3], stream))
}

pub fn code(server: &Running, client: &str, connect: &Connect<'_>) -> Option<u8> {
    enter(from(server, 0, client), &connect.bytes()).map(|(code, _)| code)
}

pub fn called(level: Level, client_id: &str) -> Connect<'_> {
    Connect { level, client_id, ..Connect::default() }
}

/// Of somebody whose password is wrong.
fn wrong(level: Level) -> Connect<'static> {
    Connect { level, user: Some(("ann", "wrong")), ..Connect::default() }
}

#[test]
fn who_is_banned_by_hand_is_kept_out_until_a_reload_lifts_it() {
    const BANS: &str = "[bans]\naddresses = ['203.0.113.0/24', '127.0.0.2']\nclients = ['pump-*', 'c1']\nusers = ['mallory']\n";
    both(&|_| BANS.to_owned(), |server, file| {
        for banned in ["203.0.113.7", "127.0.0.2"] {
            assert_eq!(code(server, banned, &called(V5, "c")), None, "closed without a word");
            let mut stream = from(server, 1, banned);
            let answer = websocket::exchange(&mut stream, &websocket::request("/mqtt", ""));
            assert_eq!(answer.status, 403);
        }
        let here = "203.0.114.1";
        assert_eq!(code(server, here, &called(V5, "c")), Some(LET_IN));
        for client_id in ["pump-1", "c1"] {
            assert_eq!(code(server, here, &called(V5, client_id)), Some(BANNED));
            assert_eq!(code(server, here, &called(V3_1_1, client_id)), Some(5));
        }
        for (level, expected) in [(V5, BANNED), (V3_1_1, 5)] {
            let connect = Connect { user: Some(("mallory", "x")), ..called(level, "c") };
            assert_eq!(code(server, here, &connect), Some(expected));
        }
        let refusals = &server.counters()["refusals"];
        assert_eq!(refusals["Banned"], 4 + 4 + 2, "{refusals}");
        let said = server.program.stderr.all().concat();
        assert!(said.contains("bans: clients \"pump-*\""), "{said}");
        std::fs::write(file, "[access]\nmax_waiting = 7\n").unwrap();
        server.program.signal("HUP");
        assert!(server.program.stderr.contain("max_waiting of [access] stays as it was"));
        assert!(eventually(SOON, || code(server, "203.0.113.7", &called(V5, "pump-1")) == Some(LET_IN)));
    });
}

#[test]
fn a_reload_ends_who_is_banned_by_hand_then_and_nobody_else() {
    both(&|_| String::new(), |server, file| {
        let at = |address: &str, client_id: &str| {
            let entered = enter(from(server, 0, address), &called(V5, client_id).bytes());
            entered.and_then(|(code, stream)| (code == LET_IN).then_some(stream)).expect("let in")
        };
        let (mut here, mut there) = (at("203.0.113.7", "here"), at("203.0.114.1", "there"));
        let mut called_pump = at("203.0.114.1", "pump-1");
        std::fs::write(file, "[bans]\naddresses = ['203.0.113.0/24']\nclients = ['pump-*']\n").unwrap();
        server.program.signal("HUP");
        for banned in [&mut here, &mut called_pump] {
            let last = packets::read(banned).expect("DISCONNECT");
            assert_eq!((last[0], last[2]), (0xE0, ADMINISTRATIVE_ACTION));
            assert_eq!(packets::read(banned), None);
        }
        there.write_all(&packets::PINGREQ).unwrap();
        assert_eq!(packets::read(&mut there).unwrap(), packets::PINGRESP);
    });
}

/// The address that counts is the one that a trusted reverse proxy tells.
#[test]
fn a_forwarded_address_is_banned_and_never_the_forwarder_s() {
    let mosquitto = Mosquitto::start();
    let proxy = Proxy::new().upstream(&mosquitto.url(Kind::Tcp));
    for server in [Proxy::broker(), proxy] {
        let files = TempDir::with_prefix("mqway-bans-").unwrap();
        let file = files.path().join("mqway.toml");
        // Loopback is spared because it forwards, though it is not listed.
        std::fs::write(&file, failures(files.path()) + "spare = []\n").unwrap();
        let server = server.listen("ws://127.0.0.1:0").arguments(&["--trust-forwarded", "127.0.0.1"]);
        let server = server.argument("--config").argument(&file).start();
        let upgrade = |forwarded: &str| {
            let mut stream = dial_tcp(server.address());
            let status = websocket::exchange(&mut stream, &websocket::request("/mqtt", forwarded)).status;
            (status, stream)
        };
        let fail = |forwarded: &str| {
            let (status, mut stream) = upgrade(forwarded);
            assert_eq!(status, 101);
            stream.write_all(&websocket::binary(&wrong(V3_1_1).bytes())).unwrap();
            let mut connack = [0; 6];
            stream.read_exact(&mut connack).unwrap();
            assert_eq!(connack, [0x82, 4, 0x20, 2, 0, 5]);
        };
        let (bad, good) = ("X-Forwarded-For: 203.0.113.7\r\n", "X-Forwarded-For: 203.0.113.8\r\n");
        (0..3).for_each(|_| fail(bad));
        assert_eq!((upgrade(bad).0, upgrade(good).0), (403, 101));
        (0..5).for_each(|_| fail(""));
        assert_eq!(upgrade("").0, 101);
    }
}

/// Settings by which the password of `ann` is `secret`, and three failures are too many.
fn failures(files: &Path) -> String {
    let passwords = files.join("passwords");
    let mut command = Command::new("mosquitto_passwd");
    command.arg("-c").arg("-b").arg(&passwords).args(["ann", "secret"]);
    assert_eq!(run(command, b"", SOON).code, Some(0));
    format!(
        "[access]\npassword_file = '{}'\n[bans]\nfailures = 3\nfailures_ban = '1h'\n",
        passwords.display()
    )
}

#[test]
fn who_fails_too_often_is_banned_by_address_and_stays_so_at_a_reload() {
    both(&failures, |server, _| {
        let ann = || Connect { user: Some(("ann", "secret")), ..called(V5, "ann") };
        for (level, said) in [(V5, WRONG), (V3_1_1, 5), (V5, WRONG)] {
            assert_eq!(code(server, "203.0.113.7", &wrong(level)), Some(said));
        }
        assert_eq!(code(server, "203.0.113.7", &ann()), None, "not even with the right one");
        assert_eq!(code(server, "203.0.113.8", &ann()), Some(LET_IN));
        server.program.signal("HUP");
        assert!(server.program.stderr.contain("reloaded"), "{:?}", server.program.stderr.all());
        assert_eq!(code(server, "203.0.113.7", &ann()), None);
        // Whoever is behind a reverse proxy of this machine would be shut out with the one who fails.
        for _ in 0..5 {
            assert_eq!(code(server, "127.0.0.1", &wrong(V5)), Some(WRONG));
        }
        let said = server.program.stderr.all().concat();
        assert!(said.contains("203.0.113.7/32 is banned") && said.contains("for failed logins"), "{said}");
    });
}

#[test]
fn a_client_that_comes_and_goes_too_often_is_banned_by_its_identifier() {
    both(&|_| "[bans]\nflapping = 3\nflapping_ban = 3600\n".to_owned(), |server, _| {
        for _ in 0..3 {
            assert_eq!(code(server, "203.0.113.7", &called(V5, "flap")), Some(LET_IN));
        }
        assert_eq!(code(server, "203.0.113.8", &called(V5, "flap")), Some(BANNED));
        assert_eq!(code(server, "203.0.113.8", &called(V3_1_1, "flap")), Some(5));
        assert_eq!(code(server, "203.0.113.7", &called(V5, "other")), Some(LET_IN));
        // What is spared is not counted.
        for _ in 0..5 {
            assert_eq!(code(server, "127.0.0.1", &called(V5, "local")), Some(LET_IN));
        }
    });
}

/// A client that shows who it is by an enhanced method is not asked for its password, but a ban is in its way, too.
#[test]
fn an_enhanced_authentication_is_no_way_around_a_ban() {
    const SECRET: &str = "a secret of at least thirty-two bytes";
    let settings = |files: &Path| {
        let secret = files.join("secret");
        std::fs::write(&secret, SECRET).unwrap();
        let jwt =
            format!("[jwt]\nsecret_file = '{}'\nmethod = 'JWT'\nmust_expire = false\n", secret.display());
        failures(files) + "users = ['mallory']\n" + &jwt
    };
    let mut mint = Mint::start();
    let mut token = |user| mint.forge(json!({ "alg": "HS256" }), &claims(user, 600, json!({})), Some(SECRET));
    let (eve, mallory) = (token("eve"), token("mallory"));
    both(&settings, |server, _| {
        let show = |token: &str| {
            let mut properties = vec![0x15];
            properties.extend(packets::string("JWT"));
            properties.push(0x16);
            properties.extend(packets::string(token));
            code(server, "203.0.113.7", &Connect { properties: &properties, ..called(V5, "c") })
        };
        // The password file does not know her.
        assert_eq!(show(&eve), Some(LET_IN));
        assert_eq!(show(&mallory), Some(BANNED));
    });
}

/// What a server behind the proxy refuses counts, too.
#[test]
fn the_proxy_bans_whom_its_upstream_refuses() {
    let files = TempDir::with_prefix("mqway-bans-").unwrap();
    let (guard, settings) = (files.path().join("guard.toml"), files.path().join("bans.toml"));
    std::fs::write(&guard, failures(files.path()).split("[bans]").next().unwrap()).unwrap();
    std::fs::write(&settings, "[bans]\nfailures = 2\n").unwrap();
    let upstream = Proxy::broker().listen("tcp://127.0.0.1:0").argument("--config").argument(&guard).start();
    let proxy =
        Proxy::new().listen("tcp://127.0.0.1:0").argument("--proxy-protocol").upstream(upstream.url(0));
    let proxy = proxy.argument("--config").argument(&settings).start();
    for (level, said) in [(V3_1_1, 5), (V5, WRONG)] {
        assert_eq!(code(&proxy, "203.0.113.7", &wrong(level)), Some(said));
    }
    assert_eq!(code(&proxy, "203.0.113.7", &wrong(V5)), None);
}
