//! `tidegate`: arguments -> plan -> cores -> admin. The only place that wires everything together.

mod control;
mod demo;
mod own_log;

use std::io::IsTerminal;
use std::process::ExitCode;
use std::thread;

use tidegate::config::{self, Asked, LogLevel, Plan, Surroundings, Told};
use tracing_subscriber::filter::LevelFilter;

fn main() -> ExitCode {
    let cwd = std::env::current_dir().unwrap_or_default();
    let around = Surroundings {
        cwd: &cwd,
        descriptors: descriptors(),
        cores: thread::available_parallelism().map_or(1, usize::from),
        stdout_is_terminal: std::io::stdout().is_terminal(),
    };
    let environment = std::env::vars_os().filter(|(name, _)| name != control::INHERIT);
    match config::load(std::env::args_os().skip(1), environment, &around) {
        Ok(Asked::Show(text) | Asked::Check(text)) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Ok(Asked::Run(plan, told)) => {
            tell(&plan, &told);
            finish(control::run(*plan, &told, |_| {}))
        }
        Ok(Asked::Demo(plan, told)) => {
            tell(&plan, &told);
            finish(demo::run(*plan, &told))
        }
        Err(rejected) => {
            eprint!("{}", rejected.text);
            ExitCode::from(rejected.exit)
        }
    }
}

/// Asks for as many descriptors as may be had, and says how many those are (getrlimit(2)).
fn descriptors() -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let maximum = getrlimit(Resource::Nofile).maximum;
    // Where this fails the limit stays as it is.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    let current = getrlimit(Resource::Nofile).current;
    current.and_then(|current| usize::try_from(current).ok()).unwrap_or(usize::MAX)
}

/// Opens tidegate's own log, and begins it with what is odd about the settings.
fn tell(plan: &Plan, told: &Told) {
    let level = match plan.log {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(|| own_log::Stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .init();
    told.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
}

fn finish(result: Result<(), String>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}
