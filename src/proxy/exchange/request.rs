//! The request as it leaves.

use std::net::SocketAddr;

use super::super::check::Terms;
use super::super::session::{Exchange, written};
use super::body::Stage;
use super::transfer::ExchangeError;
use crate::config::ProxyVersion;
use crate::http::forward;
use crate::http::proxy_protocol;
use crate::http::upgrade::Offer;
use crate::http::{Framing, Reason};
use crate::io::buffer::{Buf, Permit};
use crate::policy::{self, Outgoing};
use crate::upstream::{Pool, Upstream};

/// Its head, in a buffer of `permit`; `head`: the octets of the one that came.
#[inline(always)]
pub(super) fn head(
    exchange: &Exchange,
    Terms { pool, forward, spec }: Terms<'_>,
    head: &[u8],
    upstream: &Upstream,
    permit: &Permit<'_>,
    offer: Option<Offer<'_>>,
) -> Result<Buf, ExchangeError> {
    let Exchange { epoch, client, request, facts, .. } = exchange;
    let rules = &spec.request_header;
    let mut lines = match rules.lines.is_empty() {
        true => Vec::new(),
        false => policy::lines(rules, &exchange.values(head, upstream.name()), false),
    };
    let mut stripped: &[String] = &[];
    if let Some(gate) = exchange.gate() {
        stripped = gate.stripped(&exchange.match_input(head));
        if let Some(who) = facts.gate.get().and_then(|found| found.who.as_ref()) {
            lines.extend_from_slice(&who.lines);
        }
    }
    if let Some(shown) = &client.certificate
        && shown.holds(exchange.worker.core.reactor.clock().unix_s())
    {
        lines.extend_from_slice(&shown.lines);
    }
    let outgoing = Outgoing {
        head: request,
        peer: client.peer.map(|peer| peer.ip()),
        trusted: client.trusted,
        secure: client.stream.is_secure(),
        id: exchange.id(head),
        spec,
        forward,
        upstream: (&upstream.base, &upstream.authority),
        lines: &lines,
        stripped,
        withheld: client.withheld(&epoch.plan.listener),
        offer,
    };
    let edits = outgoing.edits();
    // What rules put in has room of its own.
    let most = epoch.head_most() + lines.len();
    // Before TLS it has left already.
    let preface = match pool.proxy_protocol() {
        Some(version) if upstream.is_plain() => preface(version, exchange, head),
        _ => Vec::new(),
    };
    let most = most + preface.len();
    written(permit.take(), most, |out| {
        out.put(&preface)?;
        forward::request(out, request, head, &edits)
    })
    .map_err(|_| Reason::ForwardedHeadTooLarge.into())
}

/// What a connection to an upstream begins with that wants to know who the client is. Of one that a trusted proxy
/// speaks for the port is not known, and is 0.
#[cold]
fn preface(version: ProxyVersion, exchange: &Exchange, head: &[u8]) -> Vec<u8> {
    let connection = &exchange.client;
    let source = connection.peer.map(|peer| match exchange.match_input(head).client() {
        Some(client) if client != peer.ip().to_canonical() => SocketAddr::new(client, 0),
        _ => peer,
    });
    let mut out = Vec::new();
    let ends = source.zip(connection.stream.local());
    match version {
        ProxyVersion::V1 => proxy_protocol::write_v1(ends, &mut out),
        ProxyVersion::V2 => proxy_protocol::write_v2(ends, &mut out),
    }
    out
}

/// The same, where TLS stands between it and the request.
pub fn preface_of_tls(
    exchange: &Exchange,
    head: &[u8],
    pool: &Pool,
    upstream: &Upstream,
) -> Vec<u8> {
    let version = pool.proxy_protocol().filter(|_| !upstream.is_plain());
    version.map_or_else(Vec::new, |version| preface(version, exchange, head))
}

/// What its body goes through: a length was judged already, so only what does not tell it is counted on the way.
pub(super) fn stages(framing: Framing, most: Option<u64>) -> Vec<Stage> {
    match (framing, most) {
        (Framing::Chunked | Framing::UntilClose, Some(left)) => vec![Stage::Limit { left }],
        _ => Vec::new(),
    }
}
