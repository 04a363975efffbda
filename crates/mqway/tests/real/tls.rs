//! TLS on listeners: the chain that is shown, the certificates that are asked for.

use crate::support::clients::{Target, mosquitto_client};
use crate::support::mosquitto::Mosquitto;
use crate::support::mqway::{Proxy, Running};
use crate::support::packets::LEVELS;
use crate::support::process::run;
use crate::support::server::Server;
use crate::support::{Kind, SOON};

const CLIENT_AUTH: [&str; 3] = ["none", "optional", "required"];

fn listener(mosquitto: &Mosquitto, client_auth: &str) -> Running {
    let proxy = Proxy::new().listen("mqtts://127.0.0.1:0").tls(&mosquitto.certificates);
    let proxy = proxy.upstream(&mosquitto.url(Kind::Tcp)).arguments(&["--client-auth", client_auth]);
    match client_auth {
        "none" => proxy.start(),
        _ => proxy.argument("--client-ca").argument(mosquitto.certificates.ca()).start(),
    }
}

/// True if `mosquitto_pub` gets through, with a client certificate or without.
fn gets_through(mosquitto: &Mosquitto, proxy: &Running, ca: &str, certificate: Option<&str>) -> bool {
    let ca = mosquitto.certificates.file(ca);
    let target = Target { url: proxy.url(0).to_owned(), level: LEVELS[1], ca: &ca };
    let mut command = mosquitto_client("mosquitto_pub", &target);
    command.args(["-t", "t", "-m", "x", "-q", "1"]);
    if let Some(name) = certificate {
        command.arg("--cert").arg(mosquitto.certificates.file(&format!("{name}.pem")));
        command.arg("--key").arg(mosquitto.certificates.file(&format!("{name}.key")));
    }
    run(command, b"", SOON * 2).code == Some(0)
}

#[test]
fn client_certificates_none_optional_required() {
    let mosquitto = Mosquitto::start();
    //                    without, ours, a stranger's
    let expected = [[true, true, true], [true, true, false], [false, true, false]];
    for (client_auth, expected) in CLIENT_AUTH.into_iter().zip(expected) {
        let proxy = listener(&mosquitto, client_auth);
        let seen = [None, Some("client"), Some("stranger")]
            .map(|name| gets_through(&mosquitto, &proxy, "ca.pem", name));
        assert_eq!(seen, expected, "--client-auth {client_auth}");
    }
}

#[test]
fn a_client_that_does_not_trust_the_listener_stays_away() {
    let mosquitto = Mosquitto::start();
    let proxy = listener(&mosquitto, "none");
    assert!(!gets_through(&mosquitto, &proxy, "other-ca.pem", None));
    assert!(gets_through(&mosquitto, &proxy, "ca.pem", None));
}

#[test]
fn a_listener_with_tls_wants_a_certificate_and_says_so_in_one_line() {
    let broker = Server::broker();
    let nowhere = "/nowhere/at/all.pem";
    for flags in
        [&[][..], &["--cert", nowhere, "--key", nowhere], &["--cert", "/dev/null", "--key", "/dev/null"]]
    {
        for scheme in ["mqtts", "wss"] {
            let proxy = Proxy::new().listen(&format!("{scheme}://127.0.0.1:0")).upstream(&broker.url("mqtt"));
            let finished = proxy.arguments(flags).run();
            assert_eq!(finished.code, Some(2), "{flags:?}: {finished:?}");
            assert_eq!(finished.stderr.trim_end().lines().count(), 1, "{flags:?}: {finished:?}");
            assert!(finished.stderr.contains(flags.get(1).unwrap_or(&"--cert")), "{flags:?}: {finished:?}");
        }
    }
}

/// After SIGHUP new connections see the new chain, and old ones live on.
#[test]
fn sighup_reads_the_certificates_again() {
    let mosquitto = Mosquitto::start();
    let proxy = listener(&mosquitto, "none");
    let certificates = &mosquitto.certificates;
    for (from, to) in [("impostor.pem", "server.pem"), ("impostor.key", "server.key")] {
        std::fs::copy(certificates.file(from), certificates.file(to)).unwrap();
    }
    assert!(gets_through(&mosquitto, &proxy, "ca.pem", None), "nothing changes before the signal");
    proxy.program.signal("HUP");
    let changed = || gets_through(&mosquitto, &proxy, "other-ca.pem", None);
    assert!(crate::support::eventually(SOON, changed), "the other chain is shown");
    assert!(!gets_through(&mosquitto, &proxy, "ca.pem", None));

    std::fs::write(certificates.file("server.pem"), "no certificate at all").unwrap();
    proxy.program.signal("HUP");
    assert!(proxy.program.stderr.contain("server.pem"), "a bad file is logged");
    assert!(changed(), "and changes nothing");
}
