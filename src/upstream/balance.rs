//! Which endpoint is next: round robin, passing over those that rest after a failure.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use crate::io::clock::Moment;

/// How long an endpoint rests after its first failure; doubled with each further one in a row.
const REST_MIN: Duration = Duration::from_secs(1);
const REST_DOUBLINGS: u32 = 5;

/// Whether an endpoint could be connected to lately.
#[derive(Debug, Default)]
pub struct Rest {
    failures: Cell<u32>,
    until: Cell<Option<Moment>>,
}

impl Rest {
    /// A connection failed.
    pub fn failed(&self, now: Moment) {
        let failures = self.failures.get();
        self.failures.set(failures.saturating_add(1));
        self.until.set(Some(now + REST_MIN * 2_u32.pow(failures.min(REST_DOUBLINGS))));
    }

    /// A connection was made.
    pub fn recovered(&self) {
        self.failures.set(0);
        self.until.set(None);
    }

    fn is_resting(&self, now: Moment) -> bool {
        self.until.get().is_some_and(|until| now < until)
    }
}

/// Goes round the endpoints, all cores together: the one thing they share here is how often it was
/// somebody's turn.
#[derive(Clone, Debug, Default)]
pub struct RoundRobin {
    turns: Arc<AtomicUsize>,
}

impl RoundRobin {
    /// The next endpoint that was not `tried` and does not rest; one that rests if there is no other:
    /// trying it is better than refusing. `None`: all were tried.
    ///
    /// Passing over one takes its turn, so that the one behind it is not served twice as often.
    pub fn choose<'a>(
        &self,
        endpoints: usize,
        rest: impl Fn(usize) -> &'a Rest,
        tried: &[usize],
        now: Moment,
    ) -> Option<usize> {
        let mut resting = None;
        for _ in 0..endpoints {
            let index = self.turns.fetch_add(1, Relaxed) % endpoints;
            if tried.contains(&index) {
                continue;
            }
            if !rest(index).is_resting(now) {
                return Some(index);
            }
            resting.get_or_insert(index);
        }
        // Other cores took turns meanwhile, so the round may have missed one.
        resting.or_else(|| (0..endpoints).find(|index| !tried.contains(index)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_round_and_passes_over_the_tried_and_the_resting() {
        let rests = [Rest::default(), Rest::default(), Rest::default()];
        let robin = RoundRobin::default();
        let now = Moment(1_000_000);
        let choose = |tried: &[usize], now| robin.choose(3, |index| &rests[index], tried, now);
        assert_eq!([(); 4].map(|()| choose(&[], now)), [Some(0), Some(1), Some(2), Some(0)]);
        assert_eq!(choose(&[1], now), Some(2));
        rests[1].failed(now);
        assert_eq!([(); 3].map(|()| choose(&[], now)), [Some(0), Some(2), Some(0)]);
        assert_eq!(choose(&[0, 2], now), Some(1), "a resting one is better than none");
        assert_eq!(choose(&[0, 1, 2], now), None);
        let rested = [(); 3].map(|()| choose(&[], now + REST_MIN));
        assert!(rested.contains(&Some(1)), "{rested:?}");
    }

    #[test]
    fn one_that_rests_does_not_double_the_load_of_the_next() {
        let rests = [Rest::default(), Rest::default(), Rest::default()];
        let robin = RoundRobin::default();
        rests[0].failed(Moment(0));
        let mut chosen = [0; 3];
        for _ in 0..300 {
            let index = robin.choose(3, |index| &rests[index], &[], Moment(0)).unwrap();
            chosen[index] += 1;
        }
        assert_eq!(chosen, [0, 150, 150]);
    }

    #[test]
    fn rest_doubles_to_a_bound_and_ends_with_a_success() {
        let rest = Rest::default();
        let now = Moment(0);
        (0..40).for_each(|_| rest.failed(now));
        assert!(rest.is_resting(now + Duration::from_secs(31)));
        assert!(!rest.is_resting(now + Duration::from_secs(32)));
        rest.failed(now);
        rest.recovered();
        assert!(!rest.is_resting(now));
    }
}
