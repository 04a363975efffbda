//! TLS configurations and handshakes: what is accepted, and how everything else is explained.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod face_to_face;

use std::sync::Arc;

use face_to_face::{
    Authority, Between, June2030, Side, Signed, exchange, pem, trusting, with_tls, with_websocket,
};
use mqway_transport::tls::{
    ClientAuth, ClientSetup, Identity, Pem, ServerSetup, check_validity, server_name,
};
use mqway_transport::{Blame, ErrorKind, Stage};
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, KeyPair, date_time_ymd};
use rustls::time_provider::TimeProvider;

/// Both sides after the handshake and a word from each.
fn meet(server: &ServerSetup<'_>, client: &ClientSetup<'_>) -> (Side, Side) {
    let (server, client) = with_tls(server, client);
    let (mut server, mut client) = (Side::server(&server), Side::client(&client));
    exchange(&mut client, &mut server, &mut Between::nothing(), &[usize::MAX]);
    for side in [&mut client, &mut server] {
        if side.opened {
            side.send(b"hello");
        }
    }
    exchange(&mut client, &mut server, &mut Between::nothing(), &[usize::MAX]);
    (client, server)
}

#[track_caller]
fn agree(server: &ServerSetup<'_>, client: &ClientSetup<'_>) -> (Side, Side) {
    let (client, server) = meet(server, client);
    assert_eq!((client.error(), server.error()), (String::new(), String::new()));
    assert_eq!((&client.data[..], &server.data[..]), (&b"hello"[..], &b"hello"[..]));
    (client, server)
}

#[track_caller]
fn disagree(server: &ServerSetup<'_>, client: &ClientSetup<'_>, client_says: &str, server_says: &str) {
    let (client, server) = meet(server, client);
    for (side, said) in [(&client, client_says), (&server, server_says)] {
        assert_eq!(side.error(), format!("TLS: {said}"));
        let error = side.error.as_ref().unwrap();
        assert_eq!((error.kind(), error.blame()), (ErrorKind::Tls, Blame::Peer));
        assert!(side.data.is_empty());
        assert_eq!(side.stack.stage(), Stage::Closed);
    }
}

fn required<'a>(authority: &'a Authority) -> ClientAuth<'a> {
    ClientAuth::Required { ca: authority.ca(), crls: Vec::new() }
}

fn optional<'a>(authority: &'a Authority) -> ClientAuth<'a> {
    ClientAuth::Optional { ca: authority.ca(), crls: Vec::new() }
}

#[test]
fn the_server_must_be_who_we_dialled() {
    let (authority, other) = (Authority::new("authority"), Authority::new("another"));
    let signed = authority.sign("broker.test");
    agree(&signed.server(), &trusting(&authority));
    disagree(
        &signed.server(),
        &trusting(&other),
        "the server's certificate is not signed by an authority that is trusted here; name the CA file it needs",
        "the client does not accept our certificate (UnknownCA)",
    );
    disagree(
        &authority.sign("elsewhere.test").server(),
        &trusting(&authority),
        "the server's certificate is not for broker.test but for elsewhere.test",
        "the client does not accept our certificate (BadCertificate)",
    );
    let expired = authority.sign_with("broker.test", |params| params.not_after = date_time_ymd(2029, 2, 28));
    disagree(
        &expired.server(),
        &trusting(&authority),
        "the server's certificate expired on 2029-02-28",
        "the client does not accept our certificate (CertificateExpired)",
    );
    let early = authority.sign_with("broker.test", |params| params.not_before = date_time_ymd(2031, 12, 1));
    disagree(
        &early.server(),
        &trusting(&authority),
        "the server's certificate is not valid before 2031-12-01; is the clock right?",
        "the client does not accept our certificate (CertificateExpired)",
    );
    let for_clients = authority.sign_with("broker.test", |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    });
    disagree(
        &for_clients.server(),
        &trusting(&authority),
        "the server's certificate is not meant for servers",
        "the client does not accept our certificate (UnsupportedCertificate)",
    );
}

#[test]
fn a_self_made_certificate_can_be_trusted_itself() {
    let make = |name: &str, change: fn(&mut CertificateParams)| {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        // As openssl req -x509 makes them.
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        Signed { chain: params.self_signed(&key).unwrap().pem(), key: key.serialize_pem() }
    };
    let trusting = |signed: &Signed| {
        let bytes = Box::leak(signed.chain.clone().into_boxed_str());
        ClientSetup {
            ca: vec![pem("ca.pem", bytes)],
            clock: Some(Arc::new(June2030)),
            ..ClientSetup::default()
        }
    };
    let signed = make("broker.test", |_| {});
    agree(&signed.server(), &trusting(&signed));
    let elsewhere = make("elsewhere.test", |_| {});
    disagree(
        &elsewhere.server(),
        &trusting(&elsewhere),
        "the server's certificate is not for broker.test but for elsewhere.test",
        "the client does not accept our certificate (BadCertificate)",
    );
    let expired = make("broker.test", |params| params.not_after = date_time_ymd(2029, 2, 28));
    disagree(
        &expired.server(),
        &trusting(&expired),
        "the server's certificate expired on 2029-02-28",
        "the client does not accept our certificate (CertificateExpired)",
    );
    // Another one is not trusted, even with the same name in it.
    let (client, _) = meet(&make("broker.test", |_| {}).server(), &trusting(&signed));
    let why = "is an authority's own, which is not trusted here; name it as the CA file";
    assert_eq!(client.error(), format!("TLS: the server's certificate {why}"));
}

#[test]
fn an_insecure_client_takes_any_certificate_but_checks_signatures() {
    let authority = Authority::new("authority");
    let expired =
        authority.sign_with("elsewhere.test", |params| params.not_after = date_time_ymd(2020, 1, 1));
    let insecure = ClientSetup { insecure: true, ..ClientSetup::default() };
    agree(&expired.server(), &insecure);

    let (server, client) = with_tls(&expired.server(), &insecure);
    let (mut server, mut client) = (Side::server(&server), Side::client(&client));
    server.receive(&std::mem::take(&mut client.wire));
    let last = server.wire.len() - 1;
    server.wire[last] ^= 1;
    client.receive(&server.wire);
    assert_eq!(client.error(), "TLS: a record from the server was damaged on the way");
}

#[test]
fn a_client_certificate_may_be_required() {
    let (authority, other) = (Authority::new("authority"), Authority::new("another"));
    let signed = authority.sign("broker.test");
    let device = authority.sign("device-1");
    let server = ServerSetup { client_auth: required(&authority), ..signed.server() };
    let client = ClientSetup { identity: Some(device.identity()), ..trusting(&authority) };
    let (_, accepted) = agree(&server, &client);
    assert_eq!(accepted.facts.unwrap().tls.unwrap().peer_certificates.len(), 1);
    disagree(
        &server,
        &trusting(&authority),
        "the server requires a certificate of ours",
        "the client presented no certificate",
    );
    let stranger = other.sign("device-1");
    disagree(
        &server,
        &ClientSetup { identity: Some(stranger.identity()), ..trusting(&authority) },
        "the server does not accept our certificate (UnknownCA)",
        "the client's certificate is not signed by an authority that this listener trusts",
    );
    let expired = authority.sign_with("device-1", |params| params.not_after = date_time_ymd(2029, 2, 28));
    disagree(
        &server,
        &ClientSetup { identity: Some(expired.identity()), ..trusting(&authority) },
        "the server does not accept our certificate (CertificateExpired)",
        "the client's certificate expired on 2029-02-28",
    );
}

#[test]
fn an_optional_client_certificate_must_be_good_if_there_is_one() {
    let (authority, other) = (Authority::new("authority"), Authority::new("another"));
    let signed = authority.sign("broker.test");
    let server = ServerSetup { client_auth: optional(&authority), ..signed.server() };
    let (_, anonymous) = agree(&server, &trusting(&authority));
    assert!(anonymous.facts.unwrap().tls.unwrap().peer_certificates.is_empty());
    let device = authority.sign("device-1");
    let (_, known) =
        agree(&server, &ClientSetup { identity: Some(device.identity()), ..trusting(&authority) });
    assert_eq!(known.facts.unwrap().tls.unwrap().peer_certificates.len(), 1);
    let stranger = other.sign("device-1");
    disagree(
        &server,
        &ClientSetup { identity: Some(stranger.identity()), ..trusting(&authority) },
        "the server does not accept our certificate (UnknownCA)",
        "the client's certificate is not signed by an authority that this listener trusts",
    );
}

#[test]
fn revoked_certificates_are_refused() {
    let authority = Authority::new("authority");
    let signed = authority.sign("broker.test");
    let good = authority.sign_with("device-1", |params| params.serial_number = Some(1u64.into()));
    let bad = authority.sign_with("device-2", |params| params.serial_number = Some(2u64.into()));
    let as_client =
        |signed: &'static Signed| ClientSetup { identity: Some(signed.identity()), ..ClientSetup::default() };
    let (good, bad) = (Box::leak(Box::new(good)), Box::leak(Box::new(bad)));
    let list = authority.revoke(&[2], 2031);
    let old_list = authority.revoke(&[2], 2027);
    let foreign_list = Authority::new("another").revoke(&[2], 2031);
    let server = |list: &'static str| {
        let crls = vec![pem("crl.pem", list)];
        ClientAuth::Required { ca: Vec::new(), crls }
    };
    let with = |auth: ClientAuth<'static>| match auth {
        ClientAuth::Required { crls, .. } => ClientAuth::Required { ca: authority.ca(), crls },
        other => other,
    };
    let leak = |text: String| -> &'static str { Box::leak(text.into_boxed_str()) };
    let listener = |list: String| ServerSetup { client_auth: with(server(leak(list))), ..signed.server() };
    let (good, bad) = (as_client(good), as_client(bad));
    let good = ClientSetup { ca: authority.ca(), clock: Some(Arc::new(June2030)), ..good };
    let bad = ClientSetup { ca: authority.ca(), clock: Some(Arc::new(June2030)), ..bad };
    agree(&listener(list.clone()), &good);
    disagree(
        &listener(list.clone()),
        &bad,
        "the server does not accept our certificate (CertificateRevoked)",
        "the client's certificate has been revoked",
    );
    disagree(
        &listener(old_list),
        &good,
        "the server does not accept our certificate (UnknownCA)",
        "the revocation list for the client's certificate is out of date; renew it",
    );
    disagree(
        &listener(foreign_list),
        &good,
        "the server does not accept our certificate (UnknownCA)",
        "no revocation list covers the client's certificate; add that of its issuer",
    );
    let checking = ClientSetup {
        crls: vec![pem("crl.pem", leak(authority.revoke(&[7], 2031)))],
        ..trusting(&authority)
    };
    disagree(
        &signed.server(),
        &checking,
        "the server's certificate has been revoked",
        "the client does not accept our certificate (CertificateRevoked)",
    );
}

#[test]
fn application_protocols_are_agreed_on() {
    let authority = Authority::new("authority");
    let signed = authority.sign("broker.test");
    let alpn = |names: &[&str]| names.iter().map(|name| name.as_bytes().to_vec()).collect::<Vec<_>>();
    let server = ServerSetup { alpn: alpn(&["mqtt", "x"]), ..signed.server() };
    let (client, accepted) =
        agree(&server, &ClientSetup { alpn: alpn(&["x", "mqtt"]), ..trusting(&authority) });
    for side in [client, accepted] {
        assert_eq!(side.facts.unwrap().tls.unwrap().alpn.as_deref(), Some(&b"mqtt"[..]));
    }
    let (_, silent) = agree(&server, &trusting(&authority));
    assert_eq!(silent.facts.unwrap().tls.unwrap().alpn, None);
    agree(&signed.server(), &ClientSetup { alpn: alpn(&["mqtt"]), ..trusting(&authority) });
    disagree(
        &server,
        &ClientSetup { alpn: alpn(&["http/1.1"]), ..trusting(&authority) },
        "the server speaks none of the ALPN protocols offered",
        "the client offers none of the ALPN protocols spoken here",
    );
}

#[test]
fn an_address_is_a_name_too() {
    let authority = Authority::new("authority");
    let signed = authority.sign("192.0.2.1");
    let (server, mut client) = with_tls(&signed.server(), &trusting(&authority));
    client.tls = client.tls.map(|(config, _)| (config, server_name("192.0.2.1").unwrap()));
    let (mut server, mut client) = (Side::server(&server), Side::client(&client));
    exchange(&mut client, &mut server, &mut Between::nothing(), &[usize::MAX]);
    assert!(server.opened && client.opened, "{}", client.error());
    assert_eq!(server.facts.unwrap().tls.unwrap().server_name, None);
    for bad in ["", "a b", "-x-.", "exa_mple\n"] {
        assert!(server_name(bad).unwrap_err().to_string().contains("not a host name"), "{bad:?}");
    }
}

#[test]
fn sessions_are_resumed() {
    let authority = Authority::new("authority");
    let signed = authority.sign("broker.test");
    let (server_options, client_options) = with_tls(&signed.server(), &trusting(&authority));
    let mut sizes = Vec::new();
    for _ in 0..2 {
        let (mut server, mut client) = (Side::server(&server_options), Side::client(&client_options));
        server.receive(&std::mem::take(&mut client.wire));
        sizes.push(server.wire.len());
        exchange(&mut client, &mut server, &mut Between::nothing(), &[usize::MAX]);
        assert!(server.opened && client.opened);
    }
    assert!(sizes[1] < sizes[0] / 2, "no certificate the second time: {sizes:?}");
}

#[test]
fn both_versions_are_spoken() {
    let authority = Authority::new("authority");
    let signed = authority.sign("broker.test");
    let (server, mut client) = with_tls(&signed.server(), &trusting(&authority));
    let mut roots = rustls::RootCertStore::empty();
    let der = rustls_pki_types::pem::PemObject::from_pem_slice(authority.pem.as_bytes()).unwrap();
    roots.add(der).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let old = rustls::ClientConfig::builder_with_details(provider, Arc::new(June2030))
        .with_protocol_versions(&[&rustls::version::TLS12])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    client.tls = Some((Arc::new(old), server_name("broker.test").unwrap()));
    let (mut server, mut client) = (Side::server(&server), Side::client(&client));
    exchange(&mut client, &mut server, &mut Between::nothing(), &[17]);
    assert_eq!(server.facts.as_ref().unwrap().tls.as_ref().unwrap().version, "TLSv1.2");
    client.send(b"x");
    client.close();
    exchange(&mut client, &mut server, &mut Between::nothing(), &[17]);
    assert_eq!(server.data, b"x");
    assert!(server.ended && server.error.is_none());
}

#[test]
fn whoever_does_not_speak_tls_is_told_apart() {
    let authority = Authority::new("authority");
    let signed = authority.sign("broker.test");
    let (server, client) = with_tls(&signed.server(), &trusting(&authority));
    for bytes in [&b"\x10\x0c\0\x04MQTT\x04\x02\0\x3c\0\0"[..], b"GET /mqtt HTTP/1.1\r\n\r\n"] {
        let mut server = Side::server(&server);
        server.receive(bytes);
        assert_eq!(server.error(), "TLS: the client does not speak TLS on this port");
    }
    let mut client = Side::client(&client);
    client.receive(b"\x20\x02\0\0");
    assert_eq!(client.error(), "TLS: the server does not speak TLS on this port");
}

#[test]
fn an_early_end_names_its_stage() {
    let authority = Authority::new("authority");
    let signed = authority.sign("broker.test");
    let (mut server, mut client) = with_tls(&signed.server(), &trusting(&authority));
    with_websocket(&mut server, &mut client);
    let mut side = Side::client(&client);
    let error = side.stack.receive_eof().unwrap_err();
    assert_eq!(error.to_string(), "server closed during the TLS handshake");
    assert_eq!((error.kind(), error.stage()), (ErrorKind::Closed, Stage::Tls));
    let mut side = Side::server(&server);
    let error = side.stack.timed_out(&mut side.plain);
    assert_eq!(error.to_string(), "the client did not finish the TLS handshake in time");
    assert_eq!((error.kind(), error.stage()), (ErrorKind::TimedOut, Stage::Tls));

    let mut wss = Side::client(&client);
    let mut tls_only = Side::server(&mqway_transport::ServerOptions { websocket: None, ..server.clone() });
    exchange(&mut wss, &mut tls_only, &mut Between::nothing(), &[usize::MAX]);
    assert_eq!(wss.stack.stage(), Stage::Http);
    tls_only.close();
    exchange(&mut wss, &mut tls_only, &mut Between::nothing(), &[usize::MAX]);
    assert_eq!(wss.error(), "server closed during the WebSocket handshake");
    assert_eq!(wss.error.unwrap().kind(), ErrorKind::Closed);
}

#[test]
fn an_http_refusal_goes_through_tls_and_ends_it() {
    let authority = Authority::new("authority");
    let signed = authority.sign("broker.test");
    let (mut server, mut client) = with_tls(&signed.server(), &trusting(&authority));
    with_websocket(&mut server, &mut client);
    let other_path =
        mqway_transport::websocket::ServerOptions { paths: vec!["/ws".into()], ..Default::default() };
    server.websocket = Some(Arc::new(other_path));
    let (mut server, mut client) = (Side::server(&server), Side::client(&client));
    exchange(&mut client, &mut server, &mut Between::nothing(), &[100]);
    assert!(server.error().contains("answered HTTP 404"), "{}", server.error());
    assert!(client.error().contains("HTTP 404"), "{}", client.error());
    for side in [&server, &client] {
        assert_eq!(side.error.as_ref().unwrap().kind(), ErrorKind::Handshake);
        assert_eq!(side.error.as_ref().unwrap().stage(), Stage::Http);
    }
}

#[test]
fn a_slow_client_hears_408_through_tls() {
    let authority = Authority::new("authority");
    let signed = authority.sign("broker.test");
    let (mut server, mut client) = with_tls(&signed.server(), &trusting(&authority));
    with_websocket(&mut server, &mut client);
    client.websocket = None;
    let (mut server, mut client) = (Side::server(&server), Side::client(&client));
    exchange(&mut client, &mut server, &mut Between::nothing(), &[100]);
    client.send(b"GET /mqtt HTT");
    exchange(&mut client, &mut server, &mut Between::nothing(), &[100]);
    let error = server.stack.timed_out(&mut server.plain);
    assert_eq!(error.to_string(), "the client did not finish the WebSocket handshake in time");
    server.flush();
    exchange(&mut client, &mut server, &mut Between::nothing(), &[100]);
    assert!(client.data.starts_with(b"HTTP/1.1 408 "));
    assert!(client.ended, "close_notify follows");
}

#[test]
fn files_that_cannot_be_used_are_explained() {
    let authority = Authority::new("authority");
    let signed = authority.sign("broker.test");
    let other = authority.sign("other.test");
    let bundle = format!("{}{}", authority.pem, signed.chain);
    let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMA==\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let old_encrypted = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nMA==\n-----END RSA PRIVATE KEY-----\n";
    let csr = CertificateParams::new(vec!["x".into()]).unwrap();
    let csr = csr.serialize_request(&KeyPair::generate().unwrap()).unwrap().pem().unwrap();
    let cut = &signed.chain[..signed.chain.len() - 20];
    let garbled = signed.chain.replace("MII", "M!I");
    let nonsense = "-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n";
    for (chain, key, message) in [
        (
            signed.chain.as_str(),
            other.key.as_str(),
            "key.pem: the key does not match the first certificate in cert.pem; use the key that the certificate was requested with",
        ),
        (
            &bundle,
            &signed.key,
            "key.pem: the key does not match the first certificate in cert.pem; it belongs to certificate 2 there; put that one first",
        ),
        (
            &signed.chain,
            encrypted,
            "key.pem: the private key is encrypted; decrypt it with: openssl pkey -in FILE -out PLAIN",
        ),
        (
            &signed.chain,
            old_encrypted,
            "key.pem: the private key is encrypted; decrypt it with: openssl pkey -in FILE -out PLAIN",
        ),
        (
            &signed.key,
            &signed.chain,
            "cert.pem: no certificate in it; it holds a private key; are certificate and key swapped?",
        ),
        (
            &signed.chain,
            &signed.chain,
            "key.pem: no private key in it; it holds a certificate; are certificate and key swapped?",
        ),
        (
            &csr,
            &signed.key,
            "cert.pem: no certificate in it; it holds a certificate request, which an authority has yet to sign",
        ),
        ("", &signed.key, "cert.pem: no certificate in it; it should contain -----BEGIN CERTIFICATE-----"),
        (&signed.chain, "", "key.pem: no private key in it; it should contain -----BEGIN PRIVATE KEY-----"),
        (
            "\x30\x76",
            &signed.key,
            "cert.pem: no certificate in it; it should contain -----BEGIN CERTIFICATE-----",
        ),
        (cut, &signed.key, "cert.pem: damaged PEM: a section has no -----END line"),
        (&garbled, &signed.key, "cert.pem: damaged PEM: a section is not base64"),
        (
            &signed.chain,
            nonsense,
            "key.pem: unusable private key: failed to parse private key as RSA, ECDSA, or EdDSA",
        ),
    ] {
        let identity = Identity { chain: pem("cert.pem", chain), key: pem("key.pem", key) };
        assert_eq!(ServerSetup::new(identity).build().unwrap_err().to_string(), message);
        let client = ClientSetup { identity: Some(identity), insecure: true, ..ClientSetup::default() };
        assert_eq!(client.build().unwrap_err().to_string(), message);
    }
    let der = Pem { name: "cert.der", bytes: &[0x30, 0x82, 1, 1] };
    let identity = Identity { chain: der, key: pem("key.pem", &signed.key) };
    assert!(ServerSetup::new(identity).build().unwrap_err().to_string().contains("openssl x509 -inform der"));
}

#[test]
fn authorities_that_cannot_be_used_are_explained() {
    let authority = Authority::new("authority");
    let signed = authority.sign("broker.test");
    let client =
        |ca: Vec<Pem<'_>>| ClientSetup { ca, ..ClientSetup::default() }.build().unwrap_err().to_string();
    assert!(client(Vec::new()).contains("no certificate authority to trust"));
    assert!(
        client(vec![pem("ca.pem", &signed.key)])
            .starts_with("ca.pem: no certificate in it; it holds a private key")
    );
    let broken = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";
    assert!(client(vec![pem("ca.pem", broken)]).starts_with("ca.pem: not the certificate of an authority"));
    let auth = |ca, crls| ServerSetup { client_auth: ClientAuth::Required { ca, crls }, ..signed.server() };
    let error = |setup: ServerSetup<'_>| setup.build().unwrap_err().to_string();
    assert!(error(auth(Vec::new(), Vec::new())).contains("no CA to check them"));
    let crl = vec![pem("crl.pem", &authority.pem)];
    assert!(error(auth(authority.ca(), crl)).starts_with("crl.pem: no revocation list in it"));
    let crl = "-----BEGIN X509 CRL-----\nMAA=\n-----END X509 CRL-----\n";
    assert!(error(auth(authority.ca(), vec![pem("crl.pem", crl)])).contains("cannot be checked"));
}

#[test]
fn system_roots_may_be_unparsable() {
    let authority = Authority::new("authority");
    let good = rustls_pki_types::pem::PemObject::from_pem_slice(authority.pem.as_bytes()).unwrap();
    let roots = [vec![1, 2, 3].into(), good];
    let signed = authority.sign("broker.test");
    let client = ClientSetup { roots: &roots, clock: Some(Arc::new(June2030)), ..ClientSetup::default() };
    agree(&signed.server(), &client);
}

#[test]
fn expiry_can_be_seen_beforehand() {
    let authority = Authority::new("authority");
    let signed = authority.sign_with("broker.test", |params| {
        params.not_before = date_time_ymd(2025, 3, 1);
        params.not_after = date_time_ymd(2050, 12, 31);
    });
    let file = pem("cert.pem", &signed.chain);
    let now = June2030.current_time().unwrap();
    assert_eq!(check_validity(&file, now).unwrap().to_string(), "2025-03-01 to 2050-12-31");
    let day = |seconds| rustls_pki_types::UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
    let error = |now| check_validity(&file, now).unwrap_err().to_string();
    assert_eq!(
        error(day(0)),
        "cert.pem: the certificate is not valid before 2025-03-01; is the clock right?"
    );
    assert_eq!(error(day(4_000_000_000)), "cert.pem: the certificate expired on 2050-12-31; renew it");
    let broken = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";
    let error = check_validity(&pem("x", broken), now).unwrap_err().to_string();
    assert_eq!(error, "x: its first certificate is malformed");
}
