//! The heads that leave: for every head accepted exactly one, and it has one meaning only.
//!
//! Everything hop-by-hop goes (RFC 9110 section 7.6.1): what the table of names says, and what `Connection` names
//! unless we or the framing need it. `Trailer` stays as long as trailers do, in chunked bodies. The
//! three `Proxy-...` fields of authentication go as well: they are between a client and the proxy
//! it chose (section 11.7), which tidegate is not, so credentials for a proxy must not reach an
//! origin.
//!
//! `Upgrade` goes too, unless a protocol is to be offered or was switched to; it is then written
//! anew, and names that protocol alone.

use std::net::IpAddr;

use super::connection;
use super::fields::{Field, Span};
use super::framing::Framing;
use super::head::{Method, Version};
use super::names::{self, CLAIM, HOP_BY_HOP, NEEDED, Name, OURS};
use super::path;
use super::request::Request;
use super::response::Response;
use super::upgrade::Offer;
use super::write::{Full, SELF, Writer, phrase};

/// What tidegate changes in a request.
#[derive(Clone, Copy, Debug)]
pub struct RequestEdits<'a> {
    /// The peer's address; `None` over a Unix socket.
    pub peer: Option<IpAddr>,
    /// What the peer says about its own client is believed: `X-Forwarded-For` is appended to, the
    /// others are kept. Otherwise all such claims (`X-Forwarded-*`, `X-Forwarded`, `Forwarded`,
    /// `X-Real-IP`) are replaced or removed.
    pub trusted: bool,
    /// Further names that stay behind, in any spelling an origin may take for them; of those with a
    /// [`Name`] of their own only [claims](CLAIM). Their trailers: see
    /// [`super::chunked::ChunkedDecoder::trailers_without`].
    pub withheld: &'a [String],
    /// What a route says of the fields.
    pub fields: FieldEdits<'a>,
    /// What a route says of the path.
    pub path: PathEdits<'a>,
    /// The client came over TLS.
    pub secure: bool,
    /// Replaces `Host`. Give the upstream's own authority also when the request has none
    /// (HTTP/1.0).
    pub host: Option<&'a [u8]>,
    /// `X-Request-Id`.
    pub request_id: &'a [u8],
    /// What the upstream is offered to switch to: what [`Request::offer`] said. `None` makes
    /// it an ordinary request.
    pub upgrade: Option<Offer<'a>>,
}

/// Fields that are taken away and put in.
#[derive(Clone, Copy, Debug, Default)]
pub struct FieldEdits<'a> {
    /// Names that stay behind, in any spelling an origin may take for them; none by which a message is framed. Those of
    /// the rules, and those of the gate.
    pub removed: [&'a [String]; 2],
    /// Field lines that are put in, each with its CRLF.
    pub lines: &'a [u8],
}

/// A path that leaves otherwise than it came.
#[derive(Clone, Copy, Debug, Default)]
pub struct PathEdits<'a> {
    /// So many segments of it stay behind.
    pub strip: usize,
    /// What stands before the rest, one behind the other: each is empty, or begins with a slash and does not end with
    /// one.
    pub before: [&'a str; 2],
}

impl FieldEdits<'_> {
    /// The field of this name stays behind.
    fn removes(&self, name: &[u8]) -> bool {
        self.removed.iter().any(|list| !list.is_empty() && names::is_among(name, list))
    }

    fn removes_any(&self) -> bool {
        self.removed.iter().any(|list| !list.is_empty())
    }
}

impl PathEdits<'_> {
    fn is_nothing(&self) -> bool {
        self.strip == 0 && self.before.iter().all(|before| before.is_empty())
    }
}

/// What tidegate changes in a response.
#[derive(Clone, Copy, Debug)]
pub struct ResponseEdits<'a> {
    /// The version of the client.
    pub to: Version,
    /// The client's connection goes on; not with [`Framing::UntilClose`].
    pub persistent: bool,
    /// The framing of the body as it leaves: what [`super::outward`] said.
    pub framing: Framing,
    /// What a route says of the fields.
    pub fields: FieldEdits<'a>,
    /// `Date`, if the upstream sent none.
    pub date: &'a [u8],
    /// `X-Backend-Server`; `None` lets that of the upstream through.
    pub backend: Option<&'a [u8]>,
    /// `X-Request-Id`; `None` lets that of the upstream through.
    pub request_id: Option<&'a [u8]>,
}

/// Writes the head of a request, in HTTP/1.1.
///
/// Names that an upstream might take for those that matter ([`Name::Lookalike`]) stay behind: a
/// client that may not send `X-Forwarded-For` may not send `X_Forwarded_For` either.
pub fn request(
    out: &mut Writer,
    head: &Request,
    bytes: &[u8],
    edits: &RequestEdits,
) -> Result<(), Full> {
    out.put_all(&[head.method_text.of(bytes), b" "])?;
    target(out, head, bytes, &edits.path)?;
    let host = edits.host.unwrap_or(head.host.of(bytes));
    out.put_all(&[b" HTTP/1.1\r\nHost: ", host, b"\r\n"])?;
    let removes = edits.fields.removes_any();
    let mut said = Said::default();
    let mut lines = KeptLines::default();
    for field in passing(head, bytes, edits.trusted, edits.withheld) {
        match field.id {
            Name::XForwardedProto => said.proto = true,
            Name::XForwardedHost => said.host = true,
            _ => {}
        }
        if removes && edits.fields.removes(field.name.of(bytes)) {
            continue;
        }
        lines.keep(out, field, bytes)?;
    }
    lines.flush(out, bytes)?;
    if !edits.fields.lines.is_empty() {
        out.put(edits.fields.lines)?;
    }
    forwarded(out, head, bytes, edits, said)?;
    out.put_all(&[b"X-Request-Id: ", edits.request_id, b"\r\n"])?;
    let received = if head.version == Version::Http10 { b"Via: 1.0 " } else { b"Via: 1.1 " };
    out.put_all(&[received, SELF.as_bytes(), b"\r\n"])?;
    if let Some(hops) = head.max_forwards {
        number(out, b"Max-Forwards: ", hops.saturating_sub(1))?;
    }
    if head.expects_continue {
        out.put(b"Expect: 100-continue\r\n")?;
    }
    if let Some(offer) = &edits.upgrade {
        upgrade(out, offer.protocol())?;
    }
    match head.framing {
        Framing::Length(length) => number(out, b"Content-Length: ", length)?,
        Framing::Chunked => out.put(b"Transfer-Encoding: chunked\r\n")?,
        // An empty POST says so; what is to become another protocol does not speak of bodies.
        _ if head.has_length && edits.upgrade.is_none() => out.put(b"Content-Length: 0\r\n")?,
        _ => {}
    }
    out.put(b"\r\n")
}

/// The fields that pass as they came from a client who is `trusted` or not; `withheld` as in [`RequestEdits`].
#[inline]
pub fn passing<'h>(
    head: &'h Request,
    bytes: &'h [u8],
    trusted: bool,
    withheld: &'h [String],
) -> impl Iterator<Item = &'h Field> {
    let stays_behind = move |field: &Field| match field.id {
        Name::Host
        | Name::ContentLength
        | Name::XRequestId
        | Name::Expect
        | Name::Proxy
        | Name::XForwardedFor
        | Name::Lookalike => true,
        Name::MaxForwards => head.max_forwards.is_some(),
        Name::Trailer => head.framing != Framing::Chunked,
        id if id.is(CLAIM) && names::is_among(field.name.of(bytes), withheld) => true,
        id if id.is(OURS) => id.is(HOP_BY_HOP) || (id.is(CLAIM) && !trusted),
        _ => !withheld.is_empty() && names::is_among(field.name.of(bytes), withheld),
    };
    head.fields.iter().filter(move |field| {
        !(stays_behind(field) || (head.names_fields && is_named(field, &head.fields, bytes)))
    })
}

/// The target in origin-form, or `*` (RFC 9112 sections 3.2.1 and 3.2.4).
fn target(out: &mut Writer, head: &Request, bytes: &[u8], edits: &PathEdits) -> Result<(), Full> {
    let mut path = head.path.of(bytes);
    if !edits.is_nothing() && path != b"*" {
        if edits.strip > 0 {
            let end = memchr::memchr(b'?', path).unwrap_or(path.len());
            path = &path[path::prefix_len(&path[..end], edits.strip)..];
        }
        out.put_all(&edits.before.map(str::as_bytes))?;
    }
    match path.first() {
        None if head.method == Method::Options => out.put(b"*"),
        None => out.put(b"/"),
        Some(b'?') => out.put_all(&[b"/", path]),
        Some(_) => out.put(path),
    }
}

/// Which of the `X-Forwarded-...` fields went through as they came.
#[derive(Clone, Copy, Default)]
struct Said {
    proto: bool,
    host: bool,
}

fn forwarded(
    out: &mut Writer,
    head: &Request,
    bytes: &[u8],
    edits: &RequestEdits,
    said: Said,
) -> Result<(), Full> {
    forwarded_for(out, head, bytes, edits)?;
    if !said.proto {
        let scheme: &[u8] = if edits.secure { b"https" } else { b"http" };
        out.put_all(&[b"X-Forwarded-Proto: ", scheme, b"\r\n"])?;
    }
    if !said.host && !head.host.is_empty() {
        out.put_all(&[b"X-Forwarded-Host: ", head.host.of(bytes), b"\r\n"])?;
    }
    Ok(())
}

/// All of `X-Forwarded-For` in one line: what a believed peer says, then the peer.
fn forwarded_for(
    out: &mut Writer,
    head: &Request,
    bytes: &[u8],
    edits: &RequestEdits,
) -> Result<(), Full> {
    let mut separator: &[u8] = b"X-Forwarded-For: ";
    if edits.trusted {
        let claims = head.fields.iter().filter(|field| field.id == Name::XForwardedFor);
        for claim in claims.filter(|claim| !claim.value.is_empty()) {
            out.put_all(&[separator, claim.value.of(bytes)])?;
            separator = b", ";
        }
    }
    if let Some(peer) = edits.peer {
        out.put(separator)?;
        out.ip(peer)?;
        separator = b", ";
    }
    if separator == b", " { out.put(b"\r\n") } else { Ok(()) }
}

/// Writes the head of a final response, always as HTTP/1.1 (RFC 9110 section 2.5); the framing and
/// the persistence are those a client of version `edits.to` understands.
pub fn response(
    out: &mut Writer,
    head: &Response,
    bytes: &[u8],
    edits: &ResponseEdits,
) -> Result<(), Full> {
    response_fields(out, head, bytes, edits)?;
    response_framing(out, head, edits.framing)?;
    match (edits.persistent && edits.framing != Framing::UntilClose, edits.to) {
        (false, _) => out.put(b"Connection: close\r\n")?,
        (true, Version::Http10) => out.put(b"Connection: keep-alive\r\n")?,
        (true, Version::Http11) => {}
    }
    out.put(b"\r\n")
}

/// Writes the head of a 101 (RFC 9110 section 15.2.2), judged by [`Response::read`]: the last of
/// HTTP on this connection. It has neither a length nor persistence, so of `edits` only what is
/// added as ordinary fields counts.
pub fn switching(
    out: &mut Writer,
    head: &Response,
    bytes: &[u8],
    edits: &ResponseEdits,
) -> Result<(), Full> {
    response_fields(out, head, bytes, &ResponseEdits { framing: Framing::None, ..*edits })?;
    if let Some(protocol) = head.get(Name::Upgrade) {
        upgrade(out, protocol.of(bytes))?;
    }
    out.put(b"\r\n")
}

fn upgrade(out: &mut Writer, protocol: &[u8]) -> Result<(), Full> {
    out.put_all(&[b"Connection: Upgrade\r\nUpgrade: ", protocol, b"\r\n"])
}

/// The status line and all fields of a response that are about the message, not the connection.
fn response_fields(
    out: &mut Writer,
    head: &Response,
    bytes: &[u8],
    edits: &ResponseEdits,
) -> Result<(), Full> {
    status_line(out, head, bytes)?;
    let mut dated = false;
    let removes = edits.fields.removes_any();
    let mut lines = KeptLines::default();
    for field in &head.fields {
        if field.id.is(OURS) {
            match field.id {
                Name::ContentLength => continue,
                Name::XRequestId if edits.request_id.is_some() => continue,
                Name::XBackendServer if edits.backend.is_some() => continue,
                Name::Trailer if edits.framing != Framing::Chunked => continue,
                id if id.is(HOP_BY_HOP) => continue,
                Name::Date => dated = true,
                _ => {}
            }
        }
        if removes && edits.fields.removes(field.name.of(bytes)) {
            continue;
        }
        if head.names_fields && is_named(field, &head.fields, bytes) {
            continue;
        }
        lines.keep(out, field, bytes)?;
    }
    lines.flush(out, bytes)?;
    if !edits.fields.lines.is_empty() {
        out.put(edits.fields.lines)?;
    }
    if !dated {
        out.put_all(&[b"Date: ", edits.date, b"\r\n"])?;
    }
    if let Some(backend) = edits.backend {
        out.put_all(&[b"X-Backend-Server: ", backend, b"\r\n"])?;
    }
    if let Some(id) = edits.request_id {
        out.put_all(&[b"X-Request-Id: ", id, b"\r\n"])?;
    }
    Ok(())
}

/// The length of a response body (RFC 9110 section 8.6): a `Content-Length` also tells about the
/// body that a `HEAD` or a 304 leaves out, and never stands in a 204.
fn response_framing(out: &mut Writer, head: &Response, framing: Framing) -> Result<(), Full> {
    match framing {
        Framing::Length(length) => number(out, b"Content-Length: ", length),
        Framing::Chunked => out.put(b"Transfer-Encoding: chunked\r\n"),
        Framing::UntilClose => Ok(()),
        Framing::None if head.status == 204 => Ok(()),
        Framing::None => match head.length {
            Some(length) => number(out, b"Content-Length: ", length),
            None => Ok(()),
        },
    }
}

/// Writes the head of an interim response (RFC 9110 section 15.2). Only for HTTP/1.1 clients:
/// others do not know them.
/// `removed`: names that stay behind.
pub fn interim(
    out: &mut Writer,
    head: &Response,
    bytes: &[u8],
    removed: &[String],
) -> Result<(), Full> {
    status_line(out, head, bytes)?;
    let mut lines = KeptLines::default();
    for field in &head.fields {
        let gone = matches!(field.id, Name::ContentLength | Name::Trailer)
            || field.id.is(HOP_BY_HOP)
            || (head.names_fields && is_named(field, &head.fields, bytes))
            || (!removed.is_empty() && names::is_among(field.name.of(bytes), removed));
        if !gone {
            lines.keep(out, field, bytes)?;
        }
    }
    lines.flush(out, bytes)?;
    out.put(b"\r\n")
}

fn status_line(out: &mut Writer, head: &Response, bytes: &[u8]) -> Result<(), Full> {
    let said = head.reason.of(bytes);
    let reason = if said.is_empty() { phrase(head.status).as_bytes() } else { said };
    out.put(b"HTTP/1.1 ")?;
    out.decimal(head.status.into())?;
    out.put_all(&[b" ", reason, b"\r\n"])
}

fn number(out: &mut Writer, name: &[u8], number: u64) -> Result<(), Full> {
    out.put(name)?;
    out.decimal(number)?;
    out.put(b"\r\n")
}

/// Field lines that stay. Neighbours are copied together: most of a head in one piece.
#[derive(Default)]
struct KeptLines {
    /// Written as they came, with the line end that follows; empty when nothing waits.
    start: usize,
    end: usize,
}

impl KeptLines {
    /// One more line, with one space behind the colon.
    fn keep(&mut self, out: &mut Writer, field: &Field, bytes: &[u8]) -> Result<(), Full> {
        let (name, value) = (field.name, field.value);
        let usual = value.start() == name.end() + 2 && bytes[name.end() + 1] == b' ';
        if usual && name.start() == self.end + 2 {
            self.end = value.end();
            return Ok(());
        }
        self.flush(out, bytes)?;
        if usual {
            (self.start, self.end) = (name.start(), value.end());
            return Ok(());
        }
        out.put_all(&[name.of(bytes), b": ", value.of(bytes), b"\r\n"])
    }

    /// Writes what waits; called once more at the end.
    fn flush(&mut self, out: &mut Writer, bytes: &[u8]) -> Result<(), Full> {
        if self.start == self.end {
            return Ok(());
        }
        let whole = Span::new(self.start, self.end);
        *self = KeptLines::default();
        out.put_all(&[whole.of(bytes), b"\r\n"])
    }
}

/// Whether `Connection` names this field, and may.
fn is_named(field: &Field, fields: &[Field], bytes: &[u8]) -> bool {
    !field.id.is(NEEDED) && connection::names(fields, bytes, field.name.of(bytes))
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::super::framing::outward;
    use super::super::head::{Limits, Progress};
    use super::super::response::Asked;
    use super::*;

    const EDITS: RequestEdits = RequestEdits {
        peer: Some(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1))),
        trusted: false,
        withheld: &[],
        fields: FieldEdits { removed: [&[]; 2], lines: b"" },
        path: PathEdits { strip: 0, before: [""; 2] },
        secure: false,
        host: None,
        request_id: b"id",
        upgrade: None,
    };
    const TRUSTED: RequestEdits = RequestEdits { trusted: true, ..EDITS };

    fn sent(text: &str, edits: &RequestEdits) -> String {
        let mut head = Request::default();
        assert_eq!(head.read(text.as_bytes(), &Limits::default()), Ok(Progress::Complete));
        let mut buffer = [0; 4096];
        let mut out = Writer::new(&mut buffer);
        request(&mut out, &head, text.as_bytes(), edits).unwrap();
        String::from_utf8(out.written().to_vec()).unwrap()
    }

    /// The lines that leave for a GET with these fields, those left out that always do.
    fn lines(fields: &str, edits: &RequestEdits) -> String {
        let text = sent(&format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n"), edits);
        let usual = ["GET / HTTP/1.1", "Host: a", "X-Request-Id: id", "Via: 1.1 tidegate", ""];
        let news: Vec<_> = text.split("\r\n").filter(|line| !usual.contains(line)).collect();
        news.join("|")
    }

    #[test]
    fn a_request_as_it_leaves() {
        assert_eq!(
            sent("GET /a HTTP/1.1\r\nUser-Agent: b\r\nHost: c\r\nX-D:e\r\n\r\n", &EDITS),
            "GET /a HTTP/1.1\r\nHost: c\r\nUser-Agent: b\r\nX-D: e\r\nX-Forwarded-For: 192.0.2.1\r\n\
             X-Forwarded-Proto: http\r\nX-Forwarded-Host: c\r\nX-Request-Id: id\r\nVia: 1.1 tidegate\r\n\r\n"
        );
        let edits = RequestEdits { secure: true, host: Some(b"up:1"), peer: None, ..EDITS };
        assert_eq!(
            sent("POST http://b?q HTTP/1.0\r\nContent-Length: 05\r\n\r\n", &edits),
            "POST /?q HTTP/1.1\r\nHost: up:1\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: b\r\n\
             X-Request-Id: id\r\nVia: 1.0 tidegate\r\nContent-Length: 5\r\n\r\n"
        );
    }

    #[test]
    fn targets_leave_in_origin_form() {
        let target = |line: &str| {
            let text =
                sent(&format!("{line} HTTP/1.1\r\nHost: a\r\nMax-Forwards: 5\r\n\r\n"), &EDITS);
            text.split(' ').nth(1).map(str::to_owned).unwrap()
        };
        assert_eq!(target("GET http://a"), "/");
        assert_eq!(target("GET http://a/b"), "/b");
        assert_eq!(target("GET http://a?b"), "/?b");
        assert_eq!(target("OPTIONS http://a"), "*");
        assert_eq!(target("OPTIONS http://a?b"), "/?b");
        assert_eq!(target("OPTIONS *"), "*");
        let text = sent(
            "OPTIONS * HTTP/1.1\r\nHost: a\r\nMax-Forwards: 5\r\nmax-forwards: 7\r\n\r\n",
            &EDITS,
        );
        assert_eq!(
            text.matches("Forwards").count() + text.matches("forwards").count(),
            1,
            "{text}"
        );
        assert!(text.contains("Max-Forwards: 4\r\n"));
    }

    const ANSWER: &str = "X-Forwarded-For: 192.0.2.1|X-Forwarded-Proto: http|X-Forwarded-Host: a";

    #[test]
    fn what_is_hop_by_hop_stays_behind() {
        for gone in [
            "Connection: close\r\nKeep-Alive: 5\r\nProxy-Connection: close\r\nTE: trailers\r\nUpgrade: h2c\r\n",
            "Proxy-Authorization: Basic a\r\nTrailer: X\r\nExpect: 100-continue\r\n",
            "Connection: X-A, x-b\r\nx-a: 1\r\nX-B: 2\r\nConnection: X-C\r\nx-c: 3\r\n",
            "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: a\r\n",
            "X_Forwarded_For: 10.0.0.1\r\nContent_Length: 3\r\nhost-: a\r\nConnection: host-\r\n",
            "Connection: X-Forwarded-For, Host, X-Request-Id, Via\r\nX-Request-Id: mine\r\n",
        ] {
            assert_eq!(lines(gone, &EDITS), ANSWER, "{gone:?}");
        }
        let kept =
            lines("Connection: Via, Content-Length\r\nVia: 1.1 b\r\nContent-Length: 0\r\n", &EDITS);
        assert_eq!(kept, format!("Via: 1.1 b|{ANSWER}|Content-Length: 0"));
    }

    const HANDSHAKE: &str = "Connection: keep-alive, Upgrade, sec-websocket-key, X-A\r\nX-A: b\r\n\
         Upgrade: h2c, WebSocket\r\nContent-Length: 0\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: chat\r\n";

    #[test]
    fn an_offer_leaves_as_one_protocol() {
        let key = *b"dGhlIHNhbXBsZSBub25jZQ==";
        let upgrade = |offer| RequestEdits { upgrade: Some(offer), ..EDITS };
        let fields = "Sec-WebSocket-Version: 13|Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==|\
                      Sec-WebSocket-Protocol: chat";
        assert_eq!(
            lines(HANDSHAKE, &upgrade(Offer::WebSocket { key })),
            format!("{fields}|{ANSWER}|Connection: Upgrade|Upgrade: websocket")
        );
        assert_eq!(lines(HANDSHAKE, &EDITS), format!("{fields}|{ANSWER}|Content-Length: 0"));
        let other =
            lines("Connection: upgrade\r\nUpgrade: a, TCP\r\n", &upgrade(Offer::Other(b"tcp")));
        assert_eq!(other, format!("{ANSWER}|Connection: Upgrade|Upgrade: tcp"));
    }

    #[test]
    fn only_a_trusted_peer_speaks_for_its_client() {
        let claims = "X-Forwarded-For: 10.0.0.1\r\nX-Forwarded-Proto: https\r\nForwarded: for=b\r\n\
                      X-Forwarded-Host: c\r\nX-Real-IP: d\r\nX-Forwarded-Port: 1\r\nX-Forwarded-For: e\r\n";
        assert_eq!(lines(claims, &EDITS), ANSWER);
        let kept = "X-Forwarded-Proto: https|Forwarded: for=b|X-Forwarded-Host: c|X-Real-IP: d|X-Forwarded-Port: 1";
        let chain = "X-Forwarded-For: 10.0.0.1, e, 192.0.2.1";
        assert_eq!(lines(claims, &TRUSTED), format!("{kept}|{chain}"));
        let stripping =
            format!("{claims}Connection: X-Forwarded-Proto, X-Real-IP, X-Forwarded-For\r\n");
        assert_eq!(lines(&stripping, &TRUSTED), format!("{kept}|{chain}"));
        assert_eq!(lines("X-Forwarded-For:\r\n", &TRUSTED), ANSWER);
        let unix = RequestEdits { peer: None, ..TRUSTED };
        assert!(lines(claims, &unix).ends_with("|X-Forwarded-For: 10.0.0.1, e"));
        assert_eq!(lines("X-Forwarded: f\r\n", &EDITS), ANSWER);
        assert!(lines("X-Forwarded: f\r\n", &TRUSTED).starts_with("X-Forwarded: f|"));
        let ipv6 = RequestEdits { peer: Some(IpAddr::V6(Ipv6Addr::LOCALHOST)), ..EDITS };
        assert!(lines("", &ipv6).starts_with("X-Forwarded-For: ::1|"));
    }

    #[test]
    fn what_is_withheld_stays_behind_in_any_spelling_and_proxy_always() {
        let names = ["True-Client-IP".to_owned(), "X-Original-URL".to_owned()];
        let withheld = RequestEdits { withheld: &names, ..TRUSTED };
        let fields = "X-A: 1\r\ntrue_client-ip: b\r\nTrue-Client: c\r\nX-Original-URL: d\r\n";
        assert_eq!(lines(fields, &withheld), format!("X-A: 1|True-Client: c|{ANSWER}"));
        let kept = "X-A: 1|true_client-ip: b|True-Client: c|X-Original-URL: d";
        assert_eq!(lines(fields, &EDITS), format!("{kept}|{ANSWER}"));
        assert_eq!(lines("Proxy: a\r\nX-B: 2\r\n", &TRUSTED), format!("X-B: 2|{ANSWER}"));
    }

    #[test]
    fn the_body_is_announced_once() {
        let post = |fields: &str| {
            let text = sent(&format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n"), &EDITS);
            text.split_once("Via: 1.1 tidegate\r\n").unwrap().1.to_owned()
        };
        assert_eq!(post(""), "\r\n");
        assert_eq!(post("Content-Length: 000\r\n"), "Content-Length: 0\r\n\r\n");
        assert_eq!(post("transfer-encoding: CHUNKED\r\n"), "Transfer-Encoding: chunked\r\n\r\n");
        assert_eq!(
            post("Expect: 100-continue\r\nContent-Length: 7\r\n"),
            "Expect: 100-continue\r\nContent-Length: 7\r\n\r\n"
        );
        let chunked =
            "POST / HTTP/1.1\r\nHost: a\r\nTrailer: X\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert!(sent(chunked, &EDITS).contains("\r\nTrailer: X\r\n"));
    }

    #[test]
    fn a_small_buffer_is_full_and_nothing_else() {
        let text = b"GET / HTTP/1.1\r\nHost: a\r\nMax-Forwards: 3\r\n\r\n";
        let mut head = Request::default();
        assert_eq!(head.read(text, &Limits::default()), Ok(Progress::Complete));
        let mut buffer = [0; 512];
        let mut out = Writer::new(&mut buffer);
        request(&mut out, &head, text, &EDITS).unwrap();
        let needed = out.len();
        for room in 0..needed {
            assert_eq!(
                request(&mut Writer::new(&mut buffer[..room]), &head, text, &EDITS),
                Err(Full)
            );
        }
        assert_eq!(request(&mut Writer::new(&mut buffer[..needed]), &head, text, &EDITS), Ok(()));
    }

    fn answered(text: &str, asked: Method, to: Version, persistent: bool) -> String {
        let mut head = Response::default();
        let bytes = text.as_bytes();
        assert_eq!(head.read(bytes, &Limits::default(), asked), Ok(Progress::Complete));
        let mut buffer = [0; 4096];
        let mut out = Writer::new(&mut buffer);
        let framing = outward(head.framing, to);
        let edits = ResponseEdits {
            to,
            persistent,
            framing,
            fields: FieldEdits { removed: [&[]; 2], lines: b"" },
            date: b"now",
            backend: None,
            request_id: None,
        };
        response(&mut out, &head, bytes, &edits).unwrap();
        String::from_utf8(out.written().to_vec()).unwrap()
    }

    fn to_get(text: &str) -> String {
        answered(text, Method::Get, Version::Http11, true)
    }

    #[test]
    fn a_response_as_it_leaves() {
        assert_eq!(
            to_get(
                "HTTP/1.0 200\r\nConnection: keep-alive, x-a\r\nX-A: 1\r\nContent-Length: 3\r\nServer: b\r\n\r\n"
            ),
            "HTTP/1.1 200 OK\r\nServer: b\r\nDate: now\r\nContent-Length: 3\r\n\r\n"
        );
        assert_eq!(
            to_get(
                "HTTP/1.1 299 Odd one\r\nDate: then\r\nProxy-Authenticate: a\r\nKeep-Alive: 5\r\n\r\n"
            ),
            "HTTP/1.1 299 Odd one\r\nDate: then\r\nTransfer-Encoding: chunked\r\n\r\n"
        );
    }

    #[test]
    fn lengths_where_they_mean_something() {
        let end = |text: String| text.split_once("Date: now\r\n").unwrap().1.to_owned();
        let some = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n";
        assert_eq!(
            end(answered(some, Method::Head, Version::Http11, true)),
            "Content-Length: 9\r\n\r\n"
        );
        assert_eq!(
            end(to_get("HTTP/1.1 304 x\r\nContent-Length: 9\r\n\r\n")),
            "Content-Length: 9\r\n\r\n"
        );
        assert_eq!(end(to_get("HTTP/1.1 304 x\r\n\r\n")), "\r\n");
        assert_eq!(end(to_get("HTTP/1.1 204 x\r\nContent-Length: 0\r\n\r\n")), "\r\n");
        assert_eq!(
            end(to_get("HTTP/1.1 200 x\r\nContent-Length: 0\r\n\r\n")),
            "Content-Length: 0\r\n\r\n"
        );
    }

    #[test]
    fn an_old_client_gets_what_it_understands() {
        let end = |text: String| text.split_once("Date: now\r\n").unwrap().1.to_owned();
        let old = |text, persistent| end(answered(text, Method::Get, Version::Http10, persistent));
        let chunked = "HTTP/1.1 200 OK\r\nTrailer: X\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert_eq!(old(chunked, true), "Connection: close\r\n\r\n");
        assert!(!answered(chunked, Method::Get, Version::Http10, true).contains("Trailer"));
        let fixed = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n";
        assert_eq!(old(fixed, true), "Content-Length: 1\r\nConnection: keep-alive\r\n\r\n");
        assert_eq!(old(fixed, false), "Content-Length: 1\r\nConnection: close\r\n\r\n");
    }

    #[test]
    fn our_own_fields_replace_those_of_the_upstream() {
        let text = b"HTTP/1.1 200 OK\r\nX-Backend-Server: x\r\nX-Request-Id: y\r\nContent-Length: 0\r\n\r\n";
        let mut head = Response::default();
        assert_eq!(head.read(text, &Limits::default(), Method::Get), Ok(Progress::Complete));
        let mut edits = ResponseEdits {
            to: Version::Http11,
            persistent: true,
            framing: Framing::None,
            fields: FieldEdits { removed: [&[]; 2], lines: b"" },
            date: b"now",
            backend: Some(b"http://b:1"),
            request_id: Some(b"id"),
        };
        let mut buffer = [0; 512];
        let mut out = Writer::new(&mut buffer);
        response(&mut out, &head, text, &edits).unwrap();
        let ours = "HTTP/1.1 200 OK\r\nDate: now\r\nX-Backend-Server: http://b:1\r\n\
                    X-Request-Id: id\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(std::str::from_utf8(out.written()), Ok(ours));
        (edits.backend, edits.request_id) = (None, None);
        let mut out = Writer::new(&mut buffer);
        response(&mut out, &head, text, &edits).unwrap();
        assert!(
            std::str::from_utf8(out.written())
                .unwrap()
                .contains("X-Backend-Server: x\r\nX-Request-Id: y\r\n")
        );
    }

    #[test]
    fn a_101_switches_and_says_to_what() {
        let text = b"HTTP/1.1 101 Go on\r\nUpgrade: WebSocket\r\nX-A: b\r\nServer: c\r\nContent-Length: 0\r\n\
            Connection: upgrade, x-a, Sec-WebSocket-Accept\r\nKeep-Alive: 5\r\nTrailer: X\r\n\
            Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
        let offer = Some(Offer::WebSocket { key: *b"dGhlIHNhbXBsZSBub25jZQ==" });
        let mut head = Response::default();
        let asked = Asked { method: Method::Get, offer };
        assert_eq!(head.read(text, &Limits::default(), asked), Ok(Progress::Complete));
        let edits = ResponseEdits {
            to: Version::Http11,
            persistent: false,
            framing: Framing::Chunked,
            fields: FieldEdits { removed: [&[]; 2], lines: b"" },
            date: b"now",
            backend: None,
            request_id: Some(b"id"),
        };
        let mut buffer = [0; 512];
        let mut out = Writer::new(&mut buffer);
        switching(&mut out, &head, text, &edits).unwrap();
        let ours = "HTTP/1.1 101 Go on\r\nServer: c\r\n\
            Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nDate: now\r\nX-Request-Id: id\r\n\
            Connection: Upgrade\r\nUpgrade: WebSocket\r\n\r\n";
        assert_eq!(std::str::from_utf8(out.written()), Ok(ours));
    }

    #[test]
    fn an_interim_response_has_no_length() {
        let text = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nContent-Length: 0\r\nConnection: x-b\r\nX-B: c\r\n\r\n";
        let mut head = Response::default();
        assert_eq!(head.read(text, &Limits::default(), Method::Get), Ok(Progress::Complete));
        let mut buffer = [0; 512];
        let mut out = Writer::new(&mut buffer);
        interim(&mut out, &head, text, &[]).unwrap();
        assert_eq!(out.written(), b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n");
    }
}
