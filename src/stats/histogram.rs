//! Durations in buckets: as one core counts them, and as many cores' are added up.

use std::time::Duration;

use super::Counter;

/// Upper bounds of the duration buckets, in seconds; the last bucket (+Inf) has none.
pub const BUCKETS_S: [f64; 19] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0,
    7.5, 10.0, 30.0, 60.0,
];

/// Buckets with the one that has no bound.
const BUCKETS: usize = BUCKETS_S.len() + 1;

/// Durations counted in the buckets of [`BUCKETS_S`].
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [Counter; BUCKETS],
    sum_us: Counter,
}

impl Histogram {
    /// Counts one duration.
    pub fn observe(&self, duration: Duration) {
        let micros = duration.as_micros() as u64;
        let seconds = micros as f64 / 1e6;
        let bucket = BUCKETS_S.iter().position(|bound| seconds <= *bound);
        self.buckets[bucket.unwrap_or(BUCKETS_S.len())].add(1);
        self.sum_us.add(micros);
    }
}

/// The sum of histograms.
#[derive(Clone, Debug, Default)]
pub struct Distribution {
    counts: [u64; BUCKETS],
    sum_us: u64,
}

impl Distribution {
    /// Adds what `histogram` has counted.
    pub fn add(&mut self, histogram: &Histogram) {
        for (sum, counter) in self.counts.iter_mut().zip(&histogram.buckets) {
            *sum += counter.get();
        }
        self.sum_us += histogram.sum_us.get();
    }

    /// How many durations there were.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The sum of all durations in seconds.
    pub fn sum_s(&self) -> f64 {
        self.sum_us as f64 / 1e6
    }

    /// Each bound in seconds with the number of durations of at most so much; the last bound is infinite.
    pub fn at_most(&self) -> impl Iterator<Item = (f64, u64)> {
        let bounds = BUCKETS_S.into_iter().chain([f64::INFINITY]);
        bounds.zip(self.counts).scan(0, |sum, (bound, count)| {
            *sum += count;
            Some((bound, *sum))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_falls_in_the_first_bucket_that_holds_it() {
        let histogram = Histogram::default();
        for micros in [0, 500, 501, 60_000_000, 60_000_001] {
            histogram.observe(Duration::from_micros(micros));
        }
        let mut sum = Distribution::default();
        sum.add(&histogram);
        sum.add(&histogram);
        let at_most: Vec<_> = sum.at_most().collect();
        assert_eq!((at_most[0], at_most[1], at_most[17]), ((0.0005, 4), (0.001, 6), (30.0, 6)));
        assert_eq!(at_most[18..], [(60.0, 8), (f64::INFINITY, 10)]);
        assert_eq!(sum.count(), 10);
        assert!((sum.sum_s() - 240.002_004).abs() < 1e-9);
    }
}
