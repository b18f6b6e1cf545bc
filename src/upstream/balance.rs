//! Which endpoint is next: round robin, passing over those that rest after a failure.

use std::cell::Cell;
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

/// Goes round the endpoints.
#[derive(Debug, Default)]
pub struct RoundRobin {
    next: Cell<usize>,
}

impl RoundRobin {
    /// Starts at `first`, so that cores do not begin in step.
    pub fn starting_at(first: usize) -> RoundRobin {
        RoundRobin { next: Cell::new(first) }
    }

    /// The next endpoint that was not `tried` and does not rest; one that rests if there is no other:
    /// trying it is better than refusing. `None`: all were tried.
    pub fn choose<'a>(
        &self,
        endpoints: usize,
        rest: impl Fn(usize) -> &'a Rest,
        tried: &[usize],
        now: Moment,
    ) -> Option<usize> {
        let first = self.next.get();
        let round = || (0..endpoints).map(|step| (first + step) % endpoints);
        let untried = || round().filter(|index| !tried.contains(index));
        let chosen = untried().find(|index| !rest(*index).is_resting(now)).or(untried().next())?;
        self.next.set((chosen + 1) % endpoints);
        Some(chosen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_round_and_passes_over_the_tried_and_the_resting() {
        let rests = [Rest::default(), Rest::default(), Rest::default()];
        let robin = RoundRobin::starting_at(1);
        let now = Moment(1_000_000);
        let choose = |tried: &[usize], now| robin.choose(3, |index| &rests[index], tried, now);
        assert_eq!([(); 4].map(|()| choose(&[], now)), [Some(1), Some(2), Some(0), Some(1)]);
        assert_eq!(choose(&[2], now), Some(0));
        rests[1].failed(now);
        assert_eq!([(); 3].map(|()| choose(&[], now)), [Some(2), Some(0), Some(2)]);
        assert_eq!(choose(&[0, 2], now), Some(1), "a resting one is better than none");
        assert_eq!(choose(&[0, 1, 2], now), None);
        assert_eq!(choose(&[], now + REST_MIN), Some(2));
        assert_eq!(choose(&[], now + REST_MIN), Some(0));
        assert_eq!(choose(&[], now + REST_MIN), Some(1), "rested");
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
