//! Sequences of changes and looks, invented and kept, against plain lists.

mod checks;

use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn invented_sequences_do_as_plain_lists_do(input in proptest::collection::vec(any::<u8>(), 0..2_000)) {
        checks::routing(&input);
    }
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

/// Writes the inputs that fuzzing starts from. For a new target, or when the choices have changed.
#[test]
#[ignore = "writes into fuzz/corpus"]
fn seed_the_corpus() {
    for (target, _) in checks::TARGETS {
        fs::create_dir_all(corpus(target)).unwrap();
        for seed in 0..8_u32 {
            let mut state = seed;
            let mut byte = || {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 24) as u8
            };
            let input: Vec<u8> = (0..200).map(|_| byte()).collect();
            fs::write(corpus(target).join(format!("seed-{seed:02}")), input).unwrap();
        }
    }
}

fn corpus(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target)
}
