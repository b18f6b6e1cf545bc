//! What could be read in two ways is refused: an answer, a close, and not one octet for the origin.

use crate::harness::{Origin, Proxy};

/// Sends each request to a proxy, on a connection of its own with a good request smuggled behind it.
/// It must be refused with the status given and the connection closed; the origin must see
/// the good request that follows on a fresh connection, and nothing else.
#[track_caller]
fn refused(status: u16, requests: &[&str]) {
    let origin = Origin::named("a");
    let proxy = Proxy::before(&origin);
    for request in requests {
        let mut client = proxy.client();
        client.send(format!("{request}GET /smuggled HTTP/1.1\r\nHost: test\r\n\r\n"));
        let answer = client.response();
        assert_eq!(answer.status, status, "to {request:?} came {answer:?}");
        assert!(answer.head.lists("Connection", "close"), "to {request:?} came {answer:?}");
        client.expect_closed();
    }
    assert_eq!(proxy.client().get("/good").status, 200);
    assert_eq!(origin.request().target, "/good");
    assert_eq!(origin.connections(), 1);
}

/// As [`refused`], with `field` lines in a POST whose body is empty either way.
#[track_caller]
fn refused_fields(status: u16, fields: &[&str]) {
    let post = |field: &&str| format!("POST / HTTP/1.1\r\nHost: test\r\n{field}\r\n\r\n0\r\n\r\n");
    let requests: Vec<_> = fields.iter().map(post).collect();
    refused(status, &requests.iter().map(String::as_str).collect::<Vec<_>>());
}

#[test]
fn c01_a_length_and_a_transfer_encoding() {
    refused_fields(
        400,
        &[
            "Content-Length: 5\r\nTransfer-Encoding: chunked",
            "Transfer-Encoding: chunked\r\nContent-Length: 5",
            "Content-Length: 0\r\nTransfer-Encoding: chunked",
            "content-length: 5\r\nTRANSFER-ENCODING: Chunked",
        ],
    );
}

#[test]
fn c02_two_lengths() {
    refused_fields(
        400,
        &[
            "Content-Length: 5\r\nContent-Length: 6",
            "Content-Length: 5\r\nContent-Length: 5",
            "Content-Length: 5\r\nX: y\r\ncontent-length: 0",
            "Content-Length: 5, 5",
            "Content-Length: 5, 6",
            "Content-Length: 5,",
        ],
    );
}

#[test]
fn c03_a_length_that_is_not_a_number() {
    refused_fields(
        400,
        &[
            "Content-Length: +5",
            "Content-Length: -5",
            "Content-Length: 0x5",
            "Content-Length: 5 5",
            "Content-Length: 5.0",
            "Content-Length: five",
            "Content-Length:",
            "Content-Length: \"5\"",
            "Content-Length: 5;",
            "Content-Length: 9223372036854775808",
            "Content-Length: 0009223372036854775808",
            "Content-Length: 18446744073709551615",
            "Content-Length: 18446744073709551616",
            "Content-Length: 99999999999999999999999999999999",
        ],
    );
}

#[test]
fn c04_a_transfer_encoding_that_does_not_end_in_one_chunked() {
    refused_fields(
        400,
        &[
            "Transfer-Encoding: chunked, chunked",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
            "Transfer-Encoding: chunked, gzip",
            "Transfer-Encoding:",
            "Transfer-Encoding: \"chunked\"",
            "Transfer-Encoding: gzip",
            "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked",
            "Transfer-Encoding: xchunked",
            "Transfer-Encoding: identity",
        ],
    );
}

#[test]
fn c05_a_transfer_encoding_nobody_knows() {
    refused_fields(
        501,
        &["Transfer-Encoding: gzip, chunked", "Transfer-Encoding: br, gzip, chunked"],
    );
}

#[test]
fn c06_a_transfer_encoding_in_http_10() {
    refused(400, &["POST / HTTP/1.0\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"]);
}

#[test]
fn c07_a_folded_line() {
    refused_fields(400, &["X: a\r\n b", "X: a\r\n\tb", "X: a\r\n Content-Length: 5", "X:\r\n a"]);
    refused(400, &["GET / HTTP/1.1\r\n Host: test\r\n\r\n"]);
}

#[test]
fn c08_line_ends_that_are_not_crlf() {
    refused(
        400,
        &[
            "GET / HTTP/1.1\nHost: test\n\n",
            "GET / HTTP/1.1\r\nHost: test\n\r\n",
            "GET / HTTP/1.1\r\nHost: test\r\nX: a\nY: b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: test\r\n\n",
            "GET / HTTP/1.1\r\nHost: test\r\nX: a\rY: b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: test\r\nX: a\r\r\n\r\n",
            "GET / HTTP/1.1\rHost: test\r\n\r\n",
        ],
    );
}

#[test]
fn c09_control_octets() {
    refused(
        400,
        &[
            "GET / HTTP/1.1\r\nHost: test\r\nX: a\0b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: test\r\nX: a\x01b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: test\r\nX: a\x7fb\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: test\r\nX\0: ab\r\n\r\n",
            "GET /\0 HTTP/1.1\r\nHost: test\r\n\r\n",
            "GET /\x01 HTTP/1.1\r\nHost: test\r\n\r\n",
            "GET /\x7f HTTP/1.1\r\nHost: test\r\n\r\n",
            "GET /a\tb HTTP/1.1\r\nHost: test\r\n\r\n",
        ],
    );
}

#[test]
fn c10_field_names_that_are_not_tokens() {
    refused_fields(
        400,
        &[
            "X : y",
            "Content-Length : 5",
            "Transfer-Encoding : chunked",
            "Transfer-Encoding\t: chunked",
            ": y",
            "X y: z",
            "no colon",
            "X(y): z",
            "X\u{e9}: z",
        ],
    );
}

#[test]
fn c11_a_host_that_is_missing_doubled_or_odd() {
    refused(
        400,
        &[
            "GET / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: user@a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a:b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a:99999\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: [::1\r\n\r\n",
        ],
    );
}

#[test]
fn c12_request_lines_that_are_none() {
    refused(
        400,
        &[
            "GET  / HTTP/1.1\r\nHost: test\r\n\r\n",
            "GET /  HTTP/1.1\r\nHost: test\r\n\r\n",
            "GET / HTTP/1.1 \r\nHost: test\r\n\r\n",
            " GET / HTTP/1.1\r\nHost: test\r\n\r\n",
            "GET\t/\tHTTP/1.1\r\nHost: test\r\n\r\n",
            "GET /\r\nHost: test\r\n\r\n",
            "GET / HTTP\r\nHost: test\r\n\r\n",
            "GET / http/1.1\r\nHost: test\r\n\r\n",
            "GET / HTTP/1.1x\r\nHost: test\r\n\r\n",
            "GET / HTTP/11\r\nHost: test\r\n\r\n",
            "G(T / HTTP/1.1\r\nHost: test\r\n\r\n",
            "GET /a b HTTP/1.1\r\nHost: test\r\n\r\n",
        ],
    );
}

#[test]
fn c13_targets_that_lead_nowhere() {
    refused(
        400,
        &[
            "GET path HTTP/1.1\r\nHost: test\r\n\r\n",
            "GET * HTTP/1.1\r\nHost: test\r\n\r\n",
            "GET /a#b HTTP/1.1\r\nHost: test\r\n\r\n",
            "GET http:///a HTTP/1.1\r\nHost: test\r\n\r\n",
            "GET http://user@a/ HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET http://a:b/ HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET a:80 HTTP/1.1\r\nHost: a\r\n\r\n",
        ],
    );
}

#[test]
fn c14_versions_not_spoken() {
    refused(505, &["GET / HTTP/1.2\r\nHost: t\r\n\r\n", "GET / HTTP/3.0\r\nHost: t\r\n\r\n"]);
    refused(505, &["PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"]);
}

#[test]
fn c15_chunks_that_are_none() {
    let origin = Origin::named("a");
    let proxy = Proxy::before(&origin);
    let bad = [
        "+5\r\nhello\r\n0\r\n\r\n",
        "-5\r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        " 5\r\nhello\r\n0\r\n\r\n",
        "5 \r\nhello\r\n0\r\n\r\n",
        "5\nhello\r\n0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "5\r\nhelloworld\r\n0\r\n\r\n",
        "\r\n5\r\nhello\r\n0\r\n\r\n",
        "g\r\nhello\r\n0\r\n\r\n",
        ";x\r\nhello\r\n0\r\n\r\n",
        "8000000000000000\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello\r\n7ffffffffffffffb\r\nx\r\n0\r\n\r\n",
        "10000000000000000\r\nhello\r\n0\r\n\r\n",
        "fffffffffffffffff\r\nhello\r\n0\r\n\r\n",
        "5;a\nb\r\nhello\r\n0\r\n\r\n",
        "5;a\0b\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello\r\n0\r\nBad Name: x\r\n\r\n",
        "5\r\nhello\r\n0\r\nX: y\n\r\n",
    ];
    for body in bad {
        let mut client = proxy.client();
        client.send(format!(
            "POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n{body}\
             GET /smuggled HTTP/1.1\r\nHost: test\r\n\r\n"
        ));
        let head = client.head();
        assert!(head.line.starts_with("HTTP/1.1 400 "), "to {body:?} came {head:?}");
        client.until_gone();
    }
    assert_eq!(proxy.client().get("/good").status, 200);
    let good: Vec<_> = origin.requests().into_iter().map(|request| request.target).collect();
    assert_eq!(good, ["/good"], "no request with a broken body was whole for the origin");
}

#[test]
fn c16_a_refusal_says_why_to_people_and_machines() {
    let origin = Origin::named("a");
    let proxy = Proxy::before(&origin);
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n");
    let answer = client.response();
    assert_eq!(answer.status, 400);
    assert!(answer.text().to_lowercase().contains("host"), "{}", answer.text());
    let status = answer.get("Proxy-Status").expect("RFC 9209");
    assert!(status.contains("tidegate") && status.contains("error=http_request_error"), "{status}");
    client.expect_closed();
}

#[test]
fn c17_garbage_is_refused_before_a_line_is_complete() {
    let origin = Origin::named("a");
    let proxy = Proxy::before(&origin);
    let tls_hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".as_slice();
    for garbage in [tls_hello, b"\0\0\0\0", b"\x80abc", b"SSH-2.0-OpenSSH_9.2p1 x\r\n"] {
        let mut client = proxy.client();
        client.send(garbage);
        let head = client.head();
        assert!(head.line.starts_with("HTTP/1.1 400 "), "{head:?}");
        client.until_gone();
    }
    assert_eq!(origin.connections(), 0);
}

#[test]
fn c18_an_empty_line_before_a_request_is_forgiven() {
    let origin = Origin::named("a");
    let proxy = Proxy::before(&origin);
    let mut client = proxy.client();
    client.send("\r\nGET /1 HTTP/1.1\r\nHost: test\r\n\r\n");
    assert_eq!(client.response().status, 200);
    client.send("\r\nGET /2 HTTP/1.1\r\nHost: test\r\n\r\n");
    assert_eq!(client.response().status, 200);
    assert_eq!(origin.requests()[1].head.line, "GET /2 HTTP/1.1");
}

#[test]
fn c19_leading_zeroes_are_made_canonical_or_refused() {
    let origin = Origin::echoing();
    let proxy = Proxy::before(&origin);
    let mut client = proxy.client();
    client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 005\r\n\r\nhello");
    match client.response().status {
        200 => assert_eq!(origin.request().head.get("Content-Length"), Some("5")),
        status => assert_eq!((status, origin.connections()), (400, 0)),
    }
}

#[test]
fn c20_chunk_extensions_and_trailers_have_an_end() {
    let origin = Origin::echoing();
    let proxy = Proxy::before(&origin);
    let post = "POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n";
    let long = "x".repeat(100_000);
    let bodies = [
        format!("1;{long}\r\nx\r\n0\r\n\r\n"),
        format!("0\r\nX: {long}\r\n\r\n"),
        format!("0\r\n{}\r\n", "X: y\r\n".repeat(20_000)),
        format!("{}1\r\nx\r\n0\r\n\r\n", "0".repeat(100_000)),
    ];
    for body in &bodies {
        let mut client = proxy.client();
        client.send(post).send_if_taken(body);
        let status = client.response().status;
        assert!(matches!(status, 400 | 413 | 431), "{status} to {:.40}...", body);
    }
    assert!(origin.requests().is_empty());
}
