//! Clients and origins that fail on purpose, over real sockets: what `tests/sim` does in memory, with the
//! kernel's own moods. A number decides each exchange, on both sides, so nobody can be served another's octets
//! unnoticed. `FAULT_SEED=n` runs other exchanges, and the same ones again.

use std::env;
use std::io::{self, ErrorKind};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::{
    Chance, Client, Origin, Peer, Proxy, Wire, assert_same, chunked, eventually, pattern,
};

const CLIENTS: usize = 8;
const REQUESTS: usize = 60;
/// Bodies are long now and then: beyond what is spliced, and what the kernel takes at once.
const LONG: usize = 300_000;

/// What happens to one message on its way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    /// Octet by octet, as far as is bearable.
    Slow,
    /// After so many octets: a close, a reset, no more octets but an open ear, or nothing at all.
    Close(usize),
    Reset(usize),
    Finish(usize),
    Stall(usize),
}

/// What is asked and answered under one number.
struct Deal {
    request: Vec<u8>,
    sent: Vec<u8>,
    client: Fault,
    answer: Vec<u8>,
    body: Vec<u8>,
    /// Only the close tells the end of the answer.
    until_close: bool,
    origin: Fault,
    /// The origin closes behind the answer, without having said so.
    leaves: bool,
}

impl Deal {
    fn of(number: usize) -> Deal {
        let mut chance = Chance::seeded(number);
        let body = body(number, &mut chance);
        let head = format!("HTTP/1.1 200 OK\r\nX-Number: {number}\r\n");
        let (fields, framed) = match chance.below(4) {
            0 => ("Connection: close\r\n".to_owned(), body.clone()),
            1 => {
                let chunks = chunked(&body, 1 + chance.below(9000));
                ("Transfer-Encoding: chunked\r\n".to_owned(), chunks)
            }
            _ => (format!("Content-Length: {}\r\n", body.len()), body.clone()),
        };
        let until_close = fields.starts_with("Connection");
        let answer = [head.as_bytes(), fields.as_bytes(), b"\r\n", &framed].concat();

        let host = "Host: test\r\n";
        let (request, sent) = match chance.below(6) {
            0 => {
                let sent = self::body(number, &mut chance);
                let length = sent.len();
                let head =
                    format!("POST /{number} HTTP/1.1\r\n{host}Content-Length: {length}\r\n\r\n");
                ([head.as_bytes(), &sent].concat(), sent)
            }
            1 => {
                let sent = self::body(number, &mut chance);
                let head =
                    format!("PUT /{number} HTTP/1.1\r\n{host}Transfer-Encoding: chunked\r\n\r\n");
                ([head.as_bytes(), &chunked(&sent, 1 + chance.below(9000))].concat(), sent)
            }
            _ => (format!("GET /{number} HTTP/1.1\r\n{host}\r\n").into_bytes(), Vec::new()),
        };
        Deal {
            client: fault(request.len(), &mut chance),
            origin: fault(answer.len(), &mut chance),
            leaves: until_close || chance.below(8) == 0,
            request,
            sent,
            answer,
            body,
            until_close,
        }
    }
}

/// Octets that nobody else has.
fn body(number: usize, chance: &mut Chance) -> Vec<u8> {
    let most = if chance.below(8) == 0 { LONG } else { 3000 };
    let shift = number % 512;
    [format!("{number} ").into_bytes(), pattern(shift + chance.below(most)).split_off(shift)]
        .concat()
}

fn fault(length: usize, chance: &mut Chance) -> Fault {
    let at = 1 + chance.below(length - 1);
    match chance.below(24) {
        0 => Fault::Close(at),
        1 => Fault::Reset(at),
        2 => Fault::Finish(at),
        3 => Fault::Stall(at),
        4..8 if length < 4000 => Fault::Slow,
        _ => Fault::None,
    }
}

/// An origin that keeps to the deals, and looks whether the others did.
fn origin(peer: &mut Peer) -> io::Result<()> {
    loop {
        let request = peer.request()?;
        let number = request.target.trim_start_matches('/').parse().expect("a number of ours");
        let deal = Deal::of(number);
        assert_same(&request.body, &deal.sent);
        match deal.origin {
            Fault::None => peer.send(&deal.answer)?,
            Fault::Slow => peer.send_slowly(&deal.answer)?,
            Fault::Close(at) => return peer.send(&deal.answer[..at]),
            Fault::Reset(at) => {
                peer.send(&deal.answer[..at])?;
                return peer.reset();
            }
            Fault::Finish(at) => {
                peer.send(&deal.answer[..at])?;
                peer.finish_sending()?;
                return peer.hold();
            }
            Fault::Stall(at) => {
                peer.send(&deal.answer[..at])?;
                return peer.hold();
            }
        }
        if deal.leaves {
            return Ok(());
        }
    }
}

/// Asks as the deal says. `Some`: the connection can be used again.
fn ask(mut client: Client, deal: &Deal, number: usize) -> Option<Client> {
    let whole = match deal.client {
        Fault::Slow => {
            client.wire().send_slowly(&deal.request).ok()?;
            true
        }
        Fault::None => client.wire().send(&deal.request).is_ok(),
        Fault::Close(at) | Fault::Reset(at) | Fault::Finish(at) | Fault::Stall(at) => {
            client.send_if_taken(&deal.request[..at]);
            false
        }
    };
    match deal.client {
        Fault::Close(_) => return None,
        Fault::Reset(_) => {
            client.reset();
            return None;
        }
        // Whatever it says to half a request, it must come to an end.
        Fault::Finish(_) => {
            client.finish_sending_if_open().until_gone();
            return None;
        }
        Fault::Stall(_) => {
            client.until_gone();
            return None;
        }
        Fault::None | Fault::Slow => {}
    }
    let answer = match client.wire().response("GET") {
        Ok(answer) => answer,
        Err(error) => {
            let endless = matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::WouldBlock);
            assert!(!endless, "{number}: no end: {error}");
            return None;
        }
    };
    if answer.get("Proxy-Status").is_some() {
        assert!(answer.status >= 400, "{number}: {}", answer.status);
    } else {
        assert_eq!(answer.get("X-Number"), Some(&*number.to_string()));
        match deal.origin {
            // Where the close is the end, a close in the middle looks like one.
            Fault::Close(_) | Fault::Finish(_) if deal.until_close => {
                assert!(deal.body.starts_with(&answer.body), "{number}");
            }
            Fault::None | Fault::Slow => assert_same(&answer.body, &deal.body),
            cut => panic!("{number}: whole, in spite of {cut:?}"),
        }
    }
    (whole && !answer.head.lists("Connection", "close")).then_some(client)
}

fn sum(value: &Value) -> u64 {
    match value {
        Value::Number(n) => n.as_u64().unwrap_or(0),
        Value::Object(map) => map.values().map(sum).sum(),
        _ => 0,
    }
}

#[test]
fn o01_whatever_breaks_nobody_gets_anothers_octets_and_all_comes_home() {
    let seed = env::var("FAULT_SEED").map_or(1, |n| n.parse().expect("FAULT_SEED is a number"));
    println!("FAULT_SEED={seed}");
    let (a, b) = (Origin::start(origin), Origin::start(origin));
    let (a_url, b_url) = (a.url(), b.url());
    let timeouts = ["response", "read", "write"].map(|wait| format!("--{wait}-timeout"));
    let mut flags = vec!["--upstream", &a_url, "--upstream", &b_url, "--workers", "2"];
    flags.extend(["--buffers", "64", "--upstream-idle-timeout", "300ms"]);
    flags.extend(timeouts.iter().flat_map(|wait| [wait.as_str(), "400ms"]));
    let proxy = Proxy::start(&flags);
    let began = Instant::now();
    let run = |index: usize| {
        let address = proxy.address.clone();
        move || {
            let mut client = None;
            for n in 0..REQUESTS {
                let number = (seed * 100 + index) * 1000 + n;
                let connected = client.take().unwrap_or_else(|| Client::to(&address));
                client = ask(connected, &Deal::of(number), number);
            }
        }
    };
    let clients: Vec<_> = (0..CLIENTS).map(|index| thread::spawn(run(index))).collect();
    let results: Vec<_> = clients.into_iter().map(thread::JoinHandle::join).collect();
    assert!(results.iter().all(Result::is_ok), "replay with FAULT_SEED={seed}");
    assert!(began.elapsed() < Duration::from_secs(60), "no exchange takes longer than its waits");

    eventually("all clients gone", || proxy.metric("/connections/current") == 0);
    eventually("all requests over", || proxy.metric("/active") == 0);
    eventually("all buffers home", || proxy.metric("/buffers/used") == 0);
    let metrics = proxy.metrics();
    assert_eq!(sum(&metrics["reasons"]), sum(&metrics["requests"]), "one reason each: {metrics:#}");
    assert_eq!(proxy.metric("/panics"), 0);
    assert_eq!(proxy.stop().code, Some(0));
}

/// Sends `octets` with an urgent mark in the middle and another before the end.
fn send_marked(wire: &mut Wire, octets: &[u8]) -> io::Result<()> {
    let (first, second) = (octets.len() / 2, octets.len() - 1);
    wire.send_urgently(&octets[..first])?;
    wire.send_urgently(&octets[first..second])?;
    wire.send(&octets[second..])
}

#[test]
fn o05_urgent_octets_stay_where_they_are_and_stall_nothing() {
    // Copied with the head, copied behind it, and spliced.
    for length in [10, 20_000, 200_000] {
        let body = pattern(length);
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n").into_bytes();
        let answer = [head, body.clone()].concat();
        let origin = Origin::start(move |peer| {
            loop {
                peer.request()?;
                send_marked(&mut *peer, &answer)?;
            }
        });
        let proxy = Proxy::before(&origin);
        let mut client = proxy.client();
        for _ in 0..20 {
            let head = format!("PUT / HTTP/1.1\r\nHost: t\r\nContent-Length: {length}\r\n\r\n");
            let request = [head.into_bytes(), body.clone()].concat();
            send_marked(client.wire(), &request).expect("it reads");
            assert_same(&client.response().body, &body);
            assert_same(&origin.requests().pop().expect("one").body, &body);
        }
    }
}

#[test]
fn o06_an_urgent_octet_that_comes_while_a_body_is_spliced_stalls_nothing() {
    let body = pattern(200_000);
    for _ in 0..5 {
        let origin = Origin::start(|peer| {
            peer.request()?;
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na")
        });
        let proxy = Proxy::before(&origin);
        let mut client = proxy.client();
        let length = body.len();
        client.send(format!("PUT / HTTP/1.1\r\nHost: t\r\nContent-Length: {length}\r\n\r\n"));
        client.send(&body[..length / 2]);
        origin.wait_for_connections(1);
        eventually("half is there", || origin.received(0).len() > length / 2);
        client.wire().send_urgently(&body[length / 2..length - 10]).expect("it reads");
        client.send(&body[length - 10..]);
        assert_eq!(client.response().text(), "a");
        assert_same(&origin.request().body, &body);
    }
}
