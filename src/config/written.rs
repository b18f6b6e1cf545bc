//! How the upstreams of a pool are looked after, as it would be written: what [`super::care`] reads.

use std::time::Duration;

use super::failures;
use super::pool::*;
use super::show::switch;
use super::table::Form;
use super::values::{show, show_duration};
use super::written_tls;

/// Each setting of pools alone, and its value; empty where it is not in use, or nothing was said.
pub fn care(pool: &PoolSpec) -> Vec<(&'static str, String)> {
    let hash = match &pool.balance {
        Balance::Hash(key) => key.to_string(),
        _ => String::new(),
    };
    let connections = &pool.connections;
    let mut rows = vec![
        ("balance", pool.balance.name().to_owned()),
        ("hash", hash),
        ("slow-start", wait(pool.slow_start)),
        ("resolve", resolve(pool.resolve)),
        ("retry-budget", show(Form::Percent, u64::from(pool.retry_budget))),
        ("upstream-idle-timeout", wait(connections.idle_timeout)),
        ("max-upstream-idle", connections.max_idle.to_string()),
        ("upstream-max-age", wait(connections.max_age)),
        ("upstream-max-requests", connections.max_requests.to_string()),
        ("upstream-keep-alive", wait(connections.keep_alive)),
        ("upstream-bind", or_off(connections.bind)),
        ("upstream-proxy-protocol", or_off(connections.proxy_protocol.map(ProxyVersion::name))),
        ("sticky-cookie", or_off(pool.sticky.as_ref().map(|sticky| &sticky.cookie))),
        ("queue-max-requests", or_off(pool.queue.map(|queue| queue.max_requests))),
        ("health", switch(pool.health.is_some())),
        ("breaker", switch(pool.breaker.is_some())),
    ];
    if let Some(Sticky { cookie: _, max_age, secret }) = &pool.sticky {
        rows.push(("sticky-max-age", or_off(max_age.map(wait))));
        rows.push(("sticky-secret", or_off(secret.as_ref())));
    }
    if let Some(QueueSpec { max_requests: _, size, wait: longest }) = pool.queue {
        rows.extend([("queue-size", size.to_string()), ("queue-wait", wait(longest))]);
    }
    rows.extend(written_tls::upstreams(&pool.tls));
    rows.extend(pool.health.as_ref().into_iter().flat_map(health));
    rows.extend(pool.breaker.as_ref().into_iter().flat_map(breaker));
    rows
}

fn health(spec: &HealthSpec) -> [(&'static str, String); 9] {
    let HealthSpec { method, path, host, status, body, interval, timeout, fall, rise } = spec;
    [
        ("health-path", path.clone()),
        ("health-method", method.name().to_owned()),
        ("health-host", or_off(host.as_ref())),
        ("health-status", status.iter().map(failures::written).collect::<Vec<_>>().join(",")),
        ("health-body", body.clone()),
        ("health-interval", wait(*interval)),
        ("health-timeout", wait(*timeout)),
        ("health-fall", fall.to_string()),
        ("health-rise", rise.to_string()),
    ]
}

fn breaker(spec: &BreakerSpec) -> [(&'static str, String); 5] {
    let BreakerSpec { failures, open, probes, on, fail_open } = spec;
    [
        ("breaker-failures", failures.to_string()),
        ("breaker-open", wait(*open)),
        ("breaker-probes", probes.to_string()),
        ("breaker-on", on.to_string()),
        ("breaker-fail-open", switch(*fail_open)),
    ]
}

fn wait(duration: Duration) -> String {
    show_duration(duration).to_string()
}

fn resolve(resolve: Resolve) -> String {
    match resolve {
        Resolve::AtStart => "once".to_owned(),
        Resolve::Every(often) => wait(often),
        Resolve::Srv => "srv".to_owned(),
    }
}

pub(super) fn or_off<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| "off".to_owned(), |value| value.to_string())
}
