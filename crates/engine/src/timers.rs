//! Moments to come, in order. Nothing is cancelled: whoever set a moment checks, when it comes, if it still matters.
//! But where moments become many, those that do not matter any more are swept out: else clients that ask for a long
//! keep alive, leave and come again would fill the memory with them.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use crate::ConnId;

/// What a moment is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Due {
    /// The core's, by its own key.
    Core(u64),
    /// A connection's deadline: handshake, dial or close.
    Conn(ConnId),
    /// Buffers that nobody uses are let go.
    Pool,
    /// The shell's own.
    Shell(ShellDue),
}

/// What a shell waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ShellDue {
    /// A listener, by its place, has rested after an accept error.
    Accept(usize),
    /// The address of a dialled name that has so many others behind it has had its time.
    NextAddress(ConnId, u32),
}

/// A time since the engine's start, in nanoseconds: half as large as a [`Duration`], and every connection has two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(u64);

impl Moment {
    /// It never comes, or in more than five hundred years.
    pub const NEVER: Moment = Moment(u64::MAX);
}

impl From<Duration> for Moment {
    fn from(time: Duration) -> Moment {
        u64::try_from(time.as_nanos()).map_or(Moment::NEVER, Moment)
    }
}

impl From<Moment> for Duration {
    fn from(Moment(nanos): Moment) -> Duration {
        Duration::from_nanos(nanos)
    }
}

/// A queue of moments, in time since the engine's start.
#[derive(Default)]
pub(crate) struct Timers {
    heap: BinaryHeap<Reverse<(Moment, Due)>>,
    /// How many the last sweep left.
    swept: usize,
}

/// So many moments are not worth a sweep.
const FEW: usize = 4096;

impl Timers {
    pub fn set(&mut self, at: impl Into<Moment>, due: Due) {
        self.heap.push(Reverse((at.into(), due)));
    }

    /// How many are to come.
    pub fn len(&self) -> usize {
        self.heap.len()
    }

    /// Whether there are twice as many as the last sweep left, so that sweeping costs little for each.
    #[inline]
    pub fn are_many(&self) -> bool {
        self.heap.len() > FEW.max(2 * self.swept)
    }

    /// Forgets those that do not matter any more.
    pub fn sweep(&mut self, mut matters: impl FnMut(&Due) -> bool) {
        self.heap.retain(|Reverse((_, due))| matters(due));
        self.swept = self.heap.len();
        self.heap.shrink_to(2 * self.swept);
    }

    /// When the first of them comes.
    pub fn next(&self) -> Option<Duration> {
        self.heap.peek().map(|Reverse((at, _))| (*at).into())
    }

    /// Takes the first one that has come by `now`.
    pub fn pop(&mut self, now: Duration) -> Option<Due> {
        if self.next()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse((_, due))| due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_to_come_takes_24_bytes() {
        assert_eq!(size_of::<Reverse<(Moment, Due)>>(), 24);
    }

    #[test]
    fn moments_come_in_order_and_not_before_their_time() {
        let mut timers = Timers::default();
        let ms = Duration::from_millis;
        timers.set(ms(20), Due::Core(2));
        timers.set(ms(10), Due::Core(1));
        assert_eq!(timers.next(), Some(ms(10)));
        assert_eq!(timers.pop(ms(9)), None);
        assert_eq!(timers.pop(ms(30)), Some(Due::Core(1)));
        assert_eq!(timers.pop(ms(30)), Some(Due::Core(2)));
        assert_eq!(timers.pop(ms(30)), None);
    }

    #[test]
    fn moments_that_matter_no_more_are_swept_out_where_they_are_many() {
        let mut timers = Timers::default();
        for key in 0..1_000_000 {
            timers.set(Duration::from_secs(98_302), Due::Core(key));
            if timers.are_many() {
                timers.sweep(|due| matches!(due, Due::Core(key) if key % 1_000 == 0));
            }
        }
        assert!(timers.len() <= FEW + 1_000 && timers.heap.capacity() < 4 * FEW, "{}", timers.len());
        timers.sweep(|due| matches!(due, Due::Core(key) if key % 1_000 == 0));
        assert_eq!(timers.len(), 1_000);
    }
}
