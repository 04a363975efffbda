//! MQTT over WebSocket, on the wire: each row of the table of what is sent and what is accepted.

use crate::support::mqway::{Proxy, Running};
use crate::support::packets::{self, V3_1_1, V5};
use crate::support::server::Server;
use crate::support::websocket::{
    self, BINARY, CLOSE, CONTINUATION, MQTT, PING, PONG, Response, TEXT, WebSocket, exchange, frame, request,
};
use crate::support::{SOON, dial_tcp, expect_close};
use std::io::Write;
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

const FIN: u8 = 0x80;

/// A `ws://` listener with flags, in front of that upstream.
fn listener(flags: &[&str]) -> (Running, Server) {
    let broker = Server::broker();
    let proxy = Proxy::new().listen("ws://127.0.0.1:0/mqtt").upstream(&broker.url("mqtt")).arguments(flags);
    (proxy.start(), broker)
}

fn connect() -> Vec<u8> {
    packets::connect(V3_1_1, "raw")
}

/// Sends bytes that contain a CONNECT, expects the CONNACK.
fn expect_connack(ws: &mut WebSocket, bytes: &[u8]) {
    ws.send(bytes);
    assert_eq!(ws.packet(), packets::connack(V3_1_1));
}

/// Sends bytes that violate RFC 6455, expects a close frame with this code and the end.
#[track_caller]
fn expect_closed(proxy: &Running, bytes: &[u8], code: u16) {
    let mut ws = WebSocket::connect(proxy.address());
    expect_connack(&mut ws, &websocket::binary(&connect()));
    ws.send(bytes);
    ws.expect_closed(code);
}

// --- frames that carry MQTT

/// [MQTT-6.0.0-1]
#[test]
fn a_text_frame_is_closed_with_1003() {
    let (proxy, _broker) = listener(&[]);
    let mut ws = WebSocket::connect(proxy.address());
    ws.send(&frame(FIN | TEXT, &connect()));
    ws.expect_closed(1003);
    expect_closed(&proxy, &frame(FIN | TEXT, &packets::PINGREQ), 1003);
}

/// [MQTT-6.0.0-2]
#[test]
fn a_packet_over_many_messages_is_put_together() {
    let (proxy, _broker) = listener(&[]);
    let mut ws = WebSocket::connect(proxy.address());
    for byte in connect() {
        ws.send(&websocket::binary(&[byte]));
    }
    assert_eq!(ws.packet(), packets::connack(V3_1_1));
}

#[test]
fn many_packets_in_one_message_are_taken_apart() {
    let (proxy, _broker) = listener(&[]);
    let mut ws = WebSocket::connect(proxy.address());
    let mut bytes = connect();
    bytes.extend(packets::PINGREQ);
    bytes.extend(packets::PINGREQ);
    ws.send(&websocket::binary(&bytes));
    assert_eq!(ws.packet(), packets::connack(V3_1_1));
    assert_eq!(ws.packet(), packets::PINGRESP);
    assert_eq!(ws.packet(), packets::PINGRESP);
}

#[test]
fn a_handshake_and_frames_that_come_byte_by_byte_are_understood() {
    let (proxy, _broker) = listener(&[]);
    let mut stream = dial_tcp(proxy.address());
    for byte in request("/mqtt", MQTT).as_bytes() {
        stream.write_all(&[*byte]).unwrap();
    }
    assert_eq!(websocket::read_response(&mut stream).status, 101);
    for byte in websocket::binary(&connect()) {
        stream.write_all(&[byte]).unwrap();
    }
    let mut head = [0; 6];
    std::io::Read::read_exact(&mut stream, &mut head).unwrap();
    assert_eq!(head, [FIN | BINARY, 4, 0x20, 2, 0, 0]);
}

/// The first frame may come with the request, in one segment.
#[test]
fn a_frame_right_behind_the_request_is_not_lost() {
    let (proxy, _broker) = listener(&[]);
    let mut stream = dial_tcp(proxy.address());
    let mut bytes = request("/mqtt", MQTT).into_bytes();
    bytes.extend(websocket::binary(&connect()));
    stream.write_all(&bytes).unwrap();
    assert_eq!(websocket::read_response(&mut stream).status, 101);
    let mut head = [0; 6];
    std::io::Read::read_exact(&mut stream, &mut head).unwrap();
    assert_eq!(head, [FIN | BINARY, 4, 0x20, 2, 0, 0]);
}

#[test]
fn fragments_with_pings_between_and_empty_frames_are_one_stream() {
    let (proxy, _broker) = listener(&[]);
    let mut ws = WebSocket::connect(proxy.address());
    let connect = connect();
    let (one, rest) = connect.split_at(3);
    let (two, three) = rest.split_at(5);
    ws.send(&websocket::binary(b""));
    ws.send(&frame(BINARY, one));
    ws.send(&frame(FIN | PING, b"between"));
    let pong = ws.frame().unwrap();
    assert_eq!(
        (pong.opcode, pong.payload.as_slice()),
        (PONG, &b"between"[..]),
        "answered inside the message"
    );
    ws.send(&frame(CONTINUATION, b""));
    ws.send(&frame(CONTINUATION, two));
    ws.send(&frame(FIN | PONG, b"unasked"));
    ws.send(&frame(FIN | CONTINUATION, three));
    assert_eq!(ws.packet(), packets::connack(V3_1_1));
}

#[test]
fn a_ping_is_answered_with_its_payload() {
    let (proxy, _broker) = listener(&[]);
    let mut ws = WebSocket::connect(proxy.address());
    for payload in [&b""[..], b"x", &[0xFF; 125]] {
        ws.send(&frame(FIN | PING, payload));
        let pong = ws.frame().unwrap();
        assert_eq!((pong.opcode, pong.payload.as_slice()), (PONG, payload));
    }
}

// --- the handshake

#[track_caller]
fn answer(proxy: &Running, request: &str) -> (Response, TcpStream) {
    let mut stream = dial_tcp(proxy.address());
    let response = exchange(&mut stream, request);
    (response, stream)
}

#[track_caller]
fn expect_refused(proxy: &Running, request: &str, statuses: &[u16]) -> Response {
    let (response, mut stream) = answer(proxy, request);
    assert!(statuses.contains(&response.status), "{statuses:?} expected: {}", response.text);
    assert!(crate::support::read_to_close(&mut stream).is_ok(), "closed after {}", response.status);
    response
}

fn offering(subprotocols: &str) -> String {
    request("/mqtt", &format!("Sec-WebSocket-Protocol: {subprotocols}\r\n"))
}

#[test]
fn the_subprotocol_is_one_that_was_offered() {
    let (proxy, _broker) = listener(&[]);
    for (offered, chosen) in [
        ("mqtt", &["mqtt"][..]),
        ("mqttv3.1", &["mqttv3.1"]),
        ("mqttv3.1, mqtt", &["mqtt", "mqttv3.1"]),
        ("mqtt,mqttv3.1", &["mqtt", "mqttv3.1"]),
        ("foo, mqtt", &["mqtt"]),
        ("foo\r\nSec-WebSocket-Protocol: mqtt", &["mqtt"]),
    ] {
        let (response, _stream) = answer(&proxy, &offering(offered));
        assert_eq!(response.status, 101, "{offered}: {}", response.text);
        let answered = response.header("Sec-WebSocket-Protocol");
        assert!(answered.is_some_and(|a| chosen.contains(&a)), "{offered}: {}", response.text);
    }
}

#[test]
fn no_subprotocol_is_answered_with_none() {
    let (proxy, _broker) = listener(&[]);
    let (response, _stream) = answer(&proxy, &request("/mqtt", ""));
    assert_eq!(response.status, 101, "{}", response.text);
    assert_eq!(response.header("Sec-WebSocket-Protocol"), None, "{}", response.text);
}

#[test]
fn only_unknown_subprotocols_are_refused_with_400() {
    let (proxy, _broker) = listener(&[]);
    expect_refused(&proxy, &offering("foo"), &[400]);
    expect_refused(&proxy, &offering("foo, mqttx, MQTT5"), &[400]);
}

#[test]
fn a_strict_listener_wants_a_subprotocol() {
    let (proxy, _broker) = listener(&["--strict-subprotocol"]);
    expect_refused(&proxy, &request("/mqtt", ""), &[400]);
    assert_eq!(answer(&proxy, &offering("mqtt")).0.status, 101);
}

#[test]
fn another_path_is_404() {
    let (proxy, _broker) = listener(&[]);
    for path in ["/", "/other", "/mqtt/", "/mqttx", "/mqtt/../x"] {
        expect_refused(&proxy, &request(path, MQTT), &[404]);
    }
    assert_eq!(answer(&proxy, &request("/mqtt?token=a%20b", MQTT)).0.status, 101, "a query is no other path");
}

#[test]
fn the_path_of_a_listener_is_the_one_in_its_url() {
    let broker = Server::broker();
    let proxy = Proxy::new().listen("ws://127.0.0.1:0/somewhere/else").upstream(&broker.url("mqtt")).start();
    assert_eq!(answer(&proxy, &request("/somewhere/else", MQTT)).0.status, 101);
    expect_refused(&proxy, &request("/mqtt", MQTT), &[404]);
}

#[test]
fn requests_that_are_no_upgrade_are_refused() {
    let (proxy, _broker) = listener(&[]);
    let good = request("/mqtt", MQTT);
    let without = |line: &str| {
        let bad = good.replace(line, "");
        assert_ne!(bad, good);
        bad
    };
    expect_refused(&proxy, &without("Upgrade: websocket\r\n"), &[400, 426]);
    expect_refused(&proxy, &without("Connection: Upgrade\r\n"), &[400, 426]);
    expect_refused(&proxy, &good.replace("Upgrade: websocket", "Upgrade: h2c"), &[400, 426]);
    expect_refused(&proxy, &good.replace("Connection: Upgrade", "Connection: keep-alive"), &[400, 426]);
    expect_refused(&proxy, &without(&format!("Sec-WebSocket-Key: {}\r\n", websocket::KEY)), &[400]);
    expect_refused(&proxy, &good.replace(websocket::KEY, "c2hvcnQ="), &[400]);
    expect_refused(&proxy, &good.replace(websocket::KEY, "not base64 at all!!!!!!!"), &[400]);
    expect_refused(&proxy, &without("Host: localhost\r\n"), &[400]);
    expect_refused(&proxy, &good.replace("GET ", "POST "), &[400, 405]);
    expect_refused(&proxy, &good.replace("HTTP/1.1", "HTTP/1.0"), &[400, 426, 505]);
    expect_refused(&proxy, "\x16\x03\x01 this is TLS\r\n\r\n", &[400]);
}

#[test]
fn header_names_and_tokens_are_compared_without_case() {
    let (proxy, _broker) = listener(&[]);
    let odd = format!(
        "GET /mqtt HTTP/1.1\r\nhOST: localhost\r\nupgrade: WebSocket\r\nCONNECTION: keep-alive, upgrade\r\n\
         sec-websocket-version: 13\r\nSEC-WEBSOCKET-KEY:  {} \r\nsec-websocket-protocol:mqtt\r\n\r\n",
        websocket::KEY
    );
    let (response, _stream) = answer(&proxy, &odd);
    assert_eq!(response.status, 101, "{}", response.text);
    assert_eq!(response.header("Sec-WebSocket-Accept"), Some(websocket::ACCEPT));
}

/// RFC 6455 §4.4
#[test]
fn another_version_of_websocket_is_426_with_the_one_that_is_known() {
    let (proxy, _broker) = listener(&[]);
    for version in ["8", "0", "14", "thirteen"] {
        let request = request("/mqtt", MQTT).replace("Version: 13", &format!("Version: {version}"));
        let response = expect_refused(&proxy, &request, &[426]);
        assert_eq!(response.header("Sec-WebSocket-Version"), Some("13"), "{}", response.text);
    }
}

#[test]
fn extensions_are_not_accepted() {
    let (proxy, _broker) = listener(&[]);
    let (response, _stream) = answer(
        &proxy,
        &request("/mqtt", "Sec-WebSocket-Extensions: permessage-deflate\r\nSec-WebSocket-Protocol: mqtt\r\n"),
    );
    assert_eq!(response.status, 101);
    assert_eq!(response.header("Sec-WebSocket-Extensions"), None, "{}", response.text);
}

#[test]
fn headers_too_large_are_431() {
    let (proxy, _broker) = listener(&[]);
    let mut stream = dial_tcp(proxy.address());
    let endless = format!("GET /mqtt HTTP/1.1\r\nHost: localhost\r\nX-Padding: {}", "x".repeat(200_000));
    let _ = stream.write_all(endless.as_bytes());
    assert_eq!(websocket::read_response(&mut stream).status, 431);

    let many: String = (0..5_000).map(|i| format!("X-{i}: y\r\n")).collect();
    let mut stream = dial_tcp(proxy.address());
    let _ = stream.write_all(request("/mqtt", &many).as_bytes());
    assert_eq!(websocket::read_response(&mut stream).status, 431);
}

#[test]
fn a_request_too_slow_is_408_and_closed() {
    let (proxy, _broker) = listener(&["--connect-timeout", "1"]);
    let begun = Instant::now();
    let mut stream = dial_tcp(proxy.address());
    stream.write_all(b"GET /mqtt HTTP/1.1\r\nHost: ").unwrap();
    assert_eq!(websocket::read_response(&mut stream).status, 408);
    crate::support::read_to_close(&mut stream).unwrap();
    assert!(begun.elapsed() < SOON, "after {:?}", begun.elapsed());
}

/// A byte now and then does not extend the time.
#[test]
fn a_request_that_drips_is_closed_in_time() {
    let (proxy, _broker) = listener(&["--connect-timeout", "1"]);
    let begun = Instant::now();
    let mut stream = dial_tcp(proxy.address());
    let dripping = request("/mqtt", MQTT).into_bytes();
    let closed = dripping.iter().any(|byte| {
        thread::sleep(Duration::from_millis(100));
        stream.write_all(&[*byte]).is_err()
    });
    assert!(closed, "{} bytes went through in {:?}", dripping.len(), begun.elapsed());
}

#[test]
fn an_open_websocket_without_connect_is_closed_in_time() {
    let (proxy, _broker) = listener(&["--connect-timeout", "1"]);
    let begun = Instant::now();
    let mut ws = WebSocket::connect(proxy.address());
    while ws.frame().is_some_and(|frame| frame.opcode != CLOSE) {}
    assert!(begun.elapsed() < SOON, "after {:?}", begun.elapsed());
}

// --- violations of RFC 6455

#[test]
fn an_unmasked_frame_is_closed_with_1002() {
    let (proxy, _broker) = listener(&[]);
    expect_closed(&proxy, &[FIN | BINARY, 2, 0xC0, 0], 1002);
    expect_closed(&proxy, &[FIN | PING, 0], 1002);
}

#[test]
fn reserved_bits_and_opcodes_are_closed_with_1002() {
    let (proxy, _broker) = listener(&[]);
    for bit in [0x40, 0x20, 0x10] {
        expect_closed(&proxy, &frame(FIN | bit | BINARY, &packets::PINGREQ), 1002);
        expect_closed(&proxy, &frame(FIN | bit | PING, b""), 1002);
    }
    for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
        expect_closed(&proxy, &frame(FIN | opcode, b""), 1002);
    }
}

#[test]
fn control_frames_in_pieces_or_too_long_are_closed_with_1002() {
    let (proxy, _broker) = listener(&[]);
    expect_closed(&proxy, &frame(PING, b"part"), 1002);
    expect_closed(&proxy, &frame(CLOSE, &1000_u16.to_be_bytes()), 1002);
    expect_closed(&proxy, &frame(FIN | PING, &[0; 126]), 1002);
    expect_closed(&proxy, &frame(FIN | PONG, &[0; 70_000]), 1002);
}

#[test]
fn fragments_out_of_order_are_closed_with_1002() {
    let (proxy, _broker) = listener(&[]);
    expect_closed(&proxy, &frame(CONTINUATION, &packets::PINGREQ), 1002);
    expect_closed(&proxy, &frame(FIN | CONTINUATION, &packets::PINGREQ), 1002);
    let mut twice = frame(BINARY, &packets::PINGREQ);
    twice.extend(frame(FIN | BINARY, &packets::PINGREQ));
    let mut ws = WebSocket::connect(proxy.address());
    expect_connack(&mut ws, &websocket::binary(&connect()));
    ws.send(&twice);
    let mut frame = ws.frame().unwrap();
    if frame.payload == packets::PINGRESP {
        frame = ws.frame().unwrap(); // the first piece held a whole packet
    }
    assert_eq!(frame.close_code(), 1002);
}

#[test]
fn a_close_that_says_nonsense_is_closed_with_1002() {
    let (proxy, _broker) = listener(&[]);
    expect_closed(&proxy, &frame(FIN | CLOSE, &[3]), 1002);
    for code in [0_u16, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999, 5000, 65535] {
        expect_closed(&proxy, &frame(FIN | CLOSE, &code.to_be_bytes()), 1002);
    }
}

#[test]
fn a_close_reason_that_is_no_utf_8_is_closed_with_1007() {
    let (proxy, _broker) = listener(&[]);
    for reason in [&b"\xC3\x28"[..], b"\xED\xA0\x80", b"\xF4\x90\x80\x80", b"cut \xE2\x82"] {
        let mut payload = 1000_u16.to_be_bytes().to_vec();
        payload.extend(reason);
        expect_closed(&proxy, &frame(FIN | CLOSE, &payload), 1007);
    }
}

#[test]
fn a_message_over_the_limit_is_closed_with_1009() {
    let (proxy, _broker) = listener(&[]);
    // FIN binary, masked, 64-bit length; only the header is sent.
    let claim = |length: u64| {
        let mut bytes = vec![FIN | BINARY, 0xFF];
        bytes.extend(length.to_be_bytes());
        bytes.extend([0; 4]);
        bytes
    };
    expect_closed(&proxy, &claim(1 << 40), 1009);
    expect_closed(&proxy, &claim((1 << 63) - 1), 1009);
    // RFC 6455 §5.2: the most significant bit must be 0.
    expect_closed(&proxy, &claim(u64::MAX), 1002);
}

// --- Origin

fn with_origin(origin: &str) -> String {
    request("/mqtt", &format!("Origin: {origin}\r\n{MQTT}"))
}

#[test]
fn any_origin_is_allowed_where_none_is_listed() {
    let (proxy, _broker) = listener(&[]);
    for origin in ["https://anywhere.example", "null", "http://localhost"] {
        assert_eq!(answer(&proxy, &with_origin(origin)).0.status, 101, "{origin}");
    }
}

#[test]
fn only_listed_origins_are_allowed_and_never_by_prefix() {
    let flags = ["--allow-origin", "https://app.example.org", "--allow-origin", "https://*.example.net"];
    let (proxy, _broker) = listener(&flags);
    for origin in ["https://app.example.org", "https://a.example.net", "https://a.b.example.net"] {
        assert_eq!(answer(&proxy, &with_origin(origin)).0.status, 101, "{origin}");
    }
    for origin in [
        "https://app.example.org.evil.example",
        "https://app.example.orgevil",
        "https://app.example.org:8443",
        "http://app.example.org",
        "https://evil.example/https://app.example.org",
        "https://evilexample.net",
        "https://a.example.net.evil.example",
        "https://evil.example#.example.net",
        "null",
        "",
    ] {
        expect_refused(&proxy, &with_origin(origin), &[403]);
    }
    assert_eq!(answer(&proxy, &request("/mqtt", MQTT)).0.status, 101, "no browser: no Origin");
}

#[test]
fn the_null_origin_can_be_listed() {
    let (proxy, _broker) = listener(&["--allow-origin", "null"]);
    assert_eq!(answer(&proxy, &with_origin("null")).0.status, 101);
    expect_refused(&proxy, &with_origin("https://app.example.org"), &[403]);
}

// --- the end

#[test]
fn a_close_is_echoed_and_the_socket_closed() {
    let (proxy, _broker) = listener(&[]);
    for payload in
        [&b""[..], &1000_u16.to_be_bytes(), &3000_u16.to_be_bytes(), b"\x03\xE8bye", b"\x0F\xA0own code"]
    {
        let mut ws = WebSocket::connect(proxy.address());
        expect_connack(&mut ws, &websocket::binary(&connect()));
        ws.send(&frame(FIN | CLOSE, payload));
        let echo = ws.frame().unwrap();
        let expected = payload.first_chunk().map_or(1005, |code| u16::from_be_bytes(*code));
        let code = echo.close_code();
        assert!(code == expected || (expected == 1005 && code == 1000), "{code} for {expected}");
        expect_close(&mut ws.stream);
    }
}

#[test]
fn an_mqtt_disconnect_ends_with_1000() {
    let (proxy, _broker) = listener(&[]);
    for level in packets::LEVELS {
        let mut ws = WebSocket::connect(proxy.address());
        ws.send(&websocket::binary(&packets::connect(level, "leaves")));
        ws.packet();
        ws.send(&websocket::binary(&packets::DISCONNECT));
        ws.expect_closed(1000);
    }
}

#[test]
fn a_shutdown_says_1001_and_disconnect_to_version_5() {
    let (mut proxy, _broker) = listener(&[]);
    let mut open = WebSocket::connect(proxy.address());
    let mut old = WebSocket::connect(proxy.address());
    expect_connack(&mut old, &websocket::binary(&connect()));
    let mut new = WebSocket::connect(proxy.address());
    new.send(&websocket::binary(&packets::connect(V5, "new")));
    new.packet();
    proxy.program.signal("TERM");
    let disconnect = new.packet();
    assert_eq!((disconnect[0], disconnect[2]), (0xE0, 0x8B), "server shutting down: {disconnect:02x?}");
    new.expect_closed(1001);
    old.expect_closed(1001);
    open.expect_closed(1001);
    let status = proxy.program.wait(SOON).expect("it ends");
    assert_eq!(status.code(), Some(0), "{status}");
}

/// A peer that does not answer a close frame is not waited for without end.
#[test]
fn the_wait_for_the_echo_of_a_close_is_bounded() {
    let (proxy, _broker) = listener(&[]);
    let mut ws = WebSocket::connect(proxy.address());
    expect_connack(&mut ws, &websocket::binary(&connect()));
    ws.send(&frame(FIN | TEXT, b"x"));
    assert_eq!(ws.frame().unwrap().close_code(), 1003);
    let begun = Instant::now();
    ws.stream.set_read_timeout(Some(SOON * 3)).unwrap();
    assert_eq!(ws.frame(), None, "closed without the echo");
    assert!(begun.elapsed() < SOON * 2, "after {:?}", begun.elapsed());
}
