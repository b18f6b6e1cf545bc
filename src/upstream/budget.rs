//! How many requests may be sent again: a share of those that begin, so that an outage is not answered with more load.

use std::sync::{Mutex, PoisonError};

use crate::base::OwnLine;
use crate::io::clock::Moment;
use crate::stats::Counter;

/// So many a second may be, whatever the share.
const ALWAYS: u64 = 10;
/// Requests of so many seconds count.
const SECONDS: usize = 10;

/// The budget of a pool, for all cores.
#[derive(Debug)]
pub struct RetryBudget {
    /// Requests that began, on each core.
    begun: Box<[OwnLine<Counter>]>,
    window: Mutex<Window>,
}

impl RetryBudget {
    /// Nothing has begun yet on so many `cores`.
    pub fn new(cores: usize) -> RetryBudget {
        let begun = std::iter::repeat_with(OwnLine::default).take(cores).collect();
        RetryBudget { begun, window: Mutex::default() }
    }

    /// A request begins on this core.
    pub fn begin(&self, core: usize) {
        self.begun[core].add(1);
    }

    /// Takes the right to send one again, if there is one left: `share` of a hundred.
    pub fn take(&self, share: u32, now: Moment) -> bool {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        // Added up under the lock: nobody comes with less than was seen before.
        let begun = self.begun.iter().map(|line| line.get()).sum();
        window.take(begun, share, now)
    }
}

/// What was sent again lately.
#[derive(Debug, Default)]
struct Window {
    /// The second of the last slot.
    second: u64,
    /// The last slot is that of `second`, the others are of the seconds before.
    slots: [Slot; SECONDS],
    /// Requests that had begun when it was looked at last.
    seen: u64,
}

/// A second.
#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    /// Requests that had begun before it.
    before: u64,
    /// Requests sent again in it.
    again: u64,
}

impl Window {
    fn take(&mut self, begun: u64, share: u32, now: Moment) -> bool {
        self.advance(begun, (now - Moment(0)).as_secs());
        let requests = begun - self.slots[0].before;
        let again: u64 = self.slots.iter().map(|slot| slot.again).sum();
        let this = &mut self.slots[SECONDS - 1];
        let allowed = requests * u64::from(share) / 100;
        // Where the share is more than the few that always may be, these are among them.
        let is_few = allowed < ALWAYS * SECONDS as u64 && this.again < ALWAYS;
        let may = again < allowed || is_few;
        this.again += u64::from(may);
        may
    }

    /// Nobody looked meanwhile, so requests are taken to have come evenly.
    fn advance(&mut self, begun: u64, second: u64) {
        let passed = second.saturating_sub(self.second);
        let came = begun - self.seen;
        for step in passed.saturating_sub(SECONDS as u64) + 1..=passed {
            self.slots.rotate_left(1);
            let before =
                self.seen + (u128::from(came) * u128::from(step) / u128::from(passed)) as u64;
            self.slots[SECONDS - 1] = Slot { before, again: 0 };
        }
        (self.second, self.seen) = (second.max(self.second), begun);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const MILLI: Duration = Duration::from_millis(1);

    /// What share of so many requests, one a `gap`, is sent again, where all of them want to be, `wants` times each.
    fn share(requests: u64, gap: Duration, share: u32, wants: u32) -> f64 {
        let mut window = Window::default();
        let (mut now, mut again) = (Moment(1_000_000), 0);
        for begun in 1..=requests {
            now = now + gap;
            again += (0..wants).filter(|_| window.take(begun, share, now)).count();
        }
        again as f64 / requests as f64
    }

    #[test]
    fn in_a_storm_no_more_than_the_share_is_sent_again() {
        for percent in [0, 5, 20, 100] {
            let found = share(60_000, MILLI, percent, 2);
            let most = (f64::from(percent) / 100.0).max(0.010);
            assert!(found <= most * 1.01 && found > most * 0.99, "{percent}: {found}");
        }
    }

    #[test]
    fn a_few_always_are() {
        let calm = share(600, 100 * MILLI, 20, 1);
        assert!(calm > 0.99, "10 a second: {calm}");
        let mut window = Window::default();
        let now = Moment(5_000_000);
        assert_eq!((0..100).filter(|_| window.take(1, 20, now)).count(), 10);
        let next = now + 1000 * MILLI;
        assert_eq!((0..100).filter(|_| window.take(1, 20, next)).count(), 10);
    }

    #[test]
    fn what_came_before_counts_for_a_while() {
        let mut window = Window::default();
        let now = Moment(100_000_000);
        window.take(0, 20, now);
        // 10,000 requests in 10 seconds of which none failed, then one upstream dies.
        let later = now + 10_000 * MILLI;
        assert_eq!((0..3000).filter(|_| window.take(10_000, 20, later)).count(), 1800);
        let much_later = later + 60_000 * MILLI;
        assert_eq!((0..3000).filter(|_| window.take(10_000, 20, much_later)).count(), 10);
    }

    #[test]
    fn all_cores_share_it() {
        let budget = RetryBudget::new(2);
        (0..500).for_each(|_| budget.begin(0));
        (0..500).for_each(|_| budget.begin(1));
        let now = Moment(1_000_000);
        assert_eq!((0..1000).filter(|_| budget.take(20, now)).count(), 200);
    }

    #[test]
    fn cores_look_at_it_at_the_same_time() {
        const EACH: u64 = 50_000;
        let budget = RetryBudget::new(2);
        let again = |core| {
            let now = Moment(1_000_000);
            let one = |_| {
                budget.begin(core);
                budget.take(20, now)
            };
            (0..EACH).map(one).filter(|may| *may).count() as u64
        };
        let both = std::thread::scope(|scope| {
            let other = scope.spawn(|| again(1));
            again(0) + other.join().unwrap()
        });
        let most = 2 * EACH / 5;
        assert!((most - 2..=most).contains(&both), "{both} of {most}");
    }
}
