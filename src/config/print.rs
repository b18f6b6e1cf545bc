//! Settings as the configuration file that asks for them.

use std::fmt::Write;

use serde_json::{Map, Value, json};

use super::file::Section;
use super::header::HeaderRules;
use super::plan::*;
use super::pool::*;
use super::route::*;
use super::sections::DEFAULT;
use super::securing::CertificateFiles;
use super::show::value_of;
use super::shown::Shown;
use super::table::{self, AUTH, Effect, Form, LIMIT, POOL, ROUTE, Scope, Setting, TOP};
use super::{keys, values, written, written_gate};
use crate::base::digits;

/// The settings as JSON.
pub fn json(plan: &Plan) -> String {
    let text = serde_json::to_string_pretty(&tree(plan));
    text.map_or_else(|error| error.to_string(), |text| text + "\n")
}

/// The settings as TOML, with where each came from, if that is asked for.
pub fn toml(shown: &Shown) -> String {
    let Shown { built, layers, origin, .. } = shown;
    let of_section = |path: &str| {
        let (scope, name) = match path.split_once('.')? {
            ("pool", name) => (POOL, name),
            ("auth", name) => (AUTH, name),
            ("limit", name) => (LIMIT, name),
            (_, name) => (ROUTE, name),
        };
        let own = |section: &&Section| {
            let given = section.given.get("name").and_then(|given| given.last());
            section.scope == scope && given.map_or(&*section.name, |given| &*given.text) == name
        };
        layers.sections.iter().find(own).map(|section| section.origin.to_string())
    };
    let comment = |path: &str| match path {
        _ if !origin => String::new(),
        path if NAMED.iter().any(|kind| path.starts_with(kind)) => {
            of_section(path).map_or_else(String::new, |origin| format!("  # {origin}"))
        }
        path => match keys::setting(TOP, path) {
            Ok(setting) => format!("  # {}", shown.origin_of(setting.name)),
            Err(_) => String::new(),
        },
    };
    let mut out = String::new();
    if let Value::Object(tree) = &tree(&built.plan) {
        table(&mut out, "", tree, &comment);
    }
    out + &shown.remarks()
}

/// The keys of the file and their values.
fn tree(plan: &Plan) -> Value {
    let mut root = Map::new();
    for setting in table::settings().filter(|setting| setting.effect != Effect::NoPlan) {
        let is_below = matches!(setting.name, "request-header" | "response-header" | "upstream");
        if is_below || keys::is_of_named(setting.name) {
            continue;
        }
        let text = value_of(setting.name, plan);
        setting_in(&mut root, TOP, setting, text);
    }
    exchange(&mut root, None, &plan.exchange);
    let mut pools = Map::new();
    for pool in &plan.pools {
        let upstreams: Value = pool.upstreams.iter().map(upstream).collect();
        if *pool.name == *DEFAULT && pool.exchange == plan.exchange {
            root.insert("upstream".into(), upstreams);
            continue;
        }
        let mut own = Map::new();
        own.insert("upstream".into(), upstreams);
        for (name, text) in written::care(pool) {
            setting_in(&mut own, POOL, super::settings::setting(name), text);
        }
        exchange(&mut own, Some(&plan.exchange), &pool.exchange);
        pools.insert(pool.name.to_string(), Value::Object(own));
    }
    if !pools.is_empty() {
        root.insert("pool".into(), Value::Object(pools));
    }
    let has_section = |route: &&RouteSpec| route.source == RouteSource::Section;
    if !plan.lists.is_empty() {
        let lists = plan.lists.iter().map(|(name, list)| (name.clone(), json!(list.written)));
        root.insert("list".into(), lists.collect());
    }
    for (kind, scope, tables) in [
        (
            "auth",
            AUTH,
            plan.auths.iter().map(|one| (&one.name, written_gate::auth(one))).collect::<Vec<_>>(),
        ),
        (
            "limit",
            LIMIT,
            plan.limits.iter().map(|one| (&one.name, written_gate::limit(one))).collect(),
        ),
    ] {
        let mut all = Map::new();
        for (name, rows) in tables {
            let mut own = Map::new();
            for (name, text) in rows {
                if let Some(setting) = table::find_in(scope, name) {
                    setting_in(&mut own, scope, setting, text);
                }
            }
            all.insert(name.to_string(), Value::Object(own));
        }
        if !all.is_empty() {
            root.insert(kind.into(), Value::Object(all));
        }
    }
    let routes: Vec<Value> =
        plan.routes.iter().filter(has_section).map(|one| route(plan, one)).collect();
    if !routes.is_empty() {
        root.insert("route".into(), Value::Array(routes));
    }
    Value::Object(root)
}

/// Puts in a setting, if anything is said of it.
fn setting_in(out: &mut Map<String, Value>, scope: Scope, setting: &Setting, text: String) {
    let value = match setting.form {
        // What the top looks for, a pool may not.
        Form::Literal if scope == POOL => Value::from(text),
        _ if text.is_empty() => return,
        Form::Certificates => text.split(',').map(certificate).collect(),
        Form::Roles => text.lines().map(Value::from).collect(),
        form if form.takes_list() => text.split(',').map(Value::from).collect(),
        // The keys of its table switch it on.
        Form::Switch if text == "on" && keys::is_table(scope, setting.name) => return,
        Form::Switch => json!(text == "on"),
        Form::Count | Form::CountOrOff if let Some(number) = digits(&text) => json!(number),
        _ => Value::from(text),
    };
    put(out, keys::key_of_scope(scope, setting.name), value);
}

fn certificate(text: &str) -> Value {
    let CertificateFiles { cert, key, ocsp } = CertificateFiles::of(text);
    let parts = [("cert", Some(cert)), ("key", key), ("ocsp", ocsp)];
    parts.into_iter().filter_map(|(name, path)| Some((name.to_owned(), json!(path?)))).collect()
}

fn upstream(upstream: &UpstreamSpec) -> Value {
    match (upstream.weight, upstream.backup) {
        (1, false) => json!(upstream.name),
        (weight, false) => json!({ "url": upstream.name, "weight": weight }),
        (weight, true) => json!({ "url": upstream.name, "weight": weight, "backup": true }),
    }
}

fn duration(duration: std::time::Duration) -> Value {
    json!(values::show_duration(duration).to_string())
}

/// What differs from `above`; all that no flag says, where there is nothing above.
fn exchange(out: &mut Map<String, Value>, above: Option<&ExchangeSpec>, spec: &ExchangeSpec) {
    if let Some(above) = above {
        let size = |octets| json!(values::show(Form::Size, octets));
        let mut differs = |key: &str, before: Value, after: Value| {
            if before != after {
                out.insert(key.to_owned(), after);
            }
        };
        let [before, after] = [above, spec].map(|spec| {
            let Timeouts { connect, read, write, response, tunnel_idle, expect } = spec.timeouts;
            let retry = &spec.retry;
            let on = retry.on.to_string().split(',').map(Value::from).collect();
            [
                ("max-body", spec.max_body.map_or(json!("off"), size)),
                ("min-rate", spec.min_rate.map_or(json!("off"), size)),
                (
                    "host-header",
                    json!(if spec.host == HostHeader::Pass { "pass" } else { "upstream" }),
                ),
                ("backend-header", json!(spec.backend_header)),
                ("allow-upgrade", json!(spec.upgrades)),
                ("half-close", json!(spec.half_close)),
                ("max-retries", json!(retry.most)),
                ("retry-on", on),
                ("try-timeout", duration(retry.try_timeout)),
                ("hedge", duration(retry.hedge)),
                ("retry-buffer", size(retry.buffer as u64)),
                ("connect-timeout", duration(connect)),
                ("read-timeout", duration(read)),
                ("write-timeout", duration(write)),
                ("response-timeout", duration(response)),
                ("tunnel-idle-timeout", duration(tunnel_idle)),
                ("expect-timeout", duration(expect)),
            ]
        });
        before.into_iter().zip(after).for_each(|((key, one), (_, other))| differs(key, one, other));
    }
    let none = HeaderRules::default();
    for (key, rules, known) in [
        (
            "request-header",
            &spec.request_header,
            above.map_or(&none, |above| &above.request_header),
        ),
        (
            "response-header",
            &spec.response_header,
            above.map_or(&none, |above| &above.response_header),
        ),
    ] {
        let own = header_rules(known, rules);
        if !own.is_empty() {
            out.insert(key.into(), Value::Object(own));
        }
    }
    // Those of above stand behind its own.
    let inherited = above.map_or(0, |above| above.error_pages.len());
    let own = &spec.error_pages[..spec.error_pages.len().saturating_sub(inherited)];
    if !own.is_empty() {
        let pages = own.iter().rev().map(|page| {
            let (first, last) = page.statuses;
            let statuses =
                if first == last { first.to_string() } else { format!("{first}-{last}") };
            (statuses, json!(page.file.to_string_lossy()))
        });
        out.insert("error-page".into(), pages.collect());
    }
}

/// What `rules` have beyond those of above: what is set, added and removed.
fn header_rules(above: &HeaderRules, rules: &HeaderRules) -> Map<String, Value> {
    // What is left of the lines of above stands first.
    let mut kept = 0;
    for line in &above.lines {
        kept += usize::from(rules.lines.get(kept) == Some(line));
    }
    let (inherited, own) = rules.lines.split_at(kept);
    let left = |name: &str| inherited.iter().any(|line| line.name.eq_ignore_ascii_case(name));
    let mut removed: Vec<&str> = rules.removed.iter().map(String::as_str).collect();
    removed.retain(|name| !left(name));
    let [mut set, mut add] = [Map::new(), Map::new()];
    for line in own {
        let place = if removed.iter().any(|name| name.eq_ignore_ascii_case(&line.name)) {
            &mut set
        } else {
            &mut add
        };
        let values = place.entry(line.name.clone()).or_insert_with(|| json!([]));
        let text = json!(line.value.to_string());
        // A list that was read from elsewhere stands there once.
        if let Value::Array(values) = values
            && !(line.value.is_masked() && values.last() == Some(&text))
        {
            values.push(text);
        }
    }
    // What is removed above is so still, unless lines of it had been put in since.
    let is_news = |name: &&str| {
        let put_in = above.lines.iter().any(|line| line.name.eq_ignore_ascii_case(name));
        put_in || !above.removed.iter().any(|known| known.eq_ignore_ascii_case(name))
    };
    removed.retain(|name| {
        is_news(name) && !own.iter().any(|line| line.name.eq_ignore_ascii_case(name))
    });
    let mut out = Map::new();
    for (key, value) in [("set", Value::Object(set)), ("add", Value::Object(add))] {
        if value.as_object().is_some_and(|lines| !lines.is_empty()) {
            out.insert(key.to_owned(), value);
        }
    }
    if !removed.is_empty() {
        out.insert("remove".to_owned(), json!(removed));
    }
    out
}

fn conditions(out: &mut Map<String, Value>, conditions: &Conditions) {
    let Conditions { listen, host, path, method, header, query, client } = conditions;
    fn texts<T: ToString>(items: &[T]) -> Value {
        items.iter().map(|item| Value::from(item.to_string())).collect()
    }
    let fields = |fields: &[FieldCondition]| -> Value {
        let value = |one: &FieldCondition| match one.values.is_empty() {
            true => json!(true),
            false => json!(one.shown()),
        };
        fields.iter().map(|one| (one.name.clone(), value(one))).collect()
    };
    for (key, value) in [
        ("listen", texts(listen)),
        ("host", texts(host)),
        ("path", texts(path)),
        ("method", texts(method)),
        ("client", texts(client)),
        ("header", fields(header)),
        ("query", fields(query)),
    ] {
        if value.as_array().is_none_or(|items| !items.is_empty())
            && value.as_object().is_none_or(|items| !items.is_empty())
        {
            out.insert(key.into(), value);
        }
    }
}

/// A route as it would be written.
fn route(plan: &Plan, spec: &RouteSpec) -> Value {
    let mut out = Map::new();
    out.insert("name".into(), json!(*spec.name));
    conditions(&mut out, &spec.conditions);
    match &spec.action {
        RouteAction::Redirect(redirect) => {
            let value = json!({ "to": redirect.to.to_string(), "status": redirect.status });
            out.insert("redirect".into(), value);
        }
        RouteAction::Admin => {
            out.insert("serve".into(), json!("admin"));
        }
        RouteAction::Respond(respond) => {
            let Respond { status, kind, body } = respond;
            let value = json!({ "status": status, "body": body.to_string(), "content-type": kind });
            out.insert("respond".into(), value);
        }
        RouteAction::Forward(forward) => {
            let pools = match forward.shares.as_slice() {
                [only] => json!(*only.pool),
                several => {
                    several.iter().map(|one| (one.pool.to_string(), json!(one.weight))).collect()
                }
            };
            out.insert("pool".into(), pools);
            if let Some((prefix, _)) = &forward.strip_prefix {
                out.insert("strip-prefix".into(), json!(prefix));
            }
            if !forward.add_prefix.is_empty() {
                out.insert("add-prefix".into(), json!(forward.add_prefix));
            }
        }
    }
    let is_forward = matches!(spec.action, RouteAction::Forward(_));
    for (name, text) in written_gate::gate_of_route(plan, &spec.gate, is_forward) {
        if let Some(setting) = table::find_in(ROUTE, name) {
            setting_in(&mut out, ROUTE, setting, text);
        }
    }
    let share = match &spec.action {
        RouteAction::Forward(forward) => forward.shares.first(),
        _ => None,
    };
    match share {
        Some(Share { pool, exchange: own, .. }) => {
            let of_pool = plan.pool(pool).map_or(&plan.exchange, |pool| &pool.exchange);
            exchange(&mut out, Some(of_pool), own);
        }
        None => exchange(&mut out, Some(&plan.exchange), &spec.exchange),
    }
    Value::Object(out)
}

/// Puts a value where its key says: `log.level` is `level` in the table `log`.
fn put(root: &mut Map<String, Value>, key: &str, value: Value) {
    match key.split_once('.') {
        None => drop(root.insert(key.to_owned(), value)),
        Some((table, key)) => {
            let table = root.entry(table).or_insert_with(|| json!({}));
            if let Value::Object(table) = table {
                put(table, key, value);
            }
        }
    }
}

/// A table in TOML: first what is no table, then the tables in it. `comment`: what stands behind a key of the top, or
/// behind the head of a table, by their path.
fn table(
    out: &mut String,
    path: &str,
    entries: &Map<String, Value>,
    comment: &dyn Fn(&str) -> String,
) {
    let is_inline = |key: &str| {
        !matches!(key, "pool" | "auth" | "limit" | "list" | "admin" | "log" | "access-log" | "tls")
    };
    let is_named = matches!(path, "pool" | "auth" | "limit");
    let is_table = |key: &str, value: &Value| {
        (value.is_object() && !path.starts_with("route") && (is_named || !is_inline(key)))
            || (key == "route" && path.is_empty())
    };
    let is_of_top = !NAMED.iter().any(|kind| path.starts_with(kind.trim_end_matches('.')));
    let below = |key: &str| match path {
        "" => key.to_owned(),
        path => format!("{path}.{key}"),
    };
    for (key, value) in entries.iter().filter(|(key, value)| !is_table(key, value)) {
        let behind = if is_of_top { comment(&below(key)) } else { String::new() };
        let _ = writeln!(out, "{} = {}{behind}", name(key), inline(value));
    }
    for (key, value) in entries.iter().filter(|(key, value)| is_table(key, value)) {
        match value {
            Value::Object(entries) => {
                if entries.values().any(|value| !value.is_object()) {
                    let behind = comment(&below(key));
                    let _ = writeln!(out, "\n[{}]{behind}", below(&name(key)));
                }
                table(out, &below(&name(key)), entries, comment);
            }
            Value::Array(items) => {
                for item in items.iter().filter_map(Value::as_object) {
                    let behind =
                        comment(&format!("route.{}", item["name"].as_str().unwrap_or_default()));
                    let _ = writeln!(out, "\n[[{key}]]{behind}");
                    table(out, key, item, comment);
                }
            }
            _ => {}
        }
    }
}

/// Tables whose heads have names, or that have one among their keys.
const NAMED: [&str; 4] = ["pool.", "auth.", "limit.", "route."];

fn inline(value: &Value) -> String {
    match value {
        Value::Object(entries) => {
            let entries: Vec<String> = entries
                .iter()
                .map(|(key, value)| format!("{} = {}", name(key), inline(value)))
                .collect();
            format!("{{ {} }}", entries.join(", "))
        }
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(inline).collect();
            format!("[{}]", items.join(", "))
        }
        // The strings of JSON are strings of TOML.
        other => other.to_string(),
    }
}

/// A key, in quotes where it needs them.
fn name(key: &str) -> String {
    let is_bare = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    match !key.is_empty() && key.chars().all(is_bare) {
        true => key.to_owned(),
        false => Value::from(key).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing;

    #[test]
    fn what_is_printed_asks_for_the_same_again() {
        for text in [
            "upstream = ['http://a:1', 'http://b:2/base weight=3']\nmax-body = '1MiB'\nhalf-close = true\n",
            "listen = [':80', '127.0.0.1:81']\nadmin = 'off'\nstate = 's'\n\
             response-header = { set = { X-A = 'b' }, remove = ['Server'] }\n\
             [pool.p]\nupstream = 'http://a:1'\nwrite-timeout = '3s'\nmax-upstream-idle = 3\n\
             [pool.q]\nupstream = { url = 'http://a:1', weight = 2 }\n\
             [[route]]\nhost = ['a', '*.b']\npath = ['/x', '/y/*']\nmethod = 'GET'\nlisten = ':80'\n\
             pool = { p = 3, q = 1 }\n\
             [[route]]\nname = 'r'\npath = '/v1/*'\nstrip-prefix = '/v1'\nadd-prefix = '/b'\npool = 'p'\n\
             header = { X-A = ['1', '2'], X-B = true }\nquery = { v = '1' }\nclient = '10.0.0.0/8'\n\
             request-header = { set = { A = '{host} \"x\"' }, add = { B = ['1', '2'] }, remove = 'C' }\n\
             [[route]]\npath = '/old'\nredirect = { to = 'https://{host}{uri}', status = 301 }\n\
             [[route]]\nrespond = { body = 'a\\n', status = 404, content-type = 'text/x' }\n",
            "response-header = { add = { Set-Cookie = 'a=1' }, remove = 'X-Z', set = { X-T = '1' } }\n\
             [pool.a]\nupstream = 'http://a:1'\n\
             response-header = { remove = 'X-Secret', add = { B = ['1', '2'] } }\n\
             [pool.b]\nupstream = 'http://b:1'\n\
             [[route]]\nhost = 'a'\npool = { a = 1, b = 1 }\n\
             response-header = { set = { X-R = 'r' }, add = { Set-Cookie = 'a=1' }, remove = 'X-T' }\n\
             [[route]]\nhost = 'b'\npool = 'b'\nresponse-header = { set = { Set-Cookie = ['b', 'c'] } }\n\
             [[route]]\npool = 'a'\nresponse-header = { set = { X-T = '2' }, remove = 'Set-Cookie' }\n",
            "balance = 'hash'\nhash = 'cookie:a'\nsticky = 'tg'\nretry-on = ['timeout', 503]\nqueue = 9\n\
             health = { path = '/h', host = 'a:80', body = 'well' }\nbreaker = true\nretry-budget = '5%'\n\
             upstream-bind = '10.0.0.1'\nresolve = '10s'\n\
             upstream = ['http://a:1', { url = 'http://b:2', weight = 2, backup = true }]\n\
             [pool.all]\nupstream = ['http://a:1', 'http://b:1 backup=true']\nbalance = 'two-choices'\n\
             sticky = { cookie = 'c', max-age = '1h' }\nretry-on = ['5xx', '429']\nretry-budget = '30%'\n\
             health = { path = '/a?b', method = 'get', host = 'x', status = ['200', '404-410'], body = 'ok, \\n', \
             interval = '1s', timeout = '2s', fall = 4, rise = 5 }\n\
             breaker = { failures = 2, open = '3s', probes = 4, on = ['closed', 500], fail-open = true }\n\
             slow-start = '30s'\nqueue = { max-requests = 200, size = 0, wait = '1m' }\nresolve = '5m'\n\
             upstream-max-age = '1h'\nupstream-max-requests = 1000\nupstream-keep-alive = '30s'\n\
             upstream-bind = '::1'\ntry-timeout = '1s'\nhedge = '50ms'\nretry-buffer = '64KiB'\n\
             [pool.none]\nupstream = 'http://c:1'\nsticky = 'off'\nhealth = false\nbreaker = false\n\
             queue = 'off'\nresolve = 'once'\nupstream-bind = 'off'\n\
             [pool.other]\nupstream = 'http://d:1'\nhealth = { host = 'off', body = '', method = 'head' }\n\
             [[route]]\npool = 'all'\nhost = 'a'\nretry-on = 'connect'\ntry-timeout = '2s'\n[[route]]\npool = 'none'\n",
            "listen = [':80', ':81 proxy-protocol=10.0.0.0/8', \
             { address = ':82', proxy-protocol = ['::1', '10.0.0.1'] }]\n\
             upstream = 'http://a:1'\nallow = ['office', '10.0.0.0/8']\nsecurity-headers = true\nmin-rate = '1KiB'\n\
             max-client-connections = 9\nproxy-protocol = '192.0.2.0/24'\nupstream-proxy-protocol = 'v2'\n\
             [list]\noffice = ['192.0.2.0/24', '2001:db8::/48']\n\
             [auth.fw]\nurl = 'http://a:1/auth?x'\ntimeout = '1s'\ncopy = ['X-A', 'X-B']\ncache = '5s'\npass = true\n\
             [limit.default]\nrate = '20/m'\nby = 'header:X-A'\n\
             [limit.b]\nrate = '7/h'\nburst = 9\nkeys = 100\ndry-run = true\n\
             [[route]]\nhost = 'a'\nauth = 'fw'\nlimit = ['b', 'default']\nrole = ['x', 'CN=a,O=b']\n\
             deny = '10.1.0.0/16'\n\
             content-type = ['text/*', 'application/json']\nsecurity-headers = false\nmin-rate = 'off'\n\
             cors = { origin = ['https://a', 'https://*.b:81'], method = 'PUT', header = 'X-A', expose = 'X-B', \
             credentials = true, max-age = '1h' }\n\
             [[route]]\nhost = 'b'\nallow = 'off'\nlimit = 'off'\n\
             [[route]]\nhost = 'c'\nlimit = [{ rate = '1/d', by = 'all' }, 'b']\nauth = { url = 'http://b:1' }\n",
            "[pool.default]\nupstream = 'http://a:1'\nwrite-timeout = '3s'\n\
             [[route]]\nname = 'admin'\npath = '/x'\n[[route]]\nname = 'default'\n",
        ] {
            let wanted = testing::plan(text);
            let [toml, json] = [["--format", "toml"], ["--format", "json"]]
                .map(|form| testing::shown(text, &[&["config", "show"][..], &form].concat()));
            for (extension, printed) in [("toml", toml), ("json", json)] {
                let again = testing::loaded_as(extension, &printed, &[]);
                let again =
                    again.unwrap_or_else(|rejected| panic!("{}\n{printed}", rejected.text())).0;
                assert_eq!(again, wanted, "{printed}");
            }
        }
    }
}
