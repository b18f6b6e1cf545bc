//! Bounds that slow down instead of failing, and the sockets that are not TCP.

use std::thread;
use std::time::Duration;

use rustix::process::Signal;

use crate::harness::{
    Client, Gate, Origin, Proxy, Scratch, assert_same, chunked, eventually, pattern, run,
};

const GET: &str = "GET / HTTP/1.1\r\nHost: test\r\n\r\n";
const MIB: usize = 1024 * 1024;

#[test]
fn g01_beyond_max_connections_clients_wait_and_are_served() {
    let (asked, answer) = (Gate::default(), Gate::default());
    let origin = {
        let (asked, answer) = (asked.clone(), answer.clone());
        Origin::serving(move |_| {
            asked.open();
            answer.wait();
            b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na".to_vec()
        })
    };
    let proxy = Proxy::with(&origin, &["--max-connections", "1"]);
    let (mut inside, mut waiting) = (proxy.client(), proxy.client());
    inside.send(GET);
    asked.wait();
    waiting.send(GET);
    waiting.expect_silence(Duration::from_millis(100));
    answer.open();
    assert_eq!(inside.response().text(), "a", "who is inside is served");
    assert_eq!(waiting.response().text(), "a", "and makes room when idle");
    inside.expect_closed();
    assert_eq!(proxy.metric("/connections/idle_closed"), 1);
}

#[test]
fn g01b_idle_clients_make_room_those_first_that_were_silent_longest() {
    let origin = Origin::named("a");
    let flags = ["--max-connections", "20", "--workers", "1"];
    let proxy = Proxy::with(&origin, &flags);
    let mut kept: Vec<_> = (0..20).map(|_| proxy.client()).collect();
    kept.iter_mut().for_each(|client| assert_eq!(client.get("/").text(), "a"));
    // Silences are told apart by the tick of the timers, 32 ms.
    kept[19].expect_silence(Duration::from_millis(80));
    let mut newcomers: Vec<_> = (0..5).map(|_| proxy.client()).collect();
    newcomers.iter_mut().for_each(|client| assert_eq!(client.get("/").text(), "a"));
    kept[..5].iter_mut().for_each(|client| client.expect_closed());
    kept[5..].iter_mut().for_each(|client| assert_eq!(client.get("/").text(), "a"));
    assert_eq!(proxy.metric("/connections/idle_closed"), 5);
}

#[test]
fn g01c_clients_of_another_core_make_room_too() {
    let origin = Origin::named("a");
    let proxy = Proxy::with(&origin, &["--max-connections", "4", "--workers", "2"]);
    let mut all = Vec::new();
    // Whichever core they come to: with four kept by then, all of them may be the other one's.
    for _ in 0..40 {
        let mut newcomer = proxy.client();
        assert_eq!(newcomer.get("/").text(), "a");
        all.push(newcomer);
    }
    assert_eq!(proxy.metric("/connections/idle_closed"), 36);
}

#[test]
fn g01d_requests_that_began_and_do_not_come_make_room_at_last() {
    let origin = Origin::named("a");
    for began in ["G", "\r\n"] {
        let proxy = Proxy::with(&origin, &["--max-connections", "10", "--workers", "1"]);
        let mut slow: Vec<_> = (0..10).map(|_| proxy.client()).collect();
        for client in &mut slow {
            client.send(began);
        }
        eventually("all are in", || proxy.metric("/bytes/client_received") >= 10);
        // It waits for a second, and takes the place of the first of them; not for their time-out.
        let mut newcomer = proxy.client();
        assert_eq!(newcomer.get("/").text(), "a");
        slow[0].expect_closed();
        // Whoever has nothing under way goes before the other slow ones, but not before one tick of the timers.
        newcomer.expect_silence(Duration::from_millis(80));
        assert_eq!(proxy.client().get("/").text(), "a");
        newcomer.expect_closed();
        assert_eq!(proxy.metric("/connections/idle_closed"), 2);
    }
}

#[test]
fn g02_nobody_is_dropped_at_the_limit() {
    let origin = Origin::named("a");
    let flags = ["--max-connections", "4", "--workers", "2"];
    let proxy = Proxy::with(&origin, &flags);
    let ask = |_| {
        let address = proxy.address.clone();
        thread::spawn(move || {
            for _ in 0..5 {
                assert_eq!(Client::to(&address).get("/").text(), "a");
            }
        })
    };
    let clients: Vec<_> = (0..40).map(ask).collect();
    clients.into_iter().for_each(|client| client.join().expect("served"));
}

#[test]
fn g03_few_buffers_are_enough_for_many_clients() {
    let origin = Origin::echoing();
    let proxy = Proxy::with(&origin, &["--buffers", "16"]);
    let body = pattern(200_000);
    let ask = |_| {
        let (address, body) = (proxy.address.clone(), body.clone());
        thread::spawn(move || {
            let mut client = Client::to(&address);
            for _ in 0..3 {
                let len = body.len();
                let head = format!("POST / HTTP/1.1\r\nHost: t\r\nContent-Length: {len}\r\n\r\n");
                client.send(head).send(&body);
                assert_same(&client.response().body, &body);
            }
        })
    };
    let clients: Vec<_> = (0..48).map(ask).collect();
    clients.into_iter().for_each(|client| client.join().expect("served"));
    eventually("all buffers home", || proxy.metric("/buffers/used") == 0);
}

#[test]
fn g04_idle_connections_hold_no_buffers() {
    let origin = Origin::named("a");
    let proxy = Proxy::with(&origin, &["--buffers", "16"]);
    let mut idle: Vec<_> = (0..100).map(|_| proxy.client()).collect();
    idle.iter_mut().for_each(|client| assert_eq!(client.get("/").text(), "a"));
    eventually("all buffers home", || proxy.metric("/buffers/used") == 0);
    assert_eq!(proxy.client().get("/").text(), "a");
    idle.iter_mut().for_each(|client| assert_eq!(client.get("/").text(), "a"));
}

#[test]
fn g05_an_idle_client_is_let_go_without_a_word() {
    let origin = Origin::named("a");
    let proxy = Proxy::with(&origin, &["--idle-timeout", "150ms"]);
    proxy.client().expect_closed();
    let mut client = proxy.client();
    assert_eq!(client.get("/").text(), "a");
    client.expect_closed();
}

#[test]
fn g06_waiting_for_an_answer_is_not_idling() {
    let go_on = Gate::default();
    let let_go = go_on.clone();
    let origin = Origin::start(move |peer| {
        peer.request()?;
        let_go.wait();
        peer.send("HTTP/1.1 204 No Content\r\n\r\n")
    });
    let flags = ["--idle-timeout", "50ms", "--read-timeout", "50ms", "--write-timeout", "50ms"];
    let proxy = Proxy::with(&origin, &flags);
    let mut client = proxy.client();
    client.send(GET);
    client.expect_silence(Duration::from_millis(300));
    go_on.open();
    assert_eq!(client.response().status, 204);
}

#[test]
fn g07_a_unix_socket_can_be_listened_on() {
    let (origin, scratch) = (Origin::named("a"), Scratch::new());
    let listen = format!("unix:{}", scratch.join("front.sock"));
    let proxy = Proxy::with(&origin, &["--listen", &listen]);
    assert_eq!(Client::to(&listen).get("/").text(), "a");
    assert!(origin.request().head.all("X-Forwarded-For").is_empty(), "there is no address to tell");
    assert_eq!(proxy.stop().code, Some(0));
}

#[test]
fn g08_a_unix_socket_can_be_an_upstream() {
    let scratch = Scratch::new();
    let origin = Origin::listen(&format!("unix:{}", scratch.join("back.sock")), |peer| {
        loop {
            let request = peer.request()?;
            let len = request.body.len();
            peer.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {len}\r\n\r\n"))?;
            peer.send(request.body)?;
        }
    });
    let proxy = Proxy::before(&origin);
    let mut client = proxy.client();
    for len in [0, 5, 3 * MIB] {
        let body = pattern(len);
        client.send(format!("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: {len}\r\n\r\n"));
        client.send(&body);
        assert_same(&client.response().body, &body);
    }
    assert_eq!(origin.connections(), 1);
}

#[test]
fn g09_there_may_be_several_listeners() {
    let (origin, scratch) = (Origin::named("a"), Scratch::new());
    let unix = format!("unix:{}", scratch.join("front.sock"));
    let proxy = Proxy::with(&origin, &["--listen", "127.0.0.1:0", "--listen", &unix]);
    let tcp = proxy.log().into_iter().find(|line| line.contains("address=127.0.0.1:"));
    assert!(tcp.is_some(), "{:#?}", proxy.log());
    assert_eq!(Client::to(&unix).get("/").text(), "a");
}

#[test]
fn g10_all_workers_serve_and_share_evenly() {
    let (a, b) = (Origin::named("a"), Origin::named("b"));
    let upstreams = ["--upstream", &a.url(), "--upstream", &b.url()];
    let proxy = Proxy::start(&[&upstreams[..], &["--workers", "2"]].concat());
    for _ in 0..100 {
        let mut client = proxy.client();
        (0..2).for_each(|_| assert_eq!(client.get("/").status, 200));
    }
    let (a, b) = (a.requests().len(), b.requests().len());
    assert_eq!(a + b, 200);
    assert!(a.abs_diff(b) <= 2, "{a} and {b}");
}

#[test]
fn g11_a_socket_file_left_behind_is_no_obstacle_but_one_in_use_is() {
    let (origin, scratch) = (Origin::named("a"), Scratch::new());
    let listen = format!("unix:{}", scratch.join("front.sock"));
    let proxy = Proxy::with(&origin, &["--listen", &listen]);
    proxy.signal(Signal::KILL);
    proxy.finish();
    let proxy = Proxy::with(&origin, &["--listen", &listen]);
    assert_eq!(Client::to(&listen).get("/").text(), "a");
    let url = origin.url();
    let second = run(&["--upstream", &url, "--listen", &listen, "--admin", "off"], &[]);
    assert_eq!(second.code, Some(1), "{}", second.stderr);
    assert_eq!(Client::to(&listen).get("/").text(), "a", "the first one goes on");
    assert_eq!(proxy.stop().code, Some(0));
}

#[test]
fn g12_slow_heads_may_take_the_buffers_but_not_keep_them() {
    let origin = Origin::named("a");
    let proxy = Proxy::with(&origin, &["--buffers", "16", "--read-timeout", "300ms"]);
    let mut slow: Vec<_> = (0..100).map(|_| proxy.client()).collect();
    for client in &mut slow {
        client.send("GET / HTTP/1.1\r\n");
    }
    assert_eq!(proxy.client().get("/").text(), "a");
    slow.iter_mut().for_each(|client| assert_eq!(client.response().status, 408));
    eventually("all buffers home", || proxy.metric("/buffers/used") == 0);
}

#[test]
fn g13_clients_that_stop_reading_may_take_the_buffers_but_not_keep_them() {
    let body = chunked(&pattern(16 * MIB), 50_000);
    let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".as_slice();
    let large = [head, &body].concat();
    let origin = Origin::serving(move |request| match request.target.as_str() {
        "/large" => large.clone(),
        _ => b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\ns".to_vec(),
    });
    let proxy = Proxy::with(&origin, &["--buffers", "16", "--write-timeout", "300ms"]);
    let mut stuck: Vec<_> = (0..12).map(|_| Client::narrow(&proxy.address)).collect();
    for client in &mut stuck {
        client.send("GET /large HTTP/1.1\r\nHost: test\r\n\r\n");
    }
    assert_eq!(proxy.client().get("/small").text(), "s");
    eventually("all buffers home", || proxy.metric("/buffers/used") == 0);
}

#[test]
fn g14_ipv6_is_spoken_on_both_sides() {
    let origin = Origin::listen("[::1]:0", |peer| {
        loop {
            peer.answer("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n6")?;
        }
    });
    let proxy = Proxy::with(&origin, &["--listen", "[::1]:0"]);
    assert!(proxy.address.starts_with("[::1]:"), "{}", proxy.address);
    assert_eq!(proxy.client().get("/").text(), "6");
    assert_eq!(origin.request().head.get("X-Forwarded-For"), Some("::1"));
}

#[test]
fn g15_what_follows_a_body_that_is_too_large_is_not_half_served() {
    let origin = Origin::named("a");
    let proxy = Proxy::with(&origin, &["--max-body", "4B"]);
    // The limit is passed, the body ends and the next request begins in one and the same read.
    let head = "POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n";
    let next = "GET /next HTTP/1.1\r\nHost: test\r\n\r\n";
    for late in [false, true] {
        let mut client = proxy.client();
        client.send(head);
        if late {
            client.send("1\r\nx\r\n");
            eventually("the head is through", || proxy.metric("/active") == 1);
        }
        client.send(format!("5\r\nhello\r\n0\r\n\r\n{next}"));
        let answer = client.response();
        assert_eq!((answer.status, answer.get("Connection")), (413, Some("close")));
        client.expect_closed();
    }
}
