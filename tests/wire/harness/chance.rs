//! Chance that can be repeated, and how much of it is asked for.

use std::env;

/// Numbers without a pattern, the same in every run.
pub struct Chance(u64);

impl Chance {
    /// The same seed, the same numbers.
    pub fn seeded(seed: usize) -> Chance {
        Chance((seed as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    /// From 0 to `n` - 1.
    pub fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as usize % n
    }

    /// One of them.
    pub fn one_of<'a, T: ?Sized>(&mut self, all: &[&'a T]) -> &'a T {
        all[self.below(all.len())]
    }
}

/// How many requests a long run sends: `WIRE_REQUESTS`, by default 10,000.
pub fn requests_asked_for() -> usize {
    let asked = env::var("WIRE_REQUESTS").ok();
    asked.map_or(10_000, |n| n.parse().expect("WIRE_REQUESTS is a number"))
}
