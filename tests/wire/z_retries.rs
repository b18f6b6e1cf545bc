//! What is sent again, what is not, and why that was so; and what is sent to two.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{
    Gate, Origin, Proxy, Refusing, Silent, assert_same, chunked, eventually, pattern,
};

const ONE: &str = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1";
const BUSY: &str = "HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy";

/// A proxy in front of these, in this order, that logs.
#[track_caller]
fn in_front_of(urls: &[String], flags: &[&str]) -> Proxy {
    let mut all = vec!["--access-log", "json"];
    urls.iter().for_each(|url| all.extend(["--upstream", url]));
    Proxy::start(&[&all[..], flags].concat())
}

/// Line `n` of the access log, counted from 1.
#[track_caller]
fn logged(proxy: &Proxy, n: usize) -> Value {
    serde_json::from_str(&proxy.access_log(n)[n - 1]).expect("a line of JSON")
}

/// What became of each attempt, and what followed: outcome and word, empty where there is none.
fn attempts(line: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let of = |one: &Value| (text(&one["outcome"]), text(&one["again"]));
    line["attempts"].as_array().unwrap().iter().map(of).collect()
}

fn words(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(outcome, again)| (outcome.to_string(), again.to_string())).collect()
}

/// Answers each target with `first` when it is asked the first time, and then that it is well.
fn second_time_well(first: &'static str) -> Origin {
    let asked: Mutex<HashMap<String, usize>> = Mutex::default();
    Origin::serving(move |request| {
        let mut asked = asked.lock().unwrap();
        let times = asked.entry(request.target.clone()).or_default();
        *times += 1;
        if *times == 1 { first.into() } else { ONE.into() }
    })
}

/// An origin that reads a head, and closes without a word.
fn closing() -> Origin {
    Origin::start(|peer| peer.request_head().map(drop))
}

/// An origin that answers nobody, and keeps its connections until they are given up.
fn holding() -> Origin {
    Origin::start(|peer| {
        peer.request()?;
        peer.hold()
    })
}

// ---- statuses ----

#[test]
fn z01_a_status_is_retried_for_whom_it_does_no_harm() {
    let origin = second_time_well(BUSY);
    let proxy = in_front_of(&[origin.url()], &["--retry-on", "5xx", "--retry-budget", "100%"]);
    let mut client = proxy.client();
    let retried: &[_] = &[("retried_status", "retried"), ("done", "")];
    let refused: &[_] = &[("done", "not_idempotent")];
    let key = "Idempotency-Key: 1\r\n";
    let with_body = "Content-Length: 2\r\n";
    for (n, (method, fields, body, expected)) in [
        ("GET", "", "", retried),
        ("OPTIONS", "", "", retried),
        ("DELETE", "", "", retried),
        ("PUT", with_body, "hi", retried),
        ("POST", with_body, "hi", refused),
        ("PATCH", with_body, "hi", refused),
        ("POST", &format!("{key}{with_body}"), "hi", retried),
        ("PATCH", key, "", retried),
    ]
    .into_iter()
    .enumerate()
    {
        client.send(format!("{method} /{n} HTTP/1.1\r\nHost: test\r\n{fields}\r\n{body}"));
        let answer = client.response();
        let wanted = if expected == retried { (200, "1") } else { (503, "busy") };
        assert_eq!((answer.status, &*answer.text()), wanted, "{method} {fields}");
        assert_eq!(attempts(&logged(&proxy, n + 1)), words(expected), "{method} {fields}");
        let target = format!("/{n}");
        let seen: Vec<_> =
            origin.requests().into_iter().filter(|one| one.target == target).collect();
        assert_eq!(seen.len(), expected.len(), "{method} {fields}");
        assert!(seen.iter().all(|one| one.body == body.as_bytes()), "{method}: {seen:#?}");
    }
    assert_eq!(proxy.metric("/retries"), 6);
}

#[test]
fn z02_only_the_statuses_that_were_named_are_retried() {
    for (on, line, status) in [
        ("503", "503 Busy", 200),
        ("502-504", "504 Slow", 200),
        ("502-504", "500 Broken", 500),
        ("connect,closed", "503 Busy", 503),
        ("429", "429 Too Many", 200),
    ] {
        let first = format!("HTTP/1.1 {line}\r\nContent-Length: 0\r\n\r\n");
        let origin = second_time_well(first.leak());
        let proxy = in_front_of(&[origin.url()], &["--retry-on", on]);
        assert_eq!(proxy.client().get("/").status, status, "{on}: {line}");
    }
}

#[test]
fn z03_another_upstream_is_asked_before_the_same_one() {
    let (busy, well) = (Origin::answering(BUSY), Origin::named("well"));
    let proxy = in_front_of(&[busy.url(), well.url()], &["--retry-on", "503"]);
    let mut client = proxy.client();
    // Ten a second may be, whatever the budget; half of these are.
    (0..16).for_each(|_| assert_eq!(client.get("/").text(), "well"));
    assert_eq!((busy.requests().len(), well.requests().len()), (8, 16));
    let line = logged(&proxy, 1);
    assert_eq!(attempts(&line), words(&[("retried_status", "retried"), ("done", "")]));
    let tried: Vec<_> = [0, 1].map(|n| line["attempts"][n]["upstream"].clone()).into();
    assert_eq!(tried, [json!(busy.url()), json!(well.url())]);
    assert_eq!(line["attempts"][0]["cause"], "503");
}

#[test]
fn z04_an_answer_that_is_late_goes_on_elsewhere() {
    let (late, well) = (holding(), Origin::named("well"));
    let flags = ["--retry-on", "timeout", "--try-timeout", "150ms", "--response-timeout", "900ms"];
    let proxy = in_front_of(&[late.url(), well.url()], &flags);
    let mut client = proxy.client();
    let started = Instant::now();
    assert_eq!(client.get("/").text(), "well");
    let took = started.elapsed();
    assert!((150..900).contains(&took.as_millis()), "{took:?}");
    let again = words(&[("response_timeout", "retried"), ("done", "")]);
    assert_eq!(attempts(&logged(&proxy, 1)), again);

    // Nobody else may be asked, so it gets all the time there is.
    let proxy = in_front_of(&[late.url()], &flags);
    let started = Instant::now();
    proxy.client().send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n\r\n").response();
    assert!(started.elapsed().as_millis() >= 900, "{:?}", started.elapsed());
    assert_eq!(attempts(&logged(&proxy, 1)), words(&[("response_timeout", "not_idempotent")]));
    let proxy = in_front_of(&[late.url()], &[&flags[..], &["--max-retries", "1"]].concat());
    let started = Instant::now();
    assert_eq!(proxy.client().get("/").status, 504);
    assert!(started.elapsed().as_millis() >= 150 + 900, "{:?}", started.elapsed());
    let again = words(&[("response_timeout", "retried"), ("response_timeout", "none_left")]);
    assert_eq!(attempts(&logged(&proxy, 1)), again);
}

// ---- how often, and why not ----

#[test]
fn z05_an_outage_is_not_answered_with_a_storm() {
    const REQUESTS: usize = 2000;
    let asked = [(); 2].map(|()| Origin::answering(BUSY));
    let urls = asked.each_ref().map(Origin::url);
    let proxy = in_front_of(&urls, &["--retry-on", "5xx", "--workers", "2"]);
    let started = Instant::now();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut client = proxy.client();
                for _ in 0..REQUESTS / 4 {
                    assert_eq!(client.get("/").status, 503);
                }
            });
        }
    });
    let seconds = started.elapsed().as_secs() as usize + 1;
    let again = asked.iter().map(|origin| origin.requests().len()).sum::<usize>() - REQUESTS;
    assert!(again <= REQUESTS / 5 + 10 * (seconds + 1), "{again} in {seconds} s");
    assert!(again >= REQUESTS / 10, "{again}: what may be is done");
    assert_eq!(proxy.metric("/retries") as usize, again);
    let lines = proxy.access_log(REQUESTS);
    let of_budget = lines.iter().filter(|line| line.contains(r#""again":"budget""#)).count();
    assert!(of_budget > REQUESTS / 2, "{of_budget}");
    assert_eq!(proxy.metric("/retries_refused") as usize, of_budget);
}

#[test]
fn z06_without_a_share_ten_a_second_are_sent_again() {
    let origin = Origin::answering(BUSY);
    let flags = ["--retry-on", "503", "--retry-budget", "0%", "--max-retries", "1"];
    let proxy = in_front_of(&[origin.url()], &flags);
    let mut client = proxy.client();
    let started = Instant::now();
    (0..60).for_each(|_| assert_eq!(client.get("/").status, 503));
    let seconds = started.elapsed().as_secs() as usize + 1;
    let again = origin.requests().len() - 60;
    assert!((10..=10 * (seconds + 1)).contains(&again), "{again} in {seconds} s");
}

#[test]
fn z07_the_log_says_why_a_request_was_not_sent_again() {
    let whole = "GET / HTTP/1.1\r\nHost: test\r\n\r\n";
    let post = "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 2\r\n\r\nhi";
    let breaker = &["--breaker", "--breaker-failures", "1"][..];
    let closed = "upstream_closed";
    let origin = Origin::start(|peer| peer.request().map(drop));
    for (request, flags, expected) in [
        (whole, &["--retry-on", "connect"][..], &[(closed, "not_listed")][..]),
        (whole, &["--max-retries", "0"], &[(closed, "none_left")]),
        (whole, &["--max-retries", "1"], &[(closed, "no_other")]),
        (whole, breaker, &[(closed, "no_other")]),
        (post, &[], &[(closed, "not_idempotent")]),
    ] {
        let proxy = in_front_of(&[origin.url()], flags);
        let mut client = proxy.client();
        client.send(request);
        assert_eq!(client.response().status, 502);
        let line = logged(&proxy, 1);
        assert_eq!(attempts(&line), words(expected), "{flags:?}: {line:#}");
    }
}

#[test]
fn z08_once_the_client_has_part_of_an_answer_nothing_is_sent_again() {
    let origin = Origin::start(|peer| {
        peer.answer("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello").map(drop)
    });
    let proxy = in_front_of(&[origin.url()], &["--retry-on", "closed,5xx"]);
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    client.until_gone();
    let expected = words(&[("response_cut_short", "answered")]);
    assert_eq!(attempts(&logged(&proxy, 1)), expected);
    assert_eq!(origin.requests().len(), 1);
}

#[test]
fn z09_each_connection_that_could_not_be_made_is_told() {
    let refusing = [(); 3].map(|()| Refusing::new());
    let urls = refusing.each_ref().map(Refusing::url);
    let proxy = in_front_of(&urls, &["--max-retries", "1"]);
    assert_eq!(proxy.client().get("/").status, 503);
    let refused = "connect_refused";
    let expected = words(&[(refused, "retried"), (refused, "none_left")]);
    assert_eq!(attempts(&logged(&proxy, 1)), expected);
}

#[test]
fn z10_a_connection_that_died_while_it_was_idle_is_replaced_and_that_is_told() {
    let origin = Origin::start(|peer| {
        peer.answer(ONE)?;
        peer.request().map(drop)
    });
    let proxy = in_front_of(&[origin.url()], &[]);
    let mut client = proxy.client();
    (0..2).for_each(|_| assert_eq!(client.get("/").text(), "1"));
    let expected = words(&[("upstream_closed", "replayed"), ("done", "")]);
    assert_eq!(attempts(&logged(&proxy, 2)), expected);
    assert_eq!((proxy.metric("/replays"), proxy.metric("/retries")), (1, 0));
}

// ---- bodies that are kept ----

const LONG: usize = 200 << 10;

/// The head of a PUT of [`LONG`] octets.
fn put(fields: &str) -> String {
    format!("PUT /put HTTP/1.1\r\nHost: test\r\nContent-Length: {LONG}\r\n{fields}\r\n")
}

/// A proxy that keeps bodies, in front of one that closes and one that echoes.
fn keeping(flags: &[&str]) -> (Proxy, Origin, Origin) {
    let (closes, echoes) = (closing(), Origin::echoing());
    let buffer = [&["--retry-buffer", "256KiB"], flags].concat();
    (in_front_of(&[closes.url(), echoes.url()], &buffer), closes, echoes)
}

#[test]
fn z11_a_body_that_was_kept_goes_to_the_next_one_whole() {
    let body = pattern(LONG);
    let (proxy, closes, echoes) = keeping(&[]);
    let mut client = proxy.client();
    // With the next request behind it.
    let next = "GET /next HTTP/1.1\r\nHost: test\r\n\r\n";
    client.send([put("").as_bytes(), &body, next.as_bytes()].concat());
    let answer = client.response();
    assert_eq!(answer.status, 200);
    assert_same(&answer.body, &body);
    let next = client.response();
    assert_eq!((next.status, next.body.len()), (200, 0));
    assert_eq!(closes.requests()[0].target, "/put");
    let seen: Vec<_> = echoes.requests().into_iter().map(|one| one.target).collect();
    assert_eq!(seen, ["/put", "/next"]);

    let (proxy, closes, _echoes) = keeping(&[]);
    let mut client = proxy.client();
    client.send(put("Expect: 100-continue\r\n"));
    assert!(client.head().line.contains(" 100 "));
    client.send(&body);
    let answer = client.response();
    assert_eq!((answer.status, answer.interim.len()), (200, 0));
    assert_same(&answer.body, &body);
    assert_eq!(closes.requests().len(), 1);
}

#[test]
fn z12_a_body_that_does_not_fit_or_has_no_length_is_not_kept() {
    let body = pattern(LONG);
    let small = ["--retry-buffer", "100KiB"];
    let (closes, echoes) = (closing(), Origin::echoing());
    let proxy = in_front_of(&[closes.url(), echoes.url()], &small);
    let mut client = proxy.client();
    client.send_if_taken([put("").as_bytes(), &body].concat());
    assert_eq!(client.response().status, 502);
    assert_eq!(attempts(&logged(&proxy, 1))[0].1, "body_gone");

    let (proxy, _closes, echoes) = keeping(&[]);
    let mut client = proxy.client();
    let head = "PUT / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n";
    client.send_if_taken([head.as_bytes(), &chunked(&body, 10_000)].concat());
    assert_eq!(client.response().status, 502);
    assert_eq!(attempts(&logged(&proxy, 1))[0].1, "body_gone");
    assert_eq!(echoes.requests().len(), 0);
}

#[test]
fn z13_of_a_body_that_stops_in_the_middle_no_upstream_hears() {
    let body = pattern(LONG);
    let (proxy, closes, echoes) = keeping(&["--read-timeout", "200ms"]);
    let mut stops = proxy.client();
    stops.send([put("").as_bytes(), &body[..LONG / 2]].concat());
    assert_eq!(stops.response().status, 408);
    assert_eq!(logged(&proxy, 1)["reason"], "body_timeout");
    let mut leaves = proxy.client();
    leaves.send([put("").as_bytes(), &body[..LONG / 2]].concat()).finish_sending();
    leaves.until_gone();
    assert_eq!(logged(&proxy, 2)["reason"], "body_cut_short");
    assert_eq!((closes.connections(), echoes.connections()), (0, 0));
}

// ---- hedges ----

const SOON: [&str; 2] = ["--hedge", "100ms"];

fn hedges(proxy: &Proxy) -> (u64, u64) {
    (proxy.metric("/hedges/sent"), proxy.metric("/hedges/won"))
}

#[test]
fn z14_a_get_whose_answer_takes_long_goes_to_a_second_one() {
    let (slow, quick) = (holding(), Origin::named("quick"));
    for method in ["GET", "HEAD"] {
        let proxy = in_front_of(&[slow.url(), quick.url()], &SOON);
        let mut client = proxy.client();
        let started = Instant::now();
        client.send(format!("{method} / HTTP/1.1\r\nHost: test\r\n\r\n"));
        let answer = if method == "HEAD" { client.response_to_head() } else { client.response() };
        let took = started.elapsed();
        assert_eq!(answer.get("X-Origin"), Some("quick"));
        assert!((100..1500).contains(&took.as_millis()), "{took:?}");
        let line = logged(&proxy, 1);
        assert_eq!(attempts(&line), words(&[("hedged", "hedged"), ("done", "")]), "{line:#}");
        assert_eq!(line["upstream"], quick.url());
        assert_eq!(hedges(&proxy), (1, 1));
        // The connection is good for the next.
        assert_eq!(client.get("/").text(), "quick");
    }
}

#[test]
fn z15_what_is_quick_enough_or_no_get_goes_to_one() {
    let (slow, asked, go_on) = Origin::patient();
    let quick = Origin::named("quick");
    let proxy = in_front_of(&[slow.url(), quick.url()], &["--hedge", "50ms"]);
    let mut client = proxy.client();
    client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 2\r\n\r\nhi");
    asked.wait();
    // Only time can show that nothing happens in it.
    client.expect_silence(Duration::from_millis(200));
    go_on.open();
    assert_eq!(client.response().text(), "last");
    assert_eq!((quick.requests().len(), hedges(&proxy)), (0, (0, 0)));
    let proxy = in_front_of(&[quick.url(), quick.url() + "/other"], &["--hedge", "5s"]);
    let mut client = proxy.client();
    (0..10).for_each(|_| assert_eq!(client.get("/").text(), "quick"));
    assert_eq!(hedges(&proxy), (0, 0));
}

#[test]
fn z16_the_first_may_still_be_the_one_that_answers() {
    let (slow, asked, go_on) = Origin::patient();
    let other = holding();
    let proxy = in_front_of(&[slow.url(), other.url()], &SOON);
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    asked.wait();
    eventually("the second is asked", || other.requests().len() == 1);
    go_on.open();
    assert_eq!(client.response().text(), "last");
    assert_eq!(attempts(&logged(&proxy, 1)), words(&[("hedged", "hedged"), ("done", "")]));
    assert_eq!(hedges(&proxy), (1, 0));
}

/// Two origins that answer nobody; the gates open when their connections are given up.
fn two_that_hold() -> ([Origin; 2], [Gate; 2]) {
    let gates = [Gate::default(), Gate::default()];
    let origins = gates.clone().map(|gate| {
        Origin::start(move |peer| {
            peer.request()?;
            peer.hold()?; // not if they were kept too long
            gate.open();
            Ok(())
        })
    });
    (origins, gates)
}

#[test]
fn z17_a_client_that_leaves_takes_both_with_it() {
    for by_reset in [true, false] {
        let (origins, given_up) = two_that_hold();
        let proxy = in_front_of(&origins.each_ref().map(Origin::url), &SOON);
        let mut client = proxy.client();
        client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
        eventually("both are asked", || origins.iter().all(|one| one.requests().len() == 1));
        if by_reset {
            client.reset()
        } else {
            drop(client)
        }
        given_up.iter().for_each(Gate::wait);
        let line = logged(&proxy, 1);
        assert_eq!(line["status"], 499, "{line:#}");
        let last = attempts(&line).pop().unwrap();
        assert_eq!(last, ("client_gone".to_owned(), String::new()), "nothing was wrong there");
        assert_eq!(proxy.metric("/active"), 0);
    }
}

#[test]
fn z18_two_that_are_slow_are_one_that_is() {
    let (origins, given_up) = two_that_hold();
    let flags = ["--response-timeout", "500ms", "--max-retries", "1"];
    let proxy = in_front_of(&origins.each_ref().map(Origin::url), &[&SOON[..], &flags].concat());
    let started = Instant::now();
    assert_eq!(proxy.client().get("/").status, 504);
    let took = started.elapsed();
    assert!((500..2000).contains(&took.as_millis()), "{took:?}");
    given_up.iter().for_each(Gate::wait);
    assert_eq!(logged(&proxy, 1)["reason"], "response_timeout");
    assert!(origins.iter().all(|one| one.requests().len() == 1));
}

#[test]
fn z19_a_second_that_refuses_does_no_harm() {
    let (slow, asked, go_on) = Origin::patient();
    let refusing = Refusing::new();
    let proxy = in_front_of(&[slow.url(), refusing.url()], &SOON);
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    asked.wait();
    proxy.wait_for_log("upstream is down");
    go_on.open();
    assert_eq!(client.response().text(), "last");
    assert_eq!(hedges(&proxy), (0, 0));
    assert_eq!(slow.requests().len(), 1);
    let line = logged(&proxy, 1);
    assert_eq!(attempts(&line), words(&[("connect_refused", "hedged"), ("done", "")]), "{line:#}");
}

#[test]
fn z21_the_first_is_listened_to_while_the_second_is_connected_to() {
    let (slow, asked, go_on) = Origin::patient();
    let silent = Silent::new();
    let proxy = in_front_of(&[slow.url(), silent.url()], &["--hedge", "50ms"]);
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    asked.wait();
    eventually("the second is asked", || {
        proxy.metrics()["upstreams"][&silent.url()]["active"] == 1
    });
    let opened = Instant::now();
    go_on.open();
    assert_eq!(client.response().text(), "last");
    assert!(opened.elapsed() < Duration::from_secs(1), "{:?}", opened.elapsed());
    assert_eq!(attempts(&logged(&proxy, 1)), words(&[("done", "")]));
    assert_eq!(proxy.metrics()["upstreams"][&silent.url()]["active"], 0);
}

#[test]
fn z22_an_end_is_no_answer() {
    // Once it is asked it ends its side where `leaves` is open, and says so.
    let leaving = |leaves: &Gate, ended: &Gate| {
        let (leaves, ended) = (leaves.clone(), ended.clone());
        Origin::start(move |peer| {
            peer.request()?;
            leaves.wait();
            peer.finish_sending()?;
            ended.open();
            peer.hold()
        })
    };
    for is_first in [false, true] {
        let (slow, asked, go_on) = Origin::patient();
        let (leaves, ended) = (Gate::default(), Gate::default());
        let leaving = leaving(&leaves, &ended);
        let mut urls = [slow.url(), leaving.url()];
        if is_first {
            urls.reverse();
        }
        let proxy = in_front_of(&urls, &SOON);
        let mut client = proxy.client();
        client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
        asked.wait();
        eventually("both are asked", || hedges(&proxy) == (1, 0));
        leaves.open();
        ended.wait();
        // The core has heard of the end once it has answered what came after it.
        assert_eq!(proxy.client().send("BAD\r\n\r\n").response().status, 400);
        go_on.open();
        assert_eq!(client.response().text(), "last");
        let ends = [("upstream_closed", "hedged"), ("done", "")];
        assert_eq!(attempts(&logged(&proxy, 2)), words(&ends), "{is_first}");
    }
}

#[test]
fn z23_two_that_are_late_are_followed_by_a_third() {
    let (one, two, quick) = (holding(), holding(), Origin::named("quick"));
    let flags = ["--hedge", "50ms", "--try-timeout", "200ms", "--retry-on", "timeout"];
    let proxy = in_front_of(&[one.url(), two.url(), quick.url()], &flags);
    assert_eq!(proxy.client().get("/").text(), "quick");
    let late = "response_timeout";
    let line = logged(&proxy, 1);
    let expected = [(late, "hedged"), (late, "retried"), ("done", "")];
    assert_eq!(attempts(&line), words(&expected), "{line:#}");
}

#[test]
fn z24_where_there_is_no_other_nothing_is_retried() {
    let (refusing, silent) = (Refusing::new(), Silent::new());
    for (url, status, outcome) in
        [(refusing.url(), 503, "connect_refused"), (silent.url(), 504, "connect_timeout")]
    {
        let proxy = in_front_of(&[url], &["--connect-timeout", "100ms"]);
        assert_eq!(proxy.client().get("/").status, status);
        assert_eq!(attempts(&logged(&proxy, 1)), words(&[(outcome, "no_other")]));
        assert_eq!(proxy.metric("/retries"), 0);
    }
}

#[test]
fn z20_hedges_are_paid_for_from_the_budget() {
    let counted = AtomicUsize::new(0);
    let (slow, quick) = (holding(), Origin::named("quick"));
    let flags = ["--hedge", "10ms", "--retry-budget", "0%", "--response-timeout", "100ms"];
    let proxy = in_front_of(&[slow.url(), quick.url()], &flags);
    let started = Instant::now();
    thread::scope(|scope| {
        for _ in 0..40 {
            scope.spawn(|| {
                let status = proxy.client().get("/").status;
                assert!(matches!(status, 200 | 504), "{status}");
                counted.fetch_add(1, Relaxed);
            });
        }
    });
    let seconds = started.elapsed().as_secs() + 1;
    let (sent, _) = hedges(&proxy);
    assert!((10..=10 * (seconds + 1)).contains(&sent), "{sent} in {seconds} s");
    assert!(counted.load(Relaxed) == 40 && proxy.metric("/retries_refused") > 0);
}

#[test]
fn z25_an_answer_is_not_dropped_where_it_leaves_nobody_to_ask() {
    let origin = Origin::answering(BUSY);
    let flags = ["--retry-on", "503", "--breaker", "--breaker-failures", "1"];
    let proxy = in_front_of(&[origin.url()], &flags);
    let answer = proxy.client().get("/");
    assert_eq!((answer.status, &*answer.text()), (503, "busy"), "the upstream's own");
    assert_eq!(attempts(&logged(&proxy, 1)), words(&[("done", "no_other")]));
}
