//! Which question gets which answer.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde_json::json;

use super::accept::Format;
use super::access::{self, Caller};
use super::exposition::Text;
use super::request::AdminRequest;
use super::{Orders, Refused, View, config_page, exposition, orders, reply, show};
use crate::config::{CLIENT_PAGES, Listen, Order, Question, Verb};
use crate::http::{Method, Reason, Reply};
use crate::policy::{self, split_question};

/// What one method of one path does.
struct Endpoint {
    method: Method,
    path: &'static str,
    /// A line of help; who asks for what there is not is told the lines of all.
    help: &'static str,
    handler: Handler,
}

enum Handler {
    /// It shows something.
    Show(fn(&View, &AdminRequest) -> Reply),
    /// It shows what may tell whether credentials are good: where there are tokens, to those who have one.
    Judge(fn(&View, &AdminRequest) -> Reply),
    /// It has something changed.
    Change(fn(&AdminRequest) -> Result<Order, Refused>),
}

use Handler::{Change, Judge, Show};

const MISDIRECTED: &str = "Host must be an IP address or localhost";

/// Every endpoint there is. `HEAD` goes where `GET` does.
const ENDPOINTS: &[Endpoint] = &[
    Endpoint {
        method: Method::Get,
        path: "/health",
        help: "200 while the process lives",
        handler: Show(|view, _| reply::json(200, &show::health(view))),
    },
    Endpoint {
        method: Method::Get,
        path: "/ready",
        help: "200 when ready, 503 while starting and draining",
        handler: Show(|view, _| {
            let (status, value) = show::ready(view);
            reply::json(status, &value)
        }),
    },
    Endpoint {
        method: Method::Get,
        path: "/metrics",
        help: "what was counted: JSON, or text for scrapers (?format=json, prometheus, openmetrics)",
        handler: Show(metrics),
    },
    Endpoint {
        method: Method::Get,
        path: "/status",
        help: "the process and its upstreams at a glance",
        handler: Show(|view, _| reply::json(200, &show::status(view))),
    },
    Endpoint {
        method: Method::Get,
        path: "/config",
        help: "the settings in force",
        handler: Show(|view, _| reply::json(200, &config_page::config(&view.named, &view.changes))),
    },
    Endpoint {
        method: Method::Post,
        path: "/reload",
        help: "read the settings anew, and go by them if they are fine",
        handler: Change(|_| Ok(Order::Reload)),
    },
    Endpoint {
        method: Method::Get,
        path: "/explain",
        help: "which route a request takes: ?request=GET%20http://host/path&field=Name:%20value&client=...&at=...",
        handler: Judge(explain),
    },
    Endpoint {
        method: Method::Post,
        path: "/upgrade",
        help: "hand over to a new process, and say how that went",
        handler: Change(|_| Ok(Order::Upgrade)),
    },
    Endpoint {
        method: Method::Post,
        path: "/add",
        help: "send requests to the upstream at {\"url\":...}, too",
        handler: Change(|request| orders::upstream(Verb::Add, request)),
    },
    Endpoint {
        method: Method::Post,
        path: "/remove",
        help: "do without the upstream at {\"url\":...}",
        handler: Change(|request| orders::upstream(Verb::Remove, request)),
    },
    Endpoint {
        method: Method::Post,
        path: "/drain",
        help: "send the upstream at {\"url\":...} no new requests",
        handler: Change(|request| orders::upstream(Verb::Drain, request)),
    },
    Endpoint {
        method: Method::Post,
        path: "/undrain",
        help: "send the upstream at {\"url\":...} requests again",
        handler: Change(|request| orders::upstream(Verb::Undrain, request)),
    },
    Endpoint {
        method: Method::Post,
        path: "/weight",
        help: "send the upstream at {\"url\":...} a share of {\"weight\":...}",
        handler: Change(|request| orders::upstream(Verb::Weight, request)),
    },
];

/// A change that is asked for.
struct Wish {
    /// What, as the audit log has it.
    what: String,
    /// The order, or why it is none.
    order: Result<Order, Refused>,
}

impl Wish {
    /// `None`: no change is asked for.
    fn of(view: &View, request: &AdminRequest) -> Option<Wish> {
        let (word, order) = match upstream_id(request) {
            Some(id) if request.method == Method::Delete => {
                (Verb::Remove.word(), orders::removal(view, id))
            }
            Some(_) => return None,
            None => match find(request)? {
                Endpoint { handler: Change(order), path, .. } => (&path[1..], order(request)),
                Endpoint { handler: Show(_) | Judge(_), .. } => return None,
            },
        };
        let what = order.as_ref().map_or_else(|_| word.to_owned(), Order::to_string);
        Some(Wish { what, order })
    }
}

/// Answers `request`; `local`: it came over a Unix socket, which no browser can be lured to.
pub(super) async fn answer(
    view: &View,
    orders: &Orders,
    request: &AdminRequest,
    local: bool,
) -> Reply {
    let wish = Wish::of(view, request);
    let caller = access::caller(view, request, local);
    let by = caller.as_ref().map_or(access::NOBODY, |caller| &caller.by);
    let misdirected = || Refused::new(421, "misdirected", MISDIRECTED);
    // Whoever has a token is no page that was lured here.
    let is_lured = |caller: &Caller| {
        !local && !caller.is_known && !request.host.is_empty() && !may_name_us(&request.host)
    };
    let Some(Wish { what, order }) = wish else {
        return match &caller {
            Ok(caller) if is_lured(caller) => misdirected().reply(),
            Ok(caller) if !judges(request) || caller.may_judge(view, local) => {
                page_or_help(view, request)
            }
            Ok(_) => {
                let refused =
                    access::unauthorized("this takes a token: Authorization: Bearer TOKEN");
                orders.audit_look(&request.path, by, &refused.message);
                refused.reply()
            }
            Err(refused) => {
                orders.audit_look(&request.path, by, &refused.message);
                refused.reply()
            }
        };
    };
    let permitted = caller.as_ref().map_err(Refused::clone).and_then(|caller| {
        if is_lured(caller) { Err(misdirected()) } else { caller.may_change(view, request) }
    });
    match permitted.and(order) {
        Ok(order) => orders.give(order, by).await,
        Err(refused) => {
            orders.audit(&what, by, Some(&refused.message));
            refused.reply()
        }
    }
}

/// What is here to be seen; else what is.
fn page_or_help(view: &View, request: &AdminRequest) -> Reply {
    let wrong_method = |message, allow: String| {
        let mut refused = reply::error(405, "method_not_allowed", message);
        refused.push("Allow", allow);
        refused
    };
    if upstream_id(request).is_some() {
        return wrong_method("DELETE removes it", "DELETE".to_owned());
    }
    if let Some(Endpoint { handler: Show(show) | Judge(show), .. }) = find(request) {
        return show(view, request);
    }
    let here = ENDPOINTS.iter().filter(|endpoint| endpoint.path == request.path);
    let methods: Vec<&str> = here
        .flat_map(|endpoint| match endpoint.method {
            Method::Get => vec!["GET", "HEAD"],
            method => vec![Method::LABELS[method.index()]],
        })
        .collect();
    if !methods.is_empty() {
        return wrong_method("Allow lists what can be done here", methods.join(", "));
    }
    let paths: Vec<_> = ENDPOINTS.iter().map(|endpoint| endpoint.path).collect();
    let help = ENDPOINTS.iter().map(|endpoint| {
        let method = Method::LABELS[endpoint.method.index()];
        (format!("{method} {}", endpoint.path), json!(endpoint.help))
    });
    let message = "no such path; `paths` lists what there is";
    let error = json!({ "code": "not_found", "message": message, "paths": paths });
    reply::json(404, &json!({ "error": error, "help": help.collect::<serde_json::Value>() }))
}

/// Behind `/upstreams/`.
fn upstream_id(request: &AdminRequest) -> Option<&str> {
    request.path.strip_prefix("/upstreams/")
}

/// Whether credentials may be judged for it.
fn judges(request: &AdminRequest) -> bool {
    matches!(find(request), Some(Endpoint { handler: Judge(_), .. }))
}

/// What is done for this method of this path.
fn find(request: &AdminRequest) -> Option<&'static Endpoint> {
    let method = if request.method == Method::Head { Method::Get } else { request.method };
    ENDPOINTS.iter().find(|endpoint| endpoint.path == request.path && endpoint.method == method)
}

/// The page that a client of the proxy gets for this request.
pub fn page(view: &View, method: Method, path: &str, query: &str, accept: &str) -> Reply {
    let is_here = |endpoint: &&Endpoint| endpoint.method == Method::Get && endpoint.path == path;
    let found = ENDPOINTS.iter().find(is_here).filter(|_| CLIENT_PAGES.contains(&path));
    match (found, method) {
        (Some(Endpoint { handler: Show(show), .. }), Method::Get | Method::Head) => {
            let request = AdminRequest {
                method,
                path: path.to_owned(),
                query: query.to_owned(),
                accept: accept.to_owned(),
                host: String::new(),
                content_type: String::new(),
                token: None,
                body: Vec::new(),
                keep: true,
            };
            show(view, &request)
        }
        (Some(_), _) => {
            let mut refused = reply::error(405, "method_not_allowed", "this can be read only");
            refused.push("Allow", "GET, HEAD");
            refused
        }
        (None, _) => reply::error(404, "not_found", "the admin shows nothing here"),
    }
}

/// Answers a request that was refused, under the label that the reason has everywhere.
pub(super) fn refusal(reason: Reason) -> Reply {
    reply::error(reason.status().unwrap_or(400), reason.label(), reason.explain())
}

fn explain(view: &View, request: &AdminRequest) -> Reply {
    let mut question = Question::default();
    for (name, value) in split_question(&format!("?{}", request.query)) {
        match name.as_str() {
            "request" => question.request = value,
            "field" => question.fields.push(value),
            "client" => match IpAddr::from_str(&value) {
                Ok(client) => question.client = Some(client),
                Err(_) => return reply::error(400, "client", "client must be an IP address"),
            },
            "at" => match Listen::from_str(&value) {
                Ok(listen) => question.listen = Some(listen),
                Err(_) => return reply::error(400, "at", "at must be an address such as :8080"),
            },
            _ => return reply::error(400, "query", "there is request, field, client and at"),
        }
    }
    if question.request.is_empty() {
        return reply::error(400, "request", "write ?request=GET%20http://host/path");
    }
    match policy::explain(&view.plan, &view.router, &question) {
        Ok(text) => reply::text(200, "text/plain; charset=utf-8", text),
        Err(why) => reply::json(400, &json!({ "error": { "code": "request", "message": why } })),
    }
}

fn metrics(view: &View, request: &AdminRequest) -> Reply {
    const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";
    match Format::choose(&request.query, &request.accept) {
        Some(Format::Json) => reply::json(200, &show::metrics(view)),
        Some(Format::OpenMetrics) => {
            reply::text(200, OPENMETRICS, exposition::page(view, Text::OpenMetrics))
        }
        Some(Format::Prometheus) => {
            reply::text(200, PROMETHEUS, exposition::page(view, Text::Prometheus))
        }
        None => reply::error(400, "format", "format must be json, prometheus or openmetrics"),
    }
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

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::admin::request::{Read, Reader};
    use crate::admin::testing::{busy, view};
    use crate::config::{Listen, UpstreamOrder};
    use crate::stats::{BreakerState, CheckOutcome, Health, LastError, Phase};
    use std::sync::Arc;

    fn read(text: &str) -> AdminRequest {
        let mut reader = Reader::default();
        reader.feed(text.as_bytes());
        let Ok(Read::Request(request)) = reader.read() else { panic!("{text}") };
        request
    }

    /// The answer of a process that changes nothing any more.
    fn asked(view: &View, request: &AdminRequest, local: bool) -> Reply {
        let (orders, _) = Orders::new(None);
        smol::block_on(answer(view, &orders, request, local))
    }

    fn ask(view: &View, request: &str) -> Reply {
        asked(view, &read(&format!("{request}\r\nHost: 127.0.0.1:8082\r\n\r\n")), false)
    }

    fn get(view: &View, target: &str) -> Reply {
        ask(view, &format!("GET {target} HTTP/1.1"))
    }

    fn field<'a>(answer: &'a Reply, name: &str) -> &'a str {
        let field = answer.fields.iter().find(|(known, _)| *known == name);
        field.map(|(_, value)| &**value).unwrap_or_default()
    }

    fn json(answer: &Reply) -> Value {
        assert_eq!(field(answer, "Content-Type"), "application/json");
        serde_json::from_slice(&answer.body).unwrap()
    }

    #[test]
    fn health_is_up_and_readiness_follows_the_state() {
        let view = view();
        assert_eq!(get(&view, "/health").body, b"{\"status\":\"UP\",\"uptime\":\"0s\"}\n");
        for (phase, status, name) in [
            (Phase::Starting, 503, "STARTING"),
            (Phase::Ready, 200, "READY"),
            (Phase::Draining, 503, "DRAINING"),
        ] {
            view.state.set(phase);
            let answer = get(&view, "/ready");
            assert_eq!(answer.status, status);
            assert_eq!(json(&answer)["status"], name);
        }
    }

    #[test]
    fn dead_upstreams_show_but_do_not_make_us_unready() {
        let view = view();
        view.state.set(Phase::Ready);
        for upstream in &view.upstreams {
            upstream.set_alive(false);
        }
        let answer = get(&view, "/ready");
        assert_eq!(answer.status, 200);
        assert_eq!(json(&answer)["upstreams"], json!({ "alive": 0, "total": 2 }));
    }

    #[test]
    fn status_tells_of_upstreams_and_totals() {
        let status = json(&get(&busy(), "/status"));
        assert_eq!(status["state"], "STARTING");
        assert_eq!(status["listeners"], json!(["127.0.0.1:8080"]));
        assert_eq!(status["admin"], "unix:/run/admin");
        let totals = json!({
            "connections": 3, "active": 0, "tunnels": 3, "requests": 4, "responses": 4, "errors": 1,
        });
        assert_eq!(status["totals"], totals);
        let upstream = json!({
            "id": "41ebf135b18c",
            "url": "http://127.0.0.1:9002",
            "resolved_from": null,
            "pool": "default",
            "weight": 1,
            "state": "unknown",
            "alive": true,
            "since": null,
            "last_healthy": null,
            "consecutive_failures": 0,
            "last_error": null,
            "breaker": "closed",
            "addresses": ["127.0.0.1:9002"],
            "current_connections": 1,
            "idle_connections": 2,
            "requests": 4,
            "failures": 1,
        });
        assert_eq!(status["upstreams"][1], upstream);
    }

    #[test]
    fn status_tells_how_upstreams_are() {
        let view = busy();
        let entry = &view.upstreams[0];
        for (is_checked, health, found, state) in [
            (true, Health::Unknown, true, "unknown"),
            (true, Health::Up, false, "up"),
            (true, Health::Down, true, "down"),
            (false, Health::Unknown, true, "up"),
            (false, Health::Down, false, "down"),
        ] {
            entry.set_alive(found);
            entry.change(|one| (one.is_checked, one.health) = (is_checked, health));
            let shown = &json(&get(&view, "/status"))["upstreams"][0];
            assert_eq!(
                (&shown["state"], &shown["alive"]),
                (&json!(state), &json!(state != "down"))
            );
        }
        let text = "status 503".to_owned();
        entry.breaker.store(BreakerState::HalfOpen);
        entry.change(|one| {
            let reason = CheckOutcome::WrongStatus;
            (one.since, one.last_healthy, one.failures) = (Some(5), Some(3), 7);
            one.last_error = Some(LastError { at: 6, reason, text });
        });
        let shown = &json(&get(&view, "/status"))["upstreams"][0];
        for (key, value) in [
            ("since", json!(5)),
            ("last_healthy", json!(3)),
            ("consecutive_failures", json!(7)),
            ("last_error", json!({ "at": 6, "reason": "wrong_status", "text": "status 503" })),
            ("breaker", json!("half_open")),
        ] {
            assert_eq!(shown[key], value, "{key}");
        }
    }

    #[test]
    fn metrics_as_json_have_what_people_look_for() {
        let metrics = json(&get(&busy(), "/metrics"));
        assert_eq!(metrics["requests"], 4);
        assert_eq!(metrics["responses"], 4);
        assert_eq!(metrics["errors"], 1);
        assert_eq!(metrics["codes"]["2xx"], 3);
        assert_eq!(metrics["statuses"], json!({ "GET": { "200": 3, "502": 1 } }));
        assert_eq!(metrics["reasons"]["connect_failed"], 1);
        assert_eq!(metrics["splice"]["copied"]["no_pipe"], 7);
        assert_eq!(metrics["upstreams"]["http://127.0.0.1:9002"]["requests"], 4);
        assert_eq!(metrics["upstreams"]["http://127.0.0.1:9002"]["up"], 1);
        assert_eq!(metrics["cores"][0]["requests"], 2);
        assert_eq!(
            (&metrics["tunnels"]["open"], &metrics["tunnels"]["opened"]),
            (&json!(3), &json!(7))
        );
        assert_eq!(metrics["buffers"]["total"], 128);
        assert_eq!(metrics["duration_s"]["at_most"]["0.0025"], 2);
        assert_eq!(metrics["duration_s"]["at_most"]["10"], 3);
        assert_eq!(metrics["duration_s"]["count"], 4);
    }

    #[test]
    fn metrics_come_in_the_form_that_is_asked_for() {
        let view = busy();
        let kind = |request: &str| {
            let answer = ask(&view, request);
            field(&answer, "Content-Type").split(';').next().unwrap().to_owned()
        };
        assert_eq!(kind("GET /metrics HTTP/1.1\r\nAccept: */*"), "application/json");
        assert_eq!(kind("GET /metrics HTTP/1.1\r\nAccept: text/plain"), "text/plain");
        assert_eq!(kind("GET /metrics?format=prometheus HTTP/1.1"), "text/plain");
        let openmetrics = "application/openmetrics-text";
        assert_eq!(kind(&format!("GET /metrics HTTP/1.1\r\nAccept: {openmetrics}")), openmetrics);
        assert_eq!(get(&view, "/metrics?format=xml").status, 400);
    }

    #[test]
    fn settings_are_shown_whole() {
        let config = json(&get(&view(), "/config"));
        assert_eq!(config["listen"], json!(["127.0.0.1:0"]));
        assert_eq!(config["timeouts"]["expect_s"], 1.5);
        assert_eq!(config["headers"]["trusted"], json!(["10.0.0.0/8"]));
        assert_eq!(config["headers"]["trusted_names"], json!(["True-Client-IP"]));
        assert_eq!(config["limits"]["body_bytes"], Value::Null);
        assert_eq!(config["access_log"]["format"], "json");
    }

    #[test]
    fn the_unknown_and_the_forbidden_say_what_would_be_right() {
        let answer = get(&view(), "/");
        assert_eq!(answer.status, 404);
        let error = &json(&answer)["error"];
        assert_eq!(error["code"], "not_found");
        let paths: Vec<&str> = ENDPOINTS.iter().map(|endpoint| endpoint.path).collect();
        assert_eq!(error["paths"], json!(paths));
        let answer = ask(&view(), "POST /status HTTP/1.1");
        assert_eq!((answer.status, field(&answer, "Allow")), (405, "GET, HEAD"));
        assert_eq!(json(&answer)["error"]["code"], "method_not_allowed");
    }

    #[test]
    fn only_who_is_here_and_means_it_changes_anything() {
        let unix = view(); // its admin listens on a Unix socket
        let mut open = view();
        Arc::get_mut(&mut open.plan).unwrap().process.admin = Some(Listen::Any(8082));
        let json = "POST /reload HTTP/1.1\r\nContent-Type: application/json; charset=utf-8";
        let form = "POST /reload HTTP/1.1\r\nContent-Type: text/plain";
        for (view, request, local, status) in [
            (&unix, "POST /reload HTTP/1.1", false, 415),
            (&unix, form, true, 415),
            (&unix, json, true, 503),
            (&unix, json, false, 503),
            (&open, json, false, 403),
            (&open, json, true, 503),
            (&open, "GET /reload HTTP/1.1", false, 405),
        ] {
            let request = read(&format!("{request}\r\nHost: 127.0.0.1\r\n\r\n"));
            assert_eq!(asked(view, &request, local).status, status, "{request:?} {local}");
        }
    }

    #[test]
    fn an_order_names_an_upstream_or_is_refused() {
        let order = |body: &str| {
            let mut request = read("POST /add HTTP/1.1\r\nHost: a\r\n\r\n");
            request.body = body.as_bytes().to_vec();
            orders::upstream(Verb::Add, &request)
                .map_err(|refused| (refused.status, refused.field.into_owned()))
        };
        let add = |pool: Option<&str>, weight| {
            let (pool, url) = (pool.map(str::to_owned), "http://a:1".to_owned());
            Ok(Order::Upstream(UpstreamOrder { verb: Verb::Add, url, pool, weight }))
        };
        assert_eq!(order("{\"url\":\"http://a:1\"}"), add(None, None));
        let all = "{\"url\":\"http://a:1\",\"pool\":\"x\",\"weight\":3}";
        assert_eq!(order(all), add(Some("x"), Some(3)));
        for (body, field) in [
            ("", ""),
            ("[]", ""),
            ("{}", "url"),
            ("{\"url\":7}", "url"),
            ("{\"url\":\"a:1\",\"pool\":7}", "pool"),
            ("{\"url\":\"a:1\",\"weight\":0}", "weight"),
            ("{\"url\":\"a:1\",\"weight\":\"3\"}", "weight"),
            ("{\"url\":\"a:1\",\"\\n\":3}", "\\n"),
        ] {
            assert_eq!(order(body), Err((400, field.to_owned())), "{body}");
        }
    }

    #[test]
    fn a_change_is_answered_with_what_came_of_it() {
        let request =
            read("POST /reload HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n\r\n");
        let refused = Refused {
            status: 400,
            code: "mistaken",
            message: "no".into(),
            field: "url".into(),
            text: "no!\n".into(),
        };
        let error = json!({
            "error": { "code": "mistaken", "message": "no", "field": "url", "text": "no!\n" }
        });
        for (outcome, status, page) in
            [(Ok(json!({ "ok": true })), 200, json!({ "ok": true })), (Err(refused), 400, error)]
        {
            let (orders, given) = Orders::new(None);
            let view = view();
            let control = async {
                let pending = given.recv_async().await.unwrap();
                assert_eq!(pending.order, Order::Reload);
                pending.answer(outcome);
            };
            let asking = answer(&view, &orders, &request, true);
            let (reply, ()) = smol::block_on(smol::future::zip(asking, control));
            assert_eq!((reply.status, super::tests::json(&reply)), (status, page));
        }
    }

    #[test]
    fn only_addresses_and_localhost_name_us() {
        for host in ["127.0.0.1", "127.0.0.1:8082", "[::1]", "[::1]:1", "LocalHost:1", "10.1.2.3"] {
            assert!(may_name_us(host), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil",
            "[::1",
            "[x]:1",
            "::1",
            "localhost:x",
        ] {
            assert!(!may_name_us(host), "{host}");
        }
        let request = read("GET /health HTTP/1.1\r\nHost: evil.example\r\n\r\n");
        assert_eq!(asked(&view(), &request, false).status, 421);
        assert_eq!(asked(&view(), &request, true).status, 200);
    }
}
