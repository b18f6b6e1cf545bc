//! Other settings while it runs: all of them or nothing, and nobody who is served notices.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::thread;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::harness::{Client, Configured, Origin, Proxy, Scratch, eventually, page, run};

const GET: &str = "GET / HTTP/1.1\r\nHost: test\r\n\r\n";

fn to(origins: &[&Origin]) -> String {
    let urls: Vec<String> = origins.iter().map(|origin| format!("'{}'", origin.url())).collect();
    format!("upstream = [{}]\n", urls.join(", "))
}

#[test]
fn t01_a_reload_takes_effect_before_it_is_answered_and_keeps_connections() {
    let (a, b) = (Origin::named("a"), Origin::named("b"));
    let case = Configured::new(&to(&[&a]), &["--workers", "2"]);
    let mut clients: Vec<Client> = (0..8).map(|_| case.proxy.client()).collect();
    clients.iter_mut().for_each(|client| assert_eq!(client.get("/").text(), "a"));
    let answer = case.reload(&to(&[&b]));
    assert_eq!(answer.status, 200, "{}", answer.text());
    let change = format!("upstream: {}, which was {}", b.url(), a.url());
    let told = json!({ "changed": [change], "needs_new_process": [], "warnings": [] });
    assert_eq!(page(&answer), told);
    clients.iter_mut().for_each(|client| assert_eq!(client.get("/").text(), "b"));
    case.proxy.wait_for_log(&change);
    let upstreams = page(&case.proxy.ask("/status"))["upstreams"].clone();
    assert_eq!((&upstreams[0]["url"], upstreams.as_array().unwrap().len()), (&json!(b.url()), 1));
}

#[test]
fn t02_a_mistake_changes_nothing_and_is_told_where_it_is() {
    let (a, b) = (Origin::named("a"), Origin::named("b"));
    let case = Configured::new(&to(&[&a]), &[]);
    let successful = || case.proxy.metrics()["config"]["last_reload_successful"].clone();
    assert_eq!(successful(), 1);
    let refused = case.reload(&format!("{}red-timeout = '5s'\nread-timeout = '5'\n", to(&[&b])));
    assert_eq!(refused.status, 400);
    let error = page(&refused)["error"].clone();
    assert_eq!(error["code"], "mistakes");
    let text = error["text"].as_str().unwrap();
    for part in ["tidegate.toml:2:1", "did you mean read-timeout?", "^^^", "tidegate.toml:3:17"] {
        assert!(text.contains(part), "no {part} in {text}");
    }
    assert!(!text.contains("not started"), "{text}");
    case.proxy.wait_for_log("not reloaded: 2 mistakes in the settings; the old ones stay in force");
    assert_eq!((case.proxy.client().get("/").text(), successful()), ("a".into(), json!(0)));
    assert_eq!(case.reload(&to(&[&b])).status, 200);
    assert_eq!((case.proxy.client().get("/").text(), successful()), ("b".into(), json!(1)));
}

#[test]
fn t03_a_hang_up_signal_reloads() {
    let (a, b) = (Origin::named("a"), Origin::named("b"));
    let case = Configured::new(&to(&[&a]), &[]);
    fs::write(&case.path, to(&[&b])).unwrap();
    case.proxy.signal(Signal::HUP);
    case.proxy.wait_for_log("reloaded: upstream");
    assert_eq!(case.proxy.client().get("/").text(), "b");
    case.proxy.signal(Signal::HUP);
    case.proxy.wait_for_log("reloaded: nothing has changed");
    fs::remove_file(&case.path).unwrap();
    case.proxy.signal(Signal::HUP);
    case.proxy.wait_for_log("not reloaded: 1 mistake");
    assert_eq!(case.proxy.client().get("/").text(), "b");
}

#[test]
fn t04_the_command_waits_and_tells_what_came_of_it() {
    let (a, b) = (Origin::named("a"), Origin::named("b"));
    let case = Configured::new(&to(&[&a]), &[]);
    let admin = case.proxy.admin.clone();
    let reload = |text: &str| {
        fs::write(&case.path, text).unwrap();
        run(&["reload", "--admin", &admin], &[])
    };
    let done = reload(&to(&[&b]));
    assert_eq!((done.code, done.stderr.as_str()), (Some(0), ""));
    assert_eq!(done.stdout, format!("reloaded\n  upstream: {}, which was {}", b.url(), a.url()));
    assert_eq!(case.proxy.client().get("/").text(), "b");
    let refused = reload("upstream = 'a:1\n");
    assert_eq!((refused.code, refused.stdout.as_str()), (Some(1), ""));
    let last = "tidegate: not reloaded: ";
    assert!(refused.stderr.contains(last) && refused.stderr.contains('^'), "{}", refused.stderr);
    for (flags, told) in [
        (&["reload", "--admin", "127.0.0.1:1"][..], "nobody answers at --admin 127.0.0.1:1"),
        (&["reload", "--admin", "off"], "the admin is off"),
        (&["reload", "--admin", ":0"], "names no port"),
    ] {
        let failed = run(flags, &[]);
        assert_eq!((failed.code, failed.stdout.as_str()), (Some(1), ""), "{flags:?}");
        assert!(failed.stderr.contains(told), "{}", failed.stderr);
    }
    assert_eq!(run(&["reload", "--admin", "x y"], &[]).code, Some(2));
    // A mistake in a file is for the running one to tell; here it would only be in the way.
    fs::write(&case.path, "upstream = 'a:1\n").unwrap();
    let by_flag = run(&["drain", &b.url(), "--admin", &admin, "--config", &case.path], &[]);
    assert_eq!(by_flag.code, Some(0), "{}", by_flag.stderr);
    let hidden = run(&["drain", &b.url(), "--config", &case.path], &[]);
    assert_eq!(hidden.code, Some(1));
    assert!(
        hidden.stderr.contains("tidegate: 1 mistake, and so nobody was asked"),
        "{}",
        hidden.stderr
    );
    fs::write(&case.path, format!("{}admin = '{admin}'\nred = 1\n", to(&[&a]))).unwrap();
    let told = run(&["reload", "--config", &case.path], &[]);
    assert!(told.stderr.contains("tidegate: not reloaded: 1 mistake"), "{}", told.stderr);
    // The file that it goes by names the admin, too.
    fs::write(&case.path, format!("{}admin = '{admin}'\n", to(&[&a]))).unwrap();
    let by_file = run(&["reload", "--config", &case.path], &[]);
    assert_eq!(by_file.code, Some(0), "{}", by_file.stderr);
}

#[test]
fn t05_what_is_under_way_ends_under_the_plan_it_began_with() {
    let (slow, asked, go_on) = Origin::patient();
    let chat = Origin::chatting();
    let other = Origin::named("b");
    let case = Configured::new(&to(&[&chat]), &[]);
    let mut socket = case.proxy.client();
    socket.send(
        "GET / HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    );
    assert_eq!(socket.response().status, 101);
    assert_eq!(case.reload(&to(&[&slow])).status, 200);
    let mut under_way = case.proxy.client();
    under_way.send(GET);
    asked.wait();
    assert_eq!(case.reload(&to(&[&other])).status, 200);
    assert_eq!(case.proxy.client().get("/").text(), "b");
    socket.send("x");
    assert_eq!(socket.exactly(1), b"x");
    go_on.open();
    assert_eq!(under_way.response().text(), "last");
    assert_eq!(under_way.get("/").text(), "b");
}

#[test]
fn t06_an_upstream_that_stays_keeps_its_connections_and_counters() {
    let (a, b) = (Origin::named("a"), Origin::named("b"));
    let case = Configured::new(&to(&[&a]), &[]);
    let mut client = case.proxy.client();
    client.get("/");
    eventually("idle", || case.proxy.metric_of(&a, "idle") == 1);
    case.reload(&to(&[&b, &a]));
    let answers: Vec<String> = (0..4).map(|_| client.get("/").text()).collect();
    assert_eq!(answers.iter().filter(|answer| *answer == "a").count(), 2);
    eventually("counted", || case.proxy.metric_of(&a, "requests") == 3);
    assert_eq!(a.connections(), 1);
}

#[test]
fn t07_what_a_process_keeps_is_named_and_the_rest_in_force() {
    let origin = Origin::named("a");
    let case = Configured::new(&to(&[&origin]), &["--admin", "127.0.0.1:0"]);
    let text = format!("{}buffers = 99\nbackend-header = true\nlog = 'debug'\n", to(&[&origin]));
    let answer = page(&case.reload(&text));
    assert_eq!(answer["changed"], json!(["backend-header: on, which was off"]));
    let later = answer["needs_new_process"].as_array().unwrap();
    assert_eq!(later.len(), 2, "{answer}");
    assert!(later[0].as_str().unwrap().starts_with("buffers: 99, which was "), "{answer}");
    case.proxy.wait_for_log("not in force until a new process begins (SIGUSR2): log: debug");
    assert!(case.proxy.client().get("/").get("X-Backend-Server").is_some());
    let config = page(&case.proxy.ask("/config"));
    assert_eq!((&config["log"], &config["headers"]["backend"]), (&json!("info"), &json!(true)));
}

#[test]
fn t08_trust_in_a_client_follows_the_plan_on_a_connection_that_is_kept() {
    let origin = Origin::serving(|request| {
        let seen = request.head.get("X-Forwarded-For").unwrap_or_default().to_owned();
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{seen}", seen.len()).into_bytes()
    });
    let trusting = format!("{}trusted-proxy = '127.0.0.0/8'\n", to(&[&origin]));
    let case = Configured::new(&trusting, &[]);
    let mut client = case.proxy.client();
    let mut seen = || {
        client.send("GET / HTTP/1.1\r\nHost: test\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n");
        client.response().text()
    };
    assert_eq!(seen(), "192.0.2.1, 127.0.0.1");
    assert_eq!(case.reload(&to(&[&origin])).status, 200);
    assert_eq!(seen(), "127.0.0.1");
    assert_eq!(case.reload(&trusting).status, 200);
    assert_eq!(seen(), "192.0.2.1, 127.0.0.1");
}

#[test]
fn t09_an_upstream_known_by_name_is_found_before_anybody_is_sent_there() {
    let (a, b) = (Origin::named("a"), Origin::named("b"));
    let case = Configured::new(&to(&[&a]), &["--max-retries", "0"]);
    let (_, port) = b.address().rsplit_once(':').unwrap();
    let answer = case.reload(&format!("upstream = 'http://localhost:{port}'\n"));
    assert_eq!(answer.status, 200);
    assert_eq!(case.proxy.client().get("/").text(), "b");
}

#[test]
fn t10_only_who_is_here_and_speaks_json_changes_anything() {
    let (a, b) = (Origin::named("a"), Origin::named("b"));
    let case = Configured::new(&to(&[&a]), &[]);
    fs::write(&case.path, to(&[&b])).unwrap();
    let asked = |head: &str| {
        let mut client = Client::to(&case.proxy.admin);
        client.send(format!("{head}\r\nConnection: close\r\n\r\n"));
        client.response().status
    };
    let admin = &case.proxy.admin;
    assert_eq!(asked(&format!("GET /reload HTTP/1.1\r\nHost: {admin}")), 405);
    assert_eq!(asked(&format!("POST /reload HTTP/1.1\r\nHost: {admin}")), 415);
    let form = "Content-Type: application/x-www-form-urlencoded";
    assert_eq!(asked(&format!("POST /reload HTTP/1.1\r\nHost: {admin}\r\n{form}")), 415);
    let both = "Content-Type: application/json\r\nContent-Type: text/plain";
    assert_eq!(asked(&format!("POST /reload HTTP/1.1\r\nHost: {admin}\r\n{both}")), 415);
    let rebound = "POST /reload HTTP/1.1\r\nHost: evil.example\r\nContent-Type: application/json";
    assert_eq!(asked(rebound), 421);
    assert_eq!(case.proxy.client().get("/").text(), "a");
    let open = Configured::new(&to(&[&a]), &["--admin", "0.0.0.0:0"]);
    fs::write(&open.path, to(&[&b])).unwrap();
    let (_, port) = open.proxy.admin.rsplit_once(':').unwrap();
    let mut client = Client::to(&format!("127.0.0.1:{port}"));
    client.send(format!(
        "POST /reload HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n\r\n"
    ));
    let refused = client.response();
    assert_eq!((refused.status, &page(&refused)["error"]["code"]), (403, &json!("not_local")));
    assert_eq!(open.proxy.client().get("/").text(), "a");
}

#[test]
fn t11_reload_after_reload_under_load_loses_no_request() {
    let (a, b) = (Origin::named("a"), Origin::named("b"));
    let case = Configured::new(&to(&[&a]), &["--workers", "2"]);
    let (over, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (over, served) = (over.clone(), served.clone());
            let mut client = case.proxy.client();
            thread::spawn(move || {
                while !over.load(Relaxed) {
                    let answer = client.get("/");
                    assert_eq!(answer.status, 200, "{}", answer.text());
                    served.fetch_add(1, Relaxed);
                }
            })
        })
        .collect();
    for turn in 0..40 {
        let origins = [vec![&a], vec![&b], vec![&a, &b], vec![&b, &a]];
        let before = served.load(Relaxed);
        assert_eq!(case.reload(&to(&origins[turn % 4])).status, 200);
        eventually("requests go on", || served.load(Relaxed) > before + 8);
    }
    over.store(true, Relaxed);
    clients.into_iter().for_each(|client| client.join().expect("no request failed"));
    assert_eq!(case.proxy.stop().code, Some(0));
}

#[test]
fn t12_nothing_is_changed_any_more_while_it_ends() {
    let (slow, asked, go_on) = Origin::patient();
    let case = Configured::new(&to(&[&slow]), &[]);
    let mut client = case.proxy.client();
    client.send(GET);
    asked.wait();
    case.proxy.signal(Signal::TERM);
    case.proxy.wait_for_log("draining");
    let refused = case.proxy.post("/reload", "{}");
    assert_eq!((refused.status, &page(&refused)["error"]["code"]), (503, &json!("ending")));
    go_on.open();
    assert_eq!(client.response().text(), "last");
}

#[test]
fn t13_upstreams_come_and_go_at_run_time() {
    let (a, b) = (Origin::named("a"), Origin::named("b"));
    let case = Configured::new(&to(&[&a]), &["--workers", "2"]);
    let proxy = &case.proxy;
    let change = |path: &str, origin: &Origin| {
        let answer = proxy.post(path, &json!({ "url": origin.url() }).to_string());
        assert_eq!(answer.status, 200, "{}", answer.text());
        page(&answer)
    };
    let served = || -> String {
        let mut client = proxy.client();
        let mut all: Vec<String> = (0..6).map(|_| client.get("/").text()).collect();
        all.sort();
        all.dedup();
        all.concat()
    };
    let added = change("/add", &b);
    assert_eq!((&added["changed"], &added["kept"]), (&json!(true), &json!(false)));
    let told = &added["upstreams"][1];
    assert_eq!((&told["url"], &told["draining"]), (&json!(b.url()), &json!(false)));
    assert_eq!((&told["pool"], &told["weight"]), (&json!("default"), &json!(1)));
    assert_eq!(served(), "ab");
    assert_eq!(change("/add", &b)["changed"], false);
    change("/drain", &a);
    assert_eq!(served(), "b");
    let status = page(&proxy.ask("/status"))["upstreams"].clone();
    assert_eq!((&status[0]["state"], &status[1]["state"]), (&json!("draining"), &json!("up")));
    change("/undrain", &a);
    assert_eq!(served(), "ab");
    change("/remove", &a);
    assert_eq!(served(), "b");
    let last = proxy.post("/remove", &json!({ "url": b.url() }).to_string());
    assert_eq!((last.status, &page(&last)["error"]["code"]), (400, &json!("upstream")));
    assert_eq!(served(), "b");
    // What was changed holds over a reload, until the file has made it meaningless.
    assert_eq!(page(&case.reload(&to(&[&a])))["warnings"], json!([]));
    assert_eq!(served(), "b");
    let told = page(&case.reload(&to(&[&a, &b])))["warnings"].clone();
    let added = format!("{} was added at run time, and the files name it now", b.url());
    assert_eq!(told, json!([added]));
    assert_eq!(served(), "b", "the other is removed still");
}

#[test]
fn t14_a_drained_upstream_finishes_what_it_has_and_all_may_be_drained() {
    let (slow, asked, go_on) = Origin::patient();
    let case = Configured::new(&to(&[&slow]), &[]);
    let mut client = case.proxy.client();
    client.send(GET);
    asked.wait();
    assert_eq!(run(&["drain", &slow.url(), "--admin", &case.proxy.admin], &[]).code, Some(0));
    assert_eq!(case.proxy.client().get("/").status, 503);
    go_on.open();
    assert_eq!(client.response().text(), "last");
    assert_eq!(run(&["undrain", &slow.url(), "--admin", &case.proxy.admin], &[]).code, Some(0));
    assert_eq!(case.proxy.client().get("/").text(), "last");
}

#[test]
fn t15_changes_are_kept_over_a_restart_and_a_damaged_file_stops_nobody() {
    let (a, b, scratch) = (Origin::named("a"), Origin::named("b"), Scratch::new());
    let state = scratch.join("state");
    let url = a.url();
    let flags = ["--upstream", url.as_str(), "--state", state.as_str()];
    let all = |proxy: &Proxy| -> Vec<String> {
        let upstreams = page(&proxy.ask("/status"))["upstreams"].clone();
        let shown = |one: &Value| format!("{} {}", one["url"], one["state"]).replace('"', "");
        upstreams.as_array().unwrap().iter().map(shown).collect()
    };
    let proxy = Proxy::start(&flags);
    let admin = proxy.admin.clone();
    let done = run(&["add", &b.url(), "--admin", &admin], &[]);
    assert_eq!(done.stdout, format!("changed\n  {}\n  {}", a.url(), b.url()));
    run(&["drain", &a.url(), "--admin", &admin], &[]);
    proxy.stop();
    let mut proxy = Proxy::start(&flags);
    let kept = [format!("{} draining", a.url()), format!("{} unknown", b.url())];
    assert_eq!(all(&proxy), kept);
    proxy.upgrade();
    assert_eq!(all(&proxy), kept, "and over an upgrade");
    assert_eq!(proxy.client().get("/").text(), "b");
    proxy.stop();
    let file = format!("{state}/upstreams.json");
    fs::write(&file, "{\"version\":1,\"upstreams\":[{\"url\":").unwrap();
    let proxy = Proxy::start(&flags);
    proxy.wait_for_log("cannot read the changes made at run time");
    assert_eq!(proxy.client().get("/").text(), "a");
    assert!(fs::exists(format!("{file}.damaged")).unwrap());
    let refused = run(
        &["--upstream", &url, "--listen", "127.0.0.1:0", "--admin", "off", "--state", "/proc/none"],
        &[],
    );
    assert_eq!(refused.code, Some(1));
    assert!(refused.stderr.contains("(--state)"), "{}", refused.stderr);
}

#[test]
fn t16_an_order_that_makes_no_sense_changes_nothing_and_says_why() {
    let a = Origin::named("a");
    let case = Configured::new(&to(&[&a]), &[]);
    for (path, body, status, code) in [
        ("/add", "{\"url\":\"ftp://b:1\"}", 400, "upstream"),
        ("/add", "{\"url\":\"\"}", 400, "upstream"),
        ("/drain", "{\"url\":\"http://b:1\"}", 400, "upstream"),
        ("/add", "{\"uri\":\"http://b:1\"}", 400, "body"),
        ("/add", "http://b:1", 400, "body"),
    ] {
        let answer = case.proxy.post(path, body);
        assert_eq!(
            (answer.status, &page(&answer)["error"]["code"]),
            (status, &json!(code)),
            "{body}"
        );
    }
    assert_eq!(page(&case.proxy.ask("/status"))["upstreams"].as_array().unwrap().len(), 1);
    let admin = &case.proxy.admin;
    let refused = run(&["drain", "http://b:1", "--admin", admin], &[]);
    assert_eq!((refused.code, refused.stdout.as_str()), (Some(1), ""));
    let words = "tidegate: there is no upstream http://b:1; /status lists those there are";
    assert_eq!(refused.stderr, words);
    for (words, told) in [
        (&["add"][..], "\"add\" needs the URL of an upstream"),
        (&["add", "a:1", "b:1"], "\"b:1\" is not a command"),
        (&["remove", "--admin", ":1"], "write tidegate remove http://127.0.0.1:9001"),
    ] {
        let refused = run(words, &[]);
        assert_eq!(refused.code, Some(2), "{}", refused.stdout);
        assert!(refused.stderr.contains(told), "{words:?}: {}", refused.stderr);
    }
}

#[test]
fn t17_ten_thousand_upstreams_in_one_line_cost_little() {
    let a = Origin::named("a");
    let case = Configured::new(&to(&[&a]), &["--workers", "2"]);
    let peak = || {
        let status = fs::read_to_string(format!("/proc/{}/status", case.proxy.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
        let digits: String = line.chars().filter(char::is_ascii_digit).collect();
        digits.parse::<u64>().unwrap()
    };
    let before = peak();
    // One that answers, and others that nobody is sent to in the few requests that there are.
    let others = |form: fn(String) -> String| -> Vec<String> {
        let host = |i: usize| form(format!("http://10.1.{}.{}:80", i / 250, i % 250));
        (0..9_999).map(host).collect()
    };
    let listed = others(|url| format!("'{url}'")).join(",");
    let text = format!("upstream = ['{}',{listed}]\n", a.url());
    assert_eq!(case.reload(&text).status, 200);
    assert_eq!(case.reload(&to(&[&a])).status, 200);
    assert_eq!(case.reload(&format!("upstream = '{}'\n", others(|url| url).join(","))).status, 200);
    let wrong = case.reload(&text.replace("http:", "htp:"));
    assert_eq!(wrong.status, 400);
    assert!(wrong.text().contains("10000 mistakes"), "{}", &wrong.text()[..400]);
    assert!(wrong.body.len() < 64 * 1024, "{}", wrong.body.len());
    let grown = peak() - before;
    assert!(grown < 64 * 1024, "{grown} KiB");
}

#[test]
fn t18_a_file_that_is_watched_is_read_anew_when_it_changes() {
    let (a, b, scratch) = (Origin::named("a"), Origin::named("b"), Scratch::new());
    let watched = |origin: &Origin| format!("{}watch = true\n", to(&[origin]));
    let case = Configured::new(&watched(&a), &[]);
    assert_eq!(case.proxy.client().get("/").text(), "a");
    // As editors do it, and as a container's volume is changed: another file in its place.
    let new = scratch.join("new.toml");
    fs::write(&new, watched(&b)).unwrap();
    fs::copy(&new, format!("{}.new", case.path)).unwrap();
    fs::rename(format!("{}.new", case.path), &case.path).unwrap();
    case.proxy.wait_for_log("reloaded: upstream");
    assert_eq!(case.proxy.client().get("/").text(), "b");
    fs::write(&case.path, "upstream = 'a:1\n").unwrap();
    case.proxy.wait_for_log("not reloaded");
    fs::write(&case.path, to(&[&a])).unwrap();
    case.proxy.wait_for_log("reloaded: watch: off");
    assert_eq!(case.proxy.client().get("/").text(), "a");
    let told = case.proxy.log().iter().filter(|line| line.contains("not reloaded")).count();
    assert_eq!(told, 1, "a mistake is told once");
}

#[test]
fn t20_a_weight_from_run_time_ends_when_the_file_says_the_same_and_that_is_kept() {
    let (origin, scratch) = (Origin::named("a"), Scratch::new());
    let state = scratch.join("state");
    let file = |weight: u32| {
        let url = origin.url();
        format!("upstream = {{ url = '{url}', weight = {weight} }}\nstate = '{state}'\n")
    };
    let case = Configured::new(&file(2), &[]);
    let weight = || page(&case.proxy.ask("/status"))["upstreams"][0]["weight"].clone();
    let changed =
        run(&["weight", &origin.url(), "--weight", "7", "--admin", &case.proxy.admin], &[]);
    assert_eq!(changed.code, Some(0), "{}", changed.stderr);
    let told = page(&case.reload(&file(4)))["warnings"][0].clone();
    assert!(told.as_str().unwrap().contains("weight 4 in the files, and 7"), "{told}");
    assert_eq!(weight(), 7);
    case.reload(&file(7));
    let kept = fs::read_to_string(format!("{state}/upstreams.json")).unwrap();
    assert!(!kept.contains("weight"), "{kept}");
    case.reload(&file(4));
    assert_eq!(weight(), 4);
}

#[test]
fn t19_every_file_that_was_read_is_watched_and_a_mistake_in_a_new_one_is_mended_there() {
    let (origin, scratch) = (Origin::named("a"), Scratch::new());
    let path = scratch.join("t.toml");
    let (sites, page) = (scratch.join("sites"), scratch.join("page.html"));
    fs::create_dir(&sites).unwrap();
    fs::write(&page, "<p>first").unwrap();
    let text = "watch = true\ninclude = 'sites/*.toml'\nerror-page = { '404' = 'page.html' }\n";
    fs::write(&path, format!("{}{text}", to(&[&origin]))).unwrap();
    let proxy = Proxy::start(&["--config", &path]);
    let site = format!("{sites}/new.toml");
    fs::write(&site, "[[route]]\npath = 'a'\nrespond = 'here'\n").unwrap();
    proxy.wait_for_log("not reloaded");
    fs::write(&site, "[[route]]\npath = '/a'\nrespond = 'here'\n").unwrap();
    proxy.wait_for_log("reloaded: route");
    assert_eq!(proxy.client().get("/a").text(), "here");
    assert_eq!(proxy.client().get("/b").text(), "<p>first");
    fs::remove_file(&page).unwrap();
    proxy.wait_for_log("page.html");
    fs::write(&page, "<p>second").unwrap();
    eventually("the other page", || proxy.client().get("/b").text() == "<p>second");
}
