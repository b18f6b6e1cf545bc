//! Much of everything, in an order chance has made; afterwards all is home.

use std::thread;

use crate::harness::{Chance, Client, Origin, Peer, Proxy, eventually, requests_asked_for};

/// Different kinds of request, one behind the other.
const REQUESTS: [&str; 6] = [
    "GET /one HTTP/1.1\r\nHost: test\r\n\r\n",
    "POST /two HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nhello",
    "POST /three HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n\
     3\r\nabc\r\n4;x=y\r\ndefg\r\n0\r\n\r\n",
    "\r\nPUT http://other/four?five HTTP/1.1\r\nHost: test\r\n\
     Expect: 100-continue\r\nContent-Length: 1\r\n\r\n1",
    "OPTIONS * HTTP/1.1\r\nHost: test\r\n\r\n",
    "DELETE /six HTTP/1.1\r\nHost: test\r\nConnection: keep-alive, x\r\nX: y\r\n\r\n",
];

const ANSWERS: [&str; 5] = [
    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
     3\r\nabc\r\n2;q\r\nde\r\n0\r\nX-T: 1\r\n\r\n",
    "HTTP/1.1 204 No Content\r\n\r\n",
    "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    "HTTP/1.0 200 OK\r\n\r\nuntil the close",
];

#[test]
fn i01_however_the_octets_are_split_the_answers_are_the_same() {
    let origin = Origin::serving(|request| {
        let text = format!("{} {} {}", request.method, request.target, request.body.len());
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}", text.len()).into_bytes()
    });
    let proxy = Proxy::before(&origin);
    let all = REQUESTS.concat();
    let expected = [
        "GET /one 0",
        "POST /two 5",
        "POST /three 7",
        "PUT /four?five 1",
        "OPTIONS * 0",
        "DELETE /six 0",
    ];
    for round in 0..60 {
        let mut chance = Chance::seeded(round);
        let mut client = proxy.client();
        let mut rest = all.as_bytes();
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(1 + chance.below(rest.len().min(60)));
            client.send(piece);
            rest = after;
        }
        let answers: Vec<_> = expected.iter().map(|_| client.response().text()).collect();
        assert_eq!(answers, expected, "round {round}");
    }
}

/// Answers as chance will have it: whole or cut, then goes on, closes, resets, or holds.
fn fickle(peer: &mut Peer) -> std::io::Result<()> {
    let mut chance = Chance::seeded(peer.number);
    loop {
        if chance.below(8) == 0 {
            peer.request_head()?;
        } else {
            peer.request()?;
        }
        let answer = chance.one_of(&ANSWERS);
        let whole = chance.below(3) > 0;
        let len = if whole { answer.len() } else { chance.below(answer.len()) };
        if chance.below(2) == 0 {
            peer.send_slowly(&answer[..len])?;
        } else {
            peer.send(&answer[..len])?;
        }
        match chance.below(8) {
            0 => return Ok(()),
            1 => return peer.reset(),
            2 if chance.below(4) == 0 => return peer.hold(),
            _ if !whole || answer.starts_with("HTTP/1.0") => return Ok(()),
            _ => {}
        }
    }
}

/// Asks as chance will have it: whole or cut, then waits for an answer, leaves, or resets.
fn hasty(address: &str, seed: usize) {
    let mut chance = Chance::seeded(seed + 1_000_000);
    let mut client = Client::to(address);
    for _ in 0..1 + chance.below(4) {
        let request = chance.one_of(&REQUESTS);
        let whole = chance.below(4) > 0;
        let len = if whole { request.len() } else { chance.below(request.len()) };
        client.send_if_taken(&request[..len]);
        match chance.below(5) {
            0 => return,
            1 => return client.reset(),
            2 => drop(client.finish_sending_if_open().until_gone()),
            _ if !whole => return,
            // Cut answers are right here; an answer that never ends is not.
            _ => match client.wire().response("GET") {
                Ok(answer) if !answer.head.lists("Connection", "close") => continue,
                Err(e) if e.kind() == std::io::ErrorKind::TimedOut => panic!("no end: {e}"),
                _ => return,
            },
        }
        return;
    }
}

#[test]
fn i02_after_a_storm_of_broken_connections_all_is_home() {
    let (a, b) = (Origin::start(fickle), Origin::start(fickle));
    let proxy = Proxy::start(&[
        "--upstream",
        &a.url(),
        "--upstream",
        &b.url(),
        "--workers",
        "2",
        "--buffers",
        "32",
        "--response-timeout",
        "300ms",
        "--read-timeout",
        "300ms",
        "--write-timeout",
        "300ms",
        "--expect-timeout",
        "20ms",
        "--upstream-idle-timeout",
        "200ms",
    ]);
    let before = proxy.descriptors();
    let storm = |thread: usize| {
        let address = proxy.address.clone();
        move || (0..100).for_each(|n| hasty(&address, thread * 1000 + n))
    };
    let clients: Vec<_> = (0..8).map(|n| thread::spawn(storm(n))).collect();
    clients.into_iter().for_each(|client| client.join().expect("no answer without an end"));
    eventually("all clients gone", || proxy.metric("/connections/current") == 0);
    eventually("all requests over", || proxy.metric("/active") == 0);
    eventually("all buffers home", || proxy.metric("/buffers/used") == 0);
    eventually("no upstream connection left", || {
        [&a, &b].iter().all(|o| proxy.metric_of(o, "idle") + proxy.metric_of(o, "active") == 0)
    });
    // A few stay for good: pipes that wait in their pool, and the admin's own connections.
    eventually("all descriptors closed", || proxy.descriptors() <= before + 16);
    assert_eq!(proxy.metric("/panics"), 0);
    assert_eq!(proxy.stop().code, Some(0));
}

#[test]
fn i03_nothing_is_lost_and_both_origins_have_their_share() {
    let requests = requests_asked_for();
    let (a, b) = (Origin::named("a"), Origin::named("b"));
    let proxy = Proxy::start(&["--upstream", &a.url(), "--upstream", &b.url(), "--workers", "2"]);
    let clients = 16;
    let ask = |_| {
        let address = proxy.address.clone();
        thread::spawn(move || {
            let mut client = Client::to(&address);
            let answers = (0..requests / clients).map(|_| client.get("/").text());
            answers.filter(|name| name == "a").count()
        })
    };
    let asking: Vec<_> = (0..clients).map(ask).collect();
    let from_a: usize = asking.into_iter().map(|client| client.join().expect("answered")).sum();
    let all = requests / clients * clients;
    assert!(from_a.abs_diff(all / 2) <= all / 200, "{from_a} of {all} came from a");
    eventually("all counted", || proxy.metric("/requests") == all as u64);
    assert_eq!(proxy.metric("/responses"), all as u64);
    assert_eq!(proxy.metric("/errors"), 0);
    eventually("all buffers home", || proxy.metric("/buffers/used") == 0);
}
