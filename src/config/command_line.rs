//! The command line, word by word.
//!
//! argh takes the words apart; before that they are brought into the one shape it knows, because
//! users also write `--key=value`, `-h` and flags behind a subcommand, want suggestions, and want
//! to hear of all mistakes at once.

use std::ffi::OsString;
use std::iter::Peekable;
use std::vec::IntoIter;

use argh::FromArgs;

use super::diagnostics::{Diagnostics, wrong};
use super::given::{Given, Origin};
use super::order::{Look, Order, Question};
use super::shell::Shell;
use super::table::{self, ACTIONS, Form, Setting};
use super::unknown::{missing, not_a_command, unknown};
use super::values;
use super::words::{COMMANDS, CommandOption, ParsedLine, SWITCHES};

/// The action that the words ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subcommand {
    /// No command: run.
    Run,
    /// `check`, `-t`, `--check`.
    Check {
        /// `--json`: for programs.
        json: bool,
    },
    /// `config show`.
    Show {
        /// `--origin`: with where each value came from.
        origin: bool,
        /// `--format`.
        form: ShowForm,
    },
    /// `config schema`.
    Schema,
    /// `explain REQUEST`.
    Explain(Question),
    /// `reload`, `add URL` and so on: for a tidegate that runs.
    Ask(Order),
    /// `status` and so on.
    Look(Look),
    /// `completions SHELL`.
    Completions(Shell),
    /// `man`.
    Man,
    /// `help`, `-h`, `--help`.
    Help,
    /// `-V`, `--version`.
    Version,
    /// None that we know, which is a mistake.
    Unknown,
}

/// How the settings are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShowForm {
    /// As a dotenv file.
    Env,
    /// As a configuration file.
    Toml,
    /// The same, in JSON.
    Json,
}

/// The command line, taken apart.
#[derive(Debug)]
pub struct CommandLine {
    /// What to do.
    pub command: Subcommand,
    /// The settings that were given, in order for each spelling.
    pub given: Vec<(&'static Setting, Given)>,
}

/// Reads the words behind the program's name. Mistakes go to the report; the rest is used.
pub fn read(
    args: impl IntoIterator<Item = OsString>,
    diagnostics: &mut Diagnostics,
) -> CommandLine {
    let mut shape = Shape { options: Vec::new(), words: Vec::new(), check: false, diagnostics };
    if let Err(command) = shape.take(args) {
        return CommandLine { command, given: Vec::new() };
    }
    let Shape { options, words, diagnostics, .. } = shape;
    let line = |words: &[String]| {
        let words: Vec<&str> = options.iter().chain(words).map(String::as_str).collect();
        ParsedLine::from_args(&["tidegate"], &words)
    };
    let (command, line) = match line(&words) {
        Ok(line) => (line.command(), Ok(line)),
        Err(exit) if exit.status.is_ok() => (Subcommand::Help, line(&[])),
        Err(_) => {
            // The options have the shape argh knows, so it is what stands behind them.
            diagnostics.mistake(Origin::CommandLine, not_a_command(&words));
            (Subcommand::Unknown, line(&[]))
        }
    };
    CommandLine { command, given: line.map(ParsedLine::given).unwrap_or_default() }
}

/// Words on their way to the shape argh knows: every option with its value, then the subcommand.
struct Shape<'a> {
    options: Vec<String>,
    words: Vec<String>,
    check: bool,
    diagnostics: &'a mut Diagnostics,
}

impl Shape<'_> {
    /// Takes all words; `Err` if they ask for help or the version, whatever else they say.
    fn take(&mut self, args: impl IntoIterator<Item = OsString>) -> Result<(), Subcommand> {
        let args: Vec<String> = args.into_iter().filter_map(|arg| self.text(arg)).collect();
        let mut args = args.into_iter().peekable();
        while let Some(arg) = args.next() {
            let (flag, value) = match arg.split_once('=') {
                Some((flag, value)) if flag.starts_with('-') => (flag, Some(value.to_owned())),
                _ => (arg.as_str(), None),
            };
            match flag {
                "-h" | "--help" => return Err(Subcommand::Help),
                "-V" | "--version" => return Err(Subcommand::Version),
                "-t" | "--check" | "--origin" | "--json" if value.is_some() => {
                    let what = format!("{flag} takes no value");
                    self.diagnostics
                        .mistake(Origin::CommandLine, wrong(what, format!("write {flag}")));
                }
                "-t" | "--check" => self.check = true,
                _ if let Some(option) = CommandOption::find(flag) => {
                    let value = value.or_else(|| args.next_if(|next| !is_flag(next)));
                    self.of_command(flag, option, value);
                }
                "--" => self.words.extend(args.by_ref()),
                flag if flag.starts_with('-') && flag.len() > 1 && !is_switch(flag) => {
                    self.option(flag, value, &mut args);
                }
                _ => self.words.push(arg),
            }
        }
        if self.check && self.words.first().is_none_or(|word| word != "check") {
            self.words.insert(0, "check".to_owned());
        }
        Ok(())
    }

    /// An option of a command.
    fn of_command(&mut self, flag: &str, option: &CommandOption, value: Option<String>) {
        let origin = Origin::Flag(flag.to_owned());
        let Some(value) = value else {
            let right = format!("put one behind it, such as {}", option.example);
            return self.diagnostics.mistake(origin, wrong("the value is missing", right));
        };
        match (option.check)(&value) {
            Ok(()) => self.words.extend([option.field.to_owned(), value]),
            Err(wrong) => self.diagnostics.mistake_in(&origin, &value, 0..value.len(), wrong),
        }
    }

    /// A flag with its value: joined to it, the next word, or (for a switch) understood.
    fn option(&mut self, flag: &str, value: Option<String>, args: &mut Peekable<IntoIter<String>>) {
        let Some(setting) = flag.strip_prefix("--").and_then(table::find) else {
            self.diagnostics.mistake(Origin::CommandLine, unknown(flag));
            // The next word is most likely its value: no reason to complain once more.
            let belongs = |next: &String| !next.starts_with('-') && !is_command(next);
            let _ = args.next_if(|next| value.is_none() && belongs(next));
            return;
        };
        let value = match value {
            Some(value) => value,
            None if setting.form == Form::Switch => {
                let next = args.next_if(|next| values::switch(next).is_ok());
                next.unwrap_or_else(|| "on".to_owned())
            }
            None => match args.next_if(|next| !is_flag(next)) {
                Some(value) => value,
                None => {
                    return self
                        .diagnostics
                        .mistake(Origin::Flag(flag.to_owned()), missing(setting));
                }
            },
        };
        self.options.extend([flag.to_owned(), value]);
    }

    /// A word as text, if it is text.
    fn text(&mut self, arg: OsString) -> Option<String> {
        let refuse = |arg: OsString| {
            let what = format!("{arg:?} is not UTF-8 text");
            self.diagnostics.mistake(Origin::CommandLine, wrong(what, "write it in UTF-8"));
        };
        arg.into_string().map_err(refuse).ok()
    }
}

fn is_switch(word: &str) -> bool {
    SWITCHES.iter().any(|(flag, _)| *flag == word)
}

/// The word begins a command.
pub fn is_command(word: &str) -> bool {
    word == "help" || COMMANDS.iter().any(|command| command.split(' ').next() == Some(word))
}

/// The word is one of our flags, and so not the value of another one.
fn is_flag(word: &str) -> bool {
    let name = word.split_once('=').map_or(word, |(name, _)| name);
    name.strip_prefix("--").and_then(table::find).is_some()
        || is_switch(name)
        || CommandOption::find(name).is_some()
        || ACTIONS.iter().any(|(short, long, _)| *short == name || *long == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(line: &str) -> (CommandLine, Vec<String>) {
        let mut diagnostics = Diagnostics::default();
        let words = read(line.split_whitespace().map(OsString::from), &mut diagnostics);
        let text =
            diagnostics.close(false).map_or_else(|rejected| rejected.text(), |_| String::new());
        (words, text.lines().map(str::to_owned).collect())
    }

    fn given(line: &str) -> Vec<(String, String)> {
        let (words, mistakes) = read_all(line);
        assert_eq!(mistakes, Vec::<String>::new(), "{line}");
        words
            .given
            .into_iter()
            .map(|(_, given)| (given.origin.to_string(), given.text.to_string()))
            .collect()
    }

    #[test]
    fn argh_and_the_table_know_the_same_flags() {
        let line = ParsedLine::from_args(&["tidegate"], &[]).unwrap();
        let mut fields: Vec<String> = line.options().into_iter().map(|(name, _)| name).collect();
        let mut names: Vec<&str> = table::settings().flat_map(Setting::names).collect();
        fields.sort();
        names.sort();
        assert_eq!(fields, names);
    }

    #[test]
    fn a_value_is_the_next_word_or_joined() {
        let both = vec![("--log".to_owned(), "info".to_owned())];
        assert_eq!(given("--log info"), both);
        assert_eq!(given("--log=info"), both);
        assert_eq!(given("--log=")[0].1, "");
        assert_eq!(given("--upstream=http://a/?b=c")[0].1, "http://a/?b=c");
        assert_eq!(given("--workers -1")[0].1, "-1");
        assert_eq!(given("--upstream help")[0].1, "help");
    }

    #[test]
    fn switches_need_no_value_but_take_one() {
        assert_eq!(given("--half-close off")[0].1, "off");
        assert_eq!(given("--half-close check")[0].1, "on");
        assert_eq!(given("--half-close")[0].1, "on");
        assert_eq!(given("--half-close=off")[0].1, "off");
    }

    #[test]
    fn aliases_keep_their_spelling() {
        let all = given("--backends a:1 --upstream b:2 --backend=c:3");
        let flags: Vec<&str> = all.iter().map(|(flag, _)| flag.as_str()).collect();
        assert_eq!(flags, ["--upstream", "--backends", "--backend"]);
    }

    #[test]
    fn commands_stand_anywhere() {
        let command = |line| {
            let (words, mistakes) = read_all(line);
            assert_eq!(mistakes, Vec::<String>::new(), "{line}");
            words.command
        };
        assert_eq!(command(""), Subcommand::Run);
        for line in ["check", "-t", "--check", "--log info check", "check --log=info", "-t check"] {
            assert_eq!(command(line), Subcommand::Check { json: false }, "{line}");
        }
        let show = |origin, form| Subcommand::Show { origin, form };
        assert_eq!(command("config show --log info"), show(false, ShowForm::Env));
        assert_eq!(command("config --log info show --origin"), show(true, ShowForm::Env));
        assert_eq!(command("config show --format=toml"), show(false, ShowForm::Toml));
        assert_eq!(command("check --json"), Subcommand::Check { json: true });
        assert_eq!(command("status"), Subcommand::Look(Look::Status));
        let question = Question {
            request: "/a".to_owned(),
            fields: vec!["A:b".to_owned()],
            client: Some([10, 0, 0, 1].into()),
            listen: None,
        };
        let words = "explain /a -H A:b --client 10.0.0.1";
        assert_eq!(command(words), Subcommand::Explain(question));
        for line in ["-h", "--help", "help", "--no-such -h", "check -h", "config help"] {
            assert_eq!(read_all(line).0.command, Subcommand::Help, "{line}");
        }
        assert_eq!(command("--version"), Subcommand::Version);
        assert_eq!(read_all("--log -V").0.command, Subcommand::Version);
    }

    #[test]
    fn every_wrong_word_is_told_with_what_was_meant() {
        let cases = [
            ("--lisen :80", "there is no flag --lisen", "did you mean --listen?"),
            ("--Listen :80", "there is no flag --Listen", "did you mean --listen?"),
            (
                "--read_timeout 5s",
                "there is no flag --read_timeout",
                "did you mean --read-timeout?",
            ),
            ("--port 80", "there is no flag --port", "did you mean --listen?"),
            ("-p 80", "there is no flag -p", "did you mean --listen?"),
            ("--max-conn 80", "there is no flag --max-conn", "did you mean --max-connections?"),
            ("--upst a:1", "there is no flag --upst", "did you mean --upstream?"),
            ("--banana", "there is no flag --banana", "tidegate --help lists all flags"),
            ("--log", "--log: the value is missing", "write --log info"),
            ("--log --strict", "--log: the value is missing", "write --log info"),
            ("--no-half-close", "there is no flag --no-half-close", "write --half-close off"),
            ("--no-half_close", "there is no flag --no-half_close", "write --half-close off"),
            ("--disable-admin", "there is no flag --disable-admin", "write --admin off"),
            ("--no-access-log", "there is no flag --no-access-log", "write --access-log off"),
            ("--no-max-body", "there is no flag --no-max-body", "write --max-body off"),
            ("--no-listen", "there is no flag --no-listen", "--listen cannot be switched off"),
            ("--include a", "--include is no flag", "write include in a configuration file"),
            ("run", "\"run\" is not a command", "leave it out: without a command, tidegate runs"),
            ("8080", "\"8080\" is not a command", "did you mean --listen :8080?"),
            ("a:1 b:2", "\"a:1 b:2\" is not a command", "did you mean --upstream a:1,b:2?"),
            ("check a:1", "\"a:1\" is not a command", "did you mean --upstream a:1?"),
            ("config show a:1", "\"a:1\" is not a command", "did you mean --upstream a:1?"),
            ("config show --orgin", "there is no flag --orgin", "did you mean --origin?"),
            ("--check=no", "--check takes no value", "write --check"),
            ("chek", "\"chek\" is not a command", "did you mean check?"),
            ("config", "\"config\" is not a command", "write tidegate config show"),
            (
                "http://a:1",
                "\"http://a:1\" is not a command",
                "did you mean --upstream http://a:1?",
            ),
            ("-- --log", "\"--log\" is not a command", "commands are: "),
        ];
        for (line, wrong, right) in cases {
            let (_, mistakes) = read_all(line);
            assert_eq!(mistakes.len(), 3, "{line}: {mistakes:?}");
            assert_eq!(mistakes[0], format!("error: {wrong}"));
            assert!(mistakes[1].trim().starts_with(right), "{line}: {mistakes:?}");
        }
    }

    #[test]
    fn what_is_not_text_is_refused() {
        use std::os::unix::ffi::OsStringExt;
        let mut diagnostics = Diagnostics::default();
        let bytes = OsString::from_vec(b"--log=\xff".to_vec());
        read([bytes], &mut diagnostics);
        let text = diagnostics.close(false).unwrap_err().text();
        assert!(text.contains("is not UTF-8 text") && text.contains("xFF"), "{text}");
    }
}
