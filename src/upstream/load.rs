//! How busy an upstream is, for all cores: requests under way, and how long its answers take.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::io::clock::Moment;

/// After so long an answer time counts for a third of what it did.
const FADES: Duration = Duration::from_secs(10);

/// One upstream's; written by all cores, and only where somebody chooses by it.
#[derive(Debug, Default)]
pub struct Load {
    under_way: AtomicU32,
    /// Seconds that answers take, as an `f32`, and when that was found, in milliseconds: one value, so that nobody
    /// reads one without the other.
    taken: AtomicU64,
}

impl Load {
    /// Requests under way.
    pub fn under_way(&self) -> u32 {
        self.under_way.load(Relaxed)
    }

    /// One more.
    pub fn up(&self) {
        self.under_way.fetch_add(1, Relaxed);
    }

    /// One less.
    pub fn down(&self) {
        self.under_way.fetch_sub(1, Relaxed);
    }

    /// One more, unless there are `most`.
    pub fn up_below(&self, most: u32) -> bool {
        let more = |have| (have < most).then_some(have + 1);
        self.under_way.fetch_update(Relaxed, Relaxed, more).is_ok()
    }

    /// An answer took so long: a longer one counts at once, a shorter one bit by bit (peak EWMA). Two cores may
    /// overwrite each other: then one answer is forgotten.
    pub fn took(&self, latency: Duration, now: Moment) {
        let (known, taken) = (self.faded(now), latency.as_secs_f32());
        let new =
            if taken > known.value { taken } else { taken + (known.value - taken) * known.kept };
        let at = (now.0 / 1000) as u32;
        self.taken.store(u64::from(new.to_bits()) << 32 | u64::from(at), Relaxed);
    }

    /// What a request there costs: the time that answers take, for each one under way.
    pub fn cost(&self, now: Moment) -> f32 {
        let known = self.faded(now);
        // Of one that is busy and has not answered yet nothing is known, so it is taken to be slow.
        let taken =
            if known.value == 0.0 && self.under_way() > 0 { 1.0 } else { known.value * known.kept };
        taken * (self.under_way() + 1) as f32
    }

    fn faded(&self, now: Moment) -> Faded {
        let packed = self.taken.load(Relaxed);
        let value = f32::from_bits((packed >> 32) as u32);
        // Below zero: another core has looked at the clock later than this one, and was quicker here.
        let age_ms = (((now.0 / 1000) as u32).wrapping_sub(packed as u32) as i32).max(0);
        Faded { value, kept: (-(age_ms as f32) / FADES.as_millis() as f32).exp() }
    }
}

/// An answer time, and how much of it still counts.
struct Faded {
    value: f32,
    kept: f32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peak_counts_at_once_and_fades() {
        let (load, now) = (Load::default(), Moment(1_000_000));
        assert_eq!(load.cost(now), 0.0);
        load.took(Duration::from_millis(10), now);
        load.took(Duration::from_millis(1), now);
        assert!((load.cost(now) - 0.010).abs() < 0.000_1, "{}", load.cost(now));
        load.took(Duration::from_millis(100), now);
        assert!((load.cost(now) - 0.100).abs() < 0.001);
        let later = now + FADES;
        assert!((load.cost(later) - 0.0368).abs() < 0.001, "{}", load.cost(later));
        load.took(Duration::from_millis(1), later);
        assert!((load.cost(later) - 0.0374).abs() < 0.001, "{}", load.cost(later));
        load.up();
        assert!((load.cost(later) - 2.0 * 0.0374).abs() < 0.001);
    }

    #[test]
    fn another_core_may_be_ahead() {
        let (load, now) = (Load::default(), Moment(1_000_000));
        let ahead = now + Duration::from_millis(3);
        load.took(Duration::from_millis(10), ahead);
        assert!((load.cost(now) - 0.010).abs() < 0.000_1, "{}", load.cost(now));
        load.took(Duration::from_millis(1), now);
        assert!((load.cost(now) - 0.010).abs() < 0.000_1, "{}", load.cost(now));
    }

    #[test]
    fn there_are_never_more_than_may_be() {
        let load = Load::default();
        assert!(load.up_below(2) && load.up_below(2) && !load.up_below(2));
        load.down();
        assert!(load.up_below(2));
        assert_eq!(load.under_way(), 2);
    }

    #[test]
    fn one_that_has_not_answered_yet_is_not_flooded() {
        let (new, known, now) = (Load::default(), Load::default(), Moment(1_000_000));
        known.took(Duration::from_millis(50), now);
        assert!(new.cost(now) < known.cost(now), "the first request goes there");
        new.up();
        assert!(new.cost(now) > known.cost(now), "and the next waits for what comes of it");
    }
}
