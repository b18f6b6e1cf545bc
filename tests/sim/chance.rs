//! Chance: one seed, one course of events.

/// SplitMix64 (Steele, Lea and Flood, 2014).
pub struct Chance(u64);

impl Chance {
    /// The same seed, the same numbers.
    pub fn seeded(seed: u64) -> Chance {
        Chance(seed.wrapping_mul(0xa076_1d64_78bd_642f))
    }

    /// Any number.
    pub fn any(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 to `n` - 1.
    pub fn below(&mut self, n: usize) -> usize {
        (self.any() >> 11) as usize % n
    }

    /// From `low` to `high`, both included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + (self.any() >> 11) % (high - low + 1)
    }

    /// Of any order of magnitude, from 1 to about `most`.
    pub fn magnitude(&mut self, most: u64) -> u64 {
        let bits = self.between(0, u64::from(most.max(1).ilog2()));
        self.between(1 << bits, (2 << bits) - 1).min(most.max(1))
    }

    /// True once in `n` times; never for 0.
    pub fn one_in(&mut self, n: u64) -> bool {
        n > 0 && self.between(1, n) == 1
    }

    /// One of them.
    pub fn pick<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }
}
