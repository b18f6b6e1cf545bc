//! The token bucket: so many requests at once, and then as many as flow in evenly.
//!
//! It is kept as the generic cell rate algorithm keeps it (GCRA, ITU-T I.371 annex A): by the time at which the bucket
//! will be full again, which each admitted request puts off by window / requests. That quotient is a fraction, and is
//! counted as one, so the rate is exact for every window and every number of requests.

use std::time::Duration;

use super::Standing;
use super::table::{Slot, Tally};
use super::tick::{Now, Tick};
use crate::config::LimitSpec;

/// Ticks that an empty bucket takes to fill: with the latest time there is, they fit into 64 bits.
const TICKS_MOST: u64 = 1 << 62;

/// A token bucket.
#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    requests: u32,
    burst: u32,
    /// In ticks; a nanosecond each, unless the bucket takes more than 146 years to fill.
    window: u64,
    /// By what a request puts off the time at which it is full: window / requests.
    step: Span,
    /// How far off that time may be for one more to pass: burst - 1 steps.
    depth: Span,
    /// What times are counted in.
    pub tick: Tick,
}

/// A time or a span of it: ticks, and so many parts of the next one, a tick being `requests` parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Span {
    ticks: u64,
    parts: u32,
}

impl Bucket {
    /// The bucket of this size that was asked for.
    pub fn of(spec: &LimitSpec, burst: u32) -> Bucket {
        let (requests, burst) = (spec.requests.max(1), burst.max(1));
        let tick = Tick::of(spec.window, burst, TICKS_MOST);
        let window = tick.window(spec.window);
        let steps = |count: u32| {
            let parts = u128::from(window) * u128::from(count);
            let requests = u128::from(requests);
            // The tick is such that these ticks fit; the rest is less than a number of 32 bits.
            Span { ticks: (parts / requests) as u64, parts: (parts % requests) as u32 }
        };
        Bucket { requests, burst, window, step: steps(1), depth: steps(burst - 1), tick }
    }

    /// The bucket is full.
    pub fn is_whole(&self, slot: &Slot<'_>, now: &Now) -> bool {
        full_at(slot.tally) <= Span { ticks: now.down, parts: 0 }
    }

    /// Requests that may pass now.
    pub fn remaining(&self, slot: &Slot<'_>, now: &Now) -> u32 {
        if self.is_whole(slot, now) {
            return self.burst;
        }
        let Span { ticks, parts } = full_at(slot.tally);
        let ticks = u128::from(ticks - now.down);
        let missing = ticks * u128::from(self.requests) + u128::from(parts);
        let missing = missing.div_ceil(self.window.into());
        self.burst.saturating_sub(u32::try_from(missing).unwrap_or(u32::MAX))
    }

    /// Counts a request if it may pass, and says whether it may. Time that goes back makes the bucket no fuller.
    pub fn take(&self, slot: &mut Slot<'_>, now: &Now) -> bool {
        let most = Span { ticks: now.down + self.depth.ticks, parts: self.depth.parts };
        let full = full_at(slot.tally);
        if full > most {
            return false;
        }
        let from = full.max(Span { ticks: now.up, parts: 0 });
        let parts = u64::from(from.parts) + u64::from(self.step.parts);
        let over = parts >= self.requests.into();
        slot.tally.time = from.ticks + self.step.ticks + u64::from(over);
        // Both were less than `requests`, so this is.
        slot.tally.count = (parts - if over { self.requests.into() } else { 0 }) as u32;
        true
    }

    /// How a key stands.
    pub fn standing(&self, slot: &Slot<'_>, now: &Now, admitted: bool) -> Standing {
        let Span { ticks, parts } = full_at(slot.tally);
        let retry = ticks.saturating_sub(self.depth.ticks) + u64::from(parts > self.depth.parts);
        Standing {
            admitted,
            remaining: self.remaining(slot, now),
            retry_after: if admitted { Duration::ZERO } else { now.until(retry) },
            reset: now.until(ticks + u64::from(parts > 0)),
            untracked: false,
        }
    }
}

/// When it is full again.
fn full_at(tally: &Tally) -> Span {
    Span { ticks: tally.time, parts: tally.count }
}

#[cfg(test)]
mod tests {
    use super::super::LimitTable;
    use super::super::testing::spec;
    use super::*;

    /// The bucket as it is meant: tokens, in parts of which `window` (nanoseconds) are one.
    struct Tokens {
        requests: u128,
        most: u128,
        window: u128,
        there: u128,
        now: u128,
    }

    impl Tokens {
        fn fill(&mut self, now: u128) {
            self.there = (self.there + (now - self.now) * self.requests).min(self.most);
            self.now = now;
        }

        fn until(&self, there: u128) -> Duration {
            let missing = there.saturating_sub(self.there).div_ceil(self.requests);
            Duration::from_nanos(missing as u64)
        }

        fn take(&mut self, now: u128) -> Standing {
            self.fill(now);
            let admitted = self.there >= self.window;
            self.there -= if admitted { self.window } else { 0 };
            Standing {
                admitted,
                remaining: (self.there / self.window) as u32,
                retry_after: if admitted { Duration::ZERO } else { self.until(self.window) },
                reset: self.until(self.most),
                untracked: false,
            }
        }
    }

    #[test]
    fn it_is_the_bucket_of_tokens() {
        for seed in 0..1000 {
            let mut random = fastrand::Rng::with_seed(seed);
            let requests = random.choice([1, 3, 7, 20, 1000, 999_983, 10_000_000]).unwrap();
            let burst = random.choice([1, 2, 7, 50, 10_000]).unwrap();
            let window = random.choice([1_000_000_000, 7_000_000_001, 86_400_000_000_000]).unwrap();
            let limit = spec(requests, Duration::from_nanos(window), Some(burst), 1);
            let limit = LimitTable::new(&limit);
            let mut now = random.u64(..1 << 60);
            let most = u128::from(window) * u128::from(burst);
            let mut tokens = Tokens {
                requests: requests.into(),
                most,
                window: window.into(),
                there: most,
                now: now.into(),
            };
            for step in 0..500 {
                let gap = window / u64::from(requests) + 1;
                now += match random.u32(..20) {
                    0..10 => 0,
                    10..15 => random.u64(..gap),
                    15..17 => gap,
                    17 => gap - 1,
                    18 => random.u64(..gap * 4),
                    _ => random.u64(..(gap * u64::from(burst) * 2).min(1 << 55)),
                };
                let found = limit.take(5, Duration::from_nanos(now));
                assert_eq!(found, tokens.take(now.into()), "{seed}, {step}");
            }
        }
    }

    #[test]
    fn so_many_at_once_and_then_evenly() {
        // 20 a second, 5 at once: one each 50 ms.
        let limit = LimitTable::new(&spec(20, Duration::from_secs(1), Some(5), 1));
        let passed = |millis: u64| {
            let now = Duration::from_millis(millis);
            (0..40).filter(|_| limit.take(1, now).admitted).count()
        };
        let table = [(1000, 5), (1049, 0), (1050, 1), (1099, 0), (1200, 3), (9000, 5)];
        for (millis, wanted) in table {
            assert_eq!(passed(millis), wanted, "{millis} ms");
        }
    }

    #[test]
    fn a_clock_that_goes_back_fills_nothing() {
        let limit = LimitTable::new(&spec(20, Duration::from_secs(1), Some(5), 1));
        let take = |millis| limit.take(1, Duration::from_millis(millis)).admitted;
        assert_eq!((0..40).filter(|_| take(1000)).count(), 5);
        for millis in [999, 1049, 900, 1049, 0] {
            assert!(!take(millis), "{millis} ms");
        }
        assert!(take(1050) && !take(1049) && !take(1050));
    }
}
