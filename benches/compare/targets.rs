//! What is to be reached, as data, and whether it was.

use crate::peers::{FLOOR, OURS};
use crate::results::{Metric, Results};

/// What a figure of ours is held against.
#[derive(Clone, Copy, Debug)]
pub enum Against {
    /// So many times the figure of the best of all peers.
    Best(f64),
    /// So many times that of the best whose name begins so.
    Peer(&'static str, f64),
    /// So many times that of the byte relay without HTTP.
    Floor(f64),
    /// A number.
    Number(f64),
}

/// One thing to reach.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Where.
    pub workload: &'static str,
    /// Which figure.
    pub metric: Metric,
    /// Compared with what.
    pub against: Against,
}

const fn target(workload: &'static str, metric: Metric, against: Against) -> Target {
    Target { workload, metric, against }
}

/// All of them.
pub const TARGETS: &[Target] = &[
    target("get-1", Metric::Cpu, Against::Best(0.90)),
    target("get-8", Metric::Cpu, Against::Best(0.90)),
    target("get-64", Metric::Cpu, Against::Best(0.80)),
    target("get-64", Metric::Cpu, Against::Floor(1.12)),
    target("get-256", Metric::Cpu, Against::Best(0.80)),
    target("get-256", Metric::Cpu, Against::Floor(1.12)),
    target("get-1000", Metric::Cpu, Against::Best(0.80)),
    target("get-1000", Metric::Cpu, Against::Floor(1.12)),
    target("connection-per-request", Metric::Cpu, Against::Best(0.90)),
    target("headers-30", Metric::Cpu, Against::Best(0.80)),
    target("64KiB", Metric::Cpu, Against::Best(0.85)),
    target("10MiB", Metric::Cpu, Against::Peer("haproxy", 1.00)),
    target("10MiB", Metric::Cpu, Against::Peer("nginx", 0.25)),
    target("upload-10MiB", Metric::Cpu, Against::Peer("haproxy", 1.00)),
    target("upload-10MiB", Metric::Cpu, Against::Peer("nginx", 0.25)),
    target("latency-1", Metric::P50, Against::Best(1.00)),
    target("latency-8", Metric::P50, Against::Best(1.00)),
    target("latency-64", Metric::P999, Against::Best(1.00)),
    target("idle-3500", Metric::IdleBytes, Against::Number(512.0)),
    target("idle-3500", Metric::IdleBytes, Against::Best(1.00)),
    target("tls-full-ecdsa", Metric::Cpu, Against::Best(0.70)),
    target("tls-full-rsa", Metric::Cpu, Against::Best(0.85)),
    target("tls-resumed", Metric::Cpu, Against::Best(0.70)),
    target("tls-get-64", Metric::Cpu, Against::Best(0.85)),
    target("tls-get-1000", Metric::Cpu, Against::Best(0.85)),
    target("tls-64KiB", Metric::Cpu, Against::Best(0.90)),
    target("tls-10MiB", Metric::Cpu, Against::Best(0.90)),
    target("tls-idle-2000", Metric::IdleBytes, Against::Best(0.60)),
    target("two-workers", Metric::Scaling, Against::Number(1.8)),
];

/// What became of a target.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// Reached.
    Reached,
    /// Not reached.
    Missed,
    /// Ours, or what it is held against, was not measured.
    Unknown,
}

/// A target with the figures of a run.
#[derive(Clone, Debug)]
pub struct Judged {
    /// What was to be reached.
    pub target: Target,
    /// Who it is held against, in words; empty for a number.
    pub whom: String,
    /// Our figure.
    pub ours: Option<f64>,
    /// Our figure as a multiple of theirs; for a number, our figure itself.
    pub reached: Option<f64>,
    /// At most that, or at least for a gain.
    pub bound: f64,
    /// Whether it is so.
    pub verdict: Verdict,
}

impl Target {
    /// Holds it against the figures.
    pub fn judge(self, results: &Results) -> Judged {
        let Target { workload, metric, against } = self;
        let sound = results.is_sound(workload, OURS);
        let ours = results.median(workload, OURS, metric);
        let median = |proxy| results.median(workload, proxy, metric);
        let (whom, theirs, bound) = match against {
            Against::Best(bound) => match results.best_peer(workload, metric) {
                Some((name, value)) => (format!("the best peer, {name}"), Some(value), bound),
                None => ("the best peer".to_owned(), None, bound),
            },
            Against::Peer(name, bound) => {
                let named = [name.to_owned(), format!("{name}-newest")];
                let values = named.iter().filter_map(|name| median(name));
                (name.to_owned(), values.min_by(f64::total_cmp), bound)
            }
            Against::Floor(bound) => ("the floor".to_owned(), median(FLOOR), bound),
            Against::Number(bound) => (String::new(), Some(1.0), bound),
        };
        let reached = ours.zip(theirs).map(|(ours, theirs)| ours / theirs);
        let verdict = match reached {
            None => Verdict::Unknown,
            // With errors, or too late, no figure is good enough.
            Some(_) if !sound => Verdict::Missed,
            Some(reached) if metric.is_gain() && reached >= bound => Verdict::Reached,
            Some(reached) if !metric.is_gain() && reached <= bound => Verdict::Reached,
            Some(_) => Verdict::Missed,
        };
        Judged { target: self, whom, ours, reached, bound, verdict }
    }
}
