//! WHAT WAS ASKED? Flags, environment, dotenv -> a [`Plan`] that is valid by construction.
//!
//! Laws: knows the settings and nothing of sockets or cores; may use `http` for grammar; never
//! binds, connects or resolves. The only thing it touches is the dotenv file; arguments,
//! environment and the facts of the machine come in as values. Whoever makes mistakes hears of
//! all of them at once: where each is, what is wrong, what would be right.
//!
//! The way of a setting, a file for each step:
//!
//! ```text
//! words      the command line, word by word (argh)          --read-timeout=5s
//! dotenv     KEY=VALUE lines of a file                      TIDEGATE_READ_TIMEOUT=5s
//! layers     flag over environment over dotenv over default
//! values     numbers, durations, sizes, switches            "5s" -> 5000 ms
//! places     addresses, upstream URLs, networks             ":8080" -> 0.0.0.0:8080
//! build      all of it -> a Plan
//! ```
//! `table` holds one row for each setting: parser, help, `config show` and README all read it.
//! `mistake` and `show` put results into words.

mod build;
mod dotenv;
mod layers;
mod mistake;
mod places;
mod plan;
mod show;
mod table;
mod values;
mod words;

use std::ffi::OsString;
use std::path::Path;

use layers::Layers;
use mistake::Report;
use words::Command;

pub use plan::*;
pub use show::markdown;

/// What the command line wants done.
#[derive(Debug)]
pub enum Asked {
    /// Run the proxy.
    Run(Box<Plan>, Told),
    /// Run the proxy in front of origins of its own; the plan has no upstreams yet.
    Demo(Box<Plan>, Told),
    /// The settings are fine: print this report on standard output and exit 0.
    Check(String),
    /// Print this (help, version, `config show`) on standard output and exit 0.
    Show(String),
}

/// What is to be told about a plan beside the plan itself.
#[derive(Debug, Default)]
pub struct Told {
    /// One line each, for the log.
    pub warnings: Vec<String>,
    origins: Vec<(&'static str, String)>,
}

impl Told {
    /// Where the value of a setting (`listen` or `--listen`) came from: `--listen`,
    /// `TIDEGATE_LISTEN`, `.env line 3` or `default`; several are separated by commas.
    pub fn origin(&self, setting: &str) -> String {
        let name = setting.trim_start_matches("--");
        let found = self.origins.iter().find(|(known, _)| *known == name);
        found.map_or_else(|| "default".to_owned(), |(_, origin)| origin.clone())
    }
}

/// The settings make no sense.
#[derive(Debug, PartialEq, Eq)]
pub struct Rejected {
    /// Exit code: 2 if the command line is at fault, 1 if only the environment or a file is.
    pub exit: u8,
    /// Every mistake, complete with a line feed at the end, for standard error.
    pub text: String,
}

/// The facts of the machine that defaults depend on.
#[derive(Clone, Copy, Debug)]
pub struct Surroundings<'a> {
    /// The working directory: `.env` and a relative `--env-file` are looked for here.
    pub cwd: &'a Path,
    /// How many cores there are; the default of `--workers`.
    pub cores: usize,
    /// Whether standard output is a terminal; decides the default of `--access-log`.
    pub stdout_is_terminal: bool,
}

/// Reads everything that was asked. `args` come without the program's name.
///
/// Reads the dotenv file, and nothing else of the process or the machine.
pub fn load(
    args: impl IntoIterator<Item = OsString>,
    env: impl IntoIterator<Item = (OsString, OsString)>,
    around: &Surroundings<'_>,
) -> Result<Asked, Rejected> {
    let mut report = Report::default();
    let words = words::read(args, &mut report);
    match words.command {
        Command::Help => return Ok(Asked::Show(show::help())),
        Command::Version => return Ok(Asked::Show(show::version())),
        Command::Run | Command::Check | Command::Show { .. } => {}
    }
    let layers = Layers::stack(words.given, env, around.cwd, &mut report);
    let built = build::build(&layers, around, words.command == Command::Run, &mut report);
    let told = Told { warnings: report.close(built.strict)?, origins: layers.origins() };
    Ok(match words.command {
        Command::Check => Asked::Check(show::check(&built.plan, &told)),
        Command::Show { origin } => Asked::Show(show::config(&built, &layers, &told, origin)),
        _ if built.demo => Asked::Demo(Box::new(built.plan), told),
        _ => Asked::Run(Box::new(built.plan), told),
    })
}
