//! WHAT HAPPENED? One table of metrics, counted by each core for itself, and the bounded record queue.
//!
//! Laws: no I/O, no clock, nothing of the other rooms. Every counter has one writer, its core, or the control plane for
//! what that finds out; anyone may read. So counting is a load and a store, never a locked instruction.

mod audit;
mod cells;
mod condition;
mod counters;
mod histogram;
mod record;
mod state;
mod table;
mod upstream;

pub use audit::{AuditEvent, AuditRecord};
pub use cells::{
    Answers, Cell, Classes, Copies, Handshakes, Kind, Labels, Reasons, Sample, Value, by_class,
};
pub use condition::{BreakerCell, BreakerState, CheckOutcome, Condition, Health, LastError};
pub use counters::{Counter, Gauge};
pub use histogram::{BUCKETS_S, Distribution, Histogram};
pub use record::{Attempt, Record, Recorder, records};
pub use state::{Phase, ProcessState};
pub use table::{Core, Family, Totals, Upstream, UpstreamTotals};
pub use upstream::UpstreamState;
