//! Flag over environment over dotenv over configuration file over default: what was given for each setting, and where.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::fmt::{self, Display};
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::diagnostics::{Diagnostic, Diagnostics, escape, nearest, wrong};
use super::dotenv;
use super::file::{self, Contents, Section};
use super::files::{Files, remedy};
use super::given::{Given, Line, Origin};
use super::keys;
use super::secrets::Secrets;
use super::sections::DEFAULT;
use super::table::{self, AUTH, DefaultValue, Form, LIMIT, Setting, variable};
use crate::base::digits;

/// Everything that was given, each setting from its strongest layer.
#[derive(Debug, Default)]
pub struct Layers {
    given: BTreeMap<&'static str, Vec<Given>>,
    /// `HTTP_SERVER_URL_<name>`, `HTTPS_SERVER_URL_<name>`: one upstream each, in the order of their names.
    pub servers: Vec<Given>,
    /// The same, where `--upstream` made them pointless.
    pub ignored: Vec<Given>,
    /// The dotenv file, if one was read.
    pub dotenv: Option<String>,
    /// The configuration file, if one was read.
    pub file: Option<String>,
    /// The files that were read, or would have been.
    pub files: Files,
    /// The configuration file could not be read, or not all of it: what seems not to be given may stand there.
    pub unread: bool,
    /// What file names are relative to.
    pub cwd: PathBuf,
    /// The pools and routes of the configuration file.
    pub sections: Vec<Section>,
}

/// A variable that is meant for us.
struct Variable {
    key: String,
    given: Given,
}

const OURS: &str = "TIDEGATE_";
/// Variables that hold an upstream each.
const SERVERS: [&str; 2] = ["HTTP_SERVER_URL_", "HTTPS_SERVER_URL_"];
/// Variables that hold a token each.
const TOKENS: [&str; 2] = ["AUTH_TOKEN", "API_KEY"];

impl Layers {
    /// Puts the layers on top of each other. `flags` are settings with their values, in order.
    pub fn stack(
        flags: Vec<(&'static Setting, Given)>,
        env: impl IntoIterator<Item = (OsString, OsString)>,
        cwd: &Path,
        files: Files,
        diagnostics: &mut Diagnostics,
    ) -> Layers {
        let env: Vec<(OsString, OsString)> = env.into_iter().collect();
        let whole = env.iter().filter_map(|(key, value)| Some((key.to_str()?, value.to_str()?)));
        let mut whole: HashMap<String, String> =
            whole.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        let env = environment(env, diagnostics);
        let asked = flags.iter().filter(|(setting, _)| setting.name == "env-file");
        let asked = asked.map(|(_, given)| given).next_back();
        let in_env = env.iter().find(|variable| variable.key == "TIDEGATE_ENV_FILE");
        let asked = asked.or(in_env.map(|variable| &variable.given)).cloned();
        let (name, dotenv) = read_file(asked.as_ref(), cwd, &files, &mut whole, diagnostics);

        let mut layers = Layers { dotenv: name, files, cwd: cwd.to_owned(), ..Layers::default() };
        for (setting, given) in flags {
            layers.given.entry(setting.name).or_default().push(given);
        }
        let upstream_flag = layers.given.contains_key("upstream");
        let (mut servers, mut tokens) = (BTreeMap::new(), BTreeMap::new());
        for (layer, in_file) in [(env, false), (dotenv, true)] {
            let mut found: BTreeMap<&'static str, Vec<Given>> = BTreeMap::new();
            for Variable { key, given } in layer {
                if holds_server(&key) {
                    servers.entry(key).or_insert(given);
                } else if holds_token(&key) {
                    tokens.entry(key).or_insert(given);
                } else if let Some(setting) = meant(&key, in_file) {
                    found.entry(setting.name).or_default().push(given);
                } else {
                    diagnostics.warning(&given.origin, unknown(&key, in_file));
                }
            }
            for (name, given) in found {
                layers.given.entry(name).or_insert(given);
            }
        }
        layers.expand(&whole, diagnostics);
        layers.read_configuration(cwd, &whole, diagnostics);
        if !layers.sections.iter().any(|section| section.scope == AUTH) {
            layers.tokens_of_variables(tokens);
        }
        layers.rate_limit(diagnostics);
        layers.default_tables();
        let servers = servers.into_values().collect();
        *if upstream_flag { &mut layers.ignored } else { &mut layers.servers } = servers;
        layers
    }

    /// Puts in what the layers above the file take from elsewhere.
    fn expand(&mut self, env: &HashMap<String, String>, diagnostics: &mut Diagnostics) {
        let secrets = Secrets { env, folder: self.cwd.clone(), files: &self.files };
        let takes = |given: &Given| given.text.contains("{env.") || given.text.contains("{file.");
        for (name, all) in &mut self.given {
            let Some(setting) = table::find(name) else { continue };
            if setting.form.may_be_in_file() {
                all.iter_mut().for_each(in_file);
            }
            if !all.iter().any(takes) {
                continue;
            }
            let mut expanded = Vec::new();
            for given in all.drain(..).flat_map(|given| lines(setting, given)) {
                match secrets.given(setting, &given) {
                    Ok(values) => expanded.extend(values),
                    Err(wrong) => {
                        let Given { text, origin, .. } = &given;
                        diagnostics.mistake_in(origin, text, 0..text.len(), wrong);
                    }
                }
            }
            *all = expanded;
        }
    }

    /// Tokens that stand in variables of their own, which name them, behind those that are given otherwise.
    fn tokens_of_variables(&mut self, tokens: BTreeMap<String, Given>) {
        let is_flag = |given: &Given| matches!(given.origin, Origin::Flag(_));
        let given = self.given.get("auth-token");
        if tokens.is_empty() || given.is_some_and(|given| given.iter().any(is_flag)) {
            return;
        }
        let named = tokens.into_iter().map(|(name, given)| Given {
            text: format!("{} name={name}", given.text).into(),
            ..given
        });
        self.given.entry("auth-token").or_default().extend(named);
    }

    /// `--rate-limit 100` is a limit of all requests together.
    fn rate_limit(&mut self, diagnostics: &mut Diagnostics) {
        let Some(given) = self.given.get("rate-limit").and_then(|given| given.last()).cloned()
        else {
            return;
        };
        if self.given.contains_key("limit-rate") || self.given.contains_key("limit-by") {
            let what = "this is another way to say limit-rate and limit-by";
            let Given { text, origin, .. } = &given;
            diagnostics.mistake_in(origin, text, 0..text.len(), wrong(what, "leave one out"));
            return;
        }
        if digits(&*given.text).is_some_and(|rate| rate > 0) {
            let rate = Given { text: format!("{}/s", given.text).into(), ..given.clone() };
            self.given.insert("limit-rate", vec![rate]);
            self.given.insert("limit-by", vec![Given { text: "all".into(), ..given }]);
        }
    }

    /// What is given above the file is about the tables called `default`, and goes before what they say.
    fn default_tables(&mut self) {
        for scope in [AUTH, LIMIT] {
            let settings = table::settings_of(scope);
            let given: BTreeMap<&'static str, Vec<Given>> = settings
                .filter_map(|one| Some((one.name, self.given.get(one.name)?.clone())))
                .collect();
            let Some(origin) = given.values().flatten().next().map(|given| given.origin.clone())
            else {
                continue;
            };
            let is_it = |section: &&mut Section| section.scope == scope && section.name == DEFAULT;
            match self.sections.iter_mut().find(is_it) {
                Some(section) => section.given.extend(given),
                None => {
                    let name = DEFAULT.to_owned();
                    self.sections.push(Section { scope, name, origin, given });
                }
            }
        }
    }

    /// The lowest layer: the configuration file that the others name.
    fn read_configuration(
        &mut self,
        cwd: &Path,
        env: &HashMap<String, String>,
        diagnostics: &mut Diagnostics,
    ) {
        let asked = self.given.get("config").and_then(|given| given.last());
        let Some(asked) = asked.filter(|asked| !asked.text.is_empty()).cloned() else { return };
        let Contents { top, sections, is_whole, .. } =
            file::read(&asked, cwd, env, &self.files, diagnostics);
        self.unread = !is_whole;
        self.sections = sections;
        self.file = Some(asked.text.to_string());
        let mut settings: BTreeMap<&'static str, Vec<Given>> = BTreeMap::new();
        for (setting, given) in top {
            settings.entry(setting.name).or_default().push(given);
        }
        for (name, given) in settings {
            self.given.entry(name).or_insert(given);
        }
    }

    /// What was given for a setting, or its default.
    pub fn of(&self, setting: &Setting) -> Vec<Given> {
        match (self.given.get(setting.name), setting.fallback) {
            (Some(given), _) => given.clone(),
            (None, DefaultValue::Value(text)) => {
                vec![Given::new(text, Origin::Default)]
            }
            (None, DefaultValue::Depends(_) | DefaultValue::Nothing) => Vec::new(),
        }
    }

    /// A setting was given by a flag or in the environment, so no file has a say in it.
    pub fn is_above_files(&self, name: &str) -> bool {
        let given = self.given.get(name).into_iter().flatten();
        given.map(|given| &given.origin).any(|origin| origin.line().is_none())
    }

    /// For each setting, where its value came from.
    pub fn origins(&self) -> Vec<(&'static str, String)> {
        table::settings().map(|setting| (setting.name, self.origin(setting))).collect()
    }

    fn origin(&self, setting: &Setting) -> String {
        let given = self.given.get(setting.name).into_iter().flatten();
        let servers = self.servers.iter().filter(|_| setting.name == "upstream");
        let mut origins: Vec<String> =
            given.chain(servers).map(|given| given.origin.to_string()).collect();
        origins.dedup();
        if origins.is_empty() { Origin::Default.to_string() } else { origins.join(", ") }
    }
}

/// Each line of a variable that holds several field lines.
fn lines(setting: &Setting, given: Given) -> Vec<Given> {
    if setting.form != Form::Lines {
        return vec![given];
    }
    let lines = given.text.lines().filter(|line| !line.trim().is_empty());
    lines.map(|line| Given { text: line.into(), ..given.clone() }).collect()
}

/// The variables of the environment that are meant for us and not empty, in order.
fn environment(
    env: impl IntoIterator<Item = (OsString, OsString)>,
    diagnostics: &mut Diagnostics,
) -> Vec<Variable> {
    let mut variables = Vec::new();
    for (key, value) in env {
        let Some(key) = key.to_str().filter(|key| is_ours(key)) else {
            continue;
        };
        let origin = Origin::Env(key.to_owned());
        match value.into_string() {
            Ok(text) if text.is_empty() || of_kubernetes(key, &text) => {}
            Ok(text) => {
                variables.push(Variable { key: key.to_owned(), given: Given::new(text, origin) });
            }
            Err(value) => {
                let what = format!("{value:?} is not UTF-8 text");
                diagnostics.mistake(origin, wrong(what, "write it in UTF-8"));
            }
        }
    }
    variables.sort_by(|a, b| a.key.cmp(&b.key));
    variables
}

fn is_ours(key: &str) -> bool {
    key.starts_with(OURS) || holds_server(key) || holds_token(key)
}

/// `HTTP_SERVER_URL_1` and so on.
fn holds_server(key: &str) -> bool {
    SERVERS.iter().any(|start| key.starts_with(start))
}

/// `AUTH_TOKEN`, `API_KEY_SHOP` and so on.
fn holds_token(key: &str) -> bool {
    let is_one = |rest: &str| rest.is_empty() || rest.starts_with('_');
    TOKENS.iter().any(|start| key.strip_prefix(start).is_some_and(is_one))
}

/// `@path` is the name of a file that holds the value.
fn in_file(given: &mut Given) {
    if let Some(path) = given.text.strip_prefix('@').filter(|path| !path.is_empty()) {
        given.text = format!("{{file.{path}}}").into();
    }
}

/// Kubernetes tells every pod about a service called `tidegate` in variables that look like ours.
fn of_kubernetes(key: &str, value: &str) -> bool {
    let service = key.ends_with("_SERVICE_HOST") || key.contains("_SERVICE_PORT");
    let port = key.ends_with("_PORT") || key.contains("_PORT_");
    let link = value.starts_with("tcp://") || value.starts_with("udp://");
    key.starts_with(OURS) && (service || (port && (link || key.contains("_PORT_"))))
}

/// The setting that a variable stands for.
fn meant(key: &str, in_file: bool) -> Option<&'static Setting> {
    let is = |setting: &&Setting| setting.names().any(|name| variable(name) == key);
    table::settings().find(is).filter(|setting| !(in_file && setting.name == "env-file"))
}

fn unknown(key: &str, in_file: bool) -> Diagnostic {
    if in_file && key == "TIDEGATE_ENV_FILE" {
        return wrong("a dotenv file cannot name another", "take this line out");
    }
    if table::ACTIONS.iter().any(|(_, long, _)| variable(&long[2..]) == key) {
        return wrong("this is possible as a flag only", "take this variable away");
    }
    let known: Vec<String> = table::settings().flat_map(Setting::names).map(variable).collect();
    let known = known.iter().filter_map(|known| known.strip_prefix(OURS));
    let near = key.strip_prefix(OURS).and_then(|key| nearest(key, known));
    let right = near.map(|near| format!("did you mean {OURS}{near}?"));
    let right = right.unwrap_or_else(|| "tidegate --help lists all names".to_owned());
    wrong("no setting has this name", right)
}

/// The settings of the dotenv file: the one asked for, or `.env` if there is one.
fn read_file(
    asked: Option<&Given>,
    cwd: &Path,
    files: &Files,
    env: &mut HashMap<String, String>,
    diagnostics: &mut Diagnostics,
) -> (Option<String>, Vec<Variable>) {
    let file = asked.map_or(".env", |given| &*given.text);
    if file.is_empty() {
        return (None, Vec::new()); // `build` says so
    }
    let path = cwd.join(file);
    // A folder may happen to be called .env; what was asked for may be a pipe, too.
    if asked.is_none() && !path.is_file() {
        files.note(&path);
        return (None, Vec::new());
    }
    let bytes = match files.octets(&path, dotenv::LARGEST) {
        Ok(bytes) => bytes,
        Err(error) => {
            let what = format!("cannot read {file}: {error}");
            match asked {
                Some(Given { text, origin, .. }) => {
                    let right = remedy(&error);
                    diagnostics.mistake_in(origin, text, 0..text.len(), wrong(what, right));
                }
                None => {
                    diagnostics.mistake(place(file, 1), wrong(what, "make it readable, or move it"))
                }
            }
            return (None, Vec::new());
        }
    };
    let (entries, faults) = dotenv::parse(&bytes);
    for dotenv::BadLine { line, column, raw, wrong } in faults {
        if raw.is_empty() {
            diagnostics.mistake(place(file, line), wrong);
        } else {
            let (key, text) = (String::new(), raw[column..].to_owned());
            let (file, raw) = (file.into(), raw.into());
            let origin = Origin::Dotenv(Line { file, key, line, column, raw });
            diagnostics.mistake_in(&origin, &text, 0..text.len(), wrong);
        }
    }
    for dotenv::Entry { key, value, .. } in &entries {
        env.entry(key.clone()).or_insert_with(|| value.clone());
    }
    (Some(file.to_owned()), variables(file, entries, diagnostics))
}

/// The entries that are meant for us and not empty; of several with one name, the last.
fn variables(
    file: &str,
    entries: Vec<dotenv::Entry>,
    diagnostics: &mut Diagnostics,
) -> Vec<Variable> {
    let mut last: BTreeMap<String, Given> = BTreeMap::new();
    for dotenv::Entry { key, value, line, column, raw } in entries {
        if !is_ours(&key) {
            continue;
        }
        let (file, raw) = (file.into(), raw.into());
        let origin = Origin::Dotenv(Line { file, key: key.clone(), line, column, raw });
        if let Some(first) = last.get(&key) {
            let what = format!("this is set again, after {}", first.origin);
            diagnostics
                .warning(&origin, wrong(what, "the last one counts; take the other one out"));
        }
        last.insert(key, Given::new(value, origin));
    }
    let variable = |(key, given)| Variable { key, given };
    last.into_iter().map(variable).filter(|variable| !variable.given.text.is_empty()).collect()
}

/// A line of a file that has no setting.
fn place(file: &str, line: usize) -> Origin {
    Origin::Dotenv(Line { file: file.into(), line, ..Line::default() })
}

impl Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::CommandLine => f.write_str("the command line"),
            Origin::Flag(name) => f.write_str(&escape(name)),
            Origin::Env(name) => f.write_str(&escape(name)),
            Origin::Dotenv(Line { file, line, .. }) | Origin::File(Line { file, line, .. }) => {
                write!(f, "{} line {line}", escape(file))
            }
            Origin::Default => f.write_str("default"),
        }
    }
}

impl Origin {
    /// It is a variable whose name says that its upstream speaks TLS.
    pub fn names_https(&self) -> bool {
        match self {
            Origin::Env(key) | Origin::Dotenv(Line { key, .. }) => key.starts_with(SERVERS[1]),
            _ => false,
        }
    }

    /// The setting that is named there.
    pub fn setting(&self) -> Option<&'static Setting> {
        match self {
            Origin::CommandLine | Origin::Default => None,
            Origin::Flag(flag) => table::find(flag.trim_start_matches("--")),
            Origin::Env(key) | Origin::Dotenv(Line { key, .. }) if holds_server(key) => {
                table::find("upstream")
            }
            Origin::Env(key) | Origin::Dotenv(Line { key, .. }) if holds_token(key) => {
                table::find("auth-token")
            }
            Origin::Env(key) | Origin::Dotenv(Line { key, .. }) => meant(key, false),
            Origin::File(Line { key, .. }) => {
                let scopes = [table::TOP, table::POOL, table::ROUTE, AUTH, LIMIT];
                scopes.into_iter().find_map(|scope| keys::setting(scope, key).ok())
            }
        }
    }

    /// Where to look, for the head of a message; `start` is an offset into the value.
    pub fn position(&self, start: usize) -> String {
        let Some(Line { file, key, line, column, raw }) = self.line() else {
            return self.to_string();
        };
        let column = raw.get(..column + start).map_or(1, |before| before.chars().count() + 1);
        let key = if key.is_empty() { String::new() } else { format!(": {}", escape(key)) };
        format!("{}:{line}:{column}{key}", escape(file))
    }

    /// The text before the value when it is shown.
    pub fn lead(&self) -> String {
        match self {
            Origin::CommandLine | Origin::Default => String::new(),
            Origin::Flag(name) => format!("{} ", escape(name)),
            Origin::Env(name) => format!("{}=", escape(name)),
            Origin::Dotenv(Line { key, .. }) | Origin::File(Line { key, .. }) if key.is_empty() => {
                String::new()
            }
            Origin::Dotenv(Line { key, .. }) => format!("{}=", escape(key)),
            Origin::File(Line { key, .. }) => format!("{} = ", escape(key)),
        }
    }

    /// The words around a part of the value, to be shown: before, itself, after.
    pub fn excerpt(&self, value: &str, part: Range<usize>) -> [String; 3] {
        if let Some(Line { column, raw, .. }) = self.line()
            && raw.get(*column..).is_some_and(|rest| rest.starts_with(value))
        {
            let (start, end) = (column + part.start, column + part.end);
            return [escape(&raw[..start]), escape(&raw[start..end]), escape(&raw[end..])];
        }
        let before = self.lead() + &escape(&value[..part.start]);
        [before, escape(&value[part.clone()]), escape(&value[part.end..])]
    }
}
