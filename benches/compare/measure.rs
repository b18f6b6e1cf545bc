//! The rounds: every proxy once in each, in an order that is shuffled anew.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::load::{Load, Told, What};
use crate::peers::{Found, OURS};
use crate::process::{Places, Running};
use crate::progress::Progress;
use crate::results::{Metric, Results, Sample, is_peer};
use crate::stage::{Play, Stage};
use crate::workloads::{Kind, Rate, Requests, Workload, named};
use crate::{probe, workers};

/// Seconds that nobody counts, so that connections to the origin stand and caches are warm.
const WARM_S: f64 = 0.2;

/// Seconds of the second try when nothing was answered in the first, for the machine may have been busy.
const PATIENT_S: f64 = 3.0;

/// What is to be done, and what is needed for it.
#[derive(Debug)]
pub struct Plan {
    /// Times that each proxy is measured in each workload.
    pub rounds: usize,
    /// Seconds of each run.
    pub seconds: f64,
    /// What is measured.
    pub workloads: Vec<&'static Workload>,
    /// Who is measured, ourselves included.
    pub found: Vec<Found>,
    /// Divides the numbers of idle connections, for a quick look.
    pub thrift: usize,
    /// Who runs where.
    pub places: Places,
    /// Where programs have their configurations and their sockets.
    pub home: PathBuf,
}

impl Plan {
    /// Everything, in the order of the tables.
    pub fn run(&self, rng: &mut fastrand::Rng, progress: &mut Progress) -> io::Result<Results> {
        let mut results = Results::default();
        for play in Play::ALL {
            let ours = |workload: &&&Workload| match workload.kind {
                Kind::Requests(_) | Kind::Latency { .. } | Kind::Messages { .. } => {
                    Play::of(workload) == play
                }
                _ => false,
            };
            let workloads: Vec<&Workload> = self.workloads.iter().filter(ours).copied().collect();
            if workloads.is_empty() {
                continue;
            }
            progress.say("starting origin and proxies");
            let stage = Stage::open(play, &self.found, &self.home, &self.places, &mut results)?;
            for workload in workloads {
                self.rounds(workload, &stage, rng, &mut results, progress)?;
                progress.done(workload, &results);
            }
        }
        for workload in self.workloads.iter().copied() {
            match workload.kind {
                Kind::Idle { connections, .. } => {
                    let connections = connections / self.thrift;
                    probe::idle(self, workload, connections, &mut results, progress)?;
                }
                Kind::StartUp => probe::start_up(self, workload, rng, &mut results, progress)?,
                Kind::Workers => workers::scaling(self, workload, &mut results, progress)?,
                _ => continue,
            }
            progress.done(workload, &results);
        }
        Ok(results)
    }

    fn rounds(
        &self,
        workload: &'static Workload,
        stage: &Stage,
        rng: &mut fastrand::Rng,
        results: &mut Results,
        progress: &mut Progress,
    ) -> io::Result<()> {
        let mut equal = stage.equal(workload, results)?;
        let rate = match workload.kind {
            Kind::Latency { of, rate } => Some(self.rate(of, rate, &equal, stage, results)),
            _ => None,
        };
        let what = match workload.kind {
            Kind::Messages { connections, octets } => What::Messages(connections, octets),
            _ => What::Requests(workload.requests().expect("it is a workload of requests")),
        };
        let rate = match rate {
            // Nobody to take the rate from: nothing to be measured.
            Some(None) => return Ok(()),
            Some(rate) => rate,
            None => None,
        };
        let seconds = self.seconds * weight(&what);
        let warm = Load { what, seconds: WARM_S.min(self.seconds), rate };
        // What goes wrong now goes wrong again when it is counted.
        equal.iter().for_each(|(_, address)| drop(warm.run(*address)));
        for round in 1..=self.rounds {
            rng.shuffle(&mut equal);
            for (name, address) in &equal {
                progress.step(workload, &format!("round {round} of {}: {name}", self.rounds));
                let load = Load { what, seconds, rate };
                let patient = Load { seconds: seconds.max(PATIENT_S), ..load };
                let running = stage.running(name);
                let sample = measure(&load, *address, running)
                    .or_else(|_| measure(&patient, *address, running));
                match sample {
                    Ok(sample) => results.add(workload.name, name, sample),
                    Err(why) => drop(results.failed.insert((workload.name, *name), why)),
                }
            }
        }
        Ok(())
    }

    /// The fixed rate, from the peaks of another workload; they are measured now if that was left out.
    fn rate(
        &self,
        of: &'static str,
        rate: Rate,
        equal: &[(&'static str, SocketAddr)],
        stage: &Stage,
        results: &Results,
    ) -> Option<f64> {
        let what = What::Requests(named(of)?.requests()?);
        let peaks = equal.iter().filter_map(|(name, address)| {
            let known = results.median(of, name, Metric::Throughput);
            let load = Load { what, seconds: self.seconds, rate: None };
            let peak = known.or_else(|| {
                let sample = measure(&load, *address, stage.running(name)).ok()?;
                sample.figures.get(&Metric::Throughput).copied()
            })?;
            Some((*name, peak))
        });
        let peaks: Vec<(&str, f64)> = peaks.collect();
        let half = match rate {
            Rate::HalfOfSlowest => peaks.iter().map(|(_, peak)| *peak).min_by(f64::total_cmp),
            Rate::HalfOfBestPeer => {
                // Without any peer it is our own.
                let any = peaks.iter().any(|(name, _)| is_peer(name));
                let of = peaks.iter().filter(
                    |(name, _)| {
                        if any { is_peer(name) } else { *name == OURS }
                    },
                );
                of.map(|(_, peak)| *peak).max_by(f64::total_cmp)
            }
        };
        half.map(|peak| (peak / 2.0).round())
    }
}

/// So many times the seconds of others: what making the connections costs is to be lost among the requests.
fn weight(what: &What) -> f64 {
    match what {
        What::Requests(Requests { kept: false, .. }) | What::Messages(..) => 1.0,
        // A handshake costs as much as ten requests and more.
        What::Requests(requests) => match (requests.connections >= 1000, requests.tls) {
            (true, Some(_)) => 6.0,
            (true, None) => 2.0,
            (false, Some(_)) => 2.0,
            (false, None) => 1.0,
        },
    }
}

/// One run, with the processor time that the proxy spends meanwhile.
pub fn measure(
    load: &Load,
    address: SocketAddr,
    proxy: Option<&Running>,
) -> Result<Sample, String> {
    let before = proxy.map(Running::cpu);
    let told = load.run(address)?;
    let spent = proxy.zip(before).map(|(proxy, before)| proxy.cpu() - before);
    if told.answered == 0 {
        return Err(format!("nothing was answered: {:?}", told.errors));
    }
    if let (What::Requests(Requests { tls: Some(tls), kept, .. }), Some(met)) =
        (load.what, &told.tls)
    {
        met.judge(tls, kept)?;
    }
    let mut sample = sample(load, told.clone());
    if let Some(spent) = spent {
        let each_us = 1e6 / told.answered as f64;
        let (user_s, system_s) = spent.parts_s();
        let (user, system) = (user_s * each_us, system_s * each_us);
        sample.figures.insert(Metric::User, user);
        sample.figures.insert(Metric::System, system);
        sample.figures.insert(Metric::Cpu, user + system);
    }
    if let Some(proxy) = proxy {
        sample.figures.insert(Metric::Resident, proxy.resident() as f64);
    }
    Ok(sample)
}

fn sample(load: &Load, told: Told) -> Sample {
    let [p50, p99, p999] = told.percentiles_us;
    let figures = [
        (Metric::Throughput, told.rate),
        (Metric::P50, p50),
        (Metric::P99, p99),
        (Metric::P999, p999),
    ];
    Sample {
        figures: figures.into_iter().filter(|(_, value)| value.is_finite()).collect(),
        answered: told.answered,
        errors: told.errors,
        histogram: told.histogram,
        rate: load.rate,
    }
}
