//! A table that grows and shrinks by pieces.

/// Entries by small numbers, such as [`ConnId::slot`](crate::ConnId::slot).
///
/// It grows a piece at a time, and nothing in it ever moves. So growing never copies what is there, which with a hundred
/// thousand connections would hold all of them up, and never takes the memory for it twice. Pieces at the end that
/// nothing is in any more are given back.
#[derive(Debug)]
pub struct Slots<T> {
    pieces: Vec<Piece<T>>,
    /// The last piece that there was no need for, so that an entry that comes and goes does not make one each time.
    spare: Option<Piece<T>>,
}

#[derive(Debug)]
struct Piece<T> {
    entries: Box<[Option<T>; PIECE]>,
    /// How many there are.
    len: usize,
}

/// Entries that a piece has room for.
const PIECE: usize = 256;

impl<T> Slots<T> {
    /// One without entries.
    pub const fn new() -> Slots<T> {
        Slots { pieces: Vec::new(), spare: None }
    }

    /// The entry with this number.
    #[inline]
    pub fn look(&self, number: usize) -> Option<&T> {
        self.pieces.get(number / PIECE)?.entries[number % PIECE].as_ref()
    }

    /// The same, to be changed.
    #[inline]
    pub fn find(&mut self, number: usize) -> Option<&mut T> {
        self.pieces.get_mut(number / PIECE)?.entries[number % PIECE].as_mut()
    }

    /// Puts an entry in, in place of the one with this number if there is one. It takes memory for all numbers up to the
    /// highest in use.
    pub fn insert(&mut self, number: usize, entry: T) {
        let (at, place) = (number / PIECE, number % PIECE);
        while self.pieces.len() <= at {
            let new = || Piece { entries: Box::new([const { None }; PIECE]), len: 0 };
            self.pieces.push(self.spare.take().unwrap_or_else(new));
        }
        let piece = &mut self.pieces[at];
        piece.len += usize::from(piece.entries[place].replace(entry).is_none());
    }

    /// Takes an entry out.
    pub fn remove(&mut self, number: usize) -> Option<T> {
        let piece = self.pieces.get_mut(number / PIECE)?;
        let entry = piece.entries[number % PIECE].take()?;
        piece.len -= 1;
        while self.pieces.last().is_some_and(|last| last.len == 0) {
            self.spare = self.pieces.pop();
        }
        Some(entry)
    }

    /// All entries, by their numbers.
    pub fn iter(&self) -> impl Iterator<Item = (usize, &T)> {
        let all = self.pieces.iter().flat_map(|piece| piece.entries.iter()).enumerate();
        all.filter_map(|(number, entry)| Some((number, entry.as_ref()?)))
    }
}

impl<T> Default for Slots<T> {
    fn default() -> Slots<T> {
        Slots::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_in_is_there_until_it_is_taken_out() {
        let mut slots = Slots::new();
        let numbers = [0, PIECE - 1, PIECE, 3 * PIECE];
        assert_eq!(slots.look(0), None::<&usize>);
        for number in numbers {
            slots.insert(number, 0);
            slots.insert(number, number);
        }
        assert!(
            slots.iter().map(|(number, entry)| (number, *entry)).eq(numbers.map(|number| (number, number)))
        );
        for number in numbers {
            assert_eq!(slots.look(number), Some(&number));
            assert_eq!(slots.find(number).copied(), Some(number));
            assert_eq!(slots.remove(number), Some(number));
            assert_eq!(slots.look(number), None);
            assert_eq!(slots.remove(number), None);
        }
        assert_eq!((slots.look(1), slots.look(4 * PIECE)), (None, None));
    }

    #[test]
    fn pieces_at_the_end_without_entries_are_given_back() {
        let mut slots = Slots::new();
        (0..4 * PIECE).for_each(|number| slots.insert(number, number));
        assert_eq!(slots.pieces.len(), 4);
        assert!((PIECE..3 * PIECE).all(|number| slots.remove(number) == Some(number)));
        assert!(slots.pieces.len() == 4 && slots.spare.is_none());
        assert!((3 * PIECE..4 * PIECE).all(|number| slots.remove(number) == Some(number)));
        assert!(slots.pieces.len() == 1 && slots.spare.is_some());
        slots.insert(PIECE, 7);
        assert!(slots.pieces.len() == 2 && slots.spare.is_none());
        assert_eq!(slots.iter().count(), PIECE + 1);
    }
}
