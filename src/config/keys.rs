//! Keys of a configuration file: which setting each of them is, in the table where it stands.
//!
//! A setting has the same name everywhere (`--read-timeout`, `read-timeout = "5s"`), but a few lie in a table of their
//! subject (`--log-format`, `format` under `[log]`). A table's own name, given a text, fills its main key. Pools and
//! routes are tables of their own, each with settings that hold there.

use super::diagnostics::{Diagnostic, nearest, wrong};
use super::table::{self, AUTH, Form, LIMIT, POOL, ROUTE, Scope, Setting, TOP};
use crate::http::grammar;

/// Settings that lie in a table, and the keys that say so; the first of a table is its main key, and the first of a
/// setting the one that is printed.
const IN_TABLES: [(&str, &str); 57] = [
    ("admin", "admin.address"),
    ("admin-token", "admin.token"),
    ("tls-cert", "tls.certificate"),
    ("tls-cert", "tls.cert"),
    ("tls-key", "tls.key"),
    ("tls-self-signed", "tls.self-signed"),
    ("tls-acme", "tls.acme"),
    ("tls-acme-directory", "tls.acme-directory"),
    ("tls-acme-contact", "tls.acme-contact"),
    ("tls-acme-challenge", "tls.acme-challenge"),
    ("tls-acme-ca", "tls.acme-ca"),
    ("tls-acme-eab-kid", "tls.acme-eab-kid"),
    ("tls-acme-eab-key", "tls.acme-eab-key"),
    ("tls-min-version", "tls.min-version"),
    ("tls-client-ca", "tls.client-ca"),
    ("tls-crl", "tls.crl"),
    ("upstream-tls-ca", "upstream-tls.ca"),
    ("upstream-tls-server-name", "upstream-tls.server-name"),
    ("upstream-tls-cert", "upstream-tls.cert"),
    ("upstream-tls-key", "upstream-tls.key"),
    ("upstream-tls-verify", "upstream-tls.verify"),
    ("access-log-audit", "access-log.audit"),
    ("cors-origin", "cors.origin"),
    ("cors-method", "cors.method"),
    ("cors-header", "cors.header"),
    ("cors-expose", "cors.expose"),
    ("cors-credentials", "cors.credentials"),
    ("cors-max-age", "cors.max-age"),
    ("log", "log.level"),
    ("log-format", "log.format"),
    ("access-log", "access-log.format"),
    ("access-log-file", "access-log.file"),
    ("request-header", "request-header.set"),
    ("response-header", "response-header.set"),
    ("redirect", "redirect.to"),
    ("respond", "respond.body"),
    ("respond.type", "respond.content-type"),
    ("sticky-cookie", "sticky.cookie"),
    ("sticky-max-age", "sticky.max-age"),
    ("sticky-secret", "sticky.secret"),
    ("queue-max-requests", "queue.max-requests"),
    ("queue-size", "queue.size"),
    ("queue-wait", "queue.wait"),
    ("health-path", "health.path"),
    ("health-method", "health.method"),
    ("health-host", "health.host"),
    ("health-status", "health.status"),
    ("health-body", "health.body"),
    ("health-interval", "health.interval"),
    ("health-timeout", "health.timeout"),
    ("health-fall", "health.fall"),
    ("health-rise", "health.rise"),
    ("breaker-failures", "breaker.failures"),
    ("breaker-open", "breaker.open"),
    ("breaker-probes", "breaker.probes"),
    ("breaker-on", "breaker.on"),
    ("breaker-fail-open", "breaker.fail-open"),
];

/// Main keys of tables whose own name, given a text, is not the name of a setting, or of another.
const MAIN: [(&str, &str); 6] = [
    ("tls", "tls-cert"),
    ("upstream-tls", "upstream-tls-ca"),
    ("health", "health-path"),
    ("sticky", "sticky-cookie"),
    ("queue", "queue-max-requests"),
    ("cors", "cors-origin"),
];

/// What the flags of a table begin with that has a name of its own, of which they mean the one called `default`.
const NAMED: [(Scope, &str); 2] = [(AUTH, "auth-"), (LIMIT, "limit-")];

/// Keys that are settled but not built, and so are all below them.
const LATER: [&str; 12] = [
    "compress",
    "redis",
    "cache",
    "admin.dashboard",
    "access-log.skip",
    "detach",
    "store",
    "dedup",
    "websocket",
    "rate",
    "decompress",
    "host-rewrite",
];

/// Settings that only make sense outside a configuration file.
const OUTSIDE: [&str; 3] = ["config", "env-file", "rate-limit"];

/// The setting that the key at `path` stands for, in a table of this `scope`.
pub fn setting(scope: Scope, path: &str) -> Result<&'static Setting, Diagnostic> {
    if let Some((_, lead)) = NAMED.iter().find(|(named, _)| *named == scope) {
        let own = table::find_in(scope, &format!("{lead}{path}"));
        // `store` of a limit, for one.
        let later =
            || LATER.contains(&path).then(|| wrong("this is not there yet", "leave it out"));
        return own.ok_or_else(|| later().unwrap_or_else(|| unknown(scope, path)));
    }
    let of_named = NAMED.iter().find_map(|(_, lead)| Some((*lead, path.strip_prefix(lead)?)));
    if let (TOP, Some((lead, key))) = (scope, of_named)
        && table::find_in(TOP, path).is_some()
    {
        let right = format!("write {key} under [{}default]", lead.replace('-', "."));
        return Err(wrong("this belongs into a table with a name", right));
    }
    let is_under = |table: &str| path == table || path.starts_with(&format!("{table}."));
    if LATER.iter().any(|later| is_under(later)) {
        return Err(wrong("this is not there yet", "leave it out"));
    }
    if path == "rate-limit" {
        let right = "write rate = \"100/s\" and by = \"all\" under [limit.default]";
        return Err(wrong("this is a flag, and has a table in a file", right));
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
        let pool = if scope == POOL { "pool.NAME." } else { "" };
        let right = format!("write {key} under [{pool}{table}]");
        return Err(wrong("this belongs into a table", right));
    }
    match table::find_in(scope, path).or_else(|| main_key(scope, path)) {
        Some(setting) => Ok(setting),
        None => Err(unknown(scope, path)),
    }
}

/// The setting that a table's own name stands for, given a text.
pub fn main_key(scope: Scope, table: &str) -> Option<&'static Setting> {
    let main = MAIN.iter().find(|(known, _)| *known == table).map(|(_, name)| *name);
    table::find_in(scope, main.unwrap_or(table)).filter(|_| is_table(scope, table))
}

/// No key of a table of this `scope` is called so in a file.
pub fn is_outside(scope: Scope, name: &str) -> bool {
    OUTSIDE.contains(&name) || (scope == TOP && is_of_named(name))
}

/// As a flag it is about a table with a name: the one called `default`.
pub fn is_of_named(name: &str) -> bool {
    let is_of = |(scope, _): &(Scope, &str)| table::find_in(*scope, name).is_some();
    NAMED.iter().any(is_of)
}

/// The key of a setting at the top.
pub fn key_of(name: &'static str) -> &'static str {
    key_of_scope(TOP, name)
}

/// The key of a setting in a table of this `scope`.
pub fn key_of_scope(scope: Scope, name: &'static str) -> &'static str {
    if let Some((_, lead)) = NAMED.iter().find(|(named, _)| *named == scope) {
        return name.strip_prefix(lead).unwrap_or(name);
    }
    let in_table = IN_TABLES.iter().find(|(known, _)| *known == name);
    in_table.filter(|_| table::find_in(scope, name).is_some()).map_or(name, |(_, key)| key)
}

/// All keys that it may have there.
pub fn keys_of_scope(scope: Scope, name: &'static str) -> Vec<&'static str> {
    let main = key_of_scope(scope, name);
    let is_other = |(known, key): &&(&str, &str)| *known == name && *key != main;
    let others = IN_TABLES.iter().filter(is_other).filter(|_| main != name);
    std::iter::once(main).chain(others.map(|(_, key)| *key)).collect()
}

/// The path of a table of settings, in a table of this `scope`.
pub fn is_table(scope: Scope, path: &str) -> bool {
    if NAMED.iter().any(|(named, _)| *named == scope) {
        return false;
    }
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
        AUTH => "[auth.NAME]",
        LIMIT => "[limit.NAME]",
        _ => "the top, above all tables",
    }
}

pub fn unknown(scope: Scope, path: &str) -> Diagnostic {
    let what = "no setting has this name";
    let (table, key) = path.rsplit_once('.').unwrap_or(("", path));
    if !table.is_empty() && scope == TOP && setting(TOP, key).is_ok() {
        return wrong(
            "this key is not of this table",
            format!("put it at the top, above [{table}]"),
        );
    }
    for other in [POOL, ROUTE, TOP] {
        if other != scope && table::find_in(other, key).is_some() && !is_outside(other, key) {
            let what = match scope {
                POOL => "a pool has no such key",
                ROUTE => "a route has no such key",
                AUTH | LIMIT => "this table has no such key",
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
    let direct = table::settings_of(scope).filter(|setting| !is_outside(scope, setting.name));
    let direct = direct.filter_map(|setting| match setting.name.contains('.') {
        true => in_table(setting.name),
        false => table.is_empty().then_some(key_of_scope(scope, setting.name)),
    });
    let tables =
        ["pool", "route", "auth", "limit"].into_iter().filter(|_| scope == TOP && table.is_empty());
    match nearest(key, keys.chain(direct).chain(tables)) {
        Some(near) => wrong(what, format!("did you mean {near}?")),
        None if scope == TOP => wrong(what, "tidegate --help lists all names"),
        None => wrong(what, format!("the manual lists all keys of {}", table_of(scope))),
    }
}

/// A name in a table of pairs, which does not run into its value where the two are one text.
pub fn is_one_name(form: Form, name: &str) -> bool {
    match form {
        Form::Lines | Form::Claims => grammar::is_token(name.as_bytes()),
        Form::Pairs | Form::Shares | Form::Lists => !name.is_empty() && !name.contains('='),
        _ => true,
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
            ("tls.certificat", "did you mean certificate?"),
            ("tls-client-ca", "write client-ca under [tls]"),
            ("compress", "leave it out"),
            ("env-file", "give it as a flag"),
            ("banana", "tidegate --help lists all names"),
        ] {
            let advice = setting(TOP, path).expect_err(path).right();
            assert_eq!(advice, right, "{path}");
        }
    }
}
