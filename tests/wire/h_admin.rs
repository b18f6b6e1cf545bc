//! What people and machines see from the side: admin API, logs, exit codes, signals.

use std::collections::HashSet;
use std::fs;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::harness::{Client, Gate, Origin, Proxy, Refusing, Scratch, eventually, run};

const GET: &str = "GET / HTTP/1.1\r\nHost: test\r\n\r\n";

#[test]
fn h01_health_and_readiness_are_told() {
    let origin = Origin::named("a");
    let proxy = Proxy::before(&origin);
    let health = proxy.ask("/health");
    assert_eq!(health.status, 200);
    let json: Value = serde_json::from_slice(&health.body).unwrap();
    assert_eq!(json["status"], "UP");
    assert!(json["uptime"].as_str().unwrap().ends_with('s'), "{json}");
    assert_eq!(proxy.ask("/ready").status, 200);
    assert_eq!(proxy.ask("/nothing-here").status, 404);
}

#[test]
fn h02_metrics_come_as_json_and_for_scrapers() {
    let origin = Origin::named("a");
    let proxy = Proxy::before(&origin);
    let mut client = proxy.client();
    (0..3).for_each(|_| drop(client.get("/")));
    client.send("BAD\r\n\r\n");
    assert_eq!(client.response().status, 400);
    eventually("all counted", || proxy.metric("/requests") == 4);
    for name in ["requests", "responses", "errors"] {
        assert!(proxy.metrics().get(name).is_some(), "{name}");
    }
    for (accept, kind) in [
        ("text/plain", "text/plain"),
        ("application/openmetrics-text;version=1.0.0,text/plain;q=0.5", "openmetrics"),
        ("application/json", "application/json"),
        ("*/*", "application/json"),
    ] {
        let mut admin = Client::to(&proxy.admin);
        let host = &proxy.admin;
        admin.send(format!("GET /metrics HTTP/1.1\r\nHost: {host}\r\nAccept: {accept}\r\n\r\n"));
        let answer = admin.response();
        assert!(answer.get("Content-Type").unwrap().contains(kind), "{accept}: {answer:?}");
        let text = answer.text();
        let is_known =
            |line: &str| ["#", "tidegate_", "process_"].iter().any(|begin| line.starts_with(begin));
        assert!(kind == "application/json" || text.lines().all(is_known), "{text}");
        assert!(text.contains("requests"), "{text}");
        let answered = ["{method=\"GET\",code=\"200\"} 3", "{method=\"_OTHER\",code=\"400\"} 1"];
        for labels in answered.iter().filter(|_| kind != "application/json") {
            let line = format!("tidegate_responses_total{labels}");
            assert!(text.lines().any(|one| one == line), "no {line} in {text}");
        }
    }
}

#[test]
fn h03_status_lists_the_upstreams() {
    let (a, b) = (Origin::named("a"), Origin::named("b"));
    let proxy = Proxy::start(&["--upstream", &a.url(), "--upstream", &b.url()]);
    let mut client = proxy.client();
    (0..4).for_each(|_| drop(client.get("/")));
    let requests = |n: usize| {
        let status: Value = serde_json::from_slice(&proxy.ask("/status").body).unwrap();
        let upstream = &status["upstreams"][n];
        let urls = [&a, &b].map(Origin::url);
        assert!(urls.iter().any(|url| url.as_str() == upstream["url"]), "{status:#}");
        assert_eq!(upstream["alive"], true);
        upstream["requests"].as_u64().unwrap_or_else(|| panic!("{status:#}"))
    };
    eventually("both counted", || requests(0) == 2 && requests(1) == 2);
}

/// The access log of `requests` sent one after the other through a proxy with `flags`.
#[track_caller]
fn logged(flags: &[&str], requests: &[&str]) -> Vec<String> {
    let origin = Origin::named("a");
    let proxy = Proxy::with(&origin, flags);
    for request in requests {
        let mut client = proxy.client();
        client.send(request);
        client.head();
    }
    proxy.access_log(requests.len());
    let all = proxy.stop().stdout;
    all.lines().map(str::to_owned).collect()
}

#[test]
fn h04_the_access_log_has_one_valid_line_for_each_request() {
    let lines = logged(
        &["--access-log", "json"],
        &[
            "GET /a?b=c HTTP/1.1\r\nHost: test\r\nX-Request-Id: the-id\r\n\r\n",
            "GET /\"quote\" HTTP/1.1\r\nHost: test\r\nUser-Agent: a\"b\\c\tz\u{e9}\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nhello",
            "NO REQUEST\r\n\r\n",
        ],
    );
    assert_eq!(lines.len(), 4, "{lines:#?}");
    let parse =
        |line: &String| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
    let lines: Vec<Value> = lines.iter().map(parse).collect();
    let keys = [
        "time",
        "request_id",
        "client",
        "scheme",
        "host",
        "method",
        "path",
        "proto",
        "status",
        "user_agent",
        "referer",
        "bytes_in",
        "bytes_out",
        "total_s",
        "reason",
        "attempts",
    ];
    for (line, key) in lines.iter().flat_map(|line| keys.map(|key| (line, key))) {
        assert!(line.get(key).is_some(), "no {key} in {line:#}");
    }
    let first = &lines[0];
    assert_eq!(first["request_id"], "the-id");
    assert_eq!((&first["method"], &first["path"]), (&"GET".into(), &"/a?b=c".into()));
    assert_eq!((&first["status"], &first["host"]), (&200.into(), &"test".into()));
    assert_eq!(first["attempts"].as_array().unwrap().len(), 1);
    assert!(first["total_s"].as_f64().unwrap() >= 0.0);
    assert_eq!(lines[3]["status"], 400);
    let ids: HashSet<_> = lines.iter().map(|line| line["request_id"].to_string()).collect();
    assert_eq!(ids.len(), 4);
}

#[test]
fn h05_every_attempt_is_in_the_line_with_its_cause() {
    let (refusing, origin) = (Refusing::new(), Origin::named("b"));
    let upstreams = ["--upstream", &refusing.url(), "--upstream", &origin.url()];
    let proxy = Proxy::start(&[&upstreams[..], &["--access-log", "json"]].concat());
    let mut client = proxy.client();
    (0..2).for_each(|_| assert_eq!(client.get("/").text(), "b"));
    let lines = proxy.access_log(2);
    let tried = lines
        .iter()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .find(|line| line["attempts"].as_array().unwrap().len() == 2)
        .unwrap_or_else(|| panic!("nobody tried twice: {lines:#?}"));
    let attempts = &tried["attempts"];
    assert_eq!(attempts[0]["upstream"], refusing.url());
    assert_eq!(attempts[1]["upstream"], origin.url());
    assert!(attempts[0].to_string().contains("refused"), "{attempts:#}");
}

#[test]
fn h06_a_client_that_left_is_499() {
    let asked = Gate::default();
    let seen = asked.clone();
    let origin = Origin::start(move |peer| {
        peer.request()?;
        seen.open();
        peer.hold()
    });
    let proxy = Proxy::with(&origin, &["--access-log", "json"]);
    let mut client = proxy.client();
    client.send(GET);
    asked.wait();
    drop(client);
    let line: Value = serde_json::from_str(&proxy.access_log(1)[0]).unwrap();
    assert_eq!(line["status"], 499);
    assert_eq!(line["reason"], "client_gone");
}

#[test]
fn h07_the_access_log_speaks_other_formats_and_writes_files() {
    for (format, part) in
        [("common", "\"GET /x HTTP/1.1\" 200 "), ("combined", "\"curl/8\""), ("human", "/x")]
    {
        let request = "GET /x HTTP/1.1\r\nHost: test\r\nUser-Agent: curl/8\r\n\r\n";
        let lines = logged(&["--access-log", format], &[request]);
        assert_eq!(lines.len(), 1);
        assert!(lines[0].contains(part), "{format}: {}", lines[0]);
    }
    let scratch = Scratch::new();
    let path = scratch.join("access.log");
    let origin = Origin::named("a");
    let proxy = Proxy::with(&origin, &["--access-log", "json", "--access-log-file", &path]);
    assert_eq!(proxy.client().get("/x").status, 200);
    eventually("a line in the file", || fs::read_to_string(&path).is_ok_and(|t| t.ends_with("\n")));
    assert_eq!(proxy.stop().stdout, "");
    assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 1);
}

#[test]
fn h07b_common_and_combined_count_the_body_alone() {
    let few_lines = 20..=300;
    for (request, octets) in [
        ("GET /x HTTP/1.1\r\nHost: test\r\n\r\n", 1..=1), // the origin's name
        ("HEAD /x HTTP/1.1\r\nHost: test\r\n\r\n", 0..=0),
        ("GET /x HTTP/1.1\r\n\r\n", few_lines),
        ("HEAD /x HTTP/1.1\r\n\r\n", 0..=0),
    ] {
        let line = &logged(&["--access-log", "common"], &[request])[0];
        let counted: u64 = line.rsplit(' ').next().unwrap().parse().unwrap();
        assert!(octets.contains(&counted), "{line}");
    }
}

#[test]
fn h08_secrets_are_never_written() {
    let secrets = "Authorization: Basic c2VjcmV0\r\nCookie: secret=1\r\n\
                   X-Auth-Token: secret\r\nX-API-Key: secret\r\n";
    let request = format!("GET / HTTP/1.1\r\nHost: test\r\n{secrets}\r\n");
    for format in ["human", "json", "common", "combined"] {
        let lines = logged(&["--access-log", format], &[&request]);
        assert!(!lines[0].contains("secret") && !lines[0].contains("c2VjcmV0"), "{}", lines[0]);
    }
    // A URL with a password is refused, and the refusal is logged.
    let rest = "HTTP/1.1\r\nHost: a\r\nReferer: http://user:secret@a/\r\n\r\n";
    let line = |request: &str| {
        let line = logged(&["--access-log", "json"], &[&format!("{request} {rest}")]).remove(0);
        assert!(!line.contains("secret"), "{line}");
        line
    };
    for target in ["http://user:secret@a/", "user:secret@a:80", "http:/user:secret@a/"] {
        for method in ["GET", "CONNECT", "G(T"] {
            let line = line(&format!("{method} {target}"));
            assert!(line.contains("***@a") && !line.contains("\"status\":200"), "{line}");
        }
    }
    let line = line("GET /b@c");
    for part in ["\"path\":\"/b@c\"", "\"status\":200", "\"referer\":\"http://***@a/\""] {
        assert!(line.contains(part), "{line}");
    }
}

#[test]
fn h09_sigterm_lets_a_request_under_way_finish() {
    let (asked, go_on) = (Gate::default(), Gate::default());
    let origin = {
        let (asked, go_on) = (asked.clone(), go_on.clone());
        Origin::start(move |peer| {
            peer.request()?;
            asked.open();
            go_on.wait();
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlast")
        })
    };
    let proxy = Proxy::before(&origin);
    let (mut client, mut idle) = (proxy.client(), proxy.client());
    client.send(GET);
    asked.wait();
    proxy.signal(Signal::TERM);
    idle.expect_closed();
    go_on.open();
    let answer = client.response();
    assert_eq!(answer.text(), "last");
    client.expect_closed();
    let finished = proxy.finish();
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
}

#[test]
fn h10_draining_has_an_end() {
    let asked = Gate::default();
    let seen = asked.clone();
    let origin = Origin::start(move |peer| {
        peer.request()?;
        seen.open();
        peer.hold()
    });
    let proxy = Proxy::with(&origin, &["--drain-timeout", "200ms"]);
    let mut client = proxy.client();
    client.send(GET);
    asked.wait();
    proxy.signal(Signal::TERM);
    client.until_gone();
    proxy.finish();
}

#[test]
fn h11_a_second_sigterm_means_now() {
    let asked = Gate::default();
    let seen = asked.clone();
    let origin = Origin::start(move |peer| {
        peer.request()?;
        seen.open();
        peer.hold()
    });
    let proxy = Proxy::with(&origin, &["--drain-timeout", "1h"]);
    let (mut client, mut idle) = (proxy.client(), proxy.client());
    client.send(GET);
    asked.wait();
    proxy.signal(Signal::TERM);
    idle.expect_closed();
    proxy.signal(Signal::INT);
    client.until_gone();
    proxy.finish();
}

#[test]
fn h12_while_draining_it_is_not_ready() {
    let asked = Gate::default();
    let seen = asked.clone();
    let origin = Origin::start(move |peer| {
        peer.request()?;
        seen.open();
        peer.hold()
    });
    let proxy = Proxy::before(&origin);
    let mut client = proxy.client();
    client.send(GET);
    asked.wait();
    proxy.signal(Signal::TERM);
    eventually("not ready", || proxy.ask("/ready").status == 503);
    drop(client);
    assert_eq!(proxy.finish().code, Some(0));
}

#[test]
fn h13_a_port_in_use_is_told_with_the_setting_that_asked_for_it() {
    let origin = Origin::named("a");
    let proxy = Proxy::before(&origin);
    let url = origin.url();
    let usual = ["--upstream", &url, "--workers", "1", "--access-log", "off"];
    let front = run(&[&usual[..], &["--listen", &proxy.address, "--admin", "off"]].concat(), &[]);
    assert_eq!(front.code, Some(1), "{}", front.stderr);
    assert!(
        front.stderr.contains(&proxy.address) && front.stderr.contains("--listen"),
        "{}",
        front.stderr
    );
    let flags = ["--listen", "127.0.0.1:0", "--admin", &proxy.admin];
    let admin = run(&[&usual[..], &flags].concat(), &[]);
    assert_eq!(admin.code, Some(1), "{}", admin.stderr);
    assert!(
        admin.stderr.contains(&proxy.admin) && admin.stderr.contains("--admin"),
        "{}",
        admin.stderr
    );
    assert_eq!(proxy.client().get("/").status, 200, "the first one goes on");
}

#[test]
fn h14_mistakes_are_all_told_at_once_with_what_would_be_right() {
    let bad = run(&["--lisen", ":8080"], &[]);
    assert_eq!(bad.code, Some(2));
    assert!(bad.stderr.contains("--listen"), "{}", bad.stderr);
    let bad = run(&["--upstream", "http://a:1", "--read-timeout", "5", "--max-head=1MiB"], &[]);
    assert_eq!(bad.code, Some(2), "{}", bad.stderr);
    for part in ["--read-timeout", "5s", "--max-head", "64KiB"] {
        assert!(bad.stderr.contains(part), "no {part} in {}", bad.stderr);
    }
    let none = run(&[], &[]);
    assert_ne!(none.code, Some(0));
    assert!(none.stderr.contains("--upstream"), "{}", none.stderr);
}

#[test]
fn h15_settings_can_be_checked_without_running() {
    let good = run(&["--check", "--upstream", "http://127.0.0.1:9001"], &[]);
    assert_eq!(good.code, Some(0), "{}{}", good.stdout, good.stderr);
    let good = run(&["-t"], &[("TIDEGATE_UPSTREAM", "http://127.0.0.1:9001")]);
    assert_eq!(good.code, Some(0), "{}{}", good.stdout, good.stderr);
    let bad = run(&["-t"], &[("TIDEGATE_UPSTREAM", "http://")]);
    assert_eq!(bad.code, Some(1));
    assert!(bad.stderr.contains("TIDEGATE_UPSTREAM"), "{}", bad.stderr);
}

#[test]
fn h16_help_and_version_are_there() {
    for flag in ["-h", "--help"] {
        let help = run(&[flag], &[]);
        assert_eq!(help.code, Some(0));
        assert!(help.stdout.contains("--upstream") && help.stdout.contains("TIDEGATE_"));
    }
    for flag in ["-V", "--version"] {
        let version = run(&[flag], &[]);
        assert_eq!(version.code, Some(0));
        assert!(version.stdout.contains(env!("CARGO_PKG_VERSION")), "{}", version.stdout);
    }
}

#[test]
fn h17_the_environment_and_a_dotenv_file_name_upstreams() {
    let (origin, scratch) = (Origin::named("a"), Scratch::new());
    let path = scratch.join("settings.env");
    fs::write(&path, format!("HTTP_SERVER_URL_A={}\n", origin.url())).unwrap();
    let proxy = Proxy::start(&["--env-file", &path]);
    assert_eq!(proxy.client().get("/").text(), "a");
}

#[test]
fn h27_a_configuration_file_names_upstreams_or_says_what_is_wrong() {
    let (origin, scratch) = (Origin::named("a"), Scratch::new());
    let path = scratch.join("tidegate.toml");
    let text = format!("upstream = ['{}']\nbackend-header = true\n", origin.url());
    fs::write(&path, text).unwrap();
    let proxy = Proxy::start(&["--config", &path]);
    let answer = proxy.client().get("/");
    assert_eq!(answer.text(), "a");
    assert_eq!(answer.get("X-Backend-Server"), Some(origin.url().as_str()));
    fs::write(&path, "upstream = 'http://a:1'\nred-timeout = '5s'\n").unwrap();
    let refused = run(&["check", "--config", &path], &[]);
    assert_eq!(refused.code, Some(1));
    assert!(refused.stderr.contains("did you mean read-timeout?"), "{}", refused.stderr);
}

#[test]
fn h28_the_file_may_be_yaml_or_json_and_mistakes_have_their_place_there_too() {
    let (origin, scratch) = (Origin::named("a"), Scratch::new());
    let url = origin.url();
    for (name, right, wrong, place) in [
        (
            "t.yaml",
            format!("upstream:\n  - {url}\nbackend-header: on\nlog: {{level: info}}\n"),
            format!("upstream: {url}\nred-timeout: 5s\nlog:\n  level: loud\n"),
            ["t.yaml:2:1: no setting has this name", "t.yaml:4:10: log.level:"],
        ),
        (
            "t.json",
            format!("{{\"upstream\": [\"{url}\"], \"backend-header\": true}}\n"),
            format!("{{\"upstream\": \"{url}\",\n\"red-timeout\": \"5s\",\n\"log\": \"loud\"}}\n"),
            ["t.json:2:1: no setting has this name", "t.json:3:9: log:"],
        ),
    ] {
        let path = scratch.join(name);
        fs::write(&path, right).unwrap();
        let proxy = Proxy::start(&["--config", &path]);
        let answer = proxy.client().get("/");
        assert_eq!((answer.text().as_str(), answer.get("X-Backend-Server")), ("a", Some(&*url)));
        fs::write(&path, wrong).unwrap();
        let refused = run(&["check", "--config", &path], &[]);
        assert_eq!(refused.code, Some(1));
        for place in place {
            assert!(refused.stderr.contains(place), "no {place} in {}", refused.stderr);
        }
    }
    for (name, text, told) in [
        ("a.json", "{'upstream': 1}", "write \"name\": value"),
        ("a.yaml", "upstream: [", "see yaml.org"),
        ("b.yaml", "just a text", "not a table of settings"),
        ("b.json", "[]", "not a table of settings"),
    ] {
        let path = scratch.join(name);
        fs::write(&path, text).unwrap();
        let refused = run(&["check", "--config", &path], &[]);
        assert!(refused.stderr.contains(told), "{name}: {}", refused.stderr);
        assert!(refused.stderr.contains("tidegate: 1 mistake,"), "{name}: {}", refused.stderr);
    }
}

#[test]
fn h18_the_demo_shows_two_origins_taking_turns() {
    let proxy = Proxy::start(&["--demo"]);
    let mut client = proxy.client();
    let answers: HashSet<_> = (0..4).map(|_| client.get("/").text()).collect();
    assert_eq!(answers.len(), 2, "{answers:?}");
    assert_eq!(proxy.stop().code, Some(0));
}

#[test]
fn h19_the_admin_api_believes_no_foreign_host() {
    let origin = Origin::named("a");
    let proxy = Proxy::before(&origin);
    let mut admin = Client::to(&proxy.admin);
    admin.send("GET /status HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n");
    let status = admin.response().status;
    assert!(matches!(status, 403 | 421), "{status}");
    let mut admin = Client::to(&proxy.admin);
    admin.send("POST /status HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n");
    let answer = admin.response();
    assert_eq!(answer.status, 405);
    assert!(answer.head.lists("Allow", "GET"));
}

#[test]
fn h20_a_full_access_log_pipe_does_not_slow_the_data_path() {
    let origin = Origin::named("a");
    let scratch = Scratch::new();
    let pipe = scratch.join("pipe");
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR)
        .unwrap();
    let reader = fs::OpenOptions::new().read(true).write(true).open(&pipe).unwrap();
    let proxy = Proxy::with(&origin, &["--access-log", "json", "--access-log-file", &pipe]);
    let mut client = proxy.client();
    for _ in 0..2000 {
        assert_eq!(client.get("/").status, 200);
    }
    drop(reader);
    client.wire().patience(Duration::from_secs(1)).unwrap();
    assert_eq!(client.get("/").status, 200);
}

#[test]
fn h21_a_request_answered_while_draining_is_the_last_of_its_connection() {
    let (asked, go_on) = (Gate::default(), Gate::default());
    let origin = {
        let (asked, go_on) = (asked.clone(), go_on.clone());
        Origin::start(move |peer| {
            peer.request()?;
            asked.open();
            go_on.wait();
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlast")
        })
    };
    let proxy = Proxy::before(&origin);
    let (mut client, mut idle) = (proxy.client(), proxy.client());
    client.send(GET);
    asked.wait();
    proxy.signal(Signal::TERM);
    idle.expect_closed();
    go_on.open();
    assert!(client.response().head.lists("Connection", "close"));
}

#[test]
fn h22_the_access_log_file_can_be_rotated() {
    let (origin, scratch) = (Origin::named("a"), Scratch::new());
    let (path, old) = (scratch.join("access.log"), scratch.join("access.log.1"));
    let proxy = Proxy::with(&origin, &["--access-log", "json", "--access-log-file", &path]);
    let lines = |path: &str| fs::read_to_string(path).map_or(0, |text| text.lines().count());
    proxy.client().get("/1");
    eventually("a line", || lines(&path) == 1);
    fs::rename(&path, &old).unwrap();
    proxy.signal(Signal::USR1);
    eventually("a new file", || fs::exists(&path).unwrap());
    proxy.client().get("/2");
    eventually("a line in it", || lines(&path) == 1);
    assert_eq!(lines(&old), 1);
}

#[test]
fn h23_the_settings_in_force_are_told() {
    let origin = Origin::named("a");
    let proxy = Proxy::with(&origin, &["--read-timeout", "7s"]);
    let config = proxy.ask("/config");
    assert_eq!(config.status, 200);
    let text = config.text();
    assert!(text.contains(origin.address()) && text.contains('7'), "{text}");
    serde_json::from_slice::<Value>(&config.body).expect("JSON");
}

#[test]
fn h24_the_admin_connection_can_be_kept() {
    let origin = Origin::named("a");
    let proxy = Proxy::before(&origin);
    let mut admin = Client::to(&proxy.admin);
    for _ in 0..3 {
        admin.send(format!("GET /health HTTP/1.1\r\nHost: {}\r\n\r\n", proxy.admin));
        assert_eq!(admin.response().status, 200);
        admin.send(format!("HEAD /health HTTP/1.1\r\nHost: {}\r\n\r\n", proxy.admin));
        assert_eq!(admin.response_to_head().status, 200);
    }
}

#[test]
fn h25_warnings_can_be_made_errors() {
    let odd = ["-t", "--upstream", "http://127.0.0.1:1", "--access-log", "off"];
    let odd = [&odd[..], &["--access-log-file", "x.log"]].concat();
    let warned = run(&odd, &[]);
    assert_eq!(warned.code, Some(0), "{}", warned.stderr);
    let refused = run(&[&odd[..], &["--strict"]].concat(), &[]);
    assert_ne!(refused.code, Some(0), "{}{}", refused.stdout, refused.stderr);
    assert!(refused.stderr.contains("--access-log-file"), "{}", refused.stderr);
}

#[test]
fn h26_a_hang_up_signal_does_not_end_it() {
    let origin = Origin::named("a");
    let proxy = Proxy::before(&origin);
    let mut client = proxy.client();
    assert_eq!(client.get("/").text(), "a");
    proxy.signal(Signal::HUP);
    proxy.signal(Signal::USR1);
    for _ in 0..20 {
        assert_eq!(client.get("/").text(), "a");
        assert_eq!(proxy.ask("/health").status, 200);
    }
    assert_eq!(proxy.stop().code, Some(0));
}
