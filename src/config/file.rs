//! The configuration file: from its keys to settings, and every key that is not one of them.
//!
//! A setting has the same name everywhere (`--read-timeout`, `read-timeout = "5s"`), but a few lie in a table of their
//! subject (`--log-format`, `format` under `[log]`). A table's own name, given a text, fills its main key.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use super::diagnostics::{Diagnostic, Diagnostics, nearest, wrong};
use super::given::{Given, Line, Origin};
use super::table::{self, Form, Setting};
use super::toml;
use super::tree::{Key, Node, Value};
use super::yaml;

/// The largest file that is read, in octets.
pub const LARGEST: usize = 1024 * 1024;

/// Settings that lie in a table, and the keys that say so; the first of a table is its main key.
const IN_TABLES: [(&str, &str); 5] = [
    ("admin", "admin.address"),
    ("log", "log.level"),
    ("log-format", "log.format"),
    ("access-log", "access-log.format"),
    ("access-log-file", "access-log.file"),
];

/// Keys that are settled but not built, and so are all below them.
const LATER: [&str; 25] = [
    "include",
    "compress",
    "error-page",
    "tls",
    "redis",
    "pool",
    "auth",
    "limit",
    "list",
    "cache",
    "route",
    "admin.token",
    "admin.dashboard",
    "access-log.skip",
    "access-log.audit",
    "health",
    "breaker",
    "balance",
    "resolve",
    "sticky",
    "queue",
    "retry-on",
    "retry-budget",
    "slow-start",
    "upstream-tls",
];

/// Settings that only make sense outside a configuration file.
const OUTSIDE: [&str; 2] = ["config", "env-file"];

/// The settings of the file that was asked for, with every mistake in it noted, and whether it could be taken apart
/// from beginning to end. Reads that file and nothing else.
pub fn read(
    asked: &Given,
    cwd: &Path,
    diagnostics: &mut Diagnostics,
) -> (Vec<(&'static Setting, Given)>, bool) {
    let Given { text: file, origin } = asked;
    let text = match read_bounded(&cwd.join(&**file)) {
        Ok(text) => text,
        Err(error) => {
            let what = format!("cannot read {file}: {error}");
            let right = wrong(what, "name a file that can be read");
            diagnostics.mistake_in(origin, file, 0..file.len(), right);
            return (Vec::new(), false);
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
        diagnostics,
        found: Vec::new(),
    };
    let is_whole = errors.is_empty() && matches!(root.value, Value::Table(_));
    for error in errors {
        reading.refuse(
            "",
            error.span,
            wrong(error.what, format!("see {site} for how to write it")),
        );
    }
    if !matches!(root.value, Value::Table(_)) {
        let right = "write a name and a value a line, such as listen: \":8080\"";
        reading.refuse("", root.span.clone(), wrong("this is not a table of settings", right));
    }
    reading.table("", &root);
    (reading.found, is_whole)
}

/// Not more than may be read, as text.
fn read_bounded(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(LARGEST as u64 + 1).read_to_string(&mut text)?;
    if text.len() > LARGEST {
        return Err(io::Error::other(format!("it is larger than {} MiB", LARGEST >> 20)));
    }
    Ok(text)
}

/// A file that is being read.
struct Reading<'a> {
    file: Arc<str>,
    text: &'a str,
    /// Where each line begins, and those that were quoted already.
    lines: Vec<usize>,
    quoted: HashMap<usize, Arc<str>>,
    diagnostics: &'a mut Diagnostics,
    found: Vec<(&'static Setting, Given)>,
}

impl Reading<'_> {
    /// All entries of the table at `path`, which is empty at the top.
    fn table(&mut self, path: &str, node: &Node) {
        let Value::Table(entries) = &node.value else { return };
        for (Key { name, span }, node) in entries {
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            let found = if name.contains('.') { Err(unknown(name)) } else { setting(&path) };
            match found {
                Ok(setting) if !matches!(node.value, Value::Table(_)) => {
                    self.value(setting, &path, node);
                }
                _ if is_table(&path) => self.table(&path, node),
                Ok(_) => {
                    let what = "a table stands where a value has to be";
                    self.refuse(&path, span.clone(), wrong(what, "write a text"));
                }
                Err(wrong) => self.refuse("", span.clone(), wrong),
            }
        }
    }

    /// The value of a setting, or several where it takes a list.
    fn value(&mut self, setting: &'static Setting, path: &str, node: &Node) {
        let text = match &node.value {
            Value::Text(text) if setting.form == Form::File => self.beside(text),
            Value::Text(text) | Value::Plain(text) => text.clone(),
            Value::List(items) if takes_list(setting.form) => {
                return items.iter().for_each(|item| self.value(setting, path, item));
            }
            Value::List(_) => {
                let what = "one value is possible here";
                return self.refuse(path, node.span.clone(), wrong(what, "take the brackets away"));
            }
            Value::Table(_) => {
                let what = "options are not there yet";
                return self.refuse(path, node.span.clone(), wrong(what, "write a text"));
            }
        };
        let origin = Origin::File(self.line(path, &node.span, &text));
        self.found.push((setting, Given { text: text.into(), origin }));
    }

    /// A path that the file names: relative to the file.
    fn beside(&self, path: &str) -> String {
        let folder = Path::new(&*self.file).parent().unwrap_or(Path::new(""));
        folder.join(path).to_string_lossy().into_owned()
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

/// The setting that the key at `path` stands for.
pub fn setting(path: &str) -> Result<&'static Setting, Diagnostic> {
    let is_under = |table: &str| path == table || path.starts_with(&format!("{table}."));
    if LATER.iter().any(|later| is_under(later)) {
        return Err(wrong("this is not there yet", "leave it out"));
    }
    if OUTSIDE.contains(&path) {
        return Err(wrong("a configuration file cannot name this", "give it as a flag"));
    }
    let in_table = IN_TABLES.iter().find(|(_, key)| *key == path);
    if let Some(setting) = in_table.and_then(|(name, _)| table::find(name)) {
        return Ok(setting);
    }
    let misplaced = IN_TABLES.iter().find(|(name, _)| *name == path && !is_table(path));
    if let Some((_, key)) = misplaced
        && let Some((table, key)) = key.split_once('.')
    {
        return Err(wrong("this belongs into a table", format!("write {key} under [{table}]")));
    }
    match table::find(path) {
        Some(setting) => Ok(setting),
        None => Err(unknown(path)),
    }
}

/// The path of a table of settings.
fn is_table(path: &str) -> bool {
    IN_TABLES.iter().any(|(_, key)| key.split_once('.').is_some_and(|(table, _)| table == path))
}

fn takes_list(form: Form) -> bool {
    matches!(form, Form::Listens | Form::Urls | Form::Networks | Form::Protocols | Form::Fields)
}

fn unknown(path: &str) -> Diagnostic {
    let what = "no setting has this name";
    let (table, key) = path.rsplit_once('.').unwrap_or(("", path));
    if !table.is_empty() && setting(key).is_ok() {
        return wrong(
            "this key is not of this table",
            format!("put it at the top, above [{table}]"),
        );
    }
    let in_table = |(_, known): &(&'static str, &'static str)| {
        known.rsplit_once('.').filter(|(other, _)| *other == table).map(|(_, key)| key)
    };
    let at_top = table::settings().map(|setting| setting.name).filter(|_| table.is_empty());
    match nearest(key, IN_TABLES.iter().filter_map(in_table).chain(at_top)) {
        Some(near) => wrong(what, format!("did you mean {near}?")),
        None => wrong(what, "tidegate --help lists all names"),
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
            assert_eq!(setting(path).map(|setting| setting.name), Ok(name), "{path}");
        }
        for (path, right) in [
            ("log-format", "write format under [log]"),
            ("admin.read-timeout", "put it at the top, above [admin]"),
            ("red-timeout", "did you mean read-timeout?"),
            ("log.levle", "did you mean level?"),
            ("tls.certificate", "leave it out"),
            ("route", "leave it out"),
            ("env-file", "give it as a flag"),
            ("banana", "tidegate --help lists all names"),
        ] {
            let advice = setting(path).expect_err(path).right();
            assert_eq!(advice, right, "{path}");
        }
    }
}
