//! The vectors of `tests/vectors` on the way through the real binary: a raw origin records every octet of a
//! request that was accepted, and sees nothing of one that was refused; an answer reaches the client as the
//! vector says, or not at all.

use std::collections::HashMap;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};

use crate::cases::{self, Case, number, octets};
use crate::harness::{Client, DEADLINE, Origin, Peer, Proxy, Request, Response};

/// A body for heads of vectors that announce one in chunks.
const CHUNKS: &str = "2\r\nhi\r\n0\r\n\r\n";
/// What an origin says when it is not about the answer.
const PLAIN: &str = "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n";
/// What the vectors take for granted.
const FLAGS: &[&str] = &["--allow-upgrade", "other", "--trusted-header", "True-Client-IP"];
/// Bodies longer than this are not made up.
const LONGEST: usize = 1 << 20;

/// The cases of one kind; there must be some.
fn cases_of(kind: &str) -> Vec<Case> {
    let cases: Vec<_> =
        cases::all().into_iter().filter(|case| case.kind.starts_with(kind)).collect();
    assert!(cases.len() > 50, "only {} vectors are a {kind}", cases.len());
    cases
}

// ---- requests ----

/// An origin that takes one request from each connection and tells when it ends, with the request if there
/// was a whole one and every octet of the connection.
struct Recorder {
    proxy: Proxy,
    origin: Origin,
    ended: Receiver<(usize, Option<Request>)>,
    seen: usize,
}

impl Recorder {
    fn new() -> Recorder {
        let (ended, receiver) = channel();
        let origin = Origin::start(move |peer| {
            let request = peer.answer(PLAIN).ok();
            let _ = peer.hold();
            let _ = ended.send((peer.number, request));
            Ok(())
        });
        let proxy = Proxy::with(&origin, FLAGS);
        Recorder { proxy, origin, ended: receiver, seen: 0 }
    }

    /// The one connection the origin has seen since the last call: its request, if that was whole, and its octets.
    #[track_caller]
    fn next(&mut self) -> (Option<Request>, Vec<u8>) {
        let (number, request) = self.ended.recv_timeout(DEADLINE).expect("a connection ends");
        assert_eq!(number, self.seen, "one connection for each request, and no other");
        self.seen += 1;
        (request, self.origin.received(number))
    }

    /// A request on a connection of its own gets through, and nothing else has come before it.
    #[track_caller]
    fn nothing_came(&mut self) {
        assert_eq!(self.proxy.client().get("/good").status, 204);
        assert_eq!(self.next().0.expect("whole").target, "/good");
        assert_eq!(self.origin.connections(), self.seen);
    }
}

#[test]
fn m01_requests_reach_the_origin_as_told_or_not_at_all() {
    let mut recorder = Recorder::new();
    for case in &cases_of("http request") {
        eprintln!("{} {}", case.place, case.title);
        let mut client = recorder.proxy.client();
        match case.outcome[0].as_str() {
            "partial" => {
                client.send(&case.bytes).finish_sending_if_open();
                assert!(client.until_gone().is_empty(), "an answer to half a head");
                recorder.nothing_came();
            }
            refused if refused.starts_with("refused: ") => {
                client.send_if_taken(&case.bytes);
                let answer = client.response();
                assert_eq!(answer.status, status(refused), "{answer:?}");
                assert!(answer.head.lists("Connection", "close"), "{answer:?}");
                client.expect_closed();
                recorder.nothing_came();
            }
            accepted => through(&mut recorder, client, case, &Understood::of(accepted)),
        }
    }
}

/// The status of `refused: reason status`.
fn status(refused: &str) -> u16 {
    number(refused.rsplit(' ').next().unwrap_or_default()) as u16
}

/// `METHOD path at "host", body, keeps|closes`
struct Understood<'c> {
    method: &'c str,
    target: String,
    host: &'c str,
    body: &'c str,
    keeps: bool,
}

impl Understood<'_> {
    fn of(line: &str) -> Understood<'_> {
        let (start, rest) = line.split_once(" at \"").expect("a host");
        let (method, path) = start.split_once(' ').expect("a path");
        let (host, rest) = rest.split_once("\", ").expect("a body");
        let mut words = rest.split(", ");
        let target = match path {
            "" if method == "OPTIONS" => "*".to_owned(),
            "" => "/".to_owned(),
            path if path.starts_with('?') => format!("/{path}"),
            path => path.to_owned(),
        };
        let (body, keeps) = (words.next().unwrap_or_default(), words.next() == Some("keeps"));
        Understood { method, target, host, body, keeps }
    }

    /// A body of the announced framing, if one can be made up.
    fn made_up(&self) -> Option<Vec<u8>> {
        made_up(self.body)
    }
}

/// A body as `body of N`, `chunked body`... tells.
fn made_up(body: &str) -> Option<Vec<u8>> {
    match body.strip_prefix("body of ") {
        Some(digits) if digits.len() > 7 || number(digits) > LONGEST => None,
        Some(digits) => Some(vec![b'x'; number(digits)]),
        None if body == "chunked body" => Some(CHUNKS.into()),
        None if body == "body until close" => Some(b"until close".to_vec()),
        None => Some(Vec::new()),
    }
}

/// A request whose head is accepted.
fn through(recorder: &mut Recorder, mut client: Client, case: &Case, head: &Understood) {
    let with_body = case.kind.ends_with("and body");
    let body = if with_body { Some(Vec::new()) } else { head.made_up() };
    let content = case.outcome.get(1).map_or("", String::as_str);
    client.send(&case.bytes).send(body.as_deref().unwrap_or_default());
    if content.starts_with("refused") {
        assert_eq!(client.response().status, status(content));
        client.until_gone();
        return assert!(recorder.next().0.is_none(), "half a request was whole for the origin");
    }
    if body.is_none() || content == "cut short" {
        client.finish_sending();
        client.until_gone();
        return assert!(recorder.next().0.is_none(), "half a request was whole for the origin");
    }
    let answer = client.response();
    assert_eq!(answer.status, 204, "{answer:?}");
    let (request, raw) = recorder.next();
    let request = request.expect("a whole request");
    assert_eq!((request.method.as_str(), &request.target), (head.method, &head.target));
    assert_eq!(request.version, "HTTP/1.1");
    // Who names no host gets the upstream's own.
    let host = if head.host.is_empty() { recorder.origin.address() } else { head.host };
    assert_eq!(request.head.get("Host"), Some(host));
    if with_body {
        assert_eq!(shown(&request), content);
    } else {
        let expected =
            if head.body == "chunked body" { b"hi".to_vec() } else { head.made_up().unwrap() };
        assert_eq!(request.body, expected);
    }
    if let Some(leaves) = &case.leaves {
        let expected = [leaves.as_slice(), &body.unwrap()].concat();
        assert_eq!(normal(&raw).escape_ascii().to_string(), expected.escape_ascii().to_string());
    }
    // What follows a handshake that comes to nothing is another protocol's.
    let keeps = head.keeps && !case.title.starts_with("Octets behind a handshake");
    assert_eq!(answer.head.lists("Connection", "close"), !keeps, "{answer:?}");
    if !keeps {
        client.expect_closed();
    } else if case.outcome.len() < 3 {
        assert_eq!(client.get("/again").status, 204);
        assert_eq!(recorder.next().0.expect("whole").target, "/again");
    }
    assert_eq!(recorder.origin.connections(), recorder.seen, "one request, one connection");
}

/// A body as outcomes tell it: `"payload"`, and `"trailers"` if it came in chunks.
fn shown(request: &Request) -> String {
    let payload = request.body.escape_ascii();
    if request.head.get("Transfer-Encoding").is_none() {
        return format!("\"{payload}\"");
    }
    format!("\"{payload}\" \"{}\"", trailers(&request.trailers))
}

fn trailers(fields: &[(String, String)]) -> String {
    let lines: String = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    lines.as_bytes().escape_ascii().to_string()
}

/// A request as the vectors have it: from 192.0.2.1, with the identity `id`.
fn normal(raw: &[u8]) -> Vec<u8> {
    let end = raw.windows(4).position(|end| end == b"\r\n\r\n").expect("a head") + 2;
    let mut out = Vec::new();
    for line in raw[..end].split_inclusive(|b| *b == b'\n') {
        match line {
            b"X-Forwarded-For: 127.0.0.1\r\n" => out.extend(b"X-Forwarded-For: 192.0.2.1\r\n"),
            line if line.starts_with(b"X-Request-Id: ") => out.extend(b"X-Request-Id: id\r\n"),
            line => out.extend(line),
        }
    }
    [&out, &raw[end..]].concat()
}

// ---- chunked bodies ----

/// The chunked vectors as outcomes: their octets, and what is in them.
fn chunked_cases() -> Vec<(Case, String)> {
    let outcome = |case: Case| (case.outcome[0].clone(), case);
    cases_of("http chunked").into_iter().map(outcome).map(|(told, case)| (case, told)).collect()
}

#[test]
fn m02_chunked_bodies_of_requests() {
    let mut recorder = Recorder::new();
    for (case, told) in &chunked_cases() {
        eprintln!("{} {}", case.place, case.title);
        let mut client = recorder.proxy.client();
        client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
        client.send_if_taken(&case.bytes);
        if told.starts_with('"') {
            assert_eq!(client.response().status, 204);
            assert_eq!(&shown(&recorder.next().0.expect("a whole request")), told);
            continue;
        }
        if told.starts_with("refused") {
            assert_eq!(client.response().status, status(told));
        }
        client.finish_sending_if_open();
        client.until_gone();
        assert!(recorder.next().0.is_none(), "a broken body was whole for the origin");
    }
}

// ---- responses ----

/// An origin that answers `/case` with what was put there, and everything else with its target.
struct Scripted {
    proxy: Proxy,
    origin: Origin,
    answer: Arc<Mutex<(Vec<u8>, bool)>>,
}

impl Scripted {
    fn new() -> Scripted {
        let answer = Arc::new(Mutex::new((Vec::new(), false)));
        let script = answer.clone();
        let origin = Origin::start(move |peer: &mut Peer| {
            loop {
                let target = peer.request()?.target;
                if target == "/case" {
                    let (octets, closes) = script.lock().unwrap().clone();
                    peer.send(octets)?;
                    if closes {
                        return Ok(());
                    }
                } else {
                    let length = target.len();
                    peer.send(format!(
                        "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{target}"
                    ))?;
                }
            }
        });
        let proxy = Proxy::with(&origin, FLAGS);
        Scripted { proxy, origin, answer }
    }

    /// A client that has asked for `/case`, which will be answered with `octets`.
    #[track_caller]
    fn asked(&self, method: &str, offer: &str, octets: Vec<u8>, closes: bool) -> Client {
        *self.answer.lock().unwrap() = (octets, closes);
        let mut client = self.proxy.client();
        let length = if method == "POST" { "Content-Length: 0\r\n" } else { "" };
        client.send(format!("{method} /case HTTP/1.1\r\nHost: a\r\n{length}{offer}\r\n"));
        client
    }

    /// Whoever comes next gets an answer of their own, over the same connection or, if that is not to be trusted,
    /// over a new one.
    #[track_caller]
    fn next_is_well(&self, same_connection: bool) {
        let before = self.origin.connections();
        let next = self.proxy.client().get("/next");
        assert_eq!((next.status, next.text().as_str()), (200, "/next"));
        assert_eq!(self.origin.connections() == before, same_connection, "which connection it was");
    }
}

/// What a request has to say for an answer to be able to switch.
fn offers() -> HashMap<&'static str, &'static str> {
    let websocket = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    HashMap::from([
        ("websocket", websocket),
        ("other", "Connection: Upgrade\r\nUpgrade: other\r\n"),
    ])
}

#[test]
fn m03_answers_reach_the_client_as_told_or_not_at_all() {
    let (scripted, offers) = (Scripted::new(), offers());
    for case in &cases_of("http response") {
        eprintln!("{} {}", case.place, case.title);
        let words: Vec<_> = case.kind.split(' ').collect();
        let method = words[2];
        let offer = words.get(3).and_then(|word| offers.get(word)).copied().unwrap_or_default();
        let told = case.outcome[0].as_str();
        if told.starts_with("refused") || told == "partial" {
            let mut client = scripted.asked(method, offer, case.bytes.clone(), true);
            let answer = answer_to(method, &mut client);
            assert_eq!(answer.status, 502, "{answer:?}");
            scripted.next_is_well(false);
        } else {
            answered(&scripted, case, method, offer);
        }
    }
}

fn answer_to(method: &str, client: &mut Client) -> Response {
    if method == "HEAD" { client.response_to_head() } else { client.response() }
}

/// `status, body, keeps|closes`
fn answered(scripted: &Scripted, case: &Case, method: &str, offer: &str) {
    let mut words = case.outcome[0].split(", ");
    let [status, body, keeps] = [(); 3].map(|()| words.next().expect("status, body, keeps"));
    let (status, content) = (number(status) as u16, case.outcome.get(1));
    let with_body = case.kind.ends_with("and body");
    let interim = status < 200 && status != 101;
    let mut octets = case.bytes.clone();
    match with_body {
        true => {}
        false if interim => octets.extend(b"HTTP/1.1 204 No Content\r\n\r\n"),
        false => octets.extend(made_up(body).expect("a short body")),
    }
    let closes = keeps == "closes" || interim;
    let mut client = scripted.asked(method, offer, octets, closes);
    if content.is_some_and(|content| content.starts_with("refused")) {
        let whole = client.wire().response(method);
        // Where it broke before anything of it had left, the client gets a 502 instead.
        let refused = whole.as_ref().is_ok_and(|answer| answer.status == 502);
        assert!(whole.is_err() || refused, "a broken answer was whole for the client: {whole:?}");
        return scripted.next_is_well(false);
    }
    let answer = answer_to(method, &mut client);
    if status == 100 {
        // Nobody has asked for it: d01 to d03 are about those who have.
        return assert!(answer.interim.is_empty(), "{answer:?}");
    }
    let head = if interim { &answer.interim[0] } else { &answer.head };
    assert!(head.line.starts_with(&format!("HTTP/1.1 {status} ")), "{answer:?}");
    if let Some(leaves) = case.leaves.as_ref().filter(|_| !with_body) {
        assert_eq!(ordinary(&head.raw, &case.bytes), ordinary(leaves, &case.bytes));
    }
    if !interim && let Some(content) = content.filter(|content| *content != "cut short") {
        let payload = format!("\"{}\"", answer.body.escape_ascii());
        let told = if body == "chunked body" {
            format!("{payload} \"{}\"", trailers(&answer.trailers))
        } else {
            payload
        };
        assert_eq!(&told, content);
    }
    let excess = case.outcome.len() > 2;
    if status != 101 && !interim {
        scripted.next_is_well(keeps == "keeps" && !excess);
    }
}

/// The head of an answer as the vectors have it: without the identity, which is always our own, and with
/// `Date: today` if it came without.
fn ordinary(head: &[u8], came: &[u8]) -> String {
    let dated = came.to_ascii_lowercase().windows(5).any(|name| name == b"date:");
    let mut out = Vec::new();
    for line in head.split_inclusive(|b| *b == b'\n') {
        match line {
            line if line.starts_with(b"X-Request-Id: ") => {}
            line if line.starts_with(b"Date: ") && !dated => out.extend(b"Date: today\r\n"),
            line => out.extend(line),
        }
    }
    out.escape_ascii().to_string()
}

#[test]
fn m04_chunked_bodies_of_answers() {
    let scripted = Scripted::new();
    for (case, told) in &chunked_cases() {
        eprintln!("{} {}", case.place, case.title);
        let head = octets("HTTP/1.1 200 OK\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\n");
        let octets = [head.as_slice(), &case.bytes].concat();
        let mut client = scripted.asked("GET", "", octets, told == "partial");
        if told.starts_with('"') {
            let answer = client.response();
            let payload = answer.body.escape_ascii();
            assert_eq!(&format!("\"{payload}\" \"{}\"", trailers(&answer.trailers)), told);
            // What came behind the body makes the connection unfit.
            let excess = case.title.contains("whatever follows");
            scripted.next_is_well(!excess);
        } else {
            let whole = client.wire().response("GET");
            let whole = whole.ok().filter(|answer| answer.status != 502);
            assert!(whole.is_none(), "a broken answer was whole for the client: {whole:?}");
            scripted.next_is_well(false);
        }
    }
}
