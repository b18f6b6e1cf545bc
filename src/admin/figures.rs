//! What all cores counted, added up.

use std::sync::Arc;

use crate::stats::{BUCKETS_S, Core, Counter, Histogram, Upstream, UpstreamState};

/// Durations in the buckets of [`BUCKETS_S`], not cumulative, the last without a bound.
#[derive(Clone, Debug, Default)]
pub(super) struct Distribution {
    pub counts: [u64; BUCKETS_S.len() + 1],
    pub sum_s: f64,
}

impl Distribution {
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Each bucket with its upper bound.
    pub fn buckets(&self) -> impl Iterator<Item = (f64, u64)> {
        BUCKETS_S.into_iter().chain([f64::INFINITY]).zip(self.counts)
    }

    fn add(&mut self, histogram: &Histogram) {
        for (sum, count) in self.counts.iter_mut().zip(histogram.counts()) {
            *sum += count;
        }
        self.sum_s += histogram.sum_s();
    }
}

/// The figures of one upstream; see [`Upstream`] for what each means.
#[derive(Clone, Debug, Default)]
pub(super) struct UpstreamFigures {
    pub requests: u64,
    pub responses: [u64; 5],
    pub failures: u64,
    pub connect_failures: u64,
    pub connects: u64,
    pub reused: u64,
    pub active: u64,
    pub idle: u64,
    pub first_byte: Distribution,
}

/// The figures of some cores; see [`Core`] for what each means.
#[derive(Clone, Debug, Default)]
pub(super) struct Figures {
    pub accepted: u64,
    pub connections: u64,
    pub requests: u64,
    pub active: u64,
    pub responses: [u64; 5],
    pub reasons: Vec<u64>,
    pub client_bytes: [u64; 2],
    pub upstream_bytes: [u64; 2],
    pub duration: Distribution,
    pub retries: u64,
    pub replays: u64,
    pub tunnels: u64,
    pub tunnels_opened: u64,
    pub spliced: u64,
    pub spliced_bytes: u64,
    pub copied: Vec<u64>,
    pub panics: u64,
    pub accept_pauses: u64,
    pub idle_closed: u64,
    pub records_dropped: u64,
    pub buffers_used: u64,
    pub buffer_waits: u64,
    pub upstreams: Vec<UpstreamFigures>,
}

impl Figures {
    /// Adds up `cores`, and what they count about each of `upstreams`. They are read while they count, so sums may be
    /// a request apart from each other.
    pub fn of(cores: &[Arc<Core>], upstreams: &[Arc<UpstreamState>]) -> Figures {
        let mut figures = Figures::default();
        for core in cores {
            figures.add(core);
        }
        figures.upstreams = upstreams.iter().map(|entry| UpstreamFigures::of(entry)).collect();
        figures
    }

    fn add(&mut self, core: &Core) {
        self.accepted += core.accepted.get();
        self.connections += core.connections.get();
        self.requests += core.requests.get();
        self.active += core.active.get();
        self.retries += core.retries.get();
        self.replays += core.replays.get();
        self.tunnels += core.tunnels.get();
        self.tunnels_opened += core.tunnels_opened.get();
        self.spliced += core.spliced.get();
        self.spliced_bytes += core.spliced_bytes.get();
        self.panics += core.panics.get();
        self.accept_pauses += core.accept_pauses.get();
        self.idle_closed += core.idle_closed.get();
        self.records_dropped += core.records_dropped.get();
        self.buffers_used += core.buffers_used.get();
        self.buffer_waits += core.buffer_waits.get();
        self.duration.add(&core.duration);
        add_all(&mut self.responses, &core.responses);
        add_all(&mut self.client_bytes, &core.client_bytes);
        add_all(&mut self.upstream_bytes, &core.upstream_bytes);
        add_all(grown(&mut self.reasons, core.reasons.len()), &core.reasons);
        add_all(grown(&mut self.copied, core.copied.len()), &core.copied);
    }

    /// Requests that ended by somebody's fault.
    pub fn errors(&self, fault: fn(usize) -> Option<&'static str>) -> u64 {
        let faulty = self.reasons.iter().enumerate().filter(|(index, _)| fault(*index).is_some());
        faulty.map(|(_, count)| count).sum()
    }
}

impl UpstreamFigures {
    fn of(entry: &UpstreamState) -> UpstreamFigures {
        let mut figures = UpstreamFigures::default();
        entry.cores().iter().for_each(|core| figures.add(core));
        figures
    }

    fn add(&mut self, upstream: &Upstream) {
        self.requests += upstream.requests.get();
        self.failures += upstream.failures.get();
        self.connect_failures += upstream.connect_failures.get();
        self.connects += upstream.connects.get();
        self.reused += upstream.reused.get();
        self.active += upstream.active.get();
        self.idle += upstream.idle.get();
        self.first_byte.add(&upstream.first_byte);
        add_all(&mut self.responses, &upstream.responses);
    }
}

fn add_all(sums: &mut [u64], counters: &[Counter]) {
    for (sum, counter) in sums.iter_mut().zip(counters) {
        *sum += counter.get();
    }
}

/// `list`, at least `length` long.
fn grown<T: Clone + Default>(list: &mut Vec<T>, length: usize) -> &mut [T] {
    list.resize(length.max(list.len()), T::default());
    list
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::testing::busy;

    #[test]
    fn cores_are_added_up() {
        let view = busy();
        let figures = Figures::of(&view.cores, &view.upstreams);
        assert_eq!((figures.requests, figures.connections), (4, 3));
        assert_eq!(figures.responses, [0, 3, 0, 0, 1]);
        assert_eq!(figures.reasons, [3, 0, 1]);
        assert_eq!(figures.errors(view.fault), 1);
        assert_eq!(figures.client_bytes, [400, 4000]);
        assert_eq!((figures.tunnels, figures.tunnels_opened), (3, 7));
        assert_eq!(figures.duration.count(), 4);
        assert!((figures.duration.sum_s - 20.006).abs() < 1e-9);
        assert_eq!(figures.upstreams[1].requests, 4);
        assert_eq!(figures.upstreams[0].requests, 0);
    }
}
