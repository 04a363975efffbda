use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::url::Scheme;

fn tunnel(proxy: &str, host: &str) -> Tunnel {
    Tunnel { proxy: Proxy::parse(proxy).unwrap(), host: host.into(), port: 8883 }
}

fn started(proxy: &str, host: &str) -> (Handshake, Vec<u8>) {
    let mut out = Vec::new();
    let handshake = Handshake::start(&tunnel(proxy, host), &mut out).unwrap();
    (handshake, out)
}

/// Feeds the answers one after the other, each in pieces of `size` bytes; the last one must decide.
fn run(proxy: &str, answers: &[&[u8]], size: usize) -> Result<(Vec<Vec<u8>>, usize), TunnelError> {
    let (mut handshake, first) = started(proxy, "broker.example");
    let mut sent = vec![first];
    for answer in answers {
        let mut rest = *answer;
        let mut out = Vec::new();
        while !rest.is_empty() {
            let (used, open) = handshake.feed(&rest[..size.min(rest.len())], &mut out)?;
            rest = &rest[used..];
            if open {
                return Ok((sent, rest.len()));
            }
            assert!(used > 0, "an unfinished handshake takes everything");
        }
        sent.push(out);
    }
    panic!("still waiting");
}

fn error(proxy: &str, answers: &[&[u8]]) -> String {
    let error = run(proxy, answers, 1).unwrap_err();
    assert_eq!(run(proxy, answers, usize::MAX).unwrap_err(), error);
    error.to_string()
}

#[test]
fn connect_asks_for_the_server_and_leaves_its_bytes() {
    let (_, request) = started("http://proxy:3128", "broker.example");
    assert_eq!(
        String::from_utf8(request).unwrap(),
        "CONNECT broker.example:8883 HTTP/1.1\r\nHost: broker.example:8883\r\n\r\n"
    );
    let (_, request) = started("http://u:p%20w@proxy", "2001:db8::1");
    assert_eq!(
        String::from_utf8(request).unwrap(),
        "CONNECT [2001:db8::1]:8883 HTTP/1.1\r\nHost: [2001:db8::1]:8883\r\n\
         Proxy-Authorization: Basic dTpwIHc=\r\n\r\n"
    );
    for size in [1, 7, 1000] {
        let answer = b"HTTP/1.1 200 Connection established\r\nVia: x\r\nContent-Length: 5\r\n\r\nserver";
        assert_eq!(run("http://p", &[answer], size).unwrap().1, 6);
        let interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 200 OK\r\n\r\n\x20\x02";
        assert_eq!(run("http://p", &[interim], size).unwrap().1, 2);
    }
}

#[test]
fn connect_says_why_there_is_no_tunnel() {
    for (proxy, answer, why) in [
        ("http://p", "HTTP/1.1 407 X\r\n\r\n", "wants a user name and a password (HTTP 407)"),
        ("http://u:p@p", "HTTP/1.1 407 X\r\n\r\n", "does not accept user name and password (HTTP 407)"),
        ("http://p", "HTTP/1.1 403 X\r\n\r\n", "does not allow a tunnel to broker.example:8883 (HTTP 403)"),
        ("http://p", "HTTP/1.1 405 X\r\n\r\n", "not a proxy for CONNECT"),
        ("http://p", "HTTP/1.1 502 X\r\n\r\n", "cannot reach broker.example:8883 (HTTP 502)"),
        ("http://p", "HTTP/1.1 302 X\r\n\r\n", "refused a tunnel to broker.example:8883 (HTTP 302)"),
        ("http://p", "SSH-2.0-OpenSSH\r\n", "not HTTP"),
    ] {
        let error = error(proxy, &[answer.as_bytes()]);
        assert!(error.contains(why), "{error}");
    }
    let endless = [b"HTTP/1.1 200 OK\r\nX: ".to_vec(), vec![b'x'; MAX_RESPONSE]].concat();
    assert!(error("http://p", &[&endless]).contains("longer than"));
}

#[test]
fn socks_without_password() {
    // RFC 1928 §3, §4, §6
    let reply = b"\x05\0\0\x01\x7f\0\0\x01\x10\x20server";
    for size in [1, 3, 100] {
        let (sent, left) = run("socks5://p", &[b"\x05\0", reply], size).unwrap();
        assert_eq!(sent[0], b"\x05\x01\0");
        assert_eq!(sent[1], b"\x05\x01\0\x03\x0ebroker.example\x22\xb3");
        assert_eq!(left, 6);
        let by_name = b"\x05\0\0\x03\x04name\x10\x20s";
        assert_eq!(run("socks5h://p", &[b"\x05\0", by_name], size).unwrap().1, 1);
        let v6 = [b"\x05\0\0\x04".as_slice(), &[0; 18], b"se"].concat();
        assert_eq!(run("socks5h://p", &[b"\x05\0", &v6], size).unwrap().1, 2);
    }
}

#[test]
fn socks_with_password() {
    // RFC 1929 §2
    let (sent, _) =
        run("socks5://u:pw@p", &[b"\x05\x02", b"\x01\0", b"\x05\0\0\x01\0\0\0\0\0\0"], 1).unwrap();
    assert_eq!(sent[0], b"\x05\x02\0\x02");
    assert_eq!(sent[1], b"\x01\x01u\x02pw");
    assert_eq!(sent[2][..4], *b"\x05\x01\0\x03");
}

#[test]
fn socks_sends_addresses_as_addresses() {
    for (host, request) in [
        ("192.0.2.1", b"\x05\x01\0\x01\xc0\0\x02\x01\x22\xb3".to_vec()),
        ("::1", [b"\x05\x01\0\x04".as_slice(), &[0; 15], b"\x01\x22\xb3"].concat()),
    ] {
        let (mut handshake, _) = started("socks5://p", host);
        let mut out = Vec::new();
        assert_eq!(handshake.feed(b"\x05\0", &mut out), Ok((2, false)));
        assert_eq!(out, request);
    }
}

#[test]
fn socks_says_why_there_is_no_tunnel() {
    let answers: [(&str, &[&[u8]], &str); 9] = [
        ("socks5://p", &[b"\x05\xff"], "wants a user name and a password"),
        ("socks5://u:p@p", &[b"\x05\xff"], "accepts no user name and password"),
        ("socks5://p", &[b"\x05\x02"], "which we did not offer"),
        ("socks5://p", &[b"HTTP"], "not a SOCKS5 proxy: it answered version 72"),
        ("socks5://u:p@p", &[b"\x05\x02", b"\x01\x01"], "does not accept user name and password"),
        ("socks5://p", &[b"\x05\0", b"\x05\x05\0\x01\0\0\0\0\0\0"], "connection refused (code 5)"),
        ("socks5://p", &[b"\x05\0", b"\x05\x02\0\0"], "its rules do not allow it"),
        ("socks5://p", &[b"\x05\0", b"\x05\0\0\x09"], "address type 9"),
        ("socks5://p", &[b"\x05\0", b"\x05\x04\0\x01\0\0\0\0\0\0"], "broker.example:8883: host unreachable"),
    ];
    for (proxy, answers, why) in answers {
        let error = error(proxy, answers);
        assert!(error.contains(why), "{error}");
    }
    assert!(
        run("socks5://p", &[b"\x05\0\x05\0"], 4).unwrap_err().to_string().contains("before it was asked")
    );
}

#[test]
fn what_cannot_be_asked_is_refused_before_anything_is_sent() {
    let start = |tunnel: &Tunnel| Handshake::start(tunnel, &mut Vec::new()).unwrap_err();
    for host in ["", "a b", "a\r\nX: y", "a/b", &"x".repeat(256)] {
        let error = start(&Tunnel { host: host.into(), ..tunnel("http://p", "h") });
        assert!(matches!(error, TunnelError::Unaskable(_)), "{host:?}");
    }
    assert!(matches!(start(&tunnel("http://a%3Ab:c@p", "h")), TunnelError::Unaskable(_)));
    let long = format!("socks5://u:{}@p", "x".repeat(256));
    assert!(matches!(start(&tunnel(&long, "h")), TunnelError::Unaskable(_)));
}

#[test]
fn proxies_are_read_from_text() {
    for (text, shown) in [
        ("http://proxy", "http://proxy:80"),
        ("http://u:p@proxy:3128/", "http://proxy:3128"),
        ("proxy:3128", "http://proxy:3128"),
        ("socks5://[::1]", "socks5://[::1]:1080"),
        ("SOCKS5H://proxy:1", "socks5://proxy:1"),
    ] {
        assert_eq!(Proxy::parse(text).unwrap().to_string(), shown);
    }
    for (text, why) in [
        ("https://proxy", "TLS to the proxy"),
        ("socks4://proxy", "SOCKS 4"),
        ("ftp://proxy", "unknown kind"),
        ("http://", "no host"),
        ("http://u:secret@p:0", "port 0"),
        ("http://p/path", "cannot stand in"),
    ] {
        let error = Proxy::parse(text).unwrap_err().to_string();
        assert!(error.contains(why) && !error.contains("secret"), "{error}");
    }
    let debug = format!("{:?}", Proxy::parse("http://u:secret@p").unwrap());
    assert!(!debug.contains("secret"));
}

fn by_environment(variables: &[(&str, &str)], scheme: Scheme, host: &str) -> Option<String> {
    let variables: HashMap<_, _> = variables.iter().copied().collect();
    let variable = |name: &str| variables.get(name).map(|value| (*value).to_owned());
    proxy_from_environment(variable, scheme, host, 8883).unwrap().map(|proxy| proxy.host)
}

#[test]
fn each_scheme_has_its_variables() {
    let all = [
        ("https_proxy", "a"),
        ("HTTPS_PROXY", "b"),
        ("http_proxy", "c"),
        ("HTTP_PROXY", "d"),
        ("all_proxy", "socks5://e"),
        ("ALL_PROXY", "f"),
    ];
    let chosen = |skip: usize, scheme| by_environment(&all[skip..], scheme, "h");
    assert_eq!(chosen(0, Scheme::Wss).as_deref(), Some("a"));
    assert_eq!(chosen(1, Scheme::Tls).as_deref(), Some("b"));
    assert_eq!(chosen(2, Scheme::Tls).as_deref(), Some("e"));
    assert_eq!(chosen(0, Scheme::Ws).as_deref(), Some("c"));
    assert_eq!(chosen(3, Scheme::Ws).as_deref(), Some("d"));
    assert_eq!(chosen(0, Scheme::Tcp).as_deref(), Some("e"));
    assert_eq!(chosen(5, Scheme::Tcp).as_deref(), Some("f"));
    assert_eq!(chosen(0, Scheme::Unix), None);
    assert_eq!(
        by_environment(&[("https_proxy", " "), ("ALL_PROXY", "f")], Scheme::Tls, "h").as_deref(),
        Some("f")
    );
    let cgi = [("HTTP_PROXY", "d"), ("REQUEST_METHOD", "GET")];
    assert_eq!(by_environment(&cgi, Scheme::Ws, "h"), None);
}

#[test]
fn no_proxy_lists_exceptions() {
    let exempt = |list: &str, host: &str| {
        by_environment(&[("all_proxy", "p"), ("NO_PROXY", list)], Scheme::Tls, host).is_none()
    };
    for (list, host) in [
        ("*", "h"),
        ("example.org", "example.org"),
        ("example.org", "a.b.Example.ORG"),
        (".example.org", "a.example.org"),
        (".example.org", "example.org"),
        ("*.example.org", "a.example.org"),
        ("x, example.org.", "example.org"),
        ("x example.org:8883", "example.org"),
        ("10.0.0.0/8", "10.1.1.1"),
        ("192.0.2.1", "192.0.2.1"),
        ("192.0.2.1:8883", "192.0.2.1"),
        ("2001:db8::/32", "2001:db8::1"),
        ("[2001:db8::1]:8883", "2001:db8::1"),
        ("2001:db8::1", "2001:db8::1"),
        ("", "localhost"),
        ("", "127.0.0.2"),
        ("", "::1"),
    ] {
        assert!(exempt(list, host), "{list} {host}");
    }
    for (list, host) in [
        ("", "h"),
        ("example.org", "badexample.org"),
        ("example.org:80", "example.org"),
        ("10.0.0.0/8", "11.1.1.1"),
        ("10.0.0.0/8", "h"),
        ("192.0.2.1:80", "192.0.2.1"),
        (".", "h"),
        ("localhost.example", "localhost2"),
    ] {
        assert!(!exempt(list, host), "{list} {host}");
    }
}

#[test]
fn an_unusable_variable_is_named() {
    let variable = |name: &str| (name == "HTTPS_PROXY").then(|| "ftp://u:secret@x".to_owned());
    let error = proxy_from_environment(variable, Scheme::Wss, "h", 1).unwrap_err().to_string();
    assert!(error.contains("HTTPS_PROXY") && !error.contains("secret"), "{error}");
}

proptest! {
    #[test]
    fn random_answers_end_or_wait(
        socks: bool,
        start in prop::sample::select(vec![&b""[..], b"\x05\0", b"\x05\0\x05\0\0", b"\x05\x02\x01\0", b"HTTP/1.1 ", b"HTTP/1.1 200 OK\r\n"]),
        noise in prop::collection::vec(any::<u8>(), 0..300),
        size in 1usize..50,
    ) {
        let (mut handshake, mut out) = started(if socks { "socks5://u:p@h" } else { "http://h" }, "b");
        let bytes = [start, &noise].concat();
        for piece in bytes.chunks(size) {
            match handshake.feed(piece, &mut out) {
                Ok((used, false)) => prop_assert_eq!(used, piece.len()),
                Ok((used, true)) => { prop_assert!(used <= piece.len()); break }
                Err(_) => break,
            }
        }
    }
}
