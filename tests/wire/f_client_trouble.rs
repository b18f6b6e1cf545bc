//! Clients that leave, stall, stop reading, and send too much.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::harness::{
    Client, Gate, Origin, Peer, Proxy, assert_same, eventually, memory_allowed, pattern,
};

const GET: &str = "GET / HTTP/1.1\r\nHost: test\r\n\r\n";
const ONE: &str = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1";
const MIB: usize = 1024 * 1024;
/// More than the kernel keeps on both hops together: by default at most 36 MiB on a wide one, 4 MiB on a narrow one.
const MUCH: usize = 48 * MIB;

/// An origin that takes a request, opens `asked`, waits for its connection to end, and opens `left`.
fn waiting(asked: &Gate, left: &Gate) -> Origin {
    let (asked, left) = (asked.clone(), left.clone());
    Origin::start(move |peer| {
        peer.request_head()?;
        asked.open();
        peer.hold()?;
        left.open();
        Ok(())
    })
}

#[test]
fn f01_a_client_that_leaves_takes_the_upstream_work_with_it() {
    for resets in [false, true] {
        let (asked, left) = (Gate::default(), Gate::default());
        let origin = waiting(&asked, &left);
        let proxy = Proxy::before(&origin);
        let mut client = proxy.client();
        client.send(GET);
        asked.wait();
        if resets {
            client.reset()
        } else {
            drop(client)
        }
        left.wait();
    }
}

#[test]
fn f02_a_client_that_resets_in_mid_upload_takes_the_upstream_work_with_it() {
    let (asked, left) = (Gate::default(), Gate::default());
    let origin = waiting(&asked, &left);
    let proxy = Proxy::before(&origin);
    let mut client = proxy.client();
    client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 1000\r\n\r\nhello");
    asked.wait();
    client.reset();
    left.wait();
}

#[test]
fn f03_an_upload_cut_short_is_not_made_to_look_whole() {
    let framings = ["Content-Length: 10", "Transfer-Encoding: chunked"];
    for (framing, part) in framings.into_iter().zip(["hello", "5\r\nhello\r\n"]) {
        let (asked, left) = (Gate::default(), Gate::default());
        let origin = waiting(&asked, &left);
        let proxy = Proxy::before(&origin);
        let mut client = proxy.client();
        client.send(format!("POST / HTTP/1.1\r\nHost: test\r\n{framing}\r\n\r\n{part}"));
        asked.wait();
        client.finish_sending();
        left.wait();
        let received = origin.received(0);
        assert!(!received.ends_with(b"0\r\n\r\n"), "\"{}\"", received.escape_ascii());
    }
}

/// Answers with `body` as far as it is taken, tells how far that was, and sends the rest when let.
fn stream_and_tell(
    peer: &mut Peer,
    body: &[u8],
    taken: &Mutex<usize>,
    blocked: &Gate,
    go_on: &Gate,
) {
    let _ = (|| {
        peer.request()?;
        peer.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()))?;
        let sent = peer.send_until_blocked(body, Duration::from_millis(300))?;
        *taken.lock().unwrap() = sent;
        blocked.open();
        go_on.wait();
        peer.send(&body[sent..])
    })();
}

#[test]
fn f04_a_client_that_stops_reading_stops_the_origin_and_nobody_else() {
    let body = Arc::new(pattern(MUCH));
    let (blocked, go_on) = (Gate::default(), Gate::default());
    let taken = Arc::new(Mutex::new(0));
    let origin = {
        let (body, blocked, go_on) = (body.clone(), blocked.clone(), go_on.clone());
        let taken = taken.clone();
        Origin::start(move |peer| {
            if peer.number > 0 {
                return peer.answer(ONE).map(drop);
            }
            stream_and_tell(peer, &body, &taken, &blocked, &go_on);
            Ok(())
        })
    };
    let proxy = Proxy::before(&origin);
    let before = proxy.resident()[0];
    let mut client = Client::narrow(&proxy.address);
    client.send(GET);
    blocked.wait();
    let taken = *taken.lock().unwrap();
    assert!(taken < MUCH, "the origin was let send {taken} octets nobody read");
    let grown = proxy.resident()[0].saturating_sub(before);
    assert!(grown < 8 << 20, "{grown} octets more memory for a client that does not read");
    assert_eq!(proxy.client().get("/").text(), "1", "others are served");
    go_on.open();
    assert_same(&client.response().body, &body);
}

#[test]
fn f05_an_origin_that_stops_reading_stops_the_client() {
    let body = Arc::new(pattern(MUCH));
    let go_on = Gate::default();
    let (let_go, expected) = (go_on.clone(), body.clone());
    let origin = Origin::narrow(move |peer| {
        peer.request_head()?;
        let_go.wait();
        assert_same(&peer.exactly(MUCH)?, &expected);
        peer.send(ONE)
    });
    let proxy = Proxy::before(&origin);
    let mut client = proxy.client();
    client.send(format!("PUT / HTTP/1.1\r\nHost: test\r\nContent-Length: {MUCH}\r\n\r\n"));
    let sent = client.wire().send_until_blocked(&body, Duration::from_millis(300)).unwrap();
    assert!(sent < MUCH, "{sent} octets were taken that the origin did not read");
    go_on.open();
    client.send(&body[sent..]);
    assert_eq!(client.response().text(), "1");
}

#[test]
fn f06_a_client_that_never_reads_again_is_cut() {
    let left = Gate::default();
    let gone = left.clone();
    let origin = Origin::start(move |peer| {
        peer.request()?;
        let sent = peer.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {MUCH}\r\n\r\n"));
        let _ = sent.and_then(|()| peer.send(vec![b'x'; MUCH]));
        gone.open();
        Ok(())
    });
    let proxy = Proxy::with(&origin, &["--write-timeout", "200ms"]);
    let mut client = Client::narrow(&proxy.address);
    client.send(GET);
    left.wait();
    let came = client.until_gone();
    assert!(came.len() < MUCH);
}

#[test]
fn f07_a_head_that_does_not_come_to_an_end_in_time_is_408() {
    let origin = Origin::named("a");
    let proxy = Proxy::with(&origin, &["--read-timeout", "150ms"]);
    for part in ["G", "GET / HTTP/1.1\r\n", "GET / HTTP/1.1\r\nHost: test\r\n"] {
        let mut client = proxy.client();
        client.send(part);
        assert_eq!(client.response().status, 408);
        client.expect_closed();
    }
    assert_eq!(origin.connections(), 0);
}

#[test]
fn f08_dripping_does_not_win_time() {
    let origin = Origin::named("a");
    let proxy = Proxy::with(&origin, &["--read-timeout", "200ms"]);
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nX: ");
    client.wire().patience(Duration::from_millis(20)).unwrap();
    let mut drips = 0;
    while client.wire().fill().is_err() {
        assert!(drips < 200, "still open after {drips} drips");
        client.send_if_taken("x");
        drips += 1;
    }
    assert_eq!(client.response().status, 408);
}

#[test]
fn f09_a_body_that_stalls_is_408() {
    let origin = Origin::echoing();
    let proxy = Proxy::with(&origin, &["--read-timeout", "150ms"]);
    let mut client = proxy.client();
    client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\nhello");
    assert_eq!(client.response().status, 408);
    client.expect_closed();
    assert!(origin.requests().is_empty());
}

#[test]
fn f10_a_head_too_large_is_431() {
    let origin = Origin::named("a");
    let proxy = Proxy::with(&origin, &["--max-head", "1KiB"]);
    let head = |len: usize| {
        let bare = "GET / HTTP/1.1\r\nHost: test\r\nX: \r\n\r\n".len();
        format!("GET / HTTP/1.1\r\nHost: test\r\nX: {}\r\n\r\n", "x".repeat(len - bare))
    };
    let mut client = proxy.client();
    client.send(head(1024));
    assert_eq!(client.response().status, 200);
    client.send(head(1025));
    assert_eq!(client.response().status, 431);
    client.expect_closed();
    let mut client = proxy.client();
    client.send(format!("GET / HTTP/1.1\r\nHost: test\r\nX: {}", "x".repeat(5000)));
    assert_eq!(client.response().status, 431, "without waiting for the end");
    assert_eq!(origin.requests().len(), 1);
}

#[test]
fn f10b_targets_and_fields_have_limits_of_their_own() {
    let origin = Origin::named("a");
    let get = |target: usize, fields: usize| {
        let fields = "X: y\r\n".repeat(fields - 1);
        format!("GET /{} HTTP/1.1\r\nHost: test\r\n{fields}\r\n", "t".repeat(target - 1))
    };
    for (flags, target, fields) in [
        (&[][..], 8192, 100),
        (&["--max-target", "12KiB", "--max-fields", "256"], 12 * 1024, 256),
        (&["--max-target", "256B", "--max-fields", "8"], 256, 8),
    ] {
        let proxy = Proxy::with(&origin, flags);
        for (request, status) in
            [(get(target, fields), 200), (get(target + 1, 2), 414), (get(1, fields + 1), 431)]
        {
            let mut client = proxy.client();
            client.send(request);
            assert_eq!(client.response().status, status, "{flags:?}");
        }
    }
}

#[test]
fn f10c_heads_beyond_a_buffer_pass_both_ways_where_they_are_allowed() {
    let large = "y".repeat(60_000);
    let answer = format!("HTTP/1.1 200 OK\r\nX: {large}\r\nContent-Length: 2\r\n\r\nok");
    let origin = Origin::answering(&answer);
    let request = |len: usize| {
        format!(
            "POST /a HTTP/1.1\r\nHost: test\r\nX: {}\r\nContent-Length: 5\r\n\r\nhello",
            "x".repeat(len)
        )
    };
    let proxy = Proxy::with(&origin, &["--max-head", "64KiB", "--max-target", "64KiB"]);
    let mut client = proxy.client();
    for len in [60_000, 10, 65_000] {
        // In pieces, and with the next request behind it.
        let octets = request(len) + &request(20_000);
        let (first, second) = octets.split_at(30_000.min(len));
        client.send(first);
        client.send(second);
        for _ in 0..2 {
            let response = client.response();
            assert_eq!((response.status, response.body.len()), (200, 2));
            assert_eq!(response.get("X").map(str::len), Some(large.len()));
        }
    }
    let sent = origin.requests();
    assert_eq!(sent.len(), 6);
    assert_eq!(sent[4].head.get("X").map(str::len), Some(65_000));
    assert!(sent.iter().all(|request| request.body == b"hello"));
    client.send(request(66_000));
    assert_eq!(client.response().status, 431);

    let target = "t".repeat(60_000);
    let mut client = proxy.client();
    client.send(format!("GET /{target} HTTP/1.1\r\nHost: test\r\n\r\n"));
    assert_eq!(client.response().status, 200);
}

#[test]
fn f11_too_many_fields_are_431() {
    let origin = Origin::named("a");
    let proxy = Proxy::before(&origin);
    let mut client = proxy.client();
    client.send(format!("GET / HTTP/1.1\r\nHost: test\r\n{}\r\n", "X: y\r\n".repeat(1000)));
    assert_eq!(client.response().status, 431);
    assert_eq!(origin.connections(), 0);
}

#[test]
fn f12_a_target_too_long_is_414() {
    let origin = Origin::named("a");
    let proxy = Proxy::with(&origin, &["--max-head", "1KiB"]);
    let mut client = proxy.client();
    client.send(format!("GET /{} HTTP/1.1\r\nHost: test\r\n\r\n", "x".repeat(2000)));
    assert_eq!(client.response().status, 414);
    let proxy = Proxy::before(&origin);
    let mut client = proxy.client();
    client.send(format!("GET /{} HTTP/1.1\r\nHost: test\r\n\r\n", "x".repeat(15_000)));
    assert_eq!(client.response().status, 414);
    assert_eq!(origin.connections(), 0);
}

#[test]
fn f13_a_body_too_large_is_413_before_the_origin_hears_of_it() {
    let origin = Origin::echoing();
    let proxy = Proxy::with(&origin, &["--max-body", "1KiB"]);
    let mut client = proxy.client();
    let post = |len: usize| {
        let head = format!("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: {len}\r\n\r\n");
        head + &"x".repeat(len)
    };
    client.send(post(1024));
    assert_eq!(client.response().status, 200);
    client.send(post(1025));
    assert_eq!(client.response().status, 413);
    assert_eq!(origin.requests().len(), 1);
    assert!(!origin.received(0).windows(20).any(|w| w == b"Content-Length: 1025"));
}

#[test]
fn f14_a_chunked_body_too_large_is_413_when_it_becomes_so() {
    let origin = Origin::echoing();
    let proxy = Proxy::with(&origin, &["--max-body", "1KiB"]);
    let post = "POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n";
    let mut client = proxy.client();
    client.send(format!("{post}400\r\n{}\r\n0\r\n\r\n", "x".repeat(1024)));
    assert_eq!(client.response().status, 200);
    client.send(format!("{post}400\r\n{}\r\n1\r\nx\r\n0\r\n\r\n", "x".repeat(1024)));
    assert_eq!(client.response().status, 413);
    assert_eq!(origin.requests().len(), 1, "the second was never whole");
}

#[test]
fn f15_who_closes_the_sending_side_early_has_left_unless_half_close_is_allowed() {
    let (asked, left) = (Gate::default(), Gate::default());
    let origin = waiting(&asked, &left);
    let proxy = Proxy::before(&origin);
    let mut client = proxy.client();
    client.send(GET);
    asked.wait();
    client.finish_sending();
    left.wait();

    let (asked, go_on) = (Gate::default(), Gate::default());
    let origin = {
        let (asked, go_on) = (asked.clone(), go_on.clone());
        Origin::start(move |peer| {
            peer.request()?;
            asked.open();
            go_on.wait();
            peer.send(ONE)
        })
    };
    let proxy = Proxy::with(&origin, &["--half-close"]);
    let mut client = proxy.client();
    client.send(GET);
    asked.wait();
    client.finish_sending();
    client.expect_silence(Duration::from_millis(50));
    go_on.open();
    assert_eq!(client.response().text(), "1");
    client.expect_closed();
}

#[test]
fn f16_a_client_that_sends_and_leaves_at_once_harms_nobody() {
    let origin = Origin::named("a");
    let proxy = Proxy::before(&origin);
    for n in 0..100 {
        let mut client = proxy.client();
        client.send(&GET[..n % GET.len() + 1]);
        if n % 2 == 0 { client.reset() } else { drop(client) }
    }
    assert_eq!(proxy.client().get("/").text(), "a");
    eventually("all of them gone", || proxy.metric("/connections/current") == 0);
    eventually("their buffers home", || proxy.metric("/buffers/used") == 0);
}

#[test]
fn f17_a_client_that_asks_and_never_reads_is_not_read_for_ever() {
    let origin = Origin::answering(format!(
        "HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n{}",
        "x".repeat(10_000)
    ));
    let proxy = Proxy::before(&origin);
    let before = proxy.resident()[0];
    let mut client = Client::narrow(&proxy.address);
    let requests = GET.repeat(500_000);
    let sent = client.wire().send_until_blocked(requests.as_bytes(), Duration::from_millis(500));
    let sent = sent.unwrap();
    assert!(sent < requests.len(), "{sent} octets of requests were taken");
    let grown = proxy.resident()[0].saturating_sub(before);
    let allowed = memory_allowed(8 * MIB as u64);
    assert!(grown < allowed, "{grown} octets more memory");
    assert_eq!(proxy.client().get("/").status, 200);
}

#[test]
fn f18_a_client_that_leaves_in_the_middle_of_a_quiet_answer_is_noticed() {
    let framings = ["Content-Length: 10\r\n\r\nhello", "Transfer-Encoding: chunked\r\n\r\n"];
    for (framing, resets) in framings.into_iter().flat_map(|f| [(f, false), (f, true)]) {
        let left = Gate::default();
        let gone = left.clone();
        let origin = Origin::start(move |peer| {
            peer.answer(format!("HTTP/1.1 200 OK\r\n{framing}"))?;
            peer.hold()?;
            gone.open();
            Ok(())
        });
        let proxy = Proxy::before(&origin);
        let mut client = proxy.client();
        client.send(GET);
        assert!(client.head().line.contains("200"));
        if resets {
            client.reset()
        } else {
            drop(client)
        }
        left.wait();
    }
}

#[test]
fn f19_a_client_that_leaves_while_the_origin_does_not_read_is_noticed() {
    let (asked, done) = (Gate::default(), Gate::default());
    let (seen, over) = (asked.clone(), done.clone());
    let origin = Origin::narrow(move |peer| {
        peer.request_head()?;
        seen.open();
        over.wait();
        Ok(())
    });
    let proxy = Proxy::before(&origin);
    let mut client = proxy.client();
    client.send(format!("PUT / HTTP/1.1\r\nHost: test\r\nContent-Length: {MUCH}\r\n\r\n"));
    asked.wait();
    let body = pattern(MUCH);
    client.wire().send_until_blocked(&body, Duration::from_millis(200)).unwrap();
    assert_eq!(proxy.metric("/active"), 1);
    client.reset();
    eventually("the request over", || proxy.metric("/active") == 0);
    done.open();
}
