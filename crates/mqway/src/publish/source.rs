//! Where the payload comes from.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use clap::ArgAction::SetTrue;
use clap::builder::FalseyValueParser;

use crate::failure::Failure;

/// No packet of MQTT carries more, in bytes.
pub const MOST_PAYLOAD: u64 = 268_435_455;

/// The flags that give a payload; one of them is needed.
#[derive(Clone, Debug, clap::Args)]
pub struct SourceFlags {
    /// Publish this text
    #[arg(short, long, value_name = "TEXT", env = "MQWAY_MESSAGE")]
    message: Option<String>,
    /// Publish what is in this file
    #[arg(short, long, value_name = "FILE", env = "MQWAY_FILE")]
    file: Option<PathBuf>,
    /// Publish all of stdin as one message
    #[arg(short, long, env = "MQWAY_STDIN_FILE", action = SetTrue, value_parser = FalseyValueParser::new())]
    stdin_file: bool,
    /// Publish an empty message
    #[arg(short, long, env = "MQWAY_NULL_MESSAGE", action = SetTrue, value_parser = FalseyValueParser::new())]
    null_message: bool,
}

/// What to publish.
#[derive(Debug, PartialEq, Eq)]
pub enum Source {
    /// This.
    Payload(Vec<u8>),
    /// Each line of stdin.
    Lines,
}

impl SourceFlags {
    /// Finds out what to publish, and reads it, if it is one message.
    ///
    /// # Errors
    /// If there is nothing, or more than one thing, or if it cannot be read.
    pub fn source(&self, lines: bool) -> Result<Source, Failure> {
        let given = [self.message.is_some(), self.file.is_some(), self.stdin_file, self.null_message, lines];
        if given.iter().filter(|given| **given).count() > 1 {
            return Err(Failure::usage(
                "one kind of message at a time: --message, --file, --stdin-file, --stdin-line or --null-message",
            ));
        }
        if let Some(text) = &self.message {
            return Ok(Source::Payload(text.clone().into_bytes()));
        }
        if let Some(path) = &self.file {
            return read_file(path).map(Source::Payload);
        }
        if self.stdin_file {
            return whole(io::stdin().lock(), "stdin").map(Source::Payload);
        }
        match (self.null_message, lines) {
            (true, _) => Ok(Source::Payload(Vec::new())),
            (_, true) => Ok(Source::Lines),
            _ => Err(Failure::usage(
                "nothing to publish; add --message, --file, --stdin-file, --stdin-line or --null-message",
            )),
        }
    }
}

fn read_file(path: &Path) -> Result<Vec<u8>, Failure> {
    let name = path.display().to_string();
    let file =
        File::open(path).map_err(|error| Failure::usage(format_args!("cannot read {name}: {error}")))?;
    whole(file, &name)
}

fn whole(from: impl Read, name: &str) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    from.take(MOST_PAYLOAD + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| Failure::usage(format_args!("cannot read {name}: {error}")))?;
    if bytes.len() as u64 > MOST_PAYLOAD {
        return Err(Failure::usage(format_args!(
            "{name} is longer than the {MOST_PAYLOAD} bytes that MQTT carries"
        )));
    }
    Ok(bytes)
}
