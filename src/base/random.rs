//! Octets that nobody can guess.

use std::hash::{BuildHasher, RandomState};

/// Random octets, other ones at each call: SipHash under a key from the system, which never leaves this function.
pub fn secret() -> [u8; 32] {
    let random = RandomState::new();
    let mut secret = [0; 32];
    for (octets, count) in secret.chunks_exact_mut(8).zip(0_u64..) {
        octets.copy_from_slice(&random.hash_one(count).to_be_bytes());
    }
    secret
}
