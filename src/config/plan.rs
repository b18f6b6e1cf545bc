//! The `Plan`: everything that was asked, checked, with no way to hold a contradiction.
//!
//! A plan is immutable; the control plane shares it as `Arc<Plan>` with every core.

use ipnet::IpNet;
use std::collections::BTreeMap;
use std::fmt::{self, Display};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::gate::{AuthSpec, Gate, LimitSpec, NetworkList, Token};
use super::header::HeaderRules;
use super::pool::{PoolSpec, RetrySpec, UpstreamSpec};
use super::route::{RouteAction, RouteSpec};
use super::tls::{TlsSpec, UpstreamTlsSpec};

use crate::http::Limits;

/// Where a socket listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Listen {
    /// A TCP port at every address of the machine, of IPv4 and of IPv6; port 0 as below.
    Any(u16),
    /// A TCP address, port 0 meaning "any free port" (the bound one is logged). An IPv6 address is IPv6
    /// alone, `[::]` included.
    Tcp(SocketAddr),
    /// A Unix socket path.
    Unix(PathBuf),
}

impl Listen {
    /// Is whoever connects to `other` at this address as well? Port 0 is another port each time.
    pub fn covers(&self, other: &Listen) -> bool {
        match (self, other) {
            (Listen::Any(0), _) => false,
            (Listen::Any(port), Listen::Any(other)) => port == other,
            (Listen::Any(port), Listen::Tcp(other)) => *port == other.port(),
            (Listen::Tcp(address), Listen::Tcp(other)) => {
                let all = address.ip().is_unspecified() && address.is_ipv4() == other.is_ipv4();
                let ip = all || address.ip() == other.ip();
                address.port() != 0 && address.port() == other.port() && ip
            }
            (Listen::Unix(path), Listen::Unix(other)) => path == other,
            _ => false,
        }
    }
}

/// As it is written in settings.
impl Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Listen::Any(port) => write!(f, ":{port}"),
            Listen::Tcp(address) => address.fmt(f),
            Listen::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Which `Host` an upstream sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostHeader {
    /// The one the client sent.
    Pass,
    /// The upstream's own authority.
    Upstream,
}

/// How an access log line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One line for a person.
    Human,
    /// One JSON object a line.
    Json,
    /// NCSA common.
    Common,
    /// NCSA combined.
    Combined,
}

impl LogFormat {
    /// The word for it in settings.
    pub const fn name(self) -> &'static str {
        match self {
            LogFormat::Human => "human",
            LogFormat::Json => "json",
            LogFormat::Common => "common",
            LogFormat::Combined => "combined",
        }
    }
}

/// The access log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessLog {
    /// `None`: no access log at all; nothing is recorded.
    pub format: Option<LogFormat>,
    /// `None`: standard output.
    pub file: Option<PathBuf>,
}

/// How much tidegate tells about itself on standard error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Failures that were not repaired.
    Error,
    /// Things that look wrong.
    Warn,
    /// Starts, stops and changes.
    Info,
    /// Details that help to find a fault.
    Debug,
    /// Everything.
    Trace,
}

impl LogLevel {
    /// The word for it in settings.
    pub const fn name(self) -> &'static str {
        match self {
            LogLevel::Error => "error",
            LogLevel::Warn => "warn",
            LogLevel::Info => "info",
            LogLevel::Debug => "debug",
            LogLevel::Trace => "trace",
        }
    }
}

/// How a line of the proxy's own log looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnLogFormat {
    /// One line for a person.
    Human,
    /// One JSON object a line.
    Json,
}

impl OwnLogFormat {
    /// The word for it in settings.
    pub const fn name(self) -> &'static str {
        match self {
            OwnLogFormat::Human => "human",
            OwnLogFormat::Json => "json",
        }
    }
}

/// How long tidegate waits for the two sides of an exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// A connection to an upstream that is being made.
    pub connect: Duration,
    /// Between reads of a body.
    pub read: Duration,
    /// Between writes that make progress, to either side.
    pub write: Duration,
    /// The first octet of an answer (504).
    pub response: Duration,
    /// A tunnel through which nothing goes, either way.
    pub tunnel_idle: Duration,
    /// How long an interrupted upload waits for `100 Continue` before tidegate says it itself.
    pub expect: Duration,
}

/// Everything that was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Settings of the process as a whole.
    pub process: ProcessSpec,
    /// Where requests come from.
    pub listener: ListenerSpec,
    /// How an exchange goes where neither a pool nor a route says otherwise; so are requests refused that no route
    /// means.
    pub exchange: Arc<ExchangeSpec>,
    /// What is demanded of requests at the top.
    pub gate: Arc<Gate>,
    /// Networks that have a name, by that.
    pub lists: BTreeMap<String, Arc<NetworkList>>,
    /// Ways to tell who asks. No two have the same name.
    pub auths: Vec<Arc<AuthSpec>>,
    /// TLS towards services that decide about requests, or have keys: that of the settings at the top.
    pub service_tls: Arc<UpstreamTlsSpec>,
    /// Limits. No two have the same name.
    pub limits: Vec<Arc<LimitSpec>>,
    /// What happens to requests: of the routes that match one, the first.
    pub routes: Arc<[RouteSpec]>,
    /// Where they go. No two have the same name. What a plan has in common with another it shares.
    pub pools: Vec<Arc<PoolSpec>>,
}

impl Plan {
    /// The pool of this name.
    pub fn pool(&self, name: &str) -> Option<&PoolSpec> {
        self.pools.iter().map(|pool| &**pool).find(|pool| *pool.name == *name)
    }

    /// The same, with every exchange going as `exchange` says.
    pub fn with_exchange(mut self, exchange: ExchangeSpec) -> Plan {
        self.exchange = Arc::new(exchange);
        for pool in &mut self.pools {
            Arc::make_mut(pool).exchange = Arc::clone(&self.exchange);
        }
        let with = |mut route: RouteSpec| {
            route.exchange = Arc::clone(&self.exchange);
            if let RouteAction::Forward(forward) = &mut route.action {
                let shares = forward.shares.iter_mut();
                shares.for_each(|share| share.exchange = Arc::clone(&self.exchange));
            }
            route
        };
        self.routes = self.routes.iter().cloned().map(with).collect();
        self
    }

    /// Every upstream of every pool, in order.
    pub fn upstreams(&self) -> impl Iterator<Item = (&PoolSpec, &UpstreamSpec)> {
        self.pools.iter().flat_map(|pool| pool.upstreams.iter().map(move |one| (&**pool, one)))
    }
}

/// The process as it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessSpec {
    /// `None`: no admin listener.
    pub admin: Option<Listen>,
    /// Who may give it orders, where anybody is named; the role `read` is not enough for that.
    pub admin_tokens: Vec<Token>,
    /// Data plane threads, at least one.
    pub workers: usize,
    /// Client connections over all cores; beyond it idle ones are closed, and accepting pauses.
    pub max_connections: usize,
    /// Descriptors the process may have, for all purposes.
    pub descriptors: usize,
    /// Buffers of 16 KiB each core may own.
    pub buffers: usize,
    /// Between the end of readiness and the end of accepting, for load balancers to notice.
    pub drain_delay: Duration,
    /// Graceful shutdown, before what is left is cut.
    pub drain_timeout: Duration,
    /// The access log.
    pub access_log: AccessLog,
    /// Where refused credentials and changes are logged.
    pub audit: Option<PathBuf>,
    /// The proxy's own log, on standard error.
    pub log: LogLevel,
    /// How that is written.
    pub log_format: OwnLogFormat,
    /// The folder where changes made at run time are kept; `None`: in memory only.
    pub state: Option<PathBuf>,
    /// DNS servers that are asked for names of upstreams; none: the system's, or its resolver.
    pub resolver: Vec<SocketAddr>,
    /// The files that settings are read from are looked at, and read anew when they change.
    pub watch: bool,
}

/// The listener as it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerSpec {
    /// At least one.
    pub addresses: Vec<Listen>,
    /// Those of them where TLS is spoken, and nothing else.
    pub secure: Vec<Listen>,
    /// How; `None`: nowhere.
    pub tls: Option<Arc<TlsSpec>>,
    /// Bounds of a head: of a request, and of the answer to it.
    pub limits: Limits,
    /// A whole request head, from its first octet (408).
    pub read_timeout: Duration,
    /// A client connection without a request.
    pub idle_timeout: Duration,
    /// Peers whose `X-Forwarded-*` are believed.
    pub trusted: Vec<IpNet>,
    /// Peers that begin with a header of the PROXY protocol; where a listener is named, at that one alone.
    pub proxy_protocol: Vec<(Option<Listen>, IpNet)>,
    /// Connections of one address; `None`: no bound.
    pub max_client_connections: Option<usize>,
    /// Further fields that only those may send; none that has a [`Name`](crate::http::Name) of its own.
    pub trusted_names: Vec<String>,
}

impl ListenerSpec {
    /// An address of it as it is written in settings, with `https://` before it where TLS is spoken.
    pub fn written(&self, listen: &Listen) -> String {
        let scheme = if self.secure.contains(listen) { "https://" } else { "" };
        format!("{scheme}{listen}")
    }
}

/// How an exchange goes, as the settings at the top, of its pool and of its route say together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExchangeSpec {
    /// Octets of a request body; `None`: no bound.
    pub max_body: Option<u64>,
    /// Octets of a request body that come in a second, at least; `None`: no bound.
    pub min_rate: Option<u64>,
    /// Which `Host` an upstream sees.
    pub host: HostHeader,
    /// `X-Backend-Server` on answers.
    pub backend_header: bool,
    /// Protocols besides `websocket` that a client may upgrade to.
    pub upgrades: Vec<String>,
    /// A client that closes its sending side while it waits for the answer still gets it.
    pub half_close: bool,
    /// Whether, and when, a request is sent again.
    pub retry: RetrySpec,
    /// Time-outs.
    pub timeouts: Timeouts,
    /// Fields of the request that are changed on the way to the upstream.
    pub request_header: HeaderRules,
    /// Fields of the answer that are changed on the way to the client.
    pub response_header: HeaderRules,
    /// Bodies of refusals, in place of our own.
    pub error_pages: Vec<ErrorPage>,
}

/// The body of refusals of some statuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorPage {
    /// The least and the greatest status.
    pub statuses: (u16, u16),
    /// The file it was read from.
    pub file: PathBuf,
    /// `Content-Type`.
    pub kind: &'static str,
    /// What is in it.
    pub body: Arc<str>,
}
