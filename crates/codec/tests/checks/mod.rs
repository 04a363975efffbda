//! What must hold for every input. The fuzz targets call these with what they invent, the tests beside this directory
//! with the corpus and with what proptest invents: each takes any bytes, and panics at a fault of the codec.

// Each of those includes this module and uses its own part of it.
#![allow(dead_code, clippy::unwrap_used)]

mod naive;
mod packets;
pub mod samples;
mod source;

use mqway_codec::{DecodeError, Decoder, Packet, TopicError, TopicFilter, TopicName, Version, decode};
use source::Source;

/// What takes any bytes, and panics at a fault.
pub type Check = fn(&[u8]);

/// The fuzz targets by name. Each has its corpus in `fuzz/corpus`.
pub const TARGETS: &[(&str, Check)] = &[
    ("codec_decode_3_1", decode_3_1),
    ("codec_decode_3_1_1", decode_3_1_1),
    ("codec_decode_5", decode_5),
    ("codec_round_trip", round_trip),
    ("codec_split", split),
    ("codec_topic", topic),
];

/// [`decode_any`] in 3.1.
pub fn decode_3_1(input: &[u8]) {
    decode_any(Version::V3_1, input);
}

/// [`decode_any`] in 3.1.1.
pub fn decode_3_1_1(input: &[u8]) {
    decode_any(Version::V3_1_1, input);
}

/// [`decode_any`] in 5.0.
pub fn decode_5(input: &[u8]) {
    decode_any(Version::V5, input);
}

/// The input is a first byte and a body; the length between them is put in, or most inputs would get no further than
/// that. What is accepted must be encoded to the same bytes, in every part of it readable, and refused if cut short.
fn decode_any(version: Version, input: &[u8]) {
    let Some((&first, body)) = input.split_first() else { return };
    let bytes = samples::packet(first, body);
    match decode(version, &bytes) {
        Ok(packet) => {
            same_bytes(version, &packet, &bytes);
            assert!(!format!("{packet:?}").is_empty());
            for len in [0, bytes.len() / 2, bytes.len() - 1] {
                assert!(decode(version, &bytes[..len]).is_err());
            }
        }
        Err(error) => {
            assert!(error.reason_code().is_error());
            assert!(!error.to_string().is_empty());
        }
    }
}

fn same_bytes(version: Version, packet: &Packet<'_>, bytes: &[u8]) {
    let mut encoded = Vec::new();
    packet.encode(version, &mut encoded).expect("what was decoded can be encoded");
    assert_eq!(encoded, bytes, "{packet:?}");
    assert_eq!(packet.encoded_len(version), bytes.len());
}

/// The input is made into a packet of any values, right or wrong. What can be encoded is decoded as the same packet;
/// what can't leaves no trace.
pub fn round_trip(input: &[u8]) {
    let mut source = Source::new(input);
    let version = source.version();
    packets::with_packet(&mut source, version, |packet| {
        let mut bytes = b"before".to_vec();
        match packet.encode(version, &mut bytes) {
            Ok(()) => {
                let bytes = &bytes[6..];
                assert_eq!(packet.encoded_len(version), bytes.len());
                let decoded = decode(version, bytes).expect("what was encoded can be decoded");
                same_bytes(version, &decoded, bytes);
                if version == Version::V5 {
                    assert_eq!(decoded, packet); // Older versions lose the properties.
                }
            }
            Err(error) => {
                assert_eq!(bytes, b"before");
                assert!(!error.to_string().is_empty());
            }
        }
    });
}

/// The input says which version, and how to cut the rest of it, a stream. However it is cut, the same packets and the
/// same error come out.
pub fn split(input: &[u8]) {
    let mut source = Source::new(input);
    let decoder = match source.below(4) {
        0 => Decoder::new(LIMIT),
        _ => Decoder::with_version(source.version(), LIMIT),
    };
    let seed = source.byte();
    let stream = source.rest();
    let whole = Outcome::of(decoder.clone(), stream, core::iter::once(stream.len()));
    let bytewise = Outcome::of(decoder.clone(), stream, core::iter::repeat_n(1, stream.len()));
    let pieces = (0..).map(|n: usize| (n * 7 + usize::from(seed)) % usize::from(seed % 31 + 2));
    let uneven = Outcome::of(decoder, stream, pieces.take(2 * stream.len() + 64).chain([stream.len()]));
    assert_eq!(bytewise, whole);
    assert_eq!(uneven, whole);
}

/// The size limit of [`split`], small enough to be met.
const LIMIT: usize = 4_096;

/// What came out of a stream.
#[derive(Debug, PartialEq)]
pub struct Outcome {
    /// Each packet, and where it ended in the stream.
    pub packets: Vec<(String, usize)>,
    /// What ended it.
    pub error: Option<DecodeError>,
}

impl Outcome {
    /// Offers `stream` to `decoder` in pieces of these sizes, of which the last may be too large.
    pub fn of(mut decoder: Decoder, stream: &[u8], pieces: impl IntoIterator<Item = usize>) -> Self {
        let (mut start, mut end) = (0, 0);
        let mut outcome = Self { packets: Vec::new(), error: None };
        for piece in pieces {
            end = stream.len().min(end + piece);
            loop {
                match decoder.next(&stream[start..end]) {
                    Ok(Some((packet, consumed))) => {
                        start += consumed;
                        outcome.packets.push((format!("{packet:?}"), start));
                    }
                    Ok(None) => break,
                    Err(error) => return Self { error: Some(error), ..outcome },
                }
            }
            if let Err(error) = publish_start(&decoder, &stream[start..], end - start) {
                return Self { error: Some(error), ..outcome };
            }
        }
        outcome
    }
}

/// What can be told of a PUBLISH from its first `len` bytes is what the whole of it says.
fn publish_start(decoder: &Decoder, rest: &[u8], len: usize) -> Result<(), DecodeError> {
    let Some(header) = decoder.header(&rest[..len])? else { return Ok(()) };
    let Some(start) = decoder.publish_start(&header, &rest[..len])? else { return Ok(()) };
    assert!(len < header.packet_len(), "a whole one is not a start");
    if let Some((packet, _)) = decoder.clone().next(rest).expect("what starts well is all well") {
        let Packet::Publish(mut whole) = packet else { panic!("{packet:?} starts as {start:?}") };
        assert!(whole.payload.starts_with(start.payload));
        whole.payload = start.payload;
        assert_eq!(start, whole);
    }
    Ok(())
}

/// The input is a filter, a line feed, and a topic name. What is valid and what matches is what a plain reading of the
/// specification says.
pub fn topic(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let (filter, name) = text.split_once('\n').unwrap_or((&text, ""));
    let parsed_name = TopicName::new(name);
    assert_eq!(parsed_name.is_ok(), naive::is_name(name), "{name:?}");
    for version in [Version::V3_1_1, Version::V5] {
        let parsed = TopicFilter::for_version(version, filter);
        assert_eq!(parsed.is_ok(), naive::is_filter(version, filter), "{filter:?} in {version}");
        assert_ne!(parsed.map(|_| ()), Err(TopicError::WildcardInName));
        if let (Ok(filter), Ok(name)) = (parsed, parsed_name) {
            let expected = naive::matches(filter.as_str(), name.as_str());
            assert_eq!(filter.matches(name), expected, "{filter:?} {name:?}");
            assert!(TopicFilter::from(name).matches(name) || name.as_str().starts_with("$share/"));
        }
    }
}
