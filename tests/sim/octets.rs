//! The octets of bodies: each message has its own, so that none can be taken for another's.

use std::sync::LazyLock;

use crate::chance::Chance;

/// Marks the key of a body that consists of requests nobody makes: whoever takes such a body for what
/// comes behind it finds one.
const SMUGGLED: u64 = 1 << 32;

/// A prime, so that no two keys below it have the same octets.
const PERIOD: usize = 65_521;

static TABLE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut chance = Chance::seeded(1);
    // Letters, so that they are never taken for framing; twice, so that every stretch lies in one piece.
    let once: Vec<u8> = (0..PERIOD).map(|_| b'a' + chance.below(26) as u8).collect();
    once.repeat(2)
});

fn stretch(key: u64, from: u64, n: usize) -> &'static [u8] {
    let start = (key.wrapping_mul(40_503).wrapping_add(from) % PERIOD as u64) as usize;
    &TABLE[start..start + n.min(PERIOD)]
}

/// As [`upwards`], for a body of requests.
pub const fn smuggled(id: usize) -> u64 {
    SMUGGLED | upwards(id)
}

fn requests(key: u64, from: u64, n: usize) -> Vec<u8> {
    let request =
        format!("GET /smuggled/{:08} HTTP/1.1\r\nHost: sim\r\n\r\n", key & !SMUGGLED).into_bytes();
    let skipped = (from % request.len() as u64) as usize;
    request.into_iter().cycle().skip(skipped).take(n).collect()
}

/// Octets `from..from + n` of the message called `key`.
pub fn octets(key: u64, from: u64, n: usize) -> Vec<u8> {
    if key & SMUGGLED != 0 {
        return requests(key, from, n);
    }
    let mut made = Vec::with_capacity(n);
    while made.len() < n {
        made.extend_from_slice(stretch(key, from + made.len() as u64, n - made.len()));
    }
    made
}

/// Are these the octets of `key` that begin at `from`?
pub fn are(octets: &[u8], key: u64, from: u64) -> bool {
    if key & SMUGGLED != 0 {
        return octets == requests(key, from, octets.len());
    }
    let mut at = from;
    octets.chunks(PERIOD).all(|piece| {
        let same = piece == stretch(key, at, piece.len());
        at += piece.len() as u64;
        same
    })
}

/// The key of the body that goes with request `id`, and of the one that comes back.
pub const fn upwards(id: usize) -> u64 {
    2 * id as u64
}

/// See [`upwards`].
pub const fn downwards(id: usize) -> u64 {
    2 * id as u64 + 1
}
