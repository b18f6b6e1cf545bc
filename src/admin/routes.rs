//! Which question gets which answer.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde_json::{Value, json};

use super::View;
use super::accept::Form;
use super::wire::{Answer, Refusal, Request};
use super::{exposition, show};

const JSON: &str = "application/json";

/// Every path there is.
const PATHS: [&str; 5] = ["/health", "/ready", "/metrics", "/status", "/config"];

/// Answers `request`; `local`: it came over a Unix socket, which no browser can be lured to.
pub(super) fn answer(view: &View, request: &Request, local: bool) -> Answer {
    if !local && !request.host.as_deref().is_none_or(may_name_us) {
        return error(421, "misdirected", "Host must be an IP address or localhost", &[]);
    }
    if !PATHS.contains(&request.path.as_str()) {
        let message = "no such path; `paths` lists what there is";
        return error(404, "not_found", message, &PATHS);
    }
    if !matches!(request.method.as_str(), "GET" | "HEAD") {
        let refused = error(405, "method_not_allowed", "this path can only be read", &[]);
        return Answer { allow: Some("GET, HEAD"), ..refused };
    }
    match request.path.as_str() {
        "/health" => page(200, &show::health(view)),
        "/ready" => {
            let (status, value) = show::ready(view);
            page(status, &value)
        }
        "/metrics" => metrics(view, request),
        "/status" => page(200, &show::status(view)),
        _ => page(200, &show::config(&view.plan)),
    }
}

/// Answers a head that was refused.
pub(super) fn refusal(refusal: Refusal) -> Answer {
    match refusal {
        Refusal::Malformed => error(400, "malformed", "this is not an HTTP/1.1 request", &[]),
        Refusal::Host => error(400, "host", "there must be exactly one Host", &[]),
        Refusal::TooLarge => error(431, "too_large", "the request head is too large", &[]),
    }
}

/// Answers a head that did not come in time.
pub(super) fn too_slow() -> Answer {
    error(408, "too_slow", "the request head took too long", &[])
}

fn metrics(view: &View, request: &Request) -> Answer {
    const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";
    let (kind, body) = match Form::choose(&request.query, &request.accept) {
        Some(Form::Json) => return page(200, &show::metrics(view)),
        Some(Form::OpenMetrics) => (OPENMETRICS, exposition::openmetrics(view)),
        Some(Form::Prometheus) => (PROMETHEUS, exposition::prometheus(view)),
        None => {
            let message = "format must be json, prometheus or openmetrics";
            return error(400, "format", message, &[]);
        }
    };
    Answer { status: 200, kind, body, allow: None }
}

fn page(status: u16, value: &Value) -> Answer {
    Answer { status, kind: JSON, body: format!("{value}\n"), allow: None }
}

fn error(status: u16, code: &str, message: &str, paths: &[&str]) -> Answer {
    let mut value = json!({ "error": { "code": code, "message": message } });
    if !paths.is_empty() {
        value["error"]["paths"] = json!(paths);
    }
    page(status, &value)
}

/// An IP literal or `localhost`, with or without a port. A page that rebinds its own name to our address still sends
/// that name, so names are refused. The admin's own address is an IP literal, too.
fn may_name_us(host: &str) -> bool {
    let (name, port) = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, port)) if Ipv6Addr::from_str(address).is_ok() => ("localhost", port),
        Some(_) => return false,
        None => host.split_at(host.find(':').unwrap_or(host.len())),
    };
    let port_is_one = match port.strip_prefix(':') {
        Some(digits) => digits.bytes().all(|octet| octet.is_ascii_digit()),
        None => port.is_empty(),
    };
    port_is_one && (name.eq_ignore_ascii_case("localhost") || Ipv4Addr::from_str(name).is_ok())
}
