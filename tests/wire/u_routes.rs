//! Many routes and pools: which request goes where, what is changed on the way, and what is refused.

use std::fs;

use serde_json::json;

use crate::harness::{Configured, Origin, Response, Scratch, page, run};

/// An origin that answers with the head it was asked with.
fn mirror() -> Origin {
    Origin::serving(|request| {
        let fields = request.head.fields.iter().map(|(name, value)| format!("{name}: {value}\n"));
        let text = format!("{} {}\n{}", request.method, request.target, fields.collect::<String>());
        let head = format!(
            "HTTP/1.1 200 OK\r\nServer: origin\r\nX-Kept: 1\r\nContent-Length: {}\r\n\r\n",
            text.len()
        );
        (head + &text).into_bytes()
    })
}

/// What comes of a request with this line, for this host.
#[track_caller]
fn ask(case: &Configured, line: &str, host: &str, fields: &str) -> Response {
    let mut client = case.proxy.client();
    client.send(format!("{line} HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n"));
    client.response()
}

#[track_caller]
fn reason(answer: &Response) -> String {
    let text = answer.text();
    let line = text.lines().find_map(|line| line.strip_prefix("reason: "));
    line.unwrap_or_else(|| panic!("no reason in {text}")).to_owned()
}

#[test]
fn u01_the_first_route_that_means_a_request_takes_it() {
    let (shop, api) = (Origin::named("shop"), Origin::named("api"));
    let case = Configured::new(
        &format!(
            "[pool.shop]\nupstream = '{}'\n[pool.api]\nupstream = '{}'\n\
             [[route]]\nhost = 'api.example'\npath = '/v1/*'\nmethod = ['GET', 'POST']\npool = 'api'\n\
             [[route]]\nhost = ['shop.example', '*.shop.example']\npool = 'shop'\n",
            shop.url(),
            api.url()
        ),
        &[],
    );
    for (line, host, expected) in [
        ("GET /v1", "api.example", Ok("api")),
        ("POST /v1/a?b", "API.example.:80", Ok("api")),
        ("GET http://api.example/v1/", "shop.example", Ok("api")),
        ("GET /%761/a", "api.example", Ok("api")),
        ("GET /v1", "a.b.shop.example", Ok("shop")),
        ("PUT /v12", "shop.example", Ok("shop")),
        ("PUT /v1", "api.example", Err((405, "method_not_allowed"))),
        ("GET /v12", "api.example", Err((404, "no_route"))),
        ("GET /V1", "api.example", Err((404, "no_route"))),
        ("GET /v1/../v2", "api.example", Err((400, "ambiguous_path"))),
        ("GET /v1%2fa", "shop.example", Err((400, "ambiguous_path"))),
        ("GET /", "other.example", Err((404, "no_route"))),
    ] {
        let answer = ask(&case, line, host, "");
        match expected {
            Ok(name) => assert_eq!((answer.status, answer.text().as_str()), (200, name), "{line}"),
            Err((status, why)) => {
                assert_eq!((answer.status, reason(&answer).as_str()), (status, why), "{line}");
            }
        }
    }
    let refused = ask(&case, "PUT /v1", "api.example", "");
    assert_eq!(refused.get("Allow"), Some("GET, POST"));
    let reasons = &case.proxy.metrics()["reasons"];
    assert_eq!((&reasons["no_route"], &reasons["ambiguous_path"]), (&json!(3), &json!(2)));
}

#[test]
fn u02_without_a_condition_on_paths_they_pass_as_they_came() {
    let origin = mirror();
    let text = format!("upstream = '{}'\n[[route]]\nhost = 'a'\n", origin.url());
    let case = Configured::new(&text, &[]);
    for target in ["/a/../b//c", "/a%2Fb;c", "/%zz\\", "/a?b=/../"] {
        let answer = ask(&case, &format!("GET {target}"), "a", "");
        assert!(answer.text().starts_with(&format!("GET {target}\n")), "{}", answer.text());
    }
}

#[test]
fn u03_a_path_loses_a_prefix_and_gets_others() {
    let origin = mirror();
    let case = Configured::new(
        &format!(
            "[pool.p]\nupstream = '{url}/base/'\n[pool.q]\nupstream = '{url}'\n\
             [[route]]\npath = '/v1/*'\nstrip-prefix = '/v1'\npool = 'p'\n\
             [[route]]\npath = '/a/b/*'\nstrip-prefix = '/a/b'\nadd-prefix = '/c'\npool = 'q'\n\
             [[route]]\npool = 'p'\n",
            url = origin.url()
        ),
        &[],
    );
    for (target, left) in [
        ("/v1", "/base/"),
        ("/v1?x", "/base/?x"),
        ("/v1/", "/base/"),
        ("/v1/y/z?x=/v1", "/base/y/z?x=/v1"),
        ("/%76%31/y", "/base/y"),
        ("/v1;a/y;b", "/base/y;b"),
        ("/a/b/d", "/c/d"),
        ("/a/b", "/c/"),
        ("/v12", "/base/v12"),
        ("/", "/base/"),
    ] {
        let answer = ask(&case, &format!("GET {target}"), "h", "");
        assert!(answer.text().starts_with(&format!("GET {left}\n")), "{target}: {}", answer.text());
    }
    let answer = ask(&case, "GET /../etc", "h", "");
    assert_eq!(reason(&answer), "ambiguous_path", "a base is nothing to climb out of");
    assert_eq!(ask(&case, "OPTIONS *", "h", "").text().lines().next(), Some("OPTIONS *"));
}

#[test]
fn u04_fields_are_set_added_and_removed_both_ways() {
    let origin = mirror();
    let scratch = Scratch::new();
    let file = scratch.join("t.toml");
    let text = format!(
        "upstream = '{}'\nresponse-header = {{ set = {{ X-Top = 'top' }} }}\n\
         [[route]]\n\
         request-header = {{ set = {{ Authorization = 'Bearer {{env.TG_SECRET}}', \
         X-Seen = '{{method}} {{host}} {{uri}} {{client}} {{route}}' }}, \
         add = {{ X-More = ['1', '2'] }}, remove = ['Cookie', 'X-User'] }}\n\
         response-header = {{ set = {{ Strict-Transport-Security = 'max-age=1', X-Up = '{{upstream}}' }}, \
         remove = 'Server' }}\n",
        origin.url()
    );
    fs::write(&file, text).unwrap();
    let proxy = crate::harness::Proxy::start_as(
        &["--config", &file, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--workers", "1"],
        |command| {
            command.env("TG_SECRET", "s3cret");
        },
    );
    let case = Configured { proxy, path: file, folder: scratch };
    let fields =
        "Authorization: mine\r\nCookie: a\r\nx_user: evil\r\nX-User: evil\r\nX-More: 0\r\n";
    let answer = ask(&case, "GET /a?b=%0d%0aX", "Host:80", fields);
    let text = answer.text();
    for line in [
        "Authorization: Bearer s3cret",
        "X-Seen: GET host /a?b=%0d%0aX 127.0.0.1 route-1",
        "X-More: 0",
        "X-More: 1",
        "X-More: 2",
    ] {
        assert!(text.lines().any(|own| own == line), "{line} in {text}");
    }
    let lower = text.to_ascii_lowercase();
    assert!(!lower.contains("cookie") && !lower.contains("user: evil") && !lower.contains("mine"));
    assert_eq!(answer.get("Server"), None);
    assert_eq!(answer.get("X-Kept"), Some("1"));
    assert_eq!(answer.get("X-Top"), Some("top"));
    assert_eq!(answer.get("X-Up"), Some(origin.url().as_str()));
    assert_eq!(answer.get("Strict-Transport-Security"), Some("max-age=1"));
    let config = case.proxy.ask("/config").text();
    assert!(config.contains("{env.TG_SECRET}") && !config.contains("s3cret"), "{config}");
}

#[test]
fn u05_a_route_may_answer_itself() {
    let origin = mirror();
    let case = Configured::new(
        &format!(
            "upstream = '{}'\n\
             [[route]]\nname = 'away'\nhost = 'old.example'\nredirect = 'https://new.example{{uri}}'\n\
             response-header = {{ set = {{ X-A = 'b' }} }}\n\
             [[route]]\npath = '/tea'\nrespond = {{ status = 418, body = 'short and stout, {{client}}', \
             content-type = 'text/x-tea' }}\n\
             [[route]]\npath = '/page/*'\nrespond = {{ body = '<p>{{path}}</p>', content-type = 'text/html' }}\n\
             [[route]]\npath = '/plain'\nrespond = 'pong'\n",
            origin.url()
        ),
        &[],
    );
    let away = ask(&case, "GET /a?b", "old.example", "");
    assert_eq!((away.status, away.get("Location")), (308, Some("https://new.example/a?b")));
    assert_eq!(away.get("X-A"), Some("b"));
    let tea = ask(&case, "GET /tea", "x", "");
    assert_eq!((tea.status, tea.text().as_str()), (418, "short and stout, 127.0.0.1"));
    assert_eq!(tea.get("Content-Type"), Some("text/x-tea"));
    assert_eq!(ask(&case, "GET /page/<b>\"", "x", "").text(), "<p>/page/&lt;b&gt;&quot;</p>");
    assert_eq!(ask(&case, "GET /plain", "x", "").text(), "pong");
    let mut client = case.proxy.client();
    client.send("POST /plain HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc");
    assert_eq!(client.response().text(), "pong");
    assert!(origin.requests().is_empty());
    assert_eq!(case.proxy.metrics()["reasons"]["redirected"], 1);
}

#[test]
fn u06_several_pools_share_a_route_and_upstreams_a_pool_by_weight() {
    let (a, b, c) = (Origin::named("a"), Origin::named("b"), Origin::named("c"));
    let case = Configured::new(
        &format!(
            "[pool.main]\nupstream = ['{}', {{ url = '{}', weight = 3 }}]\n[pool.canary]\nupstream = '{}'\n\
             [[route]]\npool = {{ main = 4, canary = 1 }}\n",
            a.url(),
            b.url(),
            c.url()
        ),
        &["--workers", "2"],
    );
    let mut counts = [0; 3];
    let mut client = case.proxy.client();
    for _ in 0..100 {
        let name = client.get("/").text();
        counts[usize::from(name.as_bytes()[0] - b'a')] += 1;
    }
    assert_eq!(counts, [20, 60, 20]);
    let status = page(&case.proxy.ask("/status"));
    let told: Vec<_> = status["upstreams"].as_array().unwrap().iter().collect();
    let pools: Vec<_> = told.iter().map(|one| (&one["pool"], &one["weight"])).collect();
    let expected = [("main", 1), ("main", 3), ("canary", 1)].map(|(p, w)| (json!(p), json!(w)));
    assert!(pools.iter().zip(&expected).all(|(one, other)| *one == (&other.0, &other.1)));
}

#[test]
fn u07_a_pool_says_otherwise_than_the_top_and_a_route_has_the_last_word() {
    let origin = mirror();
    let url = origin.url();
    let case = Configured::new(
        &format!(
            "max-body = '10B'\nbackend-header = true\n\
             [pool.p]\nupstream = '{url}'\nmax-body = '20B'\n\
             [pool.q]\nupstream = '{url}'\nbackend-header = false\n\
             [[route]]\npath = '/p'\npool = 'p'\n\
             [[route]]\npath = '/r'\npool = 'p'\nmax-body = 'off'\n\
             [[route]]\npath = '/q'\npool = 'q'\n"
        ),
        &[],
    );
    for (path, octets, status) in
        [("/p", 20, 200), ("/p", 21, 413), ("/r", 21, 200), ("/q", 10, 200), ("/q", 11, 413)]
    {
        let mut client = case.proxy.client();
        let body = "x".repeat(octets);
        client.send(format!(
            "POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {octets}\r\n\r\n{body}"
        ));
        let answer = client.response();
        assert_eq!(answer.status, status, "{path} {octets}");
        if status == 200 {
            assert_eq!(answer.get("X-Backend-Server").is_some(), path != "/q", "{path}");
        }
    }
}

#[test]
fn u08_routes_differ_by_listener_header_query_and_client() {
    let origin = mirror();
    let case = Configured::new(
        &format!(
            "trusted-proxy = '127.0.0.1'\nupstream = '{}'\n\
             [[route]]\nlisten = '127.0.0.2:0'\nrespond = 'listener'\n\
             [[route]]\nheader = {{ X-Env = ['test', 'dev'] }}\nrespond = 'header'\n\
             [[route]]\nquery = {{ v = '2' }}\nrespond = 'query'\n\
             [[route]]\nclient = ['192.0.2.0/24', '2001:db8::/32']\nrespond = 'client'\n\
             [[route]]\nrespond = 'rest'\n",
            origin.url()
        ),
        &["--listen", "127.0.0.1:0,127.0.0.2:0", "--workers", "1"],
    );
    for (line, fields, expected) in [
        ("GET /", "", "rest"),
        ("GET /", "x-env: dev\r\n", "header"),
        ("GET /", "X-Env: prod\r\n", "rest"),
        ("GET /?a&v=2", "", "query"),
        ("GET /?v=3", "", "rest"),
        ("GET /", "X-Forwarded-For: 192.0.2.7\r\n", "client"),
        ("GET /", "X-Forwarded-For: 192.0.2.7, 198.51.100.1\r\n", "rest"),
        ("GET /", "X-Forwarded-For: 198.51.100.1, 2001:db8::1\r\n", "client"),
    ] {
        assert_eq!(ask(&case, line, "a", fields).text(), expected, "{line} {fields}");
    }
    let status = page(&case.proxy.ask("/status"));
    let second = status["listeners"][1].as_str().unwrap();
    assert_eq!(crate::harness::Client::to(second).get("/").text(), "listener");
}

#[test]
fn u09_a_reload_changes_routes_and_pools_and_keeps_what_stays() {
    let (a, b) = (Origin::named("a"), Origin::named("b"));
    let text = |routes: &str| {
        let pools =
            format!("[pool.a]\nupstream = '{}'\n[pool.b]\nupstream = '{}'\n", a.url(), b.url());
        pools + routes
    };
    let case = Configured::new(&text("[[route]]\nname = 'all'\npool = 'a'\n"), &[]);
    let mut client = case.proxy.client();
    assert_eq!(client.get("/x").text(), "a");
    let answer = case.reload(&text(
        "[[route]]\nname = 'x'\npath = '/x'\npool = 'b'\n[[route]]\nname = 'all'\npool = 'a'\n",
    ));
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(page(&answer)["changed"], json!(["route: +x"]));
    assert_eq!([client.get("/x").text(), client.get("/").text()], ["b", "a"]);
    assert_eq!(a.connections(), 1, "the connection to what stayed is used again");
    let answer = case.reload(&text("[[route]]\nname = 'all'\npool = 'b'\n"));
    assert_eq!(page(&answer)["changed"], json!(["route: ~all -x"]));
    assert_eq!([client.get("/x").text(), client.get("/").text()], ["b", "b"]);
}

#[test]
fn u10_upstreams_change_in_the_pool_that_is_named() {
    let (a, b, c) = (Origin::named("a"), Origin::named("b"), Origin::named("c"));
    let case = Configured::new(
        &format!(
            "[pool.p]\nupstream = '{}'\n[pool.q]\nupstream = '{}'\n\
             [[route]]\npath = '/p'\npool = 'p'\n[[route]]\npath = '/q'\npool = 'q'\n",
            a.url(),
            b.url()
        ),
        &[],
    );
    let admin = &case.proxy.admin;
    let tell = |words: &[&str]| run(&[words, &["--admin", admin]].concat(), &[]);
    let nameless = tell(&["add", &c.url()]);
    assert_eq!(nameless.code, Some(1));
    assert!(
        nameless.stderr.contains("there are several pools, so name one: p, q"),
        "{}",
        nameless.stderr
    );
    let unknown = tell(&["add", &c.url(), "--pool", "x"]);
    assert!(unknown.stderr.contains("there is no pool x; there are: p, q"), "{}", unknown.stderr);
    assert_eq!(tell(&["add", &c.url(), "--pool", "q", "--weight", "3"]).code, Some(0));
    let served = |path: &str| {
        let mut client = case.proxy.client();
        let mut all: Vec<String> = (0..8).map(|_| client.get(path).text()).collect();
        all.sort();
        all.concat()
    };
    assert_eq!((served("/p").as_str(), served("/q").as_str()), ("aaaaaaaa", "bbcccccc"));
    assert_eq!(tell(&["weight", &c.url(), "--pool", "q", "--weight", "1"]).code, Some(0));
    assert_eq!(served("/q"), "bbbbcccc");
    assert_eq!(tell(&["remove", &b.url(), "--pool", "q"]).code, Some(0));
    assert_eq!(served("/q"), "cccccccc");
    let last = tell(&["remove", &c.url(), "--pool", "q"]);
    assert!(last.stderr.contains("is the last upstream of the pool q"), "{}", last.stderr);
}

#[test]
fn u11_refusals_are_text_json_or_html_as_accept_asks_or_a_page_of_ones_own() {
    let origin = Origin::answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let scratch = Scratch::new();
    fs::write(scratch.join("sorry.html"), "<h1>sorry</h1>").unwrap();
    let case = Configured::new(
        &format!(
            "upstream = '{}'\n[[route]]\npath = '/a'\n[[route]]\npath = '/b'\nmax-body = '1B'\n\
             error-page = {{ '413' = '{}' }}\n",
            origin.url(),
            scratch.join("sorry.html"),
        ),
        &[],
    );
    for (accept, kind, part) in [
        ("*/*", "text/plain; charset=utf-8", "reason: no_route"),
        ("text/html,application/xhtml+xml,*/*;q=0.8", "text/html; charset=utf-8", "<code>no_route"),
        ("application/json", "application/json", "\"reason\":\"no_route\""),
        ("application/json;q=0.5, text/plain", "text/plain; charset=utf-8", "reason: no_route"),
        ("image/png", "text/plain; charset=utf-8", "reason: no_route"),
    ] {
        let answer = ask(&case, "GET /x", "a", &format!("Accept: {accept}\r\n"));
        assert_eq!((answer.status, answer.get("Content-Type")), (404, Some(kind)), "{accept}");
        assert!(answer.text().contains(part), "{}", answer.text());
    }
    let answer = ask(&case, "POST /b", "a", "Content-Length: 2\r\n");
    assert_eq!((answer.status, answer.text().as_str()), (413, "<h1>sorry</h1>"));
    assert_eq!(answer.get("Content-Type"), Some("text/html; charset=utf-8"));
    assert!(answer.get("Proxy-Status").is_some());
}

#[test]
fn u12_other_files_add_pools_and_routes() {
    let (a, b) = (Origin::named("a"), Origin::named("b"));
    let scratch = Scratch::new();
    fs::create_dir(scratch.join("sites")).unwrap();
    let site =
        |name: &str, text: String| fs::write(scratch.join(&format!("sites/{name}")), text).unwrap();
    site(
        "1.toml",
        format!("[pool.one]\nupstream = '{}'\n[[route]]\nhost = 'one'\npool = 'one'\n", a.url()),
    );
    site(
        "2.yaml",
        format!("pool:\n  two:\n    upstream: {}\nroute:\n  - host: two\n    pool: two\n", b.url()),
    );
    site("3.txt", "nothing".into());
    let main = scratch.join("main.toml");
    fs::write(&main, "include = ['sites/*.toml', 'sites/*.yaml']\n").unwrap();
    let proxy = crate::harness::Proxy::start(&["--config", &main]);
    let case = Configured { proxy, path: main, folder: scratch };
    assert_eq!(ask(&case, "GET /", "one", "").text(), "a");
    assert_eq!(ask(&case, "GET /", "two", "").text(), "b");
    let path = case.folder.join("sites/3.toml");
    fs::write(path, "[[route]]\nhost = 'three'\nrespond = 'three'\n").unwrap();
    assert_eq!(case.proxy.post("/reload", "{}").status, 200);
    assert_eq!(ask(&case, "GET /", "three", "").text(), "three");
    for (text, told) in [
        ("read-timeout = '1s'\n", "put it into the first file"),
        ("[pool.one]\nupstream = 'http://x:1'\n", "there is a pool one already"),
        ("include = '3.toml'\n", "is read already"),
    ] {
        fs::write(case.folder.join("sites/3.toml"), text).unwrap();
        let refused = case.proxy.post("/reload", "{}");
        assert_eq!(refused.status, 400);
        let error = page(&refused)["error"]["text"].as_str().unwrap().to_owned();
        assert!(error.contains(told) && error.contains("sites/3.toml"), "{error}");
    }
}

#[test]
fn u13_names_of_paths_and_methods_work_as_flags_as_well() {
    let origin = mirror();
    let flags = [
        "--upstream",
        &origin.url(),
        "--paths",
        "/crypto/sign,/crypto/verify",
        "--method",
        "POST",
        "--request-header",
        "X-A: {client}",
        "--response-header",
        "X-B: c",
    ];
    let proxy = crate::harness::Proxy::start(&flags);
    let mut client = proxy.client();
    client.send("POST /crypto/sign HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
    let answer = client.response();
    assert!(answer.text().contains("X-A: 127.0.0.1\n") && answer.get("X-B") == Some("c"));
    assert_eq!(client.get("/crypto/sign").status, 405);
    assert_eq!(client.get("/other").status, 404);
    let refused = client.get("/other");
    assert_eq!(refused.get("X-B"), Some("c"));
}

#[test]
fn u14_listeners_come_and_go_at_a_reload() {
    let (origin, asked, go_on) = Origin::patient();
    let scratch = Scratch::new();
    let path = scratch.join("t.toml");
    let text = |listen: &str| format!("listen = {listen}\nupstream = '{}'\n", origin.url());
    let socket = format!("unix:{}", scratch.join("s.sock"));
    fs::write(&path, text("['127.0.0.1:0', '127.0.0.3:0']")).unwrap();
    let proxy = crate::harness::Proxy::start_as(
        &["--config", &path, "--admin", "127.0.0.1:0", "--workers", "2"],
        |_| {},
    );
    let case = Configured { proxy, path, folder: scratch };
    let listeners = || page(&case.proxy.ask("/status"))["listeners"].clone();
    let first = listeners();
    let second = first[1].as_str().unwrap().to_owned();
    let mut kept = crate::harness::Client::to(&second);
    kept.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    asked.wait();
    let answer = case.reload(&text(&format!("['127.0.0.1:0', '{socket}']")));
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(listeners(), json!([first[0], socket]));
    go_on.open();
    assert_eq!(crate::harness::Client::to(&socket).get("/").text(), "last");
    assert_eq!(kept.response().text(), "last", "a request under way ends as it would have");
    let gone = || std::net::TcpStream::connect(&second).is_err();
    crate::harness::eventually("the address is closed", gone);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let refused = case.reload(&text(&format!("'{address}'")));
    assert_eq!((refused.status, page(&refused)["error"]["code"].as_str()), (400, Some("listen")));
    assert!(refused.text().contains("cannot listen on"), "{}", refused.text());
    assert_eq!(case.proxy.client().get("/").text(), "last", "nothing has changed");
    let answer = case.reload(&text("'127.0.0.1:0'"));
    assert_eq!(answer.status, 200);
    let file = case.folder.join("s.sock");
    crate::harness::eventually("the socket's file is removed", || fs::metadata(&file).is_err());
}

#[test]
fn u15_rules_hold_for_interim_answers_and_trailers_and_never_take_the_answer_away() {
    let origin = Origin::serving(|_| {
        b"HTTP/1.1 103 Early Hints\r\nServer: orig\r\nLink: </a>\r\n\r\n\
          HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-T, X-K\r\n\r\n\
          2\r\nok\r\n0\r\nX-T: 1\r\nX_T: 2\r\nX-K: 3\r\n\r\n"
            .to_vec()
    });
    let case = Configured::new(
        &format!(
            "upstream = '{}'\n\
             response-header = {{ set = {{ X-Long = '{{uri}}{{uri}}{{uri}}' }}, remove = ['Server', 'X-T'] }}\n\
             [[route]]\nhost = 'away'\nredirect = 'https://{{host}}{{uri}}'\n[[route]]\n",
            origin.url()
        ),
        &[],
    );
    let mut client = case.proxy.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let hints = client.head();
    assert_eq!((hints.get("Link"), hints.get("Server")), (Some("</a>"), None));
    let answer = client.response();
    assert_eq!(answer.text(), "ok");
    let trailers: Vec<_> = answer.trailers.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(trailers, ["X-K"]);
    let long = "x".repeat(8_185);
    let mut client = case.proxy.client();
    client.send(format!("GET /{long} HTTP/1.1\r\nHost: away\r\n\r\n"));
    let answer = client.response();
    assert_eq!((answer.status, answer.get("X-Long")), (414, None));
}

#[test]
fn u16_nobody_sees_what_was_read_from_elsewhere() {
    let origin = mirror();
    let scratch = Scratch::new();
    let path = scratch.join("t.toml");
    let text = format!(
        "upstream = '{}'\n\
         [[route]]\npath = '/{{env.TG_S}}path/*'\nredirect = 'https://h/?k={{env.TG_S}}to'\n\
         [[route]]\nheader = {{ X-Key = '{{env.TG_S}}key' }}\nquery = {{ k = '{{env.TG_S}}q' }}\n\
         respond = '{{env.TG_S}}body'\n\
         [[route]]\nrequest-header = {{ set = {{ A = '{{env.TG_S}}a' }} }}\n",
        origin.url()
    );
    fs::write(&path, text).unwrap();
    let flags = ["--config", &path, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"];
    let proxy = crate::harness::Proxy::start_as(&flags, |command| {
        command.env("TG_S", "hidden").args(["--log", "trace", "--access-log", "off"]);
    });
    let mut client = proxy.client();
    client.send("GET /?k=hiddenq HTTP/1.1\r\nHost: a\r\nX-Key: hiddenkey\r\n\r\n");
    assert_eq!(client.response().text(), "hiddenbody");
    for path in ["/config", "/status", "/metrics", "/explain?request=GET%20http://a/"] {
        let shown = proxy.ask(path).text();
        assert!(!shown.contains("hidden"), "{path}: {shown}");
    }
    let env = [("TG_S", "hidden")];
    for words in [&["check"][..], &["config", "show", "--format", "toml"], &["explain", "GET /"]] {
        let told = run(&[words, &["--config", &path]].concat(), &env);
        assert_eq!(told.code, Some(0), "{}", told.stderr);
        assert!(!told.stdout.contains("hidden"), "{words:?}: {}", told.stdout);
    }
    let log = proxy.log();
    assert!(!log.iter().any(|line| line.contains("hidden")), "{log:#?}");
}

#[test]
fn u17_a_host_is_the_same_however_it_is_written() {
    let origin = mirror();
    let case = Configured::new(
        &format!(
            "upstream = '{}'\n[[route]]\nhost = ['[0:0::1]', '*.secret.test']\nrespond = 'here'\n\
             [[route]]\nrespond = 'rest'\n",
            origin.url()
        ),
        &[],
    );
    for (host, expected) in [
        ("[::1]", "here"),
        ("[0:0:0:0:0:0:0:1]:80", "here"),
        ("[::0001]", "here"),
        ("[::2]", "rest"),
        ("A.Secret.TEST.", "here"),
        ("secret.test", "rest"),
        (".secret.test", "rest"),
        ("..secret.test", "rest"),
        ("a.secret.test..", "rest"),
    ] {
        assert_eq!(ask(&case, "GET /", host, "").text(), expected, "{host}");
    }
}

#[test]
fn u18_a_field_that_goes_no_further_chooses_no_route() {
    let origin = mirror();
    let case = Configured::new(
        &format!(
            "upstream = '{}'\n[[route]]\nheader = {{ X-Env = 'test' }}\nrespond = 'test'\n\
             [[route]]\nrespond = 'rest'\n",
            origin.url()
        ),
        &[],
    );
    assert_eq!(ask(&case, "GET /", "a", "X-Env: test\r\n").text(), "test");
    assert_eq!(ask(&case, "GET /", "a", "Connection: x-env\r\nX-Env: test\r\n").text(), "rest");
}

#[test]
fn u19_a_long_target_is_refused_where_texts_would_grow_too_long_and_rules_stay() {
    let origin = mirror();
    let grown = "{uri}".repeat(13_000);
    let case = Configured::new(
        &format!(
            "upstream = '{}'\n\
             response-header = {{ set = {{ X-Fixed = 'yes', X-U = '{{uri}}', \
             X-Q = '{{query}}', X-P = '{{query}}' }} }}\n\
             [[route]]\npath = '/red'\nredirect = 'https://x{{uri}}?{{query}}'\n\
             [[route]]\npath = '/grown'\nrespond = '{grown}'\n\
             response-header = {{ remove = ['X-U', 'X-Q', 'X-P'] }}\n\
             [[route]]\npath = '/pool'\n",
            origin.url()
        ),
        &[],
    );
    let long = "a".repeat(8_100);
    for path in ["/red", "/pool", "/grown"] {
        let answer = ask(&case, &format!("GET {path}?{long}"), "a", "");
        assert_eq!((answer.status, reason(&answer).as_str()), (414, "target_too_long"), "{path}");
        assert_eq!(answer.get("X-Fixed"), Some("yes"), "{path}");
    }
    for (path, status) in [("/none", 404), ("/a//b", 400)] {
        let answer = ask(&case, &format!("GET {path}?{long}"), "a", "");
        assert_eq!((answer.status, answer.get("X-Fixed")), (status, Some("yes")), "{path}");
    }
    let long = "a".repeat(5_000);
    let answer = ask(&case, &format!("GET /pool?{long}"), "a", "");
    assert_eq!((answer.status, answer.get("X-Q")), (200, Some(long.as_str())));
    let answer = ask(&case, &format!("GET /red?{long}"), "a", "");
    let to = format!("https://x/red?{long}?{long}");
    assert_eq!((answer.status, answer.get("Location")), (308, Some(to.as_str())));
    assert_eq!(ask(&case, "GET /grown", "a", "").status, 414);
    let status = page(&case.proxy.ask("/status"));
    assert_eq!(status["upstreams"][0]["failures"], 0, "{status}");
}
