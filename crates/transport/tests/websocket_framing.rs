//! Framing by the sections of RFC 6455, and what `Connection` promises beyond it.
#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

mod websocket_wire;

use mqway_transport::websocket::{
    CloseCode, Connection, End, Event, LONGEST_MQTT_PACKET, Limits, MAX_PONGS_PER_READ, MessageKind, Role,
    Streamed, TextPolicy, Violation, WriteError,
};
use websocket_wire::*;

/// Events, each with a copy of the data it tells of.
type Told = Vec<(Event, Vec<u8>)>;

/// All events in `bytes`, the output, and the violation at the end.
fn events(connection: &mut Connection, bytes: &[u8]) -> (Told, Vec<u8>, Option<Violation>) {
    let (mut buffer, mut pos, mut out) = (bytes.to_vec(), 0, Vec::new());
    let mut events = Vec::new();
    loop {
        match connection.read(&mut buffer, &mut pos, &mut out) {
            Ok(Some(event)) => {
                let data = match &event {
                    Event::Data { range, .. } => buffer[range.clone()].to_vec(),
                    _ => Vec::new(),
                };
                events.push((event, data));
            }
            Ok(None) => {
                assert_eq!(pos, buffer.len(), "all input is used");
                return (events, out, None);
            }
            Err(violation) => return (events, out, Some(violation)),
        }
    }
}

/// What a connection with MQTT's limits makes of `bytes`: the violation and the close code it is answered with. The
/// same however the bytes are cut, and nothing is said after it.
fn violation_of(role: Role, bytes: &[u8]) -> (Violation, u16) {
    let mut verdicts = Vec::new();
    for piece in [bytes.len(), 1, 3] {
        let mut connection = Connection::new(role, Limits::default());
        let (_, out, end) = stream(&mut connection, bytes, piece);
        let Some(End::Violation(violation)) = end else { panic!("{end:?}") };
        assert!(connection.is_finished());
        let code = close_code(&out, role).expect("a code");
        assert_eq!(code, violation.close_code().value());
        let (data, out, end) = stream(&mut connection, &to(role, FIN | PING, b"?"), 1);
        assert_eq!((data.len(), out.len(), end), (0, 0, None));
        verdicts.push((violation, code));
    }
    assert!(verdicts.iter().all(|verdict| *verdict == verdicts[0]));
    verdicts[0]
}

#[test]
fn s5_1_frames_are_masked_by_clients_alone() {
    assert_eq!(violation_of(Role::Server, &frame(FIN | BINARY, b"x", None)), (Violation::Unmasked, 1002));
    assert_eq!(violation_of(Role::Client, &frame(FIN | BINARY, b"x", Some(KEY))), (Violation::Masked, 1002));
}

#[test]
fn s5_2_reserved_bits_and_opcodes() {
    for role in BOTH_ROLES {
        for bit in [0x40, 0x20, 0x10] {
            let bytes = to(role, FIN | BINARY | bit, b"x");
            assert_eq!(violation_of(role, &bytes), (Violation::ReservedBit, 1002));
        }
        for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
            let bytes = to(role, FIN | opcode, b"");
            assert_eq!(violation_of(role, &bytes), (Violation::ReservedOpcode(opcode), 1002));
        }
    }
}

#[test]
fn s5_2_lengths() {
    let long = [0x82, 127, 0x80, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!(violation_of(Role::Client, &long), (Violation::LengthOutOfRange, 1002));
    let padded = [&[0x82, 126, 0, 5][..], b"hello"].concat();
    assert_eq!(violation_of(Role::Client, &padded), (Violation::LengthNotMinimal, 1002));
    let huge = [0x82, 127, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
    let limit = LONGEST_MQTT_PACKET;
    assert_eq!(violation_of(Role::Client, &huge), (Violation::MessageTooLarge { limit }, 1009));
}

#[test]
fn s5_4_fragments() {
    for role in BOTH_ROLES {
        let nothing = to(role, FIN | CONTINUATION, b"x");
        assert_eq!(violation_of(role, &nothing), (Violation::NothingToContinue, 1002));
        let interrupted = [to(role, BINARY, b"x"), to(role, FIN | BINARY, b"y")].concat();
        assert_eq!(violation_of(role, &interrupted), (Violation::MessageInterrupted, 1002));
    }
}

#[test]
fn s5_5_control_frames() {
    for role in BOTH_ROLES {
        for opcode in [CLOSE, PING, PONG] {
            assert_eq!(violation_of(role, &to(role, opcode, b"")), (Violation::ControlFragmented, 1002));
            let long = to(role, FIN | opcode, &[0; 126]);
            assert_eq!(violation_of(role, &long), (Violation::ControlTooLong, 1002));
        }
    }
}

#[test]
fn s5_5_1_close_payloads() {
    for role in BOTH_ROLES {
        let close = |payload: &[u8]| to(role, FIN | CLOSE, payload);
        assert_eq!(violation_of(role, &close(b"\x03")), (Violation::CloseTruncated, 1002));
        assert_eq!(violation_of(role, &close(&close_payload(1005, b""))), (Violation::CloseCode(1005), 1002));
        let reason = close_payload(1000, b"\xce\xba\xff");
        assert_eq!(violation_of(role, &close(&reason)), (Violation::CloseReasonNotUtf8, 1007));
    }
}

#[test]
fn mqtt_6_0_0_1_text_is_refused() {
    // [MQTT-6.0.0-1]
    for role in BOTH_ROLES {
        assert_eq!(violation_of(role, &to(role, FIN | TEXT, b"")), (Violation::TextRefused, 1003));
    }
}

#[test]
fn mqtt_6_0_0_2_message_bounds_do_not_matter() {
    // [MQTT-6.0.0-2]: over many frames, many in a frame, empty frames, pings between.
    for role in BOTH_ROLES {
        let bytes = [
            to(role, FIN | BINARY, b"ab"),
            to(role, BINARY, b""),
            to(role, FIN | PING, b"1"),
            to(role, CONTINUATION, b"c"),
            to(role, FIN | PONG, b"unasked"),
            to(role, CONTINUATION, &[b'd'; 300]),
            to(role, FIN | PING, b"2"),
            to(role, FIN | CONTINUATION, b""),
            to(role, FIN | BINARY, b""),
            to(role, FIN | BINARY, &[b'e'; 130]),
            to(role, FIN | BINARY, &[b'f'; 70_000]),
            to(role, FIN | BINARY, b"g"),
        ]
        .concat();
        let expected =
            ["abc".to_owned(), "d".repeat(300), "e".repeat(130), "f".repeat(70_000), "g".to_owned()].concat();
        for piece in [1, 2, 3, 5, 7, 64, 131, 4096, 70_001, bytes.len()] {
            let mut connection = Connection::new(role, Limits::default());
            let (data, out, end) = stream(&mut connection, &bytes, piece);
            assert_eq!(String::from_utf8(data).unwrap(), expected, "{piece}");
            assert_eq!(parse(&out, role), [(FIN | PONG, b"1".to_vec()), (FIN | PONG, b"2".to_vec())]);
            assert_eq!(end, None);
        }
    }
}

#[test]
fn payload_is_handed_on_as_it_comes() {
    let mut connection = Connection::new(Role::Client, Limits::default());
    let mut out = Vec::new();
    // A frame of 200 MB whose payload never comes in full.
    let mut header = [0x82, 127, 0, 0, 0, 0, 0x0b, 0xeb, 0xc2, 0];
    assert_eq!(connection.read_stream(&mut header, &mut out), Streamed { data: 0..0, end: None });
    let mut piece = *b"first";
    assert_eq!(connection.read_stream(&mut piece, &mut out).data, 0..5);
    assert!(connection.is_open() && out.is_empty());
}

#[test]
fn a_single_frame_is_not_moved() {
    let mut connection = Connection::new(Role::Server, Limits::default());
    let mut bytes = to(Role::Server, FIN | BINARY, b"payload");
    let streamed = connection.read_stream(&mut bytes, &mut Vec::new());
    assert_eq!((streamed.data.clone(), &bytes[streamed.data]), (6..13, &b"payload"[..]));
}

#[test]
fn data_before_a_violation_or_close_are_good() {
    let role = Role::Server;
    for (last, code) in
        [(to(role, FIN | 3, b""), 1002), (to(role, FIN | CLOSE, &close_payload(1000, b"")), 1000)]
    {
        let bytes = [to(role, FIN | BINARY, b"good"), last, to(role, FIN | BINARY, b"bad")].concat();
        for piece in [1, 2, bytes.len()] {
            let mut connection = Connection::new(role, Limits::default());
            let (data, out, end) = stream(&mut connection, &bytes, piece);
            assert_eq!(data, b"good");
            assert!(end.is_some());
            assert_eq!(close_code(&out, role), Some(code));
        }
    }
}

#[test]
fn events_tell_kind_and_bounds_of_messages() {
    for role in BOTH_ROLES {
        let mut connection = Connection::new(role, ECHO);
        let bytes = [
            to(role, TEXT, "κ".as_bytes().split_at(1).0),
            to(role, FIN | PING, b"p"),
            to(role, FIN | CONTINUATION, "κ".as_bytes().split_at(1).1),
            to(role, FIN | BINARY, b""),
            to(role, BINARY, b""),
            to(role, CONTINUATION, b""),
            to(role, FIN | CONTINUATION, b"z"),
        ]
        .concat();
        let (events, _, violation) = events(&mut connection, &bytes);
        let told: Vec<String> = events
            .iter()
            .map(|(event, data)| match event {
                Event::Data { kind, start, end, .. } => format!("{kind:?} {start} {end} {data:x?}"),
                Event::Ping(payload) => format!("Ping {payload:?}"),
                other => format!("{other:?}"),
            })
            .collect();
        assert_eq!(
            told,
            [
                "Text true false [ce]",
                "Ping \"p\"",
                "Text false true [ba]",
                "Binary true true []",
                "Binary true true [7a]",
            ]
        );
        assert_eq!(violation, None);
    }
}

#[test]
fn s5_5_2_every_ping_of_a_read_is_answered_up_to_a_bound_then_the_latest() {
    for role in BOTH_ROLES {
        let mut connection = Connection::new(role, Limits::default());
        let flood: Vec<u8> =
            (0..10_000u32).flat_map(|count| to(role, FIN | PING, &count.to_be_bytes())).collect();
        let (_, out, _) = stream(&mut connection, &flood, flood.len());
        let pongs = parse(&out, role);
        let many = usize::from(MAX_PONGS_PER_READ);
        assert_eq!(pongs.len(), many + 1);
        assert_eq!(pongs[many - 1], (FIN | PONG, (many as u32 - 1).to_be_bytes().to_vec()));
        assert_eq!(pongs[many], (FIN | PONG, 9999u32.to_be_bytes().to_vec()));
        // The next read starts afresh.
        let (_, out, _) = stream(&mut connection, &flood[..flood.len() / 500], flood.len());
        assert_eq!(parse(&out, role).len(), 20);
        // A close frame is answered behind the pong that is due.
        let flood = [flood, to(role, FIN | CLOSE, b"")].concat();
        let (_, out, _) = stream(&mut connection, &flood, flood.len());
        let answers = parse(&out, role);
        assert_eq!(answers.len(), many + 2);
        assert_eq!(answers[many], (FIN | PONG, 9999u32.to_be_bytes().to_vec()));
        assert_eq!(answers[many + 1], (FIN | CLOSE, Vec::new()));
    }
}

#[test]
fn s7_1_closing_first_waits_for_the_peer() {
    for role in BOTH_ROLES {
        let mut connection = Connection::new(role, Limits::default());
        let mut out = Vec::new();
        connection.close(CloseCode::GOING_AWAY, "maintenance", &mut out);
        connection.close(CloseCode::NORMAL, "twice", &mut out);
        assert_eq!(parse(&out, role), [(FIN | CLOSE, close_payload(1001, b"maintenance"))]);
        assert!(connection.awaits_peer_close() && !connection.is_finished() && !connection.is_open());
        assert_eq!(connection.write_message(MessageKind::Binary, b"x", &mut out), Err(WriteError::Closing));
        assert_eq!(connection.begin_message(MessageKind::Binary, 1, &mut out), Err(WriteError::Closing));
        assert_eq!(connection.write_piece(b"x", &mut out), Err(WriteError::Closing));
        assert_eq!(connection.ping(b"", &mut out), Err(WriteError::Closing));
        // What the peer sent before it saw our close frame still counts; pings are not answered any more.
        let rest = [
            to(role, FIN | BINARY, b"late"),
            to(role, FIN | PING, b""),
            to(role, FIN | CLOSE, &close_payload(1000, b"")),
        ]
        .concat();
        let (data, out, end) = stream(&mut connection, &rest, 3);
        assert_eq!(data, b"late");
        assert_eq!(out, b"");
        assert!(matches!(end, Some(End::Close(close)) if close.code == Some(CloseCode::NORMAL)));
        assert!(connection.is_finished() && !connection.awaits_peer_close());
    }
}

#[test]
fn s5_5_1_a_close_is_echoed_once_and_nothing_follows() {
    for role in BOTH_ROLES {
        for (payload, echo) in
            [(close_payload(3999, "grüße".as_bytes()), close_payload(3999, b"")), (Vec::new(), Vec::new())]
        {
            let mut connection = Connection::new(role, Limits::default());
            let bytes =
                [to(role, FIN | CLOSE, &payload), to(role, FIN | CLOSE, &payload), vec![0xff; 50]].concat();
            let (data, out, end) = stream(&mut connection, &bytes, bytes.len());
            assert_eq!(data, b"");
            assert_eq!(parse(&out, role), [(FIN | CLOSE, echo)]);
            assert!(matches!(end, Some(End::Close(_))));
            let mut out = Vec::new();
            connection.close(CloseCode::NORMAL, "", &mut out);
            assert_eq!(
                connection.write_message(MessageKind::Binary, b"x", &mut out),
                Err(WriteError::Closing)
            );
            assert!(out.is_empty() && connection.is_finished());
        }
    }
}

#[test]
fn a_violation_after_our_close_is_not_answered() {
    let role = Role::Server;
    let mut connection = Connection::new(role, Limits::default());
    let mut out = Vec::new();
    connection.close(CloseCode::NORMAL, "", &mut out);
    let (_, out, end) = stream(&mut connection, &to(role, FIN | 0x40, b""), 100);
    assert_eq!((out.len(), end), (0, Some(End::Violation(Violation::ReservedBit))));
    assert!(connection.is_finished());
}

#[test]
fn s7_4_1_messages_over_the_limit_are_told_by_the_header() {
    let limits = Limits { max_message: 10, text: TextPolicy::Refuse };
    let too_large = Some(End::Violation(Violation::MessageTooLarge { limit: 10 }));
    for role in BOTH_ROLES {
        let whole = to(role, FIN | BINARY, &[0; 11]);
        let fragments = [to(role, BINARY, &[0; 6]), to(role, CONTINUATION, &[0; 5])].concat();
        for bytes in [whole, fragments] {
            let mut connection = Connection::new(role, limits);
            // The last payload byte need not have come.
            let (data, out, end) = stream(&mut connection, &bytes[..bytes.len() - 1], 1000);
            assert!(data.len() <= 10);
            assert_eq!(end, too_large);
            assert_eq!(close_code(&out, role), Some(1009));
        }
        let mut connection = Connection::new(role, limits);
        let message = [to(role, BINARY, &[0; 4]), to(role, FIN | CONTINUATION, &[0; 5])].concat();
        let bytes = [to(role, FIN | BINARY, &[0; 10]), message.repeat(3)].concat();
        let (data, _, end) = stream(&mut connection, &bytes, 1000);
        assert_eq!((data.len(), end), (37, None), "the limit counts each message for itself");
    }
}

#[test]
fn a_message_in_pieces_is_one_frame_that_nothing_interrupts() {
    for role in BOTH_ROLES {
        let mut connection = Connection::new(role, Limits::default());
        let mut out = Vec::new();
        let payload: Vec<u8> = (0..1000u32).map(|index| index as u8).collect();
        connection.begin_message(MessageKind::Binary, 1000, &mut out).unwrap();
        connection.write_piece(&payload[..1], &mut out).unwrap();
        connection.write_piece(b"", &mut out).unwrap();
        connection.write_piece(&payload[1..303], &mut out).unwrap();
        assert_eq!(connection.outgoing_left(), 697);
        let busy = Err(WriteError::MessageInProgress);
        assert_eq!(connection.write_message(MessageKind::Binary, b"x", &mut out), busy);
        assert_eq!(connection.ping(b"x", &mut out), busy);
        assert_eq!(connection.write_piece(&[0; 698], &mut out), Err(WriteError::TooManyBytes));
        // Pings and a close of the peer's come meanwhile.
        let before = out.len();
        connection.read_stream(&mut to(role, FIN | PING, b"0"), &mut out);
        assert_eq!(out.len(), before);
        let mut input =
            [to(role, FIN | PING, b"1"), to(role, FIN | PING, b"2"), to(role, FIN | CLOSE, b"")].concat();
        let streamed = connection.read_stream(&mut input, &mut out);
        assert!(matches!(streamed.end, Some(End::Close(_))));
        assert!(!connection.is_finished() && out.len() == before, "the answer is still to be written");
        connection.write_piece(&payload[303..], &mut out).unwrap();
        assert!(connection.is_finished());
        assert_eq!(
            parse(&out, role),
            [(FIN | BINARY, payload), (FIN | PONG, b"2".to_vec()), (FIN | CLOSE, Vec::new())]
        );
        assert_eq!(connection.write_piece(b"x", &mut out), Err(WriteError::Closing));
    }
}

#[test]
fn our_close_waits_for_the_end_of_a_message_in_pieces() {
    for role in BOTH_ROLES {
        let mut connection = Connection::new(role, Limits::default());
        let mut out = Vec::new();
        connection.begin_message(MessageKind::Binary, 2, &mut out).unwrap();
        connection.close(CloseCode::GOING_AWAY, "", &mut out);
        connection.write_piece(b"xy", &mut out).unwrap();
        assert_eq!(
            parse(&out, role),
            [(FIN | BINARY, b"xy".to_vec()), (FIN | CLOSE, close_payload(1001, b""))]
        );
        assert!(connection.awaits_peer_close());
    }
}

#[test]
fn a_violation_inside_a_message_in_pieces_ends_without_a_close_frame() {
    let role = Role::Server;
    let mut connection = Connection::new(role, Limits::default());
    let mut out = Vec::new();
    connection.begin_message(MessageKind::Binary, 2, &mut out).unwrap();
    let before = out.len();
    let streamed = connection.read_stream(&mut to(role, 0x70, b""), &mut out);
    assert!(matches!(streamed.end, Some(End::Violation(_))));
    assert_eq!(out.len(), before, "bytes of a close frame would be taken for payload");
    assert!(connection.is_finished());
    assert_eq!(connection.write_piece(b"x", &mut out), Err(WriteError::Closing));
}

#[test]
fn an_empty_message_in_pieces_is_complete_at_once() {
    let mut connection = Connection::new(Role::Server, Limits::default());
    let mut out = Vec::new();
    connection.begin_message(MessageKind::Binary, 0, &mut out).unwrap();
    let too_long = connection.begin_message(MessageKind::Binary, 1 << 63, &mut out);
    assert_eq!(too_long, Err(WriteError::TooManyBytes));
    connection.write_message(MessageKind::Text, b"next", &mut out).unwrap();
    assert_eq!(parse(&out, Role::Server), [(FIN | BINARY, Vec::new()), (FIN | TEXT, b"next".to_vec())]);
    assert_eq!(connection.write_piece(b"x", &mut out), Err(WriteError::TooManyBytes));
}

#[test]
fn s5_2_what_we_send_has_minimal_lengths() {
    for role in BOTH_ROLES {
        for len in [0, 1, 125, 126, 65535, 65536, 100_000] {
            let mut connection = Connection::new(role, Limits::default());
            let mut out = Vec::new();
            let payload = vec![7; len];
            connection.write_message(MessageKind::Binary, &payload, &mut out).unwrap();
            let key = (role == Role::Client).then(|| {
                let start = out.len() - len - 4;
                [out[start], out[start + 1], out[start + 2], out[start + 3]]
            });
            assert_eq!(out, frame(FIN | BINARY, &payload, key));
        }
    }
}

#[test]
fn a_message_in_two_parts_is_one_frame() {
    let payload: Vec<u8> = (0..200).collect();
    for role in BOTH_ROLES {
        for cut in [0, 1, 3, 125, 200] {
            let mut connection = Connection::new(role, Limits::default());
            let mut out = Vec::new();
            let (head, tail) = payload.split_at(cut);
            connection.write_message_parts(MessageKind::Binary, head, tail, &mut out).unwrap();
            assert_eq!(parse(&out, role), [(FIN | BINARY, payload.clone())]);
            connection.close(CloseCode::NORMAL, "", &mut out);
            let late = connection.write_message_parts(MessageKind::Binary, head, tail, &mut out);
            assert_eq!(late, Err(WriteError::Closing));
        }
    }
}

#[test]
fn s5_3_each_frame_has_a_key_of_its_own() {
    let mut connection = Connection::new(Role::Client, Limits::default());
    let mut keys = std::collections::HashSet::new();
    for _ in 0..600 {
        let mut out = Vec::new();
        connection.write_message(MessageKind::Binary, b"", &mut out).unwrap();
        keys.insert(out.split_off(2));
    }
    assert!(keys.len() > 590);
}

#[test]
fn a_control_payload_of_ours_is_cut_to_what_fits() {
    let mut connection = Connection::new(Role::Server, Limits::default());
    let mut out = Vec::new();
    connection.ping(&[b'p'; 200], &mut out).unwrap();
    connection.close(CloseCode::NORMAL, &"é".repeat(100), &mut out);
    let frames = parse(&out, Role::Server);
    assert_eq!(frames[0].1.len(), 125);
    assert_eq!(frames[1].1, close_payload(1000, "é".repeat(61).as_bytes()));
}

#[test]
fn s8_1_text_is_checked_as_it_comes() {
    for role in BOTH_ROLES {
        let mut connection = Connection::new(role, ECHO);
        // The frame claims ten bytes; the third is impossible.
        let bytes = to(role, FIN | TEXT, b"\xed\xa0\x80aaaaaaa");
        let header = bytes.len() - 10;
        let (_, out, violation) = events(&mut connection, &bytes[..header + 1]);
        assert_eq!((out.len(), violation), (0, None));
        let (_, out, violation) = events(&mut connection, &bytes[header + 1..header + 2]);
        assert_eq!(violation, Some(Violation::TextNotUtf8));
        assert_eq!(close_code(&out, role), Some(1007));
        // A character cut off by the end of the message.
        let mut connection = Connection::new(role, ECHO);
        let bytes = [to(role, TEXT, b"\xce"), to(role, FIN | CONTINUATION, b"")].concat();
        assert_eq!(events(&mut connection, &bytes).2, Some(Violation::TextNotUtf8));
    }
}

#[test]
fn an_idle_connection_is_small() {
    assert!(size_of::<Connection>() <= 48, "{}", size_of::<Connection>());
}
