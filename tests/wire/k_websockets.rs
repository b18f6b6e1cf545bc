//! WebSockets and other tunnels: how they are agreed on, what goes through, and how they end.

use std::io;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};
use serde_json::Value;

use crate::harness::{
    CLOSE, Client, Gate, Origin, Peer, Proxy, TEXT, assert_same, eventually, frame, masked,
    pattern, run,
};

/// The handshake of RFC 6455 section 1.3, and its answer.
const HANDSHAKE: &str = "GET /chat HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
     Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const SWITCHED: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
     Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
const TO_TCP: &str = "GET / HTTP/1.1\r\nHost: test\r\nUpgrade: tcp\r\nConnection: Upgrade\r\n\r\n";
const AT_TCP: &str = "HTTP/1.1 101 x\r\nUpgrade: tcp\r\nConnection: Upgrade\r\n\r\n";
/// A Close with code 1001, as a server sends it.
const GOING_AWAY: &[u8] = b"\x88\x02\x03\xe9";
const MIB: usize = 1024 * 1024;

/// An origin that switches, then does what `script` says.
fn switching(script: impl Fn(&mut Peer) -> io::Result<()> + Send + Sync + 'static) -> Origin {
    Origin::start(move |peer| {
        peer.request()?;
        peer.send(SWITCHED)?;
        script(peer)
    })
}

/// Sends every octet back, whatever it is, to the end.
fn reflect(peer: &mut Peer) -> io::Result<()> {
    loop {
        let octet = peer.exactly(1)?;
        peer.send(octet)?;
    }
}

/// A WebSocket through `proxy`.
#[track_caller]
fn socket(proxy: &Proxy) -> Client {
    let mut client = proxy.client();
    client.send(HANDSHAKE);
    assert_eq!(client.response().status, 101);
    client
}

/// The only line of the access log.
#[track_caller]
fn logged(proxy: &Proxy) -> Value {
    let lines = proxy.access_log(1);
    assert_eq!(lines.len(), 1, "{lines:#?}");
    serde_json::from_str(&lines[0]).expect("a line of JSON")
}

/// A masked Close 1001 is next.
fn expect_masked_close(peer: &mut Peer) -> io::Result<()> {
    let octets = peer.exactly(8)?;
    assert_eq!(octets[..2], [CLOSE, 0x82], "{octets:?}");
    let code = [octets[6] ^ octets[2], octets[7] ^ octets[3]];
    assert_eq!(u16::from_be_bytes(code), 1001);
    Ok(())
}

// ---- the handshake ----

#[test]
fn k01_a_handshake_passes_with_all_that_belongs_to_it() {
    let origin = Origin::start(|peer| {
        peer.request()?;
        let more =
            "Sec-WebSocket-Protocol: chat\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n";
        peer.send(SWITCHED.replace("\r\n\r\n", &format!("\r\n{more}")))?;
        reflect(peer)
    });
    let proxy = Proxy::before(&origin);
    let mut client = proxy.client();
    let more = "Sec-WebSocket-Protocol: chat, superchat\r\n\
                Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\
                Sec-WebSocket-Extensions: x-other\r\nOrigin: http://example.com\r\nCookie: a=b\r\n\r\n";
    client.send(HANDSHAKE.replace("\r\n\r\n", &format!("\r\n{more}")));
    let answer = client.response();
    assert_eq!(answer.status, 101);
    assert_eq!(answer.get("Upgrade"), Some("websocket"));
    assert!(answer.head.lists("Connection", "upgrade"), "{answer:?}");
    assert_eq!(answer.get("Sec-WebSocket-Accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    assert_eq!(answer.get("Sec-WebSocket-Protocol"), Some("chat"));
    assert_eq!(answer.get("Sec-WebSocket-Extensions"), Some("permessage-deflate"));
    assert!(answer.head.all("Content-Length").is_empty(), "{answer:?}");

    client.send(masked(TEXT, b"Hello"));
    assert_eq!(client.exactly(11), masked(TEXT, b"Hello"));

    let asked = origin.request().head;
    assert_eq!(asked.line, "GET /chat HTTP/1.1");
    assert_eq!(asked.get("Upgrade"), Some("websocket"));
    assert!(asked.lists("Connection", "upgrade"), "{asked:?}");
    assert_eq!(asked.get("Sec-WebSocket-Key"), Some("dGhlIHNhbXBsZSBub25jZQ=="));
    assert_eq!(asked.get("Sec-WebSocket-Version"), Some("13"));
    assert_eq!(asked.get("Sec-WebSocket-Protocol"), Some("chat, superchat"));
    let offered = ["permessage-deflate; client_max_window_bits", "x-other"];
    assert_eq!(asked.all("Sec-WebSocket-Extensions"), offered);
    assert_eq!(asked.get("Origin"), Some("http://example.com"));
    assert_eq!(asked.get("Cookie"), Some("a=b"));
    assert_eq!(asked.get("X-Forwarded-For"), Some("127.0.0.1"));
    assert!(asked.all("Content-Length").is_empty(), "{asked:?}");
}

#[test]
fn k02_a_bad_handshake_is_refused_before_anybody_is_asked() {
    let origin = Origin::named("a");
    let proxy = Proxy::before(&origin);
    let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    for (from, to, status, reason) in [
        (key, "", 400, "bad_websocket_key"),
        (key, &[key, key].concat(), 400, "bad_websocket_key"),
        ("ub25jZQ==", "ub25jZQ=", 400, "bad_websocket_key"),
        ("ub25jZQ==", "ub25j*Q==", 400, "bad_websocket_key"),
        ("dGhlIHNhbXBsZSBub25jZQ==", "AAAA", 400, "bad_websocket_key"),
        ("Version: 13", "Version: 8", 426, "websocket_version"),
        ("Version: 13", "Version: 8, 13", 426, "websocket_version"),
        ("Sec-WebSocket-Version: 13\r\n", "", 426, "websocket_version"),
        ("\r\n\r\n", "\r\nContent-Length: 5\r\n\r\nhello", 400, "upgrade_with_body"),
        ("\r\n\r\n", "\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, "upgrade_with_body"),
    ] {
        let mut client = proxy.client();
        client.send(HANDSHAKE.replacen(from, to, 1));
        let answer = client.response();
        assert_eq!(answer.status, status, "{to}: {answer:?}");
        assert!(answer.text().contains(&format!("reason: {reason}\n")), "{to}: {}", answer.text());
        if status == 426 {
            assert_eq!(answer.get("Sec-WebSocket-Version"), Some("13"));
            assert_eq!(answer.get("Upgrade"), Some("websocket"));
            assert!(answer.head.lists("Connection", "upgrade"), "{answer:?}");
        }
    }
    assert_eq!(origin.connections(), 0);
}

#[test]
fn k03_what_cannot_become_a_tunnel_is_an_ordinary_request() {
    let origin = Origin::named("a");
    let proxy = Proxy::with(&origin, &["--allow-upgrade", "tcp"]);
    let post = HANDSHAKE.replace("GET", "POST");
    let with_body = post.replace("\r\n\r\n", "\r\nContent-Length: 5\r\n\r\nhello");
    let h2c = "GET / HTTP/1.1\r\nHost: t\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\
               HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n";
    let tcp_with_body = TO_TCP.replace("\r\n\r\n", "\r\nContent-Length: 1\r\n\r\nx");
    let requests = [
        post.as_str(),
        &with_body,
        &HANDSHAKE.replace("Connection: Upgrade\r\n", ""),
        &HANDSHAKE.replace("HTTP/1.1", "HTTP/1.0"),
        &HANDSHAKE.replace("Upgrade: websocket", "Upgrade: websocket/13"),
        h2c,
        &tcp_with_body,
    ];
    for request in requests {
        let mut client = proxy.client();
        client.send(request);
        let answer = client.response();
        assert_eq!((answer.status, answer.text().as_str()), (200, "a"), "{request}");
    }
    for request in origin.requests() {
        assert!(request.head.all("Upgrade").is_empty(), "{request:?}");
        assert!(!request.head.lists("Connection", "upgrade"), "{request:?}");
        assert!(request.head.all("HTTP2-Settings").is_empty(), "{request:?}");
    }
    assert_eq!(origin.requests().len(), requests.len());
}

#[test]
fn k04_nothing_is_tunnelled_without_proof() {
    let accept = "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";
    for (from, to, reason) in [
        (accept, "", "bad_upgrade_proof"),
        (accept, &[accept, accept].concat(), "bad_upgrade_proof"),
        ("s3pP", "s3pQ", "bad_upgrade_proof"),
        ("Connection: Upgrade\r\n", "", "bad_upgrade_proof"),
        ("Upgrade: websocket\r\n", "", "bad_upgrade_proof"),
        ("HTTP/1.1", "HTTP/1.0", "bad_upgrade_proof"),
        ("websocket", "tcp", "unasked_upgrade"),
        ("websocket", "h2c", "unasked_upgrade"),
    ] {
        let head = SWITCHED.replacen(from, to, 1);
        let origin = Origin::start(move |peer| {
            peer.request()?;
            peer.send([head.as_bytes(), b"secret"].concat())?;
            peer.hold()
        });
        let proxy = Proxy::with(&origin, &["--allow-upgrade", "tcp"]);
        let mut client = proxy.client();
        client.send([HANDSHAKE.as_bytes(), &masked(TEXT, b"too early")].concat());
        let answer = client.response();
        assert_eq!(answer.status, 502, "{to}: {answer:?}");
        assert!(answer.text().contains(&format!("reason: {reason}\n")), "{to}: {}", answer.text());
        let rest = client.finish_sending_if_open().until_gone();
        assert!(!rest.windows(6).any(|window| window == b"secret"), "{to}");
        let received = origin.received(0);
        assert!(received.ends_with(b"\r\n\r\n"), "{to}: {}", received.escape_ascii());
        assert_eq!(proxy.metric("/tunnels/opened"), 0);
    }
}

#[test]
fn k05_a_101_nobody_asked_for_is_a_bad_answer() {
    let origin = Origin::answering(SWITCHED);
    let proxy = Proxy::before(&origin);
    let mut client = proxy.client();
    let answer = client.get("/");
    assert_eq!(answer.status, 502);
    assert!(answer.text().contains("reason: unasked_upgrade\n"), "{}", answer.text());
    client.send(HANDSHAKE.replace("GET", "POST"));
    assert_eq!(client.response().status, 502);
}

#[test]
fn k06_any_other_answer_is_relayed_and_the_connection_stays_http() {
    let origin = Origin::serving(|request| match request.head.get("Upgrade") {
        Some(_) => {
            b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\nX-Why: members only\r\n\r\nno".to_vec()
        }
        None => b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nyes".to_vec(),
    });
    let proxy = Proxy::before(&origin);
    let mut client = proxy.client();
    for _ in 0..3 {
        client.send(HANDSHAKE);
        let answer = client.response();
        assert_eq!((answer.status, answer.text().as_str()), (403, "no"));
        assert_eq!(answer.get("X-Why"), Some("members only"));
        assert_eq!(client.get("/").text(), "yes");
    }
    assert_eq!(origin.connections(), 1, "the upstream's connection stays HTTP as well");
    assert_eq!(proxy.metric("/tunnels/opened"), 0);
}

#[test]
fn k07_what_comes_before_the_101_is_held_until_then() {
    let go_on = Gate::default();
    let let_go = go_on.clone();
    let early = [masked(TEXT, b"one"), masked(TEXT, &pattern(MIB))].concat();
    let late = masked(TEXT, b"three");
    let total = early.len() + late.len();
    let origin = Origin::start(move |peer| {
        peer.request_head()?;
        peer.patience(Duration::from_millis(100))?;
        let nothing = peer.fill().expect_err("nothing goes before the 101");
        assert_eq!(nothing.kind(), io::ErrorKind::TimedOut);
        peer.patience(crate::harness::DEADLINE)?;
        let_go.wait();
        peer.send(SWITCHED)?;
        let octets = peer.exactly(total)?;
        peer.send(octets)
    });
    let proxy = Proxy::before(&origin);
    let mut client = proxy.client();
    let mut sender = client.wire().sender().unwrap();
    let sent = [early.clone(), late].concat();
    let writer = thread::spawn(move || {
        sender.send(HANDSHAKE)?;
        sender.send(sent)
    });
    client.expect_silence(Duration::from_millis(50));
    go_on.open();
    assert_eq!(client.response().status, 101);
    let expected = [early, masked(TEXT, b"three")].concat();
    assert_same(&client.exactly(total), &expected);
    writer.join().unwrap().unwrap();
    client.expect_closed();
}

/// Octets for another protocol, chosen by whoever chose its messages, may look like a request.
#[test]
fn k08_what_came_too_early_is_never_shown_to_an_origin_that_does_not_switch() {
    let origin = Origin::named("a");
    let proxy = Proxy::before(&origin);
    let requests = [HANDSHAKE.to_owned(), HANDSHAKE.replace("websocket", "h2c")];
    for (n, handshake) in requests.iter().enumerate() {
        let mut client = proxy.client();
        client.send(format!("{handshake}GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert_eq!(client.response().text(), "a");
        client.expect_closed();
        assert_eq!(origin.requests().len(), n + 1);
    }
    assert!(origin.received(0).ends_with(b"\r\n\r\n"));
}

#[test]
fn k09_what_comes_right_behind_the_101_arrives() {
    let origin = Origin::start(|peer| {
        peer.request()?;
        peer.send(
            [SWITCHED.as_bytes(), &frame(TEXT, b"Hello"), &frame(TEXT, &pattern(300_000))].concat(),
        )
    });
    let proxy = Proxy::before(&origin);
    let mut client = socket(&proxy);
    let expected = [frame(TEXT, b"Hello"), frame(TEXT, &pattern(300_000))].concat();
    assert_same(&client.exactly(expected.len()), &expected);
    client.expect_closed();
}

#[test]
fn k10_another_protocol_can_be_allowed_by_name() {
    let origin = Origin::start(|peer| {
        peer.request()?;
        peer.send([AT_TCP, "banner"].concat())?;
        reflect(peer)
    });
    let proxy = Proxy::with(&origin, &["--allow-upgrade", "TCP", "--access-log", "json"]);
    let mut client = proxy.client();
    client.send(TO_TCP);
    let answer = client.response();
    assert_eq!((answer.status, answer.get("Upgrade")), (101, Some("tcp")));
    assert_eq!(client.exactly(6), b"banner");
    let octets = pattern(100_000);
    let mut sender = client.wire().sender().unwrap();
    let writer = thread::spawn({
        let octets = octets.clone();
        move || sender.send(octets)
    });
    assert_same(&client.exactly(octets.len()), &octets);
    writer.join().unwrap().unwrap();
    client.finish_sending().expect_closed();
    assert_eq!(logged(&proxy)["reason"], "tunnel_closed");
}

#[test]
fn k11_http2_cannot_be_allowed() {
    for name in ["h2c", "H2C", "http"] {
        let flags =
            ["--upstream", "127.0.0.1:9", "--listen", "127.0.0.1:0", "--allow-upgrade", name];
        let end = run(&flags, &[]);
        assert_eq!(end.code, Some(2), "{name}: {}", end.stderr);
        assert!(end.stderr.contains("requests past"), "{}", end.stderr);
    }
}

#[test]
fn k12_tunnels_take_turns_over_the_upstreams() {
    let origin = |name: u8| {
        switching(move |peer| {
            peer.send(frame(TEXT, &[name]))?;
            peer.hold()
        })
    };
    let (a, b) = (origin(b'a'), origin(b'b'));
    let proxy = Proxy::start(&["--upstream", &a.url(), "--upstream", &b.url()]);
    let mut sockets: Vec<_> = (0..6).map(|_| socket(&proxy)).collect();
    let names: Vec<u8> = sockets.iter_mut().map(|socket| socket.exactly(3)[2]).collect();
    assert!(names == b"ababab" || names == b"bababa", "{names:?}");
    assert_eq!((a.connections(), b.connections()), (3, 3));
}

// ---- what goes through ----

#[test]
fn k13_frames_in_single_octets_pass_both_ways() {
    let origin = switching(|peer| {
        let hello = peer.exactly(11)?;
        assert_eq!(hello, masked(TEXT, b"Hello"));
        peer.send_slowly(frame(TEXT, &pattern(1000)))?;
        peer.send_slowly(hello)
    });
    let proxy = Proxy::before(&origin);
    let mut client = socket(&proxy);
    client.send_slowly(masked(TEXT, b"Hello"));
    assert_same(&client.exactly(1004), &frame(TEXT, &pattern(1000)));
    assert_eq!(client.exactly(11), masked(TEXT, b"Hello"));
    client.expect_closed();
}

#[test]
fn k14_large_frames_go_through_the_kernel_both_ways_at_once() {
    const SIZE: usize = 8 * MIB;
    let origin = switching(|peer| {
        let mut sender = peer.sender()?;
        let writer = thread::spawn(move || sender.send(frame(TEXT, &pattern(SIZE))));
        let octets = peer.exactly(SIZE + 14)?;
        assert_same(&octets, &masked(TEXT, &pattern(SIZE)));
        writer.join().expect("no panic")?;
        peer.send(frame(CLOSE, b""))
    });
    let proxy = Proxy::before(&origin);
    let mut client = socket(&proxy);
    let mut sender = client.wire().sender().unwrap();
    let writer = thread::spawn(move || sender.send(masked(TEXT, &pattern(SIZE))));
    assert_same(&client.exactly(SIZE + 10), &frame(TEXT, &pattern(SIZE)));
    assert_eq!(client.exactly(2), frame(CLOSE, b""));
    writer.join().unwrap().unwrap();
    client.expect_closed();
    let spliced = proxy.metric("/splice/bytes");
    assert!(spliced > SIZE as u64, "{spliced} of {} octets were spliced", 2 * SIZE);
}

#[test]
fn k15_octets_that_are_no_frames_pass_all_the_same() {
    let origin = switching(reflect);
    let proxy = Proxy::before(&origin);
    let mut client = socket(&proxy);
    let octets = b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff no frame\r\n";
    client.send(octets);
    assert_eq!(client.exactly(octets.len()), octets);
}

#[test]
fn k16_the_time_limits_of_requests_are_not_those_of_tunnels() {
    let go_on = Gate::default();
    let let_go = go_on.clone();
    let origin = switching(move |peer| {
        // The beginning of a frame that is large enough to be spliced, and a pause.
        let frame = frame(TEXT, &pattern(MIB));
        peer.send(&frame[..100_000])?;
        let_go.wait();
        peer.send(&frame[100_000..])
    });
    let short = "60ms";
    let flags = ["--read-timeout", short, "--response-timeout", short, "--idle-timeout", short];
    let proxy = Proxy::with(&origin, &flags);
    let mut client = socket(&proxy);
    let expected = frame(TEXT, &pattern(MIB));
    assert_same(&client.exactly(100_000), &expected[..100_000]);
    client.expect_silence(Duration::from_millis(250));
    go_on.open();
    assert_same(&client.exactly(expected.len() - 100_000), &expected[100_000..]);
    client.expect_closed();
}

#[test]
fn k17_idle_tunnels_own_no_buffers() {
    let origin = switching(reflect);
    let proxy = Proxy::with(&origin, &["--buffers", "16"]);
    let mut sockets: Vec<_> = (0..50).map(|_| socket(&proxy)).collect();
    for _ in 0..2 {
        for socket in &mut sockets {
            socket.send(masked(TEXT, b"Hello"));
            assert_eq!(socket.exactly(11), masked(TEXT, b"Hello"));
        }
        eventually("all buffers home", || proxy.metric("/buffers/used") == 0);
    }
}

#[test]
fn k18_open_tunnels_are_counted() {
    let origin = switching(reflect);
    let proxy = Proxy::before(&origin);
    let sockets: Vec<_> = (0..3).map(|_| socket(&proxy)).collect();
    eventually("three open", || proxy.metric("/tunnels/open") == 3);
    assert_eq!(proxy.metric("/active"), 0, "a tunnel is no request any more");
    let status: Value = serde_json::from_slice(&proxy.ask("/status").body).unwrap();
    assert_eq!(status["totals"]["tunnels"], 3, "{status:#}");
    let text = proxy.ask("/metrics?format=prometheus").text();
    for line in ["tidegate_tunnels 3", "tidegate_tunnels_opened_total 3"] {
        assert!(text.lines().any(|l| l == line), "{text}");
    }
    drop(sockets);
    eventually("none open", || proxy.metric("/tunnels/open") == 0);
    assert_eq!((proxy.metric("/tunnels/opened"), proxy.metric("/active")), (3, 0));
    let durations = ["/tunnels/duration_s/count", "/duration_s/count"].map(|at| proxy.metric(at));
    assert_eq!(durations, [3, 0], "the time of a tunnel is none of a request");
    eventually("all buffers home", || proxy.metric("/buffers/used") == 0);
    eventually("all connections closed", || proxy.metric("/connections/current") == 0);
}

// ---- how tunnels end ----

#[test]
fn k19_a_client_may_stop_sending_and_go_on_receiving() {
    let origin = switching(|peer| {
        let all = peer.rest()?;
        assert_eq!(all, masked(TEXT, b"Hello"));
        peer.send(frame(TEXT, b"the answer"))?;
        peer.send(frame(TEXT, &pattern(200_000)))
    });
    let proxy = Proxy::with(&origin, &["--access-log", "json"]);
    let mut client = socket(&proxy);
    let head = origin.received(0).len();
    client.send(masked(TEXT, b"Hello")).finish_sending();
    assert_eq!(client.exactly(12), frame(TEXT, b"the answer"));
    assert_same(&client.exactly(200_010), &frame(TEXT, &pattern(200_000)));
    client.expect_closed();
    let line = logged(&proxy);
    assert_eq!((&line["status"], &line["reason"]), (&101.into(), &"tunnel_closed".into()));
    assert!(head > 0 && line["path"] == "/chat", "{line:#}");
    assert_eq!(line["bytes_in"], HANDSHAKE.len() + 11);
    let out = line["bytes_out"].as_u64().unwrap();
    assert!((200_022..201_000).contains(&out), "{line:#}");
    assert_eq!(line["attempts"][0]["outcome"], "tunnel_closed", "{line:#}");
}

#[test]
fn k20_an_origin_may_stop_sending_and_go_on_receiving() {
    let (got, seen) = (Gate::default(), Gate::default());
    let opener = got.clone();
    let origin = switching(move |peer| {
        peer.send(frame(TEXT, b"bye"))?;
        peer.finish_sending()?;
        assert_eq!(peer.rest()?, masked(TEXT, b"and more"));
        opener.open();
        Ok(())
    });
    let proxy = Proxy::with(&origin, &["--access-log", "json"]);
    let mut client = socket(&proxy);
    assert_eq!(client.exactly(5), frame(TEXT, b"bye"));
    client.expect_closed();
    client.send(masked(TEXT, b"and more")).finish_sending();
    got.wait();
    seen.open();
    assert_eq!(logged(&proxy)["reason"], "tunnel_closed");
}

#[test]
fn k21_a_client_that_resets_takes_the_upstream_with_it() {
    let origin = switching(Peer::hold);
    let proxy = Proxy::with(&origin, &["--access-log", "json"]);
    let client = socket(&proxy);
    client.reset();
    assert_eq!(logged(&proxy)["reason"], "tunnel_client_reset");
    eventually("no tunnel", || proxy.metric("/tunnels/open") == 0);
    assert_eq!(proxy.metric("/reasons/tunnel_client_reset"), 1);
}

#[test]
fn k22_an_origin_that_resets_takes_the_client_with_it() {
    let origin = switching(|peer| {
        peer.exactly(11)?;
        peer.reset()
    });
    let proxy = Proxy::with(&origin, &["--access-log", "json"]);
    let mut client = socket(&proxy);
    client.send(masked(TEXT, b"Hello"));
    assert!(client.until_gone().is_empty());
    let line = logged(&proxy);
    assert_eq!(line["reason"], "tunnel_upstream_reset");
    assert_eq!(line["attempts"][0]["outcome"], "tunnel_upstream_reset");
}

/// A writer that is blocked hears of it as well, not only one that waits for octets.
#[test]
fn k23_a_client_that_resets_while_it_does_not_read_is_noticed() {
    let origin = switching(|peer| {
        let sent =
            peer.send_until_blocked(&frame(TEXT, &pattern(64 * MIB)), Duration::from_millis(200));
        sent.and_then(|_| peer.hold())
    });
    let proxy = Proxy::with(&origin, &["--access-log", "json"]);
    let mut client = Client::narrow(&proxy.address);
    client.send(HANDSHAKE);
    assert_eq!(client.response().status, 101);
    client.exactly(1000);
    client.reset();
    assert_eq!(logged(&proxy)["reason"], "tunnel_client_reset");
}

#[test]
fn k24_a_silent_tunnel_is_closed() {
    let origin = switching(Peer::hold);
    let proxy = Proxy::with(&origin, &["--access-log", "json", "--tunnel-idle-timeout", "200ms"]);
    let mut client = socket(&proxy);
    let started = Instant::now();
    assert!(client.until_gone().is_empty());
    assert!(started.elapsed() >= Duration::from_millis(150), "{:?}", started.elapsed());
    let line = logged(&proxy);
    assert_eq!(line["reason"], "tunnel_idle");
    assert!(line["total_s"].as_f64().unwrap() >= 0.2, "{line:#}");
}

#[test]
fn k25_a_tunnel_with_one_busy_way_is_not_silent() {
    let origin = switching(|peer| {
        // The rhythm is the case: seven silences shorter than the limit, longer than it together.
        for _ in 0..7 {
            thread::sleep(Duration::from_millis(60));
            peer.send(frame(TEXT, b"tick"))?;
        }
        peer.hold()
    });
    let proxy = Proxy::with(&origin, &["--access-log", "json", "--tunnel-idle-timeout", "250ms"]);
    let mut client = socket(&proxy);
    assert_eq!(client.until_gone(), frame(TEXT, b"tick").repeat(7));
    let line = logged(&proxy);
    assert_eq!(line["reason"], "tunnel_idle");
    assert!(line["total_s"].as_f64().unwrap() >= 0.67, "{line:#}");
}

/// A frame that takes long because its receiver is slow is no silence of the other way.
#[test]
fn k26_a_tunnel_in_the_middle_of_a_frame_is_not_silent() {
    const SIZE: usize = 16 * MIB;
    let expected = frame(TEXT, &pattern(SIZE));
    let sent = expected.clone();
    let origin = switching(move |peer| {
        peer.send(&sent)?;
        peer.hold()
    });
    let proxy = Proxy::with(&origin, &["--access-log", "json", "--tunnel-idle-timeout", "250ms"]);
    let mut client = Client::narrow(&proxy.address);
    client.send(HANDSHAKE);
    assert_eq!(client.response().status, 101);
    let (slowly, rest) = expected.split_at(60 * 4096);
    for block in slowly.chunks(4096) {
        thread::sleep(Duration::from_millis(10));
        assert_same(&client.exactly(block.len()), block);
    }
    assert_same(&client.exactly(rest.len()), rest);
    assert!(client.until_gone().is_empty());
    assert_eq!(logged(&proxy)["reason"], "tunnel_idle");
}

// ---- when tidegate ends ----

const SOON: [&str; 4] = ["--access-log", "json", "--drain-timeout", "300ms"];

#[test]
fn k27_an_answer_that_comes_after_sigterm_still_arrives() {
    let (asked, go_on) = (Gate::default(), Gate::default());
    let (was_asked, let_go) = (asked.clone(), go_on.clone());
    let origin = switching(move |peer| {
        peer.exactly(11)?;
        was_asked.open();
        let_go.wait();
        peer.send(frame(TEXT, b"the answer"))?;
        peer.hold()
    });
    let proxy = Proxy::with(&origin, &["--access-log", "json", "--drain-timeout", "4s"]);
    let mut client = socket(&proxy);
    client.send(masked(TEXT, b"Hello"));
    asked.wait();
    proxy.signal(Signal::TERM);
    eventually("draining", || proxy.ask("/ready").status == 503);
    client.expect_silence(Duration::from_millis(100));
    go_on.open();
    assert_eq!(client.exactly(12), frame(TEXT, b"the answer"));
    client.finish_sending().expect_closed();
    let end = proxy.finish();
    assert_eq!(end.code, Some(0), "{}", end.stderr);
    assert!(end.stdout.contains("tunnel_closed"), "{}", end.stdout);
}

#[test]
fn k28_what_outlives_the_drain_is_told_so_both_ways() {
    let origin = switching(|peer| {
        assert_eq!(peer.exactly(11)?, masked(TEXT, b"Hello"));
        expect_masked_close(peer)?;
        peer.send(frame(CLOSE, b"\x03\xe9"))?;
        assert_eq!(peer.rest()?, b"");
        Ok(())
    });
    let proxy = Proxy::with(&origin, &SOON);
    let mut client = socket(&proxy);
    client.send(masked(TEXT, b"Hello"));
    let started = Instant::now();
    proxy.signal(Signal::TERM);
    assert_eq!(client.exactly(4), GOING_AWAY);
    assert!(started.elapsed() >= Duration::from_millis(280), "{:?}", started.elapsed());
    client.send(masked(CLOSE, b"\x03\xe9"));
    client.expect_closed();
    let end = proxy.finish();
    assert!(started.elapsed() < Duration::from_millis(1200), "nobody was left to wait for");
    assert_eq!(end.code, Some(0), "{}", end.stderr);
    assert!(end.stdout.contains("tunnel_cut"), "{}", end.stdout);
}

#[test]
fn k29_a_frame_on_its_way_is_ended_before_the_close() {
    let half = Gate::default();
    let halfway = half.clone();
    let told = Gate::default();
    let is_told = told.clone();
    let origin = switching(move |peer| {
        let [down, up] = [frame(TEXT, b"Hello"), masked(TEXT, &pattern(300))];
        peer.send(&down[..4])?;
        peer.exactly(100)?;
        halfway.open();
        is_told.wait();
        // The rest of the frame and a whole one more: that one comes too late.
        peer.send([&down[4..], &frame(TEXT, b"too late")].concat())?;
        assert_same(&peer.exactly(up.len() - 100)?, &up[100..]);
        expect_masked_close(peer)?;
        peer.send(frame(CLOSE, b"\x03\xe9"))?;
        assert_eq!(peer.rest()?, b"", "nothing follows a Close");
        Ok(())
    });
    let proxy = Proxy::with(&origin, &["--access-log", "json", "--drain-timeout", "1ms"]);
    let mut client = socket(&proxy);
    let up = masked(TEXT, &pattern(300));
    client.send(&up[..100]);
    assert_eq!(client.exactly(4), frame(TEXT, b"Hello")[..4]);
    half.wait();
    proxy.signal(Signal::TERM);
    proxy.wait_for_log("cut what was left");
    client.expect_silence(Duration::from_millis(150));
    told.open();
    client.send([&up[100..], &masked(TEXT, b"too late")].concat());
    assert_eq!(client.exactly(3), frame(TEXT, b"Hello")[4..]);
    assert_eq!(client.exactly(4), GOING_AWAY);
    client.send(masked(CLOSE, b"\x03\xe9"));
    client.expect_closed();
    assert_eq!(proxy.finish().code, Some(0));
}

#[test]
fn k30_a_stream_without_a_pause_is_ended_at_a_boundary() {
    let origin = switching(|peer| {
        let mut sender = peer.sender()?;
        let writer =
            thread::spawn(move || while sender.send(frame(TEXT, &pattern(999))).is_ok() {});
        let end = peer.until_gone();
        let _ = writer.join();
        end.map(drop)
    });
    let proxy = Proxy::with(&origin, &SOON);
    let mut client = socket(&proxy);
    proxy.signal(Signal::TERM);
    let all = client.until_gone();
    let expected = frame(TEXT, &pattern(999));
    let (frames, close) = all.split_at(all.len() - 4);
    assert_eq!(close, GOING_AWAY);
    assert_eq!(frames.len() % expected.len(), 0);
    frames.chunks(expected.len()).for_each(|frame| assert_same(frame, &expected));
    assert_eq!(proxy.finish().code, Some(0));
}

#[test]
fn k31_nothing_is_put_behind_a_close_of_their_own() {
    let origin = switching(|peer| {
        assert_eq!(peer.exactly(8)?, masked(CLOSE, b"\x03\xe8"));
        assert_eq!(peer.until_gone()?, b"", "nothing follows a Close");
        Ok(())
    });
    let proxy = Proxy::with(&origin, &SOON);
    let mut client = socket(&proxy);
    client.send(masked(CLOSE, b"\x03\xe8"));
    proxy.signal(Signal::TERM);
    assert_eq!(client.exactly(4), GOING_AWAY, "the other way has had none");
    client.expect_closed();
    assert_eq!(proxy.finish().code, Some(0));
}

#[test]
fn k32_who_does_not_answer_the_close_is_cut() {
    let origin = switching(Peer::hold);
    let proxy = Proxy::with(&origin, &SOON);
    let mut client = socket(&proxy);
    proxy.signal(Signal::TERM);
    assert_eq!(client.exactly(4), GOING_AWAY);
    assert!(client.until_gone().is_empty());
    let end = proxy.finish();
    assert_eq!(end.code, Some(0), "{}", end.stderr);
    assert!(end.stderr.contains("WARN"), "{}", end.stderr);
    assert!(end.stdout.contains("tunnel_cut"), "{}", end.stdout);
}

#[test]
fn k33_a_tunnel_that_is_no_websocket_is_cut_without_a_word() {
    let origin = Origin::start(|peer| {
        peer.request()?;
        peer.send(AT_TCP)?;
        assert_eq!(peer.until_gone()?, b"");
        Ok(())
    });
    let flags = [&SOON[..], &["--allow-upgrade", "tcp"]].concat();
    let proxy = Proxy::with(&origin, &flags);
    let mut client = proxy.client();
    client.send(TO_TCP);
    assert_eq!(client.response().status, 101);
    proxy.signal(Signal::TERM);
    assert!(client.until_gone().is_empty());
    assert_eq!(proxy.finish().code, Some(0));
}

#[test]
fn k34_a_thousand_sockets_echo_through_a_stop_and_through_an_upgrade() {
    const SOCKETS: usize = 1000;
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
    let message = masked(TEXT, b"Hello");
    let length = message.len();
    for upgraded in [false, true] {
        let origin = switching(move |peer| {
            loop {
                let octets = peer.exactly(length)?;
                peer.send(octets)?;
            }
        });
        let mut proxy = Proxy::with(&origin, &["--drain-timeout", "3s"]);
        let mut sockets: Vec<_> = (0..SOCKETS).map(|_| socket(&proxy)).collect();
        if upgraded {
            proxy.upgrade();
        } else {
            proxy.signal(Signal::TERM);
            proxy.wait_for_log("draining");
        }
        let told = Instant::now();
        let mut rounds = 0;
        while told.elapsed() < Duration::from_secs(2) {
            for socket in &mut sockets {
                socket.send(&message);
            }
            for socket in &mut sockets {
                assert_eq!(socket.exactly(length), message);
            }
            rounds += 1;
        }
        assert!(rounds > 1, "{rounds} rounds");
        // Only now does the end come, and it is said.
        for socket in &mut sockets {
            assert_eq!(socket.exactly(4), GOING_AWAY);
            socket.send(masked(CLOSE, b"\x03\xe9"));
        }
        if upgraded {
            assert_eq!(proxy.client().get("/").status, 502, "the heir serves, the origin is none");
        }
        assert_eq!(proxy.stop().code, Some(0));
    }
}
