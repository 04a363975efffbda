//! Replays the corpus of each fuzz target, which holds what fuzzing found worth keeping.

mod checks;

use std::fs;
use std::path::{Path, PathBuf};

use checks::samples::{TOPICS, packet, samples};
use mqway_codec::Version;

fn corpus(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target)
}

#[test]
fn every_input_of_the_corpus_passes() {
    for (target, check) in checks::TARGETS {
        let mut count = 0;
        for entry in fs::read_dir(corpus(target)).unwrap() {
            check(&fs::read(entry.unwrap().path()).unwrap());
            count += 1;
        }
        assert!(count > 0, "{target} has no corpus");
    }
}

/// Writes the inputs that fuzzing starts from. For a new target, or when the samples have changed.
#[test]
#[ignore = "writes into fuzz/corpus"]
fn seed_the_corpus() {
    let write = |target: &str, name: String, input: &[u8]| {
        fs::create_dir_all(corpus(target)).unwrap();
        fs::write(corpus(target).join(name), input).unwrap();
    };
    for (number, (target, version)) in [
        ("codec_decode_5", Version::V5),
        ("codec_decode_3_1_1", Version::V3_1_1),
        ("codec_decode_3_1", Version::V3_1),
    ]
    .into_iter()
    .enumerate()
    {
        // As `checks::split` reads them: who knows the version, which it is, how to cut.
        let mut stream = vec![1, number as u8, 3];
        for (index, (first, body)) in samples(version).iter().enumerate() {
            write(target, format!("seed-{index:02}"), &[&[*first], *body].concat());
            if *first == 0x10 {
                let connect = [&[0, 5], &packet(*first, body)[..]].concat();
                write("codec_split", format!("seed-{version}-connect-{index}"), &connect);
            } else {
                stream.extend(packet(*first, body));
            }
        }
        write("codec_split", format!("seed-{version}"), &stream);
    }
    for (index, topics) in TOPICS.iter().enumerate() {
        write("codec_topic", format!("seed-{index:02}"), topics.as_bytes());
    }
    for kind in 0..15 {
        let input: Vec<u8> =
            [0, kind, 0].into_iter().chain((0..60).map(|n: u8| n.wrapping_mul(7) ^ kind)).collect();
        write("codec_round_trip", format!("seed-{kind:02}"), &input);
    }
}
