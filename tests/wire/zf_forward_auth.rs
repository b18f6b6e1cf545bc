//! A service that says who may: it is asked, its word holds, and nobody speaks in its place.

use std::fs;
use std::time::Instant;

use crate::harness::{
    Client, Configured, Gate, Origin, Refusing, Request, Scratch, Silent, ask, asked, eventually,
    logged, mirror, run, seen, verdict,
};

/// A service that lets those in who have the right cookie, and says who they are.
fn service() -> Origin {
    Origin::serving(|request: &Request| {
        match request.head.get("Cookie") {
            Some("session=ada") => {
                &b"HTTP/1.1 200 OK\r\nX-User: ada\r\nX-Groups: a\r\nX-Groups: b\r\nX-Inner: hush\r\n\
                   Content-Length: 7\r\n\r\nwelcome"[..]
            }
            Some("session=mute") => b"HTTP/1.1 204 No Content\r\n\r\n",
            Some("session=old") => {
                b"HTTP/1.1 302 Found\r\nLocation: https://login.test/?next=1\r\n\
                  Set-Cookie: session=; Max-Age=0\r\nContent-Length: 0\r\n\r\n"
            }
            Some("session=broken") => b"HTTP/1.1 500 Oh\r\nContent-Length: 4\r\n\r\noops",
            Some("session=late") => b"HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno",
            _ => {
                b"HTTP/1.1 401 Who\r\nWWW-Authenticate: Basic realm=\"inner\"\r\nX-Inner: hush\r\n\
                  Content-Type: text/x-why\r\nContent-Length: 12\r\n\r\nwho are you?"
            }
        }
        .to_vec()
    })
}

fn before(origin: &Origin, url: &str, rest: &str) -> Configured {
    let text = format!(
        "upstream = '{}'\n[auth.default]\nurl = '{url}/check?all=1'\ncopy = ['X-User', 'X-Groups']\n{rest}\n",
        origin.url()
    );
    Configured::new(&text, &["--access-log", "json"])
}

#[test]
fn zf01_who_may_goes_on_with_what_the_service_says_of_them() {
    let (origin, service) = (mirror(), service());
    let case = before(&origin, &service.url(), "");
    let fields = "Connection: X-User, X-Groups\r\nCookie: session=ada\r\n\
                  X-User: root\r\nX_User: root\r\nx.user: root\r\nX-Groups: admins\r\n\
                  X-Other: mine\r\n";
    let answer = ask(&case.proxy, "/a%20b?c=d", fields);
    let text = answer.text();
    assert_eq!(answer.status, 200, "{text}");
    assert_eq!(seen(&text, "X-User"), Some("ada"));
    assert_eq!(seen(&text, "X-Other"), Some("mine"));
    assert!(text.contains("X-Groups: a\n") && text.contains("X-Groups: b\n"), "{text}");
    assert!(!text.contains("root") && !text.contains("admins") && !text.contains("hush"), "{text}");
    let question = service.request();
    assert_eq!((question.method.as_str(), question.target.as_str()), ("GET", "/check?all=1"));
    for (name, value) in [
        ("Host", service.address()),
        ("Cookie", "session=ada"),
        ("X-Forwarded-Method", "GET"),
        ("X-Forwarded-Host", "test"),
        ("X-Forwarded-Uri", "/a%20b?c=d"),
        ("X-Forwarded-For", "127.0.0.1"),
        ("X-Forwarded-Proto", "http"),
        ("Accept-Encoding", "identity"),
    ] {
        assert_eq!(question.head.all(name), [value], "{name}");
    }
}

#[test]
fn zf02_nobody_speaks_for_a_service_that_says_nothing() {
    let (origin, service) = (mirror(), service());
    let case = before(&origin, &service.url(), "");
    let fields = "Cookie: session=mute\r\nX-User: root\r\nX_User: root\r\n";
    let answer = ask(&case.proxy, "/", fields);
    assert_eq!((answer.status, seen(&answer.text(), "X-User")), (200, None), "{}", answer.text());
    assert!(!answer.text().contains("root"), "{}", answer.text());
    // What the service is told of the client is ours to say.
    let lies = "Cookie: session=mute\r\nX-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Uri: /public\r\n\
                X-Forwarded-Method: OPTIONS\r\nX-Forwarded-Host: other\r\nX_Forwarded_Uri: /public\r\n\
                X.Forwarded.Method: OPTIONS\r\nx_forwarded_for: 192.0.2.1\r\n";
    assert_eq!(ask(&case.proxy, "/secret", lies).status, 200);
    let question = service.requests().pop().unwrap();
    for (name, value) in [
        ("X-Forwarded-For", "127.0.0.1"),
        ("X-Forwarded-Uri", "/secret"),
        ("X-Forwarded-Method", "GET"),
        ("X-Forwarded-Host", "test"),
    ] {
        assert_eq!(question.head.get(name), Some(value), "{name}");
    }
    let octets = String::from_utf8_lossy(&question.head.raw).into_owned();
    for lie in ["192.0.2.1", "/public", "OPTIONS", "other"] {
        assert!(!octets.contains(lie), "{lie} in {octets}");
    }
    // Nor is it said behind a body.
    let mut client = case.proxy.client();
    client.send(
        "POST / HTTP/1.1\r\nHost: test\r\nCookie: session=mute\r\nTransfer-Encoding: chunked\r\n\r\n\
         1\r\na\r\n0\r\nX-User: root\r\nX-Sum: 1\r\n\r\n",
    );
    let text = client.response().text();
    assert_eq!((seen(&text, "X-User"), seen(&text, "X-Sum")), (None, Some("1")), "{text}");
}

#[test]
fn zf03_a_refusal_is_the_services_own() {
    let (origin, service) = (mirror(), service());
    let case = before(&origin, &service.url(), "");
    let mut client = case.proxy.client();
    let refused = asked(&mut client, "/", "");
    assert_eq!((refused.status, refused.text().as_str()), (401, "who are you?"));
    assert_eq!(refused.head.all("WWW-Authenticate"), ["Basic realm=\"inner\""]);
    assert_eq!((refused.get("Content-Type"), refused.get("X-Inner")), (Some("text/x-why"), None));
    let away = asked(&mut client, "/", "Cookie: session=old\r\n");
    assert_eq!((away.status, away.get("Location")), (302, Some("https://login.test/?next=1")));
    assert_eq!(away.get("Set-Cookie"), Some("session=; Max-Age=0"));
    client.send("HEAD / HTTP/1.1\r\nHost: test\r\n\r\n");
    assert_eq!(client.response_to_head().status, 401);
    assert_eq!(asked(&mut client, "/", "Cookie: session=late\r\n").status, 403);
    assert_eq!(asked(&mut client, "/", "Cookie: session=ada\r\n").status, 200);
    assert_eq!(origin.requests().len(), 1);
    let lines = logged(&case.proxy, 5);
    let reasons: Vec<_> = lines.iter().map(|line| line["reason"].as_str().unwrap()).collect();
    assert_eq!(reasons[..4], ["auth_refused"; 4]);
}

#[test]
fn zf04_while_the_service_is_away_nobody_is_let_in() {
    let origin = mirror();
    let unavailable = (503, "auth_unavailable".to_owned());
    let refusing = Refusing::new();
    let case = before(&origin, &refusing.url(), "");
    assert_eq!(verdict(&ask(&case.proxy, "/", "Cookie: session=ada\r\n")), unavailable);
    // What fails says nothing of who asks.
    let service = service();
    let case = before(&origin, &service.url(), "");
    assert_eq!(verdict(&ask(&case.proxy, "/", "Cookie: session=broken\r\n")), unavailable);
    assert_eq!(ask(&case.proxy, "/", "Cookie: session=ada\r\n").status, 200);
    let nonsense = Origin::start(|peer| {
        peer.request()?;
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok")
    });
    let case = before(&origin, &nonsense.url(), "");
    assert_eq!(verdict(&ask(&case.proxy, "/", "")), unavailable);
    assert_eq!(origin.requests().len(), 1);
}

#[test]
fn zf05_a_service_that_is_slow_is_waited_for_no_longer_than_that() {
    let origin = mirror();
    let (silent, gate) = (Silent::new(), Gate::default());
    let held = gate.clone();
    let slow = Origin::start(move |peer| {
        peer.request()?;
        held.wait();
        Ok(())
    });
    for url in [silent.url(), slow.url()] {
        let case = before(&origin, &url, "timeout = '500ms'");
        let started = Instant::now();
        let answer = ask(&case.proxy, "/", "");
        assert_eq!(verdict(&answer), (503, "auth_unavailable".to_owned()));
        let took = started.elapsed();
        assert!((400..2500).contains(&took.as_millis()), "{took:?}");
    }
    gate.open();
    assert_eq!(origin.connections(), 0);
}

#[test]
fn zf06_others_are_served_while_one_waits_for_the_service() {
    let (service, asked_there, go_on) = Origin::patient();
    let origin = mirror();
    let rest =
        "[[route]]\npath = '/open'\nauth = 'off'\npool = 'default'\n[[route]]\npool = 'default'";
    let case = before(&origin, &service.url(), rest);
    let mut waits = case.proxy.client();
    waits.send("GET /a HTTP/1.1\r\nHost: test\r\n\r\nGET /open HTTP/1.1\r\nHost: test\r\n\r\n");
    asked_there.wait();
    assert_eq!(ask(&case.proxy, "/open", "").status, 200);
    // Who leaves meanwhile is forgotten.
    let mut leaves = case.proxy.client();
    leaves.send("GET /b HTTP/1.1\r\nHost: test\r\n\r\n");
    eventually("it is asked about", || service.requests().len() == 2);
    drop(leaves);
    go_on.open();
    let targets = [waits.response().text(), waits.response().text()];
    assert!(targets[0].starts_with("GET /a\n") && targets[1].starts_with("GET /open\n"));
    assert_eq!(ask(&case.proxy, "/c", "").status, 200);
}

#[test]
fn zf07_an_answer_holds_for_the_same_credentials_as_long_as_was_asked_for() {
    let (origin, service) = (mirror(), service());
    let case = before(&origin, &service.url(), "cache = '1h'");
    let asks = |target: &str, session: &str| {
        ask(&case.proxy, target, &format!("Cookie: session={session}\r\n")).status
    };
    for _ in 0..3 {
        assert_eq!((asks("/", "ada"), asks("/", "nobody")), (200, 401));
    }
    assert_eq!(service.requests().len(), 2);
    // Another request may mean another answer.
    assert_eq!((asks("/other", "ada"), asks("/", "mute")), (200, 200));
    assert_eq!(service.requests().len(), 4);
    // Who failed says nothing that could be kept.
    assert_eq!((asks("/", "broken"), asks("/", "broken")), (503, 503));
    assert_eq!(service.requests().len(), 6);
    let text = ask(&case.proxy, "/", "Cookie: session=ada\r\nX-User: root\r\n").text();
    assert_eq!(seen(&text, "X-User"), Some("ada"));
    let so_far = service.requests().len();
    let case = before(&origin, &service.url(), "");
    for n in 1..4 {
        assert_eq!(ask(&case.proxy, "/", "Cookie: session=ada\r\n").status, 200);
        assert_eq!(service.requests().len(), so_far + n, "without a cache each is asked about");
    }
}

#[test]
fn zf08_an_answer_holds_no_longer_than_that() {
    let (origin, service) = (mirror(), service());
    let case = before(&origin, &service.url(), "cache = '1s'");
    let asks = || assert_eq!(ask(&case.proxy, "/", "Cookie: session=ada\r\n").status, 200);
    let started = Instant::now();
    eventually("it is asked again", || {
        asks();
        service.requests().len() == 2
    });
    let held = started.elapsed();
    assert!((900..2500).contains(&held.as_millis()), "{held:?}");
}

#[test]
fn zf09_a_body_is_for_the_upstream_alone() {
    let (origin, service) = (Origin::echoing(), service());
    let case = before(&origin, &service.url(), "");
    let mut client = case.proxy.client();
    for (session, status) in [("ada", 200), ("ada", 200)] {
        client.send(format!(
            "POST / HTTP/1.1\r\nHost: test\r\nCookie: session={session}\r\n\
             Content-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello"
        ));
        let answer = client.response();
        assert_eq!((answer.status, answer.text().as_str()), (status, "hello"));
    }
    for question in service.requests() {
        let names = ["Content-Length", "Transfer-Encoding", "Content-Type", "Connection"];
        let of_body = names[..3].iter().filter_map(|name| question.head.get(name));
        assert_eq!(of_body.filter(|value| *value != "0").count(), 0, "{question:?}");
        assert_eq!((question.method.as_str(), question.body.len()), ("GET", 0));
        assert_eq!(question.head.get("X-Forwarded-Method"), Some("POST"));
    }
    let mut client = case.proxy.client();
    client
        .send("POST / HTTP/1.1\r\nHost: test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n");
    let refused = client.response();
    assert_eq!((refused.status, refused.interim.len()), (401, 0));
    assert_eq!(origin.requests().len(), 2);
}

#[test]
fn zf10_either_a_token_or_the_word_of_the_service_lets_in() {
    let (origin, service) = (mirror(), service());
    let rest = "[auth.key]\ntoken = 'tok-of-bob-0123456789'\n\
                [[route]]\nauth = ['key', 'default']\npool = 'default'";
    let case = before(&origin, &service.url(), rest);
    let by_token = ask(&case.proxy, "/", "X-Api-Key: tok-of-bob-0123456789\r\nX-User: root\r\n");
    assert_eq!((by_token.status, seen(&by_token.text(), "X-User")), (200, None));
    assert_eq!(service.requests().len(), 0, "who is known is not asked about");
    assert_eq!(ask(&case.proxy, "/", "Cookie: session=ada\r\n").status, 200);
    assert_eq!(ask(&case.proxy, "/", "Cookie: session=x\r\n").text(), "who are you?");
}

#[test]
fn zf11_a_service_cannot_frame_a_request_or_say_where_it_goes() {
    let folder = Scratch::new();
    let path = folder.join("t.toml");
    for name in [
        "Content-Length",
        "transfer-encoding",
        "Host",
        "Connection",
        "X-Forwarded-For",
        "X_Real_IP",
    ] {
        let auth = format!("url = 'http://127.0.0.1:9'\ncopy = ['X-User', '{name}']");
        fs::write(&path, format!("upstream = 'a:1'\n[auth.default]\n{auth}\n")).unwrap();
        let done = run(&["check", "--config", &path], &[]);
        assert_eq!(done.code, Some(1), "{name}: {}", done.stdout);
    }
    let origin = mirror();
    let service = Origin::answering(
        "HTTP/1.1 200 OK\r\nX-Forwarded-User: ada\r\nAuthorization: Bearer inner\r\nContent-Length: 0\r\n\r\n",
    );
    for trusted in ["192.0.2.1", "127.0.0.1"] {
        let text = format!(
            "upstream = '{}'\ntrusted-proxy = '{trusted}'\n[auth.default]\nurl = '{}'\n\
             copy = ['X-Forwarded-User', 'Authorization']\n",
            origin.url(),
            service.url()
        );
        let case = Configured::new(&text, &[]);
        let fields =
            "X-Forwarded-User: root\r\nX_Forwarded_User: root\r\nAuthorization: Basic cm9vdDo=\r\n";
        let text = ask(&case.proxy, "/", fields).text();
        let found = ["X-Forwarded-User", "Authorization"].map(|name| seen(&text, name));
        assert_eq!(found, [Some("ada"), Some("Bearer inner")], "{trusted}: {text}");
        assert!(!text.contains("root"), "{trusted}: {text}");
    }
}

#[test]
fn zf12_an_answer_holds_for_nobody_else_whatever_the_service_goes_by() {
    let origin = mirror();
    let service = Origin::serving(|request: &Request| {
        let is_ada = request.head.get("X-Session") == Some("ada")
            || request.head.get("X-Forwarded-For") == Some("127.0.0.2");
        match is_ada {
            true => &b"HTTP/1.1 200 OK\r\nX-User: ada\r\nContent-Length: 0\r\n\r\n"[..],
            false => b"HTTP/1.1 401 Who\r\nContent-Length: 0\r\n\r\n",
        }
        .to_vec()
    });
    let case = before(&origin, &service.url(), "cache = '1h'");
    let status = |source: &str, fields: &str| {
        asked(&mut Client::from(source, &case.proxy.address), "/", fields).status
    };
    for _ in 0..2 {
        assert_eq!(status("127.0.0.1", "X-Session: ada\r\n"), 200);
        assert_eq!(status("127.0.0.1", ""), 401);
        assert_eq!(status("127.0.0.2", ""), 200);
        assert_eq!(status("127.0.0.3", ""), 401);
    }
    assert_eq!(service.requests().len(), 4);
}

#[test]
fn zf13_a_service_sees_no_field_that_the_upstream_does_not() {
    let (origin, service) = (mirror(), service());
    for (trusted, sees) in [("192.0.2.1", false), ("127.0.0.1", true)] {
        let text = format!(
            "upstream = '{}'\ntrusted-proxy = '{trusted}'\ntrusted-header = 'X-Admin'\n\
             [auth.default]\nurl = '{}'\n",
            origin.url(),
            service.url()
        );
        let case = Configured::new(&text, &[]);
        let fields = "Cookie: session=mute\r\nConnection: X-Hop\r\nX-Hop: 1\r\nX-Admin: 1\r\nx_admin: 1\r\n\
                      X-Forwarded-Proto: https\r\nX_Forwarded_Proto: https\r\nAccept-Encoding: br\r\n\
                      If-None-Match: a\r\nRange: bytes=0-1\r\n";
        let upstream = ask(&case.proxy, "/", fields).text();
        let question = service.requests().pop().unwrap().head;
        let admin = sees.then_some("1");
        assert_eq!((question.get("X-Admin"), seen(&upstream, "X-Admin")), (admin, admin));
        for name in ["X-Hop", "X_Forwarded_Proto"] {
            assert_eq!((question.get(name), seen(&upstream, name)), (None, None), "{name}");
        }
        for name in ["If-None-Match", "Range"] {
            assert_eq!(question.get(name), None, "{name}");
            assert!(seen(&upstream, name).is_some(), "{name}");
        }
        let proto = if sees { "https" } else { "http" };
        assert_eq!(question.all("X-Forwarded-Proto"), [proto]);
        assert_eq!(question.all("Accept-Encoding"), ["identity"]);
    }
}

#[test]
fn zf14_a_refusal_is_relayed_octet_by_octet_up_to_64_kib() {
    const MOST: usize = 64 * 1024;
    let octets: Vec<u8> = (0..=255).cycle().take(MOST).collect();
    let body = octets.clone();
    let service = Origin::serving(move |request: &Request| {
        let number = |name: &str| request.head.get(name).unwrap().parse::<usize>().unwrap();
        let (status, length) = (number("X-Status"), number("X-Length"));
        let head = format!(
            "HTTP/1.1 {status} A\r\nContent-Encoding: gzip\r\nContent-Length: {length}\r\n\r\n"
        );
        let body = body.iter().cycle().take(length);
        head.bytes().chain(body.copied()).collect()
    });
    let origin = mirror();
    let case = before(&origin, &service.url(), "");
    for (status, length, expected) in [
        (200, MOST, 200),
        (200, MOST + 1, 503),
        (401, 300, 401),
        (401, MOST, 401),
        (401, MOST + 1, 503),
        (401, 16 * MOST, 503),
    ] {
        let fields = format!("X-Status: {status}\r\nX-Length: {length}\r\n");
        let answer = ask(&case.proxy, "/", &fields);
        assert_eq!(answer.status, expected, "{status} with {length}");
        match expected {
            503 => assert_eq!(verdict(&answer).1, "auth_unavailable", "{status} with {length}"),
            401 => {
                assert_eq!(answer.get("Content-Encoding"), Some("gzip"));
                assert!(answer.body == octets[..length], "{length}");
            }
            _ => {}
        }
    }
}

#[test]
fn zf15_a_service_is_asked_with_16_kib_of_fields_at_most() {
    let (origin, service) = (mirror(), service());
    let text = format!(
        "upstream = '{}'\nmax-head = '64KiB'\n[auth.default]\nurl = '{}'\n",
        origin.url(),
        service.url()
    );
    let case = Configured::new(&text, &[]);
    let answer = |length: usize| {
        let fields = format!("Cookie: session=ada\r\nX-Long: {}\r\n", "a".repeat(length));
        ask(&case.proxy, "/", &fields)
    };
    assert_eq!(answer(15 * 1024).status, 200);
    assert_eq!(verdict(&answer(17 * 1024)), (431, "auth_fields_too_large".to_owned()));
    assert_eq!(service.requests().len(), 1);
}

#[test]
fn zf16_each_of_two_services_is_asked_once() {
    let (origin, one, other) = (mirror(), service(), service());
    let text = format!(
        "upstream = '{}'\n[auth.one]\nurl = '{}'\n[auth.two]\nurl = '{}'\n\
         [[route]]\nauth = ['one', 'two']\npool = 'default'\n",
        origin.url(),
        one.url(),
        other.url()
    );
    let case = Configured::new(&text, &[]);
    let refused = ask(&case.proxy, "/", "");
    assert_eq!((refused.status, refused.text().as_str()), (401, "who are you?"));
    assert_eq!([one.requests().len(), other.requests().len()], [1, 1]);
    assert_eq!(ask(&case.proxy, "/", "Cookie: session=ada\r\n").status, 200);
    assert_eq!([one.requests().len(), other.requests().len()], [2, 1], "one of them is enough");
}
