//! Properties of the codec, over inputs that proptest invents.

mod checks;

use checks::samples::{packet, samples};
use checks::{Outcome, TARGETS};
use mqway_codec::{Decoder, Version, decode};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

const VERSIONS: [Version; 3] = [Version::V3_1, Version::V3_1_1, Version::V5];

fn version() -> impl Strategy<Value = Version> {
    select(&VERSIONS[..])
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn every_check_holds_for_any_bytes(input in vec(any::<u8>(), 0..400)) {
        for (_, check) in TARGETS {
            check(&input);
        }
    }

    #[test]
    fn every_check_holds_for_damaged_packets(
        version in version(),
        sample in any::<Index>(),
        damage in vec((any::<Index>(), any::<u8>()), 0..4),
        cut in any::<Index>(),
        cut_it in any::<bool>(),
    ) {
        let samples = samples(version);
        let (first, body) = samples[sample.index(samples.len())];
        let mut input = [&[first], body].concat();
        for (at, byte) in damage {
            let at = at.index(input.len());
            input[at] = byte;
        }
        if cut_it {
            input.truncate(cut.index(input.len()));
        }
        checks::decode_3_1(&input);
        checks::decode_3_1_1(&input);
        checks::decode_5(&input);
    }

    #[test]
    fn any_cut_of_a_stream_gives_the_same_packets(
        version in version(),
        chosen in vec(any::<Index>(), 1..12),
        tail in vec(any::<u8>(), 0..8),
        pieces in vec(0..40_usize, 0..200),
    ) {
        let samples: Vec<_> = samples(version).iter().filter(|(first, _)| *first != 0x10).collect();
        let mut stream = Vec::new();
        for index in &chosen {
            let (first, body) = samples[index.index(samples.len())];
            stream.extend(packet(*first, body));
        }
        stream.extend(tail);
        let decoder = Decoder::with_version(version, 1 << 20);
        let whole = Outcome::of(decoder.clone(), &stream, [stream.len()]);
        prop_assert!(whole.packets.len() >= chosen.len());
        prop_assert_eq!(Outcome::of(decoder, &stream, pieces.into_iter().chain([stream.len()])), whole);
    }

    #[test]
    fn topics_match_as_a_plain_reading_says(filter in "[ab+#$/]{0,8}", name in "[ab$/]{0,8}") {
        checks::topic(format!("{filter}\n{name}").as_bytes());
        checks::topic(format!("$share/g/{filter}\n{name}").as_bytes());
    }
}

#[test]
fn samples_are_valid_and_each_shorter_one_waits() {
    for version in VERSIONS {
        for (first, body) in samples(version) {
            let bytes = packet(*first, body);
            decode(version, &bytes).unwrap_or_else(|error| panic!("{version}: {bytes:02x?}: {error}"));
            let decoder = match first {
                0x10 => Decoder::new(bytes.len()),
                _ => Decoder::with_version(version, bytes.len()),
            };
            for end in 0..bytes.len() {
                assert_eq!(decoder.clone().next(&bytes[..end]), Ok(None));
            }
            let more = [&bytes[..], &[0xFF; 4]].concat();
            let (_, consumed) = decoder.clone().next(&more).unwrap().unwrap();
            assert_eq!(consumed, bytes.len());
        }
    }
}

#[test]
fn every_single_changed_byte_is_survived() {
    for version in VERSIONS {
        for (first, body) in samples(version) {
            let whole = [&[*first], *body].concat();
            for at in 0..whole.len() {
                for byte in 0..=u8::MAX {
                    let mut input = whole.clone();
                    input[at] = byte;
                    match version {
                        Version::V3_1 => checks::decode_3_1(&input),
                        Version::V3_1_1 => checks::decode_3_1_1(&input),
                        Version::V5 => checks::decode_5(&input),
                    }
                }
            }
        }
    }
}
