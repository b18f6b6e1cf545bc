//! One record as one line, whatever the client put in it.

use std::fmt::Write;
use std::time::Duration;

use crate::base::Date;
use crate::config::LogFormat;
use crate::stats::{Attempt, Record};

/// Makes lines of one format.
#[derive(Debug)]
pub(super) struct Formatter {
    format: LogFormat,
    colour: bool,
}

impl Formatter {
    /// `colour` is for the human format alone.
    pub fn new(format: LogFormat, colour: bool) -> Formatter {
        Formatter { format, colour }
    }

    /// Appends `record` as a line, its end included.
    pub fn write(&self, record: &Record, out: &mut String) {
        match self.format {
            LogFormat::Human => human(record, self.colour, out),
            LogFormat::Json => json(record, out),
            LogFormat::Common => common(record, out),
            LogFormat::Combined => combined(record, out),
        }
        out.push('\n');
    }
}

/// `TIME STATUS METHOD HOST+TARGET TOTAL OCTETS CLIENT -> UPSTREAM REASON as USER`. Writing to a `String` cannot fail,
/// here and below.
fn human(record: &Record, colour: bool, out: &mut String) {
    Date::of(record.time).rfc3339(out);
    let (on, off) = if colour { (hue(record.status), "\x1b[0m") } else { ("", "") };
    let _ = write!(out, " {on}{}{off} ", record.status);
    escape(or_dash(&record.method), Spaces::Escaped, out);
    out.push(' ');
    escape(&record.host, Spaces::Escaped, out);
    escape(or_dash(&record.target), Spaces::Escaped, out);
    let millis = record.total.as_secs_f64() * 1e3;
    let _ = write!(out, " {millis:.3}ms {}B {}", record.bytes_out, client(record));
    if let Some(last) = record.attempts.last() {
        out.push_str(" -> ");
        escape(&last.upstream, Spaces::Escaped, out);
    }
    let _ = write!(out, " {}", record.reason);
    if !record.auth.is_empty() {
        out.push_str(" as ");
        escape(&record.auth, Spaces::Escaped, out);
    }
    match record.attempts.split_last() {
        Some((_, earlier)) if !earlier.is_empty() => {
            let _ = write!(out, " after {}", earlier.len());
            for (at, attempt) in earlier.iter().enumerate() {
                out.push_str(if at == 0 { ": " } else { ", " });
                escape(&attempt.upstream, Spaces::Escaped, out);
                let _ = write!(out, " {}", attempt.outcome);
            }
        }
        _ => {}
    }
}

/// The colour of a status class.
fn hue(status: u16) -> &'static str {
    match status / 100 {
        2 => "\x1b[32m",
        3 => "\x1b[36m",
        4 => "\x1b[33m",
        _ => "\x1b[31m",
    }
}

/// NCSA common: `CLIENT - USER [TIME] "REQUEST" STATUS OCTETS`. The octets are those of the body.
fn common(record: &Record, out: &mut String) {
    let _ = write!(out, "{} - ", client(record));
    escape(or_dash(&record.auth), Spaces::Escaped, out);
    out.push_str(" [");
    Date::of(record.time).common(out);
    out.push_str("] \"");
    if record.method.is_empty() {
        out.push('-');
    } else {
        escape(&record.method, Spaces::Escaped, out);
        out.push(' ');
        escape(&record.target, Spaces::Escaped, out);
        let _ = write!(out, " HTTP/1.{}", record.minor);
    }
    let _ = write!(out, "\" {} {}", record.status, record.body_out());
}

/// NCSA combined: common, then referer and user agent.
fn combined(record: &Record, out: &mut String) {
    common(record, out);
    for text in [&record.referer, &record.user_agent] {
        out.push_str(" \"");
        escape(or_dash(text), Spaces::Kept, out);
        out.push('"');
    }
}

/// One object; absent facts are `null`, times are seconds.
fn json(record: &Record, out: &mut String) {
    out.push_str("{\"time\":\"");
    Date::of(record.time).rfc3339(out);
    out.push('"');
    string(out, "request_id", Some(&record.id));
    string(out, "client", record.peer.map(|peer| peer.ip().to_string()).as_deref());
    string(out, "scheme", Some(record.scheme));
    string(out, "host", Some(&record.host));
    string(out, "method", Some(&record.method));
    string(out, "path", Some(&record.target));
    let _ = write!(out, ",\"proto\":\"HTTP/1.{}\",\"status\":{}", record.minor, record.status);
    string(out, "user_agent", given(&record.user_agent));
    string(out, "referer", given(&record.referer));
    let _ = write!(out, ",\"bytes_in\":{},\"bytes_out\":{}", record.bytes_in, record.bytes_out);
    seconds(out, "total_s", Some(record.total));
    seconds(out, "queued_s", record.queued);
    seconds(out, "connect_s", record.connect);
    seconds(out, "first_byte_s", record.first_byte);
    string(out, "route", given(&record.route));
    string(out, "pool", given(&record.pool));
    string(out, "auth", given(&record.auth));
    string(out, "limit", given(&record.limit));
    let last = record.attempts.last();
    string(out, "upstream", last.map(|attempt| &*attempt.upstream));
    match last {
        Some(attempt) => _ = write!(out, ",\"reused\":{}", attempt.reused),
        None => out.push_str(",\"reused\":null"),
    }
    string(out, "reason", Some(record.reason));
    out.push_str(",\"attempts\":[");
    for (at, attempt) in record.attempts.iter().enumerate() {
        out.push_str(if at == 0 { "" } else { "," });
        json_attempt(attempt, out);
    }
    out.push_str("]}");
}

fn json_attempt(attempt: &Attempt, out: &mut String) {
    let _ = write!(out, "{{\"reused\":{}", attempt.reused);
    string(out, "upstream", Some(&attempt.upstream));
    string(out, "outcome", Some(attempt.outcome));
    string(out, "cause", attempt.cause.as_deref());
    if !attempt.again.is_empty() {
        string(out, "again", Some(attempt.again));
    }
    out.push('}');
}

/// Appends `,"key":"value"` or `,"key":null`, such that the value can neither end its line nor drive a terminal.
pub fn string(out: &mut String, key: &str, value: Option<&str>) {
    let _ = write!(out, ",\"{key}\":");
    let Some(value) = value else {
        out.push_str("null");
        return;
    };
    out.push('"');
    for c in value.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            // All of them lie in the basic plane.
            c if is_hostile(c) => _ = write!(out, "\\u{:04x}", u32::from(c)),
            c => out.push(c),
        }
    }
    out.push('"');
}

fn seconds(out: &mut String, key: &str, value: Option<Duration>) {
    let _ = match value {
        Some(value) => write!(out, ",\"{key}\":{:.6}", value.as_secs_f64()),
        None => write!(out, ",\"{key}\":null"),
    };
}

/// The client's address without its port; `-` over a Unix socket.
fn client(record: &Record) -> String {
    record.peer.map_or_else(|| "-".to_owned(), |peer| peer.ip().to_string())
}

/// `None` for a field that was not there.
fn given(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

fn or_dash(text: &str) -> &str {
    if text.is_empty() { "-" } else { text }
}

/// How spaces are written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Spaces {
    /// They stay: the text stands between quotes.
    Kept,
    /// They would end the field.
    Escaped,
}

/// Appends `text` such that it cannot end its line, its quotes or its field: `\"`, `\\`, and `\xHH` for each octet of
/// anything else that could.
fn escape(text: &str, spaces: Spaces, out: &mut String) {
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if is_hostile(c) || (c == ' ' && spaces == Spaces::Escaped) => {
                for octet in c.encode_utf8(&mut [0; 4]).bytes() {
                    let _ = write!(out, "\\x{octet:02x}");
                }
            }
            c => out.push(c),
        }
    }
}

/// Could end a line, drive a terminal or turn the text around: controls (C0, DEL, C1), line and paragraph separators,
/// bidirectional marks.
fn is_hostile(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::testing::record;

    fn line(format: LogFormat, colour: bool, record: &Record) -> String {
        let mut out = String::new();
        Formatter { format, colour }.write(record, &mut out);
        out
    }

    #[test]
    fn a_line_in_every_format() {
        let record = record();
        assert_eq!(
            line(LogFormat::Human, false, &record),
            "2026-11-21T04:15:06.789Z 200 GET example.org/a?b=c 12.345ms 1434B 192.0.2.7 -> \
             http://10.0.0.2:80 done as billing after 1: http://10.0.0.1:80 connect_failed\n"
        );
        assert_eq!(
            line(LogFormat::Common, false, &record),
            "192.0.2.7 - billing [21/Nov/2026:04:15:06 +0000] \"GET /a?b=c HTTP/1.1\" 200 1234\n"
        );
        assert_eq!(
            line(LogFormat::Combined, false, &record),
            "192.0.2.7 - billing [21/Nov/2026:04:15:06 +0000] \"GET /a?b=c HTTP/1.1\" 200 1234 \
             \"-\" \"curl/8\"\n"
        );
        assert_eq!(
            line(LogFormat::Json, false, &record),
            concat!(
                r#"{"time":"2026-11-21T04:15:06.789Z","request_id":"4f2a","client":"192.0.2.7","#,
                r#""scheme":"http","host":"example.org","method":"GET","path":"/a?b=c","#,
                r#""proto":"HTTP/1.1","status":200,"user_agent":"curl/8","referer":null,"#,
                r#""bytes_in":78,"bytes_out":1434,"total_s":0.012345,"#,
                r#""queued_s":null,"connect_s":0.000250,"first_byte_s":0.011000,"#,
                r#""route":"shop","pool":"default","auth":"billing","limit":null,"#,
                r#""upstream":"http://10.0.0.2:80","#,
                r#""reused":true,"reason":"done","attempts":[{"reused":false,"#,
                r#""upstream":"http://10.0.0.1:80","outcome":"connect_failed","#,
                r#""cause":"Connection refused","again":"retried"},{"reused":true,"upstream":"http://10.0.0.2:80","#,
                r#""outcome":"done","cause":null}]}"#,
                "\n"
            )
        );
    }

    #[test]
    fn only_a_terminal_sees_colour() {
        let mut record = record();
        record.status = 502;
        assert!(line(LogFormat::Human, true, &record).contains(" \x1b[31m502\x1b[0m GET "));
        assert!(!line(LogFormat::Human, false, &record).contains('\x1b'));
    }

    #[test]
    fn a_request_that_was_never_understood() {
        let mut record = record();
        record.peer = None;
        record.attempts.clear();
        record.connect = None;
        for text in [&mut record.method, &mut record.host, &mut record.target] {
            text.clear();
        }
        let common = line(LogFormat::Common, false, &record);
        assert_eq!(common, "- - billing [21/Nov/2026:04:15:06 +0000] \"-\" 200 1234\n");
        let human = line(LogFormat::Human, false, &record);
        assert_eq!(human, "2026-11-21T04:15:06.789Z 200 - - 12.345ms 1434B - done as billing\n");
        let json = line(LogFormat::Json, false, &record);
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        for key in ["client", "connect_s", "upstream", "reused"] {
            assert!(json[key].is_null(), "{key}");
        }
    }

    #[test]
    fn no_client_can_forge_a_line_or_drive_a_terminal() {
        let hostile = "a\r\n\"b\\ \x1b[2J\u{9b}\u{2028}\u{202e}\u{7f}\0é";
        let mut record = record();
        for text in [
            &mut record.method,
            &mut record.host,
            &mut record.target,
            &mut record.user_agent,
            &mut record.referer,
            &mut record.id,
        ] {
            hostile.clone_into(text);
        }
        record.attempts[0].cause = Some(hostile.to_owned());
        for format in [LogFormat::Human, LogFormat::Json, LogFormat::Common, LogFormat::Combined] {
            let line = line(format, false, &record);
            let text = line.strip_suffix('\n').unwrap();
            assert!(!text.chars().any(is_hostile), "{text}");
            assert!(text.contains('é'));
        }
        let json: serde_json::Value =
            serde_json::from_str(&line(LogFormat::Json, false, &record)).unwrap();
        assert_eq!(json["path"], hostile);
        assert_eq!(json["attempts"][0]["cause"], hostile);
        let combined = line(LogFormat::Combined, false, &record);
        assert!(combined.contains(r#""a\x0d\x0a\"b\\ \x1b[2J\xc2\x9b\xe2\x80\xa8"#));
        assert!(combined.contains(r#" a\x0d\x0a\"b\\\x20\x1b[2J"#));
    }
}
