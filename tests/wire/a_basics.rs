//! A request in, the right upstream, the answer back: every kind of message there is.

use std::thread;

use crate::harness::{Client, Ending, Origin, Proxy, assert_same, chunked, eventually, pattern};

const MIB: usize = 1024 * 1024;

#[test]
fn a01_a_get_goes_through_and_the_answer_comes_back() {
    let origin = Origin::named("a");
    let proxy = Proxy::before(&origin);
    let answer = proxy.client().get("/path?query=1");
    assert_eq!((answer.status, answer.text().as_str()), (200, "a"));
    assert_eq!(answer.get("X-Origin"), Some("a"));
    assert_eq!(answer.head.line, "HTTP/1.1 200 OK");
    let request = origin.request();
    assert_eq!(request.head.line, "GET /path?query=1 HTTP/1.1");
    assert_eq!(request.head.get("Host"), Some("test"));
}

#[test]
fn a02_two_upstreams_take_turns() {
    let (a, b) = (Origin::named("a"), Origin::named("b"));
    let proxy = Proxy::start(&["--upstream", &a.url(), "--upstream", &b.url()]);
    let mut client = proxy.client();
    let names: Vec<_> = (0..6).map(|_| client.get("/").text()).collect();
    let first = if names[0] == "a" { ["a", "b"] } else { ["b", "a"] };
    assert_eq!(names, [first, first, first].concat());
}

#[test]
fn a03_connections_are_kept_on_both_sides() {
    let origin = Origin::named("a");
    let proxy = Proxy::before(&origin);
    let mut client = proxy.client();
    for _ in 0..20 {
        assert_eq!(client.get("/").status, 200);
    }
    assert_eq!(origin.connections(), 1);
}

#[test]
fn a04_one_upstream_connection_serves_many_clients_in_turn() {
    let origin = Origin::named("a");
    let proxy = Proxy::before(&origin);
    for _ in 0..5 {
        assert_eq!(proxy.client().get("/").status, 200);
    }
    assert_eq!(origin.connections(), 1);
}

#[test]
fn a05_connection_close_is_honoured() {
    let origin = Origin::named("a");
    let proxy = Proxy::before(&origin);
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
    let answer = client.response();
    assert_eq!(answer.text(), "a");
    assert!(answer.head.lists("Connection", "close"));
    client.expect_closed();
    assert_eq!(proxy.client().get("/").status, 200);
    assert_eq!(origin.connections(), 1, "the client's close is no business of the upstream's");
}

#[test]
fn a06_an_upstream_that_closes_does_not_close_the_client() {
    let origin = Origin::start(|peer| {
        let head = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx";
        peer.answer(head).map(drop)
    });
    let proxy = Proxy::before(&origin);
    let mut client = proxy.client();
    for n in 1..=3 {
        let answer = client.get("/");
        assert_eq!(answer.text(), "x");
        assert!(!answer.head.lists("Connection", "close"));
        assert_eq!(origin.connections(), n);
    }
}

#[test]
fn a07_head_has_the_length_and_no_body() {
    let origin = Origin::answering("HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n");
    let proxy = Proxy::before(&origin);
    let mut client = proxy.client();
    for _ in 0..2 {
        client.send("HEAD / HTTP/1.1\r\nHost: test\r\n\r\n");
        let answer = client.response_to_head();
        assert_eq!((answer.status, answer.get("Content-Length")), (200, Some("1234")));
    }
    assert_eq!(origin.connections(), 1);
}

#[test]
fn a08_answers_without_bodies_leave_the_connections_usable() {
    for status in ["204 No Content", "304 Not Modified"] {
        let origin = Origin::answering(format!("HTTP/1.1 {status}\r\nETag: \"1\"\r\n\r\n"));
        let proxy = Proxy::before(&origin);
        let mut client = proxy.client();
        for _ in 0..3 {
            let answer = client.get("/");
            assert_eq!(answer.head.line, format!("HTTP/1.1 {status}"));
            assert_eq!(answer.get("ETag"), Some("\"1\""));
            assert!(answer.head.all("Transfer-Encoding").is_empty());
        }
        assert_eq!(origin.connections(), 1);
    }
}

#[test]
fn a09_an_empty_answer_is_an_answer() {
    let origin = Origin::answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    let proxy = Proxy::before(&origin);
    let mut client = proxy.client();
    for _ in 0..2 {
        let answer = client.get("/");
        assert_eq!((answer.body.len(), answer.ending), (0, Ending::Length));
    }
}

#[test]
fn a10_a_post_with_a_length_arrives_whole() {
    let origin = Origin::echoing();
    let proxy = Proxy::before(&origin);
    let mut client = proxy.client();
    for body in ["", "x", "hello"] {
        let len = body.len();
        let head = format!("POST /p HTTP/1.1\r\nHost: test\r\nContent-Length: {len}\r\n\r\n");
        client.send(head + body);
        assert_eq!(client.response().text(), body);
    }
    let seen: Vec<_> = origin.requests().into_iter().map(|r| r.body).collect();
    assert_eq!(seen, [&b""[..], b"x", b"hello"]);
    assert_eq!(origin.connections(), 1);
}

#[test]
fn a11_a_post_in_chunks_arrives_whole() {
    let origin = Origin::echoing();
    let proxy = Proxy::before(&origin);
    let mut client = proxy.client();
    for _ in 0..2 {
        client.send("POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n");
        client.send("5\r\nhello\r\n1;name=\"a;b\"\r\n \r\n0005\r\nworld\r\n0\r\n\r\n");
        assert_eq!(client.response().text(), "hello world");
    }
    assert_eq!(origin.requests()[0].head.all("Transfer-Encoding"), ["chunked"]);
    let received = origin.received(0);
    assert!(!received.windows(4).any(|w| w == b"name"), "chunk extensions end at the proxy");
}

#[test]
fn a12_an_answer_in_chunks_arrives_whole() {
    let body = pattern(70_000);
    let mut octets = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    octets.extend(chunked(&body, 999));
    let origin = Origin::answering(octets);
    let proxy = Proxy::before(&origin);
    let mut client = proxy.client();
    for _ in 0..2 {
        let answer = client.get("/");
        assert_eq!(answer.ending, Ending::Chunked);
        assert_same(&answer.body, &body);
    }
    assert_eq!(origin.connections(), 1);
}

#[test]
fn a13_an_http_10_client_is_served_and_let_go() {
    let origin = Origin::answering(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    );
    let proxy = Proxy::before(&origin);
    let mut client = proxy.client();
    client.send("GET / HTTP/1.0\r\n\r\n");
    let answer = client.response();
    assert_eq!((answer.text().as_str(), answer.ending), ("abc", Ending::Close));
    assert_eq!(origin.request().version, "HTTP/1.1");
    assert!(origin.request().head.get("Host").is_some(), "1.1 must have a Host");
}

#[test]
fn a14_an_http_10_client_may_ask_to_stay() {
    let origin = Origin::named("a");
    let proxy = Proxy::before(&origin);
    let mut client = proxy.client();
    for _ in 0..2 {
        client.send("GET / HTTP/1.0\r\nHost: test\r\nConnection: keep-alive\r\n\r\n");
        let answer = client.response();
        assert_eq!(answer.ending, Ending::Length);
        assert!(answer.head.lists("Connection", "keep-alive"));
    }
    client.send("GET / HTTP/1.0\r\nHost: test\r\n\r\n");
    assert_eq!(client.response().text(), "a");
    client.expect_closed();
}

#[test]
fn a15_an_http_10_origin_is_understood() {
    let origin = Origin::start(|peer| {
        peer.answer("HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nold").map(drop)
    });
    let proxy = Proxy::before(&origin);
    let mut client = proxy.client();
    for n in 1..=2 {
        let answer = client.get("/");
        assert_eq!(answer.head.line, "HTTP/1.1 200 OK");
        assert_eq!((answer.text().as_str(), answer.ending), ("old", Ending::Length));
        assert_eq!(origin.connections(), n);
    }
}

#[test]
fn a16_an_answer_until_the_close_comes_in_chunks_and_the_client_stays() {
    let body = pattern(50_000);
    let octets = [b"HTTP/1.1 200 OK\r\n\r\n".as_slice(), &body].concat();
    let origin = Origin::start(move |peer| peer.answer(&octets).map(drop));
    let proxy = Proxy::before(&origin);
    let mut client = proxy.client();
    for _ in 0..2 {
        let answer = client.get("/");
        assert_eq!(answer.ending, Ending::Chunked);
        assert_same(&answer.body, &body);
    }
}

#[test]
fn a17_options_asterisk_passes() {
    let origin = Origin::named("a");
    let proxy = Proxy::before(&origin);
    let mut client = proxy.client();
    client.send("OPTIONS * HTTP/1.1\r\nHost: test\r\n\r\n");
    assert_eq!(client.response().status, 200);
    assert_eq!(origin.request().head.line, "OPTIONS * HTTP/1.1");
}

#[test]
fn a18_the_absolute_form_wins_over_host_and_leaves_in_origin_form() {
    let origin = Origin::named("a");
    let proxy = Proxy::before(&origin);
    let mut client = proxy.client();
    let cases = [
        ("http://real.example/a?b", "GET /a?b HTTP/1.1", "real.example"),
        ("http://real.example:81", "GET / HTTP/1.1", "real.example:81"),
        ("HTTP://Real.example?q", "GET /?q HTTP/1.1", "Real.example"),
    ];
    for (target, line, host) in cases {
        client.send(format!("GET {target} HTTP/1.1\r\nHost: other.example\r\n\r\n"));
        assert_eq!(client.response().status, 200);
        let request = origin.requests().pop().unwrap();
        assert_eq!(request.head.line, line);
        assert!(request.head.get("Host").unwrap().eq_ignore_ascii_case(host));
    }
}

#[test]
fn a19_connect_is_not_implemented() {
    let origin = Origin::named("a");
    let proxy = Proxy::before(&origin);
    let mut client = proxy.client();
    client.send("CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n");
    let answer = client.response();
    assert!(matches!(answer.status, 501 | 405), "{}", answer.head.line);
    assert!(answer.status == 501 || answer.get("Allow").is_some());
    assert_eq!(origin.connections(), 0);
}

#[test]
fn a20_methods_nobody_knows_pass() {
    let origin = Origin::named("a");
    let proxy = Proxy::before(&origin);
    let mut client = proxy.client();
    for method in ["PUT", "DELETE", "PATCH", "PROPFIND", "get", "X-!#$%&'*+.^_`|~"] {
        client.send(format!("{method} /m HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n\r\n"));
        assert_eq!(client.response().status, 200, "{method}");
        assert_eq!(origin.requests().pop().unwrap().method, method);
    }
}

#[test]
fn a21_a_thousand_pipelined_requests_are_answered_in_order() {
    let origin = Origin::serving(|request| {
        let (len, target) = (request.target.len(), &request.target);
        format!("HTTP/1.1 200 OK\r\nContent-Length: {len}\r\n\r\n{target}").into_bytes()
    });
    let proxy = Proxy::before(&origin);
    let mut client = proxy.client();
    let mut sender = client.wire().sender().unwrap();
    let sending = thread::spawn(move || {
        let one = |n| format!("GET /{n} HTTP/1.1\r\nHost: test\r\n\r\n");
        sender.send((0..1000).map(one).collect::<String>())
    });
    for n in 0..1000 {
        assert_eq!(client.response().text(), format!("/{n}"));
    }
    sending.join().unwrap().unwrap();
}

#[test]
fn a22_pipelined_bodies_do_not_run_into_each_other() {
    let origin = Origin::echoing();
    let proxy = Proxy::before(&origin);
    let mut client = proxy.client();
    client.send(
        "POST /1 HTTP/1.1\r\nHost: test\r\nContent-Length: 3\r\n\r\none\
         POST /2 HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n\
         3\r\ntwo\r\n0\r\n\r\n\
         GET /3 HTTP/1.1\r\nHost: test\r\n\r\n\
         POST /4 HTTP/1.1\r\nHost: test\r\nContent-Length: 4\r\n\r\nfour",
    );
    let bodies = [(); 4].map(|()| client.response().text());
    assert_eq!(bodies, ["one", "two", "", "four"]);
}

#[test]
fn a23_a_request_may_come_one_octet_at_a_time() {
    let origin = Origin::echoing();
    let proxy = Proxy::before(&origin);
    let mut client = proxy.client();
    client.send_slowly("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 12\r\n\r\nslowly comes");
    assert_eq!(client.response().text(), "slowly comes");
    client.send_slowly("POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n");
    client.send_slowly("3\r\nabc\r\n0a;x=y\r\n0123456789\r\n0\r\nX-T: v\r\n\r\n");
    assert_eq!(client.response().text(), "abc0123456789");
}

#[test]
fn a24_an_answer_may_come_one_octet_at_a_time() {
    let answers = [
        "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nslow",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nsl\r\n2\r\now\r\n0\r\n\r\n",
    ];
    for octets in answers {
        let origin = Origin::start(move |peer| {
            loop {
                peer.request()?;
                peer.send_slowly(octets)?;
            }
        });
        let proxy = Proxy::before(&origin);
        let mut client = proxy.client();
        for _ in 0..2 {
            assert_eq!(client.get("/").text(), "slow");
        }
        assert_eq!(origin.connections(), 1);
    }
}

#[test]
fn a25_a_large_answer_arrives_unharmed_however_it_is_framed() {
    let body = pattern(10 * MIB);
    let len = body.len();
    let with_length = format!("HTTP/1.1 200 OK\r\nContent-Length: {len}\r\n\r\n");
    let in_chunks = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let kinds = [
        ([with_length.as_bytes(), &body].concat(), Ending::Length),
        ([in_chunks.as_bytes(), &chunked(&body, 100_000)].concat(), Ending::Chunked),
    ];
    for (octets, ending) in kinds {
        let origin = Origin::answering(octets);
        let proxy = Proxy::before(&origin);
        let mut client = proxy.client();
        for _ in 0..2 {
            let answer = client.get("/");
            assert_eq!(answer.ending, ending);
            assert_same(&answer.body, &body);
        }
        assert_eq!(origin.connections(), 1);
    }
}

#[test]
fn a26_a_large_upload_arrives_unharmed_however_it_is_framed() {
    let body = pattern(10 * MIB);
    let origin = Origin::answering("HTTP/1.1 204 No Content\r\n\r\n");
    let proxy = Proxy::before(&origin);
    let mut client = proxy.client();
    let len = body.len();
    client.send(format!("PUT / HTTP/1.1\r\nHost: test\r\nContent-Length: {len}\r\n\r\n"));
    client.send(&body);
    assert_eq!(client.response().status, 204);
    client.send("PUT / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n");
    client.send(chunked(&body, 70_001));
    assert_eq!(client.response().status, 204);
    for request in origin.requests() {
        assert_same(&request.body, &body);
    }
    assert_eq!(origin.requests().len(), 2);
}

#[test]
fn a27_both_directions_move_at_once() {
    let body = pattern(4 * MIB);
    let len = body.len();
    let origin = Origin::start(move |peer| {
        peer.request_head()?;
        peer.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {len}\r\n\r\n"))?;
        let mut left = len;
        while left > 0 {
            let block = peer.exactly(left.min(10_000))?;
            left -= block.len();
            peer.send(block)?;
        }
        Ok(())
    });
    let proxy = Proxy::before(&origin);
    let mut client = proxy.client();
    let (mut sender, sent) = (client.wire().sender().unwrap(), body.clone());
    let sending = thread::spawn(move || {
        sender.send(format!("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: {len}\r\n\r\n"))?;
        sender.send(sent)
    });
    let answer = client.response();
    sending.join().unwrap().unwrap();
    assert_same(&answer.body, &body);
}

#[test]
fn a28_what_comes_in_goes_out_at_once() {
    let origin = Origin::start(|peer| {
        peer.request_head()?;
        peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
        loop {
            let question = peer.exactly(4)?;
            peer.send([b"4\r\n", question.as_slice(), b"\r\n"].concat())?;
        }
    });
    let proxy = Proxy::before(&origin);
    let mut client = proxy.client();
    client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 400\r\n\r\n");
    assert!(client.head().line.contains("200"));
    for n in 0..50 {
        let question = format!("{n:04}");
        client.send(&question);
        assert_eq!(client.exactly(9), format!("4\r\n{question}\r\n").as_bytes());
    }
}

#[test]
fn a29_trailers_pass_in_both_directions() {
    let origin = Origin::answering(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n\
         2\r\nok\r\n0\r\nX-Sum: 42\r\n\r\n",
    );
    let proxy = Proxy::before(&origin);
    let mut client = proxy.client();
    client.send(
        "POST / HTTP/1.1\r\nHost: test\r\nTE: trailers\r\nTransfer-Encoding: chunked\r\n\r\n\
         1\r\nx\r\n0\r\nX-Check: 1\r\nContent-Length: 9\r\nHost: evil\r\n\r\n",
    );
    let answer = client.response();
    assert_eq!(answer.text(), "ok");
    assert_eq!(answer.trailers, [("X-Sum".to_owned(), "42".to_owned())]);
    let trailers = origin.request().trailers;
    assert_eq!(trailers, [("X-Check".to_owned(), "1".to_owned())], "framing stays out of trailers");
}

#[test]
fn a30_close_in_the_middle_of_a_pipeline_is_the_end_of_it() {
    let origin = Origin::named("a");
    let proxy = Proxy::before(&origin);
    let mut client = proxy.client();
    client.send(
        "GET /1 HTTP/1.1\r\nHost: test\r\n\r\n\
         GET /2 HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n\
         GET /3 HTTP/1.1\r\nHost: test\r\n\r\n",
    );
    assert!(!client.response().head.lists("Connection", "close"));
    assert!(client.response().head.lists("Connection", "close"));
    client.expect_closed();
    assert_eq!(origin.requests().len(), 2);
}

#[test]
fn a31_octets_beyond_a_body_are_the_next_request() {
    let origin = Origin::echoing();
    let proxy = Proxy::before(&origin);
    let mut client = proxy.client();
    client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 2\r\n\r\nokrubbish\r\n\r\n");
    assert_eq!(client.response().text(), "ok");
    assert_eq!(client.response().status, 400);
    client.expect_closed();
}

#[test]
fn a32_head_of_a_chunked_answer_and_a_304_with_a_length_have_no_body() {
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let origin = Origin::answering(chunked);
    let proxy = Proxy::before(&origin);
    let mut client = proxy.client();
    for _ in 0..3 {
        client.send("HEAD / HTTP/1.1\r\nHost: test\r\n\r\n");
        assert_eq!(client.response_to_head().status, 200);
    }
    assert_eq!(origin.connections(), 1);
    let origin = Origin::answering("HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n");
    let proxy = Proxy::before(&origin);
    let mut client = proxy.client();
    (0..3).for_each(|_| assert_eq!(client.get("/").status, 304));
    assert_eq!(origin.connections(), 1);
}

#[test]
fn a33_a_get_may_have_a_body() {
    let origin = Origin::echoing();
    let proxy = Proxy::before(&origin);
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nhello");
    assert_eq!(client.response().text(), "hello");
    assert_eq!(client.get("/").text(), "");
}

#[test]
fn a34_an_http_10_client_that_would_stay_cannot_when_only_the_close_ends_the_body() {
    let origin = Origin::answering(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    );
    let proxy = Proxy::before(&origin);
    let mut client = proxy.client();
    client.send("GET / HTTP/1.0\r\nHost: test\r\nConnection: keep-alive\r\n\r\n");
    let answer = client.response();
    assert_eq!((answer.text().as_str(), answer.ending), ("abc", Ending::Close));
    assert!(!answer.head.lists("Connection", "keep-alive"));
}

#[test]
fn a35_heads_as_large_as_allowed_are_answered_in_order() {
    let padding = "x".repeat(16_384 - "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nX: \r\n\r\n".len());
    let origin = Origin::serving(move |request| match request.target.as_str() {
        "/large" => format!("HTTP/1.1 200 OK\r\nX: {padding}\r\nContent-Length: 1\r\n\r\nL").into(),
        _ => b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\ns".to_vec(),
    });
    let proxy = Proxy::before(&origin);
    let bare = "GET / HTTP/1.1\r\nHost: test\r\nX: \r\n\r\n".len();
    for len in [15_000, 16_000, 16_300, 16_384] {
        let mut client = proxy.client();
        let padding = "x".repeat(len - bare);
        client.send(format!("GET / HTTP/1.1\r\nHost: test\r\nX: {padding}\r\n\r\n"));
        let answer = client.response();
        assert!(matches!(answer.status, 200 | 431), "{len}: {}", answer.head.line);
    }
    let mut client = proxy.client();
    let answer = client.get("/large");
    assert!(matches!(answer.status, 200 | 502), "{}", answer.head.line);
    assert_eq!(proxy.client().get("/small").text(), "s");
}

#[test]
fn a36_large_plain_bodies_are_spliced_and_the_connections_stay() {
    let body = pattern(3 * MIB);
    let len = body.len();
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {len}\r\n\r\n");
    let origin = Origin::answering([head.as_bytes(), &body].concat());
    let proxy = Proxy::before(&origin);
    let mut client = proxy.client();
    for n in 1..=3 {
        assert_same(&client.get("/").body, &body);
        assert_eq!(client.get("/").status, 200);
        eventually("spliced", || proxy.metric("/splice/bodies") >= n);
    }
    assert_eq!(origin.connections(), 1);
}

#[test]
fn a37_chunks_of_one_octet_are_no_trouble() {
    let body = pattern(50_000);
    let origin = Origin::echoing();
    let proxy = Proxy::before(&origin);
    let mut client = proxy.client();
    client.send("POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n");
    client.send(chunked(&body, 1));
    assert_same(&client.response().body, &body);
}

#[test]
fn a38_many_clients_at_once_each_get_their_own_answer() {
    let origin = Origin::echoing();
    let proxy = Proxy::with(&origin, &["--workers", "2"]);
    let ask = |n: usize| {
        let address = proxy.address.clone();
        move || {
            let mut client = Client::to(&address);
            for round in 0..20 {
                let body = format!("{n}-{round}").repeat(n + 1);
                let len = body.len();
                let head = format!("POST / HTTP/1.1\r\nHost: t\r\nContent-Length: {len}\r\n\r\n");
                client.send(head + &body);
                assert_eq!(client.response().text(), body);
            }
        }
    };
    let clients: Vec<_> = (0..32).map(|n| thread::spawn(ask(n))).collect();
    clients.into_iter().for_each(|client| client.join().unwrap());
    eventually("all clients gone", || proxy.metric("/connections/current") == 0);
}
