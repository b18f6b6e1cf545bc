//! SHA-1 (FIPS 180-4 section 6.1), for the proof of a WebSocket handshake and nothing else: there it
//! only shows that the other side understood, and keeps no secret (RFC 6455 section 10.8).

/// Octets of a block.
const BLOCK: usize = 64;
/// Octets at the end of the last block that tell the length of the message.
const LENGTH: usize = 8;

/// The digest of `message`.
pub(super) fn digest(message: &[u8]) -> [u8; 20] {
    let mut state = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0];
    let (blocks, rest) = message.as_chunks::<BLOCK>();
    for block in blocks {
        compress(&mut state, block);
    }
    // A one, zeros, and the length in bits; one more block if the length no longer fits.
    let mut last = [0; BLOCK];
    last[..rest.len()].copy_from_slice(rest);
    last[rest.len()] = 0x80;
    if rest.len() >= BLOCK - LENGTH {
        compress(&mut state, &last);
        last = [0; BLOCK];
    }
    last[BLOCK - LENGTH..].copy_from_slice(&(message.len() as u64 * 8).to_be_bytes());
    compress(&mut state, &last);

    let mut digest = [0; 20];
    for (octets, word) in digest.as_chunks_mut::<4>().0.iter_mut().zip(state) {
        *octets = word.to_be_bytes();
    }
    digest
}

/// Mixes one block into `state`.
fn compress(state: &mut [u32; 5], block: &[u8; BLOCK]) {
    let mut words = [0; 80];
    for (word, octets) in words.iter_mut().zip(block.as_chunks::<4>().0) {
        *word = u32::from_be_bytes(*octets);
    }
    for t in 16..80 {
        let mixed = words[t - 3] ^ words[t - 8] ^ words[t - 14] ^ words[t - 16];
        words[t] = mixed.rotate_left(1);
    }
    let [mut a, mut b, mut c, mut d, mut e] = *state;
    for (t, word) in words.into_iter().enumerate() {
        let (chosen, constant) = match t {
            0..20 => ((b & c) | (!b & d), 0x5a82_7999),
            20..40 => (b ^ c ^ d, 0x6ed9_eba1),
            40..60 => ((b & c) | (b & d) | (c & d), 0x8f1b_bcdc),
            _ => (b ^ c ^ d, 0xca62_c1d6_u32),
        };
        let next = a.rotate_left(5).wrapping_add(chosen).wrapping_add(e);
        (e, d, c, b) = (d, c, b.rotate_left(30), a);
        a = next.wrapping_add(constant).wrapping_add(word);
    }
    for (word, mixed) in state.iter_mut().zip([a, b, c, d, e]) {
        *word = word.wrapping_add(mixed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(message: &[u8]) -> String {
        digest(message).iter().map(|octet| format!("{octet:02x}")).collect()
    }

    /// The examples that go with FIPS 180-4, and its test vectors of the same kind.
    #[test]
    fn known_digests() {
        for (message, digest) in [
            (&b""[..], "da39a3ee5e6b4b0d3255bfef95601890afd80709"),
            (b"abc", "a9993e364706816aba3e25717850c26c9cd0d89d"),
            (
                b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
                "84983e441c3bd26ebaae4aa1f95129e5e54670f1",
            ),
            (
                b"abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmno\
                  ijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu",
                "a49b2446a02c645bf419f995b67091253a04a259",
            ),
            (&b"a".repeat(1_000_000), "34aa973cd4c4daa4f61eeb2bdbad27316534016f"),
        ] {
            assert_eq!(hex(message), digest);
        }
    }

    /// Where the padding takes one block more; the digests are those of coreutils' `sha1sum`.
    #[test]
    fn around_the_end_of_a_block() {
        for (length, digest) in [
            (55, "cef734ba81a024479e09eb5a75b6ddae62e6abf1"),
            (56, "901305367c259952f4e7af8323f480d59f81335b"),
            (63, "0ddc4e0cccd9a12850deb5abb0853a4425559fec"),
            (64, "bb2fa3ee7afb9f54c6dfb5d021f14b1ffe40c163"),
            (65, "78c741ddc482e4cdf8c474a0876347a0905b6233"),
            (119, "4300320394f7ee239bcdce7d3b8bcee173a0cd5c"),
            (120, "ceb2821639c4b6dcb10bce0e522ca2e608ce056d"),
        ] {
            assert_eq!(hex(&b"x".repeat(length)), digest, "{length}");
        }
    }
}
