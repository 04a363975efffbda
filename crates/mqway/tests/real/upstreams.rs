//! How upstreams are reached, and what clients hear when they are not.

use crate::support::certificates::Certificates;
use crate::support::mosquitto::Mosquitto;
use crate::support::mqway::{Proxy, Running};
use crate::support::packets::{self, LEVELS, V3_1_1, V5};
use crate::support::server::Server;
use crate::support::{Kind, SOON, dial_tcp, eventually, expect_close, free_port, read_to_close};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::thread;

/// Connects a client; gives back its stream and what the first packet from the proxy was.
fn enter(proxy: &Running, level: u8, client_id: &str) -> (TcpStream, Option<Vec<u8>>) {
    let mut stream = dial_tcp(proxy.address());
    stream.write_all(&packets::connect(level, client_id)).unwrap();
    let first = packets::read(&mut stream);
    (stream, first)
}

#[track_caller]
fn expect_unavailable(proxy: &Running) {
    for level in LEVELS {
        let (mut stream, connack) = enter(proxy, level, "unlucky");
        let connack = connack.expect("CONNACK");
        let code = if level == V5 { 0x88 } else { 3 };
        assert_eq!(
            (connack[0], connack[2], connack[3]),
            (0x20, 0, code),
            "server unavailable: {connack:02x?}"
        );
        expect_close(&mut stream);
    }
}

#[test]
fn an_upstream_that_is_down_is_connack_3_or_0x88_and_a_log_line() {
    let port = free_port();
    for scheme in ["mqtt", "mqtts", "ws", "wss"] {
        let proxy = Proxy::between("mqtt", &format!("{scheme}://127.0.0.1:{port}"));
        expect_unavailable(&proxy);
        assert!(proxy.program.stderr.contain(&port.to_string()), "the log says which upstream");
        assert!(proxy.program.stderr.contain("refused"), "the log says why");
    }
    let proxy = Proxy::between("mqtt", "unix:///nowhere/at/all.sock");
    expect_unavailable(&proxy);
    assert!(proxy.program.stderr.contain("/nowhere/at/all.sock"));
}

#[test]
fn an_upstream_whose_name_is_unknown_is_unavailable() {
    let proxy = Proxy::between("mqtt", "mqtt://no-such-host.invalid:1883");
    expect_unavailable(&proxy);
    assert!(proxy.program.stderr.contain("no-such-host.invalid"));
}

#[test]
fn an_upstream_that_does_not_speak_tls_or_websocket_is_unavailable() {
    let broker = Server::broker();
    for (scheme, word) in [("mqtts", "TLS"), ("ws", "WebSocket")] {
        let proxy = Proxy::between("mqtt", &broker.url(scheme));
        expect_unavailable(&proxy);
        assert!(proxy.program.stderr.contain(word), "the log says at which step");
    }
}

#[test]
fn an_upstream_that_answers_404_is_unavailable_and_the_log_says_404() {
    let web = Server::start(|mut stream| {
        let _ = stream.read(&mut [0; 4096]);
        let _ = stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
    });
    let proxy = Proxy::between("mqtt", &web.url("ws"));
    expect_unavailable(&proxy);
    assert!(proxy.program.stderr.contain("404"));
}

#[test]
fn an_upstream_that_accepts_and_says_nothing_is_given_up_in_time() {
    let silent = Server::silent();
    for scheme in ["mqtts", "ws"] {
        let url = silent.url(scheme);
        let proxy =
            Proxy::new().listen("mqtt://127.0.0.1:0").upstream(&url).arguments(&["--dial-timeout", "1"]);
        expect_unavailable(&proxy.start());
    }
}

/// An untrusted certificate is no upstream, unless `--insecure` says so.
#[test]
fn the_certificate_of_an_upstream_is_verified() {
    let mosquitto = Mosquitto::start();
    for kind in [Kind::Tls, Kind::Wss] {
        let url = mosquitto.url(kind);
        let proxy = Proxy::between("mqtt", &url);
        expect_unavailable(&proxy);
        assert!(proxy.program.stderr.contain("certificate"), "the log says why");

        let other = mosquitto.certificates.file("other-ca.pem");
        let proxy = Proxy::new().listen("mqtt://127.0.0.1:0").upstream(&url);
        expect_unavailable(&proxy.argument("--upstream-cafile").argument(other).start());

        let proxy = Proxy::new().listen("mqtt://127.0.0.1:0").upstream(&url).argument("--insecure").start();
        assert_eq!(enter(&proxy, V3_1_1, "trusting").1, Some(packets::connack(V3_1_1)));
    }
}

#[test]
fn a_client_certificate_is_presented_to_an_upstream_that_wants_one() {
    // mosquitto takes the listener's options by position: these apply to a listener of their own.
    let certificates = Certificates::new();
    let port = free_port();
    let file = |name: &str| certificates.file(name).display().to_string();
    let _mosquitto = Mosquitto::with(&format!(
        "listener {port} 127.0.0.1\ncafile {}\ncertfile {}\nkeyfile {}\nrequire_certificate true\n",
        file("ca.pem"),
        file("server.pem"),
        file("server.key")
    ));
    let proxy = |certificate: Option<&str>| {
        let mut proxy =
            Proxy::new().listen("mqtt://127.0.0.1:0").upstream(&format!("mqtts://localhost:{port}"));
        proxy = proxy.argument("--upstream-cafile").argument(file("ca.pem"));
        if let Some(name) = certificate {
            proxy = proxy.argument("--upstream-cert").argument(file(&format!("{name}.pem")));
            proxy = proxy.argument("--upstream-key").argument(file(&format!("{name}.key")));
        }
        proxy.start()
    };
    assert_eq!(enter(&proxy(Some("client")), V3_1_1, "known").1, Some(packets::connack(V3_1_1)));
    for certificate in [None, Some("stranger")] {
        let (mut stream, first) = enter(&proxy(certificate), V3_1_1, "unknown");
        assert!(first.is_none_or(|connack| connack[3] == 3), "refused");
        read_to_close(&mut stream).unwrap();
    }
}

// --- several upstreams

#[test]
fn another_upstream_takes_over_from_one_that_is_down() {
    let broker = Server::broker();
    let down = format!("mqtt://127.0.0.1:{}", free_port());
    for order in [[&down, &broker.url("mqtt")], [&broker.url("mqtt"), &down]] {
        let proxy = Proxy::new().listen("mqtt://127.0.0.1:0").upstream(order[0]).upstream(order[1]).start();
        for i in 0..20 {
            let (_stream, connack) = enter(&proxy, V5, &format!("client{i}"));
            assert_eq!(connack, Some(packets::connack(V5)), "client {i}");
        }
    }
}

#[test]
fn a_client_id_always_goes_to_the_same_upstream_and_all_are_used() {
    let brokers = [Server::broker(), Server::broker(), Server::broker()];
    let proxy = brokers
        .iter()
        .fold(Proxy::new().listen("mqtt://127.0.0.1:0"), |p, b| p.upstream(&b.url("mqtt")))
        .start();
    let counts = || brokers.each_ref().map(Server::accepted);
    for _ in 0..10 {
        enter(&proxy, V3_1_1, "always the same");
    }
    let mut first = counts();
    first.sort_unstable();
    assert_eq!(first, [0, 0, 10]);
    for i in 0..60 {
        enter(&proxy, V3_1_1, &format!("client{i}"));
    }
    assert!(counts().iter().all(|&n| n >= 5), "{:?}", counts());
}

#[test]
fn an_upstream_that_comes_back_is_used_again() {
    let port = free_port();
    let proxy = Proxy::between("mqtt", &format!("mqtt://127.0.0.1:{port}"));
    expect_unavailable(&proxy);
    let _mosquitto = Mosquitto::with(&format!("listener {port} 127.0.0.1\n"));
    let back = || enter(&proxy, V3_1_1, "patient").1 == Some(packets::connack(V3_1_1));
    assert!(eventually(SOON * 3, back));
}

// --- by way of others

/// A proxy of the kind that HTTP clients use, for which every name is this machine; tells the head of each request.
fn connect_proxy() -> (Server, mpsc::Receiver<String>) {
    let (tell, told) = mpsc::channel();
    let tell = Mutex::new(tell);
    let server = Server::start(move |mut client| {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") && matches!(client.read(&mut byte), Ok(1)) {
            head.push(byte[0]);
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        let target = head.split(' ').nth(1).unwrap_or_default();
        let port = target.rsplit(':').next().and_then(|port| port.parse::<u16>().ok()).unwrap_or_default();
        tell.lock().unwrap().send(head).unwrap();
        let _ = client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n");
        couple(client, TcpStream::connect(("127.0.0.1", port)).unwrap());
    });
    (server, told)
}

fn couple(client: TcpStream, server: TcpStream) {
    let copy = |mut from: TcpStream, mut to: TcpStream| {
        let _ = from.set_read_timeout(None);
        let _ = std::io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Write);
    };
    let (from, to) = (server.try_clone().unwrap(), client.try_clone().unwrap());
    thread::spawn(move || copy(from, to));
    copy(client, server);
}

#[test]
fn an_upstream_is_reached_through_an_http_proxy() {
    let mosquitto = Mosquitto::start();
    let (tunnel, told) = connect_proxy();
    for kind in [Kind::Tcp, Kind::Tls, Kind::Ws, Kind::Wss] {
        let proxy = Proxy::new()
            .listen("mqtt://127.0.0.1:0")
            .tls(&mosquitto.certificates)
            .upstream(&mosquitto.url(kind));
        let way = format!("http://name:secret@{}", tunnel.address());
        let proxy = proxy.arguments(&["--upstream-proxy", &way]).start();
        assert_eq!(enter(&proxy, V3_1_1, "tunneled").1, Some(packets::connack(V3_1_1)), "{kind:?}");
        let head = told.recv_timeout(SOON).unwrap();
        let target = crate::support::address(&mosquitto.url(kind));
        assert!(head.starts_with(&format!("CONNECT {target} HTTP/1.1\r\n")), "{head}");
        assert!(head.contains("Basic bmFtZTpzZWNyZXQ="), "credentials of the proxy's URL: {head}");
        assert!(!proxy.program.stderr.all().concat().contains("secret"), "credentials are never logged");
    }
}

/// The usual variables, and their exceptions. A name that only the tunnel can resolve shows which way was taken.
#[test]
fn an_upstream_is_reached_through_the_proxy_of_the_environment() {
    let mosquitto = Mosquitto::start();
    let (tunnel, told) = connect_proxy();
    let way = format!("http://{}", tunnel.address());
    let port = mosquitto.ws().port();
    let start = |no_proxy: &str| {
        Proxy::new()
            .listen("mqtt://127.0.0.1:0")
            .upstream(&format!("ws://broker.invalid:{port}/mqtt"))
            .environment("http_proxy", &way)
            .environment("all_proxy", &way)
            .environment("no_proxy", no_proxy)
            .start()
    };
    let proxy = start("elsewhere.invalid");
    assert_eq!(enter(&proxy, V3_1_1, "tunneled").1, Some(packets::connack(V3_1_1)));
    let head = told.recv_timeout(SOON).expect("the tunnel was used");
    assert!(head.starts_with(&format!("CONNECT broker.invalid:{port} HTTP/1.1\r\n")), "{head}");
    for exempt in ["broker.invalid", ".invalid", "x, broker.invalid", "*"] {
        expect_unavailable(&start(exempt));
        assert!(told.try_recv().is_err(), "the tunnel was used in spite of no_proxy={exempt}");
    }
}

#[test]
fn an_upstream_is_reached_through_socks_5() {
    let mosquitto = Mosquitto::start();
    let target = mosquitto.tcp();
    let socks = Server::start(move |mut client| {
        let mut greeting = [0; 2];
        client.read_exact(&mut greeting).unwrap();
        client.read_exact(&mut vec![0; usize::from(greeting[1])]).unwrap();
        assert_eq!(greeting[0], 5);
        client.write_all(&[5, 0]).unwrap();
        let mut request = [0; 4];
        client.read_exact(&mut request).unwrap();
        assert_eq!(request[..3], [5, 1, 0]);
        let length = match request[3] {
            1 => 4,
            4 => 16,
            _ => {
                let mut length = [0];
                client.read_exact(&mut length).unwrap();
                usize::from(length[0])
            }
        };
        client.read_exact(&mut vec![0; length + 2]).unwrap();
        client.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).unwrap();
        couple(client, TcpStream::connect(target).unwrap());
    });
    let proxy = Proxy::new().listen("mqtt://127.0.0.1:0").upstream(&mosquitto.url(Kind::Tcp));
    let proxy = proxy.arguments(&["--upstream-proxy", &socks.url("socks5")]).start();
    assert_eq!(enter(&proxy, V3_1_1, "tunneled").1, Some(packets::connack(V3_1_1)));
    assert_eq!(socks.accepted(), 1);
}

#[test]
fn a_tunnel_that_is_refused_is_unavailable_and_logged() {
    let refusing = Server::start(|mut stream| {
        let _ = stream.read(&mut [0; 4096]);
        let _ = stream.write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n");
    });
    let proxy = Proxy::new().listen("mqtt://127.0.0.1:0").upstream("mqtt://127.0.0.1:1883");
    let proxy = proxy.arguments(&["--upstream-proxy", &refusing.url("http")]).start();
    expect_unavailable(&proxy);
    assert!(proxy.program.stderr.contain("407"));
}

/// What an upstream sees of the upgrade request: path, query, subprotocol and further headers.
#[test]
fn the_upgrade_request_to_an_upstream_has_the_url_and_the_headers() {
    let heads = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&heads);
    let web = Server::start(move |mut stream| {
        let mut head = vec![0; 4096];
        let n = stream.read(&mut head).unwrap_or(0);
        seen.lock().unwrap().push(String::from_utf8_lossy(&head[..n]).into_owned());
    });
    let url = format!("ws://{}/a/path?token=b%20c", web.address());
    let proxy = Proxy::new().listen("mqtt://127.0.0.1:0").upstream(&url);
    let proxy = proxy.arguments(&[
        "--upstream-header",
        "X-Api-Key: 1234",
        "--upstream-header",
        "Origin: https://me.example",
    ]);
    expect_unavailable(&proxy.start());
    let heads = heads.lock().unwrap();
    let head = heads.first().expect("a request");
    assert!(head.starts_with("GET /a/path?token=b%20c HTTP/1.1\r\n"), "{head}");
    let lower = head.to_ascii_lowercase();
    for line in [
        &format!("host: {}\r\n", web.address()),
        "upgrade: websocket\r\n",
        "connection: upgrade\r\n",
        "sec-websocket-version: 13\r\n",
        "sec-websocket-protocol: mqtt\r\n",
        "x-api-key: 1234\r\n",
        "origin: https://me.example\r\n",
    ] {
        assert!(lower.contains(line), "{line:?} in {head}");
    }
}

/// The PROXY protocol is expected where the listener says so, and nothing else is let in.
#[test]
fn a_listener_with_the_proxy_protocol_takes_version_1_and_2_and_refuses_none() {
    let broker = Server::broker();
    let proxy = Proxy::new().listen("mqtt://127.0.0.1:0").upstream(&broker.url("mqtt"));
    let proxy = proxy.argument("--proxy-protocol").start();
    let v1 = b"PROXY TCP4 192.0.2.7 192.0.2.8 40000 1883\r\n".to_vec();
    let v1_unknown = b"PROXY UNKNOWN\r\n".to_vec();
    let mut v2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0C".to_vec();
    v2.extend([192, 0, 2, 7, 192, 0, 2, 8, 0x9C, 0x40, 0x07, 0x5B]);
    let v2_local = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0".to_vec();
    for header in [v1, v1_unknown, v2, v2_local] {
        let mut client = dial_tcp(proxy.address());
        let mut bytes = header.clone();
        bytes.extend(packets::connect(V3_1_1, "behind"));
        for byte in bytes {
            client.write_all(&[byte]).unwrap();
        }
        assert_eq!(packets::read(&mut client), Some(packets::connack(V3_1_1)), "{header:02x?}");
    }
    for bytes in [packets::connect(V3_1_1, "bare"), b"PROXY TCP4 nonsense\r\n".to_vec(), vec![b'P'; 300]] {
        let mut client = dial_tcp(proxy.address());
        client.write_all(&bytes).unwrap();
        assert!(read_to_close(&mut client).unwrap().is_empty());
    }
}
