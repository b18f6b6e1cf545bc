//! What is shown as JSON. Times are seconds, sizes octets.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::View;
use super::clock::uptime;
use super::figures::{Distribution, Figures, UpstreamFigures};
use crate::config::{HostHeader, Listen, LogFormat, Place, Plan};
use crate::stats::Phase;

/// `/health`: the process lives.
pub(super) fn health(view: &View) -> Value {
    json!({ "status": "UP", "uptime": uptime(view.started.elapsed()) })
}

/// `/ready`: new traffic is welcome or not, and so the status.
///
/// Dead upstreams do not make tidegate unready: its siblings see the same ones, so taking all of them out would turn a
/// partial outage into a whole one, and nobody would be left to notice that an upstream has come back. Their number is
/// told instead.
pub(super) fn ready(view: &View) -> (u16, Value) {
    let phase = view.state.get();
    let alive = view.upstreams.iter().filter(|upstream| upstream.is_alive()).count();
    let upstreams = json!({ "alive": alive, "total": view.upstreams.len() });
    let status = if phase == Phase::Ready { 200 } else { 503 };
    (status, json!({ "status": phase_name(phase), "upstreams": upstreams }))
}

/// `/metrics` for people and scripts.
pub(super) fn metrics(view: &View) -> Value {
    let figures = Figures::of(&view.cores, &view.upstreams);
    let mut page = figures_of(view, &figures);
    let upstreams = view.upstreams.iter().zip(&figures.upstreams);
    page["uptime_s"] = json!(view.started.elapsed().as_secs_f64());
    page["log_lines_unwritten"] = json!(view.unwritten.get());
    page["upstreams"] = upstreams
        .map(|(upstream, one)| (upstream.name.to_string(), upstream_totals(one)))
        .collect();
    page["buffers"]["total"] = json!(view.plan.limits.buffers * view.cores.len());
    let cores = view
        .cores
        .iter()
        .map(|core| figures_of(view, &Figures::of(std::slice::from_ref(core), &[])));
    page["cores"] = cores.collect();
    page
}

/// `/status`: the process and its upstreams at a glance.
pub(super) fn status(view: &View) -> Value {
    let figures = Figures::of(&view.cores, &view.upstreams);
    let upstreams = view.upstreams.iter().zip(&figures.upstreams);
    let upstreams = upstreams.map(|(upstream, one)| {
        json!({
            "url": *upstream.name,
            "alive": upstream.is_alive(),
            "connections": { "current": one.active + one.idle, "active": one.active, "idle": one.idle },
            "requests": one.requests,
            "failures": one.failures,
        })
    });
    json!({
        "state": phase_name(view.state.get()),
        "draining_left_s": view.state.left_s(),
        "version": view.version,
        "uptime": uptime(view.started.elapsed()),
        "uptime_s": view.started.elapsed().as_secs(),
        "pid": std::process::id(),
        "workers": view.cores.len(),
        "listeners": view.listen,
        "admin": view.plan.admin.as_ref().map(Listen::to_string),
        "upstreams": upstreams.collect::<Value>(),
        "totals": {
            "connections": figures.connections,
            "active": figures.active,
            "tunnels": figures.tunnels,
            "requests": figures.requests,
            "responses": figures.responses.iter().sum::<u64>(),
            "errors": figures.errors(view.fault),
        },
    })
}

/// `/config`: the settings in force. Taken apart field by field, so that a new one cannot be forgotten here.
pub(super) fn config(plan: &Plan) -> Value {
    let Plan {
        listen: listeners,
        upstreams,
        admin,
        workers,
        retries,
        half_close,
        limits,
        timeouts,
        headers,
        access_log,
        log,
        log_format,
    } = plan;
    let upstreams = upstreams.iter().map(|upstream| {
        json!({ "name": upstream.name, "authority": upstream.authority, "place": place(&upstream.place) })
    });
    let trusted = headers.trusted.iter().map(|net| format!("{}/{}", net.address, net.prefix));
    json!({
        "listen": listeners.iter().map(Listen::to_string).collect::<Value>(),
        "upstreams": upstreams.collect::<Value>(),
        "admin": admin.as_ref().map(Listen::to_string),
        "workers": workers,
        "retries": retries,
        "half_close": half_close,
        "limits": {
            "head_bytes": limits.head,
            "body_bytes": limits.body,
            "connections": limits.connections,
            "buffers_per_worker": limits.buffers,
            "upstream_idle_per_worker": limits.upstream_idle,
        },
        "timeouts": {
            "read_s": seconds(timeouts.read),
            "write_s": seconds(timeouts.write),
            "connect_s": seconds(timeouts.connect),
            "response_s": seconds(timeouts.response),
            "idle_s": seconds(timeouts.idle),
            "tunnel_idle_s": seconds(timeouts.tunnel_idle),
            "upstream_idle_s": seconds(timeouts.upstream_idle),
            "expect_s": seconds(timeouts.expect),
            "drain_delay_s": seconds(timeouts.drain_delay),
            "drain_s": seconds(timeouts.drain),
        },
        "headers": {
            "host": match headers.host {
                HostHeader::Pass => "pass",
                HostHeader::Upstream => "upstream",
            },
            "backend": headers.backend,
            "upgrades": headers.upgrades,
            "trusted": trusted.map(Value::from).collect::<Value>(),
            "trusted_names": headers.trusted_names,
        },
        "access_log": {
            "format": access_log.format.map_or("off", LogFormat::name),
            "file": access_log.file.as_ref().map(|path| path.to_string_lossy()),
        },
        "log": log.name(),
        "log_format": log_format.name(),
    })
}

/// What is told of one core and of all of them.
fn figures_of(view: &View, figures: &Figures) -> Value {
    let labelled = |labels: &[&str], counts: &[u64]| -> Value {
        labels.iter().zip(counts).map(|(label, n)| (label.to_string(), json!(n))).collect()
    };
    json!({
        "requests": figures.requests,
        "responses": figures.responses.iter().sum::<u64>(),
        "errors": figures.errors(view.fault),
        "active": figures.active,
        "codes": codes(&figures.responses),
        "reasons": labelled(view.reasons, &figures.reasons),
        "connections": {
            "accepted": figures.accepted,
            "current": figures.connections,
            "accept_pauses": figures.accept_pauses,
            "idle_closed": figures.idle_closed,
        },
        "bytes": {
            "client_received": figures.client_bytes[0],
            "client_sent": figures.client_bytes[1],
            "upstream_received": figures.upstream_bytes[0],
            "upstream_sent": figures.upstream_bytes[1],
        },
        "duration_s": distribution(&figures.duration),
        "retries": figures.retries,
        "replays": figures.replays,
        "tunnels": { "open": figures.tunnels, "opened": figures.tunnels_opened },
        "splice": {
            "bodies": figures.spliced,
            "bytes": figures.spliced_bytes,
            "copied": labelled(view.copies, &figures.copied),
        },
        "buffers": { "used": figures.buffers_used, "waits": figures.buffer_waits },
        "panics": figures.panics,
        "log_records_dropped": figures.records_dropped,
    })
}

fn upstream_totals(figures: &UpstreamFigures) -> Value {
    json!({
        "requests": figures.requests,
        "codes": codes(&figures.responses),
        "failures": figures.failures,
        "connect_failures": figures.connect_failures,
        "connects": figures.connects,
        "reused": figures.reused,
        "active": figures.active,
        "idle": figures.idle,
        "first_byte_s": distribution(&figures.first_byte),
    })
}

fn codes(responses: &[u64; 5]) -> Value {
    let classes = responses.iter().enumerate().skip(1);
    classes.map(|(class, n)| (format!("{}xx", class + 1), json!(n))).collect()
}

/// Buckets are cumulative: how many took at most so long. The count is that of the bucket without a bound.
fn distribution(values: &Distribution) -> Value {
    let mut sum = 0;
    let bounded = values.buckets().filter(|(bound, _)| bound.is_finite());
    let buckets: Map<String, Value> = bounded
        .map(|(bound, count)| {
            sum += count;
            (bound.to_string(), json!(sum))
        })
        .collect();
    json!({ "count": values.count(), "sum": values.sum_s, "at_most": buckets })
}

fn phase_name(phase: Phase) -> &'static str {
    match phase {
        Phase::Starting => "STARTING",
        Phase::Ready => "READY",
        Phase::Draining => "DRAINING",
    }
}

fn place(place: &Place) -> String {
    match place {
        Place::Tcp { host, port } if host.contains(':') => format!("[{host}]:{port}"),
        Place::Tcp { host, port } => format!("{host}:{port}"),
        Place::Unix(path) => format!("unix:{}", path.display()),
    }
}

fn seconds(duration: Duration) -> f64 {
    duration.as_secs_f64()
}
