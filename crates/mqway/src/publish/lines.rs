//! Lines of stdin, read on a thread of their own, a little ahead of the network.

use std::io::{self, BufRead, BufReader, Read};
use std::thread;

use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::source::MOST_PAYLOAD;
use crate::failure::Failure;

/// What one read of the pipe brings at the most, in bytes.
const READ_SIZE: usize = 64 * 1024;

/// Batches that wait; each has the lines of one read.
const BATCHES: usize = 4;

/// Lines without their ends. An error is the last thing that comes.
pub type Batch = Result<Vec<Vec<u8>>, Failure>;

/// Begins to read. The channel ends with stdin.
pub fn read() -> Receiver<Batch> {
    let (sender, batches) = channel(BATCHES);
    // It ends with stdin or with the process.
    thread::spawn(move || forward(&sender, io::stdin()));
    batches
}

fn forward(to: &Sender<Batch>, from: impl Read) {
    let mut lines = Lines { from: BufReader::with_capacity(READ_SIZE, from), most: MOST_PAYLOAD, read: 0 };
    loop {
        let batch = lines.batch();
        let last = !matches!(&batch, Ok(lines) if !lines.is_empty());
        let nothing = matches!(&batch, Ok(lines) if lines.is_empty());
        // Nobody listens any more: the command is at its end.
        if !nothing && to.blocking_send(batch).is_err() || last {
            return;
        }
    }
}

struct Lines<R> {
    from: BufReader<R>,
    /// Bytes of the longest line.
    most: u64,
    /// Lines so far.
    read: u64,
}

impl<R: Read> Lines<R> {
    /// At least one line, and those that are there already; none at the end.
    fn batch(&mut self) -> Batch {
        let mut batch = Vec::new();
        while let Some(line) = self.line()? {
            batch.push(line);
            if !self.from.buffer().contains(&b'\n') {
                break;
            }
        }
        Ok(batch)
    }

    /// The next line, without its line feed; a carriage return before it is part of the line.
    fn line(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        let mut line = Vec::new();
        let limit = self.most + 1;
        // One byte more than a line may have, for its line feed.
        let len = (&mut self.from)
            .take(limit)
            .read_until(b'\n', &mut line)
            .map_err(|error| Failure::other(format_args!("cannot read stdin: {error}")))?;
        self.read += 1;
        if line.last() == Some(&b'\n') {
            line.pop();
        } else if len as u64 == limit {
            return Err(Failure::usage(format_args!(
                "line {} is longer than the {} bytes that MQTT carries",
                self.read, self.most
            )));
        } else if len == 0 {
            return Ok(None);
        }
        Ok(Some(line))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &[u8], most: u64) -> Result<Vec<Vec<u8>>, Failure> {
        let mut lines = Lines { from: BufReader::with_capacity(4, text), most, read: 0 };
        let mut found = Vec::new();
        loop {
            let batch = lines.batch()?;
            if batch.is_empty() {
                return Ok(found);
            }
            found.extend(batch);
        }
    }

    #[test]
    fn a_line_ends_with_a_line_feed_or_with_the_input() {
        let none: [&[u8]; 0] = [];
        assert_eq!(all(b"", 10).unwrap(), none);
        assert_eq!(all(b"\n", 10).unwrap(), [b""]);
        assert_eq!(all(b"one\n\ntwo\r\n\0\xff", 10).unwrap(), [&b"one"[..], b"", b"two\r", b"\0\xff"]);
        assert_eq!(all(b"longer than a read", 100).unwrap(), [b"longer than a read"]);
    }

    #[test]
    fn a_line_that_no_packet_can_carry_is_told_with_its_number() {
        assert_eq!(all(b"12345\n", 5).unwrap(), [b"12345"]);
        assert_eq!(all(b"12345", 5).unwrap(), [b"12345"]);
        let told = all(b"1\n123456\n", 5).unwrap_err().message;
        assert!(told.starts_with("line 2 is longer"), "{told}");
    }
}
