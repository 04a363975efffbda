//! Large payloads on their way out: shared instead of copied.
//!
//! What a connection sends is gathered in a buffer of its own. A large payload that goes to many would stand in as many
//! of these; so it stands beside them, and one vectored write takes it together with the bytes before and behind it.

use std::collections::VecDeque;
use std::fmt;
use std::io::IoSlice;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::Counters;
use crate::counters::{add, take};

/// Bytes that any number of connections send without a copy for each: see [`Io::send_blob`](crate::Io::send_blob).
pub struct Blob {
    bytes: Box<[u8]>,
    /// How often it waits to be written. While it does, it is counted for once.
    waiting: AtomicUsize,
}

impl Blob {
    /// One with these bytes.
    pub fn new(bytes: impl Into<Box<[u8]>>) -> Arc<Blob> {
        Arc::new(Blob { bytes: bytes.into(), waiting: AtomicUsize::new(0) })
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// Only the length.
impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.bytes.len())
    }
}

/// A blob that waits in a connection, and is counted among the bytes that the engine buffers: once for all connections
/// that it waits in.
pub(crate) struct Segment {
    blob: Arc<Blob>,
    counters: Arc<Counters>,
}

impl Segment {
    pub fn new(blob: Arc<Blob>, counters: Arc<Counters>) -> Segment {
        if blob.waiting.fetch_add(1, Ordering::Relaxed) == 0 {
            add(&counters.buffered, blob.bytes.len() as u64);
        }
        Segment { blob, counters }
    }

    fn bytes(&self) -> &[u8] {
        &self.blob.bytes
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        if self.blob.waiting.fetch_sub(1, Ordering::Relaxed) == 1 {
            take(&self.counters.buffered, self.blob.bytes.len() as u64);
        }
    }
}

/// The blobs that stand between the bytes of a buffer.
#[derive(Default)]
pub(crate) struct Segments {
    /// Each with the number of bytes of the buffer that come before it.
    queue: VecDeque<(usize, Segment)>,
    /// Bytes of the first that are done with.
    done: usize,
    /// Bytes of all that are not.
    left: usize,
}

/// Slices that one vectored write takes at the most.
const MOST_SLICES: usize = 64;

impl Segments {
    /// Adds one behind the first `at` bytes of the buffer, and behind all others. Empty ones are left out.
    pub fn push(&mut self, at: usize, segment: Segment) {
        if !segment.bytes().is_empty() {
            self.left += segment.bytes().len();
            self.queue.push_back((at, segment));
        }
    }

    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Bytes of them that are left.
    pub fn left(&self) -> usize {
        self.left
    }

    /// What comes next of `buffer`, of which `done` bytes are done with, and of these, in order: all of it, or as much as
    /// one write takes.
    pub fn slices<'a>(&'a self, buffer: &'a [u8], done: usize) -> Vec<IoSlice<'a>> {
        let mut slices = Vec::with_capacity(MOST_SLICES.min(2 * self.queue.len() + 1));
        let mut add = |bytes: &'a [u8]| {
            if !bytes.is_empty() && slices.len() < MOST_SLICES {
                slices.push(IoSlice::new(bytes));
            }
        };
        let (mut from, mut skip) = (done, self.done);
        for (at, segment) in self.queue.iter().take(MOST_SLICES) {
            add(buffer.get(from..*at).unwrap_or_default());
            add(segment.bytes().get(skip..).unwrap_or_default());
            (from, skip) = (*at, 0);
        }
        if self.queue.len() <= MOST_SLICES {
            add(buffer.get(from..).unwrap_or_default());
        }
        slices
    }

    /// Is done with `by` bytes more. Returns how many bytes of the buffer are done with then, `done` before.
    pub fn advance(&mut self, mut done: usize, mut by: usize) -> usize {
        while let Some((at, segment)) = self.queue.front() {
            let before = at.saturating_sub(done).min(by);
            (done, by) = (done + before, by - before);
            let rest = segment.bytes().len() - self.done;
            if done < *at || by < rest {
                self.done += by;
                self.left -= by;
                return done;
            }
            self.left -= rest;
            self.done = 0;
            by -= rest;
            self.queue.pop_front();
        }
        done + by
    }

    /// The first `by` bytes of the buffer are taken out of it, which are done with.
    pub fn shift(&mut self, by: usize) {
        self.queue.iter_mut().for_each(|(at, _)| *at = at.saturating_sub(by));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::Random;

    fn rest(segments: &Segments, buffer: &[u8], done: usize) -> Vec<u8> {
        segments.slices(buffer, done).iter().flat_map(|slice| slice.iter().copied()).collect()
    }

    #[test]
    fn whatever_a_write_takes_the_rest_comes_in_order() {
        let counters = Arc::new(Counters::default());
        let mut random = Random::new(3);
        for _ in 0..2_000 {
            let (mut segments, mut buffer, mut whole) = (Segments::default(), Vec::new(), Vec::new());
            for number in 0..random.below(12) as u8 {
                let some = vec![number; random.below(4)];
                buffer.extend_from_slice(&some);
                whole.extend_from_slice(&some);
                let large = vec![100 + number; random.below(6)];
                whole.extend_from_slice(&large);
                segments.push(buffer.len(), Segment::new(Blob::new(large), counters.clone()));
            }
            buffer.push(99);
            whole.push(99);
            let (mut done, mut sent) = (0, 0);
            while sent < whole.len() {
                assert_eq!(rest(&segments, &buffer, done), whole[sent..]);
                assert_eq!(segments.left() + buffer.len() - done, whole.len() - sent);
                let some = 1 + random.below(whole.len() - sent);
                done = segments.advance(done, some);
                sent += some;
                if random.below(3) == 0 {
                    buffer.drain(..done);
                    segments.shift(done);
                    done = 0;
                }
            }
            assert!(segments.is_empty() && segments.left() == 0 && done == buffer.len());
        }
        assert_eq!(counters.buffered_now(), 0);
    }

    #[test]
    fn one_write_takes_many_slices_but_not_any_number() {
        let counters = Arc::new(Counters::default());
        let mut segments = Segments::default();
        for at in 0..1_000 {
            segments.push(at, Segment::new(Blob::new(*b"blob"), counters.clone()));
        }
        let slices = segments.slices(&[7; 1_000], 0);
        assert_eq!(slices.len(), MOST_SLICES);
        assert_eq!((&*slices[0], &*slices[1], &*slices[2]), (&b"blob"[..], &[7][..], &b"blob"[..]));
    }

    #[test]
    fn a_blob_that_waits_in_many_places_is_counted_once() {
        let counters = Arc::new(Counters::default());
        let blob = Blob::new(vec![1; 1_000]);
        let wait = || Segment::new(blob.clone(), counters.clone());
        let (first, second) = (wait(), wait());
        assert_eq!(counters.buffered_now(), 1_000);
        drop(first);
        assert_eq!(counters.buffered_now(), 1_000);
        drop(second);
        assert_eq!(counters.buffered_now(), 0);
    }
}
