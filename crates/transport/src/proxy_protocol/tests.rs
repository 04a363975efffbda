use proptest::prelude::*;

use super::*;

fn v2(version_command: u8, family: u8, block: &[u8]) -> Vec<u8> {
    let mut bytes = SIGNATURE.to_vec();
    bytes.extend([version_command, family]);
    bytes.extend(u16::try_from(block.len()).unwrap().to_be_bytes());
    bytes.extend(block);
    bytes
}

fn v4_block(tlvs: usize) -> Vec<u8> {
    let mut block = vec![192, 0, 2, 1, 192, 0, 2, 2, 0x9c, 0x40, 0x07, 0x5b];
    block.resize(12 + tlvs, 4);
    block
}

fn v6_block() -> Vec<u8> {
    let mut block = Ipv6Addr::LOCALHOST.octets().to_vec();
    block.extend("2001:db8::2".parse::<Ipv6Addr>().unwrap().octets());
    block.extend([0x9c, 0x40, 0x07, 0x5b]);
    block
}

fn proxied(source: &str, destination: &str) -> Header {
    Header::Proxied { source: source.parse().unwrap(), destination: destination.parse().unwrap() }
}

fn samples() -> Vec<(Vec<u8>, Header)> {
    let v4 = proxied("192.0.2.1:40000", "192.0.2.2:1883");
    let v6 = proxied("[::1]:40000", "[2001:db8::2]:1883");
    let longest = b"PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n".to_vec();
    vec![
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 40000 1883\r\n".to_vec(), v4),
        (b"PROXY TCP6 ::1 2001:db8::2 40000 1883\r\n".to_vec(), v6),
        (b"PROXY UNKNOWN\r\n".to_vec(), Header::Unproxied),
        (longest, Header::Unproxied),
        (v2(0x21, 0x11, &v4_block(0)), v4),
        (v2(0x21, 0x11, &v4_block(65_523)), v4),
        (v2(0x21, 0x21, &v6_block()), v6),
        (v2(0x21, 0x31, &[b'/'; 216]), Header::Unproxied),
        (v2(0x21, 0x31, &[b'/'; 300]), Header::Unproxied),
        (v2(0x21, 0x00, b"whatever"), Header::Unproxied),
        (v2(0x20, 0x11, b""), Header::Unproxied),
        (v2(0x20, 0xff, &[1; 50]), Header::Unproxied),
    ]
}

/// Feeds `bytes` in pieces of these sizes, over and over; gives the header and how many bytes were left.
fn feed(bytes: &[u8], sizes: &[usize]) -> Result<(Option<Header>, usize), Malformed> {
    let mut parser = Parser::default();
    let mut rest = bytes;
    for &size in sizes.iter().cycle() {
        let piece = &rest[..size.clamp(1, rest.len().max(1)).min(rest.len())];
        let (used, header) = parser.feed(piece)?;
        assert!(parser.kept.len() <= MAX_KEPT);
        rest = &rest[used..];
        if header.is_some() || rest.is_empty() {
            return Ok((header, rest.len()));
        }
        assert_eq!(used, piece.len(), "an unfinished header takes everything");
    }
    unreachable!("sizes is not empty")
}

#[test]
fn both_versions_are_read_and_what_follows_is_left() {
    for (mut bytes, header) in samples() {
        bytes.extend(b"\x10\x0c\0\x04MQTT");
        for sizes in [&[1][..], &[7], &[70_000], &[16, 1, 100]] {
            assert_eq!(feed(&bytes, sizes), Ok((Some(header), 8)), "{:?}", &bytes[..20]);
        }
    }
}

#[test]
fn an_unfinished_header_is_not_an_error() {
    for (bytes, _) in samples() {
        let part = &bytes[..bytes.len() - 1];
        assert_eq!(feed(part, &[part.len()]), Ok((None, 0)));
    }
}

#[test]
fn anything_else_is_refused_at_once() {
    let line = |text: &str| (text.as_bytes().to_vec(), Malformed::Line);
    for (bytes, error) in [
        (b"\x10".to_vec(), Malformed::Absent),
        (b"GET / HTTP/1.1\r\n".to_vec(), Malformed::Absent),
        (b"PROXX".to_vec(), Malformed::Absent),
        (b"\r\n\r\n\0\r\nQUIX".to_vec(), Malformed::Absent),
        (b"\x16\x03\x01".to_vec(), Malformed::Absent),
        (format!("PROXY UNKNOWN {}\r\n", "x".repeat(92)).into_bytes(), Malformed::LineTooLong),
        line("PROXY TCP4 192.0.2.1 192.0.2.2 40000 1883\n"),
        line("PROXY TCP4 192.0.2.1 192.0.2.2 40000\r\n"),
        line("PROXY TCP4 192.0.2.1 192.0.2.2 40000 1883 \r\n"),
        line("PROXY TCP4  192.0.2.1 192.0.2.2 40000 1883\r\n"),
        line("PROXY TCP4 ::1 ::1 40000 1883\r\n"),
        line("PROXY TCP6 192.0.2.1 192.0.2.2 40000 1883\r\n"),
        line("PROXY TCP4 192.0.2.1 192.0.2.2 65536 1883\r\n"),
        line("PROXY TCP4 192.0.2.1 192.0.2.2 +1 1883\r\n"),
        line("PROXY TCP4 192.0.2.1 192.0.2.2 01 1883\r\n"),
        line("PROXY TCP4 192.0.2.01 192.0.2.2 1 1883\r\n"),
        line("PROXY UDP4 192.0.2.1 192.0.2.2 1 1883\r\n"),
        line("PROXY \r\n"),
        (v2(0x11, 0x11, &v4_block(0)), Malformed::VersionOrCommand(0x11)),
        (v2(0x22, 0x11, &v4_block(0)), Malformed::VersionOrCommand(0x22)),
        (v2(0x21, 0x12, &v4_block(0)), Malformed::Family(0x12)),
        (v2(0x21, 0x41, &v4_block(0)), Malformed::Family(0x41)),
        (v2(0x21, 0x11, &[0; 11]), Malformed::Length(11)),
        (v2(0x21, 0x21, &[0; 35]), Malformed::Length(35)),
        (v2(0x21, 0x31, &[0; 215]), Malformed::Length(215)),
    ] {
        for sizes in [&[1][..], &[1000], &[5, 3]] {
            assert_eq!(feed(&bytes, sizes), Err(error), "{:?}", String::from_utf8_lossy(&bytes));
        }
    }
}

proptest! {
    #[test]
    fn random_bytes_are_refused_or_wait(
        start in prop::sample::select(vec![&b""[..], b"PROXY ", b"PROXY TCP4 ", SIGNATURE, b"\r\n\r\n\0\r\nQUIT\n\x21\x11"]),
        noise in prop::collection::vec(any::<u8>(), 0..300),
        sizes in prop::collection::vec(1usize..40, 1..5),
    ) {
        let bytes = [start, &noise].concat();
        let split = feed(&bytes, &sizes);
        let whole = feed(&bytes, &[bytes.len().max(1)]);
        prop_assert_eq!(split, whole);
    }
}
