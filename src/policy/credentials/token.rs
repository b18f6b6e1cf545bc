//! Tokens that somebody handed out, known by their digests.

use rustc_hash::FxHashMap;

use crate::base::{digest, same};

/// Whose tokens are whose: up to some hundred thousand, each with what it stands for.
///
/// Where a token stands follows from the first 64 bits of its digest. What a look-up gives away by its time is about
/// the digest of what was presented, from which nobody gets any nearer to a token.
pub struct TokenTable<T> {
    /// In the order of their digests; among the same ones as they were configured.
    tokens: Box<[([u8; 32], T)]>,
    /// Where those begin whose digests start with these bits.
    starts: FxHashMap<u64, u32>,
}

impl<T> TokenTable<T> {
    /// A table of digests, and what stands for them. Of several with the same digest the first is found.
    pub fn new(tokens: impl IntoIterator<Item = ([u8; 32], T)>) -> TokenTable<T> {
        let mut tokens: Box<[([u8; 32], T)]> = tokens.into_iter().collect();
        tokens.sort_by_key(|(digest, _)| *digest);
        let mut starts = FxHashMap::with_capacity_and_hasher(tokens.len(), Default::default());
        for (at, (digest, _)) in (0..).zip(&tokens) {
            starts.entry(start(digest)).or_insert(at);
        }
        TokenTable { tokens, starts }
    }

    /// What stands for the token that is `secret`.
    pub fn find(&self, secret: &[u8]) -> Option<&T> {
        let digest = digest(secret);
        let bits = start(&digest);
        let at = *self.starts.get(&bits)? as usize;
        let alike = self.tokens[at..].iter().take_while(|(digest, _)| start(digest) == bits);
        alike.into_iter().find(|(known, _)| same(known, &digest)).map(|(_, stands_for)| stands_for)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }
}

fn start(digest: &[u8; 32]) -> u64 {
    digest[..8].iter().fold(0, |bits, octet| bits << 8 | u64::from(*octet))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    fn table(count: usize) -> TokenTable<usize> {
        TokenTable::new((0..count).map(|n| (digest(format!("secret {n}").as_bytes()), n)))
    }

    #[test]
    fn every_token_is_found_and_nothing_else() {
        for count in [0, 1, 2, 1000] {
            let table = table(count);
            assert_eq!((table.len(), table.is_empty()), (count, count == 0));
            for n in 0..count {
                let found = table.find(format!("secret {n}").as_bytes());
                assert_eq!(found, Some(&n));
            }
            for other in ["", "secret", "secret 1000", "secret 0 ", "Secret 0"] {
                assert!(table.find(other.as_bytes()).is_none(), "{other}");
            }
        }
    }

    #[test]
    fn digests_that_start_alike_are_told_apart() {
        let right = digest(b"x");
        let other = |at: usize| {
            let mut digest = right;
            digest[at] ^= 1;
            (digest, "other")
        };
        let mut others: Vec<([u8; 32], &str)> = (8..32).map(other).collect();
        assert!(TokenTable::new(others.clone()).find(b"x").is_none());
        others.insert(7, (right, "first"));
        others.push((right, "second"));
        assert_eq!(TokenTable::new(others).find(b"x"), Some(&"first"));
    }

    /// Welch's t of samples that are taken in turns: a wrong secret takes the same time whether nothing of it is right,
    /// half, or all but the last octet. No secret is presented twice: its digest has a time of its own. What other
    /// programs do to a sample passes; a difference of ours would show every time.
    #[test]
    #[ignore = "takes time, and a machine that does little else"]
    fn how_wrong_a_secret_is_takes_no_time() {
        let right: Vec<[u8; 32]> = (0..1000u32).map(|n| digest(&n.to_le_bytes())).collect();
        let table = TokenTable::new(right.iter().map(|secret| (digest(secret), 0)));
        let is_fair = || {
            let samples = samples(&table, &right);
            let pairs = [(0, 1), (0, 2), (1, 2)];
            let found = pairs.map(|(one, other)| welch(&samples[one], &samples[other]));
            eprintln!("t = {found:.2?}");
            found.iter().all(|t| t.abs() < 5.0)
        };
        assert!((0..3).any(|_| is_fair()), "how wrong a secret is shows");
    }

    /// How long look-ups take, in ns, of secrets of which 0, 16 and 31 octets are right.
    #[expect(clippy::disallowed_methods, reason = "a test has no core whose clock it could ask")]
    fn samples(table: &TokenTable<usize>, right: &[[u8; 32]]) -> [Vec<f64>; 3] {
        let mut samples = [const { Vec::new() }; 3];
        for change in 1..=255_u8 {
            // All of them before any is presented, or how they are made would tell them apart.
            let made = |right: &[u8; 32], good| {
                std::array::from_fn::<u8, 32, _>(|at| right[at] ^ (change * u8::from(at >= good)))
            };
            let wrong: Vec<_> = right.iter().map(|one| [0, 16, 31].map(|g| made(one, g))).collect();
            for (round, wrong) in wrong.iter().enumerate() {
                for turn in 0..3 {
                    let which = (round + turn + usize::from(change)) % 3;
                    let begin = Instant::now();
                    let found = table.find(std::hint::black_box(&wrong[which]));
                    samples[which].push(begin.elapsed().as_nanos() as f64);
                    assert!(found.is_none());
                }
            }
        }
        samples
    }

    /// Of the lower nine tenths: interruptions say nothing of us.
    fn welch(one: &[f64], other: &[f64]) -> f64 {
        let of = |samples: &[f64]| {
            let mut sorted = samples.to_vec();
            sorted.sort_by(f64::total_cmp);
            sorted.truncate(samples.len() * 9 / 10);
            let count = sorted.len() as f64;
            let mean = sorted.iter().sum::<f64>() / count;
            let spread = sorted.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (count - 1.0);
            (mean, spread / count)
        };
        let ((mean, error), (other_mean, other_error)) = (of(one), of(other));
        (mean - other_mean) / (error + other_error).sqrt()
    }

    #[test]
    #[ignore = "a measurement: run it in release"]
    #[expect(clippy::disallowed_methods, reason = "a test has no core whose clock it could ask")]
    fn what_a_look_up_takes() {
        for count in [1, 1000, 100_000] {
            let table = table(count);
            let secrets: Vec<[u8; 32]> = (0..1024u32).map(|n| digest(&n.to_le_bytes())).collect();
            let begin = Instant::now();
            let misses = (0..200).flat_map(|_| &secrets).filter(|s| table.find(*s).is_none());
            let misses = misses.count() as u128;
            let each = begin.elapsed().as_nanos() / misses;
            let known: Vec<String> =
                (0..1024).map(|n| format!("secret {}", n * 97 % count)).collect();
            let begin = Instant::now();
            let hits = (0..200).flat_map(|_| &known).filter(|s| table.find(s.as_bytes()).is_some());
            let hits = hits.count() as u128;
            eprintln!("{count}: miss {each} ns, hit {} ns", begin.elapsed().as_nanos() / hits);
        }
    }
}
