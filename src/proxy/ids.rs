//! Request identities: 32 hexadecimal digits, unlikely to be met twice.

use std::cell::Cell;
use std::hash::{BuildHasher, Hasher, RandomState};

/// Text of an identity.
pub(super) type Id = [u8; 32];

/// Makes identities: 64 bits that are the core's own, and 64 from a counter that is well mixed.
#[derive(Debug)]
pub(super) struct Ids {
    prefix: u64,
    counter: Cell<u64>,
}

impl Ids {
    pub fn new() -> Ids {
        // Two hashers of the standard library, each with random keys from the system.
        let random = || RandomState::new().build_hasher().finish();
        Ids { prefix: random(), counter: Cell::new(random()) }
    }

    /// A masking key (RFC 6455 section 5.3).
    pub fn mask(&self) -> [u8; 4] {
        let [.., a, b, c, d] = self.next();
        [a, b, c, d]
    }

    pub fn next(&self) -> Id {
        let count = self.counter.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.counter.set(count);
        let mut id = [0; 32];
        hex(self.prefix, &mut id[..16]);
        hex(mix(count), &mut id[16..]);
        id
    }
}

/// The finaliser of SplitMix64: a bijection, so no number comes twice.
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn hex(number: u64, out: &mut [u8]) {
    for (octet, pair) in number.to_be_bytes().iter().zip(out.chunks_exact_mut(2)) {
        pair[0] = b"0123456789abcdef"[usize::from(octet >> 4)];
        pair[1] = b"0123456789abcdef"[usize::from(octet & 15)];
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn identities_are_hexadecimal_and_differ() {
        let ids = Ids::new();
        let made: HashSet<Id> = (0..10_000).map(|_| ids.next()).collect();
        assert_eq!(made.len(), 10_000);
        assert!(made.iter().flatten().all(u8::is_ascii_hexdigit));
        let mut out = [0; 16];
        hex(0x0123_4567_89ab_cdef, &mut out);
        assert_eq!(&out, b"0123456789abcdef");
    }
}
