//! WHAT WAS ASKED? Flags, environment, dotenv, configuration file -> a [`Plan`] that is valid by construction.
//!
//! Laws: knows the settings and nothing of sockets or cores; may use `http` for grammar; never
//! binds, connects or resolves. All it touches are files that it is told to read; arguments,
//! environment and the facts of the machine come in as values. Whoever makes mistakes hears of
//! all of them at once: where each is, what is wrong, what would be right.
//!
//! The way of a setting, a file for each step:
//!
//! ```text
//! command_line  word by word (words: argh)                         --read-timeout=5s
//! dotenv        KEY=VALUE lines of a file                   TIDEGATE_READ_TIMEOUT=5s
//! toml, yaml    the text of a file -> tree: values, and where they are (JSON: yaml)
//! syntax        what parsers say of a text that is none of theirs, in our words
//! file          a file, and those it includes
//! keys          which setting a key is                      read-timeout = "5s"
//! reading       all keys of a file, and what is given there
//! secrets       what it takes from elsewhere                {env.NAME}
//! given         a value, and where it stood
//! layers        flag over environment over dotenv over file over default
//! values        numbers, durations, sizes, switches         "5s" -> 5000 ms
//! listeners     addresses to listen on                     ":8080" -> every address
//! places        upstream URLs, networks, files
//! conditions    hosts, paths, methods                       "/api/*"
//! template      texts with placeholders                     "https://{host}{uri}"
//! header        rules for fields
//! parts         hash keys, cookies, targets
//! failures      statuses, and failures of upstreams         "502-504"
//! settings      one setting by its name, or the mistake in it
//! sections      pools and routes
//! care          how the upstreams of a pool are looked after
//! securing      TLS, and the certificates and keys that it names
//! acme          certificates that are ordered
//! gating        what routes demand, and the lists, credentials and limits that they name
//! build         all of it -> a Plan
//! unused        what is given and has no effect in it
//! ```
//! `descriptors` says how many clients a limit on descriptors is enough for, `memory` what a process takes at most.
//! `advice` tries what a refusal offers before anyone is told to write it.
//! `diff` tells what differs between two plans, and what of that takes a new process.
//! `order` is what a running tidegate can be told; `overlay` lays changes of upstreams over what the files say, and
//! `changes` writes them down; `expansion` puts the addresses of names in their place.
//! `files` opens every file, and notes which version of it was read.
//! `plan`, `pool` and `route` say what a plan is.
//! `unknown` are words of the command line that nobody knows, `strangers` flags of other programs, and those to come.
//! `shown` is what `config show` shows, as a dotenv file; `print` writes it as a configuration file (`written`: how
//! upstreams are looked after), `schema` what a file may have, `shell` what shells and man(1) want.
//! `reach` finds routes that no request can take.
//! `table` holds one row for each setting: parser, help, `config show` and the manual all read it; `form` says how its
//! value is written.
//! `diagnostics` and `show` put results into words.

mod acme;
mod advice;
mod build;
mod care;
mod changes;
mod command_line;
mod conditions;
mod credential;
mod credentials;
mod descriptors;
mod diagnostics;
mod diff;
mod dotenv;
mod expansion;
mod failures;
mod file;
mod files;
mod form;
mod gate;
mod gating;
mod given;
mod header;
mod keys;
mod layers;
mod listeners;
mod memory;
mod order;
mod overlay;
mod parts;
mod places;
mod plan;
mod pool;
mod print;
mod rates;
mod reach;
mod reading;
mod route;
mod routing;
mod schema;
mod secrets;
mod sections;
mod securing;
mod settings;
mod shell;
mod show;
mod shown;
mod strangers;
mod syntax;
mod table;
mod table_of_gate;
mod table_of_tls;
mod template;
mod tls;
mod toml;
mod tree;
mod unknown;
mod unused;
mod values;
mod words;
mod written;
mod written_gate;
mod written_tls;
mod yaml;

use std::ffi::OsString;
use std::path::Path;

use command_line::{ShowForm, Subcommand};
use diagnostics::{Diagnostics, wrong};
use files::Files;
use given::Origin;
use layers::Layers;
use settings::Settings;
use shown::Shown;

pub use build::MOST_UPSTREAMS;
pub use changes::CHANGES_FILE;
pub use descriptors::{Marks, in_use};
pub use diff::{Difference, difference, within};
pub use expansion::{
    Lookup, Names, ServiceRecord, TARGETS_MOST, Target, expanded, lookups, targets_of,
};
pub use files::StampedFile;
pub use gate::*;
pub use header::{HeaderLine, HeaderRules, LINES_MOST};
pub use order::{Look, Order, Question, UpstreamOrder, Verb};
pub use overlay::{Objection, Overlay, Presence, UpstreamChange};
pub use places::HEAVIEST;
pub use plan::*;
pub use pool::*;
pub use route::*;
pub use routing::{CLIENT_PAGES, TEXT_MOST};
pub use show::markdown;
pub use template::{Placeholder, Template};
pub use tls::*;
pub use values::show_duration;
pub use written_gate::{
    auth as auth_rows, gate_of_route as gate_rows, limit as limit_rows, shown as shown_tokens,
};

/// What the command line wants done.
#[derive(Debug)]
pub enum Action {
    /// Run the proxy.
    Run(Box<Plan>, Report),
    /// Run the proxy in front of origins of its own; the plan has no upstreams yet.
    Demo(Box<Plan>, Report),
    /// The settings are fine: print this report on standard output and exit 0.
    Check(String, Box<Plan>),
    /// The settings make no sense: print this report on standard output and exit so.
    Refuse(String, u8),
    /// Print this (help, version, `config show`) on standard output and exit 0.
    Show(String),
    /// Say what becomes of a request under this plan.
    Explain(Box<Plan>, Question),
    /// Have the tidegate whose admin is here show something.
    Look(AdminAddress, Look),
    /// Have the tidegate whose admin is here do something, and print what came of it.
    Ask(AdminAddress, Order),
}

/// Where the admin of the one that runs is, and what it wants to see.
#[derive(Clone, Debug)]
pub struct AdminAddress {
    /// `None`: it has none.
    pub listen: Option<Listen>,
    /// A token that may change things, where one is known.
    pub token: Option<Secret>,
}

/// Warnings and origins: what users are told about a plan.
#[derive(Debug, Default)]
pub struct Report {
    /// One line each, for the log.
    pub warnings: Vec<String>,
    /// The files that settings were read from, or would have been if they were there.
    pub files: Vec<StampedFile>,
    origins: Vec<(&'static str, String)>,
}

impl Report {
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
    /// What does not happen therefore.
    pub consequence: &'static str,
    /// How many mistakes there are.
    pub count: usize,
    /// The first of them, several lines each with a caret, for a terminal.
    pub blocks: String,
    /// The same, a line each, for a log.
    pub lines: Vec<String>,
    /// The files that settings were read from, or would have been if they were there.
    pub files: Box<[StampedFile]>,
    /// Each value that the text says to write instead, word for word, with the name of its setting.
    pub offers: Vec<(&'static str, String)>,
}

impl Rejected {
    /// What to tell on standard error, in place of a start.
    pub fn text(&self) -> String {
        let Rejected { count, blocks, consequence, .. } = self;
        let s = if *count == 1 { "" } else { "s" };
        format!("{blocks}tidegate: {count} mistake{s}, {consequence}; --help lists all flags\n")
    }
}

/// The facts of the machine that defaults depend on.
#[derive(Clone, Copy, Debug)]
pub struct Surroundings<'a> {
    /// The working directory: `.env` and a relative `--env-file` are looked for here.
    pub cwd: &'a Path,
    /// How many cores there are; the default of `--workers`.
    pub cores: usize,
    /// How many descriptors the process may have; the default of `--max-connections`.
    pub descriptors: usize,
    /// Whether standard output is a terminal; decides the default of `--access-log`.
    pub stdout_is_terminal: bool,
}

/// Everything that settings are read from. Kept, for they are read again at each reload.
#[derive(Clone, Debug)]
pub struct Sources<'a> {
    /// The arguments, without the program's name.
    pub args: Vec<OsString>,
    /// The environment as it was at the start.
    pub env: Vec<(OsString, OsString)>,
    /// The machine as it was at the start.
    pub around: Surroundings<'a>,
}

impl Sources<'_> {
    /// As [`load`].
    ///
    /// # Errors
    /// Says every mistake in the settings.
    pub fn load(&self) -> Result<Action, Rejected> {
        self.load_by(Files::default())
    }

    /// The same while others wait: no file is read that is a pipe.
    ///
    /// # Errors
    /// Says every mistake in the settings.
    pub fn load_again(&self) -> Result<Action, Rejected> {
        self.load_by(Files::at_once())
    }

    fn load_by(&self, files: Files) -> Result<Action, Rejected> {
        load_by(files, self.args.iter().cloned(), self.env.iter().cloned(), &self.around)
    }
}

/// Reads everything that was asked. `args` come without the program's name.
///
/// Reads the dotenv file, the configuration file and what that names (files it includes, error pages, `{file.PATH}`),
/// and nothing else of the process or the machine.
pub fn load(
    args: impl IntoIterator<Item = OsString>,
    env: impl IntoIterator<Item = (OsString, OsString)>,
    around: &Surroundings<'_>,
) -> Result<Action, Rejected> {
    load_by(Files::default(), args, env, around)
}

fn load_by(
    files: Files,
    args: impl IntoIterator<Item = OsString>,
    env: impl IntoIterator<Item = (OsString, OsString)>,
    around: &Surroundings<'_>,
) -> Result<Action, Rejected> {
    let mut diagnostics = Diagnostics::default();
    let words = command_line::read(args, &mut diagnostics);
    match words.command {
        Subcommand::Help => return Ok(Action::Show(show::help())),
        Subcommand::Version => return Ok(Action::Show(show::version())),
        Subcommand::Schema => return Ok(Action::Show(schema::text())),
        Subcommand::Man => return Ok(Action::Show(shell::man())),
        Subcommand::Completions(shell) => return Ok(Action::Show(shell::completions(shell))),
        _ => {}
    }
    let layers = Layers::stack(words.given, env, around.cwd, files, &mut diagnostics);
    if let Subcommand::Show { origin: true, form: ShowForm::Json } = words.command {
        let wrong = wrong("JSON has no comments to show origins in", "ask for TOML: --format toml");
        diagnostics.mistake(Origin::Flag("--origin".into()), wrong);
    }
    match words.command {
        Subcommand::Ask(order) => {
            return Ok(Action::Ask(admin_to_ask(&layers, diagnostics)?, order));
        }
        Subcommand::Look(look) => {
            return Ok(Action::Look(admin_to_ask(&layers, diagnostics)?, look));
        }
        _ => {}
    }
    let must_run = !matches!(words.command, Subcommand::Show { .. } | Subcommand::Unknown);
    let built = build::build(&layers, around, must_run, &mut diagnostics);

    let closed = diagnostics.close(built.strict).map_err(|rejected| {
        let consequence = match words.command {
            Subcommand::Unknown => "nothing done",
            _ => rejected.consequence,
        };
        Rejected { files: layers.files.stamped().into(), consequence, ..rejected }
    });
    let warnings = match (closed, &words.command) {
        (Err(rejected), Subcommand::Check { json: true }) => {
            return Ok(Action::Refuse(show::rejected_json(&rejected), rejected.exit));
        }
        (closed, _) => closed?,
    };
    let report = Report { warnings, origins: layers.origins(), files: layers.files.stamped() };
    Ok(match words.command {
        Subcommand::Check { json: true } => {
            Action::Check(show::check_json(&built.plan, &report), Box::new(built.plan))
        }
        Subcommand::Check { .. } => {
            Action::Check(show::check(&built.plan, &report), Box::new(built.plan))
        }
        Subcommand::Show { form, origin } => {
            let mut shown = Shown { built, layers, report, changes: Overlay::default(), origin };
            shown.lay_changes_over();
            Action::Show(match form {
                ShowForm::Env => shown::dotenv(&shown),
                ShowForm::Toml => print::toml(&shown),
                ShowForm::Json => print::json(&shown.built.plan),
            })
        }
        Subcommand::Explain(question) => Action::Explain(Box::new(built.plan), question),
        _ if built.demo => Action::Demo(Box::new(built.plan), report),
        _ => Action::Run(Box::new(built.plan), report),
    })
}

/// Where the admin of the running one listens. Other mistakes in files are for that one to tell, which may be asked to
/// read them; unless they may hide where it is.
fn admin_to_ask(layers: &Layers, diagnostics: Diagnostics) -> Result<AdminAddress, Rejected> {
    let is_hidden = layers.unread && !layers.is_above_files("admin");
    let mut only = match diagnostics.is_on_command_line() || is_hidden {
        true => diagnostics,
        false => Diagnostics::default(),
    };
    let mut settings = Settings { layers, section: None, diagnostics: &mut only };
    let listen = settings.one("admin", listeners::admin).flatten();
    let words = |given: &given::Given| given.text.split([' ', ',']).next().map(str::to_owned);
    let is_one = |given: &given::Given| {
        !given.text.starts_with("sha256:") && !given.text.contains(" role=read")
    };
    let tokens = settings.given("admin-token");
    let token = tokens.iter().find(|given| is_one(given)).and_then(words);
    let token = token.map(|token| Secret::new(&token, Secret::MASK));
    let admin = AdminAddress { listen, token };
    let refused = |rejected| Rejected { consequence: "and so nobody was asked", ..rejected };
    only.close(false).map_err(refused).map(|_| admin)
}

#[cfg(test)]
pub mod testing {
    //! What tests share: plans from texts.

    use std::ffi::OsString;
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

    use super::{Action, Plan, Rejected, Report, Surroundings, load};

    /// What comes of a configuration file with this text, and of these flags.
    pub fn loaded(text: &str, flags: &[&str]) -> Result<(Plan, Report), Rejected> {
        loaded_as("toml", text, flags)
    }

    /// The same of a file with another extension.
    pub fn loaded_as(
        extension: &str,
        text: &str,
        flags: &[&str],
    ) -> Result<(Plan, Report), Rejected> {
        action(extension, text, flags).map(|action| match action {
            Action::Run(plan, report) => (*plan, report),
            other => panic!("{other:?}"),
        })
    }

    fn action(extension: &str, text: &str, flags: &[&str]) -> Result<Action, Rejected> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Relaxed);
        let folder = std::env::temp_dir();
        let file =
            folder.join(format!("tidegate-plan-{}-{number}.{extension}", std::process::id()));
        std::fs::write(&file, text).unwrap();
        let around = Surroundings {
            cwd: &folder,
            cores: 1,
            descriptors: 100_000,
            stdout_is_terminal: false,
        };
        let flags = flags.iter().map(OsString::from);
        let args = [OsString::from("--config"), file.clone().into()].into_iter().chain(flags);
        let loaded = load(args, [], &around);
        let _ = std::fs::remove_file(&file);
        loaded
    }

    /// What is printed of such a file by a command.
    #[track_caller]
    pub fn shown(text: &str, words: &[&str]) -> String {
        match action("toml", text, words) {
            Ok(Action::Show(text)) => text,
            other => panic!("{other:?}"),
        }
    }

    /// The plan of a configuration file with this text.
    #[track_caller]
    pub fn plan(text: &str) -> Plan {
        loaded(text, &[]).unwrap_or_else(|rejected| panic!("{}", rejected.text())).0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// The result of `load` for words separated by blanks, an environment and a dotenv file.
    fn with(line: &str, env: &[(&str, &str)], dotenv: &str) -> Result<Action, Rejected> {
        let folder = Folder::new();
        if !dotenv.is_empty() {
            std::fs::write(folder.0.join(".env"), dotenv).unwrap();
        }
        let around = Surroundings {
            cwd: &folder.0,
            cores: 4,
            descriptors: 100_000,
            stdout_is_terminal: false,
        };
        let env = env.iter().map(|(key, value)| (OsString::from(key), OsString::from(value)));
        load(line.split_whitespace().map(OsString::from), env, &around)
    }

    fn plan(line: &str, env: &[(&str, &str)], dotenv: &str) -> (Plan, Report) {
        match with(line, env, dotenv) {
            Ok(Action::Run(plan, report)) => (*plan, report),
            other => panic!("{line}: {other:?}"),
        }
    }

    fn refusal(line: &str, env: &[(&str, &str)], dotenv: &str) -> Rejected {
        match with(line, env, dotenv) {
            Err(rejected) => rejected,
            other => panic!("{line}: {other:?}"),
        }
    }

    fn shown(line: &str, env: &[(&str, &str)], dotenv: &str) -> String {
        match with(line, env, dotenv) {
            Ok(Action::Show(text) | Action::Check(text, _)) => text,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn defaults_are_those_of_the_table() {
        let (plan, report) = plan("--upstream a:1", &[], "");
        let second = Duration::from_secs;
        assert_eq!(plan.listener.addresses, [Listen::Any(8080)]);
        assert_eq!(plan.process.admin, Some(Listen::Tcp(([127, 0, 0, 1], 8082).into())));
        assert_eq!(
            (plan.process.workers, plan.exchange.retry.most, plan.exchange.half_close),
            (4, 2, false)
        );
        assert_eq!((plan.listener.limits.head, plan.exchange.max_body), (16 * 1024, None));
        assert_eq!((plan.process.max_connections, plan.process.buffers), (20_000, 16_384));
        assert_eq!(plan.pools[0].connections.max_idle, 1024);
        assert_eq!(
            (plan.exchange.timeouts.read, plan.exchange.timeouts.write),
            (second(30), second(30))
        );
        assert_eq!(
            (plan.exchange.timeouts.connect, plan.exchange.timeouts.response),
            (second(2), second(60))
        );
        assert_eq!(
            (plan.listener.idle_timeout, plan.pools[0].connections.idle_timeout),
            (second(60), second(30))
        );
        assert_eq!(
            (plan.exchange.timeouts.expect, plan.process.drain_timeout),
            (second(1), second(20))
        );
        assert_eq!(plan.process.drain_delay, second(0));
        assert_eq!(
            plan.process.access_log,
            AccessLog { format: Some(LogFormat::Json), file: None }
        );
        assert_eq!(
            (plan.process.log, plan.process.log_format),
            (LogLevel::Info, OwnLogFormat::Human)
        );
        assert_eq!(report.warnings, Vec::<String>::new());
    }

    #[test]
    fn flag_wins_over_environment_over_file_over_default() {
        let env = [("TIDEGATE_READ_TIMEOUT", "2s"), ("TIDEGATE_WRITE_TIMEOUT", "2s")];
        let file =
            "TIDEGATE_READ_TIMEOUT=3s\n\nTIDEGATE_WRITE_TIMEOUT=3s\nTIDEGATE_IDLE_TIMEOUT=3s";
        let (plan, report) = plan("--upstream a:1 --read-timeout 1s", &env, file);
        let timeouts = [
            plan.exchange.timeouts.read,
            plan.exchange.timeouts.write,
            plan.listener.idle_timeout,
            plan.exchange.timeouts.connect,
        ];
        assert_eq!(timeouts.map(|wait| wait.as_secs()), [1, 2, 3, 2]);
        assert_eq!(report.origin("--read-timeout"), "--read-timeout");
        assert_eq!(report.origin("write-timeout"), "TIDEGATE_WRITE_TIMEOUT");
        assert_eq!(report.origin("idle-timeout"), ".env line 4");
        assert_eq!(report.origin("connect-timeout"), "default");
    }

    #[test]
    fn secrets_come_from_anywhere_and_are_shown_as_they_were_written() {
        let secret = "0123456789abcdef";
        for (line, env, dotenv, shown) in [
            ("--sticky-secret {env.S}", ("S", secret), "TIDEGATE_STICKY_COOKIE=tg", "{env.S}"),
            ("", ("TIDEGATE_STICKY_SECRET", secret), "TIDEGATE_STICKY_COOKIE=tg", "***"),
            ("--sticky-cookie tg", ("A", "b"), "TIDEGATE_STICKY_SECRET=0123456789abcdef", "***"),
        ] {
            let line = format!("--upstream a:1 {line}");
            let (plan, report) = plan(&line, &[env], dotenv);
            let sticky = plan.pools[0].sticky.clone().unwrap();
            let own = sticky.secret.unwrap();
            assert_eq!((&*sticky.cookie, &*own, own.to_string()), ("tg", secret, shown.to_owned()));
            assert_eq!(report.warnings, Vec::<String>::new());
        }
    }

    #[test]
    fn an_empty_variable_is_unset() {
        let (plan, _) =
            plan("", &[("TIDEGATE_LOG", "")], "TIDEGATE_LOG=debug\nTIDEGATE_UPSTREAM=a:1");
        assert_eq!(plan.process.log, LogLevel::Debug);
    }

    #[test]
    fn lists_repeat_and_a_stronger_layer_replaces_them() {
        let names = |plan: &Plan| -> Vec<String> {
            plan.pools[0].upstreams.iter().map(|upstream| upstream.name.clone()).collect()
        };
        let env = [("TIDEGATE_BACKENDS", "c:3")];
        let (both, _) = plan("--upstream b:2,a:1 --upstream d:4", &env, "");
        assert_eq!(names(&both), ["http://b:2", "http://a:1", "http://d:4"]);
        assert_eq!(names(&plan("", &env, "").0), ["http://c:3"]);
        let (plan, report) = plan("--upstream a:1,http://A:1", &[], "");
        assert_eq!(names(&plan), ["http://a:1"]);
        assert!(report.warnings[0].contains("given twice and used once"));
    }

    #[test]
    fn server_variables_add_upstreams_unless_the_flag_is_given() {
        let env = [("HTTP_SERVER_URL_b", "http://b:1"), ("HTTP_SERVER_URL_a", "http://a:1")];
        let file = "HTTP_SERVER_URL_a=http://no:1\nHTTP_SERVER_URL_c=http://a:1\n";
        let (both, report) = plan("", &env, file);
        let names: Vec<&str> = both.pools[0].upstreams.iter().map(|u| u.name.as_str()).collect();
        assert_eq!(names, ["http://a:1", "http://b:1"]);
        assert_eq!(report.warnings.len(), 1);
        assert_eq!(report.origin("upstream"), "HTTP_SERVER_URL_a, HTTP_SERVER_URL_b, .env line 2");
        assert_eq!(plan("--upstream c:1", &env, file).0.pools[0].upstreams.len(), 1);
        let text = shown("config show --origin --upstream c:1", &env, file);
        assert!(text.contains("# not used, since --upstream is given: HTTP_SERVER_URL_a\n"));
        assert!(refusal("", &[("HTTP_SERVER_URL_a", "a:1,b:1")], "").text().contains("one URL"));
    }

    #[cfg(feature = "tls")]
    #[test]
    fn variables_of_https_add_upstreams_that_speak_tls() {
        for (key, value, name, warnings) in [
            ("HTTPS_SERVER_URL_1", "https://a:1", "https://a:1", 0),
            ("HTTPS_SERVER_URL_1", "a:8443", "https://a:8443", 0),
            ("HTTPS_SERVER_URL_1", "a.example", "https://a.example", 0),
            ("HTTPS_SERVER_URL_1", "http://a:1", "http://a:1", 1),
            ("HTTP_SERVER_URL_1", "https://a", "https://a", 0),
        ] {
            for (env, file) in [(vec![(key, value)], ""), (vec![], &*format!("{key}={value}\n"))] {
                let (plan, report) = plan("", &env, file);
                let upstream = &plan.pools[0].upstreams[0];
                assert_eq!((&*upstream.name, upstream.secure), (name, name.starts_with("https")));
                assert_eq!(report.warnings.len(), warnings, "{:?}", report.warnings);
            }
        }
        let env = [("HTTPS_SERVER_URL_b", "https://b"), ("HTTPS_SERVER_URL_a", "https://a")];
        let (both, report) = plan("", &env, "HTTP_SERVER_URL_c=http://c\n");
        assert_eq!(both.pools[0].upstreams.len(), 3);
        let origin = "HTTPS_SERVER_URL_a, HTTPS_SERVER_URL_b, .env line 1";
        assert_eq!(report.origin("upstream"), origin);
    }

    #[test]
    fn all_mistakes_are_told_at_once_with_their_places() {
        let env = [("TIDEGATE_WORKERS", "+4")];
        let file = "# mine\nexport TIDEGATE_MAX_BODY=\"10mb\" # large\noops\n";
        let rejected = refusal("--read-timeout 30 --listen 80", &env, file);
        let expected = "\
error: .env:3:1: there is no = in this line
    oops
    ^^^^ write KEY=VALUE, or # before it
error: --listen: a colon is missing
    --listen 80
             ^^ write :80
error: --read-timeout: a duration needs a unit
    --read-timeout 30
                   ^^ write 30s or 30ms
error: TIDEGATE_WORKERS: a sign makes no sense here
    TIDEGATE_WORKERS=+4
                     ^^ write 4
error: no upstream is given, so there is nowhere to send requests
    write: tidegate --upstream http://127.0.0.1:9001   or: tidegate --demo
error: .env:2:27: TIDEGATE_MAX_BODY: this unit is not known
    export TIDEGATE_MAX_BODY=\"10mb\" # large
                              ^^^^ write 10MB
tidegate: 6 mistakes, not started; --help lists all flags
";
        assert_eq!((rejected.exit, rejected.text().as_str()), (2, expected));
        let offers: Vec<(&str, &str)> =
            rejected.offers.iter().map(|(name, offer)| (*name, offer.as_str())).collect();
        let all = [
            ("listen", ":80"),
            ("read-timeout", "30s"),
            ("read-timeout", "30ms"),
            ("workers", "4"),
            ("max-body", "10MB"),
        ];
        assert_eq!(offers, all);
    }

    #[test]
    fn only_the_command_line_makes_exit_code_2() {
        assert_eq!(refusal("--upstream a:1", &[("TIDEGATE_LOG", "x")], "").exit, 1);
        assert_eq!(refusal("--upstream a:1", &[], "TIDEGATE_LOG=x").exit, 1);
        assert_eq!(refusal("--upstream a:1 --log x", &[], "").exit, 2);
        assert_eq!(refusal("", &[], "").exit, 2);
    }

    #[test]
    fn contradictions_are_mistakes_or_warnings() {
        let mistakes = [
            ("--upstream a:1 --log info --log debug", "given twice, first as info"),
            ("--upstream a:1 --listen :8082", "cannot have the same address"),
            ("--upstream a:1 --admin :8080", "cannot have the same address"),
            ("--upstream a:1 --listen [::1]:8082 --admin :8082", "cannot have the same address"),
            ("--upstream http://localhost:8080", "go in circles"),
            ("--upstream http://[::1]:8080", "go in circles"),
            ("--upstream http://[::ffff:127.0.0.1]:8080", "go in circles"),
            ("--upstream unix:/a --listen unix:/a", "go in circles"),
            ("--upstream a:1 --workers 4 --max-connections 3", "fewer connections"),
            ("--upstream a:1,,b:1", "there is nothing here"),
            ("--upstream a:1 --buffers 15", "at least 16 is needed"),
            ("--upstream a:1 --max-head 65KiB", "more than 64KiB"),
            ("--upstream a:1 --max-fields 257", "more than 256"),
            ("--upstream a:1 --access-log-file=", "a file needs a name"),
        ];
        for (line, what) in mistakes {
            let text = refusal(line, &[], "").text();
            assert!(text.contains(what) && text.contains("1 mistake,"), "{line}: {text}");
        }
        let warnings = [
            ("--admin :8082", "sees status and metrics; write 127.0.0.1:8082"),
            (
                "--listen 127.0.0.1:8082 --admin 10.0.0.1:8082",
                "sees status and metrics; write [::1]:8082 if they need not",
            ),
            (
                "--listen 127.0.0.1:1,[::1]:1 --admin 10.0.0.1:1",
                "sees status and metrics; take a port of 127.0.0.1 if they need not",
            ),
            (
                "--max-connections 60000",
                "2 descriptors each, and the limit is 100000; write 49960 or less, or",
            ),
            ("--access-log off --access-log-file x", "no file is written"),
            ("--trusted-proxy 0.0.0.0/0", "everyone is believed"),
            ("--listen :1,:1", "given twice and used once"),
            ("--listen :1,[::]:1", ":1 takes in [::]:1 as well; leave [::]:1 out"),
            ("--listen 127.0.0.1:1,0.0.0.0:1", "0.0.0.0:1 takes in 127.0.0.1:1 as well"),
        ];
        for (line, what) in warnings {
            let (_, report) = plan(&format!("--upstream a:1 {line}"), &[], "");
            assert!(report.warnings[0].contains(what), "{line}: {:?}", report.warnings);
            let strict = refusal(&format!("--strict --upstream a:1 {line}"), &[], "");
            assert_eq!(strict.exit, 2);
            assert!(strict.text().starts_with("error: "), "{}", strict.text());
        }
        for (line, kept) in [
            ("0.0.0.0:1,[::]:1", "0.0.0.0:1 [::]:1"),
            ("[::]:1,:1,0.0.0.0:1,:2", ":1 :2"),
            ("127.0.0.1:1,127.0.0.1:2,0.0.0.0:1,[::1]:1", "127.0.0.1:2 0.0.0.0:1 [::1]:1"),
            (":0,:0,127.0.0.1:0,127.0.0.1:0", ":0 :0 127.0.0.1:0 127.0.0.1:0"),
            ("unix:/a,unix:/b,unix:/a", "unix:/a unix:/b"),
        ] {
            let (plan, _) = plan(&format!("--upstream a:1 --listen {line}"), &[], "");
            let listen: Vec<String> =
                plan.listener.addresses.iter().map(Listen::to_string).collect();
            assert_eq!(listen.join(" "), kept, "{line}");
        }
        // More than the default, and there are enough descriptors.
        let (wide, report) = plan("--upstream a:1 --max-connections 40000", &[], "");
        assert_eq!((wide.process.max_connections, report.warnings), (40_000, Vec::new()));
        // One worker for each core, but never more than there are connections.
        assert_eq!(plan("--upstream a:1 --max-connections 1", &[], "").0.process.workers, 1);
    }

    #[test]
    fn unknown_variables_are_warnings() {
        let env = [
            ("TIDEGATE_REED_TIMEOUT", "5s"),
            ("TIDEGATE_CHECK", "1"),
            ("OTHER", "x"),
            ("TIDEGATE_PORT", "tcp://10.0.0.1:80"),
            ("TIDEGATE_PORT_80_TCP_ADDR", "10.0.0.1"),
            ("TIDEGATE_SERVICE_HOST", "10.0.0.1"),
        ];
        let (_, report) =
            plan("--upstream a:1", &env, "TIDEGATE_ENV_FILE=x\nother=1\nTIDEGATE_X=1");
        let expected = [
            "TIDEGATE_CHECK: this is possible as a flag only; take this variable away",
            "TIDEGATE_REED_TIMEOUT: no setting has this name; did you mean TIDEGATE_READ_TIMEOUT?",
            ".env line 1: a dotenv file cannot name another; take this line out",
            ".env line 3: no setting has this name; tidegate --help lists all names",
        ];
        assert_eq!(report.warnings, expected);
    }

    /// The result of `load` with a configuration file.
    fn with_file(line: &str, env: &[(&str, &str)], file: &str) -> Result<Action, Rejected> {
        let folder = Folder::new();
        std::fs::write(folder.0.join("t.toml"), file).unwrap();
        let around = Surroundings {
            cwd: &folder.0,
            cores: 4,
            descriptors: 100_000,
            stdout_is_terminal: false,
        };
        let env = env.iter().map(|(key, value)| (OsString::from(key), OsString::from(value)));
        let words = line.split_whitespace().chain(["--config", "t.toml"]);
        load(words.map(OsString::from), env, &around)
    }

    #[test]
    fn a_configuration_file_is_the_lowest_layer() {
        let file = "\
listen = [':80', '127.0.0.1:81']
upstream = 'http://a:1, http://b:1'
read-timeout = '1s'
write-timeout = \"2s\"
workers = 3
half-close = true
admin = 'off'
[log]
level = 'debug'
format = 'json'
[access-log]
format = 'common'
file = 'access.log'
";
        let env = [("TIDEGATE_WRITE_TIMEOUT", "9s")];
        let Ok(Action::Run(plan, report)) = with_file("--read-timeout 8s", &env, file) else {
            panic!("refused")
        };
        assert_eq!(plan.listener.addresses.len(), 2);
        assert_eq!(plan.pools[0].upstreams.len(), 2);
        let Timeouts { read, write, .. } = plan.exchange.timeouts;
        assert_eq!([read, write].map(|wait| wait.as_secs()), [8, 9]);
        assert_eq!((plan.process.workers, plan.exchange.half_close), (3, true));
        assert_eq!((&plan.process.admin, plan.process.log), (&None, LogLevel::Debug));
        assert_eq!(plan.process.log_format, OwnLogFormat::Json);
        assert_eq!(plan.process.access_log.file.as_deref(), Some(Path::new("access.log")));
        assert_eq!(report.origin("workers"), "t.toml line 5");
        assert_eq!(report.origin("log-format"), "t.toml line 10");
        assert_eq!(report.origin("read-timeout"), "--read-timeout");
    }

    #[test]
    fn all_mistakes_of_a_configuration_file_are_told_at_once() {
        let file = "\
upstream = ['http://a:1', 'ftp://b']
read-timeout = 30
red-timeout = '5s'
workers = [1, 2]
log-format = 'json'
max-body = {}
[admin]
drain-timeout = '1s'
[cache]
size = 'x'
";
        let rejected = with_file("", &[], file).unwrap_err();
        let expected = "\
error: t.toml:3:1: no setting has this name
    red-timeout = '5s'
    ^^^^^^^^^^^ did you mean read-timeout?
error: t.toml:4:11: workers: one value is possible here
    workers = [1, 2]
              ^^^^^^ take the brackets away
error: t.toml:5:1: this belongs into a table
    log-format = 'json'
    ^^^^^^^^^^ write format under [log]
error: t.toml:6:1: max-body: a table stands where a value has to be
    max-body = {}
    ^^^^^^^^ write max-body = \"64KiB\", for example
error: t.toml:8:1: this key is not of this table
    drain-timeout = '1s'
    ^^^^^^^^^^^^^ put it at the top, above [admin]
error: t.toml:9:2: this is not there yet
    [cache]
     ^^^^^ leave it out
error: t.toml:2:16: read-timeout: a duration needs a unit
    read-timeout = 30
                   ^^ write 30s or 30ms
error: t.toml:1:28: upstream: this scheme is not known
    upstream = ['http://a:1', 'ftp://b']
                               ^^^^^^^ write http://b
tidegate: 8 mistakes, not started; --help lists all flags
";
        assert_eq!((rejected.exit, rejected.text().as_str()), (1, expected));
    }

    #[test]
    fn the_example_is_right() {
        let example = include_str!("../../examples/tidegate.toml");
        let Ok(Action::Run(plan, report)) = with_file("", &[], example) else { panic!("refused") };
        assert_eq!((plan.pools[0].upstreams.len(), report.warnings.len()), (2, 0));
        let text = example.replace("#trusted-proxy", "trusted-proxy").replace("#file", "file");
        assert!(matches!(with_file("", &[], &text), Ok(Action::Run(..))), "what is commented out");
    }

    #[test]
    fn a_configuration_file_must_be_there_and_be_toml() {
        let text = with_file("", &[], "upstream = 'a:1'\nread-timeout = \n").unwrap_err().text();
        assert!(text.starts_with("error: t.toml:2:"), "{text}");
        let text = refusal("--config no.toml", &[], "").text();
        assert!(text.contains("cannot read no.toml"), "{text}");
        let text = with_file("", &[], &"#".repeat(file::LARGEST + 1)).unwrap_err().text();
        assert!(text.contains("larger than 1 MiB"), "{text}");
    }

    #[test]
    fn the_dotenv_file_may_be_named_and_must_then_be_there() {
        let folder = Folder::new();
        std::fs::write(folder.0.join("my.env"), "TIDEGATE_UPSTREAM=a:1\nTIDEGATE_UPSTREAM=$X")
            .unwrap();
        let around = Surroundings {
            cwd: &folder.0,
            cores: 1,
            descriptors: 100_000,
            stdout_is_terminal: true,
        };
        let run = |words: &[&str], env: &[(&str, &str)]| {
            let env = env.iter().map(|(key, value)| (OsString::from(key), OsString::from(value)));
            load(words.iter().map(OsString::from), env, &around)
        };
        let text = run(&["--env-file", "my.env"], &[]).unwrap_err().text();
        assert!(text.contains("error: my.env:2:19: TIDEGATE_UPSTREAM: "), "{text}");
        assert!(text.contains("(variables are not expanded)"), "{text}");
        assert!(text.contains("warning: my.env line 2: this is set again, after my.env line 1"));
        let missing = run(&["--env-file", "no.env", "--upstream", "a:1"], &[]).unwrap_err();
        assert!(missing.exit == 2 && missing.text().contains("cannot read no.env"), "{missing:?}");
        let missing = run(&["--upstream", "a:1"], &[("TIDEGATE_ENV_FILE", "no.env")]).unwrap_err();
        assert_eq!(missing.exit, 1);
        std::fs::create_dir(folder.0.join(".env")).unwrap();
        assert!(matches!(run(&["--upstream", "a:1"], &[]), Ok(Action::Run(..))));
        assert!(run(&["--env-file", ".env", "--upstream", "a:1"], &[]).is_err());
    }

    #[test]
    fn the_access_log_looks_at_where_it_goes() {
        let folder = Folder::new();
        let format = |terminal: bool, words: &str| {
            let around = Surroundings {
                cwd: &folder.0,
                cores: 1,
                descriptors: 100_000,
                stdout_is_terminal: terminal,
            };
            let words = format!("--upstream a:1 {words}");
            match load(words.split_whitespace().map(OsString::from), [], &around) {
                Ok(Action::Run(plan, _)) => plan.process.access_log.format,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(format(true, ""), Some(LogFormat::Human));
        assert_eq!(format(false, ""), Some(LogFormat::Json));
        assert_eq!(format(true, "--access-log-file a.log"), Some(LogFormat::Json));
        assert_eq!(format(true, "--access-log common"), Some(LogFormat::Common));
        assert_eq!(format(true, "--access-log off"), None);
    }

    #[test]
    fn a_demo_needs_no_upstream() {
        let asked = with("--demo --upstream a:1", &[], "");
        let Ok(Action::Demo(plan, report)) = asked else { panic!("{asked:?}") };
        assert_eq!(plan.pools[0].upstreams, []);
        assert!(report.warnings[0].contains("a demo brings its own"));
        assert!(matches!(with("", &[("TIDEGATE_DEMO", "yes")], ""), Ok(Action::Demo(..))));
    }

    #[test]
    fn check_says_what_would_run_or_all_that_is_wrong() {
        let text = shown("-t --upstream a:1 --admin :82", &[], "");
        assert!(text.starts_with("tidegate: the settings are fine\n  listen    :8080  (default)"));
        assert!(text.contains("\n  upstream  http://a:1\n") && text.contains("\nwarning: --admin"));
        assert_eq!(refusal("check", &[], "").exit, 2);
    }

    #[test]
    fn what_config_show_prints_asks_for_the_same_again() {
        let lines = [
            "--upstream a:1,unix:/s --listen :1,unix:/l --admin off --workers 3 --max-retries 0",
            "--upstream a:1 --trusted-proxy 10.0.0.0/8,::1 --half-close --host-header upstream",
            "--upstream a:1 --backend-header --read-timeout 1ms --drain-delay 2s --drain-timeout 0s --max-body 10MB",
            "--upstream a:1 --max-target 16KiB --max-fields 256",
            "--upstream a:1 --request-header X-A:1 --request-header X-B:{host} --response-header X-C:d",
            "--upstream a:1 --max-head 1KiB --access-log combined --access-log-file a#'b\\\"c",
            "--upstream a:1 --health --breaker-failures 3 --sticky-cookie tg --queue-max-requests 9 --hash uri",
            "--upstream a:1,b:2 --retry-on timeout,5xx --retry-budget 0% --hedge 1s --retry-buffer 1KiB --resolve 5m",
            "--upstream a:1 --log trace --log-format json --expect-timeout 0s --max-upstream-idle 0 --access-log off",
        ];
        for line in lines {
            let (wanted, _) = plan(line, &[], "");
            for origin in ["", "--origin"] {
                let text = shown(&format!("config show {origin} {line}"), &[], "");
                assert_eq!(plan("", &[], &text).0, wanted, "{text}");
            }
        }
        let text = shown("config show --origin --log debug", &[("TIDEGATE_WORKERS", "2")], "");
        let has = |start: &str, end: &str| {
            text.lines().any(|line| line.starts_with(start) && line.ends_with(end))
        };
        assert!(has("TIDEGATE_LOG=debug ", " # --log") && has("TIDEGATE_UPSTREAM= ", "# default"));
        assert!(has("TIDEGATE_WORKERS=2 ", " # TIDEGATE_WORKERS"));
        assert!(has("# dotenv file: none", ""));
    }

    #[test]
    fn help_fits_and_names_every_setting() {
        let text = shown("--help", &[], "");
        for line in text.lines() {
            assert!(line.chars().count() <= 100, "{line}");
        }
        for setting in table::settings() {
            for name in setting.names() {
                assert!(text.contains(&format!("--{name}")), "{name}");
                assert!(markdown().contains(&format!("`--{name}")), "{name}");
            }
        }
        assert!(text.contains(
            "  --connect-timeout TIME         Longest wait for a connection to an upstream [2s]\n"
        ));
        assert!(shown("-V", &[], "").starts_with("tidegate 0."));
    }

    #[test]
    fn defaults_and_choices_of_the_table_are_understood() {
        for setting in table::settings() {
            // Some make sense beside others only.
            let beside = match setting.name {
                "sticky-max-age" | "sticky-secret" => "--sticky-cookie tg",
                "queue-size" | "queue-wait" => "--queue-max-requests 9",
                "cors-credentials" | "cors-max-age" => "--cors-origin https://a",
                "limit-rate" => "--upstream b:1",
                name if name.starts_with("limit-") => "--limit-rate 20/s",
                // What they are about is given in another way, or not in every build.
                "auth-refresh" | "auth-leeway" => continue,
                "auth-timeout" | "auth-cache" => "--auth-url http://b:1",
                name if name.starts_with("upstream-tls-") || name.starts_with("tls-") => continue,
                name if name.starts_with("auth-") => "--auth-token 0123456789abcdef",
                _ => "--upstream a:1",
            };
            let flag = format!("--upstream a:1 {beside} --{}", setting.name);
            if let table::DefaultValue::Value(value) = setting.fallback {
                let (_, report) = plan(&format!("{flag}={value}"), &[], "");
                assert_eq!(report.origin(setting.name), format!("--{}", setting.name));
            }
            if let table::Form::Choice(words) = setting.form {
                for word in words.split('|') {
                    plan(&format!("{flag} {word}"), &[], "");
                }
            }
        }
        for (setting, cousins) in strangers::COUSINS {
            assert!(table::find(setting).is_some(), "{setting}");
            for cousin in cousins.split(' ') {
                assert!(table::find(cousin).is_none(), "{cousin} is a flag of ours");
            }
        }
    }

    #[test]
    fn no_words_however_odd_make_it_panic() {
        const PIECES: [&str; 32] = [
            "--listen",
            "--upstream",
            "--workers",
            "--trusted-proxy",
            "--read-timeout",
            "--max-body",
            "--half-close",
            "--",
            "-t",
            "=",
            ":",
            "/",
            "http://",
            "unix:",
            "[",
            "]",
            "::1",
            "%",
            "127.0.0.1",
            "99999999999999999999",
            "8080",
            "+5",
            "s",
            "KiB",
            ",",
            " ",
            "\"",
            "'",
            "#",
            "ü",
            "\u{202e}",
            "\n",
        ];
        let mut seed = 1_u64;
        let mut pick = |most: usize| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 33) as usize % most
        };
        let cwd = Path::new("/nonexistent");
        let around =
            Surroundings { cwd, cores: 1, descriptors: 100_000, stdout_is_terminal: false };
        for _ in 0..1_000 {
            let mut word = || (0..pick(6)).map(|_| PIECES[pick(PIECES.len())]).collect::<String>();
            let args: Vec<OsString> = (0..4).map(|_| word().into()).collect();
            let env = ["LISTEN", "UPSTREAM", "TRUSTED_PROXY", "MAX_BODY", "ADMIN", "READ_TIMEOUT"];
            let env: Vec<(OsString, OsString)> =
                env.iter().map(|key| (format!("TIDEGATE_{key}").into(), word().into())).collect();
            if let Err(rejected) = load(args, env, &around) {
                let text = rejected.text();
                assert!(text.ends_with('\n') && !text.contains('\u{202e}'), "{text:?}");
            }
            let file = format!("TIDEGATE_UPSTREAM={}\n{}={}", word(), word(), word());
            let (entries, faults) = dotenv::parse(file.as_bytes());
            assert!(entries.len() + faults.len() <= file.lines().count(), "{file:?}");
        }
    }

    /// A folder of its own for each test, gone at its end.
    #[test]
    fn files_are_found_beside_the_file_that_names_them_whatever_its_folder_is_called() {
        let folder = Folder::new();
        let cwd = folder.0.join("a[b]");
        std::fs::create_dir_all(cwd.join("sites")).unwrap();
        let route = "[[route]]\npath = '/a'\nerror-page = { '502' = 'sorry.html' }\n";
        for (file, text) in [
            ("t.toml", "include = 'sites/*.toml'\nupstream = 'http://a:1'\n"),
            ("sites/a.toml", route),
            ("sites/sorry.html", "<p>Sorry"),
        ] {
            std::fs::write(cwd.join(file), text).unwrap();
        }
        let around =
            Surroundings { cwd: &cwd, cores: 4, descriptors: 100_000, stdout_is_terminal: false };
        let loaded = load(["--config", "t.toml"].map(OsString::from), [], &around);
        let Ok(Action::Run(plan, _)) = loaded else { panic!("{loaded:?}") };
        assert_eq!(&*plan.routes[0].exchange.error_pages[0].body, "<p>Sorry");
    }

    struct Folder(std::path::PathBuf);

    impl Folder {
        fn new() -> Folder {
            use std::sync::atomic::{AtomicU32, Ordering};
            static NEXT: AtomicU32 = AtomicU32::new(0);
            let unique = format!(
                "tidegate-config-{}-{}",
                std::process::id(),
                NEXT.fetch_add(1, Ordering::Relaxed)
            );
            let path = std::env::temp_dir().join(unique);
            std::fs::create_dir(&path).unwrap();
            Folder(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }
}
