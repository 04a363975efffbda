//! The handshake of both roles: every answer a server gives, every thing a client finds wrong.
#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

use std::sync::Arc;

use mqway_transport::websocket::{
    Accepted, ClientHandshake, ClientOptions, HandshakeError, InvalidOption, Origins, Refused, Role,
    ServerHandshake, ServerOptions,
};

const REQUEST: &str = "GET /mqtt HTTP/1.1\r\nHost: broker.test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Protocol: mqtt\r\n\r\n";

/// What a server with these options makes of a request.
fn serve_with(options: ServerOptions, request: &[u8]) -> (Result<Option<Accepted>, Refused>, String) {
    let mut out = Vec::new();
    let result = ServerHandshake::new(Arc::new(options)).feed(request, &mut out);
    (result, String::from_utf8(out).unwrap())
}

fn serve(request: &str) -> (Result<Option<Accepted>, Refused>, String) {
    serve_with(ServerOptions::default(), request.as_bytes())
}

/// The status that a request is refused with; checks the response's form.
fn refusal(request: &str) -> (u16, String) {
    refusal_with(ServerOptions::default(), request)
}

fn refusal_with(options: ServerOptions, request: &str) -> (u16, String) {
    let (result, response) = serve_with(options, request.as_bytes());
    let refused = result.expect_err("refused");
    let (head, body) = response.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with(&format!("HTTP/1.1 {} ", refused.status())), "{head}");
    assert!(head.contains("\r\nConnection: ") && head.contains("close\r\n"), "{head}");
    assert!(head.contains(&format!("\r\nContent-Length: {}", body.len())), "{head}");
    assert!(body.len() > 10 && body.is_ascii(), "{body:?}");
    (refused.status(), response)
}

/// The request with one line replaced (or removed, if `new` is empty, or added, if `old` is).
fn request_with(old: &str, new: &str) -> String {
    let old = if old.is_empty() { "\r\n\r\n".to_owned() } else { format!("{old}\r\n") };
    let new = match (old.as_str(), new) {
        ("\r\n\r\n", new) => format!("\r\n{new}\r\n\r\n"),
        (_, "") => String::new(),
        (_, new) => format!("{new}\r\n"),
    };
    assert!(REQUEST.contains(&old), "{old}");
    REQUEST.replacen(&old, &new, 1)
}

#[test]
fn s4_2_2_a_good_request_is_granted() {
    let (result, response) = serve(REQUEST);
    let accepted = result.unwrap().unwrap();
    assert_eq!(
        response,
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n"
    );
    assert_eq!(accepted.consumed, REQUEST.len());
    assert_eq!(accepted.connection.role(), Role::Server);
    assert_eq!(accepted.facts.subprotocol.as_deref(), Some("mqtt"));
}

#[test]
fn frames_behind_the_request_are_not_consumed() {
    let bytes = [REQUEST.as_bytes(), b"\x82\x80\x00\x00\x00\x00"].concat();
    for cut in 0..bytes.len() {
        let mut handshake = ServerHandshake::new(Arc::default());
        let mut out = Vec::new();
        let consumed = match handshake.feed(&bytes[..cut], &mut out).unwrap() {
            Some(accepted) => accepted.consumed,
            None => {
                assert!(out.is_empty());
                cut + handshake.feed(&bytes[cut..], &mut out).unwrap().unwrap().consumed
            }
        };
        assert_eq!(consumed, REQUEST.len());
    }
}

#[test]
fn facts_tell_path_query_and_header_fields() {
    let request = request_with("GET /mqtt HTTP/1.1", "GET /mqtt?token=a%20b&x HTTP/1.1")
        .replace("\r\n\r\n", "\r\nX-Forwarded-For: 192.0.2.1\r\nCookie: \u{e9}=1\r\n\r\n");
    let facts = serve(&request).0.unwrap().unwrap().facts;
    assert_eq!((facts.path.as_str(), facts.query.as_deref()), ("/mqtt", Some("token=a%20b&x")));
    let field =
        |name: &str| facts.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
    assert_eq!(field("x-forwarded-for").unwrap(), b"192.0.2.1");
    assert_eq!(field("cookie").unwrap(), "\u{e9}=1".as_bytes());
}

#[test]
fn lists_and_names_are_compared_in_any_case() {
    // RFC 6455 §4.2.1
    for (old, new) in [
        ("Upgrade: websocket", "uPGRADE: h2c, WebSocket"),
        ("Upgrade: websocket", "Upgrade: h2c\r\nUpgrade: websocket"),
        ("Connection: Upgrade", "connection:keep-alive,  uPgrade ,"),
        ("Connection: Upgrade", "Connection: keep-alive\r\nConnection: Upgrade"),
        ("Host: broker.test", "HOST:broker.test:8083"),
        ("", "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"),
        ("", "Content-Length: 0"),
        ("GET /mqtt HTTP/1.1", "\r\nGET /mqtt HTTP/1.1"),
        ("GET /mqtt HTTP/1.1", "GET http://broker.test/mqtt HTTP/1.1"),
    ] {
        let (result, response) = serve(&request_with(old, new));
        assert!(result.unwrap().is_some(), "{new}");
        assert!(!response.contains("Extensions"));
    }
    let bare_line_feeds = REQUEST.replace("\r\n", "\n");
    assert!(serve(&bare_line_feeds).0.unwrap().is_some());
}

#[test]
fn s4_2_1_missing_or_bad_fields_are_refused() {
    for (old, new, status) in [
        ("Upgrade: websocket", "", 426),
        ("Upgrade: websocket", "Upgrade: websockets", 426),
        ("Upgrade: websocket", "Upgrade: h2c", 426),
        ("Connection: Upgrade", "", 400),
        ("Connection: Upgrade", "Connection: keep-alive", 400),
        ("Connection: Upgrade", "Connection: Upgraded", 400),
        ("Sec-WebSocket-Version: 13", "", 426),
        ("Sec-WebSocket-Version: 13", "Sec-WebSocket-Version: 8", 426),
        ("Sec-WebSocket-Version: 13", "Sec-WebSocket-Version: 013", 426),
        ("Sec-WebSocket-Version: 13", "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Version: 8", 426),
        ("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "", 400),
        ("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Key:", 400),
        ("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ", 400),
        ("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQAA", 400),
        ("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Key: !GhlIHNhbXBsZSBub25jZQ==", 400),
        ("", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", 400),
        ("Host: broker.test", "", 400),
        ("Host: broker.test", "Host:", 400),
        ("Host: broker.test", "Host: a\r\nHost: b", 400),
        ("", "Content-Length: 5", 400),
        ("", "Transfer-Encoding: chunked", 400),
        ("", "Origin: https://a\r\nOrigin: https://b", 400),
        ("GET /mqtt HTTP/1.1", "GET /mqtt HTTP/1.0", 400),
        ("GET /mqtt HTTP/1.1", "GET /mqtt HTTP/2.0", 505),
        ("GET /mqtt HTTP/1.1", "GET mqtt HTTP/1.1", 400),
        ("GET /mqtt HTTP/1.1", "GET * HTTP/1.1", 400),
        ("GET /mqtt HTTP/1.1", "GET /mqtt", 400),
        ("GET /mqtt HTTP/1.1", "POST /mqtt HTTP/1.1", 405),
        ("GET /mqtt HTTP/1.1", "CONNECT broker.test:80 HTTP/1.1", 405),
        ("GET /mqtt HTTP/1.1", "GET / HTTP/1.1", 404),
        ("GET /mqtt HTTP/1.1", "GET /mqtt/ HTTP/1.1", 404),
        ("GET /mqtt HTTP/1.1", "GET /mqttx HTTP/1.1", 404),
        ("GET /mqtt HTTP/1.1", "GET http://broker.test HTTP/1.1", 404),
        ("", "bad header", 400),
        ("", "bad name : x", 400),
        ("", "nul: \0", 400),
    ] {
        assert_eq!(refusal(&request_with(old, new)).0, status, "{old} -> {new}");
    }
}

#[test]
fn s4_4_a_wrong_version_is_told_the_right_one() {
    let (status, response) = refusal(&request_with("Sec-WebSocket-Version: 13", "Sec-WebSocket-Version: 25"));
    assert_eq!(status, 426);
    assert!(response.contains("\r\nSec-WebSocket-Version: 13\r\n"));
    assert!(response.contains("\r\nUpgrade: websocket\r\n"));
}

#[test]
fn a_plain_get_is_told_what_this_is() {
    let (status, response) = refusal("GET /mqtt HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(status, 426);
    assert!(response.contains("\r\nUpgrade: websocket\r\n"));
    assert!(response.contains("\r\nConnection: upgrade, close\r\n"));
    assert!(response.contains("WebSocket endpoint"));
    let (_, response) = refusal("POST /mqtt HTTP/1.1\r\nHost: h\r\n\r\n");
    assert!(response.contains("\r\nAllow: GET\r\n"));
}

#[test]
fn subprotocols() {
    let chosen = |offer: &str| {
        let new = if offer.is_empty() { String::new() } else { format!("Sec-WebSocket-Protocol: {offer}") };
        let (result, response) = serve(&request_with("Sec-WebSocket-Protocol: mqtt", &new));
        result.map(|accepted| {
            let chosen = accepted.expect("complete").facts.subprotocol;
            let answered =
                response.split("Sec-WebSocket-Protocol: ").nth(1).map(|rest| rest.trim().to_owned());
            assert_eq!(answered, chosen, "the answer is what was chosen");
            chosen
        })
    };
    let name = |name: &str| Ok(Some(name.to_owned()));
    assert_eq!(chosen("mqtt"), name("mqtt")); // [MQTT-6.0.0-4]
    assert_eq!(chosen("mqttv3.1"), name("mqttv3.1"));
    assert_eq!(chosen("mqttv3.1, mqtt"), name("mqttv3.1"));
    assert_eq!(chosen("foo, mqtt"), name("mqtt"));
    assert_eq!(chosen("foo\r\nSec-WebSocket-Protocol: mqtt"), name("mqtt"));
    assert_eq!(chosen("foo,,mqtt,"), name("mqtt"));
    assert_eq!(chosen(""), Ok(None));
    for unknown in ["foo", "MQTT", "mqtt5", "mqtt foo", "\"mqtt\"", "foo;bar"] {
        assert_eq!(chosen(unknown).unwrap_err().status(), 400, "{unknown}");
    }
}

#[test]
fn mqtt_6_0_0_3_a_strict_listener_wants_a_subprotocol() {
    // [MQTT-6.0.0-3]
    let strict = || ServerOptions { strict_subprotocol: true, ..ServerOptions::default() };
    let none = request_with("Sec-WebSocket-Protocol: mqtt", "");
    let (status, response) = refusal_with(strict(), &none);
    assert!(status == 400 && response.contains("mqtt, mqttv3.1"));
    assert!(serve_with(strict(), REQUEST.as_bytes()).0.unwrap().is_some());
}

#[test]
fn a_listener_without_subprotocols_and_paths_takes_any() {
    let any = ServerOptions { subprotocols: Vec::new(), paths: Vec::new(), ..ServerOptions::default() };
    let request = request_with("GET /mqtt HTTP/1.1", "GET /anything?x HTTP/1.1");
    let (result, response) = serve_with(any, request.as_bytes());
    assert_eq!(result.unwrap().unwrap().facts.subprotocol, None);
    assert!(!response.contains("Protocol:"));
}

#[test]
fn s10_2_origins() {
    let options = |origins| ServerOptions { origins, ..ServerOptions::default() };
    let listed = || {
        let patterns = ["https://app.example.org", "https://*.example.org", "null"];
        options(Origins::Listed(patterns.iter().map(|pattern| pattern.parse().unwrap()).collect()))
    };
    let from = |origin: &str| request_with("", &format!("Origin: {origin}"));
    for good in ["https://app.example.org", "https://x.example.org", "null"] {
        assert!(serve_with(listed(), from(good).as_bytes()).0.unwrap().is_some(), "{good}");
    }
    for bad in ["https://app.example.org.evil.test", "https://evilexample.org", "http://app.example.org"] {
        assert_eq!(refusal_with(listed(), &from(bad)).0, 403, "{bad}");
    }
    assert!(serve_with(listed(), REQUEST.as_bytes()).0.unwrap().is_some(), "no browser");
    assert!(serve(&from("https://anywhere.test")).0.unwrap().is_some(), "any by default");
    assert!(serve_with(options(Origins::Same), from("http://broker.test").as_bytes()).0.unwrap().is_some());
    assert_eq!(refusal_with(options(Origins::Same), &from("http://other.test")).0, 403);
}

#[test]
fn heads_over_the_limit_are_refused_before_they_are_complete() {
    let small = || ServerOptions { max_header: 300, ..ServerOptions::default() };
    assert_eq!(refusal_with(small(), &request_with("", &format!("X: {}", "x".repeat(200)))).0, 431);
    let mut handshake = ServerHandshake::new(Arc::new(small()));
    let mut out = Vec::new();
    let mut fed = 0;
    let refused = loop {
        match handshake.feed(b"GET /mqtt HTTP/1.1 ", &mut out) {
            Ok(accepted) => assert!(accepted.is_none()),
            Err(refused) => break refused,
        }
        fed += 1;
    };
    assert_eq!((refused.status(), fed), (431, 300 / 19));
    // A long tail of frames behind a short head is no large head.
    let with_frames = [REQUEST.as_bytes(), &[0; 5000]].concat();
    assert!(serve_with(small(), &with_frames).0.unwrap().is_some());
    let many: String = (0..101).map(|index| format!("\r\nX{index}: y")).collect();
    assert_eq!(refusal(&REQUEST.replacen("\r\n\r\n", &format!("{many}\r\n\r\n"), 1)).0, 431);
}

#[test]
fn what_is_no_http_is_refused_at_its_first_byte() {
    for (bytes, word) in
        [(&b"\x16\x03\x01"[..], "TLS"), (b"\x10\x0c\0\x04MQTT", "MQTT"), (b"\x82", "not HTTP")]
    {
        let (result, response) = serve_with(ServerOptions::default(), bytes);
        assert_eq!(result.unwrap_err().status(), 400);
        assert!(response.contains(word), "{response}");
    }
    let flood = serve_with(ServerOptions::default(), &[0x16; 20_000]).0;
    assert_eq!(flood.unwrap_err().status(), 400, "too large, but no head either");
    assert_eq!(refusal("\r\n\r\nGET / HTTP/1.1\r\n\r\n").0, 400);
}

#[test]
fn a_slow_request_is_answered_408() {
    let mut handshake = ServerHandshake::new(Arc::default());
    let mut out = Vec::new();
    assert!(handshake.feed(b"GET /mqtt HT", &mut out).unwrap().is_none());
    let refused = handshake.timed_out(&mut out);
    assert_eq!(refused.status(), 408);
    assert!(refused.to_string().contains("12 bytes"), "{refused}");
    let response = String::from_utf8(out).unwrap();
    assert!(response.starts_with("HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n"));
}

#[test]
fn a_path_in_an_answer_cannot_forge_lines() {
    // Control characters never get through the parser; what does is plain text.
    let (_, response) = refusal(&request_with("GET /mqtt HTTP/1.1", "GET /<script>\" HTTP/1.1"));
    assert!(response.contains("Content-Type: text/plain; charset=utf-8\r\n"));
}

fn options() -> ClientOptions {
    ClientOptions::new("broker.test", 80, false, "/mqtt").unwrap()
}

fn request(options: ClientOptions) -> String {
    let mut out = Vec::new();
    ClientHandshake::start(Arc::new(options), &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn s4_1_the_request() {
    let text = request(options());
    let (head, rest) = text.split_once("Sec-WebSocket-Key: ").unwrap();
    assert_eq!(
        head,
        "GET /mqtt HTTP/1.1\r\nHost: broker.test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    );
    let (key, rest) = rest.split_once("\r\n").unwrap();
    assert!(key.len() == 24 && key.ends_with("=="));
    // [MQTT-6.0.0-3]
    assert_eq!(rest, "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n");
    assert_ne!(text, request(options()), "a key of its own");
}

#[test]
fn the_host_field_has_brackets_and_a_port_where_needed() {
    for (host, port, secure, expected) in [
        ("h", 80, false, "h"),
        ("h", 443, true, "h"),
        ("h", 443, false, "h:443"),
        ("h", 8083, true, "h:8083"),
        ("::1", 80, false, "[::1]"),
        ("[2001:db8::2]", 8080, false, "[2001:db8::2]:8080"),
        ("fe80::1%eth0", 80, false, "[fe80::1]"),
        ("192.0.2.7", 81, false, "192.0.2.7:81"),
    ] {
        let text = request(ClientOptions::new(host, port, secure, "/").unwrap());
        assert!(text.contains(&format!("\r\nHost: {expected}\r\n")), "{text}");
    }
}

#[test]
fn options_shape_the_request() {
    let options = options()
        .header("Authorization", "Bearer abc")
        .and_then(|options| options.header("host", "virtual.test"))
        .and_then(|options| options.header("X-Empty", ""))
        .and_then(|options| options.origin("https://page.test"))
        .and_then(|options| options.subprotocols(["mqttv3.1", "mqtt"]))
        .unwrap();
    let text = request(options);
    assert!(text.contains("\r\nHost: virtual.test\r\n") && text.matches("ost: ").count() == 1);
    assert!(text.contains("\r\nSec-WebSocket-Protocol: mqttv3.1, mqtt\r\n"));
    assert!(
        text.ends_with("\r\nOrigin: https://page.test\r\nAuthorization: Bearer abc\r\nX-Empty: \r\n\r\n")
    );
    let none: [&str; 0] = [];
    assert!(!request(self::options().subprotocols(none).unwrap()).contains("Protocol"));
}

#[test]
fn nothing_smuggles_a_line_into_the_request() {
    use InvalidOption::*;
    let text = |text: &str| text.to_owned();
    assert_eq!(options().header("X", "a\r\nY: b"), Err(HeaderValue(text("X"))));
    assert_eq!(options().header("X", "a\nb"), Err(HeaderValue(text("X"))));
    assert_eq!(options().header("X", "a\0b"), Err(HeaderValue(text("X"))));
    assert_eq!(options().header("X: y\r\nZ", "a"), Err(HeaderName(text("X: y\r\nZ"))));
    assert_eq!(options().header("", "a"), Err(HeaderName(text(""))));
    for name in ["upgrade", "Connection", "sec-websocket-key", "Sec-WebSocket-Extensions", "Content-Length"] {
        assert_eq!(options().header(name, "a"), Err(HeaderReserved(text(name))));
    }
    for path in ["", "mqtt", "/a b", "/a\r\nX: y", "/a#b", "/ä"] {
        assert_eq!(ClientOptions::new("h", 80, false, path), Err(Path(text(path))));
    }
    for host in ["", "a b", "a\r\nX: y", "a/b", "u@h", "[]"] {
        assert_eq!(ClientOptions::new(host, 80, false, "/"), Err(Host(text(host))));
    }
    assert_eq!(options().subprotocols(["a b"]), Err(Subprotocol(text("a b"))));
    assert_eq!(options().subprotocols(["a", "a"]), Err(Subprotocol(text("a"))));
    assert_eq!(options().origin("https://a\r\nX: y"), Err(Origin(text("https://a\r\nX: y"))));
    let error = options().header("X", "a\r\nY: b").unwrap_err();
    assert_eq!(error.to_string(), "the value of header field 'X' has a control character in it");
}

/// The good response to the request that a client with `options` sends, and its handshake.
fn response_to(options: ClientOptions) -> (ClientHandshake, String) {
    let mut out = Vec::new();
    let client = ClientHandshake::start(Arc::new(options), &mut out).unwrap();
    let server = ServerOptions { paths: Vec::new(), ..ServerOptions::default() };
    let (result, response) = serve_with(server, &out);
    assert!(result.unwrap().is_some());
    (client, response)
}

/// What a client finds wrong in the good response with `old` replaced by `new`.
fn complaint(old: &str, new: &str) -> HandshakeError {
    let (mut client, response) = response_to(options());
    assert!(response.contains(old));
    client.feed(response.replacen(old, new, 1).as_bytes()).expect_err("an error")
}

#[test]
fn a_good_response_connects_and_frames_behind_it_are_kept() {
    for cut in 0..140 {
        let options = ClientOptions::new("h", 80, false, "/mqtt?x=1").unwrap();
        let (mut client, response) = response_to(options);
        let bytes = [response.as_bytes(), b"\x82\x00"].concat();
        let connected = match client.feed(&bytes[..cut]).unwrap() {
            Some(_) => panic!("not complete"),
            None => client.feed(&bytes[cut..]).unwrap().unwrap(),
        };
        assert_eq!(cut + connected.consumed, response.len());
        assert_eq!(connected.connection.role(), Role::Client);
        let facts = connected.facts;
        assert_eq!((facts.path.as_str(), facts.query.as_deref()), ("/mqtt", Some("x=1")));
        assert_eq!(facts.subprotocol.as_deref(), Some("mqtt"));
        assert!(facts.headers.iter().any(|(name, _)| name == "sec-websocket-accept"));
    }
}

#[test]
fn s4_1_what_the_client_must_validate() {
    use HandshakeError::*;
    assert_eq!(complaint("Upgrade: websocket\r\n", ""), NotUpgraded("Upgrade: websocket"));
    assert_eq!(complaint("Connection: Upgrade\r\n", ""), NotUpgraded("Connection: Upgrade"));
    assert_eq!(complaint("Sec-WebSocket-Accept", "X-Accept"), NotUpgraded("Sec-WebSocket-Accept"));
    assert_eq!(complaint("Sec-WebSocket-Accept: ", "Sec-WebSocket-Accept: A"), WrongAccept);
    assert_eq!(complaint("Protocol: mqtt", "Protocol: soap"), UnaskedSubprotocol("soap".into()));
    assert_eq!(complaint("Protocol: mqtt", "Protocol: MQTT"), UnaskedSubprotocol("MQTT".into()));
    let extended = complaint("\r\n\r\n", "\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n");
    assert_eq!(extended, UnaskedExtension("permessage-deflate".into()));
    assert!(matches!(complaint("HTTP/1.1", "HTTP/1.0"), Malformed(_)));
    assert!(matches!(complaint("\r\n\r\n", "\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n"), Malformed(_)));
    assert!(matches!(complaint("Upgrade: websocket", "Upgrade websocket"), Malformed(_)));
}

#[test]
fn a_server_that_chooses_no_subprotocol_is_taken_unless_one_is_required() {
    for required in [false, true] {
        let (mut client, response) = response_to(options().require_subprotocol(required));
        let silent = response.replace("Sec-WebSocket-Protocol: mqtt\r\n", "");
        match client.feed(silent.as_bytes()) {
            Ok(connected) => assert!(!required && connected.unwrap().facts.subprotocol.is_none()),
            Err(error) => assert!(required && error == HandshakeError::NoSubprotocol("mqtt".into())),
        }
    }
    // None offered, none may be chosen.
    let none: [&str; 0] = [];
    let (mut client, response) = response_to(options().subprotocols(none).unwrap());
    let chosen = response.replace("\r\n\r\n", "\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n");
    assert!(client.feed(response.as_bytes()).is_ok());
    let (mut client, _) = response_to(options().subprotocols(none).unwrap());
    assert!(client.feed(chosen.as_bytes()).is_err());
}

#[test]
fn interim_responses_are_passed_over() {
    let (mut client, response) = response_to(options());
    let bytes = format!("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n{response}");
    assert_eq!(client.feed(bytes.as_bytes()).unwrap().unwrap().consumed, bytes.len());
    let (mut client, response) = response_to(options());
    let bytes = format!("HTTP/1.1 103 Early Hints\r\n\r\n{response}");
    let connected = bytes.as_bytes().chunks(7).find_map(|piece| client.feed(piece).unwrap());
    assert!(connected.is_some(), "in pieces too");
    // They count towards the limit.
    let (mut client, _) = response_to(options());
    let endless = "HTTP/1.1 100 Continue\r\n\r\n".repeat(1000);
    assert!(matches!(client.feed(endless.as_bytes()), Err(HandshakeError::HeaderTooLarge { .. })));
}

#[test]
fn errors_say_what_really_happened() {
    let told = |answer: &str| {
        let mut client = ClientHandshake::start(Arc::new(options()), &mut Vec::new()).unwrap();
        client.feed(answer.as_bytes()).expect_err("an error").to_string()
    };
    let prefix = "server answers the WebSocket handshake with HTTP ";
    assert_eq!(
        told("HTTP/1.1 404 Not Found\r\nContent-Length: 14\r\n\r\nno such\r\n thing"),
        format!("{prefix}404 Not Found: no such thing")
    );
    assert_eq!(
        told("HTTP/1.0 302 Found\r\nLocation: https://elsewhere.test/mqtt\r\n\r\n"),
        format!("{prefix}302 Found, redirects to https://elsewhere.test/mqtt")
    );
    assert_eq!(
        told("HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"x\"\r\n\r\n"),
        format!("{prefix}401 Unauthorized, wants authentication: Basic realm=\"x\"")
    );
    assert_eq!(told("HTTP/1.1 200\r\n\r\n\u{1b}[31m"), format!("{prefix}200: \\u{{1b}}[31m"));
    assert_eq!(
        told("SSH-2.0-OpenSSH\r\n"),
        "server does not answer the WebSocket handshake with HTTP but with \"SSH-2.0-OpenSSH\\r\\n\""
    );
    assert_eq!(
        told("\u{15}\u{3}\u{1}"),
        "server answers the WebSocket handshake in TLS; should the URL begin with wss://?"
    );
    assert!(told(&format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(20_000))).contains("more than 16384 bytes"));
    let mut client = ClientHandshake::start(Arc::new(options()), &mut Vec::new()).unwrap();
    assert!(client.feed(b"HTTP/1.1 200 OK\r\nX: ").unwrap().is_none());
    assert!(matches!(client.feed(&[b'x'; 20_000]), Err(HandshakeError::HeaderTooLarge { limit: 16_384 })));
    assert!(told(&"x".repeat(20_000)).contains("with HTTP but with \"xxx"));
    let long = told(&format!("HTTP/1.1 500 Oh\r\n\r\n{}", "y".repeat(5000)));
    assert!(long.len() < 400, "{long}");
}

#[test]
fn a_close_in_the_middle_is_named() {
    let mut client = ClientHandshake::start(Arc::new(options()), &mut Vec::new()).unwrap();
    assert_eq!(client.closed().to_string(), "server closed during the WebSocket handshake");
    assert!(client.feed(b"HTTP/1.1 1").unwrap().is_none());
    assert_eq!(
        client.closed().to_string(),
        "server closed during the WebSocket handshake, 10 bytes into its answer"
    );
}
