//! Request identities: 32 hexadecimal digits, unlikely to be met twice. And masking keys, which
//! nobody may foresee.

use std::cell::Cell;
use std::hash::{BuildHasher, Hasher, RandomState};

/// Text of an identity.
pub type Id = [u8; 32];

/// Makes identities: 64 bits that are the core's own, and 64 from a counter that is well mixed.
///
/// Peers see identities, and whoever sees one can tell the next: so masks have a source of their own.
#[derive(Debug)]
pub struct Ids {
    prefix: u64,
    counter: Cell<u64>,
    /// SipHash under a random key that never leaves it.
    secret: RandomState,
    /// Masks made so far.
    masks: Cell<u64>,
}

impl Ids {
    pub fn new() -> Ids {
        // Two hashers of the standard library, each with random keys from the system.
        let random = || RandomState::new().build_hasher().finish();
        Ids {
            prefix: random(),
            counter: Cell::new(random()),
            secret: RandomState::new(),
            masks: Cell::new(0),
        }
    }

    /// A masking key (RFC 6455 section 5.3): 32 bits that nothing seen before foretells.
    pub fn mask(&self) -> [u8; 4] {
        let count = self.masks.get();
        self.masks.set(count.wrapping_add(1));
        let [mask @ .., _, _, _, _] = self.secret.hash_one(count).to_be_bytes();
        mask
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

    #[test]
    fn every_octet_of_a_mask_takes_every_value() {
        let ids = Ids::new();
        let masks: Vec<[u8; 4]> = (0..10_000).map(|_| ids.mask()).collect();
        for octet in 0..4 {
            let values: HashSet<u8> = masks.iter().map(|mask| mask[octet]).collect();
            assert_eq!(values.len(), 256, "octet {octet}");
        }
    }

    #[test]
    fn identities_tell_nothing_of_masks() {
        let [one, other] = [(); 2].map(|()| Ids { prefix: 1, counter: Cell::new(1), ..Ids::new() });
        let masks = |ids: &Ids| -> [[u8; 4]; 4] { [(); 4].map(|()| ids.mask()) };
        assert_ne!(masks(&one), masks(&other));
        assert_eq!(one.next(), other.next());
    }
}
