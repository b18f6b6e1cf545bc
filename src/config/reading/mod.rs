//! A file as a tree -> what is given at the top, and in each pool and route. `values`: the texts that stand at a key.

mod values;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;
use std::sync::Arc;

use super::conditions::is_name;
use super::diagnostics::{Diagnostic, Diagnostics, wrong};
use super::file::{Contents, Section};
use super::given::{Given, Line, Origin};
use super::keys::{is_table, key_of_scope, main_key, setting, unknown};
use super::secrets::Secrets;
use super::syntax::{self, plain};
use super::table::{self, Form, POOL, ROUTE, Scope, Setting, TOP};
use super::tree::{Key, Node, SyntaxError, Value};

/// Pools at most; and routes.
const MOST_POOLS: usize = 16_384;
const MOST_ROUTES: usize = 100_000;

/// The key of a secret, in whatever table.
const SECRET: &str = "secret";

/// Where in the tree a key stands.
#[derive(Clone, Copy)]
struct Place<'a> {
    /// The section, by its number; `None`: the top.
    section: Option<usize>,
    /// The tables around it, in the section or at the top.
    path: &'a str,
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
        self.table(Place { section: None, path: "" }, root);
        self.includes
    }

    /// Lines are quoted where there are mistakes in them; the secrets beside those are not. As many stars stand in the
    /// place of a value, so that all behind it stays where it is.
    fn hide_secrets(&mut self, root: &Node) {
        let (mut spans, mut hidden) = (Vec::new(), BTreeMap::new());
        secrets(root, &mut spans);
        for span in spans {
            let Line { column, line, raw, .. } = self.line("", &span, "");
            let octets = hidden.entry(line).or_insert_with(|| raw.as_bytes().to_vec());
            let end = (column + span.len()).min(octets.len());
            octets[column..end].fill(b'*');
        }
        let quoted = hidden.iter().map(|(line, octets)| (*line, String::from_utf8_lossy(octets)));
        self.quoted.extend(quoted.map(|(line, text)| (line, text.into())));
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
                (TOP, "pool") => self.pools(key, node),
                (TOP, "route") => self.routes(key, node),
                _ => {
                    let found = self.setting(scope, name, &path);
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
                            let (setting, path) = meant(scope, setting, &path, node);
                            self.value(setting, Place { path, ..place }, node);
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
            if !is_name(&key.name) {
                let what = "a pool has a name of letters, digits, . - and _";
                self.refuse("pool", key.span.clone(), wrong(what, "write [pool.shop]"));
            }
            if !matches!(node.value, Value::Table(_)) {
                let right = "write { upstream = \"http://127.0.0.1:9001\" }";
                self.refuse("pool", node.span.clone(), wrong("a pool is a table", right));
                continue;
            }
            if let Some(section) = self.section(POOL, key.name.clone(), &key.span) {
                self.table(Place { section: Some(section), path: "" }, node);
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
            let number = self.contents.routes + 1;
            if !matches!(route.value, Value::Table(_)) {
                let right = "write [[route]] above the settings of each route";
                let wrong = wrong("a route is a table", right);
                return self.refuse("route", key.span.clone(), wrong);
            }
            let Some(section) = self.section(ROUTE, format!("route-{number}"), &route.span) else {
                return;
            };
            self.table(Place { section: Some(section), path: "" }, route);
        }
    }

    /// A pool that is written where a route names one.
    fn pool_in_place(&mut self, place: Place<'_>, key: &Key, node: &Node) {
        let Some(route) = place.section else { return };
        // No other route is called so, and so no other pool that is written in place.
        let name = format!("{}.own", self.contents.sections[route].name);
        let origin = Origin::File(self.line("pool", &key.span, ""));
        let given = Given::new(name.as_str(), origin);
        if let (Some(setting), Some(section)) =
            (table::find_in(ROUTE, "pool"), self.section(POOL, name, &key.span))
        {
            self.found(Place { path: "pool", ..place }, setting, given);
            self.table(Place { section: Some(section), path: "" }, node);
        }
    }

    /// A new section; `None` if there are too many.
    fn section(&mut self, scope: Scope, name: String, span: &Range<usize>) -> Option<usize> {
        let contents = &mut *self.contents;
        let (most, count, what) = match scope {
            POOL => (MOST_POOLS, &mut contents.pools, "pools"),
            _ => (MOST_ROUTES, &mut contents.routes, "routes"),
        };
        *count += 1;
        if *count > most {
            let what = format!("there are more than {most} {what}");
            self.refuse("", span.clone(), wrong(what, "leave some out"));
            return None;
        }
        let number = self.contents.sections.len();
        let key = if scope == POOL { "pool" } else { "route" };
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

/// Where the values of secrets stand.
fn secrets(node: &Node, spans: &mut Vec<Range<usize>>) {
    match &node.value {
        Value::Table(entries) => entries.iter().for_each(|(key, node)| match node.value {
            Value::Text(_) | Value::Plain(_) | Value::List(_) if key.name == SECRET => {
                spans.push(node.span.clone());
            }
            _ => secrets(node, spans),
        }),
        Value::List(items) => items.iter().for_each(|item| secrets(item, spans)),
        Value::Text(_) | Value::Plain(_) | Value::Null => {}
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

/// A list that is empty could mean nobody or everybody.
fn empty() -> Diagnostic {
    wrong("a list that is empty says nothing", "leave the key out, or write a value")
}
