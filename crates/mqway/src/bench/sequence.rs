//! What one subscriber has had of one publisher: what is missing, what came twice, what came late.

/// The numbers that have come, remembered exactly for the last 64 and by count before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sequence {
    /// One more than the highest that has come.
    next: u64,
    /// Which of the 64 below `next` have come; the lowest bit is the highest number.
    recent: u64,
    /// Those below `next` that have not come.
    missing: u64,
}

/// What a number that comes is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// The highest so far; perhaps others before it are missing.
    Newest,
    /// One that was missing, after a higher one.
    OutOfOrder,
    /// It has come before.
    Duplicate,
}

impl Sequence {
    /// A sequence of which nothing below `number` is expected, because nobody listened before.
    pub fn starting_at(number: u64) -> Sequence {
        Sequence { next: number, ..Sequence::default() }
    }

    /// Notes that `number` has come.
    #[inline]
    pub fn note(&mut self, number: u64) -> Arrival {
        if number == self.next {
            self.next = self.next.saturating_add(1);
            self.recent = self.recent << 1 | 1;
            return Arrival::Newest;
        }
        if number > self.next {
            let gap = number - self.next;
            self.missing = self.missing.saturating_add(gap);
            self.next = number.saturating_add(1);
            // More than 64 numbers on, nothing that is remembered is recent any more.
            let shift = u32::try_from(gap).ok().and_then(|gap| gap.checked_add(1));
            self.recent = shift.and_then(|shift| self.recent.checked_shl(shift)).unwrap_or(0) | 1;
            return Arrival::Newest;
        }
        let back = self.next - 1 - number;
        let known = u32::try_from(back).ok().and_then(|back| 1_u64.checked_shl(back));
        let seen = match known {
            Some(bit) => self.recent & bit != 0,
            // So far back only the count is left: as long as something is missing, this may be it.
            None => self.missing == 0,
        };
        if seen {
            return Arrival::Duplicate;
        }
        self.recent |= known.unwrap_or(0);
        self.missing = self.missing.saturating_sub(1);
        Arrival::OutOfOrder
    }

    /// One more than the highest number that has come.
    #[inline]
    pub fn next(&self) -> u64 {
        self.next
    }

    /// How many below the highest have not come.
    pub fn missing(&self) -> u64 {
        self.missing
    }

    /// How many of the first `sent` have not come.
    pub fn missing_of(&self, sent: u64) -> u64 {
        self.missing.saturating_add(sent.saturating_sub(self.next))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use mqway_engine::sim::Random;

    use super::*;

    #[test]
    fn each_kind_of_mischief_has_its_name() {
        let mut sequence = Sequence::default();
        assert_eq!([0, 1, 2].map(|number| sequence.note(number)), [Arrival::Newest; 3]);
        assert_eq!(sequence.note(1), Arrival::Duplicate);
        assert_eq!((sequence.note(5), sequence.missing()), (Arrival::Newest, 2));
        assert_eq!((sequence.note(4), sequence.missing()), (Arrival::OutOfOrder, 1));
        assert_eq!(sequence.note(4), Arrival::Duplicate);
        assert_eq!((sequence.missing_of(6), sequence.missing_of(10)), (1, 5));
    }

    #[test]
    fn it_agrees_with_a_set_while_nothing_is_older_than_it_remembers() {
        let mut random = Random::new(11);
        for _ in 0..200 {
            let (mut sequence, mut set, mut highest) = (Sequence::default(), BTreeSet::new(), 0_u64);
            for _ in 0..300 {
                let back = random.below(60) as u64;
                let number = (highest + random.below(8) as u64).saturating_sub(back);
                let expected = match set.last() {
                    _ if set.contains(&number) => Arrival::Duplicate,
                    Some(last) if number < *last => Arrival::OutOfOrder,
                    _ => Arrival::Newest,
                };
                set.insert(number);
                highest = highest.max(number);
                assert_eq!(sequence.note(number), expected, "{number}");
                assert_eq!(sequence.missing(), highest + 1 - set.len() as u64);
            }
        }
    }

    #[test]
    fn numbers_that_nobody_counts_up_to_do_no_harm() {
        let mut sequence = Sequence::default();
        assert_eq!(sequence.note(u64::MAX - 1), Arrival::Newest);
        assert_eq!(sequence.note(u64::MAX - 2), Arrival::OutOfOrder);
        assert_eq!(sequence.note(3), Arrival::OutOfOrder);
        assert_eq!(sequence.note(u64::MAX), Arrival::Newest, "it counts no further");
        assert!(sequence.missing_of(u64::MAX) > 0);
        let mut late = Sequence::starting_at(100);
        assert_eq!((late.note(100), late.missing()), (Arrival::Newest, 0));
    }
}
