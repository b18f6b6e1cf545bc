//! Commands that print something, and commands to a tidegate that runs.

use std::fs;

use serde_json::{Value, json};

use crate::harness::{Configured, Origin, Proxy, Scratch, page, run};

const ROUTES: &str = "\
[pool.api]
upstream = 'http://10.0.0.1:1/base'

[[route]]
name = 'api'
host = 'api.example'
path = '/v1/*'
method = 'GET'
pool = 'api'
strip-prefix = '/v1'
";

#[test]
fn v01_explain_says_offline_and_at_the_admin_which_route_a_request_takes() {
    let scratch = Scratch::new();
    let path = scratch.join("t.toml");
    fs::write(&path, ROUTES).unwrap();
    let told = run(&["explain", "GET http://api.example/v1/a?b", "--config", &path], &[]);
    assert_eq!(told.code, Some(0), "{}", told.stderr);
    for part in
        ["route api: taken", "what leaves to http://10.0.0.1:1/base", "GET /base/a?b HTTP/1.1"]
    {
        assert!(told.stdout.contains(part), "no {part} in {}", told.stdout);
    }
    let told = run(&["explain", "POST http://api.example/v1", "--config", &path], &[]);
    assert!(told.stdout.contains("no  method GET") && told.stdout.contains("answer 405"));
    let case = Configured::new(ROUTES, &[]);
    let asked = "/explain?request=GET%20http://api.example/v1&field=X-A:%20b&client=192.0.2.1";
    let answer = case.proxy.ask(asked);
    assert_eq!(answer.status, 200);
    for part in ["from 192.0.2.1", "X-A: b", "route api: taken"] {
        assert!(answer.text().contains(part), "{}", answer.text());
    }
    assert_eq!(case.proxy.ask("/explain").status, 400);
}

#[test]
fn v02_settings_are_printed_as_a_file_that_asks_for_the_same() {
    let scratch = Scratch::new();
    let path = scratch.join("t.toml");
    fs::write(&path, ROUTES).unwrap();
    for format in ["toml", "json"] {
        let shown = run(&["config", "show", "--format", format, "--config", &path], &[]);
        assert_eq!(shown.code, Some(0), "{}", shown.stderr);
        let again = scratch.join(&format!("again.{format}"));
        fs::write(&again, &shown.stdout).unwrap();
        let twice = run(&["config", "show", "--format", format, "--config", &again], &[]);
        assert_eq!(twice.stdout, shown.stdout);
    }
    let checked = run(&["check", "--json", "--config", &path], &[]);
    let checked: Value = serde_json::from_str(&checked.stdout).unwrap();
    assert_eq!((&checked["ok"], &checked["routes"]), (&json!(true), &json!(["api"])));
    fs::write(&path, "upstream = 'http://a:1'\nred-timeout = 1\n").unwrap();
    let checked = run(&["check", "--json", "--config", &path], &[]);
    assert_eq!(checked.code, Some(1));
    let checked: Value = serde_json::from_str(&checked.stdout).unwrap();
    assert!(checked["mistakes"][0].as_str().unwrap().contains("red-timeout"), "{checked}");
}

#[test]
fn v03_a_route_that_is_never_taken_is_a_warning_and_a_mistake_if_strict() {
    let scratch = Scratch::new();
    let path = scratch.join("t.toml");
    let text = "upstream = 'http://10.0.0.1:1'\n[[route]]\nname = 'all'\n[[route]]\nname = 'late'\npath = '/a'\n";
    fs::write(&path, text).unwrap();
    let checked = run(&["check", "--config", &path], &[]);
    let told = "the route late is never taken: all takes all that it matches";
    assert_eq!(checked.code, Some(0));
    assert!(checked.stdout.contains(told), "{}", checked.stdout);
    let checked = run(&["check", "--strict", "--config", &path], &[]);
    assert_eq!(checked.code, Some(1));
    assert!(
        checked.stderr.contains(told) && checked.stderr.contains("t.toml:4:"),
        "{}",
        checked.stderr
    );
}

#[test]
fn v04_words_for_shells_editors_and_readers_are_printed() {
    for (words, part) in [
        (&["completions", "bash"][..], "complete -F _tidegate tidegate"),
        (&["completions", "zsh"], "#compdef tidegate"),
        (&["completions", "fish"], "complete -c tidegate -l read-timeout"),
        (&["man"], ".TH TIDEGATE 1"),
        (&["config", "schema"], "json-schema.org"),
    ] {
        let told = run(words, &[]);
        assert_eq!(told.code, Some(0), "{}", told.stderr);
        assert!(told.stdout.contains(part), "{}", told.stdout);
    }
    assert_eq!(run(&["completions", "tcsh"], &[]).code, Some(2));
}

#[test]
fn v05_a_running_one_shows_itself() {
    let origin = Origin::named("a");
    let proxy = Proxy::before(&origin);
    proxy.client().get("/");
    let told = run(&["status", "--admin", &proxy.admin], &[]);
    assert_eq!(told.code, Some(0), "{}", told.stderr);
    assert!(
        told.stdout.starts_with("READY for ") && told.stdout.contains(&origin.url()),
        "{}",
        told.stdout
    );
    let told = run(&["health", "--admin", &proxy.admin], &[]);
    assert_eq!((told.code, told.stdout.as_str()), (Some(0), "ready"));
    let nobody = run(&["health", "--admin", "127.0.0.1:1"], &[]);
    assert_eq!(nobody.code, Some(1));
}

#[test]
fn v06_an_upgrade_is_waited_for() {
    let origin = Origin::named("a");
    let case = Configured::new(&format!("upstream = '{}'\n", origin.url()), &["--workers", "1"]);
    fs::write(&case.path, "read-timeout = 1\n").unwrap();
    let admin = case.proxy.admin.clone();
    let refused = run(&["upgrade", "--admin", &admin], &[]);
    assert_eq!(refused.code, Some(1));
    assert!(
        refused.stderr.contains("not upgraded:") && refused.stderr.contains("goes on"),
        "{}",
        refused.stderr
    );
    assert_eq!(case.proxy.client().get("/").text(), "a");
    fs::write(&case.path, format!("upstream = '{}'\nbackend-header = true\n", origin.url()))
        .unwrap();
    let address = case.proxy.address.clone();
    let told = run(&["upgrade", "--admin", &admin], &[]);
    assert_eq!(told.code, Some(0), "{}", told.stderr);
    let pid = told.stdout.strip_prefix("handed over to the new process, ").unwrap();
    let pid = rustix::process::Pid::from_raw(pid.trim().parse().unwrap()).unwrap();
    for _ in 0..5 {
        let mut client = crate::harness::Client::to(&admin);
        client.send(format!("GET /status HTTP/1.1\r\nHost: {admin}\r\n\r\n"));
        let status = page(&client.response());
        assert_eq!(
            status["pid"],
            pid.as_raw_nonzero().get(),
            "whoever comes now finds the new one"
        );
    }
    let new = || crate::harness::Client::to(&address).get("/").get("X-Backend-Server").is_some();
    crate::harness::eventually("the new process answers", new);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
}

#[test]
fn v07_an_upstream_is_deleted_by_its_id() {
    let (a, b) = (Origin::named("a"), Origin::named("b"));
    let case = Configured::new(&format!("upstream = ['{}', '{}']\n", a.url(), b.url()), &[]);
    let id = page(&case.proxy.ask("/status"))["upstreams"][1]["id"].as_str().unwrap().to_owned();
    let delete = |id: &str| {
        let mut client = crate::harness::Client::to(&case.proxy.admin);
        let host = &case.proxy.admin;
        client.send(format!(
            "DELETE /upstreams/{id} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n\r\n"
        ));
        client.response()
    };
    assert_eq!(delete("nothing").status, 404);
    let deleted = delete(&id);
    assert_eq!(deleted.status, 200, "{}", deleted.text());
    assert_eq!(page(&deleted)["upstreams"].as_array().unwrap().len(), 1);
    assert_eq!(delete(&id).status, 404);
    assert_eq!(case.proxy.client().get("/").text(), "a");
}

#[test]
fn v08_clients_see_of_the_admin_what_a_route_says() {
    let origin = Origin::named("a");
    let proxy = Proxy::with(&origin, &["--serve-admin", "/health,/metrics", "--workers", "2"]);
    let mut client = proxy.client();
    assert!(client.get("/health").text().contains("\"UP\""));
    let metrics = client.get("/metrics?format=prometheus");
    assert!(metrics.text().contains("tidegate_requests_total"), "{}", metrics.text());
    assert_eq!(client.get("/status").text(), "a");
    client.send("POST /health HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(client.response().status, 405);
    client.send("HEAD /health HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.response_to_head().status, 200);
    let case = Configured::new(
        &format!(
            "upstream = '{}'\n[[route]]\npath = ['/ready', '/status']\nserve = 'admin'\n",
            origin.url()
        ),
        &[],
    );
    assert_eq!(case.proxy.client().get("/ready").status, 200);
    assert_eq!(case.proxy.client().get("/health").status, 404);
    let refused = run(&["--upstream", "a:1", "--serve-admin", "/config"], &[]);
    assert!(refused.stderr.contains("write /health or /ready"), "{}", refused.stderr);
}

#[test]
fn v09_every_example_starts_and_prints_what_asks_for_the_same() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/examples");
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().into_string().ok())
        .filter(|name| name.ends_with(".toml"))
        .collect();
    names.sort();
    assert!(names.len() >= 6, "{names:?}");
    for name in names {
        let path = format!("{folder}/{name}");
        let env = [("ORIGIN_TOKEN", "x")];
        let checked = run(&["check", "--strict", "--config", &path], &env);
        assert_eq!(checked.code, Some(0), "{name}: {}", checked.stderr);
        if name == "site.toml" {
            continue; // its addresses are part of what it says: `check` has read it
        }
        let flags = ["--config", &path, "--admin", "127.0.0.1:0", "--listen", "127.0.0.1:0"];
        let proxy = Proxy::start_as(&flags, |command| {
            command.envs(env).args(["--access-log", "off"]);
        });
        assert_eq!(proxy.ask("/ready").status, 200, "{name}");
    }
}

#[test]
fn v10_each_key_of_the_contract_works_or_is_refused_by_name() {
    // The file of the contract: what comes with later versions must be told so, and nothing else.
    let text = include_str!("../contract.toml");
    let scratch = Scratch::new();
    for name in ["sites", "pages"] {
        fs::create_dir(scratch.join(name)).unwrap();
    }
    fs::write(scratch.join("pages/sorry.html"), "sorry").unwrap();
    let hash = "$2b$10$abcdefghijklmnopqrstuuvpshDtCXY1.CLTDzdFy4pgA9HwxI9QS";
    fs::write(scratch.join("users.htpasswd"), format!("ann:{hash}\n")).unwrap();
    fs::write(scratch.join("blocked.txt"), "192.0.2.66 # since Monday\n").unwrap();
    let pem = |label: &str| format!("-----BEGIN {label}-----\nAA==\n-----END {label}-----\n");
    for (label, names) in [
        ("CERTIFICATE", "shop.pem api.pem partners.pem internal.pem me.pem"),
        ("PRIVATE KEY", "shop.key api.key me.key"),
        ("X509 CRL", "partners.crl"),
    ] {
        names.split(' ').for_each(|name| fs::write(scratch.join(name), pem(label)).unwrap());
    }
    // The contract shows the beginning of a digest.
    let text = text.replace("sha256:9f86d081884c7d65...", &format!("sha256:{}", "9f".repeat(32)));
    let path = scratch.join("t.toml");
    fs::write(&path, text).unwrap();
    let token = "0123456789abcdef";
    let env =
        [("ORIGIN_TOKEN", "x"), ("TIDEGATE_ADMIN_TOKEN", token), ("AUTH_TOKEN_1", "of-one-client")];
    let told = run(&["check", "--config", &path], &env);
    assert_eq!(told.code, Some(1));
    let mistakes: Vec<&str> =
        told.stderr.lines().filter(|line| line.starts_with("error: ")).collect();
    let other = |line: &&&str| {
        !line.ends_with("this is not there yet")
            && !line.contains("options")
            && !line.contains("this build knows nothing of")
    };
    let others: Vec<_> = mistakes.iter().filter(other).collect();
    assert!(others.is_empty(), "{others:#?}");
    assert!(mistakes.len() >= 8, "{mistakes:#?}");
}
