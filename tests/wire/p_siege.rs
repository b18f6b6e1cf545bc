//! Those who want to starve it: whatever many bad clients or origins do, a good client is served, memory has
//! a bound, and afterwards all is home.
//!
//! A siege has a handful of buffers at its disposal instead of thousands, so that few attackers are enough.
//! `tests/foreign/siege.py` does the same with thousands, and with other people's tools.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, prlimit};

use crate::harness::{
    Client, Gate, Origin, Peer, Proxy, Scratch, Wire, chunked, eventually, memory_allowed, pattern,
    run, run_with_descriptors,
};

const MIB: u64 = 1024 * 1024;
/// Settings that are soon exhausted: 5 rights of 3 buffers. The waits are long: nothing is mended by a time-out.
const FEW: [&str; 6] = ["--buffers", "16", "--read-timeout", "1m", "--write-timeout", "1m"];
/// A machine that does other things meanwhile makes anybody wait so long.
const SLACK: Duration = Duration::from_millis(500);
/// How long a stuck receiver may keep a buffer that others wait for, and the coarseness of deadlines.
const PATIENCE: Duration = Duration::from_millis(1100);

const SLOW_BODIES: [&str; 2] = [
    "POST /upload HTTP/1.1\r\nHost: t\r\nContent-Length: 1000000\r\n\r\n",
    "POST /upload HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
];

/// Many bad clients.
struct Crowd(Vec<Wire>);

impl Crowd {
    /// `n` connections, each of which says the next of `words`.
    fn saying<T: AsRef<[u8]>>(n: usize, address: &str, words: &[T]) -> Crowd {
        let join = |n: usize| {
            let mut wire = Wire::connect(address).expect("nobody is turned away");
            wire.send(words[n % words.len()].as_ref()).expect("what fits a socket is taken");
            wire
        };
        Crowd((0..n).map(join).collect())
    }

    /// Each says a little more, if it still can.
    fn go_on(&mut self, octets: &[u8]) {
        for wire in &mut self.0 {
            let _ = wire.send(octets);
        }
    }
}

/// How long the slowest of a hundred small requests of a good client took: on connections of their own, and on
/// one that is kept.
fn slowest(proxy: &Proxy) -> Duration {
    let mut kept = proxy.client();
    (0..100)
        .map(|n| {
            let started = Instant::now();
            let answer = if n % 2 == 0 { kept.get("/") } else { proxy.client().get("/") };
            assert_eq!((answer.status, answer.text()), (200, "a".into()));
            started.elapsed()
        })
        .max()
        .expect("a hundred")
}

/// Measures a good client before a siege and in the middle of it, and looks whether all is home when it is over.
fn survives<S>(proxy: &Proxy, bound: Duration, besiege: impl FnOnce() -> S) {
    let before = slowest(proxy);
    let siege = besiege();
    let during = slowest(proxy);
    drop(siege);
    eventually("all clients gone", || proxy.metric("/connections/current") == 0);
    all_home(proxy);
    let after = slowest(proxy);
    println!("slowest of 100 before {before:?}, during {during:?}, after {after:?}");
    assert!(during <= before * 10 + bound, "{during:?} under siege, {before:?} before");
    assert!(after <= before * 10 + SLACK, "{after:?} afterwards, {before:?} before");
}

fn all_home(proxy: &Proxy) {
    eventually("all requests over", || proxy.metric("/active") == 0);
    eventually("all buffers home", || proxy.metric("/buffers/used") == 0);
    assert_eq!(proxy.metric("/panics"), 0);
}

/// Answers `/` with `a` at once, and everything else as `otherwise` says.
fn origin(otherwise: impl Fn(&mut Peer) -> std::io::Result<()> + Send + Sync + 'static) -> Origin {
    Origin::start(move |peer| {
        loop {
            if peer.request_head()?.line.starts_with("GET / ") {
                peer.send("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na")?;
            } else {
                otherwise(peer)?;
            }
        }
    })
}

#[test]
fn p01_connections_that_say_nothing_cost_nothing() {
    let origin = origin(Peer::hold);
    let proxy = Proxy::with(&origin, &FEW);
    let [before, _] = proxy.resident();
    let grown = std::cell::Cell::new(0);
    survives(&proxy, SLACK, || {
        let crowd = Crowd::saying(400, &proxy.address, &[""]);
        eventually("all are in", || proxy.metric("/connections/current") >= 400);
        grown.set(proxy.resident()[0].saturating_sub(before));
        crowd
    });
    assert!(grown.get() < memory_allowed(4 * MIB), "{} octets for 400 connections", grown.get());
}

#[test]
fn p02_slow_heads_keep_nobody_out() {
    let origin = origin(Peer::hold);
    let proxy = Proxy::with(&origin, &FEW);
    survives(&proxy, SLACK, || {
        let mut crowd = Crowd::saying(200, &proxy.address, &["GET / HTTP/1.1\r\nX: ", "G", "\r\n"]);
        (0..3).for_each(|_| crowd.go_on(b"x"));
        crowd
    });
}

#[test]
fn p03_slow_bodies_keep_nobody_out() {
    let origin = origin(Peer::hold);
    let proxy = Proxy::with(&origin, &FEW);
    survives(&proxy, SLACK, || {
        let mut crowd = Crowd::saying(200, &proxy.address, &SLOW_BODIES);
        eventually("all under way", || proxy.metric("/active") == 200);
        (0..3).for_each(|_| crowd.go_on(b"1\r\nx\r\n"));
        assert_eq!(proxy.metric("/buffers/used"), 0, "who waits for octets has no buffer");
        crowd
    });
}

#[test]
fn p04_slow_origins_keep_nobody_out() {
    let go_on = Gate::default();
    let late = go_on.clone();
    let origin = origin(move |peer| {
        late.wait();
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate")
    });
    let proxy = Proxy::with(&origin, &FEW);
    survives(&proxy, SLACK, || {
        let ask = "GET /late HTTP/1.1\r\nHost: t\r\n\r\n";
        let mut crowd = Crowd::saying(100, &proxy.address, &[ask]);
        eventually("all under way", || proxy.metric("/active") == 100);
        assert_eq!(slowest(&proxy).as_secs(), 0);
        go_on.open();
        for wire in &mut crowd.0 {
            assert_eq!(wire.response("GET").expect("late, but right").text(), "late");
        }
        crowd
    });
}

#[test]
fn p05_answers_that_drip_keep_nobody_out() {
    let go_on = Gate::default();
    let late = go_on.clone();
    let origin = origin(move |peer| {
        peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n")?;
        late.wait();
        peer.send("0\r\n\r\n")
    });
    let proxy = Proxy::with(&origin, &FEW);
    survives(&proxy, SLACK, || {
        let ask = "GET /drip HTTP/1.1\r\nHost: t\r\n\r\n";
        let mut crowd = Crowd::saying(100, &proxy.address, &[ask]);
        for wire in &mut crowd.0 {
            assert!(wire.head().expect("the head comes").line.contains("200"));
        }
        assert_eq!(slowest(&proxy).as_secs(), 0);
        go_on.open();
        crowd.0.iter_mut().for_each(|wire| assert!(wire.exactly(11).is_ok()));
        crowd
    });
}

#[test]
fn p06_clients_that_stop_reading_make_room_when_others_wait() {
    let body = chunked(&pattern(16 * MIB as usize), 50_000);
    let origin = origin(move |peer| {
        peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
        peer.send(&body)
    });
    let proxy = Proxy::with(&origin, &FEW);
    survives(&proxy, PATIENCE + SLACK, || {
        let ask = b"GET /large HTTP/1.1\r\nHost: t\r\n\r\n";
        let stuck = |_| {
            let mut wire =
                Wire::connect_narrow(&proxy.address, 4096).expect("nobody is turned away");
            wire.send(ask).expect("taken");
            wire
        };
        let crowd = Crowd((0..8).map(stuck).collect());
        eventually("nobody is served at once", || {
            let mut client = proxy.client();
            client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n");
            client.wire().patience(Duration::from_millis(100)).expect("a time-out");
            client.wire().response("GET").is_err()
        });
        crowd
    });
    assert!(proxy.metric("/reasons/client_write_timeout") > 0);
}

/// What a client sends without end, what it is told, and what the reason is.
const ENDLESS: [(&str, &str, u16, &str); 6] = [
    ("GET / HTTP/1.1\r\nHost: t\r\n", "X-Y: z\r\n", 431, "head_too_large"),
    ("GET / HTTP/1.1\r\nHost: t\r\nX: ", "yyyyyyyy", 431, "head_too_large"),
    ("GET /", "aaaaaaaa", 414, "target_too_long"),
    (CHUNKED, "0\r\n", 400, "bad_trailer"),
    (CHUNKED, "1;a=b;c=\"d\"", 400, "bad_chunk"),
    (TRAILERS, "X-Y: z\r\n", 400, "bad_trailer"),
];
const CHUNKED: &str = "POST /upload HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n";
const TRAILERS: &str =
    "POST /upload HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n";

#[test]
fn p07_what_has_no_end_is_refused() {
    let origin = origin(Peer::hold);
    let proxy = Proxy::with(&origin, &FEW);
    for (head, more, status, reason) in ENDLESS {
        let before = proxy.metric(&format!("/reasons/{reason}"));
        let mut client = proxy.client();
        client.send(head).send_if_taken(more.repeat(20_000));
        assert_eq!(client.response().status, status, "{reason}");
        eventually(reason, || proxy.metric(&format!("/reasons/{reason}")) == before + 1);
    }
    all_home(&proxy);
}

#[test]
fn p08_floods_of_tiny_chunks_are_a_body_like_any_other() {
    let origin = origin(|peer| peer.hold());
    let proxy = Proxy::with(&origin, &FEW);
    let [before, _] = proxy.resident();
    survives(&proxy, SLACK, || {
        let address = proxy.address.clone();
        let flood = thread::spawn(move || {
            let mut wire = Wire::connect(&address).expect("nobody is turned away");
            wire.send(CHUNKED).expect("taken");
            let chunks = "1;x\r\ny\r\n".repeat(10_000);
            (0..100).try_for_each(|_| wire.send(&chunks))
        });
        assert_eq!(slowest(&proxy).as_secs(), 0);
        flood.join().expect("no panic").expect("a million chunks are taken");
    });
    let grown = proxy.resident()[1].saturating_sub(before);
    assert!(grown < memory_allowed(4 * MIB), "{grown} octets more memory");
}

#[test]
fn p09_origins_that_do_not_end_are_cut_off() {
    let cases = [
        ("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", "", "too_many_interim"),
        ("", "HTTP/1.1 200 OK\r\nX: ", "response_head_too_large"),
        ("", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: ", "bad_response_chunk"),
        ("", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;", "bad_response_chunk"),
    ];
    for (again, once, reason) in cases {
        let more = if again.is_empty() { "yyyyyyyy" } else { again };
        let endless = move |peer: &mut Peer| {
            peer.send(once)?;
            (0..1000).try_for_each(|_| peer.send(more.repeat(100)))
        };
        let origin = origin(endless);
        let proxy = Proxy::with(&origin, &FEW);
        let [before, _] = proxy.resident();
        survives(&proxy, SLACK, || {
            let mut client = proxy.client();
            client.send("GET /endless HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n");
            client.until_gone();
        });
        eventually(reason, || proxy.metric(&format!("/reasons/{reason}")) == 1);
        let grown = proxy.resident()[1].saturating_sub(before);
        assert!(grown < memory_allowed(4 * MIB), "{grown} octets more memory");
    }
}

/// So many descriptors may the running proxy have from now on.
fn allow_descriptors(proxy: &Proxy, n: usize) {
    let pid = i32::try_from(proxy.pid()).ok().and_then(Pid::from_raw);
    let limit = Rlimit { current: Some(n as u64), maximum: Some(20_000) };
    prlimit(pid, Resource::Nofile, limit).expect("it is our child");
}

#[test]
fn p10_without_descriptors_accepting_pauses_and_those_inside_are_served() {
    let go_on = Gate::default();
    let origin = {
        let go_on = go_on.clone();
        origin(move |peer| {
            go_on.wait();
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nslow")
        })
    };
    let proxy = Proxy::before(&origin);
    let mut inside = proxy.client();
    inside.send("GET /slow HTTP/1.1\r\nHost: t\r\n\r\n");
    eventually("it is asked", || proxy.metric("/active") == 1);
    survives(&proxy, Duration::from_secs(1), || {
        let crowd = Crowd::saying(50, &proxy.address, &["GET"]);
        eventually("all are in", || proxy.metric("/connections/current") >= 51);
        // Below all that it has had open since its start: no number comes free, whoever leaves the admin.
        allow_descriptors(&proxy, 8);
        let mut outside = proxy.client();
        outside.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n");
        go_on.open();
        assert_eq!(inside.response().text(), "slow");
        outside.expect_silence(Duration::from_millis(150));
        allow_descriptors(&proxy, proxy.descriptors() - 20);
        drop(crowd);
        assert_eq!(outside.response().text(), "a", "it is served when there is room again");
        drop(inside);
    });
    let warnings = proxy.log().iter().filter(|line| line.contains("no room")).count();
    assert!((1..=2).contains(&warnings), "{warnings} warnings");
}

#[test]
fn p10b_idle_clients_leave_descriptors_to_upstreams_newcomers_and_the_admin() {
    let origin = origin(Peer::hold);
    let url = origin.url();
    for asked in [&[][..], &["--max-connections", "1000"]] {
        let proxy = Proxy::with_descriptors(128, &[asked, &["--upstream", &url]].concat());
        // Twice as many as there are descriptors: those that come later take the place of those that came first.
        let crowd: Vec<_> = (0..256).map(|_| proxy.client()).collect();
        for _ in 0..20 {
            assert_eq!(proxy.client().get("/").text(), "a", "a newcomer");
        }
        assert_eq!(proxy.ask("/health").status, 200);
        let upstream = format!("tidegate_upstream_failures_total{{upstream=\"{url}\"}} 0");
        let page = proxy.ask("/metrics?format=prometheus").text();
        assert!(page.contains(&upstream), "{page}");
        drop(crowd);
    }
}

#[test]
fn p10c_too_few_descriptors_are_refused_with_what_to_do() {
    let flags = ["--upstream", "127.0.0.1:1", "--workers", "2"];
    let refused = run_with_descriptors(64, &flags);
    assert_eq!(refused.code, Some(1));
    let advice = "64 descriptors are too few for --workers 2";
    assert!(refused.stderr.contains(advice), "{}", refused.stderr);
}

#[test]
fn p11_a_full_disk_under_the_log_and_a_reader_that_stalls_cost_lines_and_nothing_else() {
    let scratch = Scratch::new();
    let pipe = scratch.join("log.pipe");
    rustix::fs::mkfifoat(rustix::fs::CWD, Path::new(&pipe), 0o600.into()).expect("a pipe");
    let file = fs::OpenOptions::new().read(true).write(true).open(&pipe).expect("a reader");
    for output in ["/dev/full", &pipe] {
        let origin = origin(Peer::hold);
        let flags = ["--access-log", "json", "--access-log-file", output];
        let proxy = Proxy::with(&origin, &flags);
        let [before, _] = proxy.resident();
        survives(&proxy, SLACK, || {
            let mut client = proxy.client();
            let requests =
                format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", "t".repeat(200)).repeat(100);
            for _ in 0..50 {
                client.send(&requests);
                (0..100).for_each(|_| assert_eq!(client.response().text(), "a"));
            }
        });
        let grown = proxy.resident()[1].saturating_sub(before);
        assert!(grown < memory_allowed(8 * MIB), "{grown} octets more memory");
        proxy.wait_for_log("the access log cannot be written");
        assert!(proxy.metric("/log_lines_unwritten") > 0);
        assert_eq!(proxy.stop().code, Some(0));
    }
    drop(file);
}

#[test]
fn p12_memory_stays_below_its_ceiling() {
    let much = chunked(&pattern(16 * MIB as usize), 10_000);
    let origin = Origin::start(move |peer| {
        loop {
            let line = peer.request_head()?.line;
            match line.split(' ').nth(1) {
                Some("/upload") => peer.hold()?,
                Some("/much") => {
                    peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
                    peer.send(&much)?;
                }
                _ => peer.send("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na")?,
            }
        }
    });
    let flags = ["--buffers", "64", "--max-connections", "400", "--write-timeout", "1m"];
    let proxy = Proxy::with(&origin, &flags);
    let long_head = ["GET / HTTP/1.1\r\nHost: t\r\nX: ", &"y".repeat(15_000)].concat();
    let unread = "GET /much HTTP/1.1\r\nHost: t\r\n\r\n";
    let long_upload = format!("{}{}", &SLOW_BODIES[0][..SLOW_BODIES[0].len() - 2], "Y: ")
        + &"z".repeat(14_000)
        + "\r\n\r\n";
    let mut crowds = [
        Crowd::saying(100, &proxy.address, &[&long_head]),
        Crowd::saying(150, &proxy.address, &[SLOW_BODIES[1], &long_upload]),
        Crowd::saying(30, &proxy.address, &[unread]),
        Crowd::saying(110, &proxy.address, &[""]),
    ];
    for _ in 0..5 {
        crowds[1].go_on(b"3\r\nxyz\r\n");
        assert_eq!(proxy.client().get("/").text(), "a");
    }
    // Those that read nothing may have been ended by now: others wait for their buffers.
    eventually("all are in", || proxy.metric("/connections/current") >= 360);
    eventually("all under way", || proxy.metric("/active") >= 150);
    drop(crowds);
    all_home(&proxy);
    let [_, most] = proxy.resident();
    let flags =
        [&flags[..], &["--workers", "1", "--access-log", "off", "--upstream", "a:1"]].concat();
    let told = run(&[&["check", "--json"][..], &flags].concat(), &[]).stdout;
    let ceiling = serde_json::from_str::<serde_json::Value>(&told).unwrap()["memory_ceiling_bytes"]
        .as_u64()
        .unwrap();
    println!("at most {} KiB of memory, the ceiling is {}", most / 1024, ceiling / 1024);
    assert!(most < memory_allowed(ceiling), "{most} octets of memory, the ceiling is {ceiling}");
}

#[test]
fn p13_a_reader_of_its_own_log_that_stalls_stops_nothing() {
    let (origin, scratch) = (origin(Peer::hold), Scratch::new());
    let listen = format!("unix:{}", scratch.join("front.sock"));
    // Nobody reads what it says, and with these two each connection is a line.
    let chatty = ["--log", "debug", "--max-connections", "1"];
    let flags = ["--listen", &listen, "--admin", "off", "--access-log", "off", "--workers", "1"];
    let url = origin.url();
    let flags = [&flags[..], &chatty, &["--upstream", &url]].concat();
    let mut child = Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .args(flags)
        .env_clear()
        .current_dir(scratch.path())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let mut unread = child.stderr.take().expect("piped");
    let running = Killed(child);
    eventually("it listens", || Wire::connect(&listen).is_ok());
    (0..2_000).for_each(|_| assert_eq!(Client::to(&listen).get("/").text(), "a"));
    drop(running);
    let mut said = String::new();
    unread.read_to_string(&mut said).expect("text");
    assert!(said.len() > 60_000, "{} octets: its pipe was not full", said.len());
}

/// A process that ends with the case.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn p14_origins_that_stop_reading_make_room_when_others_wait() {
    let over = Gate::default();
    let end = over.clone();
    let origin = Origin::narrow(move |peer| {
        while peer.request_head()?.line.starts_with("GET / ") {
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na")?;
        }
        end.wait();
        Ok(())
    });
    let proxy = Proxy::with(&origin, &FEW);
    let body = chunked(&pattern(8 * MIB as usize), 10_000);
    let mut crowd = Crowd::saying(8, &proxy.address, &[CHUNKED]);
    for wire in &mut crowd.0 {
        wire.send_until_blocked(&body, Duration::from_millis(50)).expect("some is taken");
    }
    let during = slowest(&proxy);
    println!("slowest of 100 during {during:?}");
    assert!(during <= PATIENCE + SLACK, "{during:?}");
    over.open();
    drop(crowd);
    all_home(&proxy);
    assert!(proxy.metric("/reasons/upstream_write_timeout") > 0);
}

#[test]
#[expect(clippy::disallowed_methods, reason = "reads that are not recorded")]
fn p16_greedy_bodies_leave_a_core_to_others() {
    // Both as fast as they can, for as long as somebody reads; large enough to be spliced, or in chunks.
    let origin = Origin::start(|peer| {
        let piece = vec![b'x'; 64 * 1024];
        loop {
            let head = peer.request_head()?.line;
            if head.starts_with("GET / ") {
                peer.send("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na")?;
            } else if head.starts_with("GET /chunked ") {
                peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
                let chunk = chunked(&piece, piece.len());
                let chunk = &chunk[..chunk.len() - "0\r\n\r\n".len()];
                loop {
                    peer.send(chunk)?;
                }
            } else {
                peer.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n")?;
                loop {
                    peer.send(&piece)?;
                }
            }
        }
    });
    for body in ["/chunked", "/length"] {
        let proxy = Proxy::with(&origin, &["--workers", "1"]);
        let (stop, read) = (AtomicBool::new(false), AtomicUsize::new(0));
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    let mut socket = TcpStream::connect(&proxy.address).expect("it listens");
                    let request = format!("GET {body} HTTP/1.1\r\nHost: t\r\n\r\n");
                    socket.write_all(request.as_bytes()).expect("it reads");
                    let mut piece = vec![0; 256 * 1024];
                    while !stop.load(Relaxed) {
                        read.fetch_add(socket.read(&mut piece).expect("more"), Relaxed);
                    }
                });
            }
            eventually("both are served", || read.load(Relaxed) > 10 * 1024 * 1024);
            let mut client = proxy.client();
            let mut waits: Vec<_> = (0..40)
                .map(|_| {
                    let before = Instant::now();
                    assert_eq!(client.get("/").text(), "a");
                    before.elapsed()
                })
                .collect();
            stop.store(true, Relaxed);
            waits.sort();
            println!("{body}: a small answer took {:?}, at most {:?}", waits[20], waits[39]);
            assert!(waits[36] < Duration::from_millis(100), "{body}: {waits:?}");
        });
    }
}
