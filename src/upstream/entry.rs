//! What all cores and the control plane know of one upstream, whatever plan is in force: its entry in the registry.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::breaker::SharedBreaker;
use super::load::Load;
use crate::base::OwnLine;
use crate::io::clock::Moment;
use crate::stats::{BreakerState, UpstreamState};

/// The least part of its share that an upstream gets while it starts slowly.
const RAMP_LEAST: f32 = 0.1;

/// One upstream, shared as an `Arc`.
#[derive(Debug)]
pub struct Entry {
    /// What is shown of it.
    pub state: Arc<UpstreamState>,
    /// Whether requests may go there.
    pub breaker: SharedBreaker,
    /// How busy it is: each request writes that, and only looks at the breaker.
    pub load: OwnLine<Load>,
    /// Since when it takes more bit by bit, in microseconds; 0: it has always been there.
    slow_from: AtomicU64,
}

impl Entry {
    /// An upstream that nothing is known of.
    pub fn new(state: UpstreamState) -> Entry {
        let state = Arc::new(state);
        Entry {
            breaker: SharedBreaker::new(Arc::clone(&state)),
            state,
            load: OwnLine::default(),
            slow_from: AtomicU64::new(0),
        }
    }

    /// It came, or came back.
    pub fn start_slowly(&self, now: Moment) {
        self.slow_from.store(now.0, Relaxed);
    }

    /// It is somewhere else now, or goes by other rules: its breaker begins anew. `true`: it was shown open, or half.
    pub fn forget_failures(&self) -> bool {
        let was = self.state.breaker.load();
        self.breaker.forget();
        was != BreakerState::Closed
    }

    /// What part of its share it gets where upstreams take `slow_start` to their full one.
    pub fn ramp(&self, slow_start: Duration, now: Moment) -> f32 {
        let slow_from = self.slow_from.load(Relaxed);
        let age = now - Moment(slow_from);
        if slow_from == 0 || age >= slow_start {
            return 1.0;
        }
        (age.as_secs_f32() / slow_start.as_secs_f32()).max(RAMP_LEAST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_came_lately_gets_more_bit_by_bit() {
        let entry = Entry::new(UpstreamState::new("p", "http://a:1", 1));
        let (now, slow) = (Moment(5_000_000), Duration::from_secs(10));
        assert_eq!(entry.ramp(slow, now), 1.0, "it has always been there");
        entry.start_slowly(now);
        let after = |seconds| now + Duration::from_secs(seconds);
        let ramps = [0, 5, 10].map(|seconds| entry.ramp(slow, after(seconds)));
        assert_eq!(ramps, [0.1, 0.5, 1.0]);
        assert_eq!(entry.ramp(Duration::ZERO, now), 1.0);
    }
}
