//! One question to a proxy, and what came of it.

use serde_json::Value;

use super::{Client, Origin, Proxy, Response};

/// An origin that answers with the request as it came: its line, its fields, and the fields behind its body.
pub fn mirror() -> Origin {
    Origin::serving(|request| {
        let fields = request.head.fields.iter().chain(&request.trailers);
        let lines = fields.map(|(name, value)| format!("{name}: {value}\n")).collect::<String>();
        let text = format!("{} {}\n{lines}", request.method, request.target);
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}", text.len()).into_bytes()
    })
}

/// What comes of a GET with these field lines, on a connection of its own.
#[track_caller]
pub fn ask(proxy: &Proxy, target: &str, fields: &str) -> Response {
    asked(&mut proxy.client(), target, fields)
}

/// The same on a connection that there is.
#[track_caller]
pub fn asked(client: &mut Client, target: &str, fields: &str) -> Response {
    client.send(format!("GET {target} HTTP/1.1\r\nHost: test\r\n{fields}\r\n"));
    client.response()
}

/// The status, and the reason where one is told.
#[track_caller]
pub fn verdict(answer: &Response) -> (u16, String) {
    let text = answer.text();
    let reason = text.lines().find_map(|line| line.strip_prefix("reason: "));
    (answer.status, reason.unwrap_or_default().to_owned())
}

/// What a mirror says of the field `name`.
#[track_caller]
pub fn seen<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    let fields = text.lines().filter_map(|line| line.split_once(": "));
    let mut all = fields.filter(|(own, _)| own.eq_ignore_ascii_case(name));
    let found = all.next().map(|(_, value)| value);
    assert!(all.next().is_none(), "{name} came twice: {text}");
    found
}

/// The access log, when it has `n` lines.
#[track_caller]
pub fn logged(proxy: &Proxy, n: usize) -> Vec<Value> {
    let lines = proxy.access_log(n);
    lines.iter().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect()
}
