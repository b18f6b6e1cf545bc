//! Which upstream is next: round robin, passing over those that back off after a failure.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use crate::io::clock::Moment;

/// How long an upstream is passed over after its first failure; doubled with each further one in a row.
const BACKOFF_MIN: Duration = Duration::from_secs(1);
const BACKOFF_DOUBLINGS: u32 = 5;

/// Whether an upstream could be connected to lately.
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
        self.until.set(Some(now + BACKOFF_MIN * 2_u32.pow(failures.min(BACKOFF_DOUBLINGS))));
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

/// The request that an upstream is chosen for.
#[derive(Clone, Copy, Debug)]
pub struct Choice {
    /// The request has failed once: an upstream that is known to work is preferred to one that may.
    pub again: bool,
    /// The time.
    pub now: Moment,
    /// How long connecting may take.
    pub wait: Duration,
}

/// Whose turn is when, by weight.
#[derive(Debug, Default)]
pub struct Schedule {
    /// The members by their places, each as often as it weighs and spread out; empty: one after the other.
    turns: Vec<u32>,
}

/// Turns of a schedule at most: beyond that, weights are rounded.
const MOST_TURNS: u64 = 1 << 16;

impl Schedule {
    /// A schedule for members of these weights, none of them 0.
    pub fn of(weights: &[u32]) -> Schedule {
        let divisor = weights.iter().fold(0, |divisor, weight| gcd(divisor, *weight)).max(1);
        if weights.iter().all(|weight| *weight == divisor) {
            return Schedule::default();
        }
        let total: u64 = weights.iter().map(|weight| u64::from(weight / divisor)).sum();
        let shrink = total.div_ceil(MOST_TURNS).max(1) as u32;
        // A member's turns lie at equal distances, beginning in the middle of the first.
        let mut turns: Vec<(f64, u32)> = Vec::new();
        for (member, weight) in weights.iter().enumerate() {
            let weight = (weight / divisor / shrink).max(1);
            let at = |turn: u32| (f64::from(turn) + 0.5) / f64::from(weight);
            turns.extend((0..weight).map(|turn| (at(turn), member as u32)));
        }
        turns.sort_by(|one, other| one.0.total_cmp(&other.0));
        Schedule { turns: turns.into_iter().map(|(_, member)| member).collect() }
    }

    /// How many turns there are until it begins anew.
    fn len(&self, members: usize) -> usize {
        if self.turns.is_empty() { members } else { self.turns.len() }
    }

    /// The place of the member whose turn it is; `turn` counts from anywhere.
    pub fn member(&self, turn: usize, members: usize) -> usize {
        match self.turns.len() {
            0 => turn % members,
            len => self.turns[turn % len] as usize,
        }
    }
}

fn gcd(one: u32, other: u32) -> u32 {
    if other == 0 { one } else { gcd(other, one % other) }
}

/// The members of a pool, and whose turn is when.
#[derive(Debug)]
pub struct Members<'a, M> {
    /// All of them.
    pub all: &'a [M],
    /// By their places.
    pub schedule: &'a Schedule,
}

/// A member of a group that round robin can judge.
pub trait Member {
    /// Whether it could be connected to lately.
    fn backoff(&self) -> &Backoff;
}

/// Goes round the members of a pool, all cores together: cores share only the number of turns so far.
#[derive(Clone, Debug, Default)]
pub struct RoundRobin {
    turns: Arc<AtomicUsize>,
}

impl RoundRobin {
    /// The next member that was not tried and works, or has backed off long enough: the request is its trial then.
    /// Otherwise one that backs off, because trying it is better than refusing. `None`: all were tried.
    ///
    /// Passing over one takes its turn, so that the one behind it is not served twice as often.
    pub fn choose<'a, M: Member>(
        &self,
        Members { all, schedule }: Members<'a, M>,
        was_tried: impl Fn(&M) -> bool,
        choice: Choice,
    ) -> Option<&'a M> {
        let Choice { again, now, wait } = choice;
        let (mut doubtful, mut resting) = (None, None);
        let first = self.turns.fetch_add(1, Relaxed);
        for passed in 0..schedule.len(all.len()) {
            let member = &all[schedule.member(first.wrapping_add(passed), all.len())];
            let backoff = member.backoff();
            if was_tried(member) {
                continue;
            }
            if backoff.is_resting(now) {
                resting.get_or_insert(member);
            } else if again && !backoff.works() {
                doubtful.get_or_insert(member);
            } else {
                backoff.begin_trial(now, wait);
                if passed > 0 {
                    self.turns.fetch_add(passed, Relaxed);
                }
                return Some(member);
            }
        }
        if let Some(member) = doubtful {
            member.backoff().begin_trial(now, wait);
        }
        doubtful.or(resting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Member for (usize, Backoff) {
        fn backoff(&self) -> &Backoff {
            &self.1
        }
    }

    type Members<const N: usize> = [(usize, Backoff); N];

    fn members<const N: usize>() -> Members<N> {
        std::array::from_fn(|index| (index, Backoff::default()))
    }

    /// The index of the member that is chosen.
    fn choose(
        robin: &RoundRobin,
        members: &[(usize, Backoff)],
        tried: &[usize],
        choice: Choice,
    ) -> Option<usize> {
        let members = super::Members { all: members, schedule: &Schedule::default() };
        robin.choose(members, |(index, _)| tried.contains(index), choice).map(|(index, _)| *index)
    }

    #[test]
    fn it_goes_round_and_passes_over_the_tried_and_the_resting() {
        let upstreams = members::<3>();
        upstreams.iter().for_each(|(_, backoff)| backoff.recovered());
        let robin = RoundRobin::default();
        let now = Moment(1_000_000);
        let choose = |tried: &[usize], now| {
            let choice = Choice { again: !tried.is_empty(), now, wait: BACKOFF_MIN };
            choose(&robin, &upstreams, tried, choice)
        };
        assert_eq!([(); 4].map(|()| choose(&[], now)), [Some(0), Some(1), Some(2), Some(0)]);
        assert_eq!(choose(&[1], now), Some(2));
        upstreams[1].1.failed(now);
        assert_eq!([(); 3].map(|()| choose(&[], now)), [Some(0), Some(2), Some(0)]);
        assert_eq!(choose(&[0, 2], now), Some(1), "a resting one is better than none");
        assert_eq!(choose(&[0, 1, 2], now), None);
        let rested = [(); 6].map(|()| choose(&[], now + BACKOFF_MIN));
        let trials = rested.iter().filter(|chosen| **chosen == Some(1)).count();
        assert_eq!(trials, 1, "one finds out whether it is back: {rested:?}");
    }

    #[test]
    fn turns_are_spread_out_by_weight() {
        for (weights, expected) in [
            (&[1, 1][..], &[][..]),
            (&[7, 7, 7], &[]),
            (&[1, 3], &[1, 0, 1, 1]),
            (&[2, 6], &[1, 0, 1, 1]),
            (&[5, 1, 1], &[0, 0, 0, 1, 2, 0, 0]),
        ] {
            assert_eq!(Schedule::of(weights).turns, expected, "{weights:?}");
        }
        let heavy = Schedule::of(&(1..=256).cycle().take(16_384).collect::<Vec<_>>());
        assert!(heavy.turns.len() <= 2 * MOST_TURNS as usize, "{}", heavy.turns.len());
    }

    #[test]
    fn a_trial_that_found_a_kept_connection_is_none() {
        let upstreams = members::<2>();
        upstreams[0].1.failed(Moment(0));
        upstreams[1].1.recovered();
        let robin = RoundRobin::default();
        let now = Moment(0) + BACKOFF_MIN;
        let choice = Choice { again: false, now, wait: BACKOFF_MIN };
        let choose = || choose(&robin, &upstreams, &[], choice);
        assert_eq!([(); 4].map(|()| choose()), [Some(0), Some(1), Some(1), Some(1)]);
        upstreams[0].1.end_trial();
        let kept = [(); 4].map(|()| choose().inspect(|index| upstreams[*index].1.end_trial()));
        assert_eq!(kept.iter().filter(|chosen| **chosen == Some(0)).count(), 2, "{kept:?}");
    }

    #[test]
    fn one_retry_at_a_time_tries_an_upstream_that_has_failed() {
        let upstreams = members::<2>();
        upstreams[0].1.failed(Moment(0));
        let robin = RoundRobin::default();
        let now = Moment(0) + BACKOFF_MIN;
        let choice = Choice { again: true, now, wait: BACKOFF_MIN };
        assert_eq!(choose(&robin, &upstreams, &[1], choice), Some(0));
        assert!(upstreams[0].1.is_resting(now), "others pass over it");
    }

    #[test]
    fn who_failed_once_is_sent_where_it_works() {
        let upstreams = members::<5>();
        upstreams[..3].iter().for_each(|(_, backoff)| backoff.failed(Moment(0)));
        upstreams[4].1.recovered(); // and of number 3 nothing is known
        let robin = RoundRobin::default();
        let now = Moment(0) + 2 * BACKOFF_MIN; // all have rested
        for first in 0..5 {
            let turn = Choice { again: true, now, wait: BACKOFF_MIN };
            let expected = if first == 4 { 0..4 } else { 4..5 };
            let chosen = choose(&robin, &upstreams, &[first], turn).unwrap();
            assert!(expected.contains(&chosen), "{first}: {chosen}");
        }
    }

    #[test]
    fn one_that_backs_off_does_not_double_the_load_of_the_next() {
        let upstreams = members::<3>();
        let robin = RoundRobin::default();
        upstreams[0].1.failed(Moment(0));
        let mut chosen = [0; 3];
        for _ in 0..300 {
            let now = Moment(0);
            let turn = Choice { again: false, now, wait: BACKOFF_MIN };
            let index = choose(&robin, &upstreams, &[], turn).unwrap();
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
