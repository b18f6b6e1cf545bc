//! Everything that was given -> a [`Plan`], with every mistake reported.

use ipnet::IpNet;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use super::care::Care;
use super::diagnostics::{Diagnostic, Diagnostics, instead, wrong};
use super::gate::Token;
use super::given::{Given, Origin};
use super::header::HeaderRules;
use super::layers::Layers;
use super::listeners::{self, Listening, collide};
use super::plan::*;
use super::pool::*;
use super::routing::Above;
use super::settings::{Item, Settings, setting};
use super::table::{Form, Setting};
use super::{Surroundings, advice, descriptors, parts, places, sections, unused, values};
use crate::http::Limits;

/// A plan, and the settings that are about the plan and not in it.
///
/// If the report holds mistakes, placeholders stand where they were made; whoever closes the
/// report then throws the plan away.
#[derive(Debug)]
pub struct Built {
    /// The plan.
    pub plan: Plan,
    /// Warnings are mistakes.
    pub strict: bool,
    /// Origins of its own are wanted.
    pub demo: bool,
}

/// The longest lists: addresses to listen on, networks.
pub const MOST_LISTED: usize = 256;
/// Names of fields at most: each is compared with every field of a request that has its length.
const MOST_NAMES: usize = 32;
/// DNS servers at most: one that is silent costs time before the next.
const MOST_SERVERS: usize = 8;
/// Roles of tokens for the admin.
const OF_ADMIN: [&str; 2] = ["read", "operate"];
/// Upstreams at most; each costs counters on every core.
pub const MOST_UPSTREAMS: usize = 16_384;

/// Builds the plan. `must_run`: without an upstream it is of no use.
pub fn build(
    layers: &Layers,
    around: &Surroundings<'_>,
    must_run: bool,
    diagnostics: &mut Diagnostics,
) -> Built {
    let mut settings = Settings { layers, section: None, diagnostics };
    let strict = settings.one("strict", values::switch).unwrap_or(false);
    let demo = settings.one("demo", values::switch).unwrap_or(false);
    // Read by `layers` already; here only its mistakes count.
    let _ = settings.one("env-file", places::file);
    let _ = settings.one("config", places::file);
    let listener = settings.listener(demo);
    let process = settings.process(around, &listener.addresses);
    let own: Vec<Listen> = listener.addresses.iter().chain(&process.admin).cloned().collect();
    let upstreams = settings.upstreams(&own, demo, must_run);
    let exchange = settings.exchange_at_top(listener.read_timeout);
    let care = settings.care(&Care::none());
    let pool = care.pool(sections::DEFAULT, upstreams, Arc::clone(&exchange));
    let pools = settings.pools(&exchange, pool, &care);
    let named = settings.named();
    let gate = settings.gate_at_top(&named);
    let routes = {
        let above = Above::new(&exchange, &gate, &named, &pools);
        settings.routes(&above).into()
    };
    let pools = pools.into_iter().map(Arc::new).collect();
    let (lists, auths, limits) = named.into_parts();
    let service_tls = Arc::clone(care.tls());
    let plan = Plan {
        process,
        listener,
        exchange,
        gate,
        lists,
        auths,
        service_tls,
        limits,
        routes,
        pools,
    };
    settings.refuse_what_cors_says(&plan);
    settings.refuse_certificates_of_nobody(&plan);
    unused::warn(&mut settings, &plan);
    Built { plan, strict, demo }
}

impl Settings<'_> {
    fn process(&mut self, around: &Surroundings<'_>, listen: &[Listen]) -> ProcessSpec {
        let (workers, max_connections) = self.workers(around, listen);
        ProcessSpec {
            admin: self.admin(listen),
            admin_tokens: self.admin_tokens(),
            workers,
            max_connections,
            descriptors: around.descriptors,
            buffers: self.number("buffers") as usize,
            drain_delay: self.wait("drain-delay"),
            drain_timeout: self.wait("drain-timeout"),
            access_log: self.access_log(around.stdout_is_terminal),
            audit: self.one("access-log-audit", places::file),
            log: self.one("log", log_level).unwrap_or(LogLevel::Info),
            log_format: self.one("log-format", own_log_format).unwrap_or(OwnLogFormat::Human),
            state: self.one("state", places::folder),
            resolver: self.list("resolver", MOST_SERVERS, parts::server),
            watch: self.one("watch", values::switch).unwrap_or(false),
        }
    }

    fn listener(&mut self, demo: bool) -> ListenerSpec {
        let Listening { addresses, secure, secured, mut proxy_protocol } = self.listen(demo);
        let everywhere = self.list("proxy-protocol", MOST_LISTED, places::network);
        proxy_protocol.extend(everywhere.into_iter().map(|network| (None, network)));
        let most = self.number_or_off("max-client-connections").flatten();
        let tls = self.tls(secured.as_ref());
        if let Some(acme) = tls.as_ref().and_then(|tls| tls.acme.as_ref()) {
            self.warn_of_unanswered_acme(acme, addresses.len() > secure.len());
        }
        ListenerSpec {
            addresses,
            tls,
            secure,
            limits: Limits {
                head: self.number("max-head") as usize,
                target: self.number("max-target") as usize,
                fields: self.number("max-fields") as usize,
            },
            read_timeout: self.wait("read-timeout"),
            idle_timeout: self.wait("idle-timeout"),
            trusted: self.trusted(),
            trusted_names: self.trusted_names(),
            proxy_protocol,
            max_client_connections: most.map(|most| most as usize),
        }
    }

    /// How exchanges go where neither pool nor route says otherwise. Every setting has a default, so nothing of what it
    /// begins with is left.
    /// `read`: at the top there is one setting for what is read, heads and bodies.
    fn exchange_at_top(&mut self, read: Duration) -> Arc<ExchangeSpec> {
        let mut spec = ExchangeSpec {
            max_body: None,
            min_rate: None,
            host: HostHeader::Pass,
            backend_header: false,
            upgrades: Vec::new(),
            half_close: false,
            retry: RetrySpec::usual(),
            timeouts: Timeouts {
                connect: Duration::ZERO,
                read,
                write: Duration::ZERO,
                response: Duration::ZERO,
                tunnel_idle: Duration::ZERO,
                expect: Duration::ZERO,
            },
            request_header: HeaderRules::default(),
            response_header: HeaderRules::default(),
            error_pages: Vec::new(),
        };
        self.change(&mut spec);
        Arc::new(spec)
    }

    /// Workers and connections: each worker gets at least one connection.
    fn workers(&mut self, around: &Surroundings<'_>, listen: &[Listen]) -> (usize, usize) {
        let Setting { form, range, .. } = *setting("max-connections");
        let connections = self.one("max-connections", |text| values::number(form, range, text));
        let connections = connections.map(|connections| connections as usize);
        let Setting { form, range, .. } = *setting("workers");
        let asked = self.one("workers", |text| values::number(form, range, text));
        let cores = around.cores.clamp(1, range.1 as usize);
        let workers = match (asked, connections) {
            (Some(workers), _) => workers as usize,
            (None, Some(connections)) => cores.min(connections.max(1)),
            (None, None) => cores,
        };
        let enough = descriptors::connections_for(around.descriptors, workers, listen);
        let Some(connections) = connections else {
            return (workers, enough.min(descriptors::CONNECTIONS));
        };
        if workers > connections
            && let Some(Given { text, origin, .. }) = self.layers.of(setting("workers")).first()
        {
            let what = format!("there are fewer connections (--max-connections {connections})");
            let right = instead(what, [connections.to_string()]).and(" or less");
            self.diagnostics.mistake_in(origin, text, 0..text.len(), right);
        } else if connections > enough
            && let Some(Given { text, origin, .. }) =
                self.layers.of(setting("max-connections")).first()
        {
            let what = format!(
                "{connections} clients need up to 2 descriptors each, and the limit is {}",
                around.descriptors
            );
            let right = instead(what, [enough.to_string()]);
            let right = right.and(" or less, or raise the hard limit (ulimit -Hn)");
            self.diagnostics.warning_in(origin, text, right);
        }
        (workers, connections)
    }

    fn admin(&mut self, listen: &[Listen]) -> Option<Listen> {
        let read = |text: &str| match listeners::admin(text)? {
            Some(admin) if listen.iter().any(|listen| collide(listen, &admin)) => {
                let what = "clients and admin cannot have the same address";
                Err(wrong(what, "take another port, or off"))
            }
            admin => Ok(admin),
        };
        let admin = self.one("admin", read).flatten()?;
        let Given { text, origin, .. } = self.layers.of(setting("admin")).into_iter().next()?;
        let open = match &admin {
            Listen::Any(port) => Some(*port),
            Listen::Tcp(address) => (!address.ip().is_loopback()).then_some(address.port()),
            Listen::Unix(_) => None,
        };
        if let Some(port) = open
            && !self.is_given("admin-token")
        {
            let what = "whoever reaches this address sees status and metrics";
            let offers = ["127.0.0.1", "[::1]"].map(|host| format!("{host}:{port}"));
            let right = match offers.into_iter().find(|offer| read(offer).is_ok()) {
                Some(offer) => instead(what, [offer]).and(" if they need not"),
                // Clients have this port there.
                None => wrong(what, "take a port of 127.0.0.1 if they need not"),
            };
            self.diagnostics.warning_in(&origin, &text, right);
        }
        Some(admin)
    }

    fn admin_tokens(&mut self) -> Vec<Token> {
        let tokens = self.tokens("admin-token", "admin");
        let is_odd = |token: &Token| {
            token.roles.len() > 1 || token.roles.iter().any(|role| !OF_ADMIN.contains(&&**role))
        };
        if let Some(odd) = tokens.iter().find(|token| is_odd(token))
            && let Some(given) = self.given("admin-token").first()
        {
            let what = format!("the token {} has another role than those of the admin", odd.name);
            let right = "give it role=read, to look alone, or role=operate";
            self.refuse_one(given, wrong(what, right));
        }
        tokens
    }

    fn upstreams(&mut self, listen: &[Listen], demo: bool, must_run: bool) -> Vec<UpstreamSpec> {
        let mut items = self.all("upstream", MOST_UPSTREAMS, |text| upstream(text, listen));
        let read_one = |text: &str| match text.contains(',') {
            true => Err(wrong("one URL is possible here", "write a variable for each URL")),
            false => upstream(text, listen),
        };
        for server in &self.layers.servers {
            let names_https = server.origin.names_https();
            let read_one = |text: &str| match names_https && !text.contains("://") {
                true => read_one(&format!("https://{text}")),
                false => read_one(text),
            };
            match advice::read(Form::Urls, &server.text, read_one) {
                Ok(value) => {
                    if names_https && !value.secure {
                        let what = "this upstream speaks no TLS, though its variable says so";
                        self.warn(server, wrong(what, "begin it with https://"));
                    }
                    items.push(Item { value, given: server.clone() });
                }
                Err(wrong) => self.refuse(server, 0..server.text.len(), wrong),
            }
        }
        if demo && let Some(Item { given, .. }) = items.first() {
            let what = "this is not used: a demo brings its own upstreams";
            self.diagnostics.warning(&given.origin, wrong(what, "leave --demo out"));
        }
        if demo {
            return Vec::new();
        }
        let given = self.layers.of(setting("upstream"));
        let has_others = !self.layers.sections.is_empty() || self.layers.unread;
        if must_run && !has_others && given.is_empty() && self.layers.servers.is_empty() {
            let right = "write: tidegate --upstream http://127.0.0.1:9001   or: tidegate --demo";
            let what = "no upstream is given, so there is nowhere to send requests";
            self.diagnostics.mistake(Origin::CommandLine, wrong(what, right));
        }
        self.refuse_backups_alone(&items);
        self.without_repeats(items, |upstream| upstream.name.clone())
    }

    /// The upstreams that a pool of the file names.
    pub(super) fn own_upstreams(&mut self, listen: &[Listen]) -> Vec<UpstreamSpec> {
        let items = self.all("upstream", MOST_UPSTREAMS, |text| upstream(text, listen));
        self.refuse_backups_alone(&items);
        self.without_repeats(items, |upstream| upstream.name.clone())
    }

    fn refuse_backups_alone(&mut self, items: &[Item<UpstreamSpec>]) {
        if let Some(Item { given, .. }) = items.first()
            && items.iter().all(|item| item.value.backup)
        {
            let what = "every upstream of this pool is a backup, and there is none to stand in for";
            self.refuse(given, 0..given.text.len(), wrong(what, "leave backup out of one"));
        }
    }

    fn trusted(&mut self) -> Vec<IpNet> {
        let items = self.all("trusted-proxy", MOST_LISTED, places::network);
        for Item { value, given, .. } in &items {
            if value.prefix_len() == 0 {
                let what = "everyone is believed, so anyone can pretend to be any client";
                let right = "write the networks of your own proxies";
                self.diagnostics.warning_in(&given.origin, &given.text, wrong(what, right));
            }
        }
        items.into_iter().map(|item| item.value).collect()
    }

    fn trusted_names(&mut self) -> Vec<String> {
        self.list("trusted-header", MOST_NAMES, values::field)
    }

    fn access_log(&mut self, stdout_is_terminal: bool) -> AccessLog {
        let file = |text: &str| match text {
            "-" => Err(wrong(
                "- is no name of standard output here",
                "leave it out: that is the default",
            )),
            text => places::file(text),
        };
        let file: Option<PathBuf> = self.one("access-log-file", file);
        let default = match file {
            None if stdout_is_terminal => LogFormat::Human,
            _ => LogFormat::Json,
        };
        let format = self.one("access-log", log_format).unwrap_or(Some(default));
        if format.is_none()
            && let (Some(_), Some(given)) =
                (&file, self.layers.of(setting("access-log-file")).first())
        {
            let what = "no file is written, since the access log is off";
            self.diagnostics.warning_in(&given.origin, &given.text, wrong(what, "leave one out"));
        }
        AccessLog { format, file }
    }
}

/// An upstream that is not ourselves.
fn upstream(text: &str, listen: &[Listen]) -> Result<UpstreamSpec, Diagnostic> {
    match places::upstream(text)? {
        UpstreamSpec { place, .. } if listen.iter().any(|listen| leads_back(&place, listen)) => {
            let what = "tidegate listens there itself, so requests would go in circles";
            Err(wrong(what, "write the address of the service itself"))
        }
        upstream => Ok(upstream),
    }
}

/// The upstream is our own listener.
pub(super) fn leads_back(place: &Place, listen: &Listen) -> bool {
    match (place, listen) {
        (Place::Tcp { host, port }, listen) => {
            let ip = match host.as_str() {
                "localhost" => Ok(IpAddr::from([127, 0, 0, 1])),
                host => IpAddr::from_str(host),
            };
            ip.map(|ip| ip.to_canonical()).is_ok_and(|ip| {
                let there = Listen::Tcp(SocketAddr::new(ip, *port));
                // Of other addresses nobody knows here whether they are this machine's.
                let is_ours = ip.is_loopback() || ip.is_unspecified();
                *listen == there || (is_ours && listen.covers(&there))
            })
        }
        (Place::Unix(path), listen) => matches!(listen, Listen::Unix(socket) if path == socket),
    }
}

pub(super) fn host_header(text: &str) -> Result<HostHeader, Diagnostic> {
    values::choice(&[("pass", HostHeader::Pass), ("upstream", HostHeader::Upstream)], text)
}

fn log_format(text: &str) -> Result<Option<LogFormat>, Diagnostic> {
    if text.contains('/') {
        let what = "this is a file, and its format is wanted here";
        return Err(wrong(what, "name the file with --access-log-file"));
    }
    let choices = [
        ("human", Some(LogFormat::Human)),
        ("json", Some(LogFormat::Json)),
        ("common", Some(LogFormat::Common)),
        ("combined", Some(LogFormat::Combined)),
        ("off", None),
    ];
    values::choice(&choices, text)
}

fn own_log_format(text: &str) -> Result<OwnLogFormat, Diagnostic> {
    values::choice(&[("human", OwnLogFormat::Human), ("json", OwnLogFormat::Json)], text)
}

fn log_level(text: &str) -> Result<LogLevel, Diagnostic> {
    let choices = [
        ("error", LogLevel::Error),
        ("warn", LogLevel::Warn),
        ("info", LogLevel::Info),
        ("debug", LogLevel::Debug),
        ("trace", LogLevel::Trace),
    ];
    values::choice(&choices, text)
}
