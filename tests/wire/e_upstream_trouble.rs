//! Upstreams that refuse, lie, stall and die, in each phase.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{
    Chance, Client, Ending, Gate, Origin, Proxy, Refusing, Silent, eventually, requests_asked_for,
};

const ONE: &str = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1";
const POST: &str = "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nhello";

#[test]
fn e01_a_refused_connection_moves_on_to_the_next_upstream() {
    let (refusing, origin) = (Refusing::new(), Origin::named("b"));
    let proxy = Proxy::start(&["--upstream", &refusing.url(), "--upstream", &origin.url()]);
    let mut client = proxy.client();
    for _ in 0..4 {
        assert_eq!(client.get("/").text(), "b");
        client.send(POST);
        assert_eq!(client.response().text(), "b");
    }
}

#[test]
fn e02_when_all_refuse_the_answer_is_503_and_says_so() {
    let refusing = [Refusing::new(), Refusing::new()];
    let urls = refusing.each_ref().map(Refusing::url);
    let proxy = Proxy::start(&["--upstream", &urls[0], "--upstream", &urls[1]]);
    let mut client = proxy.client();
    for _ in 0..2 {
        let answer = client.get("/");
        assert_eq!(answer.status, 503);
        let status = answer.get("Proxy-Status").expect("RFC 9209");
        assert!(status.contains("error="), "{status}");
    }
}

#[test]
fn e03_max_retries_bounds_the_search() {
    let refusing = [Refusing::new(), Refusing::new()];
    let urls = refusing.each_ref().map(Refusing::url);
    let origin = Origin::named("c");
    let upstreams = ["--upstream", &urls[0], "--upstream", &urls[1], "--upstream", &origin.url()];
    let proxy = Proxy::start(&[&upstreams[..], &["--max-retries", "0"]].concat());
    let mut client = proxy.client();
    let statuses: Vec<_> = (0..6).map(|_| client.get("/").status).collect();
    assert!(statuses.contains(&200), "{statuses:?}");
    assert!(statuses.iter().any(|status| (502..=504).contains(status)), "{statuses:?}");

    let proxy = Proxy::start(&[&upstreams[..], &["--max-retries", "2"]].concat());
    let mut client = proxy.client();
    (0..6).for_each(|_| assert_eq!(client.get("/").status, 200));
}

#[test]
fn e04_an_upstream_that_comes_back_is_used_again() {
    let refusing = Refusing::new();
    let proxy = Proxy::start(&["--upstream", &refusing.url()]);
    let mut client = proxy.client();
    assert_eq!(client.get("/").status, 503);
    let _origin = refusing.relent(|peer| {
        loop {
            peer.answer(ONE)?;
        }
    });
    eventually("the upstream in use again", || client.get("/").status == 200);
}

#[test]
fn e05_a_connection_nobody_answers_times_out_and_moves_on() {
    let (silent, origin) = (Silent::new(), Origin::named("b"));
    let flags = ["--upstream", &silent.url(), "--connect-timeout", "100ms"];
    let alone = Proxy::start(&flags);
    assert_eq!(alone.client().get("/").status, 504);
    let both = Proxy::start(&[&flags[..], &["--upstream", &origin.url()]].concat());
    let mut client = both.client();
    (0..2).for_each(|_| assert_eq!(client.get("/").text(), "b"));
}

#[test]
fn e06_a_name_that_does_not_resolve_is_503() {
    let proxy = Proxy::start(&["--upstream", "http://no-such-host.invalid:1"]);
    let answer = proxy.client().get("/");
    assert!(matches!(answer.status, 502 | 503), "{}", answer.head.line);
}

/// An origin whose connections die, without a word, on their second request.
fn stale(with_goodbye: bool) -> Origin {
    Origin::start(move |peer| {
        peer.answer(ONE)?;
        peer.request()?;
        if with_goodbye { Ok(()) } else { peer.reset() }
    })
}

#[test]
fn e07_a_reused_connection_that_dies_is_replaced_silently() {
    for with_goodbye in [true, false] {
        let origin = stale(with_goodbye);
        let proxy = Proxy::before(&origin);
        let mut client = proxy.client();
        for _ in 0..5 {
            assert_eq!(client.get("/").text(), "1");
        }
        assert_eq!(origin.connections(), 5);
    }
}

/// Two origins: one that answers once, then resets whatever comes and on whatever connection; and one that is well.
fn dying_and_well() -> [Origin; 2] {
    let asked = AtomicUsize::new(0);
    let dying = Origin::start(move |peer| {
        loop {
            peer.request()?;
            if asked.fetch_add(1, Relaxed) > 0 {
                return peer.reset();
            }
            peer.send(ONE)?;
        }
    });
    [dying, Origin::named("well")]
}

#[test]
fn e07b_a_dying_upstream_costs_no_answer_while_another_one_is_well() {
    let origins = dying_and_well();
    let proxy = Proxy::start(&["--upstream", &origins[0].url(), "--upstream", &origins[1].url()]);
    let mut client = proxy.client();
    for _ in 0..20 {
        assert_eq!(client.get("/").status, 200);
    }
}

#[test]
fn e07c_a_post_that_was_sent_goes_to_no_other_upstream() {
    let origins = dying_and_well();
    let proxy = Proxy::start(&["--upstream", &origins[0].url(), "--upstream", &origins[1].url()]);
    for _ in 0..6 {
        proxy.client().send(POST).response();
    }
    let posts = origins.map(|origin| origin.requests().len());
    assert_eq!(posts.iter().sum::<usize>(), 6, "{posts:?}");
}

#[test]
fn e08_what_cannot_be_asked_twice_is_not() {
    let origin = stale(true);
    let proxy = Proxy::before(&origin);
    let mut client = proxy.client();
    assert_eq!(client.get("/").text(), "1");
    client.send(POST);
    assert_eq!(client.response().status, 502);
    let posts = origin.requests().iter().filter(|request| request.method == "POST").count();
    assert_eq!(posts, 1);
}

#[test]
fn e08b_a_post_that_was_read_before_a_reset_or_an_end_is_not_sent_again() {
    for reset in [true, false] {
        // Answers once, then takes the next request and acts on it, but does not tell.
        let origin = Origin::start(move |peer| {
            peer.answer(ONE)?;
            peer.request()?;
            if reset { peer.reset() } else { Ok(()) }
        });
        let proxy = Proxy::before(&origin);
        let mut client = proxy.client();
        for _ in 0..10 {
            assert_eq!(client.get("/").text(), "1");
            let before = origin.requests().len();
            client.send(POST);
            assert_eq!(client.response().status, 502);
            assert_eq!(origin.requests().len(), before + 1, "acted on once");
        }
    }
}

#[test]
fn e09_a_fresh_connection_that_dies_is_not_tried_again() {
    let origin = Origin::start(|peer| peer.request().map(drop));
    let proxy = Proxy::before(&origin);
    let answer = proxy.client().get("/");
    assert_eq!(answer.status, 502);
    assert!(answer.get("Proxy-Status").expect("RFC 9209").contains("error="));
    assert_eq!(origin.requests().len(), 1);
}

#[test]
fn e10_an_origin_that_dies_in_the_head_is_502() {
    for head in ["H", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n"] {
        for reset in [false, true] {
            let origin = Origin::start(move |peer| {
                peer.answer(head)?;
                if reset { peer.reset() } else { Ok(()) }
            });
            let proxy = Proxy::before(&origin);
            let mut client = proxy.client();
            assert_eq!(client.get("/").status, 502, "after {head:?}");
            assert_eq!(client.get("/").status, 502, "the client's connection goes on");
        }
    }
}

#[test]
fn e11_an_origin_that_dies_in_the_body_does_not_make_it_look_whole() {
    let cut = [
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
    ];
    for octets in cut {
        for reset in [false, true] {
            let sent = Gate::default();
            let seen = sent.clone();
            let origin = Origin::start(move |peer| {
                peer.answer(octets)?;
                seen.wait();
                if reset { peer.reset() } else { Ok(()) }
            });
            let proxy = Proxy::before(&origin);
            let mut client = proxy.client();
            client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
            assert!(client.head().line.starts_with("HTTP/1.1 200 "));
            sent.open();
            let came = client.until_gone();
            let whole =
                came.len() >= 10 && !octets.contains("chunked") || came.ends_with(b"0\r\n\r\n");
            assert!(!whole, "{octets:?} became \"{}\"", came.escape_ascii());
        }
    }
}

#[test]
fn e12_an_origin_that_closes_after_the_full_answer_has_answered() {
    let origin = Origin::start(|peer| peer.answer(ONE).map(drop));
    let proxy = Proxy::before(&origin);
    let mut client = proxy.client();
    (0..20).for_each(|_| assert_eq!(client.get("/").text(), "1"));

    let close = Gate::default();
    let told = close.clone();
    let origin = Origin::start(move |peer| {
        peer.answer(ONE)?;
        told.wait();
        Ok(())
    });
    let proxy = Proxy::before(&origin);
    let mut client = proxy.client();
    assert_eq!(client.get("/").text(), "1");
    eventually("the connection kept", || proxy.metric_of(&origin, "idle") == 1);
    close.open();
    eventually("its close noticed", || proxy.metric_of(&origin, "idle") == 0);
    client.send(POST);
    assert_eq!(client.response().text(), "1", "no dead connection is tried with a POST");
}

#[test]
fn e13_garbage_for_an_answer_is_502_and_goes_no_further() {
    let garbage = [
        "\x16\x03\x01\x02\r\n\r\n",
        "SSH-2.0-OpenSSH\r\n\r\n",
        "HTTP/1.1 OK\r\n\r\n",
        "HTTP/1.1 99 Low\r\n\r\n",
        "HTTP/1.1 2000 High\r\n\r\n",
        "HTTP/2.0 200 OK\r\n\r\n",
        "HTTP/1.1 200 OK\nContent-Length: 0\n\n",
        "HTTP/1.1 200 OK\r\nX : y\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        "HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\na",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ];
    for octets in garbage {
        let origin = Origin::answering(octets);
        let proxy = Proxy::before(&origin);
        let mut client = proxy.client();
        let answer = client.get("/");
        assert_eq!(answer.status, 502, "{octets:?} became {}", answer.head.line);
        assert_eq!(client.get("/").status, 502);
        assert_eq!(origin.connections(), 2, "no connection that spoke {octets:?} is used again");
    }
}

#[test]
fn e14_an_endless_head_is_502() {
    let origin = Origin::start(|peer| {
        peer.request()?;
        peer.send("HTTP/1.1 200 OK\r\n")?;
        loop {
            peer.send("X-More: of the same\r\n".repeat(100))?;
        }
    });
    let proxy = Proxy::before(&origin);
    assert_eq!(proxy.client().get("/").status, 502);
}

#[test]
fn e15_a_chunk_that_is_none_cuts_the_answer_short() {
    for chunk in ["+1\r\na\r\n0\r\n\r\n", "1\r\nab\r\n0\r\n\r\n", "zz\r\n", "1\na\r\n0\r\n\r\n"] {
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        let origin = Origin::answering(format!("{head}{chunk}"));
        let proxy = Proxy::before(&origin);
        let mut client = proxy.client();
        client.send("GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
        let came = client.until_gone();
        let refused = came.starts_with(b"HTTP/1.1 502 ");
        assert!(refused || !came.ends_with(b"0\r\n\r\n"), "\"{}\"", came.escape_ascii());
    }
}

#[test]
fn e16_no_answer_in_time_is_504() {
    let origin = Origin::start(|peer| {
        peer.request()?;
        peer.hold()
    });
    let proxy = Proxy::with(&origin, &["--response-timeout", "100ms"]);
    let mut client = proxy.client();
    let answer = client.get("/");
    assert_eq!(answer.status, 504);
    assert!(answer.get("Proxy-Status").expect("RFC 9209").contains("timeout"));
    client.send(POST);
    assert_eq!(client.response().status, 504);
    assert_eq!(origin.requests().len(), 2, "a slow answer is no reason to ask twice");
}

#[test]
fn e17_a_body_that_stalls_is_cut() {
    let origin = Origin::start(|peer| {
        peer.answer("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")?;
        peer.hold()
    });
    let proxy = Proxy::with(&origin, &["--read-timeout", "100ms"]);
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    assert!(client.head().line.contains("200"));
    assert_eq!(client.until_gone(), b"hello");
}

#[test]
fn e18_an_idle_connection_that_speaks_unasked_is_dropped() {
    let (speak, dropped) = (Gate::default(), Gate::default());
    let (speaking, gone) = (speak.clone(), dropped.clone());
    let origin = Origin::start(move |peer| {
        peer.answer(ONE)?;
        if peer.number == 0 {
            speaking.wait();
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")?;
            peer.hold()?;
            gone.open();
            return Ok(());
        }
        loop {
            peer.answer(ONE)?;
        }
    });
    let proxy = Proxy::before(&origin);
    let mut client = proxy.client();
    assert_eq!(client.get("/").text(), "1");
    speak.open();
    dropped.wait();
    for _ in 0..5 {
        assert_eq!(client.get("/").text(), "1");
    }
    assert_eq!(origin.connections(), 2);
}

#[test]
fn e19_octets_behind_an_answer_are_nobodys_answer() {
    let origin =
        Origin::answering(format!("{ONE}HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"));
    let proxy = Proxy::before(&origin);
    let mut client = proxy.client();
    for n in 1..=3 {
        assert_eq!(client.get("/").text(), "1");
        assert_eq!(origin.connections(), n);
    }
}

#[test]
fn e20_idle_upstream_connections_expire() {
    let gone = Gate::default();
    let seen = gone.clone();
    let origin = Origin::start(move |peer| {
        peer.answer(ONE)?;
        peer.hold()?;
        seen.open();
        Ok(())
    });
    let proxy = Proxy::with(&origin, &["--upstream-idle-timeout", "100ms"]);
    assert_eq!(proxy.client().get("/").text(), "1");
    gone.wait();
}

#[test]
fn e21_the_pool_of_idle_connections_is_bounded() {
    let closed = Arc::new(AtomicUsize::new(0));
    let (count, gate) = (closed.clone(), Gate::default());
    let held = gate.clone();
    let origin = Origin::start(move |peer| {
        peer.request()?;
        held.wait();
        peer.send(ONE)?;
        peer.hold()?;
        count.fetch_add(1, Relaxed);
        Ok(())
    });
    let proxy = Proxy::with(&origin, &["--max-upstream-idle", "2"]);
    let mut clients = [(); 6].map(|()| proxy.client());
    for client in &mut clients {
        client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    }
    origin.wait_for_connections(6);
    gate.open();
    clients.iter_mut().for_each(|client| assert_eq!(client.response().text(), "1"));
    eventually("four of six closed", || closed.load(Relaxed) == 4);
}

#[test]
fn e22_an_upload_to_an_origin_that_dies_ends() {
    let origin = Origin::start(|peer| {
        peer.request_head()?;
        peer.exactly(100_000)?;
        peer.reset()
    });
    let proxy = Proxy::before(&origin);
    let mut client = proxy.client();
    let mut sender = client.wire().sender().unwrap();
    let sending = thread::spawn(move || {
        sender.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 50000000\r\n\r\n")?;
        let block = vec![b'x'; 100_000];
        (0..500).try_for_each(|_| sender.send(&block))
    });
    let answer = client.response();
    assert_eq!(answer.status, 502);
    let _ = sending.join().unwrap();
}

#[test]
fn e23_head_and_204_with_octets_behind_them_do_not_poison_the_next_answer() {
    let lying = [
        "HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
        "HTTP/1.1 304 Not Modified\r\nContent-Length: 4\r\n\r\nevil",
    ];
    for octets in lying {
        let origin = Origin::answering(octets);
        let proxy = Proxy::before(&origin);
        let mut client = proxy.client();
        for n in 1..=3 {
            let answer = client.get("/");
            assert!(matches!(answer.status, 204 | 304), "{}", answer.head.line);
            assert_eq!((answer.ending, origin.connections()), (Ending::Bodiless, n));
        }
    }
}

#[test]
fn e24_a_body_behind_the_answer_to_a_head_is_nobodys_answer() {
    let origin = Origin::answering(ONE);
    let proxy = Proxy::before(&origin);
    let mut client = proxy.client();
    for n in 1..=3 {
        client.send("HEAD / HTTP/1.1\r\nHost: test\r\n\r\n");
        assert_eq!(client.response_to_head().status, 200);
        assert_eq!(origin.connections(), n);
    }
    assert_eq!(client.get("/").text(), "1");
}

#[test]
fn e25_an_upload_that_takes_its_time_is_not_a_late_answer() {
    let origin = Origin::echoing();
    let flags = ["--response-timeout", "150ms", "--read-timeout", "2s"];
    let proxy = Proxy::with(&origin, &flags);
    let mut client = proxy.client();
    client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\n");
    for _ in 0..9 {
        client.send("x").expect_silence(Duration::from_millis(40));
    }
    client.send("x");
    assert_eq!(client.response().text(), "xxxxxxxxxx");
}

#[test]
fn e26_an_origin_that_never_reads_an_upload_is_given_up() {
    let gate = Gate::default();
    let held = gate.clone();
    let origin = Origin::start(move |peer| {
        peer.request_head()?;
        held.wait();
        Ok(())
    });
    let proxy = Proxy::with(&origin, &["--write-timeout", "150ms"]);
    let mut client = proxy.client();
    let mut sender = client.wire().sender().unwrap();
    let sending = thread::spawn(move || {
        sender.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 100000000\r\n\r\n")?;
        let block = vec![b'x'; 1_000_000];
        (0..100).try_for_each(|_| sender.send(&block))
    });
    client.wire().patience(Duration::from_secs(2)).unwrap();
    let answer = client.response();
    gate.open();
    assert!(matches!(answer.status, 502 | 504), "{}", answer.head.line);
    let _ = sending.join().unwrap();
}

#[test]
fn e27_names_are_resolved_and_every_address_is_tried() {
    let origin = Origin::named("a");
    let port = origin.address().rsplit(':').next().unwrap();
    let proxy = Proxy::start(&["--upstream", &format!("http://localhost:{port}")]);
    let mut client = proxy.client();
    for _ in 0..3 {
        assert_eq!(client.get("/").text(), "a");
    }
}

#[test]
fn e28_an_origin_that_dies_in_a_large_body_cuts_it() {
    for reset in [false, true] {
        let origin = Origin::start(move |peer| {
            peer.request()?;
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 5000000\r\n\r\n")?;
            peer.send(vec![b'x'; 2_000_000])?;
            if reset { peer.reset() } else { Ok(()) }
        });
        let proxy = Proxy::before(&origin);
        let mut client = proxy.client();
        client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
        assert!(client.head().line.contains("200"));
        let came = client.until_gone().len();
        assert!(came <= 2_000_000 && (reset || came == 2_000_000), "{came}");
        eventually("all buffers home", || proxy.metric("/buffers/used") == 0);
    }
}

/// Closes a connection after an answer as the mood takes it, at once or a moment later.
fn moody() -> Origin {
    Origin::start(|peer| {
        let mut mood = Chance::seeded(peer.number);
        loop {
            peer.answer(ONE)?;
            if mood.below(10) == 0 {
                let moment = Duration::from_micros(mood.below(500) as u64);
                let now = Instant::now();
                while now.elapsed() < moment {
                    thread::yield_now();
                }
                return Ok(());
            }
        }
    })
}

#[test]
fn e29_origins_that_close_idle_connections_at_random_cost_no_client_an_error() {
    let requests = requests_asked_for();
    let (a, b) = (moody(), moody());
    let proxy = Proxy::start(&["--upstream", &a.url(), "--upstream", &b.url(), "--workers", "2"]);
    let clients = 8;
    let ask = |_| {
        let address = proxy.address.clone();
        thread::spawn(move || {
            let mut client = Client::to(&address);
            for _ in 0..requests / clients {
                let answer = client.get("/");
                assert_eq!((answer.status, answer.text().as_str()), (200, "1"));
            }
        })
    };
    let asking: Vec<_> = (0..clients).map(ask).collect();
    asking.into_iter().for_each(|client| client.join().expect("not one error"));
}

#[test]
fn e30_an_answer_that_broke_off_in_its_head_leaves_nothing_for_the_next_one() {
    let origin = Origin::start(|peer| {
        if peer.number.is_multiple_of(2) {
            peer.request()?;
            return peer.send("HTTP/1.1 404 Not Found\r\nX-Long: enough to reach beyond the next");
        }
        peer.answer(ONE).map(drop)
    });
    let proxy = Proxy::before(&origin);
    let mut client = proxy.client();
    for _ in 0..3 {
        // Both at once, so that they share what one connection keeps while it is busy.
        client.send("GET /a HTTP/1.1\r\nHost: test\r\n\r\nGET /b HTTP/1.1\r\nHost: test\r\n\r\n");
        assert_eq!(client.response().status, 502);
        let answer = client.response();
        assert_eq!((answer.status, answer.text().as_str()), (200, "1"));
    }
}

#[test]
fn e31_the_log_says_once_that_an_upstream_is_down_and_that_it_is_up_again() {
    let refusing = Refusing::new();
    let url = refusing.url();
    let proxy = Proxy::start(&["--upstream", &url]);
    for _ in 0..5 {
        assert_eq!(proxy.client().get("/").status, 503);
    }
    proxy.wait_for_log("no upstream can be connected to");
    let _origin = refusing.relent(|peer| peer.answer(ONE).map(drop));
    eventually("it answers", || proxy.client().get("/").status == 200);
    proxy.wait_for_log("upstream is up");
    let log = proxy.log();
    let lines = |text: &str| log.iter().filter(|line| line.contains(text)).collect::<Vec<_>>();
    let down = lines("upstream is down");
    assert_eq!((down.len(), lines("upstream is up").len()), (1, 1), "{log:#?}");
    for part in ["WARN", &url, "connect_refused", "Connection refused"] {
        assert!(down[0].contains(part), "{part}: {down:?}");
    }
    assert!(lines("upstream is up")[0].contains("INFO"), "{log:#?}");
}

#[test]
fn e32_an_upstream_that_failed_once_gets_its_share_again() {
    let refusing = Refusing::new();
    let (url, other) = (refusing.url(), Origin::named("b"));
    let flags = ["--upstream", &url, "--upstream", &other.url(), "--workers", "1"];
    let proxy = Proxy::start(&flags);
    let mut client = proxy.client();
    (0..4).for_each(|_| assert_eq!(client.get("/").text(), "b"));
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na";
    let _origin = refusing.relent(move |peer| {
        loop {
            peer.answer(answer)?;
        }
    });
    eventually("it is back", || client.get("/").text() == "a");
    let texts: Vec<_> = (0..20).map(|_| client.get("/").text()).collect();
    assert_eq!(texts.iter().filter(|text| *text == "a").count(), 10, "{texts:?}");
}
