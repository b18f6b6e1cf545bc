//! Consistent hashing: which upstream a key belongs to, so that few keys move when one comes or goes.
//!
//! Each upstream has points on a ring, by its name and in proportion to its weight; a key belongs to the point behind
//! it. Names alone decide, so every tidegate with the same upstreams sends a key to the same one.

/// Points of an upstream of weight 1, and of a ring: beyond that, all have fewer, and each at least one.
const POINTS: usize = 160;
const POINTS_MOST: usize = 1 << 18;

/// Points in order, and whose each of them is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ring {
    points: Box<[(u64, u32)]>,
}

impl Ring {
    /// The ring of members with these names and weights.
    pub fn of<'n>(members: impl Iterator<Item = (&'n str, u32)> + Clone) -> Ring {
        let total: usize = members.clone().map(|(_, weight)| weight as usize).sum();
        let points = members.zip(0..).flat_map(|((name, weight), member)| {
            let (own, weight) = (hash(name.as_bytes()), weight as usize);
            let points = (weight * POINTS).min(weight * POINTS_MOST / total).max(1) as u64;
            (0..points).map(move |point| (mix(own ^ mix(point)), member))
        });
        let mut points: Box<[(u64, u32)]> = points.collect();
        points.sort_unstable();
        Ring { points }
    }

    /// The members in the order in which they are asked for `key`; some come again.
    pub fn from(&self, key: u64) -> impl Iterator<Item = usize> + '_ {
        let first = self.points.partition_point(|(point, _)| *point < key);
        let (before, behind) = self.points.split_at(first);
        behind.iter().chain(before).map(|(_, member)| *member as usize)
    }
}

/// FNV-1a, well mixed: the same in every process and on every machine. Nothing secret rests on it; who finds keys of
/// one upstream is stopped by its bounded load.
pub fn hash(octets: &[u8]) -> u64 {
    let step = |hash: u64, octet: &u8| (hash ^ u64::from(*octet)).wrapping_mul(0x0100_0000_01b3);
    mix(octets.iter().fold(0xcbf2_9ce4_8422_2325, step))
}

/// The finaliser of SplitMix64: a bijection.
pub fn mix(mut z: u64) -> u64 {
    z = z.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(count: u32) -> Vec<String> {
        (0..count).map(|one| format!("http://10.0.0.{one}:9001")).collect()
    }

    fn ring(names: &[String]) -> Ring {
        Ring::of(names.iter().map(|name| (name.as_str(), 1)))
    }

    #[test]
    fn few_keys_move_when_one_leaves() {
        for count in [2, 3, 10, 50] {
            let names = names(count);
            let (all, less) = (ring(&names), ring(&names[1..]));
            let keys = 20_000;
            let moved = (0..keys).filter(|key| {
                let key = hash(format!("key-{key}").as_bytes());
                let now = less.from(key).next().map(|member| member + 1);
                all.from(key).next() != now
            });
            let share = moved.count() as f64 / f64::from(keys);
            let fair = 1.0 / f64::from(count);
            assert!(share <= fair * 1.1 + 0.1, "{count}: {share}");
        }
    }

    #[test]
    fn only_keys_of_the_one_that_left_move() {
        let names = names(10);
        let (all, less) = (ring(&names), ring(&names[..9]));
        for key in (0..10_000).map(mix) {
            let owner = all.from(key).next().unwrap();
            assert!(owner == 9 || less.from(key).next() == Some(owner));
        }
    }

    #[test]
    fn shares_follow_weights() {
        let weights = [1, 2, 5];
        let names = names(3);
        let ring = Ring::of(names.iter().map(String::as_str).zip(weights));
        let mut shares = [0.0; 3];
        let keys = 50_000;
        (0..keys).for_each(|key| shares[ring.from(mix(key)).next().unwrap()] += 1.0);
        for (share, weight) in shares.into_iter().zip(weights) {
            let (share, fair) = (share / keys as f64, f64::from(weight) / 8.0);
            assert!((share / fair - 1.0).abs() < 0.25, "{share} of {fair}");
        }
    }

    #[test]
    fn a_ring_has_a_bound() {
        let names = names(255);
        let ring = Ring::of(names.iter().cycle().take(16_384).map(|name| (name.as_str(), 256)));
        assert!(ring.points.len() <= POINTS_MOST + 16_384, "{}", ring.points.len());
        assert!(Ring::of([].into_iter()).from(1).next().is_none());
    }
}
