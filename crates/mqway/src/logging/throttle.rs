//! Keeps strangers from filling the disk: what a client can bring about is logged, but not as often as it likes.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use log::{Level, Log, Metadata, Record};

/// Lines from one place in the code in one [`WINDOW`]; more are counted only.
const MOST: u32 = 20;

/// The time that they are counted for.
const WINDOW: Duration = Duration::from_secs(10);

/// A logger that leaves out lines like those before, where there are too many, and says how many it has left out with
/// the next line of any kind once the [`WINDOW`] is over, and when it is flushed. What is below `info` was asked for,
/// and is never left out.
pub struct Throttle<L> {
    logger: L,
    /// By the place in the code, of which there are only so many.
    places: Mutex<HashMap<Place, Count>>,
}

/// A module and a line in it.
type Place = (Option<&'static str>, Option<u32>);

struct Count {
    level: Level,
    since: Instant,
    lines: u32,
    left_out: u64,
    /// The first that was left out.
    like: String,
}

impl<L: Log> Throttle<L> {
    pub fn new(logger: L) -> Throttle<L> {
        Throttle { logger, places: Mutex::default() }
    }

    /// Counts a line; whether it is to be printed. What has been left out long enough is told first.
    fn admits(&self, record: &Record<'_>, now: Instant) -> bool {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        self.tell(&mut places, |count| now.saturating_duration_since(count.since) >= WINDOW);
        let place = (record.module_path_static(), record.line());
        let new = || Count { level: record.level(), since: now, lines: 0, left_out: 0, like: String::new() };
        let count = places.entry(place).or_insert_with(new);
        let admitted = count.lines < MOST;
        if admitted {
            count.lines += 1;
        } else {
            if count.left_out == 0 {
                count.like = record.args().to_string();
            }
            count.left_out += 1;
        }
        admitted
    }

    /// Forgets the counts that are `due`, and says what they have left out.
    fn tell(&self, places: &mut HashMap<Place, Count>, due: impl Fn(&Count) -> bool) {
        places.retain(|(module, line), count| {
            let due = due(count);
            if due && count.left_out > 0 {
                let mut record = Record::builder();
                let target = module.unwrap_or_default();
                record.level(count.level).target(target).module_path_static(*module).line(*line);
                let Count { left_out, like, .. } = count;
                self.logger.log(&record.args(format_args!("left out {left_out} lines like: {like}")).build());
            }
            !due
        });
    }
}

impl<L: Log> Log for Throttle<L> {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.logger.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        let is_printed = self.logger.enabled(record.metadata());
        if is_printed && (record.level() > Level::Info || self.admits(record, Instant::now())) {
            self.logger.log(record);
        }
    }

    fn flush(&self) {
        self.tell(&mut self.places.lock().unwrap_or_else(PoisonError::into_inner), |_| true);
        self.logger.flush();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Lines(Mutex<Vec<String>>);

    impl Log for Lines {
        fn enabled(&self, _: &Metadata<'_>) -> bool {
            true
        }
        fn log(&self, record: &Record<'_>) {
            self.0.lock().unwrap().push(record.args().to_string());
        }
        fn flush(&self) {}
    }

    fn say(throttle: &Throttle<Lines>, line: u32, level: Level) {
        throttle
            .log(&Record::builder().line(Some(line)).level(level).args(format_args!("line {line}")).build());
    }

    #[test]
    fn lines_that_are_alike_are_counted_where_they_become_too_many() {
        let throttle = Throttle::new(Lines::default());
        for _ in 0..1_000 {
            say(&throttle, 1, Level::Info);
            say(&throttle, 2, Level::Debug);
        }
        say(&throttle, 3, Level::Warn);
        let seen = |line: &str| throttle.logger.0.lock().unwrap().iter().filter(|seen| *seen == line).count();
        assert_eq!((seen("line 1"), seen("line 2"), seen("line 3")), (MOST as usize, 1_000, 1));
        throttle.flush();
        throttle.flush();
        assert_eq!(seen("left out 980 lines like: line 1"), 1);
        say(&throttle, 1, Level::Info);
        assert_eq!(seen("line 1"), MOST as usize + 1);
    }

    #[test]
    fn what_was_left_out_is_told_by_whoever_speaks_next() {
        let throttle = Throttle::new(Lines::default());
        let begun = Instant::now();
        let record = Record::builder().line(Some(1)).level(Level::Info).build();
        let admitted = (0..50).filter(|_| throttle.admits(&record, begun)).count();
        assert_eq!(admitted, MOST as usize);
        let other = Record::builder().line(Some(2)).level(Level::Info).build();
        assert!(throttle.admits(&other, begun + WINDOW));
        assert_eq!(*throttle.logger.0.lock().unwrap(), ["left out 30 lines like: "]);
        assert!(throttle.admits(&record, begun + WINDOW));
    }
}
