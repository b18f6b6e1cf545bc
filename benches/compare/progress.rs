//! How far it is, on standard error.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use crate::results::{Metric, Results};
use crate::workloads::Workload;

/// Tells how far it is; on a terminal with a line that is written over and over.
#[derive(Debug)]
pub struct Progress {
    terminal: bool,
    begun: Instant,
    estimate: Duration,
    order: Vec<&'static str>,
}

impl Progress {
    /// Begins to count the time, of which about `estimate` will be needed. `order`: that of the proxies in a line.
    pub fn new(estimate: Duration, order: Vec<&'static str>) -> Progress {
        let terminal = io::stderr().is_terminal();
        Progress { terminal, begun: Instant::now(), estimate, order }
    }

    /// How long it has taken so far.
    pub fn took(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Something worth a line.
    pub fn say(&self, text: &str) {
        self.wipe();
        eprintln!("[{}] {text}", clock(self.took()));
    }

    /// What is being measured now.
    pub fn step(&mut self, workload: &Workload, text: &str) {
        if self.terminal {
            self.wipe();
            let (took, whole) = (clock(self.took()), clock(self.estimate));
            eprint!("[{took} of about {whole}] {}: {text}", workload.name);
            // A terminal that takes nothing is no reason to stop.
            let _ = io::stderr().flush();
        }
    }

    /// A workload is measured: its main figure for everybody.
    pub fn done(&self, workload: &Workload, results: &Results) {
        let metric = main_metric(workload);
        let mut line = format!("{:<22}", workload.name);
        for name in results.proxies(&self.order) {
            if let Some(value) = results.median(workload.name, name, metric) {
                line.push_str(&format!("  {name} {}", digits(value)));
            }
        }
        self.say(&line);
    }

    fn wipe(&self) {
        if self.terminal {
            eprint!("\r\x1b[2K");
        }
    }
}

/// The figure that a workload is about.
pub fn main_metric(workload: &Workload) -> Metric {
    use crate::workloads::Kind;
    match workload.kind {
        Kind::Requests(_) | Kind::Messages { .. } => Metric::Cpu,
        Kind::Latency { .. } if workload.name == "latency-64" => Metric::P999,
        Kind::Latency { .. } => Metric::P50,
        Kind::Idle { .. } => Metric::IdleBytes,
        Kind::StartUp => Metric::StartUp,
        Kind::Workers => Metric::Scaling,
    }
}

/// Three digits that matter, or all of a large number, by threes.
pub fn digits(value: f64) -> String {
    match value.abs() {
        size if size < 10.0 => format!("{value:.2}"),
        size if size < 100.0 => format!("{value:.1}"),
        _ => by_threes(value.round() as i64),
    }
}

fn by_threes(value: i64) -> String {
    let text = value.abs().to_string();
    let mut out = String::new();
    for (at, digit) in text.chars().enumerate() {
        if at > 0 && (text.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    if value < 0 { format!("-{out}") } else { out }
}

/// Minutes and seconds.
pub fn clock(time: Duration) -> String {
    format!("{}:{:02}", time.as_secs() / 60, time.as_secs() % 60)
}
