//! `tidegate`: arguments -> plan -> cores -> admin. The only place that wires everything together.

mod control;
mod demo;
mod own_log;

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::thread;

use tidegate::config::{self, Asked, Surroundings, Told};

fn main() -> ExitCode {
    let cwd = std::env::current_dir().unwrap_or_default();
    let around = Surroundings {
        cwd: &cwd,
        descriptors: descriptors(),
        cores: thread::available_parallelism().map_or(1, usize::from),
        stdout_is_terminal: io::stdout().is_terminal(),
    };
    let environment = std::env::vars_os().filter(|(name, _)| name != control::INHERIT);
    match config::load(std::env::args_os().skip(1), environment, &around) {
        Ok(Asked::Show(text) | Asked::Check(text)) => match print(&text) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                complain(&format!("tidegate: {error}\n"));
                ExitCode::FAILURE
            }
        },
        Ok(Asked::Run(plan, told)) => {
            own_log::open(plan.log, plan.log_format);
            warn(&told);
            finish(control::run(*plan, &told, |_| Ok(())))
        }
        Ok(Asked::Demo(plan, told)) => {
            own_log::open(plan.log, plan.log_format);
            warn(&told);
            finish(demo::run(*plan, &told))
        }
        Err(rejected) => {
            complain(&rejected.text);
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

/// Writes what was asked for to standard output. The reader may have left, or the disk may be full: the macros of the
/// standard library would panic.
fn print(text: &str) -> Result<(), String> {
    let mut out = io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    written.map_err(|error| format!("cannot write to standard output: {error}"))
}

/// Says on standard error what is wrong; if that fails too, the exit code has to say it.
fn complain(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}

/// Tells what is odd about the settings.
fn warn(told: &Told) {
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
