//! Numbers that look random and follow from a seed.

/// SplitMix64.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64, number: u64) -> Self {
        let mut random = Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        random.0 = random.next() ^ number.wrapping_mul(0xd134_2543_de82_ef95);
        random
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number in `from..=to`.
    pub fn between(&mut self, from: i64, to: i64) -> i64 {
        let room = u64::try_from(to - from).expect("from <= to") + 1;
        from + i64::try_from(self.next() % room).expect("a small number")
    }

    /// An index below a length.
    pub fn below(&mut self, length: usize) -> usize {
        usize::try_from(self.next() % length as u64).expect("a small number")
    }

    /// True that often in a hundred times.
    pub fn percent(&mut self, percent: u64) -> bool {
        self.next() % 100 < percent
    }

    /// One of several.
    pub fn pick<T: Clone>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())].clone()
    }

    /// One of several, each as often as its weight says.
    pub fn weighted<T: Copy>(&mut self, all: &[(u64, T)]) -> T {
        let mut at = self.next() % all.iter().map(|(weight, _)| weight).sum::<u64>();
        for (weight, one) in all {
            if at < *weight {
                return *one;
            }
            at -= weight;
        }
        unreachable!("less than the sum of all weights")
    }
}
