//! Tokens: who has one is served, who has none is not, and nobody else learns what it is.

use std::fs;
use std::thread;

use serde_json::json;

use crate::harness::{
    Client, Configured, Ending, Origin, Proxy, Response, Scratch, ask, asked, eventually, logged,
    mirror, run, seen, verdict,
};

const ADA: &str = "tok-of-ada-0123456789";
const BOB: &str = "tok-of-bob-0123456789";
/// `printf %s tok-of-cy-0123456789 | sha256sum`
const CY: &str = "tok-of-cy-0123456789";
const HASH_OF_CY: &str = "45ee253232f52d6dac6e20bf4365e6bb90a5503291b2c3f2668fb66308851cde";

/// A file with these credentials for all that is forwarded.
fn with(origin: &Origin, auth: &str) -> String {
    format!("upstream = '{}'\n[auth.default]\n{auth}\n", origin.url())
}

fn of_ada(origin: &Origin) -> Configured {
    Configured::new(&with(origin, &format!("token = '{ADA}'")), &[])
}

#[track_caller]
fn assert_refused(answer: &Response, status: u16, reason: &str) {
    assert_eq!(verdict(answer), (status, reason.to_owned()), "{}", answer.text());
}

#[test]
fn za01_a_token_is_looked_for_in_three_fields_and_has_to_be_one() {
    let origin = mirror();
    let case = Configured::new(&with(&origin, &format!("token = ['{ADA}', '{BOB}']")), &[]);
    let mut served = 0;
    for (fields, expected) in [
        (format!("X-Auth-Token: {ADA}\r\n"), Ok(())),
        (format!("X-API-Key: {BOB}\r\n"), Ok(())),
        (format!("Authorization: Bearer {ADA}\r\n"), Ok(())),
        (format!("authorization: bearer   {ADA}\r\n"), Ok(())),
        (format!("X-API-Key: {ADA}\r\nX-Auth-Token: {ADA}\r\n"), Ok(())),
        (String::new(), Err((401, "no_credentials"))),
        ("X-API-Key:\r\n".to_owned(), Err((401, "no_credentials"))),
        ("Authorization: Bearer\r\n".to_owned(), Err((401, "no_credentials"))),
        (format!("Authorization: Basic {ADA}\r\n"), Err((401, "no_credentials"))),
        (format!("Cookie: X-API-Key={ADA}\r\n"), Err((401, "no_credentials"))),
        (format!("X-API-Key: {ADA}x\r\n"), Err((401, "bad_credentials"))),
        (format!("X-API-Key: {}\r\n", &ADA[1..]), Err((401, "bad_credentials"))),
        (format!("X-API-Key: {}\r\n", ADA.to_uppercase()), Err((401, "bad_credentials"))),
        (format!("Authorization: Bearer {BOB}0\r\n"), Err((401, "bad_credentials"))),
        (format!("X-API-Key: {ADA}\r\nX-API-Key: {BOB}\r\n"), Err((400, "ambiguous_credentials"))),
        (
            format!("X-API-Key: {ADA}\r\nX-Auth-Token: {BOB}\r\n"),
            Err((400, "ambiguous_credentials")),
        ),
        (format!("X_API_Key: {ADA}\r\n"), Err((400, "ambiguous_credentials"))),
        (format!("X.Api.Key: {BOB}\r\nX-API-Key: {ADA}\r\n"), Err((400, "ambiguous_credentials"))),
    ] {
        let answer = ask(&case.proxy, "/", &fields);
        let Err((status, reason)) = expected else {
            served += 1;
            assert_eq!(answer.status, 200, "{fields}");
            continue;
        };
        assert_refused(&answer, status, reason);
        let challenge = match reason {
            "no_credentials" => Some("Bearer realm=\"default\""),
            "bad_credentials" => Some("Bearer realm=\"default\", error=\"invalid_token\""),
            _ => None,
        };
        assert_eq!(answer.get("WWW-Authenticate"), challenge, "{fields}");
    }
    assert_eq!(origin.requests().len(), served, "who is refused reaches nobody");
    eventually("all are counted", || {
        let reasons = case.proxy.metrics()["reasons"].clone();
        let names = ["no_credentials", "bad_credentials", "ambiguous_credentials"];
        names.map(|name| reasons[name].as_u64().unwrap_or_default()) == [5, 4, 4]
    });
}

#[test]
fn za02_a_token_stays_here_whatever_it_came_in() {
    let origin = mirror();
    let case = of_ada(&origin);
    for field in [
        "X-Auth-Token: ",
        "x-api-key: ",
        "Authorization: Bearer ",
        "Connection: X-API-Key\r\nX-API-Key: ",
    ] {
        let answer = ask(&case.proxy, "/", &format!("{field}{ADA}\r\nX-Other: 1\r\n"));
        assert_eq!((answer.status, seen(&answer.text(), "X-Other")), (200, Some("1")));
        assert!(!answer.text().contains(ADA), "{}", answer.text());
    }
    let mut client = case.proxy.client();
    client.send(format!(
        "POST / HTTP/1.1\r\nHost: test\r\nX-API-Key: {ADA}\r\nTransfer-Encoding: chunked\r\n\r\n\
         1\r\na\r\n0\r\nX-Sum: 7\r\nX-API-Key: {ADA}\r\nX_Api_Key: {ADA}\r\nX-Auth-Token: {ADA}\r\n\r\n"
    ));
    let text = client.response().text();
    assert_eq!(seen(&text, "X-Sum"), Some("7"), "other fields behind a body go on");
    assert!(!text.contains(ADA), "{text}");
    for n in 0..origin.connections() {
        let octets = String::from_utf8_lossy(&origin.received(n)).into_owned();
        assert!(!octets.contains(ADA), "{octets}");
    }
}

#[test]
fn za03_a_token_goes_on_where_that_is_wanted_and_so_do_other_fields() {
    let origin = mirror();
    let case =
        Configured::new(&with(&origin, &format!("token = '{ADA}'\nheader = 'X-Custom'")), &[]);
    let fields = format!("X-Custom: {ADA}\r\nX-API-Key: mine\r\nAuthorization: Bearer theirs\r\n");
    let text = ask(&case.proxy, "/", &fields).text();
    let passed = ["X-API-Key", "Authorization", "X-Custom"].map(|name| seen(&text, name));
    assert_eq!(passed, [Some("mine"), Some("Bearer theirs"), None]);
    assert_refused(&ask(&case.proxy, "/", &format!("X-API-Key: {ADA}\r\n")), 401, "no_credentials");
    let answer = case.reload(&with(&origin, &format!("token = '{ADA}'\npass = true")));
    assert_eq!(answer.status, 200, "{}", answer.text());
    let text = ask(&case.proxy, "/", &format!("X-API-Key: {ADA}\r\n")).text();
    assert_eq!(seen(&text, "X-API-Key"), Some(ADA));
}

#[test]
fn za04_what_is_no_bearers_secret_is_for_the_upstream() {
    let origin = mirror();
    let case = of_ada(&origin);
    let fields = format!("Authorization: Basic YTpi\r\nX-API-Key: {ADA}\r\n");
    let text = ask(&case.proxy, "/", &fields).text();
    assert_eq!(seen(&text, "Authorization"), Some("Basic YTpi"));
    assert!(!text.contains(ADA), "{text}");
    let mut client = case.proxy.client();
    client.send(format!(
        "POST / HTTP/1.1\r\nHost: test\r\n{fields}Transfer-Encoding: chunked\r\n\r\n\
         0\r\nX-Sum: 7\r\nAuthorization: Bearer {ADA}\r\nX-Auth-Token: {ADA}\r\n\r\n"
    ));
    let text = client.response().text();
    assert_eq!((text.contains(ADA), seen(&text, "X-Sum")), (false, Some("7")), "{text}");
}

#[test]
fn za05_logs_have_the_name_and_nobody_shows_the_secret() {
    let origin = mirror();
    let text =
        with(&origin, &format!("token = [{{ name = 'ada', secret = '{ADA}' }}, '{BOB} name=bob']"));
    let wrong = "tok-of-nobody-0123456789";
    let flags = ["--log", "trace", "--access-log", "json"];
    let case = Configured::new(&text, &flags);
    assert_eq!(ask(&case.proxy, "/", &format!("X-API-Key: {ADA}\r\n")).status, 200);
    assert_eq!(ask(&case.proxy, "/", &format!("Authorization: Bearer {BOB}\r\n")).status, 200);
    let refused = ask(&case.proxy, "/", &format!("X-API-Key: {wrong}\r\n"));
    assert_refused(&refused, 401, "bad_credentials");
    let both = format!("X-API-Key: {ADA}\r\nX-Auth-Token: {BOB}\r\n");
    assert_refused(&ask(&case.proxy, "/", &both), 400, "ambiguous_credentials");
    let lines = logged(&case.proxy, 4);
    let names: Vec<_> = lines.iter().map(|line| line["auth"].clone()).collect();
    assert_eq!(names, [json!("ada"), json!("bob"), json!(null), json!(null)]);
    let mut shown = refused.text();
    for page in ["/config", "/metrics", "/metrics?format=json", "/status"] {
        shown += &case.proxy.ask(page).text();
    }
    assert!(
        shown.contains("bad_credentials") && shown.contains("***"),
        "there is something to see"
    );
    for words in [
        &["config", "show"][..],
        &["config", "show", "--origin"],
        &["config", "show", "--format", "env"],
        &["config", "show", "--format", "toml"],
        &["config", "show", "--format", "json"],
        &["check"],
    ] {
        let done = run(&[words, &["--config", &case.path]].concat(), &[]);
        assert_eq!(done.code, Some(0), "{words:?}: {}", done.stderr);
        shown += &(done.stdout + &done.stderr);
    }
    assert_eq!(case.reload(&text.replace(" name=bob", " name=rob")).status, 200);
    let Configured { proxy, path: _path, folder: _folder } = case;
    let end = proxy.stop();
    assert!(end.stderr.contains("TRACE") || end.stderr.contains("DEBUG"), "{}", end.stderr);
    shown += &(end.stdout + &end.stderr);
    for secret in [ADA, BOB, wrong] {
        let line = shown.lines().find(|line| line.contains(secret));
        assert_eq!(line, None, "{secret} is shown");
    }
}

#[test]
fn za06_a_mistake_beside_a_secret_is_told_without_it() {
    let scratch = Scratch::new();
    let path = scratch.join("t.toml");
    for (auth, told) in [
        ("token = 'hush7'", "is soon guessed"),
        ("token = 'hush-0123456789 hush'", "there is a blank in it"),
        ("token = 'hush-0123456789é'", "no field can hold this"),
        ("token = 'sha256:hush0123'", "64 hexadecimal digits"),
        ("token = ['hush-0123456789', 'hush-0123456789 name=a/b']", "not a name"),
        ("token = { secret = 'hush-0123456789', rolle = 'a' }", "rolle"),
        ("token = { secret = 'hush-0123456789', role = 'a b' }", "there is a blank"),
        ("tokens = 'hush-0123456789'", "tokens"),
        ("token = 'hush-0123456789", "t.toml:3"),
        ("token = hush-0123456789", "t.toml:3"),
        ("token = [\n'0123456789abcdef',\nhush-0123456789]", "t.toml:5"),
        ("token = '0123456789'\n[admin]\ntoken = hush-0123456789", "t.toml:5"),
    ] {
        fs::write(&path, format!("upstream = 'a:1'\n[auth.default]\n{auth}\n")).unwrap();
        let done = run(&["--config", &path, "--admin", "off"], &[]);
        let shown = done.stdout + &done.stderr;
        assert_eq!(done.code, Some(1), "{auth}: {shown}");
        assert!(shown.contains(told), "{auth}: no {told} in {shown}");
        assert!(!shown.contains("hush"), "{auth}: {shown}");
    }
    for flags in [["--auth-token", "hush 0123456789"], ["--api-key", "hush7"]] {
        let done = run(&[&["--upstream", "a:1", "--admin", "off"], &flags[..]].concat(), &[]);
        assert_eq!(done.code, Some(2));
        assert!(!(done.stdout + &done.stderr).contains("hush"), "{flags:?}");
    }
    let variable = [("AUTH_TOKEN_1", "hush 0123456789")];
    let done = run(&["--upstream", "a:1", "--admin", "off"], &variable);
    assert!(done.stderr.contains("AUTH_TOKEN_1") && !done.stderr.contains("hush"));
}

#[test]
fn za07_tokens_come_from_variables_and_are_called_like_them() {
    let (origin, scratch) = (mirror(), Scratch::new());
    let (dotenv, file, url) = (scratch.join("env"), scratch.join("t.toml"), origin.url());
    fs::write(&dotenv, format!("API_KEY_BILLING={BOB}\nAUTH_TOKEN_1=not-this-one-0123\n")).unwrap();
    let flags = ["--listen", "127.0.0.1:0", "--admin", "off", "--workers", "1"];
    let start = |more: &[&str]| {
        let more = [&flags, more, &["--env-file", &dotenv, "--access-log", "json"]].concat();
        Proxy::start_as(&more, |command| {
            command.env("AUTH_TOKEN_1", ADA);
        })
    };
    let proxy = start(&["--upstream", &url]);
    for (token, status) in [(ADA, 200), (BOB, 200), ("not-this-one-0123", 401), (CY, 401)] {
        assert_eq!(ask(&proxy, "/", &format!("X-API-Key: {token}\r\n")).status, status, "{token}");
    }
    assert_eq!(ask(&proxy, "/", "").status, 401);
    let lines = logged(&proxy, 5);
    assert_eq!(
        (&lines[0]["auth"], &lines[1]["auth"]),
        (&json!("AUTH_TOKEN_1"), &json!("API_KEY_BILLING"))
    );
    // A file that says who may is not added to behind its back.
    fs::write(&file, with(&origin, &format!("token = '{CY}'"))).unwrap();
    let proxy = start(&["--config", &file]);
    for (token, status) in [(CY, 200), (ADA, 401), (BOB, 401)] {
        assert_eq!(ask(&proxy, "/", &format!("X-API-Key: {token}\r\n")).status, status, "{token}");
    }
}

#[test]
fn za08_a_token_may_be_known_by_its_hash_or_stand_in_a_file() {
    let (origin, scratch) = (mirror(), Scratch::new());
    let tokens = scratch.join("tokens");
    fs::write(&tokens, format!("{ADA}\n{BOB} name=bob\n")).unwrap();
    let named = format!("@{tokens}");
    for flags in [["--auth-token", &named], ["--api-key", &named]] {
        let hash = format!("sha256:{HASH_OF_CY}");
        let proxy = Proxy::with(&origin, &[&flags[..], &["--auth-token", &hash]].concat());
        for (token, status) in [(ADA, 200), (BOB, 200), (CY, 200), (&hash, 401), (HASH_OF_CY, 401)]
        {
            let answer = ask(&proxy, "/", &format!("X-API-Key: {token}\r\n"));
            assert_eq!(answer.status, status, "{token}");
        }
    }
}

#[test]
fn za09_who_loses_a_token_finishes_and_is_refused_from_then_on() {
    let (slow, started, go_on) = Origin::patient();
    let text = |tokens: &str| with(&slow, &format!("token = [{tokens}]"));
    let case = Configured::new(&text(&format!("'{ADA}', '{BOB}'")), &[]);
    let bearer = format!("X-API-Key: {ADA}\r\n");
    let mut under_way = case.proxy.client();
    under_way.send(format!("GET / HTTP/1.1\r\nHost: test\r\n{bearer}\r\n"));
    started.wait();
    assert_eq!(case.reload(&text(&format!("'{BOB}'"))).status, 200);
    assert_refused(&ask(&case.proxy, "/", &bearer), 401, "bad_credentials");
    go_on.open();
    assert_eq!(under_way.response().text(), "last");
    assert_refused(&asked(&mut under_way, "/", &bearer), 401, "bad_credentials");
    assert_eq!(asked(&mut under_way, "/", &format!("X-API-Key: {BOB}\r\n")).status, 200);
}

#[test]
fn za10_a_route_may_want_a_role() {
    let origin = mirror();
    let text = format!(
        "upstream = '{}'\n[auth.default]\ntoken = [{{ name = 'ada', secret = '{ADA}', role = ['reader', 'writer'] }}, \
         '{BOB} role=reader', '{CY}']\n\
         [[route]]\npath = '/w'\nrole = ['writer', 'admin']\npool = 'default'\n\
         [[route]]\npath = '/r'\nrole = 'reader'\npool = 'default'\n[[route]]\npool = 'default'\n",
        origin.url()
    );
    let case = Configured::new(&text, &["--access-log", "json"]);
    for (path, token, allowed) in [
        ("/w", ADA, true),
        ("/w", BOB, false),
        ("/w", CY, false),
        ("/r", ADA, true),
        ("/r", BOB, true),
        ("/r", CY, false),
        ("/", CY, true),
    ] {
        let answer = ask(&case.proxy, path, &format!("X-API-Key: {token}\r\n"));
        match allowed {
            true => assert_eq!(answer.status, 200, "{path} {token}"),
            false => assert_refused(&answer, 403, "role_missing"),
        }
    }
    assert_refused(&ask(&case.proxy, "/w", ""), 401, "no_credentials");
    assert_eq!(origin.requests().len(), 4);
    let lines = logged(&case.proxy, 8);
    let second = &lines[1];
    assert_eq!((&second["reason"], &second["auth"]), (&json!("role_missing"), &json!("default-2")));
}

#[test]
fn za11_routes_differ_in_who_may() {
    let origin = mirror();
    let text = format!(
        "upstream = '{}'\n[auth.default]\ntoken = '{ADA}'\n[auth.other]\ntoken = '{BOB}'\n\
         [[route]]\npath = '/both'\nauth = ['default', 'other']\npool = 'default'\n\
         [[route]]\npath = '/other'\nauth = 'other'\npool = 'default'\n\
         [[route]]\npath = '/own'\nauth = {{ token = '{CY}' }}\npool = 'default'\n\
         [[route]]\npath = '/open'\nauth = 'off'\npool = 'default'\n\
         [[route]]\npath = '/pong'\nrespond = 'pong'\n\
         [[route]]\npath = '/secret'\nauth = 'default'\nrespond = 'here'\n\
         [[route]]\npool = 'default'\n",
        origin.url()
    );
    let case = Configured::new(&text, &[]);
    for (path, may) in [
        ("/both", &[ADA, BOB][..]),
        ("/other", &[BOB]),
        ("/own", &[CY]),
        ("/open", &[ADA, BOB, CY, ""]),
        ("/pong", &[ADA, BOB, CY, ""]),
        ("/secret", &[ADA]),
        ("/", &[ADA]),
    ] {
        for token in [ADA, BOB, CY, ""] {
            let answer = ask(&case.proxy, path, &format!("X-API-Key: {token}\r\n"));
            let expected = if may.contains(&token) { 200 } else { 401 };
            assert_eq!(answer.status, expected, "{path} {token}: {}", answer.text());
        }
    }
    // One credential good for either route cannot be two that differ.
    let two = format!("X-API-Key: {ADA}\r\nAuthorization: Bearer {BOB}\r\n");
    assert_refused(&ask(&case.proxy, "/both", &two), 400, "ambiguous_credentials");
    assert_refused(&ask(&case.proxy, "/none/../open", ""), 400, "ambiguous_path");
}

#[test]
fn za12_who_is_refused_may_ask_again_on_the_same_connection() {
    let origin = mirror();
    let case = of_ada(&origin);
    let mut client = case.proxy.client();
    for _ in 0..3 {
        let refused = asked(&mut client, "/", "");
        assert_refused(&refused, 401, "no_credentials");
        assert!(!refused.head.lists("Connection", "close"));
        assert_eq!(asked(&mut client, "/", &format!("X-API-Key: {ADA}\r\n")).status, 200);
    }
    assert_eq!(origin.requests().len(), 3);
    // Chunks that look like a request are none.
    let inner = format!("GET /inner HTTP/1.1\r\nHost: test\r\nX-API-Key: {ADA}\r\n\r\n");
    client.send(format!(
        "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\n\r\n{inner}",
        inner.len()
    ));
    assert_refused(&client.response(), 401, "no_credentials");
    client.until_gone();
    assert_eq!(origin.requests().len(), 3, "a body is no request");
}

#[test]
fn za13_a_refused_body_of_any_size_does_not_keep_the_answer_from_its_client() {
    let origin = mirror();
    let case = of_ada(&origin);
    let mut client = case.proxy.client();
    client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 8388608\r\n\r\n");
    let mut sender = client.wire().sender().unwrap();
    let upload = thread::spawn(move || {
        let block = vec![b'x'; 64 * 1024];
        (0..128).take_while(|_| sender.send(&block).is_ok()).count()
    });
    assert_refused(&client.response(), 401, "no_credentials");
    upload.join().unwrap();
    assert_eq!(origin.connections(), 0);
}

#[test]
fn za14_each_of_a_row_of_requests_is_judged_by_itself() {
    let origin = mirror();
    let case = of_ada(&origin);
    let request =
        |path: &str, field: &str| format!("GET {path} HTTP/1.1\r\nHost: test\r\n{field}\r\n");
    let (good, bad) = (format!("X-API-Key: {ADA}\r\n"), format!("X-API-Key: {BOB}\r\n"));
    let row = [
        request("/1", &good),
        request("/2", &bad),
        request("/3", &good),
        request("/4", ""),
        request("/5", &good),
        request("/6", &bad),
    ];
    let mut client = case.proxy.client();
    client.send(row.concat());
    let statuses: Vec<u16> = (0..row.len()).map(|_| client.response().status).collect();
    assert_eq!(statuses, [200, 401, 200, 401, 200, 401]);
    let reached: Vec<_> = origin.requests().into_iter().map(|request| request.target).collect();
    assert_eq!(reached, ["/1", "/3", "/5"]);
}

#[test]
fn za15_head_and_old_clients_are_refused_as_they_expect() {
    let origin = mirror();
    let case = of_ada(&origin);
    let mut client = case.proxy.client();
    client.send("HEAD / HTTP/1.1\r\nHost: test\r\n\r\n");
    let refused = client.response_to_head();
    assert_eq!((refused.status, refused.ending), (401, Ending::Bodiless));
    assert!(refused.get("WWW-Authenticate").is_some());
    client.send(format!("HEAD / HTTP/1.1\r\nHost: test\r\nX-API-Key: {ADA}\r\n\r\n"));
    assert_eq!(client.response_to_head().status, 200, "the connection is in step");
    let mut old = case.proxy.client();
    old.send("GET / HTTP/1.0\r\n\r\n");
    assert_refused(&old.response(), 401, "no_credentials");
    old.expect_closed();
    let mut old = case.proxy.client();
    old.send(format!("GET / HTTP/1.0\r\nX-API-Key: {ADA}\r\n\r\n"));
    assert_eq!(old.response().status, 200);
    assert_eq!(origin.requests().len(), 2);
}

#[test]
fn za16_a_websocket_begins_with_a_token_or_not_at_all() {
    let chat = Origin::chatting();
    let case = of_ada(&chat);
    let shake = |client: &mut Client, field: &str| {
        client.send(format!(
            "GET / HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n{field}\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        ));
        client.response()
    };
    for field in ["", "X-API-Key: wrong-0123456789\r\n"] {
        let mut client = case.proxy.client();
        assert_eq!(shake(&mut client, field).status, 401);
        assert_eq!(chat.connections(), 0);
    }
    let mut client = case.proxy.client();
    assert_eq!(shake(&mut client, &format!("X-API-Key: {ADA}\r\n")).status, 101);
    client.send("x");
    assert_eq!(client.exactly(1), b"x");
    assert_eq!(chat.request().head.get("X-API-Key"), None);
}

#[test]
fn za17_nobody_is_invited_to_send_a_body_that_is_refused() {
    let origin = Origin::echoing();
    let case = of_ada(&origin);
    let head = |token: &str| {
        format!(
            "POST / HTTP/1.1\r\nHost: test\r\nX-API-Key: {token}\r\nExpect: 100-continue\r\n\
             Content-Length: 3\r\n\r\n"
        )
    };
    let mut client = case.proxy.client();
    client.send(head(BOB));
    let refused = client.response();
    assert_refused(&refused, 401, "bad_credentials");
    assert!(refused.interim.is_empty(), "{:?}", refused.interim);
    assert_eq!(origin.connections(), 0);
    let mut client = case.proxy.client();
    client.send(head(ADA));
    let invited = client.head();
    assert!(invited.line.starts_with("HTTP/1.1 100"), "{invited:?}");
    client.send("abc");
    assert_eq!(client.response().text(), "abc");
}

#[test]
fn za18_an_error_page_of_ones_own_is_for_401_too() {
    let origin = mirror();
    let page = format!(
        "error-page = {{ '401' = 'page.html' }}\n{}",
        with(&origin, &format!("token = '{ADA}'"))
    );
    let folder = Scratch::new();
    let path = folder.join("t.toml");
    fs::write(folder.join("page.html"), "<p>who are you?").unwrap();
    fs::write(&path, page).unwrap();
    let proxy = Proxy::start(&["--config", &path]);
    let answer = ask(&proxy, "/", "");
    assert_eq!((answer.status, answer.text().as_str()), (401, "<p>who are you?"));
    assert!(answer.get("WWW-Authenticate").is_some());
}

#[test]
fn za19_a_new_process_knows_the_same_tokens() {
    let (origin, scratch) = (mirror(), Scratch::new());
    let file = scratch.join("t.toml");
    fs::write(&file, with(&origin, "token = '{env.TG_TOKEN}'")).unwrap();
    let flags = ["--config", &file, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"];
    let mut proxy = Proxy::start_as(&[&flags[..], &["--workers", "1"]].concat(), |command| {
        command.env("TG_TOKEN", ADA);
    });
    for _ in 0..2 {
        assert_eq!(ask(&proxy, "/", &format!("X-API-Key: {ADA}\r\n")).status, 200);
        assert_refused(&ask(&proxy, "/", ""), 401, "no_credentials");
        proxy.upgrade();
    }
}
