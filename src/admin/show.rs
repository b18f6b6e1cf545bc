//! What is shown as JSON. Times are seconds, sizes octets.

use std::net::IpAddr;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::families;
use super::{IssuanceStatus, ServedCertificate, View};
use crate::base::CertificateFacts;
use crate::config::{Listen, Place};
use crate::stats::{
    self, Distribution, Family, LastError, Phase, Sample, Totals, UpstreamState, UpstreamTotals,
    by_class,
};

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

/// `/metrics` for people and scripts: for all cores together, for each upstream, and for each core.
pub(super) fn metrics(view: &View) -> Value {
    let totals = view.totals();
    let mut page = counted(view, &totals);
    families::process(view).iter().for_each(|family| place(&mut page, family));
    families::gate(view).iter().for_each(|family| place(&mut page, family));
    families::certificates(view).iter().for_each(|family| place(&mut page, family));
    let upstreams = view.upstreams.iter().map(|entry| {
        let mut page = json!({});
        let families = families::of_upstream(entry, &view.labels);
        families.iter().for_each(|family| place(&mut page, family));
        let name = match &*entry.pool {
            "default" => entry.name.to_string(),
            pool => format!("{pool} {}", entry.name),
        };
        (name, page)
    });
    page["upstreams"] = upstreams.collect();
    let cores = view.cores.iter().map(|core| counted(view, &Totals::of([&**core])));
    page["cores"] = cores.collect();
    page
}

/// What is told of one core and of all of them.
fn counted(view: &View, totals: &Totals) -> Value {
    let mut page = json!({
        "responses": totals.responses(),
        "errors": totals.errors(&view.labels),
        "codes": by_class(&totals.answers).map(|(class, n)| (class.to_owned(), json!(n))).collect::<Value>(),
    });
    totals.families(&view.labels).iter().for_each(|family| place(&mut page, family));
    page
}

/// Puts the samples of `family` where its row says, below a key for each label but the fault, which the reason implies.
fn place(page: &mut Value, family: &Family) {
    if family.place.is_empty() {
        return;
    }
    let at = family.place.split('.').fold(page, |page, key| &mut page[key]);
    if at.is_null() {
        *at = json!({});
    }
    for Sample { labels, value } in &family.samples {
        let keys = labels.iter().filter(|(label, _)| *label != "fault");
        let at = keys.fold(&mut *at, |page, (_, key)| &mut page[key]);
        *at = match value {
            stats::Value::Count(count) => json!(count),
            stats::Value::Number(number) => json!(number),
            stats::Value::Distribution(values) => distribution(values),
        };
    }
}

/// A certificate that is shown.
fn certificate(one: &ServedCertificate) -> Value {
    let ServedCertificate { shown_to, facts } = one;
    let CertificateFacts { names, issuer, not_before, not_after, fingerprint_sha256 } = facts;
    json!({
        "shown_to": shown_to,
        "names": names,
        "issuer": issuer,
        "not_before": not_before,
        "not_after": not_after,
        "days_left": facts.days_left(since_epoch(SystemTime::now())),
        "fingerprint_sha256": fingerprint_sha256,
    })
}

/// How orders of certificates for a name go.
fn acme(one: &IssuanceStatus) -> Value {
    let IssuanceStatus { name, issued, failed, last_error, next_order_at } = one;
    let error = |(at, text): &(u64, String)| json!({ "at": at, "text": text });
    json!({
        "name": name,
        "issued": issued,
        "failed": failed,
        "last_error": last_error.as_ref().map(error),
        "next_order_at": next_order_at,
    })
}

/// `/status`: the process and its upstreams at a glance.
pub(super) fn status(view: &View) -> Value {
    let totals = view.totals();
    let specs = view.plan.upstreams();
    let upstreams = view.upstreams.iter().zip(specs).map(|(upstream, (pool, spec))| {
        let one = UpstreamTotals::of(upstream.cores());
        let condition = upstream.condition();
        let error = |LastError { at, reason, text }| {
            json!({ "at": at, "reason": reason.label(), "text": text })
        };
        json!({
            "id": upstream.id,
            "url": *upstream.name,
            "resolved_from": spec.resolved_from.as_deref(),
            "pool": *pool.name,
            "weight": spec.weight,
            "state": if spec.draining { "draining" } else { upstream.health().label() },
            "alive": upstream.is_alive(),
            "since": condition.since,
            "last_healthy": condition.last_healthy,
            "consecutive_failures": condition.failures,
            "last_error": condition.last_error.map(error),
            "breaker": upstream.breaker.load().label(),
            "addresses": addresses(upstream, &spec.place),
            "current_connections": one.active,
            "idle_connections": one.idle,
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
        "config": {
            "last_reload_successful": view.loaded.successful,
            "loaded_at": since_epoch(view.loaded.at),
        },
        "listeners": view.listen,
        "admin": view.plan.process.admin.as_ref().map(Listen::to_string),
        "certificates": view.certificates.iter().map(certificate).collect::<Value>(),
        "acme": view.acme.iter().map(acme).collect::<Value>(),
        "upstreams": upstreams.collect::<Value>(),
        "totals": {
            "connections": totals.connections,
            "active": totals.active,
            "tunnels": totals.tunnels,
            "requests": totals.requests,
            "responses": totals.responses(),
            "errors": totals.errors(&view.labels),
        },
    })
}

/// Where an upstream is: as its name was resolved last, or as it was written.
fn addresses(entry: &UpstreamState, place: &Place) -> Vec<String> {
    match place {
        Place::Tcp { host, .. } if IpAddr::from_str(host).is_err() => {
            entry.addresses().iter().map(ToString::to_string).collect()
        }
        place => vec![place_of(place)],
    }
}

/// Buckets are cumulative: how many took at most so long. The count is that of the bucket without a bound.
fn distribution(values: &Distribution) -> Value {
    let bounded = values.at_most().filter(|(bound, _)| bound.is_finite());
    let at_most: Value = bounded.map(|(bound, count)| (bound.to_string(), json!(count))).collect();
    json!({ "count": values.count(), "sum": values.sum_s(), "at_most": at_most })
}

fn phase_name(phase: Phase) -> &'static str {
    match phase {
        Phase::Starting => "STARTING",
        Phase::Ready => "READY",
        Phase::Draining => "DRAINING",
    }
}

pub(super) fn place_of(place: &Place) -> String {
    match place {
        Place::Tcp { host, port } if host.contains(':') => format!("[{host}]:{port}"),
        Place::Tcp { host, port } => format!("{host}:{port}"),
        Place::Unix(path) => format!("unix:{}", path.display()),
    }
}

/// Seconds since the epoch, as all times of ours that are not durations.
pub(super) fn since_epoch(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

pub(super) fn seconds(duration: Duration) -> f64 {
    duration.as_secs_f64()
}

/// `2m5s`, `1h0m7s`, `3d0h0m1s`: from the greatest unit that is not zero down to seconds.
fn uptime(elapsed: Duration) -> String {
    let seconds = elapsed.as_secs();
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    let seconds = seconds % 60;
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m{seconds}s"),
        (0, _, _) => format!("{hours}h{minutes}m{seconds}s"),
        _ => format!("{days}d{hours}h{minutes}m{seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uptime_tells_what_matters() {
        for (seconds, text) in [
            (0, "0s"),
            (59, "59s"),
            (125, "2m5s"),
            (120, "2m0s"),
            (3_907, "1h5m7s"),
            (90_000, "1d1h0m0s"),
        ] {
            assert_eq!(uptime(Duration::from_secs(seconds)), text);
        }
    }
}
