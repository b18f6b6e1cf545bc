//! Every family of metrics of one scrape: what the cores counted, and what is known of the process.

use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};

use super::{IssuanceStatus, ServedCertificate, View, show};
use crate::base::digits;
use crate::stats::{
    BreakerState, CheckOutcome, Family, Kind, Labels, Phase, Sample, Totals, UpstreamState,
    UpstreamTotals, Value,
};

/// All families with the names a scraper sees, but for `_total` behind a counter's.
pub(super) fn all(view: &View) -> Vec<(String, Family)> {
    let totals = view.totals();
    let ours = process(view).into_iter().chain([errors(view, &totals)]);
    let ours = ours.chain(totals.families(&view.labels)).chain(gate(view));
    let ours = ours.chain(certificates(view)).chain(upstreams(view));
    let ours = ours.map(|family| (format!("tidegate_{}", family.name), family));
    let usage = usage(view.started_at).into_iter();
    ours.chain(usage.map(|family| (format!("process_{}", family.name), family))).collect()
}

/// What is known of the process and is no count of a core.
pub(super) fn process(view: &View) -> Vec<Family> {
    let count = Value::Count;
    let version = vec![("version", view.version.to_owned())];
    let build = Sample { labels: version, value: count(1) };
    let info = "Always 1; the label says what runs.";
    let ready = u64::from(view.state.get() == Phase::Ready);
    let uptime = Value::Number(view.started.elapsed().as_secs_f64());
    let loaded = u64::from(view.loaded.successful);
    let read_at = view.loaded.at.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let buffers = (view.plan.process.buffers * view.cores.len()) as u64;
    vec![
        Family { samples: vec![build], ..one("build_info", "", info, count(1)) },
        one("ready", "", "1 while requests are served, else 0.", count(ready)),
        one("uptime_seconds", "uptime_s", "Time since the process started.", uptime),
        one(
            "config_last_reload_successful",
            "config.last_reload_successful",
            "1 if the settings in force are those that were read last, else 0.",
            count(loaded),
        ),
        one(
            "config_last_reload_success_timestamp_seconds",
            "config.loaded_at",
            "When the settings in force were read, since the epoch.",
            Value::Number(read_at.as_secs_f64()),
        ),
        one("buffers", "buffers.total", "Buffers there are.", count(buffers)),
        lines(
            "log_lines_unwritten",
            "Access log lines that could not be written.",
            view.unwritten.get(),
        ),
        lines(
            "audit_lines_lost",
            "Audit log lines that found the queue full or could not be written.",
            view.audit_lost.get(),
        ),
    ]
}

/// Lines of a log that were lost.
fn lines(name: &'static str, help: &'static str, lost: u64) -> Family {
    Family { kind: Kind::Counter, ..one(name, name, help, Value::Count(lost)) }
}

fn errors(view: &View, totals: &Totals) -> Family {
    let help = "Requests that ended by somebody's fault.";
    let errors = Value::Count(totals.errors(&view.labels));
    Family { kind: Kind::Counter, ..one("errors", "errors", help, errors) }
}

/// What the gate let through and refused, by the names that the settings have for it.
pub(super) fn gate(view: &View) -> Vec<Family> {
    let sample = |labels: &[(&'static str, &str)], count: u64| {
        let labels = labels.iter().map(|(label, value)| (*label, (*value).to_owned())).collect();
        Sample { labels, value: Value::Count(count) }
    };
    let (mut auths, mut tokens, mut limits, mut octets) = (vec![], vec![], vec![], vec![]);
    for auth in &view.auths {
        let name = &*auth.spec.name;
        for (outcome, count) in auth.counts() {
            auths.push(sample(&[("auth", name), ("outcome", outcome)], count));
        }
        tokens.extend(
            auth.identities()
                .map(|one| sample(&[("auth", name), ("token", &*one.name)], one.requests())),
        );
    }
    for limit in &view.limits {
        let name = &*limit.spec.name;
        let own = limit.outcomes().into_iter();
        limits.extend(
            own.map(|(outcome, count)| sample(&[("limit", name), ("outcome", outcome)], count)),
        );
        octets.push(sample(&[("limit", name)], limit.octets() as u64));
    }
    let family = |name, place, help, kind, samples| Family { name, place, help, kind, samples };
    let all = [
        family(
            "auth_requests",
            "auth.requests",
            "Requests by what their credentials came to.",
            Kind::Counter,
            auths,
        ),
        family(
            "auth_token_requests",
            "auth.tokens",
            "Requests by the name of their token.",
            Kind::Counter,
            tokens,
        ),
        family(
            "limit_requests",
            "limit.requests",
            "Requests by what a limit said of them.",
            Kind::Counter,
            limits,
        ),
        family(
            "limit_table_bytes",
            "limit.table_bytes",
            "Memory of what is counted for a limit.",
            Kind::Gauge,
            octets,
        ),
    ];
    all.into_iter().filter(|family| !family.samples.is_empty()).collect()
}

/// The certificates that are shown.
pub(super) fn certificates(view: &View) -> Vec<Family> {
    let now = show::since_epoch(SystemTime::now());
    let sample = |one: &ServedCertificate| Sample {
        labels: vec![
            ("shown_to", one.shown_to.clone()),
            ("name", one.facts.name().to_owned()),
            ("fingerprint", one.facts.fingerprint_sha256.clone()),
        ],
        value: Value::Number(one.facts.days_left(now) as f64),
    };
    let orders = |one: &IssuanceStatus| {
        [("issued", one.issued), ("failed", one.failed)].map(|(outcome, count)| Sample {
            labels: vec![("name", one.name.clone()), ("outcome", outcome.to_owned())],
            value: Value::Count(count),
        })
    };
    let all = [
        Family {
            name: "certificate_days_left",
            place: "tls.certificate_days_left",
            help: "Whole days that a certificate of ours still holds; below 0: it has expired.",
            kind: Kind::Gauge,
            samples: view.certificates.iter().map(sample).collect(),
        },
        Family {
            name: "acme_orders",
            place: "tls.acme_orders",
            help: "Certificates that were ordered from an ACME server, by what came of it.",
            kind: Kind::Counter,
            samples: view.acme.iter().flat_map(orders).collect(),
        },
    ];
    all.into_iter().filter(|family| !family.samples.is_empty()).collect()
}

/// The families of upstreams: each has the samples of all of them, with their names.
fn upstreams(view: &View) -> Vec<Family> {
    let mut families = of_upstream(&UpstreamState::new("", "", 0), &view.labels);
    families.iter_mut().for_each(|family| family.samples.clear());
    for entry in &view.upstreams {
        let own = of_upstream(entry, &view.labels).into_iter().map(|one| one.samples);
        for (family, samples) in families.iter_mut().zip(own) {
            for mut sample in samples {
                sample.labels.insert(0, ("upstream", entry.name.to_string()));
                if *entry.pool != *"default" {
                    sample.labels.insert(1, ("pool", entry.pool.to_string()));
                }
                family.samples.push(sample);
            }
        }
    }
    families
}

/// What is known of one upstream, without its name.
pub(super) fn of_upstream(entry: &UpstreamState, labels: &Labels) -> Vec<Family> {
    let flag = |name, place, help, is_so| one(name, place, help, Value::Count(u64::from(is_so)));
    let is_open = entry.breaker.load() == BreakerState::Open;
    let is_up = entry.is_alive();
    let mut families = vec![
        flag("upstream_alive", "alive", "1 if the upstream is believed to answer, else 0.", is_up),
        flag("upstream_up", "up", "0 if the upstream is down, else 1.", is_up),
        flag("upstream_breaker_open", "breaker_open", "1 while it is left alone, else 0.", is_open),
        health_checks(entry),
    ];
    families.extend(UpstreamTotals::of(entry.cores()).families(labels));
    families
}

/// A sample for each outcome that was seen.
fn health_checks(entry: &UpstreamState) -> Family {
    let counted = CheckOutcome::ALL.iter().map(|one| (one.label(), entry.checks(*one).get()));
    let seen = counted.filter(|(_, count)| *count > 0);
    let sample = |(label, count): (&str, u64)| {
        let labels = vec![("result", label.to_owned())];
        Sample { labels, value: Value::Count(count) }
    };
    Family {
        name: "upstream_health_checks",
        place: "health_checks",
        help: "Health checks by what came of them.",
        kind: Kind::Counter,
        samples: seen.map(sample).collect(),
    }
}

/// What the kernel says of the process, under the names that every exporter has for it (proc(5)).
fn usage(started_at: SystemTime) -> Vec<Family> {
    let cpu = clock_gettime(ClockId::ProcessCPUTime);
    let cpu = cpu.tv_sec as f64 + cpu.tv_nsec as f64 / 1e9;
    let since = started_at.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let [whole, resident] = memory();
    let number = Value::Number;
    let counter = Kind::Counter;
    let most = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    vec![
        Family {
            kind: counter,
            ..one("cpu_seconds", "", "User and system CPU time spent.", number(cpu))
        },
        one("open_fds", "", "Open file descriptors.", Value::Count(descriptors())),
        one("max_fds", "", "File descriptors there may be.", Value::Count(most)),
        one("virtual_memory_bytes", "", "Size of virtual memory.", Value::Count(whole)),
        one("resident_memory_bytes", "", "Size of resident memory.", Value::Count(resident)),
        one(
            "start_time_seconds",
            "",
            "When the process started, since the epoch.",
            number(since.as_secs_f64()),
        ),
    ]
}

/// Octets of virtual and of resident memory; 0 where `/proc` cannot be read.
fn memory() -> [u64; 2] {
    let pages = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let mut pages = pages.split(' ').map(|number| digits(number).unwrap_or(0));
    std::array::from_fn(|_| pages.next().unwrap_or(0) * rustix::param::page_size() as u64)
}

/// Descriptors there are, but for the one that counts them.
fn descriptors() -> u64 {
    let open = fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    open.saturating_sub(1) as u64
}

/// A gauge of one sample.
fn one(name: &'static str, place: &'static str, help: &'static str, value: Value) -> Family {
    Family { name, place, help, kind: Kind::Gauge, samples: vec![Sample::only(value)] }
}
