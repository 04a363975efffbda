//! What decides a schedule: a seed, or bytes.

use mqway_engine::sim::Random;

pub enum Choices<'a> {
    Seed(Random),
    /// When they run out, every choice is the first.
    Bytes(&'a [u8]),
}

impl Choices<'_> {
    pub fn of_seed(seed: u64) -> Choices<'static> {
        Choices::Seed(Random::new(seed ^ 0x6d71_7761_7900_0000))
    }

    /// A number below `bound`, which is at most 65,536.
    pub fn below(&mut self, bound: usize) -> usize {
        match self {
            Choices::Seed(random) => random.below(bound),
            Choices::Bytes(bytes) => {
                let wide = bound > 256;
                let byte = |bytes: &mut &[u8]| match bytes.split_first() {
                    Some((byte, rest)) => {
                        *bytes = rest;
                        usize::from(*byte)
                    }
                    None => 0,
                };
                let high = if wide { byte(bytes) << 8 } else { 0 };
                (high | byte(bytes)) % bound.max(1)
            }
        }
    }

    /// One time in so many.
    pub fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == times - 1
    }

    pub fn pick<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len())]
    }

    /// Whether nothing is left to decide by.
    pub fn is_over(&self) -> bool {
        matches!(self, Choices::Bytes([]))
    }
}
