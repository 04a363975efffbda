//! Both halves of the handshake survive any bytes, answer within bounds and judge the same however they are cut.

use std::sync::Arc;

use mqway_transport::websocket::{
    ClientHandshake, ClientOptions, OriginPattern, Origins, ServerHandshake, ServerOptions,
};

/// The length of the longest answer: what of the request is repeated is bounded by the limit on its head.
const LONGEST_ANSWER: usize = MAX_HEADER + 1000;
const MAX_HEADER: usize = 2048;

/// How many bytes were taken for a request that was granted, `None` if it was refused, and the status.
fn served(options: &Arc<ServerOptions>, bytes: &[u8], piece: usize) -> (Option<usize>, Vec<u8>) {
    let mut handshake = ServerHandshake::new(options.clone());
    let (mut out, mut taken) = (Vec::new(), 0);
    for piece in bytes.chunks(piece) {
        match handshake.feed(piece, &mut out) {
            Ok(None) => {
                assert!(out.is_empty());
                taken += piece.len();
            }
            Ok(Some(accepted)) => {
                assert!(out.starts_with(b"HTTP/1.1 101 ") && out.ends_with(b"\r\n\r\n"));
                assert!(accepted.consumed <= piece.len());
                assert!(accepted.facts.path.starts_with('/'));
                taken += accepted.consumed;
                break;
            }
            Err(refused) => {
                assert!(out.starts_with(format!("HTTP/1.1 {} ", refused.status()).as_bytes()));
                assert!(out.len() <= LONGEST_ANSWER);
                out.truncate(12);
                return (None, out);
            }
        }
    }
    out.truncate(12);
    (Some(taken), out)
}

/// Any bytes where a server expects an upgrade request. The first two choose its options and the size of the pieces.
pub fn request(input: &[u8]) {
    let [choice, piece, bytes @ ..] = input else { return };
    let origins = match choice >> 4 {
        0 => Origins::Any,
        1 => Origins::Same,
        _ => Origins::Listed(
            ["https://app.example.org", "https://*.example.org", "null"]
                .iter()
                .filter_map(|pattern| pattern.parse::<OriginPattern>().ok())
                .collect(),
        ),
    };
    let options = Arc::new(ServerOptions {
        paths: if choice & 4 == 0 { Vec::new() } else { vec!["/mqtt".to_owned()] },
        strict_subprotocol: choice & 8 != 0,
        origins,
        max_header: MAX_HEADER,
        ..ServerOptions::default()
    });
    let whole = served(&options, bytes, bytes.len().max(1));
    let split = served(&options, bytes, usize::from(*piece).max(1));
    assert_eq!(split, whole);
}

const PLACE: &[u8] = b"{accept}";
/// Errors are one line for people.
const LONGEST_ERROR: usize = 3000;

/// What the server that we are would answer with.
fn right_accept(request: &[u8]) -> Vec<u8> {
    let mut answer = Vec::new();
    let server = ServerHandshake::new(Arc::new(ServerOptions::default())).feed(request, &mut answer);
    assert!(matches!(server, Ok(Some(_))), "our own request is granted");
    let answer = String::from_utf8(answer).expect("an answer is text");
    let value = answer.split("Sec-WebSocket-Accept: ").nth(1).and_then(|rest| rest.split("\r\n").next());
    value.expect("every grant has it").as_bytes().to_vec()
}

fn connected(options: &Arc<ClientOptions>, bytes: &[u8], piece: usize) -> Result<usize, String> {
    let mut request = Vec::new();
    let mut client = ClientHandshake::start(options.clone(), &mut request).expect("randomness");
    let answer = match bytes.windows(PLACE.len()).position(|window| window == PLACE) {
        Some(at) => [&bytes[..at], &right_accept(&request), &bytes[at + PLACE.len()..]].concat(),
        None => bytes.to_vec(),
    };
    let mut taken = 0;
    for piece in answer.chunks(piece) {
        match client.feed(piece) {
            Ok(None) => taken += piece.len(),
            Ok(Some(connected)) => {
                assert!(connected.consumed <= piece.len());
                assert!(matches!(connected.facts.subprotocol.as_deref(), None | Some("mqtt")));
                return Ok(taken + connected.consumed);
            }
            Err(error) => {
                let text = error.to_string();
                assert!(text.len() <= LONGEST_ERROR && !text.contains(|c: char| c.is_control()), "{text:?}");
                // How much of an answer is shown depends on how much has come; which error it is does not.
                return Err(format!("{:?}", std::mem::discriminant(&error)));
            }
        }
    }
    let _ = client.closed().to_string();
    Ok(taken)
}

/// Any bytes where a client expects the answer to its request. The first chooses the size of the pieces; `{accept}` in
/// the others becomes the right value, so that what lies behind that check is reached.
pub fn response(input: &[u8]) {
    let [piece, bytes @ ..] = input else { return };
    let options = ClientOptions::new("h", 80, false, "/mqtt").expect("good options").max_header(2048);
    let options = Arc::new(options);
    let whole = connected(&options, bytes, bytes.len().max(1) + 28);
    let split = connected(&options, bytes, usize::from(*piece).max(1));
    assert_eq!(split, whole);
}
