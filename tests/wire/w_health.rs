//! How upstreams are: found out, decided on, told and handed on.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{
    Configured, Gate, Origin, Proxy, Refusing, Response, Scratch, Silent, eventually, page, run,
};

/// Checks come often, and two that fail are enough.
const OFTEN: [&str; 8] = [
    "--health-path",
    "/healthz",
    "--health-interval",
    "20ms",
    "--health-fall",
    "2",
    "--health-rise",
    "1",
];

/// An origin that is as well as the status says.
fn patient() -> (Origin, Arc<AtomicU16>) {
    let status = Arc::new(AtomicU16::new(200));
    let shown = Arc::clone(&status);
    let origin = Origin::serving(move |request| {
        let status = if request.target == "/healthz" { shown.load(Relaxed) } else { 200 };
        format!("HTTP/1.1 {status} Status\r\nContent-Length: 2\r\n\r\nok").into_bytes()
    });
    (origin, status)
}

/// What `/status` says of the first upstream.
fn first(proxy: &Proxy) -> Value {
    page(&proxy.ask("/status"))["upstreams"][0].clone()
}

#[track_caller]
fn until(proxy: &Proxy, state: &str) -> Value {
    eventually(state, || first(proxy)["state"] == state);
    first(proxy)
}

fn lines(proxy: &Proxy, text: &str) -> Vec<String> {
    proxy.log().into_iter().filter(|line| line.contains(text)).collect()
}

#[test]
fn w01_an_upstream_goes_down_and_comes_back_and_that_is_told() {
    let (origin, status) = patient();
    let url = origin.url();
    let proxy = Proxy::with(&origin, &OFTEN);
    let up = until(&proxy, "up");
    assert_eq!((&up["consecutive_failures"], &up["last_error"]), (&json!(0), &Value::Null));
    assert_eq!((&up["breaker"], &up["alive"]), (&json!("closed"), &json!(true)));
    assert_eq!(up["addresses"], json!([origin.address()]));
    assert!(up["since"].as_u64() <= up["last_healthy"].as_u64(), "{up}");
    status.store(503, Relaxed);
    let down = until(&proxy, "down");
    assert_eq!(down["last_error"]["reason"], "wrong_status");
    assert_eq!(down["last_error"]["text"], "status 503");
    assert!(down["consecutive_failures"].as_u64() >= Some(2) && down["alive"] == false, "{down}");
    assert!(down["since"].as_u64() >= down["last_healthy"].as_u64(), "{down}");
    assert_eq!(page(&proxy.ask("/ready"))["upstreams"], json!({ "alive": 0, "total": 1 }));
    proxy.wait_for_log("upstream is down");
    proxy.wait_for_log("all upstreams are down");
    let text = proxy.ask("/metrics?format=prometheus").text();
    assert!(text.contains(&format!("tidegate_upstream_up{{upstream=\"{url}\"}} 0\n")), "{text}");
    let checks = format!("checks_total{{upstream=\"{url}\",result=\"wrong_status\"}}");
    assert!(text.contains(&checks), "{text}");
    let told = run(&["status", "--admin", &proxy.admin], &[]).stdout;
    assert!(told.contains("down since 20") && told.contains("wrong_status: status 503"), "{told}");
    status.store(200, Relaxed);
    until(&proxy, "up");
    proxy.wait_for_log("upstream is up");
    let (down, up) = (lines(&proxy, "upstream is down"), lines(&proxy, "upstream is up"));
    assert_eq!((down.len(), up.len()), (1, 1), "{:#?}", proxy.log());
    for part in ["WARN", &url, "wrong_status", "status 503"] {
        assert!(down[0].contains(part), "{part}: {down:?}");
    }
    assert!(up[0].contains("INFO") && up[0].contains("checks succeed"), "{up:?}");
}

#[test]
fn w02_whatever_is_wrong_has_a_name() {
    let scratch = Scratch::new();
    let unix = format!("unix:{}", scratch.join("socket"));
    let refusing = Refusing::new();
    let silent = Silent::new();
    let says = |octets: &'static str| Origin::start(move |peer| peer.answer(octets).map(drop));
    let holding = Origin::start(|peer| {
        peer.request()?;
        peer.hold()
    });
    let origins = [
        (holding, "no_answer"),
        (says("HTTP/1.1 200"), "closed"),
        (says("SSH-2.0-OpenSSH\r\n\r\n"), "not_http"),
        (says("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"), "wrong_status"),
        (says("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nsoon"), "wrong_body"),
    ];
    let listens =
        Origin::listen(&unix, |peer| peer.answer("HTTP/1.1 200 OK\r\n\r\nI am ready").map(drop));
    let mut expected = vec![
        (refusing.url(), "connect_refused"),
        (silent.url(), "connect_timeout"),
        ("http://nowhere.invalid".to_owned(), "resolve_failed"),
        (format!("http://unix:{}", scratch.join("nobody")), "connect_failed"),
    ];
    expected.extend(origins.iter().map(|(origin, reason)| (origin.url(), *reason)));
    let well = format!("http://{unix}");
    let mut flags =
        vec!["--health-body", "ready", "--health-timeout", "300ms", "--upstream", &well];
    flags.extend(OFTEN);
    expected.iter().for_each(|(url, _)| flags.extend(["--upstream", url]));
    let proxy = Proxy::start(&flags);
    let states = || page(&proxy.ask("/status"))["upstreams"].as_array().unwrap().clone();
    eventually("all are judged", || states().iter().all(|one| one["state"] != "unknown"));
    let upstreams = states();
    assert_eq!(upstreams[0]["state"], "up", "{:#?}", upstreams[0]);
    for ((url, reason), one) in expected.iter().zip(&upstreams[1..]) {
        assert_eq!((&one["state"], &one["url"]), (&json!("down"), &json!(url)), "{one:#}");
        assert_eq!(one["last_error"]["reason"], *reason, "{one:#}");
    }
    drop(listens);
}

#[test]
fn w03_a_check_asks_as_it_was_told() {
    for (path, flags, line, host) in [
        ("", &["--health-path", "/a?b"][..], "GET /a?b HTTP/1.1", None),
        ("/base", &["--health-path", "/a"], "GET /base/a HTTP/1.1", None),
        ("", &["--health-method", "head"], "HEAD / HTTP/1.1", None),
        ("", &["--health-host", "a.test"], "GET / HTTP/1.1", Some("a.test")),
    ] {
        let origin = Origin::named("a");
        let url = format!("{}{path}", origin.url());
        let usual = ["--health-interval", "20ms", "--upstream", &url];
        let proxy = Proxy::start(&[&usual, flags].concat());
        until(&proxy, "up");
        let request = origin.requests().remove(0);
        assert_eq!(request.head.line, line);
        assert_eq!(request.head.get("Host"), Some(host.unwrap_or(origin.address())));
        assert_eq!(request.head.get("Connection"), Some("close"));
    }
    let origin = Origin::named("a");
    let name = origin.url().replace("127.0.0.1", "localhost");
    let proxy = Proxy::start(&["--upstream", &name, "--health-interval", "20ms"]);
    let addresses = until(&proxy, "up")["addresses"].clone();
    assert!(addresses.as_array().unwrap().contains(&json!(origin.address())), "{addresses}");
    let origin = Origin::start(|peer| peer.hold());
    let proxy = Proxy::with(&origin, &["--health-method", "connect", "--health-interval", "20ms"]);
    until(&proxy, "up");
    assert_eq!(origin.received(0), b"", "a connection is all");
}

#[test]
fn w04_a_reload_keeps_what_is_known_and_changes_how_it_is_asked() {
    let (origin, status) = patient();
    let text = |health: &str| format!("[pool.default]\nupstream = '{}'\n{health}", origin.url());
    let often = |rest: &str| text(&format!("health = {{ interval = '20ms', fall = 1, {rest} }}\n"));
    let case = Configured::new(&often("path = '/healthz'"), &[]);
    let reload = |text: &str| {
        let Response { status, .. } = case.reload(text);
        assert_eq!(status, 200, "{text}: {:#?}", case.proxy.log());
    };
    until(&case.proxy, "up");
    status.store(500, Relaxed);
    let down = until(&case.proxy, "down");
    reload(&often("path = '/healthz', timeout = '3s'"));
    let still = first(&case.proxy);
    assert_eq!((&still["state"], &still["since"]), (&json!("down"), &down["since"]));
    reload(&often("path = '/other'"));
    until(&case.proxy, "up");
    reload(&often("path = '/healthz'"));
    until(&case.proxy, "down");
    reload(&text(""));
    let unasked = first(&case.proxy);
    assert_eq!((&unasked["state"], &unasked["since"]), (&json!("unknown"), &Value::Null));
    assert_eq!(case.proxy.client().get("/").status, 200);
    until(&case.proxy, "up");
}

#[test]
fn w05_an_upgrade_neither_forgets_nor_tells_again() {
    let (origin, status) = patient();
    let scratch = Scratch::new();
    let settings = scratch.join("tidegate.toml");
    let write = |interval: &str| {
        let health =
            format!("{{ path = '/healthz', interval = '{interval}', fall = 1, rise = 1 }}");
        let text = format!("[pool.default]\nupstream = '{}'\nhealth = {health}\n", origin.url());
        fs::write(&settings, text).unwrap();
    };
    write("20ms");
    let mut proxy = Proxy::start(&["--config", &settings]);
    until(&proxy, "up");
    status.store(503, Relaxed);
    until(&proxy, "down");
    proxy.wait_for_log("upstream is down");
    proxy.wait_for_log("all upstreams are down");
    write("1h"); // the new process asks nobody for a while
    proxy.upgrade();
    let down = first(&proxy);
    assert_eq!(down["state"], "down", "{down:#}");
    assert_eq!(down["last_error"]["text"], "status 503");
    assert!(down["since"].is_u64() && down["last_healthy"].is_u64(), "{down:#}");
    assert!(down["consecutive_failures"].as_u64() >= Some(1), "{down:#}");
    status.store(200, Relaxed);
    write("20ms");
    proxy.upgrade();
    until(&proxy, "up");
    proxy.wait_for_log("upstream is up");
    let (down, up) = (lines(&proxy, "upstream is down"), lines(&proxy, "upstream is up"));
    assert_eq!((down.len(), up.len()), (1, 1), "{:#?}", proxy.log());
}

#[test]
fn w06_a_request_that_cannot_connect_brings_the_next_check_on() {
    let refusing = Refusing::new();
    let url = refusing.url();
    let seldom = ["--upstream", &url, "--health-interval", "1h", "--health-fall", "2"];
    let proxy = Proxy::start(&seldom);
    assert_eq!(first(&proxy)["state"], "unknown");
    assert_eq!(proxy.client().get("/").status, 503);
    // Those that come meanwhile do not put it off.
    let mut client = proxy.client();
    eventually("down", || {
        assert_eq!(client.get("/").status, 503);
        first(&proxy)["state"] == "down"
    });
    let down = first(&proxy);
    // The request's, and that of a check; and that of a request which came while the check was told.
    let failures = down["consecutive_failures"].as_u64();
    assert!(matches!(failures, Some(2 | 3)), "{down:#}");
    let checks = proxy.metrics()["upstreams"][&url]["health_checks"].clone();
    assert_eq!(checks, json!({ "connect_refused": 1 }));
}

#[test]
fn w07_without_checks_it_is_shown_what_requests_found() {
    let refusing = Refusing::new();
    let proxy = Proxy::start(&["--upstream", &refusing.url()]);
    let unknown = first(&proxy);
    assert_eq!((&unknown["state"], &unknown["since"]), (&json!("unknown"), &Value::Null));
    assert_eq!(proxy.client().get("/").status, 503);
    eventually("why is known", || first(&proxy)["last_error"].is_object());
    let down = first(&proxy);
    assert_eq!(
        (&down["state"], &down["last_error"]["reason"]),
        (&json!("down"), &json!("connect_refused"))
    );
    assert!(down["since"].is_u64() && down["last_healthy"].is_null(), "{down:#}");
    let _origin = refusing
        .relent(|peer| peer.answer("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1").map(drop));
    eventually("it answers", || proxy.client().get("/").status == 200);
    eventually("that is known", || first(&proxy)["last_healthy"].is_u64());
    let up = first(&proxy);
    assert_eq!((&up["state"], &up["consecutive_failures"]), (&json!("up"), &json!(0)));
    assert_eq!(proxy.metrics()["upstreams"][up["url"].as_str().unwrap()]["up"], 1);
}

#[test]
fn w08_one_that_drains_is_checked_on() {
    let (origin, _) = patient();
    let url = origin.url();
    let proxy = Proxy::with(&origin, &OFTEN);
    until(&proxy, "up");
    assert_eq!(proxy.post("/drain", &json!({ "url": url }).to_string()).status, 200);
    assert_eq!(first(&proxy)["state"], "draining");
    let checks = || proxy.metrics()["upstreams"][&url]["health_checks"]["ok"].as_u64().unwrap();
    let before = checks();
    eventually("more checks", || checks() > before + 2);
}

#[test]
fn w09_no_more_than_64_are_asked_at_once() {
    let (gate, now, most) =
        (Gate::default(), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let shared = (gate.clone(), now.clone(), most.clone());
    let origin = Origin::start(move |peer| {
        let (gate, now, most) = &shared;
        peer.request()?;
        most.fetch_max(now.fetch_add(1, Relaxed) + 1, Relaxed);
        gate.wait();
        now.fetch_sub(1, Relaxed); // before it is answered, so none is counted twice
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    });
    let urls: Vec<String> = (0..200).map(|n| format!("{}/{n}", origin.url())).collect();
    let mut flags = vec!["--health-interval", "20ms", "--health-timeout", "1m"];
    urls.iter().for_each(|url| flags.extend(["--upstream", url]));
    let proxy = Proxy::start(&flags);
    eventually("as many as may be", || now.load(Relaxed) == 64);
    proxy.wait_for_log("health checks are late: 64 others wait for an answer");
    assert_eq!(lines(&proxy, "checks are late").len(), 1, "{:#?}", proxy.log());
    gate.open();
    let all = || {
        let states = page(&proxy.ask("/status"))["upstreams"].as_array().unwrap().clone();
        states.iter().all(|one| one["state"] == "up")
    };
    eventually("all are asked", all);
    assert_eq!(most.load(Relaxed), 64);
}

#[test]
fn w10_one_that_never_comes_to_an_answer_takes_nobody_elses_turn() {
    let flooding = Origin::start(|peer| {
        let interim = "HTTP/1.1 100 Continue\r\n\r\n".repeat(1000);
        loop {
            peer.answer(&interim)?;
        }
    });
    let (well, _) = patient();
    let urls = [flooding.url(), well.url()];
    let proxy =
        Proxy::start(&[&["--upstream", &urls[0], "--upstream", &urls[1]], &OFTEN[..]].concat());
    let down = until(&proxy, "down");
    assert_eq!(down["last_error"]["reason"], "not_http", "{down}");
    assert_eq!(page(&proxy.ask("/status"))["upstreams"][1]["state"], "up");
}

#[test]
fn w11_a_name_that_keeps_its_addresses_is_left_alone_as_long_as_it_was_to_be() {
    let refusing = Refusing::new();
    let name = refusing.url().replace("127.0.0.1", "localhost");
    let breaker = ["--breaker", "--breaker-failures", "2", "--breaker-open", "60s"];
    let flags = ["--upstream", &name, "--max-retries", "0", "--workers", "2"];
    let proxy = Proxy::start(&[&flags[..], &breaker].concat());
    let mut client = proxy.client();
    let started = Instant::now();
    // A failure has the name looked up again a second later.
    while started.elapsed() < Duration::from_millis(2500) {
        assert_eq!(client.get("/").status, 503);
        thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(proxy.metrics()["upstreams"][&name]["connect_failures"], 2);
    assert_eq!(first(&proxy)["breaker"], "open");
}

#[test]
fn w12_an_upgrade_hands_over_what_is_known_of_the_addresses_of_names() {
    let refusing = Refusing::new();
    let scratch = Scratch::new();
    let settings = scratch.join("tidegate.toml");
    let name = refusing.url().replace("127.0.0.1", "localhost");
    let text = format!("[pool.default]\nupstream = '{name}'\nresolve = '1h'\n");
    fs::write(&settings, text).unwrap();
    let mut proxy = Proxy::start(&["--config", &settings]);
    let own = || {
        let upstreams = page(&proxy.ask("/status"))["upstreams"].as_array().unwrap().clone();
        upstreams.into_iter().find(|one| one["url"] == refusing.url()).unwrap()
    };
    eventually("down", || {
        proxy.client().get("/");
        own()["last_error"].is_object()
    });
    let before = own();
    proxy.upgrade();
    let after = page(&proxy.ask("/status"))["upstreams"].as_array().unwrap().clone();
    let after = after.into_iter().find(|one| one["url"] == refusing.url()).unwrap();
    for key in ["state", "since", "last_error", "consecutive_failures"] {
        assert_eq!(after[key], before[key], "{key}: {after:#}");
    }
    assert_eq!(after["state"], "down");
    // The new process knew them from the start.
    assert_eq!(lines(&proxy, "upstream addresses of localhost").len(), 1, "{:#?}", proxy.log());
}

#[test]
fn w13_checks_come_from_the_address_that_requests_come_from() {
    let origin = Origin::start(|peer| {
        let status = if peer.peer()?.ip().to_string() == "127.0.0.2" { 200 } else { 500 };
        peer.answer(format!("HTTP/1.1 {status} Status\r\nContent-Length: 0\r\n\r\n")).map(drop)
    });
    for (flags, state) in [(&[][..], "down"), (&["--upstream-bind", "127.0.0.2"][..], "up")] {
        until(&Proxy::with(&origin, &[&OFTEN[..], flags].concat()), state);
    }
}
