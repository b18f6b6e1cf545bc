//! The settings: one row each, read by the parser, the help, `config show` and the manual.

use std::collections::HashMap;
use std::sync::LazyLock;

use DefaultValue::{Depends, Nothing, Value};
use Form::*;

pub use super::form::Form;
use super::table_of_gate::{CREDENTIALS, GATE};
use super::table_of_tls::TLS;

/// The default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DefaultValue {
    /// This value, written as a user would.
    Value(&'static str),
    /// It depends; this says on what.
    Depends(&'static str),
    /// Nothing.
    Nothing,
}

/// When another value of a setting takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// At a reload.
    Reload,
    /// In a new process: its sockets, its threads, its memory, its logs and its state.
    NewProcess,
    /// It is of no plan: how the others are found, and what is thought of them.
    NoPlan,
}

/// Where a setting may stand: a set of the flags below.
pub type Scope = u8;
/// At the top of a file, as a flag and in the environment: for all, or of what is called `default`.
pub const TOP: Scope = 1;
/// In the table of a pool.
pub const POOL: Scope = 2;
/// In the table of a route.
pub const ROUTE: Scope = 4;
/// In a table that says how to tell who asks; as a flag it begins with `auth-`.
pub const AUTH: Scope = 8;
/// In the table of a limit; as a flag it begins with `limit-`.
pub const LIMIT: Scope = 16;

/// One setting.
#[derive(Debug)]
pub struct Setting {
    /// The flag without its dashes; the environment name follows from it.
    pub name: &'static str,
    /// Other names for the same thing.
    pub aliases: &'static [&'static str],
    /// How its value is written.
    pub form: Form,
    /// Least and greatest value of a number, in the unit of the form.
    pub range: (u64, u64),
    /// The default.
    pub fallback: DefaultValue,
    /// When another value takes effect.
    pub effect: Effect,
    /// Where it may stand.
    pub scope: Scope,
    /// One sentence without a full stop.
    pub about: &'static str,
}

impl Setting {
    /// Its names: the first is its own, the others mean the same.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        std::iter::once(self.name).chain(self.aliases.iter().copied())
    }

    /// Its name in the environment: `TIDEGATE_READ_TIMEOUT`.
    pub fn variable(&self) -> String {
        variable(self.name)
    }

    pub(super) const fn aka(mut self, aliases: &'static [&'static str]) -> Self {
        self.aliases = aliases;
        self
    }

    pub(super) const fn in_new_process(mut self) -> Self {
        self.effect = Effect::NewProcess;
        self
    }

    pub(super) const fn of_no_plan(mut self) -> Self {
        self.effect = Effect::NoPlan;
        self
    }

    pub(super) const fn of(mut self, scope: Scope) -> Self {
        self.scope = scope;
        self
    }

    pub(super) const fn range(mut self, least: u64, greatest: u64) -> Self {
        self.range = (least, greatest);
        self
    }
}

/// The environment name of a flag.
pub fn variable(flag: &str) -> String {
    format!("TIDEGATE_{}", flag.to_ascii_uppercase().replace('-', "_"))
}

/// The setting of this name or alias, if there is one.
pub fn find(name: &str) -> Option<&'static Setting> {
    settings().find(|setting| setting.names().any(|known| known == name))
}

/// The setting of this name that a table of this `scope` may have.
pub fn find_in(scope: Scope, name: &str) -> Option<&'static Setting> {
    let mut all = BY_NAME.get(name).into_iter().flatten().copied();
    all.find(|setting| setting.scope & scope != 0)
}

/// All settings by each of their names: thousands of pools ask for every one of theirs.
static BY_NAME: LazyLock<HashMap<&str, Vec<&Setting>>> = LazyLock::new(|| {
    let mut found: HashMap<&str, Vec<&Setting>> = HashMap::new();
    for setting in FILE_ONLY.iter().chain(settings()) {
        setting.names().for_each(|name| found.entry(name).or_default().push(setting));
    }
    found
});

/// All settings that a table of this `scope` may have.
pub fn settings_of(scope: Scope) -> impl Iterator<Item = &'static Setting> {
    let all = FILE_ONLY.iter().chain(settings());
    all.filter(move |setting| setting.scope & scope != 0)
}

/// All settings in the order of help: those that are flags and variables, too.
pub fn settings() -> impl Iterator<Item = &'static Setting> {
    GROUPS.iter().flat_map(|(_, settings)| settings.iter())
}

/// Flags that ask for something else than running: short and long spelling, and what they do.
pub const ACTIONS: [(&str, &str, &str); 3] = [
    ("-t", "--check", "Say whether the settings are fine, and exit"),
    ("-V", "--version", "Print the version, and exit"),
    ("-h", "--help", "Print this help, and exit"),
];

/// Octets that the spans of a head can tell apart.
const HEAD: u64 = 64 * 1024;
/// A day in milliseconds: no wait is longer, so no sum of waits overflows.
pub(super) const DAY: u64 = 24 * HOUR;
pub(super) const HOUR: u64 = 3600 * SECOND;
pub(super) const SECOND: u64 = 1000;
/// 1 PiB: far beyond any body, far below where sums of octets overflow.
const PIB: u64 = 1 << 50;

pub(super) const fn row(
    name: &'static str,
    form: Form,
    fallback: DefaultValue,
    about: &'static str,
) -> Setting {
    let (aliases, range, effect): (&[_], _, _) = (&[], (0, u64::MAX), Effect::Reload);
    Setting { name, aliases, form, range, fallback, effect, scope: TOP, about }
}

pub(super) const fn switch(name: &'static str, about: &'static str) -> Setting {
    row(name, Switch, Value("off"), about)
}

pub(super) const fn wait(
    name: &'static str,
    default: &'static str,
    about: &'static str,
) -> Setting {
    row(name, Time, Value(default), about).range(1, DAY)
}

pub(super) const fn count(
    name: &'static str,
    default: &'static str,
    (least, greatest): (u64, u64),
    about: &'static str,
) -> Setting {
    row(name, Count, Value(default), about).range(least, greatest)
}

/// The settings under their headings.
pub const GROUPS: [(&str, &[Setting]); 12] = [
    ("Where", WHERE),
    ("TLS", TLS),
    ("Requests", REQUESTS),
    ("Gate", GATE),
    ("Credentials", CREDENTIALS),
    ("Upstreams", UPSTREAMS),
    ("Retries", RETRIES),
    ("Health", HEALTH),
    ("Timeouts", WAITS),
    ("Limits", LIMITS),
    ("Logs", LOGS),
    ("Settings", SETTINGS),
];

const WHERE: &[Setting] = &[
    row("listen", Listens, Value(":8080"), "Where clients connect; https:// before it: over TLS"),
    row("upstream", Urls, Nothing, "Where requests go: http(s)://host:port or http://unix:/path")
        .aka(&["backends", "backend"])
        .of(TOP | POOL),
    row("admin", Admin, Value("127.0.0.1:8082"), "Health, status and metrics").in_new_process(),
    row("admin-token", Tokens, Nothing, "Tokens for the admin; role=read allows only reading"),
    row("proxy-protocol", Networks, Nothing, "Peers that must begin with a PROXY protocol header"),
    row("workers", Count, Depends("one per core"), "Threads that move requests")
        .in_new_process()
        .range(1, 1024),
];

const REQUESTS: &[Setting] = &[
    row(
        "host-header",
        Choice(HOSTS),
        Value("pass"),
        "The Host sent on: the client's, or the upstream's own",
    )
    .of(ALL),
    switch("backend-header", "Name the upstream in X-Backend-Server on answers").of(ALL),
    row("path", Paths, Nothing, "Paths that are served; others get 404")
        .aka(&["paths"])
        .of(TOP | ROUTE),
    row("method", Methods, Nothing, "Methods that are served; others get 405").of(TOP | ROUTE),
    row(
        "serve-admin",
        Pages,
        Nothing,
        "Paths of the admin for clients: /health /ready /metrics /status",
    ),
    row("request-header", Lines, Nothing, "Set a field of requests on their way to the upstream")
        .of(ALL),
    row("response-header", Lines, Nothing, "Set a field of answers on their way to the client")
        .of(ALL),
    row("trusted-proxy", Networks, Nothing, "Peers whose X-Forwarded-* fields are believed"),
    row("trusted-header", Fields, Nothing, "Further fields that only trusted proxies may send"),
    row("allow-upgrade", Protocols, Nothing, "Protocols besides websocket to switch to on request")
        .of(ALL),
    switch("half-close", "Answer clients that close their sending side while they wait").of(ALL),
];

const UPSTREAMS: &[Setting] = &[
    row(
        "balance",
        Choice(BALANCES),
        Value("round-robin"),
        "How the upstream of a request is chosen",
    )
    .of(CARE),
    row("hash", HashKey, Nothing, "What is hashed: client, path, uri, header:NAME or cookie:NAME")
        .of(CARE),
    row("sticky-cookie", Cookie, Value("off"), "Cookie that keeps a client with its upstream")
        .of(CARE),
    row("sticky-max-age", TimeOrOff, Value("off"), "How long clients keep it; off: until they end")
        .range(SECOND, DAY)
        .of(CARE),
    row("sticky-secret", Secret, Value("off"), "What it is signed with; off: a secret of its own")
        .of(CARE),
    wait("slow-start", "0s", "How long one that came back takes to its full share")
        .range(0, DAY)
        .of(CARE),
    row("queue-max-requests", CountOrOff, Value("off"), "Requests under way to each upstream")
        .range(1, 1 << 20)
        .of(CARE),
    count("queue-size", "500", (0, 1 << 16), "Further requests that wait for one of them to end")
        .of(CARE),
    wait("queue-wait", "2s", "Longest wait of one; then the answer is 503").of(CARE),
    row("resolve", Resolve, Value("once"), "How often names are looked up; srv: SRV records")
        .range(100, DAY)
        .of(CARE),
    row("resolver", Servers, Nothing, "DNS servers that are asked for names; none: the system's"),
    wait("upstream-max-age", "0s", "Oldest upstream connection that is used again; 0s: any")
        .range(0, DAY)
        .of(CARE),
    count(
        "upstream-max-requests",
        "0",
        (0, 1 << 30),
        "Most requests of an upstream connection; 0: any",
    )
    .of(CARE),
    wait("upstream-keep-alive", "0s", "Silence after which a connection is probed; 0s: never")
        .range(0, 9 * HOUR)
        .of(CARE),
    row("upstream-bind", Address, Value("off"), "Address that connections to upstreams come from")
        .of(CARE),
    row(
        "upstream-proxy-protocol",
        Choice("off|v1|v2"),
        Value("off"),
        "PROXY header sent to upstreams; one request a connection",
    )
    .of(CARE),
];

const RETRIES: &[Setting] = &[
    count("max-retries", "2", (0, 100), "Further upstreams tried when one fails before it answers")
        .of(ALL),
    row(
        "retry-on",
        Failures,
        Value("connect,closed"),
        "What is tried again: also timeout, 5xx, 502-504",
    )
    .of(ALL),
    row("retry-budget", Percent, Value("20%"), "Further attempts, at most, as a share of requests")
        .range(0, 100)
        .of(CARE),
    wait("try-timeout", "0s", "Longest wait for an answer if another may follow; 0s: any")
        .range(0, DAY)
        .of(ALL),
    wait("hedge", "0s", "Wait before a GET goes to another as well; 0s: never")
        .range(0, DAY)
        .of(ALL),
    row("retry-buffer", Size, Value("0B"), "Octets of a body that are kept to be sent again")
        .range(0, 1 << 20)
        .of(ALL),
];

const HEALTH: &[Setting] = &[
    switch("health", "Ask upstreams whether they are well").of(CARE),
    row("health-path", Target, Value("/"), "Path that is asked for").of(CARE),
    row(
        "health-method",
        Choice(PROBES),
        Value("get"),
        "How they are asked; connect only makes a connection",
    )
    .of(CARE),
    row("health-host", Authority, Value("off"), "Host that is asked for; off: the upstream's own")
        .of(CARE),
    row("health-status", Statuses, Value("200-399"), "Statuses of an upstream that is well")
        .of(CARE),
    row("health-body", Literal, Nothing, "Text that its answer has in it").of(CARE),
    wait("health-interval", "10s", "From one check to the next").range(10, DAY).of(CARE),
    wait("health-timeout", "5s", "Longest time that a check takes").of(CARE),
    count("health-fall", "3", (1, 1000), "Checks that fail in a row before one is down").of(CARE),
    count("health-rise", "2", (1, 1000), "Checks that succeed in a row before it is up").of(CARE),
    switch("breaker", "Leave an upstream alone for a while that keeps failing").of(CARE),
    count("breaker-failures", "5", (1, 1 << 20), "Failures in a row before it is left alone")
        .of(CARE),
    wait("breaker-open", "10s", "How long it is left alone").of(CARE),
    count("breaker-probes", "1", (1, 1000), "Requests at a time that try it after that").of(CARE),
    row("breaker-on", Failures, Value("connect,timeout,closed,5xx"), "What counts as a failure")
        .of(CARE),
    switch("breaker-fail-open", "Send requests all the same while all are left alone").of(CARE),
];

const WAITS: &[Setting] = &[
    wait("read-timeout", "30s", "Longest wait for a request head, or more of a body").of(ALL),
    wait("write-timeout", "30s", "Longest wait between writes that make progress").of(ALL),
    wait("connect-timeout", "2s", "Longest wait for a connection to an upstream").of(ALL),
    wait("response-timeout", "1m", "Longest wait for the first octet of an answer").of(ALL),
    wait("idle-timeout", "1m", "How long a client connection may be without a request"),
    wait("upstream-idle-timeout", "30s", "How long an upstream connection is kept unused")
        .of(TOP | POOL),
    wait("tunnel-idle-timeout", "1h", "How long a WebSocket or tunnel may be silent both ways")
        .of(ALL),
    wait("expect-timeout", "1s", "Longest wait for 100 Continue before tidegate sends it")
        .range(0, DAY)
        .of(ALL),
    row("drain-delay", Seconds, Value("0s"), "How long a stop is not ready, but still accepts")
        .range(0, DAY),
    row(
        "drain-timeout",
        Seconds,
        Value("20s"),
        "Longest wait for requests under way when tidegate stops",
    )
    .range(0, DAY),
];

const LIMITS: &[Setting] = &[
    row("max-head", Size, Value("16KiB"), "Largest head of a request or an answer")
        .range(1024, HEAD),
    row("max-target", Size, Value("8KiB"), "Longest target of a request").range(256, HEAD),
    count("max-fields", "100", (8, 256), "Most fields of a request or an answer"),
    row("max-body", SizeOrOff, Value("off"), "Largest body of a request").range(1, PIB).of(ALL),
    row("min-rate", SizeOrOff, Value("off"), "Least octets of a body in a second; slower get 408")
        .range(1, 1 << 30)
        .of(ALL),
    row("max-client-connections", CountOrOff, Value("off"), "Most connections of one client")
        .range(1, 1 << 20),
    row("max-connections", Count, Depends(CONNECTIONS), "Most clients; then idle ones are closed")
        .range(1, 1 << 20),
    count("buffers", "16384", (16, 1 << 18), "Buffers of 16 KiB that each core may use")
        .in_new_process(),
    count("max-upstream-idle", "1024", (0, 1 << 16), "Idle connections per upstream and core")
        .of(TOP | POOL),
];

const LOGS: &[Setting] = &[
    row("access-log", Choice(FORMATS), Depends("terminal: human; else json"), "Log of requests")
        .in_new_process(),
    row("access-log-file", File, Depends("standard output"), "Where requests are logged")
        .in_new_process(),
    row("access-log-audit", File, Nothing, "Where refused credentials and changes are logged")
        .in_new_process(),
    row("log", Choice(LEVELS), Value("info"), "Log of tidegate itself, on standard error")
        .in_new_process(),
    row("log-format", Choice(OWN_FORMATS), Value("human"), "Lines of that log").in_new_process(),
];

const SETTINGS: &[Setting] = &[
    row("config", File, Nothing, "Configuration file, in TOML, YAML or JSON, by its extension")
        .of_no_plan(),
    row(
        "state",
        Folder,
        Depends("in memory only"),
        "Folder where changes made at run time are kept",
    )
    .in_new_process(),
    switch("watch", "Reload when a file that settings were read from changes"),
    row("env-file", File, Depends(".env, if there is one"), "Dotenv file: KEY=VALUE lines")
        .of_no_plan(),
    switch("strict", "Treat warnings as mistakes").of_no_plan(),
    switch("demo", "Start two origins of its own, and listen on 127.0.0.1:8080").of_no_plan(),
];

/// Settings that stand in a file and nowhere else: a dot goes between a table and its key.
pub const FILE_ONLY: &[Setting] = &[
    row("include", Files, Nothing, "Files with further pools and routes"),
    row(
        "auth-kind",
        Choice("token|basic|jwt|forward"),
        Depends("by what is given"),
        "Kind of these credentials",
    )
    .of(AUTH),
    row("list", Lists, Nothing, "Lists of networks by name, for allow and deny"),
    row("auth", Names, Depends("default"), "Who is let in: names of [auth.NAME], or off").of(ROUTE),
    row("role", Roles, Nothing, "Roles, one of which the user must have; else 403").of(ROUTE),
    row("limit", Names, Depends("default"), "Limits that apply: names of [limit.NAME], or off")
        .of(ROUTE),
    row("request-header.add", Lines, Nothing, "Add a field to requests, beside those they have")
        .of(ALL),
    row("request-header.remove", Fields, Nothing, "Take fields of requests away").of(ALL),
    row("response-header.add", Lines, Nothing, "Add a field to answers, beside those they have")
        .of(ALL),
    row("response-header.remove", Fields, Nothing, "Take fields of answers away").of(ALL),
    row(
        "error-page",
        Pairs,
        Nothing,
        "Files for refusals, by status: \"502-504\" = \"sorry.html\"",
    )
    .of(ALL),
    row("name", Name, Depends("route-N"), "What the route is called in logs").of(ROUTE),
    row("listen", Listens, Nothing, "Requests that came in there").of(ROUTE),
    row("host", Hosts, Nothing, "Requests for these hosts").of(ROUTE),
    row("header", Pairs, Nothing, "Requests that have these fields").of(ROUTE),
    row("query", Pairs, Nothing, "Requests whose query has these parameters").of(ROUTE),
    row("client", Networks, Nothing, "Requests of clients in these networks").of(ROUTE),
    row("pool", Shares, Depends("default"), "Where they go, with weights where there are several")
        .of(ROUTE),
    row("strip-prefix", Prefix, Nothing, "What the path loses at its beginning").of(ROUTE),
    row("add-prefix", Prefix, Nothing, "What stands before the path then").of(ROUTE),
    row(
        "serve",
        Choice("admin"),
        Nothing,
        "Answer as the admin does: health, ready, metrics, status",
    )
    .of(ROUTE),
    row("redirect", Text, Nothing, "Answer with a redirect to there").of(ROUTE),
    count("redirect.status", "308", (301, 308), "Its status").of(ROUTE),
    row("respond", Text, Nothing, "Answer with this text").of(ROUTE),
    count("respond.status", "200", (200, 599), "Its status").of(ROUTE),
    row("respond.type", Text, Value("text/plain; charset=utf-8"), "Its Content-Type").of(ROUTE),
];

const ALL: Scope = TOP | POOL | ROUTE;
const CARE: Scope = TOP | POOL;
const BALANCES: &str = "round-robin|least-requests|two-choices|hash";
const PROBES: &str = "get|head|connect";
const CONNECTIONS: &str = "20000, or by descriptors";
const HOSTS: &str = "pass|upstream";
const FORMATS: &str = "human|json|common|combined|off";
const OWN_FORMATS: &str = "human|json";
const LEVELS: &str = "error|warn|info|debug|trace";
