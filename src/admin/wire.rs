//! The little HTTP/1.1 an admin server needs: a head without a body in, an answer out.
//!
//! The scanning is httparse's; this is the only file of the room that knows it.

use std::fmt::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::base::imf_fixdate;

/// Octets a request head may have.
pub(super) const HEAD_MAX: usize = 8 * 1024;

/// Fields a request head may have.
const FIELDS_MAX: usize = 64;

/// A request as far as the admin cares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Request {
    pub method: String,
    pub path: String,
    /// Behind the `?`, without it.
    pub query: String,
    pub host: Option<String>,
    /// All `Accept` fields, joined.
    pub accept: String,
    /// The connection can be used again: the client wants it, and no body stands between here and the next request.
    pub keep: bool,
}

/// Why a head is refused; the connection closes after the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It is not HTTP/1.x.
    Malformed,
    /// HTTP/1.1 asks for exactly one `Host` (RFC 9112 section 3.2).
    Host,
    /// More than [`HEAD_MAX`] octets or [`FIELDS_MAX`] fields.
    TooLarge,
}

impl Request {
    /// Reads the head at the start of `input` and says how many octets it took; `None`: there must be more of it.
    pub fn read(input: &[u8]) -> Result<Option<(Request, usize)>, Refusal> {
        let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
        let mut head = httparse::Request::new(&mut fields);
        let octets = match head.parse(input) {
            Ok(httparse::Status::Complete(octets)) if octets <= HEAD_MAX => octets,
            Ok(httparse::Status::Partial) if input.len() <= HEAD_MAX => return Ok(None),
            Ok(_) | Err(httparse::Error::TooManyHeaders) => return Err(Refusal::TooLarge),
            Err(_) => return Err(Refusal::Malformed),
        };
        let target = head.path.unwrap_or_default();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let minor = head.version.unwrap_or_default();
        let mut request = Request {
            method: head.method.unwrap_or_default().to_owned(),
            path: path.to_owned(),
            query: query.to_owned(),
            host: None,
            accept: String::new(),
            keep: minor == 1,
        };
        for field in head.headers.iter() {
            request.take_field(field)?;
        }
        if minor == 1 && request.host.is_none() {
            return Err(Refusal::Host);
        }
        request.take_absolute_form();
        Ok(Some((request, octets)))
    }

    /// The host of an absolute-form target counts, whatever `Host` says (RFC 9112 section 3.2.2).
    fn take_absolute_form(&mut self) {
        let Some(rest) = self.path.strip_prefix("http://") else {
            return;
        };
        let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        self.host = Some(host.to_owned());
        self.path = if path.is_empty() { "/".to_owned() } else { path.to_owned() };
    }

    fn take_field(&mut self, field: &httparse::Header<'_>) -> Result<(), Refusal> {
        let is = |name: &str| field.name.eq_ignore_ascii_case(name);
        let value = String::from_utf8_lossy(field.value);
        if is("Host") {
            if self.host.replace(value.trim().to_owned()).is_some() {
                return Err(Refusal::Host);
            }
        } else if is("Accept") {
            self.accept.push_str(if self.accept.is_empty() { "" } else { "," });
            self.accept.push_str(&value);
        } else if is("Connection") {
            self.keep &=
                !value.split(',').any(|option| option.trim().eq_ignore_ascii_case("close"));
        } else if is("Transfer-Encoding") || (is("Content-Length") && value.trim() != "0") {
            self.keep = false;
        }
        Ok(())
    }
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub status: u16,
    pub kind: &'static str,
    pub body: String,
    /// `Allow`, with 405.
    pub allow: Option<&'static str>,
}

impl Answer {
    /// The octets to send; `bodiless` for HEAD.
    pub fn octets(&self, bodiless: bool, keep: bool) -> Vec<u8> {
        let mut out = String::with_capacity(256 + self.body.len());
        // Writing to a `String` cannot fail.
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let date = imf_fixdate(since.as_secs());
        let _ = write!(out, "HTTP/1.1 {} {}\r\n", self.status, phrase(self.status));
        let _ = write!(out, "Date: {}\r\n", String::from_utf8_lossy(&date));
        let _ = write!(out, "Content-Type: {}\r\n", self.kind);
        let _ = write!(out, "Content-Length: {}\r\n", self.body.len());
        out.push_str("Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n");
        if let Some(methods) = self.allow {
            let _ = write!(out, "Allow: {methods}\r\n");
        }
        out.push_str(if keep { "\r\n" } else { "Connection: close\r\n\r\n" });
        out.push_str(if bodiless { "" } else { &self.body });
        out.into_bytes()
    }
}

fn phrase(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        421 => "Misdirected Request",
        431 => "Request Header Fields Too Large",
        503 => "Service Unavailable",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_when_it_is_whole() {
        let text = "GET /metrics?format=json HTTP/1.1\r\nHost: localhost:8082\r\n\
                    Accept: a/b\r\naccept: c/d\r\n\r\n";
        for end in 0..text.len() {
            assert_eq!(Request::read(&text.as_bytes()[..end]), Ok(None), "{end}");
        }
        let (request, octets) = Request::read(format!("{text}GET").as_bytes()).unwrap().unwrap();
        assert_eq!(octets, text.len());
        assert_eq!((request.path.as_str(), request.query.as_str()), ("/metrics", "format=json"));
        assert_eq!(request.accept, "a/b,c/d");
        assert!(request.keep);
    }

    #[test]
    fn heads_are_refused_for_a_reason() {
        for (text, refusal) in [
            ("GET / HTTP/1.1\r\n\r\n", Refusal::Host),
            ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", Refusal::Host),
            ("GET / HTTP/2.0\r\n\r\n", Refusal::Malformed),
            ("\0", Refusal::Malformed),
            (&format!("GET /{} HTTP/1.1\r\n", "a".repeat(HEAD_MAX)), Refusal::TooLarge),
            (&format!("GET / HTTP/1.1\r\n{}", "a: b\r\n".repeat(65)), Refusal::TooLarge),
        ] {
            assert_eq!(Request::read(text.as_bytes()), Err(refusal), "{text:.40}");
        }
    }

    #[test]
    fn the_host_of_an_absolute_target_counts() {
        let text = "GET http://evil.example/status?a HTTP/1.1\r\nHost: localhost\r\n\r\n";
        let (request, _) = Request::read(text.as_bytes()).unwrap().unwrap();
        assert_eq!(
            (request.host.as_deref(), request.path.as_str()),
            (Some("evil.example"), "/status")
        );
    }

    #[test]
    fn a_body_or_an_old_version_ends_the_connection() {
        for (version, field, keep) in [
            ("1.1", "A: b", true),
            ("1.1", "Content-Length: 0", true),
            ("1.1", "Content-Length: 1", false),
            ("1.1", "Transfer-Encoding: chunked", false),
            ("1.1", "Connection: x, Close", false),
            ("1.0", "A: b", false),
        ] {
            let text = format!("GET / HTTP/{version}\r\nHost: a\r\n{field}\r\n\r\n");
            let (request, _) = Request::read(text.as_bytes()).unwrap().unwrap();
            assert_eq!(request.keep, keep, "{version} {field}");
        }
    }
}
