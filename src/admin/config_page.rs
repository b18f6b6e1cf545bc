//! `/config`: the settings in force, as JSON. Times are seconds, sizes octets; secrets are shown as they were written.

use serde_json::{Value, json};

use super::show::{place_of, seconds};
use crate::config::{
    AccessLog, AcmeSpec, Balance, BreakerSpec, CertificateSpec, Conditions, ConnectionSpec,
    ErrorPage, ExchangeSpec, Forward, HeaderLine, HeaderRules, HealthSpec, HostHeader, Listen,
    ListenerSpec, LogFormat, Overlay, Plan, PoolSpec, ProcessSpec, QueueSpec, Redirect, Resolve,
    Respond, RetrySpec, RouteAction, RouteSpec, Share, Sticky, Timeouts, TlsSpec, UpstreamChange,
    UpstreamSpec, UpstreamTlsSpec, auth_rows, gate_rows, limit_rows,
};
use crate::http::Limits;

/// `/config`: the settings in force. Taken apart field by field, so that a new one cannot be forgotten here.
pub(super) fn config(plan: &Plan, changes: &Overlay) -> Value {
    let Plan {
        process,
        listener,
        exchange,
        gate: _,
        lists,
        auths,
        service_tls,
        limits: rates,
        routes,
        pools,
    } = plan;
    let ProcessSpec {
        admin,
        admin_tokens,
        workers,
        max_connections,
        descriptors: _,
        buffers,
        drain_delay,
        drain_timeout,
        access_log,
        audit,
        log,
        log_format,
        state,
        resolver,
        watch,
    } = process;
    let default = pools.iter().find(|pool| *pool.name == *"default");
    let upstreams = default.map_or(&[][..], |pool| &pool.upstreams);
    let mut page = exchange_spec(exchange);
    let own = json!({
        "upstreams": upstreams.iter().map(upstream_spec).collect::<Value>(),
        "admin": admin.as_ref().map(Listen::to_string),
        "workers": workers,
        "limits": {
            "connections": max_connections,
            "buffers_per_worker": buffers,
            "upstream_idle_per_worker": default.map(|pool| pool.connections.max_idle),
        },
        "timeouts": {
            "upstream_idle_s": default.map(|pool| seconds(pool.connections.idle_timeout)),
            "drain_delay_s": seconds(*drain_delay),
            "drain_s": seconds(*drain_timeout),
        },
        "admin_tokens": admin_tokens.iter().map(|one| json!(*one.name)).collect::<Value>(),
        "list": lists.iter().map(|(name, list)| (name.clone(), json!(list.written))).collect::<Value>(),
        "auth": auths.iter().map(|one| named_rows(&one.name, auth_rows(one))).collect::<Value>(),
        "service_tls": upstream_tls_spec(service_tls),
        "limit": rates.iter().map(|one| named_rows(&one.name, limit_rows(one))).collect::<Value>(),
        "audit": audit.as_ref().map(|path| path.to_string_lossy()),
        "access_log": access_log_spec(access_log),
        "log": log.name(),
        "log_format": log_format.name(),
        "resolver": resolver.iter().map(ToString::to_string).collect::<Value>(),
        "watch": watch,
        "state": state.as_ref().map(|path| path.to_string_lossy()),
        "pools": pools.iter().map(|pool| pool_spec(pool)).collect::<Value>(),
        "changed_at_run_time": changes.changes().map(UpstreamChange::json).collect::<Value>(),
        "routes": routes.iter().map(|one| route_spec(plan, one)).collect::<Value>(),
    });
    merge(&mut page, listener_spec(listener));
    merge(&mut page, own);
    page
}

/// What is about clients before a route is known.
fn listener_spec(spec: &ListenerSpec) -> Value {
    let ListenerSpec {
        addresses,
        secure: _,
        tls,
        limits,
        read_timeout,
        idle_timeout,
        trusted,
        trusted_names,
        proxy_protocol,
        max_client_connections,
    } = spec;
    let proxy_protocol = proxy_protocol.iter().map(|(at, network)| {
        let at = at.as_ref().map(Listen::to_string);
        json!({ "listen": at, "network": network.to_string() })
    });
    let Limits { head, target, fields } = limits;
    let trusted = trusted.iter().map(ToString::to_string);
    json!({
        "listen": addresses.iter().map(|one| spec.written(one)).collect::<Value>(),
        "tls": tls.as_deref().map(tls_spec),
        "limits": {
            "head_bytes": head,
            "target_bytes": target,
            "fields": fields,
            "connections_per_client": max_client_connections,
        },
        "timeouts": { "read_s": seconds(*read_timeout), "idle_s": seconds(*idle_timeout) },
        "headers": {
            "trusted": trusted.map(Value::from).collect::<Value>(),
            "trusted_names": trusted_names,
        },
        "proxy_protocol": proxy_protocol.collect::<Value>(),
    })
}

/// TLS towards clients; of files their names.
fn tls_spec(spec: &TlsSpec) -> Value {
    let TlsSpec { certificates, self_signed, acme, min_version, client_ca, crl } = spec;
    json!({
        "certificates": certificates.iter().map(certificate_spec).collect::<Value>(),
        "self_signed": self_signed,
        "acme": acme.as_deref().map(acme_spec),
        "min_version": min_version.name(),
        "client_ca": client_ca.as_ref().map(|file| file.path.to_string_lossy()),
        "crl": crl.as_ref().map(|file| file.path.to_string_lossy()),
    })
}

fn acme_spec(spec: &AcmeSpec) -> Value {
    let AcmeSpec { names, directory, contact, challenge, ca, binding } = spec;
    json!({
        "names": names,
        "directory": directory.shown(),
        "contact": contact,
        "challenge": challenge.name(),
        "ca": ca.as_ref().map(|file| file.path.to_string_lossy()),
        "eab_kid": binding.as_ref().map(|one| &one.id),
    })
}

fn upstream_tls_spec(spec: &UpstreamTlsSpec) -> Value {
    let UpstreamTlsSpec { ca, server_name, certificate, verify } = spec;
    json!({
        "ca": ca.as_ref().map(|file| file.path.to_string_lossy()),
        "server_name": server_name,
        "certificate": certificate.as_ref().map(certificate_spec),
        "verify": verify.name(),
    })
}

/// A key is shown as it was written: by the name of its file.
fn certificate_spec(CertificateSpec { chain, key, ocsp }: &CertificateSpec) -> Value {
    let ocsp = ocsp.as_ref().map(|file| file.path.to_string_lossy());
    json!({ "cert": chain.path.to_string_lossy(), "key": key.to_string(), "ocsp": ocsp })
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
        min_rate,
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
        "limits": { "body_bytes": max_body, "least_bytes_per_s": min_rate },
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
        tls,
        exchange,
    } = spec;
    let ConnectionSpec {
        idle_timeout,
        max_idle,
        max_age,
        max_requests,
        keep_alive,
        bind,
        proxy_protocol,
    } = connections;
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
        "upstream_proxy_protocol": proxy_protocol.map(|version| version.name()),
        "upstream_tls": upstream_tls_spec(tls),
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

/// A thing with a name: its settings, as they would be written.
fn named_rows(name: &str, rows: Vec<(&'static str, String)>) -> Value {
    let rows = rows.into_iter().filter(|(_, text)| !text.is_empty());
    let mut out: serde_json::Map<String, Value> =
        rows.map(|(key, text)| (key.replace('-', "_"), Value::from(text))).collect();
    out.insert("name".to_owned(), Value::from(name));
    Value::Object(out)
}

fn route_spec(plan: &Plan, spec: &RouteSpec) -> Value {
    let RouteSpec { name, conditions, gate, action, exchange, source: _ } = spec;
    let is_forward = matches!(action, RouteAction::Forward(_));
    let gate = named_rows(name, gate_rows(plan, gate, is_forward));
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
        "gate": gate,
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

#[cfg(test)]
mod tests {
    use super::*;

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
