//! Counters with one writer and any number of readers.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// A number that only grows. Only the core that owns it may call [`Counter::add`].
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`; a load and a store, because there is one writer.
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(n), Relaxed);
    }

    /// The value now.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// A number that goes up and down. Only the core that owns it may change it.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU64);

impl Gauge {
    /// Sets the value.
    pub fn set(&self, n: u64) {
        self.0.store(n, Relaxed);
    }

    /// One more.
    pub fn up(&self) {
        self.set(self.get() + 1);
    }

    /// One less.
    pub fn down(&self) {
        self.set(self.get().saturating_sub(1));
    }

    /// The value now.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Upper bounds of the duration buckets, in seconds; the last bucket (+Inf) has none.
pub const BUCKETS_S: [f64; 17] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0,
    7.5, 10.0,
];

/// Durations counted in the buckets of [`BUCKETS_S`].
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [Counter; BUCKETS_S.len() + 1],
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

    /// How many fell in each bucket (not cumulative; the last is +Inf).
    pub fn counts(&self) -> [u64; BUCKETS_S.len() + 1] {
        std::array::from_fn(|i| self.buckets[i].get())
    }

    /// The sum of all durations in seconds.
    pub fn sum_s(&self) -> f64 {
        self.sum_us.get() as f64 / 1e6
    }
}

/// What one core counted about one upstream.
#[derive(Debug, Default)]
pub struct Upstream {
    /// Requests sent to it, retries included.
    pub requests: Counter,
    /// Answers by status class: index 0 = 1xx ... 4 = 5xx.
    pub responses: [Counter; 5],
    /// Attempts that ended without a usable answer, connect failures included.
    pub failures: Counter,
    /// Connections that could not be made.
    pub connect_failures: Counter,
    /// Connections opened.
    pub connects: Counter,
    /// Requests that went over a connection used before.
    pub reused: Counter,
    /// Requests under way.
    pub active: Gauge,
    /// Open connections without a request.
    pub idle: Gauge,
    /// From the request's last octet out to the answer's first octet in.
    pub first_byte: Histogram,
}

/// What one core counted.
#[derive(Debug)]
pub struct Core {
    /// Client connections accepted.
    pub accepted: Counter,
    /// Client connections open.
    pub connections: Gauge,
    /// Requests whose head was read and judged good, or refused.
    pub requests: Counter,
    /// Requests under way.
    pub active: Gauge,
    /// Final answers sent, by status class: index 0 = 1xx (unused) ... 4 = 5xx.
    pub responses: [Counter; 5],
    /// How each request ended; the index is that of the reason in the table of `http::close`.
    pub reasons: Vec<Counter>,
    /// Octets read from clients and written to them.
    pub client_bytes: [Counter; 2],
    /// Octets read from upstreams and written to them.
    pub upstream_bytes: [Counter; 2],
    /// From a request's first octet to its end.
    pub duration: Histogram,
    /// Further attempts after a connect failure.
    pub retries: Counter,
    /// Silent second attempts after a reused connection had died.
    pub replays: Counter,
    /// Tunnels open after a 101.
    pub tunnels: Gauge,
    /// Tunnels opened.
    pub tunnels_opened: Counter,
    /// Bodies moved by splice, and bodies that were not, by named reason (index into `io`'s table).
    pub spliced: Counter,
    /// Octets moved by splice.
    pub spliced_bytes: Counter,
    /// Bodies that did not come with their head and were copied, by the index of the reason.
    pub copied: Vec<Counter>,
    /// Tasks that panicked.
    pub panics: Counter,
    /// Accept pauses for want of connections or descriptors.
    pub accept_pauses: Counter,
    /// Idle clients closed to make room.
    pub idle_closed: Counter,
    /// Records that found the queue full.
    pub records_dropped: Counter,
    /// Buffers lent out, as of the last request that began or ended.
    pub buffers_used: Gauge,
    /// Requests that had to wait for buffers.
    pub buffer_waits: Counter,
}

impl Core {
    /// Counters for a core that knows `reasons` ways to end and `copies` reasons not to splice.
    pub fn new(reasons: usize, copies: usize) -> Self {
        let counters = |n| std::iter::repeat_with(Counter::default).take(n).collect();
        Core {
            accepted: Counter::default(),
            connections: Gauge::default(),
            requests: Counter::default(),
            active: Gauge::default(),
            responses: Default::default(),
            reasons: counters(reasons),
            client_bytes: Default::default(),
            upstream_bytes: Default::default(),
            duration: Histogram::default(),
            retries: Counter::default(),
            replays: Counter::default(),
            tunnels: Gauge::default(),
            tunnels_opened: Counter::default(),
            spliced: Counter::default(),
            spliced_bytes: Counter::default(),
            copied: counters(copies),
            panics: Counter::default(),
            accept_pauses: Counter::default(),
            idle_closed: Counter::default(),
            records_dropped: Counter::default(),
            buffers_used: Gauge::default(),
            buffer_waits: Counter::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_falls_in_the_first_bucket_that_holds_it() {
        let histogram = Histogram::default();
        for micros in [0, 500, 501, 10_000_000, 10_000_001] {
            histogram.observe(Duration::from_micros(micros));
        }
        let counts = histogram.counts();
        assert_eq!((counts[0], counts[1], counts[16], counts[17]), (2, 1, 1, 1));
        assert_eq!(counts.iter().sum::<u64>(), 5);
        assert!((histogram.sum_s() - 20.001_002).abs() < 1e-9);
    }
}
