//! One worker of ours, and two.
//!
//! With four processors or more the workers have two, the load and the origin the others, and throughput itself is
//! compared. With fewer all share all of them, and throughput would only show who crowds out whom: then what is
//! compared is the processor time for each request. Where a second worker makes no request dearer, two do twice
//! the work of one as soon as the load comes from elsewhere.

use std::io;

use crate::load::{Load, What};
use crate::measure::{Plan, measure};
use crate::peers::OURS;
use crate::process::stay_on;
use crate::progress::Progress;
use crate::results::{Metric, Results, Sample};
use crate::stage::{Play, start_origin};
use crate::workloads::{Workload, named};

/// Processors with which throughput can be compared.
const ENOUGH: usize = 4;

/// Measures both in turns.
pub fn scaling(
    plan: &Plan,
    workload: &'static Workload,
    results: &mut Results,
    progress: &mut Progress,
) -> io::Result<()> {
    let all = &plan.places.all[..];
    let enough = all.len() >= ENOUGH;
    let (workers, rest) = if enough { all.split_at(2) } else { (all, all) };
    let Some(found) = plan.found.iter().find(|found| found.peer.name == OURS) else {
        return Ok(());
    };
    let mut origin = start_origin(Play::Http, &plan.home, rest)?;
    origin.wait_until_it_listens().map_err(io::Error::other)?;
    let mut pair = [
        found.start(Play::Http, &plan.home, origin.address.port(), 1, workers)?,
        found.start(Play::Http, &plan.home, origin.address.port(), 2, workers)?,
    ];
    for running in &mut pair {
        running.wait_until_it_listens().map_err(io::Error::other)?;
    }
    let requests = named("get-64").and_then(Workload::requests);
    let what = What::Requests(requests.expect("there is such a workload"));
    let load = Load { what, seconds: plan.seconds, rate: None };
    stay_on(rest)?;
    let mut rates = Vec::new();
    for round in 1..=plan.rounds {
        progress.step(workload, &format!("round {round} of {}", plan.rounds));
        let [one, two] = [&pair[0], &pair[1]].map(|one| measure(&load, one.address, Some(one)));
        match one.and_then(|one| Ok((one, two?))) {
            Ok((one, two)) => {
                rates.push([&one, &two].map(|sample| figure(sample, Metric::Throughput)));
                results.add(workload.name, OURS, compared(&one, two, enough));
            }
            Err(why) => drop(results.failed.insert((workload.name, OURS), why)),
        }
    }
    stay_on(&[plan.places.load])?;
    results.notes.insert(workload.name, note(enough, &rates));
    Ok(())
}

fn figure(sample: &Sample, metric: Metric) -> f64 {
    sample.figures.get(&metric).copied().unwrap_or(f64::NAN)
}

/// The sample of two workers, with what it is to that of one.
fn compared(one: &Sample, mut two: Sample, enough: bool) -> Sample {
    let ratio = |metric| figure(&two, metric) / figure(one, metric);
    let scaling = if enough { ratio(Metric::Throughput) } else { 2.0 / ratio(Metric::Cpu) };
    two.figures.insert(Metric::Scaling, scaling);
    two
}

fn note(enough: bool, rates: &[[f64; 2]]) -> String {
    let mean = |at: usize| rates.iter().map(|pair| pair[at]).sum::<f64>() / rates.len() as f64;
    let seen = format!("One worker reached {:.0} requests a second, two {:.0}", mean(0), mean(1));
    let how = match enough {
        true => "workers on two processors, load and origin on the others",
        false => {
            "but workers, load and origin quota the processors of this machine, so that is no measure; what is \
             given is twice the CPU for a request with one worker over that with two: what two workers reach \
             where the load comes from elsewhere, if nothing but the processors limits them"
        }
    };
    format!("{seen}: {how}.")
}
