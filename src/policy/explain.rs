//! What would become of a request, and why: the same decisions as in earnest, in words.

use std::fmt::{Display, Write};
use std::net::IpAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::gate::{
    GateFacts, Gates, JudgedAt, LinkedGate, LocalReply, Ruling, ShownCertificate, judge,
};
use super::input::MatchInput;
use super::matching::{self, ConditionKind, KINDS};
use super::outgoing::Outgoing;
use super::router::{Router, Scratch, Verdict};
use super::{Values, fits, lines, redirect, respond, withheld};
use crate::config::{
    ExchangeSpec, Forward, Listen, Plan, Question, RetrySpec, RouteAction, RouteSpec, gate_rows,
};
use crate::http::forward;
use crate::http::path::split;
use crate::http::write::Writer;
use crate::http::{Reason, Request};

/// Routes that are told of at length, apart from the one that is taken.
const TOLD: usize = 20;

/// The head as a client would send it.
///
/// # Errors
/// When it is none.
fn head(question: &Question) -> Result<String, String> {
    let Question { request, fields, .. } = question;
    let (method, target) = request.split_once(' ').unwrap_or(("GET", request));
    let target = target.trim().trim_end_matches(" HTTP/1.1");
    let (host, path) = match target.split_once("://") {
        Some((_, rest)) => {
            let at = rest.find(['/', '?']).unwrap_or(rest.len());
            let slash = if rest[at..].starts_with('/') { "" } else { "/" };
            (rest[..at].to_owned(), format!("{slash}{}", &rest[at..]))
        }
        None => ("localhost".to_owned(), target.to_owned()),
    };
    let is_host = |line: &&String| line.to_ascii_lowercase().starts_with("host:");
    let host = match fields.iter().find(is_host) {
        Some(_) => String::new(),
        None => format!("Host: {host}\r\n"),
    };
    let lines: String = fields.iter().map(|line| format!("{line}\r\n")).collect();
    if request.contains(['\r', '\n']) || fields.iter().any(|one| one.contains(['\r', '\n'])) {
        return Err("a request and its fields are one line each".into());
    }
    Ok(format!("{method} {path} HTTP/1.1\r\n{host}{lines}\r\n"))
}

/// The address that a request comes in at where none is named: the first that speaks what its URL has in front.
fn usual<'p>(plan: &'p Plan, request: &str) -> Option<&'p Listen> {
    let target = request.split_once(' ').map_or(request, |(_, target)| target.trim());
    let secure = target.starts_with("https://");
    let listener = &plan.listener;
    let speaks = |listen: &&Listen| listener.secure.contains(listen) == secure;
    let fits = listener.addresses.iter().find(speaks).filter(|_| target.contains("://"));
    fits.or(listener.addresses.first())
}

/// What `plan` does with the request, for people; `router` is that of its routes.
///
/// # Errors
/// When it is none.
pub fn explain(plan: &Plan, router: &Router, question: &Question) -> Result<String, String> {
    let head = head(question)?;
    let mut request = Request::default();
    if let Err(reason) = request.read(head.as_bytes(), &plan.listener.limits) {
        return Ok(format!("{}refused\n{}", shown(&head), refusal(reason)));
    }
    let Some(listen) = question.listen.as_ref().or_else(|| usual(plan, &question.request)) else {
        return Err("nothing listens".into());
    };
    let peer = question.client.unwrap_or(IpAddr::from([127, 0, 0, 1]));
    let is_trusted = plan.listener.trusted.iter().any(|network| network.contains(&peer));
    let trusted: &[_] = if is_trusted { &plan.listener.trusted } else { &[] };
    let withheld = withheld(&plan.listener, is_trusted);
    let (bytes, method) = (head.as_bytes(), request.method_text.of(head.as_bytes()));
    let secure = plan.listener.secure.contains(listen);
    let input = MatchInput {
        head: &request,
        bytes,
        method,
        listen,
        peer: Some(peer),
        secure,
        trusted,
        withheld,
        certificate: None,
    };
    let mut out = shown(&head);
    let _ = writeln!(out, "  came in at {listen}, from {}", input.client().unwrap_or(peer));
    let (verdict, matched) = router.find_for(&input, &mut Scratch::default());
    if matched.method != input.method {
        let method = String::from_utf8_lossy(matched.method).into_owned();
        let _ =
            writeln!(out, "  a preflight, which takes the route of the {method} that it is about");
    }
    let taken = match &verdict {
        Verdict::Route(route) => *route,
        _ => plan.routes.len(),
    };
    if verdict != Verdict::AmbiguousPath {
        passed_over(&mut out, &plan.routes[..taken], &matched);
    }
    match verdict {
        Verdict::Route(number) => {
            let route = &plan.routes[number];
            conditions(&mut out, route, &matched, "taken");
            let gates = Gates::link(plan, None);
            let found = match gates.of_route(number) {
                None => Some(GateFacts::default()),
                Some(gate) => judged(&mut out, plan, route, gate, &input),
            };
            if let Some(found) = found {
                let gate = gates.of_route(number).map(|gate| &**gate);
                action(&mut out, plan, route, &input, (gate, &found));
            }
        }
        Verdict::NoRoute => out.push_str(&refusal(Reason::NoRoute)),
        Verdict::AmbiguousPath => out.push_str(&refusal(Reason::AmbiguousPath)),
        Verdict::WrongMethod(methods) => {
            out.push_str(&refusal(Reason::MethodNotAllowed));
            let _ = writeln!(out, "  Allow: {methods}");
        }
    }
    Ok(out)
}

/// The head, a line for the eye each.
fn shown(head: &str) -> String {
    let first = head.lines().next().unwrap_or_default();
    let fields = head.lines().skip(1).filter(|line| !line.is_empty());
    let fields: String = fields.map(|line| format!("  {}\n", line.escape_debug())).collect();
    format!("{}\n{fields}", first.escape_debug())
}

fn refusal(reason: Reason) -> String {
    let status = reason.status().unwrap_or_default();
    format!("answer {status} {}\n  {}\n", reason.label(), reason.explain())
}

/// Routes that might have meant the request, and why they do not.
fn passed_over(out: &mut String, routes: &[RouteSpec], input: &MatchInput<'_>) {
    let holds = |kind, route: &RouteSpec| matching::holds(kind, &route.conditions, input);
    let is_near =
        |route: &&RouteSpec| holds(ConditionKind::Host, route) && holds(ConditionKind::Path, route);
    let near: Vec<&RouteSpec> = routes.iter().filter(is_near).collect();
    match routes.len() - near.len() {
        0 => {}
        1 => out.push_str("1 route before is for another host or path\n"),
        others => {
            let _ = writeln!(out, "{others} routes before are for other hosts or paths");
        }
    }
    near.iter().take(TOLD).for_each(|route| conditions(out, route, input, "not taken"));
    if near.len() > TOLD {
        let _ = writeln!(out, "and {} more that are not taken", near.len() - TOLD);
    }
}

/// Each condition of a route, and whether it holds.
fn conditions(out: &mut String, route: &RouteSpec, input: &MatchInput<'_>, verdict: &str) {
    let _ = writeln!(out, "route {}: {verdict}", route.name);
    let own = &route.conditions;
    let mut tell = |name: &str, wanted: String, holds: bool| {
        if !wanted.is_empty() {
            let _ = writeln!(out, "  {:<3} {name} {wanted}", if holds { "yes" } else { "no" });
        }
    };
    for kind in KINDS {
        let (name, wanted) = match kind {
            ConditionKind::Host => ("host", all(&own.host)),
            ConditionKind::Path => ("path", all(&own.path)),
            ConditionKind::Listen => ("listen", all(&own.listen)),
            ConditionKind::Client => ("client", all(&own.client)),
            ConditionKind::Header => ("header", all(&own.header)),
            ConditionKind::Query => ("query", all(&own.query)),
            ConditionKind::Method => ("method", all(&own.method)),
        };
        tell(name, wanted, matching::holds(kind, own, input));
    }
}

fn all<T: Display>(items: &[T]) -> String {
    items.iter().map(T::to_string).collect::<Vec<_>>().join(", ")
}

/// What the gate of the route demands, and what it says of the request; `None`: it is answered here. Limits count from
/// nothing.
fn judged(
    out: &mut String,
    plan: &Plan,
    route: &RouteSpec,
    gate: &LinkedGate,
    input: &MatchInput<'_>,
) -> Option<GateFacts> {
    let is_forward = matches!(route.action, RouteAction::Forward(_));
    for (name, value) in gate_rows(plan, &route.gate, is_forward) {
        let value = value.replace('\n', " or ");
        let _ = if value.is_empty() { Ok(()) } else { writeln!(out, "  demands {name} {value}") };
    }
    let names = |kind: &str, names: Vec<&str>| match names.is_empty() {
        true => String::new(),
        false => format!("  {kind} {}\n", names.join(", ")),
    };
    out.push_str(&names("auth", gate.spec.auth.iter().map(|one| &*one.name).collect()));
    out.push_str(&names("limit", gate.spec.limits.iter().map(|one| &*one.name).collect()));
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let at = JudgedAt { now: Duration::ZERO, unix_s: unix.as_secs() };
    let demanded = (gate.spec.client_cert && input.secure).then(|| any_certificate(gate));
    if demanded.is_some() {
        out.push_str("  a certificate is looked at: what follows is so for one that is good\n");
    }
    let input = &MatchInput { certificate: demanded.as_ref(), ..*input };
    match judge(gate, input, &route.name, at, &[]) {
        Ruling::Pass(found) => {
            let who = found.user().map_or("", |who| &*who.name);
            let who = if who.is_empty() { String::new() } else { format!(" as {who}") };
            let _ = writeln!(out, "  the gate lets it pass{who}");
            Some(found)
        }
        Ruling::Ask(question) => {
            let name = &question.auth.spec.name;
            let _ =
                writeln!(out, "  {name} has to be asked first: what follows is so if it says yes");
            Some(GateFacts::default())
        }
        Ruling::Reply(LocalReply { reason, detail, fields, .. }) => {
            out.push_str(&refusal(reason));
            if !detail.is_empty() {
                let _ = writeln!(out, "  detail: {detail}");
            }
            for (name, value) in fields {
                let _ = writeln!(out, "  {name}: {value}");
            }
            None
        }
    }
}

/// Stands for a certificate that has all roles which only certificates have.
fn any_certificate(gate: &LinkedGate) -> ShownCertificate {
    let roles = gate.spec.roles.iter().filter(|role| role.contains([':', '=']));
    let roles: Vec<String> = roles.map(|role| role.to_string()).collect();
    ShownCertificate::new(None, &roles, None, u64::MAX)
}

fn action(
    out: &mut String,
    plan: &Plan,
    route: &RouteSpec,
    input: &MatchInput<'_>,
    (gate, found): (Option<&LinkedGate>, &GateFacts),
) {
    let values = Values {
        input: *input,
        secure: input.secure,
        id: b"{request-id}",
        user: found.user().map_or("", |who| &*who.name),
        route: &route.name,
        upstream: "",
    };
    let spec = match &route.action {
        RouteAction::Forward(forward) => forward.shares.first().map(|share| &share.exchange),
        _ => None,
    };
    let spec = spec.unwrap_or(&route.exchange);
    if !fits(&spec.request_header, &values) || !fits(&spec.response_header, &values) {
        return out.push_str(&refusal(Reason::TargetTooLong));
    }
    match &route.action {
        RouteAction::Redirect(spec) => {
            let Some(reply) = redirect(spec, &values) else {
                return out.push_str(&refusal(Reason::TargetTooLong));
            };
            let to = reply.fields.iter().find(|(name, _)| *name == "Location");
            let to = to.map_or("", |(_, to)| to.as_ref());
            let shown = spec.to.to_string();
            let to = if spec.to.is_masked() { &shown } else { to };
            let _ = writeln!(out, "answer {} redirected\n  Location: {to}", spec.status);
        }
        RouteAction::Admin => out.push_str("answer as the admin does\n"),
        RouteAction::Respond(spec) => {
            let Some(reply) = respond(spec, &route.exchange.response_header, &values) else {
                return out.push_str(&refusal(Reason::TargetTooLong));
            };
            let _ = writeln!(out, "answer {} responded, {} octets", spec.status, reply.body.len());
        }
        RouteAction::Forward(spec) => forwarded(out, plan, spec, &values, (gate, found)),
    }
}

/// The pools, what holds for an exchange, and what leaves.
fn forwarded(
    out: &mut String,
    plan: &Plan,
    spec: &Forward,
    values: &Values<'_>,
    (gate, found): (Option<&LinkedGate>, &GateFacts),
) {
    let total: u32 = spec.shares.iter().map(|share| share.weight).sum();
    for share in &spec.shares {
        let Some(pool) = plan.pool(&share.pool) else { continue };
        let of = match spec.shares.len() {
            1 => String::new(),
            _ => format!(" ({} of {total} requests)", share.weight),
        };
        let _ = writeln!(out, "pool {}{of}", share.pool);
        for upstream in pool.upstreams.iter().take(TOLD) {
            let weight =
                if upstream.weight == 1 { "" } else { &format!(" weight={}", upstream.weight) };
            let draining = if upstream.draining { " (draining)" } else { "" };
            let _ = writeln!(out, "  upstream {}{weight}{draining}", upstream.name);
        }
        if pool.upstreams.len() > TOLD {
            let _ = writeln!(out, "  and {} more", pool.upstreams.len() - TOLD);
        }
        settings(out, &share.exchange);
        let Some(upstream) = pool.upstreams.iter().find(|upstream| !upstream.draining) else {
            continue;
        };
        let values = Values { upstream: &upstream.name, ..*values };
        let mut own = lines(&share.exchange.request_header, &values, true);
        own.extend(found.who.iter().flat_map(|who| &who.lines));
        let input = &values.input;
        let outgoing = Outgoing {
            head: input.head,
            peer: input.peer,
            trusted: input.is_trusted(),
            secure: values.secure,
            id: values.id,
            spec: &share.exchange,
            forward: spec,
            upstream: (&upstream.base, &upstream.authority),
            lines: &own,
            stripped: gate.map_or(&[], |gate| gate.stripped(input)),
            withheld: input.withheld,
            offer: input.head.offer(input.bytes, &share.exchange.upgrades),
        };
        let edits = outgoing.edits();
        let mut buffer = vec![0; 2 * plan.listener.limits.head + own.len() + 4096];
        let mut writer = Writer::new(&mut buffer);
        if forward::request(&mut writer, values.input.head, values.input.bytes, &edits).is_ok() {
            let _ = writeln!(out, "what leaves to {}", upstream.name);
            let text = String::from_utf8_lossy(writer.written()).into_owned();
            let lines = text.lines().filter(|line| !line.is_empty());
            lines.for_each(|line| out.push_str(&format!("  {line}\n")));
        }
    }
}

fn settings(out: &mut String, spec: &ExchangeSpec) {
    let (timeouts, retry) = (&spec.timeouts, &spec.retry);
    let body = spec.max_body.map_or_else(|| "off".to_owned(), |octets| format!("{octets} octets"));
    let _ = writeln!(
        out,
        "  max-body {body}, max-retries {}, retry-on {}, connect-timeout {:?}, response-timeout {:?}, \
         read-timeout {:?}, write-timeout {:?}",
        retry.most, retry.on, timeouts.connect, timeouts.response, timeouts.read, timeouts.write
    );
    if retry.try_timeout + retry.hedge > Duration::ZERO || retry.buffer > 0 {
        let RetrySpec { try_timeout, hedge, buffer, .. } = retry;
        let _ = writeln!(
            out,
            "  try-timeout {try_timeout:?}, hedge {hedge:?}, retry-buffer {buffer} octets"
        );
    }
    for line in &spec.response_header.lines {
        let _ = writeln!(out, "  answers get {}: {}", line.name, line.value);
    }
    for name in &spec.response_header.removed {
        let _ = writeln!(out, "  answers lose {name}");
    }
}

/// What is asked of an admin: `?request=GET%20http://...&field=A:%20b&client=...&at=...`.
pub fn split_question(query: &str) -> Vec<(String, String)> {
    let (_, query) = split(query.as_bytes());
    let pairs = query.unwrap_or_default().split(|octet| *octet == b'&');
    let decode = |text: &[u8]| {
        String::from_utf8_lossy(&matching::decoded(text).collect::<Vec<u8>>()).into_owned()
    };
    let pair = |pair: &[u8]| {
        let at = pair.iter().position(|octet| *octet == b'=').unwrap_or(pair.len());
        (decode(&pair[..at]), decode(pair.get(at + 1..).unwrap_or_default()))
    };
    pairs.filter(|text| !text.is_empty()).map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::testing::plan;

    fn told(request: &str, fields: &[&str]) -> String {
        let plan = plan(
            "listen = ':80'\nupstream = 'http://a:1/base'\n\
             [[route]]\nname = 'away'\nhost = 'old'\nredirect = 'https://new{uri}'\n\
             [[route]]\nname = 'api'\npath = '/v1/*'\nmethod = ['GET', 'PUT']\nheader = { X-A = '1' }\n\
             strip-prefix = '/v1'\nrequest-header = { set = { X-B = '{client} {route}' } }\n\
             [[route]]\nname = 'put'\nhost = 'put'\nmethod = 'PUT'\ncors = { origin = '*' }\n\
             [[route]]\nname = 'net'\nclient = '10.0.0.0/8'\nrespond = 'hi'\n",
        );
        let fields = fields.iter().map(|line| (*line).to_owned()).collect();
        let question = Question { request: request.into(), fields, ..Question::default() };
        explain(&plan, &Router::new(&plan, None), &question).unwrap()
    }

    #[test]
    fn it_is_told_which_route_takes_a_request_and_what_leaves() {
        let text = told("GET http://shop/v1/x?y", &["X-A: 1"]);
        for part in [
            "GET /v1/x?y HTTP/1.1\n  Host: shop\n",
            "1 route before is for another host or path\n",
            "route api: taken\n  yes path /v1/*\n  yes header X-A=1\n  yes method GET, PUT\n",
            "pool default\n  upstream http://a:1/base\n",
            "what leaves to http://a:1/base\n  GET /base/x?y HTTP/1.1\n",
            "  X-B: 127.0.0.1 api\n",
        ] {
            assert!(text.contains(part), "no {part:?} in {text}");
        }
    }

    #[test]
    fn it_is_told_what_becomes_of_a_preflight() {
        let asked = |fields: &str| {
            let method = format!("Access-Control-Request-Method: {fields}");
            told("OPTIONS http://put/", &["Origin: https://app.test", &method])
        };
        let text = asked("PUT");
        for part in [
            "takes the route of the PUT that it is about\n",
            "route put: taken\n  yes host put\n  yes method PUT\n",
            "answer 403 cors_refused\n",
            "  detail: pages of other origins may not use this method here\n",
        ] {
            assert!(text.contains(part), "no {part:?} in {text}");
        }
        assert!(asked("GET").contains("answer 405 method_not_allowed\n"));
    }

    #[test]
    fn it_is_told_why_no_route_takes_it() {
        let text = told("PUT http://shop/v1", &[]);
        assert!(
            text.contains("route api: not taken\n  yes path /v1/*\n  no  header X-A=1"),
            "{text}"
        );
        assert!(text.contains("route net: not taken\n  no  client 10.0.0.0/8"), "{text}");
        assert!(text.contains("answer 404 no_route\n"), "{text}");
        let text = told("POST http://shop/v1", &["X-A: 1"]);
        assert!(text.contains("answer 405 method_not_allowed") && text.contains("Allow: GET, PUT"));
        assert!(told("GET http://old/a", &[]).contains("  Location: https://new/a\n"));
        assert!(told("GET http://shop/a/../b", &[]).contains("answer 400 ambiguous_path"));
        assert!(told("GET http://shop/a", &["Host: a", "Host: b"]).contains("duplicate_host"));
    }
}
