//! Chance that can be repeated, how much of it is asked for, and what else the environment says.

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

/// What may be taken where `octets` are allowed: under AddressSanitizer (`.ci/sanitize` says so) every piece of memory
/// has a fringe, and 256 MiB of what was given back are kept to catch those that still use it.
pub fn memory_allowed(octets: u64) -> u64 {
    let sanitized = env::var_os("TIDEGATE_SANITIZED").is_some();
    if sanitized { 4 * octets + (256 << 20) } else { octets }
}
