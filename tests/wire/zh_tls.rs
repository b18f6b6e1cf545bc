//! TLS towards clients.
#![cfg(feature = "tls")]

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, date_time_ymd,
};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, DigitallySignedStruct, Error, HandshakeKind, SignatureScheme};
use serde_json::json;
use socket2::SockRef;

use crate::harness::tls::{
    Certificate, asked, connect, converse, get, over, pem, secured, trusting,
};
use crate::harness::{
    Origin, Proxy, Scratch, assert_same, eventually, logged, mirror, page, pattern, seen,
};

#[test]
fn zh01_requests_come_over_tls_and_sessions_go_on() {
    let (origin, folder) = (mirror(), Scratch::new());
    let certificate = Certificate::new(&folder, "localhost");
    let proxy = secured(&origin, &certificate, &["--access-log", "json"]);
    let config = trusting(&[&certificate.der]);
    for n in 0..2 {
        let mut tls = connect(&proxy, &config, "localhost");
        for _ in 0..3 {
            let text = get(&mut tls, "/a");
            assert_eq!(seen(&text, "X-Forwarded-Proto"), Some("https"), "{text}");
        }
        let resumed = tls.conn.handshake_kind() == Some(HandshakeKind::Resumed);
        assert_eq!(resumed, n == 1);
        assert_eq!(tls.conn.alpn_protocol(), None, "none was offered");
    }
    eventually("both are counted", || {
        [proxy.metric("/tls/handshakes"), proxy.metric("/tls/resumed")] == [1, 1]
    });
    assert!(logged(&proxy, 6).iter().all(|line| line["scheme"] == "https"));
}

#[test]
fn zh02_large_bodies_arrive_whole_and_what_is_cut_shows() {
    let body: Vec<u8> = (0..3_000_000_usize).map(|at| (at * 7 + at / 251) as u8).collect();
    let expected = body.clone();
    let origin = Origin::start(move |peer| {
        loop {
            let request = peer.request()?;
            let end = match request.target.as_str() {
                "/whole" => format!("Content-Length: {}\r\n\r\n", body.len()),
                _ => "Connection: close\r\n\r\n".to_owned(),
            };
            peer.send(format!("HTTP/1.1 200 OK\r\n{end}"))?;
            match request.target.as_str() {
                "/cut" => {
                    peer.send(&body[..50_000])?;
                    return peer.reset();
                }
                "/closed" => return peer.send(&body),
                _ => peer.send(&body)?,
            }
            assert_eq!(request.body.len(), body.len());
        }
    });
    let folder = Scratch::new();
    let certificate = Certificate::new(&folder, "localhost");
    let proxy = secured(&origin, &certificate, &[]);
    let config = trusting(&[&certificate.der]);
    let mut tls = connect(&proxy, &config, "localhost");
    write!(tls, "POST /whole HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", expected.len())
        .unwrap();
    tls.write_all(&expected).unwrap();
    assert_same(&asked(&mut tls, "").unwrap().body, &expected);
    // An answer without a length ends with close_notify, or it did not end.
    for (path, whole) in [("/closed", true), ("/cut", false)] {
        let mut tls = connect(&proxy, &config, "localhost");
        write!(tls, "GET {path} HTTP/1.0\r\nHost: a\r\n\r\n").unwrap();
        let mut all = Vec::new();
        assert_eq!(tls.read_to_end(&mut all).is_ok(), whole, "{path}: {} octets", all.len());
        assert_eq!(all.ends_with(&expected[expected.len() - 100..]), whole, "{path}");
    }
}

#[test]
fn zh03_whoever_speaks_no_tls_is_told() {
    let (origin, folder) = (mirror(), Scratch::new());
    let certificate = Certificate::new(&folder, "localhost");
    let proxy = secured(&origin, &certificate, &[]);
    let answer = proxy.client().get("/");
    assert_eq!((answer.status, answer.get("Connection")), (400, Some("close")));
    assert!(answer.text().contains("https://"), "{}", answer.text());
    let mut socket = TcpStream::connect(&proxy.address).unwrap();
    socket.write_all(&[99, 3, 1, 0, 2, 1, 0]).unwrap();
    let mut alert = Vec::new();
    let _ = socket.read_to_end(&mut alert);
    assert_eq!(alert.first(), Some(&21), "{alert:?}");
    // A client that does not believe the certificate says so.
    let other = trusting(&[&Certificate::new(&folder, "other").der]);
    assert!(asked(&mut connect(&proxy, &other, "localhost"), "GET / HTTP/1.1\r\n\r\n").is_err());
    eventually("all are counted", || {
        let failed = &proxy.metrics()["tls"]["failed"];
        *failed == json!({ "plain_http": 1, "not_tls": 1, "peer_unknown_ca": 1 })
    });
    proxy.wait_for_log("(plain_http)");
    assert_eq!(origin.requests().len(), 0);
}

#[test]
fn zh04_a_certificate_is_chosen_by_name_and_replaced_while_it_serves() {
    let (origin, folder) = (mirror(), Scratch::new());
    let [one, other] = ["one.test", "two.test"].map(|name| Certificate::new(&folder, name));
    let text = |first: &Certificate, second: &Certificate| {
        let entry = |of: &Certificate| format!("{{ cert = '{}', key = '{}' }}", of.cert, of.key);
        format!(
            "listen = 'https://127.0.0.1:0'\nupstream = '{}'\n[tls]\ncertificate = [{}, {}]\n",
            origin.url(),
            entry(first),
            entry(second)
        )
    };
    let folder_of_case = Scratch::new();
    let path = folder_of_case.join("t.toml");
    fs::write(&path, text(&one, &other)).unwrap();
    let proxy = Proxy::start_as(&["--config", &path, "--admin", "127.0.0.1:0"], |_| {});
    for certificate in [&one, &other] {
        let name = if std::ptr::eq(certificate, &one) { "one.test" } else { "two.test" };
        get(&mut connect(&proxy, &trusting(&[&certificate.der]), name), "/");
    }
    let mut kept = connect(&proxy, &trusting(&[&one.der]), "one.test");
    get(&mut kept, "/");
    // A key that does not fit changes nothing.
    let torn = text(&one, &other).replace(&other.key, &one.key);
    fs::write(&path, torn).unwrap();
    let refused = proxy.post("/reload", "{}");
    assert_eq!(refused.status, 400, "{}", refused.text());
    get(&mut connect(&proxy, &trusting(&[&other.der]), "two.test"), "/");
    let renewed = rcgen::generate_simple_self_signed(["one.test".to_owned()]).unwrap();
    fs::write(&one.cert, pem("CERTIFICATE", renewed.cert.der())).unwrap();
    fs::write(&one.key, pem("PRIVATE KEY", &renewed.signing_key.serialize_der())).unwrap();
    fs::write(&path, text(&one, &other)).unwrap();
    assert_eq!(proxy.post("/reload", "{}").status, 200);
    get(&mut connect(&proxy, &trusting(&[renewed.cert.der()]), "one.test"), "/");
    assert!(
        asked(&mut connect(&proxy, &trusting(&[&one.der]), "one.test"), "GET / HTTP/1.1\r\n\r\n")
            .is_err()
    );
    get(&mut kept, "/");
}

#[test]
fn zh05_websockets_pass_through_tls() {
    let (origin, folder) = (Origin::conversing(), Scratch::new());
    let certificate = Certificate::new(&folder, "localhost");
    let proxy = secured(&origin, &certificate, &[]);
    let mut tls = connect(&proxy, &trusting(&[&certificate.der]), "localhost");
    converse(&mut tls, &origin);
}

#[test]
fn zh06_the_process_that_takes_over_knows_the_sessions() {
    let (origin, folder) = (mirror(), Scratch::new());
    let certificate = Certificate::new(&folder, "localhost");
    let mut proxy = secured(&origin, &certificate, &[]);
    let config = trusting(&[&certificate.der]);
    get(&mut connect(&proxy, &config, "localhost"), "/");
    proxy.upgrade();
    let mut tls = connect(&proxy, &config, "localhost");
    get(&mut tls, "/");
    assert_eq!(tls.conn.handshake_kind(), Some(HandshakeKind::Resumed));
}

#[test]
fn zh07_certificates_are_replaced_under_load_without_a_failed_request() {
    const CLIENTS: usize = 4;
    let (origin, folder) = (mirror(), Scratch::new());
    let [one, other] = [1, 2].map(|days| Certificate::until(&folder, "localhost", 90 + days));
    let (cert, key) = (folder.join("now.pem"), folder.join("now.key"));
    let put = |certificate: &Certificate| {
        for (from, to) in [(&certificate.cert, &cert), (&certificate.key, &key)] {
            let new = format!("{to}.new");
            fs::copy(from, &new).unwrap();
            fs::rename(new, to).unwrap();
        }
    };
    put(&one);
    let own = ["--listen", "https://127.0.0.1:0", "--tls-cert", &cert, "--tls-key", &key];
    let proxy = Proxy::with(&origin, &own);
    let config = trusting(&[&one.der, &other.der]);
    let (done, asked) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                while !done.load(SeqCst) {
                    let mut tls = connect(&proxy, &config, "localhost");
                    for _ in 0..3 {
                        get(&mut tls, "/");
                    }
                    asked.fetch_add(1, SeqCst);
                }
            });
        }
        for turn in 0..10 {
            put(if turn % 2 == 0 { &other } else { &one });
            let before = asked.load(SeqCst);
            assert_eq!(proxy.post("/reload", "{}").status, 200);
            eventually("clients came", || asked.load(SeqCst) > before + CLIENTS);
        }
        done.store(true, SeqCst);
    });
    assert_eq!(proxy.metrics()["tls"]["failed"], json!({}));
}

#[test]
fn zh08_a_certificate_of_its_own_is_made_once_and_kept() {
    let (origin, home) = (mirror(), Scratch::new());
    let flags = ["--listen", "https://127.0.0.1:0", "--tls-self-signed", "localhost,127.0.0.1"];
    let url = origin.url();
    let flags = [&flags[..], &["--upstream", &url, "--admin", "127.0.0.1:0"]].concat();
    let folder = home.join("state");
    let start = || {
        Proxy::start_as(&flags, |command| {
            command.env("XDG_STATE_HOME", &folder);
        })
    };
    let mut seen = Vec::new();
    for _ in 0..2 {
        let proxy = start();
        proxy.wait_for_log("curl --cacert");
        let line = proxy.log().into_iter().find(|line| line.contains("curl --cacert")).unwrap();
        let ca = line.split("curl --cacert ").nth(1).unwrap().split(' ').next().unwrap();
        let pem = fs::read_to_string(ca).unwrap();
        let der: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
        let der = data_encoding::BASE64.decode(der.as_bytes()).unwrap();
        let config = trusting(&[&CertificateDer::from(der)]);
        for name in ["localhost", "127.0.0.1"] {
            get(&mut connect(&proxy, &config, name), "/");
        }
        assert!(asked(&mut connect(&proxy, &config, "other.test"), "").is_err());
        seen.push(page(&proxy.ask("/status"))["certificates"][0]["fingerprint_sha256"].clone());
    }
    assert_eq!(seen[0], seen[1]);
}

#[test]
fn zh09_a_certificate_that_changes_is_seen_and_one_that_ends_is_told_of() {
    let (origin, folder) = (mirror(), Scratch::new());
    let [soon, later] = [3, 90].map(|days| Certificate::until(&folder, "localhost", days));
    let proxy = secured(&origin, &soon, &["--watch"]);
    proxy.wait_for_log("a certificate expires soon");
    let days = || page(&proxy.ask("/status"))["certificates"][0]["days_left"].clone();
    assert!(days() == 2 || days() == 3, "{}", days());
    let scraped = proxy.ask("/metrics?format=openmetrics").text();
    assert!(scraped.contains("tidegate_certificate_days_left{"), "{scraped}");
    // What has expired does not replace what has not.
    let expired = Certificate::until(&folder, "localhost", -1);
    fs::copy(&expired.key, &soon.key).unwrap();
    fs::copy(&expired.cert, &soon.cert).unwrap();
    proxy.wait_for_log("has expired, on");
    get(&mut connect(&proxy, &trusting(&[&soon.der]), "localhost"), "/");
    fs::copy(&later.key, &soon.key).unwrap();
    fs::copy(&later.cert, &soon.cert).unwrap();
    eventually("the new one is served", || days() == 89 || days() == 90);
    get(&mut connect(&proxy, &trusting(&[&later.der]), "localhost"), "/");
}

#[test]
fn zh10_a_handshake_that_does_not_end_is_ended() {
    let (origin, folder) = (mirror(), Scratch::new());
    let certificate = Certificate::new(&folder, "localhost");
    let proxy = secured(&origin, &certificate, &["--read-timeout", "200ms"]);
    let mut socket = TcpStream::connect(&proxy.address).unwrap();
    socket.write_all(&[22, 3, 1, 2, 0, 1, 0, 1]).unwrap(); // a part of a ClientHello
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut rest = Vec::new();
    let _ = socket.read_to_end(&mut rest);
    eventually("it is told", || proxy.metrics()["tls"]["failed"] == json!({ "timeout": 1 }));
}

#[test]
fn zh11_handshakes_that_do_not_end_make_room_for_others() {
    let (origin, folder) = (mirror(), Scratch::new());
    let certificate = Certificate::new(&folder, "localhost");
    let proxy = secured(&origin, &certificate, &["--max-connections", "20", "--workers", "1"]);
    // A part of a ClientHello each.
    let half: Vec<TcpStream> = (0..30)
        .map(|_| {
            let mut socket = TcpStream::connect(&proxy.address).unwrap();
            socket.write_all(&[22, 3, 1, 2, 0, 1, 0, 1]).unwrap();
            socket
        })
        .collect();
    let begun = Instant::now();
    get(&mut connect(&proxy, &trusting(&[&certificate.der]), "localhost"), "/");
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    drop(half);
}

#[test]
fn zh12_the_header_of_a_load_balancer_stands_before_tls() {
    let (origin, folder) = (mirror(), Scratch::new());
    let certificate = Certificate::new(&folder, "localhost");
    let flags = ["--proxy-protocol", "127.0.0.0/8", "--access-log", "json"];
    let proxy = secured(&origin, &certificate, &flags);
    let config = trusting(&[&certificate.der]);
    let behind = |pieces: &[&str]| {
        let mut socket = TcpStream::connect(&proxy.address).unwrap();
        for piece in pieces {
            socket.write_all(piece.as_bytes()).unwrap();
            thread::sleep(Duration::from_millis(20));
        }
        over(socket, &config, "localhost")
    };
    for pieces in [
        &["PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n"][..],
        &["PROXY TCP4 192.0.2.1 ", "192.0.2.2 1 2\r\n"],
    ] {
        assert_eq!(seen(&get(&mut behind(pieces), "/"), "X-Forwarded-For"), Some("192.0.2.1"));
    }
    let refused = || proxy.metric("/connections/proxy_headers_refused");
    assert_eq!((refused(), origin.requests().len()), (0, 2));
    // Inside of TLS it is a bad request, and no client's address.
    let inside = "PROXY TCP4 192.0.2.66 192.0.2.2 1 2\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut tls = behind(&["PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n"]);
    let answer = asked(&mut tls, inside).unwrap();
    assert_eq!(answer.status, 400, "{answer:?}");
    assert_eq!(logged(&proxy, 3)[2]["client"], "192.0.2.1");
    // Where nobody may send one, it is no better.
    let other = secured(&origin, &certificate, &["--access-log", "json"]);
    let answer = asked(&mut connect(&other, &config, "localhost"), inside).unwrap();
    assert_eq!(answer.status, 400, "{answer:?}");
    assert_eq!(logged(&other, 1)[0]["client"], "127.0.0.1");
    // Without it before TLS nobody gets as far as a handshake.
    let handshakes = || proxy.metric("/tls/handshakes") + proxy.metric("/tls/resumed");
    let before = handshakes();
    assert!(asked(&mut connect(&proxy, &config, "localhost"), "GET / HTTP/1.1\r\n\r\n").is_err());
    eventually("it is counted", || refused() == 1);
    assert_eq!((handshakes(), before, origin.requests().len()), (3, 3, 2));
}

/// Believes everybody, and tells what OCSP response came with the certificate.
#[derive(Debug)]
struct Stapled(Arc<CryptoProvider>, Mutex<Option<Vec<u8>>>);

impl ServerCertVerifier for Stapled {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        ocsp: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        *self.1.lock().unwrap() = Some(ocsp.to_vec());
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[test]
fn zh13_a_client_gets_the_ocsp_response_of_the_certificate_that_it_is_shown() {
    let (origin, folder) = (mirror(), Scratch::new());
    let [with, without] = ["one.test", "two.test"].map(|name| Certificate::new(&folder, name));
    let (path, ocsp) = (folder.join("t.toml"), folder.join("one.ocsp"));
    // The shortest there is (`tryLater`, RFC 6960 section 4.2.1), and a longer one, which a reload finds.
    let (short, long) =
        (vec![0x30, 3, 10, 1, 3], [&[0x30, 0x82, 2, 88][..], &pattern(600)].concat());
    fs::write(&ocsp, &short).unwrap();
    let text = format!(
        "listen = 'https://127.0.0.1:0'\nupstream = '{}'\n[tls]\ncertificate = [\
         {{ cert = '{}', key = '{}', ocsp = '{ocsp}' }}, {{ cert = '{}', key = '{}' }}]\n",
        origin.url(),
        with.cert,
        with.key,
        without.cert,
        without.key
    );
    fs::write(&path, text).unwrap();
    let proxy = Proxy::start_as(&["--config", &path, "--admin", "127.0.0.1:0"], |_| {});
    for response in [&short, &long] {
        fs::write(&ocsp, response).unwrap();
        assert_eq!(proxy.post("/reload", "{}").status, 200);
        for version in [&TLS12, &TLS13] {
            for (name, expected) in [("one.test", &response[..]), ("two.test", &[])] {
                let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
                let stapled = Arc::new(Stapled(provider, Mutex::default()));
                let builder = ClientConfig::builder_with_protocol_versions(&[version]).dangerous();
                let config = builder.with_custom_certificate_verifier(Arc::clone(&stapled) as _);
                let mut tls = connect(&proxy, &Arc::new(config.with_no_client_auth()), name);
                get(&mut tls, "/");
                let came = stapled.1.lock().unwrap().take().expect("a certificate was shown");
                assert_same(&came, expected);
            }
        }
    }
}

#[test]
fn zh14_who_only_connects_has_not_failed() {
    let (origin, folder) = (mirror(), Scratch::new());
    let certificate = Certificate::new(&folder, "localhost");
    let proxy = secured(&origin, &certificate, &["--read-timeout", "300ms"]);
    let sent = |octets: &[u8]| {
        let mut socket = TcpStream::connect(&proxy.address).unwrap();
        socket.write_all(octets).unwrap();
        socket.shutdown(Shutdown::Write).unwrap();
        let mut came = Vec::new();
        let _ = socket.read_to_end(&mut came);
        came
    };
    assert_eq!(sent(b""), b"");
    drop(TcpStream::connect(&proxy.address).unwrap());
    let reset = TcpStream::connect(&proxy.address).unwrap();
    SockRef::from(&reset).set_linger(Some(Duration::ZERO)).unwrap();
    drop(reset);
    // One who has begun, and one who speaks something else.
    assert_eq!(sent(&[22, 3, 1, 2, 0, 1, 0, 1]), b"");
    assert_eq!(sent(b"SSH-2.0-OpenSSH_9.2\r\n")[..2], [21, 3]);
    eventually("those alone are counted", || {
        proxy.metrics()["tls"]["failed"] == json!({ "handshake_cut": 1, "not_tls": 1 })
    });
    let log = proxy.log();
    assert!(!log.iter().any(|line| line.contains("(truncated)")), "{log:#?}");
}

#[test]
fn zh15_an_alert_arrives_though_the_client_goes_on() {
    let (origin, folder) = (mirror(), Scratch::new());
    let certificate = Certificate::new(&folder, "localhost");
    let proxy = secured(&origin, &certificate, &[]);
    for _ in 0..20 {
        let mut socket = TcpStream::connect(&proxy.address).unwrap();
        // No ClientHello, and more behind it than one read takes.
        let octets = [&[22, 3, 1, 0, 4, 9, 0, 0, 0][..], &[0; 12_000]].concat();
        socket.write_all(&octets).unwrap();
        thread::sleep(Duration::from_millis(5));
        let _ = socket.write_all(&octets[..100]);
        let mut came = Vec::new();
        socket.read_to_end(&mut came).unwrap();
        assert_eq!(came.get(..2), Some(&[21, 3][..]), "{came:?}");
    }
}

#[test]
fn zh16_a_header_and_a_handshake_share_their_time() {
    let (origin, folder) = (mirror(), Scratch::new());
    let certificate = Certificate::new(&folder, "localhost");
    let flags = ["--proxy-protocol", "127.0.0.0/8", "--read-timeout", "2s"];
    let proxy = secured(&origin, &certificate, &flags);
    let mut socket = TcpStream::connect(&proxy.address).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let begun = Instant::now();
    socket.write_all(b"PROXY TCP4 192.0.2.1 ").unwrap();
    thread::sleep(Duration::from_millis(1500));
    socket.write_all(b"192.0.2.2 1 2\r\n\x16\x03\x01\x02\x00\x01\x00\x01").unwrap();
    let _ = socket.read_to_end(&mut Vec::new());
    assert!(begun.elapsed() < Duration::from_millis(3300), "{:?}", begun.elapsed());
    eventually("it is told", || proxy.metrics()["tls"]["failed"] == json!({ "timeout": 1 }));
}

#[test]
fn zh17_a_reload_that_fails_later_leaves_the_certificates_as_they_are() {
    let (origin, folder) = (mirror(), Scratch::new());
    let [one, other] = [(); 2].map(|()| Certificate::new(&folder, "localhost"));
    let path = folder.join("t.toml");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let write = |own: &Certificate, more: &str| {
        let text = format!(
            "listen = ['https://127.0.0.1:0'{more}]\nupstream = '{}'\n[tls]\ncertificate = \
             {{ cert = '{}', key = '{}' }}\n",
            origin.url(),
            own.cert,
            own.key
        );
        fs::write(&path, text).unwrap();
    };
    write(&one, "");
    let proxy = Proxy::start_as(&["--config", &path, "--admin", "127.0.0.1:0"], |_| {});
    let shown = || page(&proxy.ask("/status"))["certificates"][0]["fingerprint_sha256"].clone();
    let before = shown();
    write(&other, &format!(", '{}'", taken.local_addr().unwrap()));
    assert_eq!(proxy.post("/reload", "{}").status, 400);
    // An order that links anew what is in force.
    let order = r#"{"url": "http://127.0.0.1:9"}"#;
    assert_eq!(proxy.post("/add", order).status, 200);
    assert_eq!(shown(), before);
    get(&mut connect(&proxy, &trusting(&[&one.der]), "localhost"), "/");
}

#[test]
fn zh18_a_process_that_runs_takes_nothing_new_that_has_expired() {
    let (origin, folder) = (mirror(), Scratch::new());
    let (expired, path) = (Certificate::until(&folder, "localhost", -1), folder.join("t.toml"));
    let Certificate { cert, key, .. } = &expired;
    let plain = format!("listen = '127.0.0.1:0'\nupstream = '{}'\n", origin.url());
    let secure =
        plain.replace("listen = '127.0.0.1:0'", "listen = ['127.0.0.1:0', 'https://127.0.0.1:0']");
    let towards = plain.replace("http://", "https://");
    for (text, rest) in [
        (&secure, format!("[tls]\ncertificate = {{ cert = '{cert}', key = '{key}' }}\n")),
        (&towards, format!("upstream-tls = {{ ca = '{cert}', cert = '{cert}', key = '{key}' }}\n")),
    ] {
        fs::write(&path, &plain).unwrap();
        let flags = ["--config", &path, "--admin", "127.0.0.1:0"];
        let proxy = Proxy::start_as(&flags, |_| {});
        fs::write(&path, format!("{text}{rest}")).unwrap();
        let answer = proxy.post("/reload", "{}");
        assert!(answer.status == 400 && answer.text().contains("has expired, on"), "{answer:?}");
        // At a start it is a warning.
        Proxy::start_as(&flags, |_| {}).wait_for_log("has expired, on");
    }
}

#[test]
fn zh20_checks_of_load_balancers_do_not_fail() {
    let (origin, folder) = (mirror(), Scratch::new());
    let certificate = Certificate::new(&folder, "localhost");
    let config = trusting(&[&certificate.der]);
    let proxy = secured(&origin, &certificate, &["--proxy-protocol", "127.0.0.0/8"]);
    let header = b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n";
    for _ in 0..20 {
        // One says whom it speaks for and closes; the other makes its handshake first, and closes as abruptly.
        let mut socket = TcpStream::connect(&proxy.address).unwrap();
        socket.write_all(header).unwrap();
        let mut other = TcpStream::connect(&proxy.address).unwrap();
        other.write_all(header).unwrap();
        let mut tls = over(other, &config, "localhost");
        while tls.conn.is_handshaking() || tls.conn.wants_write() {
            tls.conn.complete_io(&mut tls.sock).unwrap();
        }
    }
    eventually("handshakes are counted", || {
        proxy.metric("/tls/handshakes") + proxy.metric("/tls/resumed") == 20
    });
    assert_eq!(proxy.metrics()["tls"]["failed"], json!({}));
}

#[test]
fn zh21_a_handshake_goes_by_the_settings_of_its_time() {
    let (origin, folder) = (mirror(), Scratch::new());
    let [one, other] = [(); 2].map(|()| Certificate::new(&folder, "localhost"));
    let proxy = secured(&origin, &one, &[]);
    let early = TcpStream::connect(&proxy.address).unwrap();
    thread::sleep(Duration::from_millis(50));
    fs::copy(&other.cert, &one.cert).unwrap();
    fs::copy(&other.key, &one.key).unwrap();
    assert_eq!(proxy.post("/reload", "{}").status, 200);
    get(&mut over(early, &trusting(&[&other.der]), "localhost"), "/");
}

#[test]
fn zh19_a_self_signed_certificate_is_renewed_while_it_serves() {
    let (origin, home) = (mirror(), Scratch::new());
    let folder = home.join("tidegate/tls");
    fs::create_dir_all(&folder).unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "tidegate local authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let put = |name: &str, der: &[u8], key: &KeyPair| {
        let text = pem("CERTIFICATE", der) + &pem("PRIVATE KEY", key.serialized_der());
        fs::write(format!("{folder}/{name}"), text).unwrap();
    };
    put("ca-with-key.pem", issuer.der(), issuer.key());
    // Renewed 30 days before the end: seconds from now.
    let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
    let mut params = CertificateParams::new(names).unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    params.not_after = date_time_ymd(1970, 1, 1) + Duration::from_secs(now + 30 * 24 * 60 * 60 + 4);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate().unwrap();
    let old = params.signed_by(&key, &issuer).unwrap();
    put("localhost.pem", old.der(), &key);
    let url = origin.url();
    let flags = [
        "--listen",
        "https://127.0.0.1:0",
        "--tls-self-signed",
        "localhost",
        "--upstream",
        &url,
        "--admin",
        "127.0.0.1:0",
    ];
    let proxy = Proxy::start_as(&flags, |command| {
        command.env("XDG_STATE_HOME", home.join(""));
    });
    let days = || page(&proxy.ask("/status"))["certificates"][0]["days_left"].clone();
    assert_eq!(days(), 30);
    let config = trusting(&[issuer.der()]);
    get(&mut connect(&proxy, &config, "localhost"), "/");
    eventually("a new one is served", || days() == 89 || days() == 90);
    get(&mut connect(&proxy, &config, "localhost"), "/");
    proxy.wait_for_log("another one is made");
}
