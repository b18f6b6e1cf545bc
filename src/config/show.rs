//! Settings in words: help, version, `check` and the table of the manual.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;

use super::header::{HeaderLine, HeaderRules};
use super::plan::*;
use super::pool::*;
use super::route::{RouteSource, RouteSpec};
use super::sections::DEFAULT;
use super::settings::setting;
use super::table::{
    self, ACTIONS, AUTH, DefaultValue, Effect, Form, GROUPS, LIMIT, POOL, ROUTE, Setting, TOP,
};
use super::{Rejected, Report, keys, memory, values, written, written_gate, written_tls};

/// Routes that `check` names; of more, their number.
const ROUTES_TOLD: usize = 20;

/// `--help`.
pub fn help() -> String {
    let mut text = String::from(
        "tidegate: a small, strict and fast HTTP/1.1 reverse proxy\n\n\
         Usage:  tidegate --upstream URL [flags]\n        \
                 tidegate --demo\n        \
                 tidegate check [flags]\n        \
                 tidegate explain 'GET http://host/path' [-H 'NAME: VALUE'] [--client IP] [flags]\n        \
                 tidegate config show [--origin | --format env|toml|json] [flags]\n        \
                 tidegate config schema | completions SHELL | man\n\n\
         Commands to one that runs (--admin ADDR, or the same settings, say where it is):\n        \
                 tidegate status | top | health | reload | upgrade\n        \
                 tidegate add|remove|drain|undrain|weight URL [--pool NAME] [--weight N]\n",
    );
    for (title, settings) in GROUPS {
        let _ = write!(text, "\n{title}\n");
        for setting in settings {
            text.push_str(&help_lines(setting));
        }
    }
    text.push('\n');
    for (short, long, about) in ACTIONS {
        let _ = writeln!(text, "  {short}, {long:<13} {about}");
    }
    text.push_str(
        "\nEvery flag has a name in the environment and in the dotenv file: --read-timeout is\n\
         TIDEGATE_READ_TIMEOUT; in a configuration file it is read-timeout. Flags win over the\n\
         environment, that over the dotenv file, that over the configuration file, and it over\n\
         defaults. HTTP_SERVER_URL_<name>=URL, or HTTPS_SERVER_URL_<name>, adds one upstream, unless\n\
         --upstream is given.\n\
         URLs, addresses, networks and names may be repeated or separated by commas.\n\
         TIME: 500ms 5s 1m 1h   SIZE: 512B 64KiB 10MB 1GiB\n\
         ADDR: :8080 127.0.0.1:8080 [::]:8080 unix:/path\n",
    );
    text
}

/// One setting in help: what it does, and its default, in lines of at most 100 characters.
fn help_lines(setting: &Setting) -> String {
    let flag = format!("  --{} {}", setting.name, setting.form.placeholder());
    let default = match default_text(setting) {
        text if text.is_empty() => text,
        text => format!(" [{text}]"),
    };
    let mut about = format!("{}{default}", setting.about);
    if !setting.aliases.is_empty() {
        let _ = write!(about, "\n{:<33}(also --{})", "", setting.aliases.join(", --"));
    }
    if flag.trim_end().len() <= 32 {
        format!("{:<33}{about}\n", flag.trim_end())
    } else {
        format!("{flag}\n{:<33}{about}\n", "")
    }
}

fn default_text(setting: &Setting) -> String {
    match setting.fallback {
        DefaultValue::Value("off") if setting.form == Form::Switch => String::new(),
        DefaultValue::Value(text) | DefaultValue::Depends(text) => text.to_owned(),
        DefaultValue::Nothing => String::new(),
    }
}

/// `--version`.
pub fn version() -> String {
    format!("tidegate {}\n", env!("CARGO_PKG_VERSION"))
}

/// The text of `check` when all is well.
pub fn check(plan: &Plan, report: &Report) -> String {
    let mut text = String::from("tidegate: the settings are fine\n");
    let names = listeners(&plan.listener);
    let _ = writeln!(text, "  listen    {}  ({})", names.join(", "), report.origin("listen"));
    for (pool, upstream) in plan.upstreams() {
        let pool =
            if *pool.name == *DEFAULT { String::new() } else { format!("  ({})", pool.name) };
        let _ = writeln!(text, "  upstream  {}{pool}", upstream.name);
    }
    for route in
        plan.routes.iter().filter(|route| route.source != RouteSource::Top).take(ROUTES_TOLD)
    {
        let _ = writeln!(text, "  route     {}", route.name);
    }
    if plan.routes.len() > ROUTES_TOLD {
        let _ = writeln!(text, "  routes    {} altogether", plan.routes.len());
    }
    let admin = plan.process.admin.as_ref().map_or_else(|| "off".to_owned(), Listen::to_string);
    let _ = writeln!(text, "  admin     {admin}  ({})", report.origin("admin"));
    let _ = writeln!(text, "  memory    at most {} MiB", memory::ceiling(plan).div_ceil(1 << 20));
    for warning in &report.warnings {
        let _ = writeln!(text, "warning: {warning}");
    }
    text
}

fn listeners(spec: &ListenerSpec) -> Vec<String> {
    spec.addresses.iter().map(|one| spec.written(one)).collect()
}

/// The same for programs.
pub fn check_json(plan: &Plan, report: &Report) -> String {
    let routes: Vec<&str> = plan.routes.iter().map(|route| &*route.name).collect();
    let upstreams = plan
        .upstreams()
        .map(|(pool, upstream)| serde_json::json!({ "pool": *pool.name, "url": upstream.name }));
    let memory = memory::rows(plan);
    let page = serde_json::json!({
        "ok": true,
        "mistakes": [],
        "warnings": report.warnings,
        "listen": listeners(&plan.listener),
        "upstreams": upstreams.collect::<Vec<_>>(),
        "routes": routes,
        "memory_bytes": memory.iter().map(|(what, octets)| (*what, *octets)).collect::<BTreeMap<_, _>>(),
        "memory_ceiling_bytes": memory::ceiling(plan),
    });
    format!("{page}\n")
}

/// What is wrong, for programs.
pub fn rejected_json(rejected: &Rejected) -> String {
    let mistakes = &rejected.lines;
    format!("{}\n", serde_json::json!({ "ok": false, "mistakes": mistakes }))
}

/// The table of all settings for the manual, in Markdown.
pub fn markdown() -> String {
    let mut text = String::new();
    for (title, settings) in GROUPS {
        let _ = write!(text, "\n**{title}**\n\n| flag | default | what |\n|---|---|---|\n");
        for setting in settings {
            let mut flags: Vec<String> =
                setting.names().map(|name| format!("`--{name}`")).collect();
            let placeholder = setting.form.placeholder().replace('|', "\\|");
            if !placeholder.is_empty() {
                flags[0] = format!("`--{} {placeholder}`", setting.name);
            }
            let default = match setting.fallback {
                DefaultValue::Value(text) => format!("`{text}`"),
                DefaultValue::Depends(text) => text.to_owned(),
                DefaultValue::Nothing => String::new(),
            };
            let (flags, about, range) = (flags.join(", "), setting.about, range_text(setting));
            let effect = if setting.effect == Effect::NewProcess { " †" } else { "" };
            let _ = writeln!(text, "| {flags} | {default} | {about}{range}{effect} |");
        }
    }
    for (title, scope) in [("`[pool.NAME]`", POOL), ("`[[route]]`", ROUTE)] {
        let _ = write!(text, "\n**Keys of {title}**\n\n| key | default | what |\n|---|---|---|\n");
        for setting in table::settings_of(scope) {
            let key = keys::key_of_scope(scope, setting.name);
            // What stands at the top as well is taken over from there.
            let default = match (setting.fallback, setting.scope & TOP) {
                (DefaultValue::Value(text), 0) => format!("`{text}`"),
                (DefaultValue::Depends(text), 0) => text.to_owned(),
                _ => String::new(),
            };
            let _ = writeln!(text, "| `{key}` | {default} | {} |", setting.about);
        }
    }
    text
}

fn range_text(setting: &Setting) -> String {
    let (least, greatest) = setting.range;
    match setting.form {
        Form::Count
        | Form::CountOrOff
        | Form::Time
        | Form::TimeOrOff
        | Form::Resolve
        | Form::Seconds
        | Form::Size
        | Form::SizeOrOff
        | Form::Percent => {
            let show = |number| values::show(setting.form, number);
            format!(" ({} to {})", show(least), show(greatest))
        }
        _ => String::new(),
    }
}

pub(super) fn switch(on: bool) -> String {
    if on { "on" } else { "off" }.to_owned()
}

/// A value of the plan as it would be written.
pub(super) fn value_of(name: &str, plan: &Plan) -> String {
    let Plan { process, listener, exchange, pools, routes, .. } = plan;
    let (limits, timeouts) = (&listener.limits, &exchange.timeouts);
    let pool = pools.iter().map(|pool| &**pool).find(|pool| *pool.name == *DEFAULT);
    let made_by = |source| routes.iter().find(|route: &&RouteSpec| route.source == source);
    let route = made_by(RouteSource::Top);
    let upstreams = pool.map_or(&[][..], |pool| &pool.upstreams);
    let size = |octets| values::show(Form::Size, octets);
    let wait = |duration| values::show_duration(duration).to_string();
    if name != "upstream" && setting(name).scope == TOP | POOL {
        let rows = pool.map(written::care).unwrap_or_default();
        let row = rows.into_iter().find(|(known, _)| *known == name);
        return row.map(|(_, text)| text).unwrap_or_default();
    }
    let found = of_gate(name, plan).or_else(|| of_logs(name, process));
    if let Some(text) = found.or_else(|| of_clients(name, listener)) {
        return text;
    }
    match name {
        "min-rate" => exchange.min_rate.map_or_else(|| "off".to_owned(), size),
        "admin-token" => written_gate::shown(&process.admin_tokens),
        // It is said by the limit.
        "rate-limit" => String::new(),
        "upstream" => join(upstreams.iter().map(upstream)),
        "admin" => process.admin.as_ref().map_or_else(|| "off".to_owned(), Listen::to_string),
        "workers" => process.workers.to_string(),
        "max-retries" => exchange.retry.most.to_string(),
        "retry-on" => exchange.retry.on.to_string(),
        "try-timeout" => wait(exchange.retry.try_timeout),
        "hedge" => wait(exchange.retry.hedge),
        "retry-buffer" => size(exchange.retry.buffer as u64),
        "host-header" => match exchange.host {
            HostHeader::Pass => "pass".to_owned(),
            HostHeader::Upstream => "upstream".to_owned(),
        },
        "backend-header" => switch(exchange.backend_header),
        "allow-upgrade" => join(exchange.upgrades.iter().cloned()),
        "half-close" => switch(exchange.half_close),
        "path" => join(
            route.into_iter().flat_map(|route| &route.conditions.path).map(ToString::to_string),
        ),
        "serve-admin" => {
            let admin = made_by(RouteSource::ServeAdmin).into_iter();
            join(admin.flat_map(|route| &route.conditions.path).map(ToString::to_string))
        }
        "method" => join(route.into_iter().flat_map(|one| one.conditions.method.iter().cloned())),
        "request-header" => lines(&exchange.request_header),
        "response-header" => lines(&exchange.response_header),
        "read-timeout" => wait(timeouts.read),
        "write-timeout" => wait(timeouts.write),
        "connect-timeout" => wait(timeouts.connect),
        "response-timeout" => wait(timeouts.response),
        "idle-timeout" => wait(listener.idle_timeout),
        "tunnel-idle-timeout" => wait(timeouts.tunnel_idle),
        "expect-timeout" => wait(timeouts.expect),
        "drain-delay" => wait(process.drain_delay),
        "drain-timeout" => wait(process.drain_timeout),
        "max-head" => size(limits.head as u64),
        "max-target" => size(limits.target as u64),
        "max-fields" => limits.fields.to_string(),
        "max-body" => exchange.max_body.map_or_else(|| "off".to_owned(), size),
        "max-connections" => process.max_connections.to_string(),
        "buffers" => process.buffers.to_string(),
        "resolver" => join(process.resolver.iter().map(ToString::to_string)),
        "state" => path(process.state.as_ref()),
        "watch" => switch(process.watch),
        name => unreachable!("{name} has no place in the plan; a test shows all settings"),
    }
}

/// The same of what is about clients before a route is known.
fn of_clients(name: &str, listener: &ListenerSpec) -> Option<String> {
    Some(match name {
        "listen" => join(listener.addresses.iter().map(|one| listener_of(listener, one))),
        "proxy-protocol" => {
            let everywhere = listener.proxy_protocol.iter().filter(|(at, _)| at.is_none());
            join(everywhere.map(|(_, network)| network.to_string()))
        }
        name if name.starts_with("tls-") => {
            // A key stands behind its certificate; where nobody speaks TLS, nothing is in use.
            let rows = listener.tls.iter().flat_map(|tls| written_tls::clients(tls));
            let mut row = rows.into_iter().filter(|(known, _)| *known == name);
            row.next().map(|(_, text)| text).unwrap_or_default()
        }
        "max-client-connections" => {
            listener.max_client_connections.map_or_else(|| "off".to_owned(), |n| n.to_string())
        }
        "trusted-proxy" => join(listener.trusted.iter().map(ToString::to_string)),
        "trusted-header" => join(listener.trusted_names.iter().cloned()),
        _ => return None,
    })
}

/// The same of what is about logs.
fn of_logs(name: &str, process: &ProcessSpec) -> Option<String> {
    Some(match name {
        "access-log" => process.access_log.format.map_or("off", LogFormat::name).to_owned(),
        "access-log-file" => path(process.access_log.file.as_ref()),
        "access-log-audit" => path(process.audit.as_ref()),
        "log" => process.log.name().to_owned(),
        "log-format" => process.log_format.name().to_owned(),
        _ => return None,
    })
}

/// The same of what is about the gate.
fn of_gate(name: &str, plan: &Plan) -> Option<String> {
    let Plan { gate, auths, limits, .. } = plan;
    let scope = setting(name).scope;
    let rows = match scope {
        _ if scope & AUTH != 0 => {
            auths.iter().find(|one| *one.name == *DEFAULT).map(|one| written_gate::auth(one))
        }
        _ if scope & LIMIT != 0 => {
            limits.iter().find(|one| *one.name == *DEFAULT).map(|one| written_gate::limit(one))
        }
        _ => Some(OF_GATE.contains(&name).then(|| written_gate::gate(gate))?),
    };
    let row = rows.into_iter().flatten().find(|(known, _)| *known == name);
    Some(row.map(|(_, text)| text).unwrap_or_default())
}

/// What stands at the top about all routes, and is no condition of one.
const OF_GATE: [&str; 11] = [
    "client-cert",
    "allow",
    "deny",
    "content-type",
    "security-headers",
    "cors-origin",
    "cors-method",
    "cors-header",
    "cors-expose",
    "cors-credentials",
    "cors-max-age",
];

/// An address to listen on, as it would be written.
fn listener_of(listener: &ListenerSpec, listen: &Listen) -> String {
    let own = listener.proxy_protocol.iter().filter(|(at, _)| at.as_ref() == Some(listen));
    let own: String = own.map(|(_, network)| format!(" proxy-protocol={network}")).collect();
    format!("{}{own}", listener.written(listen))
}

/// As it would be written among upstreams.
fn upstream(upstream: &UpstreamSpec) -> String {
    let weight = match upstream.weight {
        1 => String::new(),
        weight => format!(" weight={weight}"),
    };
    let backup = if upstream.backup { " backup=true" } else { "" };
    format!("{}{weight}{backup}", upstream.name)
}

/// The lines that rules put in, as a variable has them.
fn lines(rules: &HeaderRules) -> String {
    let line = |line: &HeaderLine| format!("{}: {}", line.name, line.value);
    let mut lines: Vec<String> = rules.lines.iter().map(line).collect();
    // A list that was read from elsewhere stands there once.
    lines.dedup_by(|later, first| later == first && later.contains("_*}"));
    lines.join("\n")
}

fn path(path: Option<&PathBuf>) -> String {
    path.map_or_else(String::new, |path| path.display().to_string())
}

fn join(values: impl Iterator<Item = String>) -> String {
    values.collect::<Vec<_>>().join(",")
}

/// A value as a dotenv file takes it.
pub(super) fn quote(value: &str) -> String {
    if value.contains([' ', '#', '"', '\'', '\\', '\n']) {
        let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        format!("\"{value}\"")
    } else {
        value.to_owned()
    }
}
