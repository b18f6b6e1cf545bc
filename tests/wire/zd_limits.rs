//! Limits: how often a client may, exactly, whoever serves it.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::{
    Client, Configured, Origin, Proxy, Response, ask, asked, eventually, logged, mirror, verdict,
};

const TOKENS: [&str; 2] = ["tok-of-ada-0123456789", "tok-of-bob-0123456789"];

/// A file with these tables, one origin, and one route, unless `rest` has others.
fn with(origin: &Origin, rest: &str) -> String {
    format!("upstream = '{}'\n{rest}\n", origin.url())
}

fn limited(origin: &Origin, limit: &str) -> Configured {
    Configured::new(&with(origin, &format!("[limit.default]\n{limit}")), &[])
}

/// The statuses of as many requests as there are field lines.
fn statuses(proxy: &Proxy, fields: &[&str]) -> Vec<u16> {
    let field = |one: &&str| if one.is_empty() { String::new() } else { format!("{one}\r\n") };
    fields.iter().map(|one| ask(proxy, "/", &field(one)).status).collect()
}

/// Statuses of 40 requests that are there at once, of 8 connections; `None`: they took a window or longer.
fn burst(proxy: &Proxy, sources: &[&str]) -> Option<Vec<u16>> {
    let connect = |n: usize| Client::from(sources[n % sources.len()], &proxy.address);
    let mut clients: Vec<Client> = (0..8).map(connect).collect();
    let started = Instant::now();
    let row = "GET / HTTP/1.1\r\nHost: test\r\n\r\n".repeat(5);
    clients.iter_mut().for_each(|client| _ = client.send(&row));
    let mut statuses = Vec::new();
    for client in &mut clients {
        statuses.extend((0..5).map(|_| client.response().status));
    }
    (started.elapsed() < Duration::from_millis(950)).then_some(statuses)
}

/// Of 40 requests at once 20 pass, and 20 more a second later.
#[track_caller]
fn assert_exact(flags: &[&str], sources: &[&str]) {
    // A machine that is busy with other things may take longer than the window.
    for _ in 0..5 {
        let origin = mirror();
        let proxy = Proxy::with(&origin, flags);
        let Some(statuses) = burst(&proxy, sources) else { continue };
        let count = |status: u16| statuses.iter().filter(|one| **one == status).count();
        assert_eq!((count(200), count(429)), (20, 20), "{flags:?}: {statuses:?}");
        assert_eq!(origin.requests().len(), 20, "who is refused reaches nobody");
        eventually("the window moves on", || ask(&proxy, "/", "").status == 200);
        return;
    }
    panic!("40 requests take a second here");
}

#[test]
fn zd01_of_40_at_once_20_pass_whatever_the_number_of_cores() {
    for workers in ["1", "2", "4"] {
        assert_exact(&["--limit-rate", "20/s", "--workers", workers], &["127.0.0.1"]);
    }
}

#[test]
fn zd02_a_limit_for_all_is_for_all_of_them_together() {
    let sources = ["127.0.0.1", "127.0.0.2", "127.0.0.3"];
    for workers in ["1", "2"] {
        assert_exact(&["--rate-limit", "20", "--workers", workers], &sources);
    }
}

#[test]
fn zd03_each_client_has_a_count_of_its_own() {
    let origin = mirror();
    let case = limited(&origin, "rate = '2/h'");
    for source in ["127.0.0.1", "127.0.0.2"] {
        let mut client = Client::from(source, &case.proxy.address);
        let all: Vec<u16> = (0..4).map(|_| client.get("/").status).collect();
        assert_eq!(all, [200, 200, 429, 429], "{source}");
    }
    // Behind a proxy that is believed, its clients are; of IPv6 the first 64 bits are one.
    let text = with(&origin, "trusted-proxy = '127.0.0.1'\n[limit.default]\nrate = '1/h'");
    let case = Configured::new(&text, &[]);
    let all = statuses(
        &case.proxy,
        &[
            "X-Forwarded-For: 192.0.2.1",
            "X-Forwarded-For: 192.0.2.2",
            "X-Forwarded-For: 192.0.2.1",
            "X-Forwarded-For: 192.0.2.9, 192.0.2.2",
            "X-Forwarded-For: 2001:db8::1",
            "X-Forwarded-For: 2001:db8::2:0:0:1",
            "X-Forwarded-For: 2001:db8:0:1::1",
        ],
    );
    assert_eq!(all, [200, 200, 429, 429, 200, 429, 200]);
}

#[test]
fn zd04_requests_are_counted_by_token_and_user() {
    let origin = mirror();
    for by in ["token", "user"] {
        let rest = format!(
            "[auth.default]\ntoken = ['{}', '{}']\n[limit.default]\nrate = '2/h'\nby = '{by}'",
            TOKENS[0], TOKENS[1]
        );
        let case = Configured::new(&with(&origin, &rest), &[]);
        let [ada, bob] = TOKENS.map(|token| format!("X-API-Key: {token}"));
        let bearer = format!("Authorization: Bearer {}", TOKENS[0]);
        let wrong = "X-API-Key: wrong-0123456789";
        // Who is refused for another reason has not been counted.
        let all =
            statuses(&case.proxy, &[wrong, "", &ada, wrong, &bearer, &ada, &bob, &ada, &bob, &bob]);
        assert_eq!(all, [401, 401, 200, 401, 200, 429, 200, 429, 200, 429], "{by}");
    }
}

#[test]
fn zd05_requests_are_counted_by_host_route_and_field() {
    let origin = mirror();
    let asks = |case: &Configured, host: &str, target: &str| {
        let mut client = case.proxy.client();
        client.send(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        client.response().status
    };
    let case = limited(&origin, "rate = '1/h'\nby = 'host'");
    let all = ["a.test", "b.test", "A.TEST", "a.test:80", "a.test.", "b.test"];
    assert_eq!(all.map(|host| asks(&case, host, "/")), [200, 200, 429, 429, 429, 429]);
    let case = limited(&origin, "rate = '1/h'\nby = 'header:X-Tenant'");
    let all = ["X-Tenant: a", "x-tenant: a", "X-Tenant: b", "X-Tenant: A", "", "", "X-Tenant: b"];
    assert_eq!(statuses(&case.proxy, &all), [200, 429, 200, 200, 200, 429, 429]);
    // What the upstream does not see, or may read in two ways, is as good as none.
    let none = [
        "X-Tenant: c\r\nConnection: X-Tenant",
        "X-Tenant: d\r\nX-Tenant: e",
        "X-Tenant: f\r\nX_Tenant: g",
        "X_Tenant: h",
    ];
    assert_eq!(statuses(&case.proxy, &none), [429; 4]);
    let rest = "[limit.default]\nrate = '2/h'\nby = 'route'\n\
                [[route]]\npath = '/a/*'\npool = 'default'\n[[route]]\npool = 'default'";
    let case = Configured::new(&with(&origin, rest), &[]);
    let all = ["/a/1", "/a/2", "/a/3", "/b", "/c", "/d", "/a/1"];
    assert_eq!(all.map(|path| asks(&case, "h", path)), [200, 200, 429, 200, 200, 429, 429]);
}

#[test]
fn zd06_an_answer_says_where_its_client_stands() {
    let origin = mirror();
    let case = limited(&origin, "rate = '3/m'");
    let mut client = case.proxy.client();
    let mut told = |status: u16, left: u32| {
        let answer = client.get("/");
        assert_eq!(answer.status, status, "{}", answer.text());
        assert_eq!(answer.get("RateLimit-Policy"), Some("\"default\";q=3;w=60"));
        let limit = answer.get("RateLimit").unwrap().to_owned();
        let seconds = limit.strip_prefix(&format!("\"default\";r={left};t=")).expect(&limit);
        let seconds: u64 = seconds.parse().unwrap();
        assert!((55..=60).contains(&seconds), "{limit}");
        answer
    };
    for left in [2, 1, 0] {
        assert_eq!(told(200, left).get("Retry-After"), None);
    }
    let refused = told(429, 0);
    assert_eq!(verdict(&refused), (429, "rate_limited".to_owned()));
    let wait: u64 = refused.get("Retry-After").unwrap().parse().unwrap();
    assert!((55..=60).contains(&wait), "{wait}");
    eventually("it is counted", || case.proxy.metrics()["reasons"]["rate_limited"] == 1);
    assert_eq!(origin.connections(), 1);
}

#[test]
fn zd07_a_bucket_lets_a_burst_through_and_then_as_many_as_flow_in() {
    let origin = mirror();
    let case = limited(&origin, "rate = '5/s'\nburst = 10");
    let mut client = case.proxy.client();
    let started = Instant::now();
    let first = client.get("/");
    assert_eq!(first.get("RateLimit-Policy"), Some("\"default\";q=5;w=1;burst=10"));
    let all: Vec<u16> = (1..10).map(|_| client.get("/").status).collect();
    assert_eq!((first.status, &all[..]), (200, &[200; 9][..]));
    // For 3 s as many as there is time for, and not one more.
    let mut passed = 10;
    while started.elapsed() < Duration::from_secs(3) {
        let answer = client.get("/");
        passed += u32::from(answer.status == 200);
        let most = 10.0 + started.elapsed().as_secs_f64() * 5.0;
        assert!(f64::from(passed) <= most, "{passed} after {:?}", started.elapsed());
        if answer.status == 429 {
            assert_eq!(answer.get("Retry-After"), Some("1"));
        }
    }
    assert!(passed >= 20, "{passed}");
    let case = limited(&origin, "rate = '1/h'\nburst = 3");
    let mut client = case.proxy.client();
    let answers: Vec<Response> = (0..4).map(|_| client.get("/")).collect();
    assert_eq!(
        answers.iter().map(|answer| answer.status).collect::<Vec<_>>(),
        [200, 200, 200, 429]
    );
    let wait: u64 = answers[3].get("Retry-After").unwrap().parse().unwrap();
    assert!((3590..=3600).contains(&wait), "{wait}");
}

#[test]
fn zd08_what_one_limit_refuses_no_other_counts() {
    let origin = mirror();
    for order in ["['all', 'tenant']", "['tenant', 'all']"] {
        let rest = format!(
            "[limit.all]\nrate = '3/h'\nby = 'all'\n[limit.tenant]\nrate = '1/h'\nby = 'header:X-Tenant'\n\
             [[route]]\npath = '/only-tenant'\nlimit = 'tenant'\npool = 'default'\n\
             [[route]]\nlimit = {order}\npool = 'default'"
        );
        let case = Configured::new(&with(&origin, &rest), &[]);
        let a = "X-Tenant: a";
        let all =
            statuses(&case.proxy, &[a, a, a, a, a, a, "X-Tenant: b", "X-Tenant: c", "X-Tenant: d"]);
        assert_eq!(all, [200, 429, 429, 429, 429, 429, 200, 200, 429], "{order}");
        // The last one was refused by the other limit, so its tenant has a request left.
        assert_eq!(ask(&case.proxy, "/only-tenant", "X-Tenant: d\r\n").status, 200, "{order}");
        assert_eq!(ask(&case.proxy, "/only-tenant", "X-Tenant: d\r\n").status, 429, "{order}");
        let refused = ask(&case.proxy, "/", "X-Tenant: e\r\n");
        assert!(refused.get("RateLimit-Policy").unwrap().starts_with("\"all\""), "{order}");
        let refused = ask(&case.proxy, "/only-tenant", "X-Tenant: a\r\n");
        assert!(refused.get("RateLimit-Policy").unwrap().starts_with("\"tenant\""), "{order}");
    }
}

#[test]
fn zd09_an_answer_tells_of_the_limit_that_is_nearest() {
    let origin = mirror();
    let rest = "[limit.wide]\nrate = '100/h'\n[limit.tight]\nrate = '5/h'\n\
                [[route]]\nlimit = ['wide', 'tight']\npool = 'default'";
    let case = Configured::new(&with(&origin, rest), &[]);
    let answer = ask(&case.proxy, "/", "");
    assert_eq!(answer.get("RateLimit-Policy"), Some("\"tight\";q=5;w=3600"));
}

#[test]
fn zd10_a_dry_run_counts_and_tells_and_refuses_nobody() {
    let origin = mirror();
    let text =
        |dry: bool| with(&origin, &format!("[limit.default]\nrate = '2/h'\ndry-run = {dry}"));
    let case = Configured::new(&text(true), &["--access-log", "json"]);
    for _ in 0..5 {
        let answer = ask(&case.proxy, "/", "");
        assert_eq!((answer.status, answer.get("RateLimit")), (200, None));
    }
    let lines = logged(&case.proxy, 5);
    let limits: Vec<_> = lines.iter().map(|line| line["limit"].clone()).collect();
    let name = || json!("default");
    assert_eq!(limits, [json!(null), json!(null), name(), name(), name()]);
    // In earnest, what was counted so far counts.
    assert_eq!(case.reload(&text(false)).status, 200);
    assert_eq!(ask(&case.proxy, "/", "").status, 429);
    let line = &logged(&case.proxy, 6)[5];
    assert_eq!((&line["limit"], &line["reason"]), (&name(), &json!("rate_limited")));
}

#[test]
fn zd11_a_reload_forgets_nothing_but_what_it_changes() {
    let origin = mirror();
    let text =
        |more: &str, rate: &str| with(&origin, &format!("{more}[limit.default]\nrate = '{rate}'"));
    let case = Configured::new(&text("", "2/h"), &["--workers", "2"]);
    assert_eq!(statuses(&case.proxy, &["", ""]), [200, 200]);
    assert_eq!(case.reload(&text("backend-header = true\n", "2/h")).status, 200);
    let refused = ask(&case.proxy, "/", "");
    assert_eq!(refused.status, 429);
    assert_eq!(case.reload(&text("", "3/h")).status, 200);
    assert_eq!(statuses(&case.proxy, &["", "", "", ""]), [200, 200, 200, 429]);
}

#[test]
fn zd12_a_limit_may_stand_in_its_route() {
    let origin = mirror();
    let rest = "[limit.default]\nrate = '3/h'\n\
                [[route]]\npath = '/a'\nlimit = { rate = '1/h' }\npool = 'default'\n\
                [[route]]\npath = '/b'\nlimit = { rate = '2/h', by = 'all' }\nrespond = 'b'\n\
                [[route]]\npath = '/c'\nlimit = 'off'\npool = 'default'\n\
                [[route]]\npath = '/d'\nrespond = 'd'\n[[route]]\npool = 'default'";
    let case = Configured::new(&with(&origin, rest), &[]);
    for (path, passing) in [("/a", 1), ("/b", 2), ("/c", 6), ("/d", 6), ("/", 3)] {
        let mut client = case.proxy.client();
        let all: Vec<u16> = (0..6).map(|_| asked(&mut client, path, "").status).collect();
        let expected: Vec<u16> = (0..6).map(|n| if n < passing { 200 } else { 429 }).collect();
        assert_eq!(all, expected, "{path}");
    }
}

#[test]
fn zd14_what_a_limit_of_a_route_counted_stays_with_its_name() {
    let origin = mirror();
    let text = |before: &str| {
        let limit = "limit = { rate = '1/h' }\npool = 'default'\n";
        with(
            &origin,
            &format!("{before}[[route]]\npath = '/shop'\n{limit}name = 'shop'\n[[route]]\n{limit}"),
        )
    };
    let case = Configured::new(&text(""), &[]);
    let status = |path: &str| ask(&case.proxy, path, "").status;
    assert_eq!([status("/shop"), status("/shop"), status("/")], [200, 429, 200]);
    let refused = ask(&case.proxy, "/shop", "");
    assert_eq!(refused.get("RateLimit-Policy"), Some("\"shop.own\";q=1;w=3600"));
    // A route with such a limit comes before it, and takes nothing of what was counted.
    let before =
        "[[route]]\npath = '/new'\nname = 'new'\nlimit = { rate = '1/h' }\npool = 'default'\n";
    assert_eq!(case.reload(&text(before)).status, 200);
    assert_eq!([status("/new"), status("/new"), status("/shop")], [200, 429, 429]);
}

#[test]
fn zd13_who_is_slowed_down_keeps_the_connection_and_is_not_invited() {
    let origin = Origin::echoing();
    let case = limited(&origin, "rate = '1/h'");
    let mut client = case.proxy.client();
    assert_eq!(client.get("/").status, 200);
    client.send("HEAD / HTTP/1.1\r\nHost: test\r\n\r\n");
    let refused = client.response_to_head();
    assert_eq!((refused.status, refused.body.len()), (429, 0));
    assert!(refused.get("Retry-After").is_some());
    assert_eq!(client.get("/").status, 429);
    client
        .send("POST / HTTP/1.1\r\nHost: test\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n");
    let refused = client.response();
    assert_eq!((refused.status, refused.interim.len()), (429, 0));
    assert_eq!(origin.requests().len(), 1);
}
