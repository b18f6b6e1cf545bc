//! WHAT HAPPENED? Plain per-core counters and histograms, and the bounded record queue.
//!
//! Laws: no I/O, no clock, nothing of the other rooms. Every counter has one writer, its core;
//! anyone may read. So counting is a load and a store, never a locked instruction.

mod counters;
mod record;
mod state;
mod upstream;

pub use counters::{BUCKETS_S, Core, Counter, Gauge, Histogram, Upstream};
pub use record::{Attempt, Record, Recorder, records};
pub use state::{Phase, State};
pub use upstream::UpstreamState;
