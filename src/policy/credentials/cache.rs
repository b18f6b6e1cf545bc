//! What came out of checks that are expensive: hashes of passwords, signatures, what another service said.
//!
//! Bounded, and in parts with a lock each, so that none is held for longer than it takes to look at a few entries. Good
//! outcomes and bad ones do not compete for room: who presents any number of bad credentials drives out no good ones.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::base::keyed_digest;

/// Entries that share a lock, and compete for room.
const WAYS: usize = 8;

/// What a check came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome<G, B> {
    /// The credentials are good.
    Good(G),
    /// They are not.
    Bad(B),
}

/// Credentials, by a hash that only this process can make.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct CacheKey(u128);

/// Outcomes, for as long as they hold. Durations are since a moment that its owner chose.
pub struct CheckCache<G, B> {
    secret: [u8; 32],
    good: Room<G>,
    bad: Room<B>,
}

impl<G: Clone, B: Clone> CheckCache<G, B> {
    /// Room for so many outcomes of either kind, rounded up to a multiple of eight. `secret`: what nobody knows, random
    /// octets of this process.
    pub fn new(secret: [u8; 32], most: usize) -> CheckCache<G, B> {
        CheckCache { secret, good: Room::new(most), bad: Room::new(most) }
    }

    /// The key of these credentials. The cache has to be made anew when what they are checked against changes: nothing
    /// here knows that a password was.
    pub fn key(&self, credentials: &[&[u8]]) -> CacheKey {
        CacheKey(keyed_digest(&self.secret, credentials.iter().copied()))
    }

    /// What was put, if it still holds: before `until`.
    pub fn get(&self, key: CacheKey, now: Duration) -> Option<Outcome<G, B>> {
        let good = self.good.get(key, now).map(Outcome::Good);
        good.or_else(|| self.bad.get(key, now).map(Outcome::Bad))
    }

    /// Lets the good outcome of this key, if there is one, hold until then at least.
    pub fn renew(&self, key: CacheKey, until: Duration) {
        self.good.renew(key, until);
    }

    /// Remembers an outcome, in the place of any other for these credentials. Where there is no more room, the outcome
    /// that ends first makes way.
    pub fn put(&self, key: CacheKey, outcome: Outcome<G, B>, until: Duration) {
        match outcome {
            Outcome::Good(value) => {
                self.bad.forget(key);
                self.good.put(Entry { key, until, value });
            }
            Outcome::Bad(value) => {
                self.good.forget(key);
                self.bad.put(Entry { key, until, value });
            }
        }
    }

    /// How many outcomes are remembered, good and bad, with those that no longer hold and were not replaced yet.
    pub fn len(&self) -> (usize, usize) {
        (self.good.len(), self.bad.len())
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == (0, 0)
    }
}

/// No keys: who knows them can find out whether credentials are in it.
impl<G, B> fmt::Debug for CheckCache<G, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CheckCache")
    }
}

impl fmt::Debug for CacheKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CacheKey")
    }
}

struct Entry<T> {
    key: CacheKey,
    until: Duration,
    value: T,
}

/// Outcomes of one kind; which part a key is in follows from the key, which nobody outside can choose.
struct Room<T> {
    parts: Box<[Mutex<Vec<Entry<T>>>]>,
}

impl<T: Clone> Room<T> {
    fn new(most: usize) -> Room<T> {
        let parts = most.div_ceil(WAYS).max(1);
        Room { parts: (0..parts).map(|_| Mutex::default()).collect() }
    }

    fn part(&self, CacheKey(key): CacheKey) -> MutexGuard<'_, Vec<Entry<T>>> {
        let part = &self.parts[(key % self.parts.len() as u128) as usize];
        part.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self, key: CacheKey, now: Duration) -> Option<T> {
        let part = self.part(key);
        let entry = part.iter().find(|entry| entry.key == key && now < entry.until);
        entry.map(|entry| entry.value.clone())
    }

    fn renew(&self, key: CacheKey, until: Duration) {
        if let Some(entry) = self.part(key).iter_mut().find(|entry| entry.key == key) {
            entry.until = entry.until.max(until);
        }
    }

    fn put(&self, entry: Entry<T>) {
        let mut part = self.part(entry.key);
        part.retain(|other| other.key != entry.key);
        if part.len() == WAYS {
            let first = (0..WAYS).min_by_key(|at| part[*at].until).unwrap_or_default();
            part.swap_remove(first);
        }
        part.push(entry);
    }

    fn forget(&self, key: CacheKey) {
        self.part(key).retain(|entry| entry.key != key);
    }

    fn len(&self) -> usize {
        let len = |part: &Mutex<Vec<_>>| part.lock().unwrap_or_else(PoisonError::into_inner).len();
        self.parts.iter().map(len).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn cache(most: usize) -> CheckCache<u32, u32> {
        CheckCache::new([7; 32], most)
    }

    #[test]
    fn an_outcome_holds_until_its_end() {
        let cache = cache(64);
        let key = cache.key(&[b"ada", b"secret"]);
        assert_eq!(cache.get(key, Duration::ZERO), None);
        cache.put(key, Outcome::Good(1), 10 * SECOND);
        for (now, found) in [(0, Some(Outcome::Good(1))), (9, Some(Outcome::Good(1))), (10, None)] {
            assert_eq!(cache.get(key, now * SECOND), found, "{now}");
        }
        cache.put(key, Outcome::Bad(2), 20 * SECOND);
        assert_eq!(cache.get(key, SECOND), Some(Outcome::Bad(2)));
        assert_eq!(cache.len(), (0, 1));
        cache.put(key, Outcome::Good(3), 20 * SECOND);
        assert_eq!(cache.get(key, SECOND), Some(Outcome::Good(3)));
        assert_eq!(cache.len(), (1, 0));
    }

    #[test]
    fn what_is_used_holds_longer() {
        let cache = cache(64);
        let [used, bad, gone] = [b"used", &b"bad"[..], b"gone"].map(|name| cache.key(&[name]));
        cache.put(used, Outcome::Good(1), 10 * SECOND);
        cache.put(bad, Outcome::Bad(2), 10 * SECOND);
        for until in [20, 15] {
            for key in [used, bad, gone] {
                cache.renew(key, until * SECOND);
            }
        }
        assert_eq!(cache.get(used, 19 * SECOND), Some(Outcome::Good(1)), "never for less");
        assert_eq!(cache.get(used, 20 * SECOND), None);
        assert_eq!([bad, gone].map(|key| cache.get(key, 11 * SECOND)), [None, None]);
    }

    #[test]
    fn other_credentials_have_another_key() {
        let cache = cache(64);
        let key = cache.key(&[b"ada", b"secret"]);
        cache.put(key, Outcome::Good(1), SECOND);
        for credentials in [[&b"adas"[..], b"ecret"], [b"ada", b"Secret"], [b"", b"adasecret"]] {
            assert_eq!(cache.get(cache.key(&credentials), Duration::ZERO), None);
        }
        let other = CheckCache::<u32, u32>::new([8; 32], 64);
        assert_ne!(other.key(&[b"ada", b"secret"]), key);
    }

    #[test]
    fn a_flood_of_bad_ones_drives_no_good_one_out() {
        let cache = cache(4096);
        let good: Vec<CacheKey> =
            (0..1000u32).map(|n| cache.key(&[b"good", &n.to_le_bytes()])).collect();
        for key in &good {
            cache.put(*key, Outcome::Good(1), 10 * SECOND);
        }
        let kept = good.iter().filter(|key| cache.get(**key, SECOND).is_some()).count();
        assert!(kept > 990, "{kept}");
        for n in 0..100_000u32 {
            let key = cache.key(&[b"bad", &n.to_le_bytes()]);
            cache.put(key, Outcome::Bad(0), 100 * SECOND);
        }
        let left = good.iter().filter(|key| cache.get(**key, SECOND).is_some()).count();
        assert_eq!(left, kept);
        assert!(cache.len().1 <= 4096, "{:?}", cache.len());
    }

    #[test]
    fn what_ends_first_makes_way() {
        let cache = cache(1);
        let keys: Vec<CacheKey> = (0..9u8).map(|n| cache.key(&[&[n]])).collect();
        for (n, key) in (1..).zip(&keys) {
            cache.put(*key, Outcome::Good(n), (20 - n) * SECOND);
        }
        let found: Vec<bool> = keys.iter().map(|key| cache.get(*key, SECOND).is_some()).collect();
        // The eighth ended first when the ninth came.
        assert_eq!(found, [true, true, true, true, true, true, true, false, true]);
    }

    #[test]
    fn threads_share_it() {
        let cache = &cache(512);
        std::thread::scope(|scope| {
            for thread in 0..4u32 {
                scope.spawn(move || {
                    for n in 0..5000u32 {
                        let key = cache.key(&[&(n % 700).to_le_bytes()]);
                        if n % 3 == thread % 3 {
                            cache.put(key, Outcome::Good(n % 700), 5 * SECOND);
                        } else if let Some(found) = cache.get(key, SECOND) {
                            assert_eq!(found, Outcome::Good(n % 700));
                        }
                    }
                });
            }
        });
        assert!(cache.len().0 <= 512 && !cache.is_empty());
        assert_eq!(format!("{cache:?}"), "CheckCache");
    }
}
