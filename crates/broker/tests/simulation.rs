//! The broker under the simulator: schedules from seeds and from the corpus of the fuzz targets, with checkers for
//! delivery, order, sessions, retained messages, wills, shared subscriptions, and for what is left in the end.
//!
//! `MQWAY_SEED=7 cargo test -p mqway-broker --test simulation` plays one seed again, and prints what happens.

mod checks;

use std::fs;
use std::path::{Path, PathBuf};

/// Seeds of the default tests, and the steps of each.
const SEEDS: u64 = 1_000;
const STEPS: usize = 150;
/// Steps of each seed of the long test, which begin behind those.
const LONG_STEPS: usize = 10 * STEPS;

/// Plays seeds on as many threads as there are processors.
fn simulate_all(seeds: std::ops::Range<u64>, steps: usize, thoughtful: bool) {
    let threads = std::thread::available_parallelism().map_or(2, |count| count.get()) as u64;
    let play = |first| {
        (seeds.start + first..seeds.end)
            .step_by(threads as usize)
            .for_each(|seed| checks::simulate(seed, steps, thoughtful))
    };
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|first| scope.spawn(move || play(first))).collect();
        for thread in running {
            thread.join().unwrap_or_else(|fault| std::panic::resume_unwind(fault));
        }
    });
}

#[test]
fn whatever_clients_and_links_do_everybody_gets_what_is_theirs() {
    match std::env::var("MQWAY_SEED") {
        Ok(seed) => {
            let seed = seed.parse().expect("MQWAY_SEED is a number");
            // Those of the long test have longer schedules.
            checks::simulate(seed, if seed < SEEDS { STEPS } else { LONG_STEPS }, false);
        }
        Err(_) => simulate_all(0..SEEDS, STEPS, false),
    }
}

#[test]
fn hooks_that_take_their_time_change_nothing_of_that() {
    match std::env::var("MQWAY_SEED") {
        Ok(seed) => checks::simulate(seed.parse().expect("MQWAY_SEED is a number"), STEPS, true),
        Err(_) => simulate_all(0..SEEDS / 4, STEPS, true),
    }
}

#[test]
#[ignore = "long: many more seeds, and longer schedules"]
fn whatever_clients_and_links_do_for_long_everybody_gets_what_is_theirs() {
    let most = if std::env::var_os("MQWAY_TEST_SHORT").is_some() { 100 } else { 2_000 };
    simulate_all(SEEDS..SEEDS + most, LONG_STEPS, false);
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
        for seed in 0..8_u64 {
            let mut random = mqway_engine::sim::Random::new(seed);
            let input: Vec<u8> = (0..400).map(|_| random.below(256) as u8).collect();
            fs::write(corpus(target).join(format!("seed-{seed:02}")), input).unwrap();
        }
    }
}

fn corpus(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target)
}
