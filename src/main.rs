//! `tidegate`: arguments -> plan -> control plane.

use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::thread;

use tidegate::config::{self, Asked, Plan, Surroundings, Told};
use tidegate::control::{self, demo};
use tidegate::process::{console, descriptors, inherited, own_log};

fn main() -> ExitCode {
    let cwd = std::env::current_dir().unwrap_or_default();
    let around = Surroundings {
        cwd: &cwd,
        descriptors: descriptors::most(),
        cores: thread::available_parallelism().map_or(1, usize::from),
        stdout_is_terminal: io::stdout().is_terminal(),
    };
    let environment = std::env::vars_os().filter(|(name, _)| name != inherited::INHERIT);
    match config::load(std::env::args_os().skip(1), environment, &around) {
        Ok(Asked::Show(text) | Asked::Check(text)) => {
            exit(console::print(&text), |error| console::complain(&format!("tidegate: {error}\n")))
        }
        Ok(Asked::Run(plan, told)) => run(*plan, &told, control::run),
        Ok(Asked::Demo(plan, told)) => run(*plan, &told, demo::run),
        Err(rejected) => {
            console::complain(&rejected.text);
            ExitCode::from(rejected.exit)
        }
    }
}

fn run(plan: Plan, told: &Told, serve: fn(Plan, &Told) -> Result<(), String>) -> ExitCode {
    own_log::open(plan.log, plan.log_format);
    told.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    exit(serve(plan, told), |error| tracing::error!("{error}"))
}

fn exit(result: Result<(), String>, tell: impl FnOnce(String)) -> ExitCode {
    result.map_err(tell).map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS)
}
