//! The configuration file: from its keys to settings, and every key that is not one of them.
//!
//! A setting has the same name everywhere (`--read-timeout`, `read-timeout = "5s"`), but a few lie in a table of their
//! subject (`--log-format`, `format` under `[log]`). A table's own name, given a text, fills its main key. Pools and
//! routes are sections: tables of their own, each with settings that hold there.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::diagnostics::{Diagnostic, Diagnostics, nearest, wrong};
use super::given::{Given, Line, Origin};
use super::secrets::{self, Secrets};
use super::table::{self, Form, POOL, ROUTE, Scope, Setting, TOP};
use super::toml;
use super::tree::{Key, Node, Value};
use super::yaml;

/// The largest file that is read, in octets.
pub const LARGEST: usize = 1024 * 1024;
/// Files within files, and files altogether.
const DEEPEST: usize = 16;
const MOST_FILES: usize = 1024;
/// Pools at most; and routes.
const MOST_POOLS: usize = 16_384;
const MOST_ROUTES: usize = 100_000;

/// Settings that lie in a table, and the keys that say so; the first of a table is its main key.
const IN_TABLES: [(&str, &str); 10] = [
    ("admin", "admin.address"),
    ("log", "log.level"),
    ("log-format", "log.format"),
    ("access-log", "access-log.format"),
    ("access-log-file", "access-log.file"),
    ("request-header", "request-header.set"),
    ("response-header", "response-header.set"),
    ("redirect", "redirect.to"),
    ("respond", "respond.body"),
    ("respond.type", "respond.content-type"),
];

/// Keys that are settled but not built, and so are all below them.
const LATER: [&str; 38] = [
    "compress",
    "tls",
    "redis",
    "auth",
    "limit",
    "list",
    "cache",
    "admin.token",
    "admin.dashboard",
    "access-log.skip",
    "access-log.audit",
    "health",
    "breaker",
    "balance",
    "hash",
    "resolve",
    "sticky",
    "queue",
    "retry-on",
    "retry-budget",
    "slow-start",
    "upstream-tls",
    "allow",
    "deny",
    "role",
    "content-type",
    "serve",
    "detach",
    "security-headers",
    "client-cert",
    "proxy-protocol",
    "store",
    "dedup",
    "cors",
    "websocket",
    "rate",
    "decompress",
    "host-rewrite",
];

/// Settings that only make sense outside a configuration file.
const OUTSIDE: [&str; 2] = ["config", "env-file"];

/// A table that is a thing of its own: a pool, or a route.
#[derive(Debug)]
pub struct Section {
    /// [`POOL`] or [`ROUTE`].
    pub scope: Scope,
    /// The name of a pool; of a route, what it is called unless it says so.
    pub name: String,
    /// Its head: where to point if something is missing.
    pub origin: Origin,
    /// What is given in it, by the names of settings.
    pub given: BTreeMap<&'static str, Vec<Given>>,
}

/// What the files say.
#[derive(Debug, Default)]
pub struct Contents {
    /// What is given at the top.
    pub top: Vec<(&'static Setting, Given)>,
    /// Pools and routes, in order.
    pub sections: Vec<Section>,
    /// Every file that was read, or would have been.
    pub files: Vec<PathBuf>,
    /// They could be taken apart from beginning to end.
    pub is_whole: bool,
}

/// The settings of the file that was asked for and of those it includes, with every mistake in them noted. Reads those
/// files, and what they name as `{file.…}`, and nothing else.
pub fn read(
    asked: &Given,
    cwd: &Path,
    env: &HashMap<String, String>,
    diagnostics: &mut Diagnostics,
) -> Contents {
    let mut contents = Contents { is_whole: true, ..Contents::default() };
    read_one(asked, cwd, env, &mut contents, 0, diagnostics);
    contents
}

fn read_one(
    asked: &Given,
    cwd: &Path,
    env: &HashMap<String, String>,
    contents: &mut Contents,
    depth: usize,
    diagnostics: &mut Diagnostics,
) {
    let Given { text: file, origin, .. } = asked;
    let path = cwd.join(&**file);
    contents.files.push(path.clone());
    let text = match read_bounded(&path, LARGEST) {
        Ok(text) => text,
        Err(error) => {
            let what = format!("cannot read {file}: {error}");
            let right = wrong(what, "name a file that can be read");
            diagnostics.mistake_in(origin, file, 0..file.len(), right);
            contents.is_whole = false;
            return;
        }
    };
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let extension = Path::new(&**file).extension().and_then(OsStr::to_str).unwrap_or_default();
    let ((root, errors), site) = match extension.to_ascii_lowercase().as_str() {
        "yaml" | "yml" => (yaml::yaml(text), "yaml.org"),
        "json" => (yaml::json(text), "json.org"),
        _ => (toml::parse(text), "toml.io"),
    };
    let begins = text.match_indices('\n').map(|(at, _)| at + 1);
    let mut reading = Reading {
        file: Arc::clone(file),
        text,
        lines: std::iter::once(0).chain(begins).collect(),
        quoted: HashMap::new(),
        secrets: Secrets { env, folder: cwd.join(folder(file)) },
        is_included: depth > 0,
        includes: Vec::new(),
        contents,
        diagnostics,
    };
    reading.contents.is_whole &= errors.is_empty() && matches!(root.value, Value::Table(_));
    for error in errors {
        let right = format!("see {site} for how to write it");
        reading.refuse("", error.span, wrong(error.what, right));
    }
    if !matches!(root.value, Value::Table(_)) {
        let right = "write a name and a value a line, such as listen: \":8080\"";
        reading.refuse("", root.span.clone(), wrong("this is not a table of settings", right));
    }
    reading.table(Place { section: None, path: "" }, &root);
    let includes = std::mem::take(&mut reading.includes);
    for include in includes {
        for file in included(&include, cwd, depth, contents, diagnostics) {
            read_one(&file, cwd, env, contents, depth + 1, diagnostics);
        }
    }
}

/// The files that an `include` stands for, in the order of their names.
fn included(
    include: &Given,
    cwd: &Path,
    depth: usize,
    contents: &mut Contents,
    diagnostics: &mut Diagnostics,
) -> Vec<Given> {
    let mut refuse = |what: String, right: &str| {
        let Given { text, origin, .. } = include;
        diagnostics.mistake_in(origin, text, 0..text.len(), wrong(what, right));
        Vec::new()
    };
    if depth == DEEPEST {
        return refuse(format!("files are {DEEPEST} deep in each other"), "take one out");
    }
    let pattern = cwd.join(&*include.text);
    if !include.text.contains(['*', '?', '[']) {
        return vec![include.clone()];
    }
    // A file that comes or goes changes its folder.
    contents.files.extend(pattern.parent().map(Path::to_owned));
    let paths = match glob::glob(&pattern.to_string_lossy()) {
        Ok(paths) => paths.filter_map(Result::ok),
        Err(error) => return refuse(format!("this is no pattern: {error}"), "write sites/*.toml"),
    };
    let paths: Vec<PathBuf> = paths.filter(|path| path.is_file()).take(MOST_FILES).collect();
    if paths.len() + contents.files.len() > MOST_FILES {
        return refuse(format!("there are more than {MOST_FILES} files"), "leave some out");
    }
    let named = |path: PathBuf| {
        let path = path.strip_prefix(cwd).map(Path::to_owned).unwrap_or(path);
        Given { text: path.to_string_lossy().into(), ..include.clone() }
    };
    paths.into_iter().map(named).collect()
}

/// Not more than may be read, as text.
pub(super) fn read_bounded(path: &Path, most: usize) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(most as u64 + 1).read_to_string(&mut text)?;
    if text.len() > most {
        let size = if most >> 20 > 0 {
            format!("{} MiB", most >> 20)
        } else {
            format!("{} KiB", most >> 10)
        };
        return Err(io::Error::other(format!("it is larger than {size}")));
    }
    Ok(text)
}

fn folder(file: &str) -> &Path {
    Path::new(file).parent().unwrap_or(Path::new(""))
}

/// Where in the tree a key stands.
#[derive(Clone, Copy)]
struct Place<'a> {
    /// The section, by its number; `None`: the top.
    section: Option<usize>,
    /// The tables around it, in the section or at the top.
    path: &'a str,
}

/// A file that is being read.
struct Reading<'a> {
    file: Arc<str>,
    text: &'a str,
    /// Where each line begins, and those that were quoted already.
    lines: Vec<usize>,
    quoted: HashMap<usize, Arc<str>>,
    secrets: Secrets<'a>,
    /// Another file names it: it may have pools and routes, and nothing else.
    is_included: bool,
    includes: Vec<Given>,
    contents: &'a mut Contents,
    diagnostics: &'a mut Diagnostics,
}

impl Reading<'_> {
    /// All entries of the table at `place`.
    fn table(&mut self, place: Place<'_>, node: &Node) {
        let Value::Table(entries) = &node.value else { return };
        let scope = place.section.map_or(TOP, |section| self.contents.sections[section].scope);
        for (key, node) in entries {
            let Key { name, span } = key;
            let path = match place.path {
                "" => name.clone(),
                path => format!("{path}.{name}"),
            };
            match (scope, path.as_str()) {
                (TOP, "pool") => self.pools(key, node),
                (TOP, "route") => self.routes(key, node),
                _ => {
                    let found = if name.contains('.') {
                        Err(unknown(scope, name))
                    } else {
                        setting(scope, &path)
                    };
                    let place = Place { path: &path, ..place };
                    match found {
                        Ok(setting)
                            if self.is_included && scope == TOP && setting.name != "include" =>
                        {
                            let what = "a file that another includes has pools and routes only";
                            let right = "put it into the first file";
                            self.refuse("", span.clone(), wrong(what, right));
                        }
                        Ok(setting) if !matches!(node.value, Value::Table(_)) => {
                            self.value(setting, place, node);
                        }
                        Ok(setting) if setting.form == Form::Shares && is_pool(node) => {
                            self.pool_in_place(place, key, node);
                        }
                        Ok(setting)
                            if setting.form.of_pairs().is_some() && !is_table(scope, &path) =>
                        {
                            self.pairs(setting, place, node);
                        }
                        Ok(setting) if setting.form == Form::Urls => {
                            self.value(setting, place, node)
                        }
                        _ if is_table(scope, &path) => self.table(place, node),
                        Ok(setting) if setting.form.of_pairs().is_some() => {
                            self.pairs(setting, place, node);
                        }
                        Ok(_) => {
                            let what = "a table stands where a value has to be";
                            self.refuse(&path, span.clone(), wrong(what, "write a text"));
                        }
                        Err(wrong) => self.refuse("", span.clone(), wrong),
                    }
                }
            }
        }
    }

    /// `[pool.NAME]`, one for each.
    fn pools(&mut self, key: &Key, node: &Node) {
        let Value::Table(pools) = &node.value else {
            let right = "write [pool.shop] above the settings of a pool that is called shop";
            return self.refuse(
                "pool",
                key.span.clone(),
                wrong("a pool is a table with a name", right),
            );
        };
        for (key, node) in pools {
            if let Some(section) = self.section(POOL, key.name.clone(), &key.span) {
                self.body(section, node);
            }
        }
    }

    /// `[[route]]`, one for each.
    fn routes(&mut self, key: &Key, node: &Node) {
        let routes = match &node.value {
            Value::List(routes) => routes.as_slice(),
            _ => std::slice::from_ref(node),
        };
        for route in routes {
            let number = self.contents.sections.iter().filter(|one| one.scope == ROUTE).count() + 1;
            if !matches!(route.value, Value::Table(_)) {
                let right = "write [[route]] above the settings of each route";
                let wrong = wrong("a route is a table", right);
                return self.refuse("route", key.span.clone(), wrong);
            }
            let Some(section) = self.section(ROUTE, format!("route-{number}"), &route.span) else {
                return;
            };
            self.body(section, route);
        }
    }

    /// A pool that is written where a route names one.
    fn pool_in_place(&mut self, place: Place<'_>, key: &Key, node: &Node) {
        let Some(route) = place.section else { return };
        let name = format!("{}'s own", self.contents.sections[route].name);
        let origin = Origin::File(self.line("pool", &key.span, ""));
        let given = Given::new(name.as_str(), origin);
        if let (Some(setting), Some(section)) =
            (table::find_in(ROUTE, "pool"), self.section(POOL, name, &key.span))
        {
            self.found(Place { path: "pool", ..place }, setting, given);
            self.body(section, node);
        }
    }

    /// A new section; `None` if there are too many.
    fn section(&mut self, scope: Scope, name: String, span: &Range<usize>) -> Option<usize> {
        let (most, what) =
            if scope == POOL { (MOST_POOLS, "pools") } else { (MOST_ROUTES, "routes") };
        let number = self.contents.sections.len();
        if number >= MOST_ROUTES || (scope == POOL && number >= MOST_POOLS) {
            let count = self.contents.sections.iter().filter(|one| one.scope == scope).count();
            if count >= most {
                let what = format!("there are more than {most} {what}");
                self.refuse("", span.clone(), wrong(what, "leave some out"));
                return None;
            }
        }
        let key = if scope == POOL { "pool" } else { "route" };
        let origin = Origin::File(self.line(key, span, ""));
        let given = BTreeMap::new();
        self.contents.sections.push(Section { scope, name, origin, given });
        Some(number)
    }

    fn body(&mut self, section: usize, node: &Node) {
        match &node.value {
            Value::Table(_) => self.table(Place { section: Some(section), path: "" }, node),
            _ => self.refuse(
                "",
                node.span.clone(),
                wrong("this is not a table", "write settings in it"),
            ),
        }
    }

    /// The value of a setting, or several where it takes a list.
    fn value(&mut self, setting: &'static Setting, place: Place<'_>, node: &Node) {
        let text = match &node.value {
            Value::Text(text) => text.clone(),
            Value::Plain(text) => text.clone(),
            Value::List(items) if setting.form.takes_list() => {
                return items.iter().for_each(|item| self.value(setting, place, item));
            }
            Value::List(_) => {
                let what = "one value is possible here";
                let wrong = wrong(what, "take the brackets away");
                return self.refuse(place.path, node.span.clone(), wrong);
            }
            Value::Table(entries) if setting.form == Form::Urls => {
                match self.upstream(place, entries) {
                    Some(text) => text,
                    None => return,
                }
            }
            Value::Table(_) => {
                let what = "options are not there yet";
                return self.refuse(place.path, node.span.clone(), wrong(what, "write a text"));
            }
        };
        self.text(setting, place, node, "", text);
    }

    /// `{ url = "...", weight = 3 }`, as it would be written in one text.
    fn upstream(&mut self, place: Place<'_>, entries: &[(Key, Node)]) -> Option<String> {
        let (mut url, mut options) = (None, String::new());
        for (Key { name, span }, node) in entries {
            match (name.as_str(), &node.value) {
                ("url", Value::Text(text)) => url = Some(text.clone()),
                ("weight", Value::Plain(text) | Value::Text(text)) => {
                    options = format!(" weight={text}");
                }
                ("url" | "weight", _) => {
                    let wrong = wrong("this is not a text", "write one");
                    self.refuse(place.path, node.span.clone(), wrong);
                }
                ("backup", _) => {
                    self.refuse(
                        place.path,
                        span.clone(),
                        wrong("this is not there yet", "leave it out"),
                    );
                }
                _ => {
                    let wrong = wrong("an upstream has no such key", "it has url and weight");
                    self.refuse(place.path, span.clone(), wrong);
                }
            }
        }
        match url {
            Some(url) => Some(url + &options),
            None => {
                let span = entries.first().map_or(0..0, |(key, _)| key.span.clone());
                let wrong =
                    wrong("the url is missing", "write { url = \"http://127.0.0.1:9001\" }");
                self.refuse(place.path, span, wrong);
                None
            }
        }
    }

    /// A table of names and values, as texts.
    fn pairs(&mut self, setting: &'static Setting, place: Place<'_>, node: &Node) {
        let (Value::Table(entries), Some(between)) = (&node.value, setting.form.of_pairs()) else {
            return;
        };
        for (Key { name, .. }, node) in entries {
            let values = match &node.value {
                Value::List(items) => items.as_slice(),
                _ => std::slice::from_ref(node),
            };
            for item in values {
                match &item.value {
                    Value::Plain(text) if text == "true" && setting.form == Form::Pairs => {
                        self.text(setting, place, item, "", name.clone());
                    }
                    Value::Text(text) | Value::Plain(text) => {
                        let lead = format!("{name}{between}");
                        self.text(setting, place, item, &lead, text.clone());
                    }
                    Value::List(_) | Value::Table(_) => {
                        let wrong = wrong("a text has to stand here", "write one");
                        self.refuse(place.path, item.span.clone(), wrong);
                    }
                }
            }
        }
    }

    /// One value: `lead` and `text`, with what it takes from the environment and from files.
    fn text(
        &mut self,
        setting: &'static Setting,
        place: Place<'_>,
        node: &Node,
        lead: &str,
        text: String,
    ) {
        let origin = Origin::File(self.line(place.path, &node.span, &format!("{lead}{text}")));
        let is_template = matches!(setting.form, Form::Lines | Form::Text);
        let texts = match self.secrets.expand(&text, is_template, &mut self.contents.files) {
            Ok(texts) => texts,
            Err(wrong) => return self.refuse(place.path, node.span.clone(), wrong),
        };
        let takes_list = setting.form.takes_list();
        if texts.len() != 1 && !takes_list {
            let what = format!("this stands for {} values, and one is possible here", texts.len());
            return self.refuse(place.path, node.span.clone(), wrong(what, "name one variable"));
        }
        for secrets::Expanded { text: value, is_secret } in texts {
            let value = match setting.form {
                Form::File | Form::Files => self.beside(&value),
                _ => format!("{lead}{value}"),
            };
            let shown = is_secret.then(|| format!("{lead}{text}").into());
            let given = Given { text: value.into(), origin: origin.clone(), shown };
            self.found(place, setting, given);
        }
    }

    fn found(&mut self, place: Place<'_>, setting: &'static Setting, given: Given) {
        match place.section {
            Some(section) => {
                let section = &mut self.contents.sections[section];
                section.given.entry(setting.name).or_default().push(given);
            }
            None if setting.name == "include" => self.includes.push(given),
            None => self.contents.top.push((setting, given)),
        }
    }

    /// A path that the file names: relative to the file.
    fn beside(&self, path: &str) -> String {
        folder(&self.file).join(path).to_string_lossy().into_owned()
    }

    fn refuse(&mut self, key: &str, span: Range<usize>, wrong: Diagnostic) {
        let Line { column, raw, .. } = self.line(key, &span, "");
        let length = span.len().min(raw.len() - column);
        let value = raw[column..].to_owned();
        let origin = Origin::File(self.line(key, &span, ""));
        self.diagnostics.mistake_in(&origin, &value, 0..length, wrong);
    }

    /// The line in which `span` begins. The column is that of `value`, if it stands there in quotes.
    fn line(&mut self, key: &str, span: &Range<usize>, value: &str) -> Line {
        let start = span.start.min(self.text.len());
        let line = self.lines.partition_point(|begin| *begin <= start);
        let begin = self.lines[line - 1];
        let raw = self
            .quoted
            .entry(line)
            .or_insert_with(|| self.text[begin..].lines().next().unwrap_or_default().into());
        let column = (start - begin).min(raw.len());
        let quoted = raw[column..].starts_with(['"', '\''])
            && !value.is_empty()
            && raw[column + 1..].starts_with(value);
        Line {
            file: Arc::clone(&self.file),
            key: key.to_owned(),
            line,
            column: column + usize::from(quoted),
            raw: Arc::clone(raw),
        }
    }
}

/// A table that says itself which upstreams a pool has, in place of naming one.
fn is_pool(node: &Node) -> bool {
    let Value::Table(entries) = &node.value else { return false };
    entries.iter().any(|(key, _)| key.name == "upstream")
}

/// The setting that the key at `path` stands for, in a table of this `scope`.
pub fn setting(scope: Scope, path: &str) -> Result<&'static Setting, Diagnostic> {
    let is_under = |table: &str| path == table || path.starts_with(&format!("{table}."));
    if LATER.iter().any(|later| is_under(later)) {
        return Err(wrong("this is not there yet", "leave it out"));
    }
    if OUTSIDE.contains(&path) {
        return Err(wrong("a configuration file cannot name this", "give it as a flag"));
    }
    let in_table = IN_TABLES.iter().find(|(_, key)| *key == path);
    if let Some(setting) = in_table.and_then(|(name, _)| table::find_in(scope, name)) {
        return Ok(setting);
    }
    let misplaced = IN_TABLES.iter().find(|(name, _)| *name == path && !is_table(scope, path));
    if let Some((_, key)) = misplaced
        && let Some((table, key)) = key.split_once('.')
        && table::find_in(scope, path).is_some()
    {
        return Err(wrong("this belongs into a table", format!("write {key} under [{table}]")));
    }
    match table::find_in(scope, path) {
        Some(setting) => Ok(setting),
        None => Err(unknown(scope, path)),
    }
}

/// The path of a table of settings, in a table of this `scope`.
fn is_table(scope: Scope, path: &str) -> bool {
    let is_of_it = |key: &str| key.split_once('.').is_some_and(|(table, _)| table == path);
    let in_tables =
        |(name, key): &(&str, &str)| is_of_it(key) && table::find_in(scope, name).is_some();
    IN_TABLES.iter().any(in_tables)
        || table::settings_of(scope).any(|setting| is_of_it(setting.name))
}

/// What the tables of a scope are called in messages.
fn table_of(scope: Scope) -> &'static str {
    match scope {
        POOL => "[pool.NAME]",
        ROUTE => "[[route]]",
        _ => "the top, above all tables",
    }
}

fn unknown(scope: Scope, path: &str) -> Diagnostic {
    let what = "no setting has this name";
    let (table, key) = path.rsplit_once('.').unwrap_or(("", path));
    if !table.is_empty() && scope == TOP && setting(TOP, key).is_ok() {
        return wrong(
            "this key is not of this table",
            format!("put it at the top, above [{table}]"),
        );
    }
    for other in [TOP, POOL, ROUTE] {
        if other != scope && table::find_in(other, key).is_some() {
            let what = match scope {
                POOL => "a pool has no such key",
                ROUTE => "a route has no such key",
                _ => "this key does not stand at the top",
            };
            let first = if other == TOP { "put it at" } else { "put it under" };
            return wrong(what, format!("{first} {}", table_of(other)));
        }
    }
    let in_table = |known: &'static str| {
        known.rsplit_once('.').filter(|(other, _)| *other == table).map(|(_, key)| key)
    };
    let fits = |name: &str| table::find_in(scope, name).is_some();
    let keys = IN_TABLES.iter().filter(|(name, _)| fits(name)).filter_map(|(_, key)| in_table(key));
    let direct = table::settings_of(scope).filter_map(|setting| match setting.name.contains('.') {
        true => in_table(setting.name),
        false => table.is_empty().then_some(setting.name),
    });
    let tables = ["pool", "route"].into_iter().filter(|_| scope == TOP && table.is_empty());
    match nearest(key, keys.chain(direct).chain(tables)) {
        Some(near) => wrong(what, format!("did you mean {near}?")),
        None if scope == TOP => wrong(what, "tidegate --help lists all names"),
        None => wrong(what, format!("the manual lists all keys of {}", table_of(scope))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_settings_or_say_why_not() {
        for (path, name) in [
            ("read-timeout", "read-timeout"),
            ("upstream", "upstream"),
            ("admin", "admin"),
            ("admin.address", "admin"),
            ("log.level", "log"),
            ("log.format", "log-format"),
            ("access-log.file", "access-log-file"),
        ] {
            assert_eq!(setting(TOP, path).map(|setting| setting.name), Ok(name), "{path}");
        }
        for (path, right) in [
            ("log-format", "write format under [log]"),
            ("admin.read-timeout", "put it at the top, above [admin]"),
            ("red-timeout", "did you mean read-timeout?"),
            ("log.levle", "did you mean level?"),
            ("tls.certificate", "leave it out"),
            ("compress", "leave it out"),
            ("env-file", "give it as a flag"),
            ("banana", "tidegate --help lists all names"),
        ] {
            let advice = setting(TOP, path).expect_err(path).right();
            assert_eq!(advice, right, "{path}");
        }
    }
}
