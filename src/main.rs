//! `tidegate`: arguments -> plan -> control plane.

use std::io::{self, IsTerminal};
use std::process::ExitCode;

use tidegate::config::{self, Action, Plan, Report, Surroundings};
use tidegate::control::{self, demo};
use tidegate::process::{console, descriptors, inherited, own_log};

fn main() -> ExitCode {
    let cwd = std::env::current_dir().unwrap_or_default();
    let around = Surroundings {
        cwd: &cwd,
        descriptors: descriptors::most(),
        cores: std::thread::available_parallelism().map_or(1, usize::from),
        stdout_is_terminal: io::stdout().is_terminal(),
    };
    let environment = std::env::vars_os().filter(|(name, _)| name != inherited::INHERIT);
    match config::load(std::env::args_os().skip(1), environment, &around) {
        Ok(Action::Show(text) | Action::Check(text)) => {
            exit(console::print(&text), |error| console::complain(&format!("tidegate: {error}\n")))
        }
        Ok(Action::Run(plan, report)) => run(*plan, &report, control::run),
        Ok(Action::Demo(plan, report)) => run(*plan, &report, demo::run),
        Err(rejected) => {
            console::complain(&rejected.text);
            ExitCode::from(rejected.exit)
        }
    }
}

fn run(plan: Plan, report: &Report, serve: fn(Plan, &Report) -> Result<(), String>) -> ExitCode {
    own_log::open(plan.process.log, plan.process.log_format);
    report.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    exit(serve(plan, report), |error| tracing::error!("{error}"))
}

fn exit(result: Result<(), String>, tell: impl FnOnce(String)) -> ExitCode {
    result.map_err(tell).map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS)
}
