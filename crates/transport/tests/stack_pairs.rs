//! Client and server stacks face to face: every transport, tunnel and load balancer, any split of the bytes.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod face_to_face;

use std::sync::OnceLock;

use face_to_face::{
    Authority, Between, Side, Signed, exchange, http_tunnel, socks_tunnel, trusting, with_tls, with_websocket,
};
use mqway_transport::{ClientOptions, ServerOptions, Stage};
use proptest::prelude::*;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Transport {
    Tcp,
    Tls,
    Ws,
    Wss,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Direct,
    Http,
    Socks,
}

const PROXY_V1: &[u8] = b"PROXY TCP4 192.0.2.1 192.0.2.2 40000 1883\r\n";
const PROXY_V2: &[u8] =
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x14\xc0\0\x02\x01\xc0\0\x02\x02\x9c\x40\x07\x5btlvstlvs";

fn certificates() -> &'static (Authority, Signed) {
    static MADE: OnceLock<(Authority, Signed)> = OnceLock::new();
    MADE.get_or_init(|| {
        let authority = Authority::new("authority");
        let signed = authority.sign("broker.test");
        (authority, signed)
    })
}

fn options(transport: Transport) -> (ServerOptions, ClientOptions) {
    let (mut server, mut client) = match transport {
        Transport::Tcp | Transport::Ws => (ServerOptions::default(), ClientOptions::default()),
        Transport::Tls | Transport::Wss => {
            let (authority, signed) = certificates();
            with_tls(&signed.server(), &trusting(authority))
        }
    };
    if matches!(transport, Transport::Ws | Transport::Wss) {
        with_websocket(&mut server, &mut client);
    }
    (server, client)
}

fn connect(transport: Transport, way: Way, preface: &[u8], sizes: &[usize]) -> (Side, Side, Between) {
    let (mut server, mut client) = options(transport);
    let mut between = Between { preface: preface.to_vec(), ..Between::default() };
    server.proxy_protocol = !preface.is_empty();
    match way {
        Way::Direct => {}
        Way::Http => http_tunnel(&mut client, &mut between),
        Way::Socks => socks_tunnel(&mut client, &mut between),
    }
    let mut server = Side::server(&server);
    let mut client = Side::client(&client);
    exchange(&mut client, &mut server, &mut between, sizes);
    (client, server, between)
}

fn any_transport() -> impl Strategy<Value = Transport> {
    prop::sample::select(vec![Transport::Tcp, Transport::Tls, Transport::Ws, Transport::Wss])
}

fn any_way() -> impl Strategy<Value = Way> {
    prop::sample::select(vec![Way::Direct, Way::Http, Way::Socks])
}

fn any_preface() -> impl Strategy<Value = &'static [u8]> {
    prop::sample::select(vec![&b""[..], PROXY_V1, PROXY_V2])
}

fn any_sizes() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(prop_oneof![Just(1usize), 1usize..20, 1usize..3000, Just(usize::MAX)], 1..6)
}

/// Packets with their bytes, and whether they are sent in pieces of some size.
fn any_packets() -> impl Strategy<Value = Vec<(Vec<u8>, Option<usize>)>> {
    let packet = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..10),
        prop::collection::vec(any::<u8>(), 100..200),
        (any::<u8>(), 20_000usize..90_000).prop_map(|(byte, length)| vec![byte; length]),
    ];
    prop::collection::vec((packet, prop::option::of(1usize..20_000)), 0..6)
}

fn send(side: &mut Side, packets: &[(Vec<u8>, Option<usize>)]) -> Vec<u8> {
    for (packet, pieces) in packets {
        match pieces {
            None => side.send(packet),
            Some(size) => {
                side.stack.begin_packet(packet.len(), &mut side.plain);
                for piece in packet.chunks(*size) {
                    side.stack.send_piece(piece, &mut side.plain);
                    side.flush();
                }
                side.flush();
            }
        }
    }
    packets.iter().flat_map(|(packet, _)| packet.iter().copied()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn what_is_sent_arrives(
        transport in any_transport(),
        way in any_way(),
        preface in any_preface(),
        sizes in any_sizes(),
        from_client in any_packets(),
        from_server in any_packets(),
    ) {
        let (mut client, mut server, mut between) = connect(transport, way, preface, &sizes);
        // Without any layer nobody has to say anything first; the load balancer does so with the first bytes.
        if transport != Transport::Tcp || preface.is_empty() {
            prop_assert!(client.opened && server.opened, "{} {}", client.error(), server.error());
        }
        let sent = send(&mut client, &from_client);
        exchange(&mut client, &mut server, &mut between, &sizes);
        prop_assert!(server.data == sent); // [MQTT-4.2.0-1]
        if !server.opened {
            return Ok(());
        }
        let sent = send(&mut server, &from_server);
        exchange(&mut client, &mut server, &mut between, &sizes);
        prop_assert!(client.data == sent);

        client.close();
        exchange(&mut client, &mut server, &mut between, &sizes);
        prop_assert_eq!(server.ended, transport != Transport::Tcp);
        prop_assert!(!client.stack.awaits_peer_close());
        server.close();
        exchange(&mut client, &mut server, &mut between, &sizes);
        prop_assert_eq!(client.ended, transport != Transport::Tcp);
        prop_assert!(client.error.is_none() && server.error.is_none());
    }
}

#[test]
fn facts_tell_how_the_connection_came_to_be() {
    let (_, server, _) = connect(Transport::Wss, Way::Socks, PROXY_V2, &[100]);
    let facts = server.facts.unwrap();
    assert_eq!(facts.peer, Some("192.0.2.1:40000".parse().unwrap()));
    let tls = facts.tls.unwrap();
    assert_eq!((tls.version, tls.server_name.as_deref()), ("TLSv1.3", Some("broker.test")));
    assert!(tls.cipher.starts_with("TLS13_"), "{}", tls.cipher);
    assert!(tls.peer_certificates.is_empty());
    let http = facts.http.unwrap();
    assert_eq!((http.path.as_str(), http.query.as_deref()), ("/mqtt", Some("token=x")));
    assert_eq!(http.subprotocol.as_deref(), Some("mqtt"));
}

#[test]
fn forwarding_headers_count_from_listed_peers_only() {
    let with_header = |trusted: &str, preface: &[u8]| {
        let (mut server, mut client) = options(Transport::Ws);
        server.trusted_forwarders = trusted.parse().unwrap();
        server.proxy_protocol = !preface.is_empty();
        let plain =
            mqway_transport::websocket::ClientOptions::new("broker.test", 80, false, "/mqtt").unwrap();
        let header = plain.header("X-Forwarded-For", "6.6.6.6, 198.51.100.1").unwrap();
        client.websocket = Some(std::sync::Arc::new(header));
        let mut between = Between { preface: preface.to_vec(), ..Between::default() };
        let (mut server, mut client) = (Side::server(&server), Side::client(&client));
        exchange(&mut client, &mut server, &mut between, &[1000]);
        server.facts.unwrap().peer.unwrap().to_string()
    };
    assert_eq!(with_header("", b""), "10.0.0.9:5000");
    assert_eq!(with_header("10.0.0.0/8", b""), "198.51.100.1:0");
    // The address of the PROXY header is the one that has to be listed then.
    assert_eq!(with_header("10.0.0.0/8", PROXY_V1), "192.0.2.1:40000");
    assert_eq!(with_header("192.0.2.0/24", PROXY_V1), "198.51.100.1:0");
}

#[test]
fn a_gate_judges_an_upgrade_by_all_that_is_known_of_it() {
    use mqway_transport::websocket::Refused;
    use mqway_transport::{Gate, Stack};

    let (mut server, _) = options(Transport::Ws);
    server.trusted_forwarders = "10.0.0.0/8".parse().unwrap();
    server.gate = Some(Gate::new(|facts| {
        assert_eq!(facts.peer.unwrap().ip().to_string(), "198.51.100.1");
        match facts.http.as_ref().and_then(|http| http.query.as_deref()) {
            Some("token=good") => Ok(()),
            Some(_) => Err(Refused::forbidden("Another one.")),
            None => Err(Refused::unauthorized("A token, please.")),
        }
    }));
    let server = std::sync::Arc::new(server);
    let answer_to = |path: &str| {
        let mut stack = Stack::server(&server, Some("10.0.0.9:5000".parse().unwrap()));
        let mut request = format!(
            "GET {path} HTTP/1.1\r\nHost: broker.test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             X-Forwarded-For: 198.51.100.1\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n"
        )
        .into_bytes();
        let mut answer = Vec::new();
        let opened =
            stack.receive(&mut request, &mut Vec::new(), &mut answer).map(|received| received.opened);
        (String::from_utf8(answer).unwrap(), opened)
    };
    let (answer, opened) = answer_to("/mqtt?token=good");
    assert!(answer.starts_with("HTTP/1.1 101 ") && opened.unwrap(), "{answer}");
    for (path, status) in [("/mqtt", 401), ("/mqtt?token=bad", 403)] {
        let (answer, opened) = answer_to(path);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")) && !answer.contains("101"), "{answer}");
        assert!(opened.unwrap_err().to_string().contains(&status.to_string()));
        // RFC 9110 §15.5.2
        assert_eq!(answer.contains("\r\nWWW-Authenticate: "), status == 401);
    }
}

#[test]
fn a_ping_inside_a_packet_in_pieces_is_answered_after_it() {
    let (client, mut server, _) = connect(Transport::Ws, Way::Direct, b"", &[5000]);
    let packet: Vec<u8> = (0..1 << 20).map(|i| (i % 251) as u8).collect();
    server.stack.begin_packet(packet.len(), &mut server.plain);
    for (index, piece) in packet.chunks(50_000).enumerate() {
        if index == 3 {
            // Masked pings of a client's; of those that wait, the latest is answered (RFC 6455 §5.5.3).
            let before = server.wire.len();
            server.receive(b"\x89\x81\0\0\0\0a\x89\x82\0\0\0\0hi");
            assert_eq!(server.wire.len(), before, "nothing may come between the pieces");
        }
        server.stack.send_piece(piece, &mut server.plain);
        server.flush();
    }
    let header = [&[0x82, 127][..], &(1u64 << 20).to_be_bytes()].concat();
    assert_eq!(server.wire[..10], header);
    assert!(server.wire[10..10 + packet.len()] == packet);
    assert_eq!(server.wire[10 + packet.len()..], *b"\x8a\x02hi");
    assert!(client.error.is_none() && server.error.is_none());
}

#[test]
fn a_large_packet_in_pieces_arrives_over_every_transport_and_tunnel() {
    let packet: Vec<u8> = (0..1 << 20).map(|i| (i % 251) as u8).collect();
    for transport in [Transport::Tcp, Transport::Tls, Transport::Ws, Transport::Wss] {
        for way in [Way::Direct, Way::Http, Way::Socks] {
            let (mut client, mut server, mut between) = connect(transport, way, b"", &[5000]);
            for (from, to) in [(0, 1), (1, 0)] {
                let sides = &mut [&mut client, &mut server];
                sides[from].stack.begin_packet(packet.len(), &mut sides[from].plain);
                for piece in packet.chunks(50_000) {
                    sides[from].stack.send_piece(piece, &mut sides[from].plain);
                    sides[from].flush();
                    let [client, server] = sides;
                    exchange(client, server, &mut between, &[70_000, 1]);
                }
                assert!(sides[to].data == packet);
            }
            assert!(client.error.is_none() && server.error.is_none());
        }
    }
}

#[test]
fn close_waits_for_the_end_of_a_packet_in_pieces() {
    for transport in [Transport::Ws, Transport::Wss] {
        let (mut client, mut server, mut between) = connect(transport, Way::Direct, b"", &[5000]);
        server.stack.begin_packet(10, &mut server.plain);
        server.stack.send_piece(b"01234", &mut server.plain);
        client.close();
        exchange(&mut client, &mut server, &mut between, &[5000]);
        assert!(server.ended);
        assert_eq!(server.stack.stage(), Stage::Closing);
        assert!(client.stack.awaits_peer_close());
        server.stack.send_piece(b"56789", &mut server.plain);
        assert_eq!(server.stack.stage(), Stage::Closed);
        server.flush();
        exchange(&mut client, &mut server, &mut between, &[5000]);
        assert_eq!(client.data, b"0123456789");
        assert!(client.ended && !client.stack.awaits_peer_close());
        assert_eq!(client.stack.stage(), Stage::Closed);
    }
}

#[test]
fn a_half_closed_connection_still_receives() {
    for transport in [Transport::Tcp, Transport::Tls] {
        let (mut client, mut server, mut between) = connect(transport, Way::Direct, b"", &[5000]);
        client.send(b"last words");
        client.close();
        client.send(b"nothing after them");
        exchange(&mut client, &mut server, &mut between, &[7]);
        assert_eq!(server.data, b"last words");
        server.send(b"answer");
        exchange(&mut client, &mut server, &mut between, &[7]);
        assert_eq!(client.data, b"answer");
        assert_eq!(client.stack.stage(), Stage::Closing);
        server.close();
        exchange(&mut client, &mut server, &mut between, &[7]);
        client.stack.receive_eof().unwrap();
        assert_eq!(client.stack.stage(), Stage::Closed);
    }
}

#[test]
fn data_before_a_violation_are_delivered() {
    let (mut client, mut server, mut between) = connect(Transport::Ws, Way::Direct, b"", &[5000]);
    client.send(b"good");
    client.wire.extend(b"\x82\x03bad"); // not masked
    exchange(&mut client, &mut server, &mut between, &[5000]);
    assert_eq!(server.data, b"good");
    assert!(server.ended);
    assert_eq!(server.error(), "WebSocket: the client broke a rule: a client sent an unmasked frame");
    assert!(client.ended, "the close frame came through");
}
