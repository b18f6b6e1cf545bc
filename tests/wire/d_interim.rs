//! 1xx answers, `Expect: 100-continue`, and answers that come before the request is whole.

use std::thread;
use std::time::Duration;

use crate::harness::{Ending, Gate, Origin, Proxy, assert_same, pattern};

const EXPECTING: &str =
    "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n";
const CONTINUE: &str = "HTTP/1.1 100 Continue\r\n\r\n";
const EMPTY: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

#[test]
fn d01_a_100_of_the_origin_is_relayed() {
    let origin = Origin::start(|peer| {
        let head = peer.request_head()?;
        assert_eq!(head.get("Expect"), Some("100-continue"));
        peer.send(CONTINUE)?;
        assert_eq!(peer.exactly(5)?, b"hello");
        peer.send(EMPTY)
    });
    let proxy = Proxy::with(&origin, &["--expect-timeout", "4s"]);
    let mut client = proxy.client();
    client.send(EXPECTING);
    assert_eq!(client.head().line, "HTTP/1.1 100 Continue");
    client.send("hello");
    let answer = client.response();
    assert_eq!((answer.status, answer.interim.len()), (200, 0));
}

#[test]
fn d02_a_100_is_made_when_the_origin_is_slow_to() {
    let origin = Origin::start(|peer| {
        peer.request_head()?;
        assert_eq!(peer.exactly(5)?, b"hello");
        peer.send(EMPTY)
    });
    let proxy = Proxy::with(&origin, &["--expect-timeout", "50ms"]);
    let mut client = proxy.client();
    client.send(EXPECTING);
    assert_eq!(client.head().line, "HTTP/1.1 100 Continue");
    client.send("hello");
    assert_eq!(client.response().status, 200);
}

#[test]
fn d03_only_one_100_reaches_the_client() {
    let origin = Origin::start(|peer| {
        peer.request_head()?;
        peer.exactly(5)?;
        peer.send(CONTINUE)?;
        peer.send(EMPTY)
    });
    let proxy = Proxy::with(&origin, &["--expect-timeout", "50ms"]);
    let mut client = proxy.client();
    client.send(EXPECTING);
    assert_eq!(client.head().line, "HTTP/1.1 100 Continue");
    client.send("hello");
    let answer = client.response();
    assert_eq!((answer.status, answer.interim.len()), (200, 0));
}

#[test]
fn d04_a_client_that_does_not_wait_is_no_problem() {
    let origin = Origin::echoing();
    let proxy = Proxy::before(&origin);
    let mut client = proxy.client();
    client.send(EXPECTING).send("hello");
    let answer = client.response();
    assert_eq!((answer.status, answer.text().as_str()), (200, "hello"));
    assert_eq!(client.get("/next").status, 200);
}

#[test]
fn d05_a_refusal_instead_of_a_100_is_relayed() {
    let refusal = "HTTP/1.1 417 Expectation Failed\r\nContent-Length: 2\r\n\r\nno";
    let origin = Origin::start(move |peer| {
        peer.request_head()?;
        peer.send(refusal)?;
        peer.hold()
    });
    let proxy = Proxy::with(&origin, &["--expect-timeout", "4s"]);
    let mut client = proxy.client();
    client.send(EXPECTING);
    let answer = client.response();
    assert_eq!((answer.status, answer.text().as_str()), (417, "no"));
    assert!(answer.interim.is_empty());
    if answer.head.lists("Connection", "close") {
        client.expect_closed();
    }
}

#[test]
fn d06_early_hints_are_relayed_before_the_answer() {
    let gate = Gate::default();
    let seen = gate.clone();
    let origin = Origin::start(move |peer| {
        peer.request()?;
        peer.send("HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n")?;
        peer.send("Connection: X-Gone\r\nX-Gone: 1\r\n\r\n")?;
        seen.wait();
        peer.send("HTTP/1.1 102 Processing\r\n\r\n")?;
        peer.send(EMPTY)
    });
    let proxy = Proxy::before(&origin);
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    let hints = client.head();
    assert_eq!(hints.line, "HTTP/1.1 103 Early Hints");
    assert_eq!(hints.get("Link"), Some("</style.css>"));
    assert!(hints.all("X-Gone").is_empty() && hints.all("Content-Length").is_empty());
    gate.open();
    let answer = client.response();
    assert_eq!((answer.status, answer.ending), (200, Ending::Length));
    assert_eq!(answer.interim[0].line, "HTTP/1.1 102 Processing");
}

#[test]
fn d07_an_http_10_client_gets_no_interim_answer() {
    let origin = Origin::answering(format!("{CONTINUE}HTTP/1.1 103 Early Hints\r\n\r\n{EMPTY}"));
    let proxy = Proxy::before(&origin);
    let mut client = proxy.client();
    client.send("GET / HTTP/1.0\r\nHost: test\r\n\r\n");
    let answer = client.response();
    assert_eq!((answer.status, answer.interim.len()), (200, 0));
}

#[test]
fn d08_interim_answers_without_end_are_not_for_ever() {
    let origin = Origin::start(|peer| {
        peer.request()?;
        loop {
            peer.send("HTTP/1.1 103 Early Hints\r\n\r\n".repeat(100))?;
        }
    });
    let proxy = Proxy::before(&origin);
    let answer = proxy.client().get("/");
    assert_eq!(answer.status, 502);
}

#[test]
fn d09_an_early_answer_arrives_whole_while_the_body_still_comes() {
    let body = pattern(300_000);
    let len = body.len();
    let head = format!("HTTP/1.1 403 Forbidden\r\nContent-Length: {len}\r\n\r\n");
    let octets = [head.as_bytes(), &body].concat();
    let origin = Origin::start(move |peer| {
        peer.request_head()?;
        peer.exactly(1000)?;
        peer.send(&octets)?;
        peer.hold()
    });
    let proxy = Proxy::before(&origin);
    let mut client = proxy.client();
    let mut sender = client.wire().sender().unwrap();
    let sending = thread::spawn(move || {
        sender.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 8000000\r\n\r\n")?;
        sender.send(pattern(8_000_000))
    });
    let answer = client.response();
    assert_eq!(answer.status, 403);
    assert_same(&answer.body, &body);
    let _ = sending.join().unwrap();
}

#[test]
fn d10_an_early_answer_of_an_origin_that_hangs_up_arrives_whole() {
    let origin = Origin::start(|peer| {
        peer.request_head()?;
        peer.send(
            "HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 3\r\n\r\nbig",
        )
    });
    let proxy = Proxy::before(&origin);
    for _ in 0..5 {
        let mut client = proxy.client();
        let mut sender = client.wire().sender().unwrap();
        let sending = thread::spawn(move || {
            sender.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 3000000\r\n\r\n")?;
            sender.send(pattern(3_000_000))
        });
        let answer = client.response();
        assert_eq!((answer.status, answer.text().as_str()), (413, "big"));
        let _ = sending.join().unwrap();
    }
}

#[test]
fn d11_a_switch_of_protocols_nobody_asked_for_is_refused() {
    let origin = Origin::answering(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\nraw",
    );
    let proxy = Proxy::before(&origin);
    assert_eq!(proxy.client().get("/").status, 502);
}

#[test]
fn d12_an_expectation_nobody_knows_is_refused() {
    let origin = Origin::echoing();
    let proxy = Proxy::before(&origin);
    let mut client = proxy.client();
    client.send("POST / HTTP/1.1\r\nHost: test\r\nExpect: miracles\r\nContent-Length: 0\r\n\r\n");
    let status = client.response().status;
    assert!(
        status == 417 || status == 200,
        "RFC 9110, 10.1.1: may be refused with 417, got {status}"
    );
}

#[test]
fn d13_after_an_early_answer_no_octet_of_the_body_is_taken_for_a_request() {
    let origin = Origin::start(|peer| {
        peer.request_head()?;
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nearly")?;
        peer.hold()
    });
    let proxy = Proxy::before(&origin);
    let mut client = proxy.client();
    client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 100\r\n\r\nhello");
    assert_eq!(client.response().text(), "early");
    client.send_if_taken("GET /smuggled HTTP/1.1\r\nHost: test\r\n\r\n".repeat(2));
    assert_eq!(proxy.client().get("/good").text(), "early");
    assert_eq!(
        origin.connections(),
        2,
        "a connection that is owed a body carries no other request"
    );
    let rest = client.until_gone();
    assert!(!rest.starts_with(b"HTTP/1.1 200"), "\"{}\"", rest.escape_ascii());
    assert!(origin.requests().iter().all(|request| request.target != "/smuggled"));
}

#[test]
fn d14_an_expectation_in_http_10_is_ignored() {
    let origin = Origin::echoing();
    let proxy = Proxy::with(&origin, &["--expect-timeout", "20ms"]);
    let mut client = proxy.client();
    client.send("POST / HTTP/1.0\r\nHost: test\r\nExpect: 100-continue\r\n");
    client.send("Content-Length: 2\r\n\r\n");
    client.expect_silence(Duration::from_millis(100));
    client.send("ok");
    let answer = client.response();
    assert_eq!((answer.text().as_str(), answer.interim.len()), ("ok", 0));
}
