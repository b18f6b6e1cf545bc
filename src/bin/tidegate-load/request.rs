//! The octets of a request, made once and sent as often as there are requests.

use super::target::TargetUrl;
use super::workload::Handshake;
use tidegate::http::body::Encoder;
use tidegate::http::grammar;
use tidegate::http::upgrade::KEY;

/// Octets in a chunk of a chunked body.
const CHUNK: usize = 16 * 1024;
/// The key of every handshake. That it is always the same hurts nobody: it proves that the server speaks
/// WebSocket, and is no secret.
const HANDSHAKE_KEY: &[u8; KEY] = b"dGlkZWdhdGUtbG9hZC13cw==";

/// A request that is not made yet.
#[derive(Debug)]
pub struct RequestTemplate<'a> {
    /// Where it goes.
    pub target: &'a TargetUrl,
    /// The method.
    pub method: &'a str,
    /// Field lines, names and values, besides `Host` and those about the body.
    pub fields: &'a [(String, String)],
    /// The body, if there is one.
    pub body: Option<&'a [u8]>,
    /// The body goes in chunks.
    pub chunked: bool,
    /// The connection may go on.
    pub keep_alive: bool,
}

/// `Name: value` taken apart; an error says what is wrong.
pub fn field(line: &str) -> Result<(String, String), String> {
    let Some((name, value)) = line.split_once(':') else {
        return Err(format!("{line:?} has no colon: write 'name: value'"));
    };
    let value = value.trim_matches([' ', '\t']);
    if !grammar::is_token(name.as_bytes()) {
        return Err(format!("{name:?} is not a field name"));
    }
    if !value.bytes().all(grammar::is_value) {
        return Err(format!("the value of {name} has octets that a field cannot permit"));
    }
    let ours = ["content-length", "transfer-encoding", "upgrade"];
    if ours.iter().any(|ours| name.eq_ignore_ascii_case(ours)) {
        return Err(format!("{name} follows from the other flags"));
    }
    Ok((name.to_owned(), value.to_owned()))
}

impl RequestTemplate<'_> {
    /// The whole request.
    pub fn octets(&self) -> Vec<u8> {
        let mut lines = String::new();
        match self.body {
            Some(_) if self.chunked => lines.push_str("Transfer-Encoding: chunked\r\n"),
            Some(body) => lines.push_str(&format!("Content-Length: {}\r\n", body.len())),
            None => {}
        }
        if !self.keep_alive {
            lines.push_str("Connection: close\r\n");
        }
        let mut out = self.head(&lines);
        match self.body {
            Some(body) if self.chunked => {
                let mut line = [0; Encoder::BEFORE];
                for chunk in body.chunks(CHUNK) {
                    let [before, behind] = Encoder::Chunked.frame(chunk.len(), &mut line);
                    out.extend_from_slice(&[before, chunk, behind].concat());
                }
                out.extend_from_slice(&Encoder::Chunked.end(b""));
            }
            Some(body) => out.extend_from_slice(body),
            None => {}
        }
        out
    }

    /// The handshake of a WebSocket in its place (RFC 6455 section 4.1).
    pub fn handshake(&self) -> Handshake {
        let key = std::str::from_utf8(HANDSHAKE_KEY).unwrap_or_default();
        let lines = format!(
            "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: {key}\r\n"
        );
        Handshake { octets: self.head(&lines), key: *HANDSHAKE_KEY }
    }

    fn head(&self, lines: &str) -> Vec<u8> {
        let mut out = format!("{} {} HTTP/1.1\r\n", self.method, self.target.path);
        if !self.fields.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            out.push_str(&format!("Host: {}\r\n", self.target.authority));
        }
        for (name, value) in self.fields {
            out.push_str(&format!("{name}: {value}\r\n"));
        }
        out.push_str(lines);
        out.push_str("\r\n");
        out.into_bytes()
    }
}

/// `len` octets that differ from place to place, all of them printable.
pub fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| b' ' + (at % 95) as u8).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate::http::{Framing, Limits, Progress, Request, Upgrade};

    fn draft(target: &TargetUrl, body: Option<&[u8]>, chunked: bool) -> Vec<u8> {
        let fields = [field("X-A:  b ").unwrap()];
        let method = if body.is_some() { "POST" } else { "GET" };
        RequestTemplate { target, method, fields: &fields, body, chunked, keep_alive: true }
            .octets()
    }

    #[test]
    fn requests_are_made_whole() {
        let target = TargetUrl::of("http://a:81/b?c").unwrap();
        let plain = draft(&target, None, false);
        assert_eq!(plain, b"GET /b?c HTTP/1.1\r\nHost: a:81\r\nX-A: b\r\n\r\n");
        let sized = draft(&target, Some(b"hello"), false);
        assert!(sized.ends_with(b"X-A: b\r\nContent-Length: 5\r\n\r\nhello"));
        let empty = draft(&target, Some(b""), true);
        assert!(empty.ends_with(b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"));
        let body = pattern(CHUNK + 1);
        let chunked = draft(&target, Some(&body), true);
        assert!(chunked.ends_with(b"\r\n1\r\nL\r\n0\r\n\r\n") && body[CHUNK] == b'L');
    }

    #[test]
    fn our_own_parser_takes_what_we_send() {
        let target = TargetUrl::of("ws://[::1]:81/").unwrap();
        let fields = [field("host: other").unwrap()];
        let draft = RequestTemplate {
            target: &target,
            method: "GET",
            fields: &fields,
            body: None,
            chunked: false,
            keep_alive: true,
        };
        let handshake = draft.handshake();
        let mut request = Request::default();
        let read = request.read(&handshake.octets, &Limits::default());
        assert_eq!(read, Ok(Progress::Complete));
        assert_eq!((request.upgrade, request.framing), (Upgrade::WebSocket, Framing::None));
        assert_eq!(request.host.of(&handshake.octets), b"other");
    }

    #[test]
    fn field_lines_that_would_break_a_request_are_refused() {
        for bad in
            ["x", ": y", "a b: c", "a: b\r\nc: d", "content-length: 5", "Transfer-encoding: x"]
        {
            assert!(field(bad).is_err(), "{bad:?}");
        }
    }
}
