//! The command line, word by word.
//!
//! argh takes the words apart; before that they are brought into the one shape it knows, because
//! users also write `--key=value`, `-h` and flags behind a subcommand, want suggestions, and want
//! to hear of all mistakes at once.

use std::ffi::OsString;

use argh::FromArgs;

use super::layers::{Given, Origin};
use super::mistake::{Report, Wrong, escape, nearest, wrong};
use super::table::{self, ACTIONS, COUSINS, Form, Setting};
use super::values;

/// What the words ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// No command: run.
    Run,
    /// `check`, `-t`, `--check`.
    Check,
    /// `config show`.
    Show {
        /// `--origin`: with where each value came from.
        origin: bool,
    },
    /// `help`, `-h`, `--help`.
    Help,
    /// `-V`, `--version`.
    Version,
}

/// The command line, taken apart.
#[derive(Debug)]
pub struct Words {
    /// What to do.
    pub command: Command,
    /// The settings that were given, in order for each spelling.
    pub given: Vec<(&'static Setting, Given)>,
}

/// Reads the words behind the program's name. Mistakes go to the report; the rest is used.
pub fn read(args: impl IntoIterator<Item = OsString>, report: &mut Report) -> Words {
    let plain = match normalise(args, report) {
        Ok(plain) => plain,
        Err(command) => return Words { command, given: Vec::new() },
    };
    let words: Vec<&str> = plain.options.iter().chain(&plain.words).map(String::as_str).collect();
    match Line::from_args(&["tidegate"], &words) {
        Ok(line) => Words { command: line.command(), given: line.given() },
        // Only the words behind the options can still be wrong.
        Err(exit) if exit.status.is_ok() => Words { command: Command::Help, given: Vec::new() },
        Err(_) => {
            report.mistake(Origin::Words, not_a_command(&plain.words));
            Words { command: Command::Run, given: Vec::new() }
        }
    }
}

/// Words in the shape argh knows: every option with its value, then the subcommand.
#[derive(Debug, Default, PartialEq, Eq)]
struct Plain {
    options: Vec<String>,
    words: Vec<String>,
}

/// Brings words into shape; `Err` if they ask for help or the version, whatever else they say.
fn normalise(
    args: impl IntoIterator<Item = OsString>,
    report: &mut Report,
) -> Result<Plain, Command> {
    let mut plain = Plain::default();
    let mut check = false;
    let mut args = args.into_iter().map(OsString::into_string).peekable();
    while let Some(arg) = args.next() {
        let arg = match arg {
            Ok(arg) => arg,
            Err(arg) => {
                let what = format!("{arg:?} is not UTF-8 text");
                report.mistake(Origin::Words, wrong(what, "write it in UTF-8"));
                continue;
            }
        };
        let (flag, inline) = match arg.split_once('=') {
            Some((flag, value)) if flag.starts_with('-') => (flag, Some(value.to_owned())),
            _ => (arg.as_str(), None),
        };
        match flag {
            "-h" | "--help" => return Err(Command::Help),
            "-V" | "--version" => return Err(Command::Version),
            "-t" | "--check" => check = true,
            "--" => plain.words.extend(args.by_ref().filter_map(Result::ok)),
            "--origin" => plain.words.push(arg),
            flag if !flag.starts_with('-') || flag == "-" => plain.words.push(arg),
            flag => match flag.strip_prefix("--").and_then(table::find) {
                None => report.mistake(Origin::Words, unknown(flag)),
                Some(setting) if setting.form == Form::Switch => {
                    let value = inline.unwrap_or_else(|| "on".to_owned());
                    plain.options.extend([flag.to_owned(), value]);
                    args.next_if(|next| stray_switch_value(flag, next, report));
                }
                Some(setting) => {
                    let next =
                        |next: &Result<String, OsString>| !matches!(next, Ok(n) if is_flag(n));
                    match inline.map(Ok).or_else(|| args.next_if(next)) {
                        Some(Ok(value)) => plain.options.extend([flag.to_owned(), value]),
                        Some(Err(value)) => {
                            let what = format!("{value:?} is not UTF-8 text");
                            let origin = Origin::Flag(flag.to_owned());
                            report.mistake(origin, wrong(what, "write it in UTF-8"));
                        }
                        None => report.mistake(Origin::Flag(flag.to_owned()), missing(setting)),
                    }
                }
            },
        }
    }
    if check && plain.words.first().is_none_or(|word| word != "check") {
        plain.words.insert(0, "check".to_owned());
    }
    Ok(plain)
}

/// The word is one of our flags, and so not the value of another one.
fn is_flag(word: &str) -> bool {
    let name = word.split_once('=').map_or(word, |(name, _)| name);
    name.strip_prefix("--").and_then(table::find).is_some()
        || ACTIONS.iter().any(|(short, long, _)| *short == name || *long == name)
}

/// `--half-close off`: the word belongs to the flag, but should be joined to it.
fn stray_switch_value(flag: &str, next: &Result<String, OsString>, report: &mut Report) -> bool {
    let Ok(next) = next else { return false };
    let is_value = values::switch(next).is_ok();
    if is_value {
        let right = format!("write {flag}={next}");
        report.mistake(Origin::Words, wrong(format!("{flag} takes no second word"), right));
    }
    is_value
}

fn missing(setting: &Setting) -> Wrong {
    let example = match setting.form {
        Form::Urls => "http://127.0.0.1:9001",
        Form::Networks => "10.0.0.0/8",
        Form::File => "PATH",
        Form::Count => "4",
        form => match setting.fallback {
            table::Fallback::Value(value) => value,
            _ => form.placeholder().split('|').next().unwrap_or_default(),
        },
    };
    wrong("the value is missing", format!("write --{} {example}", setting.name))
}

/// A flag that nobody knows, with what may have been meant.
fn unknown(flag: &str) -> Wrong {
    let what = format!("there is no flag {}", escape(&flag.chars().take(60).collect::<String>()));
    let name = flag.trim_start_matches('-').to_ascii_lowercase().replace('_', "-");
    let names = || table::settings().flat_map(Setting::names);
    let actions = ACTIONS.iter().map(|(_, long, _)| &long[2..]);
    let exact = names().find(|known| *known == name);
    let cousin = || {
        let knows = |(_, cousins): &&(&str, &str)| cousins.split(' ').any(|cousin| cousin == name);
        COUSINS.iter().find(knows).map(|(setting, _)| *setting)
    };
    let near = || nearest(&name, names().chain(actions));
    let begun = || names().find(|known| name.len() >= 3 && known.starts_with(&name));
    match exact.or_else(cousin).or_else(near).or_else(begun) {
        Some(meant) => wrong(what, format!("did you mean --{meant}?")),
        None => wrong(what, "tidegate --help lists all flags"),
    }
}

/// Words that are neither flags nor commands.
fn not_a_command(words: &[String]) -> Wrong {
    let shown = escape(&words.join(" ").chars().take(60).collect::<String>());
    let what = format!("\"{shown}\" is not a command");
    let first = words.first().map_or("", String::as_str);
    if first.contains(':') {
        return wrong(what, format!("did you mean --upstream {shown}?"));
    }
    match nearest(&shown, ["check", "config show", "config show --origin"]) {
        Some(near) => wrong(what, format!("did you mean {near}?")),
        None => wrong(what, "commands are: check, config show, config show --origin"),
    }
}

/// Declares the command line for argh, with a field for each spelling of each setting.
macro_rules! line {
    ($($field:ident)*) => {
        /// The command line as argh sees it; what each option means stands in `table`.
        #[derive(FromArgs)]
        struct Line {
            $(
                /// a setting
                #[argh(option)]
                $field: Vec<String>,
            )*
            #[argh(subcommand)]
            command: Option<Sub>,
        }

        impl Line {
            /// Every option with its values.
            fn options(self) -> Vec<(String, Vec<String>)> {
                vec![$((stringify!($field).replace('_', "-"), self.$field)),*]
            }
        }
    };
}

line! {
    listen upstream backends backend admin workers
    max_retries host_header backend_header trusted_proxy half_close
    read_timeout write_timeout connect_timeout response_timeout
    idle_timeout upstream_idle_timeout expect_timeout drain_timeout
    max_head max_body max_connections buffers max_upstream_idle
    access_log access_log_file log
    env_file strict demo
}

#[derive(FromArgs)]
#[argh(subcommand)]
enum Sub {
    Check(CheckWord),
    Config(ConfigWord),
}

/// say whether the settings are fine
#[derive(FromArgs)]
#[argh(subcommand, name = "check")]
struct CheckWord {}

/// look at the settings
#[derive(FromArgs)]
#[argh(subcommand, name = "config")]
struct ConfigWord {
    #[argh(subcommand)]
    then: ShowWord,
}

/// print every setting
#[derive(FromArgs)]
#[argh(subcommand, name = "show")]
struct ShowWord {
    /// also where each came from
    #[argh(switch)]
    origin: bool,
}

impl Line {
    fn command(&self) -> Command {
        match &self.command {
            None => Command::Run,
            Some(Sub::Check(_)) => Command::Check,
            Some(Sub::Config(config)) => Command::Show { origin: config.then.origin },
        }
    }

    fn given(self) -> Vec<(&'static Setting, Given)> {
        let mut given = Vec::new();
        for (name, values) in self.options() {
            let Some(setting) = table::find(&name) else { continue };
            let origin = Origin::Flag(format!("--{name}"));
            let value = |text| (setting, Given { text, origin: origin.clone() });
            given.extend(values.into_iter().map(value));
        }
        given
    }
}
