//! What a request has to be like: its type, where its page is from, how fast its body comes, from how many it is one.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::{
    Client, Configured, Gate, Origin, Response, ask, asked, eventually, mirror, seen, verdict,
};

const TOKEN: &str = "tok-of-ada-0123456789";

fn with(origin: &Origin, rest: &str) -> String {
    format!("upstream = '{}'\n{rest}\n", origin.url())
}

/// What comes of this request line with these field lines.
#[track_caller]
fn send(case: &Configured, line: &str, fields: &str) -> Response {
    let mut client = case.proxy.client();
    client.send(format!("{line} HTTP/1.1\r\nHost: test\r\n{fields}\r\n"));
    client.response()
}

// ---- media types ----

#[test]
fn ze01_a_body_has_one_of_the_types_that_are_asked_for() {
    let origin = mirror();
    let case =
        Configured::new(&with(&origin, "content-type = ['application/json', 'text/*']"), &[]);
    let mut served = 0;
    for (fields, body, taken) in [
        ("Content-Type: application/json\r\n", "{}", true),
        ("Content-Type: Application/JSON; charset=utf-8\r\n", "{}", true),
        ("Content-Type: text/csv\r\n", "a,b", true),
        ("", "", true),
        ("Content-Type: image/png\r\n", "", true),
        ("Content-Type: image/png\r\n", "x", false),
        ("Content-Type: application/jsonp\r\n", "x", false),
        ("Content-Type: application/json, image/png\r\n", "x", false),
        ("Content-Type: application/json\r\nContent-Type: image/png\r\n", "x", false),
        ("Content-Type:\r\n", "x", false),
        ("Content-Type: text\r\n", "x", false),
        ("", "x", false),
        // Nothing that the upstream does not see as we do.
        ("Content-Type: text/csv\r\nConnection: Content-Type\r\n", "x", false),
        ("Content-Type: text/csv\r\nContent_Type: image/png\r\n", "x", false),
        ("Content_Type: text/csv\r\n", "x", false),
        ("Content-Type: text/csv\r\nConnection: X-A\r\n", "x", true),
    ] {
        for is_chunked in [false, true] {
            let mut client = case.proxy.client();
            let (framing, body) = match (body.len(), is_chunked) {
                (0, true) => continue,
                (0, false) => (String::new(), String::new()),
                (n, true) => (
                    "Transfer-Encoding: chunked\r\n".to_owned(),
                    format!("{n}\r\n{body}\r\n0\r\n\r\n"),
                ),
                (n, false) => (format!("Content-Length: {n}\r\n"), body.to_owned()),
            };
            let head = format!("POST / HTTP/1.1\r\nHost: test\r\n{fields}{framing}\r\n");
            client.send(head + &body);
            let answer = client.response();
            match taken {
                true => {
                    served += 1;
                    assert_eq!(answer.status, 200, "{fields}{body}");
                }
                false => {
                    let refused = (415, "unsupported_media_type".to_owned());
                    assert_eq!(verdict(&answer), refused, "{fields}{body}");
                    assert_eq!(answer.get("Accept"), Some("application/json, text/*"));
                }
            }
        }
    }
    assert_eq!(origin.requests().len(), served);
}

// ---- pages of other origins ----

/// `Access-Control-*` and `Vary` of an answer.
fn cors_of(answer: &Response) -> Vec<String> {
    let is_of_it = |name: &str| {
        let name = name.to_ascii_lowercase();
        name.starts_with("access-control-") || name == "vary"
    };
    let fields = answer.head.fields.iter().filter(|(name, _)| is_of_it(name));
    let mut all: Vec<String> = fields.map(|(name, value)| format!("{name}: {value}")).collect();
    all.sort();
    all
}

#[test]
fn ze02_a_preflight_is_answered_here_and_asks_for_no_token() {
    let origin = mirror();
    let rest = format!(
        "cors = {{ origin = ['https://app.test', 'https://*.app.test'], method = 'PUT', \
         header = ['X-Api-Key', 'Content-Type'], credentials = true, max-age = '5m' }}\n\
         content-type = 'application/json'\n[auth.default]\ntoken = '{TOKEN}'"
    );
    let case = Configured::new(&with(&origin, &rest), &[]);
    let preflight = |origin: &str, method: &str, fields: &str| {
        let fields = format!(
            "Origin: {origin}\r\nAccess-Control-Request-Method: {method}\r\n\
             Access-Control-Request-Headers: {fields}\r\n"
        );
        send(&case, "OPTIONS /", &fields)
    };
    let answer = preflight("https://app.test", "PUT", "content-type,x-api-key");
    assert_eq!((answer.status, answer.body.len()), (204, 0));
    assert_eq!(answer.get("Access-Control-Allow-Origin"), Some("https://app.test"));
    assert_eq!(answer.get("Access-Control-Allow-Credentials"), Some("true"));
    assert_eq!(answer.get("Access-Control-Max-Age"), Some("300"));
    assert!(answer.head.lists("Access-Control-Allow-Methods", "PUT"));
    assert!(answer.head.lists("Access-Control-Allow-Headers", "x-api-key"));
    assert!(answer.head.lists("Vary", "Origin"));
    assert_eq!(preflight("https://a.app.test", "GET", "").status, 204);
    for (origin, method, fields) in [
        ("https://evil.test", "PUT", ""),
        ("https://app.test.evil.test", "PUT", ""),
        ("https://evilapp.test", "PUT", ""),
        ("http://app.test", "PUT", ""),
        ("https://app.test:8443", "PUT", ""),
        ("null", "PUT", ""),
        ("https://app.test", "DELETE", ""),
        ("https://app.test", "put", ""),
        ("https://app.test", "PUT", "x-other"),
    ] {
        let answer = preflight(origin, method, fields);
        assert_eq!(
            verdict(&answer),
            (403, "cors_refused".to_owned()),
            "{origin} {method} {fields}"
        );
        assert_eq!(answer.get("Access-Control-Allow-Origin"), None);
    }
    assert_eq!(origin.connections(), 0);
    // Without the question of a preflight it is a request like others.
    assert_eq!(send(&case, "OPTIONS /", "Origin: https://app.test\r\n").status, 401);
    let key = format!("X-Api-Key: {TOKEN}\r\n");
    assert_eq!(send(&case, "OPTIONS /", &format!("{key}Origin: https://app.test\r\n")).status, 200);
}

#[test]
fn ze03_scripts_may_read_answers_and_refusals_as_the_policy_says_and_not_the_upstream() {
    let origin = Origin::answering(
        "HTTP/1.1 200 OK\r\nAccess-Control-Allow-Origin: *\r\nAccess-Control-Allow-Methods: X\r\n\
         Vary: Accept\r\nContent-Length: 2\r\n\r\nok",
    );
    let rest = format!(
        "cors = {{ origin = 'https://app.test', expose = 'X-Total' }}\n\
         [auth.default]\ntoken = '{TOKEN}'\n[limit.default]\nrate = '2/h'"
    );
    let case = Configured::new(&with(&origin, &rest), &[]);
    let key = format!("X-Api-Key: {TOKEN}\r\n");
    let from =
        |origin: &str, key: &str| ask(&case.proxy, "/", &format!("Origin: {origin}\r\n{key}"));
    let answer = from("https://app.test", &key);
    assert_eq!(
        cors_of(&answer),
        [
            "Access-Control-Allow-Origin: https://app.test",
            "Access-Control-Expose-Headers: X-Total",
            "Vary: Accept",
            "Vary: Origin",
        ]
    );
    let answer = from("https://evil.test", &key);
    assert_eq!((answer.status, answer.get("Access-Control-Allow-Origin")), (200, None));
    assert!(answer.head.lists("Vary", "Origin"), "no cache gives one the answer of another");
    for (key, status) in [("", 401), (key.as_str(), 429)] {
        let refused = from("https://app.test", key);
        assert_eq!(refused.status, status);
        let allowed = refused.get("Access-Control-Allow-Origin");
        assert_eq!(allowed, Some("https://app.test"), "{status}");
    }
    let twice = from("https://app.test", "Origin: https://evil.test\r\n");
    assert_eq!(verdict(&twice), (403, "cors_refused".to_owned()));
}

#[test]
fn ze15_scripts_may_read_every_refusal_that_a_policy_holds_for() {
    let origin = mirror();
    let rest = "cors = { origin = 'https://app.test' }\nsecurity-headers = true\n\
                [[route]]\npath = '/far'\nallow = '192.0.2.1'\npool = 'default'\n\
                [[route]]\npath = '/text'\ncontent-type = 'text/*'\npool = 'default'\n\
                [[route]]\npath = '/get'\nmethod = 'GET'\npool = 'default'\n\
                [[route]]\npath = '/off'\ncors = { origin = 'off' }\nallow = '192.0.2.1'\n\
                security-headers = false\npool = 'default'\n";
    let case = Configured::new(&with(&origin, rest), &[]);
    let from = |line: &str, origin: &str| {
        let body = "Content-Type: image/png\r\nContent-Length: 0\r\n";
        send(&case, line, &format!("Origin: {origin}\r\n{body}"))
    };
    for (line, status, is_under) in [
        ("POST /far", 403, true),
        ("POST /none", 404, true),
        ("POST /get", 405, true),
        ("POST /off", 403, false),
    ] {
        let refused = from(line, "https://app.test");
        assert_eq!(refused.status, status, "{line}");
        let allowed = refused.get("Access-Control-Allow-Origin");
        assert_eq!(allowed, is_under.then_some("https://app.test"), "{line}");
        assert_eq!(refused.get("X-Frame-Options"), is_under.then_some("SAMEORIGIN"), "{line}");
        let other = from(line, "https://evil.test");
        assert_eq!(other.get("Access-Control-Allow-Origin"), None, "{line}");
        assert_eq!(other.head.lists("Vary", "Origin"), is_under, "{line}");
    }
    let mut client = case.proxy.client();
    client.send(
        "POST /text HTTP/1.1\r\nHost: test\r\nOrigin: https://app.test\r\n\
         Content-Type: image/png\r\nContent-Length: 1\r\n\r\nx",
    );
    let refused = client.response();
    assert_eq!(
        (refused.status, refused.get("Access-Control-Allow-Origin")),
        (415, Some("https://app.test"))
    );
    // A refused network refuses a preflight, too; and what could not be read came from nowhere.
    let asks = "Origin: https://app.test\r\nAccess-Control-Request-Method: GET\r\n";
    let refused = send(&case, "OPTIONS /far", asks);
    assert_eq!((verdict(&refused), cors_of(&refused)), ((403, "network_refused".into()), vec![]));
    let bad = send(&case, "GET /a b", asks);
    assert_eq!((bad.status, cors_of(&bad)), (400, vec![]));
    assert_eq!(bad.get("X-Frame-Options"), Some("SAMEORIGIN"));
}

#[test]
fn ze04_without_a_policy_preflights_and_their_answers_are_the_upstreams() {
    let origin = Origin::answering(
        "HTTP/1.1 204 No Content\r\nAccess-Control-Allow-Origin: https://own.test\r\n\r\n",
    );
    let rest = "[[route]]\npath = '/open'\ncors = { origin = '*' }\npool = 'default'\n\
                [[route]]\npool = 'default'";
    let case = Configured::new(&with(&origin, rest), &[]);
    let asks = "Origin: https://any.test\r\nAccess-Control-Request-Method: GET\r\n";
    let answer = send(&case, "OPTIONS /", asks);
    assert_eq!(cors_of(&answer), ["Access-Control-Allow-Origin: https://own.test"]);
    assert_eq!(origin.requests().len(), 1);
    let answer = send(&case, "OPTIONS /open", asks);
    assert_eq!((answer.status, answer.get("Access-Control-Allow-Origin")), (204, Some("*")));
    assert_eq!(origin.requests().len(), 1);
}

#[test]
fn ze05_a_preflight_takes_the_route_of_what_it_is_about() {
    let origin = mirror();
    let rest = "[[route]]\nmethod = 'PUT'\npath = '/a'\n\
                cors = { origin = 'https://app.test', method = 'PUT' }\npool = 'default'\n\
                [[route]]\nmethod = 'GET'\npath = '/a'\npool = 'default'";
    let case = Configured::new(&with(&origin, rest), &[]);
    let about = |method: &str| {
        let asks =
            format!("Origin: https://app.test\r\nAccess-Control-Request-Method: {method}\r\n");
        send(&case, "OPTIONS /a", &asks).status
    };
    assert_eq!(["PUT", "GET", "DELETE"].map(about), [204, 405, 405]);
}

// ---- fields that browsers go by ----

#[test]
fn ze06_answers_get_the_fields_that_they_lack_and_keep_those_that_they_have() {
    let origin = Origin::answering(
        "HTTP/1.1 200 OK\r\nX-Frame-Options: DENY\r\nContent-Length: 2\r\n\r\nok",
    );
    let rest = format!(
        "security-headers = true\n[auth.default]\ntoken = '{TOKEN}'\n\
         [[route]]\npath = '/off'\nsecurity-headers = false\nauth = 'off'\npool = 'default'\n\
         [[route]]\npath = '/own'\nrespond = 'own'\n[[route]]\npool = 'default'"
    );
    let case = Configured::new(&with(&origin, &rest), &[]);
    let names = ["X-Content-Type-Options", "Referrer-Policy", "X-Frame-Options"];
    let of = |answer: &Response| names.map(|name| answer.get(name).map(str::to_owned));
    let usual = |frame: &str| {
        ["nosniff", "strict-origin-when-cross-origin", frame].map(|text| Some(text.to_owned()))
    };
    let key = format!("X-Api-Key: {TOKEN}\r\n");
    assert_eq!(of(&ask(&case.proxy, "/", &key)), usual("DENY"));
    let refused = ask(&case.proxy, "/", "");
    assert_eq!((refused.status, of(&refused)), (401, usual("SAMEORIGIN")));
    assert_eq!(of(&ask(&case.proxy, "/own", "")), usual("SAMEORIGIN"));
    let off = ask(&case.proxy, "/off", "");
    assert_eq!((of(&off), off.status), ([None, None, Some("DENY".to_owned())], 200));
}

// ---- how fast a body comes ----

/// A body of a few octets a second, for a route of these settings.
#[track_caller]
fn assert_cut(rest: &str) {
    let origin = Origin::echoing();
    let text = with(&origin, &format!("min-rate = '1KiB'\n{rest}"));
    let case = Configured::new(&text, &["--access-log", "json"]);
    let mut client = case.proxy.client();
    client.wire().patience(Duration::from_secs(20)).unwrap();
    let begun = "PUT / HTTP/1.1\r\nHost: test\r\nContent-Length: 100000\r\n\r\nslow";
    client.send(begun);
    let mut sender = client.wire().sender().unwrap();
    let trickle = thread::spawn(move || {
        while sender.send("x").is_ok() {
            thread::sleep(Duration::from_millis(200));
        }
    });
    let started = Instant::now();
    let answer = client.response();
    assert_eq!(verdict(&answer), (408, "body_too_slow".to_owned()));
    let took = started.elapsed();
    assert!((4..12).contains(&took.as_secs()), "{took:?}");
    client.until_gone();
    drop(client);
    trickle.join().unwrap();
    let line: Value = serde_json::from_str(&case.proxy.access_log(1)[0]).unwrap();
    let octets = line["bytes_in"].as_u64().unwrap() as usize;
    // Five come in a second.
    assert!((begun.len() + 15..begun.len() + 100).contains(&octets), "{line}");
}

#[test]
fn ze07_a_body_that_trickles_is_cut() {
    assert_cut("");
}

#[test]
fn ze13_so_is_one_that_is_read_before_it_is_sent() {
    assert_cut("retry-buffer = '1MiB'\nretry-on = ['connect', '5xx']\n");
}

#[test]
fn ze08_a_body_that_waits_for_the_upstream_is_not_slow() {
    let (gate, seen) = (Gate::default(), Gate::default());
    let (held, reached) = (gate.clone(), seen.clone());
    let origin = Origin::narrow(move |peer| {
        let head = peer.request_head()?;
        reached.open();
        held.wait();
        let length = head.get("Content-Length").unwrap().parse().unwrap();
        peer.exactly(length)?;
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlast")
    });
    let case = Configured::new(&with(&origin, "min-rate = '1KiB'\n"), &[]);
    let mut client = case.proxy.client();
    let len = 32 << 20;
    client.send(format!("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: {len}\r\n\r\n"));
    seen.wait();
    let mut sender = client.wire().sender().unwrap();
    let upload = thread::spawn(move || {
        let block = vec![b'x'; 1 << 20];
        let mut left = len;
        while left > 0 {
            let n =
                sender.send_until_blocked(&block[..left.min(block.len())], Duration::from_secs(20));
            left -= n.unwrap();
        }
    });
    // Longer than a slow client is given.
    client.expect_silence(Duration::from_millis(8500));
    gate.open();
    assert_eq!(client.response().text(), "last");
    upload.join().unwrap();
}

#[test]
fn ze09_an_answer_that_takes_long_is_no_fault_of_a_body_that_is_there() {
    let (origin, asked, go_on) = Origin::patient();
    let case = Configured::new(&with(&origin, "min-rate = '1KiB'\n"), &[]);
    let mut client = case.proxy.client();
    client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 3\r\n\r\n");
    client.send("abc");
    asked.wait();
    client.expect_silence(Duration::from_millis(8500));
    go_on.open();
    assert_eq!(client.response().text(), "last");
}

#[test]
fn ze14_who_waits_to_be_invited_is_not_slow() {
    let (gate, reached) = (Gate::default(), Gate::default());
    let (held, seen) = (gate.clone(), reached.clone());
    let origin = Origin::start(move |peer| {
        peer.request_head()?;
        seen.open();
        held.wait();
        peer.send("HTTP/1.1 100 Continue\r\n\r\n")?;
        peer.exactly(3)?;
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlast")
    });
    let case = Configured::new(&with(&origin, "min-rate = '1KiB'\nexpect-timeout = '1m'\n"), &[]);
    let mut client = case.proxy.client();
    client
        .send("POST / HTTP/1.1\r\nHost: test\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n");
    reached.wait();
    client.expect_silence(Duration::from_millis(8500));
    gate.open();
    assert!(client.head().line.starts_with("HTTP/1.1 100"));
    client.send("abc");
    assert_eq!(client.response().text(), "last");
}

// ---- connections of one client ----

#[test]
fn ze10_a_client_has_so_many_connections_and_another_as_many() {
    let origin = mirror();
    for workers in ["1", "2"] {
        let case = Configured::new(
            &with(&origin, "max-client-connections = 2\n"),
            &["--workers", workers],
        );
        let address = &case.proxy.address;
        let mut held = Vec::new();
        for source in ["127.0.0.1", "127.0.0.2"] {
            for _ in 0..2 {
                let mut client = Client::from(source, address);
                assert_eq!(client.get("/").status, 200, "{source}");
                held.push(client);
            }
            let mut third = Client::from(source, address);
            third.send_if_taken("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
            assert!(third.until_gone().is_empty(), "{source}");
        }
        let refused = || case.proxy.metrics()["connections"]["refused"].clone();
        eventually("they are counted", || refused() == 2);
        assert!(held.iter_mut().all(|client| client.get("/").status == 200));
        // A connection that ends leaves its place to another.
        held.remove(0);
        eventually("there is a place again", || {
            let mut next = Client::from("127.0.0.1", address);
            next.send_if_taken("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
            next.wire().response("GET").is_ok()
        });
    }
}

#[test]
fn ze11_behind_a_load_balancer_connections_count_for_those_who_are_announced() {
    let origin = mirror();
    let rest = "max-client-connections = 1\nproxy-protocol = '127.0.0.1'\n";
    let case = Configured::new(&with(&origin, rest), &[]);
    let announced = |source: &str| {
        let mut client = case.proxy.client();
        client.send_if_taken(format!(
            "PROXY TCP4 {source} 198.51.100.1 5555 80\r\nGET / HTTP/1.1\r\nHost: test\r\n\r\n"
        ));
        client
    };
    let mut first = announced("192.0.2.1");
    assert_eq!(first.response().status, 200);
    let mut other = announced("192.0.2.2");
    assert_eq!(seen(&other.response().text(), "X-Forwarded-For"), Some("192.0.2.2"));
    assert!(announced("192.0.2.1").until_gone().is_empty());
    assert_eq!(asked(&mut first, "/", "").status, 200);
    assert_eq!(asked(&mut other, "/", "").status, 200);
}

#[test]
fn ze12_a_trusted_proxy_has_any_number_of_connections() {
    let origin = mirror();
    let rest = "max-client-connections = 1\ntrusted-proxy = '127.0.0.1'\n";
    let case = Configured::new(&with(&origin, rest), &[]);
    let mut clients: Vec<Client> = (0..4).map(|_| case.proxy.client()).collect();
    assert!(clients.iter_mut().all(|client| client.get("/").status == 200));
}
