//! TLS of what the proxy asks itself: whether upstreams are well, for keys, and of services that decide.
#![cfg(feature = "tls")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering::Relaxed};

use serde_json::{Value, json};

use crate::harness::tls::{Authority, Sealed, SecureOrigin, serving};
use crate::harness::{
    Configured, Origin, Proxy, Scratch, ask, eventually, mirror, page, run, seen, verdict,
};

/// Checks come often, and one is enough.
const OFTEN: [&str; 8] = [
    "--health-path",
    "/healthz",
    "--health-interval",
    "20ms",
    "--health-fall",
    "1",
    "--health-rise",
    "1",
];

/// Where all upstreams are.
const HOST: &str = "127.0.0.1";

const EMPTY: &str = "HTTP/1.1 204 No Content\r\n\r\n";

fn upstreams(proxy: &Proxy) -> Vec<Value> {
    page(&proxy.ask("/status"))["upstreams"].as_array().unwrap().clone()
}

#[track_caller]
fn until(proxy: &Proxy, state: &str) -> Value {
    eventually(state, || upstreams(proxy)[0]["state"] == state);
    upstreams(proxy)[0].clone()
}

#[test]
fn zj01_an_upstream_is_checked_over_tls_and_sessions_go_on() {
    let authority = Authority::new("CA");
    let status = Arc::new(AtomicU16::new(200));
    let shown = Arc::clone(&status);
    let origin = SecureOrigin::start(serving(&authority.sign(HOST)), move |_| {
        format!("HTTP/1.1 {} Status\r\nContent-Length: 2\r\n\r\nok", shown.load(Relaxed)).into()
    });
    let url = origin.url();
    let flags = ["--upstream", &url, "--upstream-tls-ca", &authority.ca];
    let proxy = Proxy::start(&[&flags[..], &OFTEN].concat());
    until(&proxy, "up");
    status.store(503, Relaxed);
    assert_eq!(until(&proxy, "down")["last_error"]["reason"], "wrong_status");
    status.store(200, Relaxed);
    until(&proxy, "up");
    let came = origin.wait_for(3);
    assert_eq!(came.iter().filter(|one| !one.resumed).count(), 1, "the first: {came:#?}");
    let Sealed { preface, head, announced, .. } = &came[0];
    let host = origin.address();
    assert_eq!(
        (&**preface, &**head),
        ("", &*format!("GET /healthz HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"))
    );
    assert!(announced, "the end of a check is announced");
    // A command to the process that runs is asked in plain, as ever.
    let told = run(&["status", "--admin", &proxy.admin], &[]).stdout;
    assert!(told.contains(&url), "{told}");
}

#[test]
fn zj02_whatever_is_wrong_with_tls_has_a_name_and_a_sentence() {
    let (authority, other) = (Authority::new("CA"), Authority::new("Other"));
    let good = authority.sign(HOST);
    let origins = [
        (
            SecureOrigin::answering(serving(&other.sign(HOST)), EMPTY),
            "tls_certificate",
            "The issuer of the peer's certificate is not trusted. (unknown_ca)",
        ),
        (
            SecureOrigin::answering(serving(&authority.sign_until(HOST, 2020)), EMPTY),
            "tls_certificate",
            "The peer's certificate, or one above it, has expired. (certificate_expired)",
        ),
        (
            SecureOrigin::answering(serving(&authority.sign("a.test")), EMPTY),
            "tls_certificate",
            "The peer's certificate is for other names than the one asked for. (wrong_name)",
        ),
        (
            SecureOrigin::answering(authority.demanded_by(&good), EMPTY),
            "tls_alert",
            "The peer demands a certificate, and we have shown none. (peer_certificate_required)",
        ),
    ];
    let says = |octets: &'static [u8]| {
        Origin::start(move |peer| {
            peer.exactly(1)?;
            peer.send(octets)?;
            peer.hold()
        })
    };
    let plain = [
        (
            says(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"),
            "tls_failed",
            "The peer speaks plain HTTP, where TLS is spoken. (plain_http)",
        ),
        (says(&[9; 9]), "tls_failed", "What came is not TLS. (not_tls)"),
        (
            Origin::start(|peer| peer.fill().map(drop)),
            "tls_failed",
            "The peer closed the connection in the middle of the handshake. (handshake_cut)",
        ),
        (says(b""), "connect_timeout", "no TLS handshake within 500ms"),
    ];
    let secure = |origin: &Origin| origin.url().replace("http:", "https:");
    let expected = origins.iter().map(|(origin, outcome, text)| (origin.url(), *outcome, *text));
    let expected: Vec<_> = expected
        .chain(plain.iter().map(|(origin, outcome, text)| (secure(origin), *outcome, *text)))
        .collect();
    let well = SecureOrigin::answering(serving(&good), EMPTY);
    for method in ["get", "connect"] {
        let url = well.url();
        let mut flags = vec!["--upstream-tls-ca", &authority.ca, "--health-timeout", "500ms"];
        flags.extend(["--health-method", method, "--upstream", &url]);
        flags.extend(&OFTEN[2..]);
        expected.iter().for_each(|(url, ..)| flags.extend(["--upstream", url]));
        let proxy = Proxy::start(&flags);
        let judged = || upstreams(&proxy).iter().all(|one| one["state"] != "unknown");
        eventually("all are judged", judged);
        let found = upstreams(&proxy);
        assert_eq!(found[0]["state"], "up", "{method}: {:#}", found[0]);
        for ((url, outcome, text), one) in expected.iter().zip(&found[1..]) {
            // In TLS 1.3 the client's part ends before anybody looks at its certificate: only an answer tells.
            if (method, *outcome) == ("connect", "tls_alert") {
                assert_eq!(one["state"], "up", "{one:#}");
                continue;
            }
            assert_eq!((&one["state"], &one["url"]), (&json!("down"), &json!(url)), "{one:#}");
            let error = &one["last_error"];
            assert_eq!((&error["reason"], &error["text"]), (&json!(outcome), &json!(text)));
            let told = |line: &&String| line.contains(url) && line.contains("upstream is down");
            eventually("it is told", || proxy.log().iter().any(|line| told(&line)));
            let log = proxy.log();
            let line = log.iter().find(told).unwrap();
            assert!(line.contains(outcome) && line.contains(text), "{line}");
        }
    }
}

#[test]
fn zj03_the_proxy_header_comes_before_tls() {
    let authority = Authority::new("CA");
    let origin = SecureOrigin::answering(serving(&authority.sign(HOST)), EMPTY);
    let url = origin.url();
    let flags = ["--upstream", &url, "--upstream-tls-ca", &authority.ca];
    let proxy = Proxy::start(&[&flags[..], &["--upstream-proxy-protocol", "v1"], &OFTEN].concat());
    until(&proxy, "up");
    let came = origin.wait_for(1).remove(0);
    assert_eq!(came.preface, "PROXY UNKNOWN\r\n");
    assert!(came.head.starts_with("GET /healthz "), "{came:?}");
}

#[test]
fn zj04_an_answer_without_a_length_ends_with_close_notify_or_is_not_whole() {
    let authority = Authority::new("CA");
    let origin =
        SecureOrigin::answering(serving(&authority.sign(HOST)), "HTTP/1.1 200 OK\r\n\r\nnot yet");
    let url = origin.url();
    let flags = ["--upstream", &url, "--upstream-tls-ca", &authority.ca, "--health-body", "ready"];
    let proxy = Proxy::start(&[&flags[..], &OFTEN].concat());
    assert_eq!(until(&proxy, "down")["last_error"]["reason"], "wrong_body");
    origin.be_abrupt();
    eventually("it is not whole", || upstreams(&proxy)[0]["last_error"]["reason"] == "tls_failed");
    let text = upstreams(&proxy)[0]["last_error"]["text"].clone();
    assert!(text.as_str().unwrap().ends_with("(truncated)"), "{text}");
}

#[test]
fn zj05_a_reload_changes_whom_checks_trust_and_what_name_they_ask_for() {
    let (authority, other) = (Authority::new("CA"), Authority::new("Other"));
    let origin = SecureOrigin::answering(serving(&authority.sign("a.test")), EMPTY);
    let text = |tls: &str| {
        let (url, often) = (origin.url(), "{ interval = '20ms', fall = 1, rise = 1 }");
        format!("[pool.default]\nupstream = '{url}'\nhealth = {often}\nupstream-tls = {{ {tls} }}")
    };
    let named = |ca: &str| text(&format!("ca = '{ca}', server-name = 'a.test'"));
    let case = Configured::new(&named(&authority.ca), &[]);
    until(&case.proxy, "up");
    for (tls, state) in [
        (named(&other.ca), "down"),
        (named(&authority.ca), "up"),
        (text(&format!("ca = '{}'", authority.ca)), "down"),
        (text("verify = 'off'"), "up"),
    ] {
        let answer = case.reload(&tls);
        assert_eq!(answer.status, 200, "{}", answer.text());
        until(&case.proxy, state);
    }
    let seen = origin.came().len();
    origin.become_another(serving(&other.sign("b.test")));
    origin.wait_for(seen + 2);
    assert_eq!(upstreams(&case.proxy)[0]["state"], "up", "nobody looks");
}

#[cfg(feature = "jwt")]
#[test]
fn zj06_keys_come_over_tls_from_whom_is_trusted_only() {
    use crate::zb_passwords_and_signed::signed::{Pair, bearer, claims, set_of};

    let (authority, other) = (Authority::new("CA"), Authority::new("Other"));
    let (plain, pair) = (mirror(), Pair::new("a"));
    let set = set_of(&[&pair]);
    let server = SecureOrigin::start(serving(&authority.sign(HOST)), move |_| set.clone().into());
    // The name that upstreams have to prove is none of the server's.
    let text = |ca: &str| {
        format!(
            "upstream = '{}'\nupstream-tls = {{ ca = '{ca}', server-name = 'a.test' }}\n\
             [auth.default]\njwks = '{}/keys.json?hush'\nrefresh = '1s'\n",
            plain.url(),
            server.url()
        )
    };
    let case = Configured::new(&text(&other.ca), &[]);
    let status = || bearer(&case.proxy, &pair.sign(&claims("ada"))).status;
    let failures = || {
        let log = case.proxy.log().into_iter();
        log.filter(|line| line.contains("no keys of signed tokens")).collect::<Vec<_>>()
    };
    eventually("it is told", || !failures().is_empty());
    let line = failures().remove(0);
    let sentence = "The issuer of the peer's certificate is not trusted. (unknown_ca)";
    assert!(line.contains(sentence) && !line.contains("hush"), "{line}");
    assert_ne!(status(), 200);
    assert!(server.came().is_empty(), "{:?}", server.came());
    let answer = case.reload(&text(&authority.ca));
    assert_eq!(answer.status, 200, "{}", answer.text());
    eventually("the keys are there", || status() == 200);
    let came = server.wait_for(1).remove(0);
    assert!(came.head.starts_with("GET /keys.json?hush HTTP/1.1\r\n"), "{came:?}");
    assert!(came.announced && !came.resumed);
    let before = failures().len();
    case.reload(&text(&other.ca));
    eventually("it is not trusted any more", || failures().len() > before);
    assert_eq!(status(), 200, "the last keys stay");
}

#[test]
fn zj07_a_service_decides_over_tls() {
    let (authority, other) = (Authority::new("CA"), Authority::new("Other"));
    let origin = mirror();
    let service = SecureOrigin::start(serving(&authority.sign(HOST)), |head| {
        let good = head.contains("Cookie: session=ada\r\n");
        let status = if good { "200 OK\r\nX-User: ada" } else { "401 Who" };
        // Its end is that of the connection.
        format!("HTTP/1.1 {status}\r\n\r\nhello").into()
    });
    let text = |ca: &str| {
        format!(
            "upstream = '{}'\nupstream-tls = {{ ca = '{ca}', server-name = 'a.test' }}\n\
             [auth.default]\nurl = '{}/check'\ncopy = 'X-User'\n",
            origin.url(),
            service.url()
        )
    };
    let case = Configured::new(&text(&authority.ca), &["--log", "debug"]);
    let asked = || ask(&case.proxy, "/", "Cookie: session=ada\r\n");
    let answer = asked();
    assert_eq!((answer.status, seen(&answer.text(), "X-User")), (200, Some("ada")));
    assert_eq!(ask(&case.proxy, "/", "").status, 401);
    assert!(service.wait_for(2)[1].resumed, "{:?}", service.came());
    for change in [&|| service.be_abrupt() as _, &|| drop(case.reload(&text(&other.ca))) as _]
        as [&dyn Fn(); 2]
    {
        change();
        let answer = asked();
        assert_eq!(verdict(&answer), (503, "auth_unavailable".to_owned()), "{}", answer.text());
    }
    for label in ["(truncated)", "(unknown_ca)"] {
        case.proxy.wait_for_log(label);
    }
}

/// Nothing of a check that is asked in plain is changed by what others are asked through.
#[test]
fn zj08_a_pool_may_have_upstreams_of_both_kinds() {
    let authority = Authority::new("CA");
    let secure = SecureOrigin::answering(serving(&authority.sign(HOST)), EMPTY);
    let (plain, scratch) = (Origin::answering(EMPTY), Scratch::new());
    let unix = Origin::listen(&format!("unix:{}", scratch.join("socket")), |peer| {
        peer.answer(EMPTY).map(drop)
    });
    let [one, two, three] = [secure.url(), plain.url(), unix.url()];
    let mut flags = vec!["--upstream-tls-ca", &authority.ca];
    [&one, &two, &three].iter().for_each(|url| flags.extend(["--upstream", url]));
    flags.extend(OFTEN);
    let proxy = Proxy::start(&flags);
    eventually("all are up", || upstreams(&proxy).iter().all(|one| one["state"] == "up"));
}
