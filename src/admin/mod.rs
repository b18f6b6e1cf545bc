//! WHO IS LOOKING? Health, metrics, status and settings over HTTP, and the access log.
//!
//! Laws: lives on the control plane and never in the data path. It reads atomics, receives records,
//! and asks the kernel about its own process; no core ever waits for it, and a stuck reader, a full
//! disk or a closed pipe costs log lines (counted), nothing else. Uses `http`, `config` and `stats`;
//! never sees `proxy` or `upstream`.
//! Everything it shows is bounded by the settings: no label is ever a path or a host of a client.

pub mod log;

mod accept;
mod exposition;
mod families;
mod permits;
mod reply;
mod request;
mod routes;
mod serve;
mod show;

#[cfg(test)]
mod testing;

pub use serve::{AdminListener, serve};

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use crate::config::Plan;
use crate::stats::{Core, Counter, Labels, ProcessState, Totals, UpstreamState};

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
    pub state: Arc<ProcessState>,
    /// When the process started, as a clock that nobody sets has it.
    pub started: Instant,
    /// The same by the calendar.
    pub started_at: SystemTime,
    /// The counters of every core.
    pub cores: Vec<Arc<Core>>,
    /// Lines of the access log that could not be written.
    pub unwritten: Arc<Counter>,
    /// One per upstream, in the plan's order.
    pub upstreams: Vec<Arc<UpstreamState>>,
    /// The names of what cores count by index.
    pub labels: Labels,
}

impl View {
    /// The counters of all cores.
    fn totals(&self) -> Totals {
        Totals::of(self.cores.iter().map(|core| &**core))
    }
}
