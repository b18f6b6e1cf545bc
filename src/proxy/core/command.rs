//! What the control plane and a core write to each other.

use std::convert::Infallible;
use std::sync::Arc;

use flume::{Receiver, Sender};

use super::runtime::Runtime;
use super::spec::OpenListener;
use crate::config::Listen;
use crate::http::{Method, Reply};

use crate::io::address::Address;
use crate::policy::gate::{Answer, AuthQuestion};
use crate::stats::UpstreamState;
use crate::upstream::{BreakerStage, Outcome};

/// From the control plane to a core.
#[derive(Clone, Debug)]
pub enum Command {
    /// Requests that begin from now on go by this plan; those under way, and tunnels, end under theirs.
    Adopt(Adoption),
    /// The addresses of an upstream's name.
    Resolved(Arc<UpstreamState>, Arc<[Address]>),
    /// Checks have found an upstream down, or not down any more.
    Health(Arc<UpstreamState>, bool),
    /// Begin to accept connections.
    Accept,
    /// Accept connections at one more socket: it is taken out of this channel.
    Listen(Receiver<OpenListener>),
    /// A page that was asked for has been sent: whoever waits for it goes on.
    Answered,
    /// Accept what waits already at the sockets of this address, and close them.
    Unlisten(Listen),
    /// Accept what waits already and no more, finish what is under way, close what is idle.
    Drain,
    /// Close something idle: another core lacks this.
    MakeRoom(Lack),
    /// End everything: tunnels with a Close where that is possible, the rest at once.
    Stop,
}

/// A plan for a core to go by.
#[derive(Clone, Debug)]
pub struct Adoption {
    /// The plan, linked.
    pub runtime: Arc<Runtime>,
    /// Where upstreams are that are new in it and known by name.
    pub addresses: Arc<[Addresses]>,
    /// Gone once the core goes by the plan.
    _pending: Sender<Infallible>,
}

/// An upstream, and the addresses of its name.
pub type Addresses = (Arc<UpstreamState>, Arc<[Address]>);

impl Adoption {
    /// For all cores; the receiver is disconnected when the last of them goes by it.
    pub fn new(
        runtime: Arc<Runtime>,
        addresses: Arc<[Addresses]>,
    ) -> (Adoption, Receiver<Infallible>) {
        let (pending, adopted) = flume::bounded(0);
        (Adoption { runtime, addresses, _pending: pending }, adopted)
    }
}

/// From a core to the control plane.
#[derive(Clone, Debug)]
pub enum Event {
    /// An upstream known by name could not be connected to: resolve it again.
    Unreachable(Arc<UpstreamState>),
    /// An upstream could not be connected to, or could, where the last attempt had failed or there was none.
    Changed(Change),
    /// The breaker of an upstream has opened or closed.
    Breaker(BreakerReport),
    /// A client asks for what the admin shows, where a route says that it may.
    Page(Box<PageRequest>, PageSlot),
    /// Whether credentials are good takes time to find out.
    Ask(Arc<AuthQuestion>, AnswerSlot),
    /// This is lacking, and there is nothing to close for it on this core.
    Crowded(Lack),
}

/// What a client asks the admin for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageRequest {
    /// The method.
    pub method: Method,
    /// The path, as it came.
    pub path: String,
    /// Behind the `?`, without it.
    pub query: String,
    /// The first `Accept`.
    pub accept: String,
}

/// Where the page goes: the core with this number waits for it, and is told with [`Command::Answered`].
#[derive(Clone, Debug)]
pub struct PageSlot {
    /// The core.
    pub core: usize,
    /// The page.
    pub reply: Sender<Reply>,
}

/// Where an answer goes; as [`PageSlot`].
#[derive(Clone, Debug)]
pub struct AnswerSlot {
    /// The core.
    pub core: usize,
    /// The answer.
    pub reply: Sender<Answer>,
}

/// What there is not enough of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lack {
    /// A descriptor.
    Descriptor,
    /// One of the `--max-connections`.
    Connection,
}

/// What became of the breaker of an upstream.
#[derive(Clone, Debug)]
pub struct BreakerReport {
    /// Which one.
    pub upstream: Arc<UpstreamState>,
    /// Where it stands.
    pub stage: BreakerStage,
    /// Why: how the last request ended.
    pub outcome: Outcome,
}

/// What became of an upstream.
#[derive(Clone, Debug)]
pub struct Change {
    /// Which one.
    pub upstream: Arc<UpstreamState>,
    /// It can be connected to.
    pub alive: bool,
    /// Why not: the label of a reason; empty if it is alive.
    pub reason: &'static str,
    /// What the operating system said.
    pub cause: Option<String>,
}

impl Change {
    /// Nobody takes this in now. A failure is reported each time; that all is well is reported once, so the next
    /// connection that is made is to report it again.
    pub fn lost(self) {
        if self.alive {
            self.upstream.forget_found();
        }
    }
}
