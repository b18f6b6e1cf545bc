//! What is counted together, as a number.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::IpAddr;

/// Makes keys of what requests have in common, by a hash that is keyed with a secret (SipHash): nobody can find out
/// which clients share a set of a table, and aim at one.
#[derive(Clone, Debug)]
pub struct LimitHasher {
    secret: RandomState,
}

impl LimitHasher {
    /// One for all cores: they have to make the same key of the same parts.
    pub fn new(secret: RandomState) -> LimitHasher {
        LimitHasher { secret }
    }

    /// The key of these parts; `ab`, `c` is another one than `a`, `bc`. That two share one by chance happens once in
    /// 2^64 pairs, and then they are counted together.
    pub fn hash(&self, parts: &[&[u8]]) -> u64 {
        let mut hasher = self.secret.build_hasher();
        for part in parts {
            hasher.write(&(part.len() as u64).to_ne_bytes());
            hasher.write(part);
        }
        hasher.finish()
    }
}

/// A client: an IPv4 address, or the first 64 bits of one of IPv6.
pub type ClientKey = [u8; 9];

/// What is counted as one client, for [`LimitHasher::hash`]: the whole of an IPv4 address, IPv4-mapped or not, and the
/// first 64 bits of an IPv6 address, since whoever has one has all that begin alike (RFC 6177). First comes 4 or 6.
pub fn client_key(address: IpAddr) -> ClientKey {
    let mut key = [0; 9];
    match address.to_canonical() {
        IpAddr::V4(address) => {
            key[0] = 4;
            key[1..5].copy_from_slice(&address.octets());
        }
        IpAddr::V6(address) => {
            key[0] = 6;
            key[1..].copy_from_slice(&address.octets()[..8]);
        }
    }
    key
}

#[cfg(test)]
mod tests {
    use std::str::FromStr;

    use super::*;

    #[test]
    fn parts_are_told_apart() {
        let hasher = LimitHasher::new(RandomState::new());
        let cases: [&[&[u8]]; 9] = [
            &[],
            &[b""],
            &[b"", b""],
            &[b"abc"],
            &[b"ab", b"c"],
            &[b"a", b"bc"],
            &[b"abc", b""],
            &[b"", b"abc"],
            &[b"\x03\0\0\0\0\0\0\0abc"],
        ];
        let mut keys: Vec<u64> = cases.iter().map(|parts| hasher.hash(parts)).collect();
        let again: Vec<u64> = cases.iter().map(|parts| hasher.clone().hash(parts)).collect();
        assert_eq!(keys, again, "the same parts, another key");
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), cases.len());
        let other = LimitHasher::new(RandomState::new());
        assert_ne!(other.hash(&[b"abc"]), hasher.hash(&[b"abc"]), "there is no secret");
    }

    #[test]
    fn a_client_is_an_address_or_a_network_of_64_bits() {
        let table = [
            ("192.0.2.1", "192.0.2.1", true),
            ("192.0.2.1", "192.0.2.2", false),
            ("192.0.2.1", "::ffff:192.0.2.1", true),
            ("::ffff:192.0.2.1", "::ffff:192.0.2.2", false),
            ("2001:db8::1", "2001:db8::ffff:0:0:1", true),
            ("2001:db8::1", "2001:db8:0:1::1", false),
            ("4.0.0.0", "400::", false),
            ("0.0.0.0", "::", false),
        ];
        for (one, other, same) in table {
            let [one_key, other_key] =
                [one, other].map(|text| client_key(IpAddr::from_str(text).unwrap()));
            assert_eq!(one_key == other_key, same, "{one} and {other}");
        }
    }
}
