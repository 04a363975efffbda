//! What is said on stderr: log lines (time, level, message), and plain ones that scripts wait for. No credential ever
//! reaches them: URLs print without theirs, and packets are not logged.

mod stderr;
mod throttle;

use std::fmt::Display;
use std::io::Write;

use log::LevelFilter;

use crate::failure::Failure;
pub use stderr::finish;
use throttle::Throttle;

/// Libraries that write whole requests into the log below `warn`, with the keys in their URLs and header fields.
const TALKATIVE: [&str; 2] = ["ureq", "ureq_proto"];

/// Starts logging at `level`: a level (`info` if none is given), or a list by module as in `info,mqway_engine=debug`.
///
/// # Errors
/// If the text is neither.
pub fn start(level: Option<&str>) -> Result<(), Failure> {
    let level = level.unwrap_or("info");
    let known =
        |word: &str| word.rsplit('=').next().is_some_and(|level| level.parse::<LevelFilter>().is_ok());
    if !level.split(',').all(known) {
        return Err(Failure::usage(format_args!(
            "{level:?} is no log level; write error, warn, info, debug, trace or off, or a list as in info,mqway_engine=debug"
        )));
    }
    let mut builder = env_logger::Builder::new();
    builder.parse_filters(level);
    for module in TALKATIVE {
        builder.filter_module(module, LevelFilter::Warn);
    }
    let logger = builder
        .target(env_logger::Target::Pipe(Box::new(stderr::Lines)))
        .format(|out, record| {
            writeln!(out, "{} {:<5} {}", out.timestamp_millis(), record.level(), record.args())
        })
        .build();
    let filter = logger.filter();
    stderr::start();
    log::set_boxed_logger(Box::new(Throttle::new(logger))).map_err(Failure::other)?;
    log::set_max_level(filter);
    Ok(())
}

/// Prints a line on stderr as it is.
pub fn say(line: impl Display) {
    stderr::write(format!("{line}\n").as_bytes());
}
