//! Rules that come by a reload where there were none: in the broker, and in the proxy before a mosquitto that lets in
//! everybody. Whoever is there already is judged by them.

use crate::support::mosquitto::Mosquitto;
use crate::support::mqway::{Proxy, Running};
use crate::support::packets::{self, Connect, Level, V3_1_1, V5};
use crate::support::process::run;
use crate::support::{Kind, SOON, dial_tcp, eventually};
use std::io::Write;
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

const NOT_AUTHORIZED: u8 = 0x87;

/// A client that calls itself `ann`, whom nobody has asked for a password.
fn enter(server: &Running, level: Level) -> TcpStream {
    let connect = Connect { level, client_id: "c1", user: Some(("ann", "x")), ..Connect::default() };
    let mut stream = dial_tcp(server.address());
    stream.write_all(&connect.bytes()).unwrap();
    assert_eq!(packets::read(&mut stream).expect("CONNACK")[3], 0);
    stream
}

/// Whether a message of QoS 1 to this topic is allowed. 3.1.1 has no way to say no.
fn may_publish(stream: &mut TcpStream, level: Level, topic: &str) -> bool {
    stream.write_all(&packets::publish(level, topic, 1, 7, b"x")).unwrap();
    let answer = packets::read(stream).expect("PUBACK");
    assert_eq!((answer[0], packets::id(&answer)), (0x40, 7));
    answer.get(4) != Some(&NOT_AUTHORIZED)
}

fn reload(server: &Running, file: &Path, settings: &str) {
    std::fs::write(file, settings).unwrap();
    server.program.signal("HUP");
}

#[test]
fn rules_that_come_later_judge_who_is_there() {
    let mosquitto = Mosquitto::start();
    let proxy = Proxy::new().upstream(&mosquitto.url(Kind::Tcp));
    for server in [Proxy::broker(), proxy] {
        let files = TempDir::with_prefix("mqway-reload-").unwrap();
        let path = |name: &str| files.path().join(name);
        let (file, acl, passwords) = (path("mqway.toml"), path("acl"), path("passwords"));
        std::fs::write(&file, "").unwrap();
        std::fs::write(&acl, "user ann\ntopic readwrite ann/#\npattern write from/%c\n").unwrap();
        let mut command = Command::new("mosquitto_passwd");
        command.arg("-c").arg("-b").arg(&passwords).args(["ann", "secret"]);
        assert_eq!(run(command, b"", SOON).code, Some(0));
        let server = server.listen("tcp://127.0.0.1:0").argument("--config").argument(&file).start();

        let mut old = enter(&server, V3_1_1);
        old.write_all(&packets::subscribe(V3_1_1, 1, "#", 0)).unwrap();
        assert_eq!(packets::read(&mut old).expect("SUBACK")[0], 0x90);
        let connect = Connect { level: V5, client_id: "c2", user: Some(("ann", "x")), ..Connect::default() };
        let mut new = dial_tcp(server.address());
        new.write_all(&connect.bytes()).unwrap();
        assert_eq!(packets::read(&mut new).expect("CONNACK")[3], 0);
        assert!(may_publish(&mut new, V5, "bob/x"));
        assert_eq!(packets::read(&mut old).expect("the message")[..2], [0x30, 8]);

        let rules = format!("[access]\nacl_file = '{}'\n", acl.display());
        reload(&server, &file, &rules);
        assert!(eventually(SOON, || !may_publish(&mut new, V5, "bob/y")));
        // By the name that it has given, and by its identifier.
        assert!(may_publish(&mut new, V5, "ann/x") && may_publish(&mut new, V5, "from/c2"));
        assert!(!may_publish(&mut new, V5, "from/c1"));
        // Of what is published now, the other one gets what it may read; something else may have come before.
        let heard = std::iter::from_fn(|| packets::read(&mut old));
        assert!(heard.into_iter().any(|packet| packet.windows(5).any(|text| text == b"ann/x")));
        assert!(may_publish(&mut old, V3_1_1, "from/c1"));

        // Where passwords are asked for, a name that nobody has shown to be its own counts for nothing.
        reload(&server, &file, &format!("{rules}password_file = '{}'\n", passwords.display()));
        assert!(eventually(SOON, || !may_publish(&mut new, V5, "ann/x")));
        assert!(may_publish(&mut new, V5, "from/c2"));
    }
}
