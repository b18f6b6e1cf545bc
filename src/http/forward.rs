//! The heads that leave: for every head accepted exactly one, and it has one meaning only.
//!
//! Everything hop-by-hop goes (RFC 9110 section 7.6.1): a literal list, and what `Connection` names unless we or the
//! framing need it. `Trailer` stays as long as trailers do, in chunked bodies. The three `Proxy-...` fields of
//! authentication go as well: they are between a client and the proxy it chose (section 11.7), which tidegate is not,
//! so credentials for a proxy must not reach an origin.

use std::net::IpAddr;

use super::fields::{Field, Name, Span};
use super::framing::Framing;
use super::head::{Method, Request, Response, Version};
use super::session;
use super::write::{Full, SELF, Writer, phrase};

/// What tidegate changes in a request.
#[derive(Clone, Copy, Debug)]
pub struct RequestEdits<'a> {
    /// Who is connected; `None` over a Unix socket.
    pub peer: Option<IpAddr>,
    /// What the peer says about its own client is believed: `X-Forwarded-For` is appended to, the others are kept.
    /// Otherwise all such claims (`X-Forwarded-*`, `Forwarded`, `X-Real-IP`) are replaced or removed.
    pub trusted: bool,
    /// The client came over TLS.
    pub secure: bool,
    /// Replaces `Host`. Give the upstream's own authority also when the request has none (HTTP/1.0).
    pub host: Option<&'a [u8]>,
    /// `X-Request-Id`.
    pub request_id: &'a [u8],
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
    /// `Date`, if the upstream sent none.
    pub date: &'a [u8],
    /// `X-Backend-Server`; `None` lets that of the upstream through.
    pub backend: Option<&'a [u8]>,
    /// `X-Request-Id`; `None` lets that of the upstream through.
    pub request_id: Option<&'a [u8]>,
}

/// Writes the head of a request, in HTTP/1.1.
pub fn request(
    out: &mut Writer,
    head: &Request,
    bytes: &[u8],
    edits: &RequestEdits,
) -> Result<(), Full> {
    out.put_all(&[head.method_text.of(bytes), b" "])?;
    target(out, head, bytes)?;
    let host = edits.host.unwrap_or(head.host.of(bytes));
    out.put_all(&[b" HTTP/1.1\r\nHost: ", host, b"\r\n"])?;
    let mut said = Said::default();
    for field in &head.fields {
        match field.id {
            Name::Host
            | Name::ContentLength
            | Name::XRequestId
            | Name::Expect
            | Name::XForwardedFor => continue,
            Name::MaxForwards if head.max_forwards.is_some() => continue,
            Name::Trailer if head.framing != Framing::Chunked => continue,
            id if is_claim(id) && !edits.trusted => continue,
            id if is_hop_by_hop(id) => continue,
            Name::XForwardedProto => said.proto = true,
            Name::XForwardedHost => said.host = true,
            _ => {}
        }
        if head.names_fields && is_named(field, &head.fields, bytes) {
            continue;
        }
        line(out, field, bytes)?;
    }
    forwarded(out, head, bytes, edits, said)?;
    out.put_all(&[b"X-Request-Id: ", edits.request_id, b"\r\n"])?;
    let received = if head.version == Version::Http10 { b"Via: 1.0 " } else { b"Via: 1.1 " };
    out.put_all(&[received, SELF, b"\r\n"])?;
    if let Some(hops) = head.max_forwards {
        number(out, b"Max-Forwards: ", hops.saturating_sub(1))?;
    }
    if head.expects_continue {
        out.put(b"Expect: 100-continue\r\n")?;
    }
    match head.framing {
        Framing::Length(length) => number(out, b"Content-Length: ", length)?,
        Framing::Chunked => out.put(b"Transfer-Encoding: chunked\r\n")?,
        // An empty POST says so.
        _ if head.has_length => out.put(b"Content-Length: 0\r\n")?,
        _ => {}
    }
    out.put(b"\r\n")
}

/// The target in origin-form, or `*` (RFC 9112 sections 3.2.1 and 3.2.4).
fn target(out: &mut Writer, head: &Request, bytes: &[u8]) -> Result<(), Full> {
    let path = head.path.of(bytes);
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

/// Writes the head of a final response, always as HTTP/1.1 (RFC 9110 section 2.5); the framing and the persistence
/// are those a client of version `edits.to` understands.
pub fn response(
    out: &mut Writer,
    head: &Response,
    bytes: &[u8],
    edits: &ResponseEdits,
) -> Result<(), Full> {
    status_line(out, head, bytes)?;
    let mut dated = false;
    for field in &head.fields {
        match field.id {
            Name::ContentLength => continue,
            Name::XRequestId if edits.request_id.is_some() => continue,
            Name::XBackendServer if edits.backend.is_some() => continue,
            Name::Trailer if edits.framing != Framing::Chunked => continue,
            id if is_hop_by_hop(id) => continue,
            Name::Date => dated = true,
            _ => {}
        }
        if head.names_fields && is_named(field, &head.fields, bytes) {
            continue;
        }
        line(out, field, bytes)?;
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
    response_framing(out, head, edits.framing)?;
    match (edits.persistent && edits.framing != Framing::UntilClose, edits.to) {
        (false, _) => out.put(b"Connection: close\r\n")?,
        (true, Version::Http10) => out.put(b"Connection: keep-alive\r\n")?,
        (true, Version::Http11) => {}
    }
    out.put(b"\r\n")
}

/// The length of a response body (RFC 9110 section 8.6): a `Content-Length` also tells about the body that a `HEAD` or
/// a 304 leaves out, and never stands in a 204.
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

/// Writes the head of an interim response (RFC 9110 section 15.2). Only for HTTP/1.1 clients: others do not know them.
pub fn interim(out: &mut Writer, head: &Response, bytes: &[u8]) -> Result<(), Full> {
    status_line(out, head, bytes)?;
    for field in &head.fields {
        let gone = matches!(field.id, Name::ContentLength | Name::Trailer)
            || is_hop_by_hop(field.id)
            || (head.names_fields && is_named(field, &head.fields, bytes));
        if !gone {
            line(out, field, bytes)?;
        }
    }
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

/// Writes a field line as it came, with one space behind the colon.
fn line(out: &mut Writer, field: &Field, bytes: &[u8]) -> Result<(), Full> {
    let usual = field.value.start() == field.name.end() + 2 && bytes[field.name.end() + 1] == b' ';
    if usual {
        let whole = Span::new(field.name.start(), field.value.end());
        out.put(whole.of(bytes))?;
    } else {
        out.put_all(&[field.name.of(bytes), b": ", field.value.of(bytes)])?;
    }
    out.put(b"\r\n")
}

/// Fields about one connection, not about the message. `Trailer` is not among them: it is about the body.
fn is_hop_by_hop(id: Name) -> bool {
    matches!(
        id,
        Name::Connection
            | Name::KeepAlive
            | Name::ProxyConnection
            | Name::Te
            | Name::TransferEncoding
            | Name::Upgrade
            | Name::ProxyAuthenticate
            | Name::ProxyAuthenticationInfo
            | Name::ProxyAuthorization
    )
}

/// What a proxy says about the client before it.
fn is_claim(id: Name) -> bool {
    matches!(
        id,
        Name::XForwardedFor
            | Name::XForwardedProto
            | Name::XForwardedHost
            | Name::XForwardedOther
            | Name::XRealIp
            | Name::Forwarded
    )
}

/// Whether `Connection` names this field and may: not the ones that a message needs to be understood, nor the trail
/// that proxies leave. RFC 9110 section 7.6.1 forbids senders to name those; doing nothing about it is the safe answer.
fn is_named(field: &Field, fields: &[Field], bytes: &[u8]) -> bool {
    let needed = is_claim(field.id)
        || matches!(
            field.id,
            Name::Via
                | Name::Date
                | Name::Trailer
                | Name::MaxForwards
                | Name::XRequestId
                | Name::XBackendServer
        );
    !needed && session::names(fields, bytes, field.name.of(bytes))
}
