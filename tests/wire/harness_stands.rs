//! The harness against itself: client straight to origin, no proxy in between.

use std::io::ErrorKind;
use std::time::Duration;

use crate::harness::{
    CLOSE, Client, Ending, Gate, Origin, Refusing, Silent, TEXT, Wire, assert_same, chunked, frame,
    masked, pattern,
};

#[test]
fn a_client_and_an_origin_understand_each_other() {
    let origin = Origin::named("a");
    let mut client = Client::to(origin.address());
    assert_eq!(client.get("/x?y").text(), "a");
    assert_eq!(client.get("/z").get("x-origin"), Some("a"));
    let targets: Vec<_> = origin.requests().into_iter().map(|r| r.target).collect();
    assert_eq!(targets, ["/x?y", "/z"]);
    assert_eq!(origin.connections(), 1);
    let expected = "GET /x?y HTTP/1.1\r\nHost: test\r\n\r\nGET /z HTTP/1.1\r\nHost: test\r\n\r\n";
    assert_eq!(origin.received(0), expected.as_bytes());
}

#[test]
fn bodies_are_read_by_length_by_chunks_and_until_the_close() {
    let body = pattern(100_000);
    let echo = Origin::echoing();
    let mut client = Client::to(echo.address());
    client.send("POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n");
    client.send(chunked(&body, 7_000));
    let answer = client.response();
    assert_same(&answer.body, &body);
    assert_eq!(answer.ending, Ending::Length);

    let tail = Origin::start(|peer| peer.answer("HTTP/1.1 200 OK\r\n\r\nall of it").map(drop));
    let answer = Client::to(tail.address()).get("/");
    assert_eq!((answer.text().as_str(), answer.ending), ("all of it", Ending::Close));

    let parts =
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\nX-T: 1\r\n\r\n";
    let answer = Client::to(Origin::answering(parts).address()).get("/");
    assert_eq!((answer.text().as_str(), answer.ending), ("ab", Ending::Chunked));
    assert_eq!(answer.trailers, [("X-T".to_owned(), "1".to_owned())]);
}

#[test]
fn interim_answers_are_kept_apart_from_the_final_one() {
    let early = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n";
    let answer = Client::to(Origin::answering(early).address()).get("/");
    assert_eq!((answer.status, answer.ending), (204, Ending::Bodiless));
    assert_eq!(answer.interim[0].get("Link"), Some("</a>"));
}

#[test]
fn a_slow_sender_is_understood_all_the_same() {
    let origin = Origin::named("slow");
    let mut client = Client::to(origin.address());
    client.send_slowly("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    assert_eq!(client.response().text(), "slow");
}

#[test]
fn a_reset_and_a_goodbye_are_told_apart() {
    let polite = Origin::start(|peer| peer.request().map(drop));
    let mut client = Client::to(polite.address());
    client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n").expect_closed();

    let rude = Origin::start(|peer| peer.request().and_then(|_| peer.reset()));
    let mut client = Client::to(rude.address());
    client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    assert_eq!(client.wire().rest().unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[test]
fn a_malformed_answer_is_no_answer() {
    let bad = [
        "HTTP/1.1 2000 OK\r\n\r\n",
        "HTTP/1.1 +20 OK\r\n\r\n",
        "HTTP/2.0 200 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nab",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n+1\r\na\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nBad Name: 1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA: b\nC: d\r\n\r\n",
    ];
    for octets in bad {
        let origin = Origin::answering(octets);
        let mut wire = Wire::connect(origin.address()).unwrap();
        wire.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
        assert_eq!(wire.response("GET").unwrap_err().kind(), ErrorKind::InvalidData, "{octets:?}");
    }
}

#[test]
fn frames_of_all_three_lengths_are_said_again() {
    let origin = Origin::conversing();
    let mut client = Client::to(origin.address());
    assert_eq!(client.get("/chat").status, 101);
    for length in [0, 1, 125, 126, 65_535, 65_536, 100_000] {
        let payload = pattern(length);
        client.send(masked(TEXT, &payload));
        let expected = frame(TEXT, &payload);
        assert_same(&client.exactly(expected.len()), &expected);
    }
    client.send(masked(CLOSE, b"\x03\xe8"));
    assert_eq!(client.exactly(4), frame(CLOSE, b"\x03\xe8"));
    client.expect_closed();
}

#[test]
fn a_gate_makes_a_script_wait_for_the_case() {
    let (gate, inside) = (Gate::default(), Gate::default());
    let (held, seen) = (gate.clone(), inside.clone());
    let origin = Origin::start(move |peer| {
        peer.request()?;
        seen.open();
        held.wait();
        peer.send("HTTP/1.1 204 No Content\r\n\r\n")
    });
    let mut client = Client::to(origin.address());
    client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    inside.wait();
    client.expect_silence(Duration::from_millis(20));
    gate.open();
    assert_eq!(client.response().status, 204);
}

#[test]
fn there_are_addresses_that_refuse_and_addresses_that_say_nothing() {
    let refusing = Refusing::new();
    let address = refusing.url().replace("http://", "");
    let refused = Wire::connect(&address).err().expect("refused").kind();
    assert_eq!(refused, ErrorKind::ConnectionRefused);
    let relented = refusing.relent(|peer| peer.answer("HTTP/1.1 204 No Content\r\n\r\n").map(drop));
    assert_eq!(Client::to(relented.address()).get("/").status, 204);

    let silent = Silent::new();
    let address = silent.url().replace("http://", "");
    let unanswered = Wire::connect_within(&address, Duration::from_millis(50)).err();
    assert_eq!(unanswered.expect("no answer").kind(), ErrorKind::TimedOut);
}

#[test]
#[should_panic(expected = "a script of the origin panicked")]
fn a_panic_in_a_script_fails_the_case() {
    let origin = Origin::start(|peer| {
        let request = peer.request()?;
        assert_eq!(request.target, "/expected");
        Ok(())
    });
    let mut client = Client::to(origin.address());
    client.send("GET /other HTTP/1.1\r\nHost: test\r\n\r\n").until_gone();
}
