//! WHO IS LOOKING? Health, metrics, status and settings over HTTP, and the access log.
//!
//! Laws: lives on the control plane and never in the data path. It reads atomics and receives
//! records; no core ever waits for it, and a stuck reader, a full disk or a closed pipe costs log
//! lines (counted), nothing else. Uses `config` and `stats`; never sees `proxy` or `upstream`.
//! Everything it shows is bounded by the settings: no label is ever a path or a host of a client.

pub mod log;

mod accept;
mod clock;
mod exposition;
mod figures;
mod routes;
mod seats;
mod serve;
mod show;
mod wire;

#[cfg(test)]
mod testing;

pub use serve::{Listener, serve};

use std::sync::Arc;
use std::time::Instant;

use crate::config::Plan;
use crate::stats::{Core, Counter, State, UpstreamState};

/// Everything the admin may show. Made once by `main`; whatever changes in it is atomic.
#[derive(Debug)]
pub struct View {
    /// tidegate's version.
    pub version: &'static str,
    /// The settings in force.
    pub plan: Arc<Plan>,
    /// The addresses that are bound in fact, as text: port 0 of the plan has become a number.
    pub listen: Vec<String>,
    /// Starting, ready or draining.
    pub state: Arc<State>,
    /// When the process started.
    pub started: Instant,
    /// The counters of every core.
    pub cores: Vec<Arc<Core>>,
    /// Lines of the access log that could not be written.
    pub unwritten: Arc<Counter>,
    /// One per upstream, in the plan's order.
    pub upstreams: Vec<Arc<UpstreamState>>,
    /// The label of each reason a request can end with; indices are those of [`Core::reasons`].
    pub reasons: &'static [&'static str],
    /// Whose fault the reason at an index is (`"client"`, `"upstream"`, ...); `None`: nobody's.
    /// Requests that ended by somebody's fault are what the admin calls errors.
    pub fault: fn(usize) -> Option<&'static str>,
    /// Why a large body was not spliced; indices are those of [`Core::copied`].
    pub copies: &'static [&'static str],
}
