//! Buffers: the one that a worker reads into, and those lent to connections that have something to send or keep.

use std::ops::Range;

/// What one read of a socket brings at the most, in bytes.
pub(crate) const READ_SIZE: usize = 64 * 1024;

/// Room before the bytes read, for the start of a packet that an earlier read brought: so that the common case,
/// a packet cut by the end of a read, costs a copy of that packet's start and nothing else.
pub(crate) const HEADROOM: usize = 4 * 1024;

/// A worker's one read buffer.
pub(crate) struct ReadBuffer {
    bytes: Box<[u8]>,
}

impl ReadBuffer {
    pub fn new() -> ReadBuffer {
        ReadBuffer { bytes: vec![0; HEADROOM + READ_SIZE].into_boxed_slice() }
    }

    /// Where a read goes.
    pub fn space(&mut self) -> &mut [u8] {
        &mut self.bytes[HEADROOM..]
    }

    /// Some of the bytes read, with `before` (at most [`HEADROOM`]) put in front of them, over whatever was there.
    pub fn joined(&mut self, before: &[u8], read: Range<usize>) -> &mut [u8] {
        let (start, end) = (HEADROOM + read.start, HEADROOM + read.end);
        let begin = start - before.len();
        self.bytes[begin..start].copy_from_slice(before);
        &mut self.bytes[begin..end]
    }
}

/// The capacity of a new buffer. Smaller ones, which did not come from a pool, are not kept.
const SMALLEST_KEPT: usize = 4 * 1024;

/// Buffers that nobody uses at the moment. An idle connection owns none.
pub(crate) struct Pool {
    free: Vec<Vec<u8>>,
    held: usize,
    /// How many have not been lent since [`Pool::age`].
    unused: usize,
    /// The bytes that it keeps at the most.
    most: usize,
}

/// A buffer that grew over this goes back to the allocator rather than to the pool.
const LARGEST_KEPT: usize = 256 * 1024;

/// A buffer for bytes that may lie in it for long is no more than this many times as large as they are. Else a peer
/// that has us wait for the rest of a packet would hold far more memory than it is counted for.
const MOST_SLACK: usize = 4;

/// Of the bytes that connections may hold in all, the part that pools keep at the most: enough for a thousand receivers
/// that are sent 64 KiB each in every tick. What is given to the allocator and taken again costs page faults, and growing
/// from the smallest size once more.
const POOLED_PART: usize = 16;

impl Pool {
    /// The pool of one of `workers` of an engine whose connections may hold `buffered` bytes.
    pub fn new(buffered: usize, workers: usize) -> Pool {
        Pool { free: Vec::new(), held: 0, unused: 0, most: buffered / POOLED_PART / workers.max(1) }
    }

    /// Lends a buffer to `place` if it has none.
    pub fn lend(&mut self, place: &mut Vec<u8>) {
        if place.capacity() > 0 {
            return;
        }
        *place = match self.free.pop() {
            Some(buffer) => {
                self.held -= buffer.capacity();
                self.unused = self.unused.min(self.free.len());
                buffer
            }
            None => Vec::with_capacity(SMALLEST_KEPT),
        };
    }

    /// Appends to `place` what may lie there for long.
    pub fn store(&mut self, place: &mut Vec<u8>, bytes: &[u8]) {
        let most = bytes.len().saturating_mul(MOST_SLACK);
        if self.free.last().is_some_and(|buffer| buffer.capacity() <= most) {
            self.lend(place);
        }
        place.extend_from_slice(bytes);
    }

    /// Moves what is left in `place` to a buffer of its size, if it lies in one that is far larger.
    #[inline]
    pub fn shrink(&mut self, place: &mut Vec<u8>) {
        if is_far_larger(place, place.len()) {
            let mut large = std::mem::take(place);
            self.store(place, &large);
            self.take_back(&mut large);
        }
    }

    /// Takes back the buffer of `place`, which then owns no memory.
    pub fn take_back(&mut self, place: &mut Vec<u8>) {
        let mut buffer = std::mem::take(place);
        let size = buffer.capacity();
        if !(SMALLEST_KEPT..=LARGEST_KEPT).contains(&size) || self.held + size > self.most {
            return;
        }
        buffer.clear();
        self.held += size;
        self.free.push(buffer);
    }

    /// Lets go of the buffers that have not been lent since the last call: what a rush needed is not kept for ever.
    pub fn age(&mut self) {
        let dropped: usize = self.free.drain(..self.unused).map(|buffer| buffer.capacity()).sum();
        self.held -= dropped;
        self.unused = self.free.len();
        self.free.shrink_to(2 * self.unused);
    }

    pub fn is_empty(&self) -> bool {
        self.free.is_empty()
    }
}

/// Whether a buffer is far larger than so many bytes of it that are still of use.
#[inline]
pub(crate) fn is_far_larger(buffer: &Vec<u8>, used: usize) -> bool {
    buffer.capacity() > SMALLEST_KEPT.max(used.saturating_mul(MOST_SLACK))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_kept_stands_before_what_was_read() {
        let mut buffer = ReadBuffer::new();
        buffer.space()[..3].copy_from_slice(b"def");
        assert_eq!(buffer.joined(b"abc", 0..3), b"abcdef");
        assert_eq!(buffer.joined(b"", 0..2), b"de");
        assert_eq!(buffer.joined(b"b", 1..3), b"bef");
    }

    #[test]
    fn a_pool_lends_what_it_got_back_but_keeps_nothing_large_or_small() {
        let mut pool = Pool::new(1024 * 1024 * 1024, 1);
        let mut buffer = Vec::with_capacity(5_000);
        buffer.push(1);
        pool.take_back(&mut buffer);
        assert_eq!(buffer.capacity(), 0);
        pool.lend(&mut buffer);
        assert!(buffer.is_empty() && buffer.capacity() == 5_000);
        for size in [0, 100, LARGEST_KEPT + 1] {
            let mut other = Vec::with_capacity(size);
            pool.take_back(&mut other);
            assert!(pool.free.is_empty() && other.capacity() == 0);
        }
    }

    #[test]
    fn buffers_that_nobody_has_borrowed_for_long_are_let_go() {
        let mut pool = Pool::new(1024 * 1024 * 1024, 1);
        for _ in 0..100 {
            pool.take_back(&mut Vec::with_capacity(5_000));
        }
        pool.age();
        assert_eq!(pool.free.len(), 100);
        let mut lent: Vec<_> = (0..10).map(|_| Vec::new()).collect();
        lent.iter_mut().for_each(|place| pool.lend(place));
        lent.iter_mut().for_each(|place| pool.take_back(place));
        pool.age();
        assert!(pool.free.len() == 10 && pool.held == 50_000);
        pool.age();
        assert!(pool.is_empty() && pool.held == 0);
    }

    #[test]
    fn a_pool_keeps_its_part_of_what_may_be_buffered() {
        let mut pool = Pool::new(POOLED_PART * 20_000, 2);
        for _ in 0..3 {
            pool.take_back(&mut Vec::with_capacity(5_000));
        }
        assert!(pool.free.len() == 2 && pool.held == 10_000);
    }

    #[test]
    fn a_few_bytes_that_stay_do_not_hold_a_large_buffer() {
        let mut pool = Pool::new(1024 * 1024 * 1024, 1);
        pool.take_back(&mut Vec::with_capacity(100_000));
        let mut place = Vec::new();
        pool.store(&mut place, b"x");
        assert!(place == b"x" && place.capacity() < 100);
        let mut place = vec![1; 50_000];
        place.truncate(10);
        pool.shrink(&mut place);
        assert!(place == [1; 10] && place.capacity() < 100);
        assert_eq!(pool.free.len(), 2);
        let mut place = Vec::new();
        pool.store(&mut place, &[2; 40_000]);
        assert!(place == [2; 40_000] && pool.free.len() == 1);
    }
}
