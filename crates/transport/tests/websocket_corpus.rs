//! Replays the corpus of the fuzz targets for WebSocket.

mod websocket_checks;

use std::fs;
use std::path::Path;

#[test]
fn every_input_of_the_corpus_passes() {
    for (target, check) in websocket_checks::TARGETS {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
        let mut count = 0;
        for entry in fs::read_dir(&corpus).expect("a corpus") {
            let path = entry.expect("an entry").path();
            // Shown if the test fails.
            println!("{}", path.display());
            check(&fs::read(path).expect("a readable file"));
            count += 1;
        }
        assert!(count > 0, "{target} has no corpus");
    }
}
