//! A file as a tree -> what is given at the top, and in each pool and route. `values`: the texts that stand at a key.

mod values;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;
use std::sync::Arc;

use super::conditions::is_name;
use super::diagnostics::{Diagnostic, Diagnostics, nearest, wrong};
use super::file::{Contents, Section};
use super::given::{Given, Line, Origin};
use super::keys::{is_table, key_of_scope, main_key, setting, unknown};
use super::secrets::Secrets;
use super::syntax::{self, plain};
use super::table::{self, AUTH, Form, LIMIT, POOL, ROUTE, Scope, Setting, TOP};
use super::tree::{Key, Node, SyntaxError, Value};

/// Pools at most; routes; and things of each other kind that have a name.
const MOST_POOLS: usize = 16_384;
const MOST_ROUTES: usize = 100_000;
const MOST_NAMED: usize = 1024;

/// What a file that another includes may have at its top.
const OF_INCLUDED: [&str; 2] = ["include", "list"];

/// Keys of secrets, in whatever table, and in the tables that say who asks.
const SECRETS: [&str; 7] =
    ["secret", "token", "auth-token", "auth-key", "auth-user", "admin-token", "api-key"];
const SECRETS_OF_AUTH: [&str; 3] = ["key", "user", "hash"];

/// Where in the tree a key stands.
#[derive(Clone, Copy)]
struct Place<'a> {
    /// The section, by its number; `None`: the top.
    section: Option<usize>,
    /// The tables around it, in the section or at the top.
    path: &'a str,
    /// In a list or a table of values: commas do not part what stands there.
    is_item: bool,
}

/// A file that is being read.
pub struct Reading<'a> {
    file: Arc<str>,
    text: &'a str,
    /// Where each line begins, and those that were quoted already.
    lines: Vec<usize>,
    quoted: HashMap<usize, Arc<str>>,
    /// Lines that are no text of their format: what else is wrong in them, nobody can say.
    damaged: BTreeSet<usize>,
    secrets: Secrets<'a>,
    /// What keys stand for that were met already: thousands of routes have the same.
    known: HashMap<(Scope, String), Result<&'static Setting, Diagnostic>>,
    /// Another file names it: it may have pools and routes, and nothing else.
    pub is_included: bool,
    includes: Vec<Given>,
    contents: &'a mut Contents,
    diagnostics: &'a mut Diagnostics,
}

impl<'a> Reading<'a> {
    /// `text` is what is in `file`.
    pub fn new(
        file: &Arc<str>,
        text: &'a str,
        secrets: Secrets<'a>,
        contents: &'a mut Contents,
        diagnostics: &'a mut Diagnostics,
    ) -> Reading<'a> {
        let begins = text.match_indices('\n').map(|(at, _)| at + 1);
        Reading {
            file: Arc::clone(file),
            text,
            lines: std::iter::once(0).chain(begins).collect(),
            quoted: HashMap::new(),
            damaged: BTreeSet::new(),
            secrets,
            known: HashMap::new(),
            is_included: false,
            includes: Vec::new(),
            contents,
            diagnostics,
        }
    }

    /// All of the file, and what was no text of its format, of which `site` tells more. The files that it includes.
    pub fn whole(mut self, root: &Node, errors: Vec<SyntaxError>, site: &str) -> Vec<Given> {
        let is_table = matches!(root.value, Value::Table(_));
        self.contents.is_whole &= errors.is_empty() && is_table;
        let lines: BTreeSet<usize> = errors.iter().map(|error| self.number(&error.span)).collect();
        lines.iter().for_each(|line| self.hide_line(*line));
        for error in syntax::told(errors, |error| self.number(&error.span)) {
            let wrong = match plain(&error.what, error.span.is_empty()) {
                Some((what, right)) => wrong(what, right),
                None => wrong(error.what, format!("see {site} for how to write it")),
            };
            self.refuse("", error.span, wrong);
        }
        self.damaged = lines;
        self.hide_secrets(root);
        if !is_table {
            let right = "write a name and a value a line, such as listen: \":8080\"";
            self.refuse("", root.span.clone(), wrong("this is not a table of settings", right));
        }
        self.table(Place { section: None, path: "", is_item: false }, root);
        self.includes
    }

    /// Lines are quoted where there are mistakes in them; the secrets beside those are not. As many stars stand in the
    /// place of a value, so that all behind it stays where it is.
    fn hide_secrets(&mut self, root: &Node) {
        let (mut spans, mut hidden) = (Vec::new(), BTreeMap::new());
        secrets(root, false, &mut spans);
        for span in spans {
            let Line { column, line, raw, .. } = self.line("", &span, "");
            let octets = hidden.entry(line).or_insert_with(|| raw.as_bytes().to_vec());
            let end = (column + span.len()).min(octets.len());
            octets[column..end].fill(b'*');
        }
        let quoted = hidden.iter().map(|(line, octets)| (*line, String::from_utf8_lossy(octets)));
        self.quoted.extend(quoted.map(|(line, text)| (line, text.into())));
    }

    /// The same of a line that is no text of its format, if by its key, or by that of a line before, it has a secret.
    fn hide_line(&mut self, number: usize) {
        let has_key = |line: &&str| line.contains(['=', ':']);
        let line = |number: usize| self.text[self.lines[number - 1]..].lines().next();
        let own = line(number).unwrap_or_default();
        let before = (1..=number).rev().filter_map(line).find(has_key).unwrap_or_default();
        let mut words = before.split(|c: char| !c.is_alphanumeric());
        if !words.any(|word| !word.is_empty() && may_be_secret(word, true)) {
            return;
        }
        let begins = if has_key(&own) { own.find(['=', ':']).map_or(0, |at| at + 1) } else { 0 };
        let (key, value) = own.split_at(begins);
        let stars = value.bytes().map(|octet| if octet.is_ascii_whitespace() { ' ' } else { '*' });
        let hidden = key.chars().chain(stars).collect::<String>();
        self.quoted.insert(number, hidden.into());
    }

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
                (TOP, "pool") => self.named(POOL, key, node),
                (TOP, "auth") => self.named(AUTH, key, node),
                (TOP, "limit") => self.named(LIMIT, key, node),
                (TOP, "route") => self.routes(key, node),
                _ => {
                    let found = self.setting(scope, name, &path);
                    let place = Place { path: &path, ..place };
                    match found {
                        Ok(setting)
                            if self.is_included
                                && scope == TOP
                                && !OF_INCLUDED.contains(&setting.name) =>
                        {
                            self.refuse("", span.clone(), not_included());
                        }
                        Ok(setting) if !matches!(node.value, Value::Table(_)) => {
                            let (setting, path) = meant(scope, setting, &path, node);
                            self.value(setting, Place { path, ..place }, node);
                        }
                        Ok(setting) if setting.form == Form::Shares && is_pool(node) => {
                            self.in_place(POOL, place, &key.span, node);
                        }
                        Ok(setting)
                            if setting.form.of_pairs().is_some() && !is_table(scope, &path) =>
                        {
                            self.pairs(setting, place, node);
                        }
                        Ok(setting) if has_tables(setting) && !is_table(scope, &path) => {
                            self.value(setting, place, node)
                        }
                        // A redirect to nowhere, or checks of which nothing is said, would be none.
                        _ if is_table(scope, &path) && is_empty(node) && asks(scope, &path) => {
                            let wrong =
                                wrong("this table says nothing", "leave it out, or write a key");
                            self.refuse(&path, node.span.clone(), wrong);
                        }
                        _ if is_table(scope, &path) => self.table(place, node),
                        Ok(setting) if setting.form.of_pairs().is_some() => {
                            self.pairs(setting, place, node);
                        }
                        Ok(setting) => {
                            let what = "a table stands where a value has to be";
                            let right = match (setting.form, setting.form.examples().1.first()) {
                                (Form::Choice(words), _) => {
                                    let word = words.split('|').next().unwrap_or_default();
                                    format!("write {name} = \"{word}\", for example")
                                }
                                (_, Some(example)) => {
                                    format!("write {name} = \"{example}\", for example")
                                }
                                (_, None) => "write a text".to_owned(),
                            };
                            self.refuse(&path, span.clone(), wrong(what, right));
                        }
                        Err(wrong) => self.refuse("", span.clone(), wrong),
                    }
                }
            }
        }
    }

    /// The setting of the key `name`, which is at `path`.
    fn setting(
        &mut self,
        scope: Scope,
        name: &str,
        path: &str,
    ) -> Result<&'static Setting, Diagnostic> {
        let look = || match name.rsplit_once('.') {
            Some((table, key)) if setting(scope, name).is_ok() => {
                let right = format!("write {key} in the table {table}");
                Err(wrong("this name has a dot in it, which makes no table", right))
            }
            Some(_) => Err(unknown(scope, name)),
            None => setting(scope, path),
        };
        self.known.entry((scope, path.to_owned())).or_insert_with(look).clone()
    }

    /// `[pool.NAME]`, `[auth.NAME]` or `[limit.NAME]`, one for each.
    fn named(&mut self, scope: Scope, key: &Key, node: &Node) {
        let (kind, what, name, example) = of_scope(scope);
        let Value::Table(tables) = &node.value else {
            let right =
                format!("write [{kind}.{name}] above the settings of one that is called {name}");
            let wrong = wrong(format!("{what} is a table with a name"), right);
            return self.refuse(kind, key.span.clone(), wrong);
        };
        for (key, node) in tables {
            if !is_name(&key.name) {
                let what = format!("{what} has a name of letters, digits, . - and _");
                let right = format!("write [{kind}.{name}]");
                self.refuse(kind, key.span.clone(), wrong(what, right));
            }
            if !matches!(node.value, Value::Table(_)) {
                let right = format!("write {{ {example} }}");
                let wrong = wrong(format!("{what} is a table"), right);
                self.refuse(kind, node.span.clone(), wrong);
                continue;
            }
            if let Some(section) = self.section(scope, key.name.clone(), &key.span) {
                self.table(Place { section: Some(section), path: "", is_item: false }, node);
            }
        }
    }

    /// `[[route]]`, one for each.
    fn routes(&mut self, key: &Key, node: &Node) {
        if let Value::Table(entries) = &node.value
            && let Some((key, _)) = entries.iter().find(|entry| is_named_route(entry))
        {
            let what = "the name of a route stands in it, and not in its head";
            let right = format!("write [[route]], and name = \"{}\" below it", key.name);
            return self.refuse("route", key.span.clone(), wrong(what, right));
        }
        let routes = match &node.value {
            Value::List(routes) => routes.as_slice(),
            _ => std::slice::from_ref(node),
        };
        for route in routes {
            let number = self.contents.counts.get(&ROUTE).map_or(0, |count| *count) + 1;
            if !matches!(route.value, Value::Table(_)) {
                let right = "write [[route]] above the settings of each route";
                let wrong = wrong("a route is a table", right);
                return self.refuse("route", key.span.clone(), wrong);
            }
            let name = own_name(route).unwrap_or_else(|| format!("route-{number}"));
            let Some(section) = self.section(ROUTE, name, &route.span) else { return };
            self.table(Place { section: Some(section), path: "", is_item: false }, route);
        }
    }

    /// A pool, or another thing with a name, that is written where a route names one.
    fn in_place(&mut self, scope: Scope, place: Place<'_>, span: &Range<usize>, node: &Node) {
        let Some(route) = place.section else { return };
        let kind = of_scope(scope).0;
        // No other route is called so, and so nothing else that is written in place. What is known of it stays with a
        // route that has a name, wherever others come in between.
        let name = format!("{}.own", self.contents.sections[route].name);
        let is_one = |one: &&Section| one.scope == scope && one.name.starts_with(&name);
        let name = match self.contents.sections[route..].iter().filter(is_one).count() {
            0 => name,
            before => format!("{name}-{}", before + 1),
        };
        let origin = Origin::File(self.line(kind, span, ""));
        let given = Given::new(name.as_str(), origin);
        if let (Some(setting), Some(section)) =
            (table::find_in(ROUTE, kind), self.section(scope, name, span))
        {
            self.found(Place { path: kind, ..place }, setting, given);
            self.table(Place { section: Some(section), path: "", is_item: false }, node);
        }
    }

    /// A new section; `None` if there are too many.
    fn section(&mut self, scope: Scope, name: String, span: &Range<usize>) -> Option<usize> {
        let contents = &mut *self.contents;
        let key = of_scope(scope).0;
        let count = contents.counts.entry(scope).or_default();
        let most = match scope {
            POOL => MOST_POOLS,
            ROUTE => MOST_ROUTES,
            _ => MOST_NAMED,
        };
        *count += 1;
        if *count > most {
            let what = format!("there are more than {most} {key}s");
            self.refuse("", span.clone(), wrong(what, "leave some out"));
            return None;
        }
        let number = contents.sections.len();
        let origin = Origin::File(self.line(key, span, ""));
        let given = BTreeMap::new();
        self.contents.sections.push(Section { scope, name, origin, given });
        Some(number)
    }

    fn refuse(&mut self, key: &str, span: Range<usize>, wrong: Diagnostic) {
        if self.damaged.contains(&self.number(&span)) {
            return;
        }
        let Line { column, raw, .. } = self.line(key, &span, "");
        let length = span.len().min(raw.len() - column);
        let value = raw[column..].to_owned();
        let origin = Origin::File(self.line(key, &span, ""));
        self.diagnostics.mistake_in(&origin, &value, 0..length, wrong);
    }

    /// The number of the line in which `span` begins.
    fn number(&self, span: &Range<usize>) -> usize {
        let start = span.start.min(self.text.len());
        self.lines.partition_point(|begin| *begin <= start)
    }

    /// The line in which `span` begins. The column is that of `value`, if it stands there in quotes.
    fn line(&mut self, key: &str, span: &Range<usize>, value: &str) -> Line {
        let (start, line) = (span.start.min(self.text.len()), self.number(span));
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

/// What a table of this scope is called: as a key, in a sentence, an example of a name, and of what is in it.
fn of_scope(scope: Scope) -> (&'static str, &'static str, &'static str, &'static str) {
    match scope {
        POOL => ("pool", "a pool", "shop", "upstream = \"http://127.0.0.1:9001\""),
        AUTH => ("auth", "a kind of credentials", "client", "token = \"{env.AUTH_TOKEN_*}\""),
        LIMIT => ("limit", "a limit", "client", "rate = \"20/s\""),
        _ => ("route", "a route", "shop", "pool = \"shop\""),
    }
}

/// A table may stand where a value of this setting has to be.
fn has_tables(setting: &Setting) -> bool {
    let is_of_top = setting.scope == TOP;
    use Form::{Certificates, Names, Tokens, Urls, Users};
    matches!(setting.form, Certificates | Urls | Tokens | Users | Names)
        || (setting.form == Form::Listens && is_of_top)
}

/// Where the values of secrets stand; `in_auth`: in a table that says who asks.
fn secrets(node: &Node, in_auth: bool, spans: &mut Vec<Range<usize>>) {
    match &node.value {
        Value::Table(entries) => entries.iter().for_each(|(key, node)| {
            let name = key.name.as_str();
            let is_secret = may_be_secret(name, in_auth);
            match node.value {
                Value::Text(_) | Value::Plain(_) if is_secret => spans.push(node.span.clone()),
                // Where the name of its file belongs.
                Value::Text(ref text) if text.contains("PRIVATE KEY-----") => {
                    spans.push(node.span.clone());
                }
                Value::List(_) if is_secret && !has_table(node) => spans.push(node.span.clone()),
                _ => secrets_in(node, is_secret, in_auth || name == "auth", spans),
            }
        }),
        Value::List(items) => items.iter().for_each(|item| secrets(item, in_auth, spans)),
        Value::Text(_) | Value::Plain(_) | Value::Null => {}
    }
}

/// Whether a secret stands at a key of this name, or at one that it is mistaken for.
fn may_be_secret(name: &str, in_auth: bool) -> bool {
    let of_auth = if in_auth { &SECRETS_OF_AUTH[..] } else { &[] };
    let mut known = SECRETS.iter().chain(of_auth);
    let is_setting = |scope| table::find_in(scope, name).is_some();
    let is_known = [TOP, POOL, ROUTE].into_iter().any(is_setting)
        || table::settings_of(AUTH).any(|setting| key_of_scope(AUTH, setting.name) == name);
    match is_known {
        true => known.any(|one| *one == name),
        false => nearest(name, known.copied()).is_some(),
    }
}

/// The same in a list of secrets, of which some are tables.
fn secrets_in(node: &Node, is_secret: bool, in_auth: bool, spans: &mut Vec<Range<usize>>) {
    match &node.value {
        Value::List(items) if is_secret => items.iter().for_each(|item| match item.value {
            Value::Text(_) | Value::Plain(_) => spans.push(item.span.clone()),
            _ => secrets(item, in_auth, spans),
        }),
        _ => secrets(node, in_auth, spans),
    }
}

fn has_table(node: &Node) -> bool {
    let is_table = |item: &Node| matches!(item.value, Value::Table(_));
    matches!(&node.value, Value::List(items) if items.iter().any(is_table))
}

/// The name that a route gives itself, as far as it can be used.
fn own_name(route: &Node) -> Option<String> {
    let Value::Table(entries) = &route.value else { return None };
    let (_, node) = entries.iter().find(|(key, _)| key.name == "name")?;
    match &node.value {
        Value::Text(name) | Value::Plain(name) if is_name(name) => Some(name.clone()),
        _ => None,
    }
}

/// A table that says itself which upstreams a pool has, in place of naming one.
fn is_pool(node: &Node) -> bool {
    let Value::Table(entries) = &node.value else { return false };
    let is_setting = |(key, node): &(Key, Node)| {
        let is_weight = matches!(node.value, Value::Plain(_));
        key.name == "upstream" || (!is_weight && table::find_in(POOL, &key.name).is_some())
    };
    entries.iter().any(is_setting)
}

/// A table below `route` that no key of routes is called.
fn is_named_route((key, node): &(Key, Node)) -> bool {
    let is_key = setting(ROUTE, &key.name).is_ok() || is_table(ROUTE, &key.name);
    matches!(node.value, Value::Table(_)) && !is_key
}

/// What a value is of that stands at the name of a table, and the key of that: a path is no switch.
fn meant<'p>(
    scope: Scope,
    setting: &'static Setting,
    path: &'p str,
    node: &Node,
) -> (&'static Setting, &'p str) {
    let is_path = matches!(&node.value, Value::Text(text) if text.contains('/'));
    match main_key(scope, path).filter(|_| is_path && setting.form == Form::Switch) {
        Some(main) => (main, key_of_scope(scope, main.name)),
        None => (setting, path),
    }
}

/// A table of this name asks for something, and is not only about what there is anyway.
fn asks(scope: Scope, path: &str) -> bool {
    scope != TOP || main_key(TOP, path).is_some_and(|main| main.scope & POOL != 0)
}

fn is_empty(node: &Node) -> bool {
    matches!(&node.value, Value::Table(entries) if entries.is_empty())
}

/// A setting of the process in a file of routes.
fn not_included() -> Diagnostic {
    let what = "a file that another includes has pools, routes, auth, limit and list only";
    wrong(what, "put it into the first file")
}

/// A list that is empty could mean nobody or everybody.
fn empty() -> Diagnostic {
    wrong("a list that is empty says nothing", "leave the key out, or write a value")
}
