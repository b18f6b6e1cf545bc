//! WHERE TO? Endpoints, balancing, connections to them, and the idle ones kept for the next request.
//!
//! Laws:
//! - May use `config`, `stats`, `http` (reasons) and `io`; knows nothing of requests.
//! - A core's [`Pool`] is its own, idle connections included; what cores share is whose turn it is.
//! - Names are resolved on the control plane ([`resolve`]); a core only ever sees addresses.
//! - An idle connection that turns readable, for whatever reason, is closed at once: an upstream
//!   that speaks before it is asked is not trusted with a request.

mod balance;
mod idle;
mod pool;
pub mod resolve;

pub use balance::RoundRobin;
pub use pool::{Connection, Endpoint, Pool, Refusal};
