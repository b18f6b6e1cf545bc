//! The request as it leaves.

use super::super::check::Terms;
use super::super::session::{Exchange, written};
use super::body::Stage;
use super::transfer::ExchangeError;
use crate::config::HostHeader;
use crate::http::forward::{self, FieldEdits, PathEdits, RequestEdits};
use crate::http::upgrade::Offer;
use crate::http::{Framing, Reason};
use crate::io::buffer::{Buf, Permit};
use crate::policy;
use crate::upstream::Upstream;

/// Its head, in a buffer of `permit`; `head`: the octets of the one that came.
pub(super) fn head(
    exchange: &Exchange,
    Terms { forward, spec, .. }: Terms<'_>,
    head: &[u8],
    upstream: &Upstream,
    permit: &Permit<'_>,
    offer: Option<Offer<'_>>,
) -> Result<Buf, ExchangeError> {
    let Exchange { epoch, client, request, .. } = exchange;
    let rules = &spec.request_header;
    let lines = match rules.lines.is_empty() {
        true => Vec::new(),
        false => policy::lines(rules, &exchange.values(head, upstream.name())),
    };
    let edits = RequestEdits {
        peer: client.peer.map(|peer| peer.ip()),
        trusted: client.trusted,
        withheld: client.withheld(&epoch.plan.listener),
        fields: FieldEdits { removed: &rules.removed, lines: &lines },
        path: PathEdits {
            strip: forward.strip_prefix.as_ref().map_or(0, |(_, segments)| *segments),
            before: [&upstream.base, &forward.add_prefix],
        },
        secure: false,
        host: match spec.host {
            HostHeader::Pass if !request.host.is_empty() => None,
            _ => Some(upstream.authority.as_bytes()),
        },
        request_id: exchange.id(head),
        upgrade: offer,
    };
    written(permit.take(), epoch.head_most(), |out| forward::request(out, request, head, &edits))
        .map_err(|_| Reason::ForwardedHeadTooLarge.into())
}

/// What its body goes through: a length was judged already, so only what does not tell it is counted on the way.
pub(super) fn stages(framing: Framing, most: Option<u64>) -> Vec<Stage> {
    match (framing, most) {
        (Framing::Chunked | Framing::UntilClose, Some(left)) => vec![Stage::Limit { left }],
        _ => Vec::new(),
    }
}
