//! What the tests of this room share.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process;
use std::sync::Arc;
use std::time::{Duration, Instant, UNIX_EPOCH};

use ipnet::IpNet;

use super::{IssuanceStatus, Loaded, ServedCertificate, View};
use crate::base::CertificateFacts;
use crate::config::{
    AccessLog, Conditions, ConnectionSpec, ExchangeSpec, Forward, HeaderRules, HostHeader, Listen,
    ListenerSpec, LogFormat, LogLevel, Overlay, OwnLogFormat, Place, Plan, PoolSpec, ProcessSpec,
    RetrySpec, RouteAction, RouteSource, RouteSpec, Share, Timeouts, UpstreamSpec,
};
use crate::http::Limits;
use crate::policy::Router;
use crate::stats::{Attempt, Core, Labels, ProcessState, Record, UpstreamState};

/// A path for a file of this process; an older one is removed.
pub fn scratch(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("tidegate-test-{}-{name}", process::id()));
    let _ = std::fs::remove_file(&path);
    path
}

#[expect(clippy::disallowed_methods, reason = "a test has no core whose clock it could ask")]
pub fn now() -> Instant {
    Instant::now()
}

/// A request that went through at the second try.
pub fn record() -> Record {
    let attempt = |upstream: &str, reused, outcome, cause: Option<&str>| Attempt {
        upstream: Arc::from(upstream),
        reused,
        outcome,
        cause: cause.map(str::to_owned),
        again: if cause.is_some() { "retried" } else { "" },
    };
    Record {
        time: UNIX_EPOCH + Duration::from_millis(1_795_234_506_789),
        id: "4f2a".to_owned(),
        peer: Some(SocketAddr::new(IpAddr::from([192, 0, 2, 7]), 40_000)),
        scheme: "http",
        method: "GET".to_owned(),
        host: "example.org".to_owned(),
        target: "/a?b=c".to_owned(),
        minor: 1,
        status: 200,
        bytes_in: 78,
        bytes_out: 1434,
        heads_out: 200,
        total: Duration::from_micros(12_345),
        queued: None,
        connect: Some(Duration::from_micros(250)),
        first_byte: Some(Duration::from_micros(11_000)),
        route: Arc::from("shop"),
        pool: Arc::from("default"),
        auth: Arc::from("billing"),
        limit: Arc::default(),
        reason: "done",
        user_agent: "curl/8".to_owned(),
        referer: String::new(),
        attempts: vec![
            attempt("http://10.0.0.1:80", false, "connect_failed", Some("Connection refused")),
            attempt("http://10.0.0.2:80", true, "done", None),
        ],
    }
}

fn upstream(port: u16) -> UpstreamSpec {
    UpstreamSpec {
        name: format!("http://127.0.0.1:{port}"),
        authority: format!("127.0.0.1:{port}"),
        place: Place::Tcp { host: "127.0.0.1".to_owned(), port },
        secure: false,
        base: String::new(),
        weight: 1,
        backup: false,
        draining: false,
        resolved_from: None,
    }
}

fn exchange() -> ExchangeSpec {
    let second = Duration::from_secs(1);
    ExchangeSpec {
        max_body: None,
        min_rate: None,
        host: HostHeader::Pass,
        backend_header: false,
        upgrades: Vec::new(),
        half_close: true,
        retry: RetrySpec::usual(),
        timeouts: Timeouts {
            connect: second,
            read: second * 10,
            write: second * 10,
            response: second * 60,
            tunnel_idle: second * 3600,
            expect: Duration::from_millis(1500),
        },
        request_header: HeaderRules::default(),
        response_header: HeaderRules::default(),
        error_pages: Vec::new(),
    }
}

pub fn plan() -> Plan {
    let second = Duration::from_secs(1);
    let exchange = Arc::new(exchange());
    Plan {
        process: ProcessSpec {
            admin: Some(Listen::Unix("/run/admin".into())),
            admin_tokens: Vec::new(),
            workers: 2,
            max_connections: 100,
            descriptors: 1024,
            buffers: 64,
            drain_delay: second,
            drain_timeout: second * 30,
            access_log: AccessLog { format: Some(LogFormat::Json), file: None },
            audit: None,
            log: LogLevel::Info,
            state: None,
            resolver: Vec::new(),
            watch: false,
            log_format: OwnLogFormat::Human,
        },
        listener: ListenerSpec {
            addresses: vec![Listen::Tcp(([127, 0, 0, 1], 0).into())],
            secure: Vec::new(),
            tls: None,
            limits: Limits { head: 16_384, target: 8192, fields: 100 },
            read_timeout: second * 10,
            idle_timeout: second * 75,
            trusted: vec![IpNet::new_assert([10, 0, 0, 0].into(), 8)],
            trusted_names: vec!["True-Client-IP".to_owned()],
            proxy_protocol: Vec::new(),
            max_client_connections: None,
        },
        gate: Arc::default(),
        lists: Default::default(),
        auths: Vec::new(),
        service_tls: Arc::default(),
        limits: Vec::new(),
        routes: [route(&exchange)].into(),
        pools: vec![Arc::new(PoolSpec::plain(
            "default",
            vec![upstream(9001), upstream(9002)],
            ConnectionSpec {
                idle_timeout: second * 60,
                max_idle: 32,
                max_age: Duration::ZERO,
                max_requests: 0,
                keep_alive: Duration::ZERO,
                bind: None,
                proxy_protocol: None,
            },
            Arc::clone(&exchange),
        ))],
        exchange,
    }
}

/// Every request goes to the pool `default`.
fn route(exchange: &Arc<ExchangeSpec>) -> RouteSpec {
    let share = Share { pool: "default".into(), weight: 1, exchange: Arc::clone(exchange) };
    RouteSpec {
        name: "default".into(),
        conditions: Conditions::default(),
        gate: Arc::default(),
        action: RouteAction::Forward(Forward {
            shares: vec![share],
            strip_prefix: None,
            add_prefix: String::new(),
        }),
        exchange: Arc::clone(exchange),
        source: RouteSource::Top,
    }
}

const LABELS: Labels = Labels {
    methods: &["GET", "_OTHER"],
    reasons: &[
        ("done", None),
        ("client_gone", Some("client")),
        ("connect_failed", Some("upstream")),
    ],
    copies: &["small", "no_pipe"],
    handshakes: &["unknown_ca"],
};

/// Two cores that know `LABELS` and the upstreams of `plan`.
pub fn view() -> View {
    let core = || Arc::new(Core::new(&LABELS));
    let plan = plan();
    let upstream = |upstream: &UpstreamSpec| {
        Arc::new(UpstreamState::new("default", upstream.name.as_str(), 2))
    };
    View {
        version: "1.2.3",
        router: Router::new(&plan, None),
        auths: Vec::new(),
        limits: Vec::new(),
        certificates: vec![ServedCertificate {
            shown_to: "clients".to_owned(),
            facts: CertificateFacts {
                names: vec!["a.test".to_owned()],
                issuer: "CN=CA".to_owned(),
                not_before: 1_700_000_000,
                not_after: 4_000_000_000,
                fingerprint_sha256: "ab".repeat(32),
            },
        }],
        acme: vec![
            IssuanceStatus {
                issued: 2,
                next_order_at: Some(4_000_000_000),
                ..IssuanceStatus::new("a.test")
            },
            IssuanceStatus {
                failed: 3,
                last_error: Some((1_700_000_000, "no such name (dns)".to_owned())),
                next_order_at: Some(1_700_000_300),
                ..IssuanceStatus::new("b.test")
            },
        ],
        changes: Overlay::default(),
        listen: vec!["127.0.0.1:8080".to_owned()],
        state: Arc::new(ProcessState::new()),
        started: now(),
        started_at: UNIX_EPOCH,
        cores: vec![core(), core()],
        unwritten: Arc::default(),
        audit_lost: Arc::default(),
        upstreams: plan.upstreams().map(|(_, one)| upstream(one)).collect(),
        named: Arc::new(plan.clone()),
        plan: Arc::new(plan),
        labels: LABELS,
        loaded: Loaded { successful: true, at: UNIX_EPOCH },
    }
}

/// A view of some traffic: four requests over both cores, one of which failed.
pub fn busy() -> View {
    let view = view();
    let [one, two] = [&view.cores[0], &view.cores[1]];
    for (core, millis) in [(one, 1), (one, 2), (two, 3), (two, 20_000)] {
        core.accepted.add(1);
        core.requests.add(1);
        core.duration.observe(Duration::from_millis(millis));
        core.client_received.add(100);
        core.client_sent.add(1000);
    }
    one.reasons[0].add(2);
    two.reasons[0].add(1);
    two.reasons[2].add(1);
    one.answers.of(0, 200).add(2);
    two.answers.of(0, 200).add(1);
    two.answers.of(0, 502).add(1);
    two.connections.set(3);
    one.tunnels.set(1);
    two.tunnels.set(2);
    one.tunnels_opened.add(3);
    two.tunnels_opened.add(4);
    two.copied[1].add(7);
    let upstream = view.upstreams[1].of_core(1);
    upstream.requests.add(4);
    upstream.responses[1].add(3);
    upstream.failures.add(1);
    upstream.active.set(1);
    upstream.idle.set(2);
    upstream.first_byte.observe(Duration::from_millis(2));
    view
}
