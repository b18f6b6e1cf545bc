//! WHERE TO? Pools of upstreams, balancing, leases, connections, and the idle ones kept for the next request.
//!
//! Laws:
//! - May use `config`, `stats`, `http` (reasons), `io` and `tls`; knows nothing of requests.
//! - A handle names an upstream, never a number: an [`Upstream`] on a core, its entry in the registry between cores,
//!   and what is shown of that ([`stats::UpstreamState`](crate::stats::UpstreamState)) to the control plane.
//! - A core's [`Pool`] is its own, idle connections included; cores share the entries (breaker, load) and what a pool
//!   has in common (turns, queue, budget). Nothing of it is locked across a wait, nor on the plain path at all.
//! - A request holds a [`Lease`] from the pick on; [`Lease::end`] is the one place that learns what came of it.
//! - What decides is pure, and told the time: `balance`, `ring`, `breaker`, `budget`, `health`.
//! - Names are resolved on the control plane ([`resolve`]); a core only ever sees addresses.
//! - An idle connection on which octets come, or an end, is closed at once: an upstream that speaks before it is asked
//!   is not trusted with a request. What TLS says for itself is neither.

mod balance;
mod breaker;
mod budget;
#[cfg(feature = "dns")]
mod dns;
mod entry;
pub mod health;
mod idle;
mod lease;
mod load;
mod pick;
mod pool;
mod queue;
mod registry;
pub mod resolve;
mod ring;
mod secure;
mod sticky;
#[expect(clippy::module_inception, reason = "the room is named after what stands in this file")]
mod upstream;

pub use balance::Schedule;
pub use breaker::{BreakerStage, Outcome, has_reason};
pub use entry::Entry;
pub use lease::{BreakerChange, Connection, Lease, Slot};
pub use pick::{Pick, Unavailable};
pub use pool::{Pool, PoolContext, reap};
pub use registry::{LinkedPool, PoolState, PoolsTls, Registry, Secret};
pub use ring::hash;
pub use secure::PoolTls;
pub use sticky::cookies;
pub use upstream::{Refusal, Upstream, reason_of_tls};
