//! What was measured, and the small statistics over it.

use std::collections::{BTreeMap, BTreeSet};

use crate::peers::{DIRECT, FLOOR, OURS};
use crate::workloads::Workload;

/// A figure that is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Metric {
    /// Microseconds of processor time of the proxy for each request or message, user and system.
    Cpu,
    /// Those in its own code.
    User,
    /// Those in the kernel.
    System,
    /// Requests or messages a second.
    Throughput,
    /// Microseconds within which half of the requests were answered.
    P50,
    /// 99 of a hundred.
    P99,
    /// 999 of a thousand.
    P999,
    /// Octets of resident memory for each idle connection.
    IdleBytes,
    /// Octets of resident memory after the run.
    Resident,
    /// Milliseconds from start to first answer.
    StartUp,
    /// What two workers reach, as a multiple of one.
    Scaling,
}

impl Metric {
    /// All of them, in the order of the report, with the unit and how many digits a reader needs.
    pub const ALL: [(Metric, &str, &str); 11] = [
        (Metric::Cpu, "cpu", "µs of CPU for each request"),
        (Metric::User, "user", "µs in its own code for each request"),
        (Metric::System, "system", "µs in the kernel for each request"),
        (Metric::Throughput, "throughput", "requests a second"),
        (Metric::P50, "p50", "p50 in µs"),
        (Metric::P99, "p99", "p99 in µs"),
        (Metric::P999, "p99.9", "p99.9 in µs"),
        (Metric::IdleBytes, "idle", "octets for each idle connection"),
        (Metric::Resident, "resident", "resident memory in octets"),
        (Metric::StartUp, "start-up", "ms to the first answer"),
        (Metric::Scaling, "scaling", "two workers as a multiple of one"),
    ];

    /// More is better.
    pub fn is_gain(self) -> bool {
        matches!(self, Metric::Throughput | Metric::Scaling)
    }
}

/// One run of one workload through one proxy.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    /// What was measured.
    pub figures: BTreeMap<Metric, f64>,
    /// Right answers.
    pub answered: u64,
    /// What went wrong, by kind.
    pub errors: BTreeMap<String, u64>,
    /// Latency in microseconds, and how many had it.
    pub histogram: Vec<(f64, u64)>,
    /// The rate that was asked for.
    pub rate: Option<f64>,
}

/// Middle, least and most over the rounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// The median.
    pub median: f64,
    /// The least.
    pub min: f64,
    /// The most.
    pub max: f64,
}

impl Spread {
    /// Over `values`, if there are any that are numbers.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Spread> {
        let mut values: Vec<f64> = values.into_iter().filter(|value| value.is_finite()).collect();
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let half = values.len() / 2;
        let even = values.len().is_multiple_of(2);
        let median = if even { (values[half - 1] + values[half]) / 2.0 } else { values[half] };
        Some(Spread { median, min, max })
    }
}

/// Everything, by workload and proxy.
#[derive(Debug, Default)]
pub struct Results {
    samples: BTreeMap<(&'static str, &'static str), Vec<Sample>>,
    /// Who could not be measured at all, and why.
    pub missing: Vec<(&'static str, String)>,
    /// Which workload was not measured for whom, and why.
    pub failed: BTreeMap<(&'static str, &'static str), String>,
    /// Whose answers are not the origin's, and in which workload.
    pub differ: Vec<(&'static str, &'static str)>,
    /// What a reader must know about a workload.
    pub notes: BTreeMap<&'static str, String>,
}

impl Results {
    /// One more run.
    pub fn add(&mut self, workload: &'static str, proxy: &'static str, sample: Sample) {
        self.samples.entry((workload, proxy)).or_default().push(sample);
    }

    /// Who cannot be measured, and why; once is enough.
    pub fn cannot(&mut self, proxy: &'static str, why: String) {
        if !self.missing.iter().any(|(name, _)| *name == proxy) {
            self.missing.push((proxy, why));
        }
    }

    /// The runs of `proxy`.
    pub fn samples(&self, workload: &str, proxy: &str) -> &[Sample] {
        let found = self.samples.iter().find(|((w, p), _)| *w == workload && *p == proxy);
        found.map_or(&[], |(_, samples)| samples)
    }

    /// A figure over all rounds.
    pub fn spread(&self, workload: &str, proxy: &str, metric: Metric) -> Option<Spread> {
        let samples = self.samples(workload, proxy).iter();
        Spread::of(samples.filter_map(|sample| sample.figures.get(&metric).copied()))
    }

    /// Its median.
    pub fn median(&self, workload: &str, proxy: &str, metric: Metric) -> Option<f64> {
        self.spread(workload, proxy, metric).map(|spread| spread.median)
    }

    /// All errors of all rounds, by kind.
    pub fn errors(&self, workload: &str, proxy: &str) -> BTreeMap<String, u64> {
        let mut sum = BTreeMap::new();
        for sample in self.samples(workload, proxy) {
            for (kind, count) in &sample.errors {
                *sum.entry(kind.clone()).or_default() += count;
            }
        }
        sum
    }

    /// The rate that was asked for could not be held.
    pub fn fell_behind(&self, workload: &str, proxy: &str) -> bool {
        let asked = self.samples(workload, proxy).iter().find_map(|sample| sample.rate);
        let got = self.median(workload, proxy, Metric::Throughput);
        asked.zip(got).is_some_and(|(asked, got)| got < 0.98 * asked)
    }

    /// Whether what was measured may be compared: at most one error in a thousand, and in time. A single mishap must
    /// not take the best peer out of the comparison.
    pub fn is_sound(&self, workload: &str, proxy: &str) -> bool {
        let answered: u64 = self.samples(workload, proxy).iter().map(|one| one.answered).sum();
        let errors: u64 = self.errors(workload, proxy).values().sum();
        errors * 1000 <= answered && !self.fell_behind(workload, proxy)
    }

    /// The proxies that something was measured for, in the order of `order`.
    pub fn proxies(&self, order: &[&'static str]) -> Vec<&'static str> {
        let seen: BTreeSet<&str> = self.samples.keys().map(|(_, proxy)| *proxy).collect();
        order.iter().copied().filter(|name| seen.contains(name)).collect()
    }

    /// Was this workload measured at all?
    pub fn has(&self, workload: &Workload) -> bool {
        self.samples.keys().any(|(name, _)| *name == workload.name)
    }

    /// The best of all peers (not ourselves, not the reference points): who, and how good.
    pub fn best_peer(&self, workload: &'static str, metric: Metric) -> Option<(&'static str, f64)> {
        let peers = self.samples.keys().filter(|(name, proxy)| *name == workload && is_peer(proxy));
        let values =
            peers.filter(|(_, proxy)| self.is_sound(workload, proxy)).filter_map(|(_, proxy)| {
                self.median(workload, proxy, metric).map(|value| (*proxy, value))
            });
        values.min_by(
            |(_, a), (_, b)| {
                if metric.is_gain() { b.total_cmp(a) } else { a.total_cmp(b) }
            },
        )
    }

    /// All samples, for the raw file.
    pub fn all(&self) -> impl Iterator<Item = (&'static str, &'static str, &[Sample])> {
        self.samples.iter().map(|((workload, proxy), samples)| (*workload, *proxy, &samples[..]))
    }
}

/// A program of others.
pub fn is_peer(proxy: &str) -> bool {
    ![OURS, FLOOR, DIRECT].contains(&proxy)
}
