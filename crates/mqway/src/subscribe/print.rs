//! How messages are printed: the payload, with the topic, by a format, or as JSON.

use std::fs::File;
use std::io::{self, Write};
use std::mem;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::thread;

use clap::ArgAction::SetTrue;
use clap::builder::FalseyValueParser;
use jiff::Zoned;
use mqway_client::Incoming;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, spawn_blocking};

use super::format::Template;
use crate::failure::Failure;
use crate::tap::{fields, shown};

/// Bytes that are gathered before they are written, also while more messages are there.
const FULL: usize = 64 * 1024;

/// Bytes that a pipe takes without waiting if it takes any: what POSIX says of each.
const SURE: usize = 512;

/// The flags that say how.
#[derive(Clone, Debug, clap::Args)]
pub struct PrintFlags {
    /// Print the topic, too, before the payload
    #[arg(short, long, env = "MQWAY_VERBOSE", action = SetTrue, value_parser = FalseyValueParser::new())]
    verbose: bool,
    /// Print messages like this, as mosquitto_sub does: %t topic, %p payload, %q QoS, %r retained, %l length, %x payload
    /// in hexadecimal, %j JSON, %I time, @Y and so on for strftime, \n and so on; see mosquitto_sub(1)
    #[arg(short = 'F', long, value_name = "FORMAT", env = "MQWAY_FORMAT")]
    format: Option<String>,
    /// End no message with a line feed
    #[arg(short = 'N', long, env = "MQWAY_NO_LINE_FEED", action = SetTrue, value_parser = FalseyValueParser::new())]
    no_line_feed: bool,
    /// Spread the JSON of %j and %J over several lines
    #[arg(long, env = "MQWAY_PRETTY", action = SetTrue, value_parser = FalseyValueParser::new())]
    pretty: bool,
}

/// Prints messages.
pub struct Printer {
    style: Style,
    line_feed: bool,
    buffer: Vec<u8>,
    stdout: Arc<File>,
    /// A write that may take long, on a thread of its own.
    writing: Option<JoinHandle<io::Result<()>>>,
    is_closed: bool,
}

enum Style {
    /// What each says; nothing for an empty message.
    Payload,
    /// Topic and payload, with a word for an empty one.
    Verbose,
    Format(Template),
    /// One object each.
    Json,
}

impl Printer {
    /// A printer to stdout.
    ///
    /// # Errors
    /// If the format is none.
    pub fn new(flags: &PrintFlags, as_json: bool) -> Result<Printer, Failure> {
        let style = match (&flags.format, as_json, flags.verbose) {
            (Some(text), ..) => Style::Format(
                Template::parse(text, flags.pretty)
                    .map_err(|why| Failure::usage(format_args!("bad format {text:?}: {why}")))?,
            ),
            (None, true, _) => Style::Json,
            (None, false, true) => Style::Verbose,
            (None, false, false) => Style::Payload,
        };
        // Around the standard library's buffer, which looks for lines in everything.
        let stdout = io::stdout().as_fd().try_clone_to_owned().map_err(Failure::other)?;
        Ok(Printer {
            style,
            line_feed: !flags.no_line_feed,
            buffer: Vec::new(),
            stdout: Arc::new(File::from(stdout)),
            writing: None,
            is_closed: false,
        })
    }

    /// Adds a message to what is to be written.
    pub fn print(&mut self, message: &Incoming) {
        let out = &mut self.buffer;
        match &self.style {
            Style::Payload if message.payload.is_empty() => return,
            Style::Payload => out.extend_from_slice(&message.payload),
            Style::Verbose => {
                out.extend_from_slice(message.topic.as_bytes());
                out.push(b' ');
                match message.payload.is_empty() {
                    true => out.extend_from_slice(b"(null)"),
                    false => out.extend_from_slice(&message.payload),
                }
            }
            Style::Format(template) => template.write(message, out),
            Style::Json => {
                let time = jiff::Timestamp::now().to_string();
                let fields = fields::message(message, &time);
                out.extend_from_slice(shown::json(&fields, usize::MAX).as_bytes());
                out.push(b'\n');
                return;
            }
        }
        if self.line_feed {
            out.push(b'\n');
        }
    }

    /// Whether it is time to write.
    pub fn is_full(&self) -> bool {
        self.buffer.len() >= FULL
    }

    /// Whether nobody reads what is written any more.
    pub fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// Writes what was printed. That nobody reads it is no error: whoever did has what it wanted. A reader may take its
    /// time; the connection is kept alive meanwhile. If this is dropped on the way, the next call goes on with it.
    ///
    /// # Errors
    /// If it cannot be written for another reason, such as a full disk.
    pub async fn flush(&mut self) -> Result<(), Failure> {
        loop {
            if let Some(writing) = &mut self.writing {
                let written = writing.await.unwrap_or_else(|error| Err(io::Error::other(error)));
                self.writing = None;
                self.note(written)?;
            }
            if self.is_closed {
                self.buffer.clear();
            }
            if self.buffer.is_empty() {
                return Ok(());
            }
            if self.has_room() {
                let written = (&*self.stdout).write_all(&self.buffer);
                self.buffer.clear();
                self.note(written)?;
            } else {
                let (stdout, bytes) = (Arc::clone(&self.stdout), mem::take(&mut self.buffer));
                self.writing = Some(spawn_blocking(move || (&*stdout).write_all(&bytes)));
            }
        }
    }

    /// Whether stdout takes all at once, for certain.
    fn has_room(&self) -> bool {
        let mut watched = [PollFd::new(&*self.stdout, PollFlags::OUT)];
        self.buffer.len() <= SURE
            && poll(&mut watched, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
    }

    fn note(&mut self, written: io::Result<()>) -> Result<(), Failure> {
        match written {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.is_closed = true;
                Ok(())
            }
            written => written.map_err(|error| Failure::stdout(&error)),
        }
    }
}

/// Resolves once nobody reads stdout any more, where the system can tell: of pipes and terminals, not of files.
pub async fn closed() {
    let (told, closed) = oneshot::channel();
    // It ends with the process. The runtime itself could only watch by making stdout non-blocking, which others share.
    thread::spawn(move || {
        let stdout = io::stdout();
        let mut watched = [PollFd::new(&stdout, PollFlags::empty())];
        loop {
            match poll(&mut watched, None) {
                Err(Errno::INTR) => {}
                // It cannot be watched: writing will tell.
                Err(_) => return,
                Ok(_) => {
                    let _ = told.send(());
                    return;
                }
            }
        }
    });
    if closed.await.is_err() {
        std::future::pending().await
    }
}

/// The time of a message, in the zone of this machine.
pub fn now() -> Zoned {
    Zoned::now()
}
