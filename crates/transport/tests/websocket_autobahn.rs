//! Every case group of the Autobahn test suite outside compression (1-7, 9, 10), as tables against an echo in memory.
//!
//! Each case is run with the echo as server and as client, and with its bytes arriving at once, frame by frame and
//! one by one. "Strict" behaviour is expected throughout: what came before a violation is echoed, nothing after it.
#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

mod websocket_wire;

use mqway_transport::websocket::{Connection, Event, MessageKind, Role, Violation};
use websocket_wire::*;

/// Echoes messages.
struct Echo {
    connection: Connection,
    message: Vec<u8>,
    out: Vec<u8>,
}

impl Echo {
    fn new(role: Role) -> Echo {
        Echo { connection: Connection::new(role, ECHO), message: Vec::new(), out: Vec::new() }
    }

    fn receive(&mut self, bytes: &[u8]) -> Result<(), Violation> {
        let (mut input, mut pos) = (bytes.to_vec(), 0);
        while let Some(event) = self.connection.read(&mut input, &mut pos, &mut self.out)? {
            if let Event::Data { kind, range, end, .. } = event {
                self.message.extend_from_slice(&input[range]);
                if end {
                    let _closing = self.connection.write_message(kind, &self.message, &mut self.out);
                    self.message.clear();
                }
            }
        }
        Ok(())
    }
}

/// First byte and payload.
type Frame = (u8, Vec<u8>);

fn text(payload: &[u8]) -> Frame {
    (FIN | TEXT, payload.to_vec())
}

fn binary(payload: &[u8]) -> Frame {
    (FIN | BINARY, payload.to_vec())
}

fn ping(payload: &[u8]) -> Frame {
    (FIN | PING, payload.to_vec())
}

fn pong(payload: &[u8]) -> Frame {
    (FIN | PONG, payload.to_vec())
}

/// A text message's first fragment.
fn begin(payload: &[u8]) -> Frame {
    (TEXT, payload.to_vec())
}

fn more(payload: &[u8]) -> Frame {
    (CONTINUATION, payload.to_vec())
}

fn last(payload: &[u8]) -> Frame {
    (FIN | CONTINUATION, payload.to_vec())
}

fn close(payload: &[u8]) -> Frame {
    (FIN | CLOSE, payload.to_vec())
}

fn close_with(code: u16) -> Frame {
    close(&close_payload(code, b""))
}

/// How a case ends.
#[derive(Clone, Debug)]
enum Ends {
    /// Still open: a close frame is answered with its code.
    Open,
    /// With the answer to a close frame that the case has sent; this is its payload.
    Closed(Vec<u8>),
    /// Failed by the echo, with this code.
    Failed(u16),
}

/// Runs a case in every way.
fn case(name: &str, send: &[Frame], expect: &[Frame], ends: Ends) {
    for role in BOTH_ROLES {
        let frames: Vec<Vec<u8>> = send.iter().map(|(first, payload)| to(role, *first, payload)).collect();
        let whole = frames.concat();
        let octets: Vec<Vec<u8>> = whole.iter().map(|byte| vec![*byte]).collect();
        for (how, deliveries) in [("at once", vec![whole]), ("by frame", frames), ("by octet", octets)] {
            let name = format!("{name} as {role:?}, {how}");
            let mut echo = Echo::new(role);
            let failed = deliveries.iter().any(|bytes| echo.receive(bytes).is_err());
            check(&name, echo, failed, expect, &ends);
        }
    }
}

fn check(name: &str, mut echo: Echo, failed: bool, expect: &[Frame], ends: &Ends) {
    let role = echo.connection.role();
    let mut expected = expect.to_vec();
    match ends {
        Ends::Open => {
            assert!(!failed && echo.connection.is_open(), "{name}");
            echo.receive(&to(role, FIN | CLOSE, &close_payload(1000, b"done"))).unwrap();
            expected.push(close_with(1000));
        }
        Ends::Closed(payload) => {
            assert!(!failed, "{name}");
            expected.push(close(payload));
        }
        Ends::Failed(code) => {
            assert!(failed, "{name}");
            // The reason is ours to choose.
            let mut frames = parse(&echo.out, role);
            let (first, payload) = frames.pop().expect("a close frame");
            assert_eq!((first, &payload[..2]), (FIN | CLOSE, &code.to_be_bytes()[..]), "{name}");
            assert!(str::from_utf8(&payload[2..]).is_ok());
            assert_eq!(frames, expected, "{name}");
            assert!(echo.connection.is_finished(), "{name}");
            return;
        }
    }
    assert_eq!(parse(&echo.out, role), expected, "{name}");
    assert!(echo.connection.is_finished(), "{name}");
}

const HELLO: &[u8] = b"Hello, world!";

#[test]
fn group_1_framing() {
    for len in [0, 125, 126, 127, 128, 65535, 65536] {
        let payload = vec![b'*'; len];
        case("1.1", &[text(&payload)], &[text(&payload)], Ends::Open);
        let payload = vec![0xfe; len];
        case("1.2", &[binary(&payload)], &[binary(&payload)], Ends::Open);
    }
}

#[test]
fn group_2_pings_and_pongs() {
    for payload in [&b""[..], HELLO, b"\x00\xff\xfe\xfd\xfc\xfb\x00\xff", &[0xfe; 125]] {
        case("2.1-2.4, 2.6", &[ping(payload)], &[pong(payload)], Ends::Open);
    }
    case("2.5", &[ping(&[0xfe; 126])], &[], Ends::Failed(1002));
    case("2.7", &[pong(b"")], &[], Ends::Open);
    case("2.8", &[pong(b"unsolicited")], &[], Ends::Open);
    case("2.9", &[pong(b"unsolicited"), ping(b"ping")], &[pong(b"ping")], Ends::Open);
    let pings: Vec<Frame> = (0..10).map(|count| ping(format!("payload-{count}").as_bytes())).collect();
    let pongs: Vec<Frame> = pings.iter().map(|(_, payload)| pong(payload)).collect();
    case("2.10, 2.11", &pings, &pongs, Ends::Open);
}

#[test]
fn group_3_reserved_bits() {
    for bits in 1..=7 {
        let reserved = |(first, payload): Frame| (first | bits << 4, payload);
        case("3.1", &[reserved(text(HELLO))], &[], Ends::Failed(1002));
        let send = [text(HELLO), reserved(text(HELLO)), ping(b"")];
        case("3.2-3.4", &send, &[text(HELLO)], Ends::Failed(1002));
        case("3.5", &[reserved(binary(&[0xff; 8]))], &[], Ends::Failed(1002));
        case("3.6", &[reserved(ping(HELLO))], &[], Ends::Failed(1002));
        case("3.7", &[reserved(close_with(1000))], &[], Ends::Failed(1002));
    }
}

#[test]
fn group_4_opcodes() {
    for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
        for payload in [&b""[..], HELLO] {
            let reserved = (FIN | opcode, payload.to_vec());
            case("4.x.1-2", std::slice::from_ref(&reserved), &[], Ends::Failed(1002));
            case("4.x.3-5", &[text(HELLO), reserved, ping(b"")], &[text(HELLO)], Ends::Failed(1002));
        }
    }
}

#[test]
fn group_5_fragmentation() {
    let (one, two) = (&b"fragment1"[..], &b"fragment2"[..]);
    let both = text(b"fragment1fragment2");
    case("5.1", &[(PING, one.to_vec()), last(two)], &[], Ends::Failed(1002));
    case("5.2", &[(PONG, one.to_vec()), last(two)], &[], Ends::Failed(1002));
    case("5.3-5.5", &[begin(one), last(two)], std::slice::from_ref(&both), Ends::Open);
    case("5.6-5.8", &[begin(one), ping(b"p"), last(two)], &[pong(b"p"), both.clone()], Ends::Open);
    case("5.9-5.11", &[last(b"nothing"), text(HELLO)], &[], Ends::Failed(1002));
    case("5.12-5.14", &[more(b"nothing"), text(HELLO)], &[], Ends::Failed(1002));
    let nothing_to_continue = [begin(one), last(two), more(b"fragment3"), text(b"fragment4")];
    case("5.15", &nothing_to_continue, std::slice::from_ref(&both), Ends::Failed(1002));
    case("5.16", &[more(one), begin(two), last(b"3"), more(one)], &[], Ends::Failed(1002));
    case("5.17", &[last(one), begin(two), last(b"3"), last(one)], &[], Ends::Failed(1002));
    case("5.18", &[begin(one), text(two)], &[], Ends::Failed(1002));
    let five = [begin(b"1"), more(b"2"), ping(b"a"), more(b"3"), more(b"4"), ping(b"b"), last(b"5")];
    case("5.19, 5.20", &five, &[pong(b"a"), pong(b"b"), text(b"12345")], Ends::Open);
}

#[test]
fn case_5_19_the_first_pong_comes_before_the_message_is_complete() {
    for role in BOTH_ROLES {
        let mut echo = Echo::new(role);
        echo.receive(&[to(role, TEXT, b"1"), to(role, FIN | PING, b"a")].concat()).unwrap();
        assert_eq!(parse(&echo.out, role), [pong(b"a")]);
    }
}

const GREEK: &str = "Hello-µ@ßöäüàá-UTF-8!!";
const KOSME: &[u8] = b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5";

#[test]
fn group_6_1_to_6_3_text_in_fragments() {
    case("6.1.1", &[text(b"")], &[text(b"")], Ends::Open);
    case("6.1.2", &[begin(b""), more(b""), last(b"")], &[text(b"")], Ends::Open);
    case("6.1.3", &[begin(b""), more(b"middle"), last(b"")], &[text(b"middle")], Ends::Open);
    let by_octet = |payload: &[u8]| {
        let mut frames: Vec<Frame> = payload.iter().map(|byte| more(&[*byte])).collect();
        frames[0].0 = TEXT;
        frames.last_mut().unwrap().0 |= FIN;
        frames
    };
    for valid in [GREEK.as_bytes(), KOSME] {
        case("6.2.1", &[text(valid)], &[text(valid)], Ends::Open);
        for cut in 0..valid.len() {
            case("6.2.2", &[begin(&valid[..cut]), last(&valid[cut..])], &[text(valid)], Ends::Open);
        }
        case("6.2.3, 6.2.4", &by_octet(valid), &[text(valid)], Ends::Open);
    }
    let invalid = [KOSME, b"\xed\xa0\x80edited"].concat();
    case("6.3.1", &[text(&invalid)], &[], Ends::Failed(1007));
    case("6.3.2", &by_octet(&invalid), &[], Ends::Failed(1007));
}

#[test]
fn group_6_4_fails_fast() {
    let payload = [KOSME, b"\xf4\x90\x80\x80", b"edited"].concat();
    // 6.4.1 and 6.4.2: fragments; the second makes it invalid, the third never comes. 6.4.3 and 6.4.4: one frame in
    // three chops. The 12th byte may still begin a character, the 13th cannot continue it.
    for (valid, rest) in [(11, 15), (12, 13)] {
        for role in BOTH_ROLES {
            let mut echo = Echo::new(role);
            echo.receive(&to(role, TEXT, &payload[..valid])).expect("valid so far");
            assert_eq!(echo.receive(&to(role, 0, &payload[valid..rest])), Err(Violation::TextNotUtf8));
            assert_eq!(close_code(&echo.out, role), Some(1007));

            let mut echo = Echo::new(role);
            let frame = to(role, FIN | TEXT, &payload);
            let header = frame.len() - payload.len();
            echo.receive(&frame[..header + valid]).expect("valid so far");
            assert_eq!(echo.receive(&frame[header + valid..header + rest]), Err(Violation::TextNotUtf8));
            assert_eq!(close_code(&echo.out, role), Some(1007));
        }
    }
}

#[test]
fn group_6_5_to_6_23_sequences() {
    let mut valid: Vec<Vec<u8>> = Vec::new();
    let mut invalid: Vec<Vec<u8>> = Vec::new();
    // Some correct text (6.5), and all its prefixes (6.6): those that cut a character are invalid.
    valid.extend(["hello$world", "hello¢world", "hello€world", "hello\u{24b62}world"].map(|s| s.into()));
    for end in 1..=KOSME.len() {
        let prefix = KOSME[..end].to_vec();
        if [2, 5, 7, 9, 11].contains(&end) { valid.push(prefix) } else { invalid.push(prefix) }
    }
    // The first and last character of each length, and other boundaries (6.7, 6.9, 6.11).
    let boundaries = [
        '\0',
        '\u{80}',
        '\u{800}',
        '\u{10000}',
        '\u{7f}',
        '\u{7ff}',
        '\u{ffff}',
        '\u{10ffff}',
        '\u{d7ff}',
        '\u{e000}',
        '\u{fffd}',
    ];
    // Non-characters of every plane, and the specials (6.22, 6.23).
    let noncharacters = (0..=0x10).flat_map(|plane| [plane << 16 | 0xfffe, plane << 16 | 0xffff]);
    let specials = (0xfff9..=0xffff).chain(noncharacters).filter_map(char::from_u32);
    valid.extend(boundaries.into_iter().chain(specials).map(|character| character.to_string().into_bytes()));
    // Beyond U+10FFFF, five and six bytes (6.8, 6.10, 6.11).
    let too_high: [&[u8]; 6] = [
        b"\xf8\x88\x80\x80\x80",
        b"\xfc\x84\x80\x80\x80\x80",
        b"\xf7\xbf\xbf\xbf",
        b"\xfb\xbf\xbf\xbf\xbf",
        b"\xfd\xbf\xbf\xbf\xbf\xbf",
        b"\xf4\x90\x80\x80",
    ];
    // Continuations without a start (6.12), starts without a continuation (6.13), all but the last continuation
    // (6.14, 6.15), impossible bytes (6.16).
    for len in 1..=6 {
        invalid.push([0x80, 0xbf].into_iter().cycle().take(len).collect());
    }
    invalid.push((0x80..=0xbf).collect());
    for starts in [0xc0..=0xdf, 0xe0..=0xef, 0xf0..=0xf7, 0xf8..=0xfb, 0xfc..=0xfdu8] {
        invalid.push(starts.flat_map(|start| [start, b' ']).collect());
    }
    let unfinished: [&[u8]; 10] = [
        b"\xc0",
        b"\xe0\x80",
        b"\xf0\x80\x80",
        b"\xf8\x80\x80\x80",
        b"\xfc\x80\x80\x80\x80",
        b"\xdf",
        b"\xef\xbf",
        b"\xf7\xbf\xbf",
        b"\xfb\xbf\xbf\xbf",
        b"\xfd\xbf\xbf\xbf\xbf",
    ];
    invalid.push(unfinished.concat());
    let impossible: [&[u8]; 3] = [b"\xfe", b"\xff", b"\xfe\xfe\xff\xff"];
    // Overlong forms (6.17-6.19).
    let overlong: [&[u8]; 15] = [
        b"\xc0\xaf",
        b"\xe0\x80\xaf",
        b"\xf0\x80\x80\xaf",
        b"\xf8\x80\x80\x80\xaf",
        b"\xfc\x80\x80\x80\x80\xaf",
        b"\xc1\xbf",
        b"\xe0\x9f\xbf",
        b"\xf0\x8f\xbf\xbf",
        b"\xf8\x87\xbf\xbf\xbf",
        b"\xfc\x83\xbf\xbf\xbf\xbf",
        b"\xc0\x80",
        b"\xe0\x80\x80",
        b"\xf0\x80\x80\x80",
        b"\xf8\x80\x80\x80\x80",
        b"\xfc\x80\x80\x80\x80\x80",
    ];
    // Surrogates, single and in pairs (6.20, 6.21).
    let high: [&[u8]; 4] = [b"\xed\xa0\x80", b"\xed\xad\xbf", b"\xed\xae\x80", b"\xed\xaf\xbf"];
    let low: [&[u8]; 3] = [b"\xed\xb0\x80", b"\xed\xbe\x80", b"\xed\xbf\xbf"];
    for high in high {
        invalid.extend(low.map(|low| [high, low].concat()));
    }
    for sequences in [&too_high[..], &unfinished, &impossible, &overlong, &high, &low] {
        invalid.extend(sequences.iter().map(|sequence| sequence.to_vec()));
    }
    for payload in valid {
        assert!(str::from_utf8(&payload).is_ok());
        case("6.x", &[text(&payload)], &[text(&payload)], Ends::Open);
    }
    for payload in invalid {
        assert!(str::from_utf8(&payload).is_err());
        case("6.x", &[text(&payload)], &[], Ends::Failed(1007));
    }
}

#[test]
fn group_7_close() {
    let normal = || Ends::Closed(close_payload(1000, b""));
    case("7.1.1", &[text(HELLO), close_with(1000)], &[text(HELLO)], normal());
    case("7.1.2", &[close_with(1000), close_with(1000)], &[], normal());
    case("7.1.3", &[close_with(1000), ping(b"late")], &[], normal());
    case("7.1.4", &[close_with(1000), text(b"late")], &[], normal());
    case("7.1.5", &[begin(b"fragment1"), close_with(1000), last(b"fragment2")], &[], normal());
    let large = text(&[b'B'; 256 * 1024]);
    let send = [large.clone(), text(HELLO), close_with(1000), ping(b"")];
    case("7.1.6", &send, &[large, text(HELLO)], normal());

    case("7.3.1", &[close(b"")], &[], Ends::Closed(Vec::new()));
    case("7.3.2", &[close(b"a")], &[], Ends::Failed(1002));
    case("7.3.3", &[close_with(1000)], &[], normal());
    case("7.3.4", &[close(&close_payload(1000, b"Hello World!"))], &[], normal());
    case("7.3.5", &[close(&close_payload(1000, &[b'*'; 123]))], &[], normal());
    case("7.3.6", &[close(&close_payload(1000, &[b'*'; 124]))], &[], Ends::Failed(1002));
    let reason = [KOSME, b"\xed\xa0\x80edited"].concat();
    case("7.5.1", &[close(&close_payload(1000, &reason))], &[], Ends::Failed(1007));

    for code in [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999] {
        case("7.7", &[close_with(code)], &[], Ends::Closed(close_payload(code, b"")));
    }
    for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999] {
        case("7.9", &[close_with(code)], &[], Ends::Failed(1002));
    }
    for code in [5000, 65535] {
        case("7.13", &[close_with(code)], &[], Ends::Failed(1002));
    }
}

/// Sends a message to an echo in `fragments` bytes a frame and `chop` bytes a read, and wants it back.
fn bulk(role: Role, kind: MessageKind, len: usize, fragment: usize, chop: usize) {
    let opcode = if kind == MessageKind::Text { TEXT } else { BINARY };
    let payload: Vec<u8> = (0..len).map(|index| b' ' + (index % 89) as u8).collect();
    let count = payload.len().div_ceil(fragment);
    let mut wire = Vec::new();
    for (index, piece) in payload.chunks(fragment).enumerate() {
        let fin = if index + 1 == count { FIN } else { 0 };
        let opcode = if index == 0 { opcode } else { CONTINUATION };
        wire.extend(to(role, fin | opcode, piece));
    }
    let mut echo = Echo::new(role);
    for piece in wire.chunks(chop) {
        echo.receive(piece).unwrap();
    }
    assert!(parse(&echo.out, role) == [(FIN | opcode, payload)], "{role:?} {kind:?} {len} {fragment} {chop}");
}

const KINDS: [MessageKind; 2] = [MessageKind::Text, MessageKind::Binary];
const READ: usize = 64 * 1024;
const MIB: usize = 1024 * 1024;

#[test]
fn group_9_1_to_9_6_large_messages() {
    for (role, kind) in BOTH_ROLES.into_iter().zip(KINDS) {
        for len in [65536, MIB / 4, MIB, 4 * MIB, 8 * MIB] {
            bulk(role, kind, len, len, READ);
        }
        for fragment in [64, 256, 1024, 4096, 16384, 65536, MIB / 4, MIB] {
            bulk(role, kind, MIB, fragment, READ);
        }
    }
    for (role, kind) in BOTH_ROLES.into_iter().rev().zip(KINDS) {
        bulk(role, kind, 16 * MIB, 16 * MIB, READ);
        for chop in [64, 128, 256, 512, 1024, 2048] {
            bulk(role, kind, MIB, MIB, chop);
        }
    }
}

#[test]
fn group_9_7_and_9_8_many_messages() {
    for role in BOTH_ROLES {
        for (first, len) in [FIN | TEXT, FIN | BINARY]
            .into_iter()
            .flat_map(|first| [0, 16, 64, 256, 1024, 4096].map(|len| (first, len)))
        {
            let frame = to(role, first, &vec![b'*'; len]);
            let mut echo = Echo::new(role);
            for piece in frame.repeat(1000).chunks(READ) {
                echo.receive(piece).unwrap();
            }
            let echoed = parse(&echo.out, role);
            assert_eq!(echoed.len(), 1000);
            assert!(echoed.iter().all(|(got, payload)| *got == first && payload.len() == len));
        }
    }
}

#[test]
fn group_10_auto_fragmentation() {
    for role in BOTH_ROLES {
        bulk(role, MessageKind::Text, 65536, 1300, READ);
    }
}
