//! Replays the corpus of each fuzz target, which holds what fuzzing found worth keeping.

mod checks;

use std::fs;
use std::path::{Path, PathBuf};

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
