//! What is measured in programs that are started for it: the memory of idle connections, and the start itself.

use std::io;
use std::time::Instant;

use crate::ask::{Question, open_websocket};
use crate::measure::Plan;
use crate::peers::Found;
use crate::process::{Running, wait_for};
use crate::progress::Progress;
use crate::results::{Metric, Results, Sample};
use crate::secure::Wire;
use crate::stage::{Play, start_origin};
use crate::workloads::Workload;

/// Connections made before memory is looked at: what the first ones need once and for all is not theirs.
const FIRST: usize = 50;
/// A fresh program each time, so few rounds suffice.
const ROUNDS_MAX: usize = 3;

/// How much memory an idle connection costs.
pub fn idle(
    plan: &Plan,
    workload: &'static Workload,
    connections: usize,
    results: &mut Results,
    progress: &mut Progress,
) -> io::Result<()> {
    let play = Play::of(workload);
    let mut origin = start_origin(play, &plan.home, &[plan.places.origin])?;
    origin.wait_until_it_listens().map_err(io::Error::other)?;
    let rounds = plan.rounds.min(ROUNDS_MAX);
    for round in 1..=rounds {
        for found in plan.found.iter().filter(|found| found.can(play)) {
            let name = found.peer.name;
            progress.step(workload, &format!("round {round} of {rounds}: {name}"));
            let figure = start(plan, found, play, &origin).map_err(|error| error.to_string());
            let figure = figure.and_then(|mut running| {
                running.wait_until_it_listens()?;
                wait_for(|| play.answers(running.address).then_some(())).ok_or("no answer")?;
                permit(&running, connections, play).map_err(|error| error.to_string())
            });
            let failed = match figure {
                Ok(octets) => {
                    let figures = [(Metric::IdleBytes, octets)].into();
                    results.add(workload.name, name, Sample { figures, ..Sample::default() });
                    continue;
                }
                Err(why) => why,
            };
            results.failed.insert((workload.name, name), failed);
        }
    }
    Ok(())
}

/// Octets for each of so many connections, all of them open and silent.
fn permit(running: &Running, connections: usize, play: Play) -> io::Result<f64> {
    let open = |count| -> io::Result<Vec<_>> {
        let question = Question { path: "/", tls: play.is_tls(), ..Question::default() };
        let one = |_| -> io::Result<Box<dyn Wire>> {
            match play {
                Play::WebSocket => Ok(Box::new(open_websocket(running.address)?)),
                _ => question.ask_and_stay(running.address),
            }
        };
        (0..count).map(one).collect()
    };
    let first = open(FIRST)?;
    let before = running.resident();
    let rest = open(connections)?;
    let after = running.resident();
    drop((first, rest));
    Ok(after.saturating_sub(before) as f64 / connections as f64)
}

/// How long it takes from the start of a program to its first answer.
pub fn start_up(
    plan: &Plan,
    workload: &'static Workload,
    rng: &mut fastrand::Rng,
    results: &mut Results,
    progress: &mut Progress,
) -> io::Result<()> {
    let mut origin = start_origin(Play::Http, &plan.home, &[plan.places.origin])?;
    origin.wait_until_it_listens().map_err(io::Error::other)?;
    let mut order: Vec<&Found> = plan.found.iter().collect();
    for round in 1..=plan.rounds {
        rng.shuffle(&mut order);
        for found in &order {
            let name = found.peer.name;
            progress.step(workload, &format!("round {round} of {}: {name}", plan.rounds));
            let begun = Instant::now();
            let running = start(plan, found, Play::Http, &origin);
            let answered = running.map_err(|error| error.to_string()).and_then(|running| {
                wait_for(|| Play::Http.answers(running.address).then(|| begun.elapsed()))
                    .ok_or_else(|| "no answer".to_owned())
            });
            match answered {
                Ok(took) => {
                    let figures = [(Metric::StartUp, took.as_secs_f64() * 1e3)].into();
                    results.add(workload.name, name, Sample { figures, ..Sample::default() });
                }
                Err(why) => drop(results.failed.insert((workload.name, name), why)),
            }
        }
    }
    Ok(())
}

/// A fresh program, alone on the processor of the proxies.
fn start(plan: &Plan, found: &Found, play: Play, origin: &Running) -> io::Result<Running> {
    found.start(play, &plan.home, origin.address.port(), 1, &[plan.places.proxy])
}
