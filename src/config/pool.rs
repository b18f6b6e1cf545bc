//! A pool as it was asked for: its upstreams, how one of them is chosen, and how they are looked after.

use std::fmt::{self, Display};
use std::net::IpAddr;
use std::ops::Deref;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::plan::ExchangeSpec;
use super::tls::UpstreamTlsSpec;

/// Where an upstream is reached.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// A host name or IP literal (IPv6 without brackets) and a port. Names are resolved later, off the data path.
    Tcp {
        /// Name or IP literal.
        host: String,
        /// Port, never 0.
        port: u16,
    },
    /// A Unix socket path.
    Unix(PathBuf),
}

/// One upstream as it was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct UpstreamSpec {
    /// The name it has in logs, metrics and `X-Backend-Server`: its canonical URL.
    pub name: String,
    /// The `Host` it expects when `HostHeader::Upstream` is chosen (`host` or `host:port`, default port left out).
    pub authority: String,
    /// How to reach it.
    pub place: Place,
    /// It speaks TLS: its URL begins with `https://`.
    pub secure: bool,
    /// What stands before the path of every request that goes there: empty, or `/` and more, and no slash at the end.
    pub base: String,
    /// Its share of the requests, in proportion to the others of its pool.
    pub weight: u32,
    /// It gets requests only while no other upstream of its pool is available.
    pub backup: bool,
    /// It gets no new requests: somebody said so at run time.
    pub draining: bool,
    /// The canonical URL with the name that has this address; `None`: it is as it was asked for.
    pub resolved_from: Option<Arc<str>>,
}

impl UpstreamSpec {
    /// The host of its URL, without a port; of an address that a name has, that name.
    pub fn host(&self) -> &str {
        host_of(&self.authority)
    }
}

/// The host of an authority (RFC 3986 section 3.2), an IPv6 address with its brackets.
pub(super) fn host_of(authority: &str) -> &str {
    let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
    if host.starts_with('[') && !host.ends_with(']') { authority } else { host }
}

/// A pool as it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolSpec {
    /// Its name.
    pub name: Arc<str>,
    /// At least one, no two with the same name; none only in the plan of a demo, which brings its own.
    pub upstreams: Vec<UpstreamSpec>,
    /// How an upstream is chosen.
    pub balance: Balance,
    /// A client stays with its upstream; `None`: it does not.
    pub sticky: Option<Sticky>,
    /// Upstreams are asked whether they are well; `None`: only requests find out.
    pub health: Option<HealthSpec>,
    /// One that keeps failing is left alone for a while; `None`: only one that cannot be connected to is, and briefly.
    pub breaker: Option<BreakerSpec>,
    /// How long an upstream that came, or came back, takes to get its full share; zero: none.
    pub slow_start: Duration,
    /// Requests under way have a bound; `None`: they have none.
    pub queue: Option<QueueSpec>,
    /// Further attempts in a hundred requests, at most.
    pub retry_budget: u32,
    /// When names of upstreams are looked up.
    pub resolve: Resolve,
    /// Connections to upstreams.
    pub connections: ConnectionSpec,
    /// TLS on those to upstreams that speak it.
    pub tls: Arc<UpstreamTlsSpec>,
    /// How exchanges with it go where a route does not say otherwise.
    pub exchange: Arc<ExchangeSpec>,
}

/// How the upstream of a request is chosen among those that are available.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Balance {
    /// One after the other, by weight.
    RoundRobin,
    /// The one with the fewest requests under way for its weight.
    LeastRequests,
    /// Of two by chance, the one whose answers take less time for those under way (peak EWMA).
    TwoChoices,
    /// The same for the same key, but for one that has too many under way: consistent hashing with bounded load.
    Hash(HashKey),
}

impl Balance {
    /// The word for it.
    pub fn name(&self) -> &'static str {
        match self {
            Balance::RoundRobin => "round-robin",
            Balance::LeastRequests => "least-requests",
            Balance::TwoChoices => "two-choices",
            Balance::Hash(_) => "hash",
        }
    }
}

/// The part of a request that says which upstream gets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HashKey {
    /// The address of the client: of one behind a trusted proxy, what that says.
    Client,
    /// The path, without the query.
    Path,
    /// Path and query.
    Uri,
    /// The first field of this name.
    Header(String),
    /// The cookie of this name.
    Cookie(String),
}

/// Which cookie keeps a client with its upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sticky {
    /// Its name.
    pub cookie: String,
    /// How long clients keep it; `None`: until the browser ends.
    pub max_age: Option<Duration>,
    /// What it is signed with; `None`: something that nobody knows, and that ends with the process.
    pub secret: Option<Secret>,
}

/// A text that nobody is shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret {
    text: Arc<str>,
    shown: Arc<str>,
}

impl Secret {
    /// What is shown in the place of a secret that stands in a file, or came as a flag.
    pub const MASK: &str = "***";

    /// `shown`: what to show in its place: where it comes from, or [`Secret::MASK`].
    pub fn new(text: &str, shown: &str) -> Secret {
        Secret { text: text.into(), shown: shown.into() }
    }
}

/// The text itself.
impl Deref for Secret {
    type Target = str;

    fn deref(&self) -> &str {
        &self.text
    }
}

/// What is shown in its place.
impl Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// How upstreams are asked whether they are well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthSpec {
    /// What a check does.
    pub method: ProbeMethod,
    /// The target, behind what stands before the path of all requests to the upstream.
    pub path: String,
    /// `Host`; `None`: the upstream's own.
    pub host: Option<String>,
    /// Statuses of one that is well.
    pub status: Vec<(u16, u16)>,
    /// What the body of its answer has in it; empty: anything.
    pub body: String,
    /// From one check to the next.
    pub interval: Duration,
    /// A check takes no longer.
    pub timeout: Duration,
    /// So many failures in a row: it is down.
    pub fall: u32,
    /// So many successes in a row: it is up.
    pub rise: u32,
}

/// What a check does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeMethod {
    /// Asks for the path.
    Get,
    /// Asks for its head.
    Head,
    /// Makes a connection, and closes it.
    Connect,
}

impl ProbeMethod {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            ProbeMethod::Get => "get",
            ProbeMethod::Head => "head",
            ProbeMethod::Connect => "connect",
        }
    }
}

/// When an upstream is left alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BreakerSpec {
    /// So many failures in a row.
    pub failures: u32,
    /// For so long.
    pub open: Duration,
    /// Then so many requests at a time try it.
    pub probes: u32,
    /// What counts as a failure.
    pub on: Failures,
    /// While all are left alone, requests go to them all the same.
    pub fail_open: bool,
}

/// How many requests may be under way, and wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueSpec {
    /// Requests under way to each upstream.
    pub max_requests: u32,
    /// Requests that wait.
    pub size: u32,
    /// How long one waits.
    pub wait: Duration,
}

/// When the names of upstreams are looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolve {
    /// At the start, and when none of the addresses can be connected to; the name is one upstream.
    AtStart,
    /// This often, or as their records say; each address is an upstream.
    Every(Duration),
    /// The same for SRV records, which name upstreams, ports, weights and priorities.
    Srv,
}

/// Connections to upstreams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionSpec {
    /// How long one may be without a request.
    pub idle_timeout: Duration,
    /// Idle ones that each core keeps for each upstream.
    pub max_idle: usize,
    /// One older than this carries no further request; zero: no bound.
    pub max_age: Duration,
    /// Requests that one carries; 0: no bound.
    pub max_requests: u32,
    /// One that is silent for so long is probed by the kernel; zero: never.
    pub keep_alive: Duration,
    /// The address they come from; `None`: as the kernel chooses.
    pub bind: Option<IpAddr>,
    /// The header of the PROXY protocol that each begins with, which then carries one request.
    pub proxy_protocol: Option<ProxyVersion>,
}

/// A version of the PROXY protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyVersion {
    /// A line of text.
    V1,
    /// Octets.
    V2,
}

impl ProxyVersion {
    /// Both, and the words for them in settings.
    pub const ALL: [(&'static str, Option<ProxyVersion>); 2] =
        [("v1", Some(ProxyVersion::V1)), ("v2", Some(ProxyVersion::V2))];

    /// The word for it in settings.
    pub fn name(self) -> &'static str {
        match self {
            ProxyVersion::V1 => "v1",
            ProxyVersion::V2 => "v2",
        }
    }
}

/// Whether, and when, a request is sent again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetrySpec {
    /// How many more upstreams are tried when one fails before it answers.
    pub most: u32,
    /// What is a reason to. A connection that cannot be made always is.
    pub on: Failures,
    /// How long one attempt may take to its first octet where another may follow; zero: as long as any.
    pub try_timeout: Duration,
    /// After so long without an octet of an answer a GET or HEAD is sent to another upstream as well; zero: never.
    pub hedge: Duration,
    /// Octets of a body that are kept to be sent again, beyond what came with the head.
    pub buffer: usize,
}

/// Failures of an upstream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Failures {
    /// No connection could be made.
    pub connect: bool,
    /// The answer did not begin in time.
    pub timeout: bool,
    /// The connection ended before an answer came.
    pub closed: bool,
    /// Answers of these statuses, from the least to the greatest.
    pub status: Vec<(u16, u16)>,
}

impl Failures {
    /// An answer of this status is one.
    pub fn has_status(&self, status: u16) -> bool {
        self.status.iter().any(|(least, most)| (*least..=*most).contains(&status))
    }
}

impl RetrySpec {
    /// As long as nobody says otherwise: `connect` and `closed`, two more.
    pub fn usual() -> RetrySpec {
        RetrySpec {
            most: 2,
            on: Failures { connect: true, closed: true, ..Failures::default() },
            try_timeout: Duration::ZERO,
            hedge: Duration::ZERO,
            buffer: 0,
        }
    }
}

impl PoolSpec {
    /// A pool of which nothing is said but its upstreams, and how exchanges go.
    pub fn plain(
        name: &str,
        upstreams: Vec<UpstreamSpec>,
        connections: ConnectionSpec,
        exchange: Arc<ExchangeSpec>,
    ) -> PoolSpec {
        PoolSpec {
            name: name.into(),
            upstreams,
            balance: Balance::RoundRobin,
            sticky: None,
            health: None,
            breaker: None,
            slow_start: Duration::ZERO,
            queue: None,
            retry_budget: 20,
            resolve: Resolve::AtStart,
            connections,
            tls: Arc::default(),
            exchange,
        }
    }
}
