//! What the control plane and a core write to each other.

use std::sync::Arc;

use crate::io::address::Address;
use crate::stats::UpstreamState;
use crate::upstream::Runtime;

/// From the control plane to a core.
#[derive(Clone, Debug)]
pub enum Command {
    /// Requests that begin from now on go by this plan; those under way, and tunnels, end under theirs.
    Adopt(Arc<Runtime>),
    /// The addresses of an upstream's name.
    Resolved(Arc<UpstreamState>, Arc<[Address]>),
    /// Begin to accept connections.
    Accept,
    /// Accept what waits already and no more, finish what is under way, close what is idle.
    Drain,
    /// Close something idle: another core lacks this.
    MakeRoom(Lack),
    /// End everything: tunnels with a Close where that is possible, the rest at once.
    Stop,
}

/// From a core to the control plane.
#[derive(Clone, Debug)]
pub enum Event {
    /// An upstream known by name could not be connected to: resolve it again.
    Unreachable(Arc<UpstreamState>),
    /// An upstream could be connected to, and cannot now, or the other way round.
    Changed(Change),
    /// This is lacking, and there is nothing to close for it on this core.
    Crowded(Lack),
}

/// What there is not enough of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lack {
    /// A descriptor.
    Descriptor,
    /// One of the `--max-connections`.
    Connection,
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
