//! What holds for any input: however the bytes are cut, the outcome is the same.
#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

mod websocket_wire;

use std::sync::Arc;

use mqway_transport::websocket::{
    ClientHandshake, ClientOptions, Connection, End, Event, Limits, MessageKind, Role, ServerHandshake,
    ServerOptions, TextPolicy, Violation,
};
use proptest::prelude::*;
use proptest::sample::Index;
use websocket_wire::*;

/// Cuts `bytes` at the places given, which may coincide.
fn cut<'a>(bytes: &'a [u8], cuts: &[Index]) -> Vec<&'a [u8]> {
    let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    places.push(bytes.len());
    places.sort_unstable();
    let mut start = 0;
    places.into_iter().map(|end| &bytes[std::mem::replace(&mut start, end)..end]).collect()
}

fn cuts() -> impl Strategy<Value = Vec<Index>> {
    prop::collection::vec(any::<Index>(), 0..12)
}

fn roles() -> impl Strategy<Value = Role> {
    prop_oneof![Just(Role::Server), Just(Role::Client)]
}

/// What a reader of the stream gets from the pieces.
#[derive(Debug, PartialEq)]
struct Outcome {
    data: Vec<u8>,
    end: Option<End>,
    /// Parsed, because a client's masks differ from run to run.
    output: Vec<(u8, Vec<u8>)>,
    finished: bool,
}

fn by_stream(role: Role, limits: Limits, pieces: &[&[u8]]) -> Outcome {
    let mut connection = Connection::new(role, limits);
    let (mut data, mut out, mut end) = (Vec::new(), Vec::new(), None);
    for piece in pieces {
        let mut buffer = piece.to_vec();
        let streamed = connection.read_stream(&mut buffer, &mut out);
        assert!(end.is_none() || (streamed.end.is_none() && streamed.data.is_empty()));
        data.extend_from_slice(&buffer[streamed.data]);
        end = end.or(streamed.end);
    }
    Outcome { data, end, output: parse(&out, role), finished: connection.is_finished() }
}

fn by_events(role: Role, limits: Limits, pieces: &[&[u8]]) -> Outcome {
    let mut connection = Connection::new(role, limits);
    let (mut data, mut out, mut end) = (Vec::new(), Vec::new(), None);
    let mut inside = false;
    for piece in pieces {
        let (mut buffer, mut pos) = (piece.to_vec(), 0);
        loop {
            match connection.read(&mut buffer, &mut pos, &mut out) {
                Ok(Some(Event::Data { range, start, end, .. })) => {
                    assert_eq!(start, !inside, "pieces of a message follow each other");
                    inside = !end;
                    data.extend_from_slice(&buffer[range]);
                }
                Ok(Some(Event::Close(close))) => end = Some(End::Close(close)),
                Ok(Some(Event::Ping(_) | Event::Pong(_))) => {}
                Ok(None) => break,
                Err(violation) => end = Some(End::Violation(violation)),
            }
        }
        assert_eq!(pos, buffer.len());
    }
    Outcome { data, end, output: parse(&out, role), finished: connection.is_finished() }
}

/// A frame of a well-behaved peer, or not.
#[derive(Clone, Debug)]
enum Sent {
    Message { fragments: Vec<Vec<u8>>, ping: Option<Vec<u8>> },
    Raw(Vec<u8>),
}

fn payload() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => prop::collection::vec(any::<u8>(), 0..80),
        1 => prop::collection::vec(any::<u8>(), 120..132),
        1 => (65_530usize..65_545).prop_map(|len| (0..len).map(|index| (index % 251) as u8).collect()),
    ]
}

fn message() -> impl Strategy<Value = Sent> {
    let ping = prop::option::of(prop::collection::vec(any::<u8>(), 0..=125));
    (prop::collection::vec(payload(), 1..5), ping)
        .prop_map(|(fragments, ping)| Sent::Message { fragments, ping })
}

fn wire(role: Role, sent: &[Sent]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for sent in sent {
        match sent {
            Sent::Raw(raw) => bytes.extend_from_slice(raw),
            Sent::Message { fragments, ping } => {
                for (index, fragment) in fragments.iter().enumerate() {
                    let opcode = if index == 0 { BINARY } else { CONTINUATION };
                    let fin = if index + 1 == fragments.len() { FIN } else { 0 };
                    bytes.extend(to(role, fin | opcode, fragment));
                    if let (0, Some(ping)) = (index, ping) {
                        bytes.extend(to(role, FIN | PING, ping));
                    }
                }
            }
        }
    }
    bytes
}

proptest! {
    #[test]
    fn any_fragmentation_and_any_split_give_the_same_data(
        role in roles(), sent in prop::collection::vec(message(), 0..6), cuts in cuts(),
    ) {
        let bytes = wire(role, &sent);
        let mut data = Vec::new();
        let mut pongs = Vec::new();
        for sent in &sent {
            if let Sent::Message { fragments, ping } = sent {
                data.extend(fragments.concat());
                pongs.extend(ping.iter().map(|ping| (FIN | PONG, ping.clone())));
            }
        }
        let expected = Outcome { data, end: None, output: pongs, finished: false };
        let pieces = cut(&bytes, &cuts);
        prop_assert_eq!(&by_stream(role, Limits::default(), &pieces), &expected);
        prop_assert_eq!(&by_events(role, Limits::default(), &pieces), &expected);
    }

    #[test]
    fn hostile_bytes_end_the_same_however_they_come(
        role in roles(),
        good in prop::collection::vec(message(), 0..2),
        bad in prop::collection::vec(any::<u8>(), 0..200),
        text in any::<bool>(),
        max_message in prop_oneof![Just(0u64), Just(100), Just(1 << 40)],
        cuts in cuts(),
    ) {
        let text = if text { TextPolicy::Accept } else { TextPolicy::Refuse };
        let limits = Limits { max_message, text };
        let mut sent = good;
        sent.push(Sent::Raw(bad));
        let bytes = wire(role, &sent);
        let whole = by_events(role, limits, &[&bytes]);
        let pieces = cut(&bytes, &cuts);
        prop_assert_eq!(&by_stream(role, limits, &[&bytes]), &whole);
        let split = by_events(role, limits, &pieces);
        prop_assert_eq!(&by_stream(role, limits, &pieces), &split);
        // Text is told apart as it comes, so that more of it may have been handed on before it proves bad.
        if whole.end == Some(End::Violation(Violation::TextNotUtf8)) {
            prop_assert!(split.data.starts_with(&whole.data));
            prop_assert_eq!((&split.end, &split.output), (&whole.end, &whole.output));
        } else {
            prop_assert_eq!(&split, &whole);
        }
    }

    #[test]
    fn frames_of_plausible_shape_never_do_harm(
        role in roles(),
        frames in prop::collection::vec((any::<u8>(), prop::collection::vec(any::<u8>(), 0..130)), 0..10),
        cuts in cuts(),
    ) {
        let bytes: Vec<u8> = frames.iter().flat_map(|(first, payload)| to(role, *first & 0x8f, payload)).collect();
        let pieces = cut(&bytes, &cuts);
        prop_assert_eq!(by_stream(role, ECHO, &pieces), by_events(role, ECHO, &pieces));
    }

    #[test]
    fn what_one_end_writes_the_other_reads(
        role in roles(),
        messages in prop::collection::vec((payload(), any::<bool>(), prop::option::of(1usize..5000)), 0..8),
        cuts in cuts(),
    ) {
        let sender = if role == Role::Server { Role::Client } else { Role::Server };
        let mut writer = Connection::new(sender, Limits::default());
        let mut out = Vec::new();
        for (payload, ping, pieces) in &messages {
            if *ping {
                writer.ping(b"?", &mut out).unwrap();
            }
            match pieces {
                None => writer.write_message(MessageKind::Binary, payload, &mut out).unwrap(),
                Some(size) => {
                    writer.begin_message(MessageKind::Binary, payload.len() as u64, &mut out).unwrap();
                    for piece in payload.chunks(*size) {
                        writer.write_piece(piece, &mut out).unwrap();
                    }
                }
            }
        }
        let expected: Vec<u8> = messages.iter().flat_map(|(payload, ..)| payload.clone()).collect();
        // One frame for each message, whatever its length and however it was written.
        let frames = parse(&out, sender).into_iter().filter(|(first, _)| *first == FIN | BINARY).count();
        prop_assert_eq!(frames, messages.len());
        let outcome = by_stream(role, Limits::default(), &cut(&out, &cuts));
        prop_assert_eq!(outcome.data, expected);
        prop_assert_eq!(outcome.end, None);
    }

    #[test]
    fn a_handshake_ends_the_same_however_it_is_cut(
        junk in prop::option::of((any::<Index>(), prop::collection::vec(any::<u8>(), 0..6))),
        cuts in cuts(),
    ) {
        let mut bytes = Vec::new();
        let options = ClientOptions::new("h", 1, false, "/mqtt").unwrap();
        ClientHandshake::start(Arc::new(options), &mut bytes).unwrap();
        if let Some((at, junk)) = junk {
            let at = at.index(bytes.len());
            bytes.splice(at..at, junk);
        }
        let outcome = |pieces: &[&[u8]]| {
            let mut server = ServerHandshake::new(Arc::<ServerOptions>::default());
            let mut out = Vec::new();
            let mut taken = 0;
            for piece in pieces {
                match server.feed(piece, &mut out) {
                    Ok(None) => taken += piece.len(),
                    Ok(Some(accepted)) => return (Some(taken + accepted.consumed), out),
                    Err(_) => return (None, out),
                }
            }
            (Some(taken), out)
        };
        let (whole, answer) = outcome(&[&bytes]);
        let (split, split_answer) = outcome(&cut(&bytes, &cuts));
        // Junk in front is told at its first byte when that comes alone; it is refused either way.
        prop_assert_eq!(whole, split);
        prop_assert_eq!(&answer[..answer.len().min(12)], &split_answer[..split_answer.len().min(12)]);
    }

    #[test]
    fn no_answer_to_a_client_makes_it_panic(
        answer in prop::collection::vec(any::<u8>(), 0..100), http in any::<bool>(), cuts in cuts(),
    ) {
        let bytes = if http { [&b"HTTP/1.1 "[..], &answer, b"\r\n\r\n"].concat() } else { answer };
        let options = ClientOptions::new("h", 1, false, "/mqtt").unwrap();
        let mut client = ClientHandshake::start(Arc::new(options), &mut Vec::new()).unwrap();
        for piece in cut(&bytes, &cuts) {
            match client.feed(piece) {
                Ok(connected) => prop_assert!(connected.is_none(), "nobody guesses the key"),
                Err(error) => {
                    prop_assert!(error.to_string().len() < 1000);
                    break;
                }
            }
        }
    }
}
