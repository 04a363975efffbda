//! The store in a directory: one file to which changes are appended, and a lock.
//!
//! All that an outbox has is in memory, since the session needs it there; so the disk is only ever written, and read
//! once at the start. When most of the file is about messages that are done with, what is left is written to a new
//! file, which takes the place of the old one.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use mqway_session::client::Change;
use rustix::fs::{FlockOperation, flock};

use super::record::{self, FrameHead, Record, Unreadable};
use super::shelf::Shelf;
use super::{Content, OutboxError, Store};

/// Bytes of a file that are not worth writing it anew.
const SMALL: u64 = 4 * 1024 * 1024;

/// Bytes of records after which a frame is ended.
const FRAME: usize = 1024 * 1024;

pub(super) struct LogStore {
    directory: PathBuf,
    /// Held open: it is the lock.
    _lock: File,
    /// `None`: nothing was ever stored here.
    file: Option<File>,
    client_id: Option<String>,
    shelf: Shelf,
    /// Bytes of the file.
    len: u64,
    /// The number of its next frame.
    number: u64,
    /// The length from which on it may be written anew.
    compact_at: u64,
}

impl LogStore {
    pub fn open(directory: &Path) -> Result<LogStore, OutboxError> {
        let place = |error: io::Error| storage(&directory.display(), &error);
        fs::create_dir_all(directory).map_err(place)?;
        if let Some(parent) = directory.parent() {
            let here = parent.as_os_str().is_empty();
            sync_directory(if here { Path::new(".") } else { parent }).map_err(place)?;
        }
        let lock = directory.join("lock");
        let lock = OpenOptions::new().write(true).create(true).truncate(false).open(lock).map_err(place)?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(OutboxError::InUse),
            Err(error) => return Err(place(error.into())),
        }
        Ok(LogStore {
            directory: directory.to_owned(),
            _lock: lock,
            file: None,
            client_id: None,
            shelf: Shelf::default(),
            len: 0,
            number: 0,
            compact_at: SMALL,
        })
    }

    fn path(&self) -> PathBuf {
        self.directory.join("outbox.log")
    }

    fn error(&self, error: &io::Error) -> OutboxError {
        storage(&self.path().display(), error)
    }

    /// Reads a file to its end, and cuts off what a crash has left of a last frame.
    fn read(&mut self, file: File) -> Result<(), OutboxError> {
        let mut reader = BufReader::with_capacity(256 * 1024, &file);
        let mut head = Vec::new();
        self.read_up_to(&mut reader, record::HEAD, &mut head)?;
        record::check_head(&head).map_err(|unreadable| match unreadable {
            Unreadable::Format(found) if found > record::FORMAT => OutboxError::Newer { found },
            _ => OutboxError::Damaged(format!("{} is no outbox", self.path().display())),
        })?;
        self.len = record::HEAD as u64;
        let mut bytes = Vec::new();
        loop {
            bytes.clear();
            self.read_up_to(&mut reader, record::FRAME_HEAD, &mut bytes)?;
            if bytes.is_empty() {
                break;
            }
            if let Some(head) = FrameHead::read(&bytes).filter(|head| head.number == self.number) {
                self.read_up_to(&mut reader, head.len, &mut bytes)?;
                let records = bytes.get(record::FRAME_HEAD..).unwrap_or_default();
                if head.fits(records) {
                    self.apply(records)?;
                    self.len += bytes.len() as u64;
                    self.number += 1;
                    continue;
                }
            }
            self.read_up_to(&mut reader, usize::MAX, &mut bytes)?;
            if record::has_frame(&bytes, self.number + 1) {
                let at = self.len;
                return Err(OutboxError::Damaged(format!("{}, at byte {at}", self.path().display())));
            }
            log::info!(
                "mqtt: the last {} bytes of {} were not written whole",
                bytes.len(),
                self.path().display()
            );
            file.set_len(self.len).and_then(|()| file.sync_all()).map_err(|error| self.error(&error))?;
            break;
        }
        (&file).seek(io::SeekFrom::Start(self.len)).map_err(|error| self.error(&error))?;
        self.compact_at = self.len.max(SMALL);
        self.file = Some(file);
        Ok(())
    }

    /// Appends so many bytes, or fewer at the end of the file. Memory grows with what is really there.
    fn read_up_to(&self, reader: impl Read, len: usize, bytes: &mut Vec<u8>) -> Result<(), OutboxError> {
        reader.take(len as u64).read_to_end(bytes).map(drop).map_err(|error| self.error(&error))
    }

    fn apply(&mut self, records: &[u8]) -> Result<(), OutboxError> {
        for record in record::read_records(records) {
            match record {
                Some(Record::ClientId(client_id)) => self.client_id = Some(client_id),
                Some(Record::Accepted(accepted)) => self.shelf.accepted = accepted,
                Some(Record::Change(change)) => self.shelf.apply(&change)?,
                None => {
                    let number = self.number;
                    return Err(OutboxError::Damaged(format!(
                        "{}, in frame {number}",
                        self.path().display()
                    )));
                }
            }
        }
        Ok(())
    }

    /// Writes all there is to a new file, beside the present one.
    fn write_new(&self, path: &Path) -> io::Result<Written> {
        // Messages are nobody else's to read.
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
        let mut frames = Frames::new(0);
        frames.out.extend_from_slice(&record::head());
        let mut len = 0;
        frames.add(|out| {
            record::write_client_id(out, self.client_id.as_deref().unwrap_or_default());
            Ok(())
        })?;
        for change in self.shelf.changes() {
            frames.add(|out| record::write_change(out, &change))?;
            len += frames.flush_into(&mut file)?;
        }
        // Behind the messages, since reading those counts them.
        frames.add(|out| {
            record::write_accepted(out, self.shelf.accepted);
            Ok(())
        })?;
        frames.end();
        len += frames.flush_into(&mut file)?;
        file.sync_all()?;
        Ok(Written { file, len, number: frames.number })
    }

    /// Writes all there is to a new file, which takes the place of the present one. `Ok(Err(_))`: that one still
    /// stands.
    fn rewrite(&mut self) -> Result<io::Result<()>, OutboxError> {
        let new = self.directory.join("outbox.new");
        let written = self.write_new(&new).and_then(|written| {
            fs::rename(&new, self.path())?;
            Ok(written)
        });
        match written {
            Ok(Written { file, len, number }) => {
                (self.file, self.len, self.number) = (Some(file), len, number);
                // If the directory does not keep the new name, what is appended from now on may be lost.
                sync_directory(&self.directory).map_err(|error| self.error(&error))?;
                Ok(Ok(()))
            }
            Err(error) => {
                // Its space may be needed.
                let _ = fs::remove_file(&new);
                Ok(Err(error))
            }
        }
    }

    /// Writes the file anew, if most of it is about messages that are done with.
    fn compact(&mut self) -> Result<(), OutboxError> {
        if self.len < self.compact_at || self.len / 2 < self.shelf.bytes as u64 {
            return Ok(());
        }
        if let Err(error) = self.rewrite()? {
            // There is no hurry: all is in the present one.
            log::warn!("mqtt: {} cannot be made shorter: {error}", self.path().display());
        }
        self.compact_at = self.len + SMALL;
        Ok(())
    }
}

/// A new file.
struct Written {
    file: File,
    len: u64,
    /// Of its next frame.
    number: u64,
}

impl Store for LogStore {
    fn load(&mut self) -> Result<Content, OutboxError> {
        match OpenOptions::new().read(true).write(true).open(self.path()) {
            Ok(file) => self.read(file)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(self.error(&error)),
        }
        Ok(Content {
            client_id: self.client_id.clone(),
            accepted: self.shelf.accepted,
            session: self.shelf.saved(),
        })
    }

    fn keep_client_id(&mut self, client_id: &str) -> Result<(), OutboxError> {
        self.client_id = Some(client_id.to_owned());
        self.rewrite()?.map_err(|error| self.error(&error))
    }

    fn commit(&mut self, changes: &[Change]) -> Result<(), OutboxError> {
        let mut frames = Frames::new(self.number);
        for change in changes {
            self.shelf.apply(change)?;
            frames.add(|out| record::write_change(out, change)).map_err(|error| self.error(&error))?;
        }
        frames.end();
        let file = self.file.as_mut().ok_or_else(|| OutboxError::Damaged("it was never made".to_owned()))?;
        if let Err(error) = file.write_all(&frames.out).and_then(|()| file.sync_data()) {
            return Err(self.error(&error));
        }
        self.len += frames.out.len() as u64;
        self.number = frames.number;
        self.compact()
    }
}

/// Frames, as many as it takes.
struct Frames {
    out: Vec<u8>,
    /// Where the frame begins that is not ended.
    start: Option<usize>,
    /// The number of the next one to be ended.
    number: u64,
}

impl Frames {
    fn new(number: u64) -> Frames {
        Frames { out: Vec::new(), start: None, number }
    }

    fn add(
        &mut self,
        write: impl FnOnce(&mut Vec<u8>) -> Result<(), mqway_codec::EncodeError>,
    ) -> io::Result<()> {
        let start = *self.start.get_or_insert_with(|| record::begin_frame(&mut self.out));
        write(&mut self.out).map_err(io::Error::other)?;
        if self.out.len() - start >= FRAME {
            self.end();
        }
        Ok(())
    }

    fn end(&mut self) {
        if let Some(start) = self.start.take() {
            record::end_frame(&mut self.out, start, self.number);
            self.number += 1;
        }
    }

    /// Writes what there is, if it ends with a frame, and returns how much.
    fn flush_into(&mut self, file: &mut File) -> io::Result<u64> {
        if self.start.is_some() {
            return Ok(0);
        }
        file.write_all(&self.out)?;
        let len = self.out.len() as u64;
        self.out.clear();
        Ok(len)
    }
}

fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

fn storage(place: &dyn std::fmt::Display, error: &io::Error) -> OutboxError {
    OutboxError::Storage(format!("{place}: {error}").into())
}
