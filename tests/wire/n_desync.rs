//! Desync, family by family: for every request that is accepted the origin's octets are exactly one, for every
//! other none; and whoever comes next, over the same upstream connection, gets an answer of their own.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use crate::cases;
use crate::harness::{Chance, Gate, Origin, Peer, Proxy, Request, eventually};

/// Behind every attack: what it would be best for it to get through.
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: b\r\n\r\n";

/// The last request of a connection.
const LAST: &str = "GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

/// An origin that answers every request with its target, over connections that stay, and counts those that
/// end in the middle of one. Its parser is the strict one of the harness.
struct Ground {
    proxy: Proxy,
    origin: Origin,
    ended: Arc<AtomicUsize>,
    torn: Arc<AtomicUsize>,
}

impl Ground {
    fn new() -> Ground {
        Ground::with(&[])
    }

    fn with(flags: &[&str]) -> Ground {
        let [ended, torn] = [(); 2].map(|()| Arc::new(AtomicUsize::new(0)));
        let counts = [ended.clone(), torn.clone()];
        let origin = Origin::start(move |peer| {
            let end = answer_all(peer).expect_err("it ends when the proxy closes");
            // An orderly end has nothing to tell; any other left octets that are no whole request.
            if end.get_ref().is_some() {
                eprintln!("connection {} ends with: {end}", peer.number);
                counts[1].fetch_add(1, Relaxed);
            }
            counts[0].fetch_add(1, Relaxed);
            Ok(())
        });
        let proxy = Proxy::with(&origin, flags);
        Ground { proxy, origin, ended, torn }
    }

    /// Sends `attack` on a connection of its own. The answers must be `200` with the `answered` targets in turn,
    /// then, unless it is 0, a refusal with `status` and a close.
    #[track_caller]
    fn attack(&self, attack: &str, answered: &[&str], status: u16) {
        let before = self.origin.requests().len();
        let mut client = self.proxy.client();
        client.send_if_taken(attack);
        for target in answered {
            let head = attack.starts_with("HEAD") && target == &answered[0];
            let answer = if head { client.response_to_head() } else { client.response() };
            assert_eq!(answer.status, 200, "{attack:?}: {answer:?}");
            assert_eq!(answer.get("X-Target"), Some(*target), "{attack:?}");
        }
        if status > 0 {
            let answer = client.response();
            assert_eq!(answer.status, status, "{attack:?}: {answer:?}");
        } else {
            client.finish_sending_if_open();
        }
        assert_eq!(client.until_gone().escape_ascii().to_string(), "", "{attack:?}");
        let victim = self.proxy.client().get("/victim");
        assert_eq!((victim.status, victim.text().as_str()), (200, "/victim"), "after {attack:?}");
        let seen: Vec<_> =
            self.origin.requests().split_off(before).into_iter().map(|seen| seen.target).collect();
        assert_eq!(seen, [answered, &["/victim"]].concat(), "{attack:?}");
    }

    /// All attacks are over: how many upstream connections ended in the middle of a request.
    #[track_caller]
    fn torn(self) -> usize {
        assert_eq!(self.proxy.stop().code, Some(0));
        let opened = self.origin.connections();
        eventually("the end of all connections", || self.ended.load(Relaxed) == opened);
        self.torn.load(Relaxed)
    }
}

/// Answers requests with their targets, for as long as there are any.
fn answer_all(peer: &mut Peer) -> io::Result<Infallible> {
    loop {
        let request = peer.request()?;
        let (target, length) = (&request.target, request.target.len());
        let body = if request.method == "HEAD" { "" } else { target };
        peer.send(format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nX-Target: {target}\r\n\r\n{body}"
        ))?;
    }
}

/// None of these gets through, nor what is behind them.
#[track_caller]
fn refused(status: u16, attacks: &[String]) {
    let ground = Ground::new();
    for attack in attacks {
        ground.attack(&format!("{attack}{SMUGGLED}"), &[], status);
    }
    assert_eq!(ground.torn(), 0);
}

/// A POST to `/` with these lines and this body.
fn post(lines: &str, body: &str) -> String {
    format!("POST / HTTP/1.1\r\nHost: a\r\n{lines}\r\n\r\n{body}")
}

fn each(lines: &[&str], body: &str) -> Vec<String> {
    lines.iter().map(|lines| post(lines, body)).collect()
}

#[test]
fn n01_cl_te_and_te_cl() {
    let both = [
        "Content-Length: 6\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 6",
        "Content-Length: 0\r\nTransfer-Encoding: chunked",
        "Content-Length: 6\r\nTransfer-Encoding: chunked\r\nConnection: Transfer-Encoding",
        "Content-Length: 6\r\nTransfer-Encoding: chunked\r\nConnection: Content-Length",
        "Content-Length: 6\r\nTransfer-Encoding: x",
        "Content-Length: x\r\nTransfer-Encoding: chunked",
    ];
    refused(400, &each(&both, "0\r\n\r\nX"));
}

#[test]
fn n02_te_te() {
    let obfuscated = [
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding : chunked",
        "Transfer-Encoding\t: chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: x",
        "Transfer-Encoding: x\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: \x0bchunked",
        "Transfer-Encoding: \"chunked\"",
        "Transfer-Encoding: chunked;a=b",
        "Transfer-Encoding: ,chunked",
        "Transfer-Encoding:\r\n chunked",
        "X: y\nTransfer-Encoding: chunked",
        "X: y\rTransfer-Encoding: chunked",
        "\x00Transfer-Encoding: chunked",
        " Transfer-Encoding: chunked",
        "Transfer-Encoding: chunked\x00",
    ];
    refused(400, &each(&obfuscated, "0\r\n\r\n"));
    refused(400, &each(&obfuscated, "5\r\nhello\r\n0\r\n\r\n"));
    refused(501, &each(&["Transfer-Encoding: identity, chunked"], "0\r\n\r\n"));
}

#[test]
fn n03_lengths_that_two_would_read_in_two_ways() {
    let odd = [
        "Content-Length: 5\r\nContent-Length: 0",
        "Content-Length: 0\r\nContent-Length: 5",
        "Content-Length: 5\r\nContent-Length: 5",
        "Content-Length: 5, 5",
        "Content-Length: 0,5",
        "Content-Length: 5,",
        "Content-Length: +5",
        "Content-Length: -5",
        "Content-Length: 5 ;",
        "Content-Length: 5 0",
        "Content-Length: 0x5",
        "Content-Length: 5.",
        "Content-Length: 18446744073709551621",
        "Content-Length: 4294967301x",
        "Content-Length:\x0b5",
        "Content-Length: 5\x0c",
        "Content-Length:\r\n 5",
        "Content-Length : 5",
        "Content Length: 5",
        "\"Content-Length\": 5",
    ];
    refused(400, &each(&odd, "hello"));
}

#[test]
fn n04_zeros_before_a_length_are_no_other_length() {
    let ground = Ground::new();
    let zeros = format!("Content-Length: {}35", "0".repeat(300));
    ground.attack(&post(&zeros, SMUGGLED), &["/"], 0);
    let request = &ground.origin.requests()[0];
    assert_eq!(request.head.get("Content-Length"), Some("35"));
    assert_eq!(request.body, SMUGGLED.as_bytes());
    assert_eq!(ground.torn(), 0);
}

#[test]
fn n05_cl_0_a_body_stays_a_body() {
    let ground = Ground::new();
    for method in ["GET", "HEAD", "DELETE", "OPTIONS", "TRACE", "PATCH", "FOO", "get"] {
        let length = SMUGGLED.len();
        let attack =
            format!("{method} / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{SMUGGLED}");
        ground.attack(&attack, &["/"], 0);
    }
    let bodies = ground.origin.requests().into_iter().filter(|request| request.target == "/");
    assert!(bodies.into_iter().all(|request| request.body == SMUGGLED.as_bytes()));
    assert_eq!(ground.torn(), 0);
}

#[test]
fn n06_0_cl_and_lookalikes_what_is_no_body_is_the_next_request() {
    let ground = Ground::new();
    let next = "GET /next HTTP/1.1\r\nHost: a\r\n\r\n";
    for lines in [
        "Content-Length: 0",
        "X: y",
        "Content_Length: 30",
        "Transfer_Encoding: chunked",
        "X-Content-Length: 30",
        "Content-Length-: 30",
    ] {
        ground.attack(&post(lines, next), &["/", "/next"], 0);
    }
    for request in ground.origin.requests() {
        assert!(request.body.is_empty());
        assert_eq!(request.head.all("Content_Length").len(), 0);
        assert_eq!(request.head.all("Transfer_Encoding").len(), 0);
    }
    assert_eq!(ground.torn(), 0);
}

#[test]
fn n07_te_0_chunks_stay_chunks() {
    let ground = Ground::new();
    let chunks = format!("{:x}\r\n{SMUGGLED}\r\n0\r\n\r\n", SMUGGLED.len());
    for method in ["OPTIONS", "GET", "HEAD", "DELETE", "FOO"] {
        for more in
            ["", "Connection: Transfer-Encoding\r\n", "Connection: Upgrade\r\nUpgrade: h2c\r\n"]
        {
            let attack = format!(
                "{method} / HTTP/1.1\r\nHost: a\r\n{more}Transfer-Encoding: chunked\r\n\r\n{chunks}"
            );
            ground.attack(&attack, &["/"], 0);
        }
    }
    let bodies = ground.origin.requests().into_iter().filter(|request| request.target == "/");
    assert!(bodies.into_iter().all(|request| request.body == SMUGGLED.as_bytes()));
    assert_eq!(ground.torn(), 0);
}

#[test]
fn n08_chunks_with_two_ends() {
    let ground = Ground::new();
    let chunked = "Transfer-Encoding: chunked";
    let bad = [
        "2\nxx\r\n0\r\n\r\n",
        "2;\nxx\r\n0\r\n\r\n",
        "2;a\nxx\r\n0\r\n\r\n",
        "2;a=\"\n\"\r\nxx\r\n0\r\n\r\n",
        "2\rxx\r\n0\r\n\r\n",
        "2\r\nxx\n0\r\n\r\n",
        "2\r\nxxyy0\r\n\r\n",
        "2\r\nxxy\n0\r\n\r\n",
        "2\r\nxx0\r\n\r\n",
        "2\r\nxx\r0\r\n\r\n",
        "2 \r\nxx\r\n0\r\n\r\n",
        "+2\r\nxx\r\n0\r\n\r\n",
        "0x2\r\nxx\r\n0\r\n\r\n",
        "10000000000000002\r\nxx\r\n0\r\n\r\n",
        "2\r\nxx\r\n0\n\r\n",
        "2\r\nxx\r\n0\r\nGET /smuggled HTTP/1.1\r\n\r\n",
        "2\r\nxx\r\n0\r\nX: y\nZ: w\r\n\r\n",
        "2\r\nxx\r\n0\r\nX: y\r\n z\r\n\r\n",
    ];
    for body in bad {
        ground.attack(&format!("{}{SMUGGLED}", post(chunked, body)), &[], 400);
    }
    // What was there of a body before its fault may have been sent: a request that never became whole.
    assert!(ground.torn() <= bad.len());
}

#[test]
fn n09_trailers_change_neither_framing_nor_identity() {
    let ground = Ground::new();
    let trailers = "Content-Length: 35\r\nTransfer-Encoding: identity\r\nHost: evil\r\n\
                    X-Forwarded-For: 10.0.0.1\r\nX_Forwarded_For: 10.0.0.1\r\nAuthorization: x\r\n\
                    Cookie: a=b\r\nConnection: close\r\nX-Sum: 1\r\n";
    let attack = post("Transfer-Encoding: chunked", &format!("2\r\nhi\r\n0\r\n{trailers}\r\n"));
    ground.attack(&format!("{attack}GET /next HTTP/1.1\r\nHost: a\r\n\r\n"), &["/", "/next"], 0);
    let request = &ground.origin.requests()[0];
    assert_eq!(request.trailers, [("X-Sum".to_owned(), "1".to_owned())]);
    assert_eq!(request.head.get("Content-Length"), None);
    assert_eq!(ground.torn(), 0);
}

#[test]
fn n10_hosts_that_two_would_read_in_two_ways() {
    let get = |lines: &str| format!("GET / HTTP/1.1\r\n{lines}\r\n\r\n");
    let odd = [
        "X: y",
        "Host: a\r\nHost: b",
        "Host:\r\nHost: b",
        "Host: a, b",
        "Host: a b",
        "Host: a:80:90",
        "Host: a@b",
        "Host: a/b",
        "Host: a#b",
        "Host: a\\b",
        "Host : a",
        " Host: a",
        "Host: [::1",
        "Host: a\r\n\tb",
    ];
    refused(400, &odd.map(get));

    let ground = Ground::new();
    ground.attack("GET http://b/1 HTTP/1.1\r\nHost: a\r\n\r\n", &["/1"], 0);
    ground.attack("GET //b/2 HTTP/1.1\r\nHost: a\r\n\r\n", &["//b/2"], 0);
    ground.attack("GET /@b/3 HTTP/1.1\r\nHost: a\r\nX-Forwarded-Host: c\r\n\r\n", &["/@b/3"], 0);
    let named = |n: usize| ground.origin.requests()[n].head.get("Host").map(str::to_owned);
    assert_eq!(
        (named(0), named(2), named(4)),
        (Some("b".into()), Some("a".into()), Some("a".into()))
    );
    let forwarded = ground.origin.requests()[4].head.get("X-Forwarded-Host").map(str::to_owned);
    assert_eq!(forwarded.as_deref(), Some("a"));
    assert_eq!(ground.torn(), 0);
}

#[test]
fn n11_a_client_strips_nothing_that_is_not_its_own() {
    let ground = Ground::new();
    for name in ["X-Forwarded-For", "x_forwarded_for", "X-FORWARDED-FOR", "close, X-Forwarded-For"]
    {
        let closes = name.starts_with("close");
        let attack = format!(
            "GET /1 HTTP/1.1\r\nHost: a\r\nConnection: {name}\r\nX-Forwarded-For: 10.0.0.1\r\n\
             X_Forwarded_For: 10.0.0.1\r\nX-Forwarded_For: 10.0.0.1\r\n\r\n{}",
            if closes { SMUGGLED } else { "" }
        );
        ground.attack(&attack, &["/1"], 0);
    }
    for request in ground.origin.requests() {
        assert_eq!(request.head.get("X-Forwarded-For"), Some("127.0.0.1"));
        assert!(!request.head.fields.iter().any(|(_, value)| value.contains("10.0.0.1")));
    }
    assert_eq!(ground.torn(), 0);
}

#[test]
fn n12_expect_tricks() {
    let vague = [
        "Expect: 100-continue\r\nContent-Length: 0\r\nContent-Length: 5",
        "Expect: 100-continue\r\nContent-Length: 5\r\nTransfer-Encoding: chunked",
    ];
    refused(400, &each(&vague, "hello"));
    let unknown =
        ["Expect: y 100-continue", "Expect: 100-continue, x", "Expect: 200-ok", "Expect:"];
    let unknown = unknown.map(|line| format!("{line}\r\nContent-Length: 5"));
    refused(417, &each(&unknown.each_ref().map(String::as_str), "hello"));

    let ground = Ground::new();
    let length = SMUGGLED.len();
    for method in ["POST", "GET", "HEAD"] {
        let attack = format!(
            "{method} /1 HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\
             Content-Length: {length}\r\n\r\n{SMUGGLED}"
        );
        ground.attack(&attack, &["/1"], 0);
    }
    let bodyless = "GET /2 HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n";
    let next = "GET /next HTTP/1.1\r\nHost: a\r\n\r\n";
    ground.attack(&format!("{bodyless}{next}"), &["/2", "/next"], 0);
    assert_eq!(ground.torn(), 0);
}

#[test]
fn n13_a_body_that_an_origin_refuses_to_read_is_no_request_for_it() {
    // It answers at once, and takes whatever comes next for a request.
    let origin = Origin::start(|peer| {
        loop {
            let target = peer.request_head()?.line;
            let length = target.len();
            peer.send(format!("HTTP/1.1 403 No\r\nContent-Length: {length}\r\n\r\n{target}"))?;
        }
    });
    let proxy = Proxy::before(&origin);
    for expect in ["", "Expect: 100-continue\r\n"] {
        let length = SMUGGLED.len();
        let mut client = proxy.client();
        client.send(format!(
            "POST / HTTP/1.1\r\nHost: a\r\n{expect}Content-Length: {length}\r\n\r\n"
        ));
        assert_eq!(client.response().text(), "POST / HTTP/1.1");
        client.send_if_taken(SMUGGLED).finish_sending_if_open();
        client.until_gone();
        assert_eq!(proxy.client().get("/victim").text(), "GET /victim HTTP/1.1");
    }
    let seen: Vec<_> = origin.requests().into_iter().map(|request| request.target).collect();
    assert_eq!(seen, ["/", "/victim", "/", "/victim"]);
    // Nothing was sent behind what an honest origin would still take for a body.
    let behind = |n: usize| origin.received(n).windows(7).any(|octets| octets == b"/victim");
    assert!(!behind(0) && origin.connections() >= 3, "{}", origin.received(0).escape_ascii());
}

#[test]
fn n14_an_upgrade_with_a_body_and_octets_before_the_101() {
    let handshake = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let get = |lines: &str| format!("GET / HTTP/1.1\r\nHost: a\r\n{handshake}{lines}\r\n");
    let with_body = ["Content-Length: 5\r\n", "Transfer-Encoding: chunked\r\n"].map(get);
    refused(400, &with_body);

    // The origin does not switch: what came early was meant for another protocol (RFC 9931), whatever it looks like.
    let ground = Ground::new();
    let h2c = "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\
               HTTP2-Settings: AAMAAABk\r\n\r\n";
    for early in [SMUGGLED, "GET /bad\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "\0"] {
        ground.attack(&format!("{}{early}", get("")), &["/"], 0);
        ground.attack(&format!("{h2c}{early}"), &["/"], 0);
    }
    let mut client = ground.proxy.client();
    client.send(format!("{}\0", get("")));
    assert!(client.response().head.lists("Connection", "close"), "the close is announced");
    client.until_gone();
    let plain = ground.origin.requests().into_iter().all(|request| {
        request.head.get("HTTP2-Settings").is_none() && !request.head.lists("Upgrade", "h2c")
    });
    assert!(plain);
    assert_eq!(ground.torn(), 0);
}

/// An origin whose first connection follows `script` after a request was read, and that answers every other
/// request with its target.
fn crooked(script: impl Fn(&mut Peer) -> io::Result<()> + Send + Sync + 'static) -> Origin {
    Origin::start(move |peer| {
        if peer.number == 0 {
            peer.request_head()?;
            script(peer)?;
        }
        answer_all(peer).map(|_| ())
    })
}

/// A first request to a crooked origin gets `status`; all others get their own answer.
#[track_caller]
fn crooked_once(method: &str, octets: &str, status: u16) {
    let answer = octets.to_owned();
    let origin = crooked(move |peer| peer.send(&answer));
    let proxy = Proxy::before(&origin);
    let mut client = proxy.client();
    client.send(format!("{method} /first HTTP/1.1\r\nHost: a\r\n\r\n"));
    let answer = if method == "HEAD" { client.response_to_head() } else { client.response() };
    assert_eq!(answer.status, status, "{octets:?}");
    assert!(!answer.head.raw.windows(6).any(|w| w == b"second"), "{answer:?}");
    for n in 0..3 {
        let target = format!("/{n}");
        assert_eq!(proxy.client().get(&target).text(), target, "after {octets:?}");
    }
}

#[test]
fn n15_an_origin_that_answers_twice() {
    const SECOND: &str = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecond";
    crooked_once("GET", &["HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", SECOND].concat(), 200);
    crooked_once("GET", &["HTTP/1.1 204 No Content\r\n\r\n", SECOND].concat(), 204);
    crooked_once("GET", &["HTTP/1.1 304 Not Modified\r\n\r\n", SECOND].concat(), 304);
    crooked_once("HEAD", &["HTTP/1.1 200 OK\r\nContent-Length: 57\r\n\r\n", SECOND].concat(), 200);
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    crooked_once("GET", &[chunked, SECOND].concat(), 200);
    crooked_once("GET", &["HTTP/1.1 103 Early\r\n\r\n", SECOND].concat(), 200);
}

#[test]
fn n16_answers_that_would_split() {
    for octets in [
        "HTTP/1.1 302 x\r\nLocation: /\nSet-Cookie: second=1\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 302 x\r\nLocation: /\rSet-Cookie: second=1\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nContent-Length: 6\r\n\r\nsecond",
        "HTTP/1.1 200 OK\r\nContent-Length: 0, 6\r\n\r\nsecond",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding : chunked\r\nContent-Length: 0\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: y\r\n Content-Length: 6\r\n\r\nsecond",
        "HTTP/1.1 100 Continue\r\nContent-Length: 6\r\n\r\nsecond",
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\nsecond",
    ] {
        crooked_once("GET", octets, 502);
    }
}

#[test]
fn n17_an_origin_that_answers_before_it_was_asked() {
    let (ask, asked) = (Gate::default(), Gate::default());
    let (timeouts, tells) = (ask.clone(), asked.clone());
    let origin = crooked(move |peer| {
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")?;
        timeouts.wait();
        // Onto a connection that has gone idle: it would be the answer to whoever comes next.
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecond")?;
        tells.open();
        Ok(())
    });
    let proxy = Proxy::before(&origin);
    assert_eq!(proxy.client().get("/first").text(), "hi");
    ask.open();
    asked.wait();
    assert_eq!(proxy.client().get("/victim").text(), "/victim");
}

#[test]
fn n18_an_early_answer_ends_the_connection_with_the_body() {
    let origin = crooked(|peer| peer.send("HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n"));
    let proxy = Proxy::before(&origin);
    let mut client = proxy.client();
    client.send("POST /first HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n");
    assert_eq!(client.response().status, 413);
    client.send_if_taken(SMUGGLED);
    assert_eq!(proxy.client().get("/victim").text(), "/victim");
    let seen: Vec<_> = origin.requests().into_iter().map(|request| request.target).collect();
    assert_eq!(seen, ["/first", "/victim"]);
    assert_eq!(origin.connections(), 2, "the first one still waits for a body");
}

#[test]
fn n19_mutations_of_good_requests_leave_one_request_for_each_that_was_answered() {
    let vectors: Vec<_> = cases::all()
        .into_iter()
        .filter(|case| case.kind.starts_with("http request") && case.bytes.len() < 1000)
        .filter(|case| case.outcome[0].contains(" at "))
        .collect();
    // Who has finished sending still gets an answer: so no case has to be waited for.
    let ground = Ground::with(&["--half-close"]);
    let mut chance = Chance::seeded(19);
    let mut answered = Vec::new();
    for round in 0..1000 {
        let attack = mutated(&vectors[chance.below(vectors.len())].bytes, &mut chance);
        let mut client = ground.proxy.client();
        client.send_if_taken(&attack).send_if_taken(LAST).finish_sending_if_open();
        answered.extend(identities(&client.until_gone()));
        let victim = ground.proxy.client().get("/victim");
        assert_eq!(victim.text(), "/victim", "round {round}: {}", attack.escape_ascii());
        answered.push(victim.get("X-Request-Id").expect("an identity").to_owned());
    }
    let requests = ground.origin.requests();
    let id = |seen: &Request| seen.head.get("X-Request-Id").expect("an identity").to_owned();
    let mut seen: Vec<_> = requests.iter().map(id).collect();
    answered.sort();
    seen.sort();
    assert_eq!(answered, seen, "one answer for each request");
    assert!(seen.len() > 1200, "only {} requests", seen.len() - 1000);
    assert_eq!(ground.proxy.stop().code, Some(0));
}

/// Whose answers these are, refusals left out.
fn identities(answers: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(answers).into_owned();
    let good = text.split("HTTP/1.1 200 OK\r\n").skip(1);
    let id = |answer: &str| {
        answer.split_once("X-Request-Id: ")?.1.split("\r\n").next().map(str::to_owned)
    };
    good.filter_map(id).collect()
}

/// One to three small changes that those who obfuscate like.
fn mutated(bytes: &[u8], chance: &mut Chance) -> Vec<u8> {
    const TOKENS: &[&[u8]] = &[
        b"\r",
        b"\n",
        b"\r\n",
        b" ",
        b"\t",
        b"\0",
        b":",
        b",",
        b";",
        b"0",
        b"+",
        b"\x0b",
        b"_",
        b"\x80",
        b"Content-Length: 5\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"0\r\n\r\n",
        b"Host: b\r\n",
        b"Connection: close\r\n",
        b"\r\n\r\n",
        b"chunked",
        b"HTTP/1.1",
    ];
    let mut bytes = bytes.to_vec();
    bytes.truncate(20_000);
    for _ in 0..=chance.below(3) {
        let at = chance.below(bytes.len() + 1);
        match chance.below(4) {
            0 if at < bytes.len() => drop(bytes.remove(at)),
            1 if at < bytes.len() => bytes[at] = chance.one_of(TOKENS)[0],
            2 => {
                let from = chance.below(at + 1);
                let copy = bytes[from..at].to_vec();
                bytes.splice(at..at, copy.into_iter().take(64));
            }
            _ => drop(bytes.splice(at..at, chance.one_of(TOKENS).iter().copied())),
        }
    }
    bytes
}
