//! What a secret is known by without being kept: its SHA-256, and a comparison that tells nothing by its time.

use std::hint::black_box;

use sha2::{Digest, Sha256};

/// The SHA-256 of a secret (FIPS 180-4).
///
/// Good for secrets that nobody can guess, such as tokens of 128 random bits and more. A password needs a hash that is
/// slow on purpose, see [`super::PasswordHash`].
pub fn digest(secret: &[u8]) -> [u8; 32] {
    Sha256::digest(secret).into()
}

/// The first 128 bits of the SHA-256 of a key and several texts: whoever does not know the key finds no two lists of
/// texts that come to the same. The length of each text goes in before it, so that no octet can move from one to the
/// next.
pub fn keyed_digest<'t>(key: &[u8; 32], texts: impl IntoIterator<Item = &'t [u8]>) -> u128 {
    let mut hash = Sha256::new().chain_update(key);
    for text in texts {
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text);
    }
    let whole: [u8; 32] = hash.finalize().into();
    whole[..16].iter().fold(0, |number, octet| number << 8 | u128::from(*octet))
}

/// Whether two texts of a length that is no secret are the same; how long that takes depends on the length alone.
pub fn same(one: &[u8], other: &[u8]) -> bool {
    if one.len() != other.len() {
        return false;
    }
    let ((words, rest), (other_words, other_rest)) = (one.as_chunks(), other.as_chunks());
    let number = |word: &[u8; 8]| u64::from_ne_bytes(*word);
    let words = words.iter().zip(other_words).map(|(one, other)| number(one) ^ number(other));
    let rest = rest.iter().zip(other_rest).map(|(one, other)| u64::from(one ^ other));
    // What is known of the outcome so far is hidden from the optimizer, which might else stop early.
    words.chain(rest).fold(0, |differ, more| black_box(differ | more)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use data_encoding::HEXLOWER;

    #[test]
    fn digests_are_those_of_the_standard() {
        for (secret, expected) in [
            ("", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
            ("abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        ] {
            assert_eq!(HEXLOWER.encode(&digest(secret.as_bytes())), expected, "{secret:?}");
        }
    }

    #[test]
    fn keyed_digests_differ_by_key_and_by_where_texts_end() {
        let (key, other) = ([1; 32], [2; 32]);
        let of = |key, texts: &[&'static [u8]]| keyed_digest(key, texts.iter().copied());
        let mut all = vec![
            of(&key, &[b"ab", b"c"]),
            of(&key, &[b"a", b"bc"]),
            of(&key, &[b"abc"]),
            of(&key, &[b"abc", b""]),
            of(&key, &[]),
            of(&other, &[b"ab", b"c"]),
        ];
        assert_eq!(all[0], of(&key, &[b"ab", b"c"]));
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
    }

    #[test]
    fn one_octet_of_difference_is_a_difference() {
        for (one, other, expected) in [
            (&b""[..], &b""[..], true),
            (b"abc", b"abc", true),
            (b"abc", b"abd", false),
            (b"abc", b"\xe1bc", false),
            (b"abcdefghi", b"abcdefghi", true),
            (b"abcdefghi", b"abcdefghI", false),
            (b"abcdefghi", b"abcdefgHi", false),
            (b"abcdefgh", b"Abcdefgh", false),
            (b"abc", b"ab", false),
            (b"", b"a", false),
        ] {
            assert_eq!(same(one, other), expected, "{one:?} {other:?}");
        }
    }
}
