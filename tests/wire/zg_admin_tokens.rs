//! Who may ask the admin, and what is written down of those who change things or are refused.

use std::fs;

use rustix::process::Signal;
use serde_json::Value;

use crate::harness::{
    Client, Configured, Origin, Proxy, Response, Scratch, ask, eventually, mirror,
};

const OPS: &str = "ops-token-0123456789";
const LOOK: &str = "look-token-0123456789";

/// What the admin answers to this order, or look, with these fields.
fn asked(proxy: &Proxy, line: &str, fields: &str) -> Response {
    asked_with(proxy, line, fields, "{}")
}

/// The same with this body, of an order.
fn asked_with(proxy: &Proxy, line: &str, fields: &str, body: &str) -> Response {
    let mut client = Client::to(&proxy.admin);
    let host = &proxy.admin;
    let body = if line.starts_with("GET") { "" } else { body };
    client.send(format!(
        "{line} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n{fields}\r\n{body}",
        body.len()
    ));
    client.response()
}

fn with_tokens(origin: &Origin, more: &str) -> Configured {
    let tokens = format!("['{OPS} name=ops', '{LOOK} name=look role=read']");
    let text = format!("upstream = '{}'\n{more}\n[admin]\ntoken = {tokens}\n", origin.url());
    Configured::new(&text, &[])
}

#[test]
fn zg01_a_change_takes_a_token_that_may_make_it() {
    let origin = mirror();
    let case = with_tokens(&origin, "");
    for (line, fields, status) in [
        ("GET /status", String::new(), 200),
        ("GET /status", format!("Authorization: Bearer {LOOK}\r\n"), 200),
        ("GET /status", "Authorization: Bearer not-one-of-them\r\n".to_owned(), 401),
        ("GET /explain?request=GET%20http://a/", String::new(), 401),
        ("GET /explain?request=GET%20http://a/", format!("Authorization: Bearer {LOOK}\r\n"), 200),
        ("POST /reload", String::new(), 401),
        ("POST /reload", format!("X-API-Key: {LOOK}\r\n"), 403),
        ("POST /reload", format!("X-API-Key: {OPS}\r\nX-Auth-Token: {LOOK}\r\n"), 401),
        ("DELETE /upstreams/41ebf135b18c", String::new(), 401),
        ("POST /reload", format!("Authorization: Bearer {OPS}\r\n"), 200),
        ("POST /reload", format!("X-Auth-Token: {OPS}\r\n"), 200),
    ] {
        let answer = asked(&case.proxy, line, &fields);
        assert_eq!(answer.status, status, "{line} {fields}: {}", answer.text());
        assert_eq!(answer.get("WWW-Authenticate").is_some(), status == 401, "{line} {fields}");
    }
    for page in ["GET /config", "GET /metrics", "GET /status"] {
        let text = asked(&case.proxy, page, "").text();
        assert!(!text.contains("0123456789"), "{page}: {text}");
    }
}

/// The lines of an audit log, once there are so many.
#[track_caller]
fn audited(file: &str, number: usize) -> Vec<Value> {
    let lines = || -> Vec<Value> {
        let text = fs::read_to_string(file).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    eventually("all are written", || lines().len() >= number);
    let lines = lines();
    assert_eq!(lines.len(), number, "{lines:?}");
    lines
}

#[test]
fn zg02_refused_credentials_are_written_down() {
    let origin = mirror();
    let scratch = Scratch::new();
    let file = scratch.join("audit.log");
    let text =
        format!("upstream = '{}'\n[auth.default]\ntoken = '{LOOK} name=ann'\n", origin.url());
    let case = Configured::new(&text, &["--access-log-audit", &file]);
    assert_eq!(ask(&case.proxy, "/a?token=hidden", "").status, 401, "without a line");
    assert_eq!(ask(&case.proxy, "/b?token=hidden", "X-API-Key: wrong-wrong\r\n").status, 401);
    assert_eq!(ask(&case.proxy, "/c", &format!("X-API-Key: {LOOK}\r\n")).status, 200);
    let line = &audited(&file, 1)[0];
    for (key, value) in [
        ("event", "credentials_refused"),
        ("reason", "bad_credentials"),
        ("path", "/b"),
        ("client", "127.0.0.1"),
    ] {
        assert_eq!(line[key], value, "{line}");
    }
    assert!(!line.to_string().contains("hidden") && !line.to_string().contains("wrong"), "{line}");
    assert_eq!(case.proxy.stop().code, Some(0), "the writer of the audit log ends, too");
}

#[test]
fn zg03_whatever_somebody_wants_changed_is_written_down_done_or_not() {
    let origin = mirror();
    let scratch = Scratch::new();
    let file = scratch.join("audit.log");
    let tokens = format!("['{OPS} name=ops', '{LOOK} name=look role=read']");
    let text = format!("upstream = '{}'\n[admin]\ntoken = {tokens}\n", origin.url());
    let case = Configured::new(&text, &["--access-log-audit", &file]);
    let [ops, look] = [OPS, LOOK].map(|token| format!("Authorization: Bearer {token}\r\n"));
    let wrong = "X-API-Key: wrong-wrong\r\n";
    let no_token = "a change takes a token: Authorization: Bearer TOKEN";
    let bad_token = "this token is not one of the admin's";
    let read_only = "this token may look, and change nothing";
    let no_upstream = "there is no upstream of this id";
    let add = format!("add {}", origin.url());
    let with_user = origin.url().replace("http://", "http://user:hidden@");
    let of_with_user = format!("add {}", origin.url().replace("http://", "http://***@"));
    for (line, url, fields, status) in [
        ("GET /status", "", "", 200),
        ("GET /status", "", &*look, 200),
        ("GET /status", "", wrong, 401),
        ("POST /reload", "", "", 401),
        ("POST /reload", "", wrong, 401),
        ("POST /reload", "", &look, 403),
        ("POST /reload", "", &ops, 200),
        ("POST /add", &*origin.url(), &look, 403),
        ("POST /add", "", &ops, 400),
        ("POST /add", &with_user, &ops, 400),
        ("POST /add", &with_user, "", 401),
        ("DELETE /upstreams/none", "", "", 401),
        ("DELETE /upstreams/none", "", &ops, 404),
    ] {
        let body = if url.is_empty() { "{}".to_owned() } else { format!("{{\"url\":\"{url}\"}}") };
        let answer = asked_with(&case.proxy, line, fields, &body);
        assert_eq!(answer.status, status, "{line} {fields}: {}", answer.text());
    }
    let url_missing = "url is missing";
    let lines = audited(&file, 11);
    let wanted = [
        ("/status", "nobody", bad_token),
        ("reload", "nobody", no_token),
        ("reload", "nobody", bad_token),
        ("reload", "look", read_only),
        ("reload", "ops", ""),
        (&add, "look", read_only),
        ("add", "ops", url_missing),
        (&of_with_user, "ops", "user names have no place here"),
        (&of_with_user, "nobody", no_token),
        ("remove", "nobody", no_token),
        ("remove", "ops", no_upstream),
    ];
    for (line, (what, by, refused)) in lines.iter().zip(wanted) {
        let (event, key) =
            if what == "/status" { ("look_refused", "path") } else { ("change", "change") };
        assert_eq!((&line["event"], &line[key]), (&event.into(), &what.into()), "{line}");
        assert_eq!(line["by"], by, "{line}");
        match refused {
            "" => assert_eq!((&line["done"], &line["refused"]), (&true.into(), &Value::Null)),
            why => assert!(line["refused"].as_str().unwrap().starts_with(why), "{line}"),
        }
    }
    let all = fs::read_to_string(&file).unwrap();
    for secret in ["hidden", "wrong-wrong", "0123456789"] {
        assert!(!all.contains(secret), "{secret} in {all}");
    }
    assert_eq!(case.proxy.metrics()["audit_lines_lost"], 0);
}

#[test]
fn zg04_an_upgrade_is_written_down_once_it_is_known_how_it_went() {
    let origin = mirror();
    let scratch = Scratch::new();
    let file = scratch.join("audit.log");
    let text = format!("upstream = '{}'\n", origin.url());
    let mut case = Configured::new(&text, &["--access-log-audit", &file]);
    fs::write(&case.path, format!("{text}nonsense = 1\n")).unwrap();
    case.proxy.signal(Signal::USR2);
    case.proxy.wait_for_log("the upgrade failed");
    audited(&file, 1);
    assert_eq!(case.proxy.post("/upgrade", "{}").status, 500);
    fs::write(&case.path, &text).unwrap();
    case.proxy.upgrade();
    let lines = audited(&file, 3);
    for (line, (by, done)) in
        lines.iter().zip([("a signal", false), ("the admin", false), ("a signal", true)])
    {
        assert_eq!((&line["change"], &line["by"]), (&"upgrade".into(), &by.into()), "{line}");
        assert_eq!((&line["done"], line["refused"].is_null()), (&done.into(), done), "{line}");
    }
}

#[test]
fn zg05_lines_of_the_audit_log_that_are_lost_are_counted() {
    let origin = mirror();
    let text = format!("upstream = '{}'\n", origin.url());
    let case = Configured::new(&text, &["--access-log-audit", "/dev/full"]);
    for _ in 0..3 {
        assert_eq!(case.proxy.post("/reload", "{}").status, 200);
    }
    eventually("all are counted", || case.proxy.metric("/audit_lines_lost") == 3);
    assert!(case.proxy.stop().stderr.contains("lines of the audit log could not be written"));
}
