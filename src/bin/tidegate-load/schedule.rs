//! When requests are due in the open loop: at fixed moments, whatever became of those before. Pure arithmetic.

use tidegate::io::clock::Moment;

/// Requests per second, in thousandths; never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate(u64);

impl Rate {
    /// The fastest rate: a request each microsecond.
    pub const FASTEST: u64 = 1_000_000_000;

    /// So many requests in a thousand seconds; `None`: none at all, or more than can be told apart.
    pub fn per_thousand_seconds(requests: u64) -> Option<Rate> {
        (1..=Rate::FASTEST).contains(&requests).then_some(Rate(requests))
    }

    /// Requests per second.
    pub fn per_second(self) -> f64 {
        self.0 as f64 / 1000.0
    }

    /// When request `index` is due, in microseconds from the start. No rounding adds up.
    fn due(self, index: u64) -> u64 {
        u64::try_from(u128::from(index) * 1_000_000_000 / u128::from(self.0)).unwrap_or(u64::MAX)
    }

    /// How many requests are due `elapsed` microseconds from the start.
    fn due_by(self, elapsed: u64) -> u64 {
        let last = (u128::from(elapsed) + 1) * u128::from(self.0);
        u64::try_from(last.div_ceil(1_000_000_000)).unwrap_or(u64::MAX)
    }
}

/// The part of a schedule that one thread keeps: every `of`th request, beginning with number `first`.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    rate: Rate,
    start: Moment,
    /// From here on nothing is due.
    end: Moment,
    first: u64,
    of: u64,
    taken: u64,
}

impl Schedule {
    /// The part of thread `index` of `threads`, from `start` until just before `end`.
    pub fn new(
        rate: Rate,
        start: Moment,
        end: Option<Moment>,
        index: usize,
        threads: usize,
    ) -> Schedule {
        let end = end.unwrap_or(Moment(u64::MAX));
        Schedule { rate, start, end, first: index as u64, of: threads.max(1) as u64, taken: 0 }
    }

    /// When the next request is due; `None`: there will be no more.
    pub fn next(&self) -> Option<Moment> {
        let index = self.first.saturating_add(self.taken.saturating_mul(self.of));
        let due = Moment(self.start.0.saturating_add(self.rate.due(index)));
        (due < self.end).then_some(due)
    }

    /// Takes the next request, if it is due: the moment it was.
    pub fn take(&mut self, now: Moment) -> Option<Moment> {
        let due = self.next().filter(|due| *due <= now)?;
        self.taken += 1;
        Some(due)
    }

    /// Requests that are due and were not taken.
    pub fn owed(&self, now: Moment) -> u64 {
        let now = now.0.min(self.end.0.saturating_sub(1));
        let Some(elapsed) = now.checked_sub(self.start.0) else { return 0 };
        let due = self.rate.due_by(elapsed).saturating_sub(self.first).div_ceil(self.of);
        due.saturating_sub(self.taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(thousandths: u64) -> Rate {
        Rate::per_thousand_seconds(thousandths).unwrap()
    }

    #[test]
    fn requests_are_due_at_even_moments_without_drift() {
        let mut schedule = Schedule::new(rate(3_000_000), Moment(50), None, 0, 1);
        let due: Vec<_> = (0..7).map(|_| schedule.take(Moment(u64::MAX)).unwrap().0).collect();
        assert_eq!(due, [50, 383, 716, 1050, 1383, 1716, 2050]);
        schedule.taken = 3_000 * 86_400;
        assert_eq!(
            schedule.next(),
            Some(Moment(50 + 86_400_000_000)),
            "to the microsecond after a day"
        );
    }

    #[test]
    fn nothing_is_due_early_and_lateness_is_counted_from_the_schedule() {
        let mut schedule = Schedule::new(rate(100_000), Moment(1000), None, 0, 1);
        assert_eq!(schedule.take(Moment(999)), None);
        assert_eq!(schedule.take(Moment(1000)), Some(Moment(1000)));
        assert_eq!(schedule.take(Moment(10_999)), None);
        // Everybody was busy for 35 ms: what is taken now was due then.
        let now = Moment(46_000);
        assert_eq!(schedule.owed(now), 4);
        let due: Vec<_> = std::iter::from_fn(|| schedule.take(now)).map(|due| due.0).collect();
        assert_eq!(due, [11_000, 21_000, 31_000, 41_000]);
        assert_eq!((schedule.owed(now), schedule.next()), (0, Some(Moment(51_000))));
    }

    #[test]
    fn threads_share_a_schedule_without_gap_or_overlap() {
        let mut parts =
            [0, 1, 2].map(|index| Schedule::new(rate(7_000), Moment(9), None, index, 3));
        let mut whole = Schedule::new(rate(7_000), Moment(9), None, 0, 1);
        let now = Moment(5_000_000);
        let owed: u64 = parts.iter().map(|part| part.owed(now)).sum();
        assert_eq!(owed, whole.owed(now));
        let mut due: Vec<_> =
            parts.iter_mut().flat_map(|part| std::iter::from_fn(|| part.take(now))).collect();
        due.sort_unstable();
        let expected: Vec<_> = std::iter::from_fn(|| whole.take(now)).collect();
        assert_eq!((due.len() as u64, due), (owed, expected));
    }

    #[test]
    fn what_is_owed_is_what_can_be_taken() {
        for thousandths in [1, 999, 1_000, 3_333, 100_000, 7_777_777, Rate::FASTEST] {
            for now in [0, 1, 999, 1_000, 1_001, 54_321] {
                let mut schedule = Schedule::new(rate(thousandths), Moment(0), None, 0, 1);
                let owed = schedule.owed(Moment(now));
                let taken = std::iter::from_fn(|| schedule.take(Moment(now))).count();
                assert_eq!(owed, taken as u64, "{thousandths} at {now}");
            }
        }
    }

    #[test]
    fn nothing_is_due_at_the_end() {
        let end = Some(Moment(9 + 10_000_000));
        let mut parts = [0, 1].map(|i| Schedule::new(rate(100_000), Moment(9), end, i, 2));
        let late = Moment(20_000_000);
        assert_eq!(parts.iter().map(|part| part.owed(late)).sum::<u64>(), 1000);
        let taken = |part: &mut Schedule| std::iter::from_fn(|| part.take(late)).count();
        assert_eq!(parts.iter_mut().map(taken).sum::<usize>(), 1000, "100 a second for 10 s");
        assert_eq!(parts.map(|part| (part.owed(late), part.next())), [(0, None); 2]);
    }

    #[test]
    fn rates_have_bounds() {
        assert_eq!(Rate::per_thousand_seconds(0), None);
        assert_eq!(Rate::per_thousand_seconds(Rate::FASTEST + 1), None);
        assert_eq!(rate(500).due(3), 6_000_000, "one in two seconds");
    }
}
