//! A client's connection between requests.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::core::{ClientPermit, ClientPermits, Epoch};
use crate::config::{Listen, ListenerSpec};
use crate::io::clock::Moment;
use crate::io::reactor::Idle;
use crate::io::stream::Stream;
use crate::policy;
use crate::policy::gate::ShownCertificate;
use ipnet::IpNet;

/// What is kept of a client while nothing happens: no buffer, no large future.
#[derive(Debug)]
pub(super) struct Client {
    /// The connection.
    pub stream: Stream,
    /// The peer; `None` over a Unix socket.
    pub peer: Option<SocketAddr>,
    /// Where it came in.
    pub listen: Rc<Listen>,
    /// It is believed what it says about its own client.
    pub trusted: bool,
    /// The number of the epoch that says so.
    pub judged: u32,
    /// It has to begin with a header of the PROXY protocol, and that has not come yet.
    pub awaits_header: bool,
    /// Counts it among the connections of its address, where those are counted.
    pub permit: Option<Box<ClientPermit>>,
    /// It has been answered at least once.
    pub served: bool,
    /// The certificate that it has shown.
    pub certificate: Option<Box<ShownCertificate>>,
    /// The octets of an unfinished head, and when the first of them came. They wait here, not in a
    /// buffer, so that slow heads cannot use the pool up.
    pub unfinished: Option<Box<Unfinished>>,
}

/// A head that has not arrived whole.
#[derive(Debug)]
pub(super) struct Unfinished {
    pub octets: Vec<u8>,
    pub since: Moment,
}

impl Client {
    /// A client whose trust is judged by `epoch`.
    pub fn new(
        stream: Stream,
        peer: Option<SocketAddr>,
        listen: Rc<Listen>,
        epoch: &Epoch,
    ) -> Client {
        let spec = &epoch.plan.listener;
        let trusted = is_trusted(&spec.trusted, peer);
        let awaits_header = !spec.proxy_protocol.is_empty() && announces(spec, &listen, peer);
        Client {
            stream,
            peer,
            listen,
            trusted,
            judged: epoch.number,
            awaits_header,
            permit: None,
            served: false,
            certificate: None,
            unfinished: None,
        }
    }

    /// The header of the PROXY protocol has come: it tells who the client is, unless its sender speaks for itself.
    pub fn announced(&mut self, source: Option<SocketAddr>, epoch: &Epoch) {
        self.awaits_header = false;
        if let Some(source) = source {
            self.peer = Some(SocketAddr::new(source.ip().to_canonical(), source.port()));
            self.trusted = is_trusted(&epoch.plan.listener.trusted, self.peer);
        }
    }

    /// Counts it among the connections of its address. `false`: there are as many as there may be. Proxies that are
    /// trusted have any number.
    pub fn take_permit(&mut self, permits: &Arc<ClientPermits>, listener: &ListenerSpec) -> bool {
        let (Some(most), Some(peer)) = (listener.max_client_connections, self.peer) else {
            return true;
        };
        if !self.trusted && !self.awaits_header && self.permit.is_none() {
            self.permit = permits.take(peer.ip(), most);
            return self.permit.is_some();
        }
        true
    }

    /// Judges its trust anew where another plan is in force by now.
    pub fn judge(&mut self, epoch: &Epoch) {
        if self.judged != epoch.number {
            self.trusted = is_trusted(&epoch.plan.listener.trusted, self.peer);
            self.judged = epoch.number;
        }
    }

    /// The names of further fields that it may not send.
    pub fn withheld<'p>(&self, listener: &'p ListenerSpec) -> &'p [String] {
        policy::withheld(listener, self.trusted)
    }

    /// Sets the deadline for what is waited for next: the rest of a head, or a new request.
    pub fn expect_request(&self, listener: &ListenerSpec) {
        let [new, kept, _] = idle_waits(listener);
        match &self.unfinished {
            Some(unfinished) => {
                self.stream.idle_until(unfinished.since + listener.read_timeout, Idle::Begun)
            }
            None if self.served => self.stream.idle_for(kept, Idle::Kept),
            None => self.stream.idle_for(new, Idle::New),
        }
    }
}

/// How long a client may be idle, in the order of [`Idle`].
pub(super) fn idle_waits(listener: &ListenerSpec) -> [Duration; 3] {
    let ListenerSpec { read_timeout, idle_timeout, .. } = *listener;
    [read_timeout.min(idle_timeout), idle_timeout, read_timeout]
}

/// Does whoever connects from there begin with a header of the PROXY protocol? Peers of a Unix socket cannot be named.
fn announces(spec: &ListenerSpec, listen: &Listen, peer: Option<SocketAddr>) -> bool {
    let Some(peer) = peer else { return false };
    let address = peer.ip().to_canonical();
    spec.proxy_protocol.iter().any(|(at, network)| {
        at.as_ref().is_none_or(|at| at == listen) && network.contains(&address)
    })
}

/// Is `peer` in one of the trusted networks? An IPv4 address mapped into IPv6 counts as the IPv4 address it is.
fn is_trusted(networks: &[IpNet], peer: Option<SocketAddr>) -> bool {
    peer.is_some_and(|peer| {
        networks.iter().any(|network| network.contains(&peer.ip().to_canonical()))
    })
}
