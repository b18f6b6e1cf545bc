//! TLS towards upstreams.
#![cfg(feature = "tls")]

use std::fs;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use rcgen::IsCa;
use rustls::pki_types::CertificateDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::harness::tls::{Authority, Certificate, connect, converse, secured, serving, trusting};
use crate::harness::{
    Configured, Origin, Proxy, Scratch, assert_same, eventually, logged, mirror, page, pattern,
    seen,
};

type Tls = StreamOwned<ServerConnection, TcpStream>;

/// An origin that speaks TLS, and keeps its connections: each follows a script.
struct Scripted {
    port: u16,
    connections: Arc<AtomicUsize>,
}

impl Scripted {
    fn start(
        config: Arc<ServerConfig>,
        script: impl Fn(&mut Tls) -> io::Result<()> + Send + Sync + 'static,
    ) -> Scripted {
        Scripted::behind(0, config, script)
    }

    /// As [`Scripted::start`], for connections that begin with so many octets before TLS, which the script gets
    /// from nobody.
    fn behind(
        preface: usize,
        config: Arc<ServerConfig>,
        script: impl Fn(&mut Tls) -> io::Result<()> + Send + Sync + 'static,
    ) -> Scripted {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let script = Arc::new(script);
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&connections);
        thread::spawn(move || {
            for socket in listener.incoming() {
                let (config, script) = (Arc::clone(&config), Arc::clone(&script));
                counted.fetch_add(1, SeqCst);
                thread::spawn(move || {
                    let mut socket = socket.unwrap();
                    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
                    let mut before = vec![0; preface];
                    socket.read_exact(&mut before).unwrap();
                    assert!(before.starts_with(b"PROXY ") || preface == 0, "{before:?}");
                    let connection = ServerConnection::new(config).unwrap();
                    let _ = script(&mut StreamOwned::new(connection, socket));
                });
            }
        });
        Scripted { port, connections }
    }

    fn url(&self) -> String {
        format!("https://localhost:{}", self.port)
    }

    fn connections(&self) -> usize {
        self.connections.load(SeqCst)
    }
}

/// The head of the next request.
fn head(tls: &mut Tls) -> io::Result<String> {
    let (mut text, mut one) = (String::new(), [0]);
    while !text.ends_with("\r\n\r\n") {
        tls.read_exact(&mut one)?;
        text.push(char::from(one[0]));
    }
    Ok(text)
}

/// Answers each request.
fn answer(tls: &mut Tls, body: &str) -> io::Result<()> {
    loop {
        head(tls)?;
        write!(tls, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())?;
        tls.flush()?;
    }
}

fn before(origin: &Scripted, flags: &[&str]) -> Proxy {
    let url = origin.url();
    Proxy::start(&[&["--upstream", &url, "--access-log", "json"], flags].concat())
}

#[test]
fn zk01_requests_go_on_over_tls_and_sessions_with_them() {
    let (origin, folder) = (mirror(), Scratch::new());
    let certificate = Certificate::new(&folder, "localhost");
    // One of our own stands in front of the origin.
    let inner = secured(&origin, &certificate, &[]);
    let url = format!("https://localhost:{}", inner.address.rsplit_once(':').unwrap().1);
    let ca = ["--upstream", &url, "--upstream-tls-ca", &certificate.cert, "--workers", "1"];
    let proxy = Proxy::start(&[&ca[..], &["--upstream-max-requests", "2"]].concat());
    let mut client = proxy.client();
    for n in 0..6 {
        let text = client.get(&format!("/{n}")).text();
        assert!(text.contains(&format!("/{n}")), "{text}");
        assert_eq!(seen(&text, "X-Forwarded-Proto"), Some("https"), "as the one in front saw it");
    }
    eventually("three connections", || {
        [inner.metric("/tls/handshakes"), inner.metric("/tls/resumed")] == [1, 2]
    });
    assert_eq!(proxy.metrics()["upstreams"][&url]["connects"], 3);
}

#[test]
fn zk02_large_bodies_and_websockets_arrive_whole() {
    let body = pattern(3_000_000);
    let expected = body.clone();
    let origin = Origin::start(move |peer| {
        let request = peer.request()?;
        let length = request.body.len();
        peer.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n"))?;
        peer.send(&request.body)
    });
    let folder = Scratch::new();
    let certificate = Certificate::new(&folder, "localhost");
    let inner = secured(&origin, &certificate, &[]);
    let url = format!("https://localhost:{}", inner.address.rsplit_once(':').unwrap().1);
    let flags = ["--upstream", &url, "--upstream-tls-ca", &certificate.cert];
    let proxy = Proxy::start(&flags);
    let mut client = proxy.client();
    client.send(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", body.len()));
    client.send(&body);
    let answer = client.response();
    assert_same(&answer.body, &expected);

    let chat = Origin::conversing();
    let inner = secured(&chat, &certificate, &[]);
    let url = format!("https://localhost:{}", inner.address.rsplit_once(':').unwrap().1);
    let flags = ["--upstream", &url, "--upstream-tls-ca", &certificate.cert];
    let own = ["--listen", "https://127.0.0.1:0", "--tls-cert", &certificate.cert];
    let own = [&own[..], &["--tls-key", &certificate.key], &flags].concat();
    let proxy = Proxy::start(&own);
    let mut tls = connect(&proxy, &trusting(&[&certificate.der]), "localhost");
    // TLS on both sides.
    converse(&mut tls, &chat);
}

#[test]
fn zk03_whoever_is_not_the_upstream_is_told_apart() {
    let folder = Scratch::new();
    let certificate = Certificate::new(&folder, "localhost");
    let other = Certificate::new(&folder, "other.test");
    let expired = Certificate::until(&folder, "localhost", -1);
    let demanding = Authority::new("partners").demanded_by(&certificate);
    let plain = Origin::start(|peer| peer.send("HTTP/1.1 400 Bad Request\r\n\r\n"));
    let plain_port: u16 = plain.address().rsplit_once(':').unwrap().1.parse().unwrap();
    let speaks = |config| Scripted::start(config, |tls| answer(tls, "never"));
    for (origin, ca, outcome, cause) in [
        (Some(speaks(serving(&other))), &certificate, "tls_certificate", "unknown_ca"),
        (Some(speaks(serving(&other))), &other, "tls_certificate", "wrong_name"),
        (Some(speaks(serving(&expired))), &expired, "tls_certificate", "certificate_expired"),
        (Some(speaks(demanding)), &certificate, "tls_alert", "peer_certificate_required"),
        (None, &certificate, "tls_failed", "plain_http"),
    ] {
        let port = origin.as_ref().map_or(plain_port, |origin| origin.port);
        let url = format!("https://localhost:{port}");
        let flags = ["--upstream", &url, "--access-log", "json", "--upstream-tls-ca", &ca.cert];
        let proxy = Proxy::start(&flags);
        let status = proxy.client().get("/").status;
        assert!(status == 502 || status == 503, "{status}");
        let line = &logged(&proxy, 1)[0];
        let text = line.to_string();
        assert!(text.contains(&format!("\"{outcome}\"")), "{outcome}: {text}");
        assert!(text.contains(&format!("({cause})")), "{cause}: {text}");
    }
}

#[test]
fn zk04_whoever_does_not_look_is_warned_and_served() {
    let folder = Scratch::new();
    let certificate = Certificate::new(&folder, "other.test");
    let origin = Scripted::start(serving(&certificate), |tls| answer(tls, "whoever"));
    let proxy = before(&origin, &["--upstream-tls-verify", "off"]);
    assert_eq!(proxy.client().get("/").text(), "whoever");
    let (log, warning) = (proxy.log(), "whoever stands between can be the upstream, since nothing");
    let told: Vec<_> = log.iter().filter(|line| line.contains("verify")).collect();
    let [line] = told[..] else { panic!("{log:#?}") };
    for part in ["WARN", "--upstream-tls-verify", warning] {
        assert!(line.contains(part), "{part}: {line}");
    }
}

#[test]
fn zk05_an_answer_without_a_length_ends_with_close_notify_or_is_cut() {
    let folder = Scratch::new();
    let certificate = Certificate::new(&folder, "localhost");
    let origin = Scripted::start(serving(&certificate), |tls| {
        let head = head(tls)?;
        let length = if head.contains("/known") { "Content-Length: 5\r\n" } else { "" };
        write!(tls, "HTTP/1.1 200 OK\r\n{length}Connection: close\r\n\r\nwhole")?;
        if head.contains("/announced") {
            tls.conn.send_close_notify();
        }
        tls.flush()
    });
    let proxy = before(&origin, &["--upstream-tls-ca", &certificate.cert]);
    for (target, whole) in [("/announced", true), ("/cut", false), ("/known", true)] {
        let mut client = proxy.client();
        client.send(format!("GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"));
        let came = client.until_gone();
        let came = String::from_utf8_lossy(&came);
        let is_whole = came.ends_with("0\r\n\r\n") || came.ends_with("\r\n\r\nwhole");
        assert_eq!(is_whole, whole, "{target}: {came}");
    }
    let cut = logged(&proxy, 3).into_iter().find(|line| line["path"] == "/cut").unwrap();
    assert_eq!(cut["reason"], "response_cut_short", "{cut:#}");
    assert!(cut.to_string().contains("truncated"), "{cut:#}");
}

#[test]
fn zk06_what_the_protocol_says_for_itself_costs_no_idle_connection() {
    let folder = Scratch::new();
    let certificate = Certificate::new(&folder, "localhost");
    let origin = Scripted::start(serving(&certificate), |tls| {
        loop {
            head(tls)?;
            tls.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1")?;
            tls.flush()?;
            // A key update, and a moment later another, while the connection is idle.
            for _ in 0..2 {
                tls.conn.refresh_traffic_keys().unwrap();
                tls.flush()?;
                thread::sleep(Duration::from_millis(30));
            }
        }
    });
    let proxy = before(&origin, &["--upstream-tls-ca", &certificate.cert, "--workers", "1"]);
    let mut client = proxy.client();
    for _ in 0..4 {
        assert_eq!(client.get("/").status, 200);
        thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(origin.connections(), 1);
}

#[test]
fn zk07_an_idle_connection_that_ends_is_not_used_again() {
    let folder = Scratch::new();
    let certificate = Certificate::new(&folder, "localhost");
    let origin = Scripted::start(serving(&certificate), |tls| {
        head(tls)?;
        tls.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1")?;
        tls.conn.send_close_notify();
        tls.flush()
    });
    let proxy = before(&origin, &["--upstream-tls-ca", &certificate.cert, "--workers", "1"]);
    for n in 1..=5 {
        let mut client = proxy.client();
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx");
        assert_eq!(client.response().status, 200);
        assert_eq!(origin.connections(), n);
        let url = origin.url();
        eventually("it is closed", || proxy.metrics()["upstreams"][&url]["idle"] == 0);
    }
}

#[test]
fn zk08_other_settings_make_other_connections() {
    let folder = Scratch::new();
    let certificate = Certificate::new(&folder, "localhost");
    let origin = Scripted::start(serving(&certificate), |tls| answer(tls, "1"));
    let text = |tls: &str| {
        let url = origin.url();
        format!("listen = '127.0.0.1:0'\nupstream = '{url}'\nworkers = 1\nupstream-tls = {tls}\n")
    };
    let ca = format!("{{ ca = '{}' }}", certificate.cert);
    let proxy = Configured::new(&text("{ verify = 'off' }"), &[]);
    let mut client = proxy.proxy.client();
    assert_eq!(client.get("/").status, 200);
    assert_eq!(proxy.reload(&text("{ verify = 'off' }")).status, 200);
    assert_eq!((client.get("/").status, origin.connections()), (200, 1));
    // Whoever was not looked at before is not trusted because of that.
    assert_eq!(proxy.reload(&text(&ca)).status, 200);
    assert_eq!((client.get("/").status, origin.connections()), (200, 2));
    let other = format!("{{ ca = '{}' }}", Certificate::new(&folder, "other.test").cert);
    assert_eq!(proxy.reload(&text(&other)).status, 200);
    assert_eq!(client.get("/").status, 503);
    // What cannot be used changes nothing.
    fs::write(folder.join("none.pem"), "no certificate").unwrap();
    let none = format!("{{ ca = '{}' }}", folder.join("none.pem"));
    assert_eq!(proxy.reload(&text(&none)).status, 400);
    assert_eq!(proxy.reload(&text(&ca)).status, 200);
    assert_eq!(client.get("/").status, 200);
}

#[test]
fn zk09_an_upstream_over_tls_comes_at_run_time() {
    let folder = Scratch::new();
    let certificate = Certificate::new(&folder, "localhost");
    let origin = Scripted::start(serving(&certificate), |tls| answer(tls, "secure"));
    let plain = mirror();
    let proxy = Proxy::with(&plain, &["--upstream-tls-ca", &certificate.cert]);
    let order = serde_json::json!({ "url": origin.url() }).to_string();
    assert_eq!(proxy.post("/add", &order).status, 200);
    let mut client = proxy.client();
    let texts: Vec<String> = (0..4).map(|_| client.get("/").text()).collect();
    assert_eq!(texts.iter().filter(|text| *text == "secure").count(), 2, "{texts:?}");
}

#[test]
fn zk10_the_proxy_header_leaves_before_tls() {
    let folder = Scratch::new();
    let certificate = Certificate::new(&folder, "localhost");
    // "PROXY TCP4 127.0.0.1 127.0.0.1 12345 12345\r\n"
    let client_port = 5;
    let length = "PROXY TCP4 127.0.0.1 127.0.0.1  \r\n".len() + 2 * client_port;
    let origin = Scripted::behind(length, serving(&certificate), |tls| answer(tls, "announced"));
    let flags = ["--upstream-tls-ca", &certificate.cert, "--upstream-proxy-protocol", "v1"];
    let proxy = before(&origin, &flags);
    for n in 1..=2 {
        assert_eq!(proxy.client().get("/").text(), "announced");
        assert_eq!(origin.connections(), n, "one for each request");
    }
}

#[test]
fn zk11_a_certificate_of_ours_is_shown_to_who_asks() {
    let folder = Scratch::new();
    let certificate = Certificate::new(&folder, "localhost");
    let authority = Authority::new("partners");
    let (config, ours) = (authority.demanded_by(&certificate), authority.sign("us.test"));
    let expected: CertificateDer<'static> = ours.der.clone();
    let origin = Scripted::start(config, move |tls| {
        head(tls)?;
        let shown = tls.conn.peer_certificates().and_then(|chain| chain.first());
        assert_eq!(shown, Some(&expected));
        tls.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nknown")?;
        tls.flush()
    });
    let own = ["--upstream-tls-cert", &ours.cert, "--upstream-tls-key", &ours.key];
    let proxy = before(&origin, &[&["--upstream-tls-ca", &certificate.cert], &own[..]].concat());
    assert_eq!(proxy.client().get("/").text(), "known");
    let shown = page(&proxy.ask("/status"));
    assert_eq!(shown["certificates"][0]["names"][0], "us.test", "{shown:#}");
    assert_eq!(shown["certificates"][0]["shown_to"], "pool:default");
}

#[test]
fn zk12_a_certificate_that_is_trusted_by_itself_vouches_for_no_other() {
    // Both are none of an authority's: one says so, the other says nothing of it.
    let named =
        [IsCa::ExplicitNoCa, IsCa::NoCa].map(|is_ca| Authority::pretended("localhost", is_ca));
    let shown = named.iter().flat_map(|named| {
        [(named, named.own(), None), (named, named.sign("localhost"), Some("(unknown_ca)"))]
    });
    let found: Vec<_> = shown
        .map(|(named, shown, cause)| {
            let origin = Scripted::start(serving(&shown), |tls| answer(tls, "itself"));
            let proxy = before(&origin, &["--upstream-tls-ca", &named.ca]);
            let is_served = proxy.client().get("/").status == 200;
            let tried = logged(&proxy, 1).remove(0)["attempts"][0].take();
            let expected = match cause {
                None => tried["outcome"] == "done",
                Some(cause) => {
                    let told = tried["cause"].as_str().is_some_and(|told| told.ends_with(cause));
                    tried["outcome"] == "tls_certificate" && told
                }
            };
            (is_served == cause.is_none() && expected, tried)
        })
        .collect();
    assert!(found.iter().all(|(is_right, _)| *is_right), "{found:#?}");
}
