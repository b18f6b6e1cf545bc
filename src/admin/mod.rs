//! WHO IS LOOKING? Health, metrics, status and settings over HTTP, and the access log.
//!
//! Laws: lives on the control plane and never in the data path. It reads atomics, receives records,
//! and asks the kernel about its own process; no core ever waits for it, and a stuck reader, a full
//! disk or a closed pipe costs log lines (counted), nothing else. It changes nothing itself: a change
//! that is asked for goes to the control plane ([`Orders`]), which answers with what came of it. Uses
//! `http`, `config`, `policy` and `stats`; never sees `proxy` or `upstream`.
//! Everything it shows is bounded by the settings: no label is ever a path or a host of a client.

pub mod log;

mod accept;
mod access;
mod config_page;
mod endpoints;
mod exposition;
mod families;
mod orders;
mod permits;
mod reply;
mod request;
mod serve;
mod show;

#[cfg(test)]
pub(crate) mod testing;

pub use endpoints::page;
pub use orders::{Orders, Outcome, PendingOrder, Refused};
pub use serve::{AdminListener, Service, serve};

use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Instant, SystemTime};

use crate::base::CertificateFacts;
use crate::config::{Overlay, Plan};
use crate::policy::Router;
use crate::policy::gate::{Authenticator, LinkedLimit};
use crate::stats::{Core, Counter, Labels, ProcessState, Totals, UpstreamState};

/// A certificate of ours, and who gets to see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServedCertificate {
    /// `clients`, `services`, or `pool:NAME`.
    pub shown_to: String,
    /// What it says.
    pub facts: CertificateFacts,
}

/// How orders of certificates for a name go. Times are seconds after the epoch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IssuanceStatus {
    /// The name.
    pub name: String,
    /// Certificates that were issued.
    pub issued: u64,
    /// Orders that failed.
    pub failed: u64,
    /// When the last order failed, and why; `None`: it did not.
    pub last_error: Option<(u64, String)>,
    /// When the next one is due; `None`: now.
    pub next_order_at: Option<u64>,
}

impl IssuanceStatus {
    /// None yet.
    pub fn new(name: &str) -> IssuanceStatus {
        IssuanceStatus { name: name.to_owned(), ..IssuanceStatus::default() }
    }
}

/// Everything the admin may show. What changes in it is atomic, but for what a reload changes: that makes a new one.
#[derive(Clone, Debug)]
pub struct View {
    /// tidegate's version.
    pub version: &'static str,
    /// The settings in force.
    pub plan: Arc<Plan>,
    /// The same before the names of upstreams became addresses.
    pub named: Arc<Plan>,
    /// Its routes, to be looked up.
    pub router: Router,
    /// Those who tell who asks.
    pub auths: Vec<Arc<Authenticator>>,
    /// The limits.
    pub limits: Vec<Arc<LinkedLimit>>,
    /// The certificates that are shown.
    pub certificates: Vec<ServedCertificate>,
    /// Those that are ordered from an ACME server.
    pub acme: Vec<IssuanceStatus>,
    /// What was changed at run time in the settings as they were read.
    pub changes: Overlay,
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
    /// Lines of the audit log that were lost: they found the queue full, or could not be written.
    pub audit_lost: Arc<Counter>,
    /// One per upstream, in the plan's order.
    pub upstreams: Vec<Arc<UpstreamState>>,
    /// The names of what cores count by index.
    pub labels: Labels,
    /// The last time that the settings were read.
    pub loaded: Loaded,
}

/// How reading the settings went.
#[derive(Clone, Copy, Debug)]
pub struct Loaded {
    /// The settings in force are those that were read last; else there was a mistake in those.
    pub successful: bool,
    /// When those in force were read.
    pub at: SystemTime,
}

/// The view now: each request takes it once.
#[derive(Debug)]
pub struct CurrentView(RwLock<Arc<View>>);

impl CurrentView {
    /// Begins with `view`.
    pub fn new(view: View) -> CurrentView {
        CurrentView(RwLock::new(Arc::new(view)))
    }

    /// The one that is shown now.
    pub fn get(&self) -> Arc<View> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes what is shown.
    pub fn update(&self, change: impl FnOnce(&mut View)) {
        let mut shown = self.0.write().unwrap_or_else(PoisonError::into_inner);
        change(Arc::make_mut(&mut shown));
    }
}

impl View {
    /// The counters of all cores.
    fn totals(&self) -> Totals {
        Totals::of(self.cores.iter().map(|core| &**core))
    }
}
