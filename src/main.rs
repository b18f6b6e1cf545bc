//! `tidegate`: arguments -> plan -> control plane.

use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::OnceLock;

use tidegate::config::{Action, Plan, Report, Sources, Surroundings};
use tidegate::control::{self, ask, demo};
use tidegate::policy::{self, Router};
use tidegate::process::{console, descriptors, inherited, own_log};

/// Where we were started: settings are read again from there.
static WORKING_DIRECTORY: OnceLock<PathBuf> = OnceLock::new();

fn main() -> ExitCode {
    let cwd = WORKING_DIRECTORY.get_or_init(|| std::env::current_dir().unwrap_or_default());
    let around = Surroundings {
        cwd,
        descriptors: descriptors::most(),
        cores: std::thread::available_parallelism().map_or(1, usize::from),
        stdout_is_terminal: io::stdout().is_terminal(),
    };
    let args = std::env::args_os().skip(1).collect();
    let env = std::env::vars_os().filter(|(name, _)| name != inherited::INHERIT).collect();
    let sources = Sources { args, env, around };
    match sources.load() {
        Ok(Action::Show(text)) => console::tell(Ok(text)),
        Ok(Action::Check(text, plan)) => match control::unusable(&plan) {
            None => console::tell(Ok(text)),
            Some(why) => console::tell(Err(format!("tidegate: {why}\n"))),
        },
        Ok(Action::Explain(plan, question)) => {
            let told = policy::explain(&plan, &Router::new(&plan, None), &question);
            console::tell(told.map_err(|why| format!("tidegate: {why}\n")))
        }
        Ok(Action::Look(admin, look)) => ask::look(&admin, look),
        Ok(Action::Refuse(text, exit)) => console::tell(Ok(text)).max(exit),
        Ok(Action::Ask(admin, order)) => console::tell(ask::ask(&admin, &order)),
        Ok(Action::Run(plan, report)) => run(control::run, *plan, report, sources),
        Ok(Action::Demo(plan, report)) => run(demo::run, *plan, report, sources),
        Err(rejected) => console::tell(Err(rejected.text())).max(rejected.exit),
    }
    .into()
}

type Serve = fn(Plan, &Report, Sources<'static>) -> Result<(), String>;

fn run(serve: Serve, plan: Plan, report: Report, sources: Sources<'static>) -> u8 {
    own_log::open(plan.process.log, plan.process.log_format);
    report.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    let served = serve(plan, &report, sources).inspect_err(|error| tracing::error!("{error}"));
    u8::from(served.is_err())
}
