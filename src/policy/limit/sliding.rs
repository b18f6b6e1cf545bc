//! The sliding window: at most so many requests in any span of so long a time.
//!
//! Up to 128 requests, the time of each admitted one is marked; above that, of each k-th, k being `requests` / 128
//! rounded up. The k requests that end at a mark leave the window together, when the last of them does: never early, so
//! no more pass than by a log of all times, and at most k - 1 too few, which is less than 1 in 128.
//!
//! A time that is no whole tick is rounded up where a request is marked and down where it leaves: it may leave late by
//! two ticks, and never early.

use std::time::Duration;

use super::Standing;
use super::table::Slot;
use super::tick::{Now, Tick};
use crate::config::LimitSpec;

/// Marks of a key.
pub const MARKS_MOST: u32 = 128;
/// Ticks of a window. A mark is the low 32 bits of a time, and no mark that counts is older than the last one by more
/// than the window and two ticks, so its other bits are known.
const TICKS_MOST: u64 = 4_000_000_000;

/// A sliding window.
#[derive(Clone, Copy, Debug)]
pub struct Sliding {
    requests: u32,
    /// In ticks.
    window: u64,
    /// Requests from one mark to the next.
    block: u32,
    /// Marks of a key: a ring.
    marks: u32,
    /// What times are counted in.
    pub tick: Tick,
}

impl Sliding {
    /// The window that was asked for.
    pub fn of(spec: &LimitSpec) -> Sliding {
        let requests = spec.requests.max(1);
        let block = requests.div_ceil(MARKS_MOST);
        let tick = Tick::of(spec.window, 1, TICKS_MOST);
        let window = tick.window(spec.window);
        Sliding { requests, window, block, marks: requests.div_ceil(block), tick }
    }

    /// Marks that a key needs.
    pub fn marks(&self) -> usize {
        self.marks as usize
    }

    /// All that was admitted has left the window.
    pub fn is_whole(&self, slot: &Slot<'_>, now: &Now) -> bool {
        let tally = &slot.tally;
        tally.count == 0 || tally.time + self.window <= self.at(slot, now)
    }

    /// Requests that may pass now.
    pub fn remaining(&self, slot: &mut Slot<'_>, now: &Now) -> u32 {
        self.forget(slot, now);
        self.requests - slot.tally.count
    }

    /// Counts a request if it may pass, and says whether it may.
    pub fn take(&self, slot: &mut Slot<'_>, now: &Now) -> bool {
        if self.remaining(slot, now) == 0 {
            return false;
        }
        let tally = &mut *slot.tally;
        tally.time = tally.time.max(now.up);
        tally.count += 1;
        if tally.count.is_multiple_of(self.block) {
            let mark = (tally.first + tally.count / self.block - 1) % self.marks;
            slot.marks[mark as usize] = tally.time as u32;
        }
        true
    }

    /// How a key stands that has so many requests left.
    pub fn standing(&self, slot: &Slot<'_>, now: &Now, admitted: bool) -> Standing {
        let count = slot.tally.count;
        let until = |time: u64| now.until(time + self.window);
        Standing {
            admitted,
            remaining: self.requests - count,
            retry_after: if admitted { Duration::ZERO } else { until(self.oldest(slot)) },
            reset: if count == 0 { Duration::ZERO } else { until(slot.tally.time) },
            untracked: false,
        }
    }

    /// The tick that counts: time does not go back behind the last request, which was at its tick or up to one before.
    fn at(&self, slot: &Slot<'_>, now: &Now) -> u64 {
        let last = slot.tally.time;
        now.down.max(last.saturating_sub(u64::from(!self.tick.is_finest())))
    }

    /// The oldest mark, as a whole time.
    fn oldest(&self, slot: &Slot<'_>) -> u64 {
        let last = slot.tally.time;
        let mark = slot.marks[slot.tally.first as usize];
        last - u64::from((last as u32).wrapping_sub(mark))
    }

    /// Takes away what has left the window.
    fn forget(&self, slot: &mut Slot<'_>, now: &Now) {
        if self.is_whole(slot, now) {
            slot.tally.count = 0;
            return;
        }
        let at = self.at(slot, now);
        while slot.tally.count >= self.block && self.oldest(slot) + self.window <= at {
            slot.tally.count -= self.block;
            slot.tally.first = (slot.tally.first + 1) % self.marks;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::super::LimitTable;
    use super::super::testing::spec;
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    /// The log of all times, in nanoseconds: what the window is meant to be.
    #[derive(Debug, Default)]
    struct Log {
        times: VecDeque<u64>,
        total: usize,
    }

    impl Log {
        /// Those that are in the window at this time.
        fn count(&mut self, window: u64, now: u64) -> u32 {
            while self.times.front().is_some_and(|time| time + window <= now) {
                self.times.pop_front();
            }
            self.times.len() as u32
        }

        fn admit(&mut self, now: u64) {
            self.times.push_back(now);
            self.total += 1;
        }
    }

    /// The next time: at once, soon, much later, or around when the oldest one leaves.
    fn next(random: &mut fastrand::Rng, now: u64, log: &Log, window: u64, requests: u32) -> u64 {
        let gap = window / u64::from(requests) + 1;
        let leaves = log.times.front().map_or(0, |time| time + window);
        match random.u32(..100) {
            0..40 => now,
            40..70 => now + random.u64(..gap),
            70..85 => now + random.u64(..2 * gap),
            85 => now + random.u64(..3 * window),
            86..92 => now.max(leaves),
            92..98 => now.max(leaves.saturating_sub(1)),
            _ => now.max(leaves + 1),
        }
    }

    #[test]
    fn up_to_128_requests_it_is_the_log() {
        for seed in 0..300 {
            let mut random = fastrand::Rng::with_seed(seed);
            let requests = match random.u32(..4) {
                0 => random.u32(1..4),
                _ => random.u32(1..=128),
            };
            // Units are whole ticks of these windows.
            let table = [(1, 1), (4, 1), (60, 1000), (3600, 1000), (86_400, 100_000)];
            let (seconds, unit) = random.choice(table).unwrap();
            let window = seconds * SECOND;
            let limit = LimitTable::new(&spec(
                requests,
                Duration::from_nanos(window),
                None,
                random.usize(..100),
            ));
            let (mut log, mut now) = (Log::default(), random.u64(..1 << 60) / unit * unit);
            for step in 0..2000 {
                now = next(&mut random, now, &log, window, requests).div_ceil(unit) * unit;
                // Another core, whose clock is a little behind. Where ticks are long, it counts a tick less.
                let back =
                    if unit == 1 && random.u32(..8) == 0 { random.u64(..1 << 28) } else { 0 };
                let given = now - back.min(now);
                let meant = given.max(log.times.back().copied().unwrap_or(0));
                let found = limit.take(77, Duration::from_nanos(given));
                let admitted = log.count(window, meant) < requests;
                if admitted {
                    log.admit(meant);
                }
                let until = |time: Option<&u64>| {
                    Duration::from_nanos(time.map_or(0, |time| time + window - given))
                };
                let wanted = Standing {
                    admitted,
                    remaining: requests - log.count(window, meant),
                    retry_after: until(log.times.front().filter(|_| !admitted)),
                    reset: until(log.times.back()),
                    untracked: false,
                };
                assert_eq!(found, wanted, "{seed}, {step}: {requests} in {seconds} s");
            }
        }
    }

    /// Any number of requests, any time: never more than the log admits, and how few.
    fn near(seed: u64, requests: u32, steps: u32) {
        let mut random = fastrand::Rng::with_seed(seed);
        let seconds = random.choice([1, 10, 3600, 86_400]).unwrap();
        let window = seconds * SECOND;
        let rule = Sliding::of(&spec(requests, Duration::from_nanos(window), None, 1));
        let tick = window / rule.window;
        // Half of them at any time, half at whole ticks, where nothing is late.
        let unit = if seed.is_multiple_of(2) { tick } else { 1 };
        let late_most = if unit == tick { 0 } else { 2 * tick };
        let limit = LimitTable::new(&spec(requests, Duration::from_nanos(window), None, 1));
        let (mut exact, mut own, mut late) = (Log::default(), Log::default(), Log::default());
        let mut now = random.u64(..1 << 60) / unit * unit;
        for _ in 0..steps {
            now = next(&mut random, now, &exact, window, requests).div_ceil(unit) * unit;
            if exact.count(window, now) < requests {
                exact.admit(now);
            }
            let admitted = limit.take(77, Duration::from_nanos(now)).admitted;
            let counted = late.count(window + late_most, now);
            if admitted {
                own.admit(now);
                late.admit(now);
                let found = own.count(window, now);
                assert!(found <= requests, "{seed}: {found} of {requests} in a window");
            } else {
                let least = requests - (rule.block - 1);
                assert!(counted >= least, "{seed}: refused at {counted} of {requests}");
            }
            assert!(own.total <= exact.total, "{seed}: more than the log admits");
        }
        let least = exact.total as f64 * 0.99 - 1.0;
        assert!(
            unit != tick || own.total as f64 >= least,
            "{seed}: {} of {}",
            own.total,
            exact.total
        );
    }

    #[test]
    fn above_128_requests_it_is_never_more_and_almost_as_many() {
        for seed in 0..200 {
            let requests = [1, 20, 128, 129, 130, 200, 255, 256, 257, 1000][seed as usize / 2 % 10];
            near(seed, requests, requests * 20 + 500);
        }
        for (seed, requests) in [(1000, 4999), (1002, 12_800), (1004, 12_801)] {
            near(seed, requests, requests * 10);
        }
    }

    #[test]
    fn a_window_slides() {
        // 10 a second: five at 0 s, five at 0.9 s; at 1 s the first five are gone, and no more.
        let limit = LimitTable::new(&spec(10, Duration::from_secs(1), None, 1));
        let passed = |millis: u64, count: u32| {
            let now = Duration::from_millis(millis);
            (0..count).filter(|_| limit.take(1, now).admitted).count()
        };
        let table = [(0, 5, 5), (900, 5, 5), (999, 9, 0), (1000, 9, 5), (1899, 9, 0), (1900, 9, 5)];
        for (millis, count, wanted) in table {
            assert_eq!(passed(millis, count), wanted, "{millis} ms");
        }
    }
}
