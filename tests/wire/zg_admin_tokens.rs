//! Who may ask the admin, and what is written down of those who change things or are refused.

use std::fs;

use serde_json::Value;

use crate::harness::{
    Client, Configured, Origin, Proxy, Response, Scratch, ask, eventually, mirror,
};

const OPS: &str = "ops-token-0123456789";
const LOOK: &str = "look-token-0123456789";

/// What the admin answers to this order, or look, with these fields.
fn asked(proxy: &Proxy, line: &str, fields: &str) -> Response {
    let mut client = Client::to(&proxy.admin);
    let host = &proxy.admin;
    let body = if line.starts_with("GET") { "" } else { "{}" };
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

#[test]
fn zg02_refused_credentials_and_changes_are_written_down() {
    let origin = mirror();
    let scratch = Scratch::new();
    let file = scratch.path().join("audit.log");
    let more = format!("[auth.default]\ntoken = '{LOOK} name=ann'\n");
    let tokens = format!("['{OPS} name=ops']");
    let text = format!("upstream = '{}'\n{more}\n[admin]\ntoken = {tokens}\n", origin.url());
    let case = Configured::new(&text, &["--access-log-audit", file.to_str().unwrap()]);
    assert_eq!(ask(&case.proxy, "/a?token=hidden", "").status, 401, "without a line");
    assert_eq!(ask(&case.proxy, "/b?token=hidden", "X-API-Key: wrong-wrong\r\n").status, 401);
    assert_eq!(ask(&case.proxy, "/c", &format!("X-API-Key: {LOOK}\r\n")).status, 200);
    assert_eq!(asked(&case.proxy, "POST /reload", "").status, 401);
    let good = format!("Authorization: Bearer {OPS}\r\n");
    assert_eq!(asked(&case.proxy, "POST /reload", &good).status, 200);
    let lines = || -> Vec<Value> {
        let text = fs::read_to_string(&file).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    eventually("all are written", || lines().len() >= 3);
    let lines = lines();
    assert_eq!(lines.len(), 3, "{lines:?}");
    let text = |line: usize, key: &str| lines[line][key].as_str().unwrap_or_default().to_owned();
    assert_eq!([text(0, "event"), text(0, "reason")], ["credentials_refused", "bad_credentials"]);
    assert_eq!([text(0, "path"), text(0, "client")], ["/b", "127.0.0.1"]);
    assert_eq!([text(1, "by"), text(2, "by")], ["nobody", "ops"]);
    assert_eq!((&lines[1]["done"], &lines[2]["done"]), (&false.into(), &true.into()));
    let all = fs::read_to_string(&file).unwrap();
    for secret in ["hidden", "wrong-wrong", "0123456789"] {
        assert!(!all.contains(secret), "{secret} in {all}");
    }
    assert_eq!(case.proxy.stop().code, Some(0), "the writer of the audit log ends, too");
}
