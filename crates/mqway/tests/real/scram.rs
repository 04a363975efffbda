//! SCRAM-SHA-256 through the binary, with our own client library and with one written in Python: at the broker, at a proxy that
//! plays the server of it, and through proxies that leave it to their upstream.

use crate::support::mosquitto::Mosquitto;
use crate::support::mqway::{Proxy, Running, mqway};
use crate::support::packets::{Connect, V3_1_1, V5};
use crate::support::process::run;
use crate::support::raw::Raw;
use crate::support::{Kind, SOON, real, root};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mqway_client::{
    Authentication, Client, ConnectError, ConnectionEvent, Endpoint, Exchange, Message, Options, QoS,
};
use ring::{digest, hmac, pbkdf2};
use serde_json::{Value, json};
use std::fs;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::process::Command;
use tempfile::TempDir;

const NOT_AUTHORIZED: u8 = 0x87;
const BAD_AUTHENTICATION_METHOD: u8 = 0x8C;

/// Users `ann` and `bob`, whose passwords are `secret` and `hello`.
struct House(TempDir);

impl House {
    fn new() -> House {
        let house = House(TempDir::with_prefix("mqway-scram-").unwrap());
        let users = house.path("users").display().to_string();
        for (user, password) in [("ann", "secret"), ("bob", "hello")] {
            let done = mqway(&["passwd", "--scram", "-b", &users, user, password], SOON * 3);
            assert_eq!(done.code, Some(0), "{done:?}");
        }
        house
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn start(&self, server: Proxy, access: &str) -> Running {
        let file = self.path("mqway.toml");
        fs::write(&file, format!("[access]\n{access}")).unwrap();
        server.listen("tcp://127.0.0.1:0").argument("--config").argument(file).start()
    }

    /// One that knows these users.
    fn guard(&self, server: Proxy) -> Running {
        self.start(server, &format!("scram_file = '{}'\n", self.path("users").display()))
    }
}

/// What the client in Python has seen of each authentication, by user name and password.
fn python(server: &Running, client_id: &str, pairs: &[(&str, &str)]) -> Vec<Value> {
    let mut command = Command::new(real().join("venv/bin/python"));
    command.arg(root().join("tests/clients/scram.py"));
    command.arg(server.address().port().to_string()).arg(client_id);
    command.args(pairs.iter().flat_map(|(user, password)| [user, password]));
    let done = run(command, b"", SOON * 6);
    assert_eq!(done.code, Some(0), "{done:?}");
    let lines = String::from_utf8(done.stdout).unwrap();
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn seen(packet: &str, reason: u8, proven: bool) -> Value {
    json!({ "is": packet, "reason": reason, "proven": proven })
}

/// What clients are told is the same at whoever plays the server.
fn check(server: &Running) {
    let let_in = || seen("connack", 0, true);
    assert_eq!(python(server, "right", &[("ann", "secret")]), [let_in()]);
    assert_eq!(python(server, "wrong", &[("ann", "Secret")]), [seen("connack", NOT_AUTHORIZED, false)]);
    // It looks like the one before until the end.
    assert_eq!(python(server, "nobody", &[("eve", "secret")]), [seen("connack", NOT_AUTHORIZED, false)]);
    let again = python(server, "again", &[("ann", "secret"), ("ann", "secret"), ("ann", "wrong")]);
    let refused = seen("disconnect", NOT_AUTHORIZED, false);
    assert_eq!(again, [let_in(), seen("auth", 0, true), refused.clone()]); // [MQTT-4.12.1-2]
    assert_eq!(python(server, "other", &[("ann", "secret"), ("bob", "hello")]), [let_in(), refused]);
    for (client, why) in [
        ("\"wrong\"", "scram: the password is wrong"),
        ("\"nobody\"", "scram: there is no such user"),
        ("\"again\" (user \"ann\")", "scram: the password is wrong"),
        ("\"other\" (user \"ann\")", "scram: it has become another user"),
    ] {
        let told = |lines: &[String]| {
            lines.iter().any(|line| line.contains(client) && line.contains(why)).then_some(())
        };
        let stderr = &server.program.stderr;
        assert!(stderr.wait(SOON, told).is_some(), "{client}: {why}: {:#?}", stderr.all());
    }
    // Whoever has no such method has nothing to show.
    let plain =
        |level| Connect { level, client_id: "plain", user: Some(("ann", "secret")), ..Connect::default() };
    assert_eq!(Raw::connect(server.url(0), "", &plain(V5)).0, 0x86);
    assert_eq!(Raw::connect(server.url(0), "", &plain(V3_1_1)).0, 5);
}

#[test]
fn a_broker_and_a_proxy_play_the_server_of_it() {
    let house = House::new();
    check(&house.guard(Proxy::broker()));
    let mosquitto = Mosquitto::start();
    check(&house.guard(Proxy::new().upstream(&mosquitto.url(Kind::Tcp))));
    // This mosquitto knows no methods; it is told who the client was found to be.
    assert!(mosquitto.program.stderr.contain("as right (p5, c1, k60, u'ann')"));
}

#[test]
fn a_method_that_nobody_here_plays_goes_through_to_the_upstream() {
    let house = House::new();
    let broker = house.guard(Proxy::broker());
    let acl = house.path("acl");
    fs::write(&acl, "topic readwrite #\n").unwrap();
    for access in [String::new(), format!("acl_file = '{}'\n", acl.display())] {
        let proxy = house.start(Proxy::new().upstream(broker.url(0)), &access);
        let pairs = [("ann", "secret"), ("ann", "secret")];
        assert_eq!(python(&proxy, "far", &pairs), [seen("connack", 0, true), seen("auth", 0, true)]);
        assert_eq!(python(&proxy, "wrong", &[("ann", "x")]), [seen("connack", NOT_AUTHORIZED, false)]);
        assert_eq!(
            python(&proxy, "other", &[("ann", "secret"), ("bob", "hello")]),
            [seen("connack", 0, true), seen("disconnect", NOT_AUTHORIZED, false)]
        );
    }
    // Not past whoever asks clients who they are here.
    let passwords = house.path("passwords").display().to_string();
    assert_eq!(mqway(&["passwd", "-b", &passwords, "ann", "secret"], SOON * 3).code, Some(0));
    let proxy =
        house.start(Proxy::new().upstream(broker.url(0)), &format!("password_file = '{passwords}'\n"));
    assert_eq!(python(&proxy, "past", &[("ann", "secret")]), [seen("connack", NOT_AUTHORIZED, false)]);
    // And one that the last of them does not know is refused there.
    let broker = Proxy::broker().listen("tcp://127.0.0.1:0").start();
    let proxy = Proxy::between("tcp", broker.url(0));
    for server in [&broker, &proxy] {
        let refused = seen("connack", BAD_AUTHENTICATION_METHOD, false);
        assert_eq!(python(server, "c", &[("ann", "secret")]), [refused]); // [MQTT-4.12.0-1]
    }
}

#[test]
fn our_client_library_authenticates_by_it_and_does_so_again() {
    let house = House::new();
    let (broker, mosquitto) = (house.guard(Proxy::broker()), Mosquitto::start());
    let proxy = house.guard(Proxy::new().upstream(&mosquitto.url(Kind::Tcp)));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for server in [&broker, &proxy] {
        runtime.block_on(async {
            let start = |password| {
                let endpoint = Endpoint::new(server.url(0)).authentication(Scram(password));
                Client::start(endpoint, Options::default())
            };
            let client = start("secret");
            let mut messages = client.subscribe("a", QoS::AtLeastOnce).await.unwrap();
            client.reauthenticate(Scram("secret")).await.unwrap();
            client.publish(Message { qos: QoS::AtLeastOnce, ..Message::new("a", "x") }).await.unwrap();
            assert_eq!(&*messages.next().await.unwrap().payload, b"x");
            let refused = client.reauthenticate(Scram("wrong")).await.unwrap_err();
            assert!(
                matches!(&refused, ConnectError::Disconnected(notice)
                if notice.reason.code() == NOT_AUTHORIZED),
                "{refused:?}"
            );
            client.disconnect().await;

            let client = start("wrong");
            let mut events = client.events();
            let error = loop {
                match events.next().await.unwrap() {
                    ConnectionEvent::Lost { error, .. } => break error,
                    ConnectionEvent::Connected { .. } => panic!("let in by a wrong password"),
                    _ => {}
                }
            };
            assert!(
                matches!(&*error, ConnectError::Refused(notice)
                if notice.reason.code() == NOT_AUTHORIZED),
                "{error:?}"
            );
        });
    }
}

/// SCRAM of `ann`, as a program would add it to our client library, with this password.
struct Scram(&'static str);

struct Dialogue {
    password: &'static str,
    bare: String,
    server_signature: Vec<u8>,
}

/// A nonce of tests may be the same each time: the server's half is not.
const NONCE: &str = "fyko+d2lbbFgONRv9qkxdawL";

impl Authentication for Scram {
    fn method(&self) -> &str {
        "SCRAM-SHA-256"
    }

    fn begin(&self) -> Box<dyn Exchange> {
        Box::new(Dialogue {
            password: self.0,
            bare: format!("n=ann,r={NONCE}"),
            server_signature: Vec::new(),
        })
    }
}

impl Exchange for Dialogue {
    fn first(&mut self) -> Vec<u8> {
        format!("n,,{}", self.bare).into_bytes()
    }

    fn answer(&mut self, challenge: &[u8]) -> Result<Vec<u8>, String> {
        let challenge = str::from_utf8(challenge).map_err(|error| error.to_string())?;
        let fields: Vec<_> = challenge.split(',').map(|field| &field[2..]).collect();
        let (salt, rounds) = (STANDARD.decode(fields[1]).unwrap(), fields[2].parse().unwrap());
        let mut salted = [0; 32];
        let password = self.password.as_bytes();
        pbkdf2::derive(
            pbkdf2::PBKDF2_HMAC_SHA256,
            NonZeroU32::new(rounds).unwrap(),
            &salt,
            password,
            &mut salted,
        );
        let without_proof = format!("c=biws,r={}", fields[0]);
        let signed = format!("{},{challenge},{without_proof}", self.bare);
        let client_key = mac(&salted, b"Client Key");
        let signature = mac(digest::digest(&digest::SHA256, &client_key).as_ref(), signed.as_bytes());
        let proof: Vec<_> =
            client_key.iter().zip(signature).map(|(key, signature)| key ^ signature).collect();
        self.server_signature = mac(&mac(&salted, b"Server Key"), signed.as_bytes());
        Ok(format!("{without_proof},p={}", STANDARD.encode(proof)).into_bytes())
    }

    fn finish(&mut self, last: &[u8]) -> Result<(), String> {
        let expected = format!("v={}", STANDARD.encode(&self.server_signature));
        if last == expected.as_bytes() {
            Ok(())
        } else {
            Err("the server does not know the password".to_owned())
        }
    }
}

fn mac(key: &[u8], text: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text).as_ref().to_vec()
}
