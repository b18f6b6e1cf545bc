//! What the control plane and a core write to each other.

use std::sync::Arc;

use crate::io::stream::Address;

/// From the control plane to a core.
#[derive(Clone, Debug)]
pub enum Letter {
    /// The addresses of an endpoint's name.
    Resolved(usize, Arc<[Address]>),
    /// Begin to accept connections.
    Accept,
    /// Accept what waits already and no more, finish what is under way, close what is idle.
    Drain,
    /// End everything: tunnels with a Close where that is possible, the rest at once.
    Stop,
}

/// From a core to the control plane.
#[derive(Clone, Debug)]
pub enum Event {
    /// An endpoint known by name could not be connected to: resolve it again.
    Unreachable(usize),
}
