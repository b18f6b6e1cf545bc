//! What is changed of a request on its way to an upstream.

use std::net::IpAddr;
use std::sync::LazyLock;

use crate::config::{ExchangeSpec, Forward, HostHeader, ListenerSpec};
use crate::http::forward::{FieldEdits, PathEdits, RequestEdits};
use crate::http::{Offer, Request, names};

/// Fields that tell of certificates of clients.
static OF_CERTIFICATES: LazyLock<[String; 4]> =
    LazyLock::new(|| names::OF_CERTIFICATES.map(str::to_owned));

/// The names of further fields that a peer who is `trusted` or not may not send. Where we look at certificates, nobody
/// else is believed about them: many a proxy passes on what it does not know.
#[inline]
pub fn withheld(listener: &ListenerSpec, trusted: bool) -> &[String] {
    let asks = || listener.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some());
    match trusted {
        false => &listener.trusted_names,
        true if asks() => &*OF_CERTIFICATES,
        true => &[],
    }
}

/// What the changes rest on.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'a> {
    /// The request.
    pub head: &'a Request,
    /// Who sent it.
    pub peer: Option<IpAddr>,
    /// What that one says about its own client is believed.
    pub trusted: bool,
    /// The client came over TLS.
    pub secure: bool,
    /// The identity the request goes by.
    pub id: &'a [u8],
    /// What its route and its pool say.
    pub spec: &'a ExchangeSpec,
    /// With which path.
    pub forward: &'a Forward,
    /// What the upstream's URL has before every path, and its authority.
    pub upstream: (&'a str, &'a str),
    /// The field lines that are put in: see [`super::lines`].
    pub lines: &'a [u8],
    /// Names of fields that the gate takes out: credentials, and what it alone may say.
    pub stripped: &'a [String],
    /// Names of further fields that this client may not send.
    pub withheld: &'a [String],
    /// What the upstream is offered to switch to.
    pub offer: Option<Offer<'a>>,
}

impl<'a> Outgoing<'a> {
    /// The changes.
    #[inline]
    pub fn edits(self) -> RequestEdits<'a> {
        let Outgoing { spec, forward, upstream: (base, authority), .. } = self;
        RequestEdits {
            peer: self.peer,
            trusted: self.trusted,
            withheld: self.withheld,
            fields: FieldEdits {
                removed: [&spec.request_header.removed, self.stripped],
                lines: self.lines,
            },
            path: PathEdits {
                strip: forward.strip_prefix.as_ref().map_or(0, |(_, segments)| *segments),
                before: [base, &forward.add_prefix],
            },
            secure: self.secure,
            host: match spec.host {
                HostHeader::Pass if !self.head.host.is_empty() => None,
                _ => Some(authority.as_bytes()),
            },
            request_id: self.id,
            upgrade: self.offer,
        }
    }
}
