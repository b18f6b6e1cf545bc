//! What is shown as JSON. Times are seconds, sizes octets.

use std::net::IpAddr;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::View;
use super::families;
use crate::config::{
    AccessLog, Balance, BreakerSpec, Conditions, ConnectionSpec, ErrorPage, ExchangeSpec, Forward,
    HeaderLine, HeaderRules, HealthSpec, HostHeader, Listen, ListenerSpec, LogFormat, Overlay,
    Place, Plan, PoolSpec, ProcessSpec, QueueSpec, Redirect, Resolve, Respond, RetrySpec,
    RouteAction, RouteSpec, Share, Sticky, Timeouts, UpstreamChange, UpstreamSpec,
};
use crate::http::Limits;
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

/// `/config`: the settings in force. Taken apart field by field, so that a new one cannot be forgotten here.
pub(super) fn config(plan: &Plan, changes: &Overlay) -> Value {
    let Plan { process, listener, exchange, routes, pools } = plan;
    let ProcessSpec {
        admin,
        workers,
        max_connections,
        descriptors: _,
        buffers,
        drain_delay,
        drain_timeout,
        access_log,
        log,
        log_format,
        state,
        resolver,
        watch,
    } = process;
    let ListenerSpec { addresses, limits, read_timeout, idle_timeout, trusted, trusted_names } =
        listener;
    let Limits { head, target, fields } = limits;
    let default = pools.iter().find(|pool| *pool.name == *"default");
    let upstreams = default.map_or(&[][..], |pool| &pool.upstreams);
    let trusted = trusted.iter().map(ToString::to_string);
    let mut page = exchange_spec(exchange);
    let own = json!({
        "listen": addresses.iter().map(Listen::to_string).collect::<Value>(),
        "upstreams": upstreams.iter().map(upstream_spec).collect::<Value>(),
        "admin": admin.as_ref().map(Listen::to_string),
        "workers": workers,
        "limits": {
            "head_bytes": head,
            "target_bytes": target,
            "fields": fields,
            "connections": max_connections,
            "buffers_per_worker": buffers,
            "upstream_idle_per_worker": default.map(|pool| pool.connections.max_idle),
        },
        "timeouts": {
            "read_s": seconds(*read_timeout),
            "idle_s": seconds(*idle_timeout),
            "upstream_idle_s": default.map(|pool| seconds(pool.connections.idle_timeout)),
            "drain_delay_s": seconds(*drain_delay),
            "drain_s": seconds(*drain_timeout),
        },
        "headers": {
            "trusted": trusted.map(Value::from).collect::<Value>(),
            "trusted_names": trusted_names,
        },
        "access_log": access_log_spec(access_log),
        "log": log.name(),
        "log_format": log_format.name(),
        "resolver": resolver.iter().map(ToString::to_string).collect::<Value>(),
        "watch": watch,
        "state": state.as_ref().map(|path| path.to_string_lossy()),
        "pools": pools.iter().map(|pool| pool_spec(pool)).collect::<Value>(),
        "changed_at_run_time": changes.changes().map(UpstreamChange::json).collect::<Value>(),
        "routes": routes.iter().map(route_spec).collect::<Value>(),
    });
    merge(&mut page, own);
    page
}

/// Puts the keys of `other` beside those of `page`, table by table.
fn merge(page: &mut Value, other: Value) {
    match (page, other) {
        (Value::Object(page), Value::Object(other)) => {
            for (key, value) in other {
                merge(page.entry(key).or_insert(Value::Null), value);
            }
        }
        (page, other) => *page = other,
    }
}

fn exchange_spec(spec: &ExchangeSpec) -> Value {
    let ExchangeSpec {
        max_body,
        host,
        backend_header,
        upgrades,
        half_close,
        retry,
        timeouts,
        request_header,
        response_header,
        error_pages,
    } = spec;
    let RetrySpec { most, on, try_timeout, hedge, buffer } = retry;
    let Timeouts { connect, read, write, response, tunnel_idle, expect } = timeouts;
    let page = |page: &ErrorPage| {
        let (first, last) = page.statuses;
        json!({ "first": first, "last": last, "file": page.file.to_string_lossy() })
    };
    json!({
        "retries": most,
        "retry": {
            "on": on.to_string(),
            "try_timeout_s": seconds(*try_timeout),
            "hedge_s": seconds(*hedge),
            "buffer_bytes": buffer,
        },
        "half_close": half_close,
        "limits": { "body_bytes": max_body },
        "timeouts": {
            "read_s": seconds(*read),
            "write_s": seconds(*write),
            "connect_s": seconds(*connect),
            "response_s": seconds(*response),
            "tunnel_idle_s": seconds(*tunnel_idle),
            "expect_s": seconds(*expect),
        },
        "headers": {
            "host": match host {
                HostHeader::Pass => "pass",
                HostHeader::Upstream => "upstream",
            },
            "backend": backend_header,
            "upgrades": upgrades,
            "request": header_rules(request_header),
            "response": header_rules(response_header),
        },
        "error_pages": error_pages.iter().map(page).collect::<Value>(),
    })
}

/// Rules with their values as they were written: what came from the environment is not shown.
fn header_rules(HeaderRules { removed, lines }: &HeaderRules) -> Value {
    let line = |line: &HeaderLine| json!({ "name": line.name, "value": line.value.to_string() });
    json!({ "remove": removed, "put": lines.iter().map(line).collect::<Value>() })
}

fn pool_spec(spec: &PoolSpec) -> Value {
    let PoolSpec {
        name,
        upstreams,
        balance,
        sticky,
        health,
        breaker,
        slow_start,
        queue,
        retry_budget,
        resolve,
        connections,
        exchange,
    } = spec;
    let ConnectionSpec { idle_timeout, max_idle, max_age, max_requests, keep_alive, bind } =
        connections;
    let hash = match balance {
        Balance::Hash(key) => Some(key.to_string()),
        _ => None,
    };
    let queue = queue.as_ref().map(|QueueSpec { max_requests, size, wait }| {
        json!({ "max_requests": max_requests, "size": size, "wait_s": seconds(*wait) })
    });
    // A secret is shown as it was written.
    let sticky = sticky.as_ref().map(|Sticky { cookie, max_age, secret }| {
        let secret = secret.as_ref().map(ToString::to_string);
        json!({ "cookie": cookie, "max_age_s": max_age.map(seconds), "secret": secret })
    });
    json!({
        "name": **name,
        "upstreams": upstreams.iter().map(upstream_spec).collect::<Value>(),
        "balance": balance.name(),
        "hash": hash,
        "sticky": sticky,
        "health": health.as_ref().map(health_spec),
        "breaker": breaker.as_ref().map(breaker_spec),
        "slow_start_s": seconds(*slow_start),
        "queue": queue,
        "retry_budget_percent": retry_budget,
        "resolve": match resolve {
            Resolve::AtStart => json!("once"),
            Resolve::Every(often) => json!(seconds(*often)),
            Resolve::Srv => json!("srv"),
        },
        "upstream_idle_s": seconds(*idle_timeout),
        "upstream_idle_per_worker": max_idle,
        "upstream_max_age_s": seconds(*max_age),
        "upstream_max_requests": max_requests,
        "upstream_keep_alive_s": seconds(*keep_alive),
        "upstream_bind": bind.map(|address| address.to_string()),
        "settings": exchange_spec(exchange),
    })
}

fn health_spec(spec: &HealthSpec) -> Value {
    let HealthSpec { method, path, host, status, body, interval, timeout, fall, rise } = spec;
    let range = |(first, last): &(u16, u16)| json!({ "first": first, "last": last });
    json!({
        "method": method.name(),
        "path": path,
        "host": host,
        "status": status.iter().map(range).collect::<Value>(),
        "body": body,
        "interval_s": seconds(*interval),
        "timeout_s": seconds(*timeout),
        "fall": fall,
        "rise": rise,
    })
}

fn breaker_spec(spec: &BreakerSpec) -> Value {
    let BreakerSpec { failures, open, probes, on, fail_open } = spec;
    json!({
        "failures": failures,
        "open_s": seconds(*open),
        "probes": probes,
        "on": on.to_string(),
        "fail_open": fail_open,
    })
}

fn route_spec(RouteSpec { name, conditions, action, exchange, source: _ }: &RouteSpec) -> Value {
    let Conditions { listen, host, path, method, header, query, client } = conditions;
    fn all<T: ToString>(items: &[T]) -> Value {
        items.iter().map(|item| Value::from(item.to_string())).collect()
    }
    let action = match action {
        RouteAction::Forward(Forward { shares, strip_prefix, add_prefix }) => {
            let share = |Share { pool, weight, exchange }: &Share| {
                let settings = exchange_spec(exchange);
                json!({ "pool": **pool, "weight": weight, "settings": settings })
            };
            json!({
                "pools": shares.iter().map(share).collect::<Value>(),
                "strip_prefix": strip_prefix.as_ref().map(|(prefix, _)| prefix),
                "add_prefix": add_prefix,
            })
        }
        RouteAction::Redirect(Redirect { to, status }) => {
            json!({ "redirect": to.to_string(), "status": status, "settings": exchange_spec(exchange) })
        }
        RouteAction::Admin => json!({ "serve": "admin", "settings": exchange_spec(exchange) }),
        RouteAction::Respond(Respond { status, kind, body }) => json!({
            "respond": body.to_string(),
            "status": status,
            "type": kind,
            "settings": exchange_spec(exchange),
        }),
    };
    json!({
        "name": **name,
        "listen": all(listen),
        "host": all(host),
        "path": all(path),
        "method": all(method),
        "header": all(header),
        "query": all(query),
        "client": all(client),
        "action": action,
    })
}

fn access_log_spec(log: &AccessLog) -> Value {
    let file = log.file.as_ref().map(|path| path.to_string_lossy());
    json!({ "format": log.format.map_or("off", LogFormat::name), "file": file })
}

fn upstream_spec(spec: &UpstreamSpec) -> Value {
    json!({
        "name": spec.name,
        "authority": spec.authority,
        "place": place_of(&spec.place),
        "base": spec.base,
        "weight": spec.weight,
        "backup": spec.backup,
        "draining": spec.draining,
    })
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

fn place_of(place: &Place) -> String {
    match place {
        Place::Tcp { host, port } if host.contains(':') => format!("[{host}]:{port}"),
        Place::Tcp { host, port } => format!("{host}:{port}"),
        Place::Unix(path) => format!("unix:{}", path.display()),
    }
}

/// Seconds since the epoch, as all times of ours that are not durations.
fn since_epoch(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

fn seconds(duration: Duration) -> f64 {
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

    #[test]
    fn pools_are_shown_with_all_that_is_said_of_them_but_secrets() {
        let plan = crate::config::testing::plan(
            "retry-on = '5xx'\nhash = 'path'\nhealth = '/up'\nbreaker = true\nqueue = 9\nresolve = '5s'\n\
             sticky = { cookie = 'tg', secret = '0123456789abcdef' }\n\
             upstream = ['http://a:1', 'http://b:1 backup=true']\n",
        );
        let page = config(&plan, &Overlay::default());
        let pool = &page["pools"][0];
        for (at, expected) in [
            ("/balance", json!("hash")),
            ("/hash", json!("path")),
            ("/health/path", json!("/up")),
            ("/health/status/0/last", json!(399)),
            ("/breaker/on", json!("connect,timeout,closed,5xx")),
            ("/queue/size", json!(500)),
            ("/resolve", json!(5.0)),
            ("/sticky/secret", json!("***")),
            ("/upstreams/1/backup", json!(true)),
            ("/settings/retry/on", json!("5xx")),
            ("/upstream_bind", Value::Null),
        ] {
            assert_eq!(pool.pointer(at), Some(&expected), "{at}: {pool}");
        }
        assert!(!page.to_string().contains("0123456789"));
    }
}
