//! What is changed of a request on its way to an upstream.

use super::fill::Values;
use crate::config::{ExchangeSpec, Forward, HostHeader};
use crate::http::Offer;
use crate::http::forward::{FieldEdits, PathEdits, RequestEdits};

/// What the changes rest on, besides the request.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'a> {
    /// What its route and its pool say.
    pub spec: &'a ExchangeSpec,
    /// With which path.
    pub forward: &'a Forward,
    /// What the upstream's URL has before every path, and its authority.
    pub upstream: (&'a str, &'a str),
    /// The field lines that are put in: see [`super::lines`].
    pub lines: &'a [u8],
    /// Names of further fields that this client may not send.
    pub withheld: &'a [String],
    /// What the upstream is offered to switch to.
    pub offer: Option<Offer<'a>>,
}

/// The changes.
#[inline]
pub fn request_edits<'a>(values: &Values<'a>, outgoing: Outgoing<'a>) -> RequestEdits<'a> {
    let Outgoing { spec, forward, upstream: (base, authority), lines, withheld, offer } = outgoing;
    RequestEdits {
        peer: values.asked.peer,
        trusted: !values.asked.trusted.is_empty(),
        withheld,
        fields: FieldEdits { removed: &spec.request_header.removed, lines },
        path: PathEdits {
            strip: forward.strip_prefix.as_ref().map_or(0, |(_, segments)| *segments),
            before: [base, &forward.add_prefix],
        },
        secure: values.secure,
        host: match spec.host {
            HostHeader::Pass if !values.asked.head.host.is_empty() => None,
            _ => Some(authority.as_bytes()),
        },
        request_id: values.id,
        upgrade: offer,
    }
}
