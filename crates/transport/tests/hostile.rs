//! Bytes from people who mean no good: into every stage, in any split. Nothing panics, nothing is believed, and a
//! connection that broke a rule has ended.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod checks;

use checks::face_to_face::{Between, Side, exchange, socks_tunnel};
use checks::stages::{Options, SIDES, options, side, torment};
use mqway_transport::{ErrorKind, Stage};
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn noise_ends_in_an_error_or_waits(
        number in 0..SIDES,
        good in 0usize..3,
        noise in prop::collection::vec(any::<u8>(), 0..400),
        sizes in prop::collection::vec(prop_oneof![1usize..5, 1usize..500], 1..4),
    ) {
        let (side, start) = side(number);
        let start = &start[..start.len() * good / 2];
        torment(side, &[start, &noise].concat(), &sizes);
    }

    #[test]
    fn damage_never_opens_tls(at in 0usize..1200, change in 1u8.., sizes in prop::collection::vec(1usize..500, 1..4)) {
        let (tls_server, tls_client) = &options().tls;
        let (mut server, mut client) = (Side::server(tls_server), Side::client(tls_client));
        server.receive(&client.wire);
        client.wire.clear();
        let mut flight = server.wire.split_off(0);
        let at = at % flight.len();
        let ignored = counts_for_nothing(&flight, at);
        flight[at] ^= change;
        let mut sizes = sizes.iter().copied().cycle();
        let mut rest = &flight[..];
        while !rest.is_empty() {
            let (piece, left) = rest.split_at(sizes.next().unwrap().clamp(1, rest.len()));
            client.receive(piece);
            rest = left;
        }
        prop_assert!(ignored || !client.opened, "{at}");
        if !client.opened && client.error.is_some() {
            server.receive(&client.wire);
            prop_assert!(server.error().contains("the client"), "{}", server.error());
        }
    }
}

/// Whether a byte is part of a record header's version, which is ignored (RFC 8446 §5.1), or is the type in front of an
/// encrypted record, whose own is inside (RFC 8446 §5.2).
fn counts_for_nothing(records: &[u8], at: usize) -> bool {
    let mut start = 0;
    while start + 5 <= at {
        let next = start + 5 + usize::from(u16::from_be_bytes([records[start + 3], records[start + 4]]));
        if next > at {
            break;
        }
        start = next;
    }
    const APPLICATION_DATA: u8 = 23;
    (1..3).contains(&(at - start)) || (at == start && records[start] == APPLICATION_DATA)
}

#[test]
fn every_stage_can_be_met() {
    let stages: Vec<Stage> = (0..SIDES).map(|number| side(number).0.stack.stage()).collect();
    use Stage::{Http, Open, ProxyProtocol, Tls, Tunnel};
    assert_eq!(stages, [ProxyProtocol, Tunnel, Tunnel, Tls, Tls, Http, Http, Open, Open, Open, Open, Open]);
}

#[test]
fn each_stage_has_its_kind_of_error() {
    use ErrorKind::{Handshake, ProxyProtocol, Tls, Tunnel, WebSocket};
    let kinds =
        [ProxyProtocol, Tunnel, Tunnel, Tls, Tls, Handshake, Handshake, WebSocket, WebSocket, Tls, Tls];
    for (number, kind) in kinds.into_iter().enumerate() {
        let (side, _) = side(number);
        let side = torment(side, &[0xff; 40], &[40]);
        let error = side.error.unwrap();
        assert_eq!(error.kind(), kind, "{error}");
    }
}

#[test]
fn a_truncated_handshake_is_an_error_and_a_truncated_connection_is_not() {
    for number in 0..SIDES {
        let (mut side, _) = side(number);
        let stage = side.stack.stage();
        match side.stack.receive_eof() {
            Ok(()) => assert!(stage >= Stage::Open),
            Err(error) => {
                assert_eq!((error.kind(), error.stage()), (ErrorKind::Closed, stage));
                assert!(error.to_string().contains("closed during the"), "{error}");
            }
        }
    }
}

#[test]
fn a_proxy_that_answers_too_early_cannot_put_our_request_into_tls() {
    let mut client = options().tls.1.clone();
    socks_tunnel(&mut client, &mut Between::nothing());
    let mut side = Side::client(&client);
    side.receive(b"\x05\x00\x05\x00\x00\x01\0\0\0\0\0\0");
    assert_eq!(side.error(), "the SOCKS proxy answers before it was asked");
}

#[test]
fn what_follows_a_close_notify_is_dropped() {
    let (mut server, mut client) = (Side::server(&options().tls.0), Side::client(&options().tls.1));
    exchange(&mut client, &mut server, &mut Between::nothing(), &[usize::MAX]);
    client.send(b"data");
    client.close();
    client.wire.extend([0x17, 3, 3, 0, 5, 1, 2, 3, 4, 5]);
    exchange(&mut client, &mut server, &mut Between::nothing(), &[usize::MAX]);
    server.receive(&[0xff; 50]);
    assert_eq!(server.data, b"data");
    assert!(server.ended && server.error.is_none());
    server.send(b"still heard");
    exchange(&mut client, &mut server, &mut Between::nothing(), &[usize::MAX]);
    assert_eq!(client.data, b"still heard");
}

#[test]
fn a_flood_of_tls_records_that_say_nothing_ends() {
    let Options { tls: (server, client), .. } = options();
    // Unencrypted change_cipher_spec records may come in a TLS 1.3 handshake, but not for ever.
    let mut side = Side::server(server);
    side.receive(&Side::client(client).wire);
    let flood = [0x14, 3, 3, 0, 1, 1].repeat(10_000);
    side.receive(&flood);
    assert!(side.error().starts_with("TLS: "), "{}", side.error());
}

#[test]
fn what_breaks_tls_is_told_once_and_leaves_nothing_to_write() {
    let (server, client) = &options().wss;
    let (mut server, mut client) = (Side::server(server), Side::client(client));
    exchange(&mut client, &mut server, &mut Between::nothing(), &[usize::MAX]);
    // A ping that is answered and a record that is damaged, in one go: the pong can't be encrypted any more.
    client.plain.extend(b"\x89\x80\0\0\0\0");
    client.flush();
    client.wire.extend([0x17, 3, 3, 0, 20]);
    client.wire.extend([0; 20]);
    let mut input = std::mem::take(&mut client.wire);
    let error = server.stack.receive(&mut input, &mut Vec::new(), &mut server.plain).unwrap_err();
    assert_eq!(error.to_string(), "TLS: a record from the client was damaged on the way");
    assert!(!server.plain.is_empty());
    server.stack.seal(&mut server.plain, &mut server.wire).unwrap();
    assert!(server.plain.is_empty() && !server.wire.is_empty());
    exchange(&mut client, &mut server, &mut Between::nothing(), &[usize::MAX]);
    assert_eq!(client.error(), "TLS: the server gave up (BadRecordMac)");
}
