//! A connection survives any bytes, answers within bounds, and makes the same of them however they are cut, whether
//! they are read as events or as a stream.

use mqway_transport::websocket::{
    Connection, End, Event, Limits, MAX_PONGS_PER_READ, Role, TextPolicy, Violation,
};

/// A close frame or a pong with a key: the longest answer to one frame.
const LONGEST_ANSWER: usize = 2 + 4 + 125;

#[derive(Debug, PartialEq)]
struct Outcome {
    data: Vec<u8>,
    end: Option<End>,
    open: bool,
    finished: bool,
}

/// Any bytes after the handshake, on the server's side.
pub fn server(input: &[u8]) {
    check(Role::Server, input);
}

/// The same on the client's side.
pub fn client(input: &[u8]) {
    check(Role::Client, input);
}

/// The first two bytes choose limits and the size of the pieces.
fn check(role: Role, input: &[u8]) {
    let [options, piece, bytes @ ..] = input else { return };
    let limits = Limits {
        max_message: if options & 1 == 0 { 1 << 40 } else { 100 },
        text: if options & 2 == 0 { TextPolicy::Accept } else { TextPolicy::Refuse },
    };
    let piece = usize::from(*piece).max(1);
    let whole = by_events(role, limits, bytes, bytes.len().max(1));
    assert_eq!(by_stream(role, limits, bytes, bytes.len().max(1)), whole);
    let split = by_events(role, limits, bytes, piece);
    assert_eq!(by_stream(role, limits, bytes, piece), split);
    assert_eq!((&split.end, split.open, split.finished), (&whole.end, whole.open, whole.finished));
    if whole.end == Some(End::Violation(Violation::TextNotUtf8)) {
        // More of the text may have been handed on before the byte that spoils it came.
        assert!(split.data.starts_with(&whole.data));
    } else {
        assert_eq!(split.data, whole.data);
    }
}

fn by_stream(role: Role, limits: Limits, bytes: &[u8], piece: usize) -> Outcome {
    let mut connection = Connection::new(role, limits);
    let (mut data, mut end) = (Vec::new(), None);
    for piece in bytes.chunks(piece) {
        let (mut buffer, mut out) = (piece.to_vec(), Vec::new());
        let streamed = connection.read_stream(&mut buffer, &mut out);
        check_output(&out, end.is_some());
        assert!(end.is_none() || streamed.data.is_empty() && streamed.end.is_none());
        data.extend_from_slice(&buffer[streamed.data]);
        end = end.or(streamed.end);
    }
    Outcome { data, end, open: connection.is_open(), finished: connection.is_finished() }
}

fn by_events(role: Role, limits: Limits, bytes: &[u8], piece: usize) -> Outcome {
    let mut connection = Connection::new(role, limits);
    let (mut data, mut end) = (Vec::new(), None);
    let mut inside = false;
    for piece in bytes.chunks(piece) {
        let (mut buffer, mut pos, mut out) = (piece.to_vec(), 0, Vec::new());
        let ended = end.is_some();
        loop {
            match connection.read(&mut buffer, &mut pos, &mut out) {
                Ok(Some(Event::Data { range, start, end, .. })) => {
                    assert_eq!(start, !inside);
                    inside = !end;
                    data.extend_from_slice(&buffer[range]);
                }
                Ok(Some(Event::Ping(_) | Event::Pong(_))) => {}
                Ok(Some(Event::Close(close))) => end = Some(End::Close(close)),
                Ok(None) => break,
                Err(violation) => end = Some(End::Violation(violation)),
            }
        }
        assert_eq!(pos, buffer.len());
        check_output(&out, ended);
    }
    Outcome { data, end, open: connection.is_open(), finished: connection.is_finished() }
}

/// A read's answers: as many pongs as are allowed, the latest and a close frame; none once it has ended.
fn check_output(out: &[u8], ended: bool) {
    assert!(out.len() <= (usize::from(MAX_PONGS_PER_READ) + 2) * LONGEST_ANSWER);
    assert!(out.is_empty() || !ended);
}
