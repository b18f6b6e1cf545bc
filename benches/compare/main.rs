//! tidegate beside every proxy that is on the machine, in one command:
//!
//! ```text
//! benches/install-peers                     once: what can be had
//! cargo bench --bench compare               everything: about 20 minutes
//! cargo bench --bench compare -- --workloads get-64,10MiB --peers nginx,haproxy --rounds 3
//! cargo bench --bench compare -- --smoke    seconds: does it all work?
//! cargo bench --bench compare --features full      TLS as well: about 10 minutes more
//! ```
//! A whole run writes `benches/RESULTS.md` and `benches/results`; any other writes to `target/compare`, or where
//! `--output` says.
//!
//! Read it in this order: [`workloads`] and [`targets`] are tables; [`peers`] says who there is; [`stage`] starts them
//! and compares their answers; [`measure`] makes the rounds, with [`load`], [`probe`] and [`workers`]; [`report`],
//! [`plot`] and [`raw`] tell what came of it.
#![expect(clippy::disallowed_methods, reason = "a tool of its own, with its own clock and sockets")]

mod ask;
#[path = "../floor.rs"]
mod floor;
mod load;
mod machine;
mod measure;
#[path = "../mirror.rs"]
mod mirror;
mod peers;
mod plot;
mod probe;
mod process;
mod progress;
mod raw;
mod report;
mod results;
mod secure;
mod stage;
mod targets;
#[path = "../thirty.rs"]
mod thirty;
mod workers;
mod workloads;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use argh::FromArgs;

use machine::Machine;
use measure::Plan;
use peers::{DIRECT, FLOOR, OURS, PEERS};
use process::Places;
use progress::{Progress, clock};
use report::Report;
use results::{Metric, Results};
use workloads::{Kind, WORKLOADS, Workload};

/// tidegate beside every proxy that is on the machine: CPU, throughput, latency, memory
#[derive(FromArgs)]
struct Options {
    /// only these peers, with commas; tidegate, floor and direct are always there
    #[argh(option)]
    peers: Option<String>,

    /// only these workloads, with commas
    #[argh(option)]
    workloads: Option<String>,

    /// times that each proxy is measured in each workload (default 5)
    #[argh(option, default = "5")]
    rounds: usize,

    /// seconds of each run (default 1)
    #[argh(option, default = "1.0")]
    seconds: f64,

    /// where RESULTS.md and results/ go
    #[argh(option)]
    output: Option<PathBuf>,

    /// of the order of each round (default: from the clock; it is told)
    #[argh(option)]
    seed: Option<u64>,

    /// every workload once, for an instant: does it all work?
    #[argh(switch)]
    smoke: bool,

    /// given by cargo
    #[argh(switch)]
    #[expect(dead_code, reason = "cargo says it to every benchmark")]
    bench: bool,
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let port = |text: &str| process::number(text).ok_or(io::ErrorKind::InvalidInput.into());
    let done = match words[..] {
        // The other ends, which this program starts itself.
        [FLOOR, own, origin] => port(own).and_then(|own| floor::run(own, port(origin)?)),
        ["mirror", own] => port(own).and_then(mirror::run),
        _ => match Options::from_args(&["compare"], &words) {
            Ok(options) => compare(&options),
            Err(early) => {
                eprintln!("{}", early.output);
                return if early.status.is_ok() { ExitCode::SUCCESS } else { ExitCode::from(2) };
            }
        },
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("compare: {error}");
            ExitCode::FAILURE
        }
    }
}

fn compare(options: &Options) -> io::Result<()> {
    let files = process::allow_many_files();
    let places = Places::find()?;
    process::stay_on(&[places.load])?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let seed = options.seed.unwrap_or(now.as_micros() as u64);
    let machine = Machine::look(places.all.len());
    let home = std::env::temp_dir().join(format!("tidegate-compare-{}", std::process::id()));
    let (plan, absent) = plan(options, places, &home)?;

    let mut order = vec![OURS];
    order.extend(plan.found.iter().map(|found| found.peer.name).filter(|name| *name != OURS));
    order.extend([FLOOR, DIRECT]);
    let estimate = plan.estimate();
    let mut progress = Progress::new(estimate, order.clone());
    progress.say(&format!(
        "{} workloads, {} of each for {}; about {} minutes; seed {seed}; {files} files may be open",
        plan.workloads.len(),
        plan.rounds,
        order.join(", "),
        clock(estimate)
    ));
    for (name, why) in &absent {
        progress.say(&format!("{name}: {why}"));
    }

    // nginx' workers, of another user, have their temporary files in it: it must be open to all.
    fs::create_dir_all(&home)?;
    let outcome = plan.run(&mut fastrand::Rng::with_seed(seed), &mut progress);
    // What is left behind is only litter.
    let _ = fs::remove_dir_all(&home);
    let mut results = outcome?;
    results.missing.splice(0..0, absent);

    let how = format!(
        "`cargo bench --bench compare -- --rounds {} --seconds {} --seed {seed}`, which took {} minutes.",
        plan.rounds,
        plan.seconds,
        clock(progress.took())
    );
    let folder = output(options);
    let report = Report {
        results: &results,
        workloads: &plan.workloads,
        order: &order,
        found: &plan.found,
        machine: &machine,
        how: &how,
        pictures: Vec::new(),
    };
    write(report, &folder)?;
    print!("{}", report::summary(&results, &plan.workloads, &order));
    progress.say(&format!("written to {}", folder.join("RESULTS.md").display()));
    judge_run(&results, options.smoke)
}

/// What was asked for, and who is absent.
fn plan(
    options: &Options,
    places: Places,
    home: &Path,
) -> io::Result<(Plan, Vec<(&'static str, String)>)> {
    let (mut found, mut absent) = (Vec::new(), Vec::new());
    let asked = chosen(options.peers.as_deref(), PEERS.iter().map(|peer| peer.name))?;
    for peer in PEERS.iter().filter(|peer| peer.name == OURS || asked.contains(&peer.name)) {
        match peer.find() {
            Some(peer) => found.push(peer),
            None => absent.push((peer.name, "not installed (benches/install-peers)".to_owned())),
        }
    }
    let asked = chosen(options.workloads.as_deref(), WORKLOADS.iter().map(|one| one.name))?;
    let workloads: Vec<&'static Workload> = WORKLOADS
        .iter()
        .filter(|workload| asked.contains(&workload.name))
        .filter(is_built)
        .collect();
    if workloads.is_empty() {
        return Err(io::Error::other("this build has no TLS: cargo bench --features full"));
    }
    let (rounds, seconds, thrift) = match options.smoke {
        true => (1, 0.2, 10),
        false => (options.rounds.max(1), options.seconds.max(0.1), 1),
    };
    let home = home.to_owned();
    Ok((Plan { rounds, seconds, workloads, found, thrift, places, home }, absent))
}

/// TLS takes a build that has it.
fn is_built(workload: &&'static Workload) -> bool {
    cfg!(feature = "tls") || workload.tls().is_none()
}

/// The names in a list with commas; all of them without one.
fn chosen(
    list: Option<&str>,
    known: impl Iterator<Item = &'static str>,
) -> io::Result<Vec<&'static str>> {
    let known: Vec<&'static str> = known.collect();
    let Some(list) = list else { return Ok(known) };
    let find = |name: &str| {
        known.iter().copied().find(|one| *one == name).ok_or_else(|| {
            io::Error::other(format!("there is no `{name}`; there are {}", known.join(", ")))
        })
    };
    list.split(',').filter(|name| !name.is_empty()).map(find).collect()
}

impl Plan {
    /// About how long it takes.
    fn estimate(&self) -> Duration {
        // What a run takes beside its seconds, measured on an idle machine.
        const AROUND_S: f64 = 0.05;
        let proxies = self.found.len() as f64 + 2.0;
        let rounds = self.rounds as f64;
        let each = |workload: &&Workload| match workload.kind {
            Kind::Idle { .. } => proxies * rounds.min(3.0) * 0.8,
            Kind::StartUp => proxies * rounds * 0.3,
            Kind::Workers => 2.0 * rounds * (self.seconds + AROUND_S),
            _ => proxies * (rounds * (self.seconds + AROUND_S) + 0.3),
        };
        Duration::from_secs_f64(self.workloads.iter().copied().map(|one| each(&one)).sum())
    }
}

/// A whole run is the newest one of the repository; others are nobody's business.
fn output(options: &Options) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let whole = options.peers.is_none() && options.workloads.is_none() && !options.smoke;
    options.output.clone().unwrap_or_else(|| match whole {
        true => root.join("benches"),
        false => root.join("target/compare"),
    })
}

/// The page, the pictures and the raw figures.
fn write(mut report: Report<'_>, folder: &Path) -> io::Result<()> {
    let files = folder.join("results");
    fs::create_dir_all(&files)?;
    let mut pictures = Vec::new();
    let mut picture = |name: &str, title: &str, svg: String| -> io::Result<()> {
        fs::write(files.join(name), svg)?;
        pictures.push((name.to_owned(), title.to_owned()));
        Ok(())
    };
    let (results, order) = (report.results, report.order);
    for (metric, name, title) in Metric::ALL {
        let plotted = [Metric::Cpu, Metric::Throughput, Metric::IdleBytes, Metric::StartUp];
        let has = |one: &&&Workload| {
            order.iter().any(|proxy| results.median(one.name, proxy, metric).is_some())
                && (one.has_cpu() || !matches!(metric, Metric::Cpu | Metric::Throughput))
        };
        let shown: Vec<&Workload> = report.workloads.iter().filter(has).copied().collect();
        if plotted.contains(&metric) && !shown.is_empty() {
            let svg = plot::bars(results, order, &shown, metric);
            picture(&format!("{name}.svg"), title, svg)?;
        }
    }
    for workload in report.workloads {
        if matches!(workload.kind, Kind::Latency { .. }) && results.has(workload) {
            let svg = plot::curves(results, order, workload);
            picture(&format!("{}.svg", workload.name), workload.what, svg)?;
        }
    }
    report.pictures = pictures;
    fs::write(folder.join("RESULTS.md"), report.markdown())?;
    fs::write(files.join("raw.json"), raw::text(&report))
}

/// A run without our own figures is a failure; so is a quick look in which anybody's answers differ.
fn judge_run(results: &Results, smoke: bool) -> io::Result<()> {
    let own = |name: &str| [OURS, FLOOR].contains(&name);
    if let Some((name, why)) = results.missing.iter().find(|(name, _)| own(name)) {
        return Err(io::Error::other(format!("{name}: {why}")));
    }
    let fatal =
        |workload, proxy| own(proxy) || smoke && results.differ.contains(&(workload, proxy));
    match results.failed.iter().find(|((workload, proxy), _)| fatal(*workload, *proxy)) {
        Some(((workload, proxy), why)) => {
            Err(io::Error::other(format!("{proxy} failed in {workload}: {why}")))
        }
        None => Ok(()),
    }
}
