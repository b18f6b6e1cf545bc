//! Upstreams that fail are left alone, and found again: breakers, and processes that die and hang.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::harness::{
    Backend, Client, Configured, Gate, Origin, Proxy, Refusing, eventually, page,
};

/// What every case of a breaker wants: one attempt for a request, and a line of log for each.
const ONCE: [&str; 5] = ["--breaker", "--max-retries", "0", "--access-log", "json"];

/// An origin that answers its name, or with another status than 200 nothing, and which status it is.
fn moody(name: &str, status: u16) -> (Origin, Arc<AtomicU16>) {
    let (name, status) = (name.to_owned(), Arc::new(AtomicU16::new(status)));
    let now = Arc::clone(&status);
    let origin = Origin::serving(move |_| {
        match now.load(Relaxed) {
            200 => format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{name}", name.len()),
            other => format!("HTTP/1.1 {other} Not So Well\r\nContent-Length: 0\r\n\r\n"),
        }
        .into_bytes()
    });
    (origin, status)
}

/// An origin that says goodbye after each answer, with its name.
fn relented(refusing: Refusing, name: &'static str) -> Origin {
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{name}", name.len());
    refusing.relent(move |peer| {
        loop {
            peer.answer(&answer)?;
        }
    })
}

/// What `/status` says of the breakers, in the order of the upstreams.
fn breakers(proxy: &Proxy) -> Vec<String> {
    let status = page(&proxy.ask("/status"));
    let upstreams = status["upstreams"].as_array().unwrap();
    upstreams.iter().map(|one| one["breaker"].as_str().unwrap().to_owned()).collect()
}

/// Waits until they stand so: what an answer says of its upstream is known once its client has it.
#[track_caller]
fn until(proxy: &Proxy, states: &[&str]) {
    eventually(&states.join(", "), || breakers(proxy) == states);
}

/// What the counters say of the upstream at `url`.
fn counter(proxy: &Proxy, url: &str, name: &str) -> u64 {
    let metrics = proxy.metrics();
    metrics["upstreams"][url][name].as_u64().unwrap_or_else(|| panic!("no {name}: {metrics:#}"))
}

fn statuses(client: &mut Client, n: usize) -> Vec<u16> {
    (0..n).map(|_| client.get("/").status).collect()
}

fn count(statuses: &[u16], status: u16) -> usize {
    statuses.iter().filter(|one| **one == status).count()
}

// ---- breakers ----

#[test]
fn x01_after_five_failures_there_are_no_more() {
    let (refusing, well) = (Refusing::new(), Origin::named("well"));
    let url = refusing.url();
    let flags = ["--upstream", &url, "--upstream", &well.url(), "--breaker-open", "1m"];
    let proxy = Proxy::start(&[&flags[..], &ONCE].concat());
    let mut client = proxy.client();
    let statuses = statuses(&mut client, 60);
    assert_eq!((count(&statuses, 503), count(&statuses, 200)), (5, 55), "{statuses:?}");
    assert!(statuses[10..].iter().all(|status| *status == 200), "{statuses:?}");
    assert_eq!(counter(&proxy, &url, "failures"), 5);
    until(&proxy, &["open", "closed"]);
    proxy.wait_for_log("circuit breaker opened: no requests for 1m");
    let told: Vec<_> = proxy.log().into_iter().filter(|line| line.contains("breaker")).collect();
    assert_eq!(told.len(), 1, "{told:#?}");
    for part in ["WARN", &url, "connect_refused"] {
        assert!(told[0].contains(part), "{part}: {told:?}");
    }
}

#[test]
fn x02_one_that_is_started_again_is_back_within_the_time_it_is_left_alone() {
    const OPEN: Duration = Duration::from_millis(500);
    let (refusing, well) = (Refusing::new(), Origin::named("well"));
    let url = refusing.url();
    let flags = ["--upstream", &url, "--upstream", &well.url(), "--breaker-open", "500ms"];
    let proxy = Proxy::start(&[&flags[..], &ONCE].concat());
    let mut client = proxy.client();
    assert_eq!(count(&statuses(&mut client, 10), 503), 5);
    let _origin = relented(refusing, "back");
    let started = Instant::now();
    eventually("it is back", || client.get("/").text() == "back");
    // As much again for a machine that is busy with other things.
    assert!(started.elapsed() < 2 * OPEN, "{:?}", started.elapsed());
    until(&proxy, &["closed", "closed"]);
    proxy.wait_for_log("circuit breaker closed: requests resume");
    let texts: Vec<_> = (0..20).map(|_| client.get("/").text()).collect();
    assert_eq!(texts.iter().filter(|text| *text == "back").count(), 10, "{texts:?}");
}

#[test]
fn x21_a_name_is_left_alone_as_long_as_an_address() {
    let refusing = Refusing::new();
    let url = refusing.url().replace("127.0.0.1", "localhost");
    for breaker in [&ONCE[..], &ONCE[1..]] {
        let open = ["--breaker-failures", "1", "--breaker-open", "1m"];
        let open = if breaker == ONCE { &open[..] } else { &[] };
        let well = Origin::named("well");
        let upstreams = ["--upstream", &url, "--upstream", &well.url()];
        let proxy = Proxy::start(&[&upstreams[..], breaker, open].concat());
        let mut client = proxy.client();
        // A second after a failure the name is looked up again, which tells nothing new.
        let end = Instant::now() + Duration::from_millis(3500);
        let mut statuses = Vec::new();
        while Instant::now() < end {
            statuses.push(client.get("/").status);
            thread::sleep(Duration::from_millis(20));
        }
        // By itself it is tried after 1 s, and 2 s after that.
        let failures = if breaker == ONCE { 1 } else { 3 };
        let failed = count(&statuses, 503);
        assert!((1..=failures).contains(&failed), "{failed} of {}", statuses.len());
        assert!(counter(&proxy, &url, "connect_failures") <= failures as u64);
        let shown = if breaker == ONCE { "open" } else { "closed" };
        assert_eq!(breakers(&proxy), [shown, "closed"]);
    }
}

#[test]
fn x20_where_connections_alone_count_one_that_is_made_closes_it() {
    let refusing = Refusing::new();
    let url = refusing.url();
    let breaker = ["--breaker-on", "connect", "--breaker-failures", "1", "--breaker-open", "100ms"];
    let proxy = Proxy::start(&[&["--upstream", &url][..], &breaker, &ONCE].concat());
    assert_eq!(proxy.client().get("/").status, 503);
    proxy.wait_for_log("breaker open");
    let _well = relented(refusing, "well");
    eventually("it is asked again", || proxy.client().get("/").status == 200);
    proxy.wait_for_log("breaker closed");
    until(&proxy, &["closed"]);
}

#[test]
fn x03_one_that_stays_away_costs_one_attempt_each_time() {
    const OPEN: Duration = Duration::from_millis(150);
    let (refusing, well) = (Refusing::new(), Origin::named("well"));
    let url = refusing.url();
    let flags = ["--upstream", &url, "--upstream", &well.url(), "--breaker-open", "150ms"];
    let proxy = Proxy::start(&[&flags[..], &ONCE].concat());
    let mut client = proxy.client();
    assert_eq!(count(&statuses(&mut client, 10), 503), 5);
    let (started, mut failed) = (Instant::now(), 0);
    while failed < 4 {
        failed += u32::from(client.get("/").status == 503);
        // Twice what it takes; were it left alone for longer each time, that would not do.
        assert!(started.elapsed() < 2 * 4 * OPEN, "{failed} attempts");
    }
    // The first time began with the last of the five.
    assert!(started.elapsed() >= 3 * OPEN, "{:?}", started.elapsed());
}

#[test]
fn x04_when_all_are_left_alone_the_answer_says_how_long() {
    let refusing = [Refusing::new(), Refusing::new()];
    let urls = refusing.each_ref().map(Refusing::url);
    let flags = ["--upstream", &urls[0], "--upstream", &urls[1], "--breaker-open", "1m"];
    let proxy = Proxy::start(&[&flags[..], &ONCE].concat());
    let mut client = proxy.client();
    assert_eq!(count(&statuses(&mut client, 10), 503), 10);
    until(&proxy, &["open", "open"]);
    let answer = client.get("/");
    assert_eq!(answer.status, 503);
    let seconds: u32 = answer.get("Retry-After").expect("how long").parse().expect("seconds");
    assert!((1..=60).contains(&seconds) && seconds > 50, "{seconds}");
    let status = answer.get("Proxy-Status").expect("RFC 9209");
    assert!(status.contains("destination_unavailable"), "{status}");
    let lines = proxy.access_log(11);
    let reason = |line: &String| serde_json::from_str::<Value>(line).unwrap()["reason"].clone();
    assert!(lines[..10].iter().all(|line| reason(line) == "no_upstream"), "{lines:#?}");
    let last: Value = serde_json::from_str(&lines[10]).unwrap();
    assert_eq!((&last["reason"], &last["attempts"]), (&json!("circuit_open"), &json!([])));
    assert_eq!(urls.each_ref().map(|url| counter(&proxy, url, "failures")), [5, 5]);
}

#[test]
fn x05_where_it_is_wanted_all_are_asked_rather_than_none() {
    let refusing = [Refusing::new(), Refusing::new()];
    let urls = refusing.each_ref().map(Refusing::url);
    let flags = ["--upstream", &urls[0], "--upstream", &urls[1], "--breaker-open", "1m"];
    let proxy = Proxy::start(&[&flags[..], &ONCE, &["--breaker-fail-open"]].concat());
    let mut client = proxy.client();
    assert_eq!(count(&statuses(&mut client, 10), 503), 10);
    until(&proxy, &["open", "open"]);
    assert_eq!(client.get("/").status, 503);
    let failures = urls.iter().map(|url| counter(&proxy, url, "failures")).sum::<u64>();
    assert_eq!(failures, 11, "it was tried");
    let _origins = refusing.map(|one| relented(one, "back"));
    assert_eq!(client.get("/").text(), "back");
    assert_eq!(client.get("/").text(), "back");
    eventually("it works again", || breakers(&proxy).contains(&"closed".to_owned()));
}

#[test]
fn x06_no_more_than_so_many_find_out_at_a_time() {
    let (gate, now, most) = (Gate::default(), Arc::new(AtomicUsize::new(0)), AtomicUsize::new(0));
    let (held, under_way, most) = (gate.clone(), now.clone(), Arc::new(most));
    let seen = most.clone();
    let first = AtomicBool::new(true);
    let origin = Origin::serving(move |_| {
        if first.swap(false, Relaxed) {
            return b"HTTP/1.1 503 Not Now\r\nContent-Length: 0\r\n\r\n".to_vec();
        }
        seen.fetch_max(under_way.fetch_add(1, Relaxed) + 1, Relaxed);
        held.wait();
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1".to_vec()
    });
    let breaker = ["--breaker-failures", "1", "--breaker-open", "50ms", "--breaker-probes", "3"];
    let proxy = Proxy::with(&origin, &[&ONCE[..], &breaker, &["--workers", "2"]].concat());
    assert_eq!(proxy.client().get("/").status, 503);
    until(&proxy, &["open"]);
    let refused = Arc::new(AtomicUsize::new(0));
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let (mut client, refused) = (proxy.client(), refused.clone());
            thread::spawn(move || {
                while client.get("/").status != 200 {
                    refused.fetch_add(1, Relaxed);
                }
            })
        })
        .collect();
    eventually("as many as may", || now.load(Relaxed) == 3);
    until(&proxy, &["half_open"]);
    let before = refused.load(Relaxed);
    eventually("the others are refused", || refused.load(Relaxed) > before + 100);
    assert_eq!(most.load(Relaxed), 3);
    gate.open();
    clients.into_iter().for_each(|client| client.join().unwrap());
    until(&proxy, &["closed"]);
}

#[test]
fn x12_a_slow_client_keeps_nobody_from_an_upstream_that_is_well_again() {
    let (origin, status) = moody("well", 500);
    let breaker = ["--breaker-failures", "1", "--breaker-open", "100ms", "--read-timeout", "1m"];
    let proxy = Proxy::with(&origin, &[&ONCE[..], &breaker].concat());
    assert_eq!(proxy.client().get("/").status, 500);
    until(&proxy, &["open"]);
    status.store(200, Relaxed);
    let begun = "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\n1";
    // Until one of them is let through, it is refused: others come first.
    let mut slow = proxy.client();
    eventually("it finds out", || {
        slow = proxy.client();
        slow.send(begun);
        breakers(&proxy) == ["half_open"]
    });
    let mut client = proxy.client();
    eventually("it is forgotten", || client.get("/").status == 200);
    until(&proxy, &["closed"]);
    drop(slow);
}

#[test]
fn x07_half_of_a_pool_is_never_left_alone_unless_all_fail() {
    let four = ["a", "b", "c", "d"].map(|name| moody(name, if name == "d" { 200 } else { 503 }));
    let urls = four.each_ref().map(|(origin, _)| origin.url());
    let mut flags = vec!["--breaker-failures", "2", "--breaker-open", "1m"];
    urls.iter().for_each(|url| flags.extend(["--upstream", url]));
    let proxy = Proxy::start(&[&ONCE[..], &flags].concat());
    let mut client = proxy.client();
    let statuses_before = statuses(&mut client, 40);
    let open = || breakers(&proxy).iter().filter(|state| *state == "open").count();
    eventually("two are left alone", || open() == 2);
    let failed = count(&statuses_before[20..], 503);
    assert!((8..=12).contains(&failed), "one that fails stays in use: {statuses_before:?}");
    four[3].1.store(503, Relaxed);
    assert_eq!(count(&statuses(&mut client, 20), 503), 20);
    until(&proxy, &["open"; 4]);
    assert!(client.get("/").get("Retry-After").is_some());
}

#[test]
fn x07b_when_all_that_come_first_fail_the_backup_is_asked() {
    let two = ["a", "b"].map(|name| moody(name, 503));
    let urls = two.each_ref().map(|(origin, _)| origin.url());
    let backup = Origin::named("backup");
    let mut flags = vec!["--breaker-failures", "2", "--breaker-open", "1m"];
    urls.iter().for_each(|url| flags.extend(["--upstream", url]));
    let last = format!("{} backup=true", backup.url());
    flags.extend(["--upstream", &last]);
    let proxy = Proxy::start(&[&ONCE[..], &flags].concat());
    let statuses = statuses(&mut proxy.client(), 40);
    assert_eq!((count(&statuses, 503), count(&statuses, 200)), (4, 36), "{statuses:?}");
    until(&proxy, &["open", "open", "closed"]);
}

#[test]
fn x08_what_counts_as_a_failure_is_what_was_said() {
    let (origin, status) = moody("a", 503);
    let breaker = ["--breaker-failures", "1", "--breaker-open", "1m"];
    for (on, answered, state) in [
        ("connect", 503, "closed"),
        ("5xx", 503, "open"),
        ("502-504", 503, "open"),
        ("502-504", 500, "closed"),
        ("connect,timeout,closed,5xx", 404, "closed"),
    ] {
        status.store(answered, Relaxed);
        let proxy = Proxy::with(&origin, &[&ONCE[..], &breaker, &["--breaker-on", on]].concat());
        let mut client = proxy.client();
        assert_eq!(client.get("/").status, answered);
        // What the first answer says is known when there is a second.
        client.get("/");
        assert_eq!(breakers(&proxy), [state], "{on}: {answered}");
    }
}

#[test]
fn x09_where_it_stands_is_shown_everywhere_the_same() {
    let (asked, go_on) = (Gate::default(), Gate::default());
    let gates = (asked.clone(), go_on.clone());
    let origin = Origin::start(move |peer| {
        peer.answer("HTTP/1.1 500 Broken\r\nContent-Length: 0\r\n\r\n")?;
        loop {
            peer.request()?;
            gates.0.open();
            gates.1.wait();
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1")?;
        }
    });
    let breaker = ["--breaker-failures", "1", "--breaker-open", "300ms"];
    let proxy = Proxy::with(&origin, &[&ONCE[..], &breaker].concat());
    let shown = || {
        let line = format!("tidegate_upstream_breaker_open{{upstream=\"{}\"}} ", origin.url());
        let text = proxy.ask("/metrics?format=prometheus").text();
        let open = text.lines().find_map(|one| one.strip_prefix(&line).map(str::to_owned));
        (breakers(&proxy).remove(0), open.expect("a sample"))
    };
    let is = |state: &str, open: &str| (state.to_owned(), open.to_owned());
    assert_eq!(shown(), is("closed", "0"));
    assert_eq!(proxy.client().get("/").status, 500);
    eventually("it is open", || shown() == is("open", "1"));
    proxy.wait_for_log("reason=\"status\" status=500");
    thread::scope(|scope| {
        let trial = scope.spawn(|| {
            let mut client = proxy.client();
            eventually("a trial", || client.get("/").status == 200);
        });
        asked.wait();
        assert_eq!(shown(), is("half_open", "0"));
        go_on.open();
        trial.join().unwrap();
    });
    eventually("it is closed", || shown() == is("closed", "0"));
}

// ---- processes ----

#[test]
fn x10_a_process_that_is_killed_costs_no_answer() {
    let (dies, stays) = (Backend::start(&[]), Backend::start(&[]));
    let flags = ["--upstream", &dies.url, "--upstream", &stays.url, "--workers", "2"];
    let proxy = Proxy::start(&flags);
    let answered = AtomicUsize::new(0);
    thread::scope(|scope| {
        let client = || {
            let mut client = proxy.client();
            for _ in 0..150 {
                assert_eq!(client.get("/").status, 200);
                answered.fetch_add(1, Relaxed);
            }
        };
        let clients: Vec<_> = (0..4).map(|_| scope.spawn(client)).collect();
        eventually("requests are under way", || answered.load(Relaxed) >= 100);
        dies.kill();
        assert!(answered.load(Relaxed) < 600, "it was killed too late to say anything");
        clients.into_iter().for_each(|client| client.join().unwrap());
    });
    assert_eq!(proxy.metric("/errors"), 0);
}

/// A process that answers everything, and writes down what it was asked.
fn witness() -> (Configured, String) {
    let process = Configured::new("[[route]]\nrespond = 'seen'\n", &["--access-log", "json"]);
    let url = format!("http://{}", process.proxy.address);
    (process, url)
}

#[test]
fn x11_a_process_that_hangs_is_found_and_no_post_arrives_twice() {
    const INTERVAL: Duration = Duration::from_millis(200);
    const TIMEOUT: Duration = Duration::from_millis(300);
    const FALL: u32 = 2;
    let [(hangs, url), (stays, other)] = [witness(), witness()];
    let flags = ["--upstream", &url, "--upstream", &other, "--response-timeout", "400ms"];
    let health = ["--health-interval", "200ms", "--health-timeout", "300ms", "--health-fall", "2"];
    // As much is sent again as may be.
    let retries = ["--retry-on", "connect,closed,timeout,5xx", "--retry-budget", "100%"];
    let proxy = Proxy::start(&[&flags[..], &health, &["--health-rise", "2"], &retries].concat());
    let state = || page(&proxy.ask("/status"))["upstreams"][0]["state"].clone();
    let checks = || counter_of_checks(&proxy, &url);
    eventually("it is up", || state() == "up");
    let mut posts = 0;
    let mut client = proxy.client();
    let mut post = || {
        posts += 1;
        client.send(format!("POST /{posts} HTTP/1.1\r\nHost: test\r\nContent-Length: 2\r\n\r\nhi"));
        client.response().status
    };
    (0..4).for_each(|_| assert_eq!(post(), 200));
    hangs.proxy.signal(Signal::STOP);
    let stopped = Instant::now();
    let mut slow = 0;
    while state() != "down" {
        let status = post();
        assert!(matches!(status, 200 | 504), "{status}");
        slow += u32::from(status == 504);
        // What is promised, and as much again for a busy machine.
        assert!(stopped.elapsed() < 2 * (FALL * INTERVAL + TIMEOUT) + INTERVAL, "{slow} were slow");
    }
    (0..20).for_each(|_| assert_eq!(post(), 200));
    let well = checks();
    hangs.proxy.signal(Signal::CONT);
    eventually("it is up again", || state() == "up");
    assert!(checks() >= well + 2, "after so many checks as were asked for");
    (0..4).for_each(|_| assert_eq!(post(), 200));
    let mut seen: HashMap<String, u32> = HashMap::new();
    for process in [&hangs, &stays] {
        for line in process.proxy.access_log(1) {
            let line: Value = serde_json::from_str(&line).unwrap();
            if line["method"] == "POST" {
                *seen.entry(line["path"].to_string()).or_default() += 1;
            }
        }
    }
    assert!(seen.values().all(|times| *times == 1), "{seen:?}");
    assert!(seen.len() as u32 + slow >= posts, "{seen:?}");
}

/// How many checks of the upstream at `url` found it well.
fn counter_of_checks(proxy: &Proxy, url: &str) -> u64 {
    proxy.metrics()["upstreams"][url]["health_checks"]["ok"].as_u64().unwrap_or_default()
}
