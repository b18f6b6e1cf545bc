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
pub struct Backoff {
    failures: Cell<u32>,
    /// The last attempt to connect succeeded.
    reached: Cell<bool>,
    until: Cell<Option<Moment>>,
}

impl Backoff {
    /// A connection failed.
    pub fn failed(&self, now: Moment) {
        self.reached.set(false);
        let failures = self.failures.get();
        self.failures.set(failures.saturating_add(1));
        self.until.set(Some(now + REST_MIN * 2_u32.pow(failures.min(REST_DOUBLINGS))));
    }

    /// A connection was made.
    pub fn recovered(&self) {
        self.renewed();
        self.reached.set(true);
    }

    /// What is known of it means nothing any more: it is somewhere else now.
    pub fn renewed(&self) {
        self.reached.set(false);
        self.failures.set(0);
        self.until.set(None);
    }

    /// The last attempt to connect succeeded.
    pub fn works(&self) -> bool {
        self.reached.get()
    }

    fn is_resting(&self, now: Moment) -> bool {
        self.until.get().is_some_and(|until| now < until)
    }

    /// A request finds out whether it is back; the others pass over it until `wait` is over, in which it should
    /// be known.
    fn begin_trial(&self, now: Moment, wait: Duration) {
        if self.failures.get() > 0 {
            self.until.set(Some(now + wait));
        }
    }

    /// The request found a kept connection, so it finds nothing out: the next one may.
    pub fn end_trial(&self) {
        self.until.set(None);
    }
}

/// The request that an endpoint is chosen for.
#[derive(Clone, Copy, Debug)]
pub struct Choice<'a> {
    /// Endpoints that were tried already.
    pub tried: &'a [usize],
    /// The request has failed once: whoever is known to work is preferred to whoever may.
    pub again: bool,
    /// The time.
    pub now: Moment,
    /// How long connecting may take.
    pub wait: Duration,
}

/// Goes round the endpoints, all cores together: the one thing they share here is how often it was
/// somebody's turn.
#[derive(Clone, Debug, Default)]
pub struct RoundRobin {
    turns: Arc<AtomicUsize>,
}

impl RoundRobin {
    /// The next endpoint that was not tried and works, or has rested: the request is its trial then. Else one that
    /// rests, for trying it is better than refusing. `None`: all were tried.
    ///
    /// Passing over one takes its turn, so that the one behind it is not served twice as often.
    pub fn choose<'a>(
        &self,
        endpoints: usize,
        rest: impl Fn(usize) -> &'a Backoff,
        choice: Choice<'_>,
    ) -> Option<usize> {
        let Choice { tried, again, now, wait } = choice;
        let (mut doubtful, mut resting) = (None, None);
        let first = self.turns.fetch_add(1, Relaxed);
        for passed in 0..endpoints {
            let index = first.wrapping_add(passed) % endpoints;
            let state = rest(index);
            if tried.contains(&index) {
                continue;
            }
            if state.is_resting(now) {
                resting.get_or_insert(index);
            } else if again && !state.works() {
                doubtful.get_or_insert(index);
            } else {
                state.begin_trial(now, wait);
                if passed > 0 {
                    self.turns.fetch_add(passed, Relaxed);
                }
                return Some(index);
            }
        }
        if let Some(index) = doubtful {
            rest(index).begin_trial(now, wait);
        }
        doubtful.or(resting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_round_and_passes_over_the_tried_and_the_resting() {
        let rests = [Backoff::default(), Backoff::default(), Backoff::default()];
        rests.iter().for_each(Backoff::recovered);
        let robin = RoundRobin::default();
        let now = Moment(1_000_000);
        let choose = |tried: &[usize], now| {
            robin.choose(
                3,
                |index| &rests[index],
                Choice { tried, again: !tried.is_empty(), now, wait: REST_MIN },
            )
        };
        assert_eq!([(); 4].map(|()| choose(&[], now)), [Some(0), Some(1), Some(2), Some(0)]);
        assert_eq!(choose(&[1], now), Some(2));
        rests[1].failed(now);
        assert_eq!([(); 3].map(|()| choose(&[], now)), [Some(0), Some(2), Some(0)]);
        assert_eq!(choose(&[0, 2], now), Some(1), "a resting one is better than none");
        assert_eq!(choose(&[0, 1, 2], now), None);
        let rested = [(); 6].map(|()| choose(&[], now + REST_MIN));
        let trials = rested.iter().filter(|chosen| **chosen == Some(1)).count();
        assert_eq!(trials, 1, "one finds out whether it is back: {rested:?}");
    }

    #[test]
    fn a_trial_that_found_a_kept_connection_is_none() {
        let rests = [Backoff::default(), Backoff::default()];
        rests[0].failed(Moment(0));
        rests[1].recovered();
        let robin = RoundRobin::default();
        let now = Moment(0) + REST_MIN;
        let choice = Choice { tried: &[], again: false, now, wait: REST_MIN };
        let choose = || robin.choose(2, |index| &rests[index], choice);
        assert_eq!([(); 4].map(|()| choose()), [Some(0), Some(1), Some(1), Some(1)]);
        rests[0].end_trial();
        let kept = [(); 4].map(|()| choose().inspect(|index| rests[*index].end_trial()));
        assert_eq!(kept.iter().filter(|chosen| **chosen == Some(0)).count(), 2, "{kept:?}");
    }

    #[test]
    fn one_retry_at_a_time_tries_an_endpoint_that_has_failed() {
        let rests = [Backoff::default(), Backoff::default()];
        rests[0].failed(Moment(0));
        let robin = RoundRobin::default();
        let now = Moment(0) + REST_MIN;
        let choice = Choice { tried: &[1], again: true, now, wait: REST_MIN };
        assert_eq!(robin.choose(2, |index| &rests[index], choice), Some(0));
        assert!(rests[0].is_resting(now), "others pass over it");
    }

    #[test]
    fn who_failed_once_is_sent_where_it_works() {
        let rests = [(); 5].map(|()| Backoff::default());
        rests[..3].iter().for_each(|rest| rest.failed(Moment(0)));
        rests[4].recovered(); // and of number 3 nothing is known
        let robin = RoundRobin::default();
        let now = Moment(0) + 2 * REST_MIN; // all have rested
        for first in 0..5 {
            let turn = Choice { tried: &[first], again: true, now, wait: REST_MIN };
            let expected = if first == 4 { 0..4 } else { 4..5 };
            let chosen = robin.choose(5, |index| &rests[index], turn).unwrap();
            assert!(expected.contains(&chosen), "{first}: {chosen}");
        }
    }

    #[test]
    fn one_that_rests_does_not_double_the_load_of_the_next() {
        let rests = [Backoff::default(), Backoff::default(), Backoff::default()];
        let robin = RoundRobin::default();
        rests[0].failed(Moment(0));
        let mut chosen = [0; 3];
        for _ in 0..300 {
            let now = Moment(0);
            let turn = Choice { tried: &[], again: false, now, wait: REST_MIN };
            let index = robin.choose(3, |index| &rests[index], turn).unwrap();
            chosen[index] += 1;
        }
        assert_eq!(chosen, [0, 150, 150]);
    }

    #[test]
    fn rest_doubles_to_a_bound_and_ends_with_a_success() {
        let rest = Backoff::default();
        let now = Moment(0);
        (0..40).for_each(|_| rest.failed(now));
        assert!(rest.is_resting(now + Duration::from_secs(31)));
        assert!(!rest.is_resting(now + Duration::from_secs(32)));
        rest.failed(now);
        rest.recovered();
        assert!(!rest.is_resting(now));
    }
}
