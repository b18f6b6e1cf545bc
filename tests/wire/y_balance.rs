//! Which upstream gets a request, who waits for one, and how long its connections are kept.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{Backend, Client, Gate, Origin, Proxy, Refusing, Response, eventually, run};

const ONE: &str = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1";

/// A proxy in front of these, in this order.
#[track_caller]
fn in_front_of(origins: &[Origin], flags: &[&str]) -> Proxy {
    let urls: Vec<_> = origins.iter().map(Origin::url).collect();
    let mut all: Vec<&str> = flags.to_vec();
    urls.iter().for_each(|url| all.extend(["--upstream", url]));
    Proxy::start(&all)
}

fn three() -> [Origin; 3] {
    ["a", "b", "c"].map(Origin::named)
}

fn asked(origins: &[Origin]) -> Vec<usize> {
    origins.iter().map(|origin| origin.requests().len()).collect()
}

fn targets(origin: &Origin) -> Vec<String> {
    origin.requests().into_iter().map(|request| request.target).collect()
}

/// Sends a GET and does not wait for the answer.
fn ask(proxy: &Proxy, path: &str) -> Client {
    let mut client = proxy.client();
    client.send(format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n"));
    client
}

/// A GET with fields, each with its line end.
fn get_with(client: &mut Client, path: &str, fields: &str) -> Response {
    client.send(format!("GET {path} HTTP/1.1\r\nHost: test\r\n{fields}\r\n"));
    client.response()
}

#[track_caller]
fn until_waiting(proxy: &Proxy, n: u64) {
    eventually("so many wait", || proxy.metric("/queue/waiting") == n);
}

#[track_caller]
fn logged(proxy: &Proxy, n: usize) -> Vec<Value> {
    let lines = proxy.access_log(n);
    lines.iter().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
}

// ---- the queue ----

/// One request at a time, of which the lines of log tell.
const SINGLE: [&str; 4] = ["--queue-max-requests", "1", "--access-log", "json"];

/// Answers `/held` once the gate is open, and all else at once.
fn held() -> (Origin, Gate) {
    let gate = Gate::default();
    let go_on = gate.clone();
    let origin = Origin::serving(move |request| {
        if request.target == "/held" {
            go_on.wait();
        }
        ONE.into()
    });
    (origin, gate)
}

/// A request that takes the only place at the upstream.
#[track_caller]
fn hold(proxy: &Proxy, origin: &Origin) -> Client {
    let client = ask(proxy, "/held");
    eventually("it is under way", || origin.requests().len() == 1);
    client
}

#[test]
fn y01_who_comes_first_is_served_first_on_whatever_core() {
    for workers in ["1", "2"] {
        let (origin, gate) = held();
        let flags = [&SINGLE[..], &["--workers", workers, "--queue-wait", "30s"]].concat();
        let proxy = Proxy::with(&origin, &flags);
        let mut clients = vec![hold(&proxy, &origin)];
        for n in 1..=8 {
            clients.push(ask(&proxy, &format!("/{n}")));
            until_waiting(&proxy, n);
        }
        gate.open();
        clients.iter_mut().for_each(|client| assert_eq!(client.response().status, 200));
        let seen = targets(&origin);
        assert_eq!(seen, ["/held", "/1", "/2", "/3", "/4", "/5", "/6", "/7", "/8"]);
        until_waiting(&proxy, 0);
    }
}

#[test]
fn y02_one_too_many_is_refused_at_once() {
    for size in [0, 2] {
        let (origin, gate) = held();
        let queue = ["--queue-size", &size.to_string(), "--queue-wait", "1h"];
        let proxy = Proxy::with(&origin, &[&SINGLE[..], &queue].concat());
        let mut clients = vec![hold(&proxy, &origin)];
        for n in 1..=size {
            clients.push(ask(&proxy, "/waits"));
            until_waiting(&proxy, n);
        }
        let answer = proxy.client().get("/late");
        assert_eq!(answer.status, 503);
        assert!(answer.get("Proxy-Status").expect("RFC 9209").contains("connection_limit_reached"));
        assert_eq!(logged(&proxy, 1)[0]["reason"], "queue_full");
        assert_eq!(proxy.metric("/queue/refused"), 1);
        gate.open();
        clients.iter_mut().for_each(|client| assert_eq!(client.response().status, 200));
        assert!(!targets(&origin).contains(&"/late".to_owned()));
        assert_eq!(proxy.client().get("/").status, 200);
    }
}

#[test]
fn y03_who_waited_long_enough_is_told() {
    let (origin, gate) = held();
    let proxy = Proxy::with(&origin, &[&SINGLE[..], &["--queue-wait", "150ms"]].concat());
    let mut first = hold(&proxy, &origin);
    let started = Instant::now();
    assert_eq!(proxy.client().get("/late").status, 503);
    assert!(started.elapsed() >= Duration::from_millis(150), "{:?}", started.elapsed());
    let line = &logged(&proxy, 1)[0];
    assert_eq!((&line["reason"], &line["attempts"]), (&json!("queue_timeout"), &json!([])));
    assert!(line["queued_s"].as_f64().unwrap() >= 0.15 && line["pool"] == "default", "{line:#}");
    gate.open();
    assert_eq!(first.response().status, 200);
    assert_eq!(targets(&origin), ["/held"]);
}

#[test]
fn y30_who_has_no_use_for_the_room_keeps_nobody_from_it() {
    let (slow, gate) = held();
    let moody = Origin::serving(|request| match &*request.target {
        "/bad" => b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n".into(),
        _ => ONE.into(),
    });
    let urls = [slow.url(), moody.url()];
    let queue = ["--retry-on", "503", "--queue-max-requests", "1", "--queue-wait", "30s"];
    let flags = [&["--upstream", &urls[0], "--upstream", &urls[1]][..], &queue].concat();
    let proxy = Proxy::start(&flags);
    let mut first = hold(&proxy, &slow);
    let mut again = ask(&proxy, "/bad");
    until_waiting(&proxy, 1);
    // The one that refused it has room, the other has none.
    assert_eq!(proxy.client().get("/good").text(), "1");
    assert_eq!(proxy.metric("/queue/waiting"), 1);
    gate.open();
    assert_eq!((first.response().status, again.response().status), (200, 200));
    assert_eq!(targets(&slow), ["/held", "/bad"]);
}

#[test]
fn y04_a_client_that_leaves_leaves_the_queue() {
    let (origin, gate) = held();
    let queue = ["--queue-size", "2", "--queue-wait", "1h"];
    let proxy = Proxy::with(&origin, &[&SINGLE[..], &queue].concat());
    let mut first = hold(&proxy, &origin);
    let leaves = ask(&proxy, "/leaves");
    until_waiting(&proxy, 1);
    let mut stays = ask(&proxy, "/stays");
    until_waiting(&proxy, 2);
    leaves.reset();
    until_waiting(&proxy, 1);
    assert_eq!(logged(&proxy, 1)[0]["status"], 499);
    let mut comes = ask(&proxy, "/comes");
    until_waiting(&proxy, 2);
    gate.open();
    for client in [&mut first, &mut stays, &mut comes] {
        assert_eq!(client.response().status, 200);
    }
    assert_eq!(targets(&origin), ["/held", "/stays", "/comes"]);
    assert_eq!(proxy.metric("/queue/refused"), 0);
}

#[test]
fn y05_no_upstream_ever_has_more_than_it_may() {
    let (gate, now, most) =
        (Gate::default(), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let shared = (gate.clone(), now.clone(), most.clone());
    let origin = Origin::serving(move |_| {
        let (gate, now, most) = &shared;
        most.fetch_max(now.fetch_add(1, Relaxed) + 1, Relaxed);
        gate.wait();
        now.fetch_sub(1, Relaxed);
        ONE.into()
    });
    let proxy = Proxy::with(&origin, &["--queue-max-requests", "3", "--workers", "2"]);
    thread::scope(|scope| {
        for _ in 0..10 {
            scope.spawn(|| {
                let mut client = proxy.client();
                (0..30).for_each(|_| assert_eq!(client.get("/").status, 200));
            });
        }
        eventually("as many as may be", || now.load(Relaxed) == 3);
        until_waiting(&proxy, 7);
        gate.open();
    });
    assert_eq!((most.load(Relaxed), origin.requests().len()), (3, 300));
}

#[test]
fn y06_a_websocket_has_its_place_while_it_lasts() {
    let close = Gate::default();
    let told = close.clone();
    let origin = Origin::start(move |peer| {
        loop {
            if peer.request()?.target != "/chat" {
                peer.send(ONE)?;
                continue;
            }
            peer.send(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
            )?;
            told.wait();
            return Ok(());
        }
    });
    let proxy = Proxy::with(&origin, &[&SINGLE[..], &["--queue-wait", "1h"]].concat());
    let mut socket = proxy.client();
    socket.send(
        "GET /chat HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    );
    assert_eq!(socket.response().status, 101);
    let mut waits = ask(&proxy, "/waits");
    until_waiting(&proxy, 1);
    assert_eq!(proxy.metric("/tunnels/open"), 1);
    // It ends when both sides have.
    close.open();
    socket.finish_sending().until_gone();
    assert_eq!(waits.response().status, 200);
}

#[test]
fn y07_nobody_waits_while_another_upstream_has_room() {
    let (first, gate) = held();
    let origins = [first, Origin::named("b")];
    let proxy = in_front_of(&origins, &[&SINGLE[..], &["--queue-wait", "1h"]].concat());
    let mut held = hold(&proxy, &origins[0]);
    // Whoever had to wait for the first would never be answered.
    let mut client = proxy.client();
    (0..10).for_each(|_| assert_eq!(client.get("/").text(), "b"));
    gate.open();
    assert_eq!(held.response().status, 200);
}

#[test]
fn y07b_an_upstream_that_comes_is_for_those_that_wait() {
    for workers in ["1", "2"] {
        let ((first, gate), second) = (held(), Origin::named("b"));
        let flags = [&SINGLE[..], &["--queue-wait", "1h", "--workers", workers]].concat();
        let proxy = Proxy::with(&first, &flags);
        let mut held = hold(&proxy, &first);
        let mut waits: Vec<_> = (1..=4)
            .map(|n| {
                let client = ask(&proxy, "/waits");
                until_waiting(&proxy, n);
                client
            })
            .collect();
        let url = json!({ "url": second.url() }).to_string();
        assert_eq!(proxy.post("/add", &url).status, 200);
        waits.iter_mut().for_each(|client| assert_eq!(client.response().text(), "b"));
        assert_eq!(proxy.client().get("/").text(), "b");
        gate.open();
        assert_eq!(held.response().status, 200);
    }
}

#[test]
fn y07c_one_that_is_well_but_busy_is_waited_for_whatever_the_others_are() {
    let ((first, gate), refusing) = (held(), Refusing::new());
    let breaker =
        ["--breaker-failures", "1", "--breaker-open", "1h", "--breaker-fail-open", "--max-retries"];
    let flags = [&SINGLE[..], &breaker, &["0", "--queue-wait", "1h"]].concat();
    let urls = [first.url(), refusing.url()];
    let proxy =
        Proxy::start(&[&flags[..], &["--upstream", &urls[0], "--upstream", &urls[1]]].concat());
    let mut held = hold(&proxy, &first);
    assert_eq!(proxy.client().get("/refused").status, 503);
    let mut waits = ask(&proxy, "/waits");
    until_waiting(&proxy, 1);
    gate.open();
    assert_eq!((held.response().status, waits.response().status), (200, 200));
    assert_eq!(targets(&first), ["/held", "/waits"]);
}

// ---- the order ----

#[test]
fn y08_turns_go_by_weight_exactly() {
    for workers in ["1", "4"] {
        let origins = three();
        let weighted = [0, 1, 2].map(|n| format!("{} weight={}", origins[n].url(), [1, 2, 5][n]));
        let mut flags = vec!["--workers", workers];
        weighted.iter().for_each(|url| flags.extend(["--upstream", url]));
        let proxy = Proxy::start(&flags);
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let mut client = proxy.client();
                    (0..1000).for_each(|_| assert_eq!(client.get("/").status, 200));
                });
            }
        });
        assert_eq!(asked(&origins), [1000, 2000, 5000], "with {workers} workers");
    }
}

#[test]
fn y09_least_requests_leaves_alone_who_is_busy() {
    let gate = Gate::default();
    let origins = [(); 2].map(|()| {
        let gate = gate.clone();
        Origin::serving(move |request| {
            if request.target == "/held" {
                gate.wait();
            }
            ONE.into()
        })
    });
    let proxy = in_front_of(&origins, &["--balance", "least-requests", "--workers", "2"]);
    let mut held: Vec<_> = (0..2)
        .map(|n| {
            let client = ask(&proxy, "/held");
            eventually("it is under way", || asked(&origins).iter().sum::<usize>() == n + 1);
            client
        })
        .collect();
    assert_eq!(asked(&origins), [1, 1], "the second goes to who has none");
    held.push(ask(&proxy, "/held"));
    eventually("it is under way", || asked(&origins).iter().sum::<usize>() == 3);
    let (busy, free) = if asked(&origins) == [2, 1] { (0, 1) } else { (1, 0) };
    // One after the other over one connection: the next begins when nothing of the last is left.
    let mut client = proxy.client();
    (0..10).for_each(|_| assert_eq!(client.get("/").status, 200));
    assert_eq!((asked(&origins)[busy], asked(&origins)[free]), (2, 11));
    gate.open();
    held.iter_mut().for_each(|client| assert_eq!(client.response().status, 200));
}

#[test]
fn y10_two_choices_avoid_who_is_slow() {
    let slow = Origin::serving(|_| {
        // No wait for an event: this is how slow it is.
        thread::sleep(Duration::from_millis(30));
        ONE.into()
    });
    let origins = [slow, Origin::named("b"), Origin::named("c")];
    let proxy = in_front_of(&origins, &["--balance", "two-choices"]);
    let mut client = proxy.client();
    (0..300).for_each(|_| assert_eq!(client.get("/").status, 200));
    let asked = asked(&origins);
    assert!((1..30).contains(&asked[0]), "{asked:?}");
    assert!(asked[1] > 60 && asked[2] > 60, "{asked:?}");
}

#[test]
fn y11_what_has_the_same_key_goes_to_the_same_upstream() {
    type Ask = fn(&mut Client, usize, usize) -> Response;
    let cases: [(&str, Ask); 5] = [
        ("client", |client, key, _| {
            get_with(client, "/", &format!("X-Forwarded-For: 192.0.2.{key}\r\n"))
        }),
        ("path", |client, key, n| get_with(client, &format!("/{key}?{n}"), "")),
        ("uri", |client, key, _| get_with(client, &format!("/?{key}"), "")),
        ("header:X-Key", |client, key, n| {
            get_with(client, &format!("/{n}"), &format!("x-key: {key}\r\n"))
        }),
        ("cookie:key", |client, key, n| {
            get_with(client, &format!("/{n}"), &format!("Cookie: a={n}; key={key}\r\n"))
        }),
    ];
    for (hash, ask) in cases {
        let flags = ["--balance", "hash", "--hash", hash, "--trusted-proxy", "127.0.0.1"];
        let origins = three();
        // One core: on another, the last request may not have ended yet, and a key moves on from who is busy.
        let proxy = in_front_of(&origins, &flags);
        let mut clients = [proxy.client(), proxy.client()];
        let mut of_key = HashMap::new();
        for n in 0..4 {
            for key in 0..24 {
                let text = ask(&mut clients[n % 2], key, n).text();
                let first = of_key.entry(key).or_insert_with(|| text.clone());
                assert_eq!(*first, text, "{hash}: key {key}");
            }
        }
        assert!(of_key.values().collect::<HashSet<_>>().len() > 1, "{hash}: {of_key:?}");
    }
}

#[test]
fn y12_only_the_keys_of_one_that_is_drained_move() {
    const KEYS: usize = 100;
    let origins = three();
    let flags = ["--balance", "hash", "--hash", "path", "--access-log", "json"];
    let proxy = in_front_of(&origins, &flags);
    let mut client = proxy.client();
    let mut all =
        || -> Vec<String> { (0..KEYS).map(|key| client.get(&format!("/{key}")).text()).collect() };
    let before = all();
    let of_b = before.iter().filter(|name| *name == "b").count();
    // A third, and what chance adds to that.
    assert!((15..=55).contains(&of_b), "{before:?}");
    let change = |order: &str| {
        let told = run(&[order, &origins[1].url(), "--admin", &proxy.admin], &[]);
        assert_eq!(told.code, Some(0), "{}", told.stderr);
    };
    change("drain");
    let drained = all();
    for (key, (was, is)) in before.iter().zip(&drained).enumerate() {
        assert!(is != "b" && (was == is || was == "b"), "key {key}: {was}, then {is}");
    }
    let heirs: HashSet<_> =
        before.iter().zip(&drained).filter(|(was, _)| *was == "b").map(|(_, is)| is).collect();
    assert_eq!(heirs.len(), 2, "both others take over");
    change("undrain");
    assert_eq!(all(), before);
}

#[test]
fn y13_a_key_that_many_ask_for_is_spread() {
    const REQUESTS: usize = 12;
    let gate = Gate::default();
    let origins = [(); 3].map(|()| {
        let gate = gate.clone();
        Origin::serving(move |_| {
            gate.wait();
            ONE.into()
        })
    });
    let proxy = in_front_of(&origins, &["--balance", "hash", "--hash", "path"]);
    let mut clients = Vec::new();
    for n in 1..=REQUESTS {
        clients.push(ask(&proxy, "/same"));
        eventually("it is under way", || asked(&origins).iter().sum::<usize>() == n);
        // One and a quarter of a third of them, rounded up.
        let most = (5 * n).div_ceil(4 * 3);
        assert!(asked(&origins).iter().all(|one| *one <= most), "{:?} of {n}", asked(&origins));
    }
    gate.open();
    clients.iter_mut().for_each(|client| assert_eq!(client.response().status, 200));
}

#[test]
fn y14_a_backup_stands_in_and_steps_back() {
    let (main, backup) = (Refusing::new(), Origin::named("backup"));
    let urls = [main.url(), format!("{} backup=true", backup.url())];
    let proxy = Proxy::start(&["--upstream", &urls[0], "--upstream", &urls[1]]);
    let mut client = proxy.client();
    (0..5).for_each(|_| assert_eq!(client.get("/").text(), "backup"));
    let main = main.relent(|peer| {
        loop {
            peer.answer("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nmain")?;
        }
    });
    eventually("it is back", || client.get("/").text() == "main");
    (0..20).for_each(|_| assert_eq!(client.get("/").text(), "main"));
    let url = json!({ "url": main.url() }).to_string();
    assert_eq!(proxy.post("/drain", &url).status, 200);
    assert_eq!(client.get("/").text(), "backup");
    assert_eq!(proxy.post("/undrain", &url).status, 200);
    assert_eq!(client.get("/").text(), "main");
}

#[test]
fn y15_one_that_was_added_starts_slowly() {
    let share = |slow_start: &str| {
        let origins = ["a", "b"].map(Origin::named);
        let flags = ["--slow-start", slow_start, "--workers", "2"];
        let proxy = Proxy::with(&origins[0], &flags);
        let mut client = proxy.client();
        (0..10).for_each(|_| assert_eq!(client.get("/").text(), "a"));
        let url = json!({ "url": origins[1].url() }).to_string();
        assert_eq!(proxy.post("/add", &url).status, 200);
        (0..200).for_each(|_| assert_eq!(client.get("/").status, 200));
        origins[1].requests().len()
    };
    assert_eq!(share("0s"), 100);
    let slow = share("10m");
    assert!((1..40).contains(&slow), "{slow} of 200");
}

// ---- cookies ----

/// The cookie that an answer sets, `NAME=TOKEN`, and its attributes.
fn cookie(answer: &Response) -> (String, Vec<String>) {
    let field = answer.get("Set-Cookie").expect("a cookie");
    let mut parts = field.split("; ").map(str::to_owned);
    (parts.next().unwrap(), parts.collect())
}

fn with(client: &mut Client, cookie: &str) -> Response {
    get_with(client, "/", &format!("Cookie: other=1; {cookie}\r\n"))
}

#[test]
fn y16_a_client_stays_with_its_upstream() {
    let origins = three();
    let flags = ["--sticky-cookie", "stay", "--sticky-max-age", "1m", "--workers", "2"];
    let proxy = in_front_of(&origins, &flags);
    let mut client = proxy.client();
    let mut tokens = HashSet::new();
    for _ in 0..3 {
        let answer = client.get("/");
        let (cookie, attributes) = cookie(&answer);
        assert_eq!(attributes, ["Path=/", "Max-Age=60", "HttpOnly", "SameSite=Lax"]);
        let token = cookie.strip_prefix("stay=").expect("its name");
        for origin in &origins {
            let (_, port) = origin.address().rsplit_once(':').unwrap();
            assert!(!token.contains(port) && !token.contains("127"), "{token}");
        }
        for _ in 0..6 {
            let again = with(&mut proxy.client(), &cookie);
            assert_eq!((again.text(), again.get("Set-Cookie")), (answer.text(), None));
        }
        tokens.insert(cookie);
    }
    assert_eq!(tokens.len(), 3, "one for each upstream");
    // Where nobody asks for it, there is none.
    assert_eq!(in_front_of(&origins, &[]).client().get("/").get("Set-Cookie"), None);
}

#[test]
fn y17_a_cookie_that_was_made_up_is_no_cookie() {
    let origins = three();
    let proxy = in_front_of(&origins, &["--sticky-cookie", "stay"]);
    let mut client = proxy.client();
    let (good, _) = cookie(&client.get("/"));
    let flipped = if good.ends_with('A') { "B" } else { "A" };
    let forged = format!("{}{flipped}", &good[..good.len() - 1]);
    let cut = &good[..good.len() - 4];
    let mut seen = HashSet::new();
    for made_up in ["stay=", "stay=0", "stay=127.0.0.1", "stay=\"\"", cut, &forged] {
        for _ in 0..3 {
            let answer = with(&mut client, made_up);
            assert_eq!(answer.status, 200);
            assert!(cookie(&answer).0.starts_with("stay="), "{made_up}");
            seen.insert(answer.text());
        }
    }
    assert_eq!(seen.len(), 3, "they have their turns");
}

#[test]
fn y18_who_stays_with_one_that_is_drained_or_dead_goes_to_another() {
    let (a, b) = (Backend::start(&["--name", "a"]), Backend::start(&["--name", "b"]));
    let flags = ["--sticky-cookie", "stay", "--upstream", &a.url, "--upstream", &b.url];
    let proxy = Proxy::start(&flags);
    let name = |answer: &Response| {
        assert_eq!(answer.status, 200);
        answer.get("X-Origin").expect("its name").to_owned()
    };
    let mut client = proxy.client();
    let first = client.get("/");
    assert_eq!(name(&first), "a");
    let (of_a, _) = cookie(&first);
    let url = json!({ "url": a.url }).to_string();
    assert_eq!(proxy.post("/drain", &url).status, 200);
    let moved = with(&mut client, &of_a);
    assert_eq!(name(&moved), "b");
    let (of_b, _) = cookie(&moved);
    assert_eq!(proxy.post("/undrain", &url).status, 200);
    // Its cookie is as good as ever, and who has moved stays.
    assert_eq!(name(&with(&mut client, &of_a)), "a");
    (0..4).for_each(|_| assert_eq!(name(&with(&mut client, &of_b)), "b"));
    b.kill();
    let moved = with(&mut client, &of_b);
    assert_eq!(name(&moved), "a");
    assert_eq!(cookie(&moved).0, of_a);
}

#[test]
fn y19_the_secret_makes_the_cookie_and_is_never_told() {
    let origins = three();
    let token = |secret: &str| {
        let flags = ["--sticky-cookie", "stay", "--sticky-secret", secret, "--log", "debug"];
        let proxy = in_front_of(&origins, &flags);
        let (token, _) = cookie(&proxy.client().get("/"));
        let told = [proxy.ask("/config").text(), proxy.ask("/status").text()];
        assert!(told.iter().chain(&proxy.log()).all(|text| !text.contains(secret)), "{told:?}");
        token
    };
    let [one, other] = ["correct horse battery", "staple correct horse"];
    assert_eq!(token(one), token(one));
    assert_ne!(token(one), token(other));
}

// ---- connections ----

#[test]
fn y20_a_connection_carries_so_many_requests() {
    let origin = Origin::named("a");
    let proxy = Proxy::with(&origin, &["--upstream-max-requests", "3"]);
    let mut client = proxy.client();
    (0..9).for_each(|_| assert_eq!(client.get("/").text(), "a"));
    assert_eq!(origin.connections(), 3);
    let heads = |n| String::from_utf8(origin.received(n)).unwrap().matches("GET / ").count();
    assert_eq!([0, 1, 2].map(heads), [3, 3, 3]);
}

#[test]
fn y21_a_connection_is_used_until_it_is_so_old() {
    const AGE: Duration = Duration::from_millis(300);
    let origin = Origin::named("a");
    let proxy = Proxy::with(&origin, &["--upstream-max-age", "300ms"]);
    let mut client = proxy.client();
    let started = Instant::now();
    let mut requests = 0;
    while origin.connections() < 3 {
        assert_eq!(client.get("/").text(), "a");
        requests += 1;
        assert!(started.elapsed() < 10 * AGE, "{} connections", origin.connections());
    }
    assert!(started.elapsed() >= 2 * AGE && requests > 6, "{:?}", started.elapsed());
}

#[test]
fn y22_connections_come_from_the_address_that_was_said() {
    let origin = Origin::start(|peer| {
        let from = peer.peer()?.ip().to_string();
        loop {
            let len = from.len();
            peer.answer(format!("HTTP/1.1 200 OK\r\nContent-Length: {len}\r\n\r\n{from}"))?;
        }
    });
    for (flags, from) in
        [(&[][..], "127.0.0.1"), (&["--upstream-bind", "127.0.0.2"][..], "127.0.0.2")]
    {
        assert_eq!(Proxy::with(&origin, flags).client().get("/").text(), from);
    }
}

#[test]
fn y23_a_connection_that_is_silent_is_probed() {
    for (flags, timer) in [(&[][..], "00"), (&["--upstream-keep-alive", "1m"][..], "02")] {
        let origin = Origin::named("a");
        let proxy = Proxy::with(&origin, flags);
        assert_eq!(proxy.client().get("/").text(), "a");
        let (_, port) = origin.address().rsplit_once(':').unwrap();
        let to_it = format!(":{:04X}", port.parse::<u16>().unwrap());
        // The remote address is the third word, the state the fourth, the timer the sixth: 02 is that of keep-alive
        // (proc_pid_net(5)). Connections of others that had this port before may still be in TIME_WAIT.
        let timers = || -> Vec<String> {
            let table = fs::read_to_string("/proc/net/tcp").unwrap_or_default();
            let lines = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
            let to_it = lines
                .filter(|words| words.len() > 5 && words[2].ends_with(&to_it) && words[3] == "01");
            to_it.map(|words| words[5][..2].to_owned()).collect()
        };
        if timers().is_empty() {
            eprintln!("this kernel does not show the timers of connections");
            return;
        }
        // While octets are not acknowledged yet, the timer is another one.
        eventually(timer, || timers().iter().all(|one| one == timer));
    }
}
